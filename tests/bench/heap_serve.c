/* tests/bench/heap_serve.c: each of slat's classic heaps and pools, made and served.
 * Theory: top of heap.c. */
#include <string.h>

#include "mm/arena.h"
#include "mm/buddy_heap.h"
#include "mm/freelist.h"
#include "mm/pool_segregated.h"
#include "mm/pool_variable.h"
#include "mm/sizeclass.h"
#include "tests/bench/heap.h"

#define ARENA_BYTES (UINT64_C(64) << 20)

static const char *const names[HEAP_KINDS] = {
	[HEAP_POOL] = "pool",
	[HEAP_VARIABLE] = "variable pool",
	[HEAP_SEGREGATED] = "segregated pool",
	[HEAP_SIZECLASS] = "size classes",
	[HEAP_SIZECLASS_KEEPS] = "size classes for ever",
	[HEAP_FREELIST] = "free list",
	[HEAP_FREELIST_APART] = "free list, no merging",
	[HEAP_BUDDY] = "buddy",
	[HEAP_ARENA] = "arena",
};

const char *heap_kind_name(enum heap_kind kind)
{
	return names[kind];
}

/* ---- makers ---- */

static void made(enum mm_err err, const char *what)
{
	if (err != MM_OK)
		bench_refuse("a heap is refused", what);
}

/* At a multiple of 64 KiB. */
static void *aligned_memory(size_t bytes)
{
	char *all = bench_memory(bytes + 65536);

	return all + (-(uintptr_t)all & 65535);
}

static void make_variable(size_t bytes, struct heap *out)
{
	struct pool_variable_config config = {
		.cpus = CASE_CPUS, .region = aligned_memory(bytes), .region_bytes = bytes};
	size_t meta = pool_variable_meta_bytes();

	made(pool_variable_init(bench_memory(meta), meta, &config, out), "variable pool");
}

static void make_segregated(size_t bytes, struct heap *out)
{
	static const uint32_t sizes[] = {16,  32,   48,	  64,	96,   128,  192,  256,	384,   512,
					 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192, 12288, 16384};
	struct pool_segregated_config config = {.cpus = CASE_CPUS,
						.arena = aligned_memory(bytes),
						.arena_bytes = bytes,
						.sizes = sizes,
						.classes = sizeof(sizes) / sizeof(sizes[0])};
	size_t meta = pool_segregated_meta_bytes(bytes);

	made(pool_segregated_init(bench_memory(meta), meta, &config, out), "segregated pool");
}

static void make_sizeclass(size_t bytes, bool gives_back, struct heap *out)
{
	struct heap *below = bench_memory(sizeof(*below));
	struct sizeclass_config config = {.below = below, .gives_back = gives_back};
	size_t meta = sizeclass_meta_bytes();

	made(freelist_init(aligned_memory(bytes), bytes, true, below), "free list");
	made(sizeclass_init(bench_memory(meta), meta, &config, out), "size classes");
}

static void make_buddy(size_t bytes, struct heap *out)
{
	size_t meta = buddy_heap_meta_bytes(bytes);

	made(buddy_heap_init(bench_memory(meta), meta, aligned_memory(bytes), bytes, out), "buddy");
}

void heap_make(enum heap_kind kind, size_t bytes, struct heap *out)
{
	switch (kind) {
	case HEAP_VARIABLE:
		make_variable(bytes, out);
		break;
	case HEAP_SEGREGATED:
		make_segregated(bytes, out);
		break;
	case HEAP_SIZECLASS:
	case HEAP_SIZECLASS_KEEPS:
		make_sizeclass(bytes, kind == HEAP_SIZECLASS, out);
		break;
	case HEAP_FREELIST:
	case HEAP_FREELIST_APART:
		made(freelist_init(aligned_memory(bytes), bytes, kind == HEAP_FREELIST, out), "free list");
		break;
	case HEAP_BUDDY:
		make_buddy(bytes, out);
		break;
	default:
		made(arena_heap_init(aligned_memory(bytes), bytes, out), "arena");
	}
}

static enum mm_err memory_take(void *self, unsigned cpu, size_t bytes, size_t align, void **out)
{
	(void)self;
	(void)cpu;
	(void)align;
	*out = bench_memory(bytes);
	return MM_OK;
}

static void memory_give(void *self, unsigned cpu, void *memory, size_t bytes)
{
	(void)self;
	(void)cpu;
	(void)memory;
	(void)bytes;
}

struct pool *heap_make_pool(uint32_t bytes, uint32_t most, const void *pattern, struct pool_config config)
{
	struct pool *p;

	config.bytes = bytes;
	config.most = most;
	config.pattern = pattern;
	config.cpus = CASE_CPUS;
	config.rounds = POOL_ROUNDS_MAX;
	if (!config.source.take)
		config.source = (struct pool_source){NULL, memory_take, memory_give};
	made(pool_init(bench_memory(pool_meta_bytes(&config)), pool_meta_bytes(&config), &config, &p), "pool");
	return p;
}

/* ---- served ---- */

static __thread unsigned cpu;

static void enter(void)
{
	static unsigned entered;

	cpu = __atomic_fetch_add(&entered, 1, __ATOMIC_RELAXED);
}

LOOP_INLINE uintptr_t own_pool_take(void *self, unsigned order)
{
	(void)order;
	return (uintptr_t)pool_alloc(self, cpu);
}

LOOP_INLINE void own_pool_give(void *self, uintptr_t item, unsigned order)
{
	(void)order;
	pool_free(self, cpu, (void *)item);
}

LOOPS(own_pool_loops, own_pool_take, own_pool_give, loop_write);

LOOP_INLINE uintptr_t own_heap_take(void *self, unsigned order)
{
	(void)order;
	return (uintptr_t)heap_alloc(self, cpu, objects_sizes[0]);
}

LOOP_INLINE void own_heap_give(void *self, uintptr_t item, unsigned order)
{
	(void)order;
	heap_free(self, cpu, (void *)item, objects_sizes[0]);
}

LOOPS(own_heap_loops, own_heap_take, own_heap_give, loop_write);

static enum heap_kind served;

/* One for all threads; only the first size is asked for. */
static void *caller(unsigned size, unsigned thread)
{
	static struct heap heap;
	static struct pool *pool;

	(void)size;
	(void)thread;
	if (served == HEAP_POOL) {
		if (!pool)
			pool = heap_make_pool(objects_sizes[0], 2 * CASE_LIVE, NULL, (struct pool_config){0});
		return pool;
	}
	if (!heap.ops)
		heap_make(served, ARENA_BYTES, &heap);
	return &heap;
}

int heap_serve(const char *name)
{
	struct objects_contender contender = {&own_heap_loops, caller, enter, false};

	while (served < HEAP_KINDS && strcmp(names[served], name) != 0)
		served++;
	if (served == HEAP_KINDS)
		bench_refuse("no such heap", name);
	if (served == HEAP_POOL)
		contender.loops = &own_pool_loops;
	return objects_serve(&contender);
}
