/* mm/general_heap_impl.h: the fields behind general_heap.h, for general_heap.c and its own tests. */
#ifndef SLAT_MM_GENERAL_HEAP_IMPL_H
#define SLAT_MM_GENERAL_HEAP_IMPL_H

#include "mm/general_heap.h"
#include "mm/lock.h"
#include "mm/slab.h"

/* What the byte of a frame says. Every frame of a slab (or of magazines) has its class. */
#define GENERAL_HEAP_NONE  0u	/* not this heap's, or the inside of a large run */
#define GENERAL_HEAP_CLASS 1u	/* plus the class */
#define GENERAL_HEAP_HEAD  65u	/* plus the order: the first frame of a large run */
#define GENERAL_HEAP_DIGIT 128u /* plus 7 bits of what was asked: the next frames of a large run */

_Static_assert(GENERAL_HEAP_CLASS + GENERAL_HEAP_CLASSES <= GENERAL_HEAP_HEAD &&
		       GENERAL_HEAP_HEAD + FRAMES_ORDER_MAX < GENERAL_HEAP_DIGIT,
	       "a frame's byte says one thing");

struct general_class {		  /* one slab cache, and what its source needs to know */
	struct slab_cache *cache; /* NULL until the first of its size is asked for */
	struct general_heap *heap;
};

/* One CPU's own; any thread may read. Only the sum over all CPUs means a number:
 * what one CPU gave another takes back, so a part may be below 0 (wrapped). */
struct general_small { /* alloc and free write words of their own, or each would wait for the other's store */
	struct {
		uint64_t asked;	  /* by allocations */
		uint64_t named;	  /* by frees */
		uint64_t unsized; /* frees that named nothing */
	} class[GENERAL_HEAP_CLASSES];
};

struct general_large {
	_Alignas(64) uint64_t asked, given, count;
};

struct general_heap {
	struct heap_ops ops; /* here, since a table of its own would need relocations */
	struct frames *frames;
	uintptr_t arena; /* an address: where memory is identity mapped it is 0 */
	uint64_t frame_count;
	struct general_small *small; /* [cpus] */
	struct general_large *large; /* [cpus] */
	uint8_t *kinds;		     /* [frame_count] */
	unsigned char *caches;	     /* where they are made, cache_bytes each */
	size_t cache_bytes;
	struct lock making; /* held while one is made */
	struct general_heap_host host;
	bool meta_zeroed; /* as config said: caches not made yet are all zeroes */
	uint64_t fail_after;
	unsigned cpus;
	unsigned cpus_ready; /* the same; 0 while fail_after is not: one test for both */
	struct general_class classes[GENERAL_HEAP_CLASSES];

	/* Written by whoever takes memory from below, or gives it back. */
	_Alignas(64) uint64_t held;
	uint64_t held_marked; /* what was held when asked_max was last looked after */
	uint64_t asked_max;
};

#endif
