/* devices/debug_exit_regs.h: QEMU's isa-debug-exit: writing v ends the run with exit code (v << 1) | 1. */
#ifndef SLAT_DEVICES_DEBUG_EXIT_REGS_H
#define SLAT_DEVICES_DEBUG_EXIT_REGS_H

#define DEBUG_EXIT_WINDOW 4

#endif
