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

struct axis {
	uint64_t step, ticks; /* at 0, step, ... ticks * step, which is `most` or more */
	uint64_t scale;	      /* one of the unit */
	const char *unit;     /* "%", "GiB", "hours"; "" of counts */
	unsigned decimals;
};

/* With about `want` ticks, 1 or more. */
struct axis axis_make(enum quantity q, uint64_t most, unsigned want);
struct axis_text axis_tick(const struct axis *a, uint64_t tick); /* without the unit */

#endif
