/* vmm/preload_stack.h: who called the library: for what SLAT_MALLOC turns on. Theory:
 * top of preload_stack.c.
 * Threads: any number. */
#ifndef SLAT_VMM_PRELOAD_STACK_H
#define SLAT_VMM_PRELOAD_STACK_H

#include "mm/call_stack.h"

/* Calls that are recorded of one stack; what is cut off above says so by CALL_STACK_CUT. */
#define PRELOAD_STACK_DEPTH 48u

/* Once, before any stack is taken. */
void preload_stack_begin(void);

/* Where the call into the library left the caller's stack: __builtin_frame_address(0) of a function that is running
 * while stacks are taken. 0: there is no caller. */
void preload_stack_called_from(uintptr_t frame);

/* A call_stack_source's `take`: as far as it is cheap; and by the tables for unwinding, as far as they reach. */
unsigned preload_stack_near(void *self, uint64_t *pc, unsigned max);
unsigned preload_stack_whole(void *self, uint64_t *pc, unsigned max);

#endif
