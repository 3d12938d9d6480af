/* mm/buddy_impl.h: the fields of struct buddy, for buddy.c and its tests alone.
 * Everything is an index, so the metadata may lie at another address in another
 * process. The words used here: top of buddy.c. */
#ifndef SLAT_MM_BUDDY_IMPL_H
#define SLAT_MM_BUDDY_IMPL_H

#include "mm/buddy.h"

#define BUDDY_RADIX	  6u /* orders a level: a unit is 64 units of the level below */
#define BUDDY_LEVEL_MAX	  (BUDDY_ORDER_MAX / BUDDY_RADIX)
#define BUDDY_LEVELS	  7u /* 64^7 is more than BUDDY_FRAMES_MAX */
#define BUDDY_FRAMES_MAX  (UINT64_C(1) << 40)
#define BUDDY_NODE_SHIFTS 0x5555431u /* a nibble a level, from the lowest: log2 of the words of a node */

_Static_assert(BUDDY_ORDER_MAX % BUDDY_RADIX == 0, "the largest run is one unit: its level needs no merging");
_Static_assert(UINT64_C(1) << BUDDY_RADIX * (BUDDY_LEVELS - 1) <= BUDDY_FRAMES_MAX, "no level too many");
_Static_assert(BUDDY_FRAMES_MAX >> BUDDY_RADIX * BUDDY_LEVELS == 0, "the last level is one node");

/* The words of a node; bit c is about its unit c. (open, head) of a unit is
 * (1, 0) free, (0, 1) first of a live run, (0, 0) further one of it, (1, 1) none
 * of these: an absent frame, or a unit to be looked up in the node below. */
enum buddy_word {
	BUDDY_OPEN,
	BUDDY_HEAD,
	BUDDY_HOLDS, /* + order, for the orders of the levels below: the units in which a free run of it lies */
};

struct buddy {
	uint64_t frame_count;
	uint64_t frames_total, frames_free, frames_free_min;
	uint64_t runs_live;
	uint64_t fail_after;	      /* 0: no fault to inject */
	uint32_t orders;	      /* bit o: there is a free run of order o */
	uint32_t top;		      /* the lowest level of one node: it is the last that has BUDDY_HOLDS words */
	uint8_t shift[BUDDY_LEVELS];  /* log2 of the words of each level's nodes */
	uint64_t start[BUDDY_LEVELS]; /* of each level's nodes, in words[] */
	uint64_t runs_step[BUDDY_ORDER_MAX + 2]; /* runs_free[o] is the sum of runs_step[0] to runs_step[o] */
	_Alignas(64) uint64_t words[];
};

#endif
