/* SRAT, SLIT and HMAT: the tables by which a guest learns of its memory nodes,
 * made of a struct topology. A node is called a *proximity domain* there, its
 * CPUs an *initiator*, its memory a *target*.
 *
 *   SRAT (ACPI 6.4, 5.2.16)  the domain of each CPU, by APIC id, and of each range of RAM
 *   SLIT (5.2.17)            the distance from each domain to each: topology.distance as it is
 *   HMAT (5.2.27)            each target's own initiator; read latency and read
 *                            bandwidth from each initiator to each target
 *
 * Invariants, checked by the unit test on topologies of all sizes:
 *  I1 each CPU and each range has one SRAT entry, enabled, of its node, and no other is there;
 *  I2 SLIT is the matrix of distances;
 *  I3 HMAT's initiators are the nodes with CPUs, its targets those with memory, both
 *     ascending. Latencies are exact, bandwidths too while none is above 65534 MiB/s;
 *     else each is off by less than one base unit, the 65534th part of the largest.
 *
 * Linux numbers its nodes as it meets their domains, first in SRAT's CPUs, then in
 * its memory, and not by the domain's own number. So entries come by node, not by
 * APIC id or address: then a guest's node N is ours, but where a node without CPUs
 * stands before one that has some (those with CPUs come first then).
 *
 * HMAT's entries are 16 bits times one base unit, in picoseconds for latencies and
 * MB/s for bandwidths, as drivers/acpi/numa/hmat.c reads revision 2. Two values mean
 * more: 0 is not known, 0xffff not reachable (distance 255). Linux takes an entry
 * times its base as 32 bits, or as unknown: the bounds of topology.h keep below. A
 * structure in which nothing is known is left out.
 *
 * The types are "read", not "access" (reads and writes alike): what slat knows is
 * how long a load takes. Linux shows a write latency of 0 then: not known.
 *
 * Cost: O(nodes * (CPUs + ranges)), 9 KiB of tables at most.
 *
 * Rejected: x2APIC entries (ids from 255 on; a topology has none); the hot-plug
 * flag (nothing is plugged); a base unit found as the values' greatest common
 * divisor (exact more often, but two measured figures are seldom multiples). */
#include "vmm/acpi_impl.h"

#define SRAT_ENABLED 1u

static void put_cpu(struct acpi_builder *b, unsigned id, unsigned node)
{
	put(b, "\x00\x10", 2);
	put_number(b, node, 1); /* its low 8 bits; no domain needs more */
	put_number(b, id, 1);
	put_number(b, SRAT_ENABLED, 4);
	put_zeros(b, 8); /* SAPIC id, the domain's upper bits, clock domain */
}

static void put_range(struct acpi_builder *b, const struct topology_range *r)
{
	put(b, "\x01\x28", 2);
	put_number(b, r->node, 4);
	put_zeros(b, 2);
	put_number(b, r->gpa, 8);
	put_number(b, r->bytes, 8);
	put_zeros(b, 4);
	put_number(b, SRAT_ENABLED, 4);
	put_zeros(b, 8);
}

uint64_t acpi_numa_srat(struct acpi_builder *b, const struct topology *t)
{
	size_t table = acpi_table_open(b, "SRAT", 3);

	put_number(b, 1, 4); /* reserved, and 1 */
	put_zeros(b, 8);
	for (unsigned node = 0; node < t->nodes; node++)
		for (unsigned id = 0; id < t->cpus; id++)
			if (t->cpu_node[id] == node)
				put_cpu(b, id, node);
	for (unsigned node = 0; node < t->nodes; node++)
		for (unsigned i = 0; i < t->ranges; i++)
			if (t->range[i].node == node)
				put_range(b, &t->range[i]);
	return acpi_table_close(b, table);
}

uint64_t acpi_numa_slit(struct acpi_builder *b, const struct topology *t)
{
	size_t table = acpi_table_open(b, "SLIT", 1);

	put_number(b, t->nodes, 8);
	for (unsigned from = 0; from < t->nodes; from++)
		put(b, t->distance[from], t->nodes);
	return acpi_table_close(b, table);
}

#define HMAT_DOMAIN	    0u
#define HMAT_DOMAIN_BYTES   40u
#define HMAT_ATTACHED	    1u /* the domain's own initiator is named */
#define HMAT_LOCALITY	    1u
#define HMAT_LOCALITY_BYTES 32u /* and the lists and entries */
#define HMAT_READ_LATENCY   1u
#define HMAT_READ_BANDWIDTH 4u
#define HMAT_UNREACHABLE    0xffffu
#define HMAT_ENTRY_MAX	    0xfffeu

#define PICOSECONDS	    1000u

struct domains { /* which nodes have CPUs, which memory */
	uint8_t initiator[TOPOLOGY_NODES_MAX], target[TOPOLOGY_NODES_MAX];
	unsigned initiators, targets;
};

static struct domains domains_of(const struct topology *t)
{
	struct domains d = {.initiators = 0};

	for (unsigned node = 0; node < t->nodes; node++) {
		if (topology_has_cpus(t, node))
			d.initiator[d.initiators++] = (uint8_t)node;
		if (topology_has_memory(t, node))
			d.target[d.targets++] = (uint8_t)node;
	}
	return d;
}

static void put_structure(struct acpi_builder *b, unsigned type, size_t bytes)
{
	put_number(b, type, 2);
	put_zeros(b, 2);
	put_number(b, bytes, 4);
}

static void put_domain(struct acpi_builder *b, const struct topology *t, unsigned node)
{
	bool attached = topology_has_cpus(t, node);

	put_structure(b, HMAT_DOMAIN, HMAT_DOMAIN_BYTES);
	put_number(b, attached ? HMAT_ATTACHED : 0, 2);
	put_zeros(b, 2);
	put_number(b, attached ? node : 0, 4);
	put_number(b, node, 4);
	put_zeros(b, 20);
}

struct locality {
	unsigned type;
	uint64_t scale; /* how many of HMAT's units one of `value` is */
	const uint32_t (*value)[TOPOLOGY_NODES_MAX];
};

static bool reached(const struct topology *t, unsigned from, unsigned to)
{
	return t->distance[from][to] != TOPOLOGY_UNREACHABLE;
}

/* The least by which the largest value fits into an entry; 0 iff none is known. */
static uint64_t locality_unit(const struct topology *t, const struct domains *d, const struct locality *l)
{
	uint64_t largest = 0;

	for (unsigned i = 0; i < d->initiators; i++)
		for (unsigned j = 0; j < d->targets; j++) {
			unsigned from = d->initiator[i], to = d->target[j];

			if (reached(t, from, to) && l->value[from][to] > largest)
				largest = l->value[from][to];
		}
	return (largest + HMAT_ENTRY_MAX - 1) / HMAT_ENTRY_MAX;
}

static uint64_t locality_entry(uint64_t value, uint64_t unit)
{
	uint64_t entry = (value + unit / 2) / unit;

	return value && !entry ? 1 : entry;
}

static void put_entries(struct acpi_builder *b, const struct topology *t, const struct domains *d,
			const struct locality *l, uint64_t unit)
{
	for (unsigned i = 0; i < d->initiators; i++)
		for (unsigned j = 0; j < d->targets; j++) {
			unsigned from = d->initiator[i], to = d->target[j];

			put_number(b,
				   reached(t, from, to) ? locality_entry(l->value[from][to], unit) : HMAT_UNREACHABLE,
				   2);
		}
}

static void put_locality(struct acpi_builder *b, const struct topology *t, const struct domains *d,
			 const struct locality *l)
{
	uint64_t unit = locality_unit(t, d, l);

	if (!unit)
		return;
	put_structure(b, HMAT_LOCALITY,
		      HMAT_LOCALITY_BYTES + (d->initiators + d->targets) * 4 + d->initiators * d->targets * 2);
	put_zeros(b, 1); /* of memory, not of a cache */
	put_number(b, l->type, 1);
	put_zeros(b, 2); /* no least transfer */
	put_number(b, d->initiators, 4);
	put_number(b, d->targets, 4);
	put_zeros(b, 4);
	put_number(b, unit * l->scale, 8);
	for (unsigned i = 0; i < d->initiators; i++)
		put_number(b, d->initiator[i], 4);
	for (unsigned j = 0; j < d->targets; j++)
		put_number(b, d->target[j], 4);
	put_entries(b, t, d, l, unit);
}

uint64_t acpi_numa_hmat(struct acpi_builder *b, const struct topology *t)
{
	const struct locality latency = {HMAT_READ_LATENCY, PICOSECONDS, t->latency_ns};
	const struct locality bandwidth = {HMAT_READ_BANDWIDTH, 1, t->bandwidth_mib};
	const struct domains d = domains_of(t);
	size_t table = acpi_table_open(b, "HMAT", 2);

	put_zeros(b, 4);
	for (unsigned j = 0; j < d.targets; j++)
		put_domain(b, t, d.target[j]);
	put_locality(b, t, &d, &latency);
	put_locality(b, t, &d, &bandwidth);
	return acpi_table_close(b, table);
}
