/* vmm/redzone.c
 *
 * What it is. The address sanitizer watches libc's heap, and knows nothing of one
 * that lies in a mapping: there an overflow hits a neighbour, and what was freed
 * is read as if it were alive. This heap tells it, to the byte. It asks the one
 * below for REDZONE bytes more than it was asked for, and allows exactly what was
 * asked; what is freed is forbidden until it is handed out again.
 *
 * Words. Poisoned: an access ends the program with the sanitizer's report. The
 * first poisoned byte of an allocation tells its length, so nothing is kept: what
 * is usable here is what was asked.
 *
 *   R1  of a live allocation, what was asked is not poisoned, and what is usable
 *       below beyond that is, one byte or more;
 *   R2  what was freed is poisoned until it is handed out again or its frames
 *       become another slab; so is what was never taken from the frames;
 *   R3  the heap below writes into no object; frames that become a slab it frees
 *       of poison itself (MM_UNPOISON), so that it can write its headers.
 *
 * Cost: an eighth of the bytes concerned, written to the sanitizer's shadow.
 * Failure: as below; lengths above PTRDIFF_MAX are refused before REDZONE is added.
 *
 * What it cannot see. What was never handed out of a slab, and a slab's header:
 * but no overflow gets there past a redzone. A wrong pointer to some other live
 * object. realloc() stays where it is whenever the length fits, so the moves of
 * the heap below are not exercised by it.
 *
 * Rejected. Poisoning by the heap itself: mm/ would know of the sanitizer in each
 * of its layers. libc's heap instead of slat's in such builds: it would watch all,
 * but for the code that is to be tried. */
#include "vmm/redzone.h"

#include "mm/port.h"

#if MM_ADDRESS_SANITIZER

#include <sanitizer/asan_interface.h>
#include <string.h>

#define REDZONE HEAP_ALIGN

static size_t at_least_1(size_t bytes)
{
	return bytes + (bytes == 0);
}

/* What was asked, by R1. */
static size_t asked_of(const struct redzone *r, void *memory)
{
	size_t below = heap_usable(&r->below, memory);
	uint8_t *first = __asan_region_is_poisoned(memory, below);

	MM_ASSERT(first && first > (uint8_t *)memory, memory, below);
	return (size_t)(first - (uint8_t *)memory);
}

static void count(struct redzone *r, size_t asked, size_t was)
{
	r->asked += asked - was;
	if (r->asked > r->asked_max)
		r->asked_max = r->asked;
}

/* Of memory that is usable so far below, `asked` bytes may be used. */
static void allow(const struct redzone *r, void *memory, size_t asked)
{
	size_t below = heap_usable(&r->below, memory);

	__asan_unpoison_memory_region(memory, asked);
	__asan_poison_memory_region((uint8_t *)memory + asked, below - asked);
}

static void *redzone_alloc(void *self, unsigned cpu, size_t bytes, size_t align)
{
	struct redzone *r = self;
	size_t asked = at_least_1(bytes);
	void *memory = NULL;

	if (asked <= PTRDIFF_MAX)
		memory = heap_alloc_aligned(&r->below, cpu, asked + REDZONE, align);
	if (!memory)
		return NULL;
	allow(r, memory, asked);
	count(r, asked, 0);
	r->allocations++;
	return memory;
}

static void redzone_free(void *self, unsigned cpu, void *memory, size_t bytes)
{
	struct redzone *r = self;
	size_t asked;

	if (!memory)
		return;
	asked = asked_of(r, memory);
	MM_ASSERT(bytes <= asked, bytes, asked);
	__asan_poison_memory_region(memory, heap_usable(&r->below, memory));
	heap_free(&r->below, cpu, memory, asked + REDZONE);
	count(r, 0, asked);
	r->allocations--;
}

static void *redzone_realloc(void *self, unsigned cpu, void *memory, size_t old_bytes, size_t bytes)
{
	struct redzone *r = self;
	size_t was, asked = at_least_1(bytes);
	void *moved;

	if (!memory)
		return redzone_alloc(self, cpu, bytes, HEAP_ALIGN);
	was = asked_of(r, memory);
	MM_ASSERT(old_bytes <= was, old_bytes, was);
	if (asked <= was) {
		allow(r, memory, asked);
		count(r, asked, was);
		return memory;
	}
	moved = redzone_alloc(self, cpu, bytes, HEAP_ALIGN);
	if (!moved)
		return NULL;
	memcpy(moved, memory, was);
	redzone_free(self, cpu, memory, old_bytes);
	return moved;
}

static size_t redzone_usable(void *self, const void *memory)
{
	return asked_of(self, (void *)(uintptr_t)memory);
}

static struct heap_stats redzone_stats(void *self)
{
	const struct redzone *r = self;
	struct heap_stats s = heap_stats_read(&r->below);

	MM_ASSERT(s.allocations == r->allocations, s.allocations, r->allocations);
	s.bytes_asked = s.bytes_given = r->asked;
	s.bytes_asked_max = r->asked_max;
	return s;
}

static bool redzone_check(void *self)
{
	const struct redzone *r = self;

	return heap_check(&r->below) && heap_stats_read(&r->below).allocations == r->allocations;
}

static void redzone_fail_after(void *self, uint64_t n)
{
	heap_fail_after(&((struct redzone *)self)->below, n);
}

static const struct heap_ops ops = {redzone_alloc, redzone_free,  redzone_realloc,   redzone_usable,
				    redzone_stats, redzone_check, redzone_fail_after};

void redzone_open(struct redzone *r, uint8_t *arena, size_t bytes, struct heap *heap)
{
	*r = (struct redzone){.below = *heap, .arena = arena, .bytes = bytes};
	__asan_poison_memory_region(arena, bytes);
	*heap = (struct heap){.self = r, .ops = &ops};
}

void redzone_close(struct redzone *r)
{
	__asan_unpoison_memory_region(r->arena, r->bytes);
}

#else

void redzone_open(struct redzone *r, uint8_t *arena, size_t bytes, struct heap *heap)
{
	*r = (struct redzone){.below = *heap, .arena = arena, .bytes = bytes};
}

void redzone_close(struct redzone *r)
{
	(void)r;
}

#endif
