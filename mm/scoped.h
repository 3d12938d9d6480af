/* mm/scoped.h: handles that undo themselves where their name ends, by the cleanup
 * attribute: each way out of a block, an early return too, gives back what it took.
 *
 *	SCOPED_BLOCK(seen) = scoped_alloc_zeroed(heap, cpu, n, sizeof(*at));
 *	SCOPED_ARENA(scratch) = scoped_arena_open(arena);
 *	SCOPED_VEC(found);
 *
 * What outlives the block leaves it by scoped_keep(), vec_keep(). Threads: as what they
 * hold. */
#ifndef SLAT_MM_SCOPED_H
#define SLAT_MM_SCOPED_H

#include "mm/arena.h"
#include "mm/heap.h"
#include "mm/vec.h"

struct scoped_block {
	const struct heap *heap;
	unsigned cpu;
	void *at; /* NULL: none */
};

struct scoped_arena {
	struct arena *arena;
	struct arena_mark mark;
};

static inline struct scoped_block scoped_alloc(const struct heap *h, unsigned cpu, size_t bytes)
{
	return (struct scoped_block){h, cpu, heap_alloc(h, cpu, bytes)};
}

static inline struct scoped_block scoped_alloc_zeroed(const struct heap *h, unsigned cpu, size_t n, size_t bytes)
{
	return (struct scoped_block){h, cpu, heap_alloc_zeroed(h, cpu, n, bytes)};
}

/* It stays when the scope ends, and is the caller's. */
static inline void *scoped_keep(struct scoped_block *b)
{
	void *at = b->at;

	b->at = NULL;
	return at;
}

static inline void scoped_block_close(struct scoped_block *b)
{
	if (b->at)
		heap_free(b->heap, b->cpu, b->at, 0);
}

/* What is taken from it from here on is gone when the scope ends. */
static inline struct scoped_arena scoped_arena_open(struct arena *a)
{
	return (struct scoped_arena){a, arena_mark(a)};
}

static inline void scoped_arena_close(struct scoped_arena *s)
{
	arena_reset(s->arena, s->mark);
}

#define SCOPED_BLOCK(name) __attribute__((cleanup(scoped_block_close))) struct scoped_block name
#define SCOPED_ARENA(name) __attribute__((cleanup(scoped_arena_close))) struct scoped_arena name
#define SCOPED_VEC(name)   __attribute__((cleanup(vec_fini))) struct vec name

#endif
