/* devices/cmos.c: MC146818 clock and CMOS RAM.
 *
 * What it is. The clock is the host's wall clock plus an offset, formatted when
 * the guest reads it; nothing ticks. While register B has SET the registers stand
 * still and are plain RAM; when SET goes, what they hold becomes the new offset.
 * A time register that is written without SET does the same in one step.
 *
 * Vocabulary. Guest time: seconds since 1970-01-01 UTC, as the guest has set
 * them. Day number: days since 0000-01-01 (proleptic Gregorian).
 *
 * Invariants
 *   I1 index < CMOS_BYTES.
 *   I2 Register A reads without UIP, C as 0, D as valid; no RAM write changes that.
 *   I3 Time shown lies in the years 0 to 9999: what two BCD bytes can name.
 *
 * Stability. A guest that sees UIP clear has 244 us to read all registers
 * undisturbed (data sheet). So a read of register A freezes the time for that
 * long: no guest needs a loop around its reads, and the time never goes back.
 *
 * Failure. A date that cannot be (month 0, day 40, BCD digits above 9) is not
 * refused: the month is brought into 1 to 12, and the rest counts on, as 32 January
 * is 1 February. The weekday is computed, never taken.
 *
 * Rejected: gmtime(), which is the C library's; registers that tick by an alarm
 * every second (a wake-up a second for a clock that is read once). */
#include <string.h>

#include "devices/cmos.h"

#define STABLE_NS      UINT64_C(244000)
#define DAY_S	       86400
#define EPOCH_DAY      719528 /* of 1970-01-01 */
#define YEARS	       10000
#define UNIX_EPOCH_DOW 4 /* a Thursday, counted from Sunday */

struct calendar {
	unsigned year, month, day, hour, minute, second, weekday; /* month and day from 1, weekday 1 is Sunday */
};

static bool leap(int64_t year)
{
	return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

/* Days from 0000-01-01 to the first of January; year 0 was leap. */
static int64_t days_before_year(int64_t year)
{
	return 365 * year + (year + 3) / 4 - (year + 99) / 100 + (year + 399) / 400;
}

/* Days of the year before the first of a month, 1 to 13. */
static int64_t days_before_month(int64_t year, unsigned month)
{
	static const uint16_t before[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365};

	return before[month - 1] + (month > 2 && leap(year));
}

static void calendar_from_day(struct calendar *c, int64_t day)
{
	int64_t year = day * 400 / 146097;

	/* 146097 days make 400 years; within them leap days make the estimate wrong by one at most. */
	while (days_before_year(year) > day)
		year--;
	while (days_before_year(year + 1) <= day)
		year++;
	day -= days_before_year(year);
	c->year = (unsigned)year;
	c->month = 1;
	while (days_before_month(year, c->month + 1) <= day)
		c->month++;
	c->day = (unsigned)(day - days_before_month(year, c->month)) + 1;
}

static struct calendar calendar_from_time(int64_t time_s)
{
	const int64_t first = -(int64_t)EPOCH_DAY * DAY_S;
	const int64_t last = (days_before_year(YEARS) - EPOCH_DAY) * DAY_S - 1;
	struct calendar c;
	int64_t since, day, rest;

	time_s = time_s < first ? first : time_s > last ? last : time_s;
	since = time_s - first;
	day = since / DAY_S;
	rest = since % DAY_S;
	calendar_from_day(&c, day);
	c.hour = (unsigned)(rest / 3600);
	c.minute = (unsigned)(rest / 60 % 60);
	c.second = (unsigned)(rest % 60);
	/* A multiple of 7 keeps the difference positive. */
	c.weekday = (unsigned)((day - EPOCH_DAY + UNIX_EPOCH_DOW + 7 * INT64_C(200000)) % 7) + 1;
	return c;
}

static int64_t calendar_to_time(const struct calendar *c)
{
	unsigned month = c->month < 1 ? 1 : c->month > 12 ? 12 : c->month;
	int64_t day = days_before_year(c->year) + days_before_month(c->year, month) + c->day - 1;

	return (day - EPOCH_DAY) * DAY_S + c->hour * INT64_C(3600) + c->minute * INT64_C(60) + c->second;
}

static uint8_t encode(const struct cmos *c, unsigned value)
{
	return (uint8_t)(c->ram[CMOS_B] & CMOS_B_BINARY ? value : value / 10 << 4 | value % 10);
}

static unsigned decode(const struct cmos *c, uint8_t byte)
{
	return c->ram[CMOS_B] & CMOS_B_BINARY ? byte : (byte >> 4) * 10u + (byte & 0xf);
}

static uint8_t encode_hour(const struct cmos *c, unsigned hour)
{
	if (c->ram[CMOS_B] & CMOS_B_24H)
		return encode(c, hour);
	return encode(c, hour % 12 ? hour % 12 : 12) | (hour >= 12 ? CMOS_HOURS_PM : 0);
}

static unsigned decode_hour(const struct cmos *c, uint8_t byte)
{
	if (c->ram[CMOS_B] & CMOS_B_24H)
		return decode(c, byte);
	return decode(c, byte & ~CMOS_HOURS_PM) % 12 + (byte & CMOS_HOURS_PM ? 12 : 0);
}

static int64_t guest_time(const struct cmos *c)
{
	int64_t time_s;

	if (c->clock.now_ns(c->clock.self) < c->stable_until_ns)
		return c->stable_s;
	if (__builtin_add_overflow(c->clock.wall_s(c->clock.self), c->offset_s, &time_s))
		return c->offset_s < 0 ? INT64_MIN : INT64_MAX;
	return time_s;
}

/* The clock's time into the registers. */
static void show(struct cmos *c)
{
	struct calendar now = calendar_from_time(guest_time(c));

	c->ram[CMOS_SECONDS] = encode(c, now.second);
	c->ram[CMOS_MINUTES] = encode(c, now.minute);
	c->ram[CMOS_HOURS] = encode_hour(c, now.hour);
	c->ram[CMOS_WEEKDAY] = encode(c, now.weekday);
	c->ram[CMOS_DAY] = encode(c, now.day);
	c->ram[CMOS_MONTH] = encode(c, now.month);
	c->ram[CMOS_YEAR] = encode(c, now.year % 100);
	c->ram[CMOS_CENTURY] = encode(c, now.year / 100);
}

/* The registers' time into the clock. */
static void take(struct cmos *c)
{
	struct calendar set = {
		.second = decode(c, c->ram[CMOS_SECONDS]),
		.minute = decode(c, c->ram[CMOS_MINUTES]),
		.hour = decode_hour(c, c->ram[CMOS_HOURS]),
		.day = decode(c, c->ram[CMOS_DAY]),
		.month = decode(c, c->ram[CMOS_MONTH]),
		.year = decode(c, c->ram[CMOS_CENTURY]) * 100 + decode(c, c->ram[CMOS_YEAR]),
	};

	/* Out of range only with a wall clock of absurd values: then the guest's wish is lost. */
	if (__builtin_sub_overflow(calendar_to_time(&set), c->clock.wall_s(c->clock.self), &c->offset_s))
		c->offset_s = 0;
	c->stable_until_ns = 0;
}

static bool is_time(uint8_t index)
{
	switch (index) {
	case CMOS_SECONDS:
	case CMOS_MINUTES:
	case CMOS_HOURS:
	case CMOS_WEEKDAY:
	case CMOS_DAY:
	case CMOS_MONTH:
	case CMOS_YEAR:
	case CMOS_CENTURY:
		return true;
	default:
		return false;
	}
}

static bool stopped(const struct cmos *c)
{
	return c->ram[CMOS_B] & CMOS_B_SET;
}

static void hold_stable(struct cmos *c)
{
	int64_t time_s = guest_time(c);

	c->stable_s = time_s;
	c->stable_until_ns = c->clock.now_ns(c->clock.self) + STABLE_NS;
}

static uint8_t read_byte(struct cmos *c)
{
	if (is_time(c->index) && !stopped(c))
		show(c);
	if (c->index == CMOS_A)
		hold_stable(c);
	return c->ram[c->index];
}

static void write_time(struct cmos *c, uint8_t value)
{
	if (stopped(c)) {
		c->ram[c->index] = value;
		return;
	}
	show(c);
	c->ram[c->index] = value;
	take(c);
}

static void write_b(struct cmos *c, uint8_t value)
{
	bool was_stopped = stopped(c);

	c->ram[CMOS_B] = value;
	if (!was_stopped && stopped(c))
		show(c);
	else if (was_stopped && !stopped(c))
		take(c);
}

static void write_byte(struct cmos *c, uint8_t value)
{
	if (is_time(c->index))
		write_time(c, value);
	else if (c->index == CMOS_A)
		c->ram[CMOS_A] = value & ~CMOS_A_UPDATING;
	else if (c->index == CMOS_B)
		write_b(c, value);
	else if (c->index != CMOS_C && c->index != CMOS_D)
		c->ram[c->index] = value;
}

static uint64_t cmos_read(void *self, uint64_t offset, unsigned width)
{
	/* The index register is write only: a PC reads all ones. */
	return width == 1 && offset == CMOS_DATA ? read_byte(self) : UINT64_MAX;
}

static void cmos_write(void *self, uint64_t offset, unsigned width, uint64_t value)
{
	struct cmos *c = self;

	if (width != 1)
		return;
	if (offset == CMOS_INDEX)
		c->index = value % CMOS_BYTES;
	else
		write_byte(c, (uint8_t)value);
}

static void put(struct cmos *c, unsigned index, uint64_t value, unsigned bytes)
{
	uint64_t limit = (UINT64_C(1) << 8 * bytes) - 1;

	if (value > limit)
		value = limit;
	for (unsigned i = 0; i < bytes; i++)
		c->ram[index + i] = (uint8_t)(value >> 8 * i);
}

static void put_memory_sizes(struct cmos *c, uint64_t below_4g, uint64_t above_4g)
{
	uint64_t base_kib = below_4g >> 10, low = UINT64_C(1) << 20, high = UINT64_C(16) << 20;

	put(c, CMOS_BASE_KIB, base_kib < 640 ? base_kib : 640, 2);
	put(c, CMOS_EXTENDED_KIB, below_4g > low ? (below_4g - low) >> 10 : 0, 2);
	put(c, CMOS_EXTENDED_KIB2, below_4g > low ? (below_4g - low) >> 10 : 0, 2);
	put(c, CMOS_ABOVE_16M, below_4g > high ? (below_4g - high) >> 16 : 0, 2);
	put(c, CMOS_ABOVE_4G, above_4g >> 16, 3);
}

void cmos_init(struct cmos *cmos, struct clock clock, uint64_t below_4g, uint64_t above_4g, struct device *device)
{
	memset(cmos, 0, sizeof(*cmos));
	cmos->clock = clock;
	cmos->ram[CMOS_A] = CMOS_A_RESET;
	cmos->ram[CMOS_B] = CMOS_B_24H;
	cmos->ram[CMOS_D] = CMOS_D_VALID;
	put_memory_sizes(cmos, below_4g, above_4g);
	*device = (struct device){.name = "CMOS", .self = cmos, .read = cmos_read, .write = cmos_write};
}
