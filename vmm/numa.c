/* vmm/numa.c: memory policy and affinity, by libnuma and the kernel.
 *
 * What it is. A rule on a range of addresses, said before its first touch, and a mask on
 * a thread. Nothing is remembered here: the kernel has the rule, with the mapping (of a
 * memfd: with the file, so all who map it have it). It does not know which nodes are
 * better (numa_map.h), nor whether the kernel did it (where.h).
 *
 * A host with one node is told nothing: every page comes from there, and libnuma, which
 * reads half of /sys when it is loaded, stays out. A rule is checked all the same, so that
 * node 1 is refused there as it is everywhere.
 *
 * Kernels. MPOL_WEIGHTED_INTERLEAVE is of Linux 6.9; one that lacks it says EINVAL, as for a
 * node that is not there. So if it fails, equal shares are asked for, with a note, and only
 * what fails then, too, is refused. Containers may forbid mbind by a filter of system calls
 * (EPERM): that gets words of its own.
 *
 * Binding. NUMA_BIND is strict: memory that runs out there ends the process beside free
 * memory elsewhere, unless it was prefaulted. numa_place(), for guests that nobody asked to
 * bind, prefers.
 *
 * Rejected. MPOL_PREFERRED_MANY: over several nodes memory is interleaved, so that what it has
 * of each is known; preferred, it would be of the one beside whoever touches it first.
 * numa_tonode_memory() and numa_interleave_memory(): they print and go on where the kernel
 * refuses, and do not know weights; libnuma's mbind() answers. */
#include "vmm/numa.h"

#include <dlfcn.h>
#include <errno.h>
#include <numa.h>
#include <numaif.h>
#include <sched.h>
#include <stddef.h>
#include <string.h>

#include "mm/port.h"
#include "vmm/hostfs.h"
#include "vmm/limits.h"

#define NODES_WITH_MEMORY "/sys/devices/system/node/has_memory"
#define NODES_WITH_CPUS	  "/sys/devices/system/node/has_cpu"

/* Headers may be older than the kernel. */
#ifndef MPOL_WEIGHTED_INTERLEAVE
#define MPOL_WEIGHTED_INTERLEAVE 6
#endif

#define MASK_BITS 1024u /* of nodes: the most that Linux can be built for */

int numa_open(struct numa *n, struct failure *f)
{
	int (*available)(void);
	struct ids memory = {0};

	*n = (struct numa){0};
	hostfs_ids("", &memory, NODES_WITH_MEMORY);
	for (unsigned id = ids_next(&memory, 0); id < IDS_MAX && n->nodes < NUMA_NODES_MAX;
	     id = ids_next(&memory, id + 1))
		n->node[n->nodes++] = id;
	if (n->nodes == 0)
		n->nodes = 1; /* a kernel without NUMA shows no nodes: it is 0 */
	if (n->nodes == 1)
		return 0;
	n->library = dlopen("libnuma.so.1", RTLD_NOW);
	available = n->library ? (int (*)(void))dlsym(n->library, "numa_available") : NULL;
	if (!available || available() < 0) {
		numa_close_library(n);
		return fail(f, EXIT_HOST, "this host has %u memory nodes and libnuma cannot be used: install libnuma1",
			    n->nodes);
	}
	return 0;
}

void numa_close_library(struct numa *n)
{
	if (n->library)
		dlclose(n->library);
	n->library = NULL;
}

/* What the kernel does not tell leaves nothing out. */
static struct ids allowed_nodes(const struct numa *n)
{
	typeof(get_mempolicy) *get = n->library ? dlsym(n->library, "get_mempolicy") : NULL;
	unsigned long mask[MASK_BITS / 64];
	struct ids nodes;

	memset(&nodes, 0xff, sizeof(nodes));
	if (get && get(NULL, mask, MASK_BITS, NULL, MPOL_F_MEMS_ALLOWED) == 0)
		memcpy(nodes.word, mask, sizeof(mask));
	return nodes;
}

unsigned numa_roomiest(const struct numa *n)
{
	typeof(numa_node_size64) *size = n->library ? dlsym(n->library, "numa_node_size64") : NULL;
	const struct ids allowed = allowed_nodes(n);
	struct ids with_cpus = {0};
	unsigned best = n->node[0];
	int best_rank = -1;
	long long most = -1;

	if (size)
		hostfs_ids("", &with_cpus, NODES_WITH_CPUS);
	for (unsigned i = 0; size && i < n->nodes; i++) {
		const int rank = 2 * ids_has(&allowed, n->node[i]) + ids_has(&with_cpus, n->node[i]);
		long long unused = 0;

		size((int)n->node[i], &unused);
		if (rank > best_rank || (rank == best_rank && unused > most)) {
			best_rank = rank;
			most = unused;
			best = n->node[i];
		}
	}
	return best;
}

static const char *const policy_names[] = {
	[NUMA_BIND] = "bind",
	[NUMA_PREFERRED] = "preferred",
	[NUMA_INTERLEAVE] = "interleave",
	[NUMA_WEIGHTED] = "weighted interleave",
};

const char *numa_policy_name(enum numa_policy p)
{
	return policy_names[p];
}

static const int modes[] = {
	/* of the kernel */
	[NUMA_BIND] = MPOL_BIND,
	[NUMA_PREFERRED] = MPOL_PREFERRED,
	[NUMA_INTERLEAVE] = MPOL_INTERLEAVE,
	[NUMA_WEIGHTED] = MPOL_WEIGHTED_INTERLEAVE,
};

/* 0, or an errno. */
static int tell_kernel(const struct numa *n, int mode, const struct ids *nodes, void *host, uint64_t bytes, bool move)
{
	typeof(mbind) *bind = n->library ? dlsym(n->library, "mbind") : NULL;
	unsigned long mask[MASK_BITS / 64];

	if (!bind)
		return ENOSYS;
	memcpy(mask, nodes->word, sizeof(mask));
	return bind(host, bytes, mode, mask, MASK_BITS + 1, move ? MPOL_MF_MOVE : 0) ? errno : 0;
}

static const char *why(int error)
{
	switch (error) {
	case EPERM:
	case EACCES:
		return "it is forbidden here (in a container, by its filter of system calls: give it CAP_SYS_NICE)";
	case EINVAL:
		return "it takes no such policy, or a node is not online, or outside the cpuset";
	default:
		return strerror(error);
	}
}

static bool has_nodes(const struct numa *n, const struct ids *nodes)
{
	struct ids memory = {0};

	for (unsigned i = 0; i < n->nodes; i++)
		ids_add(&memory, n->node[i]);
	return ids_next(nodes, 0) < IDS_MAX && ids_within(nodes, &memory);
}

int numa_rule_set(const struct numa *n, const struct numa_rule *rule, void *host, uint64_t bytes, bool move,
		  const char **note, struct failure *f)
{
	int error;

	MM_ASSERT(rule->policy != NUMA_PREFERRED || ids_count(&rule->nodes) <= 1, ids_count(&rule->nodes), bytes);
	*note = NULL;
	if (!has_nodes(n, &rule->nodes))
		return fail(f, EXIT_HOST, "memory cannot come from nodes %s: not all of them have memory on this host",
			    ids_format(&rule->nodes).s);
	if (n->nodes == 1)
		return 0;
	error = tell_kernel(n, modes[rule->policy], &rule->nodes, host, bytes, move);
	if (error && rule->policy == NUMA_WEIGHTED) {
		error = tell_kernel(n, MPOL_INTERLEAVE, &rule->nodes, host, bytes, move);
		*note = error ? NULL
			      : "this kernel knows no weights of nodes (Linux 6.9 does): pages are spread equally";
	}
	if (error)
		return fail(f, EXIT_HOST, "the kernel does not take the policy %s of nodes %s for memory: %s",
			    numa_policy_name(rule->policy), ids_format(&rule->nodes).s, why(error));
	return 0;
}

void numa_place(const struct numa *n, void *host, uint64_t bytes, unsigned node)
{
	struct numa_rule rule = {.policy = NUMA_PREFERRED};
	struct failure ignored = {0}; /* memory from elsewhere is better than none */
	const char *note;

	ids_add(&rule.nodes, node);
	numa_rule_set(n, &rule, host, bytes, false, &note, &ignored);
}

int numa_keep_thread(const struct ids *cpus, const struct limits *l, struct failure *f)
{
	struct ids kept = *cpus;

	ids_keep(&kept, &l->cpus);
	if (ids_next(&kept, 0) == IDS_MAX)
		return fail(f, EXIT_HOST, "no thread can be kept to CPUs %s, for slat may run on %s alone",
			    ids_format(cpus).s, ids_format(&l->cpus).s);
	/* The kernel's masks are of words, lowest first, as these sets are. */
	if (sched_setaffinity(0, sizeof(kept), (const cpu_set_t *)(const void *)&kept) < 0)
		return fail(f, EXIT_HOST, "a thread cannot be kept to CPUs %s: %s", ids_format(&kept).s,
			    errno == EINVAL ? "none of them is online, or the cpuset has changed" : strerror(errno));
	return 0;
}
