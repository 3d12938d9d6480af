/* tests/bench/frames.c: what a page frame costs: mm/frames.h beside an array used
 * as a stack (the floor), a plain buddy (mm/buddy.h), the same with a lock and 256
 * frames in front for each CPU, and, where two threads share, a locked stack.
 *
 *   frames OUT.json
 *
 * The cases are guests/bench/cases.h's, the loops loops.h's; every allocator is
 * called out of line and made anew for each round, so that a round finds what the
 * first one found. With one thread the plain buddy has no lock; with two it has
 * one. The floor is a stack a thread. Frames are numbers: no memory stands behind
 * them, and 64 GiB cost their metadata alone.
 *
 * "refused": which share of the runs of that order that the free frames could
 * make is not there. The whole GiB is taken in runs of random orders, random ones
 * go back until the given share is left, and it is churned from two CPUs until all
 * was replaced ten times; then, ten times, all is replaced once more and as
 * many runs are asked for as the free frames have room for. slat and the plain buddy get
 * the same requests and hold the same runs: what one of them refuses, neither
 * keeps. "single frames": order 0 alone; "mostly small": orders 0 to 10, each asked
 * for half as often as the one below it; "any order": 0 to 10, equally often.
 *
 * What it cannot see: more than two CPUs. */
#include <linux/membarrier.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "guests/bench/cases.h"
#include "guests/bench/floors.h"
#include "guests/bench/loops.h"
#include "mm/buddy.h"
#include "mm/frames.h"
#include "mm/lock.h"
#include "tests/bench/bench.h"

#define CACHE_FRAMES 256u
#define CACHE_HALF   (CACHE_FRAMES / 2)

enum column { SLAT = BENCH_SLAT, FLOOR = BENCH_FLOOR, BUDDY = BENCH_PEER, CACHED, LOCKED_STACK, COLUMNS };
static const char *const peers[] = {"plain buddy", "cached buddy", "locked stack", NULL};

/* The allocators. Each line that one thread writes alone is its own. */

struct caller {
	unsigned cpu;
	struct floor_stack stack;
	uint32_t cached; /* of the cached buddy: frames [0, cached) */
	struct pfn cache[CACHE_FRAMES];
} __attribute__((aligned(LOOP_LINE)));

static struct frames frames;
static struct buddy *buddy;
static uint32_t frame_count; /* of the buddy */
static struct lock lock __attribute__((aligned(LOOP_LINE)));
static struct floor_stack shared_stack __attribute__((aligned(LOOP_LINE)));
static struct caller callers[CASE_CPUS];
static uint32_t *numbers; /* what the stacks stand in */
static void *slat_meta, *buddy_meta;

static void must(enum mm_err e, const char *what)
{
	if (e != MM_OK)
		bench_refuse("an allocator refused what it must not", what);
}

static uintptr_t slat_take(void *self, unsigned order)
{
	const struct caller *c = self;
	struct pfn first;

	return frames_alloc(&frames, c->cpu, order, &first) == MM_OK ? first.n : LOOP_NONE;
}

static void slat_give(void *self, uintptr_t item, unsigned order)
{
	const struct caller *c = self;

	must(frames_free(&frames, c->cpu, (struct pfn){item}, order), "frames_free");
}

static uintptr_t buddy_take(void *self, unsigned order)
{
	struct pfn first;

	(void)self;
	return buddy_alloc(buddy, order, &first) == MM_OK ? first.n : LOOP_NONE;
}

static void buddy_give(void *self, uintptr_t item, unsigned order)
{
	(void)self;
	must(buddy_free(buddy, (struct pfn){item}, order), "buddy_free");
}

static uintptr_t locked_buddy_take(void *self, unsigned order)
{
	uintptr_t item;

	lock_take(&lock);
	item = buddy_take(self, order);
	lock_drop(&lock);
	return item;
}

static void locked_buddy_give(void *self, uintptr_t item, unsigned order)
{
	lock_take(&lock);
	buddy_give(self, item, order);
	lock_drop(&lock);
}

/* By the contract of mm/frames.h, so that neither it nor slat's is favoured by what a call must carry and check. */
FLOOR_OUT_OF_LINE enum mm_err cached_alloc(unsigned cpu, unsigned order, struct pfn *out)
{
	struct caller *c = &callers[cpu];

	if (cpu >= CASE_CPUS || order > BUDDY_ORDER_MAX)
		return MM_EINVAL;
	if (order == 0 && !c->cached) {
		lock_take(&lock);
		while (c->cached < CACHE_HALF && buddy_alloc(buddy, 0, &c->cache[c->cached]) == MM_OK)
			c->cached++;
		lock_drop(&lock);
	}
	if (order == 0 && c->cached) {
		*out = c->cache[--c->cached];
		return MM_OK;
	}
	lock_take(&lock);
	enum mm_err e = buddy_alloc(buddy, order, out);
	lock_drop(&lock);
	return e;
}

FLOOR_OUT_OF_LINE enum mm_err cached_free(unsigned cpu, struct pfn first, unsigned order)
{
	struct caller *c = &callers[cpu];
	enum mm_err e = MM_OK;

	if (cpu >= CASE_CPUS || order > BUDDY_ORDER_MAX || first.n >= frame_count)
		return MM_EINVAL;
	if (order == 0 && c->cached < CACHE_FRAMES) {
		c->cache[c->cached++] = first;
		return MM_OK;
	}
	lock_take(&lock);
	if (order)
		e = buddy_free(buddy, first, order);
	for (uint32_t i = 0; !order && i < CACHE_HALF; i++)
		must(buddy_free(buddy, c->cache[i], 0), "buddy_free");
	lock_drop(&lock);
	if (order)
		return e;
	memmove(c->cache, c->cache + CACHE_HALF, CACHE_HALF * sizeof(*c->cache));
	c->cached = CACHE_HALF;
	c->cache[c->cached++] = first;
	return MM_OK;
}

static uintptr_t cached_take(void *self, unsigned order)
{
	const struct caller *c = self;
	struct pfn first;

	return cached_alloc(c->cpu, order, &first) == MM_OK ? first.n : LOOP_NONE;
}

static void cached_give(void *self, uintptr_t item, unsigned order)
{
	const struct caller *c = self;

	must(cached_free(c->cpu, (struct pfn){item}, order), "cached_free");
}

static uintptr_t own_stack_take(void *self, unsigned order)
{
	return floor_stack_take(&((struct caller *)self)->stack, order);
}

static void own_stack_give(void *self, uintptr_t item, unsigned order)
{
	floor_stack_give(&((struct caller *)self)->stack, item, order);
}

static uintptr_t locked_stack_take(void *self, unsigned order)
{
	uintptr_t item;

	(void)self;
	lock_take(&lock);
	item = floor_stack_take(&shared_stack, order);
	lock_drop(&lock);
	return item;
}

static void locked_stack_give(void *self, uintptr_t item, unsigned order)
{
	(void)self;
	lock_take(&lock);
	floor_stack_give(&shared_stack, item, order);
	lock_drop(&lock);
}

LOOPS(slat_loops, slat_take, slat_give, loop_leave);
LOOPS(buddy_loops, buddy_take, buddy_give, loop_leave);
LOOPS(locked_buddy_loops, locked_buddy_take, locked_buddy_give, loop_leave);
LOOPS(cached_loops, cached_take, cached_give, loop_leave);
LOOPS(own_stack_loops, own_stack_take, own_stack_give, loop_leave);
LOOPS(locked_stack_loops, locked_stack_take, locked_stack_give, loop_leave);

/* Every CPU that runs in this process has passed a barrier when this returns. */
static void all_cpus_pass(void *unused)
{
	(void)unused;
	if (syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0))
		bench_refuse("membarrier(2) failed", NULL);
}

static void make_slat(uint32_t count)
{
	bool can = !syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0);
	struct frames_config config = {
		.frame_count = count, .cpus = CASE_CPUS, .barrier = can ? all_cpus_pass : NULL, .barrier_self = NULL};

	must(frames_init(&frames, slat_meta, frames_meta_bytes(count, CASE_CPUS), &config), "frames_init");
	must(frames_donate(&frames, (struct pfn){0}, count), "frames_donate");
}

static void make_buddy(uint32_t count)
{
	must(buddy_init(buddy_meta, buddy_meta_bytes(count), count, &buddy), "buddy_init");
	must(buddy_donate(buddy, (struct pfn){0}, count), "buddy_donate");
	frame_count = count;
	for (unsigned i = 0; i < CASE_CPUS; i++)
		callers[i].cached = 0;
}

/* As many runs of 2^order as there are: one stack, or half a stack for each thread. */
static void make_stacks(uint32_t count, unsigned order, bool pair)
{
	uint32_t runs = count >> order, each = pair ? runs / CASE_CPUS : runs;

	for (unsigned i = 0; i < (pair ? CASE_CPUS : 1); i++)
		floor_stack_init(&callers[i].stack, numbers + i * each, each, 1u << order);
}

/* The cases. */

static uintptr_t *items;
static uint8_t *orders;
static struct loop_ring ring;

/* NULL: this column has no place in this case. */
static const struct loops *loops_of(enum column column, enum case_kind kind)
{
	switch (column) {
	case SLAT:
		return &slat_loops;
	case FLOOR:
		return kind == CASE_MIXED || kind == CASE_PAIR_OTHER ? NULL : &own_stack_loops;
	case BUDDY:
		return case_is_pair(kind) ? &locked_buddy_loops : &buddy_loops;
	case CACHED:
		return &cached_loops;
	case LOCKED_STACK:
		return case_is_pair(kind) ? &locked_stack_loops : NULL;
	default:
		return NULL;
	}
}

static void make(enum column column, const struct frames_case *c)
{
	if (column == SLAT)
		make_slat(c->frames);
	else if (column == BUDDY || column == CACHED)
		make_buddy(c->frames);
	else if (column == FLOOR)
		make_stacks(c->frames, c->order, case_is_pair(c->kind));
	else
		floor_stack_init(&shared_stack, numbers, c->frames, 1);
}

static void fill_in_bulk(const struct loop *l)
{
	const struct caller *c = l->self;
	const uint32_t batch = 256;

	for (uint32_t i = 0; i < l->count; i += batch) {
		if (frames_alloc_bulk(&frames, c->cpu, (struct pfn *)(l->item + i), batch) != batch)
			bench_refuse("an allocator refused what it must not", "frames_alloc_bulk");
	}
}

static double timed(void (*loop)(const struct loop *l), const struct loop *l)
{
	double start = bench_ns();

	loop(l);
	return bench_ns() - start;
}

static double one_thread(enum case_kind kind, enum column column, const struct loops *loops, const struct loop *l)
{
	double pairs = (double)l->pairs, count = l->count;

	if (kind == CASE_HOT)
		return timed(loops->hot, l) / pairs;
	if (kind == CASE_BULK)
		return column == SLAT ? timed(fill_in_bulk, l) / count : NAN;
	if (kind == CASE_FILL)
		return timed(loops->fill, l) / count;
	if (kind == CASE_MIXED) {
		for (uint32_t i = 0; i < l->count; i++)
			l->item[i] = LOOP_NONE;
		loops->mixed(l); /* until it is as full as it stays */
		return timed(loops->mixed, l) / pairs;
	}
	loops->fill(l);
	if (kind == CASE_RANDOM)
		return timed(loops->random, l) / pairs;
	loop_shuffle(l);
	if (kind == CASE_FREE)
		return timed(loops->drain, l) / count;
	loops->drain(l);
	return timed(loops->fill, l) / count;
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

static double two_threads(enum case_kind kind, const struct loops *loops, const struct loop *first)
{
	struct half halves[CASE_CPUS];

	memset(&ring, 0, sizeof(ring));
	for (unsigned i = 0; i < CASE_CPUS; i++) {
		halves[i] = (struct half){loops->hot, *first};
		halves[i].l.self = &callers[i];
		halves[i].l.item += (size_t)i * first->count;
		halves[i].l.seed += i;
		if (kind == CASE_PAIR_RANDOM) {
			loops->fill(&halves[i].l);
			halves[i].loop = loops->random;
		} else if (kind == CASE_PAIR_OTHER) {
			halves[i].loop = i == 0 ? loops->produce : loops->consume;
		}
	}
	return bench_pair(run_half, &halves[0], &halves[1]) / (double)first->pairs;
}

static double frames_round(void *self, unsigned column)
{
	const struct frames_case *c = self;
	const struct loops *loops = loops_of(column, c->kind);
	struct loop l = {.self = &callers[0],
			 .order = c->order,
			 .item = items,
			 .orders = orders,
			 .count = c->live,
			 .pairs = c->pairs,
			 .seed = CASE_SEED,
			 .ring = &ring};

	if (!loops)
		return NAN;
	make(column, c);
	return case_is_pair(c->kind) ? two_threads(c->kind, loops, &l) : one_thread(c->kind, column, loops, &l);
}

/* What the machine's own words cost. */

static double swap_round(void *self, unsigned column)
{
	uint64_t *word = self, expected = *word;
	double start = bench_ns();

	if (column != FLOOR)
		return NAN;
	for (unsigned i = 0; i < CASE_PAIRS; i++) {
		if (__atomic_compare_exchange_n(word, &expected, expected + 1, false, __ATOMIC_ACQ_REL,
						__ATOMIC_ACQUIRE))
			expected++;
	}
	return (bench_ns() - start) / CASE_PAIRS;
}

#define TRIPS 20000u

struct side {
	uint32_t *ball;
	uint32_t parity; /* each answers the other's number with the next one */
};

static void play(void *self)
{
	const struct side *s = self;

	for (uint32_t i = s->parity; i < 2 * TRIPS; i += 2) {
		while (__atomic_load_n(s->ball, __ATOMIC_ACQUIRE) != i)
			__builtin_ia32_pause();
		__atomic_store_n(s->ball, i + 1, __ATOMIC_RELEASE);
	}
}

static double trip_round(void *self, unsigned column)
{
	struct side a = {self, 0}, b = {self, 1};

	if (column != FLOOR)
		return NAN;
	*a.ball = 0;
	return bench_pair(play, &a, &b) / TRIPS;
}

/* Which share of large runs is refused. */

#define SEEDS	     20u
#define TURNS	     10u /* replacements of all that is live, before the questions and again with one after each */
#define RIVALS	     2u
#define LARGE_ORDERS 2u
#define LARGE_ORDER  9u /* and the next */

enum mix { SINGLE, MOSTLY_SMALL, ANY_ORDER, MIXES };
static const char *const mixes[MIXES] = {"single frames", "mostly small", "any order"};

static const struct {
	enum column column;
	loop_take *take;
	loop_give *give;
} rivals[RIVALS] = {{SLAT, slat_take, slat_give}, {BUDDY, buddy_take, buddy_give}};

struct world {
	enum mix mix;
	uint32_t live;		   /* runs; of each rival in items_of(), their orders in orders[] */
	uint32_t taken, taken_max; /* frames */
	uint64_t state;
};

static uintptr_t *items_of(unsigned rival)
{
	return items + (size_t)rival * CASE_GIB_FRAMES;
}

static struct caller *any_caller(struct world *w)
{
	return &callers[loop_random(&w->state, CASE_CPUS)];
}

static unsigned any_order(struct world *w)
{
	if (w->mix == SINGLE)
		return 0;
	if (w->mix == ANY_ORDER)
		return loop_random(&w->state, LOOP_ORDER_MAX + 1);
	return (unsigned)__builtin_ctz(loop_random(&w->state, UINT32_MAX) | 1u << LOOP_ORDER_MAX);
}

static void give_random(struct world *w)
{
	uint32_t i = loop_random(&w->state, w->live--);
	struct caller *c = any_caller(w);

	w->taken -= 1u << orders[i];
	for (unsigned r = 0; r < RIVALS; r++) {
		rivals[r].give(c, items_of(r)[i], orders[i]);
		items_of(r)[i] = items_of(r)[w->live];
	}
	orders[i] = orders[w->live];
}

/* A run of this order for each, or none for any. */
static bool take_same(struct world *w, unsigned order)
{
	struct caller *c = any_caller(w);
	unsigned got = 0;

	while (got < RIVALS && (items_of(got)[w->live] = rivals[got].take(c, order)) != LOOP_NONE)
		got++;
	if (got == RIVALS) {
		orders[w->live++] = (uint8_t)order;
		w->taken += 1u << order;
		return true;
	}
	while (got-- > 0)
		rivals[got].give(c, items_of(got)[w->live], order);
	return false;
}

static void turn_over(struct world *w)
{
	for (uint32_t i = w->live; i > 0; i--) {
		unsigned order = any_order(w);

		while (w->taken + (1u << order) > w->taken_max)
			give_random(w);
		take_same(w, order);
	}
}

static void make_world(struct world *w)
{
	make_slat(CASE_GIB_FRAMES);
	make_buddy(CASE_GIB_FRAMES);
	while (w->taken < CASE_GIB_FRAMES) {
		for (unsigned order = any_order(w); !take_same(w, order); order--)
			must(order ? MM_OK : MM_ENOMEM, "a frame, of those that are free");
	}
	while (w->taken > w->taken_max)
		give_random(w);
	for (unsigned i = 0; i < TURNS; i++)
		turn_over(w);
}

/* In percent. All that it took it gives back. */
static double share_refused(struct world *w, unsigned rival, unsigned order)
{
	uint32_t asked = (CASE_GIB_FRAMES - w->taken) >> order, got = 0;
	uintptr_t *run = items_of(rival) + w->live;

	while (got < asked && (run[got] = rivals[rival].take(any_caller(w), order)) != LOOP_NONE)
		got++;
	for (uint32_t i = 0; i < got; i++)
		rivals[rival].give(any_caller(w), run[i], order);
	return 100.0 * (asked - got) / asked;
}

/* The difference, and its standard error over the seeds. */
static double print_difference(double sum, double squares)
{
	double mean = sum / SEEDS;

	printf("%-44s %-10s %+.2f, standard error %.2f\n", "    slat - plain buddy", "points", mean,
	       sqrt(fmax(squares / SEEDS - mean * mean, 0) / (SEEDS - 1)));
	return mean;
}

/* Two rows; the largest difference. */
static double refused(struct bench *b, enum mix mix, uint32_t percent)
{
	double share[LARGE_ORDERS][RIVALS] = {{0}}, sum[LARGE_ORDERS] = {0}, squares[LARGE_ORDERS] = {0}, most = -100;
	char name[48];

	for (unsigned seed = 1; seed <= SEEDS; seed++) {
		struct world w = {.mix = mix, .taken_max = CASE_GIB_FRAMES / 100 * percent, .state = seed};
		double mean[LARGE_ORDERS][RIVALS] = {{0}};

		make_world(&w);
		for (unsigned i = 0; i < TURNS; i++) {
			turn_over(&w);
			for (unsigned k = 0; k < LARGE_ORDERS * RIVALS; k++)
				mean[k / RIVALS][k % RIVALS] +=
					share_refused(&w, k % RIVALS, LARGE_ORDER + k / RIVALS) / TURNS;
		}
		for (unsigned k = 0; k < LARGE_ORDERS; k++) {
			double difference = mean[k][0] - mean[k][1];

			sum[k] += difference;
			squares[k] += difference * difference;
			for (unsigned r = 0; r < RIVALS; r++)
				share[k][r] += mean[k][r] / SEEDS;
		}
	}
	for (unsigned k = 0; k < LARGE_ORDERS; k++) {
		double values[COLUMNS] = {share[k][0], NAN, share[k][1], NAN, NAN};

		snprintf(name, sizeof(name), "refused order %u, %u %% taken, %s", LARGE_ORDER + k, percent, mixes[mix]);
		bench_fact(b, name, "%", values);
		most = fmax(most, print_difference(sum[k], squares[k]));
	}
	return most;
}

static void refusals(struct bench *b)
{
	double most = -100;

	for (unsigned mix = 0; mix < MIXES; mix++)
		for (uint32_t percent = 30; percent <= 90; percent += 30)
			most = fmax(most, refused(b, mix, percent));
	bench_fact(b, "refused, most above the plain buddy", "points", (double[COLUMNS]){most, NAN, NAN, NAN, NAN});
}

static void metadata(struct bench *b, const char *name, uint32_t count)
{
	const double values[COLUMNS] = {[SLAT] = 8 * (double)frames_meta_bytes(count, CASE_CPUS) / count,
					[FLOOR] = 8 * sizeof(*numbers),
					[BUDDY] = 8 * (double)buddy_meta_bytes(count) / count,
					[CACHED] = 8 * (double)(buddy_meta_bytes(count) + sizeof(callers)) / count,
					[LOCKED_STACK] = NAN};

	bench_fact(b, name, "bits/frame", values);
}

int main(int argc, char **argv)
{
	static uint64_t word __attribute__((aligned(LOOP_LINE)));
	struct bench_item rows[CASES_FRAMES + 2];
	struct bench b;

	if (argc != 2)
		bench_refuse("frames OUT.json", NULL);
	bench_pin(0);
	slat_meta = bench_memory(frames_meta_bytes(CASE_64_GIB, CASE_CPUS));
	buddy_meta = bench_memory(buddy_meta_bytes(CASE_64_GIB));
	numbers = bench_memory(CASE_64_GIB * sizeof(*numbers));
	items = bench_memory(CASE_64_GIB * sizeof(*items));
	orders = bench_memory(CASE_GIB_FRAMES);
	for (unsigned i = 0; i < CASE_CPUS; i++)
		callers[i].cpu = i;
	bench_open(&b, peers);
	rows[0] = (struct bench_item){"a compare-and-swap, own line", "ns", swap_round, &word};
	rows[1] = (struct bench_item){"a line to the other CPU and back", "ns", trip_round, &word};
	for (unsigned i = 0; i < CASES_FRAMES; i++)
		rows[i + 2] = (struct bench_item){frames_cases[i].name, frames_cases[i].unit, frames_round,
						  (void *)(uintptr_t)&frames_cases[i]};
	bench_cases(&b, rows, CASES_FRAMES + 2);
	refusals(&b);
	metadata(&b, "metadata, 1 GiB", CASE_GIB_FRAMES);
	metadata(&b, "metadata, 64 GiB", CASE_64_GIB);
	return bench_close(&b, argv[1]);
}
