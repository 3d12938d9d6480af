/* tests/unit/test_arena.c: mm/arena: the pointer, its marks, and the heap that counts. */
#include "mm/arena_impl.h"
#include "mm/scoped.h"
#include "tests/unit/heap_trial.h"

/* ---- the pointer ---- */

START_TEST(bump)
{
	_Alignas(64) unsigned char memory[1024];
	struct arena a;
	struct arena_mark mark;
	unsigned char *first;

	arena_init(&a, memory, sizeof(memory));
	first = arena_alloc(&a, 10, 1);
	ck_assert_ptr_eq(first, memory);
	ck_assert_ptr_eq(arena_alloc(&a, 0, 1), memory + 10); /* as 1 */
	ck_assert_ptr_eq(arena_alloc(&a, 1, 64), memory + 64);
	mark = arena_mark(&a);
	ck_assert_ptr_eq(arena_alloc(&a, 1024 - 65, 1), memory + 65);
	ck_assert_ptr_null(arena_alloc(&a, 1, 1));
	ck_assert_ptr_null(arena_alloc(&a, 1, 16));
	ck_assert_uint_eq(arena_used_max(&a), 1024);
	arena_reset(&a, mark);
	ck_assert_uint_eq(a.used, 65);
	ck_assert_uint_eq(arena_used_max(&a), 1024);
	ck_assert_ptr_null(arena_alloc(&a, SIZE_MAX, 1));
	ck_assert_ptr_null(arena_alloc(&a, SIZE_MAX - 8, 16));
	ck_assert_ptr_null(arena_alloc(&a, 1, (size_t)1 << 63));
	ck_assert_ptr_null(arena_alloc(&a, 1024 - 64, 1));
	ck_assert_uint_eq(a.used, 65);
	ck_assert(arena_check(&a));
	a.used = 1025;
	ck_assert(!arena_check(&a));
	arena_init(&a, NULL, 0);
	ck_assert_ptr_null(arena_alloc(&a, 0, 1));
}
END_TEST

/* Marks upon marks, against what each took. */
START_TEST(marks)
{
	static _Alignas(128) unsigned char memory[1 << 16];
	struct arena_mark mark[32];
	struct arena a;
	unsigned depth = 0;
	size_t end[33] = {0}, most = 0;

	arena_init(&a, memory, sizeof(memory));
	for (unsigned i = 0; i < 1000000; i++) {
		size_t bytes = below(200), align = (size_t)1 << below(8);
		uint64_t what = below(16);
		unsigned char *at;

		if (what == 0 && depth < 32) {
			mark[depth++] = arena_mark(&a);
			end[depth] = end[depth - 1];
			continue;
		}
		if (what == 1 && depth > 0) {
			depth -= 1 + (unsigned)below(depth);
			arena_reset(&a, mark[depth]);
			end[depth] = mark[depth].used;
			continue;
		}
		at = arena_alloc(&a, bytes, align);
		if (!at) {
			ck_assert_uint_gt(((end[depth] + align - 1) & ~(align - 1)) + bytes + !bytes, sizeof(memory));
			arena_reset(&a, (struct arena_mark){0});
			depth = 0;
			end[0] = 0;
			continue;
		}
		if ((uintptr_t)at % align || (size_t)(at - memory) != ((end[depth] + align - 1) & ~(align - 1)))
			ck_abort_msg("%p is not the next", (void *)at);
		end[depth] = (size_t)(at - memory) + bytes + !bytes;
		most = end[depth] > most ? end[depth] : most;
		if (a.used != end[depth] || arena_used_max(&a) != most || !arena_check(&a))
			ck_abort_msg("used %lu, at most %lu", a.used, arena_used_max(&a));
	}
}
END_TEST

START_TEST(mark_that_is_not_there)
{
	unsigned char memory[64];
	struct arena a;

	arena_init(&a, memory, sizeof(memory));
	(void)arena_alloc(&a, 8, 1);
	arena_reset(&a, (struct arena_mark){9});
}
END_TEST

START_TEST(scopes)
{
	unsigned char memory[256];
	struct arena a;

	arena_init(&a, memory, sizeof(memory));
	(void)arena_alloc(&a, 8, 1);
	for (unsigned i = 0; i < 3; i++) {
		SCOPED_ARENA(outer) = scoped_arena_open(&a);

		(void)arena_alloc(&a, 100, 1);
		{
			SCOPED_ARENA(inner) = scoped_arena_open(&a);

			ck_assert_ptr_nonnull(arena_alloc(&a, 100, 1));
			ck_assert_uint_eq(a.used, 208);
			ck_assert_uint_eq(inner.mark.used, 108);
		}
		ck_assert_uint_eq(a.used, 108);
		ck_assert_uint_eq(outer.mark.used, 8);
	}
	ck_assert_uint_eq(a.used, 8);
}
END_TEST

/* ---- the heap ---- */

struct world {
	unsigned char *memory;
	size_t bytes;
	struct heap heap;
	struct arena_heap *h;
};

static void world_open(struct world *w, size_t bytes)
{
	*w = (struct world){.memory = trial_lines(bytes), .bytes = bytes};
	ck_assert_int_eq(arena_heap_init(w->memory, bytes, &w->heap), MM_OK);
	w->h = w->heap.self;
}

static void world_close(struct world *w)
{
	ck_assert(heap_check(&w->heap));
	free(w->memory);
}

START_TEST(init_refuses)
{
	trial_init_refuses(arena_heap_init, ARENA_HEAP_BYTES_MAX);
}
END_TEST

START_TEST(conformance)
{
	struct world w;

	world_open(&w, 8 * TRIAL_MIB);
	trial_conforms(&w.heap, HEAP_REUSES_WHEN_EMPTY, 200000);
	world_close(&w);
	world_open(&w, 300 * TRIAL_KIB + 24);
	trial_conforms(&w.heap, HEAP_REUSES_WHEN_EMPTY, 100000);
	world_close(&w);
}
END_TEST

START_TEST(record)
{
	struct world w;

	world_open(&w, 4 * TRIAL_MIB);
	ck_assert_uint_gt(trial_random(&w.heap, 700000, 3000), 0);
	world_close(&w);
}
END_TEST

/* The flaw: nothing comes back while one stays; then all does. */
START_TEST(reuse_when_empty)
{
	struct world w;
	void *stays, *memory;
	uint64_t taken = 0;

	world_open(&w, 64 * TRIAL_KIB);
	stays = trial_take(&w.heap, 136);
	while ((memory = heap_alloc(&w.heap, 0, 136))) {
		heap_free(&w.heap, 0, memory, 136);
		taken++;
	}
	ck_assert_uint_eq(taken, (64 * TRIAL_KIB - sizeof(struct arena_heap)) / 160 - 1);
	ck_assert_uint_eq(heap_stats_read(&w.heap).allocations, 1);
	ck_assert_uint_gt(heap_stats_read(&w.heap).bytes_held, 64 * TRIAL_KIB - 160);
	heap_free(&w.heap, 0, stays, 136);
	ck_assert_uint_eq(heap_stats_read(&w.heap).bytes_held, sizeof(struct arena_heap));
	ck_assert_uint_gt(arena_heap_held_max(&w.heap), 64 * TRIAL_KIB - 160);
	ck_assert_ptr_eq(trial_take(&w.heap, 1), stays);
	world_close(&w);
}
END_TEST

START_TEST(given_136_and_4097)
{
	struct world w;

	world_open(&w, 64 * TRIAL_KIB);
	ck_assert_uint_eq(heap_stats_read(&w.heap).bytes_held, sizeof(struct arena_heap));
	trial_given_beside_headers(&w.heap);
	world_close(&w);
}
END_TEST

START_TEST(newest_grows_in_place)
{
	struct world w;
	unsigned char *old, *newest;
	size_t left;

	world_open(&w, 64 * TRIAL_KIB);
	old = trial_take(&w.heap, 100);
	newest = trial_take(&w.heap, 100);
	ck_assert_ptr_eq(heap_realloc(&w.heap, 0, newest, 100, 10000), newest);
	ck_assert_uint_eq(heap_stats_read(&w.heap).bytes_asked, 10100);
	ck_assert(heap_check(&w.heap));
	ck_assert_ptr_eq(heap_realloc(&w.heap, 0, newest, 10000, 16), newest);
	ck_assert_ptr_eq((unsigned char *)trial_take(&w.heap, 1), newest + 32);
	ck_assert_ptr_eq(heap_realloc(&w.heap, 0, old, 100, 50), old);
	old[49] = 7;
	ck_assert_uint_eq(heap_usable(&w.heap, old), 64);
	newest = heap_realloc(&w.heap, 0, old, 0, 65);
	ck_assert(newest != old && newest[49] == 7);
	left = w.h->arena.bytes - w.h->arena.used;
	ck_assert_ptr_null(heap_realloc(&w.heap, 0, newest, 65, 80 + left + 1));
	ck_assert_ptr_null(heap_realloc(&w.heap, 0, newest, 65, TRIAL_MIB));
	ck_assert_ptr_null(heap_realloc(&w.heap, 0, newest, 65, SIZE_MAX));
	ck_assert_ptr_eq(heap_realloc(&w.heap, 0, newest, 65, 80 + left), newest);
	ck_assert_uint_eq(w.h->arena.used, w.h->arena.bytes);
	ck_assert_ptr_null(heap_alloc(&w.heap, 0, 1));
	ck_assert_ptr_null(heap_alloc_aligned(&w.heap, 0, 1, TRIAL_MIB));
	world_close(&w);
}
END_TEST

START_TEST(refusals)
{
	struct world w;
	void *old;

	world_open(&w, 64 * TRIAL_KIB);
	old = trial_take(&w.heap, 100);
	trial_refusals(&w.heap, &w.heap, old, 100, w.memory, w.bytes); /* in place */
	trial_take(&w.heap, 100);
	trial_refusals(&w.heap, &w.heap, old, 100, w.memory, w.bytes); /* elsewhere */
	world_close(&w);
}
END_TEST

enum wrong { BELOW = TRIAL_WRONGS, ABOVE, OVERRUN, WRONGS };

START_TEST(wrong)
{
	struct world w;
	unsigned char *memory, *other;

	world_open(&w, 64 * TRIAL_KIB);
	memory = trial_take(&w.heap, 100);
	other = trial_take(&w.heap, 100);
	memset(memory, 0, 100);
	switch (_i) {
	case BELOW:
		heap_free(&w.heap, 0, w.h->arena.start, 0);
		break;
	case ABOVE:
		heap_free(&w.heap, 0, other + 128, 0);
		break;
	case OVERRUN:
		memory[112] ^= 1;
		heap_free(&w.heap, 0, other, 0);
		break;
	default:
		trial_wrong(&w.heap, _i, memory, other, 100);
	}
}
END_TEST

/* Each is broken alone, and restored. */
START_TEST(check_objects)
{
	struct world w;
	struct arena_block *b, was_block;
	struct arena_heap was;
	void *freed;

	world_open(&w, 64 * TRIAL_KIB);
	trial_take(&w.heap, 100);
	freed = trial_take(&w.heap, 200);
	b = (struct arena_block *)trial_take(&w.heap, 300) - 1;
	heap_free(&w.heap, 0, freed, 200);
	was = *w.h;
	was_block = *b;
#define BROKEN(change)                                                                                                 \
	do {                                                                                                           \
		change;                                                                                                \
		ck_assert_msg(!heap_check(&w.heap), "%s", #change);                                                    \
		*w.h = was;                                                                                            \
		*b = was_block;                                                                                        \
		ck_assert(heap_check(&w.heap));                                                                        \
	} while (0)
	BROKEN(w.h->arena.bytes = 10);
	BROKEN(w.h->arena.used += 16);
	BROKEN(w.h->arena.used -= 16);
	BROKEN(w.h->newest = NULL);
	BROKEN(w.h->newest = (struct arena_block *)freed - 1);
	BROKEN(w.h->newest = (struct arena_block *)(void *)((char *)b + 8));
	BROKEN(w.h->newest = (struct arena_block *)(void *)(w.memory + w.bytes));
	BROKEN(w.h->count.live++);
	BROKEN(w.h->count.live = 0);
	BROKEN(w.h->count.asked--);
	BROKEN(w.h->count.given += 16);
	BROKEN(w.h->count.asked_max = 399);
	BROKEN(w.h->count.held_max--);
	BROKEN(b->tag ^= 1);
	BROKEN(b->asked = 299);
	BROKEN((b->asked = 290, b->tag = heap_tag(b, b->asked ^ (uint64_t)b->back << 32)));
	BROKEN((b->asked = 1000, b->tag = heap_tag(b, b->asked ^ (uint64_t)b->back << 32)));
	BROKEN((b->asked = SIZE_MAX, b->tag = heap_tag(b, b->asked ^ (uint64_t)b->back << 32)));
	BROKEN((b->back = 1, b->tag = heap_tag(b, b->asked ^ (uint64_t)b->back << 32)));
	BROKEN((b->back = 0, b->tag = heap_tag(b, b->asked ^ (uint64_t)b->back << 32)));
	BROKEN((b->back = 1u << 31, b->tag = heap_tag(b, b->asked ^ (uint64_t)b->back << 32)));
#undef BROKEN
	world_close(&w);
}
END_TEST

Suite *arena_suite(void);
Suite *arena_suite(void)
{
	Suite *s = suite_create("arena");
	TCase *c = tcase_create("arena");

	tcase_set_timeout(c, 60);
	tcase_add_test(c, bump);
	tcase_add_test(c, marks);
	tcase_add_test_raise_signal(c, mark_that_is_not_there, SIGABRT);
	tcase_add_test(c, scopes);
	tcase_add_test(c, init_refuses);
	tcase_add_test(c, conformance);
	tcase_add_test(c, record);
	tcase_add_test(c, reuse_when_empty);
	tcase_add_test(c, given_136_and_4097);
	tcase_add_test(c, newest_grows_in_place);
	tcase_add_test(c, refusals);
	tcase_add_loop_test_raise_signal(c, wrong, SIGABRT, 0, WRONGS);
	tcase_add_test(c, check_objects);
	suite_add_tcase(s, c);
	return s;
}
