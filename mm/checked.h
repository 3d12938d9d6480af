/* mm/checked.h: a heap over any heap that finds what its callers do wrong, and says
 * which line allocated, which freed, and which is at it now. Theory: top of checked.c.
 *
 * Switched on for one heap, at run time: give callers this heap instead of the one
 * below. What it finds is reported; then it goes on as if the wrong call had not been
 * made, or the wrong bytes had not been written, so that each bug is told once.
 *   at once:	    double free, free of a middle, of foreign memory, on the wrong heap,
 *		    of more bytes than were asked for
 *   at free, realloc, check: writes next to the block, within the redzones: from the
 *		    first byte that was not asked for on
 *   by and by:	    writes to what was freed, while it is quarantined: at the next call
 *		    that reads there, and at the latest when it leaves
 * It does not see reads, writes of the very bytes that lie there, nor writes that jump
 * over a redzone.
 *
 * Cost:    of each allocation 16 bytes and two redzones, rounded up to 16, beside it;
 *	    a record of CHECKED_RECORD_BYTES elsewhere; for alignments above 16, up to
 *	    as much again. Quarantined memory counts as held. Alloc and free: a stack
 *	    taken and looked up, one lock (free: two), 2 redzones written or read,
 *	    up to scan_bytes of quarantine read; free writes all bytes up to CHECKED_POISON_MAX
 *	    and reads them again when they leave. A growth below 16 KiB always moves.
 * Threads: as the heap below; one lock for all. */
#ifndef SLAT_MM_CHECKED_H
#define SLAT_MM_CHECKED_H

#include "mm/call_stack.h"
#include "mm/heap.h"

#define CHECKED_RECORD_BYTES	32u
#define CHECKED_HEADER_BYTES	16u /* below the redzone before each block */
#define CHECKED_REDZONE_DEFAULT 16u
#define CHECKED_REDZONE_MAX	4096u
#define CHECKED_BLOCKS_MAX	(UINT32_C(1) << 26)
#define CHECKED_POISON_MAX	65536u /* of a longer block only so many bytes are poisoned, and watched */

enum checked_kind {
	CHECKED_OVERRUN,	/* bytes behind the block were written */
	CHECKED_UNDERRUN,	/* bytes before it */
	CHECKED_USE_AFTER_FREE, /* bytes of it, after it was freed */
	CHECKED_DOUBLE_FREE,	/* it was freed, or resized, after it was freed */
	CHECKED_MIDDLE,		/* what was freed or resized is the inside of a block */
	CHECKED_FOREIGN,	/* it lies in no block of this heap */
	CHECKED_WRONG_HEAP,	/* it is a block of another checked heap */
	CHECKED_WRONG_SIZE,	/* the length that a free named is above what was asked for */
	CHECKED_KINDS,
};

struct checked_report {
	enum checked_kind kind;
	const void *at;	   /* the address that the call named, or the first byte that is wrong */
	const void *block; /* the block; NULL: none is known */
	size_t bytes;	   /* what was asked for it; of a wrong size: what the call named is in length */
	int64_t offset;	   /* of `at` from its start: below 0 before it, from `bytes` on behind it */
	size_t length;	   /* from the first byte that is wrong to the last; 1 where none is */
	struct call_stack allocated, freed, now; /* count 0: not known, or not freed */
};

struct checked_config {
	struct heap below;
	/* Where reading never faults: [low, high), and elsewhere what `readable` says of
	 * [at, end). A block of the heap below is so while it lives. NULL: nowhere else; and
	 * low and high 0, too: everywhere. */
	uintptr_t low, high;
	bool (*readable)(void *self, uintptr_t at, uintptr_t end);
	void *readable_self;
	uint32_t blocks_max;	   /* live and quarantined at once: 1 to CHECKED_BLOCKS_MAX */
	uint64_t quarantine_bytes; /* of blocks and redzones; 0: nothing is kept */
	size_t redzone_bytes;	   /* on either side: a multiple of 16 up to CHECKED_REDZONE_MAX; 0: the default */
	/* Of quarantine, read at each alloc and free; 0: 32; SIZE_MAX: all. Each block counts
	 * as 64 more than it has: what is less than that is saved up. Blocks that leave are
	 * read whole, which counts towards it, up to 1024 in advance: where each free lets
	 * one out that counts as much as two calls would read, no others are read. */
	size_t scan_bytes;
	struct call_stacks *stacks; /* may be shared; of one that names a wrong heap it must be. NULL: no sites */
	struct call_stack_source source;
	/* Called in the thread that made the call, with no lock held; may allocate, but
	 * not from this heap. NULL: mm_panic(). */
	void (*report)(void *self, const struct checked_report *r);
	void *report_self;
};

struct checked_stats {
	uint64_t reports[CHECKED_KINDS];
	uint64_t blocks;	    /* live */
	uint64_t quarantine_blocks; /* freed, and kept */
	uint64_t quarantine_bytes;
	uint64_t bytes_beside; /* headers, redzones and rounding of live blocks */
	uint64_t bytes_records;
};

size_t checked_meta_bytes(uint32_t blocks_max); /* 0 iff outside its range; untouched where few live */

/* Borrows meta (64-byte aligned, zeroed) and the heap below while *out is in use.
 * MM_EINVAL: a number outside its range; meta NULL, misaligned or too small.
 * *out is a heap as heap.h says; heap_usable() is what was asked for, to the byte.
 * NULL also where blocks_max are live. heap_check() reads every redzone and all
 * quarantine, reports, and is false if anything was wrong. */
MM_MUST_CHECK enum mm_err checked_init(void *meta, size_t meta_bytes, const struct checked_config *config,
				       struct heap *out);

/* As heap_usable(), but with no lock, and of the block's header and record alone: 0 iff those do not say that it
 * lives, which is no verdict. Needs that header and redzone before `memory` can be read, and, as heap_usable(), that
 * nobody frees or resizes the block meanwhile. */
size_t checked_known(const struct heap *h, const void *memory);

/* Looks at all that is quarantined, and gives it back. */
void checked_drain(const struct heap *h, unsigned cpu);

/* The caller's part of heap_check(): every redzone, and all quarantine. O(blocks), where
 * the invariants below may be O(frames). As heap_check(), only while no other call is under
 * way: blocks that come and go meanwhile would be told as bugs. */
bool checked_look(const struct heap *h);

struct checked_stats checked_stats_read(const struct heap *h);

const char *checked_kind_name(enum checked_kind kind); /* "use after free" */

#endif
