/* vmm/layout.h: the guest-physical map and the ports. Half-open ranges.
 *
 *   0x0000_0000 .. 0x000a_0000  RAM; the first page holds nothing of ours
 *   0x0009_0000 .. 0x000a_0000    boot structures (a PC's reserved top of low memory)
 *   0x000a_0000 .. 0x0010_0000  backed by the block, reserved in the memory map:
 *   0x000e_0000 .. 0x0010_0000    RSDP and the ACPI tables
 *   0x0010_0000 .. 0xc000_0000  RAM
 *   0xc000_0000 .. 0x1_0000_0000  the 32-bit hole: devices, IOAPIC, local APIC
 *   0x1_0000_0000 ..            RAM, the rest of the same block
 */
#ifndef SLAT_VMM_LAYOUT_H
#define SLAT_VMM_LAYOUT_H

#include <stdint.h>

#define LAYOUT_BOOT_DATA  UINT64_C(0x90000)
#define LAYOUT_LOW_END	  UINT64_C(0xa0000)
#define LAYOUT_ACPI	  UINT64_C(0xe0000)
#define LAYOUT_HIGH_START UINT64_C(0x100000)
#define LAYOUT_HOLE_START UINT64_C(0xc0000000)
#define LAYOUT_HOLE_END	  UINT64_C(0x100000000)
#define LAYOUT_IOAPIC	  UINT64_C(0xfec00000)
#define LAYOUT_LAPIC	  UINT64_C(0xfee00000)
/* Three pages that KVM wants on an Intel CPU without unrestricted guest, above
 * all that a guest maps (Linux's and QEMU's place for them). */
#define LAYOUT_KVM_TSS	    UINT64_C(0xfffbd000)
#define LAYOUT_KVM_IDENTITY UINT64_C(0xfffbc000)

_Static_assert(LAYOUT_BOOT_DATA < LAYOUT_LOW_END, "boot data lies in low RAM");
_Static_assert(LAYOUT_LOW_END <= LAYOUT_ACPI && LAYOUT_ACPI < LAYOUT_HIGH_START, "ACPI tables lie in the BIOS area");
_Static_assert(LAYOUT_HOLE_START <= LAYOUT_IOAPIC && LAYOUT_LAPIC < LAYOUT_HOLE_END, "controllers lie in the hole");

/* So many bytes of RAM lie from 0 on; what is left lies from LAYOUT_HOLE_END on. */
static inline uint64_t layout_low_bytes(uint64_t ram)
{
	return ram < LAYOUT_HOLE_START ? ram : LAYOUT_HOLE_START;
}

#define PORT_PIT	   0x40
#define PORT_I8042_DATA	   0x60
#define PORT_SYSTEM_B	   0x61
#define PORT_I8042_COMMAND 0x64
#define PORT_CMOS	   0x70
#define PORT_DEBUGCON	   0xe9
#define PORT_DEBUG_EXIT	   0xf4
#define PORT_SERIAL	   0x3f8
#define PORT_PVPANIC	   0x505
#define PORT_FW_CFG	   0x510
#define PORT_ACPI_PM	   0x600
#define PORT_RESET	   0xcf9

/* I/O APIC pins. */
#define IRQ_PIT	   2
#define IRQ_SERIAL 4
#define IRQ_RTC	   8
#define IRQ_ACPI   9
#define IRQ_LINES  24

#endif
