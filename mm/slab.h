/* mm/slab.h: caches of objects of one size. Theory and invariants: top of slab.c.
 *
 * After Bonwick, "The Slab Allocator" (1994), and Bonwick and Adams, "Magazines
 * and Vmem" (2001): slabs of objects, a depot of magazines, two magazines a CPU.
 * Memory:  the caller lends the struct's metadata and a source of slabs; a free
 *          object is never written, so that what a constructor made stays made.
 * Threads: any number; each call names its CPU, and no two threads are inside a
 *          call for one CPU of one cache at the same time. An object may be freed
 *          on another CPU than it came from.
 * Errors:  MM_OK or the codes listed; on error nothing changes. */
#ifndef SLAT_MM_SLAB_H
#define SLAT_MM_SLAB_H

#include "mm/port.h"
#include "mm/types.h"

#define SLAB_OBJECT_BYTES_MAX 65536u
#define SLAB_ORDER_MAX	      9u /* a slab is at most 2 MiB */

struct slab_cache; /* opaque; fields in slab_impl.h */

/* Where slabs come from: runs of 2^order frames, aligned to their own length.
 * Called with no lock of the cache held; from any CPU that calls the cache. */
struct slab_source {
	void *self;
	enum mm_err (*take)(void *self, unsigned cpu, unsigned order, void **out); /* MM_OK or MM_ENOMEM */
	void (*give)(void *self, unsigned cpu, unsigned order, void *slab);
};

struct slab_config {
	uint32_t bytes; /* of one object: 1 to SLAB_OBJECT_BYTES_MAX */
	uint32_t align; /* a power of two up to FRAME_BYTES; 0: 16, or a cache line for what is larger */
	unsigned cpus;	/* 1 or more */
	/* Runs once for each object when its slab is made, and must leave nothing
	 * that needs undoing; NULL: objects start as the source's bytes. */
	void (*construct)(void *self, void *object);
	void *construct_self;
	struct slab_source source;
	bool meta_zeroed; /* it is all zeroes, as a host gives it: then only what is needed is touched */
	bool uncoloured;  /* all slabs begin their objects at the same place: then addresses alone tell who is one */
};

struct slab_stats {
	uint64_t objects_live;	   /* exact when all is quiet, else within the magazines' content */
	uint64_t objects_live_max; /* within the magazines' content: no fast call counts */
	uint64_t objects_cached;   /* free, in magazines */
	uint64_t objects_free;	   /* free, in slabs */
	uint64_t slabs, slabs_empty;
	uint64_t bytes_asked;	  /* live objects times bytes */
	uint64_t bytes_given;	  /* live objects times what one takes: its bytes, aligned and coloured */
	uint64_t bytes_held;	  /* from the source, magazines included */
	uint32_t magazine_rounds; /* how many objects a magazine holds now */
	uint64_t depot_contended; /* times that a CPU found the depot busy */
};

size_t slab_meta_bytes(unsigned cpus); /* 0 iff cpus is 0 or above 1024 */

/* Borrows meta (64-byte aligned) until slab_destroy(). MM_EINVAL: a number
 * outside its range, meta NULL, misaligned or too small, no source. */
MM_MUST_CHECK enum mm_err slab_init(void *meta, size_t meta_bytes, const struct slab_config *config,
				    struct slab_cache **out);

/* Gives every slab and magazine back. Only while no other call is under way.
 * MM_EBUSY: objects are live (nothing is given back). */
MM_MUST_CHECK enum mm_err slab_destroy(struct slab_cache *c);

/* One object; NULL iff the source has no more. From a magazine: a handful of
 * instructions, inlined, no atomic read-modify-write, the object is not touched. */
static inline void *slab_alloc(struct slab_cache *c, unsigned cpu) __attribute__((warn_unused_result));

/* Takes back one object of this cache. One that is not of it, or free already, is
 * the caller's bug: seen where it reaches a slab, in every build, and ends in
 * mm_panic(). */
static inline void slab_free(struct slab_cache *c, unsigned cpu, void *object);

/* Ends a working-set interval: magazines that nobody needed since the last call,
 * and slabs that stayed empty, go back to the source. Any thread, by its CPU's
 * number; a second or so apart. With `all`, everything that is free and within
 * reach (this CPU's magazines and the depot) goes back now, and other CPUs are
 * asked to send theirs at their next call. */
void slab_reap(struct slab_cache *c, unsigned cpu, bool all);

/* What lies in this CPU's magazines goes back to the slabs: for one that idles, or goes
 * away. Slabs that are empty then wait for slab_reap(). */
void slab_flush(struct slab_cache *c, unsigned cpu);

/* Its owner vanished, perhaps in the midst of an inlined call (a fork takes one thread
 * along): what lay in that CPU's magazines is lost, and counts as live. Only while
 * nobody else is inside any call that is not inlined. */
void slab_abandon(struct slab_cache *c, unsigned cpu);

/* Where objects begin in the slabs of an uncoloured cache: the same for as long as it lives. */
struct slab_layout {
	uint64_t inverse;    /* ceil(2^64 / distance), so that multiples of the distance become what is below it */
	uint32_t mask, head; /* of an address: its place in a slab; the place of the first object */
};
struct slab_layout slab_layout_of(const struct slab_cache *c);

/* Whether an object begins at `at`, which lies in a slab. Beside the objects the answer means nothing. */
static inline bool slab_layout_starts(const struct slab_layout *layout, uintptr_t at)
{
	return ((at & layout->mask) - (uint64_t)layout->head) * layout->inverse < layout->inverse;
}

unsigned slab_order(const struct slab_cache *c); /* of the runs of frames that its objects' slabs are */

struct slab_stats slab_stats_read(const struct slab_cache *c); /* O(cpus) */

/* All invariants of slab.c; only while no other call is under way. O(objects). */
bool slab_check(const struct slab_cache *c);

/* Fault injection: after this call the n-th time that the source is asked (1 is
 * the next) counts as refused, once; 0 switches it off. For tests. */
void slab_fail_after(struct slab_cache *c, uint64_t n);

/* ---- No contract from here on: what the usual call needs to be inlined. ---- */

#define SLAB_APART  128u  /* from one CPU's part to the next: found by a shift */
#define SLAB_CPU_AT 1280u /* CPU 0's, from the start of the cache */

struct slab_front { /* the start of a struct slab_cache */
	unsigned cpus;
};

struct slab_hot {		/* the start of a CPU's part */
	void **top;		/* of the loaded magazine: where the next round goes; only the CPU writes it */
	void **bottom, **limit; /* its base and end, or all ones and 0 for who must look at more than top */
};

/* The whole call, whatever it takes. */
void *slab_alloc_slow(struct slab_cache *c, unsigned cpu) __attribute__((warn_unused_result));
void slab_free_slow(struct slab_cache *c, unsigned cpu, void *object);

static inline struct slab_hot *slab_hot_of(struct slab_cache *c, unsigned cpu)
{
	const struct slab_front *front = (const struct slab_front *)c;

	MM_ASSERT(cpu < front->cpus, cpu, front->cpus);
	return (struct slab_hot *)((char *)c + SLAB_CPU_AT + (size_t)cpu * SLAB_APART);
}

static inline void *slab_alloc(struct slab_cache *c, unsigned cpu)
{
	struct slab_hot *h = slab_hot_of(c, cpu);
	void **top = __atomic_load_n(&h->top, __ATOMIC_RELAXED);

	if (__builtin_expect(top <= __atomic_load_n(&h->bottom, __ATOMIC_RELAXED), 0))
		return slab_alloc_slow(c, cpu);
	__atomic_store_n(&h->top, top - 1, __ATOMIC_RELAXED);
	return top[-1];
}

static inline void slab_free(struct slab_cache *c, unsigned cpu, void *object)
{
	struct slab_hot *h = slab_hot_of(c, cpu);
	void **top = __atomic_load_n(&h->top, __ATOMIC_RELAXED);

	if (__builtin_expect(top >= __atomic_load_n(&h->limit, __ATOMIC_RELAXED), 0)) {
		slab_free_slow(c, cpu, object);
		return;
	}
	*top = object;
	__atomic_store_n(&h->top, top + 1, __ATOMIC_RELAXED);
}

#endif
