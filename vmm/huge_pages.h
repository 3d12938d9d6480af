/* vmm/huge_pages.h: the host's hugetlb pages, by size and by memory node, as the
 * kernel counts them at this moment.
 * Any thread. */
#ifndef SLAT_VMM_HUGE_PAGES_H
#define SLAT_VMM_HUGE_PAGES_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "mm/pagetable.h"
#include "vmm/failure.h"

#define HUGE_PAGES_ANY UINT_MAX /* instead of a node: all of the host */

struct huge_pages {
	bool known; /* false: this kernel, or this node, has no pages of that size */
	uint64_t total, free;
	uint64_t available; /* free, and promised to nobody: promises are counted for the host only, not by node */
};

/* root: a directory that has a sys/ of its own, for tests; "" is the host. size: PAGETABLE_2M or PAGETABLE_1G. */
struct huge_pages huge_pages_read(const char *root, enum pagetable_size size, unsigned node);

/* Are `asked` pages available on the node? EXIT_HOST iff not: how many are, how many elsewhere, how to get more.
 * option: that asked, "--memory hugepages=on". */
int huge_pages_check(const char *root, enum pagetable_size size, unsigned node, uint64_t asked, const char *option,
		     struct failure *f);

#endif
