/* devices/virtio.h: what all virtio devices have in common: status, features,
 * queues, interrupts. Theory: top of virtio.c. A transport (virtio_mmio.h) drives it;
 * a device (virtio_blk.h, ...) hangs below it. Source: VIRTIO 1.2, 2, 3, 6.
 *
 * Threads: one at a time: every call is made with the device's lock held. */
#ifndef SLAT_DEVICES_VIRTIO_H
#define SLAT_DEVICES_VIRTIO_H

#include "devices/irq.h"
#include "devices/virtqueue.h"

#define VIRTIO_QUEUES_MAX 17u

struct virtio_ops { /* of the device; self is struct virtio.self */
	/* DRIVER_OK: queues and features are final. notify() follows for each queue that is on. NULL: nothing to do. */
	void (*start)(void *self);
	/* Nothing of the guest's memory is in use any more when it returns, and what was popped is forgotten; the
	 * queues are reset after it. queue: that one alone (turned off, or RING_RESET), or VIRTIO_ALL_QUEUES. May
	 * come again, and without start(). NULL: nothing is ever kept. */
	void (*stop)(void *self, unsigned queue);
	/* There may be something in a queue: the driver says so, or has just started. Only when DRIVER_OK and the queue
	 * is on. */
	void (*notify)(void *self, unsigned queue);
	/* Device configuration; [offset, offset + width) is inside config_bytes, width 1, 2, 4 or 8. write NULL:
	 * dropped. */
	uint64_t (*read_config)(void *self, unsigned offset, unsigned width);
	void (*write_config)(void *self, unsigned offset, unsigned width, uint64_t value);
};
#define VIRTIO_ALL_QUEUES VIRTIO_QUEUES_MAX

struct virtio_config {
	const char *name;  /* for the sentence about a broken one: "disk 0" */
	uint32_t id;	   /* VIRTIO_ID_* */
	uint64_t features; /* of the device's own kind */
	bool packed;	   /* offer VIRTIO_F_RING_PACKED */
	bool platform;	   /* offer VIRTIO_F_ACCESS_PLATFORM, and insist: the device is behind the IOMMU */
	unsigned config_bytes;
	unsigned queues;
	uint16_t queue_size[VIRTIO_QUEUES_MAX];
	struct dma *dma; /* [queues], lent */
	const struct virtio_ops *ops;
	void *self;
	struct irq irq; /* edges: each interrupt is a pulse */
	/* The driver broke a rule; the device waits for a reset now. Rate-limiting is the owner's. NULL: nobody asks.
	 */
	void (*broken)(void *owner, const char *name, const char *why);
	void *owner;
};

struct virtio_stats {
	uint64_t resets, broken, notifications, interrupts;
	uint64_t refused; /* driver's mistakes that were ignored: unknown queue, before DRIVER_OK, ... */
};

struct virtio {
	struct virtio_config config;
	uint64_t offered, accepted; /* accepted is final once FEATURES_OK sticks */
	uint32_t beyond;	    /* words of features, from bit 64 on, of which the driver accepted some */
	uint32_t status, interrupt_status, generation;
	struct virtqueue queue[VIRTIO_QUEUES_MAX];
	struct virtio_stats stats;
};

void virtio_init(struct virtio *v, const struct virtio_config *config);

static inline bool virtio_has(const struct virtio *v, unsigned feature)
{
	return v->accepted >> feature & 1;
}

/* For transports. */
void virtio_set_status(struct virtio *v, uint32_t status);
void virtio_accept(struct virtio *v, unsigned word, uint32_t bits); /* 32 bits of the driver's features */
void virtio_queue_ready(struct virtio *v, unsigned queue, bool on);
void virtio_queue_reset(struct virtio *v, unsigned queue);
void virtio_notify(struct virtio *v, unsigned queue); /* any number; refused ones are counted */

/* For devices. */
/* What read_config() answers of a configuration as it lies in memory. */
uint64_t virtio_config_bytes(const void *config, unsigned offset, unsigned width);
bool virtio_running(const struct virtio *v); /* DRIVER_OK, and not broken */
/* After a burst of pushes on a queue: interrupts if the driver wants it. */
void virtio_used(struct virtio *v, unsigned queue);
/* The configuration changed: a new generation, and an interrupt. */
void virtio_changed(struct virtio *v);
/* DEVICE_NEEDS_RESET, and nothing else, until the driver resets. why: a phrase. Once per reset. */
void virtio_break(struct virtio *v, const char *why);

bool virtio_check(const struct virtio *v);

#endif
