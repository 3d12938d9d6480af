/* vmm/tap.h: a Linux tap interface, one descriptor a queue pair. Theory: top of tap.c.
 * Threads: tap_open() and tap_close() from the main thread; the rest with the device's lock held.
 * System calls while the guest runs: readv, writev, ioctl (TUNSETOFFLOAD, TUNSETQUEUE). */
#ifndef SLAT_VMM_TAP_H
#define SLAT_VMM_TAP_H

#include <net/if.h>

#include "devices/virtio_net.h"
#include "vmm/failure.h"

struct tap {
	int fd[VIRTIO_NET_PAIRS_MAX];
	unsigned pairs, attached; /* queues that the kernel sends frames to */
	char name[IFNAMSIZ];
	bool gone; /* somebody removed it */
};

/* An interface that is there, or a new one that lasts as long as slat. */
int tap_open(struct tap *t, const char *name, unsigned pairs, struct failure *f);
void tap_close(struct tap *t); /* fine on a zeroed one */

/* As struct net_backend says. */
enum net_sent tap_send(struct tap *t, unsigned pair, const struct virtio_net_header *header,
		       const struct dma_segment *segment, unsigned segments);
size_t tap_receive(struct tap *t, unsigned pair, struct virtio_net_header *header, uint8_t *buffer, size_t size);
void tap_offload(const struct tap *t, uint64_t features);
void tap_use_pairs(struct tap *t, unsigned pairs);

#endif
