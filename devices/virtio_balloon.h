/* devices/virtio_balloon.h: a virtio memory balloon with statistics, deflation on
 * out of memory and free page reporting. Theory: top of virtio_balloon.c.
 * Source: VIRTIO 1.2, 5.5. It is never behind an IOMMU: Linux's driver masks
 * ACCESS_PLATFORM and its queues hold gpas. Queues are numbered densely over
 * what was negotiated (5.5.2): inflate 0, deflate 1, then statistics, then reporting.
 * Threads: as devices/virtio.h. */
#ifndef SLAT_DEVICES_VIRTIO_BALLOON_H
#define SLAT_DEVICES_VIRTIO_BALLOON_H

#include "devices/virtio.h"
#include "devices/virtio_balloon_regs.h"

#define VIRTIO_BALLOON_QUEUE_SIZE 128u /* Linux wants 32 or more for reporting */

struct balloon_ops { /* runs of guest memory, in bytes; never empty; checked to be multiples of 4K, not to be RAM */
	/* The guest gave it up: its content is lost. The host takes back what whole pages of its own lie in it (and,
	 * with what was given before, come together); how many bytes that were. */
	uint64_t (*give)(void *owner, uint64_t gpa, uint64_t bytes);
	/* The guest wants it back. */
	void (*take)(void *owner, uint64_t gpa, uint64_t bytes);
	/* Free pages that the guest keeps: it may use them at any moment after the request is done, and finds anything
	 * or zeros in them. */
	uint64_t (*report)(void *owner, uint64_t gpa, uint64_t bytes);
	/* The driver is gone, and with it whatever it gave: all of it is the guest's again. */
	void (*reset)(void *owner);
	/* New statistics: values by tag, UINT64_MAX where the guest said none. May be NULL. */
	void (*statistics)(void *owner, const uint64_t value[VIRTIO_BALLOON_S_TAGS]);
};

struct virtio_balloon_config {
	const char *name;
	const struct balloon_ops *ops;
	void *owner;
	bool packed;
	bool deflate_on_oom, reporting; /* offer these */
	struct dma *dma;		/* [4], lent; without an endpoint */
	struct irq irq;
	void (*broken)(void *owner, const char *name, const char *why);
};

struct virtio_balloon_stats {
	uint64_t inflated, deflated, reported; /* bytes that the guest said, in all */
	uint64_t returned;		       /* of inflated and reported: what went back to the host */
	uint64_t runs;			       /* calls of give() and report() */
	uint64_t ragged;		       /* reported buffers without a whole 4K page in them */
};

struct virtio_balloon { /* private but for virtio and stats */
	struct virtio virtio;
	const struct balloon_ops *ops;
	void *owner;
	uint32_t target, actual; /* 4K pages */
	bool holds_stats;	 /* the driver's buffer, until the next asking */
	struct virtqueue_chain stats_chain, chain;
	struct virtio_balloon_stats stats;
};

void virtio_balloon_init(struct virtio_balloon *b, const struct virtio_balloon_config *config);
void virtio_balloon_set_target(struct virtio_balloon *b, uint64_t bytes);
/* Asks for new statistics; false iff the driver knows none or has not answered the last asking. */
bool virtio_balloon_ask_statistics(struct virtio_balloon *b);

#endif
