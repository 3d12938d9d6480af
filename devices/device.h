/* devices/device.h: what a bus knows of a device model.
 *
 * A model is a struct of plain state with an init function that fills one or
 * more struct device (a register window each). It knows no KVM, no file
 * descriptor, no thread: what leaves it goes through the small interfaces
 * beside this one (irq.h, sink.h, timer.h, ending.h).
 * Threads: every call into one model (register access, input, timer expiry)
 * is made with that model's lock held by the caller; a model never locks. */
#ifndef SLAT_DEVICES_DEVICE_H
#define SLAT_DEVICES_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct device {
	const char *name;
	void *self;
	/* The bus has checked: width is 1, 2, 4 or 8 and [offset, offset + width)
	 * lies inside the window. A width that the register does not take is the
	 * guest's mistake: reads give all ones, writes are dropped. Bits of
	 * the result above width are ignored, those of value are zero. */
	uint64_t (*read)(void *self, uint64_t offset, unsigned width);
	void (*write)(void *self, uint64_t offset, unsigned width, uint64_t value);
};

#endif
