/* mm/buddy.h: power-of-two runs of frames. Theory and invariants: top of buddy.c.
 *
 * Allocates numbers, not memory: runs of 2^order frames, aligned to their
 * length, within [0, frame_count). What is asked for is a run of an order, and
 * given exactly: who rounds a length up to one knows what it was (heap_stats).
 * Memory:  the caller lends the metadata; nothing is allocated, no frame is read.
 * Threads: one caller at a time per struct buddy; no globals.
 * Errors:  MM_OK or the codes listed; on error neither state nor *out changes. */
#ifndef SLAT_MM_BUDDY_H
#define SLAT_MM_BUDDY_H

#include "mm/types.h"

#define BUDDY_ORDER_MAX 24u /* 2^24 frames are 64 GiB; 18 is 1 GiB, the largest x86-64 page */

struct buddy; /* opaque; fields in buddy_impl.h */

struct buddy_stats {
	uint64_t frames_total;			 /* ever donated */
	uint64_t frames_free;			 /* now */
	uint64_t frames_free_min;		 /* low-water mark; a donated frame counts as free since init */
	uint64_t runs_free[BUDDY_ORDER_MAX + 1]; /* by order */
};

/* Metadata bytes for frame_count frames, 2.2 bits a frame from 2^18 on; 0 iff
 * frame_count is 0 or above 2^40. */
size_t buddy_meta_bytes(uint64_t frame_count);

/* Borrows meta (64-byte aligned) while *out is in use; nothing to destroy. Every
 * frame starts absent. MM_EINVAL: meta NULL, misaligned or too small; frame_count
 * as above. O(meta). */
MM_MUST_CHECK enum mm_err buddy_init(void *meta, size_t meta_bytes, uint64_t frame_count, struct buddy **out);

/* Gives b the frames [first, first + frames), none of which it had before; any
 * range, so that a memory map's holes stay absent. O(frames).
 * MM_EINVAL: empty or outside. MM_EEXIST: one of them was given before. */
MM_MUST_CHECK enum mm_err buddy_donate(struct buddy *b, struct pfn first, uint64_t frames);

/* The lowest free run of the smallest order that serves, its low half at each
 * split. Same calls, same answers. O(BUDDY_ORDER_MAX).
 * MM_EINVAL: order above BUDDY_ORDER_MAX. MM_ENOMEM: no such run. */
MM_MUST_CHECK enum mm_err buddy_alloc(struct buddy *b, unsigned order, struct pfn *out);

/* Exactly this run. MM_EINVAL: order, alignment or outside. MM_EEXIST: a frame of
 * it is taken or absent. O(BUDDY_ORDER_MAX). */
MM_MUST_CHECK enum mm_err buddy_alloc_at(struct buddy *b, struct pfn first, unsigned order);

/* Takes back one run exactly as it was given. O(BUDDY_ORDER_MAX). MM_EINVAL: as
 * above. MM_ESTATE: not a live run of that order (wrong order, double free,
 * absent); checked in every build. */
MM_MUST_CHECK enum mm_err buddy_free(struct buddy *b, struct pfn first, unsigned order);

/* The order of the live run that starts at `first`. O(BUDDY_ORDER_MAX / 6). MM_EINVAL: outside.
 * MM_ENOENT: none starts there: it is free or absent, or further inside one. */
MM_MUST_CHECK enum mm_err buddy_order(const struct buddy *b, struct pfn first, unsigned *out);

struct buddy_stats buddy_stats_read(const struct buddy *b); /* a copy; O(1) */
bool buddy_check(const struct buddy *b);		    /* all invariants of buddy.c; O(frame_count) */

/* Fault injection: after this call the n-th buddy_alloc() or buddy_alloc_at()
 * with valid arguments (1 is the next) answers MM_ENOMEM, once; 0 switches it off.
 * For tests. */
void buddy_fail_after(struct buddy *b, uint64_t n);

#endif
