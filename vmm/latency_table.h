/* vmm/latency_table.h: the latencies between memory nodes that `slat probe --latency --json`
 * measured, read back, and the rest of them by distance. Theory: top of latency_table.c.
 * Threads: one. Cost: O(nodes^2), and jansson's of a file of 1 MiB at most. */
#ifndef SLAT_VMM_LATENCY_TABLE_H
#define SLAT_VMM_LATENCY_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/failure.h"
#include "vmm/memory.h"
#include "vmm/numa_map.h"

#define LATENCY_TABLE_BYTES_MAX (1u << 20) /* of a file; that of 64 nodes has a fifth */

enum latency_source {
	LATENCY_UNKNOWN,
	LATENCY_HMAT,	  /* the firmware's */
	LATENCY_MEASURED, /* all pairs of a node with CPUs and one with memory */
	LATENCY_SCALED,	  /* some of them; the rest by distance */
};

const char *latency_source_name(enum latency_source source); /* "measured" */

struct latency_table { /* of the host that it was measured on; some 20 KiB */
	unsigned nodes;
	unsigned id[NUMA_NODES_MAX]; /* ascending */
	/* From the CPUs of the first to the memory of the second, by their places in id[]. */
	uint8_t distance[NUMA_NODES_MAX][NUMA_NODES_MAX];
	uint32_t ps[NUMA_NODES_MAX][NUMA_NODES_MAX]; /* 0: not measured; one is at least */
};

/* Pure. With one sentence EXIT_IMAGE iff these bytes are none that probe wrote, or EXIT_HOST iff there is no memory to
 * judge them (either of both where jansson cannot tell); *t is then not to be used. */
int latency_table_parse(struct latency_table *t, const char *text, size_t bytes, struct failure *f);

/* Pure. EXIT_HOST with one sentence iff it was measured on another host: one with a node that this one has not, or with
 * another distance between two. */
int latency_table_check(const struct latency_table *t, const struct numa_map *map, struct failure *f);

/* Pure. Every pair, by its places in a map that latency_table_check() took. Of other places than the map's nothing is
 * written. */
enum latency_source latency_table_fill(const struct latency_table *t, const struct numa_map *map,
				       uint32_t ps[NUMA_NODES_MAX][NUMA_NODES_MAX]);

/* All three, of the file that --latencies names. The sentence, of EXIT_IMAGE or EXIT_HOST, begins with the option and
 * the path; then neither ps nor *source has changed. */
int latency_table_use(struct memory *memory, const char *path, const struct numa_map *map,
		      uint32_t ps[NUMA_NODES_MAX][NUMA_NODES_MAX], enum latency_source *source, struct failure *f);

#endif
