/* mm/extent_impl.h: the fields of struct extent_space, for extent.c and its tests alone.
 * Everything is an index or an offset, so the metadata may lie at another
 * address in another process. */
#ifndef SLAT_MM_EXTENT_IMPL_H
#define SLAT_MM_EXTENT_IMPL_H

#include "mm/extent.h"

#define EXTENT_NONE UINT32_MAX /* no node */

enum extent_tree {
	EXTENT_BY_ADDRESS, /* every segment */
	EXTENT_BY_SIZE,	   /* holes only, by (units, first) */
};
#define EXTENT_TREES 2u

/* An AVL tree of n nodes is less than 1.4405 log2(n + 2) high: 46 for 2^32; one more for the link to none. */
#define EXTENT_DEPTH_MAX 48u

struct extent_node {		     /* one segment: a maximal hole or one live extent */
	_Alignas(64) uint64_t first; /* offset from base */
	uint64_t units;		     /* 1 or more; in a spare node 0 */
	uint64_t hole_max;	     /* units of the largest hole in this node's subtree by address; 0: none */
	uint32_t child[EXTENT_TREES][2];
	uint32_t prev, next; /* neighbours in address order; a spare node: next spare in next */
	uint8_t height[EXTENT_TREES];
	bool taken;
};
_Static_assert(sizeof(struct extent_node) == 64, "a node is one cache line");

struct extent_space {
	uint64_t base, units;
	uint64_t units_free, units_free_min;
	uint64_t holes, extents, extents_max;
	uint64_t cursor;     /* next fit: offset where the last extent_alloc() ended */
	uint64_t fail_after; /* 0: no fault to inject */
	uint32_t root[EXTENT_TREES];
	uint32_t segments_max;
	uint32_t fresh;	     /* nodes [fresh, segments_max) were never used */
	uint32_t spare_head; /* nodes used once and given back */
	uint32_t spares;
	struct extent_node nodes[];
};
_Static_assert(sizeof(struct extent_space) == 128, "nodes start on a cache line");

#endif
