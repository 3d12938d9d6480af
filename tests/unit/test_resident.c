/* The resident truth, against the kernel's text read plainly: the whole of smaps, numa_maps and status, a line at a
 * time. Not seen: a device-dax that is one, several nodes (both: the rig), pages that are swapped out or merged,
 * hugetlb on a host that has none free. */
#include "vmm/resident.h"

#include <check.h>
#undef fail
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/fake_host.h"
#include "tests/unit/random.h"
#include "vmm/resident_impl.h"
#include "vmm/sandbox.h"

Suite *resident_suite(void);

#define MIB  (UINT64_C(1) << 20)
#define PAGE UINT64_C(4096)
#define SIZE (32 * MIB)

static struct resident r;
static struct resident_use use[4];
static struct resident_sum sum;
static struct fake_host fake;

static void setup(void)
{
	resident_open(&r);
	fake_host_open(&fake);
}

static void teardown(void)
{
	fake_host_close(&fake);
	resident_close(&r);
}

/* ---- the plain way ---- */

struct plain {
	uint64_t resident, huge, shared, node[64];
};

static uint64_t kib_of(const char *line, const char *key)
{
	char name[64];
	uint64_t kib;

	return sscanf(line, "%63[^:]: %" SCNu64 " kB", name, &kib) == 2 && strcmp(name, key) == 0 ? kib << 10 : 0;
}

/* All mappings that lie within it. */
static struct plain plainly(const struct backing *b)
{
	const uint64_t from = (uintptr_t)b->host, to = from + b->bytes;
	FILE *smaps = fopen("/proc/self/smaps", "re"), *maps = fopen("/proc/self/numa_maps", "re");
	struct plain p = {0};
	uint64_t first, end;
	char line[4096];
	bool in = false;

	while (fgets(line, sizeof(line), smaps)) {
		if (sscanf(line, "%" SCNx64 "-%" SCNx64 " ", &first, &end) == 2) {
			in = first >= from && end <= to;
			ck_assert_msg(in || end <= from || first >= to, "another mapping reaches into it");
		} else if (in) {
			uint64_t huge = kib_of(line, "Private_Hugetlb") + kib_of(line, "Shared_Hugetlb");

			p.resident += kib_of(line, "Rss") + huge;
			p.huge += kib_of(line, "AnonHugePages") + kib_of(line, "ShmemPmdMapped") + huge;
			p.shared += kib_of(line, "Shared_Clean") + kib_of(line, "Shared_Dirty") +
				    kib_of(line, "Shared_Hugetlb");
		}
	}
	fclose(smaps);
	while (maps && fgets(line, sizeof(line), maps)) {
		const char *size = strstr(line, "kernelpagesize_kB=");
		const uint64_t page = size ? strtoull(strchr(size, '=') + 1, NULL, 10) << 10 : PAGE;

		first = strtoull(line, NULL, 16);
		for (unsigned id = 0; first >= from && first < to && id < 64; id++) {
			char word[8];
			const char *found;

			snprintf(word, sizeof(word), " N%u=", id);
			found = strstr(line, word);
			p.node[id] += found ? strtoull(strchr(found, '=') + 1, NULL, 10) * page : 0;
		}
	}
	if (maps)
		fclose(maps);
	return p;
}

static uint64_t plain_high(void)
{
	FILE *status = fopen("/proc/self/status", "re");
	char line[4096];
	uint64_t high = 0;

	while (fgets(line, sizeof(line), status))
		high += kib_of(line, "VmHWM");
	fclose(status);
	return high;
}

/* ---- one backing ---- */

static struct backing open_one(bool thp, bool shared)
{
	const struct backing_config config = {.bytes = SIZE, .thp = thp, .shared = shared};
	struct failure f = {0};
	struct backing b;

	ck_assert_msg(backing_open(&b, &config, &f) == 0, "%s", f.text);
	return b;
}

static void look(const struct backing *b)
{
	resident_read(&r, &b, 1, &use[0], &sum);
}

static void is_plain(const struct backing *b)
{
	const struct plain p = plainly(b);

	ck_assert(use[0].known);
	ck_assert_uint_eq(use[0].configured, b->bytes);
	ck_assert_uint_eq(use[0].resident, p.resident);
	ck_assert_uint_eq(use[0].huge, p.huge);
	ck_assert_uint_eq(use[0].shared, p.shared);
	ck_assert(use[0].where_known);
	ck_assert_uint_eq(use[0].where.absent_bytes, b->bytes - p.resident);
	for (unsigned id = 0; r.maps >= 0 && id < 64; id++)
		ck_assert_uint_eq(use[0].where.bytes[id], p.node[id]);
	ck_assert_mem_eq(&sum.all, &use[0], sizeof(use[0]));
}

/* As a host of several nodes has it: numa_maps is read. */
static void say_nodes(const char *text)
{
	char path[128];

	fake_host_put(&fake, text, "/has_memory");
	snprintf(path, sizeof(path), "%s/has_memory", fake.root);
	close(r.nodes);
	r.nodes = open(path, O_RDONLY | O_CLOEXEC);
	ck_assert_int_ge(r.nodes, 0);
}

static void change(const struct backing *b)
{
	const uint64_t at = below(SIZE - 4 * MIB) / PAGE * PAGE, bytes = below(4 * MIB) + 1;

	switch (below(4)) {
	case 0:
		madvise(b->host + at, bytes, MADV_DONTNEED);
		break;
	case 1:
		for (uint64_t i = 0; i < bytes; i += PAGE) /* read, it is the page of zeros, of 4K or 2M */
			(void)*(volatile uint8_t *)(b->host + at + i);
		break;
	default:
		memset(b->host + at, 1, bytes);
	}
}

/* By pagemap or by smaps, with huge pages or without, private or not, on one node or several. */
START_TEST(whatever_was_touched)
{
	struct backing b = open_one(_i & 1, _i & 2);

	if (_i & 4)
		r.tried = true; /* and there is none */
	if (_i & 8)
		r.merges = true;
	if (_i & 16)
		say_nodes("0-1\n");
	seed((unsigned)_i);
	look(&b);
	ck_assert_uint_eq(use[0].resident, 0);
	is_plain(&b);
	for (unsigned round = 0; round < 20; round++) {
		change(&b);
		if (round % 5 == 4) /* several mappings */
			mprotect(b.host + below(SIZE / MIB) * MIB, 5 * PAGE, PROT_READ);
		look(&b);
		is_plain(&b);
		mprotect(b.host, SIZE, PROT_READ | PROT_WRITE);
	}
	backing_close(&b);
}
END_TEST

START_TEST(page_of_zeros_is_nobody_s)
{
	struct backing b = open_one(_i & 1, false);

	for (uint64_t at = 0; at < SIZE; at += PAGE)
		(void)*(volatile uint8_t *)(b.host + at);
	look(&b);
	is_plain(&b);
	ck_assert_uint_eq(use[0].resident, 0);
	b.host[0] = 1;
	look(&b);
	is_plain(&b);
	ck_assert_uint_ge(use[0].resident, PAGE);
	backing_close(&b);
}
END_TEST

/* More of them than one scan tells. */
START_TEST(pages_in_no_row)
{
	struct backing b = open_one(false, false);

	for (uint64_t at = 0; at < 4 * MIB; at += 2 * PAGE)
		b.host[at] = 1;
	b.host[SIZE - 1] = 1;
	look(&b);
	is_plain(&b);
	ck_assert_uint_eq(use[0].resident, 2 * MIB + PAGE);
	backing_close(&b);
}
END_TEST

/* A child has mapped a part of it, too: of huge pages not their first 4K. */
START_TEST(shared_is_what_another_maps)
{
	struct backing b = open_one(_i & 1, true);
	int ready[2], over[2], status;
	char byte = 0;
	pid_t child;

	if (_i & 2)
		say_nodes("0-1\n");
	memset(b.host, 1, 8 * MIB);
	look(&b);
	ck_assert_uint_eq(use[0].shared, 0);
	ck_assert(pipe(ready) == 0 && pipe(over) == 0);
	child = fork();
	if (child == 0) {
		close(over[1]);
		munmap(b.host, SIZE);
		if (mmap(b.host, 3 * MIB, PROT_READ, MAP_SHARED | MAP_POPULATE, b.fd, MIB) == MAP_FAILED)
			_exit(1);
		(void)!write(ready[1], &byte, 1);
		_exit(read(over[0], &byte, 1) != 0);
	}
	ck_assert_int_eq(read(ready[0], &byte, 1), 1);
	look(&b);
	is_plain(&b);
	ck_assert_uint_eq(use[0].resident, 8 * MIB);
	ck_assert_uint_ge(use[0].shared, 3 * MIB);
	ck_assert_uint_le(use[0].shared, _i & 1 ? 4 * MIB : 3 * MIB);
	close(over[1]);
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(status, 0);
	look(&b);
	ck_assert_uint_eq(use[0].shared, 0);
	backing_close(&b);
}
END_TEST

START_TEST(huge_pages_that_were_reserved)
{
	const struct backing_config config = {
		.bytes = 4 * MIB, .hugepages = true, .huge = PAGETABLE_2M, .shared = _i & 1};
	struct failure f = {0};
	struct backing b;

	if (backing_open(&b, &config, &f)) {
		printf("SKIP huge_pages_that_were_reserved: %s\n", f.text);
		return;
	}
	b.host[0] = 1;
	look(&b);
	is_plain(&b);
	ck_assert_uint_eq(use[0].resident, 2 * MIB);
	ck_assert_uint_eq(use[0].huge, 2 * MIB);
	ck_assert_uint_ge(sum.high, plain_high() - MIB + 2 * MIB);
	backing_close(&b);
}
END_TEST

/* ---- several ---- */

/* The kernel holds both as one mapping: what is before ours is not counted for all that. */
START_TEST(neighbour_of_one_mapping)
{
	struct backing b = open_one(_i & 1, false), upper = b;

	if (_i & 2)
		r.tried = r.scans = true;
	say_nodes("0-1\n");
	memset(b.host, 1, SIZE / 2 + 6 * MIB);
	upper.host += SIZE / 2;
	upper.bytes -= SIZE / 2;
	look(&upper);
	ck_assert(use[0].known && use[0].where_known);
	if (r.zeros)
		ck_assert_uint_eq(use[0].resident, 6 * MIB);
	backing_close(&b);
}
END_TEST

/* A kernel from 6.7 to 6.15: what it says of memfd is taken, of private memory not. */
START_TEST(kernel_that_takes_zeros_for_memory)
{
	struct backing b = open_one(_i & 1, _i & 2);

	r.tried = r.scans = true;
	say_nodes("0-1\n");
	for (uint64_t at = 0; at < SIZE / 2; at += PAGE)
		(void)*(volatile uint8_t *)(b.host + at);
	memset(b.host + SIZE / 2, 1, 5 * MIB);
	look(&b);
	is_plain(&b);
	backing_close(&b);
}
END_TEST

/* numa_maps cannot be read: all but the nodes is known. */
START_TEST(kernel_that_loses_its_nodes)
{
	struct backing b = open_one(_i & 1, _i & 2);
	const struct plain p = (memset(b.host, 1, 5 * MIB), plainly(&b));

	say_nodes("0-1\n");
	close(r.maps);
	r.maps = open("/", O_RDONLY | O_CLOEXEC);
	look(&b);
	ck_assert(use[0].known && !use[0].where_known);
	ck_assert_uint_eq(use[0].resident, p.resident);
	ck_assert_uint_eq(use[0].huge, p.huge);
	backing_close(&b);
}
END_TEST

/* Whatever the order of addresses. */
START_TEST(several_at_once)
{
	static const unsigned orders[][4] = {{0, 1, 2, 3}, {3, 2, 1, 0}, {2, 0, 3, 1}, {1, 3, 0, 2}};
	const struct backing *ask[4];
	struct backing b[4];
	uint64_t all = 0;

	if (_i & 4)
		say_nodes("0,7\n");
	for (unsigned i = 0; i < 4; i++) {
		b[i] = open_one(i & 1, i & 2);
		memset(b[i].host, 1, (i + 1) * 4 * MIB);
		ask[orders[_i & 3][i]] = &b[i];
		all += (i + 1) * 4 * MIB;
	}
	resident_read(&r, ask, 4, use, &sum);
	for (unsigned i = 0; i < 4; i++) {
		const struct plain p = plainly(ask[i]);

		ck_assert(use[i].known && use[i].where_known);
		ck_assert_uint_eq(use[i].resident, p.resident);
		ck_assert_uint_eq(use[i].huge, p.huge);
		for (unsigned id = 0; r.maps >= 0 && id < 64; id++)
			ck_assert_uint_eq(use[i].where.bytes[id], p.node[id]);
	}
	ck_assert(sum.all.known && sum.all.where_known);
	ck_assert_uint_eq(sum.all.resident, all);
	ck_assert_uint_eq(sum.all.configured, 4 * SIZE);
	ck_assert_uint_eq(where_elsewhere(&sum.all.where, &(struct ids){0}), all);
	ck_assert_uint_eq(sum.all.where.absent_bytes, 4 * SIZE - all);
	for (unsigned i = 0; i < 4; i++)
		backing_close(&b[i]);
}
END_TEST

/* The kernel counts it nowhere; its node is the device's. */
START_TEST(device_is_resident_on_its_node)
{
	struct backing dax = {.kind = BACKING_DEVDAX, .bytes = 8 * MIB, .fd = -1, .node = 3, .leaf = PAGETABLE_2M};
	struct backing b = open_one(false, false);
	const struct backing *const ask[] = {&dax, &b};

	dax.host = mmap(NULL, 8 * MIB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	b.host[0] = 1;
	say_nodes(_i ? "0-3\n" : "0\n");
	resident_read(&r, ask, 2, use, &sum);
	ck_assert(use[0].known && use[0].where_known && sum.all.known && sum.all.where_known);
	ck_assert_uint_eq(use[0].resident, 8 * MIB);
	ck_assert_uint_eq(use[0].huge, 8 * MIB);
	ck_assert_uint_eq(use[0].shared, 0);
	ck_assert_uint_eq(use[0].where.bytes[3], 8 * MIB);
	ck_assert_uint_eq(use[0].where.absent_bytes, 0);
	ck_assert_uint_eq(use[1].resident, PAGE);
	ck_assert_uint_eq(sum.all.where.bytes[3], 8 * MIB);
	ck_assert_uint_eq(sum.all.where.bytes[0], use[1].where.bytes[0]);
	dax.node = BACKING_NODE_ANY;
	dax.leaf = PAGETABLE_4K;
	resident_read(&r, ask, 2, use, &sum);
	ck_assert_uint_eq(use[0].huge, 0);
	ck_assert_int_eq(use[0].where_known, _i == 0); /* the only node that there is */
	ck_assert_uint_eq(use[0].where.bytes[0], _i ? 0 : 8 * MIB);
	ck_assert_int_eq(sum.all.where_known, _i == 0);
	ck_assert(use[1].where_known);
	munmap(dax.host, 8 * MIB);
	backing_close(&b);
}
END_TEST

/* ---- the most that there was ---- */

START_TEST(high_water_stays)
{
	struct backing b = open_one(_i & 1, _i & 2);
	uint64_t before, most;

	look(&b);
	ck_assert(sum.high_known);
	before = sum.high;
	memset(b.host, 1, SIZE);
	look(&b);
	ck_assert_uint_ge(sum.high, before + SIZE - MIB); /* the kernel's counters are of each CPU, and late */
	most = sum.high;
	madvise(b.host, SIZE, _i & 2 ? MADV_REMOVE : MADV_DONTNEED);
	look(&b);
	ck_assert_uint_eq(use[0].resident, 0);
	ck_assert_uint_ge(sum.high + MIB, most);
	ck_assert_uint_le(sum.high, plain_high());
	backing_close(&b);
}
END_TEST

/* What VmHWM has not: as if it were hugetlb. */
START_TEST(high_water_of_what_the_kernel_has_none_of)
{
	struct backing b = open_one(false, false);
	uint64_t own;

	look(&b);
	own = sum.high;
	b.kind = BACKING_HUGETLB;
	memset(b.host, 1, 16 * MIB);
	look(&b);
	ck_assert_uint_eq(r.most_beside, 16 * MIB);
	ck_assert_uint_ge(sum.high, own + 2 * 16 * MIB - MIB); /* plain memory is in both */
	madvise(b.host, 12 * MIB, MADV_DONTNEED);
	look(&b);
	ck_assert_uint_eq(use[0].resident, 4 * MIB);
	ck_assert_uint_eq(r.most_beside, 16 * MIB);
	ck_assert_uint_ge(sum.high, own + 16 * MIB);
	b.kind = BACKING_DEVDAX;
	look(&b);
	ck_assert_uint_eq(r.most_beside, SIZE);
	b.kind = BACKING_ANONYMOUS;
	backing_close(&b);
}
END_TEST

/* Kernels since 6.15 count a device's pages as the process's. */
START_TEST(device_that_is_counted_is_not_counted_twice)
{
	struct backing b = open_one(false, true);

	memset(b.host, 1, SIZE);
	b.kind = BACKING_DEVDAX;
	look(&b);
	ck_assert_uint_eq(use[0].resident, SIZE);
	ck_assert_uint_eq(r.most_beside, 0);
	ck_assert_uint_le(sum.high, plain_high());
	b.kind = BACKING_MEMFD;
	backing_close(&b);
}
END_TEST

/* ---- hosts that tell less ---- */

START_TEST(host_that_tells_nothing)
{
	struct backing b = open_one(false, _i);

	resident_close(&r);
	r = (struct resident){-1, -1, -1, -1, -1, true, false, false, false, 0};
	b.host[0] = 1;
	look(&b);
	ck_assert(!use[0].known && !use[0].where_known && !sum.all.known && !sum.all.where_known && !sum.high_known);
	ck_assert_uint_eq(use[0].resident + use[0].huge + use[0].shared + sum.high, 0);
	resident_open(&r);
	backing_close(&b);
}
END_TEST

struct host_nodes {
	const char *text; /* NULL: no such file */
	bool maps, known;
	unsigned node;
};

static const struct host_nodes nodes[] = {
	{"5\n", true, true, 5},	     {"5", false, true, 5},    {NULL, false, true, 0}, /* no NUMA */
	{NULL, true, true, 0},	     {"0-1\n", true, true, 0}, {"0,2\n", true, true, 0},    {"0-1\n", false, false, 0},
	{"none\n", false, false, 0}, {"", false, false, 0},    {"1024\n", false, false, 0},
};

START_TEST(which_node_it_is)
{
	struct backing b = open_one(false, false);
	const struct host_nodes *h = &nodes[_i];

	if (h->text)
		say_nodes(h->text);
	else {
		close(r.nodes);
		r.nodes = -1;
	}
	if (!h->maps) {
		close(r.maps);
		r.maps = -1;
	} else if (r.maps < 0) {
		backing_close(&b);
		return;
	}
	memset(b.host, 1, MIB);
	look(&b);
	ck_assert(use[0].known);
	ck_assert_int_eq(use[0].where_known, h->known);
	if (h->known && h->node)
		ck_assert_uint_eq(use[0].where.bytes[h->node], MIB);
	ck_assert_uint_eq(where_elsewhere(&use[0].where, &(struct ids){0}), h->known ? MIB : 0);
	backing_close(&b);
}
END_TEST

/* A kernel before 6.7: the request is none. */
START_TEST(kernel_without_a_scan)
{
	struct backing b = open_one(_i & 1, false);

	resident_close(&r);
	fake_host_refuse_if(SYS_ioctl, 1, 0xc0606610, ENOTTY);
	resident_open(&r);
	ck_assert(!r.scans && !r.zeros);
	memset(b.host, 1, 5 * MIB);
	look(&b);
	is_plain(&b);
	backing_close(&b);
}
END_TEST

/* As in a run: opened before the step down, read after it. */
START_TEST(inside_the_sandbox)
{
	const struct sandbox_config sandbox = {.filter = true};
	struct backing b = open_one(_i & 1, _i & 2);
	struct failure f = {0};
	int status;
	pid_t child;

	if (SANDBOX_SANITIZED) {
		puts("SKIP inside_the_sandbox: a sanitizer makes calls of its own");
		return;
	}
	if (_i & 4)
		say_nodes("0-1\n");
	child = fork();
	if (child == 0) {
		resident_close(&r); /* they are the parent's */
		resident_open(&r);
		memset(b.host, 1, 2 * MIB);
		if (sandbox_enter(&sandbox, &f))
			_exit(1);
		look(&b);
		_exit(use[0].known && use[0].where_known && sum.high_known && use[0].resident == 2 * MIB ? 0 : 2);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(status, 0);
	backing_close(&b);
}
END_TEST

/* ---- text ---- */

struct told {
	unsigned lines, most;
	char last[RESIDENT_LINE + 2];
};

static bool hear(void *self, const char *line)
{
	struct told *t = self;

	snprintf(t->last, sizeof(t->last), "%s", line);
	return ++t->lines < t->most;
}

static struct told tell(const char *text, unsigned most)
{
	struct told t = {.most = most};
	char path[128];
	int file;

	fake_host_put(&fake, text, "/lines");
	snprintf(path, sizeof(path), "%s/lines", fake.root);
	file = open(path, O_RDONLY | O_CLOEXEC);
	resident_lines(file, hear, &t);
	close(file);
	return t;
}

START_TEST(lines_of_any_length)
{
	char text[8192];
	struct told t;

	ck_assert_uint_eq(tell("", 9).lines, 0);
	ck_assert_uint_eq(tell("a", 9).lines, 0); /* it does not end */
	t = tell("a\n\nb\nc", 9);
	ck_assert_uint_eq(t.lines, 3);
	ck_assert_str_eq(t.last, "b");
	ck_assert_str_eq(tell("a\nb\nc\n", 2).last, "b");
	resident_lines(-1, hear, &t);
	ck_assert_uint_eq(t.lines, 3);
	for (unsigned length = 1000; length < 1040; length++) { /* around the piece that is read */
		memset(text, 'x', length);
		strcpy(text + length, "\nRss:  7 kB\n");
		t = tell(text, 9);
		ck_assert_uint_eq(t.lines, 2);
		ck_assert_str_eq(t.last, "Rss:  7 kB");
		t = tell(text, 1);
		ck_assert_uint_eq(strlen(t.last), RESIDENT_LINE);
	}
}
END_TEST

START_TEST(values)
{
	uint64_t bytes = 1;

	ck_assert(resident_value("Rss:                  12 kB", "Rss", &bytes));
	ck_assert_uint_eq(bytes, 12 << 10);
	ck_assert(resident_value("VmHWM:\t    3 kB", "VmHWM", &bytes));
	ck_assert_uint_eq(bytes, 3 << 10);
	ck_assert(!resident_value("Rss: 12 mB", "Rss", &bytes));
	ck_assert(!resident_value("Rss: 12", "Rss", &bytes));
	ck_assert(!resident_value("Rssx: 12 kB", "Rss", &bytes));
	ck_assert(!resident_value("Rs", "Rss", &bytes));
}
END_TEST

Suite *resident_suite(void)
{
	Suite *s = suite_create("resident");
	TCase *t = tcase_create("resident");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_loop_test(t, whatever_was_touched, 0, 32);
	tcase_add_loop_test(t, page_of_zeros_is_nobody_s, 0, 2);
	tcase_add_test(t, pages_in_no_row);
	tcase_add_loop_test(t, shared_is_what_another_maps, 0, 4);
	tcase_add_loop_test(t, huge_pages_that_were_reserved, 0, 2);
	tcase_add_loop_test(t, neighbour_of_one_mapping, 0, 4);
	tcase_add_loop_test(t, kernel_that_takes_zeros_for_memory, 0, 4);
	tcase_add_loop_test(t, kernel_that_loses_its_nodes, 0, 4);
	tcase_add_loop_test(t, several_at_once, 0, 8);
	tcase_add_loop_test(t, device_is_resident_on_its_node, 0, 2);
	tcase_add_loop_test(t, high_water_stays, 0, 4);
	tcase_add_test(t, high_water_of_what_the_kernel_has_none_of);
	tcase_add_test(t, device_that_is_counted_is_not_counted_twice);
	tcase_add_loop_test(t, host_that_tells_nothing, 0, 2);
	tcase_add_loop_test(t, which_node_it_is, 0, sizeof(nodes) / sizeof(nodes[0]));
	tcase_add_loop_test(t, kernel_without_a_scan, 0, 2);
	tcase_add_loop_test(t, inside_the_sandbox, 0, 8);
	tcase_add_test(t, lines_of_any_length);
	tcase_add_test(t, values);
	suite_add_tcase(s, t);
	return s;
}
