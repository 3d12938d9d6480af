/* mm/pool_tree.h: pools with parents: what is allocated in one lives no longer than
 * it, and it no longer than its parent. Theory and invariants: top of pool_tree.c.
 *
 * Memory:  all from the heap below, the nodes too.
 * Threads: one at a time for a whole tree.
 * Errors:  NULL, false or the codes listed; on error nothing changes. */
#ifndef SLAT_MM_POOL_TREE_H
#define SLAT_MM_POOL_TREE_H

#include "mm/heap.h"

struct pool_tree; /* one node; opaque; fields in pool_tree_impl.h */

/* A node over `below` (copied); NULL iff that has no room. */
struct pool_tree *pool_tree_root(const struct heap *below, unsigned cpu);

/* A node that ends with its parent, at the latest. */
struct pool_tree *pool_tree_child(struct pool_tree *parent, unsigned cpu);

/* Bytes of this node: they may be freed one by one, and are when it ends. Whoever
 * fails heap_fail_after() fails this node's alone. */
struct heap pool_tree_heap(struct pool_tree *t);

/* run(self) is called once when the node ends or is cleared: children and these, the
 * youngest first; the node's memory is all there still. MM_ENOMEM: no room. */
MM_MUST_CHECK enum mm_err pool_tree_at_end(struct pool_tree *t, unsigned cpu, void (*run)(void *self), void *self);

/* The youngest such is not called any more. MM_ENOENT: there is none. O(of them and children). */
MM_MUST_CHECK enum mm_err pool_tree_cancel(struct pool_tree *t, unsigned cpu, void (*run)(void *self), void *self);

/* Ends all that is below and in the node; O(of that), no recursion. What runs at the
 * end may free this node's bytes, and allocate, but end nothing of the same tree. */
void pool_tree_clear(struct pool_tree *t, unsigned cpu);

/* The same, and the node itself is gone. */
void pool_tree_destroy(struct pool_tree *t, unsigned cpu);

bool pool_tree_check(const struct pool_tree *t); /* all invariants, of the whole subtree */

#endif
