/* devices/virtio_console.h: a virtio console with one port: bytes both ways, and
 * its terminal's size. Source: VIRTIO 1.2, 5.3. Threads: as devices/virtio.h. */
#ifndef SLAT_DEVICES_VIRTIO_CONSOLE_H
#define SLAT_DEVICES_VIRTIO_CONSOLE_H

#include "devices/sink.h"
#include "devices/virtio.h"
#include "devices/virtio_console_regs.h"

#define VIRTIO_CONSOLE_QUEUE_SIZE 64u

struct virtio_console_config {
	const char *name;
	struct sink out;
	uint16_t columns, rows; /* 0: not known; VIRTIO_CONSOLE_F_SIZE is offered all the same */
	bool packed, platform;
	struct dma *dma; /* [2], lent */
	struct irq irq;
	void (*room)(void *owner); /* virtio_console_input() would take bytes again, after it took less than all. May be
				      NULL. */
	void (*broken)(void *owner, const char *name, const char *why);
	void *owner;
};

struct virtio_console { /* private but for virtio */
	struct virtio virtio;
	struct sink out;
	void (*room)(void *owner);
	bool waiting; /* input did not fit */
	uint16_t columns, rows;
	struct virtqueue_chain chain;
};

void virtio_console_init(struct virtio_console *c, const struct virtio_console_config *config);
size_t virtio_console_input(struct virtio_console *c, const uint8_t *data, size_t bytes); /* how many it took */
void virtio_console_resize(struct virtio_console *c, uint16_t columns, uint16_t rows);

#endif
