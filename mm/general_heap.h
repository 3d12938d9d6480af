/* mm/general_heap.h: a heap for any size over one arena: small sizes from slab
 * caches, one a size class; larger ones runs of frames. Theory: top of
 * general_heap.c.
 *
 * Memory:  the caller lends the arena (which is handed out) and the metadata.
 * Threads: any number, as heap.h says. */
#ifndef SLAT_MM_GENERAL_HEAP_H
#define SLAT_MM_GENERAL_HEAP_H

#include "mm/frames.h"
#include "mm/heap.h"

#define GENERAL_HEAP_SMALL_MAX	 16384u		     /* larger ones are runs of frames, up to 1 GiB */
#define GENERAL_HEAP_ARENA_ALIGN (UINT64_C(1) << 21) /* slabs find their header by address */

struct general_heap; /* opaque; fields in general_heap_impl.h */

struct general_heap_config {
	/* The allocator whose frame n lies at arena + n * FRAME_BYTES; others may
	 * take frames from it as well. Its cpus is the heap's. */
	struct frames *frames;
	uint64_t frame_count; /* as the allocator was made for */
	unsigned cpus;
	/* GENERAL_HEAP_ARENA_ALIGN aligned; alignments beyond are refused unless it is
	 * as far itself. Where memory is identity mapped it is address 0: then let
	 * frame 0 be absent. */
	void *arena;
	bool meta_zero; /* all of meta is 0 already: what stays so is not touched, a byte a frame */
};

/* 0 iff a number is outside its range. */
size_t general_heap_meta_bytes(uint64_t frame_count, unsigned cpus);

/* Borrows meta (64-byte aligned), the arena and the allocator while *out is in
 * use. MM_EINVAL: a number outside its range; meta NULL; meta or arena misaligned or
 * too small. */
MM_MUST_CHECK enum mm_err general_heap_init(void *meta, size_t meta_bytes, const struct general_heap_config *config,
					    struct heap *out);

/* As slab_reap() for each of its caches. */
void general_heap_reap(const struct heap *h, unsigned cpu, bool all);

#endif
