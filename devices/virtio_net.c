/* devices/virtio_net.c
 *
 * Frames go from the guest's buffers to the backend as host segments, nothing
 * copied; frames for the guest come through one buffer per pair, since how long
 * a frame is, and so how many of the guest's buffers it takes, is known only when it
 * is there.
 *
 * What the driver may get wrong, and what becomes of it:
 *   a ring that is broken; a receive buffer that has no room for the header:
 *                 nothing sensible can follow, so the device is broken (2.1.2);
 *   a frame that is too short or too long, a header that names bytes outside of
 *                 the frame or uses an offload that was not negotiated: the frame is lost, as
 *                 on any wire, and counted, also as refused.
 * A header is taken over field by field: what the backend gets has no flag, type
 * or number that was not looked at. hdr_len is a hint, and is only clamped (5.1.6.2).
 *
 * N1  pairs is 0 unless a driver runs a device that is sound; only queues of
 *     pairs below it are served.
 * N2  the backend is asked for frames iff the pair is in use and not starved, and
 *     for room iff it is full: whoever waits for something polls for it, nobody
 *     else does.
 * N3  while a pair is starved the driver is asked to notify for its receive
 *     queue, and was so after the last buffer was popped; while not, it is asked not to.
 * N4  nothing popped is kept from one call to the next. A frame that finds no
 *     room is kept here, and its buffers go back to the ring.
 * N5  the buffers of one frame are given back at once (virtqueue_push_all()): the
 *     driver never sees the first ones without the others (5.1.6.4.1).
 *
 * Cost: a frame for the guest is copied twice (out of the backend, into the guest); one from the guest not at all. A
 * burst is BURST frames one way, then as many the other way: a guest that sends without an end still receives.
 * Rejected: receiving right into the guest's buffers saves a copy, and then the backend would have to write the
 * header's num_buffers before it knows the length, or peek; and a frame that was cut short would have spoiled buffers
 * that the driver believes untouched. Filtering by the guest's MAC address: CTRL_RX is not offered, so the device is
 * promiscuous, and the bridge or passt behind it filters.
 * Not answered: a frame that is longer than all buffers of a queue together waits until the reset, as in vhost. A
 * driver that accepts segments of 64 KiB must have so many (5.1.6.3.1). */
#include "devices/virtio_net.h"

#include <string.h>

#define HEADER	   ((uint32_t)sizeof(struct virtio_net_header))
#define ETHERNET   14u /* the least that is a frame */
#define BURST	   64u
#define CTRL_SIZE  64u
#define NO_CONTROL VIRTIO_QUEUES_MAX
#define BIT(n)	   (UINT64_C(1) << (n))

#define RECEIVE_OFFLOADS                                                                                               \
	(BIT(VIRTIO_NET_F_GUEST_CSUM) | BIT(VIRTIO_NET_F_GUEST_TSO4) | BIT(VIRTIO_NET_F_GUEST_TSO6) |                  \
	 BIT(VIRTIO_NET_F_GUEST_ECN))
#define SEND_OFFLOADS                                                                                                  \
	(BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_HOST_TSO4) | BIT(VIRTIO_NET_F_HOST_TSO6) |                          \
	 BIT(VIRTIO_NET_F_HOST_ECN))

enum placing { PLACED, STARVED, TOO_LONG, SPOILED };

struct rights { /* what a header may make use of */
	bool checksum, tso4, tso6, ecn;
	uint8_t flags; /* that are kept; others are ignored (5.1.6.2) */
};

static unsigned receive_queue(unsigned pair)
{
	return 2 * pair;
}

static unsigned transmit_queue(unsigned pair)
{
	return 2 * pair + 1;
}

static unsigned control_queue(const struct virtio_net *n)
{
	if (!virtio_has(&n->virtio, VIRTIO_NET_F_CTRL_VQ))
		return NO_CONTROL;
	return virtio_has(&n->virtio, VIRTIO_NET_F_MQ) ? 2 * n->backend->pairs : 2;
}

static void want(const struct virtio_net *n, unsigned pair)
{
	const bool used = pair < n->pairs;

	n->backend->want(n->backend->self, pair, used && !n->starved[pair], used && n->full[pair]);
}

/* How many pairs the driver uses, 0 at its end. What had come for a pair that is used no more is lost. */
static void set_pairs(struct virtio_net *n, unsigned pairs)
{
	n->pairs = pairs;
	for (unsigned i = 0; i < n->backend->pairs; i++) {
		if (i >= pairs) {
			n->stats.lost += n->frame[i].bytes != 0;
			n->frame[i].bytes = 0;
			n->full[i] = n->starved[i] = false;
		}
		want(n, i);
	}
	if (n->backend->use_pairs)
		n->backend->use_pairs(n->backend->self, pairs ? pairs : 1);
}

/* A queue, or more, is broken: nobody is to wait for it. */
static void give_up_if_broken(struct virtio_net *n)
{
	if (n->pairs && !virtio_running(&n->virtio))
		set_pairs(n, 0);
}

/* True: sound, and about a frame of so many bytes; then nothing but what was judged is left in it. */
static bool judge_header(struct virtio_net_header *h, uint64_t bytes, struct rights may)
{
	const struct virtio_net_header was = *h;
	const uint8_t kind = was.gso_type & (uint8_t)~VIRTIO_NET_GSO_ECN;

	*h = (struct virtio_net_header){.flags = was.flags & may.flags};
	if (was.flags & VIRTIO_NET_HDR_NEEDS_CSUM) {
		if (!may.checksum || (uint64_t)was.csum_start + was.csum_offset + 2 > bytes)
			return false;
		h->csum_start = was.csum_start;
		h->csum_offset = was.csum_offset;
	}
	if (was.gso_type == VIRTIO_NET_GSO_NONE)
		return true;
	if (!(was.flags & VIRTIO_NET_HDR_NEEDS_CSUM) || was.gso_size == 0 || (was.gso_type != kind && !may.ecn))
		return false;
	h->gso_type = was.gso_type;
	h->gso_size = was.gso_size;
	h->hdr_len = was.hdr_len < bytes ? was.hdr_len : (uint16_t)bytes;
	return (kind == VIRTIO_NET_GSO_TCPV4 && may.tso4) || (kind == VIRTIO_NET_GSO_TCPV6 && may.tso6);
}

static struct rights send_rights(const struct virtio_net *n)
{
	return (struct rights){
		.checksum = virtio_has(&n->virtio, VIRTIO_NET_F_CSUM),
		.tso4 = virtio_has(&n->virtio, VIRTIO_NET_F_HOST_TSO4),
		.tso6 = virtio_has(&n->virtio, VIRTIO_NET_F_HOST_TSO6),
		.ecn = virtio_has(&n->virtio, VIRTIO_NET_F_HOST_ECN),
		.flags = VIRTIO_NET_HDR_NEEDS_CSUM,
	};
}

/* Without VIRTIO_NET_F_GUEST_CSUM flags is zero (5.1.6.4.1). */
static struct rights receive_rights(const struct virtio_net *n)
{
	const bool checksum = virtio_has(&n->virtio, VIRTIO_NET_F_GUEST_CSUM);

	return (struct rights){
		.checksum = checksum,
		.tso4 = virtio_has(&n->virtio, VIRTIO_NET_F_GUEST_TSO4),
		.tso6 = virtio_has(&n->virtio, VIRTIO_NET_F_GUEST_TSO6),
		.ecn = virtio_has(&n->virtio, VIRTIO_NET_F_GUEST_ECN),
		.flags = checksum ? VIRTIO_NET_HDR_NEEDS_CSUM | VIRTIO_NET_HDR_DATA_VALID : 0,
	};
}

/* Lends the frame's bytes, which lie behind the header, to the backend. */
static enum net_sent send_frame(struct virtio_net *n, unsigned pair, const struct virtio_net_header *header)
{
	struct virtqueue *q = &n->virtio.queue[transmit_queue(pair)];
	struct dma_list list = {.segment = n->segment, .room = VIRTIO_NET_SEGMENTS};
	const uint64_t bytes = n->chain.readable_bytes - HEADER;
	enum net_sent sent = NET_LOST; /* in more pieces than the list has room for */
	uint64_t mapped;

	if (virtqueue_map(q, &n->chain, DMA_READ, HEADER, bytes, &list, &mapped) == DMA_OK && mapped == bytes)
		sent = n->backend->send(n->backend->self, pair, header, list.segment, list.count);
	dma_unmap(q->dma, &list);
	n->stats.sent += sent == NET_SENT;
	n->stats.sent_bytes += sent == NET_SENT ? bytes : 0;
	n->stats.lost += sent == NET_LOST;
	return sent;
}

static enum net_sent send_chain(struct virtio_net *n, unsigned pair)
{
	struct virtqueue *q = &n->virtio.queue[transmit_queue(pair)];
	const uint64_t bytes = n->chain.readable_bytes;
	struct virtio_net_header header;

	if (bytes < HEADER + ETHERNET || bytes > HEADER + VIRTIO_NET_FRAME_MAX) {
		n->stats.lost++;
		n->virtio.stats.refused++;
		return NET_LOST;
	}
	if (!virtqueue_read(q, &n->chain, 0, &header, HEADER))
		return NET_LOST;
	if (!judge_header(&header, bytes - HEADER, send_rights(n))) {
		n->stats.lost++;
		n->virtio.stats.refused++;
		return NET_LOST;
	}
	return send_frame(n, pair, &header);
}

/* At most BURST frames. True: there may be more. */
static bool transmit_burst(struct virtio_net *n, unsigned pair)
{
	struct virtqueue *q = &n->virtio.queue[transmit_queue(pair)];
	unsigned count = 0;

	while (count < BURST && !n->full[pair] && virtqueue_pop(q, &n->chain) == VIRTQUEUE_OK) {
		n->full[pair] = send_chain(n, pair) == NET_LATER;
		if (n->full[pair])
			virtqueue_unpop(q, &n->chain);
		else if (!virtqueue_push(q, &n->chain, 0))
			break;
		else
			count++;
	}
	virtio_used(&n->virtio, transmit_queue(pair));
	return count == BURST;
}

/* Pops one; before it says that there is none, the driver is asked to notify. */
static bool pop_buffer(struct virtqueue *q, struct virtqueue_chain *c)
{
	enum virtqueue_result result;

	do
		result = virtqueue_pop(q, c);
	while (result == VIRTQUEUE_EMPTY && virtqueue_notify_on(q));
	return result == VIRTQUEUE_OK;
}

/* Fills buffers with the frame, the first one's header last. *count: how many were popped, whatever came of it. */
static enum placing place(struct virtio_net *n, struct virtqueue *q, struct net_frame *f, unsigned *count)
{
	const uint64_t all = HEADER + f->bytes;

	for (uint64_t done = 0, some; done < all; done += some) {
		struct virtqueue_chain *c = done ? &n->chain : &n->first;
		const uint64_t skip = done ? 0 : HEADER; /* done counts the header, whose bytes come at the end */

		if (!pop_buffer(q, c))
			return STARVED;
		some = c->writable_bytes < all - done ? c->writable_bytes : all - done;
		n->used[(*count)++] = (struct virtqueue_used){c->id, c->entries, (uint32_t)some};
		if (some < (done ? 1 : HEADER)) {
			virtio_break(&n->virtio, "a receive buffer has no room for a frame's header");
			return SPOILED;
		}
		if (some < all && !virtio_has(&n->virtio, VIRTIO_NET_F_MRG_RXBUF))
			return TOO_LONG;
		if (!virtqueue_write(q, c, skip, f->data + (done + skip - HEADER), some - skip))
			return SPOILED;
	}
	f->header.num_buffers = (uint16_t)*count;
	return virtqueue_write(q, &n->first, 0, &f->header, HEADER) ? PLACED : SPOILED;
}

/* False: there is no room for it now, or never will be. */
static bool deliver(struct virtio_net *n, unsigned pair)
{
	struct virtqueue *q = &n->virtio.queue[receive_queue(pair)];
	struct net_frame *f = &n->frame[pair];
	unsigned count = 0;
	enum placing placing = place(n, q, f, &count);

	if (placing == PLACED && virtqueue_push_all(q, n->used, count)) {
		n->stats.received++;
		n->stats.received_bytes += f->bytes;
		virtqueue_notify_off(q);
	} else if (placing == STARVED || placing == TOO_LONG) {
		virtqueue_unpop_all(q, n->used, count);
	}
	n->stats.lost += placing == TOO_LONG;
	n->starved[pair] = placing == STARVED;
	if (placing != STARVED)
		f->bytes = 0;
	return placing == PLACED || placing == TOO_LONG;
}

/* A frame is there, from now or from before. */
static bool fetch(struct virtio_net *n, unsigned pair)
{
	const struct net_backend *b = n->backend;
	struct net_frame *f = &n->frame[pair];

	while (f->bytes == 0) {
		size_t got = b->receive(b->self, pair, &f->header, f->data, VIRTIO_NET_FRAME_MAX);

		if (got == 0)
			return false;
		if (judge_header(&f->header, got, receive_rights(n)))
			f->bytes = got;
		else
			n->stats.lost++; /* the driver changed, and this was for the one before it */
	}
	return true;
}

static void receive_burst(struct virtio_net *n, unsigned pair)
{
	unsigned count = 0;

	if (pair >= n->pairs || n->starved[pair])
		return;
	while (count < BURST && fetch(n, pair) && deliver(n, pair))
		count++;
	virtio_used(&n->virtio, receive_queue(pair));
}

/* All that the driver has for the wire, and what came meanwhile. */
static void transmit(struct virtio_net *n, unsigned pair)
{
	struct virtqueue *q = &n->virtio.queue[transmit_queue(pair)];

	do {
		virtqueue_notify_off(q);
		while (transmit_burst(n, pair))
			receive_burst(n, pair);
	} while (!n->full[pair] && virtqueue_notify_on(q));
}

/* What every call from outside ends with. */
static void settle(struct virtio_net *n, unsigned pair)
{
	give_up_if_broken(n);
	if (pair < n->pairs)
		want(n, pair);
}

void virtio_net_readable(struct virtio_net *n, unsigned pair)
{
	receive_burst(n, pair);
	settle(n, pair);
}

void virtio_net_writable(struct virtio_net *n, unsigned pair)
{
	if (pair >= n->pairs || !n->full[pair])
		return;
	n->full[pair] = false;
	transmit(n, pair);
	settle(n, pair);
}

/* 5.1.6.5.6: the number of pairs from now on. */
static uint8_t obey(struct virtio_net *n, const uint8_t *command, uint64_t bytes)
{
	const unsigned pairs = command[2] | (unsigned)command[3] << 8;

	if (bytes < 4 || command[0] != VIRTIO_NET_CTRL_MQ || command[1] != VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET ||
	    !virtio_has(&n->virtio, VIRTIO_NET_F_MQ) || pairs == 0 || pairs > n->backend->pairs)
		return VIRTIO_NET_ERR;
	for (unsigned i = n->pairs; i < pairs; i++)
		virtqueue_notify_off(&n->virtio.queue[receive_queue(i)]);
	set_pairs(n, pairs);
	return VIRTIO_NET_OK;
}

/* What lies in the transmit queues of pairs that are used from now on: a notification while they were not was for
 * nothing, and none follows. */
static void send_left(struct virtio_net *n, unsigned before)
{
	for (unsigned i = before; i < n->pairs; i++) {
		transmit(n, i);
		want(n, i);
	}
}

/* False: the queue is broken. What the command's chain held is used up before anything is sent. */
static bool answer(struct virtio_net *n, struct virtqueue *q)
{
	const uint64_t bytes = n->chain.readable_bytes < 4 ? n->chain.readable_bytes : 4;
	const unsigned before = n->pairs;
	uint8_t command[4] = {0}, ack;

	if (n->chain.writable_bytes == 0) { /* nowhere to say anything: it did not happen */
		n->virtio.stats.refused++;
		return virtqueue_push(q, &n->chain, 0);
	}
	if (!virtqueue_read(q, &n->chain, 0, command, bytes))
		return false;
	ack = obey(n, command, bytes);
	if (!virtqueue_write(q, &n->chain, 0, &ack, 1) || !virtqueue_push(q, &n->chain, 1))
		return false;
	send_left(n, before);
	return true;
}

static void control(struct virtio_net *n, unsigned queue)
{
	struct virtqueue *q = &n->virtio.queue[queue];

	do
		while (virtqueue_pop(q, &n->chain) == VIRTQUEUE_OK && answer(n, q))
			;
	while (virtqueue_notify_on(q));
	virtio_used(&n->virtio, queue);
}

static void notify(void *self, unsigned queue)
{
	struct virtio_net *n = self;
	const unsigned pair = queue / 2;

	if (queue == control_queue(n)) {
		control(n, queue);
	} else if (pair < n->pairs && queue == transmit_queue(pair)) {
		transmit(n, pair);
	} else if (pair < n->pairs && n->starved[pair]) {
		n->starved[pair] = false;
		receive_burst(n, pair);
	}
	settle(n, pair);
}

static void start(void *self)
{
	struct virtio_net *n = self;

	if (n->backend->offload)
		n->backend->offload(n->backend->self, n->virtio.accepted & RECEIVE_OFFLOADS);
	virtqueue_notify_off(&n->virtio.queue[receive_queue(0)]);
	set_pairs(n, 1);
	give_up_if_broken(n); /* the ring may be one that cannot be written */
}

static void stop(void *self, unsigned queue)
{
	struct virtio_net *n = self;
	const unsigned pair = queue / 2;

	if (queue == VIRTIO_ALL_QUEUES) {
		set_pairs(n, 0);
		if (n->backend->offload)
			n->backend->offload(n->backend->self, 0);
	} else if (pair < n->pairs && queue == transmit_queue(pair)) {
		n->full[pair] = false; /* what was to be sent is the driver's again */
		want(n, pair);
	}
}

static uint64_t read_config(void *self, unsigned offset, unsigned width)
{
	const struct virtio_net *n = self;
	struct virtio_net_config_regs regs = {
		.status = n->link ? VIRTIO_NET_S_LINK_UP : 0,
		.max_virtqueue_pairs = (uint16_t)n->backend->pairs,
	};

	memcpy(regs.mac, n->backend->mac, sizeof(regs.mac));
	return virtio_config_bytes(&regs, offset, width);
}

void virtio_net_set_link(struct virtio_net *n, bool up)
{
	if (n->link == up)
		return;
	n->link = up;
	if (virtio_has(&n->virtio, VIRTIO_NET_F_STATUS))
		virtio_changed(&n->virtio);
}

static uint64_t features(const struct net_backend *b)
{
	uint64_t set = BIT(VIRTIO_NET_F_MAC) | BIT(VIRTIO_NET_F_STATUS) | BIT(VIRTIO_NET_F_MRG_RXBUF);

	if (b->offloads)
		set |= RECEIVE_OFFLOADS | SEND_OFFLOADS;
	if (b->pairs > 1)
		set |= BIT(VIRTIO_NET_F_CTRL_VQ) | BIT(VIRTIO_NET_F_MQ);
	return set;
}

void virtio_net_init(struct virtio_net *n, const struct virtio_net_config *config)
{
	static const struct virtio_ops ops = {start, stop, notify, read_config, NULL};
	struct virtio_config virtio = {
		.name = config->name,
		.id = VIRTIO_ID_NET,
		.features = features(config->backend),
		.packed = config->packed,
		.platform = config->platform,
		.config_bytes = sizeof(struct virtio_net_config_regs),
		.queues = virtio_net_queues(config->backend->pairs),
		.dma = config->dma,
		.ops = &ops,
		.self = n,
		.irq = config->irq,
		.broken = config->broken,
		.owner = config->owner,
	};

	for (unsigned i = 0; i < virtio.queues; i++)
		virtio.queue_size[i] = i < 2 * config->backend->pairs ? VIRTIO_NET_QUEUE_SIZE : CTRL_SIZE;
	n->backend = config->backend;
	n->pairs = 0;
	n->link = true;
	n->stats = (struct virtio_net_stats){0};
	for (unsigned i = 0; i < VIRTIO_NET_PAIRS_MAX; i++) {
		n->full[i] = n->starved[i] = false;
		n->frame[i].bytes = 0;
	}
	virtio_init(&n->virtio, &virtio);
}
