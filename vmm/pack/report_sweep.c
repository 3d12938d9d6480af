/* vmm/pack/report_sweep.c: what policies came to over seeds, as a page. What may be said of them: top of compare.c.
 *
 * Each group of guests and hosts is a section, with a chart and a table of each figure that is not the same everywhere.
 * All intervals are of one comparison each: of twenty such, one errs, as the page says. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/pack/chart.h"
#include "vmm/pack/compare.h"
#include "vmm/pack/draft.h"
#include "vmm/pack/html.h"
#include "vmm/pack/report_sweep.h"

#define POLICIES_MAX 40u /* that are drawn */
#define GROUPS_MAX   40u
#define FEW	     5u /* runs */

struct page {
	const struct sweep *s;
	const struct compare *c;
	FILE *out;
};

struct said {
	char s[4 * sizeof(struct axis_text)];
};

struct row {
	const struct compare_policy *policy;
	struct compare_span at;
	struct said said;
};

/* A figure of a group. */
struct drawn {
	const struct compare_group *g;
	const struct compare_figure *f;
	enum quantity quantity;
	struct row *row; /* those that are drawn, and room for one */
	uint32_t rows;
	const struct compare_policy *best; /* NULL: none is */
};

/* ---- words ---- */

static struct said count(uint64_t n, const char *one, const char *more)
{
	struct said said;

	snprintf(said.s, sizeof(said.s), "%s %s", quantity_text(QUANTITY_COUNT, n).s, n == 1 ? one : more);
	return said;
}

static struct said span_said(enum quantity q, const struct compare_span *at)
{
	struct said said;

	if (!at->known)
		snprintf(said.s, sizeof(said.s), "%s", quantity_mean(q, at->mean).s);
	else if (at->low + at->half == at->mean && at->mean + at->half == at->high)
		snprintf(said.s, sizeof(said.s), "%s ± %s", quantity_mean(q, at->mean).s, quantity_mean(q, at->half).s);
	else
		snprintf(said.s, sizeof(said.s), "%s (%s to %s)", quantity_mean(q, at->mean).s,
			 quantity_mean(q, at->low).s, quantity_mean(q, at->high).s);
	return said;
}

/* ---- a figure ---- */

static const struct compare_policy *best_of(const struct compare_group *g, const struct compare_figure *f)
{
	enum compare_better better = compare_better(g, f);
	uint32_t best = 0;
	uint64_t its = 0;

	if (better == COMPARE_NEITHER || g->policies == 1)
		return NULL;
	for (uint32_t i = 0; i < g->policies; i++) {
		uint64_t mean = compare_span(g, g->policy[i], f).mean;

		if (i > 0 && (better == COMPARE_MORE ? mean <= its : mean >= its))
			continue;
		best = i;
		its = mean;
	}
	return g->policy[best];
}

static struct row row_of(const struct drawn *d, uint32_t policy)
{
	struct row row = {.policy = d->g->policy[policy]};

	row.at = compare_span(d->g, row.policy, d->f);
	row.said = span_said(d->quantity, &row.at);
	return row;
}

static bool goes_before(const struct drawn *d, const struct row *a, const struct row *b)
{
	return compare_better(d->g, d->f) == COMPARE_MORE ? a->at.mean > b->at.mean : a->at.mean < b->at.mean;
}

/* Among those that are there, by rank. When there are too many, the one in the middle goes: it is neither of the best
 * half of what may be drawn, nor of the worst. */
static void row_rank(struct drawn *d, struct row row)
{
	uint32_t at = d->rows++;

	for (; at > 0 && goes_before(d, &row, &d->row[at - 1]); at--)
		d->row[at] = d->row[at - 1];
	d->row[at] = row;
	if (d->rows > POLICIES_MAX) {
		d->rows--;
		memmove(&d->row[POLICIES_MAX / 2], &d->row[POLICIES_MAX / 2 + 1],
			(d->rows - POLICIES_MAX / 2) * sizeof(*d->row));
	}
}

/* In the order of the points; of more than are drawn, those at both ends, by rank. */
static void drawn_make(struct drawn *d)
{
	d->best = best_of(d->g, d->f);
	d->rows = 0;
	for (uint32_t i = 0; i < d->g->policies; i++) {
		struct row row = row_of(d, i);

		if (d->g->policies > POLICIES_MAX)
			row_rank(d, row);
		else
			d->row[d->rows++] = row;
	}
}

static const char *name_of(const struct compare_policy *p)
{
	return p->name[0] ? p->name : "the policy";
}

static void write_chart(FILE *out, const struct drawn *d, const struct chart *c)
{
	struct chart_dot dot[POLICIES_MAX];

	for (uint32_t i = 0; i < d->rows; i++) {
		const struct row *row = &d->row[i];
		bool known = row->at.known, open = false;

		if (d->best && row->policy != d->best) {
			struct compare_difference its = compare_difference(d->g, row->policy, d->best, d->f);

			open = its.runs > 1 && !its.beyond;
		}
		dot[i] = (struct chart_dot){name_of(row->policy),
					    row->said.s,
					    row->at.mean,
					    known ? row->at.low : row->at.mean,
					    known ? row->at.high : row->at.mean,
					    open};
	}
	chart_dots(out, c, dot, d->rows);
}

static void put_verdict(FILE *out, const struct drawn *d, const struct row *row)
{
	struct compare_difference its = compare_difference(d->g, row->policy, d->best, d->f);
	uint64_t size = (uint64_t)(its.mean < 0 ? -its.mean : its.mean);
	const char *than = its.mean < 0 ? "less" : "more";

	if (row->policy == d->best)
		fputs(d->g->runs > 1 ? "best mean" : "best", out);
	else if (its.same && its.mean == 0)
		fputs("the same", out);
	else if (its.runs == 1)
		fprintf(out, "%s %s, of one run", quantity_difference(d->quantity, size).s, than);
	else if (its.same)
		fprintf(out, "%s %s in each of %" PRIu32 " runs", quantity_difference(d->quantity, size).s, than,
			its.runs);
	else if (!its.beyond)
		fputs("no difference beyond chance", out);
	else
		fprintf(out, "%s ± %s %s", quantity_difference_number(d->quantity, size).s,
			quantity_difference(d->quantity, its.half).s, than);
}

static void write_table(FILE *out, const struct drawn *d)
{
	fprintf(out,
		"<table class=\"compare\"><thead><tr><th scope=\"col\">policy</th><th scope=\"col\" "
		"class=\"n\">%s</th><th scope=\"col\">against the best</th></tr></thead><tbody>\n",
		d->g->runs > 1 ? "mean" : "one run");
	for (uint32_t i = 0; i < d->rows; i++) {
		fputs("<tr><th scope=\"row\">", out);
		html_text(out, name_of(d->row[i].policy));
		fprintf(out, "</th><td class=\"n\">%s</td><td>", d->row[i].said.s);
		put_verdict(out, d, &d->row[i]);
		fputs("</td></tr>\n", out);
	}
	fputs("</tbody></table>\n", out);
}

/* What the reader should know of the figure. */
static void write_note(FILE *out, const struct drawn *d)
{
	bool neither = compare_better(d->g, d->f) == COMPARE_NEITHER;

	fputs(d->f->traded && d->g->mixed ? "neither is better: some policies refuse, some let wait" : d->f->note, out);
	if (d->f->holes && d->g->nodes > 1)
		fprintf(out, "; an empty host of %" PRIu32 " nodes has about %" PRIu32 " %%", d->g->nodes,
			100 - 100 / d->g->nodes);
	if (d->g->policies > POLICIES_MAX)
		fprintf(out, "; of %" PRIu32 " policies the %u %s and the %u %s are drawn", d->g->policies,
			POLICIES_MAX / 2, neither ? "lowest" : "best", POLICIES_MAX / 2, neither ? "highest" : "worst");
}

static void write_figure(const struct page *p, struct drawn *d, uint32_t group)
{
	const enum quantity quantity = compare_quantity(d->g, d->f);
	const char *unit = d->f->amount && quantity == QUANTITY_COUNT ? d->g->unit : "";
	char id[32], title[96], note[320] = "";
	const struct chart chart = {id, title, note, QUANTITY_COUNT, quantity, title};
	FILE *to = fmemopen(note, sizeof(note), "w");

	if (to) {
		write_note(to, d);
		fclose(to);
	}
	snprintf(id, sizeof(id), group ? "%s%" PRIu32 : "%s", d->f->id, group);
	snprintf(title, sizeof(title), "%s%s%s", d->f->title, unit[0] ? ", in " : "", unit);
	d->quantity = quantity;
	drawn_make(d);
	fputs("<div>\n", p->out);
	write_chart(p->out, d, &chart);
	if (d->best)
		write_table(p->out, d);
	fputs("</div>\n", p->out);
}

/* ---- a group ---- */

static void write_seeds(FILE *out, const struct compare_group *g)
{
	fprintf(out,
		"Means over %" PRIu32 " seeds with their 95 %% intervals (Student’s t), which end where the figure "
		"does.",
		g->runs);
	if (g->policies > 1)
		fputs(" A policy is compared with the best seed by seed, since both met the same guests; a ring "
		      "instead of a dot, and <i>no difference beyond chance</i>, mean that the 95 % interval of these "
		      "differences has 0 in it. Of twenty comparisons one errs by chance; none is corrected for how "
		      "many there are.",
		      out);
	if (g->runs < FEW)
		fprintf(out,
			" <b>%" PRIu32 " seeds are few:</b> the intervals are wide, and right only if results are "
			"normally distributed, which so few cannot show.",
			g->runs);
}

static void write_chance(const struct page *p, const struct compare_group *g)
{
	FILE *out = p->out;
	bool played = g->policy[0]->played > 1;

	fputs("<p class=\"chance\">", out);
	if (g->runs == 1 && !g->generated)
		fprintf(out,
			"<b>One run: nothing is known of chance.</b> It is one trace, and no seed changes what a "
			"policy does with it%s. A difference is one of these guests.",
			played ? ": who was played with several seeds is one run" : "");
	else if (g->runs == 1)
		fputs("<b>One run of each policy: nothing is known of chance.</b> A difference is one of this run; "
		      "cross more than one seed to learn whether it is more.",
		      out);
	else if (g->generated)
		write_seeds(out, g);
	else {
		fputs("<b>One trace: nothing is known of other guests.</b> The seed changes only how <i>random</i> and "
		      "<i>two</i> choose hosts; every other policy is one run, played once a seed, and has no "
		      "interval. ",
		      out);
		write_seeds(out, g);
	}
	fputs("</p>\n", out);
}

/* What is said of chance is the same of both. */
static bool alike(const struct compare_group *a, const struct compare_group *b)
{
	return a->runs == b->runs && a->generated == b->generated && (a->policies > 1) == (b->policies > 1);
}

/* Figures that do not tell policies apart. */
static void write_same(const struct page *p, const struct compare_group *g)
{
	bool any = false;

	for (uint32_t i = 0; i < compare_figures_count; i++) {
		const struct compare_figure *f = &compare_figures[i];

		if (!compare_has(g, f) || compare_differs(g, f))
			continue;
		fprintf(p->out, "%s%s: %s",
			any ? "; " : "<p class=\"same\">The same everywhere, and not drawn: ", f->title,
			quantity_mean(compare_quantity(g, f), (uint64_t)compare_value(g->policy[0], f, 0)).s);
		any = true;
	}
	if (any)
		fputs(".</p>\n", p->out);
}

static void write_group(const struct page *p, uint32_t n)
{
	const struct compare_group *g = p->c->group[n];
	struct row row[POLICIES_MAX + 1];
	struct drawn d = {.g = g, .row = row};

	fputs("<section>\n<h2>", p->out);
	html_text(p->out, g->name[0] ? g->name : "Policies compared");
	fputs("</h2>\n", p->out);
	if (n == 0 || !alike(g, p->c->group[n - 1]))
		write_chance(p, g);
	fputs("<div class=\"charts compared\">\n", p->out);
	for (uint32_t i = 0; i < compare_figures_count; i++) {
		d.f = &compare_figures[i];
		if (compare_has(g, d.f) && compare_differs(g, d.f))
			write_figure(p, &d, n);
	}
	fputs("</div>\n", p->out);
	write_same(p, g);
	fputs("</section>\n", p->out);
}

/* ---- the page ---- */

static void write_head(const struct page *p, char *const *word, int words)
{
	FILE *out = p->out;

	fprintf(out, "<p class=\"soft\">%s, ", count(p->s->points, "point", "points").s);
	fprintf(out, "%s", count(p->c->policies, "policy", "policies").s);
	if (p->c->groups > 1)
		fprintf(out, " in %s of other guests or hosts, which are not compared with each other",
			count(p->c->groups, "group", "groups").s);
	if (p->c->groups > GROUPS_MAX)
		fprintf(out, "; the first %u groups are drawn", GROUPS_MAX);
	fputs(". Means of a run are over its time from the first event to the last, and that after the last arrival is "
	      "in them.</p>\n<pre aria-label=\"The command\">",
	      out);
	html_command(out, "slat sweep", word, words);
	fputs("</pre>\n<p class=\"small soft\">The first point is</p><pre aria-label=\"The first point\">slat pack ",
	      out);
	html_text(out, p->s->point[0].name);
	fputs("</pre>\n", out);
}

int report_sweep(const struct sweep *s, const json_t *results, const char *path, char *const *word, int words,
		 struct failure *f)
{
	struct compare c;
	struct page p = {.s = s, .c = &c};
	struct alloc alloc = {0};
	struct draft draft;

	if (compare_open(&c, s, results, f) == 0 && draft_open_stream(&draft, path, &alloc, f) == 0) {
		p.out = draft.out;
		html_begin(p.out, "A comparison of policies");
		write_head(&p, word, words);
		for (uint32_t i = 0; i < c.groups && i < GROUPS_MAX; i++)
			write_group(&p, i);
		html_end(p.out);
		(void)draft_keep(&draft, f);
	}
	compare_close(&c);
	return f->code;
}
