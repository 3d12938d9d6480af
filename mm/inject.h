/* mm/inject.h: a heap over any heap that refuses when it is told to: the n-th time,
 * now and then, or where a given function asks. For whoever must survive it: in tests, and in
 * any program (vmm/preload_modes.h).
 *
 * Refused is an allocation, or a growth beyond heap_usable(), as by heap_fail_after();
 * nothing below is asked then. Rules add up: what any of them refuses is refused.
 * Cost: an atomic add and three loads while no rule but the n-th is set. Threads: as the heap below; rules are set
 * while nobody else calls. */
#ifndef SLAT_MM_INJECT_H
#define SLAT_MM_INJECT_H

#include "mm/call_stack.h"
#include "mm/heap.h"

struct inject_refusal {
	uint64_t nth;	     /* of what was asked since inject_init(), from 1 on */
	size_t bytes, align; /* align 0: a growth, by heap_realloc() */
};

struct inject { /* private: inject.c */
	struct heap_ops ops;
	struct heap below;
	struct call_stack_source source;
	uint64_t nth, asked, refused, random;
	uint32_t per_million;
	uint64_t site_low, site_high, site_nth;
	bool site_each;
	void (*told)(void *self, const struct inject_refusal *refusal);
	void *told_self;
};

struct inject_stats {
	uint64_t asked;	  /* allocations and growths since inject_init() */
	uint64_t refused; /* of these, by any rule; what the heap below refuses is not counted */
};

/* *self and the heap below are borrowed while *out is in use. source.take NULL: no sites. */
void inject_init(struct inject *self, const struct heap *below, const struct call_stack_source *source,
		 struct heap *out);

/* The n-th from now on, once; 0: none. The same as heap_fail_after(). */
void inject_nth(struct inject *self, uint64_t n);

/* Each with a chance of per_million in 1,000,000, by the seed: the same run refuses the same. 0: none. */
void inject_chance(struct inject *self, uint32_t per_million, uint64_t seed);

/* The n-th, once, of those whose stack has an address in [low, high); n 0: each of them. low == high: none. */
void inject_site(struct inject *self, uint64_t low, uint64_t high, uint64_t n);

/* Called at each refusal by a rule, on the thread and the stack that asked, with no lock held. NULL: nobody is. */
void inject_tell(struct inject *self, void (*told)(void *told_self, const struct inject_refusal *refusal),
		 void *told_self);

struct inject_stats inject_stats_read(const struct inject *self);

#endif
