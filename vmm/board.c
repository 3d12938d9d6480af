/* vmm/board.c
 *
 * The interrupt controllers are split: local APICs in the kernel, the I/O APIC
 * here. Measured on a nested host, whole process: the in-kernel I/O APIC and
 * PIC cost 14 ms at the end of a VM (KVM waits a grace period for each of
 * their ports), this one none; the in-kernel PIT costs 9 ms more. There is no
 * 8259: the MADT says so and Linux runs without.
 *
 * B1  an edge of a model here is sent as an MSI at once. A level pin also needs its
 *     vector in KVM's routing table, else KVM would not report the end of interrupt;
 *     the table is written only when a pin that it serves changes, as that is slow.
 * B2  a virtio device's pin is served by the table, too: its thread writes to an
 *     eventfd and KVM sends the message (irqfd). No such interrupt is lost: one that
 *     comes while the pin is masked is latched here, under the lock that masks it, and
 *     sent when the pin is open again and the table has its message. (The I/O APIC
 *     would lose it; drivers take one too many for nothing, but wait for ever for one
 *     too few.) Several that are latched are one.
 * B3  a masked pin keeps its row. Nobody writes to its eventfd then (B2); but KVM may
 *     still be at one that was written before, where it could not send at once and
 *     left it to a thread of its own: without a row that one would be lost. So masking
 *     costs no table, nor does unmasking with the same message. */
#include "vmm/board.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "mm/port.h"
#include "vmm/kvm.h"

static uint64_t now_ns(void *self)
{
	(void)self;
	return loop_now();
}

static int64_t wall_s(void *self)
{
	(void)self;
	return (int64_t)time(NULL);
}

static void send_msi(void *self, struct msi message)
{
	struct board *b = self;

	/* Refused for a destination that does not exist: on a bus nobody would have taken it either. */
	(void)kvm_vm_signal_msi(b->config.vm, message.address, message.data);
}

static void write_routes(struct board *b)
{
	struct {
		struct kvm_irq_routing head;
		struct kvm_irq_routing_entry entries[IRQ_LINES];
	} table = {0};
	struct failure why = {0};
	int error;

	for (unsigned i = 0; i < IRQ_LINES; i++) {
		const struct board_route *r = &b->route[i];

		if (!r->valid)
			continue;
		table.entries[table.head.nr++] = (struct kvm_irq_routing_entry){
			.gsi = i,
			.type = KVM_IRQ_ROUTING_MSI,
			.u.msi.address_lo = (uint32_t)r->message.address,
			.u.msi.address_hi = (uint32_t)(r->message.address >> 32),
			.u.msi.data = r->message.data,
		};
	}
	error = kvm_vm_set_routing(b->config.vm, &table.head);
	if (!error)
		return;
	fail(&why, EXIT_INTERNAL, "KVM refused a table of %u interrupt routes: %s", table.head.nr, strerror(-error));
	b->config.fault.stop(b->config.fault.self, &why);
}

static void send_pulse(struct board_pulse *p)
{
	const uint64_t one = 1;

	p->latched = false;
	/* Full: so many are on their way that this one is among them. */
	if (write(p->fd, &one, sizeof(one)) < 0)
		return;
}

static bool same(struct msi a, struct msi b)
{
	return a.address == b.address && a.data == b.data;
}

static void set_route(void *self, unsigned line, bool valid, bool level, struct msi message)
{
	struct board *b = self;
	struct board_route *r = &b->route[line];
	struct board_pulse *p = &b->pulse[line];
	const bool was_served = r->valid && r->level;
	const bool changed = !r->valid || !same(r->message, message);

	p->open = valid;
	if (!valid) /* what it sent before may still be ended */
		return;
	*r = (struct board_route){valid, level, message};
	if (was_served || level || (p->used && changed))
		write_routes(b);
	if (p->latched)
		send_pulse(p);
}

void board_pulse(struct board *b, unsigned pin)
{
	struct board_pulse *p = &b->pulse[pin];

	pthread_mutex_lock(&b->lock[BOARD_IOAPIC]);
	if (p->open)
		send_pulse(p);
	else
		p->latched = true;
	pthread_mutex_unlock(&b->lock[BOARD_IOAPIC]);
}

static void set_line(void *self, unsigned line, bool level)
{
	struct board *b = self;

	pthread_mutex_lock(&b->lock[BOARD_IOAPIC]);
	ioapic_set(&b->ioapic, line, level);
	pthread_mutex_unlock(&b->lock[BOARD_IOAPIC]);
}

static void set_alarm(void *self, uint64_t deadline_ns)
{
	struct board *b = self;

	loop_timer_set(b->config.loop, LOOP_PIT, deadline_ns);
}

static void serial_ready(void *self)
{
	struct board *b = self;

	loop_wake(b->config.loop);
}

static struct irq line(struct board *b, unsigned number)
{
	return (struct irq){b, number, set_line};
}

static void add_io(struct board *b, uint64_t port, uint64_t bytes, struct device device, enum board_lock lock)
{
	bus_add(&b->io, port, bytes, device, &b->lock[lock]);
}

static void add_fw_cfg(struct board *b)
{
	const struct board_config *c = &b->config;
	const char *cmdline = c->cmdline ? c->cmdline : "";
	struct device device;
	bool all;

	fw_cfg_init(&b->fw_cfg, &device);
	all = fw_cfg_add_number(&b->fw_cfg, FW_CFG_RAM_SIZE, c->below_4g + c->above_4g, 8) &&
	      fw_cfg_add_number(&b->fw_cfg, FW_CFG_CPUS, c->cpus, 2) &&
	      fw_cfg_add_number(&b->fw_cfg, FW_CFG_MAX_CPUS, c->cpus, 2) &&
	      fw_cfg_add_number(&b->fw_cfg, FW_CFG_CMDLINE_SIZE, strlen(cmdline) + 1, 4) &&
	      fw_cfg_add(&b->fw_cfg, FW_CFG_CMDLINE_DATA, cmdline, (uint32_t)strlen(cmdline) + 1) &&
	      fw_cfg_add_number(&b->fw_cfg, FW_CFG_INITRD_SIZE, c->initrd.length, 4) &&
	      fw_cfg_add(&b->fw_cfg, FW_CFG_INITRD_DATA, c->initrd.data, (uint32_t)c->initrd.length);
	MM_ASSERT(all, c->cpus, c->initrd.length);
	add_io(b, PORT_FW_CFG, FW_CFG_WINDOW, device, BOARD_FW_CFG);
}

static void add_clocks(struct board *b)
{
	const struct clock clock = {b, now_ns, wall_s};
	const struct alarm alarm = {b, set_alarm};
	struct device device, second;

	pit_init(&b->pit, clock, line(b, IRQ_PIT), alarm, &device, &second);
	add_io(b, PORT_PIT, PIT_WINDOW, device, BOARD_PIT);
	add_io(b, PORT_SYSTEM_B, PORT_B_WINDOW, second, BOARD_PIT);
	cmos_init(&b->cmos, clock, b->config.below_4g, b->config.above_4g, &device);
	add_io(b, PORT_CMOS, CMOS_WINDOW, device, BOARD_CMOS);
	acpi_pm_init(&b->pm, clock, line(b, IRQ_ACPI), b->config.ending, &device);
	add_io(b, PORT_ACPI_PM, ACPI_PM_WINDOW, device, BOARD_PM);
}

static void add_endings(struct board *b)
{
	struct device device, second;

	i8042_init(&b->i8042, b->config.ending, &device, &second);
	add_io(b, PORT_I8042_DATA, 1, device, BOARD_I8042);
	add_io(b, PORT_I8042_COMMAND, 1, second, BOARD_I8042);
	debug_exit_init(&b->debug_exit, b->config.ending, &device);
	add_io(b, PORT_DEBUG_EXIT, DEBUG_EXIT_WINDOW, device, BOARD_PORTS);
	pvpanic_init(&b->pvpanic, b->config.ending, &device);
	add_io(b, PORT_PVPANIC, PVPANIC_WINDOW, device, BOARD_PORTS);
	reset_port_init(&b->reset, b->config.ending, &device);
	add_io(b, PORT_RESET, RESET_PORT_WINDOW, device, BOARD_PORTS);
}

void board_init(struct board *b, const struct board_config *config)
{
	const struct msi_sink msi = {b, send_msi, set_route};
	const struct serial_feeder feeder = {b, serial_ready};
	struct device device;

	memset(b, 0, sizeof(*b));
	b->config = *config;
	for (unsigned i = 0; i < BOARD_LOCKS; i++)
		pthread_mutex_init(&b->lock[i], NULL);
	ioapic_init(&b->ioapic, msi, &device);
	bus_add(&b->mmio, LAYOUT_IOAPIC, IOAPIC_WINDOW, device, &b->lock[BOARD_IOAPIC]);
	serial_init(&b->serial, line(b, IRQ_SERIAL), console_sink(config->console), feeder, &device);
	add_io(b, PORT_SERIAL, SERIAL_WINDOW, device, BOARD_SERIAL);
	debugcon_init(&b->debugcon, console_sink(config->console), &device);
	add_io(b, PORT_DEBUGCON, DEBUGCON_WINDOW, device, BOARD_PORTS);
	add_clocks(b);
	add_endings(b);
	add_fw_cfg(b);
}

void board_add(struct board *b, uint64_t gpa, uint64_t bytes, struct device device, pthread_mutex_t *lock, unsigned pin,
	       int eventfd)
{
	MM_ASSERT(pin < IRQ_LINES && !b->pulse[pin].used, pin, gpa);
	bus_add(&b->mmio, gpa, bytes, device, lock);
	b->pulse[pin] = (struct board_pulse){.used = true, .fd = eventfd};
}

void board_fini(struct board *b)
{
	for (unsigned i = 0; i < BOARD_LOCKS; i++)
		pthread_mutex_destroy(&b->lock[i]);
}

void board_eoi(struct board *b, uint8_t vector)
{
	pthread_mutex_lock(&b->lock[BOARD_IOAPIC]);
	ioapic_eoi(&b->ioapic, vector);
	pthread_mutex_unlock(&b->lock[BOARD_IOAPIC]);
}

void board_alarm(struct board *b)
{
	pthread_mutex_lock(&b->lock[BOARD_PIT]);
	pit_expired(&b->pit);
	pthread_mutex_unlock(&b->lock[BOARD_PIT]);
}

bool board_serial_feed(struct board *b, const uint8_t *data, size_t bytes, size_t *took, size_t *room)
{
	*took = *room = 0;
	if (pthread_mutex_trylock(&b->lock[BOARD_SERIAL]) != 0)
		return false;
	*took = serial_input(&b->serial, data, bytes);
	*room = serial_room(&b->serial);
	pthread_mutex_unlock(&b->lock[BOARD_SERIAL]);
	return true;
}

bool board_power_button(struct board *b)
{
	bool heard;

	pthread_mutex_lock(&b->lock[BOARD_PM]);
	heard = acpi_pm_power_button(&b->pm);
	pthread_mutex_unlock(&b->lock[BOARD_PM]);
	return heard;
}
