/* devices/debugcon.h: the debug console: what is written goes to the sink; it reads 0xe9, so a guest can tell that it
 * is there. */
#ifndef SLAT_DEVICES_DEBUGCON_H
#define SLAT_DEVICES_DEBUGCON_H

#include "devices/debugcon_regs.h"
#include "devices/device.h"
#include "devices/sink.h"

struct debugcon {
	struct sink out;
};

/* Fills *device, a window of DEBUGCON_WINDOW bytes. */
void debugcon_init(struct debugcon *debugcon, struct sink out, struct device *device);

#endif
