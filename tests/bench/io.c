/* tests/bench/io.c: what a disk gives a guest: slat's, without the IOMMU, behind it,
 * and through bounce buffers, and QEMU microvm's, with the same guest (guests/io)
 * and the same image, in one run.
 *
 *   io SLAT GUEST OUT.json
 *
 * A round is one process: the guest's own fastest round counts, in cycles of the
 * CPU's counter, which host and guest share, a request. The image lies in the page
 * cache, so that the way to it is measured and no disk. Rows with a peer compare slat
 * and QEMU; QEMU takes part as it is, and with a thread of its own and
 * io_uring, which is as fast as it gets. In the others the floor is slat itself without the IOMMU, so that the
 * ratio is what that way costs: "mapped": everything once, as a driver with buffers of its own does; "strict":
 * map and unmap for each request; "bounce": a copy by the guest.
 * Exits: all that KVM handed to slat, start and end included, over the requests.
 *
 * What it cannot see: real disks; a guest kernel's own cost; more than one vCPU. */
#include <fcntl.h>
#include <math.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/bench/bench.h"

#define ROUNDS	     6u
#define WORDS_MAX    48u
#define TEXT_MAX     4096u
#define IMAGE_BYTES  (64u << 20)
#define GUEST_ROUNDS 5u
/* The last of microvm's transports, which the first device gets. */
#define QEMU_WINDOW " virtio_mmio.device=512@0xfeb02e00:12"

enum column { SLAT = BENCH_SLAT, FLOOR = BENCH_FLOOR, QEMU = BENCH_PEER, QEMU_THREAD };
static const char *const peers[] = {"QEMU", "QEMU, thread and io_uring", NULL};

struct io_case {
	const char *name, *size; /* words for the guest */
	unsigned requests;
	const char *way; /* slat's column; NULL: plain, beside QEMU */
	double exits;	 /* a request; the last round's */
};

static struct io_case cases[] = {
	{"4K at random, 32 under way", "bytes=4096 random depth=32", 4000, NULL, NAN},
	{"4K at random: mapped", "bytes=4096 random depth=32", 4000, "mapped", NAN},
	{"4K at random: strict", "bytes=4096 random depth=32", 1000, "strict", NAN},
	{"4K at random: bounce", "bytes=4096 random depth=32", 4000, "bounce", NAN},
	{"1M in a row, 4 under way", "bytes=1M depth=4", 200, NULL, NAN},
	{"1M in a row: mapped", "bytes=1M depth=4", 200, "mapped", NAN},
	{"1M in a row: strict", "bytes=1M depth=4", 200, "strict", NAN},
	{"1M in a row: bounce", "bytes=1M depth=4", 200, "bounce", NAN},
};

static struct {
	const char *slat, *guest;
	char image[32], report[32];
} run;

/* ---- one process ---- */

static void read_all(int from, char *text)
{
	size_t used = 0;
	ssize_t n;

	while (used < TEXT_MAX - 1 && (n = read(from, text + used, TEXT_MAX - 1 - used)) > 0)
		used += (size_t)n;
	text[used] = 0;
}

static void run_process(const char *const *command, char *text)
{
	char *const *argv = (char *const *)(uintptr_t)command; /* posix_spawnp() changes none of the words */
	posix_spawn_file_actions_t files;
	int ends[2], status;
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC))
		bench_refuse("the host refuses a pipe", NULL);
	posix_spawn_file_actions_init(&files);
	posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDWR, 0);
	posix_spawn_file_actions_adddup2(&files, ends[1], 1);
	posix_spawn_file_actions_adddup2(&files, 0, 2);
	if (posix_spawnp(&pid, argv[0], &files, NULL, argv, environ) != 0)
		bench_refuse("cannot run", argv[0]);
	posix_spawn_file_actions_destroy(&files);
	close(ends[1]);
	read_all(ends[0], text);
	close(ends[0]);
	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		bench_refuse("a guest did not end well, in", argv[0]);
}

/* What the guest says, in microseconds a request. */
static double figure(const char *text, const char *who)
{
	const char *line = strstr(text, "io: ");
	unsigned long long cycles;

	if (!line || sscanf(line, "io: %llu cycles a request", &cycles) != 1)
		bench_refuse(line ? line : "the guest gave no figure", who);
	return (double)cycles * bench_tick_ns() / 1000;
}

static double total_exits(void)
{
	json_t *report = json_load_file(run.report, 0, NULL), *value;
	const char *name;
	double sum = 0;

	json_object_foreach(json_object_get(report, "exits"), name, value) sum += (double)json_integer_value(value);
	json_decref(report);
	return sum;
}

static double slat_round(struct io_case *c, bool plain)
{
	char disk[64], words[128], text[TEXT_MAX];
	bool behind = !plain && c->way && strcmp(c->way, "bounce") != 0;
	const char *command[WORDS_MAX] = {run.slat,	 "run", "--memory",  "size=256M,prefault=on",
					  "--disk",	 disk,	"--report",  run.report,
					  "--cmdline",	 words, "--timeout", "300",
					  "--exit-zero", "0",	run.guest};
	double us;

	snprintf(disk, sizeof(disk), "path=%s", run.image);
	snprintf(words, sizeof(words), "%s requests=%u rounds=%u %s", c->size, c->requests, GUEST_ROUNDS,
		 plain || !c->way ? "" : c->way);
	for (unsigned i = 0; behind && i < WORDS_MAX; i++) {
		if (!command[i]) {
			command[i] = "--iommu";
			break;
		}
	}
	run_process(command, text);
	us = figure(text, "slat");
	if (!plain || !c->way)
		c->exits = total_exits() / (c->requests * GUEST_ROUNDS);
	return us;
}

static double qemu_round(const struct io_case *c, bool thread)
{
	char drive[128], words[192], text[TEXT_MAX];
	const char *const command[WORDS_MAX] = {
		"qemu-system-x86_64",
		"-M",
		"microvm,x-option-roms=off,pic=off,pit=off,rtc=off",
		"-accel",
		"kvm",
		"-m",
		"256",
		"-mem-prealloc",
		"-nodefaults",
		"-no-user-config",
		"-display",
		"none",
		"-no-reboot",
		"-serial",
		"stdio",
		"-device",
		"isa-debug-exit,iobase=0xf4,iosize=4",
		"-global",
		"virtio-mmio.force-legacy=false",
		"-kernel",
		run.guest,
		"-append",
		words,
		"-drive",
		drive,
		"-object",
		"iothread,id=t",
		"-device",
		thread ? "virtio-blk-device,drive=d,iothread=t" : "virtio-blk-device,drive=d",
	};

	snprintf(words, sizeof(words), "%s requests=%u rounds=%u" QEMU_WINDOW, c->size, c->requests, GUEST_ROUNDS);
	snprintf(drive, sizeof(drive), "file=%s,format=raw,id=d,if=none%s", run.image, thread ? ",aio=io_uring" : "");
	run_process(command, text);
	return figure(text, "QEMU");
}

static double one_round(void *self, unsigned column)
{
	struct io_case *c = self;

	switch (column) {
	case SLAT:
		return slat_round(c, false);
	case FLOOR:
		return c->way ? slat_round(c, true) : NAN;
	default:
		return c->way ? NAN : qemu_round(c, column == QEMU_THREAD);
	}
}

/* ---- all ---- */

static void make_image(void)
{
	static uint64_t block[1 << 13];
	int fd = mkstemp(run.image);

	if (fd < 0)
		bench_refuse("cannot write", run.image);
	for (unsigned done = 0; done < IMAGE_BYTES; done += sizeof(block)) {
		for (size_t i = 0; i < sizeof(block) / sizeof(block[0]); i++)
			block[i] = (done + i) * UINT64_C(0x9e3779b97f4a7c15);
		if (write(fd, block, sizeof(block)) != (ssize_t)sizeof(block))
			bench_refuse("cannot write", run.image);
	}
	close(fd);
}

int main(int argc, char **argv)
{
	enum { CASES = sizeof(cases) / sizeof(cases[0]) };
	struct bench_item items[CASES];
	struct bench b;
	int report;

	if (argc != 4)
		bench_refuse("io SLAT GUEST OUT.json", NULL);
	run.slat = argv[1];
	run.guest = argv[2];
	strcpy(run.image, "/tmp/io-image.XXXXXX");
	strcpy(run.report, "/tmp/io-report.XXXXXX");
	make_image();
	report = mkstemp(run.report);
	if (report < 0)
		bench_refuse("cannot write", run.report);
	close(report);
	bench_open(&b, peers);
	if (!getenv("ROUNDS"))
		b.rounds = ROUNDS;
	for (unsigned i = 0; i < CASES; i++)
		items[i] = (struct bench_item){cases[i].name, "us", one_round, &cases[i]};
	bench_cases(&b, items, CASES);
	for (unsigned i = 0; i < CASES; i++) {
		char name[64];
		double values[BENCH_COLUMNS_MAX] = {cases[i].exits, NAN, NAN, NAN};

		snprintf(name, sizeof(name), "%s: exits", cases[i].name);
		bench_fact(&b, name, "a request", values);
	}
	unlink(run.image);
	unlink(run.report);
	return bench_close(&b, argv[3]);
}
