/* tests/unit/test_dma.c: the gate to guest memory, with and without an IOMMU
 * before it. Every byte of the host's memory has a shadow: what it should hold,
 * so that an access outside of what was mapped shows; at random against the
 * naive model of iommu_model.h and a table of frames; queues beside a driver that takes
 * mappings, endpoints, bypass and frames away, on plain memory, so that
 * ThreadSanitizer sees it, too. */
#include <check.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/unit/iommu_model.h"
#include "tests/unit/random.h"

#define FRAMES	    64u /* of the guest, and of the host */
#define ARENA	    64u
#define READER	    3u
#define RW	    (DMA_READ | DMA_WRITE)
#define IOVA	    UINT64_C(0x40000000)
#define INPUT_FIRST UINT64_C(0x100000)
#define INPUT_LAST  ((UINT64_C(1) << 40) - 1)

/* ck_assert() tells the runner where it is each time, which is dear in a loop. */
#define MUST(x) ((x) ? (void)0 : ck_abort_msg("%s", #x))

/* ---- the guest's memory ---- */

static _Alignas(4096) uint8_t host[FRAMES * 4096];
static uint8_t shadow[sizeof(host)]; /* what it should hold */
static int pins[FRAMES];	     /* bytes */
static struct {
	uint32_t page;	 /* of the host */
	uint32_t access; /* atomic; 0: a hole */
} frame[FRAMES];
static uint64_t generation;
static unsigned vanish_in; /* frame 0 goes when it was asked for so many times, 0: it stays */

static uint8_t *span(void *self, unsigned reader, uint64_t gpa, uint64_t *bytes, unsigned access)
{
	uint64_t n = gpa / 4096, end;
	uint8_t *at;

	MUST(self == frame);
	MUST(reader < IOMMU_READERS_MAX);
	MUST(*bytes > 0);
	if (vanish_in > 0 && --vanish_in == 0)
		frame[0].access = 0;
	if (n >= FRAMES || (access & ~__atomic_load_n(&frame[n].access, __ATOMIC_SEQ_CST)))
		return NULL;
	at = host + frame[n].page * 4096u + gpa % 4096;
	for (end = n + 1; end < FRAMES && frame[end].page == frame[end - 1].page + 1; end++)
		if (access & ~__atomic_load_n(&frame[end].access, __ATOMIC_SEQ_CST))
			break;
	if (*bytes > end * 4096 - gpa)
		*bytes = end * 4096 - gpa;
	return at;
}

static void pin_by(const uint8_t *at, uint64_t bytes, int sign)
{
	MUST(at >= host && bytes > 0 && bytes <= (uint64_t)(host + sizeof(host) - at));
	while (bytes > 0) {
		uint64_t offset = (uint64_t)(at - host), part = 4096 - offset % 4096;

		part = part < bytes ? part : bytes;
		__atomic_fetch_add(&pins[offset / 4096], sign * (int)part, __ATOMIC_RELAXED);
		at += part;
		bytes -= part;
	}
}

static void pin(void *self, const uint8_t *at, uint64_t bytes)
{
	MUST(self == frame);
	pin_by(at, bytes, 1);
}

static void unpin(void *self, const uint8_t *at, uint64_t bytes)
{
	MUST(self == frame);
	pin_by(at, bytes, -1);
}

static const struct dma_memory memory = {
	.self = frame, .span = span, .pin = pin, .unpin = unpin, .generation = &generation};

/* A frame's rights are taken away: nobody uses it any more when this comes back. */
static void frame_set(unsigned n, unsigned access)
{
	__atomic_store_n(&frame[n].access, access, __ATOMIC_SEQ_CST);
	(void)__atomic_fetch_add(&generation, 1, __ATOMIC_SEQ_CST);
}

/* Frames 0 to 31 in order, the others backwards; 8 is a hole, 9 can only be read. */
static void memory_make(void)
{
	for (unsigned i = 0; i < FRAMES; i++) {
		frame[i].page = i < 32 ? i : FRAMES + 31 - i;
		frame[i].access = RW;
		pins[i] = 0;
	}
	frame[8].access = 0;
	frame[9].access = DMA_READ;
	for (uint64_t i = 0; i < sizeof(host); i++)
		host[i] = shadow[i] = (uint8_t)(i * 131 + i / 4096);
	generation = 7;
}

static bool untouched(void)
{
	return memcmp(host, shadow, sizeof(host)) == 0;
}

static bool unpinned(void)
{
	for (unsigned i = 0; i < FRAMES; i++)
		if (pins[i] != 0)
			return false;
	return true;
}

static uint8_t *shadow_at(uint64_t gpa)
{
	return shadow + frame[gpa / 4096].page * 4096u + gpa % 4096;
}

static bool allowed(uint64_t gpa, unsigned access)
{
	return gpa < FRAMES * 4096u && !(access & ~frame[gpa / 4096].access);
}

/* ---- the IOMMU ---- */

static _Alignas(4096) unsigned char arena[ARENA * 4096];
static bool taken[ARENA];
static struct iommu u;
static struct model model;

static enum mm_err page_get(void *self, struct pfn *out)
{
	(void)self;
	for (unsigned i = 0; i < ARENA; i++)
		if (!taken[i]) {
			taken[i] = true;
			out->n = i;
			return MM_OK;
		}
	return MM_ENOMEM;
}

static void page_put(void *self, struct pfn page)
{
	(void)self;
	taken[page.n] = false;
}

static void yield(void *self)
{
	(void)self;
	sched_yield();
}

static void iommu_make(void)
{
	const struct iommu_config config = {
		.input = {INPUT_FIRST, INPUT_LAST},
		.phys_bits = 36,
		.domain_last = 100,
		.mappings_max = 1000,
		.arena = arena,
		.arena_frames = ARENA,
		.pages = {NULL, page_get, page_put},
		.wait = yield,
	};

	memset(taken, 0, sizeof(taken));
	memset(&model, 0, sizeof(model));
	iommu_init(&u, &config);
	model.config = &u.config;
	model.endpoints = 2;
	for (unsigned i = 0; i < 2; i++)
		(void)iommu_add_endpoint(&u, model_endpoint_id(i));
}

static uint8_t map(uint32_t domain, uint64_t iova, uint64_t gpa, uint64_t bytes, uint32_t flags)
{
	struct virtio_iommu_map m = {
		.domain = domain, .first = iova, .last = iova + bytes - 1, .phys = gpa, .flags = flags};
	uint8_t status = iommu_map(&u, domain, &m);

	MUST(status == model_map(&model, domain, &m));
	return status;
}

static uint8_t unmap(uint32_t domain, uint64_t iova, uint64_t bytes)
{
	uint8_t status = iommu_unmap(&u, domain, iova, iova + bytes - 1);

	MUST(status == model_unmap(&model, domain, iova, iova + bytes - 1));
	return status;
}

static void attach(uint32_t domain, unsigned n, bool bypass)
{
	ck_assert_uint_eq(iommu_attach(&u, domain, model_endpoint_id(n), bypass),
			  model_attach(&model, domain, model_endpoint_id(n), bypass));
}

/* ---- without an IOMMU ---- */

static struct dma d;
static uint8_t buffer[2 * sizeof(host)];

static void make(void)
{
	memory_make();
	dma_init(&d, &memory, NULL, READER);
	ck_assert(dma_check(&d));
}

static void unmake(void)
{
	ck_assert(dma_check(&d));
	ck_assert(untouched());
	ck_assert(unpinned());
	ck_assert_uint_eq(d.flight.live, 0);
}

static bool writes(uint64_t gpa, uint64_t bytes)
{
	uint64_t faults = d.stats.faults, copied = d.stats.copied;
	bool ok;

	for (uint64_t i = 0; i < bytes && i < sizeof(buffer); i++)
		buffer[i] = (uint8_t)below(256);
	ok = dma_write(&d, gpa, buffer, bytes);
	ck_assert_uint_eq(d.stats.faults, faults + !ok);
	ck_assert_uint_eq(d.stats.copied, copied + (ok ? bytes : 0));
	for (uint64_t i = 0; ok && i < bytes; i++)
		*shadow_at(gpa + i) = buffer[i];
	ck_assert(untouched());
	return ok;
}

static bool reads(uint64_t gpa, uint64_t bytes)
{
	uint64_t faults = d.stats.faults;
	bool ok;

	memset(buffer, 0x5a, sizeof(buffer));
	ok = dma_read(&d, gpa, buffer, bytes);
	ck_assert_uint_eq(d.stats.faults, faults + !ok);
	for (uint64_t i = 0; i < sizeof(buffer); i++)
		MUST(buffer[i] == (ok && i < bytes ? *shadow_at(gpa + i) : 0x5a));
	return ok;
}

START_TEST(copies)
{
	make();
	ck_assert(reads(0, 1) && writes(0, 1));
	ck_assert(reads(5, 8 * 4096 - 5) && writes(5, 8 * 4096 - 5)); /* up to the hole */
	ck_assert(!reads(5, 8 * 4096 - 4) && !writes(5, 8 * 4096 - 4));
	ck_assert(!reads(8 * 4096, 1) && !reads(8 * 4096 + 4095, 2));
	ck_assert(reads(9 * 4096, 4097) && !writes(9 * 4096, 1)); /* only to be read */
	ck_assert(!writes(9 * 4096 + 4095, 2) && writes(10 * 4096, 22 * 4096));
	/* many pieces: backwards on the host; to the last byte, and not beyond */
	ck_assert(reads(30 * 4096 + 1, 34 * 4096 - 1) && writes(30 * 4096 + 1, 34 * 4096 - 1));
	ck_assert(!reads(30 * 4096 + 1, 34 * 4096) && !writes(30 * 4096 + 1, 34 * 4096));
	ck_assert(!reads(FRAMES * 4096, 1) && !writes(UINT64_MAX, 1));
	/* nothing at all is always there; what wraps is not */
	ck_assert(reads(8 * 4096, 0) && writes(UINT64_MAX, 0));
	ck_assert(!reads(UINT64_MAX, 2) && !writes(4096, UINT64_MAX) && !reads(1, UINT64_MAX));
	unmake();
}
END_TEST

START_TEST(words)
{
	uint64_t faults;
	uint32_t four;
	uint16_t two;

	make();
	ck_assert(dma_store16(&d, 4094, 0x1234));
	ck_assert(dma_load16(&d, 4094, &two) && two == 0x1234);
	shadow[4094] = 0x34;
	shadow[4095] = 0x12;
	ck_assert(dma_load32(&d, 4092, &four) && four == (0x12340000u | shadow[4093] << 8 | shadow[4092]));
	ck_assert(dma_load16(&d, 9 * 4096, &two));
	faults = d.stats.faults;
	four = two = 99;
	ck_assert(!dma_load16(&d, 4095, &two) && !dma_load16(&d, 8 * 4096, &two) && !dma_load16(&d, UINT64_MAX, &two));
	ck_assert(!dma_load32(&d, 4094, &four) && !dma_load32(&d, 4093, &four) && !dma_load32(&d, UINT64_MAX, &four));
	ck_assert(!dma_store16(&d, 4095, 1) && !dma_store16(&d, 9 * 4096, 1) && !dma_store16(&d, FRAMES * 4096, 1));
	ck_assert(four == 99 && two == 99);
	ck_assert_uint_eq(d.stats.faults, faults + 9);
	unmake();
}
END_TEST

#define ROOM 40u
static struct dma_segment segments[ROOM];

static struct dma_list list_of(unsigned room)
{
	return (struct dma_list){.segment = segments, .room = room};
}

START_TEST(maps)
{
	struct dma_list list = list_of(ROOM), before;
	uint64_t mapped = 77;

	make();
	ck_assert_int_eq(dma_map(&d, 100, 4096 * 3, RW, &list, &mapped), DMA_OK);
	ck_assert(mapped == 4096 * 3 && list.count == 1 && list.bytes == mapped && segments[0].host == host + 100);
	ck_assert_int_eq(dma_map(&d, 100 + 4096 * 3, 1, DMA_READ, &list, &mapped),
			 DMA_OK); /* a neighbour on the host */
	ck_assert(mapped == 1 && list.count == 1 && segments[0].bytes == 4096 * 3 + 1);
	ck_assert_int_eq(dma_map(&d, 100, 1, DMA_READ, &list, &mapped), DMA_OK);
	ck_assert(list.count == 2 && segments[1].host == host + 100 && segments[1].bytes == 1);
	ck_assert_int_eq(pins[0], 3996 + 1);
	ck_assert_int_eq(pins[3], 101);
	/* a fault, at once or behind what is there, leaves it as it was */
	before = list;
	ck_assert_int_eq(dma_map(&d, 8 * 4096, 1, DMA_READ, &list, &mapped), DMA_FAULT);
	ck_assert_int_eq(mapped, 0);
	ck_assert_int_eq(dma_map(&d, 101, 8 * 4096, DMA_READ, &list, &mapped), DMA_FAULT);
	ck_assert_int_eq(dma_map(&d, 7 * 4096, 3 * 4096, DMA_READ, &list, &mapped), DMA_FAULT);
	ck_assert_int_eq(dma_map(&d, 9 * 4096, 1, DMA_WRITE, &list, &mapped), DMA_FAULT);
	ck_assert_int_eq(dma_map(&d, 4096, UINT64_MAX, DMA_READ, &list, &mapped), DMA_FAULT);
	ck_assert_int_eq(dma_map(&d, 8 * 4096, 0, DMA_READ, &list, &mapped), DMA_OK);
	ck_assert(memcmp(&list, &before, sizeof(list)) == 0 && segments[1].bytes == 1);
	ck_assert_uint_eq(d.flight.live, 3);
	dma_unmap(&d, &list);
	ck_assert(list.count == 0 && list.bytes == 0 && unpinned());
	dma_unmap(&d, &list);
	list = list_of(ROOM);
	dma_unmap(&d, &list);
	unmake();
}
END_TEST

START_TEST(maps_without_room)
{
	struct dma_list list = list_of(0);
	uint64_t mapped;

	make();
	ck_assert_int_eq(dma_map(&d, 0, 1, RW, &list, &mapped), DMA_OK);
	ck_assert(mapped == 0 && list.count == 0);
	list = list_of(2);
	ck_assert_int_eq(dma_map(&d, 31 * 4096, 8 * 4096, RW, &list, &mapped), DMA_OK);
	ck_assert(mapped == 2 * 4096 && list.count == 2);
	ck_assert_int_eq(dma_map(&d, 0, 8, RW, &list, &mapped), DMA_OK);
	ck_assert(mapped == 0 && list.count == 2);
	ck_assert_int_eq(dma_map(&d, 33 * 4096, 8, RW, &list, &mapped), DMA_OK);
	ck_assert(mapped == 0 && list.bytes == 2 * 4096);
	ck_assert_uint_eq(d.flight.live, 1);
	/* a full list still takes neighbours of its end, and then a fault is one */
	ck_assert_int_eq(dma_map(&d, 32 * 4096, 4096, RW, &list, &mapped), DMA_OK);
	ck_assert_uint_eq(mapped, 0);
	dma_unmap(&d, &list);
	ck_assert_int_eq(dma_map(&d, 7 * 4096, 8, RW, &list, &mapped), DMA_OK);
	list.room = 1;
	ck_assert_int_eq(dma_map(&d, 7 * 4096 + 8, 4096, RW, &list, &mapped), DMA_FAULT);
	ck_assert(list.bytes == 8 && segments[0].bytes == 8);
	ck_assert_int_eq(dma_map(&d, 7 * 4096 + 8, 4088, RW, &list, &mapped), DMA_OK);
	ck_assert(list.bytes == 4096 && list.count == 1);
	dma_unmap(&d, &list);
	unmake();
}
END_TEST

START_TEST(maps_run_out)
{
	struct dma_list lists[FLIGHT_SLOTS], list = list_of(ROOM);
	struct dma_segment one[FLIGHT_SLOTS];
	uint64_t mapped;

	make();
	for (unsigned i = 0; i < FLIGHT_SLOTS - 1; i++) {
		lists[i] = (struct dma_list){.segment = &one[i], .room = 1};
		ck_assert_int_eq(dma_map(&d, i, 1, RW, &lists[i], &mapped), DMA_OK);
	}
	ck_assert_int_eq(dma_map(&d, 0, 1, RW, &list, &mapped), DMA_BUSY);
	ck_assert(mapped == 0 && list.count == 0 && dma_check(&d));
	ck_assert(reads(0, 100) && writes(0, 100)); /* copies go on */
	dma_unmap(&d, &lists[200]);
	ck_assert_int_eq(dma_map(&d, 0, 1, RW, &list, &mapped), DMA_OK);
	dma_unmap(&d, &list);
	for (unsigned i = 0; i < FLIGHT_SLOTS - 1; i++)
		dma_unmap(&d, &lists[i]);
	unmake();
}
END_TEST

static unsigned waits;

static void unmap_later(void *self)
{
	if (++waits == 3)
		dma_unmap(&d, self);
}

/* A frame that is taken away is waited for, and not found any more. */
START_TEST(frames_go)
{
	struct dma_list list = list_of(ROOM);
	uint64_t mapped;

	make();
	ck_assert(reads(0, 8 * 4096) && writes(4096, 1));
	ck_assert_int_eq(dma_map(&d, 4096, 4096, RW, &list, &mapped), DMA_OK);
	dma_drain(&d, 0, 4096, unmap_later, &list);
	dma_drain(&d, 8192, UINT64_MAX, unmap_later, &list);
	dma_drain(&d, 4096, 0, unmap_later, &list);
	ck_assert_uint_eq(waits, 0);
	frame_set(1, 0);
	dma_drain(&d, 4097, 1, unmap_later, &list);
	ck_assert_uint_eq(waits, 3);
	ck_assert(!reads(4096, 1) && reads(0, 4096) && !reads(0, 4097));
	frame_set(1, DMA_READ);
	ck_assert(reads(0, 8192) && !writes(4096, 1));
	frame_set(1, RW); /* given: it is found without more ado */
	ck_assert(writes(4096, 1));
	waits = 0;
	ck_assert_int_eq(dma_map(&d, 0, 1, RW, &list, &mapped), DMA_OK);
	dma_drain(&d, 0, UINT64_MAX, unmap_later, &list);
	ck_assert_uint_eq(waits, 3);
	unmake();
}
END_TEST

START_TEST(the_iotlb_hits)
{
	const struct dma_tlb_entry *entry = &d.tlb[dma_tlb_slot(3 * 4096)];
	uint16_t two;

	make();
	ck_assert(dma_load16(&d, 0, &two) && dma_load16(&d, 2, &two));
	ck_assert(d.stats.misses == 1 && d.stats.hits == 1);
	ck_assert(dma_store16(&d, 0, (uint16_t)(shadow[0] | shadow[1] << 8))); /* another right: one miss */
	ck_assert(dma_load16(&d, 0, &two) && dma_store16(&d, 0, two));
	ck_assert(d.stats.misses == 2 && d.stats.hits == 3);
	ck_assert(dma_load16(&d, 4096, &two)); /* a piece is entered under each page that is asked for */
	ck_assert(dma_load16(&d, 4096, &two));
	ck_assert(d.stats.misses == 3 && d.stats.hits == 4);
	generation++;
	ck_assert(dma_load16(&d, 4096, &two));
	ck_assert(d.stats.misses == 4);
	/* what was not there when it was entered is not there by a second right either, until it is asked for */
	frame_set(5, 0);
	ck_assert(reads(3 * 4096 + 8, 4096) && dma_load16(&d, 3 * 4096, &two)); /* whole pages, as far as asked */
	ck_assert(entry->access == DMA_READ && entry->last == 5 * 4096 - 1);
	frame[5].access = RW;
	ck_assert(dma_store16(&d, 3 * 4096, two) && dma_check(&d));
	ck_assert(entry->access == RW && entry->last == 4 * 4096 - 1);
	ck_assert(reads(3 * 4096, 5 * 4096));
	shadow[3 * 4096] = host[3 * 4096];
	shadow[3 * 4096 + 1] = host[3 * 4096 + 1];
	/* what may only be read goes on being read beside what may be written */
	ck_assert(dma_load16(&d, 9 * 4096, &two) && dma_load16(&d, 10 * 4096, &two));
	ck_assert(!dma_store16(&d, 9 * 4096, two) && dma_load16(&d, 9 * 4096, &two));
	ck_assert(dma_check(&d));
	unmake();
}
END_TEST

/* ---- behind an IOMMU ---- */

START_TEST(faults_are_told)
{
	struct dma_list list = list_of(ROOM);
	struct iommu_fault fault;
	uint64_t mapped;

	memory_make();
	iommu_make();
	dma_init(&d, &memory, &u.endpoint[1], READER);
	ck_assert_uint_eq(u.endpoint[1].flights, 1);
	ck_assert(!dma_read(&d, IOVA + 5, buffer, 1));
	ck_assert(iommu_next_fault(&u, &fault) && fault.reason == VIRTIO_IOMMU_FAULT_DOMAIN && fault.endpoint == 3 &&
		  fault.address == IOVA + 5 && fault.flags == 0x101);
	attach(1, 1, false);
	ck_assert_uint_eq(map(1, IOVA, 4096, 8192, DMA_READ), VIRTIO_IOMMU_S_OK);
	ck_assert_uint_eq(map(1, IOVA + 8192, 8 * 4096, 4096, RW), VIRTIO_IOMMU_S_OK); /* to a hole */
	ck_assert(!dma_write(&d, IOVA + 9, buffer, 1));
	ck_assert(iommu_next_fault(&u, &fault) && fault.reason == VIRTIO_IOMMU_FAULT_MAPPING &&
		  fault.address == IOVA + 9 && fault.flags == 0x102);
	ck_assert_int_eq(dma_map(&d, IOVA, 3 * 4096, DMA_READ, &list, &mapped), DMA_FAULT);
	ck_assert(iommu_next_fault(&u, &fault) && fault.reason == VIRTIO_IOMMU_FAULT_UNKNOWN &&
		  fault.address == IOVA + 8192 && fault.flags == 0x101);
	ck_assert_int_eq(dma_map(&d, IOVA, 2 * 4096, RW, &list, &mapped), DMA_FAULT);
	ck_assert(iommu_next_fault(&u, &fault) && fault.flags == 0x103);
	ck_assert(!dma_read(&d, UINT64_MAX, buffer, 2) && iommu_next_fault(&u, &fault) && fault.address == UINT64_MAX);
	ck_assert(!iommu_next_fault(&u, &fault));
	ck_assert_uint_eq(d.stats.faults, 5);
	ck_assert_uint_eq(iommu_stats_read(&u).faults, 5);
	ck_assert(dma_read(&d, IOVA, buffer, 8192) && memcmp(buffer, host + 4096, 8192) == 0);
	ck_assert(dma_check(&d) && untouched());
	iommu_fini(&u);
}
END_TEST

/* A copy of more pieces than are remembered, in which one goes between looking and moving: a fault, and the rest is
 * what it was. */
START_TEST(taken_meanwhile)
{
	enum { PAGES = DMA_TLB_ENTRIES + 36 };
	static uint8_t large[PAGES * 4096];

	memory_make();
	iommu_make();
	dma_init(&d, &memory, &u.endpoint[0], READER);
	attach(1, 0, false);
	for (unsigned i = 0; i < PAGES; i++)
		ck_assert_uint_eq(map(1, IOVA + i * 4096, 0, 4096, RW), VIRTIO_IOMMU_S_OK);
	memset(buffer, 0x77, sizeof(buffer));
	ck_assert(dma_read(&d, IOVA, buffer, 60 * 4096)); /* all pieces are the first frame */
	for (unsigned i = 0; i < 60 * 4096; i++)
		MUST(buffer[i] == shadow[i % 4096]);
	memset(host, 0x55, 4096);
	ck_assert(dma_read(&d, IOVA, buffer, 60 * 4096) && buffer[59 * 4096 + 4095] == 0x55);
	generation++;
	vanish_in = PAGES + 2;
	ck_assert(!dma_read(&d, IOVA, large, sizeof(large))); /* more than there are slots: all looked at, two anew */
	ck_assert_uint_eq(vanish_in, 0);
	ck_assert_uint_eq(d.stats.faults, 1);
	ck_assert_uint_eq(d.flight.live, 0);
	frame[0].access = RW;
	ck_assert(dma_check(&d) && dma_read(&d, IOVA, large, sizeof(large)));
	iommu_fini(&u);
}
END_TEST

/* A miss goes on over the leaves that lie on the host as they do for the device, but for 16 pages at most: were the
 * host's memory in pieces, each of them would else walk all the rest. */
START_TEST(a_miss_reaches)
{
	struct dma_list list = list_of(ROOM);
	uint64_t mapped;

	memory_make();
	iommu_make();
	dma_init(&d, &memory, &u.endpoint[0], READER);
	attach(1, 0, false);
	for (unsigned i = 0; i < 22; i++) /* to frames 10 to 31, each a leaf */
		ck_assert_uint_eq(map(1, IOVA + i * 4096, (10 + i) * 4096, 4096, RW), VIRTIO_IOMMU_S_OK);
	ck_assert(dma_read(&d, IOVA + 5, buffer, 16 * 4096 - 5) && d.stats.misses == 1);
	ck_assert(memcmp(buffer, host + 10 * 4096 + 5, 16 * 4096 - 5) == 0);
	generation++;
	ck_assert(dma_read(&d, IOVA, buffer, 22 * 4096) && d.stats.misses == 3);
	ck_assert(memcmp(buffer, host + 10 * 4096, 22 * 4096) == 0);
	generation++;
	ck_assert_int_eq(dma_map(&d, IOVA + 7, 22 * 4096 - 7, RW, &list, &mapped), DMA_OK);
	ck_assert(mapped == 22 * 4096 - 7 && list.count == 1 && d.stats.misses == 5); /* one segment all the same */
	dma_unmap(&d, &list);
	ck_assert(dma_check(&d));
	ck_assert(untouched() && unpinned());
	iommu_fini(&u);
}
END_TEST

/* A mapping that a device may only write: legal, and not to be read. */
START_TEST(write_only)
{
	uint16_t two = 7;

	memory_make();
	iommu_make();
	dma_init(&d, &memory, &u.endpoint[0], READER);
	attach(1, 0, false);
	ck_assert_uint_eq(map(1, IOVA, 4096, 4096, DMA_WRITE), VIRTIO_IOMMU_S_OK);
	ck_assert(dma_store16(&d, IOVA, 0x1234));
	shadow[4096] = 0x34;
	shadow[4097] = 0x12;
	ck_assert(!dma_load16(&d, IOVA, &two) && two == 7);
	ck_assert(dma_store16(&d, IOVA, 0x1234) && untouched() && dma_check(&d));
	iommu_fini(&u);
}
END_TEST

/* ---- at random ---- */

#define PAGES 48u /* iovas, from IOVA on: across a boundary of 2M and of 1G */
#define BASE  (IOVA - 16 * 4096)
#define LISTS 6u

static struct held {
	struct dma_list list;
	struct dma_segment segment[8];
	unsigned queue, access;
	uint64_t iova[8], bytes[8]; /* what was mapped into it */
	unsigned parts;
} held[LISTS];
static struct dma queues[2];

/* Where the model says that one byte is, or -1. */
static int64_t model_byte(unsigned n, uint64_t iova, unsigned access)
{
	struct model_mapping m;
	uint8_t reason;
	uint64_t gpa;

	if (!model_translate(&model, n, iova, access, &m, &reason))
		return -1;
	gpa = m.phys + (iova - m.first);
	return allowed(gpa, access) ? (int64_t)(frame[gpa / 4096].page * 4096u + gpa % 4096) : -1;
}

/* Bytes from iova on that the model has. */
static uint64_t model_bytes(unsigned n, uint64_t iova, uint64_t bytes, unsigned access)
{
	uint64_t i = 0;

	while (i < bytes && model_byte(n, iova + i, access) >= 0)
		i += i + 4096 - (iova + i) % 4096 <= bytes ? 4096 - (iova + i) % 4096 : bytes - i;
	return i;
}

static void random_copy(unsigned n, uint64_t iova, uint64_t bytes, bool write)
{
	unsigned access = write ? DMA_WRITE : DMA_READ;
	bool want = model_bytes(n, iova, bytes, access) == bytes, ok;

	for (uint64_t i = 0; write && i < bytes; i++)
		buffer[i] = (uint8_t)below(256);
	ok = write ? dma_write(&queues[n], iova, buffer, bytes) : dma_read(&queues[n], iova, buffer, bytes);
	MUST(ok == want);
	for (uint64_t i = 0; ok && i < bytes; i++) {
		uint8_t *at = &shadow[model_byte(n, iova + i, access)];

		if (write)
			*at = buffer[i];
		else
			MUST(*at == buffer[i]);
	}
}

/* The list's bytes are the model's, one by one. */
static void held_compare(const struct held *h, unsigned part, uint64_t offset)
{
	uint64_t at = 0, i = 0;

	for (unsigned s = 0; s < h->list.count; at += h->segment[s++].bytes)
		for (; i < h->bytes[part] && offset + i < at + h->segment[s].bytes; i += 512)
			MUST(h->segment[s].host + (offset + i - at) ==
			     host + model_byte(h->queue, h->iova[part] + i, h->access));
	MUST(i >= h->bytes[part]);
}

static void random_map(struct held *h, unsigned n, uint64_t iova, uint64_t bytes)
{
	uint64_t had = h->list.bytes, mapped, there;
	enum dma_result result;

	if (h->parts == 0) {
		h->list = (struct dma_list){.segment = h->segment, .room = (unsigned)below(9)};
		h->queue = n;
		h->access = 1 + (unsigned)below(3);
	}
	there = model_bytes(h->queue, iova, bytes, h->access);
	result = dma_map(&queues[h->queue], iova, bytes, h->access, &h->list, &mapped);
	MUST(h->list.bytes == had + mapped);
	MUST(result == DMA_OK || (result == DMA_FAULT && mapped == 0 && there < bytes));
	MUST(result == DMA_FAULT || mapped <= there);
	MUST(result == DMA_FAULT || mapped == bytes || h->list.count == h->list.room);
	for (unsigned s = 1; s < h->list.count; s++)
		MUST(h->segment[s].host != h->segment[s - 1].host + h->segment[s - 1].bytes);
	if (mapped == 0)
		return;
	h->iova[h->parts] = iova;
	h->bytes[h->parts++] = mapped;
	held_compare(h, h->parts - 1, had);
}

static void held_free(struct held *h)
{
	dma_unmap(&queues[h->queue], &h->list);
	h->parts = 0;
}

/* The driver waits for what it takes away, so the devices have to be done with it. */
static void quiet(void)
{
	for (unsigned i = 0; i < LISTS; i++)
		if (held[i].parts > 0)
			held_free(&held[i]);
}

static void random_driver(void)
{
	uint64_t page = below(PAGES), pages = 1 + below(6), iova = BASE + page * 4096;
	uint32_t domain = 1 + (uint32_t)below(2);
	unsigned n = (unsigned)below(2);

	switch (below(12)) {
	case 0:
	case 1:
		quiet();
		(void)unmap(domain, iova, pages * 4096);
		break;
	case 2:
		quiet();
		(void)unmap(domain, iova, PAGES * 4096);
		break;
	case 3:
		quiet();
		if (below(30) == 0)
			attach(domain + (below(8) ? 0 : 10), n, below(8) == 0);
		break;
	case 4:
		quiet();
		if (below(8) == 0)
			iommu_set_bypass(&u, model.bypass = !model.bypass);
		break;
	case 5:
		quiet();
		frame_set((unsigned)below(FRAMES), below(4) ? RW : (unsigned)below(4));
		break;
	default:
		(void)map(domain, iova, below(FRAMES + 4 - pages) * 4096, pages * 4096, 1 + (uint32_t)below(3));
	}
}

static void random_op(void)
{
	struct held *h = &held[below(LISTS)];
	unsigned n = (unsigned)below(2);
	uint64_t iova = BASE + below(PAGES * 4096), bytes = below(2) ? below(256) : below(5 * 4096);

	if (below(8) == 0)
		iova &= ~UINT64_C(4095);
	if (!model.at[n] && below(2))
		iova -= BASE; /* bypass */
	switch (below(8)) {
	case 0:
		random_driver();
		break;
	case 1:
	case 2:
		random_copy(n, iova, bytes, false);
		break;
	case 3:
	case 4:
		random_copy(n, iova, bytes, true);
		break;
	case 5:
		if (h->parts > 0)
			held_free(h);
		break;
	default:
		if (h->parts < 8)
			random_map(h, n, iova, bytes + 1);
	}
}

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define OPS 40000u
#else
#define OPS 250000u
#endif

START_TEST(random_dma)
{
	struct iommu_fault fault;

	seed(800 + (uint64_t)_i);
	memory_make();
	iommu_make();
	for (unsigned n = 0; n < 2; n++) {
		dma_init(&queues[n], &memory, &u.endpoint[n], n);
		attach(1, n, false);
	}
	for (unsigned i = 0; i < OPS; i++) {
		random_op();
		while (iommu_next_fault(&u, &fault))
			;
		if (i % 32 == 0)
			MUST(untouched() && dma_check(&queues[0]) && dma_check(&queues[1]));
		if (i % 512 == 0)
			ck_assert(iommu_check(&u));
	}
	quiet();
	ck_assert(unpinned() && untouched());
	for (unsigned n = 0; n < 2; n++) {
		ck_assert(dma_check(&queues[n]) && queues[n].flight.live == 0);
		ck_assert_uint_gt(queues[n].stats.hits, OPS / 100);
		ck_assert_uint_gt(queues[n].stats.copied, OPS);
		ck_assert_uint_gt(queues[n].stats.mapped, OPS);
	}
	iommu_fini(&u);
}
END_TEST

/* ---- queues beside a driver ---- */

#define QUEUES	3u /* two of the first endpoint, one of the second */
#define SHARED	8u /* pages that all go by, each queue in its own part */
#define PART	1024u
#define SECONDS 3

static struct dma beside[QUEUES];
static uint64_t over, touches[QUEUES]; /* over: atomic */

static void *queue(void *self)
{
	unsigned me = (unsigned)((struct dma *)self - beside);
	struct dma *q = self;
	uint64_t x = me + 1, done = 0;
	uint8_t bytes[PART];

	memset(bytes, 0x11, sizeof(bytes));
	while (!__atomic_load_n(&over, __ATOMIC_RELAXED)) {
		uint64_t iova = INPUT_FIRST + me * PART, mapped;
		struct dma_segment segment[2];
		struct dma_list list = {.segment = segment, .room = 2};
		uint16_t two;

		x = x * 6364136223846793005u + 1442695040888963407u;
		iova += (x >> 40) % SHARED * 4096;
		switch (x >> 61) {
		case 0:
			done += dma_read(q, iova, bytes, PART);
			break;
		case 1:
		case 2:
			done += dma_write(q, iova, bytes, PART);
			break;
		case 3:
			done += dma_store16(q, iova, 0x2222) && dma_load16(q, iova, &two);
			break;
		default:
			if (dma_map(q, iova, PART, RW, &list, &mapped) != DMA_OK)
				break;
			memset(segment[0].host, 0x33, PART);
			if (x & 64)
				sched_yield();
			memset(segment[0].host, 0x44, PART);
			dma_unmap(q, &list);
			done++;
		}
		if ((x >> 20) % 16 == 0)
			sched_yield();
	}
	touches[me] = done;
	return NULL;
}

/* Frame n is ours alone: plain writes, which a device that still uses it would spoil, or be seen by TSan at. */
static void poison(unsigned n)
{
	uint8_t *at = host + frame[n].page * 4096u;

	memset(at, 0xee, 4096);
	for (unsigned i = 0; i < 300; i++)
		__builtin_ia32_pause();
	for (unsigned i = 0; i < 4096; i++)
		MUST(at[i] == 0xee);
}

static unsigned where[SHARED]; /* the frame that page i is mapped to, or FRAMES */

static void driver_map(unsigned i)
{
	unsigned n = 256; /* gpas beside the iovas: a bypass finds other frames */

	n = i + (unsigned)below(2) * SHARED;
	if (where[i] == FRAMES && map(1, INPUT_FIRST + i * 4096u, n * 4096u, 4096, RW) == VIRTIO_IOMMU_S_OK)
		where[i] = n;
}

static void driver_unmap_all(void)
{
	for (unsigned i = 0; i < SHARED; i++) {
		if (where[i] != FRAMES)
			poison(where[i]);
		where[i] = FRAMES;
	}
}

static void driver_round(void)
{
	unsigned i = (unsigned)below(SHARED), n = where[i];
	struct iommu_fault fault;

	switch (below(64)) {
	case 0: /* all endpoints go, and with them the domain */
		for (unsigned e = 0; e < 2; e++)
			ck_assert_uint_eq(iommu_detach(&u, 1, model_endpoint_id(e)),
					  model_detach(&model, 1, model_endpoint_id(e)));
		driver_unmap_all();
		for (unsigned e = 0; e < 2; e++)
			attach(1, e, false);
		break;
	case 1: /* a frame goes, whatever is mapped to it */
		frame_set(i, 0);
		for (unsigned q = 0; q < QUEUES; q++)
			dma_drain(&beside[q], 0, UINT64_MAX, yield, NULL);
		poison(i);
		frame_set(i, RW);
		break;
	case 2:
		MUST(unmap(1, INPUT_FIRST, SHARED * 4096) == VIRTIO_IOMMU_S_OK);
		driver_unmap_all();
		break;
	case 3: /* moves to another domain and back: frames of the first are not the second's */
		attach(2, 0, below(2));
		attach(2, 1, model.at[0]->bypass);
		driver_unmap_all();
		attach(1, 0, false);
		attach(1, 1, false);
		break;
	default:
		MUST(unmap(1, INPUT_FIRST + i * 4096u, 4096) == VIRTIO_IOMMU_S_OK);
		if (n != FRAMES)
			poison(n);
		where[i] = FRAMES;
		driver_map((unsigned)below(SHARED));
		driver_map(i);
	}
	while (iommu_next_fault(&u, &fault))
		;
}

START_TEST(queues_beside_a_driver)
{
	time_t end = time(NULL) + SECONDS;
	pthread_t threads[QUEUES];
	uint64_t rounds = 0, done = 0;

	seed(900);
	memory_make();
	iommu_make();
	frame[8].access = frame[9].access = RW;
	for (unsigned q = 0; q < QUEUES; q++)
		dma_init(&beside[q], &memory, &u.endpoint[q / 2], q);
	for (unsigned e = 0; e < 2; e++)
		attach(1, e, false);
	for (unsigned i = 0; i < SHARED; i++)
		where[i] = FRAMES;
	for (unsigned q = 0; q < QUEUES; q++)
		ck_assert_int_eq(pthread_create(&threads[q], NULL, queue, &beside[q]), 0);
	for (; time(NULL) < end || rounds < 200; rounds++)
		driver_round();
	__atomic_store_n(&over, 1, __ATOMIC_RELAXED);
	for (unsigned q = 0; q < QUEUES; q++) {
		pthread_join(threads[q], NULL);
		ck_assert(dma_check(&beside[q]) && beside[q].flight.live == 0);
		done += touches[q];
	}
	ck_assert_uint_gt(done, 0);
	ck_assert(iommu_check(&u) && unpinned());
	iommu_fini(&u);
}
END_TEST

/* ---- the check ---- */

#define BROKEN(change, back)                                                                                           \
	do {                                                                                                           \
		change;                                                                                                \
		ck_assert_msg(!dma_check(&d), "%s does not matter", #change);                                          \
		back;                                                                                                  \
		ck_assert_msg(dma_check(&d), "%s was not put back", #change);                                          \
	} while (0)

START_TEST(check_objects)
{
	struct dma_tlb_entry *entry = &d.tlb[dma_tlb_slot(4096)], was;

	make();
	ck_assert(reads(4096, 10));
	ck_assert(dma_check(&d));
	was = *entry;
	BROKEN(entry->host = NULL, *entry = was); /* I1 */
	BROKEN(entry->access = 0, *entry = was);
	BROKEN(entry->access = 5, *entry = was);
	BROKEN(entry->host++, *entry = was); /* I2 */
	BROKEN(entry->last = 8 * 4096, *entry = was);
	BROKEN(entry->first -= 8, *entry = was);
	BROKEN(frame[1].access = 0, frame[1].access = RW);
	BROKEN((frame[1].access = DMA_READ, entry->access = RW), (frame[1].access = RW, *entry = was));
	BROKEN((d.flight.live = FLIGHT_SLOTS), (d.flight.live = 0)); /* I3 */
	entry->host++; /* of an older generation: not to be used any more */
	generation++;
	ck_assert(dma_check(&d));
	unmake();
}
END_TEST

Suite *dma_suite(void);

Suite *dma_suite(void)
{
	Suite *suite = suite_create("dma");
	TCase *plain = tcase_create("plain"), *random = tcase_create("random");

	tcase_add_test(plain, copies);
	tcase_add_test(plain, words);
	tcase_add_test(plain, maps);
	tcase_add_test(plain, maps_without_room);
	tcase_add_test(plain, maps_run_out);
	tcase_add_test(plain, frames_go);
	tcase_add_test(plain, the_iotlb_hits);
	tcase_add_test(plain, faults_are_told);
	tcase_add_test(plain, write_only);
	tcase_add_test(plain, a_miss_reaches);
	tcase_add_test(plain, taken_meanwhile);
	tcase_add_test(plain, check_objects);
	suite_add_tcase(suite, plain);
	tcase_add_loop_test(random, random_dma, 0, 4);
	tcase_add_test(random, queues_beside_a_driver);
	tcase_set_timeout(random, 60);
	suite_add_tcase(suite, random);
	return suite;
}
