/* vmm/topology.h: the memory nodes that a guest sees: which CPUs and which of its
 * addresses belong to which, and what they cost one another. Made from --numa, or
 * from where the guest lies; SRAT, SLIT and HMAT are built from it (acpi_numa.c).
 * Threads: one. */
#ifndef SLAT_VMM_TOPOLOGY_H
#define SLAT_VMM_TOPOLOGY_H

#include <stdbool.h>
#include <stdint.h>

struct failure;

#define TOPOLOGY_NODES_MAX     16u /* proximity domains 0 to nodes - 1 */
#define TOPOLOGY_CPUS_MAX      255u
#define TOPOLOGY_RANGES_MAX    64u

#define TOPOLOGY_LOCAL	       10u /* distances */
#define TOPOLOGY_UNREACHABLE   255u
#define TOPOLOGY_LATENCY_MAX   65534u	  /* ns: what HMAT tells exactly */
#define TOPOLOGY_BANDWIDTH_MAX (1u << 30) /* MiB/s */

struct topology_range { /* of RAM, whole frames; ascending, disjoint */
	uint64_t gpa, bytes;
	uint8_t node;
};

struct topology {
	uint32_t nodes; /* 0: the guest is told nothing of nodes */
	uint32_t cpus;
	uint8_t cpu_node[TOPOLOGY_CPUS_MAX]; /* by APIC id */
	uint32_t ranges;
	struct topology_range range[TOPOLOGY_RANGES_MAX];
	uint8_t distance[TOPOLOGY_NODES_MAX][TOPOLOGY_NODES_MAX]; /* as SLIT: 10 is local, 11 to 254, 255 unreachable */
	/* From the CPUs of one to the memory of another, where there are both. Nanoseconds, not 0 where the one
	 * reaches the other; MiB/s, 0 where it is not known. */
	bool has_hmat;
	uint32_t latency_ns[TOPOLOGY_NODES_MAX][TOPOLOGY_NODES_MAX];
	uint32_t bandwidth_mib[TOPOLOGY_NODES_MAX][TOPOLOGY_NODES_MAX];
};

bool topology_has_cpus(const struct topology *t, unsigned node);
bool topology_has_memory(const struct topology *t, unsigned node);

/* Figures that a host tells of its nodes become such as tables can tell: nodes 11 apart at least, latencies and
 * bandwidths at most as large as can be, no HMAT where a latency that it needs is not known. */
void topology_fit(struct topology *t);

/* 0 iff the tables can tell it and a guest's kernel will believe it (theory: top of
 * topology.c), else EXIT_USAGE and what is wrong. Pure. */
int topology_check(const struct topology *t, struct failure *f);

#endif
