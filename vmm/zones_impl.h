/* vmm/zones_impl.h: for zones.c, the four beside it, and their tests alone. */
#ifndef SLAT_VMM_ZONES_IMPL_H
#define SLAT_VMM_ZONES_IMPL_H

#include "vmm/zones.h"

struct plan {				 /* of one zone */
	const struct options_zone *from; /* NULL: --memory describes it */
	uint64_t bytes, pool_bytes;	 /* the pool is larger with --pool alone */
	struct ids nodes;		 /* none: any */
};

struct make {
	struct zones *z;
	const struct run_options *o;
	struct plan plan[ZONES_MAX];
	const char *root; /* has a sys/ with devices, for tests; NULL: the host's */
};

/* Of so many bytes under a rule, those that are asked from a node of its. */
uint64_t zones_share(const struct numa_map *map, const struct numa_rule *rule, uint64_t bytes, unsigned node);

struct ids zones_cpus_of(const struct zones *z, unsigned place); /* that this process may use */

/* From options, map and limits to as many plans as there are zones. EXIT_HOST or EXIT_USAGE with one sentence. */
int zones_plan(struct make *m, struct failure *f);

/* What the host has for all plans together. EXIT_HOST with one sentence iff that is not enough; nothing is taken. */
int zones_check_plan(const struct make *m, struct failure *f);

/* A pool for each plan, and their blocks in the order of zones. As zones_open(). */
int zones_open_pools(struct make *m, uint32_t blocks_max, struct block_list *out, struct failure *f);

/* Of zones that have their pools: fills in topology and, where no placement did, cpu_place. EXIT_USAGE as
 * topology_check(). */
int zones_show(struct zones *z, struct failure *f);

#endif
