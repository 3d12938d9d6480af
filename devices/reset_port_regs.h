/* devices/reset_port_regs.h: the reset control register of Intel's PIIX and later, at port 0xcf9. */
#ifndef SLAT_DEVICES_RESET_PORT_REGS_H
#define SLAT_DEVICES_RESET_PORT_REGS_H

#define RESET_PORT_WINDOW 1

#define RESET_PORT_HARD	  0x02 /* hard, else soft */
#define RESET_PORT_CPU	  0x04 /* going from 0 to 1 resets */

#endif
