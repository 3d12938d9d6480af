/* mm/pool_segregated_impl.h: the fields behind pool_segregated.h, for pool_segregated.c and its own tests. */
#ifndef SLAT_MM_POOL_SEGREGATED_IMPL_H
#define SLAT_MM_POOL_SEGREGATED_IMPL_H

#include "mm/lock.h"
#include "mm/pool_segregated.h"

#define SEGREGATED_PAGE_SHIFT 16u
#define SEGREGATED_WORDS      64u /* 64 of 64 bits: the 4096 objects of 16 bytes that a page has at most */
#define SEGREGATED_NONE	      UINT32_MAX
#define SEGREGATED_PAGES_MAX  (UINT32_C(1) << 30)
#define SEGREGATED_LOOKUP     (POOL_SEGREGATED_BYTES_MAX / HEAP_ALIGN + 1)

struct segregated_page {
	uint64_t summary;		/* bit w: map[w] is not 0 */
	uint64_t map[SEGREGATED_WORDS]; /* bit i of all: object i is free */
	uint32_t next, prev;		/* in its class's list, or next in the budget's */
	uint32_t free;
	uint32_t class; /* SEGREGATED_NONE: the budget's */
};

struct segregated_class {
	uint32_t bytes, objects, reciprocal; /* of a page; ceil(2^32 / bytes) */
	uint32_t partial;		     /* list of its pages with live and free objects */
	uint32_t spare;			     /* its page without live ones; NONE: it has none */
	uint64_t asked, live, live_max, pages, pages_max;
};

struct pool_segregated {
	struct heap_ops ops; /* here, since a table of its own would need relocations */
	struct lock lock;    /* for all below but fail_after, if there are CPUs to share with */
	unsigned cpus, classes;
	uintptr_t arena;
	uint32_t page_count;
	uint32_t fresh;	      /* pages from here on were never taken */
	uint32_t budget;      /* list of those that came back */
	uint32_t pages_taken; /* by classes */
	uint32_t work;	      /* of the call under way; 0 between calls */
	uint32_t alloc_work_max, free_work_max;
	const struct heap *fallback;
	uint64_t asked, asked_max, given, count, fail_after;
	struct segregated_class class[POOL_SEGREGATED_CLASSES];
	uint8_t lookup[SEGREGATED_LOOKUP]; /* the class for so many times HEAP_ALIGN */
	struct segregated_page page[];
};

#endif
