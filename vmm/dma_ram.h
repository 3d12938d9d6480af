/* vmm/dma_ram.h: a guest's RAM as devices see it: struct dma_memory over the
 * second-level table, with the pins of each block. Theory: top of dma_ram.c.
 *
 * Threads: open and close from the main thread while no device is; the rest from any.
 *          Reader r is one thread's at a time (a device's lock). */
#ifndef SLAT_VMM_DMA_RAM_H
#define SLAT_VMM_DMA_RAM_H

#include "devices/dma.h"
#include "mm/pagetable.h"
#include "vmm/abi.h"
#include "vmm/failure.h"
#include "vmm/host.h"
#include "vmm/memory.h"
#include "vmm/ram.h"

#define DMA_RAM_READERS ABI_VIRTIO_MAX /* one a device: its queues share a lock */

struct dma_ram_block {
	const uint8_t *host; /* [host, host + bytes) */
	uint64_t bytes;
	uint32_t number;       /* in the guest's order */
	uint64_t pinned, most; /* atomic: bytes that DMA is using, and were at most */
};

struct dma_ram {
	struct pagetable_reader reader[DMA_RAM_READERS]; /* of the table that ram looks at */
	const struct ram *ram;
	struct memory *memory;
	uint64_t generation; /* atomic */
	uint32_t blocks;
	struct dma_ram_block *block; /* by host address; disjoint */
};

/* Before the table is made: it is to know the readers. Borrows memory, and ram, which may be filled in later. NULL
 * and EXIT_HOST iff there is no memory. */
struct dma_ram *dma_ram_open(struct memory *memory, const struct ram *ram, const struct block *block, uint32_t blocks,
			     struct failure *f);
void dma_ram_close(struct dma_ram *d); /* NULL is fine. All has been unpinned by then: else it is slat's own bug */

struct dma_memory dma_ram_memory(struct dma_ram *d);

/* The table took something away, or a right to it: call it behind the change, and drain the devices' queues
 * (dma_drain()) then. From then on no device uses what is gone. */
void dma_ram_taken(struct dma_ram *d);

/* Is any byte of the guest's block in use by DMA? Who is to move it asks when no device can begin a new one. */
bool dma_ram_pinned(const struct dma_ram *d, uint32_t number);

/* All invariants of dma_ram.c. */
bool dma_ram_check(const struct dma_ram *d);

#endif
