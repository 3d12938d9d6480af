/* vmm/pack/fleet_file.h: a fleet of several kinds of hosts, as a JSON file says it:
 *   [{"hosts": 20, "nodes": 2, "cpus": 64, "memory": "384G", "latency": [[80, 160], [160, 80]]}, ...]
 * The keys are those of --host, with a word or a whole number each; hosts, how many there are (1);
 * latency, nanoseconds from the CPUs of a node (row) to the memory of another; distance, as SLIT
 * has it, 10 to 255. Threads: one. */
#ifndef SLAT_VMM_PACK_FLEET_FILE_H
#define SLAT_VMM_PACK_FLEET_FILE_H

#include "mm/placement.h"
#include "vmm/failure.h"

#define FLEET_FILE_LIST 512u

struct fleet_matrix {
	uint32_t nodes; /* 0: not given */
	uint32_t at[PLACEMENT_NODES_MAX][PLACEMENT_NODES_MAX];
};

struct fleet_kind {
	uint32_t hosts;
	char list[FLEET_FILE_LIST]; /* the rest, as --host takes it */
	struct fleet_matrix latency_ns, distance;
};

/* Gives each kind to take(), in the order of the file, until one is refused. EXIT_USAGE with one sentence: it is no
 * such file, or take() refuses; EXIT_HOST: it cannot be read, or there is no memory. */
int fleet_file_read(const char *path, int (*take)(void *self, const struct fleet_kind *k, struct failure *f),
		    void *self, struct failure *f);

#endif
