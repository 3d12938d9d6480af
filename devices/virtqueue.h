/* devices/virtqueue.h: one virtqueue, split or packed, as its device sees it.
 * Theory: top of virtqueue.c. Source: VIRTIO 1.2, 2.6 to 2.9.
 *
 * Descriptors and ring entries are copied once and judged then. A driver that
 * breaks a rule breaks the queue: it says so once (VIRTQUEUE_BROKEN), its owner calls virtio_break(),
 * and it gives and takes nothing until it is reset.
 * Threads: one at a time (its device's lock).
 * Cost:    O(descriptors of the chain). */
#ifndef SLAT_DEVICES_VIRTQUEUE_H
#define SLAT_DEVICES_VIRTQUEUE_H

#include <stdbool.h>
#include <stdint.h>

#include "devices/dma.h"
#include "devices/virtio_regs.h"

#define VIRTQUEUE_SIZE_MAX 256u
#define VIRTQUEUE_HEADS	   16u

struct virtqueue_buffer {
	uint64_t iova;
	uint32_t bytes; /* never 0 */
};

/* One request: buffers that the device reads, then buffers that it writes. How a driver cut them means nothing
 * (2.7.4): devices address their bytes by offset. */
struct virtqueue_chain {
	uint16_t id;	  /* what the used ring says */
	uint16_t entries; /* of the ring that it takes: packed */
	uint16_t readable, writable;
	uint64_t readable_bytes, writable_bytes;
	struct virtqueue_buffer buffer[VIRTQUEUE_SIZE_MAX];
};

struct virtqueue_used { /* what is left of a chain that was popped, to give it back */
	uint16_t id, entries;
	uint32_t written;
};

enum virtqueue_result { VIRTQUEUE_OK, VIRTQUEUE_EMPTY, VIRTQUEUE_BROKEN };

struct virtqueue { /* what the transport writes, then private; lent by the device */
	struct dma *dma;
	uint16_t size_max; /* 0: no such queue */
	uint16_t size;
	uint64_t desc, driver, device; /* iova */
	bool ready;
	const char *broken; /* why, a phrase for people; NULL: sound */
	/* Told of broken, at once and once, so that no device can forget to; NULL: nobody. devices/virtio.c's. */
	void (*breaks)(void *owner, const char *why);
	void *owner;
	bool packed, event_index, indirect;
	uint16_t next_avail, next_used; /* split: free-running; packed: an index below size */
	bool avail_wrap, used_wrap;
	uint16_t seen;		  /* split: the driver's index when it was last looked at */
	uint16_t heads_at, heads; /* split: copies of so many entries of the available ring, from that index on */
	uint16_t head[VIRTQUEUE_HEADS];
	uint16_t told;	    /* flags that tell the driver whether to notify, as last written */
	uint32_t since;	    /* ring entries used since the last answer of virtqueue_wants_interrupt(); saturates */
	unsigned in_flight; /* popped, not pushed */
	uint64_t chains;    /* since init */
};

/* dma, borrowed, must be of this queue alone. */
void virtqueue_init(struct virtqueue *q, struct dma *dma, uint16_t size_max);

/* The driver has said its last word about addresses and size. features: those it accepted. False iff one of them is
 * not what 2.7 and 2.8 allow (size: 0, above size_max, split no power of two; alignment): the queue stays off. */
bool virtqueue_enable(struct virtqueue *q, uint64_t features);
void virtqueue_reset(struct virtqueue *q); /* as after init */

/* The next chain, which the device now owns until it pushes it. EMPTY: none, or the queue is off. BROKEN: the first
 * time that something is wrong: loops, more buffers than the queue's size, an index out of range, a ring that is not
 * mapped, zero length, readable behind writable, indirect in indirect, ... */
enum virtqueue_result virtqueue_pop(struct virtqueue *q, struct virtqueue_chain *out);
/* The chain that was popped last was not taken: the next pop gives it again. */
void virtqueue_unpop(struct virtqueue *q, const struct virtqueue_chain *chain);
/* Gives it back: the device wrote the first `written` of its writable bytes. False: the ring cannot be written: broken.
 */
bool virtqueue_push(struct virtqueue *q, const struct virtqueue_chain *chain, uint32_t written);
/* Several, in their order, that the driver sees at once or not at all: the buffers of one frame. */
bool virtqueue_push_all(struct virtqueue *q, const struct virtqueue_used *used, unsigned count);
/* The last `count` that were popped, in their order. */
void virtqueue_unpop_all(struct virtqueue *q, const struct virtqueue_used *used, unsigned count);
/* Must the driver be told of what was pushed since the last call? Once per burst. */
bool virtqueue_wants_interrupt(struct virtqueue *q);
/* Asks the driver to notify, or not to. On: true iff a chain came meanwhile: pop again. */
bool virtqueue_notify_on(struct virtqueue *q);
void virtqueue_notify_off(struct virtqueue *q);

/* Bytes [offset, offset + bytes) of what the driver wrote for the device, or of what the device answers; inside of
 * readable_bytes or writable_bytes, that is the caller's affair. False: a fault; q is broken. */
bool virtqueue_read(struct virtqueue *q, const struct virtqueue_chain *c, uint64_t offset, void *to, uint64_t bytes);
bool virtqueue_write(struct virtqueue *q, const struct virtqueue_chain *c, uint64_t offset, const void *from,
		     uint64_t bytes);
/* The same bytes as host segments, as dma_map(); to be ended by dma_unmap(q->dma, list). *mapped may be short of bytes
 * when the list is full. access: DMA_READ for the readable part, DMA_WRITE for the writable. A fault breaks q. */
enum dma_result virtqueue_map(struct virtqueue *q, const struct virtqueue_chain *c, enum dma_access access,
			      uint64_t offset, uint64_t bytes, struct dma_list *list, uint64_t *mapped);

bool virtqueue_check(const struct virtqueue *q); /* all invariants of virtqueue.c */

#endif
