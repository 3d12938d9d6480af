/* vmm/pack/report_html.c: an experiment as a page with charts.
 *
 * Figures over time are the states at some hundred moments, each as it is drawn until the next (moments.h): what
 * happens between two of them is in the table, whose figures are of all events, and not in the charts, which say so.
 * Nothing of the machine, the clock or the path of slat is in the page: the same experiment makes the same bytes. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/pack/amount.h"
#include "vmm/pack/chart.h"
#include "vmm/pack/draft.h"
#include "vmm/pack/html.h"
#include "vmm/pack/moments.h"
#include "vmm/pack/pool_picture.h"
#include "vmm/pack/report_html.h"
#include "vmm/size.h"

#define PPM   UINT64_C(1000000)
#define WAITS 101u

typedef unsigned __int128 wide;

struct state { /* at a moment */
	struct fleet_totals totals;
	uint64_t waiting, units_refused, refused[FLEET_ANSWERS];
};

struct report {
	const struct pack_options *o;
	const struct pack *pack;
	struct draft page;
	struct pool_words words;
	struct moments moments;
	uint64_t last_us; /* when the last event was */
	struct state state[MOMENTS_MAX];
	struct pool_picture *picture;
	uint64_t column[CHART_LINES_MAX][MOMENTS_MAX];
};

/* ---- while it runs ---- */

struct report *report_open(const struct pack_options *o, const struct pack *p, struct failure *f)
{
	struct report *r = calloc(1, sizeof(*r));
	struct alloc alloc = {0};
	bool bytes = amount_of_bytes(o->unit);

	if (!r)
		return (void)fail(f, EXIT_HOST, "no memory for a report"), NULL;
	r->o = o;
	r->pack = p;
	r->words = (struct pool_words){bytes ? QUANTITY_BYTES : QUANTITY_COUNT, bytes ? "" : o->unit, o->pack.granule};
	moments_init(&r->moments, MOMENTS_MAX);
	r->picture = pool_picture_open(pack_fleet(p), f);
	if (r->picture && draft_open_stream(&r->page, o->report, &alloc, f) == 0)
		return r;
	pool_picture_close(r->picture);
	free(r);
	return NULL;
}

static int note(struct report *r, uint64_t time_us, bool anyway, struct failure *f)
{
	struct pack_figures n;
	struct state *s;

	if (anyway || moments_due(&r->moments, time_us)) {
		s = &r->state[moments_add(&r->moments, time_us)];
		n = pack_figures_read(r->pack);
		s->totals = fleet_totals_read(pack_fleet(r->pack));
		s->waiting = pack_waiting(r->pack);
		s->units_refused = n.units_refused;
		memcpy(s->refused, n.refused, sizeof(s->refused));
	}
	return pool_picture_note(r->picture, time_us, anyway, f);
}

int report_note(struct report *r, uint64_t time_us, struct failure *f)
{
	r->last_us = time_us;
	return note(r, time_us, false, f);
}

/* ---- words ---- */

static uint64_t times(uint64_t units, uint64_t granule)
{
	wide product = (wide)units * granule;

	return product > UINT64_MAX ? UINT64_MAX : (uint64_t)product;
}

static uint64_t share(uint64_t part, uint64_t all)
{
	return all ? (uint64_t)((wide)part * PPM / all) : 0;
}

/* "3.5 TiB", "1,200 MHz" */
static struct axis_text amount(const struct report *r, uint64_t units)
{
	struct axis_text t = quantity_text(r->words.size, times(units, r->words.granule));
	size_t used = strlen(t.s);

	if (r->words.name[0])
		snprintf(t.s + used, sizeof(t.s) - used, " %s", r->words.name);
	return t;
}

static bool unbounded(const struct pack_options *o)
{
	return o->host[0].bytes == 0;
}

static void row(const struct report *r, const char *name, const char *value, const char *more)
{
	fprintf(r->page.out, "<tr><th scope=\"row\">%s</th><td class=\"n\">", name);
	html_text(r->page.out, value);
	fprintf(r->page.out, "%s", more[0] ? " <span class=\"soft\">· " : "");
	html_text(r->page.out, more);
	fprintf(r->page.out, "%s</td></tr>\n", more[0] ? "</span>" : "");
}

static void row_of(const struct report *r, const char *name, enum quantity q, uint64_t value, const char *more)
{
	row(r, name, quantity_text(q, value).s, more);
}

/* ---- the head ---- */

static void write_fleet(const struct report *r)
{
	const struct pack_options *o = r->o;
	FILE *out = r->page.out;

	for (uint32_t i = 0; i < o->pack.fleet.shapes; i++) {
		const struct fleet_shape *s = &o->shape[i];
		uint32_t cpus = s->node[0].cpu_millis;

		fputs(i ? ", and " : "", out);
		if (o->host[i].bytes == 0) {
			fputs("one pool that grows when nothing fits", out);
			continue;
		}
		fprintf(out, "%s %s of ", quantity_text(QUANTITY_COUNT, s->hosts).s, s->hosts == 1 ? "host" : "hosts");
		if (s->nodes > 1)
			fprintf(out, "%" PRIu32 " nodes, ", s->nodes);
		if (cpus != FLEET_CPU_UNLIMITED)
			fprintf(out, "%s CPUs, ", quantity_text(QUANTITY_COUNT, (uint64_t)cpus * s->nodes / 1000).s);
		if (r->words.size == QUANTITY_BYTES)
			fputs(quantity_text(QUANTITY_BYTES, o->host[i].bytes).s, out);
		else
			fprintf(out, "%s %s", quantity_text(QUANTITY_COUNT, o->host[i].bytes).s, r->words.name);
	}
}

static void write_head(const struct report *r, const struct pack_figures *n)
{
	const struct pack_options *o = r->o;
	FILE *out = r->page.out;

	fputs("<p class=\"soft\">", out);
	if (o->generated)
		fprintf(out, "The workload <b>%s</b> of seed %" PRIu64, workload_kind_name(o->workload),
			o->pack.fleet.seed);
	else
		fputs("The trace <b>", out);
	if (!o->generated) {
		html_text(out, strcmp(o->trace, "-") == 0 ? "of standard input" : o->trace);
		fputs("</b>", out);
	}
	fprintf(out, ", %s guests over ", quantity_text(QUANTITY_COUNT, n->arrivals).s);
	fprintf(out, "%s, played into ", quantity_text(QUANTITY_US, n->span_us).s);
	write_fleet(r);
	fputs(".</p>\n<pre aria-label=\"The command\">", out);
	html_command(out, "slat pack", o->word, o->words);
	fputs("</pre>\n", out);
}

static void table_open(FILE *out, const char *title)
{
	fprintf(out, "<div><h2>%s</h2><table><tbody>\n", title);
}

static void row_why(const struct report *r, const char *name, const struct pack_figures *n, enum fleet_answer why)
{
	row_of(r, name, QUANTITY_COUNT, n->refused[why], n->refused[why] ? amount(r, n->units_refused_why[why]).s : "");
}

static void write_guests(const struct report *r, const struct pack_figures *n)
{
	bool wait = r->o->pack.wait;

	table_open(r->page.out, "Guests");
	row_of(r, "arrived", QUANTITY_COUNT, n->arrivals, "");
	row(r, "accepted", quantity_text(QUANTITY_COUNT, n->accepted).s, amount(r, n->units_accepted).s);
	row(r, "refused", quantity_text(QUANTITY_COUNT, pack_refused(n)).s,
	    n->units_refused == 0 ? "" : amount(r, n->units_refused).s);
	if (wait)
		row_of(r, "– still waiting at the end", QUANTITY_COUNT, n->waiting, "");
	row_why(r, "– no host has the memory", n, FLEET_NO_MEMORY);
	row_why(r, "– and the CPUs", n, FLEET_NO_CPU);
	row_why(r, "– and a hole for it", n, FLEET_NO_HOLE);
	if (r->o->pack.fleet.latency_ps)
		row_why(r, "– and the latency", n, FLEET_NO_CONTRACT);
	row_of(r, "live, mean", QUANTITY_MILLI, n->guests_milli, "");
	row_of(r, "live, peak", QUANTITY_COUNT, n->guests_peak, "");
	if (wait) {
		row_of(r, "had to wait", QUANTITY_COUNT, n->waited, "");
		row_of(r, "wait, mean", QUANTITY_US, n->wait_mean_us, "");
		row_of(r, "wait of 99 of 100, at most", QUANTITY_US, n->wait_p99.most, "");
		row_of(r, "wait, longest", QUANTITY_US, n->wait_longest_us, "");
	}
	fputs("</tbody></table></div>\n", r->page.out);
}

static void write_memory(const struct report *r, const struct pack_figures *n)
{
	table_open(r->page.out, "Memory");
	if (unbounded(r->o)) {
		row_of(r, "top above what lives, mean", QUANTITY_PPM, n->over_ppm, "");
		row_of(r, "– at the highest load", QUANTITY_PPM, n->over_at_peak_ppm, "");
		row_of(r, "– highest top over highest load", QUANTITY_PPM, n->over_most_ppm, "");
	} else {
		row_of(r, "used, mean", QUANTITY_PPM, n->utilisation_ppm, "");
		row_of(r, "used, peak", QUANTITY_PPM, n->utilisation_peak_ppm, "");
	}
	if (n->cpus_limited)
		row_of(r, "CPUs used, mean", QUANTITY_PPM, n->cpu_ppm, "");
	row_of(r, "external fragmentation, mean", QUANTITY_PPM, n->external_ppm, "");
	row_of(r, "internal fragmentation, mean", QUANTITY_PPM, n->internal_ppm, "");
	row_of(r, "holes, mean", QUANTITY_MILLI, n->holes_milli, "");
	row_of(r, "empty hosts, mean", QUANTITY_MILLI, n->hosts_empty_milli, "");
	row_of(r, "local memory, mean", QUANTITY_PPM, n->local_ppm, "");
	if (r->o->pack.compact != PACK_COMPACT_NEVER)
		row(r, "moved by compaction", quantity_text(QUANTITY_COUNT, n->moves).s, amount(r, n->units_moved).s);
	fputs("</tbody></table></div>\n", r->page.out);
}

static void write_policy(const struct report *r, const struct trace_stats *read)
{
	const struct pack_config *c = &r->o->pack;
	uint64_t bad = 0;

	for (unsigned i = 0; i < TRACE_BADS; i++)
		bad += read->bad[i];
	table_open(r->page.out, "Policy");
	row(r, "host (--choose)",
	    c->fleet.nodes == FLEET_NODES_BALANCE ? "as --node has it" : pack_choose_name(c->fleet.choose), "");
	row(r, "node (--node)", pack_nodes_name(c->fleet.nodes), "");
	row(r, "hole (--fit)", pack_fit_name(c->fleet.fit), "");
	if (c->fleet.lifetimes)
		row(r, "lifetimes", pack_lifetimes_name(true), "");
	if (c->huge_above)
		row(r, "huge pages are for guests above", amount(r, c->huge_above / c->granule).s, "");
	row(r, "contiguous", pack_contiguous_name(c->fleet.contiguous), "");
	row(r, "compaction", pack_compact_name(c->compact), "");
	row(r, "who does not fit", c->wait ? "waits" : "is gone", "");
	row(r, "granule", amount(r, 1).s, "");
	row_of(r, "seed", QUANTITY_COUNT, c->fleet.seed, "");
	if (bad > 0)
		row_of(r, "bad lines passed over", QUANTITY_COUNT, bad, "");
	fputs("</tbody></table></div>\n", r->page.out);
}

static uint32_t nodes_most(const struct pack_options *o)
{
	uint32_t most = 1;

	for (uint32_t i = 0; i < o->pack.fleet.shapes; i++)
		most = o->shape[i].nodes > most ? o->shape[i].nodes : most;
	return most;
}

/* What figures are of. */
static void write_words(const struct report *r, const struct pack_figures *n)
{
	const uint32_t nodes = nodes_most(r->o);
	FILE *out = r->page.out;

	fprintf(out, "<p class=\"small soft\">Means are over the whole time from the first event to the last, %s",
		quantity_text(QUANTITY_US, n->span_us).s);
	if (n->arriving_us < n->span_us)
		fprintf(out, "; the last guest came after %s, and the time that is left, %s of all, is in them",
			quantity_text(QUANTITY_US, n->arriving_us).s,
			quantity_text(QUANTITY_PPM, share(n->span_us - n->arriving_us, n->span_us)).s);
	fputs(". External fragmentation is the share of free memory that lies outside each host’s largest hole", out);
	if (nodes > 1)
		fprintf(out,
			": no hole spans nodes, so that even an empty host of %" PRIu32 " nodes has about %" PRIu32
			" %%",
			nodes, 100 - 100 / nodes);
	fputs(".</p>\n", out);
}

/* ---- charts over time ---- */

static const struct state *state(const struct report *r, uint32_t i)
{
	return &r->state[r->moments.place[i]];
}

static void draw(struct report *r, const char *id, const char *title, const char *about, enum quantity q,
		 const char *const *name, unsigned lines)
{
	const struct chart c = {id, title, about, QUANTITY_US, q, "time since the first event"};
	struct chart_line line[CHART_LINES_MAX];

	for (unsigned i = 0; i < lines; i++)
		line[i] = (struct chart_line){name[i], r->column[i]};
	chart_steps(r->page.out, &c, line, lines, r->moments.time_us, r->moments.count);
}

static void draw_use(struct report *r)
{
	static const char *const names[] = {"memory", "CPUs"};
	bool cpus = false;

	for (uint32_t i = 0; i < r->moments.count; i++) {
		const struct fleet_totals *t = &state(r, i)->totals;

		r->column[0][i] = share(t->units_given, t->units);
		r->column[1][i] = share(t->cpu_millis_given, t->cpu_millis);
		cpus |= t->cpu_millis > 0;
	}
	draw(r, "use", cpus ? "Memory and CPUs used" : "Memory used", "of all hosts", QUANTITY_PPM, names,
	     cpus ? 2 : 1);
}

static void draw_top(struct report *r)
{
	static const char *const names[] = {"top", "used"};
	char title[64];

	for (uint32_t i = 0; i < r->moments.count; i++) {
		const struct fleet_totals *t = &state(r, i)->totals;

		r->column[0][i] = times(t->units, r->words.granule);
		r->column[1][i] = times(t->units_given, r->words.granule);
	}
	snprintf(title, sizeof(title), "The pool%s%s", r->words.name[0] ? ", in " : "", r->words.name);
	draw(r, "use", title, "its top never sinks; what is between is holes", r->words.size, names, 2);
}

static void draw_guests(struct report *r)
{
	static const char *const names[] = {"live", "waiting"};

	for (uint32_t i = 0; i < r->moments.count; i++) {
		r->column[0][i] = state(r, i)->totals.guests;
		r->column[1][i] = state(r, i)->waiting;
	}
	draw(r, "guests", r->o->pack.wait ? "Guests live and waiting" : "Guests live", "", QUANTITY_COUNT, names,
	     r->o->pack.wait ? 2 : 1);
}

static void draw_refused(struct report *r)
{
	static const char *const names[] = {"no memory", "no CPUs", "no hole", "latency"}, *const one[] = {"refused"};
	static const enum fleet_answer why[] = {FLEET_NO_MEMORY, FLEET_NO_CPU, FLEET_NO_HOLE, FLEET_NO_CONTRACT};
	char title[64];

	for (uint32_t i = 0; i < r->moments.count; i++)
		for (unsigned k = 0; k < 4; k++)
			r->column[k][i] = state(r, i)->refused[why[k]];
	draw(r, "refused", "Guests refused so far, by why", "a few more or less say nothing: see also the amount",
	     QUANTITY_COUNT, names, r->o->pack.fleet.latency_ps ? 4 : 3);
	for (uint32_t i = 0; i < r->moments.count; i++)
		r->column[0][i] = times(state(r, i)->units_refused, r->words.granule);
	snprintf(title, sizeof(title), "%s refused so far%s%s", r->words.name[0] ? "Amount" : "Memory",
		 r->words.name[0] ? ", in " : "", r->words.name);
	draw(r, "amount", title, "what the refused guests asked for, in all", r->words.size, one, 1);
}

/* Where less than a hundredth is free there is nothing to be in pieces: what it was before is drawn on. */
static void draw_holes(struct report *r)
{
	static const char *const external[] = {"external fragmentation"}, *const holes[] = {"holes"};
	uint64_t last = 0;

	for (uint32_t i = 0; i < r->moments.count; i++) {
		const struct fleet_totals *t = &state(r, i)->totals;
		uint64_t unused = t->units - t->units_given;

		if (unused > 0 && unused >= t->units / 100 + (t->units % 100 != 0))
			last = share(unused - t->largest_holes, unused);
		r->column[0][i] = last;
		r->column[1][i] = t->holes;
	}
	draw(r, "external", "External fragmentation", "free memory outside each host’s largest hole", QUANTITY_PPM,
	     external, 1);
	memcpy(r->column[0], r->column[1], sizeof(r->column[0]));
	draw(r, "holes", "Holes", "of all hosts", QUANTITY_COUNT, holes, 1);
}

static void draw_waits(struct report *r)
{
	const struct chart c = {"waits",      "Waits",	   "so many of the accepted waited no longer, to within a 32nd",
				QUANTITY_PPM, QUANTITY_US, "share of the accepted guests"};
	uint64_t x[WAITS], wait[WAITS];
	const struct chart_line line = {"wait", wait};

	for (unsigned i = 0; i < WAITS; i++) {
		x[i] = i * (PPM / 100);
		wait[i] = pack_wait_quantile(r->pack, i).most;
	}
	chart_steps(r->page.out, &c, &line, 1, x, WAITS);
}

static void write_charts(struct report *r, const struct pack_figures *n)
{
	char sizes[64];
	const struct chart holes = {"sizes",
				    "Where free memory lies",
				    "by size of hole, when the strips below are fullest",
				    QUANTITY_COUNT,
				    QUANTITY_PPM,
				    sizes};

	snprintf(sizes, sizeof(sizes), "size of the hole, at most%s%s", r->words.name[0] ? ", in " : "", r->words.name);
	fprintf(r->page.out,
		"<section>\n<h2>Over time</h2>\n<p class=\"soft\">The states at %" PRIu32
		" moments of the run; the table above is of every event.</p>\n<div class=\"charts\">\n",
		r->moments.count);
	if (unbounded(r->o))
		draw_top(r);
	else
		draw_use(r);
	draw_guests(r);
	if (!r->o->pack.wait && pack_refused(n) > 0)
		draw_refused(r);
	draw_holes(r);
	pool_picture_write_holes(r->picture, r->page.out, &holes, &r->words);
	if (r->o->pack.wait && n->waited > 0)
		draw_waits(r);
	fputs("</div>\n", r->page.out);
	if (pack_refused(n) == 0)
		fprintf(r->page.out, "<p class=\"soft\">%s</p>\n",
			r->o->pack.wait ? "Nobody waits at the end." : "No guest was refused.");
	fputs("</section>\n", r->page.out);
}

/* ---- the page ---- */

static void write_page(struct report *r, const struct trace_stats *read)
{
	struct pack_figures n = pack_figures_read(r->pack);

	html_begin(r->page.out, "A packing experiment");
	write_head(r, &n);
	fputs("<div class=\"tables\">\n", r->page.out);
	write_guests(r, &n);
	write_memory(r, &n);
	write_policy(r, read);
	fputs("</div>\n", r->page.out);
	write_words(r, &n);
	if (n.arrivals == 0) {
		fputs("<p id=\"unplayed\">No guest was played: there is nothing to draw.</p>\n", r->page.out);
	} else {
		write_charts(r, &n);
		pool_picture_write(r->picture, r->page.out, &r->words);
	}
	html_end(r->page.out);
}

int report_close(struct report *r, bool keep, const struct trace_stats *read, struct failure *f)
{
	if (!r)
		return f->code;
	if (keep && r->moments.count > 0)
		keep = note(r, r->last_us, true, f) == 0;
	if (keep) {
		write_page(r, read);
		(void)draft_keep(&r->page, f);
	} else {
		draft_drop(&r->page);
	}
	pool_picture_close(r->picture);
	free(r);
	return f->code;
}
