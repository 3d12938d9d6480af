/* vmm/numa.h: from which of the host's memory nodes memory will come, and on which CPUs
 * a thread runs. libnuma is loaded only where there is more than one node, since every
 * library costs start-up time. What the nodes have: numa_map.h. Where pages really are: where.h.
 * Threads: one; numa_keep_thread() any. */
#ifndef SLAT_VMM_NUMA_H
#define SLAT_VMM_NUMA_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/failure.h"
#include "vmm/ids.h"

#define NUMA_NODES_MAX 64u

struct limits;

struct numa {
	void *library; /* NULL: one node, nothing to place */
	unsigned nodes;
	unsigned node[NUMA_NODES_MAX]; /* the ids that have memory, ascending */
};

/* EXIT_HOST iff there are several nodes and libnuma cannot be loaded. */
int numa_open(struct numa *n, struct failure *f);
void numa_close_library(struct numa *n);

/* The node with the most free memory, of those in the cpuset, with CPUs before without: as numa_map_roomiest(), for who
 * has no map. */
unsigned numa_roomiest(const struct numa *n);

/* Memory of [host, host + bytes), not touched yet, will come from this node as long as it has some. */
void numa_place(const struct numa *n, void *host, uint64_t bytes, unsigned node);

enum numa_policy {
	NUMA_BIND,	 /* these nodes alone: where they have no more, a touch ends the process */
	NUMA_PREFERRED,	 /* one node, as long as it has some, then others */
	NUMA_INTERLEAVE, /* page by page in turn */
	NUMA_WEIGHTED,	 /* in turn, as often as a node's weight says (/sys/kernel/mm/mempolicy) */
};

const char *numa_policy_name(enum numa_policy p);

struct numa_rule {
	enum numa_policy policy;
	struct ids
		nodes; /* with memory, and allowed: limits_check_nodes(), for the kernel passes over one that is not */
};

/* Memory of [host, host + bytes), whole pages of one mapping, will come from where the rule says when it is touched; of
 * what was touched, with `move`, what lies elsewhere and is not shared is migrated. *note: NULL, or a sentence that
 * says what this kernel does instead. EXIT_HOST with one sentence iff a node has no memory or the kernel refuses; the
 * range is then of no use with a rule. */
int numa_rule_set(const struct numa *n, const struct numa_rule *rule, void *host, uint64_t bytes, bool move,
		  const char **note, struct failure *f);

/* The calling thread, and those that it makes from now on, run on these CPUs alone, as far as the limits allow them.
 * EXIT_HOST with one sentence, and nothing changed, iff they allow none, or none is online. */
int numa_keep_thread(const struct ids *cpus, const struct limits *l, struct failure *f);

#endif
