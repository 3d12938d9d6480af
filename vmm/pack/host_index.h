/* vmm/pack/host_index.h: which of many hosts may have what a guest needs: the lowest of them,
 * the one with the least free, the one that scores best. It knows what each has as a
 * few numbers; whether a host really can, its caller says. Theory: top of host_index.c.
 * Threads: one for each. */
#ifndef SLAT_VMM_PACK_HOST_INDEX_H
#define SLAT_VMM_PACK_HOST_INDEX_H

#include <stdbool.h>
#include <stdint.h>

#define HOST_NONE UINT32_MAX

struct host_numbers {	       /* of one host: what it has; of many: the most that any has; of a guest: what it needs */
	uint64_t free;	       /* in all */
	uint64_t room;	       /* what one share of memory can be */
	uint64_t cpu, cpu_one; /* in all, on one node */
	uint64_t until;	       /* when the last of its guests leaves; 0: of no interest, or it has none */
	uint64_t merit[2];     /* for the caller's score alone */
};

/* Each of them as needed, merits aside? */
static inline bool host_numbers_have(const struct host_numbers *n, const struct host_numbers *need)
{
	return n->free >= need->free && n->room >= need->room && n->cpu >= need->cpu && n->cpu_one >= need->cpu_one &&
	       n->until >= need->until;
}

struct host_rung { /* a host in a tree by free memory, then number: one cache line */
	uint64_t free, room, cpu;
	uint64_t most_room, most_cpu; /* of it and all below it */
	uint32_t cpu_one, most_cpu_one;
	uint32_t less, more, above; /* or HOST_NONE */
	uint32_t rank;		    /* none below it has a higher one */
};

struct host_stay { /* beside a rung, for fleets that know lifetimes: a line of its own, so that others do not pay */
	uint64_t until, most; /* of it; of it and all below it */
};

struct host_index {
	uint32_t hosts, leaves, root;
	struct host_numbers *most; /* by number: [1] of all, [n] of [2n] and [2n + 1], the hosts from [leaves] on */
	struct host_rung *rung;	   /* of the hosts; NULL: not kept by free memory */
	struct host_stay *stay;	   /* of the hosts; NULL: by number, or `until` is of no interest */
};

struct host_judge {
	void *self;
	bool (*can)(void *self, uint32_t host);
	uint64_t (*score)(void *self, const struct host_numbers *n); /* never falls where a number rises */
};

/* Hosts with nothing. by_free: for host_index_least(); else for the two others. stays: `until` is kept by free memory,
 * too; without it it stays 0. False iff there is no memory. */
bool host_index_open(struct host_index *x, uint32_t hosts, bool by_free, bool stays);
void host_index_close(struct host_index *x); /* fine on a zeroed one */

/* O(log hosts). By free memory merits are not kept, and cpu_one is UINT32_MAX at most. */
void host_index_set(struct host_index *x, uint32_t host, const struct host_numbers *now);
static inline void host_index_hint(const struct host_index *x, uint32_t host) /* it is set soon */
{
	if (x->rung)
		__builtin_prefetch(&x->rung[host], 1);
	else
		__builtin_prefetch(&x->most[x->leaves + host], 1);
}
struct host_numbers host_index_numbers(const struct host_index *x, uint32_t host); /* as they were set */

/* Of the hosts that have what is needed, and can, HOST_NONE iff there is none: */
uint32_t host_index_first(const struct host_index *x, const struct host_numbers *need, const struct host_judge *judge);
uint32_t host_index_least(const struct host_index *x, const struct host_numbers *need, const struct host_judge *judge);
/* The lowest of those with the highest score. */
uint32_t host_index_best(const struct host_index *x, const struct host_numbers *need, const struct host_judge *judge);

/* Does any have them all at once, whatever it can? Of either kind. */
bool host_index_any(const struct host_index *x, const struct host_numbers *need);

bool host_index_check(const struct host_index *x); /* all invariants; O(hosts) */

#endif
