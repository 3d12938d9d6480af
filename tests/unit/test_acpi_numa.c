/* vmm/acpi_numa.c by a reader of its own, field by field as ACPI 6.4 has them: the invariants I1 to I3 of
 * acpi_numa.c, on fixed and random topologies. */
#include <check.h>
#undef fail
#include <stdlib.h>
#include <string.h>

#include "tests/unit/acpi_image.h"
#include "tests/unit/expect.h"
#include "tests/unit/random.h"
#include "vmm/acpi.h"
#include "vmm/failure.h"
#include "vmm/layout.h"

#define GPA   LAYOUT_ACPI
#define NODES TOPOLOGY_NODES_MAX
#define FIRST 2u /* in the XSDT, behind FADT and MADT */

static uint8_t buffer[LAYOUT_HIGH_START - LAYOUT_ACPI];
static struct acpi_image image = {buffer, 0, GPA};
static struct topology topology;
static struct failure failure;

static void build(const struct topology *t)
{
	const struct acpi_config config = {.gpa = GPA, .cpus = t->cpus, .topology = t};

	failure.code = 0;
	ck_assert_msg(topology_check(t, &failure) == 0, "%s", failure.text);
	memset(buffer, 0xcc, sizeof(buffer));
	image.used = acpi_build(&config, buffer, sizeof(buffer));
	ck_assert_uint_gt(image.used, 36);
	ck_assert_uint_eq(buffer[image.used], 0xcc);
	ck_assert_uint_eq(acpi_image_entries(&image), FIRST + 2 + t->has_hmat);
}

/* Nodes 10 from themselves and `far` from one another, CPUs in turn, so many ranges of 16 MiB with a gap after each. */
static void fill(struct topology *t, unsigned nodes, unsigned cpus, unsigned ranges, unsigned far)
{
	*t = (struct topology){.nodes = nodes, .cpus = cpus, .ranges = ranges};
	for (unsigned i = 0; i < cpus; i++)
		t->cpu_node[i] = (uint8_t)(i % nodes);
	for (unsigned i = 0; i < ranges; i++)
		t->range[i] = (struct topology_range){(uint64_t)i << 25, 1u << 24, (uint8_t)(i % nodes)};
	for (unsigned i = 0; i < nodes; i++)
		for (unsigned j = 0; j < nodes; j++)
			t->distance[i][j] = (uint8_t)(i == j ? 10 : far);
}

static void fill_hmat(struct topology *t)
{
	t->has_hmat = true;
	for (unsigned i = 0; i < t->nodes; i++)
		for (unsigned j = 0; j < t->nodes; j++) {
			t->latency_ns[i][j] = i == j ? 80 : 160 + i * 16 + j;
			t->bandwidth_mib[i][j] = i == j ? 20000 : 10000 - i * 16 - j;
		}
}

static bool zeros(const uint8_t *at, size_t bytes)
{
	while (bytes--)
		if (*at++)
			return false;
	return true;
}

/* ---- SRAT ---- */

/* The entry's node; what it covers is taken from `t` once. */
static unsigned check_cpu(const uint8_t *e, const struct topology *t, bool *seen)
{
	EXPECT(e[1] == 16);
	EXPECT(acpi_number(e + 4, 4) == 1); /* enabled */
	EXPECT(zeros(e + 8, 8));	    /* SAPIC id, domain's upper bytes, clock domain */
	EXPECT(e[3] < t->cpus && !seen[e[3]]);
	EXPECT(e[2] == t->cpu_node[e[3]]);
	seen[e[3]] = true;
	return e[2];
}

static unsigned check_memory(const uint8_t *e, const struct topology *t, bool *seen)
{
	uint64_t base = acpi_number(e + 8, 4) | acpi_number(e + 12, 4) << 32;
	uint64_t bytes = acpi_number(e + 16, 4) | acpi_number(e + 20, 4) << 32;
	unsigned i = 0;

	EXPECT(e[1] == 40);
	EXPECT(zeros(e + 6, 2) && zeros(e + 24, 4) && zeros(e + 32, 8));
	EXPECT(acpi_number(e + 28, 4) == 1); /* enabled, not to be plugged, volatile */
	while (i < t->ranges && t->range[i].gpa != base)
		i++;
	EXPECT(i < t->ranges && !seen[i] && t->range[i].bytes == bytes);
	EXPECT(acpi_number(e + 2, 4) == t->range[i].node);
	seen[i] = true;
	return t->range[i].node;
}

/* CPUs first, then memory, both by node. */
static void check_srat(const struct topology *t)
{
	bool cpus[TOPOLOGY_CPUS_MAX] = {0}, ranges[TOPOLOGY_RANGES_MAX] = {0};
	unsigned count[2] = {0}, type = 0, node = 0;
	size_t length;
	const uint8_t *s = acpi_image_entry(&image, FIRST, "SRAT", &length), *end = s + length;

	EXPECT(s[8] == 3 && acpi_number(s + 36, 4) == 1 && zeros(s + 40, 8));
	for (s += 48; s < end; s += s[1]) {
		unsigned here;

		EXPECT(s[0] <= 1 && s[0] >= type);
		here = s[0] ? check_memory(s, t, ranges) : check_cpu(s, t, cpus);
		EXPECT(s[0] > type || here >= node);
		type = s[0];
		node = here;
		count[type]++;
	}
	EXPECT(s == end && count[0] == t->cpus && count[1] == t->ranges);
}

/* ---- SLIT ---- */

static void check_slit(const struct topology *t)
{
	size_t length;
	const uint8_t *s = acpi_image_entry(&image, FIRST + 1, "SLIT", &length);

	EXPECT(s[8] == 1 && acpi_number(s + 36, 8) == t->nodes);
	EXPECT(length == 44 + t->nodes * t->nodes);
	for (unsigned i = 0; i < t->nodes; i++)
		for (unsigned j = 0; j < t->nodes; j++)
			EXPECT(s[44 + i * t->nodes + j] == t->distance[i][j]);
}

/* ---- HMAT, as drivers/acpi/numa/hmat.c takes revision 2 ---- */

struct heard {
	bool cpus[NODES], memory[NODES]; /* as SRAT says */
	unsigned cpu_nodes, memory_nodes;
	unsigned domains, localities[6]; /* structures */
	uint32_t value[6][NODES][NODES]; /* by data type: ns or MB/s; 0: not known */
	uint16_t entry[6][NODES][NODES];
	uint64_t base[6];
};

static struct heard heard;

static void hear_nodes(const struct topology *t)
{
	memset(&heard, 0, sizeof(heard));
	for (unsigned i = 0; i < t->cpus; i++)
		heard.cpus[t->cpu_node[i]] = true;
	for (unsigned i = 0; i < t->ranges; i++)
		heard.memory[t->range[i].node] = true;
	for (unsigned i = 0; i < NODES; i++) {
		heard.cpu_nodes += heard.cpus[i];
		heard.memory_nodes += heard.memory[i];
	}
}

static void hear_domain(const uint8_t *s)
{
	unsigned attached = (unsigned)acpi_number(s + 12, 4), memory = (unsigned)acpi_number(s + 16, 4);

	EXPECT(acpi_number(s + 4, 4) == 40);
	EXPECT(zeros(s + 10, 2) && zeros(s + 20, 20));
	EXPECT(memory < NODES && heard.memory[memory]);
	EXPECT(acpi_number(s + 8, 2) == heard.cpus[memory]); /* bit 0: the attached initiator is valid */
	EXPECT(attached == (heard.cpus[memory] ? memory : 0));
	heard.domains++;
}

static uint32_t normal(uint64_t entry, uint64_t base, unsigned type)
{
	if (entry == 0xffff || entry == 0 || base > UINT32_MAX / entry)
		return 0;
	return (uint32_t)(type < 3 ? (entry * base + 999) / 1000 : entry * base);
}

static void hear_locality(const uint8_t *s)
{
	size_t from = acpi_number(s + 12, 4), to = acpi_number(s + 16, 4);
	uint64_t base = acpi_number(s + 24, 8);
	const uint8_t *initiator = s + 32, *target = initiator + from * 4, *entry = target + to * 4;
	unsigned type = s[9];

	EXPECT(acpi_number(s + 4, 4) == 32 + from * 4 + to * 4 + from * to * 2);
	EXPECT(s[8] == 0 && s[10] == 0 && s[11] == 0 && zeros(s + 20, 4)); /* memory; no least transfer */
	EXPECT(type < 6 && base > 0);
	EXPECT(from == heard.cpu_nodes && to == heard.memory_nodes);
	heard.localities[type]++;
	heard.base[type] = base;
	for (size_t i = 0; i < from; i++)
		for (size_t j = 0; j < to; j++) {
			size_t a = acpi_number(initiator + i * 4, 4), b = acpi_number(target + j * 4, 4);

			EXPECT(a < NODES && heard.cpus[a] && b < NODES && heard.memory[b]);
			EXPECT(heard.entry[type][a][b] == 0); /* not said before */
			heard.entry[type][a][b] = (uint16_t)acpi_number(entry + (i * to + j) * 2, 2);
			heard.value[type][a][b] = normal(heard.entry[type][a][b], base, type);
		}
}

static void hear_hmat(const struct topology *t)
{
	size_t length;
	const uint8_t *s = acpi_image_entry(&image, FIRST + 2, "HMAT", &length), *end = s + length;

	hear_nodes(t);
	EXPECT(s[8] == 2 && zeros(s + 36, 4));
	for (s += 40; s < end; s += acpi_number(s + 4, 4)) {
		unsigned type = (unsigned)acpi_number(s, 2);

		EXPECT(zeros(s + 2, 2) && acpi_number(s + 4, 4) <= (size_t)(end - s));
		EXPECT(type <= 1);
		if (type == 0)
			hear_domain(s);
		else
			hear_locality(s);
	}
	EXPECT(s == end);
	EXPECT(heard.domains == heard.memory_nodes);
	for (unsigned type = 0; type < 6; type++)
		EXPECT(type == 1 || type == 4 ? heard.localities[type] <= 1 : heard.localities[type] == 0);
}

static void check_hmat(const struct topology *t)
{
	uint64_t largest = 0;

	hear_hmat(t);
	EXPECT(heard.localities[1] == 1 && heard.base[1] == 1000);
	for (unsigned i = 0; i < t->nodes; i++)
		for (unsigned j = 0; j < t->nodes; j++)
			if (heard.cpus[i] && heard.memory[j] && t->distance[i][j] != 255 &&
			    t->bandwidth_mib[i][j] > largest)
				largest = t->bandwidth_mib[i][j];
	EXPECT(heard.localities[4] == (largest > 0));
	for (unsigned i = 0; i < t->nodes; i++)
		for (unsigned j = 0; j < t->nodes; j++) {
			bool pair = heard.cpus[i] && heard.memory[j], reached = t->distance[i][j] != 255;
			uint32_t latency = pair && reached ? t->latency_ns[i][j] : 0;
			uint32_t bandwidth = pair && reached ? t->bandwidth_mib[i][j] : 0, said = heard.value[4][i][j];

			EXPECT(heard.value[1][i][j] == latency);
			EXPECT((heard.entry[1][i][j] == 0xffff) == (pair && !reached));
			EXPECT((said == 0) == (bandwidth == 0));
			EXPECT((uint64_t)abs((int)said - (int)bandwidth) * 65534 < largest + 65534);
			EXPECT(largest > 65534 || said == bandwidth);
		}
}

static void check(const struct topology *t)
{
	build(t);
	check_srat(t);
	check_slit(t);
	if (t->has_hmat)
		check_hmat(t);
}

/* ---- the tests ---- */

/* Two nodes, byte by byte as the specification's tables have them. */
START_TEST(bytes)
{
	static const uint8_t cpu1[] = {0, 16, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
	static const uint8_t memory1[] = {1, 40, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0x40,
					  2, 0,	 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
	static const uint8_t distances[] = {2, 0, 0, 0, 0, 0, 0, 0, 10, 20, 21, 10};
	static const uint8_t domain1[] = {0, 0, 0, 0, 40, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0,
					  0, 0, 0, 0, 0,  0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
	static const uint8_t latency[] = {1, 0, 0, 0, 56, 0,	0, 0, 0, 1, 0,	0, 2,	0, 0,	0, 2,  0, 0,
					  0, 0, 0, 0, 0,  0xe8, 3, 0, 0, 0, 0,	0, 0,	0, 0,	0, 0,  1, 0,
					  0, 0, 0, 0, 0,  0,	1, 0, 0, 0, 80, 0, 160, 0, 161, 0, 81, 0};
	size_t length;
	const uint8_t *t;

	fill(&topology, 2, 2, 2, 20);
	fill_hmat(&topology);
	topology.range[1] = (struct topology_range){UINT64_C(1) << 32, UINT64_C(0x240000000), 1};
	topology.distance[1][0] = 21;
	topology.latency_ns[0][1] = 160;
	topology.latency_ns[1][0] = 161;
	topology.latency_ns[1][1] = 81;
	check(&topology);
	t = acpi_image_entry(&image, FIRST, "SRAT", &length);
	ck_assert_uint_eq(length, 48 + 2 * 16 + 2 * 40);
	ck_assert_mem_eq(t + 48 + 16, cpu1, 16);
	ck_assert_mem_eq(t + 48 + 32 + 40, memory1, 40);
	t = acpi_image_entry(&image, FIRST + 1, "SLIT", &length);
	ck_assert_mem_eq(t + 36, distances, sizeof(distances));
	t = acpi_image_entry(&image, FIRST + 2, "HMAT", &length);
	ck_assert_uint_eq(length, 40 + 2 * 40 + 2 * 56);
	ck_assert_mem_eq(t + 40 + 40, domain1, 40);
	ck_assert_mem_eq(t + 40 + 80, latency, 56);
	ck_assert_uint_eq(t[40 + 80 + 56 + 9], 4);
}
END_TEST

/* The largest there is, and that it is what the specification's sizes add up to. */
START_TEST(largest)
{
	size_t length, locality = 32 + 2 * 16 * 4 + 16 * 16 * 2;

	fill(&topology, 16, 255, 64, 254);
	fill_hmat(&topology);
	check(&topology);
	acpi_image_entry(&image, FIRST, "SRAT", &length);
	ck_assert_uint_eq(length, 48 + 255 * 16 + 64 * 40);
	acpi_image_entry(&image, FIRST + 1, "SLIT", &length);
	ck_assert_uint_eq(length, 44 + 16 * 16);
	acpi_image_entry(&image, FIRST + 2, "HMAT", &length);
	ck_assert_uint_eq(length, 40 + 16 * 40 + 2 * locality);
	fill(&topology, 1, 1, 1, 10);
	check(&topology);
}
END_TEST

/* Linux numbers nodes in the order in which it meets them; so CPUs of a higher node come later, whatever their ids. */
START_TEST(order)
{
	unsigned next = 0;
	size_t length;
	const uint8_t *s;

	fill(&topology, 16, 255, 64, 20);
	for (unsigned i = 0; i < topology.cpus; i++)
		topology.cpu_node[i] = (uint8_t)(15 - i % 16);
	for (unsigned i = 0; i < topology.ranges; i++)
		topology.range[i].node = (uint8_t)(15 - i % 16);
	check(&topology);
	s = acpi_image_entry(&image, FIRST, "SRAT", &length);
	for (size_t at = 48; at < length; at += s[at + 1])
		if (s[at] == 0 && s[at + 2] == next)
			next++;
	ck_assert_uint_eq(next, 16);
}
END_TEST

/* A node of CPUs alone, one of memory alone, and two that cannot reach one another. */
START_TEST(uneven)
{
	fill(&topology, 4, 4, 4, 30);
	fill_hmat(&topology);
	topology.cpu_node[2] = 1;
	topology.range[3].node = 2;
	topology.distance[0][1] = topology.distance[1][0] = 255;
	/* Read by nobody: not reached, no memory. */
	topology.latency_ns[0][1] = topology.latency_ns[3][3] = 0;
	topology.bandwidth_mib[0][1] = topology.bandwidth_mib[3][3] = UINT32_MAX;
	check(&topology);
	ck_assert_uint_eq(heard.cpu_nodes, 3);
	ck_assert_uint_eq(heard.memory_nodes, 3);
	ck_assert_uint_eq(heard.entry[1][0][1], 0xffff);
	ck_assert_uint_eq(heard.entry[4][1][0], 0xffff);
	ck_assert_uint_eq(heard.value[1][3][2], topology.latency_ns[3][2]);
}
END_TEST

START_TEST(bandwidths)
{
	static const uint32_t far[] = {1, 65533, 65534, 65535, 131068, 131069, 204800, 1u << 30};

	for (size_t i = 0; i < sizeof(far) / sizeof(far[0]); i++) {
		fill(&topology, 2, 2, 2, 20);
		fill_hmat(&topology);
		topology.bandwidth_mib[0][0] = 0;
		topology.bandwidth_mib[0][1] = 1;
		topology.bandwidth_mib[1][0] = far[i];
		topology.bandwidth_mib[1][1] = far[i] / 2;
		check(&topology);
	}
	memset(topology.bandwidth_mib, 0, sizeof(topology.bandwidth_mib));
	check(&topology);
	ck_assert_uint_eq(heard.localities[4], 0);
}
END_TEST

START_TEST(latencies)
{
	fill(&topology, 2, 2, 2, 20);
	fill_hmat(&topology);
	topology.latency_ns[0][0] = 1;
	topology.latency_ns[0][1] = TOPOLOGY_LATENCY_MAX;
	check(&topology);
}
END_TEST

/* The CPUs of a node go to the next one, or that one's memory comes to it, or both. */
static void take_apart(struct topology *t, uint64_t node, uint64_t how)
{
	uint8_t a = (uint8_t)node, b = (uint8_t)((node + 1) % t->nodes);

	for (unsigned i = 0; i < t->cpus && how != 0; i++)
		if (t->cpu_node[i] == a)
			t->cpu_node[i] = b;
	for (unsigned i = 0; i < t->ranges && how != 1; i++)
		if (t->range[i].node == b)
			t->range[i].node = a;
}

static void fill_random(struct topology *t)
{
	unsigned nodes = 1 + (unsigned)below(NODES);

	fill(t, nodes, nodes + (unsigned)below(256 - nodes), nodes + (unsigned)below(65 - nodes), 20);
	for (unsigned i = nodes; i < t->cpus; i++)
		t->cpu_node[i] = (uint8_t)below(nodes);
	for (unsigned i = nodes; i < t->ranges; i++)
		t->range[i].node = (uint8_t)below(nodes);
	t->range[t->ranges - 1].bytes += below(1u << 30) << 12;
	t->has_hmat = below(2);
	for (unsigned i = 0; i < nodes; i++)
		for (unsigned j = 0; j < nodes; j++) {
			if (i != j)
				t->distance[i][j] = (uint8_t)(11 + below(245));
			t->latency_ns[i][j] = 1 + (uint32_t)below(TOPOLOGY_LATENCY_MAX);
			t->bandwidth_mib[i][j] = (uint32_t)below(UINT64_C(1) << below(31));
		}
	if (nodes > 2)
		take_apart(t, below(nodes), below(3));
}

START_TEST(any)
{
	seed(7);
	for (unsigned i = 0; i < 5000; i++) {
		fill_random(&topology);
		check(&topology);
	}
}
END_TEST

/* No topology, or one without nodes: the tables are those of before, byte by byte. */
START_TEST(none)
{
	static uint8_t other[sizeof(buffer)];
	struct acpi_config config = {.gpa = GPA, .cpus = 3};
	size_t used = acpi_build(&config, buffer, sizeof(buffer));

	topology = (struct topology){.nodes = 0, .has_hmat = true};
	config.topology = &topology;
	ck_assert_uint_gt(used, 36);
	ck_assert_uint_eq(acpi_build(&config, other, sizeof(other)), used);
	ck_assert_mem_eq(buffer, other, used);
	image.used = used;
	ck_assert_uint_eq(acpi_image_entries(&image), 2);
}
END_TEST

/* Too small a buffer is refused, and never written past; exact is enough. Beside an IOMMU's table, too. (Each size is
 * tried of small tables, in test_acpi.c.) */
START_TEST(room)
{
	struct acpi_config config = {.gpa = GPA, .cpus = 255, .virtio = 2, .iommu = true, .behind = 2};
	size_t full, length;

	fill(&topology, 16, 255, 64, 20);
	fill_hmat(&topology);
	config.topology = &topology;
	image.used = full = acpi_build(&config, buffer, sizeof(buffer));
	ck_assert_uint_eq(acpi_image_entries(&image), 6);
	acpi_image_entry(&image, 2, "VIOT", &length);
	acpi_image_entry(&image, 3, "SRAT", &length);
	acpi_image_entry(&image, 5, "HMAT", &length);
	for (size_t size = 0; size <= full; size += size + 100 < full ? 61 : 1) {
		uint8_t *small = malloc(size + 1);

		small[size] = 0x77;
		EXPECT(acpi_build(&config, small, size) == (size == full ? full : 0));
		EXPECT(small[size] == 0x77);
		free(small);
	}
}
END_TEST

Suite *acpi_numa_suite(void);
Suite *acpi_numa_suite(void)
{
	Suite *suite = suite_create("acpi_numa");
	TCase *tcase = tcase_create("tables");

	tcase_add_test(tcase, bytes);
	tcase_add_test(tcase, largest);
	tcase_add_test(tcase, order);
	tcase_add_test(tcase, uneven);
	tcase_add_test(tcase, bandwidths);
	tcase_add_test(tcase, latencies);
	tcase_add_test(tcase, any);
	tcase_add_test(tcase, none);
	tcase_add_test(tcase, room);
	suite_add_tcase(suite, tcase);
	return suite;
}
