/* tests/unit/test_pack.c: experiments against a model that goes through simulated time second by
 * second over lists: who is refused, who waits and how long, when he leaves, and every figure. The fleet
 * is one host of free units, so that the model need not know holes (test_fleet.c does). */
#include <check.h>
#undef fail
#include <stdlib.h>
#include <string.h>

#include "tests/unit/random.h"
#include "vmm/pack/fleet_impl.h"
#include "vmm/pack/pack_impl.h"

#define GUESTS 400u
#define UNITS  1000u
#define SECOND UINT64_C(1000000)
#define FINE   (SECOND * SECOND * SECOND) /* what ratios are summed in */

/* ---- a trace ---- */

static struct event event[2 * GUESTS];
static unsigned events, event_at;
static bool source_fails;
static bool foreseen; /* lifetimes are known */

static enum event_next next(void *self, struct event *out, struct failure *f)
{
	(void)self;
	if (event_at == events)
		return EVENT_END;
	if (source_fails && event_at == 5) {
		(void)fail(f, EXIT_HOST, "the source is dry");
		return EVENT_FAILED;
	}
	*out = event[event_at++];
	return EVENT_ONE;
}

static const struct pack_source source = {.next = next};

static struct guest { /* of the model */
	uint64_t arrive, depart, units, size;
	uint64_t placed, left;
	bool lives, waits, gone;
} guest[GUESTS];

/* Slots are used again at once: the lowest that nobody has. */
static void trace_make(uint64_t span, uint64_t life)
{
	uint64_t arrive = 0;
	unsigned from = 0;
	bool taken[GUESTS] = {0};
	uint32_t slot[GUESTS];

	events = event_at = 0;
	for (unsigned i = 0; i < GUESTS; i++) {
		arrive += below(2 * span / GUESTS + 1);
		guest[i] = (struct guest){.arrive = arrive, .depart = arrive + below(life), .units = 1 + below(120)};
	}
	for (uint64_t t = 0; t <= arrive + life; t++) { /* departures first, but for those of no life */
		for (unsigned i = 0; i < from; i++)
			if (guest[i].depart == t && guest[i].arrive < t) {
				event[events++] =
					(struct event){.time_us = t * SECOND, .kind = EVENT_DEPART, .guest = slot[i]};
				taken[slot[i]] = false;
			}
		for (; from < GUESTS && guest[from].arrive == t; from++) {
			for (slot[from] = 0; taken[slot[from]]; slot[from]++)
				;
			taken[slot[from]] = true;
			guest[from].size = guest[from].units * 4096 - below(4096);
			event[events++] = (struct event){.time_us = t * SECOND,
							 .kind = EVENT_ARRIVE,
							 .guest = slot[from],
							 .number = from,
							 .size = guest[from].size,
							 .life_us = foreseen ? (guest[from].depart - t) * SECOND
									     : EVENT_LIFE_UNKNOWN,
							 .node = EVENT_NODE_ANY};
			if (guest[from].depart != t)
				continue;
			event[events++] =
				(struct event){.time_us = t * SECOND, .kind = EVENT_DEPART, .guest = slot[from]};
			taken[slot[from]] = false;
		}
	}
	ck_assert_uint_eq(events, 2 * GUESTS);
}

/* ---- the model ---- */

static uint64_t used;
static struct pack_figures want;

static void model_place(struct guest *g, uint64_t t)
{
	g->lives = true;
	g->waits = false;
	g->placed = t;
	used += g->units;
	want.accepted++;
	want.units_accepted += g->units;
	want.wait_us += (t - g->arrive) * SECOND;
	want.waited += t > g->arrive;
	if (used * 1000000 / UNITS > want.utilisation_peak_ppm)
		want.utilisation_peak_ppm = used * 1000000 / UNITS;
}

static void model_leave(struct guest *g, uint64_t t)
{
	g->lives = false;
	g->gone = true;
	g->left = t;
	used -= g->units;
	want.departures++;
}

static void model_serve(unsigned known, uint64_t t)
{
	for (unsigned i = 0; i < known; i++) {
		if (!guest[i].waits)
			continue;
		if (UNITS - used < guest[i].units)
			return;
		model_place(&guest[i], t);
	}
}

static bool model_waiting(unsigned known)
{
	for (unsigned i = 0; i < known; i++)
		if (guest[i].waits)
			return true;
	return false;
}

/* [from, from + count) of the arrivals. */
static void model_run(bool wait, unsigned from, unsigned count, uint64_t last)
{
	uint64_t guests = 0, sizes;
	unsigned __int128 given = 0, over = 0, asked = 0;
	uint64_t over_span = 0, begun = UINT64_MAX;

	memset(&want, 0, sizeof(want));
	used = 0;
	for (uint64_t t = 0; t <= last; t++) {
		for (unsigned i = from; i < from + count; i++) {
			struct guest *g = &guest[i];

			if (!g->lives || g->depart + (g->placed - g->arrive) != t || g->arrive == t)
				continue;
			model_leave(g, t);
			model_serve(from + count, t);
			i = from - 1; /* one that had waited for its whole life may have come and be done */
		}
		for (unsigned i = from; i < from + count; i++) {
			struct guest *g = &guest[i];

			if (g->arrive != t || g->gone || g->lives || g->waits)
				continue;
			begun = t < begun ? t : begun;
			want.arrivals++;
			if (UNITS - used >= g->units && !model_waiting(i)) {
				model_place(g, t);
			} else if (wait) {
				g->waits = true;
			} else {
				want.refused[FLEET_NO_MEMORY]++;
				want.units_refused += g->units;
				g->gone = true;
			}
			if (g->lives && g->depart == t) {
				model_leave(g, t);
				model_serve(i, t);
			}
		}
		for (unsigned i = guests = sizes = 0; i < GUESTS; i++) {
			guests += guest[i].lives;
			sizes += guest[i].lives ? guest[i].size : 0;
		}
		want.guests_peak = guests > want.guests_peak ? guests : want.guests_peak;
		if (t == last || begun == UINT64_MAX)
			continue;
		want.span_us += SECOND;
		given += used;
		asked += sizes;
		want.guests_milli += guests;
		if (used > 0) {
			over += (unsigned __int128)(UNITS - used) * FINE / used;
			over_span++;
		}
	}
	want.utilisation_ppm = (uint64_t)(given * 1000000 / ((unsigned __int128)UNITS * (want.span_us / SECOND)));
	want.guests_milli = want.guests_milli * 1000 / (want.span_us / SECOND);
	want.internal_ppm = (uint64_t)((given * 4096 - asked) * 1000000 / (given * 4096));
	want.over_ppm = (uint64_t)((over / over_span + 1) / (FINE / 1000000));
	for (unsigned i = 0; i < GUESTS; i++) {
		want.refused[FLEET_NO_MEMORY] += guest[i].waits;
		want.units_refused += guest[i].waits ? guest[i].units : 0;
	}
}

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void waits_compare(const struct pack *p, const struct pack_figures *got)
{
	static uint64_t waits[GUESTS];
	uint64_t n = 0, exact;

	for (unsigned i = 0; i < GUESTS; i++)
		if (guest[i].lives || guest[i].left > 0 || (guest[i].gone && guest[i].placed >= guest[i].arrive))
			waits[n++] = (guest[i].placed - guest[i].arrive) * SECOND;
	ck_assert_uint_eq(n, got->accepted);
	qsort(waits, n, sizeof(*waits), by_size);
	exact = waits[n - n / 100 - 1];
	ck_assert(got->wait_p99.least <= exact && got->wait_p99.most >= exact);
	ck_assert(got->wait_p99.most - got->wait_p99.least <= got->wait_p99.least / 32);
	ck_assert_uint_eq(got->wait_longest_us, waits[n - 1]);
	ck_assert_uint_le(got->wait_p99.most, waits[n - 1]);
	ck_assert_uint_eq(got->wait_mean_us, got->wait_us / n);
	for (unsigned percent = 0; percent <= 100; percent++) {
		const struct pack_wait range = pack_wait_quantile(p, percent);
		uint64_t rank = n - n * (100 - percent) / 100;

		exact = rank ? waits[rank - 1] : 0;
		ck_assert(range.least <= exact && exact <= range.most && range.most - range.least <= range.least / 32);
		ck_assert(range.most <= waits[n - 1] && (rank < n || range.least == exact));
	}
}

static struct failure failure;

static struct pack *open_one(bool wait, uint64_t from, uint64_t count)
{
	struct fleet_shape shape = {.hosts = 1, .nodes = 1, .node = {{UNITS, 0, FLEET_CPU_UNLIMITED, 0}}};
	struct pack_config config = {
		.fleet = {.shape = &shape, .shapes = 1, .fit = FLEET_FIT_SCATTER, .nodes = FLEET_NODES_FIRST},
		.granule = 4096,
		.wait = wait,
		.from = from,
		.count = count,
	};
	config.fleet.lifetimes = foreseen;
	struct pack *p = pack_open(&config, &failure);

	ck_assert_msg(p != NULL, "%s", failure.text);
	return p;
}

/* The fleet knows of each when it leaves: as long after it was placed as it stays. */
static void ends_compare(const struct pack *p)
{
	for (uint32_t i = 0; i < p->guests; i++) {
		const struct guest *g = &guest[p->guest[i].number];

		if (fleet_lives(p->fleet, i))
			ck_assert_uint_eq(p->fleet->leaves[i], g->depart * SECOND + p->guest[i].waited_us);
	}
}

static void compare(bool wait, unsigned from, unsigned count)
{
	struct pack *p = open_one(wait, from, count);
	uint64_t time = 0, last = 0, now;
	struct pack_figures got;
	enum event_next step;

	event_at = 0;
	while ((step = pack_step(p, &source, &now, &failure)) == EVENT_ONE) {
		ck_assert(now >= time && pack_check(p));
		if (foreseen)
			ends_compare(p);
		time = now;
		last = p->now_us / SECOND;
	}
	ck_assert_int_eq(step, EVENT_END);
	model_run(wait, from, count, last);
	got = pack_figures_read(p);
	ck_assert_uint_eq(got.arrivals, want.arrivals);
	ck_assert_uint_eq(got.accepted, want.accepted);
	ck_assert_uint_eq(got.units_accepted, want.units_accepted);
	ck_assert_uint_eq(got.refused[FLEET_NO_MEMORY], want.refused[FLEET_NO_MEMORY]);
	ck_assert_uint_eq(got.units_refused, want.units_refused);
	ck_assert_uint_eq(got.units_refused,
			  got.units_refused_why[FLEET_NO_MEMORY] + got.units_refused_why[FLEET_NO_CPU] +
				  got.units_refused_why[FLEET_NO_HOLE] + got.units_refused_why[FLEET_NO_CONTRACT]);
	ck_assert_uint_le(got.arriving_us, got.span_us);
	ck_assert_uint_eq(got.departures, want.departures);
	ck_assert_uint_eq(got.span_us, want.span_us);
	ck_assert_uint_eq(got.utilisation_ppm, want.utilisation_ppm);
	ck_assert_uint_eq(got.utilisation_peak_ppm, want.utilisation_peak_ppm);
	ck_assert_uint_eq(got.guests_milli, want.guests_milli);
	ck_assert_uint_eq(got.over_ppm, want.over_ppm);
	ck_assert_uint_eq(got.waited, want.waited);
	ck_assert_uint_eq(got.internal_ppm, want.internal_ppm);
	ck_assert(got.external_ppm == 0 && got.internal_ppm > 0 && got.local_ppm == 1000000);
	if (wait) {
		ck_assert_uint_eq(got.wait_us, want.wait_us);
		waits_compare(p, &got);
	}
	pack_close(p);
}

/* _i: 0 drop, 1 wait; 2 and 3 a part of the trace; 4 and 5 drop and wait, lifetimes known. */
START_TEST(against_the_model)
{
	foreseen = _i >= 4;
	for (unsigned round = 0; round < 12; round++) {
		seed(11 + round + 100 * (uint64_t)_i);
		trace_make(2000, 20 + 20 * round);
		if (_i < 2 || foreseen)
			compare(_i % 2, 0, GUESTS);
		else
			compare(_i == 3, 40, 200);
	}
	foreseen = false;
}
END_TEST

/* A mean of ratios is no lower than it is: of a third and two thirds it is a half, of a tenth a tenth. */
START_TEST(ratios)
{
	struct pack *p = open_one(false, 0, 0);
	struct pack_figures got;
	uint64_t now;

	events = event_at = 0;
	for (uint32_t i = 0; i < 2; i++) { /* 600 of 1000 are given, two thirds more are not; then 750, and a third */
		event[events++] = (struct event){.time_us = i * SECOND,
						 .kind = EVENT_ARRIVE,
						 .guest = i,
						 .number = i,
						 .size = UINT64_C(4096) * (i ? 150 : 600),
						 .life_us = EVENT_LIFE_UNKNOWN,
						 .node = EVENT_NODE_ANY};
	}
	for (uint32_t i = 0; i < 2; i++)
		event[events++] = (struct event){.time_us = 2 * SECOND, .kind = EVENT_DEPART, .guest = i};
	while (pack_step(p, &source, &now, &failure) == EVENT_ONE)
		;
	got = pack_figures_read(p);
	ck_assert_uint_eq(got.over_ppm, 500000);
	pack_close(p);
}
END_TEST

/* What is wasted within granules is of sizes as they were asked for: of a byte in a granule all but a millionth's
 * thousandth, of a granule and a byte half of two; and exactly, when bytes times us need more than 128 bits. */
START_TEST(internal)
{
	static const struct {
		uint64_t granule, size, time_us, ppm;
		uint32_t guests;
	} cases[] = {
		{UINT64_C(1) << 30, 1, 3 * SECOND, 999999, 1},
		{4096, 4097, 3 * SECOND, 499877, 1},
		{4096, 4096, 3 * SECOND, 0, 1},
		{4096, 8191, 3 * SECOND, 122, 2},
		{10, 7, 3, 300000, 3},
		{3, 1, 7, 666666, 1},
		{3, 4, 7, 333333, 1},
		{UINT64_C(1) << 61, (UINT64_C(1) << 61) + (UINT64_C(1) << 60), (UINT64_C(1) << 62) - 1, 250000, 700},
		{UINT64_C(1) << 61, (UINT64_C(1) << 61) / 3, (UINT64_C(1) << 62) - 1, 666666, 700},
	};
	struct fleet_shape shape = {.hosts = 1, .nodes = 1, .node = {{2000, 0, FLEET_CPU_UNLIMITED, 0}}};
	struct pack_config config = {.fleet = {.shape = &shape, .shapes = 1, .nodes = FLEET_NODES_FIRST}};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct pack_figures got;
		struct pack *p;
		uint64_t now;

		config.granule = cases[i].granule;
		p = pack_open(&config, &failure);
		ck_assert_msg(p != NULL, "%s", failure.text);
		events = event_at = 0;
		for (uint32_t g = 0; g < cases[i].guests; g++)
			event[events++] = (struct event){.kind = EVENT_ARRIVE,
							 .guest = g,
							 .number = g,
							 .size = cases[i].size,
							 .node = EVENT_NODE_ANY};
		event[events++] = (struct event){.time_us = cases[i].time_us, .kind = EVENT_DEPART};
		while (pack_step(p, &source, &now, &failure) == EVENT_ONE)
			;
		ck_assert(pack_check(p));
		got = pack_figures_read(p);
		ck_assert(got.internal_ppm == cases[i].ppm && got.accepted == cases[i].guests);
		pack_close(p);
	}
}
END_TEST

/* Who asks for more than that gets huge pages, and is refused when they are gone; or at once, if none has so many. */
START_TEST(huge)
{
	struct fleet_shape shape = {.hosts = 1, .nodes = 1, .node = {{100, 10, FLEET_CPU_UNLIMITED, 40}}};
	struct pack_config config = {
		.fleet = {.shape = &shape, .shapes = 1, .nodes = FLEET_NODES_FIRST}, .granule = 10, .huge_above = 100};
	const uint64_t size[] = {100, 101, 300, 400, 110, 100};
	struct pack *p = pack_open(&config, &failure);
	struct pack_figures got;
	uint64_t now;

	events = event_at = 0;
	for (uint32_t i = 0; i < 6; i++)
		event[events++] = (struct event){
			.kind = EVENT_ARRIVE, .guest = i, .number = i, .size = size[i], .node = EVENT_NODE_ANY};
	while (pack_step(p, &source, &now, &failure) == EVENT_ONE)
		ck_assert(pack_check(p));
	got = pack_figures_read(p); /* 10 and 10; of 40 11 and 11, not 30 nor 40 */
	ck_assert(got.accepted == 4 && got.units_accepted == 42 && got.refused[FLEET_NO_MEMORY] == 2);
	ck_assert_uint_eq(got.utilisation_peak_ppm, 42 * 1000000 / 90);
	pack_close(p);
	event[0].size = 401;
	event_at = 0;
	p = pack_open(&config, &failure);
	ck_assert_int_eq(pack_step(p, &source, &now, &failure), EVENT_FAILED);
	ck_assert_str_eq(failure.text,
			 "guest 0 (from 0) asks for 401 bytes of huge pages; the largest host has 400 bytes");
	ck_assert_int_eq(failure.code, EXIT_IMAGE);
	pack_close(p);
}
END_TEST

/* Of memory and of CPUs the most that a host has, of whatever kind, is what could be placed; who is not played could.
 */
START_TEST(largest)
{
	struct fleet_shape shape[] = {
		{.hosts = 2, .nodes = 2, .node = {{100, 20, 1500, 0}, {30, 0, 2000, 0}}},
		{.hosts = 1, .nodes = 1, .node = {{50, 0, 8000, 0}}},
		{.hosts = 0, .nodes = 1, .node = {{500, 0, FLEET_CPU_UNLIMITED, 0}}},
	};
	struct pack_config config = {.fleet = {.shape = shape, .shapes = 3}, .granule = 10, .from = 5};
	static const struct {
		uint64_t number, size;
		uint32_t cpu_millis;
		const char *why;
	} cases[] = {
		{5, 1100, 8000, NULL},
		{5, 1091, 1, NULL},
		{4, 1101, 8001, NULL},
		{5, 1101, 1, "asks for 1101 bytes; the largest host has 1100 bytes"},
		{6, 1, 8001, "asks for 8.001 CPUs; the largest host has 8"},
		{6, 1200, 9000, "asks for 1200 bytes; the largest host has 1100 bytes"},
	};
	char why[PACK_WHY_MAX];
	struct pack *p;

	for (unsigned round = 0; round < 2; round++) {
		shape[2].hosts = round; /* now there is no limit of CPUs */
		p = pack_open(&config, &failure);
		ck_assert_msg(p != NULL, "%s", failure.text);
		for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
			const struct event e = {.kind = EVENT_ARRIVE,
						.number = cases[i].number,
						.size = cases[i].size,
						.cpu_millis = cases[i].cpu_millis};
			const bool could = pack_could_place(p, &e, why);

			ck_assert(could == (round || !cases[i].why));
			if (!could)
				ck_assert_str_eq(why, cases[i].why);
		}
		pack_close(p);
	}
}
END_TEST

START_TEST(refused)
{
	struct pack *p = open_one(false, 0, 0);
	uint64_t now;

	event[0] = (struct event){
		.kind = EVENT_ARRIVE, .size = 4096 * (UINT64_C(1) + UNITS), .number = 3, .node = EVENT_NODE_ANY};
	events = 1;
	event_at = 0;
	ck_assert_int_eq(pack_step(p, &source, &now, &failure), EVENT_FAILED);
	ck_assert_str_eq(failure.text, "guest 3 (from 0) asks for 4004 KiB; the largest host has 4000 KiB");
	ck_assert_int_eq(failure.code, EXIT_IMAGE);
	pack_close(p);
	memset(&failure, 0, sizeof(failure));
	seed(1);
	trace_make(300, 10);
	source_fails = true;
	p = open_one(true, 0, 0);
	event_at = 0;
	for (unsigned i = 0; i < 5; i++) /* what it said before is played, however early it failed */
		ck_assert(pack_step(p, &source, &now, &failure) == EVENT_ONE && now == event[i].time_us &&
			  !failure.code);
	for (unsigned i = 0; i < 2; i++)
		ck_assert_int_eq(pack_step(p, &source, &now, &failure), EVENT_FAILED);
	ck_assert_str_eq(failure.text, "the source is dry");
	pack_close(p);
	pack_close(NULL);
}
END_TEST

/* Who waits at the end was refused so much. */
START_TEST(waits_at_the_end)
{
	struct pack *p = open_one(true, 0, 0);
	struct pack_figures got;
	uint64_t now;

	events = event_at = 0;
	for (uint32_t i = 0; i < 3; i++)
		event[events++] = (struct event){
			.kind = EVENT_ARRIVE, .guest = i, .number = i, .size = 4096 * 700, .node = EVENT_NODE_ANY};
	while (pack_step(p, &source, &now, &failure) == EVENT_ONE)
		;
	got = pack_figures_read(p);
	ck_assert(got.accepted == 1 && got.refused[FLEET_NO_MEMORY] == 2 && pack_check(p));
	ck_assert_uint_eq(got.units_refused, 1400);
	ck_assert_uint_eq(got.units_refused_why[FLEET_NO_MEMORY], 1400);
	pack_close(p);
}
END_TEST

/* Who cannot be placed though nobody lives is refused, and nobody waits behind it for ever: neither when it arrives
 * into an empty fleet nor when it comes to be the first. Its departure, known by then or not, is nobody's. */
START_TEST(hopeless)
{
	struct fleet_shape shape = {.hosts = 1, .nodes = 2, .node = {{8, 0, 2000, 0}, {8, 0, 2000, 0}}};
	struct pack_config config = {
		.fleet = {.shape = &shape, .shapes = 1, .nodes = FLEET_NODES_LOCAL}, .granule = 1, .wait = true};
	static const struct {
		uint32_t guest, time, size, cpu_millis; /* size 0: it departs */
	} happens[] = {
		{0, 0, 12, 0},	 {1, 1, 1, 1000}, {2, 1, 1, 2500},  {3, 1, 2, 2000}, {4, 1, 9, 0},
		{5, 1, 3, 1000}, {0, 2, 0, 0},	  {4, 3, 0, 0},	    {1, 4, 0, 0},    {3, 5, 0, 0},
		{5, 6, 0, 0},	 {2, 9, 0, 0},	  {6, 10, 1, 1000}, {6, 11, 0, 0},
	};
	struct pack *p = pack_open(&config, &failure);
	struct pack_figures got;
	uint64_t now;

	ck_assert_msg(p != NULL, "%s", failure.text);
	events = event_at = 0;
	for (unsigned i = 0; i < sizeof(happens) / sizeof(*happens); i++)
		event[events++] = (struct event){.time_us = happens[i].time * SECOND,
						 .kind = happens[i].size ? EVENT_ARRIVE : EVENT_DEPART,
						 .guest = happens[i].guest,
						 .number = happens[i].guest,
						 .size = happens[i].size,
						 .cpu_millis = happens[i].cpu_millis,
						 .node = EVENT_NODE_ANY,
						 .life_us = EVENT_LIFE_UNKNOWN};
	while (pack_step(p, &source, &now, &failure) == EVENT_ONE)
		ck_assert(pack_check(p));
	got = pack_figures_read(p); /* 0 at once; 2 and 4 at 4 s, when 1 has left; 3 and 5 then, and 6 at once */
	ck_assert(got.arrivals == 7 && got.accepted == 4 && got.departures == 4 && got.waiting == 0);
	ck_assert(got.refused[FLEET_NO_HOLE] == 3 && got.refused[FLEET_NO_CPU] == 0 &&
		  got.refused[FLEET_NO_MEMORY] == 0);
	pack_close(p);
}
END_TEST

/* The largest fleet for the longest time: figures are exact, and who would outlive time is refused. */
START_TEST(far)
{
	static struct fleet_shape shape = {.hosts = 64, .nodes = 64};
	const uint64_t half = UINT64_C(1) << 43;
	struct pack_config config = {.fleet = {.shape = &shape,
					       .shapes = 1,
					       .fit = FLEET_FIT_SCATTER,
					       .nodes = FLEET_NODES_INTERLEAVE,
					       .contiguous = FLEET_SCATTER},
				     .granule = 1};
	struct pack_figures got;
	struct pack *p;
	uint64_t now;

	for (unsigned i = 0; i < 64; i++)
		shape.node[i] = (struct fleet_node){half / 32, 0, FLEET_CPU_UNLIMITED, 0};
	p = pack_open(&config, &failure);
	ck_assert_msg(p != NULL, "%s", failure.text);
	events = event_at = 0;
	for (uint32_t i = 0; i < 64; i++)
		event[events++] = (struct event){
			.kind = EVENT_ARRIVE, .guest = i, .number = i, .size = half, .node = EVENT_NODE_ANY};
	event[events++] = (struct event){.time_us = (UINT64_C(1) << 62) - 1, .kind = EVENT_DEPART, .guest = 0};
	while (pack_step(p, &source, &now, &failure) == EVENT_ONE)
		;
	got = pack_figures_read(p);
	ck_assert_uint_eq(got.accepted, 64);
	ck_assert_uint_eq(got.utilisation_ppm, 500000);
	ck_assert(got.guests_milli == 64000 && got.over_ppm == 1000000 && pack_check(p));
	pack_close(p);

	p = open_one(true, 0, 0);
	events = event_at = 0;
	for (uint32_t i = 0; i < 5; i++)
		event[events++] = (struct event){
			.kind = EVENT_ARRIVE, .guest = i, .number = i, .size = 4096 * UNITS, .node = EVENT_NODE_ANY};
	for (uint32_t i = 0; i < 5; i++)
		event[events++] = (struct event){.time_us = (UINT64_C(1) << 61) + i, .kind = EVENT_DEPART, .guest = i};
	while (pack_step(p, &source, &now, &failure) == EVENT_ONE)
		ck_assert(now <= UINT64_C(1) << 62);
	ck_assert_str_eq(failure.text, "guest 1 waits so long that it would leave 2^62 us or later");
	pack_close(p);
}
END_TEST

START_TEST(check_objects)
{
	struct pack *p = open_one(true, 0, 0);
	uint64_t now;

	seed(4);
	trace_make(200, 400);
	for (unsigned i = 0; i < 60; i++)
		ck_assert_int_eq(pack_step(p, &source, &now, &failure), EVENT_ONE);
	ck_assert(pack_check(p) && p->queued > 2);
	p->figures.accepted++;
	ck_assert(!pack_check(p));
	p->figures.accepted--;
	p->figures.departures++;
	ck_assert(!pack_check(p));
	p->figures.departures--;
	p->guest[p->queue[p->queue_at]].waits = false;
	ck_assert(!pack_check(p));
	p->guest[p->queue[p->queue_at]].waits = true;
	p->guest[p->queue[p->queue_at]].arrived_us += 1000 * SECOND;
	ck_assert(!pack_check(p));
	p->guest[p->queue[p->queue_at]].arrived_us -= 1000 * SECOND;
	p->slot[0] += 10000;
	ck_assert(!pack_check(p));
	p->slot[0] -= 10000;
	ck_assert(pack_check(p));
	pack_close(p);
}
END_TEST

Suite *pack_suite(void);

Suite *pack_suite(void)
{
	Suite *suite = suite_create("pack");
	TCase *plain = tcase_create("plain");

	tcase_add_loop_test(plain, against_the_model, 0, 6);
	tcase_add_test(plain, ratios);
	tcase_add_test(plain, internal);
	tcase_add_test(plain, huge);
	tcase_add_test(plain, largest);
	tcase_add_test(plain, refused);
	tcase_add_test(plain, waits_at_the_end);
	tcase_add_test(plain, hopeless);
	tcase_add_test(plain, far);
	tcase_add_test(plain, check_objects);
	tcase_set_timeout(plain, 60);
	suite_add_tcase(suite, plain);
	return suite;
}
