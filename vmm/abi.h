/* vmm/abi.h: the boot contract with guests, as both sides see it. Self-contained.
 * Sources: Multiboot Specification 0.6.96; Xen's PVH start info
 * (xen/include/public/arch-x86/hvm/start_info.h). */
#ifndef SLAT_VMM_ABI_H
#define SLAT_VMM_ABI_H

#include <stdint.h>

/* Multiboot 1. Entry: 32-bit protected mode, no paging, EAX = MULTIBOOT_LOADED, EBX = &struct multiboot_info. */
#define MULTIBOOT_MAGIC	       0x1badb002u
#define MULTIBOOT_LOADED       0x2badb002u
#define MULTIBOOT_SEARCH_BYTES 8192u
#define MULTIBOOT_PAGE_ALIGN   (1u << 0)
#define MULTIBOOT_WANT_MEMORY  (1u << 1)
#define MULTIBOOT_WANT_VIDEO   (1u << 2)
#define MULTIBOOT_KLUDGE       (1u << 16)

struct multiboot_header {
	uint32_t magic, flags, checksum;
	/* with MULTIBOOT_KLUDGE */
	uint32_t header_addr, load_addr, load_end_addr, bss_end_addr, entry_addr;
};

#define MULTIBOOT_INFO_MEMORY	   (1u << 0)
#define MULTIBOOT_INFO_BOOTDEV	   (1u << 1)
#define MULTIBOOT_INFO_CMDLINE	   (1u << 2)
#define MULTIBOOT_INFO_MODULES	   (1u << 3)
#define MULTIBOOT_INFO_MMAP	   (1u << 6)
#define MULTIBOOT_INFO_LOADER_NAME (1u << 9)

struct multiboot_info {
	uint32_t flags;
	uint32_t mem_lower_kib, mem_upper_kib;
	uint32_t boot_device;
	uint32_t cmdline;
	uint32_t mods_count, mods_addr;
	uint32_t syms[4];
	uint32_t mmap_length, mmap_addr;
	uint32_t drives_length, drives_addr;
	uint32_t config_table;
	uint32_t boot_loader_name;
	uint32_t apm_table;
};

struct multiboot_module {
	uint32_t start, end; /* half open */
	uint32_t cmdline, reserved;
};

struct multiboot_mmap {
	uint32_t size; /* of what follows: 20 */
	uint64_t addr, length;
	uint32_t type; /* an E820 type */
} __attribute__((packed));

/* PVH. Entry: 32-bit protected mode, no paging, EBX = &struct pvh_start_info. */
#define PVH_MAGIC     0x336ec578u
#define PVH_NOTE_TYPE 18u /* XEN_ELFNOTE_PHYS32_ENTRY, name "Xen" */

struct pvh_start_info { /* version 1 */
	uint32_t magic, version, flags, modules_count;
	uint64_t modules, cmdline, rsdp, memmap;
	uint32_t memmap_entries, reserved;
};

struct pvh_module {
	uint64_t start, bytes, cmdline, reserved;
};

struct pvh_memmap {
	uint64_t start, bytes;
	uint32_t type, reserved; /* an E820 type */
};

#define E820_RAM      1u
#define E820_RESERVED 2u
#define E820_ACPI     3u

/* virtio devices: window n of ABI_VIRTIO_STRIDE bytes, the transport's registers first, interrupts at I/O APIC pin
 * ABI_VIRTIO_PIN + n. Dense from 0; behind the last one nothing answers (reads give ones). ACPI says the same
 * (LNRO0005). */
#define ABI_VIRTIO_FIRST  0xd0000000u
#define ABI_VIRTIO_STRIDE 0x1000u
#define ABI_VIRTIO_MAX	  14u
#define ABI_VIRTIO_PIN	  10u

_Static_assert(sizeof(struct multiboot_info) == 72, "as the specification lays it out, up to the APM table");
_Static_assert(sizeof(struct multiboot_mmap) == 24, "");
_Static_assert(sizeof(struct pvh_start_info) == 56, "");
_Static_assert(sizeof(struct pvh_memmap) == 24, "");

#endif
