/* tests/fuzz/fuzz_virtio_mmio.c: a guest that does anything to the registers of a virtio device over MMIO, with any
 * ring in its memory.
 *
 * Looked for: a crash, undefined behaviour, a broken invariant, a status bit that goes without a reset, a device that
 * is started, told or interrupts while it may not be, an access to memory while no queue is on, an answer from
 * configuration that is not there.
 *
 * Input: a byte of what the device offers; then steps: a verb, and what it takes. */
#include "devices/virtio_mmio.h"
#include "tests/fuzz/must.h"
#include "tests/unit/toy_device.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define RING 0x10000u
#define DATA 0x12000u

static struct fake_dma f;
static struct toy toy;
static struct virtio_mmio mmio;
static struct device device;

struct input {
	const uint8_t *data;
	size_t left;
};

static uint8_t byte(struct input *in)
{
	if (in->left == 0)
		return 0;
	in->left--;
	return *in->data++;
}

static uint64_t number(struct input *in, unsigned bytes)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < bytes; i++)
		value |= (uint64_t)byte(in) << 8 * i;
	return value;
}

static void read_any(struct input *in)
{
	unsigned width = 1u << byte(in) % 4;
	uint64_t offset = number(in, 2) % (VIRTIO_MMIO_WINDOW - 7);
	uint64_t got = device.read(device.self, offset, width);

	if (offset >= VIRTIO_MMIO_CONFIG && offset - VIRTIO_MMIO_CONFIG + width > TOY_CONFIG_BYTES)
		MUST(got == UINT64_MAX);
}

static void poke_memory(struct input *in)
{
	uint64_t at = RING + number(in, 2) % FAKE_DMA_PAGE;
	unsigned bytes = byte(in) % 33;

	for (unsigned i = 0; i < bytes && at + i < RING + FAKE_DMA_PAGE; i++)
		*fake_dma_host(&f, at + i, 1) = byte(in);
}

/* As a driver does it, up to `steps` of the way. */
static void bring_up(unsigned steps, uint16_t size)
{
	static const uint32_t offsets[] = {
		VIRTIO_MMIO_STATUS,	     VIRTIO_MMIO_STATUS,	   VIRTIO_MMIO_DRIVER_FEATURES_SEL,
		VIRTIO_MMIO_DRIVER_FEATURES, VIRTIO_MMIO_STATUS,	   VIRTIO_MMIO_QUEUE_SIZE,
		VIRTIO_MMIO_QUEUE_DESC_LOW,  VIRTIO_MMIO_QUEUE_DRIVER_LOW, VIRTIO_MMIO_QUEUE_DEVICE_LOW,
		VIRTIO_MMIO_QUEUE_READY,     VIRTIO_MMIO_STATUS,
	};
	const uint32_t values[] = {
		0, 3, 1, (uint32_t)(toy.virtio.offered >> 32), 11, size, RING, RING + 0x400, RING + 0x800, 1, 15};

	for (unsigned i = 0; i < sizeof(offsets) / sizeof(offsets[0]) && i < steps; i++)
		device.write(device.self, offsets[i], 4, values[i]);
}

static void step(struct input *in)
{
	uint64_t offset;
	unsigned first; /* of two arguments, whose order would be the compiler's */

	switch (byte(in) % 8) {
	case 0:
		offset = byte(in) * 4u;
		device.write(device.self, offset % VIRTIO_MMIO_CONFIG, 4, number(in, 4));
		break;
	case 1:
		offset = byte(in) * 4u;
		device.write(device.self, offset % VIRTIO_MMIO_CONFIG, 4, byte(in));
		break;
	case 2:
		read_any(in);
		break;
	case 3:
		offset = number(in, 2) % (VIRTIO_MMIO_WINDOW - 7);
		first = 1u << byte(in) % 4;
		device.write(device.self, offset, first, number(in, 8));
		break;
	case 4:
		poke_memory(in);
		break;
	case 5:
		first = byte(in);
		bring_up(first, byte(in) % 32);
		break;
	case 6:
		virtio_changed(&toy.virtio);
		break;
	default:
		device.write(device.self, VIRTIO_MMIO_QUEUE_NOTIFY, 4, byte(in) % 4);
	}
}

/* A device that starts looks at the queues that are ready, as if each had been notified of. */
static unsigned looked_at(const struct virtio *v)
{
	unsigned n = 0;

	for (unsigned i = 0; i < v->config.queues; i++)
		n += v->queue[i].ready;
	return n;
}

static void checked_step(struct input *in)
{
	const struct virtio *v = &toy.virtio;
	uint32_t status = v->status;
	const struct virtio_stats stats = v->stats;
	unsigned notes = toy.notes, pulses = toy.pulses, starts = toy.starts;
	uint64_t accesses = f.accesses;
	bool could = virtio_running(v);

	step(in);
	MUST(virtio_check(v) && !toy.level);
	MUST(!(status & ~v->status) || v->stats.resets > stats.resets);
	MUST(toy.pulses == v->stats.interrupts && toy.breaks == v->stats.broken);
	MUST(toy.notes - notes ==
	     v->stats.notifications - stats.notifications + (toy.starts == starts ? 0 : looked_at(v)));
	if (!could && !virtio_running(v) && v->stats.resets == stats.resets)
		MUST(f.accesses == accesses && toy.notes == notes && toy.pulses == pulses);
	MUST(toy.starts == starts || toy.running_at_start);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	uint8_t kind = byte(&in);

	if (f.regions == 0) {
		fake_dma_init(&f);
		fake_dma_add(&f, RING, FAKE_DMA_PAGE, DMA_READ | DMA_WRITE);
		fake_dma_add(&f, DATA, FAKE_DMA_PAGE, DMA_READ | DMA_WRITE);
	}
	fake_dma_forget(&f);
	for (unsigned i = 0; i < f.regions; i++)
		memset(f.region[i].host, 0, FAKE_DMA_PAGE);
	toy_init(&toy, &f, kind & 1, kind & 2);
	virtio_mmio_init(&mmio, &toy.virtio, &device);
	while (in.left)
		checked_step(&in);
	return 0;
}
