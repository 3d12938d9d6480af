/* tests/bench/objects_serve.c: the cases of the objects' figures, run on one
 * allocator in the process that is its own. Theory: top of objects.c. */
#include "tests/bench/objects.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/bench/bench.h"

const uint32_t objects_bytes[OBJECTS_SIZES] = {64, 256, 4096};

static const struct {
	const char *name, *unit;
	uint32_t live;
	uint64_t pairs;
} kinds[OBJECTS_KINDS] = {
	[HOT] = {"hot", "ns/pair", 0, 400000},
	[LIFO] = {"1,000 and back", "ns/pair", 1000, 200000},
	[RANDOM] = {"random of 100,000", "ns/pair", OBJECTS_LIVE, 200000},
	[FREE] = {"shuffled free", "ns/free", OBJECTS_LIVE, 0},
	[REFILL] = {"refill after it", "ns/alloc", OBJECTS_LIVE, 0},
	[PAIR_HOT] = {"2 threads, hot", "ns/pair", 0, 400000},
	[PAIR_RANDOM] = {"2 threads, random", "ns/pair", OBJECTS_LIVE / OBJECTS_THREADS, 100000},
	[PAIR_OTHER] = {"freed by the other", "ns/pair", 0, 6250 * LOOP_BATCH},
};

static uintptr_t *items;
static struct loop_ring ring;

void objects_name(unsigned number, char name[OBJECTS_NAME_MAX], const char **unit)
{
	snprintf(name, OBJECTS_NAME_MAX, "%u B %s", objects_bytes[number / OBJECTS_KINDS],
		 kinds[number % OBJECTS_KINDS].name);
	*unit = kinds[number % OBJECTS_KINDS].unit;
}

static struct loop loop_for(const struct objects_contender *c, unsigned size, enum objects_kind kind, unsigned thread)
{
	return (struct loop){.self = c->caller(size, thread),
			     .item = items + (size_t)thread * kinds[kind].live,
			     .count = kinds[kind].live,
			     .pairs = kinds[kind].pairs,
			     .seed = size + thread + 1,
			     .ring = &ring};
}

static double timed(void (*loop)(const struct loop *l), const struct loop *l, double each)
{
	double start = bench_ns();

	loop(l);
	return (bench_ns() - start) / each;
}

/* All is free before and after. */
static double one_thread(const struct loops *loops, const struct loop *l, enum objects_kind kind)
{
	double ns, pairs = (double)l->pairs;

	if (kind == HOT)
		return timed(loops->hot, l, pairs);
	if (kind == LIFO)
		return timed(loops->lifo, l, pairs);
	loops->fill(l);
	if (kind == RANDOM) {
		ns = timed(loops->random, l, pairs);
	} else {
		loop_shuffle(l);
		ns = timed(loops->drain, l, l->count);
		if (kind == FREE)
			return ns;
		ns = timed(loops->fill, l, l->count);
	}
	loops->drain(l);
	return ns;
}

struct half { /* of what two threads do */
	void (*loop)(const struct loop *l);
	struct loop l;
};

static void run_half(void *self)
{
	const struct half *h = self;

	h->loop(&h->l);
}

static double two_threads(const struct objects_contender *c, unsigned size, enum objects_kind kind)
{
	struct half halves[OBJECTS_THREADS];
	double ns;

	memset(&ring, 0, sizeof(ring));
	for (unsigned i = 0; i < OBJECTS_THREADS; i++)
		halves[i] = (struct half){c->loops->fill, loop_for(c, size, kind, i)};
	if (kind == PAIR_RANDOM)
		bench_pair(run_half, &halves[0], &halves[1]);
	halves[0].loop = kind == PAIR_HOT ? c->loops->hot : kind == PAIR_RANDOM ? c->loops->random : c->loops->produce;
	halves[1].loop = kind == PAIR_OTHER ? c->loops->consume : halves[0].loop;
	ns = bench_pair(run_half, &halves[0], &halves[1]) / (double)kinds[kind].pairs;
	halves[0].loop = halves[1].loop = c->loops->drain;
	if (kind == PAIR_RANDOM)
		bench_pair(run_half, &halves[0], &halves[1]);
	return ns;
}

static double run(const struct objects_contender *c, unsigned size, enum objects_kind kind)
{
	struct loop l = loop_for(c, size, kind, 0);

	if (kind == PAIR_OTHER && c->apart)
		return NAN;
	return kind >= PAIR_HOT ? two_threads(c, size, kind) : one_thread(c->loops, &l, kind);
}

static void enter(void *self)
{
	const struct objects_contender *c = self;

	if (c->enter)
		c->enter();
}

int objects_serve(const struct objects_contender *c)
{
	struct objects_contender mine = *c;
	uint32_t number;
	double ns;

	items = bench_memory(OBJECTS_LIVE * sizeof(*items));
	bench_pair(enter, &mine, &mine);
	while (read(OBJECTS_FD, &number, sizeof(number)) == sizeof(number) && number < OBJECTS_CASES) {
		ns = run(c, number / OBJECTS_KINDS, number % OBJECTS_KINDS);
		if (write(OBJECTS_FD, &ns, sizeof(ns)) != sizeof(ns))
			return 2;
	}
	return 0;
}
