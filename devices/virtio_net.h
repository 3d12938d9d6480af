/* devices/virtio_net.h: a virtio network device over a backend that moves whole
 * frames. Theory: top of virtio_net.c. Source: VIRTIO 1.2, 5.1.
 * Queues: receive 0, transmit 1, and so on by pairs; then control, with more than one pair. (A driver that takes the
 *         control queue without VIRTIO_NET_F_MQ finds it at 2: 5.1.2.)
 * Threads: as devices/virtio.h; the backend's thread calls the rest with the lock held. */
#ifndef SLAT_DEVICES_VIRTIO_NET_H
#define SLAT_DEVICES_VIRTIO_NET_H

#include "devices/virtio.h"
#include "devices/virtio_net_regs.h"

#define VIRTIO_NET_PAIRS_MAX  4u
#define VIRTIO_NET_QUEUE_SIZE 256u
#define VIRTIO_NET_FRAME_MAX  65550u /* 64 KiB of IP behind an Ethernet header */
#define VIRTIO_NET_SEGMENTS   256u

enum net_sent { NET_SENT, NET_LATER, NET_LOST }; /* NET_LATER: full; virtio_net_writable() will be called */

struct net_backend {
	void *self;
	uint8_t mac[6];
	unsigned pairs;
	bool offloads; /* it understands struct virtio_net_header: checksums and segmentation */
	/* The header (12 bytes, checked: offsets inside the frame) and then the frame's bytes. */
	enum net_sent (*send)(void *self, unsigned pair, const struct virtio_net_header *header,
			      const struct dma_segment *segment, unsigned segments);
	/* One frame into buffer, its header into *header (zeros without offloads): bytes, 0 iff none is there now. */
	size_t (*receive)(void *self, unsigned pair, struct virtio_net_header *header, uint8_t *buffer, size_t size);
	/* Is receive() wanted: does the guest have buffers? The backend polls its descriptor accordingly. */
	void (*want)(void *self, unsigned pair, bool receive, bool writable);
	/* Which pairs the driver uses now. NULL iff pairs is 1. */
	void (*use_pairs)(void *self, unsigned pairs);
	/* Which of VIRTIO_NET_F_GUEST_* the frames of receive() may make use of from now on; at first none. NULL iff
	 * offloads is false. */
	void (*offload)(void *self, uint64_t features);
};

struct virtio_net_config {
	const char *name;
	const struct net_backend *backend; /* borrowed */
	bool packed, platform;
	struct dma *dma; /* [virtio_net_queues()], lent */
	struct irq irq;
	void (*broken)(void *owner, const char *name, const char *why);
	void *owner;
};

struct virtio_net_stats {
	uint64_t sent, sent_bytes, received, received_bytes; /* frames; bytes without the virtio header */
	uint64_t lost; /* frames of either way: no room, the backend's refusal, the driver's mistake */
};

struct virtio_net { /* private but for virtio and stats */
	struct virtio virtio;
	const struct net_backend *backend;
	unsigned pairs;			    /* in use; 0: no driver, or a broken one */
	bool link;			    /* the guest is told that it is up */
	bool full[VIRTIO_NET_PAIRS_MAX];    /* the backend said later */
	bool starved[VIRTIO_NET_PAIRS_MAX]; /* no receive buffer */
	struct virtqueue_chain chain, first;
	struct virtqueue_used used[VIRTQUEUE_SIZE_MAX]; /* the buffers of one frame */
	struct dma_segment segment[VIRTIO_NET_SEGMENTS];
	/* A frame that the guest had no buffers for yet, per pair. */
	struct net_frame {
		size_t bytes; /* 0: none */
		struct virtio_net_header header;
		uint8_t data[VIRTIO_NET_FRAME_MAX];
	} frame[VIRTIO_NET_PAIRS_MAX];
	struct virtio_net_stats stats;
};

static inline unsigned virtio_net_queues(unsigned pairs)
{
	return pairs > 1 ? 2 * pairs + 1 : 2;
}

void virtio_net_init(struct virtio_net *n, const struct virtio_net_config *config);
void virtio_net_readable(struct virtio_net *n, unsigned pair); /* receive() may have a frame */
void virtio_net_writable(struct virtio_net *n, unsigned pair); /* send() may take one again */
void virtio_net_set_link(struct virtio_net *n, bool up);       /* up at first */

#endif
