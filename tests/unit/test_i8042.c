/* tests/unit/test_i8042.c: Linux's probe for a keyboard controller ends at once, and the reset line works. */
#include "devices/i8042.h"
#include "tests/unit/device_fakes.h"

static struct fake fake;
static struct i8042 i8042;
static struct device data, command;

static void setup(void)
{
	memset(&fake, 0, sizeof(fake));
	i8042_init(&i8042, fake_ending(&fake), &data, &command);
}

static bool waiting(void)
{
	return in(&command, 0) & I8042_STATUS_OUTPUT;
}

static uint8_t ask(uint8_t value)
{
	out(&command, 0, value);
	ck_assert(waiting());
	return in(&data, 0);
}

/* drivers/input/serio/i8042.c: i8042_flush(), i8042_controller_init(), i8042_check_aux(). */
START_TEST(linux_probe)
{
	uint8_t config;

	ck_assert(!waiting());
	ck_assert(in(&command, 0) & I8042_STATUS_UNLOCKED);
	config = ask(I8042_READ_CONFIG);
	out(&command, 0, I8042_WRITE_CONFIG);
	out(&data, 0, config | 0x01);
	ck_assert_uint_eq(ask(I8042_READ_CONFIG), config | 0x01);
	ck_assert_uint_eq(ask(I8042_SELF_TEST), 0x55);
	ck_assert(in(&command, 0) & I8042_STATUS_SYSTEM);
	out(&command, 0, I8042_ECHO_AUX);
	out(&data, 0, 0x5a);
	ck_assert(waiting());
	ck_assert(!(in(&command, 0) & I8042_STATUS_AUX)); /* so there is no mouse port */
	ck_assert_uint_eq(ask(I8042_TEST_AUX), 0x01);	  /* and the echo that nobody read is gone */
	ck_assert_uint_eq(fake.endings, 0);
}
END_TEST

START_TEST(nobody_at_the_keyboard)
{
	out(&data, 0, 0xff);
	ck_assert_uint_eq(in(&command, 0) & 0x41, I8042_STATUS_OUTPUT | I8042_STATUS_TIMEOUT);
	ck_assert_uint_eq(in(&data, 0), I8042_RESEND);
	ck_assert_uint_eq(in(&command, 0) & 0x41, 0);
	out(&command, 0, I8042_WRITE_AUX);
	out(&data, 0, 0xf4);
	ck_assert_uint_eq(in(&data, 0), I8042_RESEND);
	ck_assert_uint_eq(ask(I8042_TEST_KEYBOARD), I8042_TEST_CLOCK_LOW);
}
END_TEST

START_TEST(enable_bits)
{
	out(&command, 0, I8042_ENABLE_KEYBOARD);
	out(&command, 0, I8042_ENABLE_AUX);
	ck_assert_uint_eq(ask(I8042_READ_CONFIG) & 0x30, 0);
	out(&command, 0, I8042_DISABLE_KEYBOARD);
	ck_assert_uint_eq(ask(I8042_READ_CONFIG) & 0x30, I8042_CONFIG_KEYBOARD_DISABLE);
	out(&command, 0, I8042_DISABLE_AUX);
	ck_assert_uint_eq(ask(I8042_READ_CONFIG) & 0x30, 0x30);
}
END_TEST

START_TEST(reset_by_pulse)
{
	for (unsigned v = 0; v < 256; v++) {
		bool resets = v >= 0xf0 && !(v & 1);

		setup();
		out(&command, 0, (uint8_t)v);
		ck_assert_uint_eq(fake.endings, resets);
		ck_assert(!resets || fake.kind == ENDING_RESET);
	}
}
END_TEST

START_TEST(output_port)
{
	ck_assert_uint_eq(ask(I8042_READ_OUTPUT) & 3, 3);
	out(&command, 0, I8042_WRITE_OUTPUT);
	out(&data, 0, 0xdd); /* A20 off, as old code does; reset stays high */
	ck_assert_uint_eq(ask(I8042_READ_OUTPUT), 0xdd);
	ck_assert_uint_eq(fake.endings, 0);
	out(&command, 0, I8042_WRITE_OUTPUT);
	out(&data, 0, 0xfe);
	ck_assert_uint_eq(fake.endings, 1);
	ck_assert_int_eq(fake.kind, ENDING_RESET);
}
END_TEST

START_TEST(a_parameter_belongs_to_the_last_command)
{
	out(&command, 0, I8042_WRITE_OUTPUT);
	out(&command, 0, I8042_ENABLE_KEYBOARD);
	out(&data, 0, 0x00);
	ck_assert_uint_eq(fake.endings, 0);
}
END_TEST

START_TEST(wrong_widths)
{
	ck_assert_uint_eq(get(&data, 0, 2), 0xffff);
	ck_assert_uint_eq(get(&command, 0, 4), 0xffffffff);
	put(&command, 0, 2, I8042_RESET);
	put(&data, 0, 2, 0xff);
	ck_assert_uint_eq(fake.endings, 0);
	ck_assert(!waiting());
}
END_TEST

Suite *i8042_suite(void);

Suite *i8042_suite(void)
{
	Suite *s = suite_create("i8042");
	TCase *t = tcase_create("controller");

	tcase_add_checked_fixture(t, setup, NULL);
	tcase_add_test(t, linux_probe);
	tcase_add_test(t, nobody_at_the_keyboard);
	tcase_add_test(t, enable_bits);
	tcase_add_test(t, reset_by_pulse);
	tcase_add_test(t, output_port);
	tcase_add_test(t, a_parameter_belongs_to_the_last_command);
	tcase_add_test(t, wrong_widths);
	suite_add_tcase(s, t);
	return s;
}
