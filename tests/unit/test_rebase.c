/* vmm/rebase.c: leaves on huge pages of 1 GiB get the address that pagemap tells of their page, whatever cuts them; all
 * of them or none, and none that another pool's frames are called by. R1 to R3. The pagemap is a file that says what a
 * test wants, and the pages are addresses alone. */
#include <check.h>
#undef fail
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/unit/random.h"
#include "vmm/pagemap.h"
#include "vmm/rebase.h"

Suite *rebase_suite(void);

#define GIB	   (UINT64_C(1) << 30)
#define MIB	   (UINT64_C(1) << 20)
#define PAGES	   6u /* of 1 GiB, of the first two pools; the third is of 2M */
#define TABLES	   64u
#define FRAME_FROM (400 * GIB / FRAME_BYTES) /* of the table's own pages */

static struct memory memory;
static struct host host;
static struct pagetable table;
static struct rebase rebase;
static uint8_t *arena, *space;
static uint64_t taken, physical[PAGES];
static int pagemap;

static enum mm_err get(void *self, struct pfn *out)
{
	(void)self;
	ck_assert_uint_lt(taken, TABLES);
	out->n = FRAME_FROM + taken++;
	return MM_OK;
}

static void put(void *self, struct pfn page)
{
	(void)self;
	(void)page;
}

static void add_pool(uint64_t base, uint64_t offset, uint64_t bytes, enum pagetable_size leaf)
{
	host.pool[host.pools++] = (struct pool){
		.base = {base / FRAME_BYTES},
		.backing = {.kind = BACKING_HUGETLB, .host = space + offset, .bytes = bytes, .leaf = leaf, .fd = -1},
	};
}

/* Of the first two pools, page n as they are in turn. */
static void tell(unsigned n, uint64_t entry)
{
	const uint64_t at = ((uintptr_t)space + n * GIB) / FRAME_BYTES * sizeof(entry);

	ck_assert_int_eq(pwrite(pagemap, &entry, sizeof(entry), (off_t)at), sizeof(entry));
}

static void setup(void)
{
	struct pagetable_config config = {
		.format = PAGETABLE_NPT,
		.phys_bits = HOST_PHYS_BITS,
		.leaf_max = PAGETABLE_1G,
		.arena_first = {FRAME_FROM},
		.arena_frames = TABLES,
		.pages = {NULL, get, put},
	};
	struct failure f = {0};
	uint8_t *all;

	seed(7);
	ck_assert_int_eq(memory_open(&memory, &f), 0);
	/* What cannot be read or written cannot be brought in. */
	all = mmap(NULL, (PAGES + 2) * GIB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	ck_assert_ptr_ne(all, MAP_FAILED);
	space = (uint8_t *)(((uintptr_t)all + GIB - 1) & ~(GIB - 1));
	host = (struct host){0};
	add_pool(100 * GIB, 0, 4 * GIB, PAGETABLE_1G);
	add_pool(200 * GIB, 4 * GIB, 2 * GIB, PAGETABLE_1G);
	add_pool(300 * GIB, 6 * GIB, GIB, PAGETABLE_2M);
	taken = 0;
	config.arena = arena = aligned_alloc(FRAME_BYTES, TABLES * FRAME_BYTES);
	ck_assert_int_eq(pagetable_init(&table, &config), MM_OK);
	pagemap = memfd_create("pagemap", MFD_CLOEXEC);
	for (unsigned n = 0; n < PAGES; n++) {
		physical[n] = (3 + (5 * n + 2) % PAGES * 7) * GIB;
		tell(n, PAGEMAP_PRESENT | PAGEMAP_ALONE | physical[n] / FRAME_BYTES);
	}
}

static void teardown(void)
{
	rebase_close(&rebase);
	rebase_close(&rebase);
	pagetable_fini(&table);
	free(arena);
	close(pagemap);
	munmap(space, PAGES * GIB);
	memory_close(&memory);
}

static void map(uint64_t gpa, unsigned pool, uint64_t offset, uint64_t bytes)
{
	const struct pagetable_attr attr = {PAGETABLE_READ | PAGETABLE_WRITE | PAGETABLE_EXEC | PAGETABLE_USER,
					    PAGETABLE_WRITE_BACK};

	ck_assert_int_eq(pagetable_map(&table, gpa, host.pool[pool].base.n * FRAME_BYTES + offset, bytes, attr), MM_OK);
}

static void opens(void)
{
	struct failure f = {0};

	ck_assert_msg(rebase_open(&rebase, &memory, &host, &table, pagemap, &f) == 0, "%s", f.text);
	ck_assert(rebase.any && rebase.page);
}

/* And each leaf is where it was. */
static void none(const char *sentence)
{
	struct failure f = {0};

	ck_assert_int_eq(rebase_open(&rebase, &memory, &host, &table, pagemap, &f), EXIT_HOST);
	ck_assert_str_eq(f.text, sentence);
	ck_assert(rebase.any && !rebase.page);
	ck_assert_uint_eq(rebase_address(&rebase, 100 * GIB + 5 * MIB), 100 * GIB + 5 * MIB);
}

/* All of a pool's pages, and a part of a pool's: what is not of such pages stays. */
START_TEST(each_address_is_its_page_s)
{
	map(0, 0, 0, 4 * GIB);
	map(4 * GIB, 1, 0, 2 * GIB);
	map(8 * GIB, 2, 0, GIB);
	opens();
	for (unsigned i = 0; i < 100000; i++) {
		const unsigned n = (unsigned)below(PAGES);
		const uint64_t offset = below(GIB / FRAME_BYTES) * FRAME_BYTES;
		const uint64_t out = n < 4 ? (100 + n) * GIB : (200 + n - 4) * GIB;

		ck_assert_uint_eq(rebase_address(&rebase, out + offset), physical[n] + offset);
		ck_assert_uint_eq(rebase_address(&rebase, 300 * GIB + offset), 300 * GIB + offset);
		ck_assert_uint_eq(rebase_address(&rebase, offset), offset);
	}
}
END_TEST

/* A guard of a frame, one of a whole page, and extents in no order: pages that are mapped by pieces. */
START_TEST(pieces_are_of_their_pages)
{
	map(0, 0, 0, 7 * MIB);
	map(7 * MIB + FRAME_BYTES, 0, 7 * MIB + FRAME_BYTES, 2 * GIB - 7 * MIB - FRAME_BYTES);
	map(3 * GIB, 1, GIB + 2 * MIB, 2 * MIB);
	map(3 * GIB + 2 * MIB, 0, 2 * GIB + 4 * MIB, 2 * MIB);
	map(3 * GIB + 4 * MIB, 1, GIB, 2 * MIB);
	tell(3, 0); /* nothing is mapped there, so nobody asks */
	tell(4, 0);
	opens();
	ck_assert_uint_eq(rebase_address(&rebase, 100 * GIB + 6 * MIB), physical[0] + 6 * MIB);
	ck_assert_uint_eq(rebase_address(&rebase, 101 * GIB), physical[1]);
	ck_assert_uint_eq(rebase_address(&rebase, 102 * GIB + 4 * MIB), physical[2] + 4 * MIB);
	ck_assert_uint_eq(rebase_address(&rebase, 201 * GIB + 2 * MIB), physical[5] + 2 * MIB);
}
END_TEST

/* Of each of two pages less than a whole, and the second's less than the first's. */
START_TEST(a_run_may_end_early_in_a_page)
{
	map(512 * MIB, 1, 512 * MIB, 768 * MIB);
	opens();
	ck_assert_uint_eq(rebase_address(&rebase, 200 * GIB + 600 * MIB), physical[4] + 600 * MIB);
	ck_assert_uint_eq(rebase_address(&rebase, 201 * GIB + 2 * MIB), physical[5] + 2 * MIB);
}
END_TEST

START_TEST(other_pages_are_left_alone)
{
	struct failure f = {0};

	host.pool[0].backing.leaf = host.pool[1].backing.leaf = PAGETABLE_2M;
	map(0, 0, 0, 4 * GIB);
	ck_assert_int_eq(rebase_open(&rebase, &memory, &host, &table, -1, &f), 0);
	ck_assert(!rebase.any && !rebase.page);
	ck_assert_uint_eq(rebase_address(&rebase, 100 * GIB), 100 * GIB);
	host.pool[0].backing.leaf = PAGETABLE_1G; /* a device's numbers are its addresses already */
	host.pool[0].backing.kind = BACKING_DEVDAX;
	ck_assert_int_eq(rebase_open(&rebase, &memory, &host, &table, -1, &f), 0);
	ck_assert(!rebase.any);
}
END_TEST

START_TEST(all_or_none)
{
	const char *untouched =
		"--memory hugepages=on: the addresses of its 1 GiB pages are slat's numbers: one was never "
		"touched, or the kernel has no pagemap";

	map(0, 0, 0, 4 * GIB);
	tell(3, 0);
	none(untouched);
	tell(3, PAGEMAP_PRESENT); /* to who may not know */
	none("--memory hugepages=on: the addresses of its 1 GiB pages are slat's numbers: only root (CAP_SYS_ADMIN) "
	     "may "
	     "read them");
	ck_assert_int_eq(ftruncate(pagemap, 0), 0);
	none(untouched);
	close(pagemap);
	pagemap = -1;
	none(untouched);
	host.pool[0].backing.zone = "--memory-zone id=a";
	none("--memory-zone id=a: the addresses of its 1 GiB pages are slat's numbers: one was never touched, or the "
	     "kernel has "
	     "no pagemap");
}
END_TEST

START_TEST(without_memory_numbers_stay)
{
	map(0, 0, 0, GIB);
	heap_fail_after(&memory.heap, 1);
	none("no memory for the addresses of 6 huge pages");
	heap_fail_after(&memory.heap, 0);
	opens();
}
END_TEST

/* R2: a third pool keeps its numbers, and so do the pages of the table. */
START_TEST(no_number_means_two_frames)
{
	const char *taken_by_another =
		"--memory hugepages=on: the addresses of its 1 GiB pages are slat's numbers: one lies "
		"where another pool has its numbers";

	map(0, 0, 0, 4 * GIB);
	tell(2, PAGEMAP_PRESENT | 300 * GIB / FRAME_BYTES);
	none(taken_by_another);
	tell(2, PAGEMAP_PRESENT | 301 * GIB / FRAME_BYTES);
	opens();
	rebase_close(&rebase);
	host.pool[2].base.n += GIB / FRAME_BYTES - 1; /* they share one frame */
	none(taken_by_another);
	host.pool[2].base.n = 0;
	tell(2, PAGEMAP_PRESENT | 100 * GIB / FRAME_BYTES); /* a number that is given up */
	opens();
	rebase_close(&rebase);
	tell(2, PAGEMAP_PRESENT | (UINT64_C(1) << (HOST_PHYS_BITS - FRAME_SHIFT)));
	none("--memory hugepages=on: the addresses of its 1 GiB pages are slat's numbers: one lies where no frame "
	     "number of 1 "
	     "GiB can");
	tell(2, PAGEMAP_PRESENT | (5 * GIB / FRAME_BYTES + 1));
	none("--memory hugepages=on: the addresses of its 1 GiB pages are slat's numbers: one lies where no frame "
	     "number of 1 "
	     "GiB can");
}
END_TEST

Suite *rebase_suite(void)
{
	Suite *s = suite_create("rebase");
	TCase *all = tcase_create("all");

	tcase_add_checked_fixture(all, setup, teardown);
	tcase_add_test(all, each_address_is_its_page_s);
	tcase_add_test(all, pieces_are_of_their_pages);
	tcase_add_test(all, a_run_may_end_early_in_a_page);
	tcase_add_test(all, other_pages_are_left_alone);
	tcase_add_test(all, all_or_none);
	tcase_add_test(all, without_memory_numbers_stay);
	tcase_add_test(all, no_number_means_two_frames);
	suite_add_tcase(s, all);
	return s;
}
