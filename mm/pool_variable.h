/* mm/pool_variable.h: a pool of any sizes whose every call takes a bounded number
 * of steps: the heap for what must meet a deadline. Theory, bound and invariants:
 * top of pool_variable.c.
 *
 * Memory:  the caller lends the metadata, and a region or a source of them.
 * Threads: any number, by one lock; with one CPU one thread at a time and no lock.
 * Errors:  as heap.h. */
#ifndef SLAT_MM_POOL_VARIABLE_H
#define SLAT_MM_POOL_VARIABLE_H

#include "mm/pool.h"

#define POOL_VARIABLE_REGION_MIN 4096u
#define POOL_VARIABLE_REGION_MAX (UINT64_C(1) << 35) /* an allocation: at most a quarter of it */
#define POOL_VARIABLE_REGIONS	 32u

/* List operations (a block enters a list, or leaves one) that no call exceeds. */
#define POOL_VARIABLE_ALLOC_WORK   2u /* one leaves, its rest enters */
#define POOL_VARIABLE_ALIGNED_WORK 3u /* and what lies before it */
#define POOL_VARIABLE_FREE_WORK	   3u /* two neighbours leave, the merged one enters */
#define POOL_VARIABLE_REALLOC_WORK 5u /* both of a move; the copy of the content is beside the bound */

struct pool_variable; /* opaque; fields in pool_variable_impl.h */

struct pool_variable_config {
	unsigned cpus;
	void *region; /* lent, HEAP_ALIGN aligned; NULL: none, all comes from the source */
	size_t region_bytes;
	uint64_t bytes_most;	   /* of all regions; 0: as region_bytes */
	size_t chunk_bytes;	   /* least to ask the source for */
	struct pool_source source; /* take NULL: none */
	const struct heap
		*fallback; /* serves what bound and source refuse; lent, for this pool alone; NULL: nothing does */
};

struct pool_variable_stats {
	uint64_t blocks_free, free_bytes, largest_free; /* usable bytes; of one block */
	uint64_t regions;
	uint64_t refused;					  /* faults on purpose are not */
	uint64_t alloc_work_max, free_work_max, realloc_work_max; /* list operations of one call, ever */
};

size_t pool_variable_meta_bytes(void);

/* Borrows meta (64-byte aligned) and the region while *out is in use. MM_EINVAL: a
 * number outside its range; meta NULL, misaligned or too small; neither region nor
 * source. */
MM_MUST_CHECK enum mm_err pool_variable_init(void *meta, size_t meta_bytes, const struct pool_variable_config *config,
					     struct heap *out);

/* Regions of the source that are free as a whole go back to it. How many bytes. */
size_t pool_variable_trim(const struct heap *h, unsigned cpu);

struct pool_variable_stats pool_variable_stats_read(const struct heap *h); /* O(blocks of one list) */

#endif
