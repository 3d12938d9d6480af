/* tests/fuzz/fuzz_heaps.c: a stream of operations on one of the classic heaps, small
 * enough that it often has no room: bump, linked list with merging and without, blocks of
 * fixed sizes that go back and that do not, buddies, blocks of fixed sizes over those.
 *
 * Input: 1 byte chooses the heap, 1 its size in KiB, from 4 on; then heap_fuzz.h's operations. */
#include "mm/arena.h"
#include "mm/buddy_heap.h"
#include "mm/freelist.h"
#include "mm/sizeclass.h"
#include "tests/fuzz/heap_fuzz.h"

#define KIB   1024u
#define KINDS 7u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static _Alignas(4096) unsigned char memory[260 * KIB];
static _Alignas(16) unsigned char meta[1024];
static _Alignas(64) unsigned char buddy_meta[8 * KIB]; /* 259 KiB need 6 */
static struct heap below;
static bool has_blocks;

static void reap(unsigned cpu, bool all)
{
	if (has_blocks && all)
		sizeclass_reap(&heap, cpu);
}

static enum mm_err open_heap(unsigned kind, size_t bytes)
{
	const struct sizeclass_config config = {.below = &below, .gives_back = kind != 4};

	has_blocks = kind >= 3 && kind != 5;
	if (kind == 0)
		return arena_heap_init(memory, bytes, &heap);
	if (kind < 3)
		return freelist_init(memory, bytes, kind == 1, &heap);
	if (kind >= 5 &&
	    buddy_heap_init(buddy_meta, sizeof(buddy_meta), memory, bytes, kind == 5 ? &heap : &below) != MM_OK)
		return MM_EINVAL;
	if (kind == 5)
		return MM_OK;
	if (kind < 5 && freelist_init(memory, bytes, true, &below) != MM_OK)
		return MM_EINVAL;
	return sizeclass_init(meta, sizeof(meta), &config, &heap);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2)
		return 0;
	memset(memory, 0xa5, sizeof(memory));
	MM_ASSERT(open_heap(data[0] % KINDS, (4 + data[1]) * (size_t)KIB) == MM_OK, data[0], data[1]);
	play(data + 2, size - 2, reap);
	reap(0, true);
	MM_ASSERT(!has_blocks || heap_stats_read(&below).allocations == 0, heap_stats_read(&below).allocations, 0);
	return 0;
}
