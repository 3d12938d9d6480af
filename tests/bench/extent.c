/* tests/bench/extent.c: what an extent costs: mm/extent.h by each policy, beside
 * a red-black tree (Niels Provos's, <bsd/sys/tree.h>) of as many nodes as there
 * are live extents.
 *
 *   extent OUT.json
 *
 * A pair is guests/bench/extents.h's: a random live extent is freed, and one of a
 * random length allocated in its place, in a space as full as is said there; for
 * the tree: a random one of its keys is erased, and a random new key inserted. Two
 * columns are of that tree:
 *   "red-black tree"  find, erase, insert: extent_free() is told where the extent
 *                     lies and has to find it, and so has the tree, which is told
 *                     the key. That is the same work, and the peer that best fit
 *                     is judged by: its pair may cost no more from 10^3 live on.
 *   "floor"           erase, insert: the caller kept the node, nothing need be
 *                     found. No interface that takes addresses can have that.
 * The first ratio of a row is to the floor, the last one to the peer.
 *
 * "worst": of a hundred thousand single operations the one that took longest, in
 * the round in which that was shortest (an interrupt of the machine is no
 * operation's own). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guests/bench/extents.h"
#include "guests/bench/loops.h"
#include "mm/extent.h"
#include "tests/bench/bench.h"
#include "tests/bench/key_tree.h"

#define LIVE_MAX   1000000u
#define META_ALIGN 64u

enum column { SLAT = BENCH_SLAT, FLOOR = BENCH_FLOOR, TREE = BENCH_PEER, COLUMNS };
static const char *const peers[] = {"red-black tree", NULL};

struct extent_case {
	struct extents x; /* its space NULL: not made yet */
	void *meta;
	struct tree tree;
	struct key *keys; /* [x.live] */
};

static uint64_t random_key(uint64_t *state)
{
	uint64_t high = loop_random(state, UINT32_MAX);

	return high << 32 | loop_random(state, UINT32_MAX);
}

static void make_tree(struct extent_case *c)
{
	uint64_t state = 1;

	RB_INIT(&c->tree);
	for (uint32_t i = 0; i < c->x.live; i++) {
		c->keys[i].key = random_key(&state);
		RB_INSERT(tree, &c->tree, &c->keys[i]);
	}
}

static void make(struct extent_case *c)
{
	struct extent_config config = extents_config(&c->x);
	size_t bytes = extent_config_bytes(&config);

	c->meta = aligned_alloc(META_ALIGN, (bytes + META_ALIGN - 1) / META_ALIGN * META_ALIGN);
	c->x.extent = calloc(c->x.live, sizeof(*c->x.extent));
	c->keys = calloc(c->x.live, sizeof(*c->keys));
	if (!c->meta || !c->x.extent || !c->keys || extent_init(c->meta, bytes, &config, &c->x.space) != MM_OK)
		bench_refuse("the host has no memory for this", NULL);
	make_tree(c);
	if (!extents_settle(&c->x) || !extent_check(c->x.space))
		bench_refuse("an invariant of the extents is broken", extents_policy_name(c->x.policy));
}

static void unmake(struct extent_case *c)
{
	free(c->meta);
	free(c->x.extent);
	free(c->keys);
	c->x.space = NULL;
}

static void pair_of_tree(struct extent_case *c, bool find)
{
	struct key *k = &c->keys[loop_random(&c->x.state, c->x.live)], sought = {.key = k->key};

	if (find)
		k = RB_FIND(tree, &c->tree, &sought);
	RB_REMOVE(tree, &c->tree, k);
	k->key = random_key(&c->x.state);
	RB_INSERT(tree, &c->tree, k);
}

static void pair(struct extent_case *c, unsigned column, uint32_t *refused)
{
	if (column != SLAT)
		pair_of_tree(c, column == TREE);
	else if (!extents_replace(&c->x, refused))
		bench_refuse("an extent that was given is not taken back", NULL);
}

static double round_of_pairs(void *self, unsigned column)
{
	struct extent_case *c = self;
	uint32_t pairs = extents_pairs(c->x.live), refused = 0;
	double start;

	if (!c->x.space)
		make(c);
	start = bench_ns();
	for (uint32_t i = 0; i < pairs; i++)
		pair(c, column, &refused);
	if (refused > pairs / EXTENTS_REFUSED)
		bench_refuse("too many requests find no hole", extents_policy_name(c->x.policy));
	return (bench_ns() - start) / pairs;
}

static void time_pairs(struct bench *b, struct extent_case *c)
{
	char name[64];

	snprintf(name, sizeof(name), "%s, %s, %u live", extents_policy_name(c->x.policy),
		 extents_lengths_name(c->x.tail), c->x.live);
	bench_case(b, name, "ns/pair", round_of_pairs, c);
}

static void count_bytes(struct bench *b, const struct extent_case *c)
{
	struct extent_config config = extents_config(&c->x);
	double values[COLUMNS] = {
		[SLAT] = (double)extent_config_bytes(&config) / c->x.live, [FLOOR] = NAN, [TREE] = sizeof(struct key)};
	char name[64];

	snprintf(name, sizeof(name), "metadata, %s, %u live", extents_policy_name(c->x.policy), c->x.live);
	bench_fact(b, name, "bytes/extent", values);
}

#define WORST_ROUNDS 5u
#define WORST_PAIRS  100000u

static double worst_of_round(struct extent_case *c, unsigned column)
{
	uint64_t worst = 0;
	uint32_t refused = 0;

	for (uint32_t i = 0; i < WORST_PAIRS; i++) {
		uint64_t start = bench_ticks(), ticks;

		pair(c, column, &refused);
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
	snprintf(name, sizeof(name), "worst pair, %s, %u live", extents_policy_name(c->x.policy), c->x.live);
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
			struct extent_case c = {.x = {.policy = (enum extent_policy)policy, .live = live}};

			/* The others on one mix and every second size: a run is to end. */
			if (policy != EXTENT_BEST_FIT && live != 1000 && live != 100000 && live != LIVE_MAX)
				continue;
			for (unsigned i = 0; i < (policy == EXTENT_BEST_FIT ? 2u : 1u); i++) {
				c.x.tail = i > 0;
				time_pairs(&b, &c);
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
