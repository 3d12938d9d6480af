/* devices/flight.c: which ranges of an address space DMA is using right now.
 *
 * What it is. A fixed set of slots that one user fills and empties, and that any
 * number of takers look at without a lock. It is no lock: the user never
 * waits, and a taker waits only for the uses that it found.
 *
 * Words. A use is the time from flight_begin() to flight_end() of one slot; each
 * has a serial, in the order in which they began. A taker is whoever took
 * something away that uses may still be reading through.
 *
 * Invariants, all of them verified by flight_check():
 *   I1  a slot is used (its bit is set) or on the free list, which has no loop;
 *   I2  `live` slots are used;
 *   I3  a used slot has first <= last, and a serial below the next one.
 *
 * Threads. The user writes range and serial, then the bit by a sequentially
 * consistent store, then looks at what he wants to use. The taker takes that
 * away, then loads the bits. In the one order of all these either the bit is first,
 * and the taker waits, or the taking is, and the user finds nothing. A taker may
 * read range and serial of a slot while the user fills it anew: what it then
 * reads, mixed or not, is about a slot whose use at the call has ended, so that
 * either answer is right; and as every word is stored by release, whoever
 * reads one of a later use also sees all that the earlier one did. What the
 * user does not share is plain: free, live, next.
 *
 * Cost. begin: one exchange; end: one store; both O(1). drain: 8 words, and the slots
 * in use. It ends when those of the call have: who begins anew meanwhile has a
 * later serial and is not waited for.
 *
 * Memory: 16 KiB a queue.
 *
 * Rejected. A lock around use and taking: the user would wait for a taker that waits
 * for another user. A count of users per page: two atomic operations in a line
 * that queues share, for each access, and memory by the page. Epochs, as in
 * mm/pagetable.c: a use lasts as long as a disk, and one long one would hold up the takers of
 * every other range. */
#include "devices/flight.h"

#define WORDS (FLIGHT_SLOTS / 64)

static uint64_t load(const uint64_t *word)
{
	return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

static void store(uint64_t *word, uint64_t value)
{
	__atomic_store_n(word, value, __ATOMIC_RELEASE);
}

static uint64_t bit_of(unsigned slot)
{
	return UINT64_C(1) << slot % 64;
}

void flight_init(struct flight *f)
{
	*f = (struct flight){.free = 0};
	for (unsigned i = 0; i < FLIGHT_SLOTS; i++)
		f->slot[i].next = i + 1;
}

unsigned flight_begin(struct flight *f, uint64_t first, uint64_t last)
{
	unsigned i = f->free;
	struct flight_slot *slot = &f->slot[i];
	uint64_t *word = &f->used[i / 64];

	if (i == FLIGHT_NONE)
		return FLIGHT_NONE;
	f->free = slot->next;
	f->live++;
	store(&slot->serial, f->serial);
	store(&slot->first, first);
	store(&slot->last, last);
	store(&f->serial, f->serial + 1);
	__atomic_store_n(word, *word | bit_of(i), __ATOMIC_SEQ_CST);
	return i;
}

void flight_end(struct flight *f, unsigned slot)
{
	uint64_t *word = &f->used[slot / 64];

	store(word, *word & ~bit_of(slot));
	f->slot[slot].next = f->free;
	f->free = slot;
	f->live--;
}

static bool overlaps(const struct flight_slot *slot, uint64_t first, uint64_t last)
{
	return load(&slot->first) <= last && load(&slot->last) >= first;
}

void flight_drain(const struct flight *f, uint64_t first, uint64_t last, void (*wait)(void *self), void *self)
{
	uint64_t used[WORDS], end;

	for (unsigned i = 0; i < WORDS; i++)
		used[i] = __atomic_load_n(&f->used[i], __ATOMIC_SEQ_CST);
	end = load(&f->serial); /* after the bits: each of their uses is before it */
	for (unsigned i = 0; i < WORDS; i++) {
		for (; used[i] != 0; used[i] &= used[i] - 1) {
			unsigned n = i * 64 + (unsigned)__builtin_ctzll(used[i]);
			const struct flight_slot *slot = &f->slot[n];

			if (!overlaps(slot, first, last))
				continue;
			while ((load(&f->used[i]) & bit_of(n)) && load(&slot->serial) < end)
				wait(self);
		}
	}
}

bool flight_check(const struct flight *f)
{
	unsigned used = 0, unused = 0;

	for (unsigned i = 0; i < FLIGHT_SLOTS; i++) {
		const struct flight_slot *slot = &f->slot[i];

		if (!(f->used[i / 64] & bit_of(i)))
			continue;
		used++;
		if (slot->first > slot->last || slot->serial >= f->serial)
			return false; /* I3 */
	}
	for (unsigned i = f->free; i != FLIGHT_NONE; i = f->slot[i].next)
		if (i > FLIGHT_NONE || (f->used[i / 64] & bit_of(i)) || ++unused > FLIGHT_SLOTS)
			return false;				 /* I1 */
	return used == f->live && used + unused == FLIGHT_SLOTS; /* I1, I2 */
}
