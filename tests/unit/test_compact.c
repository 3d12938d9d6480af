/* tests/unit/test_compact.c: mm/compact against an exhaustive search over all
 * placements of small spaces, and against its own bound on large ones. Each plan
 * is carried out on the real space. What it does not see: how good a plan is
 * that the bound does not prove exact, where an exhaustive search is too long. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "mm/compact.h"
#include "tests/unit/random.h"

#define UNITS_MAX    16u /* of a small space: a place is 4 bits of a word */
#define ALIGNS	     3u	 /* 1, 2, 4 */
#define STATES_MAX   (1u << 20)
#define COST_MAX     256u
#define UNREACHABLE  UINT64_MAX
#define SMALL_STATES (1u << 17)

/* Check notes each of its assertions in a pipe: too slow for millions. */
#define must(true_, ...)                                                                                               \
	do {                                                                                                           \
		if (!(true_))                                                                                          \
			ck_abort_msg(__VA_ARGS__);                                                                     \
	} while (0)

/* ---- a small space: what its units hold ---- */

enum { FREE = 0, PINNED = 1, ZONE = 2, MOVABLE = 3 /* and above: one extent each */ };

struct small {
	uint64_t base, step;
	unsigned units;
	enum extent_policy policy;
	unsigned char holds[UNITS_MAX];
};

struct item {
	unsigned first, units;
};

static unsigned run_length(const struct small *m, unsigned at)
{
	unsigned n = 1;

	while (at + n < m->units && m->holds[at + n] == m->holds[at])
		n++;
	return n;
}

/* ---- the oracle: Dijkstra over all placements, each unit a candidate ---- */

struct oracle {
	const struct small *m;
	struct item item[UNITS_MAX]; /* in order of length, so that equal ones are neighbours */
	unsigned items;
	unsigned walls;		/* a bit a unit */
	uint64_t *state;	/* hash table of placements, open addressing */
	unsigned *cost, *slots; /* its cost; the queue of each cost, chained */
	unsigned *next, head[COST_MAX + 1], used;
	uint64_t answer[ALIGNS][UNITS_MAX + 1]; /* units moved for a hole of that many units */
	unsigned open;
};

#define EMPTY UINT64_MAX

static struct oracle oracle;

static unsigned mask(unsigned first, unsigned units)
{
	return ((1u << units) - 1) << first;
}

static void oracle_load(struct oracle *o, const struct small *m)
{
	o->m = m;
	o->items = o->walls = 0;
	for (unsigned at = 0; at < m->units; at++)
		if (m->holds[at] == PINNED || m->holds[at] == ZONE)
			o->walls |= 1u << at;
	for (unsigned units = 1; units <= m->units; units++)
		for (unsigned at = 0; at < m->units; at += run_length(m, at))
			if (m->holds[at] >= MOVABLE && run_length(m, at) == units)
				o->item[o->items++] = (struct item){at, units};
}

/* Where the items may go, as a residue: those with equal length and residue may change places. */
static unsigned item_grid(const struct oracle *o, unsigned i)
{
	unsigned step = o->m->step == 0 ? 1 : (unsigned)o->m->step;

	return o->m->policy == EXTENT_BUDDY && o->item[i].units > step ? o->item[i].units : step;
}

static bool alike(const struct oracle *o, unsigned i, unsigned j)
{
	return o->item[i].units == o->item[j].units &&
	       o->item[i].first % item_grid(o, i) == o->item[j].first % item_grid(o, j);
}

static uint64_t encode(const struct oracle *o, const unsigned *at)
{
	unsigned sorted[UNITS_MAX] = {0};
	uint64_t code = 0;

	for (unsigned i = 0; i < o->items; i++)
		sorted[i] = at[i];
	for (unsigned i = 0; i < o->items; i++)
		for (unsigned j = i + 1; j < o->items; j++)
			if (alike(o, i, j) && sorted[j] < sorted[i]) {
				unsigned was = sorted[i];

				sorted[i] = sorted[j];
				sorted[j] = was;
			}
	for (unsigned i = 0; i < o->items; i++)
		code |= (uint64_t)sorted[i] << (4 * i);
	return code;
}

static void push(struct oracle *o, uint64_t code, unsigned cost)
{
	uint64_t h = code * UINT64_C(0x9e3779b97f4a7c15) >> 44;

	must(cost <= COST_MAX, "cost %u", cost);
	while (o->state[h] != EMPTY && o->state[h] != code)
		h = (h + 1) % STATES_MAX;
	if (o->state[h] == code && o->cost[h] <= cost)
		return;
	o->state[h] = code;
	o->cost[h] = cost;
	must(o->used < 4 * STATES_MAX, "%u states", o->used);
	o->slots[o->used] = (unsigned)h;
	o->next[o->used] = o->head[cost];
	o->head[cost] = ++o->used;
}

/* Which holes this placement has. */
static void look(struct oracle *o, unsigned taken, unsigned cost)
{
	for (unsigned first = 0; first < o->m->units; first++)
		for (unsigned units = 1; first + units <= o->m->units && !(taken & mask(first, units)); units++)
			for (unsigned a = 0; a < ALIGNS; a++)
				if ((o->m->base + first) % (1u << a) == 0 && o->answer[a][units] == UNREACHABLE) {
					o->answer[a][units] = cost;
					o->open--;
				}
}

static void visit(struct oracle *o, uint64_t code, unsigned cost)
{
	unsigned at[UNITS_MAX] = {0}, taken = o->walls;

	for (unsigned i = 0; i < o->items; i++) {
		at[i] = code >> (4 * i) & 15;
		taken |= mask(at[i], o->item[i].units);
	}
	look(o, taken, cost);
	for (unsigned i = 0; i < o->items; i++) {
		unsigned was = at[i], units = o->item[i].units, grid = item_grid(o, i);

		for (unsigned to = was % grid; to + units <= o->m->units; to += grid) {
			if (taken & mask(to, units))
				continue;
			at[i] = to;
			push(o, encode(o, at), cost + units);
		}
		at[i] = was;
	}
}

static void oracle_run(struct oracle *o, const struct small *m)
{
	unsigned at[UNITS_MAX] = {0};

	oracle_load(o, m);
	for (unsigned i = 0; i < o->used; i++)
		o->state[o->slots[i]] = EMPTY;
	o->used = 0;
	memset(o->head, 0, sizeof(o->head));
	memset(o->answer, 0xff, sizeof(o->answer));
	o->open = ALIGNS * m->units;
	for (unsigned i = 0; i < o->items; i++)
		at[i] = o->item[i].first;
	push(o, encode(o, at), 0);
	for (unsigned cost = 0; cost <= COST_MAX; cost++)
		while (o->head[cost] != 0 && o->open > 0) {
			unsigned k = o->head[cost] - 1;

			o->head[cost] = o->next[k];
			if (o->cost[o->slots[k]] == cost)
				visit(o, o->state[o->slots[k]], cost);
		}
}

static void oracle_setup(void)
{
	oracle.state = malloc(STATES_MAX * sizeof(*oracle.state));
	oracle.cost = malloc(STATES_MAX * sizeof(*oracle.cost));
	oracle.slots = malloc(4 * STATES_MAX * sizeof(*oracle.slots));
	oracle.next = malloc(4 * STATES_MAX * sizeof(*oracle.next));
	ck_assert(oracle.state && oracle.cost && oracle.slots && oracle.next);
	memset(oracle.state, 0xff, STATES_MAX * sizeof(*oracle.state));
	oracle.used = 0;
}

static void oracle_teardown(void)
{
	free(oracle.state);
	free(oracle.cost);
	free(oracle.slots);
	free(oracle.next);
}

/* ---- the space itself ---- */

struct world {
	struct extent_space *e;
	void *meta, *scratch;
	size_t scratch_bytes;
	struct compact_move *moves;
	uint32_t moves_max;
};

static void world_open(struct world *w, const struct extent_config *config, size_t states)
{
	size_t bytes = extent_meta_bytes(config->segments_max);

	w->meta = aligned_alloc(64, (bytes + 63) / 64 * 64);
	w->scratch_bytes = compact_scratch_bytes(config->segments_max) + states * 64;
	w->scratch = aligned_alloc(64, (w->scratch_bytes + 63) / 64 * 64);
	w->moves_max = 4 * config->segments_max;
	w->moves = malloc(w->moves_max * sizeof(*w->moves));
	ck_assert(w->meta && w->scratch && w->moves);
	ck_assert_int_eq(extent_init(w->meta, bytes, config, &w->e), MM_OK);
}

static enum mm_err plan_of(struct world *w, const struct compact_request *ask, struct compact_plan *plan)
{
	return compact_plan(w->e, ask, w->scratch, w->scratch_bytes, w->moves, w->moves_max, plan);
}

static void world_close(struct world *w)
{
	free(w->meta);
	free(w->scratch);
	free(w->moves);
}

static void small_build(struct world *w, const struct small *m)
{
	struct extent_config config = {
		.base = m->base, .units = m->units, .segments_max = 4 * UNITS_MAX, .policy = m->policy};

	must(extent_init(w->meta, extent_meta_bytes(config.segments_max), &config, &w->e) == MM_OK, "%u units",
	     m->units);
	for (unsigned at = 0, n; at < m->units; at += n) {
		struct extent run = {m->base + at,
				     n = m->holds[at] == PINNED || m->holds[at] == ZONE ? 1 : run_length(m, at)};

		if (m->holds[at] == ZONE) {
			must(extent_reserve(w->e, run, true) == MM_OK, "unit %u", at);
			if (below(2))
				must(extent_alloc_at(w->e, run, true) == MM_OK, "unit %u", at);
		} else if (m->holds[at] != FREE) {
			must(extent_alloc_at(w->e, run, below(2)) == MM_OK, "unit %u", at);
		}
		if (m->holds[at] == PINNED)
			must(extent_pin(w->e, run.first) == MM_OK, "unit %u", at);
	}
}

static bool apart(struct extent a, struct extent b)
{
	return a.first + a.units <= b.first || b.first + b.units <= a.first;
}

/* Carries the plan out; says what is wrong with it, or NULL. */
static const char *carry_out(struct world *w, const struct compact_request *ask, const struct compact_plan *plan)
{
	uint64_t step = ask->step == 0 ? 1 : ask->step, moved = 0;

	for (uint32_t i = 0; i < plan->moves; i++) {
		struct extent from = w->moves[i].from, to = {w->moves[i].to, from.units};
		struct extent_segment s;

		if (!extent_segment_at(w->e, from.first, &s) || !s.taken || s.zone || s.run.first != from.first ||
		    s.run.units != from.units)
			return "the source is not a live extent";
		if (!apart(from, to))
			return "the target overlaps the source";
		if ((to.first - from.first) % step != 0)
			return "not a multiple of step";
		if (extent_alloc_at(w->e, to, false) != MM_OK)
			return "the target is not free";
		if (extent_free(w->e, from) != MM_OK)
			return "the source is not free to move";
		moved += from.units;
	}
	if (moved != plan->units_moved || plan->units_moved_min > moved)
		return "the sum is wrong";
	if (plan->hole.units != ask->units || (ask->align != 0 && plan->hole.first % ask->align != 0))
		return "the hole is not what was asked for";
	for (uint64_t at = 0; at < ask->units; at++) {
		struct extent_segment s;

		if (!extent_segment_at(w->e, plan->hole.first + at, &s) || s.taken || s.zone)
			return "the hole is not free";
		at += s.run.first + s.run.units - 1 - (plan->hole.first + at);
	}
	return extent_check(w->e) ? NULL : "the space is broken";
}

static const char *show(const struct small *m, const struct compact_request *ask)
{
	static char text[256];
	int n = snprintf(text, sizeof(text),
			 "base %llu policy %d step %llu units %llu align %llu: ", (unsigned long long)m->base,
			 m->policy, (unsigned long long)m->step, (unsigned long long)ask->units,
			 (unsigned long long)ask->align);

	for (unsigned at = 0; at < m->units; at++)
		n += snprintf(text + n, sizeof(text) - (size_t)n, "%c", ".#Zabcdefghijklmnop"[m->holds[at]]);
	return text;
}

static void small_try(struct world *w, const struct small *m, unsigned units, unsigned a)
{
	struct compact_request ask = {.units = units, .align = UINT64_C(1) << a, .step = m->step, .work = UINT64_MAX};
	uint64_t want = oracle.answer[a][units];
	struct compact_plan plan = {.units_moved = 77};
	enum mm_err err;
	const char *wrong;

	small_build(w, m);
	err = compact_plan(w->e, &ask, w->scratch, w->scratch_bytes, w->moves, w->moves_max, &plan);
	must(err == (want == UNREACHABLE ? MM_ENOMEM : MM_OK), "%s: said %d, cost is %lld", show(m, &ask), err,
	     (long long)want);
	must(plan.units_moved_min == want, "%s: bound %lld, cost is %lld", show(m, &ask),
	     (long long)plan.units_moved_min, (long long)want);
	if (want == UNREACHABLE) {
		must(plan.moves == 0 && plan.hole.units == 0, "%s: a plan", show(m, &ask));
		return;
	}
	must(plan.units_moved == want, "%s: moves %lld, least is %lld", show(m, &ask), (long long)plan.units_moved,
	     (long long)want);
	wrong = carry_out(w, &ask, &plan);
	must(wrong == NULL, "%s: %s", show(m, &ask), wrong);
}

/* With little work and memory the plan may be dear or missing, but not wrong, and the bound holds. */
static void small_try_poor(struct world *w, const struct small *m, unsigned units, unsigned a)
{
	struct compact_request ask = {.units = units, .align = UINT64_C(1) << a, .step = m->step, .work = below(2000)};
	size_t bytes = compact_scratch_bytes(2 * UNITS_MAX);
	uint64_t want = oracle.answer[a][units];
	struct compact_plan plan;
	enum mm_err err;

	small_build(w, m);
	err = compact_plan(w->e, &ask, w->scratch, bytes, w->moves, w->moves_max, &plan);
	must(plan.units_moved_min <= want, "%s: bound %lld, cost is %lld", show(m, &ask),
	     (long long)plan.units_moved_min, (long long)want);
	if (err == MM_OK) {
		const char *wrong = carry_out(w, &ask, &plan);

		must(wrong == NULL, "%s: %s", show(m, &ask), wrong);
		must(plan.units_moved >= want, "%s: below the least", show(m, &ask));
	}
}

/* Every hole that may be wanted of this space. */
static void small_try_all(struct world *w, const struct small *m)
{
	oracle_run(&oracle, m);
	for (unsigned units = 1; units <= m->units; units++)
		for (unsigned a = 0; a < ALIGNS; a++) {
			small_try(w, m, units, a);
			small_try_poor(w, m, units, a);
		}
}

/* ---- all small spaces ---- */

static uint64_t spaces;

static void fill(struct world *w, struct small *m, unsigned at, unsigned char next)
{
	if (at == m->units) {
		m->base = spaces++ % 4;
		small_try_all(w, m);
		return;
	}
	m->holds[at] = FREE;
	fill(w, m, at + 1, next);
	m->holds[at] = PINNED;
	fill(w, m, at + 1, next);
	for (unsigned end = at + 1; end <= m->units; end++) {
		memset(&m->holds[at], next, end - at);
		fill(w, m, end, next + 1);
	}
}

static void small_open(struct world *w, size_t states)
{
	struct extent_config config = {.units = UNITS_MAX, .segments_max = 4 * UNITS_MAX, .policy = EXTENT_FIRST_FIT};

	world_open(w, &config, states);
}

START_TEST(all_small_spaces)
{
	const char *asked = getenv("SLAT_COMPACT_UNITS");
	unsigned most = asked ? (unsigned)atoi(asked) : 8;
	struct world w;

	seed(1);
	small_open(&w, 0);
	for (unsigned units = 1; units <= most; units++) {
		struct small m = {.units = units, .policy = EXTENT_FIRST_FIT};

		fill(&w, &m, 0, MOVABLE);
	}
	world_close(&w);
}
END_TEST

/* ---- random spaces, larger than those that can all be tried ---- */

static void small_random(struct small *m, unsigned dense)
{
	unsigned char next = MOVABLE;

	for (unsigned at = 0, n; at < m->units; at += n) {
		n = 1 + (unsigned)below(5);
		if (n > m->units - at)
			n = m->units - at;
		if (below(100) < dense) {
			memset(&m->holds[at], next++, n);
		} else {
			n = 1;
			m->holds[at] = below(8) ? FREE : below(2) ? PINNED : ZONE;
		}
	}
}

START_TEST(random_spaces)
{
	const char *asked = getenv("SLAT_COMPACT_ROUNDS");
	unsigned rounds = asked ? (unsigned)atoi(asked) : 2000;
	struct world w;

	seed(2);
	small_open(&w, SMALL_STATES);
	for (unsigned i = 0; i < rounds; i++) {
		struct small m = {.units = 8 + (unsigned)below(7), .base = below(9), .policy = EXTENT_BEST_FIT};

		m.step = below(3) ? 0 : UINT64_C(1) << below(3);
		if (below(4) == 0)
			m.base = -(uint64_t)m.units; /* up to the last unit of all */
		small_random(&m, 15 + (unsigned)below(60));
		small_try_all(&w, &m);
	}
	world_close(&w);
}
END_TEST

START_TEST(random_buddies)
{
	struct world w;

	seed(3);
	small_open(&w, SMALL_STATES);
	for (unsigned i = 0; i < 2000; i++) {
		struct small m = {.units = 8 + (unsigned)below(9), .base = 8 * below(3), .policy = EXTENT_BUDDY};
		unsigned char next = MOVABLE;
		unsigned dense = 15 + (unsigned)below(60);

		m.step = below(3) ? 0 : UINT64_C(1) << below(3);
		for (unsigned at = 0, n; at < m.units; at += n) {
			n = 1u << below(4);
			while (at % n != 0 || n > m.units - at)
				n /= 2;
			if (below(100) < dense)
				memset(&m.holds[at], next++, n);
			else
				m.holds[at + (n = 1) - 1] = below(12) ? FREE : below(2) ? PINNED : ZONE;
		}
		small_try_all(&w, &m);
	}
	world_close(&w);
}
END_TEST

/* ---- large spaces ---- */

struct large {
	const char *what;
	uint32_t extents;
	uint64_t units_min, units_max; /* of an extent */
	uint64_t gap_max;	       /* 0: the holes are what random frees left */
	unsigned occupied;	       /* then, per cent */
	unsigned pinned;	       /* per mille */
};

/* Extents by best fit until the space is full; then random ones go, until `occupied` is left. */
static uint32_t large_scatter(struct world *w, const struct large *l, struct extent *live)
{
	uint64_t units = l->extents * ((l->units_min + l->units_max) / 2), used = 0;
	struct extent_config config = {
		.base = 12345, .units = units, .segments_max = 3 * l->extents, .policy = EXTENT_BEST_FIT};
	struct extent_request ask = {0};
	uint32_t n = 0;

	world_open(w, &config, 0);
	do {
		ask.units = l->units_min + below(l->units_max - l->units_min + 1);
		if (n == l->extents || extent_alloc(w->e, &ask, &live[n]) != MM_OK)
			break;
		used += live[n++].units;
	} while (true);
	while (n > 0 && used * 100 > units * l->occupied) {
		uint32_t i = (uint32_t)below(n);

		used -= live[i].units;
		ck_assert_int_eq(extent_free(w->e, live[i]), MM_OK);
		live[i] = live[--n];
	}
	return n;
}

/* Extents and gaps by turns. */
static uint32_t large_space_out(struct world *w, const struct large *l, struct extent *live)
{
	struct extent_config config = {.base = 12345, .segments_max = 3 * l->extents, .policy = EXTENT_BEST_FIT};
	uint64_t at = config.base;

	for (uint32_t i = 0; i < l->extents; i++) {
		live[i] = (struct extent){at, l->units_min + below(l->units_max - l->units_min + 1)};
		at += live[i].units + below(l->gap_max + 1);
	}
	config.units = at + l->gap_max - config.base;
	world_open(w, &config, 0);
	for (uint32_t i = 0; i < l->extents; i++)
		ck_assert_int_eq(extent_alloc_at(w->e, live[i], false), MM_OK);
	return l->extents;
}

static void large_build(struct world *w, const struct large *l)
{
	struct extent *live = calloc(l->extents, sizeof(*live));
	uint32_t n;

	ck_assert_ptr_nonnull(live);
	n = l->gap_max == 0 ? large_scatter(w, l, live) : large_space_out(w, l, live);
	for (uint32_t i = 0; i < n; i++)
		if (below(1000) < l->pinned)
			ck_assert_int_eq(extent_pin(w->e, live[i].first), MM_OK);
	free(live);
}

static const struct large large_cases[] = {
	{"dense", 5000, 1, 100, 0, 95, 0},   {"dense, pins", 5000, 1, 100, 0, 90, 2},
	{"half", 5000, 1, 100, 0, 50, 10},   {"sparse", 50000, 1, 1000, 0, 30, 1},
	{"large", 50000, 1, 1000, 0, 80, 0}, {"long", 5000, 1, 1000000, 0, 90, 0},
	{"equal", 50000, 64, 64, 0, 90, 0},  {"even", 50000, 1, 100, 100, 0, 1},
	{"tight", 5000, 64, 100, 80, 0, 0},  {"tighter", 5000, 64, 100, 64, 0, 0},
};
#define LARGE_CASES ((int)(sizeof(large_cases) / sizeof(large_cases[0])))
#define SHARES	    5u

/* Holes of a part of all that is free, in thousandths, and how far from the bound a plan may be, in per cent. */
static const unsigned share[SHARES] = {1, 5, 20, 100, 500};
static const unsigned over[][SHARES] = {
	{0, 0, 0, 0, 0}, {0, 0, 0, 0, 0}, {0, 0, 0, 0, 0}, {0, 0, 0, 0, 0},	  {0, 0, 0, 0, 0},
	{0, 0, 0, 0, 0}, {0, 0, 0, 0, 0}, {0, 0, 0, 0, 0}, {50, 50, 50, 50, 400}, {300, 300, 300, 300, 400},
};

static enum mm_err plan_timed(struct world *w, const struct compact_request *ask, struct compact_plan *plan, double *ms)
{
	struct timespec a, b;
	enum mm_err err;

	clock_gettime(CLOCK_MONOTONIC, &a);
	err = compact_plan(w->e, ask, w->scratch, w->scratch_bytes, w->moves, w->moves_max, plan);
	clock_gettime(CLOCK_MONOTONIC, &b);
	*ms = (double)(b.tv_sec - a.tv_sec) * 1e3 + (double)(b.tv_nsec - a.tv_nsec) / 1e6;
	return err;
}

static void large_try(const struct large *l, unsigned thousandths, unsigned per_cent)
{
	struct compact_request ask = {.work = 10000000};
	struct compact_plan plan = {0};
	struct extent_stats s;
	const char *wrong;
	enum mm_err err;
	struct world w;
	double ms;

	large_build(&w, l);
	s = extent_stats_read(w.e);
	ask.units = s.units_free * thousandths / 1000;
	if (ask.units <= s.largest_hole)
		ask.units = s.largest_hole + 1;
	w.scratch_bytes = compact_scratch_bytes((uint32_t)(s.holes + s.extents));
	err = plan_timed(&w, &ask, &plan, &ms);
	if (getenv("SLAT_COMPACT_SHOW"))
		printf("%-12s %6u segments, %9llu free, largest %8llu, wanted %9llu: %d, %9llu in %5u moves, "
		       "bound %9llu, %.2f ms\n",
		       l->what, (unsigned)(s.holes + s.extents), (unsigned long long)s.units_free,
		       (unsigned long long)s.largest_hole, (unsigned long long)ask.units, err,
		       (unsigned long long)plan.units_moved, plan.moves, (unsigned long long)plan.units_moved_min, ms);
	if (err != MM_OK) {
		/* Pins leave no place for so large a hole. */
		ck_assert_int_eq(err, MM_ENOMEM);
		ck_assert_msg(plan.units_moved_min == UINT64_MAX && l->pinned > 0, "%s: no plan", l->what);
	} else {
		ck_assert_msg(plan.units_moved * 100 <= plan.units_moved_min * (100 + per_cent),
			      "%s, %u: %llu moved, bound %llu", l->what, thousandths,
			      (unsigned long long)plan.units_moved, (unsigned long long)plan.units_moved_min);
		wrong = carry_out(&w, &ask, &plan);
		ck_assert_msg(wrong == NULL, "%s: %s", l->what, wrong);
	}
	world_close(&w);
}

START_TEST(large_spaces)
{
	seed(4);
	for (unsigned i = 0; i < SHARES; i++)
		large_try(&large_cases[_i], share[i], over[_i][i]);
}
END_TEST

/* ---- a row of small extents, where each look for a room sees a cheaper one at each step ---- */

#define ROW	  100000u
#define ROW_LARGE 3u
#define ROW_ROOM  15000u  /* small extents that are in the way of a large one, or so */
#define ROW_GAP	  200000u /* as long as the first of them */
#define ROW_LOOKS 30u

/* Large ones at the bottom, which no gap takes in; above a wall, which stops slides, gaps and ever shorter extents. */
static void row_build(struct world *w, uint64_t large)
{
	struct extent_config config = {.units = ROW_LARGE * large + 1 + (2 * ROW_GAP - (ROW - 1) / 2) * (uint64_t)ROW,
				       .segments_max = 3 * ROW,
				       .policy = EXTENT_FIRST_FIT};
	uint64_t at = ROW_LARGE * large;

	world_open(w, &config, 0);
	for (uint64_t i = 0; i < ROW_LARGE; i++)
		ck_assert_int_eq(extent_alloc_at(w->e, (struct extent){i * large, large}, false), MM_OK);
	ck_assert_int_eq(extent_alloc_at(w->e, (struct extent){at, 1}, false), MM_OK);
	ck_assert_int_eq(extent_pin(w->e, at++), MM_OK);
	for (uint64_t i = 0; i < ROW; i++) {
		must(extent_alloc_at(w->e, (struct extent){at + ROW_GAP, ROW_GAP - i}, false) == MM_OK, "%d", (int)i);
		at += 2 * ROW_GAP - i;
	}
}

/* Only one place for the hole, and a room for each large one above it: n steps
 * each, and one for each extent that moves. What time bounds here is the case's
 * timeout: a look for a room that cost more than it counts would need minutes. */
START_TEST(work_counts_what_is_looked_at)
{
	struct compact_request ask = {.align = UINT64_C(1) << 60};
	uint64_t large = ROW_ROOM * UINT64_C(300000), n = ROW + ROW_LARGE;
	struct compact_plan plan, more;
	struct world w;

	row_build(&w, large);
	ask.units = ROW_LARGE * large;
	ask.work = 2 * (ROW_LARGE * n - 1); /* half is kept for slides */
	ck_assert_int_eq(plan_of(&w, &ask, &plan), MM_ENOMEM);
	ck_assert_uint_eq(plan.units_moved_min, ROW_LARGE * large);
	ask.work = 2 * (ROW_LARGE * n + n);
	for (unsigned i = 0; i < ROW_LOOKS; i++)
		ck_assert_int_eq(plan_of(&w, &ask, &plan), MM_OK);
	ask.work *= 4;
	ck_assert_int_eq(plan_of(&w, &ask, &more), MM_OK);
	ck_assert_uint_eq(plan.units_moved, more.units_moved);
	ck_assert_uint_gt(plan.moves, ROW_LARGE * ROW_ROOM / 2);
	ck_assert_pstr_eq(carry_out(&w, &ask, &more), NULL);
	world_close(&w);
}
END_TEST

/* ---- the edges ---- */

/* Extents where text has a letter, each letter one; capitals are pinned. */
static void picture(struct world *w, const char *text, uint64_t base)
{
	struct extent_config config = {
		.base = base, .units = strlen(text), .segments_max = 64, .policy = EXTENT_FIRST_FIT};

	world_open(w, &config, 0);
	for (size_t at = 0, n; text[at] != 0; at += n) {
		struct extent run = {base + at, n = strspn(text + at, (char[]){text[at], 0})};

		if (text[at] == '.')
			continue;
		ck_assert_int_eq(extent_alloc_at(w->e, run, false), MM_OK);
		if (text[at] < 'a')
			ck_assert_int_eq(extent_pin(w->e, run.first), MM_OK);
	}
}

START_TEST(refused)
{
	const struct compact_request good = {.units = 4, .work = 1000};
	const struct compact_request bad[] = {
		{.units = 0, .work = 1000},
		{.units = 4, .align = 3, .work = 1000},
		{.units = 4, .step = 6, .work = 1000},
	};
	struct compact_plan plan, before;
	struct world w;
	size_t least;

	picture(&w, "..a..b..", 0);
	least = compact_scratch_bytes(5);
	memset(&plan, 0x5a, sizeof(plan));
	before = plan;
	for (unsigned i = 0; i < 3; i++)
		ck_assert_int_eq(plan_of(&w, &bad[i], &plan), MM_EINVAL);
	ck_assert_int_eq(compact_plan(w.e, &good, NULL, least, w.moves, 9, &plan), MM_EINVAL);
	ck_assert_int_eq(compact_plan(w.e, &good, (char *)w.scratch + 8, least, w.moves, 9, &plan), MM_EINVAL);
	ck_assert_int_eq(compact_plan(w.e, &good, w.scratch, least - 1, w.moves, 9, &plan), MM_EINVAL);
	ck_assert_int_eq(memcmp(&plan, &before, sizeof(plan)), 0);
	ck_assert_int_eq(compact_plan(w.e, &good, w.scratch, least, w.moves, 9, &plan), MM_OK);
	ck_assert_uint_eq(plan.units_moved, 1);
	world_close(&w);
}
END_TEST

/* The scratch of this space and not a byte more; the space and the moves beyond the plan's stay as they are. */
START_TEST(what_is_written)
{
	struct compact_request ask = {.units = 7, .work = UINT64_MAX};
	struct compact_plan plan, again;
	struct world w;
	size_t least, meta = extent_meta_bytes(64);
	unsigned char *tail, *was = malloc(meta);

	picture(&w, "..a.bb.C..dd.e..", 5);
	ck_assert_ptr_nonnull(was);
	least = compact_scratch_bytes(11);
	tail = (unsigned char *)w.scratch + least;
	memset(w.scratch, 0xa5, w.scratch_bytes);
	memset(w.moves, 0xa5, w.moves_max * sizeof(*w.moves));
	memcpy(was, w.meta, meta);
	ck_assert_int_eq(compact_plan(w.e, &ask, w.scratch, least, w.moves, w.moves_max, &plan), MM_OK);
	ck_assert_uint_eq(plan.units_moved, 3);
	ck_assert_uint_eq(plan.moves, 2);
	ck_assert(w.scratch_bytes > least + 64);
	for (size_t i = 0; i < 64; i++)
		ck_assert_uint_eq(tail[i], 0xa5);
	for (size_t i = 2 * sizeof(*w.moves); i < w.moves_max * sizeof(*w.moves); i++)
		ck_assert_uint_eq(((unsigned char *)w.moves)[i], 0xa5);
	ck_assert_int_eq(memcmp(was, w.meta, meta), 0);

	memset(w.scratch, 0x11, w.scratch_bytes);
	ck_assert_int_eq(compact_plan(w.e, &ask, w.scratch, least, w.moves, w.moves_max, &again), MM_OK);
	ck_assert_int_eq(memcmp(&plan, &again, sizeof(plan)), 0);
	free(was);
	world_close(&w);
}
END_TEST

START_TEST(too_many_moves)
{
	struct compact_request ask = {.units = 8, .work = UINT64_MAX};
	struct compact_plan plan;
	struct world w;

	picture(&w, "..a..b..c..d..e..", 0);
	ck_assert_int_eq(compact_plan(w.e, &ask, w.scratch, w.scratch_bytes, w.moves, 1, &plan), MM_ENOMEM);
	ck_assert_uint_eq(plan.moves, 2);
	ck_assert_uint_eq(plan.units_moved, 2);
	ck_assert_uint_eq(plan.units_moved_min, 2);
	ck_assert_uint_eq(plan.hole.units, 0);
	ck_assert_int_eq(compact_plan(w.e, &ask, w.scratch, w.scratch_bytes, w.moves, 2, &plan), MM_OK);
	world_close(&w);
}
END_TEST

START_TEST(nothing_to_move)
{
	struct compact_request ask = {.units = 3, .align = 4};
	struct compact_plan plan;
	struct world w;

	picture(&w, "a..bb......c", 10);
	ck_assert_int_eq(compact_plan(w.e, &ask, w.scratch, w.scratch_bytes, NULL, 0, &plan), MM_OK);
	ck_assert_uint_eq(plan.moves, 0);
	ck_assert_uint_eq(plan.units_moved_min, 0);
	ck_assert_uint_eq(plan.hole.first, 16);
	world_close(&w);
}
END_TEST

/* One direct attempt is made without any work; what takes more is not found, but not denied. */
START_TEST(no_work)
{
	struct compact_request ask = {.units = 4};
	struct compact_plan plan;
	struct world w;

	picture(&w, "..a..bb", 0);
	ck_assert_int_eq(plan_of(&w, &ask, &plan), MM_OK);
	ck_assert_uint_eq(plan.units_moved, 1);
	world_close(&w);

	/* bbb finds room only where a has left. */
	picture(&w, "..bbbX.a.X.X", 0);
	ask.units = 5;
	ck_assert_int_eq(plan_of(&w, &ask, &plan), MM_ENOMEM);
	ck_assert_uint_eq(plan.moves, 0);
	ck_assert_uint_eq(plan.units_moved_min, 3);
	ask.work = 1000;
	ck_assert_int_eq(plan_of(&w, &ask, &plan), MM_OK);
	ck_assert_uint_eq(plan.units_moved, 4);
	ck_assert_uint_eq(plan.units_moved_min, 4);
	world_close(&w);
}
END_TEST

/* More extents, or more places, than the search takes on: the bound stays what the windows say. */
START_TEST(not_searched)
{
	struct compact_request ask = {.units = 20, .work = UINT64_MAX};
	struct extent_config config = {.units = 1995, .segments_max = 800, .policy = EXTENT_FIRST_FIT};
	struct compact_plan plan;
	struct world w;

	world_open(&w, &config, 0);
	for (uint64_t at = 0; at < 1995; at += 7)
		ck_assert_int_eq(extent_alloc_at(w.e, (struct extent){at, 5}, false), MM_OK);
	ck_assert_int_eq(plan_of(&w, &ask, &plan), MM_ENOMEM);
	ck_assert_uint_eq(plan.units_moved_min, 15);
	world_close(&w);

	config.units = UINT64_C(1) << 40;
	world_open(&w, &config, 0);
	for (uint64_t i = 0; i < 12; i++)
		ck_assert_int_eq(
			extent_alloc_at(w.e, (struct extent){i << 36, (UINT64_C(1) << 35) + (UINT64_C(1) << i)}, false),
			MM_OK);
	ask.units = (config.units >> 1) + 1;
	ck_assert_int_eq(plan_of(&w, &ask, &plan), MM_OK);
	ck_assert_uint_lt(plan.units_moved_min, plan.units_moved);
	world_close(&w);
}
END_TEST

/* Nine of 3 cannot leave one of five cells of 8: proven where there is memory for all placements, else not denied. */
START_TEST(out_of_memory)
{
	struct compact_request ask = {.units = 8, .work = UINT64_MAX};
	struct compact_plan plan;
	struct world w;
	size_t more = SMALL_STATES * 64;

	picture(&w, ".aaa.bbbX.ccc.dddX.eee.fffXggg..hhhX.iii....", 0);
	ck_assert_int_eq(plan_of(&w, &ask, &plan), MM_ENOMEM);
	ck_assert_uint_eq(plan.moves, 0);
	ck_assert_uint_lt(plan.units_moved_min, UINT64_MAX);
	free(w.scratch);
	w.scratch_bytes += more;
	w.scratch = aligned_alloc(64, (w.scratch_bytes + 63) / 64 * 64);
	ck_assert_int_eq(plan_of(&w, &ask, &plan), MM_ENOMEM);
	ck_assert_uint_eq(plan.moves, 0);
	ck_assert_uint_eq(plan.units_moved_min, UINT64_MAX);
	world_close(&w);
}
END_TEST

/* However the scratch ends, what is carved from it fits. */
START_TEST(odd_scratch)
{
	struct compact_request ask = {.units = 8, .work = 5000};
	struct compact_plan plan;
	struct world w;
	struct extent_stats s;
	size_t least;

	picture(&w, ".aaa.bbbX.ccc.dddX.eee.fffXggg..hhhX.iii....", 0);
	s = extent_stats_read(w.e);
	least = compact_scratch_bytes((uint32_t)(s.holes + s.extents));
	for (size_t more = 0; more < 200; more++)
		ck_assert_int_eq(compact_plan(w.e, &ask, w.scratch, least + more, w.moves, w.moves_max, &plan),
				 MM_ENOMEM);
	free(w.scratch);
	w.scratch = aligned_alloc(64, (least + 4200 * 56 + 63) / 64 * 64);
	for (size_t more = 4000 * 56; more < 4200 * 56; more += 8) /* the table of placements doubles here */
		ck_assert_int_eq(compact_plan(w.e, &ask, w.scratch, least + more, w.moves, w.moves_max, &plan),
				 MM_ENOMEM);
	world_close(&w);
}
END_TEST

/* Cases that a shortcut gets wrong. UINT64_MAX: there is no plan. */
static const struct {
	const char *picture;
	struct compact_request ask;
	uint64_t cost;
} traps[] = {
	/* aa ends up resting on the hole, and must go to the bottom to come there. */
	{"..aa.bbbbbcc", {.units = 3, .align = 4, .work = UINT64_MAX}, 4},
	/* What aaaa leaves below the window takes in bbb, and not cc. */
	{"XXXX..aaaabbbcc.X....X.X.X.", {.units = 8, .align = 8, .work = UINT64_MAX}, UINT64_MAX},
	/* On its grid aaaaa would overlap where it is. */
	{"X.....aaaaa..X", {.units = 6, .step = 4, .work = UINT64_MAX}, UINT64_MAX},
	{"X..aaaaa.....X", {.units = 6, .step = 4, .work = UINT64_MAX}, UINT64_MAX},
};

START_TEST(trap)
{
	uint64_t cost = traps[_i].cost;
	struct compact_plan plan;
	struct world w;

	picture(&w, traps[_i].picture, 0);
	ck_assert_int_eq(plan_of(&w, &traps[_i].ask, &plan), cost == UINT64_MAX ? MM_ENOMEM : MM_OK);
	ck_assert_uint_eq(plan.units_moved_min, cost);
	if (cost != UINT64_MAX) {
		ck_assert_uint_eq(plan.units_moved, cost);
		ck_assert_pstr_eq(carry_out(&w, &traps[_i].ask, &plan), NULL);
	}
	world_close(&w);
}
END_TEST

/* All numbers but one, and steps that leave the 64 bits. */
START_TEST(whole_range)
{
	struct compact_request ask = {.units = UINT64_C(1) << 62, .align = UINT64_C(1) << 63, .work = UINT64_MAX};
	struct extent_config config = {.units = UINT64_MAX, .segments_max = 32, .policy = EXTENT_FIRST_FIT};
	struct extent low = {5, 10}, middle = {UINT64_C(1) << 63, 3}, high = {UINT64_MAX - 7, 7};
	struct compact_plan plan;
	struct world w;

	world_open(&w, &config, 0);
	ck_assert_int_eq(extent_alloc_at(w.e, low, false), MM_OK);
	ck_assert_int_eq(extent_alloc_at(w.e, middle, false), MM_OK);
	ck_assert_int_eq(extent_alloc_at(w.e, high, false), MM_OK);
	ck_assert_int_eq(plan_of(&w, &ask, &plan), MM_OK);
	ck_assert_uint_eq(plan.units_moved, 3);
	ck_assert_uint_eq(plan.units_moved_min, 3);
	ck_assert_pstr_eq(carry_out(&w, &ask, &plan), NULL);
	ask.units = UINT64_MAX;
	ask.align = ask.step = UINT64_C(1) << 63;
	ck_assert_int_eq(plan_of(&w, &ask, &plan), MM_ENOMEM);
	ck_assert_uint_eq(plan.units_moved_min, UINT64_MAX);
	world_close(&w);
}
END_TEST

/* Many gaps are long enough for the extent, and off its grid; only the longest is sure to have a place on it. */
START_TEST(off_the_grid)
{
	struct compact_request ask = {.units = 30, .step = 8, .work = UINT64_MAX};
	struct compact_plan plan;
	struct world w;
	char text[256];

	memset(text, 'X', sizeof(text));
	text[sizeof(text) - 1] = 0;
	memset(text, '.', 31);
	memset(text + 8, 'a', 4);
	for (unsigned at = 33; at < 200; at += 8)
		memset(text + at, '.', 5);
	memset(text + 201, '.', 11);
	picture(&w, text, 0);
	ck_assert_int_eq(plan_of(&w, &ask, &plan), MM_OK);
	ck_assert_uint_eq(plan.units_moved, 4);
	ck_assert_uint_eq(plan.units_moved_min, 4);
	ck_assert_pstr_eq(carry_out(&w, &ask, &plan), NULL);
	world_close(&w);
}
END_TEST

Suite *compact_suite(void);

Suite *compact_suite(void)
{
	Suite *s = suite_create("compact");
	TCase *small = tcase_create("small"), *large = tcase_create("large"), *row = tcase_create("row"),
	      *edges = tcase_create("edges");

	tcase_add_checked_fixture(small, oracle_setup, oracle_teardown);
	tcase_set_timeout(small, 0);
	tcase_add_test(small, all_small_spaces);
	tcase_add_test(small, random_spaces);
	tcase_add_test(small, random_buddies);
	suite_add_tcase(s, small);
	tcase_set_timeout(large, 0);
	tcase_add_loop_test(large, large_spaces, 0, LARGE_CASES);
	suite_add_tcase(s, large);
	tcase_set_timeout(row, 40);
	tcase_add_test(row, work_counts_what_is_looked_at);
	suite_add_tcase(s, row);
	tcase_add_test(edges, refused);
	tcase_add_test(edges, what_is_written);
	tcase_add_test(edges, too_many_moves);
	tcase_add_test(edges, nothing_to_move);
	tcase_add_test(edges, no_work);
	tcase_add_test(edges, not_searched);
	tcase_add_test(edges, out_of_memory);
	tcase_add_test(edges, odd_scratch);
	tcase_add_test(edges, whole_range);
	tcase_add_loop_test(edges, trap, 0, (int)(sizeof(traps) / sizeof(traps[0])));
	tcase_add_test(edges, off_the_grid);
	suite_add_tcase(s, edges);
	return s;
}
