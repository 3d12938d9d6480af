/* mm/frames.h: the page-frame allocator for many CPUs. Theory and invariants: top of frames.c.
 *
 * Allocates numbers, not memory: runs of 2^order frames, aligned to their
 * length, within [0, frame_count), given as they are asked for: who rounds a length up
 * to an order knows what it was (heap_stats). Stacks of each CPU's own in front; behind
 * them a core without locks, in which every change of state is one atomic word.
 * Memory:  the caller lends the shared state: indices only, so that another
 *          party may map it elsewhere and frames_attach() to it. No frame is
 *          read. At most 2 bits a frame, stacks included, from 2^18 frames on
 *          and up to 16 CPUs (frames_meta_bytes() is the truth).
 * Threads: any number; each call names its CPU, and no two threads are inside a
 *          call for one CPU at the same time (a vCPU that cannot be preempted, or
 *          a thread that owns the number).
 * Errors:  MM_OK or the codes listed; on error nothing that a caller can see
 *          changes. */
#ifndef SLAT_MM_FRAMES_H
#define SLAT_MM_FRAMES_H

#include "mm/types.h"

#define FRAMES_ORDER_MAX 18u /* 1 GiB */
#define FRAMES_ORDER_2M	 9u
#define FRAMES_ORDER_1G	 18u
#define FRAMES_CPUS_MAX	 1024u

struct frames_shared; /* opaque; fields in frames_impl.h */

struct frames_config {
	uint64_t frame_count; /* 1 to 2^32 - 1 */
	unsigned cpus;	      /* 1 to FRAMES_CPUS_MAX */
	/* Returns after every CPU that runs in a frames call has passed a full
	 * memory barrier (membarrier(2), or an IPI). With it, a CPU that finds no
	 * run empties the stacks of the others at once; NULL: it asks them to, and
	 * each does at its next call. */
	void (*barrier)(void *self);
	void *barrier_self;
	bool meta_zeroed; /* it is all zeroes, as a host gives it: then only what is needed is touched */
};

struct frames { /* one party's handle; the caller's own memory; fields are for frames.c */
	struct frames_shared *shared;
	void (*barrier)(void *self);
	void *barrier_self;
};

struct frames_stats {
	uint64_t frames_total;	  /* ever donated */
	uint64_t frames_free;	  /* in the core and in stacks */
	uint64_t frames_free_min; /* least in the core since the last donation: what lay in stacks counts as taken */
	uint64_t frames_cached;	  /* of those, in the CPUs' stacks */
	uint64_t runs_free[FRAMES_ORDER_MAX + 1]; /* maximal aligned runs in the core, by order */
	uint64_t drains;			  /* of a CPU's stacks, since init */
	uint64_t meta_bytes;
};

/* Bytes of shared state; 0 iff a number is outside its range. */
size_t frames_meta_bytes(uint64_t frame_count, unsigned cpus);

/* Borrows meta (64-byte aligned) while *out is in use; nothing to destroy. Every
 * frame starts absent. MM_EINVAL: a number outside its range; meta NULL,
 * misaligned or too small. Before any other thread knows of it. */
MM_MUST_CHECK enum mm_err frames_init(struct frames *f, void *meta, size_t meta_bytes,
				      const struct frames_config *config);

/* A second handle on a state that lies at `meta` here. MM_EINVAL: it is none. */
MM_MUST_CHECK enum mm_err frames_attach(struct frames *f, void *meta, size_t meta_bytes, void (*barrier)(void *self),
					void *barrier_self);

/* Gives the frames [first, first + frames), none of which it had before; any
 * range. One caller at a time, beside any number of others. O(frames / 64).
 * MM_EINVAL: empty or outside. MM_EEXIST: one of them was given before and is
 * free now (one that is taken cannot be told from an absent one). */
MM_MUST_CHECK enum mm_err frames_donate(struct frames *f, struct pfn first, uint64_t frames);

/* A free run of 2^order frames. From a CPU's stack: a handful of instructions,
 * no atomic read-modify-write. From the core: the run is cut where it costs the
 * large runs least, as a buddy would.
 * MM_EINVAL: cpu or order. MM_ENOMEM: no such run was found, all stacks within
 * reach drained. (Runs that another CPU is just taking or freeing may be missed.) */
MM_MUST_CHECK enum mm_err frames_alloc(struct frames *f, unsigned cpu, unsigned order, struct pfn *out);

/* Takes back a run as it was given. MM_EINVAL: cpu, order, outside or misaligned.
 * MM_ESTATE: the core sees that it is not taken. (A double free that only passes
 * through a stack is seen when it reaches the core, and ends in mm_panic().) */
MM_MUST_CHECK enum mm_err frames_free(struct frames *f, unsigned cpu, struct pfn first, unsigned order);

/* Bulk: n single frames. alloc gives as many as there are and returns how many;
 * free takes all (a wrong one is mm_panic(): the caller's bug). */
uint32_t frames_alloc_bulk(struct frames *f, unsigned cpu, struct pfn *out, uint32_t n);
void frames_free_bulk(struct frames *f, unsigned cpu, const struct pfn *first, uint32_t n);

/* Empties this CPU's stacks into the core: before it idles or goes away. */
void frames_drain(struct frames *f, unsigned cpu);

struct frames_stats frames_stats_read(const struct frames *f); /* O(frame_count / 64 + cpus); exact when all is quiet */

/* All invariants of frames.c; only while no other call is under way. O(frame_count / 64).
 * Marks the runs in stacks while it looks, and undoes that: the state must be writable. */
bool frames_check(const struct frames *f);

/* Fault injection: after this call the n-th allocation that reaches the core (1
 * is the next) finds nothing, once; 0 switches it off. For tests. */
void frames_fail_after(struct frames *f, uint64_t n);

#endif
