/* vmm/preload_modes.h: what the words of the environment's SLAT_MALLOC put in front of the
 * heap, and what they leave at the end. Words, between commas:
 *   checked    mm/checked.h: what it finds goes to stderr, and the program goes on
 *   leak=FILE  mm/leak.h: at the end, what is live by call stack; %p in FILE is the
 *              process; of a name that ends with .folded, as flame graphs have it
 *   sample=N   of leak: one allocation in about N bytes is recorded (1: all are)
 *   stats=1    at the end, figures on stderr
 * A word that is none of these is told on stderr, and the program goes on without. */
#ifndef SLAT_VMM_PRELOAD_MODES_H
#define SLAT_VMM_PRELOAD_MODES_H

#include "mm/heap.h"

/* Once, as the heap is made: wraps it. False: nothing is in front of it. */
bool preload_modes_wrap(struct heap *heap, unsigned cpus);

/* Once, when the process ends. */
void preload_modes_end(void);

void preload_stats_write(int fd);

/* Where the call into the library left the caller's stack: for the wrappers. */
void preload_modes_called_from(uintptr_t frame);

#endif
