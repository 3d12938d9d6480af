/* guests/runtime/crew.h: all CPUs at one task, again and again: smp_start() gives
 * them one function for good. The boot CPU calls, in ring 0; CPU 0 is itself. */
#ifndef SLAT_GUESTS_RUNTIME_CREW_H
#define SLAT_GUESTS_RUNTIME_CREW_H

#include <stdbool.h>
#include <stdint.h>

typedef void crew_task(void *arg, unsigned cpu); /* in ring 3: see ring3_call() */

/* Starts the other CPUs, which wait then, spinning. How many there are, with this one. Once only. */
unsigned crew_start(void);

/* CPUs 0 to cpus - 1 run the task, all from the same moment on. Returns when all
 * are through: how many cycles the slowest took. */
uint64_t crew_run(unsigned cpus, crew_task *task, void *arg);

/* Lets the other CPUs go. False iff one does not within some seconds. */
bool crew_end(void);

#endif
