/* tests/unit/test_pit.c: latching, rates and modes as guests use them, and counts and
 * outputs against a counter that really counts, tick by tick. */
#include "devices/pit.h"
#include "tests/unit/device_fakes.h"

static struct fake fake;
static struct pit pit;
static struct device dev, port_b;

#define ORIGIN_NS UINT64_C(123456789)

static void setup(void)
{
	memset(&fake, 0, sizeof(fake));
	fake.now_ns = ORIGIN_NS;
	fake.deadline_ns = UINT64_MAX;
	pit_init(&pit, fake_clock(&fake), fake_irq(&fake), fake_alarm(&fake), &dev, &port_b);
}

static void at_tick(uint64_t tick)
{
	fake.now_ns = ORIGIN_NS + timer_ns(tick, PIT_HZ);
}

static void program(unsigned channel, unsigned mode, unsigned count)
{
	out(&dev, PIT_CONTROL, (uint8_t)(channel << 6 | PIT_CONTROL_WORD | mode << 1));
	out(&dev, channel, (uint8_t)count);
	out(&dev, channel, (uint8_t)(count >> 8));
}

static unsigned read_word(unsigned channel)
{
	unsigned low = in(&dev, channel);

	return low | (unsigned)in(&dev, channel) << 8;
}

static unsigned latched(unsigned channel)
{
	out(&dev, PIT_CONTROL, (uint8_t)(channel << 6));
	return read_word(channel);
}

/* Runs the alarm until a tick, as its owner would; returns the rises seen. */
static unsigned run_until(uint64_t tick)
{
	uint64_t end = ORIGIN_NS + timer_ns(tick, PIT_HZ);

	fake.rises = 0;
	while (fake.deadline_ns <= end) {
		fake.now_ns = fake.deadline_ns;
		pit_expired(&pit);
	}
	fake.now_ns = end;
	return fake.rises;
}

START_TEST(rate_does_not_drift)
{
	program(0, 2, 1193); /* Linux's HZ 1000 */
	EXPECT(fake.level);
	for (uint64_t n = 1; n <= 10000; n++) {
		uint64_t due = fake.deadline_ns;

		EXPECT(due == ORIGIN_NS + timer_ns(n * 1193, PIT_HZ));
		fake.now_ns = due + n * 7 % 500000; /* late by up to half a period */
		fake.rises = 0;
		pit_expired(&pit);
		EXPECT(fake.rises == 1);
	}
}
END_TEST

START_TEST(missed_periods_are_one_edge)
{
	program(0, 2, 1000);
	at_tick(1000 * 50 + 3);
	fake.rises = 0;
	pit_expired(&pit);
	ck_assert_uint_eq(fake.rises, 1);
	ck_assert_uint_eq(fake.deadline_ns, ORIGIN_NS + timer_ns(51000, PIT_HZ));
	pit_expired(&pit); /* a call that is not due does nothing */
	ck_assert_uint_eq(fake.rises, 1);
}
END_TEST

START_TEST(edges_per_second)
{
	program(0, 3, 0); /* 18.2 Hz */
	ck_assert_uint_eq(run_until(10 * PIT_HZ), 182);
	program(0, 2, 11932); /* 100 Hz */
	ck_assert_uint_eq(run_until(20 * PIT_HZ), 999);
}
END_TEST

START_TEST(one_shot)
{
	program(0, 0, 500);
	ck_assert(!fake.level);
	ck_assert_uint_eq(run_until(499), 0);
	ck_assert(!fake.level);
	ck_assert_uint_eq(run_until(500), 1);
	ck_assert(fake.level); /* and stays */
	ck_assert_uint_eq(fake.deadline_ns, UINT64_MAX);
	ck_assert_uint_eq(run_until(200000), 0);
	out(&dev, 0, 100 & 0xff); /* half a count stops and lowers it */
	ck_assert(!fake.level);
	ck_assert_uint_eq(fake.deadline_ns, UINT64_MAX);
	out(&dev, 0, 0);
	ck_assert_uint_eq(run_until(200099), 0);
	ck_assert_uint_eq(run_until(200100), 1);
}
END_TEST

START_TEST(strobe)
{
	program(0, 4, 10);
	ck_assert(fake.level);
	ck_assert_uint_eq(run_until(10), 0);
	ck_assert_uint_eq(run_until(5000), 1);
	ck_assert_uint_eq(fake.deadline_ns, UINT64_MAX);
}
END_TEST

START_TEST(reprogramming_silences)
{
	program(0, 2, 1000);
	out(&dev, PIT_CONTROL, PIT_CONTROL_WORD); /* mode 0, no count yet: how Linux shuts it down */
	ck_assert(!fake.level);
	ck_assert_uint_eq(fake.deadline_ns, UINT64_MAX);
	ck_assert_uint_eq(run_until(100000), 0);
}
END_TEST

START_TEST(modes_without_a_trigger)
{
	for (unsigned mode = 1; mode <= 5; mode += 4) {
		program(0, mode, 100);
		ck_assert(fake.level);
		ck_assert_uint_eq(fake.deadline_ns, UINT64_MAX);
		ck_assert_uint_eq(run_until(mode * 10000), 0);
	}
}
END_TEST

START_TEST(latch_holds)
{
	program(0, 2, 10000);
	at_tick(100);
	out(&dev, PIT_CONTROL, PIT_CONTROL_LATCH);
	at_tick(4000);
	out(&dev, PIT_CONTROL, PIT_CONTROL_LATCH); /* a second one is ignored until the first is read */
	ck_assert_uint_eq(read_word(0), 9900);
	ck_assert_uint_eq(latched(0), 6000);
	ck_assert_uint_eq(read_word(0), 6000); /* not latched: live */
	in(&dev, 0);			       /* a live read's flip-flop is its own */
	ck_assert_uint_eq(latched(0), 6000);
	ck_assert_uint_eq(in(&dev, 0), 6000 >> 8);
}
END_TEST

START_TEST(single_byte_access)
{
	out(&dev, PIT_CONTROL, PIT_CONTROL_LOW | 2 << 1);
	out(&dev, 0, 200);
	at_tick(50);
	ck_assert_uint_eq(in(&dev, 0), 150);
	ck_assert_uint_eq(in(&dev, 0), 150);
	out(&dev, PIT_CONTROL, PIT_CONTROL_HIGH | 2 << 1);
	out(&dev, 0, 0x12);
	at_tick(50 + 0x100);
	ck_assert_uint_eq(in(&dev, 0), 0x11);
	out(&dev, PIT_CONTROL, PIT_CONTROL_LATCH);
	ck_assert_uint_eq(in(&dev, 0), 0x11);
}
END_TEST

START_TEST(read_back)
{
	program(0, 2, 1000);
	program(1, 3, 600);
	out(&dev, PIT_CONTROL, 2 << 6 | PIT_CONTROL_WORD); /* channel 2: no count yet */
	at_tick(10);
	out(&dev, PIT_CONTROL, PIT_CONTROL_READ_BACK | 0x0e);
	at_tick(20);
	ck_assert_uint_eq(in(&dev, 0), PIT_STATUS_OUT | PIT_CONTROL_WORD | 2 << 1);
	ck_assert_uint_eq(read_word(0), 990);
	ck_assert_uint_eq(in(&dev, 1), PIT_STATUS_OUT | PIT_CONTROL_WORD | 3 << 1);
	ck_assert_uint_eq(read_word(1), 580);
	ck_assert_uint_eq(in(&dev, 2), PIT_STATUS_NULL | PIT_CONTROL_WORD);
	out(&dev, PIT_CONTROL, PIT_CONTROL_READ_BACK | PIT_READ_BACK_NO_COUNT | PIT_READ_BACK_CHANNEL0);
	ck_assert_uint_eq(in(&dev, 0), PIT_STATUS_OUT | PIT_CONTROL_WORD | 2 << 1);
	ck_assert_uint_eq(read_word(0), 980); /* live: only status was latched */
	out(&dev, PIT_CONTROL, PIT_CONTROL_READ_BACK | PIT_READ_BACK_NO_COUNT | PIT_READ_BACK_CHANNEL0 << 2);
	program(1, 0, 1);
	program(2, 0, 1); /* programming drops what was latched */
	out(&dev, PIT_CONTROL, PIT_CONTROL_READ_BACK | PIT_READ_BACK_NO_COUNT | PIT_READ_BACK_CHANNEL0 << 1);
	at_tick(30);
	out(&dev, PIT_CONTROL, PIT_CONTROL_READ_BACK | PIT_READ_BACK_NO_COUNT | PIT_READ_BACK_CHANNEL0 << 1);
	ck_assert_uint_eq(in(&dev, 1), PIT_CONTROL_WORD); /* the first one's: output still low */
	ck_assert_uint_eq(read_word(2), 1);		  /* its gate is low */
}
END_TEST

START_TEST(counts_in_bcd)
{
	out(&dev, PIT_CONTROL, PIT_CONTROL_WORD | 2 << 1 | PIT_CONTROL_BCD);
	out(&dev, 0, 0x34);
	out(&dev, 0, 0x12);
	at_tick(235);
	ck_assert_uint_eq(latched(0), 0x0999);
	program(0, 0, 0);
	out(&dev, PIT_CONTROL, PIT_CONTROL_WORD | PIT_CONTROL_BCD);
	out(&dev, 0, 0);
	out(&dev, 0, 0); /* ten thousand */
	at_tick(235 + 1);
	ck_assert_uint_eq(latched(0), 0x9999);
}
END_TEST

/* arch/x86/kernel/tsc.c: pit_calibrate_tsc(). */
START_TEST(linux_tsc_calibration)
{
	unsigned latch = PIT_HZ / (1000 / 10);

	out(&port_b, 0, (in(&port_b, 0) & ~PORT_B_SPEAKER) | PORT_B_GATE2);
	program(2, 0, latch);
	ck_assert(!(in(&port_b, 0) & PORT_B_OUT2));
	at_tick(latch - 1);
	ck_assert(!(in(&port_b, 0) & PORT_B_OUT2));
	at_tick(latch);
	ck_assert(in(&port_b, 0) & PORT_B_OUT2);
	ck_assert(!fake.level); /* channel 2 interrupts nobody */
}
END_TEST

START_TEST(port_b_bits)
{
	unsigned toggles = 0;
	uint8_t last = in(&port_b, 0) & PORT_B_REFRESH;

	for (uint64_t us = 0; us <= 1000; us++) {
		uint8_t now;

		fake.now_ns = ORIGIN_NS + us * 1000;
		now = in(&port_b, 0) & PORT_B_REFRESH;
		toggles += now != last;
		last = now;
	}
	ck_assert(toggles == 66); /* 1000 us / 15.09 us */
	out(&port_b, 0, 0xff);
	ck_assert_uint_eq(in(&port_b, 0) & 0x0f, 0x0f);
}
END_TEST

START_TEST(wrong_widths)
{
	ck_assert_uint_eq(in(&dev, PIT_CONTROL), 0xff);
	ck_assert_uint_eq(get(&dev, 0, 2), 0xffff);
	put(&dev, 0, 4, UINT32_MAX);
	put(&dev, 2, 2, 0x1234);
	put(&port_b, 0, 2, 1);
	ck_assert_uint_eq(get(&port_b, 0, 2), 0xffff);
	ck_assert_uint_eq(pit.port_b, 0);
	ck_assert_uint_eq(fake.deadline_ns, UINT64_MAX);
}
END_TEST

/* A channel 2 that counts, built from the data sheet's sentences. */
struct counting {
	unsigned mode, n, value, phase; /* n: the count written; value: the counting element */
	bool bcd, gate, loaded, counting, out;
};

static unsigned wrapped(const struct counting *c, unsigned value)
{
	return value ? value - 1 : c->bcd ? 9999 : 65535;
}

static void counting_load(struct counting *c)
{
	c->value = c->mode == 3 ? c->n & ~1u : c->n % (c->bcd ? 10000 : 65536);
	c->phase = 0;
	c->counting = true;
	c->out = c->mode != 0 && c->mode != 1;
}

static void counting_program(struct counting *c, unsigned mode, bool bcd, unsigned n)
{
	*c = (struct counting){.mode = mode, .bcd = bcd, .n = n, .gate = c->gate, .loaded = true, .out = mode != 0};
	if (mode != 1 && mode != 5)
		counting_load(c);
}

static void counting_gate(struct counting *c, bool gate)
{
	bool rose = gate && !c->gate;

	c->gate = gate;
	if (rose && c->mode != 0 && c->mode != 4)
		counting_load(c);
}

static void counting_square_tick(struct counting *c)
{
	unsigned half = c->phase ? c->n / 2 : (c->n + 1) / 2; /* ticks of this half */
	unsigned done = ((c->n & ~1u) - c->value) / 2 + 1;

	if (done < half) {
		c->value -= 2;
	} else {
		c->phase = !c->phase;
		c->out = !c->phase;
		c->value = c->n & ~1u;
	}
}

static void counting_tick(struct counting *c)
{
	bool holds = c->mode != 1 && c->mode != 5;

	if (!c->counting || (holds && !c->gate))
		return;
	if (c->mode == 2) {
		c->value = wrapped(c, c->value);
		if (c->value == 0)
			c->value = c->n % (c->bcd ? 10000 : 65536);
		c->out = c->value != 1;
	} else if (c->mode == 3) {
		counting_square_tick(c);
	} else {
		c->value = wrapped(c, c->value);
		if (c->mode <= 1)
			c->out = c->out || c->value == 0;
		else /* once */
			c->out = !(c->value == 0 && !c->phase);
		if (c->value == 0)
			c->phase = 1;
	}
}

static unsigned counting_reads(const struct counting *c)
{
	unsigned v = c->value % (c->bcd ? 10000 : 65536);

	return c->bcd ? v / 1000 << 12 | v / 100 % 10 << 8 | v / 10 % 10 << 4 | v % 10 : v;
}

START_TEST(counts_like_a_counter)
{
	struct counting c = {.gate = false};
	uint32_t seed = MODEL_SEED;
	uint64_t tick = 0;

	for (int round = 0; round < 3000; round++) {
		uint32_t r = model_random(&seed);
		unsigned mode = r % 6, n = 2 + (r >> 4) % (r & 0x100 ? 9998 : 30);
		bool bcd = r >> 20 & 1;
		unsigned written = bcd ? n / 1000 << 12 | n / 100 % 10 << 8 | n / 10 % 10 << 4 | n % 10 : n;

		program(2, mode, 0);
		out(&dev, PIT_CONTROL, (uint8_t)(2 << 6 | PIT_CONTROL_WORD | mode << 1 | bcd));
		out(&dev, 2, (uint8_t)written);
		out(&dev, 2, (uint8_t)(written >> 8));
		counting_program(&c, mode, bcd, n);
		for (int step = 0; step < 20; step++) {
			unsigned ticks = model_random(&seed) % (r & 0x200 ? 40 : 4 * n < 2000 ? 4 * n : 2000);
			bool gate = model_random(&seed) % 4 != 0;

			for (unsigned i = 0; i < ticks; i++)
				counting_tick(&c);
			tick += ticks;
			at_tick(tick);
			if (model_random(&seed) % 3 == 0) {
				out(&port_b, 0, gate);
				counting_gate(&c, gate);
			}
			/* A low gate forces modes 2 and 3 high. */
			EXPECT(!!(in(&port_b, 0) & PORT_B_OUT2) == (c.out || (!c.gate && (mode == 2 || mode == 3))));
			if (c.counting)
				EXPECT(latched(2) == counting_reads(&c));
		}
	}
}
END_TEST

Suite *pit_suite(void);

Suite *pit_suite(void)
{
	Suite *s = suite_create("pit");
	TCase *t = tcase_create("i8254");

	tcase_add_checked_fixture(t, setup, NULL);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, rate_does_not_drift);
	tcase_add_test(t, missed_periods_are_one_edge);
	tcase_add_test(t, edges_per_second);
	tcase_add_test(t, one_shot);
	tcase_add_test(t, strobe);
	tcase_add_test(t, reprogramming_silences);
	tcase_add_test(t, modes_without_a_trigger);
	tcase_add_test(t, latch_holds);
	tcase_add_test(t, single_byte_access);
	tcase_add_test(t, read_back);
	tcase_add_test(t, counts_in_bcd);
	tcase_add_test(t, linux_tsc_calibration);
	tcase_add_test(t, port_b_bits);
	tcase_add_test(t, wrong_widths);
	tcase_add_test(t, counts_like_a_counter);
	suite_add_tcase(s, t);
	return s;
}
