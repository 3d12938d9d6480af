/* tests/bench/bench.c: how figures are taken.
 *
 * A machine that others use too is slow in spells of milliseconds to seconds. So
 * no column is measured for long at a time: a round is some milliseconds of each
 * column in turn, and each round starts with another column, so that nobody
 * always follows the same neighbour; and the rounds of a case are spread over
 * passes, so that a slow half minute does not hit all of them. Noise only ever
 * adds: the minimum over the rounds is what the code costs, and the median beside
 * it says how noisy it was.
 *
 * Two threads run at the same time on two CPUs, spinning at a common start, and
 * the figure is the slower one's. The second thread lives as long as the
 * program: allocators keep caches a thread, which a new thread would find empty.
 *
 * What it cannot see: that a CPU is another one's sibling, the clock's speed
 * (ratios within a table are safe, figures of two tables are not), and what a
 * longer run would do to caches and page tables. */
#include "tests/bench/bench.h"

#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define SPINS 4096u

struct figures {
	double minimum, median;
};

void bench_refuse(const char *what, const char *which)
{
	fprintf(stderr, "bench: %s%s%s\n", what, which ? ": " : "", which ? which : "");
	exit(2);
}

double bench_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

double bench_tick_ns(void)
{
	static double known;
	double start = bench_ns();
	uint64_t ticks = bench_ticks();

	if (known > 0)
		return known;
	while (bench_ns() - start < 20e6)
		;
	known = (bench_ns() - start) / (double)(bench_ticks() - ticks);
	return known;
}

void *bench_memory(size_t bytes)
{
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		bench_refuse("the host has no memory for this", NULL);
	memset(memory, 1, bytes);
	return memory;
}

/* Two threads, two CPUs. */

struct other {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	void (*work)(void *self); /* NULL: nothing to do */
	void *self;
	double ns;
	unsigned waiting; /* how many are at the start; both spin, so that neither is late by a wake-up */
};

static struct other other = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

void bench_pin(unsigned n)
{
	static cpu_set_t may; /* as it was before the first call */
	cpu_set_t one;

	if (CPU_COUNT(&may) == 0)
		sched_getaffinity(0, sizeof(may), &may);
	CPU_ZERO(&one);
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (CPU_ISSET(cpu, &may) && n-- == 0)
			CPU_SET(cpu, &one);
	}
	if (CPU_COUNT(&one) != 1 || sched_setaffinity(0, sizeof(one), &one))
		bench_refuse("each thread needs a CPU of its own, and there are too few", NULL);
}

static double run_from_start(void (*work)(void *self), void *self)
{
	uint32_t spins = 0;
	double start;

	__atomic_add_fetch(&other.waiting, 1, __ATOMIC_ACQ_REL);
	while (__atomic_load_n(&other.waiting, __ATOMIC_ACQUIRE) < 2) {
		if (++spins % SPINS)
			__builtin_ia32_pause();
		else
			sched_yield();
	}
	start = bench_ns();
	work(self);
	return bench_ns() - start;
}

static _Noreturn void *run_other(void *unused)
{
	(void)unused;
	bench_pin(1);
	for (;;) {
		pthread_mutex_lock(&other.lock);
		while (!other.work)
			pthread_cond_wait(&other.changed, &other.lock);
		pthread_mutex_unlock(&other.lock);
		other.ns = run_from_start(other.work, other.self);
		pthread_mutex_lock(&other.lock);
		other.work = NULL;
		pthread_cond_broadcast(&other.changed);
		pthread_mutex_unlock(&other.lock);
	}
}

double bench_pair(void (*work)(void *self), void *a, void *b)
{
	static bool running;
	pthread_t thread;
	double ns;

	bench_pin(0);
	if (!running && pthread_create(&thread, NULL, run_other, NULL))
		bench_refuse("the host refuses a second thread", NULL);
	running = true;
	pthread_mutex_lock(&other.lock);
	other.waiting = 0;
	other.self = b;
	other.work = work;
	pthread_cond_broadcast(&other.changed);
	pthread_mutex_unlock(&other.lock);
	ns = run_from_start(work, a);
	pthread_mutex_lock(&other.lock);
	while (other.work)
		pthread_cond_wait(&other.changed, &other.lock);
	pthread_mutex_unlock(&other.lock);
	return ns > other.ns ? ns : other.ns;
}

/* Rounds and tables. */

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void progress(const char *name, unsigned round, unsigned rounds)
{
	if (!isatty(STDERR_FILENO))
		return;
	if (round < rounds)
		fprintf(stderr, "\r%s: round %u of %u ", name, round + 1, rounds);
	else
		fprintf(stderr, "\r%*s\r", 70, "");
}

void bench_open(struct bench *b, const char *const *peers)
{
	const char *rounds = getenv("ROUNDS");

	*b = (struct bench){.columns = {"slat", "floor"},
			    .column_count = BENCH_PEER,
			    .rounds = rounds ? (unsigned)strtoul(rounds, NULL, 10) : BENCH_ROUNDS,
			    .rows = json_array()};
	if (b->rounds < 1 || b->rounds > BENCH_ROUNDS_MAX)
		bench_refuse("ROUNDS is outside 1 to 101", rounds);
	for (; *peers; peers++) {
		if (b->column_count == BENCH_COLUMNS_MAX)
			bench_refuse("one peer too many", *peers);
		b->columns[b->column_count++] = *peers;
	}
	printf("%-44s %-10s", "case: minimum (median)", "unit");
	for (unsigned i = 0; i < b->column_count; i++)
		printf(" %16s", b->columns[i]);
	printf(" %8s %8s\n", "/ floor", "/ peer");
}

/* What is counted stays exact: only json_real() is rounded on its way out. */
static json_t *number(double value)
{
	if (isnan(value))
		return json_null();
	return value == rint(value) && fabs(value) < 1e15 ? json_integer((json_int_t)value) : json_real(value);
}

static json_t *ratio(double value, double of)
{
	return isnan(value) || isnan(of) || of == 0 ? json_null() : number(value / of);
}

static void print_row(const struct bench *b, const char *name, const char *unit, const struct figures *f,
		      const struct figures *peer)
{
	const double others[] = {f[BENCH_FLOOR].minimum, peer ? peer->minimum : NAN};
	char cell[32];

	printf("%-44s %-10s", name, unit);
	for (unsigned i = 0; i < b->column_count; i++) {
		if (isnan(f[i].minimum))
			snprintf(cell, sizeof(cell), "-");
		else if (f[i].minimum == rint(f[i].minimum) && isnan(f[i].median))
			snprintf(cell, sizeof(cell), "%.0f", f[i].minimum);
		else if (isnan(f[i].median))
			snprintf(cell, sizeof(cell), "%.4g", f[i].minimum);
		else
			snprintf(cell, sizeof(cell), "%.4g (%.4g)", f[i].minimum, f[i].median);
		printf(" %16s", cell);
	}
	for (unsigned i = 0; i < 2; i++) {
		if (isnan(others[i]) || others[i] == 0 || isnan(f[BENCH_SLAT].minimum))
			printf(" %8s", "-");
		else
			printf(" %8.3f", f[BENCH_SLAT].minimum / others[i]);
	}
	printf("\n");
	(void)fflush(stdout);
}

static json_t *peers_of(const struct bench *b, const struct figures *f)
{
	json_t *all = json_object(), *one;

	for (unsigned i = BENCH_PEER; i < b->column_count; i++) {
		one = json_pack("{s:o, s:o}", "min", number(f[i].minimum), "median", number(f[i].median));
		json_object_set_new(all, b->columns[i], one);
	}
	return all;
}

static void add_row(struct bench *b, const char *name, const char *unit, unsigned rounds, const struct figures *f)
{
	const struct figures none = {NAN, NAN}, *slat = &f[BENCH_SLAT], *floor = &f[BENCH_FLOOR], *best = &none;
	const char *best_name = NULL;
	json_t *row;

	for (unsigned i = BENCH_PEER; i < b->column_count; i++) {
		if (!isnan(f[i].minimum) && !(best->minimum <= f[i].minimum)) {
			best = &f[i];
			best_name = b->columns[i];
		}
	}
	if (rounds && slat->minimum > 0 && best->minimum > 0) {
		b->log_sum += log(slat->minimum / best->minimum);
		b->ratios++;
	}
	print_row(b, name, unit, f, best_name ? best : NULL);
	row = json_pack("{s:s, s:s, s:i, s:s?}", "case", name, "unit", unit, "rounds", (int)rounds, "best_peer",
			best_name);
	json_object_set_new(row, "slat", number(slat->minimum));
	json_object_set_new(row, "slat_median", number(slat->median));
	json_object_set_new(row, "floor", number(floor->minimum));
	json_object_set_new(row, "floor_median", number(floor->median));
	json_object_set_new(row, "floor_ratio", ratio(slat->minimum, floor->minimum));
	json_object_set_new(row, "best_peer_value", number(best->minimum));
	json_object_set_new(row, "best_peer_median", number(best->median));
	json_object_set_new(row, "best_peer_ratio", ratio(slat->minimum, best->minimum));
	json_object_set_new(row, "peers", peers_of(b, f));
	json_array_append_new(b->rows, row);
}

static void measure(const struct bench *b, const struct bench_item *item, unsigned first, unsigned end,
		    double samples[][BENCH_ROUNDS_MAX])
{
	unsigned n = b->column_count;

	for (unsigned i = 0; i < n; i++)
		item->round(item->self, i);
	for (unsigned r = first; r < end; r++) {
		progress(item->name, r, b->rounds);
		for (unsigned i = 0; i < n; i++)
			samples[(i + r) % n][r] = item->round(item->self, (i + r) % n);
	}
}

void bench_row(struct bench *b, const char *name, const char *unit, double samples[][BENCH_ROUNDS_MAX])
{
	struct figures f[BENCH_COLUMNS_MAX] = {{0}};

	for (unsigned i = 0; i < b->column_count; i++) {
		bool there = !isnan(samples[i][0]);

		qsort(samples[i], b->rounds, sizeof(double), ascending);
		f[i] = there ? (struct figures){samples[i][0], samples[i][b->rounds / 2]} : (struct figures){NAN, NAN};
	}
	add_row(b, name, unit, b->rounds, f);
}

void bench_cases(struct bench *b, const struct bench_item *items, unsigned n)
{
	double(*samples)[BENCH_COLUMNS_MAX][BENCH_ROUNDS_MAX] = calloc(n, sizeof(*samples));

	if (!samples)
		bench_refuse("the host has no memory for this", NULL);
	for (unsigned pass = 0; pass < BENCH_PASSES; pass++) {
		for (unsigned i = 0; i < n; i++)
			measure(b, &items[i], b->rounds * pass / BENCH_PASSES, b->rounds * (pass + 1) / BENCH_PASSES,
				samples[i]);
	}
	progress("", b->rounds, b->rounds);
	for (unsigned i = 0; i < n; i++)
		bench_row(b, items[i].name, items[i].unit, samples[i]);
	free(samples);
}

void bench_case(struct bench *b, const char *name, const char *unit, bench_round *round, void *self)
{
	const struct bench_item item = {name, unit, round, self};

	bench_cases(b, &item, 1);
}

void bench_fact(struct bench *b, const char *name, const char *unit, const double *values)
{
	struct figures f[BENCH_COLUMNS_MAX] = {{0}};

	for (unsigned i = 0; i < b->column_count; i++)
		f[i] = (struct figures){values[i], NAN};
	add_row(b, name, unit, 0, f);
}

void bench_geometric_mean(struct bench *b)
{
	json_t *mean = b->ratios ? json_real(exp(b->log_sum / b->ratios)) : json_null();
	json_t *row;

	printf("%-44s %-10s slat / best peer, over %u cases: %.3f\n", "geometric mean", "ratio", b->ratios,
	       json_real_value(mean));
	row = json_pack("{s:s, s:s, s:i, s:n, s:n, s:n, s:s, s:n, s:o}", "case", "geometric mean", "unit", "ratio",
			"rounds", (int)b->rounds, "slat", "floor", "floor_ratio", "best_peer", "best of each case",
			"best_peer_value", "best_peer_ratio", mean);
	json_array_append_new(b->rows, row);
}

int bench_close(struct bench *b, const char *path)
{
	int bad = json_dump_file(b->rows, path, JSON_INDENT(2) | JSON_REAL_PRECISION(4));

	json_decref(b->rows);
	if (bad)
		fprintf(stderr, "bench: cannot write %s\n", path);
	return bad ? 2 : 0;
}
