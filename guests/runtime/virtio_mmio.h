/* guests/runtime/virtio_mmio.h: virtio over MMIO, version 2 (VIRTIO 1.2, 4.2). */
#ifndef SLAT_GUESTS_RUNTIME_VIRTIO_MMIO_H
#define SLAT_GUESTS_RUNTIME_VIRTIO_MMIO_H

#include "guests/runtime/virtio.h"

/* Fills in the device number `nth` of the kind out->id, and lets ring 3 at its window; false iff there is none.
 * Ring 0. */
bool virtio_mmio_find(const char *cmdline, unsigned nth, struct virtio_device *out);

#endif
