/* tests/unit/test_fail_nth.c: mm/fail_nth: the n-th call is the one, and no other; of calls by several threads at once
 * exactly one is. */
#include <check.h>
#include <pthread.h>

#include "mm/fail_nth.h"

#define THREADS 4u
#define CALLS	2000000u /* a thread's; so many that they count in each other's way */

START_TEST(nth)
{
	for (uint64_t n = 0; n <= 5; n++) {
		uint64_t left = n;

		for (uint64_t call = 1; call <= 8; call++)
			ck_assert_int_eq(fail_nth_now(&left), call == n);
		ck_assert_uint_eq(left, 0);
	}
}
END_TEST

START_TEST(never_in_a_lifetime)
{
	uint64_t left = UINT64_MAX;

	ck_assert(!fail_nth_now(&left));
	ck_assert_uint_eq(left, UINT64_MAX - 1);
}
END_TEST

struct caller {
	pthread_t thread;
	uint64_t *left;
	unsigned hits;
};

static void *call(void *self)
{
	struct caller *c = self;

	for (unsigned i = 0; i < CALLS; i++)
		c->hits += fail_nth_now(c->left);
	return NULL;
}

/* How many of all threads' calls were the one, where it is the n-th. */
static unsigned hits(uint64_t n)
{
	struct caller caller[THREADS];
	unsigned sum = 0;

	for (unsigned i = 0; i < THREADS; i++) {
		caller[i] = (struct caller){.left = &n};
		ck_assert_int_eq(pthread_create(&caller[i].thread, NULL, call, &caller[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++) {
		ck_assert_int_eq(pthread_join(caller[i].thread, NULL), 0);
		sum += caller[i].hits;
	}
	ck_assert_uint_eq(n, sum == 0); /* all that are left: the one that nobody reached */
	return sum;
}

START_TEST(threads)
{
	ck_assert_uint_eq(hits(1), 1);
	ck_assert_uint_eq(hits(THREADS * CALLS / 2), 1);
	ck_assert_uint_eq(hits(THREADS * CALLS), 1);
	ck_assert_uint_eq(hits(THREADS * CALLS + 1), 0);
}
END_TEST

Suite *fail_nth_suite(void);
Suite *fail_nth_suite(void)
{
	Suite *s = suite_create("fail_nth");
	TCase *c = tcase_create("all");

	tcase_set_timeout(c, 120);
	tcase_add_test(c, nth);
	tcase_add_test(c, never_in_a_lifetime);
	tcase_add_test(c, threads);
	suite_add_tcase(s, c);
	return s;
}
