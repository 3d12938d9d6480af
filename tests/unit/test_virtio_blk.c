/* A virtio block device before a driver that frames its requests at random, over a backend that ends its steps
 * late, in any order, or not well: what the driver reads is what a naive model of the disk holds; every MUST of
 * 5.2.5 and 5.2.6 that is the device's; resets, faults and requests in many pieces while others are in flight. */
#include <check.h>
#undef fail
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/blk_guest.h"
#include "tests/unit/device_fakes.h"
#include "tests/unit/random.h"

Suite *virtio_blk_suite(void);

#define F(name)	   (UINT64_C(1) << VIRTIO_BLK_F_##name)
#define SECTOR	   VIRTIO_BLK_SECTOR
#define DATA	   BLK_GUEST_DATA
#define NOTES	   (DATA + BLK_GUEST_RAM - FAKE_DMA_PAGE) /* headers and status bytes of requests made by hand */
#define UNSET	   0xee
#define SLOTS	   11u
#define SLOT_BYTES (2 * FAKE_DMA_PAGE)
#define ROUNDS	   40000u
#define RANGE	   sizeof(struct virtio_blk_range)
#define HOLE	   0x40000000u

static const struct blk_backend able = {.discard = true, .zero = true, .serial = "a serial of 20 bytes"};
static const struct blk_backend readonly = {.readonly = true};

static struct blk_guest guest;

struct chain {
	struct virtqueue_buffer buffer[VIRTQUEUE_SIZE_MAX];
	unsigned readable, writable;
};

static void chain_add(struct chain *c, uint64_t iova, uint64_t bytes, bool writable)
{
	c->buffer[c->readable + c->writable] = (struct virtqueue_buffer){iova, (uint32_t)bytes};
	if (writable)
		c->writable++;
	else
		c->readable++;
}

/* The n-th request made by hand: where its status is. */
static uint64_t note(unsigned n)
{
	return NOTES + 32 * n + 16;
}

static uint8_t status_of(struct blk_guest *g, unsigned n)
{
	return *fake_dma_host(&g->f, note(n), 1);
}

static uint64_t put_header(struct blk_guest *g, unsigned n, uint32_t type, uint64_t sector)
{
	const struct virtio_blk_header h = {.type = type, .sector = sector};

	fake_dma_put(&g->f, NOTES + 32 * n, &h, sizeof(h));
	*fake_dma_host(&g->f, note(n), 1) = UNSET;
	return NOTES + 32 * n;
}

static void offer(struct blk_guest *g, unsigned queue, const struct chain *c)
{
	ck_assert_uint_ne(fake_driver_add(&g->driver[queue], c->buffer, c->readable, c->writable, 0), FAKE_DRIVER_FULL);
}

/* Offered, not notified. bytes 0: no data. */
static void add(struct blk_guest *g, unsigned n, uint32_t type, uint64_t sector, uint64_t data, uint64_t bytes)
{
	bool in = type == VIRTIO_BLK_T_IN || type == VIRTIO_BLK_T_GET_ID;
	struct chain c = {0};

	chain_add(&c, put_header(g, n, type, sector), 16, false);
	if (bytes)
		chain_add(&c, data, bytes, in);
	chain_add(&c, note(n), 1, true);
	offer(g, 0, &c);
}

/* What was offered, alone, to its end. */
static void end_one(struct blk_guest *g)
{
	uint32_t length;
	uint16_t id;

	virtio_notify(g->v, 0);
	while (g->disk.steps)
		blk_guest_complete(g);
	ck_assert(virtio_blk_check(g->b));
	ck_assert(fake_driver_take(&g->driver[0], &id, &length));
}

static uint8_t ask(struct blk_guest *g, uint32_t type, uint64_t sector, uint64_t data, uint64_t bytes)
{
	add(g, 0, type, sector, data, bytes);
	end_one(g);
	return status_of(g, 0);
}

static uint8_t ask_range(struct blk_guest *g, uint32_t type, uint64_t sector, uint32_t sectors, uint32_t flags)
{
	const struct virtio_blk_range r = {sector, sectors, flags};

	fake_dma_put(&g->f, DATA, &r, sizeof(r));
	return ask(g, type, 0, DATA, sizeof(r));
}

static void fill(uint8_t *to, uint64_t bytes)
{
	for (uint64_t i = 0; i < bytes; i++)
		to[i] = (uint8_t)below(256);
}

static bool all_are(const uint8_t *bytes, uint64_t count, uint8_t value)
{
	for (uint64_t i = 0; i < count; i++)
		if (bytes[i] != value)
			return false;
	return true;
}

/* ---- features and configuration ---- */

static uint64_t config_read(struct blk_guest *g, unsigned offset, unsigned width)
{
	return g->v->config.ops->read_config(g->v->config.self, offset, width);
}

static void config_write(struct blk_guest *g, unsigned offset, unsigned width, uint64_t value)
{
	g->v->config.ops->write_config(g->v->config.self, offset, width, value);
}

#define AT(field) offsetof(struct virtio_blk_config_regs, field)

/* 5.2.5.2: FLUSH with CONFIG_WCE, padding is 0; 5.2.3: what is not there is not offered. */
START_TEST(offers_what_the_backend_can)
{
	const uint64_t always = F(SEG_MAX) | F(BLK_SIZE) | F(FLUSH) | F(TOPOLOGY);
	const uint64_t own = (UINT64_C(1) << 24) - 1;

	blk_guest_init(&guest, &able, 1, false);
	ck_assert_uint_eq(guest.v->offered & own, always | F(CONFIG_WCE) | F(DISCARD) | F(WRITE_ZEROES));
	ck_assert_uint_eq(config_read(&guest, AT(capacity), 8), BLK_GUEST_SECTORS);
	ck_assert_uint_eq(config_read(&guest, AT(capacity), 4), BLK_GUEST_SECTORS);
	ck_assert_uint_eq(config_read(&guest, AT(capacity) + 1, 1), BLK_GUEST_SECTORS >> 8);
	ck_assert_uint_eq(config_read(&guest, AT(seg_max), 4), 254);
	ck_assert_uint_eq(config_read(&guest, AT(blk_size), 4), 512);
	ck_assert_uint_eq(config_read(&guest, AT(topology.physical_block_exp), 1), 3);
	ck_assert_uint_eq(config_read(&guest, AT(topology.min_io_size), 2), 8);
	ck_assert_uint_eq(config_read(&guest, AT(num_queues), 2), 1);
	ck_assert_uint_eq(config_read(&guest, AT(max_discard_seg), 4), 256);
	ck_assert_uint_eq(config_read(&guest, AT(write_zeroes_may_unmap), 1), 1);
	ck_assert_uint_eq(config_read(&guest, AT(unused0), 1), 0);
	ck_assert_uint_eq(config_read(&guest, AT(unused1), 1) | config_read(&guest, AT(unused1) + 1, 2), 0);
	blk_guest_free(&guest);
	blk_guest_init(&guest, &readonly, 4, false);
	ck_assert_uint_eq(guest.v->offered & own, always | F(RO) | F(MQ));
	ck_assert_uint_eq(config_read(&guest, AT(num_queues), 2), 4);
	ck_assert_uint_eq(config_read(&guest, AT(max_discard_sectors), 4), 0);
	ck_assert_uint_eq(config_read(&guest, AT(max_write_zeroes_sectors), 4), 0);
	blk_guest_free(&guest);
}
END_TEST

/* 5.2.5.2: writeback is 0 without FLUSH; 5.2.4: it can be written with CONFIG_WCE alone, and nothing else can. */
START_TEST(writeback_is_the_drivers)
{
	blk_guest_init(&guest, &able, 1, false);
	blk_guest_start(&guest, 0, 8);
	ck_assert_uint_eq(config_read(&guest, AT(writeback), 1), 1);
	config_write(&guest, AT(writeback), 1, 0);
	ck_assert_uint_eq(config_read(&guest, AT(writeback), 1), 0);
	config_write(&guest, AT(writeback) - 1, 2, 0x100);
	ck_assert_uint_eq(config_read(&guest, AT(writeback), 1), 1);
	config_write(&guest, AT(capacity), 8, 1);
	config_write(&guest, AT(unused0), 1, 0);
	ck_assert_uint_eq(config_read(&guest, AT(capacity), 8), BLK_GUEST_SECTORS);
	ck_assert_uint_eq(config_read(&guest, AT(writeback), 1), 1);
	blk_guest_start(&guest, F(CONFIG_WCE), 8);
	config_write(&guest, AT(writeback), 1, 0);
	ck_assert_uint_eq(config_read(&guest, AT(writeback), 1), 1);
	blk_guest_start(&guest, F(FLUSH), 8);
	ck_assert_uint_eq(config_read(&guest, AT(writeback), 1), 0);
	blk_guest_free(&guest);
}
END_TEST

/* ---- 5.2.6.2 ---- */

START_TEST(a_readonly_disk_takes_no_write)
{
	blk_guest_init(&guest, &readonly, 1, _i);
	blk_guest_start(&guest, 0, 8);
	ck_assert_uint_eq(ask(&guest, VIRTIO_BLK_T_OUT, 0, DATA, SECTOR), VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(ask_range(&guest, VIRTIO_BLK_T_WRITE_ZEROES, 0, 1, 0), VIRTIO_BLK_S_UNSUPP);
	ck_assert_uint_eq(ask_range(&guest, VIRTIO_BLK_T_DISCARD, 0, 1, 0), VIRTIO_BLK_S_UNSUPP);
	ck_assert_uint_eq(guest.disk.submitted, 0);
	ck_assert_uint_eq(ask(&guest, VIRTIO_BLK_T_FLUSH, 0, 0, 0), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(ask(&guest, VIRTIO_BLK_T_IN, 0, DATA, SECTOR), VIRTIO_BLK_S_OK);
	blk_guest_free(&guest);
}
END_TEST

START_TEST(unknown_flags_and_types_are_unsupported)
{
	static const uint32_t types[] = {2, 3, 5, 7, 10, 12, 14, 24, 0x80000000, UINT32_MAX};
	struct virtio_blk_range two[2] = {{BLK_GUEST_SECTORS, 1, 0}, {0, 1, 2}};

	blk_guest_init(&guest, &able, 1, _i);
	blk_guest_start(&guest, 0, 8);
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		ck_assert_uint_eq(ask(&guest, types[i], 0, DATA, SECTOR), VIRTIO_BLK_S_UNSUPP);
	for (uint32_t flag = 1; flag; flag <<= 1)
		ck_assert_uint_eq(ask_range(&guest, VIRTIO_BLK_T_DISCARD, 0, 1, flag), VIRTIO_BLK_S_UNSUPP);
	for (uint32_t flag = 2; flag; flag <<= 1)
		ck_assert_uint_eq(ask_range(&guest, VIRTIO_BLK_T_WRITE_ZEROES, 0, 1, flag), VIRTIO_BLK_S_UNSUPP);
	fake_dma_put(&guest.f, DATA, two, sizeof(two)); /* whatever else is wrong with it */
	ck_assert_uint_eq(ask(&guest, VIRTIO_BLK_T_WRITE_ZEROES, 0, DATA, sizeof(two)), VIRTIO_BLK_S_UNSUPP);
	ck_assert_uint_eq(guest.disk.submitted, 0);
	blk_guest_start(&guest, F(DISCARD) | F(WRITE_ZEROES), 8); /* not negotiated */
	ck_assert_uint_eq(ask_range(&guest, VIRTIO_BLK_T_DISCARD, 0, 1, 0), VIRTIO_BLK_S_UNSUPP);
	ck_assert_uint_eq(ask_range(&guest, VIRTIO_BLK_T_WRITE_ZEROES, 0, 1, 0), VIRTIO_BLK_S_UNSUPP);
	blk_guest_free(&guest);
}
END_TEST

START_TEST(zeroes_are_read_back)
{
	blk_guest_init(&guest, &able, 1, _i);
	blk_guest_start(&guest, 0, 8);
	memset(guest.disk.data, 0xaa, BLK_GUEST_BYTES);
	ck_assert_uint_eq(ask_range(&guest, VIRTIO_BLK_T_WRITE_ZEROES, 2, 3, 0), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(guest.disk.unmapped, 0);
	ck_assert_uint_eq(ask_range(&guest, VIRTIO_BLK_T_WRITE_ZEROES, 6, 1, VIRTIO_BLK_RANGE_UNMAP), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(guest.disk.unmapped, 1);
	ck_assert_uint_eq(ask_range(&guest, VIRTIO_BLK_T_DISCARD, 8, 1, 0), VIRTIO_BLK_S_OK);
	ck_assert(all_are(guest.disk.data, 2 * SECTOR, 0xaa) && all_are(guest.disk.data + 2 * SECTOR, 3 * SECTOR, 0));
	ck_assert(all_are(guest.disk.data + 5 * SECTOR, SECTOR, 0xaa));
	ck_assert(all_are(guest.disk.data + 6 * SECTOR, SECTOR, 0));
	ck_assert(all_are(guest.disk.data + 8 * SECTOR, SECTOR, 0xdd));
	blk_guest_free(&guest);
}
END_TEST

/* A range of no sectors is sound, and nothing to do: a host refuses to do it. */
START_TEST(empty_ranges_are_done_at_once)
{
	static const struct virtio_blk_range r[] = {{0, 0, 0}, {2, 3, 0}, {9, 0, 0}, {BLK_GUEST_SECTORS, 0, 0}};

	blk_guest_init(&guest, &able, 1, _i);
	blk_guest_start(&guest, 0, 8);
	memset(guest.disk.data, 0xaa, BLK_GUEST_BYTES);
	ck_assert_uint_eq(ask_range(&guest, VIRTIO_BLK_T_WRITE_ZEROES, 2, 0, 0), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(ask_range(&guest, VIRTIO_BLK_T_DISCARD, 2, 0, 0), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(guest.disk.submitted, 0);
	ck_assert_uint_eq(ask_range(&guest, VIRTIO_BLK_T_DISCARD, BLK_GUEST_SECTORS + 1, 0, 0), VIRTIO_BLK_S_IOERR);
	fake_dma_put(&guest.f, DATA, r, sizeof(r));
	ck_assert_uint_eq(ask(&guest, VIRTIO_BLK_T_WRITE_ZEROES, 0, DATA, sizeof(r)), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(guest.disk.submitted, 1);
	ck_assert(all_are(guest.disk.data, 2 * SECTOR, 0xaa) && all_are(guest.disk.data + 2 * SECTOR, 3 * SECTOR, 0));
	ck_assert(all_are(guest.disk.data + 5 * SECTOR, 5 * SECTOR, 0xaa));
	blk_guest_free(&guest);
}
END_TEST

/* Stable when it ends: 1. neither CONFIG_WCE nor FLUSH was negotiated; 2. writeback was 0; else 3. behind a flush. */
START_TEST(writes_are_stable_when_they_must_be)
{
	blk_guest_init(&guest, &able, 1, _i);
	for (unsigned how = 0; how < 4; how++) {
		const uint64_t without[] = {F(CONFIG_WCE) | F(FLUSH), 0, F(FLUSH), F(CONFIG_WCE)};

		blk_guest_start(&guest, without[how], 8);
		guest.disk.unstable = 0;
		if (how == 1)
			config_write(&guest, AT(writeback), 1, 0);
		ck_assert_uint_eq(ask(&guest, VIRTIO_BLK_T_OUT, 0, DATA, SECTOR), VIRTIO_BLK_S_OK);
		ck_assert_uint_eq(guest.disk.unstable, how == 3);
		ck_assert_uint_eq(ask_range(&guest, VIRTIO_BLK_T_WRITE_ZEROES, 0, 1, 0), VIRTIO_BLK_S_OK);
		ck_assert_uint_eq(guest.disk.unstable, how == 3 ? 2 : 0);
		ck_assert_uint_eq(ask(&guest, VIRTIO_BLK_T_FLUSH, 0, 0, 0), VIRTIO_BLK_S_OK);
		ck_assert_uint_eq(guest.disk.unstable, 0);
		/* The flush of a write fails: so did the write. */
		add(&guest, 0, VIRTIO_BLK_T_OUT, 0, DATA, SECTOR);
		virtio_notify(guest.v, 0);
		blk_disk_end_one(&guest.disk, 0);
		ck_assert_uint_eq(guest.disk.steps, how != 3);
		if (guest.disk.steps)
			blk_disk_fail_one(&guest.disk, 0);
		virtio_blk_completed(guest.b);
		ck_assert_uint_eq(status_of(&guest, 0), how == 3 ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_IOERR);
	}
	blk_guest_free(&guest);
}
END_TEST

/* ---- requests that are wrong ---- */

START_TEST(what_is_outside_is_an_error)
{
	static const uint64_t beyond[] = {BLK_GUEST_SECTORS,   BLK_GUEST_SECTORS - 1,	UINT64_MAX,
					  UINT64_MAX / SECTOR, UINT64_MAX / SECTOR + 1, UINT64_C(1) << 63};

	blk_guest_init(&guest, &able, 1, _i);
	blk_guest_start(&guest, 0, 8);
	for (size_t i = 0; i < sizeof(beyond) / sizeof(beyond[0]); i++) {
		ck_assert_uint_eq(ask(&guest, VIRTIO_BLK_T_IN, beyond[i], DATA, 2 * SECTOR), VIRTIO_BLK_S_IOERR);
		ck_assert_uint_eq(ask(&guest, VIRTIO_BLK_T_OUT, beyond[i], DATA, 2 * SECTOR), VIRTIO_BLK_S_IOERR);
		ck_assert_uint_eq(ask_range(&guest, VIRTIO_BLK_T_DISCARD, beyond[i], 2, 0), VIRTIO_BLK_S_IOERR);
		ck_assert_uint_eq(ask_range(&guest, VIRTIO_BLK_T_WRITE_ZEROES, beyond[i], 2, 1), VIRTIO_BLK_S_IOERR);
	}
	ck_assert_uint_eq(ask_range(&guest, VIRTIO_BLK_T_DISCARD, 0, UINT32_MAX, 0), VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(ask_range(&guest, VIRTIO_BLK_T_DISCARD, 0, VIRTIO_BLK_RANGE_MAX + 1, 0), VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(guest.disk.submitted, 0);
	ck_assert_uint_eq(ask(&guest, VIRTIO_BLK_T_IN, BLK_GUEST_SECTORS - 2, DATA, 2 * SECTOR), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(ask(&guest, VIRTIO_BLK_T_IN, BLK_GUEST_SECTORS, DATA, 0), VIRTIO_BLK_S_OK);
	blk_guest_free(&guest);
}
END_TEST

START_TEST(lengths_that_are_none_are_errors)
{
	blk_guest_init(&guest, &able, 1, _i);
	blk_guest_start(&guest, 0, 8);
	ck_assert_uint_eq(ask(&guest, VIRTIO_BLK_T_IN, 0, DATA, SECTOR - 1), VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(ask(&guest, VIRTIO_BLK_T_OUT, 0, DATA, SECTOR + 1), VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(ask(&guest, VIRTIO_BLK_T_DISCARD, 0, DATA, 0), VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(ask(&guest, VIRTIO_BLK_T_DISCARD, 0, DATA, RANGE - 1), VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(ask(&guest, VIRTIO_BLK_T_WRITE_ZEROES, 0, DATA, RANGE + 1), VIRTIO_BLK_S_IOERR);
	for (uint64_t i = 0; i <= VIRTIO_BLK_RANGES_MAX; i++) {
		const struct virtio_blk_range one = {.sector = i, .sectors = 1};

		fake_dma_put(&guest.f, DATA + i * RANGE, &one, RANGE);
	}
	ck_assert_uint_eq(ask(&guest, VIRTIO_BLK_T_DISCARD, 0, DATA, (VIRTIO_BLK_RANGES_MAX + 1) * RANGE),
			  VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(guest.disk.submitted, 0);
	ck_assert_uint_eq(virtio_blk_stats_read(guest.b).errors, 6);
	ck_assert_uint_eq(ask(&guest, VIRTIO_BLK_T_DISCARD, 0, DATA, VIRTIO_BLK_RANGES_MAX * RANGE), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(guest.disk.submitted, VIRTIO_BLK_RANGES_MAX);
	blk_guest_free(&guest);
}
END_TEST

/* No header, or no byte for a status: there is nobody to tell. */
START_TEST(a_request_without_status_breaks_the_device)
{
	const bool packed = _i & 1;
	struct chain c = {0};

	blk_guest_init(&guest, &able, 1, packed);
	blk_guest_start(&guest, 0, 8);
	chain_add(&c, put_header(&guest, 0, VIRTIO_BLK_T_FLUSH, 0), _i & 2 ? 16 : 15, false);
	if (!(_i & 2))
		chain_add(&c, note(0), 1, true);
	offer(&guest, 0, &c);
	virtio_notify(guest.v, 0);
	ck_assert(guest.v->status & VIRTIO_STATUS_NEEDS_RESET);
	ck_assert_ptr_nonnull(guest.broken);
	ck_assert_uint_eq(status_of(&guest, 0), UNSET);
	ck_assert(virtio_blk_check(guest.b));
	virtio_notify(guest.v, 0);
	ck_assert_uint_eq(guest.disk.submitted, 0);
	blk_guest_start(&guest, 0, 8); /* and a reset helps */
	ck_assert_uint_eq(ask(&guest, VIRTIO_BLK_T_FLUSH, 0, 0, 0), VIRTIO_BLK_S_OK);
	blk_guest_free(&guest);
}
END_TEST

/* 2.1.2: it says so at once, not when the disk has done what is in flight: whose memory is the guest's again then, and
 * of which no ring tells. */
START_TEST(a_broken_device_does_not_wait_to_say_so)
{
	struct chain c = {0};
	uint32_t length;
	uint16_t id;

	blk_guest_init(&guest, &able, 1, _i);
	blk_guest_start(&guest, 0, 8);
	add(&guest, 0, VIRTIO_BLK_T_IN, 0, DATA, SECTOR);
	chain_add(&c, put_header(&guest, 1, VIRTIO_BLK_T_FLUSH, 0), 15, false);
	chain_add(&c, note(1), 1, true);
	offer(&guest, 0, &c);
	add(&guest, 2, VIRTIO_BLK_T_IN, 0, DATA, SECTOR);
	virtio_notify(guest.v, 0);
	ck_assert(guest.v->status & VIRTIO_STATUS_NEEDS_RESET);
	ck_assert_uint_eq(guest.interrupts, 1);
	ck_assert_uint_eq(guest.disk.steps, 1); /* nothing behind it is begun */
	ck_assert_uint_eq(guest.f.pinned, SECTOR);
	ck_assert(virtio_blk_check(guest.b));
	blk_guest_complete(&guest);
	ck_assert_uint_eq(guest.f.pinned, 0);
	ck_assert(!fake_driver_take(&guest.driver[0], &id, &length));
	ck_assert_uint_eq(guest.v->stats.broken, 1);
	ck_assert(virtio_blk_check(guest.b));
	blk_guest_start(&guest, 0, 8);
	ck_assert_uint_eq(ask(&guest, VIRTIO_BLK_T_IN, 0, DATA, SECTOR), VIRTIO_BLK_S_OK);
	blk_guest_free(&guest);
}
END_TEST

START_TEST(the_id_is_twenty_bytes)
{
	uint8_t *to;

	blk_guest_init(&guest, &able, 1, _i);
	blk_guest_start(&guest, 0, 8);
	to = fake_dma_host(&guest.f, DATA, 64);
	for (unsigned bytes = 0; bytes < 40; bytes++) {
		unsigned given = bytes < VIRTIO_BLK_ID_BYTES ? bytes : VIRTIO_BLK_ID_BYTES;

		memset(to, UNSET, 64);
		ck_assert_uint_eq(ask(&guest, VIRTIO_BLK_T_GET_ID, 0, DATA, bytes), VIRTIO_BLK_S_OK);
		ck_assert_mem_eq(to, able.serial, given);
		ck_assert(all_are(to + given, 64 - given, UNSET));
	}
	ck_assert_uint_eq(guest.disk.submitted, 0);
	blk_guest_free(&guest);
}
END_TEST

/* ---- framing and used lengths ---- */

/* 2.7.4: bytes count, descriptors do not. 2.7.8.2: the length is what was written from the first writable byte on. */
START_TEST(header_and_status_lie_anywhere)
{
	struct chain c = {0};
	uint32_t length;
	uint64_t at;
	uint16_t id;

	blk_guest_init(&guest, &able, 1, _i);
	blk_guest_start(&guest, 0, 64);
	at = put_header(&guest, 0, VIRTIO_BLK_T_IN, 3);
	fill(guest.disk.data, 16 * SECTOR);
	for (unsigned i = 0; i < 16; i++)
		chain_add(&c, at + i, 1, false);
	chain_add(&c, DATA + 4095, 2, true);
	chain_add(&c, DATA + 4097, SECTOR - 2 + 1, true);
	offer(&guest, 0, &c);
	virtio_notify(guest.v, 0);
	blk_guest_complete(&guest);
	ck_assert(fake_driver_take(&guest.driver[0], &id, &length));
	ck_assert_uint_eq(length, SECTOR + 1);
	ck_assert_uint_eq(*fake_dma_host(&guest.f, DATA + 4095, 1), guest.disk.data[3 * SECTOR]);
	ck_assert_mem_eq(fake_dma_host(&guest.f, DATA + 4096, 1), guest.disk.data + 3 * SECTOR + 1, SECTOR - 1);
	ck_assert_uint_eq(*fake_dma_host(&guest.f, DATA + 4095 + SECTOR, 1), VIRTIO_BLK_S_OK);
	blk_guest_free(&guest);
}
END_TEST

START_TEST(a_read_that_failed_wrote_nothing_for_sure)
{
	uint32_t length;
	uint16_t id;

	blk_guest_init(&guest, &able, 1, _i);
	blk_guest_start(&guest, 0, 8);
	add(&guest, 0, VIRTIO_BLK_T_IN, 0, DATA, SECTOR);
	add(&guest, 1, VIRTIO_BLK_T_OUT, 0, DATA, SECTOR);
	virtio_notify(guest.v, 0);
	blk_disk_fail_one(&guest.disk, 0);
	virtio_blk_completed(guest.b);
	ck_assert(fake_driver_take(&guest.driver[0], &id, &length));
	ck_assert_uint_eq(length, 0);
	blk_disk_fail_one(&guest.disk, 0);
	virtio_blk_completed(guest.b);
	ck_assert(fake_driver_take(&guest.driver[0], &id, &length));
	ck_assert_uint_eq(length, 1);
	ck_assert_uint_eq(status_of(&guest, 0), VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(status_of(&guest, 1), VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(virtio_blk_stats_read(guest.b).errors, 2);
	blk_guest_free(&guest);
}
END_TEST

/* ---- more than one step ---- */

/* All pages of the data but the notes', `times` times over, from an odd address on. */
static uint64_t add_many_pieces(struct blk_guest *g, unsigned n, uint32_t type, unsigned times)
{
	const uint64_t each = BLK_GUEST_RAM - FAKE_DMA_PAGE - SECTOR;
	const bool in = type == VIRTIO_BLK_T_IN;
	struct chain c = {0};

	chain_add(&c, put_header(g, n, type, 1), 16, false);
	for (unsigned i = 0; i < times; i++)
		chain_add(&c, DATA + 100 + i % 3, each, in);
	chain_add(&c, note(n), 1, true);
	offer(g, 0, &c);
	return times * each;
}

START_TEST(a_large_request_goes_step_by_step)
{
	enum { TIMES = 80 }; /* of 23 pieces each */
	const uint64_t each = BLK_GUEST_RAM - FAKE_DMA_PAGE - SECTOR;
	uint8_t *expected, *at;
	uint64_t bytes;

	blk_guest_init(&guest, &able, 1, _i >= 3);
	blk_guest_start(&guest, F(FLUSH), 256);
	guest.disk.when = (enum blk_when)(_i % 3);
	for (unsigned i = 0; i < BLK_GUEST_PAGES - 1; i++)
		fill(fake_dma_host(&guest.f, DATA + i * FAKE_DMA_PAGE, FAKE_DMA_PAGE), FAKE_DMA_PAGE);
	bytes = add_many_pieces(&guest, 0, VIRTIO_BLK_T_OUT, TIMES);
	expected = at = malloc(bytes);
	for (unsigned i = 0; i < TIMES; i++, at += each)
		fake_dma_get(&guest.f, DATA + 100 + i % 3, at, each);
	end_one(&guest);
	ck_assert_uint_eq(status_of(&guest, 0), VIRTIO_BLK_S_OK);
	ck_assert_mem_eq(guest.disk.data + SECTOR, expected, bytes);
	ck_assert_uint_eq(guest.disk.submitted, 3); /* two steps and a flush */
	ck_assert_uint_gt(guest.disk.segments_max, VIRTIO_BLK_SEGMENTS - 2);
	free(expected);
	ck_assert_uint_eq(guest.f.pinned, 0);
	blk_guest_free(&guest);
}
END_TEST

/* Lists of 5 pieces: many steps, each of which would end inside a sector. */
START_TEST(a_full_step_ends_at_a_sector)
{
	uint64_t bytes = 0;
	struct chain c = {0};

	blk_guest_init(&guest, &able, 1, _i >= 3);
	blk_guest_start(&guest, 0, 256);
	ck_assert_uint_eq(ask(&guest, VIRTIO_BLK_T_FLUSH, 0, 0, 0), VIRTIO_BLK_S_OK);
	guest.disk.when = (enum blk_when)(_i % 3);
	guest.b->request[0].list.room = 5;
	chain_add(&c, put_header(&guest, 0, VIRTIO_BLK_T_OUT, 0), 16, false);
	for (unsigned i = 0; i < 50; i++) {
		chain_add(&c, DATA + 7 * i, 40961 + i, false);
		bytes += 40961 + i;
	}
	chain_add(&c, DATA + 3, SECTOR - bytes % SECTOR, false);
	bytes += SECTOR - bytes % SECTOR;
	chain_add(&c, note(0), 1, true);
	for (unsigned i = 0; i < BLK_GUEST_PAGES - 1; i++)
		fill(fake_dma_host(&guest.f, DATA + i * FAKE_DMA_PAGE, FAKE_DMA_PAGE), FAKE_DMA_PAGE);
	offer(&guest, 0, &c);
	end_one(&guest);
	ck_assert_uint_eq(status_of(&guest, 0), VIRTIO_BLK_S_OK);
	ck_assert_uint_gt(guest.disk.submitted, 100);
	ck_assert_uint_le(guest.disk.segments_max, 5);
	for (uint64_t i = 1, at = 0; at < bytes; at += c.buffer[i++].bytes) {
		static uint8_t piece[1 << 16];

		fake_dma_get(&guest.f, c.buffer[i].iova, piece, c.buffer[i].bytes);
		ck_assert_mem_eq(guest.disk.data + at, piece, c.buffer[i].bytes);
	}
	ck_assert_uint_eq(guest.f.pinned, 0);
	blk_guest_free(&guest);
}
END_TEST

/* ---- slots of DMA run out ---- */

START_TEST(requests_wait_for_slots)
{
	enum { N = 6 };
	uint32_t length;
	uint16_t id;

	blk_guest_init(&guest, &able, 1, _i);
	blk_guest_start(&guest, 0, 256);
	fill(guest.disk.data, N * 4096);
	/* 200 buffers each, so two fit into the slots. */
	for (unsigned n = 0; n < N; n++) {
		struct chain c = {0};

		chain_add(&c, put_header(&guest, n, VIRTIO_BLK_T_IN, 8 * n), 16, false);
		for (unsigned i = 0; i < 200; i++)
			chain_add(&c, DATA + n * SLOT_BYTES + 20 * i, i < 199 ? 20 : 4096 - 199 * 20, true);
		chain_add(&c, note(n), 1, true);
		offer(&guest, 0, &c);
	}
	virtio_notify(guest.v, 0);
	ck_assert_uint_lt(guest.disk.steps, N);
	ck_assert_uint_gt(guest.disk.steps, 0);
	ck_assert_uint_eq(guest.b->line[0].waiting, 1);
	for (unsigned done = 0; done < N;) {
		ck_assert(virtio_blk_check(guest.b));
		ck_assert_uint_gt(guest.disk.steps, 0);
		blk_disk_end_one(&guest.disk, 0);
		virtio_blk_completed(guest.b);
		for (; fake_driver_take(&guest.driver[0], &id, &length); done++)
			ck_assert_uint_eq(length, 4097);
	}
	for (unsigned n = 0; n < N; n++) {
		uint8_t got[4096];

		fake_dma_get(&guest.f, DATA + n * SLOT_BYTES, got, 4096);
		ck_assert_mem_eq(got, guest.disk.data + 4096 * n, 4096);
	}
	blk_guest_free(&guest);
}
END_TEST

/* ---- bursts ---- */

START_TEST(one_kick_and_one_interrupt_a_burst)
{
	const enum blk_when when = (enum blk_when)(_i % 3);
	uint32_t length;
	uint16_t id;

	blk_guest_init(&guest, &able, 1, _i >= 3);
	blk_guest_start(&guest, 0, 256);
	guest.disk.when = when;
	for (unsigned n = 0; n < 60; n++)
		add(&guest, n, VIRTIO_BLK_T_IN, n, DATA + n * SECTOR, SECTOR);
	virtio_notify(guest.v, 0);
	ck_assert_uint_eq(guest.disk.kicks, 1);
	ck_assert_uint_eq(guest.interrupts, when != BLK_LATER);
	if (when == BLK_LATER)
		blk_guest_complete(&guest);
	ck_assert_uint_eq(guest.interrupts, 1);
	ck_assert(fake_driver_should_notify(&guest.driver[0], 1));
	for (unsigned n = 0; n < 60; n++)
		ck_assert(fake_driver_take(&guest.driver[0], &id, &length));
	blk_guest_free(&guest);
}
END_TEST

/* What ends within a kick is told before the next 256 KiB are begun. */
START_TEST(large_requests_are_kicked_and_told_on_the_way)
{
	const enum blk_when when = (enum blk_when)(_i % 3);

	blk_guest_init(&guest, &able, 1, _i >= 3);
	blk_guest_start(&guest, 0, 256);
	guest.disk.when = when;
	for (unsigned n = 0; n < 60; n++)
		add(&guest, n, VIRTIO_BLK_T_IN, 0, DATA, 16 << 10);
	virtio_notify(guest.v, 0);
	ck_assert_uint_eq(guest.disk.kicks, 4); /* after each 16, and at the end */
	ck_assert_uint_eq(guest.interrupts, when == BLK_LATER ? 0 : 4);
	ck_assert(virtio_blk_check(guest.b));
	blk_guest_free(&guest);
}
END_TEST

/* Who polls is not notified, and finds what comes; after his last look the driver's word is wanted again. */
START_TEST(a_poll_stands_for_notifications)
{
	uint32_t length;
	uint16_t id;

	blk_guest_init(&guest, &able, 1, _i);
	blk_guest_start(&guest, 0, 8);
	guest.disk.when = BLK_AT_SUBMIT;
	ck_assert(!virtio_blk_poll(guest.b, false));
	for (unsigned n = 0; n < 3; n++) {
		add(&guest, n, VIRTIO_BLK_T_IN, n, DATA + n * SECTOR, SECTOR);
		ck_assert(!fake_driver_should_notify(&guest.driver[0], 1));
		ck_assert(virtio_blk_poll(guest.b, false) && virtio_blk_check(guest.b));
		ck_assert(fake_driver_take(&guest.driver[0], &id, &length));
	}
	ck_assert(!virtio_blk_poll(guest.b, false) && !virtio_blk_poll(guest.b, true));
	add(&guest, 3, VIRTIO_BLK_T_IN, 3, DATA, SECTOR);
	ck_assert(fake_driver_should_notify(&guest.driver[0], 1));
	ck_assert(virtio_blk_poll(guest.b, true) && !virtio_blk_poll(guest.b, true));
	virtio_set_status(guest.v, 0);
	ck_assert(!virtio_blk_poll(guest.b, false)); /* a device that does not run has nothing */
	blk_guest_free(&guest);
}
END_TEST

/* As many at once as are taken in one go: what came meanwhile is seen, and the driver asked to notify again. */
START_TEST(a_full_queue_at_once_is_served)
{
	struct chain c = {0};
	uint32_t length;
	uint16_t id;

	blk_guest_init(&guest, &able, 1, _i);
	blk_guest_start(&guest, 0, 256);
	guest.disk.when = BLK_AT_SUBMIT;
	chain_add(&c, put_header(&guest, 0, VIRTIO_BLK_T_FLUSH, 0), 16, false);
	chain_add(&c, note(0), 1, true);
	for (unsigned n = 0; n < 256; n++)
		offer(&guest, 0, &c);
	virtio_notify(guest.v, 0);
	ck_assert(virtio_blk_check(guest.b));
	ck_assert(fake_driver_should_notify(&guest.driver[0], 1));
	for (unsigned n = 0; n < 256; n++)
		ck_assert(fake_driver_take(&guest.driver[0], &id, &length));
	/* Of two, the first is told of while the other flies. */
	guest.disk.when = BLK_LATER;
	offer(&guest, 0, &c);
	offer(&guest, 0, &c);
	virtio_notify(guest.v, 0);
	guest.interrupts = 0;
	blk_disk_end_one(&guest.disk, 0);
	virtio_blk_completed(guest.b);
	ck_assert_uint_eq(guest.interrupts, 1);
	blk_guest_complete(&guest);
	ck_assert_uint_eq(guest.interrupts, 2);
	blk_guest_free(&guest);
}
END_TEST

/* Each of the others is served, whatever one queue does. */
START_TEST(queues_are_apart)
{
	struct chain c = {0};

	blk_guest_init(&guest, &able, 4, _i);
	blk_guest_start(&guest, 0, 8);
	for (unsigned q = 0; q < 4; q++) {
		c = (struct chain){0};
		chain_add(&c, put_header(&guest, q, VIRTIO_BLK_T_IN, q), 16, false);
		chain_add(&c, DATA + q * SECTOR, SECTOR, true);
		chain_add(&c, note(q), 1, true);
		offer(&guest, q, &c);
		virtio_notify(guest.v, q);
	}
	ck_assert_uint_eq(guest.disk.steps, 4);
	blk_guest_complete(&guest);
	ck_assert_uint_eq(guest.interrupts, 4);
	for (unsigned q = 0; q < 4; q++)
		ck_assert_uint_eq(status_of(&guest, q), VIRTIO_BLK_S_OK);
	blk_guest_free(&guest);
}
END_TEST

/* ---- faults ---- */

/* A buffer that is not there: data, header, status, in turn. Another request is in flight, and ends. */
START_TEST(a_fault_breaks_the_device)
{
	const unsigned what = (unsigned)_i / 2;
	struct chain c = {0};
	uint64_t touched;

	blk_guest_init(&guest, &able, 1, _i & 1);
	blk_guest_start(&guest, 0, 64);
	add(&guest, 0, VIRTIO_BLK_T_IN, 0, DATA, SECTOR);
	virtio_notify(guest.v, 0);
	fake_dma_forget(&guest.f);
	put_header(&guest, 1, what < 4 ? VIRTIO_BLK_T_IN : VIRTIO_BLK_T_DISCARD, 0);
	chain_add(&c, what == 0 ? HOLE : NOTES + 32, 16, false);
	if (what == 4)
		chain_add(&c, HOLE, 16, false);
	else
		chain_add(&c, DATA + FAKE_DMA_PAGE, 100, true);
	if (what < 4)
		chain_add(&c, what == 1 ? HOLE : DATA + FAKE_DMA_PAGE, SECTOR - 100, true);
	chain_add(&c, what == 2 ? HOLE : note(1), 1, true);
	offer(&guest, 0, &c);
	if (what == 3)
		fake_dma_protect(&guest.f, DATA + FAKE_DMA_PAGE, DMA_READ);
	virtio_notify(guest.v, 0);
	if (what == 2) /* found at its end alone */
		blk_disk_end_one(&guest.disk, 1);
	virtio_blk_completed(guest.b);
	ck_assert_uint_eq(guest.disk.steps, 1);
	ck_assert(virtio_blk_check(guest.b));
	ck_assert_uint_eq(status_of(&guest, 1), UNSET);
	touched = fake_dma_touched(&guest.f, HOLE, 4096, DMA_READ | DMA_WRITE);
	ck_assert_uint_eq(touched, 0);
	ck_assert_uint_eq(guest.f.pinned, SECTOR);
	blk_guest_complete(&guest);
	ck_assert(guest.v->status & VIRTIO_STATUS_NEEDS_RESET);
	ck_assert_uint_eq(guest.v->stats.broken, 1);
	ck_assert_uint_eq(guest.f.pinned, 0);
	ck_assert(virtio_blk_check(guest.b));
	blk_guest_start(&guest, 0, 64);
	ck_assert_uint_eq(ask(&guest, VIRTIO_BLK_T_IN, 0, DATA, SECTOR), VIRTIO_BLK_S_OK);
	blk_guest_free(&guest);
}
END_TEST

/* The third step of a request finds a fault that the first did not have. */
START_TEST(a_fault_on_the_way_breaks_the_device)
{
	blk_guest_init(&guest, &able, 1, _i & 1);
	blk_guest_start(&guest, 0, 64);
	ck_assert_uint_eq(ask(&guest, VIRTIO_BLK_T_FLUSH, 0, 0, 0), VIRTIO_BLK_S_OK);
	guest.b->request[0].list.room = 1;
	guest.disk.when = _i & 2 ? BLK_AT_SUBMIT : BLK_LATER;
	fake_dma_protect(&guest.f, DATA + 3 * FAKE_DMA_PAGE, DMA_READ);
	add(&guest, 1, VIRTIO_BLK_T_IN, 0, DATA, 4 * FAKE_DMA_PAGE);
	virtio_notify(guest.v, 0);
	while (guest.disk.steps)
		blk_guest_complete(&guest);
	ck_assert_uint_eq(guest.disk.submitted, 3); /* the flush, and two steps */
	ck_assert(guest.v->status & VIRTIO_STATUS_NEEDS_RESET);
	ck_assert_uint_eq(status_of(&guest, 1), UNSET);
	ck_assert_uint_eq(guest.f.pinned, 0);
	ck_assert(virtio_blk_check(guest.b));
	blk_guest_free(&guest);
}
END_TEST

/* ---- resets ---- */

START_TEST(a_reset_waits_for_what_is_in_flight)
{
	uint32_t length;
	uint16_t id;

	blk_guest_init(&guest, &able, 1, _i);
	for (unsigned round = 0; round < 20; round++) {
		blk_guest_start(&guest, 0, 256);
		for (unsigned n = 0; n < 20; n++)
			add(&guest, n, VIRTIO_BLK_T_OUT, n, DATA + n * SECTOR, SECTOR);
		virtio_notify(guest.v, 0);
		while (guest.disk.steps > round)
			blk_disk_end_one(&guest.disk, 0);
		virtio_set_status(guest.v, 0);
		ck_assert_uint_eq(guest.disk.steps, 0);
		ck_assert_uint_eq(guest.f.pinned, 0);
		ck_assert_uint_eq(guest.b->flying, 0);
		ck_assert(virtio_blk_check(guest.b));
		virtio_blk_completed(guest.b);
		for (unsigned n = 0; n < 20 - round; n++)
			ck_assert(fake_driver_take(&guest.driver[0], &id, &length));
		ck_assert(!fake_driver_take(&guest.driver[0], &id, &length));
	}
	blk_guest_free(&guest);
}
END_TEST

/* RING_RESET: the others' requests end as if nothing had been, those of many steps and those that wait, too. */
START_TEST(a_queue_reset_leaves_the_others)
{
	struct chain c = {0};
	uint32_t length;
	uint16_t id;

	blk_guest_init(&guest, &able, 2, _i);
	blk_guest_start(&guest, 0, 256);
	for (unsigned q = 0; q < 2; q++) {
		c = (struct chain){0};
		chain_add(&c, put_header(&guest, q, VIRTIO_BLK_T_FLUSH, 0), 16, false);
		chain_add(&c, note(q), 1, true);
		offer(&guest, q, &c);
		virtio_notify(guest.v, q);
		blk_guest_complete(&guest);
		guest.b->line[q].free->list.room = 1;
	}
	for (unsigned q = 0; q < 2; q++) {
		c = (struct chain){0};
		chain_add(&c, put_header(&guest, q, VIRTIO_BLK_T_IN, 0), 16, false);
		chain_add(&c, DATA, 4 * FAKE_DMA_PAGE, true);
		chain_add(&c, note(q), 1, true);
		offer(&guest, q, &c);
		virtio_notify(guest.v, q);
	}
	ck_assert_uint_eq(guest.disk.steps, 2);
	guest.disk.submitted = 0;
	virtio_queue_reset(guest.v, 0);
	ck_assert_uint_eq(guest.disk.submitted, 1);
	ck_assert_uint_eq(guest.b->line[0].flying, 0);
	ck_assert_uint_eq(guest.disk.steps, 1);
	ck_assert(virtio_blk_check(guest.b));
	while (guest.disk.steps)
		blk_guest_complete(&guest);
	ck_assert_uint_eq(status_of(&guest, 0), UNSET);
	ck_assert_uint_eq(status_of(&guest, 1), VIRTIO_BLK_S_OK);
	fake_driver_take(&guest.driver[1], &id, &length);
	ck_assert(fake_driver_take(&guest.driver[1], &id, &length));
	ck_assert_uint_eq(length, 4 * FAKE_DMA_PAGE + 1);
	blk_guest_queue(&guest, 0, 16); /* and it works again */
	ck_assert_uint_eq(ask(&guest, VIRTIO_BLK_T_IN, 0, DATA, SECTOR), VIRTIO_BLK_S_OK);
	blk_guest_free(&guest);
}
END_TEST

/* ---- the check itself ---- */

START_TEST(the_check_objects)
{
	struct virtio_blk *b;
	struct blk_request *r;

	blk_guest_init(&guest, &able, 2, false);
	blk_guest_start(&guest, 0, 64);
	b = guest.b;
	add(&guest, 0, VIRTIO_BLK_T_IN, 0, DATA, SECTOR);
	add(&guest, 1, VIRTIO_BLK_T_FLUSH, 0, 0, 0);
	add(&guest, 2, VIRTIO_BLK_T_IN, 0, DATA, SECTOR);
	virtio_notify(guest.v, 0);
	blk_disk_end_one(&guest.disk, 2);
	virtio_blk_completed(b);
	r = &b->request[0];
	ck_assert(virtio_blk_check(b));
#define BROKEN(field, value)                                                                                           \
	do {                                                                                                           \
		__typeof__(field) was = (field);                                                                       \
		(field) = (value);                                                                                     \
		ck_assert_msg(!virtio_blk_check(b), "%s", #field);                                                     \
		(field) = was;                                                                                         \
		ck_assert(virtio_blk_check(b));                                                                        \
	} while (0)
	BROKEN(b->line[0].fresh, VIRTIO_BLK_QUEUE_SIZE + 1);
	BROKEN(b->line[0].fresh, 2u);
	BROKEN(b->line[0].flying, 3u);
	BROKEN(b->line[0].holding, 2u);
	BROKEN(b->line[0].waiting, 1u);
	BROKEN(b->line[0].free, NULL);
	BROKEN(b->line[0].free, r);
	BROKEN(b->line[1].pending, true);
	BROKEN(b->line[1].flying, 1u);
	BROKEN(b->flying, 1u);
	BROKEN(b->inside, r);
	BROKEN(b->stopping, 0u);
	BROKEN(b->waiting, &b->request[2]);
	BROKEN(r->state, BLK_WAITING);
	BROKEN(r->state, BLK_FREE);
	BROKEN(r->queue, 1);
	BROKEN(r->list.count, 0u);
	BROKEN(r->step.bytes, 2 * SECTOR);
	BROKEN(r->step.offset, 1);
	BROKEN(r->step.offset, BLK_GUEST_BYTES);
	BROKEN(r->step.segments, 2u);
	BROKEN(r->step.segment, NULL);
	BROKEN(r->segment[0].bytes, 1);
	BROKEN(b->request[1].list.count, 1u);
	BROKEN(b->request[2].list.count, 1u);
	blk_guest_complete(&guest);
	BROKEN(b->failing, true);
#undef BROKEN
	blk_guest_free(&guest);
}
END_TEST

/* ---- at random, against a model ---- */

struct slot { /* one request, framed at random within its own pages */
	bool live;
	uint16_t id;
	unsigned queue;
	uint32_t type, bytes; /* of data */
	uint64_t sector, sectors;
	uint8_t expected; /* status, if nothing fails */
	uint8_t data[SLOT_BYTES / 2];
	struct chain chain;
};

static struct slot slots[SLOTS];
static uint8_t model[BLK_GUEST_BYTES];
static bool busy[BLK_GUEST_SECTORS];

/* Cuts `bytes` at random, from *at on. */
static void frame(struct chain *c, uint64_t *at, uint64_t bytes, bool writable)
{
	while (bytes) {
		uint64_t n = below(3) ? bytes : 1 + below(bytes);

		*at += below(2) * below(20);
		chain_add(c, *at, n, writable);
		*at += n;
		bytes -= n;
	}
}

/* Byte `offset` of the chain's part, as a gpa. */
static void chain_copy(struct blk_guest *g, const struct chain *c, bool writable, uint8_t *bytes, uint64_t count,
		       bool to_guest)
{
	for (unsigned i = writable ? c->readable : 0; count; i++) {
		uint64_t n = c->buffer[i].bytes < count ? c->buffer[i].bytes : count;

		if (to_guest)
			fake_dma_put(&g->f, c->buffer[i].iova, bytes, n);
		else
			fake_dma_get(&g->f, c->buffer[i].iova, bytes, n);
		bytes += n;
		count -= n;
	}
}

static bool take_sectors(uint64_t sector, uint64_t sectors)
{
	for (uint64_t i = 0; i < sectors; i++)
		if (busy[sector + i])
			return false;
	memset(busy + sector, true, sectors);
	return true;
}

static bool choose(struct slot *s)
{
	static const uint32_t types[] = {VIRTIO_BLK_T_IN,      VIRTIO_BLK_T_OUT,	 VIRTIO_BLK_T_IN,
					 VIRTIO_BLK_T_OUT,     VIRTIO_BLK_T_FLUSH,	 VIRTIO_BLK_T_GET_ID,
					 VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_T_WRITE_ZEROES};
	struct virtio_blk_range range = {.flags = 0};

	s->type = types[below(8)];
	s->sector = below(64) * below(60);
	s->expected = VIRTIO_BLK_S_OK;
	s->bytes = 0;
	s->sectors = 0;
	switch (s->type) {
	case VIRTIO_BLK_T_IN:
	case VIRTIO_BLK_T_OUT:
		s->sectors = 1 + below(6);
		s->bytes = (uint32_t)s->sectors * SECTOR;
		fill(s->data, s->bytes);
		break;
	case VIRTIO_BLK_T_GET_ID:
		s->bytes = VIRTIO_BLK_ID_BYTES;
		break;
	case VIRTIO_BLK_T_DISCARD:
	case VIRTIO_BLK_T_WRITE_ZEROES:
		range = (struct virtio_blk_range){s->sector, (uint32_t)below(20),
						  s->type == VIRTIO_BLK_T_WRITE_ZEROES ? (uint32_t)below(2) : 0};
		memcpy(s->data, &range, sizeof(range));
		s->sectors = range.sectors;
		s->bytes = RANGE;
		break;
	default:
		break;
	}
	return take_sectors(s->sector, s->sectors);
}

static void send(struct blk_guest *g, unsigned n)
{
	const struct virtio_blk_header h = {0};
	struct slot *s = &slots[n];
	uint64_t at = DATA + n * SLOT_BYTES + below(200);
	uint8_t readable[16 + sizeof(s->data)];
	bool in;
	uint64_t out_bytes, in_bytes;

	if (!choose(s))
		return;
	in = s->type == VIRTIO_BLK_T_IN || s->type == VIRTIO_BLK_T_GET_ID;
	out_bytes = 16 + (in ? 0 : s->bytes);
	in_bytes = 1 + (in ? s->bytes : 0);
	memcpy(readable, &h, 16);
	memcpy(readable, &(struct virtio_blk_header){.type = s->type, .sector = s->sector}, 16);
	memcpy(readable + 16, s->data, s->bytes);
	s->chain = (struct chain){0};
	frame(&s->chain, &at, out_bytes, false);
	frame(&s->chain, &at, in_bytes, true);
	ck_assert_uint_le(at, DATA + (n + 1) * SLOT_BYTES);
	chain_copy(g, &s->chain, false, readable, out_bytes, true);
	s->queue = (unsigned)below(g->b->queues);
	s->id = fake_driver_add(&g->driver[s->queue], s->chain.buffer, s->chain.readable, s->chain.writable,
				below(2) ? FAKE_DRIVER_DIRECT : FAKE_DRIVER_INDIRECT);
	s->live = s->id != FAKE_DRIVER_FULL;
	if (!s->live)
		memset(busy + s->sector, false, s->sectors);
}

static void change_model(const struct slot *s)
{
	if (s->type == VIRTIO_BLK_T_OUT)
		memcpy(model + s->sector * SECTOR, s->data, s->bytes);
	else if (s->type == VIRTIO_BLK_T_WRITE_ZEROES)
		memset(model + s->sector * SECTOR, 0, s->sectors * SECTOR);
	else if (s->type == VIRTIO_BLK_T_DISCARD)
		memset(model + s->sector * SECTOR, 0xdd, s->sectors * SECTOR);
}

static void check_end(struct blk_guest *g, struct slot *s, uint32_t length)
{
	bool in = s->type == VIRTIO_BLK_T_IN || s->type == VIRTIO_BLK_T_GET_ID;
	uint8_t got[sizeof(s->data) + 1];
	uint64_t bytes = 1 + (in ? s->bytes : 0);

	chain_copy(g, &s->chain, true, got, bytes, false);
	if (got[bytes - 1] == VIRTIO_BLK_S_IOERR && g->disk.fail) {
		EXPECT(length == (in ? 0 : 1));
		/* A step that fails moves nothing; that may be the flush behind the write. */
		if (memcmp(g->disk.data + s->sector * SECTOR, model + s->sector * SECTOR, s->sectors * SECTOR) != 0)
			change_model(s);
		return;
	}
	EXPECT(got[bytes - 1] == s->expected);
	EXPECT(length == bytes);
	if (s->type == VIRTIO_BLK_T_IN)
		EXPECT(memcmp(got, model + s->sector * SECTOR, s->bytes) == 0);
	else if (s->type == VIRTIO_BLK_T_GET_ID)
		EXPECT(memcmp(got, able.serial, VIRTIO_BLK_ID_BYTES) == 0);
	change_model(s);
}

static unsigned collect(struct blk_guest *g)
{
	uint32_t length;
	unsigned count = 0;
	uint16_t id;

	for (unsigned q = 0; q < g->b->queues; q++)
		while (fake_driver_take(&g->driver[q], &id, &length)) {
			struct slot *s = slots;

			while (s < slots + SLOTS && !(s->live && s->queue == q && s->id == id))
				s++;
			EXPECT(s < slots + SLOTS);
			check_end(g, s, length);
			memset(busy + s->sector, false, s->sectors);
			s->live = false;
			count++;
		}
	return count;
}

static void random_end(struct blk_guest *g)
{
	if (!g->disk.steps)
		return;
	for (unsigned n = 1 + (unsigned)below(g->disk.steps); n-- && g->disk.steps;)
		blk_disk_end_one(&g->disk, (unsigned)below(g->disk.steps));
	virtio_blk_completed(g->b);
}

static void random_run(struct blk_guest *g, unsigned rounds)
{
	unsigned ended = 0;

	memset(slots, 0, sizeof(slots));
	memset(busy, 0, sizeof(busy));
	memset(model, 0, sizeof(model));
	for (unsigned round = 0; round < rounds; round++) {
		unsigned n = (unsigned)below(SLOTS);

		g->disk.when = below(50) ? g->disk.when : (enum blk_when)below(3);
		if (!slots[n].live)
			send(g, n);
		if (below(2))
			virtio_notify(g->v, (unsigned)below(g->b->queues));
		if (below(2))
			random_end(g);
		ended += collect(g);
		if (round % 64 == 0)
			EXPECT(virtio_blk_check(g->b) && virtio_check(g->v));
	}
	for (unsigned q = 0; q < g->b->queues; q++)
		virtio_notify(g->v, q);
	while (g->disk.steps)
		blk_guest_complete(g);
	ended += collect(g);
	for (unsigned n = 0; n < SLOTS; n++)
		ck_assert(!slots[n].live);
	ck_assert_uint_gt(ended, rounds / 4);
	ck_assert_mem_eq(g->disk.data, model, BLK_GUEST_BYTES);
	ck_assert_uint_eq(g->f.pinned, 0);
	ck_assert_uint_eq(g->f.strays, 0);
	ck_assert(!(g->v->status & VIRTIO_STATUS_NEEDS_RESET));
}

START_TEST(reads_what_a_model_holds)
{
	seed(MODEL_SEED + (unsigned)_i);
	blk_guest_init(&guest, &able, _i & 2 ? 3 : 1, _i & 1);
	guest.f.watch = false;
	guest.disk.random = below;
	guest.disk.fail = _i & 4 ? 100 : 0;
	blk_guest_start(&guest, _i & 8 ? F(FLUSH) : 0, 64);
	random_run(&guest, ROUNDS);
	blk_guest_free(&guest);
}
END_TEST

/* The shadow: what the device wrote is what it was given to write, the rings apart. */
START_TEST(touches_nothing_else)
{
	seed(MODEL_SEED);
	blk_guest_init(&guest, &able, 1, _i);
	blk_guest_start(&guest, 0, 64);
	guest.disk.when = BLK_LATER;
	for (unsigned round = 0; round < 300; round++) {
		struct slot *s = &slots[round % SLOTS];
		uint64_t writable = 0;

		memset(busy, 0, sizeof(busy));
		send(&guest, round % SLOTS);
		if (!s->live)
			continue;
		fake_dma_forget(&guest.f);
		virtio_notify(guest.v, 0);
		while (guest.disk.steps)
			blk_guest_complete(&guest);
		for (unsigned i = s->chain.readable; i < s->chain.readable + s->chain.writable; i++)
			writable += fake_dma_touched(&guest.f, s->chain.buffer[i].iova, s->chain.buffer[i].bytes,
						     DMA_WRITE);
		ck_assert_uint_eq(writable, fake_dma_touched(&guest.f, DATA, BLK_GUEST_RAM, DMA_WRITE));
		ck_assert_uint_eq(collect(&guest), 1);
	}
	blk_guest_free(&guest);
}
END_TEST

Suite *virtio_blk_suite(void)
{
	Suite *s = suite_create("virtio_blk");
	TCase *c = tcase_create("virtio_blk");

	tcase_set_timeout(c, 60);
	tcase_add_test(c, offers_what_the_backend_can);
	tcase_add_test(c, writeback_is_the_drivers);
	tcase_add_loop_test(c, a_readonly_disk_takes_no_write, 0, 2);
	tcase_add_loop_test(c, unknown_flags_and_types_are_unsupported, 0, 2);
	tcase_add_loop_test(c, zeroes_are_read_back, 0, 2);
	tcase_add_loop_test(c, empty_ranges_are_done_at_once, 0, 2);
	tcase_add_loop_test(c, writes_are_stable_when_they_must_be, 0, 2);
	tcase_add_loop_test(c, what_is_outside_is_an_error, 0, 2);
	tcase_add_loop_test(c, lengths_that_are_none_are_errors, 0, 2);
	tcase_add_loop_test(c, a_request_without_status_breaks_the_device, 0, 4);
	tcase_add_loop_test(c, a_broken_device_does_not_wait_to_say_so, 0, 2);
	tcase_add_loop_test(c, the_id_is_twenty_bytes, 0, 2);
	tcase_add_loop_test(c, header_and_status_lie_anywhere, 0, 2);
	tcase_add_loop_test(c, a_read_that_failed_wrote_nothing_for_sure, 0, 2);
	tcase_add_loop_test(c, a_large_request_goes_step_by_step, 0, 6);
	tcase_add_loop_test(c, a_full_step_ends_at_a_sector, 0, 6);
	tcase_add_loop_test(c, requests_wait_for_slots, 0, 2);
	tcase_add_loop_test(c, one_kick_and_one_interrupt_a_burst, 0, 6);
	tcase_add_loop_test(c, large_requests_are_kicked_and_told_on_the_way, 0, 6);
	tcase_add_loop_test(c, a_poll_stands_for_notifications, 0, 2);
	tcase_add_loop_test(c, a_full_queue_at_once_is_served, 0, 2);
	tcase_add_loop_test(c, queues_are_apart, 0, 2);
	tcase_add_loop_test(c, a_fault_breaks_the_device, 0, 10);
	tcase_add_loop_test(c, a_fault_on_the_way_breaks_the_device, 0, 4);
	tcase_add_loop_test(c, a_reset_waits_for_what_is_in_flight, 0, 2);
	tcase_add_loop_test(c, a_queue_reset_leaves_the_others, 0, 2);
	tcase_add_test(c, the_check_objects);
	tcase_add_loop_test(c, reads_what_a_model_holds, 0, 16);
	tcase_add_loop_test(c, touches_nothing_else, 0, 2);
	suite_add_tcase(s, c);
	return s;
}
