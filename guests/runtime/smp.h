/* guests/runtime/smp.h: the other CPUs. Ring 0 of the boot CPU. */
#ifndef SLAT_GUESTS_RUNTIME_SMP_H
#define SLAT_GUESTS_RUNTIME_SMP_H

#include <stdbool.h>
#include <stdint.h>

#define SMP_FRAMES_A_GUARD 6u /* frames that a CPU takes, for each of its two guards */

/* Starts all other CPUs of the MADT, one after the other, by INIT and two
 * SIPIs; each then runs fn(arg) in ring 3 and stops for ever. Once only.
 * Returns how many came up within some seconds each. */
unsigned smp_start(uint64_t (*fn)(void *), void *arg);

/* True iff as many as smp_start() counted have come back from fn; false after
 * some seconds. */
bool smp_join(void);

#endif
