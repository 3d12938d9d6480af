/* vmm/memory.c
 *
 * What it is. The memory of slat itself, apart from its guest's: address space
 * that costs what is touched of it, lent once to the allocators of mm/. libc's
 * heap stays for what libc and the libraries that take no other do with it, all
 * of it before the first guest instruction or after the last: nothing that a
 * guest does makes this program larger, and tests/heap_count.c counts that.
 *
 * The arena, from its start: the frames' state and the heap's, rounded up to
 * frames that are never donated; then what is handed out. Frame n lies at
 * arena + n * FRAME_BYTES. Its start is aligned to the largest slab, since slabs
 * are aligned to their length.
 *
 *   M1  one thread calls, the one that opened it: CPU 0.
 *   M2  at the close nothing is live: what leaks is seen at the end of every run,
 *       whichever way it ended, as no sanitizer sees what leaks of this heap. What
 *       is read or written wrongly in it one does see, by redzone.h.
 *
 * Cost. A page when it is first touched, 1 to 2 us on a nested host; at the start
 * that is what they write of their states (some pages; the caches of sizes that
 * nobody asks for stay untouched), and two pages for each size class in use. No huge
 * pages: the kernel would clear 2 MiB for the first byte.
 *
 * Failure. The mapping alone can be refused, and is taken before anything else.
 *
 * Rejected. A CPU number for each vCPU's thread: metadata (152 B a CPU and class) for
 * callers that there are not; what the answer to an exit needs comes from an arena of the
 * vCPU's own. A cache for each type: one slab header and one magazine each, for a handful
 * of objects that share the heap's classes as well. */
#include "vmm/memory.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "mm/general_heap.h"
#include "mm/port.h"
#include "mm/slab.h"
#include "vmm/size.h"

/* For 255 vCPUs, the books of 1 TiB in 4 KiB leaves and a report of all that, less than 2 MiB are needed; for a guest
 * on 32,764 extents, all that KVM has slots for, and its report, 56 MiB, and more with devices that reach all of them,
 * or with the red zones of a sanitizer. */
#define ARENA_BYTES  (UINT64_C(128) << 20)
#define ARENA_FRAMES (ARENA_BYTES / FRAME_BYTES)
#define ARENA_ALIGN  (FRAME_BYTES << SLAB_ORDER_MAX)

/* jansson's functions are given nothing to find it by. */
static struct memory *json_memory;

static uint64_t round_up(uint64_t n, uint64_t to)
{
	return (n + to - 1) / to * to;
}

/* Maps too much and gives the ends back. */
static uint8_t *map_arena(void)
{
	uint8_t *all = mmap(NULL, ARENA_BYTES + ARENA_ALIGN, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	uint64_t head;

	if (all == MAP_FAILED)
		return NULL;
	head = -(uintptr_t)all & (ARENA_ALIGN - 1);
	if (head)
		munmap(all, head);
	munmap(all + head + ARENA_BYTES, ARENA_ALIGN - head);
	return all + head;
}

int memory_open(struct memory *m, struct failure *f)
{
	const uint64_t frames_bytes = round_up(frames_meta_bytes(ARENA_FRAMES, MEMORY_CPUS), 64);
	const uint64_t heap_bytes = general_heap_meta_bytes(ARENA_FRAMES, MEMORY_CPUS);
	const uint64_t states = round_up(frames_bytes + heap_bytes, FRAME_BYTES), used = states / FRAME_BYTES;
	const struct frames_config frames = {.frame_count = ARENA_FRAMES, .cpus = MEMORY_CPUS};
	struct general_heap_config heap = {
		.frames = &m->frames, .frame_count = ARENA_FRAMES, .cpus = MEMORY_CPUS, .meta_zeroed = true};
	enum mm_err error;

	*m = (struct memory){.arena = map_arena(), .owner = pthread_self()};
	if (!m->arena)
		return fail(f, EXIT_HOST, "the host cannot map %s of address space for slat itself: %s",
			    size_format(ARENA_BYTES).s, strerror(errno));
	(void)madvise(m->arena, ARENA_BYTES, MADV_NOHUGEPAGE); /* a kernel without huge pages refuses, and has none */
	heap.arena = m->arena;
	error = frames_init(&m->frames, m->arena, frames_bytes, &frames);
	if (error == MM_OK)
		error = frames_donate(&m->frames, (struct pfn){used}, ARENA_FRAMES - used);
	if (error == MM_OK)
		error = general_heap_init(m->arena + frames_bytes, heap_bytes, &heap, &m->heap);
	MM_ASSERT(error == MM_OK, error, states);
	redzone_open(&m->redzone, m->arena + states, ARENA_BYTES - states, &m->heap);
	return 0;
}

void memory_close(struct memory *m)
{
	if (!m->arena)
		return;
	if (json_memory == m) {
		json_set_alloc_funcs(malloc, free);
		json_memory = NULL;
	}
	MM_ASSERT(heap_stats_read(&m->heap).allocations == 0, heap_stats_read(&m->heap).allocations, m->arena); /* M2 */
	redzone_close(&m->redzone);
	munmap(m->arena, ARENA_BYTES);
	*m = (struct memory){0};
}

const struct heap *memory_heap(const struct memory *m)
{
	MM_ASSERT(pthread_equal(m->owner, pthread_self()), m->owner, pthread_self()); /* M1 */
	return &m->heap;
}

void *memory_alloc(struct memory *m, size_t bytes)
{
	return heap_alloc(memory_heap(m), MEMORY_MAIN_CPU, bytes);
}

void *memory_alloc_zeroed(struct memory *m, size_t n, size_t bytes)
{
	return heap_alloc_zeroed(memory_heap(m), MEMORY_MAIN_CPU, n, bytes);
}

void *memory_alloc_aligned(struct memory *m, size_t bytes, size_t align)
{
	return heap_alloc_aligned(memory_heap(m), MEMORY_MAIN_CPU, bytes, align);
}

void *memory_realloc(struct memory *m, void *old, size_t bytes)
{
	return heap_realloc(memory_heap(m), MEMORY_MAIN_CPU, old, 0, bytes);
}

struct scoped_block memory_scoped_zeroed(struct memory *m, size_t n, size_t bytes)
{
	return scoped_alloc_zeroed(memory_heap(m), MEMORY_MAIN_CPU, n, bytes);
}

void memory_free(struct memory *m, void *old)
{
	if (old)
		heap_free(memory_heap(m), MEMORY_MAIN_CPU, old, 0);
}

static void *json_alloc(size_t bytes)
{
	return memory_alloc(json_memory, bytes);
}

static void json_release(void *old)
{
	memory_free(json_memory, old);
}

void memory_lend_json(struct memory *m)
{
	json_memory = m;
	json_set_alloc_funcs(json_alloc, json_release);
	json_object_seed(1); /* any: else it would open /dev/urandom at its first object, and all names are our own */
}
