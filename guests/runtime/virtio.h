/* guests/runtime/virtio.h: a virtio device as a driver meets it, whichever
 * transport carries it (VIRTIO 1.2: 2.1, 2.2, 3.1, 4.1, 4.2). Queues: virtq.h.
 *
 * A driver: virtio_find(), virtio_begin(), virtio_negotiate(), virtq_open() for
 * each queue, virtio_ready(). virtio_begin() again starts over.
 * Threads: one CPU at a time for each device. Any ring, but virtio_find(). */
#ifndef SLAT_GUESTS_RUNTIME_VIRTIO_H
#define SLAT_GUESTS_RUNTIME_VIRTIO_H

#include <stdbool.h>
#include <stdint.h>

#include "devices/virtio_regs.h"

struct virtio_device;

#define VIRTIO_BIT(n) (UINT64_C(1) << (n))

/* Where a queue lies, as the device is to address it. */
struct virtio_place {
	uint16_t size;
	uint64_t desc, driver, device;
};

struct virtio_transport {
	uint32_t (*features)(struct virtio_device *, unsigned half);
	void (*features_set)(struct virtio_device *, unsigned half, uint32_t bits);
	uint32_t (*status)(struct virtio_device *);
	void (*status_set)(struct virtio_device *, uint32_t status);
	uint16_t (*queue_max)(struct virtio_device *, uint16_t queue); /* 0: there is no such queue */
	void (*queue_start)(struct virtio_device *, uint16_t queue, const struct virtio_place *);
	bool (*queue_ready)(struct virtio_device *, uint16_t queue); /* did it take what queue_start() said? */
	void (*queue_reset)(struct virtio_device *, uint16_t queue);
	bool (*queue_resetting)(struct virtio_device *); /* the queue that was last meant: not done yet */
	void (*notify)(struct virtio_device *, uint16_t queue);
	uint32_t (*interrupts)(struct virtio_device *); /* what was raised, and takes it back */
	uint32_t (*generation)(struct virtio_device *);
};

/* Memory that a device may reach, and what the device calls it. */
struct virtio_dma {
	void *self;
	void *(*take)(void *self, uint64_t bytes); /* whole frames, zeroed, for ever */
	uint64_t (*address)(void *self, const void *at);
};

struct virtio_device {
	const struct virtio_transport *transport;
	uint32_t id;
	uint32_t endpoint; /* what virtio-iommu calls it: on slat the number of its window, on PCI its function */
	bool behind;	   /* an IOMMU: ACCESS_PLATFORM is wanted always */
	uint64_t offered, accepted;
	struct virtio_dma dma; /* as virtio_find() leaves it, device addresses are guest-physical ones */

	/* The transports' own: where each group of registers is; MMIO has one for all. */
	volatile uint8_t *common, *notify, *isr, *config;
	uint32_t notify_step;
};

/* The device number `nth` of that kind: among the windows that virtio_mmio.device= words of the command line name, or
 * else among slat's windows, or else on the first PCI bus. False iff there is none. Ring 0. */
bool virtio_find(const char *cmdline, uint32_t id, unsigned nth, struct virtio_device *out);

/* Resets the device and says that a driver is here. False iff it does not come out of the reset. */
bool virtio_begin(struct virtio_device *self);

/* Accepts what is both offered and wanted; VERSION_1 is wanted always. False iff the device does not take it, or lacks
 * what is wanted always. */
bool virtio_negotiate(struct virtio_device *self, uint64_t wanted);

/* Queues run from here on. */
void virtio_ready(struct virtio_device *self);

bool virtio_reset(struct virtio_device *self);
bool virtio_needs_reset(struct virtio_device *self);
bool virtio_has(const struct virtio_device *self, unsigned feature); /* accepted */

/* Resets one queue (with VIRTIO_F_RING_RESET). False iff the device still has it. */
bool virtio_queue_reset(struct virtio_device *self, uint16_t queue);

/* A field of the device's own registers: 1, 2, 4 or 8 bytes, at a multiple of that (4 for 8). */
uint64_t virtio_config(struct virtio_device *self, uint32_t offset, unsigned bytes);
void virtio_config_set(struct virtio_device *self, uint32_t offset, unsigned bytes, uint32_t value);

void *virtio_take(struct virtio_device *self, uint64_t bytes);
uint64_t virtio_address(const struct virtio_device *self, const void *at);

/* Memory as virtio_find() gives it to a device. */
struct virtio_dma virtio_dma_plain(void);

#endif
