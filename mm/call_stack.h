/* mm/call_stack.h: who called: a stack as the return addresses in it, how one is
 * taken, and a table that keeps each once. Theory: top of call_stack.c.
 *
 * mm/ cannot know how a stack is taken where it is linked: whoever embeds it says
 * so by a source. call_stack_walk() is one way, for code with frame pointers. */
#ifndef SLAT_MM_CALL_STACK_H
#define SLAT_MM_CALL_STACK_H

#include "mm/types.h"

#define CALL_STACK_MAX 64u

/* For a return address, the outermost: there were more calls, which were not recorded. */
#define CALL_STACK_CUT UINT64_MAX

/* Return addresses, innermost first. One that was cut ends with CALL_STACK_CUT if its source says so. */
struct call_stack {
	uint32_t count; /* 0: not known */
	uint64_t pc[CALL_STACK_MAX];
};

/* `take` writes up to `max` return addresses, innermost first, and says how many;
 * those of the allocator's own frames should be left out. Called with no lock held,
 * for each allocation and free: it decides what they cost. take NULL: no stacks. */
struct call_stack_source {
	void *self;
	unsigned (*take)(void *self, uint64_t *pc, unsigned max);
};

/* Follows frame pointers from `frame` (__builtin_frame_address(0) or what it pointed
 * to) outwards. Each must lie in [low, high), the stack's bounds, be a multiple of 8
 * and above the one before, so that it reads nothing else and ends, whatever is on
 * the stack. The first pc is the return address of the function that owns `frame`.
 * An address of 0 ends the stack, too. */
unsigned call_stack_walk(uintptr_t frame, uintptr_t low, uintptr_t high, uint64_t *pc, unsigned max);

/* ---- each stack once ---- */

#define CALL_STACKS_MAX (UINT32_C(1) << 24)

struct call_stacks; /* opaque; fields in call_stack_impl.h */

struct call_stacks_stats {
	uint32_t stacks, stacks_max; /* kept; that fit */
	uint64_t pcs, pcs_max;	     /* of all stacks kept; that fit */
	uint64_t refused;	     /* calls that found no room */
};

/* For stacks_max stacks with pcs_max addresses in all. 0 iff a number is outside its
 * range: 1 to CALL_STACKS_MAX; 1 to CALL_STACK_MAX * stacks_max. What is not used yet
 * is not written either, so that it need not be there. */
size_t call_stacks_meta_bytes(uint32_t stacks_max, uint64_t pcs_max);

/* Borrows meta (64-byte aligned, zeroed) while in use. MM_EINVAL: a number outside
 * its range; meta NULL, misaligned or too small. */
MM_MUST_CHECK enum mm_err call_stacks_init(void *meta, size_t meta_bytes, uint32_t stacks_max, uint64_t pcs_max,
					   struct call_stacks **out);

/* The number of this stack, from 1 in order of first sight; the same for the same
 * addresses for ever. 0: count is 0, or there was no room. Any number of threads; no
 * lock is taken where the stack is known. */
uint32_t call_stacks_number(struct call_stacks *t, const uint64_t *pc, unsigned count);

/* Takes one by `source` and numbers it; 0 too where t is NULL or source has no take. */
uint32_t call_stacks_take(struct call_stacks *t, const struct call_stack_source *source);

/* The stack of a number; count 0 of 0, of a number that was never given, and where t is NULL. */
struct call_stack call_stacks_read(const struct call_stacks *t, uint32_t number);

struct call_stacks_stats call_stacks_stats_read(const struct call_stacks *t);

/* All invariants of call_stack.c; only while no other call is under way. */
bool call_stacks_check(const struct call_stacks *t);

#endif
