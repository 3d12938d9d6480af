/* guests/runtime/virtio_iommu.h: an IOMMU over virtio (VIRTIO 1.2, 5.13). One
 * request at a time. Threads: one CPU. Any ring. */
#ifndef SLAT_GUESTS_RUNTIME_VIRTIO_IOMMU_H
#define SLAT_GUESTS_RUNTIME_VIRTIO_IOMMU_H

#include "devices/virtio_iommu_regs.h"
#include "guests/runtime/virtq.h"

#define VIRTIO_IOMMU_FAULTS 16u	   /* that wait at most */
#define VIRTIO_IOMMU_BROKEN 0x100u /* no answer came */
#define VIRTIO_IOMMU_BLANK  0x200u /* one without a status: what a device gives to a request of no known type */

struct virtio_iommu {
	struct virtio_device *device;
	struct virtq requests, events;
	struct virtio_iommu_config_regs config;
	uint8_t *memory; /* a frame: the request, and behind it what the device answers */
	struct virtio_iommu_fault *faults;
};

/* Starts the device over, with these features (bits) of what it offers, and lets it have room for faults. False iff it
 * does not come up. */
bool virtio_iommu_open(struct virtio_iommu *self, struct virtio_device *device, uint64_t features);

/* Any request: `bytes` of it, and then `room` bytes that the device writes before its tail.
 * VIRTIO_IOMMU_S_*, VIRTIO_IOMMU_BLANK or VIRTIO_IOMMU_BROKEN. Behind it virtio_iommu_answer() is what came. */
uint32_t virtio_iommu_ask(struct virtio_iommu *self, const void *request, uint32_t bytes, uint32_t room);
const uint8_t *virtio_iommu_answer(const struct virtio_iommu *self);

/* The same, for each that there is. Ranges are closed, as on the wire. */
uint32_t virtio_iommu_attach(struct virtio_iommu *self, uint32_t domain, uint32_t endpoint, uint32_t flags);
uint32_t virtio_iommu_detach(struct virtio_iommu *self, uint32_t domain, uint32_t endpoint);
uint32_t virtio_iommu_map(struct virtio_iommu *self, uint32_t domain, uint64_t first, uint64_t last, uint64_t phys,
			  uint32_t flags);
uint32_t virtio_iommu_unmap(struct virtio_iommu *self, uint32_t domain, uint64_t first, uint64_t last);
uint32_t virtio_iommu_probe(struct virtio_iommu *self, uint32_t endpoint);

/* The next fault, and its room goes back to the device. False iff there is none. */
bool virtio_iommu_fault_take(struct virtio_iommu *self, struct virtio_iommu_fault *out);

#endif
