/* vmm/table_pages.h: the pages of one guest's second-level table: one block of
 * frames, handed out in order, those that came back first.
 * Threads: one. O(1). */
#ifndef SLAT_VMM_TABLE_PAGES_H
#define SLAT_VMM_TABLE_PAGES_H

#include "mm/pagetable.h"
#include "vmm/host.h"

struct table_pages {
	struct block block;
	uint64_t used; /* frames of the block that were ever handed out */
	uint64_t back; /* a list through the pages that came back: index + 1; 0 ends it */
};

/* As many as a table over `bytes` of guest memory can need in two ranges with leaves of `leaf` or larger. */
uint64_t table_pages_needed(uint64_t bytes, enum pagetable_size leaf);

/* Borrows the block. */
void table_pages_init(struct table_pages *t, const struct block *block);
struct pagetable_pages table_pages_source(struct table_pages *t);

#endif
