/* devices/dma.h: the one gate from a device to guest memory. Theory: top of dma.c.
 *
 * A device's queue has an address space: an iova is translated by the endpoint's
 * domain (devices/iommu.h) to a gpa, or is one where there is no IOMMU, and the
 * gpa by the guest's second-level table to host bytes. Permission is checked at
 * both steps. There is no other way, and none without a length.
 *
 * Ranges:  half open, in bytes; [iova, iova + bytes) that wraps is a fault.
 * Threads: one at a time per struct dma (its device's lock); beside it, any
 *          number may change domain and table: what they take away is not used
 *          any more once iommu_unmap(), iommu_detach() or dma_drain() came back.
 * Cost:    a hit in the IOTLB is O(1); a miss is a walk of both tables.
 * Errors:  a range that is not wholly there, or does not allow the access: a
 *          fault. It is counted, told to the IOMMU if there is one, and nothing was
 *          read or written. */
#ifndef SLAT_DEVICES_DMA_H
#define SLAT_DEVICES_DMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "devices/flight.h"

struct iommu_endpoint;

enum dma_access { DMA_READ = 1u << 0, DMA_WRITE = 1u << 1 }; /* what the device does to memory */

/* Guest-physical memory, as the VMM (or a test) gives it. All may be called from any device's thread. */
struct dma_memory {
	void *self;
	/* Host bytes of [gpa, gpa + *bytes) as far as they are contiguous on the host and allow `access`; lowers *bytes
	 * to that. NULL iff not even the first byte does. reader: of the struct dma that asks, its own at any moment.
	 */
	uint8_t *(*span)(void *self, unsigned reader, uint64_t gpa, uint64_t *bytes, unsigned access);
	/* Bytes that must not move: pinned bytes of a block are those given minus those taken back, so two neighbours
	 * may be taken back as one. */
	void (*pin)(void *self, const uint8_t *host, uint64_t bytes);
	void (*unpin)(void *self, const uint8_t *host, uint64_t bytes);
	/* Grows (seq_cst) after each change that took a translation or a right away, before dma_drain() is called. */
	const uint64_t *generation;
};

struct dma_segment {
	uint8_t *host;
	uint64_t bytes;
};

/* Host segments of one request; the array is lent. Neighbours on the host are one segment. */
struct dma_list {
	struct dma_segment *segment;
	unsigned count, room;
	uint64_t bytes;	 /* in all */
	unsigned flight; /* private */
};

#define DMA_PAGE_SHIFT	12u
#define DMA_TLB_SHIFT	8u
#define DMA_TLB_ENTRIES (1u << DMA_TLB_SHIFT)

struct dma_stats {
	uint64_t hits, misses, faults;
	uint64_t copied; /* bytes, by dma_read() and dma_write() */
	uint64_t mapped; /* bytes, by dma_map() */
};

struct dma { /* private but for stats */
	const struct dma_memory *memory;
	struct iommu_endpoint *endpoint; /* NULL: iova is gpa */
	unsigned reader;
	struct dma_tlb_entry {
		uint64_t first, last; /* iova, closed; first > last: empty */
		uint8_t *host;
		unsigned access;
	} tlb[DMA_TLB_ENTRIES];
	uint64_t seen[2]; /* generations of the domain and the memory that the IOTLB is of */
	struct flight flight;
	struct dma_stats stats;
};

/* Private: where the IOTLB has a page. Neighbours lie apart (Fibonacci hashing: Knuth, volume 3, 6.4). */
static inline unsigned dma_tlb_slot(uint64_t iova)
{
	return (unsigned)((iova >> DMA_PAGE_SHIFT) * UINT64_C(0x9e3779b97f4a7c15) >> (64 - DMA_TLB_SHIFT));
}

/* Borrows memory and the endpoint, which learns of it. reader: a number of its own, below what the memory and the
 * IOMMU were made for. */
void dma_init(struct dma *d, const struct dma_memory *memory, struct iommu_endpoint *endpoint, unsigned reader);

/* Copies all of it, or nothing and false: a fault. */
bool dma_read(struct dma *d, uint64_t iova, void *to, uint64_t bytes);
bool dma_write(struct dma *d, uint64_t iova, const void *from, uint64_t bytes);

/* One aligned word, little-endian, in one access: acquire and release. Misaligned is a fault. */
bool dma_load16(struct dma *d, uint64_t iova, uint16_t *out);
bool dma_load32(struct dma *d, uint64_t iova, uint32_t *out);
bool dma_store16(struct dma *d, uint64_t iova, uint16_t value);

enum dma_result {
	DMA_OK,
	DMA_FAULT,
	DMA_BUSY, /* FLIGHT_SLOTS - 1 maps are held: unmap some first */
};

/* Adds the host segments of [iova, iova + bytes) to the list, and holds them: neither domain nor table takes them away
 * until dma_unmap(). As much as the list has room for: *mapped has how much, 0 iff it was full or bytes is 0. On a
 * fault or when busy the list is as it was. */
enum dma_result dma_map(struct dma *d, uint64_t iova, uint64_t bytes, unsigned access, struct dma_list *list,
			uint64_t *mapped);
/* All that the list has; it is empty then. Fine on an empty one. */
void dma_unmap(struct dma *d, struct dma_list *list);

/* Waits until no access to [iova, iova + bytes) that began before the call is under way. Any thread that holds no map.
 * wait: called while there is one; it should sleep a little. */
void dma_drain(const struct dma *d, uint64_t iova, uint64_t bytes, void (*wait)(void *self), void *self);

/* All invariants of dma.c; for a moment when its thread is not in it. */
bool dma_check(const struct dma *d);

#endif
