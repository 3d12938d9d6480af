/* vmm/host.h: the host's pools, one per memory node, and the blocks cut from them.
 * A pool is one run of frames over one mapping. Each has a base of its own in
 * one number space of the whole host, so that a frame number names its pool.
 * A device-dax has its physical frames in it; all others have numbers of slat's.
 * Threads: one. */
#ifndef SLAT_VMM_HOST_H
#define SLAT_VMM_HOST_H

#include "mm/extent.h"
#include "mm/pagetable.h"
#include "vmm/backing.h"
#include "vmm/memory.h"
#include "vmm/numa.h"

/* Pool bases are 1 TiB apart: node n starts at (n + 1) TiB, so 46 bits of physical address hold 63 nodes of up to
 * 1 TiB each. Ids beyond begin at node 0's again, and take what nobody has. */
#ifdef __SANITIZE_THREAD__ /* leaves a process 512 GiB in a row, and a mirror is as large as all numbers */
#define HOST_POOL_SHIFT 33u
#define HOST_PHYS_BITS	39u
#else
#define HOST_POOL_SHIFT 40u
#define HOST_PHYS_BITS	46u
#endif
#define HOST_NODES_MAX	    63u
#define HOST_POOL_BYTES_MAX (UINT64_C(1) << HOST_POOL_SHIFT)
#define HOST_POOLS_MAX	    (NUMA_NODES_MAX + 1u)

/* Instead of a node: the pool of table pages, in the TiB below the first node's. */
#define HOST_TABLES UINT32_MAX

_Static_assert((UINT64_C(1) + HOST_NODES_MAX) << HOST_POOL_SHIFT <= UINT64_C(1) << HOST_PHYS_BITS, "they fit");

struct pool {
	unsigned node; /* of a device-dax: where it is, if the host says so */
	bool prefault; /* of the config */
	struct pfn base;
	struct backing backing;
	struct extent_space *space; /* in frames, from base.n */
	void *space_meta;
};

struct block { /* owned by one guest */
	struct pool *pool;
	struct pfn first;
	uint64_t bytes;
	uint8_t *host;
};

struct host {
	struct memory *memory; /* for the books of its pools */
	struct numa numa;
	uint8_t *mirror; /* where the frame of number 0 would lie; NULL: each pool lies where it was mapped */
	uint64_t mirror_bytes;
	unsigned pools;
	struct pool pool[HOST_POOLS_MAX]; /* pools of them; the others are not even touched */
};

/* Finds the nodes; no pool yet. Borrows memory. EXIT_HOST iff the nodes cannot be used. */
int host_open(struct host *h, struct memory *memory, struct failure *f);
void host_close(struct host *h); /* fine on a half-built one */

/* From now on pools lie in one range of addresses, each where its numbers say: mirror + 4096 * number. So one struct
 * ram reaches all of them, and one table maps them: it takes leaves of the largest page of any, and the numbers of a
 * pool of smaller ones are out of step with guest addresses by one of its pages, so that none of its leaves is larger
 * than that (but of a device-dax: its numbers are physical, and leaves as large as they are right for a CPU).
 * Before the first pool. EXIT_HOST iff the process may not have so many addresses. */
int host_mirror(struct host *h, struct failure *f);

/* The guests' pool that has this frame; NULL: none. O(pools). */
const struct pool *host_pool_of(const struct host *h, struct pfn frame);

struct pool_config {
	struct backing_config backing;
	bool prefault;	   /* whoever maps it for a guest touches what it maps */
	uint64_t gpa;	   /* with a mirror: where the guest is to have its first byte */
	uint32_t segments; /* live blocks and the holes between them, at most; 0: some hundred */
};

/* Opens a pool on `node` (one of h->numa.node, or HOST_TABLES: wherever the kernel puts it). A second pool of a node,
 * or one whose numbers a device-dax has, gets the next numbers that nobody has; of a device-dax there is no choice, so
 * these are better opened first. EXIT_HOST with one sentence iff the host refuses, the pool is too large, there are
 * HOST_POOLS_MAX, or no numbers are left; or as backing_open(). */
int host_add_pool(struct host *h, unsigned node, const struct pool_config *config, struct pool **out,
		  struct failure *f);

/* What a device-dax's last user left there becomes 0, which is not undone by a refusal: so it comes when nothing is
 * left to be refused, and before a guest has any of it. As backing_clear(). */
int host_clear(const struct host *h, struct failure *f);

/* One contiguous block from the smallest hole that holds it, aligned to the pool's largest page. EXIT_HOST iff no hole
 * is long enough: the sentence has the largest. */
int pool_alloc(struct pool *p, uint64_t bytes, struct block *out, struct failure *f);
void pool_free(struct block *b);

/* Exactly these bytes of the pool, counted from its start, for nobody: a history. EXIT_USAGE with one sentence iff they
 * are not free, or not within it. */
int pool_take(struct pool *p, uint64_t start, uint64_t bytes, struct failure *f);

struct block pool_block(struct pool *p, struct extent run); /* of frames that the caller took from p->space */

#endif
