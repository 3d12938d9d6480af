/* tests/bench/objects.c: what an object costs: mm/slab.h over mm/frames.h beside
 * a free list inside the objects (the floor), four malloc()s and DPDK's mempool.
 *
 *   objects OUT.json
 *   objects --serve NAME    as this program starts itself
 *
 * Each allocator has a process of its own and runs there as its users run it: a
 * malloc() is the process's only one, preloaded and called by its name; DPDK is
 * objects_dpdk, with its inlined get and put, its environment without huge pages
 * and both threads registered. This process asks them for one round after the
 * other, so that they take turns; who is not asked sleeps. All run the same cases
 * (guests/bench/cases.h) by the same loops (loops.h there), and each object's first
 * 8 bytes are written when it is taken. All memory is in 4 KiB pages: transparent huge pages are off for all
 * of them, whatever the host's setting, or the figures would depend on who asks for
 * them, and on whether the host has some.
 *
 * slat and mempool are told the size once, when a cache is made, and find an
 * object's cache without looking; malloc() is told each time, free() is not. slat
 * and mempool are inlined into the loops, malloc() is called in its library, and the
 * floor is inlined, too. slat wants its CPU's number as an argument: the caller here
 * reads it from a variable of its thread at each call, as malloc() finds its thread's
 * cache and mempool its lcore. That is their interface, and counts. Nothing is given
 * back between rounds unless the allocator does so by itself.
 *
 * Rejected: dlmopen() of all in one process: a malloc() in a second namespace has
 * other thread-local storage and no fork handlers: not what its users run. */
#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "guests/bench/floors.h"
#include "mm/frames.h"
#include "mm/slab.h"
#include "tests/bench/bench.h"
#include "tests/bench/objects.h"

#define ARENA_FRAMES UINT32_C(262144) /* 1 GiB: each size's objects, and as much again */

/* slat: caller and source. */

static struct frames frames;
static char *arena;

static __thread unsigned slat_cpu;

static void slat_enter(void)
{
	static unsigned entered;

	slat_cpu = __atomic_fetch_add(&entered, 1, __ATOMIC_RELAXED);
}

LOOP_INLINE uintptr_t slat_take(void *self, unsigned order)
{
	(void)order;
	return (uintptr_t)slab_alloc(self, slat_cpu);
}

LOOP_INLINE void slat_give(void *self, uintptr_t item, unsigned order)
{
	(void)order;
	slab_free(self, slat_cpu, (void *)item);
}

LOOPS(slat_loops, slat_take, slat_give, loop_write);

static enum mm_err source_take(void *self, unsigned cpu, unsigned order, void **out)
{
	struct pfn first;
	enum mm_err e = frames_alloc(self, cpu, order, &first);

	if (e == MM_OK)
		*out = arena + first.n * FRAME_BYTES;
	return e;
}

static void source_give(void *self, unsigned cpu, unsigned order, void *slab)
{
	struct pfn first = {(uint64_t)((char *)slab - arena) / FRAME_BYTES};

	if (frames_free(self, cpu, first, order) != MM_OK)
		bench_refuse("an allocator refused what it must not", "frames_free");
}

/* Aligned as far as the largest run. */
static char *map_arena(size_t bytes)
{
	char *all = mmap(NULL, 2 * bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (all == MAP_FAILED)
		bench_refuse("the host has no memory for this", NULL);
	return (char *)(((uintptr_t)all + bytes - 1) & ~(bytes - 1));
}

static void make_frames(void)
{
	size_t bytes = frames_meta_bytes(ARENA_FRAMES, CASE_CPUS);
	struct frames_config config = {.frame_count = ARENA_FRAMES, .cpus = CASE_CPUS};

	arena = map_arena(ARENA_FRAMES * FRAME_BYTES);
	if (frames_init(&frames, bench_memory(bytes), bytes, &config) != MM_OK ||
	    frames_donate(&frames, (struct pfn){0}, ARENA_FRAMES) != MM_OK)
		bench_refuse("an allocator refused what it must not", "frames_init");
}

static struct slab_cache *make_cache(uint32_t object_bytes)
{
	size_t bytes = slab_meta_bytes(CASE_CPUS);
	struct slab_config config = {
		.bytes = object_bytes, .cpus = CASE_CPUS, .source = {&frames, source_take, source_give}};
	struct slab_cache *cache;

	if (slab_init(bench_memory(bytes), bytes, &config, &cache) != MM_OK)
		bench_refuse("an allocator refused what it must not", "slab_init");
	return cache;
}

static void *slat_caller(unsigned size, unsigned thread)
{
	static struct slab_cache *caches[CASES_SIZES];

	(void)thread;
	if (!arena)
		make_frames();
	if (!caches[size])
		caches[size] = make_cache(objects_sizes[size]);
	return caches[size];
}

/* The floor. */

LOOPS(floor_loops, floor_list_take, floor_list_give, loop_write);

static void *floor_caller(unsigned size, unsigned thread)
{
	static struct own_list {
		struct floor_list list;
	} __attribute__((aligned(LOOP_LINE))) lists[CASES_SIZES][CASE_CPUS];
	struct floor_list *list = &lists[size][thread].list;
	size_t bytes = (size_t)objects_sizes[size] * CASE_LIVE;

	if (!list->end) {
		list->bytes = objects_sizes[size];
		list->fresh = bench_memory(bytes);
		list->end = list->fresh + bytes;
	}
	return list;
}

/* Whatever malloc() this process has. */

static uintptr_t malloc_take(void *self, unsigned order)
{
	const uint32_t *bytes = self;

	(void)order;
	return (uintptr_t)malloc(*bytes);
}

static void malloc_give(void *self, uintptr_t item, unsigned order)
{
	(void)self;
	(void)order;
	free((void *)item);
}

LOOPS(malloc_loops, malloc_take, malloc_give, loop_write);

static void *malloc_caller(unsigned size, unsigned thread)
{
	(void)thread;
	return (void *)(uintptr_t)&objects_sizes[size];
}

/* All of them. */

struct process {
	const char *name;    /* also the column's */
	const char *preload; /* NULL: nothing */
	const char *library; /* where malloc() must come from; NULL: no matter */
	const char *suffix;  /* of a program that has its contender; NULL: this one */
	struct objects_contender contender;
};

#define MALLOC .contender = {&malloc_loops, malloc_caller, NULL, false}

/* In the order of the columns. */
static const struct process processes[] = {
	{"slat", .contender = {&slat_loops, slat_caller, slat_enter, false}},
	{"floor", .contender = {&floor_loops, floor_caller, NULL, true}},
	{"glibc", .library = "/libc.so.6", MALLOC},
	{"jemalloc", .preload = "libjemalloc.so.2", .library = "/libjemalloc", MALLOC},
	{"mimalloc", .preload = "libmimalloc.so.2", .library = "/libmimalloc", MALLOC},
	{"tcmalloc", .preload = "libtcmalloc_minimal.so.4", .library = "/libtcmalloc", MALLOC},
	{"DPDK mempool", .suffix = "_dpdk"},
};

#define PROCESSES (sizeof(processes) / sizeof(processes[0]))

/* The loader only warns when it cannot preload: glibc's figures must not stand under another name. */
static void check_malloc(const struct process *p)
{
	void *(*function)(size_t) = malloc;
	void *address;
	Dl_info info;

	memcpy(&address, &function, sizeof(address));
	if (p->library && (!dladdr(address, &info) || !strstr(info.dli_fname, p->library)))
		bench_refuse("this malloc() was not found", p->preload);
}

static int serve(const char *name)
{
	for (size_t i = 0; i < PROCESSES; i++) {
		if (!processes[i].suffix && strcmp(processes[i].name, name) == 0) {
			check_malloc(&processes[i]);
			return objects_serve(&processes[i].contender);
		}
	}
	bench_refuse("objects OUT.json", NULL);
}

/* The one that asks. */

static int sockets[PROCESSES];

struct question {
	uint32_t number; /* of the case */
	char name[OBJECTS_NAME_MAX];
};

static int start(const char *self, const struct process *p)
{
	char program[4096];

	snprintf(program, sizeof(program), "%s%s", self, p->suffix ? p->suffix : "");
	return objects_start(program, p->name, p->preload);
}

static double ask(void *self, unsigned column)
{
	const struct question *q = self;

	return objects_ask(sockets[column], q->number, processes[column].name);
}

static int ask_all(const char *self, const char *out)
{
	const char *peers[PROCESSES] = {NULL};
	struct question questions[OBJECTS_CASES];
	struct bench_item rows[OBJECTS_CASES];
	struct bench b;

	if (prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0)) /* theirs, too: it is inherited */
		bench_refuse("transparent huge pages cannot be switched off", NULL);
	for (unsigned i = 0; i < PROCESSES; i++) {
		sockets[i] = start(self, &processes[i]);
		if (i >= BENCH_PEER)
			peers[i - BENCH_PEER] = processes[i].name;
	}
	for (uint32_t i = 0; i < OBJECTS_CASES; i++) {
		questions[i].number = i;
		rows[i] = (struct bench_item){questions[i].name, NULL, ask, &questions[i]};
		objects_name(i, questions[i].name, &rows[i].unit);
	}
	bench_open(&b, peers);
	bench_cases(&b, rows, OBJECTS_CASES);
	bench_geometric_mean(&b);
	for (unsigned i = 0; i < PROCESSES; i++)
		close(sockets[i]);
	while (wait(NULL) > 0)
		;
	return bench_close(&b, out);
}

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "--serve") == 0)
		return serve(argv[2]);
	if (argc != 2)
		bench_refuse("objects OUT.json", NULL);
	return ask_all(argv[0], argv[1]);
}
