#include "vmm/boot/load.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "vmm/abi.h"
#include "vmm/layout.h"
#include "vmm/size.h"

#define RIGHTS (PAGETABLE_READ | PAGETABLE_WRITE)

/* The next maximal run of RAM lines from *i on: touching lines are one. */
static bool next_ram(const struct boot_request *r, unsigned *i, uint64_t *start, uint64_t *end)
{
	while (*i < r->map_count && r->map[*i].type != E820_RAM)
		++*i;
	if (*i == r->map_count)
		return false;
	*start = *end = r->map[*i].start;
	for (; *i < r->map_count && r->map[*i].type == E820_RAM && r->map[*i].start == *end; ++*i)
		*end += r->map[*i].bytes;
	return true;
}

/* Where the RAM of the map that holds gpa ends; 0 iff none does. */
static uint64_t ram_end(const struct boot_request *r, uint64_t gpa)
{
	uint64_t start, end;

	for (unsigned i = 0; next_ram(r, &i, &start, &end);)
		if (gpa >= start && gpa < end)
			return end;
	return 0;
}

static bool meets_boot_data(uint64_t gpa, uint64_t bytes)
{
	return gpa < LAYOUT_LOW_END && gpa + bytes > LAYOUT_BOOT_DATA;
}

bool load_has_room(const struct load *l, uint64_t gpa, uint64_t bytes)
{
	uint64_t end = ram_end(l->request, gpa);

	return end && bytes <= end - gpa && !meets_boot_data(gpa, bytes) && ram_covers(l->ram, gpa, bytes, RIGHTS);
}

/* Where memory that can be loaded ends, from gpa on: RAM of the map, or what is read-only for the guest. 0 iff none. */
static uint64_t loadable_end(const struct load *l, uint64_t gpa)
{
	uint64_t end = ram_end(l->request, gpa);
	struct pagetable_leaf leaf;

	if (end)
		return end;
	if (!pagetable_walk(l->ram->table, gpa, &leaf) || leaf.attr.rights & PAGETABLE_WRITE)
		return 0;
	return leaf.in + pagetable_size_bytes(leaf.size);
}

/* The first address from gpa on, below end, that cannot be loaded; end iff there is none. */
static uint64_t first_lack(const struct load *l, uint64_t gpa, uint64_t end)
{
	while (gpa < end) {
		uint64_t next = loadable_end(l, gpa);

		if (next == 0)
			return gpa;
		gpa = next;
	}
	return end;
}

static bool in_map(const struct boot_request *r, uint64_t gpa)
{
	for (unsigned i = 0; i < r->map_count; i++)
		if (gpa >= r->map[i].start && gpa - r->map[i].start < r->map[i].bytes)
			return true;
	return false;
}

int load_check_guards(const struct load *l, const char *what, uint64_t gpa, uint64_t bytes)
{
	const uint64_t end = gpa + bytes;
	struct pagetable_leaf leaf;
	struct pagetable_run run;

	while (gpa < end && pagetable_walk(l->ram->table, gpa, &leaf))
		gpa = leaf.in + pagetable_size_bytes(leaf.size);
	if (gpa >= end || !in_map(l->request, gpa))
		return 0;
	if (!pagetable_next_run(l->ram->table, gpa, &run) || run.in > end)
		run.in = (end + FRAME_BYTES - 1) & ~(FRAME_BYTES - 1);
	return fail(l->f, EXIT_IMAGE,
		    "%s: %s, %s at 0x%" PRIx64 ", would lie on a guard: --guard leaves nothing at 0x%" PRIx64
		    "..0x%" PRIx64,
		    l->request->name, what, size_format(bytes).s, end - bytes, gpa, run.in);
}

int load_check_room(const struct load *l, const char *what, unsigned number, uint64_t gpa, uint64_t bytes)
{
	const char *name = l->request->name;
	struct size_text size = size_format((bytes + FRAME_BYTES - 1) & ~(FRAME_BYTES - 1));
	uint64_t end = ram_end(l->request, gpa);
	char which[64];

	if (bytes <= UINT64_MAX - gpa && first_lack(l, gpa, gpa + bytes) == gpa + bytes &&
	    !meets_boot_data(gpa, bytes) && ram_covers(l->ram, gpa, bytes, PAGETABLE_READ))
		return 0;
	snprintf(which, sizeof(which), number == UINT32_MAX ? "%s" : "%s %u", what, number);
	if (load_check_guards(l, which, gpa, bytes))
		return l->f->code;
	if (end == 0)
		return fail(l->f, EXIT_IMAGE,
			    "%s: %s needs %s at 0x%" PRIx64 ", where there is no RAM; give more with --memory size=",
			    name, which, size.s, gpa);
	if (bytes > end - gpa)
		return fail(l->f, EXIT_IMAGE,
			    "%s: %s needs %s at 0x%" PRIx64 "; RAM there ends at 0x%" PRIx64
			    ": give more with --memory size=",
			    name, which, size.s, gpa, end);
	if (meets_boot_data(gpa, bytes))
		return fail(l->f, EXIT_IMAGE,
			    "%s: %s, %s at 0x%" PRIx64 ", overlaps the boot structures at 0x%" PRIx64 "..0x%" PRIx64,
			    name, which, size.s, gpa, LAYOUT_BOOT_DATA, LAYOUT_LOW_END);
	return fail(l->f, EXIT_IMAGE, "%s: %s needs %s at 0x%" PRIx64 ", where not all RAM is mapped and writable",
		    name, which, size.s, gpa);
}

int load_check_segments(const struct load *l)
{
	for (unsigned i = 0; i < l->image->segments; i++) {
		const struct boot_segment *s = &l->image->segment[i];

		if (load_check_room(l, "segment", i, s->gpa, s->bytes))
			return l->f->code;
	}
	return 0;
}

void load_write(const struct load *l, uint64_t gpa, struct bytes data)
{
	bool written = ram_burn(l->ram, gpa, data.data, data.length);

	assert(written);
	(void)written;
}

static void write_zeros(const struct load *l, uint64_t gpa, uint64_t bytes)
{
	for (uint64_t done = 0, some; done < bytes; done += some) {
		void *to;

		some = bytes - done;
		to = ram_span(l->ram, gpa + done, &some, PAGETABLE_READ);
		assert(to);
		memset(to, 0, some);
	}
}

void load_write_segments(const struct load *l)
{
	for (unsigned i = 0; i < l->image->segments; i++) {
		const struct boot_segment *s = &l->image->segment[i];

		load_write(l, s->gpa, s->file);
		write_zeros(l, s->gpa + s->file.length, s->bytes - s->file.length);
	}
}

uint64_t load_image_start(const struct load *l)
{
	uint64_t start = UINT64_MAX;

	for (unsigned i = 0; i < l->image->segments; i++)
		if (l->image->segment[i].gpa < start)
			start = l->image->segment[i].gpa;
	return start;
}

uint64_t load_image_end(const struct load *l)
{
	uint64_t end = 0;

	for (unsigned i = 0; i < l->image->segments; i++)
		if (l->image->segment[i].gpa + l->image->segment[i].bytes > end)
			end = l->image->segment[i].gpa + l->image->segment[i].bytes;
	return end;
}

/* Both searches look at the two ends of what each RAM line leaves inside
 * [floor, ceiling), beside the boot structures: guests' maps have a handful of lines. */

bool load_find_lowest(const struct load *l, uint64_t floor, uint64_t ceiling, uint64_t bytes, uint64_t align,
		      uint64_t *out)
{
	uint64_t start, end;

	for (unsigned i = 0; next_ram(l->request, &i, &start, &end);) {
		uint64_t gpa = start > floor ? start : floor;

		if (end > ceiling)
			end = ceiling;
		if (gpa > UINT64_MAX - (align - 1))
			break;
		gpa = (gpa + align - 1) & ~(align - 1);
		if (gpa < end && bytes <= end - gpa && meets_boot_data(gpa, bytes))
			gpa = (LAYOUT_LOW_END + align - 1) & ~(align - 1);
		if (gpa < end && bytes <= end - gpa && load_has_room(l, gpa, bytes)) {
			*out = gpa;
			return true;
		}
	}
	return false;
}

static bool highest_of(const struct load *l, uint64_t start, uint64_t end, uint64_t bytes, uint64_t *out)
{
	uint64_t gpa;

	if (end < start || bytes > end - start)
		return false;
	gpa = (end - bytes) & ~(FRAME_BYTES - 1);
	if (gpa < start)
		return false;
	if (meets_boot_data(gpa, bytes))
		return highest_of(l, start, LAYOUT_BOOT_DATA, bytes, out);
	if (!load_has_room(l, gpa, bytes))
		return false;
	*out = gpa;
	return true;
}

bool load_find_highest(const struct load *l, uint64_t floor, uint64_t ceiling, uint64_t bytes, uint64_t *out)
{
	uint64_t start, end;
	bool found = false;

	for (unsigned i = 0; next_ram(l->request, &i, &start, &end);)
		found |= highest_of(l, start > floor ? start : floor, end < ceiling ? end : ceiling, bytes, out);
	return found;
}

uint64_t load_module_room(const struct boot_module *m)
{
	uint64_t bytes = (m->data.length + FRAME_BYTES - 1) & ~(FRAME_BYTES - 1);

	return bytes ? bytes : FRAME_BYTES;
}

int load_no_place(const struct load *l, const struct boot_module *m, uint64_t ceiling)
{
	return fail(l->f, EXIT_IMAGE,
		    "%s: no place for its %s beside the image in RAM below 0x%" PRIx64
		    ": give more with --memory size=",
		    m->name, size_format(m->data.length).s, ceiling);
}
