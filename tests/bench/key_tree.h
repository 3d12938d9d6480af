/* tests/bench/key_tree.h: the peer of what finds its place by a number: a red-black tree
 * of 64-bit keys, Niels Provos's (<bsd/sys/tree.h>). The caller has the nodes. */
#ifndef SLAT_TESTS_BENCH_KEY_TREE_H
#define SLAT_TESTS_BENCH_KEY_TREE_H

#include <bsd/sys/tree.h>
#include <stdint.h>

struct key {
	RB_ENTRY(key) link;
	uint64_t key;
};

static inline int key_order(const struct key *a, const struct key *b)
{
	return a->key < b->key ? -1 : a->key > b->key;
}

RB_HEAD(tree, key);
RB_GENERATE_INTERNAL(tree, key, link, key_order, static __attribute__((unused)))

#endif
