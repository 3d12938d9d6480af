/* devices/pvpanic_regs.h: QEMU's pvpanic: one byte of event bits (QEMU's docs/specs/pvpanic). */
#ifndef SLAT_DEVICES_PVPANIC_REGS_H
#define SLAT_DEVICES_PVPANIC_REGS_H

#define PVPANIC_WINDOW	     1

#define PVPANIC_PANICKED     0x01
#define PVPANIC_CRASH_LOADED 0x02 /* the guest has panicked and will look after itself */

#endif
