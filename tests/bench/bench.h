/* tests/bench/bench.h: what every program of figures shares: a clock, rounds in
 * which slat, its floor and its peers take turns, a table for people on stdout,
 * and the JSON that README's tables are made from. Theory: top of bench.c.
 *
 * Threads: one; bench_pair() runs a second one and waits for it. */
#ifndef SLAT_TESTS_BENCH_BENCH_H
#define SLAT_TESTS_BENCH_BENCH_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* Columns, in this order; peers as many as there are names. */
enum bench_column { BENCH_SLAT, BENCH_FLOOR, BENCH_PEER };

#define BENCH_COLUMNS_MAX 10u
#define BENCH_ROUNDS_MAX  101u
#define BENCH_ROUNDS	  12u /* unless the environment's ROUNDS says otherwise */
#define BENCH_PASSES	  3u

struct bench {
	const char *columns[BENCH_COLUMNS_MAX];
	unsigned column_count;
	unsigned rounds;
	json_t *rows;
	double log_sum; /* of slat over its best peer, for the geometric mean */
	unsigned ratios;
};

/* One round of the current case for one column: its figure, lower is better. NAN: it takes no part. */
typedef double bench_round(void *self, unsigned column);

/* `peers` ends with NULL. */
void bench_open(struct bench *b, const char *const *peers);

struct bench_item {
	const char *name, *unit;
	bench_round *round;
	void *self;
};

/* A row each: BENCH_PASSES times over all of them, in each pass a round to warm
 * up, then its share of the rounds, in which all columns take turns. The figure
 * is each column's minimum, the median is noted beside it. */
void bench_cases(struct bench *b, const struct bench_item *items, unsigned n);

/* One of them, at once. */
void bench_case(struct bench *b, const char *name, const char *unit, bench_round *round, void *self);

/* A row of what the caller took in rounds of his own: b->rounds figures for each column, which get sorted. */
void bench_row(struct bench *b, const char *name, const char *unit, double samples[][BENCH_ROUNDS_MAX]);

/* One row of what is counted, not timed: a value a column (NAN: none), no rounds. */
void bench_fact(struct bench *b, const char *name, const char *unit, const double *values);

/* One row: the geometric mean of slat over its best peer, over all cases so far that had both. */
void bench_geometric_mean(struct bench *b);

/* Writes the JSON and frees; what main() returns. */
int bench_close(struct bench *b, const char *path);

double bench_ns(void); /* since some moment */

/* For what is shorter than a clock's own cost: ticks of the CPU's counter, none
 * of the code around moved across. */
static inline uint64_t bench_ticks(void)
{
	uint32_t low, high;

	__asm__ volatile("lfence; rdtsc; lfence" : "=a"(low), "=d"(high) : : "memory");
	return (uint64_t)high << 32 | low;
}

double bench_tick_ns(void); /* how long a tick is; measured once, in 20 ms */

/* Keeps the calling thread on the n-th of the CPUs that this process may use. */
void bench_pin(unsigned n);

/* Runs work(a) here and work(b) in a second thread, which is the same each time,
 * each on a CPU of its own and both from the same moment on. How long the slower
 * one took, in ns. */
double bench_pair(void (*work)(void *self), void *a, void *b);

/* Memory that comes from no allocator and is there: each page written. */
void *bench_memory(size_t bytes);

/* Ends the program with a sentence. */
_Noreturn void bench_refuse(const char *what, const char *which);

#endif
