/* vmm/zones.h: a guest's RAM, zone by zone: from which pool each zone is, on which of the
 * host's nodes it is to lie, which CPUs its vCPUs are kept to, and what the guest is
 * told of it. Theory: top of zones.c.
 * Threads: one; zones_keep_cpu() and zones_keep_others() any. */
#ifndef SLAT_VMM_ZONES_H
#define SLAT_VMM_ZONES_H

#include <sched.h>

#include "vmm/gather.h"
#include "vmm/latency_table.h"
#include "vmm/limits.h"
#include "vmm/numa_map.h"
#include "vmm/options.h"
#include "vmm/where.h"

#define ZONES_MAX OPTIONS_ZONES_MAX
#define ZONES_ANY 0xffu /* CPUs: not kept to a node */

struct zone {
	const char *id; /* "mem0" iff there are no others but shares of it */
	char name[64];	/* for sentences, as long as its pool is open */
	uint64_t bytes;
	struct pool *pool;
	bool ruled; /* else it lies where the kernel puts it: mostly on the pool's node */
	struct numa_rule rule;
	struct ids cpus; /* of its node: they touch it first; empty: any */
	bool verified;	 /* by zones_verify(): */
	struct where where;
};

struct zones {
	struct memory *memory;
	const struct run_options *options;
	struct host *host;
	struct numa_map map;
	struct limits limits;
	unsigned count; /* in the order of the guest's addresses; all that are open have a pool */
	struct zone zone[ZONES_MAX];
	struct topology topology;	     /* nodes 0: the guest is told nothing */
	uint8_t cpu_place[OPTIONS_CPUS_MAX]; /* of the map, by vCPU; or ZONES_ANY */
	/* Mean, as placement.h has it, of where memory was planned to be; once it was verified, of where it is. 0: not
	 * known or not chosen by it. */
	uint32_t latency_ps;
	enum latency_source latency_source;		  /* of what that is the mean: */
	uint32_t wait_ps[NUMA_NODES_MAX][NUMA_NODES_MAX]; /* by place, as the map has it */
};

/* Does the command line ask for any of this? Else one pool by the kernel's choice will do. */
bool zones_asked(const struct run_options *o);

/* Chooses nodes, opens a pool for each zone and cuts its blocks. EXIT_HOST or EXIT_USAGE with one sentence, and nothing
 * left but what zones_close() and host_close() take back, iff nodes, limits or pools refuse. NULL: the same. */
struct zones *zones_open(struct memory *memory, const struct run_options *o, struct host *host, uint32_t blocks_max,
			 struct block_list *out, struct failure *f);
void zones_close(struct zones *z); /* fine on NULL */

/* The calling thread runs where that vCPU's memory is. EXIT_HOST as numa_keep_thread(). */
int zones_keep_cpu(const struct zones *z, unsigned cpu, struct failure *f);

/* The calling thread, and those that it makes, run where any of the vCPUs do, if all of them are kept somewhere: so
 * that devices are near, too. As zones_keep_cpu(). */
int zones_keep_others(const struct zones *z, struct failure *f);

/* Once they are touched: where the pages of each prefaulted zone are. Those elsewhere than its rule says are migrated.
 * What was promised is then kept or refused, EXIT_HOST with one sentence: --latency, if the mean of where pages really
 * are is longer; --strict, if some of a zone are not where they were asked from, or the kernel does not say. Without
 * these it is a line on stderr at most. With --strict what several nodes have is bound to them from now on. */
int zones_verify(struct zones *z, struct failure *f);

/* Of so many bytes of a zone that is ruled, those that were asked from each node: all from one; equal shares, or by
 * weights, where they are interleaved. */
void zones_shares(const struct zones *z, const struct zone *one, uint64_t bytes, struct where *out);

/* How many bytes of it, of the backing's that `is` counts, are not where they were asked from: on none of its nodes, or
 * on one of them beyond its share. Of a share one round of the interleaving's largest pages, and a 64th, may be
 * elsewhere: where a large page cannot be had the round begins anew. */
uint64_t zones_misplaced(const struct zones *z, const struct zone *one, const struct where *is);

/* The mean wait, as z->latency_ps, of zones that are so: of those that are not NULL, what is there where it is, and all
 * else where it was asked from. 0 where z->latency_ps is. */
uint32_t zones_latency(const struct zones *z, const struct where *const is[ZONES_MAX]);

#endif
