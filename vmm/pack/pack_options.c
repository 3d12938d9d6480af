/* vmm/pack/pack_options.c: the command line of `slat pack`. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/pack/amount.h"
#include "vmm/pack/decimal.h"
#include "vmm/pack/file_uses.h"
#include "vmm/pack/fleet_file.h"
#include "vmm/pack/pack_options.h"
#include "vmm/size.h"

#define COUNT(a)	(sizeof(a) / sizeof((a)[0]))
#define GRANULE_DEFAULT (UINT64_C(2) << 20)
#define STEP_DEFAULT	(UINT64_C(3600) * 1000000)
#define VALUE_MAX	64u
#define CPUS_MAX	UINT64_C(4000000)
#define USES_MAX	(6 + PACK_SHAPES_MAX) /* files */
#define LATENCY_MAX	UINT64_C(4000000)     /* ns */

static const char *const choose_names[] = {"first", "best", "worst", "global", "random", "dot", "two"};
static const char *const nodes_names[] = {"local", "pack", "spread", "interleave", "contract", "first", "balance"};
static const char *const fit_names[] = {"first", "best", "worst", "next", "buddy", "segregated", "scatter"};
static const char *const compact_names[] = {"never", "refused", "continuous"};
static const char *const lifetimes_names[] = {"unknown", "known"};
static const char *const contiguous_names[] = {"require", "prefer", "scatter"};

const char *pack_choose_name(enum fleet_choose c)
{
	return choose_names[c];
}

const char *pack_nodes_name(enum fleet_nodes n)
{
	return nodes_names[n];
}

const char *pack_fit_name(enum fleet_fit fit)
{
	return fit_names[fit];
}

const char *pack_contiguous_name(enum fleet_contiguous c)
{
	return contiguous_names[c];
}

const char *pack_compact_name(enum pack_compact c)
{
	return compact_names[c];
}

const char *pack_lifetimes_name(bool known)
{
	return lifetimes_names[known];
}

/* ---- values ---- */

static int one_of(const char *option, const char *value, const char *const *names, size_t count, unsigned *out,
		  struct failure *f)
{
	char all[128] = "";
	size_t used = 0;

	for (size_t i = 0; i < count; i++) {
		if (strcmp(value, names[i]) == 0) {
			*out = (unsigned)i;
			return 0;
		}
		used += (size_t)snprintf(all + used, sizeof(all) - used, "%s%s", i ? ", " : "", names[i]);
	}
	return fail(f, EXIT_USAGE, "%s: %.64s is none of %s", option, value, all);
}

static int number(const char *option, const char *value, uint64_t least, uint64_t most, uint64_t *out,
		  struct failure *f)
{
	char *end;

	if (*value >= '0' && *value <= '9') {
		*out = strtoull(value, &end, 10);
		if (*end == '\0' && strlen(value) <= 19 && *out >= least && *out <= most)
			return 0;
	}
	return fail(f, EXIT_USAGE, "%s: %.64s is no whole number from %" PRIu64 " to %" PRIu64, option, value, least,
		    most);
}

static int size(const char *option, const char *value, uint64_t *out, struct failure *f)
{
	if (size_parse(value, out) && *out > 0 && *out <= EVENT_SIZE_MAX)
		return 0;
	return fail(f, EXIT_USAGE, "%s: %.64s is no size from 1 to 4194304T, such as 384G", option, value);
}

/* "80ns", or as many digits alone. */
static int latency(const char *option, const char *value, uint32_t *ps, struct failure *f)
{
	char digits[VALUE_MAX];
	size_t length = strlen(value);
	uint64_t ns = 0;

	if (length > 2 && length < sizeof(digits) && strcmp(value + length - 2, "ns") == 0)
		length -= 2;
	snprintf(digits, sizeof(digits), "%.*s", (int)(length < sizeof(digits) ? length : sizeof(digits) - 1), value);
	if (number(option, digits, 1, LATENCY_MAX, &ns, f))
		return f->code;
	*ps = (uint32_t)ns * 1000;
	return 0;
}

/* ---- --host ---- */

static int host_take(struct pack_host *h, const char *key, const char *value, struct failure *f)
{
	if (strcmp(key, "nodes") == 0)
		return number("--host nodes=", value, 1, PLACEMENT_NODES_MAX, &h->nodes, f);
	if (strcmp(key, "cpus") == 0) {
		h->cpus_given = true;
		return number("--host cpus=", value, 0, CPUS_MAX, &h->cpus, f);
	}
	if (strcmp(key, "memory") == 0) {
		h->unbounded = strcmp(value, "unbounded") == 0;
		h->bytes = 0;
		return h->unbounded ? 0 : size("--host memory=", value, &h->bytes, f);
	}
	if (strcmp(key, "reserve") == 0)
		return size("--host reserve=", value, &h->reserve, f);
	if (strcmp(key, "huge") == 0)
		return size("--host huge=", value, &h->huge, f);
	if (strcmp(key, "local") == 0)
		return latency("--host local=", value, &h->local_ps, f);
	if (strcmp(key, "remote") == 0)
		return latency("--host remote=", value, &h->remote_ps, f);
	return fail(f, EXIT_USAGE,
		    "--host: %.64s is none of nodes=, cpus=, memory=, reserve=, huge=, local=, remote=", key);
}

static int host_judge(const struct pack_host *h, struct failure *f)
{
	if (h->reserve > 0 && h->unbounded)
		return fail(f, EXIT_USAGE, "--host reserve=%s: of unbounded memory there is nothing to keep back",
			    size_format(h->reserve).s);
	if (h->reserve >= h->bytes && !h->unbounded)
		return fail(f, EXIT_USAGE, "--host reserve=%s of memory=%s: nothing is left for guests",
			    size_format(h->reserve).s, size_format(h->bytes).s);
	if (h->huge > 0 && h->unbounded)
		return fail(f, EXIT_USAGE, "--host huge=%s: of unbounded memory no part can be kept for huge pages",
			    size_format(h->huge).s);
	if (h->huge > 0 && h->huge >= h->bytes - h->reserve)
		return fail(f, EXIT_USAGE,
			    "--host huge=%s of memory=%s, less reserve=%s: nothing is left for other guests",
			    size_format(h->huge).s, size_format(h->bytes).s, size_format(h->reserve).s);
	return 0;
}

static int host_parse(struct pack_host *h, const char *list, struct failure *f)
{
	while (*list) {
		const char *end = strchr(list, ','), *equals = strchr(list, '=');
		char key[VALUE_MAX], value[VALUE_MAX];

		end = end ? end : list + strlen(list);
		if (!equals || equals > end)
			return fail(f, EXIT_USAGE, "--host: %.64s has no value: KEY=VALUE,...", list);
		if ((size_t)(equals - list) >= sizeof(key) || (size_t)(end - equals - 1) >= sizeof(value))
			return fail(f, EXIT_USAGE, "--host: %.64s is too long", list);
		memcpy(key, list, (size_t)(equals - list));
		key[equals - list] = '\0';
		memcpy(value, equals + 1, (size_t)(end - equals - 1));
		value[end - equals - 1] = '\0';
		if (host_take(h, key, value, f))
			return f->code;
		list = *end ? end + 1 : end;
	}
	if (h->bytes == 0 && !h->unbounded)
		return fail(f, EXIT_USAGE, "--host: it needs memory=SIZE, or memory=unbounded");
	return host_judge(h, f);
}

static int set_host(struct pack_options *o, const char *list, struct failure *f)
{
	struct fleet_shape *s = &o->shape[o->pack.fleet.shapes];
	struct pack_host h = {.nodes = 1};

	if (o->pack.fleet.shapes == PACK_SHAPES_MAX)
		return fail(f, EXIT_USAGE, "--host: there are %u kinds of hosts at most", PACK_SHAPES_MAX);
	if (host_parse(&h, list, f))
		return f->code;
	o->host[o->pack.fleet.shapes] = h;
	s->nodes = (uint32_t)h.nodes;
	for (uint32_t n = 0; n < h.nodes; n++) { /* in bytes, till the granule is known */
		s->node[n] = (struct fleet_node){
			.units = h.bytes / h.nodes,
			.reserve = h.reserve / h.nodes,
			.cpu_millis = h.cpus_given ? (uint32_t)(h.cpus * EVENT_CPU_ONE / h.nodes) : FLEET_CPU_UNLIMITED,
			.huge = h.huge / h.nodes};
		for (uint32_t to = 0; to < h.nodes; to++) {
			s->distance[n][to] = n == to ? PACK_DISTANCE_SELF : PACK_DISTANCE_OTHER;
			s->latency_ps[n][to] = n == to ? h.local_ps : h.remote_ps;
		}
	}
	o->pack.fleet.shapes++;
	return 0;
}

/* Of the last --host; without one, of the first to come. */
static int set_hosts(struct pack_options *o, const char *value, struct failure *f)
{
	uint64_t hosts = 0;

	if (number("--hosts", value, 1, FLEET_HOSTS_MAX, &hosts, f))
		return f->code;
	if (o->pack.fleet.shapes == PACK_SHAPES_MAX)
		return fail(f, EXIT_USAGE, "--hosts: there are %u kinds of hosts at most", PACK_SHAPES_MAX);
	o->shape[o->pack.fleet.shapes].hosts = (uint32_t)hosts;
	return 0;
}

static int matrices_take(struct fleet_shape *s, const struct fleet_kind *k, struct failure *f)
{
	const struct fleet_matrix *l = &k->latency_ns, *d = &k->distance;

	if ((l->nodes && l->nodes != s->nodes) || (d->nodes && d->nodes != s->nodes))
		return fail(f, EXIT_USAGE, "%s has %u rows, and the host %u nodes",
			    l->nodes == s->nodes || !l->nodes ? "distance" : "latency",
			    l->nodes == s->nodes || !l->nodes ? d->nodes : l->nodes, s->nodes);
	if (l->nodes && s->latency_ps[0][0] | s->latency_ps[0][1])
		return fail(f, EXIT_USAGE, "latency says what local and remote do: one or the other");
	for (uint32_t from = 0; from < s->nodes; from++)
		for (uint32_t to = 0; to < s->nodes; to++) {
			if (l->nodes)
				s->latency_ps[from][to] = l->at[from][to] * 1000;
			if (d->nodes)
				s->distance[from][to] = (uint8_t)d->at[from][to];
		}
	return 0;
}

static int take_kind(void *self, const struct fleet_kind *k, struct failure *f)
{
	struct pack_options *o = self;
	struct fleet_shape *s = &o->shape[o->pack.fleet.shapes];

	if (set_host(o, k->list, f) || matrices_take(s, k, f))
		return f->code;
	s->hosts = k->hosts;
	return 0;
}

static int set_fleet(struct pack_options *o, const char *value, struct failure *f)
{
	if (o->pack.fleet.shapes < PACK_SHAPES_MAX && o->shape[o->pack.fleet.shapes].hosts > 0)
		return fail(f, EXIT_USAGE, "--hosts %u: a --host comes behind it, not --fleet",
			    o->shape[o->pack.fleet.shapes].hosts);
	if (fleet_file_read(value, take_kind, o, f))
		return f->code;
	o->file[o->files++] = value; /* each has a kind, or it was refused */
	return 0;
}

/* ---- the options ---- */

static int set_format(struct pack_options *o, const char *value, struct failure *f)
{
	if (trace_format_parse(value, &o->format))
		return 0;
	return fail(f, EXIT_USAGE,
		    "--format: %.64s is none of slat, azure-v1, azure-packing-2020, huawei-east-1, minimalloc", value);
}

static int set_machine(struct pack_options *o, const char *value, struct failure *f)
{
	uint64_t id = 0;

	o->machine_given = true;
	if (strcmp(value, "common") == 0) {
		o->reading.machine = TRACE_MACHINE_COMMON;
	} else if (strcmp(value, "any") == 0) {
		o->reading.machine = TRACE_MACHINE_ANY;
	} else if (number("--machine", value, 0, INT64_MAX, &id, f) == 0) {
		o->reading.machine = (int64_t)id;
	} else {
		*f = (struct failure){0};
		return fail(f, EXIT_USAGE, "--machine: %.64s is none of common, any, and no machineId, a whole number",
			    value);
	}
	return 0;
}

static int set_refuse(struct pack_options *o, const char *value, struct failure *f)
{
	static const char *const names[] = {"drop", "wait"};
	unsigned n = 0;
	int code = one_of("--on-refuse", value, names, COUNT(names), &n, f);

	o->pack.wait = n == 1;
	return code;
}

static int set_budget(struct pack_options *o, const char *value, struct failure *f)
{
	return size("--compact-budget", value, &o->compact_bytes, f);
}

static int set_granule(struct pack_options *o, const char *value, struct failure *f)
{
	o->granule_given = true;
	return size("--granule", value, &o->pack.granule, f);
}

static int set_fit(struct pack_options *o, const char *value, struct failure *f)
{
	unsigned n = FLEET_FIT_BEST;
	int code = one_of("--fit", value, fit_names, COUNT(fit_names), &n, f);

	o->pack.fleet.fit = (enum fleet_fit)n;
	o->fit_given = true;
	return code;
}

static int set_split(struct pack_options *o, const char *value, struct failure *f)
{
	return size("--split-above", value, &o->pack.fleet.split_above, f);
}

static int set_huge(struct pack_options *o, const char *value, struct failure *f)
{
	return size("--huge-above", value, &o->pack.huge_above, f);
}

static int set_choose(struct pack_options *o, const char *value, struct failure *f)
{
	unsigned n = FLEET_BEST;
	int code = one_of("--choose", value, choose_names, COUNT(choose_names), &n, f);

	o->pack.fleet.choose = (enum fleet_choose)n;
	o->choose_given = true;
	return code;
}

static int set_lifetimes(struct pack_options *o, const char *value, struct failure *f)
{
	unsigned n = 0;
	int code = one_of("--lifetimes", value, lifetimes_names, COUNT(lifetimes_names), &n, f);

	o->pack.fleet.lifetimes = n == 1;
	return code;
}

static int set_overcommit(struct pack_options *o, const char *value, struct failure *f)
{
	uint64_t percent = 0;
	int code = number("--overcommit", value, 0, 99, &percent, f);

	o->pack.fleet.overcommit_ppm = (uint32_t)percent * 10000;
	return code;
}

static int set_seed(struct pack_options *o, const char *value, struct failure *f)
{
	return number("--seed", value, 0, UINT64_MAX / 2, &o->pack.fleet.seed, f);
}

static int set_workload(struct pack_options *o, const char *value, struct failure *f)
{
	o->generated = workload_kind_parse(value, &o->workload);
	if (o->generated)
		return 0;
	return fail(f, EXIT_USAGE, "--workload: %.64s is none of vm, tasks, spectrum, cargo, uniform, exponential",
		    value);
}

static int set_arrivals(struct pack_options *o, const char *value, struct failure *f)
{
	return number("--arrivals", value, 1, WORKLOAD_ARRIVALS_MAX, &o->work.arrivals, f);
}

/* Decimals, down to a microsecond. */
static int seconds(const char *option, const char *value, uint64_t *us, struct failure *f)
{
	const struct decimal_unit micro = {.scale = 1000000};

	if (decimal_parse(value, strlen(value), micro, us) == DECIMAL_OK && *us > 0 && *us <= WORKLOAD_TIME_MAX)
		return 0;
	return fail(f, EXIT_USAGE, "%s: %.64s is no number of seconds, from 0.000001 to some hundred years", option,
		    value);
}

static int set_interval(struct pack_options *o, const char *value, struct failure *f)
{
	return seconds("--interval", value, &o->work.interval_us, f);
}

static int set_life(struct pack_options *o, const char *value, struct failure *f)
{
	return seconds("--life", value, &o->work.life_us, f);
}

static int set_size_min(struct pack_options *o, const char *value, struct failure *f)
{
	return size("--size-min", value, &o->work.size_min, f);
}

static int set_size_max(struct pack_options *o, const char *value, struct failure *f)
{
	return size("--size-max", value, &o->work.size_max, f);
}

static int set_size_mean(struct pack_options *o, const char *value, struct failure *f)
{
	return size("--size-mean", value, &o->work.size_mean, f);
}

static int set_save(struct pack_options *o, const char *value, struct failure *f)
{
	(void)f;
	o->save = value;
	return 0;
}

static int set_from(struct pack_options *o, const char *value, struct failure *f)
{
	return number("--from", value, 0, UINT64_MAX / 2, &o->pack.from, f);
}

static int set_count(struct pack_options *o, const char *value, struct failure *f)
{
	return number("--count", value, 1, UINT64_MAX / 2, &o->pack.count, f);
}

/* The mean that may be: what the nodes are chosen by then. */
static int set_latency(struct pack_options *o, const char *value, struct failure *f)
{
	o->pack.fleet.nodes = FLEET_NODES_CONTRACT;
	return latency("--latency", value, &o->pack.fleet.latency_ps, f);
}

static int set_csv(struct pack_options *o, const char *value, struct failure *f)
{
	(void)f;
	o->csv = value;
	return 0;
}

static int set_log(struct pack_options *o, const char *value, struct failure *f)
{
	(void)f;
	o->log = value;
	return 0;
}

static int set_report(struct pack_options *o, const char *value, struct failure *f)
{
	(void)f;
	o->report = value;
	return 0;
}

static int set_step(struct pack_options *o, const char *value, struct failure *f)
{
	uint64_t seconds = 0;
	int code = number("--csv-step", value, 1, UINT64_C(1) << 40, &seconds, f);

	o->csv_step_us = seconds * 1000000;
	return code;
}

/* A word of a list, to the enum at that place in the options. */
#define ONE_OF(option, words, field)                                                                                   \
	{                                                                                                              \
		.name = (option), .names = (words), .count = COUNT(words), .at = offsetof(struct pack_options, field)  \
	}

_Static_assert(sizeof(enum fleet_nodes) == sizeof(unsigned) && sizeof(enum fleet_contiguous) == sizeof(unsigned) &&
		       sizeof(enum pack_compact) == sizeof(unsigned),
	       "ONE_OF() writes them as such");

static const struct option {
	const char *name;
	int (*take)(struct pack_options *o, const char *value,
		    struct failure *f); /* NULL: a word of names, or a switch */
	size_t at;			/* of these two, in the options */
	const char *const *names;	/* NULL: a switch */
	size_t count;
} options[] = {
	{.name = "--workload", .take = set_workload},
	{.name = "--arrivals", .take = set_arrivals},
	{.name = "--interval", .take = set_interval},
	{.name = "--life", .take = set_life},
	{.name = "--size-min", .take = set_size_min},
	{.name = "--size-max", .take = set_size_max},
	{.name = "--size-mean", .take = set_size_mean},
	{.name = "--save-trace", .take = set_save},
	{.name = "--hosts", .take = set_hosts},
	{.name = "--host", .take = set_host},
	{.name = "--fleet", .take = set_fleet},
	{.name = "--format", .take = set_format},
	{.name = "--machine", .take = set_machine},
	{.name = "--choose", .take = set_choose},
	ONE_OF("--node", nodes_names, pack.fleet.nodes),
	{.name = "--fit", .take = set_fit},
	ONE_OF("--contiguous", contiguous_names, pack.fleet.contiguous),
	ONE_OF("--compact", compact_names, pack.compact),
	{.name = "--compact-budget", .take = set_budget},
	{.name = "--granule", .take = set_granule},
	{.name = "--split-above", .take = set_split},
	{.name = "--huge-above", .take = set_huge},
	{.name = "--lifetimes", .take = set_lifetimes},
	{.name = "--overcommit", .take = set_overcommit},
	{.name = "--on-refuse", .take = set_refuse},
	{.name = "--from", .take = set_from},
	{.name = "--count", .take = set_count},
	{.name = "--latency", .take = set_latency},
	{.name = "--seed", .take = set_seed},
	{.name = "--csv", .take = set_csv},
	{.name = "--csv-step", .take = set_step},
	{.name = "--log", .take = set_log},
	{.name = "--report", .take = set_report},
	{.name = "--skip-bad", .at = offsetof(struct pack_options, reading.skip_bad)},
	{.name = "--json", .at = offsetof(struct pack_options, json)},
	{.name = "--help", .at = offsetof(struct pack_options, help)},
};

/* --name VALUE, or --name=VALUE. */
static int take_option(struct pack_options *o, int argc, char **argv, int *at, struct failure *f)
{
	const char *word = argv[*at], *equals = strchr(word, '='), *value;
	size_t length = equals ? (size_t)(equals - word) : strlen(word);

	for (size_t i = 0; i < COUNT(options); i++) {
		const struct option *option = &options[i];

		if (strlen(option->name) != length || strncmp(word, option->name, length) != 0)
			continue;
		if (!option->take && !option->names) {
			if (equals)
				return fail(f, EXIT_USAGE, "%s has no value", option->name);
			*(bool *)((char *)o + option->at) = true;
			return 0;
		}
		if (!equals && ++*at == argc)
			return fail(f, EXIT_USAGE, "%s needs a value", word);
		value = equals ? equals + 1 : argv[*at];
		if (option->take)
			return option->take(o, value, f);
		return one_of(option->name, value, option->names, option->count,
			      (unsigned *)(void *)((char *)o + option->at), f);
	}
	return fail(f, EXIT_USAGE, "unknown option %.64s; slat pack --help has all", word);
}

static int take(struct pack_options *o, int argc, char **argv, int *at, struct failure *f)
{
	const char *word = argv[*at];

	if (word[0] == '-' && word[1] != '\0')
		return take_option(o, argc, argv, at, f);
	if (o->trace)
		return fail(f, EXIT_USAGE, "two traces: %.64s and %.64s", o->trace, word);
	o->trace = word;
	return 0;
}

/* ---- what follows from all of them ---- */

static void to_granules(struct pack_options *o, struct fleet_shape *s)
{
	for (uint32_t n = 0; n < s->nodes; n++) {
		s->node[n].units /= o->pack.granule;
		s->node[n].reserve = (s->node[n].reserve + o->pack.granule - 1) / o->pack.granule;
		s->node[n].huge /= o->pack.granule;
	}
}

/* Without any, one without bounds. */
static int some_host(struct pack_options *o, struct failure *f)
{
	if (o->pack.fleet.shapes > 0)
		return 0;
	if (o->shape[0].hosts > 1)
		return fail(f, EXIT_USAGE, "--hosts %u: --host memory=SIZE says what each of them is",
			    o->shape[0].hosts);
	return set_host(o, "memory=unbounded", f);
}

static int judge_hosts(struct pack_options *o, struct failure *f)
{
	struct fleet_config *c = &o->pack.fleet;

	for (uint32_t i = 0; i < c->shapes; i++) {
		if (o->shape[i].hosts == 0)
			o->shape[i].hosts = 1;
		if (o->host[i].bytes > 0 && o->host[i].bytes / o->pack.granule < o->shape[i].nodes)
			return fail(f, EXIT_USAGE, "--host: %s over %u nodes is less than a granule of %s each",
				    amount_format(o->unit, o->host[i].bytes).s, o->shape[i].nodes,
				    amount_format(o->unit, o->pack.granule).s);
		if (o->host[i].huge > 0 && o->host[i].huge / o->pack.granule < o->shape[i].nodes)
			return fail(
				f, EXIT_USAGE,
				"--host huge=%s over %u nodes is less than a granule of %s each: a huge page is one",
				amount_format(o->unit, o->host[i].huge).s, o->shape[i].nodes,
				amount_format(o->unit, o->pack.granule).s);
		to_granules(o, &o->shape[i]);
	}
	if (o->shape[c->shapes < PACK_SHAPES_MAX ? c->shapes : 0].hosts > 0 && c->shapes < PACK_SHAPES_MAX)
		return fail(f, EXIT_USAGE, "--hosts %u: no --host behind it says what they are",
			    o->shape[c->shapes].hosts);
	c->shape = o->shape;
	return 0;
}

/* What is read, and what is written. */
static int judge_files(const struct pack_options *o, struct failure *f)
{
	struct file_use use[USES_MAX] = {{"TRACE", o->trace, false},
					 {"--csv", o->csv, true},
					 {"--save-trace", o->save, true},
					 {"--report", o->report, true},
					 {"--json", o->json ? "-" : NULL, true},
					 {"--log", o->log, true}};
	size_t uses = USES_MAX - PACK_SHAPES_MAX;

	for (uint32_t i = 0; i < o->files; i++)
		use[uses++] = (struct file_use){"--fleet", o->file[i], false};
	return file_uses_judge(use, uses, f);
}

static int judge_huge(const struct pack_options *o, struct failure *f)
{
	bool any = false;

	for (uint32_t i = 0; i < o->pack.fleet.shapes; i++)
		any |= o->host[i].huge > 0;
	if (any == (o->pack.huge_above > 0))
		return 0;
	return fail(f, EXIT_USAGE, "--host huge=SIZE and --huge-above SIZE, of guests that get it, need each other");
}

/* What is 0 in units would mean never. */
static int judge_sizes(struct pack_options *o, struct failure *f)
{
	const uint64_t granule = o->pack.granule, split = o->pack.fleet.split_above;

	if (o->compact_bytes > 0 && o->compact_bytes < granule)
		return fail(f, EXIT_USAGE, "--compact-budget %s a second is less than the granule of %s",
			    amount_format(o->unit, o->compact_bytes).s, amount_format(o->unit, granule).s);
	if (split > 0 && split < granule)
		return fail(f, EXIT_USAGE, "--split-above %s is less than the granule of %s",
			    amount_format(o->unit, split).s, amount_format(o->unit, granule).s);
	o->pack.compact_budget = o->compact_bytes / granule;
	o->pack.fleet.split_above = split / granule;
	return 0;
}

int pack_options_settle(struct pack_options *o, const char *unit, struct failure *f)
{
	o->unit = o->pack.unit = unit;
	if (!o->granule_given)
		o->pack.granule = amount_of_bytes(o->unit) ? GRANULE_DEFAULT : 1;
	if (!o->fit_given)
		o->pack.fleet.fit = strcmp(unit, "metre") == 0 ? FLEET_FIT_WORST : FLEET_FIT_BEST;
	return judge_hosts(o, f) ? f->code : judge_sizes(o, f);
}

static int judge(struct pack_options *o, struct failure *f)
{
	const struct workload_options *w = &o->work;
	const char *unit;

	if (!o->trace && !o->generated)
		return fail(f, EXIT_USAGE, "no trace to play: slat pack [options] TRACE, or --workload");
	if (o->trace && o->generated)
		return fail(f, EXIT_USAGE, "a trace or --workload, not both: %.64s", o->trace);
	if (judge_files(o, f))
		return f->code;
	if (!o->generated &&
	    (w->arrivals || w->interval_us || w->life_us || w->size_min || w->size_max || w->size_mean))
		return fail(f, EXIT_USAGE, "--arrivals, --interval, --life and --size-... are for --workload");
	o->work.seed = o->pack.fleet.seed;
	if (o->machine_given && (o->generated || o->format != TRACE_AZURE_PACKING_2020))
		return fail(f, EXIT_USAGE, "--machine is for --format azure-packing-2020");
	if (o->format == TRACE_AZURE_PACKING_2020) {
		const struct fleet_shape *s = &o->shape[0];

		if (o->pack.fleet.shapes != 1 || o->host[0].bytes == 0)
			return fail(f, EXIT_USAGE,
				    "--format azure-packing-2020 has shares of a machine: one --host with memory=SIZE "
				    "says what that is");
		o->reading.machine_bytes = o->host[0].bytes;
		o->reading.machine_cpus = s->node[0].cpu_millis == FLEET_CPU_UNLIMITED
						  ? 0
						  : s->node[0].cpu_millis / EVENT_CPU_ONE * s->nodes;
	}
	if (some_host(o, f) || judge_huge(o, f))
		return f->code;
	if (o->choose_given && o->pack.fleet.nodes == FLEET_NODES_BALANCE)
		return fail(f, EXIT_USAGE, "--node balance chooses the host, too: it goes without --choose %s",
			    choose_names[o->pack.fleet.choose]);
	if (o->pack.fleet.nodes == FLEET_NODES_CONTRACT && o->pack.fleet.latency_ps == 0)
		return fail(f, EXIT_USAGE, "--node contract needs --latency, such as 100ns");
	for (uint32_t i = 0; o->pack.fleet.latency_ps && i < o->pack.fleet.shapes; i++)
		if (o->shape[i].latency_ps[0][0] == 0 || (o->shape[i].nodes > 1 && o->shape[i].latency_ps[0][1] == 0))
			return fail(f, EXIT_USAGE,
				    "--latency: --host needs local= and remote=, such as local=80ns,remote=160ns");
	if ((o->pack.compact == PACK_COMPACT_CONTINUOUS) != (o->compact_bytes > 0))
		return fail(f, EXIT_USAGE,
			    "--compact continuous and --compact-budget SIZE, of bytes a second, need each other");
	if (o->pack.compact != PACK_COMPACT_NEVER && o->pack.fleet.contiguous != FLEET_REQUIRE)
		return fail(f, EXIT_USAGE, "--compact %s: only with --contiguous require",
			    compact_names[o->pack.compact]);
	unit = o->generated ? workload_unit(o->workload) : o->format == TRACE_SLAT ? trace_unit_of(o->trace) : "byte";
	return unit ? pack_options_settle(o, unit, f) : 0;
}

int pack_options_parse(int argc, char **argv, struct pack_options *o, struct failure *f)
{
	*o = (struct pack_options){.csv_step_us = STEP_DEFAULT, .reading.machine = TRACE_MACHINE_COMMON};
	o->word = argv;
	o->words = argc;
	o->pack.fleet.choose = FLEET_BEST;
	o->pack.fleet.nodes = FLEET_NODES_LOCAL;
	o->shape = calloc(PACK_SHAPES_MAX, sizeof(*o->shape));
	if (!o->shape)
		return fail(f, EXIT_HOST, "no memory for what hosts are");
	for (int i = 0; i < argc; i++)
		if (take(o, argc, argv, &i, f))
			return f->code;
	return o->help ? 0 : judge(o, f);
}

void pack_options_free(struct pack_options *o)
{
	free(o->shape);
	o->shape = NULL;
}
