/* mm/pool_tree_impl.h: the fields of struct pool_tree, for pool_tree.c and its own tests. */
#ifndef SLAT_MM_POOL_TREE_IMPL_H
#define SLAT_MM_POOL_TREE_IMPL_H

#include "mm/pool_tree.h"

#define TREE_ASKED_BITS 58u

struct tree_piece { /* before each allocation */
	struct tree_piece *next, *prev;
	struct pool_tree *owner;
	uint64_t asked : TREE_ASKED_BITS;
	uint64_t offset_shift : 64 - TREE_ASKED_BITS; /* the heap below gave 2^this bytes before what is handed out */
};
_Static_assert(sizeof(struct tree_piece) == 32, "an alignment of 32 costs nothing");

struct tree_end { /* what happens at a node's end: something runs, or a child ends */
	struct tree_end *older;
	void (*run)(void *self); /* NULL: this is a child */
	void *self;
};

struct pool_tree {
	struct heap_ops ops;	  /* here, since a table of its own would need relocations */
	struct tree_end as_child; /* in its parent's list */
	struct heap below;
	struct pool_tree *parent; /* NULL: the root */
	struct tree_end *ends;	  /* the youngest */
	struct tree_piece *pieces;
	uint64_t asked, asked_max, given, count, fail_after;
};

#endif
