/* guests/runtime/clock.h: how fast the cycle counter runs. */
#ifndef SLAT_GUESTS_RUNTIME_CLOCK_H
#define SLAT_GUESTS_RUNTIME_CLOCK_H

#include <stdint.h>

/* Cycles (cpu_cycles()) a second, by the interval timer: takes some 50 ms. 0 iff
 * the machine has none that runs. Ring 0 of one CPU. */
uint64_t clock_cycles_hz(void);

#endif
