/* vmm/disk.h: a raw file or block device of the host, behind a virtio block device.
 * Theory: top of disk.c.
 * Threads: one at a time: the lock of the device that it is attached to is held in all but disk_open(),
 *          disk_attach() and disk_close(). */
#ifndef SLAT_VMM_DISK_H
#define SLAT_VMM_DISK_H

#include <sys/stat.h>

#include "devices/virtio_blk.h"
#include "vmm/failure.h"
#include "vmm/worker.h"

struct disk_config {
	const char *path; /* borrowed while the disk is open */
	bool readonly, direct;
	const char *serial;  /* NULL: none; VIRTIO_BLK_ID_BYTES of printable ASCII at most */
	unsigned num_queues; /* 1 to VIRTIO_BLK_QUEUES_MAX */
};

struct disk_stats {
	uint64_t bounced;   /* steps that direct=on could not take as they are */
	uint64_t continued; /* times that the host did a part */
	uint64_t errors;    /* steps that the host refused */
};

struct disk_uring;
struct disk_op;

struct disk_owner { /* what ended goes here */
	void *self;
	void (*done)(void *self, struct blk_step *step, bool ok);
	void (*completed)(void *self); /* after a burst of done() in disk_ready() */
};

struct disk { /* private but for stats and what is said of it */
	const char *path;
	int fd;
	bool block_device, readonly, direct;
	bool locked;		  /* false: this file system has no locks */
	struct disk_uring *uring; /* NULL: plain calls, because of: */
	int uring_error;	  /* errno */
	struct disk_stats stats;

	struct blk_backend backend;
	struct disk_owner owner;
	struct disk_op *op, *free; /* [num_queues * VIRTIO_BLK_QUEUE_SIZE] */
	unsigned in_flight;
	bool no_punch, no_zero; /* the host said so */
	uint64_t slow_until_ns; /* writes go through the ring till then */
	bool closing;
	uint64_t memory_align, offset_align; /* of direct=on */
	uint8_t *bounce;
	uint64_t told_ns, untold; /* the last line about an error; how many were kept back since */
};

/* Opens and locks it: one writer, or any number of readers. EXIT_HOST with one sentence, nothing left behind, iff there
 * is no such disk, it is another's, or the host cannot do what was asked. */
int disk_open(struct disk *d, const struct disk_config *config, struct failure *f);
/* Ends what is in flight; owner is not told. Fine on one that did not open. */
void disk_close(struct disk *d);

/* Is this the disk's file or block device, whatever it is called? False for one that is not open. */
bool disk_is(const struct disk *d, const struct stat *s);

const struct blk_backend *disk_backend(const struct disk *d);

/* w waits for it, b is told. Before worker_start(). */
void disk_attach(struct disk *d, struct worker *w, struct virtio_blk *b);

/* disk_attach() in parts, for who waits himself: readable when disk_ready() should be called; -1: never. */
void disk_set_owner(struct disk *d, struct disk_owner owner);
int disk_wait_fd(const struct disk *d);
void disk_ready(struct disk *d);

/* "io_uring", or "preadv". */
const char *disk_way(const struct disk *d);

#endif
