/* vmm/cmd/sweep.c: `slat sweep`: experiments by the hundred, on all CPUs, and on many machines. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmm/cmd/cmd.h"
#include "vmm/loop.h"
#include "vmm/pack/compare.h"
#include "vmm/pack/draft.h"
#include "vmm/pack/file_uses.h"
#include "vmm/pack/report_sweep.h"

#define JOBS_MAX	1024u
#define RANKS_MAX	1000000u
#define SLURM_STEPS_MAX UINT64_C(0xfffffff0) /* what is above names no step of srun's: batch, extern, ... */

static const char help[] =
	"slat sweep [options] FILE    many experiments of slat pack\n"
	"\n"
	"FILE is JSON: {\"options\": [words], \"cross\": {\"fit\": [\"first\", \"best\"], \"seed\": [1, 2, 3]}}: "
	"options of slat\n"
	"pack, its trace among them, and of some all values to try; every choice of one of each is a point. What is\n"
	"finished is kept: a second run plays only what is missing, or whose trace or fleet file has changed.\n"
	"\n"
	"  --out FOLDER               where results are kept (FILE without .json, and .points)\n"
	"  --jobs N                   so many points at once (the CPUs that it may use)\n"
	"  --shard I/N                only part I, from 1, of N; mpirun and srun set it by their environment\n"
	"  --merge                    plays nothing: all results, in the order of the points, as JSON\n"
	"  --means                    with --merge: by policy and figure the mean over seeds, half of its 95 % "
	"interval, and\n"
	"                             how many runs, as CSV, instead\n"
	"  --report FILE.html         with --merge: one page that compares policies, with intervals over seeds, "
	"instead\n"
	"  --help                     this text\n"
	"\n"
	"Exit code: 0, 2 usage, 4 a trace is bad, 6 the host refuses, or, with --merge, points are missing.\n"
	"\n"
	"Example:  mpirun slat sweep fits.json && slat sweep --merge fits.json\n";

struct asked {
	const char *file, *folder, *report;
	struct sweep_rank shard;
	uint32_t jobs;
	bool merge, means, help;
	char *const *word; /* all of it, as it was said */
	int words;
};

/* ---- options ---- */

static bool whole(const char *text, uint64_t most, char end, uint64_t *out, const char **rest)
{
	char *stop;

	if (!text || *text < '0' || *text > '9')
		return false;
	errno = 0;
	*out = strtoull(text, &stop, 10);
	*rest = stop;
	return errno == 0 && *stop == end && *out <= most;
}

static int take_value(struct asked *a, const char *name, const char *value, struct failure *f)
{
	uint64_t one, all;
	const char *rest;

	if (strcmp(name, "--out") == 0) {
		a->folder = value;
		return 0;
	}
	if (strcmp(name, "--report") == 0) {
		a->report = value;
		return 0;
	}
	if (strcmp(name, "--jobs") == 0) {
		if (!whole(value, JOBS_MAX, '\0', &one, &rest) || one == 0)
			return fail(f, EXIT_USAGE, "--jobs: %.64s is no whole number from 1 to %u", value, JOBS_MAX);
		a->jobs = (uint32_t)one;
		return 0;
	}
	if (!whole(value, RANKS_MAX, '/', &one, &rest) || !whole(rest + 1, RANKS_MAX, '\0', &all, &rest) || one == 0 ||
	    one > all)
		return fail(f, EXIT_USAGE, "--shard: %.64s is not I/N, part I of N, such as 1/4", value);
	a->shard = (struct sweep_rank){(uint32_t)one - 1, (uint32_t)all};
	return 0;
}

static int parse(int argc, char **argv, struct asked *a, struct failure *f)
{
	for (int i = 0; i < argc; i++) {
		const char *word = argv[i];

		if (strcmp(word, "--merge") == 0) {
			a->merge = true;
		} else if (strcmp(word, "--means") == 0) {
			a->means = true;
		} else if (strcmp(word, "--help") == 0) {
			a->help = true;
		} else if (strcmp(word, "--out") == 0 || strcmp(word, "--jobs") == 0 || strcmp(word, "--shard") == 0 ||
			   strcmp(word, "--report") == 0) {
			if (++i == argc)
				return fail(f, EXIT_USAGE, "%s needs a value", word);
			if (take_value(a, word, argv[i], f))
				return f->code;
		} else if (word[0] == '-') {
			return fail(f, EXIT_USAGE, "unknown option %.64s; slat sweep --help has all", word);
		} else if (a->file) {
			return fail(f, EXIT_USAGE, "two files: %.64s and %.64s", a->file, word);
		} else {
			a->file = word;
		}
	}
	if (!a->file && !a->help)
		return fail(f, EXIT_USAGE, "no file to sweep: slat sweep [options] FILE");
	if ((a->report || a->means) && !a->merge)
		return fail(f, EXIT_USAGE, "--%s: of a sweep it is made by --merge", a->report ? "report" : "means");
	a->word = argv;
	a->words = argc;
	return 0;
}

/* ---- the rank ----
 *
 * A launcher starts a step of many processes, and a job may be one of an array: each part of the array then has as many
 * ranks as its step. Slurm tells the script of a batch job that it is process 0 of as many tasks as the job may have,
 * though nobody starts the others; what srun starts, and nothing else, has a SLURM_STEP_ID below the numbers of steps
 * that are none (slurm.h), and SLURM_STEP_NUM_TASKS is how many it started, which may be fewer than SLURM_NTASKS. */

/* The variable as a number up to `most`; `missing`, if it is none. */
static uint64_t number_by(const char *name, uint64_t most, uint64_t missing)
{
	uint64_t out;
	const char *rest;

	return whole(getenv(name), most, '\0', &out, &rest) ? out : missing;
}

static bool rank_by(const char *rank, const char *size, struct sweep_rank *out)
{
	uint64_t one = number_by(rank, RANKS_MAX, RANKS_MAX), all = number_by(size, RANKS_MAX, 0);

	if (one >= all)
		return false;
	*out = (struct sweep_rank){(uint32_t)one, (uint32_t)all};
	return true;
}

static struct sweep_rank rank_in_step(void)
{
	struct sweep_rank r = {0, 1};

	if (!rank_by("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", &r) &&
	    number_by("SLURM_STEP_ID", SLURM_STEPS_MAX, UINT64_MAX) <= SLURM_STEPS_MAX &&
	    !rank_by("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", &r) && !getenv("SLURM_STEP_NUM_TASKS"))
		(void)rank_by("SLURM_PROCID", "SLURM_NTASKS", &r);
	return r;
}

/* Ids go from MIN in steps. One that does not is no number of parts that can be told. */
static int rank_in_array(struct sweep_rank *out, struct failure *f)
{
	uint64_t count = number_by("SLURM_ARRAY_TASK_COUNT", RANKS_MAX, 0);
	uint64_t step = number_by("SLURM_ARRAY_TASK_STEP", RANKS_MAX, 1);
	uint64_t id = number_by("SLURM_ARRAY_TASK_ID", SLURM_STEPS_MAX, 0);
	uint64_t first = number_by("SLURM_ARRAY_TASK_MIN", SLURM_STEPS_MAX, 0);

	*out = (struct sweep_rank){0, 1};
	if (count == 0)
		return 0;
	if (step == 0 || id < first || (id - first) % step != 0 || (id - first) / step >= count)
		return fail(f, EXIT_USAGE,
			    "SLURM_ARRAY_TASK_ID=%" PRIu64 " is none of %" PRIu64 " from %" PRIu64
			    " in steps of %" PRIu64 ": --shard I/N says which part this is",
			    id, count, first, step);
	*out = (struct sweep_rank){(uint32_t)((id - first) / step), (uint32_t)count};
	return 0;
}

static int rank_here(const struct asked *a, struct sweep_rank *r, struct failure *f)
{
	const struct sweep_rank step = rank_in_step();
	struct sweep_rank array;

	*r = a->shard;
	if (r->ranks > 0 || rank_in_array(&array, f))
		return f->code;
	if ((uint64_t)array.ranks * step.ranks > RANKS_MAX)
		return fail(f, EXIT_USAGE,
			    "an array of %" PRIu32 " jobs of %" PRIu32 " ranks: %u are as many as may be", array.ranks,
			    step.ranks, RANKS_MAX);
	*r = (struct sweep_rank){array.rank * step.ranks + step.rank, array.ranks * step.ranks};
	return 0;
}

/* CPUs, shared with the other ranks of this machine. */
static uint32_t jobs_here(const struct asked *a)
{
	uint64_t ranks = number_by("OMPI_COMM_WORLD_LOCAL_SIZE", RANKS_MAX, 1);
	cpu_set_t set;
	uint32_t cpus;

	if (a->jobs > 0)
		return a->jobs;
	cpus = sched_getaffinity(0, sizeof(set), &set) == 0 ? (uint32_t)CPU_COUNT(&set) : 1;
	return ranks > 0 && cpus / ranks > 0 ? (uint32_t)(cpus / ranks) : 1;
}

/* ---- the run ---- */

struct work {
	struct sweep *s;
	int file;
	uint32_t all, done, live;
	uint64_t start_ns;
	bool terminal;
	int said[2]; /* a pipe: what points failed by, a struct failure each */
};

_Static_assert(sizeof(struct failure) <= PIPE_BUF, "it is whole in the pipe, or not there");

static void show(const struct work *w)
{
	uint64_t seconds = (loop_now() - w->start_ns) / 1000000000;

	if (!w->terminal)
		return;
	fprintf(stderr, "\r\033[K%" PRIu32 " of %" PRIu32 " points", w->done, w->all);
	if (w->done > 0 && w->done < w->all)
		fprintf(stderr, ", %" PRIu64 " s left", seconds * (w->all - w->done) / w->done);
	if (w->done == w->all)
		fputc('\n', stderr);
}

/* The first that failed says why; of what others say nothing is lost, for a disk that is full is so for all. */
static void take_failure(const struct work *w, int status, struct failure *f)
{
	struct failure its;

	if (f->code)
		return;
	if (WIFSIGNALED(status))
		(void)fail(f, EXIT_INTERNAL, "a point's process was ended by signal %d (%s)", WTERMSIG(status),
			   strsignal(WTERMSIG(status)));
	else if (read(w->said[0], &its, sizeof(its)) == (ssize_t)sizeof(its))
		*f = its;
	else
		(void)fail(f, EXIT_INTERNAL, "a point's process ended with code %d", WEXITSTATUS(status));
}

static void wait_one(struct work *w, struct failure *f)
{
	int status = 0;
	pid_t child;

	do
		child = wait(&status);
	while (child < 0 && errno == EINTR);
	w->live--;
	if (child > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0) {
		w->done++;
		show(w);
	} else {
		take_failure(w, status, f);
	}
}

/* What the pipe has no room for is not the first. */
static int say_failure(const struct work *w, const struct failure *its)
{
	const ssize_t wrote = write(w->said[1], its, sizeof(*its));

	(void)wrote;
	return its->code;
}

/* In a process of its own: what one point needs goes with it, and one that dies is one point. */
static int start(struct work *w, uint32_t point, struct failure *f)
{
	pid_t parent = getpid(), child = fork();

	if (child < 0)
		return fail(f, EXIT_HOST, "no process for a point: %s", strerror(errno));
	if (child == 0) {
		struct failure its = {0};

		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(EXIT_SIGNAL);
		_exit(sweep_play(w->s, point, w->file, &its) ? say_failure(w, &its) : EXIT_OK);
	}
	w->live++;
	return 0;
}

static int play_all(struct work *w, uint32_t jobs, struct sweep_rank rank, struct failure *f)
{
	const struct sweep *s = w->s;

	for (uint32_t i = 0; i < s->points; i++)
		w->all += !s->point[i].done && sweep_is_mine(s, i, rank);
	for (uint32_t i = 0; i < s->points && !f->code; i++) {
		if (s->point[i].done || !sweep_is_mine(s, i, rank))
			continue;
		while (w->live >= jobs)
			wait_one(w, f);
		if (!f->code)
			(void)start(w, i, f);
	}
	while (w->live > 0)
		wait_one(w, f);
	return f->code;
}

/* What is finished is looked at when nobody else can finish it any more. */
static int play(struct sweep *s, const struct asked *a, struct failure *f)
{
	struct sweep_rank rank;
	struct work w = {.s = s, .start_ns = loop_now(), .terminal = isatty(STDERR_FILENO)};

	if (rank_here(a, &rank, f))
		return f->code;
	w.file = sweep_append_to(s, rank, f);
	if (w.file < 0)
		return f->code;
	if (pipe2(w.said, O_CLOEXEC | O_NONBLOCK) < 0) {
		(void)fail(f, EXIT_HOST, "no pipe for what points say: %s", strerror(errno));
	} else {
		if (sweep_read_done(s, NULL, f) == 0)
			(void)play_all(&w, jobs_here(a), rank, f);
		close(w.said[0]);
		close(w.said[1]);
	}
	close(w.file);
	return f->code;
}

static int means(const struct sweep *s, const json_t *results, struct failure *f)
{
	struct compare c;

	if (compare_open(&c, s, results, f) == 0)
		compare_write(&c, stdout);
	compare_close(&c);
	return f->code ? f->code : cmd_written(f);
}

static int merge(struct sweep *s, const struct asked *a, json_t *results, struct failure *f)
{
	uint32_t missing = 0, stale = 0;

	for (uint32_t i = 0; i < s->points; i++) {
		missing += !s->point[i].done;
		stale += !s->point[i].done && s->point[i].stale;
	}
	if (stale > 0)
		return fail(f, EXIT_HOST,
			    "%" PRIu32 " of %" PRIu32 " points in %s are of other contents of the trace or the fleet "
			    "than these files have now, and %" PRIu32 " are missing: slat sweep %s plays them",
			    stale, s->points, s->path, missing - stale, a->file);
	if (missing > 0)
		return fail(f, EXIT_HOST,
			    "%" PRIu32 " of %" PRIu32 " points are missing in %s: slat sweep %s plays them", missing,
			    s->points, s->path, a->file);
	if (a->report) {
		draft_end_by_signal();
		if (report_sweep(s, results, a->report, a->word, a->words, f) != 0)
			return f->code;
	}
	if (a->means)
		return means(s, results, f);
	if (a->report)
		return 0;
	(void)json_dumpf(results, stdout, JSON_INDENT(1));
	puts("");
	return cmd_written(f);
}

static int spares(const struct sweep *s, const struct asked *a, struct failure *f)
{
	const struct file_use out[] = {{"FILE", a->file, false}, {"--out", a->folder, true}};

	if (file_uses_judge(out, 2, f))
		return f->code;
	return a->report ? sweep_spares(s, "--report", a->report, f) : 0;
}

int cmd_sweep(int argc, char **argv)
{
	struct failure f = {0};
	struct asked a = {0};
	struct sweep s = {0};
	json_t *results = NULL;
	int code = parse(argc, argv, &a, &f);

	if (code == 0 && a.help)
		return cmd_say(help);
	if (code == 0)
		code = sweep_open(&s, a.file, a.folder, &f);
	if (code == 0)
		code = sweep_look(&s, &f);
	if (code == 0)
		code = spares(&s, &a, &f);
	if (code == 0 && a.merge)
		code = sweep_read_done(&s, &results, &f);
	if (code == 0)
		(void)(a.merge ? merge(&s, &a, results, &f) : play(&s, &a, &f));
	json_decref(results);
	sweep_close(&s);
	return f.code ? cmd_refuse(&f) : EXIT_OK;
}
