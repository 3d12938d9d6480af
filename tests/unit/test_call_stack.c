/* tests/unit/test_call_stack.c: mm/call_stack: the walker on real stacks and on stacks
 * made wrong on purpose, the table against a list, the checker on each broken state,
 * many threads at once. What it does not see: whether a source takes the right stack. */
#include <check.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "mm/call_stack_impl.h"
#include "tests/unit/random.h"

#define STACKS 5000u
#define PCS    20000u

static struct call_stacks *table_new(uint32_t stacks, uint64_t pcs)
{
	size_t bytes = call_stacks_meta_bytes(stacks, pcs);
	void *meta = aligned_alloc(64, bytes);
	struct call_stacks *t;

	ck_assert_uint_gt(bytes, 0);
	ck_assert_ptr_nonnull(meta);
	memset(meta, 0, bytes);
	ck_assert_int_eq(call_stacks_init(meta, bytes, stacks, pcs, &t), MM_OK);
	ck_assert(call_stacks_check(t));
	return t;
}

/* ---- the walker ---- */

/* Who asks for its frame has one. */
static __attribute__((noinline)) unsigned deep(unsigned depth, uintptr_t low, uintptr_t high, uint64_t *pc)
{
	unsigned n = depth ? deep(depth - 1, low, high, pc)
			   : call_stack_walk((uintptr_t)__builtin_frame_address(0), low, high, pc, CALL_STACK_MAX);

	__asm__ volatile("" ::: "memory"); /* so that no call is the last */
	return n;
}

START_TEST(walks_own_frames)
{
	uint64_t pc[CALL_STACK_MAX];
	uintptr_t here = (uintptr_t)__builtin_frame_address(0);
	unsigned n = deep(6, here - 65536, here + 256, pc);

	ck_assert_uint_ge(n, 7);
	for (unsigned i = 1; i < 6; i++)
		ck_assert_uint_eq(pc[i], pc[0]); /* deep() called itself from one place */
	ck_assert_uint_ne(pc[6], pc[0]);
	ck_assert_uint_eq(deep(2 * CALL_STACK_MAX, here - 65536, here + 256, pc), CALL_STACK_MAX);
}
END_TEST

START_TEST(walks_only_what_is_bounded)
{
	uint64_t stack[16] = {0}, pc[CALL_STACK_MAX];
	uintptr_t low = (uintptr_t)stack, high = (uintptr_t)(stack + 16);

	stack[0] = (uintptr_t)&stack[4];
	stack[1] = 11;
	stack[4] = (uintptr_t)&stack[14];
	stack[5] = 22;
	stack[14] = 0;
	stack[15] = 33;
	ck_assert_uint_eq(call_stack_walk(low, low, high, pc, 8), 3);
	ck_assert(pc[0] == 11 && pc[1] == 22 && pc[2] == 33);
	ck_assert_uint_eq(call_stack_walk(low, low, high, pc, 2), 2);
	ck_assert_uint_eq(call_stack_walk(low, low, high, pc, 0), 0);
	ck_assert_uint_eq(call_stack_walk(low, low, high - 8, pc, 8), 2); /* the last return address is outside */
	ck_assert_uint_eq(call_stack_walk(low, low + 8, high, pc, 8), 0);
	ck_assert_uint_eq(call_stack_walk(low + 4, low, high, pc, 8), 0);
	ck_assert_uint_eq(call_stack_walk(high, low, high, pc, 8), 0);
	stack[4] = (uintptr_t)&stack[4]; /* a frame that points to itself, and one that points back */
	ck_assert_uint_eq(call_stack_walk(low, low, high, pc, 8), 2);
	stack[4] = low;
	ck_assert_uint_eq(call_stack_walk(low, low, high, pc, 8), 2);
	stack[5] = 0;
	ck_assert_uint_eq(call_stack_walk(low, low, high, pc, 8), 1);
	ck_assert_uint_eq(call_stack_walk(0, 0, 0, pc, 8), 0);
}
END_TEST

/* ---- set up ---- */

START_TEST(ranges)
{
	struct call_stacks *t = NULL;
	size_t bytes = call_stacks_meta_bytes(10, 160);
	unsigned char *meta = aligned_alloc(64, bytes + 64);

	ck_assert_uint_eq(call_stacks_meta_bytes(0, 1), 0);
	ck_assert_uint_eq(call_stacks_meta_bytes(1, 0), 0);
	ck_assert_uint_eq(call_stacks_meta_bytes(10, 10 * CALL_STACK_MAX + 1), 0);
	ck_assert_uint_eq(call_stacks_meta_bytes(CALL_STACKS_MAX + 1, 1), 0);
	ck_assert_uint_gt(call_stacks_meta_bytes(CALL_STACKS_MAX, UINT64_C(16) * CALL_STACKS_MAX), 0);
	ck_assert_int_eq(call_stacks_init(meta, bytes, 0, 1, &t), MM_EINVAL);
	ck_assert_int_eq(call_stacks_init(NULL, bytes, 10, 160, &t), MM_EINVAL);
	ck_assert_int_eq(call_stacks_init(meta + 8, bytes, 10, 160, &t), MM_EINVAL);
	ck_assert_int_eq(call_stacks_init(meta, bytes - 1, 10, 160, &t), MM_EINVAL);
	ck_assert_ptr_null(t);
	free(meta);
}
END_TEST

static unsigned give_two(void *self, uint64_t *pc, unsigned max)
{
	ck_assert_uint_eq(max, CALL_STACK_MAX);
	pc[0] = 5;
	pc[1] = (uintptr_t)self;
	return 2;
}

START_TEST(takes_by_its_source)
{
	struct call_stacks *t = table_new(4, 8);
	struct call_stack_source source = {t, give_two}, none = {0};
	struct call_stack s;

	ck_assert_uint_eq(call_stacks_take(NULL, &source), 0);
	ck_assert_uint_eq(call_stacks_take(t, &none), 0);
	ck_assert_uint_eq(call_stacks_take(t, &source), 1);
	ck_assert_uint_eq(call_stacks_take(t, &source), 1);
	s = call_stacks_read(t, 1);
	ck_assert(s.count == 2 && s.pc[0] == 5 && s.pc[1] == (uintptr_t)t);
	ck_assert_uint_eq(call_stacks_read(t, 0).count, 0);
	ck_assert_uint_eq(call_stacks_read(t, 2).count, 0);
	ck_assert_uint_eq(call_stacks_read(NULL, 1).count, 0);
	ck_assert_uint_eq(call_stacks_number(t, s.pc, 0), 0);
	free(t);
}
END_TEST

/* ---- the table against a list ---- */

START_TEST(numbers_as_a_list)
{
	struct call_stacks *t = table_new(STACKS, PCS);
	struct call_stack *seen = calloc(STACKS, sizeof(*seen));
	struct call_stacks_stats stats;
	uint32_t count = 0, pcs = 0, refused = 0;

	seed(7);
	for (unsigned i = 0; i < 30000; i++) {
		struct call_stack s = {.count = 1 + (uint32_t)below(CALL_STACK_MAX)};
		uint32_t known = 0, got;

		if (count && below(2))
			s = seen[below(count)];
		else
			for (unsigned j = 0; j < s.count; j++)
				s.pc[j] = 1 + below(3);
		for (uint32_t n = 0; n < count && !known; n++)
			if (seen[n].count == s.count && memcmp(seen[n].pc, s.pc, s.count * 8) == 0)
				known = n + 1;
		got = call_stacks_number(t, s.pc, s.count);
		if (!known && count < STACKS && pcs + s.count <= PCS) {
			seen[count++] = s;
			pcs += s.count;
			known = count;
		}
		refused += !known;
		ck_assert_uint_eq(got, known);
		if (i % 4096 == 0)
			ck_assert(call_stacks_check(t));
	}
	for (uint32_t n = 0; n < count; n++) {
		struct call_stack s = call_stacks_read(t, n + 1);

		ck_assert(s.count == seen[n].count && memcmp(s.pc, seen[n].pc, s.count * 8) == 0);
	}
	stats = call_stacks_stats_read(t);
	ck_assert_uint_gt(refused, 0);
	ck_assert(stats.stacks == count && stats.pcs == pcs && stats.refused == refused);
	ck_assert(stats.stacks_max == STACKS && stats.pcs_max == PCS);
	ck_assert(call_stacks_check(t));
	free(seen);
	free(t);
}
END_TEST

START_TEST(full_by_stacks)
{
	struct call_stacks *t = table_new(3, 48);

	for (uint64_t pc = 1; pc <= 3; pc++)
		ck_assert_uint_eq(call_stacks_number(t, &pc, 1), pc);
	for (uint64_t pc = 1; pc <= 5; pc++)
		ck_assert_uint_eq(call_stacks_number(t, &pc, 1), pc <= 3 ? pc : 0);
	ck_assert_uint_eq(call_stacks_stats_read(t).refused, 2);
	ck_assert(call_stacks_check(t));
	free(t);
}
END_TEST

START_TEST(too_long)
{
	struct call_stacks *t = table_new(3, 48);
	uint64_t pc[CALL_STACK_MAX + 1] = {0};

	call_stacks_number(t, pc, CALL_STACK_MAX + 1);
}
END_TEST

/* ---- broken on purpose ---- */

START_TEST(checker_objects)
{
	struct call_stacks *t = table_new(8, 24);
	uint32_t slot = 0, other;

	for (uint64_t pc = 1; pc <= 4; pc++)
		call_stacks_number(t, (uint64_t[]){pc, pc, pc}, 3);
	ck_assert(call_stacks_check(t));
#define BROKEN(change, undo)                                                                                           \
	do {                                                                                                           \
		change;                                                                                                \
		ck_assert_msg(!call_stacks_check(t), "%s", #change);                                                   \
		undo;                                                                                                  \
		ck_assert(call_stacks_check(t));                                                                       \
	} while (0)
	BROKEN(t->pc[4]++, t->pc[4]--);
	BROKEN(t->entries[2].hash++, t->entries[2].hash--);
	BROKEN(t->entries[1].first = 1, t->entries[1].first = 0);
	BROKEN(t->entries[3].first = 3, t->entries[3].first = 6);
	BROKEN(t->entries[5].first = 30, t->entries[5].first = 12);
	BROKEN(t->pcs_max = 11, t->pcs_max = 24);
	BROKEN(t->stacks = 3, t->stacks = 4);
	BROKEN(t->stacks = 5, t->stacks = 4);
	BROKEN(t->stacks_max = 3, t->stacks_max = 8);
	while (!t->slots[slot])
		slot++;
	other = t->slots[slot];
	BROKEN(t->slots[slot] = 0, t->slots[slot] = other);
	BROKEN(t->slots[slot] = 9, t->slots[slot] = other);
	BROKEN(t->slots[slot] = other % 4 + 1, t->slots[slot] = other);
#undef BROKEN
	free(t);
}
END_TEST

/* ---- threads ---- */

struct racer {
	struct call_stacks *t;
	uint32_t number[1000];
};

static void *race(void *arg)
{
	struct racer *r = arg;

	for (unsigned round = 0; round < 20; round++)
		for (uint64_t i = 0; i < 1000; i++) {
			uint64_t pc[3] = {i, i * i, 7};
			uint32_t number = call_stacks_number(r->t, pc, 3);

			if (!number || (round > 0 && number != r->number[i]))
				return r; /* a number changed */
			if (call_stacks_read(r->t, number).pc[1] != i * i)
				return r; /* it is of another stack */
			r->number[i] = number;
		}
	return NULL;
}

START_TEST(threads_agree)
{
	static struct racer racers[4];
	pthread_t threads[4];
	struct call_stacks *t = table_new(1000, 3000);

	for (unsigned i = 0; i < 4; i++) {
		racers[i].t = t;
		ck_assert_int_eq(pthread_create(&threads[i], NULL, race, &racers[i]), 0);
	}
	for (unsigned i = 0; i < 4; i++) {
		void *wrong;

		pthread_join(threads[i], &wrong);
		ck_assert_ptr_null(wrong);
		ck_assert_int_eq(memcmp(racers[i].number, racers[0].number, sizeof(racers[0].number)), 0);
	}
	ck_assert_uint_eq(call_stacks_stats_read(t).stacks, 1000);
	ck_assert(call_stacks_check(t));
	free(t);
}
END_TEST

Suite *call_stack_suite(void);
Suite *call_stack_suite(void)
{
	Suite *s = suite_create("call_stack");
	TCase *c = tcase_create("call_stack");

	tcase_set_timeout(c, 60);
	tcase_add_test(c, walks_own_frames);
	tcase_add_test(c, walks_only_what_is_bounded);
	tcase_add_test(c, ranges);
	tcase_add_test(c, takes_by_its_source);
	tcase_add_test(c, numbers_as_a_list);
	tcase_add_test(c, full_by_stacks);
	tcase_add_test_raise_signal(c, too_long, SIGABRT);
	tcase_add_test(c, checker_objects);
	tcase_add_test(c, threads_agree);
	suite_add_tcase(s, c);
	return s;
}
