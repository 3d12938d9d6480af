/* vmm/cmd/pack.c: `slat pack`: a trace played into a fleet of hosts. */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "vmm/cmd/cmd.h"
#include "vmm/pack/pack_options.h"
#include "vmm/size.h"

#define SHOW_EVENTS (UINT64_C(1) << 17)
#define TEMP_BYTES  4096u

static const char help[] =
	"slat pack [options] TRACE    what a way to place guests does to a fleet of hosts\n"
	"\n"
	"Plays the arrivals and departures of a trace (CSV, plain or gzip; - is standard input) into simulated\n"
	"hosts, by the code that places real guests, and says how full they get, who is refused and why.\n"
	"\n"
	"  --format NAME              slat, azure-v1, azure-packing-2020, huawei-east-1, minimalloc (slat)\n"
	"  --skip-bad                 count bad lines and go on; else the first ends the run\n"
	"  --from N, --count N        only arrivals N to N + count, from 0, into empty hosts\n"
	"  --hosts N --host KEY=VALUE,...  N hosts (1) like this; both may be repeated, for other kinds\n"
	"                             nodes=N             memory nodes (1)\n"
	"                             cpus=N              of all nodes; without it CPUs are no limit\n"
	"                             memory=SIZE         of all nodes; or memory=unbounded: one pool, which grows\n"
	"                             reserve=SIZE        of it, for nobody (0)\n"
	"                             local=NS,remote=NS  latencies, for --latency\n"
	"  --choose HOW               of the hosts that can place a guest: the first; the one with least memory\n"
	"                             free (best), or most (worst); the one whose hole the fit would take were\n"
	"                             all one (global); any (random); the one with the largest product of what\n"
	"                             is free and asked for (dot); the emptier of two (two)             (best)\n"
	"  --node HOW                 local, pack, spread, interleave: as --placement of slat run; the first that\n"
	"                             can; balance: the host whose nodes differ most, and its emptier one (local)\n"
	"  --fit HOW                  first, best, worst, next, buddy, segregated; scatter: any free memory (best)\n"
	"  --granule SIZE             memory is given in multiples of it (2M)\n"
	"  --contiguous HOW           of each node: require one extent, prefer few, or scatter (require)\n"
	"  --compact HOW              never; when a hole is refused (refused); or when a guest has left (continuous),\n"
	"                             as far as --compact-budget SIZE goes, of bytes a second (never)\n"
	"  --split-above SIZE         larger guests are spread evenly over all nodes of a host\n"
	"  --overcommit PERCENT       of their memory guests give back: so much more fits (0)\n"
	"  --latency NS               the nodes with the least local memory that keep this mean (contract)\n"
	"  --on-refuse drop|wait      who is refused is gone, or waits, first come, first served (drop)\n"
	"  --seed N                   of --choose random and two (0)\n"
	"  --csv FILE                 figures over time, every --csv-step SECONDS (3600)\n"
	"  --json                     all figures, for programs\n"
	"  --help                     this text\n"
	"\n"
	"Exit code: 0, 2 usage, 4 the trace is bad, 6 the host refuses.\n"
	"\n"
	"Example:  slat pack --hosts 1000 --host nodes=2,cpus=64,memory=384G --fit best trace.csv.gz\n";

/* ---- what is shown while it runs ---- */

static void show(const struct pack *p, uint64_t events)
{
	struct fleet_totals t = fleet_totals_read(pack_fleet(p));

	fprintf(stderr, "\r\033[K%" PRIu64 " events, %" PRIu64 " guests live", events, t.guests);
}

/* ---- the time series ---- */

struct series {
	FILE *file;
	const char *path;
	char temp[TEMP_BYTES];
	uint64_t step_us, next_us;
};

static int series_open(struct series *s, const struct pack_options *o, struct failure *f)
{
	if (!o->csv)
		return 0;
	s->path = o->csv;
	s->step_us = o->csv_step_us;
	if (snprintf(s->temp, sizeof(s->temp), "%s.part", o->csv) >= (int)sizeof(s->temp))
		return fail(f, EXIT_USAGE, "--csv: a name of %zu bytes is too long", strlen(o->csv));
	s->file = fopen(s->temp, "we");
	if (!s->file)
		return fail(f, EXIT_HOST, "--csv: %s cannot be written: %s", s->temp, strerror(errno));
	fputs("time_s,guests,waiting,units_given,units_asked,units_free,largest_holes,holes,hosts_empty,refused\n",
	      s->file);
	return 0;
}

static void series_row(const struct series *s, const struct pack *p, uint64_t time_us)
{
	struct fleet_totals t = fleet_totals_read(pack_fleet(p));
	struct pack_figures now = pack_figures_read(p);
	uint64_t refused = 0;

	for (unsigned i = 0; i < FLEET_ANSWERS; i++)
		refused += now.refused[i];
	fprintf(s->file,
		"%" PRIu64 ".%06" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64
		",%" PRIu64 ",%" PRIu64 ",%" PRIu64 "\n",
		time_us / 1000000, time_us % 1000000, t.guests, pack_waiting(p), t.units_given, t.units_asked,
		t.units - t.units_given, t.largest_holes, t.holes, t.hosts_empty, refused - pack_waiting(p));
}

/* The first state of each step in which anything happens. */
static void series_step(struct series *s, const struct pack *p, uint64_t time_us)
{
	if (!s->file || time_us < s->next_us)
		return;
	series_row(s, p, time_us);
	s->next_us = time_us - time_us % s->step_us + s->step_us;
}

static int series_close(struct series *s, bool keep, struct failure *f)
{
	bool written;

	if (!s->file)
		return f->code;
	written = !ferror(s->file);
	written &= fclose(s->file) == 0;
	s->file = NULL;
	if (keep && written && rename(s->temp, s->path) == 0)
		return 0;
	unlink(s->temp);
	return keep ? fail(f, EXIT_HOST, "--csv: %s cannot be written: %s", s->path, strerror(errno)) : f->code;
}

/* ---- what comes out ---- */

struct millionths {
	char s[32];
};

static struct millionths percent(uint64_t ppm)
{
	struct millionths m;

	snprintf(m.s, sizeof(m.s), "%" PRIu64 ".%02" PRIu64 " %%", ppm / 10000, ppm / 100 % 100);
	return m;
}

static struct millionths milli(uint64_t thousandths)
{
	struct millionths m;

	snprintf(m.s, sizeof(m.s), "%" PRIu64 ".%03" PRIu64, thousandths / 1000, thousandths % 1000);
	return m;
}

static uint64_t refused_all(const struct pack_figures *n)
{
	return n->refused[FLEET_NO_MEMORY] + n->refused[FLEET_NO_CPU] + n->refused[FLEET_NO_HOLE] +
	       n->refused[FLEET_NO_CONTRACT];
}

static void print_refused(const struct pack_options *o, const struct pack_figures *n)
{
	printf("%-28s %" PRIu64 " guests, %" PRIu64 " units\n", o->pack.wait ? "still waiting at the end" : "refused",
	       refused_all(n), n->units_refused);
	printf("%-28s %" PRIu64 "\n", "  no host has the memory", n->refused[FLEET_NO_MEMORY]);
	printf("%-28s %" PRIu64 "\n", "  ... and the CPUs", n->refused[FLEET_NO_CPU]);
	printf("%-28s %" PRIu64 "\n", "  ... and the holes", n->refused[FLEET_NO_HOLE]);
	if (o->pack.fleet.latency_ps)
		printf("%-28s %" PRIu64 "\n", "  ... and the latency", n->refused[FLEET_NO_CONTRACT]);
}

static bool unbounded(const struct pack_options *o)
{
	return o->shape[0].node[0].units == FLEET_UNBOUNDED;
}

static void print_table(const struct pack_options *o, const struct pack_figures *n, const struct trace_stats *read)
{
	uint64_t bad = 0;

	for (unsigned i = 0; i < TRACE_BADS; i++)
		bad += read->bad[i];
	printf("%-28s %" PRIu64 " over %" PRIu64 ".%06" PRIu64 " s", "guests", n->arrivals, n->span_us / 1000000,
	       n->span_us % 1000000);
	printf(bad ? "; %" PRIu64 " bad lines passed over\n" : "\n", bad);
	printf("%-28s %" PRIu64 ", %" PRIu64 " units of %s\n", "accepted", n->accepted, n->units_accepted,
	       size_format(o->pack.granule).s);
	print_refused(o, n);
	printf("%-28s %s mean, %" PRIu64 " peak\n", "live", milli(n->guests_milli).s, n->guests_peak);
	if (unbounded(o)) {
		printf("%-28s %s mean, %s at the highest load, %s highest over highest\n", "top above what lives",
		       percent(n->over_ppm).s, percent(n->over_at_peak_ppm).s, percent(n->over_most_ppm).s);
	} else {
		printf("%-28s %s mean, %s peak\n", "memory used", percent(n->utilisation_ppm).s,
		       percent(n->utilisation_peak_ppm).s);
		printf("%-28s %s mean\n", "CPUs used", percent(n->cpu_ppm).s);
	}
	printf("%-28s %s mean\n", "external fragmentation", percent(n->external_ppm).s);
	printf("%-28s %s mean\n", "internal fragmentation", percent(n->internal_ppm).s);
	printf("%-28s %s mean\n", "holes", milli(n->holes_milli).s);
	printf("%-28s %s mean\n", "empty hosts", milli(n->hosts_empty_milli).s);
	printf("%-28s %s mean\n", "local memory", percent(n->local_ppm).s);
	if (o->pack.compact != PACK_COMPACT_NEVER)
		printf("%-28s %" PRIu64 " guests, %" PRIu64 " units\n", "moved", n->moves, n->units_moved);
	if (o->pack.wait)
		printf("%-28s %" PRIu64 " guests, %" PRIu64 " s in all, %s s mean, %s s at the 99th of 100\n", "waited",
		       n->waited, n->wait_us / 1000000, milli(n->wait_mean_us / 1000).s,
		       milli(n->wait_p99_us / 1000).s);
}

static json_t *whole(uint64_t n)
{
	return json_integer((json_int_t)n);
}

static json_t *json_of_refused(const struct pack_figures *n)
{
	return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "total", whole(refused_all(n)), "no_memory",
			 whole(n->refused[FLEET_NO_MEMORY]), "no_hole", whole(n->refused[FLEET_NO_HOLE]), "no_cpu",
			 whole(n->refused[FLEET_NO_CPU]), "no_contract", whole(n->refused[FLEET_NO_CONTRACT]), "units",
			 whole(n->units_refused));
}

static json_t *json_of_config(const struct pack_options *o)
{
	json_t *hosts = json_array();

	for (uint32_t i = 0; i < o->pack.fleet.shapes; i++) {
		const struct fleet_shape *s = &o->shape[i];
		bool limit = s->node[0].cpu_millis != FLEET_CPU_UNLIMITED;

		json_array_append_new(
			hosts,
			json_pack("{s:i, s:i, s:o, s:o}", "hosts", (int)s->hosts, "nodes", (int)s->nodes, "bytes",
				  o->host_bytes[i] ? whole(o->host_bytes[i]) : json_null(), "cpus",
				  limit ? whole((uint64_t)s->node[0].cpu_millis * s->nodes / 1000) : json_null()));
	}
	return json_pack("{s:s, s:o, s:s, s:s, s:s, s:s, s:s, s:o, s:s, s:o}", "trace", o->trace, "hosts", hosts,
			 "choose", pack_choose_name(o->pack.fleet.choose), "node", pack_nodes_name(o->pack.fleet.nodes),
			 "fit", pack_fit_name(o->pack.fleet.fit), "contiguous",
			 pack_contiguous_name(o->pack.fleet.contiguous), "compact", pack_compact_name(o->pack.compact),
			 "granule", whole(o->pack.granule), "on_refuse", o->pack.wait ? "wait" : "drop", "seed",
			 whole(o->pack.fleet.seed));
}

static json_t *json_of_bad(const struct trace_stats *read)
{
	json_t *bad = json_object();

	for (unsigned i = 0; i < TRACE_BADS; i++)
		if (read->bad[i] > 0)
			json_object_set_new(bad, trace_bad_name((enum trace_bad)i), whole(read->bad[i]));
	return bad;
}

static int print_json(const struct pack_options *o, const struct pack_figures *n, const struct trace_stats *read,
		      struct failure *f)
{
	const struct {
		const char *key;
		uint64_t value;
	} figures[] = {
		{"guests", n->arrivals},
		{"accepted", n->accepted},
		{"departed", n->departures},
		{"units_accepted", n->units_accepted},
		{"span_us", n->span_us},
		{"live_mean_milli", n->guests_milli},
		{"live_peak", n->guests_peak},
		{"utilisation_mean_ppm", n->utilisation_ppm},
		{"utilisation_peak_ppm", n->utilisation_peak_ppm},
		{"cpu_mean_ppm", n->cpu_ppm},
		{"external_fragmentation_ppm", n->external_ppm},
		{"internal_fragmentation_ppm", n->internal_ppm},
		{"holes_mean_milli", n->holes_milli},
		{"hosts_empty_mean_milli", n->hosts_empty_milli},
		{"local_ppm", n->local_ppm},
		{"top_over_live_mean_ppm", n->over_ppm},
		{"top_over_live_at_peak_ppm", n->over_at_peak_ppm},
		{"top_over_live_peaks_ppm", n->over_most_ppm},
		{"moves", n->moves},
		{"units_moved", n->units_moved},
		{"waited", n->waited},
		{"wait_us", n->wait_us},
		{"wait_mean_us", n->wait_mean_us},
		{"wait_p99_us", n->wait_p99_us},
	};
	json_t *root = json_object();
	int bad;

	json_object_set_new(root, "experiment", json_of_config(o));
	for (size_t i = 0; i < sizeof(figures) / sizeof(*figures); i++)
		json_object_set_new(root, figures[i].key, whole(figures[i].value));
	json_object_set_new(root, "refused", json_of_refused(n));
	json_object_set_new(root, "lines", whole(read->lines));
	json_object_set_new(root, "bad_lines", json_of_bad(read));
	bad = root ? json_dumpf(root, stdout, JSON_INDENT(2)) : -1;
	json_decref(root);
	return bad ? fail(f, EXIT_HOST, "standard output cannot be written") : (void)puts(""), 0;
}

/* ---- the run ---- */

static enum event_next next(void *self, struct event *out, struct failure *f)
{
	return trace_next(self, out, f);
}

static int play(struct pack *p, struct trace *t, struct series *series, struct failure *f)
{
	const struct pack_source source = {t, next};
	bool terminal = isatty(STDERR_FILENO);
	enum event_next step;
	uint64_t events = 0, time_us;

	while ((step = pack_step(p, &source, &time_us, f)) == EVENT_ONE) {
		series_step(series, p, time_us);
		if (++events % SHOW_EVENTS == 0 && terminal)
			show(p, events);
	}
	if (terminal && events >= SHOW_EVENTS)
		fputs("\r\033[K", stderr);
	return step == EVENT_FAILED ? f->code : 0;
}

static int experiment(const struct pack_options *o, struct failure *f)
{
	struct trace *t = trace_open(o->trace, o->format, &o->reading, f);
	struct pack *p = t ? pack_open(&o->pack, f) : NULL;
	struct series series = {0};
	bool good = p && series_open(&series, o, f) == 0 && play(p, t, &series, f) == 0;

	if (series_close(&series, good, f) == 0 && good) {
		struct pack_figures figures = pack_figures_read(p);
		struct trace_stats read = trace_stats_read(t);

		if (o->json)
			(void)print_json(o, &figures, &read, f);
		else
			print_table(o, &figures, &read);
		if (fflush(stdout) != 0 && !f->code)
			(void)fail(f, EXIT_HOST, "standard output cannot be written: %s", strerror(errno));
	}
	pack_close(p);
	trace_close(t);
	return f->code;
}

int cmd_pack(int argc, char **argv)
{
	struct failure f = {0};
	struct pack_options o;

	if (pack_options_parse(argc, argv, &o, &f) == 0) {
		if (o.help)
			fputs(help, stdout);
		else
			(void)experiment(&o, &f);
	}
	pack_options_free(&o);
	return f.code ? cmd_refuse(&f) : EXIT_OK;
}
