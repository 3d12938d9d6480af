/* mm/extent.h: contiguous extents of any length. Theory and invariants: top of extent.c.
 *
 * Allocates numbers, not memory: extents [first, first + units) within one
 * space [base, base + units). A unit is whatever the caller counts in: frames,
 * MHz, metres of hold.
 * Memory:  the caller lends the metadata; nothing is allocated or read besides.
 * Threads: one caller at a time per struct extent_space; no globals.
 * Errors:  MM_OK or the codes listed; on error neither state nor *out changes. */
#ifndef SLAT_MM_EXTENT_H
#define SLAT_MM_EXTENT_H

#include "mm/types.h"

struct extent_space; /* opaque; fields in extent_impl.h */

/* Each picks a hole that has room for the extent, aligned; within the hole the
 * extent goes to the lowest place. */
enum extent_policy {
	EXTENT_FIRST_FIT, /* the lowest hole */
	EXTENT_BEST_FIT,  /* the smallest hole; the lowest of equals */
	EXTENT_WORST_FIT, /* the largest hole; the lowest of equals */
	/* The lowest place at or above where the last extent that extent_alloc()
	 * gave, by whatever policy, ended (a hole around that point counts from
	 * there on); if there is none, as first fit. */
	EXTENT_NEXT_FIT,
};
#define EXTENT_POLICIES 4u

struct extent { /* half open: [first, first + units) */
	uint64_t first;
	uint64_t units;
};

struct extent_request {
	uint64_t units; /* 1 or more */
	uint64_t align; /* `first` is a multiple of it; a power of two; 0 means 1 */
	enum extent_policy policy;
};

struct extent_segment { /* a maximal hole, or one live extent */
	struct extent run;
	bool taken;
};

struct extent_stats {
	uint64_t units_total, units_free;
	uint64_t units_free_min; /* low-water mark since init */
	uint64_t largest_hole;	 /* in units, alignment aside */
	uint64_t holes, extents; /* how many of each there are now */
	uint64_t extents_max;	 /* high-water mark since init */
};

/* Metadata bytes for at most segments_max holes and live extents together (n
 * live extents need at most 2n + 1); 0 iff segments_max is 0. */
size_t extent_meta_bytes(uint32_t segments_max);

/* Borrows meta (64-byte aligned) while *out is in use; nothing to destroy. The
 * whole space [base, base + units) starts as one hole. O(1): meta is not read
 * or written beyond what is in use.
 * MM_EINVAL: meta NULL, misaligned or too small; units 0; a unit above 2^64 - 1.
 * (A space may end at 2^64 exactly: first + units of its last segment is then 0.) */
MM_MUST_CHECK enum mm_err extent_init(void *meta, size_t meta_bytes, uint32_t segments_max, uint64_t base,
				      uint64_t units, struct extent_space **out);

/* One extent by the policy asked. Same calls, same answers. O((k + 1) log n)
 * for n segments and k holes that are long enough but, cut to the alignment,
 * too short; k is 0 when align is 0 or 1.
 * MM_EINVAL: units 0, align not a power of two, unknown policy.
 * MM_ENOMEM: no hole fits, or the metadata has no node left. */
MM_MUST_CHECK enum mm_err extent_alloc(struct extent_space *e, const struct extent_request *ask, struct extent *out);

/* Exactly this extent. MM_EINVAL: empty or outside the space. MM_EEXIST: a
 * unit of it is taken. MM_ENOMEM: no metadata node left. O(log n). */
MM_MUST_CHECK enum mm_err extent_alloc_at(struct extent_space *e, struct extent run);

/* Takes back a live extent or any part of one (what is left of it stays live
 * as one or two extents); merges with the holes on both sides. O(log n).
 * MM_EINVAL: empty or outside. MM_ESTATE: not inside one live extent (double
 * free too); checked in every build. MM_ENOMEM: a split needs a node. */
MM_MUST_CHECK enum mm_err extent_free(struct extent_space *e, struct extent run);

/* The segment that holds `at`, or false iff `at` is outside the space. Walk the
 * space in address order by asking next for run.first + run.units. O(log n). */
bool extent_segment_at(const struct extent_space *e, uint64_t at, struct extent_segment *out);

struct extent_stats extent_stats_read(const struct extent_space *e); /* O(1) */

/* All invariants of extent.c; false for any metadata that breaks one. O(n). */
bool extent_check(const struct extent_space *e);

/* Fault injection: after this call the n-th metadata node asked for (1 is the
 * next) is refused, once; 0 switches it off. For tests. (An operation asks for
 * 2 nodes at most, and for none when it needs none.) */
void extent_fail_after(struct extent_space *e, uint64_t n);

#endif
