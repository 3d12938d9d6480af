/* vmm/pack/axis.c: numbers as people read them, and axes with round ticks. */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "mm/port.h"
#include "vmm/pack/axis.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define CLOSE	 4u /* a band that is no more than such a part of an axis from 0 */

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
static const struct unit thousands[] = {
	/* of a count */
	{UINT64_C(1), "", ""},
	{UINT64_C(1000), "k", "thousands"},
	{UINT64_C(1000000), "M", "millions"},
	{UINT64_C(1000000000), "G", "thousand millions"},
	{UINT64_C(1000000000000), "T", "million millions"},
	{UINT64_C(1000000000000000), "P", "million thousand millions"},
};
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

/* What is below 100,000 is short as it is. */
static const struct unit *unit_of_count(uint64_t count)
{
	const struct unit *u = &thousands[0];

	for (size_t i = 1; i < COUNT(thousands) && count >= 100000; i++)
		if (count >= thousands[i].scale)
			u = &thousands[i];
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

struct axis_text quantity_short(enum quantity q, uint64_t value)
{
	const struct unit *u = unit_of_count(value);
	struct axis_text t = {""};
	size_t used;

	if (q != QUANTITY_COUNT || u->scale == 1)
		return quantity_text(q, value);
	put_decimal(&t, value, u->scale, decimals_of(QUANTITY_BYTES, value, u));
	used = strlen(t.s);
	snprintf(t.s + used, sizeof(t.s) - used, " %s", u->short_name);
	return t;
}

struct axis_text quantity_mean(enum quantity q, uint64_t value)
{
	struct axis_text t = {""};

	if (q != QUANTITY_MILLI)
		return quantity_text(q, value);
	put_decimal(&t, value, 1000, value % 1000 == 0 || value >= 100000 ? 0 : value >= 10000 ? 1 : 2);
	return t;
}

struct axis_text quantity_difference_number(enum quantity q, uint64_t value)
{
	struct axis_text t = {""};

	if (q != QUANTITY_PPM)
		return quantity_mean(q, value);
	put_decimal(&t, value, 10000, value < 100 ? 4 : 2);
	return t;
}

struct axis_text quantity_difference(enum quantity q, uint64_t value)
{
	struct axis_text t = quantity_difference_number(q, value);
	size_t used = strlen(t.s);

	if (q == QUANTITY_PPM)
		snprintf(t.s + used, sizeof(t.s) - used, " percentage points");
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
static uint64_t step_time(uint64_t scale, uint64_t least)
{
	static const uint64_t sixty[] = {1, 2, 5, 10, 15, 20, 30, 60}, day[] = {1, 2, 3, 6, 12, 24};
	const uint64_t *round = scale == UINT64_C(3600000000) ? day : sixty;
	size_t rounds = scale == UINT64_C(3600000000) ? COUNT(day) : COUNT(sixty);

	for (size_t i = 0; i < rounds; i++)
		if (round[i] >= least)
			return round[i];
	return step_decimal(least);
}

static bool is_clock(enum quantity q, uint64_t scale)
{
	return q == QUANTITY_US && scale >= 1000000 && scale <= UINT64_C(3600000000);
}

static bool is_decimal(enum quantity q)
{
	return q == QUANTITY_PPM || q == QUANTITY_MILLI || q == QUANTITY_COUNT;
}

/* Of how many of the quantity the axis is one, and what those are called. */
static struct axis axis_of(enum quantity q, uint64_t most)
{
	const uint64_t whole = q == QUANTITY_MILLI ? 1000 : 1;
	const struct unit *u =
		q == QUANTITY_COUNT || q == QUANTITY_MILLI ? unit_of_count(most / whole) : unit_of(q, most, 4);

	return (struct axis){.scale = u->scale * whole, .unit = u->long_name};
}

static struct axis axis_of_band(enum quantity q, struct axis a, uint64_t band, unsigned want)
{
	uint64_t least = band / want + (band % want != 0);

	if (is_decimal(q))
		a.step = step_decimal(least);
	else if (is_clock(q, a.scale))
		a.step = step_time(a.scale, (least - 1) / a.scale + 1) * a.scale;
	else
		a.step = step_decimal((least - 1) / a.scale + 1) * a.scale;
	for (uint64_t part = a.scale; part > 1 && a.step % part != 0; part /= 10)
		a.decimals++;
	return a;
}

struct axis axis_make(enum quantity q, uint64_t most, unsigned want)
{
	struct axis a = axis_of(q, most);

	MM_ASSERT(a.scale > 0, q, want);
	most = most > 0 ? most : a.scale;
	a = axis_of_band(q, a, most, want);
	a.ticks = most / a.step + (most % a.step != 0);
	return a;
}

/* The unit is that of the band, as long as its numbers are short. */
static struct axis axis_of_close(enum quantity q, uint64_t least, uint64_t most)
{
	struct axis a = axis_of(q, most), fine = axis_of(q, most - least);

	return most / fine.scale < 100000 ? fine : a;
}

struct axis axis_between(enum quantity q, uint64_t least, uint64_t most, unsigned want)
{
	const uint64_t band = most - least;
	struct axis a;

	if (band == 0 || band > most / CLOSE)
		return axis_make(q, most, want);
	a = axis_of_band(q, axis_of_close(q, least, most), band, want);
	a.first = least / a.step;
	a.ticks = most / a.step + (most % a.step != 0) - a.first;
	return a;
}

struct axis_text axis_tick(const struct axis *a, uint64_t tick)
{
	struct axis_text t = {""};

	put_decimal(&t, (a->first + tick) * a->step, a->scale, a->decimals);
	return t;
}
