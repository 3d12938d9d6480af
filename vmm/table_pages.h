/* vmm/table_pages.h: the pages of one guest's second-level table: the frames of
 * one block, handed out one by one by an allocator of page frames.
 * Threads: the main one. Cost: frames_alloc()'s. */
#ifndef SLAT_VMM_TABLE_PAGES_H
#define SLAT_VMM_TABLE_PAGES_H

#include "mm/frames.h"
#include "mm/pagetable.h"
#include "vmm/host.h"
#include "vmm/memory.h"

struct table_pages { /* it must not move while it is open */
	struct memory *memory;
	struct block block;
	struct frames frames; /* frame n is the block's n-th */
	void *state;	      /* of frames */
};

/* Borrows memory and the block, all of it. EXIT_HOST iff there is no memory for the frames' state. */
int table_pages_open(struct table_pages *t, struct memory *memory, const struct block *block, struct failure *f);
void table_pages_close(struct table_pages *t); /* fine on a zeroed one */
struct pagetable_pages table_pages_source(struct table_pages *t);

#endif
