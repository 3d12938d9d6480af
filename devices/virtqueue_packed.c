/* devices/virtqueue_packed.c: the packed ring (VIRTIO 1.2, 2.8). Theory: top of virtqueue.c. */
#include <string.h>

#include "devices/virtqueue_impl.h"

#define DESC(q, at)	   ((q)->desc + 16u * (at))
#define DESC_LENGTH(q, at) (DESC(q, at) + 8)
#define DESC_FLAGS(q, at)  (DESC(q, at) + 14)
#define BOTH		   (1u << VIRTQ_PACKED_AVAIL_SHIFT | 1u << VIRTQ_PACKED_USED_SHIFT)

static bool available(uint16_t flags, bool wrap)
{
	return (flags >> VIRTQ_PACKED_AVAIL_SHIFT & 1) == wrap && (flags >> VIRTQ_PACKED_USED_SHIFT & 1) != wrap;
}

unsigned virtqueue_packed_taken(const struct virtqueue *q)
{
	return q->next_avail - q->next_used + (q->avail_wrap == q->used_wrap ? 0u : q->size);
}

void virtqueue_packed_move(const struct virtqueue *q, uint16_t *index, bool *wrap, unsigned entries)
{
	unsigned next = *index + entries;

	if (next >= q->size) {
		next -= q->size;
		*wrap = !*wrap;
	}
	*index = (uint16_t)next;
}

/* Whether the next descriptor is the device's; its flags. */
static bool look(struct virtqueue *q, uint16_t *flags)
{
	if (!dma_load16(q->dma, DESC_FLAGS(q, q->next_avail), flags)) {
		virtqueue_fail(q, "a descriptor ring that is not mapped");
		return false;
	}
	return available(*flags, q->avail_wrap);
}

/* All of a table is the chain; of its flags, one means something (2.8.7). */
static const char *walk_indirect(const struct virtqueue *q, const struct virtqueue_desc *desc,
				 struct virtqueue_chain *out)
{
	struct virtqueue_table table;
	const struct virtqueue_desc *entry;
	const char *why = virtqueue_enter(q, desc, &table);

	for (uint32_t i = 0; !why && i < table.entries; i++) {
		why = virtqueue_fetch(q, &table, i, &entry);
		if (!why)
			why = virtqueue_add(q, out, entry, entry->at14 & VIRTQ_DESC_WRITE);
	}
	return why;
}

/* Ends: each turn takes an entry of the ring that is not in flight. flags: the first one's, loaded already. */
static const char *walk(const struct virtqueue *q, uint16_t flags, struct virtqueue_chain *out)
{
	unsigned room = q->size - virtqueue_packed_taken(q);
	uint16_t index = q->next_avail;
	bool wrap = q->avail_wrap;

	for (;;) {
		struct virtqueue_desc desc;
		const char *why = NULL;

		if (out->entries == room)
			return "more descriptors in flight than the ring has";
		if (!dma_read(q->dma, DESC(q, index), &desc, sizeof(desc)))
			return "a descriptor ring that is not mapped";
		if (out->entries)
			flags = desc.at14;
		if (!available(flags, wrap))
			return "a chain that is not all available";
		if (!(flags & VIRTQ_DESC_INDIRECT))
			why = virtqueue_add(q, out, &desc, flags & VIRTQ_DESC_WRITE);
		else if (out->entries || flags & VIRTQ_DESC_NEXT)
			why = "an indirect descriptor in a chain";
		else
			why = walk_indirect(q, &desc, out);
		if (why)
			return why;
		out->entries++;
		out->id = desc.at12;
		if (!(flags & VIRTQ_DESC_NEXT))
			return NULL;
		virtqueue_packed_move(q, &index, &wrap, 1);
	}
}

enum virtqueue_result virtqueue_packed_pop(struct virtqueue *q, struct virtqueue_chain *out)
{
	const char *why;
	uint16_t flags;

	if (!look(q, &flags))
		return q->broken ? VIRTQUEUE_BROKEN : VIRTQUEUE_EMPTY;
	out->entries = 0;
	why = walk(q, flags, out);
	if (why)
		return virtqueue_fail(q, why);
	virtqueue_packed_move(q, &q->next_avail, &q->avail_wrap, out->entries);
	return VIRTQUEUE_OK;
}

static bool put_used(struct virtqueue *q, uint16_t index, bool wrap, const struct virtqueue_used *u)
{
	struct {
		uint32_t length;
		uint16_t id;
	} used = {u->written, u->id};
	uint16_t flags = (uint16_t)((wrap ? BOTH : 0) | (u->written ? VIRTQ_DESC_WRITE : 0));

	if (dma_write(q->dma, DESC_LENGTH(q, index), &used, 6) && dma_store16(q->dma, DESC_FLAGS(q, index), flags))
		return true;
	virtqueue_fail(q, "a descriptor ring that cannot be written");
	return false;
}

bool virtqueue_packed_push(struct virtqueue *q, const struct virtqueue_chain *chain, uint32_t written)
{
	const struct virtqueue_used used = {chain->id, chain->entries, written};

	return virtqueue_packed_push_all(q, &used, 1);
}

/* The first one last: the driver looks at it before the others. */
bool virtqueue_packed_push_all(struct virtqueue *q, const struct virtqueue_used *used, unsigned count)
{
	uint16_t index = q->next_used;
	bool wrap = q->used_wrap;

	for (unsigned i = 0; i < count; i++) {
		if (i > 0 && !put_used(q, index, wrap, &used[i]))
			return false;
		virtqueue_packed_move(q, &index, &wrap, used[i].entries);
	}
	if (count > 0 && !put_used(q, q->next_used, q->used_wrap, used))
		return false;
	q->next_used = index;
	q->used_wrap = wrap;
	return true;
}

/* Places in a lap with the wrap counter 1 and one with 0. */
static unsigned place(const struct virtqueue *q, unsigned index, bool wrap)
{
	return index + (wrap ? 0u : q->size);
}

bool virtqueue_packed_wants_interrupt(struct virtqueue *q)
{
	unsigned laps = 2u * q->size, now = place(q, q->next_used, q->used_wrap), asked;
	uint32_t word;
	uint16_t offset_wrap, flags;

	if (!dma_load32(q->dma, q->driver, &word)) {
		virtqueue_fail(q, "an event suppression area that is not mapped");
		return false;
	}
	offset_wrap = (uint16_t)word;
	flags = word >> 16 & 3;
	if (flags == VIRTQ_EVENT_DISABLE)
		return false;
	/* What makes no sense is answered by an interrupt too many rather than by none. */
	asked = offset_wrap & ~VIRTQ_EVENT_WRAP;
	if (flags != VIRTQ_EVENT_DESC || !q->event_index || asked >= q->size)
		return true;
	asked = place(q, asked, offset_wrap & VIRTQ_EVENT_WRAP);
	return (asked + laps - (now + laps - q->since) % laps) % laps < q->since;
}

static void tell(struct virtqueue *q, uint64_t where, uint16_t value)
{
	if (!dma_store16(q->dma, where, value))
		virtqueue_fail(q, "an event suppression area that cannot be written");
}

static void set_flags(struct virtqueue *q, uint16_t flags)
{
	if (q->told != flags)
		tell(q, q->device + 2, flags);
	q->told = flags;
}

bool virtqueue_packed_notify_on(struct virtqueue *q)
{
	uint16_t flags;

	if (q->event_index)
		tell(q, q->device, (uint16_t)(q->next_avail | (q->avail_wrap ? VIRTQ_EVENT_WRAP : 0)));
	set_flags(q, q->event_index ? VIRTQ_EVENT_DESC : VIRTQ_EVENT_ENABLE);
	virtqueue_barrier();
	return !q->broken && look(q, &flags);
}

void virtqueue_packed_notify_off(struct virtqueue *q)
{
	set_flags(q, VIRTQ_EVENT_DISABLE);
}
