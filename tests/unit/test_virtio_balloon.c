/* The virtio balloon as its driver sees it, and what its owner is told: each rule of VIRTIO 1.2, 5.5 that binds the
 * device is a test, named or cited; then Linux's driver's ways; then random requests beside a naive record. */
#include <check.h>
#undef fail

#include "tests/unit/balloon_guest.h"
#include "tests/unit/random.h"

Suite *virtio_balloon_suite(void);

#define PAGE	VIRTIO_BALLOON_PAGE
#define QUEUE	32u
#define BIT(n)	(UINT64_C(1) << (n))
#define INFLATE 0u
#define DEFLATE 1u
#define STATS	2u
#define REPORT	3u
#define EVENTS	BIT(VIRTIO_F_EVENT_IDX)

static struct balloon_guest g;

/* _i: a packed ring, too. */
static void begin(int packed, uint64_t without)
{
	balloon_guest_init(&g, packed, true, &balloon_guest_ops);
	balloon_guest_negotiate(&g, without | EVENTS, BALLOON_GUEST_QUEUES, QUEUE);
	balloon_guest_ok(&g);
}

static void end(void)
{
	ck_assert(virtio_check(&g.b.virtio));
	balloon_guest_free(&g);
}

static uint64_t config(unsigned offset, unsigned width)
{
	return g.b.virtio.config.ops->read_config(&g.b, offset, width);
}

static void config_write(unsigned offset, unsigned width, uint64_t value)
{
	g.b.virtio.config.ops->write_config(&g.b, offset, width, value);
}

static void expect(unsigned i, enum balloon_word word, uint64_t page, uint64_t pages)
{
	ck_assert_uint_lt(i, g.runs);
	ck_assert_uint_eq(g.run[i].word, word);
	ck_assert_uint_eq(g.run[i].gpa, page * PAGE);
	ck_assert_uint_eq(g.run[i].bytes, pages * PAGE);
}

/* ---- features and configuration ---- */

/* 5.5.3; never behind an IOMMU: Linux's driver drops ACCESS_PLATFORM. */
START_TEST(offers_what_it_was_made_for)
{
	const uint64_t kind = BIT(VIRTIO_BALLOON_F_MUST_TELL_HOST) | BIT(VIRTIO_BALLOON_F_STATS_VQ);

	balloon_guest_init(&g, false, false, &balloon_guest_ops);
	ck_assert_uint_eq(g.b.virtio.offered & 0xffffff, kind);
	end();
	balloon_guest_init(&g, false, true, &balloon_guest_ops);
	ck_assert_uint_eq(g.b.virtio.offered & 0xffffff,
			  kind | BIT(VIRTIO_BALLOON_F_DEFLATE_ON_OOM) | BIT(VIRTIO_BALLOON_F_PAGE_REPORTING));
	ck_assert(!(g.b.virtio.offered & BIT(VIRTIO_F_ACCESS_PLATFORM)));
	ck_assert_uint_eq(g.b.virtio.config.id, VIRTIO_ID_BALLOON);
	end();
}
END_TEST

/* 5.5.4: without hints and poison there are but two fields. */
START_TEST(config_has_target_and_actual)
{
	begin(_i, 0);
	ck_assert_uint_eq(g.b.virtio.config.config_bytes, 8);
	virtio_balloon_set_target(&g.b, 77 * PAGE + 5);
	ck_assert_uint_eq(config(0, 4), 77);
	config_write(4, 4, 33);
	ck_assert_uint_eq(config(4, 4), 33);
	ck_assert_uint_eq(config(0, 8), 77 | UINT64_C(33) << 32);
	ck_assert_uint_eq(config(4, 1), 33);
	ck_assert_uint_eq(g.b.actual, 33);
	config_write(0, 4, 1);
	config_write(0, 8, 1);
	config_write(4, 2, 1);
	config_write(5, 1, 1);
	ck_assert_uint_eq(config(0, 8), 77 | UINT64_C(33) << 32);
	end();
}
END_TEST

START_TEST(target_is_told_when_it_changes)
{
	uint32_t generation;

	begin(_i, 0);
	generation = g.b.virtio.generation;
	virtio_balloon_set_target(&g.b, 0);
	ck_assert_uint_eq(g.interrupts, 0);
	virtio_balloon_set_target(&g.b, 1 << 20);
	ck_assert_uint_eq(g.interrupts, 1);
	ck_assert_uint_ne(g.b.virtio.generation, generation);
	ck_assert(g.b.virtio.interrupt_status & VIRTIO_INTERRUPT_CONFIG);
	virtio_balloon_set_target(&g.b, (1 << 20) + 1);
	ck_assert_uint_eq(g.interrupts, 1);
	virtio_balloon_set_target(&g.b, UINT64_MAX);
	ck_assert_uint_eq(config(0, 4), UINT32_MAX);
	ck_assert_uint_eq(g.interrupts, 2);
	virtio_set_status(&g.b.virtio, 0);
	ck_assert_uint_eq(config(0, 4), UINT32_MAX); /* the next driver is asked the same */
	virtio_balloon_set_target(&g.b, 0);
	ck_assert_uint_eq(g.interrupts, 2); /* nobody is there */
	end();
}
END_TEST

/* ---- 5.5.2: queues ---- */

START_TEST(every_queue_has_room_for_linux)
{
	balloon_guest_init(&g, _i, true, &balloon_guest_ops);
	for (unsigned i = 0; i < VIRTIO_QUEUES_MAX; i++)
		ck_assert_uint_eq(g.b.virtio.queue[i].size_max, i < 4 ? VIRTIO_BALLOON_QUEUE_SIZE : 0);
	ck_assert_uint_ge(VIRTIO_BALLOON_QUEUE_SIZE, 32);
	end();
}
END_TEST

/* What a queue does with a page that can be read, and written: as Linux and QEMU count them. */
static void check_role(unsigned queue, bool statistics, bool reporting)
{
	const struct virtqueue_buffer page = {BALLOON_GUEST_RAM, PAGE};
	unsigned told = g.statistics;

	g.runs = 0;
	fake_driver_add(&g.driver[queue], &page, 0, 1, FAKE_DRIVER_DIRECT);
	virtio_notify(&g.b.virtio, queue);
	ck_assert_uint_eq(g.statistics - told, statistics);
	ck_assert_uint_eq(g.runs, reporting);
}

START_TEST(queues_are_counted_over_what_was_negotiated)
{
	const uint64_t stats = BIT(VIRTIO_BALLOON_F_STATS_VQ), reporting = BIT(VIRTIO_BALLOON_F_PAGE_REPORTING);

	begin(_i, 0);
	check_role(2, true, false);
	check_role(3, false, true);
	balloon_guest_negotiate(&g, stats | EVENTS, 4, QUEUE);
	balloon_guest_ok(&g);
	check_role(2, false, true);
	check_role(3, false, false);
	balloon_guest_negotiate(&g, reporting | EVENTS, 4, QUEUE);
	balloon_guest_ok(&g);
	check_role(2, true, false);
	check_role(3, false, false);
	balloon_guest_negotiate(&g, reporting | stats | EVENTS, 4, QUEUE);
	balloon_guest_ok(&g);
	check_role(2, false, false);
	check_role(3, false, false);
	ck_assert(virtio_running(&g.b.virtio));
	end();
}
END_TEST

/* ---- inflate and deflate ---- */

START_TEST(pfns_become_runs)
{
	static const uint32_t some[] = {9, 8, 7, 30, 3, 31, 8, 8, 2, UINT32_MAX, 100};

	begin(_i, 0);
	ck_assert(balloon_guest_pfns(&g, INFLATE, some, 11));
	ck_assert_uint_eq(g.runs, 5);
	expect(0, BALLOON_GIVEN, 2, 2);
	expect(1, BALLOON_GIVEN, 7, 3);
	expect(2, BALLOON_GIVEN, 30, 2);
	expect(3, BALLOON_GIVEN, 100, 1);
	expect(4, BALLOON_GIVEN, UINT32_MAX, 1);
	ck_assert_uint_eq(g.b.stats.runs, 5);
	ck_assert_uint_eq(g.b.stats.inflated, 9 * PAGE);
	ck_assert_uint_eq(g.b.stats.returned, 9 * PAGE / 2);
	g.runs = 0;
	ck_assert(balloon_guest_pfns(&g, DEFLATE, some, 3));
	expect(0, BALLOON_TAKEN, 7, 3);
	ck_assert_uint_eq(g.b.stats.deflated, 3 * PAGE);
	ck_assert_uint_eq(g.interrupts, 2);
	end();
}
END_TEST

/* 5.5.6.1: the driver uses a page once its request is done, so it is taken or given before. */
START_TEST(done_is_said_when_it_is_done)
{
	static const uint32_t one = 5;

	begin(0, 0);
	ck_assert(balloon_guest_pfns(&g, INFLATE, &one, 1));
	ck_assert_uint_eq(g.used, 0);
	ck_assert(balloon_guest_pfns(&g, DEFLATE, &one, 1));
	ck_assert_uint_eq(g.used, 1);
	end();
}
END_TEST

/* 5.5.6.2: who did not take MUST_TELL_HOST may use a page as soon as it was inflated. */
START_TEST(driver_that_does_not_tell_gives_nothing_for_long)
{
	static const uint32_t pair[] = {4, 5};

	begin(_i, BIT(VIRTIO_BALLOON_F_MUST_TELL_HOST));
	ck_assert(balloon_guest_pfns(&g, INFLATE, pair, 2));
	expect(0, BALLOON_REPORTED, 4, 2);
	ck_assert(balloon_guest_pfns(&g, DEFLATE, pair, 2));
	ck_assert_uint_eq(g.runs, 1);
	ck_assert_uint_eq(g.b.stats.inflated, 2 * PAGE);
	ck_assert_uint_eq(g.b.stats.deflated, 2 * PAGE);
	ck_assert_uint_eq(g.b.stats.returned, 2 * PAGE);
	end();
}
END_TEST

/* 2.7.4: cut anyhow; what is no whole number of PFNs is none, what is writable is not read. */
START_TEST(framing_means_nothing)
{
	static const uint32_t pfn[] = {10, 12, 11, 20};
	const struct virtqueue_buffer buffer[] = {
		{BALLOON_GUEST_WORDS, 3},      {BALLOON_GUEST_WORDS + 3, 6}, {BALLOON_GUEST_WORDS + 9, 1},
		{BALLOON_GUEST_WORDS + 10, 5}, {BALLOON_GUEST_RAM, PAGE},
	};
	uint32_t written;
	uint16_t id;

	begin(_i, 0);
	fake_dma_put(&g.f, BALLOON_GUEST_WORDS, pfn, sizeof(pfn));
	fake_driver_add(&g.driver[INFLATE], buffer, 4, 1, FAKE_DRIVER_DIRECT);
	fake_driver_add(&g.driver[INFLATE], buffer, 1, 0, FAKE_DRIVER_DIRECT);
	fake_driver_add(&g.driver[INFLATE], buffer + 4, 0, 1, FAKE_DRIVER_DIRECT);
	virtio_notify(&g.b.virtio, INFLATE);
	expect(0, BALLOON_GIVEN, 10, 3);
	ck_assert_uint_eq(g.runs, 1);
	for (unsigned i = 0; i < 3; i++) {
		ck_assert(fake_driver_take(&g.driver[INFLATE], &id, &written));
		ck_assert_uint_eq(written, 0);
	}
	ck_assert_uint_eq(fake_dma_touched(&g.f, BALLOON_GUEST_RAM, PAGE, DMA_READ | DMA_WRITE), 0);
	end();
}
END_TEST

static uint32_t many[0x10001];

/* 64 pieces of 1024 PFNs each; one more PFN is no driver's. */
START_TEST(request_of_any_length_up_to_a_bound)
{
	const uint32_t all = 0x10000;

	begin(_i, 0);
	g.f.watch = false;
	for (uint32_t i = 0; i <= all; i++)
		many[i] = (i & ~UINT32_C(1023)) | ((i * 5 + 3) & 1023);
	ck_assert(balloon_guest_pfns(&g, INFLATE, many, all));
	ck_assert_uint_eq(g.runs, 64);
	for (unsigned i = 0; i < 64; i++)
		expect(i, BALLOON_GIVEN, i * 1024, 1024);
	ck_assert(!balloon_guest_pfns(&g, DEFLATE, many, all + 1));
	ck_assert_ptr_nonnull(g.broken);
	ck_assert(!virtio_running(&g.b.virtio));
	ck_assert_uint_eq(g.runs, 64);
	end();
}
END_TEST

/* ---- 5.5.6.7: reporting ---- */

START_TEST(report_is_of_the_buffers_themselves)
{
	const struct virtqueue_buffer buffer[] = {
		{BALLOON_GUEST_WORDS, 8},
		{BALLOON_GUEST_RAM, 2 * PAGE},
		{BALLOON_GUEST_RAM + 2 * PAGE, 3 * PAGE},
		{BALLOON_GUEST_RAM + 8 * PAGE, PAGE},
		{BALLOON_GUEST_RAM + 8 * PAGE, PAGE},
		{BALLOON_GUEST_RAM + 10 * PAGE + 1, 3 * PAGE},
		{BALLOON_GUEST_RAM, PAGE - 1},
		{UINT64_MAX - PAGE, PAGE},
		{UINT64_MAX - 2 * PAGE + 1, PAGE},
		{0, PAGE},
	};
	uint32_t written;
	uint16_t id;

	begin(_i, 0);
	fake_driver_add(&g.driver[REPORT], buffer, 1, 9, FAKE_DRIVER_DIRECT);
	virtio_notify(&g.b.virtio, REPORT);
	ck_assert(fake_driver_take(&g.driver[REPORT], &id, &written));
	ck_assert_uint_eq(written, 0);
	expect(0, BALLOON_REPORTED, BALLOON_GUEST_RAM / PAGE, 5);
	expect(1, BALLOON_REPORTED, BALLOON_GUEST_RAM / PAGE + 8, 1);
	expect(2, BALLOON_REPORTED, BALLOON_GUEST_RAM / PAGE + 8, 1);
	expect(3, BALLOON_REPORTED, BALLOON_GUEST_RAM / PAGE + 11, 2);
	expect(4, BALLOON_REPORTED, 0, 1);
	ck_assert_uint_eq(g.runs, 5);
	ck_assert_uint_eq(g.b.stats.ragged, 3);
	ck_assert_uint_eq(g.b.stats.reported, 10 * PAGE);
	ck_assert_uint_eq(g.b.stats.returned, 10 * PAGE);
	ck_assert_uint_eq(fake_dma_touched(&g.f, BALLOON_GUEST_RAM, 16 * PAGE, DMA_READ | DMA_WRITE), 0);
	ck_assert(virtio_running(&g.b.virtio));
	end();
}
END_TEST

START_TEST(report_may_begin_at_zero)
{
	const struct virtqueue_buffer buffer[] = {{0, PAGE}, {PAGE, PAGE}, {0, PAGE}};

	begin(_i, 0);
	fake_driver_add(&g.driver[REPORT], buffer, 0, 3, FAKE_DRIVER_DIRECT);
	virtio_notify(&g.b.virtio, REPORT);
	expect(0, BALLOON_REPORTED, 0, 2);
	expect(1, BALLOON_REPORTED, 0, 1);
	fake_driver_add(&g.driver[REPORT], buffer, 1, 0, FAKE_DRIVER_DIRECT);
	virtio_notify(&g.b.virtio, REPORT); /* nothing that can be written: nothing is reported */
	ck_assert_uint_eq(g.runs, 2);
	end();
}
END_TEST

/* As with PFNs: what is no RAM costs a look at each of its pages, and a buffer may name 4 GiB of it. */
START_TEST(report_of_any_length_up_to_a_bound)
{
	const struct virtqueue_buffer most[] = {{0, 65535 * PAGE}, {UINT64_C(1) << 40, PAGE}},
				      more[] = {{0, 65535 * PAGE}, {UINT64_C(1) << 40, PAGE + 1}};

	begin(_i, 0);
	fake_driver_add(&g.driver[REPORT], most, 0, 2, FAKE_DRIVER_DIRECT);
	virtio_notify(&g.b.virtio, REPORT);
	ck_assert_uint_eq(g.b.stats.reported, 65536 * PAGE);
	ck_assert(virtio_running(&g.b.virtio));
	fake_driver_add(&g.driver[REPORT], more, 0, 2, FAKE_DRIVER_DIRECT);
	virtio_notify(&g.b.virtio, REPORT);
	ck_assert(!virtio_running(&g.b.virtio));
	ck_assert_uint_eq(g.b.stats.reported, 65536 * PAGE);
	ck_assert_uint_eq(g.runs, 2);
	end();
}
END_TEST

/* ---- 5.5.6.3: statistics ---- */

static unsigned offer_stats(unsigned slot, const struct virtio_balloon_stat *stat, unsigned count)
{
	unsigned before = g.statistics;

	ck_assert(balloon_guest_offer(&g, STATS, BALLOON_GUEST_WORDS + slot * 0x1000, stat, count * 10));
	virtio_notify(&g.b.virtio, STATS);
	return g.statistics - before;
}

START_TEST(statistics_are_asked_by_giving_the_buffer_back)
{
	/* 5.5.6.3.2: any order, unknown tags ignored. */
	static const struct virtio_balloon_stat stat[] = {
		{VIRTIO_BALLOON_S_CACHES, 7},  {10, 1}, {VIRTIO_BALLOON_S_MEMFREE, 4}, {0xffff, 2},
		{VIRTIO_BALLOON_S_SWAP_IN, 3},
	};
	uint32_t written;
	uint16_t id;

	begin(_i, 0);
	ck_assert(!virtio_balloon_ask_statistics(&g.b)); /* none was lent yet */
	ck_assert_uint_eq(offer_stats(0, stat, 5), 1);
	for (unsigned i = 0; i < VIRTIO_BALLOON_S_TAGS; i++)
		ck_assert_uint_eq(g.value[i], i == 7 ? 7 : i == 4 ? 4 : i == 0 ? 3 : UINT64_MAX);
	ck_assert(!fake_driver_take(&g.driver[STATS], &id, &written)); /* held */
	ck_assert_uint_eq(g.interrupts, 0);
	ck_assert(virtio_balloon_ask_statistics(&g.b));
	ck_assert_uint_eq(g.interrupts, 1);
	ck_assert(fake_driver_take(&g.driver[STATS], &id, &written));
	ck_assert_uint_eq(written, 0);
	ck_assert(!virtio_balloon_ask_statistics(&g.b)); /* not answered yet */
	ck_assert_uint_eq(offer_stats(0, stat, 1), 1);
	ck_assert_uint_eq(g.value[4], UINT64_MAX);
	ck_assert(virtio_balloon_ask_statistics(&g.b));
	end();
}
END_TEST

START_TEST(second_buffer_waits_for_its_turn)
{
	static const struct virtio_balloon_stat a = {0, 1}, b = {0, 2};

	begin(_i, 0);
	ck_assert_uint_eq(offer_stats(0, &a, 1), 1);
	ck_assert_uint_eq(offer_stats(1, &b, 1), 0);
	ck_assert_uint_eq(g.value[0], 1);
	ck_assert(virtio_balloon_ask_statistics(&g.b));
	ck_assert_uint_eq(g.value[0], 2);
	ck_assert(virtio_balloon_ask_statistics(&g.b));
	ck_assert(!virtio_balloon_ask_statistics(&g.b));
	end();
}
END_TEST

START_TEST(statistics_are_bounded)
{
	struct virtio_balloon_stat stat[200];

	begin(_i, 0);
	for (unsigned i = 0; i < 200; i++)
		stat[i] = (struct virtio_balloon_stat){i < 64 ? 1 : 2, i};
	ck_assert_uint_eq(offer_stats(0, stat, 200), 1);
	ck_assert_uint_eq(g.value[1], 63);
	ck_assert_uint_eq(g.value[2], UINT64_MAX);
	end();
}
END_TEST

START_TEST(statistics_without_a_listener)
{
	static const struct virtio_balloon_stat a = {0, 1};
	struct balloon_ops ops = balloon_guest_ops;

	ops.statistics = NULL;
	balloon_guest_init(&g, _i, true, &ops);
	balloon_guest_negotiate(&g, EVENTS, 4, QUEUE);
	balloon_guest_ok(&g);
	ck_assert_uint_eq(offer_stats(0, &a, 1), 0);
	ck_assert(virtio_balloon_ask_statistics(&g.b));
	balloon_guest_negotiate(&g, BIT(VIRTIO_BALLOON_F_STATS_VQ) | EVENTS, 4, QUEUE);
	balloon_guest_ok(&g);
	ck_assert(!virtio_balloon_ask_statistics(&g.b));
	end();
}
END_TEST

START_TEST(held_buffer_is_forgotten_with_its_queue)
{
	static const struct virtio_balloon_stat a = {0, 1};

	begin(_i, 0);
	ck_assert_uint_eq(offer_stats(0, &a, 1), 1);
	virtio_queue_reset(&g.b.virtio, INFLATE);
	ck_assert(g.b.holds_stats);
	virtio_queue_reset(&g.b.virtio, STATS);
	ck_assert(!g.b.holds_stats);
	ck_assert(!virtio_balloon_ask_statistics(&g.b));
	balloon_guest_queue(&g, STATS, QUEUE);
	ck_assert_uint_eq(offer_stats(0, &a, 1), 1);
	virtio_set_status(&g.b.virtio, 0);
	ck_assert(!virtio_balloon_ask_statistics(&g.b));
	end();
}
END_TEST

/* ---- Linux: drivers/virtio/virtio_balloon.c ---- */

/* It lends its statistics, and notifies, before it is DRIVER_OK; a target that was set by then is seen at once. */
START_TEST(linux_primes_its_statistics_too_early)
{
	static const struct virtio_balloon_stat a = {VIRTIO_BALLOON_S_MEMTOT, 42};

	balloon_guest_init(&g, _i, true, &balloon_guest_ops);
	virtio_balloon_set_target(&g.b, 10 * PAGE);
	balloon_guest_negotiate(&g, EVENTS, 4, QUEUE);
	ck_assert_uint_eq(offer_stats(0, &a, 1), 0);
	balloon_guest_ok(&g);
	ck_assert_uint_eq(g.statistics, 1);
	ck_assert_uint_eq(g.value[VIRTIO_BALLOON_S_MEMTOT], 42);
	ck_assert_uint_eq(config(0, 4), 10);
	ck_assert(virtio_balloon_ask_statistics(&g.b));
	end();
}
END_TEST

/* 256 PFNs at a time, most of them in reverse; it waits for each. */
START_TEST(linux_inflates_in_reverse)
{
	uint32_t pfn[256];

	begin(_i, 0);
	for (unsigned burst = 0; burst < 4; burst++) {
		for (unsigned i = 0; i < 256; i++)
			pfn[i] = 4096 - burst * 256 - i - 1;
		ck_assert(balloon_guest_pfns(&g, INFLATE, pfn, 256));
		expect(burst, BALLOON_GIVEN, 4096 - (burst + 1) * 256, 256);
		config_write(4, 4, (burst + 1) * 256);
	}
	ck_assert_uint_eq(g.runs, 4);
	ck_assert_uint_eq(g.b.actual, 1024);
	end();
}
END_TEST

/* ---- what ends, what breaks ---- */

START_TEST(nothing_stays_given_behind_a_reset)
{
	static const uint32_t one = 5;

	begin(_i, 0);
	ck_assert(balloon_guest_pfns(&g, INFLATE, &one, 1));
	config_write(4, 4, 1);
	g.resets = 0;
	virtio_queue_reset(&g.b.virtio, INFLATE);
	ck_assert_uint_eq(g.resets, 0);
	virtio_set_status(&g.b.virtio, 0);
	ck_assert_uint_eq(g.resets, 1);
	ck_assert_uint_eq(config(4, 4), 0);
	end();
}
END_TEST

START_TEST(buffer_out_of_ram_breaks_the_device)
{
	const struct virtqueue_buffer bad = {0xdead0000000, 64};

	for (unsigned queue = INFLATE; queue <= STATS; queue++) {
		begin(_i, 0);
		fake_driver_add(&g.driver[queue], &bad, 1, 0, FAKE_DRIVER_DIRECT);
		virtio_notify(&g.b.virtio, queue);
		ck_assert_ptr_nonnull(g.broken);
		ck_assert_uint_eq(g.runs + g.statistics, 0);
		ck_assert(!virtio_balloon_ask_statistics(&g.b));
		end();
	}
}
END_TEST

/* Each access of the device to the guest's memory fails in turn. */
START_TEST(every_access_fails_once)
{
	static const struct virtio_balloon_stat a = {0, 1};
	static const uint32_t pfn[] = {1, 2};
	const struct virtqueue_buffer page = {BALLOON_GUEST_RAM, PAGE};
	uint64_t accesses = 1;

	for (uint64_t n = 0; n < accesses; n++) {
		begin(_i, 0);
		fake_dma_forget(&g.f);
		g.f.fail_at = n;
		(void)balloon_guest_pfns(&g, INFLATE, pfn, 2);
		(void)balloon_guest_pfns(&g, DEFLATE, pfn, 2);
		(void)offer_stats(1, &a, 1);
		fake_driver_add(&g.driver[REPORT], &page, 0, 1, FAKE_DRIVER_DIRECT);
		virtio_notify(&g.b.virtio, REPORT);
		(void)virtio_balloon_ask_statistics(&g.b);
		ck_assert(virtio_running(&g.b.virtio) == (n == 0));
		if (n == 0)
			accesses = g.f.accesses + 1;
		ck_assert(virtio_check(&g.b.virtio));
		g.f.fail_at = 0;
		balloon_guest_negotiate(&g, EVENTS, 4, QUEUE);
		balloon_guest_ok(&g);
		ck_assert(balloon_guest_pfns(&g, INFLATE, pfn, 2));
		end();
	}
	ck_assert_uint_gt(accesses, 20);
}
END_TEST

/* ---- against a record ---- */

START_TEST(random_requests_beside_a_record)
{
	static uint8_t state[BALLOON_GUEST_STATES];
	uint64_t inflated = 0, deflated = 0;

	seed(71);
	begin(_i, 0);
	g.f.watch = false;
	memset(state, 0, sizeof(state));
	for (unsigned round = 0; round < 1500; round++) {
		unsigned queue = (unsigned)below(2), count = 1 + (unsigned)below(below(20) ? 256 : 3000);
		uint32_t at = (uint32_t)below(BALLOON_GUEST_STATES), pages = 0;
		static uint8_t named[BALLOON_GUEST_STATES];

		memset(named, 0, sizeof(named));
		for (unsigned i = 0; i < count; i++) {
			at = (below(6) ? at + 1 + (uint32_t)below(2) : (uint32_t)below(BALLOON_GUEST_STATES)) %
			     BALLOON_GUEST_STATES;
			many[i] = at;
			state[at] = queue == INFLATE ? BALLOON_GIVEN : BALLOON_TAKEN;
			pages += count <= 1024 && !named[at];
			named[at] = 1;
		}
		g.runs = 0;
		ck_assert(balloon_guest_pfns(&g, queue, many, count));
		ck_assert_mem_eq(g.state, state, sizeof(state));
		for (unsigned i = 1; i < g.runs && count <= 1024; i++)
			ck_assert_uint_gt(g.run[i].gpa, g.run[i - 1].gpa + g.run[i - 1].bytes);
		if (count <= 1024) {
			ck_assert_uint_eq(g.b.stats.inflated - inflated + g.b.stats.deflated - deflated, pages * PAGE);
		}
		inflated = g.b.stats.inflated;
		deflated = g.b.stats.deflated;
	}
	end();
}
END_TEST

Suite *virtio_balloon_suite(void)
{
	Suite *s = suite_create("virtio_balloon");
	TCase *rules = tcase_create("rules");

	tcase_add_test(rules, offers_what_it_was_made_for);
	tcase_add_loop_test(rules, config_has_target_and_actual, 0, 2);
	tcase_add_loop_test(rules, target_is_told_when_it_changes, 0, 2);
	tcase_add_loop_test(rules, every_queue_has_room_for_linux, 0, 2);
	tcase_add_loop_test(rules, queues_are_counted_over_what_was_negotiated, 0, 2);
	tcase_add_loop_test(rules, pfns_become_runs, 0, 2);
	tcase_add_test(rules, done_is_said_when_it_is_done);
	tcase_add_loop_test(rules, driver_that_does_not_tell_gives_nothing_for_long, 0, 2);
	tcase_add_loop_test(rules, framing_means_nothing, 0, 2);
	tcase_add_loop_test(rules, request_of_any_length_up_to_a_bound, 0, 2);
	tcase_add_loop_test(rules, report_is_of_the_buffers_themselves, 0, 2);
	tcase_add_loop_test(rules, report_may_begin_at_zero, 0, 2);
	tcase_add_loop_test(rules, report_of_any_length_up_to_a_bound, 0, 2);
	tcase_add_loop_test(rules, statistics_are_asked_by_giving_the_buffer_back, 0, 2);
	tcase_add_loop_test(rules, second_buffer_waits_for_its_turn, 0, 2);
	tcase_add_loop_test(rules, statistics_are_bounded, 0, 2);
	tcase_add_loop_test(rules, statistics_without_a_listener, 0, 2);
	tcase_add_loop_test(rules, held_buffer_is_forgotten_with_its_queue, 0, 2);
	tcase_add_loop_test(rules, linux_primes_its_statistics_too_early, 0, 2);
	tcase_add_loop_test(rules, linux_inflates_in_reverse, 0, 2);
	tcase_add_loop_test(rules, nothing_stays_given_behind_a_reset, 0, 2);
	tcase_add_loop_test(rules, buffer_out_of_ram_breaks_the_device, 0, 2);
	tcase_add_loop_test(rules, every_access_fails_once, 0, 2);
	tcase_add_loop_test(rules, random_requests_beside_a_record, 0, 2);
	tcase_set_timeout(rules, 60);
	suite_add_tcase(s, rules);
	return s;
}
