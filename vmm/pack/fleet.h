/* vmm/pack/fleet.h: hosts with memory nodes, and for each guest that arrives the host, the
 * nodes and the holes that it gets. The nodes are chosen by mm/placement and the holes
 * by mm/extent, the same code that places real guests. Theory: top of fleet.c.
 *
 * Units of memory are granules. CPUs are counted in thousandths.
 *
 * Huge pages. A part of a node's memory can be kept for them: guests that ask for huge pages
 * get theirs of it and nothing else, all others of the rest. For memory a host is then two hosts
 * that share CPUs, and where one is chosen by what is free, that is of the part that the
 * guest would take from. What guests give back (overcommit) is of the rest alone.
 *
 * Lifetimes known. When a guest arrives it is known when it leaves, and so for each host when the last of
 * its guests does. By how much the guest would put that off is the host's prolongation; for an empty
 * host all of the guest's life. Hosts that can place the guest are of classes by it:
 *   0  nothing; 1  an eighth of the guest's life at most; 2  a quarter; 3  a half; 4  more.
 * The host is chosen, as ever, among those of the lowest class in which there is any, so that hosts
 * empty as a whole. A guest that never leaves puts off an end that never comes by nothing, and any other
 * for ever: class 0 and class 4. After the lifetime alignment of Barbalho et al., Virtual Machine
 * Allocation with Lifetime Predictions (MLSys 2023), with what a host is prolonged by as the measure,
 * as in Ling et al., LAVA (MLSys 2025); that classes are shares of the guest's life is of here: events
 * have no time of their own that could be "an hour", and lifetimes are known, not predicted.
 *
 * Memory:  all of it is taken by fleet_open() and as more guests live than ever before: some
 *          60 bytes a guest, and what mm/extent needs for holes and extents.
 * Threads: one for each fleet; no globals, no clock, no chance but the seed's: same calls,
 *          same answers, on every machine. */
#ifndef SLAT_VMM_PACK_FLEET_H
#define SLAT_VMM_PACK_FLEET_H

#include "mm/extent.h"
#include "mm/placement.h"
#include "vmm/failure.h"

#define FLEET_HOSTS_MAX	    (UINT32_C(1) << 20)
#define FLEET_CPU_UNLIMITED UINT32_MAX
#define FLEET_UNBOUNDED	    0u /* units of a node: one pool, whose top grows when nothing else fits */
#define FLEET_NODE_ANY	    UINT32_MAX

enum fleet_choose {		  /* a host, of those that can place the guest */
		    FLEET_FIRST,  /* the lowest */
		    FLEET_BEST,	  /* least free memory in all; the lowest of equals */
		    FLEET_WORST,  /* most */
		    FLEET_GLOBAL, /* the one that has the hole which the fit would take, were all hosts one space; of
				     equals, and where no hole is cut or none will do (scatter, FLEET_PREFER), the
				     lowest */
		    FLEET_RANDOM, /* any, each as likely */
		    FLEET_DOT,	  /* the largest dot product of the guest's CPUs and memory with what is free, each as a
				     share of the host */
		    FLEET_TWO,	  /* of two by chance the one with more free memory */
};

enum fleet_fit {
	FLEET_FIT_FIRST,
	FLEET_FIT_BEST,
	FLEET_FIT_WORST,
	FLEET_FIT_NEXT,
	FLEET_FIT_BUDDY,
	FLEET_FIT_SEGREGATED,
	FLEET_FIT_SCATTER, /* any free units of a node: what perfect compaction would give */
};

enum fleet_nodes { /* those of mm/placement, and */
		   FLEET_NODES_LOCAL,
		   FLEET_NODES_PACK,
		   FLEET_NODES_SPREAD,
		   FLEET_NODES_INTERLEAVE,
		   FLEET_NODES_CONTRACT,
		   FLEET_NODES_FIRST,	/* the lowest that has room and CPUs */
		   FLEET_NODES_BALANCE, /* SPANE's (arXiv 2504.14946): chooses the host, too */
};

enum fleet_contiguous { FLEET_REQUIRE, FLEET_PREFER, FLEET_SCATTER }; /* of each node's share: one extent; the fewest */

struct fleet_node {
	uint64_t units;	     /* or FLEET_UNBOUNDED */
	uint64_t reserve;    /* of them, for nobody */
	uint32_t cpu_millis; /* or FLEET_CPU_UNLIMITED */
	uint64_t huge;	     /* of them, for guests that ask for huge pages */
};

struct fleet_shape { /* of `hosts` hosts, one after the other */
	uint32_t hosts, nodes;
	struct fleet_node node[PLACEMENT_NODES_MAX];
	uint32_t latency_ps[PLACEMENT_NODES_MAX][PLACEMENT_NODES_MAX];
	uint8_t distance[PLACEMENT_NODES_MAX][PLACEMENT_NODES_MAX];
};

struct fleet_config {
	const struct fleet_shape *shape; /* borrowed by fleet_open() alone */
	uint32_t shapes;
	enum fleet_choose choose;
	enum fleet_nodes nodes;
	enum fleet_fit fit;
	enum fleet_contiguous contiguous;
	uint64_t split_above;	 /* units; a larger guest is split evenly over all nodes of one host. 0: never */
	uint32_t latency_ps;	 /* of FLEET_NODES_CONTRACT */
	uint32_t overcommit_ppm; /* memory that guests give back, of what they have: so much more fits */
	uint64_t seed;
	bool lifetimes; /* known */
};

struct fleet_ask {
	uint64_t units; /* 1 or more */
	uint32_t cpu_millis;
	uint32_t node; /* or FLEET_NODE_ANY */
	bool movable;  /* else compaction lets it lie */
	bool huge;     /* of huge pages; of a fleet that has any */
	/* Lifetimes known; else of no meaning: */
	uint64_t now_us, leaves_us; /* not before now; FLEET_NEVER */
};
#define FLEET_NEVER UINT64_MAX

enum fleet_answer { /* of those that refuse, the first that is true */
		    FLEET_PLACED,
		    FLEET_NO_MEMORY,   /* no host has so much free, of huge pages if it asks for those */
		    FLEET_NO_CPU,      /* of those that have, none has the CPUs */
		    FLEET_NO_HOLE,     /* of those, none has holes as they must be */
		    FLEET_NO_CONTRACT, /* of those, none keeps the latency */
};
#define FLEET_ANSWERS 5u

struct fleet_part {
	uint32_t node;
	uint32_t cpu_millis;
	struct extent run; /* first is of no meaning under FLEET_FIT_SCATTER; units as given */
};

struct fleet_totals { /* kept as guests come and go; O(1) to read */
	uint64_t units, units_given, units_asked;
	uint64_t cpu_millis, cpu_millis_given; /* of nodes that have a limit */
	uint64_t largest_holes;		       /* the sum over hosts of each one's largest */
	uint64_t holes;
	uint64_t guests, hosts_empty;
	uint64_t units_local; /* of guests' shares: on nodes where they have CPUs */
};

struct fleet; /* opaque; fields in fleet_impl.h */

/* EXIT_USAGE with one sentence iff the configuration is none (no host, more than FLEET_HOSTS_MAX, a node without
 * memory, an unbounded one beside others, 2^62 units in all, ...); EXIT_HOST iff there is no memory for it. */
struct fleet *fleet_open(const struct fleet_config *config, struct failure *f);
void fleet_close(struct fleet *f); /* fine on NULL */

/* Guest `guest`, a small number that no live guest has. On anything but FLEET_PLACED nothing has changed. EXIT_HOST
 * iff there is no memory for its books: *answer is then not set. O(log hosts + log holes) for FIRST, BEST, WORST and
 * TWO on most states, five times that if lifetimes are known; the worst is stated in fleet.c. */
int fleet_arrive(struct fleet *f, uint32_t guest, const struct fleet_ask *ask, enum fleet_answer *answer,
		 struct failure *failure);
/* False, and nothing else, iff there is no such guest: it was refused. */
bool fleet_depart(struct fleet *f, uint32_t guest);

struct fleet_moved {
	uint64_t guests, units;
};

/* Opens a hole for a guest that was just refused for FLEET_NO_HOLE, by moving others within their node: on the first
 * host, in the order of the config's choice (BEST: least free; else the lowest), and there the lowest node, that has
 * the memory, the CPUs and a plan (mm/compact.h) that moves `units_max` or fewer. True iff it is open: fleet_arrive()
 * then places it. Only where each share is one extent, of a guest that goes to one node; pinned guests stay. work:
 * compact_request's. EXIT_HOST: no memory for a plan; nothing has moved. O(hosts) plans at worst. */
bool fleet_compact_for(struct fleet *f, const struct fleet_ask *ask, uint64_t units_max, uint64_t work,
		       struct fleet_moved *moved, struct failure *failure);

/* Makes one hole of all free units of each node of this host, where there is a plan that takes no more than units_max;
 * a node without one is left as it is. As above. */
bool fleet_compact_host(struct fleet *f, uint32_t host, uint64_t units_max, uint64_t work, struct fleet_moved *moved,
			struct failure *failure);

/* Whoever is told of each move that compaction makes, when it is made: where the part is now, and its first unit
 * before. NULL: nobody is. */
typedef void fleet_moved_fn(void *self, uint32_t guest, uint32_t host, const struct fleet_part *part, uint64_t from);
void fleet_watch(struct fleet *f, fleet_moved_fn *moved, void *self);

/* It departs soon, if it lives. For speed: of a large fleet's books little is in the caches. Called with step 0, then
 * 1, up to FLEET_HINTS - 1, each when memory has brought what the one before it asked for. */
#define FLEET_HINTS (3u + EXTENT_HINTS)
void fleet_hint(const struct fleet *f, uint32_t guest, unsigned step);
bool fleet_lives(const struct fleet *f, uint32_t guest);
bool fleet_is_huge(const struct fleet *f, uint32_t guest); /* one that lives has huge pages */
/* Where it is: *host, and up to `max` parts; returns how many there are. */
uint32_t fleet_where(const struct fleet *f, uint32_t guest, uint32_t *host, struct fleet_part *out, uint32_t max);
uint64_t fleet_given_to(const struct fleet *f, uint32_t guest); /* units, of all its parts */

struct fleet_totals fleet_totals_read(const struct fleet *f);
uint32_t fleet_hosts(const struct fleet *f);
uint32_t fleet_nodes_of(const struct fleet *f, uint32_t host);
/* Its pools: one for each node; in a fleet with huge pages behind them as many for those. */
uint32_t fleet_pools_of(const struct fleet *f, uint32_t host);
/* What the pool has for guests, and what of it is free; of an unbounded one, up to its top. */
void fleet_room_of(const struct fleet *f, uint32_t host, uint32_t pool, uint64_t *units, uint64_t *unused);
/* For pictures and checks; NULL under FLEET_FIT_SCATTER, and of a pool without units. */
const struct extent_space *fleet_space(const struct fleet *f, uint32_t host, uint32_t pool);

/* All of it, by counting anew: free + given = total of each pool, every part live in its space, every index right.
 * O(all). */
bool fleet_check(const struct fleet *f);

#endif
