/* devices/virtio_iommu.c: the requests of a driver to the IOMMU, and its faults back.
 *
 * What it is. The virtio side of devices/iommu.h: it frames, copies and judges
 * requests, and says what came of them. It is not the IOMMU: what a domain is, and
 * what a mapping may be, is decided there. Source: VIRTIO 1.2, 5.13.
 *
 * Words. A request is a chain: what the driver says (readable), then the answer
 * (writable). The answer ends in the tail, which has the status; in front of it
 * PROBE has its properties. A kind of request is known iff its type is one of the
 * specification's and the driver accepted the feature that it belongs to.
 *
 * Framing. The tail is the last 4 writable bytes, wherever the driver cut them.
 * All bytes in front of it are written, too: zeros where there is nothing to say,
 * since the used length counts from the first. A chain without room for a tail, or
 * with room for more than the longest answer, cannot be parsed; nor can one whose
 * kind is not known: nothing happens, nothing is written, and the used length is 0
 * (5.13.6, 5.13.6.2). One that is too short for its kind is answered INVAL. What
 * is longer than its kind is a later version's: the surplus is not read.
 *
 * Invariants
 *   I1 A request is copied once, and judged and carried out on the copy.
 *   I2 Nothing of a request was done when its status is another than OK.
 *   I3 Config's bypass is what iommu_bypass() says: 0 or 1.
 *   I4 After a reset no endpoint has a domain, so there is no domain and no
 *      mapping; no fault waits; bypass is what it was (5.13.4.2).
 *   I5 A fault that was taken from the IOMMU is in a buffer of the driver's, or the
 *      device is broken.
 *
 * Threads. The lock is the device's and the IOMMU's. A request is carried out within
 * the driver's notification, by the vCPU that sent it: Linux polls for the answer
 * with interrupts off, so a thread in between would only be waited for. unmap, detach
 * and reset wait here for DMA that is under way, by other devices' threads: those
 * must never want this lock. So iommu_config.event, which they call, may do no
 * more than wake somebody who takes the lock and calls virtio_iommu_deliver().
 *
 * Cost. Two copies and what iommu.c says. A notification is served until the queue is
 * empty: who keeps it full is another vCPU of the same guest, and it stops as soon as
 * it is made to leave the guest.
 *
 * Failure. A ring or a buffer that is not RAM breaks the device, not its
 * domains: they stay, and with them what the other devices may do, until the driver
 * resets. A driver that gives no buffers for events loses faults: they wait in
 * the IOMMU, which counts those it had to drop. A buffer that is too small for a
 * record goes back empty, and the record waits for the next one (5.13.6.9.2).
 *
 * Page sizes. The mask says 4K, 2M and 1G, and not every power of two from 4K on, as
 * it might: Linux cuts what it maps into as many requests as there are changes of
 * size, so the three that have leaves of their own cost the fewest.
 *
 * Rejected. Answering an unknown type with UNSUPP: whoever does not know a type does
 * not know how long its answer is either, nor where the tail lies. Offering
 * VIRTIO_IOMMU_F_BYPASS: BYPASS_CONFIG took its place, and both is not allowed. */
#include <string.h>

#include "devices/virtio_iommu.h"

#define TAIL_BYTES   sizeof(struct virtio_iommu_tail)
#define ANSWER_BYTES (VIRTIO_IOMMU_PROBE_SIZE + TAIL_BYTES)
#define PAGE_SIZES   (UINT64_C(1) << 12 | UINT64_C(1) << 21 | UINT64_C(1) << 30)

_Static_assert(IOMMU_RESERVED_MAX * sizeof(struct virtio_iommu_reserved) <= VIRTIO_IOMMU_PROBE_SIZE, "all fit");

union request {
	struct virtio_iommu_head head;
	struct virtio_iommu_attach attach;
	struct virtio_iommu_detach detach;
	struct virtio_iommu_map map;
	struct virtio_iommu_unmap unmap;
	struct virtio_iommu_probe probe;
};

static uint64_t bit(unsigned feature)
{
	return UINT64_C(1) << feature;
}

/* ---- requests: each returns its status; properties are zeros, VIRTIO_IOMMU_PROBE_SIZE bytes or NULL ---- */

static uint8_t attach(struct virtio_iommu *i, const union request *r, uint8_t *properties)
{
	static const uint8_t zeros[sizeof(r->attach.reserved)];
	uint32_t known = virtio_has(&i->virtio, VIRTIO_IOMMU_F_BYPASS_CONFIG) ? VIRTIO_IOMMU_ATTACH_BYPASS : 0;

	(void)properties;
	if (r->attach.flags & ~known || memcmp(r->attach.reserved, zeros, sizeof(zeros)) != 0)
		return VIRTIO_IOMMU_S_INVAL;
	return iommu_attach(i->iommu, r->attach.domain, r->attach.endpoint,
			    r->attach.flags & VIRTIO_IOMMU_ATTACH_BYPASS);
}

static uint8_t detach(struct virtio_iommu *i, const union request *r, uint8_t *properties)
{
	(void)properties;
	return iommu_detach(i->iommu, r->detach.domain, r->detach.endpoint);
}

static uint8_t map(struct virtio_iommu *i, const union request *r, uint8_t *properties)
{
	uint32_t known = VIRTIO_IOMMU_MAP_READ | VIRTIO_IOMMU_MAP_WRITE;

	(void)properties;
	if (virtio_has(&i->virtio, VIRTIO_IOMMU_F_MMIO))
		known |= VIRTIO_IOMMU_MAP_MMIO;
	if (r->map.flags & ~known)
		return VIRTIO_IOMMU_S_INVAL;
	return iommu_map(i->iommu, r->map.domain, &r->map);
}

static uint8_t unmap(struct virtio_iommu *i, const union request *r, uint8_t *properties)
{
	(void)properties;
	return iommu_unmap(i->iommu, r->unmap.domain, r->unmap.first, r->unmap.last);
}

/* One doorbell an endpoint is the most that there may be (5.13.6.8.1.2). */
static void add_reserved(uint8_t *at, const struct iommu_reserved *r)
{
	struct virtio_iommu_reserved p = {
		.head = {VIRTIO_IOMMU_PROBE_RESV, sizeof(p) - sizeof(p.head)},
		.subtype = r->subtype,
		.first = r->range.first,
		.last = r->range.last,
	};

	memcpy(at, &p, sizeof(p));
}

static uint8_t probe(struct virtio_iommu *i, const union request *r, uint8_t *properties)
{
	const struct iommu_config *config = &i->iommu->config;

	if (!iommu_knows(i->iommu, r->probe.endpoint))
		return VIRTIO_IOMMU_S_NOENT;
	if (!properties)
		return VIRTIO_IOMMU_S_INVAL;
	for (unsigned n = 0; n < config->reserved_count; n++)
		add_reserved(properties + n * sizeof(struct virtio_iommu_reserved), &config->reserved[n]);
	return VIRTIO_IOMMU_S_OK;
}

static const struct kind {
	uint32_t bytes;
	unsigned feature; /* of every driver: VERSION_1 */
	uint8_t (*serve)(struct virtio_iommu *i, const union request *r, uint8_t *properties);
} kinds[VIRTIO_IOMMU_T_PROBE + 1] = {
	[VIRTIO_IOMMU_T_ATTACH] = {sizeof(struct virtio_iommu_attach), VIRTIO_F_VERSION_1, attach},
	[VIRTIO_IOMMU_T_DETACH] = {sizeof(struct virtio_iommu_detach), VIRTIO_F_VERSION_1, detach},
	[VIRTIO_IOMMU_T_MAP] = {sizeof(struct virtio_iommu_map), VIRTIO_IOMMU_F_MAP_UNMAP, map},
	[VIRTIO_IOMMU_T_UNMAP] = {sizeof(struct virtio_iommu_unmap), VIRTIO_IOMMU_F_MAP_UNMAP, unmap},
	[VIRTIO_IOMMU_T_PROBE] = {sizeof(struct virtio_iommu_probe), VIRTIO_IOMMU_F_PROBE, probe},
};

/* NULL: not known. */
static const struct kind *kind_of(const struct virtio_iommu *i, const union request *r, uint64_t bytes)
{
	const struct kind *kind;

	if (bytes < sizeof(r->head) || r->head.type > VIRTIO_IOMMU_T_PROBE)
		return NULL;
	kind = &kinds[r->head.type];
	return kind->serve && virtio_has(&i->virtio, kind->feature) ? kind : NULL;
}

/* Carries out a request of which `bytes` were said, and writes an answer of `room` bytes: true, or it cannot be parsed.
 */
static bool answer(struct virtio_iommu *i, const union request *r, uint64_t bytes, uint8_t *to, uint64_t room)
{
	struct virtio_iommu_tail tail = {.status = VIRTIO_IOMMU_S_INVAL};
	const struct kind *kind = kind_of(i, r, bytes);

	i->stats.requests[kind ? r->head.type : 0]++;
	if (!kind || room < TAIL_BYTES || room > ANSWER_BYTES) {
		i->stats.refused++;
		return false;
	}
	memset(to, 0, room);
	if (bytes >= kind->bytes)
		tail.status = kind->serve(i, r, room == ANSWER_BYTES ? to : NULL);
	i->stats.refused += tail.status != VIRTIO_IOMMU_S_OK;
	memcpy(to + room - TAIL_BYTES, &tail, sizeof(tail));
	return true;
}

/* False: the queue is broken. */
static bool serve(struct virtio_iommu *i, struct virtqueue *q, const struct virtqueue_chain *c)
{
	uint64_t bytes = c->readable_bytes < sizeof(union request) ? c->readable_bytes : sizeof(union request);
	uint8_t to[ANSWER_BYTES];
	union request r;

	if (!virtqueue_read(q, c, 0, &r, bytes))
		return false;
	if (!answer(i, &r, bytes, to, c->writable_bytes))
		return virtqueue_push(q, c, 0);
	return virtqueue_write(q, c, 0, to, c->writable_bytes) && virtqueue_push(q, c, (uint32_t)c->writable_bytes);
}

static void serve_all(struct virtio_iommu *i)
{
	struct virtqueue *q = &i->virtio.queue[VIRTIO_IOMMU_QUEUE_REQUEST];

	do {
		while (virtqueue_pop(q, &i->chain) == VIRTQUEUE_OK && serve(i, q, &i->chain))
			;
	} while (virtqueue_notify_on(q));
	virtio_used(&i->virtio, VIRTIO_IOMMU_QUEUE_REQUEST);
}

/* ---- faults ---- */

static bool tell(struct virtio_iommu *i, struct virtqueue *q, const struct iommu_fault *f)
{
	const struct virtio_iommu_fault record = {
		.reason = f->reason,
		.flags = f->flags & (VIRTIO_IOMMU_FAULT_READ | VIRTIO_IOMMU_FAULT_WRITE | VIRTIO_IOMMU_FAULT_ADDRESS),
		.endpoint = f->endpoint,
		.address = f->address,
	};

	if (!virtqueue_write(q, &i->chain, 0, &record, sizeof(record)))
		return false;
	i->stats.events++;
	return virtqueue_push(q, &i->chain, sizeof(record));
}

/* Into the buffer that was popped; false: no fault waits, or the queue is broken. */
static bool fill(struct virtio_iommu *i, struct virtqueue *q)
{
	struct iommu_fault fault;

	if (i->chain.writable_bytes < sizeof(struct virtio_iommu_fault))
		return virtqueue_push(q, &i->chain, 0);
	if (iommu_next_fault(i->iommu, &fault))
		return tell(i, q, &fault);
	virtqueue_unpop(q, &i->chain);
	return false;
}

/* False: the driver has given no more buffers. */
static bool deliver_some(struct virtio_iommu *i, struct virtqueue *q)
{
	while (virtqueue_pop(q, &i->chain) == VIRTQUEUE_OK) {
		if (!fill(i, q))
			return true;
	}
	return false;
}

void virtio_iommu_deliver(struct virtio_iommu *i)
{
	struct virtqueue *q = &i->virtio.queue[VIRTIO_IOMMU_QUEUE_EVENT];

	if (!virtio_running(&i->virtio))
		return;
	while (!deliver_some(i, q) && virtqueue_notify_on(q))
		;
	virtio_used(&i->virtio, VIRTIO_IOMMU_QUEUE_EVENT);
}

/* ---- the device ---- */

static void notify(void *self, unsigned queue)
{
	if (queue == VIRTIO_IOMMU_QUEUE_REQUEST)
		serve_all(self);
	else
		virtio_iommu_deliver(self);
}

static void stop(void *self, unsigned queue)
{
	struct virtio_iommu *i = self;

	if (queue == VIRTIO_ALL_QUEUES)
		iommu_detach_all(i->iommu);
}

static uint64_t read_config(void *self, unsigned offset, unsigned width)
{
	struct virtio_iommu *i = self;
	const struct iommu_config *config = &i->iommu->config;
	const struct virtio_iommu_config_regs regs = {
		.page_size_mask = PAGE_SIZES,
		.input_first = config->input.first,
		.input_last = config->input.last,
		.domain_last = config->domain_last,
		.probe_size = VIRTIO_IOMMU_PROBE_SIZE,
		.bypass = iommu_bypass(i->iommu),
	};

	return virtio_config_bytes(&regs, offset, width);
}

/* Nothing but bypass can be written, by who accepted it, and nothing but 0 and 1 to it (5.13.4.1). */
static void write_config(void *self, unsigned offset, unsigned width, uint64_t value)
{
	struct virtio_iommu *i = self;

	if (offset == offsetof(struct virtio_iommu_config_regs, bypass) && width == 1 && value <= 1 &&
	    virtio_has(&i->virtio, VIRTIO_IOMMU_F_BYPASS_CONFIG))
		iommu_set_bypass(i->iommu, value);
}

void virtio_iommu_init(struct virtio_iommu *i, const struct virtio_iommu_config *config)
{
	static const struct virtio_ops ops = {
		.stop = stop,
		.notify = notify,
		.read_config = read_config,
		.write_config = write_config,
	};
	const struct virtio_config v = {
		.name = config->name,
		.id = VIRTIO_ID_IOMMU,
		.features = bit(VIRTIO_IOMMU_F_INPUT_RANGE) | bit(VIRTIO_IOMMU_F_DOMAIN_RANGE) |
			    bit(VIRTIO_IOMMU_F_MAP_UNMAP) | bit(VIRTIO_IOMMU_F_PROBE) | bit(VIRTIO_IOMMU_F_MMIO) |
			    bit(VIRTIO_IOMMU_F_BYPASS_CONFIG),
		.packed = config->packed,
		.config_bytes = sizeof(struct virtio_iommu_config_regs),
		.queues = 2,
		.queue_size = {VIRTIO_IOMMU_QUEUE_SIZE, VIRTIO_IOMMU_QUEUE_SIZE},
		.dma = config->dma,
		.ops = &ops,
		.self = i,
		.irq = config->irq,
		.broken = config->broken,
		.owner = config->owner,
	};

	memset(i, 0, sizeof(*i));
	i->iommu = config->iommu;
	virtio_init(&i->virtio, &v);
}
