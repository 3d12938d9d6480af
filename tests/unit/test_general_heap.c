/* tests/unit/test_general_heap.c: mm/general_heap over the real frames and slab:
 * the conformance suite, wrong frees, the checker on states broken on purpose,
 * no room at each point, several heaps, many CPUs. What it does not see: time. */
#include <check.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "mm/general_heap_impl.h"
#include "mm/slab_impl.h"
#include "tests/unit/heap_trial.h"
#include "tests/unit/random.h"

#define MIB	 (UINT64_C(1) << 20)
#define GIB	 (UINT64_C(1) << 30)
#define CPUS_MAX 8u

struct world {
	struct frames frames;
	struct heap heap;
	struct general_heap *h;
	unsigned char *map, *arena;
	size_t map_bytes, meta_bytes;
	void *meta, *frames_meta;
	uint64_t frame_count;
	unsigned cpus;
};

static void *lines(size_t bytes)
{
	void *memory = aligned_alloc(64, (bytes + 63) & ~(size_t)63);

	ck_assert_ptr_nonnull(memory);
	return memory;
}

static struct general_heap_config config_of(struct world *w)
{
	return (struct general_heap_config){
		.frames = &w->frames, .frame_count = w->frame_count, .cpus = w->cpus, .arena = w->arena};
}

/* All frames of the arena belong to the allocator; the arena is aligned to `align` and no more. */
static void world_frames(struct world *w, uint64_t bytes, unsigned cpus, uint64_t align)
{
	struct frames_config config = {.frame_count = bytes >> FRAME_SHIFT, .cpus = cpus};
	size_t frames_bytes = frames_meta_bytes(config.frame_count, cpus);

	*w = (struct world){.frame_count = config.frame_count, .cpus = cpus, .map_bytes = bytes + 2 * align};
	w->map = mmap(NULL, w->map_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	ck_assert_ptr_ne(w->map, MAP_FAILED);
	w->arena = w->map + (-(uintptr_t)w->map & (2 * align - 1));
	if (w->arena + align + bytes <= w->map + w->map_bytes)
		w->arena += align;
	else
		w->arena -= align;
	ck_assert_uint_eq((uintptr_t)w->arena & (2 * align - 1), align);
	w->frames_meta = lines(frames_bytes);
	ck_assert_int_eq(frames_init(&w->frames, w->frames_meta, frames_bytes, &config), MM_OK);
	ck_assert_int_eq(frames_donate(&w->frames, (struct pfn){0}, w->frame_count), MM_OK);
}

static void world_open_at(struct world *w, uint64_t bytes, unsigned cpus, uint64_t align)
{
	struct general_heap_config config;

	world_frames(w, bytes, cpus, align);
	config = config_of(w);
	w->meta_bytes = general_heap_meta_bytes(w->frame_count, cpus);
	w->meta = lines(w->meta_bytes);
	ck_assert_int_eq(general_heap_init(w->meta, w->meta_bytes, &config, &w->heap), MM_OK);
	w->h = w->heap.self;
}

static void world_open(struct world *w, uint64_t bytes, unsigned cpus)
{
	world_open_at(w, bytes, cpus, (bytes & -bytes) > 2 * MIB ? bytes & -bytes : 2 * MIB);
}

static void world_close(struct world *w)
{
	free(w->meta);
	free(w->frames_meta);
	munmap(w->map, w->map_bytes);
}

static struct heap_stats stats(const struct world *w)
{
	return heap_stats_read(&w->heap);
}

static void sound(const struct world *w)
{
	ck_assert(heap_check(&w->heap));
	ck_assert(frames_check(&w->frames));
}

static void reap_all(struct world *w)
{
	for (unsigned round = 0; round < 2; round++)
		for (unsigned cpu = 0; cpu < w->cpus; cpu++)
			general_heap_reap(&w->heap, cpu, true);
	for (unsigned cpu = 0; cpu < w->cpus; cpu++)
		frames_drain(&w->frames, cpu);
}

static void *take(struct world *w, size_t bytes)
{
	void *memory = heap_alloc(&w->heap, 0, bytes);

	ck_assert_ptr_nonnull(memory);
	return memory;
}

/* ---- set up ---- */

START_TEST(init_refuses)
{
	struct world w;
	struct general_heap_config good, bad;
	struct heap out;
	unsigned char *meta;
	size_t bytes;

	world_open(&w, 4 * MIB, 2);
	good = config_of(&w);
	meta = w.meta;
	bytes = w.meta_bytes;
	ck_assert_uint_eq(general_heap_meta_bytes(0, 1), 0);
	ck_assert_uint_eq(general_heap_meta_bytes(1, 0), 0);
	ck_assert_uint_eq(general_heap_meta_bytes(1, 1025), 0);
	ck_assert_uint_eq(general_heap_meta_bytes(UINT64_C(1) << 32, 1), 0);
	ck_assert_uint_gt(general_heap_meta_bytes(UINT32_MAX, 1), UINT32_MAX);
	ck_assert_uint_eq(general_heap_meta_bytes(1001, 1) - general_heap_meta_bytes(1000, 1), 1);
#define REFUSES(meta, bytes) ck_assert_int_eq(general_heap_init(meta, bytes, &bad, &out), MM_EINVAL)
	bad = good;
	REFUSES(NULL, bytes);
	REFUSES(meta + 32, bytes);
	REFUSES(meta, bytes - 1);
	bad.frame_count = 0;
	REFUSES(meta, bytes);
	bad = good;
	bad.cpus = 0;
	REFUSES(meta, bytes);
	bad = good;
	bad.frames = NULL;
	REFUSES(meta, bytes);
	bad = good;
	bad.arena = w.arena + MIB;
	REFUSES(meta, bytes);
#undef REFUSES
	sound(&w);
	world_close(&w);
}
END_TEST

/* ---- sizes ---- */

START_TEST(sizes)
{
	struct world w;
	size_t last = 0, classes = 0;

	world_open(&w, 16 * MIB, 1);
	for (size_t bytes = 1; bytes <= GENERAL_HEAP_SMALL_MAX; bytes++) {
		void *memory = take(&w, bytes);
		size_t usable = heap_usable(&w.heap, memory);

		ck_assert(usable >= bytes && usable >= last);
		ck_assert(usable - bytes < 16 || (bytes >= 128 && (usable - bytes) * 8 < usable));
		ck_assert_uint_eq(stats(&w).bytes_asked, bytes);
		ck_assert_uint_eq(stats(&w).bytes_given, usable);
		classes += usable != last;
		last = usable;
		heap_free(&w.heap, 0, memory, bytes);
	}
	ck_assert_uint_eq(last, GENERAL_HEAP_SMALL_MAX);
	ck_assert_uint_eq(classes, GENERAL_HEAP_CLASSES);
	sound(&w);
	world_close(&w);
}
END_TEST

START_TEST(large_sizes)
{
	struct world w;

	world_open(&w, GIB, 1);
	for (size_t bytes = GENERAL_HEAP_SMALL_MAX + 1; bytes <= GIB; bytes += 1 + bytes / 5) {
		void *memory = heap_alloc(&w.heap, 0, bytes);
		size_t usable, run = 2 * GENERAL_HEAP_SMALL_MAX;

		while (run < bytes)
			run *= 2;
		ck_assert_ptr_nonnull(memory);
		usable = heap_usable(&w.heap, memory);
		ck_assert_uint_eq(usable, run);
		ck_assert_uint_eq((uintptr_t)memory % run, 0);
		ck_assert_uint_eq(stats(&w).bytes_asked, bytes);
		ck_assert_uint_eq(stats(&w).bytes_given, run);
		ck_assert_uint_eq(stats(&w).bytes_held, run);
		ck_assert(heap_check(&w.heap));
		heap_free(&w.heap, 0, memory, bytes % 2 ? bytes : 0);
	}
	ck_assert_ptr_nonnull(heap_alloc(&w.heap, 0, GIB));
	ck_assert_ptr_null(heap_alloc(&w.heap, 0, GIB + 1));
	ck_assert_ptr_null(heap_alloc(&w.heap, 0, 1));
	ck_assert_uint_eq(stats(&w).bytes_asked_max, GIB);
	sound(&w);
	world_close(&w);
}
END_TEST

START_TEST(alignments)
{
	struct world w;
	void *memory;

	world_open_at(&w, 16 * MIB, 1, 4 * MIB);
	for (size_t align = 1; align <= 4 * MIB; align *= 2)
		for (size_t bytes = 1; bytes <= 4 * MIB; bytes += 1 + bytes / 3) {
			size_t rounded = (bytes + align - 1) & ~(align - 1);

			memory = heap_alloc_aligned(&w.heap, 0, bytes, align);
			ck_assert_ptr_nonnull(memory);
			ck_assert_uint_eq((uintptr_t)memory % align, 0);
			if (align > 16 && align <= FRAME_BYTES && rounded <= GENERAL_HEAP_SMALL_MAX)
				ck_assert_uint_lt(heap_usable(&w.heap, memory) - rounded, rounded / 8 + 16);
			if (align != 2 * FRAME_BYTES || bytes > 2 * FRAME_BYTES)
				ck_assert_uint_eq(stats(&w).bytes_asked, bytes);
			else /* a run of two frames has one digit: see the theory */
				ck_assert_uint_eq(stats(&w).bytes_asked, (bytes + 63) & ~(size_t)63);
			heap_free(&w.heap, 0, memory, bytes);
			ck_assert_uint_eq(stats(&w).bytes_asked, 0);
		}
	ck_assert_ptr_null(heap_alloc_aligned(&w.heap, 0, 1, 8 * MIB)); /* the arena itself is not */
	ck_assert_ptr_null(heap_alloc_aligned(&w.heap, 0, 1, 2 * GIB));
	ck_assert_ptr_null(heap_alloc_aligned(&w.heap, 0, 1, 0));
	ck_assert_ptr_null(heap_alloc_aligned(&w.heap, 0, 1, 48));
	sound(&w);
	world_close(&w);
}
END_TEST

/* ---- what is counted ---- */

START_TEST(asked_without_sizes)
{
	struct world w;
	void *memory[40];

	world_open(&w, 4 * MIB, 1);
	for (unsigned i = 0; i < 40; i++)
		memory[i] = take(&w, i % 2 ? 102 : 106); /* one class, of 112 */
	ck_assert_uint_eq(stats(&w).bytes_asked, 40 * 104);
	for (unsigned i = 0; i < 20; i++)
		heap_free(&w.heap, 0, memory[i], i % 2 ? 102 : 106);
	ck_assert_uint_eq(stats(&w).bytes_asked, 20 * 104);
	for (unsigned i = 20; i < 30; i++)
		heap_free(&w.heap, 0, memory[i], 0);
	ck_assert_uint_eq(stats(&w).bytes_asked, 10 * 104);
	for (unsigned i = 30; i < 39; i++)
		heap_free(&w.heap, 0, memory[i], 112); /* more than was asked of it */
	ck_assert(stats(&w).bytes_asked >= 1 && stats(&w).bytes_asked <= 112);
	heap_free(&w.heap, 0, memory[39], 1); /* less */
	ck_assert_uint_eq(stats(&w).bytes_asked, 0);
	ck_assert_uint_eq(stats(&w).bytes_asked_max, 40 * 104);
	for (unsigned i = 0; i < 5; i++)
		memory[i] = take(&w, 100);
	for (unsigned i = 0; i < 1000; i++) { /* without a drift, whatever is named */
		heap_free(&w.heap, 0, memory[i % 5], i % 3 ? 112 : 0);
		memory[i % 5] = take(&w, 100);
		ck_assert(stats(&w).bytes_asked >= 5 && stats(&w).bytes_asked <= 5 * 112);
		ck_assert_uint_eq(stats(&w).bytes_given, 5 * 112);
		ck_assert_uint_eq(stats(&w).allocations, 5);
	}
	sound(&w);
	world_close(&w);
}
END_TEST

START_TEST(asked_by_realloc)
{
	struct world w;
	unsigned char *small, *large;

	world_open(&w, 4 * MIB, 1);
	small = take(&w, 1000);
	large = take(&w, 20000);
	ck_assert_ptr_eq(heap_realloc(&w.heap, 0, small, 1000, 1024), small);
	ck_assert_uint_eq(stats(&w).bytes_asked, 21024);
	ck_assert_ptr_eq(heap_realloc(&w.heap, 0, small, 1024, 513), small);
	ck_assert_uint_eq(stats(&w).bytes_asked, 20513);
	ck_assert_ptr_eq(heap_realloc(&w.heap, 0, large, 20000, 32768), large);
	ck_assert_uint_eq(stats(&w).bytes_asked, 33281);
	ck_assert_ptr_eq(heap_realloc(&w.heap, 0, large, 0, 17000), large);
	ck_assert_uint_eq(stats(&w).bytes_asked, 17513);
	ck_assert_ptr_eq(heap_realloc(&w.heap, 0, small, 0, 600), small);
	ck_assert_uint_eq(stats(&w).allocations, 2);
	ck_assert(stats(&w).bytes_asked >= 17001 && stats(&w).bytes_asked <= 18024);
	/* Half as large: it moves. */
	small[511] = 7;
	large[16383] = 9;
	small = heap_realloc(&w.heap, 0, small, 600, 512);
	large = heap_realloc(&w.heap, 0, large, 17000, 16384);
	ck_assert(small[511] == 7 && large[16383] == 9);
	ck_assert_uint_eq(heap_usable(&w.heap, small), 512);
	ck_assert_uint_eq(heap_usable(&w.heap, large), 16384);
	ck_assert_ptr_eq(heap_realloc(&w.heap, 0, small, 512, 257), small);
	sound(&w);
	world_close(&w);
}
END_TEST

/* ---- the conformance suite ---- */

static void conforms(uint64_t bytes, unsigned cpus, uint64_t operations)
{
	struct world w;

	world_open(&w, bytes, cpus);
	trial_suite((struct heap_conformance){
		.heap = &w.heap, .seed = bytes + cpus, .operations = operations, .cpu = cpus - 1});
	sound(&w);
	reap_all(&w);
	ck_assert_uint_eq(stats(&w).bytes_held, 0);
	ck_assert_uint_eq(frames_stats_read(&w.frames).frames_free, w.frame_count);
	world_close(&w);
}

START_TEST(conformance)
{
	conforms(16 * MIB, 1, 300000);
	conforms(37 * MIB + 5 * FRAME_BYTES, 4, 300000);
	conforms(GIB, 2, 100000);
}
END_TEST

/* ---- wrong frees ---- */

enum wrong_free {
	LARGE_TWICE,
	LARGE_INSIDE,
	LARGE_INSIDE_FAR,
	LARGE_ODD,
	LARGE_TOO_LONG,
	SMALL_TWICE,
	SMALL_INSIDE,
	SMALL_TOO_LONG,
	NEVER_GIVEN,
	BELOW,
	ABOVE,
	OTHERS_FRAME,
	REALLOC_TOO_LONG,
	USABLE_NEVER_GIVEN,
	USABLE_ODD,
	NO_SUCH_CPU,
	ALLOC_NO_SUCH_CPU,
	REALLOC_NO_SUCH_CPU,
	WRONG_FREES
};

static void free_wrongly(struct world *w, enum wrong_free how)
{
	unsigned char *small = take(w, 500), *large = take(w, 100000);
	struct pfn other;

	switch (how) {
	case LARGE_TWICE:
		heap_free(&w->heap, 0, large, 100000);
		heap_free(&w->heap, 0, large, 100000);
		break;
	case LARGE_INSIDE:
		heap_free(&w->heap, 0, large + FRAME_BYTES, 0);
		break;
	case LARGE_INSIDE_FAR:
		heap_free(&w->heap, 0, large + 20 * FRAME_BYTES, 0);
		break;
	case LARGE_ODD:
		heap_free(&w->heap, 0, large + 16, 0);
		break;
	case LARGE_TOO_LONG:
		heap_free(&w->heap, 0, large, 131073);
		break;
	case SMALL_TWICE:
		heap_free(&w->heap, 0, small, 500);
		heap_free(&w->heap, 0, small, 500);
		reap_all(w);
		break;
	case SMALL_INSIDE:
		heap_free(&w->heap, 0, small + 16, 0);
		reap_all(w);
		break;
	case SMALL_TOO_LONG:
		heap_free(&w->heap, 0, small, 513);
		break;
	case NEVER_GIVEN:
		heap_free(&w->heap, 0, w->arena + (w->frame_count - 1) * FRAME_BYTES, 0);
		break;
	case BELOW:
		heap_free(&w->heap, 0, w->arena - 16, 0);
		break;
	case ABOVE:
		heap_free(&w->heap, 0, w->arena + w->frame_count * FRAME_BYTES, 0);
		break;
	case OTHERS_FRAME:
		ck_assert_int_eq(frames_alloc(&w->frames, 0, 0, &other), MM_OK);
		heap_free(&w->heap, 0, w->arena + other.n * FRAME_BYTES, 0);
		break;
	case REALLOC_TOO_LONG:
		(void)!heap_realloc(&w->heap, 0, small, 513, 490); /* would stay where it is */
		break;
	case USABLE_NEVER_GIVEN:
		(void)heap_usable(&w->heap, large + 7 * FRAME_BYTES);
		break;
	case USABLE_ODD:
		(void)heap_usable(&w->heap, large + 16);
		break;
	case NO_SUCH_CPU:
		heap_free(&w->heap, 1, small, 0);
		break;
	case ALLOC_NO_SUCH_CPU:
		(void)!heap_alloc(&w->heap, 1, 10);
		break;
	case REALLOC_NO_SUCH_CPU:
		(void)!heap_realloc(&w->heap, 1, small, 0, 10);
		break;
	case WRONG_FREES:
		break;
	}
}

static int said;     /* what is written to stderr */
static bool by_slab; /* the panic is slab.c's */

/* A panic counts only where it should be raised. */
static void panicked(int number)
{
	char text[512] = "";

	signal(number, SIG_DFL); /* and so abort() goes on */
	if (lseek(said, 0, SEEK_SET) != 0 || read(said, text, sizeof(text) - 1) <= 0)
		_exit(0);
	if (!strstr(text, by_slab ? "mm/slab.c" : "mm/general_heap.c"))
		_exit(0);
}

START_TEST(wrong_frees)
{
	struct world w;

	world_open(&w, 4 * MIB, 1);
	by_slab = _i == SMALL_TWICE || _i == SMALL_INSIDE;
	said = memfd_create("said", 0);
	ck_assert_int_ge(dup2(said, STDERR_FILENO), 0);
	signal(SIGABRT, panicked);
	free_wrongly(&w, (enum wrong_free)_i);
}
END_TEST

/* ---- no room ---- */

/* What was given and is free again serves any other size: requests reap before they fail. */
START_TEST(room_moves_between_sizes)
{
	struct world w;
	void **last = NULL;
	void *memory;

	world_open(&w, 8 * MIB, 1);
	for (size_t bytes = 16; bytes <= MIB; bytes = bytes * 3 + 8) {
		uint64_t count = 0;

		while ((memory = heap_alloc(&w.heap, 0, bytes))) {
			*(void **)memory = last;
			last = memory;
			count++;
		}
		ck_assert_uint_ge(count * heap_usable(&w.heap, last), 5 * MIB);
		for (void *next; last; last = next) {
			next = *last;
			heap_free(&w.heap, 0, last, bytes);
		}
		ck_assert(heap_check(&w.heap));
	}
	memory = heap_alloc(&w.heap, 0, 8 * MIB);
	ck_assert_ptr_nonnull(memory);
	ck_assert_ptr_null(heap_alloc(&w.heap, 0, 16));
	ck_assert_ptr_null(heap_alloc(&w.heap, 0, 20000));
	sound(&w);
	world_close(&w);
}
END_TEST

START_TEST(shrink_without_room_stays)
{
	struct world w;
	unsigned char *small, *large, *rest;

	world_open(&w, 4 * MIB, 1);
	small = take(&w, 500);
	large = take(&w, 100000);
	for (uint64_t bytes = MIB; bytes >= FRAME_BYTES; bytes /= 2)
		while (heap_alloc_aligned(&w.heap, 0, bytes, 2 * FRAME_BYTES))
			;
	rest = heap_alloc(&w.heap, 0, 16);
	ck_assert_ptr_null(rest);
	small[19] = 5;
	large[19] = 6;
	ck_assert_ptr_eq(heap_realloc(&w.heap, 0, small, 500, 20), small);
	ck_assert_ptr_eq(heap_realloc(&w.heap, 0, large, 100000, 20), large);
	ck_assert_ptr_null(heap_realloc(&w.heap, 0, small, 20, 513));
	ck_assert_ptr_null(heap_realloc(&w.heap, 0, large, 0, 131073));
	ck_assert(small[19] == 5 && large[19] == 6);
	ck_assert_uint_eq(heap_usable(&w.heap, small), 512);
	ck_assert(heap_check(&w.heap));
	world_close(&w);
}
END_TEST

/* The allocator below refuses the n-th time: then the request is served after reaping, or refused and nothing has
 * changed; by each way to ask. */
static bool refused_below(unsigned way, uint64_t n)
{
	struct world w;
	struct heap_stats before, after;
	unsigned char *memory, *old;
	bool got;

	world_open(&w, 4 * MIB, 1);
	old = take(&w, 5000);
	memset(old, 0x5a, 5000);
	before = stats(&w);
	frames_fail_after(&w.frames, n);
	switch (way) {
	case 0:
		memory = heap_alloc(&w.heap, 0, 100);
		break;
	case 1:
		memory = heap_alloc(&w.heap, 0, 100000);
		break;
	case 2:
		memory = heap_realloc(&w.heap, 0, old, 5000, 20000);
		break;
	default:
		memory = heap_realloc(&w.heap, 0, old, 5000, 100);
		ck_assert_ptr_nonnull(memory);
		break;
	}
	frames_fail_after(&w.frames, 0);
	after = stats(&w);
	got = memory != NULL;
	for (unsigned i = 0; i < (way == 3 ? 100 : 5000); i++)
		ck_assert_uint_eq((way >= 2 && got ? memory : old)[i], 0x5a);
	ck_assert_uint_eq(after.allocations, before.allocations + (got && way < 2));
	if (!got)
		ck_assert_uint_eq(after.bytes_asked, before.bytes_asked);
	sound(&w);
	world_close(&w);
	return got;
}

START_TEST(refusals_below)
{
	for (unsigned way = 0; way < 4; way++)
		for (uint64_t n = 1; n <= 6; n++)
			ck_assert(refused_below(way, n)); /* once only: asking again serves */
}
END_TEST

START_TEST(refusals_injected)
{
	struct world w;
	unsigned char *before, *old;

	world_open(&w, 4 * MIB, 1);
	before = malloc(w.meta_bytes);
	old = take(&w, 100);
	for (unsigned way = 0; way < 6; way++) {
		void *memory;

		heap_stats_read(&w.heap);
		memcpy(before, w.meta, w.meta_bytes); /* as it was before the fault was set */
		heap_fail_after(&w.heap, 1);
		memory = way == 0   ? heap_alloc(&w.heap, 0, 100)
			 : way == 1 ? heap_alloc(&w.heap, 0, 100000)
			 : way == 2 ? heap_alloc_aligned(&w.heap, 0, 100, 128)
			 : way == 3 ? heap_alloc_aligned(&w.heap, 0, 100, 8192)
			 : way == 4 ? heap_realloc(&w.heap, 0, old, 100, 113)
				    : heap_realloc(&w.heap, 0, NULL, 0, 100);
		ck_assert_ptr_null(memory);
		ck_assert(memcmp(before, w.meta, w.meta_bytes) == 0);
	}
	free(before);
	sound(&w);
	world_close(&w);
}
END_TEST

/* ---- memory goes back ---- */

START_TEST(reap_gives_all_back)
{
	struct world w;
	void *memory[4000];
	struct pfn first;

	seed(11);
	world_open(&w, GIB, 2);
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < 4000; i++)
			ck_assert_ptr_nonnull(memory[i] = heap_alloc(&w.heap, i % 2, below(1u << below(18))));
		ck_assert_int_eq(frames_alloc(&w.frames, 0, FRAMES_ORDER_1G, &first), MM_ENOMEM);
		for (unsigned i = 0; i < 4000; i++)
			heap_free(&w.heap, (i + round) % 2, memory[i], 0);
		ck_assert_uint_gt(stats(&w).bytes_held, 0);
		general_heap_reap(&w.heap, 0, false);
		sound(&w);
		reap_all(&w);
		ck_assert_uint_eq(stats(&w).bytes_held, 0);
		ck_assert_int_eq(frames_alloc(&w.frames, 0, FRAMES_ORDER_1G, &first), MM_OK);
		ck_assert_int_eq(frames_free(&w.frames, 0, first, FRAMES_ORDER_1G), MM_OK);
	}
	sound(&w);
	world_close(&w);
}
END_TEST

/* ---- an arena that grows ---- */

struct host {
	struct frames *frames;
	uint64_t donated, most; /* frames */
	uint64_t held;		/* by the heap, as it was told */
	unsigned asked, reaped;
	bool rather_reaped;
};

static bool host_grow(void *self, unsigned order, bool reaped)
{
	struct host *host = self;
	uint64_t step = UINT64_C(1) << (order > FRAMES_ORDER_2M ? order : FRAMES_ORDER_2M);

	host->asked++;
	host->reaped += reaped;
	if ((host->rather_reaped && !reaped) || host->donated + step > host->most)
		return false;
	ck_assert_int_eq(frames_donate(host->frames, (struct pfn){host->donated}, step), MM_OK);
	host->donated += step;
	return true;
}

static void host_taken(void *self, struct pfn first, unsigned order)
{
	struct host *host = self;

	ck_assert_uint_le(first.n + (UINT64_C(1) << order), host->donated);
	host->held += UINT64_C(1) << order;
}

static void host_given(void *self, struct pfn first, unsigned order)
{
	struct host *host = self;

	(void)first;
	host->held -= UINT64_C(1) << order;
}

static void world_host(struct world *w, struct host *host, uint64_t most)
{
	struct frames_config frames = {.frame_count = 64 * MIB >> FRAME_SHIFT, .cpus = 2, .meta_zeroed = true};
	struct general_heap_config config;
	size_t bytes = frames_meta_bytes(frames.frame_count, 2);

	world_frames(w, 64 * MIB, 2, 2 * MIB);
	memset(w->frames_meta, 0, bytes);
	ck_assert_int_eq(frames_init(&w->frames, w->frames_meta, bytes, &frames), MM_OK);
	*host = (struct host){.frames = &w->frames, .most = most >> FRAME_SHIFT};
	config = config_of(w);
	config.host = (struct general_heap_host){host, host_grow, host_taken, host_given};
	config.meta_zeroed = true;
	w->meta_bytes = general_heap_meta_bytes(w->frame_count, 2);
	w->meta = lines(w->meta_bytes);
	memset(w->meta, 0, w->meta_bytes);
	ck_assert_int_eq(general_heap_init(w->meta, w->meta_bytes, &config, &w->heap), MM_OK);
	w->h = w->heap.self;
}

/* Takes `bytes` each until there is no more, gives all back; how many there were. */
static unsigned fill_up(struct world *w, const struct host *host, size_t bytes)
{
	static void *all[40000];
	unsigned n = 0;

	while (n < 40000 && (all[n] = heap_alloc(&w->heap, 0, bytes)))
		n++;
	ck_assert_uint_eq(host->held << FRAME_SHIFT, stats(w).bytes_held);
	sound(w);
	for (unsigned i = 0; i < n; i++)
		heap_free(&w->heap, 0, all[i], bytes);
	reap_all(w);
	ck_assert_uint_eq(host->held, 0);
	return n;
}

START_TEST(arena_grows)
{
	static const size_t lengths[] = {1000, 5 * MIB, 64, 100000};
	struct world w;
	struct host host;

	for (unsigned rather = 0; rather < 2; rather++) {
		world_host(&w, &host, 16 * MIB);
		host.rather_reaped = rather;
		ck_assert_uint_eq(stats(&w).bytes_total, 0);
		for (unsigned i = 0; i < 4; i++)
			ck_assert_uint_gt(fill_up(&w, &host, lengths[i]) * lengths[i], i == 1 ? 4 * MIB : 2 * MIB);
		ck_assert_uint_le(host.donated, host.most);
		ck_assert_uint_gt(host.reaped, 0);
		ck_assert_uint_gt(host.asked, host.reaped);
		sound(&w);
		world_close(&w);
	}
}
END_TEST

/* What is inlined by others finds what it needs; what a vanished CPU had is lost, no more. */
START_TEST(fronts)
{
	struct world w;
	void *a;

	world_open(&w, 16 * MIB, 2);
	ck_assert_ptr_null(general_heap_cache(&w.heap, general_heap_class(100)));
	a = heap_alloc(&w.heap, 1, 100);
	ck_assert_ptr_nonnull(general_heap_cache(&w.heap, general_heap_class(100)));
	ck_assert_uint_eq(general_heap_kinds(&w.heap)[((unsigned char *)a - w.arena) >> FRAME_SHIFT],
			  1 + general_heap_class(100));
	for (size_t bytes = 1; bytes <= GENERAL_HEAP_SMALL_MAX; bytes++) {
		unsigned class = general_heap_class(bytes);

		ck_assert_uint_ge(general_heap_class_bytes(class), bytes);
		ck_assert(class == 0 || general_heap_class_bytes(class - 1) < bytes);
	}
	heap_free(&w.heap, 1, a, 100);
	ck_assert_uint_eq(stats(&w).allocations, 0);
	general_heap_abandon(&w.heap, 1);
	ck_assert_uint_gt(stats(&w).allocations, 0);
	sound(&w);
	world_close(&w);
}
END_TEST

/* What another CPU had free, small and large, is within reach once that was flushed. */
START_TEST(flush)
{
	struct world w;
	void *small, *large;

	world_open(&w, 16 * MIB, 2);
	small = heap_alloc(&w.heap, 1, 100);
	large = heap_alloc(&w.heap, 1, 5 * FRAME_BYTES);
	heap_free(&w.heap, 1, small, 100);
	heap_free(&w.heap, 1, large, 0);
	general_heap_reap(&w.heap, 0, true);
	ck_assert_uint_gt(stats(&w).bytes_held, 0);
	ck_assert_uint_gt(frames_stats_read(&w.frames).frames_cached, 0);
	general_heap_flush(&w.heap, 1);
	general_heap_reap(&w.heap, 0, true);
	frames_drain(&w.frames, 0);
	ck_assert_uint_eq(stats(&w).bytes_held, 0);
	ck_assert_uint_eq(frames_stats_read(&w.frames).frames_cached, 0);
	sound(&w);
	world_close(&w);
}
END_TEST

START_TEST(heaps_share_frames)
{
	struct world w;
	struct general_heap_config config;
	struct heap second;
	void *meta, *a[300], *b[300];
	struct pfn other[300];

	seed(12);
	world_open(&w, 64 * MIB, 1);
	config = config_of(&w);
	meta = lines(w.meta_bytes);
	ck_assert_int_eq(general_heap_init(meta, w.meta_bytes, &config, &second), MM_OK);
	for (unsigned i = 0; i < 300; i++) {
		ck_assert_ptr_nonnull(a[i] = heap_alloc(&w.heap, 0, 1 + below(50000)));
		ck_assert_ptr_nonnull(b[i] = heap_alloc(&second, 0, 1 + below(50000)));
		ck_assert_int_eq(frames_alloc(&w.frames, 0, 0, &other[i]), MM_OK);
		memset(a[i], 1, heap_usable(&w.heap, a[i]));
		memset(b[i], 2, heap_usable(&second, b[i]));
		memset(w.arena + other[i].n * FRAME_BYTES, 3, FRAME_BYTES);
	}
	ck_assert(heap_check(&w.heap) && heap_check(&second));
	for (unsigned i = 0; i < 300; i++) {
		ck_assert(*(unsigned char *)a[i] == 1 && *(unsigned char *)b[i] == 2);
		heap_free(&w.heap, 0, a[i], 0);
		heap_free(&second, 0, b[i], 0);
		ck_assert_int_eq(frames_free(&w.frames, 0, other[i], 0), MM_OK);
	}
	reap_all(&w);
	general_heap_reap(&second, 0, true);
	ck_assert_uint_eq(heap_stats_read(&second).bytes_held, 0);
	ck_assert_uint_eq(frames_stats_read(&w.frames).frames_free, w.frame_count);
	free(meta);
	world_close(&w);
}
END_TEST

/* ---- the checker ---- */

static uint64_t frame_of_class(const struct world *w)
{
	uint64_t n = 0;

	while (w->h->kinds[n] == 0 || w->h->kinds[n] >= GENERAL_HEAP_HEAD)
		n++;
	return n;
}

static uint64_t frame_of_head(const struct world *w)
{
	uint64_t n = 0;

	while (w->h->kinds[n] < GENERAL_HEAP_HEAD || w->h->kinds[n] >= GENERAL_HEAP_DIGIT)
		n++;
	return n;
}

static uint64_t frame_of_none(const struct world *w)
{
	uint64_t n = w->frame_count - 1;

	while (w->h->kinds[n] != GENERAL_HEAP_NONE)
		n--;
	return n;
}

START_TEST(check_objects)
{
	struct world w;
	struct general_heap *h;
	uint64_t small, head, none, end;
	struct pfn other;

	world_open(&w, 16 * MIB, 2);
	h = w.h;
	take(&w, 500);
	take(&w, 100000);
	take(&w, 17000);
	small = frame_of_class(&w);
	head = frame_of_head(&w);
	none = frame_of_none(&w);
	end = w.frame_count - 1;
	ck_assert(heap_check(&w.heap));
#define OBJECTS(lvalue, value)                                                                                         \
	do {                                                                                                           \
		typeof(lvalue) was = (lvalue);                                                                         \
		(lvalue) = (typeof(was))(value);                                                                       \
		ck_assert_msg(!heap_check(&w.heap), "%s = %s", #lvalue, #value);                                       \
		(lvalue) = was;                                                                                        \
		ck_assert(heap_check(&w.heap));                                                                        \
	} while (0)
	OBJECTS(h->kinds[small], 0);							     /* I1 */
	OBJECTS(h->kinds[small], h->kinds[small] + 1);					     /* I1 */
	OBJECTS(h->kinds[none], GENERAL_HEAP_CLASS);					     /* I1 */
	OBJECTS(h->classes[h->kinds[small] - GENERAL_HEAP_CLASS].cache->objects.claimed, 0); /* I1 */
	OBJECTS(h->kinds[head], 0);							     /* I3 */
	OBJECTS(h->kinds[head], h->kinds[head] + 1);					     /* I2 or I4 */
	OBJECTS(h->kinds[head], h->kinds[head] - 1);					     /* I2 or I4 */
	OBJECTS(h->kinds[head + 1], 0);							     /* I2 */
	OBJECTS(h->kinds[head + 1], GENERAL_HEAP_CLASS);				     /* I2 */
	OBJECTS(h->kinds[head + 1], h->kinds[head + 1] ^ 1);				     /* I4 */
	OBJECTS(h->kinds[head + 5], h->kinds[head + 5] ^ 1);		   /* I2: longer than its run */
	OBJECTS(h->kinds[head + 6], GENERAL_HEAP_DIGIT);		   /* I2 */
	OBJECTS(h->kinds[none], GENERAL_HEAP_DIGIT | 5);		   /* I3 */
	OBJECTS(h->kinds[none], GENERAL_HEAP_HEAD + FRAMES_ORDER_MAX + 1); /* I3 */
	OBJECTS(h->kinds[none], GENERAL_HEAP_HEAD);			   /* I4 */
	OBJECTS(h->kinds[end], GENERAL_HEAP_HEAD + 3);			   /* I2: misaligned */
	OBJECTS(h->kinds[0], GENERAL_HEAP_HEAD + 13);			   /* I2: beyond the end */
	OBJECTS(h->cpus_ready, 0);					   /* I6 */
	OBJECTS(h->fail_after, 1);					   /* I6 */
	OBJECTS(h->large[1].asked, 1);					   /* I4 */
	OBJECTS(h->large[1].given, 1);					   /* I4 */
	OBJECTS(h->large[1].count, 1);					   /* I4 */
	OBJECTS(h->held, h->held + FRAME_BYTES);			   /* I5 */
#undef OBJECTS
	/* I2 alone, all sums being right: longer than its run; then a run that is misaligned. */
	h->kinds[head + 4] ^= 127;
	ck_assert(!heap_check(&w.heap));
	h->large[1].asked += UINT64_C(127) << 21;
	ck_assert(!heap_check(&w.heap));
	h->large[1].asked -= UINT64_C(127) << 21;
	h->kinds[head + 4] ^= 127;
	for (unsigned i = 0; i < 2; i++) {
		uint64_t at = (none - 8) / 2 * 2 + i;

		h->kinds[at] = GENERAL_HEAP_HEAD + 1;
		h->kinds[at + 1] = GENERAL_HEAP_DIGIT;
		h->large[1].asked += 64;
		h->large[1].given += 2 * FRAME_BYTES;
		h->large[1].count++;
		h->held += 2 * FRAME_BYTES;
		ck_assert_int_eq(frames_alloc(&w.frames, 0, 1, &other), MM_OK);
		ck_assert_int_eq(heap_check(&w.heap), i == 0);
		h->kinds[at] = h->kinds[at + 1] = 0;
		h->large[1] = (struct general_large){0};
		h->held -= 2 * FRAME_BYTES;
		ck_assert(heap_check(&w.heap));
		ck_assert_int_eq(frames_free(&w.frames, 0, other, 1), MM_OK);
	}
	ck_assert_int_eq(frames_free(&w.frames, 0, (struct pfn){head}, h->kinds[head] - GENERAL_HEAP_HEAD), MM_OK);
	ck_assert(!heap_check(&w.heap)); /* I5: behind its back */
	world_close(&w);
}
END_TEST

/* ---- many CPUs ---- */

#ifdef __SANITIZE_THREAD__
#define STEPS 60000u
#else
#define STEPS 600000u
#endif

#define KEPT  512u
#define MAILS 64u

struct letter { /* at the start of each allocation; the rest is filled with the low byte of `sum` */
	uint32_t bytes;
	uint32_t cpu;
	uint64_t sum;
};

struct crew {
	struct world w;
	struct letter *mail[MAILS]; /* to whoever takes it */
	bool done, sized;
};

struct worker {
	struct crew *crew;
	unsigned cpu;
	uint64_t random, refused;
	struct letter *kept[KEPT];
};

static uint64_t next_below(struct worker *k, uint64_t n)
{
	k->random = k->random * UINT64_C(6364136223846793005) + 1442695040888963407u;
	return (k->random >> 33) % n;
}

static uint64_t letter_sum(const struct letter *l)
{
	return ((uintptr_t)l ^ l->bytes ^ (uint64_t)l->cpu << 48) * UINT64_C(0x9e3779b97f4a7c15);
}

static struct letter *letter_write(struct worker *k)
{
	size_t bytes = next_below(k, 64) ? 16 + next_below(k, UINT64_C(1) << next_below(k, 12)) : next_below(k, 70000);
	struct letter *l;

	bytes = bytes < sizeof(*l) ? sizeof(*l) : bytes;
	l = next_below(k, 16) ? heap_alloc(&k->crew->w.heap, k->cpu, bytes)
			      : heap_alloc_aligned(&k->crew->w.heap, k->cpu, bytes, 256);
	if (!l) {
		k->refused++;
		return NULL;
	}
	*l = (struct letter){.bytes = (uint32_t)bytes, .cpu = k->cpu};
	l->sum = letter_sum(l);
	memset(l + 1, (uint8_t)l->sum, bytes - sizeof(*l));
	return l;
}

static void letter_read(const struct letter *l)
{
	const uint8_t *rest = (const uint8_t *)(l + 1);

	if (l->sum != letter_sum(l))
		abort();
	for (size_t i = 0; i<l->bytes - sizeof(*l); i += l->bytes> 2000 ? 97 : 1)
		if (rest[i] != (uint8_t)l->sum)
			abort();
}

static void letter_burn(struct worker *k, struct letter *l)
{
	if (!l)
		return;
	letter_read(l);
	heap_free(&k->crew->w.heap, k->cpu, l, k->crew->sized || next_below(k, 2) ? l->bytes : 0);
}

static struct letter *letter_resize(struct worker *k, struct letter *l)
{
	size_t bytes = sizeof(*l) + next_below(k, 3000);
	struct letter *moved;

	letter_read(l);
	moved = heap_realloc(&k->crew->w.heap, k->cpu, l, l->bytes, bytes);
	if (!moved) {
		k->refused++;
		return l;
	}
	moved->bytes = (uint32_t)bytes;
	moved->sum = letter_sum(moved);
	memset(moved + 1, (uint8_t)moved->sum, bytes - sizeof(*moved));
	return moved;
}

static void *work(void *self)
{
	struct worker *k = self;

	for (unsigned step = 0; step < STEPS; step++) {
		struct letter **place = &k->kept[next_below(k, KEPT)];

		if (*place && next_below(k, 8) == 0)
			*place = letter_resize(k, *place);
		if (next_below(k, 4) == 0) {
			*place = __atomic_exchange_n(&k->crew->mail[next_below(k, MAILS)], *place, __ATOMIC_ACQ_REL);
			continue;
		}
		letter_burn(k, *place);
		*place = next_below(k, 3) ? letter_write(k) : NULL;
		if (step % (STEPS / 4) == 0)
			general_heap_reap(&k->crew->w.heap, k->cpu, step % 2);
	}
	for (unsigned i = 0; i < KEPT; i++)
		letter_burn(k, k->kept[i]);
	return NULL;
}

static void *watch(void *self)
{
	struct crew *c = self;

	while (!__atomic_load_n(&c->done, __ATOMIC_ACQUIRE)) {
		struct heap_stats s = heap_stats_read(&c->w.heap);

		if (s.bytes_asked_max < s.bytes_asked)
			abort();
		sched_yield();
	}
	return NULL;
}

static void many_cpus(uint64_t bytes, unsigned cpus, bool sized)
{
	static struct crew crew;
	static struct worker workers[CPUS_MAX];
	pthread_t threads[CPUS_MAX], watcher;
	uint64_t refused = 0, asked = 0;

	memset(&crew, 0, sizeof(crew));
	crew.sized = sized;
	world_open(&crew.w, bytes, cpus);
	heap_fail_after(&crew.w.heap, STEPS / 4); /* all count it down together */
	ck_assert_int_eq(pthread_create(&watcher, NULL, watch, &crew), 0);
	for (unsigned i = 0; i < cpus; i++) {
		workers[i] = (struct worker){.crew = &crew, .cpu = i, .random = i + 77};
		ck_assert_int_eq(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
	}
	for (unsigned i = 0; i < cpus; i++)
		pthread_join(threads[i], NULL);
	__atomic_store_n(&crew.done, true, __ATOMIC_RELEASE);
	pthread_join(watcher, NULL);
	for (unsigned i = 0; i < cpus; i++)
		refused += workers[i].refused;
	ck_assert_uint_ge(refused, 1);
	ck_assert_uint_eq(crew.w.h->fail_after, 0);
	sound(&crew.w);
	for (unsigned i = 0; i < MAILS; i++)
		asked += crew.mail[i] ? crew.mail[i]->bytes : 0;
	if (sized) /* then no count may have been lost */
		ck_assert_uint_eq(stats(&crew.w).bytes_asked, asked);
	for (unsigned i = 0; i < MAILS; i++)
		letter_burn(&workers[0], crew.mail[i]);
	ck_assert_uint_eq(stats(&crew.w).allocations, 0);
	ck_assert_uint_eq(stats(&crew.w).bytes_asked, 0);
	ck_assert_uint_eq(stats(&crew.w).bytes_given, 0);
	reap_all(&crew.w);
	ck_assert_uint_eq(stats(&crew.w).bytes_held, 0);
	ck_assert_uint_eq(frames_stats_read(&crew.w.frames).frames_free, crew.w.frame_count);
	sound(&crew.w);
	world_close(&crew.w);
}

START_TEST(two_cpus)
{
	many_cpus(64 * MIB, 2, true);
}
END_TEST

START_TEST(eight_cpus)
{
	many_cpus(256 * MIB, 8, false);
}
END_TEST

START_TEST(three_cpus_without_room)
{
	many_cpus(4 * MIB, 3, true);
}
END_TEST

Suite *general_heap_suite(void);
Suite *general_heap_suite(void)
{
	Suite *s = suite_create("general_heap");
	TCase *c = tcase_create("general_heap"), *wrong = tcase_create("wrong");

	tcase_set_timeout(c, 300);
	tcase_add_test(c, init_refuses);
	tcase_add_test(c, sizes);
	tcase_add_test(c, large_sizes);
	tcase_add_test(c, alignments);
	tcase_add_test(c, asked_without_sizes);
	tcase_add_test(c, asked_by_realloc);
	tcase_add_test(c, conformance);
	tcase_add_test(c, room_moves_between_sizes);
	tcase_add_test(c, shrink_without_room_stays);
	tcase_add_test(c, refusals_below);
	tcase_add_test(c, refusals_injected);
	tcase_add_test(c, reap_gives_all_back);
	tcase_add_test(c, arena_grows);
	tcase_add_test(c, fronts);
	tcase_add_test(c, flush);
	tcase_add_test(c, heaps_share_frames);
	tcase_add_test(c, check_objects);
	tcase_add_test(c, two_cpus);
	tcase_add_test(c, eight_cpus);
	tcase_add_test(c, three_cpus_without_room);
	tcase_add_loop_test_raise_signal(wrong, wrong_frees, SIGABRT, 0, WRONG_FREES);
	suite_add_tcase(s, c);
	suite_add_tcase(s, wrong);
	return s;
}
