/* devices/timer.h: time, as a device model sees it. */
#ifndef SLAT_DEVICES_TIMER_H
#define SLAT_DEVICES_TIMER_H

#include <stdint.h>

struct clock {
	void *self;
	uint64_t (*now_ns)(void *self); /* never goes back */
	int64_t (*wall_s)(void *self);	/* seconds since 1970-01-01 UTC */
};

/* Whole ticks of a hz counter in ns nanoseconds. Never overflows: hz is below 2^32. */
static inline uint64_t timer_ticks(uint64_t ns, uint32_t hz)
{
	return ns / 1000000000u * hz + ns % 1000000000u * hz / 1000000000u;
}

/* The first nanosecond at which timer_ticks() is at least ticks; UINT64_MAX where that is out of range. */
static inline uint64_t timer_ns(uint64_t ticks, uint32_t hz)
{
	uint64_t seconds = ticks / hz;

	if (seconds >= UINT64_MAX / 1000000000u)
		return UINT64_MAX;
	return seconds * 1000000000u + (ticks % hz * 1000000000u + hz - 1) / hz;
}

/* One alarm: the owner calls the device's expiry function, with the device's
 * lock held, once at or after deadline_ns of the clock. Arming again replaces
 * the deadline; UINT64_MAX disarms. */
struct alarm {
	void *self;
	void (*set)(void *self, uint64_t deadline_ns);
};

#endif
