/* tests/unit/test_sizeclass.c: mm/sizeclass over a list of holes, over buddies and over the general heap. */
#include "mm/buddy_heap.h"
#include "mm/freelist_impl.h"
#include "mm/general_heap.h"
#include "mm/scoped.h"
#include "mm/sizeclass_impl.h"
#include "tests/unit/heap_trial.h"

struct world {
	_Alignas(16) unsigned char meta[sizeof(struct sizeclass)];
	unsigned char *memory;
	size_t bytes;
	struct heap below, heap;
	struct sizeclass *s;
	/* Over the general heap: */
	struct frames frames;
	void *frames_meta, *heap_meta;
};

static void world_settle(struct world *w, bool gives_back)
{
	struct sizeclass_config config = {.below = &w->below, .gives_back = gives_back};

	ck_assert_uint_eq(sizeclass_meta_bytes(), sizeof(w->meta));
	ck_assert_int_eq(sizeclass_init(w->meta, sizeof(w->meta), &config, &w->heap), MM_OK);
	w->s = w->heap.self;
}

static void world_open(struct world *w, size_t bytes, bool gives_back)
{
	*w = (struct world){.memory = trial_lines(bytes), .bytes = bytes};
	ck_assert_int_eq(freelist_init(w->memory, bytes, true, &w->below), MM_OK);
	world_settle(w, gives_back);
}

static void world_open_buddy(struct world *w, size_t bytes, bool gives_back)
{
	size_t meta_bytes = buddy_heap_meta_bytes(bytes);

	*w = (struct world){.memory = aligned_alloc(4096, bytes), .bytes = bytes, .heap_meta = trial_lines(meta_bytes)};
	ck_assert_int_eq(buddy_heap_init(w->heap_meta, meta_bytes, w->memory, bytes, &w->below), MM_OK);
	world_settle(w, gives_back);
}

static void world_open_general(struct world *w, size_t bytes)
{
	const uint64_t count = bytes / FRAME_BYTES;
	struct frames_config frames = {.frame_count = count, .cpus = 6};
	struct general_heap_config general = {.frames = &w->frames, .frame_count = count, .cpus = 6};

	*w = (struct world){.memory = aligned_alloc(GENERAL_HEAP_ARENA_ALIGN, bytes), .bytes = bytes};
	w->frames_meta = trial_lines(frames_meta_bytes(count, 6));
	w->heap_meta = trial_lines(general_heap_meta_bytes(count, 6));
	general.arena = w->memory;
	ck_assert_int_eq(frames_init(&w->frames, w->frames_meta, frames_meta_bytes(count, 6), &frames), MM_OK);
	ck_assert_int_eq(frames_donate(&w->frames, (struct pfn){0}, count), MM_OK);
	ck_assert_int_eq(general_heap_init(w->heap_meta, general_heap_meta_bytes(count, 6), &general, &w->below),
			 MM_OK);
	world_settle(w, true);
}

/* All that was taken from below goes back there. */
static void world_close(struct world *w)
{
	ck_assert(heap_check(&w->heap));
	if (w->s->count.live == 0) {
		sizeclass_reap(&w->heap, 0);
		ck_assert(heap_check(&w->heap));
		ck_assert_uint_eq(heap_stats_read(&w->heap).bytes_held, 0);
		ck_assert_uint_eq(heap_stats_read(&w->below).allocations, 0);
	}
	free(w->frames_meta);
	free(w->heap_meta);
	free(w->memory);
}

static struct sizeclass_stats stats(const struct world *w)
{
	return sizeclass_stats_read(&w->heap);
}

START_TEST(init_refuses)
{
	struct world w;
	struct sizeclass_config config;
	struct heap out;

	world_open(&w, 64 * TRIAL_KIB, true);
	config = (struct sizeclass_config){.below = &w.below};
	ck_assert_int_eq(sizeclass_init(NULL, sizeof(w.meta), &config, &out), MM_EINVAL);
	ck_assert_int_eq(sizeclass_init(w.meta + 8, sizeof(w.meta), &config, &out), MM_EINVAL);
	ck_assert_int_eq(sizeclass_init(w.meta, sizeof(w.meta) - 1, &config, &out), MM_EINVAL);
	config.below = NULL;
	ck_assert_int_eq(sizeclass_init(w.meta, sizeof(w.meta), &config, &out), MM_EINVAL);
	world_close(&w);
}
END_TEST

START_TEST(conformance)
{
	struct world w;

	world_open(&w, 64 * TRIAL_MIB, true); /* the same largest sizes in more room: the blocks lie scattered */
	trial_conforms(&w.heap, HEAP_REUSES_AT_ONCE, 50000);
	world_close(&w);
	world_open(&w, 4 * TRIAL_MIB, false);
	trial_conforms(&w.heap, HEAP_REUSES_SOME, 100000);
	world_close(&w);
	world_open_buddy(&w, 4 * TRIAL_MIB, true);
	trial_conforms(&w.heap, HEAP_REUSES_AT_ONCE, 100000);
	world_close(&w);
	world_open_buddy(&w, 4 * TRIAL_MIB, false);
	trial_conforms(&w.heap, HEAP_REUSES_SOME, 100000);
	world_close(&w);
	world_open_general(&w, 16 * TRIAL_MIB);
	trial_conforms(&w.heap, HEAP_REUSES_AT_ONCE, 100000);
	world_close(&w);
}
END_TEST

START_TEST(record)
{
	struct world w;

	world_open(&w, 2 * TRIAL_MIB, true);
	trial_random(&w.heap, 500000, 6000);
	world_close(&w);
	world_open(&w, 128 * TRIAL_KIB, true);
	ck_assert_uint_gt(trial_random(&w.heap, 300000, 3000), 0);
	ck_assert_uint_gt(stats(&w).given_back, 0);
	world_close(&w);
	world_open_buddy(&w, 128 * TRIAL_KIB, true);
	ck_assert_uint_gt(trial_random(&w.heap, 300000, 3000), 0);
	ck_assert_uint_gt(stats(&w).given_back, 0);
	world_close(&w);
	world_open(&w, 256 * TRIAL_KIB, false);
	trial_random(&w.heap, 200000, 3000);
	ck_assert_uint_eq(stats(&w).given_back, 0);
	world_close(&w);
}
END_TEST

/* Each size has the smallest class that holds it, and its block serves that class again. */
START_TEST(classes)
{
	struct world w;

	world_open(&w, 64 * TRIAL_KIB, true);
	for (size_t bytes = 0; bytes <= SIZECLASS_LARGEST; bytes++) {
		size_t class = SIZECLASS_SMALLEST;
		unsigned c = 0;
		void *memory = trial_take(&w.heap, bytes);

		while (class < bytes)
			class *= 2, c++;
		ck_assert_uint_eq(heap_usable(&w.heap, memory), class);
		heap_free(&w.heap, 0, memory, bytes);
		ck_assert_uint_eq(stats(&w).free[c], 1);
		ck_assert_ptr_eq(trial_take(&w.heap, class), memory);
		heap_free(&w.heap, 0, memory, 0);
	}
	ck_assert_uint_eq(stats(&w).from_below, SIZECLASS_COUNT);
	ck_assert_uint_eq(stats(&w).bytes_free, 2 * SIZECLASS_LARGEST - SIZECLASS_SMALLEST);
	heap_free(&w.heap, 0, trial_take(&w.heap, SIZECLASS_LARGEST + 1), 0); /* passes through, but for its length */
	ck_assert_uint_eq(stats(&w).free[SIZECLASS_COUNT - 1], 2);
	heap_free(&w.heap, 0, trial_take(&w.heap, 2 * SIZECLASS_LARGEST), 0);
	ck_assert_uint_eq(stats(&w).from_below, SIZECLASS_COUNT + 1);
	world_close(&w);
}
END_TEST

START_TEST(given_136_and_4097)
{
	struct world w;
	struct heap_stats s;

	world_open(&w, 64 * TRIAL_KIB, true);
	trial_take(&w.heap, 136);
	s = heap_stats_read(&w.heap);
	ck_assert(s.bytes_asked == 136 && s.bytes_given == 256 && s.bytes_held == 256);
	world_close(&w);
	world_open_general(&w, 4 * TRIAL_MIB);
	trial_take(&w.heap, 4097); /* passes through: of the general heap's classes, 4,608 */
	s = heap_stats_read(&w.heap);
	ck_assert(s.bytes_asked == 4097 && s.bytes_given == 4608);
	heap_alloc_aligned(&w.below, 0, 4097, FRAME_BYTES); /* with frames of its own, two pages */
	ck_assert_uint_eq(heap_stats_read(&w.below).bytes_given, 4608 + 2 * FRAME_BYTES);
	world_close(&w);
}
END_TEST

/* What changed lists or came from below since then. */
static uint64_t work_since(const struct world *w, const struct sizeclass_stats *before)
{
	struct sizeclass_stats now = stats(w);
	uint64_t work = now.from_below - before->from_below + now.given_back - before->given_back;

	for (unsigned i = 0; i < SIZECLASS_COUNT; i++)
		work += now.free[i] > before->free[i] ? now.free[i] - before->free[i] : before->free[i] - now.free[i];
	return work;
}

/* The most work of a million calls beside the stated bound: over the list, and over the buddy that the general heap's
 * frames are. */
START_TEST(worst_of_a_million)
{
	static void *slots[1000];
	struct world w;

	for (unsigned general = 0; general < 2; general++) {
		uint64_t most = 0;

		if (general)
			world_open_general(&w, 16 * TRIAL_MIB);
		else
			world_open(&w, 4 * TRIAL_MIB, false);
		seed(23);
		for (unsigned i = 0; i < 500000; i++) {
			struct sizeclass_stats before = stats(&w);
			void **at = &slots[below(1000)];
			uint64_t work;

			if (*at)
				heap_free(&w.heap, 0, *at, 0);
			*at = *at ? NULL : trial_take(&w.heap, 1 + below(SIZECLASS_LARGEST));
			work = work_since(&w, &before);
			most = work > most ? work : most;
		}
		ck_assert_uint_eq(most, SIZECLASS_WORK);
		for (unsigned i = 0; i < 1000; i++) {
			heap_free(&w.heap, 0, slots[i], 0);
			slots[i] = NULL;
		}
		world_close(&w);
	}
}
END_TEST

/* The flaw: small blocks that are free serve nothing else; and the rule against it. */
START_TEST(gives_back)
{
	for (unsigned back = 0; back < 2; back++) {
		struct world w;
		uint64_t free_blocks;
		void *memory;

		world_open(&w, 64 * TRIAL_KIB, back);
		free_blocks = trial_flood(&w.heap, 100);
		ck_assert_uint_eq(stats(&w).free[3], free_blocks);
		memory = heap_alloc(&w.heap, 0, 1000);
		ck_assert_int_eq(memory != NULL, back);
		ck_assert_uint_eq(stats(&w).given_back, back ? free_blocks : 0);
		heap_free(&w.heap, 0, memory, 1000);
		world_close(&w);
	}
}
END_TEST

START_TEST(asked_without_sizes)
{
	struct world w;
	void *at[40];

	world_open(&w, 64 * TRIAL_KIB, true);
	for (unsigned i = 0; i < 40; i++)
		at[i] = trial_take(&w.heap, i % 2 ? 102 : 106);
	ck_assert_uint_eq(heap_stats_read(&w.heap).bytes_asked, 40 * 104);
	for (unsigned i = 0; i < 20; i++)
		heap_free(&w.heap, 0, at[i], 0);
	ck_assert_uint_eq(heap_stats_read(&w.heap).bytes_asked, 20 * 104);
	for (unsigned i = 20; i < 39; i++)
		heap_free(&w.heap, 0, at[i], 128);
	ck_assert_uint_ge(heap_stats_read(&w.heap).bytes_asked, 1);
	at[39] = heap_realloc(&w.heap, 0, at[39], 0, 120);
	ck_assert_uint_le(heap_stats_read(&w.heap).bytes_asked, 128);
	ck_assert(heap_check(&w.heap));
	heap_free(&w.heap, 0, at[39], 1);
	ck_assert_uint_eq(heap_stats_read(&w.heap).bytes_asked, 0);
	for (unsigned i = 0; i < 100; i++) { /* less than it was */
		at[0] = trial_take(&w.heap, 128);
		at[1] = trial_take(&w.heap, 1);
		heap_free(&w.heap, 0, at[0], 1);
		ck_assert(heap_check(&w.heap));
		heap_free(&w.heap, 0, at[1], 1);
	}
	ck_assert_uint_eq(heap_stats_read(&w.heap).bytes_asked_max, 40 * 104);
	at[0] = heap_realloc(&w.heap, 0, trial_take(&w.heap, 1), 16, 1); /* less than nothing would be asked then */
	ck_assert_uint_eq(heap_stats_read(&w.heap).bytes_asked_max, 40 * 104);
	heap_free(&w.heap, 0, at[0], 1);
	world_close(&w);
}
END_TEST

START_TEST(realloc_moves)
{
	struct world w;
	unsigned char *at, *moved;

	world_open(&w, 64 * TRIAL_KIB, true);
	at = trial_take(&w.heap, 1000);
	at[10] = 9;
	ck_assert_ptr_eq(heap_realloc(&w.heap, 0, at, 1000, 1024), at);
	ck_assert_ptr_eq(heap_realloc(&w.heap, 0, at, 1024, 300), at);
	moved = heap_realloc(&w.heap, 0, at, 300, 200);
	ck_assert(moved != at && moved[10] == 9 && heap_usable(&w.heap, moved) == 256);
	at = heap_realloc(&w.heap, 0, moved, 200, 9000);
	ck_assert(at != moved && at[10] == 9);
	ck_assert_ptr_eq(heap_realloc(&w.heap, 0, at, 9000, 5000), at);
	sizeclass_reap(&w.heap, 0);
	heap_fail_after(&w.below, 1); /* a shrink that finds no room stays */
	ck_assert_ptr_eq(heap_realloc(&w.heap, 0, at, 5000, 20), at);
	heap_fail_after(&w.heap, 1); /* and is no growth, of which the next is refused */
	at = heap_realloc(&w.heap, 0, at, 20, 30);
	ck_assert_uint_eq(heap_usable(&w.heap, at), 32);
	ck_assert_ptr_null(heap_realloc(&w.heap, 0, at, 30, 1000));
	ck_assert_ptr_null(heap_realloc(&w.heap, 0, at, 30, TRIAL_MIB));
	heap_free(&w.heap, 0, at, 30);
	world_close(&w);
}
END_TEST

START_TEST(refusals)
{
	struct world w;
	void *old;

	world_open(&w, 64 * TRIAL_KIB, true);
	old = trial_take(&w.heap, 100);
	trial_refusals(&w.heap, &w.heap, old, 100, w.memory, w.bytes);
	trial_refusals(&w.heap, &w.heap, old, 100, w.meta, sizeof(w.meta));
	trial_refusals(&w.heap, &w.below, old, 100, w.memory, w.bytes);
	trial_refusals(&w.heap, &w.below, old, 100, w.meta, sizeof(w.meta));
	heap_free(&w.heap, 0, old, 100);
	world_close(&w);
}
END_TEST

enum wrong { TWICE_LATER = TRIAL_WRONGS, TWICE_LARGE, WRONGS };

START_TEST(wrong)
{
	struct world w;
	unsigned char *memory, *other;

	world_open(&w, 64 * TRIAL_KIB, true);
	memory = trial_take(&w.heap, 100);
	other = trial_take(&w.heap, 100);
	memset(memory, 0xff, 100);
	switch (_i) {
	case TWICE_LATER:
		trial_take(&w.heap, 100);
		heap_free(&w.heap, 0, memory, 100);
		heap_free(&w.heap, 0, other, 100);
		heap_free(&w.heap, 0, memory, 100);
		break;
	case TWICE_LARGE:
		memory = trial_take(&w.heap, 10000);
		heap_free(&w.heap, 0, memory, 10000);
		heap_free(&w.heap, 0, memory, 10000);
		break;
	default:
		trial_wrong(&w.heap, _i, memory, other, 100);
	}
}
END_TEST

/* Who happens to write what a free block says is not taken for one. */
START_TEST(mark_by_chance)
{
	struct world w;
	struct sizeclass_block was, *b;
	void *other;

	world_open(&w, 64 * TRIAL_KIB, true);
	other = trial_take(&w.heap, 16);
	b = trial_take(&w.heap, 16);
	heap_free(&w.heap, 0, other, 16);
	heap_free(&w.heap, 0, b, 16);
	was = *b;
	ck_assert_ptr_eq(trial_take(&w.heap, 16), b);
	ck_assert_uint_eq(b->mark, 0);
	*b = was;
	heap_free(&w.heap, 0, b, 16);
	world_close(&w);
}
END_TEST

/* Each is broken alone, and restored. */
START_TEST(check_objects)
{
	struct world w;
	struct sizeclass_block *b, was_block;
	struct sizeclass was;

	world_open(&w, 64 * TRIAL_KIB, true);
	b = trial_take(&w.heap, 100);
	heap_free(&w.heap, 0, trial_take(&w.heap, 100), 100);
	heap_free(&w.heap, 0, b, 100);
	trial_take(&w.heap, 300);
	was = *w.s;
	was_block = *b;
#define BROKEN(change)                                                                                                 \
	do {                                                                                                           \
		change;                                                                                                \
		ck_assert_msg(!heap_check(&w.heap), "%s", #change);                                                    \
		*w.s = was;                                                                                            \
		*b = was_block;                                                                                        \
		ck_assert(heap_check(&w.heap));                                                                        \
	} while (0)
	BROKEN(b->mark ^= 1);
	BROKEN(b->next = b);
	BROKEN(b->next = NULL);
	BROKEN(w.s->first[3] = NULL);
	BROKEN((w.s->first[4] = b, w.s->free[4] = w.s->free[3], w.s->first[3] = NULL, w.s->free[3] = 0));
	BROKEN(w.s->free[3]++);
	BROKEN(w.s->free[0]++);
	BROKEN(w.s->free_bytes++);
	BROKEN(w.s->held--);
	BROKEN((w.s->held += 16, w.s->count.given += 16, w.s->count.live++, w.s->count.asked = 5000));
	BROKEN(w.s->count.held_max = 0);
	BROKEN(w.s->from_below = 1);
	BROKEN((w.s->count.live += 2, w.s->count.asked += 2));
	BROKEN(w.s->count.live = 301);
	BROKEN(w.s->count.asked_max = 299);
	BROKEN((w.s->count.asked = 513, w.s->count.asked_max = 513));
#undef BROKEN
	((struct freelist *)w.below.self)->holes++; /* the heap below is wrong */
	ck_assert(!heap_check(&w.heap));
	free(w.memory);
}
END_TEST

START_TEST(scopes)
{
	struct world w;
	void *kept;

	world_open(&w, 64 * TRIAL_KIB, true);
	{
		SCOPED_BLOCK(a) = scoped_alloc(&w.heap, 0, 100);
		SCOPED_BLOCK(b) = scoped_alloc_zeroed(&w.heap, 0, 10, 10);
		SCOPED_BLOCK(none) = scoped_alloc(&w.heap, 0, TRIAL_MIB);

		ck_assert(a.at && b.at && !none.at && *(char *)b.at == 0);
		kept = scoped_keep(&b);
		ck_assert_uint_eq(heap_stats_read(&w.heap).allocations, 2);
	}
	ck_assert_uint_eq(heap_stats_read(&w.heap).allocations, 1);
	heap_free(&w.heap, 0, kept, 100);
	world_close(&w);
}
END_TEST

Suite *sizeclass_suite(void);
Suite *sizeclass_suite(void)
{
	Suite *s = suite_create("sizeclass");
	TCase *c = tcase_create("sizeclass");

	tcase_set_timeout(c, 60);
	tcase_add_test(c, init_refuses);
	tcase_add_test(c, conformance);
	tcase_add_test(c, record);
	tcase_add_test(c, classes);
	tcase_add_test(c, given_136_and_4097);
	tcase_add_test(c, worst_of_a_million);
	tcase_add_test(c, gives_back);
	tcase_add_test(c, asked_without_sizes);
	tcase_add_test(c, realloc_moves);
	tcase_add_test(c, refusals);
	tcase_add_loop_test_raise_signal(c, wrong, SIGABRT, TRIAL_TWICE, WRONGS);
	tcase_add_test(c, mark_by_chance);
	tcase_add_test(c, check_objects);
	tcase_add_test(c, scopes);
	suite_add_tcase(s, c);
	return s;
}
