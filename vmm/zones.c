/* vmm/zones.c
 *
 * What it is. From what was asked for (--memory-zone, --numa, --placement, --latency)
 * and what the host has (numa_map, limits) to pools: a plan first, judged whole, then the
 * pools in its order. Whoever asks for none of these gets one zone by the kernel's
 * choice, and the host's nodes are not even read.
 *
 * Words. A zone is a part of the RAM with a backing and a rule of its own. A share is
 * what a placement puts on one node: a zone that nobody named. A place is a node's
 * index in the map.
 *
 * Z1  zones cover the RAM in the order of the guest's addresses, without a gap.
 * Z2  a zone with several nodes is interleaved over them, by weights if it says so; with
 *     one it is bound to it with --strict, else it prefers it: bound, a zone larger than its
 *     node is killed beside free memory of the next. No rule of the kernel's interleaves
 *     and binds: so with --strict such a zone is prefaulted, verified, and bound to the set then.
 * Z3  the guest sees the nodes of --numa; without that, those of the host that its RAM
 *     lies on, if they are several. An interleaved zone counts for its first: its
 *     pages alternate, and SRAT tells of ranges.
 * Z4  a vCPU is kept to a node's CPUs iff a placement chose it, or --numa gives it memory
 *     of one node alone, or, without --numa, zones lie on several nodes: then vCPUs are in
 *     equal shares on those of them that have CPUs, else a guest that is told of nodes
 *     would be told that it runs on one where it does not.
 * Z5  HMAT is the host's, of the nodes where the guest's are: with --numa, only if each has
 *     its memory and its vCPUs on one.
 * Z6  no leaf of a zone is larger than a page of its backing, whatever others have: its
 *     numbers see to that (host_mirror()), and the table takes leaves of the largest of all.
 * Z7  a pool is as large as its zone, but with --pool, when there is one zone alone.
 * Z8  hugetlb that was asked from nodes is prefaulted: the kernel's reservation is the host's, and a bound page that
 *     its node has not got any more is an EFAULT of KVM_RUN. Who comes later finds it taken, and counts less than is
 *     free by what is promised to anybody: that may be of any node.
 *
 * The latencies that a placement is chosen by are those of --latencies, else the firmware's.
 * What the guest is told of them (HMAT) is the firmware's always: a table has no bandwidths.
 *
 * Cost. Some hundred small files of sysfs, once, and only if asked for.
 *
 * Rejected. One mapping for all, with rules by range: backings differ, and frames of
 * one node would not be one pool's. */
#include "vmm/zones.h"

#include <stdio.h>
#include <string.h>

#include "vmm/size.h"
#include "vmm/zones_impl.h"

bool zones_asked(const struct run_options *o)
{
	return o->numa.zones || o->numa.nodes || o->numa.policy_given || o->numa.latency_ps || o->numa.strict ||
	       options_any_number(&o->numa.host);
}

/* The CPUs of a place that this process may use. */
struct ids zones_cpus_of(const struct zones *z, unsigned place)
{
	struct ids cpus = numa_map_cpus(&z->map, place);

	ids_keep(&cpus, &z->limits.cpus);
	return cpus;
}

static int open_all(struct zones *z, uint32_t blocks_max, struct block_list *out, struct failure *f)
{
	struct make *m = memory_alloc_zeroed(z->memory, 1, sizeof(*m));

	if (!m)
		return fail(f, EXIT_HOST, "no memory for the plan of zones");
	*m = (struct make){.z = z, .o = z->options};
	if (numa_map_read("", &z->map, f) == 0 && limits_read("", &z->limits, f) == 0 && zones_plan(m, f) == 0 &&
	    zones_check_plan(m, f) == 0 && zones_open_pools(m, blocks_max, out, f) == 0)
		(void)zones_show(z, f);
	memory_free(z->memory, m);
	return f->code;
}

struct zones *zones_open(struct memory *memory, const struct run_options *o, struct host *host, uint32_t blocks_max,
			 struct block_list *out, struct failure *f)
{
	struct zones *z = memory_alloc_zeroed(memory, 1, sizeof(*z));

	if (!z) {
		fail(f, EXIT_HOST, "no memory for the zones");
		return NULL;
	}
	z->memory = memory;
	z->options = o;
	z->host = host;
	out->memory = memory;
	memset(z->cpu_place, ZONES_ANY, sizeof(z->cpu_place));
	if (open_all(z, blocks_max, out, f) == 0)
		return z;
	zones_close(z);
	return NULL;
}

void zones_close(struct zones *z)
{
	if (z)
		memory_free(z->memory, z);
}

int zones_keep_cpu(const struct zones *z, unsigned cpu, struct failure *f)
{
	struct ids cpus;

	if (z->cpu_place[cpu] == ZONES_ANY)
		return 0;
	cpus = numa_map_cpus(&z->map, z->cpu_place[cpu]);
	return numa_keep_thread(&cpus, &z->limits, f);
}

int zones_keep_others(const struct zones *z, struct failure *f)
{
	struct ids all = {0};

	if (memchr(z->cpu_place, ZONES_ANY, z->options->cpus))
		return 0;
	for (unsigned at = 0; at < z->map.nodes; at++) {
		const struct ids cpus = numa_map_cpus(&z->map, at);

		if (memchr(z->cpu_place, (int)at, z->options->cpus))
			for (unsigned cpu = ids_next(&cpus, 0); cpu < IDS_MAX; cpu = ids_next(&cpus, cpu + 1))
				ids_add(&all, cpu);
	}
	return numa_keep_thread(&all, &z->limits, f);
}
