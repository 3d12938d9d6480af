/* tests/bench/heap.c: what the classic heaps and the pools cost, beside a free list
 * inside the objects (the floor), mm/slab.h, four malloc()s and DPDK's mempool.
 *
 *   heap OUT.json
 *   heap --serve NAME    as this program starts itself
 *
 * Objects of one size: the cases of guests/bench/cases.h at 64 bytes, each
 * allocator in a process of its own, asked in turn, as objects.c does (whose processes
 * are asked for all that is not in this table). A row is one of slat's kinds in the
 * column `slat`; floor and peers are the same figures in all rows of a case, since
 * all were asked in the same rounds. A heap is called by heap.h's pointers and told
 * its size on free; the pool is inlined, as slab and mempool are. What a kind cannot
 * do in bounded time, or at all, has no row: the linked list with 100,000 holes, an
 * arena that never gets empty.
 *
 * Flaws: every heap has 2 MiB, and the same stream: a phase of 16 to 271 bytes, one
 * of 1 to 16 KiB, and so on, never more than 1 MiB live: how many were refused, and
 * how many bytes were held for each one asked, at the worst end of a phase.
 *
 * Worst case: a million operations, each timed, the same stream several times on the
 * same heap; of each operation the least time counts, since no interruption comes
 * at the same one each time; of those the longest is reported. Work is counted by
 * the heap itself, and the column `floor` has the stated bound.
 *
 * What it cannot see: how these heaps do in whole programs (programs.c does). */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/bench/heap.h"

#define SIZE_CASES CASES_OBJECTS /* of the first size: their numbers come first */

struct process {
	const char *name, *program, *preload; /* program NULL: this one */
};

/* As the columns: floor, peers; then slat's own. */
static const struct process others[] = {
	{"floor", "objects", NULL},
	{"glibc", "objects", NULL},
	{"jemalloc", "objects", "libjemalloc.so.2"},
	{"mimalloc", "objects", "libmimalloc.so.2"},
	{"tcmalloc", "objects", "libtcmalloc_minimal.so.4"},
	{"DPDK mempool", "objects_dpdk", NULL},
};

#define OTHERS	  (sizeof(others) / sizeof(others[0]))
#define OWN_SLAB  HEAP_KINDS /* after the kinds: the slab, which objects has */
#define OWN	  (HEAP_KINDS + 1u)
#define ALL	  (OTHERS + OWN)
#define ONE(case) (1u << (case))

_Static_assert(OTHERS == HEAP_PEERS + 1, "columns are floor and peers");

/* Which cases a kind has: a bit a number. */
static const unsigned does[OWN] = {
	[HEAP_POOL] = UINT32_MAX,
	[HEAP_VARIABLE] = UINT32_MAX,
	[HEAP_SEGREGATED] = UINT32_MAX,
	[HEAP_SIZECLASS] = ONE(0) | ONE(1) | ONE(2) | ONE(3) | ONE(4),
	[HEAP_FREELIST] = ONE(0) | ONE(1),
	[HEAP_FREELIST_APART] = ONE(0) | ONE(1),
	[HEAP_BUDDY] = ONE(0) | ONE(1) | ONE(2) | ONE(3) | ONE(4),
	[HEAP_ARENA] = ONE(0) | ONE(1) | ONE(3) | ONE(4),
	[OWN_SLAB] = UINT32_MAX,
};

static int sockets[ALL];

static const char *own_name(unsigned own)
{
	return own == OWN_SLAB ? "slab" : heap_kind_name(own);
}

static void program_beside(const char *self, const char *name, char *path, size_t bytes)
{
	const char *slash = strrchr(self, '/');

	snprintf(path, bytes, "%.*s%s", slash ? (int)(slash + 1 - self) : 0, self, name);
}

static void start_all(const char *self)
{
	char path[4096];

	for (unsigned i = 0; i < OTHERS; i++) {
		program_beside(self, others[i].program, path, sizeof(path));
		sockets[i] = objects_start(path, others[i].name, others[i].preload);
	}
	for (unsigned i = 0; i < HEAP_KINDS; i++)
		sockets[OTHERS + i] = objects_start(self, heap_kind_name(i), NULL);
	program_beside(self, "objects", path, sizeof(path));
	sockets[OTHERS + OWN_SLAB] = objects_start(path, "slat", NULL);
}

static bool takes_part(unsigned process, unsigned number)
{
	return process < OTHERS || does[process - OTHERS] & ONE(number);
}

static double samples[SIZE_CASES][ALL][BENCH_ROUNDS_MAX];

static void ask_all(unsigned number, unsigned round, unsigned turn)
{
	for (unsigned i = 0; i < ALL; i++) {
		unsigned p = (i + turn) % ALL;

		samples[number][p][round] = takes_part(p, number) ? objects_ask(sockets[p], number, "a heap") : NAN;
	}
}

static void rows(struct bench *b, unsigned number)
{
	double columns[BENCH_COLUMNS_MAX][BENCH_ROUNDS_MAX];
	char name[OBJECTS_NAME_MAX], row[100];
	const char *unit;

	objects_name(number, name, &unit);
	for (unsigned own = 0; own < OWN; own++) {
		if (!takes_part(OTHERS + own, number))
			continue;
		memcpy(columns[BENCH_SLAT], samples[number][OTHERS + own], sizeof(columns[0]));
		memcpy(columns[BENCH_FLOOR], samples[number][0], OTHERS * sizeof(columns[0]));
		snprintf(row, sizeof(row), "%s, %s", name, own_name(own));
		bench_row(b, row, unit, columns);
	}
}

static void objects(struct bench *b, const char *self)
{
	start_all(self);
	for (unsigned pass = 0; pass < BENCH_PASSES; pass++)
		for (unsigned n = 0; n < SIZE_CASES; n++) {
			ask_all(n, b->rounds * pass / BENCH_PASSES, 0); /* to warm up: written over */
			for (unsigned r = b->rounds * pass / BENCH_PASSES; r < b->rounds * (pass + 1) / BENCH_PASSES;
			     r++)
				ask_all(n, r, r);
		}
	for (unsigned i = 0; i < ALL; i++)
		close(sockets[i]);
	while (wait(NULL) > 0)
		;
	for (unsigned n = 0; n < SIZE_CASES; n++)
		rows(b, n);
}

int main(int argc, char **argv)
{
	const char *peers[HEAP_PEERS + 1] = {NULL};
	struct bench b;

	if (argc == 3 && strcmp(argv[1], "--serve") == 0)
		return heap_serve(argv[2]);
	if (argc != 2)
		bench_refuse("heap OUT.json", NULL);
	if (prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0)) /* as in objects.c */
		bench_refuse("transparent huge pages cannot be switched off", NULL);
	for (unsigned i = 0; i < HEAP_PEERS; i++)
		peers[i] = others[i + 1].name;
	bench_open(&b, peers);
	objects(&b, argv[0]);
	heap_bulk(&b);
	heap_worst(&b);
	heap_flaws(&b);
	heap_vec(&b);
	return bench_close(&b, argv[1]);
}
