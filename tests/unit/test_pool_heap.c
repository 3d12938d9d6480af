/* tests/unit/test_pool_heap.c: mm/pool_heap: the conformance suite over pools with and without rounds of their
 * CPUs' own; what is refused; figures with and without lengths; the checker; threads. */
#include "mm/pool_heap_impl.h"
#include "tests/unit/heap_trial.h"
#include "tests/unit/pool_supply.h"

#define BYTES 2048u
#define CPUS  6u

struct world {
	struct supply supply;
	struct pool_config config;
	struct pool *pool;
	struct heap heap;
	struct pool_heap *h;
	void *pool_meta, *meta;
};

static void world_open(struct world *w, uint32_t most, uint32_t rounds)
{
	*w = (struct world){
		.config = {.bytes = BYTES, .align = 64, .most = most, .first = 10, .cpus = CPUS, .rounds = rounds}};
	supply_open(&w->supply);
	w->config.source = supply_source(&w->supply);
	w->pool_meta = trial_lines(pool_meta_bytes(&w->config));
	w->meta = trial_lines(pool_heap_meta_bytes());
	ck_assert_int_eq(pool_init(w->pool_meta, pool_meta_bytes(&w->config), &w->config, &w->pool), MM_OK);
	ck_assert_int_eq(pool_heap_init(w->meta, pool_heap_meta_bytes(), w->pool, &w->config, &w->heap), MM_OK);
	w->h = w->heap.self;
}

static void world_close(struct world *w)
{
	ck_assert(heap_check(&w->heap));
	ck_assert_uint_eq(heap_stats_read(&w->heap).allocations, 0);
	ck_assert_uint_eq(heap_stats_read(&w->heap).bytes_asked, 0);
	ck_assert_int_eq(pool_destroy(w->pool, 0), MM_OK);
	ck_assert_uint_eq(w->supply.out, 0);
	free(w->pool_meta);
	free(w->meta);
}

START_TEST(init_refuses)
{
	struct pool_config config = {.bytes = 64, .align = 16};
	size_t bytes = pool_heap_meta_bytes();
	char *meta = trial_lines(2 * bytes);
	struct heap heap;

	ck_assert_int_eq(pool_heap_init(NULL, bytes, NULL, &config, &heap), MM_EINVAL);
	ck_assert_int_eq(pool_heap_init(meta + 16, bytes, NULL, &config, &heap), MM_EINVAL);
	ck_assert_int_eq(pool_heap_init(meta, bytes - 1, NULL, &config, &heap), MM_EINVAL);
	config.align = 8;
	ck_assert_int_eq(pool_heap_init(meta, bytes, NULL, &config, &heap), MM_EINVAL);
	config = (struct pool_config){.bytes = 24};
	ck_assert_int_eq(pool_heap_init(meta, bytes, NULL, &config, &heap), MM_EINVAL);
	config.bytes = 32; /* HEAP_ALIGN, where nothing else is asked for */
	ck_assert_int_eq(pool_heap_init(meta, bytes, NULL, &config, &heap), MM_OK);
	free(meta);
}
END_TEST

START_TEST(conformance)
{
	static const uint32_t rounds[] = {0, 1, 40};

	for (unsigned i = 0; i < 3; i++) {
		struct world w;

		world_open(&w, 3000, rounds[i]);
		trial_suite((struct heap_conformance){.heap = &w.heap,
						      .cpu = 5,
						      .seed = i + 1,
						      .operations = 100000,
						      .reuse = HEAP_REUSES_AT_ONCE,
						      .largest = BYTES,
						      .align_largest = 64});
		pool_drain(w.pool, 5);
		world_close(&w);
	}
}
END_TEST

/* Whatever is asked, an object is given. */
START_TEST(figures)
{
	struct world w;
	struct heap_stats s;
	void *a, *b;

	world_open(&w, 100, 0);
	ck_assert_ptr_null(heap_alloc(&w.heap, 0, BYTES + 1));
	ck_assert_ptr_null(heap_alloc_aligned(&w.heap, 0, 16, 128));
	a = trial_take(&w.heap, 136);
	b = trial_take(&w.heap, 0);
	s = heap_stats_read(&w.heap);
	ck_assert(s.bytes_asked == 137 && s.bytes_given == 2 * BYTES && s.allocations == 2);
	ck_assert(s.bytes_held == 10 * BYTES && s.bytes_total == 100 * BYTES);
	ck_assert_ptr_null(heap_realloc(&w.heap, 0, a, 136, BYTES + 1));
	ck_assert_ptr_eq(heap_realloc(&w.heap, 0, a, 136, BYTES), a);
	ck_assert_uint_eq(heap_stats_read(&w.heap).bytes_asked, BYTES + 1);
	heap_free(&w.heap, 0, a, 0); /* the mean */
	ck_assert_uint_eq(heap_stats_read(&w.heap).bytes_asked, BYTES + 1 - (BYTES + 1) / 2);
	ck_assert_uint_eq(heap_stats_read(&w.heap).bytes_asked_max, BYTES + 1);
	heap_free(&w.heap, 0, b, BYTES); /* more than was asked: no sum leaves what is possible */
	ck_assert_uint_eq(w.h->asked, 0);
	world_close(&w);
}
END_TEST

/* What a pool whose CPUs keep nothing sees at once. */
START_TEST(wrong_calls)
{
	struct world w;
	char *a;

	world_open(&w, 100, 0);
	a = trial_take(&w.heap, 100);
	switch (_i) {
	case 0:
		heap_free(&w.heap, 0, a, BYTES + 1);
		break;
	case 1:
		heap_free(&w.heap, 0, a + 16, 0);
		break;
	case 2:
		heap_free(&w.heap, 0, a, 0);
		heap_free(&w.heap, 0, a, 0);
		break;
	case 3:
		heap_realloc(&w.heap, 0, a, BYTES + 1, 1);
		break;
	default:
		break;
	}
}
END_TEST

START_TEST(check_objects)
{
	struct world w;

	world_open(&w, 100, 0);
	heap_free(&w.heap, 0, trial_take(&w.heap, 100), 100);
	w.h->live++;
	ck_assert(!heap_check(&w.heap));
	w.h->live--;
	w.h->asked = w.h->asked_max + 1;
	ck_assert(!heap_check(&w.heap));
	w.h->asked = 0;
	world_close(&w);
}
END_TEST

struct caller {
	pthread_t thread;
	const struct heap *heap;
	unsigned cpu;
};

static void *call(void *self)
{
	struct caller *c = self;
	unsigned char *object[20];

	for (unsigned round = 0; round < 3000; round++) {
		for (unsigned i = 0; i < 20; i++)
			if ((object[i] = heap_alloc(c->heap, c->cpu, 1 + round % BYTES)))
				*object[i] = (unsigned char)(c->cpu * 20 + i);
		for (unsigned i = 0; i < 20; i++) {
			if (object[i] && *object[i] != c->cpu * 20 + i)
				abort();
			heap_free(c->heap, c->cpu, object[i], i % 2 ? 1 + round % BYTES : 0);
		}
	}
	return NULL;
}

START_TEST(threads)
{
	struct world w;
	struct caller caller[4];

	world_open(&w, 70, 5); /* too few for all */
	for (unsigned i = 0; i < 4; i++) {
		caller[i] = (struct caller){.heap = &w.heap, .cpu = i};
		ck_assert_int_eq(pthread_create(&caller[i].thread, NULL, call, &caller[i]), 0);
	}
	for (unsigned i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_join(caller[i].thread, NULL), 0);
	for (unsigned i = 0; i < 4; i++)
		pool_drain(w.pool, i);
	world_close(&w);
}
END_TEST

Suite *pool_heap_suite(void);
Suite *pool_heap_suite(void)
{
	Suite *s = suite_create("pool_heap");
	TCase *c = tcase_create("all");

	tcase_set_timeout(c, 120);
	tcase_add_test(c, init_refuses);
	tcase_add_test(c, conformance);
	tcase_add_test(c, figures);
	tcase_add_loop_test_raise_signal(c, wrong_calls, SIGABRT, 0, 4);
	tcase_add_test(c, check_objects);
	tcase_add_test(c, threads);
	suite_add_tcase(s, c);
	return s;
}
