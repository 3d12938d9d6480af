/* mm/pool.h: a pool of objects of one size, with a bound on how many there are and
 * on how long a call takes. Theory and invariants: top of pool.c.
 *
 * Memory:  the caller lends the metadata and a source of chunks, which are kept
 *          until pool_destroy(). A free object is never written.
 * Threads: any number; each call names its CPU, and no two threads are inside a
 *          call for one CPU of one pool at the same time. An object may be freed on
 *          another CPU than it came from.
 * Errors:  MM_OK or the codes listed; on error nothing changes. */
#ifndef SLAT_MM_POOL_H
#define SLAT_MM_POOL_H

#include "mm/heap.h"
#include "mm/port.h"

#define POOL_OBJECT_BYTES_MAX (1u << 20)
#define POOL_OBJECTS_MAX      (1u << 30)
#define POOL_CPUS_MAX	      1024u
#define POOL_ROUNDS_MAX	      120u
#define POOL_LINE	      64u
#define POOL_WORK	      2012u /* of a call for one object: 60 move, each looked up in 32 chunks, which are also */
/* searched once for a fresh one; of others that for each 60 objects */

struct pool; /* opaque; fields in pool_impl.h */

/* How a pool grows, of whatever kind. Called with no lock held. */
struct pool_source {
	void *self;
	/* `bytes` bytes at a multiple of `align`: MM_OK or MM_ENOMEM. */
	enum mm_err (*take)(void *self, unsigned cpu, size_t bytes, size_t align, void **out);
	void (*give)(void *self, unsigned cpu, void *memory, size_t bytes);
};

struct pool_config {
	uint32_t bytes;	 /* of one object: 1 to POOL_OBJECT_BYTES_MAX */
	uint32_t align;	 /* a power of two up to FRAME_BYTES; POOL_LINE: no two share a cache line; 0: HEAP_ALIGN */
	uint32_t most;	 /* objects that there may be: 1 to POOL_OBJECTS_MAX */
	uint32_t first;	 /* objects of the first chunk; each further one doubles what there is. 0: all in one */
	uint32_t cpus;	 /* 1 to POOL_CPUS_MAX */
	uint32_t rounds; /* free objects that a CPU may keep for itself, out of others' reach: 0 to POOL_ROUNDS_MAX */
	/* The `bytes` bytes that an object holds when it is handed out for the first
	 * time; lent as long as the pool lives. NULL: whatever the source gave. */
	const void *pattern;
	/* Writes the pattern at n places, `stride` apart, the first at `at`. NULL: a
	 * memcpy() each. mm/ has general registers alone; whoever has others may do better. */
	void (*fill)(void *at, const void *pattern, size_t bytes, size_t stride, size_t n);
	struct pool_source source;
	/* Serves what the bound or the source refuses; lent; frees find their way
	 * back. NULL: nothing does. */
	const struct heap *fallback;
};

struct pool_stats {
	uint64_t objects_live;	   /* exact when all is quiet; the fallback's included */
	uint64_t objects_live_max; /* within what the CPUs keep: no fast call counts */
	uint64_t objects_cached;   /* free, kept by CPUs */
	uint64_t objects_free;	   /* free, for everybody; what is being primed included */
	uint64_t objects_fresh;	   /* in chunks, never handed out */
	uint64_t objects_fallback; /* now from the fallback, live or cached */
	uint64_t bytes_asked;	   /* live objects times bytes */
	uint64_t bytes_given;	   /* live objects times what one takes */
	uint64_t bytes_held;	   /* from the source */
	uint64_t chunks, refused;
	uint64_t alloc_work_max, free_work_max; /* objects moved and chunks looked at, of 60 objects or a call, ever */
};

size_t pool_meta_bytes(const struct pool_config *config); /* 0 iff a number is outside its range */

/* Borrows meta (64-byte aligned) until pool_destroy(); asks the source for nothing
 * yet. MM_EINVAL: a number outside its range, meta NULL, misaligned or too small, no
 * source. */
MM_MUST_CHECK enum mm_err pool_init(void *meta, size_t meta_bytes, const struct pool_config *config, struct pool **out);

/* Gives all chunks back. Only while no other call is under way. MM_EBUSY: objects
 * are live (nothing is given back). */
MM_MUST_CHECK enum mm_err pool_destroy(struct pool *p, unsigned cpu);

/* One object; NULL iff there is none within reach and neither source nor fallback
 * give one. What the CPU keeps serves it in a handful of instructions, inlined. */
static inline void *pool_alloc(struct pool *p, unsigned cpu) __attribute__((warn_unused_result));

/* Takes back one object. A wrong or second free is the caller's bug: seen when it
 * leaves the CPU, in every build, and ends in mm_panic(). */
static inline void pool_free(struct pool *p, unsigned cpu, void *object);

/* n objects or none (false). O(n). */
MM_MUST_CHECK bool pool_alloc_many(struct pool *p, unsigned cpu, void **out, size_t n);
void pool_free_many(struct pool *p, unsigned cpu, void *const *objects, size_t n);

/* Up to n more objects get their chunk and their pattern now, so that no later call
 * has to. How many did. Other CPUs' calls go on meanwhile, refused nothing. O(n). */
size_t pool_prime(struct pool *p, unsigned cpu, size_t n);

/* What the CPU keeps becomes everybody's. */
void pool_drain(struct pool *p, unsigned cpu);

struct pool_stats pool_stats_read(const struct pool *p); /* O(cpus) */

/* All invariants of pool.c; only while no other call is under way. O(objects). */
bool pool_check(const struct pool *p);

/* Fault injection: after this call the n-th time that a CPU needs more than it keeps
 * (1 is the next) is refused, once; 0 switches it off. For tests. */
void pool_fail_after(struct pool *p, uint64_t n);

/* ---- No contract from here on: what the usual call needs to be inlined. ---- */

#define POOL_APART  1024u /* from one CPU's part to the next: found by a shift */
#define POOL_CPU_AT 2048u /* CPU 0's, from the start of the pool */

struct pool_front { /* the start of a struct pool */
	unsigned cpus;
};

struct pool_hot {	/* the start of a CPU's part */
	void **top;	/* where the next round goes; only the CPU writes it */
	void **limit;	/* where there is no room any more */
	void *round[1]; /* and more */
};

void *pool_alloc_slow(struct pool *p, unsigned cpu) __attribute__((warn_unused_result));
void pool_free_slow(struct pool *p, unsigned cpu, void *object);

static inline struct pool_hot *pool_hot_of(const struct pool *p, unsigned cpu)
{
	const struct pool_front *front = (const struct pool_front *)p;

	MM_ASSERT(cpu < front->cpus, cpu, front->cpus);
	return (struct pool_hot *)((uintptr_t)p + POOL_CPU_AT + (size_t)cpu * POOL_APART);
}

static inline void *pool_alloc(struct pool *p, unsigned cpu)
{
	struct pool_hot *h = pool_hot_of(p, cpu);
	void **top = __atomic_load_n(&h->top, __ATOMIC_RELAXED);

	if (__builtin_expect(top == h->round, 0))
		return pool_alloc_slow(p, cpu);
	__atomic_store_n(&h->top, top - 1, __ATOMIC_RELAXED);
	return top[-1];
}

static inline void pool_free(struct pool *p, unsigned cpu, void *object)
{
	struct pool_hot *h = pool_hot_of(p, cpu);
	void **top = __atomic_load_n(&h->top, __ATOMIC_RELAXED);

	if (__builtin_expect(top == h->limit, 0)) {
		pool_free_slow(p, cpu, object);
		return;
	}
	*top = object;
	__atomic_store_n(&h->top, top + 1, __ATOMIC_RELAXED);
}

#endif
