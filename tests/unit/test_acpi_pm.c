/* tests/unit/test_acpi_pm.c: power off, the power button and its interrupt, the PM timer. */
#include "devices/acpi_pm.h"
#include "tests/unit/device_fakes.h"

static struct fake fake;
static struct acpi_pm pm;
static struct device dev;

static void setup(void)
{
	memset(&fake, 0, sizeof(fake));
	acpi_pm_init(&pm, fake_clock(&fake), fake_irq(&fake), fake_ending(&fake), &dev);
}

START_TEST(soft_off)
{
	ck_assert_uint_eq(get(&dev, ACPI_PM_CONTROL, 2), ACPI_PM_SCI_EN);
	for (unsigned typ = 0; typ < 8; typ++) {
		fake.endings = 0;
		put(&dev, ACPI_PM_CONTROL, 2, typ << ACPI_PM_SLP_TYP_SHIFT); /* Linux writes the type alone first */
		ck_assert_uint_eq(fake.endings, 0);
		put(&dev, ACPI_PM_CONTROL, 2, typ << ACPI_PM_SLP_TYP_SHIFT | ACPI_PM_SLP_EN);
		ck_assert_uint_eq(fake.endings, typ == ACPI_PM_SLP_TYP_OFF);
		/* SLP_EN reads 0 */
		ck_assert_uint_eq(get(&dev, ACPI_PM_CONTROL, 2), typ << ACPI_PM_SLP_TYP_SHIFT | ACPI_PM_SCI_EN);
	}
	ck_assert_int_eq(fake.kind, ENDING_POWER_OFF);
}
END_TEST

START_TEST(soft_off_by_one_byte)
{
	out(&dev, ACPI_PM_CONTROL + 1, (5 << ACPI_PM_SLP_TYP_SHIFT | ACPI_PM_SLP_EN) >> 8);
	ck_assert_uint_eq(fake.endings, 1);
}
END_TEST

START_TEST(power_button)
{
	ck_assert(!acpi_pm_power_button(&pm)); /* nobody listens yet */
	ck_assert(!fake.level);
	put(&dev, ACPI_PM_STATUS, 2, ACPI_PM_BUTTON);
	put(&dev, ACPI_PM_ENABLE, 2, ACPI_PM_BUTTON);
	ck_assert(!fake.level);
	ck_assert(acpi_pm_power_button(&pm));
	ck_assert(fake.level);
	ck_assert_uint_eq(get(&dev, ACPI_PM_STATUS, 2), ACPI_PM_BUTTON);
	put(&dev, ACPI_PM_STATUS, 2, (uint16_t)~ACPI_PM_BUTTON); /* clears other bits only */
	ck_assert(fake.level);
	put(&dev, ACPI_PM_STATUS, 2, ACPI_PM_BUTTON);
	ck_assert(!fake.level);
	ck_assert_uint_eq(get(&dev, ACPI_PM_STATUS, 4), (uint32_t)ACPI_PM_BUTTON << 16);
}
END_TEST

START_TEST(enable_after_the_press)
{
	acpi_pm_power_button(&pm);
	put(&dev, ACPI_PM_STATUS, 4, (uint32_t)ACPI_PM_BUTTON << 16); /* both registers by one access */
	ck_assert(fake.level);
	put(&dev, ACPI_PM_ENABLE, 2, 0);
	ck_assert(!fake.level);
}
END_TEST

START_TEST(timer)
{
	ck_assert_uint_eq(get(&dev, ACPI_PM_TIMER, 4), 0);
	fake.now_ns = 279; /* one tick is 279.37 ns */
	ck_assert_uint_eq(get(&dev, ACPI_PM_TIMER, 4), 0);
	fake.now_ns = 280;
	ck_assert_uint_eq(get(&dev, ACPI_PM_TIMER, 4), 1);
	fake.now_ns = UINT64_C(1000000000) * 3600 * 24 * 365 * 100;
	ck_assert_uint_eq(get(&dev, ACPI_PM_TIMER, 4), (uint32_t)(UINT64_C(3153600000) * ACPI_PM_TIMER_HZ));
	fake.now_ns = UINT64_MAX;
	ck_assert_uint_eq(get(&dev, ACPI_PM_TIMER, 4),
			  (uint32_t)((unsigned __int128)UINT64_MAX * ACPI_PM_TIMER_HZ / 1000000000u));
	put(&dev, ACPI_PM_TIMER, 4, 0);
	ck_assert_uint_ne(get(&dev, ACPI_PM_TIMER, 4), 0);
}
END_TEST

START_TEST(tick_conversions_meet)
{
	static const uint32_t rates[] = {1, 32768, 1193182, 3579545, 1000000000, UINT32_MAX};
	uint32_t seed = MODEL_SEED;

	for (int i = 0; i < 100000; i++) {
		uint32_t hz = rates[i % 6];
		uint64_t r = (uint64_t)model_random(&seed) << 32 | model_random(&seed);
		uint64_t ns = r >> model_random(&seed) % 64, ticks = timer_ticks(ns, hz), back;

		EXPECT(ticks == (uint64_t)((unsigned __int128)ns * hz / 1000000000u));
		back = timer_ns(ticks, hz);
		if (back == UINT64_MAX)
			continue;
		EXPECT(timer_ticks(back, hz) >= ticks);
		EXPECT(ticks == 0 || timer_ticks(back - 1, hz) < ticks);
	}
	EXPECT(timer_ns(UINT64_MAX, 1193182) == UINT64_MAX);
}
END_TEST

START_TEST(every_width_stays_inside)
{
	for (unsigned width = 1; width <= 8; width *= 2)
		for (unsigned offset = 0; offset + width <= ACPI_PM_WINDOW; offset++) {
			put(&dev, offset, width, 0);
			get(&dev, offset, width);
		}
	ck_assert_uint_eq(get(&dev, 6, 2), 0);
	ck_assert_uint_eq(fake.endings, 0);
}
END_TEST

Suite *acpi_pm_suite(void);

Suite *acpi_pm_suite(void)
{
	Suite *s = suite_create("acpi_pm");
	TCase *t = tcase_create("fixed hardware");

	tcase_add_checked_fixture(t, setup, NULL);
	tcase_add_test(t, soft_off);
	tcase_add_test(t, soft_off_by_one_byte);
	tcase_add_test(t, power_button);
	tcase_add_test(t, enable_after_the_press);
	tcase_add_test(t, timer);
	tcase_add_test(t, tick_conversions_meet);
	tcase_add_test(t, every_width_stays_inside);
	suite_add_tcase(s, t);
	return s;
}
