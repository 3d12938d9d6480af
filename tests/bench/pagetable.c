/* tests/bench/pagetable.c: what second-level tables cost: mm/pagetable.h beside
 * the least that the hardware's own format allows, which is a load or a store of
 * each entry in each of the pages.
 *
 *   pagetable OUT.json
 *
 * The floors. Of map, unmap, split: a loop that stores as many entries into as
 * many pages. Of a walk: the same four loads at addresses that were worked out
 * before, each waiting for the one before it, as a walk must; and each walk waits for
 * the last one's answer, unless it says that they overlap. Of iterate,
 * collapse: a loop that loads as many entries in the same pages; of harvest: the
 * same, and an atomic AND on those that are marked. Of a few leaves in a
 * range of 128 TiB: the same in a range of 1 GiB; there the ratio says what empty
 * space costs.
 *
 * Unmap and collapse count with pagetable_flushed(), so with every page put
 * back. Table pages come from a stack of numbers. Leaves translate to memory
 * that does not exist: no frame is touched.
 *
 * What it cannot see: a hardware walker beside it, and what a flush costs. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mm/pagetable.h"
#include "tests/bench/bench.h"
#include "tests/bench/page_stack.h"
#include "tests/unit/random.h"

#define KIB	     UINT64_C(1024)
#define GIB	     (KIB * KIB * KIB)
#define TIB	     (KIB * GIB)
#define ENTRIES	     512u
#define ARENA_FRAMES UINT64_C(526336) /* 1 TiB of 4K leaves: 2^19 + 2^10 + 3 tables */
#define ACCESSED     (UINT64_C(1) << 8)
#define DIRTY	     (UINT64_C(1) << 9)
#define ADDRESS	     UINT64_C(0xffffffffff000)
#define LARGE	     (UINT64_C(1) << 7)

enum column { SLAT = BENCH_SLAT, FLOOR = BENCH_FLOOR };
static const char *const peers[] = {NULL};

static const struct pagetable_attr rw = {PAGETABLE_READ | PAGETABLE_WRITE, PAGETABLE_WRITE_BACK},
				   ro = {PAGETABLE_READ, PAGETABLE_WRITE_BACK};

static unsigned char *arena;
static struct page_stack stack;
static struct pagetable table;
static uint64_t **last; /* the tables that hold the leaves, in order of address */
static uint64_t last_count;
static uint64_t sink;

static void must(enum mm_err e, const char *what)
{
	if (e != MM_OK)
		bench_refuse("the table refused what it must not", what);
}

static uint64_t *table_page(uint64_t link)
{
	return (uint64_t *)(void *)(arena + (link & ADDRESS));
}

static void make(enum pagetable_size leaf)
{
	const struct pagetable_config config = {
		.format = PAGETABLE_EPT,
		.phys_bits = 46,
		.leaf_max = leaf,
		.arena = arena,
		.arena_frames = ARENA_FRAMES,
		.pages = page_stack_pages(&stack),
	};

	page_stack_fill(&stack, ARENA_FRAMES);
	must(pagetable_init(&table, &config), "init");
}

static void collect(uint64_t link, unsigned level, unsigned leaf)
{
	uint64_t *t = table_page(link);

	if (level == leaf) {
		last[last_count++] = t;
		return;
	}
	for (unsigned i = 0; i < ENTRIES; i++)
		if (t[i] && !(t[i] & LARGE))
			collect(t[i], level - 1, leaf);
}

/* ---- the floors: entries in pages ---- */

static __attribute__((noinline)) void store_entries(uint64_t pages, uint64_t value, uint64_t step)
{
	for (uint64_t p = 0; p < pages; p++) {
		uint64_t *entry = table_page(p * FRAME_BYTES);

		for (unsigned i = 0; i < ENTRIES; i++, value += step)
			entry[i] = value;
	}
}

static __attribute__((noinline)) uint64_t load_entries(void)
{
	uint64_t sum = 0;

	for (uint64_t p = 0; p < last_count; p++)
		for (unsigned i = 0; i < ENTRIES; i++)
			sum += __atomic_load_n(&last[p][i], __ATOMIC_ACQUIRE);
	return sum;
}

static __attribute__((noinline)) uint64_t clear_entries(void)
{
	uint64_t sum = 0;

	for (uint64_t p = 0; p < last_count; p++)
		for (unsigned i = 0; i < ENTRIES; i++)
			if (__atomic_load_n(&last[p][i], __ATOMIC_ACQUIRE) & (ACCESSED | DIRTY))
				sum += __atomic_fetch_and(&last[p][i], ~(ACCESSED | DIRTY), __ATOMIC_ACQ_REL);
	return sum;
}

/* ---- the cases ---- */

enum kind { MAP, UNMAP, WALK, WALK_APART, ITERATE, HARVEST, SPLIT, COLLAPSE, WIDE };

struct table_case {
	const char *name, *unit;
	enum kind kind;
	enum pagetable_size leaf;
	uint64_t bytes;
	unsigned every; /* HARVEST: one leaf in so many is marked, 0: none; ITERATE: leaves a run, 0: all one */
};

static const struct table_case cases[] = {
	{"map 1 TiB, 4K leaves", "ns/leaf", MAP, PAGETABLE_4K, TIB, 0},
	{"map 1 TiB, 2M leaves", "ns/leaf", MAP, PAGETABLE_2M, TIB, 0},
	{"map 1 TiB, 1G leaves", "ns/leaf", MAP, PAGETABLE_1G, TIB, 0},
	{"unmap 1 TiB, 4K leaves", "ns/leaf", UNMAP, PAGETABLE_4K, TIB, 0},
	{"unmap 1 TiB, 2M leaves", "ns/leaf", UNMAP, PAGETABLE_2M, TIB, 0},
	{"unmap 1 TiB, 1G leaves", "ns/leaf", UNMAP, PAGETABLE_1G, TIB, 0},
	{"walk, 64 MiB of 4K leaves", "ns/walk", WALK, PAGETABLE_4K, 64 * KIB *KIB, 0},
	{"walk, 4 GiB of 4K leaves", "ns/walk", WALK, PAGETABLE_4K, 4 * GIB, 0},
	{"walk, 4 GiB of 2M leaves", "ns/walk", WALK, PAGETABLE_2M, 4 * GIB, 0},
	{"walks that overlap, 64 MiB of 4K leaves", "ns/walk", WALK_APART, PAGETABLE_4K, 64 * KIB *KIB, 0},
	{"walks that overlap, 4 GiB of 4K leaves", "ns/walk", WALK_APART, PAGETABLE_4K, 4 * GIB, 0},
	{"iterate 64 GiB, 4K leaves, one run", "ns/leaf", ITERATE, PAGETABLE_4K, 64 * GIB, 0},
	{"iterate 4 GiB, 4K leaves, runs of 64", "ns/leaf", ITERATE, PAGETABLE_4K, 4 * GIB, 64},
	{"harvest 64 GiB, 4K leaves, none marked", "ns/leaf", HARVEST, PAGETABLE_4K, 64 * GIB, 0},
	{"harvest 64 GiB, 4K leaves, 1 of 16 marked", "ns/leaf", HARVEST, PAGETABLE_4K, 64 * GIB, 16},
	{"harvest 64 GiB, 4K leaves, all marked", "ns/leaf", HARVEST, PAGETABLE_4K, 64 * GIB, 1},
	{"harvest 64 GiB, 2M leaves, all marked", "ns/leaf", HARVEST, PAGETABLE_2M, 64 * GIB, 1},
	{"split a 2M leaf", "ns", SPLIT, PAGETABLE_2M, 4 * GIB, 0},
	{"split a 1G leaf", "ns", SPLIT, PAGETABLE_1G, TIB, 0},
	{"collapse into a 2M leaf", "ns", COLLAPSE, PAGETABLE_2M, 4 * GIB, 0},
	{"collapse into a 1G leaf", "ns", COLLAPSE, PAGETABLE_1G, TIB, 0},
};

#define CASES (sizeof(cases) / sizeof(cases[0]))

/* What is there between rounds, for those cases that leave it as it was. */
static const struct table_case *built;

static uint64_t leaves_of(const struct table_case *c)
{
	return c->bytes / pagetable_size_bytes(c->leaf);
}

static void build(const struct table_case *c)
{
	built = NULL;
	make(c->leaf);
	must(pagetable_map(&table, 0, 0, c->bytes, rw), "map");
	if (c->kind == ITERATE && c->every)
		for (uint64_t i = 0; i < leaves_of(c); i += 2 * c->every)
			must(pagetable_protect(&table, i * pagetable_size_bytes(c->leaf),
					       c->every * pagetable_size_bytes(c->leaf), ro, NULL),
			     "protect");
	last_count = 0;
	collect(pagetable_root_address(&table), 3, c->leaf);
}

static void build_once(const struct table_case *c)
{
	if (built != c)
		build(c);
	built = c;
}

static double map_round(const struct table_case *c, unsigned column)
{
	uint64_t tables = (leaves_of(c) + ENTRIES - 1) / ENTRIES;
	double start;

	built = NULL;
	if (column == FLOOR) {
		start = bench_ns();
		store_entries(tables, ADDRESS, FRAME_BYTES);
		return (bench_ns() - start) / (double)leaves_of(c);
	}
	make(c->leaf);
	if (c->kind == UNMAP)
		must(pagetable_map(&table, 0, 0, c->bytes, rw), "map");
	start = bench_ns();
	if (c->kind == MAP) {
		must(pagetable_map(&table, 0, 0, c->bytes, rw), "map");
	} else {
		must(pagetable_unmap(&table, 0, c->bytes, NULL), "unmap");
		pagetable_flushed(&table);
	}
	return (bench_ns() - start) / (double)leaves_of(c);
}

/* ---- walks ---- */

#define WALKS UINT64_C(65536)

static struct {
	uint64_t in[WALKS];
	const uint64_t *entry[WALKS][4]; /* the last ones again where there are fewer */
	unsigned loads;
} walks;

static void walks_make(const struct table_case *c)
{
	walks.loads = 4 - (unsigned)c->leaf;
	rng_state = 7;
	for (uint64_t i = 0; i < WALKS; i++) {
		uint64_t link = pagetable_root_address(&table);

		walks.in[i] = below(c->bytes);
		for (unsigned k = 0; k < walks.loads; k++) {
			walks.entry[i][k] = &table_page(link)[walks.in[i] >> (39 - 9 * k) & (ENTRIES - 1)];
			link = *walks.entry[i][k];
		}
	}
}

/* `zero` is 0, which only the caller knows: so each load waits for what it is or-ed with. */
static inline const uint64_t *after(const uint64_t *entry, uint64_t value, uint64_t zero)
{
	return (const uint64_t *)(const void *)((const unsigned char *)entry + (value & zero));
}

/* `chain` is known where these are compiled: whether a walk waits for the answer of the one before it. */
static inline __attribute__((always_inline)) void walk_floor(uint64_t zero, bool chain)
{
	uint64_t value = 0;

	for (uint64_t i = 0; i < WALKS; i++) {
		const uint64_t *const *entry = walks.entry[i];

		value = __atomic_load_n(after(entry[0], chain ? value : 0, zero), __ATOMIC_ACQUIRE);
		value = __atomic_load_n(after(entry[1], value, zero), __ATOMIC_ACQUIRE);
		value = __atomic_load_n(after(entry[2], value, zero), __ATOMIC_ACQUIRE);
		if (walks.loads > 3)
			value = __atomic_load_n(after(entry[3], value, zero), __ATOMIC_ACQUIRE);
		sink += value;
	}
}

static inline __attribute__((always_inline)) void walk_slat(uint64_t zero, bool chain)
{
	struct pagetable_leaf leaf = {.out = 0};

	for (uint64_t i = 0; i < WALKS; i++) {
		if (!pagetable_walk(&table, walks.in[i] + (chain ? leaf.out & zero : 0), &leaf))
			bench_refuse("an address is not mapped", NULL);
		sink += leaf.out;
	}
}

static double walk_round(const struct table_case *c, unsigned column)
{
	volatile uint64_t hidden = 0;
	uint64_t zero = hidden;
	double start;

	if (built != c) {
		build_once(c);
		walks_make(c);
	}
	start = bench_ns();
	if (column == FLOOR && c->kind == WALK)
		walk_floor(zero, true);
	else if (column == FLOOR)
		walk_floor(zero, false);
	else if (c->kind == WALK)
		walk_slat(zero, true);
	else
		walk_slat(zero, false);
	return (bench_ns() - start) / (double)WALKS;
}

/* ---- iterate and harvest ---- */

static double iterate_round(const struct table_case *c, unsigned column)
{
	struct pagetable_run run;
	uint64_t bytes = 0;
	double start;

	build_once(c);
	start = bench_ns();
	if (column == FLOOR)
		sink += load_entries();
	else
		for (uint64_t in = 0; pagetable_next_run(&table, in, &run); in = run.in + run.bytes)
			bytes += run.bytes;
	start = (bench_ns() - start) / (double)leaves_of(c);
	if (column == SLAT && bytes != c->bytes)
		bench_refuse("not all that is mapped was told", NULL);
	return start;
}

static void mark(unsigned every)
{
	for (uint64_t p = 0, n = 0; every && p < last_count; p++)
		for (unsigned i = 0; i < ENTRIES; i++, n++)
			if (last[p][i] && n % every == 0)
				last[p][i] |= ACCESSED | DIRTY;
}

static void told(void *self, const struct pagetable_leaf *leaf)
{
	*(uint64_t *)self += leaf->dirty;
}

static double harvest_round(const struct table_case *c, unsigned column)
{
	struct pagetable_flush flush;
	uint64_t dirty = 0;
	const struct pagetable_marked tell = {&dirty, told};
	double start;

	build_once(c);
	mark(c->every);
	start = bench_ns();
	if (column == FLOOR)
		sink += clear_entries();
	else
		must(pagetable_harvest(&table, 0, c->bytes, PAGETABLE_ACCESSED | PAGETABLE_DIRTY, &tell, &flush),
		     "harvest");
	start = (bench_ns() - start) / (double)leaves_of(c);
	if (column == SLAT && dirty != (c->every ? leaves_of(c) / c->every : 0))
		bench_refuse("not all that is marked was told", NULL);
	return start;
}

/* ---- split and collapse ---- */

static double protect_all(const struct table_case *c, struct pagetable_attr attr)
{
	uint64_t step = pagetable_size_bytes(c->leaf), small = step / ENTRIES;
	double start = bench_ns();

	for (uint64_t at = 0; at < c->bytes; at += step)
		must(pagetable_protect(&table, at + 7 * small, small, attr, NULL), "protect");
	pagetable_flushed(&table);
	return (bench_ns() - start) / (double)leaves_of(c);
}

static double split_round(const struct table_case *c, unsigned column)
{
	double split, collapse, start;

	if (column == SLAT) {
		build(c);
		split = protect_all(c, ro);
		collapse = protect_all(c, rw);
		return c->kind == SPLIT ? split : collapse;
	}
	if (c->kind == SPLIT) {
		built = NULL;
		start = bench_ns();
		store_entries(leaves_of(c), ADDRESS, FRAME_BYTES);
		return (bench_ns() - start) / (double)leaves_of(c);
	}
	build(c);
	protect_all(c, ro);
	last_count = 0;
	collect(pagetable_root_address(&table), 3, c->leaf - 1u);
	start = bench_ns();
	sink += load_entries();
	return (bench_ns() - start) / (double)leaves_of(c);
}

static double table_round(void *self, unsigned column)
{
	const struct table_case *c = self;

	switch (c->kind) {
	case MAP:
	case UNMAP:
		return map_round(c, column);
	case WALK:
	case WALK_APART:
		return walk_round(c, column);
	case ITERATE:
		return iterate_round(c, column);
	case HARVEST:
		return harvest_round(c, column);
	default:
		return split_round(c, column);
	}
}

/* ---- empty space: 8 leaves of 4K in one table, in a range of 1 GiB (the floor) and of 128 TiB ---- */

enum { WIDE_UNMAP, WIDE_PROTECT, WIDE_HARVEST, WIDE_ITERATE, WIDE_MAP };

struct wide_case {
	const char *name;
	unsigned operation;
};

static const struct wide_case wides[] = {
	{"unmap 8 leaves in 128 TiB; floor: 1 GiB", WIDE_UNMAP},
	{"protect 8 leaves in 128 TiB; floor: 1 GiB", WIDE_PROTECT},
	{"harvest 8 leaves in 128 TiB; floor: 1 GiB", WIDE_HARVEST},
	{"iterate 9 leaves in 128 TiB; floor: 1 GiB", WIDE_ITERATE},
	{"map 1 leaf beside 128 TiB; floor: 1 GiB", WIDE_MAP},
};

#define WIDES	   (sizeof(wides) / sizeof(wides[0]))
#define WIDE_TIMES 256u

static void wide_map(void)
{
	for (uint64_t i = 0; i < 8; i++)
		must(pagetable_map(&table, i * 5 * FRAME_BYTES, i * FRAME_BYTES, FRAME_BYTES, rw), "map");
}

static double wide_once(unsigned operation, uint64_t bytes, unsigned turn)
{
	uint64_t *leaf = last[0];
	struct pagetable_flush flush;
	struct pagetable_run run;
	double start;

	if (operation == WIDE_UNMAP)
		wide_map();
	if (operation == WIDE_HARVEST)
		for (unsigned i = 0; i < 8; i++)
			leaf[5 * i] |= DIRTY;
	start = bench_ns();
	if (operation == WIDE_UNMAP) {
		must(pagetable_unmap(&table, 0, bytes, &flush), "unmap");
		pagetable_flushed(&table);
	} else if (operation == WIDE_PROTECT) {
		must(pagetable_protect(&table, 0, bytes, turn % 2 ? rw : ro, &flush), "protect");
	} else if (operation == WIDE_HARVEST) {
		must(pagetable_harvest(&table, 0, bytes, PAGETABLE_DIRTY, NULL, &flush), "harvest");
	} else if (operation == WIDE_ITERATE) {
		for (uint64_t in = 0; in < bytes && pagetable_next_run(&table, in, &run); in = run.in + run.bytes)
			sink += run.out;
	} else {
		must(pagetable_map(&table, FRAME_BYTES, 0, FRAME_BYTES, rw), "map");
	}
	start = bench_ns() - start;
	if (operation == WIDE_MAP)
		must(pagetable_unmap(&table, FRAME_BYTES, FRAME_BYTES, NULL), "unmap");
	return start;
}

static double wide_round(void *self, unsigned column)
{
	const struct wide_case *c = self;
	uint64_t bytes = column == FLOOR ? GIB : 128 * TIB;
	double sum = 0;

	built = NULL;
	make(PAGETABLE_1G);
	if (c->operation != WIDE_UNMAP) {
		wide_map();
		last_count = 0;
		collect(pagetable_root_address(&table), 3, 0);
	}
	if (c->operation == WIDE_ITERATE || c->operation == WIDE_MAP) /* so that there is an end to reach */
		must(pagetable_map(&table, bytes - FRAME_BYTES, GIB, FRAME_BYTES, rw), "map");
	for (unsigned i = 0; i < WIDE_TIMES; i++)
		sum += wide_once(c->operation, bytes, i);
	return sum / WIDE_TIMES;
}

int main(int argc, char **argv)
{
	struct bench_item rows[CASES + WIDES];
	struct bench b;

	if (argc != 2)
		bench_refuse("pagetable OUT.json", NULL);
	bench_pin(0);
	/* frame numbers begin at 0, so that an entry's address is its offset in the arena */
	arena = bench_memory(ARENA_FRAMES * FRAME_BYTES);
	stack.page = bench_memory(ARENA_FRAMES * sizeof(*stack.page));
	last = bench_memory(ARENA_FRAMES * sizeof(*last));
	bench_open(&b, peers);
	for (unsigned i = 0; i < CASES; i++)
		rows[i] = (struct bench_item){cases[i].name, cases[i].unit, table_round, (void *)(uintptr_t)&cases[i]};
	for (unsigned i = 0; i < WIDES; i++)
		rows[CASES + i] = (struct bench_item){wides[i].name, "ns", wide_round, (void *)(uintptr_t)&wides[i]};
	bench_cases(&b, rows, CASES + WIDES);
	return bench_close(&b, argv[1]);
}
