/* vmm/pack/random.h: random numbers that are the same on every machine and from every
 * compiler: integers alone. Theory: top of random.c. Threads: one a struct random. */
#ifndef SLAT_VMM_PACK_RANDOM_H
#define SLAT_VMM_PACK_RANDOM_H

#include <stdint.h>

#define RANDOM_ONE	 (UINT64_C(1) << 32) /* of fixed point */
#define RANDOM_LOG_BITS	 10u
#define RANDOM_EXP_MAX	 (45 * RANDOM_ONE) /* no draw is above: 64 ln 2 */
#define RANDOM_SCALE_MAX (UINT64_C(1) << 56)

struct random_log {				  /* read-only once made; any thread */
	uint64_t at[(1u << RANDOM_LOG_BITS) + 1]; /* at[i]: log2(1 + i / 2^RANDOM_LOG_BITS), RANDOM_ONE is 1 */
};

struct random {
	uint64_t state;
};

/* Streams of one seed are as good as of different seeds. */
struct random random_open(uint64_t seed, uint64_t stream);
uint64_t random_next(struct random *r);		     /* 64 bits */
uint64_t random_below(struct random *r, uint64_t n); /* 0 to n - 1, each as likely; n > 0 */

void random_log_make(struct random_log *log);
/* Exponential with a mean of RANDOM_ONE; at most RANDOM_EXP_MAX. */
uint64_t random_exponential(struct random *r, const struct random_log *log);
/* The same with this mean, up to RANDOM_SCALE_MAX, rounded down. */
uint64_t random_exponential_of(struct random *r, const struct random_log *log, uint64_t mean);

#endif
