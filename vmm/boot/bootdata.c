#include "vmm/boot/bootdata.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

void bootdata_init(struct bootdata *b)
{
	b->used = 0;
}

uint32_t bootdata_add(struct bootdata *b, const void *from, uint64_t bytes, uint64_t align)
{
	const uint64_t end = b->used, at = (end + align - 1) & ~(align - 1);

	b->used = at + bytes;
	if (b->used > BOOTDATA_BYTES)
		return (uint32_t)LAYOUT_BOOT_DATA;
	/* What is not used stays untouched: all of it would be most of a start's memory. */
	memset(b->room + end, 0, b->used - end);
	if (from)
		memcpy(b->room + at, from, bytes);
	return (uint32_t)(LAYOUT_BOOT_DATA + at);
}

uint32_t bootdata_string(struct bootdata *b, const char *s)
{
	return bootdata_add(b, s ? s : "", s ? strlen(s) + 1 : 1, 1);
}

void *bootdata_at(struct bootdata *b, uint32_t gpa, uint64_t bytes)
{
	if (b->used > BOOTDATA_BYTES)
		return NULL;
	assert(gpa >= LAYOUT_BOOT_DATA && gpa <= LAYOUT_LOW_END);
	assert(bytes <= LAYOUT_LOW_END - gpa);
	return b->room + (gpa - LAYOUT_BOOT_DATA);
}

int bootdata_check(const struct bootdata *b, const struct load *l)
{
	const char *name = l->request->name;

	if (b->used > BOOTDATA_BYTES)
		return fail(l->f, EXIT_IMAGE,
			    "%s: command line, memory map and module list need 0x%" PRIx64
			    " bytes; the boot structures have room for 0x%" PRIx64,
			    name, b->used, BOOTDATA_BYTES);
	if (load_check_guards(l, "the boot structures", LAYOUT_BOOT_DATA, b->used))
		return l->f->code;
	if (!ram_covers(l->ram, LAYOUT_BOOT_DATA, b->used, PAGETABLE_READ))
		return fail(l->f, EXIT_IMAGE,
			    "%s: the boot structures need RAM at 0x%" PRIx64 "..0x%" PRIx64
			    ": give more with --memory size=",
			    name, LAYOUT_BOOT_DATA, LAYOUT_LOW_END);
	return 0;
}

void bootdata_write(const struct bootdata *b, const struct ram *ram)
{
	bool written = ram_burn(ram, LAYOUT_BOOT_DATA, b->room, b->used);

	assert(written);
	(void)written;
}
