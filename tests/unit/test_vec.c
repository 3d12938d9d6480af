/* tests/unit/test_vec.c: mm/vec over the heaps of mm/, beside a plain array. */
#include "mm/arena_impl.h"
#include "mm/freelist.h"
#include "mm/sizeclass_impl.h"
#include "mm/vec.h"
#include "tests/unit/heap_trial.h"

struct world {
	unsigned char *memory;
	size_t bytes;
	struct heap heap;
	struct vec v;
};

static void world_open(struct world *w, size_t bytes, size_t element)
{
	*w = (struct world){.memory = trial_lines(bytes), .bytes = bytes};
	ck_assert_int_eq(freelist_init(w->memory, bytes, true, &w->heap), MM_OK);
	vec_init(&w->v, &(struct vec_config){.heap = &w->heap, .element = element});
}

static void world_close(struct world *w)
{
	ck_assert(vec_check(&w->v));
	vec_fini(&w->v);
	ck_assert(vec_check(&w->v));
	ck_assert_uint_eq(heap_stats_read(&w->heap).allocations, 0);
	ck_assert_uint_eq(heap_stats_read(&w->heap).bytes_asked, 0);
	free(w->memory);
}

/* k = share * sqrt(n * (n + r)) by the formula, in floating point beside ours. */
START_TEST(formula)
{
	ck_assert_uint_eq(vec_next_room(0, 128, 0), 1);
	ck_assert_uint_eq(vec_next_room(0, 128, 64), 4); /* sqrt(1 * 64) / 2 */
	ck_assert_uint_eq(vec_next_room(1, 128, 0), 2);
	ck_assert_uint_eq(vec_next_room(2, 128, 0), 3);
	ck_assert_uint_eq(vec_next_room(100, 128, 300), 200); /* n = r/3: sqrt(100 * 400) / 2 */
	ck_assert_uint_eq(vec_next_room(100, 256, 300), 300);
	ck_assert_uint_eq(vec_next_room(1000, 128, 0), 1500);
	ck_assert_uint_eq(vec_next_room((size_t)1 << 40, 128, 1000), 3 * ((size_t)1 << 39));
	ck_assert_uint_eq(vec_next_room(SIZE_MAX, 128, 0), SIZE_MAX);
	for (size_t n = 1; n < (size_t)1 << 33; n += 1 + n / 3)
		for (uint32_t r = 0; r < 100000; r += 1 + r) {
			size_t by = vec_next_room(n, 256, r) - n;

			if (n < UINT32_MAX / 2) /* the largest whose square is no more */
				ck_assert(by <= n + r && by * by <= n * (n + r) && (by + 1) * (by + 1) > n * (n + r));
			else
				ck_assert_uint_eq(by, n);
		}
}
END_TEST

/* A long array has the factor, and each element is copied no more than 1 / (factor - 1) times. */
START_TEST(amortised)
{
	for (uint32_t share = 64; share <= 256; share *= 2) {
		uint64_t copied = 0, steps = 0, n = 0;

		for (size_t room = 0; room < 10000000; steps++) {
			copied += room;
			n = room;
			room = vec_next_room(room, share, 64);
		}
		ck_assert_uint_le(copied, (n + 1) * 256 / share + n + 1);
		ck_assert_uint_le(steps, 8 + 24 * 256 / share);
	}
}
END_TEST

START_TEST(costs)
{
	struct heap heap = {0};
	struct vec v;

	vec_init(&v, &(struct vec_config){.heap = &heap, .element = 16});
	ck_assert(v.share == VEC_SHARE && v.ratio == VEC_RATIO_BYTES / 16);
	vec_init(&v, &(struct vec_config){.heap = &heap, .element = 4096});
	ck_assert_uint_eq(v.ratio, 0);
	vec_init(&v, &(struct vec_config){.heap = &heap, .element = 1, .share = 77, .ratio = 5});
	ck_assert(v.share == 77 && v.ratio == 5);
	ck_assert(vec_check(&v));
	vec_shrink(&v);
	vec_fini(&v);
}
END_TEST

/* Beside a plain array: a million operations. */
START_TEST(record)
{
	static uint64_t model[5000];
	struct world w;
	size_t count = 0;

	world_open(&w, TRIAL_MIB, sizeof(uint64_t));
	for (unsigned i = 0; i < 1000000; i++) {
		uint64_t what = below(1000), *at;

		if (what == 0) {
			count = below(count + 1);
			vec_truncate(&w.v, count);
		} else if (what == 1) {
			vec_shrink(&w.v);
			ck_assert_uint_le(w.v.room, count + 3); /* what is no block is room */
		} else if (what == 2) {
			ck_assert(vec_reserve(&w.v, below(5000)));
		} else if (count < 5000) {
			at = vec_push(&w.v);
			*at = model[count++] = below(UINT64_MAX);
		}
		if (w.v.count != count || (count && *(uint64_t *)vec_at(&w.v, what % count) != model[what % count]))
			ck_abort_msg("operation %u", i);
		if (i % 64 == 0)
			ck_assert(vec_check(&w.v) && heap_check(&w.heap));
	}
	for (size_t i = 0; i < count; i++)
		ck_assert_uint_eq(*(uint64_t *)vec_at(&w.v, i), model[i]);
	world_close(&w);
}
END_TEST

/* What the heap gave beyond what was asked is room, and the heap knows. */
START_TEST(whole_block)
{
	struct sizeclass_config config;
	struct sizeclass s;
	struct world w;
	struct heap heap;
	struct vec v;

	world_open(&w, TRIAL_MIB, 24);
	config = (struct sizeclass_config){.below = &w.heap};
	ck_assert_int_eq(sizeclass_init(&s, sizeof(s), &config, &heap), MM_OK);
	vec_init(&v, &(struct vec_config){.heap = &heap, .element = 24});
	ck_assert(vec_reserve(&v, 11)); /* 264 bytes, of 512 */
	ck_assert_uint_eq(v.room, 512 / 24);
	ck_assert_uint_eq(heap_stats_read(&heap).bytes_asked, 504);
	ck_assert(vec_reserve(&v, 21) && v.grown == 1);
	for (unsigned i = 0; i < 21; i++)
		memset(vec_push(&v), (int)i, 24);
	ck_assert_uint_eq(v.grown, 1);
	memset(vec_push(&v), 21, 24);
	ck_assert_uint_eq(v.grown, 2);
	for (unsigned i = 0; i < 22; i++)
		ck_assert_uint_eq(*(unsigned char *)vec_at(&v, i), i);
	vec_fini(&v);
	ck_assert_uint_eq(heap_stats_read(&heap).bytes_asked, 0);
	sizeclass_reap(&heap, 0);
	world_close(&w);
}
END_TEST

/* Over an arena the newest block grows where it is: nothing is copied. */
START_TEST(in_place)
{
	unsigned char *memory = trial_lines(TRIAL_MIB);
	struct heap heap;
	struct vec v;
	void *first;

	ck_assert_int_eq(arena_heap_init(memory, TRIAL_MIB, &heap), MM_OK);
	vec_init(&v, &(struct vec_config){.heap = &heap, .element = 8});
	first = vec_push(&v);
	for (unsigned i = 1; i < 50000; i++)
		*(uint64_t *)vec_push(&v) = i;
	ck_assert_ptr_eq(vec_at(&v, 0), first);
	ck_assert_uint_eq(*(uint64_t *)vec_at(&v, 49999), 49999);
	vec_fini(&v);
	ck_assert_uint_eq(heap_stats_read(&heap).allocations, 0);
	free(memory);
}
END_TEST

/* No room: nothing has changed, at each allocation in turn. */
START_TEST(refusals)
{
	for (uint64_t n = 1; n < 12; n++) {
		struct world w;
		struct vec was;
		size_t pushed = 0;
		unsigned *at;

		world_open(&w, 64 * TRIAL_KIB, sizeof(unsigned));
		heap_fail_after(&w.heap, n);
		do {
			was = w.v;
			at = vec_push(&w.v);
			if (at)
				*at = (unsigned)pushed++;
		} while (at && pushed < 3000);
		ck_assert(n > 6 || !at);
		if (!at)
			ck_assert_int_eq(memcmp(&was, &w.v, sizeof(was)), 0);
		for (unsigned i = 0; i < pushed; i++)
			ck_assert_uint_eq(*(unsigned *)vec_at(&w.v, i), i);
		was = w.v;
		ck_assert(!vec_reserve(&w.v, SIZE_MAX / 4) && !vec_reserve(&w.v, SIZE_MAX));
		ck_assert(!vec_reserve(&w.v, 64 * TRIAL_KIB));
		ck_assert_int_eq(memcmp(&was, &w.v, sizeof(was)), 0);
		world_close(&w);
	}
}
END_TEST

START_TEST(wrong)
{
	struct world w;

	world_open(&w, 64 * TRIAL_KIB, 1);
	memset(vec_push(&w.v), 0, w.v.element);
	if (_i == 0)
		vec_at(&w.v, 1);
	else if (_i == 1)
		vec_truncate(&w.v, 2);
	else
		vec_init(&w.v, &(struct vec_config){.heap = &w.heap});
}
END_TEST

START_TEST(check_objects)
{
	struct world w;
	struct vec was;

	world_open(&w, 64 * TRIAL_KIB, 8);
	memset(vec_push(&w.v), 0, w.v.element);
	was = w.v;
#define BROKEN(change)                                                                                                 \
	do {                                                                                                           \
		change;                                                                                                \
		ck_assert_msg(!vec_check(&w.v), "%s", #change);                                                        \
		w.v = was;                                                                                             \
		ck_assert(vec_check(&w.v));                                                                            \
	} while (0)
	BROKEN(w.v.count = w.v.room + 1);
	BROKEN(w.v.items = NULL);
	BROKEN((w.v.room = 0, w.v.count = 0));
	BROKEN(w.v.room++);
	BROKEN(w.v.element++);
#undef BROKEN
	world_close(&w);
}
END_TEST

Suite *vec_suite(void);
Suite *vec_suite(void)
{
	Suite *s = suite_create("vec");
	TCase *c = tcase_create("vec");

	tcase_set_timeout(c, 60);
	tcase_add_test(c, formula);
	tcase_add_test(c, amortised);
	tcase_add_test(c, costs);
	tcase_add_test(c, record);
	tcase_add_test(c, whole_block);
	tcase_add_test(c, in_place);
	tcase_add_test(c, refusals);
	tcase_add_loop_test_raise_signal(c, wrong, SIGABRT, 0, 3);
	tcase_add_test(c, check_objects);
	suite_add_tcase(s, c);
	return s;
}
