/* RAM by zones, on the host that the tests run on: of several nodes or of one. What is
 * refused before a pool is opened, what the zones come to, and that a refusal at any
 * allocation leaves nothing. What the guest is told and where its vCPUs go, on hosts that
 * are made up. Pages on the wrong node need a host with several: the case "nodes" is run by the rig, too, on such. */
#include <check.h>
#undef fail
#include <inttypes.h>
#include <numaif.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/fake_sys.h"
#include "tests/unit/random.h"
#include "vmm/hostfs.h"
#include "vmm/layout.h"
#include "vmm/stitch.h"
#include "vmm/vm.h"
#include "vmm/zones_impl.h"

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
static struct where asked, is;

static void parse(const char *line)
{
	struct failure f = {0};
	char *argv[WORDS_MAX];
	int argc = 0;

	ck_assert_uint_lt(strlen(line), sizeof(copy));
	strcpy(copy, line);
	options = (struct run_options){0};
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
		ck_assert_uint_eq(p->backing.bytes, options.pool.bytes == options.memory.bytes || options.numa.zones
							    ? zones->zone[i].bytes
							    : options.pool.bytes);
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
	{"k --placement policy=pack --memory size=8M --pool size=16M,taken=15M+2M",
	 "--pool taken=0xf00000+0x200000: not free in a pool of 16 MiB", EXIT_USAGE},
	{"k --placement policy=local --memory size=8M --pool size=16M,taken=7M+2M",
	 "no contiguous block of 8 MiB in the pool of node ", EXIT_HOST},
	{"k --placement policy=local --memory size=8M --pool size=4000T", "free together, not 4000 TiB", EXIT_HOST},
	{"k --strict --memory-zone id=a,size=4M",
	 "--strict: none of the zones was asked from a node; give host_numa_node=", EXIT_USAGE},
	{"k --memory-zone id=a,size=4M,host_numa_node=1000 --memory-zone id=b,size=4M",
	 "--memory-zone id=a: ", EXIT_HOST},
	{"k --memory-zone id=a,size=4M --memory-zone id=b,size=4M,host_numa_node=1000",
	 "--memory-zone id=b: ", EXIT_HOST},
	{"k --placement host_numa_node=1000 --memory-zone id=a,size=4M,host_numa_node=0",
	 "--placement: memory node 1000 does not exist on this host", EXIT_HOST},
	{"k --strict --memory size=4000T --placement policy=local", "--placement: the nodes that may be used have ",
	 EXIT_HOST},
	{"k --strict --memory-zone id=a,size=4M,host_numa_node=0 --memory-zone id=b,size=4000T,host_numa_node=0",
	 "--memory-zone id=b and those before it: --strict binds 4", EXIT_HOST},
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

/* Each would be taken. */
START_TEST(zones_are_not_more_than_the_host_together)
{
	struct failure f = {0};
	struct sysinfo all;
	char line[128];
	uint64_t mib;

	ck_assert_int_eq(sysinfo(&all), 0);
	mib = ((uint64_t)all.totalram + all.totalswap) * all.mem_unit / 4 * 3 / MIB;
	snprintf(line, sizeof(line), "k --memory-zone id=a,size=%" PRIu64 "M id=b,size=%" PRIu64 "M", mib, mib);
	ck_assert_int_eq(make(line, &f), EXIT_HOST);
	ck_assert_ptr_eq(strstr(f.text, "--memory-zone id=b and those before it size="), f.text);
	ck_assert_ptr_nonnull(strstr(f.text, " is more than the host has: "));
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

/* A history is one pool's, wherever that one is asked from. */
START_TEST(a_pool_with_a_history_lies_where_it_is_asked)
{
	static const char *const asks[] = {
		"--memory size=8M --numa guest_numa_id=0",
		"--memory size=8M --placement policy=local",
		"--memory size=8M --placement policy=interleave",
		"--memory size=8M,contiguous=scatter --placement policy=local",
	};
	char line[160];

	snprintf(line, sizeof(line), "k --pool size=24M,taken=4M+4K,taken=16M+1M %s", asks[_i]);
	made(line);
	check_zones();
	ck_assert_uint_eq(zones->count, 1);
	ck_assert_ptr_null(host.mirror);
	ck_assert_uint_eq(zones->zone[0].bytes, 8 * MIB);
	ck_assert_uint_eq(blocks.count, _i == 3 ? 4 : 1);
	if (_i < 3) /* the smallest hole that holds it, from a multiple of the page on */
		ck_assert_uint_ge(blocks.block->first.n - zones->zone[0].pool->base.n, 4 * MIB / FRAME_BYTES);
	ck_assert_uint_eq(extent_stats_read(zones->zone[0].pool->space).units_free,
			  (15 * MIB - FRAME_BYTES) / FRAME_BYTES);
}
END_TEST

START_TEST(a_pool_with_a_history_is_one)
{
	struct failure f = {0};

	if (host.numa.nodes < 2)
		return;
	ck_assert_int_eq(make("k --cpus boot=2 --memory size=8M --pool size=24M --placement policy=spread", &f),
			 EXIT_USAGE);
	ck_assert_ptr_nonnull(strstr(f.text, "--pool is one pool, and --placement policy=spread makes 2 of the RAM"));
}
END_TEST

/* ---- leaves ---- */

struct tables {
	uint8_t *page;
	uint64_t taken, most;
};

static enum mm_err get(void *self, struct pfn *out)
{
	struct tables *t = self;

	*out = (struct pfn){t->taken};
	return t->taken++ < t->most ? MM_OK : MM_ENOMEM;
}

static void put(void *self, struct pfn page)
{
	(void)self;
	(void)page;
}

/* As slat run does; but the table takes leaves of 1G, as if one of the zones were of such pages. */
static void map_all(struct tables *t, struct pagetable *table)
{
	const struct stitch stitch = {blocks.block, blocks.count, &options.ranges};
	const struct pagetable_attr attr = {PAGETABLE_READ | PAGETABLE_WRITE, PAGETABLE_WRITE_BACK};
	struct pagetable_config config = {
		.format = PAGETABLE_EPT, .phys_bits = HOST_PHYS_BITS, .leaf_max = PAGETABLE_1G, .pages = {t, get, put}};

	*t = (struct tables){.most = stitch_table_pages(&stitch, PAGETABLE_1G)};
	config.arena_frames = t->most;
	config.arena = t->page = aligned_alloc(FRAME_BYTES, t->most * FRAME_BYTES);
	ck_assert_int_eq(pagetable_init(table, &config), MM_OK);
	ck_assert_int_eq(stitch_map(&stitch, table, attr), MM_OK);
	ck_assert_uint_eq(t->taken, t->most);
	ck_assert(pagetable_check(table));
}

static const struct {
	const char *line;
	bool whole; /* each zone begins and ends where its pages do */
} mixtures[] = {
	{"k --memory-zone id=a,size=64M id=b,size=64M,backing=memfd id=c,size=64M", true},
	{"k --memory-zone id=a,size=64M,backing=memfd id=b,size=64M id=c,size=8K", true},
	{"k --memory thp=off --memory-zone id=a,size=1G id=b,size=2M", true},
	{"k --memory-zone id=a,size=1G id=b,size=1G,backing=memfd id=c,size=1G id=d,size=1G", true}, /* the hole */
	{"k --memory-zone id=a,size=1G id=b,size=3G", true},
	{"k --memory-zone id=a,size=1022M id=b,size=1026M id=c,size=1G", true},
	{"k --memory-zone id=a,size=3M id=b,size=1027M id=c,size=4K id=d,size=5M,backing=memfd", false},
	{"k --memory-zone id=a,size=3076K id=b,size=3068K,backing=memfd id=c,size=4K id=d,size=32M", false},
	{"k --memory contiguous=scatter --memory-zone id=a,size=32M id=b,size=32M,backing=memfd id=c,size=10M", true},
	{"k --memory contiguous=scatter,extent_size=8M --memory-zone id=a,size=66M,backing=memfd id=b,size=98M", false},
	{"k --memory contiguous=scatter,extent_size=1G --memory-zone id=a,size=1G id=b,size=2G,backing=memfd", true},
	{"k --guard 3M+4K --ro 65M+8K --memory-zone id=a,size=64M id=b,size=64M,backing=memfd", false},
};

START_TEST(each_zone_has_leaves_of_its_own_pages)
{
	struct pagetable table;
	struct tables t;

	if (!has_room(4 * GIB))
		return;
	made(mixtures[_i].line);
	check_zones();
	map_all(&t, &table);
	for (unsigned i = 0; i < zones->count; i++) {
		const struct pool *pool = zones->zone[i].pool;
		const struct vm vm = {.table = table};
		uint64_t leaves[PAGETABLE_SIZES], bytes = 0;

		vm_leaves_of(&vm, pool, leaves);
		for (unsigned size = 0; size < PAGETABLE_SIZES; size++) {
			const uint64_t page = pagetable_size_bytes((enum pagetable_size)size);

			bytes += leaves[size] * page;
			ck_assert(leaves[size] == 0 || size <= pool->backing.leaf);
			if (mixtures[_i].whole && size == pool->backing.leaf)
				ck_assert_uint_eq(leaves[size], pool->backing.bytes / page);
		}
		ck_assert(bytes == pool->backing.bytes || options.ranges.count);
	}
	free(t.page);
}
END_TEST

START_TEST(the_table_takes_the_largest_page_of_all)
{
	made("k --memory-zone id=a,size=64M id=b,size=64M,backing=memfd");
	zones->zone[0].pool->backing.leaf = PAGETABLE_4K;
	zones->zone[1].pool->backing.leaf = PAGETABLE_1G;
	ck_assert_int_eq(block_list_leaf(&blocks), PAGETABLE_1G);
	zones->zone[1].pool->backing.leaf = PAGETABLE_2M;
	ck_assert_int_eq(block_list_leaf(&blocks), PAGETABLE_2M);
	zones->zone[0].pool->backing.leaf = PAGETABLE_1G;
	ck_assert_int_eq(block_list_leaf(&blocks), PAGETABLE_1G);
}
END_TEST

/* Two of device-dax may be neighbours by number, and one run. */
START_TEST(leaves_of_neighbours_are_told_apart)
{
	const struct pool low = {.base = {512}, .backing.bytes = 4 * MIB},
			  high = {.base = {512 + 1024}, .backing.bytes = 4 * MIB},
			  other = {.base = {4096}, .backing.bytes = 4 * MIB};
	const struct pagetable_attr attr = {PAGETABLE_READ | PAGETABLE_WRITE, PAGETABLE_WRITE_BACK};
	struct tables t = {.most = 8};
	struct pagetable_config config = {.format = PAGETABLE_EPT,
					  .phys_bits = HOST_PHYS_BITS,
					  .leaf_max = PAGETABLE_2M,
					  .pages = {&t, get, put}};
	uint64_t leaves[PAGETABLE_SIZES];
	struct vm vm = {0};

	config.arena_frames = t.most;
	config.arena = t.page = aligned_alloc(FRAME_BYTES, t.most * FRAME_BYTES);
	ck_assert_int_eq(pagetable_init(&vm.table, &config), MM_OK);
	ck_assert_int_eq(pagetable_map(&vm.table, MIB, 3 * MIB, 7 * MIB, attr), MM_OK);
	vm_leaves_of(&vm, &low, leaves);
	ck_assert(leaves[PAGETABLE_2M] == 1 && leaves[PAGETABLE_4K] == 256 && leaves[PAGETABLE_1G] == 0);
	vm_leaves_of(&vm, &high, leaves);
	ck_assert(leaves[PAGETABLE_2M] == 2 && leaves[PAGETABLE_4K] == 0);
	vm_leaves_of(&vm, &other, leaves);
	ck_assert(leaves[PAGETABLE_2M] == 0 && leaves[PAGETABLE_4K] == 0);
	free(t.page);
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

/* Where the calling thread may run is all that the place has of `before`. */
static void check_kept(const cpu_set_t *before, unsigned place)
{
	cpu_set_t after;

	ck_assert_int_eq(sched_getaffinity(0, sizeof(after), &after), 0);
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
		ck_assert_int_eq(CPU_ISSET(cpu, &after) != 0,
				 CPU_ISSET(cpu, before) && zones->map.cpu_node[cpu] == place);
	ck_assert_int_eq(sched_setaffinity(0, sizeof(*before), before), 0);
}

/* On each node; on one that has but the first of the CPUs, too, for who has one node. */
START_TEST(threads_are_kept_beside_memory)
{
	cpu_set_t before;
	struct failure f = {0};

	ck_assert_int_eq(sched_getaffinity(0, sizeof(before), &before), 0);
	for (unsigned i = 0; i <= host.numa.nodes; i++) {
		char line[160];
		unsigned place, first = 0;

		snprintf(line, sizeof(line),
			 "k --cpus boot=2 --memory size=8M --placement policy=local,host_numa_node=%u",
			 host.numa.node[i % host.numa.nodes]);
		if (make(line, &f) == EXIT_HOST && strstr(f.text, "has CPUs that slat may use"))
			continue; /* a node of memory alone */
		ck_assert_msg(f.code == 0, "%s", f.text);
		place = zones->cpu_place[0];
		ck_assert_uint_eq(zones->map.node[place].id, host.numa.node[i % host.numa.nodes]);
		ck_assert_uint_eq(zones->cpu_place[1], place);
		while (zones->map.cpu_node[first] != place || !CPU_ISSET(first, &before))
			first++;
		for (unsigned cpu = first + 1; i == host.numa.nodes && cpu < IDS_MAX; cpu++)
			zones->map.cpu_node[cpu] = NUMA_MAP_NONE;
		ck_assert_int_eq(zones_keep_cpu(zones, 1, &f), 0);
		check_kept(&before, place);
		ck_assert_int_eq(zones_keep_others(zones, &f), 0);
		check_kept(&before, place);
		close_host();
		open_host();
	}
}
END_TEST

/* Those that touch a zone run on its node's CPUs. */
START_TEST(a_zone_is_touched_beside_it)
{
	for (unsigned i = 0; i < host.numa.nodes; i++) {
		struct ids cpus;
		char line[128];

		snprintf(line, sizeof(line), "k --memory-zone id=a,size=4M,host_numa_node=%u id=b,size=4M",
			 host.numa.node[i]);
		made(line);
		cpus = zones_cpus_of(zones, numa_map_place(&zones->map, host.numa.node[i]));
		if (ids_count(&cpus)) {
			ck_assert_ptr_nonnull(zones->zone[0].pool->backing.cpus);
			ck_assert_mem_eq(zones->zone[0].pool->backing.cpus, &cpus, sizeof(cpus));
		}
		ck_assert_ptr_null(zones->zone[1].pool->backing.cpus);
		close_host();
		open_host();
	}
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

/* ---- pages on the wrong node, on hosts of several ---- */

#define ZONE_BYTES (8 * MIB)

/* "%u", twice, are the first node with CPUs, and another. False: there are no two. */
static bool made_on(const char *line, unsigned *home, unsigned *other)
{
	struct ids with_cpus = {0};
	char text[256];

	if (host.numa.nodes < 2)
		return false;
	(void)hostfs_ids("", &with_cpus, "/sys/devices/system/node/has_cpu");
	*home = ids_next(&with_cpus, 0);
	*other = host.numa.node[host.numa.node[0] == *home];
	snprintf(text, sizeof(text), line, *home, *other); /* NOLINT(clang-diagnostic-format-nonliteral) */
	made(text);
	return true;
}

/* Its pages come from that node, whatever its rule says. */
static void touch_on(const struct zone *one, unsigned node)
{
	const struct backing *b = &one->pool->backing;
	struct numa_rule rule = {.policy = NUMA_BIND};
	struct failure f = {0};
	const char *note;

	ids_add(&rule.nodes, node);
	ck_assert_int_eq(numa_rule_set(&host.numa, &rule, b->host, b->bytes, false, &note, &f), 0);
	for (uint64_t at = 0; at < b->bytes; at += FRAME_BYTES)
		memcpy(b->host + at, &at, sizeof(at));
	ck_assert_int_eq(numa_rule_set(&host.numa, &one->rule, b->host, b->bytes, false, &note, &f), 0);
	ck_assert_int_eq(where_pages(b->host, b->bytes, FRAME_BYTES, &is, &f), 0);
	ck_assert_uint_eq(is.bytes[node], b->bytes);
}

/* What another process has mapped, too, stays where it is. */
static pid_t share(const struct zone *one)
{
	const struct backing *b = &one->pool->backing;
	int pipe_of[2];
	char byte;
	pid_t child;

	ck_assert_int_eq(pipe(pipe_of), 0);
	child = fork();
	if (child == 0) {
		unsigned sum = 0;

		for (uint64_t at = 0; at < b->bytes; at += FRAME_BYTES)
			sum += *(volatile uint8_t *)(b->host + at);
		(void)!write(pipe_of[1], &sum, 1);
		for (;;)
			pause();
	}
	ck_assert_int_eq(read(pipe_of[0], &byte, 1), 1);
	return child;
}

static void end(pid_t child)
{
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
}

static const char *const moved_lines[] = {
	"k --memory-zone id=a,size=8M,prefault=on,host_numa_node=%u",
	"k --strict --memory-zone id=a,size=8M,prefault=on,host_numa_node=%u",
	"k --memory thp=off --memory-zone id=a,size=8M,prefault=on,host_numa_node=%u",
	"k --memory-zone id=a,size=8M,prefault=on,backing=memfd,host_numa_node=%u",
};

START_TEST(pages_elsewhere_are_moved)
{
	struct failure f = {0};
	unsigned home, other;

	if (!made_on(moved_lines[_i], &home, &other))
		return;
	touch_on(&zones->zone[0], other);
	ck_assert_msg(zones_verify(zones, &f) == 0, "%s", f.text);
	ck_assert_uint_eq(zones->zone[0].where.bytes[home], ZONE_BYTES);
	ck_assert_int_eq(where_pages(zones->zone[0].pool->backing.host, ZONE_BYTES, FRAME_BYTES, &is, &f), 0);
	ck_assert_uint_eq(is.bytes[home], ZONE_BYTES);
	for (uint64_t at = 0, had; at < ZONE_BYTES; at += FRAME_BYTES) {
		memcpy(&had, zones->zone[0].pool->backing.host + at, sizeof(had));
		if (had != at)
			ck_abort_msg("byte %lu changed", (unsigned long)at);
	}
}
END_TEST

START_TEST(pages_that_stay_end_a_strict_run)
{
	static const char *const lines[] = {
		"k --strict --memory-zone id=a,size=8M,prefault=on,backing=memfd,host_numa_node=%u",
		"k --memory-zone id=a,size=8M,prefault=on,backing=memfd,host_numa_node=%u",
	};
	struct failure f = {0};
	unsigned home, other;
	char sentence[128];
	pid_t child;

	if (!made_on(lines[_i], &home, &other))
		return;
	touch_on(&zones->zone[0], other);
	child = share(&zones->zone[0]);
	ck_assert_int_eq(zones_verify(zones, &f), _i ? 0 : EXIT_HOST);
	end(child);
	snprintf(sentence, sizeof(sentence), "--strict: 8 MiB of zone a are not on node %u, and cannot be moved there",
		 home);
	ck_assert_str_eq(f.text, _i ? "" : sentence);
	ck_assert_uint_eq(zones_misplaced(zones, &zones->zone[0], &zones->zone[0].where), ZONE_BYTES);
}
END_TEST

START_TEST(shares_that_are_not_equal_end_a_strict_run)
{
	static const char *const lines[] = {
		"k --strict --memory-zone id=a,size=8M,prefault=on,host_numa_node=%u,%u",
		"k --memory-zone id=a,size=8M,prefault=on,host_numa_node=%u,%u",
	};
	struct failure f = {0};
	unsigned home, other;

	if (!made_on(lines[_i], &home, &other))
		return;
	touch_on(&zones->zone[0], other);
	ck_assert_int_eq(zones_verify(zones, &f), _i ? 0 : EXIT_HOST);
	if (_i == 0)
		ck_assert_ptr_nonnull(
			strstr(f.text, " in equal shares, 4 MiB are on another of them than they were asked from"));
	ck_assert_uint_eq(zones_misplaced(zones, &zones->zone[0], &zones->zone[0].where), ZONE_BYTES / 2);
}
END_TEST

/* What comes again is from the set, too. */
START_TEST(what_was_interleaved_is_bound_then)
{
	static const char *const lines[] = {
		"k --strict --memory-zone id=a,size=8M,prefault=on,host_numa_node=%u,%u",
		"k --memory-zone id=a,size=8M,prefault=on,host_numa_node=%u,%u",
	};
	struct failure f = {0};
	unsigned home, other;
	int policy = -1;

	if (!made_on(lines[_i], &home, &other))
		return;
	ck_assert_int_eq(backing_prefault(&zones->zone[0].pool->backing, 0, ZONE_BYTES, &f), 0);
	ck_assert_msg(zones_verify(zones, &f) == 0, "%s", f.text);
	ck_assert_int_eq(syscall(SYS_get_mempolicy, &policy, NULL, 0, zones->zone[0].pool->backing.host, MPOL_F_ADDR),
			 0);
	ck_assert_int_eq(policy, _i ? MPOL_INTERLEAVE : MPOL_BIND);
	ck_assert_int_eq(zones->zone[0].rule.policy, NUMA_INTERLEAVE); /* as the report has it */
}
END_TEST

/* Moved, it is kept; where it cannot be moved, it is refused, with or without --strict. */
START_TEST(a_contract_is_of_where_pages_are)
{
	char name[] = TABLE, line[160];
	struct failure f = {0};
	unsigned home, other;
	pid_t child = 0;

	write_table(name, 80000);
	snprintf(line, sizeof(line),
		 "k --memory size=8M,shared=on,prefault=on --latency 81ns --latencies %s --placement "
		 "host_numa_node=%%u,%%u%s",
		 name, _i == 2 ? " --strict" : "");
	if (made_on(line, &home, &other)) {
		struct zone *one = &zones->zone[0];

		ck_assert_uint_eq(zones->latency_ps, 80000);
		touch_on(one, ids_has(&one->rule.nodes, home) ? other : home);
		child = _i ? share(one) : 0;
		ck_assert_int_eq(zones_verify(zones, &f), _i ? EXIT_HOST : 0);
		ck_assert(_i == 1 ? zones->latency_ps > 100000 : zones->latency_ps == 80000);
		ck_assert_msg(_i != 1 ||
				      strstr(f.text, "--latency 81.000ns is not kept: not all memory came from where "
						     "it was asked, and as it lies the mean is 1"),
			      "%s", f.text);
		ck_assert_msg(_i != 2 || strstr(f.text, "--strict: 8 MiB of zone mem0 are not on node "), "%s", f.text);
	}
	unlink(name);
	if (child)
		end(child);
}
END_TEST

/* ---- what the guest is told, of hosts of several nodes ---- */

#define NODES 3u

static struct zones shown;
static struct pool shown_pools[NODES];

/* Nodes 3, 8 and 40, 80 ns each and 160 to the others. cpus: how many each has, zones_on: where each zone lies, a
 * digit each. */
static void show_host(const char *line, const char *cpus, const char *zones_on)
{
	static const unsigned ids[NODES] = {3, 8, 40};
	unsigned cpu = 0;

	parse(line);
	memset(&shown, 0, sizeof(shown));
	shown.options = &options;
	shown.map.nodes = NODES;
	shown.map.has_hmat = true;
	memset(shown.map.cpu_node, NUMA_MAP_NONE, sizeof(shown.map.cpu_node));
	memset(&shown.limits.cpus, 0xff, sizeof(shown.limits.cpus));
	memset(shown.cpu_place, ZONES_ANY, sizeof(shown.cpu_place));
	for (unsigned i = 0; i < NODES; i++) {
		shown.map.node[i] =
			(struct numa_map_node){.id = ids[i], .cpus = (unsigned)(cpus[i] - '0'), .has_memory = true};
		for (unsigned n = 0; n < shown.map.node[i].cpus; n++)
			shown.map.cpu_node[cpu++] = (uint8_t)i;
		for (unsigned k = 0; k < NODES; k++) {
			shown.map.distance[i][k] = i == k ? 10 : (uint8_t)(20 + k);
			shown.map.latency_ps[i][k] = i == k ? 80000 : 160000 + k * 1000;
		}
		shown_pools[i] = (struct pool){.node = ids[i]};
	}
	for (; zones_on[shown.count]; shown.count++) {
		struct zone *zone = &shown.zone[shown.count];

		zone->bytes = 4 * MIB;
		zone->pool = &shown_pools[zones_on[shown.count] - '0'];
		zone->ruled = true;
		ids_add(&zone->rule.nodes, zone->pool->node);
	}
}

/* ---- a device among others ---- */

/* It lies where the numbers of the zone before it would begin: these go around it, and the guest has both in its order.
 */
START_TEST(a_device_s_numbers_are_nobody_else_s)
{
	const uint64_t resource = (host.numa.node[0] % HOST_NODES_MAX + 1) * HOST_POOL_BYTES_MAX + 4 * MIB;
	const struct fake_dax dax = {
		.name = "dax0.0", .bytes = 8 * MIB, .align = 2 * MIB, .resource = resource, .node = -1};
	struct fake_sys sys;
	struct failure f = {0};
	struct make m = {.z = &shown, .o = &options, .root = sys.root};
	char line[256];

	fake_sys_open(&sys);
	fake_dax_add(&sys, &dax);
	snprintf(line, sizeof(line),
		 "k --memory-zone id=a,size=8M,host_numa_node=%u id=d,size=4M,backing=devdax,file=%s/dev/dax0.0",
		 host.numa.node[0], sys.root);
	parse(line);
	shown = (struct zones){.memory = &memory, .options = &options, .host = &host};
	blocks.memory = &memory;
	ck_assert_int_eq(numa_map_read("", &shown.map, &f), 0);
	ck_assert_int_eq(limits_read("", &shown.limits, &f), 0);
	ck_assert_int_eq(zones_plan(&m, &f), 0);
	ck_assert_msg(zones_open_pools(&m, SLOTS, &blocks, &f) == 0, "%s", f.text);
	ck_assert_uint_eq(blocks.count, 2);
	ck_assert_ptr_eq(blocks.block[0].pool, shown.zone[0].pool);
	ck_assert_uint_eq(blocks.block[1].first.n, resource / FRAME_BYTES);
	ck_assert_uint_ge(blocks.block[0].first.n, (resource + 4 * MIB) / FRAME_BYTES);
	fake_sys_close(&sys);
}
END_TEST

/* ---- a plan, of hosts of several nodes ---- */

/* So much of each node of show_host() is planned for, in the order of zones: "40:1024 3:512" in KiB. */
static const char *planned(const struct make *m)
{
	static char text[256];

	text[0] = '\0';
	for (unsigned i = 0; i < shown.count; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s:%" PRIu64, i ? " " : "",
			 ids_format(&m->plan[i].nodes).s, m->plan[i].bytes >> 10);
	return text;
}

static const char *plan(const char *line, const char *cpus)
{
	struct make m = {.z = &shown, .o = &options};
	struct failure f = {0};

	show_host(line, cpus, "");
	shown.memory = &memory;
	memset(&shown.limits.nodes, 0xff, sizeof(shown.limits.nodes));
	for (unsigned i = 0; i < NODES; i++)
		shown.map.node[i].free_bytes = shown.map.node[i].total_bytes = shown.map.node[i].room_bytes = GIB;
	ck_assert_msg(zones_plan(&m, &f) == 0, "%s: %s", line, f.text);
	return planned(&m);
}

/* A contract is kept by what is taken, and not by granules that the guest has not whole: what it lacks, it lacks of the
 * slow ones. */
START_TEST(an_odd_size_keeps_its_contract)
{
	ck_assert_str_eq(plan("k --memory size=8M --latency 101ns", "010"), "8:6144 3:2048");
	ck_assert_str_eq(plan("k --memory size=7M --latency 101ns", "010"), "8:6144 3:1024");
	ck_assert_str_eq(plan("k --memory size=8M --latency 100ns", "001"), "40:6144 3:2048");
	ck_assert_str_eq(plan("k --memory size=7M --latency 100ns", "001"), "40:6144 3:1024");
	ck_assert_str_eq(plan("k --memory size=7M --latency 101ns", "100"), "3:6144 8:1024");
	ck_assert_uint_le(shown.latency_ps, 101000);
	ck_assert_str_eq(plan("k --memory size=7M --placement policy=interleave", "111"), "3,8,40:7168");
	ck_assert_str_eq(plan("k --cpus boot=3 --memory size=7M --placement policy=spread", "111"),
			 "3:4096 8:2048 40:1024");
	ck_assert_str_eq(plan("k --memory size=5M --placement policy=local", "001"), "40:5120");
}
END_TEST

/* ---- what nodes have room for ---- */

/* 64 MiB of room on node 3, a GiB free on each. */
static int check(const char *line, struct failure *f)
{
	struct make m = {.z = &shown, .o = &options};

	show_host(line, "111", "");
	shown.memory = &memory;
	memset(&shown.limits, 0xff, sizeof(shown.limits));
	for (unsigned i = 0; i < NODES; i++) {
		struct numa_map_node *n = &shown.map.node[i];

		n->free_bytes = GIB;
		n->room_bytes = i == 0 ? 64 * MIB : 512 * MIB;
		n->total_bytes = 2 * GIB;
		n->cached_bytes = 16 * MIB;
		n->weight = i == 0 ? 3 : 1;
		n->huge[NUMA_HUGE_2M] = (struct numa_huge){64, 64};
	}
	return zones_plan(&m, f) ? f->code : zones_check_plan(&m, f);
}

static const struct {
	const char *line, *sentence; /* NULL: taken */
} checks[] = {
	/* What is free is not what can be had. */
	{"k --memory size=64M --placement policy=local,host_numa_node=3", NULL},
	{"k --memory size=66M --placement policy=local,host_numa_node=3",
	 "have 64 MiB free together, not 66 MiB; 960 MiB more are kept back for the kernel, and 16 MiB hold cached "
	 "files"},
	{"k --memory size=64M --latency 80ns --placement host_numa_node=3", NULL},
	{"k --memory size=66M --latency 80ns --placement host_numa_node=3", "have 64 MiB free together, not 66 MiB"},
	/* Bound, half of what files have counts, too; the sum of what is touched is judged. */
	{"k --strict --memory-zone id=a,size=72M,prefault=on,host_numa_node=3", NULL},
	{"k --strict --memory-zone id=a,size=73M,prefault=on,host_numa_node=3",
	 "--memory-zone id=a: --strict binds 73 MiB to node 3, which can give 72 MiB now (1 GiB are free, and the "
	 "kernel "
	 "keeps some back): ask for less, or leave --strict out"},
	{"k --strict --memory-zone id=a,size=40M,prefault=on,host_numa_node=3 "
	 "id=b,size=33M,prefault=on,host_numa_node=3",
	 "--memory-zone id=b and those before it: --strict binds 73 MiB to node 3, which can give 72 MiB now"},
	{"k --strict --memory-zone id=a,size=40M,host_numa_node=3 id=b,size=33M,prefault=on,host_numa_node=3", NULL},
	{"k --strict --memory-zone id=a,size=73M,host_numa_node=3", NULL},
	{"k --strict --memory-zone id=a,size=2049M,host_numa_node=3", "to node 3, which has 2 GiB: ask for less"},
	{"k --memory-zone id=a,size=73M,prefault=on,host_numa_node=3", NULL},
	/* Huge pages are counted by themselves. */
	{"k --strict --memory-zone id=a,size=80M,backing=hugetlb,prefault=on,host_numa_node=3 "
	 "id=b,size=64M,prefault=on,host_numa_node=3",
	 NULL},
	/* Interleaved: of each node its share, and no files' pages. */
	{"k --strict --memory-zone id=a,size=128M,prefault=on,host_numa_node=3,8", NULL},
	{"k --strict --memory-zone id=a,size=129M,prefault=on,host_numa_node=3,8",
	 "--memory-zone id=a: --strict binds 66048 KiB to node 3, which can give 64 MiB now"},
	{"k --strict --memory-zone id=a,size=88M,prefault=on,host_numa_node=3,8,weighted=on",
	 "--strict binds 66 MiB to node 3, which can give 64 MiB now"},
	{"k --strict --memory-zone id=a,size=84M,prefault=on,host_numa_node=3,8,weighted=on", NULL},
	{"k --strict --memory-zone id=a,size=84M,host_numa_node=3,8", "only once it is touched: prefault=on"},
};

START_TEST(a_node_gives_what_it_has_room_for)
{
	struct failure f = {0};
	const int code = check(checks[_i].line, &f);

	ck_assert_msg((code != 0) == (checks[_i].sentence != NULL), "%s: %s", checks[_i].line, f.text);
	if (code)
		ck_assert_msg(strstr(f.text, checks[_i].sentence) != NULL, "%s", f.text);
}
END_TEST

/* ---- shares ---- */

START_TEST(shares_are_of_whole_pages_and_sum_up)
{
	static const char *const lists[] = {"3", "3,8", "3,8,40", "8,40"};

	show_host("k", "111", "0");
	seed(7);
	for (unsigned round = 0; round < 2000; round++) {
		struct zone *one = &shown.zone[0];
		const uint64_t bytes = below(1 << 16) * FRAME_BYTES;
		uint64_t sum = 0, least = UINT64_MAX, most = 0;

		ck_assert(ids_parse(&one->rule.nodes, lists[below(4)]));
		one->rule.policy = below(2) ? NUMA_WEIGHTED : NUMA_INTERLEAVE;
		for (unsigned i = 0; i < NODES; i++)
			shown.map.node[i].weight = (uint8_t)(1 + below(9));
		zones_shares(&shown, one, bytes, &asked);
		for (unsigned i = 0; i < NODES; i++) {
			const unsigned id = shown.map.node[i].id;
			const unsigned weight = one->rule.policy == NUMA_WEIGHTED ? shown.map.node[i].weight : 1;

			if (!ids_has(&one->rule.nodes, id))
				continue;
			sum += asked.bytes[id];
			least = asked.bytes[id] / weight < least ? asked.bytes[id] / weight : least;
			most = asked.bytes[id] / weight > most ? asked.bytes[id] / weight : most;
		}
		if (sum != bytes || most - least > FRAME_BYTES || where_elsewhere(&asked, &one->rule.nodes))
			ck_abort_msg("%lu of %lu bytes, %lu to %lu", (unsigned long)sum, (unsigned long)bytes,
				     (unsigned long)least, (unsigned long)most);
	}
}
END_TEST

/* Of 128 MiB on nodes 3 and 8, in pages of 2 MiB: a page, and a 64th of a share, may be on the other. */
START_TEST(what_is_not_where_it_was_asked_from)
{
	struct zone *one = &shown.zone[0];

	show_host("k", "111", "0");
	shown_pools[0].backing = (struct backing){.bytes = 128 * MIB, .leaf = PAGETABLE_2M};
	ids_add(&one->rule.nodes, 8);
	one->rule.policy = NUMA_INTERLEAVE;
	is = (struct where){.bytes = {[3] = 67 * MIB, [8] = 61 * MIB}};
	ck_assert_uint_eq(zones_misplaced(&shown, one, &is), 0);
	is = (struct where){.bytes = {[3] = 67 * MIB + FRAME_BYTES, [8] = 61 * MIB - FRAME_BYTES}};
	ck_assert_uint_eq(zones_misplaced(&shown, one, &is), 3 * MIB + FRAME_BYTES);
	is = (struct where){.bytes = {[8] = 128 * MIB}};
	ck_assert_uint_eq(zones_misplaced(&shown, one, &is), 64 * MIB);
	is = (struct where){.bytes = {[3] = 64 * MIB, [8] = 63 * MIB, [40] = MIB}};
	ck_assert_uint_eq(zones_misplaced(&shown, one, &is), MIB);
	is = (struct where){.bytes = {[8] = 64 * MIB}, .absent_bytes = 63 * MIB, .unknown_bytes = MIB};
	ck_assert_uint_eq(zones_misplaced(&shown, one, &is), 0); /* what is not there may be any of it */
	one->rule.policy = NUMA_WEIGHTED;
	shown.map.node[0].weight = 3; /* 96 and 32 MiB, and a round of 6 and of 2 */
	shown.map.node[1].weight = 1;
	is = (struct where){.bytes = {[3] = 98 * MIB + MIB / 2, [8] = 30 * MIB - MIB / 2}};
	ck_assert_uint_eq(zones_misplaced(&shown, one, &is), 0);
	is = (struct where){.bytes = {[3] = 99 * MIB, [8] = 29 * MIB}};
	ck_assert_uint_eq(zones_misplaced(&shown, one, &is), 3 * MIB);
	is = (struct where){.bytes = {[3] = 64 * MIB, [8] = 64 * MIB}};
	ck_assert_uint_eq(zones_misplaced(&shown, one, &is), 32 * MIB);
	ck_assert(ids_parse(&one->rule.nodes, "8")); /* all from one */
	one->rule.policy = NUMA_PREFERRED;
	is = (struct where){.bytes = {[8] = 128 * MIB - FRAME_BYTES, [3] = FRAME_BYTES}};
	ck_assert_uint_eq(zones_misplaced(&shown, one, &is), FRAME_BYTES);
}
END_TEST

/* 80 ns on node 3, 161 to node 8, from one CPU on node 3. */
START_TEST(the_mean_is_of_where_pages_are)
{
	const struct where *where[ZONES_MAX] = {&is};

	show_host("k", "111", "0");
	shown.memory = &memory;
	memcpy(shown.wait_ps, shown.map.latency_ps, sizeof(shown.wait_ps));
	shown.cpu_place[0] = 0;
	is = (struct where){.bytes = {[3] = 2 * MIB, [8] = 2 * MIB}};
	ck_assert_uint_eq(zones_latency(&shown, where), 0); /* nothing was chosen by them */
	shown.latency_ps = 80000;
	ck_assert_uint_eq(zones_latency(&shown, where), 120500);
	is = (struct where){.bytes = {[8] = MIB}, .absent_bytes = 3 * MIB}; /* to come from node 3 */
	ck_assert_uint_eq(zones_latency(&shown, where), 100250);
	where[0] = NULL;
	ck_assert_uint_eq(zones_latency(&shown, where), 80000);
	ids_add(&shown.zone[0].rule.nodes, 8);
	shown.zone[0].rule.policy = NUMA_INTERLEAVE;
	ck_assert_uint_eq(zones_latency(&shown, where), 120500);
	shown.cpu_place[0] = 1;
	ck_assert_uint_eq(zones_latency(&shown, where), 120000);
}
END_TEST

/* What others were promised may be of the node that has more free. */
START_TEST(promised_huge_pages_are_no_room)
{
	struct make m = {.z = &shown, .o = &options};
	struct failure f = {0};

	show_host("k --memory size=8M,hugepages=on --placement policy=pack", "110", "");
	shown.memory = &memory;
	memset(&shown.limits.nodes, 0xff, sizeof(shown.limits.nodes));
	for (unsigned i = 0; i < NODES; i++)
		shown.map.node[i].huge[NUMA_HUGE_2M] = (struct numa_huge){20, i == 0 ? 8 : i == 1 ? 10 : 0};
	ck_assert_msg(zones_plan(&m, &f) == 0, "%s", f.text);
	ck_assert_str_eq(planned(&m), "3:8192");
	shown.count = 0;
	shown.map.huge_promised[NUMA_HUGE_2M] = 5;
	ck_assert_msg(zones_plan(&m, &f) == 0, "%s", f.text);
	ck_assert_str_eq(planned(&m), "8:8192");
	shown.count = 0;
	shown.map.huge_promised[NUMA_HUGE_2M] = 9;
	ck_assert_int_eq(zones_plan(&m, &f), EXIT_HOST);
}
END_TEST

static void is_shown(void)
{
	struct failure f = {0};

	ck_assert_msg(zones_show(&shown, &f) == 0, "%s", f.text);
}

#define TWO_ZONES "k --cpus boot=4 --memory-zone id=a,size=4M id=b,size=4M"

START_TEST(vcpus_are_where_zones_and_cpus_are)
{
	const struct topology *t = &shown.topology;

	show_host(TWO_ZONES, "220", "01");
	is_shown();
	ck_assert(t->nodes == 2 && t->cpus == 4 && t->ranges == 2);
	for (unsigned cpu = 0; cpu < 4; cpu++)
		ck_assert(shown.cpu_place[cpu] == cpu / 2 && t->cpu_node[cpu] == cpu / 2);
	show_host(TWO_ZONES, "220", "11"); /* on one node: the guest is told nothing, and runs anywhere */
	is_shown();
	ck_assert(t->nodes == 0 && shown.cpu_place[0] == ZONES_ANY && shown.cpu_place[3] == ZONES_ANY);
	show_host(TWO_ZONES, "220", "01");
	for (unsigned cpu = 0; cpu < 2; cpu++) /* a cpuset that leaves node 3's CPUs out */
		shown.limits.cpus.word[0] &= ~(UINT64_C(1) << cpu);
	is_shown();
	ck_assert(shown.cpu_place[0] == 1 && shown.cpu_place[3] == 1);
	ck_assert(t->nodes == 2 && topology_has_cpus(t, 0) && !topology_has_cpus(t, 1));
	ck_assert(t->range[0].node == 1 && t->range[1].node == 0);
}
END_TEST

START_TEST(a_node_of_memory_alone_has_no_vcpus)
{
	const struct topology *t = &shown.topology;

	show_host(TWO_ZONES, "100", "10"); /* the RAM begins on it */
	is_shown();
	ck_assert(t->nodes == 2 && t->range[0].node == 1 && t->range[1].node == 0);
	ck_assert(topology_has_cpus(t, 0) && !topology_has_cpus(t, 1));
	ck_assert(t->has_hmat && t->latency_ns[0][0] == 80 && t->latency_ns[0][1] == 161);
	ck_assert(t->distance[0][1] == 21 && t->distance[1][0] == 20);
	show_host(TWO_ZONES, "100", "12"); /* all of it is: then there is one of CPUs alone */
	is_shown();
	ck_assert(t->nodes == 3 && topology_has_cpus(t, 0) && !topology_has_memory(t, 0));
	ck_assert(t->latency_ns[0][1] == 161 && t->latency_ns[0][2] == 162 && shown.cpu_place[3] == 0);
	show_host(TWO_ZONES, "011", "00"); /* one node, and no question */
	is_shown();
	ck_assert_uint_eq(t->nodes, 0);
	show_host(TWO_ZONES, "000", "12"); /* no CPU that the map knows */
	is_shown();
	ck_assert(t->nodes == 2 && shown.cpu_place[0] == ZONES_ANY);
}
END_TEST

START_TEST(whom_a_placement_chose_stays)
{
	show_host(TWO_ZONES, "121", "01");
	memset(shown.cpu_place, 2, 4);
	is_shown();
	ck_assert(shown.cpu_place[0] == 2 && shown.cpu_place[3] == 2);
	ck_assert(shown.topology.nodes == 3 && shown.topology.cpu_node[0] == 0);
	ck_assert(shown.topology.latency_ns[0][1] == 160 && shown.topology.latency_ns[0][2] == 161);
}
END_TEST

START_TEST(figures_that_no_table_tells_refuse_nobody)
{
	show_host(TWO_ZONES, "110", "01");
	shown.map.distance[0][1] = shown.map.distance[1][0] = 10; /* numa=fake */
	shown.map.latency_ps[0][1] = 0;				  /* a device's */
	is_shown();
	ck_assert(shown.topology.distance[0][1] == 11 && !shown.topology.has_hmat);
}
END_TEST

#define TWO_NODES                                                                                                      \
	TWO_ZONES " --numa guest_numa_id=0,cpus=0-1,memory_zones=a,distances=1@33 guest_numa_id=1,cpus=2-3,"           \
		  "memory_zones=b"

START_TEST(numa_has_the_hosts_latencies)
{
	const struct topology *t = &shown.topology;

	show_host(TWO_NODES, "111", "20");
	is_shown();
	for (unsigned cpu = 0; cpu < 4; cpu++)
		ck_assert(shown.cpu_place[cpu] == (cpu < 2 ? 2 : 0) && t->cpu_node[cpu] == cpu / 2);
	ck_assert(t->has_hmat && t->latency_ns[0][0] == 80 && t->latency_ns[0][1] == 160 && t->latency_ns[1][0] == 162);
	ck_assert(t->distance[0][1] == 33 && t->distance[1][0] == 33); /* as asked */
	show_host(TWO_NODES, "110", "20");			       /* CPUs 0 and 1 may run anywhere */
	is_shown();
	ck_assert(!t->has_hmat && shown.cpu_place[0] == ZONES_ANY && shown.cpu_place[2] == 0);
	show_host(TWO_NODES, "111", "20");
	ids_add(&shown.zone[0].rule.nodes, 3); /* interleaved */
	is_shown();
	ck_assert(!t->has_hmat && shown.cpu_place[0] == ZONES_ANY);
	show_host(TWO_NODES, "111", "20");
	shown.cpu_place[1] = 1; /* a placement's */
	is_shown();
	ck_assert(!t->has_hmat && shown.cpu_place[1] == 1 && shown.cpu_place[0] == 2);
	show_host(TWO_NODES, "111", "20");
	shown.map.has_hmat = false;
	is_shown();
	ck_assert(!t->has_hmat && t->nodes == 2);
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
	tcase_add_test(t, zones_are_not_more_than_the_host_together);
	tcase_add_test(t, zones_are_pools_in_the_order_of_addresses);
	tcase_add_test(t, one_zone_needs_no_mirror);
	tcase_add_test(t, scattered_zones_are_in_pieces);
	tcase_add_test(t, all_zones_share_the_memslots);
	tcase_add_test(t, the_hole_lies_within_a_zone);
	tcase_add_test(t, as_many_zones_as_there_can_be);
	tcase_add_loop_test(t, a_pool_with_a_history_lies_where_it_is_asked, 0, 4);
	tcase_add_test(t, a_pool_with_a_history_is_one);
	tcase_add_loop_test(t, each_zone_has_leaves_of_its_own_pages, 0, sizeof(mixtures) / sizeof(mixtures[0]));
	tcase_add_test(t, the_table_takes_the_largest_page_of_all);
	tcase_add_test(t, leaves_of_neighbours_are_told_apart);
	tcase_add_loop_test(t, a_placement_is_as_large_as_was_asked, 0, 4);
	tcase_add_loop_test(t, a_placement_by_a_table, 0, 2);
	tcase_add_test(t, a_table_too_slow);
	tcase_add_test(t, a_table_without_memory);
	tcase_add_test(t, pages_are_counted_once_they_are_touched);
	tcase_add_test(t, who_is_kept_nowhere_runs_anywhere);
	tcase_add_test(t, a_device_s_numbers_are_nobody_else_s);
	tcase_add_test(t, an_odd_size_keeps_its_contract);
	tcase_add_loop_test(t, a_node_gives_what_it_has_room_for, 0, sizeof(checks) / sizeof(checks[0]));
	tcase_add_test(t, shares_are_of_whole_pages_and_sum_up);
	tcase_add_test(t, what_is_not_where_it_was_asked_from);
	tcase_add_test(t, the_mean_is_of_where_pages_are);
	tcase_add_test(t, promised_huge_pages_are_no_room);
	tcase_add_test(t, vcpus_are_where_zones_and_cpus_are);
	tcase_add_test(t, a_node_of_memory_alone_has_no_vcpus);
	tcase_add_test(t, whom_a_placement_chose_stays);
	tcase_add_test(t, figures_that_no_table_tells_refuse_nobody);
	tcase_add_test(t, numa_has_the_hosts_latencies);
	tcase_add_loop_test(t, each_allocation_refused, 0, 2);
	suite_add_tcase(s, t);
	t = tcase_create("nodes");
	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, open_host, close_host);
	tcase_add_test(t, threads_are_kept_beside_memory);
	tcase_add_test(t, a_zone_is_touched_beside_it);
	tcase_add_loop_test(t, pages_elsewhere_are_moved, 0, sizeof(moved_lines) / sizeof(moved_lines[0]));
	tcase_add_loop_test(t, pages_that_stay_end_a_strict_run, 0, 2);
	tcase_add_loop_test(t, shares_that_are_not_equal_end_a_strict_run, 0, 2);
	tcase_add_loop_test(t, what_was_interleaved_is_bound_then, 0, 2);
	tcase_add_loop_test(t, a_contract_is_of_where_pages_are, 0, 3);
	suite_add_tcase(s, t);
	return s;
}
