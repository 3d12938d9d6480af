/* virtq.c: the driver's side of both rings.
 *
 * Words. A slot is a descriptor in the ring; an id names a chain from
 * virtq_add() until its answer. Split: the id is the first slot's number, and
 * free slots are the list of free ids. Packed: slots are taken in ring order,
 * ids from the same list; as each chain has a slot of its own there are as many
 * ids as needed.
 *
 * What the device reads is published by one store with release order: the index
 * (split), or the flags of the chain's first slot (packed), written last. What
 * the device wrote is read after a load with acquire order of its counterpart.
 * Whether to kick is read after a full barrier: else the device could fall
 * asleep between our look and our store.
 *
 * An answer is believed only as far as our own notes of the chain go: next_id,
 * chain[]. What the device can write is never followed. */
#include "guests/runtime/virtq.h"

#include <stddef.h>

#include "guests/runtime/cpu.h"
#include "guests/runtime/memory.h"
#include "guests/runtime/string.h"

#define SILENT_CYCLES	(UINT64_C(1) << 35) /* some ten seconds */
#define SPINS_A_LOOK	(1u << 12)	    /* at the status: a register's read is an exit */
#define DRIVER_AT(size) ((16ull * (size) + FRAME_BYTES - 1) & -FRAME_BYTES)
#define AREA_BYTES	FRAME_BYTES /* holds what the driver, and what the device, writes besides */

_Static_assert(6 + 8 * VIRTQ_SIZE_MAX <= AREA_BYTES, "2.7: the used ring");

static uint16_t load16(const uint16_t *at)
{
	return __atomic_load_n(at, __ATOMIC_ACQUIRE);
}

static void store16(uint16_t *at, uint16_t value)
{
	__atomic_store_n(at, value, __ATOMIC_RELEASE);
}

static uint16_t *used_event(const struct virtq *self)
{
	return &self->avail->ring[self->size];
}

static uint16_t *avail_event(const struct virtq *self)
{
	return (uint16_t *)(void *)&self->used->ring[self->size];
}

static void silence(struct virtq *self)
{
	if (self->packed)
		self->driver_event->flags = VIRTQ_EVENT_DISABLE;
	else if (self->event_index)
		store16(used_event(self), (uint16_t)(self->used_at - 1)); /* 65535 answers away */
	else
		self->avail->flags = VIRTQ_AVAIL_NO_INTERRUPT;
}

static void memory_take_once(struct virtq *self)
{
	uint64_t bytes = DRIVER_AT(VIRTQ_SIZE_MAX) + 2 * AREA_BYTES;

	if (!self->desc)
		self->desc = virtio_take(self->device, bytes);
	if (self->indirect && !self->tables)
		self->tables = virtio_take(self->device, 16ull * VIRTQ_SIZE_MAX * VIRTQ_SIZE_MAX);
	memset(self->desc, 0, bytes);
	self->driver_event = (void *)((uint8_t *)self->desc + DRIVER_AT(self->size));
	self->device_event = (void *)((uint8_t *)self->driver_event + AREA_BYTES);
}

bool virtq_prepare(struct virtq *self, struct virtio_device *device, uint16_t index, uint16_t size_max)
{
	uint16_t max = device->transport->queue_max(device, index);
	void *desc = self->desc, *tables = self->tables;

	*self = (struct virtq){.device = device, .index = index, .desc = desc, .tables = tables};
	self->size = max < size_max ? max : size_max;
	self->packed = virtio_has(device, VIRTIO_F_RING_PACKED);
	self->event_index = virtio_has(device, VIRTIO_F_EVENT_IDX);
	self->indirect = virtio_has(device, VIRTIO_F_INDIRECT_DESC);
	if (self->size == 0)
		return false;
	memory_take_once(self);
	self->room = self->size;
	self->avail_wrap = self->used_wrap = true;
	for (uint16_t i = 0; i < self->size; i++)
		self->next_id[i] = i + 1;
	silence(self);
	self->place = (struct virtio_place){
		.size = self->size,
		.desc = virtio_address(device, self->desc),
		.driver = virtio_address(device, self->driver_event),
		.device = virtio_address(device, self->device_event),
	};
	return true;
}

bool virtq_open(struct virtq *self, struct virtio_device *device, uint16_t index, uint16_t size_max)
{
	if (!virtq_prepare(self, device, index, size_max))
		return false;
	device->transport->queue_start(device, index, &self->place);
	return true;
}

static uint16_t split_flags(const struct virtq_piece *piece, bool more)
{
	return (piece->written ? VIRTQ_DESC_WRITE : 0) | (more ? VIRTQ_DESC_NEXT : 0);
}

/* The table of an id, filled in: what its one descriptor points at. */
static struct virtq_piece table_fill(struct virtq *self, uint16_t id, const struct virtq_piece *pieces, unsigned count)
{
	void *table = (uint8_t *)self->tables + 16ull * VIRTQ_SIZE_MAX * id;
	struct virtq_desc *split = table;
	struct virtq_packed_desc *packed = table;

	for (unsigned i = 0; i < count; i++) {
		const struct virtq_piece *p = &pieces[i];

		if (self->packed)
			packed[i] =
				(struct virtq_packed_desc){p->address, p->bytes, 0, p->written ? VIRTQ_DESC_WRITE : 0};
		else
			split[i] = (struct virtq_desc){p->address, p->bytes, split_flags(p, i + 1 < count),
						       (uint16_t)(i + 1)};
	}
	return (struct virtq_piece){virtio_address(self->device, table), 16 * count, false};
}

/* Returns the slot behind the chain. */
static uint16_t split_put(struct virtq *self, uint16_t id, const struct virtq_piece *pieces, unsigned count,
			  uint16_t flags)
{
	uint16_t at = id;

	for (unsigned i = 0; i < count; i++) {
		self->desc[at] = (struct virtq_desc){pieces[i].address, pieces[i].bytes,
						     split_flags(&pieces[i], i + 1 < count) | flags, self->next_id[at]};
		self->chain[id].last = at;
		at = self->next_id[at];
	}
	self->avail->ring[self->avail_at % self->size] = id;
	self->avail_at++;
	store16(&self->avail->index, self->avail_at);
	return at;
}

static void packed_put(struct virtq *self, uint16_t id, const struct virtq_piece *pieces, unsigned count,
		       uint16_t flags)
{
	struct virtq_packed_desc *first = &self->ring[self->avail_at];
	uint16_t first_flags = 0;

	for (unsigned i = 0; i < count; i++) {
		struct virtq_packed_desc *d = &self->ring[self->avail_at];
		uint16_t f = split_flags(&pieces[i], i + 1 < count) | flags |
			     (uint16_t)(self->avail_wrap << VIRTQ_PACKED_AVAIL_SHIFT) |
			     (uint16_t)(!self->avail_wrap << VIRTQ_PACKED_USED_SHIFT);

		d->address = pieces[i].address;
		d->length = pieces[i].bytes;
		d->id = id;
		if (i == 0)
			first_flags = f;
		else
			d->flags = f;
		if (++self->avail_at == self->size) {
			self->avail_at = 0;
			self->avail_wrap = !self->avail_wrap;
		}
	}
	store16(&first->flags, first_flags);
}

bool virtq_add(struct virtq *self, const struct virtq_piece *pieces, unsigned count, void *token)
{
	bool indirect = self->indirect && count > 1;
	uint16_t slots = indirect ? 1 : (uint16_t)count, id = self->free_id;
	uint16_t flags = indirect ? VIRTQ_DESC_INDIRECT : 0;
	struct virtq_chain *chain = &self->chain[id];
	struct virtq_piece table;

	if (count == 0 || count > self->size || slots > self->room)
		return false;
	*chain = (struct virtq_chain){.token = token, .slots = slots, .last = id, .busy = true};
	for (unsigned i = 0; i < count; i++)
		chain->writable += pieces[i].written ? pieces[i].bytes : 0;
	if (indirect) {
		table = table_fill(self, id, pieces, count);
		pieces = &table;
	}
	self->room -= slots;
	self->in_flight++;
	self->added += self->packed ? slots : 1;
	if (self->packed) {
		self->free_id = self->next_id[id];
		packed_put(self, id, pieces, slots, flags);
	} else {
		self->free_id = split_put(self, id, pieces, slots, flags);
	}
	return true;
}

/* Has the event passed since what was added began? (2.7.10, 2.8.10) */
static bool passed(uint16_t event, uint16_t now, uint16_t added)
{
	return (uint16_t)(now - event - 1) < added;
}

static bool wants_kick(const struct virtq *self)
{
	uint16_t offset_wrap, event;

	if (!self->packed)
		return self->event_index ? passed(load16(avail_event(self)), self->avail_at, self->added)
					 : !(load16(&self->used->flags) & VIRTQ_USED_NO_NOTIFY);
	switch (load16(&self->device_event->flags) & 3) {
	case VIRTQ_EVENT_DISABLE:
		return false;
	case VIRTQ_EVENT_DESC:
		offset_wrap = load16(&self->device_event->offset_wrap);
		event = offset_wrap & (VIRTQ_EVENT_WRAP - 1);
		if (((offset_wrap & VIRTQ_EVENT_WRAP) != 0) != self->avail_wrap)
			event -= self->size;
		return passed(event, self->avail_at, self->added);
	default:
		return true;
	}
}

void virtq_kick(struct virtq *self)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (self->added > 0 && wants_kick(self))
		self->device->transport->notify(self->device, self->index);
	self->added = 0;
}

static bool chain_end(struct virtq *self, uint32_t id, uint32_t bytes, struct virtq_done *out)
{
	struct virtq_chain *chain = id < self->size ? &self->chain[id] : NULL;

	if (!chain || !chain->busy) {
		self->wrong = "the device answers to a chain that it was not given";
		return false;
	}
	if (bytes > chain->writable) {
		self->wrong = "the device says that it wrote more than it may";
		return false;
	}
	*out = (struct virtq_done){chain->token, bytes};
	chain->busy = false;
	self->next_id[chain->last] = self->free_id;
	self->free_id = (uint16_t)id;
	self->room += chain->slots;
	self->in_flight--;
	return true;
}

static bool split_take(struct virtq *self, struct virtq_done *out)
{
	struct virtq_used_element e;

	if (load16(&self->used->index) == self->used_at)
		return false;
	e = self->used->ring[self->used_at % self->size];
	self->used_at++;
	return chain_end(self, e.id, e.length, out);
}

/* Without VIRTQ_DESC_F_WRITE the length says nothing (2.8.5.1), but QEMU 7.2 never sets the flag. */
static uint32_t packed_bytes(const struct virtq *self, const struct virtq_packed_desc *d, uint16_t flags)
{
	bool plausible = d->id < self->size && d->length <= self->chain[d->id].writable;

	return flags & VIRTQ_DESC_WRITE || plausible ? d->length : 0;
}

static bool packed_take(struct virtq *self, struct virtq_done *out)
{
	const struct virtq_packed_desc *d = &self->ring[self->used_at];
	uint16_t flags = load16(&d->flags), id = d->id;
	bool avail = flags >> VIRTQ_PACKED_AVAIL_SHIFT & 1, used = flags >> VIRTQ_PACKED_USED_SHIFT & 1;

	if (self->in_flight == 0 || avail != used || used != self->used_wrap)
		return false;
	if (!chain_end(self, id, packed_bytes(self, d, flags), out))
		return false;
	self->used_at += self->chain[id].slots;
	if (self->used_at >= self->size) {
		self->used_at -= self->size;
		self->used_wrap = !self->used_wrap;
	}
	return true;
}

bool virtq_take(struct virtq *self, struct virtq_done *out)
{
	bool got = !self->wrong && (self->packed ? packed_take(self, out) : split_take(self, out));

	if (got && self->event_index && !self->packed)
		silence(self);
	return got;
}

enum virtq_end virtq_wait(struct virtq *self, struct virtq_done *out)
{
	uint64_t start = cpu_cycles();

	for (unsigned spins = 1;; spins++) {
		if (virtq_take(self, out))
			return VIRTQ_DONE;
		if (self->wrong)
			return VIRTQ_WRONG;
		if (spins % SPINS_A_LOOK == 0 && virtio_needs_reset(self->device))
			return VIRTQ_NEEDS_RESET;
		if (cpu_cycles() - start > SILENT_CYCLES)
			return VIRTQ_SILENT;
		cpu_relax();
	}
}
