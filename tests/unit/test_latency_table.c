/* Tables of latencies read back: what probe writes, whatever else the bytes are, the host
 * that it is held against, and the pairs that it lacks, beside a model in floating point.
 * What it does not see: probe itself (tests/cli.sh), and pages on two nodes (the rig). */
#include "vmm/latency_table.h"

#include <check.h>
#undef fail
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "mm/placement.h"
#include "tests/unit/expect.h"
#include "tests/unit/fake_host.h"
#include "tests/unit/random.h"

Suite *latency_table_suite(void);

#define NODES		NUMA_NODES_MAX
#define COUNT(a)	(sizeof(a) / sizeof((a)[0]))
#define TEXT_BYTES	(512u << 10)
#define NS		1000u
#define ALLOCATIONS_MAX 400u

static struct latency_table table, wanted;
static struct numa_map map;
static uint32_t ps[NODES][NODES];
static char text[TEXT_BYTES], copy[TEXT_BYTES];
static size_t used;

/* ---- a table as text, in the words of probe ---- */

static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void say(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	used += (size_t)vsnprintf(text + used, sizeof(text) - used, format, arguments);
	va_end(arguments);
	EXPECT(used < sizeof(text));
}

static void say_distances(const struct latency_table *t, const char *gap)
{
	say(",%s\"distances\":%s[", gap, gap);
	for (unsigned i = 0; i < t->nodes; i++) {
		say("%s%s[", i ? "," : "", gap);
		for (unsigned k = 0; k < t->nodes; k++)
			say("%s%s%u", k ? "," : "", gap, t->distance[i][k]);
		say("]");
	}
	say("]");
}

static void say_latencies(const struct latency_table *t, const char *gap)
{
	say(",%s\"latencies\": {%s\"source\": \"measured\", \"ps\":%s[", gap, gap, gap);
	for (unsigned i = 0; i < t->nodes; i++) {
		say("%s%s[", i ? "," : "", gap);
		for (unsigned k = 0; k < t->nodes; k++) {
			say("%s%s", k ? "," : "", gap);
			if (t->ps[i][k])
				say("%u", t->ps[i][k]);
			else
				say("null");
		}
		say("]");
	}
	say("]}");
}

static void say_table(const struct latency_table *t, const char *gap)
{
	used = 0;
	say("{%s\"kvm\": {\"usable\": true}, \"nodes\": [", gap);
	for (unsigned i = 0; i < t->nodes; i++)
		say("%s{\"cpus\": [1, 2], \"id\":%s%u, \"bytes\": 17}", i ? ", " : "", gap, t->id[i]);
	say("]");
	say_distances(t, gap);
	say_latencies(t, gap);
	say(",%s\"slat_would\": {}}\n", gap);
}

static void random_table(struct latency_table *t, unsigned nodes, unsigned measured_of_8)
{
	unsigned id = 0;

	memset(t, 0, sizeof(*t));
	t->nodes = nodes;
	for (unsigned i = 0; i < nodes; i++) {
		id += i ? 1 + (unsigned)below(1023 / NODES) : (unsigned)below(8);
		t->id[i] = id;
		for (unsigned k = 0; k < nodes; k++) {
			t->distance[i][k] = (uint8_t)(i == k ? 10 : below(4) ? 11 + below(30) : 10 + below(246));
			if (below(8) < measured_of_8)
				t->ps[i][k] =
					(uint32_t)(below(4) ? 50 * NS + below(400 * NS) : 1000 + below(999999001));
		}
	}
	if (!measured_of_8 || !t->ps[0][0])
		t->ps[below(nodes)][below(nodes)] = (uint32_t)(1000 + below(100000));
}

static int parse(struct failure *f)
{
	memset(&table, 0xa5, sizeof(table));
	*f = (struct failure){0};
	return latency_table_parse(&table, text, used, f);
}

/* What F1 to F5 demand, of one that was taken. */
static void check_table(const struct latency_table *t)
{
	bool any = false;

	EXPECT(t->nodes >= 1 && t->nodes <= NODES);
	for (unsigned i = 0; i < t->nodes; i++) {
		EXPECT(t->id[i] <= 1023 && (i == 0 || t->id[i] > t->id[i - 1]));
		EXPECT(t->distance[i][i] == 10);
		for (unsigned k = 0; k < t->nodes; k++) {
			EXPECT(t->distance[i][k] >= 10);
			EXPECT(!t->ps[i][k] || (t->ps[i][k] >= 1000 && t->ps[i][k] <= 1000000000));
			any |= t->ps[i][k] > 0;
		}
	}
	EXPECT(any);
}

/* ---- the file ---- */

START_TEST(a_table_is_read_as_it_was_written)
{
	static const char *const gaps[] = {"", " ", "\n      "};
	struct failure f;

	seed(71);
	for (unsigned i = 0; i < 400; i++) {
		random_table(&wanted, i < NODES ? i + 1 : 1 + (unsigned)below(12), (unsigned)below(9));
		say_table(&wanted, gaps[below(COUNT(gaps))]);
		ck_assert_msg(parse(&f) == 0, "%s", f.text);
		EXPECT(memcmp(&table, &wanted, sizeof(table)) == 0);
		check_table(&table);
	}
}
END_TEST

START_TEST(one_of_64_nodes_fits)
{
	struct failure f;

	seed(72);
	random_table(&wanted, NODES, 8);
	for (unsigned i = 0; i < NODES; i++)
		for (unsigned k = 0; k < NODES; k++)
			wanted.ps[i][k] = 1000000000;
	say_table(&wanted, "\n      ");
	ck_assert_int_eq(parse(&f), 0);
	ck_assert_uint_lt(used, LATENCY_TABLE_BYTES_MAX / 5);
}
END_TEST

#define SHAPE	     "not what slat probe --latency --json writes: "
#define TWO	     "{\"nodes\": [{\"id\": 0}, {\"id\": 3}], \"distances\": [[10, 21], [21, 10]], \"latencies\": {\"source\": "
#define ONE	     "{\"nodes\": [{\"id\": 0}], \"distances\": [[10]], \"latencies\": {\"source\": "
#define NO_ID	     SHAPE "the ids of nodes are no numbers from 0 to 1023 in ascending order"
#define NO_LIST	     SHAPE "nodes is no list of 1 to 64 nodes"
#define NO_DISTANCES SHAPE "distances has not one row and one column for each node"
#define NO_ROWS	     SHAPE "ps of latencies has not one row and one column for each node"

static const struct {
	const char *text, *sentence;
} refusals[] = {
	{"", SHAPE "it is cut short"},
	{"{", SHAPE "it is cut short"},
	{"\n\n{\"nodes\": nodes}", SHAPE "no JSON, in line 3"},
	{"{} {}", SHAPE "no JSON, in line 1"},
	{"slat", SHAPE "no JSON, in line 1"},
	{"{\"nodes\": 99999999999999999999}", SHAPE "no JSON, in line 1"},
	{"{\"nodes\": \"\xff\"}", SHAPE "no JSON, in line 1"},
	{"{\"a\": \"\\u0000\"}", SHAPE "no JSON, in line 1"},
	{"{\"nodes\": [], \"nodes\": []}", SHAPE "an object has a key twice"},
	{"[]", NO_LIST},
	{"{}", NO_LIST},
	{"{\"nodes\": []}", NO_LIST},
	{"{\"nodes\": {\"id\": 0}}", NO_LIST},
	{"{\"nodes\": [0]}", NO_ID},
	{"{\"nodes\": [{}]}", NO_ID},
	{"{\"nodes\": [{\"id\": -1}]}", NO_ID},
	{"{\"nodes\": [{\"id\": 0.0}]}", NO_ID},
	{"{\"nodes\": [{\"id\": \"0\"}]}", NO_ID},
	{"{\"nodes\": [{\"id\": 1024}]}", NO_ID},
	{"{\"nodes\": [{\"id\": 4294967296}]}", NO_ID},
	{"{\"nodes\": [{\"id\": 1}, {\"id\": 1}]}", NO_ID},
	{"{\"nodes\": [{\"id\": 1}, {\"id\": 0}]}", NO_ID},
	{"{\"nodes\": [{\"id\": 0}]}", NO_DISTANCES},
	{"{\"nodes\": [{\"id\": 0}], \"distances\": [10]}", NO_DISTANCES},
	{"{\"nodes\": [{\"id\": 0}], \"distances\": [[10, 20]]}", NO_DISTANCES},
	{"{\"nodes\": [{\"id\": 0}], \"distances\": [[10], [10]]}", NO_DISTANCES},
	{"{\"nodes\": [{\"id\": 0}], \"distances\": [[11]]}",
	 SHAPE "the distance from node 0 to 0 is no number from 10 to 255, 10 from a node to itself"},
	{"{\"nodes\": [{\"id\": 0}, {\"id\": 7}], \"distances\": [[10, 9], [20, 10]]}",
	 SHAPE "the distance from node 0 to 7 is no number from 10 to 255, 10 from a node to itself"},
	{"{\"nodes\": [{\"id\": 0}, {\"id\": 7}], \"distances\": [[10, 20], [256, 10]]}",
	 SHAPE "the distance from node 7 to 0 is no number from 10 to 255, 10 from a node to itself"},
	{"{\"nodes\": [{\"id\": 0}, {\"id\": 7}], \"distances\": [[10, null], [20, 10]]}",
	 SHAPE "the distance from node 0 to 7 is no number from 10 to 255, 10 from a node to itself"},
	{"{\"nodes\": [{\"id\": 0}], \"distances\": [[10]]}", SHAPE "latencies have no source"},
	{"{\"nodes\": [{\"id\": 0}], \"distances\": [[10]], \"latencies\": [[80000]]}",
	 SHAPE "latencies have no source"},
	{ONE "7, \"ps\": [[80000]]}}", SHAPE "latencies have no source"},
	{ONE "\"hmat\", \"ps\": [[80000]]}}", "its latencies are not measured: slat probe --latency --json does that"},
	{ONE "\"unknown\", \"ps\": [[null]]}}",
	 "its latencies are not measured: slat probe --latency --json does that"},
	{ONE "\"measured\"}}", NO_ROWS},
	{ONE "\"measured\", \"ps\": 80000}}", NO_ROWS},
	{ONE "\"measured\", \"ps\": [[80000, 80000]]}}", NO_ROWS},
	{TWO "\"measured\", \"ps\": [[80000, 160000]]}}", NO_ROWS},
	{TWO "\"measured\", \"ps\": [[80000, 160000], [160000]]}}", NO_ROWS},
	{TWO "\"measured\", \"ps\": [[80000, 999], [160000, 80000]]}}",
	 SHAPE "the latency from node 0 to 3 is neither null nor picoseconds from 1000 to 1000000000"},
	{TWO "\"measured\", \"ps\": [[80000, 80000], [1000000001, 80000]]}}",
	 SHAPE "the latency from node 3 to 0 is neither null nor picoseconds from 1000 to 1000000000"},
	{ONE "\"measured\", \"ps\": [[0]]}}",
	 SHAPE "the latency from node 0 to 0 is neither null nor picoseconds from 1000 to 1000000000"},
	{ONE "\"measured\", \"ps\": [[-80000]]}}",
	 SHAPE "the latency from node 0 to 0 is neither null nor picoseconds from 1000 to 1000000000"},
	{ONE "\"measured\", \"ps\": [[80.5]]}}",
	 SHAPE "the latency from node 0 to 0 is neither null nor picoseconds from 1000 to 1000000000"},
	{ONE "\"measured\", \"ps\": [[false]]}}",
	 SHAPE "the latency from node 0 to 0 is neither null nor picoseconds from 1000 to 1000000000"},
	{ONE "\"measured\", \"ps\": [[4294967376000]]}}",
	 SHAPE "the latency from node 0 to 0 is neither null nor picoseconds from 1000 to 1000000000"},
	{ONE "\"measured\", \"ps\": [[null]]}}", "nothing is measured in it: no node had CPUs and memory to spare"},
};

START_TEST(refused_with_a_sentence)
{
	struct failure f;

	used = 0;
	say("%s", refusals[_i].text);
	ck_assert_int_eq(parse(&f), EXIT_IMAGE);
	ck_assert_str_eq(f.text, refusals[_i].sentence);
}
END_TEST

START_TEST(the_limits_themselves_are_taken)
{
	struct failure f;

	used = 0;
	say("{\"nodes\": [{\"id\": 0}, {\"id\": 1023}], \"distances\": [[10, 255], [10, 10]], \"latencies\": {\"ps\": "
	    "[[1000, 1000000000], [null, null]], \"source\": \"measured\"}}");
	ck_assert_msg(parse(&f) == 0, "%s", f.text);
	ck_assert(table.nodes == 2 && table.id[1] == 1023 && table.distance[0][1] == 255 && table.distance[1][0] == 10);
	ck_assert(table.ps[0][0] == 1000 && table.ps[0][1] == 1000000000 && !table.ps[1][0] && !table.ps[1][1]);
}
END_TEST

START_TEST(more_nodes_than_there_can_be)
{
	struct failure f;

	used = 0;
	say("{\"nodes\": [");
	for (unsigned i = 0; i <= NODES; i++)
		say("%s{\"id\": %u}", i ? ", " : "", i);
	say("]}");
	ck_assert_int_eq(parse(&f), EXIT_IMAGE);
	ck_assert_str_eq(f.text, NO_LIST);
}
END_TEST

/* A zero is the end of no text: what is behind it counts. */
START_TEST(bytes_behind_a_zero)
{
	struct failure f;

	seed(73);
	random_table(&wanted, 2, 8);
	say_table(&wanted, " ");
	text[used++] = '\0';
	ck_assert_int_eq(parse(&f), EXIT_IMAGE);
	used--;
	ck_assert_int_eq(parse(&f), 0);
}
END_TEST

/* Also in the middle of a word, which is then none of JSON's. */
START_TEST(each_truncation_is_seen)
{
	unsigned words = 0;
	struct failure f;
	size_t whole;

	seed(74);
	random_table(&wanted, 3, 6);
	say_table(&wanted, " ");
	whole = used - 1; /* the last is a newline */
	for (used = 0; used < whole; used++) {
		EXPECT(parse(&f) == EXIT_IMAGE);
		words += strcmp(f.text, SHAPE "no JSON, in line 1") == 0;
		EXPECT(strcmp(f.text, SHAPE "it is cut short") == 0 || strchr("trunl", text[used - 1]));
	}
	ck_assert_uint_lt(words, 20);
	ck_assert_int_eq(parse(&f), 0);
}
END_TEST

/* Some bytes of a table changed: it is refused with a sentence, or still one. */
START_TEST(whatever_the_bytes_are)
{
	static const char bytes[] = "0123456789[]{},:\"-.eE nulltrue\\\n\t";
	unsigned taken = 0, refused = 0;
	struct failure f;
	size_t whole;

	seed(75);
	for (unsigned i = 0; i < 30000; i++) {
		if (i % 100 == 0) {
			random_table(&wanted, 1 + (unsigned)below(4), (unsigned)below(9));
			say_table(&wanted, "");
			memcpy(copy, text, used);
		}
		whole = used;
		memcpy(text, copy, used);
		for (uint64_t n = 1 + below(3); n; n--)
			text[below(used)] = below(8) ? bytes[below(sizeof(bytes) - 1)] : (char)below(256);
		if (parse(&f) == 0) {
			check_table(&table);
			taken++;
		} else {
			EXPECT((f.code == EXIT_IMAGE || f.code == EXIT_HOST) && f.text[0]);
			refused++;
		}
		used = whole;
	}
	ck_assert(taken > 500 && refused > 5000);
}
END_TEST

/* ---- this host's ---- */

/* The host that a table is of, and `more` nodes beside it; ids in between. */
static void host_of(const struct latency_table *t, unsigned more)
{
	memset(&map, 0, sizeof(map));
	for (unsigned id = 0, i = 0; id <= 1023; id++) {
		const bool known = i < t->nodes && t->id[i] == id;

		if (!known && (!more || map.nodes + (t->nodes - i) == NODES || (below(3) && id < 1000)))
			continue;
		map.node[map.nodes++] = (struct numa_map_node){.id = id, .has_memory = below(8), .cpus = below(4) > 0};
		i += known;
		more -= !known;
	}
	for (unsigned a = 0; a < map.nodes; a++)
		for (unsigned b = 0; b < map.nodes; b++)
			map.distance[a][b] = (uint8_t)(a == b ? 10 : below(4) ? 11 + below(10) : 10 + below(246));
	for (unsigned i = 0; i < t->nodes; i++)
		for (unsigned k = 0; k < t->nodes; k++)
			map.distance[numa_map_place(&map, t->id[i])][numa_map_place(&map, t->id[k])] =
				t->distance[i][k];
}

START_TEST(a_table_of_another_host)
{
	struct failure f = {0};

	wanted = (struct latency_table){
		.nodes = 2, .id = {0, 7}, .distance = {{10, 21}, {31, 10}}, .ps = {{80000, 0}, {0, 0}}};
	seed(76);
	host_of(&wanted, 0);
	ck_assert_int_eq(latency_table_check(&wanted, &map, &f), 0);
	map.distance[1][0] = 30;
	ck_assert_int_eq(latency_table_check(&wanted, &map, &f), EXIT_HOST);
	ck_assert_str_eq(f.text, "from node 7 to 0 it has a distance of 31, and this host 30: measure again");
	map.distance[1][0] = 31;
	map.node[1].id = 6;
	f = (struct failure){0};
	ck_assert_int_eq(latency_table_check(&wanted, &map, &f), EXIT_HOST);
	ck_assert_str_eq(f.text, "it has memory node 7, and this host has 0,6: measure again");
	map.nodes = 1;
	f = (struct failure){0};
	ck_assert_int_eq(latency_table_check(&wanted, &map, &f), EXIT_HOST);
	ck_assert_str_eq(f.text, "it has memory node 7, and this host has 0: measure again");
}
END_TEST

/* ---- what was not measured ---- */

static uint32_t measured(unsigned from, unsigned to)
{
	uint32_t found = 0;

	for (unsigned i = 0; i < wanted.nodes; i++)
		for (unsigned k = 0; k < wanted.nodes; k++)
			if (wanted.id[i] == map.node[from].id && wanted.id[k] == map.node[to].id)
				found = wanted.ps[i][k];
	return found;
}

/* ps a unit of distance, of the memory of that place; 0: not measured. */
static double model_unit(unsigned to)
{
	for (unsigned distance = 10; distance <= 255; distance++) {
		double best = 0;

		for (unsigned from = 0; from < map.nodes; from++) {
			const double one = (double)measured(from, to) / distance;

			if (map.distance[from][to] == distance && one > 0 && (best == 0 || one < best))
				best = one;
		}
		if (best > 0)
			return best;
	}
	return 0;
}

static void compare_with_model(enum latency_source source)
{
	double units[NODES], sum = 0, n = 0;
	bool lacked = false;

	for (unsigned to = 0; to < map.nodes; to++) {
		units[to] = model_unit(to);
		sum += units[to];
		n += units[to] > 0;
	}
	for (unsigned from = 0; from < map.nodes; from++)
		for (unsigned to = 0; to < map.nodes; to++) {
			const double right = (units[to] > 0 ? units[to] : sum / n) * map.distance[from][to];

			EXPECT(ps[from][to] > 0); /* S1 */
			if (measured(from, to)) {
				EXPECT(ps[from][to] == measured(from, to)); /* S2 */
				continue;
			}
			lacked |= map.node[from].cpus && map.node[to].has_memory;
			if (right >= UINT32_MAX)
				EXPECT(ps[from][to] == UINT32_MAX);
			else /* S3 */
				EXPECT(ps[from][to] > right - 0.001 && ps[from][to] < right + 2);
		}
	EXPECT(source == (lacked ? LATENCY_SCALED : LATENCY_MEASURED));
}

START_TEST(as_the_model_has_it)
{
	unsigned sources[LATENCY_SCALED + 1] = {0};
	struct failure f = {0};

	seed(77);
	for (unsigned i = 0; i < 1500; i++) {
		enum latency_source source;

		random_table(&wanted, 1 + (unsigned)below(i % 100 ? 6 : 40), (unsigned)(below(2) ? below(9) : 8));
		host_of(&wanted, (unsigned)(below(2) ? below(5) : 0));
		memset(ps, 0x5a, sizeof(ps));
		EXPECT(latency_table_check(&wanted, &map, &f) == 0);
		source = latency_table_fill(&wanted, &map, ps);
		compare_with_model(source);
		sources[source]++;
		for (unsigned from = 0; from < NODES; from++)
			for (unsigned to = 0; to < NODES; to++)
				EXPECT((from < map.nodes && to < map.nodes) || ps[from][to] == 0x5a5a5a5a);
	}
	ck_assert(sources[LATENCY_MEASURED] > 100 && sources[LATENCY_SCALED] > 500);
}
END_TEST

/* Nodes 0 to 3 with CPUs and memory; 4 is memory alone. */
static void five_nodes(void)
{
	static const uint8_t distance[5][5] = {{10, 20, 30, 30, 14},
					       {20, 10, 30, 30, 24},
					       {30, 30, 10, 20, 34},
					       {30, 30, 20, 10, 255},
					       {14, 24, 34, 34, 10}};

	memset(&map, 0, sizeof(map));
	map.nodes = 5;
	for (unsigned i = 0; i < 5; i++) {
		map.node[i] = (struct numa_map_node){.id = 2 * i, .cpus = i < 4, .has_memory = true};
		memcpy(map.distance[i], distance[i], sizeof(distance[i]));
	}
}

static void of_nodes(unsigned nodes, const unsigned *places)
{
	wanted = (struct latency_table){.nodes = nodes};
	for (unsigned i = 0; i < nodes; i++) {
		wanted.id[i] = 2 * places[i];
		for (unsigned k = 0; k < nodes; k++)
			wanted.distance[i][k] = map.distance[places[i]][places[k]];
	}
}

START_TEST(only_local_ones_measured)
{
	five_nodes();
	of_nodes(4, (const unsigned[]){0, 1, 2, 4});
	wanted.ps[0][0] = 80 * NS;
	wanted.ps[1][1] = 90 * NS;
	wanted.ps[2][2] = 100 * NS;
	wanted.ps[0][3] = 210 * NS; /* of memory alone: from the nearest */
	ck_assert_int_eq(latency_table_fill(&wanted, &map, ps), LATENCY_SCALED);
	ck_assert_uint_eq(ps[0][0], 80 * NS);
	ck_assert_uint_eq(ps[1][0], 160 * NS);
	ck_assert_uint_eq(ps[0][1], 180 * NS);
	ck_assert_uint_eq(ps[3][2], 200 * NS);
	ck_assert_uint_eq(ps[0][4], 210 * NS);
	ck_assert_uint_eq(ps[1][4], 360 * NS);
	ck_assert_uint_eq(ps[3][4], 3825 * NS);
	/* Node 3 is not in it: the mean of 8, 9, 10 and 15 ns a unit. */
	ck_assert_uint_eq(ps[3][3], 105 * NS);
	ck_assert_uint_eq(ps[2][3], 210 * NS);
	ck_assert_str_eq(latency_source_name(LATENCY_SCALED), "measured and distances");
}
END_TEST

START_TEST(all_that_counts_was_measured)
{
	five_nodes();
	of_nodes(5, (const unsigned[]){0, 1, 2, 3, 4});
	for (unsigned i = 0; i < 4; i++)
		for (unsigned k = 0; k < 5; k++)
			wanted.ps[i][k] = 80 * NS + i + 7 * k;
	ck_assert_int_eq(latency_table_fill(&wanted, &map, ps), LATENCY_MEASURED); /* node 4 has no CPUs */
	ck_assert(ps[3][4] == 80 * NS + 31 && ps[4][0] > 0);
	wanted.ps[3][4] = 0;
	ck_assert_int_eq(latency_table_fill(&wanted, &map, ps), LATENCY_SCALED);
	map.node[4].has_memory = false;
	ck_assert_int_eq(latency_table_fill(&wanted, &map, ps), LATENCY_MEASURED);
}
END_TEST

START_TEST(of_several_as_near_the_fastest)
{
	five_nodes();
	of_nodes(5, (const unsigned[]){0, 1, 2, 3, 4});
	wanted.ps[2][0] = 320 * NS;
	wanted.ps[3][0] = 300 * NS; /* both at 30 */
	latency_table_fill(&wanted, &map, ps);
	ck_assert_uint_eq(ps[0][0], 100 * NS);
	ck_assert_uint_eq(ps[1][0], 200 * NS);
	wanted.ps[1][0] = 220 * NS; /* nearer */
	latency_table_fill(&wanted, &map, ps);
	ck_assert_uint_eq(ps[0][0], 110 * NS);
}
END_TEST

START_TEST(rounded_up_and_bounded)
{
	five_nodes();
	of_nodes(5, (const unsigned[]){0, 1, 2, 3, 4});
	wanted.ps[0][4] = 100003; /* / 14 * 24 = 171433.7, * 34 = 242864.4 */
	latency_table_fill(&wanted, &map, ps);
	ck_assert_uint_eq(ps[1][4], 171434);
	ck_assert_uint_eq(ps[2][4], 242865);
	wanted.ps[0][4] = 1000000000;
	latency_table_fill(&wanted, &map, ps);
	ck_assert_uint_eq(ps[3][4], UINT32_MAX);
}
END_TEST

/* The issue's own figures, from one measured node and distances: 80 ns and 160 ns need 75 % for 100 ns. */
START_TEST(a_contract_by_distances)
{
	static struct placement_host host;
	struct placement_guest guest = {.bytes = UINT64_C(256) << 20,
					.granule = 2 << 20,
					.cpus = 2,
					.policy = PLACEMENT_CONTRACT,
					.latency_ps = 100 * NS};
	struct placement p;

	five_nodes();
	of_nodes(1, (const unsigned[]){0});
	wanted.ps[0][0] = 80 * NS;
	ck_assert_int_eq(latency_table_fill(&wanted, &map, host.latency_ps), LATENCY_SCALED);
	host.nodes = 2;
	for (unsigned i = 0; i < 2; i++) {
		host.node[i] = (struct placement_node){UINT64_C(1) << 32, UINT64_C(1) << 32, 2, 2, true};
		memcpy(host.distance[i], map.distance[i], 2);
	}
	ck_assert_int_eq(placement_choose(&host, &guest, &p), PLACEMENT_OK);
	ck_assert_uint_eq(p.local_bytes, guest.bytes / 4 * 3);
	ck_assert_uint_eq(p.latency_ps, 100 * NS);
	guest.latency_ps = 79 * NS;
	ck_assert_int_eq(placement_choose(&host, &guest, &p), PLACEMENT_TOO_SLOW);
	ck_assert_uint_eq(p.latency_ps, 80 * NS);
}
END_TEST

/* ---- all of it, with files ---- */

static struct fake_host files;
static struct memory memory;
static char path[96];

static void open_files(void)
{
	struct failure f = {0};

	fake_host_open(&files);
	snprintf(path, sizeof(path), "%s/t", files.root);
	ck_assert_int_eq(memory_open(&memory, &f), 0);
	memory_lend_json(&memory);
	five_nodes();
	of_nodes(2, (const unsigned[]){0, 1});
	wanted.ps[0][0] = 80 * NS;
	wanted.ps[1][0] = 170 * NS;
	say_table(&wanted, " ");
	memset(ps, 0x5a, sizeof(ps));
}

static void close_files(void)
{
	heap_fail_after(&memory.heap, 0);
	ck_assert_uint_eq(heap_stats_read(&memory.heap).allocations, 0);
	memory_close(&memory);
	fake_host_close(&files);
}

static void put(const char *bytes, size_t count)
{
	FILE *file = fopen(path, "w");

	ck_assert_ptr_nonnull(file);
	ck_assert_uint_eq(fwrite(bytes, 1, count, file), count);
	ck_assert_int_eq(fclose(file), 0);
}

/* Refused: nothing has changed. */
static void use_refused(int code, const char *sentence)
{
	enum latency_source source = LATENCY_HMAT;
	struct failure f = {0};
	char whole[256];

	snprintf(whole, sizeof(whole), "--latencies %s: %s", path, sentence);
	ck_assert_int_eq(latency_table_use(&memory, path, &map, ps, &source, &f), code);
	ck_assert_str_eq(f.text, whole);
	ck_assert_int_eq(source, LATENCY_HMAT);
	for (unsigned i = 0; i < NODES; i++)
		for (unsigned k = 0; k < NODES; k++)
			EXPECT(ps[i][k] == 0x5a5a5a5a);
}

START_TEST(a_file_is_used)
{
	enum latency_source source = LATENCY_HMAT;
	struct failure f = {0};

	put(text, used);
	ck_assert_msg(latency_table_use(&memory, path, &map, ps, &source, &f) == 0, "%s", f.text);
	ck_assert_int_eq(source, LATENCY_SCALED);
	ck_assert_uint_eq(ps[1][0], 170 * NS);
	ck_assert_uint_eq(ps[2][0], 240 * NS);
}
END_TEST

START_TEST(a_file_is_refused)
{
	use_refused(EXIT_HOST, "cannot be opened: No such file or directory");
	ck_assert_int_eq(mkfifo(path, 0600), 0);
	use_refused(EXIT_HOST, "not a regular file");
	unlink(path);
	put(text, 0);
	use_refused(EXIT_IMAGE, SHAPE "it is cut short");
	put(text, used / 2);
	use_refused(EXIT_IMAGE, SHAPE "it is cut short");
	wanted.distance[0][1]++;
	say_table(&wanted, " ");
	put(text, used);
	use_refused(EXIT_HOST, "from node 0 to 2 it has a distance of 21, and this host 20: measure again");
	wanted.id[1] = 9;
	say_table(&wanted, " ");
	put(text, used);
	use_refused(EXIT_HOST, "it has memory node 9, and this host has 0,2,4,6,8: measure again");
	strcpy(path, "/tmp");
	use_refused(EXIT_HOST, "not a regular file");
}
END_TEST

START_TEST(a_file_that_cannot_be_read)
{
	put(text, used);
	fake_host_refuse_if(SYS_read, 2, (unsigned)used, EIO);
	use_refused(EXIT_HOST, "cannot be read: Input/output error");
}
END_TEST

START_TEST(a_file_as_large_as_it_can_be)
{
	put(text, used);
	ck_assert_int_eq(truncate(path, LATENCY_TABLE_BYTES_MAX + 1), 0);
	use_refused(EXIT_IMAGE, "1048577 bytes, and what slat probe --latency --json writes has 1 MiB at most");
	ck_assert_int_eq(truncate(path, LATENCY_TABLE_BYTES_MAX), 0);
	use_refused(EXIT_IMAGE, SHAPE "no JSON, in line 2"); /* zeros behind its newline */
}
END_TEST

/* As deep, or as much, as a file can be: it costs no more than its memory. */
START_TEST(a_file_that_is_a_burden)
{
	static const char *const parts[] = {"[", "{},", "[],", "1,", "\"\",", "{\"a\":"};
	const size_t length = strlen(parts[_i]);
	enum latency_source source = LATENCY_HMAT;
	struct failure f = {0};
	FILE *file = fopen(path, "w");
	size_t bytes = 1;

	fputc(parts[_i][length - 1] == ',' ? '[' : ' ', file);
	for (; bytes + length < LATENCY_TABLE_BYTES_MAX; bytes += length)
		fputs(parts[_i], file);
	fputs(&"0]"[bytes + 2 > LATENCY_TABLE_BYTES_MAX], file);
	ck_assert_int_eq(fclose(file), 0);
	ck_assert_int_ne(latency_table_use(&memory, path, &map, ps, &source, &f), 0);
	ck_assert_ptr_nonnull(strstr(f.text, path));
	ck_assert_int_eq(source, LATENCY_HMAT);
}
END_TEST

START_TEST(each_allocation_refused)
{
	enum latency_source source = LATENCY_HMAT;
	unsigned n = 0, host = 0, image = 0;
	int code;

	put(text, used);
	do {
		struct failure f = {0};

		heap_fail_after(&memory.heap, ++n);
		code = latency_table_use(&memory, path, &map, ps, &source, &f);
		heap_fail_after(&memory.heap, 0);
		ck_assert(code == 0 || (source == LATENCY_HMAT && ps[0][0] == 0x5a5a5a5a));
		host += code == EXIT_HOST && strstr(f.text, ": no memory to read it");
		image += code == EXIT_IMAGE && strstr(f.text, SHAPE "no JSON, in line "); /* a string */
		ck_assert_uint_eq(host + image, code ? n : n - 1);
		ck_assert_uint_eq(heap_stats_read(&memory.heap).allocations, 0);
	} while (code && n < ALLOCATIONS_MAX);
	ck_assert(code == 0 && host > 40 && image < host);
}
END_TEST

static TCase *cases_of_files(void)
{
	TCase *t = tcase_create("files");

	tcase_set_timeout(t, 30);
	tcase_add_checked_fixture(t, open_files, close_files);
	tcase_add_test(t, a_file_is_used);
	tcase_add_test(t, a_file_is_refused);
	tcase_add_test(t, a_file_that_cannot_be_read);
	tcase_add_test(t, a_file_as_large_as_it_can_be);
	tcase_add_loop_test(t, a_file_that_is_a_burden, 0, 6);
	tcase_add_test(t, each_allocation_refused);
	return t;
}

Suite *latency_table_suite(void)
{
	Suite *s = suite_create("latency_table");
	TCase *t = tcase_create("table");

	tcase_set_timeout(t, 30);
	tcase_add_test(t, a_table_is_read_as_it_was_written);
	tcase_add_test(t, one_of_64_nodes_fits);
	tcase_add_loop_test(t, refused_with_a_sentence, 0, COUNT(refusals));
	tcase_add_test(t, the_limits_themselves_are_taken);
	tcase_add_test(t, more_nodes_than_there_can_be);
	tcase_add_test(t, bytes_behind_a_zero);
	tcase_add_test(t, each_truncation_is_seen);
	tcase_add_test(t, whatever_the_bytes_are);
	tcase_add_test(t, a_table_of_another_host);
	tcase_add_test(t, as_the_model_has_it);
	tcase_add_test(t, only_local_ones_measured);
	tcase_add_test(t, all_that_counts_was_measured);
	tcase_add_test(t, of_several_as_near_the_fastest);
	tcase_add_test(t, rounded_up_and_bounded);
	tcase_add_test(t, a_contract_by_distances);
	suite_add_tcase(s, t);
	suite_add_tcase(s, cases_of_files());
	return s;
}
