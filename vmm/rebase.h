/* vmm/rebase.h: the physical addresses of the huge pages of 1 GiB that a table's leaves lie on, instead of the
 * numbers of slat's that the leaves have. Theory: top of rebase.c. Threads: one; no other changes the table. */
#ifndef SLAT_VMM_REBASE_H
#define SLAT_VMM_REBASE_H

#include "mm/pagetable.h"
#include "vmm/host.h"

struct rebase {
	struct memory *memory;
	const struct host *host;
	bool any;	/* some pool has such pages */
	uint64_t *page; /* of all pools' such pages in turn: physical address, or 0; NULL: none is known */
	uint64_t start[HOST_POOLS_MAX]; /* by pool: where its pages begin */
};

/* Of the pages that the table maps; those that nobody touched yet are brought in: the guest was given them, and without
 * a page there is no address. pagemap: /proc/self/pagemap, opened by one who may see frame numbers. EXIT_HOST with one
 * sentence iff there are such pages and not all their addresses are known, or one of them is a number of another
 * pool's; then none is. */
int rebase_open(struct rebase *r, struct memory *memory, const struct host *host, const struct pagetable *table,
		int pagemap, struct failure *f);
void rebase_close(struct rebase *r);

/* What a leaf at that address of the table is to have: the same iff it lies on no such page. O(pools). */
uint64_t rebase_address(const struct rebase *r, uint64_t address);

#endif
