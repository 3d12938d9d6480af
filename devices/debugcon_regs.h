/* devices/debugcon_regs.h: the debug console of Bochs and QEMU, at port 0xe9. */
#ifndef SLAT_DEVICES_DEBUGCON_REGS_H
#define SLAT_DEVICES_DEBUGCON_REGS_H

#define DEBUGCON_WINDOW	  1
#define DEBUGCON_PRESENCE 0xe9 /* what it reads */

#endif
