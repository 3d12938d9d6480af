/* mm/slab_impl.h: the fields of struct slab_cache, for slab.c and its tests alone. */
#ifndef SLAT_MM_SLAB_IMPL_H
#define SLAT_MM_SLAB_IMPL_H

#include "mm/lock.h"
#include "mm/slab.h"

#define SLAB_LINE     64u
#define SLAB_CPUS_MAX 1024u

/* A magazine is 2^k words, two of them its header. It starts with as many rounds
 * as SLAB_MAGAZINE_BYTES hold objects, within these bounds, and may double twice.
 * More than 64 words at first would be more prefetches at once than are under way
 * at once: measured 10 % slower where objects come back in no order. */
#define SLAB_MAGAZINE_BYTES	131072u
#define SLAB_MAGAZINE_WORDS_MIN 8u
#define SLAB_MAGAZINE_WORDS_MAX 64u
#define SLAB_SIZES		3u
#define SLAB_GROW_AFTER		16u /* waits for the depot within one interval until magazines double */

/* Of objects: room for some dozens in a slab, unless that makes it larger than 64 KiB. */
#define SLAB_OBJECTS_WANTED 32u
#define SLAB_ORDER_WANTED   4u
#define SLAB_WASTE_SHARE    8u /* header, colours and rest are at most 1/8 of a slab */

#define SLAB_BATCH	    32u /* objects that go back under one hold of a lock */

struct slab {			  /* at the start of each slab */
	uintptr_t seal;		  /* says whose it is; 0 once it is given back */
	struct slab *next, *prev; /* a ring: the head's prev is the tail */
	uint32_t first;		  /* offset of object 0: the header's end and the colour */
	uint32_t free;
	uint64_t map[]; /* bit i of all words: object i is free */
};

enum slab_list { SLAB_PARTIAL, SLAB_FULL, SLAB_EMPTY };
#define SLAB_LISTS 3u

struct slab_geometry {
	uint64_t reciprocal;	/* ceil(2^40 / stride) */
	uint32_t stride;	/* from object to object */
	uint32_t objects;	/* in a slab */
	uint32_t head;		/* offset of object 0 in a slab of colour 0 */
	uint32_t colours, step; /* colour k starts k * step further on */
	uint32_t order;
};

struct slab_store { /* slabs of one geometry: the cache's objects, or magazines of one size */
	_Alignas(SLAB_APART) struct slab_geometry geometry;
	_Alignas(SLAB_APART) struct lock lock;
	uint32_t colour_next;
	struct slab *list[SLAB_LISTS];
	uint64_t length[SLAB_LISTS];
	uint64_t empty_min; /* of length[SLAB_EMPTY], this interval */
	uint64_t claimed;   /* objects that are not free in a slab */
};

struct slab_magazine {
	struct slab_magazine *next; /* in the depot */
	uint32_t capacity;
	uint32_t size; /* which of the cache's stores it is from */
	void *round[];
};
_Static_assert(sizeof(struct slab_magazine) == 16, "a header is two words");

struct slab_shelf { /* magazines in the depot, all full or all empty */
	struct slab_magazine *top;
	uint64_t length, length_min; /* now; least in this interval */
};

struct slab_depot {
	_Alignas(SLAB_APART) struct lock lock;
	uint32_t size;	 /* of magazines made from now on */
	uint32_t recent; /* waits in this interval, since the last growth */
	struct slab_shelf full, empty;
	uint64_t rounds; /* in full ones */
	uint64_t contended;
	uint64_t live_max;
};

struct slab_cpu { /* its owner's alone, but for drain and the bounds */
	_Alignas(SLAB_APART) struct slab_hot hot;
	void **base; /* of the loaded magazine; NULL: none */
	struct slab_magazine *loaded, *previous;
	uint32_t previous_rounds;
	uint32_t drain; /* another CPU asks for all that is here */
	bool hungry;	/* what its magazines last ran out of was objects, not room */
};
_Static_assert(sizeof(struct slab_cpu) == SLAB_APART, "a CPU's index is scaled by a shift");

struct slab_cache {
	struct slab_front front;
	uint32_t bytes;
	uint32_t cpus_seen; /* above all that have called; parts beyond were never touched */
	struct slab_source source;
	void (*construct)(void *self, void *object);
	void *construct_self;
	uint64_t fail_after; /* 0: no fault to inject */
	struct slab_depot depot;
	struct slab_store objects;
	struct slab_store magazines[SLAB_SIZES];
	struct slab_cpu cpu[];
};
_Static_assert(offsetof(struct slab_cache, cpu) == SLAB_CPU_AT && offsetof(struct slab_cache, front) == 0 &&
		       offsetof(struct slab_cpu, hot) == 0,
	       "slab.h finds a CPU's part");

#endif
