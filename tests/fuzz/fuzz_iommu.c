/* tests/fuzz/fuzz_iommu.c: a stream of a driver's requests, against the naive model of
 * tests/unit/iommu_model.h: every status, and after each request what some iovas
 * translate to. Table pages are few, so that running out of them is
 * among the requests: such a one must have changed nothing.
 *
 * Input: 12 bytes a request: verb, domain, endpoint, flags and bypass, pages that the
 * arena still gives, how the addresses are odd, first page and pages, gfn (16 bits each, little
 * endian). */
#include "mm/port.h"
#include "tests/unit/iommu_model.h"

#define ARENA_FRAMES 24u
#define ENDPOINTS    3u
#define OP_BYTES     12u
#define GIB	     (UINT64_C(1) << 30)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static _Alignas(4096) unsigned char arena[ARENA_FRAMES * 4096];
static bool taken[ARENA_FRAMES], refused;
static unsigned luck;
static struct iommu u;
static struct model model;

static enum mm_err get(void *self, struct pfn *out)
{
	(void)self;
	for (unsigned i = 0; luck > 0 && i < ARENA_FRAMES; i++) {
		if (taken[i])
			continue;
		taken[i] = true;
		luck--;
		memset(arena + i * 4096, 0xcc, 4096);
		out->n = 3 + i;
		return MM_OK;
	}
	refused = true;
	return MM_ENOMEM;
}

static void put(void *self, struct pfn page)
{
	(void)self;
	MM_ASSERT(page.n - 3 < ARENA_FRAMES && taken[page.n - 3], page.n, 0);
	taken[page.n - 3] = false;
	memset(arena + (page.n - 3) * 4096, 0xdd, 4096);
}

static void never(void *self)
{
	(void)self;
	MM_ASSERT(false, 0, 0); /* no device uses anything */
}

static uint64_t word(const uint8_t *at)
{
	return at[0] | (uint64_t)at[1] << 8;
}

static uint64_t address(uint64_t page)
{
	static const uint64_t bases[] = {GIB, 0, 2 * GIB - 64 * 4096, 0xfee00000 - 8 * 4096};

	return bases[page >> 14] + (page & 0x3fff) * 4096;
}

struct request {
	uint8_t verb;
	uint32_t domain, endpoint;
	bool bypass;
	struct virtio_iommu_map map;
};

static struct request parse(const uint8_t *op)
{
	struct request r = {.verb = op[0] % 16, .domain = op[1] % 5, .endpoint = op[2] % 10, .bypass = op[3] & 8};
	uint64_t odd = op[5];

	r.map.domain = r.domain;
	r.map.first = address(word(op + 6));
	r.map.last = r.map.first + (word(op + 8) % 1024 + 1) * 4096 - 1;
	r.map.phys = word(op + 10) * 4096;
	r.map.flags = op[3] & 7;
	if (op[3] & 0x80)
		r.map.flags |= UINT32_C(1) << (op[3] >> 4 & 7) * 4;
	if (odd & 1)
		r.map.first += odd >> 4;
	if (odd & 2)
		r.map.last += odd >> 4;
	if (odd & 4)
		r.map.phys = odd & 8 ? -r.map.phys : r.map.phys + (UINT64_C(1) << 36) - 512 * 4096;
	if (odd == 0xff)
		r.map.last = UINT64_MAX;
	return r;
}

static uint8_t ask(const struct request *r)
{
	switch (r->verb) {
	case 0:
	case 1:
		return iommu_attach(&u, r->domain, r->endpoint, r->bypass);
	case 2:
		return iommu_detach(&u, r->domain, r->endpoint);
	case 3:
		iommu_set_bypass(&u, r->bypass);
		return VIRTIO_IOMMU_S_OK;
	case 4:
	case 5:
	case 6:
	case 7:
	case 8:
		return iommu_unmap(&u, r->domain, r->map.first, r->map.last);
	default:
		return iommu_map(&u, r->domain, &r->map);
	}
}

static uint8_t expect(const struct request *r)
{
	switch (r->verb) {
	case 0:
	case 1:
		return model_attach(&model, r->domain, r->endpoint, r->bypass);
	case 2:
		return model_detach(&model, r->domain, r->endpoint);
	case 3:
		model.bypass = r->bypass;
		return VIRTIO_IOMMU_S_OK;
	case 4:
	case 5:
	case 6:
	case 7:
	case 8:
		return model_unmap(&model, r->domain, r->map.first, r->map.last);
	default:
		return model_map(&model, r->domain, &r->map);
	}
}

static void compare(uint64_t first, uint64_t last)
{
	const uint64_t around[] = {first - 1, first, first + (last - first) / 2, last, last + 1};

	for (unsigned n = 0; n < ENDPOINTS; n++)
		for (unsigned access = 1; access < 4; access++)
			for (unsigned i = 0; i < sizeof(around) / sizeof(*around); i++)
				MM_ASSERT(model_agrees(&model, &u, n, n, model_range(around[i], 12), access), n,
					  around[i]);
	for (unsigned k = 0; k < MODEL_DOMAINS; k++)
		for (unsigned i = 0; model.domain[k].live && i < model.domain[k].count; i += 1 + i / 4)
			for (unsigned n = 0; n < ENDPOINTS; n++)
				MM_ASSERT(model_agrees(&model, &u, n, 9,
						       model_range(model.domain[k].mapping[i].last, 2), DMA_READ),
					  n, k);
	MM_ASSERT(iommu_stats_read(&u).mappings == model_mappings(&model), u.mappings, model_mappings(&model));
	MM_ASSERT(iommu_check(&u), u.mappings, u.tables);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct iommu_config config = {
		.input = {4096, 4 * GIB - 1},
		.phys_bits = 36,
		.domain_last = 3,
		.mappings_max = 40,
		.reserved_count = 1,
		.reserved = {{{0xfee00000, 0xfeefffff}, VIRTIO_IOMMU_RESV_MSI}},
		.arena = arena,
		.arena_first = {3},
		.arena_frames = ARENA_FRAMES,
		.pages = {NULL, get, put},
		.wait = never,
	};

	memset(taken, 0, sizeof(taken));
	memset(&model, 0, sizeof(model));
	iommu_init(&u, &config);
	model.config = &u.config;
	model.endpoints = ENDPOINTS;
	for (unsigned i = 0; i < ENDPOINTS; i++)
		(void)iommu_add_endpoint(&u, model_endpoint_id(i));
	for (const uint8_t *op = data; size - (size_t)(op - data) >= OP_BYTES; op += OP_BYTES) {
		struct request r = parse(op);
		uint8_t got, want;

		luck = op[4] % 8;
		refused = false;
		got = ask(&r);
		if (!refused) {
			want = expect(&r);
			MM_ASSERT(got == want, got, want);
		}
		MM_ASSERT(!refused || got == VIRTIO_IOMMU_S_NOMEM, got, r.verb);
		compare(r.map.first, r.map.last);
	}
	iommu_fini(&u);
	for (unsigned i = 0; i < ARENA_FRAMES; i++)
		MM_ASSERT(!taken[i], i, 0);
	return 0;
}
