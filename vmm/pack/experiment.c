/* vmm/pack/experiment.c: one experiment, as the command line asks for it. */
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "vmm/pack/decimal.h"
#include "vmm/pack/decision_log.h"
#include "vmm/pack/draft.h"
#include "vmm/pack/experiment.h"
#include "vmm/pack/foresight.h"
#include "vmm/pack/report_html.h"
#include "vmm/pack/trace_writer.h"

#define SHOW_EVENTS (UINT64_C(1) << 17)

/* ---- what is shown while it runs ---- */

static void show(const struct pack *p, uint64_t events)
{
	struct fleet_totals t = fleet_totals_read(pack_fleet(p));

	fprintf(stderr, "\r\033[K%" PRIu64 " events, %" PRIu64 " guests live", events, t.guests);
}

/* ---- the time series ---- */

struct series {
	struct draft draft; /* its stream NULL: there is none */
	uint64_t step_us, next_us;
};

/* Behind the time. */
static const char *const columns[] = {
	"guests",	    "waiting",	      "units_given", "units_asked",  "units_free",
	"largest_holes",    "holes",	      "hosts_empty", "refused",	     "size_asked",
	"cpu_millis_given", "refused_memory", "refused_cpu", "refused_hole", "refused_contract",
	"units_refused",    "units_waiting",  "moves",	     "units_moved",
};
#define COLUMNS (sizeof(columns) / sizeof(*columns))

static int series_open(struct series *s, const struct pack_options *o, struct failure *f)
{
	struct alloc alloc = {0};

	s->step_us = o->csv_step_us;
	if (!o->csv || draft_open_stream(&s->draft, o->csv, &alloc, f))
		return f->code;
	fputs("time_s", s->draft.out);
	for (size_t i = 0; i < COLUMNS; i++)
		fprintf(s->draft.out, ",%s", columns[i]);
	fputc('\n', s->draft.out);
	return 0;
}

static void series_row(struct series *s, const struct pack *p, uint64_t time_us)
{
	const struct fleet_totals t = fleet_totals_read(pack_fleet(p));
	const struct pack_figures *n = pack_counts(p);
	const uint64_t value[] = {
		t.guests,
		pack_waiting(p),
		t.units_given,
		t.units_asked,
		t.units - t.units_given,
		t.largest_holes,
		t.holes,
		t.hosts_empty,
		pack_refused(n),
		pack_size_asked(p),
		t.cpu_millis_given,
		n->refused[FLEET_NO_MEMORY],
		n->refused[FLEET_NO_CPU],
		n->refused[FLEET_NO_HOLE],
		n->refused[FLEET_NO_CONTRACT],
		n->units_refused,
		pack_waiting_units(p),
		n->moves,
		n->units_moved,
	};

	_Static_assert(sizeof(value) / sizeof(*value) == COLUMNS, "each has a name");
	fprintf(s->draft.out, "%" PRIu64 ".%06" PRIu64, time_us / 1000000, time_us % 1000000);
	for (size_t i = 0; i < COLUMNS; i++)
		fprintf(s->draft.out, ",%" PRIu64, value[i]);
	fputc('\n', s->draft.out);
}

/* The first state of each step in which anything happens. */
static void series_step(struct series *s, const struct pack *p, uint64_t time_us)
{
	if (!s->draft.out || time_us < s->next_us)
		return;
	series_row(s, p, time_us);
	s->next_us = time_us - time_us % s->step_us + s->step_us;
}

static int series_close(struct series *s, bool keep, struct failure *f)
{
	if (s->draft.out && keep)
		return draft_keep(&s->draft, f);
	if (s->draft.out)
		draft_drop(&s->draft);
	return f->code;
}

/* ---- the run ---- */

/* Where events come from, and where they go besides. */
struct input {
	struct trace *trace;
	struct workload *workload;
	struct text_file *writer;
	struct foresight *foresight; /* lifetimes are to be known, and the trace does not tell them in time */
	struct decision_log *log;
	uint64_t number; /* of the last arrival */
	char digits[DECIMAL_TEXT_MAX];
	const struct pack *pack; /* who is larger than any host is passed over, or ends the run, */
	bool skip_bad;
	uint64_t large; /* of a workload: so many were */
};

/* Of a workload the number of the arrival, in digits. */
static struct csv_field name_of(struct input *in, enum event_kind kind)
{
	if (in->trace)
		return trace_guest_name(in->trace);
	return (struct csv_field){
		in->digits,
		decimal_format(kind == EVENT_ARRIVE ? in->number : workload_departed(in->workload), 1, in->digits)};
}

static struct csv_field name_of_arrival(void *self)
{
	return name_of(self, EVENT_ARRIVE);
}

static enum event_next next_of_all(struct input *in, struct event *out, struct failure *f)
{
	enum event_next got = in->trace ? trace_next(in->trace, out, f) : workload_next(in->workload, out, f);

	if (got == EVENT_ONE && in->foresight && out->kind == EVENT_ARRIVE)
		out->life_us = foresight_life(in->foresight, out->number);
	if (got == EVENT_ONE && out->kind == EVENT_ARRIVE)
		in->number = out->number;
	if (got == EVENT_ONE && in->writer && trace_writer_add(in->writer, out, name_of(in, out->kind), f))
		return EVENT_FAILED;
	return got;
}

/* What is kept by --save-trace has those who are too large, too: for other hosts they are not. */
static enum event_next next(void *self, struct event *out, struct failure *f)
{
	struct input *in = self;
	char why[PACK_WHY_MAX];

	for (;;) {
		enum event_next got = next_of_all(in, out, f);

		if (got != EVENT_ONE || pack_could_place(in->pack, out, why))
			return got;
		if (in->trace && trace_refuse(in->trace, why, f) == EVENT_FAILED)
			return EVENT_FAILED;
		if (!in->trace && !in->skip_bad)
			return got; /* pack_step() refuses it, by its number */
		in->large += !in->trace;
	}
}

static int input_open(struct input *in, struct pack_options *o, struct failure *f)
{
	struct trace_writer_options kept = {0};

	if (o->generated)
		in->workload = workload_open(o->workload, &o->work, f);
	else
		in->trace = trace_open(o->trace, o->format, &o->reading, f);
	if (!in->trace && !in->workload)
		return f->code;
	if (!o->unit && pack_options_settle(o, trace_unit(in->trace), f))
		return f->code;
	if (o->pack.fleet.lifetimes && in->trace && !trace_tells_lives(in->trace) &&
	    !(in->foresight = foresight_open(o->trace, o->format, &o->reading, f)))
		return f->code;
	kept.unit = o->unit;
	if (o->save)
		in->writer = trace_writer_open(o->save, &kept, f);
	return f->code;
}

static void input_close(struct input *in, bool keep, struct failure *f)
{
	if (keep && in->writer)
		(void)text_file_close(in->writer, f);
	else
		text_file_abandon(in->writer);
	(void)decision_log_close(in->log, keep && !f->code, f);
	trace_close(in->trace);
	workload_close(in->workload);
	foresight_close(in->foresight);
}

static int play(struct pack *p, struct input *in, struct series *series, struct report *report, bool show_it,
		struct failure *f)
{
	const struct pack_source source = {.self = in, .next = next, .prompt = in->log};
	const bool terminal = show_it && isatty(STDERR_FILENO);
	enum event_next step;
	uint64_t events = 0, time_us;

	while ((step = pack_step(p, &source, &time_us, f)) == EVENT_ONE) {
		series_step(series, p, time_us);
		if ((report && report_note(report, time_us, f)) || (in->log && decision_log_judge(in->log, f)))
			return f->code;
		if (++events % SHOW_EVENTS == 0 && terminal)
			show(p, events);
	}
	if (terminal && events >= SHOW_EVENTS)
		fputs("\r\033[K", stderr);
	return step == EVENT_FAILED ? f->code : 0;
}

int experiment_run(struct pack_options *o, bool show_it, struct experiment *out, struct failure *f)
{
	struct input in = {.skip_bad = o->reading.skip_bad};
	const struct decision_names names = {&in, name_of_arrival};
	struct pack *p = input_open(&in, o, f) ? NULL : pack_open(&o->pack, f);
	struct series series = {0};
	bool good = p && series_open(&series, o, f) == 0;
	struct report *report = good && o->report ? report_open(o, p, f) : NULL;

	in.pack = p;
	if (good && !f->code && o->log)
		in.log = decision_log_open(o->log, p, &names, f);
	good = good && !f->code && play(p, &in, &series, report, show_it, f) == 0;
	if (good) {
		out->figures = pack_figures_read(p);
		out->read =
			in.trace ? trace_stats_read(in.trace) : (struct trace_stats){.bad[TRACE_BAD_LARGE] = in.large};
	}
	good = series_close(&series, good, f) == 0 && good;
	good = report_close(report, good, &out->read, f) == 0 && good;
	input_close(&in, good, f);
	pack_close(p);
	return f->code;
}
