/* tests/bench/heap_cases.c: what is measured in one process: bulk, the longest
 * call, flaws, the array that grows. Theory: top of heap.c. */
#include <immintrin.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "guests/bench/floors.h"
#include "mm/pool_segregated.h"
#include "mm/pool_variable.h"
#include "mm/vec.h"
#include "tests/bench/heap.h"

static void fact(struct bench *b, const char *name, const char *unit, double slat, double floor, double glibc)
{
	double values[HEAP_COLUMNS];

	for (unsigned i = 0; i < HEAP_COLUMNS; i++)
		values[i] = NAN;
	values[BENCH_SLAT] = slat;
	values[BENCH_FLOOR] = floor;
	values[BENCH_PEER] = glibc;
	bench_fact(b, name, unit, values);
}

static uint64_t random_next(uint64_t *state)
{
	*state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return *state >> 33;
}

/* ---- bulk ---- */

#define BULK_OBJECTS 32768u
#define BULK_MANY    32u

typedef void fill(void *at, const void *pattern, size_t bytes, size_t stride, size_t n);

/* bytes and stride are equal, multiples of 32, and all is aligned to that: as the cases below have it. */
static void fill_sse2(void *at, const void *pattern, size_t bytes, size_t stride, size_t n)
{
	__m128i *to = at;

	(void)stride;
	for (; n > 0; n--)
		for (size_t i = 0; i < bytes / 16; i++)
			_mm_store_si128(to++, _mm_load_si128((const __m128i *)pattern + i));
}

/* What mm/ itself could do where memcpy() knows no better. */
static void fill_words(void *at, const void *pattern, size_t bytes, size_t stride, size_t n)
{
	const uint64_t *from = pattern;
	uint64_t *to = at;

	(void)stride;
	for (; n > 0; n--)
		for (size_t i = 0; i < bytes / 8; i++) {
			uint64_t word = from[i];

			__asm__("" : "+r"(word)); /* or the compiler would make vectors of them */
			*to++ = word;
		}
}

__attribute__((target("avx2"))) static void fill_avx2(void *at, const void *pattern, size_t bytes, size_t stride,
						      size_t n)
{
	__m256i *to = at;

	(void)stride;
	for (; n > 0; n--)
		for (size_t i = 0; i < bytes / 32; i++)
			_mm256_store_si256(to++, _mm256_load_si256((const __m256i *)pattern + i));
}

/* Past the cache: nobody reads them soon. */
static void fill_stream(void *at, const void *pattern, size_t bytes, size_t stride, size_t n)
{
	__m128i *to = at;

	(void)stride;
	for (; n > 0; n--)
		for (size_t i = 0; i < bytes / 16; i++)
			_mm_stream_si128(to++, _mm_load_si128((const __m128i *)pattern + i));
	_mm_sfence();
}

struct bulk {
	uint32_t bytes;
	fill *fill; /* NULL: the pool's own, a memcpy() each */
	void *memory, *other;
};

static enum mm_err lent_take(void *self, unsigned cpu, size_t bytes, size_t align, void **out)
{
	const struct bulk *k = self;

	(void)cpu;
	(void)bytes;
	(void)align;
	*out = k->memory;
	return MM_OK;
}

static void lent_give(void *self, unsigned cpu, void *memory, size_t bytes)
{
	(void)self;
	(void)cpu;
	(void)memory;
	(void)bytes;
}

/* All objects of a pool get their pattern; the floor copies as many bytes. */
static double bulk_round(void *self, unsigned column)
{
	static _Alignas(64) char pattern[4096];
	struct bulk *k = self;
	struct pool_config config = {
		.bytes = k->bytes, .align = 64, .fill = k->fill, .source = {self, lent_take, lent_give}};
	struct pool *p;
	double start;

	if (column > BENCH_FLOOR)
		return NAN;
	memset(pattern, 0x11, sizeof(pattern));
	if (column == BENCH_FLOOR) {
		start = bench_ns();
		memcpy(k->memory, k->other, (size_t)BULK_OBJECTS * k->bytes);
		return (bench_ns() - start) / BULK_OBJECTS;
	}
	p = heap_make_pool(k->bytes, BULK_OBJECTS, pattern, config);
	start = bench_ns();
	if (pool_prime(p, 0, BULK_OBJECTS) != BULK_OBJECTS)
		bench_refuse("a pool is refused", "pool_prime");
	return (bench_ns() - start) / BULK_OBJECTS;
}

struct many {
	struct pool *pool;
	struct floor_list list;
	bool at_once;
};

static double many_slat(struct many *m)
{
	void *object[BULK_MANY];
	double start = bench_ns();

	for (unsigned i = 0; i < 10000; i++) {
		if (m->at_once) {
			if (!pool_alloc_many(m->pool, 0, object, BULK_MANY))
				bench_refuse("a pool is refused", "pool_alloc_many");
			pool_free_many(m->pool, 0, object, BULK_MANY);
			continue;
		}
		for (unsigned n = 0; n < BULK_MANY; n++)
			object[n] = pool_alloc(m->pool, 0);
		for (unsigned n = 0; n < BULK_MANY; n++)
			pool_free(m->pool, 0, object[n]);
	}
	return (bench_ns() - start) / 10000 / BULK_MANY;
}

static double many_round(void *self, unsigned column)
{
	struct many *m = self;
	uintptr_t object[BULK_MANY];
	double start;

	if (column == BENCH_SLAT)
		return many_slat(m);
	if (column != BENCH_FLOOR)
		return NAN;
	start = bench_ns();
	for (unsigned i = 0; i < 10000; i++) {
		for (unsigned n = 0; n < BULK_MANY; n++)
			object[n] = floor_list_take(&m->list, 0);
		for (unsigned n = 0; n < BULK_MANY; n++)
			floor_list_give(&m->list, object[n], 0);
	}
	return (bench_ns() - start) / 10000 / BULK_MANY;
}

static void bulk_many(struct bench *b)
{
	static struct many one, all;
	char *memory = bench_memory(BULK_MANY * 64);

	one.list = all.list = (struct floor_list){.fresh = memory, .end = memory + BULK_MANY * 64, .bytes = 64};
	one.pool = all.pool = heap_make_pool(64, 1000, NULL, (struct pool_config){0});
	all.at_once = true;
	bench_case(b, "32 taken, 32 given, pool, one by one", "ns/object", many_round, &one);
	all.list = one.list;
	bench_case(b, "32 taken, 32 given, pool, many at once", "ns/object", many_round, &all);
}

void heap_bulk(struct bench *b)
{
	static const struct {
		const char *name;
		fill *fill;
	} ways[] = {{"general registers", fill_words},
		    {"memcpy()", NULL},
		    {"SSE2", fill_sse2},
		    {"AVX2", fill_avx2},
		    {"SSE2, streaming", fill_stream}};
	static const uint32_t sizes[] = {64, 256};
	struct bulk k = {.memory = bench_memory(BULK_OBJECTS * 256), .other = bench_memory(BULK_OBJECTS * 256)};
	char name[64];

	for (unsigned s = 0; s < 2; s++)
		for (unsigned i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
			if (ways[i].fill == fill_avx2 && !__builtin_cpu_supports("avx2"))
				continue;
			k.bytes = sizes[s];
			k.fill = ways[i].fill;
			snprintf(name, sizeof(name), "%u B x 32,768 made, %s", k.bytes, ways[i].name);
			bench_case(b, name, "ns/object", bulk_round, &k);
		}
	bulk_many(b);
}

/* ---- the longest call ---- */

#define WORST_OPERATIONS 1000000u
#define WORST_RUNS	 5u
#define WORST_SLOTS	 2048u
#define WORST_BYTES	 (UINT64_C(32) << 20)

struct worst {				       /* ticks */
	uint32_t *least;		       /* of each operation over the runs */
	uint64_t longest[2], sum[2], count[2]; /* of allocations; of frees */
};

static size_t worst_bytes(uint64_t *random)
{
	return 16 + random_next(random) % ((size_t)16 << random_next(random) % 10);
}

/* What is called is told by one of them; heap NULL: malloc(); pool: objects of one size. */
struct called {
	const struct heap *heap;
	struct pool *pool;
};

static void *called_take(const struct called *c, size_t bytes)
{
	if (c->pool)
		return pool_alloc(c->pool, 0);
	return c->heap ? heap_alloc(c->heap, 0, bytes) : malloc(bytes);
}

static void called_give(const struct called *c, void *memory)
{
	if (c->pool)
		pool_free(c->pool, 0, memory);
	else if (c->heap)
		heap_free(c->heap, 0, memory, 0);
	else
		free(memory);
}

static void worst_run(struct worst *w, const struct called *c)
{
	void *slot[WORST_SLOTS] = {NULL};
	uint64_t random = 11, start, ticks;

	for (uint32_t i = 0; i < WORST_OPERATIONS; i++) {
		void **at = &slot[random_next(&random) % WORST_SLOTS];
		size_t bytes = worst_bytes(&random);

		start = bench_ticks();
		if (*at) {
			called_give(c, *at);
			*at = NULL;
		} else {
			*at = called_take(c, bytes);
		}
		ticks = bench_ticks() - start;
		if (ticks < w->least[i])
			w->least[i] = (uint32_t)ticks;
	}
	for (unsigned i = 0; i < WORST_SLOTS; i++)
		if (slot[i])
			called_give(c, slot[i]);
}

static void worst_sum(struct worst *w)
{
	bool live[WORST_SLOTS] = {false};
	uint64_t random = 11;

	for (uint32_t i = 0; i < WORST_OPERATIONS; i++) {
		bool *at = &live[random_next(&random) % WORST_SLOTS];
		unsigned kind = *at;

		worst_bytes(&random);
		*at = !*at;
		w->longest[kind] = w->least[i] > w->longest[kind] ? w->least[i] : w->longest[kind];
		w->sum[kind] += w->least[i];
		w->count[kind]++;
	}
}

static void worst_open(struct worst *w)
{
	*w = (struct worst){.least = bench_memory(WORST_OPERATIONS * sizeof(*w->least))};
	memset(w->least, 0xff, WORST_OPERATIONS * sizeof(*w->least));
}

static void worst_close(struct bench *b, struct worst *w, const struct worst *glibc, const char *name)
{
	static const char *const kinds[] = {"alloc", "free"};
	char row[100];

	for (unsigned kind = 0; kind < 2; kind++) {
		snprintf(row, sizeof(row), "longest %s of 1,000,000, %s", kinds[kind], name);
		fact(b, row, "ns", (double)w->longest[kind] * bench_tick_ns(), NAN,
		     (double)glibc->longest[kind] * bench_tick_ns());
		snprintf(row, sizeof(row), "mean %s of them, %s", kinds[kind], name);
		fact(b, row, "ns", (double)w->sum[kind] / (double)w->count[kind] * bench_tick_ns(), NAN,
		     (double)glibc->sum[kind] / (double)glibc->count[kind] * bench_tick_ns());
	}
	munmap(w->least, WORST_OPERATIONS * sizeof(*w->least));
}

static void worst_runs(struct worst *w, const struct called *c)
{
	worst_open(w);
	for (unsigned run = 0; run < WORST_RUNS; run++)
		worst_run(w, c);
	worst_sum(w);
}

/* All memory was written before, and all objects of a pool were made. */
static void worst_heap(struct worst *w, enum heap_kind kind, struct heap *heap, struct pool **pool)
{
	struct called c = {.heap = heap};

	if (kind == HEAP_POOL) {
		c.pool = heap_make_pool(64, WORST_SLOTS, NULL, (struct pool_config){0});
		if (pool_prime(c.pool, 0, WORST_SLOTS) != WORST_SLOTS)
			bench_refuse("a pool is refused", "pool_prime");
	} else {
		heap_make(kind, WORST_BYTES, heap);
	}
	worst_runs(w, &c);
	*pool = c.pool;
}

/* The most that any call did, beside the bound that a header states. */
static void worst_work(struct bench *b, enum heap_kind kind, const struct heap *heap, const struct pool *pool)
{
	if (kind == HEAP_VARIABLE) {
		struct pool_variable_stats s = pool_variable_stats_read(heap);

		fact(b, "list operations of an alloc; its bound", "operations", (double)s.alloc_work_max,
		     POOL_VARIABLE_ALLOC_WORK, NAN);
		fact(b, "list operations of a free; its bound", "operations", (double)s.free_work_max,
		     POOL_VARIABLE_FREE_WORK, NAN);
	} else if (kind == HEAP_SEGREGATED) {
		struct pool_segregated_work work = pool_segregated_work_read(heap);

		fact(b, "lists, classes and words of an alloc, segregated; bound", "operations", (double)work.alloc_max,
		     POOL_SEGREGATED_ALLOC_WORK, NAN);
		fact(b, "lists of a free, segregated; its bound", "operations", (double)work.free_max,
		     POOL_SEGREGATED_FREE_WORK, NAN);
	} else if (kind == HEAP_POOL) {
		struct pool_stats s = pool_stats_read(pool);

		fact(b, "objects and chunks of an alloc, fixed pool; bound", "operations", (double)s.alloc_work_max,
		     POOL_WORK, NAN);
		fact(b, "objects and chunks of a free, fixed pool; its bound", "operations", (double)s.free_work_max,
		     POOL_WORK, NAN);
	}
}

void heap_worst(struct bench *b)
{
	static const enum heap_kind kinds[] = {HEAP_VARIABLE, HEAP_SEGREGATED, HEAP_SIZECLASS, HEAP_FREELIST,
					       HEAP_POOL};
	struct worst w, glibc;
	struct called c = {NULL, NULL};
	struct pool *pool;
	struct heap heap;

	bench_pin(0);
	worst_runs(&glibc, &c);
	for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		worst_heap(&w, kinds[i], &heap, &pool);
		worst_close(b, &w, &glibc, heap_kind_name(kinds[i]));
		worst_work(b, kinds[i], &heap, pool);
	}
}

/* ---- flaws ---- */

#define FLAWS_BYTES	 (UINT64_C(2) << 20)
#define FLAWS_LIVE	 (UINT64_C(1) << 20) /* asked for at once, at most */
#define FLAWS_SLOTS	 1024u
#define FLAWS_OPERATIONS 100000u
#define FLAWS_PHASE	 10000u /* operations of one kind of sizes */

struct flaws {
	double refused, held, ns; /* of 100 allocations; most bytes for each that is asked for; an operation */
};

struct mixed {
	struct heap heap;
	void *slot[FLAWS_SLOTS];
	size_t bytes[FLAWS_SLOTS];
	uint64_t random, live, tried, refused;
};

/* 16 to 271 bytes, then 1 to 16 KiB, and so on. */
static void mixed_step(struct mixed *m, uint32_t i)
{
	uint32_t n = (uint32_t)(random_next(&m->random) % FLAWS_SLOTS);
	size_t bytes =
		i / FLAWS_PHASE % 2 ? 1024 + random_next(&m->random) % 15361 : 16 + random_next(&m->random) % 256;

	if (m->slot[n]) {
		heap_free(&m->heap, 0, m->slot[n], m->bytes[n]);
		m->live -= m->bytes[n];
		m->slot[n] = NULL;
	} else if (m->live + bytes <= FLAWS_LIVE) {
		m->slot[n] = heap_alloc(&m->heap, 0, bytes);
		m->bytes[n] = bytes;
		m->live += m->slot[n] ? bytes : 0;
		m->refused += !m->slot[n];
		m->tried++;
	}
}

static struct flaws flaws_run(enum heap_kind kind)
{
	static struct mixed m;
	struct flaws f = {0, 0, 0};
	struct heap_stats s;
	double start = 0;

	m = (struct mixed){.random = 3};
	heap_make(kind, FLAWS_BYTES, &m.heap);
	for (uint32_t i = 0; i < FLAWS_OPERATIONS; i += FLAWS_PHASE) {
		start = bench_ns();
		for (uint32_t j = i; j < i + FLAWS_PHASE; j++)
			mixed_step(&m, j);
		f.ns += (bench_ns() - start) / FLAWS_OPERATIONS;
		s = heap_stats_read(&m.heap);
		if (s.bytes_asked)
			f.held = fmax(f.held, (double)s.bytes_held / (double)s.bytes_asked);
	}
	f.refused = 100 * (double)m.refused / (double)m.tried;
	return f;
}

void heap_flaws(struct bench *b)
{
	char row[100];

	for (enum heap_kind kind = HEAP_VARIABLE; kind < HEAP_KINDS; kind++) {
		struct flaws least = flaws_run(kind);

		for (unsigned round = 1; round < b->rounds; round++) {
			struct flaws again = flaws_run(kind);

			least.ns = fmin(least.ns, again.ns);
		}
		snprintf(row, sizeof(row), "small, large in 2 MiB: refused, %s", heap_kind_name(kind));
		fact(b, row, "of 100", least.refused, NAN, NAN);
		snprintf(row, sizeof(row), "small, large in 2 MiB: held a byte, %s", heap_kind_name(kind));
		fact(b, row, "bytes", least.held, NAN, NAN);
		snprintf(row, sizeof(row), "small, large in 2 MiB: a call, %s", heap_kind_name(kind));
		fact(b, row, "ns", least.ns, NAN, NAN);
	}
}

/* ---- the array that grows ---- */

#define VEC_ELEMENTS 1000000u /* of both */
#define VEC_BYTES    (UINT64_C(64) << 20)

struct grown {
	struct heap heap;
	uint32_t share; /* of 256 */
	uint64_t *floor;
	double idle;	/* mean share of the room */
	uint64_t times; /* each of them grew */
};

/* Two grow in turn, so that neither has room behind it; count: looks at each step what is idle. */
static void vec_fill(struct grown *g, bool count)
{
	struct vec_config config = {.heap = &g->heap, .element = sizeof(uint64_t), .share = g->share};
	struct vec v[2];

	vec_init(&v[0], &config);
	vec_init(&v[1], &config);
	g->idle = 0;
	for (uint64_t i = 0; i < VEC_ELEMENTS; i++) {
		uint64_t *at = vec_push(&v[i % 2]);

		if (!at)
			bench_refuse("a heap is full", "vec_push");
		*at = i;
		if (count)
			g->idle += 100.0 * (double)(v[0].room - v[0].count) / (double)v[0].room / VEC_ELEMENTS;
	}
	g->times = v[0].grown;
	vec_fini(&v[0]);
	vec_fini(&v[1]);
}

static double vec_round(void *self, unsigned column)
{
	struct grown *g = self;
	double start = bench_ns();

	if (column > BENCH_FLOOR)
		return NAN;
	if (column == BENCH_SLAT)
		vec_fill(g, false);
	else
		for (uint64_t i = 0; i < VEC_ELEMENTS; i++)
			((volatile uint64_t *)g->floor)[i] = i;
	return (bench_ns() - start) / VEC_ELEMENTS;
}

void heap_vec(struct bench *b)
{
	static const struct {
		uint32_t share;
		const char *factor;
	} ways[] = {{32, "9/8"}, {64, "5/4"}, {128, "3/2"}, {192, "7/4"}, {256, "2"}, {768, "4"}};
	struct grown g = {.floor = bench_memory(VEC_ELEMENTS * sizeof(uint64_t))};
	char row[100];

	heap_make(HEAP_VARIABLE, VEC_BYTES, &g.heap);
	for (unsigned i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		g.share = ways[i].share;
		snprintf(row, sizeof(row), "2 vecs of 500,000 words, factor %s: push", ways[i].factor);
		bench_case(b, row, "ns", vec_round, &g);
		vec_fill(&g, true);
		snprintf(row, sizeof(row), "2 vecs of 500,000 words, factor %s: idle room", ways[i].factor);
		fact(b, row, "of 100", g.idle, NAN, NAN);
		snprintf(row, sizeof(row), "2 vecs of 500,000 words, factor %s: grown", ways[i].factor);
		fact(b, row, "times", (double)g.times, NAN, NAN);
	}
}
