/* vmm/gather.h: RAM for one guest, cut from one pool: in one block, in as few as
 * there have to be, or scattered on purpose. Theory: top of gather.c.
 * Threads: one. */
#ifndef SLAT_VMM_GATHER_H
#define SLAT_VMM_GATHER_H

#include "vmm/host.h"

enum gather_kind { GATHER_REQUIRE, GATHER_PREFER, GATHER_SCATTER };

struct gather_request {
	enum gather_kind kind;
	uint64_t bytes;
	uint64_t extent_bytes; /* GATHER_SCATTER: of each block but the last */
	uint32_t blocks_max;
};

struct block_list { /* in the order of the guest's addresses */
	struct memory *memory;
	struct block *block;
	uint32_t count;
};

const char *gather_kind_name(enum gather_kind kind);

/* How many blocks a pool with so many taken ranges may have to give for that. */
uint32_t gather_blocks_most(const struct gather_request *ask, uint32_t taken);

/* EXIT_HOST with one sentence, and nothing taken, iff the pool has not got it,
 * it would be more than blocks_max blocks, or there is no memory for the list. */
int gather(struct pool *p, struct memory *memory, const struct gather_request *ask, struct block_list *out,
	   struct failure *f);
/* The largest page that any of their pools has; the list is not empty. */
enum pagetable_size block_list_leaf(const struct block_list *l);
void block_list_free(struct block_list *l); /* and every block; fine on a zeroed one */

#endif
