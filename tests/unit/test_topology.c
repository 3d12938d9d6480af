/* vmm/topology.c: a good topology passes, and each way of being a bad one is refused by its own sentence. */
#include <check.h>
#undef fail
#include <string.h>

#include "vmm/failure.h"
#include "vmm/topology.h"

#define GIB (UINT64_C(1) << 30)

static struct topology t;
static struct failure failure;

/* Nodes 0 and 1 have both, 2 CPUs alone, 3 memory alone, with a hole in the memory. */
static void good(void)
{
	t = (struct topology){
		.nodes = 4,
		.cpus = 4,
		.cpu_node = {0, 1, 2, 0},
		.ranges = 3,
		.range = {{0, 2 * GIB, 0}, {2 * GIB, GIB, 1}, {4 * GIB, GIB, 3}},
		.has_hmat = true,
	};
	for (unsigned i = 0; i < 4; i++)
		for (unsigned j = 0; j < 4; j++) {
			t.distance[i][j] = i == j ? 10 : (uint8_t)(11 + i * 4 + j);
			t.latency_ns[i][j] = 80 + i * 4 + j;
		}
}

static bool passes(void)
{
	failure = (struct failure){0};
	return topology_check(&t, &failure) == 0 && failure.code == 0;
}

static void refused(const char *words)
{
	struct topology before = t;

	failure = (struct failure){0};
	ck_assert_int_eq(topology_check(&t, &failure), EXIT_USAGE);
	ck_assert_int_eq(failure.code, EXIT_USAGE);
	ck_assert_msg(strstr(failure.text, words) != NULL, "\"%s\" does not say \"%s\"", failure.text, words);
	ck_assert(memcmp(&before, &t, sizeof(t)) == 0);
}

/* Sets one thing of a good topology, and looks for the sentence. */
#define REFUSED(thing, value, words)                                                                                   \
	do {                                                                                                           \
		good();                                                                                                \
		(thing) = (value);                                                                                     \
		refused(words);                                                                                        \
	} while (0)
#define PASSES(thing, value)                                                                                           \
	do {                                                                                                           \
		good();                                                                                                \
		(thing) = (value);                                                                                     \
		ck_assert_msg(passes(), "%s", failure.text);                                                           \
	} while (0)

START_TEST(good_ones)
{
	good();
	ck_assert(passes());
	memset(&t, 0xff, sizeof(t)); /* without nodes nothing else counts */
	t.nodes = 0;
	ck_assert(passes());
	t = (struct topology){.nodes = 1, .cpus = 1, .ranges = 1, .range = {{4096, 4096, 0}}, .distance = {{10}}};
	ck_assert(passes());
	good();
	t.cpus = TOPOLOGY_CPUS_MAX;
	ck_assert(passes());
}
END_TEST

START_TEST(nodes_of_things)
{
	good();
	for (unsigned node = 0; node < 5; node++) {
		ck_assert_int_eq(topology_has_cpus(&t, node), node < 3);
		ck_assert_int_eq(topology_has_memory(&t, node), node == 0 || node == 1 || node == 3);
	}
}
END_TEST

START_TEST(counts)
{
	REFUSED(t.nodes, 17, "17 guest nodes");
	REFUSED(t.cpus, 0, "0 CPUs");
	REFUSED(t.cpus, 256, "256 CPUs");
	REFUSED(t.ranges, 0, "0 ranges");
	REFUSED(t.ranges, 65, "65 ranges");
	good();
	t.nodes = 16;
	t.cpus = 255;
	t.ranges = 64;
	for (unsigned i = 0; i < 64; i++)
		t.range[i] = (struct topology_range){i * GIB, GIB, (uint8_t)(i % 16)};
	memset(t.distance, 255, sizeof(t.distance));
	for (unsigned i = 0; i < 16; i++)
		t.distance[i][i] = 10;
	for (unsigned i = 0; i < 16; i++)
		t.latency_ns[i][i] = 1;
	ck_assert_msg(passes(), "%s", failure.text);
}
END_TEST

START_TEST(places)
{
	REFUSED(t.cpu_node[3], 4, "CPU 3 is on guest node 4, and there are 4");
	REFUSED(t.range[2].node, 4, "memory at 0x100000000 is on guest node 4");
	REFUSED(t.cpu_node[2], 0, "guest node 2 has neither");
	REFUSED(t.range[2].node, 0, "guest node 3 has neither");
	PASSES(t.cpu_node[4], 200); /* there is no CPU 4 */
	PASSES(t.range[3].node, 200);
}
END_TEST

START_TEST(ranges)
{
	REFUSED(t.range[1].bytes, 0, "not whole frames");
	REFUSED(t.range[1].bytes, 4095, "not whole frames");
	REFUSED(t.range[1].gpa, 2 * GIB + 512, "not whole frames");
	REFUSED(t.range[2].bytes, -(4 * GIB), "not whole frames"); /* ends at 2^64 */
	REFUSED(t.range[2].bytes, -(2 * GIB), "not whole frames"); /* and beyond */
	PASSES(t.range[2].bytes, -(4 * GIB) - 4096);
	REFUSED(t.range[1].gpa, 2 * GIB - 4096, "begins before 0x80000000");
	REFUSED(t.range[1].bytes, 2 * GIB + 4096, "at 0x100000000 begins before 0x100001000");
	REFUSED(t.range[2].gpa, 0, "begins before 0xc0000000");
	PASSES(t.range[1].bytes, 2 * GIB);
}
END_TEST

START_TEST(distances)
{
	REFUSED(t.distance[2][2], 11, "from guest node 2 to 2 is 11");
	REFUSED(t.distance[2][2], 0, "from guest node 2 to 2 is 0");
	REFUSED(t.distance[0][3], 10, "from guest node 0 to 3 is 10");
	REFUSED(t.distance[3][0], 9, "from guest node 3 to 0 is 9");
	PASSES(t.distance[0][1], 11);
	PASSES(t.distance[0][1], 254);
	PASSES(t.distance[0][1], 255);
	PASSES(t.distance[0][4], 0); /* there is no node 4 */
}
END_TEST

START_TEST(latencies)
{
	REFUSED(t.latency_ns[0][1], 0, "latency from guest node 0 to 1 is 0");
	REFUSED(t.latency_ns[2][3], 65535, "latency from guest node 2 to 3 is 65535");
	PASSES(t.latency_ns[2][3], 65534);
	PASSES(t.latency_ns[3][0], 0); /* 3 has no CPUs, */
	PASSES(t.latency_ns[0][2], 0); /* and 2 no memory */
	REFUSED(t.bandwidth_mib[1][0], (1u << 30) + 1, "bandwidth from guest node 1 to 0 is 1073741825");
	PASSES(t.bandwidth_mib[1][0], 1u << 30);
	good();
	t.latency_ns[0][1] = 0;
	t.bandwidth_mib[0][1] = UINT32_MAX;
	t.distance[0][1] = 255;
	ck_assert(passes()); /* not reached */
	t.distance[0][1] = 20;
	t.has_hmat = false;
	ck_assert(passes());
}
END_TEST

START_TEST(a_hosts_own_figures_are_made_good)
{
	struct topology before;

	good();
	before = t;
	topology_fit(&t);
	ck_assert_mem_eq(&before, &t, sizeof(t)); /* these were */
	t.distance[0][1] = 10;			  /* numa=fake */
	t.distance[1][0] = 0;
	t.distance[2][2] = 20;
	t.latency_ns[0][3] = 1000000;
	t.bandwidth_mib[0][3] = UINT32_MAX;
	topology_fit(&t);
	ck_assert_msg(passes(), "%s", failure.text);
	ck_assert(t.distance[0][1] == 11 && t.distance[1][0] == 11 && t.distance[2][2] == 10);
	ck_assert(t.has_hmat && t.latency_ns[0][3] == TOPOLOGY_LATENCY_MAX &&
		  t.bandwidth_mib[0][3] == TOPOLOGY_BANDWIDTH_MAX);
	t.latency_ns[3][0] = t.latency_ns[0][2] = 0; /* 3 has no CPUs, and 2 no memory */
	t.latency_ns[1][0] = 0;
	t.distance[1][0] = TOPOLOGY_UNREACHABLE;
	topology_fit(&t);
	ck_assert(t.has_hmat && passes());
	t.distance[1][0] = 254;
	topology_fit(&t);
	ck_assert(!t.has_hmat && passes());
}
END_TEST

Suite *topology_suite(void);
Suite *topology_suite(void)
{
	Suite *suite = suite_create("topology");
	TCase *tcase = tcase_create("check");

	tcase_add_test(tcase, good_ones);
	tcase_add_test(tcase, nodes_of_things);
	tcase_add_test(tcase, counts);
	tcase_add_test(tcase, places);
	tcase_add_test(tcase, ranges);
	tcase_add_test(tcase, distances);
	tcase_add_test(tcase, latencies);
	tcase_add_test(tcase, a_hosts_own_figures_are_made_good);
	suite_add_tcase(suite, tcase);
	return suite;
}
