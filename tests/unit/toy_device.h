/* tests/unit/toy_device.h: a virtio device that gives each chain back, its writable bytes being a copy of the readable
 * ones, and remembers what it was told. For the tests of what all devices have in common. */
#ifndef SLAT_TESTS_UNIT_TOY_DEVICE_H
#define SLAT_TESTS_UNIT_TOY_DEVICE_H

#include "devices/virtio.h"
#include "tests/unit/fake_driver.h"

#define TOY_QUEUES	 3u
#define TOY_CONFIG_BYTES 14u
#define TOY_FEATURE	 5u /* of its own kind: all that it offers */
#define TOY_COPY	 64u

struct toy {
	struct virtio virtio;
	struct dma dma[TOY_QUEUES];
	uint8_t config[TOY_CONFIG_BYTES];
	unsigned starts, stops, notes, last_stop, last_note;
	bool running_at_start;
	unsigned pulses, level, breaks;
	const char *why;
	bool idle; /* does not look into its queues */
	struct virtqueue_chain chain;
};

static inline void toy_start(void *self)
{
	struct toy *t = self;

	t->starts++;
	t->running_at_start = virtio_running(&t->virtio);
}

static inline void toy_stop(void *self, unsigned queue)
{
	struct toy *t = self;

	t->stops++;
	t->last_stop = queue;
}

/* Forgets to say that its queue is broken, on purpose. */
static inline void toy_notify(void *self, unsigned queue)
{
	struct toy *t = self;
	struct virtqueue *q = &t->virtio.queue[queue];

	t->notes++;
	t->last_note = queue;
	while (!t->idle && virtqueue_pop(q, &t->chain) == VIRTQUEUE_OK) {
		uint64_t bytes = t->chain.readable_bytes < t->chain.writable_bytes ? t->chain.readable_bytes
										   : t->chain.writable_bytes;
		uint8_t copy[TOY_COPY];

		bytes = bytes < TOY_COPY ? bytes : TOY_COPY;
		if (virtqueue_read(q, &t->chain, 0, copy, bytes) && virtqueue_write(q, &t->chain, 0, copy, bytes))
			(void)virtqueue_push(q, &t->chain, (uint32_t)bytes);
	}
	virtio_used(&t->virtio, queue);
}

static inline uint64_t toy_read_config(void *self, unsigned offset, unsigned width)
{
	const struct toy *t = self;
	uint64_t value = 0;

	FAKE_DMA_MUST(offset + width <= TOY_CONFIG_BYTES);
	memcpy(&value, t->config + offset, width);
	return value;
}

static inline void toy_write_config(void *self, unsigned offset, unsigned width, uint64_t value)
{
	struct toy *t = self;

	FAKE_DMA_MUST(offset + width <= TOY_CONFIG_BYTES);
	memcpy(t->config + offset, &value, width);
}

static inline void toy_irq(void *self, unsigned line, bool level)
{
	struct toy *t = self;

	FAKE_DMA_MUST(line == 9);
	t->pulses += level && !t->level;
	t->level = level;
}

static inline void toy_broken(void *owner, const char *name, const char *why)
{
	struct toy *t = owner;

	FAKE_DMA_MUST(strcmp(name, "toy") == 0);
	t->breaks++;
	t->why = why;
}

static const struct virtio_ops toy_ops = {
	.start = toy_start,
	.stop = toy_stop,
	.notify = toy_notify,
	.read_config = toy_read_config,
	.write_config = toy_write_config,
};

/* queue 2 does not exist (size 0). */
static inline void toy_init_over(struct toy *t, struct fake_dma *f, bool packed, bool platform,
				 const struct virtio_ops *ops)
{
	struct virtio_config config = {
		.name = "toy",
		.id = VIRTIO_ID_RNG,
		.features = 1u << TOY_FEATURE,
		.packed = packed,
		.platform = platform,
		.config_bytes = TOY_CONFIG_BYTES,
		.queues = TOY_QUEUES,
		.queue_size = {16, 8, 0},
		.dma = t->dma,
		.ops = ops,
		.self = t,
		.irq = {.self = t, .line = 9, .set = toy_irq},
		.broken = toy_broken,
		.owner = t,
	};

	memset(t, 0, sizeof(*t));
	for (unsigned i = 0; i < TOY_QUEUES; i++)
		fake_dma_device(f, &t->dma[i], NULL, i);
	for (unsigned i = 0; i < TOY_CONFIG_BYTES; i++)
		t->config[i] = (uint8_t)(0x10 + i);
	virtio_init(&t->virtio, &config);
}

static inline void toy_init(struct toy *t, struct fake_dma *f, bool packed, bool platform)
{
	toy_init_over(t, f, packed, platform, &toy_ops);
}

#endif
