/* vmm/numa_map.c: the host's memory nodes as sysfs tells of them.
 *
 * What it is. A snapshot: nodes come (hotplug), go, and fill while one looks; who needs
 * the truth of now reads it again. It takes nothing and promises nothing.
 *
 * Words. Place: an index in node[]. Target: a node whose memory is meant. Initiator: a
 * node whose CPUs ask. Told: a pair of both that sysfs has HMAT's figures for, which are
 * those of one or two initiators of each target, below its accessN/initiators.
 *
 * Latencies. access0 names whatever is nearest, a device perhaps; access1 a node with CPUs,
 * and not always the nearest: a 6.12 kernel has node 0 there for every target, and so tells
 * what is remote, too. Where both name the same initiator, access1 counts. Of initiators that
 * are not told, the lowest of what is told, the nearest, is scaled:
 *
 *     latency(i, t) = latency(nearest, t) * distance(i, t) / distance(nearest, t)
 *
 * and bandwidth the other way round: with a node of CPUs and memory its nearest is itself,
 * at distance 10, so 80 ns and a distance of 20 make 160. A contract cannot be computed with
 * half of the figures: has_hmat only if every node with memory has a latency. All is by
 * places, so nodes without CPUs get rows, too, which mean nothing to anyone.
 *
 * Invariants, of what numa_map_read() fills, whatever the files hold: ids ascend, without
 * a double, and are below NUMA_MAP_IDS; nodes is 1 at least; free and room are at most total, and cached the rest; a
 * distance is 10 at least, 10 from a node to itself; a latency is 0 everywhere iff !has_hmat
 * (but 0 to nodes without memory); each CPU is at one place, and node[].cpus counts them.
 *
 * Failure. A file that is absent or malformed is as one that a kernel without that feature
 * does not have. Only without a list of nodes there is nothing to go on with: a kernel
 * without NUMA has no such directory, and is shown as one node, 0; a directory whose list
 * is malformed is refused.
 *
 * Rejected. libnuma's own inventory: no huge pages, no HMAT, and it cannot be shown another
 * host's tree; and it must not be loaded where there is one node. The HMAT table itself
 * (/sys/firmware/acpi/tables): root alone may read it. */
#include "vmm/numa_map.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "vmm/hostfs.h"
#include "vmm/numa_room.h"
#include "vmm/size.h"

#define NODE	       "/sys/devices/system/node"
#define NUMA_MAP_IDS   1024u /* the most nodes that Linux can be built for */
#define LOCAL	       10u   /* distances, as ACPI has them */
#define REMOTE	       20u
#define LATENCY_MAX_NS 1000000u /* a millisecond is no latency of memory */

static const char *const huge_directory[NUMA_HUGE_SIZES] = {
	[NUMA_HUGE_2M] = "hugepages-2048kB",
	[NUMA_HUGE_1G] = "hugepages-1048576kB",
};

/* ---- nodes, memory and CPUs ---- */

/* "Node 0 MemTotal:       16303872 kB" */
static uint64_t meminfo_bytes(const char *text, const char *name)
{
	const char *at = strstr(text, name);
	uint64_t kib;

	return at && hostfs_decimal(at + strlen(name), &kib, NULL) && kib <= UINT64_MAX / 1024 ? kib * 1024 : 0;
}

static void read_memory(struct numa_map_node *n, const char *meminfo)
{
	n->total_bytes = meminfo_bytes(meminfo, "MemTotal:");
	n->free_bytes = meminfo_bytes(meminfo, "MemFree:");
	if (n->free_bytes > n->total_bytes)
		n->free_bytes = n->total_bytes;
	n->cached_bytes = meminfo_bytes(meminfo, "Active(file):") + meminfo_bytes(meminfo, "Inactive(file):");
	if (n->cached_bytes > n->total_bytes - n->free_bytes)
		n->cached_bytes = n->total_bytes - n->free_bytes;
}

static void read_huge(const char *root, struct numa_huge *h, const char *directory)
{
	hostfs_number(root, &h->total, "%s/nr_hugepages", directory);
	hostfs_number(root, &h->free, "%s/free_hugepages", directory);
	if (h->free > h->total)
		h->free = h->total;
}

static uint8_t weight_of(const char *root, unsigned id)
{
	uint64_t weight = 1;

	hostfs_number(root, &weight, "/sys/kernel/mm/mempolicy/weighted_interleave/node%u", id);
	return weight && weight <= UINT8_MAX ? (uint8_t)weight : 1;
}

/* The first node that claims a CPU has it. */
static void take_cpus(struct numa_map *m, unsigned place, const struct ids *cpus)
{
	for (unsigned cpu = ids_next(cpus, 0); cpu < IDS_MAX; cpu = ids_next(cpus, cpu + 1))
		if (m->cpu_node[cpu] == NUMA_MAP_NONE) {
			m->cpu_node[cpu] = (uint8_t)place;
			m->node[place].cpus++;
		}
}

static void read_node(const char *root, struct numa_map *m, unsigned place)
{
	struct numa_map_node *n = &m->node[place];
	struct ids cpus = {0};
	char text[4096], directory[96];

	n->weight = weight_of(root, n->id);
	if (hostfs_text(root, text, sizeof(text), NODE "/node%u/meminfo", n->id))
		read_memory(n, text);
	for (unsigned i = 0; i < NUMA_HUGE_SIZES; i++) {
		snprintf(directory, sizeof(directory), NODE "/node%u/hugepages/%s", n->id, huge_directory[i]);
		read_huge(root, &n->huge[i], directory);
	}
	hostfs_ids(root, &cpus, NODE "/node%u/cpulist", n->id);
	take_cpus(m, place, &cpus);
}

/* A kernel without NUMA. */
static void read_only_node(const char *root, struct numa_map *m)
{
	struct numa_map_node *n = &m->node[0];
	struct ids cpus = {0};
	char text[4096], directory[96];

	m->nodes = 1;
	n->weight = 1;
	n->has_memory = true;
	if (hostfs_text(root, text, sizeof(text), "/proc/meminfo"))
		read_memory(n, text);
	for (unsigned i = 0; i < NUMA_HUGE_SIZES; i++) {
		snprintf(directory, sizeof(directory), "/sys/kernel/mm/hugepages/%s", huge_directory[i]);
		read_huge(root, &n->huge[i], directory);
	}
	hostfs_ids(root, &cpus, "/sys/devices/system/cpu/online");
	take_cpus(m, 0, &cpus);
}

/* ---- distances and latencies ---- */

/* "10 21", one for each node that is online. */
static bool distance_row(const char *root, const struct numa_map *m, unsigned from, uint8_t *row)
{
	char text[1024];
	const char *at = text;

	if (!hostfs_text(root, text, sizeof(text), NODE "/node%u/distance", m->node[from].id))
		return false;
	for (unsigned to = 0; to < m->nodes; to++) {
		uint64_t distance;

		if (!hostfs_decimal(at, &distance, &at) || distance < LOCAL || distance > UINT8_MAX ||
		    (to == from && distance != LOCAL))
			return false;
		row[to] = (uint8_t)distance;
	}
	return true;
}

static void read_distances(const char *root, struct numa_map *m)
{
	uint8_t row[NUMA_NODES_MAX];

	m->has_slit = true;
	for (unsigned from = 0; from < m->nodes; from++) {
		bool told = distance_row(root, m, from, row);

		m->has_slit &= told;
		for (unsigned to = 0; to < m->nodes; to++)
			m->distance[from][to] = told ? row[to] : to == from ? LOCAL : REMOTE;
	}
}

struct figures { /* of one initiator and one target; latency_ns 0: not told */
	uint64_t latency_ns, bandwidth_mib;
};

static struct figures figures_read(const char *root, unsigned target, const char *access)
{
	struct figures f = {0};

	hostfs_number(root, &f.latency_ns, NODE "/node%u/%s/initiators/read_latency", target, access);
	hostfs_number(root, &f.bandwidth_mib, NODE "/node%u/%s/initiators/read_bandwidth", target, access);
	return f.latency_ns <= LATENCY_MAX_NS ? f : (struct figures){0};
}

static uint32_t scaled(uint64_t figure, uint64_t by, uint64_t over)
{
	uint64_t value = figure <= UINT32_MAX * UINT64_C(1000) ? figure * by / over : UINT64_MAX;

	return value < UINT32_MAX ? (uint32_t)value : UINT32_MAX;
}

/* The initiator with CPUs at the least distance, for figures that name none. */
static unsigned closest(const struct numa_map *m, unsigned target)
{
	unsigned best = target;

	for (unsigned i = 0; i < m->nodes; i++)
		if (m->node[i].cpus && (!m->node[best].cpus || m->distance[i][target] < m->distance[best][target]))
			best = i;
	return best;
}

/* What the host tells of this target, by place of the initiator. */
static void read_told(const char *root, const struct numa_map *m, unsigned target, struct figures *told)
{
	static const char *const classes[] = {"access0", "access1"}; /* the CPUs' own figures are the later ones */
	unsigned id = m->node[target].id;

	for (unsigned c = 0; c < 2; c++) {
		struct figures f = figures_read(root, id, classes[c]);
		bool named = false;

		for (unsigned i = 0; i < m->nodes && f.latency_ns; i++)
			if (hostfs_exists(root, NODE "/node%u/%s/initiators/node%u", id, classes[c], m->node[i].id)) {
				told[i] = f;
				named = true;
			}
		if (f.latency_ns && !named)
			told[closest(m, target)] = f;
	}
}

/* False iff the host tells nothing of this target. */
static bool read_latencies(const char *root, struct numa_map *m, unsigned target)
{
	struct figures told[NUMA_NODES_MAX] = {0};
	unsigned nearest = NUMA_MAP_NONE;

	read_told(root, m, target, told);
	for (unsigned i = 0; i < m->nodes; i++)
		if (told[i].latency_ns && (nearest == NUMA_MAP_NONE || told[i].latency_ns < told[nearest].latency_ns))
			nearest = i;
	if (nearest == NUMA_MAP_NONE)
		return false;
	for (unsigned i = 0; i < m->nodes; i++) {
		const struct figures *f = told[i].latency_ns ? &told[i] : &told[nearest];
		uint8_t least = m->distance[nearest][target];
		uint8_t distance = told[i].latency_ns ? least : m->distance[i][target];

		m->latency_ps[i][target] = scaled(f->latency_ns * 1000, distance, least);
		m->bandwidth_mib[i][target] = scaled(f->bandwidth_mib, least, distance);
	}
	return true;
}

/* ---- all of it ---- */

static int name_nodes(struct numa_map *m, const struct ids *online, const struct ids *memory, struct failure *f)
{
	if (ids_next(online, NUMA_MAP_IDS) < IDS_MAX || ids_next(online, 0) == IDS_MAX)
		return fail(f, EXIT_HOST, NODE "/online: %s are no memory nodes", ids_format(online).s);
	if (ids_count(online) > NUMA_NODES_MAX)
		return fail(f, EXIT_HOST, "this host has %u memory nodes, and slat has room for %u", ids_count(online),
			    NUMA_NODES_MAX);
	for (unsigned id = ids_next(online, 0); id < IDS_MAX; id = ids_next(online, id + 1)) {
		m->node[m->nodes].id = id;
		m->node[m->nodes++].has_memory = ids_has(memory, id);
	}
	return 0;
}

int numa_map_read(const char *root, struct numa_map *m, struct failure *f)
{
	struct ids online = {0}, memory = {0};
	enum hostfs_list nodes = hostfs_ids(root, &online, NODE "/online");

	memset(m, 0, sizeof(*m));
	memset(m->cpu_node, NUMA_MAP_NONE, sizeof(m->cpu_node));
	for (unsigned i = 0; i < NUMA_HUGE_SIZES; i++)
		hostfs_number(root, &m->huge_promised[i], "/sys/kernel/mm/hugepages/%s/resv_hugepages",
			      huge_directory[i]);
	if (nodes == HOSTFS_MALFORMED)
		return fail(f, EXIT_HOST, "%s" NODE "/online has no list of nodes", root);
	if (nodes == HOSTFS_ABSENT) {
		read_only_node(root, m);
	} else {
		hostfs_ids(root, &memory, NODE "/has_memory");
		if (name_nodes(m, &online, &memory, f))
			return f->code;
		for (unsigned i = 0; i < m->nodes; i++)
			read_node(root, m, i);
	}
	numa_room_read(root, m);
	read_distances(root, m);
	m->has_hmat = true;
	for (unsigned i = 0; i < m->nodes; i++)
		if (m->node[i].has_memory)
			m->has_hmat &= read_latencies(root, m, i);
	if (!m->has_hmat) {
		memset(m->latency_ps, 0, sizeof(m->latency_ps));
		memset(m->bandwidth_mib, 0, sizeof(m->bandwidth_mib));
	}
	return 0;
}

/* ---- questions ---- */

unsigned numa_map_place(const struct numa_map *m, unsigned id)
{
	for (unsigned i = 0; i < m->nodes; i++)
		if (m->node[i].id == id)
			return i;
	return NUMA_MAP_NONE;
}

struct ids numa_map_cpus(const struct numa_map *m, unsigned place)
{
	struct ids cpus = {0};

	for (unsigned cpu = 0; cpu < IDS_MAX; cpu++)
		if (m->cpu_node[cpu] == place)
			ids_add(&cpus, cpu);
	return cpus;
}

struct ids numa_map_memory(const struct numa_map *m)
{
	struct ids memory = {0};

	for (unsigned i = 0; i < m->nodes; i++)
		if (m->node[i].has_memory)
			ids_add(&memory, m->node[i].id);
	return memory;
}

static bool is_roomier(const struct numa_map_node *a, const struct numa_map_node *b)
{
	if ((a->cpus > 0) != (b->cpus > 0))
		return a->cpus > 0;
	return a->free_bytes > b->free_bytes;
}

unsigned numa_map_roomiest(const struct numa_map *m, const struct ids *allowed)
{
	const struct numa_map_node *best = NULL;

	for (const struct numa_map_node *n = m->node; n < m->node + m->nodes; n++)
		if (n->has_memory && ids_has(allowed, n->id) && (!best || is_roomier(n, best)))
			best = n;
	return best ? best->id : m->node[0].id;
}

int numa_map_check_nodes(const struct numa_map *m, const char *what, const struct ids *nodes, struct failure *f)
{
	struct ids memory = numa_map_memory(m);

	for (unsigned id = ids_next(nodes, 0); id < IDS_MAX; id = ids_next(nodes, id + 1))
		if (!ids_has(&memory, id))
			return fail(f, EXIT_HOST, "%s: memory node %u %s: nodes with memory are %s", what, id,
				    numa_map_place(m, id) == NUMA_MAP_NONE ? "does not exist on this host"
									   : "of this host has no memory",
				    ids_format(&memory).s);
	return 0;
}

static uint64_t less(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

/* The kernel promises them for the host, and takes them where they are touched: any of them may be the node's. */
uint64_t numa_map_huge_usable(const struct numa_map *m, unsigned place, enum numa_huge_size size)
{
	return less(m->node[place].huge[size].free, m->huge_promised[size]);
}

struct elsewhere_text {
	char s[64];
};

/* Where there is an elsewhere. */
static struct elsewhere_text elsewhere(const struct numa_map *m, uint64_t pages)
{
	struct elsewhere_text text = {""};

	if (m->nodes > 1)
		snprintf(text.s, sizeof(text.s), "; %" PRIu64 " are free elsewhere", pages);
	return text;
}

int numa_map_check_huge(const struct numa_map *m, const char *what, unsigned place, enum numa_huge_size size,
			uint64_t pages, struct failure *f)
{
	const struct numa_map_node *n = &m->node[place];
	const struct numa_huge *here = &n->huge[size];
	const uint64_t usable = numa_map_huge_usable(m, place, size);
	struct elsewhere_text others;
	uint64_t all = 0;

	for (unsigned i = 0; i < m->nodes; i++)
		all += m->node[i].huge[size].free;
	others = elsewhere(m, all - here->free);
	if (pages <= usable)
		return 0;
	if (pages <= here->free)
		return fail(f, EXIT_HOST,
			    "%s: %" PRIu64 " huge pages of %s asked of node %u, which has %" PRIu64
			    " free, but of the %" PRIu64 " free on this host %" PRIu64
			    " are promised to others, who may take them there: add %" PRIu64 " to " NODE
			    "/node%u/hugepages/%s/nr_hugepages",
			    what, pages, size_format(numa_huge_bytes(size)).s, n->id, here->free, all,
			    m->huge_promised[size], pages - usable, n->id, huge_directory[size]);
	return fail(f, EXIT_HOST,
		    "%s: %" PRIu64 " huge pages of %s asked of node %u, which has %" PRIu64 " free of %" PRIu64
		    "%s: write %" PRIu64 " to " NODE "/node%u/hugepages/%s/nr_hugepages%s",
		    what, pages, size_format(numa_huge_bytes(size)).s, n->id, here->free, here->total, others.s,
		    here->total + (pages - here->free), n->id, huge_directory[size],
		    all > here->free ? ", or ask another node" : "");
}

int numa_map_check_huge_nodes(const struct numa_map *m, const char *what, const struct ids *nodes,
			      enum numa_huge_size size, uint64_t pages, struct failure *f)
{
	const uint64_t promised = m->huge_promised[size];
	uint64_t there = 0, all = 0, usable;
	char others[80] = "";

	for (unsigned i = 0; i < m->nodes; i++) {
		all += m->node[i].huge[size].free;
		there += ids_has(nodes, m->node[i].id) ? m->node[i].huge[size].free : 0;
	}
	usable = less(there, promised);
	if (pages <= usable)
		return 0;
	if (promised)
		snprintf(others, sizeof(others), ", of which others may take %" PRIu64 " that are promised", promised);
	return fail(f, EXIT_HOST,
		    "%s: %" PRIu64 " huge pages of %s asked of nodes %s, which have %" PRIu64
		    " free together%s%s: add %" PRIu64 " to " NODE "/node%u/hugepages/%s/nr_hugepages%s",
		    what, pages, size_format(numa_huge_bytes(size)).s, ids_format(nodes).s, there, others,
		    elsewhere(m, all - there).s, pages - usable, ids_next(nodes, 0), huge_directory[size],
		    all > there ? ", or ask other nodes" : "");
}
