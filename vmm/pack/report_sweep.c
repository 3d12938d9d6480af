/* vmm/pack/report_sweep.c: what policies came to over seeds, as a page.
 *
 * Words. A policy is all that a point's options say but its seed; the points of a policy are its samples, one a seed,
 * and the i-th of each policy has the same seed.
 *
 * What may be said. Each mean stands with its 95 % interval over seeds (interval.h). Whether a policy differs from the
 * best of a figure is judged by the differences seed by seed, for both met the same guests: unless their interval
 * leaves 0 out, the page says "no difference beyond chance", however the means may look. Without seeds, or where they
 * changed nothing, one run is all there is, and the page says that, too. All intervals are of one comparison each:
 * of twenty such, one errs, as the page says.
 *
 * All figures are integers, and the bytes are the same on every machine. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/pack/chart.h"
#include "vmm/pack/draft.h"
#include "vmm/pack/html.h"
#include "vmm/pack/report_sweep.h"

#define POLICIES_MAX 40u /* that are drawn */
#define WORDS_MAX    (SWEEP_WORDS_MAX)
#define VALUE_MAX    (INT64_C(1) << 55)

struct policy {
	char *name;
	uint32_t points;
	int64_t *value;	 /* of the figure at hand, by seed */
	json_t **result; /* borrowed */
};

struct comparison {
	const struct sweep *s;
	const json_t *results;
	FILE *out;
	struct policy *policy;
	uint32_t policies, left_out, seeds; /* seeds: points of each policy */
	int64_t *difference;
};

/* ---- what a policy is ---- */

/* The next word from *at on; its length, 0 at the end. */
static size_t word_next(const char **at)
{
	*at += strspn(*at, " ");
	return strcspn(*at, " ");
}

static bool is_seed(const char *word, size_t length)
{
	return length > 7 && strncmp(word, "--seed=", 7) == 0;
}

/* Which words, by their place, are not the same in all points. */
static void words_that_differ(const struct sweep *s, bool *differs)
{
	for (uint32_t i = 1; i < s->points; i++) {
		const char *a = s->point[0].name, *b = s->point[i].name;
		size_t x, y;

		for (unsigned n = 0; n < WORDS_MAX && (x = word_next(&a)) && (y = word_next(&b)); n++, a += x, b += y)
			differs[n] |= x != y || strncmp(a, b, x) != 0;
	}
}

/* Its words that differ from others', without dashes; the caller's. */
static char *policy_name(const char *point, const bool *differs)
{
	char *name = calloc(1, strlen(point) + 16);
	size_t length;

	for (unsigned n = 0; name && n < WORDS_MAX && (length = word_next(&point)); n++, point += length) {
		size_t dashes = strspn(point, "-"), used = strlen(name);

		if (!differs[n] || is_seed(point, length))
			continue;
		if (used > 0)
			name[used++] = ' ';
		memcpy(name + used, point + dashes, length - dashes);
	}
	if (name && !name[0])
		memcpy(name, "the policy", 11);
	return name;
}

static struct policy *policy_of(struct comparison *c, const char *name)
{
	for (uint32_t i = 0; i < c->policies; i++)
		if (strcmp(c->policy[i].name, name) == 0)
			return &c->policy[i];
	return NULL;
}

/* Of the policies that are drawn, the first ones. */
static bool point_add(struct comparison *c, uint32_t point, const bool *differs)
{
	char *name = policy_name(c->s->point[point].name, differs);
	struct policy *p = name ? policy_of(c, name) : NULL;

	if (!name)
		return false;
	if (!p && c->policies == POLICIES_MAX) {
		c->left_out++;
		free(name);
		return true;
	}
	if (!p) {
		p = &c->policy[c->policies++];
		*p = (struct policy){.name = strdup(name),
				     .value = calloc(c->s->points, sizeof(*p->value)),
				     .result = calloc(c->s->points, sizeof(json_t *))};
	}
	free(name);
	if (!p->name || !p->value || !p->result)
		return false;
	if (p->points < INTERVAL_VALUES_MAX)
		p->result[p->points++] = json_array_get(c->results, point);
	return true;
}

static bool policies_make(struct comparison *c)
{
	bool differs[WORDS_MAX] = {false}, good = true;

	c->policy = calloc(POLICIES_MAX, sizeof(*c->policy));
	c->difference = calloc(c->s->points, sizeof(*c->difference));
	if (!c->policy || !c->difference)
		return false;
	words_that_differ(c->s, differs);
	for (uint32_t i = 0; i < c->s->points && good; i++)
		good = point_add(c, i, differs);
	c->seeds = c->policies ? c->policy[0].points : 0;
	c->left_out = c->seeds ? c->left_out / c->seeds : 0;
	return good;
}

static void comparison_free(struct comparison *c)
{
	for (uint32_t i = 0; c->policy && i < c->policies; i++) {
		free(c->policy[i].name);
		free(c->policy[i].value);
		free(c->policy[i].result);
	}
	free(c->policy);
	free(c->difference);
}

/* ---- figures ---- */

static const struct figure {
	const char *id, *title, *note, *key; /* key: of a result, or of what is in it, after a dot */
	enum quantity quantity;
	bool granules;	/* times the granule */
	bool more;	/* is better */
	bool unbounded; /* only of one growing pool; else only of others */
	bool both;	/* of either */
} figures[] = {
	{"refused", "Guests refused", "fewer is better; with the amount beside it", "refused.total", QUANTITY_COUNT,
	 false, false, false, false},
	{"amount", "Refused, by what they asked for", "less is better", "refused.units", QUANTITY_BYTES, true, false,
	 false, false},
	{"use", "Memory used, mean", "more is better", "utilisation_mean_ppm", QUANTITY_PPM, false, true, false, false},
	{"over", "Top above what lives, mean", "less is better", "top_over_live_mean_ppm", QUANTITY_PPM, false, false,
	 true, false},
	{"peaks", "Highest top over highest load", "less is better", "top_over_live_peaks_ppm", QUANTITY_PPM, false,
	 false, true, false},
	{"external", "External fragmentation, mean", "less is better", "external_fragmentation_ppm", QUANTITY_PPM,
	 false, false, false, true},
	{"wait", "Wait, mean", "less is better", "wait_mean_us", QUANTITY_US, false, false, false, true},
};

static int64_t value_of(const struct figure *g, const json_t *result)
{
	const char *dot = strchr(g->key, '.');
	json_int_t granule = json_integer_value(json_object_get(json_object_get(result, "experiment"), "granule"));
	const json_t *value =
		dot ? json_object_get(json_object_get(result, "refused"), dot + 1) : json_object_get(result, g->key);
	unsigned __int128 whole = (unsigned __int128)json_integer_value(value);

	whole *= g->granules && granule > 0 ? (unsigned __int128)granule : 1;
	return whole < VALUE_MAX ? (int64_t)whole : VALUE_MAX;
}

static bool one_pool(const json_t *result)
{
	const json_t *hosts = json_object_get(json_object_get(result, "experiment"), "hosts");

	return json_is_string(json_object_get(json_array_get(hosts, 0), "memory")); /* unbounded */
}

/* False iff nobody has anything but 0. */
static bool values_take(struct comparison *c, const struct figure *g)
{
	bool any = false;

	for (uint32_t i = 0; i < c->policies; i++)
		for (uint32_t n = 0; n < c->policy[i].points; n++) {
			c->policy[i].value[n] = value_of(g, c->policy[i].result[n]);
			any |= c->policy[i].value[n] > 0;
		}
	return any;
}

static bool seeds_matter(const struct comparison *c)
{
	for (uint32_t i = 0; i < c->policies; i++)
		for (uint32_t n = 1; n < c->policy[i].points; n++)
			if (c->policy[i].value[n] != c->policy[i].value[0])
				return true;
	return false;
}

static uint32_t best_of(const struct comparison *c, const struct interval *at, bool more)
{
	uint32_t best = 0;

	for (uint32_t i = 1; i < c->policies; i++)
		if (more ? at[i].mean > at[best].mean : at[i].mean < at[best].mean)
			best = i;
	return best;
}

/* Of the policy less the best, seed by seed. */
static struct interval against(struct comparison *c, uint32_t policy, uint32_t best)
{
	const struct policy *p = &c->policy[policy], *b = &c->policy[best];
	uint32_t n = p->points < b->points ? p->points : b->points;

	for (uint32_t i = 0; i < n; i++)
		c->difference[i] = p->value[i] - b->value[i];
	return interval_of(c->difference, n);
}

static uint64_t size_of(int64_t n)
{
	return n < 0 ? (uint64_t)-n : (uint64_t)n;
}

static bool beyond_chance(const struct interval *d)
{
	return d->known && size_of(d->mean) > d->half;
}

static void put_interval(FILE *out, enum quantity q, uint64_t mean, const struct interval *i)
{
	fputs(quantity_text(q, mean).s, out);
	if (i->known)
		fprintf(out, " ± %s", quantity_text(q, i->half).s);
}

static void put_verdict(struct comparison *c, const struct figure *g, uint32_t policy, uint32_t best, bool matter)
{
	struct interval d = against(c, policy, best);

	if (policy == best)
		fputs("best mean", c->out);
	else if (d.mean == 0 && d.half == 0)
		fputs("the same", c->out);
	else if (matter && !beyond_chance(&d))
		fputs("no difference beyond chance", c->out);
	else {
		put_interval(c->out, g->quantity, size_of(d.mean), matter ? &d : &(struct interval){.known = false});
		fprintf(c->out, " %s%s", d.mean > 0 ? "more" : "less", matter ? "" : ", of one run");
	}
}

static void write_table(struct comparison *c, const struct figure *g, const struct interval *at, uint32_t best,
			bool matter)
{
	fputs("<table class=\"compare\"><thead><tr><th scope=\"col\">policy</th><th scope=\"col\" "
	      "class=\"n\">mean</th><th "
	      "scope=\"col\">against the best</th></tr></thead><tbody>\n",
	      c->out);
	for (uint32_t i = 0; i < c->policies; i++) {
		fputs("<tr><th scope=\"row\">", c->out);
		html_text(c->out, c->policy[i].name);
		fputs("</th><td class=\"n\">", c->out);
		put_interval(c->out, g->quantity, (uint64_t)at[i].mean,
			     &(struct interval){.half = at[i].half, .known = matter});
		fputs("</td><td>", c->out);
		put_verdict(c, g, i, best, matter);
		fputs("</td></tr>\n", c->out);
	}
	fputs("</tbody></table>\n", c->out);
}

static void write_figure(struct comparison *c, const struct figure *g)
{
	const struct chart chart = {g->id, g->title, g->note, QUANTITY_COUNT, g->quantity, g->title};
	struct interval at[POLICIES_MAX];
	struct chart_dot dot[POLICIES_MAX];
	bool matter = seeds_matter(c);
	uint32_t best;

	for (uint32_t i = 0; i < c->policies; i++)
		at[i] = interval_of(c->policy[i].value, c->policy[i].points);
	best = best_of(c, at, g->more);
	for (uint32_t i = 0; i < c->policies; i++) {
		struct interval d = against(c, i, best);

		dot[i] = (struct chart_dot){c->policy[i].name, at[i], i != best && matter && !beyond_chance(&d)};
		dot[i].at.known = matter;
	}
	fputs("<div>\n", c->out);
	chart_dots(c->out, &chart, dot, c->policies);
	write_table(c, g, at, best, matter);
	fputs("</div>\n", c->out);
}

/* ---- the page ---- */

static void write_head(const struct comparison *c, char *const *word, int words)
{
	FILE *out = c->out;

	fprintf(out, "<p class=\"soft\">%s points: %" PRIu32 " %s of %" PRIu32 " %s each.",
		quantity_text(QUANTITY_COUNT, c->s->points).s, c->policies + c->left_out,
		c->policies + c->left_out == 1 ? "policy" : "policies", c->seeds,
		c->seeds == 1 ? "run" : "runs, one a seed");
	if (c->left_out > 0)
		fprintf(out, " The first %" PRIu32 " are drawn, %" PRIu32 " are left out.", c->policies, c->left_out);
	fputs("</p>\n<pre aria-label=\"The command\">", out);
	html_command(out, "slat sweep", word, words);
	fputs("</pre>\n<p class=\"small soft\">The first point is</p><pre aria-label=\"The first point\">slat pack ",
	      out);
	html_text(out, c->s->point[0].name);
	fputs("</pre>\n", out);
	if (c->seeds > 1)
		fputs("<p>Means over seeds with their 95 % intervals (Student’s t). A policy is compared with the best "
		      "one seed "
		      "by seed, since both met the same guests; a ring instead of a dot, and <i>no difference beyond "
		      "chance</i>, mean that the 95 % interval of these differences has 0 in it. Of twenty comparisons "
		      "one errs "
		      "by chance; none is corrected for how many there are.</p>\n",
		      out);
	else
		fputs("<p><b>One run of each policy: no intervals.</b> A difference here is one of this run; cross "
		      "more than one "
		      "seed to learn whether it is more.</p>\n",
		      out);
}

static void write_page(struct comparison *c, char *const *word, int words)
{
	bool pool = one_pool(c->policy[0].result[0]), still = false;

	write_head(c, word, words);
	fputs("<section>\n<h2>Policies compared</h2>\n<div class=\"charts compared\">\n", c->out);
	for (size_t i = 0; i < sizeof(figures) / sizeof(*figures); i++) {
		const struct figure *g = &figures[i];

		if ((!g->both && g->unbounded != pool) || !values_take(c, g))
			continue;
		still |= !seeds_matter(c);
		write_figure(c, g);
	}
	fputs("</div>\n", c->out);
	if (still && c->seeds > 1)
		fputs("<p><b>Where no interval is given the seeds changed nothing:</b> that is one run, played more "
		      "than once, and "
		      "says nothing of other guests.</p>\n",
		      c->out);
	fputs("</section>\n", c->out);
}

int report_sweep(const struct sweep *s, const json_t *results, const char *path, char *const *word, int words,
		 struct failure *f)
{
	struct comparison c = {.s = s, .results = results};
	struct alloc alloc = {0};
	struct draft page;
	bool good = policies_make(&c);

	if (!good)
		(void)fail(f, EXIT_HOST, "no memory for a report");
	if (good && draft_open_stream(&page, path, &alloc, f) == 0) {
		c.out = page.out;
		html_begin(page.out, "A comparison of policies");
		write_page(&c, word, words);
		html_end(page.out);
		(void)draft_keep(&page, f);
	}
	comparison_free(&c);
	return f->code;
}
