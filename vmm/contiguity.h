/* vmm/contiguity.h: how contiguous memory physically is: the host's own frames, as
 * pagemap tells them to those who may know, and not the numbers of a pool.
 * Threads: one per descriptor. */
#ifndef SLAT_VMM_CONTIGUITY_H
#define SLAT_VMM_CONTIGUITY_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/backing.h"

/* A run is resident memory that follows itself both in the mapping and physically; maximal. */
struct contiguity {
	bool known;	/* false: no permission (CAP_SYS_ADMIN), or no pagemap; all else is 0 then */
	uint64_t bytes; /* resident, without the page of zeros that all share: the sum of the runs */
	uint64_t runs;
	uint64_t largest_bytes; /* run */
};

/* Of [from, from + bytes) of the backing, at this moment: pages may move while one reads. Multiples of 4K.
 * pagemap: /proc/self/pagemap, opened by one who may see frame numbers; -1: there is none. Costs 8 bytes read a page (2
 * MiB a GiB), none for device-dax, which is known without. */
struct contiguity contiguity_read(const struct backing *b, uint64_t from, uint64_t bytes, int pagemap);

#endif
