/* tests/bench/objects_serve.c: the cases of the objects' figures, run on one
 * allocator in the process that is its own. Theory: top of objects.c. */
#include "tests/bench/objects.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/bench/bench.h"

static uintptr_t *items;
static struct loop_ring ring;

void objects_name(unsigned number, char name[OBJECTS_NAME_MAX], const char **unit)
{
	const struct objects_case *o = &objects_cases[number % CASES_OBJECTS];

	snprintf(name, OBJECTS_NAME_MAX, "%u B %s", objects_sizes[number / CASES_OBJECTS], o->name);
	*unit = o->unit;
}

static struct loop loop_for(const struct objects_contender *c, unsigned size, const struct objects_case *o,
			    unsigned thread)
{
	return (struct loop){.self = c->caller(size, thread),
			     .item = items + (size_t)thread * o->live,
			     .count = o->live,
			     .pairs = o->pairs,
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
static double one_thread(const struct loops *loops, const struct loop *l, enum case_kind kind)
{
	double ns, pairs = (double)l->pairs;

	if (kind == CASE_HOT)
		return timed(loops->hot, l, pairs);
	if (kind == CASE_LIFO)
		return timed(loops->lifo, l, pairs);
	loops->fill(l);
	if (kind == CASE_RANDOM) {
		ns = timed(loops->random, l, pairs);
	} else {
		loop_shuffle(l);
		ns = timed(loops->drain, l, l->count);
		if (kind == CASE_FREE)
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

static double two_threads(const struct objects_contender *c, unsigned size, const struct objects_case *o)
{
	struct half halves[CASE_CPUS];
	enum case_kind kind = o->kind;
	double ns;

	memset(&ring, 0, sizeof(ring));
	for (unsigned i = 0; i < CASE_CPUS; i++)
		halves[i] = (struct half){c->loops->fill, loop_for(c, size, o, i)};
	if (kind == CASE_PAIR_RANDOM)
		bench_pair(run_half, &halves[0], &halves[1]);
	halves[0].loop = kind == CASE_PAIR_HOT	    ? c->loops->hot
			 : kind == CASE_PAIR_RANDOM ? c->loops->random
						    : c->loops->produce;
	halves[1].loop = kind == CASE_PAIR_OTHER ? c->loops->consume : halves[0].loop;
	ns = bench_pair(run_half, &halves[0], &halves[1]) / (double)o->pairs;
	halves[0].loop = halves[1].loop = c->loops->drain;
	if (kind == CASE_PAIR_RANDOM)
		bench_pair(run_half, &halves[0], &halves[1]);
	return ns;
}

static double run(const struct objects_contender *c, unsigned size, const struct objects_case *o)
{
	struct loop l = loop_for(c, size, o, 0);

	if (o->kind == CASE_PAIR_OTHER && c->apart)
		return NAN;
	return case_is_pair(o->kind) ? two_threads(c, size, o) : one_thread(c->loops, &l, o->kind);
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

	items = bench_memory(CASE_LIVE * sizeof(*items));
	bench_pair(enter, &mine, &mine);
	while (read(OBJECTS_FD, &number, sizeof(number)) == sizeof(number) && number < OBJECTS_CASES) {
		ns = run(c, number / CASES_OBJECTS, &objects_cases[number % CASES_OBJECTS]);
		if (write(OBJECTS_FD, &ns, sizeof(ns)) != sizeof(ns))
			return 2;
	}
	return 0;
}
