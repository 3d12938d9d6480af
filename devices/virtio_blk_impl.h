/* devices/virtio_blk_impl.h: private to virtio_blk.c and its tests. */
#ifndef SLAT_DEVICES_VIRTIO_BLK_IMPL_H
#define SLAT_DEVICES_VIRTIO_BLK_IMPL_H

#include "devices/virtio_blk.h"

#define VIRTIO_BLK_SEG_MAX    (VIRTIO_BLK_QUEUE_SIZE - 2) /* a chain without indirection has a header and a status */
#define VIRTIO_BLK_RANGES_MAX 256u			  /* of one discard: as many as Linux ever sends */
#define VIRTIO_BLK_RANGE_MAX  (UINT32_C(1) << 21)	  /* sectors of one of them: 1 GiB */
#define VIRTIO_BLK_HOST_BLOCK 4096u			  /* what a page cache is made of */
#define VIRTIO_BLK_NO_QUEUE   (VIRTIO_ALL_QUEUES + 1)

enum blk_state { BLK_FREE, BLK_WAITING, BLK_FLYING };

struct blk_request {
	struct blk_step step; /* first: the backend gives its address back */
	struct dma_list list;
	struct blk_request *next; /* free, or waiting */
	enum blk_state state;
	uint16_t queue;
	uint8_t status;
	bool flush;	      /* still to come, after the data */
	uint64_t first;	      /* byte of the disk */
	uint64_t bytes, done; /* of data to read or write */
	uint64_t cut;	      /* bytes that the last segment of the step lost */
	unsigned ranges, range;
	struct virtqueue_chain chain;
	union {
		struct dma_segment segment[VIRTIO_BLK_SEGMENTS];
		struct virtio_blk_range ranges_of[VIRTIO_BLK_RANGES_MAX];
	};
};

struct blk_line { /* one queue */
	struct blk_request *free;
	unsigned fresh;	  /* requests from here on were never used, nor their memory touched */
	unsigned flying;  /* with the backend */
	unsigned holding; /* of them, those that hold guest memory */
	unsigned waiting;
	bool pending; /* may have more to pop; the driver was asked not to notify */
	bool used;    /* pushed since the driver was told */
};

struct virtio_blk {
	struct virtio virtio;
	const struct blk_backend *backend;
	struct virtio_blk_stats stats;
	unsigned queues;
	bool writeback;	   /* as the driver wants it */
	bool submitted;	   /* since the last kick */
	uint64_t moving;   /* bytes of data submitted since then */
	bool polled;	   /* somebody looks: the driver need not notify */
	unsigned stopping; /* queue; VIRTIO_BLK_NO_QUEUE */
	bool failing;	   /* it is broken, and something is in flight still */
	unsigned flying;
	uint64_t freed; /* requests, ever */
	struct blk_request *waiting, **waiting_end;
	struct blk_request *inside; /* being submitted */
	bool ended, ended_ok;	    /* within submit() */
	struct blk_line line[VIRTIO_BLK_QUEUES_MAX];
	struct blk_request *request; /* [queues * VIRTIO_BLK_QUEUE_SIZE] */
};

#endif
