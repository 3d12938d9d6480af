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
#include "mm/slab.h"

#define GENERAL_HEAP_CLASSES	 64u
#define GENERAL_HEAP_SMALL_MAX	 16384u		     /* larger ones are runs of frames, up to 1 GiB */
#define GENERAL_HEAP_ARENA_ALIGN (UINT64_C(1) << 21) /* slabs find their header by address */

struct general_heap; /* opaque; fields in general_heap_impl.h */

/* Who owns the arena's memory, where it is not simply there. Each may be NULL.
 * Called with no lock held, by the CPU that calls the heap. */
struct general_heap_host {
	void *self;
	/* There is no run of that order: donates more, so that there may be. False: not
	 * so; without `reaped` it is asked once more after all caches were. */
	bool (*grow)(void *self, unsigned order, bool reaped);
	/* A run that was free belongs to this heap now; is about to be free again, and
	 * its content is of no use. */
	void (*taken)(void *self, struct pfn first, unsigned order);
	void (*given)(void *self, struct pfn first, unsigned order);
};

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
	struct general_heap_host host;
	bool meta_zeroed; /* it is all zeroes, as a host gives it: then only what is needed is touched */
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

/* As slab_flush() for each of its caches, and frames_drain(): nothing free is this CPU's own any more. */
void general_heap_flush(const struct heap *h, unsigned cpu);

/* As slab_abandon() for each of its caches. */
void general_heap_abandon(const struct heap *h, unsigned cpu);

/* For who inlines the usual call: that of a class (general_heap_class()) may go to
 * its cache by slab_alloc() and slab_free() itself; then what was asked is not
 * counted, but as a guess. NULL: nobody has asked this heap for that size yet. */
struct slab_cache *general_heap_cache(const struct heap *h, unsigned class);

/* A byte for each frame of the arena: 1 + the class where a slab lies; 0, or above
 * GENERAL_HEAP_CLASSES, elsewhere. */
const uint8_t *general_heap_kinds(const struct heap *h);

/* The class that serves 1 to GENERAL_HEAP_SMALL_MAX bytes at HEAP_ALIGN. */
static inline unsigned general_heap_class(size_t bytes)
{
	uint32_t x = (uint32_t)bytes - 1;
	unsigned shift = 28u - (unsigned)__builtin_clz(x | 128);

	return (shift - 4) * 8 + (x >> shift);
}

/* How many bytes its objects have. */
static inline size_t general_heap_class_bytes(unsigned class)
{
	return class < 8 ? (class + 1u) << 4 : (class % 8 + 9u) << (class / 8 + 3);
}

#endif
