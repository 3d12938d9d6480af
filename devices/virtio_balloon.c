/* devices/virtio_balloon.c: a balloon in the guest's memory.
 *
 * What it is. The device asks the driver for memory (num_pages); the driver takes
 * pages from its own kernel and names them here. What naming them is worth is the
 * owner's affair (struct balloon_ops): this file turns requests into runs of
 * guest-physical addresses. It never reads or writes a page of them.
 *
 * Words. Give: inflate, pages that the guest does without until it takes them back
 * (deflate). Report: free pages that the guest keeps and may use again unasked. Run:
 * neighbours in one piece. PFN: the number of a 4K page, 32 bits, whatever page size
 * the guest has.
 *
 * Queues. Inflate 0, deflate 1; statistics and reporting follow as far as they were
 * negotiated, without gaps, as Linux and QEMU number them (5.5.2 reserves 2 and 4
 * for them, but no driver counts so). So what a queue is for is known once the
 * features are final; until then all four are offered, all as long as Linux wants its
 * reporting queue at least.
 *
 * Invariants
 *   I1 Runs are whole, 4K-aligned, not empty, and do not wrap; those of one piece of a
 *      request by PFNs neither overlap nor touch. They need not be RAM.
 *   I2 What a request names was given, taken or reported before it is pushed.
 *   I3 holds_stats: stats_chain was popped from the statistics queue, and not pushed.
 *   I4 Nothing stays given when the driver has gone: each reset says so.
 *
 * Who tells first. MUST_TELL_HOST is offered: a driver that took it does not use a page
 * before its deflate request is done, so a page can be kept in the owner's books until
 * the host's own, larger page is complete, and go then. A driver that did not take it
 * may use pages any time after its inflate request is done. They may only go at
 * once, as reported ones do (5.5.6.1, 5.5.6.2), so they are passed to report(), and what such a
 * driver deflates means nothing.
 *
 * Statistics. The driver's buffer is held: giving it back is how new ones are asked
 * for. A second buffer, against 5.5.6.3.1, waits in the queue for its turn. Tags that are
 * not known are ignored, and so is what lies behind the first STATS_MAX entries.
 *
 * Cost. The PFNs of a request are copied, sorted and joined PIECE at a time: Linux's
 * 256 are one piece. A shell sort: they mostly come in order or in reverse, and the worst
 * that a guest can send costs O(n^(4/3)). A report names its runs itself, but what the owner does
 * with one may be O(its pages): it need not be RAM. So a request of either kind of more than
 * PAGES_MAX, 256 MiB, is no driver's (Linux reports 128 MiB at once) and breaks the device, and
 * a queue full of them cannot hold its lock for more than a second or two. Who keeps the queue
 * full is stopped with the other vCPUs.
 *
 * Rejected. Joining runs across requests: Linux sends one at a time and waits for it,
 * so there is nothing to join. Free page hints and page poison: for migration,
 * which is not here, and for kernels that want their pages unchanged. A bound on PFNs by
 * ignoring the surplus: a deflated page that was not taken note of would later be
 * discarded under its user. */
#include <string.h>

#include "devices/virtio_balloon.h"

#define QUEUES	  4u
#define PIECE	  1024u
#define PAGES_MAX (UINT64_C(1) << 16)
#define STATS_MAX 64u
#define PAGE	  UINT64_C(4096)

_Static_assert(PAGE == VIRTIO_BALLOON_PAGE, "5.5.6");

enum role { INFLATE, DEFLATE, STATISTICS, REPORTING, IDLE };

static enum role role_of(const struct virtio_balloon *b, unsigned queue)
{
	const bool statistics = virtio_has(&b->virtio, VIRTIO_BALLOON_F_STATS_VQ);

	if (queue < 2)
		return queue == 0 ? INFLATE : DEFLATE;
	if (statistics && queue == 2)
		return STATISTICS;
	if (virtio_has(&b->virtio, VIRTIO_BALLOON_F_PAGE_REPORTING) && queue == 2u + statistics)
		return REPORTING;
	return IDLE;
}

/* ---- what is done with a run ---- */

static void report(struct virtio_balloon *b, uint64_t gpa, uint64_t bytes)
{
	b->stats.runs++;
	b->stats.reported += bytes;
	b->stats.returned += b->ops->report(b->owner, gpa, bytes);
}

static void inflate(struct virtio_balloon *b, uint64_t gpa, uint64_t bytes)
{
	const bool told = virtio_has(&b->virtio, VIRTIO_BALLOON_F_MUST_TELL_HOST);

	b->stats.runs++;
	b->stats.inflated += bytes;
	b->stats.returned += told ? b->ops->give(b->owner, gpa, bytes) : b->ops->report(b->owner, gpa, bytes);
}

static void deflate(struct virtio_balloon *b, uint64_t gpa, uint64_t bytes)
{
	b->stats.deflated += bytes;
	if (virtio_has(&b->virtio, VIRTIO_BALLOON_F_MUST_TELL_HOST))
		b->ops->take(b->owner, gpa, bytes);
}

typedef void (*run_action)(struct virtio_balloon *b, uint64_t gpa, uint64_t bytes);

/* ---- pages by number ---- */

static void sort(uint32_t *pfn, uint32_t count)
{
	static const uint16_t gaps[] = {701, 301, 132, 57, 23, 10, 4, 1}; /* Ciura 2001 */

	for (unsigned g = 0; g < sizeof(gaps) / sizeof(gaps[0]); g++) {
		for (uint32_t i = gaps[g]; i < count; i++) {
			uint32_t moving = pfn[i], at = i;

			for (; at >= gaps[g] && pfn[at - gaps[g]] > moving; at -= gaps[g])
				pfn[at] = pfn[at - gaps[g]];
			pfn[at] = moving;
		}
	}
}

/* Sorted PFNs, the same one more than once too. */
static void each_run(struct virtio_balloon *b, const uint32_t *pfn, uint32_t count, run_action action)
{
	for (uint32_t i = 0; i < count;) {
		uint64_t first = pfn[i], end = first;

		for (; i < count && pfn[i] <= end; i++)
			end = (uint64_t)pfn[i] + 1;
		action(b, first * PAGE, (end - first) * PAGE);
	}
}

/* More than a request may name: the device is broken. */
static bool too_many(struct virtio_balloon *b, uint64_t bytes)
{
	if (bytes <= PAGES_MAX * PAGE)
		return false;
	virtio_break(&b->virtio, "more pages in one request than any driver sends");
	return true;
}

static bool serve_pfns(struct virtio_balloon *b, struct virtqueue *q, run_action action)
{
	uint64_t count = b->chain.readable_bytes / sizeof(uint32_t);
	uint32_t pfn[PIECE];

	if (too_many(b, count * PAGE))
		return false;
	for (uint64_t done = 0; done < count;) {
		uint32_t piece = count - done < PIECE ? (uint32_t)(count - done) : PIECE;

		if (!virtqueue_read(q, &b->chain, done * sizeof(*pfn), pfn, piece * sizeof(*pfn)))
			return false;
		sort(pfn, piece);
		each_run(b, pfn, piece, action);
		done += piece;
	}
	return virtqueue_push(q, &b->chain, 0);
}

/* ---- pages by buffer ---- */

/* The whole pages of a buffer; false: none. */
static bool whole_pages(const struct virtqueue_buffer *buffer, uint64_t *first, uint64_t *end)
{
	if (buffer->iova > UINT64_MAX - buffer->bytes - PAGE)
		return false;
	*first = (buffer->iova + PAGE - 1) & ~(PAGE - 1);
	*end = (buffer->iova + buffer->bytes) & ~(PAGE - 1);
	return *first < *end;
}

/* The driver's free pages are the buffers themselves: nothing is read from them or written to them. */
static bool serve_report(struct virtio_balloon *b, struct virtqueue *q)
{
	const struct virtqueue_chain *c = &b->chain;
	uint64_t first = 0, end = 0, next, next_end;

	if (too_many(b, c->writable_bytes))
		return false;
	for (unsigned i = c->readable; i < (unsigned)c->readable + c->writable; i++) {
		if (!whole_pages(&c->buffer[i], &next, &next_end)) {
			b->stats.ragged++;
			continue;
		}
		if (next != end && first != end)
			report(b, first, end - first);
		if (next != end)
			first = next;
		end = next_end;
	}
	if (first != end)
		report(b, first, end - first);
	return virtqueue_push(q, &b->chain, 0);
}

/* ---- statistics ---- */

static bool tell_statistics(struct virtio_balloon *b, struct virtqueue *q)
{
	const uint64_t room = b->stats_chain.readable_bytes / sizeof(struct virtio_balloon_stat);
	const unsigned count = room < STATS_MAX ? (unsigned)room : STATS_MAX;
	struct virtio_balloon_stat stat[STATS_MAX];
	uint64_t value[VIRTIO_BALLOON_S_TAGS];

	memset(value, 0xff, sizeof(value));
	if (!virtqueue_read(q, &b->stats_chain, 0, stat, count * sizeof(*stat)))
		return false;
	for (unsigned i = 0; i < count; i++) {
		if (stat[i].tag < VIRTIO_BALLOON_S_TAGS)
			value[stat[i].tag] = stat[i].value;
	}
	if (b->ops->statistics)
		b->ops->statistics(b->owner, value);
	return true;
}

static void serve_statistics(struct virtio_balloon *b, struct virtqueue *q)
{
	do {
		if (b->holds_stats || virtqueue_pop(q, &b->stats_chain) != VIRTQUEUE_OK)
			continue;
		b->holds_stats = tell_statistics(b, q);
	} while (virtqueue_notify_on(q) && !b->holds_stats);
}

bool virtio_balloon_ask_statistics(struct virtio_balloon *b)
{
	struct virtqueue *q = &b->virtio.queue[2];

	if (!virtio_running(&b->virtio) || role_of(b, 2) != STATISTICS || !b->holds_stats)
		return false;
	b->holds_stats = false;
	if (!virtqueue_push(q, &b->stats_chain, 0))
		return false;
	virtio_used(&b->virtio, 2);
	serve_statistics(b, q);
	return true;
}

/* ---- the device ---- */

static bool serve(struct virtio_balloon *b, struct virtqueue *q, enum role role)
{
	if (role == REPORTING)
		return serve_report(b, q);
	return serve_pfns(b, q, role == INFLATE ? inflate : deflate);
}

static void notify(void *self, unsigned queue)
{
	struct virtio_balloon *b = self;
	struct virtqueue *q = &b->virtio.queue[queue];
	const enum role role = role_of(b, queue);

	if (role == IDLE)
		return;
	if (role == STATISTICS) {
		serve_statistics(b, q);
		return;
	}
	do {
		while (virtqueue_pop(q, &b->chain) == VIRTQUEUE_OK && serve(b, q, role))
			;
	} while (virtqueue_notify_on(q));
	virtio_used(&b->virtio, queue);
}

static void stop(void *self, unsigned queue)
{
	struct virtio_balloon *b = self;

	if (queue == VIRTIO_ALL_QUEUES || role_of(b, queue) == STATISTICS)
		b->holds_stats = false;
	if (queue != VIRTIO_ALL_QUEUES)
		return;
	b->actual = 0;
	b->ops->reset(b->owner);
}

static uint64_t read_config(void *self, unsigned offset, unsigned width)
{
	const struct virtio_balloon *b = self;
	const struct virtio_balloon_config_regs regs = {.num_pages = b->target, .actual = b->actual};

	return virtio_config_bytes(&regs, offset, width);
}

static void write_config(void *self, unsigned offset, unsigned width, uint64_t value)
{
	struct virtio_balloon *b = self;

	if (offset == offsetof(struct virtio_balloon_config_regs, actual) && width == sizeof(b->actual))
		b->actual = (uint32_t)value;
}

void virtio_balloon_set_target(struct virtio_balloon *b, uint64_t bytes)
{
	const uint64_t pages = bytes / PAGE < UINT32_MAX ? bytes / PAGE : UINT32_MAX;

	if (pages == b->target)
		return;
	b->target = (uint32_t)pages;
	virtio_changed(&b->virtio);
}

static uint64_t features(const struct virtio_balloon_config *config)
{
	const uint64_t one = 1;

	return one << VIRTIO_BALLOON_F_MUST_TELL_HOST | one << VIRTIO_BALLOON_F_STATS_VQ |
	       (uint64_t)config->deflate_on_oom << VIRTIO_BALLOON_F_DEFLATE_ON_OOM |
	       (uint64_t)config->reporting << VIRTIO_BALLOON_F_PAGE_REPORTING;
}

void virtio_balloon_init(struct virtio_balloon *b, const struct virtio_balloon_config *config)
{
	static const struct virtio_ops ops = {
		.stop = stop,
		.notify = notify,
		.read_config = read_config,
		.write_config = write_config,
	};
	struct virtio_config v = {
		.name = config->name,
		.id = VIRTIO_ID_BALLOON,
		.features = features(config),
		.packed = config->packed,
		.config_bytes = offsetof(struct virtio_balloon_config_regs, free_page_hint_cmd_id),
		.queues = QUEUES,
		.dma = config->dma,
		.ops = &ops,
		.self = b,
		.irq = config->irq,
		.broken = config->broken,
		.owner = config->owner,
	};

	for (unsigned i = 0; i < QUEUES; i++)
		v.queue_size[i] = VIRTIO_BALLOON_QUEUE_SIZE;
	memset(b, 0, sizeof(*b));
	b->ops = config->ops;
	b->owner = config->owner;
	virtio_init(&b->virtio, &v);
}
