/* tests/fuzz/fuzz_devices.c: a guest that does anything to every device model.
 *
 * The input is a list of steps: an access of any width at any offset that the
 * bus lets through, bytes from outside, wires, a jump in time. Looked for: a
 * crash, undefined behaviour, an answer to an access that grows (more than one
 * byte sent, more ends of the run than bytes written), a line that disagrees
 * with its registers, an alarm that is set in the past for good. */
#include <string.h>

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
#include "tests/fuzz/must.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum window {
	SERIAL,
	I8042_DATA,
	I8042_COMMAND,
	CMOS,
	ACPI_PM,
	RESET_PORT,
	PIT,
	PORT_B,
	DEBUG_EXIT,
	DEBUGCON,
	PVPANIC,
	FW_CFG,
	IOAPIC,
	WINDOWS,
};

static const uint64_t window_bytes[WINDOWS] = {
	[SERIAL] = SERIAL_WINDOW,     [I8042_DATA] = 1,		  [I8042_COMMAND] = 1,
	[CMOS] = CMOS_WINDOW,	      [ACPI_PM] = ACPI_PM_WINDOW, [RESET_PORT] = RESET_PORT_WINDOW,
	[PIT] = PIT_WINDOW,	      [PORT_B] = PORT_B_WINDOW,	  [DEBUG_EXIT] = DEBUG_EXIT_WINDOW,
	[DEBUGCON] = DEBUGCON_WINDOW, [PVPANIC] = PVPANIC_WINDOW, [FW_CFG] = FW_CFG_WINDOW,
	[IOAPIC] = IOAPIC_WINDOW,
};

struct machine {
	struct device device[WINDOWS];
	struct serial serial;
	struct i8042 i8042;
	struct cmos cmos;
	struct acpi_pm acpi_pm;
	struct reset_port reset_port;
	struct pit pit;
	struct debug_exit debug_exit;
	struct debugcon debugcon;
	struct pvpanic pvpanic;
	struct fw_cfg fw_cfg;
	struct ioapic ioapic;
	/* the outside */
	uint64_t now_ns, deadline_ns;
	int64_t wall_s;
	bool serial_line, sci;
	size_t sent, ended, messages, readies;
};

struct input {
	const uint8_t *data;
	size_t bytes;
};

static uint64_t take(struct input *in, unsigned bytes)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < bytes && in->bytes; i++, in->bytes--)
		value |= (uint64_t)*in->data++ << 8 * i;
	return value;
}

static void count_sent(void *self, const uint8_t *bytes, size_t count)
{
	(void)bytes;
	((struct machine *)self)->sent += count;
}

static void count_end(void *self, enum ending_kind kind, uint32_t value)
{
	(void)kind;
	(void)value;
	((struct machine *)self)->ended++;
}

static void count_message(void *self, struct msi message)
{
	MUST((message.address & ~UINT64_C(0xff004)) == 0xfee00000);
	((struct machine *)self)->messages++;
}

static void check_route(void *self, unsigned line, bool valid, bool level, struct msi message)
{
	(void)self;
	(void)valid;
	MUST(line < IOAPIC_PINS);
	MUST(!level || message.data & 0x8000);
}

static void keep_level(void *self, unsigned line, bool level)
{
	(void)line;
	*(bool *)self = level;
}

/* What a feeder would do: it fills the FIFO again, from within the guest's access. */
static void refill(void *self)
{
	struct machine *m = self;

	m->readies++;
	serial_input(&m->serial, (const uint8_t *)"0123456789abcdef0", m->readies % 18);
}

static uint64_t now(void *self)
{
	return ((struct machine *)self)->now_ns;
}

static int64_t wall(void *self)
{
	return ((struct machine *)self)->wall_s;
}

static void set_alarm(void *self, uint64_t deadline_ns)
{
	((struct machine *)self)->deadline_ns = deadline_ns;
}

static void build(struct machine *m)
{
	struct clock clock = {.self = m, .now_ns = now, .wall_s = wall};
	struct ending ending = {.self = m, .end = count_end};
	struct sink sink = {.self = m, .write = count_sent};
	struct irq serial_irq = {.self = &m->serial_line, .set = keep_level};
	struct irq sci = {.self = &m->sci, .set = keep_level};
	struct irq pit_irq = {.self = &m->ioapic, .line = 2, .set = ioapic_set};
	struct alarm alarm = {.self = m, .set = set_alarm};
	struct msi_sink messages = {.self = m, .send = count_message, .route = check_route};

	memset(m, 0, sizeof(*m));
	m->deadline_ns = UINT64_MAX;
	ioapic_init(&m->ioapic, messages, &m->device[IOAPIC]);
	serial_init(&m->serial, serial_irq, sink, (struct serial_feeder){.self = m, .ready = refill},
		    &m->device[SERIAL]);
	i8042_init(&m->i8042, ending, &m->device[I8042_DATA], &m->device[I8042_COMMAND]);
	cmos_init(&m->cmos, clock, UINT64_C(3) << 30, UINT64_C(2) << 30, &m->device[CMOS]);
	acpi_pm_init(&m->acpi_pm, clock, sci, ending, &m->device[ACPI_PM]);
	reset_port_init(&m->reset_port, ending, &m->device[RESET_PORT]);
	pit_init(&m->pit, clock, pit_irq, alarm, &m->device[PIT], &m->device[PORT_B]);
	debug_exit_init(&m->debug_exit, ending, &m->device[DEBUG_EXIT]);
	debugcon_init(&m->debugcon, sink, &m->device[DEBUGCON]);
	pvpanic_init(&m->pvpanic, ending, &m->device[PVPANIC]);
	fw_cfg_init(&m->fw_cfg, &m->device[FW_CFG]);
	MUST(fw_cfg_add_number(&m->fw_cfg, FW_CFG_RAM_SIZE, 1 << 20, 8));
	MUST(fw_cfg_add_file(&m->fw_cfg, "etc/file", "abc", 3));
	/* A model that forgot one would crash only where the guest looks. */
	for (unsigned i = 0; i < WINDOWS; i++)
		MUST(m->device[i].name && m->device[i].read && m->device[i].write);
}

static void access(struct machine *m, struct input *in, unsigned step)
{
	unsigned index = take(in, 1) % WINDOWS, width = 1u << (step >> 3 & 3);
	const struct device *device = &m->device[index];
	uint64_t offset = take(in, 1);

	if (width > window_bytes[index])
		width = 1;
	/* The I/O APIC's registers lie in the first 0x20 bytes; its end is worth a visit too. */
	offset = index == IOAPIC && offset >= 0x80 ? IOAPIC_WINDOW - 0x100 + offset : offset;
	offset %= window_bytes[index] - width + 1;
	m->sent = m->ended = m->messages = 0;
	if (step & 4)
		device->write(device->self, offset, width, take(in, width));
	else
		device->read(device->self, offset, width);
	MUST(m->sent <= 1);
	MUST(m->ended <= width);
	MUST(m->messages <= IOAPIC_PINS);
	MUST(step & 4 || !m->ended);
}

static void jump(struct machine *m, struct input *in, unsigned step)
{
	uint64_t ns = take(in, 1 + (step >> 3 & 7));

	m->now_ns = ns > UINT64_MAX - m->now_ns ? UINT64_MAX : m->now_ns + ns;
	if (step & 4)
		m->wall_s = (int64_t)take(in, 8);
	if (m->now_ns >= m->deadline_ns && m->now_ns != UINT64_MAX) {
		pit_expired(&m->pit);
		MUST(m->deadline_ns > m->now_ns);
	}
}

static void outside(struct machine *m, struct input *in, unsigned step)
{
	uint8_t bytes[32];
	size_t count = take(in, 1) % sizeof(bytes), room = serial_room(&m->serial), taken;

	memset(bytes, 'x', sizeof(bytes));
	if (step & 4) {
		ioapic_set(&m->ioapic, (unsigned)count, step & 8);
		ioapic_eoi(&m->ioapic, (uint8_t)take(in, 1));
	} else if (step & 8) {
		acpi_pm_power_button(&m->acpi_pm);
	} else if (step & 16) {
		pit_expired(&m->pit); /* an alarm that was too late to be stopped */
	} else {
		taken = serial_input(&m->serial, bytes, count);
		MUST(taken == (count < room ? count : room));
	}
}

static void check(const struct machine *m)
{
	const struct serial *s = &m->serial;
	bool pending = (s->ier & SERIAL_IER_LINE && s->overrun) || (s->ier & SERIAL_IER_RECEIVED && s->count) ||
		       (s->ier & SERIAL_IER_TRANSMITTED && s->transmitted) ||
		       (s->ier & SERIAL_IER_MODEM && s->msr_delta);

	MUST(s->count <= SERIAL_FIFO_BYTES && s->head < SERIAL_FIFO_BYTES);
	MUST(m->serial_line == (pending && (s->mcr & (SERIAL_MCR_LOOP | SERIAL_MCR_OUT2)) == SERIAL_MCR_OUT2));
	MUST(serial_room(s) != 0 || s->full);
	MUST(m->sci == ((m->acpi_pm.status & m->acpi_pm.enable) != 0));
	MUST(m->cmos.index < CMOS_BYTES);
	for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
		uint64_t entry = m->ioapic.entry[pin];

		MUST(!(entry & IOAPIC_REMOTE_IRR) || entry & IOAPIC_LEVEL);
		MUST(!(entry & IOAPIC_PENDING));
	}
	for (unsigned i = 0; i < 3; i++) {
		const struct pit_channel *c = &m->pit.channel[i];

		MUST(c->mode <= 5 && c->access >= PIT_ACCESS_LOW && c->access <= PIT_ACCESS_WORD);
		MUST(!c->started || (c->from >= 1 && c->from <= 65536));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct machine m;
	struct input in = {.data = data, .bytes = size};

	build(&m);
	while (in.bytes) {
		unsigned step = (unsigned)take(&in, 1);

		if ((step & 3) == 0)
			jump(&m, &in, step);
		else if ((step & 3) == 1)
			outside(&m, &in, step);
		else
			access(&m, &in, step);
		check(&m);
	}
	return 0;
}
