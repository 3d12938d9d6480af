/* virtio.c: what is the same on every transport. */
#include "guests/runtime/virtio.h"

#include "guests/runtime/cpu.h"
#include "guests/runtime/memory.h"
#include "guests/runtime/string.h"
#include "guests/runtime/virtio_mmio.h"
#include "guests/runtime/virtio_pci.h"

#define RESET_CYCLES (UINT64_C(1) << 35) /* some ten seconds */

static void *plain_take(void *unused, uint64_t bytes)
{
	uint64_t frames = (bytes + FRAME_BYTES - 1) >> FRAME_SHIFT;
	void *memory = (void *)(uintptr_t)(memory_carve_high(frames).n << FRAME_SHIFT);

	(void)unused;
	return memset(memory, 0, frames << FRAME_SHIFT);
}

static uint64_t plain_address(void *unused, const void *at)
{
	(void)unused;
	return (uintptr_t)at;
}

struct virtio_dma virtio_dma_plain(void)
{
	return (struct virtio_dma){.take = plain_take, .address = plain_address};
}

bool virtio_find(const char *cmdline, uint32_t id, unsigned nth, struct virtio_device *out)
{
	*out = (struct virtio_device){.id = id, .dma = virtio_dma_plain()};
	return virtio_mmio_find(cmdline, nth, out) || virtio_pci_find(nth, out);
}

bool virtio_reset(struct virtio_device *self)
{
	uint64_t start = cpu_cycles();

	self->transport->status_set(self, 0);
	while (self->transport->status(self) != 0) {
		if (cpu_cycles() - start > RESET_CYCLES)
			return false;
		cpu_relax();
	}
	return true;
}

bool virtio_begin(struct virtio_device *self)
{
	if (!virtio_reset(self))
		return false;
	self->transport->status_set(self, VIRTIO_STATUS_ACKNOWLEDGE);
	self->transport->status_set(self, VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER);
	self->offered = self->transport->features(self, 0) | (uint64_t)self->transport->features(self, 1) << 32;
	self->accepted = 0;
	return true;
}

bool virtio_negotiate(struct virtio_device *self, uint64_t wanted)
{
	const uint32_t so_far = VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER;
	const uint64_t must =
		VIRTIO_BIT(VIRTIO_F_VERSION_1) | (self->behind ? VIRTIO_BIT(VIRTIO_F_ACCESS_PLATFORM) : 0);

	self->accepted = self->offered & (wanted | must);
	self->transport->features_set(self, 0, (uint32_t)self->accepted);
	self->transport->features_set(self, 1, (uint32_t)(self->accepted >> 32));
	self->transport->status_set(self, so_far | VIRTIO_STATUS_FEATURES_OK);
	return (self->accepted & must) == must && self->transport->status(self) & VIRTIO_STATUS_FEATURES_OK;
}

void virtio_ready(struct virtio_device *self)
{
	self->transport->status_set(self, self->transport->status(self) | VIRTIO_STATUS_DRIVER_OK);
}

bool virtio_needs_reset(struct virtio_device *self)
{
	return self->transport->status(self) & VIRTIO_STATUS_NEEDS_RESET;
}

bool virtio_has(const struct virtio_device *self, unsigned feature)
{
	return self->accepted & VIRTIO_BIT(feature);
}

bool virtio_queue_reset(struct virtio_device *self, uint16_t queue)
{
	uint64_t start = cpu_cycles();

	self->transport->queue_reset(self, queue);
	while (self->transport->queue_resetting(self)) {
		if (cpu_cycles() - start > RESET_CYCLES)
			return false;
		cpu_relax();
	}
	return !self->transport->queue_ready(self, queue);
}

static uint64_t config_once(struct virtio_device *self, uint32_t offset, unsigned bytes)
{
	volatile uint8_t *at = self->config + offset;

	switch (bytes) {
	case 1:
		return *at;
	case 2:
		return *(volatile uint16_t *)at;
	case 4:
		return *(volatile uint32_t *)at;
	default:
		return *(volatile uint32_t *)at | (uint64_t) * (volatile uint32_t *)(at + 4) << 32;
	}
}

/* What takes two reads may change between them: the generation tells. */
uint64_t virtio_config(struct virtio_device *self, uint32_t offset, unsigned bytes)
{
	uint32_t before;
	uint64_t value;

	do {
		before = self->transport->generation(self);
		value = config_once(self, offset, bytes);
	} while (bytes == 8 && self->transport->generation(self) != before);
	return value;
}

void virtio_config_set(struct virtio_device *self, uint32_t offset, unsigned bytes, uint32_t value)
{
	volatile uint8_t *at = self->config + offset;

	if (bytes == 1)
		*at = (uint8_t)value;
	else if (bytes == 2)
		*(volatile uint16_t *)at = (uint16_t)value;
	else
		*(volatile uint32_t *)at = value;
}

void *virtio_take(struct virtio_device *self, uint64_t bytes)
{
	return self->dma.take(self->dma.self, bytes);
}

uint64_t virtio_address(const struct virtio_device *self, const void *at)
{
	return self->dma.address(self->dma.self, at);
}
