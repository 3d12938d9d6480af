/* vmm/board.h: the devices of a guest and the wires between them.
 * Each model has a lock of its own, which the bus takes; an interrupt goes from
 * a model (its lock held) into the I/O APIC (its lock), never the other way.
 * Threads: register access from any vCPU; input, alarm and button from the main thread. */
#ifndef SLAT_VMM_BOARD_H
#define SLAT_VMM_BOARD_H

#include "devices/acpi_pm.h"
#include "devices/cmos.h"
#include "devices/debug_exit.h"
#include "devices/debugcon.h"
#include "devices/fw_cfg.h"
#include "devices/i8042.h"
#include "devices/ioapic.h"
#include "devices/pit.h"
#include "devices/pvpanic.h"
#include "devices/reset_port.h"
#include "devices/serial.h"
#include "vmm/boot/boot.h"
#include "vmm/bus.h"
#include "vmm/console.h"
#include "vmm/failure.h"
#include "vmm/layout.h"

enum board_lock {
	BOARD_IOAPIC,
	BOARD_SERIAL,
	BOARD_I8042,
	BOARD_CMOS,
	BOARD_PM,
	BOARD_PIT,
	BOARD_FW_CFG,
	BOARD_PORTS, /* those that only pass on what is written */
	BOARD_LOCKS
};

struct board_fault { /* the host refused what the guest needs: it cannot go on */
	void *self;
	void (*stop)(void *self, const struct failure *why);
};

struct board_config {
	int vm; /* where interrupts go; borrowed */
	struct loop *loop;
	struct console *console;
	struct ending ending;
	struct board_fault fault;
	uint64_t below_4g, above_4g; /* the guest's RAM, in bytes */
	unsigned cpus;
	const char *cmdline;
	struct bytes initrd; /* below 4 GiB long */
};

struct board {
	struct board_config config;
	struct bus io, mmio;
	pthread_mutex_t lock[BOARD_LOCKS];
	struct ioapic ioapic;
	struct serial serial;
	struct i8042 i8042;
	struct cmos cmos;
	struct acpi_pm pm;
	struct pit pit;
	struct fw_cfg fw_cfg;
	struct debug_exit debug_exit;
	struct debugcon debugcon;
	struct pvpanic pvpanic;
	struct reset_port reset;
	struct board_route { /* (BOARD_IOAPIC) what each pin sends, or sent when last it was not masked */
		bool valid, level;
		struct msi message;
	} route[IRQ_LINES];
	struct board_pulse { /* (BOARD_IOAPIC) a pin that KVM interrupts by itself: fd is its irqfd's */
		bool used, open, latched;
		int fd;
	} pulse[IRQ_LINES];
};

/* The board must not move afterwards: its devices point into it. */
void board_init(struct board *b, const struct board_config *config);
void board_fini(struct board *b);

/* A device on the MMIO bus that interrupts by pulses of a pin of its own. eventfd: KVM sends the pin's message when it
 * is written to (kvm_vm_irqfd()); borrowed until board_fini(). Before the guest runs. */
void board_add(struct board *b, uint64_t gpa, uint64_t bytes, struct device device, pthread_mutex_t *lock, unsigned pin,
	       int eventfd);
/* One interrupt on such a pin: now, or when the guest unmasks it. Any thread; the device's lock may be held. */
void board_pulse(struct board *b, unsigned pin);

void board_eoi(struct board *b, uint8_t vector);
void board_alarm(struct board *b);
/* Input for the serial line: how many bytes it took, and the room that is left. False, and nothing was taken, iff a
 * vCPU is in the device: it may wait there for the console's reader, so try again later. */
bool board_serial_feed(struct board *b, const uint8_t *data, size_t bytes, size_t *took, size_t *room);
/* False iff the guest has not enabled the button: nobody would answer. */
bool board_power_button(struct board *b);

#endif
