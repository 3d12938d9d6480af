/* devices/virtio_iommu.h: the requests and events of a virtio IOMMU, over
 * devices/iommu.h. Source: VIRTIO 1.2, 5.13. Its own queues hold gpas. Requests are
 * answered within virtio_notify(): the vCPU that asked finds the answer when it goes on.
 * Threads: as devices/virtio.h, the lock being the one of iommu.h, too. */
#ifndef SLAT_DEVICES_VIRTIO_IOMMU_H
#define SLAT_DEVICES_VIRTIO_IOMMU_H

#include "devices/iommu.h"
#include "devices/virtio.h"

#define VIRTIO_IOMMU_QUEUE_SIZE 128u
#define VIRTIO_IOMMU_PROBE_SIZE 512u

struct virtio_iommu_config {
	const char *name;
	struct iommu *iommu; /* borrowed */
	bool packed;
	struct dma *dma; /* [2], lent; without an endpoint */
	struct irq irq;
	void (*broken)(void *owner, const char *name, const char *why);
	void *owner;
};

struct virtio_iommu_stats {
	uint64_t requests[VIRTIO_IOMMU_T_PROBE + 1]; /* by type; 0: unknown ones */
	uint64_t refused;			     /* answered with another status than OK */
	uint64_t events;
};

struct virtio_iommu { /* private but for virtio and stats */
	struct virtio virtio;
	struct iommu *iommu;
	struct virtqueue_chain chain;
	struct virtio_iommu_stats stats;
};

void virtio_iommu_init(struct virtio_iommu *i, const struct virtio_iommu_config *config);
/* Faults wait: hands them to the driver as far as it has buffers for them. */
void virtio_iommu_deliver(struct virtio_iommu *i);

#endif
