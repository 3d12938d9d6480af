/* vmm/pack/workload.c
 *
 * What it is. A source of lives, for lifetimes.c to make events of: ties, numbers and
 * departures are as those of a trace that tells lives.
 *
 * Streams. Times between arrivals, sizes and lives are drawn from streams of their own:
 * with the same seed, other sizes meet the same arrivals. What is compared over
 * seeds so differs by the seed, and what is compared at one seed does not.
 *
 * Time stays below 2^62 us: a draw is at most 45 means, a long life's mean 7 of those asked
 * for, and means, with how many there are, at most 2^52. In the long run no draw comes near.
 *
 * The shares of vm are those of the trace that tests/packing has the beginning of, in
 * thousandths. Its lives are a mixture of three exponentials, with means of 20 minutes, 3
 * hours and 18 hours, scaled to the mean asked for: most are short, most time is the long ones'. */
#include "vmm/pack/workload.h"

#include <string.h>

#include "vmm/pack/lifetimes.h"
#include "vmm/pack/live_table.h"
#include "vmm/pack/random.h"
#include "vmm/pack/trace.h"

#define SECOND UINT64_C(1000000)
#define MINUTE (60 * SECOND)
#define HOUR   (60 * MINUTE)
#define MIB    (UINT64_C(1) << 20)
#define SHARES 1000u

_Static_assert(WORKLOAD_TIME_MAX / 2 * 45 * (7 + 1) < EVENT_TIME_MAX, "arrivals and a life stay in range");
_Static_assert(WORKLOAD_SIZE_MAX <= RANDOM_SCALE_MAX && WORKLOAD_SIZE_MAX * 46 < EVENT_SIZE_MAX, "so does a size");

enum stream { STREAM_ARRIVALS, STREAM_SIZES, STREAM_LIVES, STREAMS };

struct workload {
	struct alloc alloc;
	struct workload_options options;
	const struct workload_shape *shape;
	struct random random[STREAMS];
	struct random_log log;
	struct lifetimes lifetimes;
	struct live_table *live;
	uint64_t arrivals, now_us;
};

struct workload_shape {
	const char *name, *unit;
	void (*size)(struct workload *w, struct lifetime *out);
	uint64_t (*life)(struct workload *w);
	struct workload_options usual; /* what is 0 cannot be asked for */
};

/* ---- sizes ---- */

static const struct {
	uint32_t share, cpus;
	uint64_t mib;
} flavours[] = {{604, 1, 1792}, {185, 2, 3584}, {99, 4, 7168}, {90, 8, 14336}, {16, 1, 768}, {6, 8, 57344}};

static void size_vm(struct workload *w, struct lifetime *out)
{
	uint64_t draw = random_below(&w->random[STREAM_SIZES], SHARES);
	unsigned i = 0;

	for (; draw >= flavours[i].share; i++)
		draw -= flavours[i].share;
	out->size = flavours[i].mib * MIB;
	out->cpu_millis = flavours[i].cpus * EVENT_CPU_ONE;
}

static void size_between(struct workload *w, struct lifetime *out)
{
	const struct workload_options *o = &w->options;

	out->size = o->size_min + random_below(&w->random[STREAM_SIZES], o->size_max - o->size_min + 1);
}

/* One of the ranges [min, 2 min), [2 min, 4 min), ..., of which the last ends with max, and in it any. A tenth of a
 * CPU for each 128 MiB, at least one. */
static void size_tasks(struct workload *w, struct lifetime *out)
{
	const struct workload_options *o = &w->options;
	struct random *r = &w->random[STREAM_SIZES];
	uint64_t ranges = 1, range, first, end, mib, cpu;

	while (o->size_min << ranges < o->size_max)
		ranges++;
	range = random_below(r, ranges);
	first = o->size_min << range;
	end = range + 1 == ranges ? o->size_max + 1 : 2 * first;
	mib = (first + random_below(r, end - first) + MIB - 1) / MIB;
	cpu = (mib + 127) / 128 * 100;
	out->size = mib * MIB;
	out->cpu_millis = cpu < UINT32_MAX ? (uint32_t)cpu : UINT32_MAX;
}

static void size_spectrum(struct workload *w, struct lifetime *out)
{
	static const unsigned channels[] = {5, 5, 10, 10, 10, 15, 20, 20, 20, 40, 40, 60, 80, 100};

	out->size = channels[random_below(&w->random[STREAM_SIZES], sizeof(channels) / sizeof(channels[0]))];
}

static void size_exponential(struct workload *w, struct lifetime *out)
{
	out->size = 1 + random_exponential_of(&w->random[STREAM_SIZES], &w->log, w->options.size_mean - 1);
}

/* ---- lives ---- */

static uint64_t life_exponential(struct workload *w)
{
	return random_exponential_of(&w->random[STREAM_LIVES], &w->log, w->options.life_us);
}

/* Of ten, six with 1200 parts, three with 10800, one with 64800, of 10440, which is their mean. */
static uint64_t life_mixed(struct workload *w)
{
	const uint64_t draw = random_below(&w->random[STREAM_LIVES], 10);
	const uint64_t parts = draw < 6 ? 1200 : draw < 9 ? 10800 : 64800;

	return (uint64_t)((unsigned __int128)life_exponential(w) * parts / 10440);
}

static uint64_t life_uniform(struct workload *w)
{
	return random_below(&w->random[STREAM_LIVES], 2 * w->options.life_us + 1);
}

static const struct workload_shape shapes[WORKLOADS] = {
	[WORKLOAD_VM] = {"vm",
			 "byte",
			 size_vm,
			 life_mixed,
			 {.arrivals = 100000, .interval_us = SECOND, .life_us = 10440 * SECOND}},
	[WORKLOAD_TASKS] = {"tasks",
			    "byte",
			    size_tasks,
			    life_exponential,
			    {.arrivals = 100000,
			     .interval_us = SECOND / 10,
			     .life_us = 5 * MINUTE,
			     .size_min = 16 * MIB,
			     .size_max = 4096 * MIB}},
	[WORKLOAD_SPECTRUM] = {"spectrum",
			       "MHz",
			       size_spectrum,
			       life_exponential,
			       {.arrivals = 100000, .interval_us = SECOND, .life_us = 10 * MINUTE}},
	[WORKLOAD_CARGO] =
		{"cargo",
		 "metre",
		 size_between,
		 life_uniform,
		 {.arrivals = 10000, .interval_us = HOUR, .life_us = 120 * HOUR, .size_min = 3, .size_max = 20}},
	[WORKLOAD_UNIFORM] =
		{"uniform",
		 "unit",
		 size_between,
		 life_exponential,
		 {.arrivals = 100000, .interval_us = SECOND, .life_us = 1000 * SECOND, .size_min = 1, .size_max = 256}},
	[WORKLOAD_EXPONENTIAL] =
		{"exponential",
		 "unit",
		 size_exponential,
		 life_exponential,
		 {.arrivals = 100000, .interval_us = SECOND, .life_us = 1000 * SECOND, .size_mean = 64}},
};

/* ---- as a source of lives ---- */

static enum event_next next_row(void *self, struct lifetime *out, struct failure *f)
{
	struct workload *w = self;

	(void)f;
	if (w->arrivals == w->options.arrivals)
		return EVENT_END;
	w->arrivals++;
	w->now_us += random_exponential_of(&w->random[STREAM_ARRIVALS], &w->log, w->options.interval_us);
	*out = (struct lifetime){.start_us = w->now_us};
	w->shape->size(w, out);
	out->end_us = w->now_us + w->shape->life(w);
	return EVENT_ONE;
}

static enum event_next enter(void *self, uint32_t *guest, struct failure *f)
{
	struct workload *w = self;

	if (live_table_add(w->live, (const char *)&w->arrivals, sizeof(w->arrivals), 0, guest) == LIVE_OK)
		return EVENT_ONE;
	fail(f, EXIT_HOST, "no memory for %u guests", live_table_count(w->live) + 1);
	return EVENT_FAILED;
}

static void leave(void *self, uint32_t guest)
{
	live_table_remove_guest(((struct workload *)self)->live, guest);
}

enum event_next workload_next(struct workload *w, struct event *out, struct failure *f)
{
	return lifetimes_next(&w->lifetimes, out, f);
}

uint64_t workload_departed(const struct workload *w)
{
	uint64_t arrival;
	size_t length;

	memcpy(&arrival, live_table_gone(w->live, &length), sizeof(arrival));
	return arrival - 1;
}

/* ---- options ---- */

static void take(uint64_t *option, uint64_t usual)
{
	*option = *option ? *option : usual;
}

static int judge(const struct workload_shape *s, const struct workload_options *asked, struct failure *f)
{
	if ((asked->size_min || asked->size_max) && !s->usual.size_max)
		return fail(f, EXIT_USAGE, "the workload %s has no smallest and largest size", s->name);
	if (asked->size_mean && !s->usual.size_mean)
		return fail(f, EXIT_USAGE, "the workload %s has no mean size", s->name);
	return 0;
}

static int judge_sums(const struct workload_options *o, struct failure *f)
{
	if (o->arrivals > WORKLOAD_ARRIVALS_MAX || o->life_us > WORKLOAD_TIME_MAX / 2 ||
	    o->interval_us > WORKLOAD_TIME_MAX / 2 / o->arrivals)
		return fail(f, EXIT_USAGE, "a workload takes at most 2^40 arrivals, and some hundred years of time");
	if (o->size_min > o->size_max || o->size_max > WORKLOAD_SIZE_MAX || o->size_mean > WORKLOAD_SIZE_MAX)
		return fail(f, EXIT_USAGE, "a workload's sizes go from the smallest to the largest, up to 2^55");
	return 0;
}

struct workload_options workload_settle(enum workload_kind kind, const struct workload_options *asked)
{
	const struct workload_options *usual = &shapes[kind].usual;
	struct workload_options o = *asked;

	take(&o.arrivals, usual->arrivals);
	take(&o.interval_us, usual->interval_us);
	take(&o.life_us, usual->life_us);
	take(&o.size_min, usual->size_min);
	take(&o.size_max, usual->size_max);
	take(&o.size_mean, usual->size_mean);
	return o;
}

struct workload *workload_open(enum workload_kind kind, const struct workload_options *options, struct failure *f)
{
	const struct workload_shape *shape = &shapes[kind];
	const struct workload_options o = workload_settle(kind, options);
	struct alloc alloc = {o.fail_after};
	struct lifetimes_source source = {NULL, next_row, enter, leave};
	struct workload *w;

	if (judge(shape, options, f) || judge_sums(&o, f))
		return NULL;
	w = alloc_zeroed(&alloc, 1, sizeof(*w));
	if (w) {
		w->alloc = alloc;
		w->live = live_table_open(&w->alloc);
	}
	if (!w || !w->live) {
		free(w);
		fail(f, EXIT_HOST, "no memory for the workload %s", shape->name);
		return NULL;
	}
	w->options = o;
	w->shape = shape;
	for (unsigned i = 0; i < STREAMS; i++)
		w->random[i] = random_open(o.seed, i);
	random_log_make(&w->log);
	source.self = w;
	lifetimes_open(&w->lifetimes, &source, &w->alloc);
	return w;
}

void workload_close(struct workload *w)
{
	if (!w)
		return;
	lifetimes_close(&w->lifetimes);
	live_table_close(w->live);
	free(w);
}

bool workload_kind_parse(const char *name, enum workload_kind *out)
{
	for (unsigned i = 0; i < WORKLOADS; i++)
		if (strcmp(name, shapes[i].name) == 0) {
			*out = (enum workload_kind)i;
			return true;
		}
	return false;
}

const char *workload_kind_name(enum workload_kind kind)
{
	return shapes[kind].name;
}

const char *workload_unit(enum workload_kind kind)
{
	return shapes[kind].unit;
}
