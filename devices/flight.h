/* devices/flight.h: which ranges of an address space DMA is using right now.
 *
 * Whoever is about to use a range says so first and looks at the translation
 * then; whoever takes a translation away takes it first and looks here then. Both
 * orders are sequentially consistent, so one of the two sees the other: either
 * the user finds no translation, or the taker waits for it (Dekker's argument, as
 * in hazard pointers: Michael 2004).
 * Threads: one user at a time; any number of takers.
 * Cost:    begin and end are O(1), one sequentially consistent store each at most; flight_drain()
 *          looks at FLIGHT_SLOTS bits and at the ranges in use. */
#ifndef SLAT_DEVICES_FLIGHT_H
#define SLAT_DEVICES_FLIGHT_H

#include <stdbool.h>
#include <stdint.h>

#define FLIGHT_SLOTS 512u
#define FLIGHT_NONE  FLIGHT_SLOTS

struct flight { /* private */
	uint64_t used[FLIGHT_SLOTS / 64];
	struct flight_slot {
		uint64_t first, last, serial; /* closed range */
		unsigned next;		      /* the user's: a list of his slots, while it is used */
	} slot[FLIGHT_SLOTS];
	uint64_t serial; /* of the next use */
	unsigned free;
	unsigned live;
};

void flight_init(struct flight *f);

/* A slot that says [first, last]; FLIGHT_NONE iff all are in use. */
unsigned flight_begin(struct flight *f, uint64_t first, uint64_t last);
void flight_end(struct flight *f, unsigned slot);

/* Until no slot that overlaps [first, last], and was in use at the call, is. */
void flight_drain(const struct flight *f, uint64_t first, uint64_t last, void (*wait)(void *self), void *self);

/* All invariants of flight.c; for a moment when its user is not in it. */
bool flight_check(const struct flight *f);

#endif
