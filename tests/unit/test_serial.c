/* tests/unit/test_serial.c: the UART, step by step as Linux's 8250 driver uses it,
 * and its interrupt against a naive model under random accesses. */
#include "devices/serial.h"
#include "tests/unit/device_fakes.h"

static struct fake fake;
static struct serial serial;
static struct device dev;
static unsigned ready_calls;

static void ready(void *self)
{
	(void)self;
	ready_calls++;
}

static void setup(void)
{
	memset(&fake, 0, sizeof(fake));
	ready_calls = 0;
	serial_init(&serial, fake_irq(&fake), fake_sink(&fake), (struct serial_feeder){.ready = ready}, &dev);
}

static void input(const char *text, size_t taken)
{
	ck_assert_uint_eq(serial_input(&serial, (const uint8_t *)text, strlen(text)), taken);
}

START_TEST(reset_state)
{
	ck_assert_uint_eq(in(&dev, SERIAL_IER), 0);
	ck_assert_uint_eq(in(&dev, SERIAL_IIR), SERIAL_IIR_NONE);
	ck_assert_uint_eq(in(&dev, SERIAL_LSR), SERIAL_LSR_THRE | SERIAL_LSR_TEMT);
	ck_assert_uint_eq(in(&dev, SERIAL_MSR), SERIAL_MSR_CTS | SERIAL_MSR_DSR | SERIAL_MSR_DCD);
	ck_assert_uint_eq(serial_room(&serial), 1);
	ck_assert(!fake.level);
}
END_TEST

/* drivers/tty/serial/8250/8250_port.c: autoconfig(), autoconfig_16550a(). */
START_TEST(linux_autoconfig)
{
	uint8_t mcr, lcr;

	out(&dev, SERIAL_IER, 0);
	ck_assert_uint_eq(in(&dev, SERIAL_IER) & 0x0f, 0);
	out(&dev, SERIAL_IER, 0x0f);
	ck_assert_uint_eq(in(&dev, SERIAL_IER), 0x0f);
	out(&dev, SERIAL_IER, 0);

	mcr = in(&dev, SERIAL_MCR);
	lcr = in(&dev, SERIAL_LCR);
	out(&dev, SERIAL_MCR, SERIAL_MCR_LOOP | SERIAL_MCR_OUT2 | SERIAL_MCR_RTS);
	ck_assert_uint_eq(in(&dev, SERIAL_MSR) & 0xf0, SERIAL_MSR_DCD | SERIAL_MSR_CTS);
	out(&dev, SERIAL_MCR, mcr);

	out(&dev, SERIAL_LCR, 0xbf); /* EFR of later chips: here it is FCR, off */
	out(&dev, 2, 0);
	out(&dev, SERIAL_LCR, 0);
	out(&dev, SERIAL_FCR, SERIAL_FCR_ENABLE);
	ck_assert_uint_eq(in(&dev, SERIAL_IIR), 0xc0 | SERIAL_IIR_NONE); /* >> 6 == 3: a 16550A */

	out(&dev, SERIAL_LCR, SERIAL_LCR_DLAB); /* a 16650 would read EFR as 0 here */
	ck_assert_uint_ne(in(&dev, 2), 0);
	out(&dev, SERIAL_LCR, 0);
	out(&dev, SERIAL_FCR, SERIAL_FCR_ENABLE | 0x20); /* a 16750 would show bit 5 */
	ck_assert_uint_eq(in(&dev, SERIAL_IIR) & 0x20, 0);
	out(&dev, SERIAL_IER, 0x40); /* an XScale port would keep bit 6 */
	ck_assert_uint_eq(in(&dev, SERIAL_IER), 0);
	out(&dev, SERIAL_LCR, lcr);

	for (unsigned v = 0; v < 256; v++) {
		out(&dev, SERIAL_SCR, (uint8_t)v);
		ck_assert_uint_eq(in(&dev, SERIAL_SCR), v);
	}
}
END_TEST

/* serial8250_do_startup(): UART_BUG_THRE and UART_BUG_TXEN must not be found. */
START_TEST(linux_startup_finds_no_bugs)
{
	uint8_t lsr, iir;

	out(&dev, SERIAL_MCR, SERIAL_MCR_OUT2);
	for (int round = 0; round < 2; round++) {
		out(&dev, SERIAL_IER, SERIAL_IER_TRANSMITTED);
		ck_assert(fake.level);
		iir = in(&dev, SERIAL_IIR);
		ck_assert_uint_eq(iir, SERIAL_IIR_TRANSMITTED);
		ck_assert(!fake.level);
		out(&dev, SERIAL_IER, 0);
	}
	out(&dev, SERIAL_IER, SERIAL_IER_TRANSMITTED);
	lsr = in(&dev, SERIAL_LSR);
	iir = in(&dev, SERIAL_IIR);
	ck_assert(lsr & SERIAL_LSR_TEMT && !(iir & SERIAL_IIR_NONE));
	ck_assert_uint_eq(in(&dev, SERIAL_IIR), SERIAL_IIR_NONE);
}
END_TEST

START_TEST(transmits_at_once)
{
	for (const char *c = "hello"; *c; c++)
		out(&dev, SERIAL_DATA, (uint8_t)*c);
	ck_assert_uint_eq(fake.sent_bytes, 5);
	ck_assert_mem_eq(fake.sent, "hello", 5);
	ck_assert_uint_eq(in(&dev, SERIAL_LSR), SERIAL_LSR_THRE | SERIAL_LSR_TEMT);
}
END_TEST

START_TEST(transmit_interrupt_once_a_burst)
{
	out(&dev, SERIAL_IER, SERIAL_IER_TRANSMITTED);
	ck_assert_uint_eq(in(&dev, SERIAL_IIR), SERIAL_IIR_TRANSMITTED);
	fake.rises = 0;
	for (int i = 0; i < 16; i++)
		out(&dev, SERIAL_DATA, 'x');
	ck_assert(fake.level);
	ck_assert_uint_eq(fake.rises, 1);
	out(&dev, SERIAL_IER, 0);
	ck_assert(!fake.level);
}
END_TEST

START_TEST(divisor_behind_dlab)
{
	out(&dev, SERIAL_LCR, SERIAL_LCR_DLAB | SERIAL_LCR_8N1);
	out(&dev, SERIAL_DATA, 0x01);
	out(&dev, SERIAL_IER, 0x02);
	ck_assert_uint_eq(in(&dev, SERIAL_DATA), 0x01);
	ck_assert_uint_eq(in(&dev, SERIAL_IER), 0x02);
	out(&dev, SERIAL_LCR, SERIAL_LCR_8N1);
	ck_assert_uint_eq(in(&dev, SERIAL_IER), 0);
	ck_assert_uint_eq(fake.sent_bytes, 0);
}
END_TEST

START_TEST(input_in_order_and_bounded)
{
	out(&dev, SERIAL_FCR, SERIAL_FCR_ENABLE);
	ck_assert_uint_eq(serial_room(&serial), 16);
	input("0123456789abcdefghi", 16);
	ck_assert_uint_eq(serial_room(&serial), 0);
	input("j", 0);
	for (const char *c = "0123456789abcdef"; *c; c++) {
		ck_assert(in(&dev, SERIAL_LSR) & SERIAL_LSR_READY);
		ck_assert_uint_eq(ready_calls, 0);
		ck_assert_uint_eq(in(&dev, SERIAL_DATA), *c);
	}
	ck_assert(!(in(&dev, SERIAL_LSR) & SERIAL_LSR_READY));
	ck_assert_uint_eq(ready_calls, 1);
	input("jk", 2); /* the ring's head is no longer 0 */
	ck_assert_uint_eq(in(&dev, SERIAL_DATA), 'j');
	ck_assert_uint_eq(in(&dev, SERIAL_DATA), 'k');
	ck_assert_uint_eq(in(&dev, SERIAL_DATA), 0);
	ck_assert_uint_eq(ready_calls, 1); /* it was never full again */
}
END_TEST

START_TEST(one_byte_without_fifo)
{
	input("ab", 1);
	ck_assert_uint_eq(in(&dev, SERIAL_DATA), 'a');
	ck_assert_uint_eq(ready_calls, 1);
}
END_TEST

START_TEST(trigger_levels_and_timeout)
{
	static const unsigned levels[] = {1, 4, 8, 14};

	for (unsigned t = 0; t < 4; t++) {
		setup();
		out(&dev, SERIAL_FCR, (uint8_t)(SERIAL_FCR_ENABLE | t << SERIAL_FCR_TRIGGER_SHIFT));
		out(&dev, SERIAL_IER, SERIAL_IER_RECEIVED);
		for (unsigned n = 1; n <= 16; n++) {
			input("x", 1);
			ck_assert_uint_eq(in(&dev, SERIAL_IIR) & 0x0f,
					  n < levels[t] ? SERIAL_IIR_TIMEOUT : SERIAL_IIR_RECEIVED);
			ck_assert(fake.level);
		}
		for (unsigned n = 16; n-- > 0;)
			in(&dev, SERIAL_DATA);
		ck_assert(!fake.level);
	}
}
END_TEST

START_TEST(clearing_the_fifo)
{
	out(&dev, SERIAL_FCR, SERIAL_FCR_ENABLE);
	input("0123456789abcdef", 16);
	out(&dev, SERIAL_FCR, SERIAL_FCR_ENABLE | SERIAL_FCR_CLEAR_TX);
	ck_assert_uint_eq(serial_room(&serial), 0);
	out(&dev, SERIAL_FCR, SERIAL_FCR_ENABLE | SERIAL_FCR_CLEAR_RX);
	ck_assert_uint_eq(serial_room(&serial), 16);
	ck_assert_uint_eq(ready_calls, 1);
	input("xy", 2);
	out(&dev, SERIAL_FCR, 0); /* off and on both clear */
	ck_assert_uint_eq(serial_room(&serial), 1);
	ck_assert(!(in(&dev, SERIAL_LSR) & SERIAL_LSR_READY));
}
END_TEST

START_TEST(priorities)
{
	out(&dev, SERIAL_FCR, SERIAL_FCR_ENABLE);
	out(&dev, SERIAL_MCR, SERIAL_MCR_LOOP);
	for (int i = 0; i < 17; i++)
		out(&dev, SERIAL_DATA, 'x');
	out(&dev, SERIAL_MCR, SERIAL_MCR_OUT2); /* all lines come up: modem status too */
	out(&dev, SERIAL_IER, 0x0f);
	ck_assert(fake.level);
	ck_assert_uint_eq(in(&dev, SERIAL_IIR), 0xc0 | SERIAL_IIR_LINE);
	ck_assert_uint_eq(in(&dev, SERIAL_LSR) & 0x03, SERIAL_LSR_OVERRUN | SERIAL_LSR_READY);
	ck_assert_uint_eq(in(&dev, SERIAL_IIR), 0xc0 | SERIAL_IIR_RECEIVED);
	for (int i = 0; i < 16; i++)
		in(&dev, SERIAL_DATA);
	ck_assert_uint_eq(in(&dev, SERIAL_IIR), 0xc0 | SERIAL_IIR_TRANSMITTED);
	ck_assert_uint_eq(in(&dev, SERIAL_IIR), 0xc0 | SERIAL_IIR_MODEM);
	ck_assert(fake.level);
	ck_assert_uint_eq(in(&dev, SERIAL_MSR) & 0x0f,
			  SERIAL_MSR_DELTA_CTS | SERIAL_MSR_DELTA_DSR | SERIAL_MSR_DELTA_DCD);
	ck_assert_uint_eq(in(&dev, SERIAL_IIR), 0xc0 | SERIAL_IIR_NONE);
	ck_assert(!fake.level);
}
END_TEST

START_TEST(out2_lets_the_interrupt_out)
{
	out(&dev, SERIAL_MCR, 0);
	out(&dev, SERIAL_IER, SERIAL_IER_TRANSMITTED);
	ck_assert(!fake.level);
	out(&dev, SERIAL_MCR, SERIAL_MCR_OUT2);
	ck_assert(fake.level);
	out(&dev, SERIAL_MCR, SERIAL_MCR_OUT2 | SERIAL_MCR_LOOP);
	ck_assert(!fake.level);
}
END_TEST

START_TEST(loopback)
{
	out(&dev, SERIAL_MCR, SERIAL_MCR_LOOP);
	ck_assert_uint_eq(serial_room(&serial), 0);
	input("lost", 0);
	out(&dev, SERIAL_DATA, 0xae);
	ck_assert_uint_eq(in(&dev, SERIAL_DATA), 0xae);
	ck_assert_uint_eq(fake.sent_bytes, 0);
	out(&dev, SERIAL_DATA, 1); /* without the FIFO the newest byte wins */
	out(&dev, SERIAL_DATA, 2);
	ck_assert(in(&dev, SERIAL_LSR) & SERIAL_LSR_OVERRUN);
	ck_assert_uint_eq(in(&dev, SERIAL_DATA), 2);
	out(&dev, SERIAL_MCR, SERIAL_MCR_LOOP | SERIAL_MCR_OUT1);
	ck_assert_uint_eq(in(&dev, SERIAL_MSR) & 0xf4, SERIAL_MSR_RI);
	out(&dev, SERIAL_MCR, SERIAL_MCR_LOOP);
	ck_assert_uint_eq(in(&dev, SERIAL_MSR), SERIAL_MSR_RI_FELL);
	ck_assert_uint_eq(ready_calls, 0);
	out(&dev, SERIAL_MCR, 0);
	ck_assert_uint_eq(ready_calls, 1);
}
END_TEST

START_TEST(wrong_widths)
{
	for (unsigned width = 2; width <= 8; width *= 2) {
		ck_assert_uint_eq(get(&dev, 0, width), width == 8 ? UINT64_MAX : (UINT64_C(1) << 8 * width) - 1);
		put(&dev, SERIAL_DATA, width, 'x');
	}
	ck_assert_uint_eq(fake.sent_bytes, 0);
}
END_TEST

/* The interrupt as the data sheet's table gives it, from what the guest can know. */
static bool level_by_table(void)
{
	bool line = serial.ier & 4 && serial.overrun, data = serial.ier & 1 && serial.count;
	bool thr = serial.ier & 2 && serial.transmitted, modem = serial.ier & 8 && serial.msr_delta;

	return (line || data || thr || modem) && (serial.mcr & 0x18) == 0x08;
}

START_TEST(random_accesses)
{
	uint8_t queue[64];
	unsigned queued = 0;
	uint32_t seed = MODEL_SEED;

	for (int i = 0; i < 200000; i++) {
		uint32_t r = model_random(&seed), offset = r >> 8 & 7;
		uint8_t value = (uint8_t)(r >> 16);
		unsigned capacity = serial.fcr & 1 ? 16 : 1;
		bool data_port = offset == 0 && !(serial.lcr & 0x80), loop = serial.mcr & 0x10;

		fake.sent_bytes = 0;
		if (r % 4 == 0) {
			size_t taken = serial_input(&serial, &value, 1);

			EXPECT(taken == (!loop && queued < capacity));
			if (taken)
				queue[queued++] = value;
		} else if (r % 4 == 1) {
			uint8_t got = in(&dev, offset);

			if (data_port && queued) {
				EXPECT(got == queue[0]);
				memmove(queue, queue + 1, --queued);
			}
			if (offset == SERIAL_LSR)
				EXPECT((got & 1) == (queued > 0));
		} else {
			uint8_t fcr = serial.fcr;

			if (offset == SERIAL_LCR)
				value &= (uint8_t)(r & 0x400 ? 0xff : 0x7f);
			out(&dev, offset, value);
			if (data_port && loop && queued < capacity)
				queue[queued++] = value;
			else if (data_port && loop && capacity == 1)
				queue[0] = value;
			if (offset == SERIAL_FCR && ((fcr ^ value) & 1 || (value & 3) == 3))
				queued = 0;
			EXPECT(fake.sent_bytes == (data_port && !loop));
		}
		EXPECT(serial.count == queued);
		EXPECT(serial_room(&serial) == (serial.mcr & 0x10 ? 0 : (serial.fcr & 1 ? 16 : 1) - queued));
		EXPECT(fake.level == level_by_table());
		EXPECT(serial_room(&serial) != 0 || serial.full);
	}
}
END_TEST

Suite *serial_suite(void);

Suite *serial_suite(void)
{
	Suite *s = suite_create("serial");
	TCase *t = tcase_create("16550A");

	tcase_add_checked_fixture(t, setup, NULL);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, reset_state);
	tcase_add_test(t, linux_autoconfig);
	tcase_add_test(t, linux_startup_finds_no_bugs);
	tcase_add_test(t, transmits_at_once);
	tcase_add_test(t, transmit_interrupt_once_a_burst);
	tcase_add_test(t, divisor_behind_dlab);
	tcase_add_test(t, input_in_order_and_bounded);
	tcase_add_test(t, one_byte_without_fifo);
	tcase_add_test(t, trigger_levels_and_timeout);
	tcase_add_test(t, clearing_the_fifo);
	tcase_add_test(t, priorities);
	tcase_add_test(t, out2_lets_the_interrupt_out);
	tcase_add_test(t, loopback);
	tcase_add_test(t, wrong_widths);
	tcase_add_test(t, random_accesses);
	suite_add_tcase(s, t);
	return s;
}
