/* tests/unit/test_buddy_heap.c: mm/buddy_heap: the conformance suite over regions of all kinds; a record of what is
 * live; growth in place; what is wrong. */
#include "mm/buddy_heap_impl.h"
#include "tests/unit/heap_trial.h"

struct world {
	unsigned char *region, *all;
	void *meta;
	struct heap heap;
	struct buddy_heap *h;
};

/* Aligned to `align` and to no more. */
static void world_open(struct world *w, size_t bytes, size_t align)
{
	size_t meta_bytes = buddy_heap_meta_bytes(bytes);

	*w = (struct world){.all = aligned_alloc(2 * align, (bytes / (2 * align) + 2) * 2 * align),
			    .meta = trial_lines(meta_bytes)};
	ck_assert_ptr_nonnull(w->all);
	w->region = w->all + align;
	memset(w->region, 0xa5, bytes);
	ck_assert_int_eq(buddy_heap_init(w->meta, meta_bytes, w->region, bytes, &w->heap), MM_OK);
	w->h = w->heap.self;
}

static void world_close(struct world *w)
{
	ck_assert(heap_check(&w->heap));
	ck_assert_uint_eq(heap_stats_read(&w->heap).allocations, 0);
	ck_assert_uint_eq(buddy_stats_read(w->h->buddy).frames_free, w->h->frames);
	free(w->all);
	free(w->meta);
}

START_TEST(init_refuses)
{
	size_t bytes = buddy_heap_meta_bytes(8192);
	unsigned char *meta = trial_lines(bytes + 64), *region = trial_lines(8192 + 16);
	struct heap heap;

	ck_assert_uint_eq(buddy_heap_meta_bytes(15), 0);
	ck_assert_uint_eq(buddy_heap_meta_bytes(BUDDY_HEAP_REGION_MAX + 1), 0);
	ck_assert_uint_gt(buddy_heap_meta_bytes(BUDDY_HEAP_REGION_MAX), BUDDY_HEAP_REGION_MAX / 64);
	ck_assert_int_eq(buddy_heap_init(NULL, bytes, region, 8192, &heap), MM_EINVAL);
	ck_assert_int_eq(buddy_heap_init(meta + 32, bytes, region, 8192, &heap), MM_EINVAL);
	ck_assert_int_eq(buddy_heap_init(meta, bytes - 1, region, 8192, &heap), MM_EINVAL);
	ck_assert_int_eq(buddy_heap_init(meta, bytes, NULL, 8192, &heap), MM_EINVAL);
	ck_assert_int_eq(buddy_heap_init(meta, bytes, region + 8, 8192, &heap), MM_EINVAL);
	ck_assert_int_eq(buddy_heap_init(meta, bytes, region, 15, &heap), MM_EINVAL);
	ck_assert_int_eq(buddy_heap_init(meta, bytes, region, UINT64_MAX, &heap), MM_EINVAL);
	ck_assert_int_eq(buddy_heap_init(meta, bytes, region + 16, 8191, &heap), MM_OK);
	ck_assert_uint_eq(heap_stats_read(&heap).bytes_total, 8176); /* what is less than 16 is left alone */
	ck_assert(heap_check(&heap));
	free(meta);
	free(region);
}
END_TEST

START_TEST(conformance)
{
	static const size_t bytes[] = {4 * TRIAL_MIB, 3 * TRIAL_MIB + 4096 + 48, 700 * TRIAL_KIB};
	static const size_t align[] = {4096, 4096, 64};

	for (unsigned i = 0; i < 3; i++) {
		struct world w;

		world_open(&w, bytes[i], align[i]);
		trial_suite((struct heap_conformance){.heap = &w.heap,
						      .cpu = 5,
						      .seed = i + 1,
						      .operations = 100000,
						      .reuse = HEAP_REUSES_AT_ONCE,
						      .largest = i == 2 ? 256 * TRIAL_KIB : 2 * TRIAL_MIB,
						      .align_largest = align[i]});
		world_close(&w);
	}
}
END_TEST

START_TEST(record)
{
	struct world w;

	world_open(&w, TRIAL_MIB, 4096);
	trial_random(&w.heap, 500000, 6000);
	world_close(&w);
	world_open(&w, 100000, 4096);
	ck_assert_uint_gt(trial_random(&w.heap, 500000, 3000), 0);
	world_close(&w);
}
END_TEST

/* Internal fragmentation is a figure: 136 B in 256 B, 4,097 B in 8 KiB; a power of two in itself. */
START_TEST(given_136_and_4097)
{
	struct world w;
	struct heap_stats s;
	void *a, *b, *c;

	world_open(&w, 64 * TRIAL_KIB, 4096);
	a = trial_take(&w.heap, 136);
	b = trial_take(&w.heap, 4097);
	c = trial_take(&w.heap, 1024);
	s = heap_stats_read(&w.heap);
	ck_assert(s.bytes_asked == 136 + 4097 + 1024 && s.bytes_given == 256 + 8192 + 1024);
	ck_assert(s.bytes_held == s.bytes_given && s.bytes_total == 64 * TRIAL_KIB);
	heap_free(&w.heap, 0, a, 136);
	heap_free(&w.heap, 0, c, 0); /* the mean of the two */
	ck_assert_uint_eq(heap_stats_read(&w.heap).bytes_asked, (4097 + 1024 + 1) / 2);
	heap_free(&w.heap, 0, b, 4097); /* more than is left: no sum leaves what is possible */
	world_close(&w);
}
END_TEST

/* Its length is what it is aligned to, where the region is so, too. */
START_TEST(aligned_to_their_length)
{
	struct world w;
	void *memory;

	world_open(&w, 64 * TRIAL_KIB, 4096);
	trial_take(&w.heap, 1);
	for (size_t bytes = 16; bytes <= 4096; bytes *= 2) {
		memory = trial_take(&w.heap, bytes);
		ck_assert_uint_eq((uintptr_t)memory % bytes, 0);
		memory = heap_alloc_aligned(&w.heap, 0, 1, bytes);
		ck_assert_uint_eq((uintptr_t)memory % bytes, 0);
		ck_assert_uint_eq(heap_usable(&w.heap, memory), bytes);
	}
	ck_assert_ptr_null(heap_alloc_aligned(&w.heap, 0, 1, 8192));
	free(w.all);
	free(w.meta);
}
END_TEST

START_TEST(largest)
{
	struct world w;
	void *memory;

	world_open(&w, BUDDY_HEAP_LARGEST + 4096, 4096);
	ck_assert_ptr_null(heap_alloc(&w.heap, 0, BUDDY_HEAP_LARGEST + 1));
	memory = trial_take(&w.heap, 5000);
	memory = heap_realloc(&w.heap, 0, memory, 5000, BUDDY_HEAP_LARGEST);
	ck_assert_ptr_eq(memory, w.region);
	ck_assert_ptr_null(heap_realloc(&w.heap, 0, memory, 0, BUDDY_HEAP_LARGEST + 1));
	ck_assert_ptr_null(heap_realloc(&w.heap, 0, memory, 0, SIZE_MAX));
	ck_assert_uint_eq(heap_usable(&w.heap, memory), BUDDY_HEAP_LARGEST);
	heap_free(&w.heap, 0, memory, 0);
	world_close(&w);
}
END_TEST

static void *state(const void *at, size_t bytes)
{
	return memcpy(trial_lines(bytes), at, bytes);
}

/* Whatever a realloc names, the mark stays within what was there. */
START_TEST(mark_of_asked)
{
	struct world w;
	void *a, *b;

	world_open(&w, 64 * TRIAL_KIB, 4096);
	a = trial_take(&w.heap, 1);
	a = heap_realloc(&w.heap, 0, a, 16, 1); /* less than nothing would be asked then */
	ck_assert_uint_eq(heap_stats_read(&w.heap).bytes_asked_max, 1);
	b = trial_take(&w.heap, 16);
	b = heap_realloc(&w.heap, 0, b, 1, 16); /* as much as both have */
	ck_assert_uint_eq(heap_stats_read(&w.heap).bytes_asked_max, 32);
	heap_free(&w.heap, 0, a, 1);
	heap_free(&w.heap, 0, b, 16);
	world_close(&w);
}
END_TEST

/* Where the buddies above are free it stays, over any number of them; else it moves, and its place serves again. */
START_TEST(grows_in_place)
{
	struct world w;
	struct heap_count count;
	unsigned char *a, *b, *c;
	void *buddy;

	world_open(&w, 64 * TRIAL_KIB, 4096);
	a = trial_take(&w.heap, 16);
	a[15] = 7;
	for (size_t bytes = 17; bytes <= 64 * TRIAL_KIB; bytes *= 3) {
		ck_assert_ptr_eq(heap_realloc(&w.heap, 0, a, 0, bytes), a);
		ck_assert_uint_ge(heap_usable(&w.heap, a), bytes);
		ck_assert_uint_lt(heap_usable(&w.heap, a), 2 * bytes);
	}
	ck_assert_ptr_eq(heap_realloc(&w.heap, 0, a, 0, 16), a); /* the rest serves others */
	b = trial_take(&w.heap, 16);
	ck_assert_ptr_eq(b, a + 16);
	c = heap_realloc(&w.heap, 0, a, 16, 17); /* its buddy is taken */
	ck_assert_ptr_eq(c, a + 32);
	ck_assert(c[15] == 7 && heap_usable(&w.heap, c) == 32);
	ck_assert_ptr_eq(trial_take(&w.heap, 16), a);
	buddy = state(w.h->buddy, buddy_meta_bytes(w.h->frames));
	count = w.h->count;
	ck_assert_ptr_null(heap_realloc(&w.heap, 0, b, 16, 64 * TRIAL_KIB)); /* no room, here or elsewhere */
	ck_assert_int_eq(memcmp(w.h->buddy, buddy, buddy_meta_bytes(w.h->frames)), 0);
	ck_assert_int_eq(memcmp(&w.h->count, &count, sizeof(count)), 0);
	free(buddy);
	heap_free(&w.heap, 0, a, 16);
	heap_free(&w.heap, 0, b, 16);
	b = trial_take(&w.heap, 32); /* c is at an odd place: upwards there is no buddy of its */
	ck_assert_ptr_eq(b, a);
	b = heap_realloc(&w.heap, 0, c, 17, 64);
	ck_assert_ptr_eq(b, a + 64);
	heap_free(&w.heap, 0, a, 32);
	heap_free(&w.heap, 0, b, 64);
	world_close(&w);
}
END_TEST

START_TEST(refusals)
{
	struct world w;
	void *old;

	world_open(&w, 64 * TRIAL_KIB, 4096);
	old = trial_take(&w.heap, 300);
	trial_refusals(&w.heap, &w.heap, old, 300, w.h->buddy, buddy_meta_bytes(w.h->frames));
	ck_assert_uint_eq(heap_stats_read(&w.heap).bytes_asked, 300);
	heap_free(&w.heap, 0, old, 300);
	world_close(&w);
}
END_TEST

START_TEST(wrong)
{
	struct world w;
	void *memory, *other;

	world_open(&w, 64 * TRIAL_KIB, 4096);
	memory = trial_take(&w.heap, 100);
	other = trial_take(&w.heap, 100);
	if (_i < TRIAL_WRONGS)
		trial_wrong(&w.heap, (enum trial_wrong)_i, memory, other, 100);
	else if (_i == TRIAL_WRONGS)
		heap_free(&w.heap, 0, w.region + 64 * TRIAL_KIB, 0); /* beyond it */
	else
		heap_free(&w.heap, 0, w.region - 16, 0);
}
END_TEST

START_TEST(check_objects)
{
	struct world w;
	void *memory;

	world_open(&w, 64 * TRIAL_KIB, 4096);
	memory = trial_take(&w.heap, 100);
	++*(uint64_t *)(void *)w.h->buddy; /* I1: what buddy begins with is its own affair */
	ck_assert(!heap_check(&w.heap));
	--*(uint64_t *)(void *)w.h->buddy;
	w.h->frames++;
	ck_assert(!heap_check(&w.heap));
	w.h->frames--;
	w.h->count.given += 128; /* I2 */
	ck_assert(!heap_check(&w.heap));
	w.h->count.given -= 128;
	w.h->count.asked = 0; /* I3, each part */
	ck_assert(!heap_check(&w.heap));
	w.h->count.asked = w.h->count.asked_max = 129;
	ck_assert(!heap_check(&w.heap));
	w.h->count.asked_max = 99;
	w.h->count.asked = 100;
	ck_assert(!heap_check(&w.heap));
	w.h->count.asked_max = 100;
	heap_free(&w.heap, 0, memory, 100);
	world_close(&w);
}
END_TEST

Suite *buddy_heap_suite(void);
Suite *buddy_heap_suite(void)
{
	Suite *s = suite_create("buddy_heap");
	TCase *c = tcase_create("all");

	tcase_set_timeout(c, 120);
	tcase_add_test(c, init_refuses);
	tcase_add_test(c, conformance);
	tcase_add_test(c, record);
	tcase_add_test(c, given_136_and_4097);
	tcase_add_test(c, aligned_to_their_length);
	tcase_add_test(c, largest);
	tcase_add_test(c, mark_of_asked);
	tcase_add_test(c, grows_in_place);
	tcase_add_test(c, refusals);
	tcase_add_loop_test_raise_signal(c, wrong, SIGABRT, 0, TRIAL_WRONGS + 2);
	tcase_add_test(c, check_objects);
	suite_add_tcase(s, c);
	return s;
}
