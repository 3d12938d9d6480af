/* vmm/pack/axis.h: numbers as people read them, and axes with round ticks. Integers alone: the same on every machine.
 * Pure; any thread. */
#ifndef SLAT_VMM_PACK_AXIS_H
#define SLAT_VMM_PACK_AXIS_H

#include <stdint.h>

enum quantity {
	QUANTITY_COUNT,
	QUANTITY_MILLI, /* thousandths of a count */
	QUANTITY_PPM,	/* millionths, read as percent */
	QUANTITY_BYTES,
	QUANTITY_US, /* microseconds, read as time */
};

struct axis_text {
	char s[48];
};

/* "1,234", "37.250", "42.07 %", "2.25 TiB", "3.5 h". Rounded down. */
struct axis_text quantity_text(enum quantity q, uint64_t value);

/* The same with few letters: "131 k" of a count, "1.04 M". */
struct axis_text quantity_short(enum quantity q, uint64_t value);

/* A mean of several: of thousandths no more than three digits or so. */
struct axis_text quantity_mean(enum quantity q, uint64_t value);

/* Of two: of ratios, "1.20 percentage points"; number: without the words. */
struct axis_text quantity_difference(enum quantity q, uint64_t value);
struct axis_text quantity_difference_number(enum quantity q, uint64_t value);

struct axis {
	uint64_t first;	      /* tick; 0: the axis begins at 0 */
	uint64_t step, ticks; /* at first * step, ... (first + ticks) * step, which is `most` or more */
	uint64_t scale;	      /* one of the unit */
	const char *unit;     /* "%", "GiB", "hours"; of counts "", "thousands", ... */
	unsigned decimals;
};

/* With about `want` ticks, 1 or more. No text of a tick has more than 8 letters, but of times
 * beyond 250 years and of ratios beyond 1,000. */
struct axis axis_make(enum quantity q, uint64_t most, unsigned want);

/* Of what is between the two: from 0, unless they are so close that they could not be told apart there. */
struct axis axis_between(enum quantity q, uint64_t least, uint64_t most, unsigned want);
struct axis_text axis_tick(const struct axis *a, uint64_t tick); /* from 0, the first; without the unit */

#endif
