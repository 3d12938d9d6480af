/* vmm/latency.h: how long a CPU of one memory node waits for the memory of another, measured.
 * Threads: one; the caller's own runs on that node's CPUs meanwhile. Theory: top of latency.c. */
#ifndef SLAT_VMM_LATENCY_H
#define SLAT_VMM_LATENCY_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/failure.h"
#include "vmm/limits.h"
#include "vmm/numa_map.h"

struct latency {
	/* [place of the CPUs in the map][place of the memory]; 0: not measured, the node has no CPUs, or none that slat
	 * may use, or no memory to spare. */
	uint32_t ps[NUMA_NODES_MAX][NUMA_NODES_MAX];
	uint64_t bytes; /* that were walked through, of the last node */
	bool huge;	/* all of it was in huge pages; else the times have walks of page tables in them */
};

/* Some 300 ms a pair of nodes, and as much again a node. Takes up to 2 GiB of each in turn and gives it back. EXIT_HOST
 * with one sentence iff the host refuses memory that it has. */
int latency_measure(const struct numa *numa, const struct numa_map *map, const struct limits *limits,
		    struct latency *out, struct failure *f);

/* A chain through all lines (64 bytes) of [host, host + bytes), bytes a power of two of 4096 or more: each line begins
 * with the address of the next, and after bytes / 64 steps one is back. */
void latency_chain(uint8_t *host, uint64_t bytes);

#endif
