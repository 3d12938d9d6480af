/* mm/arena.h: bump allocation: what is taken lies behind what was taken before,
 * and goes all at once, back to a mark or to the start. Theory: top of arena.c.
 *
 * Memory:  the caller lends it; struct arena writes none of it.
 * Threads: one at a time; for scratch, one arena a thread.
 * Errors:  NULL: no room; nothing has changed. */
#ifndef SLAT_MM_ARENA_H
#define SLAT_MM_ARENA_H

#include "mm/heap.h"
#include "mm/port.h"

struct arena {
	unsigned char *start;
	size_t bytes, used;
	size_t used_max; /* exact at a reset and in arena_used_max() */
};

struct arena_mark {
	size_t used;
};

/* Borrows `memory` while in use; nothing to undo. bytes 0 is an arena that has no room. */
static inline void arena_init(struct arena *a, void *memory, size_t bytes)
{
	*a = (struct arena){.start = memory, .bytes = bytes};
}

/* `bytes` bytes (0 is served as 1) at a multiple of `align`, a power of two; not
 * cleared. A compare and an add, whatever was taken before. */
static inline void *arena_alloc(struct arena *a, size_t bytes, size_t align)
{
	size_t gap = -((uintptr_t)a->start + a->used) & (align - 1), left = a->bytes - a->used;

	bytes += bytes == 0;
	if (__builtin_expect(gap > left || bytes > left - gap, 0))
		return NULL;
	a->used += gap + bytes;
	return a->start + a->used - bytes;
}

static inline struct arena_mark arena_mark(const struct arena *a)
{
	return (struct arena_mark){a->used};
}

/* All that was taken since the mark is gone. One instruction's work, however much
 * it was. A mark that lies behind what is taken is the caller's bug: mm_panic(). */
static inline void arena_reset(struct arena *a, struct arena_mark mark)
{
	MM_ASSERT(mark.used <= a->used, mark.used, a->used);
	if (a->used > a->used_max)
		a->used_max = a->used;
	a->used = mark.used;
}

/* The most that was ever taken at once. */
static inline size_t arena_used_max(const struct arena *a)
{
	return a->used > a->used_max ? a->used : a->used_max;
}

bool arena_check(const struct arena *a);

/* ---- the counter form: a heap ----
 * Each allocation is counted; when the last one is freed, all the memory is there
 * again, and not before: that is its flaw. The newest one grows and shrinks where
 * it is. Every call is O(1), but for the bytes that a realloc copies. */

#define ARENA_HEAP_OVERHEAD  16u		 /* bytes before each allocation */
#define ARENA_HEAP_BYTES_MAX (UINT64_C(1) << 36) /* of memory lent */

struct arena_heap; /* opaque; fields in arena_impl.h; it lies at the start of what was lent */

/* Borrows `memory` while *out is in use. MM_EINVAL: NULL, not 64-byte aligned, less
 * than 4 KiB or more than ARENA_HEAP_BYTES_MAX. A wrong or second free is seen while
 * the memory has not been handed out anew. */
MM_MUST_CHECK enum mm_err arena_heap_init(void *memory, size_t bytes, struct heap *out);

size_t arena_heap_held_max(const struct heap *h); /* the most bytes that it ever held */

#endif
