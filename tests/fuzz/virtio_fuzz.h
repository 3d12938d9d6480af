/* tests/fuzz/virtio_fuzz.h: a hostile driver, as a stream of operations on a virtio device: descriptors and rings of
 * whatever content, buffers wherever, resets at any time, accesses that fail. What a device does is over
 * fake_dma.h, so that an access outside of the guest's memory is one outside of an array (ASan).
 *
 * Memory: [0, FUZZ_DATA) is readable and writable, in two regions that touch, the next
 * page is read-only, the one behind it write-only; then nothing but the queues.
 * Input: one byte of features, one of the device's; then operations, a byte each and their operands:
 *   0 bytes anywhere: address 16 bits, count, bytes    4 reset, and features for the next driver
 *   1 a chain: queue, count, (address, length, flags)  5 a queue is reset: queue
 *   2 notify: queue                                    6 the n-th access from now fails: n
 *   3 the device's own: two bytes                      7 configuration: offset, value
 *   8 bytes of a queue's rings: queue, address 16 bits, count, bytes */
#ifndef SLAT_TESTS_FUZZ_VIRTIO_FUZZ_H
#define SLAT_TESTS_FUZZ_VIRTIO_FUZZ_H

#include "devices/virtio.h"
#include "mm/port.h"
#include "tests/unit/fake_dma.h"

#define FUZZ_DATA	 0x10000u
#define FUZZ_QUEUES	 0x100000u
#define FUZZ_QUEUE_BYTES 0x3000u /* descriptors, driver's and device's area: a page each */
#define FUZZ_SIZE	 16u
#define FUZZ_QUEUES_MAX	 9u

struct virtio_fuzz {
	const uint8_t *at, *end;
	struct fake_dma ram;
	struct dma dma[FUZZ_QUEUES_MAX];
	unsigned queues;
	struct virtio *v;
	uint16_t next[FUZZ_QUEUES_MAX]; /* entry of the ring: free-running */
	uint64_t breaks;
	void (*own)(uint8_t a, uint8_t b); /* operation 3 */
	void (*check)(void);
};

static struct virtio_fuzz fuzz;

static inline uint8_t fuzz_byte(void)
{
	return fuzz.at < fuzz.end ? *fuzz.at++ : 0;
}

static inline uint16_t fuzz_word(void)
{
	uint8_t low = fuzz_byte();

	return (uint16_t)(low | fuzz_byte() << 8);
}

static inline void fuzz_broken(void *owner, const char *name, const char *why)
{
	MM_ASSERT(owner == &fuzz && name && why, fuzz.breaks, 0);
	fuzz.breaks++;
}

/* features: bit 0 packed, 1 event index, 2 indirect; the device's own, all of them if bit 3 is set, else as the other
 * bits say. */
static inline void fuzz_start(uint8_t features)
{
	uint64_t accept = UINT64_C(1) << VIRTIO_F_VERSION_1 | UINT64_C(1) << VIRTIO_F_RING_RESET;

	accept |= features & 1 ? UINT64_C(1) << VIRTIO_F_RING_PACKED : 0;
	accept |= features & 2 ? UINT64_C(1) << VIRTIO_F_EVENT_IDX : 0;
	accept |= features & 4 ? UINT64_C(1) << VIRTIO_F_INDIRECT_DESC : 0;
	accept |=
		features & 8 ? fuzz.v->config.features : fuzz.v->config.features & (features >> 4) * UINT64_C(0x249249);
	virtio_set_status(fuzz.v, 0);
	virtio_set_status(fuzz.v, VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER);
	virtio_accept(fuzz.v, 0, (uint32_t)accept);
	virtio_accept(fuzz.v, 1, (uint32_t)(accept >> 32));
	virtio_set_status(fuzz.v, fuzz.v->status | VIRTIO_STATUS_FEATURES_OK);
	MM_ASSERT(fuzz.v->status & VIRTIO_STATUS_FEATURES_OK, accept, fuzz.v->status);
}

static inline void fuzz_enable(unsigned queue)
{
	const uint64_t gpa = FUZZ_QUEUES + 2 * queue * FUZZ_QUEUE_BYTES;
	struct virtqueue *q = &fuzz.v->queue[queue];

	memset(fake_dma_host(&fuzz.ram, gpa, FUZZ_QUEUE_BYTES), 0, FUZZ_QUEUE_BYTES);
	q->size = FUZZ_SIZE;
	q->desc = gpa;
	q->driver = gpa + 0x1000;
	q->device = gpa + 0x2000;
	virtio_queue_ready(fuzz.v, queue, true);
	fuzz.next[queue] = 0;
}

static inline void fuzz_ready(void)
{
	for (unsigned i = 0; i < fuzz.queues; i++)
		fuzz_enable(i);
	virtio_set_status(fuzz.v, fuzz.v->status | VIRTIO_STATUS_DRIVER_OK);
}

static inline void fuzz_put(uint64_t gpa, uint64_t bytes)
{
	for (; bytes; bytes--, gpa++)
		if (fake_dma_region(&fuzz.ram, gpa))
			*fake_dma_host(&fuzz.ram, gpa, 1) = fuzz_byte();
}

/* As a driver would, but for what it is of; the flags' last bit is the driver's word that another one follows. */
static inline void fuzz_chain(unsigned queue)
{
	const uint64_t gpa = FUZZ_QUEUES + 2 * queue * FUZZ_QUEUE_BYTES;
	unsigned count = 1 + fuzz_byte() % FUZZ_SIZE, head = fuzz.next[queue] % FUZZ_SIZE;
	uint16_t index;

	for (unsigned i = 0; i < count; i++, fuzz.next[queue]++) {
		unsigned at = fuzz.next[queue] % FUZZ_SIZE;
		bool wrap = !(fuzz.next[queue] / FUZZ_SIZE % 2);
		struct virtq_desc d = {.address = fuzz_word(), .length = fuzz_word()};
		uint16_t flags = fuzz_byte() & (VIRTQ_DESC_WRITE | VIRTQ_DESC_INDIRECT);

		d.address |= d.length & 1 ? 0x10000u : 0; /* the odd ones begin above what is plain memory */
		flags |= i + 1 < count ? VIRTQ_DESC_NEXT : 0;
		if (fuzz.v->queue[queue].packed) {
			d.flags = (uint16_t)at;
			d.next = (uint16_t)(flags | (wrap ? 1u << 7 : 1u << 15));
		} else {
			d.flags = flags;
			d.next = (uint16_t)((at + 1) % FUZZ_SIZE);
		}
		memcpy(fake_dma_host(&fuzz.ram, gpa + 16 * at, sizeof(d)), &d, sizeof(d));
	}
	if (fuzz.v->queue[queue].packed)
		return;
	memcpy(&index, fake_dma_host(&fuzz.ram, gpa + 0x1002, 2), 2);
	*fake_dma_host(&fuzz.ram, gpa + 0x1004 + 2 * (index % FUZZ_SIZE), 1) = (uint8_t)head;
	index++;
	memcpy(fake_dma_host(&fuzz.ram, gpa + 0x1002, 2), &index, 2);
}

static inline void fuzz_config(uint8_t offset, uint8_t value)
{
	const struct virtio_config *c = &fuzz.v->config;
	const unsigned width = 1u << (offset >> 6);

	offset &= 63;
	if (offset % width || offset + width > c->config_bytes)
		return;
	(void)c->ops->read_config(c->self, offset, width);
	if (c->ops->write_config)
		c->ops->write_config(c->self, offset, width, value);
}

static inline void fuzz_operation(uint8_t op)
{
	const uint8_t a = op % 9 ? fuzz_byte() : 0;
	uint16_t address;

	switch (op % 9) {
	case 0:
	case 8:
		address = fuzz_word();
		fuzz_put(op % 9 ? FUZZ_QUEUES + 2 * (a % fuzz.queues) * FUZZ_QUEUE_BYTES + address % FUZZ_QUEUE_BYTES
				: address,
			 fuzz_byte());
		break;
	case 1:
		fuzz_chain(a % fuzz.queues);
		break;
	case 2:
		virtio_notify(fuzz.v, a % (fuzz.queues + 1));
		break;
	case 3:
		fuzz.own(a, fuzz_byte());
		break;
	case 4:
		fuzz_start(a);
		fuzz_ready();
		break;
	case 5:
		virtio_queue_reset(fuzz.v, a % fuzz.queues);
		if (!(fuzz.v->status & (VIRTIO_STATUS_FAILED | VIRTIO_STATUS_NEEDS_RESET)))
			fuzz_enable(a % fuzz.queues);
		break;
	case 6:
		fuzz.ram.accesses = 0;
		fuzz.ram.fail_at = a;
		break;
	default:
		fuzz_config(a, fuzz_byte());
	}
}

/* Before the device's own init. */
static inline void fuzz_open(const uint8_t *data, size_t size, unsigned queues)
{
	memset(&fuzz, 0, sizeof(fuzz));
	fuzz.at = data;
	fuzz.end = data + size;
	fuzz.queues = queues;
	fake_dma_init(&fuzz.ram);
	fake_dma_add(&fuzz.ram, 0, FUZZ_DATA / 2, DMA_READ | DMA_WRITE);
	fake_dma_add(&fuzz.ram, FUZZ_DATA / 2, FUZZ_DATA / 2, DMA_READ | DMA_WRITE);
	fake_dma_add(&fuzz.ram, FUZZ_DATA, FAKE_DMA_PAGE, DMA_READ);
	fake_dma_add(&fuzz.ram, FUZZ_DATA + FAKE_DMA_PAGE, FAKE_DMA_PAGE, DMA_WRITE);
	for (unsigned i = 0; i < queues; i++) {
		fake_dma_add(&fuzz.ram, FUZZ_QUEUES + 2 * i * FUZZ_QUEUE_BYTES, FUZZ_QUEUE_BYTES, DMA_READ | DMA_WRITE);
		fake_dma_device(&fuzz.ram, &fuzz.dma[i], NULL, i);
	}
}

static inline void fuzz_run(struct virtio *v, uint8_t features)
{
	fuzz.v = v;
	fuzz_start(features);
	fuzz_ready();
	while (fuzz.at < fuzz.end) {
		fuzz_operation(fuzz_byte());
		MM_ASSERT(virtio_check(v) && fuzz.ram.pinned == 0, v->status, fuzz.ram.pinned);
		MM_ASSERT(!(v->status & VIRTIO_STATUS_NEEDS_RESET) || fuzz.breaks > 0, v->status, fuzz.breaks);
		fuzz.check();
	}
	virtio_set_status(v, 0);
	for (unsigned i = 0; i < fuzz.queues; i++)
		MM_ASSERT(dma_check(&fuzz.dma[i]), i, 0);
	fake_dma_free(&fuzz.ram);
}

#endif
