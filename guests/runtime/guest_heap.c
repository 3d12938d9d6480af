/* guest_heap.c: what memory.c still has free, handed over once.
 *
 * Memory is identity mapped, so a frame's address is its number times
 * FRAME_BYTES. The first MiB stays with memory.c: its few frames only some uses
 * can do with, and address 0 never comes out of a heap. */
#include "guests/runtime/guest_heap.h"

#include "guests/runtime/guest.h"
#include "guests/runtime/memory.h"
#include "mm/general_heap.h"

#define LOW_END 256u /* frames */

static struct frames frames;
static struct heap heap;

static void *carve(uint64_t bytes)
{
	return (void *)(uintptr_t)(memory_carve_high((bytes + FRAME_BYTES - 1) >> FRAME_SHIFT).n << FRAME_SHIFT);
}

static void donate_all(void)
{
	struct extent free;

	for (uint64_t from = LOW_END; memory_next_free(from, &free); from = free.first + free.units) {
		uint64_t end = free.first + free.units, first = free.first < LOW_END ? LOW_END : free.first;

		if (first >= end)
			continue;
		memory_take(first, end);
		if (frames_donate(&frames, (struct pfn){first}, end - first) != MM_OK)
			guest_panic("free RAM could not be given to the frames", first, end);
	}
}

void guest_heap_open(unsigned cpus)
{
	uint64_t count = memory_end() >> FRAME_SHIFT;
	struct frames_config of_frames = {.frame_count = count, .cpus = cpus};
	struct general_heap_config of_heap = {.frames = &frames, .frame_count = count, .cpus = cpus};
	size_t frames_bytes = frames_meta_bytes(count, cpus), heap_bytes = general_heap_meta_bytes(count, cpus);
	void *meta;

	if (frames_bytes == 0 || heap_bytes == 0)
		guest_panic("so much RAM, or so many CPUs, have no allocator", count, cpus);
	meta = carve(frames_bytes);
	if (frames_init(&frames, meta, frames_bytes, &of_frames) != MM_OK)
		guest_panic("the frames could not be started", count, cpus);
	meta = carve(heap_bytes);
	donate_all();
	if (general_heap_init(meta, heap_bytes, &of_heap, &heap) != MM_OK)
		guest_panic("the heap could not be started", count, cpus);
}

struct frames *guest_frames(void)
{
	return &frames;
}

const struct heap *guest_heap(void)
{
	return &heap;
}

static enum mm_err slab_take(void *self, unsigned cpu, unsigned order, void **out)
{
	struct pfn first;
	enum mm_err err = frames_alloc(self, cpu, order, &first);

	if (err == MM_OK)
		*out = (void *)(uintptr_t)(first.n << FRAME_SHIFT);
	return err;
}

static void slab_give(void *self, unsigned cpu, unsigned order, void *slab)
{
	struct pfn first = {(uintptr_t)slab >> FRAME_SHIFT};

	if (frames_free(self, cpu, first, order) != MM_OK)
		guest_panic("a slab came back that was not taken", first.n, order);
}

struct slab_source guest_slab_source(void)
{
	return (struct slab_source){.self = &frames, .take = slab_take, .give = slab_give};
}
