/* RAM by zones, on the host that the tests run on: of several nodes or of one. What is
 * refused before a pool is opened, what the zones come to, and that a refusal at any
 * allocation leaves nothing. What it does not see: pages on the wrong node, which
 * needs several (the rig has such hosts). */
#include <check.h>
#undef fail
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "vmm/layout.h"
#include "vmm/zones.h"

Suite *zones_suite(void);

#define MIB		(UINT64_C(1) << 20)
#define GIB		(UINT64_C(1) << 30)
#define WORDS_MAX	32
#define SLOTS		509u
#define ALLOCATIONS_MAX 50u

static struct memory memory;
static struct host host;
static struct run_options options;
static struct block_list blocks;
static struct zones *zones;
static char copy[512];

static void parse(const char *line)
{
	struct failure f = {0};
	char *argv[WORDS_MAX];
	int argc = 0;

	ck_assert_uint_lt(strlen(line), sizeof(copy));
	strcpy(copy, line);
	for (char *word = strtok(copy, " "); word && argc < WORDS_MAX; word = strtok(NULL, " "))
		argv[argc++] = word;
	ck_assert_msg(options_parse(argc, argv, &options, &f) == 0, "%s: %s", line, f.text);
}

static void open_host(void)
{
	struct failure f = {0};

	zones = NULL;
	blocks = (struct block_list){0};
	ck_assert_int_eq(memory_open(&memory, &f), 0);
	ck_assert_int_eq(host_open(&host, &memory, &f), 0);
}

static void close_host(void)
{
	heap_fail_after(&memory.heap, 0);
	block_list_free(&blocks);
	zones_close(zones);
	host_close(&host);
	ck_assert_uint_eq(heap_stats_read(&memory.heap).allocations, 0);
	memory_close(&memory);
}

static int make(const char *line, struct failure *f)
{
	parse(line);
	zones = zones_open(&memory, &options, &host, SLOTS, &blocks, f);
	ck_assert((zones != NULL) == (f->code == 0));
	return f->code;
}

static void made(const char *line)
{
	struct failure f = {0};

	ck_assert_msg(make(line, &f) == 0, "%s: %s", line, f.text);
}

/* Z1, and that no pool is another's. */
static void check_zones(void)
{
	uint64_t bytes = 0, cut = 0;

	for (unsigned i = 0; i < zones->count; i++) {
		const struct pool *p = zones->zone[i].pool;

		bytes += zones->zone[i].bytes;
		ck_assert_uint_eq(p->backing.bytes, zones->zone[i].bytes);
		for (unsigned k = 0; k < i; k++)
			ck_assert_ptr_ne(p, zones->zone[k].pool);
		if (host.mirror)
			ck_assert_ptr_eq(p->backing.host, host.mirror + p->base.n * FRAME_BYTES);
	}
	ck_assert_uint_eq(bytes, options.memory.bytes);
	for (uint32_t i = 0; i < blocks.count; i++) {
		cut += blocks.block[i].bytes;
		ck_assert_ptr_eq(host_pool_of(&host, blocks.block[i].first), blocks.block[i].pool);
	}
	ck_assert_uint_eq(cut, bytes);
}

static bool has_room(uint64_t bytes)
{
	struct sysinfo all;

	return sysinfo(&all) == 0 && ((uint64_t)all.totalram + all.totalswap) * all.mem_unit >= bytes;
}

/* ---- what is asked for ---- */

START_TEST(only_who_asks_gets_zones)
{
	static const char *const asks[] = {"k --memory-zone id=a,size=4M",
					   "k --numa guest_numa_id=0",
					   "k --latency 9ns",
					   "k --placement policy=pack",
					   "k --strict",
					   "k --placement host_numa_node=0"};

	parse("k --memory size=1G,prefault=on --pool size=2G");
	ck_assert(!zones_asked(&options));
	for (size_t i = 0; i < sizeof(asks) / sizeof(asks[0]); i++) {
		parse(asks[i]);
		ck_assert_msg(zones_asked(&options), "%s", asks[i]);
	}
}
END_TEST

static const struct {
	const char *line, *sentence;
	int code;
} refusals[] = {
	{"k --placement policy=pack --memory size=8M --pool size=16M,taken=1M+4K",
	 "--pool is for RAM of one pool that lies anywhere: not with --numa, --placement, --latency or --strict",
	 EXIT_USAGE},
	{"k --numa guest_numa_id=0 --memory size=8M --pool size=16M",
	 "--pool is for RAM of one pool that lies anywhere: not with --numa, --placement, --latency or --strict",
	 EXIT_USAGE},
	{"k --strict --memory-zone id=a,size=4M",
	 "--strict: none of the zones was asked from a node; give host_numa_node=", EXIT_USAGE},
	{"k --memory-zone id=a,size=4M,host_numa_node=1000 --memory-zone id=b,size=4M",
	 "--memory-zone id=a: ", EXIT_HOST},
	{"k --memory-zone id=a,size=4M --memory-zone id=b,size=4M,host_numa_node=1000",
	 "--memory-zone id=b: ", EXIT_HOST},
	{"k --strict --memory size=4000T --placement policy=local", "--placement: the nodes that may be used have ",
	 EXIT_HOST},
	{"k --strict --memory-zone id=a,size=4M,host_numa_node=0 --memory-zone id=b,size=4000T,host_numa_node=0",
	 "--memory-zone id=b: --strict binds 4", EXIT_HOST},
	{"k --memory-zone id=a,size=4M --memory-zone id=b,size=4M,backing=devdax,file=/dev/null", "/dev/null",
	 EXIT_HOST},
	{"k --memory size=4M --latency 100ns --latencies /nonexistent/t",
	 "--latencies /nonexistent/t: cannot be opened: No such file or directory", EXIT_HOST},
	{"k --memory size=4M --placement policy=local --latencies /dev/null",
	 "--latencies /dev/null: not a regular file", EXIT_HOST},
};

START_TEST(refused_with_a_sentence)
{
	struct failure f = {0};

	ck_assert_int_eq(make(refusals[_i].line, &f), refusals[_i].code);
	ck_assert_msg(strstr(f.text, refusals[_i].sentence) != NULL, "%s", f.text);
}
END_TEST

/* ---- what they come to ---- */

START_TEST(zones_are_pools_in_the_order_of_addresses)
{
	made("k --memory-zone id=a,size=6M id=b,size=2M,backing=memfd id=c,size=20K,prefault=on");
	check_zones();
	ck_assert_uint_eq(zones->count, 3);
	ck_assert_uint_eq(blocks.count, 3);
	ck_assert_ptr_nonnull(host.mirror);
	ck_assert_str_eq(zones->zone[1].id, "b");
	ck_assert_int_eq(zones->zone[1].pool->backing.kind, BACKING_MEMFD);
	ck_assert(zones->zone[2].pool->prefault && !zones->zone[0].pool->prefault);
	/* Sentences of later come from the same names. */
	ck_assert_str_eq(zones->zone[2].pool->backing.zone, "--memory-zone id=c");
	ck_assert_uint_eq(zones->topology.nodes, 0);
}
END_TEST

START_TEST(one_zone_needs_no_mirror)
{
	made("k --memory-zone id=a,size=8M");
	check_zones();
	ck_assert_ptr_null(host.mirror);
}
END_TEST

START_TEST(scattered_zones_are_in_pieces)
{
	made("k --memory contiguous=scatter,extent_size=1M --memory-zone id=a,size=4M id=b,size=3M");
	check_zones();
	ck_assert_uint_eq(blocks.count, 7);
}
END_TEST

START_TEST(all_zones_share_the_memslots)
{
	struct failure f = {0};

	ck_assert_int_eq(
		make("k --memory contiguous=scatter,extent_size=4K --memory-zone id=a,size=1M id=b,size=1M", &f),
		EXIT_HOST);
	ck_assert_ptr_nonnull(strstr(f.text, "256 extents of 1 MiB, and KVM has 253 memslots"));
}
END_TEST

START_TEST(the_hole_lies_within_a_zone)
{
	const struct topology_range *r;

	if (!has_room(4 * GIB))
		return;
	made("k --cpus boot=2 --memory-zone id=a,size=1G id=b,size=3G --numa guest_numa_id=0,cpus=0,memory_zones=a "
	     "guest_numa_id=1,cpus=1,memory_zones=b");
	check_zones();
	ck_assert_uint_eq(zones->topology.nodes, 2);
	ck_assert_uint_eq(zones->topology.ranges, 3);
	r = zones->topology.range;
	ck_assert(r[0].gpa == 0 && r[0].bytes == GIB && r[0].node == 0);
	ck_assert(r[1].gpa == GIB && r[1].bytes == LAYOUT_HOLE_START - GIB && r[1].node == 1);
	ck_assert(r[2].gpa == LAYOUT_HOLE_END && r[2].bytes == 4 * GIB - LAYOUT_HOLE_START && r[2].node == 1);
}
END_TEST

START_TEST(as_many_zones_as_there_can_be)
{
	char line[512] = "k --memory-zone";

	for (unsigned i = 0; i < ZONES_MAX; i++)
		snprintf(line + strlen(line), sizeof(line) - strlen(line), " id=z%u,size=1M", i);
	made(line);
	check_zones();
	ck_assert_uint_eq(zones->count, ZONES_MAX);
}
END_TEST

/* A share is whole large pages; what the guest does not have of the last is not taken. */
START_TEST(a_placement_is_as_large_as_was_asked)
{
	static const char *const policies[] = {"local", "pack", "spread", "interleave"};
	char line[128];

	snprintf(line, sizeof(line), "k --cpus boot=2 --memory size=5M --placement policy=%s", policies[_i]);
	made(line);
	check_zones();
	for (unsigned i = 0; i < zones->count; i++) {
		ck_assert(zones->zone[i].ruled);
		ck_assert_str_eq(zones->zone[i].id, "mem0");
		ck_assert(i + 1 == zones->count || zones->zone[i].bytes % (2 * MIB) == 0);
	}
}
END_TEST

/* ---- by which latencies ---- */

#define TABLE "/tmp/slat-zones.XXXXXX"

/* As slat probe would write it for this host: so many ps from each node to itself, and nothing else. */
static void write_table(char *name, unsigned local_ps)
{
	static struct numa_map map;
	struct failure f = {0};
	const int fd = mkstemp(name);
	FILE *file = fdopen(fd, "w");

	ck_assert(file && numa_map_read("", &map, &f) == 0);
	fputs("{\"nodes\": [", file);
	for (unsigned i = 0; i < map.nodes; i++)
		fprintf(file, "%s{\"id\": %u}", i ? ", " : "", map.node[i].id);
	fputs("], \"distances\": [", file);
	for (unsigned i = 0; i < map.nodes; i++)
		for (unsigned k = 0; k < map.nodes; k++)
			fprintf(file, "%s%u%s",
				k   ? ", "
				: i ? ", ["
				    : "[",
				map.distance[i][k], k + 1 == map.nodes ? "]" : "");
	fputs("], \"latencies\": {\"source\": \"measured\", \"ps\": [", file);
	for (unsigned i = 0; i < map.nodes; i++)
		for (unsigned k = 0; k < map.nodes; k++) {
			fputs(k ? ", " : i ? ", [" : "[", file);
			fprintf(file, k == i ? "%u" : "null", local_ps);
			fputs(k + 1 == map.nodes ? "]" : "", file);
		}
	fputs("]}}", file);
	ck_assert_int_eq(fclose(file), 0);
}

START_TEST(a_placement_by_a_table)
{
	static const char *const options_of[] = {"--latency 123ns", "--placement policy=local"};
	char name[] = TABLE, line[128];

	write_table(name, 123000);
	snprintf(line, sizeof(line), "k --memory size=8M --latencies %s %s", name, options_of[_i]);
	made(line);
	unlink(name);
	check_zones();
	ck_assert_uint_eq(zones->latency_ps, 123000);
	ck_assert_int_eq(zones->latency_source, zones->map.nodes == 1 ? LATENCY_MEASURED : LATENCY_SCALED);
}
END_TEST

START_TEST(a_table_too_slow)
{
	char name[] = TABLE, line[128];
	struct failure f = {0};

	write_table(name, 123000);
	snprintf(line, sizeof(line), "k --memory size=8M --latency 122.9ns --latencies %s", name);
	ck_assert_int_eq(make(line, &f), EXIT_HOST);
	unlink(name);
	ck_assert_ptr_nonnull(strstr(f.text, "the best that 8 MiB can have now is 123.000ns (latencies: measured"));
}
END_TEST

/* Of each allocation that is refused nothing is left, those of JSON included. */
START_TEST(a_table_without_memory)
{
	char name[] = TABLE, line[128];
	unsigned n = 0;
	int code;

	write_table(name, 123000);
	snprintf(line, sizeof(line), "k --memory size=8M --latency 200ns --latencies %s", name);
	do {
		struct failure f = {0};

		memory_lend_json(&memory);
		heap_fail_after(&memory.heap, ++n);
		code = make(line, &f);
		ck_assert((code != 0) == (f.text[0] != '\0'));
		close_host();
		open_host();
	} while (code && n < 4 * ALLOCATIONS_MAX);
	unlink(name);
	ck_assert(code == 0 && n > 20);
}
END_TEST

/* ---- where they are ---- */

START_TEST(pages_are_counted_once_they_are_touched)
{
	struct failure f = {0};
	char line[128];
	uint64_t bytes = 0;

	snprintf(line, sizeof(line), "k --strict --memory-zone id=a,size=4M,prefault=on,host_numa_node=%u id=b,size=4M",
		 host.numa.node[0]);
	made(line);
	ck_assert_int_eq(backing_prefault(&zones->zone[0].pool->backing, 0, 4 * MIB, &f), 0);
	if (zones_verify(zones, &f)) /* a kernel, or a container, that does not say */
		ck_assert_ptr_nonnull(strstr(f.text, "does not say on which nodes"));
	if (!zones->zone[0].verified)
		return;
	for (unsigned id = 0; id < WHERE_IDS_MAX; id++)
		bytes += zones->zone[0].where.bytes[id];
	ck_assert_uint_eq(bytes, 4 * MIB);
	ck_assert_uint_eq(zones->zone[0].where.bytes[host.numa.node[0]], 4 * MIB);
	ck_assert(!zones->zone[1].verified);
}
END_TEST

START_TEST(threads_are_kept_beside_memory)
{
	cpu_set_t before, after;
	struct failure f = {0};
	char line[160];

	ck_assert_int_eq(sched_getaffinity(0, sizeof(before), &before), 0);
	snprintf(line, sizeof(line), "k --cpus boot=2 --memory size=8M --placement policy=local,host_numa_node=%u",
		 host.numa.node[0]);
	made(line);
	for (unsigned cpu = 0; cpu < 2; cpu++)
		ck_assert_uint_eq(zones->map.node[zones->cpu_place[cpu]].id, host.numa.node[0]);
	ck_assert_int_eq(zones_keep_cpu(zones, 1, &f), 0);
	ck_assert_int_eq(zones_keep_others(zones, &f), 0);
	ck_assert_int_eq(sched_getaffinity(0, sizeof(after), &after), 0);
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &after))
			ck_assert(CPU_ISSET(cpu, &before) && zones->map.cpu_node[cpu] == zones->cpu_place[0]);
	ck_assert_int_eq(sched_setaffinity(0, sizeof(before), &before), 0);
}
END_TEST

START_TEST(who_is_kept_nowhere_runs_anywhere)
{
	cpu_set_t before, after;
	struct failure f = {0};

	ck_assert_int_eq(sched_getaffinity(0, sizeof(before), &before), 0);
	made("k --cpus boot=2 --memory-zone id=a,size=4M id=b,size=4M");
	ck_assert_int_eq(zones_keep_cpu(zones, 0, &f), 0);
	ck_assert_int_eq(zones_keep_others(zones, &f), 0);
	ck_assert_int_eq(sched_getaffinity(0, sizeof(after), &after), 0);
	ck_assert(CPU_EQUAL(&before, &after));
}
END_TEST

/* ---- refused half way ---- */

START_TEST(each_allocation_refused)
{
	static const char *const lines[] = {
		"k --memory-zone id=a,size=4M id=b,size=4M,backing=memfd id=c,size=4M",
		"k --memory size=8M,contiguous=scatter --placement policy=spread",
	};
	bool done = false;
	unsigned n = 0;

	while (!done && n < ALLOCATIONS_MAX) {
		struct failure f = {0};

		heap_fail_after(&memory.heap, ++n);
		done = make(lines[_i], &f) == 0;
		ck_assert(done || (f.code == EXIT_HOST && strncmp(f.text, "no ", 3) == 0));
		close_host();
		open_host();
	}
	ck_assert(done && n > 4);
}
END_TEST

Suite *zones_suite(void)
{
	Suite *s = suite_create("zones");
	TCase *t = tcase_create("zones");

	tcase_set_timeout(t, 30);
	tcase_add_checked_fixture(t, open_host, close_host);
	tcase_add_test(t, only_who_asks_gets_zones);
	tcase_add_loop_test(t, refused_with_a_sentence, 0, sizeof(refusals) / sizeof(refusals[0]));
	tcase_add_test(t, zones_are_pools_in_the_order_of_addresses);
	tcase_add_test(t, one_zone_needs_no_mirror);
	tcase_add_test(t, scattered_zones_are_in_pieces);
	tcase_add_test(t, all_zones_share_the_memslots);
	tcase_add_test(t, the_hole_lies_within_a_zone);
	tcase_add_test(t, as_many_zones_as_there_can_be);
	tcase_add_loop_test(t, a_placement_is_as_large_as_was_asked, 0, 4);
	tcase_add_loop_test(t, a_placement_by_a_table, 0, 2);
	tcase_add_test(t, a_table_too_slow);
	tcase_add_test(t, a_table_without_memory);
	tcase_add_test(t, pages_are_counted_once_they_are_touched);
	tcase_add_test(t, threads_are_kept_beside_memory);
	tcase_add_test(t, who_is_kept_nowhere_runs_anywhere);
	tcase_add_loop_test(t, each_allocation_refused, 0, 2);
	suite_add_tcase(s, t);
	return s;
}
