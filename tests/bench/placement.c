/* tests/bench/placement.c: what placing one guest costs: mm/placement.h beside a
 * red-black tree (Niels Provos's, <bsd/sys/tree.h>).
 *
 *   placement OUT.json
 *
 * A host of 4 nodes, on which LIVE blocks of guests live, 1 to 64 granules each. To
 * place a guest is to read each node's figures, choose by a policy, and, on each node
 * that was chosen, to free a random block and to allocate the guest's share, contiguous,
 * by best fit: so that as many live as before. A guest of `local` and `pack` is on one
 * node; of `contract` on two, for 100 ns where 80 are local and 160 remote; of `spread`
 * and `interleave` on four.
 *   "red-black tree"  is told how many granules, finds the smallest hole of LIVE that
 *                     has as many, erases it, inserts another: best fit, once. At most
 *                     4 times that placing a guest may cost, by any policy.
 *   "floor"           erases one that the caller kept, and inserts: nothing is found.
 * The rows "choose" are without a block's freeing and allocating.
 *
 * What it cannot see: what taking the memory itself costs, by far the most of it. */
#include <bsd/sys/tree.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "guests/bench/extents.h"
#include "mm/extent.h"
#include "mm/placement.h"
#include "tests/bench/bench.h"

#define NODES	   4u
#define LIVE	   10000u
#define GRANULE	   (UINT64_C(2) << 20)
#define CPUS	   64u
#define NS	   1000u
#define PAIRS	   1500u
#define CHOICES	   50u
#define META_ALIGN 64u

enum column { SLAT = BENCH_SLAT, FLOOR = BENCH_FLOOR, TREE = BENCH_PEER };
static const char *const peers[] = {"red-black tree", NULL};
/* A guest has 1 to 64 granules for each share, so that blocks stay as long as they were. */
static const uint32_t shares[] = {1, 1, NODES, NODES, 2};
static const char *const policies[] = {"local", "pack", "spread", "interleave", "contract"};

struct hole {
	RB_ENTRY(hole) link;
	uint64_t granules, first;
};

static int hole_order(const struct hole *a, const struct hole *b)
{
	if (a->granules != b->granules)
		return a->granules < b->granules ? -1 : 1;
	return a->first < b->first ? -1 : a->first > b->first;
}

RB_HEAD(tree, hole);
RB_GENERATE_INTERNAL(tree, hole, link, hole_order, static __attribute__((unused)))

struct placing {
	struct placement_host host;
	enum placement_policy policy;
	bool choose_only;
	struct extents node[NODES];
	struct tree tree;
	struct hole *holes; /* [LIVE]; NULL: nothing of this is made yet */
	uint64_t state;	    /* of the random numbers */
};

static void make_tree(struct placing *c)
{
	RB_INIT(&c->tree);
	c->holes = calloc(LIVE, sizeof(*c->holes));
	if (!c->holes)
		bench_refuse("the host has no memory for this", NULL);
	for (uint32_t i = 0; i < LIVE; i++) {
		c->holes[i].granules = 1 + loop_random(&c->state, 64);
		c->holes[i].first = loop_random(&c->state, UINT32_MAX);
		RB_INSERT(tree, &c->tree, &c->holes[i]);
	}
}

static void make_node(struct extents *x)
{
	struct extent_config config;
	size_t bytes;
	void *meta;

	x->policy = EXTENT_BEST_FIT;
	x->live = LIVE / NODES;
	config = extents_config(x);
	bytes = (extent_config_bytes(&config) + META_ALIGN - 1) / META_ALIGN * META_ALIGN;
	meta = aligned_alloc(META_ALIGN, bytes);
	x->extent = calloc(x->live, sizeof(*x->extent));
	if (!meta || !x->extent || extent_init(meta, bytes, &config, &x->space) != MM_OK)
		bench_refuse("the host has no memory for this", NULL);
	if (!extents_settle(x))
		bench_refuse("an extent that was given is not taken back", NULL);
}

static void make_host(struct placement_host *h, uint32_t nodes)
{
	h->nodes = nodes;
	for (uint32_t i = 0; i < nodes; i++) {
		h->node[i] = (struct placement_node){
			.free_bytes = 640 * GRANULE, .largest_hole = 64 * GRANULE, .cpus_free = CPUS, .cpus_all = CPUS};
		h->node[i].allowed = true;
		for (uint32_t j = 0; j < nodes; j++) {
			h->latency_ps[i][j] = (i == j ? 80 : 160) * NS;
			h->distance[i][j] = i == j ? 10 : 20;
		}
	}
}

static void make(struct placing *c)
{
	c->state = 1;
	make_tree(c);
	make_host(&c->host, NODES);
	for (uint32_t i = 0; i < NODES; i++)
		make_node(&c->node[i]);
}

static void free_and_take(struct placing *c, uint32_t node, uint64_t granules)
{
	struct extents *x = &c->node[node];
	struct extent *one = &x->extent[loop_random(&c->state, x->live)];
	struct extent_request ask = {.units = granules};

	if ((one->units && extent_free(x->space, *one) != MM_OK) || extent_alloc(x->space, &ask, one) != MM_OK)
		bench_refuse("a node has not got what it was chosen for", NULL);
}

static bool place(struct placing *c)
{
	struct placement_guest guest = {
		.granule = GRANULE, .cpus = 4, .contiguous = true, .policy = c->policy, .latency_ps = 100 * NS};
	struct placement p;

	guest.bytes = GRANULE * shares[c->policy] * (1 + loop_random(&c->state, 64));
	for (uint32_t i = 0; i < NODES; i++) {
		c->host.node[i].free_bytes = extent_units_free(c->node[i].space) * GRANULE;
		c->host.node[i].largest_hole = extent_room(c->node[i].space) * GRANULE;
	}
	if (placement_choose(&c->host, &guest, &p) != PLACEMENT_OK)
		return false;
	for (uint32_t i = 0; i < NODES && !c->choose_only; i++) {
		if (p.share[i].bytes)
			free_and_take(c, i, p.share[i].bytes / GRANULE);
	}
	return true;
}

static void replace(struct placing *c, bool find)
{
	struct hole *one = &c->holes[loop_random(&c->state, LIVE)], sought = {.granules = one->granules};

	if (find)
		one = RB_NFIND(tree, &c->tree, &sought);
	RB_REMOVE(tree, &c->tree, one);
	one->granules = 1 + loop_random(&c->state, 64);
	one->first = loop_random(&c->state, UINT32_MAX);
	RB_INSERT(tree, &c->tree, one);
}

static double round_of_guests(void *self, unsigned column)
{
	struct placing *c = self;
	uint32_t refused = 0;
	double start;

	if (!c->holes)
		make(c);
	start = bench_ns();
	for (uint32_t i = 0; i < PAIRS; i++) {
		if (column == SLAT)
			refused += !place(c);
		else
			replace(c, column == TREE);
	}
	if (refused > PAIRS / EXTENTS_REFUSED)
		bench_refuse("too many guests find no place", policies[c->policy]);
	return (bench_ns() - start) / PAIRS;
}

struct wide {
	struct placement_host host;
	struct placement_guest guest;
};

static double round_of_choices(void *self, unsigned column)
{
	const struct wide *c = self;
	struct placement p;
	double start = bench_ns();

	if (column != SLAT)
		return NAN;
	for (uint32_t i = 0; i < CHOICES; i++) {
		if (placement_choose(&c->host, &c->guest, &p) != PLACEMENT_OK)
			bench_refuse("a guest finds no place", policies[c->guest.policy]);
	}
	return (bench_ns() - start) / CHOICES;
}

static void time_wide(struct bench *b, enum placement_policy policy)
{
	static struct wide c;
	char name[64];

	make_host(&c.host, PLACEMENT_NODES_MAX);
	c.guest = (struct placement_guest){.bytes = 6400 * GRANULE, .granule = GRANULE, .cpus = 256, .policy = policy};
	c.guest.latency_ps = 160 * NS;
	snprintf(name, sizeof(name), "choose, %s, %u nodes", policies[policy], PLACEMENT_NODES_MAX);
	bench_case(b, name, "ns/guest", round_of_choices, &c);
}

int main(int argc, char **argv)
{
	static struct placing cases[2][PLACEMENT_CONTRACT + 1];
	struct bench_item items[2 * (PLACEMENT_CONTRACT + 1)];
	static char names[2 * (PLACEMENT_CONTRACT + 1)][64];
	uint32_t n = 0;
	struct bench b;

	if (argc != 2)
		bench_refuse("placement OUT.json", NULL);
	bench_pin(0);
	bench_open(&b, peers);
	printf("red-black tree (/ peer: at most 4): find the best fit, erase it, insert another\n");
	for (uint32_t only = 0; only < 2; only++) {
		for (uint32_t policy = 0; policy <= PLACEMENT_CONTRACT; policy++) {
			struct placing *c = &cases[only][policy];

			c->policy = (enum placement_policy)policy;
			c->choose_only = only;
			snprintf(names[n], sizeof(names[n]), "%s, %s, %u nodes, %u live", only ? "choose" : "place",
				 policies[policy], NODES, LIVE);
			items[n] = (struct bench_item){names[n], "ns/guest", round_of_guests, c};
			n++;
		}
	}
	bench_cases(&b, items, n);
	for (uint32_t policy = PLACEMENT_PACK; policy <= PLACEMENT_CONTRACT; policy++)
		time_wide(&b, (enum placement_policy)policy);
	return bench_close(&b, argv[1]);
}
