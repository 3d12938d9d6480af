/* What makes a guest's topology one that it can be told, and that it believes.
 *
 * Good is, by topology_check():
 *  I1 there are no more nodes, CPUs and ranges than TOPOLOGY_*, and at least one of each;
 *  I2 each CPU and each range is on a node that there is, and each node has a CPU or
 *     memory: SRAT has no word for one with neither, so that a guest would not find it;
 *  I3 ranges are whole frames, not empty, ascending, disjoint, and end below 2^64;
 *  I4 a node is 10 from itself and more from all others: Linux drops a whole SLIT
 *     that says otherwise. The way back may be longer than the way there;
 *  I5 with HMAT, from each node with CPUs to each with memory that it reaches there is a
 *     latency that an entry holds (1 to TOPOLOGY_LATENCY_MAX), and a bandwidth up to
 *     TOPOLOGY_BANDWIDTH_MAX. Where a node is not reached (distance 255) none is read.
 *
 * No nodes at all is good too: then nothing else is read, and the guest is told nothing.
 *
 * What a host says of its own nodes need not be so: numa=fake makes nodes that are 10 from
 * one another, a device-dax's node may have no latency, and firmware writes what it likes.
 * Nobody asked for that, so topology_fit() makes the nearest of it that is good (I4, I5), or
 * leaves HMAT out, and no guest is refused for it.
 *
 * Not judged here: whether the ranges are all of the guest's RAM (Linux drops a SRAT
 * that leaves out more than a MiB of the memory map), and whether --numa meant this.
 *
 * Cost: O(nodes * (nodes * (CPUs + ranges))) with HMAT, 80,000 steps at most, once
 * in a guest's life. The first thing wrong is said, in a sentence. */
#include "vmm/topology.h"

#include <inttypes.h>

#include "vmm/failure.h"

#define FRAME 4096u

bool topology_has_cpus(const struct topology *t, unsigned node)
{
	for (unsigned id = 0; id < t->cpus; id++)
		if (t->cpu_node[id] == node)
			return true;
	return false;
}

bool topology_has_memory(const struct topology *t, unsigned node)
{
	for (unsigned i = 0; i < t->ranges; i++)
		if (t->range[i].node == node)
			return true;
	return false;
}

/* I1 */
static int check_counts(const struct topology *t, struct failure *f)
{
	if (t->nodes > TOPOLOGY_NODES_MAX)
		return fail(f, EXIT_USAGE, "%u guest nodes: there can be %u", t->nodes, TOPOLOGY_NODES_MAX);
	if (t->cpus == 0 || t->cpus > TOPOLOGY_CPUS_MAX)
		return fail(f, EXIT_USAGE, "guest nodes with %u CPUs: there can be 1 to %u", t->cpus,
			    TOPOLOGY_CPUS_MAX);
	if (t->ranges == 0 || t->ranges > TOPOLOGY_RANGES_MAX)
		return fail(f, EXIT_USAGE, "guest nodes with %u ranges of memory: there can be 1 to %u", t->ranges,
			    TOPOLOGY_RANGES_MAX);
	return 0;
}

/* I2 */
static int check_nodes(const struct topology *t, struct failure *f)
{
	for (unsigned id = 0; id < t->cpus; id++)
		if (t->cpu_node[id] >= t->nodes)
			return fail(f, EXIT_USAGE, "CPU %u is on guest node %u, and there are %u", id, t->cpu_node[id],
				    t->nodes);
	for (unsigned i = 0; i < t->ranges; i++)
		if (t->range[i].node >= t->nodes)
			return fail(f, EXIT_USAGE, "memory at 0x%" PRIx64 " is on guest node %u, and there are %u",
				    t->range[i].gpa, t->range[i].node, t->nodes);
	for (unsigned node = 0; node < t->nodes; node++)
		if (!topology_has_cpus(t, node) && !topology_has_memory(t, node))
			return fail(f, EXIT_USAGE, "guest node %u has neither CPUs nor memory", node);
	return 0;
}

/* I3 */
static int check_ranges(const struct topology *t, struct failure *f)
{
	uint64_t end = 0;

	for (const struct topology_range *r = t->range; r < t->range + t->ranges; r++) {
		if (r->gpa % FRAME || r->bytes % FRAME || r->bytes == 0 || r->bytes > UINT64_MAX - r->gpa)
			return fail(f, EXIT_USAGE,
				    "memory of guest node %u, 0x%" PRIx64 " bytes at 0x%" PRIx64
				    ", is not whole frames",
				    r->node, r->bytes, r->gpa);
		if (r->gpa < end)
			return fail(f, EXIT_USAGE,
				    "memory of guest node %u at 0x%" PRIx64 " begins before 0x%" PRIx64
				    ", where that before it ends",
				    r->node, r->gpa, end);
		end = r->gpa + r->bytes;
	}
	return 0;
}

/* I4 */
static int check_distances(const struct topology *t, struct failure *f)
{
	for (unsigned from = 0; from < t->nodes; from++)
		for (unsigned to = 0; to < t->nodes; to++) {
			unsigned distance = t->distance[from][to];

			if (from == to ? distance != TOPOLOGY_LOCAL : distance <= TOPOLOGY_LOCAL)
				return fail(
					f, EXIT_USAGE,
					"the distance from guest node %u to %u is %u: it is 10 to itself, and 11 to "
					"255 to others",
					from, to, distance);
		}
	return 0;
}

static bool is_read(const struct topology *t, unsigned from, unsigned to)
{
	return t->distance[from][to] != TOPOLOGY_UNREACHABLE && topology_has_cpus(t, from) &&
	       topology_has_memory(t, to);
}

static int check_pair(const struct topology *t, unsigned from, unsigned to, struct failure *f)
{
	uint32_t latency = t->latency_ns[from][to], bandwidth = t->bandwidth_mib[from][to];

	if (latency == 0 || latency > TOPOLOGY_LATENCY_MAX)
		return fail(f, EXIT_USAGE, "the latency from guest node %u to %u is %u ns: it can be 1 to %u", from, to,
			    latency, TOPOLOGY_LATENCY_MAX);
	if (bandwidth > TOPOLOGY_BANDWIDTH_MAX)
		return fail(f, EXIT_USAGE, "the bandwidth from guest node %u to %u is %u MiB/s: it can be up to %u",
			    from, to, bandwidth, TOPOLOGY_BANDWIDTH_MAX);
	return 0;
}

/* I5 */
static int check_pairs(const struct topology *t, struct failure *f)
{
	for (unsigned from = 0; from < t->nodes; from++)
		for (unsigned to = 0; to < t->nodes; to++)
			if (is_read(t, from, to) && check_pair(t, from, to, f))
				return f->code;
	return 0;
}

void topology_fit(struct topology *t)
{
	for (unsigned from = 0; from < t->nodes; from++)
		for (unsigned to = 0; to < t->nodes; to++) {
			uint8_t *distance = &t->distance[from][to];
			uint32_t *latency = &t->latency_ns[from][to], *bandwidth = &t->bandwidth_mib[from][to];

			if (from == to || *distance <= TOPOLOGY_LOCAL)
				*distance = from == to ? TOPOLOGY_LOCAL : TOPOLOGY_LOCAL + 1;
			if (*latency == 0 && is_read(t, from, to))
				t->has_hmat = false;
			if (*latency > TOPOLOGY_LATENCY_MAX)
				*latency = TOPOLOGY_LATENCY_MAX;
			if (*bandwidth > TOPOLOGY_BANDWIDTH_MAX)
				*bandwidth = TOPOLOGY_BANDWIDTH_MAX;
		}
}

int topology_check(const struct topology *t, struct failure *f)
{
	if (t->nodes == 0)
		return 0;
	if (check_counts(t, f) || check_nodes(t, f) || check_ranges(t, f) || check_distances(t, f))
		return f->code;
	return t->has_hmat ? check_pairs(t, f) : 0;
}
