/* devices/pvpanic.h: a guest tells that it has panicked. It reads the events that
 * it understands; a write with PVPANIC_PANICKED ends the run, with PVPANIC_CRASH_LOADED
 * alone it goes on, since the guest's crash kernel is about to take over. */
#ifndef SLAT_DEVICES_PVPANIC_H
#define SLAT_DEVICES_PVPANIC_H

#include "devices/device.h"
#include "devices/ending.h"
#include "devices/pvpanic_regs.h"

struct pvpanic {
	struct ending ending;
};

/* Fills *device, a window of PVPANIC_WINDOW bytes. */
void pvpanic_init(struct pvpanic *pvpanic, struct ending ending, struct device *device);

#endif
