#include "guests/runtime/virtio_mmio.h"

#include <stddef.h>

#include "guests/runtime/paging.h"
#include "guests/runtime/string.h"
#include "vmm/abi.h"

static uint32_t get(const struct virtio_device *d, uint32_t reg)
{
	return *(volatile uint32_t *)(d->common + reg);
}

static void set(struct virtio_device *d, uint32_t reg, uint32_t value)
{
	*(volatile uint32_t *)(d->common + reg) = value;
}

static uint32_t features(struct virtio_device *d, unsigned half)
{
	set(d, VIRTIO_MMIO_DEVICE_FEATURES_SEL, half);
	return get(d, VIRTIO_MMIO_DEVICE_FEATURES);
}

static void features_set(struct virtio_device *d, unsigned half, uint32_t bits)
{
	set(d, VIRTIO_MMIO_DRIVER_FEATURES_SEL, half);
	set(d, VIRTIO_MMIO_DRIVER_FEATURES, bits);
}

static uint32_t status(struct virtio_device *d)
{
	return get(d, VIRTIO_MMIO_STATUS);
}

static void status_set(struct virtio_device *d, uint32_t value)
{
	set(d, VIRTIO_MMIO_STATUS, value);
}

static uint16_t queue_max(struct virtio_device *d, uint16_t queue)
{
	set(d, VIRTIO_MMIO_QUEUE_SEL, queue);
	return (uint16_t)get(d, VIRTIO_MMIO_QUEUE_SIZE_MAX);
}

static void set_wide(struct virtio_device *d, uint32_t low, uint64_t value)
{
	set(d, low, (uint32_t)value);
	set(d, low + 4, (uint32_t)(value >> 32));
}

static void queue_start(struct virtio_device *d, uint16_t queue, const struct virtio_place *place)
{
	set(d, VIRTIO_MMIO_QUEUE_SEL, queue);
	set(d, VIRTIO_MMIO_QUEUE_SIZE, place->size);
	set_wide(d, VIRTIO_MMIO_QUEUE_DESC_LOW, place->desc);
	set_wide(d, VIRTIO_MMIO_QUEUE_DRIVER_LOW, place->driver);
	set_wide(d, VIRTIO_MMIO_QUEUE_DEVICE_LOW, place->device);
	set(d, VIRTIO_MMIO_QUEUE_READY, 1);
}

static bool queue_ready(struct virtio_device *d, uint16_t queue)
{
	set(d, VIRTIO_MMIO_QUEUE_SEL, queue);
	return get(d, VIRTIO_MMIO_QUEUE_READY) == 1;
}

static void queue_reset(struct virtio_device *d, uint16_t queue)
{
	set(d, VIRTIO_MMIO_QUEUE_SEL, queue);
	set(d, VIRTIO_MMIO_QUEUE_RESET, 1);
}

static bool queue_resetting(struct virtio_device *d)
{
	return get(d, VIRTIO_MMIO_QUEUE_RESET) != 0;
}

static void notify(struct virtio_device *d, uint16_t queue)
{
	set(d, VIRTIO_MMIO_QUEUE_NOTIFY, queue);
}

static uint32_t interrupts(struct virtio_device *d)
{
	uint32_t raised = get(d, VIRTIO_MMIO_INTERRUPT_STATUS);

	set(d, VIRTIO_MMIO_INTERRUPT_ACK, raised);
	return raised;
}

static uint32_t generation(struct virtio_device *d)
{
	return get(d, VIRTIO_MMIO_CONFIG_GENERATION);
}

static const struct virtio_transport mmio = {
	.features = features,
	.features_set = features_set,
	.status = status,
	.status_set = status_set,
	.queue_max = queue_max,
	.queue_start = queue_start,
	.queue_ready = queue_ready,
	.queue_reset = queue_reset,
	.queue_resetting = queue_resetting,
	.notify = notify,
	.interrupts = interrupts,
	.generation = generation,
};

/* Counts *nth down where the window has a device of the kind wanted; true iff it was the one. */
static bool is_it(uint64_t window, unsigned number, unsigned *nth, struct virtio_device *out)
{
	volatile uint8_t *at = (volatile uint8_t *)(uintptr_t)window;

	if (*(volatile uint32_t *)(at + VIRTIO_MMIO_VERSION) != VIRTIO_MMIO_MODERN ||
	    *(volatile uint32_t *)(at + VIRTIO_MMIO_DEVICE_ID) != out->id || (*nth)-- > 0)
		return false;
	out->transport = &mmio;
	out->endpoint = number;
	out->common = at;
	out->config = at + VIRTIO_MMIO_CONFIG;
	paging_share_device(window & -FRAME_BYTES, FRAME_BYTES);
	return true;
}

static bool magic_at(uint64_t window)
{
	return *(volatile uint32_t *)(uintptr_t)(window + VIRTIO_MMIO_MAGIC) == VIRTIO_MAGIC;
}

/* virtio_mmio.device=SIZE@ADDRESS:IRQ, as Linux knows it. */
static bool find_named(const char *word, unsigned nth, struct virtio_device *out)
{
	for (unsigned number = 0; word; word = text_value(word, "virtio_mmio.device"), number++) {
		uint64_t window;

		while (*word != '@' && *word != ' ' && *word != '\0')
			word++;
		window = *word == '@' ? text_number(word + 1, &word) : 0;
		if (window != 0 && magic_at(window) && is_it(window, number, &nth, out))
			return true;
	}
	return false;
}

bool virtio_mmio_find(const char *cmdline, unsigned nth, struct virtio_device *out)
{
	const char *word = text_value(cmdline, "virtio_mmio.device");

	if (word)
		return find_named(word, nth, out);
	for (unsigned n = 0; n < ABI_VIRTIO_MAX; n++) {
		uint64_t window = ABI_VIRTIO_FIRST + (uint64_t)n * ABI_VIRTIO_STRIDE;

		if (!magic_at(window))
			return false;
		if (is_it(window, n, &nth, out))
			return true;
	}
	return false;
}
