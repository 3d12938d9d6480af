/* vmm/zones_show.c: which nodes the guest sees, how far they are from each other, and which of the
 * host's CPUs its vCPUs are kept to. Theory: top of zones.c. */
#include <string.h>

#include "vmm/layout.h"
#include "vmm/stitch.h"
#include "vmm/zones_impl.h"

/* ---- what the guest sees ---- */

/* At most two for each: the hole may lie in one. */
static unsigned ranges_of(const struct zones *z, struct options_zone_range *range)
{
	uint64_t offset = 0;
	unsigned n = 0;

	for (unsigned i = 0; i < z->count; i++) {
		for (uint64_t left = z->zone[i].bytes; left;) {
			const uint64_t gpa = stitch_gpa(offset);
			const uint64_t low = gpa < LAYOUT_HOLE_START ? LAYOUT_HOLE_START - gpa : left;
			const uint64_t some = left < low ? left : low;

			range[n++] = (struct options_zone_range){gpa, some, i};
			offset += some;
			left -= some;
		}
	}
	return n;
}

static void add_place(uint8_t *place, unsigned *n, unsigned at)
{
	if (at != NUMA_MAP_NONE && *n < TOPOLOGY_NODES_MAX && !memchr(place, (int)at, *n))
		place[(*n)++] = (uint8_t)at;
}

static bool has_cpus(const struct zones *z, unsigned place)
{
	const struct ids cpus = place == NUMA_MAP_NONE ? (struct ids){0} : zones_cpus_of(z, place);

	return ids_count(&cpus) > 0;
}

/* NUMA_MAP_NONE: slat may use no CPUs of any node, by what the map says of them. */
static unsigned nearest_with_cpus(const struct zones *z, unsigned memory)
{
	unsigned best = NUMA_MAP_NONE;

	for (unsigned at = 0; at < z->map.nodes; at++)
		if (has_cpus(z, at) &&
		    (best == NUMA_MAP_NONE || z->map.distance[at][memory] < z->map.distance[best][memory]))
			best = at;
	return best;
}

/* Z4: of vCPUs that no placement chose a node for. */
static void keep_zone_cpus(struct zones *z, const uint8_t *place, unsigned places)
{
	uint8_t seat[TOPOLOGY_NODES_MAX];
	unsigned seats = 0;

	for (unsigned i = 0; i < places; i++)
		if (has_cpus(z, place[i]))
			add_place(seat, &seats, place[i]);
	if (!seats)
		add_place(seat, &seats, nearest_with_cpus(z, place[0]));
	for (unsigned cpu = 0; seats && cpu < z->options->cpus; cpu++)
		if (z->cpu_place[cpu] == ZONES_ANY)
			z->cpu_place[cpu] = seat[cpu * seats / z->options->cpus];
}

static void add_zone_places(const struct zones *z, uint8_t *place, unsigned *n)
{
	for (unsigned i = 0; i < z->count; i++)
		add_place(place, n, numa_map_place(&z->map, z->zone[i].pool->node));
}

/* The places that vCPUs are kept to, ascending, then the others that zones lie on: Linux numbers nodes by its CPUs, and
 * then by their memory. 0 iff all zones lie on one. */
static unsigned used_places(struct zones *z, uint8_t *place)
{
	unsigned n = 0;

	add_zone_places(z, place, &n);
	if (n < 2)
		return 0;
	keep_zone_cpus(z, place, n);
	n = 0;
	for (unsigned at = 0; at < z->map.nodes; at++)
		if (memchr(z->cpu_place, (int)at, z->options->cpus))
			add_place(place, &n, at);
	add_zone_places(z, place, &n);
	return n;
}

/* By guest node, where its CPUs are and where its memory: ZONES_ANY: not on one node. */
static void show_latencies(struct zones *z, const uint8_t *cpus, const uint8_t *memory)
{
	struct topology *t = &z->topology;

	t->has_hmat = z->map.has_hmat;
	for (unsigned from = 0; from < t->nodes; from++)
		for (unsigned to = 0; to < t->nodes; to++) {
			if (cpus[from] == ZONES_ANY || memory[to] == ZONES_ANY)
				continue; /* where such are needed, topology_fit() leaves HMAT out */
			t->latency_ns[from][to] = (z->map.latency_ps[cpus[from]][memory[to]] + 500) / 1000;
			t->bandwidth_mib[from][to] = z->map.bandwidth_mib[cpus[from]][memory[to]];
		}
	topology_fit(t);
}

static void show_costs(struct zones *z, const uint8_t *place)
{
	for (unsigned a = 0; a < z->topology.nodes; a++)
		for (unsigned b = 0; b < z->topology.nodes; b++)
			z->topology.distance[a][b] = z->map.distance[place[a]][place[b]];
	show_latencies(z, place, place);
}

/* Nothing, where all is on one. */
static void show_places(struct zones *z, const struct options_zone_range *range, unsigned ranges)
{
	uint8_t place[TOPOLOGY_NODES_MAX];
	const unsigned nodes = used_places(z, place);
	struct topology *t = &z->topology;

	if (!nodes)
		return;
	t->nodes = nodes;
	t->cpus = z->options->cpus;
	for (unsigned n = 0; n < nodes; n++) {
		for (unsigned cpu = 0; cpu < t->cpus; cpu++)
			if (z->cpu_place[cpu] == place[n])
				t->cpu_node[cpu] = (uint8_t)n;
	}
	for (unsigned i = 0; i < ranges; i++) {
		const unsigned at = numa_map_place(&z->map, z->zone[range[i].zone].pool->node);
		const uint8_t *found = memchr(place, (int)at, nodes);

		t->range[t->ranges++] =
			(struct topology_range){range[i].gpa, range[i].bytes, found ? (uint8_t)(found - place) : 0};
	}
	show_costs(z, place);
}

/* Of each node of --numa, where its memory is, if it is all of one place. */
static void memory_places(const struct zones *z, uint8_t *place)
{
	const struct options_numa *n = &z->options->numa;

	memset(place, ZONES_ANY, TOPOLOGY_NODES_MAX);
	for (unsigned pass = 0; pass < 2; pass++)
		for (unsigned i = 0; i < z->count; i++) {
			const unsigned node = n->zone_node[n->zones ? i : 0];
			const struct backing *b = &z->zone[i].pool->backing;
			const bool one = b->kind == BACKING_DEVDAX
						 ? b->node != BACKING_NODE_ANY
						 : z->zone[i].ruled && ids_count(&z->zone[i].rule.nodes) == 1;
			const unsigned at = one ? numa_map_place(&z->map, z->zone[i].pool->node) : ZONES_ANY;

			if (pass == 0)
				place[node] = (uint8_t)at;
			else if (place[node] != at)
				place[node] = ZONES_ANY;
		}
}

/* Z4, Z5: of the nodes of --numa. */
static void keep_numa_cpus(struct zones *z)
{
	const uint8_t *node = z->options->numa.cpu_node;
	uint8_t memory[TOPOLOGY_NODES_MAX], cpus[TOPOLOGY_NODES_MAX];

	memory_places(z, memory);
	memset(cpus, ZONES_ANY, sizeof(cpus));
	for (unsigned cpu = 0; cpu < z->options->cpus; cpu++) {
		if (z->cpu_place[cpu] == ZONES_ANY && has_cpus(z, memory[node[cpu]]))
			z->cpu_place[cpu] = memory[node[cpu]];
		cpus[node[cpu]] = z->cpu_place[cpu];
	}
	for (unsigned cpu = 0; cpu < z->options->cpus; cpu++)
		if (cpus[node[cpu]] != z->cpu_place[cpu])
			cpus[node[cpu]] = ZONES_ANY;
	show_latencies(z, cpus, memory);
}

int zones_show(struct zones *z, struct failure *f)
{
	struct options_zone_range range[2 * ZONES_MAX];
	const unsigned ranges = ranges_of(z, range);

	if (z->options->numa.nodes && z->options->numa.zones == 0)
		for (unsigned i = 0; i < ranges; i++)
			range[i].zone = 0; /* shares of mem0 */
	if (z->options->numa.nodes) {
		options_topology(z->options, range, ranges, &z->topology);
		keep_numa_cpus(z);
	} else {
		show_places(z, range, ranges);
	}
	return z->topology.nodes ? topology_check(&z->topology, f) : 0;
}
