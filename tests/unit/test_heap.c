/* tests/unit/test_heap.c: what mm/heap.c does for all heaps; heap_alloc_zeroed(), which
 * needs one, is tried on each of them by mm/heap_conformance.c. */
#include <check.h>

#include "mm/heap.h"

#define FIGURES (sizeof(struct heap_stats) / sizeof(uint64_t))

union figures {
	struct heap_stats stats;
	uint64_t each[FIGURES];
};

/* Each figure is the sum of its own two, a new one too: no two sums are alike, and they carry beyond 32 bits. */
START_TEST(stats_add)
{
	union figures a, b, sum;

	for (unsigned i = 0; i < FIGURES; i++) {
		a.each[i] = UINT32_MAX - i;
		b.each[i] = UINT64_C(1) << (i + 8);
	}
	sum.stats = heap_stats_add(a.stats, b.stats);
	for (unsigned i = 0; i < FIGURES; i++)
		ck_assert_uint_eq(sum.each[i], a.each[i] + b.each[i]);
	sum.stats = heap_stats_add(a.stats, (struct heap_stats){0});
	for (unsigned i = 0; i < FIGURES; i++)
		ck_assert_uint_eq(sum.each[i], a.each[i]);
}
END_TEST

Suite *heap_suite(void);
Suite *heap_suite(void)
{
	Suite *s = suite_create("heap");
	TCase *c = tcase_create("heap");

	tcase_add_test(c, stats_add);
	suite_add_tcase(s, c);
	return s;
}
