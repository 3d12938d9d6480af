/* guests/runtime/private.h: data that ring 3 may not touch (guest.ld places it). */
#ifndef SLAT_GUESTS_RUNTIME_PRIVATE_H
#define SLAT_GUESTS_RUNTIME_PRIVATE_H

#define RUNTIME_PRIVATE __attribute__((section(".bss.private")))

#endif
