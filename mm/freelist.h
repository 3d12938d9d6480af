/* mm/freelist.h: the linked-list heap: one run of memory, a header before each
 * block, holes in a list, the first that fits. Theory: top of freelist.c.
 *
 * Memory:  the caller lends all of it; what is kept lies in the blocks themselves.
 * Threads: one at a time, whatever CPU it names.
 * Cost:    an allocation looks at all holes at worst, a free at those below it. */
#ifndef SLAT_MM_FREELIST_H
#define SLAT_MM_FREELIST_H

#include "mm/heap.h"

#define FREELIST_OVERHEAD  16u		       /* bytes before each allocation */
#define FREELIST_BLOCK_MIN 32u		       /* what the smallest takes, that included */
#define FREELIST_BYTES_MAX (UINT64_C(1) << 40) /* of memory lent */

struct freelist; /* opaque; fields in freelist_impl.h; it lies at the start of what was lent */

struct freelist_stats {
	uint64_t holes, holes_max;
	uint64_t largest_hole; /* the largest allocation that has room, at HEAP_ALIGN */
	uint64_t bytes_free;   /* of holes, headers included */
	uint64_t bytes_held_max;
	uint64_t looked_max; /* the most holes that one call has passed */
};

/* Borrows `memory` while *out is in use. `merging` off: a hole stays as small as it
 * was cut, whatever lies beside it: the flaw, to be measured. MM_EINVAL: NULL, not
 * 64-byte aligned, less than 4 KiB or more than FREELIST_BYTES_MAX. A wrong or
 * second free is seen while its header has not been written over. */
MM_MUST_CHECK enum mm_err freelist_init(void *memory, size_t bytes, bool merging, struct heap *out);

struct freelist_stats freelist_stats_read(const struct heap *h); /* O(holes) */

#endif
