/* vmm/pack/experiment.c: one experiment, as the command line asks for it. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

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

static int series_open(struct series *s, const struct pack_options *o, struct failure *f)
{
	struct alloc alloc = {0};

	s->step_us = o->csv_step_us;
	if (!o->csv || draft_open_stream(&s->draft, o->csv, &alloc, f))
		return f->code;
	fputs("time_s,guests,waiting,units_given,units_asked,units_free,largest_holes,holes,hosts_empty,refused\n",
	      s->draft.out);
	return 0;
}

static void series_row(struct series *s, const struct pack *p, uint64_t time_us)
{
	struct fleet_totals t = fleet_totals_read(pack_fleet(p));
	struct pack_figures now = pack_figures_read(p);

	fprintf(s->draft.out,
		"%" PRIu64 ".%06" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64
		",%" PRIu64 ",%" PRIu64 ",%" PRIu64 "\n",
		time_us / 1000000, time_us % 1000000, t.guests, pack_waiting(p), t.units_given, t.units_asked,
		t.units - t.units_given, t.largest_holes, t.holes, t.hosts_empty, pack_refused(&now) - pack_waiting(p));
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
	struct trace_writer *writer;
	struct foresight *foresight; /* lifetimes are to be known, and the trace does not tell them in time */
};

static enum event_next next(void *self, struct event *out, struct failure *f)
{
	struct input *in = self;
	enum event_next got = in->trace ? trace_next(in->trace, out, f) : workload_next(in->workload, out, f);

	if (got == EVENT_ONE && in->foresight && out->kind == EVENT_ARRIVE)
		out->life_us = foresight_life(in->foresight, out->number);
	if (got == EVENT_ONE && in->writer && trace_writer_add(in->writer, out, f))
		return EVENT_FAILED;
	return got;
}

static int input_open(struct input *in, const struct pack_options *o, struct failure *f)
{
	const struct trace_writer_options kept = {.bytes = !o->generated ||
							   strcmp(workload_unit(o->workload), "byte") == 0};

	if (o->generated)
		in->workload = workload_open(o->workload, &o->work, f);
	else
		in->trace = trace_open(o->trace, o->format, &o->reading, f);
	if (o->pack.fleet.lifetimes && in->trace && !trace_tells_lives(in->trace) &&
	    !(in->foresight = foresight_open(o->trace, o->format, &o->reading, f)))
		return f->code;
	if (o->save && (in->trace || in->workload))
		in->writer = trace_writer_open(o->save, &kept, f);
	return f->code;
}

static void input_close(struct input *in, bool keep, struct failure *f)
{
	if (keep && in->writer)
		(void)trace_writer_close(in->writer, f);
	else
		trace_writer_abandon(in->writer);
	trace_close(in->trace);
	workload_close(in->workload);
	foresight_close(in->foresight);
}

static int play(struct pack *p, struct input *in, struct series *series, struct report *report, bool show_it,
		struct failure *f)
{
	const struct pack_source source = {in, next};
	const bool terminal = show_it && isatty(STDERR_FILENO);
	enum event_next step;
	uint64_t events = 0, time_us;

	while ((step = pack_step(p, &source, &time_us, f)) == EVENT_ONE) {
		series_step(series, p, time_us);
		if (report && report_note(report, time_us, f))
			return f->code;
		if (++events % SHOW_EVENTS == 0 && terminal)
			show(p, events);
	}
	if (terminal && events >= SHOW_EVENTS)
		fputs("\r\033[K", stderr);
	return step == EVENT_FAILED ? f->code : 0;
}

int experiment_run(const struct pack_options *o, bool show_it, struct experiment *out, struct failure *f)
{
	struct input in = {0};
	struct pack *p = input_open(&in, o, f) ? NULL : pack_open(&o->pack, f);
	struct series series = {0};
	bool good = p && series_open(&series, o, f) == 0;
	struct report *report = good && o->report ? report_open(o, p, f) : NULL;

	good = good && !f->code && play(p, &in, &series, report, show_it, f) == 0;
	if (good) {
		out->figures = pack_figures_read(p);
		out->read = in.trace ? trace_stats_read(in.trace) : (struct trace_stats){0};
	}
	good = series_close(&series, good, f) == 0 && good;
	good = report_close(report, good, &out->read, f) == 0 && good;
	input_close(&in, good, f);
	pack_close(p);
	return f->code;
}
