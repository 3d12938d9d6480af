/* mm/heap.h: the one interface of whatever serves bytes. Its implementations:
 *   over memory that is lent:  general_heap.h, arena.h, freelist.h, buddy_heap.h, pool_segregated.h,
 *                              pool_variable.h
 *   over a pool:               pool_heap.h
 *   out of another heap:       sizeclass.h, pool_tree.h
 *   in front of another heap:  checked.h, leak.h, inject.h
 * What all of them must do is tried by heap_conformance.h.
 *
 * Threads: as the implementation says; each call names its CPU, and no two
 *          threads are inside a call for one CPU of one heap at the same time.
 *          Memory may be freed on another CPU than it came from.
 * Errors:  NULL or false, and nothing has changed. */
#ifndef SLAT_MM_HEAP_H
#define SLAT_MM_HEAP_H

#include "mm/types.h"

#define HEAP_ALIGN 16u /* what every address is a multiple of, unasked */

struct heap_stats {
	/* Of live allocations; 0 counts as 1. Exact while every free and realloc so far
	 * named what was asked and no alignment was above a frame; else as well as the
	 * implementation knows, from `allocations` to bytes_given. Its maximum: at
	 * least what any reader saw, and what it was when bytes_held last grew by a 64th. */
	uint64_t bytes_asked, bytes_asked_max;
	uint64_t bytes_given; /* usable bytes of live allocations */
	uint64_t bytes_held;  /* taken from below: given, free and overhead */
	uint64_t bytes_total; /* what there is to take */
	uint64_t allocations; /* live now */
};

struct heap; /* one object: self and ops */

struct heap_ops {
	void *(*alloc)(void *self, unsigned cpu, size_t bytes, size_t align);
	void (*free)(void *self, unsigned cpu, void *memory, size_t bytes);
	void *(*realloc)(void *self, unsigned cpu, void *memory, size_t old_bytes, size_t bytes);
	size_t (*usable)(void *self, const void *memory);
	struct heap_stats (*stats)(void *self);
	bool (*check)(void *self);
	void (*fail_after)(void *self, uint64_t n);
};

struct heap {
	void *self;
	const struct heap_ops *ops;
};

/* `bytes` bytes (0 is served as 1) at a multiple of HEAP_ALIGN; not cleared.
 * NULL iff there is no room, or bytes is above PTRDIFF_MAX. */
static inline void *heap_alloc(const struct heap *h, unsigned cpu, size_t bytes)
{
	return h->ops->alloc(h->self, cpu, bytes, HEAP_ALIGN);
}

/* The same at a multiple of `align`; NULL too iff that is not a power of two. */
static inline void *heap_alloc_aligned(const struct heap *h, unsigned cpu, size_t bytes, size_t align)
{
	return h->ops->alloc(h->self, cpu, bytes, align);
}

/* n elements of `bytes` each, cleared. NULL too iff the product overflows. */
void *heap_alloc_zeroed(const struct heap *h, unsigned cpu, size_t n, size_t bytes);

/* Takes back what this heap gave. `bytes` is what was asked for, or anything up
 * to what heap_usable() says, or 0: not known. NULL is nothing to free. A wrong
 * or second free is the caller's bug: mm_panic() where it is seen. */
static inline void heap_free(const struct heap *h, unsigned cpu, void *memory, size_t bytes)
{
	h->ops->free(h->self, cpu, memory, bytes);
}

/* Makes it `bytes` long, elsewhere if it must; what both lengths share is kept;
 * alignment beyond HEAP_ALIGN is not. NULL: no room, `memory` is as it was.
 * Up to heap_usable() is never refused. memory NULL: as heap_alloc(). bytes 0: as
 * 1. old_bytes as in heap_free(). */
static inline void *heap_realloc(const struct heap *h, unsigned cpu, void *memory, size_t old_bytes, size_t bytes)
{
	return h->ops->realloc(h->self, cpu, memory, old_bytes, bytes);
}

/* How many bytes from `memory` on may be used: at least what was asked. */
static inline size_t heap_usable(const struct heap *h, const void *memory)
{
	return h->ops->usable(h->self, memory);
}

static inline struct heap_stats heap_stats_read(const struct heap *h)
{
	return h->ops->stats(h->self);
}

/* Of two heaps that serve as one and of which neither takes from the other: each figure
 * is the sum of theirs, the maximum too, which they need not have reached at once. */
struct heap_stats heap_stats_add(struct heap_stats a, struct heap_stats b);

/* All invariants of the implementation; only while no other call is under way. */
static inline bool heap_check(const struct heap *h)
{
	return h->ops->check(h->self);
}

/* Fault injection: the n-th allocation, or growth beyond heap_usable(), after this
 * call (1 is the next) is refused, once; 0 switches it off. For tests. */
static inline void heap_fail_after(const struct heap *h, uint64_t n)
{
	h->ops->fail_after(h->self, n);
}

#endif
