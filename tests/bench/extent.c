/* tests/bench/extent.c: what an extent costs: mm/extent.h by each policy, beside
 * a red-black tree (Niels Provos's, <bsd/sys/tree.h>) of as many nodes as there
 * are live extents.
 *
 *   extent OUT.json
 *
 * A pair is: a random live extent is freed, and one of a random length allocated
 * in its place; for the tree: a random one of its keys is erased, and a random new
 * key inserted. Two columns are of that tree:
 *   "red-black tree"  find, erase, insert: extent_free() is told where the extent
 *                     lies and has to find it, and so has the tree, which is told
 *                     the key. That is the same work, and the peer that best fit
 *                     is judged by: its pair may cost no more from 10^3 live on.
 *   "floor"           erase, insert: the caller kept the node, nothing need be
 *                     found. No interface that takes addresses can have that.
 * The first ratio of a row is to the floor, the last one to the peer.
 *
 * Lengths: "1 to 64", all as likely; "long tail", each doubling of the length half
 * as likely as the one before, up to 2^17. The space has room for a quarter more
 * than is live (with policies that waste more, one and a half times as much).
 * Before the first round every extent was replaced some five times.
 *
 * "worst": of a hundred thousand single operations the one that took longest, in
 * the round in which that was shortest (an interrupt of the machine is no
 * operation's own). */
#include <bsd/sys/tree.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guests/bench/loops.h"
#include "mm/extent.h"
#include "tests/bench/bench.h"

#define LIVE_MAX   1000000u
#define META_ALIGN 64u
#define SETTLE	   5u
#define TAIL_MAX   16u /* doublings */

enum column { SLAT = BENCH_SLAT, FLOOR = BENCH_FLOOR, TREE = BENCH_PEER, COLUMNS };
static const char *const peers[] = {"red-black tree", NULL};

struct key {
	RB_ENTRY(key) link;
	uint64_t key;
};

static int key_order(const struct key *a, const struct key *b)
{
	return a->key < b->key ? -1 : a->key > b->key;
}

RB_HEAD(tree, key);
RB_GENERATE_INTERNAL(tree, key, link, key_order, static __attribute__((unused)))

struct extent_case {
	enum extent_policy policy;
	bool tail;
	uint32_t live;
	struct extent_space *space; /* NULL: not made yet */
	struct extent *extents;
	void *meta;
	struct tree tree;
	struct key *keys;
	uint64_t state;
};

static const struct {
	const char *name;
	bool tail;
} lengths[] = {{"1 to 64", false}, {"long tail", true}};

static const char *const policies[EXTENT_POLICIES] = {
	[EXTENT_FIRST_FIT] = "first fit", [EXTENT_BEST_FIT] = "best fit", [EXTENT_WORST_FIT] = "worst fit",
	[EXTENT_NEXT_FIT] = "next fit",	  [EXTENT_BUDDY] = "buddy",	  [EXTENT_SEGREGATED] = "segregated",
};

static uint64_t random_key(uint64_t *state)
{
	uint64_t high = loop_random(state, UINT32_MAX);

	return high << 32 | loop_random(state, UINT32_MAX);
}

static uint64_t random_length(uint64_t *state, bool tail)
{
	uint32_t most = 1;

	if (!tail)
		return 1 + loop_random(state, 64);
	most <<= __builtin_ctz(loop_random(state, UINT32_C(1) << TAIL_MAX) | UINT32_C(1) << TAIL_MAX);
	return most + loop_random(state, most);
}

static bool replace(struct extent_case *c)
{
	struct extent *x = &c->extents[loop_random(&c->state, c->live)];
	struct extent_request ask = {.units = random_length(&c->state, c->tail)};

	if (x->units && extent_free(c->space, *x) != MM_OK)
		bench_refuse("an extent that was given is not taken back", NULL);
	x->units = 0;
	return extent_alloc(c->space, &ask, x) == MM_OK;
}

/* Buddy and segregated lengths are rounded up, and a split of the former leaves a run an order. */
static uint32_t segments_of(const struct extent_case *c)
{
	return c->policy == EXTENT_BUDDY ? 4 * c->live + 256 : 2 * c->live + 1;
}

static struct extent_config config_of(const struct extent_case *c)
{
	uint64_t mean = c->tail ? TAIL_MAX * 3 / 4 + 1 : 33;
	uint64_t room = c->policy == EXTENT_FIRST_FIT || c->policy == EXTENT_BEST_FIT ? 1 : 2;

	return (struct extent_config){.units = c->live * mean * room * 5 / 4 + (c->tail ? 1U << (TAIL_MAX + 2) : 0),
				      .segments_max = segments_of(c),
				      .policy = c->policy};
}

static void make(struct extent_case *c)
{
	struct extent_config config = config_of(c);
	size_t bytes = extent_config_bytes(&config);
	uint64_t state = 1;

	c->state = 1;
	c->meta = aligned_alloc(META_ALIGN, (bytes + META_ALIGN - 1) / META_ALIGN * META_ALIGN);
	c->extents = calloc(c->live, sizeof(*c->extents));
	c->keys = calloc(c->live, sizeof(*c->keys));
	if (!c->meta || !c->extents || !c->keys || extent_init(c->meta, bytes, &config, &c->space) != MM_OK)
		bench_refuse("the host has no memory for this", NULL);
	RB_INIT(&c->tree);
	for (uint32_t i = 0; i < c->live; i++) {
		struct extent_request ask = {.units = random_length(&c->state, c->tail)};

		if (extent_alloc(c->space, &ask, &c->extents[i]) != MM_OK)
			c->extents[i].units = 0;
		c->keys[i].key = random_key(&state);
		RB_INSERT(tree, &c->tree, &c->keys[i]);
	}
	for (uint32_t i = 0; i < SETTLE * c->live; i++)
		replace(c);
	if (!extent_check(c->space))
		bench_refuse("an invariant of the extents is broken", policies[c->policy]);
}

static void unmake(struct extent_case *c)
{
	free(c->meta);
	free(c->extents);
	free(c->keys);
	c->space = NULL;
}

static void pair_of_tree(struct extent_case *c, bool find)
{
	struct key *k = &c->keys[loop_random(&c->state, c->live)], sought = {.key = k->key};

	if (find)
		k = RB_FIND(tree, &c->tree, &sought);
	RB_REMOVE(tree, &c->tree, k);
	k->key = random_key(&c->state);
	RB_INSERT(tree, &c->tree, k);
}

static double round_of_pairs(void *self, unsigned column)
{
	struct extent_case *c = self;
	uint32_t pairs = c->live < 20000 ? 20000 : c->live / 4, refused = 0;
	double start;

	if (!c->space)
		make(c);
	start = bench_ns();
	for (uint32_t i = 0; i < pairs; i++) {
		if (column == SLAT)
			refused += !replace(c);
		else
			pair_of_tree(c, column == TREE);
	}
	if (refused > pairs / 50) /* what is refused costs less */
		bench_refuse("too many requests find no hole", policies[c->policy]);
	return (bench_ns() - start) / pairs;
}

static void time_pairs(struct bench *b, struct extent_case *c, unsigned which)
{
	char name[64];

	snprintf(name, sizeof(name), "%s, %s, %u live", policies[c->policy], lengths[which].name, c->live);
	bench_case(b, name, "ns/pair", round_of_pairs, c);
}

static void count_bytes(struct bench *b, const struct extent_case *c)
{
	struct extent_config config = config_of(c);
	double values[COLUMNS] = {
		[SLAT] = (double)extent_config_bytes(&config) / c->live, [FLOOR] = NAN, [TREE] = sizeof(struct key)};
	char name[64];

	snprintf(name, sizeof(name), "metadata, %s, %u live", policies[c->policy], c->live);
	bench_fact(b, name, "bytes/extent", values);
}

#define WORST_ROUNDS 5u
#define WORST_PAIRS  100000u

static double worst_of_round(struct extent_case *c, unsigned column)
{
	uint64_t worst = 0;

	for (uint32_t i = 0; i < WORST_PAIRS; i++) {
		uint64_t start = bench_ticks(), ticks;

		if (column == SLAT)
			replace(c);
		else
			pair_of_tree(c, column == TREE);
		ticks = bench_ticks() - start;
		worst = ticks > worst ? ticks : worst;
	}
	return (double)worst * bench_tick_ns();
}

static void time_worst(struct bench *b, struct extent_case *c)
{
	double values[COLUMNS] = {INFINITY, INFINITY, INFINITY};
	char name[64];

	for (unsigned round = 0; round < WORST_ROUNDS; round++) {
		for (unsigned column = 0; column < COLUMNS; column++)
			values[column] = fmin(values[column], worst_of_round(c, column));
	}
	snprintf(name, sizeof(name), "worst pair, %s, %u live", policies[c->policy], c->live);
	bench_fact(b, name, "ns", values);
}

int main(int argc, char **argv)
{
	struct bench b;

	if (argc != 2)
		bench_refuse("extent OUT.json", NULL);
	bench_pin(0);
	bench_open(&b, peers);
	printf("red-black tree (/ peer, what best fit is judged by): find, erase, insert, as extent_free() is told an "
	       "address\n"
	       "floor (/ floor): erase, insert of a node that the caller kept\n");
	for (unsigned policy = 0; policy < EXTENT_POLICIES; policy++) {
		for (uint32_t live = 100; live <= LIVE_MAX; live *= 10) {
			struct extent_case c = {.policy = (enum extent_policy)policy, .live = live};

			/* The others on one mix and every second size: a run is to end. */
			if (policy != EXTENT_BEST_FIT && live != 1000 && live != 100000 && live != LIVE_MAX)
				continue;
			for (unsigned i = 0; i < (policy == EXTENT_BEST_FIT ? 2u : 1u); i++) {
				c.tail = lengths[i].tail;
				time_pairs(&b, &c, i);
				if (i == 0 && live == LIVE_MAX) {
					count_bytes(&b, &c);
					time_worst(&b, &c);
				}
				unmake(&c);
			}
		}
	}
	return bench_close(&b, argv[1]);
}
