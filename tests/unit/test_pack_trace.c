/* tests/unit/test_pack_trace.c: the beginning of a real trace, and whole small ones where they are there,
 * under every fit: each figure against arrays of units with owners, gone through event by event; and each decision, as
 * it is logged. */
#include <check.h>
#undef fail
#include <stdio.h>
#include <unistd.h>

#include "tests/unit/fit_model.h"
#include "tests/unit/trace_rig.h"
#include "vmm/pack/decision_log.h"
#include "vmm/pack/pack.h"
#include "vmm/pack/trace.h"

#define EVENTS	  1000u
#define HOSTS	  4u
#define CPUS	  40000u
#define UNITS_MAX 65536u
#define PPM	  1000000u
#define FINE	  (UINT64_C(1000000000000) * PPM) /* what ratios are summed in */

typedef unsigned __int128 wide;

static struct event event[EVENTS];
static unsigned events;

static void load(const char *path)
{
	const struct trace_options options = {.machine = TRACE_MACHINE_ANY};
	struct failure f = {0};
	struct trace *t = trace_open(path, TRACE_SLAT, &options, &f);

	ck_assert_msg(t != NULL, "%s", f.text);
	for (events = 0; events < EVENTS && trace_next(t, &event[events], &f) == EVENT_ONE;)
		events++;
	ck_assert(events > 200);
	trace_close(t);
}

/* ---- the model ---- */

static struct mhost {
	struct fit_model memory;
	uint32_t owner[UNITS_MAX], cpu_free, guests;
} mhost[HOSTS];
static struct mguest {
	bool lives;
	uint32_t host, cpu;
	uint64_t size, given, first; /* as it was asked for; units */
} mguest[EVENTS];
static struct pack_config config;
static unsigned hosts;
static struct pack_figures want;
static uint64_t size_accepted;
static struct {
	wide given, asked, units, external, holes, empty, over;
	uint64_t external_span, over_span, given_peak, top_at_peak, top_peak;
} sum;

static void count_time(uint64_t span)
{
	uint64_t given = 0, asked = 0, units = 0, largest = 0, holes = 0, n;

	for (unsigned i = 0; i < hosts; i++) {
		units += mhost[i].memory.units;
		given += mhost[i].memory.units - mhost[i].memory.free;
		largest += fit_largest(&mhost[i].memory, &n);
		holes += n;
		sum.empty += (wide)(mhost[i].guests == 0) * span;
	}
	for (unsigned i = 0; i < EVENTS; i++)
		asked += mguest[i].lives ? mguest[i].size : 0;
	want.span_us += span;
	sum.given += (wide)given * span;
	sum.asked += (wide)asked * span;
	sum.units += (wide)units * span;
	sum.holes += (wide)holes * span;
	if (units > given && (units - given) * 100 >= units) {
		sum.external += (wide)(units - given - largest) * FINE / (units - given) * span;
		sum.external_span += span;
	}
	if (given > 0) {
		sum.over += (wide)(units - given) * FINE / given * span;
		sum.over_span += span;
	}
}

static void count_peaks(void)
{
	uint64_t given = 0, units = 0;

	for (unsigned i = 0; i < hosts; i++) {
		units += mhost[i].memory.units;
		given += mhost[i].memory.units - mhost[i].memory.free;
	}
	sum.top_peak = units > sum.top_peak ? units : sum.top_peak;
	ck_assert(units > 0);
	if (given * PPM / units > want.utilisation_peak_ppm)
		want.utilisation_peak_ppm = given * PPM / units;
	if (given > sum.given_peak) {
		sum.given_peak = given;
		sum.top_at_peak = units;
	}
}

/* One pool that grows: by what is missing behind the free units at its end. */
static void rise(struct fit_model *m, uint64_t units)
{
	uint64_t given = fit_rounded(m, units), at = m->units, hole;

	if (m->fit == FLEET_FIT_SCATTER ? m->free >= units : fit_place(m, units, &hole) != FIT_NOWHERE)
		return;
	if (m->fit == FLEET_FIT_SCATTER) {
		m->units += units - m->free;
		m->free = units;
		return;
	}
	while (at > 0 && m->owner[at - 1] == 0)
		at--;
	if (m->fit == FLEET_FIT_BUDDY)
		at = (at + given - 1) / given * given;
	m->free += at + given - m->units;
	m->units = at + given;
	ck_assert(m->units <= UNITS_MAX);
}

static bool can(const struct mhost *h, uint64_t units, uint32_t cpu, uint64_t *hole)
{
	*hole = h->memory.free;
	return h->cpu_free >= cpu &&
	       (config.fleet.fit == FLEET_FIT_SCATTER ? *hole >= units
						      : fit_place(&h->memory, units, hole) != FIT_NOWHERE);
}

static bool better(unsigned a, uint64_t hole_a, unsigned b, uint64_t hole_b)
{
	if (config.fleet.choose == FLEET_BEST)
		return mhost[a].memory.free < mhost[b].memory.free;
	if (config.fleet.choose == FLEET_GLOBAL && config.fleet.fit == FLEET_FIT_WORST)
		return hole_a > hole_b;
	return config.fleet.choose == FLEET_GLOBAL && config.fleet.fit != FLEET_FIT_FIRST &&
	       config.fleet.fit != FLEET_FIT_SCATTER && hole_a < hole_b;
}

/* ---- the model's log ---- */

static FILE *decided;
static char *decisions;
static size_t decisions_length;

/* The guest's own text: the log calls him by it. */
static const char *called(uint32_t guest)
{
	static char name[32];

	snprintf(name, sizeof(name), guest % 2 ? "\"%u, by name\"" : "%u", guest);
	return name;
}

static void decide(const struct event *e, const char *what, const char *rest)
{
	ck_assert(e->time_us % 1000000 == 0);
	fprintf(decided, "%" PRIu64 ",%s,%s,%s\n", e->time_us / 1000000, what, called(e->guest), rest);
}

static void decide_place(const struct event *e, const char *what)
{
	const struct mguest *g = &mguest[e->guest];
	char first[32] = "", rest[128];

	if (config.fleet.fit != FLEET_FIT_SCATTER)
		snprintf(first, sizeof(first), "%" PRIu64, g->first);
	snprintf(rest, sizeof(rest), "%u,0,0,%s,%" PRIu64 ",,", g->host, first, g->given);
	decide(e, what, rest);
}

/* Of what no host has, the first. */
static void decide_refuse(const struct event *e, uint64_t units)
{
	const char *why = "no_memory";
	char rest[64];

	for (unsigned i = 0; i < hosts; i++)
		if (mhost[i].memory.free >= units)
			why = mhost[i].cpu_free >= e->cpu_millis || strcmp(why, "no_hole") == 0 ? "no_hole" : "no_cpu";
	snprintf(rest, sizeof(rest), ",,,,%" PRIu64 ",,%s", units, why);
	decide(e, "refuse", rest);
}

static void model_arrive(const struct event *e)
{
	uint64_t units = (e->size + config.granule - 1) / config.granule, found_hole = 0, hole, at = 0;
	unsigned found = hosts;
	struct mguest *g = &mguest[e->guest];

	want.arrivals++;
	if (hosts == 1)
		rise(&mhost[0].memory, units);
	for (unsigned i = 0; i < hosts; i++)
		if (can(&mhost[i], units, e->cpu_millis, &hole) &&
		    (found == hosts || better(i, hole, found, found_hole))) {
			found = i;
			found_hole = hole;
		}
	if (found == hosts) {
		decide_refuse(e, units);
		return;
	}
	if (config.fleet.fit != FLEET_FIT_SCATTER)
		at = fit_place(&mhost[found].memory, units, &hole);
	*g = (struct mguest){true, found, e->cpu_millis, e->size, fit_rounded(&mhost[found].memory, units), at};
	decide_place(e, "place");
	fit_take(&mhost[found].memory, at, units, e->guest + 1);
	mhost[found].cpu_free -= e->cpu_millis;
	mhost[found].guests++;
	want.accepted++;
	want.units_accepted += units;
	size_accepted += e->size;
	count_peaks();
}

static void model_run(uint64_t units)
{
	uint64_t now = event[0].time_us;

	memset(&want, 0, sizeof(want));
	memset(&sum, 0, sizeof(sum));
	size_accepted = 0;
	memset(mguest, 0, sizeof(mguest));
	for (unsigned i = 0; i < hosts; i++) {
		memset(mhost[i].owner, 0, sizeof(mhost[i].owner));
		mhost[i].memory = (struct fit_model){config.fleet.fit, mhost[i].owner, units, units, 0};
		mhost[i].cpu_free = hosts == 1 ? UINT32_MAX : CPUS;
		mhost[i].guests = 0;
	}
	decided = open_memstream(&decisions, &decisions_length);
	fputs("time_s,event,vm_id,host,node,huge,first,units,from,reason\n", decided);
	for (unsigned i = 0; i < events; now = event[i++].time_us) {
		struct mguest *g = &mguest[event[i].guest];

		if (event[i].time_us > now)
			count_time(event[i].time_us - now);
		if (event[i].kind == EVENT_ARRIVE) {
			model_arrive(&event[i]);
		} else if (g->lives) {
			decide_place(&event[i], "leave");
			fit_give(&mhost[g->host].memory, event[i].guest + 1, g->given);
			mhost[g->host].cpu_free += g->cpu;
			mhost[g->host].guests--;
			g->lives = false;
		}
	}
	fclose(decided);
}

/* ---- both ---- */

static unsigned at;

static enum event_next next(void *self, struct event *out, struct failure *f)
{
	(void)self;
	(void)f;
	if (at == events)
		return EVENT_END;
	*out = event[at++];
	return EVENT_ONE;
}

static struct csv_field last_name(void *self)
{
	static char name[32];

	(void)self;
	return (struct csv_field){name,
				  (size_t)snprintf(name, sizeof(name), event[at - 1].guest % 2 ? "%u, by name" : "%u",
						   event[at - 1].guest)};
}

static void compare_log(void)
{
	size_t length = 0;
	char *log = rig_read(rig_file(0), &length);
	size_t i = 0;

	while (log && i < length && i < decisions_length && log[i] == decisions[i])
		i++;
	ck_assert_msg(log && length == decisions_length && i == length,
		      "the log differs at %zu: %.90s instead of %.90s", i, log + i, decisions + i);
	free(log);
	free(decisions);
}

/* Each of the sum's ratios was rounded down, by less than one in the mean. */
static uint64_t millionths(wide sum_fine, uint64_t span)
{
	return span ? (uint64_t)((sum_fine / span + 1) / (FINE / PPM)) : 0;
}

static void compare(unsigned n, uint64_t units, uint64_t granule)
{
	struct fleet_shape shape = {
		.hosts = n, .nodes = 1, .node = {{units, 0, n == 1 ? FLEET_CPU_UNLIMITED : CPUS, 0}}};
	const struct pack_source source = {.next = next, .prompt = true};
	const struct decision_names names = {NULL, last_name};
	struct failure f = {0};
	struct pack_figures got;
	struct decision_log *log;
	struct pack *p;
	uint64_t now;

	config.fleet.shape = &shape;
	config.fleet.shapes = 1;
	config.granule = granule;
	hosts = n;
	at = 0;
	p = pack_open(&config, &f);
	ck_assert_msg(p != NULL, "%s", f.text);
	log = decision_log_open(rig_file(0), p, &names, &f);
	while (pack_step(p, &source, &now, &f) == EVENT_ONE)
		if (at % 64 == 0)
			ck_assert(pack_check(p));
	ck_assert_msg(at == events && pack_check(p), "%s", f.text);
	got = pack_figures_read(p);
	ck_assert(decision_log_judge(log, &f) == 0 && decision_log_close(log, true, &f) == 0);
	pack_close(p);
	model_run(units);
	compare_log();
	ck_assert(sum.units > 0 && sum.given > 0 && sum.over_span > 0 && want.span_us > 0 && sum.given_peak > 0);
	ck_assert_uint_eq(got.arrivals, want.arrivals);
	ck_assert_uint_eq(got.accepted, want.accepted);
	ck_assert_uint_eq(got.units_accepted, want.units_accepted);
	ck_assert_uint_eq(got.span_us, want.span_us);
	ck_assert_uint_eq(got.utilisation_peak_ppm, want.utilisation_peak_ppm);
	ck_assert_uint_eq(got.utilisation_ppm, (uint64_t)(sum.given * PPM / sum.units));
	sum.given *= granule;
	ck_assert_uint_eq(got.internal_ppm, (uint64_t)((sum.given - sum.asked) * PPM / sum.given));
	ck_assert(got.internal_ppm > 0 || granule % 100 != 0);
	ck_assert_uint_eq(got.size_accepted, size_accepted);
	ck_assert_uint_eq(got.external_ppm, millionths(sum.external, sum.external_span));
	ck_assert_uint_eq(got.holes_milli, (uint64_t)(sum.holes * 1000 / want.span_us));
	ck_assert_uint_eq(got.hosts_empty_milli, (uint64_t)(sum.empty * 1000 / want.span_us));
	ck_assert_uint_eq(got.over_ppm, millionths(sum.over, sum.over_span));
	ck_assert_uint_eq(got.over_at_peak_ppm, (sum.top_at_peak - sum.given_peak) * PPM / sum.given_peak);
	ck_assert_uint_eq(got.over_most_ppm, (sum.top_peak - sum.given_peak) * PPM / sum.given_peak);
}

/* _i: the fit. */
START_TEST(azure)
{
	const enum fleet_choose choose[] = {FLEET_FIRST, FLEET_BEST, FLEET_GLOBAL};

	load("tests/packing/azure_v1_dev.csv");
	config = (struct pack_config){.fleet = {.fit = (enum fleet_fit)_i, .nodes = FLEET_NODES_FIRST}};
	for (unsigned c = 0; c < 3; c++) {
		config.fleet.choose = choose[c];
		if (_i == FLEET_FIT_NEXT && choose[c] == FLEET_GLOBAL)
			continue;			  /* where it goes on from is test_fleet.c's */
		compare(HOSTS, 230, UINT64_C(256) << 20); /* 7 units and more, or less: holes matter */
		compare(HOSTS, 1000, UINT64_C(64) << 20);
		compare(HOSTS, 640, UINT64_C(100) << 20); /* which no size is a multiple of */
	}
	compare(1, FLEET_UNBOUNDED, UINT64_C(100) << 20);
}
END_TEST

/* The books are right while guests move, and no more moves than the budget has. _i: the fit. */
START_TEST(compaction)
{
	struct fleet_shape shape = {.hosts = 3, .nodes = 2, .node = {{150, 0, CPUS, 0}, {150, 0, CPUS, 0}}};
	const struct pack_source source = {.next = next};

	load("tests/packing/azure_v1_dev.csv");
	config = (struct pack_config){.fleet = {.fit = (enum fleet_fit)_i, .choose = FLEET_BEST}};
	config.fleet.shape = &shape;
	config.fleet.shapes = 1;
	config.granule = UINT64_C(512) << 20;
	config.compact_budget = 10;
	for (unsigned c = PACK_COMPACT_NEVER; c <= PACK_COMPACT_CONTINUOUS; c++) {
		struct pack_figures got;
		struct failure f = {0};
		struct pack *p;
		uint64_t now;

		config.compact = (enum pack_compact)c;
		at = 0;
		p = pack_open(&config, &f);
		ck_assert_msg(p != NULL, "%s", f.text);
		while (pack_step(p, &source, &now, &f) == EVENT_ONE)
			ck_assert(pack_check(p));
		ck_assert_msg(at == events, "%s", f.text);
		got = pack_figures_read(p);
		ck_assert((got.moves > 0) == (got.units_moved > 0) && (c != PACK_COMPACT_NEVER || got.moves == 0));
		ck_assert(c != PACK_COMPACT_CONTINUOUS || got.units_moved <= got.span_us / 1000000 * 10);
		pack_close(p);
	}
}
END_TEST

/* Static allocation problems, in one pool that grows. */
START_TEST(minimalloc)
{
	config = (struct pack_config){.fleet = {.fit = (enum fleet_fit)_i, .nodes = FLEET_NODES_FIRST}};
	for (int name = 'A'; name <= 'E'; name++) {
		char path[] = "../shared/data/minimalloc_?.csv.gz";

		*strchr(path, '?') = (char)name;
		if (access(path, R_OK) != 0)
			continue;
		load(path);
		compare(1, FLEET_UNBOUNDED, 1024);
		compare(1, FLEET_UNBOUNDED, 1000);
	}
}
END_TEST

Suite *pack_trace_suite(void);

Suite *pack_trace_suite(void)
{
	Suite *suite = suite_create("pack_trace");
	TCase *plain = tcase_create("plain");

	tcase_add_checked_fixture(plain, rig_setup, rig_teardown);
	tcase_add_loop_test(plain, azure, 0, FLEET_FIT_SCATTER + 1);
	tcase_add_loop_test(plain, compaction, 0, FLEET_FIT_SCATTER);
	tcase_add_loop_test(plain, minimalloc, 0, FLEET_FIT_SCATTER + 1);
	tcase_set_timeout(plain, 60);
	suite_add_tcase(suite, plain);
	return suite;
}
