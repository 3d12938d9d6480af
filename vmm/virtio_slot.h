/* vmm/virtio_slot.h: the place of one virtio device: its window on the MMIO bus, its
 * I/O APIC pin, its lock, its queues' ways to memory and its thread.
 * The order of a life: open, then the device is made of slot->dma and
 * virtio_slot_irq(), attach, start, ask, stop, end, close. close() is fine on a half-made one.
 * Threads: all from the main thread, but virtio_slot_irq()'s set(), which any may call with the
 * slot's lock held. Theory: top of virtio_slot.c. */
#ifndef SLAT_VMM_VIRTIO_SLOT_H
#define SLAT_VMM_VIRTIO_SLOT_H

#include "devices/virtio_mmio.h"
#include "vmm/abi.h"
#include "vmm/board.h"
#include "vmm/memory.h"
#include "vmm/worker.h"

#define VIRTIO_SLOT_NAME 16u /* as much as a thread's has */

struct virtio_slot_config {
	int vm;
	struct board *board;
	struct memory *memory;
	unsigned number;		 /* below ABI_VIRTIO_MAX */
	const char *name;		 /* "disk 0" */
	const struct dma_memory *ram;	 /* borrowed */
	struct iommu_endpoint *endpoint; /* NULL: not behind the IOMMU */
	unsigned queues;
	uint32_t in_exit; /* bit q: queue q is served by the vCPU that notifies, before it goes on */
};

struct virtio_slot {
	struct virtio_slot_config config;
	char name[VIRTIO_SLOT_NAME];
	bool open;
	pthread_mutex_t lock; /* of the device, its queues and its struct dma */
	struct virtio *virtio;
	struct virtio_mmio mmio;
	struct dma *dma; /* [queues] */
	int interrupt_fd, notify_fd[VIRTIO_QUEUES_MAX];
	struct worker worker;
};

int virtio_slot_open(struct virtio_slot *s, const struct virtio_slot_config *config, struct failure *f);
struct irq virtio_slot_irq(struct virtio_slot *s);

/* The guest finds the device from here on. Borrows it. EXIT_KVM iff KVM refuses its eventfds. */
int virtio_slot_attach(struct virtio_slot *s, struct virtio *virtio, struct failure *f);
int virtio_slot_start(struct virtio_slot *s, struct failure *f);

void virtio_slot_ask(struct virtio_slot *s);  /* the thread is to end soon; waits for nothing */
void virtio_slot_stop(struct virtio_slot *s); /* joins it. No vCPU runs */
/* What the device has under way is ended: it uses nothing of the guest's memory then. Its backend is still there. */
void virtio_slot_end(struct virtio_slot *s);
void virtio_slot_close(struct virtio_slot *s);

#endif
