/* tests/unit/test_pool_segregated.c: mm/pool_segregated: the conformance suite alone
 * and over a fallback, random operations against a model of who has which bytes and
 * of each class, the budget's way from class to class, wrong frees, the checker on
 * states broken on purpose, refusals, threads. What it does not see: time. */
#include <signal.h>
#include <stdio.h>

#include "mm/pool_segregated_impl.h"
#include "mm/pool_variable.h"
#include "tests/unit/expect.h"
#include "tests/unit/heap_trial.h"
#include "tests/unit/pool_supply.h"
#include "tests/unit/random.h"

#undef fail

#define KIB  1024u
#define PAGE POOL_SEGREGATED_PAGE

static const uint32_t sizes[] = {16, 32, 48, 96, 256, 1024, 1536, 4096, 16384};
#define CLASSES (sizeof(sizes) / sizeof(sizes[0]))

struct world {
	struct pool_segregated_config config;
	struct heap heap;
	struct pool_segregated *p;
	void *meta;
};

static void world_over(struct world *w, unsigned pages, unsigned cpus, const struct heap *fallback)
{
	size_t bytes = (size_t)pages * PAGE, meta_bytes = pool_segregated_meta_bytes(bytes);

	*w = (struct world){.config = {.cpus = cpus,
				       .arena = lines_take(bytes),
				       .arena_bytes = bytes,
				       .sizes = sizes,
				       .classes = CLASSES,
				       .fallback = fallback}};
	w->meta = lines_take(meta_bytes);
	memset(w->meta, 0x5a, meta_bytes);
	ck_assert_int_eq(pool_segregated_init(w->meta, meta_bytes, &w->config, &w->heap), MM_OK);
	w->p = w->heap.self;
	ck_assert(heap_check(&w->heap));
}

static void world_open(struct world *w, unsigned pages, unsigned cpus)
{
	world_over(w, pages, cpus, NULL);
}

static void world_close(struct world *w)
{
	ck_assert(heap_check(&w->heap));
	ck_assert_uint_eq(w->p->count, 0);
	free(w->config.arena);
	free(w->meta);
}

static struct pool_segregated_class class_of(const struct world *w, unsigned i)
{
	return pool_segregated_class_read(&w->heap, i);
}

START_TEST(init_refuses)
{
	static const uint32_t odd[] = {16, 40}, down[] = {32, 16}, twice[] = {16, 16}, none[] = {0, 16},
			      large[] = {16, POOL_SEGREGATED_BYTES_MAX + 16};
	char *arena = lines_take(4 * PAGE), *meta = lines_take(PAGE);
	struct pool_segregated_config good = {.cpus = 1, .arena = arena, .arena_bytes = 4 * PAGE - 1, .sizes = sizes},
				      bad;
	size_t bytes = pool_segregated_meta_bytes(4 * PAGE - 1);
	struct heap out;

	good.classes = CLASSES;
	ck_assert_uint_eq(pool_segregated_meta_bytes(PAGE - 1), 0);
	ck_assert_uint_eq(pool_segregated_meta_bytes(SIZE_MAX), 0);
	ck_assert_uint_eq(bytes, pool_segregated_meta_bytes(3 * PAGE));
#define REFUSED(meta, bytes, config) ck_assert_int_eq(pool_segregated_init(meta, bytes, config, &out), MM_EINVAL)
#define BAD(field, value)                                                                                              \
	do {                                                                                                           \
		bad = good;                                                                                            \
		bad.field = (value);                                                                                   \
		REFUSED(meta, PAGE, &bad);                                                                             \
	} while (0)
	REFUSED(NULL, bytes, &good);
	REFUSED(meta + 16, bytes, &good);
	REFUSED(meta, bytes - 1, &good);
	BAD(cpus, 0);
	BAD(arena, NULL);
	BAD(arena, arena + 4096);
	BAD(arena_bytes, PAGE - 1);
	BAD(sizes, NULL);
	BAD(classes, 0);
	BAD(classes, POOL_SEGREGATED_CLASSES + 1);
	good.classes = 2;
	BAD(sizes, odd);
	BAD(sizes, down);
	BAD(sizes, twice);
	BAD(sizes, none);
	BAD(sizes, large);
	ck_assert_int_eq(pool_segregated_init(meta, bytes, &good, &out), MM_OK);
	free(arena);
	free(meta);
}
END_TEST

START_TEST(conforms_alone)
{
	struct world w;

	world_open(&w, 256, 2);
	trial_suite((struct heap_conformance){
		.heap = &w.heap, .seed = 3, .operations = 60000, .reuse = HEAP_REUSES_SOME, .largest = 16384});
	world_close(&w);
}
END_TEST

START_TEST(conforms_over_a_fallback)
{
	struct pool_variable_config config = {
		.cpus = 1, .region = lines_take(24 * KIB * KIB), .region_bytes = 24 * KIB * KIB};
	void *meta = lines_take(pool_variable_meta_bytes());
	struct heap below;
	struct world w;

	ck_assert_int_eq(pool_variable_init(meta, pool_variable_meta_bytes(), &config, &below), MM_OK);
	world_over(&w, 16, 1, &below);
	trial_suite((struct heap_conformance){.heap = &w.heap, .seed = 5, .operations = 60000});
	ck_assert_uint_eq(heap_stats_read(&below).allocations, 0);
	world_close(&w);
	free(config.region);
	free(meta);
}
END_TEST

/* ---- the model ---- */

#define SLOTS 1024u

struct slot {
	unsigned char *at;
	size_t bytes, given;
	unsigned char key;
};

struct model {
	struct world *w;
	struct slot slot[SLOTS];
	uint64_t asked, given, live[CLASSES];
};

static unsigned least_class(size_t bytes)
{
	unsigned i = 0;

	while (sizes[i] < bytes)
		i++;
	return i;
}

static void slot_count(struct model *m, const struct slot *s, uint64_t sign)
{
	m->asked += s->bytes * sign;
	m->given += s->given * sign;
	m->live[least_class(s->given)] += sign;
}

static void slot_compare(const struct slot *s, size_t bytes)
{
	for (size_t i = 0; i < bytes && i < 32; i++)
		EXPECT(s->at[i] == s->key);
	EXPECT(s->at[bytes - 1] == s->key);
}

static void slot_set(struct model *m, struct slot *s, void *at, size_t bytes)
{
	*s = (struct slot){at, bytes, heap_usable(&m->w->heap, at), (unsigned char)below(256)};
	memset(s->at, s->key, s->bytes < 32 ? s->bytes : 32);
	s->at[bytes - 1] = s->key;
	slot_count(m, s, 1);
}

static size_t random_bytes(void)
{
	return 1 + below(UINT64_C(1) << (1 + below(14)));
}

static void model_step(struct model *m)
{
	struct slot *s = &m->slot[below(SLOTS)];
	size_t bytes = random_bytes(), align = below(8) ? HEAP_ALIGN : (size_t)1 << below(11);
	void *at;

	if (!s->at) {
		at = heap_alloc_aligned(&m->w->heap, 0, bytes, align);
		if (!at)
			return;
		EXPECT((uintptr_t)at % align == 0);
		slot_set(m, s, at, bytes);
		EXPECT(align > HEAP_ALIGN || s->given == sizes[least_class(bytes)]);
		return;
	}
	slot_compare(s, s->bytes);
	if (below(3) > 0) {
		slot_count(m, s, UINT64_MAX);
		heap_free(&m->w->heap, 0, s->at, s->bytes);
		s->at = NULL;
		return;
	}
	at = heap_realloc(&m->w->heap, 0, s->at, s->bytes, bytes);
	EXPECT(at || bytes > s->given);
	if (!at)
		return;
	slot_count(m, s, UINT64_MAX);
	s->at = at;
	if (bytes >= s->bytes)
		slot_compare(s, s->bytes);
	slot_set(m, s, at, bytes);
}

static void model_books(const struct model *m)
{
	struct heap_stats s = heap_stats_read(&m->w->heap);

	EXPECT(s.bytes_asked == m->asked && s.bytes_given == m->given);
	for (unsigned i = 0; i < CLASSES; i++)
		EXPECT(class_of(m->w, i).live == m->live[i]);
	EXPECT(heap_check(&m->w->heap));
}

static void in_bounds(const struct world *w)
{
	struct pool_segregated_work work = pool_segregated_work_read(&w->heap);

	ck_assert_uint_le(work.alloc_max, POOL_SEGREGATED_ALLOC_WORK);
	ck_assert_uint_le(work.free_max, POOL_SEGREGATED_FREE_WORK);
}

/* The most work of a million calls beside the stated bound, too. */
START_TEST(random_operations)
{
	struct model *m = calloc(1, sizeof(*m));
	struct world w;

	seed(3);
	world_open(&w, 30, 1); /* now and then too little */
	m->w = &w;
	for (uint64_t i = 1; i <= 1000000; i++) {
		model_step(m);
		if (i % 2048 == 0)
			model_books(m);
	}
	ck_assert_uint_eq(w.p->fresh, 30);
	in_bounds(&w);
	ck_assert_uint_gt(pool_segregated_work_read(&w.heap).alloc_max, 64); /* pages were taken */
	ck_assert_uint_eq(pool_segregated_work_read(&w.heap).free_max, POOL_SEGREGATED_FREE_WORK);
	for (struct slot *s = m->slot; s < m->slot + SLOTS; s++)
		heap_free(&w.heap, 0, s->at, s->at ? s->bytes : 0);
	world_close(&w);
	free(m);
}
END_TEST

/* ---- cases ---- */

/* The worst that is stated is done: as many classes as there may be, the last has the only page that is left, as its
 * spare, and the first wants it; or who needs its alignment. */
START_TEST(worst_calls)
{
	uint32_t many[POOL_SEGREGATED_CLASSES];
	struct pool_segregated_config config = {.cpus = 1, .arena_bytes = POOL_SEGREGATED_PAGE, .sizes = many};
	size_t bytes = pool_segregated_meta_bytes(POOL_SEGREGATED_PAGE);
	void *meta = trial_lines(bytes);
	struct heap heap;

	config.classes = POOL_SEGREGATED_CLASSES;
	config.arena = aligned_alloc(POOL_SEGREGATED_PAGE, POOL_SEGREGATED_PAGE);
	for (unsigned i = 0; i < POOL_SEGREGATED_CLASSES; i++)
		many[i] = 16 + 32 * i;
	many[POOL_SEGREGATED_CLASSES - 1] = 2048;
	ck_assert_int_eq(pool_segregated_init(meta, bytes, &config, &heap), MM_OK);
	heap_free(&heap, 0, trial_take(&heap, 2048), 0);
	heap_free(&heap, 0, trial_take(&heap, 16), 0);
	ck_assert_uint_eq(pool_segregated_work_read(&heap).alloc_max, POOL_SEGREGATED_CLASSES + 65);
	ck_assert_uint_eq(pool_segregated_work_read(&heap).free_max, 1);
	heap_free(&heap, 0, heap_alloc_aligned(&heap, 0, 1, 2048), 0);
	ck_assert_uint_eq(pool_segregated_work_read(&heap).alloc_max, POOL_SEGREGATED_CLASSES + 66);
	heap_free(&heap, 0, trial_take(&heap, many[POOL_SEGREGATED_CLASSES - 2]), 0);
	heap_free(&heap, 0, heap_alloc_aligned(&heap, 0, 1, 2048), 0);
	ck_assert_uint_eq(pool_segregated_work_read(&heap).alloc_max, POOL_SEGREGATED_ALLOC_WORK - 1);
	ck_assert(heap_check(&heap));
	free(config.arena);
	free(meta);
}
END_TEST

START_TEST(budget_moves)
{
	struct world w;
	void *small[8193], *large[16];
	unsigned n = 0, l = 0;

	world_open(&w, 2, 1);
	while ((small[n] = heap_alloc(&w.heap, 0, 16)))
		n++;
	ck_assert_uint_eq(n, 8192);
	ck_assert_uint_eq(class_of(&w, 0).pages, 2);
	ck_assert_ptr_null(heap_alloc(&w.heap, 0, 4096));
	ck_assert_ptr_null(heap_alloc(&w.heap, 0, 17)); /* not by a larger class either */
	for (unsigned i = 0; i < 8192; i++)
		heap_free(&w.heap, 0, small[i], 16);
	ck_assert_uint_eq(class_of(&w, 0).pages, 1); /* its spare */
	ck_assert_uint_eq(class_of(&w, 0).pages_max, 2);
	ck_assert_uint_eq(class_of(&w, 0).live_max, 8192);
	ck_assert(heap_check(&w.heap));
	while ((large[l] = heap_alloc(&w.heap, 0, 16384)))
		l++;
	ck_assert_uint_eq(l, 8); /* nothing of a page is lost, and the spare moved, too */
	ck_assert_uint_eq(class_of(&w, 0).pages, 0);
	while (l > 0)
		heap_free(&w.heap, 0, large[--l], 16384);
	ck_assert_uint_eq(heap_stats_read(&w.heap).bytes_held, PAGE);
	for (unsigned i = 0; i < 100; i++) { /* its own spare again and again */
		void *a = heap_alloc(&w.heap, 0, 16384);

		ck_assert_ptr_nonnull(a);
		heap_free(&w.heap, 0, a, 16384);
	}
	ck_assert_uint_eq(w.p->fresh, 2);
	world_close(&w);
}
END_TEST

/* The mean of a class is taken where nothing is named; no sum leaves what is possible. */
START_TEST(asked_unnamed)
{
	struct world w;
	void *a, *b, *c;

	world_open(&w, 2, 1);
	a = heap_alloc(&w.heap, 0, 100);
	b = heap_alloc(&w.heap, 0, 200);
	c = heap_alloc(&w.heap, 0, 240);
	ck_assert_uint_eq(heap_stats_read(&w.heap).bytes_asked, 540);
	heap_free(&w.heap, 0, b, 0);
	ck_assert_uint_eq(heap_stats_read(&w.heap).bytes_asked, 360);
	heap_free(&w.heap, 0, c, 256); /* wrongly named, as it may be */
	ck_assert_uint_eq(heap_stats_read(&w.heap).bytes_asked, 104);
	ck_assert_ptr_eq(heap_realloc(&w.heap, 0, a, 250, 129), a);
	ck_assert_uint_eq(heap_stats_read(&w.heap).bytes_asked, 1);
	ck_assert_ptr_eq(heap_realloc(&w.heap, 0, a, 0, 256), a);
	ck_assert_uint_eq(heap_stats_read(&w.heap).bytes_asked, 256);
	ck_assert_ptr_eq(heap_realloc(&w.heap, 0, a, 100, 256), a);
	ck_assert_uint_eq(heap_stats_read(&w.heap).bytes_asked, 256); /* not 412 */
	ck_assert_uint_eq(heap_stats_read(&w.heap).bytes_asked_max, 540);
	heap_free(&w.heap, 0, a, 0);
	world_close(&w);
}
END_TEST

START_TEST(fallback)
{
	struct pool_variable_config config = {.cpus = 1, .region = lines_take(PAGE), .region_bytes = PAGE};
	void *meta = lines_take(pool_variable_meta_bytes()), *a, *b, *rest[64];
	unsigned n = 0;
	struct heap below;
	struct world w;

	ck_assert_int_eq(pool_variable_init(meta, pool_variable_meta_bytes(), &config, &below), MM_OK);
	world_over(&w, 1, 1, &below);
	a = heap_alloc(&w.heap, 0, 20000);
	b = heap_alloc_aligned(&w.heap, 0, 100, 32768);
	ck_assert_uint_eq((uintptr_t)b % 32768, 0);
	ck_assert_uint_eq(heap_stats_read(&below).allocations, 2);
	heap_free(&w.heap, 0, b, 100);
	a = heap_realloc(&w.heap, 0, a, 20000, 30000); /* there */
	memset(a, 9, 30000);
	a = heap_realloc(&w.heap, 0, a, 30000, 10000); /* there: its class is not much less */
	ck_assert_uint_eq(heap_stats_read(&below).allocations, 1);
	a = heap_realloc(&w.heap, 0, a, 10000, 300); /* here */
	ck_assert_uint_eq(heap_stats_read(&below).allocations, 0);
	ck_assert_int_eq(((char *)a)[299], 9);
	b = heap_alloc(&w.heap, 0, 10000); /* no page: there */
	ck_assert_uint_eq(heap_stats_read(&below).allocations, 1);
	b = heap_realloc(&w.heap, 0, b, 10000, 100); /* it would go here, but for the page */
	ck_assert_uint_eq(heap_usable(&below, b), 112);
	ck_assert_ptr_null(heap_realloc(&w.heap, 0, a, 300, 2 * PAGE));
	for (size_t bytes = PAGE / 2; bytes >= 16; bytes /= 2)
		while ((rest[n] = heap_alloc(&below, 0, bytes)))
			n++;
	b = heap_realloc(&w.heap, 0, b, 100, 40); /* nor there */
	ck_assert_uint_eq(heap_usable(&below, b), 48);
	while (n > 0)
		heap_free(&below, 0, rest[--n], 0);
	heap_free(&w.heap, 0, b, 0);
	heap_free(&w.heap, 0, a, 0);
	ck_assert_uint_eq(heap_stats_read(&w.heap).bytes_total, 2 * PAGE);
	world_close(&w);
	free(config.region);
	free(meta);
}
END_TEST

START_TEST(refusals_change_nothing)
{
	struct world w;
	size_t bytes = pool_segregated_meta_bytes(PAGE);
	void *before = malloc(bytes), *a;

	world_open(&w, 1, 1);
	a = heap_alloc(&w.heap, 0, 100);
	memcpy(before, w.p, bytes);
	for (unsigned i = 0; i < 2; i++) {
		heap_fail_after(&w.heap, 1);
		ck_assert_ptr_null(i ? heap_realloc(&w.heap, 0, a, 100, 1000) : heap_alloc(&w.heap, 0, 1));
		ck_assert_mem_eq(before, w.p, bytes);
	}
	ck_assert_ptr_null(heap_alloc(&w.heap, 0, 1000));  /* no page */
	ck_assert_ptr_null(heap_alloc(&w.heap, 0, 16385)); /* no class */
	ck_assert_ptr_null(heap_alloc_aligned(&w.heap, 0, 16, 32768));
	ck_assert_ptr_null(heap_alloc_aligned(&w.heap, 0, 16, 24));
	ck_assert_ptr_null(heap_realloc(&w.heap, 0, a, 100, 1000));
	ck_assert_mem_eq(before, w.p, bytes);
	ck_assert_ptr_eq(heap_realloc(&w.heap, 0, a, 100, 10), a); /* a shrink stays where it is */
	heap_free(&w.heap, 0, a, 10);
	free(before);
	world_close(&w);
}
END_TEST

/* ---- wrong calls ---- */

START_TEST(wrong_calls)
{
	static char elsewhere[64];
	struct world w;
	unsigned char *a, *b;

	freopen("/dev/null", "w", stderr);
	world_open(&w, 4, 1);
	a = heap_alloc(&w.heap, 0, 96);
	b = heap_alloc(&w.heap, 0, 96);
	switch (_i) {
	case TRIAL_WRONGS:
		heap_free(&w.heap, 0, elsewhere, 0);
		break;
	case TRIAL_WRONGS + 1: /* fresh */
		heap_free(&w.heap, 0, (char *)w.config.arena + 2 * PAGE, 0);
		break;
	case TRIAL_WRONGS + 2: /* behind the last object */
		heap_free(&w.heap, 0, (char *)w.config.arena + 65472, 0);
		break;
	case TRIAL_WRONGS + 3:
		heap_free(&w.heap, 1, a, 0);
		break;
	case TRIAL_WRONGS + 4:
		heap_alloc(&w.heap, 1, 1);
		break;
	case TRIAL_WRONGS + 5:
		heap_realloc(&w.heap, 1, a, 96, 1);
		break;
	case TRIAL_WRONGS + 6:
		heap_usable(&w.heap, elsewhere);
		break;
	case TRIAL_WRONGS + 7: /* a page that went back */
		w.p->class[3].spare = 3;
		heap_free(&w.heap, 0, a, 96);
		heap_free(&w.heap, 0, b, 96);
		heap_free(&w.heap, 0, a, 96);
		break;
	case TRIAL_WRONGS + 8:
		pool_segregated_class_read(&w.heap, CLASSES);
		break;
	default:
		trial_wrong(&w.heap, _i, a, b, 96);
	}
}
END_TEST

/* ---- the checker ---- */

START_TEST(checker_objects)
{
	struct world w;
	struct pool_segregated *p;
	struct segregated_page *page;
	void *a[3], *back[3];

	world_open(&w, 8, 1);
	p = w.p;
	for (unsigned i = 0; i < 3; i++) { /* page 0: two of 4 live; 1: a spare; 2: full; 3: one of 16 live */
		a[i] = heap_alloc(&w.heap, 0, 16384);
		back[i] = heap_alloc(&w.heap, 0, 1024);
	}
	for (unsigned i = 0; i < 17; i++)
		ck_assert_ptr_nonnull(heap_alloc(&w.heap, 0, 4096));
	for (unsigned i = 0; i < 3; i++)
		heap_free(&w.heap, 0, back[i], 1024);
	heap_free(&w.heap, 0, a[0], 16384);
	ck_assert(heap_check(&w.heap));
	page = &p->page[0];
#define BREAK(lvalue, value)                                                                                           \
	do {                                                                                                           \
		__typeof__(lvalue) was = (lvalue);                                                                     \
		(lvalue) = (value);                                                                                    \
		if (heap_check(&w.heap))                                                                               \
			ck_abort_msg("the checker misses: " #lvalue " = " #value);                                     \
		(lvalue) = was;                                                                                        \
		ck_assert(heap_check(&w.heap));                                                                        \
	} while (0)
	BREAK(page->summary, 0);
	BREAK(page->summary, 3);
	BREAK(page->map[0], page->map[0] | 16);
	BREAK(page->map[0], page->map[0] | 4);
	BREAK(page->free, 1);
	BREAK(page->class, SEGREGATED_NONE);
	BREAK(page->class, CLASSES);
	BREAK(page->class, 0);
	BREAK(page->next, 0);
	BREAK(page->next, 1);
	BREAK(page->next, 100);
	BREAK(page->prev, 1);
	BREAK(p->class[8].partial, SEGREGATED_NONE);
	BREAK(p->class[8].partial, 1);
	BREAK(p->class[8].partial, 7);
	BREAK(p->class[5].partial, p->class[5].spare);
	BREAK(p->class[7].partial, 2);
	BREAK(p->class[5].spare, SEGREGATED_NONE);
	BREAK(p->class[0].spare, 0);
	BREAK(p->class[8].spare, 0);
	BREAK(p->class[8].spare, 7);
	BREAK(p->class[8].pages, 2);
	BREAK(p->class[8].pages_max, 0);
	BREAK(p->class[8].live, 1);
	BREAK(p->class[8].live_max, 1);
	BREAK(p->class[8].asked, 1);
	BREAK(p->class[8].asked, 32769);
	BREAK(p->class[8].asked, 20000);
	BREAK(p->budget, 0);
	BREAK(p->budget, 6);
	BREAK(p->fresh, 8);
	BREAK(p->fresh, 9);
	BREAK(p->pages_taken, 1);
	BREAK(p->asked, 0);
	BREAK(p->asked_max, 0);
	BREAK(p->given, 0);
	BREAK(p->count, 0);
	BREAK(p->lookup[3], 3);
	BREAK(p->lookup[4], 2);
	BREAK(p->lookup[4], CLASSES);
	free(w.config.arena);
	free(w.meta);
}
END_TEST

/* ---- threads ---- */

START_TEST(threads)
{
	struct world w;

	world_open(&w, 6, 2);
	trial_threads(&w.heap, NULL);
	world_close(&w);
}
END_TEST

Suite *pool_segregated_suite(void);

Suite *pool_segregated_suite(void)
{
	Suite *suite = suite_create("pool_segregated");
	TCase *tcase = tcase_create("all"), *panics = tcase_create("panics");

	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, init_refuses);
	tcase_add_test(tcase, conforms_alone);
	tcase_add_test(tcase, conforms_over_a_fallback);
	tcase_add_test(tcase, random_operations);
	tcase_add_test(tcase, worst_calls);
	tcase_add_test(tcase, budget_moves);
	tcase_add_test(tcase, asked_unnamed);
	tcase_add_test(tcase, fallback);
	tcase_add_test(tcase, refusals_change_nothing);
	tcase_add_test(tcase, checker_objects);
	tcase_add_test(tcase, threads);
	tcase_add_loop_test_raise_signal(panics, wrong_calls, SIGABRT, 0, TRIAL_WRONGS + 9);
	suite_add_tcase(suite, tcase);
	suite_add_tcase(suite, panics);
	return suite;
}
