/* virtio_blk.c: requests of a disk, each in a slot of its own.
 *
 * A slot holds what the device reads and writes besides the data: header, range,
 * status. Slots are a list of free ones, as many as the queue can have chains, so
 * that only the queue can be full. The status begins as a byte that no device may
 * leave: one that forgets it is found out. Costs a slot of 64 bytes for each
 * descriptor of the queue. */
#include "guests/runtime/virtio_blk.h"

#include <stddef.h>

#include "guests/runtime/string.h"

#define CONFIG(field)                                                                                                  \
	offsetof(struct virtio_blk_config_regs, field), sizeof(((struct virtio_blk_config_regs *)NULL)->field)
#define STATUS_NONE 0xffu /* what a device never writes */

static void config_read(struct virtio_blk *self)
{
	struct virtio_device *d = self->device;

	self->sectors = virtio_config(d, CONFIG(capacity));
	self->readonly = virtio_has(d, VIRTIO_BLK_F_RO);
	self->piece_bytes = UINT32_MAX & -VIRTIO_BLK_SECTOR;
	self->pieces_max = self->queue.size - 2u;
	if (virtio_has(d, VIRTIO_BLK_F_SIZE_MAX))
		self->piece_bytes = (uint32_t)virtio_config(d, CONFIG(size_max));
	if (virtio_has(d, VIRTIO_BLK_F_SEG_MAX)) {
		uint32_t most = (uint32_t)virtio_config(d, CONFIG(seg_max));

		self->pieces_max = most < self->pieces_max ? most : self->pieces_max;
	}
}

static void slots_free(struct virtio_blk *self)
{
	self->free_slot = 0;
	for (uint16_t i = 0; i < VIRTQ_SIZE_MAX; i++)
		self->next_slot[i] = i + 1;
}

bool virtio_blk_open(struct virtio_blk *self, struct virtio_device *device, uint64_t features, uint16_t queue_size)
{
	const uint64_t always = VIRTIO_BIT(VIRTIO_BLK_F_RO) | VIRTIO_BIT(VIRTIO_BLK_F_FLUSH) |
				VIRTIO_BIT(VIRTIO_BLK_F_SEG_MAX) | VIRTIO_BIT(VIRTIO_BLK_F_SIZE_MAX) |
				VIRTIO_BIT(VIRTIO_BLK_F_DISCARD) | VIRTIO_BIT(VIRTIO_BLK_F_WRITE_ZEROES) |
				VIRTIO_BIT(VIRTIO_BLK_F_BLK_SIZE);

	self->device = device;
	if (!virtio_begin(device) || !virtio_negotiate(device, features | always))
		return false;
	if (!virtq_open(&self->queue, device, 0, queue_size))
		return false;
	config_read(self);
	if (!self->slots)
		self->slots = virtio_take(device, sizeof(*self->slots) * VIRTQ_SIZE_MAX);
	slots_free(self);
	virtio_ready(device);
	return true;
}

bool virtio_blk_queue_reset(struct virtio_blk *self)
{
	slots_free(self);
	return virtio_queue_reset(self->device, self->queue.index) &&
	       virtq_open(&self->queue, self->device, self->queue.index, self->queue.size);
}

static bool has_range(uint32_t type)
{
	return type == VIRTIO_BLK_T_DISCARD || type == VIRTIO_BLK_T_WRITE_ZEROES;
}

bool virtio_blk_start(struct virtio_blk *self, const struct virtio_blk_ask *ask, uint16_t *slot)
{
	static struct virtq_piece all[VIRTQ_SIZE_MAX];
	struct virtio_blk_slot *s = &self->slots[self->free_slot];
	uint64_t at = virtio_address(self->device, s);
	unsigned n = 0;

	if (ask->pieces > VIRTIO_BLK_PIECES || self->free_slot == VIRTQ_SIZE_MAX)
		return false;
	s->header = (struct virtio_blk_header){ask->type, 0, ask->sector};
	s->range = ask->range;
	s->status = STATUS_NONE;
	all[n++] = (struct virtq_piece){at, sizeof(s->header), false};
	if (has_range(ask->type))
		all[n++] = (struct virtq_piece){at + offsetof(struct virtio_blk_slot, range), sizeof(s->range), false};
	for (unsigned i = 0; i < ask->pieces; i++)
		all[n++] = ask->data[i];
	all[n++] = (struct virtq_piece){at + offsetof(struct virtio_blk_slot, status), 1, true};
	if (!virtq_add(&self->queue, all, n, s))
		return false;
	*slot = self->free_slot;
	self->free_slot = self->next_slot[*slot];
	return true;
}

uint32_t virtio_blk_finish(struct virtio_blk *self, uint16_t *slot)
{
	const struct virtio_blk_slot *s;
	struct virtq_done done;

	self->end = virtq_wait(&self->queue, &done);
	if (self->end != VIRTQ_DONE)
		return VIRTIO_BLK_BROKEN;
	s = done.token;
	*slot = (uint16_t)(s - self->slots);
	self->next_slot[*slot] = self->free_slot;
	self->free_slot = *slot;
	if (s->status <= VIRTIO_BLK_S_UNSUPP)
		return s->status;
	self->queue.wrong = "the device wrote no status";
	self->end = VIRTQ_WRONG;
	return VIRTIO_BLK_BROKEN;
}

uint32_t virtio_blk_do(struct virtio_blk *self, const struct virtio_blk_ask *ask)
{
	uint16_t slot;

	if (!virtio_blk_start(self, ask, &slot)) {
		self->queue.wrong = "the queue has no room";
		self->end = VIRTQ_WRONG;
		return VIRTIO_BLK_BROKEN;
	}
	virtq_kick(&self->queue);
	return virtio_blk_finish(self, &slot);
}

unsigned virtio_blk_cut(const struct virtio_blk *self, struct virtq_piece *to, const void *at, uint32_t bytes,
			uint32_t most)
{
	const uint8_t *p = at;
	unsigned n = 0;

	most = most < self->piece_bytes ? most : self->piece_bytes;
	for (uint32_t some; bytes > 0; bytes -= some, p += some, n++) {
		if (n == self->pieces_max)
			return 0;
		some = bytes < most ? bytes : most;
		to[n] = (struct virtq_piece){virtio_address(self->device, p), some, false};
	}
	return n;
}

uint32_t virtio_blk_move(struct virtio_blk *self, uint32_t type, uint64_t sector, void *at, uint32_t bytes)
{
	static struct virtq_piece data[VIRTIO_BLK_PIECES];
	struct virtio_blk_ask ask = {.type = type, .sector = sector, .data = data};

	ask.pieces = virtio_blk_cut(self, data, at, bytes, UINT32_MAX);
	for (unsigned i = 0; i < ask.pieces; i++)
		data[i].written = type != VIRTIO_BLK_T_OUT;
	return virtio_blk_do(self, &ask);
}

const char *virtio_blk_why(const struct virtio_blk *self)
{
	switch (self->end) {
	case VIRTQ_NEEDS_RESET:
		return "the device needs a reset";
	case VIRTQ_SILENT:
		return "the device does not answer";
	case VIRTQ_WRONG:
		return self->queue.wrong;
	default:
		return "the device answers";
	}
}
