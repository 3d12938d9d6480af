/* devices/ioapic.h: 82093AA I/O APIC with 24 pins, sending MSIs. Theory: top of ioapic.c.
 * The window takes 32-bit accesses; narrower ones reach IOREGSEL's low byte and nothing else.
 * Source: Intel 82093AA data sheet (290566-001). */
#ifndef SLAT_DEVICES_IOAPIC_H
#define SLAT_DEVICES_IOAPIC_H

#include "devices/device.h"
#include "devices/ioapic_regs.h"
#include "devices/irq.h"

struct ioapic {
	struct msi_sink out;
	uint32_t levels; /* one bit a pin: its wire is asserted */
	uint8_t select;
	uint8_t id; /* 4 bits */
	uint64_t entry[IOAPIC_PINS];
};

/* Fills *device, a window of IOAPIC_WINDOW bytes. All pins start masked, and route() is not called for that. */
void ioapic_init(struct ioapic *ioapic, struct msi_sink out, struct device *device);

/* Pin `line`'s wire. Usable as struct irq's set, with the ioapic as self. A line that is not there is ignored. */
void ioapic_set(void *ioapic, unsigned line, bool level);

/* A CPU has ended the interrupt `vector`: clears remote IRR of the level pins that sent it,
 * and those that are still asserted send again. */
void ioapic_eoi(struct ioapic *ioapic, uint8_t vector);

#endif
