/* mm/frames_impl.h: the shared state of struct frames, for frames.c and its tests alone.
 * Numbers and offsets from its own start, so that it may lie elsewhere for another party. */
#ifndef SLAT_MM_FRAMES_IMPL_H
#define SLAT_MM_FRAMES_IMPL_H

#include "mm/frames.h"

#define FRAMES_MAGIC	    UINT64_C(0x73656d6172666c73)
#define FRAMES_STACK_ORDERS 11u /* 0 to 10 have stacks */
#define FRAMES_RETURNS	    11u /* the stack of single frames on their way to the core */
#define FRAMES_STACKS	    12u

#define FRAMES_CHUNK	    64u	   /* frames in a chunk: the bits of one word */
#define FRAMES_AREA	    512u   /* in an area: 8 chunks, 2 MiB */
#define FRAMES_REGION	    32768u /* in a region: 64 areas, 128 MiB */
#define FRAMES_AREA_CHUNKS  8u	   /* their words are one cache line */
#define FRAMES_REGION_AREAS 64u

#define FRAMES_AREA_CLASSES 9u	/* 0 to 8: the largest free run in an open area */
#define FRAMES_CLASSES	    16u /* 9 to 15: the largest in a region's word of whole areas */

/* An area word: a count of 0 to 64 in the low 7 bits of each byte, a byte a
 * chunk. The top bits are spare: two of them say what the area is. */
#define FRAMES_OPEN   (UINT64_C(1) << 63)
#define FRAMES_ABSENT UINT64_C(0)	 /* no frame of it was ever given: fresh memory says so itself */
#define FRAMES_CLOSED (UINT64_C(1) << 7) /* wholly free, or taken by orders 9 and up */
#define FRAMES_WHOLE  UINT64_C(0x4040404040404040)
#define FRAMES_FULL   (FRAMES_OPEN | FRAMES_WHOLE)

enum frames_drain {
	FRAMES_DRAIN_NONE,
	FRAMES_DRAIN_ASKED, /* the owner empties its stacks at its next call */
	FRAMES_DRAIN_BY,    /* this + n: on behalf of CPU n they are being emptied; the owner keeps out */
};

struct frames_region {
	_Alignas(64) uint64_t whole;		/* bit = 1: that area is free and closed */
	uint64_t by_class[FRAMES_AREA_CLASSES]; /* hints: open areas by their largest free run */
};

struct frames_cpu {
	_Alignas(64) uint32_t inside;  /* written by the owner alone */
	uint32_t drain;		       /* enum frames_drain */
	uint32_t count[FRAMES_STACKS]; /* runs in each stack */
	uint8_t accept[6];	       /* orders 0 to 5: tokens that a chunk may have for its run to stay */
	uint16_t next;		       /* a bit an order, 6 to 9: its run stays only while it is next */
	uint32_t slot[];	       /* the stacks, one after the other, at layout.slot_at */
};
_Static_assert(sizeof(struct frames_cpu) == 64, "what a pair touches is one line and the slots");

struct frames_layout { /* follows from frame_count and cpus; never changes */
	uint64_t frame_count;
	uint32_t cpus;
	uint32_t cpu_bytes; /* from one struct frames_cpu to the next */
	uint16_t limit[FRAMES_STACKS];
	uint16_t slot_at[FRAMES_STACKS];
	uint32_t map_words; /* words of one class map: a bit a region */
	uint32_t regions;
	uint32_t areas;
	uint32_t may_stay; /* a bit an order, 6 to 9: stacks keep runs that are next */
	uint64_t regions_at, maps_at, areas_at, chunks_at, meta_bytes; /* offsets in bytes */
};

struct frames_shared {
	_Alignas(64) struct frames_layout layout;
	uint64_t magic;
	_Alignas(64) uint64_t core_free; /* frames; at least what is free in the core */
	uint64_t core_free_min;
	uint64_t total;
	uint64_t drains;
	uint64_t fail_after; /* 0: no fault to inject */
	/* struct frames_cpu each at cpu_bytes; then regions, class maps, area words, chunk words */
};
_Static_assert(sizeof(struct frames_shared) % 64 == 0, "the CPUs' stacks start on a line");

#endif
