#include "vmm/pack/decimal.h"

#include <string.h>

#define DECIMALS_MAX 18u

static unsigned digit_of(char c)
{
	return (unsigned char)c - (unsigned)'0';
}

/* Sums with a fraction f / power below 1: f * scale < 10^18 * 2^40 < 2^100. */
static enum decimal_result scaled(uint64_t whole, uint64_t f, uint64_t power, struct decimal_unit unit, uint64_t *out)
{
	const unsigned __int128 part = (unsigned __int128)f * unit.scale;
	unsigned __int128 sum;

	if (power == 1) /* most are whole, and 128 bits take their time to divide */
		return __builtin_mul_overflow(whole, unit.scale, out) ? DECIMAL_LARGE : DECIMAL_OK;
	sum = (unsigned __int128)whole * unit.scale + part / power;
	if (unit.up && part % power)
		sum++;
	if (sum > UINT64_MAX)
		return DECIMAL_LARGE;
	*out = (uint64_t)sum;
	return DECIMAL_OK;
}

/* text: what is behind the point. */
static bool read_fraction(const char *text, size_t length, uint64_t *f, uint64_t *power)
{
	for (size_t i = 0; i < length; i++) {
		const unsigned d = digit_of(text[i]);

		if (d > 9 || (i >= DECIMALS_MAX && d != 0))
			return false;
		if (i < DECIMALS_MAX) {
			*f = *f * 10 + d;
			*power *= 10;
		}
	}
	return true;
}

enum decimal_result decimal_parse(const char *text, size_t length, struct decimal_unit unit, uint64_t *out)
{
	const size_t sign = length && (text[0] == '-' || text[0] == '+');
	uint64_t whole = 0, f = 0, power = 1, value;
	enum decimal_result result;
	size_t i = sign, digits;
	bool large = false;

	for (; i < length && digit_of(text[i]) <= 9; i++)
		large |= __builtin_mul_overflow(whole, 10, &whole) ||
			 __builtin_add_overflow(whole, digit_of(text[i]), &whole);
	digits = i - sign;
	if (i < length) {
		if (text[i] != '.' || !read_fraction(text + i + 1, length - i - 1, &f, &power))
			return DECIMAL_NO_NUMBER;
		digits += length - i - 1;
	}
	if (digits == 0)
		return DECIMAL_NO_NUMBER;
	if (sign && text[0] == '-' && (large || whole || f))
		return DECIMAL_NEGATIVE;
	if (large)
		return DECIMAL_LARGE;
	result = scaled(whole, f, power, unit, &value);
	if (result == DECIMAL_OK)
		*out = value;
	return result;
}

size_t decimal_format(uint64_t value, uint64_t scale, char *text)
{
	uint64_t whole = value / scale, rest = value % scale;
	char digits[DECIMAL_TEXT_MAX];
	size_t at = sizeof(digits), length;

	do {
		digits[--at] = (char)('0' + whole % 10);
		whole /= 10;
	} while (whole);
	length = sizeof(digits) - at;
	memcpy(text, digits + at, length);
	if (rest)
		text[length++] = '.';
	while (rest) {
		scale /= 10;
		text[length++] = (char)('0' + rest / scale);
		rest %= scale;
	}
	return length;
}
