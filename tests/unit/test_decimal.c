/* Decimal numbers: what is one and what is not, exactly, at every scale, beside 128-bit sums. */
#include <check.h>
#undef fail
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tests/unit/expect.h"
#include "tests/unit/random.h"
#include "vmm/pack/decimal.h"

Suite *decimal_suite(void);

#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)
#define SEC UINT64_C(1000000)

static const struct {
	const char *text;
	struct decimal_unit unit;
	enum decimal_result result;
	uint64_t value;
} cases[] = {
	{"0", {1, false}, DECIMAL_OK, 0},
	{"7", {1, true}, DECIMAL_OK, 7},
	{"+7", {1, true}, DECIMAL_OK, 7},
	{"-0", {1, true}, DECIMAL_OK, 0},
	{"-0.000", {1, true}, DECIMAL_OK, 0},
	{"007", {1, true}, DECIMAL_OK, 7},
	{"1.75", {GIB, true}, DECIMAL_OK, 1879048192},
	{"0.75", {GIB, true}, DECIMAL_OK, 805306368},
	{".5", {MIB, true}, DECIMAL_OK, 524288},
	{"5.", {MIB, true}, DECIMAL_OK, 5 * MIB},
	{"0.1", {GIB, true}, DECIMAL_OK, 107374183},
	{"0.1", {GIB, false}, DECIMAL_OK, 107374182},
	{"1.0000001", {SEC, false}, DECIMAL_OK, 1000000},
	{"1.9999999", {SEC, false}, DECIMAL_OK, 1999999},
	{"0.0001", {1000, true}, DECIMAL_OK, 1},
	{"0.000000000000000001", {1, true}, DECIMAL_OK, 1},
	{"1.500000000000000000000000", {SEC, false}, DECIMAL_OK, 1500000},
	{"18446744073709551615", {1, true}, DECIMAL_OK, UINT64_MAX},
	{"18446744073709551615.0", {1, true}, DECIMAL_OK, UINT64_MAX},
	{"18446744073709.551615", {SEC, false}, DECIMAL_OK, UINT64_MAX},
	{"18446744073709.551616", {SEC, false}, DECIMAL_LARGE, 0},
	{"18446744073709551615.1", {1, true}, DECIMAL_LARGE, 0},
	{"18446744073709551616", {1, true}, DECIMAL_LARGE, 0},
	{"18446744073710", {SEC, true}, DECIMAL_LARGE, 0},
	{"99999999999999999999999999999999", {1, true}, DECIMAL_LARGE, 0},
	{"-1", {1, true}, DECIMAL_NEGATIVE, 0},
	{"-0.001", {1, true}, DECIMAL_NEGATIVE, 0},
	{"-99999999999999999999999999999999", {1, true}, DECIMAL_NEGATIVE, 0},
	{"", {1, true}, DECIMAL_NO_NUMBER, 0},
	{"+", {1, true}, DECIMAL_NO_NUMBER, 0},
	{"-", {1, true}, DECIMAL_NO_NUMBER, 0},
	{".", {1, true}, DECIMAL_NO_NUMBER, 0},
	{"-.", {1, true}, DECIMAL_NO_NUMBER, 0},
	{" 1", {1, true}, DECIMAL_NO_NUMBER, 0},
	{"1 ", {1, true}, DECIMAL_NO_NUMBER, 0},
	{"1e3", {1, true}, DECIMAL_NO_NUMBER, 0},
	{"0x10", {1, true}, DECIMAL_NO_NUMBER, 0},
	{"1.2.3", {1, true}, DECIMAL_NO_NUMBER, 0},
	{"1,5", {1, true}, DECIMAL_NO_NUMBER, 0},
	{"nan", {1, true}, DECIMAL_NO_NUMBER, 0},
	{"--1", {1, true}, DECIMAL_NO_NUMBER, 0},
	{"0.0000000000000000001", {1, true}, DECIMAL_NO_NUMBER, 0},
	{"\xff", {1, true}, DECIMAL_NO_NUMBER, 0},
	{"1/", {1, true}, DECIMAL_NO_NUMBER, 0},
	{"1:", {1, true}, DECIMAL_NO_NUMBER, 0},
};

START_TEST(cases_hold)
{
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const bool ok = cases[i].result == DECIMAL_OK;
		uint64_t value = 12345;
		enum decimal_result result = decimal_parse(cases[i].text, strlen(cases[i].text), cases[i].unit, &value);

		ck_assert_msg(result == cases[i].result, "%s: %d", cases[i].text, result);
		ck_assert_msg(value == (ok ? cases[i].value : 12345), "%s: %" PRIu64, cases[i].text, value);
	}
}
END_TEST

/* Only [text, text + length) is looked at. */
START_TEST(length_bounds)
{
	uint64_t value;

	ck_assert_int_eq(decimal_parse("12.5", 2, (struct decimal_unit){10, false}, &value), DECIMAL_OK);
	ck_assert_uint_eq(value, 120);
	ck_assert_int_eq(decimal_parse("12.5", 3, (struct decimal_unit){10, false}, &value), DECIMAL_OK);
	ck_assert_uint_eq(value, 120);
	ck_assert_int_eq(decimal_parse("5", 0, (struct decimal_unit){10, false}, &value), DECIMAL_NO_NUMBER);
}
END_TEST

/* What comes out is the only whole number beside digits * scale / 10^decimals that it may be. */
START_TEST(beside_sums)
{
	static const uint64_t scales[] = {1, 10, 1000, SEC, MIB, GIB, DECIMAL_SCALE_MAX, 3, 86400000000};

	seed(1);
	for (int i = 0; i < 400000; i++) {
		const unsigned decimals = (unsigned)below(19);
		const uint64_t whole = below(4) ? below(100000) : below(2) ? 0 : below(UINT64_C(1) << 40);
		const struct decimal_unit unit = {scales[below(sizeof(scales) / sizeof(scales[0]))], below(2)};
		unsigned __int128 power = 1, exact;
		uint64_t f, value;
		char text[64];

		for (unsigned k = 0; k < decimals; k++)
			power *= 10;
		f = decimals ? below((uint64_t)power) : 0;
		snprintf(text, sizeof(text), decimals ? "%" PRIu64 ".%0*" PRIu64 : "%" PRIu64, whole, (int)decimals, f);
		exact = ((unsigned __int128)whole * (uint64_t)power + f);
		if (exact >> 80)
			continue;
		exact *= unit.scale;
		if (decimal_parse(text, strlen(text), unit, &value) != DECIMAL_OK) {
			EXPECT(exact / power >= UINT64_MAX);
			continue;
		}
		if (unit.up)
			EXPECT((unsigned __int128)value * power >= exact &&
			       (unsigned __int128)value * power - exact < power);
		else
			EXPECT((unsigned __int128)value * power <= exact &&
			       exact - (unsigned __int128)value * power < power);
	}
}
END_TEST

START_TEST(what_is_formatted_is_read)
{
	static const uint64_t powers[] = {1, 10, 1000, SEC};
	char text[DECIMAL_TEXT_MAX];
	uint64_t back;

	seed(2);
	ck_assert(decimal_format(0, SEC, text) == 1 && text[0] == '0');
	ck_assert(decimal_format(1500000, SEC, text) == 3 && memcmp(text, "1.5", 3) == 0);
	ck_assert(decimal_format(1, SEC, text) == 8 && memcmp(text, "0.000001", 8) == 0);
	ck_assert(decimal_format(2000, 1000, text) == 1 && text[0] == '2');
	for (int i = 0; i < 200000; i++) {
		const uint64_t value = below(2) ? UINT64_MAX - below(1000) : below(UINT64_C(1) << (1 + below(63)));
		const uint64_t scale = powers[below(4)];
		const size_t length = decimal_format(value, scale, text);

		EXPECT(length < DECIMAL_TEXT_MAX);
		EXPECT(decimal_parse(text, length, (struct decimal_unit){scale, below(2)}, &back) == DECIMAL_OK);
		EXPECT(back == value);
	}
}
END_TEST

Suite *decimal_suite(void)
{
	Suite *suite = suite_create("decimal");
	TCase *all = tcase_create("all");

	tcase_add_test(all, cases_hold);
	tcase_add_test(all, length_bounds);
	tcase_add_test(all, beside_sums);
	tcase_add_test(all, what_is_formatted_is_read);
	suite_add_tcase(suite, all);
	return suite;
}
