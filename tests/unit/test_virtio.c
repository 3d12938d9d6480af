/* tests/unit/test_virtio.c: status, features, queues, interrupts and breaking, over a toy device. Sections are VIRTIO
 * 1.2's. */
#include <check.h>

#include "tests/unit/expect.h"
#include "tests/unit/random.h"
#include "tests/unit/toy_device.h"

#define SEED	    20261121u
#define RINGS	    0x100000u
#define DATA	    0x1000000u
#define HOLE	    0x8000000u
#define RW	    (DMA_READ | DMA_WRITE)

#define ACK	    VIRTIO_STATUS_ACKNOWLEDGE
#define DRIVER	    VIRTIO_STATUS_DRIVER
#define FEATURES_OK VIRTIO_STATUS_FEATURES_OK
#define DRIVER_OK   VIRTIO_STATUS_DRIVER_OK
#define NEEDS_RESET VIRTIO_STATUS_NEEDS_RESET
#define FAILED	    VIRTIO_STATUS_FAILED
#define CHOSEN	    (ACK | DRIVER | FEATURES_OK)
#define LIVE	    (CHOSEN | DRIVER_OK)
#define BIT(n)	    (UINT64_C(1) << (n))
#define EVERY                                                                                                          \
	(BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_F_INDIRECT_DESC) | BIT(VIRTIO_F_EVENT_IDX) | BIT(VIRTIO_F_RING_RESET) |  \
	 BIT(TOY_FEATURE))

static struct fake_dma f;
static struct toy toy;
static struct virtio *const v = &toy.virtio;
static struct fake_driver driver;
static const struct virtqueue_buffer pair[2] = {{DATA, 8}, {DATA + 64, 8}};

static void setup(void)
{
	seed(SEED);
	fake_dma_init(&f);
	fake_dma_add(&f, RINGS, FAKE_DRIVER_BYTES, RW);
	fake_dma_add(&f, DATA, 0x1000, RW);
	toy_init(&toy, &f, true, false);
}

static void teardown(void)
{
	EXPECT(virtio_check(v));
	fake_dma_free(&f);
}

static void accept(uint64_t features)
{
	virtio_accept(v, 0, (uint32_t)features);
	virtio_accept(v, 1, (uint32_t)(features >> 32));
}

static void up_to_features(uint64_t features)
{
	virtio_set_status(v, ACK);
	virtio_set_status(v, ACK | DRIVER);
	accept(features);
	virtio_set_status(v, CHOSEN);
}

static void queue_on(void)
{
	fake_driver_init(&driver, &f, RINGS, 8, virtio_has(v, VIRTIO_F_RING_PACKED));
	driver.event = virtio_has(v, VIRTIO_F_EVENT_IDX);
	fake_driver_lend(&driver, &v->queue[0]);
	virtio_queue_ready(v, 0, true);
}

/* A device that lives, with queue 0 on. */
static void live(uint64_t features)
{
	up_to_features(features);
	queue_on();
	virtio_set_status(v, LIVE);
	EXPECT(v->status == LIVE && virtio_running(v) && v->stats.refused == 0 && v->queue[0].ready);
	toy.notes = 0; /* of the start */
}

static void offer(void)
{
	EXPECT(fake_driver_add(&driver, pair, 1, 1, FAKE_DRIVER_DIRECT) != FAKE_DRIVER_FULL);
}

static bool taken(void)
{
	uint32_t length;
	uint16_t id;

	return fake_driver_take(&driver, &id, &length);
}

/* Offers a chain whose only descriptor has no bytes. */
static void offer_nonsense(void)
{
	struct virtqueue_buffer none = {DATA, 0};

	EXPECT(fake_driver_add(&driver, &none, 1, 0, FAKE_DRIVER_DIRECT) != FAKE_DRIVER_FULL);
}

/* ---- features: 2.2, 6 ---- */

/* 6.1 "MUST offer VIRTIO_F_VERSION_1"; 2.2.2 "MUST NOT offer" what it would not support. */
START_TEST(offers)
{
	EXPECT(v->offered == (EVERY | BIT(VIRTIO_F_RING_PACKED)));
	toy_init(&toy, &f, false, true);
	EXPECT(v->offered == (EVERY | BIT(VIRTIO_F_ACCESS_PLATFORM)));
}
END_TEST

START_TEST(features_ok_sticks_for_any_subset)
{
	uint64_t all = EVERY | BIT(VIRTIO_F_RING_PACKED);

	for (unsigned i = 0; i < 500; i++) {
		uint64_t features = (all & (below(UINT64_MAX) | below(3))) | BIT(VIRTIO_F_VERSION_1);

		up_to_features(features);
		EXPECT(v->status == CHOSEN && v->accepted == features);
		virtio_set_status(v, 0);
	}
	EXPECT(v->stats.refused == 0);
}
END_TEST

/* 2.2.2 "it MUST fail to set the FEATURES_OK device status bit". */
START_TEST(features_never_offered)
{
	for (unsigned bit = 0; bit < 64; bit++) {
		if (v->offered >> bit & 1)
			continue;
		up_to_features(EVERY | BIT(bit));
		EXPECT(v->status == (ACK | DRIVER));
		virtio_set_status(v, 0);
	}
	EXPECT(v->stats.refused > 50);
}
END_TEST

START_TEST(features_beyond_64)
{
	for (unsigned word = 2; word < 5; word++) {
		virtio_set_status(v, ACK | DRIVER);
		accept(EVERY);
		virtio_accept(v, word, 0);
		virtio_accept(v, word, 1);
		virtio_set_status(v, CHOSEN);
		EXPECT(v->status == (ACK | DRIVER));
		virtio_accept(v, word ^ 1, 0); /* another one */
		virtio_set_status(v, CHOSEN);
		EXPECT(v->status == (ACK | DRIVER));
		virtio_accept(v, word, 0); /* taken back, as below bit 64 */
		virtio_set_status(v, CHOSEN);
		EXPECT(v->status == CHOSEN);
		virtio_set_status(v, 0);
		up_to_features(EVERY);
		EXPECT(v->status == CHOSEN);
		virtio_set_status(v, 0);
	}
}
END_TEST

START_TEST(version_1_is_insisted_on)
{
	up_to_features(EVERY & ~BIT(VIRTIO_F_VERSION_1));
	EXPECT(v->status == (ACK | DRIVER) && v->stats.refused == 1);
	accept(EVERY); /* and may be accepted after all */
	virtio_set_status(v, CHOSEN);
	EXPECT(v->status == CHOSEN);
}
END_TEST

/* 6.1 "MAY fail to operate further if VIRTIO_F_ACCESS_PLATFORM is not accepted": behind the IOMMU it does. */
START_TEST(access_platform_is_insisted_on)
{
	toy_init(&toy, &f, false, true);
	up_to_features(EVERY);
	EXPECT(v->status == (ACK | DRIVER));
	accept(EVERY | BIT(VIRTIO_F_ACCESS_PLATFORM));
	virtio_set_status(v, CHOSEN);
	EXPECT(v->status == CHOSEN && virtio_has(v, VIRTIO_F_ACCESS_PLATFORM));
}
END_TEST

/* 3.1.1 step 5 "MUST NOT accept new feature bits after this step". */
START_TEST(features_are_final)
{
	up_to_features(EVERY);
	accept(BIT(VIRTIO_F_VERSION_1));
	virtio_accept(v, 2, 1);
	EXPECT(v->accepted == EVERY && v->stats.refused == 3 && v->status == CHOSEN);
}
END_TEST

/* ---- status: 2.1, 2.4, 3.1 ---- */

START_TEST(steps_come_in_order)
{
	static const uint32_t skipping[] = {
		DRIVER, FEATURES_OK, DRIVER_OK, DRIVER | FEATURES_OK, ACK | FEATURES_OK, ACK | DRIVER | DRIVER_OK};

	accept(EVERY);
	for (unsigned i = 0; i < sizeof(skipping) / sizeof(skipping[0]); i++) {
		virtio_set_status(v, skipping[i]);
		EXPECT(!(v->status & skipping[i] & ~(ACK | DRIVER)) && !virtio_running(v));
		EXPECT(v->stats.refused == i + 1 && toy.starts == 0);
		virtio_set_status(v, 0);
		accept(EVERY);
	}
	virtio_set_status(v, LIVE); /* all in one write is in order */
	EXPECT(v->status == LIVE && toy.starts == 1 && toy.running_at_start);
}
END_TEST

/* 2.1.1 "The driver MUST NOT clear a device status bit". */
START_TEST(bits_are_cleared_by_reset_alone)
{
	live(EVERY);
	virtio_set_status(v, ACK);
	EXPECT(v->status == LIVE && v->stats.refused == 1);
	virtio_set_status(v, LIVE);
	EXPECT(v->status == LIVE && v->stats.refused == 1 && toy.starts == 1);
	virtio_set_status(v, LIVE | 16 | 32 | 256);
	EXPECT(v->status == LIVE && v->stats.refused == 2);
	virtio_set_status(v, LIVE | NEEDS_RESET); /* the device's own: written back means nothing */
	EXPECT(v->status == LIVE && v->stats.refused == 2);
}
END_TEST

/* 2.4.1 "MUST reinitialize device status to 0"; 4.2.2.1 "MUST clear all bits in InterruptStatus and ready bits in the
 * QueueReady register for all queues"; the state is that of power on, but for generation and statistics. */
START_TEST(reset_is_power_on)
{
	struct virtio fresh = *v;

	live(EVERY);
	offer();
	virtio_notify(v, 0);
	virtio_changed(v);
	EXPECT(v->interrupt_status == (VIRTIO_INTERRUPT_USED | VIRTIO_INTERRUPT_CONFIG));
	virtio_set_status(v, 0);
	EXPECT(toy.stops == 1 && toy.last_stop == VIRTIO_ALL_QUEUES && v->stats.resets == 1);
	fresh.generation = v->generation;
	fresh.stats = v->stats;
	fresh.queue[0].chains = v->queue[0].chains;
	EXPECT(memcmp(v, &fresh, sizeof(fresh)) == 0);
	live(EVERY); /* 2.2.2 "SHOULD NOT fail re-negotiation of the same set of features" */
}
END_TEST

/* 2.4.1 "MUST NOT send notifications or interact with the queues" after a reset. */
START_TEST(nothing_after_reset)
{
	live(EVERY);
	offer();
	virtio_set_status(v, 0);
	fake_dma_forget(&f);
	toy.pulses = 0;
	virtio_notify(v, 0);
	virtio_used(v, 0);
	virtio_changed(v);
	EXPECT(f.accesses == 0 && toy.pulses == 0 && toy.notes == 0 && v->interrupt_status == 0);
	EXPECT(v->stats.refused == 1);
}
END_TEST

/* 2.1.2 "MUST NOT consume buffers or send any used buffer notifications to the driver before DRIVER_OK". */
START_TEST(nothing_before_driver_ok)
{
	up_to_features(EVERY);
	queue_on();
	fake_dma_forget(&f);
	offer();
	virtio_notify(v, 0);
	virtio_used(v, 0);
	EXPECT(f.accesses == 0 && toy.notes == 0 && toy.pulses == 0 && v->stats.refused == 1);
	virtio_set_status(v, LIVE);
	EXPECT(taken() && toy.pulses == 1 && v->stats.notifications == 0);
}
END_TEST

/* 3.1.1 step 7 "population of virtqueues", step 8 "DRIVER_OK": what is in a queue by then needs no notification. */
START_TEST(a_queue_filled_before_driver_ok)
{
	up_to_features(EVERY);
	queue_on();
	offer();
	offer();
	virtio_set_status(v, LIVE);
	EXPECT(toy.starts == 1 && toy.notes == 1 && toy.last_note == 0); /* the others are off */
	EXPECT(taken() && taken() && toy.pulses == 1 && v->stats.refused == 0);
}
END_TEST

/* A device that its start breaks is not asked to look into its queues, nor are those behind the one that does. */
START_TEST(broken_while_it_starts)
{
	up_to_features(EVERY);
	queue_on();
	offer_nonsense();
	v->queue[1].size = 8;
	v->queue[1].desc = RINGS;
	v->queue[1].driver = RINGS + 0x1000;
	v->queue[1].device = RINGS + 0x2000;
	virtio_queue_ready(v, 1, true);
	EXPECT(v->queue[1].ready);
	virtio_set_status(v, LIVE);
	EXPECT(v->status == (LIVE | NEEDS_RESET) && toy.notes == 1 && toy.last_note == 0 && toy.breaks == 1);
}
END_TEST

/* 2.1.1: who set FAILED gave up: nothing is used any more, and only a reset helps. */
START_TEST(failed_is_the_end)
{
	live(EVERY);
	offer();
	virtio_set_status(v, LIVE | FAILED);
	EXPECT(v->status == (LIVE | FAILED) && !virtio_running(v) && toy.stops == 1 && !v->queue[0].ready);
	fake_dma_forget(&f);
	virtio_notify(v, 0);
	virtio_changed(v);
	virtio_break(v, "too late");
	virtio_queue_ready(v, 0, true);
	virtio_set_status(v, LIVE | FAILED);
	EXPECT(f.accesses == 0 && toy.notes == 0 && toy.breaks == 0 && toy.stops == 1 && v->interrupt_status == 0);
	virtio_set_status(v, 0);
	virtio_set_status(v, ACK | FAILED);
	accept(EVERY);
	virtio_set_status(v, LIVE | FAILED);
	EXPECT(v->status == FAILED && toy.starts == 1);
	virtio_set_status(v, 0);
	EXPECT(v->status == 0);
}
END_TEST

/* ---- queues ---- */

START_TEST(queues_that_are_not_there)
{
	live(EVERY);
	virtio_notify(v, 1); /* off */
	virtio_notify(v, 2); /* no such queue, by its size */
	virtio_notify(v, TOY_QUEUES);
	virtio_notify(v, UINT32_MAX);
	EXPECT(v->stats.refused == 4 && toy.notes == 0 && v->stats.notifications == 0);
	virtio_queue_ready(v, TOY_QUEUES, true);
	virtio_queue_ready(v, UINT32_MAX, false);
	virtio_queue_reset(v, TOY_QUEUES);
	virtio_queue_reset(v, UINT32_MAX);
	EXPECT(v->stats.refused == 8);
	v->queue[2].size = 4;
	virtio_queue_ready(v, 2, true);
	EXPECT(!v->queue[2].ready && v->stats.refused == 9);
	v->queue[2].size = 0;
}
END_TEST

/* The format is known with the features, so not before. */
START_TEST(no_queue_before_features_ok)
{
	virtio_set_status(v, ACK | DRIVER);
	accept(EVERY);
	queue_on();
	EXPECT(!v->queue[0].ready && v->stats.refused == 1);
	virtio_queue_reset(v, 0);
	EXPECT(v->stats.refused == 2);
}
END_TEST

/* 4.2.2.2 "To stop using the queue the driver MUST write zero (0x0) to this QueueReady". */
START_TEST(a_queue_turned_off)
{
	live(EVERY);
	virtio_queue_ready(v, 0, true);
	EXPECT(toy.stops == 0 && v->stats.refused == 0);
	virtio_queue_ready(v, 0, false);
	EXPECT(toy.stops == 1 && toy.last_stop == 0 && !v->queue[0].ready);
	virtio_queue_ready(v, 0, false);
	EXPECT(toy.stops == 1);
	fake_dma_forget(&f);
	virtio_notify(v, 0);
	virtio_used(v, 0);
	EXPECT(f.accesses == 0 && v->stats.refused == 1);
	queue_on();
	offer();
	virtio_notify(v, 0);
	EXPECT(taken());
}
END_TEST

/* 2.6.1.1.1 "MUST NOT execute any requests from that virtqueue, or notify the driver for it", "MUST reset any state of
 * a virtqueue to the default state"; 2.6.1.2.1 "MUST observe any queue configuration that may have been changed". */
START_TEST(ring_reset)
{
	live(EVERY | BIT(VIRTIO_F_RING_PACKED));
	toy.idle = true;
	offer();
	EXPECT(virtqueue_pop(&v->queue[0], &toy.chain) == VIRTQUEUE_OK);
	virtio_queue_reset(v, 0);
	EXPECT(toy.stops == 1 && toy.last_stop == 0 && v->status == LIVE);
	EXPECT(!v->queue[0].ready && v->queue[0].size == 0 && v->queue[0].desc == 0 && v->queue[0].in_flight == 0);
	fake_dma_forget(&f);
	virtio_notify(v, 0);
	virtio_used(v, 0);
	EXPECT(f.accesses == 0 && toy.notes == 0 && toy.pulses == 0);
	virtio_queue_reset(v, 0); /* again: nothing to stop */
	EXPECT(toy.stops == 1);

	toy.idle = false;
	fake_driver_init(&driver, &f, RINGS, 5, true);
	driver.event = true;
	fake_driver_lend(&driver, &v->queue[0]);
	virtio_queue_ready(v, 0, true);
	offer();
	virtio_notify(v, 0);
	EXPECT(v->queue[0].size == 5 && taken());
}
END_TEST

START_TEST(ring_reset_must_be_negotiated)
{
	live(EVERY & ~BIT(VIRTIO_F_RING_RESET));
	virtio_queue_reset(v, 0);
	EXPECT(v->queue[0].ready && toy.stops == 0 && v->stats.refused == 1);
}
END_TEST

/* ---- interrupts ---- */

START_TEST(each_interrupt_is_a_pulse)
{
	live(EVERY & ~BIT(VIRTIO_F_EVENT_IDX));
	for (unsigned i = 1; i <= 3; i++) {
		offer();
		virtio_notify(v, 0);
		EXPECT(toy.pulses == i && !toy.level && v->interrupt_status == VIRTIO_INTERRUPT_USED);
		EXPECT(v->stats.interrupts == i);
	}
	virtio_used(v, 0); /* nothing new */
	virtio_used(v, 1); /* off */
	EXPECT(toy.pulses == 3);
	fake_driver_interrupts(&driver, false);
	offer();
	virtio_notify(v, 0);
	EXPECT(toy.pulses == 3);
	virtio_changed(v);
	EXPECT(toy.pulses == 4 && v->interrupt_status == (VIRTIO_INTERRUPT_USED | VIRTIO_INTERRUPT_CONFIG));
}
END_TEST

/* 4.2.2.1 "MUST change value returned in ConfigGeneration"; and who read the configuration before DRIVER_OK hears
 * of the change at DRIVER_OK. */
START_TEST(changes)
{
	uint32_t generation = v->generation;

	virtio_changed(v);
	EXPECT(v->generation != generation && v->interrupt_status == 0 && toy.pulses == 0);
	generation = v->generation;
	up_to_features(EVERY);
	virtio_changed(v);
	EXPECT(v->generation != generation && toy.pulses == 0);
	virtio_set_status(v, LIVE);
	EXPECT(toy.pulses == 1 && v->interrupt_status == VIRTIO_INTERRUPT_CONFIG);
	generation = v->generation;
	virtio_set_status(v, 0);
	EXPECT(v->generation == generation);
}
END_TEST

/* ---- breaking ---- */

/* 2.1.2 "SHOULD set DEVICE_NEEDS_RESET ... If DRIVER_OK is set, after it sets DEVICE_NEEDS_RESET, the device MUST send
 * a device configuration change notification". The toy itself never says that its queue is broken. */
START_TEST(a_broken_queue_breaks_the_device)
{
	live(EVERY);
	offer_nonsense();
	virtio_notify(v, 0);
	EXPECT(v->status == (LIVE | NEEDS_RESET) && !virtio_running(v));
	EXPECT(v->interrupt_status == VIRTIO_INTERRUPT_CONFIG && toy.pulses == 1);
	EXPECT(toy.breaks == 1 && v->stats.broken == 1);
	ck_assert_str_eq(toy.why, "a descriptor of no bytes");
	ck_assert_str_eq(v->queue[0].broken, toy.why);
}
END_TEST

/* Then nothing, on any queue, until the reset. */
START_TEST(a_broken_device_is_dead)
{
	live(EVERY);
	toy.idle = true;
	offer();
	EXPECT(virtqueue_pop(&v->queue[0], &toy.chain) == VIRTQUEUE_OK);
	virtio_break(v, "a request that cannot be");
	fake_dma_forget(&f);
	virtio_break(v, "another");
	offer();
	EXPECT(!virtqueue_push(&v->queue[0], &toy.chain, 0));
	virtio_notify(v, 0);
	virtio_used(v, 0);
	virtio_changed(v);
	virtio_set_status(v, LIVE);
	virtio_set_status(v, LIVE | NEEDS_RESET);
	EXPECT(v->status == (LIVE | NEEDS_RESET) && toy.breaks == 1 && toy.pulses == 1 && toy.notes == 0);
	EXPECT(f.accesses == 0 && v->stats.broken == 1);
	ck_assert_str_eq(toy.why, "a request that cannot be");
	virtio_queue_ready(v, 0, false); /* the driver takes its memory back */
	EXPECT(!v->queue[0].ready && toy.stops == 1);
	virtio_queue_ready(v, 0, true);
	EXPECT(!v->queue[0].ready);

	virtio_set_status(v, 0);
	EXPECT(v->status == 0);
	toy.idle = false;
	v->stats.refused = 0;
	live(EVERY);
	offer();
	virtio_notify(v, 0);
	EXPECT(taken() && virtio_running(v));
}
END_TEST

/* Without DRIVER_OK there is nobody to interrupt. */
START_TEST(broken_before_driver_ok)
{
	up_to_features(EVERY);
	queue_on();
	virtio_break(v, "early");
	EXPECT(v->status == (CHOSEN | NEEDS_RESET) && toy.pulses == 0 && toy.breaks == 1);
	virtio_set_status(v, LIVE);
	EXPECT(v->status == (CHOSEN | NEEDS_RESET) && toy.starts == 0);
}
END_TEST

START_TEST(nobody_need_listen)
{
	static const struct virtio_ops bare = {.notify = toy_notify, .read_config = toy_read_config};

	toy_init_over(&toy, &f, true, false, &bare);
	v->config.broken = NULL;
	v->config.irq.set = NULL;
	live(EVERY);
	offer_nonsense();
	virtio_notify(v, 0);
	EXPECT(v->status == (LIVE | NEEDS_RESET) && v->stats.broken == 1);
	virtio_set_status(v, 0);
	EXPECT(toy.starts == 0 && toy.stops == 0 && v->status == 0);
}
END_TEST

/* ---- anything in any order ---- */

START_TEST(random_drivers)
{
	unsigned lived = 0, broke = 0;

	f.watch = false;
	for (unsigned i = 0; i < 300000; i++) {
		uint32_t status = v->status;
		unsigned queue = (unsigned)below(4);

		switch (below(12)) {
		case 0:
			if (below(50) == 0)
				virtio_set_status(v, below(4) ? 0 : (uint32_t)below(256));
			break;
		case 1:
			virtio_set_status(v, v->status | 1u << below(4));
			break;
		case 2:
			virtio_accept(v, (unsigned)below(3), below(16) ? 0 : (uint32_t)below(256));
			break;
		case 3:
			accept((EVERY | BIT(VIRTIO_F_RING_PACKED)) & (below(UINT64_MAX) | BIT(VIRTIO_F_VERSION_1)));
			break;
		case 4:
			if (!v->queue[0].ready)
				queue_on();
			break;
		case 5:
			virtio_queue_ready(v, queue, below(16));
			break;
		case 6:
			virtio_queue_reset(v, below(16) ? 3 : queue);
			break;
		case 7:
			if (v->queue[0].ready)
				(void)fake_driver_add(&driver, pair, 1, 1, FAKE_DRIVER_DIRECT);
			break;
		case 8:
			if (v->queue[0].ready && below(16) == 0 && driver.free)
				offer_nonsense();
			break;
		case 9:
			virtio_changed(v);
			break;
		case 10:
			virtio_used(v, (unsigned)below(TOY_QUEUES));
			break;
		default:
			virtio_notify(v, queue);
		}
		EXPECT(virtio_check(v) && !toy.level);
		EXPECT(!(status & ~v->status) || v->status == 0); /* bits go by reset alone */
		EXPECT(!(v->status & DRIVER_OK) || v->status & FEATURES_OK);
		lived += virtio_running(v);
		broke += (v->status & ~status & NEEDS_RESET) != 0;
	}
	EXPECT(lived > 1000 && broke > 10 && toy.breaks == broke && v->stats.broken == broke);
	EXPECT(f.strays == 0);
}
END_TEST

START_TEST(check_objects)
{
	struct virtio was;

	live(EVERY);
	was = *v;
#define SPOIL(what)                                                                                                    \
	do {                                                                                                           \
		what;                                                                                                  \
		EXPECT(!virtio_check(v));                                                                              \
		*v = was;                                                                                              \
	} while (0)
	SPOIL(v->status = 0x110);		     /* I1 */
	SPOIL(v->status = ACK | DRIVER | DRIVER_OK); /* I1 */
	SPOIL(v->status = FEATURES_OK);		     /* I1 */
	SPOIL(v->interrupt_status = 4);		     /* I2 */
	SPOIL(v->accepted |= BIT(60));		     /* I3 */
	SPOIL(v->accepted = 0);			     /* I3 */
	SPOIL(v->beyond = 4);			     /* I3 */
	SPOIL(v->status = ACK);			     /* I4 */
	SPOIL(v->status |= FAILED);		     /* I4 */
	SPOIL(v->queue[0].broken = "");		     /* I5 */
	SPOIL(v->status |= NEEDS_RESET);	     /* I5 */
	SPOIL(v->queue[5].size_max = 1);	     /* I6 */
	SPOIL(v->queue[0].next_used++);		     /* I6 */
#undef SPOIL
	EXPECT(virtio_check(v));
}
END_TEST

Suite *virtio_suite(void);
Suite *virtio_suite(void)
{
	Suite *s = suite_create("virtio");
	TCase *t = tcase_create("virtio");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, offers);
	tcase_add_test(t, features_ok_sticks_for_any_subset);
	tcase_add_test(t, features_never_offered);
	tcase_add_test(t, features_beyond_64);
	tcase_add_test(t, version_1_is_insisted_on);
	tcase_add_test(t, access_platform_is_insisted_on);
	tcase_add_test(t, features_are_final);
	tcase_add_test(t, steps_come_in_order);
	tcase_add_test(t, bits_are_cleared_by_reset_alone);
	tcase_add_test(t, reset_is_power_on);
	tcase_add_test(t, nothing_after_reset);
	tcase_add_test(t, nothing_before_driver_ok);
	tcase_add_test(t, a_queue_filled_before_driver_ok);
	tcase_add_test(t, broken_while_it_starts);
	tcase_add_test(t, failed_is_the_end);
	tcase_add_test(t, queues_that_are_not_there);
	tcase_add_test(t, no_queue_before_features_ok);
	tcase_add_test(t, a_queue_turned_off);
	tcase_add_test(t, ring_reset);
	tcase_add_test(t, ring_reset_must_be_negotiated);
	tcase_add_test(t, each_interrupt_is_a_pulse);
	tcase_add_test(t, changes);
	tcase_add_test(t, a_broken_queue_breaks_the_device);
	tcase_add_test(t, a_broken_device_is_dead);
	tcase_add_test(t, broken_before_driver_ok);
	tcase_add_test(t, nobody_need_listen);
	tcase_add_test(t, random_drivers);
	tcase_add_test(t, check_objects);
	suite_add_tcase(s, t);
	return s;
}
