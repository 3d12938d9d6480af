/* devices/pit.h: i8254 interval timer and the bits of system control port B that belong to it.
 * Theory, with what each mode does: top of pit.c.
 * Source: Intel 8254 data sheet (231164-005). */
#ifndef SLAT_DEVICES_PIT_H
#define SLAT_DEVICES_PIT_H

#include "devices/device.h"
#include "devices/irq.h"
#include "devices/pit_regs.h"
#include "devices/timer.h"

enum pit_access { PIT_ACCESS_LOW = 1, PIT_ACCESS_HIGH = 2, PIT_ACCESS_WORD = 3 };

struct pit_channel {
	uint8_t mode;	/* 0 to 5 */
	uint8_t access; /* enum pit_access */
	bool bcd;
	bool gate;
	bool loaded;	     /* a count was written since the control word */
	bool started;	     /* the counter counts, or would if the gate were high */
	bool null;	     /* the count written last is not yet in the counter */
	bool write_high;     /* PIT_ACCESS_WORD: the high byte is next */
	bool read_high;	     /* the same for an unlatched read */
	bool status_latched; /* `status` is read next */
	uint8_t low;	     /* the low byte, while write_high */
	uint8_t status;
	uint8_t latch_bytes;  /* of `latch` still to be read; 0: nothing is latched */
	uint16_t latch;	      /* as the guest reads it */
	uint32_t written;     /* the count written last: 1 to 65536 (10000 in BCD) */
	uint32_t from;	      /* the count that the counter started from */
	uint64_t start_ticks; /* when it did */
	uint64_t held_ticks;  /* counted until the gate fell; used while it is low */
};

struct pit {
	struct clock clock;
	struct irq irq; /* channel 0's output */
	struct alarm alarm;
	uint64_t origin_ns;  /* tick 0 */
	uint64_t edge_ticks; /* the next rising edge of channel 0; UINT64_MAX: none */
	uint8_t port_b;	     /* the low four bits, as written */
	struct pit_channel channel[3];
};

/* Fills two windows: the counters, PIT_WINDOW bytes, and port B, PORT_B_WINDOW bytes. */
void pit_init(struct pit *pit, struct clock clock, struct irq irq, struct alarm alarm, struct device *counters,
	      struct device *port_b);

/* The alarm is due. Late is fine: what was missed is one edge, not many. */
void pit_expired(struct pit *pit);

#endif
