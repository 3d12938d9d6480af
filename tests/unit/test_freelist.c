/* tests/unit/test_freelist.c: mm/freelist: with and without merging. */
#include "mm/freelist_impl.h"
#include "tests/unit/heap_trial.h"

struct world {
	unsigned char *memory;
	size_t bytes;
	struct heap heap;
	struct freelist *f;
};

static void world_open(struct world *w, size_t bytes, bool merging)
{
	*w = (struct world){.memory = trial_lines(bytes), .bytes = bytes};
	ck_assert_int_eq(freelist_init(w->memory, bytes, merging, &w->heap), MM_OK);
	w->f = w->heap.self;
}

static void world_close(struct world *w)
{
	ck_assert(heap_check(&w->heap));
	free(w->memory);
}

static struct freelist_stats stats(const struct world *w)
{
	return freelist_stats_read(&w->heap);
}

static enum mm_err init_merging(void *memory, size_t bytes, struct heap *out)
{
	return freelist_init(memory, bytes, true, out);
}

START_TEST(init_refuses)
{
	trial_init_refuses(init_merging, FREELIST_BYTES_MAX);
}
END_TEST

START_TEST(conformance)
{
	struct world w;

	world_open(&w, 8 * TRIAL_MIB, true);
	trial_conforms(&w.heap, HEAP_REUSES_AT_ONCE, 100000);
	ck_assert_uint_eq(stats(&w).holes, 1);
	world_close(&w);
	world_open(&w, 2 * TRIAL_MIB, false); /* slow: each of its allocations passes thousands of holes */
	trial_conforms(&w.heap, HEAP_REUSES_SOME, 30000);
	world_close(&w);
	world_open(&w, 500 * TRIAL_KIB + 24, true);
	trial_conforms(&w.heap, HEAP_REUSES_AT_ONCE, 50000);
	world_close(&w);
}
END_TEST

/* A million operations, and no allocation looked at more holes than there can be. */
static void runs_at_random(bool merging, size_t bytes, uint64_t operations)
{
	struct world w;

	world_open(&w, bytes, merging);
	trial_random(&w.heap, operations, 3000);
	ck_assert_uint_le(stats(&w).looked_max, stats(&w).holes_max);
	ck_assert_uint_le(stats(&w).holes_max, bytes / FREELIST_BLOCK_MIN);
	if (merging) /* no two holes touch: at most one more than there are live blocks */
		ck_assert_uint_le(stats(&w).holes_max, TRIAL_SLOTS + 1);
	if (merging)
		ck_assert_uint_eq(stats(&w).largest_hole, w.f->bytes - FREELIST_OVERHEAD);
	ck_assert_uint_eq(stats(&w).bytes_free, w.f->bytes);
	world_close(&w);
}

START_TEST(record)
{
	runs_at_random(true, TRIAL_MIB, 500000);
	runs_at_random(true, 64 * TRIAL_KIB, 300000);
	runs_at_random(false, TRIAL_MIB, 200000);
}
END_TEST

START_TEST(given_136_and_4097)
{
	struct world w;

	world_open(&w, 64 * TRIAL_KIB, true);
	trial_given_beside_headers(&w.heap);
	ck_assert_uint_eq(stats(&w).bytes_held_max, heap_stats_read(&w.heap).bytes_held);
	world_close(&w);
}
END_TEST

/* The flaw: after small ones no large one, though all is free. */
START_TEST(without_merging)
{
	for (unsigned merging = 0; merging < 2; merging++) {
		struct world w;
		uint64_t cut;

		world_open(&w, 64 * TRIAL_KIB, merging);
		cut = trial_flood(&w.heap, 100);
		ck_assert_uint_eq(stats(&w).bytes_free, w.f->bytes);
		if (merging) {
			ck_assert_uint_eq(stats(&w).holes, 1);
			ck_assert_uint_eq(stats(&w).largest_hole, w.f->bytes - FREELIST_OVERHEAD);
			trial_take(&w.heap, w.f->bytes - FREELIST_OVERHEAD);
			ck_assert_uint_eq(stats(&w).largest_hole, 0);
		} else {
			ck_assert_uint_ge(stats(&w).holes, cut);
			ck_assert_uint_le(stats(&w).largest_hole, 128);
			ck_assert_ptr_null(heap_alloc(&w.heap, 0, 129));
			ck_assert_uint_eq(stats(&w).looked_max, stats(&w).holes);
			trial_take(&w.heap, 100);
		}
		world_close(&w);
	}
}
END_TEST

START_TEST(merges_each_way)
{
	static const unsigned char orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
	struct world w;
	void *at[3], *end;

	world_open(&w, 64 * TRIAL_KIB, true);
	for (unsigned i = 0; i < 6; i++) {
		for (unsigned k = 0; k < 3; k++)
			at[k] = trial_take(&w.heap, 100 + 100 * k);
		end = trial_take(&w.heap, 100);
		for (unsigned k = 0; k < 3; k++) {
			heap_free(&w.heap, 0, at[orders[i][k]], 0);
			ck_assert(heap_check(&w.heap));
		}
		ck_assert_uint_eq(stats(&w).holes, 2);
		ck_assert_ptr_eq(trial_take(&w.heap, 624), at[0]);
		heap_free(&w.heap, 0, at[0], 624);
		heap_free(&w.heap, 0, end, 100);
		ck_assert_uint_eq(stats(&w).holes, 1);
	}
	world_close(&w);
}
END_TEST

START_TEST(realloc_in_place)
{
	struct world w;
	unsigned char *a, *b;
	size_t rest;

	world_open(&w, 64 * TRIAL_KIB, true);
	a = trial_take(&w.heap, 1000);
	b = trial_take(&w.heap, 1000);
	trial_take(&w.heap, 100);
	memset(a, 7, 1000);
	ck_assert_ptr_eq(heap_realloc(&w.heap, 0, a, 1000, 500), a); /* a hole behind it */
	ck_assert_uint_eq(stats(&w).holes, 2);
	ck_assert_ptr_eq(heap_realloc(&w.heap, 0, a, 500, 700), a);
	ck_assert_ptr_eq(heap_realloc(&w.heap, 0, a, 700, 1008), a);
	ck_assert_uint_eq(stats(&w).holes, 1);
	heap_free(&w.heap, 0, b, 1000);
	ck_assert_ptr_eq(heap_realloc(&w.heap, 0, a, 1008, 2008), a);
	ck_assert_uint_eq(heap_usable(&w.heap, a), 2032); /* 16 that are no block */
	ck_assert(a[499] == 7 && heap_check(&w.heap));
	b = heap_realloc(&w.heap, 0, a, 2008, 2033);
	ck_assert(b != a && b[499] == 7);
	rest = stats(&w).largest_hole;
	ck_assert_ptr_null(heap_realloc(&w.heap, 0, b, 2033, 2048 + rest + 17));
	ck_assert_ptr_null(heap_realloc(&w.heap, 0, b, 2033, SIZE_MAX));
	ck_assert_ptr_eq(heap_realloc(&w.heap, 0, b, 2033, 2048 + rest + 16), b);
	world_close(&w);
	world_open(&w, 64 * TRIAL_KIB, false); /* what is behind stays a hole of its own */
	a = trial_take(&w.heap, 1000);
	ck_assert_ptr_eq(heap_realloc(&w.heap, 0, a, 1000, 500), a);
	ck_assert_ptr_ne(heap_realloc(&w.heap, 0, a, 500, 1000), a);
	world_close(&w);
}
END_TEST

START_TEST(alignments)
{
	struct world w;

	world_open(&w, TRIAL_MIB, true);
	for (size_t align = 1; align <= 128 * TRIAL_KIB; align *= 2)
		for (size_t before = 16; before < 100; before += 16) {
			void *first = trial_take(&w.heap, before), *memory = heap_alloc_aligned(&w.heap, 0, 40, align);

			ck_assert(memory && (uintptr_t)memory % align == 0 && heap_check(&w.heap));
			heap_free(&w.heap, 0, first, before);
			ck_assert(heap_check(&w.heap));
			heap_free(&w.heap, 0, memory, 40);
			ck_assert_uint_eq(stats(&w).holes, 1);
		}
	ck_assert_ptr_null(heap_alloc_aligned(&w.heap, 0, 1, 2 * TRIAL_MIB));
	ck_assert_ptr_null(heap_alloc_aligned(&w.heap, 0, TRIAL_MIB - 2048, 4096));
	world_close(&w);
}
END_TEST

START_TEST(refusals)
{
	struct world w;
	void *old;

	world_open(&w, 64 * TRIAL_KIB, true);
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

	world_open(&w, 64 * TRIAL_KIB, true);
	memory = trial_take(&w.heap, 100);
	other = trial_take(&w.heap, 100);
	memset(memory, 0xff, 100);
	switch (_i) {
	case BELOW:
		heap_free(&w.heap, 0, w.f->start, 0);
		break;
	case ABOVE:
		heap_free(&w.heap, 0, w.f->start + w.f->bytes + 16, 0);
		break;
	case OVERRUN:
		memory[112 + 8] ^= 1;
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
	struct freelist_block *b, *end;
	struct freelist_hole *hole, *last, stray;
	unsigned char *was;
	void *first;

	world_open(&w, 64 * TRIAL_KIB, true);
	first = trial_take(&w.heap, 100);
	b = (struct freelist_block *)trial_take(&w.heap, 300) - 1;
	heap_free(&w.heap, 0, first, 100);
	hole = w.f->first;
	last = hole->next;
	end = (struct freelist_block *)(void *)(w.f->start + w.f->bytes);
	was = trial_lines(w.bytes);
	memcpy(was, w.memory, w.bytes);
#define BROKEN(change)                                                                                                 \
	do {                                                                                                           \
		change;                                                                                                \
		ck_assert_msg(!heap_check(&w.heap), "%s", #change);                                                    \
		memcpy(w.memory, was, w.bytes);                                                                        \
		ck_assert(heap_check(&w.heap));                                                                        \
	} while (0)
	BROKEN(b->length -= 32);
	BROKEN(b->length = 16 | FREELIST_TAKEN | FREELIST_BELOW_FREE);
	BROKEN(b->length = TRIAL_MIB | FREELIST_TAKEN | FREELIST_BELOW_FREE);
	BROKEN(b->length &= ~(uint64_t)FREELIST_BELOW_FREE);
	BROKEN(hole->length |= FREELIST_BELOW_FREE);
	BROKEN(((uint64_t *)(void *)b)[-1] += 16);
	BROKEN(b->tag ^= 1);
	BROKEN((b->slack = 40, b->tag = heap_tag(b, 320 ^ (uint64_t)b->slack << 48)));
	BROKEN((b->slack += 1, b->tag = heap_tag(b, 320 ^ (uint64_t)b->slack << 48)));
	BROKEN(b->length &= ~(uint64_t)FREELIST_TAKEN);
	BROKEN(end->length = 0);
	BROKEN(end->length |= 16);
	BROKEN(end->length &= ~(uint64_t)FREELIST_BELOW_FREE);
	BROKEN(w.f->first = NULL);
	BROKEN(w.f->first = last);
	BROKEN((w.f->first = &stray, stray = *hole, hole->from = &w.f->first));
	BROKEN(hole->from = (struct freelist_hole **)(void *)&stray);
	BROKEN(hole->from = &last->next);
	BROKEN(hole->next = NULL);
	BROKEN(hole->next = hole);
	BROKEN((stray = *last, last->from = &w.f->first, w.f->first = last));
	BROKEN((hole->next = (struct freelist_hole *)(void *)b, last->from = &w.f->first));
	BROKEN((last->next = hole));
	BROKEN(w.f->holes++);
	BROKEN((w.f->holes--, w.f->holes_max++));
	BROKEN(w.f->holes_max = 1);
	BROKEN(w.f->bytes_free += 32);
	BROKEN(w.f->count.asked--);
	BROKEN(w.f->count.given++);
	BROKEN(w.f->count.live++);
	BROKEN(w.f->count.asked_max = 299);
	BROKEN(w.f->count.held_max = 0);
#undef BROKEN
	free(was);
	world_close(&w);
	world_open(&w, 64 * TRIAL_KIB, false); /* holes side by side are right only without merging */
	first = trial_take(&w.heap, 100);
	heap_free(&w.heap, 0, first, 100);
	ck_assert(heap_check(&w.heap));
	w.f->merging = true;
	ck_assert(!heap_check(&w.heap));
	w.f->merging = false;
	world_close(&w);
}
END_TEST

Suite *freelist_suite(void);
Suite *freelist_suite(void)
{
	Suite *s = suite_create("freelist");
	TCase *c = tcase_create("freelist");

	tcase_set_timeout(c, 60);
	tcase_add_test(c, init_refuses);
	tcase_add_test(c, conformance);
	tcase_add_test(c, record);
	tcase_add_test(c, given_136_and_4097);
	tcase_add_test(c, without_merging);
	tcase_add_test(c, merges_each_way);
	tcase_add_test(c, realloc_in_place);
	tcase_add_test(c, alignments);
	tcase_add_test(c, refusals);
	tcase_add_loop_test_raise_signal(c, wrong, SIGABRT, 0, WRONGS);
	tcase_add_test(c, check_objects);
	suite_add_tcase(s, c);
	return s;
}
