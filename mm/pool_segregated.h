/* mm/pool_segregated.h: fixed-size pools, one a class of sizes, over one budget:
 * what one class does not need another may have. Theory and invariants: top of
 * pool_segregated.c.
 *
 * Memory:  the caller lends the arena (which is handed out) and the metadata.
 * Threads: any number, by one lock; with one CPU one thread at a time and no lock.
 * Errors:  as heap.h. */
#ifndef SLAT_MM_POOL_SEGREGATED_H
#define SLAT_MM_POOL_SEGREGATED_H

#include "mm/heap.h"

#define POOL_SEGREGATED_PAGE	  65536u /* what a class takes from the budget at once */
#define POOL_SEGREGATED_CLASSES	  64u
#define POOL_SEGREGATED_BYTES_MAX 16384u

struct pool_segregated; /* opaque; fields in pool_segregated_impl.h */

struct pool_segregated_config {
	unsigned cpus;
	void *arena; /* POOL_SEGREGATED_PAGE aligned */
	size_t arena_bytes;
	const uint32_t *sizes; /* of the classes: ascending multiples of HEAP_ALIGN, up to POOL_SEGREGATED_BYTES_MAX */
	unsigned classes;      /* 1 to POOL_SEGREGATED_CLASSES */
	const struct heap
		*fallback; /* serves what is larger or finds no room; lent, for this pool alone; NULL: nothing does */
};

/* Bounds in list operations, classes asked and words of a map set, of one call. */
#define POOL_SEGREGATED_ALLOC_WORK (2 * POOL_SEGREGATED_CLASSES + 65u) /* a page's 64 words, and its list */
#define POOL_SEGREGATED_FREE_WORK  2u				       /* from its list to the budget's */

struct pool_segregated_work { /* the most that a call ever did */
	uint64_t alloc_max, free_max;
};

struct pool_segregated_class { /* figures of one class */
	uint32_t bytes;
	uint64_t live, live_max;
	uint64_t pages, pages_max;
};

size_t pool_segregated_meta_bytes(size_t arena_bytes); /* 0 iff it is outside its range */

/* Borrows meta (64-byte aligned) and the arena while *out is in use; the sizes are
 * copied. MM_EINVAL: a number outside its range; meta NULL, misaligned or too small. */
MM_MUST_CHECK enum mm_err pool_segregated_init(void *meta, size_t meta_bytes,
					       const struct pool_segregated_config *config, struct heap *out);

struct pool_segregated_class pool_segregated_class_read(const struct heap *h, unsigned class);
struct pool_segregated_work pool_segregated_work_read(const struct heap *h);

#endif
