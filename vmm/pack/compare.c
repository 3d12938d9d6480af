/* vmm/pack/compare.c: what the points of a sweep came to, by policy.
 *
 * Words. The guests and the hosts that a point plays are by some of its options, its seed among them, where they are
 * generated; a policy is all the others. Points of the same guests (but for the seed) and hosts are a group, and only
 * policies of one group are compared. The points of a policy are one a seed, and the i-th of each has the same seed.
 *
 * Samples. A run tells of chance only if its seed changed something: of a generated workload always, of a trace where
 * hosts are chosen at random. Else all points of a policy are one run, however often it was played, and nothing is
 * known of chance. Where one policy of a trace chooses at random and another does not, the second is the same in each
 * run of the first.
 *
 * What may be said. Each mean stands with its 95 % interval over runs (interval.h), cut off where the figure ends: at
 * 0, and fractions at 1. Whether a policy differs from another is judged by the differences run by run, for both met
 * the same guests: beyond chance are those whose interval leaves 0 out, and those that are the same in all of several
 * runs.
 *
 * Better. Of some figures more is neither better nor worse: of memory used, which counts what is rounded up. And among
 * policies of which some let guests wait, neither refusals nor waits are: each has what the other has not.
 *
 * All is of integers, and the same on every machine. */
#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/pack/compare.h"
#include "vmm/pack/decimal.h"

#define VALUE_MAX (INT64_C(1) << 55)
#define PPM	  INT64_C(1000000)
#define COUNT(a)  (sizeof(a) / sizeof((a)[0]))

typedef unsigned __int128 wide;

/* ---- what a policy is ---- */

enum role {
	ROLE_SAME, /* in all points */
	ROLE_SEED,
	ROLE_GROUP,
	ROLE_POLICY,
};

/* The next word from *at on; its length, 0 at the end. */
static size_t word_next(const char **at)
{
	*at += strspn(*at, " ");
	return strcspn(*at, " ");
}

static enum role role_of(const char *word)
{
	static const char *const group[] = {"--workload", "--arrivals",	 "--interval", "--life", "--size-min",
					    "--size-max", "--size-mean", "--format",   "--from", "--count",
					    "--hosts",	  "--host",	 "--fleet"};
	size_t length = strcspn(word, "= ");

	if (length == 6 && strncmp(word, "--seed", length) == 0)
		return ROLE_SEED;
	for (size_t i = 0; i < COUNT(group); i++)
		if (strlen(group[i]) == length && strncmp(word, group[i], length) == 0)
			return ROLE_GROUP;
	return ROLE_POLICY;
}

/* By the place of a word. */
static void roles_find(const struct sweep *s, enum role *role)
{
	for (uint32_t i = 1; i < s->points; i++) {
		const char *a = s->point[0].name, *b = s->point[i].name;
		size_t x, y;

		for (unsigned n = 0; n < SWEEP_WORDS_MAX && (x = word_next(&a)) && (y = word_next(&b));
		     n++, a += x, b += y)
			if (x != y || strncmp(a, b, x) != 0)
				role[n] = role_of(a);
	}
}

/* Its words of this role, without dashes; the caller's. */
static char *words_of(const char *point, const enum role *role, enum role which)
{
	char *name = calloc(1, strlen(point) + 1);
	size_t length;

	for (unsigned n = 0; name && n < SWEEP_WORDS_MAX && (length = word_next(&point)); n++, point += length) {
		size_t dashes = strspn(point, "-"), used = strlen(name);

		if (role[n] != which)
			continue;
		if (used > 0)
			name[used++] = ' ';
		memcpy(name + used, point + dashes, length - dashes);
	}
	return name;
}

/* ---- lists of what is known by name ---- */

struct named {
	char *name;
};

static int by_name(const void *a, const void *b)
{
	const struct named *x = a, *y = b;

	return strcmp(x->name, y->name);
}

static void nothing(void *item)
{
	(void)item;
}

/* What is called so, in the tree and the list: new, if need be, of so many bytes of which the first are its name, which
 * it takes in any case. NULL: no memory. */
static void *named_find(void **tree, void *list, uint32_t *count, char *name, size_t bytes)
{
	struct named *item = name ? calloc(1, bytes) : NULL, **found = NULL;
	void **items;

	memcpy(&items, list, sizeof(items));
	if (item) {
		item->name = name;
		found = tsearch(item, tree, by_name);
	}
	if (found && *found != item) {
		free(name);
		free(item);
		return *found;
	}
	if (found && (*count & (*count - 1)) == 0) { /* room for the next power of two */
		void **more = realloc(items, (*count ? 2 * (size_t)*count : 1) * sizeof(void *));

		if (more)
			memcpy(list, &more, sizeof(more));
		else
			(void)tdelete(item, tree, by_name);
		found = more ? found : NULL;
		items = more;
	}
	if (!found) {
		free(name);
		free(item);
		return NULL;
	}
	items[(*count)++] = item;
	return item;
}

/* ---- points ---- */

static const char *word_in(const json_t *result, const char *key)
{
	const char *text = json_string_value(json_object_get(json_object_get(result, "experiment"), key));

	return text ? text : "";
}

static bool is_pool(const json_t *result)
{
	const json_t *hosts = json_object_get(json_object_get(result, "experiment"), "hosts");

	return json_is_string(json_object_get(json_array_get(hosts, 0), "memory")); /* unbounded */
}

static uint32_t nodes_most(const json_t *result)
{
	const json_t *hosts = json_object_get(json_object_get(result, "experiment"), "hosts");
	uint32_t most = 1;

	for (size_t i = 0; i < json_array_size(hosts); i++) {
		json_int_t nodes = json_integer_value(json_object_get(json_array_get(hosts, i), "nodes"));

		most = nodes > most ? (uint32_t)nodes : most;
	}
	return most;
}

static void group_begin(struct compare_group *g, const json_t *result)
{
	const char *unit = json_string_value(json_object_get(result, "unit"));

	g->generated = word_in(result, "workload")[0] != '\0';
	g->unit = unit ? unit : "byte";
	g->pool = is_pool(result);
	g->nodes = nodes_most(result);
}

static bool seed_matters(const struct compare_group *g, const json_t *result)
{
	const char *choose = word_in(result, "choose");

	return g->generated || strcmp(choose, "random") == 0 || strcmp(choose, "two") == 0;
}

static bool run_add(struct compare_group *g, struct compare_policy *p, json_t *result)
{
	json_t **more;

	if (p->played == INTERVAL_VALUES_MAX)
		return true;
	if ((p->played & (p->played - 1)) == 0) {
		more = realloc(p->result, (p->played ? 2 * (size_t)p->played : 1) * sizeof(json_t *));
		if (!more)
			return false;
		p->result = more;
	}
	p->result[p->played++] = result;
	p->runs = seed_matters(g, result) ? p->played : 1;
	p->waits = strcmp(word_in(result, "on_refuse"), "wait") == 0;
	g->runs = p->runs > g->runs ? p->runs : g->runs;
	return true;
}

static bool point_add(struct compare *c, const char *name, const enum role *role, json_t *result)
{
	struct compare_group *g =
		named_find(&c->known, &c->group, &c->groups, words_of(name, role, ROLE_GROUP), sizeof(*g));
	struct compare_policy *p;
	uint32_t before = g ? g->policies : 0;

	if (g && before == 0)
		group_begin(g, result);
	p = g ? named_find(&g->known, &g->policy, &g->policies, words_of(name, role, ROLE_POLICY), sizeof(*p)) : NULL;
	if (!p)
		return false;
	c->policies += g->policies - before;
	return run_add(g, p, result);
}

static bool group_end(struct compare_group *g)
{
	for (uint32_t i = 1; i < g->policies; i++)
		g->mixed |= g->policy[i]->waits != g->policy[0]->waits;
	g->scratch = calloc(g->runs, sizeof(*g->scratch));
	return g->scratch;
}

int compare_open(struct compare *c, const struct sweep *s, const json_t *results, struct failure *f)
{
	enum role role[SWEEP_WORDS_MAX] = {ROLE_SAME};

	*c = (struct compare){0};
	roles_find(s, role);
	for (uint32_t i = 0; i < s->points; i++)
		if (!point_add(c, s->point[i].name, role, json_array_get(results, i)))
			return fail(f, EXIT_HOST, "no memory to compare %u points", s->points);
	for (uint32_t i = 0; i < c->groups; i++)
		if (!group_end(c->group[i]))
			return fail(f, EXIT_HOST, "no memory to compare %u points", s->points);
	return 0;
}

void compare_close(struct compare *c)
{
	for (uint32_t i = 0; i < c->groups; i++) {
		struct compare_group *g = c->group[i];

		tdestroy(g->known, nothing);
		for (uint32_t n = 0; n < g->policies; n++) {
			free(g->policy[n]->name);
			free(g->policy[n]->result);
			free(g->policy[n]);
		}
		free(g->scratch);
		free(g->policy);
		free(g->name);
		free(g);
	}
	tdestroy(c->known, nothing);
	free(c->group);
	*c = (struct compare){0};
}

/* ---- figures ---- */

const struct compare_figure compare_figures[] = {
	{.id = "refused",
	 .title = "Guests refused",
	 .note = "fewer is better; with the amount beside it",
	 .key = "refused.total",
	 .quantity = QUANTITY_MILLI,
	 .better = COMPARE_LESS,
	 .traded = true,
	 .pool = true,
	 .hosts = true},
	{.id = "amount",
	 .title = "Refused, by what they asked for",
	 .note = "less is better",
	 .key = "refused.units",
	 .quantity = QUANTITY_BYTES,
	 .better = COMPARE_LESS,
	 .amount = true,
	 .traded = true,
	 .pool = true,
	 .hosts = true},
	{.id = "free",
	 .title = "Refused although as much was free",
	 .note = "less is better; what they asked for, in one piece",
	 .key = "refused.no_hole_units",
	 .quantity = QUANTITY_BYTES,
	 .better = COMPARE_LESS,
	 .amount = true,
	 .traded = true,
	 .hosts = true},
	{.id = "asked",
	 .title = "Memory asked for by who lives, mean",
	 .note = "more is better: it is what guests have of the hosts, without what is rounded up",
	 .key = "utilisation_mean_ppm",
	 .share = true,
	 .traded = true,
	 .less = "internal_fragmentation_ppm",
	 .quantity = QUANTITY_PPM,
	 .better = COMPARE_MORE,
	 .hosts = true},
	{.id = "use",
	 .title = "Memory used, mean",
	 .note = "neither more nor less is better: what is rounded up is used, too",
	 .key = "utilisation_mean_ppm",
	 .share = true,
	 .quantity = QUANTITY_PPM,
	 .hosts = true},
	{.id = "over",
	 .title = "Top above what lives, mean",
	 .note = "less is better",
	 .key = "top_over_live_mean_ppm",
	 .quantity = QUANTITY_PPM,
	 .better = COMPARE_LESS,
	 .pool = true},
	{.id = "peaks",
	 .title = "Highest top over highest load",
	 .note = "less is better",
	 .key = "top_over_live_peaks_ppm",
	 .quantity = QUANTITY_PPM,
	 .better = COMPARE_LESS,
	 .pool = true},
	{.id = "external",
	 .title = "External fragmentation, mean",
	 .note = "less is better; free memory outside each host’s largest hole",
	 .key = "external_fragmentation_ppm",
	 .holes = true,
	 .share = true,
	 .quantity = QUANTITY_PPM,
	 .better = COMPARE_LESS,
	 .pool = true,
	 .hosts = true},
	{.id = "internal",
	 .title = "Internal fragmentation, mean",
	 .note = "less is better: what guests were given and did not ask for",
	 .key = "internal_fragmentation_ppm",
	 .quantity = QUANTITY_PPM,
	 .better = COMPARE_LESS,
	 .share = true,
	 .pool = true,
	 .hosts = true},
	{.id = "local",
	 .title = "Local memory, mean",
	 .note = "more is better: what lies on nodes where its guest has CPUs",
	 .key = "local_ppm",
	 .quantity = QUANTITY_PPM,
	 .better = COMPARE_MORE,
	 .share = true,
	 .hosts = true},
	{.id = "empty",
	 .title = "Empty hosts, mean",
	 .note = "neither more nor less is better: who refuses guests has more of them",
	 .key = "hosts_empty_mean_milli",
	 .quantity = QUANTITY_MILLI,
	 .hosts = true},
	{.id = "moves",
	 .title = "Guests moved by compaction",
	 .note = "what compaction costs",
	 .key = "moves",
	 .quantity = QUANTITY_MILLI,
	 .pool = true,
	 .hosts = true},
	{.id = "moved",
	 .title = "Memory moved by compaction",
	 .note = "what compaction costs",
	 .key = "units_moved",
	 .quantity = QUANTITY_BYTES,
	 .amount = true,
	 .pool = true,
	 .hosts = true},
	{.id = "wait",
	 .title = "Wait, mean",
	 .note = "less is better; of all accepted guests",
	 .key = "wait_mean_us",
	 .quantity = QUANTITY_US,
	 .better = COMPARE_LESS,
	 .traded = true,
	 .pool = true,
	 .hosts = true},
	{.id = "longwait",
	 .title = "Wait of 99 of 100, at most",
	 .note = "less is better; of all accepted guests",
	 .key = "wait_p99_us",
	 .quantity = QUANTITY_US,
	 .better = COMPARE_LESS,
	 .traded = true,
	 .pool = true,
	 .hosts = true},
	{.id = "waiting",
	 .title = "Waiting at the end",
	 .note = "fewer is better; they are among the refused",
	 .key = "waiting",
	 .quantity = QUANTITY_MILLI,
	 .better = COMPARE_LESS,
	 .traded = true,
	 .pool = true,
	 .hosts = true},
};
const uint32_t compare_figures_count = COUNT(compare_figures);

enum quantity compare_quantity(const struct compare_group *g, const struct compare_figure *f)
{
	return f->amount && strcmp(g->unit, "byte") != 0 ? QUANTITY_COUNT : f->quantity;
}

enum compare_better compare_better(const struct compare_group *g, const struct compare_figure *f)
{
	return f->traded && g->mixed ? COMPARE_NEITHER : f->better;
}

bool compare_has(const struct compare_group *g, const struct compare_figure *f)
{
	return g->pool ? f->pool : f->hosts;
}

static uint64_t whole(const json_t *result, const char *key)
{
	const char *dot = strchr(key, '.');

	return (uint64_t)json_integer_value(dot ? json_object_get(json_object_get(result, "refused"), dot + 1)
						: json_object_get(result, key));
}

int64_t compare_value(const struct compare_policy *p, const struct compare_figure *f, uint32_t run)
{
	const json_t *result = p->result[p->runs == 1 ? 0 : run];
	json_int_t granule = json_integer_value(json_object_get(json_object_get(result, "experiment"), "granule"));
	wide value = whole(result, f->key);

	if (f->less)
		value = value * (wide)(PPM - (int64_t)whole(result, f->less)) / PPM;
	if (f->amount && granule > 0)
		value *= (wide)granule;
	if (f->quantity == QUANTITY_MILLI && !strstr(f->key, "_milli"))
		value *= 1000;
	return value < VALUE_MAX ? (int64_t)value : VALUE_MAX;
}

bool compare_differs(const struct compare_group *g, const struct compare_figure *f)
{
	int64_t first = compare_value(g->policy[0], f, 0);

	for (uint32_t i = 0; i < g->policies; i++)
		for (uint32_t n = 0; n < g->policy[i]->runs; n++)
			if (compare_value(g->policy[i], f, n) != first)
				return true;
	return false;
}

/* ---- means ---- */

static bool values_same(const int64_t *value, uint32_t n)
{
	for (uint32_t i = 1; i < n; i++)
		if (value[i] != value[0])
			return false;
	return true;
}

struct compare_span compare_span(const struct compare_group *g, const struct compare_policy *p,
				 const struct compare_figure *f)
{
	const uint64_t end = f->share ? (uint64_t)PPM : UINT64_MAX;
	struct compare_span span = {.runs = p->runs};
	struct interval i;

	for (uint32_t n = 0; n < p->runs; n++)
		g->scratch[n] = compare_value(p, f, n);
	i = interval_of(g->scratch, p->runs);
	span.same = p->runs > 1 && values_same(g->scratch, p->runs);
	span.known = i.known && !span.same;
	span.mean = (uint64_t)i.mean;
	span.half = i.half;
	span.low = span.mean > i.half ? span.mean - i.half : 0;
	span.high = end - span.mean < i.half ? end : span.mean + i.half;
	return span;
}

struct compare_difference compare_difference(const struct compare_group *g, const struct compare_policy *p,
					     const struct compare_policy *b, const struct compare_figure *f)
{
	struct compare_difference d = {.runs = p->runs > b->runs ? p->runs : b->runs};
	struct interval i;

	if (p->runs > 1 && b->runs > 1 && p->runs != b->runs)
		d.runs = p->runs < b->runs ? p->runs : b->runs;
	for (uint32_t n = 0; n < d.runs; n++)
		g->scratch[n] = compare_value(p, f, n) - compare_value(b, f, n);
	i = interval_of(g->scratch, d.runs);
	d.mean = i.mean;
	d.half = i.half;
	d.same = values_same(g->scratch, d.runs);
	d.beyond = i.known && (uint64_t)(i.mean < 0 ? -i.mean : i.mean) > i.half;
	return d;
}

/* ---- as CSV ---- */

/* Nobody's words have more than one line, but a comma, as of --host, they may have. */
static void put_words(FILE *out, const char *words)
{
	fputc('"', out);
	for (; *words; words++)
		fputs(*words == '"' ? "\"\"" : (char[]){*words, '\0'}, out);
	fputs("\",", out);
}

static const char *unit_of(const struct compare_group *g, const struct compare_figure *f)
{
	if (f->amount)
		return g->unit;
	return f->quantity == QUANTITY_PPM ? "ppm" : f->quantity == QUANTITY_US ? "us" : "count";
}

static void put_value(FILE *out, const struct compare_figure *f, uint64_t value, const char *after)
{
	char text[DECIMAL_TEXT_MAX];

	text[decimal_format(value, f->quantity == QUANTITY_MILLI ? 1000 : 1, text)] = '\0';
	fprintf(out, "%s%s", text, after);
}

static void write_line(FILE *out, const struct compare_group *g, const struct compare_policy *p,
		       const struct compare_figure *f)
{
	const struct compare_span at = compare_span(g, p, f);

	put_words(out, g->name);
	put_words(out, p->name);
	fprintf(out, "%s,%s,%u,", f->id, unit_of(g, f), p->runs);
	put_value(out, f, at.mean, ",");
	if (p->runs > 1) {
		put_value(out, f, at.half, ",");
		put_value(out, f, at.low, ",");
		put_value(out, f, at.high, "\n");
	} else {
		fputs(",,\n", out);
	}
}

void compare_write(const struct compare *c, FILE *out)
{
	fputs("guests,policy,figure,unit,runs,mean,half_width,low,high\n", out);
	for (uint32_t i = 0; i < c->groups; i++) {
		const struct compare_group *g = c->group[i];

		for (uint32_t n = 0; n < g->policies; n++)
			for (uint32_t k = 0; k < compare_figures_count; k++)
				if (compare_has(g, &compare_figures[k]))
					write_line(out, g, g->policy[n], &compare_figures[k]);
	}
}
