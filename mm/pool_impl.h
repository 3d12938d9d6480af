/* mm/pool_impl.h: the fields of struct pool, for pool.c and its tests alone. */
#ifndef SLAT_MM_POOL_IMPL_H
#define SLAT_MM_POOL_IMPL_H

#include "mm/lock.h"
#include "mm/pool.h"

/* A chunk is at least as long as all before it, but for the last: a pool of 2^30 has at most 31, and a short one. */
#define POOL_CHUNKS 32u

/* What passes between a CPU and everybody at once: half of what a CPU may keep. */
#define POOL_BATCH (POOL_ROUNDS_MAX / 2)
_Static_assert(POOL_WORK == POOL_BATCH * (1 + POOL_CHUNKS) + POOL_CHUNKS, "as pool.h says");

/* Division of an offset by a product is exact below this many bytes of a pool. */
#define POOL_BYTES_MAX (UINT64_C(1) << 44)

struct pool_chunk {
	uintptr_t base;
	uint32_t first; /* index of its first object */
	uint32_t count;
	uint32_t fresh; /* so many were handed out before, or primed; (L) */
};

struct pool_cpu { /* its owner's alone; others read top */
	_Alignas(128) void **top;
	void **limit;
	void *round[POOL_ROUNDS_MAX];
};
_Static_assert(sizeof(struct pool_cpu) <= POOL_APART, "a CPU's part fits");
_Static_assert(offsetof(struct pool_cpu, limit) == offsetof(struct pool_hot, limit) &&
		       offsetof(struct pool_cpu, round) == offsetof(struct pool_hot, round),
	       "pool.h knows a CPU's part");

struct pool {
	struct pool_front front;
	uint32_t bytes, stride, align, rounds;
	uint32_t most, first_count;
	uint64_t reciprocal; /* ceil(2^64 / stride) */
	const void *pattern;
	void (*fill)(void *at, const void *pattern, size_t bytes, size_t stride, size_t n);
	struct pool_source source;
	const struct heap *fallback;
	uint32_t *stack; /* [most] indices of free objects; (L) */
	uint64_t *map;	 /* bit i: object i is in the stack; (L) */

	_Alignas(128) struct lock lock; /* for what has (L) */
	uint32_t depth;			/* of the stack; (L) */
	uint32_t made;			/* objects of all chunks; (L) */
	uint32_t coming;		/* of chunks that somebody asks the source for; (L) */
	uint32_t priming;		/* no longer fresh, getting their pattern from pool_prime(); (L) */
	uint32_t chunks;		/* (L), read by all */
	uint32_t fresh_chunk;		/* all before it have none fresh; (L) */
	uint64_t claimed;		/* neither fresh, nor in the stack, nor priming; (L), read by all */
	uint64_t claimed_max;		/* of it and from_fallback; (L), read by all */
	uint64_t from_fallback, refused, fail_after;
	uint32_t alloc_work_max, free_work_max; /* read and written by all */
	struct pool_chunk chunk[POOL_CHUNKS];	/* (L); base, first and count are read by all below `chunks` */
};
_Static_assert(sizeof(struct pool) <= POOL_CPU_AT, "CPU 0's part is behind it");

#endif
