/* devices/irq.h: one interrupt line, as a device sees it. */
#ifndef SLAT_DEVICES_IRQ_H
#define SLAT_DEVICES_IRQ_H

#include <stdbool.h>
#include <stdint.h>

struct irq {
	void *self;
	unsigned line;
	/* The wire's level. Setting the level it already has changes nothing. */
	void (*set)(void *self, unsigned line, bool level);
};

static inline void irq_set(const struct irq *i, bool level)
{
	if (i->set)
		i->set(i->self, i->line, level);
}

/* A message-signalled interrupt, as an interrupt controller sends it. */
struct msi {
	uint64_t address;
	uint32_t data;
};

struct msi_sink {
	void *self;
	void (*send)(void *self, struct msi message);
	/* Line `line` would send `message` from now on: who routes interrupts by
	 * table keeps it. `level`: an end of interrupt is wanted back. Masked:
	 * valid is false, and the table should keep what it has, since one that
	 * was sent before may still be ended. Called for changes only. */
	void (*route)(void *self, unsigned line, bool valid, bool level, struct msi message);
};

#endif
