/* devices/serial.c: a 16550A UART whose wire is infinitely fast.
 *
 * What it is. The register file of a PC16550D. A byte written to THR has left
 * before the write returns, so the transmitter is always empty; a byte received
 * waits in a FIFO of 16 (of 1 while the guest keeps the FIFO off).
 *
 * Vocabulary. Pending: a source of interrupt whose condition holds and whose IER
 * bit is set. Trigger: the fill of the FIFO from which on data is "received"
 * rather than "timed out".
 *
 * Invariants
 *   I1 count <= capacity, head < SERIAL_FIFO_BYTES.
 *   I2 The interrupt line is high iff a source is pending and MCR has OUT2 and
 *	not LOOP; it is set only when that changes.
 *   I3 serial_room() == 0 implies full: the feeder will be told.
 *
 * Time. There is none here. Input comes in runs, and a run has ended when
 * serial_input() returns: what is below the trigger then counts as timed out at
 * once (a real UART waits for four characters). Bytes below the trigger are
 * therefore never stuck, which is all that the timeout is for.
 *
 * The transmitter's interrupt is an event, not a state: it comes up when a byte
 * has left and when IER's bit goes from 0 to 1 (Linux tests both), and goes when
 * IIR names it. It does not drop and rise for each byte of a burst: the edge that
 * matters is the first one after IIR was read, and each further one would cost
 * the VMM two system calls.
 *
 * OUT2 lets the interrupt out on a PC. It is set at reset, as firmware leaves
 * it, since guests written against other VMMs never set it.
 *
 * Not modelled: baud rate, word length, parity, break; they are stored and read back.
 *
 * Rejected: a timer for the character timeout (a host thread's wake-up for each
 * key, and the guest sees no difference); a transmit FIFO drained at the baud
 * rate (a console slower than the host, for nothing). */
#include <string.h>

#include "devices/serial.h"

#define LINES_CONNECTED (SERIAL_MSR_CTS | SERIAL_MSR_DSR | SERIAL_MSR_DCD)

static bool looped(const struct serial *s)
{
	return s->mcr & SERIAL_MCR_LOOP;
}

static bool latching_divisor(const struct serial *s)
{
	return s->lcr & SERIAL_LCR_DLAB;
}

static unsigned capacity(const struct serial *s)
{
	return s->fcr & SERIAL_FCR_ENABLE ? SERIAL_FIFO_BYTES : 1;
}

static unsigned trigger(const struct serial *s)
{
	static const uint8_t level[] = {1, 4, 8, 14};

	return s->fcr & SERIAL_FCR_ENABLE ? level[s->fcr >> SERIAL_FCR_TRIGGER_SHIFT] : 1;
}

/* The source of highest priority, as IIR names it. */
static uint8_t pending(const struct serial *s)
{
	if (s->ier & SERIAL_IER_LINE && s->overrun)
		return SERIAL_IIR_LINE;
	if (s->ier & SERIAL_IER_RECEIVED && s->count)
		return s->count >= trigger(s) ? SERIAL_IIR_RECEIVED : SERIAL_IIR_TIMEOUT;
	if (s->ier & SERIAL_IER_TRANSMITTED && s->transmitted)
		return SERIAL_IIR_TRANSMITTED;
	if (s->ier & SERIAL_IER_MODEM && s->msr_delta)
		return SERIAL_IIR_MODEM;
	return SERIAL_IIR_NONE;
}

/* Restores I2 and I3 after any change. */
static void settle(struct serial *s)
{
	bool level = pending(s) != SERIAL_IIR_NONE && s->mcr & SERIAL_MCR_OUT2 && !looped(s);

	if (level != s->level) {
		s->level = level;
		irq_set(&s->irq, level);
	}
	if (serial_room(s) == 0)
		s->full = true;
	else if (s->full && s->count == 0) {
		s->full = false;
		if (s->feeder.ready)
			s->feeder.ready(s->feeder.self);
	}
}

static void fifo_clear(struct serial *s)
{
	s->head = 0;
	s->count = 0;
}

static void fifo_push(struct serial *s, uint8_t byte)
{
	s->fifo[(s->head + s->count) % SERIAL_FIFO_BYTES] = byte;
	s->count++;
}

static uint8_t fifo_pop(struct serial *s)
{
	uint8_t byte = s->fifo[s->head];

	if (s->count == 0)
		return 0;
	s->head = (s->head + 1) % SERIAL_FIFO_BYTES;
	s->count--;
	return byte;
}

/* A full FIFO keeps what it has; without it the newest byte wins (data sheet, LSR bit 1). */
static void receive_looped(struct serial *s, uint8_t byte)
{
	if (s->count == capacity(s)) {
		s->overrun = true;
		if (s->count > 1)
			return;
		fifo_clear(s);
	}
	fifo_push(s, byte);
}

static void transmit(struct serial *s, uint8_t byte)
{
	s->transmitted = true;
	if (looped(s))
		receive_looped(s, byte);
	else
		sink_write(&s->out, &byte, 1);
}

static uint8_t modem_lines(const struct serial *s)
{
	uint8_t lines = 0;

	if (!looped(s))
		return LINES_CONNECTED;
	if (s->mcr & SERIAL_MCR_RTS)
		lines |= SERIAL_MSR_CTS;
	if (s->mcr & SERIAL_MCR_DTR)
		lines |= SERIAL_MSR_DSR;
	if (s->mcr & SERIAL_MCR_OUT1)
		lines |= SERIAL_MSR_RI;
	if (s->mcr & SERIAL_MCR_OUT2)
		lines |= SERIAL_MSR_DCD;
	return lines;
}

static void write_mcr(struct serial *s, uint8_t value)
{
	uint8_t before = modem_lines(s), after;

	s->mcr = value & (SERIAL_MCR_LOOP | SERIAL_MCR_OUT2 | SERIAL_MCR_OUT1 | SERIAL_MCR_RTS | SERIAL_MCR_DTR);
	after = modem_lines(s);
	/* A delta bit lies four below its line; ring is the one that counts only when it ends. */
	s->msr_delta |= (before ^ after) >> 4 & (SERIAL_MSR_DELTA_CTS | SERIAL_MSR_DELTA_DSR | SERIAL_MSR_DELTA_DCD);
	s->msr_delta |= (before & ~after) >> 4 & SERIAL_MSR_RI_FELL;
}

static void write_ier(struct serial *s, uint8_t value)
{
	value &= SERIAL_IER_RECEIVED | SERIAL_IER_TRANSMITTED | SERIAL_IER_LINE | SERIAL_IER_MODEM;
	if (value & ~s->ier & SERIAL_IER_TRANSMITTED)
		s->transmitted = true;
	s->ier = value;
}

static void write_fcr(struct serial *s, uint8_t value)
{
	/* Without the enable bit the others are not programmed. */
	if (!(value & SERIAL_FCR_ENABLE))
		value = 0;
	if ((value ^ s->fcr) & SERIAL_FCR_ENABLE || value & SERIAL_FCR_CLEAR_RX)
		fifo_clear(s);
	s->fcr = value & (SERIAL_FCR_ENABLE | SERIAL_FCR_TRIGGER);
}

static uint8_t read_iir(struct serial *s)
{
	uint8_t source = pending(s);

	if (source == SERIAL_IIR_TRANSMITTED)
		s->transmitted = false;
	return source | (s->fcr & SERIAL_FCR_ENABLE ? SERIAL_IIR_FIFO : 0);
}

static uint8_t read_lsr(struct serial *s)
{
	uint8_t value = SERIAL_LSR_THRE | SERIAL_LSR_TEMT;

	if (s->count)
		value |= SERIAL_LSR_READY;
	if (s->overrun)
		value |= SERIAL_LSR_OVERRUN;
	s->overrun = false;
	return value;
}

static uint8_t read_msr(struct serial *s)
{
	uint8_t value = modem_lines(s) | s->msr_delta;

	s->msr_delta = 0;
	return value;
}

static uint8_t read_register(struct serial *s, uint64_t offset)
{
	switch (offset) {
	case SERIAL_DATA:
		return latching_divisor(s) ? s->divisor[0] : fifo_pop(s);
	case SERIAL_IER:
		return latching_divisor(s) ? s->divisor[1] : s->ier;
	case SERIAL_IIR:
		return read_iir(s);
	case SERIAL_LCR:
		return s->lcr;
	case SERIAL_MCR:
		return s->mcr;
	case SERIAL_LSR:
		return read_lsr(s);
	case SERIAL_MSR:
		return read_msr(s);
	default:
		return s->scratch;
	}
}

static void write_register(struct serial *s, uint64_t offset, uint8_t value)
{
	switch (offset) {
	case SERIAL_DATA:
		if (latching_divisor(s))
			s->divisor[0] = value;
		else
			transmit(s, value);
		break;
	case SERIAL_IER:
		if (latching_divisor(s))
			s->divisor[1] = value;
		else
			write_ier(s, value);
		break;
	case SERIAL_FCR:
		write_fcr(s, value);
		break;
	case SERIAL_LCR:
		s->lcr = value;
		break;
	case SERIAL_MCR:
		write_mcr(s, value);
		break;
	case SERIAL_SCR:
		s->scratch = value;
		break;
	default: /* LSR and MSR are read only */
		break;
	}
}

static uint64_t serial_read(void *self, uint64_t offset, unsigned width)
{
	struct serial *s = self;
	uint8_t value;

	if (width != 1)
		return UINT64_MAX;
	value = read_register(s, offset);
	settle(s);
	return value;
}

static void serial_write(void *self, uint64_t offset, unsigned width, uint64_t value)
{
	struct serial *s = self;

	if (width != 1)
		return;
	write_register(s, offset, (uint8_t)value);
	settle(s);
}

void serial_init(struct serial *serial, struct irq irq, struct sink out, struct serial_feeder feeder,
		 struct device *device)
{
	memset(serial, 0, sizeof(*serial));
	serial->irq = irq;
	serial->out = out;
	serial->feeder = feeder;
	serial->mcr = SERIAL_MCR_OUT2;
	serial->lcr = SERIAL_LCR_8N1;
	serial->divisor[0] = 12; /* 9600 baud */
	*device = (struct device){.name = "serial", .self = serial, .read = serial_read, .write = serial_write};
}

size_t serial_room(const struct serial *serial)
{
	return looped(serial) ? 0 : capacity(serial) - serial->count;
}

size_t serial_input(struct serial *serial, const uint8_t *data, size_t bytes)
{
	size_t room = serial_room(serial);
	size_t taken = bytes < room ? bytes : room;

	for (size_t i = 0; i < taken; i++)
		fifo_push(serial, data[i]);
	settle(serial);
	return taken;
}
