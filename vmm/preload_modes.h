/* vmm/preload_modes.h: what the words of the environment's SLAT_MALLOC put in front of the
 * heap, and what they leave at the end. Words, between commas:
 *   checked    mm/checked.h: what it finds goes to stderr, and the program goes on
 *   leak=FILE  mm/leak.h: at the end, what is live by call stack; %p in FILE is the
 *              process; of a name that ends with .folded, as flame graphs have it
 *   sample=N   of leak: one allocation in about N bytes is recorded (1: all are)
 *   stats=1    at the end, figures on stderr
 *   fail=N     mm/inject.h: the N-th allocation is refused, and that is told on stderr; at
 *              the end, how many were asked for and refused (fail=0: that alone)
 *   fail_ppm=N each is refused with a chance of N in 1,000,000; the first few are told
 *   fail_seed=N of fail_ppm: draws anew
 * A word that is none of these is told on stderr, and the program goes on without. */
#ifndef SLAT_VMM_PRELOAD_MODES_H
#define SLAT_VMM_PRELOAD_MODES_H

#include "mm/heap.h"
#include "mm/leak.h"

/* Once, as the heap is made: wraps it. False: nothing is in front of it. `most`: no more bytes could ever live. */
bool preload_modes_wrap(struct heap *heap, unsigned cpus, uint64_t most);

/* Iff leak is alone and does not record all: then magazines may serve what it does not record. */
extern struct leak *preload_modes_sampler;

/* Does checked.h watch the heap? Since preload_modes_wrap(). */
bool preload_modes_checking(void);

/* What was asked for a block, if that is checked and its header says so; else 0. Takes no lock. */
size_t preload_modes_known(const void *memory);

/* The heap had nothing for a call, which has left it: tells of it, if it was refused as SLAT_MALLOC says, and then is
 * true; or once, if it is checked that is at its limit. */
bool preload_modes_refused(void);

/* Once, when the process ends. */
void preload_modes_end(void);

void preload_stats_write(int fd);

#endif
