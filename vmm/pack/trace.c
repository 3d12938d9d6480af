/* vmm/pack/trace.c
 *
 * What it is. One way in for all formats: what a bad line is, how it is named and
 * counted, and what every trace is held to. trace_csv.c finds columns and numbers;
 * trace_events.c reads rows that are events; trace_rows.c rows that are lives, and
 * trace_packing.c those of a SQLite file; lifetimes.c makes events of lives.
 *
 * Invariants of what comes out, whatever goes in:
 *   E1  no event lies before the one that came before it;
 *   E2  a guest's number is nobody else's between his arrival and his departure, and
 *       departs once;
 *   E3  sizes are 1 to EVENT_SIZE_MAX, arrivals are numbered from 0 on without a gap.
 *
 * Numbers. Decimals are read into integers, exactly, and a size or a share is never
 * less than what was asked for; no floating point anywhere, so that every machine and
 * compiler sees the same events. SQLite's file holds binary fractions: trace_packing.c
 * takes them apart.
 *
 * Failure. What is bad in a line ends the trace, or is counted and passed over; a header
 * or a file that is no such trace always ends it. A life that was passed over departs
 * from nowhere, and is counted again.
 *
 * Memory. A line, what is read ahead, and for each guest that is there 44 bytes and a
 * name beyond 16 bytes; twice that while a table grows. Lives: 24 bytes more, and
 * SQLite's cache, with a temporary file as long as the trace.
 *
 * Rejected. Sorting lives in memory: a month of a region is two million rows, and of a
 * world more than there is memory. A sort of our own by runs and merges: SQLite's has
 * been kept well for twenty years. Trusting lives to be sorted, as V1's nearly are: who
 * shuffles or cuts a file would get other results without a word. */
#include "vmm/pack/trace_impl.h"

#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

static const char *const formats[TRACE_FORMATS] = {
	[TRACE_SLAT] = "slat",
	[TRACE_AZURE_V1] = "azure-v1",
	[TRACE_AZURE_PACKING_2020] = "azure-packing-2020",
	[TRACE_HUAWEI_EAST_1] = "huawei-east-1",
	[TRACE_MINIMALLOC] = "minimalloc",
};

static const char *const kinds[TRACE_BADS] = {
	[TRACE_BAD_LINE] = "malformed line",
	[TRACE_BAD_VALUE] = "bad value",
	[TRACE_BAD_SIZE] = "bad size",
	[TRACE_BAD_TIME] = "time goes back",
	[TRACE_BAD_TWICE] = "arrives twice",
	[TRACE_BAD_UNKNOWN] = "departs unknown",
	[TRACE_BAD_LARGE] = "larger than any host",
	[TRACE_BAD_TRAILING] = "trailing bytes",
};

bool trace_format_parse(const char *name, enum trace_format *out)
{
	for (unsigned i = 0; i < TRACE_FORMATS; i++)
		if (strcmp(name, formats[i]) == 0) {
			*out = (enum trace_format)i;
			return true;
		}
	return false;
}

const char *trace_format_name(enum trace_format format)
{
	return formats[format];
}

const char *trace_bad_name(enum trace_bad kind)
{
	return kinds[kind];
}

enum event_next trace_bad(struct trace *t, enum trace_bad kind, const char *what, struct failure *f)
{
	const struct trace_where *w = &t->where;

	t->stats.bad[kind]++;
	if (t->options.skip_bad)
		return EVENT_END;
	fail(f, EXIT_IMAGE, "%s, %s %" PRIu64 ": %s: \"%s\"", t->name, w->unit, w->number, what,
	     csv_excerpt(w->text, w->length).text);
	return EVENT_FAILED;
}

int trace_no_memory(struct trace *t, struct failure *f)
{
	return fail(f, EXIT_HOST, "no memory to read %s with %u guests there", t->name,
		    t->live ? live_table_count(t->live) : 0);
}

/* ---- lives ---- */

static enum event_next enter(void *self, uint32_t *guest, struct failure *f)
{
	struct trace *t = self;

	switch (live_table_add(t->live, t->where.text, t->where.length, 0, guest)) {
	case LIVE_OK:
		return EVENT_ONE;
	case LIVE_TWICE:
		return trace_bad(t, TRACE_BAD_TWICE, "a guest of that name is there", f);
	default:
		trace_no_memory(t, f);
		return EVENT_FAILED;
	}
}

static void leave(void *self, uint32_t guest)
{
	live_table_remove_guest(((struct trace *)self)->live, guest);
}

static enum event_next next_life(struct trace *t, struct event *out, struct failure *f)
{
	return lifetimes_next(&t->lifetimes, out, f);
}

int trace_open_lives(struct trace *t, enum event_next (*row)(void *self, struct lifetime *out, struct failure *f),
		     struct failure *f)
{
	const struct lifetimes_source source = {t, row, enter, leave};

	lifetimes_open(&t->lifetimes, &source, &t->alloc);
	t->next = next_life;
	return f->code;
}

int trace_sqlite_failed(struct trace *t, const char *doing, struct failure *f)
{
	return fail(f, EXIT_HOST, "cannot %s %s: %s", doing, t->name, t->db ? t->sqlite.errmsg(t->db) : "no memory");
}

/* ---- opening and closing ---- */

static int judge(const struct trace_options *o, enum trace_format format, struct failure *f)
{
	if (format != TRACE_AZURE_PACKING_2020)
		return 0;
	if (o->machine_bytes == 0 || o->machine_bytes > TRACE_MACHINE_BYTES_MAX ||
	    o->machine_cpus > TRACE_MACHINE_CPUS_MAX)
		return fail(f, EXIT_USAGE,
			    "azure-packing-2020 tells shares of a machine: its memory has to be known, up to 64T, and "
			    "its CPUs are at most %u",
			    TRACE_MACHINE_CPUS_MAX);
	return 0;
}

static int open_format(struct trace *t, struct failure *f)
{
	t->live = live_table_open(&t->alloc);
	if (!t->live)
		return trace_no_memory(t, f);
	switch (t->format) {
	case TRACE_SLAT:
	case TRACE_HUAWEI_EAST_1:
		return trace_open_events(t, f);
	case TRACE_AZURE_PACKING_2020:
		return trace_open_packing(t, f);
	default:
		return trace_open_rows(t, f);
	}
}

struct trace *trace_open(const char *path, enum trace_format format, const struct trace_options *options,
			 struct failure *f)
{
	struct alloc alloc = {options->fail_after};
	struct trace *t;

	if (judge(options, format, f))
		return NULL;
	t = alloc_zeroed(&alloc, 1, sizeof(*t) + strlen(path) + 1);
	if (!t) {
		fail(f, EXIT_HOST, "no memory to read %s", path);
		return NULL;
	}
	t->options = *options;
	t->alloc = alloc;
	t->format = format;
	memcpy(t->path, path, strlen(path) + 1);
	t->name = strcmp(path, "-") == 0 ? "standard input" : t->path;
	if (open_format(t, f)) {
		trace_close(t);
		return NULL;
	}
	return t;
}

void trace_close(struct trace *t)
{
	if (!t)
		return;
	if (t->sqlite.library) {
		t->sqlite.finalize(t->rows);
		t->sqlite.close_v2(t->db);
	}
	libsqlite_close(&t->sqlite);
	lifetimes_close(&t->lifetimes);
	live_table_close(t->live);
	lines_close(&t->lines);
	free(t->scratch);
	free(t);
}

enum event_next trace_next(struct trace *t, struct event *out, struct failure *f)
{
	const enum event_next got = t->next(t, out, f);

	if (got == EVENT_ONE) {
		t->stats.events++;
		t->kind = out->kind;
		t->stats.arrivals += out->kind == EVENT_ARRIVE;
	} else if (got == EVENT_END && t->stats.events == 0) {
		fail(f, EXIT_IMAGE, "%s has no event", t->name);
		return EVENT_FAILED;
	}
	return got;
}

struct csv_field trace_guest_name(const struct trace *t)
{
	struct csv_field name = {t->where.text, t->where.length};

	if (t->kind == EVENT_DEPART)
		name.at = live_table_gone(t->live, &name.length);
	else if (t->next != next_life)
		name = trace_field(t, TRACE_ID);
	return name;
}

const char *trace_unit(const struct trace *t)
{
	return t->unit ? t->unit : "byte";
}

const char *trace_unit_of(const char *path)
{
	const struct trace_options options = {0};
	struct failure f = {0};
	struct stat s = {0};
	struct trace *t;
	const char *unit;

	if (strcmp(path, "-") == 0 || (stat(path, &s) == 0 && !S_ISREG(s.st_mode)))
		return NULL;
	t = trace_open(path, TRACE_SLAT, &options, &f);
	unit = t ? trace_unit(t) : "byte";
	trace_close(t);
	return unit;
}

enum event_next trace_refuse(struct trace *t, const char *why, struct failure *f)
{
	const struct trace_where *w = &t->where;
	const struct csv_field name = trace_guest_name(t);

	t->stats.bad[TRACE_BAD_LARGE]++;
	if (t->options.skip_bad)
		return EVENT_END;
	fail(f, EXIT_IMAGE, "%s, %s %" PRIu64 ": guest \"%s\" %s", t->name, w->unit, w->number,
	     csv_excerpt(name.at, name.length).text, why);
	return EVENT_FAILED;
}

bool trace_tells_lives(const struct trace *t)
{
	return t->next == next_life || trace_has(t, TRACE_LIFE);
}

struct trace_stats trace_stats_read(const struct trace *t)
{
	struct trace_stats s = t->stats;

	s.live = live_table_count(t->live);
	s.live_max = live_table_count_max(t->live);
	return s;
}
