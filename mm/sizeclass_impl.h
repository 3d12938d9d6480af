/* mm/sizeclass_impl.h: the fields behind sizeclass.h, for sizeclass.c and its own tests. */
#ifndef SLAT_MM_SIZECLASS_IMPL_H
#define SLAT_MM_SIZECLASS_IMPL_H

#include "mm/heap_count.h"
#include "mm/sizeclass.h"

struct sizeclass_block { /* the start of a free one */
	struct sizeclass_block *next;
	uint64_t mark; /* that of its address: whoever frees it again finds it */
};

_Static_assert(sizeof(struct sizeclass_block) <= SIZECLASS_SMALLEST, "a block of any class holds one");
_Static_assert(SIZECLASS_SMALLEST << (SIZECLASS_COUNT - 1) == SIZECLASS_LARGEST, "classes are the powers of two");

struct sizeclass {
	struct heap_ops ops; /* here, since a table of its own would need relocations */
	struct heap below;
	bool gives_back;
	struct sizeclass_block *first[SIZECLASS_COUNT];
	uint64_t free[SIZECLASS_COUNT];
	uint64_t held; /* usable bytes that are taken from below, free or live */
	uint64_t free_bytes;
	uint64_t from_below, given_back;
	struct heap_count count;
};

#endif
