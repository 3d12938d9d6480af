/* mm/heap_conformance.h: what every heap must do, tried on a real one: the same
 * object code in the unit tests and inside a guest. */
#ifndef SLAT_MM_HEAP_CONFORMANCE_H
#define SLAT_MM_HEAP_CONFORMANCE_H

#include "mm/heap.h"

/* When what was freed is there again. */
enum heap_reuse {
	HEAP_REUSES_AT_ONCE,	/* for any size */
	HEAP_REUSES_WHEN_EMPTY, /* once all is freed; until then it may be lost */
	HEAP_REUSES_SOME,	/* for the sizes it was cut into: then every refusal is none of an offence */
};

struct heap_conformance {
	const struct heap *heap; /* empty at the start, and at the end */
	unsigned cpu;		 /* that all calls name */
	uint64_t seed;
	uint64_t operations; /* of the random part; live at once: some thousands */
	void *scratch;	     /* of the suite itself; not from this heap; 64-byte aligned */
	size_t scratch_bytes;
	enum heap_reuse reuse;
	/* What the heap need not serve: requests that, rounded up to their alignment, are
	 * above `largest` (64 or more; 0: none), and alignments above `align_largest` (0:
	 * those above a frame). */
	size_t largest, align_largest;
};

size_t heap_conformance_scratch_bytes(void);

/* Runs every trial. NULL iff all held; else the sentence that did not, with *a
 * and *b the two numbers that tell most. */
const char *heap_conformance_run(const struct heap_conformance *c, uint64_t *a, uint64_t *b);

#endif
