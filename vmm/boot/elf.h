/* vmm/boot/elf.h: an ELF32 or ELF64 file for x86, as a span of bytes.
 * Pure: reads the span, nothing else; every field is checked before it is used.
 * Sentences start with `name`. Source: System V ABI, chapters 4 and 5.
 * Threads: any. */
#ifndef SLAT_VMM_BOOT_ELF_H
#define SLAT_VMM_BOOT_ELF_H

#include "vmm/boot/boot.h"

struct elf {
	struct bytes image;
	const char *name;
	bool wide;	/* ELF64 */
	uint64_t entry; /* as the header has it */
	uint64_t table; /* file offset of the program headers; all of them lie in the file */
	unsigned headers;
};

struct elf_program { /* one program header, the same for both classes; unchecked values */
	uint32_t type;
	uint64_t offset, file_bytes;
	uint64_t vaddr, paddr, bytes;
	uint64_t align;
};

bool elf_present(struct bytes image); /* has the magic bytes */

/* EXIT_IMAGE iff this is no complete header of a static little-endian x86
 * executable (the sentence names the machine, the type) or the program headers reach past the end. */
int elf_open(struct bytes image, const char *name, struct elf *out, struct failure *f);

struct elf_program elf_program(const struct elf *e, unsigned i); /* i < e->headers */

/* Fills out->segment from the PT_LOAD headers, by physical address. EXIT_IMAGE
 * iff one lies (bytes past the end of the file, more in the file than in
 * memory), reaches past 4 GiB, overlaps another, or there are none or too many. */
int elf_segments(const struct elf *e, struct boot_image *out, struct failure *f);

/* The entry as a physical address: through the segment whose virtual range
 * holds it, else as it is if a segment's physical range holds it. EXIT_IMAGE iff neither. */
int elf_entry(const struct elf *e, uint64_t *out, struct failure *f);

#endif
