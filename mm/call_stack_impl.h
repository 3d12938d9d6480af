/* mm/call_stack_impl.h: the fields behind call_stack.h, for call_stack.c and its own tests. */
#ifndef SLAT_MM_CALL_STACK_IMPL_H
#define SLAT_MM_CALL_STACK_IMPL_H

#include "mm/call_stack.h"
#include "mm/lock.h"

struct call_stacks_entry {
	uint32_t hash;
	uint32_t first; /* where its addresses begin; they end where the next entry's begin */
};

struct call_stacks {
	uint32_t stacks_max, pcs_max, slot_mask;
	struct lock adding;		   /* held while one is added */
	uint32_t stacks;		   /* that are kept: numbers 1 to stacks */
	uint64_t refused;		   /* atomic */
	uint32_t *slots;		   /* [slot_mask + 1]: a number, or 0; atomics */
	struct call_stacks_entry *entries; /* [stacks_max + 2], by number */
	uint64_t *pc;			   /* [pcs_max] */
};

#endif
