/* guests/runtime/virtio_behind.h: a device behind the machine's IOMMU for guests
 * whose matter that is not: by the word "iommu" of the command line it is put
 * into a domain that maps all RAM to itself. Without the word nothing is done. */
#ifndef SLAT_GUESTS_RUNTIME_VIRTIO_BEHIND_H
#define SLAT_GUESTS_RUNTIME_VIRTIO_BEHIND_H

#include "guests/runtime/virtio.h"

struct boot_info;

/* Once only. False iff the word is there and no IOMMU is. Ring 0. */
bool virtio_behind_find(const struct boot_info *boot);

/* Before the device's first virtio_begin(). "endpoint=N" of the command line is what the IOMMU calls it, if not what
 * the transport says. False iff the IOMMU refuses; see step_wrong(). Any ring. */
bool virtio_behind_attach(struct virtio_device *device, const struct boot_info *boot);

#endif
