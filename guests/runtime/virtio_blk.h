/* guests/runtime/virtio_blk.h: a disk over virtio (VIRTIO 1.2, 5.2). Several
 * requests at once. Threads: one CPU. Any ring. */
#ifndef SLAT_GUESTS_RUNTIME_VIRTIO_BLK_H
#define SLAT_GUESTS_RUNTIME_VIRTIO_BLK_H

#include "devices/virtio_blk_regs.h"
#include "guests/runtime/virtq.h"

#define VIRTIO_BLK_PIECES (VIRTQ_SIZE_MAX - 2) /* of data, in a request */
#define VIRTIO_BLK_BROKEN 0x100u	       /* no status came: virtio_blk_why() */

struct virtio_blk {
	struct virtio_device *device;
	struct virtq queue;
	uint64_t sectors;
	uint32_t pieces_max, piece_bytes; /* of a request's data, as the device says */
	bool readonly;
	enum virtq_end end; /* of the last wait */

	/* Requests are in memory that the device reaches, one for each id of the queue. */
	struct virtio_blk_slot *slots;
	uint16_t free_slot, next_slot[VIRTQ_SIZE_MAX];
};

struct virtio_blk_ask {
	uint32_t type; /* VIRTIO_BLK_T_* */
	uint64_t sector;
	const struct virtq_piece *data; /* read and written as the type says */
	unsigned pieces;
	struct virtio_blk_range range; /* of discard, write zeroes */
};

struct virtio_blk_slot {
	struct virtio_blk_header header;
	struct virtio_blk_range range;
	uint8_t status, unused[31];
};

/* Starts the device over, with these features (bits) of what it offers; RO, FLUSH, SEG_MAX and the like are accepted
 * always. False iff it does not come up. */
bool virtio_blk_open(struct virtio_blk *self, struct virtio_device *device, uint64_t features, uint16_t queue_size);

/* Resets the queue alone, with whatever is in flight, and opens it again. False iff the device does not let go of it.
 */
bool virtio_blk_queue_reset(struct virtio_blk *self);

/* Makes the request available, without a kick. False iff the queue is full. */
bool virtio_blk_start(struct virtio_blk *self, const struct virtio_blk_ask *ask, uint16_t *slot);

/* Waits for any request. VIRTIO_BLK_S_*, or VIRTIO_BLK_BROKEN. */
uint32_t virtio_blk_finish(struct virtio_blk *self, uint16_t *slot);

/* One request, alone. */
uint32_t virtio_blk_do(struct virtio_blk *self, const struct virtio_blk_ask *ask);

/* The same, of a buffer that the device's addresses do not tear apart. */
uint32_t virtio_blk_move(struct virtio_blk *self, uint32_t type, uint64_t sector, void *at, uint32_t bytes);

/* Splits a buffer into pieces of `most` bytes, none longer than the device takes; how many, 0: more than it takes. */
unsigned virtio_blk_cut(const struct virtio_blk *self, struct virtq_piece *to, const void *at, uint32_t bytes,
			uint32_t most);

/* What broke it, after VIRTIO_BLK_BROKEN. */
const char *virtio_blk_why(const struct virtio_blk *self);

#endif
