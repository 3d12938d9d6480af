/* devices/virtio_blk.c: a virtio block device over a backend.
 *
 * What it is. It takes requests from its queues, judges them, and hands the
 * backend one step after the other: host segments of the guest's own buffers and
 * a range of the disk. Data goes between those buffers and the disk; this file
 * never copies a byte of it. It is not a cache, and it does not reorder.
 *
 * Words. A request is what the driver sent: a chain. A step is what the backend
 * does at once: all of a request, unless its buffers are more than
 * VIRTIO_BLK_SEGMENTS pieces of host memory, or it has several ranges, or a write
 * has to be made stable. A request is flying while the backend has its step, and
 * waiting when it would have one, but cannot now. A burst is all that is taken
 * or ends in one call from outside.
 *
 * Framing. Header and status are found by offset: the first 16 readable bytes, the
 * last writable one; how the driver cut them means nothing (2.7.4). The used
 * length is the prefix of the writable bytes that was surely written: all of them
 * when a read went well, none when it failed before its first step.
 *
 * Caches. Writeback unless the driver took neither FLUSH nor CONFIG_WCE, or set
 * `writeback` to 0 (5.2.6.2): each write then ends with a flush of its own, and
 * its completion means that it is stable.
 *
 * Invariants, verified by virtio_blk_check():
 *   I1  of each queue's requests those below `fresh` are free, waiting or flying:
 *       free and waiting ones are in just that list, and the counters agree;
 *   I2  only flying ones hold guest memory; their step lies inside the disk,
 *       starts and ends at a sector, and its segments have its bytes;
 *   I3  a queue with more to pop, or with one waiting, has one flying: whose end
 *       resumes it;
 *   I4  when it is failing, something is flying.
 *
 * Waiting. When DMA has no slot left (DMA_BUSY) the request holds nothing and goes
 * on when others ended. One without any other in flight on its queue cannot be
 * helped, and breaks the device.
 *
 * Cost. Per request: the chain's descriptors, one read of 16 bytes, one map, one
 * write of 1 byte, one push. Per burst: one kick, one interrupt a queue at most.
 * A burst of a backend that finishes at once can be as long as the driver keeps
 * sending; it is told after each VIRTIO_BLK_QUEUE_SIZE of them. And a burst of large
 * requests is cut at BURST_BYTES of data: what the page cache has ends within the kick,
 * and one kick for all would end them all at once, with the driver idle meanwhile.
 *
 * Memory. 20 KiB a request, VIRTIO_BLK_QUEUE_SIZE of them a queue: 5 MiB, touched
 * only as deep as the driver's queues ever were, for the last freed is the next used.
 *
 * Failure. What 5.2.6 calls an error of the driver is a status byte. A chain that
 * has no room for header and status, or buffers that are not there for the
 * device, break it: it needs a reset from then on, and no ring says more. It is failing
 * until what is in flight has ended: no further step begins, and a step that ends lets go
 * of the guest's memory, and of nothing else.
 *
 * Rejected. One pool of requests for all queues: a queue that floods would starve
 * the others. A status of IOERR for buffers that fault: the driver would retry
 * what cannot work, and a stray must not pass for a bad disk. SIZE_MAX: it keeps
 * no request from being in many pieces, since the pieces are the host's. */
#include "devices/virtio_blk_impl.h"

#include <string.h>

_Static_assert(offsetof(struct blk_request, step) == 0, "request_of()");
_Static_assert(VIRTIO_BLK_QUEUE_SIZE <= VIRTQUEUE_SIZE_MAX && VIRTIO_BLK_QUEUES_MAX <= VIRTIO_QUEUES_MAX, "");
_Static_assert(VIRTIO_BLK_SEGMENTS >= VIRTIO_BLK_SECTOR, "a full list has a sector at least");

#define STATUS_BYTES 1u
#define HEADER_BYTES sizeof(struct virtio_blk_header)
#define BURST_BYTES  (UINT64_C(256) << 10)

static struct blk_request *request_of(struct blk_step *step)
{
	return (struct blk_request *)(void *)step;
}

static struct virtqueue *queue_of(struct virtio_blk *b, const struct blk_request *r)
{
	return &b->virtio.queue[r->queue];
}

/* ---- requests ---- */

/* NULL: all are in use. */
static struct blk_request *request_new(struct virtio_blk *b, unsigned queue)
{
	struct blk_line *l = &b->line[queue];
	struct blk_request *r = l->free;

	if (r) {
		l->free = r->next;
		return r;
	}
	if (l->fresh == VIRTIO_BLK_QUEUE_SIZE)
		return NULL;
	r = &b->request[queue * VIRTIO_BLK_QUEUE_SIZE + l->fresh++];
	r->state = BLK_FREE;
	r->queue = (uint16_t)queue;
	r->list = (struct dma_list){.segment = r->segment, .room = VIRTIO_BLK_SEGMENTS};
	return r;
}

static void request_free(struct virtio_blk *b, struct blk_request *r)
{
	struct blk_line *l = &b->line[r->queue];

	r->state = BLK_FREE;
	r->next = l->free;
	l->free = r;
	b->freed++;
}

static void request_wait(struct virtio_blk *b, struct blk_request *r)
{
	r->state = BLK_WAITING;
	r->next = NULL;
	*b->waiting_end = r;
	b->waiting_end = &r->next;
	b->line[r->queue].waiting++;
}

/* All that wait, as a list of the caller's. */
static struct blk_request *waiting_take(struct virtio_blk *b)
{
	struct blk_request *all = b->waiting;

	b->waiting = NULL;
	b->waiting_end = &b->waiting;
	for (unsigned i = 0; i < b->queues; i++)
		b->line[i].waiting = 0;
	return all;
}

/* The first reason is the one that is told; a queue that broke has told its own. */
static void fail(struct virtio_blk *b, const char *why)
{
	virtio_break(&b->virtio, why);
	b->failing = true;
}

static bool stops(const struct virtio_blk *b, const struct blk_request *r)
{
	return b->stopping == VIRTIO_ALL_QUEUES || b->stopping == r->queue;
}

/* How much of the writable part is surely written, from its beginning (2.7.8.2). */
static uint32_t written(const struct blk_request *r, uint64_t data)
{
	uint64_t whole = r->chain.writable_bytes;

	if (data + STATUS_BYTES == whole)
		data = whole;
	return data < UINT32_MAX ? (uint32_t)data : UINT32_MAX;
}

/* data: how many bytes the driver got before the status. */
static void request_end(struct virtio_blk *b, struct blk_request *r, uint64_t data)
{
	struct virtqueue *q = queue_of(b, r);

	const uint64_t last = r->chain.writable_bytes - STATUS_BYTES;

	b->stats.errors += r->status != VIRTIO_BLK_S_OK;
	if (!q->broken && virtqueue_write(q, &r->chain, last, &r->status, STATUS_BYTES) &&
	    virtqueue_push(q, &r->chain, written(r, data)))
		b->line[r->queue].used = true;
	else
		fail(b, q->broken);
	request_free(b, r);
}

/* ---- steps ---- */

enum next { NEXT_STEP, NEXT_END, NEXT_WAIT, NEXT_DROP };

/* The step ends at a sector: what is behind it is mapped once more, with the next one. */
static void step_cut(struct blk_request *r, uint64_t cut)
{
	struct dma_segment *s = r->list.segment;
	unsigned n = r->list.count;

	for (; cut && s[n - 1].bytes <= cut; n--)
		cut -= s[n - 1].bytes;
	if (cut)
		s[n - 1].bytes -= cut;
	r->cut = cut;
	r->step.segments = n;
}

static void step_unmap(struct virtio_blk *b, struct blk_request *r)
{
	if (!r->list.count)
		return;
	if (r->cut)
		r->list.segment[r->step.segments - 1].bytes += r->cut;
	dma_unmap(queue_of(b, r)->dma, &r->list);
	b->line[r->queue].holding--;
}

/* Nothing could be mapped now. */
static enum next step_busy(struct virtio_blk *b, struct blk_request *r)
{
	struct virtqueue *q = queue_of(b, r);

	dma_unmap(q->dma, &r->list);
	if (b->line[r->queue].holding)
		return NEXT_WAIT;
	fail(b, "a request's buffers are in too many pieces");
	return NEXT_DROP;
}

/* As much of the data as one step can have. */
static enum next step_map(struct virtio_blk *b, struct blk_request *r)
{
	const bool read = r->step.op == BLK_READ;
	const uint64_t left = r->bytes - r->done;
	struct virtqueue *q = queue_of(b, r);
	uint64_t mapped = 0;

	switch (virtqueue_map(q, &r->chain, read ? DMA_WRITE : DMA_READ, read ? r->done : HEADER_BYTES + r->done, left,
			      &r->list, &mapped)) {
	case DMA_FAULT:
		dma_unmap(q->dma, &r->list);
		fail(b, q->broken);
		return NEXT_DROP;
	case DMA_BUSY:
		return step_busy(b, r);
	case DMA_OK:
		break;
	}
	r->step.bytes = mapped - mapped % VIRTIO_BLK_SECTOR;
	if (!r->step.bytes)
		return step_busy(b, r);
	step_cut(r, mapped - r->step.bytes);
	r->step.offset = r->first + r->done;
	r->step.segment = r->segment;
	b->line[r->queue].holding++;
	return NEXT_STEP;
}

static void step_plain(struct blk_request *r, enum blk_op op, uint64_t offset, uint64_t bytes)
{
	r->step = (struct blk_step){.op = op, .offset = offset, .bytes = bytes, .unmap = r->step.unmap};
}

static void step_range(struct blk_request *r)
{
	const struct virtio_blk_range *range = &r->ranges_of[r->range++];

	r->step.unmap = range->flags & VIRTIO_BLK_RANGE_UNMAP;
	step_plain(r, r->step.op, range->sector * VIRTIO_BLK_SECTOR, (uint64_t)range->sectors * VIRTIO_BLK_SECTOR);
}

/* True: there is something to do yet. A range of no sectors is sound (5.2.6.2 sets no least), and is nothing. */
static bool more(struct blk_request *r)
{
	while (r->range < r->ranges && !r->ranges_of[r->range].sectors)
		r->range++;
	return r->done < r->bytes || r->range < r->ranges || r->flush;
}

static enum next step_next(struct virtio_blk *b, struct blk_request *r)
{
	if (stops(b, r))
		return NEXT_DROP;
	if (r->status != VIRTIO_BLK_S_OK || !more(r))
		return NEXT_END;
	if (b->failing)
		return NEXT_DROP;
	if (b->stopping != VIRTIO_BLK_NO_QUEUE)
		return NEXT_WAIT;
	if (r->done < r->bytes)
		return step_map(b, r);
	if (r->range < r->ranges) {
		step_range(r);
	} else {
		r->flush = false;
		step_plain(r, BLK_FLUSH, 0, 0);
	}
	return NEXT_STEP;
}

/* True: the backend has finished it already. */
static bool step_submit(struct virtio_blk *b, struct blk_request *r)
{
	r->state = BLK_FLYING;
	b->flying++;
	b->line[r->queue].flying++;
	b->submitted = true;
	b->moving += r->list.count ? r->step.bytes : 0;
	b->inside = r;
	b->ended = false;
	b->backend->submit(b->backend->self, &r->step);
	b->inside = NULL;
	return b->ended;
}

static void step_end(struct virtio_blk *b, struct blk_request *r, bool ok)
{
	step_unmap(b, r);
	b->flying--;
	b->line[r->queue].flying--;
	if (!ok) {
		r->status = VIRTIO_BLK_S_IOERR;
		return;
	}
	if (r->step.op == BLK_READ)
		b->stats.bytes_read += r->step.bytes;
	else if (r->step.op == BLK_WRITE)
		b->stats.bytes_written += r->step.bytes;
	else
		return;
	r->done += r->step.bytes;
}

/* A loop, not a recursion: a backend that finishes at once has as many steps as the largest request. */
static void request_run(struct virtio_blk *b, struct blk_request *r)
{
	for (;;) {
		switch (step_next(b, r)) {
		case NEXT_STEP:
			if (!step_submit(b, r))
				return;
			step_end(b, r, b->ended_ok);
			break;
		case NEXT_END:
			request_end(b, r, r->step.op == BLK_READ ? r->done : 0);
			return;
		case NEXT_WAIT:
			request_wait(b, r);
			return;
		case NEXT_DROP:
			request_free(b, r);
			return;
		}
	}
}

/* ---- what the driver asks ---- */

static bool writethrough(const struct virtio_blk *b)
{
	if (!virtio_has(&b->virtio, VIRTIO_BLK_F_FLUSH))
		return true;
	return virtio_has(&b->virtio, VIRTIO_BLK_F_CONFIG_WCE) && !b->writeback;
}

static bool inside(const struct virtio_blk *b, uint64_t sector, uint64_t sectors)
{
	const uint64_t capacity = b->backend->bytes / VIRTIO_BLK_SECTOR;

	return sectors <= capacity && sector <= capacity - sectors;
}

static uint8_t start_data(struct virtio_blk *b, struct blk_request *r, bool read, uint64_t sector)
{
	uint64_t bytes = read ? r->chain.writable_bytes - STATUS_BYTES : r->chain.readable_bytes - HEADER_BYTES;

	b->stats.requests[read ? BLK_READ : BLK_WRITE]++;
	if (!read && b->backend->readonly)
		return VIRTIO_BLK_S_IOERR;
	if (bytes % VIRTIO_BLK_SECTOR || !inside(b, sector, bytes / VIRTIO_BLK_SECTOR))
		return VIRTIO_BLK_S_IOERR;
	r->step.op = read ? BLK_READ : BLK_WRITE;
	r->first = sector * VIRTIO_BLK_SECTOR;
	r->bytes = bytes;
	r->flush = !read && writethrough(b);
	return VIRTIO_BLK_S_OK;
}

static uint8_t judge_ranges(const struct virtio_blk *b, const struct blk_request *r, uint32_t flags)
{
	for (unsigned i = 0; i < r->ranges; i++)
		if (r->ranges_of[i].flags & ~flags)
			return VIRTIO_BLK_S_UNSUPP;
	for (unsigned i = 0; i < r->ranges; i++)
		if (r->ranges_of[i].sectors > VIRTIO_BLK_RANGE_MAX ||
		    !inside(b, r->ranges_of[i].sector, r->ranges_of[i].sectors))
			return VIRTIO_BLK_S_IOERR;
	return VIRTIO_BLK_S_OK;
}

static uint8_t start_ranges(struct virtio_blk *b, struct blk_request *r, bool discard)
{
	const uint64_t bytes = r->chain.readable_bytes - HEADER_BYTES;

	if (!virtio_has(&b->virtio, discard ? VIRTIO_BLK_F_DISCARD : VIRTIO_BLK_F_WRITE_ZEROES))
		return VIRTIO_BLK_S_UNSUPP;
	b->stats.requests[discard ? BLK_DISCARD : BLK_ZERO]++;
	if (!bytes || bytes % sizeof(struct virtio_blk_range) || bytes > sizeof(r->ranges_of))
		return VIRTIO_BLK_S_IOERR;
	if (!virtqueue_read(queue_of(b, r), &r->chain, HEADER_BYTES, r->ranges_of, bytes))
		return VIRTIO_BLK_S_IOERR;
	r->ranges = (unsigned)(bytes / sizeof(struct virtio_blk_range));
	r->step.op = discard ? BLK_DISCARD : BLK_ZERO;
	r->flush = !discard && writethrough(b);
	return judge_ranges(b, r, discard ? 0 : VIRTIO_BLK_RANGE_UNMAP);
}

/* The number of bytes that it has given the driver; those of a fault do not matter. */
static uint64_t answer_id(struct virtio_blk *b, struct blk_request *r)
{
	uint64_t bytes = r->chain.writable_bytes - STATUS_BYTES;

	if (bytes > VIRTIO_BLK_ID_BYTES)
		bytes = VIRTIO_BLK_ID_BYTES;
	if (bytes)
		(void)virtqueue_write(queue_of(b, r), &r->chain, 0, b->backend->serial, bytes);
	return bytes;
}

static uint8_t start_kind(struct virtio_blk *b, struct blk_request *r, const struct virtio_blk_header *h)
{
	switch (h->type) {
	case VIRTIO_BLK_T_IN:
	case VIRTIO_BLK_T_OUT:
		return start_data(b, r, h->type == VIRTIO_BLK_T_IN, h->sector);
	case VIRTIO_BLK_T_FLUSH:
		b->stats.requests[BLK_FLUSH]++;
		r->flush = true;
		return VIRTIO_BLK_S_OK;
	case VIRTIO_BLK_T_DISCARD:
	case VIRTIO_BLK_T_WRITE_ZEROES:
		return start_ranges(b, r, h->type == VIRTIO_BLK_T_DISCARD);
	default:
		return VIRTIO_BLK_S_UNSUPP;
	}
}

static void request_start(struct virtio_blk *b, struct blk_request *r)
{
	struct virtqueue *q = queue_of(b, r);
	struct virtio_blk_header h;

	r->bytes = r->done = r->cut = 0;
	r->ranges = r->range = 0;
	r->flush = r->step.unmap = false;
	if (r->chain.readable_bytes < HEADER_BYTES || r->chain.writable_bytes < STATUS_BYTES)
		fail(b, "a request has no header or no status byte");
	else if (!virtqueue_read(q, &r->chain, 0, &h, HEADER_BYTES))
		fail(b, q->broken);
	if (b->failing) {
		request_free(b, r);
		return;
	}
	if (h.type == VIRTIO_BLK_T_GET_ID) {
		r->status = VIRTIO_BLK_S_OK;
		request_end(b, r, answer_id(b, r));
		return;
	}
	r->status = start_kind(b, r, &h);
	request_run(b, r);
}

/* ---- bursts ---- */

static void kick(struct virtio_blk *b)
{
	if (b->submitted && b->backend->kick)
		b->backend->kick(b->backend->self);
	b->submitted = false;
	b->moving = 0;
}

static void tell(struct virtio_blk *b)
{
	for (unsigned i = 0; i < b->queues; i++) {
		if (b->line[i].used)
			virtio_used(&b->virtio, i);
		b->line[i].used = false;
	}
}

static void kick_and_tell(struct virtio_blk *b)
{
	kick(b);
	tell(b);
}

/* At most a queue's length of them. False: the queue is empty, and the driver will say when it is not. */
static bool take(struct virtio_blk *b, unsigned queue)
{
	struct virtqueue *q = &b->virtio.queue[queue];
	struct blk_line *l = &b->line[queue];

	for (unsigned n = 0; n < VIRTIO_BLK_QUEUE_SIZE && !b->failing && !l->waiting; n++) {
		struct blk_request *r = request_new(b, queue);
		enum virtqueue_result result;

		if (!r)
			break;
		result = virtqueue_pop(q, &r->chain);
		if (result == VIRTQUEUE_OK) {
			request_start(b, r);
			if (b->moving >= BURST_BYTES)
				kick_and_tell(b);
			continue;
		}
		request_free(b, r);
		if (result == VIRTQUEUE_BROKEN)
			fail(b, q->broken);
		return false;
	}
	return true;
}

static void pump(struct virtio_blk *b, unsigned queue)
{
	struct virtqueue *q = &b->virtio.queue[queue];
	struct blk_line *l = &b->line[queue];

	virtqueue_notify_off(q);
	l->pending = take(b, queue);
	if (!l->pending && !b->failing && !b->polled)
		l->pending = virtqueue_notify_on(q);
}

static void resume(struct virtio_blk *b)
{
	struct blk_request *next;

	for (struct blk_request *r = waiting_take(b); r; r = next) {
		next = r->next;
		request_run(b, r);
	}
	for (unsigned i = 0; i < b->queues; i++)
		if (b->line[i].pending && !b->failing)
			pump(b, i);
}

/* More to do now, that no end of a step will bring up? */
static bool idle(const struct virtio_blk *b)
{
	for (unsigned i = 0; i < b->queues; i++)
		if ((b->line[i].pending || b->line[i].waiting) && !b->line[i].flying)
			return false;
	return true;
}

/* Of this queue, or of VIRTIO_ALL_QUEUES, nothing waits, is to be popped or to be told. */
static void forget(struct virtio_blk *b, unsigned queue)
{
	struct blk_request *next;

	for (struct blk_request *r = waiting_take(b); r; r = next) {
		next = r->next;
		if (queue == VIRTIO_ALL_QUEUES || queue == r->queue)
			request_free(b, r);
		else
			request_wait(b, r);
	}
	for (unsigned i = 0; i < b->queues; i++)
		if (queue == VIRTIO_ALL_QUEUES || queue == i)
			b->line[i].pending = b->line[i].used = false;
}

/* Everything that can be done now is done when it returns. */
static void serve(struct virtio_blk *b)
{
	do {
		resume(b);
		kick_and_tell(b);
	} while (!b->failing && !idle(b));
	if (!b->failing || b->flying)
		return;
	forget(b, VIRTIO_ALL_QUEUES);
	b->failing = false;
}

void virtio_blk_done(struct virtio_blk *b, struct blk_step *step, bool ok)
{
	struct blk_request *r = request_of(step);

	if (b->inside == r) {
		b->ended = true;
		b->ended_ok = ok;
		return;
	}
	step_end(b, r, ok);
	request_run(b, r);
}

static uint64_t chains(const struct virtio_blk *b)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < b->queues; i++)
		n += b->virtio.queue[i].chains;
	return n;
}

bool virtio_blk_poll(struct virtio_blk *b, bool last)
{
	const uint64_t before = chains(b);

	b->polled = !last;
	if (!virtio_running(&b->virtio))
		return false;
	for (unsigned i = 0; i < b->queues; i++)
		if (b->virtio.queue[i].ready)
			pump(b, i);
	serve(b);
	return chains(b) != before;
}

void virtio_blk_completed(struct virtio_blk *b)
{
	serve(b);
}

/* ---- below devices/virtio.h ---- */

static void blk_notify(void *self, unsigned queue)
{
	struct virtio_blk *b = self;

	if (b->failing)
		return;
	b->line[queue].pending = true;
	serve(b);
}

static void blk_stop(void *self, unsigned queue)
{
	struct virtio_blk *b = self;

	b->stopping = queue;
	b->backend->drain(b->backend->self);
	b->stopping = VIRTIO_BLK_NO_QUEUE;
	b->submitted = false;
	b->moving = 0;
	forget(b, queue);
	if (queue != VIRTIO_ALL_QUEUES) {
		serve(b);
		return;
	}
	b->failing = false;
	b->writeback = true;
}

static struct virtio_blk_config_regs config_regs(const struct virtio_blk *b)
{
	const struct blk_backend *k = b->backend;
	struct virtio_blk_config_regs c = {
		.capacity = k->bytes / VIRTIO_BLK_SECTOR,
		.seg_max = VIRTIO_BLK_SEG_MAX,
		.blk_size = k->block_bytes,
		.topology = {.min_io_size = (uint16_t)(VIRTIO_BLK_HOST_BLOCK / k->block_bytes)},
		.writeback = b->writeback && virtio_has(&b->virtio, VIRTIO_BLK_F_FLUSH),
		.num_queues = (uint16_t)b->queues,
	};

	while (k->block_bytes << c.topology.physical_block_exp < VIRTIO_BLK_HOST_BLOCK)
		c.topology.physical_block_exp++;
	if (k->discard) {
		c.max_discard_sectors = VIRTIO_BLK_RANGE_MAX;
		c.max_discard_seg = VIRTIO_BLK_RANGES_MAX;
		c.discard_sector_alignment = VIRTIO_BLK_HOST_BLOCK / VIRTIO_BLK_SECTOR;
	}
	if (k->zero) {
		c.max_write_zeroes_sectors = VIRTIO_BLK_RANGE_MAX;
		c.max_write_zeroes_seg = VIRTIO_BLK_RANGES_MAX;
		c.write_zeroes_may_unmap = k->discard;
	}
	return c;
}

static uint64_t blk_read_config(void *self, unsigned offset, unsigned width)
{
	const struct virtio_blk_config_regs regs = config_regs(self);

	return virtio_config_bytes(&regs, offset, width);
}

static void blk_write_config(void *self, unsigned offset, unsigned width, uint64_t value)
{
	const unsigned at = offsetof(struct virtio_blk_config_regs, writeback);
	struct virtio_blk *b = self;

	if (offset <= at && at < offset + width && virtio_has(&b->virtio, VIRTIO_BLK_F_CONFIG_WCE))
		b->writeback = value >> 8 * (at - offset) & 1;
}

static uint64_t features(const struct blk_backend *k, unsigned queues)
{
	uint64_t f = UINT64_C(1) << VIRTIO_BLK_F_SEG_MAX | UINT64_C(1) << VIRTIO_BLK_F_BLK_SIZE |
		     UINT64_C(1) << VIRTIO_BLK_F_FLUSH | UINT64_C(1) << VIRTIO_BLK_F_TOPOLOGY;

	if (queues > 1)
		f |= UINT64_C(1) << VIRTIO_BLK_F_MQ;
	f |= UINT64_C(1) << (k->readonly ? VIRTIO_BLK_F_RO : VIRTIO_BLK_F_CONFIG_WCE);
	if (k->discard)
		f |= UINT64_C(1) << VIRTIO_BLK_F_DISCARD;
	if (k->zero)
		f |= UINT64_C(1) << VIRTIO_BLK_F_WRITE_ZEROES;
	return f;
}

static size_t head_bytes(void)
{
	return (sizeof(struct virtio_blk) + 63) & ~(size_t)63;
}

size_t virtio_blk_bytes(unsigned queues)
{
	return head_bytes() + (size_t)queues * VIRTIO_BLK_QUEUE_SIZE * sizeof(struct blk_request);
}

struct virtio_blk *virtio_blk_init(const struct virtio_blk_config *config)
{
	static const struct virtio_ops ops = {
		.stop = blk_stop,
		.notify = blk_notify,
		.read_config = blk_read_config,
		.write_config = blk_write_config,
	};
	struct virtio_blk *b = config->memory;
	struct virtio_config virtio = {
		.name = config->name,
		.id = VIRTIO_ID_BLK,
		.features = features(config->backend, config->queues),
		.packed = config->packed,
		.platform = config->platform,
		.config_bytes = sizeof(struct virtio_blk_config_regs),
		.queues = config->queues,
		.dma = config->dma,
		.ops = &ops,
		.self = b,
		.irq = config->irq,
		.broken = config->broken,
		.owner = config->owner,
	};

	memset(b, 0, sizeof(*b));
	b->backend = config->backend;
	b->queues = config->queues;
	b->writeback = true;
	b->stopping = VIRTIO_BLK_NO_QUEUE;
	b->waiting_end = &b->waiting;
	b->request = (struct blk_request *)(void *)((uint8_t *)config->memory + head_bytes());
	for (unsigned i = 0; i < config->queues; i++)
		virtio.queue_size[i] = VIRTIO_BLK_QUEUE_SIZE;
	virtio_init(&b->virtio, &virtio);
	return b;
}

struct virtio *virtio_blk_virtio(struct virtio_blk *b)
{
	return &b->virtio;
}

struct virtio_blk_stats virtio_blk_stats_read(const struct virtio_blk *b)
{
	return b->stats;
}

/* ---- check ---- */

static bool check_step(const struct virtio_blk *b, const struct blk_request *r)
{
	const struct blk_step *s = &r->step;
	uint64_t bytes = 0;

	if ((s->offset | s->bytes) % VIRTIO_BLK_SECTOR || s->bytes > b->backend->bytes ||
	    s->offset > b->backend->bytes - s->bytes)
		return false;
	if (s->op != BLK_READ && s->op != BLK_WRITE)
		return r->list.count == 0;
	if (s->segment != r->segment || s->segments > r->list.count)
		return false;
	for (unsigned i = 0; i < s->segments; i++)
		bytes += s->segment[i].bytes;
	return bytes == s->bytes;
}

static unsigned count_list(const struct blk_request *r, enum blk_state state, unsigned queue)
{
	unsigned n = 0;

	for (; r; r = r->next) {
		if (r->state != state)
			return UINT32_MAX;
		n += r->queue == queue;
	}
	return n;
}

static bool check_line(const struct virtio_blk *b, unsigned queue)
{
	const struct blk_line *l = &b->line[queue];
	unsigned count[BLK_FLYING + 1] = {0}, holding = 0;

	if (l->fresh > VIRTIO_BLK_QUEUE_SIZE)
		return false;
	for (unsigned i = 0; i < l->fresh; i++) {
		const struct blk_request *r = &b->request[queue * VIRTIO_BLK_QUEUE_SIZE + i];

		if (r->state > BLK_FLYING || r->queue != queue)
			return false;
		count[r->state]++;
		holding += r->list.count != 0;
		if (r->state == BLK_FLYING ? !check_step(b, r) : r->list.count != 0)
			return false;
	}
	return holding == l->holding && count[BLK_FLYING] == l->flying && count[BLK_WAITING] == l->waiting &&
	       count[BLK_FREE] == count_list(l->free, BLK_FREE, queue) &&
	       count[BLK_WAITING] == count_list(b->waiting, BLK_WAITING, queue);
}

bool virtio_blk_check(const struct virtio_blk *b)
{
	unsigned flying = 0;

	for (unsigned i = 0; i < b->queues; i++) {
		if (!check_line(b, i))
			return false;
		flying += b->line[i].flying;
	}
	if (flying != b->flying || b->inside || b->stopping != VIRTIO_BLK_NO_QUEUE)
		return false;
	if (b->failing)
		return flying != 0;
	return idle(b) || !virtio_running(&b->virtio);
}
