/* devices/virtqueue.c: one virtqueue, as its device sees it. What both formats have in common is here; the rings
 * themselves are virtqueue_split.c and virtqueue_packed.c.
 *
 * What it is. A reader of rings that a guest writes, and that it may write while they are read. Each
 * descriptor, ring entry and index is copied once and judged then; what was judged is what is used. It knows
 * nothing of what chains mean, of threads, or of interrupts as such.
 *
 * Words. A chain is one request: its buffers in order. A head is the ring entry that offers it. In flight: popped,
 * not pushed. An entry of the ring is a used element (split) or a descriptor (packed); a chain takes one of the
 * former, one or more of the latter. Broken: a rule was violated; the queue then touches nothing until it is reset.
 *
 * Invariants, all of them verified by virtqueue_check(), while the queue is ready:
 *   I1  size_max <= VIRTQUEUE_SIZE_MAX;
 *   I2  size and addresses are what 2.7 and 2.8 allow, and no area wraps around;
 *   I3  in_flight <= chains;
 *   I4  split: in_flight = next_avail - next_used (modulo 2^16), and with what the driver was seen to offer beside it,
 *       it is no more than the ring's size;
 *   I5  split: no more heads are copied than there is room for;
 *   I6  told is a value that the specification allows there;
 *   I7  packed: both indexes are below size, the entries between them are in flight, at most size of them; at
 *       least one for each chain.
 *
 * Order. The driver's index (split) or its flags (packed) are loaded with acquire, so that descriptors read after it
 * are those it offered; what is used is written, then published by a release store of the index or the flags. Two
 * places need more, a store that is seen before a later load: to ask for notifications, then look for chains; to
 * publish, then look whether the driver asked for an interrupt. virtqueue_barrier() is between, as its driver has one:
 * one of the two sides sees the other.
 *
 * Interrupts. `since` counts the ring entries used since the last answer; with an event index the answer is whether the
 * entry that the driver named is one of them. That is the specification's rule of each single entry, said of
 * all at once. A burst of a whole lap or more holds every entry.
 *
 * What is refused that the specification leaves open. A buffer of no bytes: no driver needs one, and devices need not
 * think of it. A chain of more buffers than the queue has entries, with those in indirect tables: so one chain's
 * cost and memory are bounded, and loops end. A table that is not a whole number of descriptors. A chain that is
 * offered while as many entries as there are, are in flight. What the specification says to ignore is ignored: unknown
 * flags, WRITE beside INDIRECT, all flags but WRITE in a packed table.
 *
 * Cost. A chain of n direct descriptors: n reads, and one sixteenth for its head; an indirect table: a read for 16
 * entries; a push: two writes. An access through devices/dma.h is most of it; in all some 60 ns
 * for a chain of 3 in a split ring, 70 ns in a packed one.
 * Memory: some 150 bytes; a chain, the caller's, is 4 KiB, of which only what is used is written.
 *
 * Failure. virtqueue_fail(): the first reason stays, and is told at once to whoever owns the device, so that no
 * device can forget to say it. A fault in the middle of a pop leaves all positions as they were.
 *
 * Rejected. To map the rings for good: a driver that unmaps its ring would wait for ever. To read
 * neighbours of a descriptor in the hope that the chain goes on there: what is not in flight is the driver's, and may
 * be half written. To check that an id is not in flight twice: it costs a table, and the driver confuses but itself. To
 * publish used entries in bunches: the device knows when a burst ends, but a driver that polls would wait for it. */
#include <string.h>

#include "devices/virtqueue_impl.h"

static bool alive(const struct virtqueue *q)
{
	return q->ready && !q->broken;
}

enum virtqueue_result virtqueue_fail(struct virtqueue *q, const char *why)
{
	if (!q->broken) {
		q->broken = why;
		if (q->breaks)
			q->breaks(q->owner, why);
	}
	return VIRTQUEUE_BROKEN;
}

const char *virtqueue_enter(const struct virtqueue *q, const struct virtqueue_desc *desc, struct virtqueue_table *table)
{
	if (!q->indirect)
		return "an indirect descriptor that was not negotiated";
	if (desc->length == 0 || desc->length % sizeof(*desc))
		return "an indirect table that is no whole number of descriptors";
	table->iova = desc->address;
	table->entries = desc->length / (uint32_t)sizeof(*desc);
	table->first = table->copied = 0;
	return NULL;
}

const char *virtqueue_fetch(const struct virtqueue *q, struct virtqueue_table *table, uint32_t index,
			    const struct virtqueue_desc **out)
{
	uint32_t left = table->entries - index;
	uint64_t iova = table->iova + index * sizeof(**out);

	if (index >= table->entries)
		return "a descriptor's index out of range";
	if (index - table->first >= table->copied) {
		table->first = index;
		table->copied = left < VIRTQUEUE_WINDOW ? left : VIRTQUEUE_WINDOW;
		if (!dma_read(q->dma, iova, table->window, table->copied * sizeof(**out)))
			return "an indirect table that is not mapped";
	}
	*out = &table->window[index - table->first];
	return NULL;
}

void virtqueue_init(struct virtqueue *q, struct dma *dma, uint16_t size_max)
{
	memset(q, 0, sizeof(*q));
	q->dma = dma;
	q->size_max = size_max < VIRTQUEUE_SIZE_MAX ? size_max : VIRTQUEUE_SIZE_MAX;
}

void virtqueue_reset(struct virtqueue *q)
{
	*q = (struct virtqueue){
		.dma = q->dma,
		.size_max = q->size_max,
		.breaks = q->breaks,
		.owner = q->owner,
		.chains = q->chains,
	};
}

static bool fits(uint64_t iova, uint64_t bytes, uint64_t align)
{
	return iova % align == 0 && iova + (bytes - 1) >= iova;
}

static bool layout_allowed(const struct virtqueue *q, bool packed)
{
	if (q->size == 0 || q->size > q->size_max || !fits(q->desc, 16u * q->size, 16))
		return false;
	if (packed)
		return fits(q->driver, 4, 4) && fits(q->device, 4, 4);
	return (q->size & (q->size - 1u)) == 0 && fits(q->driver, 6 + 2u * q->size, 2) &&
	       fits(q->device, 6 + 8u * q->size, 4);
}

bool virtqueue_enable(struct virtqueue *q, uint64_t features)
{
	bool packed = features >> VIRTIO_F_RING_PACKED & 1;

	if (q->ready || !layout_allowed(q, packed))
		return false;
	q->packed = packed;
	q->event_index = features >> VIRTIO_F_EVENT_IDX & 1;
	q->indirect = features >> VIRTIO_F_INDIRECT_DESC & 1;
	q->next_avail = q->next_used = q->seen = q->told = 0;
	q->heads = 0;
	q->avail_wrap = q->used_wrap = packed;
	q->since = 0;
	q->in_flight = 0;
	q->ready = true;
	return true;
}

enum virtqueue_result virtqueue_pop(struct virtqueue *q, struct virtqueue_chain *out)
{
	enum virtqueue_result result;

	if (!alive(q))
		return VIRTQUEUE_EMPTY;
	out->readable = out->writable = 0;
	out->readable_bytes = out->writable_bytes = 0;
	result = q->packed ? virtqueue_packed_pop(q, out) : virtqueue_split_pop(q, out);
	if (result == VIRTQUEUE_OK) {
		q->in_flight++;
		q->chains++;
	}
	return result;
}

void virtqueue_unpop(struct virtqueue *q, const struct virtqueue_chain *chain)
{
	if (!q->ready || !q->in_flight)
		return;
	q->in_flight--;
	q->chains--;
	if (!q->packed) {
		q->next_avail--;
		return;
	}
	/* A lap less the entries onward is where they began, on the other lap. */
	virtqueue_packed_move(q, &q->next_avail, &q->avail_wrap, q->size - chain->entries);
	q->avail_wrap = !q->avail_wrap;
}

bool virtqueue_push(struct virtqueue *q, const struct virtqueue_chain *chain, uint32_t written)
{
	unsigned used = q->packed ? chain->entries : 1;

	if (!alive(q) || !q->in_flight)
		return false;
	if (!(q->packed ? virtqueue_packed_push(q, chain, written) : virtqueue_split_push(q, chain, written)))
		return false;
	q->in_flight--;
	q->since = q->since > UINT32_MAX - used ? UINT32_MAX : q->since + used;
	return true;
}

bool virtqueue_push_all(struct virtqueue *q, const struct virtqueue_used *used, unsigned count)
{
	unsigned entries = 0;

	for (unsigned i = 0; i < count; i++)
		entries += q->packed ? used[i].entries : 1;
	if (!alive(q) || q->in_flight < count)
		return false;
	if (!(q->packed ? virtqueue_packed_push_all(q, used, count) : virtqueue_split_push_all(q, used, count)))
		return false;
	q->in_flight -= count;
	q->since = q->since > UINT32_MAX - entries ? UINT32_MAX : q->since + entries;
	return true;
}

void virtqueue_unpop_all(struct virtqueue *q, const struct virtqueue_used *used, unsigned count)
{
	while (count > 0) {
		const struct virtqueue_chain chain = {.entries = used[--count].entries};

		virtqueue_unpop(q, &chain);
	}
}

bool virtqueue_wants_interrupt(struct virtqueue *q)
{
	bool wants;

	if (!alive(q) || !q->since)
		return false;
	virtqueue_barrier(); /* the driver asks first and looks at the ring then */
	wants = q->packed ? virtqueue_packed_wants_interrupt(q) : virtqueue_split_wants_interrupt(q);
	q->since = 0;
	return wants;
}

bool virtqueue_notify_on(struct virtqueue *q)
{
	return alive(q) && (q->packed ? virtqueue_packed_notify_on(q) : virtqueue_split_notify_on(q));
}

void virtqueue_notify_off(struct virtqueue *q)
{
	if (!alive(q))
		return;
	if (q->packed)
		virtqueue_packed_notify_off(q);
	else
		virtqueue_split_notify_off(q);
}

/* The buffer that holds the byte at *offset of the chain's readable or writable part; *offset is inside it then. */
static unsigned locate(const struct virtqueue_chain *c, bool writable, uint64_t *offset)
{
	unsigned i = writable ? c->readable : 0;

	while (*offset >= c->buffer[i].bytes)
		*offset -= c->buffer[i++].bytes;
	return i;
}

static bool inside(const struct virtqueue *q, const struct virtqueue_chain *c, bool writable, uint64_t offset,
		   uint64_t bytes)
{
	uint64_t all = writable ? c->writable_bytes : c->readable_bytes;

	return alive(q) && offset <= all && bytes <= all - offset;
}

bool virtqueue_read(struct virtqueue *q, const struct virtqueue_chain *c, uint64_t offset, void *to, uint64_t bytes)
{
	uint8_t *at = to;

	if (!inside(q, c, false, offset, bytes))
		return false;
	for (unsigned i = bytes ? locate(c, false, &offset) : 0; bytes; i++, offset = 0) {
		uint64_t here = c->buffer[i].bytes - offset, part = here < bytes ? here : bytes;

		if (!dma_read(q->dma, c->buffer[i].iova + offset, at, part)) {
			virtqueue_fail(q, "a buffer that cannot be read");
			return false;
		}
		at += part;
		bytes -= part;
	}
	return true;
}

bool virtqueue_write(struct virtqueue *q, const struct virtqueue_chain *c, uint64_t offset, const void *from,
		     uint64_t bytes)
{
	const uint8_t *at = from;

	if (!inside(q, c, true, offset, bytes))
		return false;
	for (unsigned i = bytes ? locate(c, true, &offset) : 0; bytes; i++, offset = 0) {
		uint64_t here = c->buffer[i].bytes - offset, part = here < bytes ? here : bytes;

		if (!dma_write(q->dma, c->buffer[i].iova + offset, at, part)) {
			virtqueue_fail(q, "a buffer that cannot be written");
			return false;
		}
		at += part;
		bytes -= part;
	}
	return true;
}

enum dma_result virtqueue_map(struct virtqueue *q, const struct virtqueue_chain *c, enum dma_access access,
			      uint64_t offset, uint64_t bytes, struct dma_list *list, uint64_t *mapped)
{
	bool writable = access == DMA_WRITE;

	*mapped = 0;
	if (!inside(q, c, writable, offset, bytes))
		return DMA_FAULT;
	for (unsigned i = bytes ? locate(c, writable, &offset) : 0; bytes; i++, offset = 0) {
		uint64_t here = c->buffer[i].bytes - offset, part = here < bytes ? here : bytes, done;
		enum dma_result result = dma_map(q->dma, c->buffer[i].iova + offset, part, access, list, &done);

		if (result == DMA_FAULT)
			virtqueue_fail(q,
				       writable ? "a buffer that cannot be written" : "a buffer that cannot be read");
		if (result != DMA_OK)
			return result == DMA_BUSY && *mapped ? DMA_OK : result;
		*mapped += done;
		bytes -= done;
		if (done < part)
			break;
	}
	return DMA_OK;
}

static bool split_check(const struct virtqueue *q)
{
	return q->in_flight == (uint16_t)(q->next_avail - q->next_used) && q->in_flight <= q->size &&
	       (q->broken || (uint16_t)(q->seen - q->next_avail) <= q->size - q->in_flight) &&
	       q->heads <= VIRTQUEUE_HEADS && q->told <= (q->event_index ? 0 : VIRTQ_USED_NO_NOTIFY);
}

static bool packed_check(const struct virtqueue *q)
{
	unsigned taken = virtqueue_packed_taken(q);

	return q->next_avail < q->size && q->next_used < q->size && taken <= q->size && q->in_flight <= taken &&
	       !q->in_flight == !taken && q->told <= VIRTQ_EVENT_DESC;
}

bool virtqueue_check(const struct virtqueue *q)
{
	if (q->size_max > VIRTQUEUE_SIZE_MAX || q->in_flight > q->chains)
		return false;
	if (!q->ready)
		return true;
	return layout_allowed(q, q->packed) && (q->packed ? packed_check(q) : split_check(q));
}
