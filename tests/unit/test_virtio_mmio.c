/* tests/unit/test_virtio_mmio.c: every register of the MMIO transport, over a toy device, by VIRTIO 1.2, 4.2; and a
 * driver that brings a device up as 4.2.3 says, and works with it. */
#include <check.h>

#include "devices/virtio_mmio.h"
#include "tests/unit/expect.h"
#include "tests/unit/random.h"
#include "tests/unit/toy_device.h"

#define SEED  20261121u
#define RINGS 0x100000u
#define DATA  0x1000000u
#define RW    (DMA_READ | DMA_WRITE)

static struct fake_dma f;
static struct toy toy;
static struct virtio *const v = &toy.virtio;
static struct virtio_mmio mmio;
static struct device device;
static struct fake_driver driver;
static const struct virtqueue_buffer pair[2] = {{DATA, 8}, {DATA + 64, 8}};

static void setup(void)
{
	seed(SEED);
	fake_dma_init(&f);
	fake_dma_add(&f, RINGS, FAKE_DRIVER_BYTES, RW);
	fake_dma_add(&f, DATA, 0x1000, RW);
	toy_init(&toy, &f, true, false);
	virtio_mmio_init(&mmio, v, &device);
}

static void teardown(void)
{
	EXPECT(virtio_check(v));
	fake_dma_free(&f);
}

static uint32_t get(uint64_t offset)
{
	return (uint32_t)device.read(device.self, offset, 4);
}

static void put(uint64_t offset, uint32_t value)
{
	device.write(device.self, offset, 4, value);
}

static uint64_t offered(void)
{
	uint64_t low;

	put(VIRTIO_MMIO_DEVICE_FEATURES_SEL, 0);
	low = get(VIRTIO_MMIO_DEVICE_FEATURES);
	put(VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
	return low | (uint64_t)get(VIRTIO_MMIO_DEVICE_FEATURES) << 32;
}

static void up_to_features(uint64_t features)
{
	put(VIRTIO_MMIO_STATUS, 0);
	put(VIRTIO_MMIO_STATUS, 1);
	put(VIRTIO_MMIO_STATUS, 3);
	put(VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
	put(VIRTIO_MMIO_DRIVER_FEATURES, (uint32_t)features);
	put(VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
	put(VIRTIO_MMIO_DRIVER_FEATURES, (uint32_t)(features >> 32));
	put(VIRTIO_MMIO_STATUS, 11);
	EXPECT(get(VIRTIO_MMIO_STATUS) == 11);
}

static void lend(unsigned size)
{
	fake_driver_init(&driver, &f, RINGS, size, virtio_has(v, VIRTIO_F_RING_PACKED));
	driver.event = virtio_has(v, VIRTIO_F_EVENT_IDX);
	put(VIRTIO_MMIO_QUEUE_SIZE, size);
	put(VIRTIO_MMIO_QUEUE_DESC_LOW, (uint32_t)driver.desc);
	put(VIRTIO_MMIO_QUEUE_DESC_HIGH, (uint32_t)(driver.desc >> 32));
	put(VIRTIO_MMIO_QUEUE_DRIVER_LOW, (uint32_t)driver.driver);
	put(VIRTIO_MMIO_QUEUE_DRIVER_HIGH, (uint32_t)(driver.driver >> 32));
	put(VIRTIO_MMIO_QUEUE_DEVICE_LOW, (uint32_t)driver.device);
	put(VIRTIO_MMIO_QUEUE_DEVICE_HIGH, (uint32_t)(driver.device >> 32));
}

static void live(uint64_t features)
{
	up_to_features(features);
	put(VIRTIO_MMIO_QUEUE_SEL, 0);
	EXPECT(get(VIRTIO_MMIO_QUEUE_READY) == 0 && get(VIRTIO_MMIO_QUEUE_SIZE_MAX) == 16);
	lend(8);
	put(VIRTIO_MMIO_QUEUE_READY, 1);
	EXPECT(get(VIRTIO_MMIO_QUEUE_READY) == 1);
	put(VIRTIO_MMIO_STATUS, 15);
	EXPECT(get(VIRTIO_MMIO_STATUS) == 15 && v->stats.refused == 0);
}

static bool round_trip(void)
{
	uint32_t length;
	uint16_t id;

	if (fake_driver_add(&driver, pair, 1, 1, FAKE_DRIVER_DIRECT) == FAKE_DRIVER_FULL)
		return false;
	put(VIRTIO_MMIO_QUEUE_NOTIFY, 0);
	return fake_driver_take(&driver, &id, &length) && length == 8;
}

/* 4.2.2.1 "MUST return 0x74726976 in MagicValue", "MUST return value 0x2 in Version". */
START_TEST(identity)
{
	EXPECT(get(0x000) == 0x74726976 && get(0x004) == 2 && get(0x008) == VIRTIO_ID_RNG);
	EXPECT(get(0x00c) == VIRTIO_VENDOR_SLAT && v->stats.refused == 0);
	ck_assert_str_eq(device.name, "toy");
}
END_TEST

START_TEST(features_by_word)
{
	EXPECT(offered() == v->offered);
	for (uint32_t sel = 2; sel; sel <<= 1) {
		put(VIRTIO_MMIO_DEVICE_FEATURES_SEL, sel);
		EXPECT(get(VIRTIO_MMIO_DEVICE_FEATURES) == 0);
	}
	put(VIRTIO_MMIO_DRIVER_FEATURES_SEL, 2);
	put(VIRTIO_MMIO_DRIVER_FEATURES, 1);
	EXPECT(v->beyond);
}
END_TEST

/* 4.2.3.1, 4.2.3.2, with each format. */
START_TEST(bring_up_and_work)
{
	uint64_t features = offered();

	if (_i & 1)
		features &= ~(UINT64_C(1) << VIRTIO_F_RING_PACKED);
	if (_i & 2)
		features &= ~(UINT64_C(1) << VIRTIO_F_EVENT_IDX);
	live(features);
	for (unsigned i = 0; i < 100; i++) {
		fake_dma_put(&f, DATA, &i, 4);
		if (driver.event)
			fake_driver_interrupt_at(&driver, 0);
		EXPECT(round_trip());
		EXPECT(memcmp(fake_dma_host(&f, DATA + 64, 4), &i, 4) == 0 && toy.pulses == i + 1);
	}
	EXPECT(v->stats.refused == 0);
}
END_TEST

/* 4.2.2.1 "MUST present each event by setting the corresponding bit in InterruptStatus from the moment it takes place,
 * until the driver acknowledges the interrupt". */
START_TEST(interrupts_stand_until_acknowledged)
{
	live(offered());
	EXPECT(get(VIRTIO_MMIO_INTERRUPT_STATUS) == 0);
	fake_driver_interrupts(&driver, true);
	EXPECT(round_trip() && get(VIRTIO_MMIO_INTERRUPT_STATUS) == VIRTIO_INTERRUPT_USED);
	virtio_changed(v);
	EXPECT(get(VIRTIO_MMIO_INTERRUPT_STATUS) == 3 && get(VIRTIO_MMIO_INTERRUPT_STATUS) == 3);
	put(VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_INTERRUPT_USED);
	EXPECT(get(VIRTIO_MMIO_INTERRUPT_STATUS) == VIRTIO_INTERRUPT_CONFIG);
	put(VIRTIO_MMIO_INTERRUPT_ACK, UINT32_MAX);
	EXPECT(get(VIRTIO_MMIO_INTERRUPT_STATUS) == 0);
}
END_TEST

/* 4.2.2.1 "Upon reset, the device MUST clear all bits in InterruptStatus and ready bits in the QueueReady register for
 * all queues in the device", and "MUST present a 0 in QueueReset on reset". */
START_TEST(reset_by_status)
{
	live(offered());
	EXPECT(round_trip());
	virtio_changed(v);
	put(VIRTIO_MMIO_STATUS, 0);
	EXPECT(get(VIRTIO_MMIO_STATUS) == 0 && get(VIRTIO_MMIO_INTERRUPT_STATUS) == 0 && toy.stops >= 1);
	EXPECT(mmio.queue_sel == 0 && mmio.device_features_sel == 0 && mmio.driver_features_sel == 0);
	for (unsigned i = 0; i < TOY_QUEUES; i++) {
		put(VIRTIO_MMIO_QUEUE_SEL, i);
		EXPECT(get(VIRTIO_MMIO_QUEUE_READY) == 0 && get(VIRTIO_MMIO_QUEUE_RESET) == 0);
	}
	live(offered());
	EXPECT(round_trip());
}
END_TEST

START_TEST(queues_by_number)
{
	static const uint32_t max[] = {16, 8, 0, 0, 0};

	up_to_features(offered());
	for (uint32_t i = 0; i < 5; i++) {
		put(VIRTIO_MMIO_QUEUE_SEL, i);
		EXPECT(get(VIRTIO_MMIO_QUEUE_SIZE_MAX) == max[i] && get(VIRTIO_MMIO_QUEUE_READY) == 0);
	}
	EXPECT(v->stats.refused == 0);
	put(VIRTIO_MMIO_QUEUE_SEL, UINT32_MAX);
	lend(8);
	put(VIRTIO_MMIO_QUEUE_READY, 1);
	put(VIRTIO_MMIO_QUEUE_RESET, 1);
	EXPECT(get(VIRTIO_MMIO_QUEUE_SIZE_MAX) == 0 && get(VIRTIO_MMIO_QUEUE_READY) == 0 && v->stats.refused == 9);
	put(VIRTIO_MMIO_QUEUE_NOTIFY, 3);
	put(VIRTIO_MMIO_QUEUE_NOTIFY, 0x10000);
	EXPECT(v->stats.refused == 11 && v->stats.notifications == 0);
}
END_TEST

/* 4.2.2.2 "MUST write a value to QueueSize which is less than or equal to the value presented in QueueSizeMax"; and
 * what 2.7 says of sizes and places is looked at when the queue is made ready. */
START_TEST(queues_that_are_refused)
{
	up_to_features(offered() & ~(UINT64_C(1) << VIRTIO_F_RING_PACKED));
	put(VIRTIO_MMIO_QUEUE_SIZE, 17);
	put(VIRTIO_MMIO_QUEUE_SIZE, 0x10008);
	EXPECT(v->queue[0].size == 0 && v->stats.refused == 2);
	put(VIRTIO_MMIO_QUEUE_READY, 1);
	EXPECT(get(VIRTIO_MMIO_QUEUE_READY) == 0 && v->stats.refused == 3);
	lend(8);
	put(VIRTIO_MMIO_QUEUE_SIZE, 17); /* the size before it does not stand */
	put(VIRTIO_MMIO_QUEUE_READY, 1);
	EXPECT(get(VIRTIO_MMIO_QUEUE_READY) == 0 && v->stats.refused == 5);
	v->stats.refused = 3;
	lend(8);
	put(VIRTIO_MMIO_QUEUE_DESC_LOW, RINGS + 8);
	put(VIRTIO_MMIO_QUEUE_READY, 1);
	EXPECT(get(VIRTIO_MMIO_QUEUE_READY) == 0 && v->stats.refused == 4);
	put(VIRTIO_MMIO_QUEUE_DESC_LOW, RINGS);
	put(VIRTIO_MMIO_QUEUE_READY, 2);
	EXPECT(get(VIRTIO_MMIO_QUEUE_READY) == 0 && v->stats.refused == 5);
	put(VIRTIO_MMIO_QUEUE_READY, 1);
	EXPECT(get(VIRTIO_MMIO_QUEUE_READY) == 1 && v->stats.refused == 5);
}
END_TEST

/* 4.2.2.2 "When QueueReady is not zero, the driver MUST NOT access" size and addresses: nothing changes. */
START_TEST(a_ready_queue_is_read_only)
{
	static const uint64_t own[] = {
		VIRTIO_MMIO_QUEUE_SIZE,	       VIRTIO_MMIO_QUEUE_DESC_LOW,    VIRTIO_MMIO_QUEUE_DESC_HIGH,
		VIRTIO_MMIO_QUEUE_DRIVER_LOW,  VIRTIO_MMIO_QUEUE_DRIVER_HIGH, VIRTIO_MMIO_QUEUE_DEVICE_LOW,
		VIRTIO_MMIO_QUEUE_DEVICE_HIGH,
	};
	struct virtqueue was;

	live(offered());
	was = v->queue[0];
	for (unsigned i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		put(own[i], 4);
	EXPECT(memcmp(&was, &v->queue[0], sizeof(was)) == 0 && v->stats.refused == 7 && round_trip());
	put(VIRTIO_MMIO_QUEUE_READY, 0);
	EXPECT(get(VIRTIO_MMIO_QUEUE_READY) == 0 && toy.last_stop == 0);
	for (unsigned i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		put(own[i], 4);
	EXPECT(v->queue[0].size == 4 && v->queue[0].desc == 0x400000004 && v->queue[0].driver == 0x400000004 &&
	       v->queue[0].device == 0x400000004 && v->stats.refused == 7);
}
END_TEST

/* 4.2.2.1 "MUST reset the queue when 1 is written to QueueReset", "MUST present 0 in both QueueReset and QueueReady
 * when queue reset has completed", "MUST present a 0 in QueueReset after the virtqueue is enabled". */
START_TEST(queue_reset)
{
	live(offered());
	EXPECT(round_trip());
	put(VIRTIO_MMIO_QUEUE_RESET, 0);
	put(VIRTIO_MMIO_QUEUE_RESET, 2);
	EXPECT(v->stats.refused == 2 && get(VIRTIO_MMIO_QUEUE_READY) == 1);
	put(VIRTIO_MMIO_QUEUE_RESET, 1);
	EXPECT(get(VIRTIO_MMIO_QUEUE_RESET) == 0 && get(VIRTIO_MMIO_QUEUE_READY) == 0 && toy.last_stop == 0);
	EXPECT(get(VIRTIO_MMIO_STATUS) == 15);
	lend(5);
	put(VIRTIO_MMIO_QUEUE_READY, 1);
	EXPECT(get(VIRTIO_MMIO_QUEUE_RESET) == 0 && get(VIRTIO_MMIO_QUEUE_READY) == 1 && round_trip());
}
END_TEST

START_TEST(queue_reset_must_be_negotiated)
{
	live(offered() & ~(UINT64_C(1) << VIRTIO_F_RING_RESET));
	put(VIRTIO_MMIO_QUEUE_RESET, 1);
	EXPECT(v->stats.refused == 1 && get(VIRTIO_MMIO_QUEUE_READY) == 1 && round_trip());
}
END_TEST

/* 4.2.2: "Reading from a non-existent region results in a length of -1", and a base of all ones. */
START_TEST(no_shared_memory)
{
	for (uint32_t region = 0; region < 3; region++) {
		put(VIRTIO_MMIO_SHM_SEL, region);
		for (uint64_t offset = VIRTIO_MMIO_SHM_LEN_LOW; offset <= VIRTIO_MMIO_SHM_BASE_HIGH; offset += 4)
			EXPECT(get(offset) == UINT32_MAX);
	}
	EXPECT(v->stats.refused == 0);
}
END_TEST

static bool in(uint64_t offset, const uint64_t *list, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		if (list[i] == offset)
			return true;
	return false;
}

static const uint64_t readable[] = {0x000, 0x004, 0x008, 0x00c, 0x010, 0x034, 0x044, 0x060,
				    0x070, 0x0b0, 0x0b4, 0x0b8, 0x0bc, 0x0c0, 0x0fc};
static const uint64_t writable[] = {0x014, 0x020, 0x024, 0x030, 0x038, 0x044, 0x050, 0x064, 0x070,
				    0x080, 0x084, 0x090, 0x094, 0x0a0, 0x0a4, 0x0ac, 0x0c0};

/* 4.2.2.2 "MUST only use 32 bit wide and aligned reads and writes": others read ones, and write nothing. A register
 * that is not there, or that is the other direction's, reads 0, as in QEMU; all of that is counted. */
START_TEST(only_what_is_there)
{
	static const unsigned widths[] = {1, 2, 8};

	for (uint64_t offset = 0; offset < VIRTIO_MMIO_CONFIG; offset++) {
		bool aligned = offset % 4 == 0;
		uint64_t before;

		for (unsigned i = 0; i < 3; i++) {
			before = v->stats.refused;
			EXPECT(device.read(device.self, offset, widths[i]) == UINT64_MAX);
			device.write(device.self, offset, widths[i], 1);
			EXPECT(v->stats.refused == before + 2 && v->status == 0);
		}
		before = v->stats.refused;
		if (!in(offset, readable, sizeof(readable) / sizeof(readable[0]))) {
			EXPECT(get(offset) == (aligned ? 0 : UINT32_MAX));
			EXPECT(v->stats.refused == before + 1);
		} else {
			(void)get(offset);
			EXPECT(v->stats.refused == before);
		}
		before = v->stats.refused;
		if (!in(offset, writable, sizeof(writable) / sizeof(writable[0]))) {
			put(offset, 1);
			EXPECT(v->stats.refused == before + 1);
		}
	}
	EXPECT(v->status == 0 && toy.starts == 0 && toy.stops == 0);
}
END_TEST

/* 2.5.2 "MUST allow reading of any device-specific configuration field before FEATURES_OK". */
START_TEST(configuration)
{
	static const unsigned widths[] = {1, 2, 4, 8};

	for (unsigned offset = 0; offset < 0x100; offset++) {
		for (unsigned i = 0; i < 4; i++) {
			unsigned width = widths[i];
			uint64_t expected = 0, before = v->stats.refused, got;

			if (offset + width > 0x100)
				continue;
			got = device.read(device.self, VIRTIO_MMIO_CONFIG + offset, width);
			if (offset + width > TOY_CONFIG_BYTES) {
				EXPECT(got == UINT64_MAX);
				device.write(device.self, VIRTIO_MMIO_CONFIG + offset, width, 0);
				EXPECT(v->stats.refused == before + 2);
				continue;
			}
			for (unsigned j = width; j-- > 0;)
				expected = expected << 8 | (0x10 + offset + j);
			EXPECT(got == expected && v->stats.refused == before);
		}
	}
	for (unsigned i = 0; i < TOY_CONFIG_BYTES; i++)
		EXPECT(toy.config[i] == 0x10 + i);
	device.write(device.self, VIRTIO_MMIO_CONFIG + 3, 2, 0xabcd);
	EXPECT(toy.config[3] == 0xcd && toy.config[4] == 0xab && toy.config[5] == 0x15);
}
END_TEST

START_TEST(configuration_that_takes_nothing)
{
	static const struct virtio_ops bare = {.notify = toy_notify, .read_config = toy_read_config};

	toy_init_over(&toy, &f, false, false, &bare);
	virtio_mmio_init(&mmio, v, &device);
	device.write(device.self, VIRTIO_MMIO_CONFIG, 4, 0);
	EXPECT(toy.config[0] == 0x10 && v->stats.refused == 1);
}
END_TEST

/* 4.2.2.1 "MUST change value returned in ConfigGeneration if there is any risk of a driver seeing an inconsistent
 * configuration state". */
START_TEST(generation)
{
	uint32_t before = get(VIRTIO_MMIO_CONFIG_GENERATION);

	EXPECT(get(VIRTIO_MMIO_CONFIG_GENERATION) == before);
	virtio_changed(v);
	EXPECT(get(VIRTIO_MMIO_CONFIG_GENERATION) != before);
}
END_TEST

/* 2.1.2, as a driver sees it: DEVICE_NEEDS_RESET, a configuration interrupt, and nothing but a reset helps. */
START_TEST(needs_reset)
{
	struct virtqueue_buffer none = {DATA, 0};

	live(offered());
	EXPECT(fake_driver_add(&driver, &none, 1, 0, FAKE_DRIVER_DIRECT) != FAKE_DRIVER_FULL);
	put(VIRTIO_MMIO_QUEUE_NOTIFY, 0);
	EXPECT(get(VIRTIO_MMIO_STATUS) == (15 | 64) && get(VIRTIO_MMIO_INTERRUPT_STATUS) == 2 && toy.pulses == 1);
	EXPECT(!round_trip() && v->stats.refused == 1);
	put(VIRTIO_MMIO_STATUS, get(VIRTIO_MMIO_STATUS));
	EXPECT(get(VIRTIO_MMIO_STATUS) == (15 | 64));
	v->stats.refused = 0;
	live(offered());
	EXPECT(round_trip());
}
END_TEST

START_TEST(random_registers)
{
	f.watch = false;
	fake_driver_init(&driver, &f, RINGS, 8, false);
	for (unsigned i = 0; i < 300000; i++) {
		unsigned width = 1u << below(4);
		uint64_t offset = below(8) ? below(0x200 / 4) * 4 : below(0x200 - 8);
		uint64_t value = below(3) ? below(16) : below(UINT64_MAX);

		if (offset + width > 0x200)
			width = 4;
		if (below(2))
			(void)device.read(device.self, offset, below(4) ? 4 : width);
		else
			device.write(device.self, offset, below(4) ? 4 : width, value);
		if (i % 1000 == 0)
			lend(8);
		EXPECT(virtio_check(v));
	}
	EXPECT(v->stats.resets > 20 && v->stats.refused > 1000);
	put(VIRTIO_MMIO_STATUS, 0);
	v->stats.refused = 0;
	live(offered());
	EXPECT(round_trip());
}
END_TEST

Suite *virtio_mmio_suite(void);
Suite *virtio_mmio_suite(void)
{
	Suite *s = suite_create("virtio_mmio");
	TCase *t = tcase_create("virtio_mmio");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, identity);
	tcase_add_test(t, features_by_word);
	tcase_add_loop_test(t, bring_up_and_work, 0, 4);
	tcase_add_test(t, interrupts_stand_until_acknowledged);
	tcase_add_test(t, reset_by_status);
	tcase_add_test(t, queues_by_number);
	tcase_add_test(t, queues_that_are_refused);
	tcase_add_test(t, a_ready_queue_is_read_only);
	tcase_add_test(t, queue_reset);
	tcase_add_test(t, queue_reset_must_be_negotiated);
	tcase_add_test(t, no_shared_memory);
	tcase_add_test(t, only_what_is_there);
	tcase_add_test(t, configuration);
	tcase_add_test(t, configuration_that_takes_nothing);
	tcase_add_test(t, generation);
	tcase_add_test(t, needs_reset);
	tcase_add_test(t, random_registers);
	suite_add_tcase(s, t);
	return s;
}
