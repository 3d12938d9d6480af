/* vmm/stitch.c
 *
 * What it is. Paging as the answer to external fragmentation: the guest's RAM
 * is one run of bytes, cut at the 32-bit hole, at the guards and read-only
 * ranges, and where a block ends. What lies between two cuts is a piece; each is
 * one call of pagetable_map(). A guard is never mapped: its frames stay with the
 * block, and nobody touches them.
 *
 *   S1  pieces come in order of gpa, disjoint, and cover all RAM but the guards.
 *   S2  byte n of RAM, n counted without the hole and with the guards, lies on
 *       byte n of the blocks, counted one after the other.
 *
 * Table pages. Level 1 (4K entries) wants a page for each 2M of guest addresses
 * that has a leaf of 4K; level 2 one for each 1G that has a leaf below 1G; level 3
 * one for each 512G that is mapped at all; and there is the root. A piece has
 * large leaves exactly where gpa, hpa and its ends allow, as pagetable.h says,
 * so that counting needs no table: pieces come in order, and a region that two
 * of them share is counted by the first. Leaves that complete a larger one only
 * together with another piece's would be collapsed by the engine; they are
 * counted all the same, since the pages are needed until then.
 * Cost: a pass over the pieces, each by the ranges (32 at most). */
#include "vmm/stitch.h"

#include "vmm/layout.h"

uint64_t stitch_gpa(uint64_t offset)
{
	return offset < LAYOUT_HOLE_START ? offset : LAYOUT_HOLE_END + (offset - LAYOUT_HOLE_START);
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* Goes on by so many bytes, which do not cross the end of a block or the hole. */
static void advance(const struct stitch *s, struct stitch_cursor *at, uint64_t bytes)
{
	at->gpa += bytes;
	at->in_block += bytes;
	if (at->gpa == LAYOUT_HOLE_START)
		at->gpa = LAYOUT_HOLE_END;
	if (at->in_block == s->block[at->block].bytes) {
		at->in_block = 0;
		at->block++;
	}
}

bool stitch_next(const struct stitch *s, struct stitch_cursor *at, struct piece *out)
{
	const struct guest_range *range = guest_ranges_from(s->ranges, at->gpa);
	const bool inside = range && range->gpa <= at->gpa;
	uint64_t bytes;

	if (at->block == s->blocks)
		return false;
	bytes = s->block[at->block].bytes - at->in_block;
	if (at->gpa < LAYOUT_HOLE_START)
		bytes = least(bytes, LAYOUT_HOLE_START - at->gpa);
	if (range)
		bytes = least(bytes, (inside ? range->gpa + range->bytes : range->gpa) - at->gpa);
	*out = (struct piece){
		.gpa = at->gpa,
		.hpa = s->block[at->block].first.n * FRAME_BYTES + at->in_block,
		.bytes = bytes,
		.kind = !inside			     ? PIECE_PLAIN
			: range->kind == GUEST_GUARD ? PIECE_GUARD
						     : PIECE_READONLY,
	};
	advance(s, at, bytes);
	return true;
}

/* Regions of `reach` bytes, by number, that are counted up to and without `next`. */
struct regions {
	uint64_t next, count;
};

static void count_regions(struct regions *r, uint64_t start, uint64_t end, uint64_t reach)
{
	uint64_t first = start / reach, last = (end + reach - 1) / reach;

	if (start >= end)
		return;
	if (first < r->next)
		first = r->next;
	if (last > first)
		r->count += last - first;
	if (last > r->next)
		r->next = last;
}

/* The part of a piece that leaves of `size` or larger can map; empty: start == end. */
static void large_part(const struct piece *p, enum pagetable_size size, enum pagetable_size most, uint64_t *start,
		       uint64_t *end)
{
	const uint64_t bytes = pagetable_size_bytes(size);

	*start = (p->gpa + bytes - 1) & ~(bytes - 1);
	*end = (p->gpa + p->bytes) & ~(bytes - 1);
	if (size > most || (p->gpa ^ p->hpa) & (bytes - 1) || *start >= *end)
		*start = *end = p->gpa;
}

uint64_t stitch_table_pages(const struct stitch *s, enum pagetable_size leaf)
{
	struct regions level[PAGETABLE_LEVELS] = {0};
	struct stitch_cursor at = {0};
	uint64_t pages = 1; /* the root */
	struct piece p;

	while (stitch_next(s, &at, &p)) {
		for (unsigned l = 1; p.kind != PIECE_GUARD && l < PAGETABLE_LEVELS; l++) {
			const uint64_t reach = FRAME_BYTES << (9 * l);
			uint64_t start = p.gpa, end = p.gpa;

			if (l < PAGETABLE_SIZES)
				large_part(&p, (enum pagetable_size)l, leaf, &start, &end);
			count_regions(&level[l], p.gpa, start, reach);
			count_regions(&level[l], end, p.gpa + p.bytes, reach);
		}
	}
	for (unsigned l = 1; l < PAGETABLE_LEVELS; l++)
		pages += level[l].count;
	return pages;
}

enum mm_err stitch_map(const struct stitch *s, struct pagetable *table, struct pagetable_attr attr)
{
	const struct pagetable_attr fixed = {attr.rights & ~(unsigned)PAGETABLE_WRITE, attr.memory};
	struct stitch_cursor at = {0};
	enum mm_err error = MM_OK;
	struct piece p;

	while (error == MM_OK && stitch_next(s, &at, &p))
		if (p.kind != PIECE_GUARD)
			error = pagetable_map(table, p.gpa, p.hpa, p.bytes, p.kind == PIECE_PLAIN ? attr : fixed);
	return error;
}
