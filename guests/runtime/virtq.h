/* guests/runtime/virtq.h: one queue of a virtio device, split or packed (VIRTIO
 * 1.2: 2.6 to 2.8). The driver polls: it asks for no interrupts.
 *
 * What the device does with it is judged: an answer that no device may give ends
 * as VIRTQ_WRONG. The fields are open, for guests that break them.
 * Threads: one CPU. Any ring. */
#ifndef SLAT_GUESTS_RUNTIME_VIRTQ_H
#define SLAT_GUESTS_RUNTIME_VIRTQ_H

#include "guests/runtime/virtio.h"

#define VIRTQ_SIZE_MAX 256u

struct virtq_piece {	  /* of a chain; those that the device writes come last */
	uint64_t address; /* the device's */
	uint32_t bytes;
	bool written; /* by the device */
};

struct virtq_done {
	void *token;
	uint32_t bytes; /* written, as the device says */
};

enum virtq_end {
	VIRTQ_DONE,
	VIRTQ_NEEDS_RESET,
	VIRTQ_SILENT, /* nothing came, for some ten seconds */
	VIRTQ_WRONG,  /* self->wrong says what the device did */
};

struct virtq {
	struct virtio_device *device;
	uint16_t index, size;
	bool packed, event_index, indirect; /* indirect: each chain of more than one piece is a table */
	const char *wrong;
	struct virtio_place place; /* as the device was told */
	union {
		struct virtq_desc *desc;
		struct virtq_packed_desc *ring;
	};
	union {
		struct virtq_avail *avail;
		struct virtq_packed_event *driver_event;
	};
	union {
		struct virtq_used *used;
		struct virtq_packed_event *device_event;
	};
	void *tables;			  /* size descriptors for each id; NULL: no indirect ones yet */
	uint16_t room, in_flight;	  /* descriptors; chains */
	uint16_t avail_at, used_at;	  /* split: count for ever; packed: places in the ring */
	uint16_t added;			  /* since the last kick: chains, packed: descriptors */
	bool avail_wrap, used_wrap;	  /* packed */
	uint16_t free_id;		  /* the first of those without a chain */
	uint16_t next_id[VIRTQ_SIZE_MAX]; /* of the free ones; split: of a chain's too */
	struct virtq_chain {
		void *token;
		uint16_t slots, last; /* of the ring; split: the last of them */
		uint32_t writable;
		bool busy;
	} chain[VIRTQ_SIZE_MAX];
};

/* Takes memory for the queue, the first time, and lets the device have it: as
 * large as both allow. Packed, event index and indirect tables as negotiated.
 * Before virtio_ready(), or after virtio_queue_reset(). False iff the device has no such queue. */
bool virtq_open(struct virtq *self, struct virtio_device *device, uint16_t index, uint16_t size_max);

/* The same, but the device is told nothing: for who tells it something else. */
bool virtq_prepare(struct virtq *self, struct virtio_device *device, uint16_t index, uint16_t size_max);

/* Makes a chain of them available. False iff there is no room. token: what comes back. */
bool virtq_add(struct virtq *self, const struct virtq_piece *pieces, unsigned count, void *token);

/* Tells the device of what was added since, unless it asked not to be told. */
void virtq_kick(struct virtq *self);

/* Whatever the device has done with. False iff nothing new. */
bool virtq_take(struct virtq *self, struct virtq_done *out);

/* The same, waiting for it. */
enum virtq_end virtq_wait(struct virtq *self, struct virtq_done *out);

#endif
