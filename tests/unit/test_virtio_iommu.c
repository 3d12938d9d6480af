/* The virtio IOMMU as its driver sees it: each rule of VIRTIO 1.2, 5.13 that binds the device is a test, named or
 * cited; then what Linux's driver does; then random requests and accesses beside a naive model, with a shadow. */
#include <check.h>
#undef fail

#include "tests/unit/iommu_guest.h"
#include "tests/unit/random.h"

Suite *virtio_iommu_suite(void);

#define PAGE   FAKE_DMA_PAGE
#define QUEUE  16u
#define OK     VIRTIO_IOMMU_S_OK
#define INVAL  VIRTIO_IOMMU_S_INVAL
#define RANGE  VIRTIO_IOMMU_S_RANGE
#define NOENT  VIRTIO_IOMMU_S_NOENT
#define FIRST  (iommu_guest_id[0])
#define SECOND (iommu_guest_id[1])
#define BIT(n) (UINT64_C(1) << (n))
#define RW     (VIRTIO_IOMMU_MAP_READ | VIRTIO_IOMMU_MAP_WRITE)
#define IOVA   UINT64_C(0x40000)
#define PROBED (VIRTIO_IOMMU_PROBE_SIZE + 4)

static struct iommu_guest g;
static uint8_t got[2 * PROBED];

/* Every other time with a packed ring. */
static void begin(int packed, bool bypass)
{
	iommu_guest_init(&g, packed, bypass);
	iommu_guest_start(&g, 0, QUEUE);
}

static void end(void)
{
	ck_assert(virtio_check(&g.v.virtio));
	ck_assert(iommu_check(&g.iommu));
	iommu_guest_free(&g);
}

static int say(const void *said, unsigned bytes, unsigned room)
{
	return iommu_guest_request(&g, said, bytes, room, 512, got);
}

/* A request with room for its tail; its status. */
static uint8_t ask(const void *said, unsigned bytes)
{
	ck_assert_int_eq(say(said, bytes, 4), 4);
	ck_assert(!got[1] && !got[2] && !got[3]);
	return got[0];
}

static uint8_t attach_flags(uint32_t domain, uint32_t endpoint, uint32_t flags)
{
	struct virtio_iommu_attach r = {{VIRTIO_IOMMU_T_ATTACH, {0}}, domain, endpoint, flags, {0}};

	return ask(&r, sizeof(r));
}

static uint8_t attach(uint32_t domain, uint32_t endpoint)
{
	return attach_flags(domain, endpoint, 0);
}

static uint8_t detach(uint32_t domain, uint32_t endpoint)
{
	struct virtio_iommu_detach r = {{VIRTIO_IOMMU_T_DETACH, {0}}, domain, endpoint, {0}};

	return ask(&r, sizeof(r));
}

static uint8_t map(uint32_t domain, uint64_t first, uint64_t last, uint64_t phys, uint32_t flags)
{
	struct virtio_iommu_map r = {{VIRTIO_IOMMU_T_MAP, {0}}, domain, first, last, phys, flags};

	return ask(&r, sizeof(r));
}

static uint8_t map_pages(uint32_t domain, uint64_t page, uint64_t pages)
{
	return map(domain, IOVA + page * PAGE, IOVA + (page + pages) * PAGE - 1, IOMMU_GUEST_RAM, RW);
}

static uint8_t unmap(uint32_t domain, uint64_t first, uint64_t last)
{
	struct virtio_iommu_unmap r = {{VIRTIO_IOMMU_T_UNMAP, {0}}, domain, first, last, {0}};

	return ask(&r, sizeof(r));
}

static uint8_t unmap_pages(uint32_t domain, uint64_t page, uint64_t pages)
{
	return unmap(domain, IOVA + page * PAGE, IOVA + (page + pages) * PAGE - 1);
}

static bool reads(unsigned e, uint64_t iova)
{
	uint32_t word;

	return dma_read(&g.device[e], iova, &word, sizeof(word));
}

static bool writes(unsigned e, uint64_t iova)
{
	uint32_t word = 0x12345678;

	return dma_write(&g.device[e], iova, &word, sizeof(word));
}

/* ---- features and configuration ---- */

/* 5.13.3.2 */
START_TEST(offers_map_unmap_and_the_newer_bypass)
{
	begin(_i, false);
	ck_assert(g.v.virtio.offered & BIT(VIRTIO_IOMMU_F_MAP_UNMAP));
	ck_assert(g.v.virtio.offered & BIT(VIRTIO_IOMMU_F_BYPASS_CONFIG));
	ck_assert(!(g.v.virtio.offered & BIT(VIRTIO_IOMMU_F_BYPASS)));
	ck_assert(!(g.v.virtio.offered & BIT(VIRTIO_F_ACCESS_PLATFORM))); /* its own queues hold gpas */
	ck_assert_uint_eq(g.v.virtio.offered >> VIRTIO_F_RING_PACKED & 1, _i);
	ck_assert_uint_eq(g.v.virtio.config.id, VIRTIO_ID_IOMMU);
	end();
}
END_TEST

static uint64_t config(unsigned offset, unsigned width)
{
	return g.v.virtio.config.ops->read_config(&g.v, offset, width);
}

static void config_write(unsigned offset, unsigned width, uint64_t value)
{
	g.v.virtio.config.ops->write_config(&g.v, offset, width, value);
}

/* 5.13.4, 5.13.4.2 */
START_TEST(config_says_what_can_be_mapped)
{
	begin(0, false);
	ck_assert_uint_eq(config(0, 8), 0x40201000); /* at least one bit */
	ck_assert_uint_eq(config(0, 4), 0x40201000);
	ck_assert_uint_eq(config(8, 8), iommu_guest_input.first);
	ck_assert_uint_eq(config(16, 8), iommu_guest_input.last);
	ck_assert_uint_eq(config(20, 4), iommu_guest_input.last >> 32);
	ck_assert_uint_eq(config(24, 4), 0);
	ck_assert_uint_eq(config(28, 4), IOMMU_GUEST_DOMAIN_LAST);
	ck_assert_uint_eq(config(32, 4), VIRTIO_IOMMU_PROBE_SIZE);
	ck_assert_uint_eq(config(36, 4), 0);
	ck_assert_uint_eq(g.v.virtio.config.config_bytes, 40);
	end();
}
END_TEST

/* 5.13.4.1, 5.13.4.2: bypass is 0 or 1, and nothing else can be written. */
START_TEST(bypass_alone_can_be_written)
{
	begin(0, _i);
	ck_assert_uint_eq(config(36, 1), _i);
	config_write(36, 1, !_i);
	ck_assert_uint_eq(config(36, 1), !_i);
	ck_assert(iommu_bypass(&g.iommu) == !_i);
	config_write(36, 1, 2);
	config_write(36, 4, _i);
	config_write(37, 1, 1);
	ck_assert_uint_eq(config(36, 4), !_i);
	for (unsigned offset = 0; offset < 36; offset += 4) {
		uint64_t before = config(offset, 4);

		config_write(offset, 4, ~before);
		ck_assert_uint_eq(config(offset, 4), before);
	}
	end();
}
END_TEST

/* 5.13.4.2: a reset of the device leaves it; 5.13.6: it holds whether or not the driver knows it. */
START_TEST(bypass_outlives_a_reset)
{
	begin(0, true);
	config_write(36, 1, 0);
	virtio_set_status(&g.v.virtio, 0);
	ck_assert_uint_eq(config(36, 1), 0);
	ck_assert(!reads(0, IOMMU_GUEST_RAM));
	iommu_guest_start(&g, BIT(VIRTIO_IOMMU_F_BYPASS_CONFIG), QUEUE);
	config_write(36, 1, 1); /* not accepted: not written */
	ck_assert(!reads(0, IOMMU_GUEST_RAM));
	iommu_guest_start(&g, 0, QUEUE);
	config_write(36, 1, 1);
	iommu_guest_start(&g, BIT(VIRTIO_IOMMU_F_BYPASS_CONFIG), QUEUE);
	ck_assert(reads(0, IOMMU_GUEST_RAM));
	end();
}
END_TEST

/* 5.13.5 */
START_TEST(after_a_reset_no_endpoint_is_attached)
{
	begin(_i, false);
	ck_assert_uint_eq(attach(1, FIRST), OK);
	ck_assert_uint_eq(map_pages(1, 0, 1), OK);
	ck_assert(reads(0, IOVA));
	ck_assert(!reads(0, IOVA + PAGE)); /* its record waits, and is gone with the driver */
	virtio_set_status(&g.v.virtio, 0);
	ck_assert_uint_eq(iommu_stats_read(&g.iommu).domains, 0);
	ck_assert_uint_eq(iommu_stats_read(&g.iommu).mappings, 0);
	ck_assert_uint_eq(iommu_stats_read(&g.iommu).table_bytes, 0);
	iommu_guest_start(&g, 0, QUEUE);
	ck_assert(!reads(0, IOVA));
	iommu_guest_lend(&g, 0, 24);
	iommu_guest_lend(&g, 1, 24);
	virtio_notify(&g.v.virtio, VIRTIO_IOMMU_QUEUE_EVENT);
	ck_assert_uint_eq(g.v.stats.events, 1); /* of the access behind the reset */
	ck_assert_uint_eq(map_pages(1, 0, 1), NOENT);
	end();
}
END_TEST

/* ---- 5.13.6: requests at large ---- */

/* 5.13.6.2 */
START_TEST(unknown_type_is_not_written)
{
	static const uint8_t types[] = {0, 6, 77, 255};
	struct virtio_iommu_attach r = {{0, {0}}, 1, FIRST, 0, {0}};

	begin(_i, false);
	for (unsigned i = 0; i < sizeof(types); i++) {
		r.head.type = types[i];
		ck_assert_int_eq(say(&r, sizeof(r), 4), 0);
		ck_assert(got[0] == 0xee && got[3] == 0xee);
	}
	ck_assert_uint_eq(g.v.stats.requests[0], sizeof(types));
	ck_assert_uint_eq(g.v.stats.refused, sizeof(types));
	end();
}
END_TEST

/* 5.13.6.5, 5.13.6.7.2: MAP and PROBE are there for who accepted them. */
START_TEST(request_without_its_feature_is_not_known)
{
	struct virtio_iommu_probe r = {.head = {VIRTIO_IOMMU_T_PROBE, {0}}, .endpoint = FIRST};
	struct virtio_iommu_map m = {{VIRTIO_IOMMU_T_MAP, {0}}, 1, 0x1000, 0x1fff, 0x1000, RW};
	struct virtio_iommu_unmap u = {{VIRTIO_IOMMU_T_UNMAP, {0}}, 1, 0x1000, 0x1fff, {0}};

	begin(_i, false);
	iommu_guest_start(&g, BIT(VIRTIO_IOMMU_F_PROBE) | BIT(VIRTIO_IOMMU_F_MAP_UNMAP), QUEUE);
	ck_assert_int_eq(say(&r, sizeof(r), PROBED), 0);
	ck_assert_uint_eq(got[0], 0xee);
	ck_assert_uint_eq(attach(1, FIRST), OK);
	ck_assert_int_eq(say(&m, sizeof(m), 4), 0);
	ck_assert_int_eq(say(&u, sizeof(u), 4), 0);
	ck_assert_uint_eq(iommu_stats_read(&g.iommu).mappings, 0);
	end();
}
END_TEST

/* 5.13.6.2 */
START_TEST(reserved_of_the_head_is_ignored_and_of_the_tail_is_zero)
{
	struct virtio_iommu_attach r = {{VIRTIO_IOMMU_T_ATTACH, {1, 2, 3}}, 1, FIRST, 0, {0}};

	begin(_i, false);
	ck_assert_uint_eq(ask(&r, sizeof(r)), OK);
	end();
}
END_TEST

/* 5.13.6: a request without a tail, or of a framing that hides it, is returned as it is. */
START_TEST(no_tail_no_answer_no_deed)
{
	static const unsigned rooms[] = {0, 1, 3, PROBED + 1, 2 * PROBED};
	struct virtio_iommu_attach r = {{VIRTIO_IOMMU_T_ATTACH, {0}}, 1, FIRST, 0, {0}};

	begin(_i, false);
	for (unsigned i = 0; i < 5; i++) {
		ck_assert_int_eq(say(&r, sizeof(r), rooms[i]), 0);
		for (unsigned k = 0; k < rooms[i]; k++)
			ck_assert_uint_eq(got[k], 0xee);
	}
	ck_assert_uint_eq(iommu_stats_read(&g.iommu).domains, 0);
	ck_assert_uint_eq(g.v.stats.refused, 5);
	ck_assert(virtio_running(&g.v.virtio));
	end();
}
END_TEST

START_TEST(short_request_is_invalid)
{
	static const unsigned sizes[] = {0, 20, 20, 36, 28, 72};
	uint8_t said[72] = {0};

	begin(_i, false);
	for (unsigned type = 1; type <= 5; type++) {
		said[0] = (uint8_t)type;
		ck_assert_uint_eq(ask(said, sizes[type] - 1), INVAL);
		ck_assert_uint_eq(ask(said, 4), INVAL);
	}
	ck_assert_int_eq(say(said, 3, 4), 0); /* no whole head */
	ck_assert_int_eq(say(said, 0, 4), 0);
	ck_assert_uint_eq(iommu_stats_read(&g.iommu).domains, 0);
	end();
}
END_TEST

/* 2.7.4: how the driver cuts it means nothing. What is longer than we know is a later version's. */
START_TEST(framing_means_nothing)
{
	uint8_t said[100] = {VIRTIO_IOMMU_T_ATTACH, 0, 0, 0, 1, 0, 0, 0, 3, 0, 0, 0};

	begin(_i, false);
	iommu_guest_start(&g, 0, 64);
	ck_assert_int_eq(iommu_guest_request(&g, said, 20, 4, 1, got), 4);
	ck_assert_uint_eq(got[0], OK);
	said[4] = 2;
	ck_assert_int_eq(iommu_guest_request(&g, said, 20, 4, 3, got), 4);
	ck_assert_uint_eq(got[0], OK);
	said[4] = 4;
	memset(said + 20, 0xff, 80);
	ck_assert_int_eq(iommu_guest_request(&g, said, 100, 4, 7, got), 4);
	ck_assert_uint_eq(got[0], OK);
	ck_assert_uint_eq(g.iommu.endpoint[0].domain->id, 4);
	said[4] = 5;
	ck_assert_int_eq(iommu_guest_request(&g, said, 20, 12, 5, got), 12); /* the tail is the last of it */
	for (unsigned i = 0; i < 12; i++)
		ck_assert_uint_eq(got[i], 0);
	ck_assert_uint_eq(g.iommu.endpoint[0].domain->id, 5);
	end();
}
END_TEST

/* 5.13.6.2 */
START_TEST(unattached_endpoint_has_no_access)
{
	begin(0, false);
	fake_dma_forget(&g.f);
	ck_assert(!reads(0, IOMMU_GUEST_RAM) && !writes(1, IOMMU_GUEST_RAM));
	ck_assert_uint_eq(fake_dma_touched_all(&g.f, DMA_READ | DMA_WRITE), 0);
	end();
}
END_TEST

/* ---- 5.13.6.3.2: ATTACH ---- */

START_TEST(attach_rejects_what_is_reserved)
{
	struct virtio_iommu_attach r = {{VIRTIO_IOMMU_T_ATTACH, {0}}, 1, FIRST, 0, {0}};

	begin(_i, false);
	for (unsigned i = 0; i < 4; i++) {
		r.reserved[i] = 1;
		ck_assert_uint_eq(ask(&r, sizeof(r)), INVAL);
		r.reserved[i] = 0;
	}
	for (unsigned i = 1; i < 32; i++)
		ck_assert_uint_eq(attach_flags(1, FIRST, UINT32_C(1) << i), INVAL);
	ck_assert_uint_eq(iommu_stats_read(&g.iommu).domains, 0);
	end();
}
END_TEST

START_TEST(attach_judges_endpoint_and_domain)
{
	begin(_i, false);
	ck_assert_uint_eq(attach(1, 12345), NOENT);
	ck_assert_uint_eq(attach(IOMMU_GUEST_DOMAIN_LAST + 1, FIRST), RANGE);
	ck_assert_uint_eq(attach(1, FIRST), OK);
	ck_assert_uint_eq(attach(1, SECOND), OK); /* two to one domain */
	ck_assert_uint_eq(attach(1, SECOND), OK);
	ck_assert_uint_eq(map_pages(1, 0, 1), OK);
	ck_assert(reads(0, IOVA) && reads(1, IOVA));
	end();
}
END_TEST

START_TEST(bypass_domain_is_the_identity)
{
	begin(_i, false);
	ck_assert_uint_eq(attach_flags(1, FIRST, VIRTIO_IOMMU_ATTACH_BYPASS), OK);
	ck_assert(reads(0, IOMMU_GUEST_RAM) && writes(0, IOMMU_GUEST_RAM));
	ck_assert_uint_eq(attach(1, SECOND), INVAL); /* not consistent with what it is */
	ck_assert_uint_eq(map_pages(1, 0, 1), INVAL);
	ck_assert_uint_eq(unmap_pages(1, 0, 1), INVAL);
	ck_assert_uint_eq(attach(2, SECOND), OK);
	ck_assert_uint_eq(attach_flags(2, FIRST, VIRTIO_IOMMU_ATTACH_BYPASS), INVAL);
	ck_assert(reads(0, IOMMU_GUEST_RAM)); /* still as it was */
	iommu_guest_start(&g, BIT(VIRTIO_IOMMU_F_BYPASS_CONFIG), QUEUE);
	ck_assert_uint_eq(attach_flags(1, FIRST, VIRTIO_IOMMU_ATTACH_BYPASS), INVAL);
	end();
}
END_TEST

START_TEST(attach_elsewhere_detaches_first)
{
	begin(_i, false);
	ck_assert_uint_eq(attach(1, FIRST), OK);
	ck_assert_uint_eq(map_pages(1, 0, 1), OK);
	ck_assert(reads(0, IOVA));
	ck_assert_uint_eq(attach(2, FIRST), OK);
	ck_assert(!reads(0, IOVA));
	ck_assert_uint_eq(map_pages(1, 1, 1), NOENT); /* it was alone there */
	end();
}
END_TEST

/* ---- 5.13.6.4.2: DETACH ---- */

START_TEST(detach_takes_every_mapping_away)
{
	struct virtio_iommu_detach r = {{VIRTIO_IOMMU_T_DETACH, {9, 9, 9}}, 1, FIRST, {1, 2, 3, 4, 5, 6, 7, 8}};

	begin(_i, false);
	ck_assert_uint_eq(attach(1, FIRST), OK);
	ck_assert_uint_eq(attach(1, SECOND), OK);
	ck_assert_uint_eq(map_pages(1, 0, 2), OK);
	ck_assert(reads(0, IOVA) && reads(1, IOVA));
	ck_assert_uint_eq(detach(1, 12345), NOENT);
	ck_assert_uint_eq(detach(2, FIRST), INVAL);
	ck_assert_uint_eq(ask(&r, sizeof(r)), OK); /* reserved is ignored */
	ck_assert(!reads(0, IOVA) && !writes(0, IOVA + PAGE) && reads(1, IOVA));
	ck_assert_uint_eq(detach(1, FIRST), INVAL);
	ck_assert_uint_eq(detach(1, SECOND), OK);
	ck_assert_uint_eq(attach(1, FIRST), OK); /* another domain of this id: empty */
	ck_assert(!reads(0, IOVA));
	end();
}
END_TEST

/* 5.13.6.4: an endpoint that was detached may be in bypass then. */
START_TEST(detached_is_bypass_where_config_says_so)
{
	begin(_i, true);
	ck_assert(reads(0, IOMMU_GUEST_RAM));
	ck_assert_uint_eq(attach(1, FIRST), OK);
	ck_assert(!reads(0, IOMMU_GUEST_RAM));
	ck_assert_uint_eq(detach(1, FIRST), OK);
	ck_assert(reads(0, IOMMU_GUEST_RAM));
	end();
}
END_TEST

/* ---- 5.13.6.5.2: MAP ---- */

START_TEST(map_judges_its_request)
{
	begin(_i, false);
	ck_assert_uint_eq(map_pages(1, 0, 1), NOENT);
	ck_assert_uint_eq(attach(1, FIRST), OK);
	ck_assert_uint_eq(map(1, IOVA + 1, IOVA + PAGE - 1, 0, RW), RANGE);
	ck_assert_uint_eq(map(1, IOVA, IOVA + PAGE - 2, 0, RW), RANGE);
	ck_assert_uint_eq(map(1, IOVA, IOVA + PAGE - 1, 12, RW), RANGE);
	ck_assert_uint_eq(map(1, IOVA, IOVA - 1, 0, RW), INVAL);
	ck_assert_uint_eq(map(1, 0, PAGE - 1, 0, RW), RANGE); /* below input.first */
	ck_assert_uint_eq(map(1, iommu_guest_input.last + 1, iommu_guest_input.last + PAGE, 0, RW), RANGE);
	ck_assert_uint_eq(map(1, IOVA, IOVA + PAGE - 1, BIT(IOMMU_GUEST_PHYS_BITS), RW), RANGE);
	for (unsigned i = 3; i < 32; i++)
		ck_assert_uint_eq(map(1, IOVA, IOVA + PAGE - 1, 0, RW | UINT32_C(1) << i), INVAL);
	ck_assert_uint_eq(map_pages(1, 2, 3), OK);
	for (unsigned page = 0; page < 7; page++)
		ck_assert_uint_eq(map_pages(1, page, 1), page < 2 || page > 4 ? OK : INVAL);
	ck_assert_uint_eq(map_pages(1, 0, 16), INVAL);
	end();
}
END_TEST

START_TEST(map_gives_no_right_that_was_not_asked)
{
	begin(_i, false);
	ck_assert_uint_eq(attach(1, FIRST), OK);
	ck_assert_uint_eq(map(1, IOVA, IOVA + PAGE - 1, IOMMU_GUEST_RAM, VIRTIO_IOMMU_MAP_READ), OK);
	ck_assert_uint_eq(map(1, IOVA + PAGE, IOVA + 2 * PAGE - 1, IOMMU_GUEST_RAM + PAGE, VIRTIO_IOMMU_MAP_WRITE), OK);
	ck_assert(reads(0, IOVA) && !writes(0, IOVA));
	ck_assert(writes(0, IOVA + PAGE));
	ck_assert_uint_eq(fake_dma_touched(&g.f, IOMMU_GUEST_RAM, PAGE, DMA_WRITE), 0);
	ck_assert_uint_eq(fake_dma_touched(&g.f, IOMMU_GUEST_RAM + PAGE, PAGE, DMA_WRITE), 4);
	end();
}
END_TEST

/* 5.13.6.5.1: the flag is there for who negotiated it. */
START_TEST(mmio_is_a_flag_of_a_feature)
{
	begin(_i, false);
	ck_assert_uint_eq(attach(1, FIRST), OK);
	ck_assert_uint_eq(map(1, IOVA, IOVA + PAGE - 1, 0xfec00000, RW | VIRTIO_IOMMU_MAP_MMIO), OK);
	iommu_guest_start(&g, BIT(VIRTIO_IOMMU_F_MMIO), QUEUE);
	ck_assert_uint_eq(attach(1, FIRST), OK);
	ck_assert_uint_eq(map(1, IOVA, IOVA + PAGE - 1, 0xfec00000, RW | VIRTIO_IOMMU_MAP_MMIO), INVAL);
	end();
}
END_TEST

/* 5.13.6.8.1.2 */
START_TEST(map_rejects_what_is_reserved)
{
	begin(_i, false);
	ck_assert_uint_eq(attach(1, FIRST), OK);
	for (unsigned i = 0; i < 2; i++) {
		uint64_t first = iommu_guest_reserved[i].first, last = iommu_guest_reserved[i].last;

		ck_assert_uint_eq(map(1, first, first + PAGE - 1, 0, RW), INVAL);
		ck_assert_uint_eq(map(1, last - PAGE + 1, last, 0, RW), INVAL);
		ck_assert_uint_eq(map(1, first - PAGE, last + PAGE, 0, RW), INVAL);
		ck_assert_uint_eq(map(1, first - PAGE, first - 1, 0, RW), OK);
		ck_assert_uint_eq(map(1, last + 1, last + PAGE, 0, RW), OK);
		ck_assert(!reads(0, first) && !writes(0, last - 3));
	}
	end();
}
END_TEST

/* A hostile guest finds an end: 5.13.6 NOMEM. */
START_TEST(mappings_are_capped)
{
	begin(_i, false);
	ck_assert_uint_eq(attach(1, FIRST), OK);
	for (unsigned i = 0; i < IOMMU_GUEST_MAPPINGS; i++)
		ck_assert_uint_eq(map_pages(1, i, 1), OK);
	ck_assert_uint_eq(map_pages(1, 100, 1), VIRTIO_IOMMU_S_NOMEM);
	ck_assert_uint_eq(unmap_pages(1, 3, 1), OK);
	ck_assert_uint_eq(map_pages(1, 100, 1), OK);
	end();
}
END_TEST

/* ---- 5.13.6.6.2: UNMAP ---- */

/* The seven examples of 5.13.6.6, with pages for addresses. */
START_TEST(unmap_examples)
{
	begin(_i, false);
	ck_assert_uint_eq(attach(1, FIRST), OK);
	ck_assert_uint_eq(unmap_pages(1, 0, 5), OK); /* (1) */
	ck_assert_uint_eq(map_pages(1, 0, 10), OK);  /* (2) */
	ck_assert_uint_eq(unmap_pages(1, 0, 10), OK);
	ck_assert_uint_eq(map_pages(1, 0, 5), OK); /* (3) */
	ck_assert_uint_eq(map_pages(1, 5, 5), OK);
	ck_assert_uint_eq(unmap_pages(1, 0, 10), OK);
	ck_assert_uint_eq(map_pages(1, 0, 10), OK); /* (4) */
	ck_assert_uint_eq(unmap_pages(1, 0, 5), RANGE);
	ck_assert(reads(0, IOVA) && reads(0, IOVA + 3 * PAGE));
	ck_assert_uint_eq(unmap_pages(1, 0, 10), OK);
	ck_assert_uint_eq(map_pages(1, 0, 5), OK); /* (5) */
	ck_assert_uint_eq(map_pages(1, 5, 5), OK);
	ck_assert_uint_eq(unmap_pages(1, 0, 5), OK);
	ck_assert(!reads(0, IOVA) && reads(0, IOVA + 5 * PAGE));
	ck_assert_uint_eq(unmap_pages(1, 0, 10), OK);
	ck_assert_uint_eq(map_pages(1, 0, 5), OK); /* (6) */
	ck_assert_uint_eq(unmap_pages(1, 0, 10), OK);
	ck_assert_uint_eq(map_pages(1, 0, 5), OK); /* (7) */
	ck_assert_uint_eq(map_pages(1, 10, 5), OK);
	ck_assert_uint_eq(unmap_pages(1, 0, 15), OK);
	ck_assert_uint_eq(iommu_stats_read(&g.iommu).mappings, 0);
	ck_assert(!reads(0, IOVA) && !reads(0, IOVA + 10 * PAGE));
	end();
}
END_TEST

START_TEST(unmap_judges_its_request)
{
	struct virtio_iommu_unmap r = {{VIRTIO_IOMMU_T_UNMAP, {0}}, 1, IOVA, IOVA + PAGE - 1, {1, 0, 0, 1}};

	begin(_i, false);
	ck_assert_uint_eq(unmap_pages(1, 0, 1), NOENT);
	ck_assert_uint_eq(attach(1, FIRST), OK);
	ck_assert_uint_eq(map_pages(1, 0, 1), OK);
	ck_assert_uint_eq(map_pages(1, 1, 4), OK);
	ck_assert_uint_eq(unmap_pages(1, 0, 3), RANGE); /* would split the second: none goes */
	ck_assert_uint_eq(iommu_stats_read(&g.iommu).mappings, 2);
	ck_assert_uint_eq(unmap(1, IOVA, IOVA - 1), INVAL);
	ck_assert_uint_eq(ask(&r, sizeof(r)), OK); /* its reserved bytes may be ignored */
	ck_assert_uint_eq(iommu_stats_read(&g.iommu).mappings, 1);
	ck_assert_uint_eq(unmap(1, 0, UINT64_MAX), OK);
	ck_assert_uint_eq(iommu_stats_read(&g.iommu).mappings, 0);
	end();
}
END_TEST

/* ---- 5.13.6.7.2, 5.13.6.8: PROBE ---- */

START_TEST(probe_lists_what_is_reserved)
{
	struct virtio_iommu_probe r = {.head = {VIRTIO_IOMMU_T_PROBE, {0}}, .endpoint = SECOND};
	struct virtio_iommu_reserved p[2];

	begin(_i, false);
	memset(r.reserved, 0xaa, sizeof(r.reserved)); /* ignored */
	ck_assert_int_eq(say(&r, sizeof(r), PROBED), (int)PROBED);
	memcpy(p, got, sizeof(p)); /* the second lies length + 4 behind the first */
	for (unsigned i = 0; i < 2; i++) {
		ck_assert_uint_eq(p[i].head.type, VIRTIO_IOMMU_PROBE_RESV); /* its upper four bits are reserved: 0 */
		ck_assert_uint_eq(p[i].head.length, sizeof(p[i]) - 4);
		ck_assert(!p[i].reserved[0] && !p[i].reserved[1] && !p[i].reserved[2]);
		ck_assert_uint_eq(p[i].first, iommu_guest_reserved[i].first);
		ck_assert_uint_eq(p[i].last, iommu_guest_reserved[i].last);
		ck_assert_uint_eq(p[i].subtype, iommu_guest_subtype[i]);
	}
	ck_assert(p[0].last < p[1].first || p[1].last < p[0].first); /* no overlap */
	for (unsigned i = sizeof(p); i < PROBED; i++)
		ck_assert_uint_eq(got[i], 0); /* NONE to the end, then OK */
	end();
}
END_TEST

START_TEST(probe_refuses)
{
	struct virtio_iommu_probe r = {.head = {VIRTIO_IOMMU_T_PROBE, {0}}, .endpoint = 12345};
	static const unsigned rooms[] = {4, 5, 28, PROBED - 1};

	begin(_i, false);
	ck_assert_int_eq(say(&r, sizeof(r), PROBED), (int)PROBED);
	ck_assert_uint_eq(got[PROBED - 4], NOENT);
	ck_assert_uint_eq(got[0], 0);
	r.endpoint = FIRST;
	for (unsigned i = 0; i < 4; i++) {
		ck_assert_int_eq(say(&r, sizeof(r), rooms[i]), (int)rooms[i]);
		ck_assert_uint_eq(got[rooms[i] - 4], INVAL);
		for (unsigned k = 0; k < rooms[i] - 4; k++)
			ck_assert_uint_eq(got[k], 0); /* no property */
	}
	ck_assert_int_eq(say(&r, sizeof(r), PROBED + 1), 0);
	end();
}
END_TEST

/* ---- 5.13.6.9: faults ---- */

static bool event(struct virtio_iommu_fault *out, uint32_t *written)
{
	uint16_t id;

	if (!fake_driver_take(&g.driver[VIRTIO_IOMMU_QUEUE_EVENT], &id, written))
		return false;
	fake_dma_get(&g.f, IOMMU_GUEST_BUFFERS + 0x8000, out, sizeof(*out));
	return true;
}

START_TEST(fault_is_told)
{
	static const uint8_t zeros[4];
	struct virtio_iommu_fault f;
	uint32_t written;

	begin(_i, false);
	iommu_guest_lend(&g, 0, 24);
	virtio_notify(&g.v.virtio, VIRTIO_IOMMU_QUEUE_EVENT);
	ck_assert(!event(&f, &written));
	ck_assert(!writes(1, 0x1234));
	ck_assert_uint_eq(g.events, 1);
	virtio_iommu_deliver(&g.v);
	ck_assert(event(&f, &written));
	ck_assert_uint_eq(written, 24);
	ck_assert_uint_eq(f.reason, VIRTIO_IOMMU_FAULT_DOMAIN);
	ck_assert_uint_eq(f.flags, VIRTIO_IOMMU_FAULT_WRITE | VIRTIO_IOMMU_FAULT_ADDRESS); /* no undefined ones */
	ck_assert_uint_eq(f.endpoint, SECOND);
	ck_assert_uint_eq(f.address, 0x1234);
	ck_assert_mem_eq(f.reserved, zeros, 3);
	ck_assert_mem_eq(f.reserved1, zeros, 4);
	ck_assert_uint_eq(attach(1, FIRST), OK);
	iommu_guest_lend(&g, 0, 64);
	ck_assert(!reads(0, IOVA));
	virtio_iommu_deliver(&g.v);
	ck_assert(event(&f, &written));
	ck_assert_uint_eq(written, 24);
	ck_assert_uint_eq(f.reason, VIRTIO_IOMMU_FAULT_MAPPING);
	ck_assert_uint_eq(f.flags, VIRTIO_IOMMU_FAULT_READ | VIRTIO_IOMMU_FAULT_ADDRESS);
	ck_assert_uint_eq(f.address, IOVA);
	ck_assert_uint_eq(g.v.stats.events, 2);
	end();
}
END_TEST

/* 5.13.6.9.2: never cut in two, never in part. */
START_TEST(too_small_an_event_buffer_goes_back_empty)
{
	struct virtio_iommu_fault f;
	uint32_t written;

	begin(_i, false);
	ck_assert(!reads(0, IOVA));
	iommu_guest_lend(&g, 0, 23);
	virtio_notify(&g.v.virtio, VIRTIO_IOMMU_QUEUE_EVENT);
	ck_assert(event(&f, &written));
	ck_assert_uint_eq(written, 0);
	ck_assert_uint_eq(f.reason, 0xee);
	iommu_guest_lend(&g, 0, 24);
	virtio_notify(&g.v.virtio, VIRTIO_IOMMU_QUEUE_EVENT);
	ck_assert(event(&f, &written));
	ck_assert_uint_eq(written, 24);
	end();
}
END_TEST

/* 5.13.6.9: without buffers some are lost, and counted; the oldest wait. */
START_TEST(faults_wait_for_buffers)
{
	struct virtio_iommu_fault f;
	uint32_t written;

	begin(_i, false);
	for (unsigned i = 0; i < IOMMU_FAULTS_MAX + 10; i++)
		ck_assert(!reads(0, IOVA + i));
	virtio_iommu_deliver(&g.v);
	ck_assert_uint_eq(g.v.stats.events, 0);
	ck_assert_uint_eq(iommu_stats_read(&g.iommu).faults_lost, 10);
	for (unsigned i = 0; i < IOMMU_FAULTS_MAX; i++) {
		iommu_guest_lend(&g, 0, 24);
		virtio_notify(&g.v.virtio, VIRTIO_IOMMU_QUEUE_EVENT);
		ck_assert(event(&f, &written));
		ck_assert_uint_eq(f.address, IOVA + i);
	}
	iommu_guest_lend(&g, 0, 24);
	virtio_notify(&g.v.virtio, VIRTIO_IOMMU_QUEUE_EVENT);
	ck_assert(!event(&f, &written));
	ck_assert(!reads(0, IOVA));
	virtio_iommu_deliver(&g.v); /* the buffer that was not needed is still there */
	ck_assert(event(&f, &written));
	end();
}
END_TEST

/* 3.1.1: nothing is used before DRIVER_OK. */
START_TEST(no_event_before_the_driver)
{
	begin(_i, false);
	iommu_guest_prepare(&g, 0, QUEUE);
	iommu_guest_lend(&g, 0, 24);
	ck_assert(!reads(0, IOVA));
	virtio_iommu_deliver(&g.v);
	ck_assert_uint_eq(g.v.stats.events, 0);
	ck_assert_uint_eq(g.interrupts, 0);
	virtio_set_status(&g.v.virtio, g.v.virtio.status | VIRTIO_STATUS_DRIVER_OK);
	ck_assert_uint_eq(g.v.stats.events, 1); /* what waits for a driver comes with it, without a notification */
	ck_assert_uint_eq(g.interrupts, 1);
	end();
}
END_TEST

/* ---- Linux: drivers/iommu/virtio-iommu.c ---- */

/* It sends a burst of maps with one notification, polls with interrupts off, and takes a used length of 0 for a
 * failure, another than the writable bytes for no answer. A probe's answer is parsed up to NONE. */
START_TEST(linux_maps_in_bursts)
{
	uint32_t written;
	uint16_t id;

	begin(_i, false);
	fake_driver_interrupts(&g.driver[0], false);
	iommu_guest_start(&g, BIT(VIRTIO_F_EVENT_IDX), QUEUE);
	fake_driver_interrupts(&g.driver[0], false);
	ck_assert_uint_eq(attach(1, FIRST), OK);
	for (unsigned i = 0; i < 8; i++) {
		struct virtio_iommu_map r = {{VIRTIO_IOMMU_T_MAP, {0}}, 1, IOVA + i * PAGE, IOVA + i * PAGE + PAGE - 1,
					     IOMMU_GUEST_RAM,		RW};

		ck_assert(iommu_guest_offer(&g, IOMMU_GUEST_BUFFERS + i * 64, &r, sizeof(r), 4, 64));
	}
	virtio_notify(&g.v.virtio, VIRTIO_IOMMU_QUEUE_REQUEST);
	for (unsigned i = 0; i < 8; i++) {
		ck_assert(fake_driver_take(&g.driver[0], &id, &written));
		ck_assert_uint_eq(written, 4);
		ck_assert_uint_eq(*fake_dma_host(&g.f, IOMMU_GUEST_BUFFERS + i * 64 + 36, 1), OK);
		ck_assert(reads(0, IOVA + i * PAGE));
	}
	ck_assert_uint_eq(g.interrupts, 0);
	ck_assert_uint_eq(g.v.stats.requests[VIRTIO_IOMMU_T_MAP], 8);
	end();
}
END_TEST

/* ---- what breaks ---- */

/* A buffer that is no RAM: the device waits for its reset; the domains of the others stay. */
START_TEST(buffer_out_of_ram_breaks_the_device_alone)
{
	struct virtqueue_buffer bad[2] = {{IOMMU_GUEST_BUFFERS, 20}, {0xdead000, 4}};
	struct virtio_iommu_detach r = {{VIRTIO_IOMMU_T_DETACH, {0}}, 2, FIRST, {0}};

	begin(_i, false);
	ck_assert_uint_eq(attach(1, FIRST), OK);
	ck_assert_uint_eq(map_pages(1, 0, 1), OK);
	fake_dma_put(&g.f, IOMMU_GUEST_BUFFERS, &r, sizeof(r));
	fake_driver_add(&g.driver[0], bad, 1, 1, FAKE_DRIVER_DIRECT);
	virtio_notify(&g.v.virtio, VIRTIO_IOMMU_QUEUE_REQUEST);
	ck_assert_ptr_nonnull(g.broken);
	ck_assert(g.v.virtio.status & VIRTIO_STATUS_NEEDS_RESET);
	ck_assert(reads(0, IOVA));
	virtio_iommu_deliver(&g.v);
	iommu_guest_start(&g, 0, QUEUE);
	ck_assert_uint_eq(attach(1, FIRST), OK);
	ck_assert(!reads(0, IOVA));
	fake_driver_add(&g.driver[VIRTIO_IOMMU_QUEUE_EVENT], &bad[1], 0, 1, FAKE_DRIVER_DIRECT);
	virtio_iommu_deliver(&g.v); /* too small to be written to */
	ck_assert(virtio_running(&g.v.virtio));
	bad[1].bytes = 24;
	fake_driver_add(&g.driver[VIRTIO_IOMMU_QUEUE_EVENT], &bad[1], 0, 1, FAKE_DRIVER_DIRECT);
	virtio_iommu_deliver(&g.v);
	ck_assert(!virtio_running(&g.v.virtio));
	bad[0].iova = 0xdead000;
	iommu_guest_start(&g, 0, QUEUE);
	fake_driver_add(&g.driver[0], bad, 1, 0, FAKE_DRIVER_DIRECT);
	virtio_notify(&g.v.virtio, VIRTIO_IOMMU_QUEUE_REQUEST);
	ck_assert(!virtio_running(&g.v.virtio));
	end();
}
END_TEST

/* Each access of the device to the guest's memory fails in turn. */
START_TEST(every_access_fails_once)
{
	struct virtio_iommu_attach r = {{VIRTIO_IOMMU_T_ATTACH, {0}}, 1, FIRST, 0, {0}};
	uint64_t accesses = 1;

	for (uint64_t n = 0; n < accesses; n++) {
		begin(_i, false);
		iommu_guest_lend(&g, 0, 24);
		ck_assert(!dma_read(&g.device[0], IOVA, got, 1));
		fake_dma_forget(&g.f);
		g.f.fail_at = n;
		ck_assert(iommu_guest_offer(&g, IOMMU_GUEST_BUFFERS, &r, sizeof(r), 4, 8));
		virtio_notify(&g.v.virtio, VIRTIO_IOMMU_QUEUE_REQUEST);
		virtio_notify(&g.v.virtio, VIRTIO_IOMMU_QUEUE_EVENT);
		ck_assert(virtio_running(&g.v.virtio) == (n == 0));
		ck_assert(!n == !g.broken);
		if (n == 0)
			accesses = g.f.accesses + 1;
		g.f.fail_at = 0;
		iommu_guest_start(&g, 0, QUEUE);
		ck_assert_uint_eq(attach(2, FIRST), OK);
		end();
	}
	ck_assert_uint_gt(accesses, 8);
}
END_TEST

/* ---- against the model ---- */

static uint64_t a_page(void)
{
	static const uint64_t odd[] = {0, 0x8000, 0xfee00000, UINT64_MAX - PAGE + 1};

	if (below(40) == 0)
		return odd[below(4)];
	return 0x1000 + below(12) * PAGE + (below(30) == 0) * below(PAGE) + (below(20) == 0) * (UINT64_C(1) << 43);
}

static unsigned a_request(uint8_t *said)
{
	static const uint32_t endpoints[] = {3, 700, 4};
	uint32_t domain = below(20) ? (uint32_t)below(3) : IOMMU_GUEST_DOMAIN_LAST + 1;
	uint64_t first = a_page(), pages = 1 + below(3), last = first + pages * PAGE - 1 - (below(40) == 0);
	uint64_t phys = IOMMU_GUEST_RAM + below(IOMMU_GUEST_PAGES + 1) * PAGE + (below(40) == 0);
	uint32_t endpoint = endpoints[below(10) ? below(2) : 2], flags = (uint32_t)below(below(8) ? 4 : 10);
	struct virtio_iommu_attach a = {{VIRTIO_IOMMU_T_ATTACH, {0}}, domain, endpoint, below(6) == 0, {0}};
	struct virtio_iommu_detach d = {{VIRTIO_IOMMU_T_DETACH, {0}}, domain, endpoint, {0}};
	struct virtio_iommu_map m = {{VIRTIO_IOMMU_T_MAP, {0}}, domain, first, last, phys, flags};
	struct virtio_iommu_unmap u = {{VIRTIO_IOMMU_T_UNMAP, {0}}, domain, first, last + below(4) * PAGE, {0}};
	struct virtio_iommu_probe p = {.head = {VIRTIO_IOMMU_T_PROBE, {0}}, .endpoint = endpoint};

	switch (below(16)) {
	case 0:
	case 1:
		a.reserved[0] = below(10) == 0;
		memcpy(said, &a, sizeof(a));
		return sizeof(a);
	case 2:
		memcpy(said, &d, sizeof(d));
		return sizeof(d);
	case 3:
		memcpy(said, &p, sizeof(p));
		return sizeof(p);
	case 4:
	case 5:
	case 6:
	case 7:
	case 8:
		memcpy(said, &u, sizeof(u));
		return sizeof(u);
	default:
		memcpy(said, &m, sizeof(m));
		return sizeof(m);
	}
}

static void random_request(void)
{
	uint8_t said[80] = {0}, expected[PROBED];
	unsigned bytes = a_request(said), room = said[0] == VIRTIO_IOMMU_T_PROBE ? PROBED : 4;
	int written, wanted;

	if (below(50) == 0) {
		said[below(4)] = (uint8_t)below(256);
		bytes = (unsigned)below(bytes + 8);
		room = (unsigned)below(PROBED + 2);
	}
	wanted = (int)iommu_model_request(&g.model, said, bytes, room, g.v.virtio.accepted, expected);
	written = iommu_guest_request(&g, said, bytes, room, 80, got);
	ck_assert_int_eq(written, bytes + room ? wanted : -1);
	if (wanted)
		ck_assert_mem_eq(got, expected, (size_t)wanted);
}

static void random_access(void)
{
	unsigned e = (unsigned)below(2), access = below(2) ? DMA_READ : DMA_WRITE,
		 bytes = 1 + (unsigned)below(3 * PAGE);
	uint8_t data[2][3 * PAGE] = {{0}};
	uint64_t iova = (below(8) ? 0x1000 : IOMMU_GUEST_RAM - PAGE) + below(14 * PAGE);
	bool worked;

	for (unsigned i = 0; i < bytes; i += 64)
		data[0][i] = data[1][i] = (uint8_t)below(256);
	worked = access == DMA_READ ? dma_read(&g.device[e], iova, data[0], bytes)
				    : dma_write(&g.device[e], iova, data[0], bytes);
	ck_assert(worked == iommu_model_access(&g.model, e, iova, data[1], bytes, access));
	if (worked && access == DMA_READ)
		ck_assert_mem_eq(data[0], data[1], bytes);
	for (unsigned i = 0; i < IOMMU_GUEST_PAGES; i++)
		ck_assert_mem_eq(g.ram[i], g.model.ram + i * PAGE, PAGE);
}

static void take_events(void)
{
	uint64_t before = g.v.stats.events;
	struct virtio_iommu_fault f;
	unsigned lent = 1 + (unsigned)below(QUEUE);
	uint32_t written;
	uint16_t id;

	for (unsigned i = 0; i < lent; i++)
		iommu_guest_lend(&g, i, 24);
	virtio_notify(&g.v.virtio, VIRTIO_IOMMU_QUEUE_EVENT);
	lent = lent < g.model.faults ? lent : g.model.faults;
	ck_assert_uint_eq(g.v.stats.events - before, lent);
	for (unsigned i = 0; i < lent; i++) {
		const struct iommu_fault *m = &g.model.fault[i];

		ck_assert(fake_driver_take(&g.driver[VIRTIO_IOMMU_QUEUE_EVENT], &id, &written));
		ck_assert_uint_eq(written, 24);
		fake_dma_get(&g.f, IOMMU_GUEST_BUFFERS + 0x8000 + i * 64, &f, sizeof(f));
		ck_assert(f.reason == m->reason && f.flags == m->flags && f.endpoint == m->endpoint);
		ck_assert_uint_eq(f.address, m->address);
	}
	g.model.faults -= lent;
	memmove(g.model.fault, g.model.fault + lent, g.model.faults * sizeof(g.model.fault[0]));
}

/* Buffers that were lent and not needed would be filled later: a reset between takes them back. */
START_TEST(random_requests_beside_the_model)
{
	const unsigned rounds = 400;

	seed(61 + (unsigned)_i);
	for (unsigned round = 0; round < rounds; round++) {
		iommu_guest_init(&g, _i, below(2));
		iommu_guest_start(&g, below(4) ? 0 : BIT(VIRTIO_F_EVENT_IDX) | BIT(VIRTIO_IOMMU_F_MMIO), QUEUE);
		g.f.watch = false;
		for (unsigned step = 0; step < 500; step++) {
			unsigned what = (unsigned)below(100);

			if (what < 70)
				random_request();
			else if (what < 98)
				random_access();
			else if (what == 98) {
				config_write(36, 1, g.model.bypass = below(2));
			} else if (below(4) == 0) {
				take_events();
				iommu_guest_start(&g, 0, QUEUE);
			}
		}
		ck_assert(iommu_check(&g.iommu));
		ck_assert_uint_eq(iommu_stats_read(&g.iommu).mappings, g.model.mappings);
		ck_assert_uint_eq(iommu_stats_read(&g.iommu).faults_lost, g.model.lost);
		end();
	}
}
END_TEST

/* The same with a shadow of each byte that was touched: none outside of what the model allows. */
START_TEST(no_byte_is_touched_outside_of_a_mapping)
{
	seed(62);
	iommu_guest_init(&g, _i, false);
	iommu_guest_start(&g, 0, QUEUE);
	for (unsigned step = 0; step < 6000; step++) {
		unsigned e = (unsigned)below(2), access = below(2) ? DMA_READ : DMA_WRITE;
		uint64_t iova = 0x1000 + below(13 * PAGE), gpa = 0, touched = 0;
		struct iommu_fault fault;
		uint8_t byte = (uint8_t)below(256), *at;
		bool worked;

		random_request();
		fake_dma_forget(&g.f);
		worked = access == DMA_READ ? dma_read(&g.device[e], iova, &byte, 1)
					    : dma_write(&g.device[e], iova, &byte, 1);
		at = iommu_model_byte(&g.model, e, iova, access, &fault);
		ck_assert(worked == (at != NULL));
		if (at) {
			gpa = IOMMU_GUEST_RAM + (uint64_t)(at - g.model.ram);
			ck_assert_uint_eq(fake_dma_touched(&g.f, gpa, 1, access), 1);
		}
		for (unsigned i = 0; i < g.f.regions; i++)
			for (uint64_t k = 0; k < g.f.region[i].bytes && i > 2; k++)
				touched += g.f.region[i].shadow[k] != 0;
		ck_assert_uint_eq(touched, worked);
	}
	end();
}
END_TEST

Suite *virtio_iommu_suite(void)
{
	Suite *s = suite_create("virtio_iommu");
	TCase *rules = tcase_create("rules"), *model = tcase_create("model");

	tcase_add_loop_test(rules, offers_map_unmap_and_the_newer_bypass, 0, 2);
	tcase_add_test(rules, config_says_what_can_be_mapped);
	tcase_add_loop_test(rules, bypass_alone_can_be_written, 0, 2);
	tcase_add_test(rules, bypass_outlives_a_reset);
	tcase_add_loop_test(rules, after_a_reset_no_endpoint_is_attached, 0, 2);
	tcase_add_loop_test(rules, unknown_type_is_not_written, 0, 2);
	tcase_add_loop_test(rules, request_without_its_feature_is_not_known, 0, 2);
	tcase_add_loop_test(rules, reserved_of_the_head_is_ignored_and_of_the_tail_is_zero, 0, 2);
	tcase_add_loop_test(rules, no_tail_no_answer_no_deed, 0, 2);
	tcase_add_loop_test(rules, short_request_is_invalid, 0, 2);
	tcase_add_loop_test(rules, framing_means_nothing, 0, 2);
	tcase_add_test(rules, unattached_endpoint_has_no_access);
	tcase_add_loop_test(rules, attach_rejects_what_is_reserved, 0, 2);
	tcase_add_loop_test(rules, attach_judges_endpoint_and_domain, 0, 2);
	tcase_add_loop_test(rules, bypass_domain_is_the_identity, 0, 2);
	tcase_add_loop_test(rules, attach_elsewhere_detaches_first, 0, 2);
	tcase_add_loop_test(rules, detach_takes_every_mapping_away, 0, 2);
	tcase_add_loop_test(rules, detached_is_bypass_where_config_says_so, 0, 2);
	tcase_add_loop_test(rules, map_judges_its_request, 0, 2);
	tcase_add_loop_test(rules, map_gives_no_right_that_was_not_asked, 0, 2);
	tcase_add_loop_test(rules, mmio_is_a_flag_of_a_feature, 0, 2);
	tcase_add_loop_test(rules, map_rejects_what_is_reserved, 0, 2);
	tcase_add_loop_test(rules, mappings_are_capped, 0, 2);
	tcase_add_loop_test(rules, unmap_examples, 0, 2);
	tcase_add_loop_test(rules, unmap_judges_its_request, 0, 2);
	tcase_add_loop_test(rules, probe_lists_what_is_reserved, 0, 2);
	tcase_add_loop_test(rules, probe_refuses, 0, 2);
	tcase_add_loop_test(rules, fault_is_told, 0, 2);
	tcase_add_loop_test(rules, too_small_an_event_buffer_goes_back_empty, 0, 2);
	tcase_add_loop_test(rules, faults_wait_for_buffers, 0, 2);
	tcase_add_loop_test(rules, no_event_before_the_driver, 0, 2);
	tcase_add_loop_test(rules, linux_maps_in_bursts, 0, 2);
	tcase_add_loop_test(rules, buffer_out_of_ram_breaks_the_device_alone, 0, 2);
	tcase_add_loop_test(rules, every_access_fails_once, 0, 2);
	tcase_add_loop_test(model, random_requests_beside_the_model, 0, 2);
	tcase_add_loop_test(model, no_byte_is_touched_outside_of_a_mapping, 0, 2);
	tcase_set_timeout(rules, 60);
	tcase_set_timeout(model, 120);
	suite_add_tcase(s, rules);
	suite_add_tcase(s, model);
	return s;
}
