/* vmm/virtio_slot.c
 *
 * What it is. The wires of one virtio device, whichever it is: from the driver's
 * notification to the device (an eventfd that KVM writes to for a write to
 * QUEUE_NOTIFY, no exit), from the device to the driver (an eventfd that KVM makes an
 * interrupt of, no system call of the vCPU's), and to memory (one struct dma a queue).
 * All other registers are exits, and served in them with the lock held.
 *
 *   S1  the lock is held in every call into the device, whoever calls: its thread, a
 *       vCPU in an exit, the main thread.
 *   S2  the slot's number is its reader number everywhere: all of its queues are used
 *       with the lock held, so no two are a reader at once.
 *   S3  after virtio_slot_stop() nobody calls the device, as no vCPU runs: what it
 *       counted is the run's. What it had under way it still has, until
 *       virtio_slot_end().
 *
 * A queue that is served in the exit has no eventfd: what was asked is done when
 * the vCPU goes on. The IOMMU's requests are such: a driver that has unmapped may give
 * the memory to another use at once.
 *
 * Locks. A device's lock, then the I/O APIC's: an interrupt is raised with the device's
 * held. A vCPU that programs the I/O APIC takes no device's.
 *
 * Cost. A slot: one eventfd, and one a queue; 19 KiB a queue (devices/dma.h); a thread's
 * stack. A run without such devices has none of it. Since Linux 6.18 KVM frees what
 * an event descriptor's registration replaced some 12 ms later, and the VM's close waits
 * for that: a run that is shorter ends so much later, a longer one at once. No order
 * of closing avoids it, and a deassignment would only start another such wait. */
#include "vmm/virtio_slot.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "mm/port.h"
#include "vmm/kvm.h"
#include "vmm/sys.h"

#define CACHE_LINE     64
#define REGISTER_BYTES 4u

static void notified(void *self, unsigned queue, short revents)
{
	struct virtio_slot *s = self;
	uint64_t times;

	(void)revents;
	if (read(s->notify_fd[queue], &times, sizeof(times)) == (ssize_t)sizeof(times))
		virtio_notify(s->virtio, queue);
}

static int open_queue(struct virtio_slot *s, unsigned q, struct failure *f)
{
	const struct virtio_slot_config *c = &s->config;

	dma_init(&s->dma[q], c->ram, c->endpoint, c->number); /* S2 */
	if (c->in_exit >> q & 1)
		return 0;
	s->notify_fd[q] = sys_eventfd(s->name, f);
	if (f->code)
		return f->code;
	worker_add(&s->worker, s->notify_fd[q], POLLIN, s, q, notified);
	return 0;
}

int virtio_slot_open(struct virtio_slot *s, const struct virtio_slot_config *config, struct failure *f)
{
	MM_ASSERT(config->number < ABI_VIRTIO_MAX && config->queues <= VIRTIO_QUEUES_MAX, config->number,
		  config->queues);
	*s = (struct virtio_slot){.config = *config, .open = true, .interrupt_fd = -1};
	snprintf(s->name, sizeof(s->name), "%s", config->name);
	for (unsigned q = 0; q < VIRTIO_QUEUES_MAX; q++)
		s->notify_fd[q] = -1;
	pthread_mutex_init(&s->lock, NULL);
	s->dma = memory_alloc_aligned(config->memory, config->queues * sizeof(*s->dma), CACHE_LINE);
	if (!s->dma)
		return fail(f, EXIT_HOST, "no memory for the %u queues of %s", config->queues, s->name);
	if (worker_open(&s->worker, s->name, &s->lock, f))
		return f->code;
	s->interrupt_fd = sys_eventfd(s->name, f);
	if (f->code)
		return f->code;
	for (unsigned q = 0; q < config->queues; q++)
		if (open_queue(s, q, f))
			return f->code;
	return 0;
}

static void pulse(void *self, unsigned line, bool level)
{
	struct virtio_slot *s = self;

	if (level)
		board_pulse(s->config.board, line);
}

struct irq virtio_slot_irq(struct virtio_slot *s)
{
	return (struct irq){s, ABI_VIRTIO_PIN + s->config.number, pulse};
}

int virtio_slot_attach(struct virtio_slot *s, struct virtio *virtio, struct failure *f)
{
	const struct virtio_slot_config *c = &s->config;
	const uint64_t gpa = ABI_VIRTIO_FIRST + (uint64_t)c->number * ABI_VIRTIO_STRIDE;
	const unsigned pin = ABI_VIRTIO_PIN + c->number;
	struct device device;
	int error;

	s->virtio = virtio;
	virtio_mmio_init(&s->mmio, virtio, &device);
	board_add(c->board, gpa, VIRTIO_MMIO_WINDOW, device, &s->lock, pin, s->interrupt_fd);
	error = kvm_vm_irqfd(c->vm, pin, s->interrupt_fd);
	for (unsigned q = 0; !error && q < c->queues; q++)
		if (s->notify_fd[q] >= 0)
			error = kvm_vm_ioeventfd(c->vm, gpa + VIRTIO_MMIO_QUEUE_NOTIFY, REGISTER_BYTES, q,
						 s->notify_fd[q]);
	if (error)
		return fail(f, EXIT_KVM, "KVM refused an event descriptor of %s: %s", s->name, strerror(-error));
	return 0;
}

int virtio_slot_start(struct virtio_slot *s, struct failure *f)
{
	return worker_start(&s->worker, f);
}

void virtio_slot_ask(struct virtio_slot *s)
{
	worker_ask(&s->worker);
}

void virtio_slot_stop(struct virtio_slot *s)
{
	worker_stop(&s->worker);
}

void virtio_slot_end(struct virtio_slot *s)
{
	if (!s->virtio)
		return;
	pthread_mutex_lock(&s->lock); /* S1 */
	if (s->virtio->config.ops->stop)
		s->virtio->config.ops->stop(s->virtio->config.self, VIRTIO_ALL_QUEUES);
	pthread_mutex_unlock(&s->lock);
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void virtio_slot_close(struct virtio_slot *s)
{
	if (!s->open)
		return;
	worker_stop(&s->worker);
	close_fd(&s->interrupt_fd);
	for (unsigned q = 0; q < VIRTIO_QUEUES_MAX; q++)
		close_fd(&s->notify_fd[q]);
	memory_free(s->config.memory, s->dma);
	pthread_mutex_destroy(&s->lock);
	s->open = false;
}
