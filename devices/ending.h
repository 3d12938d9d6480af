/* devices/ending.h: a device tells that the guest has ended its run. */
#ifndef SLAT_DEVICES_ENDING_H
#define SLAT_DEVICES_ENDING_H

#include <stdint.h>

enum ending_kind {
	ENDING_POWER_OFF,  /* ACPI S5 */
	ENDING_RESET,	   /* i8042, 0xcf9, or a triple fault */
	ENDING_DEBUG_EXIT, /* value: what was written to port 0xf4 */
	ENDING_PANIC,	   /* pvpanic; value: the event bits */
};

struct ending {
	void *self;
	void (*end)(void *self, enum ending_kind kind, uint32_t value); /* the first one counts */
};

#endif
