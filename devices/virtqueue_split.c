/* devices/virtqueue_split.c: the split ring (VIRTIO 1.2, 2.7). Theory: top of virtqueue.c. */
#include <string.h>

#include "devices/virtqueue_impl.h"

#define AVAIL_FLAGS(q)	    ((q)->driver)
#define AVAIL_INDEX(q)	    ((q)->driver + 2)
#define AVAIL_ENTRY(q, at)  ((q)->driver + 4 + 2u * ((at) & ((q)->size - 1u)))
#define USED_EVENT(q)	    ((q)->driver + 4 + 2u * (q)->size)
#define USED_FLAGS(q)	    ((q)->device)
#define USED_INDEX(q)	    ((q)->device + 2)
#define USED_ELEMENT(q, at) ((q)->device + 4 + 8u * ((at) & ((q)->size - 1u)))
#define AVAIL_EVENT(q)	    ((q)->device + 4 + 8u * (q)->size)

static const char *walk_indirect(const struct virtqueue *q, const struct virtqueue_desc *at,
				 struct virtqueue_chain *out)
{
	struct virtqueue_table table;
	const struct virtqueue_desc *desc;
	const char *why = virtqueue_enter(q, at, &table);

	for (uint32_t index = 0; !why; index = desc->at14) {
		why = virtqueue_fetch(q, &table, index, &desc);
		if (why)
			return why;
		if (desc->at12 & VIRTQ_DESC_INDIRECT)
			return "an indirect descriptor inside an indirect table";
		why = virtqueue_add(q, out, desc, desc->at12 & VIRTQ_DESC_WRITE);
		if (!(desc->at12 & VIRTQ_DESC_NEXT))
			return why;
	}
	return why;
}

/* Both walks end: each turn adds a buffer, of which there are at most q->size. */
static const char *walk(const struct virtqueue *q, uint32_t index, struct virtqueue_chain *out)
{
	struct virtqueue_desc desc;
	const char *why;

	do {
		if (index >= q->size)
			return "a descriptor's index out of range";
		if (!dma_read(q->dma, q->desc + index * sizeof(desc), &desc, sizeof(desc)))
			return "a descriptor table that is not mapped";
		if (desc.at12 & VIRTQ_DESC_INDIRECT) {
			if (desc.at12 & VIRTQ_DESC_NEXT)
				return "an indirect descriptor that has a next one";
			return walk_indirect(q, &desc, out);
		}
		why = virtqueue_add(q, out, &desc, desc.at12 & VIRTQ_DESC_WRITE);
		index = desc.at14;
	} while (!why && desc.at12 & VIRTQ_DESC_NEXT);
	return why;
}

/* Looks where the driver is, unless it is known that there is more: false iff it is where the device is. */
static bool look(struct virtqueue *q)
{
	if (!dma_load16(q->dma, AVAIL_INDEX(q), &q->seen)) {
		virtqueue_fail(q, "an available ring that is not mapped");
		return false;
	}
	if ((uint16_t)(q->seen - q->next_avail) > q->size - q->in_flight) {
		virtqueue_fail(q, "an available index that goes back or too far");
		return false;
	}
	return q->seen != q->next_avail;
}

/* Copies entries of the available ring from the next one on: a bunch of them, as far as the driver is and up to the
 * end of the ring. What is copied is the device's until it is used. */
static bool copy_heads(struct virtqueue *q)
{
	unsigned count = (uint16_t)(q->seen - q->next_avail), left = q->size - (q->next_avail & (q->size - 1u));

	count = count < VIRTQUEUE_HEADS ? count : VIRTQUEUE_HEADS;
	count = count < left ? count : left;
	q->heads = 0;
	if (!dma_read(q->dma, AVAIL_ENTRY(q, q->next_avail), q->head, count * sizeof(q->head[0]))) {
		virtqueue_fail(q, "an available ring that is not mapped");
		return false;
	}
	q->heads_at = q->next_avail;
	q->heads = (uint16_t)count;
	return true;
}

enum virtqueue_result virtqueue_split_pop(struct virtqueue *q, struct virtqueue_chain *out)
{
	uint16_t ahead = q->next_avail - q->heads_at;
	const char *why;

	if (ahead >= q->heads) {
		if ((q->seen == q->next_avail && !look(q)) || !copy_heads(q))
			return q->broken ? VIRTQUEUE_BROKEN : VIRTQUEUE_EMPTY;
		ahead = 0;
	}
	out->id = q->head[ahead];
	out->entries = 1;
	why = walk(q, out->id, out);
	if (why)
		return virtqueue_fail(q, why);
	q->next_avail++;
	return VIRTQUEUE_OK;
}

bool virtqueue_split_push(struct virtqueue *q, const struct virtqueue_chain *chain, uint32_t written)
{
	const struct virtqueue_used used = {chain->id, chain->entries, written};

	return virtqueue_split_push_all(q, &used, 1);
}

bool virtqueue_split_push_all(struct virtqueue *q, const struct virtqueue_used *used, unsigned count)
{
	uint16_t next = q->next_used;
	bool ok = true;

	for (unsigned i = 0; ok && i < count; i++, next++) {
		const struct virtq_used_element element = {.id = used[i].id, .length = used[i].written};

		ok = dma_write(q->dma, USED_ELEMENT(q, next), &element, sizeof(element));
	}
	if (!ok || !dma_store16(q->dma, USED_INDEX(q), next)) {
		virtqueue_fail(q, "a used ring that cannot be written");
		return false;
	}
	q->next_used = next;
	return true;
}

bool virtqueue_split_wants_interrupt(struct virtqueue *q)
{
	uint16_t old = q->next_used - q->since, said;

	if (!dma_load16(q->dma, q->event_index ? USED_EVENT(q) : AVAIL_FLAGS(q), &said)) {
		virtqueue_fail(q, "an available ring that is not mapped");
		return false;
	}
	if (!q->event_index)
		return !(said & VIRTQ_AVAIL_NO_INTERRUPT);
	return (uint16_t)(said - old) < q->since; /* one of the entries in [old, next_used) was asked for */
}

static void tell(struct virtqueue *q, uint64_t where, uint16_t value)
{
	if (!dma_store16(q->dma, where, value))
		virtqueue_fail(q, "a used ring that cannot be written");
}

static void set_flags(struct virtqueue *q, uint16_t flags)
{
	if (q->told != flags)
		tell(q, USED_FLAGS(q), flags);
	q->told = flags;
}

bool virtqueue_split_notify_on(struct virtqueue *q)
{
	if (q->event_index)
		tell(q, AVAIL_EVENT(q), q->next_avail);
	else
		set_flags(q, 0);
	virtqueue_barrier();
	return !q->broken && look(q);
}

/* With an event index there is nothing to say: the driver passed it when it last notified. */
void virtqueue_split_notify_off(struct virtqueue *q)
{
	if (!q->event_index)
		set_flags(q, VIRTQ_USED_NO_NOTIFY);
}
