/* tests/fuzz/fuzz_heap.c: a stream of operations on a small general heap, over
 * the real slab and frames. Small enough that it often has no room.
 *
 * Input: 1 byte chooses the size; then heap_fuzz.h's operations. */
#include "mm/general_heap.h"
#include "tests/fuzz/heap_fuzz.h"

#define FRAMES_MAX 1024u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static _Alignas(GENERAL_HEAP_ARENA_ALIGN) unsigned char arena[FRAMES_MAX * FRAME_BYTES];
static struct frames frames;

static void reap(unsigned cpu, bool all)
{
	general_heap_reap(&heap, cpu, all);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void *meta, *frames_meta;
	struct frames_config below = {.cpus = CPUS};
	struct general_heap_config config = {.frames = &frames, .cpus = CPUS, .arena = arena};
	size_t frames_bytes = frames_meta_bytes(FRAMES_MAX, CPUS), bytes = general_heap_meta_bytes(FRAMES_MAX, CPUS);

	if (size < 1)
		return 0;
	if (!meta) {
		meta = lend(bytes);
		frames_meta = lend(frames_bytes);
	}
	config.frame_count = below.frame_count = 1 + data[0] * 4u;
	if (frames_init(&frames, frames_meta, frames_bytes, &below) != MM_OK ||
	    frames_donate(&frames, (struct pfn){0}, below.frame_count) != MM_OK ||
	    general_heap_init(meta, bytes, &config, &heap) != MM_OK)
		abort();
	play(data + 1, size - 1, reap);
	for (unsigned i = 0; i < 2 * CPUS; i++)
		general_heap_reap(&heap, i % CPUS, true);
	MM_ASSERT(heap_stats_read(&heap).bytes_held == 0, heap_stats_read(&heap).bytes_held, 0);
	MM_ASSERT(frames_stats_read(&frames).frames_free == below.frame_count, below.frame_count, 0);
	return 0;
}
