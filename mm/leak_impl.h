/* mm/leak_impl.h: the fields behind leak.h, for leak.c and its own tests. */
#ifndef SLAT_MM_LEAK_IMPL_H
#define SLAT_MM_LEAK_IMPL_H

#include "mm/leak.h"
#include "mm/lock.h"

#define LEAK_COUNT_SHIFT 16u /* fixed point of allocations that others stand for */

/* Of the blocks that are recorded. Small: below the sample, so that each stands for
 * others, too. Large: recorded with certainty. */
struct leak_sum {
	uint64_t small, small_bytes;
	uint64_t large, large_bytes;
	uint64_t small_stand_for; /* allocations, in fixed point */
};

struct leak_block { /* one that is recorded; index 0 is none */
	uintptr_t address;
	uint64_t bytes;
	uint32_t stack;
	uint32_t next; /* in its bucket, or of those not in use */
};

struct leak_die { /* one CPU's own */
	_Alignas(64) uint64_t state;
};

struct leak {
	struct leak_config config;
	unsigned shift; /* a hash down to a bucket */
	uint32_t stacks_max;
	struct leak_die *dice;	   /* [cpus] */
	uint32_t *buckets;	   /* [2^(64 - shift)]: an index, or 0; atomics, written under the lock */
	struct leak_block *blocks; /* [blocks_max + 1] */
	struct leak_sum *sums;	   /* [stacks_max + 1], by stack; atomics, written under the lock */

	_Alignas(64) struct lock lock; /* of all that follows, and the blocks */
	uint32_t made;		       /* blocks 1 to `made` were in use once */
	uint32_t unused;	       /* the first of these that is not now */
	uint32_t live;
	uint64_t unknown, unknown_bytes; /* atomics */
};

_Static_assert(sizeof(struct leak_block) + 2 * sizeof(uint32_t) <= LEAK_BLOCK_BYTES, "with its share of the buckets");

#endif
