/* guests/runtime/virtio_pci.h: virtio over PCI, modern devices (VIRTIO 1.2, 4.1), on
 * the first bus, by configuration mechanism 1. The firmware has placed the BARs. */
#ifndef SLAT_GUESTS_RUNTIME_VIRTIO_PCI_H
#define SLAT_GUESTS_RUNTIME_VIRTIO_PCI_H

#include "guests/runtime/virtio.h"

/* Fills in the device number `nth` of the kind out->id, and lets ring 3 at its
 * registers; false iff there is none, or its registers are not all there. Ring 0. */
bool virtio_pci_find(unsigned nth, struct virtio_device *out);

#endif
