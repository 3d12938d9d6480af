/* mm/leak.h: who holds what is live: bytes and allocations by call stack, as a tree
 * whose root is everything. Theory: top of leak.c.
 *
 * With a sample of T bytes, an allocation of s bytes is recorded with probability
 * min(1, s / T), by a die of its own; what is recorded stands for max(s, T) bytes. So
 * every sum is unbiased, and its standard error is known: leak_site.error. With T of
 * 1 (or 0) all is recorded, and the sums are exact.
 *
 * Memory:  LEAK_BLOCK_BYTES for each block that can be recorded at once, and 40 for each stack,
 *	    all lent. What finds no room is counted (unknown), not recorded.
 * Cost:    an allocation that is not sampled: a random number; a free: one load that
 *	    nearly always says no. What is sampled: a stack and a lock. Worst: the chain
 *	    of a bucket, expected below 2.
 * Threads: any number; each call names its CPU as in heap.h. */
#ifndef SLAT_MM_LEAK_H
#define SLAT_MM_LEAK_H

#include "mm/call_stack.h"
#include "mm/heap.h"

#define LEAK_SAMPLE_MAX	 (UINT64_C(1) << 30)
#define LEAK_BLOCKS_MAX	 (UINT32_C(1) << 26)
#define LEAK_BLOCK_BYTES 32u

struct leak; /* opaque; fields in leak_impl.h */

struct leak_config {
	uint64_t sample; /* T: 0 to LEAK_SAMPLE_MAX */
	uint64_t seed;
	unsigned cpus;
	uint32_t blocks_max;	    /* recorded at once: 1 to LEAK_BLOCKS_MAX */
	struct call_stacks *stacks; /* NULL: all is one site that is not known */
	struct call_stack_source source;
};

/* Sums of what is live. Estimates, unless all was recorded. */
struct leak_site {
	uint64_t bytes, allocations;
	uint64_t error;	  /* one standard error of bytes, rounded up; 0: exact */
	uint64_t sampled; /* allocations that were recorded */
};

struct leak_figures {
	struct leak_site all;
	uint64_t unknown, unknown_bytes; /* that found no room since the start: not in `all`, freed or not */
	uint64_t sites;			 /* stacks with something live */
};

size_t leak_meta_bytes(const struct leak_config *config); /* 0 iff a number is outside its range */

/* Borrows meta (64-byte aligned, zeroed) and the stacks while in use. MM_EINVAL: a number
 * outside its range; meta NULL, misaligned or too small. */
MM_MUST_CHECK enum mm_err leak_init(void *meta, size_t meta_bytes, const struct leak_config *config, struct leak **out);

/* `memory` was given for `bytes` (0 counts as 1); after that, and before anybody else
 * can know the address. The same address may not live twice. */
void leak_alloc(struct leak *l, unsigned cpu, const void *memory, size_t bytes);

/* `memory` is about to be given back: before another can get it. One that was not
 * sampled, or never known, is nothing to do. */
void leak_free(struct leak *l, unsigned cpu, const void *memory);

/* Both halves of leak_alloc(), for who serves most without a visit here: the die, which each allocation throws
 * once; and, if it said so, the record. And of leak_free(): false, there is nothing to do. */
bool leak_samples(struct leak *l, unsigned cpu, size_t bytes);
void leak_record(struct leak *l, const void *memory, size_t bytes);
bool leak_may_know(const struct leak *l, const void *memory);

/* A heap over `below` that tells `l` of all that it serves. `out` is as good as the
 * heap below; meta of leak_heap_meta_bytes(), 64-byte aligned, is borrowed meanwhile. A realloc counts as a
 * free and an allocation, at its own call. */
size_t leak_heap_meta_bytes(void);
void leak_heap(void *meta, struct leak *l, const struct heap *below, struct heap *out);

struct leak_figures leak_figures_read(const struct leak *l);
struct leak_site leak_site_read(const struct leak *l, uint32_t stack); /* of call_stacks_number(); 0: not known */

/* ---- the tree ---- */

struct leak_print {
	/* One line without its end. Must not allocate from what is told of. */
	void (*line)(void *self, const char *text, size_t length);
	/* Writes a name of pc, up to `room` bytes, and says how long it is. NULL, or 0: its number in hex. */
	size_t (*name)(void *self, uint64_t pc, char *out, size_t room);
	void *self;
	uint64_t least; /* bytes; the tree leaves smaller branches out, and says what they sum up to */
};

/* For a tree of all stacks of `l` now, and some more that come meanwhile. */
size_t leak_scratch_bytes(const struct leak *l);

/* Both sort all stacks, outermost call first. MM_ENOMEM: the scratch (16-byte aligned) is too small, and
 * nothing was printed. While others allocate, each sum of a site is as it was at some moment of the call, not all at
 * the same one: bytes and allocations may differ by what was under way.
 *
 * The tree: a head, then one line a call, below the call that it was made in, siblings
 * by bytes, most first: bytes, their error (not in exact mode), allocations, name. Stacks
 * that were cut (CALL_STACK_CUT) are below "(deeper calls not recorded)", a root of its own. */
MM_MUST_CHECK enum mm_err leak_print_tree(const struct leak *l, void *scratch, size_t scratch_bytes,
					  const struct leak_print *print);

/* Folded stacks, as flame graphs are made of: "outer;inner;innermost BYTES". */
MM_MUST_CHECK enum mm_err leak_print_folded(const struct leak *l, void *scratch, size_t scratch_bytes,
					    const struct leak_print *print);

bool leak_check(const struct leak *l); /* all invariants of leak.c; only while no other call is under way */

#endif
