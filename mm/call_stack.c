/* mm/call_stack.c: stacks of return addresses, each kept once.
 *
 * What it is. A table that only grows: an open-addressed index of numbers by hash,
 * the entries in order of first sight, and all addresses behind one another. So a
 * site is a number of 32 bits to whoever stores one for each block of a heap, and
 * arrays of what is known of each stack can be indexed by it. And a walker of frame
 * pointers that needs nothing of the stack to be true. It does not take stacks by
 * itself, and knows no names.
 *
 * Words. Number: of a stack, from 1. Slot: where the hash of a stack points to; the
 * number is in it or in one of the next, before the first empty one. Entry: hash, and
 * where the addresses begin.
 *
 * Invariants, verified by call_stacks_check():
 *   I1  entries 1 to `stacks` have their addresses behind one another from 0 on, 1 to
 *       CALL_STACK_MAX each, within pcs_max;
 *   I2  each entry's hash is that of its addresses, and looking for it finds it: so
 *       no two are the same;
 *   I3  there are as many slots in use as stacks, and at most half of all.
 *
 * Threads. Adding is under a lock; a slot is written last, with release, and read
 * with acquire: what it numbers is whole, and never changes again. Who looks for a
 * stack that is known takes no lock and writes nothing. Two that add the same at once
 * meet at the lock, where the second looks again.
 *
 * Cost. A known stack: a multiplication for each address, then three lines of the
 * cache: slot, entry, addresses. Runs of slots are short while half are empty: below
 * 2 expected; the worst case is all of them, of hashes that somebody chose. Memory:
 * 4 bytes for each of 2 to 4 slots a stack, 8 an entry, 8 an address; none of it is
 * touched before it is needed.
 *
 * Failure. No room: number 0 (not known), counted; what is kept stays.
 *
 * Rejected. A tree of prefixes, which is what stacks are drawn as: a line of the
 * cache for each address of each call, to save what 8 bytes an address cost. Entries
 * of CALL_STACK_MAX addresses each: where four are taken, three quarters are holes.
 * Replacing old ones when full: a number is a promise. */
#include "mm/call_stack_impl.h"
#include "mm/port.h"

#define FRAME_POINTER_STEP 8u

/* The saved frame pointer, and above it the return address. */
static bool frame_lies_in(uintptr_t frame, uintptr_t low, uintptr_t high)
{
	return frame % FRAME_POINTER_STEP == 0 && frame >= low && frame < high && high - frame >= 2 * sizeof(uint64_t);
}

unsigned call_stack_walk(uintptr_t frame, uintptr_t low, uintptr_t high, uint64_t *pc, unsigned max)
{
	unsigned count = 0;

	while (count < max && frame_lies_in(frame, low, high)) {
		const uint64_t *at = (const uint64_t *)frame;

		if (at[1] == 0)
			break;
		pc[count++] = at[1];
		low = frame + FRAME_POINTER_STEP;
		frame = at[0];
	}
	return count;
}

/* ---- the table ---- */

static size_t line_up(size_t bytes)
{
	return (bytes + 63) & ~(size_t)63;
}

static bool in_range(uint32_t stacks_max, uint64_t pcs_max)
{
	return stacks_max - 1 < CALL_STACKS_MAX && pcs_max - 1 < (uint64_t)stacks_max * CALL_STACK_MAX;
}

/* A power of two, at least twice what is kept. */
static uint32_t slots_of(uint32_t stacks_max)
{
	return UINT32_C(2) << (32 - __builtin_clz(stacks_max | 1));
}

static size_t slots_bytes(uint32_t stacks_max)
{
	return line_up(slots_of(stacks_max) * sizeof(uint32_t));
}

static size_t entries_bytes(uint32_t stacks_max)
{
	return line_up(((size_t)stacks_max + 2) * sizeof(struct call_stacks_entry));
}

size_t call_stacks_meta_bytes(uint32_t stacks_max, uint64_t pcs_max)
{
	if (!in_range(stacks_max, pcs_max))
		return 0;
	return line_up(sizeof(struct call_stacks)) + slots_bytes(stacks_max) + entries_bytes(stacks_max) +
	       line_up(pcs_max * sizeof(uint64_t));
}

enum mm_err call_stacks_init(void *meta, size_t meta_bytes, uint32_t stacks_max, uint64_t pcs_max,
			     struct call_stacks **out)
{
	size_t need = call_stacks_meta_bytes(stacks_max, pcs_max);
	unsigned char *at = meta;
	struct call_stacks *t = meta;

	if (need == 0 || !meta || (uintptr_t)meta % 64 || meta_bytes < need)
		return MM_EINVAL;
	at += line_up(sizeof(*t));
	*t = (struct call_stacks){.stacks_max = stacks_max,
				  .pcs_max = (uint32_t)pcs_max,
				  .slot_mask = slots_of(stacks_max) - 1,
				  .slots = (uint32_t *)at};
	at += slots_bytes(stacks_max);
	t->entries = (struct call_stacks_entry *)at;
	t->pc = (uint64_t *)(at + entries_bytes(stacks_max));
	*out = t;
	return MM_OK;
}

static uint32_t hash_of(const uint64_t *pc, unsigned count)
{
	uint64_t hash = count;

	for (unsigned i = 0; i < count; i++) {
		hash = (hash ^ pc[i]) * UINT64_C(0x9e3779b97f4a7c15);
		hash ^= hash >> 29;
	}
	return (uint32_t)(hash >> 32 ^ hash);
}

static uint32_t count_of(const struct call_stacks *t, uint32_t number)
{
	return t->entries[number + 1].first - t->entries[number].first;
}

static bool is_stack(const struct call_stacks *t, uint32_t number, uint32_t hash, const uint64_t *pc, unsigned count)
{
	const struct call_stacks_entry *e = &t->entries[number];

	return e->hash == hash && count_of(t, number) == count &&
	       __builtin_memcmp(&t->pc[e->first], pc, count * sizeof(*pc)) == 0;
}

/* The slot that has it, or the empty one where it would be. *number: 0 then. */
static uint32_t *slot_of(const struct call_stacks *t, uint32_t hash, const uint64_t *pc, unsigned count,
			 uint32_t *number)
{
	for (uint32_t i = hash;; i++) {
		uint32_t *slot = &t->slots[i & t->slot_mask];

		*number = __atomic_load_n(slot, __ATOMIC_ACQUIRE);
		if (*number == 0 || is_stack(t, *number, hash, pc, count))
			return slot;
	}
}

/* With the lock held. */
static uint32_t add(struct call_stacks *t, uint32_t *slot, uint32_t hash, const uint64_t *pc, unsigned count)
{
	uint32_t number = t->stacks + 1;
	struct call_stacks_entry *e = &t->entries[number];

	if (number > t->stacks_max || count > t->pcs_max - e->first) {
		__atomic_add_fetch(&t->refused, 1, __ATOMIC_RELAXED);
		return 0;
	}
	__builtin_memcpy(&t->pc[e->first], pc, count * sizeof(*pc));
	e->hash = hash;
	e[1].first = e->first + count;
	__atomic_store_n(&t->stacks, number, __ATOMIC_RELEASE);
	__atomic_store_n(slot, number, __ATOMIC_RELEASE);
	return number;
}

uint32_t call_stacks_number(struct call_stacks *t, const uint64_t *pc, unsigned count)
{
	uint32_t hash, number, *slot;

	MM_ASSERT(count <= CALL_STACK_MAX, count, CALL_STACK_MAX);
	if (count == 0)
		return 0;
	hash = hash_of(pc, count);
	slot_of(t, hash, pc, count, &number);
	if (__builtin_expect(number != 0, 1))
		return number;
	lock_take(&t->adding);
	slot = slot_of(t, hash, pc, count, &number);
	if (number == 0)
		number = add(t, slot, hash, pc, count);
	lock_drop(&t->adding);
	return number;
}

uint32_t call_stacks_take(struct call_stacks *t, const struct call_stack_source *source)
{
	uint64_t pc[CALL_STACK_MAX];

	if (!t || !source->take)
		return 0;
	return call_stacks_number(t, pc, source->take(source->self, pc, CALL_STACK_MAX));
}

struct call_stack call_stacks_read(const struct call_stacks *t, uint32_t number)
{
	struct call_stack stack = {.count = 0};

	if (!t || number - 1 >= __atomic_load_n(&t->stacks, __ATOMIC_ACQUIRE))
		return stack;
	stack.count = count_of(t, number);
	__builtin_memcpy(stack.pc, &t->pc[t->entries[number].first], stack.count * sizeof(*stack.pc));
	return stack;
}

struct call_stacks_stats call_stacks_stats_read(const struct call_stacks *t)
{
	uint32_t stacks = __atomic_load_n(&t->stacks, __ATOMIC_ACQUIRE);

	return (struct call_stacks_stats){.stacks = stacks,
					  .stacks_max = t->stacks_max,
					  .pcs = t->entries[stacks + 1].first,
					  .pcs_max = t->pcs_max,
					  .refused = __atomic_load_n(&t->refused, __ATOMIC_RELAXED)};
}

/* ---- what must hold ---- */

static bool entry_holds(const struct call_stacks *t, uint32_t number)
{
	const struct call_stacks_entry *e = &t->entries[number];
	uint32_t count = count_of(t, number), found;

	if (count - 1 >= CALL_STACK_MAX || e[1].first > t->pcs_max)
		return false;
	if (e->hash != hash_of(&t->pc[e->first], count))
		return false;
	slot_of(t, e->hash, &t->pc[e->first], count, &found);
	return found == number;
}

bool call_stacks_check(const struct call_stacks *t)
{
	uint32_t used = 0;

	for (uint32_t i = 0; i <= t->slot_mask; i++) {
		if (t->slots[i] > t->stacks)
			return false;
		used += t->slots[i] != 0;
	}
	if (used != t->stacks || t->stacks > t->stacks_max || t->entries[1].first != 0)
		return false;
	for (uint32_t number = 1; number <= t->stacks; number++)
		if (!entry_holds(t, number))
			return false;
	return true;
}
