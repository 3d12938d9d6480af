/* mm/freelist_impl.h: the fields behind freelist.h, for freelist.c and its own tests. */
#ifndef SLAT_MM_FREELIST_IMPL_H
#define SLAT_MM_FREELIST_IMPL_H

#include "mm/freelist.h"
#include "mm/heap_count.h"

#define FREELIST_TAKEN	    1u /* marks in the low bits of a block's length */
#define FREELIST_BELOW_FREE 2u /* the block that ends here is a hole */
#define FREELIST_MARKS	    (HEAP_ALIGN - 1)

struct freelist_block {	 /* the start of each: 16 bytes */
	uint64_t length; /* in bytes, this included, a multiple of 16; plus marks */
	uint32_t slack;	 /* of a taken one: what follows beyond what was asked */
	uint32_t tag;
};

struct freelist_hole { /* the start of a free one; its length again is the last word */
	uint64_t length;
	struct freelist_hole *next;
	struct freelist_hole **from; /* what points here */
};

_Static_assert(sizeof(struct freelist_block) == FREELIST_OVERHEAD, "what follows a header is aligned");
_Static_assert(sizeof(struct freelist_hole) + sizeof(uint64_t) == FREELIST_BLOCK_MIN, "a hole of any length is one");

struct freelist {
	struct heap_ops ops; /* here, since a table of its own would need relocations */
	unsigned char *start;
	size_t bytes; /* of the blocks; a taken header of length 0 lies behind them */
	bool merging;
	struct freelist_hole *first;
	uint64_t holes, holes_max, bytes_free, looked_max;
	struct heap_count count;
};

#endif
