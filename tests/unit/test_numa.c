/* The host's nodes by fake trees of 1, 2 and 4 nodes, with holes in their ids, without memory or CPUs, and with
 * contents that no kernel writes; rules and affinity on this machine, whatever nodes it has. That memory lands where
 * the rule says: test_where.c; on two nodes it runs in the rig. */
#include "vmm/numa.h"

#include <check.h>
#undef fail
#include <dlfcn.h>
#include <errno.h>
#include <numaif.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "tests/unit/fake_host.h"
#include "tests/unit/random.h"
#include "vmm/hostfs.h"
#include "vmm/limits.h"
#include "vmm/numa_map.h"
#include "vmm/numa_room.h"

Suite *numa_suite(void);

#define NODE "/sys/devices/system/node"
#define MIB  (UINT64_C(1) << 20)

static struct fake_host fake;
static struct numa_map map;

static void setup(void)
{
	fake_host_open(&fake);
}

static void teardown(void)
{
	fake_host_close(&fake);
}

static struct ids set_of(const char *list)
{
	struct ids s = {0};

	ck_assert(ids_parse(&s, list));
	return s;
}

static void put_node(unsigned id, const char *cpus, unsigned mib, const char *distances)
{
	char text[512];

	fake_host_put(&fake, cpus, NODE "/node%u/cpulist", id);
	snprintf(text, sizeof(text),
		 "\nNode %u MemTotal:       %u kB\nNode %u MemFree:        %u kB\nNode %u Inactive: 9 kB\n"
		 "Node %u Active(file): %u kB\nNode %u Inactive(file): %u kB\n",
		 id, mib << 10, id, mib << 9, id, id, mib << 7, id, mib << 6);
	fake_host_put(&fake, text, NODE "/node%u/meminfo", id);
	fake_host_put(&fake, distances, NODE "/node%u/distance", id);
}

static void put_lists(const char *online, const char *memory)
{
	fake_host_put(&fake, online, NODE "/online");
	fake_host_put(&fake, memory, NODE "/has_memory");
}

static void put_hmat(unsigned target, const char *access, const char *ns, const char *mib, int nearest)
{
	fake_host_put(&fake, ns, NODE "/node%u/%s/initiators/read_latency", target, access);
	fake_host_put(&fake, mib, NODE "/node%u/%s/initiators/read_bandwidth", target, access);
	if (nearest >= 0)
		fake_host_put(&fake, "", NODE "/node%u/%s/initiators/node%d", target, access, nearest);
}

/* The invariants that numa_map.c states. */
static void check_map(void)
{
	unsigned counted[NUMA_NODES_MAX] = {0};

	ck_assert_uint_ge(map.nodes, 1);
	ck_assert_uint_le(map.nodes, NUMA_NODES_MAX);
	for (unsigned cpu = 0; cpu < IDS_MAX; cpu++)
		if (map.cpu_node[cpu] != NUMA_MAP_NONE) {
			if (map.cpu_node[cpu] >= map.nodes) /* each ck_assert costs a write: not 8192 of them */
				ck_abort_msg("CPU %u is at place %u", cpu, map.cpu_node[cpu]);
			counted[map.cpu_node[cpu]]++;
		}
	for (unsigned i = 0; i < map.nodes; i++) {
		const struct numa_map_node *n = &map.node[i];

		ck_assert_uint_lt(n->id, 1024);
		ck_assert(i == 0 || n->id > map.node[i - 1].id);
		ck_assert_uint_eq(n->cpus, counted[i]);
		ck_assert_uint_le(n->free_bytes, n->total_bytes);
		ck_assert_uint_le(n->cached_bytes, n->total_bytes - n->free_bytes);
		ck_assert_uint_le(n->room_bytes, n->total_bytes);
		ck_assert_uint_ge(n->weight, 1);
		for (unsigned k = 0; k < NUMA_HUGE_SIZES; k++)
			ck_assert_uint_le(n->huge[k].free, n->huge[k].total);
		ck_assert_uint_eq(map.distance[i][i], 10);
		for (unsigned to = 0; to < map.nodes; to++) {
			ck_assert_uint_ge(map.distance[i][to], 10);
			if (map.node[to].has_memory)
				ck_assert_int_eq(map.latency_ps[i][to] > 0, map.has_hmat);
		}
	}
}

static void read_map(void)
{
	struct failure f = {0};

	ck_assert_msg(numa_map_read(fake.root, &map, &f) == 0, "%s", f.text);
	check_map();
}

static void refuse(const char *sentence)
{
	struct failure f = {0};

	ck_assert_int_eq(numa_map_read(fake.root, &map, &f), EXIT_HOST);
	ck_assert_msg(strstr(f.text, sentence), "%s", f.text);
}

START_TEST(most_room_is_beside_cpus_and_within_the_cpuset)
{
	struct ids all, some = set_of("7,63,1000"), none = set_of("");

	memset(&all, 0xff, sizeof(all));
	put_lists("0,5,7,63\n", "0,5,63\n");
	put_node(0, "0\n", 64, "10 20 20 20\n");
	put_node(5, "1\n", 128, "20 10 20 20\n");
	put_node(7, "2\n", 0, "20 20 10 20\n");
	put_node(63, "\n", 1024, "20 20 20 10\n");
	read_map();
	ck_assert_uint_eq(map.node[1].cached_bytes, (16 + 8) << 20); /* an eighth, and a sixteenth */
	ck_assert_uint_eq(numa_map_roomiest(&map, &all), 5);
	ck_assert_uint_eq(numa_map_roomiest(&map, &some), 63); /* 7 has no memory */
	ck_assert_uint_eq(numa_map_roomiest(&map, &none), 0);
}
END_TEST

START_TEST(sets_of_numbers)
{
	struct ids s = set_of("0-3,8,8191"), other = set_of("2-8"), empty = set_of("");
	struct ids before = s;

	ck_assert_uint_eq(ids_count(&s), 6);
	ck_assert_str_eq(ids_format(&s).s, "0-3,8,8191");
	ck_assert_str_eq(ids_format(&empty).s, "none");
	ck_assert_uint_eq(ids_next(&s, 4), 8);
	ck_assert_uint_eq(ids_next(&s, 9), 8191);
	ck_assert_uint_eq(ids_next(&s, 8192), IDS_MAX);
	ck_assert_uint_eq(ids_next(&empty, 0), IDS_MAX);
	ck_assert(!ids_has(&s, 8192) && !ids_has(&s, UINT32_MAX) && ids_has(&s, 8191));
	ck_assert(!ids_within(&s, &other) && ids_within(&empty, &other));
	for (unsigned i = 0; i < 6; i++) {
		static const char *const bad[] = {"8192", "0-8192", "x", "3-1", "1,,2", "-1"};

		ck_assert_msg(!ids_parse(&s, bad[i]), "%s", bad[i]);
		ck_assert_mem_eq(&s, &before, sizeof(s));
	}
	ids_keep(&s, &other);
	ck_assert_str_eq(ids_format(&s).s, "2-3,8");
	ck_assert(ids_within(&s, &other));
}
END_TEST

START_TEST(long_sets_are_cut)
{
	struct ids s = {0};
	struct ids_text text;

	for (unsigned id = 0; id < IDS_MAX; id += 2)
		ids_add(&s, id);
	text = ids_format(&s);
	ck_assert_uint_lt(strlen(text.s), sizeof(text.s));
	ck_assert_str_eq(text.s + strlen(text.s) - 3, "...");
	ck_assert_mem_eq(text.s, "0,2,4,6,", 8);
}
END_TEST

/* Sets against an array of bools. */
START_TEST(sets_against_a_model)
{
	seed(7);
	for (unsigned round = 0; round < 200; round++) {
		bool model[IDS_MAX] = {false};
		struct ids s = {0}, again;
		char list[8192] = "";
		size_t used = 0;
		unsigned count = 0, at = 0, wrong = 0;

		for (unsigned i = 0; i < 40; i++) {
			unsigned first = (unsigned)below(IDS_MAX);
			unsigned last = first + (unsigned)below(100);

			for (unsigned id = first; id <= last && id < IDS_MAX; id++) {
				ids_add(&s, id);
				model[id] = true;
			}
		}
		for (unsigned id = 0; id < IDS_MAX; id++) {
			wrong += ids_has(&s, id) != model[id];
			if (!model[id])
				continue;
			count++;
			at = ids_next(&s, at);
			wrong += at++ != id;
			used += (size_t)snprintf(list + used, used < 8000 ? sizeof(list) - used : 0, "%s%u",
						 used ? "," : "", id);
		}
		ck_assert_uint_eq(wrong, 0);
		ck_assert_uint_eq(ids_count(&s), count);
		if (used < 8000) {
			ck_assert(ids_parse(&again, list));
			ck_assert_mem_eq(&again, &s, sizeof(s));
		}
	}
}
END_TEST

START_TEST(files_are_read_whole_or_not)
{
	char text[8], path[8192];
	uint64_t number = 5;
	struct ids ids = {0};

	fake_host_put(&fake, "1234567", "/seven");
	fake_host_put(&fake, "12345678", "/eight");
	fake_host_put(&fake, "18446744073709551616", "/beyond");
	fake_host_put(&fake, "-1", "/negative");
	fake_host_put(&fake, "max\n", "/max");
	fake_host_put(&fake, " \t42 kB", "/blanks");
	ck_assert(hostfs_text(fake.root, text, sizeof(text), "/%s", "seven"));
	ck_assert_str_eq(text, "1234567");
	ck_assert(!hostfs_text(fake.root, text, sizeof(text), "/eight"));
	ck_assert(!hostfs_text(fake.root, text, sizeof(text), "/absent"));
	ck_assert(!hostfs_text(fake.root, text, sizeof(text), "/")); /* opens, and cannot be read */
	ck_assert(!hostfs_number(fake.root, &number, "/beyond"));
	ck_assert(!hostfs_number(fake.root, &number, "/negative"));
	ck_assert(!hostfs_number(fake.root, &number, "/max"));
	ck_assert_uint_eq(number, 5);
	ck_assert(hostfs_number(fake.root, &number, "/blanks"));
	ck_assert_uint_eq(number, 42);
	ck_assert_int_eq(hostfs_ids(fake.root, &ids, "/absent"), HOSTFS_ABSENT);
	ck_assert_int_eq(hostfs_ids(fake.root, &ids, "/max"), HOSTFS_MALFORMED);
	ck_assert_int_eq(hostfs_ids(fake.root, &ids, "/seven"), HOSTFS_MALFORMED);
	memset(path, 'x', sizeof(path));
	path[0] = '/';
	path[sizeof(path) - 1] = '\0';
	ck_assert(!hostfs_exists(fake.root, "%s", path));
	ck_assert(!hostfs_exists(path, "/online"));
	ck_assert(!hostfs_text(path, text, sizeof(text), "/online"));
	ck_assert(hostfs_exists(fake.root, "/max"));
}
END_TEST

START_TEST(host_without_nodes)
{
	fake_host_put(&fake, "MemTotal:        2048 kB\nMemFree:         1024 kB\n", "/proc/meminfo");
	fake_host_put(&fake, "0-2\n", "/sys/devices/system/cpu/online");
	fake_host_put(&fake, "9\n", "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages");
	fake_host_put(&fake, "4\n", "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages");
	fake_host_put(&fake, "3\n", "/sys/kernel/mm/hugepages/hugepages-2048kB/resv_hugepages");
	read_map();
	ck_assert_uint_eq(map.nodes, 1);
	ck_assert_uint_eq(map.node[0].id, 0);
	ck_assert(map.node[0].has_memory && !map.has_slit && !map.has_hmat);
	ck_assert_uint_eq(map.node[0].total_bytes, 2 * MIB);
	ck_assert_uint_eq(map.node[0].free_bytes, MIB);
	ck_assert_uint_eq(map.node[0].cpus, 3);
	ck_assert_uint_eq(map.node[0].huge[NUMA_HUGE_2M].total, 9);
	ck_assert_uint_eq(map.node[0].huge[NUMA_HUGE_2M].free, 4);
	ck_assert_uint_eq(map.node[0].huge[NUMA_HUGE_1G].total, 0);
	ck_assert_uint_eq(map.huge_promised[NUMA_HUGE_2M], 3);
}
END_TEST

START_TEST(empty_host)
{
	read_map();
	ck_assert_uint_eq(map.nodes, 1);
	ck_assert_uint_eq(map.node[0].total_bytes, 0);
}
END_TEST

/* 80 ns local at distance 20 is 160 remote. */
START_TEST(two_nodes_with_hmat)
{
	struct ids cpus;

	put_lists("0-1\n", "0-1\n");
	put_node(0, "0-1\n", 4096, "10 20\n");
	put_node(1, "2-3,8\n", 2048, "20 10\n");
	put_hmat(0, "access0", "70\n", "9999\n", 0);
	put_hmat(0, "access1", "80\n", "20000\n", 0);
	put_hmat(1, "access0", "80\n", "20000\n", 1);
	fake_host_put(&fake, "64\n", NODE "/node1/hugepages/hugepages-2048kB/nr_hugepages");
	fake_host_put(&fake, "60\n", NODE "/node1/hugepages/hugepages-2048kB/free_hugepages");
	fake_host_put(&fake, "2\n", NODE "/node1/hugepages/hugepages-1048576kB/nr_hugepages");
	fake_host_put(&fake, "1\n", NODE "/node1/hugepages/hugepages-1048576kB/free_hugepages");
	read_map();
	ck_assert_uint_eq(map.nodes, 2);
	ck_assert(map.has_slit && map.has_hmat);
	ck_assert_uint_eq(map.latency_ps[0][0], 80000);
	ck_assert_uint_eq(map.latency_ps[1][0], 160000);
	ck_assert_uint_eq(map.latency_ps[0][1], 160000);
	ck_assert_uint_eq(map.bandwidth_mib[0][0], 20000);
	ck_assert_uint_eq(map.bandwidth_mib[1][0], 10000);
	ck_assert_uint_eq(map.node[1].total_bytes, 2048 * MIB);
	ck_assert_uint_eq(map.node[1].free_bytes, 1024 * MIB);
	ck_assert_uint_eq(map.node[1].huge[NUMA_HUGE_2M].free, 60);
	ck_assert_uint_eq(map.node[1].huge[NUMA_HUGE_1G].free, 1);
	ck_assert_uint_eq(map.node[0].huge[NUMA_HUGE_2M].total, 0);
	cpus = numa_map_cpus(&map, 1);
	ck_assert_str_eq(ids_format(&cpus).s, "2-3,8");
	ck_assert_uint_eq(map.cpu_node[8], 1);
	ck_assert_uint_eq(map.cpu_node[9], NUMA_MAP_NONE);
}
END_TEST

/* Half of the figures are none. */
START_TEST(half_an_hmat)
{
	put_lists("0-1", "0-1");
	put_node(0, "0", 64, "10 20");
	put_node(1, "1", 64, "20 10");
	put_hmat(0, "access0", "80", "1", 0);
	read_map();
	ck_assert(!map.has_hmat);
	ck_assert_uint_eq(map.latency_ps[0][0], 0);
	ck_assert_uint_eq(map.bandwidth_mib[0][0], 0);
}
END_TEST

/* Of CPUs and memory, of memory alone (its nearest is node 0, at distance 15), of CPUs alone, and node 63; ids with
 * holes. */
START_TEST(four_nodes_of_all_kinds)
{
	struct ids memory;

	put_lists("0,5,7,63\n", "0,5,63\n");
	put_node(0, "0-1\n", 1024, "10 15 20 30\n");
	put_node(5, "\n", 512, "15 10 40 30\n");
	put_node(7, "2\n", 0, "20 40 10 17\n");
	put_node(63, "3-4\n", 256, "30 30 17 10\n");
	put_hmat(0, "access1", "100\n", "1000\n", 0);
	put_hmat(5, "access0", "300\n", "500\n", 0);
	put_hmat(63, "access1", "50\n", "0\n", 63);
	read_map();
	ck_assert_uint_eq(map.nodes, 4);
	ck_assert_uint_eq(map.node[3].id, 63);
	ck_assert(map.node[1].has_memory && !map.node[1].cpus);
	ck_assert(!map.node[2].has_memory && map.node[2].cpus == 1);
	ck_assert(map.has_hmat);
	ck_assert_uint_eq(map.latency_ps[0][1], 300000);	   /* told */
	ck_assert_uint_eq(map.latency_ps[2][1], 300000 * 40 / 15); /* scaled from the nearest */
	ck_assert_uint_eq(map.bandwidth_mib[2][1], 500 * 15 / 40);
	ck_assert_uint_eq(map.latency_ps[2][0], 200000);
	ck_assert_uint_eq(map.latency_ps[2][3], 85000);
	ck_assert_uint_eq(map.bandwidth_mib[3][3], 0);
	ck_assert_uint_eq(numa_map_place(&map, 63), 3);
	ck_assert_uint_eq(numa_map_place(&map, 1), NUMA_MAP_NONE);
	memory = numa_map_memory(&map);
	ck_assert_str_eq(ids_format(&memory).s, "0,5,63");
}
END_TEST

/* As a 6.12 kernel tells of QEMU's HMAT, seen there: access1 names node 0 alone, so remote figures are told, too. */
START_TEST(figures_of_two_classes)
{
	put_lists("0-2", "0-2");
	put_node(0, "0", 64, "10 20 30");
	put_node(1, "1", 64, "20 10 25");
	put_node(2, "", 64, "30 25 10");
	for (unsigned target = 0; target < 3; target++) {
		static const char *const nearest[] = {"80", "80", "200"}, *const of_0[] = {"80", "170", "260"};

		put_hmat(target, "access0", nearest[target], target == 2 ? "8000" : "20000", target == 0 ? 0 : 1);
		put_hmat(target, "access1", of_0[target], "10000", 0);
	}
	read_map();
	ck_assert(map.has_hmat);
	ck_assert_uint_eq(map.latency_ps[0][0], 80000);
	ck_assert_uint_eq(map.latency_ps[1][0], 160000); /* scaled */
	ck_assert_uint_eq(map.latency_ps[0][1], 170000);
	ck_assert_uint_eq(map.latency_ps[1][1], 80000);
	ck_assert_uint_eq(map.bandwidth_mib[1][1], 20000);
	ck_assert_uint_eq(map.latency_ps[0][2], 260000);
	ck_assert_uint_eq(map.latency_ps[1][2], 200000);
	ck_assert_uint_eq(map.latency_ps[2][1], 200000); /* scaled from the nearest of the two */
	ck_assert_uint_eq(map.bandwidth_mib[1][2], 8000);
}
END_TEST

START_TEST(node_that_came_later)
{
	put_lists("0", "0");
	put_node(0, "0", 64, "10");
	read_map();
	ck_assert_uint_eq(map.nodes, 1);
	put_lists("0,2", "0,2");
	put_node(0, "0", 64, "10 21");
	put_node(2, "", 32, "21 10");
	read_map();
	ck_assert_uint_eq(map.nodes, 2);
	ck_assert_uint_eq(map.distance[0][1], 21);
}
END_TEST

/* Where no initiator is named, those at the least distance are taken for the nearest. */
START_TEST(nearest_by_distance)
{
	put_lists("0-1", "1");
	put_node(0, "0", 0, "10 40");
	put_node(1, "", 64, "40 10");
	put_hmat(1, "access0", "200", "10", -1);
	read_map();
	ck_assert_uint_eq(map.latency_ps[0][1], 200000);
	put_hmat(1, "access0", "200", "10", 0); /* two that are as near as can be, whatever the distances */
	put_hmat(1, "access0", "200", "10", 1);
	read_map();
	ck_assert_uint_eq(map.latency_ps[0][1], 200000);
	ck_assert_uint_eq(map.latency_ps[1][1], 200000);
}
END_TEST

START_TEST(sixty_four_nodes_and_one_more)
{
	char row[512] = "";

	for (unsigned i = 0; i < 64; i++)
		strcat(row, "10 ");
	put_lists("0-63", "0-63");
	for (unsigned i = 0; i < 64; i++)
		put_node(i, i == 63 ? "8191" : "", 1, row);
	read_map();
	ck_assert_uint_eq(map.nodes, 64);
	ck_assert(map.has_slit);
	ck_assert_uint_eq(map.cpu_node[8191], 63);
	put_lists("0-64", "0-64");
	refuse("65 memory nodes");
	put_lists("0,1023", "0");
	read_map();
	put_lists("0,1024", "0");
	refuse("0,1024 are no memory nodes");
}
END_TEST

START_TEST(contents_that_no_kernel_writes)
{
	static const char *const rows[] = {"",	    "10",    "10 9", "10 256",
					   "20 10", "10 -1", "10 x", "99999999999999999999 1"};
	static const char *const figures[] = {"", "0", "-5", "1000001", "x", "18446744073709551615"};

	put_lists("0-1", "0-1,77");
	put_node(0, "0-3", 64, "10 20");
	put_node(1, "2-5", 64, "20 10"); /* two of them have CPUs 2 and 3 */
	fake_host_put(&fake, "MemTotal: 5 kB MemFree: 99999999999 kB", NODE "/node1/meminfo");
	fake_host_put(&fake, "1", NODE "/node1/hugepages/hugepages-2048kB/nr_hugepages");
	fake_host_put(&fake, "2", NODE "/node1/hugepages/hugepages-2048kB/free_hugepages");
	read_map();
	ck_assert_uint_eq(map.nodes, 2);
	ck_assert_uint_eq(map.node[0].cpus, 4);
	ck_assert_uint_eq(map.node[1].cpus, 2);
	ck_assert_uint_eq(map.node[1].free_bytes, 5120);
	for (unsigned i = 0; i < 8; i++) {
		fake_host_put(&fake, rows[i], NODE "/node0/distance");
		read_map();
		ck_assert(!map.has_slit);
		ck_assert_uint_eq(map.distance[0][1], 20);
	}
	for (unsigned i = 0; i < 6; i++) {
		put_hmat(0, "access0", figures[i], "1", 0);
		put_hmat(1, "access0", "80", "1", 1);
		read_map();
		ck_assert(!map.has_hmat);
	}
	put_hmat(0, "access0", "1000000", "18446744073709551615", 0);
	put_node(0, "0", 64, "10 255");
	put_node(1, "1", 64, "255 10");
	read_map();
	ck_assert_uint_eq(map.latency_ps[1][0], UINT32_MAX);
	ck_assert_uint_eq(map.bandwidth_mib[0][0], UINT32_MAX);
	fake_host_put(&fake, "MemTotal: 18446744073709551615 kB", NODE "/node1/meminfo");
	read_map();
	ck_assert_uint_eq(map.node[1].total_bytes, 0);
}
END_TEST

START_TEST(lists_that_are_none)
{
	static const char *const bad[] = {"zero", "0-", "0-99999", "1-0"};

	for (unsigned i = 0; i < 4; i++) {
		put_lists(bad[i], "0");
		refuse("has no list of nodes");
	}
	put_lists("", "0");
	refuse("none are no memory nodes");
}
END_TEST

/* ---- room ---- */

/* As zoneinfo has one, with what else says "low" and "high" there. */
static void add_zone(char *text, size_t size, const char *where, const char *numbers)
{
	snprintf(text + strlen(text), size - strlen(text),
		 "%s\n%s\n      nr_free_pages 99999999\n  pagesets\n"
		 "    cpu: 0\n              count:    7\n              high:  378\n              low:   378\n",
		 where, numbers);
}

START_TEST(a_node_gives_less_than_it_has_free)
{
	char text[8192] = "";

	put_lists("0,2,7\n", "0,2,7\n");
	put_node(0, "0\n", 4096, "10 20 20\n");
	put_node(2, "1\n", 4096, "20 10 20\n");
	put_node(7, "2\n", 4096, "20 20 10\n");
	add_zone(
		text, sizeof(text), "Node 0, zone      DMA\n  per-node stats\n      nr_low 77",
		"  pages free     3840\n        boost    0\n        min      32\n        low      40\n        high 48\n"
		"        protection: (0, 1962, 3930, 3930, 3930)"); /* what others need leaves nothing of it */
	add_zone(text, sizeof(text), "Node 0, zone    DMA32",
		 "  pages free     100000\n        min      5653\n        low      7066\n        high     8479\n"
		 "        protection: (0, 0, 1968, 1969, 7)");
	add_zone(text, sizeof(text), "Node 0, zone   Normal",
		 "  pages free     14276\n        min      11421\n        low      14276\n        high     17131\n"
		 "        protection: (0, 0, 0, 0, 0)"); /* as low as its mark */
	add_zone(text, sizeof(text), "Node 0, zone   Device",
		 "  pages free     0\n        low      0\n        protection: (0)");
	add_zone(text, sizeof(text), "Node 5, zone   Normal", /* of no node that there is */
		 "  pages free     1000000\n        low      0\n        protection: (0, 0, 0, 0, 0)");
	add_zone(text, sizeof(text), "Node 7, zone   Normal",
		 "  pages free     3000\n        low      1000\n        protection: (0)");
	add_zone(text, sizeof(text), "Node 7, zone  Movable",
		 "  pages free     600000\n        low      1000\n        protection: (0)");
	fake_host_put(&fake, text, "/proc/zoneinfo");
	read_map();
	/* (100000 - 7066 - 1969 - 512) pages are 353.3 MiB, less a 256th and 8 MiB, in whole large pages */
	ck_assert_uint_eq(map.node[0].room_bytes, 342 * MIB);
	ck_assert_uint_eq(map.node[1].room_bytes, map.node[1].free_bytes); /* not told */
	/* both zones: 1488 and 598488 pages, 2343.7 MiB */
	ck_assert_uint_eq(map.node[2].room_bytes, 2326 * MIB);
	fake_host_put(&fake, "Node 0, zone Normal\n  pages free 2700\n low 1\n protection: (0, 0)\n", "/proc/zoneinfo");
	read_map();
	ck_assert_uint_eq(map.node[0].room_bytes, 0); /* 8.5 MiB */
	fake_host_put(&fake, "Node 0, zone Normal\n  pages free 99999999999\n low 1\n protection: (0, 0)\n",
		      "/proc/zoneinfo");
	numa_room_read(fake.root, &map);
	ck_assert_uint_eq(map.node[0].room_bytes, map.node[0].total_bytes);
	fake_host_put(&fake, "", "/proc/zoneinfo");
	numa_room_read(fake.root, &map);
	ck_assert_uint_eq(map.node[0].room_bytes, map.node[0].free_bytes);
}
END_TEST

START_TEST(weights_of_nodes)
{
	static const char *const bad[] = {"0", "256", "x", ""};

	put_lists("0,2\n", "0,2\n");
	put_node(0, "0\n", 64, "10 20\n");
	put_node(2, "1\n", 64, "20 10\n");
	fake_host_put(&fake, "3\n", "/sys/kernel/mm/mempolicy/weighted_interleave/node2");
	read_map();
	ck_assert(map.node[0].weight == 1 && map.node[1].weight == 3);
	for (unsigned i = 0; i < 4; i++) {
		fake_host_put(&fake, bad[i], "/sys/kernel/mm/mempolicy/weighted_interleave/node2");
		read_map();
		ck_assert_uint_eq(map.node[1].weight, 1);
	}
}
END_TEST

/* Any bytes in any of the files: an answer or a refusal, and what is answered holds. */
START_TEST(any_bytes)
{
	static const char *const files[] = {
		NODE "/online",
		NODE "/has_memory",
		NODE "/node0/meminfo",
		NODE "/node1/cpulist",
		NODE "/node1/distance",
		NODE "/node0/access1/initiators/read_latency",
		NODE "/node0/hugepages/hugepages-2048kB/free_hugepages",
		"/proc/zoneinfo",
	};
	static const char letters[] = "0123456789,- \n:kMemTotalFrx";

	seed(11);
	put_lists("0-1", "0-1");
	put_node(0, "0-1", 64, "10 20");
	put_node(1, "2", 64, "20 10");
	for (unsigned round = 0; round < 400; round++) {
		char text[40];
		unsigned length = (unsigned)below(sizeof(text));
		unsigned file = (unsigned)below(8);
		struct failure f = {0};

		for (unsigned i = 0; i < length; i++)
			text[i] = letters[below(file < 2 ? 12 : sizeof(letters) - 1)];
		text[length] = '\0';
		fake_host_put(&fake, text, "%s", files[file]);
		if (numa_map_read(fake.root, &map, &f) == 0)
			check_map();
		else
			ck_assert_int_gt(strlen(f.text), 20);
		if (file == 0)
			fake_host_put(&fake, "0-1", NODE "/online");
	}
}
END_TEST

START_TEST(refusals_name_what_there_is)
{
	struct failure f = {0};
	struct ids asked = set_of("0");

	put_lists("0-2", "0-1");
	put_node(0, "0-1", 64, "10 20 20");
	put_node(1, "2", 64, "20 10 20");
	put_node(2, "3", 0, "20 20 10");
	read_map();
	ck_assert_int_eq(numa_map_check_nodes(&map, "--zone", &asked, &f), 0);
	asked = set_of("1,3");
	ck_assert_int_eq(numa_map_check_nodes(&map, "--zone", &asked, &f), EXIT_HOST);
	ck_assert_str_eq(f.text, "--zone: memory node 3 does not exist on this host: nodes with memory are 0-1");
	f = (struct failure){0};
	asked = set_of("2");
	ck_assert_int_eq(numa_map_check_nodes(&map, "--zone", &asked, &f), EXIT_HOST);
	ck_assert_str_eq(f.text, "--zone: memory node 2 of this host has no memory: nodes with memory are 0-1");
}
END_TEST

START_TEST(huge_pages_of_a_node)
{
	struct failure f = {0};
	struct ids nodes;

	put_lists("0-1", "0-1");
	put_node(0, "0", 64, "10 20");
	put_node(1, "1", 64, "20 10");
	for (unsigned i = 0; i < 2; i++) {
		fake_host_put(&fake, "20", NODE "/node%u/hugepages/hugepages-2048kB/nr_hugepages", i);
		fake_host_put(&fake, i ? "16" : "7", NODE "/node%u/hugepages/hugepages-2048kB/free_hugepages", i);
	}
	fake_host_put(&fake, "9", "/sys/kernel/mm/hugepages/hugepages-2048kB/resv_hugepages");
	read_map();
	ck_assert_uint_eq(numa_map_huge_usable(&map, 0, NUMA_HUGE_2M), 0);
	ck_assert_uint_eq(numa_map_huge_usable(&map, 1, NUMA_HUGE_2M), 7);
	ck_assert_int_eq(numa_map_check_huge(&map, "--zone", 0, NUMA_HUGE_2M, 1, &f), EXIT_HOST);
	f = (struct failure){0};
	ck_assert_int_eq(numa_map_check_huge(&map, "--zone", 1, NUMA_HUGE_2M, 7, &f), 0);
	ck_assert_int_eq(numa_map_check_huge(&map, "--zone", 0, NUMA_HUGE_2M, 8, &f), EXIT_HOST);
	ck_assert_str_eq(f.text, "--zone: 8 huge pages of 2 MiB asked of node 0, which has 7 free of 20; 16 are free "
				 "elsewhere: write 21 to /sys/devices/system/node/node0/hugepages/hugepages-2048kB/"
				 "nr_hugepages, or ask another node");
	f = (struct failure){0};
	ck_assert_int_eq(numa_map_check_huge(&map, "--zone", 1, NUMA_HUGE_2M, 8, &f), EXIT_HOST);
	ck_assert_str_eq(f.text, "--zone: 8 huge pages of 2 MiB asked of node 1, which has 16 free, but of the 23 free "
				 "on this host 9 are promised to others, who may take them there: add 1 to "
				 "/sys/devices/system/node/node1/hugepages/hugepages-2048kB/nr_hugepages");
	f = (struct failure){0};
	ck_assert_int_eq(numa_map_check_huge(&map, "--zone", 1, NUMA_HUGE_1G, 1, &f), EXIT_HOST);
	ck_assert_ptr_nonnull(strstr(f.text, "1 huge pages of 1 GiB asked of node 1, which has 0 free of 0"));
	f = (struct failure){0};
	nodes = set_of("0,1");
	ck_assert_int_eq(numa_map_check_huge_nodes(&map, "--zone", &nodes, NUMA_HUGE_2M, 14, &f), 0);
	ck_assert_int_eq(numa_map_check_huge_nodes(&map, "--zone", &nodes, NUMA_HUGE_2M, 15, &f), EXIT_HOST);
	ck_assert_str_eq(f.text,
			 "--zone: 15 huge pages of 2 MiB asked of nodes 0-1, which have 23 free together, of which "
			 "others may take 9 that are promised; 0 are free elsewhere: add 1 to "
			 "/sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages");
	map.huge_promised[NUMA_HUGE_2M] = 0;
	f = (struct failure){0};
	ck_assert_int_eq(numa_map_check_huge_nodes(&map, "--zone", &nodes, NUMA_HUGE_2M, 23, &f), 0);
	f = (struct failure){0};
	nodes = set_of("0,5");
	ck_assert_int_eq(numa_map_check_huge_nodes(&map, "--zone", &nodes, NUMA_HUGE_2M, 8, &f), EXIT_HOST);
	ck_assert_ptr_nonnull(
		strstr(f.text, "asked of nodes 0,5, which have 7 free together; 16 are free elsewhere: add 1 to "));
	ck_assert_ptr_nonnull(strstr(f.text, "nr_hugepages, or ask other nodes"));
	map.nodes = 1; /* nothing is elsewhere */
	f = (struct failure){0};
	ck_assert_int_eq(numa_map_check_huge(&map, "--zone", 0, NUMA_HUGE_2M, 8, &f), EXIT_HOST);
	ck_assert_str_eq(f.text, "--zone: 8 huge pages of 2 MiB asked of node 0, which has 7 free of 20: write 21 to "
				 "/sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages");
}
END_TEST

/* ---- this machine ---- */

START_TEST(this_host)
{
	struct failure f = {0};
	struct numa n;

	ck_assert_int_eq(numa_map_read("", &map, &f), 0);
	check_map();
	ck_assert_int_eq(numa_open(&n, &f), 0);
	for (unsigned i = 0; i < n.nodes; i++) {
		unsigned place = numa_map_place(&map, n.node[i]);

		ck_assert_uint_ne(place, NUMA_MAP_NONE);
		ck_assert(map.node[place].has_memory);
		ck_assert_uint_gt(map.node[place].total_bytes, 0);
	}
	ck_assert_uint_ne(numa_map_place(&map, numa_roomiest(&n)), NUMA_MAP_NONE);
	numa_close_library(&n);
}
END_TEST

START_TEST(rules_are_taken)
{
	struct failure f = {0};
	struct numa_rule rule = {.policy = (enum numa_policy)_i};
	uint8_t *memory = mmap(NULL, 4 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	const char *note = "unset";
	struct numa n;

	ck_assert_ptr_ne(memory, MAP_FAILED);
	ck_assert_int_eq(numa_open(&n, &f), 0);
	for (unsigned i = 0; i < (rule.policy == NUMA_PREFERRED ? 1 : n.nodes); i++)
		ids_add(&rule.nodes, n.node[i]);
	ck_assert_msg(numa_rule_set(&n, &rule, memory, 4 * MIB, false, &note, &f) == 0, "%s", f.text);
	ck_assert(note == NULL || strstr(note, "this kernel"));
	memset(memory, 1, 4 * MIB);
	ck_assert_msg(numa_rule_set(&n, &rule, memory, 4 * MIB, true, &note, &f) == 0, "%s", f.text);
	if (rule.policy == NUMA_PREFERRED)
		rule.nodes = (struct ids){0};
	ids_add(&rule.nodes, 1000);
	ck_assert_int_eq(numa_rule_set(&n, &rule, memory, 4 * MIB, false, &note, &f), EXIT_HOST);
	ck_assert_ptr_nonnull(strstr(f.text, "1000: not all of them have memory on this host"));
	f = (struct failure){0};
	rule.nodes = (struct ids){0};
	ck_assert_int_eq(numa_rule_set(&n, &rule, memory, 4 * MIB, false, &note, &f), EXIT_HOST);
	ck_assert_ptr_nonnull(strstr(f.text, "nodes none:"));
	numa_place(&n, memory, 4 * MIB, 1000); /* of no use, and of no harm */
	munmap(memory, 4 * MIB);
	numa_close_library(&n);
}
END_TEST

/* With a kernel that says no to everything: as many nodes as one likes, for the range is no memory. */
START_TEST(refused_rules)
{
	struct failure f = {0};
	struct numa_rule rule = {.policy = (enum numa_policy)_i, .nodes = set_of(_i == NUMA_PREFERRED ? "1" : "0-1")};
	struct numa n = {.nodes = 2, .node = {0, 1}};
	const char *note;

	ck_assert_int_eq(numa_rule_set(&n, &rule, (void *)4096, 4096, false, &note, &f), EXIT_HOST);
	ck_assert_msg(strstr(f.text, "the kernel does not take the policy"), "%s", f.text);
	ck_assert_ptr_nonnull(strstr(f.text, numa_policy_name(rule.policy)));
	ck_assert_ptr_null(note);
}
END_TEST

/* The library, on any host: its own node, and one that is none. */
START_TEST(library_of_any_host)
{
	struct failure f = {0};
	struct numa n = {.library = dlopen("libnuma.so.1", RTLD_NOW), .nodes = 2, .node = {0, 900}};
	struct numa_rule rule = {.policy = (enum numa_policy)_i, .nodes = set_of("0")};
	uint8_t *memory = mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	static const int modes[] = {2, 1, 3, 6}; /* the kernel's numbers */
	const char *note;
	int mode = -1;

	ck_assert_ptr_ne(memory, MAP_FAILED);
	if (!n.library)
		return;
	ck_assert_msg(numa_rule_set(&n, &rule, memory, MIB, false, &note, &f) == 0, "%s", f.text);
	ck_assert(note == NULL || rule.policy == NUMA_WEIGHTED);
	ck_assert_int_eq(syscall(SYS_get_mempolicy, &mode, NULL, 0, memory, MPOL_F_ADDR), 0);
	ck_assert_int_eq(mode, note ? 3 : modes[_i]);
	rule.nodes = set_of("900");
	ck_assert_int_eq(numa_rule_set(&n, &rule, memory, MIB, false, &note, &f), EXIT_HOST);
	ck_assert_ptr_nonnull(
		strstr(f.text, "of nodes 900 for memory: it takes no such policy, or a node is not online"));
	ck_assert_uint_eq(numa_roomiest(&n), 0);
	f = (struct failure){0};
	rule.nodes = set_of("0");
	for (unsigned other = 1; other < 7; other++)
		fake_host_refuse_if(SYS_mbind, 2, other, EPERM);
	ck_assert_int_eq(numa_rule_set(&n, &rule, memory, MIB, false, &note, &f), EXIT_HOST);
	ck_assert_ptr_nonnull(strstr(f.text, "it is forbidden here"));
	numa_close_library(&n);
	munmap(memory, MIB);
}
END_TEST

/* The weights that they do not know are left out, and that is told. */
START_TEST(older_kernels)
{
	struct numa n = {.library = dlopen("libnuma.so.1", RTLD_NOW), .nodes = 2, .node = {0, 1}};
	const struct numa_rule rule = {NUMA_WEIGHTED, set_of("0-1")};
	uint8_t *memory = mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct failure f = {0};
	const char *note;

	if (!n.library)
		return;
	fake_host_refuse_if(SYS_mbind, 2, 6, EINVAL);
	ck_assert_msg(numa_rule_set(&n, &rule, memory, MIB, false, &note, &f) == 0, "%s", f.text);
	ck_assert_ptr_nonnull(note);
	ck_assert_ptr_nonnull(strstr(note, "this kernel knows no weights of nodes"));
	numa_close_library(&n);
	munmap(memory, MIB);
}
END_TEST

START_TEST(threads_are_kept)
{
	struct failure f = {0};
	struct limits l;
	struct ids one = {0}, outside = set_of("8191");
	cpu_set_t before, now;
	unsigned cpu;

	ck_assert_int_eq(limits_read("", &l, &f), 0);
	ck_assert_int_eq(sched_getaffinity(0, sizeof(before), &before), 0);
	cpu = ids_next(&l.cpus, 0);
	ids_add(&one, cpu);
	ids_add(&one, 8191); /* passed over: not allowed */
	ck_assert_int_eq(numa_keep_thread(&outside, &l, &f), EXIT_HOST);
	ck_assert_ptr_nonnull(strstr(f.text, "CPUs 8191, for slat may run on"));
	ck_assert_int_eq(sched_getaffinity(0, sizeof(now), &now), 0);
	ck_assert(CPU_EQUAL(&before, &now));
	f = (struct failure){0};
	ck_assert_int_eq(numa_keep_thread(&one, &l, &f), 0);
	ck_assert_int_eq(sched_getaffinity(0, sizeof(now), &now), 0);
	ck_assert_int_eq(CPU_COUNT(&now), 1);
	ck_assert(CPU_ISSET(cpu, &now));
	ids_add(&l.cpus, 8191);
	ck_assert_int_eq(numa_keep_thread(&outside, &l, &f), EXIT_HOST);
	ck_assert_ptr_nonnull(strstr(f.text, "none of them is online"));
	ck_assert_int_eq(sched_setaffinity(0, sizeof(before), &before), 0);
}
END_TEST

Suite *numa_suite(void)
{
	Suite *s = suite_create("numa");
	TCase *trees = tcase_create("trees"), *here = tcase_create("here");

	tcase_add_checked_fixture(trees, setup, teardown);
	tcase_add_test(trees, most_room_is_beside_cpus_and_within_the_cpuset);
	tcase_add_test(trees, sets_of_numbers);
	tcase_add_test(trees, long_sets_are_cut);
	tcase_add_test(trees, sets_against_a_model);
	tcase_add_test(trees, files_are_read_whole_or_not);
	tcase_add_test(trees, host_without_nodes);
	tcase_add_test(trees, empty_host);
	tcase_add_test(trees, two_nodes_with_hmat);
	tcase_add_test(trees, half_an_hmat);
	tcase_add_test(trees, four_nodes_of_all_kinds);
	tcase_add_test(trees, figures_of_two_classes);
	tcase_add_test(trees, node_that_came_later);
	tcase_add_test(trees, nearest_by_distance);
	tcase_add_test(trees, sixty_four_nodes_and_one_more);
	tcase_add_test(trees, contents_that_no_kernel_writes);
	tcase_add_test(trees, lists_that_are_none);
	tcase_add_test(trees, a_node_gives_less_than_it_has_free);
	tcase_add_test(trees, weights_of_nodes);
	tcase_add_test(trees, any_bytes);
	tcase_add_test(trees, refusals_name_what_there_is);
	tcase_add_test(trees, huge_pages_of_a_node);
	tcase_add_test(here, this_host);
	tcase_add_loop_test(here, rules_are_taken, NUMA_BIND, NUMA_WEIGHTED + 1);
	tcase_add_loop_test(here, refused_rules, NUMA_BIND, NUMA_WEIGHTED + 1);
	tcase_add_loop_test(here, library_of_any_host, NUMA_BIND, NUMA_WEIGHTED + 1);
	tcase_add_test(here, older_kernels);
	tcase_add_test(here, threads_are_kept);
	suite_add_tcase(s, trees);
	suite_add_tcase(s, here);
	return s;
}
