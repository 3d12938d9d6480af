/* tests/unit/balloon_guest.h: a virtio balloon, a driver for its queues, and an owner who keeps a record of what he
 * is told: each run, and for the first pages what the last word about them was. Knows no test framework: fuzz targets
 * use it, too. */
#ifndef SLAT_TESTS_UNIT_BALLOON_GUEST_H
#define SLAT_TESTS_UNIT_BALLOON_GUEST_H

#include "devices/virtio_balloon.h"
#include "tests/unit/fake_driver.h"

#define BALLOON_GUEST_QUEUES 4u
#define BALLOON_GUEST_RINGS  0x10000000u
#define BALLOON_GUEST_RING   (3u * FAKE_DRIVER_AREA) /* nothing is indirect here */
#define BALLOON_GUEST_WORDS  0x1000000u		     /* where PFNs and statistics lie */
#define BALLOON_GUEST_BYTES  0x60000u
#define BALLOON_GUEST_RAM    0x400000u /* what is reported: never touched */
#define BALLOON_GUEST_PAGES  16u
#define BALLOON_GUEST_RUNS   4096u
#define BALLOON_GUEST_STATES 4096u

enum balloon_word { BALLOON_NEVER, BALLOON_GIVEN, BALLOON_TAKEN, BALLOON_REPORTED };

struct balloon_run {
	enum balloon_word word;
	uint64_t gpa, bytes;
};

struct balloon_guest {
	struct fake_dma f;
	struct dma dma[BALLOON_GUEST_QUEUES];
	struct virtio_balloon b;
	struct fake_driver driver[BALLOON_GUEST_QUEUES];
	struct balloon_run run[BALLOON_GUEST_RUNS];
	unsigned runs; /* since the record was last cleared; those that are too many are not kept */
	uint8_t state[BALLOON_GUEST_STATES]; /* enum balloon_word of each page */
	unsigned resets, statistics, interrupts;
	uint64_t value[VIRTIO_BALLOON_S_TAGS];
	unsigned used; /* chains that the device was done with when it last told the owner something */
	const char *broken;
};

static inline unsigned balloon_guest_used(const struct balloon_guest *g)
{
	unsigned used = 0;

	for (unsigned i = 0; i < BALLOON_GUEST_QUEUES; i++)
		used += g->driver[i].size && !g->driver[i].packed
				? fake_driver_load(&g->driver[i], g->driver[i].device + 2)
				: 0;
	return used;
}

static inline void balloon_guest_told(struct balloon_guest *g, enum balloon_word word, uint64_t gpa, uint64_t bytes)
{
	FAKE_DMA_MUST(bytes > 0 && (gpa | bytes) % VIRTIO_BALLOON_PAGE == 0 && gpa + (bytes - 1) >= gpa);
	if (g->runs < BALLOON_GUEST_RUNS)
		g->run[g->runs] = (struct balloon_run){word, gpa, bytes};
	g->runs++;
	g->used = balloon_guest_used(g);
	for (uint64_t page = gpa / VIRTIO_BALLOON_PAGE; page < (gpa + bytes) / VIRTIO_BALLOON_PAGE; page++) {
		if (page >= BALLOON_GUEST_STATES)
			break;
		g->state[page] = (uint8_t)word;
	}
}

static inline uint64_t balloon_guest_give(void *owner, uint64_t gpa, uint64_t bytes)
{
	balloon_guest_told(owner, BALLOON_GIVEN, gpa, bytes);
	return bytes / 2;
}

static inline void balloon_guest_take(void *owner, uint64_t gpa, uint64_t bytes)
{
	balloon_guest_told(owner, BALLOON_TAKEN, gpa, bytes);
}

static inline uint64_t balloon_guest_report(void *owner, uint64_t gpa, uint64_t bytes)
{
	balloon_guest_told(owner, BALLOON_REPORTED, gpa, bytes);
	return bytes;
}

static inline void balloon_guest_reset(void *owner)
{
	struct balloon_guest *g = owner;

	memset(g->state, 0, sizeof(g->state));
	g->resets++;
}

static inline void balloon_guest_statistics(void *owner, const uint64_t value[VIRTIO_BALLOON_S_TAGS])
{
	struct balloon_guest *g = owner;

	g->statistics++;
	memcpy(g->value, value, sizeof(g->value));
}

static inline void balloon_guest_irq(void *self, unsigned line, bool level)
{
	(void)line;
	((struct balloon_guest *)self)->interrupts += level;
}

static inline void balloon_guest_broken(void *owner, const char *name, const char *why)
{
	(void)name;
	((struct balloon_guest *)owner)->broken = why;
}

static const struct balloon_ops balloon_guest_ops = {
	.give = balloon_guest_give,
	.take = balloon_guest_take,
	.report = balloon_guest_report,
	.reset = balloon_guest_reset,
	.statistics = balloon_guest_statistics,
};

static inline void balloon_guest_init(struct balloon_guest *g, bool packed, bool reporting,
				      const struct balloon_ops *ops)
{
	struct virtio_balloon_config config = {
		.name = "balloon",
		.ops = ops,
		.owner = g,
		.packed = packed,
		.deflate_on_oom = reporting,
		.reporting = reporting,
		.dma = g->dma,
		.irq = {.self = g, .set = balloon_guest_irq},
		.broken = balloon_guest_broken,
	};

	memset(g, 0, sizeof(*g));
	fake_dma_init(&g->f);
	for (unsigned i = 0; i < BALLOON_GUEST_QUEUES; i++) {
		fake_dma_add(&g->f, BALLOON_GUEST_RINGS + i * BALLOON_GUEST_RING, BALLOON_GUEST_RING,
			     DMA_READ | DMA_WRITE);
		fake_dma_device(&g->f, &g->dma[i], NULL, i);
	}
	fake_dma_add(&g->f, BALLOON_GUEST_WORDS, BALLOON_GUEST_BYTES, DMA_READ | DMA_WRITE);
	fake_dma_add(&g->f, BALLOON_GUEST_RAM, BALLOON_GUEST_PAGES * FAKE_DMA_PAGE, DMA_READ | DMA_WRITE);
	config.owner = g;
	virtio_balloon_init(&g->b, &config);
}

static inline void balloon_guest_free(struct balloon_guest *g)
{
	virtio_set_status(&g->b.virtio, 0);
	FAKE_DMA_MUST(g->f.pinned == 0);
	fake_dma_free(&g->f);
}

static inline void balloon_guest_queue(struct balloon_guest *g, unsigned queue, unsigned size)
{
	struct virtio *v = &g->b.virtio;

	fake_driver_init(&g->driver[queue], &g->f, BALLOON_GUEST_RINGS + queue * BALLOON_GUEST_RING, size,
			 virtio_has(v, VIRTIO_F_RING_PACKED));
	g->driver[queue].event = virtio_has(v, VIRTIO_F_EVENT_IDX);
	fake_driver_lend(&g->driver[queue], &v->queue[queue]);
	virtio_queue_ready(v, queue, true);
}

/* A driver that takes what is offered, but for `without`; up to FEATURES_OK with `queues` queues on. */
static inline void balloon_guest_negotiate(struct balloon_guest *g, uint64_t without, unsigned queues, unsigned size)
{
	struct virtio *v = &g->b.virtio;
	uint64_t features = v->offered & ~without;

	virtio_set_status(v, 0);
	virtio_set_status(v, VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER);
	virtio_accept(v, 0, (uint32_t)features);
	virtio_accept(v, 1, (uint32_t)(features >> 32));
	virtio_set_status(v, VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_FEATURES_OK);
	for (unsigned i = 0; i < BALLOON_GUEST_QUEUES; i++)
		g->driver[i].size = 0;
	for (unsigned i = 0; i < queues; i++)
		balloon_guest_queue(g, i, size);
	g->broken = NULL;
	g->interrupts = g->runs = 0;
}

static inline void balloon_guest_ok(struct balloon_guest *g)
{
	virtio_set_status(&g->b.virtio, VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_FEATURES_OK |
						VIRTIO_STATUS_DRIVER_OK);
	FAKE_DMA_MUST(virtio_running(&g->b.virtio) || g->f.fail_at);
}

/* Offers bytes to read. False: the queue is full. */
static inline bool balloon_guest_offer(struct balloon_guest *g, unsigned queue, uint64_t at, const void *bytes,
				       unsigned count)
{
	struct virtqueue_buffer buffer = {at, count};

	fake_dma_put(&g->f, at, bytes, count);
	return fake_driver_add(&g->driver[queue], &buffer, 1, 0, FAKE_DRIVER_DIRECT) != FAKE_DRIVER_FULL;
}

/* Gives PFNs to a queue and notifies; true iff the device has done them. */
static inline bool balloon_guest_pfns(struct balloon_guest *g, unsigned queue, const uint32_t *pfn, unsigned count)
{
	uint32_t written;
	uint16_t id;

	FAKE_DMA_MUST(balloon_guest_offer(g, queue, BALLOON_GUEST_WORDS, pfn, count * 4));
	virtio_notify(&g->b.virtio, queue);
	if (!fake_driver_take(&g->driver[queue], &id, &written))
		return false;
	FAKE_DMA_MUST(written == 0);
	return true;
}

#endif
