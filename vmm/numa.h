/* vmm/numa.h: the host's memory nodes. libnuma is loaded only where there is
 * more than one node, since every library costs start-up time.
 * Threads: one. */
#ifndef SLAT_VMM_NUMA_H
#define SLAT_VMM_NUMA_H

#include <stdint.h>

#include "vmm/failure.h"

#define NUMA_NODES_MAX 64u

struct numa {
	void *library; /* NULL: one node, nothing to place */
	unsigned nodes;
	unsigned node[NUMA_NODES_MAX]; /* the ids that have memory, ascending */
};

/* EXIT_HOST iff there are several nodes and libnuma cannot be loaded. */
int numa_open(struct numa *n, struct failure *f);
void numa_close_library(struct numa *n);

/* The node with the most free memory. */
unsigned numa_roomiest(const struct numa *n);

/* Memory of [host, host + bytes), not touched yet, will come from this node as long as it has some. */
void numa_place(const struct numa *n, void *host, uint64_t bytes, unsigned node);

#endif
