/* guests/bench/extents.h: what is timed of mm/extent.h, the same on the host and
 * inside a guest: a random live extent is freed, and one of a random length
 * allocated in its place.
 *
 * Lengths: 1 to 64, all as likely; or with a long tail, each doubling of the length
 * half as likely as the one before, up to 2^17. The space has room for a quarter
 * more than is live (with policies that waste more, one and a half times as much).
 * Memory:  the caller's: metadata, and the array of extents.
 * Threads: one. */
#ifndef SLAT_GUESTS_BENCH_EXTENTS_H
#define SLAT_GUESTS_BENCH_EXTENTS_H

#include "guests/bench/loops.h"
#include "mm/extent.h"

#define EXTENTS_SETTLE	 5u  /* how often every extent is replaced before the first round */
#define EXTENTS_TAIL_MAX 16u /* doublings */
#define EXTENTS_REFUSED	 50u /* one in so many requests may find no hole: what is refused costs less */

struct extents {
	enum extent_policy policy;
	bool tail;
	uint32_t live;
	struct extent_space *space;
	struct extent *extent; /* [live]; units 0: its request was refused */
	uint64_t state;	       /* of the random numbers; 1 at the start */
};

/* Their name in a table is "POLICY, LENGTHS, LIVE live". */
static inline const char *extents_policy_name(enum extent_policy policy)
{
	switch (policy) {
	case EXTENT_FIRST_FIT:
		return "first fit";
	case EXTENT_BEST_FIT:
		return "best fit";
	case EXTENT_WORST_FIT:
		return "worst fit";
	case EXTENT_NEXT_FIT:
		return "next fit";
	case EXTENT_BUDDY:
		return "buddy";
	default:
		return "segregated";
	}
}

static inline const char *extents_lengths_name(bool tail)
{
	return tail ? "long tail" : "1 to 64";
}

static inline uint32_t extents_pairs(uint32_t live)
{
	return live < 20000 ? 20000 : live / 4;
}

/* Buddy and segregated lengths are rounded up, and a split of the former leaves a run an order. */
static inline struct extent_config extents_config(const struct extents *x)
{
	uint64_t mean = x->tail ? EXTENTS_TAIL_MAX * 3 / 4 + 1 : 33;
	uint64_t room = x->policy == EXTENT_FIRST_FIT || x->policy == EXTENT_BEST_FIT ? 1 : 2;

	return (struct extent_config){.units = x->live * mean * room * 5 / 4 +
					       (x->tail ? 1U << (EXTENTS_TAIL_MAX + 2) : 0),
				      .segments_max = x->policy == EXTENT_BUDDY ? 4 * x->live + 256 : 2 * x->live + 1,
				      .policy = x->policy};
}

static inline uint64_t extents_length(uint64_t *state, bool tail)
{
	uint32_t most = 1;

	if (!tail)
		return 1 + loop_random(state, 64);
	most <<= __builtin_ctz(loop_random(state, UINT32_C(1) << EXTENTS_TAIL_MAX) | UINT32_C(1) << EXTENTS_TAIL_MAX);
	return most + loop_random(state, most);
}

static inline bool extents_take(struct extents *x, struct extent *out)
{
	struct extent_request ask = {.units = extents_length(&x->state, x->tail)};
	bool got = extent_alloc(x->space, &ask, out) == MM_OK;

	if (!got)
		out->units = 0;
	return got;
}

/* One pair; *refused counts the requests that found no hole. False: what was given is not taken back. */
static inline bool extents_replace(struct extents *x, uint32_t *refused)
{
	struct extent *one = &x->extent[loop_random(&x->state, x->live)];

	if (one->units && extent_free(x->space, *one) != MM_OK)
		return false;
	*refused += !extents_take(x, one);
	return true;
}

/* As many as are to live, each replaced some times. False as above. */
static inline bool extents_settle(struct extents *x)
{
	uint32_t refused = 0;

	x->state = 1;
	for (uint32_t i = 0; i < x->live; i++)
		(void)extents_take(x, &x->extent[i]);
	for (uint32_t i = 0; i < EXTENTS_SETTLE * x->live; i++)
		if (!extents_replace(x, &refused))
			return false;
	return true;
}

#endif
