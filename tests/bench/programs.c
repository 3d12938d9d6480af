/* tests/bench/programs.c: whole programs under one heap or another, by LD_PRELOAD:
 * how much CPU time each takes, kernel and all its processes included, and how much
 * memory it had at once at most (its largest process). CPU time, as others use the machine, too. Floor: none. Peers:
 * glibc's own heap, jemalloc, mimalloc, tcmalloc.
 *
 *   programs LIBSLATMALLOC OUT.json
 *
 * A program is a command line that is run without a shell, in a directory that is made before;
 * a server has a client that is not measured. Its output is
 * another test's business (tests/preload.sh). glibc's heap is preloaded too (as libc.so.6):
 * redis-server is linked to jemalloc, and would have that.
 *
 * The last rows are slat over the median of the four peers, as a geometric mean over
 * all programs, and the time of modes over slat's own, least over least of as many
 * rounds.
 *
 * What it cannot see: the memory of several processes at once, and what a run of hours would leave behind. */
#include <fcntl.h>
#include <math.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/bench/bench.h"

#define LIBRARIES  "/usr/lib/x86_64-linux-gnu/"
#define WORDS_MAX  32u
#define PEERS	   4u
#define COLUMNS	   (BENCH_PEER + PEERS)
#define WAIT_TRIES 500u

static const char *const peers[] = {"glibc", "jemalloc", "mimalloc", "tcmalloc", NULL};
static const char *libraries[COLUMNS] = {NULL,
					 NULL,
					 LIBRARIES "libc.so.6",
					 LIBRARIES "libjemalloc.so.2",
					 LIBRARIES "libmimalloc.so.2",
					 LIBRARIES "libtcmalloc_minimal.so.4"};

struct program {
	const char *name, *command;
	const char *client; /* of a server: what is measured; then `command` runs beside it */
	const char *ready;  /* says 0 when the server serves */
	const char *stop;
};

static const struct program programs[] = {
	{.name = "python3: own work", .command = "/usr/bin/python3 -S work.py"},
	{.name = "python3: all by malloc", .command = "env PYTHONMALLOC=malloc /usr/bin/python3 -S work.py"},
	{.name = "gcc -O2, a file of 1,600 lines", .command = "gcc -w -O2 -c unit.c -o unit.o"},
	{.name = "sqlite3: 200,000 rows, two indices", .command = "sqlite3 :memory: -init work.sql .quit"},
	{.name = "redis-server: 300,000 writes",
	 .command = "./redis-server --port 0 --unixsocket socket --save --appendonly no",
	 .client = "redis-benchmark -s socket -q -n 100000 -r 50000 -P 16 -d 100 -t set,hset,zadd",
	 .ready = "redis-cli -s socket ping",
	 .stop = "redis-cli -s socket shutdown nosave"},
	{.name = "git log -p, 600 commits", .command = "git -C repository log -p"},
	{.name = "git status", .command = "git -C repository status"},
	{.name = "xz -6, 3 MB", .command = "xz -6 -T1 -k -c text"},
};
#define PROGRAMS 8u
_Static_assert(sizeof(programs) == PROGRAMS * sizeof(programs[0]), "as many as there are");

struct run {
	double ms, kib;
};

static void words_of(char *copy, char **argv)
{
	unsigned n = 0;

	for (char *word = strtok(copy, " "); word && n + 1 < WORDS_MAX; word = strtok(NULL, " "))
		argv[n++] = word;
	argv[n] = NULL;
}

/* The environment with two lines more; the child has a copy. */
static char **environment(const char *library, const char *mode)
{
	static char *lines[512], preload[512], modes[64];
	unsigned n = 0;

	for (char **line = environ; *line && n < 500; line++)
		lines[n++] = *line;
	if (library) {
		snprintf(preload, sizeof(preload), "LD_PRELOAD=%s", library);
		lines[n++] = preload;
	}
	snprintf(modes, sizeof(modes), "SLAT_MALLOC=%s", mode);
	lines[n++] = modes;
	lines[n] = NULL;
	return lines;
}

static pid_t start(const char *command, const char *library, const char *mode)
{
	posix_spawn_file_actions_t quiet;
	char copy[512], *argv[WORDS_MAX];
	pid_t pid;

	snprintf(copy, sizeof(copy), "%s", command);
	words_of(copy, argv);
	posix_spawn_file_actions_init(&quiet);
	for (int fd = 0; fd < 3; fd++)
		posix_spawn_file_actions_addopen(&quiet, fd, "/dev/null", O_RDWR, 0);
	if (posix_spawnp(&pid, argv[0] ? argv[0] : "", &quiet, NULL, argv, environment(library, mode)) != 0)
		bench_refuse("cannot run", command);
	posix_spawn_file_actions_destroy(&quiet);
	return pid;
}

static double ms_of(struct timeval t)
{
	return (double)t.tv_sec * 1e3 + (double)t.tv_usec / 1e3;
}

static bool finish(pid_t pid, struct run *run)
{
	struct rusage used;
	int status;

	if (wait4(pid, &status, 0, &used) != pid)
		return false;
	if (run)
		*run = (struct run){ms_of(used.ru_utime) + ms_of(used.ru_stime), (double)used.ru_maxrss};
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static struct run measure_server(const struct program *p, const char *library, const char *mode)
{
	pid_t server = start(p->command, library, mode);
	struct run run = {0};

	for (unsigned tries = 0; !finish(start(p->ready, NULL, ""), NULL); tries++) {
		if (tries == WAIT_TRIES)
			bench_refuse("does not serve", p->command);
		usleep(10000);
	}
	if (!finish(start(p->client, NULL, ""), NULL))
		bench_refuse("ended badly", p->client);
	if (!finish(start(p->stop, NULL, ""), NULL) || !finish(server, &run))
		bench_refuse("ended badly", p->command);
	return run;
}

static struct run measure(const struct program *p, const char *library, const char *mode)
{
	struct run run = {0};

	if (p->client)
		return measure_server(p, library, mode);
	if (!finish(start(p->command, library, mode), &run))
		bench_refuse("ended badly", p->command);
	return run;
}

/* ---- what they work on ---- */

static const char work_py[] = "import json, re, random\n"
			      "random.seed(7)\n"
			      "rows = [{'id': i, 'name': 'n%d' % (i * 7919 % 10007), 'tags': ['t%d' % (i % k) for k in "
			      "(3, 5, 7)], 'text': 'x' * random.randrange(2000)} for i in range(12000)]\n"
			      "text = json.dumps(rows)\n"
			      "again = json.loads(text)\n"
			      "assert again == rows\n"
			      "words = re.findall(r'[nt]\\d+', text)\n"
			      "count = {}\n"
			      "for word in words: count[word] = count.get(word, 0) + 1\n"
			      "parts = sorted(text.split(','))\n"
			      "for n in range(20): buffers = [bytearray(random.randrange(100000)) for i in range(40)]\n"
			      "print(len(parts), len(count), sum(map(len, buffers)))\n";

static const char work_sql[] =
	"create table t(id integer primary key, a text, b integer, c blob);\n"
	"with recursive n(i) as (select 1 union all select i + 1 from n where i < 200000)\n"
	"insert into t select i, 'name ' || (i * 7919 % 100003), i % 1000, zeroblob(i % 50) from n;\n"
	"create index ta on t(a); create index tb on t(b);\n"
	"select count(distinct a), sum(length(c)) from t;\n"
	"select b, count(*), max(a), group_concat(substr(a, 1, 8)) from t group by b having b % 100 = 7;\n"
	"delete from t where id % 3 = 0;\n"
	"select count(*) from t join t u on u.b = t.b and u.id = t.id + 1000;\n";

static void put(const char *name, const char *text)
{
	FILE *file = fopen(name, "w");

	if (!file || fputs(text, file) < 0 || fclose(file) != 0)
		bench_refuse("cannot write", name);
}

/* A program that a compiler has to think about. */
static void put_unit(void)
{
	FILE *file = fopen("unit.c", "w");

	if (!file)
		bench_refuse("cannot write", "unit.c");
	for (unsigned i = 0; i < 160; i++)
		fprintf(file,
			"struct s%u { int a[%u]; struct s%u *next; };\n"
			"int f%u(struct s%u *p, int n)\n{\n\tint sum = %u;\n"
			"\tfor (int i = 0; i < n; i++) {\n\t\tswitch (p->a[i %% %u] & 7) {\n"
			"\t\tcase 0: sum += p->a[(i + 1) %% %u]; break;\n\t\tcase 1: sum ^= i * %u; break;\n"
			"\t\tdefault: sum = sum * 31 + p->a[0]; p = p->next;\n\t\t}\n\t}\n\treturn sum;\n}\n",
			i, i % 13 + 3, i, i, i, i, i % 13 + 3, i % 13 + 3, i);
	if (fclose(file) != 0)
		bench_refuse("cannot write", "unit.c");
}

/* Commits that change some of 60 files each, as git's own import reads them. */
static void put_history(void)
{
	FILE *file = fopen("history", "w");

	if (!file)
		bench_refuse("cannot write", "history");
	for (unsigned commit = 0; commit < 600; commit++) {
		fprintf(file, "commit refs/heads/main\nmark :%u\ncommitter A <a@b> %u +0000\ndata <<E\nn %u\nE\n",
			commit + 1, 1700000000 + commit, commit);
		for (unsigned i = 0; i < 5; i++) {
			fprintf(file, "M 100644 inline d%u/f%u.txt\ndata <<E\n", (commit + i) % 6,
				(commit * 7 + i) % 60);
			for (unsigned line = 0; line < 150; line++)
				fprintf(file, "line %u of %u: %u\n", line, i, line % 10 == commit % 10 ? commit : line);
			fprintf(file, "E\n");
		}
	}
	if (fclose(file) != 0)
		bench_refuse("cannot write", "history");
}

static void put_text(void)
{
	FILE *file = fopen("text", "w");
	uint64_t seed = 1;

	if (!file)
		bench_refuse("cannot write", "text");
	for (unsigned i = 0; i < 400000; i++) {
		seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407;
		fprintf(file, "%c%u%c", (int)('a' + (seed >> 60)), (unsigned)(seed >> 40) % 5000, i % 9 ? ' ' : '\n');
	}
	if (fclose(file) != 0)
		bench_refuse("cannot write", "text");
}

static void prepare(void)
{
	static char directory[] = "/tmp/slat-programs-XXXXXX";

	if (!mkdtemp(directory) || chdir(directory) != 0)
		bench_refuse("cannot make a directory", directory);
	put("work.py", work_py);
	put("work.sql", work_sql);
	put_unit();
	put_history();
	put_text();
	if (system("git init -q -b main repository && git -C repository fast-import --quiet < history && "
		   "git -C repository checkout -q main && "
		   "ln -s \"$(command -v redis-server || command -v redis-check-rdb)\" redis-server") != 0)
		bench_refuse("git or redis-server are not there", NULL);
}

static void clean_up(void)
{
	char here[256];

	if (getcwd(here, sizeof(here)) && strstr(here, "/slat-programs-") && chdir("/") == 0) {
		char command[300];

		snprintf(command, sizeof(command), "rm -rf '%s'", here);
		if (system(command) != 0)
			fprintf(stderr, "bench: %s stays\n", here);
	}
}

/* ---- rows ---- */

static double least(const double *samples, unsigned n)
{
	double best = samples[0];

	for (unsigned i = 1; i < n; i++)
		best = samples[i] < best ? samples[i] : best;
	return best;
}

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Of slat over the median of the peers, by each one's least. */
static double over_median(double samples[][BENCH_ROUNDS_MAX], unsigned rounds)
{
	double of_peers[PEERS];

	for (unsigned i = 0; i < PEERS; i++)
		of_peers[i] = least(samples[BENCH_PEER + i], rounds);
	qsort(of_peers, PEERS, sizeof(double), ascending);
	return least(samples[BENCH_SLAT], rounds) / ((of_peers[PEERS / 2 - 1] + of_peers[PEERS / 2]) / 2);
}

static double ms[PROGRAMS][COLUMNS][BENCH_ROUNDS_MAX], kib[PROGRAMS][COLUMNS][BENCH_ROUNDS_MAX];

enum { CHECKED, LEAK, MODES };
static const char *const modes[MODES] = {"checked", "leak=/dev/null,sample=1048576"};
static double mode_ms[PROGRAMS][MODES][BENCH_ROUNDS_MAX];

static void measure_all(unsigned rounds)
{
	for (unsigned r = 0; r < rounds; r++) {
		for (unsigned p = 0; p < PROGRAMS; p++) {
			for (unsigned i = 0; i < COLUMNS; i++) {
				unsigned column = (i + r) % COLUMNS;
				struct run run = {NAN, NAN};

				if (column != BENCH_FLOOR)
					run = measure(&programs[p], libraries[column], "");
				ms[p][column][r] = run.ms;
				kib[p][column][r] = run.kib;
			}
			for (unsigned i = 0; i < MODES; i++)
				mode_ms[p][i][r] = measure(&programs[p], libraries[BENCH_SLAT], modes[i]).ms;
		}
	}
}

static double mode_over_plain(unsigned p, unsigned rounds, unsigned mode)
{
	return least(mode_ms[p][mode], rounds) / least(ms[p][BENCH_SLAT], rounds);
}

static void fact(struct bench *b, const char *name, double value)
{
	double values[COLUMNS];

	for (unsigned i = 0; i < COLUMNS; i++)
		values[i] = i == BENCH_SLAT ? value : NAN;
	bench_fact(b, name, "ratio", values);
}

int main(int argc, char **argv)
{
	double of_time = 0, of_memory = 0, of_checked = 0, most_checked = 0, of_leak = 0;
	char *library = argc == 3 ? realpath(argv[1], NULL) : NULL, out[4096], name[96];
	struct bench b;

	if (!library || !getcwd(out, sizeof(out) / 2))
		bench_refuse("usage: programs LIBSLATMALLOC OUT.json", NULL);
	snprintf(out + strlen(out), sizeof(out) / 2, "/%s", argv[2]);
	libraries[BENCH_SLAT] = library;
	prepare();
	bench_open(&b, peers);
	measure_all(b.rounds);
	for (unsigned p = 0; p < PROGRAMS; p++) {
		double checked = mode_over_plain(p, b.rounds, CHECKED);

		of_time += log(over_median(ms[p], b.rounds)) / PROGRAMS;
		of_memory += log(over_median(kib[p], b.rounds)) / PROGRAMS;
		of_checked += log(checked) / PROGRAMS;
		of_leak += log(mode_over_plain(p, b.rounds, LEAK)) / PROGRAMS;
		most_checked = checked > most_checked ? checked : most_checked;
		bench_row(&b, programs[p].name, "ms", ms[p]);
		snprintf(name, sizeof(name), "%s: at most", programs[p].name);
		bench_row(&b, name, "KiB", kib[p]);
	}
	fact(&b, "time over the peers' median, geometric mean", exp(of_time));
	fact(&b, "memory over the peers' median, geometric mean", exp(of_memory));
	fact(&b, "checked mode's time over plain, geometric mean", exp(of_checked));
	fact(&b, "checked mode's time over plain, largest", most_checked);
	fact(&b, "leak's time over plain, a sample in 1 MiB, geometric mean", exp(of_leak));
	clean_up();
	free(library);
	return bench_close(&b, out);
}
