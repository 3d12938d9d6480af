/* vmm/gather.c
 *
 * What it is. Three ways to cut a guest's RAM from a pool that others have used
 * before (--memory contiguous=):
 *
 *   require  one block, by pool_alloc(): the smallest hole that holds it.
 *   prefer   the fewest blocks: the largest hole whole, again and again, until a
 *            hole holds what is left; that comes from the smallest such hole.
 *            No choice of holes needs fewer, since none has more room than as many
 *            of the largest. Places are multiples of the pool's largest page as
 *            long as such holes last, then of 4K: a block off that alignment costs
 *            its large leaves. So "fewest" is meant among the aligned first.
 *   scatter  blocks of one size in an order that is no order: places are
 *            multiples of the size, shuffled, then mended until no block lies
 *            right behind its predecessor on the host, which would join the two
 *            into one run again. For experiments: what does paging cost a guest
 *            whose memory is in pieces? Same pool, same answer: the seed is fixed.
 *
 *   G1  the blocks of a list are disjoint, of one pool, and add up to what was asked.
 *   G2  scatter: no block of full size begins where its predecessor ends, if
 *       there are two places or more.
 *
 * Cost. prefer: holes squared, a pool has some hundred at most. scatter: places
 * plus blocks, each O(log n); 4 bytes a place while it is chosen. 32 bytes a block.
 *
 * Failure. What was taken so far goes back, then the sentence is formed, so that
 * its figures are those of the pool as it is.
 *
 * Rejected. Scatter by reversing the order: no two would be neighbours, but a
 * prefetcher, and whoever reads the figures, would see one run backwards. */
#include "vmm/gather.h"

#include <inttypes.h>

#include "mm/port.h"
#include "vmm/size.h"

#define SEED	   UINT64_C(0x736c6174) /* "slat" */
#define PLACES_MAX (UINT32_C(1) << 18)

struct places { /* place i is the frames [first, first + units) from base + at[i] * units on */
	uint64_t units;
	uint32_t *at;
	uint32_t count;
	uint64_t random;
};

const char *gather_kind_name(enum gather_kind kind)
{
	static const char *const names[] = {"require", "prefer", "scatter"};

	return names[kind];
}

uint32_t gather_blocks_most(const struct gather_request *ask, uint32_t taken)
{
	uint64_t n = 1;

	if (ask->kind == GATHER_PREFER)
		n = 3 * ((uint64_t)taken + 1); /* of each hole the aligned part, and what is left at its ends */
	if (ask->kind == GATHER_SCATTER)
		n = (ask->bytes + ask->extent_bytes - 1) / ask->extent_bytes;
	return n < ask->blocks_max ? (uint32_t)n : ask->blocks_max;
}

enum pagetable_size block_list_leaf(const struct block_list *l)
{
	enum pagetable_size leaf = l->block->pool->backing.leaf;

	for (uint32_t i = 1; i < l->count; i++)
		if (l->block[i].pool->backing.leaf > leaf)
			leaf = l->block[i].pool->backing.leaf;
	return leaf;
}

void block_list_free(struct block_list *l)
{
	while (l->count)
		pool_free(&l->block[--l->count]);
	memory_free(l->memory, l->block);
	*l = (struct block_list){0};
}

static uint64_t left_of(const struct block_list *l, uint64_t bytes)
{
	for (uint32_t i = 0; i < l->count; i++)
		bytes -= l->block[i].bytes;
	return bytes;
}

/* The part of a hole that is aligned at both ends. */
static struct extent aligned_part(struct extent hole, uint64_t align)
{
	uint64_t first = (hole.first + align - 1) & ~(align - 1), end = (hole.first + hole.units) & ~(align - 1);

	return (struct extent){first, end > first ? end - first : 0};
}

static struct extent largest_part(const struct pool *p, uint64_t align)
{
	struct extent best = {0};
	struct extent_segment s;

	for (uint64_t at = p->base.n; extent_segment_at(p->space, at, &s); at = s.run.first + s.run.units) {
		struct extent part = s.taken ? (struct extent){0} : aligned_part(s.run, align);

		if (part.units > best.units)
			best = part;
	}
	return best;
}

static bool take_rest(struct pool *p, struct block_list *l, uint64_t units, uint64_t align)
{
	struct extent_request ask = {.units = units, .align = align};
	struct extent run;

	if (extent_alloc(p->space, &ask, &run) != MM_OK)
		return false;
	l->block[l->count++] = pool_block(p, run);
	return true;
}

/* True iff all of it has been taken. */
static bool take_fewest(struct pool *p, struct block_list *l, uint32_t most, uint64_t bytes, uint64_t align)
{
	uint64_t units = left_of(l, bytes) / FRAME_BYTES;

	while (l->count < most) {
		struct extent part;

		if (take_rest(p, l, units, align))
			return true;
		part = largest_part(p, align);
		if (part.units > units)
			part.units = units; /* the unaligned end of what is asked */
		if (part.units == 0 || extent_alloc_at(p->space, part, false) != MM_OK)
			return false;
		l->block[l->count++] = pool_block(p, part);
		units -= part.units;
		if (units == 0)
			return true;
	}
	return false;
}

static uint64_t random_next(struct places *p, uint64_t below)
{
	p->random = p->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (p->random >> 33) % below;
}

static void swap(struct places *p, uint32_t a, uint32_t b)
{
	uint32_t was = p->at[a];

	p->at[a] = p->at[b];
	p->at[b] = was;
}

/* Does place i lie right behind the one before it? */
static bool follows(const struct places *p, uint32_t i)
{
	return i > 0 && i < p->count && p->at[i] == p->at[i - 1] + 1;
}

static bool bad_around(const struct places *p, uint32_t i)
{
	return follows(p, i) || follows(p, i + 1);
}

/* A swap that leaves both its ends well. Of two places, and of those that all follow one another, the order is turned.
 */
static void mend(struct places *p, uint32_t i)
{
	uint32_t from = (uint32_t)random_next(p, p->count);

	for (uint32_t n = 0; n < p->count; n++) {
		uint32_t k = (uint32_t)(((uint64_t)from + n) % p->count);

		swap(p, i, k);
		if (!bad_around(p, i) && !bad_around(p, k))
			return;
		swap(p, i, k);
	}
}

static void shuffle(struct places *p)
{
	for (uint32_t i = p->count; i > 1; i--)
		swap(p, i - 1, (uint32_t)random_next(p, i));
	for (uint32_t i = 1; i < p->count; i++)
		if (follows(p, i))
			mend(p, i);
}

/* Every place of the holes, or, of more than PLACES_MAX, each n-th. Places are counted from where the pool begins,
 * whatever number that has. */
static void find_places(const struct pool *p, struct places *out, uint32_t room)
{
	uint64_t seen = 0, step = extent_stats_read(p->space).units_free / out->units / room + 1;
	struct extent_segment s;

	for (uint64_t at = p->base.n; extent_segment_at(p->space, at, &s); at = s.run.first + s.run.units) {
		const struct extent hole = {s.run.first - p->base.n, s.taken ? 0 : s.run.units};
		const struct extent part = aligned_part(hole, out->units);

		for (uint64_t i = 0; i < part.units / out->units; i++, seen++)
			if (seen % step == 0 && out->count < room)
				out->at[out->count++] = (uint32_t)(part.first / out->units + i);
	}
}

static bool take_scattered(struct pool *p, struct block_list *l, uint32_t most, const struct gather_request *ask)
{
	struct places places = {.units = ask->extent_bytes / FRAME_BYTES, .random = SEED};
	uint64_t units = ask->bytes / FRAME_BYTES;
	uint64_t all = extent_stats_read(p->space).units_free / places.units + 1;
	const uint32_t room = (uint32_t)(all < PLACES_MAX ? all : PLACES_MAX);

	places.at = memory_alloc(l->memory, room * sizeof(*places.at));
	if (!places.at)
		return false;
	find_places(p, &places, room);
	shuffle(&places);
	for (uint32_t i = 0; units >= places.units && i < places.count && l->count < most; i++) {
		struct extent run = {p->base.n + places.at[i] * places.units, places.units};

		if (extent_alloc_at(p->space, run, false) != MM_OK)
			break;
		l->block[l->count++] = pool_block(p, run);
		units -= run.units;
	}
	memory_free(l->memory, places.at);
	return units == 0 || (units < places.units && l->count < most && take_rest(p, l, units, 1));
}

static bool take(struct pool *p, struct block_list *l, uint32_t most, const struct gather_request *ask)
{
	if (ask->kind == GATHER_SCATTER)
		return take_scattered(p, l, most, ask);
	return take_fewest(p, l, most, ask->bytes, pagetable_size_bytes(p->backing.leaf) / FRAME_BYTES) ||
	       take_fewest(p, l, most, ask->bytes, 1);
}

static int refuse(const struct pool *p, const struct gather_request *ask, uint32_t most, struct failure *f)
{
	struct extent_stats s = extent_stats_read(p->space);

	if (ask->kind == GATHER_SCATTER)
		return fail(f, EXIT_HOST,
			    "no %s in extents of %s in the pool of node %u: %s are free in %" PRIu64
			    " holes, and %" PRIu32 " extents are the most",
			    size_format(ask->bytes).s, size_format(ask->extent_bytes).s, p->node,
			    size_format(s.units_free * FRAME_BYTES).s, s.holes, most);
	return fail(f, EXIT_HOST,
		    "no %s in the pool of node %u, in however many pieces: %s are free in %" PRIu64 " holes",
		    size_format(ask->bytes).s, p->node, size_format(s.units_free * FRAME_BYTES).s, s.holes);
}

static int check_count(const struct gather_request *ask, struct failure *f)
{
	uint64_t n = ask->kind == GATHER_SCATTER ? (ask->bytes + ask->extent_bytes - 1) / ask->extent_bytes : 1;

	if (n <= ask->blocks_max)
		return 0;
	return fail(f, EXIT_HOST,
		    "--memory contiguous=scatter,extent_size=%s makes %" PRIu64 " extents of %s, and KVM has %" PRIu32
		    " memslots here: take larger extents or less memory",
		    size_format(ask->extent_bytes).s, n, size_format(ask->bytes).s, ask->blocks_max);
}

int gather(struct pool *p, struct memory *memory, const struct gather_request *ask, struct block_list *out,
	   struct failure *f)
{
	const uint32_t most = gather_blocks_most(ask, (uint32_t)extent_stats_read(p->space).holes);
	struct block_list l = {.memory = memory};

	if (check_count(ask, f))
		return f->code;
	l.block = memory_alloc(memory, most * sizeof(*l.block));
	if (!l.block)
		return fail(f, EXIT_HOST, "no memory for a list of %" PRIu32 " blocks", most);
	if (ask->kind == GATHER_REQUIRE && pool_alloc(p, ask->bytes, &l.block[0], f) == 0)
		l.count = 1;
	if (ask->kind != GATHER_REQUIRE && !take(p, &l, most, ask)) {
		block_list_free(&l);
		return refuse(p, ask, most, f);
	}
	if (f->code) {
		block_list_free(&l);
		return f->code;
	}
	*out = l;
	return 0;
}
