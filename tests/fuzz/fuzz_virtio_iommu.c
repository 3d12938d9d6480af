/* tests/fuzz/fuzz_virtio_iommu.c: a driver that says anything on the request queue, and two devices that go where they
 * please behind it.
 *
 * The input: a byte of modes, then steps: a request of bytes as they come or one of the kinds with small
 * numbers in it, cut anyhow; an access of an endpoint; a buffer for events; a write to the configuration; a reset. Each
 * answer is compared with a naive model's, and what an access reads, leaves and touches, too; in one
 * mode an access of the device to its rings is refused, and only soundness is looked for from then on. */
#include "tests/unit/iommu_guest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST	 FAKE_DMA_MUST
#define QUEUE	 32u
#define ROOM_MAX (VIRTIO_IOMMU_PROBE_SIZE + 8)

struct input {
	const uint8_t *data;
	size_t bytes;
};

static struct iommu_guest g;
static unsigned lent; /* event buffers that the device has */
static bool faulty;

static uint64_t take(struct input *in, unsigned bytes)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < bytes && in->bytes; i++, in->bytes--)
		value |= (uint64_t)*in->data++ << 8 * i;
	return value;
}

/* Small numbers around what is there; any at all now and then. */
static uint64_t address(struct input *in)
{
	unsigned b = (unsigned)take(in, 1);

	return b < 250 ? (uint64_t)b % 32 * FAKE_DMA_PAGE : take(in, 8);
}

static unsigned kind_of_request(struct input *in, uint8_t *said)
{
	static const uint32_t endpoints[4] = {3, 700, 700, 9};
	unsigned mix = (unsigned)take(in, 1);
	uint32_t domain = mix & 3, endpoint = endpoints[mix >> 2 & 3];
	struct virtio_iommu_attach a = {{VIRTIO_IOMMU_T_ATTACH, {0}}, domain, endpoint, mix >> 4 & 1, {0}};
	struct virtio_iommu_map m = {{VIRTIO_IOMMU_T_MAP, {0}}, domain, 0, 0, 0, mix >> 2 & 7};
	struct virtio_iommu_unmap u = {{VIRTIO_IOMMU_T_UNMAP, {0}}, domain, 0, 0, {0}};

	switch (mix >> 5) {
	case 0:
		memcpy(said, &a, sizeof(a));
		return sizeof(a);
	case 1:
		a.head.type = VIRTIO_IOMMU_T_DETACH;
		memcpy(said, &a, sizeof(a));
		return sizeof(a);
	case 2:
		said[0] = VIRTIO_IOMMU_T_PROBE;
		memcpy(said + 4, &endpoint, sizeof(endpoint));
		return sizeof(struct virtio_iommu_probe);
	case 3:
	case 4:
		u.first = address(in);
		u.last = u.first + take(in, 1) % 8 * FAKE_DMA_PAGE - 1;
		memcpy(said, &u, sizeof(u));
		return sizeof(u);
	default:
		m.first = address(in);
		m.last = m.first + take(in, 1) % 4 * FAKE_DMA_PAGE - 1;
		m.phys = IOMMU_GUEST_RAM + address(in) - 2 * FAKE_DMA_PAGE;
		memcpy(said, &m, sizeof(m));
		return sizeof(m);
	}
}

static unsigned any_bytes(struct input *in, uint8_t *said)
{
	unsigned bytes = (unsigned)take(in, 1) % 90;

	for (unsigned i = 0; i < bytes; i++)
		said[i] = (uint8_t)take(in, 1);
	return bytes;
}

static void request(struct input *in, bool wild)
{
	uint8_t said[90] = {0}, answer[ROOM_MAX], expected[ROOM_MAX];
	unsigned bytes = wild ? any_bytes(in, said) : kind_of_request(in, said);
	unsigned room = said[0] == VIRTIO_IOMMU_T_PROBE ? VIRTIO_IOMMU_PROBE_SIZE + 4 : 4, cut = ROOM_MAX;
	int written, wanted;

	if (wild) {
		room = (unsigned)take(in, 2) % (ROOM_MAX + 1);
		cut = (unsigned)take(in, 1) + 1;
		while ((bytes + cut - 1) / cut + (room + cut - 1) / cut > QUEUE)
			cut *= 2;
	}
	if (bytes + room == 0)
		return;
	wanted = (int)iommu_model_request(&g.model, said, bytes, room, g.v.virtio.accepted, expected);
	written = iommu_guest_request(&g, said, bytes, room, cut, answer);
	if (faulty)
		return;
	MUST(written == wanted);
	MUST(!wanted || memcmp(answer, expected, (size_t)wanted) == 0);
	for (unsigned i = (unsigned)wanted; i < room; i++)
		MUST(answer[i] == 0xee);
}

/* What was touched is what the model says, and it is as the model has it. */
static void access(struct input *in)
{
	unsigned mix = (unsigned)take(in, 1), e = mix & 1, way = mix & 2 ? DMA_READ : DMA_WRITE;
	uint64_t iova = address(in) + take(in, 2) % FAKE_DMA_PAGE;
	unsigned bytes = 1 + (unsigned)take(in, 2) % (2 * FAKE_DMA_PAGE);
	uint8_t real[2 * FAKE_DMA_PAGE], model[2 * FAKE_DMA_PAGE];
	bool worked;

	memset(real, (int)mix, bytes);
	memset(model, (int)mix, bytes);
	worked = way == DMA_READ ? dma_read(&g.device[e], iova, real, bytes)
				 : dma_write(&g.device[e], iova, real, bytes);
	if (faulty)
		return;
	MUST(worked == iommu_model_access(&g.model, e, iova, model, bytes, way));
	MUST(memcmp(real, model, bytes) == 0);
	for (unsigned i = 0; i < IOMMU_GUEST_PAGES; i++)
		MUST(memcmp(g.ram[i], g.model.ram + (size_t)i * FAKE_DMA_PAGE, FAKE_DMA_PAGE) == 0);
}

static void events(unsigned mix)
{
	struct iommu_model *m = &g.model;
	uint32_t written;
	uint16_t id;

	if (mix & 1 && lent < QUEUE) {
		iommu_guest_lend(&g, lent % QUEUE, 24);
		lent++;
	}
	if (mix & 2)
		virtio_notify(&g.v.virtio, VIRTIO_IOMMU_QUEUE_EVENT);
	else
		virtio_iommu_deliver(&g.v);
	while (fake_driver_take(&g.driver[VIRTIO_IOMMU_QUEUE_EVENT], &id, &written)) {
		if (faulty)
			return;
		MUST(written == 24 && m->faults > 0 && lent > 0);
		lent--;
		m->faults--;
		memmove(m->fault, m->fault + 1, m->faults * sizeof(m->fault[0]));
	}
	MUST(faulty || lent == 0 || m->faults == 0);
}

static void configure(struct input *in, unsigned mix)
{
	const struct virtio_ops *ops = g.v.virtio.config.ops;
	unsigned width = 1u << (mix & 3), offset = (unsigned)take(in, 1) % (40 - width + 1);
	uint64_t value = take(in, width);

	ops->read_config(&g.v, offset, width);
	ops->write_config(&g.v, offset, width, value);
	MUST(ops->read_config(&g.v, 36, 1) <= 1);
	g.model.bypass = iommu_bypass(&g.iommu);
}

static void restart(unsigned mix)
{
	iommu_guest_start(&g, mix & 1 ? UINT64_C(1) << VIRTIO_IOMMU_F_MMIO | UINT64_C(1) << VIRTIO_F_EVENT_IDX : 0,
			  QUEUE);
	g.model.mappings = 0;
	lent = 0;
	faulty = g.f.fail_at != 0;
}

static void step(struct input *in)
{
	unsigned mix = (unsigned)take(in, 1);

	if (mix < 120)
		request(in, false);
	else if (mix < 150)
		request(in, true);
	else if (mix < 220)
		access(in);
	else if (mix < 240)
		events(mix);
	else if (mix < 250)
		configure(in, mix);
	else
		restart(mix);
	if (!virtio_running(&g.v.virtio)) {
		MUST(faulty);
		restart(mix);
	}
	MUST(iommu_check(&g.iommu) && virtio_check(&g.v.virtio));
	if (!faulty)
		MUST(iommu_stats_read(&g.iommu).mappings == g.model.mappings);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	unsigned mode = (unsigned)take(&in, 1);

	iommu_guest_init(&g, mode & 1, mode & 2);
	g.f.watch = mode & 4;
	g.f.fail_at = mode & 4 && mode & 8 ? 40 + take(&in, 1) : 0;
	restart(mode >> 4);
	g.f.accesses = 0;
	for (unsigned i = 0; in.bytes && i < 400; i++)
		step(&in);
	iommu_guest_free(&g);
	return 0;
}
