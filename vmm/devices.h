/* vmm/devices.h: the virtio devices of a guest with their backends: made from the
 * options, in the order of their slots (IOMMU, disks, networks, console, entropy,
 * balloon), and taken down in reverse. Theory: top of devices.c.
 * Threads: the main one. */
#ifndef SLAT_VMM_DEVICES_H
#define SLAT_VMM_DEVICES_H

#include "vmm/options.h"
#include "vmm/virtio_slot.h"

enum device_kind { DEVICE_IOMMU, DEVICE_DISK, DEVICE_NET, DEVICE_CONSOLE, DEVICE_RNG, DEVICE_BALLOON, DEVICE_KINDS };

struct device_box { /* one device */
	enum device_kind kind;
	unsigned index; /* among its kind, as the options count them */
	struct virtio_slot slot;
	void *model;	   /* struct virtio_blk, virtio_net, ... */
	void *backend;	   /* struct disk, net, balloon_back, ...; NULL: none, or not open */
	uint64_t told_ns;  /* (slot.lock) the last line about a driver that broke a rule, */
	uint64_t not_told; /* and how often none was written since */
};

struct vm;
struct stat;
struct disk;
struct iommu_host;

struct devices {
	struct vm *vm;
	const struct run_options *options;
	struct memory *memory;
	struct dma_memory ram;
	struct iommu_host *iommu; /* NULL: none */
	unsigned count;
	struct device_box *box[ABI_VIRTIO_MAX]; /* by slot */
	struct device_box *console;		/* NULL: none */
};

const char *device_kind_name(enum device_kind kind);

/* Borrows the VM, which has its memory and board, and the options. One sentence on failure; devices_close() then. */
int devices_open(struct devices *d, struct vm *vm, const struct run_options *options, struct failure *f);

/* The disk that is this file or block device; NULL: none is. */
const struct disk *devices_disk(const struct devices *d, const struct stat *s);

/* Bit n: the device in slot n is behind the IOMMU. */
uint32_t devices_behind(const struct devices *d);

int devices_start(struct devices *d, struct failure *f); /* their threads: before the first vCPU's */

/* The threads are to end: asks, tells whether all have, and waits for them. A thread may be waiting for the console's
 * reader. No vCPU runs. After devices_close() nothing of the guest's memory is in use. */
void devices_ask(struct devices *d);
bool devices_ended(const struct devices *d);
void devices_stop(struct devices *d);
void devices_close(struct devices *d);

/* Keys for the virtio console: as board_serial_feed(). */
bool devices_feed(struct devices *d, const uint8_t *data, size_t bytes, size_t *took, size_t *room);
/* The terminal has another size. False: the device is in use just now; try again later. */
bool devices_resize(struct devices *d);

#endif
