/* devices/virtqueue_impl.h: what the two ring formats share; for virtqueue*.c and their own tests. */
#ifndef SLAT_DEVICES_VIRTQUEUE_IMPL_H
#define SLAT_DEVICES_VIRTQUEUE_IMPL_H

#include "devices/virtqueue.h"

/* Both descriptors, as far as they agree. */
struct virtqueue_desc {
	uint64_t address;
	uint32_t length;
	uint16_t at12, at14; /* split: flags, next; packed: id, flags */
};

#define VIRTQUEUE_BYTES_MAX (UINT64_C(1) << 32) /* of a chain: 2.7.5.2 */

/* An indirect table; all of it is the device's, so it is copied a piece at a time. */
#define VIRTQUEUE_WINDOW 16u
struct virtqueue_table {
	uint64_t iova;
	uint32_t entries, first, copied; /* the window has `copied` of them, from `first` on */
	struct virtqueue_desc window[VIRTQUEUE_WINDOW];
};

/* What goes wrong is a phrase; NULL: nothing. */
const char *virtqueue_enter(const struct virtqueue *q, const struct virtqueue_desc *desc,
			    struct virtqueue_table *table);
/* *out lies in the window: good until the next call. */
const char *virtqueue_fetch(const struct virtqueue *q, struct virtqueue_table *table, uint32_t index,
			    const struct virtqueue_desc **out);

/* One more buffer at the end of a chain. */
static inline const char *virtqueue_add(const struct virtqueue *q, struct virtqueue_chain *c,
					const struct virtqueue_desc *desc, bool writable)
{
	unsigned count = c->readable + c->writable;
	uint64_t *bytes = writable ? &c->writable_bytes : &c->readable_bytes;

	if (desc->length == 0)
		return "a descriptor of no bytes";
	if (count == q->size)
		return "a chain longer than its queue";
	if (!writable && c->writable)
		return "a readable descriptor behind a writable one";
	if (c->readable_bytes + c->writable_bytes + desc->length > VIRTQUEUE_BYTES_MAX)
		return "a chain of more than 4 GiB";
	c->buffer[count] = (struct virtqueue_buffer){.iova = desc->address, .bytes = desc->length};
	*(writable ? &c->writable : &c->readable) += 1;
	*bytes += desc->length;
	return NULL;
}

enum virtqueue_result virtqueue_fail(struct virtqueue *q, const char *why);

/* What was stored before is seen by the driver before anything is loaded after it (a store, then a load: the one
 * order that release and acquire do not give). A read-modify-write rather than a fence: ThreadSanitizer knows no
 * fences; on x86 each locked instruction is a full barrier, whatever its address. */
static inline void virtqueue_barrier(void)
{
	unsigned here = 0;

	(void)__atomic_exchange_n(&here, 1, __ATOMIC_SEQ_CST);
}

enum virtqueue_result virtqueue_split_pop(struct virtqueue *q, struct virtqueue_chain *out);
bool virtqueue_split_push(struct virtqueue *q, const struct virtqueue_chain *chain, uint32_t written);
bool virtqueue_split_push_all(struct virtqueue *q, const struct virtqueue_used *used, unsigned count);
bool virtqueue_split_wants_interrupt(struct virtqueue *q);
bool virtqueue_split_notify_on(struct virtqueue *q);
void virtqueue_split_notify_off(struct virtqueue *q);

enum virtqueue_result virtqueue_packed_pop(struct virtqueue *q, struct virtqueue_chain *out);
bool virtqueue_packed_push(struct virtqueue *q, const struct virtqueue_chain *chain, uint32_t written);
bool virtqueue_packed_push_all(struct virtqueue *q, const struct virtqueue_used *used, unsigned count);
bool virtqueue_packed_wants_interrupt(struct virtqueue *q);
bool virtqueue_packed_notify_on(struct virtqueue *q);
void virtqueue_packed_notify_off(struct virtqueue *q);
unsigned virtqueue_packed_taken(const struct virtqueue *q); /* entries in flight */
void virtqueue_packed_move(const struct virtqueue *q, uint16_t *index, bool *wrap, unsigned entries);

#endif
