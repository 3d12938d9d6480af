/* mm/heap_count.h: what heaps that one thread calls at a time have alike: their
 * figures, the fault that is set, the mark by which a header is known.
 * Threads: one at a time. */
#ifndef SLAT_MM_HEAP_COUNT_H
#define SLAT_MM_HEAP_COUNT_H

#include "mm/heap.h"

struct heap_count {
	uint64_t asked, asked_max, given, live; /* as struct heap_stats has them */
	uint64_t held_max;
	uint64_t fail_after;
};

static inline size_t heap_at_least_1(size_t bytes)
{
	return bytes + (bytes == 0);
}

static inline size_t heap_round_up(size_t bytes, size_t align)
{
	return (bytes + align - 1) & ~(align - 1);
}

/* Whether heap.h lets it be asked for. */
static inline bool heap_may_ask(size_t bytes, size_t align)
{
	return align != 0 && (align & (align - 1)) == 0 && bytes <= PTRDIFF_MAX;
}

/* Whether this allocation or growth is the one to be refused. */
static inline bool heap_fails_now(struct heap_count *c)
{
	return c->fail_after > 0 && --c->fail_after == 0;
}

static inline void heap_count_asked(struct heap_count *c, uint64_t more)
{
	c->asked += more;
	if (c->asked > c->asked_max)
		c->asked_max = c->asked;
}

static inline void heap_count_alloc(struct heap_count *c, size_t asked, size_t given)
{
	heap_count_asked(c, asked);
	c->given += given;
	c->live++;
}

static inline void heap_count_free(struct heap_count *c, size_t asked, size_t given)
{
	c->asked -= asked;
	c->given -= given;
	c->live--;
}

/* What was asked of a live one of heaps that do not write it down, as well as it is known. */
static inline size_t heap_count_asked_of(const struct heap_count *c, size_t named)
{
	return named ? named : c->asked / c->live;
}

/* Of those, after any change: never off the bounds that the live ones set, whatever was named; the mark follows only
 * what is within them. */
static inline void heap_count_settle(struct heap_count *c)
{
	if ((int64_t)c->asked < (int64_t)c->live)
		c->asked = c->live;
	if (c->asked > c->given)
		c->asked = c->given;
	if (c->asked > c->asked_max)
		c->asked_max = c->asked;
}

static inline void heap_count_held(struct heap_count *c, uint64_t held)
{
	if (held > c->held_max)
		c->held_max = held;
}

static inline struct heap_stats heap_count_stats(const struct heap_count *c, uint64_t held, uint64_t total)
{
	return (struct heap_stats){
		.bytes_asked = c->asked,
		.bytes_asked_max = c->asked_max,
		.bytes_given = c->given,
		.bytes_held = held,
		.bytes_total = total,
		.allocations = c->live,
	};
}

/* What a header says of itself, of 32 bits: other words, or a header that was
 * copied elsewhere, or none, agree with it by chance only. */
static inline uint32_t heap_tag(const void *header, uint64_t word)
{
	uint64_t x = ((uintptr_t)header ^ word * UINT64_C(0x9e3779b97f4a7c15)) * UINT64_C(0xff51afd7ed558ccd);

	return (uint32_t)(x >> 32);
}

/* `bytes` elsewhere, with what both lengths share; NULL: `memory` is as it was. For
 * realloc; `old_bytes` as it was told, `usable` of the old. */
static inline void *heap_move(const struct heap *h, unsigned cpu, void *memory, size_t old_bytes, size_t usable,
			      size_t bytes)
{
	size_t kept = old_bytes ? old_bytes : usable;
	void *moved = heap_alloc(h, cpu, bytes);

	if (!moved)
		return NULL;
	__builtin_memcpy(moved, memory, kept < bytes ? kept : bytes);
	heap_free(h, cpu, memory, old_bytes);
	return moved;
}

#endif
