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

/* A space has one policy, so that it keeps only the index which that one needs.
 * Each picks a hole that has room for the extent, aligned; within the hole the
 * extent goes to the lowest place. */
enum extent_policy {
	EXTENT_FIRST_FIT, /* the lowest hole */
	EXTENT_BEST_FIT,  /* the smallest hole; the lowest of equals */
	EXTENT_WORST_FIT, /* the largest hole; the lowest of equals */
	/* The lowest place at or above where the last extent that extent_alloc()
	 * gave ended (a hole around that point counts from there on); if there is
	 * none, as first fit. */
	EXTENT_NEXT_FIT,
	/* Units rounded up to a power of two; the space is its maximal aligned (by
	 * number, not by offset) powers of two; the lowest free run of the smallest
	 * order that serves; a split keeps the low half; only buddies merge. Here a
	 * hole is one such run. */
	EXTENT_BUDDY,
	/* Units rounded up to a size class (8 classes a doubling: at most an eighth
	 * is slack), then as best fit: what comes back serves its class again. */
	EXTENT_SEGREGATED,
};
#define EXTENT_POLICIES 6u

struct extent { /* half open: [first, first + units) */
	uint64_t first;
	uint64_t units;
};

struct extent_config {
	uint64_t base, units;
	uint32_t segments_max; /* holes and live extents together, at most */
	enum extent_policy policy;
};

struct extent_request {
	uint64_t units; /* 1 or more */
	uint64_t align; /* `first` is a multiple of it; a power of two; 0 means 1 */
	bool movable;	/* the owner lets it be moved: it may lie in a lent zone */
};

struct extent_segment { /* one hole (maximal but for zone borders and buddies), or one live extent */
	struct extent run;
	uint64_t asked; /* units that its caller asked for, of those given; 0 for a hole */
	uint32_t pins;
	bool taken, movable;
	bool zone; /* it lies in a zone: zones and other units never share a segment */
};

struct extent_stats {
	uint64_t units_total, units_free;
	uint64_t units_free_min;  /* low-water mark since init */
	uint64_t units_asked;	  /* of live extents; given is units_total - units_free */
	uint64_t units_asked_max; /* high-water mark since init */
	uint64_t units_zone;	  /* in zones, free or lent */
	uint64_t units_zone_free;
	uint64_t units_pinned;
	uint64_t largest_hole;	 /* in units, alignment aside; zones aside */
	uint64_t holes, extents; /* how many of each there are now, zones included */
	uint64_t extents_max;	 /* high-water mark since init */
	uint64_t segments_max;
};

/* External fragmentation in millionths: 1 - largest_hole / free units outside zones; 0 iff none is free. O(1). */
uint32_t extent_fragmentation_ppm(const struct extent_stats *s);

/* Metadata bytes for at most segments_max segments (n live extents need at most
 * 2n + 1; under EXTENT_BUDDY more: each split leaves a run an order), whatever
 * else the configuration is; 0 iff segments_max is 0. */
size_t extent_meta_bytes(uint32_t segments_max);

/* What this very configuration needs: at most that, and often less than half. 0
 * for one that extent_init() refuses by its policy or segments_max. */
size_t extent_config_bytes(const struct extent_config *config);

/* Borrows meta (64-byte aligned) while *out is in use; nothing to destroy. The
 * whole space [base, base + units) starts as holes. meta is not read or written
 * beyond what is in use.
 * MM_EINVAL: meta NULL, misaligned or less than extent_config_bytes(); units 0; a unit above 2^64 - 1;
 * unknown policy; under EXTENT_BUDDY, segments_max below the runs of the start.
 * (A space may end at 2^64 exactly: first + units of its last segment is then 0.) */
MM_MUST_CHECK enum mm_err extent_init(void *meta, size_t meta_bytes, const struct extent_config *config,
				      struct extent_space **out);

/* The same space with room for segments_max segments, in metadata of its own: every later call has the answer that
 * `from` would have given, were it larger. `from` is only read. O(n log n). MM_EINVAL: as extent_init(). MM_ESTATE: it
 * has zones. MM_ENOMEM: segments_max is too small: 64 more than it has segments now always do, of any policy. */
MM_MUST_CHECK enum mm_err extent_regrow(const struct extent_space *from, void *meta, size_t meta_bytes,
					uint32_t segments_max, struct extent_space **out);

/* One extent by the space's policy; out->units is what is given, at least what
 * was asked. Outside zones; a movable one that fits nowhere else, inside a lent
 * zone, by the same policy. Same calls, same answers. O((k + 1) log n) for n
 * segments and k holes that are long enough but, cut to the alignment, too
 * short; k is 0 when align is 0 or 1.
 * MM_EINVAL: units 0 or, rounded up, above 2^64 - 1; align not a power of two.
 * MM_ENOMEM: no hole fits, or the metadata is full. */
MM_MUST_CHECK enum mm_err extent_alloc(struct extent_space *e, const struct extent_request *ask, struct extent *out);

/* Exactly this extent, outside zones or, iff movable, within one lent zone.
 * MM_EINVAL: empty, outside the space, or what extent_alloc() would not give
 * (EXTENT_BUDDY: not an aligned power of two). MM_EEXIST: a unit of it is taken,
 * or kept by a zone. MM_ENOMEM: the metadata is full. O(log n). */
MM_MUST_CHECK enum mm_err extent_alloc_at(struct extent_space *e, struct extent run, bool movable);

/* Takes back a live extent or any part of one (what is left of it stays live as
 * one or two extents with its attributes; under EXTENT_BUDDY only the whole);
 * merges with the holes on both sides. O(log n).
 * MM_EINVAL: empty or outside. MM_ESTATE: not inside one live extent (double
 * free too), or a part under EXTENT_BUDDY; checked in every build. MM_EBUSY: the
 * extent is pinned. MM_ENOMEM: a split needs room in the metadata. */
MM_MUST_CHECK enum mm_err extent_free(struct extent_space *e, struct extent run);

/* Makes the live extent `run` (exactly) [run.first, run.first + units), in
 * place; *given, if not NULL, is its length then (rounded as extent_alloc() does;
 * under EXTENT_BUDDY it may only grow into free buddies above it). O(log n).
 * MM_EINVAL: units 0 or, rounded up, above 2^64 - 1; run empty or outside.
 * MM_ESTATE: not one live extent. MM_EBUSY: it is pinned, and units, rounded up,
 * less than given (run.units). MM_ENOMEM: what follows is not free that far, also
 * where the space ends before, or the metadata is full. */
MM_MUST_CHECK enum mm_err extent_resize(struct extent_space *e, struct extent run, uint64_t units, uint64_t *given);

/* Counts one more, or one less, pin on the live extent that holds `at`: while
 * there is one it is neither freed, shrunk nor planned to move. O(log n).
 * MM_ENOENT: no live extent there. MM_ESTATE: an unpin without a pin; a pin on a
 * movable extent inside a lent zone (it must be moved out first). MM_ENOMEM:
 * 2^24 - 1 pins are on it. */
MM_MUST_CHECK enum mm_err extent_pin(struct extent_space *e, uint64_t at);
MM_MUST_CHECK enum mm_err extent_unpin(struct extent_space *e, uint64_t at);

/* Reserves free units as a zone, for extent_claim() alone; with `lend`, movable
 * extents may lie there meanwhile. O(log n). MM_EINVAL: empty, outside; under
 * EXTENT_BUDDY not an aligned power of two. MM_EEXIST: a unit is taken, or
 * belongs to a zone. MM_ENOMEM: the metadata is full. */
MM_MUST_CHECK enum mm_err extent_reserve(struct extent_space *e, struct extent run, bool lend);

/* Gives a zone, all of it free, back to the space. MM_ENOENT: not exactly a
 * zone. MM_EBUSY: a unit of it is taken. */
MM_MUST_CHECK enum mm_err extent_unreserve(struct extent_space *e, struct extent zone);

/* Takes `run`, inside one zone, for the zone's own user. MM_OK: it is live, not
 * movable. MM_EBUSY: lent extents are in the way: *in_way of them, the lowest
 * `max` written to out in address order; move them, free them, claim again.
 * MM_EEXIST: a unit is already claimed. MM_ENOENT: not within one zone.
 * MM_EINVAL: empty; under EXTENT_BUDDY not an aligned power of two. MM_ENOMEM:
 * metadata full. O(log n + *in_way). */
MM_MUST_CHECK enum mm_err extent_claim(struct extent_space *e, struct extent run, struct extent *out, uint32_t max,
				       uint32_t *in_way);

/* What a request of so many units (1 or more) is given under this policy; 0: it would be more than there are numbers.
 */
uint64_t extent_given(enum extent_policy policy, uint64_t units);

/* The most that a request could ask for now, alignment and zones aside: less than the largest hole where sizes are
 * rounded up; 0: none. As O(1) as extent_stats_read(). */
uint64_t extent_room(const struct extent_space *e);

/* Of extent_stats_read() one number: who chooses among many spaces asks each of them first. O(1). */
uint64_t extent_units_free(const struct extent_space *e);

/* Of extent_stats_read() these alone: holes, and largest_hole in *largest; segments that there is room for yet. O(1).
 */
uint64_t extent_holes(const struct extent_space *e, uint64_t *largest);
uint64_t extent_segments_left(const struct extent_space *e);

/* The segment that holds `at`, or false iff `at` is outside the space. Walk the
 * space in address order by asking next for run.first + run.units. O(log n). */
bool extent_segment_at(const struct extent_space *e, uint64_t at, struct extent_segment *out);

/* extent_free() at `at` (any number) comes soon, and this space is not in the caches: asks memory for what it will look
 * at, without waiting. To be called with step 0, then 1, then EXTENT_HINTS - 1, each when what the one before it asked
 * for has come. Changes nothing. */
#define EXTENT_HINTS 3u
void extent_hint(const struct extent_space *e, uint64_t at, unsigned step);

struct extent_config extent_config_read(const struct extent_space *e); /* as it was made; O(1) */
struct extent_stats extent_stats_read(const struct extent_space *e);   /* O(1) */

/* All invariants of extent.c and extent_tree.c; false for any metadata that breaks one. O(n log n). */
bool extent_check(const struct extent_space *e);

/* Fault injection: after this call the n-th operation that asks for room in the
 * metadata (1 is the next) is refused it, once; 0 switches it off. For tests. */
void extent_fail_after(struct extent_space *e, uint64_t n);

#endif
