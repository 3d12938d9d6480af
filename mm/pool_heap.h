/* mm/pool_heap.h: a pool of objects of one size as a heap, for code that asks any heap.
 * Theory: top of pool_heap.c.
 *
 * Memory:  its state; all objects are the pool's, which others may use as well.
 * Threads: as the pool's. */
#ifndef SLAT_MM_POOL_HEAP_H
#define SLAT_MM_POOL_HEAP_H

#include "mm/heap.h"
#include "mm/pool.h"

size_t pool_heap_meta_bytes(void);

/* Borrows meta (64-byte aligned) and the pool while *out is in use; `config` is what the pool
 * was made by. Each allocation is one object: what is longer, or more aligned, is refused.
 * What the pool's fallback has is not in bytes_held and bytes_total.
 * MM_EINVAL: meta NULL, misaligned or too small; objects less aligned than HEAP_ALIGN, or of a
 * length that is no multiple of it. */
MM_MUST_CHECK enum mm_err pool_heap_init(void *meta, size_t meta_bytes, struct pool *pool,
					 const struct pool_config *config, struct heap *out);

#endif
