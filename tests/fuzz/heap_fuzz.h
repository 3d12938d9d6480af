/* tests/fuzz/heap_fuzz.h: a stream of operations on any heap of mm/, against a record
 * of what is live and a pattern in all that may be used. Two CPUs take turns.
 *
 * Input: 4 bytes an operation: verb and CPU, slot, bits of the size, size. */
#ifndef SLAT_TESTS_FUZZ_HEAP_FUZZ_H
#define SLAT_TESTS_FUZZ_HEAP_FUZZ_H

#include <stdlib.h>
#include <string.h>

#include "mm/heap.h"
#include "mm/port.h"

#define SLOTS 64u
#define CPUS  2u

struct slot {
	unsigned char *at;
	size_t bytes, usable;
	unsigned char fill;
};

static struct slot slots[SLOTS];
static struct heap heap;
static uint64_t live, given, fault; /* fault: allocations until one is refused, 0: none */
static unsigned char fills;

static void set(struct slot *s, void *memory, size_t bytes, size_t align)
{
	size_t usable = heap_usable(&heap, memory);

	MM_ASSERT((uintptr_t)memory % align == 0, memory, align);
	MM_ASSERT(usable >= bytes && usable > 0, usable, bytes);
	*s = (struct slot){.at = memory, .bytes = bytes, .usable = usable, .fill = ++fills};
	memset(memory, s->fill, usable);
	live++;
	given += usable;
}

static void holds(const unsigned char *at, size_t bytes, unsigned char fill)
{
	for (size_t i = 0; i < bytes; i++)
		MM_ASSERT(at[i] == fill, at, i);
}

static void clear(struct slot *s)
{
	live--;
	given -= s->usable;
	s->at = NULL;
}

static bool fault_now(void)
{
	return fault > 0 && --fault == 0;
}

static void take(struct slot *s, unsigned cpu, size_t bytes, size_t align, bool zeroed)
{
	bool refused = fault_now();
	void *memory = zeroed ? heap_alloc_zeroed(&heap, cpu, 1, bytes) : heap_alloc_aligned(&heap, cpu, bytes, align);

	MM_ASSERT(!refused || !memory, bytes, align);
	if (!memory)
		return;
	if (zeroed)
		holds(memory, bytes, 0);
	set(s, memory, bytes, zeroed ? HEAP_ALIGN : align);
}

static void resize(struct slot *s, unsigned cpu, size_t bytes, size_t named)
{
	struct slot old = *s;
	bool refused = bytes > old.usable && fault_now();
	void *memory = heap_realloc(&heap, cpu, s->at, named, bytes);

	MM_ASSERT(!refused || !memory, bytes, named);
	if (!memory) {
		MM_ASSERT(bytes > old.usable, bytes, old.usable);
		holds(old.at, old.usable, old.fill);
		return;
	}
	holds(memory, old.bytes < bytes ? old.bytes : bytes, old.fill);
	clear(s);
	set(s, memory, bytes, HEAP_ALIGN);
}

static void give(struct slot *s, unsigned cpu, size_t named)
{
	void *memory = s->at;

	holds(s->at, s->usable, s->fill);
	clear(s);
	heap_free(&heap, cpu, memory, named);
}

/* `reap`: what the heap can give back. */
static void step(const uint8_t *op, void (*reap)(unsigned cpu, bool all))
{
	struct slot *s = &slots[op[1] % SLOTS];
	unsigned cpu = op[0] >> 7;
	size_t bytes = (((size_t)1 << op[2] % 22) * (256u + op[3])) >> 8;
	size_t named = !s->at || (op[3] & 3) == 0 ? 0 : (op[3] & 3) == 1 ? s->usable : s->bytes;

	switch (op[0] & 7) {
	case 0:
		fault = op[3] % 4;
		heap_fail_after(&heap, fault);
		break;
	case 1:
		reap(cpu, op[3] & 1);
		break;
	case 2:
	case 3:
		if (s->at) {
			resize(s, cpu, bytes, named);
			break;
		}
		/* fall through */
	default:
		if (s->at)
			give(s, cpu, named);
		else
			take(s, cpu, bytes, op[0] & 64 ? (size_t)1 << op[3] % 14 : HEAP_ALIGN, (op[0] & 96) == 32);
	}
}

static void compare(void)
{
	struct heap_stats s = heap_stats_read(&heap);

	MM_ASSERT(s.allocations == live && s.bytes_given == given, s.allocations, s.bytes_given);
	MM_ASSERT(s.bytes_asked >= live && s.bytes_asked <= given && s.bytes_asked <= s.bytes_asked_max, s.bytes_asked,
		  s.bytes_asked_max);
	MM_ASSERT(s.bytes_held >= given && s.bytes_held <= s.bytes_total, s.bytes_held, s.bytes_total);
	MM_ASSERT(s.bytes_asked_max <= s.bytes_total, s.bytes_asked_max, s.bytes_total);
	MM_ASSERT(heap_check(&heap), live, given);
}

static inline void *lend(size_t bytes)
{
	void *memory = aligned_alloc(64, (bytes + 63) & ~(size_t)63);

	if (!memory)
		abort();
	return memory;
}

/* On `heap`, which is empty; and it is again. */
static void play(const uint8_t *data, size_t size, void (*reap)(unsigned cpu, bool all))
{
	memset(slots, 0, sizeof(slots));
	live = given = fault = 0;
	for (const uint8_t *op = data; op + 4 <= data + size; op += 4) {
		step(op, reap);
		compare();
	}
	for (unsigned i = 0; i < SLOTS; i++)
		if (slots[i].at)
			give(&slots[i], i % CPUS, 0);
	compare();
}

#endif
