/* vmm/numa_map.h: the host's memory nodes as they are now: CPUs, memory, huge pages,
 * distances, latencies. A snapshot, of some 45 KiB: not for a thread's stack.
 * Nodes are named by their place in node[], their numbers are ids (sparse: up to 1023).
 * Theory: top of numa_map.c. Threads: one. Cost: some 10 small files a node. */
#ifndef SLAT_VMM_NUMA_MAP_H
#define SLAT_VMM_NUMA_MAP_H

#include "mm/pagetable.h"
#include "vmm/failure.h"
#include "vmm/ids.h"
#include "vmm/numa.h"

#define NUMA_MAP_NONE 0xffu /* no place */

enum numa_huge_size { NUMA_HUGE_2M, NUMA_HUGE_1G, NUMA_HUGE_SIZES };

/* Of a page of 4K: NUMA_HUGE_2M. */
static inline enum numa_huge_size numa_huge_of(enum pagetable_size page)
{
	return page == PAGETABLE_1G ? NUMA_HUGE_1G : NUMA_HUGE_2M;
}

static inline uint64_t numa_huge_bytes(enum numa_huge_size size)
{
	return pagetable_size_bytes(size == NUMA_HUGE_1G ? PAGETABLE_1G : PAGETABLE_2M);
}

struct numa_huge { /* pages */
	uint64_t total, free;
};

struct numa_map_node {
	unsigned id;
	uint32_t cpus; /* online; 0: a node of memory alone */
	bool has_memory;
	uint64_t total_bytes, free_bytes, cached_bytes; /* cached: of files, which the kernel can drop; not free */
	uint64_t room_bytes; /* of free: what it gives before the kernel takes another node's (numa_room.h) */
	uint8_t weight;	     /* in weighted interleaving; 1 where the kernel has none */
	struct numa_huge huge[NUMA_HUGE_SIZES];
};

struct numa_map {
	unsigned nodes;
	struct numa_map_node node[NUMA_NODES_MAX]; /* online, ascending by id; some have no memory, or no CPUs */
	uint64_t huge_promised[NUMA_HUGE_SIZES]; /* of all that are free: to mappings that have not touched them yet */
	uint8_t cpu_node[IDS_MAX];		 /* each CPU's place, or NUMA_MAP_NONE */

	/* From the CPUs of the first to the memory of the second. */
	bool has_slit; /* else the host tells no distances: 10 and 20 */
	uint8_t distance[NUMA_NODES_MAX][NUMA_NODES_MAX];
	bool has_hmat; /* else all 0 */
	uint32_t latency_ps[NUMA_NODES_MAX][NUMA_NODES_MAX];
	uint32_t bandwidth_mib[NUMA_NODES_MAX][NUMA_NODES_MAX]; /* a second; 0: not known */
};

/* Below root, "" for this host. What the host does not tell is 0. EXIT_HOST with one sentence iff its list of nodes is
 * none, or has more than NUMA_NODES_MAX; then *m is not to be used. */
int numa_map_read(const char *root, struct numa_map *m, struct failure *f);

/* NUMA_MAP_NONE: no such node is online. */
unsigned numa_map_place(const struct numa_map *m, unsigned id);

struct ids numa_map_cpus(const struct numa_map *m, unsigned place); /* its CPUs that are online */
struct ids numa_map_memory(const struct numa_map *m);		    /* the ids of nodes that have memory */

/* The id of the node that memory for a guest comes from unless something else is asked: of those in `allowed` with
 * memory, with CPUs before without, the one with the most free. The first of all iff there is none. */
unsigned numa_map_roomiest(const struct numa_map *m, const struct ids *allowed);

/* EXIT_HOST with one sentence iff one of these is not online, or has no memory. what: the option that asked. */
int numa_map_check_nodes(const struct numa_map *m, const char *what, const struct ids *nodes, struct failure *f);

/* Those that are free there, less all that the host has promised to whoever: which node they will come from nobody
 * knows. So no other loses his, and whoever has his already (touched) counts no more. */
uint64_t numa_map_huge_usable(const struct numa_map *m, unsigned place, enum numa_huge_size size);

/* EXIT_HOST with one sentence (asked, there, elsewhere or promised, how to get more) iff fewer are usable there. */
int numa_map_check_huge(const struct numa_map *m, const char *what, unsigned place, enum numa_huge_size size,
			uint64_t pages, struct failure *f);

/* The same of several nodes that are to give them together. */
int numa_map_check_huge_nodes(const struct numa_map *m, const char *what, const struct ids *nodes,
			      enum numa_huge_size size, uint64_t pages, struct failure *f);

#endif
