/* vmm/pack/live_table_impl.h: for live_table.c and its own tests. */
#ifndef SLAT_VMM_PACK_LIVE_TABLE_IMPL_H
#define SLAT_VMM_PACK_LIVE_TABLE_IMPL_H

#include "vmm/pack/live_table.h"

#define LIVE_NONE  UINT32_MAX
#define LIVE_FREE  UINT32_MAX /* as length: nobody has this number */
#define LIVE_MAX   (UINT32_C(1) << 31)
#define LIVE_NEAR  16u
#define LIVE_FIRST 64u /* entries and buckets at first */

union live_name {
	char near[LIVE_NEAR]; /* up to LIVE_NEAR bytes, and zeros behind */
	char *far;	      /* longer ones */
};

struct live_entry {
	union live_name name;
	uint64_t leaves;
	uint32_t hash, length;
	uint32_t next; /* in its bucket, or of those that are free; LIVE_NONE: the last */
	uint32_t unused;
};

struct live_table {
	struct alloc *alloc;
	struct live_entry *entry; /* by guest number: [0, entries) were given at some time */
	uint32_t *bucket;	  /* the first in each, or LIVE_NONE */
	uint32_t entries, room, buckets /* a power of two */, free;
	uint32_t count, count_max;
	union live_name gone; /* the name of whoever was removed last */
	uint32_t gone_length;
};

#endif
