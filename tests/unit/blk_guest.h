/* tests/unit/blk_guest.h: a virtio block device, a driver for it, and a backend in memory whose steps end when and
 * how the test says. Knows no test framework: fuzz targets use it, too. */
#ifndef SLAT_TESTS_UNIT_BLK_GUEST_H
#define SLAT_TESTS_UNIT_BLK_GUEST_H

#include "devices/virtio_blk_impl.h"
#include "tests/unit/fake_driver.h"

#define BLK_GUEST_SECTORS 16384u
#define BLK_GUEST_BYTES	  ((uint64_t)BLK_GUEST_SECTORS * VIRTIO_BLK_SECTOR)
#define BLK_GUEST_QUEUES  4u
#define BLK_GUEST_STEPS	  (BLK_GUEST_QUEUES * VIRTIO_BLK_QUEUE_SIZE)

/* Guest memory: each queue's rings, then PAGES regions of one page that touch, each elsewhere on the host. */
#define BLK_GUEST_RINGS 0x1000000u
#define BLK_GUEST_RING	0x200000u
#define BLK_GUEST_DATA	0x100000u
#define BLK_GUEST_PAGES 24u
#define BLK_GUEST_RAM	(BLK_GUEST_PAGES * FAKE_DMA_PAGE)

enum blk_when { BLK_AT_SUBMIT, BLK_AT_KICK, BLK_LATER };

struct blk_disk { /* the backend */
	struct blk_backend backend;
	struct virtio_blk *device;
	const struct fake_dma *memory;
	uint8_t *data;
	enum blk_when when;
	unsigned fail; /* of a thousand steps */
	uint64_t (*random)(uint64_t below);
	struct blk_step *step[BLK_GUEST_STEPS];
	unsigned steps, steps_max;
	uint64_t submitted, kicks, flushes, unmapped, segments_max;
	uint64_t unstable; /* writes that ended behind the last flush */
};

struct blk_guest {
	struct fake_dma f;
	struct dma dma[BLK_GUEST_QUEUES];
	struct blk_disk disk;
	struct virtio_blk *b;
	struct virtio *v;
	void *memory;
	struct fake_driver driver[BLK_GUEST_QUEUES];
	unsigned interrupts;
	const char *broken;
	bool packed;
};

/* Is it the guest's? */
static inline bool blk_disk_owns(const struct blk_disk *d, const struct dma_segment *s)
{
	for (unsigned i = 0; i < d->memory->regions; i++) {
		const struct fake_region *r = &d->memory->region[i];

		if (s->host >= r->host && s->host < r->host + r->bytes)
			return s->bytes <= (uint64_t)(r->host + r->bytes - s->host);
	}
	return false;
}

static inline bool blk_disk_move(struct blk_disk *d, const struct blk_step *s)
{
	uint8_t *at = d->data + s->offset;
	uint64_t bytes = 0;

	FAKE_DMA_MUST(s->bytes <= BLK_GUEST_BYTES && s->offset <= BLK_GUEST_BYTES - s->bytes);
	FAKE_DMA_MUST((s->offset | s->bytes) % VIRTIO_BLK_SECTOR == 0);
	FAKE_DMA_MUST(!d->backend.readonly || s->op == BLK_READ || s->op == BLK_FLUSH);
	FAKE_DMA_MUST(s->op == BLK_FLUSH || s->bytes > 0);
	if (s->op == BLK_READ || s->op == BLK_WRITE)
		FAKE_DMA_MUST(s->segments > 0 && s->segments <= VIRTIO_BLK_SEGMENTS);
	d->segments_max = s->segments > d->segments_max ? s->segments : d->segments_max;
	for (unsigned i = 0; i < s->segments; bytes += s->segment[i++].bytes) {
		FAKE_DMA_MUST(s->segment[i].bytes > 0 && blk_disk_owns(d, &s->segment[i]));
		if (s->op == BLK_READ)
			memcpy(s->segment[i].host, at + bytes, s->segment[i].bytes);
		else
			memcpy(at + bytes, s->segment[i].host, s->segment[i].bytes);
	}
	FAKE_DMA_MUST(!s->segments || bytes == s->bytes);
	if (s->op == BLK_ZERO)
		memset(at, 0, s->bytes);
	if (s->op == BLK_DISCARD)
		memset(at, 0xdd, s->bytes);
	d->unmapped += s->op == BLK_ZERO && s->unmap;
	if (s->op == BLK_FLUSH) {
		d->unstable = 0;
		d->flushes++;
	}
	d->unstable += s->op == BLK_WRITE || s->op == BLK_ZERO;
	return true;
}

static inline void blk_disk_end(struct blk_disk *d, struct blk_step *s)
{
	bool ok = !(d->fail && d->random(1000) < d->fail);

	virtio_blk_done(d->device, s, ok && blk_disk_move(d, s));
}

/* The i-th of those in flight, as it should end. */
static inline void blk_disk_end_one(struct blk_disk *d, unsigned i)
{
	struct blk_step *s = d->step[i];

	d->step[i] = d->step[--d->steps];
	blk_disk_end(d, s);
}

static inline void blk_disk_fail_one(struct blk_disk *d, unsigned i)
{
	struct blk_step *s = d->step[i];

	d->step[i] = d->step[--d->steps];
	virtio_blk_done(d->device, s, false);
}

static inline void blk_disk_submit(void *self, struct blk_step *s)
{
	struct blk_disk *d = self;

	d->submitted++;
	if (d->when == BLK_AT_SUBMIT) {
		blk_disk_end(d, s);
		return;
	}
	FAKE_DMA_MUST(d->steps < BLK_GUEST_STEPS);
	d->step[d->steps++] = s;
	d->steps_max = d->steps > d->steps_max ? d->steps : d->steps_max;
}

static inline void blk_disk_kick(void *self)
{
	struct blk_disk *d = self;

	d->kicks++;
	while (d->when == BLK_AT_KICK && d->steps)
		blk_disk_end_one(d, 0);
}

static inline void blk_disk_drain(void *self)
{
	struct blk_disk *d = self;

	while (d->steps)
		blk_disk_end_one(d, d->steps - 1);
}

static inline void blk_guest_irq(void *self, unsigned line, bool level)
{
	(void)line;
	((struct blk_guest *)self)->interrupts += level;
}

static inline void blk_guest_broken(void *owner, const char *name, const char *why)
{
	(void)name;
	((struct blk_guest *)owner)->broken = why;
}

/* Memory, and what the device and its backend lie in. */
static inline void blk_guest_memory(struct blk_guest *g, unsigned queues)
{
	memset(g, 0, sizeof(*g));
	fake_dma_init(&g->f);
	for (unsigned i = 0; i < queues; i++)
		fake_dma_add(&g->f, BLK_GUEST_RINGS + i * BLK_GUEST_RING,
			     (FAKE_DRIVER_BYTES + FAKE_DMA_PAGE - 1) / FAKE_DMA_PAGE * FAKE_DMA_PAGE,
			     DMA_READ | DMA_WRITE);
	for (unsigned i = 0; i < BLK_GUEST_PAGES; i++)
		fake_dma_add(&g->f, BLK_GUEST_DATA + i * FAKE_DMA_PAGE, FAKE_DMA_PAGE, DMA_READ | DMA_WRITE);
	g->disk.data = calloc(1, BLK_GUEST_BYTES);
	FAKE_DMA_MUST(posix_memalign(&g->memory, 64, virtio_blk_bytes(queues)) == 0);
}

/* A new device in that memory. Of `like` readonly, discard, zero and serial count. */
static inline void blk_guest_device(struct blk_guest *g, const struct blk_backend *like, unsigned queues, bool packed)
{
	struct virtio_blk_config config = {
		.name = "disk 0",
		.backend = &g->disk.backend,
		.queues = queues,
		.packed = packed,
		.dma = g->dma,
		.irq = {.self = g, .set = blk_guest_irq},
		.broken = blk_guest_broken,
		.owner = g,
		.memory = g->memory,
	};

	for (unsigned i = 0; i < queues; i++)
		fake_dma_device(&g->f, &g->dma[i], NULL, i);
	g->packed = packed;
	g->disk = (struct blk_disk){
		.backend = *like,
		.memory = &g->f,
		.data = g->disk.data,
		.when = BLK_LATER,
	};
	g->disk.backend.self = &g->disk;
	g->disk.backend.bytes = BLK_GUEST_BYTES;
	g->disk.backend.block_bytes = VIRTIO_BLK_SECTOR;
	g->disk.backend.submit = blk_disk_submit;
	g->disk.backend.kick = blk_disk_kick;
	g->disk.backend.drain = blk_disk_drain;
	g->b = virtio_blk_init(&config);
	g->v = virtio_blk_virtio(g->b);
	g->disk.device = g->b;
}

static inline void blk_guest_init(struct blk_guest *g, const struct blk_backend *like, unsigned queues, bool packed)
{
	blk_guest_memory(g, queues);
	blk_guest_device(g, like, queues, packed);
}

static inline void blk_guest_free(struct blk_guest *g)
{
	virtio_set_status(g->v, 0);
	FAKE_DMA_MUST(g->f.pinned == 0 && g->disk.steps == 0);
	free(g->memory);
	free(g->disk.data);
	fake_dma_free(&g->f);
}

static inline void blk_guest_queue(struct blk_guest *g, unsigned queue, unsigned size)
{
	fake_driver_init(&g->driver[queue], &g->f, BLK_GUEST_RINGS + queue * BLK_GUEST_RING, size, g->packed);
	fake_driver_lend(&g->driver[queue], &g->v->queue[queue]);
	virtio_queue_ready(g->v, queue, true);
	FAKE_DMA_MUST(g->v->queue[queue].ready);
}

/* A driver that takes what is offered, but what is in `without`, and no event index. Up to FEATURES_OK. */
static inline void blk_guest_negotiate(struct blk_guest *g, uint64_t without)
{
	uint64_t features = g->v->offered & ~without & ~(UINT64_C(1) << VIRTIO_F_EVENT_IDX);

	virtio_set_status(g->v, 0);
	virtio_set_status(g->v, VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER);
	virtio_accept(g->v, 0, (uint32_t)features);
	virtio_accept(g->v, 1, (uint32_t)(features >> 32));
	virtio_set_status(g->v, VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_FEATURES_OK);
	FAKE_DMA_MUST(g->v->status & VIRTIO_STATUS_FEATURES_OK);
}

static inline void blk_guest_start(struct blk_guest *g, uint64_t without, unsigned size)
{
	blk_guest_negotiate(g, without);
	for (unsigned i = 0; i < g->b->queues; i++)
		blk_guest_queue(g, i, size);
	virtio_set_status(g->v, VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_FEATURES_OK |
					VIRTIO_STATUS_DRIVER_OK);
	g->interrupts = 0;
}

/* What has ended by now has ended, the oldest first; as a worker's burst. */
static inline void blk_guest_complete(struct blk_guest *g)
{
	while (g->disk.steps)
		blk_disk_end_one(&g->disk, 0);
	virtio_blk_completed(g->b);
}

#endif
