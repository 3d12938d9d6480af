/* tests/unit/test_debug_exit.c: isa-debug-exit. */
#include "devices/debug_exit.h"
#include "tests/unit/device_fakes.h"

START_TEST(every_width_ends)
{
	for (unsigned width = 1; width <= 4; width *= 2)
		for (unsigned offset = 0; offset + width <= DEBUG_EXIT_WINDOW; offset++) {
			uint32_t value = UINT32_C(0xdeadbeef) >> (32 - 8 * width);
			struct fake fake = {0};
			struct debug_exit debug_exit;
			struct device dev;

			debug_exit_init(&debug_exit, fake_ending(&fake), &dev);
			ck_assert_uint_eq(get(&dev, offset, width), 0);
			ck_assert_uint_eq(fake.endings, 0);
			put(&dev, offset, width, value);
			ck_assert_uint_eq(fake.endings, 1);
			ck_assert_int_eq(fake.kind, ENDING_DEBUG_EXIT);
			ck_assert_uint_eq(fake.value, value);
		}
}
END_TEST

START_TEST(zero_is_a_value)
{
	struct fake fake = {.value = 7};
	struct debug_exit debug_exit;
	struct device dev;

	debug_exit_init(&debug_exit, fake_ending(&fake), &dev);
	out(&dev, 0, 0);
	ck_assert_uint_eq(fake.endings, 1);
	ck_assert_uint_eq(fake.value, 0);
}
END_TEST

Suite *debug_exit_suite(void);

Suite *debug_exit_suite(void)
{
	Suite *s = suite_create("debug_exit");
	TCase *t = tcase_create("port");

	tcase_add_test(t, every_width_ends);
	tcase_add_test(t, zero_is_a_value);
	suite_add_tcase(s, t);
	return s;
}
