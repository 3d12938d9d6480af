/* vmm/preload_heap.c: one heap of two: the range for what is small or middling, mappings
 * of their own for what is large.
 *
 * The border. At first what is as large as DIRECT_BYTES has its own mapping. Whoever frees
 * such a block and asks for one of its size again pays for its pages anew; so the first free raises the
 * border above that block, up to DIRECT_BYTES_MAX, and the range, which keeps
 * pages for a while, has the next. A block that grows beyond GROWN_BYTES becomes a mapping,
 * though: then it is copied no more.
 *
 * Whose is it. An address of the range is the range's; else it is looked up; else it was
 * never given, or is given no more, and the process ends. */
#include <stdlib.h>

#include "mm/lock.h"
#include "vmm/preload_direct.h"
#include "vmm/preload_heap.h"
#include "vmm/preload_modes.h"
#include "vmm/preload_range.h"
#include "vmm/preload_slot.h"

#define DIRECT_BYTES	 (UINT64_C(1) << 20)
#define DIRECT_BYTES_MAX (UINT64_C(32) << 20)
#define DIRECT_ALIGN	 (UINT64_C(2) << 20) /* from here on runs would waste as much as they hold */
#define GROWN_BYTES	 (UINT64_C(256) << 10)

struct heap preload_heap;
bool preload_heap_plain;
bool preload_heap_fronted;
bool preload_heap_marked;

static size_t border = DIRECT_BYTES;

static size_t border_now(void)
{
	return __atomic_load_n(&border, __ATOMIC_RELAXED);
}

/* ---- the heap ---- */

static void *both_alloc(void *self, unsigned cpu, size_t bytes, size_t align)
{
	bool direct = bytes >= border_now() || align >= DIRECT_ALIGN;
	void *memory;

	(void)self;
	if (align == 0 || (align & (align - 1)) != 0)
		return NULL;
	bytes += bytes == 0;
	memory = direct ? preload_direct_alloc(bytes, align)
			: heap_alloc_aligned(&preload_range.heap, cpu, bytes, align);
	if (memory || bytes <= GENERAL_HEAP_SMALL_MAX)
		return memory;
	/* One of the two may have reached a limit of its own. */
	return direct ? heap_alloc_aligned(&preload_range.heap, cpu, bytes, align) : preload_direct_alloc(bytes, align);
}

static void both_free(void *self, unsigned cpu, void *memory, size_t bytes)
{
	size_t was;

	(void)self;
	if (!memory)
		return;
	if (preload_range_has(memory)) {
		heap_free(&preload_range.heap, cpu, memory, bytes);
		return;
	}
	was = preload_direct_free(memory);
	MM_ASSERT(was > 0, memory, bytes);
	if (was >= border_now() && was < DIRECT_BYTES_MAX)
		__atomic_store_n(&border, was + 1, __ATOMIC_RELAXED);
}

static size_t both_usable(void *self, const void *memory)
{
	size_t bytes;

	(void)self;
	if (preload_range_has(memory))
		return heap_usable(&preload_range.heap, memory);
	bytes = preload_direct_bytes(memory);
	MM_ASSERT(bytes > 0, memory, bytes);
	return bytes;
}

static void *move(unsigned cpu, void *memory, size_t usable, size_t bytes)
{
	void *moved = bytes >= GROWN_BYTES && bytes > usable ? preload_direct_alloc(bytes, HEAP_ALIGN) : NULL;

	if (!moved && !(moved = both_alloc(NULL, cpu, bytes, HEAP_ALIGN)))
		return NULL;
	__builtin_memcpy(moved, memory, usable < bytes ? usable : bytes);
	both_free(NULL, cpu, memory, 0);
	return moved;
}

static void *both_realloc(void *self, unsigned cpu, void *memory, size_t old_bytes, size_t bytes)
{
	size_t usable;
	void *moved;

	if (!memory)
		return both_alloc(self, cpu, bytes, HEAP_ALIGN);
	usable = both_usable(self, memory);
	if (preload_range_has(memory)) {
		if (bytes < GROWN_BYTES || bytes <= usable)
			return heap_realloc(&preload_range.heap, cpu, memory, old_bytes, bytes);
		return move(cpu, memory, usable, bytes);
	}
	moved = bytes >= GROWN_BYTES / 2 ? preload_direct_resize(memory, bytes) : NULL;
	if (!moved)
		moved = move(cpu, memory, usable, bytes + (bytes == 0));
	return moved || bytes > usable ? moved : memory;
}

static struct heap_stats both_stats(void *self)
{
	struct heap_stats range = heap_stats_read(&preload_range.heap);
	struct preload_direct_stats direct = preload_direct_stats_read();

	(void)self;
	return heap_stats_add(range, (struct heap_stats){.bytes_asked = direct.bytes,
							 .bytes_asked_max = direct.bytes,
							 .bytes_given = direct.bytes,
							 .bytes_held = direct.bytes,
							 .bytes_total = direct.bytes,
							 .allocations = direct.blocks});
}

/* What the range's own check reads is as large as the range: that is for the heap's own tests. */
static bool both_check(void *self)
{
	(void)self;
	return true;
}

static void both_fail_after(void *self, uint64_t n)
{
	(void)self;
	heap_fail_after(&preload_range.heap, n);
}

static const struct heap_ops both = {both_alloc, both_free,  both_realloc,   both_usable,
				     both_stats, both_check, both_fail_after};

bool preload_heap_is_fresh(const void *memory, size_t bytes)
{
	return !preload_range_has(memory) || preload_range_is_fresh(memory, bytes);
}

/* ---- giving back ---- */

static void send_home(unsigned cpu)
{
	general_heap_flush(&preload_range.heap, cpu);
}

size_t preload_heap_trim(unsigned cpu, bool all)
{
	preload_each_left(send_home);
	general_heap_reap(&preload_range.heap, cpu, all);
	return preload_range_trim(cpu, all);
}

/* ---- set up ---- */

enum { NOTHING, MAKING, READY, REFUSED };
static uint32_t state;

static void make(void)
{
	bool made = preload_range_make(PRELOAD_SLOTS);

	if (made) {
		preload_slots_make();
		preload_heap = (struct heap){NULL, &both};
		preload_heap_plain =
			!preload_modes_wrap(&preload_heap, PRELOAD_SLOTS, preload_range.frames << FRAME_SHIFT);
		preload_heap_fronted = preload_heap_plain || preload_modes_sampler;
		preload_heap_marked = !preload_modes_checking();
	}
	__atomic_store_n(&state, made ? READY : REFUSED, __ATOMIC_RELEASE);
}

bool preload_heap_ready(void)
{
	uint32_t now = __atomic_load_n(&state, __ATOMIC_ACQUIRE);

	if (__builtin_expect(now == READY, 1))
		return true;
	if (now == NOTHING &&
	    __atomic_compare_exchange_n(&state, &now, MAKING, false, __ATOMIC_ACQUIRE, __ATOMIC_ACQUIRE)) {
		make();
		now = __atomic_load_n(&state, __ATOMIC_ACQUIRE);
	}
	while (now == MAKING) {
		mm_yield();
		now = __atomic_load_n(&state, __ATOMIC_ACQUIRE);
	}
	return now == READY;
}
