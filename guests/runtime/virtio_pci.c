/* virtio_pci.c: the registers of a modern device are where its vendor
 * capabilities say: a part of a BAR each. A part in a BAR that
 * no firmware placed is left out; without all four there is no device.
 * MSI-X stays off: interrupts() reads what would be INTx. */
#include "guests/runtime/virtio_pci.h"

#include <stddef.h>

#include "guests/runtime/cpu.h"
#include "guests/runtime/memory.h"
#include "guests/runtime/paging.h"

#define PCI_ADDRESS	    0xcf8
#define PCI_DATA	    0xcfc
#define PCI_ENABLE	    0x80000000u
#define PCI_FUNCTIONS	    256u /* of the first bus: a slot and a function of it in 8 bits */
#define PCI_ID		    0x00
#define PCI_COMMAND	    0x04
#define PCI_BAR		    0x10
#define PCI_CAPABILITIES    0x34
#define PCI_BARS	    6u
#define COMMAND_MEMORY	    (1u << 1)
#define COMMAND_MASTER	    (1u << 2)
#define STATUS_CAPABILITIES (1u << 20) /* of the command's doubleword */
#define BAR_IO		    1u
#define BAR_64		    4u
#define CAPABILITY_VENDOR   9u
#define CAPABILITIES_MAX    48u /* of 4 bytes and more each, in 192 bytes: then they loop */
#define VIRTIO_VENDOR	    0x1af4u
#define VIRTIO_MODERN	    0x1040u /* and the device's id on top */

enum part { PART_COMMON = 1, PART_NOTIFY, PART_ISR, PART_CONFIG }; /* 4.1.4 */

enum reg { /* 4.1.4.3 */
	   DEVICE_FEATURE_SELECT = 0,
	   DEVICE_FEATURE = 4,
	   DRIVER_FEATURE_SELECT = 8,
	   DRIVER_FEATURE = 12,
	   NUM_QUEUES = 18,
	   DEVICE_STATUS = 20,
	   CONFIG_GENERATION = 21,
	   QUEUE_SELECT = 22,
	   QUEUE_SIZE = 24,
	   QUEUE_ENABLE = 28,
	   QUEUE_NOTIFY_OFF = 30,
	   QUEUE_DESC = 32,
	   QUEUE_DRIVER = 40,
	   QUEUE_DEVICE = 48,
	   QUEUE_RESET = 58,
	   COMMON_BYTES = 60,
};

static uint16_t get16(const struct virtio_device *d, enum reg reg)
{
	return *(volatile uint16_t *)(d->common + reg);
}

static void set16(struct virtio_device *d, enum reg reg, uint16_t value)
{
	*(volatile uint16_t *)(d->common + reg) = value;
}

static void set32(struct virtio_device *d, enum reg reg, uint32_t value)
{
	*(volatile uint32_t *)(d->common + reg) = value;
}

static void set64(struct virtio_device *d, enum reg reg, uint64_t value)
{
	set32(d, reg, (uint32_t)value);
	set32(d, reg + 4, (uint32_t)(value >> 32));
}

static uint32_t features(struct virtio_device *d, unsigned half)
{
	set32(d, DEVICE_FEATURE_SELECT, half);
	return *(volatile uint32_t *)(d->common + DEVICE_FEATURE);
}

static void features_set(struct virtio_device *d, unsigned half, uint32_t bits)
{
	set32(d, DRIVER_FEATURE_SELECT, half);
	set32(d, DRIVER_FEATURE, bits);
}

static uint32_t status(struct virtio_device *d)
{
	return d->common[DEVICE_STATUS];
}

static void status_set(struct virtio_device *d, uint32_t value)
{
	d->common[DEVICE_STATUS] = (uint8_t)value;
}

static uint16_t queue_max(struct virtio_device *d, uint16_t queue)
{
	if (queue >= get16(d, NUM_QUEUES))
		return 0;
	set16(d, QUEUE_SELECT, queue);
	return get16(d, QUEUE_SIZE);
}

static void queue_start(struct virtio_device *d, uint16_t queue, const struct virtio_place *place)
{
	set16(d, QUEUE_SELECT, queue);
	set16(d, QUEUE_SIZE, place->size);
	set64(d, QUEUE_DESC, place->desc);
	set64(d, QUEUE_DRIVER, place->driver);
	set64(d, QUEUE_DEVICE, place->device);
	set16(d, QUEUE_ENABLE, 1);
}

static bool queue_ready(struct virtio_device *d, uint16_t queue)
{
	set16(d, QUEUE_SELECT, queue);
	return get16(d, QUEUE_ENABLE) == 1;
}

static void queue_reset(struct virtio_device *d, uint16_t queue)
{
	set16(d, QUEUE_SELECT, queue);
	set16(d, QUEUE_RESET, 1);
}

static bool queue_resetting(struct virtio_device *d)
{
	return get16(d, QUEUE_RESET) != 0;
}

static void notify(struct virtio_device *d, uint16_t queue)
{
	set16(d, QUEUE_SELECT, queue);
	*(volatile uint16_t *)(d->notify + (uint64_t)get16(d, QUEUE_NOTIFY_OFF) * d->notify_step) = queue;
}

static uint32_t interrupts(struct virtio_device *d)
{
	return *d->isr; /* the read takes them back */
}

static uint32_t generation(struct virtio_device *d)
{
	return d->common[CONFIG_GENERATION];
}

static const struct virtio_transport pci = {
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

static uint32_t pci_read(unsigned function, unsigned reg)
{
	port_write32(PCI_ADDRESS, PCI_ENABLE | function << 8 | (reg & 0xfc));
	return port_read32(PCI_DATA);
}

static void pci_write(unsigned function, unsigned reg, uint32_t value)
{
	port_write32(PCI_ADDRESS, PCI_ENABLE | function << 8 | (reg & 0xfc));
	port_write32(PCI_DATA, value);
}

/* 0: the firmware gave it no place, or it is one of ports. */
static uint64_t bar_address(unsigned function, unsigned bar)
{
	uint32_t low = bar < PCI_BARS ? pci_read(function, PCI_BAR + 4 * bar) : 0;

	if (low == 0 || low & BAR_IO)
		return 0;
	if ((low & 6) == BAR_64 && bar + 1 < PCI_BARS)
		return (low & ~15u) | (uint64_t)pci_read(function, PCI_BAR + 4 * bar + 4) << 32;
	return low & ~15u;
}

static void part_add(unsigned function, unsigned at, struct virtio_device *out)
{
	enum part part = pci_read(function, at) >> 24;
	uint64_t bar = bar_address(function, pci_read(function, at + 4) & 0xff);
	uint64_t start = bar + pci_read(function, at + 8), bytes = pci_read(function, at + 12);
	volatile uint8_t *place = (volatile uint8_t *)(uintptr_t)start;

	if (part < PART_COMMON || part > PART_CONFIG || bar == 0 || bytes == 0)
		return;
	if (part == PART_COMMON)
		out->common = place;
	else if (part == PART_NOTIFY)
		out->notify = place, out->notify_step = pci_read(function, at + 16);
	else if (part == PART_ISR)
		out->isr = place;
	else
		out->config = place;
	paging_share_device(start & -FRAME_BYTES, (start % FRAME_BYTES + bytes + FRAME_BYTES - 1) & -FRAME_BYTES);
}

static bool parts_find(unsigned function, struct virtio_device *out)
{
	unsigned at =
		pci_read(function, PCI_COMMAND) & STATUS_CAPABILITIES ? pci_read(function, PCI_CAPABILITIES) & 0xfc : 0;

	for (unsigned i = 0; at != 0 && i < CAPABILITIES_MAX; i++) {
		uint32_t head = pci_read(function, at);

		if ((head & 0xff) == CAPABILITY_VENDOR)
			part_add(function, at, out);
		at = head >> 8 & 0xfc;
	}
	return out->common && out->notify && out->isr && out->config;
}

bool virtio_pci_find(unsigned nth, struct virtio_device *out)
{
	for (unsigned function = 0; function < PCI_FUNCTIONS; function++) {
		if (pci_read(function, PCI_ID) != (VIRTIO_VENDOR | (VIRTIO_MODERN + out->id) << 16) || nth-- > 0)
			continue;
		pci_write(function, PCI_COMMAND,
			  (pci_read(function, PCI_COMMAND) & 0xffff) | COMMAND_MEMORY | COMMAND_MASTER);
		out->transport = &pci;
		out->endpoint = function;
		return parts_find(function, out);
	}
	return false;
}
