/* vmm/pack/node_pool.h: the memory of one node of a simulated host: holes and extents by a fit,
 * or free units alone (scatter), or one run whose top grows when nothing else fits.
 * Theory: top of node_pool.c. Threads: one for each. */
#ifndef SLAT_VMM_PACK_NODE_POOL_H
#define SLAT_VMM_PACK_NODE_POOL_H

#include "mm/extent.h"

#define NODE_POOL_UNBOUNDED 0u			/* units */
#define NODE_POOL_TOP_MAX   (UINT64_C(1) << 40) /* of an unbounded one: units */
#define NODE_POOL_SCATTER   ((enum extent_policy)EXTENT_POLICIES)

struct node_pool {
	struct extent_space *space; /* NULL: scatter */
	uint64_t units;		    /* now; of an unbounded one the highest that was ever needed */
	uint64_t free;
	uint64_t end; /* of what the space has; above units: all taken */
	/* As the space says, so that who looks for a node need not look into it. */
	uint64_t room, largest, holes;
};

/* False iff there is no memory. units: 1 or more, or NODE_POOL_UNBOUNDED. */
bool node_pool_open(struct node_pool *p, enum extent_policy policy, uint64_t units);
void node_pool_close(struct node_pool *p); /* fine on a zeroed one */

/* Makes sure that the next `takes` of node_pool_take() do not need memory. False iff there is none. O(1) mostly. */
bool node_pool_prepare(struct node_pool *p, uint32_t takes);

/* The most that one take could ask for, whatever the rounding. */
static inline uint64_t node_pool_room(const struct node_pool *p)
{
	return p->end == NODE_POOL_TOP_MAX ? (NODE_POOL_TOP_MAX - p->units) / 4 : p->room;
}

/* What any number of takes could have in all. */
static inline uint64_t node_pool_spare(const struct node_pool *p)
{
	return p->end == NODE_POOL_TOP_MAX ? node_pool_room(p) : p->free;
}

/* After whoever has changed the space himself: for compaction. */
void node_pool_learn(struct node_pool *p);

/* How long the hole is that a take of so many units would cut; there is room for it, it was prepared for,
 * and the pool is not unbounded. */
uint64_t node_pool_peek(struct node_pool *p, uint64_t units);

/* At most node_pool_room() units, prepared for. */
struct extent node_pool_take(struct node_pool *p, uint64_t units, bool movable);
/* Compaction lets it lie. Nothing, if it should not be pinned, or there is no hole to open here. */
void node_pool_pin(struct node_pool *p, struct extent run, bool pinned);
void node_pool_unpin(struct node_pool *p, struct extent run, bool pinned);
void node_pool_give(struct node_pool *p, struct extent run);

/* As extent_hint(), which this is. */
static inline void node_pool_hint(const struct node_pool *p, struct extent run, unsigned step)
{
	if (p->space)
		extent_hint(p->space, run.first, step);
}

bool node_pool_check(const struct node_pool *p); /* O(segments) */

#endif
