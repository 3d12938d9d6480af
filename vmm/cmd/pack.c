/* vmm/cmd/pack.c: `slat pack`: a trace played into a fleet of hosts. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "vmm/cmd/cmd.h"
#include "vmm/pack/amount.h"
#include "vmm/pack/draft.h"
#include "vmm/pack/pack_json.h"

static const char help[] =
	"slat pack [options] TRACE    what a way to place guests does to a fleet of hosts\n"
	"\n"
	"Plays the arrivals and departures of a trace (CSV, plain or gzip; - is standard input) into simulated\n"
	"hosts, by the code that places real guests, and says how full they get, who is refused and why.\n"
	"\n"
	"  --format NAME              slat, azure-v1, azure-packing-2020, huawei-east-1, minimalloc (slat)\n"
	"  --machine ID|common|any    azure-packing-2020: the machineId whose shares are asked for, the one that most\n"
	"                             guests can run on, or each type's lowest (common); who cannot is left out\n"
	"  --skip-bad                 count bad lines and go on, and guests that ask for more memory or CPUs than any\n"
	"                             host has; else the first ends the run\n"
	"  --from N, --count N        only arrivals N to N + count, from 0, into empty hosts\n"
	"  --workload NAME            instead of a trace: vm, tasks, spectrum, cargo, uniform, exponential, by "
	"--seed;\n"
	"                             --arrivals N; --interval SECONDS between them and --life SECONDS, in the mean;\n"
	"                             --size-min, --size-max (tasks, cargo, uniform), --size-mean (exponential) SIZE\n"
	"  --save-trace FILE          keeps the events as a trace (gzip iff it ends in .gz; - is standard output, and\n"
	"                             the table goes to standard error then, as with --csv -, --log - and --report -)\n"
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
	"                             --choose; contract: by --latency, which implies it                (local)\n"
	"  --fit HOW                  first, best, worst, next, buddy, segregated; scatter: any free memory (best;\n"
	"                             of metres worst)\n"
	"  --granule SIZE             memory is given in multiples of it (2M; 1 of what is not bytes)\n"
	"  --contiguous HOW           of each node: require one extent, prefer few, or scatter (require)\n"
	"  --compact HOW              never; when a hole is refused (refused); or when a guest has left (continuous),\n"
	"                             as far as --compact-budget SIZE goes, of bytes a second; guests move into free\n"
	"                             memory that does not overlap their own: none slides (never)\n"
	"  --split-above SIZE         larger guests are spread evenly over all nodes of a host\n"
	"  --huge-above SIZE          larger guests get huge pages, of what hosts have (huge=), and only they\n"
	"  --lifetimes known|unknown  known: --choose is among the hosts that the guest will keep busy least beyond\n"
	"                             those who are there; a trace without life_s is read twice      (unknown)\n"
	"  --overcommit PERCENT       of their memory guests give back: so much more fits (0)\n"
	"  --latency NS               the nodes with the least local memory that keep this mean (contract)\n"
	"  --on-refuse drop|wait      who is refused is gone, or waits, first come, first served; whom not even empty\n"
	"                             hosts can take is refused then, too (drop)\n"
	"  --seed N                   of --workload, and of --choose random and two (0)\n"
	"  --csv FILE                 figures over time, every --csv-step SECONDS (3600)\n"
	"  --log FILE                 each decision: who is placed, where, refused, waits, is moved, leaves; as CSV\n"
	"  --report FILE.html         one page with charts, and the pools drawn over time\n"
	"  --json                     all figures, for programs: exact integers, and for the 99th of 100 waits two\n"
	"                             bounds, to within a 32nd\n"
	"  --help                     this text\n"
	"\n"
	"Exit code: 0, 2 usage, 4 the trace is bad, or has a guest larger than any host, 6 the host refuses.\n"
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

struct units_text {
	char s[96];
};

/* "7 units of 2 MiB", "7 metres" */
static struct units_text units(const struct pack_options *o, uint64_t n)
{
	struct units_text t;

	if (o->pack.granule > 1 || amount_of_bytes(o->unit))
		snprintf(t.s, sizeof(t.s), "%" PRIu64 " units of %s", n, amount_format(o->unit, o->pack.granule).s);
	else
		snprintf(t.s, sizeof(t.s), "%s", amount_format(o->unit, n).s);
	return t;
}

static void print_why(const char *name, const struct pack_figures *n, enum fleet_answer why)
{
	printf("%-28s %" PRIu64, name, n->refused[why]);
	if (n->refused[why] > 0)
		printf(", %" PRIu64 " units", n->units_refused_why[why]);
	putchar('\n');
}

static void print_refused(const struct pack_options *o, const struct pack_figures *n)
{
	printf("%-28s %" PRIu64 " guests, %" PRIu64 " units\n", "refused", pack_refused(n), n->units_refused);
	if (o->pack.wait)
		printf("%-28s %" PRIu64 "\n", "  still waiting at the end", n->waiting);
	print_why("  no host has the memory", n, FLEET_NO_MEMORY);
	print_why("  ... and the CPUs", n, FLEET_NO_CPU);
	print_why("  ... and the holes", n, FLEET_NO_HOLE);
	if (o->pack.fleet.latency_ps)
		print_why("  ... and the latency", n, FLEET_NO_CONTRACT);
}

static bool unbounded(const struct pack_options *o)
{
	return o->shape[0].node[0].units == FLEET_UNBOUNDED;
}

/* The 99th of 100 as it is known: exactly, or between two. */
static void print_waits(const struct pack_figures *n)
{
	const struct pack_wait *p99 = &n->wait_p99;

	printf("%-28s %" PRIu64 " guests, %" PRIu64 " s in all, %s s mean, %s", "waited", n->waited,
	       n->wait_us / 1000000, milli(n->wait_mean_us / 1000).s, milli(p99->least / 1000).s);
	if (p99->most > p99->least)
		printf(" to %s", milli(p99->most / 1000 + (p99->most % 1000 > 0)).s);
	printf(" s at the 99th of 100, %s s the longest\n", milli(n->wait_longest_us / 1000).s);
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
	if (e->read.left_out > 0)
		printf("%-28s %" PRIu64 " guests, whose types machine %" PRId64 " has not\n", "left out",
		       e->read.left_out, e->read.machine);
	printf("%-28s %" PRIu64 ", %s\n", "accepted", n->accepted, units(o, n->units_accepted).s);
	print_refused(o, n);
	printf("%-28s %s mean, %" PRIu64 " peak\n", "live", milli(n->guests_milli).s, n->guests_peak);
	if (unbounded(o)) {
		printf("%-28s %s mean, %s at the highest load, %s highest over highest\n", "top above what lives",
		       percent(n->over_ppm).s, percent(n->over_at_peak_ppm).s, percent(n->over_most_ppm).s);
	} else {
		printf("%-28s %s mean, %s peak\n", "memory used", percent(n->utilisation_ppm).s,
		       percent(n->utilisation_peak_ppm).s);
	}
	if (n->cpus_limited)
		printf("%-28s %s mean\n", "CPUs used", percent(n->cpu_ppm).s);
	printf("%-28s %s mean\n", "external fragmentation", percent(n->external_ppm).s);
	printf("%-28s %s mean\n", "internal fragmentation", percent(n->internal_ppm).s);
	printf("%-28s %s mean\n", "holes", milli(n->holes_milli).s);
	printf("%-28s %s mean\n", "empty hosts", milli(n->hosts_empty_milli).s);
	printf("%-28s %s mean\n", "local memory", percent(n->local_ppm).s);
	if (o->pack.compact != PACK_COMPACT_NEVER)
		printf("%-28s %" PRIu64 " guests, %" PRIu64 " units\n", "moved", n->moves, n->units_moved);
	if (o->pack.wait)
		print_waits(n);
}

static void print_json(const struct pack_options *o, const struct experiment *e, struct failure *f)
{
	json_t *root = pack_json(o, e);

	if (!root) {
		(void)fail(f, EXIT_HOST, "no memory for what slat pack --json tells");
		return;
	}
	(void)json_dumpf(root, stdout, JSON_INDENT(2));
	json_decref(root);
	puts("");
}

/* ---- the run ---- */

static bool is_output(const char *path)
{
	return path && strcmp(path, "-") == 0;
}

static int experiment(struct pack_options *o, struct failure *f)
{
	struct experiment e;

	if (experiment_run(o, true, &e, f))
		return f->code;
	if ((is_output(o->save) || is_output(o->csv) || is_output(o->report) || is_output(o->log)) &&
	    dup2(STDERR_FILENO, STDOUT_FILENO) < 0)
		return fail(f, EXIT_HOST, "the table has nowhere to go: %s", strerror(errno));
	if (o->json)
		print_json(o, &e, f);
	else
		print_table(o, &e);
	return cmd_written(f);
}

int cmd_pack(int argc, char **argv)
{
	struct failure f = {0};
	struct pack_options o;
	int code = EXIT_OK;

	draft_end_by_signal();
	if (pack_options_parse(argc, argv, &o, &f) == 0) {
		if (o.help)
			code = cmd_say(help);
		else
			(void)experiment(&o, &f);
	}
	pack_options_free(&o);
	return f.code ? cmd_refuse(&f) : code;
}
