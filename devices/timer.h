/* devices/timer.h: time, as a device model sees it. */
#ifndef SLAT_DEVICES_TIMER_H
#define SLAT_DEVICES_TIMER_H

#include <stdint.h>

struct clock {
	void *self;
	uint64_t (*now_ns)(void *self); /* never goes back */
	int64_t (*wall_s)(void *self);	/* seconds since 1970-01-01 UTC */
};

/* One alarm: the owner calls the device's expiry function, with the device's
 * lock held, once at or after deadline_ns of the clock. Arming again replaces
 * the deadline; UINT64_MAX disarms. */
struct alarm {
	void *self;
	void (*set)(void *self, uint64_t deadline_ns);
};

#endif
