/* tests/unit/iommu_guest.h: a virtio IOMMU with two endpoints behind it, a driver for its queues, and a naive model
 * that says for each request what its answer has to be, and for each access of an endpoint what comes of it:
 * a list of mappings, looked through from the start. Knows no test framework: fuzz targets use it, too. */
#ifndef SLAT_TESTS_UNIT_IOMMU_GUEST_H
#define SLAT_TESTS_UNIT_IOMMU_GUEST_H

#include "devices/virtio_iommu.h"
#include "tests/unit/fake_driver.h"

#define IOMMU_GUEST_RINGS	0x10000000u
#define IOMMU_GUEST_RING	(3u * FAKE_DRIVER_AREA) /* nothing is indirect here */
#define IOMMU_GUEST_BUFFERS	0x100000u		/* where requests and events lie */
#define IOMMU_GUEST_BUFFERS_MAX 0x10000u
#define IOMMU_GUEST_RAM		0x200000u /* what the endpoints may be made to touch */
#define IOMMU_GUEST_PAGES	8u	  /* of it; the last can only be read */
#define IOMMU_GUEST_FRAMES	512u
#define IOMMU_GUEST_MAPPINGS	48u
#define IOMMU_GUEST_ENDPOINTS	2u
#define IOMMU_GUEST_DOMAIN_LAST 31u
#define IOMMU_GUEST_PHYS_BITS	40u
#define IOMMU_GUEST_EVENTS	64u

static const uint32_t iommu_guest_id[IOMMU_GUEST_ENDPOINTS] = {3, 700};
static const struct iommu_range iommu_guest_input = {0x1000, (UINT64_C(1) << 44) - 1};
/* Which is the doorbell is what the configuration says, not where a PC has it. */
static const struct iommu_range iommu_guest_reserved[2] = {{0xfee00000, 0xfeefffff}, {0x8000, 0x9fff}};
static const uint8_t iommu_guest_subtype[2] = {VIRTIO_IOMMU_RESV_RESERVED, VIRTIO_IOMMU_RESV_MSI};

#define NO_DOMAIN UINT32_MAX

struct iommu_model {
	bool bypass;
	struct {
		uint32_t domain; /* or NO_DOMAIN */
		bool bypass;	 /* of that domain */
	} endpoint[IOMMU_GUEST_ENDPOINTS];
	unsigned mappings;
	struct {
		uint32_t domain, flags;
		uint64_t first, last, phys;
	} mapping[IOMMU_GUEST_MAPPINGS];
	struct iommu_fault fault[IOMMU_FAULTS_MAX];
	unsigned faults;
	uint64_t lost;
	uint8_t ram[IOMMU_GUEST_PAGES * FAKE_DMA_PAGE];
};

struct iommu_guest {
	struct fake_dma f;
	struct dma dma[2]; /* of the two queues */
	struct dma device[IOMMU_GUEST_ENDPOINTS];
	struct iommu iommu;
	struct virtio_iommu v;
	struct fake_driver driver[2];
	uint8_t *arena;
	uint64_t frames[IOMMU_GUEST_FRAMES];
	unsigned frames_free;
	unsigned interrupts, events;
	const char *broken;
	uint8_t *ram[IOMMU_GUEST_PAGES];
	struct iommu_model model;
};

/* ---- the model ---- */

static inline unsigned iommu_model_endpoint(uint32_t id)
{
	unsigned e = 0;

	while (e < IOMMU_GUEST_ENDPOINTS && iommu_guest_id[e] != id)
		e++;
	return e;
}

/* 0: no such domain, 1: one with mappings, 2: a bypass domain. */
static inline unsigned iommu_model_domain(const struct iommu_model *m, uint32_t domain)
{
	for (unsigned e = 0; e < IOMMU_GUEST_ENDPOINTS; e++)
		if (m->endpoint[e].domain == domain)
			return m->endpoint[e].bypass ? 2 : 1;
	return 0;
}

static inline void iommu_model_detach(struct iommu_model *m, unsigned e)
{
	uint32_t domain = m->endpoint[e].domain;

	m->endpoint[e].domain = NO_DOMAIN;
	if (domain == NO_DOMAIN || iommu_model_domain(m, domain))
		return;
	for (unsigned i = 0; i < m->mappings;)
		if (m->mapping[i].domain == domain)
			m->mapping[i] = m->mapping[--m->mappings];
		else
			i++;
}

static inline uint8_t iommu_model_attach(struct iommu_model *m, const struct virtio_iommu_attach *r, bool knows_bypass)
{
	unsigned e = iommu_model_endpoint(r->endpoint), kind;
	bool bypass = r->flags & VIRTIO_IOMMU_ATTACH_BYPASS;

	for (unsigned i = 0; i < sizeof(r->reserved); i++)
		if (r->reserved[i])
			return VIRTIO_IOMMU_S_INVAL;
	if (r->flags & ~(knows_bypass ? VIRTIO_IOMMU_ATTACH_BYPASS : 0u))
		return VIRTIO_IOMMU_S_INVAL;
	if (e == IOMMU_GUEST_ENDPOINTS)
		return VIRTIO_IOMMU_S_NOENT;
	if (r->domain > IOMMU_GUEST_DOMAIN_LAST)
		return VIRTIO_IOMMU_S_RANGE;
	kind = iommu_model_domain(m, r->domain);
	if (kind && (kind == 2) != bypass)
		return VIRTIO_IOMMU_S_INVAL;
	if (m->endpoint[e].domain != r->domain)
		iommu_model_detach(m, e);
	m->endpoint[e].domain = r->domain;
	m->endpoint[e].bypass = bypass;
	return VIRTIO_IOMMU_S_OK;
}

static inline uint8_t iommu_model_map(struct iommu_model *m, const struct virtio_iommu_map *r, bool knows_mmio)
{
	unsigned kind = iommu_model_domain(m, r->domain);
	uint64_t phys_last = r->phys + (r->last - r->first);

	if (r->flags & ~(knows_mmio ? 7u : 3u))
		return VIRTIO_IOMMU_S_INVAL;
	if (!kind)
		return VIRTIO_IOMMU_S_NOENT;
	if (kind == 2 || r->last < r->first)
		return VIRTIO_IOMMU_S_INVAL;
	if (r->first % FAKE_DMA_PAGE || r->phys % FAKE_DMA_PAGE || (r->last + 1) % FAKE_DMA_PAGE)
		return VIRTIO_IOMMU_S_RANGE;
	if (r->first < iommu_guest_input.first || r->last > iommu_guest_input.last || phys_last < r->phys ||
	    phys_last >> IOMMU_GUEST_PHYS_BITS)
		return VIRTIO_IOMMU_S_RANGE;
	if (!(r->flags & 3))
		return VIRTIO_IOMMU_S_INVAL;
	for (unsigned i = 0; i < 2; i++)
		if (r->first <= iommu_guest_reserved[i].last && r->last >= iommu_guest_reserved[i].first)
			return VIRTIO_IOMMU_S_INVAL;
	if (m->mappings == IOMMU_GUEST_MAPPINGS)
		return VIRTIO_IOMMU_S_NOMEM;
	for (unsigned i = 0; i < m->mappings; i++)
		if (m->mapping[i].domain == r->domain && r->first <= m->mapping[i].last &&
		    r->last >= m->mapping[i].first)
			return VIRTIO_IOMMU_S_INVAL;
	m->mapping[m->mappings].domain = r->domain;
	m->mapping[m->mappings].flags = r->flags;
	m->mapping[m->mappings].first = r->first;
	m->mapping[m->mappings].last = r->last;
	m->mapping[m->mappings++].phys = r->phys;
	return VIRTIO_IOMMU_S_OK;
}

static inline uint8_t iommu_model_unmap(struct iommu_model *m, const struct virtio_iommu_unmap *r)
{
	unsigned kind = iommu_model_domain(m, r->domain);

	if (!kind)
		return VIRTIO_IOMMU_S_NOENT;
	if (kind == 2 || r->last < r->first)
		return VIRTIO_IOMMU_S_INVAL;
	for (unsigned i = 0; i < m->mappings; i++)
		if (m->mapping[i].domain == r->domain && r->first <= m->mapping[i].last &&
		    r->last >= m->mapping[i].first && (m->mapping[i].first < r->first || m->mapping[i].last > r->last))
			return VIRTIO_IOMMU_S_RANGE;
	for (unsigned i = 0; i < m->mappings;)
		if (m->mapping[i].domain == r->domain && m->mapping[i].first >= r->first &&
		    m->mapping[i].last <= r->last)
			m->mapping[i] = m->mapping[--m->mappings];
		else
			i++;
	return VIRTIO_IOMMU_S_OK;
}

static inline uint8_t iommu_model_probe(const struct virtio_iommu_probe *r, unsigned room, uint8_t *properties)
{
	if (iommu_model_endpoint(r->endpoint) == IOMMU_GUEST_ENDPOINTS)
		return VIRTIO_IOMMU_S_NOENT;
	if (room < VIRTIO_IOMMU_PROBE_SIZE + 4)
		return VIRTIO_IOMMU_S_INVAL;
	for (unsigned i = 0; i < 2; i++, properties += 24) {
		properties[0] = VIRTIO_IOMMU_PROBE_RESV;
		properties[2] = 20;
		properties[4] = iommu_guest_subtype[i];
		memcpy(properties + 8, &iommu_guest_reserved[i], 16);
	}
	return VIRTIO_IOMMU_S_OK;
}

/* What the device has to write in answer to these bytes, into `room` bytes; how much of it. accepted: features. */
static inline unsigned iommu_model_request(struct iommu_model *m, const uint8_t *said, unsigned bytes, unsigned room,
					   uint64_t accepted, uint8_t *answer)
{
	static const unsigned sizes[] = {0, 20, 20, 36, 28, 72}, feature[] = {0, 32, 32, 2, 2, 4};
	union {
		uint8_t bytes[72];
		struct virtio_iommu_attach attach;
		struct virtio_iommu_detach detach;
		struct virtio_iommu_map map;
		struct virtio_iommu_unmap unmap;
		struct virtio_iommu_probe probe;
	} r = {{0}};
	uint8_t type = bytes ? said[0] : 0, status = VIRTIO_IOMMU_S_INVAL;
	unsigned e;

	if (bytes < 4 || type < 1 || type > 5 || !(accepted >> feature[type] & 1) || room < 4 ||
	    room > VIRTIO_IOMMU_PROBE_SIZE + 4)
		return 0;
	memset(answer, 0, room);
	memcpy(&r, said, bytes < 72 ? bytes : 72);
	if (bytes >= sizes[type]) {
		e = iommu_model_endpoint(r.detach.endpoint);
		if (type == VIRTIO_IOMMU_T_ATTACH)
			status = iommu_model_attach(m, &r.attach, accepted >> VIRTIO_IOMMU_F_BYPASS_CONFIG & 1);
		else if (type == VIRTIO_IOMMU_T_MAP)
			status = iommu_model_map(m, &r.map, accepted >> VIRTIO_IOMMU_F_MMIO & 1);
		else if (type == VIRTIO_IOMMU_T_UNMAP)
			status = iommu_model_unmap(m, &r.unmap);
		else if (type == VIRTIO_IOMMU_T_PROBE)
			status = iommu_model_probe(&r.probe, room, answer);
		else if (e == IOMMU_GUEST_ENDPOINTS)
			status = VIRTIO_IOMMU_S_NOENT;
		else if (m->endpoint[e].domain == r.detach.domain && r.detach.domain != NO_DOMAIN) {
			iommu_model_detach(m, e);
			status = VIRTIO_IOMMU_S_OK;
		}
	}
	answer[room - 4] = status;
	return room;
}

/* The gpa of an iova; false: *reason. */
static inline bool iommu_model_translate(const struct iommu_model *m, unsigned e, uint64_t iova, unsigned access,
					 uint64_t *gpa, uint8_t *reason)
{
	*gpa = iova;
	*reason = VIRTIO_IOMMU_FAULT_DOMAIN;
	if (m->endpoint[e].domain == NO_DOMAIN)
		return m->bypass;
	if (m->endpoint[e].bypass)
		return true;
	*reason = VIRTIO_IOMMU_FAULT_MAPPING;
	for (unsigned i = 0; i < m->mappings; i++) {
		if (m->mapping[i].domain != m->endpoint[e].domain || iova < m->mapping[i].first ||
		    iova > m->mapping[i].last)
			continue;
		*gpa = m->mapping[i].phys + (iova - m->mapping[i].first);
		return !(access & ~m->mapping[i].flags);
	}
	return false;
}

/* The byte of RAM that an access at iova comes to, or NULL and the fault. */
static inline uint8_t *iommu_model_byte(struct iommu_model *m, unsigned e, uint64_t iova, unsigned access,
					struct iommu_fault *fault)
{
	uint64_t gpa;

	*fault = (struct iommu_fault){
		.flags = access | VIRTIO_IOMMU_FAULT_ADDRESS, .endpoint = iommu_guest_id[e], .address = iova};
	if (!iommu_model_translate(m, e, iova, access, &gpa, &fault->reason))
		return NULL;
	fault->reason = VIRTIO_IOMMU_FAULT_UNKNOWN;
	if (gpa - IOMMU_GUEST_RAM >= sizeof(m->ram))
		return NULL;
	if (access & DMA_WRITE && gpa - IOMMU_GUEST_RAM >= (IOMMU_GUEST_PAGES - 1) * FAKE_DMA_PAGE)
		return NULL;
	return &m->ram[gpa - IOMMU_GUEST_RAM];
}

/* All of it, or nothing and one fault. */
static inline bool iommu_model_access(struct iommu_model *m, unsigned e, uint64_t iova, uint8_t *data, unsigned bytes,
				      unsigned access)
{
	struct iommu_fault fault;

	for (unsigned i = 0; i < bytes; i++) {
		if (iommu_model_byte(m, e, iova + i, access, &fault))
			continue;
		if (m->faults < IOMMU_FAULTS_MAX)
			m->fault[m->faults++] = fault;
		else
			m->lost++;
		return false;
	}
	for (unsigned i = 0; i < bytes; i++) {
		uint8_t *at = iommu_model_byte(m, e, iova + i, access, &fault);

		if (access == DMA_READ)
			data[i] = *at;
		else
			*at = data[i];
	}
	return true;
}

static inline void iommu_model_reset(struct iommu_model *m)
{
	for (unsigned e = 0; e < IOMMU_GUEST_ENDPOINTS; e++)
		iommu_model_detach(m, e);
	m->faults = 0;
}

/* ---- the device ---- */

static inline enum mm_err iommu_guest_get(void *self, struct pfn *out)
{
	struct iommu_guest *g = self;

	if (g->frames_free == 0)
		return MM_ENOMEM;
	*out = (struct pfn){g->frames[--g->frames_free]};
	return MM_OK;
}

static inline void iommu_guest_put(void *self, struct pfn page)
{
	struct iommu_guest *g = self;

	FAKE_DMA_MUST(g->frames_free < IOMMU_GUEST_FRAMES);
	g->frames[g->frames_free++] = page.n;
}

/* Whatever a device would hold was never held here. */
static inline void iommu_guest_wait(void *self)
{
	(void)self;
	FAKE_DMA_MUST(!"nobody uses DMA meanwhile");
}

static inline void iommu_guest_event(void *self)
{
	((struct iommu_guest *)self)->events++;
}

static inline void iommu_guest_irq(void *self, unsigned line, bool level)
{
	(void)line;
	((struct iommu_guest *)self)->interrupts += level;
}

static inline void iommu_guest_broken(void *owner, const char *name, const char *why)
{
	(void)name;
	((struct iommu_guest *)owner)->broken = why;
}

static inline void iommu_guest_memory(struct iommu_guest *g)
{
	fake_dma_init(&g->f);
	for (unsigned i = 0; i < 2; i++) {
		fake_dma_add(&g->f, IOMMU_GUEST_RINGS + i * IOMMU_GUEST_RING, IOMMU_GUEST_RING, DMA_READ | DMA_WRITE);
		fake_dma_device(&g->f, &g->dma[i], NULL, i);
	}
	fake_dma_add(&g->f, IOMMU_GUEST_BUFFERS, IOMMU_GUEST_BUFFERS_MAX, DMA_READ | DMA_WRITE);
	for (unsigned i = 0; i < IOMMU_GUEST_PAGES; i++) {
		g->ram[i] = fake_dma_add(&g->f, IOMMU_GUEST_RAM + i * FAKE_DMA_PAGE, FAKE_DMA_PAGE,
					 i + 1 < IOMMU_GUEST_PAGES ? DMA_READ | DMA_WRITE : DMA_READ);
		for (unsigned k = 0; k < FAKE_DMA_PAGE; k++)
			g->ram[i][k] = g->model.ram[i * FAKE_DMA_PAGE + k] = (uint8_t)(i * 37 + k * 7 + (k >> 8));
	}
	g->arena = aligned_alloc(FAKE_DMA_PAGE, IOMMU_GUEST_FRAMES * FAKE_DMA_PAGE);
	FAKE_DMA_MUST(g->arena != NULL);
	for (unsigned i = 0; i < IOMMU_GUEST_FRAMES; i++)
		g->frames[i] = i;
	g->frames_free = IOMMU_GUEST_FRAMES;
}

static inline void iommu_guest_init(struct iommu_guest *g, bool packed, bool bypass)
{
	struct iommu_config config = {
		.input = iommu_guest_input,
		.phys_bits = IOMMU_GUEST_PHYS_BITS,
		.domain_last = IOMMU_GUEST_DOMAIN_LAST,
		.mappings_max = IOMMU_GUEST_MAPPINGS,
		.reserved_count = 2,
		.reserved = {{iommu_guest_reserved[0], iommu_guest_subtype[0]},
			     {iommu_guest_reserved[1], iommu_guest_subtype[1]}},
		.bypass = bypass,
		.arena_frames = IOMMU_GUEST_FRAMES,
		.pages = {g, iommu_guest_get, iommu_guest_put},
		.wait = iommu_guest_wait,
		.event = iommu_guest_event,
		.self = g,
	};
	struct virtio_iommu_config v = {
		.name = "iommu",
		.iommu = &g->iommu,
		.packed = packed,
		.dma = g->dma,
		.irq = {.self = g, .set = iommu_guest_irq},
		.broken = iommu_guest_broken,
		.owner = g,
	};

	memset(g, 0, sizeof(*g));
	iommu_guest_memory(g);
	config.arena = g->arena;
	iommu_init(&g->iommu, &config);
	for (unsigned e = 0; e < IOMMU_GUEST_ENDPOINTS; e++) {
		fake_dma_device(&g->f, &g->device[e], iommu_add_endpoint(&g->iommu, iommu_guest_id[e]), 2 + e);
		g->model.endpoint[e].domain = NO_DOMAIN;
	}
	g->model.bypass = bypass;
	virtio_iommu_init(&g->v, &v);
}

static inline void iommu_guest_free(struct iommu_guest *g)
{
	virtio_set_status(&g->v.virtio, 0);
	FAKE_DMA_MUST(g->f.pinned == 0);
	iommu_fini(&g->iommu);
	FAKE_DMA_MUST(g->frames_free == IOMMU_GUEST_FRAMES);
	free(g->arena);
	fake_dma_free(&g->f);
}

/* A driver that takes what is offered, but for `without`; one step short of DRIVER_OK. */
static inline void iommu_guest_prepare(struct iommu_guest *g, uint64_t without, unsigned size)
{
	struct virtio *v = &g->v.virtio;
	uint64_t features = v->offered & ~without;

	virtio_set_status(v, 0);
	virtio_set_status(v, VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER);
	virtio_accept(v, 0, (uint32_t)features);
	virtio_accept(v, 1, (uint32_t)(features >> 32));
	virtio_set_status(v, VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_FEATURES_OK);
	for (unsigned i = 0; i < 2; i++) {
		fake_driver_init(&g->driver[i], &g->f, IOMMU_GUEST_RINGS + i * IOMMU_GUEST_RING, size,
				 virtio_has(v, VIRTIO_F_RING_PACKED));
		g->driver[i].event = virtio_has(v, VIRTIO_F_EVENT_IDX);
		fake_driver_lend(&g->driver[i], &v->queue[i]);
		virtio_queue_ready(v, i, true);
	}
	iommu_model_reset(&g->model);
	g->broken = NULL;
	g->interrupts = 0;
}

static inline void iommu_guest_start(struct iommu_guest *g, uint64_t without, unsigned size)
{
	iommu_guest_prepare(g, without, size);
	virtio_set_status(&g->v.virtio, VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_FEATURES_OK |
						VIRTIO_STATUS_DRIVER_OK);
	FAKE_DMA_MUST(virtio_running(&g->v.virtio) || g->f.fail_at);
}

/* Offers a request of these bytes, and room for an answer, cut into buffers of `cut` bytes. */
static inline bool iommu_guest_offer(struct iommu_guest *g, uint64_t at, const void *said, unsigned bytes,
				     unsigned room, unsigned cut)
{
	struct virtqueue_buffer buffer[256];
	unsigned readable = 0, count = 0;

	fake_dma_put(&g->f, at, said, bytes);
	for (unsigned done = 0; done < bytes; done += cut)
		buffer[count++] = (struct virtqueue_buffer){at + done, bytes - done < cut ? bytes - done : cut};
	readable = count;
	for (unsigned done = 0; done < room; done += cut)
		buffer[count++] = (struct virtqueue_buffer){at + bytes + done, room - done < cut ? room - done : cut};
	memset(fake_dma_host(&g->f, at + bytes, room), 0xee, room);
	return fake_driver_add(&g->driver[VIRTIO_IOMMU_QUEUE_REQUEST], buffer, readable, count - readable,
			       FAKE_DRIVER_DIRECT) != FAKE_DRIVER_FULL;
}

/* The whole of a request; what was written lies in `answer`. -1: no answer. */
static inline int iommu_guest_request(struct iommu_guest *g, const void *said, unsigned bytes, unsigned room,
				      unsigned cut, uint8_t *answer)
{
	uint32_t written;
	uint16_t id;

	FAKE_DMA_MUST(iommu_guest_offer(g, IOMMU_GUEST_BUFFERS, said, bytes, room, cut));
	virtio_notify(&g->v.virtio, VIRTIO_IOMMU_QUEUE_REQUEST);
	if (!fake_driver_take(&g->driver[VIRTIO_IOMMU_QUEUE_REQUEST], &id, &written))
		return -1;
	fake_dma_get(&g->f, IOMMU_GUEST_BUFFERS + bytes, answer, room);
	return (int)written;
}

/* A buffer for an event. */
static inline void iommu_guest_lend(struct iommu_guest *g, unsigned slot, unsigned bytes)
{
	struct virtqueue_buffer buffer = {IOMMU_GUEST_BUFFERS + 0x8000 + slot * 64, bytes};

	memset(fake_dma_host(&g->f, buffer.iova, 64), 0xee, 64);
	FAKE_DMA_MUST(fake_driver_add(&g->driver[VIRTIO_IOMMU_QUEUE_EVENT], &buffer, 0, 1, FAKE_DRIVER_DIRECT) !=
		      FAKE_DRIVER_FULL);
}

#endif
