/* devices/reset_port.h: the reset control register at 0xcf9. A write with bit 2
 * set ends the run, whatever bit 1 says: both kinds are a reboot to slat. */
#ifndef SLAT_DEVICES_RESET_PORT_H
#define SLAT_DEVICES_RESET_PORT_H

#include "devices/device.h"
#include "devices/ending.h"
#include "devices/reset_port_regs.h"

struct reset_port {
	struct ending ending;
	uint8_t value; /* RESET_PORT_HARD, as written */
};

/* Fills *device, a window of RESET_PORT_WINDOW bytes. */
void reset_port_init(struct reset_port *port, struct ending ending, struct device *device);

#endif
