/* tests/unit/virtio_rig.h: a virtio device under test, its driver, and the memory between them. The device is
 * driven as a transport drives it; what it does to memory goes over fake_dma.h, so a stray access is seen.
 *
 *	rig_open(&r, 2);                         memory for 2 queues, and RIG_DATA for buffers
 *	... the device's own init, with r.dma, rig_irq(&r), rig_broken and &r as owner; r.v = &device.virtio
 *	rig_start(&r, features, 16);             to DRIVER_OK, all queues on, of 16 entries
 *	id = rig_add(&r, 0, buffers, 1, 1);      on queue 0
 *	virtio_notify(r.v, 0);
 *	rig_take(&r, 0, &id, &length);
 *	rig_close(&r); */
#ifndef SLAT_TESTS_UNIT_VIRTIO_RIG_H
#define SLAT_TESTS_UNIT_VIRTIO_RIG_H

#include "devices/virtio.h"
#include "tests/unit/fake_driver.h"

#define RIG_DATA	0x100000u /* where buffers lie: gpa */
#define RIG_DATA_BYTES	0x400000u
#define RIG_QUEUES	0x10000000u
#define RIG_QUEUE_BYTES 0x200000u
#define RIG_QUEUES_MAX	9u
#define RIG_MODERN	(UINT64_C(1) << VIRTIO_F_VERSION_1)

struct rig {
	struct fake_dma ram;
	struct dma dma[RIG_QUEUES_MAX];
	struct fake_driver queue[RIG_QUEUES_MAX];
	unsigned queues;
	struct virtio *v;
	uint8_t *data; /* host bytes of RIG_DATA */
	unsigned interrupts, breaks;
	const char *why;
	bool packed, indirect;
};

static inline void rig_set_irq(void *self, unsigned line, bool level)
{
	(void)line;
	((struct rig *)self)->interrupts += level;
}

static inline struct irq rig_irq(struct rig *r)
{
	return (struct irq){.self = r, .set = rig_set_irq};
}

static inline void rig_broken(void *owner, const char *name, const char *why)
{
	struct rig *r = owner;

	FAKE_DMA_MUST(name && why);
	r->breaks++;
	r->why = why;
}

static inline void rig_open(struct rig *r, unsigned queues)
{
	memset(r, 0, sizeof(*r));
	r->queues = queues;
	fake_dma_init(&r->ram);
	r->data = fake_dma_add(&r->ram, RIG_DATA, RIG_DATA_BYTES, DMA_READ | DMA_WRITE);
	for (unsigned i = 0; i < queues; i++) {
		fake_dma_add(&r->ram, RIG_QUEUES + i * RIG_QUEUE_BYTES, FAKE_DRIVER_BYTES, DMA_READ | DMA_WRITE);
		fake_dma_device(&r->ram, &r->dma[i], NULL, i);
	}
}

static inline void rig_close(struct rig *r)
{
	FAKE_DMA_MUST(r->ram.pinned == 0);
	fake_dma_free(&r->ram);
}

/* One queue, anew, as after a reset of it. */
static inline void rig_enable(struct rig *r, unsigned queue, unsigned size)
{
	fake_driver_init(&r->queue[queue], &r->ram, RIG_QUEUES + queue * RIG_QUEUE_BYTES, size, r->packed);
	r->queue[queue].event = r->v->accepted >> VIRTIO_F_EVENT_IDX & 1;
	fake_driver_lend(&r->queue[queue], &r->v->queue[queue]);
	virtio_queue_ready(r->v, queue, true);
}

/* All but DRIVER_OK. size: of each queue, cut to what it takes. */
static inline void rig_prepare(struct rig *r, uint64_t features, unsigned size)
{
	features |= RIG_MODERN;
	r->packed = features >> VIRTIO_F_RING_PACKED & 1;
	virtio_set_status(r->v, 0);
	virtio_set_status(r->v, VIRTIO_STATUS_ACKNOWLEDGE);
	virtio_set_status(r->v, VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER);
	virtio_accept(r->v, 0, (uint32_t)features);
	virtio_accept(r->v, 1, (uint32_t)(features >> 32));
	virtio_set_status(r->v, r->v->status | VIRTIO_STATUS_FEATURES_OK);
	FAKE_DMA_MUST(r->v->status & VIRTIO_STATUS_FEATURES_OK);
	for (unsigned i = 0; i < r->queues; i++)
		rig_enable(r, i, size < r->v->queue[i].size_max ? size : r->v->queue[i].size_max);
}

static inline void rig_ok(struct rig *r)
{
	virtio_set_status(r->v, r->v->status | VIRTIO_STATUS_DRIVER_OK);
}

static inline void rig_start(struct rig *r, uint64_t features, unsigned size)
{
	rig_prepare(r, features, size);
	rig_ok(r);
}

static inline uint16_t rig_add(struct rig *r, unsigned queue, const struct virtqueue_buffer *b, unsigned readable,
			       unsigned writable)
{
	return fake_driver_add(&r->queue[queue], b, readable, writable,
			       r->indirect ? FAKE_DRIVER_INDIRECT : FAKE_DRIVER_DIRECT);
}

static inline bool rig_take(struct rig *r, unsigned queue, uint16_t *id, uint32_t *length)
{
	return fake_driver_take(&r->queue[queue], id, length);
}

/* One readable buffer at `at` of the data, filled. */
static inline uint16_t rig_send(struct rig *r, unsigned queue, uint32_t at, const void *bytes, uint32_t count)
{
	const struct virtqueue_buffer b = {RIG_DATA + at, count};

	memcpy(r->data + at, bytes, count);
	return rig_add(r, queue, &b, 1, 0);
}

/* One writable buffer. */
static inline uint16_t rig_room(struct rig *r, unsigned queue, uint32_t at, uint32_t count)
{
	const struct virtqueue_buffer b = {RIG_DATA + at, count};

	return rig_add(r, queue, &b, 0, 1);
}

static inline bool rig_is_broken(const struct rig *r)
{
	return r->v->status & VIRTIO_STATUS_NEEDS_RESET;
}

#endif
