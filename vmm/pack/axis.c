/* vmm/pack/axis.c: numbers as people read them, and axes with round ticks. */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "mm/port.h"
#include "vmm/pack/axis.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

typedef unsigned __int128 wide;

struct unit {
	uint64_t scale;
	const char *short_name, *long_name;
};

static const struct unit bytes[] = {
	{UINT64_C(1), "bytes", "bytes"},   {UINT64_C(1) << 10, "KiB", "KiB"}, {UINT64_C(1) << 20, "MiB", "MiB"},
	{UINT64_C(1) << 30, "GiB", "GiB"}, {UINT64_C(1) << 40, "TiB", "TiB"}, {UINT64_C(1) << 50, "PiB", "PiB"},
	{UINT64_C(1) << 60, "EiB", "EiB"},
};
static const struct unit times[] = {
	{UINT64_C(1), "us", "microseconds"},  {UINT64_C(1000), "ms", "milliseconds"},
	{UINT64_C(1000000), "s", "seconds"},  {UINT64_C(60000000), "min", "minutes"},
	{UINT64_C(3600000000), "h", "hours"}, {UINT64_C(86400000000), "d", "days"},
};
static const struct unit counts[] = {{1, "", ""}};
static const struct unit millis[] = {{1000, "", ""}};
static const struct unit percents[] = {{10000, "%", "%"}};

static const struct {
	const struct unit *unit;
	size_t units;
} quantities[] = {
	[QUANTITY_COUNT] = {counts, COUNT(counts)},   [QUANTITY_MILLI] = {millis, COUNT(millis)},
	[QUANTITY_PPM] = {percents, COUNT(percents)}, [QUANTITY_BYTES] = {bytes, COUNT(bytes)},
	[QUANTITY_US] = {times, COUNT(times)},
};

/* The largest of which `value` is `least` or more; else the smallest. */
static const struct unit *unit_of(enum quantity q, uint64_t value, uint64_t least)
{
	const struct unit *u = quantities[q].unit;

	for (size_t i = 1; i < quantities[q].units; i++)
		if (value / least >= quantities[q].unit[i].scale)
			u = &quantities[q].unit[i];
	return u;
}

/* ---- text ---- */

/* "1,234,567" */
static void put_whole(struct axis_text *t, uint64_t n)
{
	char digits[24];
	size_t length = (size_t)snprintf(digits, sizeof(digits), "%" PRIu64, n), used = strlen(t->s);

	for (size_t i = 0; i < length; i++) {
		if (i > 0 && (length - i) % 3 == 0)
			t->s[used++] = ',';
		t->s[used++] = digits[i];
	}
	t->s[used] = '\0';
}

static void put_decimal(struct axis_text *t, uint64_t value, uint64_t scale, unsigned decimals)
{
	uint64_t tens = 1;
	size_t used;

	for (unsigned i = 0; i < decimals; i++)
		tens *= 10;
	put_whole(t, value / scale);
	used = strlen(t->s);
	if (decimals > 0)
		snprintf(t->s + used, sizeof(t->s) - used, ".%0*" PRIu64, (int)decimals,
			 (uint64_t)((wide)(value % scale) * tens / scale));
}

/* Three digits or more of what has parts. */
static unsigned decimals_of(enum quantity q, uint64_t value, const struct unit *u)
{
	if (q == QUANTITY_MILLI)
		return 3;
	if (q == QUANTITY_PPM)
		return value < UINT64_C(10000000) ? 2 : 0;
	if (u->scale == 1 || (q == QUANTITY_BYTES && value % u->scale == 0))
		return 0;
	return value / u->scale >= 100 ? 0 : value / u->scale >= 10 ? 1 : 2;
}

struct axis_text quantity_text(enum quantity q, uint64_t value)
{
	const struct unit *u = unit_of(q, value, 1);
	struct axis_text t = {""};

	put_decimal(&t, value, u->scale, decimals_of(q, value, u));
	if (u->short_name[0]) {
		size_t used = strlen(t.s);

		snprintf(t.s + used, sizeof(t.s) - used, " %s", u->short_name);
	}
	return t;
}

/* ---- axes ---- */

static uint64_t step_decimal(uint64_t least)
{
	wide step = 1;

	while (step * 5 < least)
		step *= 10;
	if (step < least)
		step *= step * 2 < least ? 5 : 2;
	return step > UINT64_MAX ? least : (uint64_t)step;
}

/* Minutes and seconds go to 60, hours to 24. */
static uint64_t step_time(const struct unit *u, uint64_t least)
{
	static const uint64_t sixty[] = {1, 2, 5, 10, 15, 20, 30, 60}, day[] = {1, 2, 3, 6, 12, 24};
	const uint64_t *round = u->scale == UINT64_C(3600000000) ? day : sixty;
	size_t rounds = u->scale == UINT64_C(3600000000) ? COUNT(day) : COUNT(sixty);

	for (size_t i = 0; i < rounds; i++)
		if (round[i] >= least)
			return round[i];
	return step_decimal(least);
}

static bool is_clock(enum quantity q, const struct unit *u)
{
	return q == QUANTITY_US && u->scale >= 1000000 && u->scale <= UINT64_C(3600000000);
}

struct axis axis_make(enum quantity q, uint64_t most, unsigned want)
{
	const struct unit *u = unit_of(q, most, 4);
	struct axis a = {.scale = u->scale, .unit = u->long_name};
	uint64_t least;

	MM_ASSERT(u->scale > 0, q, want);
	most = most > 0 ? most : u->scale;
	least = most / want + (most % want != 0);
	if (q == QUANTITY_PPM || q == QUANTITY_MILLI)
		a.step = step_decimal(least);
	else if (is_clock(q, u))
		a.step = step_time(u, (least - 1) / u->scale + 1) * u->scale;
	else
		a.step = step_decimal((least - 1) / u->scale + 1) * u->scale;
	a.ticks = most / a.step + (most % a.step != 0);
	for (uint64_t part = a.scale; part > 1 && a.step % part != 0; part /= 10)
		a.decimals++;
	return a;
}

struct axis_text axis_tick(const struct axis *a, uint64_t tick)
{
	struct axis_text t = {""};

	put_decimal(&t, tick * a->step, a->scale, a->decimals);
	return t;
}
