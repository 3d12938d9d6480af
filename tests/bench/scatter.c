/* tests/bench/scatter.c: what it costs a guest that its RAM lies in pieces: slat's
 * column is RAM scattered in extents of one size (contiguous=scatter), the floor
 * is one block (contiguous=require), in the same run.
 *
 *   scatter SLAT EXIT CHASE host|rig OUT.json
 *
 * Start: the whole process of the smallest guest, from fork to exit. Loads: the
 * guest chase, once for each round and column, prefaulted, with huge pages where
 * the extents allow; it prints the least of its own rounds. What the table and
 * the memslots are, slat's report says.
 *
 * Noise. Columns take turns, starts within a round, too, and a round goes over all
 * cases before the next begins, so that a slow minute does not hit one case
 * alone; which column is first alternates. The minimum counts, the median is
 * noted beside it. ROUNDS (6; 3 in the rig) says how many.
 *
 * Sizes. KVM has 32764 memslots and an extent takes one, so that RAM in 4K cannot
 * be larger than 127 MiB; 64K are as small as a gigabyte can have. Leaves of 1G
 * need reserved pages: where the host has two free, the guest in 1G gets them, and
 * else transparent ones of 2M.
 *
 * What it cannot see: what a host's own host does below (a nested one has tables
 * there, too), and the caches' own share in a load; that is in both columns. */
#include <fcntl.h>
#include <math.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/bench/bench.h"

#define ROUNDS	    6u
#define ROUNDS_RIG  3u
#define STARTS	    3u	  /* in a round, the fastest counts; but one is enough */
#define STARTS_LONG 100.0 /* of those that take so many ms */
#define FIGURES_MAX 12u
#define NAME_MAX    96
#define LINE	    64u
#define SMALL	    (1u << 20) /* chase's smallest set */
#define OUTPUT_MAX  8192u
#define HUGE_1G	    "/sys/kernel/mm/hugepages/hugepages-1048576kB/free_hugepages"

enum column { SCATTERED = BENCH_SLAT, BLOCK = BENCH_FLOOR, COLUMNS };
static const char *const peers[] = {NULL};

struct figure {
	char name[NAME_MAX], unit[16];
	double samples[COLUMNS][BENCH_ROUNDS_MAX];
};

struct scatter_case {
	const char *ram, *extent;
	const char *guest; /* chase's command line */
	bool huge_1g;	   /* if the host has them */
	double starts[COLUMNS][BENCH_ROUNDS_MAX];
	struct figure figure[FIGURES_MAX];
	unsigned figures;
	json_t *report[COLUMNS];
};

static struct scatter_case on_host[] = {
	{.ram = "96M", .extent = "4K", .guest = "bytes=64M"},
	{.ram = "1G", .extent = "64K", .guest = "bytes=128M"},
	{.ram = "1G", .extent = "2M", .guest = "bytes=128M"},
	{.ram = "2G", .extent = "1G", .guest = "bytes=128M", .huge_1g = true},
};

static struct scatter_case in_rig[] = {
	{.ram = "16M", .extent = "4K", .guest = "bytes=8M loads=16K"},
	{.ram = "256M", .extent = "2M", .guest = "bytes=64M loads=16K"},
	{.ram = "2G", .extent = "1G", .guest = "bytes=64M loads=16K", .huge_1g = true},
};

static struct {
	const char *slat, *exit, *chase, *suffix;
	char report[32];
} run;

/* ---- processes ---- */

static pid_t start(const char *const *command, int out)
{
	char *const *argv = (char *const *)(uintptr_t)command; /* posix_spawn() changes none of the words */
	posix_spawn_file_actions_t files;
	pid_t pid;

	posix_spawn_file_actions_init(&files);
	posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDWR, 0);
	posix_spawn_file_actions_adddup2(&files, out >= 0 ? out : 0, 1);
	posix_spawn_file_actions_adddup2(&files, 0, 2);
	if (posix_spawn(&pid, argv[0], &files, NULL, argv, environ) != 0)
		bench_refuse("cannot run", argv[0]);
	posix_spawn_file_actions_destroy(&files);
	return pid;
}

static void must_end_well(pid_t pid, const char *memory)
{
	int status;

	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
		bench_refuse("a guest did not end well, with --memory", memory);
}

static double time_start(const char *memory)
{
	const char *const command[] = {run.slat, "run", "--memory", memory, "--exit-zero", "0", run.exit, NULL};
	double begun = bench_ns();

	must_end_well(start(command, -1), memory);
	return (bench_ns() - begun) / 1e6;
}

static void read_all(int from, char *text)
{
	size_t used = 0;
	ssize_t n;

	while ((n = read(from, text + used, OUTPUT_MAX - 1 - used)) > 0)
		used += (size_t)n;
	text[used] = 0;
}

/* What chase prints on that memory; its report is in run.report. */
static void run_chase(const char *memory, const char *cmdline, char *text)
{
	const char *const command[] = {run.slat,      "run",	  "--memory", memory,	   "--cmdline",
				       cmdline,	      "--report", run.report, "--timeout", "300",
				       "--exit-zero", "0",	  run.chase,  NULL};
	int ends[2];
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC))
		bench_refuse("the host refuses a pipe", NULL);
	pid = start(command, ends[1]);
	close(ends[1]);
	read_all(ends[0], text);
	close(ends[0]);
	must_end_well(pid, memory);
}

/* ---- one round of one case ---- */

static bool has_1g_pages(void)
{
	FILE *file = fopen(HUGE_1G, "re");
	int pages = 0;

	if (!file)
		return false;
	if (fscanf(file, "%d", &pages) != 1)
		pages = 0;
	(void)fclose(file);
	return pages >= 2;
}

static void memory_option(const struct scatter_case *c, enum column column, const char *backing, char *out)
{
	int n = snprintf(out, NAME_MAX, "size=%s%s", c->ram, backing);

	if (column == SCATTERED)
		snprintf(out + n, NAME_MAX - (size_t)n, ",contiguous=scatter,extent_size=%s", c->extent);
}

/* The name of a line's figure: what was done, over how much. False iff it has none. Of the set that fits into caches
 * and TLB the lines are enough. */
static bool figure_read(const char *line, struct figure *f, double *value)
{
	unsigned long long bytes;
	unsigned stride;

	if (sscanf(line, "chase: %lf ns a load (over %llu bytes, stride %u)", value, &bytes, &stride) == 3) {
		snprintf(f->name, sizeof(f->name), "load, a %s of %llu MiB", stride == LINE ? "line" : "page",
			 bytes >> 20);
		strcpy(f->unit, "ns");
		return stride == LINE || bytes > SMALL;
	}
	if (sscanf(line, "chase: %lf ms a GiB in a row (over %llu bytes)", value, &bytes) != 2)
		return false;
	snprintf(f->name, sizeof(f->name), "in a row, %llu MiB", bytes >> 20);
	strcpy(f->unit, "ms/GiB");
	return bytes > SMALL;
}

static void take_figures(struct scatter_case *c, enum column column, unsigned round, char *text)
{
	struct figure f = {0};
	unsigned n = 0;
	double value;
	char *rest;

	for (char *line = strtok_r(text, "\r\n", &rest); line; line = strtok_r(NULL, "\r\n", &rest)) {
		if (!figure_read(line, &f, &value))
			continue;
		if (n == FIGURES_MAX)
			bench_refuse("chase prints more figures than there is room for", NULL);
		if (n == c->figures)
			c->figure[c->figures++] = f;
		c->figure[n++].samples[column][round] = value;
	}
	if (n == 0 || n != c->figures)
		bench_refuse("chase did not print all its figures", c->ram);
}

static void chase_round(struct scatter_case *c, enum column column, unsigned round)
{
	char memory[NAME_MAX], text[OUTPUT_MAX];

	memory_option(c, column, c->huge_1g ? ",hugepages=on,hugepage_size=1G" : ",thp=on,prefault=on", memory);
	run_chase(memory, c->guest, text);
	take_figures(c, column, round, text);
	json_decref(c->report[column]);
	c->report[column] = json_load_file(run.report, 0, NULL);
	if (!c->report[column])
		bench_refuse("slat's report cannot be read", run.report);
}

static void start_round(struct scatter_case *c, unsigned round)
{
	char memory[NAME_MAX];

	for (unsigned i = 0; i < STARTS * COLUMNS; i++) {
		enum column column = (i + round) % COLUMNS;
		double *least = &c->starts[column][round], ms;

		if (*least > STARTS_LONG)
			continue;
		memory_option(c, column, "", memory);
		ms = time_start(memory);
		if (*least == 0 || ms < *least)
			*least = ms;
	}
}

static void case_round(struct scatter_case *c, unsigned round)
{
	start_round(c, round);
	for (unsigned i = 0; i < COLUMNS; i++)
		chase_round(c, (i + round) % COLUMNS, round);
}

/* ---- rows ---- */

static const char *row_name(const struct scatter_case *c, const char *what)
{
	static char name[2 * NAME_MAX];

	snprintf(name, sizeof(name), "%s in %s: %s%s", c->ram, c->extent, what, run.suffix);
	return name;
}

static double leaves(const struct scatter_case *c, enum column column, const char *size)
{
	const json_t *all = json_object_get(json_object_get(c->report[column], "table"), "leaves");

	return (double)json_integer_value(json_object_get(all, size));
}

static void add_facts(struct bench *b, const struct scatter_case *c)
{
	static const char *const sizes[] = {"4k", "2m", "1g"}, *const names[] = {"leaves of 4K", "leaves of 2M",
										 "leaves of 1G"};
	double values[COLUMNS];

	for (enum column i = 0; i < COLUMNS; i++)
		values[i] =
			(double)json_integer_value(json_object_get(json_object_get(c->report[i], "table"), "bytes"));
	bench_fact(b, row_name(c, "table"), "bytes", values);
	for (enum column i = 0; i < COLUMNS; i++)
		values[i] = (double)json_array_size(json_object_get(c->report[i], "memslots"));
	bench_fact(b, row_name(c, "memslots"), "", values);
	for (unsigned s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
		for (enum column i = 0; i < COLUMNS; i++)
			values[i] = leaves(c, i, sizes[s]);
		if (values[SCATTERED] + values[BLOCK] > 0)
			bench_fact(b, row_name(c, names[s]), "", values);
	}
}

static void add_case(struct bench *b, struct scatter_case *c)
{
	bench_row(b, row_name(c, "start"), "ms", c->starts);
	add_facts(b, c);
	for (unsigned i = 0; i < c->figures; i++)
		bench_row(b, row_name(c, c->figure[i].name), c->figure[i].unit, c->figure[i].samples);
	for (enum column i = 0; i < COLUMNS; i++)
		json_decref(c->report[i]);
}

static void measure(struct bench *b, struct scatter_case *cases, unsigned n)
{
	bool huge = has_1g_pages();

	for (unsigned i = 0; i < n; i++)
		cases[i].huge_1g &= huge;
	for (unsigned round = 0; round < b->rounds; round++) {
		for (unsigned i = 0; i < n; i++)
			case_round(&cases[i], round);
		if (!*run.suffix && isatty(STDERR_FILENO)) /* the rig's is no person's terminal */
			fprintf(stderr, "\rscattered: round %u of %u \r", round + 1, b->rounds);
	}
	for (unsigned i = 0; i < n; i++)
		add_case(b, &cases[i]);
}

int main(int argc, char **argv)
{
	bool rig = argc == 6 && strcmp(argv[4], "rig") == 0;
	struct bench b;
	int report;

	if (argc != 6)
		bench_refuse("scatter SLAT EXIT CHASE host|rig OUT.json", NULL);
	run.slat = argv[1];
	run.exit = argv[2];
	run.chase = argv[3];
	run.suffix = rig ? " (rig)" : "";
	strcpy(run.report, "/tmp/scatter.XXXXXX");
	report = mkstemp(run.report);
	if (report < 0)
		bench_refuse("cannot write", run.report);
	close(report);
	bench_open(&b, peers);
	if (!getenv("ROUNDS"))
		b.rounds = rig ? ROUNDS_RIG : ROUNDS;
	if (rig)
		measure(&b, in_rig, sizeof(in_rig) / sizeof(in_rig[0]));
	else
		measure(&b, on_host, sizeof(on_host) / sizeof(on_host[0]));
	unlink(run.report);
	return bench_close(&b, argv[5]);
}
