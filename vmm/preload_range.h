/* vmm/preload_range.h: the addresses that all but the largest blocks of
 * libslatmalloc.so come from, and the heap over them. Theory: top of preload_range.c.
 * Threads: any number, each under a CPU number of its own (preload_slot.h). */
#ifndef SLAT_VMM_PRELOAD_RANGE_H
#define SLAT_VMM_PRELOAD_RANGE_H

#include "mm/general_heap.h"

struct preload_range { /* written once, by preload_range_make(); zeroes before */
	uintptr_t base;
	uint64_t frames;      /* how many could ever lie in it */
	const uint8_t *kinds; /* general_heap_kinds() */
	struct heap heap;
	uint64_t secret; /* of this process and its children */
};
extern struct preload_range preload_range;

/* Once, before any other call. False: the host has no memory for it. */
bool preload_range_make(unsigned cpus);

/* Might this address be one of the heap's? */
static inline bool preload_range_has(const void *memory)
{
	return ((uintptr_t)memory - preload_range.base) >> FRAME_SHIFT < preload_range.frames;
}

/* What general_heap_kinds() says of the frame of an address that preload_range_has(). */
static inline unsigned preload_range_kind(const void *memory)
{
	return __atomic_load_n(&preload_range.kinds[((uintptr_t)memory - preload_range.base) >> FRAME_SHIFT],
			       __ATOMIC_RELAXED);
}

/* Is all of [at, end) memory that may be read? */
bool preload_range_is_mapped(uintptr_t at, uintptr_t end);

/* Is what was just allocated there still all zeroes, as the host gave it? */
bool preload_range_is_fresh(const void *memory, size_t bytes);

/* Gives free frames that were written to back to the host: all of them, or as far as
 * there are more than are worth keeping. Bytes given back. */
size_t preload_range_trim(unsigned cpu, bool all);

#endif
