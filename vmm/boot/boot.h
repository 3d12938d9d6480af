/* vmm/boot/boot.h: from the bytes of an image to a guest that is ready to run.
 *
 * Two halves. Parsing is pure: it looks at bytes and says where they want to
 * go, or what is wrong with them. Loading checks the whole plan against the
 * guest's RAM first, then writes, and then cannot fail.
 * Threads: one. */
#ifndef SLAT_VMM_BOOT_BOOT_H
#define SLAT_VMM_BOOT_BOOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/failure.h"
#include "vmm/ram.h"

struct bytes {
	const uint8_t *data;
	size_t length;
};

enum boot_format { BOOT_MULTIBOOT, BOOT_PVH, BOOT_LINUX };
const char *boot_format_name(enum boot_format f);

#define BOOT_SEGMENTS_MAX 64u

struct boot_segment { /* [gpa, gpa + bytes): the file's bytes, then zeros (Linux: then room, as it was) */
	uint64_t gpa, bytes;
	struct bytes file; /* file.length <= bytes */
};

struct boot_image {
	enum boot_format format;
	unsigned segments;
	struct boot_segment segment[BOOT_SEGMENTS_MAX]; /* disjoint; Linux: one, the protected-mode part */
	uint64_t entry;					/* gpa, inside a segment */
	struct boot_linux {
		uint8_t header[512]; /* the setup header, from file offset 0x1f1; header_bytes of it */
		uint32_t header_bytes;
		uint16_t version;
		uint64_t initrd_max; /* the last address + 1 that the initramfs may use */
		uint32_t cmdline_max;
		uint64_t init_bytes, align;
		uint64_t preferred;
		bool relocatable;
	} linux_;
};

/* Looks at the bytes, tells the format, plans. EXIT_IMAGE with one sentence
 * that names `name` iff it cannot be booted: unknown (says what it looks
 * like), truncated, overlapping, lying. Order: Linux, Multiboot, PVH. *out
 * borrows the image's bytes. Segments lie below 4 GiB. */
int boot_parse(struct bytes image, const char *name, struct boot_image *out, struct failure *f);

struct boot_module {
	struct bytes data;
	const char *cmdline;
	const char *name; /* for sentences */
};

struct boot_range { /* one line of the guest's memory map */
	uint64_t start, bytes;
	uint32_t type; /* E820_* */
};

struct boot_request {
	const char *name;		   /* of the image, for sentences and Multiboot's command line */
	const char *cmdline;		   /* NULL: none */
	const struct boot_module *modules; /* Linux: at most one, the initramfs */
	unsigned modules_count;
	const struct boot_range *map; /* in address order, disjoint */
	unsigned map_count;
	uint64_t rsdp; /* gpa */
};

/* How the first vCPU starts. */
struct boot_entry {
	uint64_t rip, rax, rbx, rsi, rsp;
	bool long_mode;	   /* Linux: 64-bit, identity-mapped by the tables at cr3; else 32-bit flat, no paging */
	uint64_t cr3, gdt; /* gpa; the GDT's four entries: null, null, code (0x10), data (0x18) */
	unsigned gdt_bytes;
};

/* Writes image, modules, memory map and command line into RAM: everything of
 * ours into [LAYOUT_BOOT_DATA, LAYOUT_LOW_END), the rest elsewhere in the map's RAM.
 * EXIT_IMAGE with one sentence, and RAM and *out untouched, iff something does not fit. */
int boot_load(const struct boot_image *image, const struct boot_request *request, const struct ram *ram,
	      struct boot_entry *out, struct failure *f);

#endif
