/* Where pages are: this machine's memory, on as many nodes as it has (in the rig: two), by move_pages and by numa_maps,
 * against what was touched and asked; and numa_maps' text, as kernels write it and as none does.
 * Not seen: pages that cannot be moved. */
#include "vmm/where.h"

#include <check.h>
#undef fail
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <numaif.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/unit/fake_host.h"
#include "tests/unit/random.h"
#include "vmm/numa_map.h"
#include "vmm/where_impl.h"

Suite *where_suite(void);

#define MIB  (UINT64_C(1) << 20)
#define PAGE UINT64_C(4096)
#define SIZE (16 * MIB) /* more than one batch, and no multiple of it with a page less */

static struct numa host;
static struct where w;
static int maps;

static void setup(void)
{
	struct failure f = {0};

	ck_assert_msg(numa_open(&host, &f) == 0, "%s", f.text);
	maps = where_maps_open();
}

static void teardown(void)
{
	close(maps);
	numa_close_library(&host);
}

/* Between two pages that nothing may join it with. */
static uint8_t *map_memory(int flags)
{
	uint8_t *memory = mmap(NULL, SIZE + 4 * MIB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	ck_assert_ptr_ne(memory, MAP_FAILED);
	memory = (uint8_t *)(((uintptr_t)memory + 2 * MIB) & ~(2 * MIB - 1));
	ck_assert_ptr_ne(mmap(memory, SIZE, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS | MAP_FIXED, -1, 0),
			 MAP_FAILED);
	madvise(memory, SIZE, MADV_NOHUGEPAGE);
	return memory;
}

static void look(uint8_t *memory, uint64_t bytes)
{
	struct failure f = {0};
	uint64_t all;

	ck_assert_msg(where_pages(memory, bytes, PAGE, &w, &f) == 0, "%s", f.text);
	all = w.absent_bytes + w.unknown_bytes;
	for (unsigned id = 0; id < WHERE_IDS_MAX; id++)
		all += w.bytes[id];
	ck_assert_uint_eq(all, bytes);
}

static uint64_t on_all(void)
{
	return where_elsewhere(&w, &(struct ids){0});
}

static struct ids only(unsigned id)
{
	struct ids s = {0};

	ids_add(&s, id);
	return s;
}

START_TEST(what_was_touched_is_there)
{
	uint8_t *memory = map_memory(MAP_PRIVATE);
	struct ids nodes = {0};

	look(memory, SIZE);
	ck_assert_uint_eq(w.absent_bytes, SIZE);
	memset(memory + MIB, 1, 3 * PAGE);
	memory[SIZE - 1] = 1;
	look(memory, SIZE);
	ck_assert_uint_eq(on_all(), 4 * PAGE);
	look(memory, SIZE - PAGE);
	ck_assert_uint_eq(on_all(), 3 * PAGE);
	look(memory + MIB + PAGE, PAGE);
	ck_assert_uint_eq(on_all(), PAGE);
	memset(memory, 1, SIZE);
	look(memory, SIZE);
	ck_assert_uint_eq(w.absent_bytes, 0);
	for (unsigned i = 0; i < host.nodes; i++)
		ids_add(&nodes, host.node[i]);
	ck_assert_uint_eq(where_elsewhere(&w, &nodes), 0);
	look(memory, 0);
	ck_assert_uint_eq(w.absent_bytes, 0);
	munmap(memory, SIZE);
	look(memory, SIZE); /* not even mapped */
	ck_assert_uint_eq(w.absent_bytes, SIZE);
}
END_TEST

/* All share a page of zeros until they write. */
START_TEST(read_is_not_touched)
{
	uint8_t *memory = map_memory(MAP_PRIVATE);
	volatile uint8_t sum = 0;

	for (unsigned i = 0; i < 8; i++)
		sum = sum + memory[i * PAGE];
	look(memory, SIZE);
	ck_assert_uint_eq(w.absent_bytes, SIZE);
	munmap(memory, SIZE);
}
END_TEST

/* Every second page by a step of two. */
START_TEST(steps_of_larger_pages)
{
	uint8_t *memory = map_memory(MAP_PRIVATE);
	struct failure f = {0};

	for (unsigned i = 0; i < 64; i += 2)
		memory[i * PAGE] = 1;
	ck_assert_int_eq(where_pages(memory, 64 * PAGE, 2 * PAGE, &w, &f), 0);
	ck_assert_uint_eq(on_all(), 64 * PAGE);
	ck_assert_int_eq(where_pages(memory, SIZE, 2 * MIB, &w, &f), 0);
	ck_assert_uint_eq(on_all(), 2 * MIB);
	ck_assert_uint_eq(w.absent_bytes, SIZE - 2 * MIB);
	munmap(memory, SIZE);
}
END_TEST

/* Each node in turn, by each rule of one node: every page, as the kernel has it. */
START_TEST(bound_before_the_first_touch)
{
	for (unsigned i = 0; i < host.nodes; i++) {
		uint8_t *memory = map_memory(_i & 1 ? MAP_SHARED : MAP_PRIVATE);
		const struct numa_rule rule = {_i & 2 ? NUMA_PREFERRED : NUMA_BIND, only(host.node[i])};
		struct failure f = {0};
		const char *note;

		ck_assert_msg(numa_rule_set(&host, &rule, memory, SIZE, false, &note, &f) == 0, "%s", f.text);
		ck_assert_ptr_null(note);
		memset(memory, 1, SIZE);
		look(memory, SIZE);
		ck_assert_uint_eq(w.bytes[host.node[i]], SIZE);
		ck_assert_uint_eq(where_elsewhere(&w, &rule.nodes), 0);
		munmap(memory, SIZE);
	}
}
END_TEST

START_TEST(interleaved)
{
	uint8_t *memory = map_memory(MAP_PRIVATE);
	struct numa_rule rule = {.policy = (enum numa_policy)_i};
	struct failure f = {0};
	const char *note;

	for (unsigned i = 0; i < host.nodes; i++)
		ids_add(&rule.nodes, host.node[i]);
	ck_assert_msg(numa_rule_set(&host, &rule, memory, SIZE, false, &note, &f) == 0, "%s", f.text);
	memset(memory, 1, SIZE);
	look(memory, SIZE);
	ck_assert_uint_eq(on_all(), SIZE);
	if (_i == NUMA_INTERLEAVE || note)
		for (unsigned i = 0; i < host.nodes; i++)
			ck_assert_uint_le(SIZE / host.nodes, w.bytes[host.node[i]] + PAGE);
	munmap(memory, SIZE);
}
END_TEST

/* Touched on the first node, then asked to be on the last. */
START_TEST(what_is_elsewhere_is_moved)
{
	uint8_t *memory = map_memory(MAP_PRIVATE);
	struct numa_rule rule = {NUMA_BIND, only(host.node[0])};
	unsigned last = host.node[host.nodes - 1];
	struct failure f = {0};
	const char *note;

	ck_assert_int_eq(numa_rule_set(&host, &rule, memory, SIZE, false, &note, &f), 0);
	for (uint64_t i = 0; i < SIZE / 2; i += 8)
		*(uint64_t *)(void *)(memory + i) = i;
	look(memory, SIZE);
	ck_assert_uint_eq(w.bytes[host.node[0]], SIZE / 2);
	rule.nodes = only(last);
	ck_assert_msg(where_repair(&host, &rule, memory, SIZE, PAGE, UINT64_MAX, &w, &f) == 0, "%s", f.text);
	ck_assert_uint_eq(where_elsewhere(&w, &rule.nodes), 0);
	ck_assert_uint_eq(w.bytes[last], SIZE / 2);
	ck_assert_uint_eq(w.absent_bytes, SIZE / 2);
	for (uint64_t i = 0; i < SIZE / 2; i += 8)
		if (*(uint64_t *)(void *)(memory + i) != i)
			ck_abort_msg("byte %lu changed", (unsigned long)i);
	memset(memory, 1, SIZE); /* the rule holds for what comes later */
	look(memory, SIZE);
	ck_assert_uint_eq(w.bytes[last], SIZE);
	munmap(memory, SIZE);
}
END_TEST

START_TEST(repair_is_refused)
{
	uint8_t *memory = map_memory(MAP_PRIVATE);
	const struct numa_rule rule = {NUMA_BIND, only(1000)};
	struct failure f = {0};

	ck_assert_int_eq(where_repair(&host, &rule, memory, SIZE, PAGE, UINT64_MAX, &w, &f), EXIT_HOST);
	ck_assert_ptr_nonnull(strstr(f.text, "1000"));
	munmap(memory, SIZE);
}
END_TEST

START_TEST(kernel_that_does_not_answer)
{
	static const struct {
		int error;
		const char *sentence;
	} answers[] = {{ENOSYS, "it was built without NUMA"}, {EPERM, "Operation not permitted"}};
	uint8_t *memory = map_memory(MAP_PRIVATE);
	struct failure f = {0};

	fake_host_refuse_if(SYS_move_pages, 0, 0, answers[_i].error);
	ck_assert_int_eq(where_pages(memory, SIZE, PAGE, &w, &f), EXIT_HOST);
	ck_assert_ptr_nonnull(strstr(f.text, answers[_i].sentence));
	munmap(memory, SIZE);
}
END_TEST

/* By libnuma, on a host with a node that is none. It takes the rule, and not to move anything. */
START_TEST(repair_is_refused_half_way)
{
	struct numa two = {.library = dlopen("libnuma.so.1", RTLD_NOW), .nodes = 2, .node = {host.node[0], 900}};
	struct numa_rule rule = {NUMA_BIND, only(host.node[0])};
	uint8_t *memory = map_memory(MAP_PRIVATE);
	struct failure f = {0};

	if (!two.library)
		return;
	ck_assert_msg(where_repair(&two, &rule, memory, SIZE, PAGE, UINT64_MAX, &w, &f) == 0, "%s", f.text);
	rule.nodes = only(900);
	ck_assert_int_eq(where_repair(&two, &rule, memory, SIZE, PAGE, UINT64_MAX, &w, &f), EXIT_HOST);
	ck_assert_ptr_nonnull(strstr(f.text, "a node is not online, or outside the cpuset"));
	f = (struct failure){0};
	munmap(memory, PAGE); /* a rule on a hole is refused when it has done the rest */
	rule.nodes = only(host.node[0]);
	ck_assert_int_eq(where_repair(&two, &rule, memory, SIZE, PAGE, UINT64_MAX, &w, &f), EXIT_HOST);
	numa_close_library(&two);
	munmap(memory, SIZE);
}
END_TEST

/* The rule that prefers is there again afterwards; where nothing can be bound, nothing is moved. */
START_TEST(pages_move_as_if_bound)
{
	struct numa two = {.library = dlopen("libnuma.so.1", RTLD_NOW), .nodes = 2, .node = {host.node[0], 900}};
	const struct numa_rule rule = {NUMA_PREFERRED, only(host.node[0])};
	uint8_t *memory = map_memory(MAP_PRIVATE);
	struct failure f = {0};
	int policy = -1;

	if (!two.library)
		return;
	ck_assert_msg(where_repair(&two, &rule, memory, SIZE, PAGE, UINT64_MAX, &w, &f) == 0, "%s", f.text);
	ck_assert_int_eq(syscall(SYS_get_mempolicy, &policy, NULL, 0, memory, MPOL_F_ADDR), 0);
	ck_assert_int_eq(policy, MPOL_PREFERRED);
	fake_host_refuse_if(SYS_mbind, 2, MPOL_BIND, EPERM);
	ck_assert_int_eq(where_repair(&two, &rule, memory, SIZE, PAGE, UINT64_MAX, &w, &f), EXIT_HOST);
	ck_assert_ptr_nonnull(strstr(f.text, "the policy bind of nodes"));
	numa_close_library(&two);
	munmap(memory, SIZE);
}
END_TEST

/* No more than may be, and that from the first on. */
START_TEST(some_of_it_is_moved)
{
	const struct numa_rule first = {NUMA_BIND, only(host.node[0])};
	const struct numa_rule last = {NUMA_PREFERRED, only(host.node[host.nodes - 1])};
	uint8_t *memory = map_memory(MAP_PRIVATE);
	struct failure f = {0};
	const char *note;

	if (host.nodes < 2)
		return;
	ck_assert_int_eq(numa_rule_set(&host, &first, memory, SIZE, false, &note, &f), 0);
	memset(memory, 1, SIZE);
	ck_assert_int_eq(where_repair(&host, &last, memory, SIZE, PAGE, SIZE / 4 + PAGE - 1, &w, &f), 0);
	ck_assert_uint_eq(w.bytes[host.node[host.nodes - 1]], SIZE / 4);
	look(memory, SIZE / 4);
	ck_assert_uint_eq(where_elsewhere(&w, &last.nodes), 0);
	ck_assert_int_eq(where_repair(&host, &last, memory, SIZE, PAGE, 0, &w, &f), 0);
	ck_assert_uint_eq(w.bytes[host.node[host.nodes - 1]], SIZE / 4);
	munmap(memory, SIZE);
}
END_TEST

/* numa_maps' sums are move_pages' pages, whatever was touched. */
START_TEST(both_say_the_same)
{
	uint8_t *memory = map_memory(_i & 1 ? MAP_SHARED : MAP_PRIVATE);
	static struct where sums, before;

	if (maps < 0)
		return;
	if (_i & 2)
		madvise(memory, SIZE, MADV_HUGEPAGE);
	seed((unsigned)_i);
	for (unsigned round = 0; round < 10; round++) {
		memset(memory + below(SIZE - MIB) / PAGE * PAGE, 1, below(MIB));
		if (round % 4 == 3)
			madvise(memory + below(SIZE - MIB) / PAGE * PAGE, MIB / 2, MADV_DONTNEED);
		if (_i & 4) /* several mappings in one range */
			mprotect(memory + 4 * MIB, (round + 1) * PAGE, PROT_READ | PROT_WRITE | PROT_EXEC);
		do { /* until the kernel made no huge page of some meanwhile */
			look(memory, SIZE);
			before = w;
			ck_assert(where_resident(
				maps, &(struct where_range){.host = memory, .bytes = SIZE, .out = &sums}, 1));
			look(memory, SIZE);
		} while (memcmp(&before, &w, sizeof(w)) != 0);
		if (_i & 1) /* what is not mapped here, or in the page cache alone, only move_pages leaves out */
			ck_assert_uint_le(where_elsewhere(&sums, &(struct ids){0}), SIZE);
		else
			ck_assert_mem_eq(&w, &sums, sizeof(w));
	}
	munmap(memory, SIZE);
}
END_TEST

START_TEST(no_numa_maps)
{
	static const struct where nothing;
	int folder = open("/", O_RDONLY | O_CLOEXEC);

	ck_assert(!where_resident(-1, &(struct where_range){.host = &w, .bytes = 4096, .out = &w}, 1));
	ck_assert_mem_eq(&w, &nothing, sizeof(w));
	ck_assert(!where_resident(folder, &(struct where_range){.host = &w, .bytes = 4096, .out = &w}, 1));
	ck_assert_mem_eq(&w, &nothing, sizeof(w));
	close(folder);
}
END_TEST

/* ---- text ---- */

static struct where_scan scan;
static struct where_range told;

/* In pieces of this many bytes. True: it was read to the end. */
static bool feed(const char *text, size_t piece, uint64_t from, uint64_t to)
{
	size_t length = strlen(text);

	told = (struct where_range){
		.host = (const void *)(uintptr_t)from, .bytes = to - from, .out = &w, .maps_max = 7};
	where_scan_begin(&scan, &told, 1);
	for (size_t at = 0; at < length; at += piece)
		if (!where_scan_feed(&scan, text + at, piece < length - at ? piece : length - at))
			return false;
	return true;
}

/* Of a 6.12 kernel, shortened. */
static const char real[] =
	"557000000000 default file=/usr/bin/slat mapped=4 mapmax=2 active=0 N0=4 kernelpagesize_kB=4\n"
	"7f0000000000 default anon=3 dirty=3 N0=1 N1=2 kernelpagesize_kB=4\n"
	"7f0000200000 bind:1 anon=5 dirty=5 active=0 N0=1 N1=4 kernelpagesize_kB=4\n"
	"7f0000400000 prefer=static:1 file=/anon_hugepage\\040(deleted) huge dirty=2 N1=2 kernelpagesize_kB=2048\n"
	"7f0000800000 default stack anon=9 dirty=9 N63=9 kernelpagesize_kB=4\n";

START_TEST(lines_of_a_kernel)
{
	for (size_t piece = 1; piece < 200; piece++) {
		ck_assert(!feed(real, piece, 0x7f0000200000, 0x7f0000800000));
		ck_assert_uint_eq(w.bytes[0], PAGE);
		ck_assert_uint_eq(w.bytes[1], 4 * PAGE + 4 * MIB);
		ck_assert_uint_eq(on_all(), 5 * PAGE + 4 * MIB);
	}
	ck_assert(!feed(real, 64, 0x7f0000201000, 0x7f0000202000)); /* within one mapping */
	ck_assert_uint_eq(on_all(), 5 * PAGE);
	ck_assert(feed(real, 64, 0x7f0000801000, 0x7f0000802000)); /* the last */
	ck_assert_uint_eq(w.bytes[63], 9 * PAGE);
	ck_assert_uint_eq(on_all(), 9 * PAGE);
	ck_assert(!feed(real, 64, 0x1000, 0x2000)); /* below the first */
	ck_assert_uint_eq(on_all(), 0);
}
END_TEST

/* Of all lines of a range; "mapmax" is there from 2 on. */
START_TEST(how_often_pages_are_mapped)
{
	static const char text[] = "1000 default file=/mapmax=9 N0=1 mapmax=5 kernelpagesize_kB=4\n"
				   "3000 default mapmax=3 N0=1 kernelpagesize_kB=4\n"
				   "4000 default mapmax=x N0=1 kernelpagesize_kB=4\n"
				   "5000 default mapmax=2 N0=1 kernelpagesize_kB=4\n"
				   "7000 default N0=1 kernelpagesize_kB=4\n"
				   "8000 default mapmax=4 N0=1\n";

	for (size_t piece = 1; piece < 70; piece++) {
		feed(text, piece, 0x3000, 0x7000);
		ck_assert_uint_eq(told.maps_max, 3);
		ck_assert(!told.joined);
		feed(text, piece, 0x7000, 0x8000);
		ck_assert_uint_eq(told.maps_max, 0);
		ck_assert(!told.joined);
		feed(text, piece, 0x6000, 0x7000); /* of the mapping that begins at 0x5000 */
		ck_assert_uint_eq(told.maps_max, 2);
		ck_assert(told.joined);
		feed(text, piece, 0x2000, 0x3000);
		ck_assert_uint_eq(told.maps_max, 5);
		feed("", piece, 0x2000, 0x3000);
		ck_assert_uint_eq(told.maps_max, 0);
		ck_assert(!told.joined);
	}
}
END_TEST

/* Each range has what one pass for it alone finds, whatever lies between. */
START_TEST(ranges_of_one_pass)
{
	static const uint64_t at[][2] = {{0x557000000000, 0x557000004000},
					 {0x7f0000000000, 0x7f0000200000},
					 {0x7f0000201000, 0x7f0000202000},
					 {0x7f0000400000, 0x7f0000800000},
					 {0x7f0000800000, 0x7f0000809000}};
	static const uint64_t sums[] = {4 * PAGE, 3 * PAGE, 5 * PAGE, 4 * MIB, 9 * PAGE};
	static struct where out[5];
	struct where_range range[5];

	for (unsigned set = 0; set < 32; set++)
		for (size_t piece = 1; piece < 70; piece += 3) {
			unsigned ranges = 0;

			for (unsigned i = 0; i < 5; i++)
				if (set & 1u << i)
					range[ranges++] =
						(struct where_range){.host = (const void *)(uintptr_t)at[i][0],
								     .bytes = at[i][1] - at[i][0],
								     .out = &out[i]};
			memset(out, 0xff, sizeof(out));
			where_scan_begin(&scan, range, ranges);
			for (size_t from = 0; from < sizeof(real) - 1; from += piece)
				if (!where_scan_feed(&scan, real + from,
						     piece < sizeof(real) - 1 - from ? piece : sizeof(real) - 1 - from))
					break;
			for (unsigned i = 0; i < 5; i++)
				if (set & 1u << i)
					ck_assert_uint_eq(where_elsewhere(&out[i], &(struct ids){0}), sums[i]);
		}
}
END_TEST

START_TEST(no_range)
{
	where_scan_begin(&scan, NULL, 0);
	ck_assert(!where_scan_feed(&scan, real, sizeof(real) - 1));
	ck_assert_int_eq(where_resident(maps, NULL, 0), maps >= 0);
}
END_TEST

struct odd {
	const char *line;
	uint64_t node0, node1023;
};

static const struct odd odds[] = {
	{"1000 N0=1 kernelpagesize_kB=4\n", PAGE, 0},
	{"1000 N0=1\n", PAGE, 0}, /* kernels before 3.14 */
	{"1000 N1023=2 N1024=7 N99999999999999999999=1 kernelpagesize_kB=4\n", 0, 2 * PAGE},
	{"1000 N=1 N0 N0= N0=x N0:5 Nx=1 n0=1 kernelpagesize_kB=\n", 0, 0},
	{"1000 N0=1099511627776 N1023=18446744073709551616\n", 0, 0},
	{"zz N0=1\n", 0, 0},
	{"\n \n N0=1\n\n", 0, 0},
	{"1000 file=/a\\040N0=4 N0=1\n", PAGE, 0},
	{"1000 xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxN0=1 N0=3\n", 3 * PAGE, 0},
	{"1000 N0=1", 0, 0}, /* a line that does not end */
	{"800 N0=1\n1000 N1023=1\n", 0, PAGE},
	{"1000 N0=1\n1800 N0=1\n2000 N0=1\n", 2 * PAGE, 0},
	{"1000 N0=1 kernelpagesize_kB=99999999999999999999\n", PAGE, 0},
};

START_TEST(lines_of_none)
{
	for (size_t piece = 1; piece < 20; piece++) {
		feed(odds[_i].line, piece, 0x1000, 0x2000);
		ck_assert_uint_eq(w.bytes[0], odds[_i].node0);
		ck_assert_uint_eq(w.bytes[1023], odds[_i].node1023);
		ck_assert_uint_eq(on_all(), odds[_i].node0 + odds[_i].node1023);
	}
}
END_TEST

/* However the text is cut, the sums are the same. */
START_TEST(any_bytes)
{
	static const char *const words[] = {"1000",
					    "1fff",
					    "2000",
					    "0",
					    " ",
					    " ",
					    "\n",
					    "N0=",
					    "N1=",
					    "N5=7",
					    "=",
					    "N",
					    "9",
					    "kernelpagesize_kB=4",
					    "kernelpagesize_kB=",
					    "x",
					    "-1",
					    "huge",
					    "file=/\\040"};
	static struct where whole;

	seed(5);
	for (unsigned round = 0; round < 3000; round++) {
		char text[1024] = "1000 ";

		for (unsigned i = (unsigned)below(40); i > 0; i--)
			strcat(text, words[below(18)]);
		feed(text, sizeof(text), 0x1000, 0x2000);
		whole = w;
		feed(text, 1 + below(30), 0x1000, 0x2000);
		if (memcmp(&whole, &w, sizeof(w)) != 0)
			ck_abort_msg("cut, it says something else: %s", text);
	}
}
END_TEST

Suite *where_suite(void)
{
	Suite *s = suite_create("where");
	TCase *t = tcase_create("where"), *text = tcase_create("text");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, what_was_touched_is_there);
	tcase_add_test(t, read_is_not_touched);
	tcase_add_test(t, steps_of_larger_pages);
	tcase_add_loop_test(t, bound_before_the_first_touch, 0, 4);
	tcase_add_loop_test(t, interleaved, NUMA_INTERLEAVE, NUMA_WEIGHTED + 1);
	tcase_add_test(t, what_is_elsewhere_is_moved);
	tcase_add_test(t, some_of_it_is_moved);
	tcase_add_test(t, pages_move_as_if_bound);
	tcase_add_test(t, repair_is_refused);
	tcase_add_test(t, repair_is_refused_half_way);
	tcase_add_loop_test(t, kernel_that_does_not_answer, 0, 2);
	tcase_add_loop_test(t, both_say_the_same, 0, 8);
	tcase_add_test(t, no_numa_maps);
	tcase_add_test(text, lines_of_a_kernel);
	tcase_add_test(text, how_often_pages_are_mapped);
	tcase_add_test(text, ranges_of_one_pass);
	tcase_add_test(t, no_range);
	tcase_add_loop_test(text, lines_of_none, 0, sizeof(odds) / sizeof(odds[0]));
	tcase_add_test(text, any_bytes);
	suite_add_tcase(s, t);
	suite_add_tcase(s, text);
	return s;
}
