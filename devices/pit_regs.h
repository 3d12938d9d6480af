/* devices/pit_regs.h: i8254 interval timer, as offsets from port 0x40, and system control port B (0x61). */
#ifndef SLAT_DEVICES_PIT_REGS_H
#define SLAT_DEVICES_PIT_REGS_H

#define PIT_WINDOW		  4
#define PIT_CONTROL		  3 /* 0, 1, 2: the counters */

#define PIT_HZ			  1193182

#define PIT_CONTROL_BCD		  0x01
#define PIT_CONTROL_MODE_SHIFT	  1
#define PIT_CONTROL_MODE	  0x0e
#define PIT_CONTROL_LATCH	  0x00
#define PIT_CONTROL_LOW		  0x10
#define PIT_CONTROL_HIGH	  0x20
#define PIT_CONTROL_WORD	  0x30 /* low byte, then high byte */
#define PIT_CONTROL_ACCESS	  0x30
#define PIT_CONTROL_CHANNEL_SHIFT 6
#define PIT_CONTROL_READ_BACK	  0xc0

/* A read-back command's bits. */
#define PIT_READ_BACK_NO_COUNT	0x20
#define PIT_READ_BACK_NO_STATUS 0x10
#define PIT_READ_BACK_CHANNEL0	0x02

/* What a latched status reads. The low 6 bits are the control word's. */
#define PIT_STATUS_OUT	0x80
#define PIT_STATUS_NULL 0x40 /* the count written is not yet in the counter */

#define PORT_B_WINDOW	1
#define PORT_B_GATE2	0x01
#define PORT_B_SPEAKER	0x02
#define PORT_B_REFRESH	0x10 /* toggles about every 15 us */
#define PORT_B_OUT2	0x20

#endif
