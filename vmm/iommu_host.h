/* vmm/iommu_host.h: what an IOMMU (devices/iommu.h) wants of its host: memory for the
 * tables of its domains, patience, and somebody who is told of faults.
 * Threads: open and close from the main thread; the rest is the IOMMU's. Theory: top of iommu_host.c. */
#ifndef SLAT_VMM_IOMMU_HOST_H
#define SLAT_VMM_IOMMU_HOST_H

#include "devices/iommu.h"
#include "vmm/failure.h"
#include "vmm/memory.h"
#include "vmm/table_pages.h"

struct iommu_host { /* it must not move while it is open */
	struct iommu iommu;
	struct memory *memory;
	void *arena;
	uint64_t arena_bytes;
	struct table_pages pages;
	int event_fd;	/* readable: a fault waits (iommu_next_fault()) */
	unsigned waits; /* in a row */
	uint64_t waited_ns;
};

/* NULL iff there is no memory, or the host has no room for the tables. */
struct iommu_host *iommu_host_open(struct memory *memory, uint64_t ram_bytes, bool bypass, struct failure *f);
void iommu_host_close(struct iommu_host *h); /* NULL is fine; no device uses it any more */

#endif
