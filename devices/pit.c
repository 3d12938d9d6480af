/* devices/pit.c: i8254 interval timer.
 *
 * What it is. Three counters that do not count: each remembers when it was
 * started and from what, and count and output are computed from the clock
 * when somebody looks. Only channel 0, whose output is an interrupt line, needs
 * an alarm.
 *
 * Vocabulary. Tick: 1 / 1193182 s; tick 0 is pit_init(). Elapsed: ticks since
 * the counter started, less those during which its gate held it. Edge: the
 * output of channel 0 goes from low to high.
 *
 * Modes, with n the count, d the elapsed ticks:
 *   0  low, high from d = n on; started by the count; a low gate holds it.
 *   1  high, low while d < n; started by the gate's rise.
 *   2  high, low in the last tick of each n; the gate's rise starts it anew, low holds it with output high.
 *   3  high in the first half of each n (the longer one), low in the second; counts by twos; gate as in 2.
 *   4  high, low in the one tick d = n; started by the count; a low gate holds it.
 *   5  as 4, started by the gate's rise.
 * The gates of channels 0 and 1 are tied high, so modes 1 and 5 never start there.
 *
 * Invariants
 *   I1 started implies 1 <= from <= 65536, and from >= 2 in modes 2 and 3 (a
 *	count of 1 is illegal there and taken as 2).
 *   I2 edge_ticks is the first edge of channel 0 after the moment it was computed,
 *	and the alarm is set to it. Edges are computed from start_ticks, so no error adds up.
 *   I3 Between edges the interrupt line has the output's level, except that modes
 *	2, 3 and 4 hold it high and pulse it at the edge: who listens is
 *	edge-triggered, and the low half would cost a second alarm.
 *
 * Where it differs from the chip: a count is in the counter at once, not one
 * tick later; a new count in modes 2 and 3 starts a new period, where the chip
 * finishes the running one; BCD digits above 9 count as what they add up to,
 * modulo 10000; channel 1 does not refresh memory (port B's refresh bit
 * is derived from the clock).
 *
 * Late alarms. An expiry that comes after several edges makes one: a guest that
 * slept does not catch up by a storm. A count of 2 asks for 600,000 alarms a
 * second; the owner of the alarm bounds what that costs by how late it is.
 *
 * Rejected: a deadline computed from the moment of the expiry (drifts by the
 * lateness of each); a thread per channel (channels 1 and 2 have no one to wake). */
#include <string.h>

#include "devices/pit.h"

#define REFRESH_TICKS 18 /* 15.09 us */
#define PORT_B_STORED 0x0f

static uint64_t now_ticks(const struct pit *p)
{
	return timer_ticks(p->clock.now_ns(p->clock.self) - p->origin_ns, PIT_HZ);
}

/* Modes that the gate's rise starts, and that run on when it falls. */
static bool one_shot_by_gate(const struct pit_channel *c)
{
	return c->mode == 1 || c->mode == 5;
}

static bool periodic(const struct pit_channel *c)
{
	return c->mode == 2 || c->mode == 3;
}

static uint64_t elapsed(const struct pit_channel *c, uint64_t now)
{
	return c->gate || one_shot_by_gate(c) ? now - c->start_ticks : c->held_ticks;
}

static bool output(const struct pit_channel *c, uint64_t now)
{
	uint64_t d = elapsed(c, now);

	if (!c->started)
		return c->mode != 0;
	switch (c->mode) {
	case 0:
		return d >= c->from;
	case 1:
		return d >= c->from;
	case 2:
		return !c->gate || d % c->from != c->from - 1;
	case 3:
		return !c->gate || d % c->from < (c->from + 1) / 2;
	default:
		return d != c->from;
	}
}

static uint16_t to_bcd(uint32_t n)
{
	return (uint16_t)(n / 1000 % 10 << 12 | n / 100 % 10 << 8 | n / 10 % 10 << 4 | n % 10);
}

static uint32_t from_bcd(uint16_t n)
{
	return ((n >> 12) * 1000u + (n >> 8 & 0xf) * 100u + (n >> 4 & 0xf) * 10u + (n & 0xf)) % 10000;
}

static uint32_t square_count(const struct pit_channel *c, uint64_t d)
{
	uint32_t phase = (uint32_t)(d % c->from), high = (c->from + 1) / 2;

	if (phase >= high)
		phase -= high;
	return (c->from & ~1u) - 2 * phase;
}

/* What the counter holds, as the guest reads it. */
static uint16_t count(const struct pit_channel *c, uint64_t now)
{
	uint32_t modulus = c->bcd ? 10000 : 65536, n = c->written;
	uint64_t d = elapsed(c, now);

	if (c->started && c->mode == 2)
		n = c->from - (uint32_t)(d % c->from);
	else if (c->started && c->mode == 3)
		n = square_count(c, d);
	else if (c->started)
		n = c->from + modulus - (uint32_t)(d % modulus);
	n %= modulus;
	return c->bcd ? to_bcd(n) : (uint16_t)n;
}

/* The first edge after now; UINT64_MAX: none to come. */
static uint64_t next_edge(const struct pit_channel *c, uint64_t now)
{
	uint64_t d = now - c->start_ticks;

	if (!c->started)
		return UINT64_MAX;
	if (periodic(c))
		return c->start_ticks + (d / c->from + 1) * c->from;
	if (c->mode == 0 && d < c->from)
		return c->start_ticks + c->from;
	if (c->mode == 4 && d <= c->from)
		return c->start_ticks + c->from + 1;
	return UINT64_MAX;
}

static void arm(struct pit *p, uint64_t now)
{
	uint64_t ns = UINT64_MAX;

	p->edge_ticks = next_edge(&p->channel[0], now);
	if (p->edge_ticks != UINT64_MAX)
		ns = timer_ns(p->edge_ticks, PIT_HZ);
	if (ns > UINT64_MAX - p->origin_ns)
		ns = UINT64_MAX - p->origin_ns;
	if (p->alarm.set)
		p->alarm.set(p->alarm.self, p->origin_ns + ns);
}

/* After a change to channel c. */
static void changed(struct pit *p, const struct pit_channel *c, uint64_t now)
{
	if (c != &p->channel[0])
		return;
	irq_set(&p->irq, output(c, now));
	arm(p, now);
}

static void start(struct pit_channel *c, uint64_t now)
{
	c->from = periodic(c) && c->written == 1 ? 2 : c->written;
	c->start_ticks = now;
	c->held_ticks = 0;
	c->started = true;
	c->null = false;
}

static void latch_count(struct pit_channel *c, uint64_t now)
{
	if (c->latch_bytes)
		return;
	c->latch = count(c, now);
	if (c->access == PIT_ACCESS_HIGH)
		c->latch >>= 8;
	c->latch_bytes = c->access == PIT_ACCESS_WORD ? 2 : 1;
}

static void latch_status(struct pit_channel *c, uint64_t now)
{
	if (c->status_latched)
		return;
	c->status = (uint8_t)(c->access << 4 | c->mode << PIT_CONTROL_MODE_SHIFT | (c->bcd ? PIT_CONTROL_BCD : 0));
	if (output(c, now))
		c->status |= PIT_STATUS_OUT;
	if (c->null)
		c->status |= PIT_STATUS_NULL;
	c->status_latched = true;
}

static void read_back(struct pit *p, uint8_t command, uint64_t now)
{
	for (unsigned i = 0; i < 3; i++) {
		if (!(command & PIT_READ_BACK_CHANNEL0 << i))
			continue;
		if (!(command & PIT_READ_BACK_NO_COUNT))
			latch_count(&p->channel[i], now);
		if (!(command & PIT_READ_BACK_NO_STATUS))
			latch_status(&p->channel[i], now);
	}
}

static void program(struct pit_channel *c, uint8_t control)
{
	uint8_t mode = (control & PIT_CONTROL_MODE) >> PIT_CONTROL_MODE_SHIFT;

	c->mode = mode > 5 ? mode - 4 : mode; /* 6 and 7 are 2 and 3 again */
	c->access = (control & PIT_CONTROL_ACCESS) >> 4;
	c->bcd = control & PIT_CONTROL_BCD;
	c->loaded = c->started = c->write_high = c->read_high = c->status_latched = false;
	c->null = true;
	c->latch_bytes = 0;
}

static void write_control(struct pit *p, uint8_t control, uint64_t now)
{
	struct pit_channel *c;

	if ((control & PIT_CONTROL_READ_BACK) == PIT_CONTROL_READ_BACK) {
		read_back(p, control, now);
		return;
	}
	c = &p->channel[control >> PIT_CONTROL_CHANNEL_SHIFT];
	if ((control & PIT_CONTROL_ACCESS) == PIT_CONTROL_LATCH) {
		latch_count(c, now);
	} else {
		program(c, control);
		changed(p, c, now);
	}
}

static void write_count(struct pit *p, struct pit_channel *c, uint16_t value, uint64_t now)
{
	uint32_t n = c->bcd ? from_bcd(value) : value;

	c->written = n ? n : c->bcd ? 10000 : 65536;
	c->null = c->loaded = true;
	if (one_shot_by_gate(c))
		return;
	start(c, now);
	changed(p, c, now);
}

static void write_counter(struct pit *p, struct pit_channel *c, uint8_t value, uint64_t now)
{
	if (c->access == PIT_ACCESS_LOW) {
		write_count(p, c, value, now);
	} else if (c->access == PIT_ACCESS_HIGH) {
		write_count(p, c, (uint16_t)(value << 8), now);
	} else if (c->write_high) {
		c->write_high = false;
		write_count(p, c, (uint16_t)(value << 8 | c->low), now);
	} else {
		c->low = value;
		c->write_high = true;
		if (c->mode == 0) { /* half a count stops this mode, and only this one */
			c->started = false;
			changed(p, c, now);
		}
	}
}

static uint8_t read_counter(struct pit_channel *c, uint64_t now)
{
	uint16_t value;
	bool high;

	if (c->status_latched) {
		c->status_latched = false;
		return c->status;
	}
	if (c->latch_bytes) {
		value = c->latch;
		c->latch >>= 8;
		c->latch_bytes--;
		return (uint8_t)value;
	}
	high = c->access == PIT_ACCESS_HIGH || c->read_high;
	if (c->access == PIT_ACCESS_WORD)
		c->read_high = !c->read_high;
	return (uint8_t)(count(c, now) >> (high ? 8 : 0));
}

static void set_gate(struct pit_channel *c, bool gate, uint64_t now)
{
	uint64_t d = elapsed(c, now);

	if (gate == c->gate)
		return;
	c->gate = gate;
	if (!gate)
		c->held_ticks = d;
	else if (c->mode == 0 || c->mode == 4)
		c->start_ticks = now - c->held_ticks;
	else if (c->loaded)
		start(c, now);
}

static uint64_t pit_read(void *self, uint64_t offset, unsigned width)
{
	struct pit *p = self;

	if (width != 1 || offset == PIT_CONTROL)
		return UINT64_MAX;
	return read_counter(&p->channel[offset], now_ticks(p));
}

static void pit_write(void *self, uint64_t offset, unsigned width, uint64_t value)
{
	struct pit *p = self;

	if (width != 1)
		return;
	if (offset == PIT_CONTROL)
		write_control(p, (uint8_t)value, now_ticks(p));
	else
		write_counter(p, &p->channel[offset], (uint8_t)value, now_ticks(p));
}

static uint64_t port_b_read(void *self, uint64_t offset, unsigned width)
{
	const struct pit *p = self;
	uint64_t now = now_ticks(p);

	(void)offset;
	if (width != 1)
		return UINT64_MAX;
	return p->port_b | (now / REFRESH_TICKS & 1 ? PORT_B_REFRESH : 0) |
	       (output(&p->channel[2], now) ? PORT_B_OUT2 : 0);
}

static void port_b_write(void *self, uint64_t offset, unsigned width, uint64_t value)
{
	struct pit *p = self;

	(void)offset;
	if (width != 1)
		return;
	p->port_b = value & PORT_B_STORED;
	set_gate(&p->channel[2], value & PORT_B_GATE2, now_ticks(p));
}

void pit_init(struct pit *pit, struct clock clock, struct irq irq, struct alarm alarm, struct device *counters,
	      struct device *port_b)
{
	memset(pit, 0, sizeof(*pit));
	pit->clock = clock;
	pit->irq = irq;
	pit->alarm = alarm;
	pit->origin_ns = clock.now_ns(clock.self);
	pit->edge_ticks = UINT64_MAX;
	for (unsigned i = 0; i < 3; i++) {
		struct pit_channel *c = &pit->channel[i];

		c->gate = i != 2;
		c->access = PIT_ACCESS_WORD;
		c->null = true;
		c->written = 65536;
	}
	*counters = (struct device){.name = "PIT", .self = pit, .read = pit_read, .write = pit_write};
	*port_b = (struct device){.name = "port B", .self = pit, .read = port_b_read, .write = port_b_write};
}

void pit_expired(struct pit *pit)
{
	uint64_t now = now_ticks(pit);

	if (now >= pit->edge_ticks) {
		if (pit->channel[0].mode != 0)
			irq_set(&pit->irq, false);
		irq_set(&pit->irq, true);
	}
	arm(pit, now);
}
