/* clock.c: the cycle counter against channel 2 of the interval timer, whose
 * output (port B) rises when a count has run down. Mode 0, so that one count is
 * one interval; no interrupt is needed. Whoever takes the CPU away meanwhile makes
 * it longer, never shorter: the least of some counts is the truth. */
#include "guests/runtime/clock.h"

#include "devices/pit_regs.h"
#include "guests/runtime/cpu.h"

#define PIT_PORT       0x40
#define PORT_B	       0x61
#define NOBODY	       0xff /* what a port reads that is not there; QEMU's microvm has none */
#define CHANNEL	       2u
#define COUNT	       11932u /* of PIT_HZ: 10 ms */
#define COUNTS	       5u
#define GIVE_UP_CYCLES (UINT64_C(1) << 33) /* some seconds */

/* Cycles that one count took; UINT64_MAX: it never ended. */
static uint64_t one_count(uint8_t port_b)
{
	uint64_t start, now;

	port_write8(PORT_B, port_b | PORT_B_GATE2);
	port_write8(PIT_PORT + PIT_CONTROL, CHANNEL << PIT_CONTROL_CHANNEL_SHIFT | PIT_CONTROL_WORD);
	port_write8(PIT_PORT + CHANNEL, COUNT & 0xff);
	start = cpu_cycles(); /* the next write starts the count: what comes between makes it longer */
	port_write8(PIT_PORT + CHANNEL, COUNT >> 8);
	do {
		now = cpu_cycles();
		if (now - start > GIVE_UP_CYCLES)
			return UINT64_MAX;
	} while (!(port_read8(PORT_B) & PORT_B_OUT2));
	return now - start;
}

uint64_t clock_cycles_hz(void)
{
	uint8_t port_b = port_read8(PORT_B) & (uint8_t) ~(PORT_B_SPEAKER | PORT_B_GATE2);
	uint64_t least = UINT64_MAX;

	if (port_read8(PORT_B) == NOBODY)
		return 0;
	for (unsigned i = 0; i < COUNTS; i++) {
		uint64_t cycles = one_count(port_b);

		least = cycles < least ? cycles : least;
		if (cycles == UINT64_MAX)
			break;
	}
	port_write8(PORT_B, port_b);
	return least == UINT64_MAX ? 0 : least * PIT_HZ / COUNT;
}
