/* tests/unit/test_pool.c: mm/pool against a model that knows who has which object:
 * a million random operations on several CPUs, one by one and many at once; growth,
 * bound, patterns, fallback; wrong frees; refusals at each point; the checker on
 * states broken on purpose; threads with a map of owners. What it does not see:
 * speed, and that a CPU's fast path writes no line of another's (only the layout is
 * asserted). */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "mm/pool_impl.h"
#include "mm/pool_variable.h"
#include "tests/unit/expect.h"
#include "tests/unit/pool_supply.h"
#include "tests/unit/random.h"

#undef fail

struct world {
	struct supply supply;
	struct pool_config config;
	struct pool *p;
	void *meta;
	size_t meta_bytes;
	unsigned threads;
};

static struct pool *world_init(struct world *w, const struct pool_config *config)
{
	memset(w, 0, sizeof(*w));
	supply_open(&w->supply);
	w->config = *config;
	if (!config->source.take)
		w->config.source = supply_source(&w->supply);
	w->meta_bytes = pool_meta_bytes(&w->config);
	w->meta = lines_take(w->meta_bytes);
	memset(w->meta, 0x5a, w->meta_bytes);
	ck_assert_int_eq(pool_init(w->meta, w->meta_bytes, &w->config, &w->p), MM_OK);
	ck_assert(pool_check(w->p));
	ck_assert_uint_eq(w->supply.asked, 0);
	return w->p;
}

static void world_close(struct world *w)
{
	ck_assert(pool_check(w->p));
	ck_assert_int_eq(pool_destroy(w->p, 0), MM_OK);
	ck_assert_uint_eq(w->supply.out, 0);
	free(w->meta);
}

static struct pool_stats stats(const struct world *w)
{
	return pool_stats_read(w->p);
}

static void in_bounds(const struct world *w)
{
	ck_assert_uint_gt(stats(w).alloc_work_max, 0);
	ck_assert_uint_le(stats(w).alloc_work_max, POOL_WORK);
	ck_assert_uint_gt(stats(w).free_work_max, 0);
	ck_assert_uint_le(stats(w).free_work_max, POOL_WORK);
}

static void *get(struct pool *p, unsigned cpu)
{
	void *object = pool_alloc(p, cpu);

	EXPECT(object);
	return object;
}

/* ---- arguments, layout ---- */

START_TEST(arguments)
{
	struct supply supply;
	struct pool_config good = {.bytes = 64, .most = 100, .cpus = 2, .rounds = 8}, bad;
	char *meta = lines_take(8192);
	size_t bytes;
	struct pool *p = NULL;

	supply_open(&supply);
	good.source = supply_source(&supply);
	bytes = pool_meta_bytes(&good);
	ck_assert_uint_le(bytes, 8192);
#define REFUSED(meta, bytes, config) ck_assert_int_eq(pool_init(meta, bytes, config, &p), MM_EINVAL)
#define BAD(field, value)                                                                                              \
	do {                                                                                                           \
		bad = good;                                                                                            \
		bad.field = (value);                                                                                   \
		REFUSED(meta, SIZE_MAX, &bad);                                                                         \
		ck_assert_uint_eq(pool_meta_bytes(&bad), 0);                                                           \
	} while (0)
	BAD(bytes, 0);
	BAD(bytes, POOL_OBJECT_BYTES_MAX + 1);
	BAD(align, 24);
	BAD(align, 2 * FRAME_BYTES);
	BAD(most, 0);
	BAD(most, POOL_OBJECTS_MAX + 1);
	BAD(first, 101);
	BAD(cpus, 0);
	BAD(cpus, POOL_CPUS_MAX + 1);
	BAD(rounds, POOL_ROUNDS_MAX + 1);
	bad = good;
	bad.bytes = POOL_OBJECT_BYTES_MAX;
	bad.most = (1u << 24) + 1;
	ck_assert_uint_eq(pool_meta_bytes(&bad), 0); /* more than 16 TiB */
	bad.most--;
	ck_assert_uint_gt(pool_meta_bytes(&bad), 0);
	bad = good;
	bad.source.take = NULL;
	REFUSED(meta, bytes, &bad);
	bad = good;
	bad.source.give = NULL;
	REFUSED(meta, bytes, &bad);
	REFUSED(NULL, bytes, &good);
	REFUSED(meta + 32, bytes, &good);
	REFUSED(meta, bytes - 1, &good);
	ck_assert_ptr_null(p);
	ck_assert_int_eq(pool_init(meta, bytes, &good, &p), MM_OK);
	ck_assert_int_eq(pool_destroy(p, 0), MM_OK);
	free(meta);
}
END_TEST

/* Metadata that starts at any line: no byte behind it is written, CPUs are whole lines apart. */
START_TEST(layout)
{
	static _Alignas(128) unsigned char meta[16384];
	struct supply supply;
	struct pool_config config = {.bytes = 24, .most = 200, .cpus = 3, .rounds = POOL_ROUNDS_MAX};
	size_t bytes;
	struct pool *p;

	supply_open(&supply);
	config.source = supply_source(&supply);
	bytes = pool_meta_bytes(&config);
	for (unsigned line = 0; line < 2; line++) {
		void *object[200];

		memset(meta, 0xa5, sizeof(meta));
		ck_assert_int_eq(pool_init(meta + line * 64, bytes, &config, &p), MM_OK);
		ck_assert(pool_alloc_many(p, 0, object, 200));
		pool_free_many(p, 2, object, 200);
		for (unsigned cpu = 0; cpu < 3; cpu++)
			ck_assert_uint_eq((uintptr_t)pool_hot_of(p, cpu) % 128, 0);
		ck_assert_uint_eq(meta[line * 64 + bytes], 0xa5);
		ck_assert_int_eq(pool_destroy(p, 0), MM_OK);
	}
}
END_TEST

/* Each size and alignment: where objects lie, and that each is found again. */
START_TEST(every_size)
{
	for (uint32_t bytes = 1; bytes <= POOL_OBJECT_BYTES_MAX; bytes += 1 + bytes / 2)
		for (uint32_t align = 0; align <= FRAME_BYTES; align += align ? align : 1) {
			struct pool_config config = {.bytes = bytes, .align = align, .most = 7, .first = 2, .cpus = 1};
			uint32_t natural = align == 0 ? 16 : align < 8 ? 8 : align;
			struct world w;
			char *object[7];

			world_init(&w, &config);
			for (unsigned i = 0; i < 7; i++) {
				object[i] = get(w.p, 0);
				EXPECT((uintptr_t)object[i] % natural == 0);
				memset(object[i], (int)i, bytes);
			}
			EXPECT(!pool_alloc(w.p, 0) && w.p->chunks == 3 && pool_check(w.p));
			for (unsigned i = 0; i < 7; i++) {
				EXPECT(object[i][0] == (char)i && object[i][bytes - 1] == (char)i);
				pool_free(w.p, 0, object[i]);
			}
			world_close(&w);
		}
}
END_TEST

/* ---- chunks ---- */

START_TEST(chunks_double)
{
	struct pool_config config = {
		.bytes = 100, .align = POOL_LINE, .most = 100, .first = 10, .cpus = 1, .rounds = 4};
	struct world w;
	void *object[101];
	unsigned n = 0;

	world_init(&w, &config);
	while ((object[n] = pool_alloc(w.p, 0))) {
		ck_assert_uint_eq((uintptr_t)object[n] % 64, 0);
		n++;
	}
	ck_assert_uint_eq(n, 100);
	ck_assert_uint_eq(w.supply.asked, 5); /* 10, 10, 20, 40, 20 */
	ck_assert_uint_eq(stats(&w).chunks, 5);
	ck_assert_uint_eq(stats(&w).bytes_held, 100 * 128);
	ck_assert_uint_eq(stats(&w).bytes_given, 100 * 128);
	ck_assert_uint_eq(stats(&w).bytes_asked, 100 * 100);
	ck_assert_uint_eq(stats(&w).objects_live_max, 100);
	ck_assert_uint_eq(stats(&w).refused, 1);
	ck_assert_int_eq(pool_destroy(w.p, 0), MM_EBUSY);
	while (n > 0)
		pool_free(w.p, 0, object[--n]);
	ck_assert_uint_eq(stats(&w).objects_cached + stats(&w).objects_free, 100);
	world_close(&w);
}
END_TEST

START_TEST(source_refuses)
{
	struct pool_config config = {.bytes = 64, .most = 100, .first = 10, .cpus = 2, .rounds = 120};
	struct world w;
	void *object[20];

	world_init(&w, &config);
	for (unsigned i = 0; i < 20; i++)
		object[i] = get(w.p, 0);
	w.supply.out_max = w.supply.out;
	ck_assert_ptr_null(pool_alloc(w.p, 1));
	ck_assert(pool_check(w.p));
	ck_assert_uint_eq(stats(&w).objects_live, 20);
	pool_free(w.p, 0, object[0]);
	ck_assert_ptr_null(pool_alloc(w.p, 1)); /* CPU 0 keeps it */
	pool_drain(w.p, 0);
	object[0] = get(w.p, 1);
	w.supply.out_max = UINT64_MAX;
	pool_free(w.p, 1, get(w.p, 1));
	for (unsigned i = 0; i < 20; i++)
		pool_free(w.p, 0, object[i]);
	world_close(&w);
}
END_TEST

/* ---- patterns ---- */

static size_t filled, fills, fill_most;

static void fill_counted(void *at, const void *pattern, size_t bytes, size_t stride, size_t n)
{
	filled += n;
	fills++;
	fill_most = n > fill_most ? n : fill_most;
	for (char *to = at; n > 0; n--, to += stride)
		memcpy(to, pattern, bytes);
}

START_TEST(patterns)
{
	static const char pattern[40] = "what each of them holds at first";

	for (unsigned hook = 0; hook < 2; hook++) {
		struct pool_config config = {.bytes = 40, .most = 1000, .cpus = 1, .rounds = 20, .pattern = pattern};
		struct world w;
		char *object[1000];

		config.fill = hook ? fill_counted : NULL;
		filled = fills = fill_most = 0;
		world_init(&w, &config);
		for (unsigned i = 0; i < 300; i++) {
			object[i] = get(w.p, 0);
			ck_assert_mem_eq(object[i], pattern, 40);
			ck_assert_uint_eq(object[i] - object[0], i * 48); /* in a row */
			memset(object[i], 1, 40);
		}
		ck_assert_uint_le(fill_most, 10);
		pool_free(w.p, 0, object[299]);
		object[299] = get(w.p, 0);
		ck_assert_int_eq(object[299][0], 1); /* only the first time */
		ck_assert_uint_eq(pool_prime(w.p, 0, 500), 500);
		ck_assert_uint_eq(stats(&w).objects_fresh, 200);
		ck_assert_uint_eq(stats(&w).objects_free, 500);
		ck_assert(pool_check(w.p));
		ck_assert_uint_eq(pool_prime(w.p, 0, 500), 200);
		ck_assert_uint_eq(pool_prime(w.p, 0, SIZE_MAX), 0);
		for (unsigned i = 300; i < 1000; i++) {
			object[i] = get(w.p, 0);
			ck_assert_mem_eq(object[i], pattern, 40);
		}
		ck_assert_uint_eq(filled, hook ? 1000 : 0);
		ck_assert_uint_eq(stats(&w).objects_live_max, 1000);
		pool_free_many(w.p, 0, (void **)object, 1000);
		world_close(&w);
	}
}
END_TEST

/* What is primed in chunks that come, as far as they do. */
START_TEST(prime_grows)
{
	struct pool_config config = {.bytes = 64, .most = 1000, .first = 100, .cpus = 1, .rounds = 20};
	struct world w;

	world_init(&w, &config);
	w.supply.out_max = 500 * 64;
	ck_assert_uint_eq(pool_prime(w.p, 0, 150), 150);
	ck_assert_uint_eq(pool_prime(w.p, 0, 1000), 250);
	ck_assert_uint_eq(stats(&w).chunks, 3);
	ck_assert_uint_eq(stats(&w).objects_live_max, 0);
	world_close(&w);
}
END_TEST

/* ---- the model ---- */

#define CPUS	3u
#define OBJECTS 3000u

struct model {
	struct world *w;
	void *live[OBJECTS];
	unsigned count;
};

/* What is written into an object says which it is. */
static void sign(void *object, unsigned cpu)
{
	uint64_t *word = object;

	word[0] = ~(uintptr_t)object;
	word[1] = cpu;
}

static bool signed_still(const void *object)
{
	const uint64_t *word = object;

	return word[0] == ~(uintptr_t)object && word[1] < CPUS;
}

static void model_add(struct model *m, void *object, unsigned cpu)
{
	sign(object, cpu);
	m->live[m->count++] = object;
}

static void *model_cut(struct model *m)
{
	unsigned i = (unsigned)below(m->count);
	void *object = m->live[i];

	EXPECT(signed_still(object));
	m->live[i] = m->live[--m->count];
	memset(object, 0, 16);
	return object;
}

static void model_many(struct model *m, unsigned cpu)
{
	void *object[256];
	size_t n = below(256);

	if (below(2) && m->count + n <= OBJECTS) {
		if (!pool_alloc_many(m->w->p, cpu, object, n))
			return;
		for (size_t i = 0; i < n; i++)
			model_add(m, object[i], cpu);
	} else if (m->count >= n) {
		for (size_t i = 0; i < n; i++)
			object[i] = model_cut(m);
		pool_free_many(m->w->p, cpu, object, n);
	}
}

static void model_step(struct model *m, uint64_t tilt)
{
	unsigned cpu = (unsigned)below(CPUS);
	uint64_t what = below(1000);
	void *object;

	if (what == 0)
		pool_drain(m->w->p, cpu);
	else if (what == 1)
		pool_prime(m->w->p, cpu, below(50));
	else if (what < 20)
		model_many(m, cpu);
	else if (below(16) < tilt && m->count < OBJECTS) {
		object = pool_alloc(m->w->p, cpu);
		if (object)
			model_add(m, object, cpu);
	} else if (m->count > 0)
		pool_free(m->w->p, cpu, model_cut(m));
}

static void model_run(struct world *w, uint64_t operations)
{
	struct model *m = calloc(1, sizeof(*m));

	m->w = w;
	for (uint64_t i = 1; i <= operations; i++) {
		model_step(m, i / 8192 % 2 ? 4 : 12);
		if (i % 512 == 0) {
			EXPECT(pool_check(w->p));
			EXPECT(stats(w).objects_live == m->count);
			EXPECT(stats(w).objects_live_max >= m->count);
		}
	}
	while (m->count > 0)
		pool_free(w->p, 0, model_cut(m));
	free(m);
}

/* The bound is below what the model wants. */
START_TEST(random_operations)
{
	static const uint32_t rounds[] = {0, 1, 7, 120};
	struct pool_config config = {.bytes = 40, .most = 2000, .first = 50, .cpus = CPUS};
	struct world w;

	seed(6);
	for (unsigned i = 0; i < 4; i++) {
		config.rounds = rounds[i];
		world_init(&w, &config);
		model_run(&w, 250000);
		ck_assert_uint_eq(stats(&w).objects_live_max, 2000);
		ck_assert_uint_gt(stats(&w).refused, 0);
		in_bounds(&w);
		world_close(&w);
	}
}
END_TEST

/* A million calls, one by one, over more chunks than most have: the most work of any beside the stated bound, and what
 * it must be at least: a batch that moved, and looks beyond the newest chunk. */
START_TEST(worst_of_a_million)
{
	static void *objects[20000];
	struct pool_config config = {.bytes = 16, .most = 20000, .first = 1, .cpus = 1, .rounds = POOL_ROUNDS_MAX};
	struct world w;

	seed(16);
	world_init(&w, &config);
	for (unsigned i = 0; i < 1000000; i++) {
		void **at = &objects[below(20000)];

		if (*at)
			pool_free(w.p, 0, *at);
		*at = *at ? NULL : get(w.p, 0);
	}
	in_bounds(&w);
	ck_assert_uint_ge(stats(&w).chunks, 14);
	ck_assert_uint_gt(stats(&w).alloc_work_max, 2 * POOL_BATCH);
	ck_assert_uint_gt(stats(&w).free_work_max, 2 * POOL_BATCH);
	for (unsigned i = 0; i < 20000; i++)
		if (objects[i])
			pool_free(w.p, 0, objects[i]);
	world_close(&w);
}
END_TEST

/* ---- a fallback ---- */

struct under {
	struct pool_variable_config config;
	void *meta;
	struct heap heap;
};

static void under_open(struct under *u, size_t bytes)
{
	*u = (struct under){.config = {.cpus = 4, .region = lines_take(bytes), .region_bytes = bytes},
			    .meta = lines_take(pool_variable_meta_bytes())};
	ck_assert_int_eq(pool_variable_init(u->meta, pool_variable_meta_bytes(), &u->config, &u->heap), MM_OK);
}

static void under_close(struct under *u)
{
	ck_assert_uint_eq(heap_stats_read(&u->heap).allocations, 0);
	ck_assert(heap_check(&u->heap));
	free(u->config.region);
	free(u->meta);
}

START_TEST(fallback)
{
	static const char pattern[64] = "theirs, too";
	struct pool_config config = {
		.bytes = 64, .align = 64, .most = 50, .cpus = CPUS, .rounds = 16, .pattern = pattern};
	struct under under;
	struct world w;
	void *object[100];

	under_open(&under, 1 << 20);
	config.fallback = &under.heap;
	world_init(&w, &config);
	for (unsigned i = 0; i < 100; i++) {
		object[i] = get(w.p, 0);
		ck_assert_uint_eq((uintptr_t)object[i] % 64, 0);
		ck_assert_mem_eq(object[i], pattern, 64);
	}
	ck_assert_uint_eq(heap_stats_read(&under.heap).allocations, 50);
	ck_assert_uint_eq(stats(&w).objects_fallback, 50);
	ck_assert_uint_eq(stats(&w).objects_live, 100);
	ck_assert_uint_eq(stats(&w).objects_live_max, 100);
	ck_assert(pool_check(w.p));
	for (unsigned i = 0; i < 100; i++)
		pool_free(w.p, 0, object[99 - i]);
	ck_assert_uint_eq(stats(&w).objects_fallback, 0);
	for (unsigned i = 0; i < 51; i++)
		object[i] = get(w.p, 1); /* CPU 0 keeps some: the fallback again */
	ck_assert_uint_gt(stats(&w).objects_fallback, 0);
	pool_free_many(w.p, 2, object, 51);
	ck_assert(pool_check(w.p));
	seed(7);
	model_run(&w, 100000);
	for (unsigned i = 0; i < 8; i++) { /* and what is cached when it ends */
		heap_fail_after(&under.heap, 0);
		object[i] = get(w.p, 1);
	}
	pool_free_many(w.p, 1, object, 8);
	world_close(&w);
	under_close(&under);
}
END_TEST

START_TEST(fallback_is_full)
{
	struct pool_config config = {.bytes = 64, .most = 4, .cpus = 1, .rounds = 16};
	struct under under;
	struct world w;
	void *object[64];
	unsigned n = 0;

	under_open(&under, 4096);
	config.fallback = &under.heap;
	world_init(&w, &config);
	ck_assert(!pool_alloc_many(w.p, 0, object, 64));
	ck_assert_uint_eq(heap_stats_read(&under.heap).allocations, 0);
	ck_assert(pool_check(w.p));
	while ((object[n] = pool_alloc(w.p, 0)))
		n++;
	ck_assert_uint_gt(n, 40);
	pool_free_many(w.p, 0, object, n);
	ck_assert_uint_gt(stats(&w).objects_fallback, 0);
	world_close(&w); /* those that are cached go back, too */
	under_close(&under);
}
END_TEST

/* ---- refusals ---- */

START_TEST(refusals_change_nothing)
{
	struct pool_config config = {.bytes = 64, .most = 300, .first = 100, .cpus = 1, .rounds = 8};
	struct world w;
	void *before, *object[300], *more;

	world_init(&w, &config);
	before = malloc(w.meta_bytes);
	for (unsigned i = 0; i < 100; i++)
		object[i] = get(w.p, 0);
	while (stats(&w).objects_cached > 0)
		object[100] = get(w.p, 0);
	memcpy(before, w.meta, w.meta_bytes);
	((struct pool *)before)->refused = 1;
	pool_fail_after(w.p, 1);
	ck_assert_ptr_null(pool_alloc(w.p, 0)); /* by the fault */
	ck_assert_mem_eq(before, w.meta, w.meta_bytes);
	((struct pool *)before)->refused = 2;
	((struct pool *)before)->fresh_chunk = 1; /* it saw that the first has none */
	w.supply.out_max = 0;
	ck_assert_ptr_null(pool_alloc(w.p, 0)); /* by the source */
	ck_assert_mem_eq(before, w.meta, w.meta_bytes);
	((struct pool *)before)->refused = 3;
	ck_assert(!pool_alloc_many(w.p, 0, object + 100, 2));
	ck_assert_mem_eq(before, w.meta, w.meta_bytes);
	w.supply.out_max = UINT64_MAX;
	for (unsigned n = 1; n <= 4; n++) { /* each of the visits of a call for many: 60 at once */
		uint64_t live = stats(&w).objects_live;

		pool_fail_after(w.p, n);
		if (n <= 3) {
			ck_assert(!pool_alloc_many(w.p, 0, object + 100, 150));
			ck_assert_uint_eq(stats(&w).objects_live, live);
		} else {
			ck_assert(pool_alloc_many(w.p, 0, object + 100, 150));
			ck_assert_uint_eq(stats(&w).objects_live, live + 150);
		}
		ck_assert(pool_check(w.p));
	}
	pool_fail_after(w.p, 1);
	pool_fail_after(w.p, 0);
	more = get(w.p, 0);
	pool_free(w.p, 0, more);
	pool_free_many(w.p, 0, object, 250);
	ck_assert(pool_alloc_many(w.p, 0, object, 0));
	free(before);
	world_close(&w);
}
END_TEST

/* ---- wrong calls ---- */

START_TEST(wrong_calls)
{
	static char elsewhere[256];
	struct pool_config config = {.bytes = 64, .most = 100, .first = 50, .cpus = 1};
	struct world w;
	struct under under;
	char *a, *b;

	freopen("/dev/null", "w", stderr);
	if (_i == 7) {
		under_open(&under, 65536);
		config.fallback = &under.heap;
	}
	world_init(&w, &config);
	a = get(w.p, 0);
	b = get(w.p, 0);
	switch (_i) {
	case 0:
		pool_free(w.p, 0, a);
		pool_free(w.p, 0, a);
		break;
	case 1:
		pool_free(w.p, 0, a + 16);
		break;
	case 2:
		pool_free(w.p, 0, elsewhere);
		break;
	case 3: /* fresh */
		pool_free(w.p, 0, b + 64);
		break;
	case 4: /* a batch with one twice */
		pool_free_many(w.p, 0, (void *[]){a, b, a}, 3);
		break;
	case 5:
		pool_free(w.p, 1, a);
		break;
	case 6:
		ck_assert_ptr_null(pool_alloc(w.p, 1));
		break;
	case 7: /* the fallback gave nothing yet */
		pool_free(w.p, 0, elsewhere);
		break;
	default: /* just behind the chunk */
		pool_free(w.p, 0, a + 50 * 64);
	}
}
END_TEST

/* What a CPU keeps is looked at when it leaves. */
START_TEST(seen_when_it_leaves)
{
	struct pool_config config = {.bytes = 64, .most = 100, .cpus = 1, .rounds = 8};
	struct world w;
	void *a;

	freopen("/dev/null", "w", stderr);
	world_init(&w, &config);
	a = get(w.p, 0);
	pool_free(w.p, 0, a);
	pool_free(w.p, 0, a);
	ck_assert(!pool_check(w.p));
	pool_drain(w.p, 0);
}
END_TEST

START_TEST(source_misaligns)
{
	struct pool_config config = {.bytes = 64, .most = 100, .cpus = 1};
	struct world w;

	freopen("/dev/null", "w", stderr);
	world_init(&w, &config);
	w.p->align = 8192; /* more than it may give */
	w.p->stride = 8192;
	ck_assert_ptr_null(pool_alloc(w.p, 0));
}
END_TEST

/* ---- the checker ---- */

START_TEST(checker_objects)
{
	struct pool_config config = {.bytes = 64, .most = 1000, .first = 20, .cpus = 2, .rounds = 8};
	struct world w;
	struct pool *p;
	struct pool_cpu *cpu;
	void *object[50];

	p = world_init(&w, &config);
	for (unsigned i = 0; i < 50; i++)
		object[i] = get(p, 0);
	for (unsigned i = 0; i < 20; i++)
		pool_free(p, i % 2, object[i]);
	cpu = (struct pool_cpu *)(void *)pool_hot_of(p, 1);
#define BREAK(lvalue, value)                                                                                           \
	do {                                                                                                           \
		__typeof__(lvalue) was = (lvalue);                                                                     \
		(lvalue) = (value);                                                                                    \
		if (pool_check(p))                                                                                     \
			ck_abort_msg("the checker misses: " #lvalue " = " #value);                                     \
		(lvalue) = was;                                                                                        \
		ck_assert(pool_check(p));                                                                              \
	} while (0)
	BREAK(p->chunk[1].first, 19);
	BREAK(p->chunk[1].count, 0);
	BREAK(p->chunk[0].fresh, 19);
	BREAK(p->chunk[2].fresh, 41);
	BREAK(p->chunk[0].base, p->chunk[0].base + 8);
	BREAK(p->chunk[1].base, p->chunk[0].base + 64);
	BREAK(p->chunk[0].base, p->chunk[1].base + 64);
	BREAK(p->made, 81);
	BREAK(p->most, 79);
	BREAK(p->coming, 1);
	BREAK(p->priming, 1);
	BREAK(p->fresh_chunk, 3);
	BREAK(p->fresh_chunk, 4);
	BREAK(p->claimed, p->claimed + 1);
	BREAK(p->claimed_max, 0);
	BREAK(p->depth, p->depth - 1);
	BREAK(p->stack[1], p->stack[0]);
	BREAK(p->stack[1], 1000);
	BREAK(p->stack[1], 79); /* fresh */
	BREAK(p->map[0], p->map[0] ^ UINT64_C(1) << p->stack[0]);
	BREAK(p->map[1], p->map[1] | 1);
	BREAK(p->map[15], 1);
	BREAK(cpu->top, cpu->limit - 9);
	BREAK(cpu->top, cpu->limit + 1);
	BREAK(cpu->limit, cpu->limit + 1);
	BREAK(cpu->round[0], cpu->round[1]);
	BREAK(cpu->round[0], (char *)object[0] + 8);
	BREAK(cpu->round[0], (void *)&w);
	BREAK(cpu->round[0], (void *)(p->chunk[0].base + p->stack[0] * 64)); /* free */
	{
		struct pool_cpu *other = (struct pool_cpu *)(void *)pool_hot_of(p, 0);

		BREAK(cpu->round[0], other->round[0]);
	}
	p->depth = p->made + 1;
	p->claimed -= p->made + 1; /* so that the sum is right, and the depth is not */
	ck_assert(!pool_check(p));
	p->depth = 0;
	free(w.meta);
	for (unsigned i = 0; i < SUPPLY_CHUNKS; i++)
		free(w.supply.chunk[i]);
}
END_TEST

/* ---- threads ---- */

#define RING 1024u

static void *ring[RING];

/* Takes, marks as its own, and passes every third to the other thread through a ring. */
static void *churn(void *self)
{
	struct world *w = self;
	unsigned cpu = __atomic_fetch_add(&w->threads, 1, __ATOMIC_RELAXED);
	uint64_t random = cpu + 1;
	void *mine[200], *passed;
	unsigned n = 0;

	for (unsigned i = 0; i < 200000; i++) {
		random = random * UINT64_C(6364136223846793005) + 1442695040888963407;
		if (n < 200 && (random >> 33) % 2) {
			mine[n] = pool_alloc(w->p, cpu);
			if (mine[n]) {
				if (((uint64_t *)mine[n])[0] == UINT64_C(0x1e1e1e1e))
					abort(); /* somebody else's */
				((uint64_t *)mine[n++])[0] = UINT64_C(0x1e1e1e1e);
			}
		} else if (n > 0) {
			((uint64_t *)mine[--n])[0] = 0;
			passed = mine[n];
			if (i % 3 == 0)
				passed = __atomic_exchange_n(&ring[i / 3 % RING], passed, __ATOMIC_ACQ_REL);
			if (passed)
				pool_free(w->p, cpu, passed);
		}
		if (i % 1024 == 0)
			pool_drain(w->p, cpu);
		if (i % 4096 == 0 && n + 64 <= 200 && pool_alloc_many(w->p, cpu, mine + n, 64))
			pool_free_many(w->p, cpu, mine + n, 64);
		if (i % 512 == 0)
			(void)pool_stats_read(w->p);
	}
	while (n > 0) {
		((uint64_t *)mine[--n])[0] = 0;
		pool_free(w->p, cpu, mine[n]);
	}
	return NULL;
}

START_TEST(threads)
{
	static const char zero[64];
	struct pool_config config = {.bytes = 64, .most = OBJECTS, .first = 8, .cpus = 4, .pattern = zero};

	for (config.rounds = 0; config.rounds <= 120; config.rounds += 60) {
		struct world w;
		pthread_t thread[4];

		world_init(&w, &config);
		for (unsigned i = 0; i < 4; i++)
			pthread_create(&thread[i], NULL, churn, &w);
		for (unsigned i = 0; i < 4; i++)
			pthread_join(thread[i], NULL);
		for (unsigned i = 0; i < RING; i++)
			if (ring[i])
				pool_free(w.p, 0, ring[i]);
		memset(ring, 0, sizeof(ring));
		world_close(&w);
	}
}
END_TEST

static void *take_one(void *self)
{
	return pool_alloc(self, 0);
}

/* Two CPUs find the pool empty: the second one waits for the first one's chunk. */
START_TEST(waits_for_what_comes)
{
	struct slow_supply slow = {.entered = 0};
	struct pool_config config = {
		.bytes = 64, .most = 100, .cpus = 2, .source = {&slow, slow_supply_take, supply_give}};
	pthread_t thread;
	struct world w;
	void *a, *b;

	supply_open(&slow.supply);
	world_init(&w, &config);
	pthread_create(&thread, NULL, take_one, w.p);
	slow_supply_meet(&slow);
	b = get(w.p, 1);
	pthread_join(thread, &a);
	ck_assert_ptr_nonnull(a);
	ck_assert_uint_eq(slow.supply.asked, 1);
	pool_free(w.p, 0, a);
	pool_free(w.p, 0, b);
	world_close(&w);
	ck_assert_uint_eq(slow.supply.out, 0);
}
END_TEST

/* One CPU primes, and is slow at it; the other one is refused nothing: it takes what
 * is fresh still (0), or waits, at the bound (1) or where the source refuses (2). */
static uint32_t entered;

static void fill_slow(void *at, const void *pattern, size_t bytes, size_t stride, size_t n)
{
	if (__atomic_exchange_n(&entered, 1, __ATOMIC_ACQ_REL) == 0)
		usleep(100000); /* the other one calls meanwhile */
	for (char *to = at; n > 0; n--, to += stride)
		memcpy(to, pattern, bytes);
}

static void *prime_all(void *self)
{
	return (void *)pool_prime(self, 0, SIZE_MAX); /* NOLINT(performance-no-int-to-ptr) */
}

START_TEST(primed_meanwhile)
{
	static const char pattern[64] = "whole";
	static const uint32_t most[] = {1000, 50, 100};
	struct pool_config config = {
		.bytes = 64, .most = most[_i], .cpus = 2, .rounds = 8, .pattern = pattern, .fill = fill_slow};
	pthread_t thread;
	struct world w;
	void *primed;
	char *a;

	entered = 0;
	config.first = _i == 2 ? 50 : 0;
	world_init(&w, &config);
	if (_i == 2)
		w.supply.out_max = 50 * 64;
	pthread_create(&thread, NULL, prime_all, w.p);
	while (!__atomic_load_n(&entered, __ATOMIC_ACQUIRE))
		sched_yield();
	a = pool_alloc(w.p, 1);
	ck_assert_ptr_nonnull(a);
	ck_assert_mem_eq(a, pattern, 64);
	pthread_join(thread, &primed);
	ck_assert_uint_ge((size_t)primed, _i == 0 ? 996 : 50); /* but for half of the rounds */
	ck_assert_uint_eq(stats(&w).refused, 0);
	pool_free(w.p, 1, a);
	world_close(&w);
}
END_TEST

/* The same at any moment: who takes as many as there are gets all of them. */
START_TEST(primed_at_any_moment)
{
	static const char pattern[64] = "whole";
	struct pool_config config = {.bytes = 64, .most = 500, .cpus = 2, .pattern = pattern};

	for (unsigned turn = 0; turn < 300; turn++) {
		void *object[500];
		pthread_t thread;
		struct world w;

		config.first = turn % 2 ? 20 : 0;
		world_init(&w, &config);
		pthread_create(&thread, NULL, prime_all, w.p);
		while (turn % 4 < 2 && stats(&w).chunks == 0) /* else it comes late as a rule */
			sched_yield();
		for (unsigned i = 0; i < 500; i++) {
			object[i] = get(w.p, 1);
			EXPECT(memcmp(object[i], pattern, 64) == 0);
		}
		EXPECT(!pool_alloc(w.p, 1));
		pthread_join(thread, NULL);
		pool_free_many(w.p, 1, object, 500);
		world_close(&w);
	}
}
END_TEST

Suite *pool_suite(void);

Suite *pool_suite(void)
{
	Suite *suite = suite_create("pool");
	TCase *tcase = tcase_create("all"), *panics = tcase_create("panics");

	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, arguments);
	tcase_add_test(tcase, layout);
	tcase_add_test(tcase, every_size);
	tcase_add_test(tcase, chunks_double);
	tcase_add_test(tcase, source_refuses);
	tcase_add_test(tcase, patterns);
	tcase_add_test(tcase, prime_grows);
	tcase_add_test(tcase, random_operations);
	tcase_add_test(tcase, worst_of_a_million);
	tcase_add_test(tcase, fallback);
	tcase_add_test(tcase, fallback_is_full);
	tcase_add_test(tcase, refusals_change_nothing);
	tcase_add_test(tcase, checker_objects);
	tcase_add_test(tcase, threads);
	tcase_add_test(tcase, waits_for_what_comes);
	tcase_add_loop_test(tcase, primed_meanwhile, 0, 3);
	tcase_add_test(tcase, primed_at_any_moment);
	tcase_add_loop_test_raise_signal(panics, wrong_calls, SIGABRT, 0, 9);
	tcase_add_test_raise_signal(panics, seen_when_it_leaves, SIGABRT);
	tcase_add_test_raise_signal(panics, source_misaligns, SIGABRT);
	suite_add_tcase(suite, tcase);
	suite_add_tcase(suite, panics);
	return suite;
}
