/* mm/pool_heap_impl.h: the fields of a pool's heap, for pool_heap.c and its tests alone. */
#ifndef SLAT_MM_POOL_HEAP_IMPL_H
#define SLAT_MM_POOL_HEAP_IMPL_H

#include "mm/pool_heap.h"

struct pool_heap {
	_Alignas(64) struct heap_ops ops; /* here, since a table of its own would need relocations */
	struct pool *pool;
	size_t bytes, align; /* of an object */
	uint64_t total;
	uint64_t asked, asked_max, live, fail_after; /* relaxed, by all */
};

#endif
