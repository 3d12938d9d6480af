/* tests/bench/prefault.c: how fast a guest's memory is touched: vmm/prefault.h beside
 * as many processes as there are CPUs, each of which does nothing but populate its share.
 *
 *   prefault OUT.json
 *
 * BYTES are mapped, as slat maps them, and touched; only that is timed, for slat from the call, when its threads are
 * yet to be made, to its end.
 *   "floor"       processes, each on a CPU of its own, which have their mapping and wait for the start, and then call
 *                 madvise(MADV_POPULATE_WRITE) once: the time until the last of them is done. They share no lock.
 *                 slat is to reach 90 % of their speed: 1.11 times their time.
 *   "one thread"  the same call once, over all.
 *
 * Under virtualisation a page that the outer host does not hold yet costs a fault there, too, which may be most of it.
 * So all memory is touched once before the first round; what comes back last is what the kernel gives first, and rounds
 * get the same pages again.
 *
 * What it cannot see: more nodes than one. A CPU that others use too costs the processes, whose shares are fixed,
 * more than slat: of all rounds the minimum counts. */
#include "vmm/prefault.h"

#include <math.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/bench/bench.h"
#include "vmm/backing.h"

#define BYTES	 (UINT64_C(1) << 30)
#define ALIGN	 (UINT64_C(2) << 20)
#define CPUS_MAX PREFAULT_WORKERS_MAX
#define WAIT_US	 100
#define MS	 1e6

enum column { SLAT = BENCH_SLAT, FLOOR = BENCH_FLOOR, ONE = BENCH_PEER };
static const char *const peers[] = {"one thread", NULL};

struct start {		    /* in memory that all processes see */
	uint32_t ready, go; /* atomic */
	double done_ns[CPUS_MAX];
};

static unsigned cpus(void)
{
	cpu_set_t may;
	unsigned n;

	if (sched_getaffinity(0, sizeof(may), &may))
		bench_refuse("the host does not say which CPUs there are", NULL);
	n = (unsigned)CPU_COUNT(&may);
	return n < CPUS_MAX ? n : CPUS_MAX;
}

static void open_memory(struct backing *b, const struct backing_config *like, uint64_t bytes)
{
	struct backing_config config = *like;
	struct failure f = {0};

	config.bytes = bytes;
	if (backing_open(b, &config, &f))
		bench_refuse(f.text, NULL);
}

static void populate(const struct backing *b)
{
	if (madvise(b->host, b->bytes, MADV_POPULATE_WRITE))
		bench_refuse("the kernel does not populate", NULL);
}

/* Where share i of n begins: all of them together are BYTES. */
static uint64_t cut(unsigned i, unsigned n)
{
	return BYTES / n * i / ALIGN * ALIGN + (i == n ? BYTES - BYTES / n * n / ALIGN * ALIGN : 0);
}

static _Noreturn void populate_share(const struct backing_config *like, unsigned i, unsigned n, struct start *s)
{
	struct backing b;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	bench_pin(i);
	open_memory(&b, like, cut(i + 1, n) - cut(i, n));
	__atomic_add_fetch(&s->ready, 1, __ATOMIC_RELEASE);
	while (!__atomic_load_n(&s->go, __ATOMIC_ACQUIRE))
		sched_yield();
	populate(&b);
	s->done_ns[i] = bench_ns();
	_exit(0);
}

/* From the start to the end of the last one. */
static double time_processes(const struct backing_config *like)
{
	const unsigned n = cpus();
	struct start *s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	double start, end = 0;
	int status;

	if (s == MAP_FAILED)
		bench_refuse("the host has no memory for this", NULL);
	for (unsigned i = 0; i < n; i++) {
		const pid_t child = fork();

		if (child < 0)
			bench_refuse("the host refuses a process", NULL);
		if (child == 0)
			populate_share(like, i, n, s);
	}
	while (__atomic_load_n(&s->ready, __ATOMIC_ACQUIRE) < n) {
		if (waitpid(-1, &status, WNOHANG))
			bench_refuse("a process failed", NULL);
		usleep(WAIT_US);
	}
	start = bench_ns();
	__atomic_store_n(&s->go, 1, __ATOMIC_RELEASE);
	for (unsigned i = 0; i < n; i++) {
		if (wait(&status) < 0 || status)
			bench_refuse("a process failed", NULL);
	}
	for (unsigned i = 0; i < n; i++)
		end = fmax(end, s->done_ns[i]);
	munmap(s, sizeof(*s));
	return end - start;
}

static double time_slat(const struct backing_config *like, bool alone)
{
	struct prefault work = {0};
	struct backing b;
	double start;

	open_memory(&b, like, BYTES);
	work.host = b.host;
	work.bytes = b.bytes;
	start = bench_ns();
	if (alone)
		populate(&b);
	else if (prefault_touch(&work))
		bench_refuse("the host could not provide all of it", NULL);
	start = bench_ns() - start;
	backing_close(&b);
	return start;
}

static double round_of_bytes(void *self, unsigned column)
{
	const struct backing_config *like = self;

	return (column == FLOOR ? time_processes(like) : time_slat(like, column == ONE)) / MS;
}

int main(int argc, char **argv)
{
	struct backing_config plain = {0}, thp = {.thp = true}, shared = {.shared = true};
	const struct bench_item items[] = {
		{"1 GiB, 4K pages", "ms", round_of_bytes, &plain},
		{"1 GiB, transparent huge pages", "ms", round_of_bytes, &thp},
		{"1 GiB, shared, 4K pages", "ms", round_of_bytes, &shared},
	};
	struct bench b;

	if (argc != 2)
		bench_refuse("prefault OUT.json", NULL);
	bench_open(&b, peers);
	printf("floor (at most 1.111: 90 %% of the speed): a process for each CPU, which populates its share\n");
	bench_cases(&b, items, sizeof(items) / sizeof(items[0]));
	return bench_close(&b, argv[1]);
}
