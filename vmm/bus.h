/* vmm/bus.h: which device answers at an address; one table each for ports and MMIO.
 * Threads: windows are added before the first access; access from any thread
 * (it takes the window's lock). O(log windows). */
#ifndef SLAT_VMM_BUS_H
#define SLAT_VMM_BUS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "devices/device.h"

#define BUS_WINDOWS_MAX 64u

struct bus_window { /* [start, start + bytes) */
	uint64_t start, bytes;
	struct device device;
	pthread_mutex_t *lock; /* its model's; borrowed */
};

struct bus {
	unsigned windows;
	struct bus_window window[BUS_WINDOWS_MAX]; /* sorted, disjoint */
};

/* A window that overlaps another, is empty, or finds the table full is slat's own bug: it ends the program. */
void bus_add(struct bus *b, uint64_t start, uint64_t bytes, struct device device, pthread_mutex_t *lock);

/* width: 1 to 8 bytes. An access that no window holds whole, or of a width that
 * is no power of two, reads all ones or is dropped, and returns false: a stray. */
bool bus_read(const struct bus *b, uint64_t address, unsigned width, uint64_t *value);
bool bus_write(const struct bus *b, uint64_t address, unsigned width, uint64_t value);

#endif
