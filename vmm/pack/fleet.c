/* vmm/pack/fleet.c: which host, which nodes and which holes a guest gets.
 *
 * What it is. The host is sought in an index of what each has (host_index.h); of each that
 * may do, the nodes are chosen by mm/placement (or here, for two policies that it has
 * not); and the holes are cut by mm/extent. Nothing is taken before all of it is known to
 * fit, so that a refusal changes nothing.
 *
 * Words. A share is what one node gives a guest. A guest that must lie on one node is
 * single; the others are spread by their policy, or split as they are above split_above.
 * A piece is a share's extent, or one of them.
 *
 * Invariants; fleet_check():
 *   F1  of each pool, free + given = its units, and each piece is live in its pool, that of
 *       huge pages iff its guest asked for them;
 *   F2  CPUs free + CPUs of pieces = the node's;
 *   F3  each index has what each host has now, and the totals are their sums;
 *   F4  a piece is one guest's or on the list of free ones, a guest on its host's list;
 *   F5  where lifetimes are known a host's `until` is the latest end of its guests.
 *
 * CPUs are not shared here: a placement that shares them, where mm/placement has no better
 * one, is none. A guest's CPUs are spread whole if it asks for whole ones.
 *
 * Cost. An event: the search, placement_choose() for each host looked at, one or few extents,
 * and O(nodes + log hosts) for the books. `global` looks at all hosts that have the numbers;
 * `random` and `two` too, once 64 draws have failed. Worst case of the others: host_index.c.
 * Lifetimes known: a search for each class till one is found. When the guest departs that leaves last its
 * host's others are looked through for one that leaves when it does: in a trace that keeps its
 * word they all do, and the first will do; else O(guests of the host).
 *
 * Memory. From malloc(): the VMM's own arena (vmm/memory.h) is for a guest's books, and far
 * too small for a fleet's.
 *
 * Rejected. To keep guests on CPUs by number: what a packing is asked is how many. One space
 * for all hosts, for `global`: it could not pass over a hole whose host has no CPU. A tree of each
 * host's guests by when they leave: what it would answer is known to be the one that leaves now. */
#include <stdlib.h>
#include <string.h>

#include "mm/port.h"
#include "vmm/pack/alloc.h"
#include "vmm/pack/fleet_impl.h"

#define DRAWS	  64u
#define CPUS_MANY UINT32_MAX /* nobody can ask for more */
#define PPM	  UINT64_C(1000000)
#define CLASSES	  4u /* of hosts by what the guest puts their end off by, and one for the rest */

typedef unsigned __int128 wide;

struct attempt {
	struct fleet *f;
	const struct fleet_ask *ask;
	bool split, single;
	bool whole;	 /* each share is to be one extent */
	bool slow;	 /* a host was refused for its latency */
	uint32_t chosen; /* host that f->chosen is for, or HOST_NONE */
};

/* ---- what a host has ---- */

static uint32_t nodes_of(const struct fleet *f, uint32_t host)
{
	return f->shape[f->host[host].shape].nodes;
}

static uint32_t pools_of(const struct fleet *f, uint32_t host)
{
	return nodes_of(f, host) << f->huge;
}

static struct node_pool *memory_for(const struct attempt *a, uint32_t host, uint32_t node)
{
	return fleet_memory_of(a->f, host, node, a->ask->huge);
}

static bool unlimited(const struct fleet_pool *n)
{
	return n->cpu_millis == FLEET_CPU_UNLIMITED;
}

static uint64_t ppm_of(uint64_t part, uint64_t all)
{
	return all ? (uint64_t)((wide)part * PPM / all) : PPM;
}

/* What is left of a node, of memory and CPUs whichever is less. */
static uint64_t share_left(const struct fleet *f, uint32_t host, uint32_t node, bool huge)
{
	const struct node_pool *pool = fleet_memory_of(f, host, node, huge);
	const struct fleet_pool *n = fleet_pool_of(f, host, node);
	uint64_t memory = ppm_of(pool->free, pool->units);
	uint64_t cpus = unlimited(n) ? PPM : ppm_of(n->cpu_free, n->cpu_millis);

	return memory < cpus ? memory : cpus;
}

/* So that what a guest asks for, times this, is its dot product with what is free, both as shares of all that there is.
 */
static uint64_t dot_weight(uint64_t free_now, uint64_t all)
{
	return all ? (uint64_t)(((wide)free_now << 56) / ((wide)all * all)) : 0;
}

static void merits(const struct fleet *f, uint32_t host, bool huge, struct host_numbers *n)
{
	uint64_t least = PPM, most = 0, units = 0, cpus = 0;
	bool any = false;

	for (uint32_t i = 0; i < nodes_of(f, host); i++) {
		const struct fleet_pool *p = fleet_pool_of(f, host, i);
		uint64_t left = share_left(f, host, i, huge);

		least = left < least ? left : least;
		most = left > most ? left : most;
		units += fleet_memory_of(f, host, i, huge)->units;
		any |= unlimited(p);
		cpus += p->cpu_millis;
	}
	if (f->config.nodes == FLEET_NODES_BALANCE) {
		n->merit[0] = most - least;
	} else {
		n->merit[0] = dot_weight(n->free, units);
		n->merit[1] = any ? 0 : dot_weight(n->cpu, cpus);
	}
}

static struct host_numbers numbers_of(const struct fleet *f, uint32_t host, bool huge)
{
	bool whole = f->config.contiguous == FLEET_REQUIRE;
	struct host_numbers n = {.until = f->until ? f->until[host] : 0};

	for (uint32_t i = 0; i < nodes_of(f, host); i++) {
		const struct fleet_pool *p = fleet_pool_of(f, host, i);
		const struct node_pool *memory = fleet_memory_of(f, host, i, huge);
		uint64_t spare = node_pool_spare(memory), room = whole ? node_pool_room(memory) : spare;

		n.free += spare;
		n.room = room > n.room ? room : n.room;
		n.cpu += p->cpu_free;
		n.cpu_one = p->cpu_free > n.cpu_one ? p->cpu_free : n.cpu_one;
	}
	if (f->config.nodes == FLEET_NODES_BALANCE || f->config.choose == FLEET_DOT)
		merits(f, host, huge, &n);
	return n;
}

/* ---- which nodes ---- */

static bool node_can(const struct attempt *a, uint32_t host, uint32_t node)
{
	const struct node_pool *pool = memory_for(a, host, node);
	uint64_t room = a->whole ? node_pool_room(pool) : node_pool_spare(pool);

	return (a->ask->node == FLEET_NODE_ANY || a->ask->node == node) && room >= a->ask->units &&
	       fleet_pool_of(a->f, host, node)->cpu_free >= a->ask->cpu_millis;
}

/* The two policies that mm/placement has not: the first node, or the one with most left. */
static bool choose_one(const struct attempt *a, uint32_t host)
{
	bool balance = a->f->config.nodes == FLEET_NODES_BALANCE, huge = a->ask->huge;
	struct placement *p = &a->f->chosen;
	uint32_t found = FLEET_NODE_ANY;

	for (uint32_t i = 0; i < nodes_of(a->f, host) && (balance || found == FLEET_NODE_ANY); i++)
		if (node_can(a, host, i) &&
		    (found == FLEET_NODE_ANY || share_left(a->f, host, i, huge) > share_left(a->f, host, found, huge)))
			found = i;
	if (found == FLEET_NODE_ANY)
		return false;
	memset(p->share, 0, nodes_of(a->f, host) * sizeof(p->share[0]));
	p->share[found] = (struct placement_share){a->ask->units, a->ask->cpu_millis};
	p->nodes = 1;
	a->f->cpu_scale = 1;
	return true;
}

static enum placement_policy policy_of(const struct attempt *a)
{
	static const enum placement_policy policy[] = {
		[FLEET_NODES_LOCAL] = PLACEMENT_LOCAL,	     [FLEET_NODES_PACK] = PLACEMENT_PACK,
		[FLEET_NODES_SPREAD] = PLACEMENT_SPREAD,     [FLEET_NODES_INTERLEAVE] = PLACEMENT_INTERLEAVE,
		[FLEET_NODES_CONTRACT] = PLACEMENT_CONTRACT,
	};

	return a->split ? PLACEMENT_SPREAD : policy[a->f->config.nodes];
}

static void node_tell(const struct attempt *a, uint32_t host, uint32_t node, struct placement_node *out)
{
	const struct fleet_pool *p = fleet_pool_of(a->f, host, node);
	const struct node_pool *pool = memory_for(a, host, node);
	uint32_t scale = a->f->cpu_scale;
	bool many = unlimited(p) || a->ask->cpu_millis == 0;

	*out = (struct placement_node){
		.free_bytes = node_pool_spare(pool),
		.largest_hole = node_pool_room(pool),
		.cpus_free = many ? CPUS_MANY : p->cpu_free / scale,
		.cpus_all = many ? CPUS_MANY : p->cpu_millis / scale,
		.allowed = a->ask->node == FLEET_NODE_ANY || a->ask->node == node,
	};
}

static bool choose_by_placement(struct attempt *a, uint32_t host)
{
	struct fleet *f = a->f;
	struct placement_host *h = &f->shape[f->host[host].shape];
	struct placement_guest guest = {
		.bytes = a->ask->units,
		.granule = 1,
		.contiguous = a->whole,
		.policy = policy_of(a),
		.latency_ps = f->config.latency_ps,
	};
	enum placement_result result;

	f->cpu_scale = a->ask->cpu_millis % 1000 == 0 ? 1000 : 1;
	guest.cpus = a->ask->cpu_millis ? a->ask->cpu_millis / f->cpu_scale : 1;
	for (uint32_t i = 0; i < h->nodes; i++)
		node_tell(a, host, i, &h->node[i]);
	result = placement_choose(h, &guest, &f->chosen);
	a->slow |= result == PLACEMENT_TOO_SLOW;
	if (result != PLACEMENT_OK || (a->split && f->chosen.nodes != h->nodes))
		return false;
	for (uint32_t i = 0; i < h->nodes; i++)
		if (f->chosen.share[i].cpus > h->node[i].cpus_free)
			return false; /* shared */
	return true;
}

/* Whether the host can place it; f->chosen is then how. */
static bool can(void *self, uint32_t host)
{
	struct attempt *a = self;
	enum fleet_nodes nodes = a->f->config.nodes;

	bool one = !a->split && (nodes == FLEET_NODES_FIRST || nodes == FLEET_NODES_BALANCE);
	bool yes = one ? choose_one(a, host) : choose_by_placement(a, host);

	a->chosen = yes ? host : HOST_NONE;
	return yes;
}

/* ---- which host ---- */

static uint64_t score(void *self, const struct host_numbers *n)
{
	const struct attempt *a = self;
	wide dot;

	if (a->f->config.nodes == FLEET_NODES_BALANCE)
		return n->merit[0];
	if (a->f->config.choose == FLEET_WORST)
		return n->free;
	dot = (wide)a->ask->units * n->merit[0] + (wide)a->ask->cpu_millis * n->merit[1];
	return dot < UINT64_MAX ? (uint64_t)dot
				: UINT64_MAX; /* of small hosts that cannot have it: a bound is enough */
}

/* No number is more likely than another. */
static uint64_t below(struct fleet *f, uint64_t n)
{
	uint64_t limit = UINT64_MAX - UINT64_MAX % n, x;

	do
		x = random_next(&f->chance);
	while (x >= limit);
	return x % n;
}

static const struct host_index *index_for(const struct attempt *a)
{
	return &a->f->index[a->ask->huge];
}

static const struct host_numbers *numbers(const struct attempt *a, uint32_t host)
{
	return &index_for(a)->most[index_for(a)->leaves + host];
}

static bool may(const struct attempt *a, uint32_t host, const struct host_numbers *need)
{
	return host_numbers_have(numbers(a, host), need);
}

/* Each of those that can as likely as another. */
static uint32_t draw(struct attempt *a, const struct host_numbers *need)
{
	uint32_t seen = 0, found = HOST_NONE;

	for (unsigned i = 0; i < DRAWS; i++) {
		uint32_t host = (uint32_t)below(a->f, a->f->hosts);

		if (may(a, host, need) && can(a, host))
			return host;
	}
	for (uint32_t host = 0; host < a->f->hosts; host++)
		if (may(a, host, need) && can(a, host) && below(a->f, ++seen) == 0)
			found = host;
	return found;
}

static uint32_t draw_two(struct attempt *a, const struct host_numbers *need)
{
	uint32_t one = draw(a, need), other = one == HOST_NONE ? one : draw(a, need);
	uint64_t free_one, free_other;

	if (one == HOST_NONE)
		return one;
	free_one = numbers(a, one)->free;
	free_other = numbers(a, other)->free;
	return free_other > free_one || (free_other == free_one && other < one) ? other : one;
}

static bool prepare(const struct attempt *a, uint32_t host);

/* The hole that the chosen placement's first share would cut. */
static uint64_t hole_of(const struct attempt *a, uint32_t host)
{
	for (uint32_t i = 0; i < nodes_of(a->f, host); i++)
		if (a->f->chosen.share[i].bytes > 0)
			return node_pool_peek(memory_for(a, host, i), a->f->chosen.share[i].bytes);
	return 0;
}

static uint32_t global(struct attempt *a, const struct host_numbers *need)
{
	struct fleet *f = a->f;
	bool largest = f->config.fit == FLEET_FIT_WORST;
	uint32_t found = HOST_NONE;
	uint64_t hole, best = 0;

	for (uint32_t host = 0; host < f->hosts; host++) {
		if (!may(a, host, need) || !can(a, host) || !prepare(a, host))
			continue;
		hole = hole_of(a, host);
		if (found != HOST_NONE && (largest ? hole <= best : hole >= best))
			continue;
		found = host;
		best = hole;
	}
	return found;
}

/* All hosts as one space: from the one that the last guest lies on, and round. */
static uint32_t global_next(struct attempt *a, const struct host_numbers *need)
{
	for (uint32_t i = 0; i < a->f->hosts; i++) {
		uint32_t host = (a->f->host_last + i) % a->f->hosts;

		if (may(a, host, need) && can(a, host))
			return host;
	}
	return HOST_NONE;
}

/* The first of all hosts with a hole, or the best; the lowest that has room, if there is no hole. */
static uint32_t of_all(struct attempt *a, const struct host_numbers *need)
{
	const struct host_judge judge = {.self = a, .can = can};
	const struct fleet_config *c = &a->f->config;
	uint32_t host;

	if (c->fit == FLEET_FIT_SCATTER || c->contiguous == FLEET_SCATTER)
		return host_index_first(index_for(a), need, &judge);
	a->whole = true;
	if (c->fit == FLEET_FIT_NEXT)
		host = global_next(a, need);
	else if (c->fit == FLEET_FIT_FIRST || a->f->hosts == 1) /* to look into an unbounded pool would raise its top */
		host = host_index_first(index_for(a), need, &judge);
	else
		host = global(a, need);
	if (host != HOST_NONE || c->contiguous == FLEET_REQUIRE)
		return host;
	a->whole = a->slow = false;
	return host_index_first(index_for(a), need, &judge);
}

static uint32_t host_among(struct attempt *a, const struct host_numbers *need)
{
	const struct host_judge judge = {.self = a, .can = can, .score = score};
	const struct fleet_config *c = &a->f->config;

	if (c->nodes == FLEET_NODES_BALANCE)
		return host_index_best(index_for(a), need, &judge);
	switch (c->choose) {
	case FLEET_BEST:
		return host_index_least(index_for(a), need, &judge);
	case FLEET_WORST:
	case FLEET_DOT:
		return host_index_best(index_for(a), need, &judge);
	case FLEET_RANDOM:
		return draw(a, need);
	case FLEET_TWO:
		return draw_two(a, need);
	case FLEET_GLOBAL:
		return of_all(a, need);
	case FLEET_FIRST:
		break;
	}
	return host_index_first(index_for(a), need, &judge);
}

/* Class by class; a class has those below it, which had none. */
static uint32_t host_for(struct attempt *a, const struct host_numbers *need)
{
	uint64_t leaves = a->ask->leaves_us, life = leaves - a->ask->now_us;
	struct host_numbers by = *need;

	for (unsigned class = 0; a->f->until && class < CLASSES; class ++) {
		uint64_t put_off = class == 0 ? 0 : life >> (CLASSES - class);
		uint32_t host;

		if (class > 0 && leaves == FLEET_NEVER)
			break;
		by.until = leaves - put_off;
		host = host_among(a, &by);
		if (host != HOST_NONE)
			return host;
	}
	return host_among(a, need);
}

static enum fleet_answer refusal(const struct attempt *a, const struct host_numbers *need)
{
	struct host_numbers memory = {.free = need->free}, cpu = {.free = need->free, .cpu = need->cpu};

	if (!host_index_any(index_for(a), &memory))
		return FLEET_NO_MEMORY;
	if (!host_index_any(index_for(a), &cpu))
		return FLEET_NO_CPU;
	return a->slow ? FLEET_NO_CONTRACT : FLEET_NO_HOLE;
}

/* ---- the books ---- */

void fleet_recount(struct fleet *f, uint32_t host)
{
	struct fleet_host *h = &f->host[host];

	f->totals.largest_holes -= h->largest;
	f->totals.holes -= h->holes;
	h->largest = h->holes = 0;
	for (uint32_t i = 0; i < pools_of(f, host); i++) {
		const struct node_pool *p = &fleet_pool_of(f, host, i)->pool;

		h->largest = p->largest > h->largest ? p->largest : h->largest;
		h->holes += p->holes;
	}
	f->totals.largest_holes += h->largest;
	f->totals.holes += h->holes;
	for (unsigned huge = 0; huge <= f->huge; huge++) {
		struct host_numbers now = numbers_of(f, host, huge);

		host_index_set(&f->index[huge], host, &now);
	}
}

static bool guests_grow(struct fleet *f, uint32_t guest)
{
	uint64_t most = 2 * (uint64_t)guest + 64, *leaves;
	struct fleet_guest *now;

	if (guest < f->guests_max)
		return true;
	if (most > UINT32_MAX)
		return false;
	if (f->until) {
		if (!(leaves = realloc(f->leaves, most * sizeof(*leaves))))
			return false;
		f->leaves = leaves;
	}
	if (!(now = alloc_resize_by_huge_pages(f->guest, most, sizeof(*now))))
		return false;
	for (uint64_t i = f->guests_max; i < most; i++)
		now[i].part = FLEET_PART_NONE;
	f->guest = now;
	f->guests_max = (uint32_t)most;
	return true;
}

static bool pieces_grow(struct fleet *f, uint64_t need)
{
	uint64_t most = 2 * (f->pieces_max + need) + 64;
	struct fleet_piece *now;

	if (need <= f->pieces_free)
		return true;
	if (most > UINT32_MAX || !(now = alloc_resize_by_huge_pages(f->piece, most, sizeof(*now))))
		return false;
	f->piece = now;
	for (uint32_t i = f->pieces_max; i < most; i++) {
		now[i].next = f->piece_free;
		f->piece_free = i;
	}
	f->pieces_free += (uint32_t)most - f->pieces_max;
	f->pieces_max = (uint32_t)most;
	return true;
}

/* How many extents a share may be cut into. */
static uint32_t cuts(const struct fleet *f, const struct node_pool *p)
{
	return f->config.contiguous == FLEET_REQUIRE ? 1 : (uint32_t)p->holes + 1;
}

static bool prepare(const struct attempt *a, uint32_t host)
{
	for (uint32_t i = 0; i < nodes_of(a->f, host); i++) {
		struct node_pool *p = memory_for(a, host, i);

		if (a->f->chosen.share[i].bytes > 0 && !node_pool_prepare(p, cuts(a->f, p)))
			return false;
	}
	return true;
}

/* The guest came to the host, or leaves it, no longer on its list: when does the last one now? */
static void until_add(struct fleet *f, uint32_t host, uint64_t leaves)
{
	f->until[host] = leaves > f->until[host] ? leaves : f->until[host];
}

static void until_take(struct fleet *f, uint32_t host, uint64_t leaves)
{
	uint64_t until = 0;

	if (leaves < f->until[host])
		return;
	for (uint32_t g = f->host[host].guest; g != FLEET_GUEST_NONE && until < leaves; g = f->guest[g].after)
		until = f->leaves[g] > until ? f->leaves[g] : until;
	f->until[host] = until;
}

static void guest_link(struct fleet *f, uint32_t guest)
{
	struct fleet_guest *g = &f->guest[guest];
	struct fleet_host *h = &f->host[g->host];

	g->before = FLEET_GUEST_NONE;
	g->after = h->guest;
	if (h->guest != FLEET_GUEST_NONE)
		f->guest[h->guest].before = guest;
	h->guest = guest;
	f->totals.hosts_empty -= h->guests++ == 0;
	f->totals.guests++;
}

static void guest_unlink(struct fleet *f, uint32_t guest)
{
	struct fleet_guest *g = &f->guest[guest];
	struct fleet_host *h = &f->host[g->host];

	if (g->before != FLEET_GUEST_NONE)
		f->guest[g->before].after = g->after;
	else
		h->guest = g->after;
	if (g->after != FLEET_GUEST_NONE)
		f->guest[g->after].before = g->before;
	f->totals.hosts_empty += --h->guests == 0;
	f->totals.guests--;
}

static void piece_add(struct fleet *f, struct fleet_guest *g, struct fleet_part part)
{
	uint32_t i = f->piece_free;

	f->piece_free = f->piece[i].next;
	f->pieces_free--;
	f->piece[i] = (struct fleet_piece){part, g->part};
	g->part = i;
	f->totals.units_given += part.run.units;
}

/* A part of a share as it is to be cut now: all of it, the longest hole, or the lowest. */
static uint64_t cut_now(const struct fleet *f, const struct node_pool *p, uint64_t left)
{
	uint64_t room = node_pool_room(p);
	struct extent_segment s = {.taken = true};

	if (f->config.contiguous == FLEET_SCATTER && p->space)
		for (uint64_t at = 0; s.taken && extent_segment_at(p->space, at, &s); at = s.run.first + s.run.units)
			;
	if (!s.taken && s.run.units < room)
		room = s.run.units;
	return left < room ? left : room;
}

static void share_take(struct fleet *f, struct fleet_guest *g, uint32_t node, const struct fleet_ask *ask)
{
	const struct placement_share *share = &f->chosen.share[node];
	struct fleet_pool *p = fleet_pool_of(f, g->host, node);
	struct node_pool *pool = fleet_memory_of(f, g->host, node, ask->huge);
	struct fleet_part part = {.node = node, .cpu_millis = ask->cpu_millis ? share->cpus * f->cpu_scale : 0};
	uint64_t before = pool->units;

	for (uint64_t left = share->bytes, now; left > 0; left -= now) {
		now = cut_now(f, pool, left);
		part.run = node_pool_take(pool, now, ask->movable);
		node_pool_pin(pool, part.run, g->pinned);
		piece_add(f, g, part);
		if (!unlimited(p))
			p->cpu_free -= part.cpu_millis;
		f->totals.cpu_millis_given += unlimited(p) ? 0 : part.cpu_millis;
		part.cpu_millis = 0;
	}
	f->totals.units += pool->units - before;
	if (part.cpu_millis == 0)
		return;
	part.run = (struct extent){0}; /* CPUs of a node without memory of the guest */
	piece_add(f, g, part);
	if (!unlimited(p)) {
		p->cpu_free -= part.cpu_millis;
		f->totals.cpu_millis_given += part.cpu_millis;
	}
}

static void guest_take(struct fleet *f, uint32_t guest, uint32_t host, const struct fleet_ask *ask)
{
	struct fleet_guest *g = &f->guest[guest];

	*g = (struct fleet_guest){
		.host = host, .part = FLEET_PART_NONE, .asked = ask->units, .pinned = !ask->movable, .huge = ask->huge};
	for (uint32_t i = 0; i < nodes_of(f, host); i++) {
		share_take(f, g, i, ask);
		if (f->chosen.share[i].cpus > 0 || ask->cpu_millis == 0)
			g->local += f->chosen.share[i].bytes;
	}
	f->totals.units_asked += g->asked;
	f->totals.units_local += g->local;
	guest_link(f, guest);
	if (f->until) {
		f->leaves[guest] = ask->leaves_us;
		until_add(f, host, ask->leaves_us);
	}
	f->host_last = host;
	fleet_recount(f, host);
}

/* ---- the interface ---- */

int fleet_arrive(struct fleet *f, uint32_t guest, const struct fleet_ask *ask, enum fleet_answer *answer,
		 struct failure *failure)
{
	struct attempt a = {.f = f,
			    .ask = ask,
			    .split = f->config.split_above && ask->units > f->config.split_above,
			    .whole = f->config.contiguous == FLEET_REQUIRE,
			    .chosen = HOST_NONE};
	enum fleet_nodes nodes = f->config.nodes;
	struct host_numbers need = {.free = ask->units, .cpu = ask->cpu_millis};
	uint32_t host;

	MM_ASSERT(ask->units > 0 && !fleet_lives(f, guest), ask->units, guest);
	MM_ASSERT(!ask->huge || f->huge, guest, 0);
	MM_ASSERT(!f->until || ask->leaves_us >= ask->now_us, ask->leaves_us, ask->now_us);
	a.single =
		!a.split && (nodes == FLEET_NODES_LOCAL || nodes == FLEET_NODES_FIRST || nodes == FLEET_NODES_BALANCE);
	if (a.single) {
		need.room = ask->units;
		need.cpu_one = ask->cpu_millis;
	}
	host = host_for(&a, &need);
	if (host == HOST_NONE) {
		*answer = refusal(&a, &need);
		return 0;
	}
	if (a.chosen != host) { /* another was looked at since */
		bool yes = can(&a, host);

		MM_ASSERT(yes, host, guest);
	}
	if (!guests_grow(f, guest) || !prepare(&a, host) ||
	    !pieces_grow(f, (uint64_t)nodes_of(f, host) +
				    (f->config.contiguous == FLEET_REQUIRE ? 0 : f->host[host].holes + 64)))
		return fail(failure, EXIT_HOST, "the host has no memory for the books of guest %u", guest);
	guest_take(f, guest, host, ask);
	*answer = FLEET_PLACED;
	return 0;
}

/* Always inline: what does nothing but ask memory has no effect for gcc, which drops the call. */
static inline __attribute__((always_inline)) void hint_links(const struct fleet *f, const struct fleet_guest *g)
{
	__builtin_prefetch(&f->piece[g->part], 1);
	__builtin_prefetch(&f->host[g->host], 1);
	host_index_hint(&f->index[g->huge], g->host);
	if (g->before != FLEET_GUEST_NONE)
		__builtin_prefetch(&f->guest[g->before], 1);
	if (g->after != FLEET_GUEST_NONE)
		__builtin_prefetch(&f->guest[g->after], 1);
}

void fleet_hint(const struct fleet *f, uint32_t guest, unsigned step)
{
	const struct fleet_guest *g = &f->guest[guest];
	const struct fleet_part *part;
	const struct node_pool *memory;

	if (guest >= f->guests_max)
		return;
	if (step == 0)
		__builtin_prefetch(g, 1);
	if (step == 0 || g->part == FLEET_PART_NONE)
		return;
	if (step == 1) {
		hint_links(f, g);
		return;
	}
	part = &f->piece[g->part].part;
	memory = fleet_memory_of(f, g->host, part->node, g->huge);
	if (step == 2)
		__builtin_prefetch(memory, 1);
	else
		node_pool_hint(memory, part->run, step - 3);
}

bool fleet_depart(struct fleet *f, uint32_t guest)
{
	struct fleet_guest *g;

	if (!fleet_lives(f, guest))
		return false;
	g = &f->guest[guest];
	guest_unlink(f, guest);
	if (f->until)
		until_take(f, g->host, f->leaves[guest]);
	for (uint32_t i = g->part, next; i != FLEET_PART_NONE; i = next) {
		struct fleet_part *part = &f->piece[i].part;
		struct fleet_pool *p = fleet_pool_of(f, g->host, part->node);
		struct node_pool *pool = fleet_memory_of(f, g->host, part->node, g->huge);

		if (part->run.units > 0) {
			node_pool_unpin(pool, part->run, g->pinned);
			node_pool_give(pool, part->run);
		}
		if (!unlimited(p)) {
			p->cpu_free += part->cpu_millis;
			f->totals.cpu_millis_given -= part->cpu_millis;
		}
		f->totals.units_given -= part->run.units;
		next = f->piece[i].next;
		f->piece[i].next = f->piece_free;
		f->piece_free = i;
		f->pieces_free++;
	}
	g->part = FLEET_PART_NONE;
	f->totals.units_asked -= g->asked;
	f->totals.units_local -= g->local;
	fleet_recount(f, g->host);
	return true;
}

bool fleet_lives(const struct fleet *f, uint32_t guest)
{
	return guest < f->guests_max && f->guest[guest].part != FLEET_PART_NONE;
}

uint32_t fleet_where(const struct fleet *f, uint32_t guest, uint32_t *host, struct fleet_part *out, uint32_t max)
{
	uint32_t n = 0;

	MM_ASSERT(fleet_lives(f, guest), guest, 0);
	*host = f->guest[guest].host;
	for (uint32_t i = f->guest[guest].part; i != FLEET_PART_NONE; i = f->piece[i].next, n++)
		if (n < max)
			out[n] = f->piece[i].part;
	return n;
}

uint64_t fleet_given_to(const struct fleet *f, uint32_t guest)
{
	uint64_t units = 0;

	MM_ASSERT(fleet_lives(f, guest), guest, 0);
	for (uint32_t i = f->guest[guest].part; i != FLEET_PART_NONE; i = f->piece[i].next)
		units += f->piece[i].part.run.units;
	return units;
}

bool fleet_is_huge(const struct fleet *f, uint32_t guest)
{
	return f->guest[guest].huge;
}

void fleet_watch(struct fleet *f, fleet_moved_fn *moved, void *self)
{
	f->moved = moved;
	f->moved_self = self;
}

struct fleet_totals fleet_totals_read(const struct fleet *f)
{
	return f->totals;
}

uint32_t fleet_hosts(const struct fleet *f)
{
	return f->hosts;
}

uint32_t fleet_nodes_of(const struct fleet *f, uint32_t host)
{
	return nodes_of(f, host);
}

uint32_t fleet_pools_of(const struct fleet *f, uint32_t host)
{
	return pools_of(f, host);
}

void fleet_room_of(const struct fleet *f, uint32_t host, uint32_t pool, uint64_t *units, uint64_t *unused)
{
	const struct node_pool *p = &fleet_pool_of(f, host, pool)->pool;

	*units = p->units;
	*unused = p->free;
}

const struct extent_space *fleet_space(const struct fleet *f, uint32_t host, uint32_t pool)
{
	return fleet_pool_of(f, host, pool)->pool.space;
}

/* ---- to make one ---- */

static uint64_t units_of(const struct fleet_config *c, const struct fleet_node *n)
{
	return (uint64_t)((wide)(n->units - n->reserve - n->huge) * PPM / (PPM - c->overcommit_ppm));
}

static int node_judge(const struct fleet_config *c, const struct fleet_shape *s, uint32_t node, struct failure *f)
{
	const struct fleet_node *n = &s->node[node];

	if (n->units == FLEET_UNBOUNDED && (c->shapes > 1 || s->hosts > 1 || s->nodes > 1))
		return fail(f, EXIT_USAGE, "unbounded memory is for one host with one node alone");
	if (n->units != FLEET_UNBOUNDED && n->reserve >= n->units)
		return fail(f, EXIT_USAGE, "node %u reserves %llu of its %llu units: nothing is left for guests", node,
			    (unsigned long long)n->reserve, (unsigned long long)n->units);
	if (n->units != FLEET_UNBOUNDED && n->huge >= n->units - n->reserve)
		return fail(f, EXIT_USAGE,
			    "node %u keeps %llu of its %llu units for huge pages and %llu for nobody: nothing is left "
			    "for other guests",
			    node, (unsigned long long)n->huge, (unsigned long long)n->units,
			    (unsigned long long)n->reserve);
	if (n->units == FLEET_UNBOUNDED && n->huge > 0)
		return fail(f, EXIT_USAGE, "node %u has no bound: no part of it can be kept for huge pages", node);
	if (n->units >= NODE_POOL_TOP_MAX / 2 || (n->units && units_of(c, n) >= NODE_POOL_TOP_MAX / 2))
		return fail(f, EXIT_USAGE, "node %u has %llu units: 2^39 are the most, overcommitted ones included",
			    node, (unsigned long long)n->units);
	return 0;
}

static int judge(const struct fleet_config *c, uint64_t *hosts, uint64_t *pools, struct failure *f)
{
	wide units = 0;

	*hosts = *pools = 0;
	if (c->overcommit_ppm >= PPM)
		return fail(f, EXIT_USAGE, "guests cannot give back all of their memory: %u millionths",
			    c->overcommit_ppm);
	for (uint32_t i = 0; i < c->shapes; i++) {
		const struct fleet_shape *s = &c->shape[i];

		if (s->nodes == 0 || s->nodes > PLACEMENT_NODES_MAX)
			return fail(f, EXIT_USAGE, "a host has 1 to %u nodes, not %u", PLACEMENT_NODES_MAX, s->nodes);
		*hosts += s->hosts;
		*pools += (uint64_t)s->hosts * s->nodes;
		for (uint32_t n = 0; n < s->nodes; n++) {
			if (node_judge(c, s, n, f))
				return f->code;
			if (s->node[n].units)
				units += (wide)s->hosts * (units_of(c, &s->node[n]) + s->node[n].huge);
		}
	}
	if (units >> 62)
		return fail(f, EXIT_USAGE,
			    "the fleet has 2^62 units or more of memory: a larger granule makes them fewer");
	if (*hosts == 0 || *hosts > FLEET_HOSTS_MAX)
		return fail(f, EXIT_USAGE, "a fleet has 1 to %u hosts, not %llu", FLEET_HOSTS_MAX,
			    (unsigned long long)*hosts);
	return 0;
}

static enum extent_policy fit_of(enum fleet_fit fit)
{
	static const enum extent_policy policy[] = {
		[FLEET_FIT_FIRST] = EXTENT_FIRST_FIT,	 [FLEET_FIT_BEST] = EXTENT_BEST_FIT,
		[FLEET_FIT_WORST] = EXTENT_WORST_FIT,	 [FLEET_FIT_NEXT] = EXTENT_NEXT_FIT,
		[FLEET_FIT_BUDDY] = EXTENT_BUDDY,	 [FLEET_FIT_SEGREGATED] = EXTENT_SEGREGATED,
		[FLEET_FIT_SCATTER] = NODE_POOL_SCATTER,
	};

	return policy[fit];
}

static bool pool_make(struct fleet *f, const struct fleet_config *c, uint64_t units)
{
	struct fleet_pool *p = &f->pool[f->pools];

	if (!node_pool_open(&p->pool, fit_of(c->fit), units))
		return false;
	f->pools++;
	f->totals.units += p->pool.units;
	return true;
}

static bool host_make(struct fleet *f, const struct fleet_config *c, uint32_t shape)
{
	struct fleet_host *h = &f->host[f->hosts];

	*h = (struct fleet_host){.shape = shape, .first = f->pools, .guest = FLEET_GUEST_NONE};
	for (uint32_t i = 0; i < c->shape[shape].nodes; i++) {
		const struct fleet_node *n = &c->shape[shape].node[i];
		struct fleet_pool *p = &f->pool[f->pools];

		p->cpu_millis = p->cpu_free = n->cpu_millis;
		if (!pool_make(f, c, n->units ? units_of(c, n) : NODE_POOL_UNBOUNDED))
			return false;
		f->totals.cpu_millis += unlimited(p) ? 0 : n->cpu_millis;
	}
	for (uint32_t i = 0; f->huge && i < c->shape[shape].nodes; i++)
		if (c->shape[shape].node[i].huge == 0)
			f->pools++; /* nothing, of which nothing is asked */
		else if (!pool_make(f, c, c->shape[shape].node[i].huge))
			return false;
	f->hosts++;
	f->totals.hosts_empty++;
	fleet_recount(f, f->hosts - 1);
	return true;
}

static bool make(struct fleet *f, const struct fleet_config *c)
{
	for (uint32_t i = 0; i < c->shapes; i++) {
		f->shape[i].nodes = c->shape[i].nodes;
		memcpy(f->shape[i].latency_ps, c->shape[i].latency_ps, sizeof(f->shape[i].latency_ps));
		memcpy(f->shape[i].distance, c->shape[i].distance, sizeof(f->shape[i].distance));
		for (uint32_t n = 0; n < c->shape[i].hosts; n++)
			if (!host_make(f, c, i))
				return false;
	}
	return true;
}

static bool has_huge(const struct fleet_config *c)
{
	for (uint32_t i = 0; i < c->shapes; i++)
		for (uint32_t n = 0; n < c->shape[i].nodes; n++)
			if (c->shape[i].node[n].huge > 0)
				return true;
	return false;
}

static bool indices_open(struct fleet *f, uint64_t hosts)
{
	const struct fleet_config *c = &f->config;
	bool by_free = c->choose == FLEET_BEST && c->nodes != FLEET_NODES_BALANCE;

	for (unsigned huge = 0; huge <= f->huge; huge++)
		if (!host_index_open(&f->index[huge], (uint32_t)hosts, by_free, c->lifetimes))
			return false;
	return true;
}

struct fleet *fleet_open(const struct fleet_config *config, struct failure *failure)
{
	uint64_t hosts, pools;
	struct fleet *f;

	if (judge(config, &hosts, &pools, failure))
		return NULL;
	MM_ASSERT(hosts > 0 && pools > 0, hosts, pools);
	f = calloc(1, sizeof(*f));
	if (f) {
		f->config = *config;
		f->config.shape = NULL;
		f->chance = (struct random){config->seed};
		f->piece_free = FLEET_PART_NONE;
		f->huge = has_huge(config);
		f->shape = calloc(config->shapes, sizeof(*f->shape));
		f->host = calloc(hosts, sizeof(*f->host));
		f->pool = calloc(pools << f->huge, sizeof(*f->pool));
		f->until = config->lifetimes ? calloc(hosts, sizeof(*f->until)) : NULL;
	}
	if (!f || !f->shape || !f->host || !f->pool || (config->lifetimes && !f->until) || !indices_open(f, hosts) ||
	    !make(f, config)) {
		fleet_close(f);
		(void)fail(failure, EXIT_HOST, "no memory for the books of %llu hosts", (unsigned long long)hosts);
		return NULL;
	}
	return f;
}

void fleet_close(struct fleet *f)
{
	if (!f)
		return;
	for (uint32_t i = 0; i < f->pools; i++)
		node_pool_close(&f->pool[i].pool);
	host_index_close(&f->index[0]);
	host_index_close(&f->index[1]);
	free(f->shape);
	free(f->host);
	free(f->pool);
	free(f->guest);
	free(f->piece);
	free(f->until);
	free(f->leaves);
	free(f->scratch);
	free(f->move);
	free(f);
}

/* ---- the check ---- */

struct sum { /* of pieces, by pool */
	uint64_t units, cpu_millis;
};

static bool check_pieces(const struct fleet *f, struct sum *sum, struct fleet_totals *t)
{
	uint64_t used = 0, unused = 0;

	for (uint32_t g = 0; g < f->guests_max; g++) {
		if (f->guest[g].part == FLEET_PART_NONE)
			continue;
		t->guests++;
		t->units_asked += f->guest[g].asked;
		t->units_local += f->guest[g].local;
		for (uint32_t i = f->guest[g].part; i != FLEET_PART_NONE; i = f->piece[i].next) {
			const struct fleet_part *part = &f->piece[i].part;
			uint32_t nodes = nodes_of(f, f->guest[g].host);
			uint32_t node = f->host[f->guest[g].host].first + part->node;
			uint32_t pool = f->guest[g].huge ? node + nodes : node;
			struct extent_segment s;

			if (++used > f->pieces_max || part->node >= nodes || (f->guest[g].huge && !f->huge))
				return false;
			sum[pool].units += part->run.units;
			sum[node].cpu_millis += part->cpu_millis;
			t->units_given += part->run.units;
			if (part->run.units > 0 && f->pool[pool].pool.space &&
			    (!extent_segment_at(f->pool[pool].pool.space, part->run.first, &s) || !s.taken ||
			     s.run.first != part->run.first || s.run.units != part->run.units))
				return false; /* F1 */
		}
	}
	for (uint32_t i = f->piece_free; i != FLEET_PART_NONE && unused <= f->pieces_free; i = f->piece[i].next)
		unused++;
	return unused == f->pieces_free && used + unused == f->pieces_max; /* F4 */
}

static bool check_pool(const struct fleet_pool *p, const struct sum *sum, struct fleet_totals *t)
{
	t->units += p->pool.units;
	if (!unlimited(p)) {
		t->cpu_millis += p->cpu_millis;
		t->cpu_millis_given += sum->cpu_millis;
	}
	return node_pool_check(&p->pool) && p->pool.free + sum->units == p->pool.units &&		       /* F1 */
	       (unlimited(p) ? p->cpu_free == p->cpu_millis : p->cpu_free + sum->cpu_millis == p->cpu_millis); /* F2 */
}

/* F3 of one host */
static bool check_numbers(const struct fleet *f, uint32_t host)
{
	for (unsigned huge = 0; huge <= f->huge; huge++) {
		struct host_numbers is = numbers_of(f, host, huge);
		struct host_numbers known = host_index_numbers(&f->index[huge], host);

		if (memcmp(&is, &known, sizeof(is)) != 0)
			return false;
	}
	return true;
}

/* F4 and F5 of one host; adds its guests. */
static bool check_list(const struct fleet *f, uint32_t host, uint64_t *guests)
{
	uint32_t listed = 0;
	uint64_t until = 0;

	for (uint32_t g = f->host[host].guest; g != FLEET_GUEST_NONE && listed < f->guests_max; g = f->guest[g].after) {
		listed += f->guest[g].host == host;
		until = f->until && f->leaves[g] > until ? f->leaves[g] : until;
	}
	*guests += listed;
	return listed == f->host[host].guests && (!f->until || until == f->until[host]);
}

bool fleet_check(const struct fleet *f)
{
	struct sum *sum = calloc(f->pools, sizeof(*sum));
	struct fleet_totals t = {0};
	uint64_t guests = 0;
	bool right = sum && check_pieces(f, sum, &t);

	for (unsigned huge = 0; right && huge <= f->huge; huge++)
		right = host_index_check(&f->index[huge]);
	for (uint32_t i = 0; right && i < f->pools; i++)
		right = check_pool(&f->pool[i], &sum[i], &t);
	for (uint32_t i = 0; right && i < f->hosts; i++) {
		t.largest_holes += f->host[i].largest;
		t.holes += f->host[i].holes;
		t.hosts_empty += f->host[i].guests == 0;
		right = check_list(f, i, &guests) && check_numbers(f, i);
	}
	free(sum);
	return right && guests == t.guests && memcmp(&t, &f->totals, sizeof(t)) == 0;
}
