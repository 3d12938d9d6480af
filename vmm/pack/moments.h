/* vmm/pack/moments.h: a bounded number of moments of a run whose length nobody knows: as many as there is room for,
 * about as far from each other. When there are too many, the step between them doubles and those that are too near
 * are dropped. What is kept of a moment is the caller's, at the place that a moment has for as long as it is kept.
 * Memory: a constant. Threads: one. Cost: O(1) an event, O(MOMENTS_MAX log run) in all besides. */
#ifndef SLAT_VMM_PACK_MOMENTS_H
#define SLAT_VMM_PACK_MOMENTS_H

#include <stdbool.h>
#include <stdint.h>

#define MOMENTS_MAX 384u

struct moments {
	uint32_t count, most;	   /* count <= most <= MOMENTS_MAX */
	uint64_t step_us, next_us; /* two are of one step only if the second came as it doubled, or undue */
	uint64_t time_us[MOMENTS_MAX];
	uint32_t place[MOMENTS_MAX]; /* a permutation of 0 to most - 1; the first `count` are in use */
};

/* most: 2 to MOMENTS_MAX. */
void moments_init(struct moments *m, uint32_t most);

/* Whether this is to be one; times never go back. */
static inline bool moments_due(const struct moments *m, uint64_t time_us)
{
	return time_us >= m->next_us;
}

/* Makes it one, due or not; returns its place, which may have been that of one that was dropped now or earlier. */
uint32_t moments_add(struct moments *m, uint64_t time_us);

#endif
