/* vmm/balloon.c: what goes back to the host is measured on a mapping of our own, anonymous and memfd (hugetlb where
 * the host has pages: else that case skips, loudly), and on two that are neighbours; the books against a naive model of
 * one byte a frame. What it does not see: another node than the one that a page was on, which needs a host that has two
 * (the rig). */
#include <check.h>
#undef fail
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/mempolicy.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "mm/pagetable.h"
#include "tests/unit/fake_dma.h"
#include "tests/unit/random.h"
#include "vmm/balloon.h"
#include "vmm/loop.h"
#include "vmm/resident.h"

Suite *balloon_suite(void);

#define FRAME  FRAME_BYTES
#define MIB    (UINT64_C(1) << 20)
#define HUGE   (2 * MIB)
#define BYTES  (16 * MIB)
#define BASE   UINT64_C(0x140000000)
#define HIGH   (UINT64_C(4) << 30) /* of the guest's RAM the second half */
#define TABLES 64u

enum kind { ANONYMOUS, MEMFD, HUGETLB, HUGETLB_SHARED, KINDS };

struct world {
	struct backing backing, second; /* second.bytes 0: there is none; else it lies right behind the first */
	uint8_t *host;
	struct balloon_part *part; /* the balloon's first */
	struct pagetable table;
	struct ram ram;
	struct balloon balloon;
	uint8_t *arena;
	uint64_t taken;
};

static struct world w;
static struct pagetable_reader reader;

static uint64_t resident_bytes(void)
{
	struct resident_use use;
	uint64_t bytes;

	resident_read_once(&w.backing, &use);
	ck_assert(use.known);
	bytes = use.resident;
	if (!w.second.bytes)
		return bytes;
	resident_read_once(&w.second, &use);
	ck_assert(use.known);
	return bytes + use.resident;
}
static const struct balloon_ops *const ops = &balloon_ops;

static enum mm_err get(void *self, struct pfn *out)
{
	struct world *world = self;

	*out = (struct pfn){world->taken++};
	return world->taken > TABLES ? MM_ENOMEM : MM_OK;
}

static void put(void *self, struct pfn page)
{
	(void)self;
	(void)page;
}

static void map(uint64_t gpa, uint64_t offset, uint64_t bytes, bool readonly)
{
	struct pagetable_attr attr = {PAGETABLE_READ | PAGETABLE_USER | (readonly ? 0 : PAGETABLE_WRITE),
				      PAGETABLE_WRITE_BACK};

	ck_assert_int_eq(pagetable_map(&w.table, gpa, BASE + offset, bytes, attr), MM_OK);
}

/* False: the host has no huge pages. */
static bool open_backing(enum kind kind, bool thp, uint64_t bytes, struct backing *out)
{
	const struct backing_config config = {.bytes = bytes,
					      .thp = thp,
					      .shared = kind == MEMFD || kind == HUGETLB_SHARED,
					      .hugepages = kind >= HUGETLB,
					      .huge = PAGETABLE_2M};
	struct failure f = {0};

	if (!backing_open(out, &config, &f))
		return true;
	ck_assert_int_ge(kind, HUGETLB);
	fprintf(stderr, "SKIP hugetlb: %s\n", f.text);
	return false;
}

static void open_balloon(void)
{
	const struct backing *const backing[] = {&w.backing, &w.second};
	struct failure f = {0};

	ck_assert_int_eq(balloon_open(&w.balloon, &w.ram, &reader, backing, w.second.bytes ? 2 : 1, &f), 0);
	w.part = w.balloon.part;
}

static void open_table(void)
{
	const struct pagetable_config table = {.format = PAGETABLE_NPT,
					       .phys_bits = 40,
					       .leaf_max = PAGETABLE_2M,
					       .arena = aligned_alloc(FRAME, TABLES * FRAME),
					       .arena_frames = TABLES,
					       .readers = &reader,
					       .readers_count = 1,
					       .pages = {&w, get, put}};

	w.arena = table.arena;
	w.host = w.backing.host;
	ck_assert_int_eq(pagetable_init(&w.table, &table), MM_OK);
	w.ram = (struct ram){&w.table, w.host, BASE, BYTES};
}

static bool open_world(enum kind kind, bool thp)
{
	memset(&w, 0, sizeof(w));
	if (!open_backing(kind, thp, BYTES, &w.backing))
		return false;
	open_table();
	open_balloon();
	return true;
}

static void move(struct backing *b, uint8_t *to)
{
	ck_assert_ptr_eq(mremap(b->host, b->bytes, b->bytes, MREMAP_MAYMOVE | MREMAP_FIXED, to), to);
	b->host = to;
}

/* Two zones of half of it each, without a gap, as no guest's are: what goes over the border would be seen. */
static bool open_zones(enum kind first, enum kind second, bool thp)
{
	uint8_t *all = mmap(NULL, BYTES + HUGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	memset(&w, 0, sizeof(w));
	ck_assert(all != MAP_FAILED);
	all += -(uintptr_t)all & (HUGE - 1);
	if (!open_backing(first, thp, BYTES / 2, &w.backing))
		return false;
	if (!open_backing(second, thp, BYTES / 2, &w.second)) {
		backing_close(&w.backing);
		return false;
	}
	move(&w.backing, all);
	move(&w.second, all + BYTES / 2);
	open_table();
	open_balloon();
	ck_assert_uint_eq(w.balloon.parts, 2);
	return true;
}

static void close_world(void)
{
	ck_assert(balloon_check(&w.balloon));
	balloon_close(&w.balloon);
	balloon_close(&w.balloon);
	backing_close(&w.backing);
	if (w.second.bytes)
		backing_close(&w.second);
	free(w.arena);
}

/* The usual guest: half below, half above 4 GiB. */
static bool open_guest(enum kind kind, bool thp)
{
	if (!open_world(kind, thp))
		return false;
	map(0, 0, BYTES / 2, false);
	map(HIGH, BYTES / 2, BYTES / 2, false);
	memset(w.host, 0x5a, BYTES);
	return true;
}

/* Frames that the host holds for [gpa, gpa + bytes); not for hugetlb. */
static uint64_t resident(uint64_t gpa, uint64_t bytes)
{
	uint64_t span = bytes, count = 0;
	uint8_t *host = ram_span(&w.ram, gpa, &span, PAGETABLE_READ);
	unsigned char there[BYTES / FRAME];

	ck_assert(host && span == bytes);
	ck_assert_int_eq(mincore(host, bytes, there), 0);
	for (uint64_t i = 0; i < bytes / FRAME; i++)
		count += there[i] & 1;
	return count;
}

static struct balloon_stats stats(void)
{
	return balloon_stats_read(&w.balloon);
}

/* ---- what goes back ---- */

START_TEST(memory_goes_back_and_comes_again_as_zeros)
{
	uint64_t page;

	if (!open_guest(_i, false))
		return;
	page = w.part->page;
	ck_assert_uint_eq(page, _i >= HUGETLB ? HUGE : FRAME);
	ck_assert_uint_eq(resident_bytes(), BYTES);
	ck_assert_uint_eq(ops->give(&w.balloon, HUGE, 2 * HUGE), 2 * HUGE);
	ck_assert_uint_eq(resident_bytes(), BYTES - 2 * HUGE);
	ck_assert_uint_eq(stats().absent, 2 * HUGE);
	ck_assert_uint_eq(stats().returned, 2 * HUGE);
	ck_assert_uint_eq(stats().runs, 1);
	ck_assert_uint_eq(stats().held, 0);
	ck_assert(w.host[HUGE - 1] == 0x5a && w.host[3 * HUGE] == 0x5a);
	ops->take(&w.balloon, HUGE, 2 * HUGE);
	ck_assert_uint_eq(stats().absent, 0);
	ck_assert_uint_eq(stats().absent_max, 2 * HUGE);
	ck_assert_uint_eq(w.host[HUGE], 0);
	ck_assert_uint_eq(w.host[3 * HUGE - 1], 0);
	ck_assert_uint_eq(ops->give(&w.balloon, HIGH, HUGE), HUGE); /* the other half of the guest */
	ck_assert_uint_eq(stats().runs, 2);
	ck_assert_uint_eq(stats().refused, 0);
	close_world();
}
END_TEST

START_TEST(frames_go_one_by_one_where_pages_are_small)
{
	open_guest(_i, false);
	ck_assert_uint_eq(ops->give(&w.balloon, 5 * FRAME, FRAME), FRAME);
	ck_assert_uint_eq(resident(0, 16 * FRAME), 15);
	ck_assert_uint_eq(ops->give(&w.balloon, 4 * FRAME, 3 * FRAME), 2 * FRAME); /* one was gone */
	ck_assert_uint_eq(stats().runs, 3);					   /* around it */
	ck_assert_uint_eq(stats().given, 3 * FRAME);
	ck_assert_uint_eq(resident(0, 16 * FRAME), 13);
	ck_assert_uint_eq(stats().small, 0);
	ck_assert_uint_eq(ops->give(&w.balloon, 4 * FRAME, 3 * FRAME), 0);
	ck_assert_uint_eq(stats().small, 1);
	close_world();
}
END_TEST

/* A huge page goes when all of it is given, and not before: by 4K pages in any order. */
START_TEST(huge_page_goes_when_it_is_complete)
{
	uint64_t frames = HUGE / FRAME;

	if (!open_guest(_i, true))
		return;
	if (w.part->page != HUGE) {
		fprintf(stderr, "SKIP thp: the host gives no transparent huge pages here\n");
		close_world();
		return;
	}
	for (uint64_t i = 0; i + 1 < frames; i++) {
		uint64_t frame = (i * 5 + 3) % frames;

		ck_assert_uint_eq(ops->give(&w.balloon, HUGE + frame * FRAME, FRAME), 0);
		ck_assert_uint_eq(stats().held, (i + 1) * FRAME);
	}
	ck_assert_uint_eq(stats().small, frames - 1);
	ck_assert_uint_eq(resident_bytes(), BYTES);
	ck_assert_uint_eq(ops->give(&w.balloon, HUGE + ((frames - 1) * 5 + 3) % frames * FRAME, FRAME), HUGE);
	ck_assert_uint_eq(stats().held, 0);
	ck_assert_uint_eq(stats().absent, HUGE);
	ck_assert_uint_eq(resident_bytes(), BYTES - HUGE);
	ops->take(&w.balloon, HUGE + 7 * FRAME, FRAME); /* one comes back: the page is not complete */
	ck_assert_uint_eq(stats().absent, 0);
	ck_assert_uint_eq(stats().held, HUGE - FRAME);
	ck_assert_uint_eq(ops->give(&w.balloon, HUGE + 7 * FRAME, FRAME), HUGE);
	/* A run that ends in the middle: the whole pages in it go in one call. */
	ck_assert_uint_eq(ops->give(&w.balloon, HIGH + HUGE / 2, 3 * HUGE), 2 * HUGE);
	ck_assert_uint_eq(stats().held, HUGE);
	ck_assert_uint_eq(stats().runs, 3);
	close_world();
}
END_TEST

START_TEST(reported_pages_go_and_are_not_missed)
{
	if (!open_guest(_i, true))
		return;
	ck_assert_uint_eq(ops->report(&w.balloon, HUGE, 2 * HUGE), 2 * HUGE);
	ck_assert_uint_eq(resident_bytes(), BYTES - 2 * HUGE);
	ck_assert_uint_eq(stats().absent, 0);
	ck_assert_uint_eq(stats().held, 0);
	ck_assert_uint_eq(stats().reported, 2 * HUGE);
	w.host[HUGE] = 1; /* the guest uses it again, unasked */
	ck_assert_uint_eq(ops->report(&w.balloon, HUGE, HUGE), HUGE);
	ck_assert_uint_eq(w.host[HUGE], 0);
	if (w.part->page == HUGE) {
		memset(w.host + 4 * HUGE, 0x77, 4 * HUGE);
		ck_assert_uint_eq(ops->report(&w.balloon, HIGH + FRAME, HUGE - FRAME), 0);
		ck_assert_uint_eq(stats().small, 1);
		ck_assert_uint_eq(ops->report(&w.balloon, HIGH + FRAME, HUGE), 0);
		ck_assert_uint_eq(ops->report(&w.balloon, HIGH + FRAME, 2 * HUGE), HUGE);
		ck_assert_uint_eq(stats().small, 2);
		ck_assert_uint_eq(w.host[5 * HUGE - 1], 0x77);
		ck_assert_uint_eq(w.host[5 * HUGE], 0);
		ck_assert_uint_eq(w.host[6 * HUGE - 1], 0);
		ck_assert_uint_eq(w.host[6 * HUGE], 0x77);
	}
	close_world();
}
END_TEST

/* ---- what is no RAM ---- */

START_TEST(only_what_the_guest_may_write_goes)
{
	open_world(_i, false);
	map(0, 0, 4 * FRAME, false);
	map(4 * FRAME, 4 * FRAME, 2 * FRAME, true);
	map(8 * FRAME, 8 * FRAME, 2 * FRAME, false);
	memset(w.host, 0x5a, BYTES);
	ck_assert_uint_eq(ops->give(&w.balloon, 2 * FRAME, 10 * FRAME), 4 * FRAME);
	ck_assert_uint_eq(stats().strays, 6 * FRAME);
	ck_assert_uint_eq(stats().runs, 2);
	for (unsigned i = 0; i < 16; i++) {
		bool gone = i == 2 || i == 3 || i == 8 || i == 9;

		ck_assert_uint_eq(w.host[i * FRAME], gone ? 0 : 0x5a);
	}
	ck_assert_uint_eq(ops->report(&w.balloon, 4 * FRAME, 2 * FRAME), 0);
	ck_assert_uint_eq(ops->give(&w.balloon, UINT64_C(1) << 43, FRAME), 0);
	ck_assert_uint_eq(ops->report(&w.balloon, -UINT64_C(2) * FRAME, FRAME), 0);
	ops->take(&w.balloon, 20 * FRAME, FRAME);
	ck_assert_uint_eq(stats().strays, 11 * FRAME);
	ck_assert_uint_eq(stats().small, 3);
	ops->take(&w.balloon, 0, 3 * FRAME); /* two of them were never given */
	ck_assert_uint_eq(stats().taken, FRAME);
	close_world();
}
END_TEST

/* A page of the host's holds frames of several guest addresses: it goes when the last of them is given. */
START_TEST(scattered_frames_make_a_page)
{
	if (!open_world(ANONYMOUS, true))
		return;
	for (uint64_t i = 0; i < 2 * HUGE / FRAME; i++)
		map(((i * 7) % (2 * HUGE / FRAME)) * FRAME, i * FRAME, FRAME, false);
	memset(w.host, 0x5a, BYTES);
	ck_assert_uint_eq(ops->give(&w.balloon, 0, 2 * HUGE), 2 * HUGE);
	ck_assert_uint_eq(stats().absent, 2 * HUGE);
	ck_assert_uint_eq(resident_bytes(), BYTES - 2 * HUGE);
	close_world();
}
END_TEST

START_TEST(reset_gives_all_back_to_the_guest)
{
	open_guest(_i, true);
	ck_assert_uint_eq(ops->give(&w.balloon, 0, HUGE + FRAME), HUGE + (w.part->page == FRAME ? FRAME : 0));
	ops->reset(&w.balloon);
	ck_assert_uint_eq(stats().absent + stats().held, 0);
	ck_assert_uint_eq(stats().taken, stats().given);
	ck_assert(balloon_check(&w.balloon));
	ops->reset(&w.balloon);
	w.host[0] = 1;
	ck_assert_uint_eq(ops->give(&w.balloon, 0, HUGE), HUGE); /* the next driver's */
	ck_assert_uint_eq(w.host[0], 0);
	close_world();
}
END_TEST

/* The pool's last page is none of 2M. */
START_TEST(pool_that_ends_within_a_page)
{
	open_guest(ANONYMOUS, true);
	balloon_close(&w.balloon);
	w.ram.host_bytes = w.backing.bytes = BYTES - HUGE + 64 * FRAME;
	open_balloon();
	ck_assert_uint_eq(ops->give(&w.balloon, HIGH + BYTES / 2 - HUGE, HUGE), w.part->page == HUGE ? 0 : 64 * FRAME);
	ck_assert_uint_eq(stats().strays, HUGE - 64 * FRAME);
	close_world();
}
END_TEST

/* ---- several zones ---- */

/* A run over the border of a zone of huge pages and one of small ones: each gives by its own page. */
START_TEST(each_zone_gives_by_its_own_page)
{
	const uint64_t half = BYTES / 2;

	if (!open_zones(ANONYMOUS, ANONYMOUS, true))
		return;
	w.balloon.part[1].page = FRAME;
	map(0, 0, BYTES, false);
	memset(w.host, 0x5a, BYTES);
	ck_assert_uint_eq(ops->give(&w.balloon, half - HUGE - FRAME, HUGE + 3 * FRAME),
			  HUGE + (w.part->page == FRAME ? 3 : 2) * FRAME);
	ck_assert_uint_eq(stats().runs, 2); /* though it is one run of the guest's, and one on the host */
	ck_assert_uint_eq(stats().held, w.part->page == FRAME ? 0 : FRAME);
	ck_assert_uint_eq(w.host[half - 1], 0);
	ck_assert_uint_eq(w.host[half], 0);
	ck_assert_uint_eq(w.host[half + 2 * FRAME], 0x5a);
	ops->take(&w.balloon, half - FRAME, 2 * FRAME);
	ck_assert_uint_eq(stats().taken, 2 * FRAME);
	ck_assert_uint_eq(ops->report(&w.balloon, half, FRAME), FRAME);
	ck_assert_uint_eq(stats().strays, 0);
	ck_assert(balloon_check(&w.balloon));
	ops->reset(&w.balloon);
	ck_assert_uint_eq(stats().held + stats().absent, 0);
	close_world();
}
END_TEST

/* A run of the guest's goes from a place of one zone to the place behind it of the other. */
START_TEST(places_of_zones_are_told_apart)
{
	const uint64_t half = BYTES / 2;

	ck_assert(open_zones(ANONYMOUS, ANONYMOUS, false));
	map(0, 0, FRAME, false);
	map(FRAME, half + FRAME, FRAME, false);
	map(2 * FRAME, half, FRAME, false);
	memset(w.host, 0x5a, BYTES);
	ck_assert_uint_eq(ops->give(&w.balloon, 0, 2 * FRAME), 2 * FRAME);
	ck_assert_uint_eq(stats().runs, 2);
	ck_assert(w.host[0] == 0 && w.host[FRAME] == 0x5a && w.host[half] == 0x5a && w.host[half + FRAME] == 0);
	close_world();
}
END_TEST

static const struct {
	enum kind first, second;
} pairs[] = {{ANONYMOUS, MEMFD}, {MEMFD, ANONYMOUS}, {HUGETLB, ANONYMOUS}, {ANONYMOUS, HUGETLB_SHARED}};
#define PAIRS (sizeof(pairs) / sizeof(pairs[0]))

START_TEST(each_zone_goes_back_its_own_way)
{
	const uint64_t half = BYTES / 2;

	if (!open_zones(pairs[_i].first, pairs[_i].second, false))
		return;
	map(0, 0, BYTES, false);
	memset(w.host, 0x5a, BYTES);
	ck_assert_uint_eq(resident_bytes(), BYTES);
	ck_assert_uint_eq(ops->give(&w.balloon, half - HUGE, 2 * HUGE), 2 * HUGE);
	ck_assert_uint_eq(stats().runs, 2);
	ck_assert_uint_eq(stats().refused, 0);
	ck_assert_uint_eq(resident_bytes(), BYTES - 2 * HUGE);
	ck_assert(w.host[half - HUGE - 1] == 0x5a && w.host[half + HUGE] == 0x5a);
	ops->take(&w.balloon, half - HUGE, 2 * HUGE);
	ck_assert(w.host[half - HUGE] == 0 && w.host[half + HUGE - 1] == 0);
	ck_assert_uint_eq(ops->report(&w.balloon, 0, BYTES), BYTES);
	ck_assert_uint_eq(resident_bytes(), 0);
	close_world();
}
END_TEST

START_TEST(locked_memory_goes_back_and_is_locked_again)
{
	const uint64_t first = BYTES / 2 - HUGE, bytes = 2 * HUGE; /* less than most may lock */

	ck_assert(open_zones(ANONYMOUS, MEMFD, _i));
	map(0, 0, BYTES, false);
	if (mlock2(w.host + first, bytes, MLOCK_ONFAULT) != 0 || madvise(NULL, 0, 24 /* MADV_DONTNEED_LOCKED */) != 0) {
		fprintf(stderr, "SKIP locked: this process may not lock 4 MiB, or the kernel is before 5.18\n");
		close_world();
		return;
	}
	w.backing.locked = w.second.locked = true;
	memset(w.host, 0x5a, BYTES);
	ck_assert_uint_eq(ops->give(&w.balloon, first, bytes), bytes);
	ck_assert_uint_eq(stats().refused, 0);
	ck_assert_uint_eq(resident_bytes(), BYTES - bytes);
	ops->take(&w.balloon, first, bytes);
	for (uint64_t at = first; at < first + bytes; at += HUGE) {
		ck_assert_uint_eq(w.host[at], 0);
		ck_assert_int_ne(madvise(w.host + at, FRAME, MADV_DONTNEED), 0); /* it is locked */
	}
	close_world();
}
END_TEST

/* ---- where it comes again ---- */

static void policy_of(const uint8_t *at, int *mode, uint64_t *nodes)
{
	uint64_t set[16] = {0}; /* 1024 nodes */

	ck_assert_int_eq(syscall(SYS_get_mempolicy, mode, set, sizeof(set) * 8, at, MPOL_F_ADDR), 0);
	*nodes = set[0];
}

/* The rule stays with the mapping, of a memfd with the file, and what is touched again lies by it. */
START_TEST(memory_comes_again_by_its_rule)
{
	const uint64_t half = BYTES / 2;
	int mode = -1, node = -1;
	uint64_t nodes = 0;
	void *page;

	if (!open_zones(pairs[_i].first, pairs[_i].second, false))
		return;
	map(0, 0, BYTES, false);
	for (unsigned i = 0; i < 2; i++) {
		const unsigned long zero = 1; /* node 0, which has memory wherever the tests run */

		if (syscall(SYS_mbind, w.host + i * half, half, MPOL_BIND, &zero, 64UL, 0U) != 0) {
			fprintf(stderr, "SKIP rule: no mbind here\n");
			close_world();
			return;
		}
	}
	memset(w.host, 0x5a, BYTES);
	ck_assert_uint_eq(ops->give(&w.balloon, half - HUGE, 2 * HUGE), 2 * HUGE);
	ops->take(&w.balloon, half - HUGE, 2 * HUGE);
	for (uint64_t at = half - HUGE; at < half + HUGE; at += FRAME) {
		policy_of(w.host + at, &mode, &nodes);
		ck_assert(mode == MPOL_BIND && nodes == 1);
		w.host[at] = 1;
		page = w.host + at;
		ck_assert_int_eq(syscall(SYS_move_pages, 0, 1UL, &page, NULL, &node, 0), 0);
		ck_assert_int_eq(node, 0);
	}
	close_world();
}
END_TEST

/* ---- what the host refuses ---- */

START_TEST(refusal_is_counted)
{
	int fd;

	open_guest(ANONYMOUS, false);
	ck_assert_int_eq(munmap(w.host, 4 * FRAME), 0); /* there is nothing to take */
	ck_assert_uint_eq(ops->give(&w.balloon, 0, 2 * FRAME), 0);
	ck_assert_uint_eq(stats().refused, 2 * FRAME);
	ck_assert_uint_eq(ops->report(&w.balloon, 2 * FRAME, FRAME), 0);
	ck_assert_uint_eq(stats().refused, 3 * FRAME);
	ck_assert_uint_eq(stats().returned, 0);
	close_world();
	open_guest(MEMFD, false);
	fd = w.backing.fd;
	w.backing.fd = open("/dev/null", O_RDWR | O_CLOEXEC); /* has no holes */
	ck_assert_uint_eq(ops->give(&w.balloon, 0, FRAME), 0);
	ck_assert_uint_eq(stats().refused, FRAME);
	close(w.backing.fd);
	w.backing.fd = fd;
	close_world();
}
END_TEST

START_TEST(no_room_for_the_books)
{
	const struct backing large = {.fd = -1, .bytes = UINT64_C(1) << 63}, *const backing[] = {&large};
	struct failure f = {0};
	struct balloon b;

	ck_assert_int_eq(balloon_open(&b, &(struct ram){0}, NULL, backing, 1, &f), EXIT_HOST);
	ck_assert_ptr_nonnull(strstr(f.text, "--balloon: the host has no "));
	balloon_close(&b);
}
END_TEST

/* A kernel that knows no MADV_DONTNEED_LOCKED, which came together with MADV_DONTNEED of huge pages. */
static void forget_locked(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_madvise, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 24 /* MADV_DONTNEED_LOCKED */, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EINVAL),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog program = {sizeof(code) / sizeof(code[0]), code};

	ck_assert_int_eq(prctl(PR_SET_NO_NEW_PRIVS, 1UL, 0UL, 0UL, 0UL), 0);
	ck_assert_int_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

static const struct {
	struct backing backing; /* beside a plain one */
	bool old_kernel;
	int code;
	const char *why;
} refusals[] = {
	{{.kind = BACKING_DEVDAX, .fd = 3, .zone = "--memory-zone id=b"},
	 false,
	 EXIT_USAGE,
	 "--balloon: --memory-zone id=b is a device-dax: its memory is set aside for this guest, and the host has no "
	 "use "
	 "for what would come back; take another backing, or no --balloon"},
	{{.kind = BACKING_ANONYMOUS, .fd = -1, .locked = true},
	 true,
	 EXIT_HOST,
	 "--balloon: --memory mlock=on: this kernel takes no locked pages back, Linux 5.18 does; leave mlock off"},
	{{.kind = BACKING_HUGETLB, .fd = -1, .zone = "--memory-zone id=b"},
	 true,
	 EXIT_HOST,
	 "--balloon: --memory-zone id=b: this kernel takes no private huge pages back, Linux 5.18 does; take "
	 "shared=on, "
	 "or other pages"},
	{{.kind = BACKING_MEMFD, .fd = 3, .locked = true}, true, 0, ""},
	{{.kind = BACKING_HUGETLB, .fd = 3}, true, 0, ""},
	{{.kind = BACKING_ANONYMOUS, .fd = -1}, true, 0, ""},
};

START_TEST(what_cannot_go_back_is_said_at_once)
{
	const struct backing plain = {.fd = -1, .bytes = FRAME};
	const struct backing *const backing[] = {&plain, &refusals[_i].backing};
	struct failure f = {0};
	struct balloon b;

	if (refusals[_i].old_kernel)
		forget_locked();
	ck_assert_int_eq(balloon_open(&b, &(struct ram){0}, NULL, backing, 2, &f), refusals[_i].code);
	ck_assert_str_eq(f.text, refusals[_i].why);
	balloon_close(&b);
}
END_TEST

/* ---- the check ---- */

START_TEST(check_objects_to_what_is_broken)
{
	struct balloon_stats *s = &w.balloon.stats, good;

	open_guest(ANONYMOUS, true);
	ops->give(&w.balloon, 0, HUGE + FRAME);
	good = *s;
	ck_assert(balloon_check(&w.balloon));
	w.part->gone[60] ^= 16;
	ck_assert(!balloon_check(&w.balloon)); /* I1 */
	w.part->gone[60] ^= 16;
	s->taken += FRAME;
	ck_assert(!balloon_check(&w.balloon));
	*s = good;
	s->absent -= FRAME;
	ck_assert(!balloon_check(&w.balloon)); /* I2 */
	*s = good;
	s->held += FRAME;
	ck_assert(!balloon_check(&w.balloon));
	*s = good;
	s->absent_max = 0;
	ck_assert(!balloon_check(&w.balloon)); /* I3 */
	*s = good;
	s->returned = 0;
	ck_assert(!balloon_check(&w.balloon));
	*s = good;
	w.part->frames = 514;
	ck_assert(balloon_check(&w.balloon));
	w.part->gone[8] = 5;
	ck_assert(!balloon_check(&w.balloon)); /* I4 */
	w.part->gone[8] = 1;
	w.part->frames = BYTES / FRAME;
	close_world();
}
END_TEST

/* ---- against a model ---- */

struct model {
	uint8_t gone[BYTES / FRAME], there[BYTES / FRAME]; /* there: has content */
};

static struct model m;

/* Zones are one behind the other; one alone has the usual guest. */
static uint64_t place(uint64_t gpa)
{
	if (gpa < (w.second.bytes ? BYTES : BYTES / 2))
		return gpa / FRAME;
	return !w.second.bytes && gpa >= HIGH && gpa - HIGH < BYTES / 2 ? (gpa - HIGH + BYTES / 2) / FRAME : UINT64_MAX;
}

/* How many frames a page of the part that has this frame is. */
static uint64_t model_page(uint64_t frame)
{
	return w.balloon.part[w.second.bytes && frame >= BYTES / 2 / FRAME].page / FRAME;
}

static bool all_of(const uint8_t *set, uint64_t first)
{
	return memchr(set + first, 0, model_page(first)) == NULL;
}

static uint64_t model_give(uint64_t gpa, uint64_t bytes)
{
	static uint8_t before[BYTES / FRAME];
	uint64_t returned = 0;

	for (uint64_t i = 0; i < BYTES / FRAME; i += model_page(i))
		before[i] = all_of(m.gone, i);
	for (uint64_t at = gpa; at < gpa + bytes; at += FRAME)
		if (place(at) != UINT64_MAX)
			m.gone[place(at)] = 1;
	for (uint64_t i = 0; i < BYTES / FRAME; i += model_page(i)) {
		if (before[i] || !all_of(m.gone, i))
			continue;
		returned += model_page(i) * FRAME;
		memset(m.there + i, 0, model_page(i));
	}
	return returned;
}

static uint64_t model_report(uint64_t gpa, uint64_t bytes)
{
	static uint8_t named[BYTES / FRAME];
	uint64_t returned = 0;

	memset(named, 0, sizeof(named));
	for (uint64_t at = gpa; at < gpa + bytes; at += FRAME)
		if (place(at) != UINT64_MAX)
			named[place(at)] = 1;
	for (uint64_t i = 0; i < BYTES / FRAME; i += model_page(i)) {
		if (!all_of(named, i))
			continue;
		returned += model_page(i) * FRAME;
		memset(m.there + i, 0, model_page(i));
	}
	return returned;
}

static void random_word(void)
{
	uint64_t gpa = (below(2) ? 0 : w.second.bytes ? BYTES / 2 - HUGE : HIGH) + below(BYTES / 2 / FRAME + 4) * FRAME;
	uint64_t bytes = (1 + below(below(4) ? 600 : 1300)) * FRAME;

	switch (below(5)) {
	case 0:
	case 1:
		ck_assert_uint_eq(ops->give(&w.balloon, gpa, bytes), model_give(gpa, bytes));
		break;
	case 2:
		ck_assert_uint_eq(ops->report(&w.balloon, gpa, bytes), model_report(gpa, bytes));
		break;
	case 3:
		ops->take(&w.balloon, gpa, bytes);
		for (uint64_t at = gpa; at < gpa + bytes; at += FRAME)
			if (place(at) != UINT64_MAX)
				m.gone[place(at)] = 0;
		break;
	default:
		for (uint64_t i = 0; i < 200; i++) {
			uint64_t frame = below(BYTES / FRAME);

			w.host[frame * FRAME] = m.there[frame] = 1;
		}
		if (below(50) == 0) {
			ops->reset(&w.balloon);
			memset(m.gone, 0, sizeof(m.gone));
		}
	}
}

static void random_words(void)
{
	memset(&m, 0, sizeof(m));
	memset(w.host, 0, BYTES);
	for (unsigned round = 0; round < 3000; round++) {
		random_word();
		ck_assert(round % 16 || balloon_check(&w.balloon));
		for (uint64_t i = 0; i < BYTES / FRAME && round % 64 == 0; i++)
			ck_assert_uint_eq(w.host[i * FRAME], m.there[i]);
	}
	close_world();
}

START_TEST(random_words_beside_a_model)
{
	seed(81 + (unsigned)_i);
	open_guest(_i % 2, _i / 2);
	random_words();
}
END_TEST

/* One of large pages where the host has them, the other of small ones; and both of small ones. */
START_TEST(random_words_over_zones)
{
	seed(91 + (unsigned)_i);
	if (!open_zones(pairs[_i / 2].first, pairs[_i / 2].second, false))
		return;
	if (_i % 2)
		w.part->page = HUGE;
	map(0, 0, BYTES, false);
	random_words();
}
END_TEST

/* ---- the schedule ---- */

static struct balloon_schedule plan(unsigned steps, const struct balloon_step *step)
{
	struct balloon_schedule s = {.steps = steps};

	memcpy(s.step, step, steps * sizeof(*step));
	return s;
}

START_TEST(schedule_is_judged)
{
	static const struct backing huge = {.kind = BACKING_HUGETLB, .leaf = PAGETABLE_2M},
				    thp = {.kind = BACKING_ANONYMOUS, .leaf = PAGETABLE_2M},
				    plain = {.kind = BACKING_MEMFD, .leaf = PAGETABLE_4K};
	static const struct {
		unsigned steps;
		struct balloon_step step[3];
		const struct backing *backing;
		const char *why; /* NULL: fine */
	} cases[] = {
		{0, {{0, 0}}, &huge, NULL},
		{3, {{0, 0}, {1, 512 * MIB}, {2, 0}}, &huge, NULL},
		{1, {{0, 1024 * MIB}}, &plain, NULL},
		{1,
		 {{0, 1024 * MIB + 1}},
		 &plain,
		 "--balloon asks for 1073741825 bytes of a guest that has 1 GiB of RAM"},
		{1, {{1, 0}}, &plain, "--balloon size=SIZE@SECONDS: each time must be later than the one before it"},
		{2,
		 {{0, 0}, {0, 1}},
		 &plain,
		 "--balloon size=SIZE@SECONDS: each time must be later than the one before it"},
		{3,
		 {{0, 0}, {5, FRAME}, {4, 0}},
		 &plain,
		 "--balloon size=SIZE@SECONDS: each time must be later than the one before it"},
		{1, {{0, FRAME}}, &plain, NULL},
		{1,
		 {{0, MIB}},
		 &thp,
		 "--balloon asks for 1 MiB, which is too small to help: the guest's memory goes back to the host in "
		 "pages of "
		 "2 MiB; ask for more, or use --memory thp=off"},
		{2,
		 {{0, 0}, {1, HUGE - 1}},
		 &huge,
		 "--balloon asks for 2097151 bytes, which is too small to help: the guest's memory goes back to the "
		 "host in "
		 "pages of 2 MiB"},
	};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct balloon_schedule s = plan(cases[i].steps, cases[i].step);
		struct failure f = {0};

		ck_assert_int_eq(balloon_schedule_check(&s, 1024 * MIB, &cases[i].backing, 1, &f),
				 cases[i].why ? EXIT_USAGE : 0);
		ck_assert_str_eq(f.text, cases[i].why ? cases[i].why : "");
	}
}
END_TEST

/* It can help if it does in one zone. */
START_TEST(schedule_is_judged_by_the_smallest_page)
{
	static const struct backing huge = {.kind = BACKING_HUGETLB, .leaf = PAGETABLE_1G},
				    thp = {.kind = BACKING_ANONYMOUS, .leaf = PAGETABLE_2M};
	const struct backing *const backing[] = {&huge, &thp, &huge};
	static const struct balloon_step small = {0, MIB}, enough = {0, HUGE};
	struct balloon_schedule s = plan(1, &enough);
	struct failure f = {0};

	ck_assert_int_eq(balloon_schedule_check(&s, 1024 * MIB, backing, 3, &f), 0);
	s = plan(1, &small);
	ck_assert_int_eq(balloon_schedule_check(&s, 1024 * MIB, backing, 3, &f), EXIT_USAGE);
	ck_assert_ptr_nonnull(strstr(f.text, "in pages of 2 MiB; ask for more, or use --memory thp=off"));
}
END_TEST

START_TEST(timer_sets_the_target_when_it_is_due)
{
	static const struct balloon_step steps[] = {{0, HUGE}, {1000, 4 * HUGE}, {3000, 0}};
	struct balloon_schedule s = plan(3, steps);
	struct virtio_balloon device;
	struct virtio_balloon_config config = {.name = "balloon", .ops = ops, .owner = &w.balloon};
	struct balloon_timer t;
	struct fake_dma f;
	struct dma dma[4];

	fake_dma_init(&f);
	for (unsigned i = 0; i < 4; i++)
		fake_dma_device(&f, &dma[i], NULL, i);
	config.dma = dma;
	virtio_balloon_init(&device, &config);
	balloon_timer_init(&t, &s, 50);
	ck_assert_uint_eq(balloon_timer_run(&t, &device, 49), 50);
	ck_assert_uint_eq(device.target, 0);
	ck_assert_uint_eq(balloon_timer_run(&t, &device, 50), 1050);
	ck_assert_uint_eq(device.target, HUGE / FRAME);
	ck_assert_uint_eq(balloon_timer_run(&t, &device, 1049), 1050);
	ck_assert_uint_eq(device.target, HUGE / FRAME);
	ck_assert_uint_eq(balloon_timer_run(&t, &device, 1050), 3050);
	ck_assert_uint_eq(device.target, 4 * HUGE / FRAME);
	ck_assert_uint_eq(balloon_timer_run(&t, &device, 9000), LOOP_NEVER);
	ck_assert_uint_eq(device.target, 0);
	s.statistics_ns = 100;
	balloon_timer_init(&t, &s, 0);
	ck_assert_uint_eq(balloon_timer_run(&t, &device, 0), 100);
	ck_assert_uint_eq(balloon_timer_run(&t, &device, 250), 350); /* no burst for what was missed */
	ck_assert_uint_eq(balloon_timer_run(&t, &device, 980), 1000);
	ck_assert_uint_eq(balloon_timer_run(&t, &device, 5000), 5100);
	fake_dma_free(&f);
}
END_TEST

START_TEST(statistics_are_kept)
{
	uint64_t value[VIRTIO_BALLOON_S_TAGS] = {1, 2, 3};

	open_guest(ANONYMOUS, false);
	ck_assert(!w.balloon.has_statistics);
	ops->statistics(&w.balloon, value);
	ck_assert(w.balloon.has_statistics);
	ck_assert_mem_eq(w.balloon.statistics, value, sizeof(value));
	close_world();
}
END_TEST

Suite *balloon_suite(void)
{
	Suite *s = suite_create("balloon");
	TCase *c = tcase_create("balloon");

	tcase_add_loop_test(c, memory_goes_back_and_comes_again_as_zeros, 0, KINDS);
	tcase_add_loop_test(c, frames_go_one_by_one_where_pages_are_small, 0, HUGETLB);
	tcase_add_loop_test(c, huge_page_goes_when_it_is_complete, 0, KINDS);
	tcase_add_loop_test(c, reported_pages_go_and_are_not_missed, 0, KINDS);
	tcase_add_loop_test(c, only_what_the_guest_may_write_goes, 0, HUGETLB);
	tcase_add_test(c, scattered_frames_make_a_page);
	tcase_add_loop_test(c, reset_gives_all_back_to_the_guest, 0, HUGETLB);
	tcase_add_test(c, pool_that_ends_within_a_page);
	tcase_add_test(c, each_zone_gives_by_its_own_page);
	tcase_add_test(c, places_of_zones_are_told_apart);
	tcase_add_loop_test(c, each_zone_goes_back_its_own_way, 0, PAIRS);
	tcase_add_loop_test(c, locked_memory_goes_back_and_is_locked_again, 0, 2);
	tcase_add_loop_test(c, memory_comes_again_by_its_rule, 0, PAIRS);
	tcase_add_test(c, refusal_is_counted);
	tcase_add_loop_test(c, what_cannot_go_back_is_said_at_once, 0, sizeof(refusals) / sizeof(refusals[0]));
	tcase_add_test(c, no_room_for_the_books);
	tcase_add_test(c, check_objects_to_what_is_broken);
	tcase_add_loop_test(c, random_words_beside_a_model, 0, 4);
	tcase_add_loop_test(c, random_words_over_zones, 0, 2 * PAIRS);
	tcase_add_test(c, schedule_is_judged);
	tcase_add_test(c, schedule_is_judged_by_the_smallest_page);
	tcase_add_test(c, timer_sets_the_target_when_it_is_due);
	tcase_add_test(c, statistics_are_kept);
	tcase_set_timeout(c, 60);
	suite_add_tcase(s, c);
	return s;
}
