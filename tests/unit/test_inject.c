/* tests/unit/test_inject.c: mm/inject: each rule against what it says, the conformance
 * suite, and a vec and a checked heap that survive a refusal at every point. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "mm/checked.h"
#include "mm/inject.h"
#include "mm/vec.h"
#include "tests/unit/heap_bed.h"
#include "tests/unit/heap_trial.h"

struct world {
	struct bed bed;
	struct inject inject;
	struct heap heap;
};

static void world_open(struct world *w, bool sites)
{
	struct call_stack_source source = {NULL, sites ? bed_take : NULL};

	bed_open(&w->bed, 32 * TRIAL_MIB, 8);
	inject_init(&w->inject, &w->bed.heap, &source, &w->heap);
	bed_at(1, 2);
}

static void world_close(struct world *w)
{
	ck_assert(heap_check(&w->heap));
	bed_close(&w->bed);
}

/* Whether one allocation is served. */
static bool served(struct world *w)
{
	void *memory = heap_alloc(&w->heap, 0, 10);

	heap_free(&w->heap, 0, memory, 10);
	return memory != NULL;
}

START_TEST(conforms)
{
	struct world w;

	world_open(&w, true);
	trial_conforms(&w.heap, HEAP_REUSES_AT_ONCE, 50000);
	world_close(&w);
}
END_TEST

START_TEST(nth)
{
	struct world w;
	void *p;

	world_open(&w, false);
	for (uint64_t n = 0; n < 5; n++) {
		inject_nth(&w.inject, n);
		for (uint64_t i = 1; i < 8; i++)
			ck_assert(served(&w) == (i != n));
	}
	p = heap_alloc(&w.heap, 0, 100);
	inject_nth(&w.inject, 1);
	ck_assert_ptr_eq(heap_realloc(&w.heap, 0, p, 100, 90), p); /* no growth */
	ck_assert_ptr_null(heap_realloc(&w.heap, 0, p, 90, 5000));
	inject_nth(&w.inject, 1);
	ck_assert_ptr_null(heap_realloc(&w.heap, 0, NULL, 0, 5));
	heap_free(&w.heap, 0, p, 90);
	ck_assert_uint_eq(inject_stats_read(&w.inject).refused, 6);
	ck_assert_uint_eq(inject_stats_read(&w.inject).asked, 5 * 7 + 1 + 2);
	world_close(&w);
}
END_TEST

START_TEST(chance)
{
	struct world w;
	bool first[1000];
	unsigned refused = 0;

	world_open(&w, false);
	inject_chance(&w.inject, 250000, 9);
	for (unsigned i = 0; i < 1000; i++)
		refused += !(first[i] = served(&w));
	ck_assert(refused > 200 && refused < 300);
	inject_chance(&w.inject, 250000, 9);
	for (unsigned i = 0; i < 1000; i++)
		ck_assert(first[i] == served(&w));
	inject_chance(&w.inject, 1000000, 9);
	ck_assert(!served(&w));
	inject_chance(&w.inject, 0, 9);
	for (unsigned i = 0; i < 1000; i++)
		ck_assert(served(&w));
	ck_assert_uint_eq(inject_stats_read(&w.inject).refused, 2 * refused + 1);
	world_close(&w);
}
END_TEST

START_TEST(site)
{
	struct world w;

	world_open(&w, true);
	inject_site(&w.inject, 0x50, 0x60, 0);
	bed_at(0x5, 0x4f);
	ck_assert(served(&w));
	bed_at(0x5, 0x50); /* anywhere in the stack */
	ck_assert(!served(&w));
	bed_at(0x5f, 0x5);
	ck_assert(!served(&w) && !served(&w));
	bed_at(0x60, 0x5);
	ck_assert(served(&w));
	inject_site(&w.inject, 0x50, 0x60, 2);
	ck_assert(served(&w));
	bed_at(0x51, 0x5);
	ck_assert(served(&w) && !served(&w) && served(&w));
	inject_site(&w.inject, 0x50, 0x50, 0);
	ck_assert(served(&w));
	world_close(&w);
	world_open(&w, false);
	inject_site(&w.inject, 0, UINT64_MAX, 0);
	ck_assert(served(&w)); /* nobody says where */
	world_close(&w);
}
END_TEST

static void note(void *told, const struct inject_refusal *refusal)
{
	struct inject_refusal **next = told;

	*(*next)++ = *refusal;
}

START_TEST(told)
{
	struct inject_refusal refusals[3] = {{0}}, *next = refusals;
	struct world w;
	void *p;

	world_open(&w, true);
	inject_tell(&w.inject, note, &next);
	ck_assert(served(&w));
	inject_nth(&w.inject, 1);
	inject_chance(&w.inject, 1000000, 0); /* two rules, one refusal */
	ck_assert_ptr_null(heap_alloc_aligned(&w.heap, 0, 77, 64));
	inject_chance(&w.inject, 0, 0);
	p = heap_alloc(&w.heap, 0, 100);
	inject_site(&w.inject, 0x50, 0x60, 0);
	bed_at(0x50, 0x1);
	ck_assert_ptr_null(heap_realloc(&w.heap, 0, p, 100, 5000));
	ck_assert_ptr_null(heap_realloc(&w.heap, 0, NULL, 0, 6));
	ck_assert_ptr_eq(next, refusals + 3);
	ck_assert(refusals[0].nth == 2 && refusals[0].bytes == 77 && refusals[0].align == 64);
	ck_assert(refusals[1].nth == 4 && refusals[1].bytes == 5000 && refusals[1].align == 0);
	ck_assert(refusals[2].nth == 5 && refusals[2].bytes == 6 && refusals[2].align == HEAP_ALIGN);
	inject_tell(&w.inject, NULL, NULL);
	ck_assert(!served(&w));
	ck_assert_ptr_eq(next, refusals + 3);
	heap_free(&w.heap, 0, p, 100);
	ck_assert_uint_eq(inject_stats_read(&w.inject).refused, 4);
	world_close(&w);
}
END_TEST

/* ---- who must survive it ---- */

static bool fill_vec(struct vec *v)
{
	for (uint32_t i = 0; i < 3000; i++) {
		uint32_t *at = vec_push(v);

		if (!at)
			return false;
		*at = i;
	}
	return true;
}

START_TEST(vec_at_every_point)
{
	struct world w;
	struct vec v;
	uint64_t n = 0;
	bool whole = false;

	world_open(&w, false);
	while (!whole) {
		vec_init(&v, &(struct vec_config){.heap = &w.heap, .element = sizeof(uint32_t)});
		inject_nth(&w.inject, ++n);
		whole = fill_vec(&v);
		for (uint32_t i = 0; i < v.count; i++)
			ck_assert_uint_eq(((uint32_t *)v.items)[i], i);
		ck_assert_uint_eq(v.count == 3000, whole);
		vec_fini(&v);
		ck_assert_uint_eq(heap_stats_read(&w.heap).allocations, 0);
	}
	ck_assert_uint_gt(n, 5);
	world_close(&w);
}
END_TEST

/* Each request of a checked heap to the one below is refused in turn, once. */
START_TEST(checked_at_every_point)
{
	struct world w;
	uint64_t n = 0, refused;
	bool whole = false;

	world_open(&w, false);
	do {
		struct checked_config config = {.below = w.heap,
						.low = (uintptr_t)w.bed.arena,
						.high = (uintptr_t)w.bed.arena + w.bed.bytes,
						.blocks_max = 5000,
						.quarantine_bytes = 4096};
		void *meta = bed_lines(checked_meta_bytes(5000)), *p[700];
		struct heap checked;

		ck_assert_int_eq(checked_init(meta, checked_meta_bytes(5000), &config, &checked), MM_OK);
		refused = inject_stats_read(&w.inject).refused;
		inject_nth(&w.inject, ++n);
		for (unsigned i = 0; i < 700; i++) {
			p[i] = heap_alloc(&checked, 0, 10 + i);
			ck_assert(p[i]); /* it asks again, without its quarantine */
		}
		whole = inject_stats_read(&w.inject).refused == refused;
		for (unsigned i = 0; i < 700; i++)
			heap_free(&checked, 0, p[i], 10 + i);
		ck_assert(n % 64 || heap_check(&checked));
		checked_drain(&checked, 0);
		ck_assert_uint_eq(heap_stats_read(&checked).allocations, 0);
		inject_nth(&w.inject, 0);
		free(meta);
	} while (!whole);
	ck_assert_uint_gt(n, 700);
	world_close(&w);
}
END_TEST

Suite *inject_suite(void);
Suite *inject_suite(void)
{
	Suite *s = suite_create("inject");
	TCase *c = tcase_create("inject");

	tcase_set_timeout(c, 60);
	tcase_add_test(c, conforms);
	tcase_add_test(c, nth);
	tcase_add_test(c, chance);
	tcase_add_test(c, site);
	tcase_add_test(c, told);
	tcase_add_test(c, vec_at_every_point);
	tcase_add_test(c, checked_at_every_point);
	suite_add_tcase(s, c);
	return s;
}
