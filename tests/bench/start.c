/* tests/bench/start.c: how long a whole run of the smallest guest takes, as a
 * process: the floor (floor.c), slat, and QEMU's microvm with every optional
 * device off, in turn, so that a slow moment of the machine hits all alike.
 *
 *   start FLOOR SLAT GUEST ROUNDS OUT.json
 *
 * What it cannot see: caches are warm, and QEMU loads its firmware from the page cache. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS_MAX 1000
#define WARM_UP	   2

enum who { FLOOR, SLAT, QEMU, WHO };
static const char *const names[WHO] = {"floor", "slat", "QEMU microvm"};

static double now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* All of them end with the guest's value 0: exit code 1. */
static double time_one(const char *const *command)
{
	char *const *argv = (char *const *)(uintptr_t)command; /* posix_spawn() changes none of the words */
	posix_spawn_file_actions_t quiet;
	double start = now_ms();
	int status;
	pid_t pid;

	posix_spawn_file_actions_init(&quiet);
	for (int fd = 0; fd < 3; fd++)
		posix_spawn_file_actions_addopen(&quiet, fd, "/dev/null", O_RDWR, 0);
	if (posix_spawnp(&pid, argv[0], &quiet, NULL, argv, environ) != 0 || waitpid(pid, &status, 0) != pid) {
		fprintf(stderr, "cannot run %s\n", argv[0]);
		exit(2);
	}
	posix_spawn_file_actions_destroy(&quiet);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 1) {
		fprintf(stderr, "%s ended with 0x%x instead of exit code 1\n", argv[0], status);
		exit(2);
	}
	return now_ms() - start;
}

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

struct figures {
	double minimum, median;
};

static json_t *bench_case(int mib, char **argv, int rounds)
{
	static double times[WHO][ROUNDS_MAX];
	struct figures f[WHO];
	char floor_mib[16], memory[32], qemu_mib[16], name[32];

	snprintf(floor_mib, sizeof(floor_mib), "%d", mib);
	snprintf(qemu_mib, sizeof(qemu_mib), "%d", mib);
	snprintf(memory, sizeof(memory), "size=%dM", mib);
	snprintf(name, sizeof(name), "start %d MiB", mib);
	const char *const commands[WHO][32] = {
		[FLOOR] = {argv[1], floor_mib, argv[3], NULL},
		[SLAT] = {argv[2], "run", "--memory", memory, argv[3], NULL},
		[QEMU] = {"qemu-system-x86_64", "-M",
			  "microvm,x-option-roms=off,pic=off,pit=off,rtc=off,isa-serial=off", "-accel", "kvm", "-m",
			  qemu_mib, "-kernel", argv[3], "-nodefaults", "-no-user-config", "-display", "none",
			  "-no-reboot", "-device", "isa-debug-exit,iobase=0xf4,iosize=4", NULL},
	};

	for (int round = -WARM_UP; round < rounds; round++) {
		for (int who = 0; who < WHO; who++) {
			double ms = time_one(commands[who]);

			if (round >= 0)
				times[who][round] = ms;
		}
		if (isatty(STDERR_FILENO))
			fprintf(stderr, "\r%s: round %d of %d ", name, round + 1, rounds);
	}
	if (isatty(STDERR_FILENO))
		fprintf(stderr, "\r%*s\r", 40, "");
	for (int who = 0; who < WHO; who++) {
		qsort(times[who], (size_t)rounds, sizeof(double), ascending);
		f[who] = (struct figures){times[who][0], times[who][rounds / 2]};
		printf("%-14s %-13s median %7.2f ms   min %7.2f ms\n", name, names[who], f[who].median, f[who].minimum);
	}
	printf("%-14s slat / floor %.2f    slat / %s %.3f\n", name, f[SLAT].median / f[FLOOR].median, names[QEMU],
	       f[SLAT].median / f[QEMU].median);
	return json_pack("{s:s, s:s, s:f, s:f, s:f, s:s, s:f, s:f, s:i, s:f, s:f, s:f}", "case", name, "unit",
			 "ms, median", "slat", f[SLAT].median, "floor", f[FLOOR].median, "floor_ratio",
			 f[SLAT].median / f[FLOOR].median, "best_peer", names[QEMU], "best_peer_value", f[QEMU].median,
			 "best_peer_ratio", f[SLAT].median / f[QEMU].median, "rounds", rounds, "slat_min",
			 f[SLAT].minimum, "floor_min", f[FLOOR].minimum, "best_peer_min", f[QEMU].minimum);
}

int main(int argc, char **argv)
{
	static const int sizes[] = {128, 4096};
	json_t *all = json_array();
	int rounds = argc == 6 ? atoi(argv[4]) : 0, bad;

	if (rounds < 1 || rounds > ROUNDS_MAX) {
		fprintf(stderr, "start FLOOR SLAT GUEST ROUNDS OUT.json\n");
		return 2;
	}
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		json_array_append_new(all, bench_case(sizes[i], argv, rounds));
	bad = json_dump_file(all, argv[5], JSON_INDENT(2) | JSON_REAL_PRECISION(4));
	json_decref(all);
	if (bad)
		fprintf(stderr, "cannot write %s\n", argv[5]);
	return bad ? 2 : 0;
}
