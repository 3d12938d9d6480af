/* mm/heap_conformance.h: what every heap must do, tried on a real one: the same
 * object code in the unit tests and inside a guest. */
#ifndef SLAT_MM_HEAP_CONFORMANCE_H
#define SLAT_MM_HEAP_CONFORMANCE_H

#include "mm/heap.h"

struct heap_conformance {
	const struct heap *heap; /* empty at the start, and at the end */
	unsigned cpu;		 /* that all calls name */
	uint64_t seed;
	uint64_t operations; /* of the random part; live at once: some thousands */
	void *scratch;	     /* of the suite itself; not from this heap; 64-byte aligned */
	size_t scratch_bytes;
};

size_t heap_conformance_scratch_bytes(void);

/* Runs every trial. NULL iff all held; else the sentence that did not, with *a
 * and *b the two numbers that tell most. */
const char *heap_conformance_run(const struct heap_conformance *c, uint64_t *a, uint64_t *b);

#endif
