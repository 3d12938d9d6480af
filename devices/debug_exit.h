/* devices/debug_exit.h: QEMU's isa-debug-exit: a write of 1, 2 or 4 bytes anywhere
 * in the window ends the run with that value; it reads 0. */
#ifndef SLAT_DEVICES_DEBUG_EXIT_H
#define SLAT_DEVICES_DEBUG_EXIT_H

#include "devices/debug_exit_regs.h"
#include "devices/device.h"
#include "devices/ending.h"

struct debug_exit {
	struct ending ending;
};

/* Fills *device, a window of DEBUG_EXIT_WINDOW bytes. */
void debug_exit_init(struct debug_exit *debug_exit, struct ending ending, struct device *device);

#endif
