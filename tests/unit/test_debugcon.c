/* tests/unit/test_debugcon.c: the debug console. */
#include "devices/debugcon.h"
#include "tests/unit/device_fakes.h"

START_TEST(bytes_go_out)
{
	struct fake fake = {0};
	struct debugcon debugcon;
	struct device dev;

	debugcon_init(&debugcon, fake_sink(&fake), &dev);
	ck_assert_uint_eq(in(&dev, 0), 0xe9);
	out(&dev, 0, 'a');
	put(&dev, 0, 2, 'x');
	out(&dev, 0, 0);
	ck_assert_uint_eq(fake.sent_bytes, 2);
	ck_assert_mem_eq(fake.sent, "a", 2);
	ck_assert_uint_eq(get(&dev, 0, 2), 0xffff);
}
END_TEST

Suite *debugcon_suite(void);

Suite *debugcon_suite(void)
{
	Suite *s = suite_create("debugcon");
	TCase *t = tcase_create("port");

	tcase_add_test(t, bytes_go_out);
	suite_add_tcase(s, t);
	return s;
}
