/* mm/sizeclass.h: a heap of fixed-size blocks: free ones in a list for each power
 * of two, what is larger, or not there yet, from a heap below. Theory: top of sizeclass.c.
 *
 * Memory:  its state; all blocks are the heap's below.
 * Threads: one at a time, whatever CPU it names.
 * Cost:    O(1) while a block of the class is free, and what the heap below takes to say its length; else as that. */
#ifndef SLAT_MM_SIZECLASS_H
#define SLAT_MM_SIZECLASS_H

#include "mm/heap.h"

#define SIZECLASS_SMALLEST 16u
#define SIZECLASS_LARGEST  2048u
#define SIZECLASS_COUNT	   8u

/* Of one alloc or free: a block that comes from its list or goes there, or a call of the heap below. With gives_back,
 * of an alloc that finds no room, that for each free block. */
#define SIZECLASS_WORK 1u

struct sizeclass; /* opaque; fields in sizeclass_impl.h */

struct sizeclass_config {
	const struct heap *below; /* others may use it as well */
	/* Whether free blocks go back when the heap below has no room, all of them, at
	 * the price of one call that takes as long as there are. Without it a block
	 * serves its own class for ever: the flaw of the classic, to be measured. */
	bool gives_back;
};

struct sizeclass_stats {
	uint64_t free[SIZECLASS_COUNT]; /* blocks in the list of class i */
	uint64_t bytes_free;		/* usable bytes of them */
	uint64_t bytes_held_max;
	uint64_t from_below, given_back; /* blocks, ever; larger ones not counted */
};

size_t sizeclass_meta_bytes(void);

/* Borrows meta (16-byte aligned) and the heap below while *out is in use. MM_EINVAL:
 * meta NULL, misaligned or too small; no heap below. */
MM_MUST_CHECK enum mm_err sizeclass_init(void *meta, size_t meta_bytes, const struct sizeclass_config *config,
					 struct heap *out);

/* Gives every free block back to the heap below. O(free blocks). */
void sizeclass_reap(const struct heap *h, unsigned cpu);

struct sizeclass_stats sizeclass_stats_read(const struct heap *h); /* O(1) */

#endif
