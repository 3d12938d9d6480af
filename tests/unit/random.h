/* tests/unit/random.h: random numbers that a run repeats: a fixed seed, or the variable SLAT_SEED.
 * splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014). */
#ifndef SLAT_TESTS_UNIT_RANDOM_H
#define SLAT_TESTS_UNIT_RANDOM_H

#include <stdint.h>
#include <stdlib.h>

static uint64_t rng_state;

static inline void seed(uint64_t fixed)
{
	const char *asked = getenv("SLAT_SEED");

	rng_state = asked ? strtoull(asked, NULL, 0) : fixed;
}

static inline uint64_t below(uint64_t n)
{
	uint64_t x = rng_state += UINT64_C(0x9e3779b97f4a7c15);

	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return (x ^ (x >> 31)) % n;
}

#endif
