/* tests/unit/test_iommu.c: requests and translations against a naive model, and one named test for each
 * sentence of VIRTIO 1.2, 5.13.6 that tells a device what to do with domains, endpoints and
 * mappings (the wire is tests/unit/test_virtio_iommu.c's); want of memory at
 * every point; what a hostile driver may spend; faults; the check objects.
 * Devices beside all this: tests/unit/test_dma.c. */
#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/iommu_model.h"
#include "tests/unit/random.h"

#define KIB	     UINT64_C(1024)
#define MIB	     (KIB * KIB)
#define GIB	     (KIB * MIB)
#define ARENA_FRAMES 512u
#define ARENA_FIRST  7u
#define ENDPOINTS    4u
#define INPUT_FIRST  MIB
#define INPUT_LAST   ((UINT64_C(1) << 40) - 1)
#define READ	     VIRTIO_IOMMU_MAP_READ
#define WRITE	     VIRTIO_IOMMU_MAP_WRITE
#define MMIO	     VIRTIO_IOMMU_MAP_MMIO

enum {
	OK = VIRTIO_IOMMU_S_OK,
	UNSUPP = VIRTIO_IOMMU_S_UNSUPP,
	INVAL = VIRTIO_IOMMU_S_INVAL,
	RANGE = VIRTIO_IOMMU_S_RANGE,
	NOENT = VIRTIO_IOMMU_S_NOENT,
	NOMEM = VIRTIO_IOMMU_S_NOMEM
};

/* ck_assert() tells the runner where it is each time, which is dear in a loop. */
#define MUST(x) ((x) ? (void)0 : ck_abort_msg("%s", #x))

static _Alignas(4096) unsigned char arena[ARENA_FRAMES * 4096];
static bool taken[ARENA_FRAMES];
static unsigned out_count, refuse_at; /* refuse_at: the so manieth get is refused, 0: none */
static bool refused;
static unsigned events, waits;

static struct iommu u;
static struct model model;
static struct iommu_config config;

static enum mm_err page_get(void *self, struct pfn *out)
{
	MUST(self == &config);
	if (refuse_at > 0 && --refuse_at == 0) {
		refused = true;
		return MM_ENOMEM;
	}
	for (unsigned i = 0; i < ARENA_FRAMES; i++) {
		if (taken[i])
			continue;
		taken[i] = true;
		out_count++;
		memset(arena + i * 4096, 0xcc, 4096);
		out->n = ARENA_FIRST + i;
		return MM_OK;
	}
	refused = true;
	return MM_ENOMEM;
}

static void page_put(void *self, struct pfn page)
{
	MUST(self == &config);
	MUST(page.n - ARENA_FIRST < ARENA_FRAMES && taken[page.n - ARENA_FIRST]);
	taken[page.n - ARENA_FIRST] = false;
	out_count--;
}

static void count_wait(void *self)
{
	(void)self;
	waits++;
}

static void count_event(void *self)
{
	MUST(self == &config);
	events++;
}

static void make(void)
{
	config = (struct iommu_config){
		.input = {INPUT_FIRST, INPUT_LAST},
		.phys_bits = 39,
		.domain_last = 5,
		.mappings_max = 200,
		.reserved_count = 2,
		.reserved = {{{0xfee00000, 0xfeefffff}, 1}, {{6 * MIB, 6 * MIB + 4095}, 0}},
		.arena = arena,
		.arena_first = {ARENA_FIRST},
		.arena_frames = ARENA_FRAMES,
		.pages = {&config, page_get, page_put},
		.wait = count_wait,
		.event = count_event,
		.self = &config,
	};
	memset(taken, 0, sizeof(taken));
	memset(&model, 0, sizeof(model));
	out_count = refuse_at = events = waits = 0;
	iommu_init(&u, &config);
	model.config = &u.config;
	for (unsigned i = 0; i < ENDPOINTS; i++)
		ck_assert_ptr_eq(iommu_add_endpoint(&u, model_endpoint_id(i)), &u.endpoint[i]);
	model.endpoints = ENDPOINTS;
	ck_assert(iommu_check(&u));
}

static void unmake(void)
{
	ck_assert(iommu_check(&u));
	ck_assert_uint_eq(iommu_stats_read(&u).table_bytes, out_count * 4096u);
	iommu_fini(&u);
	ck_assert_uint_eq(out_count, 0);
}

static uint8_t map(uint32_t domain, uint64_t first, uint64_t last, uint64_t phys, uint32_t flags)
{
	struct virtio_iommu_map m = {.domain = domain, .first = first, .last = last, .phys = phys, .flags = flags};

	return iommu_map(&u, domain, &m);
}

static bool reaches(unsigned n, uint64_t iova, unsigned access, uint64_t gpa)
{
	struct iommu_run run;
	struct iommu_fault fault;

	return iommu_translate(&u.endpoint[n], 0, (struct iommu_range){iova, iova}, access, &run, &fault) &&
	       run.gpa + (iova - run.first) == gpa;
}

static bool faults(unsigned n, uint64_t iova, unsigned access, uint8_t reason)
{
	struct iommu_run run;
	struct iommu_fault fault;

	return !iommu_translate(&u.endpoint[n], 0, (struct iommu_range){iova, iova}, access, &run, &fault) &&
	       fault.reason == reason && fault.address == iova && fault.endpoint == model_endpoint_id(n) &&
	       fault.flags == (access | VIRTIO_IOMMU_FAULT_ADDRESS);
}

#define A MIB /* an iova, and a gpa */
#define P (8 * MIB)

/* ---- 5.13.6: in general ---- */

START_TEST(unattached_endpoints_have_no_access)
{
	make();
	ck_assert(faults(0, A, DMA_READ, VIRTIO_IOMMU_FAULT_DOMAIN));
	ck_assert(faults(0, 0, DMA_WRITE, VIRTIO_IOMMU_FAULT_DOMAIN));
	unmake();
}
END_TEST

/* Two mappings that lead on to one another are one run, as far as both give the right. */
START_TEST(runs_go_on)
{
	const struct iommu_range both = {A, A + 2 * FRAME_BYTES - 1};
	struct iommu_run run;
	struct iommu_fault fault;

	make();
	ck_assert_uint_eq(iommu_attach(&u, 1, 0, false), OK);
	ck_assert_uint_eq(map(1, A, A + FRAME_BYTES - 1, A, VIRTIO_IOMMU_MAP_READ | VIRTIO_IOMMU_MAP_WRITE), OK);
	ck_assert_uint_eq(map(1, A + FRAME_BYTES, both.last, A + FRAME_BYTES, VIRTIO_IOMMU_MAP_READ), OK);
	ck_assert(iommu_translate(&u.endpoint[0], 0, both, DMA_READ, &run, &fault));
	ck_assert(run.first == A && run.last == both.last && run.gpa == A);
	ck_assert(iommu_translate(&u.endpoint[0], 0, both, DMA_WRITE, &run, &fault));
	ck_assert(run.last == A + FRAME_BYTES - 1);
	ck_assert(iommu_translate(&u.endpoint[0], 0, (struct iommu_range){A + 5, A + 6}, DMA_READ, &run, &fault));
	ck_assert(run.first == A && run.last == A + FRAME_BYTES - 1); /* not farther than asked */
	unmake();
}
END_TEST

START_TEST(bypass_is_the_identity)
{
	make();
	iommu_set_bypass(&u, true);
	ck_assert(iommu_bypass(&u));
	ck_assert(reaches(0, 0x1234567, DMA_READ | DMA_WRITE, 0x1234567));
	ck_assert(reaches(0, UINT64_MAX, DMA_READ, UINT64_MAX));
	ck_assert_uint_eq(iommu_attach(&u, 1, 0, false), OK);
	ck_assert(faults(0, 0x1234567, DMA_READ, VIRTIO_IOMMU_FAULT_MAPPING)); /* attached: not by bypass any more */
	ck_assert(reaches(1, 0x1234567, DMA_READ, 0x1234567));
	iommu_set_bypass(&u, false);
	ck_assert(faults(1, 0x1234567, DMA_READ, VIRTIO_IOMMU_FAULT_DOMAIN));
	ck_assert_uint_eq(iommu_attach(&u, 2, 3, true), OK);
	ck_assert(reaches(1, 0x1234567, DMA_WRITE, 0x1234567));
	unmake();
}
END_TEST

/* 5.13.5: "When the device is reset, endpoints are not attached to any domain"; 5.13.4.2: bypass is kept by the reset
 * of the device, and as it was by that of the system. */
START_TEST(resets)
{
	struct iommu_fault fault = {.endpoint = 3};

	make();
	ck_assert_uint_eq(iommu_attach(&u, 1, 0, false), OK);
	ck_assert_uint_eq(iommu_attach(&u, 2, 3, true), OK);
	ck_assert_uint_eq(map(1, A, A + 4095, P, READ), OK);
	iommu_set_bypass(&u, true);
	iommu_report(&u, &fault);
	iommu_detach_all(&u);
	ck_assert(iommu_check(&u) && iommu_bypass(&u));
	ck_assert_uint_eq(out_count, 0);
	ck_assert_uint_eq(iommu_stats_read(&u).domains, 0);
	ck_assert_uint_eq(iommu_stats_read(&u).mappings, 0);
	ck_assert(!iommu_next_fault(&u, &fault));
	ck_assert(reaches(0, A, DMA_READ, A));
	ck_assert_uint_eq(iommu_attach(&u, 1, 0, false), OK);
	iommu_reset(&u);
	ck_assert(iommu_check(&u) && !iommu_bypass(&u));
	ck_assert(faults(0, A, DMA_READ, VIRTIO_IOMMU_FAULT_DOMAIN));
	unmake();
}
END_TEST

/* ---- 5.13.6.3.2: ATTACH ---- */

START_TEST(attach_creates_and_joins)
{
	make();
	ck_assert_uint_eq(iommu_attach(&u, 5, 0, false), OK);
	ck_assert_uint_eq(map(5, A, A + 4095, P, READ), OK);
	ck_assert_uint_eq(iommu_attach(&u, 5, 3, false), OK);
	ck_assert(reaches(0, A + 5, DMA_READ, P + 5) && reaches(1, A + 5, DMA_READ, P + 5));
	ck_assert_uint_eq(iommu_attach(&u, 5, 3, false), OK); /* where it is already */
	ck_assert_uint_eq(u.domain[0].endpoints, 2);
	ck_assert(reaches(1, A, DMA_READ, P));
	unmake();
}
END_TEST

START_TEST(attach_refuses)
{
	make();
	ck_assert_uint_eq(iommu_attach(&u, 1, 1, false), NOENT);
	ck_assert_uint_eq(iommu_attach(&u, 1, 3 * ENDPOINTS, false), NOENT);
	ck_assert_uint_eq(iommu_attach(&u, 99, 1, false), NOENT);
	ck_assert_uint_eq(iommu_attach(&u, 6, 0, false), RANGE);
	ck_assert_uint_eq(iommu_attach(&u, 1, 0, false), OK);
	ck_assert_uint_eq(iommu_attach(&u, 1, 3, true), INVAL);
	ck_assert_uint_eq(iommu_attach(&u, 1, 0, true), INVAL);
	ck_assert_uint_eq(iommu_attach(&u, 2, 3, true), OK);
	ck_assert_uint_eq(iommu_attach(&u, 2, 0, false), INVAL);
	ck_assert_uint_eq(iommu_attach(&u, 2, 3, false), INVAL);
	ck_assert_ptr_eq(u.endpoint[0].domain, &u.domain[0]);
	ck_assert_ptr_eq(u.endpoint[1].domain, &u.domain[1]);
	unmake();
}
END_TEST

/* As if detached first: the old domain is no more when it was the last one in it. */
START_TEST(attach_moves)
{
	make();
	ck_assert_uint_eq(iommu_attach(&u, 1, 0, false), OK);
	ck_assert_uint_eq(map(1, A, A + 4095, P, READ), OK);
	ck_assert_uint_eq(iommu_attach(&u, 2, 0, false), OK);
	ck_assert(faults(0, A, DMA_READ, VIRTIO_IOMMU_FAULT_MAPPING));
	ck_assert_uint_eq(map(1, A, A + 4095, P, READ), NOENT);
	ck_assert_uint_eq(iommu_stats_read(&u).domains, 1);
	ck_assert_uint_eq(iommu_stats_read(&u).mappings, 0);
	ck_assert_uint_eq(iommu_attach(&u, 1, 0, true), OK); /* a new one: of another kind */
	ck_assert(reaches(0, A, DMA_READ, A));
	unmake();
}
END_TEST

/* ---- 5.13.6.4.2: DETACH ---- */

START_TEST(detach_ends_access_and_domain)
{
	make();
	ck_assert_uint_eq(iommu_attach(&u, 1, 0, false), OK);
	ck_assert_uint_eq(iommu_attach(&u, 1, 3, false), OK);
	ck_assert_uint_eq(map(1, A, A + 4095, P, READ | WRITE), OK);
	ck_assert_uint_eq(iommu_detach(&u, 1, 0), OK);
	ck_assert(faults(0, A, DMA_READ, VIRTIO_IOMMU_FAULT_DOMAIN));
	ck_assert(reaches(1, A, DMA_WRITE, P));
	ck_assert_uint_eq(iommu_detach(&u, 1, 3), OK);
	ck_assert_uint_eq(out_count, 0);
	ck_assert_uint_eq(iommu_unmap(&u, 1, 0, UINT64_MAX), NOENT);
	ck_assert_uint_eq(iommu_attach(&u, 1, 0, false), OK); /* the id can be used again, for an empty one */
	ck_assert(faults(0, A, DMA_READ, VIRTIO_IOMMU_FAULT_MAPPING));
	unmake();
}
END_TEST

START_TEST(detach_refuses)
{
	make();
	ck_assert_uint_eq(iommu_detach(&u, 1, 1), NOENT);
	ck_assert_uint_eq(iommu_detach(&u, 1, 0), INVAL);
	ck_assert_uint_eq(iommu_attach(&u, 1, 0, false), OK);
	ck_assert_uint_eq(iommu_attach(&u, 2, 3, false), OK);
	ck_assert_uint_eq(iommu_detach(&u, 2, 0), INVAL);
	ck_assert_uint_eq(iommu_detach(&u, 7, 0), INVAL);
	ck_assert_uint_eq(iommu_stats_read(&u).domains, 2);
	unmake();
}
END_TEST

/* ---- 5.13.6.5.2: MAP ---- */

START_TEST(map_refuses)
{
	const struct {
		uint64_t first, last, phys;
		uint32_t flags;
		uint8_t status;
	} cases[] = {
		{A + 1, A + 4095, P, READ, RANGE}, /* each address aligned, or RANGE */
		{A, A + 4094, P, READ, RANGE},
		{A, A, P, READ, RANGE},
		{A, A + 4095, P + 8, READ, RANGE},
		{A, A - 1, P, READ, INVAL}, /* empty */
		{A + 4096, A, P, READ, INVAL},
		{UINT64_MAX, 0, P, READ, INVAL},
		{A - 4096, A + 4095, P, READ, RANGE}, /* outside the input range */
		{INPUT_LAST - 4095, INPUT_LAST + 4096, P, READ, RANGE},
		{INPUT_LAST + 1, INPUT_LAST + 4096, P, READ, RANGE},
		{A, UINT64_MAX, 0, READ, RANGE},
		{0, UINT64_MAX, 0, READ, RANGE},
		{A, A + 4095, UINT64_C(1) << 39, READ, RANGE}, /* outside the gpas */
		{A, A + 8191, (UINT64_C(1) << 39) - 4096, READ, RANGE},
		{A, A + 8191, -UINT64_C(4096), READ, RANGE}, /* wraps */
		{A, A + 4095, P, 0, INVAL},
		{A, A + 4095, P, MMIO, INVAL},
		{A, A + 4095, P, READ | 8, INVAL}, /* a flag that is not known */
		{A, A + 4095, P, READ | 0x80000000, INVAL},
		{0xfee00000, 0xfee00fff, P, READ, INVAL}, /* reserved */
		{0xfedff000, 0xfee00fff, P, READ, INVAL},
		{0xfeeff000, 0xfef00fff, P, READ, INVAL},
		{6 * MIB, 6 * MIB + 4095, P, READ, INVAL},
		{A, 4 * GIB - 1, 0, READ, INVAL},
		{32 * MIB - 4096, 32 * MIB + 4095, P, READ, INVAL}, /* mapped */
		{32 * MIB + 4096, 32 * MIB + 8191, P, READ, INVAL},
		{32 * MIB + 8192, 32 * MIB + 12287, P, READ, OK},
		{32 * MIB - 4096, 32 * MIB - 1, P, READ, OK},
	};

	make();
	ck_assert_uint_eq(map(1, A, A + 4095, P, READ), NOENT);
	ck_assert_uint_eq(iommu_attach(&u, 1, 0, false), OK);
	ck_assert_uint_eq(iommu_attach(&u, 2, 3, true), OK);
	ck_assert_uint_eq(map(2, A, A + 4095, P, READ), INVAL);
	ck_assert_uint_eq(map(1, 32 * MIB, 32 * MIB + 8191, P, READ), OK);
	for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		uint8_t status = map(1, cases[i].first, cases[i].last, cases[i].phys, cases[i].flags);

		ck_assert_msg(status == cases[i].status, "case %u: status %u", i, status);
		ck_assert(iommu_check(&u));
	}
	ck_assert_uint_eq(iommu_stats_read(&u).mappings, 3);
	ck_assert(faults(0, A, DMA_READ, VIRTIO_IOMMU_FAULT_MAPPING));
	unmake();
}
END_TEST

/* PA = VA - virt_start + phys_start; no write without WRITE, no read without READ. */
START_TEST(map_gives_rights_and_no_others)
{
	make();
	ck_assert_uint_eq(iommu_attach(&u, 1, 0, false), OK);
	for (uint32_t flags = 1; flags < 8; flags++) {
		uint64_t first = 16 * MIB + flags * 8 * MIB, last = first + 4 * MIB + 8191;

		if ((flags & 3) == 0)
			continue;
		ck_assert_uint_eq(map(1, first, last, P + 4096 * flags, flags), OK);
		for (unsigned access = 1; access < 4; access++) {
			ck_assert(reaches(0, first, access, P + 4096 * flags) == !(access & ~flags));
			ck_assert(reaches(0, last, access, P + 4096 * flags + (last - first)) == !(access & ~flags));
			if (access & ~flags)
				ck_assert(faults(0, first, access, VIRTIO_IOMMU_FAULT_MAPPING));
			ck_assert(faults(0, first - 1, access, VIRTIO_IOMMU_FAULT_MAPPING));
			ck_assert(faults(0, last + 1, access, VIRTIO_IOMMU_FAULT_MAPPING));
		}
	}
	ck_assert(faults(0, UINT64_C(1) << 48, DMA_READ, VIRTIO_IOMMU_FAULT_MAPPING));
	ck_assert(faults(0, UINT64_MAX, DMA_READ, VIRTIO_IOMMU_FAULT_MAPPING));
	unmake();
}
END_TEST

/* All of the input range, by large leaves; and its last page. */
START_TEST(map_to_the_edges)
{
	make();
	config.reserved_count = u.config.reserved_count = 0;
	ck_assert_uint_eq(iommu_attach(&u, 1, 0, false), OK);
	ck_assert_uint_eq(map(1, GIB, GIB * 512 - 1, 0, READ), OK);
	ck_assert(reaches(0, GIB * 512 - 1, DMA_READ, GIB * 511 - 1));
	ck_assert_uint_eq(map(1, INPUT_LAST - 4095, INPUT_LAST, (UINT64_C(1) << 39) - 4096, READ), OK);
	ck_assert(reaches(0, INPUT_LAST, DMA_READ, (UINT64_C(1) << 39) - 1));
	ck_assert_uint_eq(map(1, INPUT_FIRST, INPUT_FIRST + 4095, 0, READ), OK);
	ck_assert(reaches(0, INPUT_FIRST, DMA_READ, 0));
	ck_assert_uint_eq(iommu_unmap(&u, 1, 0, UINT64_MAX), OK);
	ck_assert_uint_eq(iommu_stats_read(&u).mappings, 0);
	ck_assert_uint_eq(out_count, 1);
	unmake();
}
END_TEST

/* ---- 5.13.6.6: UNMAP, the examples (1) to (7), in pages ---- */

static uint64_t page(unsigned n)
{
	return 64 * MIB + n * 4096u;
}

static uint8_t map_pages(unsigned first, unsigned last)
{
	return map(1, page(first), page(last + 1) - 1, P + page(first), READ);
}

static uint8_t unmap_pages(unsigned first, unsigned last)
{
	return iommu_unmap(&u, 1, page(first), page(last + 1) - 1);
}

static uint64_t mapped(void)
{
	uint64_t bits = 0;

	for (unsigned i = 0; i < 20; i++)
		bits |= (uint64_t)reaches(0, page(i), DMA_READ, P + page(i)) << i;
	ck_assert(iommu_check(&u));
	return bits;
}

START_TEST(unmap_examples)
{
	make();
	ck_assert_uint_eq(iommu_attach(&u, 1, 0, false), OK);
	ck_assert_uint_eq(unmap_pages(0, 4), OK); /* (1) */

	ck_assert_uint_eq(map_pages(0, 9), OK); /* (2) */
	ck_assert_uint_eq(unmap_pages(0, 9), OK);
	ck_assert_uint_eq(mapped(), 0);

	ck_assert_uint_eq(map_pages(0, 4), OK); /* (3) */
	ck_assert_uint_eq(map_pages(5, 9), OK);
	ck_assert_uint_eq(unmap_pages(0, 9), OK);
	ck_assert_uint_eq(mapped(), 0);

	ck_assert_uint_eq(map_pages(0, 9), OK); /* (4) */
	ck_assert_uint_eq(unmap_pages(0, 4), RANGE);
	ck_assert_uint_eq(unmap_pages(5, 9), RANGE);
	ck_assert_uint_eq(unmap_pages(3, 5), RANGE);
	ck_assert_uint_eq(mapped(), 0x3ff);
	ck_assert_uint_eq(unmap_pages(0, 9), OK);

	ck_assert_uint_eq(map_pages(0, 4), OK); /* (5) */
	ck_assert_uint_eq(map_pages(5, 9), OK);
	ck_assert_uint_eq(unmap_pages(0, 5), RANGE);
	ck_assert_uint_eq(unmap_pages(4, 9), RANGE);
	ck_assert_uint_eq(unmap_pages(0, 4), OK);
	ck_assert_uint_eq(mapped(), 0x3e0);
	ck_assert_uint_eq(unmap_pages(5, 9), OK);

	ck_assert_uint_eq(map_pages(0, 4), OK); /* (6) */
	ck_assert_uint_eq(unmap_pages(0, 9), OK);
	ck_assert_uint_eq(mapped(), 0);

	ck_assert_uint_eq(map_pages(0, 4), OK); /* (7) */
	ck_assert_uint_eq(map_pages(10, 14), OK);
	ck_assert_uint_eq(unmap_pages(0, 14), OK);
	ck_assert_uint_eq(mapped(), 0);
	ck_assert_uint_eq(iommu_stats_read(&u).mappings, 0);
	unmake();
}
END_TEST

START_TEST(unmap_refuses)
{
	make();
	ck_assert_uint_eq(iommu_unmap(&u, 1, A, A + 4095), NOENT);
	ck_assert_uint_eq(iommu_attach(&u, 1, 0, false), OK);
	ck_assert_uint_eq(iommu_attach(&u, 2, 3, true), OK);
	ck_assert_uint_eq(iommu_unmap(&u, 2, A, A + 4095), INVAL);
	ck_assert_uint_eq(iommu_unmap(&u, 1, A + 1, A), INVAL);
	ck_assert_uint_eq(iommu_unmap(&u, 1, UINT64_MAX, 0), INVAL);
	unmake();
}
END_TEST

/* A range need not be of pages, as long as it cuts no mapping. */
START_TEST(unmap_of_odd_ranges)
{
	make();
	ck_assert_uint_eq(iommu_attach(&u, 1, 0, false), OK);
	ck_assert_uint_eq(map_pages(2, 3), OK);
	ck_assert_uint_eq(iommu_unmap(&u, 1, page(2) + 1, page(4) - 1), RANGE);
	ck_assert_uint_eq(iommu_unmap(&u, 1, page(2), page(4) - 2), RANGE);
	ck_assert_uint_eq(iommu_unmap(&u, 1, page(3) + 7, page(3) + 9), RANGE);
	ck_assert_uint_eq(iommu_unmap(&u, 1, page(1) + 7, page(1) + 9), OK);
	ck_assert_uint_eq(iommu_unmap(&u, 1, page(1) + 7, page(2) - 1), OK);
	ck_assert_uint_eq(iommu_unmap(&u, 1, page(4), page(4)), OK);
	ck_assert_uint_eq(iommu_unmap(&u, 1, INPUT_LAST + 1, UINT64_MAX), OK);
	ck_assert_uint_eq(iommu_unmap(&u, 1, UINT64_MAX, UINT64_MAX), OK);
	ck_assert_uint_eq(iommu_unmap(&u, 1, (UINT64_C(1) << 48) - 1, UINT64_C(1) << 48), OK);
	ck_assert_uint_eq(mapped(), 0xc);
	ck_assert_uint_eq(iommu_unmap(&u, 1, page(1) + 7, page(5) + 9), OK);
	ck_assert_uint_eq(mapped(), 0);
	unmake();
}
END_TEST

/* Mappings of large leaves, of several levels, and beside one another on both sides. */
START_TEST(unmap_knows_mappings_in_large_leaves)
{
	make();
	ck_assert_uint_eq(iommu_attach(&u, 1, 0, false), OK);
	ck_assert_uint_eq(map(1, GIB, 2 * GIB - 1, GIB, READ), OK);
	ck_assert_uint_eq(map(1, 2 * GIB, 2 * GIB + 4 * MIB + 4095, 2 * GIB, READ), OK);
	ck_assert_uint_eq(map(1, 2 * GIB + 4 * MIB + 4096, 2 * GIB + 6 * MIB - 1, 2 * GIB + 4 * MIB + 4096, READ), OK);
	ck_assert_uint_eq(iommu_unmap(&u, 1, GIB + 4096, 2 * GIB - 1), RANGE);
	ck_assert_uint_eq(iommu_unmap(&u, 1, GIB, 2 * GIB + 2 * MIB - 1), RANGE);
	ck_assert_uint_eq(iommu_unmap(&u, 1, 2 * GIB + 2 * MIB, 2 * GIB + 6 * MIB - 1), RANGE);
	ck_assert_uint_eq(iommu_unmap(&u, 1, 2 * GIB + 4 * MIB, 2 * GIB + 6 * MIB - 1), RANGE);
	ck_assert_uint_eq(iommu_stats_read(&u).mappings, 3);
	ck_assert_uint_eq(iommu_unmap(&u, 1, 2 * GIB, 2 * GIB + 4 * MIB + 4095), OK);
	ck_assert_uint_eq(iommu_stats_read(&u).mappings, 2);
	ck_assert(reaches(0, 2 * GIB - 1, DMA_READ, 2 * GIB - 1));
	ck_assert(reaches(0, 2 * GIB + 4 * MIB + 4096, DMA_READ, 2 * GIB + 4 * MIB + 4096));
	ck_assert(faults(0, 2 * GIB + 4 * MIB + 4095, DMA_READ, VIRTIO_IOMMU_FAULT_MAPPING));
	/* 512 mappings of a page each, which 512 leaves cannot be told from one by */
	for (unsigned i = 0; i < 180; i++)
		ck_assert_uint_eq(map(1, 4 * GIB + i * 4096u, 4 * GIB + i * 4096u + 4095, i * 4096u, READ), OK);
	ck_assert_uint_eq(iommu_unmap(&u, 1, 4 * GIB + 4096, 4 * GIB + 3 * 4096 - 1), OK);
	ck_assert_uint_eq(iommu_stats_read(&u).mappings, 180);
	ck_assert_uint_eq(iommu_unmap(&u, 1, 4 * GIB, 5 * GIB - 1), OK);
	ck_assert_uint_eq(iommu_stats_read(&u).mappings, 2);
	unmake();
}
END_TEST

/* ---- 5.13.6.9: faults ---- */

START_TEST(fault_list)
{
	struct iommu_fault fault;

	make();
	ck_assert(!iommu_next_fault(&u, &fault));
	for (unsigned round = 0; round < 3; round++) {
		for (uint64_t i = 0; i < IOMMU_FAULTS_MAX + 5; i++) {
			fault = (struct iommu_fault){.reason = 2, .flags = 1, .endpoint = 3, .address = i};
			iommu_report(&u, &fault);
		}
		for (uint64_t i = 0; i < IOMMU_FAULTS_MAX - round * 7; i++)
			ck_assert(iommu_next_fault(&u, &fault) && fault.address == i && fault.endpoint == 3);
		while (iommu_next_fault(&u, &fault))
			;
	}
	ck_assert_uint_eq(events, 3 * IOMMU_FAULTS_MAX);
	ck_assert_uint_eq(iommu_stats_read(&u).faults, 3 * (IOMMU_FAULTS_MAX + 5));
	ck_assert_uint_eq(iommu_stats_read(&u).faults_lost, 15);
	u.config.event = NULL;
	iommu_report(&u, &fault);
	unmake();
}
END_TEST

/* ---- want of memory, and those who want too much ---- */

static struct iommu u_before;
static unsigned char arena_before[sizeof(arena)];
static bool taken_before[ARENA_FRAMES];

static void save(void)
{
	memcpy(&u_before, &u, sizeof(u));
	memcpy(arena_before, arena, sizeof(arena));
	memcpy(taken_before, taken, sizeof(taken));
}

static bool same(void)
{
	for (unsigned i = 0; i < ARENA_FRAMES; i++)
		if (taken[i] != taken_before[i] ||
		    (taken[i] && memcmp(arena + i * 4096, arena_before + i * 4096, 4096) != 0))
			return false;
	u_before.tables_max = u.tables_max; /* pages that were out for a moment count */
	for (unsigned i = 0; i < IOMMU_DOMAINS_MAX; i++)
		if (u.domain[i].live != u_before.domain[i].live)
			return false;
		else if (u.domain[i].live && memcmp(&u.domain[i], &u_before.domain[i], sizeof(u.domain[i])) != 0)
			return false;
	memcpy(u_before.domain, u.domain, sizeof(u.domain));
	return memcmp(&u, &u_before, sizeof(u)) == 0;
}

START_TEST(each_page_refused)
{
	uint8_t status;
	unsigned n;

	make();
	refuse_at = 1;
	save();
	ck_assert_uint_eq(iommu_attach(&u, 1, 0, false), NOMEM);
	ck_assert(same() && iommu_check(&u));
	ck_assert_uint_eq(iommu_attach(&u, 2, 0, true), OK); /* needs none */
	refuse_at = 1;
	save();
	ck_assert_uint_eq(iommu_attach(&u, 1, 0, false), NOMEM); /* and it stays where it was */
	ck_assert(same() && iommu_check(&u));
	ck_assert_uint_eq(iommu_attach(&u, 1, 0, false), OK);
	for (n = 1;; n++) {
		refuse_at = n;
		save();
		status = map(1, 2 * GIB - 4096 * 3, 2 * GIB + 5 * MIB + 4095, 4096, READ | WRITE);
		if (refuse_at > 0)
			break;
		ck_assert_uint_eq(status, NOMEM);
		ck_assert(same() && iommu_check(&u));
	}
	ck_assert_uint_eq(status, OK);
	ck_assert_uint_gt(n, 5);
	refuse_at = 1; /* to unmap needs none */
	ck_assert_uint_eq(iommu_unmap(&u, 1, 2 * GIB - 4096 * 3, 2 * GIB + 5 * MIB + 4095), OK);
	ck_assert_uint_eq(refuse_at, 1);
	refuse_at = 0;
	unmake();
}
END_TEST

START_TEST(hostile_wants)
{
	uint64_t n;

	make();
	ck_assert_uint_eq(iommu_attach(&u, 1, 0, false), OK);
	/* a mapping that needs more pages than there are */
	ck_assert_uint_eq(map(1, 8 * GIB, 8 * GIB + 100 * GIB - 1, 4096, READ), NOMEM);
	ck_assert_uint_eq(out_count, 1);
	/* a page in each 2M, then in each 1G, until the arena is out */
	for (n = 0; map(1, 8 * GIB + n * GIB, 8 * GIB + n * GIB + 4095, 0, READ) == OK; n++)
		;
	ck_assert_uint_gt(n, 150);
	ck_assert_uint_le(out_count, ARENA_FRAMES);
	ck_assert(iommu_check(&u));
	ck_assert_uint_eq(iommu_unmap(&u, 1, 0, UINT64_MAX), OK);
	ck_assert_uint_eq(out_count, 1);
	/* more mappings than allowed, over all domains */
	ck_assert_uint_eq(iommu_attach(&u, 2, 3, false), OK);
	for (n = 0; map(1 + n % 2, GIB + n * 4096, GIB + n * 4096 + 4095, 0, READ) == OK; n++)
		;
	ck_assert_uint_eq(n, 200);
	ck_assert_uint_eq(map(1, 3 * GIB, 3 * GIB + 4095, 0, READ), NOMEM);
	ck_assert_uint_eq(iommu_detach(&u, 2, 3), OK);
	ck_assert_uint_eq(map(1, 3 * GIB, 3 * GIB + 4095, 0, READ), OK);
	ck_assert_uint_eq(iommu_stats_read(&u).mappings, 101);
	ck_assert_uint_eq(iommu_stats_read(&u).mappings_max_seen, 200);
	unmake();
}
END_TEST

/* As many domains as there can be: one an endpoint, and each moves on to a new one. */
START_TEST(domains_never_run_out)
{
	make();
	u.config.domain_last = UINT32_MAX;
	for (unsigned i = ENDPOINTS; i < IOMMU_ENDPOINTS_MAX; i++)
		(void)iommu_add_endpoint(&u, model_endpoint_id(i));
	for (unsigned round = 0; round < 3; round++)
		for (unsigned i = 0; i < IOMMU_ENDPOINTS_MAX; i++)
			ck_assert_uint_eq(
				iommu_attach(&u, UINT32_MAX - round * 1000 - i, model_endpoint_id(i), round == 1), OK);
	ck_assert_uint_eq(iommu_stats_read(&u).domains, IOMMU_ENDPOINTS_MAX);
	ck_assert_uint_eq(out_count, IOMMU_ENDPOINTS_MAX);
	unmake();
}
END_TEST

/* ---- whoever is waited for ---- */

static struct flight flight;
static unsigned slot;

static void end_flight(void *self)
{
	(void)self;
	if (++waits == 2)
		flight_end(&flight, slot);
}

static bool waited(uint64_t first, uint64_t last)
{
	bool yes = waits == 2;

	if (!yes)
		flight_end(&flight, slot);
	ck_assert(flight_check(&flight));
	waits = 0;
	slot = flight_begin(&flight, first, last);
	return yes;
}

START_TEST(who_takes_waits)
{
	uint64_t generation;

	make();
	u.config.wait = end_flight;
	flight_init(&flight);
	iommu_add_flight(&u.endpoint[0], &flight);
	slot = flight_begin(&flight, page(1) + 5, page(2) + 5);
	ck_assert_uint_eq(iommu_attach(&u, 1, 0, false), OK);
	ck_assert(waited(page(1) + 5, page(2) + 5));
	generation = u.endpoint[0].generation;
	ck_assert_uint_eq(map_pages(0, 0), OK);
	ck_assert_uint_eq(map_pages(2, 3), OK);
	ck_assert_uint_eq(map_pages(4, 4), OK);
	ck_assert_uint_eq(unmap_pages(6, 9), OK); /* nothing is there */
	ck_assert_uint_eq(u.endpoint[0].generation, generation);
	ck_assert_uint_eq(unmap_pages(4, 4), OK); /* not of that range */
	ck_assert(!waited(page(1) + 5, page(2) + 5));
	ck_assert_uint_gt(u.endpoint[0].generation, generation);
	ck_assert_uint_eq(unmap_pages(0, 1), OK); /* what was mapped is not of that range */
	ck_assert(!waited(page(1) + 5, page(2) + 5));
	ck_assert_uint_eq(unmap_pages(2, 3), OK);
	ck_assert(waited(page(9), page(9)));
	ck_assert_uint_eq(iommu_attach(&u, 1, 3, false), OK); /* another one */
	ck_assert_uint_eq(iommu_detach(&u, 1, 3), OK);
	iommu_set_bypass(&u, true);
	iommu_set_bypass(&u, false);
	ck_assert(!waited(page(9), page(9)));
	ck_assert_uint_eq(iommu_detach(&u, 1, 0), OK);
	ck_assert(waited(page(9), page(9)));
	iommu_set_bypass(&u, true);
	iommu_set_bypass(&u, true);
	ck_assert(!waited(page(9), page(9)));
	iommu_set_bypass(&u, false);
	ck_assert(waited(page(9), page(9)));
	ck_assert_uint_eq(iommu_attach(&u, 1, 0, true), OK);
	ck_assert(waited(page(9), page(9)));
	iommu_reset(&u);
	ck_assert(waited(page(9), page(9)));
	flight_end(&flight, slot);
	unmake();
}
END_TEST

/* ---- at random, against the model ---- */

static uint64_t any_address(void)
{
	static const uint64_t bases[] = {INPUT_FIRST,	 6 * MIB, 2 * GIB - 16 * 4096,	     0xfee00000,
					 0xfeefffff + 1, 4 * GIB, INPUT_LAST + 1 - 8 * 4096, UINT64_C(1) << 48};
	uint64_t base = bases[below(2) ? 2 : below(8)], grain = below(16);

	if (grain == 0)
		return base + below(16 * 4096);
	if (grain == 1)
		return base + below(4) * 2 * MIB;
	if (grain == 2)
		return base - below(3) * 4096;
	return base + below(32) * 4096;
}

static void any_request(void)
{
	uint32_t id = (uint32_t)below(below(32) ? 4 : 7),
		 endpoint = (uint32_t)(below(16) ? 3 * below(ENDPOINTS) : below(16));
	uint64_t first = any_address(), last = first + below(below(8) ? 6 : 2000) * 4096 + 4095, verb = below(32);
	struct virtio_iommu_map m = {.domain = id, .first = first, .last = last, .phys = below(1 << 20) * 4096};
	bool on = below(8) == 0;
	uint8_t want, got;

	if (below(64) == 0)
		last = any_address();
	m.last = last;
	m.flags = (uint32_t)(below(64) ? 1 + below(3) : below(16));
	if (below(64) == 0)
		m.phys = below(2) ? below(UINT64_MAX) : (UINT64_C(1) << 39) - below(8) * 4096;
	if (verb == 0) {
		want = model_attach(&model, id, endpoint, on);
		got = iommu_attach(&u, id, endpoint, on);
	} else if (verb == 1 && below(8) == 0) {
		want = model_detach(&model, id, endpoint);
		got = iommu_detach(&u, id, endpoint);
	} else if (verb == 2 && below(64) == 0) {
		want = got = OK;
		model.bypass = on;
		iommu_set_bypass(&u, on);
	} else if (verb < 16) {
		if (below(64) == 0) {
			first = below(first);
			last = below(2) ? UINT64_MAX : last + below(UINT32_MAX);
		}
		want = model_unmap(&model, id, first, last);
		got = iommu_unmap(&u, id, first, last);
	} else {
		want = model_map(&model, id, &m);
		got = iommu_map(&u, id, &m);
	}
	if (got != want)
		ck_abort_msg("verb %u, domain %u, %lx to %lx: %u, not %u", (unsigned)verb, id, first, last, got, want);
}

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define REQUESTS 50000u
#else
#define REQUESTS 250000u
#endif

START_TEST(random_requests)
{
	uint64_t found = 0;

	seed(700 + (uint64_t)_i);
	make();
	for (unsigned i = 0; i < REQUESTS; i++) {
		any_request();
		MUST(!refused);
		for (unsigned k = 0; k < 4; k++) {
			unsigned n = (unsigned)below(ENDPOINTS), access = 1 + (unsigned)below(3);
			uint64_t iova = any_address() + below(4096);

			MUST(model_agrees(&model, &u, n, (unsigned)below(IOMMU_READERS_MAX),
					  model_range(iova, below(64)), access));
			found += reaches(n, iova, access, 0) || !faults(n, iova, access, VIRTIO_IOMMU_FAULT_DOMAIN);
		}
		MUST(iommu_stats_read(&u).mappings == model_mappings(&model));
		if (i % 32 == 0)
			MUST(iommu_check(&u));
	}
	ck_assert_uint_gt(found, REQUESTS / 10);
	unmake();
}
END_TEST

/* ---- the check ---- */

#define BROKEN(change, back)                                                                                           \
	do {                                                                                                           \
		change;                                                                                                \
		ck_assert_msg(!iommu_check(&u), "%s does not matter", #change);                                        \
		back;                                                                                                  \
		ck_assert_msg(iommu_check(&u), "%s was not put back", #change);                                        \
	} while (0)

START_TEST(check_objects)
{
	struct iommu_domain *d;

	make();
	ck_assert_uint_eq(iommu_attach(&u, 1, 0, false), OK);
	ck_assert_uint_eq(iommu_attach(&u, 2, 3, false), OK);
	ck_assert_uint_eq(iommu_attach(&u, 3, 6, true), OK);
	ck_assert_uint_eq(map(1, 64 * MIB, 64 * MIB + 8191, P, READ), OK);
	ck_assert_uint_eq(map(2, 64 * MIB, 64 * MIB + 4095, P, READ), OK);
	d = &u.domain[0];
	BROKEN(u.endpoint[0].domain = NULL, u.endpoint[0].domain = d); /* I1 */
	BROKEN(u.endpoint[0].domain = d + 1, u.endpoint[0].domain = d);
	BROKEN(u.endpoint[3].domain = d + 9, u.endpoint[3].domain = NULL);
	BROKEN(u.endpoint[3].domain = (void *)((uintptr_t)d - 8), u.endpoint[3].domain = NULL);
	BROKEN(u.endpoint[3].domain = u.domain + IOMMU_DOMAINS_MAX, u.endpoint[3].domain = NULL);
	BROKEN(d->endpoints++, d->endpoints--);
	BROKEN(d->id = 2, d->id = 1);
	BROKEN(d->id = 6, d->id = 1);
	BROKEN(u.domains++, u.domains--);
	BROKEN(u.domain[40].live = true, u.domain[40].live = false);
	BROKEN(u.domain[2].mappings++, u.domain[2].mappings--); /* I2 */
	BROKEN((d->mappings++, u.mappings++, u.mappings_max_seen++),
	       (d->mappings--, u.mappings--, u.mappings_max_seen--));
	BROKEN(d->table.tables++, d->table.tables--);
	BROKEN(d->bypass = true, d->bypass = false);
	BROKEN(u.mappings++, u.mappings--); /* I3 */
	BROKEN(u.config.mappings_max = 1, u.config.mappings_max = 200);
	BROKEN(u.mappings_max_seen = 1, u.mappings_max_seen = 2);
	BROKEN(u.config.input.first = 64 * MIB + 4096, u.config.input.first = INPUT_FIRST); /* I4 */
	BROKEN(u.config.input.last = 64 * MIB + 4095, u.config.input.last = INPUT_LAST);
	BROKEN(u.config.reserved[1].range.last = 70 * MIB, u.config.reserved[1].range.last = 6 * MIB + 4095);
	BROKEN(u.config.phys_bits = 12, u.config.phys_bits = 39);
	BROKEN(u.tables++, u.tables--); /* I5 */
	BROKEN(u.tables_max = 1, u.tables_max = 9);
	BROKEN(u.fault_head = IOMMU_FAULTS_MAX, u.fault_head = 0); /* I6 */
	BROKEN(u.fault_count = IOMMU_FAULTS_MAX + 1, u.fault_count = 0);
	BROKEN(u.endpoint[3].id = 0, u.endpoint[3].id = 9); /* I7 */
	BROKEN(u.endpoint[3].flights = IOMMU_FLIGHTS_MAX + 1, u.endpoint[3].flights = 0);
	BROKEN(u.endpoint[3].iommu = NULL, u.endpoint[3].iommu = &u);
	BROKEN(u.endpoints = IOMMU_ENDPOINTS_MAX + 1, u.endpoints = ENDPOINTS);
	unmake();
}
END_TEST

/* _i: what is wrong with the config: our bug, so the end. */
START_TEST(bad_configs_end_the_program)
{
	make();
	if (_i == 0)
		config.input.first++;
	else if (_i == 1)
		config.input.last = 2 * KIB;
	else if (_i == 2)
		config.input.last = (UINT64_C(1) << 50) - 1;
	else if (_i == 3)
		config.input.first = config.input.last + 1;
	else if (_i == 4)
		config.phys_bits = 31;
	else if (_i == 5)
		config.reserved_count = IOMMU_RESERVED_MAX + 1;
	else if (_i == 6)
		config.wait = NULL;
	else
		config.pages.put = NULL;
	if (!freopen("/dev/null", "w", stderr))
		return;
	iommu_init(&u, &config);
}
END_TEST

Suite *iommu_suite(void);

Suite *iommu_suite(void)
{
	Suite *suite = suite_create("iommu");
	TCase *plain = tcase_create("plain"), *random = tcase_create("random");

	tcase_add_test(plain, unattached_endpoints_have_no_access);
	tcase_add_test(plain, runs_go_on);
	tcase_add_test(plain, bypass_is_the_identity);
	tcase_add_test(plain, resets);
	tcase_add_test(plain, attach_creates_and_joins);
	tcase_add_test(plain, attach_refuses);
	tcase_add_test(plain, attach_moves);
	tcase_add_test(plain, detach_ends_access_and_domain);
	tcase_add_test(plain, detach_refuses);
	tcase_add_test(plain, map_refuses);
	tcase_add_test(plain, map_gives_rights_and_no_others);
	tcase_add_test(plain, map_to_the_edges);
	tcase_add_test(plain, unmap_examples);
	tcase_add_test(plain, unmap_refuses);
	tcase_add_test(plain, unmap_of_odd_ranges);
	tcase_add_test(plain, unmap_knows_mappings_in_large_leaves);
	tcase_add_test(plain, fault_list);
	tcase_add_test(plain, each_page_refused);
	tcase_add_test(plain, hostile_wants);
	tcase_add_test(plain, domains_never_run_out);
	tcase_add_test(plain, who_takes_waits);
	tcase_add_test(plain, check_objects);
	tcase_add_loop_test_raise_signal(plain, bad_configs_end_the_program, SIGABRT, 0, 8);
	suite_add_tcase(suite, plain);
	tcase_add_loop_test(random, random_requests, 0, 4);
	tcase_set_timeout(random, 60);
	suite_add_tcase(suite, random);
	return suite;
}
