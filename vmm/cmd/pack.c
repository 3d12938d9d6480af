/* vmm/cmd/pack.c: `slat pack`: a trace played into a fleet of hosts. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "vmm/cmd/cmd.h"
#include "vmm/pack/pack_json.h"
#include "vmm/size.h"

static const char help[] =
	"slat pack [options] TRACE    what a way to place guests does to a fleet of hosts\n"
	"\n"
	"Plays the arrivals and departures of a trace (CSV, plain or gzip; - is standard input) into simulated\n"
	"hosts, by the code that places real guests, and says how full they get, who is refused and why.\n"
	"\n"
	"  --format NAME              slat, azure-v1, azure-packing-2020, huawei-east-1, minimalloc (slat)\n"
	"  --skip-bad                 count bad lines and go on; else the first ends the run\n"
	"  --from N, --count N        only arrivals N to N + count, from 0, into empty hosts\n"
	"  --workload NAME            instead of a trace: vm, tasks, spectrum, cargo, uniform, exponential, by "
	"--seed;\n"
	"                             --arrivals N; --interval SECONDS between them and --life SECONDS, in the mean;\n"
	"                             --size-min, --size-max (tasks, cargo, uniform), --size-mean (exponential) SIZE\n"
	"  --save-trace FILE          keeps the events as a trace (gzip iff it ends in .gz; - is standard output, and\n"
	"                             the table goes to standard error then, as with --csv - and --report -)\n"
	"  --hosts N --host KEY=VALUE,...  N hosts (1) like this; both may be repeated, for other kinds\n"
	"                             nodes=N             memory nodes (1)\n"
	"                             cpus=N              of all nodes; without it CPUs are no limit\n"
	"                             memory=SIZE         of all nodes; or memory=unbounded: one pool, which grows\n"
	"                             reserve=SIZE        of it, for nobody (0)\n"
	"                             huge=SIZE           of it, huge pages, for --huge-above (0)\n"
	"                             local=NS,remote=NS  latencies, for --latency\n"
	"  --fleet FILE.json          hosts of several kinds: [{\"hosts\": 20, \"nodes\": 2, \"memory\": \"384G\"}, "
	"...], keys as\n"
	"                             of --host, and matrices latency (ns), distance\n"
	"  --choose HOW               of the hosts that can place a guest: the first; the one with least memory\n"
	"                             free (best), or most (worst); the one whose hole the fit would take were\n"
	"                             all one (global); any (random); the one with the largest product of what\n"
	"                             is free and asked for (dot); the emptier of two (two)             (best)\n"
	"  --node HOW                 local, pack, spread, interleave: as --placement of slat run; the first that\n"
	"                             can; balance: the host whose nodes differ most, and its emptier one, without\n"
	"                             --choose                                                          (local)\n"
	"  --fit HOW                  first, best, worst, next, buddy, segregated; scatter: any free memory (best)\n"
	"  --granule SIZE             memory is given in multiples of it (2M; 1 of a workload that is not of bytes)\n"
	"  --contiguous HOW           of each node: require one extent, prefer few, or scatter (require)\n"
	"  --compact HOW              never; when a hole is refused (refused); or when a guest has left (continuous),\n"
	"                             as far as --compact-budget SIZE goes, of bytes a second (never)\n"
	"  --split-above SIZE         larger guests are spread evenly over all nodes of a host\n"
	"  --huge-above SIZE          larger guests get huge pages, of what hosts have (huge=), and only they\n"
	"  --lifetimes known|unknown  known: --choose is among the hosts that the guest will keep busy least beyond\n"
	"                             those who are there; a trace without life_s is read twice      (unknown)\n"
	"  --overcommit PERCENT       of their memory guests give back: so much more fits (0)\n"
	"  --latency NS               the nodes with the least local memory that keep this mean (contract)\n"
	"  --on-refuse drop|wait      who is refused is gone, or waits, first come, first served (drop)\n"
	"  --seed N                   of --workload, and of --choose random and two (0)\n"
	"  --csv FILE                 figures over time, every --csv-step SECONDS (3600)\n"
	"  --report FILE.html         one page with charts, and the pools drawn over time\n"
	"  --json                     all figures, for programs\n"
	"  --help                     this text\n"
	"\n"
	"Exit code: 0, 2 usage, 4 the trace is bad, 6 the host refuses.\n"
	"\n"
	"Example:  slat pack --hosts 1000 --host nodes=2,cpus=64,memory=384G --fit best trace.csv.gz\n";

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

static void print_refused(const struct pack_options *o, const struct pack_figures *n)
{
	printf("%-28s %" PRIu64 " guests, %" PRIu64 " units\n", o->pack.wait ? "still waiting at the end" : "refused",
	       pack_refused(n), n->units_refused);
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

static void print_table(const struct pack_options *o, const struct experiment *e)
{
	const struct pack_figures *n = &e->figures;
	uint64_t bad = 0;

	for (unsigned i = 0; i < TRACE_BADS; i++)
		bad += e->read.bad[i];
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

static void print_json(const struct pack_options *o, const struct experiment *e, struct failure *f)
{
	json_t *root = pack_json(o, e);

	if (!root || json_dumpf(root, stdout, JSON_INDENT(2)) != 0)
		(void)fail(f, EXIT_HOST, "standard output cannot be written");
	json_decref(root);
	puts("");
}

/* ---- the run ---- */

static bool is_output(const char *path)
{
	return path && strcmp(path, "-") == 0;
}

static int experiment(const struct pack_options *o, struct failure *f)
{
	struct experiment e;

	if (experiment_run(o, true, &e, f))
		return f->code;
	if ((is_output(o->save) || is_output(o->csv) || is_output(o->report)) && dup2(STDERR_FILENO, STDOUT_FILENO) < 0)
		return fail(f, EXIT_HOST, "the table has nowhere to go: %s", strerror(errno));
	if (o->json)
		print_json(o, &e, f);
	else
		print_table(o, &e);
	if (fflush(stdout) != 0 && !f->code)
		(void)fail(f, EXIT_HOST, "standard output cannot be written: %s", strerror(errno));
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
