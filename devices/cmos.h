/* devices/cmos.h: a PC's CMOS: MC146818 clock and 128 bytes of RAM. Theory: top of cmos.c.
 * Not modelled: alarm, periodic and update interrupts (there is no irq; register C reads 0),
 * daylight saving, and a divider that stops the clock. */
#ifndef SLAT_DEVICES_CMOS_H
#define SLAT_DEVICES_CMOS_H

#include "devices/cmos_regs.h"
#include "devices/device.h"
#include "devices/timer.h"

#define CMOS_BYTES 128

struct cmos {
	struct clock clock;
	uint8_t index; /* below CMOS_BYTES */
	uint8_t ram[CMOS_BYTES];
	int64_t offset_s;	  /* the guest's time minus the clock's; what the guest sets */
	int64_t stable_s;	  /* the time that the guest saw last as stable ... */
	uint64_t stable_until_ns; /* ... and how long it reads so; 0: not at all */
};

/* Fills *device, a window of CMOS_WINDOW bytes. below_4g and above_4g: the guest's RAM on each side, in bytes. */
void cmos_init(struct cmos *cmos, struct clock clock, uint64_t below_4g, uint64_t above_4g, struct device *device);

#endif
