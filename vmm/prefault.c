/* vmm/prefault.c
 *
 * Touching memory is the kernel wiping pages, one CPU at some GiB/s: as many
 * threads as CPUs do it as fast as the memory is. It is not a pool of threads that
 * stays: they are made for one call and gone after it.
 *
 * Words. A piece is what one system call touches: [host, host + bytes) cut at the
 * multiples of piece_bytes. A worker is a thread; the caller is worker 0.
 *
 * Invariants.
 * P1. `next` only grows; the worker that moved it over a piece is the only one that touches the piece.
 * P2. After the first error, or a signal, nobody takes another piece.
 * P3. When the call returns, every worker has ended, and the caller runs on the CPUs that it ran on before.
 *
 * Pieces are taken, not dealt out: a worker whose memory comes slowly (a page that
 * must be reclaimed first, a CPU that is shared) does not keep the others waiting.
 * They are as long as it takes for the system call not to count (16 MiB is 4 ms)
 * and as short as it takes to answer a signal soon; with 1G pages a piece is one page,
 * since two workers in one would wait for each other.
 *
 * Memory policy is the mapping's and not the thread's, so pages land where they
 * are to whoever touches them. `cpus` is for speed: a page is wiped through the
 * caches and the bus of the CPU that does it.
 *
 * Failure. A thread that cannot be made is one that is missing: the caller alone gets it done. A CPU set that the
 * kernel does not take (the cpuset has changed) is the same.
 *
 * Cost. Two atomic additions a piece. Memory: the stacks of the threads.
 *
 * Rejected: one madvise() over everything, by which a signal waits for minutes; MAP_POPULATE, by one thread
 * and before a memory policy can be set; a share for each worker, which is as slow as the slowest. */
#include "vmm/prefault.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "mm/types.h"

#define PIECE_BYTES (UINT64_C(16) << 20)
#define SHOW_BYTES  (UINT64_C(256) << 20) /* less is there before anyone reads it */
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

struct crew {
	const struct prefault *work;
	int (*touch)(uint8_t *host, uint64_t bytes);
	uint64_t piece;
	uint64_t next; /* atomic: offset of the first piece that nobody took */
	uint64_t done; /* atomic: bytes */
	int error;     /* atomic: the first one */
	bool show;
};

int prefault_ask(uint8_t *host, uint64_t bytes)
{
	return madvise(host, bytes, MADV_POPULATE_WRITE) == 0 ? 0 : errno;
}

static int touch(uint8_t *host, uint64_t bytes)
{
	const int error = prefault_ask(host, bytes);

	if (error != EINVAL)
		return error;
	for (uint64_t at = 0; at < bytes; at += FRAME_BYTES) /* a kernel before 5.14 */
		__atomic_fetch_or(host + at, 0, __ATOMIC_RELAXED);
	return 0;
}

static int wipe(uint8_t *host, uint64_t bytes)
{
	memset(host, 0, bytes);
	return 0;
}

/* Signals that end a run are held back by now (vm_hold_signals), and this can take minutes. */
static bool end_is_pending(void)
{
	sigset_t set;

	return sigpending(&set) == 0 &&
	       (sigismember(&set, SIGINT) || sigismember(&set, SIGTERM) || sigismember(&set, SIGHUP));
}

/* To the next cut: cuts are multiples of the piece in the address space, as huge pages are. */
static bool take_piece(struct crew *c, uint64_t *from, uint64_t *bytes)
{
	uint64_t at = __atomic_load_n(&c->next, __ATOMIC_RELAXED), end;

	do {
		if (at == c->work->bytes || __atomic_load_n(&c->error, __ATOMIC_RELAXED))
			return false;
		end = at + c->piece - (((uintptr_t)c->work->host + at) & (c->piece - 1));
		if (end > c->work->bytes)
			end = c->work->bytes;
	} while (!__atomic_compare_exchange_n(&c->next, &at, end, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
	*from = at;
	*bytes = end - at;
	return true;
}

static void stop(struct crew *c, int error)
{
	int none = 0;

	__atomic_compare_exchange_n(&c->error, &none, error, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

static void *worker(void *self)
{
	struct crew *c = self;
	uint64_t from, bytes;

	while (take_piece(c, &from, &bytes)) {
		const int error = c->touch(c->work->host + from, bytes);

		if (error)
			stop(c, error);
		__atomic_fetch_add(&c->done, bytes, __ATOMIC_RELAXED);
	}
	return NULL;
}

/* As worker(), and looks for signals between two pieces. */
static void lead(struct crew *c)
{
	uint64_t from, bytes, shown = 0;

	while (take_piece(c, &from, &bytes)) {
		const int error = c->touch(c->work->host + from, bytes);
		const uint64_t done = __atomic_add_fetch(&c->done, bytes, __ATOMIC_RELAXED);

		if (error)
			stop(c, error);
		else if (end_is_pending())
			stop(c, PREFAULT_ENDED);
		if (c->show && done - shown >= SHOW_BYTES) {
			fprintf(stderr, "\rslat: touching memory: %" PRIu64 " of %" PRIu64 " MiB ", done >> 20,
				c->work->bytes >> 20);
			shown = done;
		}
	}
}

/* The kernel's masks are of words, lowest first, as these sets are. */
static bool own_cpus(struct ids *cpus)
{
	*cpus = (struct ids){0};
	return sched_getaffinity(0, sizeof(*cpus), (cpu_set_t *)cpus) == 0;
}

static bool move_to(const struct ids *cpus)
{
	return sched_setaffinity(0, sizeof(*cpus), (const cpu_set_t *)(const void *)cpus) == 0;
}

static unsigned workers_of(const struct crew *c)
{
	const uint64_t pieces = (c->work->bytes + c->piece - 1) / c->piece;
	uint64_t count = c->work->workers;
	struct ids own;

	if (!count && c->work->cpus)
		count = ids_count(c->work->cpus);
	else if (!count)
		count = own_cpus(&own) ? ids_count(&own) : 1;
	if (count > PREFAULT_WORKERS_MAX)
		count = PREFAULT_WORKERS_MAX;
	return (unsigned)(count < pieces ? count : pieces);
}

static int prefault(const struct prefault *p, int (*touch_piece)(uint8_t *host, uint64_t bytes))
{
	struct crew c = {.work = p, .touch = touch_piece, .piece = p->piece_bytes ? p->piece_bytes : PIECE_BYTES};
	const unsigned workers = workers_of(&c);
	pthread_t thread[PREFAULT_WORKERS_MAX];
	unsigned started = 0;
	struct ids before;
	/* What the threads are made with is the maker's. */
	const bool moved = p->cpus && own_cpus(&before) && move_to(p->cpus);

	c.show = p->show && p->bytes > SHOW_BYTES && isatty(STDERR_FILENO);
	while (started + 1 < workers && pthread_create(&thread[started], NULL, worker, &c) == 0)
		started++;
	lead(&c);
	while (started)
		pthread_join(thread[--started], NULL);
	if (moved)
		(void)move_to(&before);
	if (c.show)
		fprintf(stderr, "\r\033[K");
	return c.error;
}

int prefault_touch(const struct prefault *p)
{
	return prefault(p, touch);
}

int prefault_wipe(const struct prefault *p)
{
	return prefault(p, wipe);
}
