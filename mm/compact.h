/* mm/compact.h: which extents must move, and where to, so that a hole of n
 * units opens: the plan of a compaction. Theory: top of compact.c.
 *
 * Only plans: the caller relocates what the extents stand for, one move after
 * the other, with extent_alloc_at() and extent_free(). Each move's target is free
 * when its turn comes, and does not overlap its source. (The metadata of the
 * space needs room for two segments more; under EXTENT_BUDDY for its splits.)
 * Memory:  the caller lends scratch and the moves; nothing else is written.
 * Threads: one caller at a time; the space is only read. No globals. */
#ifndef SLAT_MM_COMPACT_H
#define SLAT_MM_COMPACT_H

#include "mm/extent.h"

struct compact_request {
	uint64_t units; /* the hole that is wanted, 1 or more */
	uint64_t align; /* its first unit is a multiple of it; a power of two; 0 means 1 */
	uint64_t step;	/* an extent moves by multiples of it, so that it keeps its alignment; as align */
	uint64_t work;	/* search steps at most; more work, better plans, up to the exact one */
};

struct compact_move {
	struct extent from;
	uint64_t to; /* first unit of its new place; under EXTENT_BUDDY a multiple of from.units */
};

struct compact_plan {
	struct extent hole;	  /* where it opens */
	uint32_t moves;		  /* written to the caller's array */
	uint64_t units_moved;	  /* their sum; an extent that moves twice counts twice */
	uint64_t units_moved_min; /* no plan moves fewer: the bound. Equal to units_moved iff proven exact */
};

/* For a space of that many holes and live extents: about 120 bytes for each, and
 * at least 0.25 MB for the exact search, which remembers one placement more for
 * each 56 bytes lent beyond. */
size_t compact_scratch_bytes(uint32_t segments);

/* The plan that moves the fewest units, zones aside (they neither move nor take
 * in). Only extents that are not pinned move. When `work` or scratch runs out
 * before the search is over, the best plan found by then, with the bound that
 * holds. Same calls, same answers.
 * How good: units_moved_min is never below the least units that live within any
 * one place for the hole; if those (the first such place from below) fit the
 * holes around, largest first into the shortest that serves, the plan is exact,
 * whatever the size of the space and of `work`. With at most 256 extents, and
 * work and scratch without end, it is exact unless the lengths make more than
 * 1024 places to rest at (never in a space of up to 1023 units).
 * O(n log n) for n segments, and then O(log n) a step of work; where there are at
 * most 256 extents, O(256 + moves) a step.
 * MM_EINVAL: units 0, align or step not a power of two, scratch too small or
 * misaligned (64). MM_ENOMEM: no plan was found (moves 0), or one of more than
 * moves_max moves (they are not written). *out then has no hole; units_moved_min
 * UINT64_MAX: it is proven that there is no plan. */
MM_MUST_CHECK enum mm_err compact_plan(const struct extent_space *e, const struct compact_request *ask, void *scratch,
				       size_t scratch_bytes, struct compact_move *moves, uint32_t moves_max,
				       struct compact_plan *out);

#endif
