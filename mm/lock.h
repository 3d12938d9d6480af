/* mm/lock.h: a spin lock for the few paths that are neither a CPU's own nor one
 * atomic word. Held for some hundred instructions at most, never across a hook.
 * Threads: any number. Zero is free. Not recursive, not fair. */
#ifndef SLAT_MM_LOCK_H
#define SLAT_MM_LOCK_H

#include "mm/port.h"
#include "mm/types.h"

struct lock {
	uint32_t taken;
};

/* Where a thread loses its CPU inside, spinning on only burns its time slice. */
#define LOCK_SPINS 200u

static inline bool lock_try(struct lock *l)
{
	return !__atomic_load_n(&l->taken, __ATOMIC_RELAXED) && !__atomic_exchange_n(&l->taken, 1, __ATOMIC_ACQUIRE);
}

/* True iff it had to wait. */
static inline bool lock_take(struct lock *l)
{
	if (__builtin_expect(lock_try(l), 1))
		return false;
	for (uint32_t spins = 1; !lock_try(l); spins++) {
		if (spins % LOCK_SPINS)
			__builtin_ia32_pause();
		else
			mm_yield();
	}
	return true;
}

static inline void lock_drop(struct lock *l)
{
	__atomic_store_n(&l->taken, 0, __ATOMIC_RELEASE);
}

#endif
