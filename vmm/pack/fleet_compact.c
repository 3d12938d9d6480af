/* vmm/pack/fleet_compact.c: holes are opened by moving guests within their nodes.
 *
 * What it is. mm/compact plans on a node's space; here the moves are made in the fleet's
 * books, one after the other: each takes its new place before it gives the old one. A node
 * whose plan would move more than is allowed is left as it was.
 *
 * Whose an extent is, is looked for among the guests of the host: they are few.
 *
 * Cost. A plan: mm/compact.h. A move: O(log n + guests of the host).
 * Memory. Scratch for the largest plan so far; a quarter MiB at least.
 *
 * Rejected. Moves between hosts: a live migration has another price, and is another question. To slide an extent onto
 * a place that overlaps its own: a running guest is copied while it writes, and has both places until that is done.
 * What was simulated would not be what a host can do, and a hole between two guests, of which each is longer, stays. */
#include <stdlib.h>

#include "mm/port.h"
#include "vmm/pack/fleet_impl.h"

struct opening {
	struct fleet *f;
	const struct fleet_ask *ask;
	uint64_t units_max, work;
	uint32_t node; /* that has the plan, */
	bool huge;     /* of its huge pages */
	struct compact_plan plan;
	bool failed; /* no memory */
	struct failure *failure;
};

static bool room_for(struct opening *o, const struct extent_stats *s)
{
	uint64_t segments = s->holes + s->extents;
	size_t bytes = (compact_scratch_bytes((uint32_t)segments) + 63) & ~(size_t)63;
	struct fleet *f = o->f;
	void *now;

	if (bytes > f->scratch_bytes) {
		if (!(now = aligned_alloc(64, bytes)))
			goto none;
		free(f->scratch);
		f->scratch = now;
		f->scratch_bytes = bytes;
	}
	if (2 * segments > f->moves_max) {
		if (!(now = realloc(f->move, 2 * segments * sizeof(*f->move))))
			goto none;
		f->move = now;
		f->moves_max = (uint32_t)(2 * segments);
	}
	return true;
none:
	o->failed = true;
	(void)fail(o->failure, EXIT_HOST, "no memory to plan a compaction of %llu segments",
		   (unsigned long long)segments);
	return false;
}

/* Of that many units, within what may be moved: o->plan. */
static bool plan(struct opening *o, struct node_pool *p, uint64_t units)
{
	bool buddy = p->space && extent_config_read(p->space).policy == EXTENT_BUDDY;
	const struct compact_request ask = {.units = units, .align = buddy ? units : 0, .work = o->work};
	struct extent_stats s;
	enum mm_err err;

	if (!p->space || p->free < units || (buddy && (units & (units - 1))))
		return false;
	s = extent_stats_read(p->space);
	if (!room_for(o, &s))
		return false;
	err = compact_plan(p->space, &ask, o->f->scratch, o->f->scratch_bytes, o->f->move, o->f->moves_max, &o->plan);
	MM_ASSERT(err == MM_OK || err == MM_ENOMEM, err, units);
	return err == MM_OK && o->plan.units_moved <= o->units_max;
}

static struct fleet_part *part_at(struct fleet *f, uint32_t host, uint32_t node, bool huge, uint64_t first,
				  uint32_t *guest)
{
	for (uint32_t g = f->host[host].guest; g != FLEET_GUEST_NONE; g = f->guest[g].after)
		for (uint32_t i = f->guest[g].part; i != FLEET_PART_NONE; i = f->piece[i].next)
			if (f->guest[g].huge == huge && f->piece[i].part.node == node &&
			    f->piece[i].part.run.units > 0 && f->piece[i].part.run.first == first) {
				*guest = g;
				return &f->piece[i].part;
			}
	mm_panic(__FILE__, __LINE__, "an extent is nobody's", host, first);
}

static void move(struct opening *o, uint32_t host, struct fleet_moved *moved)
{
	struct node_pool *p = fleet_memory_of(o->f, host, o->node, o->huge);

	for (uint32_t i = 0; i < o->plan.moves; i++) {
		struct extent from = o->f->move[i].from, to = {o->f->move[i].to, from.units};
		enum mm_err err = extent_alloc_at(p->space, to, true);
		struct fleet_part *part;
		uint32_t guest;

		MM_ASSERT(err == MM_OK, err, to.first);
		err = extent_free(p->space, from);
		MM_ASSERT(err == MM_OK, err, from.first);
		part = part_at(o->f, host, o->node, o->huge, from.first, &guest);
		part->run = to;
		if (o->f->moved)
			o->f->moved(o->f->moved_self, guest, host, part, from.first);
	}
	node_pool_learn(p);
	moved->guests += o->plan.moves;
	moved->units += o->plan.units_moved;
	fleet_recount(o->f, host);
}

/* Of o->node. Moves need room for two segments more, under buddy for its splits. */
static bool prepared(struct opening *o, uint32_t host)
{
	if (node_pool_prepare(fleet_memory_of(o->f, host, o->node, o->huge), 2))
		return true;
	o->failed = true;
	(void)fail(o->failure, EXIT_HOST, "no memory for the books of host %u", host);
	return false;
}

static bool can_open(void *self, uint32_t host)
{
	struct opening *o = self;
	for (o->node = 0; o->node < fleet_nodes_of(o->f, host) && !o->failed; o->node++) {
		uint32_t cpu_free = fleet_pool_of(o->f, host, o->node)->cpu_free;
		struct node_pool *p = fleet_memory_of(o->f, host, o->node, o->huge);

		if ((o->ask->node == FLEET_NODE_ANY || o->ask->node == o->node) && cpu_free >= o->ask->cpu_millis &&
		    p->free >= o->ask->units && prepared(o, host) &&
		    plan(o, p, extent_given(extent_config_read(p->space).policy, o->ask->units)))
			return true;
	}
	return false;
}

bool fleet_compact_for(struct fleet *f, const struct fleet_ask *ask, uint64_t units_max, uint64_t work,
		       struct fleet_moved *moved, struct failure *failure)
{
	struct opening o = {
		.f = f, .ask = ask, .units_max = units_max, .work = work, .huge = ask->huge, .failure = failure};
	const struct host_judge judge = {.self = &o, .can = can_open};
	const struct host_index *index = &f->index[ask->huge];
	const struct host_numbers need = {.free = ask->units, .cpu = ask->cpu_millis, .cpu_one = ask->cpu_millis};
	enum fleet_nodes nodes = f->config.nodes;
	uint32_t host;

	*moved = (struct fleet_moved){0};
	if (f->config.fit == FLEET_FIT_SCATTER || f->config.contiguous != FLEET_REQUIRE ||
	    (f->config.split_above && ask->units > f->config.split_above) ||
	    (nodes != FLEET_NODES_LOCAL && nodes != FLEET_NODES_FIRST && nodes != FLEET_NODES_BALANCE))
		return false;
	host = index->rung ? host_index_least(index, &need, &judge) : host_index_first(index, &need, &judge);
	if (host == HOST_NONE || o.failed)
		return false;
	move(&o, host, moved);
	return true;
}

bool fleet_compact_host(struct fleet *f, uint32_t host, uint64_t units_max, uint64_t work, struct fleet_moved *moved,
			struct failure *failure)
{
	struct opening o = {.f = f, .work = work, .failure = failure};
	uint32_t nodes = fleet_nodes_of(f, host);

	*moved = (struct fleet_moved){0};
	for (uint32_t i = 0; i < fleet_pools_of(f, host); i++) {
		struct node_pool *p = &fleet_pool_of(f, host, i)->pool;

		o.huge = i >= nodes;
		o.node = o.huge ? i - nodes : i;
		o.units_max = units_max - moved->units;
		if (p->space && p->free > p->largest && prepared(&o, host) && plan(&o, p, p->free))
			move(&o, host, moved);
		if (o.failed)
			return false;
	}
	return moved->guests > 0;
}
