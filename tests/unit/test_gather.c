/* Blocks cut from a pool with a history: what was asked, disjoint, the fewest or
 * scattered; and a refusal that leaves the pool as it was. */
#include <check.h>
#undef fail
#include <string.h>

#include "tests/unit/random.h"
#include "vmm/gather.h"

Suite *gather_suite(void);

#define MIB    (UINT64_C(1) << 20)
#define LIMIT  32764u
#define FRAMES 16384u /* of the largest pool here */

static struct memory memory;

/* Opened by hand: no mapping is needed, since nothing is touched. */
static void open_pool_at(struct pool *p, uint64_t base, uint64_t bytes, enum pagetable_size leaf)
{
	const struct extent_config space = {
		.base = base,
		.units = bytes / FRAME_BYTES,
		.segments_max = 2 * FRAMES + 64,
		.policy = EXTENT_BEST_FIT,
	};
	const size_t meta = extent_config_bytes(&space);
	struct failure f = {0};

	ck_assert_int_eq(memory_open(&memory, &f), 0);
	*p = (struct pool){.base = {space.base}, .backing = {.bytes = bytes, .leaf = leaf, .fd = -1}};
	p->space_meta = memory_alloc_aligned(&memory, meta, 64);
	ck_assert_int_eq(extent_init(p->space_meta, meta, &space, &p->space), MM_OK);
}

static void open_pool(struct pool *p, uint64_t bytes, enum pagetable_size leaf)
{
	open_pool_at(p, UINT64_C(1) << 28, bytes, leaf);
}

static void close_pool(struct pool *p)
{
	ck_assert(extent_check(p->space));
	memory_free(&memory, p->space_meta);
	memory_close(&memory);
}

static void take(struct pool *p, uint64_t start, uint64_t bytes)
{
	struct failure f = {0};

	ck_assert_int_eq(pool_take(p, start, bytes, &f), 0);
}

static uint64_t free_units(const struct pool *p)
{
	return extent_stats_read(p->space).units_free;
}

/* They are disjoint, since the pool gave each; the sum is what was asked. */
static void check_list(const struct pool *p, const struct block_list *l, uint64_t bytes, uint64_t was_free)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < l->count; i++) {
		ck_assert_ptr_eq(l->block[i].pool, p);
		ck_assert_uint_gt(l->block[i].bytes, 0);
		sum += l->block[i].bytes;
	}
	ck_assert_uint_eq(sum, bytes);
	ck_assert_uint_eq(free_units(p) + bytes / FRAME_BYTES, was_free);
}

static int ask(struct pool *p, enum gather_kind kind, uint64_t bytes, uint64_t extent, struct block_list *l,
	       struct failure *f)
{
	const struct gather_request request = {kind, bytes, extent, LIMIT};

	*f = (struct failure){0};
	*l = (struct block_list){0};
	return gather(p, &memory, &request, l, f);
}

START_TEST(prefer_takes_the_largest_and_the_rest_fits_best)
{
	struct block_list l;
	struct failure f;
	struct pool p;

	open_pool(&p, 64 * MIB, PAGETABLE_2M); /* holes of 20, 8, 30 and 2 MiB */
	take(&p, 20 * MIB, 2 * MIB);
	take(&p, 30 * MIB, 2 * MIB);
	ck_assert_int_eq(ask(&p, GATHER_REQUIRE, 40 * MIB, 0, &l, &f), EXIT_HOST);
	ck_assert_pstr_eq(f.text,
			  "no contiguous block of 40 MiB in the pool of node 0: its largest hole is 32 MiB of 60 MiB "
			  "free in 3 holes");
	ck_assert_int_eq(ask(&p, GATHER_PREFER, 40 * MIB, 0, &l, &f), 0);
	ck_assert_uint_eq(l.count, 2);
	ck_assert_uint_eq(l.block[0].bytes, 32 * MIB);
	ck_assert_uint_eq(l.block[1].bytes, 8 * MIB);
	ck_assert_uint_eq(l.block[1].first.n, p.base.n + 22 * MIB / FRAME_BYTES); /* the smallest that holds it */
	block_list_free(&l);
	ck_assert_int_eq(ask(&p, GATHER_PREFER, 8 * MIB, 0, &l, &f), 0);
	ck_assert_uint_eq(l.count, 1);
	block_list_free(&l);
	ck_assert_int_eq(ask(&p, GATHER_PREFER, 60 * MIB, 0, &l, &f), 0);
	ck_assert_uint_eq(l.count, 3);
	block_list_free(&l);
	ck_assert_int_eq(ask(&p, GATHER_PREFER, 60 * MIB + FRAME_BYTES, 0, &l, &f), EXIT_HOST);
	ck_assert_pstr_eq(f.text,
			  "no 61444 KiB in the pool of node 0, in however many pieces: 60 MiB are free in 3 holes");
	ck_assert_uint_eq(free_units(&p), 60 * MIB / FRAME_BYTES);
	close_pool(&p);
}
END_TEST

/* Frames off the alignment are taken only when nothing else is left. */
START_TEST(unaligned_holes_come_last)
{
	struct block_list l;
	struct failure f;
	struct pool p;

	open_pool(&p, 16 * MIB, PAGETABLE_2M);
	take(&p, 0, MIB);
	take(&p, 7 * MIB, FRAME_BYTES);
	ck_assert_int_eq(ask(&p, GATHER_PREFER, 12 * MIB, 0, &l, &f), 0); /* [8, 16) and [2, 6) */
	ck_assert_uint_eq(l.count, 2);
	for (uint32_t i = 0; i < l.count; i++)
		ck_assert_uint_eq(l.block[i].first.n % 512, 0);
	block_list_free(&l);
	ck_assert_int_eq(ask(&p, GATHER_PREFER, 15 * MIB - FRAME_BYTES, 0, &l, &f), 0);
	check_list(&p, &l, 15 * MIB - FRAME_BYTES, 15 * MIB / FRAME_BYTES - 1);
	block_list_free(&l);
	close_pool(&p);
}
END_TEST

static void check_scattered(const struct block_list *l, uint64_t extent)
{
	for (uint32_t i = 0; i < l->count; i++) {
		if (l->block[i].bytes == extent)
			ck_assert_uint_eq(l->block[i].first.n % (extent / FRAME_BYTES), 0);
		else
			ck_assert_uint_eq(i, l->count - 1);
		if (i && l->block[i].bytes == extent && l->count > 2)
			ck_assert_uint_ne(l->block[i].first.n, l->block[i - 1].first.n + extent / FRAME_BYTES);
	}
}

/* A pool whose numbers begin anywhere has as many places as one that begins well. */
START_TEST(scattered_wherever_the_pool_begins)
{
	struct block_list l;
	struct failure f;
	struct pool p;

	open_pool_at(&p, (UINT64_C(1) << 28) + 1 + (unsigned)_i * 511, 32 * MIB, PAGETABLE_4K);
	ck_assert_int_eq(ask(&p, GATHER_SCATTER, 32 * MIB, 2 * MIB, &l, &f), 0);
	check_list(&p, &l, 32 * MIB, 32 * MIB / FRAME_BYTES);
	ck_assert_uint_eq(l.count, 16);
	for (uint32_t i = 0; i < l.count; i++)
		ck_assert_uint_eq((l.block[i].first.n - p.base.n) % 512, 0);
	block_list_free(&l);
	take(&p, 3 * MIB, MIB); /* the second place is in the way of it, and the others are not */
	ck_assert_int_eq(ask(&p, GATHER_SCATTER, 30 * MIB, 2 * MIB, &l, &f), 0);
	ck_assert_uint_eq(l.count, 15);
	block_list_free(&l);
	close_pool(&p);
}
END_TEST

START_TEST(scattered_in_no_order_and_the_same_again)
{
	static struct block before[FRAMES];
	struct block_list l;
	struct failure f;
	struct pool p;

	open_pool(&p, FRAMES * FRAME_BYTES, PAGETABLE_2M);
	for (uint64_t extent = FRAME_BYTES; extent <= 16 * MIB; extent *= 2) {
		uint64_t bytes = FRAMES * FRAME_BYTES - (extent > FRAME_BYTES ? FRAME_BYTES : 0), up = 0;
		uint32_t count;

		ck_assert_int_eq(ask(&p, GATHER_SCATTER, bytes, extent, &l, &f), 0);
		check_list(&p, &l, bytes, FRAMES);
		check_scattered(&l, extent);
		count = l.count;
		for (uint32_t i = 1; i < count; i++)
			up += l.block[i].first.n > l.block[i - 1].first.n;
		if (count > 64) {
			ck_assert_uint_gt(up, count / 3); /* neither sorted, nor turned */
			ck_assert_uint_lt(up, count * 2 / 3);
		}
		memcpy(before, l.block, count * sizeof(*before));
		block_list_free(&l);
		ck_assert_int_eq(ask(&p, GATHER_SCATTER, bytes, extent, &l, &f), 0);
		ck_assert_uint_eq(l.count, count);
		ck_assert_mem_eq(before, l.block, count * sizeof(*before));
		block_list_free(&l);
	}
	close_pool(&p);
}
END_TEST

/* Pools of 1 to 12 places: no neighbours where two places or more are to be had. */
START_TEST(few_places_are_mended)
{
	for (uint64_t places = 1; places <= 12; places++) {
		for (uint64_t want = 1; want <= places; want++) {
			struct block_list l;
			struct failure f;
			struct pool p;

			open_pool(&p, places * MIB, PAGETABLE_4K);
			ck_assert_int_eq(ask(&p, GATHER_SCATTER, want * MIB, MIB, &l, &f), 0);
			ck_assert_uint_eq(l.count, want);
			for (uint32_t i = 1; i < l.count; i++)
				ck_assert_uint_ne(l.block[i].first.n, l.block[i - 1].first.n + MIB / FRAME_BYTES);
			block_list_free(&l);
			close_pool(&p);
		}
	}
}
END_TEST

START_TEST(refusals)
{
	struct block_list l;
	struct failure f;
	struct pool p;
	uint64_t n = 1;

	open_pool(&p, 16 * MIB, PAGETABLE_4K);
	take(&p, MIB, FRAME_BYTES);
	ck_assert_int_eq(ask(&p, GATHER_SCATTER, 16 * MIB - 2 * FRAME_BYTES, 2 * MIB, &l, &f), EXIT_HOST);
	ck_assert_pstr_eq(
		f.text, "no 16376 KiB in extents of 2 MiB in the pool of node 0: 16380 KiB are free in 2 holes, and 8 "
			"extents are the most");
	ck_assert_int_eq(ask(&p, GATHER_SCATTER, UINT64_C(1) << 30, FRAME_BYTES, &l, &f), EXIT_HOST);
	ck_assert_pstr_eq(f.text,
			  "--memory contiguous=scatter,extent_size=4 KiB makes 262144 extents of 1 GiB, and KVM has "
			  "32764 memslots here: take larger extents or less memory");
	for (;; n++) { /* no memory for the list, or for the places */
		heap_fail_after(&memory.heap, n);
		if (ask(&p, GATHER_SCATTER, 4 * MIB, MIB, &l, &f) == 0)
			break;
		ck_assert_int_eq(f.code, EXIT_HOST);
		ck_assert_uint_eq(free_units(&p), 16 * MIB / FRAME_BYTES - 1);
	}
	ck_assert_uint_eq(n, 3);
	heap_fail_after(&memory.heap, 0);
	block_list_free(&l);
	close_pool(&p);
}
END_TEST

/* Any history: prefer finds what there is, in no more blocks than a model that takes the largest holes needs. */
START_TEST(fewest_of_any_pool)
{
	seed(11);
	for (unsigned round = 0; round < 300; round++) {
		uint64_t holes[200], n = 0, sum = 0, bytes, left, fewest = 0;
		struct extent_segment s;
		struct block_list l;
		struct failure f;
		struct pool p;

		open_pool(&p, 4 * MIB, PAGETABLE_4K);
		for (unsigned i = 0; i < 20; i++) {
			struct failure ignored = {0};

			(void)pool_take(&p, below(1024) * FRAME_BYTES, (1 + below(40)) * FRAME_BYTES, &ignored);
		}
		for (uint64_t at = p.base.n; extent_segment_at(p.space, at, &s); at = s.run.first + s.run.units)
			if (!s.taken) {
				uint64_t k = n++;

				for (; k > 0 && holes[k - 1] < s.run.units; k--)
					holes[k] = holes[k - 1];
				holes[k] = s.run.units;
				sum += s.run.units;
			}
		ck_assert_uint_gt(sum, 0);
		bytes = (1 + below(sum)) * FRAME_BYTES;
		for (left = bytes / FRAME_BYTES; left > 0; fewest++)
			left -= left < holes[fewest] ? left : holes[fewest];
		ck_assert_int_eq(ask(&p, GATHER_PREFER, bytes, 0, &l, &f), 0);
		ck_assert_uint_eq(l.count, fewest);
		check_list(&p, &l, bytes, sum);
		block_list_free(&l);
		close_pool(&p);
	}
}
END_TEST

Suite *gather_suite(void)
{
	Suite *s = suite_create("gather");
	TCase *t = tcase_create("gather");

	tcase_set_timeout(t, 60);
	tcase_add_test(t, prefer_takes_the_largest_and_the_rest_fits_best);
	tcase_add_test(t, unaligned_holes_come_last);
	tcase_add_loop_test(t, scattered_wherever_the_pool_begins, 0, 3);
	tcase_add_test(t, scattered_in_no_order_and_the_same_again);
	tcase_add_test(t, few_places_are_mended);
	tcase_add_test(t, refusals);
	tcase_add_test(t, fewest_of_any_pool);
	suite_add_tcase(s, t);
	return s;
}
