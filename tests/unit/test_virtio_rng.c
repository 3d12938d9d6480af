/* tests/unit/test_virtio_rng.c: the entropy device, against a host whose random numbers are a counter, and its
 * token bucket against one that is counted in bytes and nanoseconds of 128 bits. */
#include "devices/virtio_rng.h"
#include "tests/unit/device_fakes.h"
#include "tests/unit/random.h"
#include "tests/unit/virtio_rig.h"

#define RATE UINT64_C(1000)

static struct rig rig;
static struct fake fake;
static struct virtio_rng rng;
static uint8_t counter;
static bool dry;

static bool count_up(void *owner, uint8_t *to, size_t bytes)
{
	ck_assert_ptr_eq(owner, &rig);
	ck_assert_uint_le(bytes, VIRTIO_RNG_PIECE);
	if (dry)
		return false;
	for (size_t i = 0; i < bytes; i++)
		to[i] = ++counter;
	return true;
}

static void make(uint64_t rate)
{
	const struct virtio_rng_config config = {
		.name = "rng",
		.owner = &rig,
		.random = count_up,
		.clock = fake_clock(&fake),
		.alarm = fake_alarm(&fake),
		.bytes_per_second = rate,
		.packed = true,
		.dma = rig.dma,
		.irq = rig_irq(&rig),
		.broken = rig_broken,
	};

	virtio_rng_init(&rng, &config);
	rig.v = &rng.virtio;
}

static void setup(void)
{
	memset(&fake, 0, sizeof(fake));
	fake.deadline_ns = UINT64_MAX;
	counter = 0;
	dry = false;
	rig_open(&rig, 1);
	make(RATE);
}

static void teardown(void)
{
	ck_assert(virtio_check(&rng.virtio));
	ck_assert_uint_eq(rig.ram.strays, 0);
	rig_close(&rig);
}

/* What the next used chain got; -1: there is none. */
static int64_t got(void)
{
	uint32_t length;
	uint16_t id;

	return rig_take(&rig, 0, &id, &length) ? (int64_t)length : -1;
}

/* format: bit 0 packed, bit 1 event index */
static void start(unsigned format)
{
	rig_start(&rig,
		  (format & 1 ? UINT64_C(1) << VIRTIO_F_RING_PACKED : 0) |
			  (format & 2 ? UINT64_C(1) << VIRTIO_F_EVENT_IDX : 0),
		  16);
	rig.indirect = false;
}

/* 5.4.3, 5.4.2 */
START_TEST(one_queue_no_features_of_its_own)
{
	ck_assert_uint_eq(rng.virtio.config.id, VIRTIO_ID_RNG);
	ck_assert_uint_eq(rng.virtio.config.queues, 1);
	ck_assert_uint_eq(rng.virtio.config.features, 0);
	ck_assert_uint_eq(rng.virtio.config.config_bytes, 0);
}
END_TEST

/* 5.4.6.2: "one or more random bytes", and what the used length says is there, no byte more. */
START_TEST(places_random_bytes)
{
	start((unsigned)_i);
	for (unsigned bytes = 1; bytes <= 300; bytes += 13) {
		memset(rig.data, 0, 512);
		fake.now_ns += UINT64_C(1000000000);
		fake_dma_forget(&rig.ram);
		rig_room(&rig, 0, 0, bytes);
		virtio_notify(rig.v, 0);
		ck_assert_int_eq(got(), bytes < VIRTIO_RNG_PIECE ? bytes : VIRTIO_RNG_PIECE);
		ck_assert_uint_eq(fake_dma_touched(&rig.ram, RIG_DATA, RIG_DATA_BYTES, DMA_WRITE),
				  bytes < VIRTIO_RNG_PIECE ? bytes : VIRTIO_RNG_PIECE);
		ck_assert_uint_eq(rig.data[(bytes < VIRTIO_RNG_PIECE ? bytes : VIRTIO_RNG_PIECE) - 1], counter);
	}
	ck_assert_uint_eq(rig.breaks, 0);
}
END_TEST

START_TEST(spreads_over_buffers)
{
	const struct virtqueue_buffer b[] = {{RIG_DATA, 3}, {RIG_DATA + 100, 1}, {RIG_DATA + 150, 200}};

	start((unsigned)_i);
	rig_add(&rig, 0, b, 0, 3);
	virtio_notify(rig.v, 0);
	ck_assert_int_eq(got(), 204);
	ck_assert_uint_eq(rig.data[0], 1);
	ck_assert_uint_eq(rig.data[2], 3);
	ck_assert_uint_eq(rig.data[100], 4);
	ck_assert_uint_eq(rig.data[150], 5);
	ck_assert_uint_eq(rig.data[349], 204);
}
END_TEST

/* 5.4.6.1 forbids them; what is writable behind them is still a request. */
START_TEST(readable_buffers_are_not_read)
{
	const struct virtqueue_buffer b[] = {{RIG_DATA, 64}, {RIG_DATA + 4096, 8}};

	start((unsigned)_i);
	rig_add(&rig, 0, b, 1, 1);
	virtio_notify(rig.v, 0);
	ck_assert_int_eq(got(), 8);
	ck_assert_uint_eq(fake_dma_touched(&rig.ram, RIG_DATA, 64, DMA_READ | DMA_WRITE), 0);
}
END_TEST

START_TEST(no_room_for_a_byte_breaks)
{
	const struct virtqueue_buffer b = {RIG_DATA, 64};

	start((unsigned)_i);
	rig_add(&rig, 0, &b, 1, 0);
	virtio_notify(rig.v, 0);
	ck_assert(rig_is_broken(&rig));
	ck_assert_uint_eq(rig.breaks, 1);
	ck_assert_int_eq(got(), -1);
	rig_start(&rig, 0, 16);
	rig_room(&rig, 0, 0, 8);
	virtio_notify(rig.v, 0);
	ck_assert_int_eq(got(), 8);
}
END_TEST

START_TEST(a_buffer_outside_of_memory_breaks)
{
	const struct virtqueue_buffer b = {RIG_DATA + RIG_DATA_BYTES - 4, 8};

	start((unsigned)_i);
	rig_add(&rig, 0, &b, 0, 1);
	virtio_notify(rig.v, 0);
	ck_assert(rig_is_broken(&rig));
	ck_assert_uint_eq(rig.ram.strays, 1);
	for (unsigned i = 1; i <= 4; i++) /* all of it or nothing */
		ck_assert_uint_eq(rig.data[RIG_DATA_BYTES - i], 0);
	rig.ram.strays = 0;
}
END_TEST

START_TEST(rate_is_kept)
{
	start((unsigned)_i);
	for (unsigned i = 0; i < 5; i++)
		rig_room(&rig, 0, i * 256, 256);
	virtio_notify(rig.v, 0);
	for (unsigned i = 0; i < 3; i++)
		ck_assert_int_eq(got(), 256);
	ck_assert_int_eq(got(), -1); /* 1000 - 768 are too few for a whole piece */
	ck_assert_uint_eq(fake.deadline_ns, 24000000);
	fake.now_ns = 23999999;
	virtio_rng_expired(&rng);
	ck_assert_int_eq(got(), -1);
	ck_assert_uint_eq(fake.deadline_ns, 24000000);
	fake.now_ns = 24000000;
	virtio_rng_expired(&rng);
	ck_assert_int_eq(got(), 256);
	ck_assert_int_eq(got(), -1);
	ck_assert_uint_eq(fake.deadline_ns, 280000000);
	virtio_notify(rig.v, 0); /* a driver that asks again gets no more */
	ck_assert_int_eq(got(), -1);
	fake.now_ns = UINT64_C(3600) * 1000000000;
	for (unsigned i = 0; i < 8; i++)
		rig_room(&rig, 0, i * 256, 256);
	virtio_rng_expired(&rng);
	for (unsigned i = 0; i < 3; i++) /* an hour's tokens are not kept */
		ck_assert_int_eq(got(), 256);
	ck_assert_int_eq(got(), -1);
}
END_TEST

START_TEST(a_small_bucket_is_never_waited_for_in_vain)
{
	make(10);
	start((unsigned)_i);
	rig_room(&rig, 0, 0, 64);
	rig_room(&rig, 0, 64, 64);
	virtio_notify(rig.v, 0);
	ck_assert_int_eq(got(), 10);
	ck_assert_int_eq(got(), -1);
	fake.now_ns = fake.deadline_ns;
	ck_assert_uint_eq(fake.now_ns, 1000000000);
	virtio_rng_expired(&rng);
	ck_assert_int_eq(got(), 10);
}
END_TEST

START_TEST(no_limit)
{
	make(_i & 2 ? 0 : UINT64_C(1) << 32);
	start((unsigned)_i);
	for (unsigned i = 0; i < 100; i++) {
		rig_room(&rig, 0, 0, 256);
		virtio_notify(rig.v, 0);
		ck_assert_int_eq(got(), 256);
	}
	ck_assert_uint_eq(fake.deadline_ns, UINT64_MAX);
}
END_TEST

START_TEST(a_dry_host_is_asked_again)
{
	start((unsigned)_i);
	dry = true;
	rig_room(&rig, 0, 0, 16);
	virtio_notify(rig.v, 0);
	ck_assert_int_eq(got(), -1);
	ck_assert_uint_eq(fake.deadline_ns, 10000000);
	fake.now_ns = fake.deadline_ns;
	dry = false;
	virtio_rng_expired(&rng);
	ck_assert_int_eq(got(), 16);
	ck_assert_uint_eq(rng.tokens, RATE - 16);
}
END_TEST

START_TEST(a_reset_forgets_who_waits)
{
	start((unsigned)_i);
	dry = true;
	rig_room(&rig, 0, 0, 16);
	virtio_notify(rig.v, 0);
	ck_assert_uint_ne(fake.deadline_ns, UINT64_MAX);
	virtio_set_status(rig.v, 0);
	ck_assert_uint_eq(fake.deadline_ns, UINT64_MAX);
	dry = false;
	virtio_rng_expired(&rng); /* it was on its way */
	ck_assert_uint_eq(fake_dma_touched(&rig.ram, RIG_DATA, RIG_DATA_BYTES, DMA_WRITE), 0);
}
END_TEST

/* 2.7.10, 2.8.10: a driver that notifies only when it is asked to is heard each time, also behind a wait for tokens. */
START_TEST(an_empty_ring_asks_to_be_notified)
{
	start((unsigned)_i);
	for (unsigned i = 0; i < 40; i++) {
		fake.now_ns += UINT64_C(1000000000);
		dry = i % 8 == 7;
		rig_room(&rig, 0, 0, 16);
		ck_assert(fake_driver_should_notify(&rig.queue[0], 1));
		virtio_notify(rig.v, 0);
		if (dry) {
			ck_assert_int_eq(got(), -1);
			dry = false;
			virtio_rng_expired(&rng);
		}
		ck_assert_int_eq(got(), 16);
	}
}
END_TEST

START_TEST(one_interrupt_a_burst)
{
	start((unsigned)_i);
	for (unsigned i = 0; i < 3; i++)
		rig_room(&rig, 0, i * 16, 16);
	virtio_notify(rig.v, 0);
	ck_assert_uint_eq(rig.interrupts, 1);
	fake_driver_interrupts(&rig.queue[0], false);
	rig_room(&rig, 0, 0, 16);
	virtio_notify(rig.v, 0);
	ck_assert_uint_eq(rig.interrupts, 1);
}
END_TEST

/* Over any time the device gave at most what was in the bucket and what came since; and it gives all of it to a
 * driver that always asks, but for less than one piece. */
START_TEST(random_bucket)
{
	uint64_t rate, given;

	seed(MODEL_SEED);
	for (unsigned round = 0; round < 60; round++) {
		rate = 1 + below(UINT64_C(1) << (1 + below(22)));
		fake.now_ns = below(UINT64_C(1) << 62);
		make(rate);
		start(round);
		rig.ram.watch = false;
		given = 0;
		for (uint64_t begin = fake.now_ns, step = 0; step < 2000; step++) {
			unsigned __int128 most;
			int64_t bytes;

			while (rig.queue[0].free)
				rig_room(&rig, 0, 0, (uint32_t)(1 + below(300)));
			fake.now_ns += below(1 + UINT64_C(1000000000) * VIRTIO_RNG_PIECE / rate / (1 + below(100)));
			if (below(2))
				virtio_notify(rig.v, 0);
			else
				virtio_rng_expired(&rng);
			while ((bytes = got()) >= 0)
				given += (uint64_t)bytes;
			most = rate + (unsigned __int128)(fake.now_ns - begin) * rate / 1000000000;
			EXPECT(given <= most);
			EXPECT(rng.tokens <= rate);
			EXPECT(fake.deadline_ns > fake.now_ns);
			if (rate >= VIRTIO_RNG_PIECE && step > 4)
				EXPECT((unsigned __int128)given + VIRTIO_RNG_PIECE + rng.tokens + 1 >= most - rate);
		}
		rig.ram.watch = true;
	}
}
END_TEST

Suite *virtio_rng_suite(void);

Suite *virtio_rng_suite(void)
{
	Suite *s = suite_create("virtio_rng");
	TCase *t = tcase_create("entropy");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, one_queue_no_features_of_its_own);
	tcase_add_loop_test(t, places_random_bytes, 0, 2);
	tcase_add_loop_test(t, spreads_over_buffers, 0, 2);
	tcase_add_loop_test(t, readable_buffers_are_not_read, 0, 2);
	tcase_add_loop_test(t, no_room_for_a_byte_breaks, 0, 2);
	tcase_add_loop_test(t, a_buffer_outside_of_memory_breaks, 0, 2);
	tcase_add_loop_test(t, rate_is_kept, 0, 2);
	tcase_add_loop_test(t, a_small_bucket_is_never_waited_for_in_vain, 0, 2);
	tcase_add_loop_test(t, no_limit, 0, 4);
	tcase_add_loop_test(t, a_dry_host_is_asked_again, 0, 2);
	tcase_add_loop_test(t, a_reset_forgets_who_waits, 0, 2);
	tcase_add_loop_test(t, an_empty_ring_asks_to_be_notified, 0, 4);
	tcase_add_loop_test(t, one_interrupt_a_burst, 0, 2);
	tcase_add_test(t, random_bucket);
	suite_add_tcase(s, t);
	return s;
}
