/* vmm/pack/random.c
 *
 * What it is. splitmix64 (Steele, Lea, Flood 2014), and the exponential distribution
 * by its inverse, -ln(u), in fixed point of 32 bits.
 *
 * The logarithm. u is the 64 random bits over 2^64: 2^-(k + 1) * f with f in [1, 2), k the
 * zeros it begins with. So -log2(u) = k + 1 - log2(f), and times ln 2 that is the draw.
 * log2(f) comes from a table of 2^10 steps, and between two of them from a line, which
 * is at most 2^-20 / 8 / ln 2 < 2^-22 below the curve: no experiment sees that. The table
 * is made, not written down: log2(x) bit by bit, since squaring x doubles its logarithm,
 * and x >= 2 says that the next bit is 1. What 64 bits cut off of the i-th square is 2^-i
 * of that in the logarithm: less than 2^-61 in all, of entries of 2^-32. It is multiplying
 * and shifting of integers: the same bits everywhere. The last bits of libm's log()
 * depend on the CPU that it finds.
 *
 * Rejected. Ziggurat: faster, tables nobody can check by reading. von Neumann's
 * comparisons: exact, but a draw takes an unknown number of random words, and streams
 * that are compared draw for draw would part. */
#include "vmm/pack/random.h"

#include "mm/port.h"

#define GOLDEN	 UINT64_C(0x9e3779b97f4a7c15) /* 2^64 / the golden ratio, odd */
#define LN2	 UINT64_C(2977044472)	      /* ln 2 * 2^32, to the nearest */
#define LOG_STEP (63 - RANDOM_LOG_BITS)	      /* bits of f below the table's */

uint64_t random_next(struct random *r)
{
	uint64_t x = r->state += GOLDEN;

	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

struct random random_open(uint64_t seed, uint64_t stream)
{
	struct random r = {seed};

	r.state = random_next(&r) ^ (stream * UINT64_C(0xd1342543de82ef95));
	r.state = random_next(&r);
	return r;
}

/* The high half of a product is in [0, n); low halves below 2^64 mod n would make some likelier (Lemire 2019). */
uint64_t random_below(struct random *r, uint64_t n)
{
	unsigned __int128 product;

	MM_ASSERT(n > 0, n, 0);
	do
		product = (unsigned __int128)random_next(r) * n;
	while ((uint64_t)product < n && (uint64_t)product < -n % n);
	return (uint64_t)(product >> 64);
}

/* x in [1, 2), 2^63 being 1. */
static uint64_t log2_of(uint64_t x)
{
	uint64_t log = 0;

	for (unsigned bit = 0; bit < 32; bit++) {
		const unsigned __int128 square = (unsigned __int128)x * x;
		const unsigned above = (unsigned)(square >> 127);

		log = log << 1 | above;
		x = (uint64_t)(square >> (63 + above));
	}
	return log;
}

void random_log_make(struct random_log *log)
{
	for (uint64_t i = 0; i < UINT64_C(1) << RANDOM_LOG_BITS; i++)
		log->at[i] = log2_of((UINT64_C(1) << 63) + (i << LOG_STEP));
	log->at[1u << RANDOM_LOG_BITS] = RANDOM_ONE;
}

uint64_t random_exponential(struct random *r, const struct random_log *log)
{
	uint64_t u = random_next(r), zeros, step, rest, fraction;

	u |= u == 0; /* once in 2^64 */
	zeros = (uint64_t)__builtin_clzll(u);
	u = u << zeros << 1; /* f - 1, of 2^64 */
	step = u >> (LOG_STEP + 1);
	rest = u << RANDOM_LOG_BITS >> 32; /* how far between two of the table's */
	fraction = log->at[step] + ((log->at[step + 1] - log->at[step]) * rest >> 32);
	return (uint64_t)(((unsigned __int128)(zeros + 1) * RANDOM_ONE - fraction) * LN2 >> 32);
}

uint64_t random_exponential_of(struct random *r, const struct random_log *log, uint64_t mean)
{
	MM_ASSERT(mean <= RANDOM_SCALE_MAX, mean, 0);
	return (uint64_t)((unsigned __int128)random_exponential(r, log) * mean >> 32);
}
