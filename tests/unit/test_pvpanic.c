/* tests/unit/test_pvpanic.c: a guest's panic. */
#include "devices/pvpanic.h"
#include "tests/unit/device_fakes.h"

START_TEST(panics_by_bit_0)
{
	for (unsigned v = 0; v < 256; v++) {
		struct fake fake = {0};
		struct pvpanic pvpanic;
		struct device dev;

		pvpanic_init(&pvpanic, fake_ending(&fake), &dev);
		ck_assert_uint_eq(in(&dev, 0), PVPANIC_PANICKED | PVPANIC_CRASH_LOADED);
		ck_assert_uint_eq(get(&dev, 0, 2), 0xffff);
		put(&dev, 0, 2, v);
		ck_assert_uint_eq(fake.endings, 0);
		out(&dev, 0, (uint8_t)v);
		ck_assert_uint_eq(fake.endings, v & 1);
		if (v & 1) {
			ck_assert_int_eq(fake.kind, ENDING_PANIC);
			ck_assert_uint_eq(fake.value, v);
		}
	}
}
END_TEST

Suite *pvpanic_suite(void);

Suite *pvpanic_suite(void)
{
	Suite *s = suite_create("pvpanic");
	TCase *t = tcase_create("port");

	tcase_add_test(t, panics_by_bit_0);
	suite_add_tcase(s, t);
	return s;
}
