/* devices/virtio_mmio.c: the MMIO transport of virtio, version 2 (VIRTIO 1.2, 4.2): registers, and nothing that is not
 * one. What a write means is devices/virtio.c's; which registers are whose, and when, is here.
 *
 * Choices where the specification forbids the driver something, and says nothing of the device. A control register
 * takes 32 bits, aligned: other accesses read ones and write nothing. A register that is not there, or is only written,
 * reads 0; one that is only read ignores writes; so QEMU. A queue that is ready ignores a new size or address. A size
 * above the maximum makes it 0, which no queue can have, so that QueueReady stays 0 and the driver sees it.
 * Configuration outside of what the device has reads ones; inside, any width and alignment. QueueReady and QueueReset
 * take 0 and 1, and 1. All that is ignored is counted in the device's stats.refused. QueueReset reads 0 always: a reset
 * has ended when the write returns. There is no shared memory: all ones (4.2.2). The selectors are this file's only
 * state; a reset makes them 0.
 */
#include "devices/virtio_mmio.h"

static void refuse(struct virtio_mmio *m)
{
	m->virtio->stats.refused++;
}

static struct virtqueue *selected(const struct virtio_mmio *m)
{
	return m->queue_sel < m->virtio->config.queues ? &m->virtio->queue[m->queue_sel] : NULL;
}

static uint32_t features(const struct virtio_mmio *m)
{
	return m->device_features_sel < 2 ? (uint32_t)(m->virtio->offered >> 32 * m->device_features_sel) : 0;
}

static uint32_t read_register(struct virtio_mmio *m, uint64_t offset)
{
	const struct virtqueue *q = selected(m);

	switch (offset) {
	case VIRTIO_MMIO_MAGIC:
		return VIRTIO_MAGIC;
	case VIRTIO_MMIO_VERSION:
		return VIRTIO_MMIO_MODERN;
	case VIRTIO_MMIO_DEVICE_ID:
		return m->virtio->config.id;
	case VIRTIO_MMIO_VENDOR_ID:
		return VIRTIO_VENDOR_SLAT;
	case VIRTIO_MMIO_DEVICE_FEATURES:
		return features(m);
	case VIRTIO_MMIO_QUEUE_SIZE_MAX:
		return q ? q->size_max : 0;
	case VIRTIO_MMIO_QUEUE_READY:
		return q && q->ready;
	case VIRTIO_MMIO_INTERRUPT_STATUS:
		return m->virtio->interrupt_status;
	case VIRTIO_MMIO_STATUS:
		return m->virtio->status;
	case VIRTIO_MMIO_SHM_LEN_LOW:
	case VIRTIO_MMIO_SHM_LEN_HIGH:
	case VIRTIO_MMIO_SHM_BASE_LOW:
	case VIRTIO_MMIO_SHM_BASE_HIGH:
		return UINT32_MAX;
	case VIRTIO_MMIO_QUEUE_RESET:
		return 0;
	case VIRTIO_MMIO_CONFIG_GENERATION:
		return m->virtio->generation;
	default:
		refuse(m);
		return 0;
	}
}

static void set_half(uint64_t *address, bool high, uint32_t value)
{
	*address = high ? (uint64_t)value << 32 | (uint32_t)*address : (*address >> 32 << 32) | value;
}

/* One that is refused does not leave the size before it, of which the driver believes that it was changed. */
static void set_size(struct virtio_mmio *m, struct virtqueue *q, uint32_t value)
{
	q->size = value <= q->size_max ? (uint16_t)value : 0;
	if (value > q->size_max)
		refuse(m);
}

/* What a queue is told while it is off. */
static void write_queue(struct virtio_mmio *m, uint64_t offset, uint32_t value)
{
	struct virtqueue *q = selected(m);

	if (!q || q->ready) {
		refuse(m);
		return;
	}
	switch (offset) {
	case VIRTIO_MMIO_QUEUE_SIZE:
		set_size(m, q, value);
		break;
	case VIRTIO_MMIO_QUEUE_DESC_LOW:
	case VIRTIO_MMIO_QUEUE_DESC_HIGH:
		set_half(&q->desc, offset == VIRTIO_MMIO_QUEUE_DESC_HIGH, value);
		break;
	case VIRTIO_MMIO_QUEUE_DRIVER_LOW:
	case VIRTIO_MMIO_QUEUE_DRIVER_HIGH:
		set_half(&q->driver, offset == VIRTIO_MMIO_QUEUE_DRIVER_HIGH, value);
		break;
	default:
		set_half(&q->device, offset == VIRTIO_MMIO_QUEUE_DEVICE_HIGH, value);
	}
}

static void write_register(struct virtio_mmio *m, uint64_t offset, uint32_t value)
{
	switch (offset) {
	case VIRTIO_MMIO_DEVICE_FEATURES_SEL:
		m->device_features_sel = value;
		break;
	case VIRTIO_MMIO_DRIVER_FEATURES:
		virtio_accept(m->virtio, m->driver_features_sel, value);
		break;
	case VIRTIO_MMIO_DRIVER_FEATURES_SEL:
		m->driver_features_sel = value;
		break;
	case VIRTIO_MMIO_QUEUE_SEL:
		m->queue_sel = value;
		break;
	case VIRTIO_MMIO_QUEUE_SIZE:
	case VIRTIO_MMIO_QUEUE_DESC_LOW:
	case VIRTIO_MMIO_QUEUE_DESC_HIGH:
	case VIRTIO_MMIO_QUEUE_DRIVER_LOW:
	case VIRTIO_MMIO_QUEUE_DRIVER_HIGH:
	case VIRTIO_MMIO_QUEUE_DEVICE_LOW:
	case VIRTIO_MMIO_QUEUE_DEVICE_HIGH:
		write_queue(m, offset, value);
		break;
	case VIRTIO_MMIO_QUEUE_READY:
		if (value > 1)
			refuse(m);
		else
			virtio_queue_ready(m->virtio, m->queue_sel, value);
		break;
	case VIRTIO_MMIO_QUEUE_NOTIFY:
		virtio_notify(m->virtio, value);
		break;
	case VIRTIO_MMIO_INTERRUPT_ACK:
		m->virtio->interrupt_status &= ~value;
		break;
	case VIRTIO_MMIO_STATUS:
		virtio_set_status(m->virtio, value);
		if (value == 0)
			m->device_features_sel = m->driver_features_sel = m->queue_sel = m->shm_sel = 0;
		break;
	case VIRTIO_MMIO_SHM_SEL:
		m->shm_sel = value;
		break;
	case VIRTIO_MMIO_QUEUE_RESET:
		if (value == 1)
			virtio_queue_reset(m->virtio, m->queue_sel);
		else
			refuse(m);
		break;
	default:
		refuse(m);
	}
}

static bool in_config(const struct virtio_mmio *m, uint64_t offset, unsigned width)
{
	return offset >= VIRTIO_MMIO_CONFIG && offset - VIRTIO_MMIO_CONFIG + width <= m->virtio->config.config_bytes;
}

static bool is_register(uint64_t offset, unsigned width)
{
	return offset < VIRTIO_MMIO_CONFIG && width == 4 && offset % 4 == 0;
}

static uint64_t mmio_read(void *self, uint64_t offset, unsigned width)
{
	struct virtio_mmio *m = self;
	const struct virtio_config *c = &m->virtio->config;

	if (in_config(m, offset, width))
		return c->ops->read_config(c->self, (unsigned)(offset - VIRTIO_MMIO_CONFIG), width);
	if (is_register(offset, width))
		return read_register(m, offset);
	refuse(m);
	return UINT64_MAX;
}

static void mmio_write(void *self, uint64_t offset, unsigned width, uint64_t value)
{
	struct virtio_mmio *m = self;
	const struct virtio_config *c = &m->virtio->config;

	if (in_config(m, offset, width) && c->ops->write_config)
		c->ops->write_config(c->self, (unsigned)(offset - VIRTIO_MMIO_CONFIG), width, value);
	else if (is_register(offset, width))
		write_register(m, offset, (uint32_t)value);
	else
		refuse(m);
}

void virtio_mmio_init(struct virtio_mmio *m, struct virtio *virtio, struct device *device)
{
	*m = (struct virtio_mmio){.virtio = virtio};
	*device = (struct device){.name = virtio->config.name, .self = m, .read = mmio_read, .write = mmio_write};
}
