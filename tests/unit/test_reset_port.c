/* tests/unit/test_reset_port.c: port 0xcf9. */
#include "devices/reset_port.h"
#include "tests/unit/device_fakes.h"

START_TEST(resets_by_bit_2)
{
	for (unsigned v = 0; v < 256; v++) {
		struct fake fake = {0};
		struct reset_port port;
		struct device dev;

		reset_port_init(&port, fake_ending(&fake), &dev);
		put(&dev, 0, 2, v);
		ck_assert_uint_eq(fake.endings, 0);
		out(&dev, 0, (uint8_t)v);
		ck_assert_uint_eq(fake.endings, v >> 2 & 1);
		ck_assert(!fake.endings || fake.kind == ENDING_RESET);
		ck_assert_uint_eq(in(&dev, 0), v & RESET_PORT_HARD);
		ck_assert_uint_eq(get(&dev, 0, 4), 0xffffffff);
	}
}
END_TEST

Suite *reset_port_suite(void);

Suite *reset_port_suite(void)
{
	Suite *s = suite_create("reset_port");
	TCase *t = tcase_create("port");

	tcase_add_test(t, resets_by_bit_2);
	suite_add_tcase(s, t);
	return s;
}
