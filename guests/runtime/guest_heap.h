/* guests/runtime/guest_heap.h: the guest's RAM as frames, slabs and a heap: the
 * object code of mm/ that the VMM itself runs on. For guests that ask for it.
 * Frames here are gfns. */
#ifndef SLAT_GUESTS_RUNTIME_GUEST_HEAP_H
#define SLAT_GUESTS_RUNTIME_GUEST_HEAP_H

#include "mm/frames.h"
#include "mm/heap.h"
#include "mm/slab.h"

/* Gives all free RAM above the first MiB to the page-frame allocator, and a heap
 * over it, for `cpus` CPUs; memory_carve() has none left then, so start the other
 * CPUs first. Once only. Panics iff the metadata finds no place. Any ring. */
void guest_heap_open(unsigned cpus);

/* After guest_heap_open(). Any CPU, any ring; see frames.h and heap.h. */
struct frames *guest_frames(void);
const struct heap *guest_heap(void);

/* Slabs straight from the frames, as mm/slab.h wants them. */
struct slab_source guest_slab_source(void);

#endif
