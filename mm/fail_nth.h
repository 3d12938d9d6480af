/* mm/fail_nth.h: how many calls there are to the one that is to be refused, where any
 * number of threads make them. Zero is off. A word of what can be told to refuse the
 * n-th (x_fail_after()); who has one caller at a time counts for itself.
 * Threads: any number. It orders nothing; who sets the word while others call stores it atomically. */
#ifndef SLAT_MM_FAIL_NTH_H
#define SLAT_MM_FAIL_NTH_H

#include "mm/types.h"

/* Counts a call. True iff it is the one: for exactly one of those that count from n to 0, where it stays. */
static inline bool fail_nth_now(uint64_t *left)
{
	uint64_t now = __atomic_load_n(left, __ATOMIC_RELAXED);

	while (now > 0 && !__atomic_compare_exchange_n(left, &now, now - 1, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		;
	return now == 1;
}

#endif
