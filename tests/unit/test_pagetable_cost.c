/* tests/unit/test_pagetable_cost.c: what an operation of mm/pagetable costs is
 * counted, not timed: pagetable.c is compiled in here once more with every
 * atomic access to an entry counted. What is counted must follow from the
 * entries that the operation touches, whatever lies empty between them.
 * What it does not see: the plain stores that fill a table before it is linked,
 * and arithmetic. */
#include <check.h>
#include <stdlib.h>

static unsigned long accesses;

#define __atomic_load_n(from, order)	     (accesses++, __atomic_load_n((from), (order)))
#define __atomic_store_n(to, value, order)   (accesses++, __atomic_store_n((to), (value), (order)))
#define __atomic_fetch_or(to, value, order)  (accesses++, __atomic_fetch_or((to), (value), (order)))
#define __atomic_fetch_and(to, value, order) (accesses++, __atomic_fetch_and((to), (value), (order)))

/* Names of their own, beside those of the library. */
#define pagetable_init	       counted_init
#define pagetable_fini	       counted_fini
#define pagetable_map	       counted_map
#define pagetable_unmap	       counted_unmap
#define pagetable_protect      counted_protect
#define pagetable_harvest      counted_harvest
#define pagetable_flushed      counted_flushed
#define pagetable_enter	       counted_enter
#define pagetable_leave	       counted_leave
#define pagetable_walk	       counted_walk
#define pagetable_cuts	       counted_cuts
#define pagetable_next_run     counted_next_run
#define pagetable_root_address counted_root_address
#define pagetable_eptp	       counted_eptp
#define pagetable_ept_limits   counted_ept_limits
#define pagetable_stats_read   counted_stats_read
#define pagetable_check	       counted_check
#include "mm/pagetable.c" /* NOLINT(bugprone-suspicious-include) */

#define KIB    UINT64_C(1024)
#define GIB    (KIB * KIB * KIB)
#define HALF_A (GIB * KIB * 128) /* 128 TiB */

static unsigned char *arena;
static uint64_t next;

static enum mm_err get(void *self, struct pfn *out)
{
	(void)self;
	out->n = next++;
	return MM_OK;
}

static void put(void *self, struct pfn page)
{
	(void)self;
	(void)page;
}

#define PAGES 4096u

static const struct pagetable_attr rw = {PAGETABLE_READ | PAGETABLE_WRITE, PAGETABLE_WRITE_BACK},
				   ro = {PAGETABLE_READ, PAGETABLE_WRITE_BACK};

static void make(struct pagetable *pt)
{
	struct pagetable_config config = {
		.format = PAGETABLE_EPT,
		.phys_bits = 52,
		.leaf_max = PAGETABLE_1G,
		.arena_frames = PAGES,
		.pages = {NULL, get, put},
	};

	if (!arena)
		arena = aligned_alloc(FRAME_BYTES, PAGES * FRAME_BYTES);
	config.arena = arena;
	next = 0;
	ck_assert_int_eq(pagetable_init(pt, &config), MM_OK);
}

static unsigned long cost; /* of what was counted last */
#define COUNTED(x)                                                                                                     \
	do {                                                                                                           \
		accesses = 0;                                                                                          \
		ck_assert(x);                                                                                          \
		cost = accesses;                                                                                       \
	} while (0)

enum operation { UNMAP, PROTECT, HARVEST, ITERATE, OPERATIONS };

static unsigned long cost_of(struct pagetable *pt, enum operation operation, uint64_t in, uint64_t bytes)
{
	struct pagetable_flush flush;
	struct pagetable_run run;

	switch (operation) {
	case UNMAP:
		COUNTED(pagetable_unmap(pt, in, bytes, &flush) == MM_OK);
		break;
	case PROTECT:
		COUNTED(pagetable_protect(pt, in, bytes, ro, &flush) == MM_OK);
		break;
	case HARVEST:
		COUNTED(pagetable_harvest(pt, in, bytes, PAGETABLE_DIRTY, NULL, &flush) == MM_OK);
		break;
	default:
		accesses = 0;
		while (pagetable_next_run(pt, in, &run))
			in = run.in + run.bytes;
		cost = accesses;
	}
	return cost;
}

/* _i: an operation. An empty range costs the root's entries in it, were it 128 TiB. */
START_TEST(nothing)
{
	struct pagetable pt;

	make(&pt);
	ck_assert_uint_le(cost_of(&pt, (enum operation)_i, 0, FRAME_BYTES), 512 + 2);
	ck_assert_uint_le(cost_of(&pt, (enum operation)_i, FRAME_BYTES, HALF_A), 512 + 2);
	pagetable_fini(&pt);
}
END_TEST

/* _i: an operation, on 8 pages whose distance is 64 KiB, or 16 TiB: 2 tables, or 22. */
START_TEST(few_pages_far_apart)
{
	struct pagetable pt;

	for (unsigned far = 0; far < 2; far++) {
		uint64_t step = far ? HALF_A / 8 : 64 * KIB;

		make(&pt);
		for (uint64_t i = 0; i < 8; i++) {
			COUNTED(pagetable_map(&pt, i * step, i * FRAME_BYTES * 3, FRAME_BYTES, rw) == MM_OK);
			ck_assert_uint_le(cost, 32);
		}
		/* at most what is in its tables, read once, looked at for what is below, and for being empty or one
		 * leaf */
		ck_assert_uint_le(cost_of(&pt, (enum operation)_i, 0, 8 * step), (pt.tables_max + 1) * 3 * 512);
		pagetable_fini(&pt);
	}
}
END_TEST

/* The same 8 pages in ranges of 1 GiB, 1 TiB and 128 TiB: the same tables, so the same cost but the root's entries. */
START_TEST(same_pages_in_wider_ranges)
{
	const uint64_t ranges[] = {GIB, GIB * KIB, HALF_A};
	unsigned long costs[3];
	struct pagetable pt;

	for (unsigned i = 0; i < 3; i++) {
		make(&pt);
		for (uint64_t p = 0; p < 8; p++)
			ck_assert_int_eq(pagetable_map(&pt, p * 16 * FRAME_BYTES, p * 3 * FRAME_BYTES, FRAME_BYTES, rw),
					 MM_OK);
		costs[i] = cost_of(&pt, (enum operation)_i, 0, ranges[i]);
		pagetable_fini(&pt);
	}
	ck_assert_uint_le(costs[1], costs[0] + 3 * 512);
	ck_assert_uint_le(costs[2], costs[0] + 3 * 512);
}
END_TEST

/* A map looks at each entry that it writes at most once before, and plans what is empty by arithmetic. */
START_TEST(map_and_walk)
{
	struct pagetable_leaf leaf;
	struct pagetable pt;

	make(&pt);
	COUNTED(pagetable_map(&pt, 0, 0, HALF_A, rw) == MM_OK); /* 2^17 leaves of 1G in 256 tables */
	ck_assert_uint_le(cost, (HALF_A / GIB) + 4 * 256 + 16);
	COUNTED(pagetable_walk(&pt, HALF_A / 2, &leaf));
	ck_assert_uint_eq(cost, 2);
	COUNTED(pagetable_map(&pt, HALF_A + FRAME_BYTES, 0, 2 * GIB, rw) == MM_OK); /* 2^19 of 4K in 1025 tables */
	ck_assert_uint_le(cost, 512 * KIB + 4 * 1031);
	COUNTED(pagetable_walk(&pt, HALF_A + GIB, &leaf));
	ck_assert_uint_eq(cost, 4);
	COUNTED(pagetable_map(&pt, HALF_A + 4 * GIB + FRAME_BYTES, 0, UINT64_C(1) << 40, rw) == MM_ENOMEM);
	ck_assert_uint_le(cost, 1024);
	pagetable_fini(&pt);
	free(arena);
	arena = NULL;
}
END_TEST

Suite *pagetable_cost_suite(void);

Suite *pagetable_cost_suite(void)
{
	Suite *suite = suite_create("pagetable_cost");
	TCase *counts = tcase_create("counts");

	tcase_add_loop_test(counts, nothing, 0, OPERATIONS);
	tcase_add_loop_test(counts, few_pages_far_apart, 0, OPERATIONS);
	tcase_add_loop_test(counts, same_pages_in_wider_ranges, 0, OPERATIONS);
	tcase_add_test(counts, map_and_walk);
	tcase_set_timeout(counts, 30);
	suite_add_tcase(suite, counts);
	return suite;
}
