/* tests/unit/test_cmos.c: dates against the C library's calendar, in both number
 * and both hour formats; setting the clock; the memory size bytes. */
#include <time.h>

#include "devices/cmos.h"
#include "tests/unit/device_fakes.h"

static struct fake fake;
static struct cmos cmos;
static struct device dev;

#define GIB (UINT64_C(1) << 30)

static void setup(void)
{
	memset(&fake, 0, sizeof(fake));
	cmos_init(&cmos, fake_clock(&fake), 3 * GIB, 2 * GIB, &dev);
}

static uint8_t reg(uint8_t index)
{
	out(&dev, CMOS_INDEX, index);
	return in(&dev, CMOS_DATA);
}

static void set_reg(uint8_t index, uint8_t value)
{
	out(&dev, CMOS_INDEX, index);
	out(&dev, CMOS_DATA, value);
}

static unsigned number(uint8_t index)
{
	uint8_t v = reg(index);

	return reg(CMOS_B) & CMOS_B_BINARY ? v : (v >> 4) * 10u + (v & 0xf);
}

static unsigned hour(void)
{
	unsigned v = reg(CMOS_HOURS), pm = v & CMOS_HOURS_PM;

	if (reg(CMOS_B) & CMOS_B_24H)
		return number(CMOS_HOURS);
	v &= 0x7f;
	v = reg(CMOS_B) & CMOS_B_BINARY ? v : (v >> 4) * 10 + (v & 0xf);
	EXPECT(v >= 1 && v <= 12);
	return v % 12 + (pm ? 12 : 0);
}

static int64_t guest_reads(void)
{
	struct tm tm = {
		.tm_year = (int)(number(CMOS_CENTURY) * 100 + number(CMOS_YEAR)) - 1900,
		.tm_mon = (int)number(CMOS_MONTH) - 1,
		.tm_mday = (int)number(CMOS_DAY),
		.tm_hour = (int)hour(),
		.tm_min = (int)number(CMOS_MINUTES),
		.tm_sec = (int)number(CMOS_SECONDS),
	};
	unsigned weekday = number(CMOS_WEEKDAY);
	int64_t time_s = timegm(&tm);

	EXPECT(weekday == (unsigned)tm.tm_wday + 1);
	return time_s;
}

static int64_t at(int year, int month, int day, int h, int m, int s)
{
	struct tm tm = {
		.tm_year = year - 1900, .tm_mon = month - 1, .tm_mday = day, .tm_hour = h, .tm_min = m, .tm_sec = s};

	return timegm(&tm);
}

START_TEST(known_dates)
{
	static const struct {
		int year, month, day;
	} days[] = {{1970, 1, 1},  {1999, 12, 31}, {2000, 1, 1},  {2000, 2, 29},  {2000, 3, 1},
		    {2023, 2, 28}, {2023, 3, 1},   {2024, 2, 29}, {2024, 12, 31}, {2026, 11, 21},
		    {2038, 1, 19}, {2100, 2, 28},  {2100, 3, 1},  {1900, 2, 28},  {1900, 3, 1},
		    {1600, 2, 29}, {0, 1, 1},	   {0, 12, 31},	  {9999, 12, 31}, {1969, 12, 31}};

	for (size_t i = 0; i < sizeof(days) / sizeof(days[0]); i++)
		for (unsigned b = 0; b < 8; b += 2) {
			set_reg(CMOS_B, (uint8_t)b);
			fake.wall_s = at(days[i].year, days[i].month, days[i].day, 23, 59, 58);
			EXPECT(guest_reads() == fake.wall_s);
			EXPECT(number(CMOS_DAY) == (unsigned)days[i].day);
			EXPECT(number(CMOS_MONTH) == (unsigned)days[i].month);
			EXPECT(number(CMOS_CENTURY) == (unsigned)days[i].year / 100);
		}
}
END_TEST

START_TEST(random_dates)
{
	uint32_t seed = MODEL_SEED;
	int64_t first = at(0, 1, 1, 0, 0, 0), span = at(9999, 12, 31, 23, 59, 59) - first + 1;

	for (int i = 0; i < 50000; i++) {
		uint64_t r = (uint64_t)model_random(&seed) << 32 | model_random(&seed);

		set_reg(CMOS_B, (uint8_t)(r >> 40 & (CMOS_B_24H | CMOS_B_BINARY)));
		fake.wall_s = first + (int64_t)(r % (uint64_t)span);
		EXPECT(guest_reads() == fake.wall_s);
	}
}
END_TEST

START_TEST(absurd_clocks_are_clamped)
{
	fake.wall_s = INT64_MAX;
	ck_assert_uint_eq(reg(CMOS_CENTURY), 0x99);
	ck_assert_uint_eq(reg(CMOS_YEAR), 0x99);
	fake.wall_s = INT64_MIN;
	ck_assert_uint_eq(reg(CMOS_CENTURY), 0);
	ck_assert_uint_eq(reg(CMOS_YEAR), 0);
	set_reg(CMOS_SECONDS, 0x10);
	fake.wall_s = INT64_MAX;
	reg(CMOS_SECONDS);
}
END_TEST

START_TEST(twelve_hours)
{
	static const uint8_t bcd[24] = {0x12, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x10, 0x11,
					0x92, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x90, 0x91};

	set_reg(CMOS_B, 0);
	for (int h = 0; h < 24; h++) {
		fake.wall_s = at(2026, 11, 21, h, 30, 0);
		ck_assert_uint_eq(reg(CMOS_HOURS), bcd[h]);
		set_reg(CMOS_HOURS, bcd[h]);
		ck_assert_int_eq(cmos.offset_s, 0);
	}
}
END_TEST

START_TEST(set_the_clock)
{
	fake.wall_s = at(2026, 11, 21, 3, 8, 38);
	set_reg(CMOS_B, CMOS_B_SET | CMOS_B_24H);
	fake.wall_s += 5;
	ck_assert_uint_eq(reg(CMOS_SECONDS), 0x38); /* it stands still */
	set_reg(CMOS_CENTURY, 0x19);
	set_reg(CMOS_YEAR, 0x84);
	set_reg(CMOS_MONTH, 0x02);
	set_reg(CMOS_DAY, 0x29);
	set_reg(CMOS_HOURS, 0x23);
	set_reg(CMOS_MINUTES, 0x59);
	set_reg(CMOS_SECONDS, 0x59);
	ck_assert_uint_eq(reg(CMOS_MINUTES), 0x59);
	set_reg(CMOS_B, CMOS_B_24H);
	ck_assert_int_eq(guest_reads(), at(1984, 2, 29, 23, 59, 59));
	fake.wall_s++;
	ck_assert_int_eq(guest_reads(), at(1984, 3, 1, 0, 0, 0));
}
END_TEST

START_TEST(set_without_stopping)
{
	fake.wall_s = at(2026, 11, 21, 3, 8, 38);
	set_reg(CMOS_HOURS, 0x17);
	ck_assert_int_eq(guest_reads(), at(2026, 11, 21, 17, 8, 38));
}
END_TEST

START_TEST(impossible_dates_count_on)
{
	fake.wall_s = at(2026, 11, 21, 0, 0, 0);
	set_reg(CMOS_B, CMOS_B_SET | CMOS_B_24H);
	set_reg(CMOS_MONTH, 0x02);
	set_reg(CMOS_DAY, 0x31);
	set_reg(CMOS_B, CMOS_B_24H);
	ck_assert_int_eq(guest_reads(), at(2026, 3, 3, 0, 0, 0));
	for (unsigned v = 0; v < 256; v++) {
		set_reg(CMOS_B, CMOS_B_SET | CMOS_B_24H);
		for (uint8_t r = CMOS_SECONDS; r <= CMOS_YEAR; r++)
			set_reg(r, (uint8_t)v);
		set_reg(CMOS_CENTURY, (uint8_t)v);
		set_reg(CMOS_B, CMOS_B_24H);
		ck_assert_uint_le(reg(CMOS_MONTH), 0x12);
		ck_assert_uint_ge(reg(CMOS_MONTH), 0x01);
	}
}
END_TEST

START_TEST(stable_after_register_a)
{
	fake.now_ns = 1000000;
	fake.wall_s = at(2026, 12, 31, 23, 59, 59);
	ck_assert_uint_eq(reg(CMOS_A), CMOS_A_RESET);
	fake.wall_s++;
	fake.now_ns += 243999;
	ck_assert_int_eq(guest_reads(), at(2026, 12, 31, 23, 59, 59));
	fake.now_ns += 1;
	ck_assert_int_eq(guest_reads(), at(2027, 1, 1, 0, 0, 0));
}
END_TEST

START_TEST(setting_ends_the_stable_time)
{
	fake.now_ns = 1000000;
	fake.wall_s = at(2026, 11, 21, 3, 8, 38);
	reg(CMOS_A);
	set_reg(CMOS_MINUTES, 0x59);
	ck_assert_int_eq(guest_reads(), at(2026, 11, 21, 3, 59, 38));
}
END_TEST

START_TEST(status_registers)
{
	for (unsigned v = 0; v < 256; v++) {
		set_reg(CMOS_A, (uint8_t)v);
		ck_assert_uint_eq(reg(CMOS_A), v & 0x7f);
		set_reg(CMOS_C, (uint8_t)v);
		ck_assert_uint_eq(reg(CMOS_C), 0);
		set_reg(CMOS_D, (uint8_t)v);
		ck_assert_uint_eq(reg(CMOS_D), CMOS_D_VALID);
	}
}
END_TEST

START_TEST(ram_and_nmi_bit)
{
	for (unsigned i = 0x0e; i < 0x80; i++)
		if (i != CMOS_CENTURY)
			set_reg((uint8_t)i, (uint8_t)(i ^ 0x5a));
	for (unsigned i = 0x0e; i < 0x80; i++)
		if (i != CMOS_CENTURY)
			ck_assert_uint_eq(reg((uint8_t)(i | 0x80)), i ^ 0x5a);
	ck_assert_uint_eq(in(&dev, CMOS_INDEX), 0xff);
}
END_TEST

static unsigned sized(uint8_t index, unsigned bytes)
{
	unsigned v = 0;

	for (unsigned i = 0; i < bytes; i++)
		v |= (unsigned)reg((uint8_t)(index + i)) << 8 * i;
	return v;
}

START_TEST(memory_sizes)
{
	ck_assert_uint_eq(sized(CMOS_BASE_KIB, 2), 640);
	ck_assert_uint_eq(sized(CMOS_EXTENDED_KIB, 2), 65535);
	ck_assert_uint_eq(sized(CMOS_EXTENDED_KIB2, 2), 65535);
	ck_assert_uint_eq(sized(CMOS_ABOVE_16M, 2), 3 * 16384 - 256);
	ck_assert_uint_eq(sized(CMOS_ABOVE_4G, 3), 2 * 16384);
	cmos_init(&cmos, fake_clock(&fake), 8 << 20, 0, &dev);
	ck_assert_uint_eq(sized(CMOS_EXTENDED_KIB, 2), 7 * 1024);
	ck_assert_uint_eq(sized(CMOS_ABOVE_16M, 2), 0);
	ck_assert_uint_eq(sized(CMOS_ABOVE_4G, 3), 0);
	cmos_init(&cmos, fake_clock(&fake), 512 << 10, UINT64_MAX, &dev);
	ck_assert_uint_eq(sized(CMOS_BASE_KIB, 2), 512);
	ck_assert_uint_eq(sized(CMOS_EXTENDED_KIB, 2), 0);
	ck_assert_uint_eq(sized(CMOS_ABOVE_4G, 3), 0xffffff);
}
END_TEST

START_TEST(wrong_widths)
{
	out(&dev, CMOS_INDEX, CMOS_D);
	put(&dev, CMOS_INDEX, 2, 0x0a);
	ck_assert_uint_eq(get(&dev, CMOS_INDEX, 2), 0xffff);
	ck_assert_uint_eq(in(&dev, CMOS_DATA), CMOS_D_VALID);
}
END_TEST

Suite *cmos_suite(void);

Suite *cmos_suite(void)
{
	Suite *s = suite_create("cmos");
	TCase *t = tcase_create("clock and RAM");

	tcase_add_checked_fixture(t, setup, NULL);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, known_dates);
	tcase_add_test(t, random_dates);
	tcase_add_test(t, absurd_clocks_are_clamped);
	tcase_add_test(t, twelve_hours);
	tcase_add_test(t, set_the_clock);
	tcase_add_test(t, set_without_stopping);
	tcase_add_test(t, impossible_dates_count_on);
	tcase_add_test(t, stable_after_register_a);
	tcase_add_test(t, setting_ends_the_stable_time);
	tcase_add_test(t, status_registers);
	tcase_add_test(t, ram_and_nmi_bit);
	tcase_add_test(t, memory_sizes);
	tcase_add_test(t, wrong_widths);
	suite_add_tcase(s, t);
	return s;
}
