/* tests/fuzz/fuzz_virtio_blk.c: a driver that does anything to a virtio block device.
 *
 * The input is a list of steps: any register access, any bytes into the rings or
 * the buffers, requests that are well formed and those that are nearly so, a page that
 * is taken away or protected, an access that faults, a step of the backend that ends,
 * early, late or badly, a queue or the device reset. Looked for: a crash, undefined
 * behaviour, a step outside the disk or whose segments are not guest memory that may
 * be used so (the backend looks, before it moves a byte), memory that stays
 * pinned, an invariant that does not hold, a device that says it runs and answers
 * nothing. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "devices/virtio_mmio.h"
#include "tests/unit/blk_guest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST	   FAKE_DMA_MUST

#define QUEUES	   2u
#define RING_MAX   64u
#define RINGS_USED (3 * FAKE_DRIVER_AREA + RING_MAX * FAKE_DRIVER_TABLE)

struct input {
	const uint8_t *data;
	size_t bytes;
};

static struct blk_guest guest;
static struct virtio_mmio mmio;
static struct device window;
static uint64_t random_state;

static uint64_t take(struct input *in, unsigned bytes)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < bytes && in->bytes; i++, in->bytes--)
		value |= (uint64_t)*in->data++ << 8 * i;
	return value;
}

static uint64_t some(uint64_t below)
{
	random_state = random_state * UINT64_C(6364136223846793005) + 1442695040888963407;
	return (random_state >> 33) % below;
}

/* An address of the data, of its end, or of nothing. */
static uint64_t place(struct input *in)
{
	uint64_t v = take(in, 3);

	return v >> 20 ? BLK_GUEST_DATA + v % BLK_GUEST_RAM : v << 12;
}

static void poke(struct input *in)
{
	const struct fake_driver *d = &guest.driver[take(in, 1) % QUEUES];
	const uint64_t areas[] = {d->desc, d->driver, d->device, d->tables, BLK_GUEST_DATA, BLK_GUEST_DATA};
	uint64_t area = areas[take(in, 1) % 6], offset = take(in, 2) % 0x1000, value = take(in, 8);

	if (!area)
		return;
	for (unsigned i = 0; i < 8; i++)
		*fake_dma_host(&guest.f, area + offset / 8 * 8 + i, 1) = (uint8_t)(value >> 8 * i);
}

/* As a driver would, but for what it says. */
static void request(struct input *in)
{
	static const uint32_t types[] = {0, 1, 4, 8, 11, 13, 0, 1};
	struct fake_driver *d = &guest.driver[take(in, 1) % QUEUES];
	unsigned shape = (unsigned)take(in, 1), buffers = 1 + (shape >> 4);
	struct virtio_blk_header h = {.type = types[shape & 7], .sector = take(in, 2)};
	struct virtqueue_buffer b[20];
	const uint64_t at = BLK_GUEST_DATA + take(in, 1) % 64 * 64;
	bool in_data = h.type == VIRTIO_BLK_T_IN || h.type == VIRTIO_BLK_T_GET_ID;

	if (!d->size)
		return;
	fake_dma_put(&guest.f, at, &h, sizeof(h));
	b[0] = (struct virtqueue_buffer){at, 16};
	for (unsigned i = 1; i <= buffers; i++)
		b[i] = (struct virtqueue_buffer){place(in), (uint32_t)(take(in, 1) + 1) * (shape & 8 ? 512 : 16)};
	b[buffers + 1] = (struct virtqueue_buffer){at + 32, 1};
	(void)fake_driver_add(d, b, in_data ? 1 : buffers + 1, in_data ? buffers + 1 : 1,
			      shape & 1 ? FAKE_DRIVER_DIRECT : FAKE_DRIVER_INDIRECT);
}

static void registers(struct input *in)
{
	unsigned width = 1u << take(in, 1) % 4;
	uint64_t offset = take(in, 2) % (VIRTIO_MMIO_WINDOW - 7) / width * width;

	if (take(in, 1) & 1)
		window.write(window.self, offset, width, take(in, width));
	else
		(void)window.read(window.self, offset, width);
}

static void end_steps(struct input *in)
{
	unsigned how = (unsigned)take(in, 1);

	for (unsigned n = how >> 4; n-- && guest.disk.steps;) {
		unsigned i = (unsigned)some(guest.disk.steps);

		if (how & 1)
			blk_disk_fail_one(&guest.disk, i);
		else
			blk_disk_end_one(&guest.disk, i);
	}
	virtio_blk_completed(guest.b);
}

static void fault(struct input *in)
{
	unsigned how = (unsigned)take(in, 1);

	guest.f.watch = how & 1;
	guest.f.fail_at = how & 1 ? guest.f.accesses + (how >> 1) % 32 : 0;
	if (!guest.disk.steps) /* what is mapped keeps its rights until it is not */
		guest.f.region[QUEUES + (how >> 2) % BLK_GUEST_PAGES].access = take(in, 1) & 3;
	__atomic_fetch_add(&guest.f.generation, 1, __ATOMIC_SEQ_CST);
}

static void start(struct input *in)
{
	static const unsigned sizes[] = {1, 2, 8, RING_MAX, 6, 16, 4, 32};
	uint64_t without = take(in, 2);
	unsigned size = sizes[take(in, 1) % 8];

	if (!guest.packed && size == 6)
		size = 8; /* a split ring's is a power of two */

	blk_guest_start(&guest, without | (without & 1 ? UINT64_C(1) << VIRTIO_F_INDIRECT_DESC : 0), size);
}

static void step(struct input *in)
{
	unsigned n;

	switch (take(in, 1) % 12) {
	case 0:
	case 1:
		poke(in);
		break;
	case 2:
		registers(in);
		break;
	case 3:
	case 4:
	case 5:
		request(in);
		break;
	case 6:
	case 7:
		virtio_notify(guest.v, (unsigned)take(in, 1) % (QUEUES + 1));
		break;
	case 8:
		end_steps(in);
		break;
	case 9:
		guest.disk.when = (enum blk_when)(take(in, 1) % 3);
		break;
	case 10:
		n = (unsigned)take(in, 1);
		if (n & 1)
			fault(in);
		else if (n & 2)
			start(in);
		else
			virtio_queue_reset(guest.v, n / 4 % QUEUES);
		break;
	case 11: /* lists that are full sooner */
		n = (unsigned)take(in, 1) % QUEUES * VIRTIO_BLK_QUEUE_SIZE;
		if (guest.b->line[n / VIRTIO_BLK_QUEUE_SIZE].fresh && guest.b->request[n].state == BLK_FREE)
			guest.b->request[n].list.room = 2;
		break;
	}
}

static void check(void)
{
	MUST(virtio_blk_check(guest.b));
	MUST(guest.disk.steps == guest.b->flying);
	MUST(guest.disk.steps || guest.f.pinned == 0);
}

/* As new: the memory is kept, for making it takes a hundred times as long as a run. */
static void again(const struct blk_backend *like, bool packed)
{
	if (!guest.memory)
		blk_guest_memory(&guest, QUEUES);
	for (unsigned i = 0; i < guest.f.regions; i++) {
		struct fake_region *r = &guest.f.region[i];

		r->access = DMA_READ | DMA_WRITE;
		memset(r->host, 0, i < QUEUES ? RINGS_USED : r->bytes);
	}
	guest.f.watch = false;
	guest.f.accesses = guest.f.fail_at = 0;
	memset(guest.driver, 0, sizeof(guest.driver));
	blk_guest_device(&guest, like, QUEUES, packed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	unsigned how = (unsigned)take(&in, 1);
	const struct blk_backend like = {
		.readonly = how & 2, .discard = !(how & 2), .zero = !(how & 2), .serial = "fuzz"};

	random_state = how;
	again(&like, how & 1);
	guest.disk.random = some;
	guest.disk.fail = how & 4 ? 200 : 0;
	virtio_mmio_init(&mmio, guest.v, &window);
	if (how & 8)
		start(&in);
	while (in.bytes) {
		step(&in);
		check();
	}
	virtio_set_status(guest.v, 0);
	MUST(guest.f.pinned == 0 && guest.disk.steps == 0);
	return 0;
}
