/* vmm/ram.h: the one gate from a guest-physical address to host bytes.
 * Always with a length, through the second-level table; there is no second,
 * length-less way.
 * Threads: any. While the table changes, another thread uses the gate only as a reader
 * of it, between pagetable_enter() and pagetable_leave(): that is how devices do
 * (vmm/dma_ram.h). vCPUs and the debugger use it without, so it changes only while no
 * vCPU runs. */
#ifndef SLAT_VMM_RAM_H
#define SLAT_VMM_RAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mm/pagetable.h"

struct ram {
	const struct pagetable *table;
	uint8_t *host;	    /* hva of the pool's first frame */
	uint64_t host_base; /* hpa of the pool's first frame */
	uint64_t host_bytes;
};

/* The host bytes of [gpa, gpa + *bytes) as far as they are contiguous on the
 * host and allow `rights`; *bytes is lowered to that length. NULL iff not even
 * the first byte is, or *bytes is 0. O(leaves spanned). */
void *ram_span(const struct ram *r, uint64_t gpa, uint64_t *bytes, unsigned rights);

/* The same, but it does not look for the end of what is contiguous for ever: O(1), some hundred leaves at most. */
void *ram_reach(const struct ram *r, uint64_t gpa, uint64_t *bytes, unsigned rights);

/* Copies the whole range (also an empty one), or returns false and has copied
 * nothing: part of it is absent or does not allow it. */
bool ram_read(const struct ram *r, uint64_t gpa, void *to, uint64_t bytes);
bool ram_write(const struct ram *r, uint64_t gpa, const void *from, uint64_t bytes);

/* The same, but read-only leaves take it too: as a ROM is programmed, before the guest runs. */
bool ram_burn(const struct ram *r, uint64_t gpa, const void *from, uint64_t bytes);

/* Is the whole range RAM that allows `rights`? An empty range is. */
bool ram_covers(const struct ram *r, uint64_t gpa, uint64_t bytes, unsigned rights);

#endif
