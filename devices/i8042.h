/* devices/i8042.h: a PC keyboard controller with nothing plugged in. Theory: top of i8042.c.
 * It is there for its reset line, and answers every question at once so that a
 * guest's probe ends quickly. It has no interrupt: there is never a key. */
#ifndef SLAT_DEVICES_I8042_H
#define SLAT_DEVICES_I8042_H

#include "devices/device.h"
#include "devices/ending.h"
#include "devices/i8042_regs.h"

struct i8042 {
	struct ending ending;
	uint8_t config;	      /* the command byte of 0x20 and 0x60 */
	uint8_t output_port;  /* as last written, reset line high */
	uint8_t answer;	      /* what the data port reads, again and again until the next answer */
	uint8_t status;	      /* OUTPUT, COMMAND and TIMEOUT; the rest is derived */
	uint8_t parameter_of; /* the command that the next data byte belongs to; 0: none, it is for the keyboard */
};

/* Fills two windows of one byte each: the data port (0x60) and the command port (0x64). */
void i8042_init(struct i8042 *i8042, struct ending ending, struct device *data_port, struct device *command_port);

#endif
