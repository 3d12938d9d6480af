/* vmm/latency_table.c
 *
 * What it is. Latencies for a contract on a host whose firmware tells none (HMAT), or
 * where its figures are not believed: `slat probe --latency --json` measured them once
 * (latency.c), and each run reads what it wrote. Measuring at each start would take half a
 * second a pair, and disturb the guests that run.
 *
 * Words. Pair: the node of a CPU and the node of memory. Local: both are one. Place: an
 * index of a node, in the table or in the host's map; ids are what both name it by.
 *
 * The file is anybody's. Of what probe writes three parts are read, nodes[].id, distances
 * and latencies, and each is what it must be or the file is refused:
 *   F1  ids ascend, and are as many as there can be nodes, or fewer;
 *   F2  both matrices have one row and one column for each;
 *   F3  a distance is 10 to 255, and 10 from a node to itself;
 *   F4  a latency is null, or 1 ns to 1 ms: what --latency can ask for; one is not null;
 *   F5  they were measured: those of probe without --latency are the firmware's.
 * Other keys are not looked at, so that a file of a later probe is taken, and one that
 * somebody cut down to these three.
 *
 * Nor need it be this host's. A node of the table that the host lacks, or a distance that
 * is not the host's, refuses it. A host that has more nodes than the table (hotplug; a
 * node that had no memory to spare, or that probe's cpuset left out) does not:
 *
 * Pairs that were not measured. Memory has a latency a unit of distance, and a pair takes
 * as many of these as the host's distance (SLIT) between its nodes says:
 *
 *     latency(c, m) = unit(m) * distance(c, m)
 *     unit(m)       = latency(n, m) / distance(n, m), n the nearest node measured to m:
 *                     m itself, whose distance is 10, where it has CPUs; of several as
 *                     near the fastest
 *     unit(m)       = the mean of the others' units, if none was measured to m
 *
 * With 80 ns measured locally, and a distance of 20, it is 160 ns.
 *   S1  every pair has a latency, never 0;
 *   S2  one that was measured is as measured;
 *   S3  one that was not is rounded up, so that no contract is kept by rounding alone.
 *
 * Failure. What is no table is EXIT_IMAGE, as a file that is no second-level table; what
 * cannot be read, or is another host's, EXIT_HOST. (Where jansson has no memory for a
 * string it calls the file malformed, and so do we.) A pipe is refused, not waited for:
 * by now signals are held back, and nobody could end that.
 *
 * Rejected. HMAT's figures for pairs that are missing: two kinds of nanoseconds in one sum.
 * Comparing CPUs, too: they go offline and come back, and the memory is as far as before.
 * jansson's own sentences: they quote the file, whatever is in it. */
#include "vmm/latency_table.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mm/port.h"
#include "vmm/size.h"

#define ID_MAX	     1023
#define LOCAL	     10
#define DISTANCE_MAX 255
#define PS_MIN	     1000 /* a cache answers as fast */
#define PS_MAX	     1000000000
#define FS_A_PS	     1000u
#define PATH_SHOWN   256

_Static_assert(UINT64_C(1) * PS_MAX * FS_A_PS * DISTANCE_MAX < UINT64_MAX / NUMA_NODES_MAX, "units can be summed");

const char *latency_source_name(enum latency_source source)
{
	static const char *const names[] = {"unknown", "hmat", "measured", "measured and distances"};

	return names[source];
}

/* ---- the file ---- */

static int no_table(struct failure *f, const char *what)
{
	return fail(f, EXIT_IMAGE, "not what slat probe --latency --json writes: %s", what);
}

static int no_json(const json_error_t *error, struct failure *f)
{
	switch (json_error_code(error)) {
	case json_error_unknown: /* nothing was said */
	case json_error_out_of_memory:
		return fail(f, EXIT_HOST, "no memory to read it");
	case json_error_premature_end_of_input:
		return no_table(f, "it is cut short");
	case json_error_duplicate_key:
		return no_table(f, "an object has a key twice");
	default:
		return fail(f, EXIT_IMAGE, "not what slat probe --latency --json writes: no JSON, in line %d",
			    error->line);
	}
}

/* No number is -1. */
static json_int_t number(const json_t *value)
{
	return json_is_integer(value) ? json_integer_value(value) : -1;
}

/* F1 */
static int parse_nodes(struct latency_table *t, const json_t *nodes, struct failure *f)
{
	json_int_t before = -1;

	if (!json_array_size(nodes) || json_array_size(nodes) > NUMA_NODES_MAX)
		return fail(f, EXIT_IMAGE,
			    "not what slat probe --latency --json writes: nodes is no list of 1 to %u nodes",
			    NUMA_NODES_MAX);
	t->nodes = (unsigned)json_array_size(nodes);
	for (unsigned i = 0; i < t->nodes; i++) {
		const json_int_t id = number(json_object_get(json_array_get(nodes, i), "id"));

		if (id <= before || id > ID_MAX)
			return no_table(f, "the ids of nodes are no numbers from 0 to 1023 in ascending order");
		before = id;
		t->id[i] = (unsigned)id;
	}
	return 0;
}

/* F2 */
static bool is_matrix(const json_t *rows, unsigned nodes)
{
	if (json_array_size(rows) != nodes)
		return false;
	for (unsigned i = 0; i < nodes; i++)
		if (json_array_size(json_array_get(rows, i)) != nodes)
			return false;
	return true;
}

static const json_t *entry(const json_t *rows, unsigned from, unsigned to)
{
	return json_array_get(json_array_get(rows, from), to);
}

/* F3 */
static int parse_distances(struct latency_table *t, const json_t *rows, struct failure *f)
{
	if (!is_matrix(rows, t->nodes))
		return no_table(f, "distances has not one row and one column for each node");
	for (unsigned from = 0; from < t->nodes; from++)
		for (unsigned to = 0; to < t->nodes; to++) {
			const json_int_t distance = number(entry(rows, from, to));

			if (distance < LOCAL || distance > DISTANCE_MAX || (from == to && distance != LOCAL))
				return fail(f, EXIT_IMAGE,
					    "not what slat probe --latency --json writes: the distance from node %u to "
					    "%u is no number from %d to %d, 10 from a node to itself",
					    t->id[from], t->id[to], LOCAL, DISTANCE_MAX);
			t->distance[from][to] = (uint8_t)distance;
		}
	return 0;
}

/* F4 */
static int parse_ps(struct latency_table *t, const json_t *rows, struct failure *f)
{
	bool any = false;

	if (!is_matrix(rows, t->nodes))
		return no_table(f, "ps of latencies has not one row and one column for each node");
	for (unsigned from = 0; from < t->nodes; from++)
		for (unsigned to = 0; to < t->nodes; to++) {
			const json_t *value = entry(rows, from, to);
			const json_int_t ps = json_is_null(value) ? 0 : number(value);

			if (!json_is_null(value) && (ps < PS_MIN || ps > PS_MAX))
				return fail(f, EXIT_IMAGE,
					    "not what slat probe --latency --json writes: the latency from node %u to "
					    "%u is neither null nor picoseconds from %d to %d",
					    t->id[from], t->id[to], PS_MIN, PS_MAX);
			t->ps[from][to] = (uint32_t)ps;
			any = any || ps;
		}
	return any ? 0 : fail(f, EXIT_IMAGE, "nothing is measured in it: no node had CPUs and memory to spare");
}

/* F5 */
static int parse_latencies(struct latency_table *t, const json_t *latencies, struct failure *f)
{
	const char *source = json_string_value(json_object_get(latencies, "source"));

	if (!source)
		return no_table(f, "latencies have no source");
	if (strcmp(source, latency_source_name(LATENCY_MEASURED)) != 0)
		return fail(f, EXIT_IMAGE, "its latencies are not measured: slat probe --latency --json does that");
	return parse_ps(t, json_object_get(latencies, "ps"), f);
}

int latency_table_parse(struct latency_table *t, const char *text, size_t bytes, struct failure *f)
{
	json_error_t error = {.line = -1}; /* jansson leaves the code as it was where it says nothing */
	json_t *all = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, &error);

	if (!all)
		return no_json(&error, f);
	*t = (struct latency_table){0};
	if (parse_nodes(t, json_object_get(all, "nodes"), f) == 0 &&
	    parse_distances(t, json_object_get(all, "distances"), f) == 0)
		(void)parse_latencies(t, json_object_get(all, "latencies"), f);
	json_decref(all);
	return f->code;
}

/* ---- is it this host's ---- */

static struct ids ids_of(const struct numa_map *map)
{
	struct ids all = {0};

	for (unsigned i = 0; i < map->nodes; i++)
		ids_add(&all, map->node[i].id);
	return all;
}

int latency_table_check(const struct latency_table *t, const struct numa_map *map, struct failure *f)
{
	const struct ids all = ids_of(map);

	for (unsigned i = 0; i < t->nodes; i++)
		if (!ids_has(&all, t->id[i]))
			return fail(f, EXIT_HOST, "it has memory node %u, and this host has %s: measure again",
				    t->id[i], ids_format(&all).s);
	for (unsigned i = 0; i < t->nodes; i++)
		for (unsigned k = 0; k < t->nodes; k++) {
			const unsigned from = numa_map_place(map, t->id[i]), to = numa_map_place(map, t->id[k]);

			if (t->distance[i][k] != map->distance[from][to])
				return fail(f, EXIT_HOST,
					    "from node %u to %u it has a distance of %u, and this host %u: measure "
					    "again",
					    t->id[i], t->id[k], t->distance[i][k], map->distance[from][to]);
		}
	return 0;
}

/* ---- what was not measured ---- */

/* Of a latency in ps, in fs, rounded up. */
static uint64_t unit(uint32_t ps, uint8_t distance)
{
	return ((uint64_t)ps * FS_A_PS + distance - 1) / distance;
}

/* Of the memory of that place; 0: none was measured to it. */
static uint64_t unit_measured(const struct numa_map *map, uint32_t ps[NUMA_NODES_MAX][NUMA_NODES_MAX], unsigned memory)
{
	uint64_t best = 0, nearest = UINT64_MAX;

	for (unsigned from = 0; from < map->nodes; from++) {
		const uint8_t distance = map->distance[from][memory];
		const uint64_t one = unit(ps[from][memory], distance);

		if (!one || distance > nearest || (distance == nearest && one >= best))
			continue;
		best = one;
		nearest = distance;
	}
	return best;
}

static uint64_t mean_unit(const struct numa_map *map, uint32_t ps[NUMA_NODES_MAX][NUMA_NODES_MAX])
{
	uint64_t sum = 0, n = 0;

	for (unsigned memory = 0; memory < map->nodes; memory++) {
		const uint64_t one = unit_measured(map, ps, memory);

		sum += one;
		n += one != 0;
	}
	MM_ASSERT(n, map->nodes, sum); /* F4, and each node of the table is the host's */
	return (sum + n - 1) / n;
}

static uint32_t scaled(uint64_t unit_fs, uint8_t distance)
{
	const uint64_t ps = (unit_fs * distance + FS_A_PS - 1) / FS_A_PS;

	return ps < UINT32_MAX ? (uint32_t)ps : UINT32_MAX;
}

/* True iff CPUs and memory that there are had to be scaled. */
static bool scale(const struct numa_map *map, uint32_t ps[NUMA_NODES_MAX][NUMA_NODES_MAX])
{
	const uint64_t mean = mean_unit(map, ps);
	bool any = false;

	for (unsigned to = 0; to < map->nodes; to++) {
		const uint64_t own = unit_measured(map, ps, to);

		for (unsigned from = 0; from < map->nodes; from++) {
			if (ps[from][to])
				continue;
			ps[from][to] = scaled(own ? own : mean, map->distance[from][to]);
			any = any || (map->node[from].cpus && map->node[to].has_memory);
		}
	}
	return any;
}

enum latency_source latency_table_fill(const struct latency_table *t, const struct numa_map *map,
				       uint32_t ps[NUMA_NODES_MAX][NUMA_NODES_MAX])
{
	for (unsigned from = 0; from < map->nodes; from++)
		memset(ps[from], 0, map->nodes * sizeof(ps[from][0]));
	for (unsigned i = 0; i < t->nodes; i++)
		for (unsigned k = 0; k < t->nodes; k++)
			ps[numa_map_place(map, t->id[i])][numa_map_place(map, t->id[k])] = t->ps[i][k];
	return scale(map, ps) ? LATENCY_SCALED : LATENCY_MEASURED;
}

/* ---- all of it ---- */

static int read_open(struct latency_table *t, struct memory *memory, int fd, struct failure *f)
{
	struct stat s;
	char *text;
	size_t used = 0;
	ssize_t got;

	if (fstat(fd, &s) != 0 || !S_ISREG(s.st_mode))
		return fail(f, EXIT_HOST, "not a regular file");
	if (s.st_size > LATENCY_TABLE_BYTES_MAX)
		return fail(f, EXIT_IMAGE, "%jd bytes, and what slat probe --latency --json writes has %s at most",
			    (intmax_t)s.st_size, size_format(LATENCY_TABLE_BYTES_MAX).s);
	text = memory_alloc(memory, (size_t)s.st_size + 1);
	if (!text)
		return fail(f, EXIT_HOST, "no memory to read it");
	do {
		got = read(fd, text + used, (size_t)s.st_size - used);
		used += got > 0 ? (size_t)got : 0;
	} while ((got > 0 && used < (size_t)s.st_size) || (got < 0 && errno == EINTR));
	if (got < 0)
		fail(f, EXIT_HOST, "cannot be read: %s", strerror(errno));
	else
		(void)latency_table_parse(t, text, used, f);
	memory_free(memory, text);
	return f->code;
}

static int read_file(struct latency_table *t, struct memory *memory, const char *path, struct failure *f)
{
	const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return fail(f, EXIT_HOST, "cannot be opened: %s", strerror(errno));
	(void)read_open(t, memory, fd, f);
	close(fd);
	return f->code;
}

int latency_table_use(struct memory *memory, const char *path, const struct numa_map *map,
		      uint32_t ps[NUMA_NODES_MAX][NUMA_NODES_MAX], enum latency_source *source, struct failure *f)
{
	struct latency_table *t = memory_alloc(memory, sizeof(*t));
	struct failure why = {0};

	if (!t)
		fail(&why, EXIT_HOST, "no memory to read it");
	else if (read_file(t, memory, path, &why) == 0 && latency_table_check(t, map, &why) == 0)
		*source = latency_table_fill(t, map, ps);
	memory_free(memory, t);
	return why.code ? fail(f, (enum exit_code)why.code, "--latencies %.*s: %s", PATH_SHOWN, path, why.text) : 0;
}
