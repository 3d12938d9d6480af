/* mm/checked_impl.h: the fields behind checked.h, for checked.c and its own tests. */
#ifndef SLAT_MM_CHECKED_IMPL_H
#define SLAT_MM_CHECKED_IMPL_H

#include "mm/checked.h"
#include "mm/lock.h"

#define CHECKED_CHUNK_SHIFT 9u
#define CHECKED_CHUNK	    (1u << CHECKED_CHUNK_SHIFT) /* records that are made at once */
#define CHECKED_AHEAD_MAX   1024u

enum checked_state {
	CHECKED_GONE, /* not in use; of the last block it is still known what it was */
	CHECKED_LIVE,
	CHECKED_LEAVING, /* a free is under way */
	CHECKED_FREED,	 /* quarantined */
};

struct checked_record {	   /* of one block; index 0 is none */
	uintptr_t address; /* what the caller has */
	uint64_t bytes;
	uint32_t allocated, freed; /* numbers of stacks */
	uint32_t next;		   /* of the quarantine, or of those that are gone */
	uint8_t state;
	uint8_t align_shift;
};

/* Lies below the front redzone of each block. */
struct checked_header {
	uint32_t owner; /* of all blocks of one heap; another heap's is another, but for chance */
	uint32_t record;
	uint32_t allocated; /* for a heap that the block is not of */
	uint32_t seal;	    /* of the three, and the address */
};

struct checked {
	struct heap_ops ops; /* here, since a table of its own would need relocations */
	struct checked_config config;
	size_t front; /* header and redzone */
	uint32_t owner;
	uint64_t fail_after;		 /* atomic */
	uint64_t reports[CHECKED_KINDS]; /* atomics */

	/* From here on under the lock. */
	_Alignas(64) struct lock lock;
	uint32_t made;		 /* records 1 to `made` were in use once */
	uint32_t gone;		 /* the first that is not in use now */
	uint32_t chunks;	 /* how many there are */
	uint32_t chunks_max;	 /* that the table holds */
	uint32_t oldest, newest; /* of the quarantine */
	uint32_t cursor;	 /* where the next scan begins; 0: at the oldest */
	uint32_t scan_saved;	 /* of scan_bytes, not yet read: less than a block counts as */
	uint32_t scan_ahead;	 /* bytes read of what left that no scan was spared for yet */
	uint64_t cursor_offset;
	uint64_t kept, kept_bytes, kept_watched; /* blocks of the quarantine, their bytes, of these poisoned */
	uint64_t live, asked, asked_max, beside;
	struct checked_record *chunk[]; /* [chunks_max] */
};

_Static_assert(sizeof(struct checked_record) == CHECKED_RECORD_BYTES, "as the header says");
_Static_assert(sizeof(struct checked_header) == CHECKED_HEADER_BYTES && CHECKED_HEADER_BYTES == HEAP_ALIGN,
	       "so that what follows is aligned");

#endif
