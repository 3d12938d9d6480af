/* devices/virtio_blk.h: a virtio block device over a backend. Theory: top of virtio_blk.c.
 * Source: VIRTIO 1.2, 5.2. Threads: as devices/virtio.h; the backend calls virtio_blk_done()
 * with the device's lock held. */
#ifndef SLAT_DEVICES_VIRTIO_BLK_H
#define SLAT_DEVICES_VIRTIO_BLK_H

#include "devices/virtio.h"
#include "devices/virtio_blk_regs.h"

#define VIRTIO_BLK_QUEUES_MAX 16u
#define VIRTIO_BLK_QUEUE_SIZE 256u
#define VIRTIO_BLK_SEGMENTS   1024u /* of one step: as many as Linux takes in one call */

enum blk_op { BLK_READ, BLK_WRITE, BLK_FLUSH, BLK_DISCARD, BLK_ZERO };

/* One step of one request; the backend's from submit() until virtio_blk_done(). */
struct blk_step {
	enum blk_op op;
	uint64_t offset, bytes;		   /* bytes of the disk; checked: inside of it */
	bool unmap;			   /* BLK_ZERO: may give the space back */
	const struct dma_segment *segment; /* BLK_READ, BLK_WRITE: bytes in all */
	unsigned segments;
	void *backend; /* whatever it likes */
};

struct blk_backend {
	void *self;
	uint64_t bytes;			  /* a multiple of VIRTIO_BLK_SECTOR */
	uint32_t block_bytes;		  /* its own block: 512 to 4096, a power of two */
	bool readonly, discard, zero;	  /* what it can */
	char serial[VIRTIO_BLK_ID_BYTES]; /* padded with zeros */
	/* Starts it, or finishes it at once: virtio_blk_done() is then called within, for this step alone. */
	void (*submit)(void *self, struct blk_step *step);
	/* What was submitted, also within this very call, goes to the host now: once per burst. What has ended by then
	 * may be given to virtio_blk_done() within. NULL: submit does. */
	void (*kick)(void *self);
	/* Waits until every step was given to virtio_blk_done(): within the call, lock held. Nothing is submitted
	 * meanwhile. */
	void (*drain)(void *self);
};

struct virtio_blk_config {
	const char *name;
	const struct blk_backend *backend; /* borrowed */
	unsigned queues;		   /* 1 to VIRTIO_BLK_QUEUES_MAX */
	bool packed, platform;
	struct dma *dma; /* [queues], lent */
	struct irq irq;
	void (*broken)(void *owner, const char *name, const char *why);
	void *owner;
	void *memory; /* virtio_blk_bytes(queues), aligned to 64, lent: requests in flight */
};

struct virtio_blk_stats {
	uint64_t requests[BLK_ZERO + 1];
	uint64_t bytes_read, bytes_written, errors;
};

struct virtio_blk; /* the device; in lent memory */

size_t virtio_blk_bytes(unsigned queues);
struct virtio_blk *virtio_blk_init(const struct virtio_blk_config *config);
struct virtio *virtio_blk_virtio(struct virtio_blk *b);

/* A step has ended; ok: all of it. */
void virtio_blk_done(struct virtio_blk *b, struct blk_step *step, bool ok);
/* After a burst of virtio_blk_done() outside of submit(), kick() and drain(): the driver is told once, and what had to
 * wait goes on. */
void virtio_blk_completed(struct virtio_blk *b);

/* For who looks again and again instead of waiting for the driver's word: takes what came meanwhile, and is true iff
 * something did. The driver is asked not to notify, until a call with `last`. */
bool virtio_blk_poll(struct virtio_blk *b, bool last);

struct virtio_blk_stats virtio_blk_stats_read(const struct virtio_blk *b);
bool virtio_blk_check(const struct virtio_blk *b);

#endif
