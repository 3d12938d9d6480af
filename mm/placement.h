/* mm/placement.h: on which memory nodes a guest's RAM and CPUs go.
 *
 * Numbers only: what the nodes have, what the guest wants, a policy; out comes how
 * much of each node. Nothing is taken: the caller does that, and asks again if it
 * was too late. slat run, and the packing experiments, ask the same code.
 *
 * Bytes are multiples of the guest's granule. Latencies are in picoseconds, as HMAT
 * has them (ACPI 6.4, 5.2.27), from a CPU of one node to the memory of another; 0 is
 * not known. Nodes are named by their place in the array, not by an id.
 *
 * Threads: pure; a struct of the caller's each.
 * Cost:    O(nodes^2); pack over several nodes and the contract O(nodes^3), of 64 nodes
 *          some 50 us; nothing is allocated. */
#ifndef SLAT_MM_PLACEMENT_H
#define SLAT_MM_PLACEMENT_H

#include "mm/types.h"

#define PLACEMENT_NODES_MAX 64u

enum placement_policy {
	PLACEMENT_LOCAL,      /* all of it, memory and CPUs, on one node: the emptiest that holds it */
	PLACEMENT_PACK,	      /* the same on the fullest that holds it; else the fewest nodes, nearest first */
	PLACEMENT_SPREAD,     /* equal shares of all nodes that can give them, CPUs likewise */
	PLACEMENT_INTERLEAVE, /* equal shares of memory; CPUs as local */
	PLACEMENT_CONTRACT,   /* mean latency at most what was asked, with the least local memory that keeps it */
};

struct placement_node {
	uint64_t free_bytes;   /* of memory, in holes of the granule or more */
	uint64_t largest_hole; /* bytes; with `contiguous` a share is one hole */
	uint32_t cpus_free;    /* fewer than a guest has: it shares them. 0 with cpus_all 0: a node of memory alone */
	uint32_t cpus_all;
	bool allowed; /* cpuset, or --host_numa_node */
};

struct placement_host {
	uint32_t nodes;
	struct placement_node node[PLACEMENT_NODES_MAX];
	/* [from CPU node][to memory node]; 0: not known. distance: SLIT's, 10 is local. */
	uint32_t latency_ps[PLACEMENT_NODES_MAX][PLACEMENT_NODES_MAX];
	uint8_t distance[PLACEMENT_NODES_MAX][PLACEMENT_NODES_MAX];
};

struct placement_guest {
	uint64_t bytes;	  /* more than 0, a multiple of granule */
	uint64_t granule; /* a power of two: what a share is a multiple of */
	uint32_t cpus;	  /* more than 0 */
	bool contiguous;  /* each node gives one extent */
	enum placement_policy policy;
	uint32_t latency_ps; /* PLACEMENT_CONTRACT: the mean that may be */
};

struct placement_share {
	uint64_t bytes;
	uint32_t cpus;
};

struct placement {
	struct placement_share share[PLACEMENT_NODES_MAX]; /* of host.node[i]; those past the last node are nobody's */
	uint32_t nodes;					   /* with bytes in them */
	uint64_t local_bytes;				   /* on nodes where the guest has CPUs */
	/* Over the guest's CPUs and bytes, each with the same weight; 0: not known. */
	uint32_t latency_ps;
};

enum placement_result {
	PLACEMENT_OK,
	/* The allowed nodes have not got so much; out: what they have, and no CPUs. */
	PLACEMENT_NO_MEMORY,
	/* They have, but not for this policy: no node, or no hole, is large enough; out:
	 * the most that this policy could give (local: the largest), and no CPUs. */
	PLACEMENT_NO_HOLE,
	PLACEMENT_NO_CPUS,  /* no allowed node has CPUs; out: nothing */
	PLACEMENT_TOO_SLOW, /* PLACEMENT_CONTRACT: no choice keeps it; out: the fastest there is */
	PLACEMENT_UNKNOWN,  /* PLACEMENT_CONTRACT: this host's latencies are not known; out: nothing */
};

/* Host and guest must be what the comments above demand: else it is our bug.
 * Deterministic; ties go to the lower place. */
enum placement_result placement_choose(const struct placement_host *host, const struct placement_guest *guest,
				       struct placement *out);

/* Of any placement, as in struct placement; rounded up. */
uint32_t placement_latency(const struct placement_host *host, const struct placement *p);

/* All that a placement of this guest on this host must be: sums, holes, granule, allowed nodes. */
bool placement_check(const struct placement_host *host, const struct placement_guest *guest, const struct placement *p);

#endif
