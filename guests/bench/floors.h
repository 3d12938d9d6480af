/* guests/bench/floors.h: the least that an allocation and its free can cost,
 * which the figures of real allocators are held against: an array used as a
 * stack, out of line as every allocator of frames is, and a free list inside
 * the objects, inlined.
 *
 * Memory:  the caller's.
 * Threads: one for each floor: nothing here knows of a second one.
 * Errors:  LOOP_NONE: no more. A free is believed. */
#ifndef SLAT_GUESTS_BENCH_FLOORS_H
#define SLAT_GUESTS_BENCH_FLOORS_H

#include "guests/bench/loops.h"

/* Out of line, and nothing of its inside known to the caller. */
#if __has_attribute(noipa)
#define FLOOR_OUT_OF_LINE static __attribute__((noipa, unused))
#else
#define FLOOR_OUT_OF_LINE static __attribute__((noinline, unused))
#endif

struct floor_stack {
	uint32_t *number; /* [0, top) are free */
	uint32_t top;
};

/* Numbers 0, step, ... count of them, the lowest on top. */
static inline void floor_stack_init(struct floor_stack *s, uint32_t *room, uint32_t count, uint32_t step)
{
	s->number = room;
	s->top = count;
	for (uint32_t i = 0; i < count; i++)
		room[i] = (count - 1 - i) * step;
}

FLOOR_OUT_OF_LINE uintptr_t floor_stack_take(void *self, unsigned order)
{
	struct floor_stack *s = self;

	(void)order;
	return s->top ? s->number[--s->top] : LOOP_NONE;
}

FLOOR_OUT_OF_LINE void floor_stack_give(void *self, uintptr_t item, unsigned order)
{
	struct floor_stack *s = self;

	(void)order;
	s->number[s->top++] = (uint32_t)item;
}

struct floor_list {
	void *first; /* each free object's first word is the next one */
	char *fresh; /* never taken yet: [fresh, end) */
	char *end;
	uint32_t bytes; /* of an object */
};

static inline uintptr_t floor_list_take(void *self, unsigned order)
{
	struct floor_list *list = self;
	void *object = list->first;

	(void)order;
	if (object) {
		list->first = *(void **)object;
		return (uintptr_t)object;
	}
	if (list->fresh + list->bytes > list->end)
		return LOOP_NONE;
	list->fresh += list->bytes;
	return (uintptr_t)list->fresh - list->bytes;
}

static inline void floor_list_give(void *self, uintptr_t item, unsigned order)
{
	struct floor_list *list = self;

	(void)order;
	*(void **)item = list->first;
	list->first = (void *)item;
}

#endif
