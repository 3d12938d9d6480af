/* vmm/pack/interval.c: a mean and its 95 % interval. half = t * sqrt(sum of squared differences / (n (n - 1))).
 *
 * Differences are from the first value, and shifted right until they are of 31 bits: their squares times n and t, in
 * thousandths, fit 128 bits; what is shifted out is a 2^30th of the spread. */
#include "vmm/pack/interval.h"
#include "mm/port.h"

typedef unsigned __int128 wide;

uint32_t interval_t_milli(uint32_t degrees)
{
	static const uint32_t small[] = {12706, 4303, 3182, 2776, 2571, 2447, 2365, 2306, 2262, 2228,
					 2201,	2179, 2160, 2145, 2131, 2120, 2110, 2101, 2093, 2086,
					 2080,	2074, 2069, 2064, 2060, 2056, 2052, 2048, 2045, 2042};
	static const struct {
		uint32_t degrees, t;
	} large[] = {{1000, 1962}, {120, 1980}, {60, 2000}, {40, 2021}};

	MM_ASSERT(degrees > 0, degrees, 0);
	if (degrees <= 30)
		return small[degrees - 1];
	for (unsigned i = 0; i < sizeof(large) / sizeof(*large); i++)
		if (degrees >= large[i].degrees)
			return large[i].t;
	return small[29];
}

static uint64_t root_up(wide n)
{
	wide low = 0, high = (wide)1 << 64;

	while (low < high) {
		wide middle = (low + high) / 2;

		if (middle < (wide)1 << 64 && middle * middle < n)
			low = middle + 1;
		else
			high = middle;
	}
	return (uint64_t)low;
}

static unsigned shift_of(const int64_t *value, uint32_t n)
{
	uint64_t most = 0;
	unsigned shift = 0;

	for (uint32_t i = 0; i < n; i++) {
		int64_t d = value[i] - value[0];
		uint64_t size = d < 0 ? (uint64_t)-d : (uint64_t)d;

		most = size > most ? size : most;
	}
	while (most >> shift >= UINT64_C(1) << 31)
		shift++;
	return shift;
}

struct interval interval_of(const int64_t *value, uint32_t n)
{
	unsigned shift = shift_of(value, n);
	struct interval out = {.known = n > 1};
	__int128 whole = 0, sum = 0;
	wide squares = 0, under;
	uint64_t t;

	MM_ASSERT(n > 0 && n <= INTERVAL_VALUES_MAX, n, 0);
	for (uint32_t i = 0; i < n; i++) {
		int64_t d = value[i] - value[0], part = d / ((int64_t)1 << shift);

		whole += d;
		sum += part;
		squares += (wide)((__int128)part * part);
	}
	out.mean = value[0] + (int64_t)(whole / n);
	if (n == 1)
		return out;
	/* n squares - sum^2 is n times the sum of squared differences from the mean. */
	t = interval_t_milli(n - 1);
	squares = squares * n - (wide)(sum * sum);
	under = (wide)n * n * (n - 1);
	out.half = (uint64_t)((((wide)root_up((squares * t * t + under - 1) / under) << shift) + 999) / 1000);
	return out;
}
