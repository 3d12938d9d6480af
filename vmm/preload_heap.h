/* vmm/preload_heap.h: what libslatmalloc.so's functions call: a struct heap over
 * the range and over blocks that are mappings of their own, and what SLAT_MALLOC puts
 * in front of it. Theory: top of preload_heap.c.
 * Threads: any number, each inside a visit (preload_slot.h). */
#ifndef SLAT_VMM_PRELOAD_HEAP_H
#define SLAT_VMM_PRELOAD_HEAP_H

#include "mm/heap.h"

/* All are ready after the first preload_heap_ready(). */
extern struct heap preload_heap;

/* Nothing is in front of the heap below. */
extern bool preload_heap_plain;

/* Plain, or only sampled: what magazines have is given and taken without a visit. */
extern bool preload_heap_fronted;

/* Not checked, which knows each block itself: small free blocks carry marks. */
extern bool preload_heap_marked;

/* Makes everything at the first call. False: there is no memory to begin with. */
bool preload_heap_ready(void);

/* Is what was just allocated all zeroes? Only while plain. */
bool preload_heap_is_fresh(const void *memory, size_t bytes);

/* Gives back what nobody uses: as far as it is worth it, or all. Bytes given back. */
size_t preload_heap_trim(unsigned cpu, bool all);

#endif
