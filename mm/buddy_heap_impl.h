/* mm/buddy_heap_impl.h: the fields behind buddy_heap.h, for buddy_heap.c and its own tests. */
#ifndef SLAT_MM_BUDDY_HEAP_IMPL_H
#define SLAT_MM_BUDDY_HEAP_IMPL_H

#include "mm/buddy_heap.h"
#include "mm/heap_count.h"

struct buddy_heap {
	struct heap_ops ops; /* here, since a table of its own would need relocations */
	struct buddy *buddy; /* in frames of HEAP_ALIGN bytes */
	unsigned char *region;
	uint64_t frames;
	struct heap_count count;
};

#endif
