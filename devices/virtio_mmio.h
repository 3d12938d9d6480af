/* devices/virtio_mmio.h: the MMIO transport, version 2, of one virtio device.
 * Source: VIRTIO 1.2, 4.2. Threads: as devices/virtio.h. */
#ifndef SLAT_DEVICES_VIRTIO_MMIO_H
#define SLAT_DEVICES_VIRTIO_MMIO_H

#include "devices/device.h"
#include "devices/virtio.h"

struct virtio_mmio {
	struct virtio *virtio; /* borrowed */
	uint32_t device_features_sel, driver_features_sel, queue_sel, shm_sel;
};

/* Fills *device, a window of VIRTIO_MMIO_WINDOW bytes. */
void virtio_mmio_init(struct virtio_mmio *m, struct virtio *virtio, struct device *device);

#endif
