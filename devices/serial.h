/* devices/serial.h: a 16550A UART. Theory: top of serial.c.
 * What the guest sends goes to a sink at once, byte by byte; batching is the sink's affair.
 * Source: National Semiconductor PC16550D data sheet (1995). */
#ifndef SLAT_DEVICES_SERIAL_H
#define SLAT_DEVICES_SERIAL_H

#include "devices/device.h"
#include "devices/irq.h"
#include "devices/serial_regs.h"
#include "devices/sink.h"

#define SERIAL_FIFO_BYTES 16

/* Who feeds the receiver. ready() is called, from within a register access of
 * the guest, when bytes fit again after serial_room() had come down to 0: once
 * the guest has taken all there was, so that a feeder wakes once a FIFO and not
 * once a byte. It may call serial_input(). */
struct serial_feeder {
	void *self;
	void (*ready)(void *self);
};

struct serial {
	struct irq irq;
	struct sink out;
	struct serial_feeder feeder;
	uint8_t fifo[SERIAL_FIFO_BYTES]; /* a ring: received, not yet read */
	unsigned head;			 /* index of the oldest byte, below SERIAL_FIFO_BYTES */
	unsigned count;			 /* bytes in it; at most 1 while the FIFO is off */
	uint8_t ier, fcr, lcr, mcr, scratch;
	uint8_t divisor[2];
	uint8_t msr_delta;
	bool overrun;
	bool transmitted; /* THR has run empty, or its interrupt was enabled, since IIR last named it */
	bool level;	  /* of the interrupt line */
	bool full;	  /* the feeder has seen no room and waits */
};

/* Fills *device, a window of SERIAL_WINDOW bytes. Any of irq.set, out.write and feeder.ready may be NULL. */
void serial_init(struct serial *serial, struct irq irq, struct sink out, struct serial_feeder feeder,
		 struct device *device);

/* Bytes that serial_input() would take now: 0 too while the guest has the line looped back. */
size_t serial_room(const struct serial *serial);

/* Takes the first bytes of data that fit into the receive FIFO; returns how many. */
size_t serial_input(struct serial *serial, const uint8_t *data, size_t bytes);

#endif
