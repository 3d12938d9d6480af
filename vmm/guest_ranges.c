#include "vmm/guest_ranges.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "mm/types.h"
#include "vmm/layout.h"
#include "vmm/size.h"

#define NUMBER_MAX 32u

const char *guest_range_option(enum guest_range_kind kind)
{
	return kind == GUEST_GUARD ? "--guard" : "--ro";
}

bool guest_range_parse(const char *value, uint64_t *start, uint64_t *bytes)
{
	const char *plus = strchr(value, '+');
	char first[NUMBER_MAX];

	if (!plus || plus - value >= (long)sizeof(first))
		return false;
	snprintf(first, sizeof(first), "%.*s", (int)(plus - value), value);
	return size_parse(first, start) && size_parse(plus + 1, bytes);
}

static const struct guest_range *met(const struct guest_ranges *r, uint64_t gpa, uint64_t bytes)
{
	const struct guest_range *next = guest_ranges_from(r, gpa);

	return next && next->gpa < gpa + bytes ? next : NULL;
}

static unsigned count_of(const struct guest_ranges *r, enum guest_range_kind kind)
{
	unsigned n = 0;

	for (unsigned i = 0; i < r->count; i++)
		n += r->range[i].kind == kind;
	return n;
}

int guest_ranges_add(struct guest_ranges *r, enum guest_range_kind kind, const char *value, struct failure *f)
{
	const char *option = guest_range_option(kind);
	const struct guest_range *other;
	uint64_t gpa, bytes;
	unsigned at;

	if (!guest_range_parse(value, &gpa, &bytes))
		return fail(f, EXIT_USAGE, "%s %.64s: write GPA+SIZE, such as 0x1000000+4K", option, value);
	if (bytes == 0 || gpa % FRAME_BYTES || bytes % FRAME_BYTES)
		return fail(f, EXIT_USAGE,
			    "%s %s: address and size are multiples of 4K, the size of a page, and not 0 bytes", option,
			    value);
	if (bytes > UINT64_MAX - gpa)
		return fail(f, EXIT_USAGE, "%s %s: no guest address is so high", option, value);
	other = met(r, gpa, bytes);
	if (other)
		return fail(f, EXIT_USAGE, "%s %s overlaps %s 0x%" PRIx64 "+0x%" PRIx64, option, value,
			    guest_range_option(other->kind), other->gpa, other->bytes);
	if (count_of(r, kind) == GUEST_RANGES_EACH)
		return fail(f, EXIT_USAGE, "%s %s: more than %u of them", option, value, GUEST_RANGES_EACH);
	for (at = r->count++; at > 0 && r->range[at - 1].gpa > gpa; at--)
		r->range[at] = r->range[at - 1];
	r->range[at] = (struct guest_range){gpa, bytes, kind};
	return 0;
}

const struct guest_range *guest_ranges_from(const struct guest_ranges *r, uint64_t gpa)
{
	for (unsigned i = 0; i < r->count; i++)
		if (r->range[i].gpa + r->range[i].bytes > gpa)
			return &r->range[i];
	return NULL;
}

int guest_ranges_check(const struct guest_ranges *r, uint64_t ram_bytes, struct failure *f)
{
	const uint64_t low = layout_low_bytes(ram_bytes), high = ram_bytes - low;
	char more[64] = "";

	if (high)
		snprintf(more, sizeof(more), " and 0x%" PRIx64 "..0x%" PRIx64, LAYOUT_HOLE_END, LAYOUT_HOLE_END + high);
	for (unsigned i = 0; i < r->count; i++) {
		uint64_t gpa = r->range[i].gpa, end = gpa + r->range[i].bytes;

		if (end <= low || (gpa >= LAYOUT_HOLE_END && end - LAYOUT_HOLE_END <= high))
			continue;
		return fail(f, EXIT_USAGE,
			    "%s 0x%" PRIx64 "+0x%" PRIx64 " is not inside the guest's RAM, 0x0..0x%" PRIx64 "%s",
			    guest_range_option(r->range[i].kind), gpa, end - gpa, low, more);
	}
	return 0;
}
