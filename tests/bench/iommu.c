/* tests/bench/iommu.c: what the gate from devices to memory costs: devices/dma.h
 * and devices/iommu.h beside loads that depend on one another.
 *
 *   iommu OUT.json
 *
 * The floors. Of a translation: the entries that a walk of the domain's table and one of the
 * guest's table come by, 8 loads at addresses that were worked out before, each
 * waiting for the one before it. A hit of the IOTLB has the same 8, all of them in
 * the first-level cache: what it saves is not these, but their misses. Of map and
 * unmap at random iovas: the 4 entries that lead to the one that is unmapped, and
 * the 4 that lead to the one that is mapped. Of dense iovas: the same work with 1,000
 * mappings live; there the ratio says what a million cost.
 *
 * Each access is dma_load16(), so with the word itself; an access that misses finds the gpa by
 * pagetable_walk() over a table of 4K leaves, as the VMM does. All gpas lead to the same few
 * pages of the host, so that only translation is measured. Pins are counted by
 * nobody here.
 *
 * What it cannot see: a second thread in the same domain, and what a wait for a
 * device costs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "devices/dma.h"
#include "devices/iommu.h"
#include "tests/bench/bench.h"
#include "tests/bench/page_stack.h"
#include "tests/unit/random.h"

#define KIB	     UINT64_C(1024)
#define GIB	     (KIB * KIB * KIB)
#define ENTRIES	     512u
#define ARENA_FRAMES UINT64_C(40960)
#define ADDRESS	     UINT64_C(0xffffffffff000)
#define IOVA	     GIB
#define GUEST_BYTES  (4 * GIB)
#define MANY	     UINT64_C(1000000)
#define RANDOM_BYTES (64 * GIB)

enum column { SLAT = BENCH_SLAT, FLOOR = BENCH_FLOOR };
static const char *const peers[] = {NULL};

static unsigned char *arena;
static struct page_stack stack;
static struct pagetable guest; /* gpa to nothing: 4 GiB of 4K leaves */
static struct pagetable_reader guest_reader;
static uint64_t generation = 1;
static struct iommu iommu;
static struct iommu_endpoint *endpoint;
static struct dma dma;
static uint8_t *ram; /* 16 pages */
static uint64_t sink;

static void must(unsigned status, const char *what)
{
	if (status != VIRTIO_IOMMU_S_OK)
		bench_refuse("the IOMMU refused what it must not", what);
}

static uint8_t *span(void *self, unsigned reader, uint64_t gpa, uint64_t *bytes, unsigned access)
{
	struct pagetable_leaf leaf;
	bool found;

	(void)self;
	(void)reader;
	pagetable_enter(&guest, &guest_reader);
	found = pagetable_walk(&guest, gpa, &leaf) && !(access & ~leaf.attr.rights);
	pagetable_leave(&guest_reader);
	if (!found)
		return NULL;
	if (*bytes > leaf.in + FRAME_BYTES - gpa)
		*bytes = leaf.in + FRAME_BYTES - gpa;
	return ram + (leaf.out + (gpa - leaf.in)) % (16 * FRAME_BYTES);
}

static void pin(void *self, const uint8_t *host, uint64_t bytes)
{
	(void)self;
	sink += (uintptr_t)host + bytes;
}

static const struct dma_memory memory = {.span = span, .pin = pin, .unpin = pin, .generation = &generation};

static void do_wait(void *self)
{
	(void)self;
	bench_refuse("somebody waited", NULL);
}

static void map(uint64_t iova, uint64_t bytes, uint64_t gpa)
{
	struct virtio_iommu_map m = {
		.domain = 1,
		.first = iova,
		.last = iova + bytes - 1,
		.phys = gpa,
		.flags = VIRTIO_IOMMU_MAP_READ | VIRTIO_IOMMU_MAP_WRITE,
	};

	must(iommu_map(&iommu, 1, &m), "map");
}

static void unmap(uint64_t iova)
{
	must(iommu_unmap(&iommu, 1, iova, iova + FRAME_BYTES - 1), "unmap");
}

static void make_guest(void)
{
	const struct pagetable_config config = {
		.format = PAGETABLE_EPT,
		.phys_bits = 46,
		.leaf_max = PAGETABLE_4K,
		.arena = arena,
		.arena_frames = ARENA_FRAMES,
		.pages = page_stack_pages(&stack),
		.readers = &guest_reader,
		.readers_count = 1,
	};
	struct pagetable_attr rw = {PAGETABLE_READ | PAGETABLE_WRITE, PAGETABLE_WRITE_BACK};

	if (pagetable_init(&guest, &config) != MM_OK || pagetable_map(&guest, 0, 0, GUEST_BYTES, rw) != MM_OK)
		bench_refuse("no table for the guest", NULL);
}

static void make_iommu(void)
{
	const struct iommu_config config = {
		.input = {0, (UINT64_C(1) << PAGETABLE_INPUT_BITS) - 1},
		.phys_bits = 46,
		.domain_last = 1,
		.mappings_max = 2 * MANY,
		.arena = arena,
		.arena_frames = ARENA_FRAMES,
		.pages = page_stack_pages(&stack),
		.wait = do_wait,
	};

	iommu_init(&iommu, &config);
	endpoint = iommu_add_endpoint(&iommu, 0);
	dma_init(&dma, &memory, endpoint, 0);
}

static void fresh(void)
{
	iommu_reset(&iommu);
	must(iommu_attach(&iommu, 1, 0, false), "attach");
}

/* ---- the loads of walks ---- */

#define WALKS UINT64_C(65536)

static struct {
	uint64_t iova[WALKS];
	const uint64_t *entry[WALKS][8];
} walks;

static void walk_entries(const struct pagetable *pt, uint64_t in, const uint64_t **entry)
{
	uint64_t link = pagetable_root_address(pt);

	for (unsigned k = 0; k < 4; k++) {
		entry[k] = (uint64_t *)(void *)(arena + (link & ADDRESS)) + (in >> (39 - 9 * k) & (ENTRIES - 1));
		link = *entry[k];
	}
}

/* `zero` is 0, which only the caller knows: so each load waits for what it is or-ed with. */
static __attribute__((noinline)) void load_chains(uint64_t count, uint64_t zero)
{
	uint64_t value = 0;

	for (uint64_t i = 0; i < count; i++) {
		const uint64_t *const *entry = walks.entry[i];

		for (unsigned k = 0; k < 8; k++)
			value = __atomic_load_n(
				(const uint64_t *)(const void *)((const unsigned char *)entry[k] + (value & zero)),
				__ATOMIC_ACQUIRE);
	}
	sink += value;
}

/* ---- translations ---- */

enum kind { HIT, HIT_MAP, MISS_NEAR, MISS_FAR };

struct walk_case {
	const char *name;
	enum kind kind;
	uint64_t pages;
	bool at_random;
};

static const struct walk_case walk_cases[] = {
	{"hit, 16 pages", HIT, 16, false},
	{"hit, map and unmap, 16 pages", HIT_MAP, 16, false},
	{"miss, 2 pages of one slot", MISS_NEAR, 2, false},
	{"miss, 4 GiB at random", MISS_FAR, GUEST_BYTES / FRAME_BYTES, true},
};

#define WALK_CASES (sizeof(walk_cases) / sizeof(walk_cases[0]))

static const struct walk_case *walks_of;

/* To the nearest page that the IOTLB has in the slot of the first. */
static uint64_t rival(void)
{
	uint64_t step = 1;

	while (dma_tlb_slot(IOVA + step * FRAME_BYTES) != dma_tlb_slot(IOVA))
		step++;
	return step;
}

static void walks_make(const struct walk_case *c)
{
	const uint64_t step = c->kind == MISS_NEAR ? rival() : 1;

	walks_of = c;
	fresh();
	for (uint64_t i = 0; i < c->pages * step * FRAME_BYTES; i += FRAME_BYTES)
		map(IOVA + i, FRAME_BYTES, i);
	rng_state = 9;
	for (uint64_t i = 0; i < WALKS; i++) {
		uint64_t page = c->at_random ? below(c->pages) : i % c->pages * step;

		walks.iova[i] = IOVA + page * FRAME_BYTES + i % 64 * 2;
		walk_entries(&iommu.domain[0].table, walks.iova[i], walks.entry[i]);
		walk_entries(&guest, page * FRAME_BYTES, walks.entry[i] + 4);
	}
}

static void access_all(const struct walk_case *c, uint64_t count)
{
	struct dma_segment segment[2];
	struct dma_list list = {.segment = segment, .room = 2};
	uint64_t mapped;
	uint16_t word;

	for (uint64_t i = 0; i < count; i++) {
		if (c->kind != HIT_MAP) {
			if (!dma_load16(&dma, walks.iova[i], &word))
				bench_refuse("a fault", NULL);
			sink += word;
			continue;
		}
		if (dma_map(&dma, walks.iova[i], 512, DMA_READ, &list, &mapped) != DMA_OK)
			bench_refuse("a fault", NULL);
		dma_unmap(&dma, &list);
	}
}

static double walk_round(void *self, unsigned column)
{
	const struct walk_case *c = self;
	volatile uint64_t hidden = 0;
	uint64_t count = c->kind == MISS_FAR ? WALKS : 1024, times = WALKS / count;
	struct dma_stats before;
	double start;

	if (walks_of != c)
		walks_make(c);
	access_all(c, count);
	load_chains(count, hidden);
	before = dma.stats;
	start = bench_ns();
	for (uint64_t i = 0; i < times; i++) {
		if (column == FLOOR)
			load_chains(count, hidden);
		else
			access_all(c, count);
	}
	start = (bench_ns() - start) / (double)WALKS;
	if (column == SLAT &&
	    (c->kind < MISS_NEAR ? dma.stats.misses > before.misses : dma.stats.hits - before.hits > WALKS / 1000))
		bench_refuse("hits and misses are not what they should be", c->name);
	return start;
}

/* ---- map and unmap ---- */

#define PAIRS 20000u

struct live_case {
	const char *name;
	uint64_t live, floor_live;
};

static const struct live_case live_cases[] = {
	{"unmap and map, dense, 1 live", 1, 0},
	{"unmap and map, dense, 1,000 live", 1000, 0},
	{"unmap and map, dense, 1,000,000 live; floor: 1,000", MANY, 1000},
};

#define LIVE_CASES (sizeof(live_cases) / sizeof(live_cases[0]))

static uint64_t live_now, live_next;

static void live_make(uint64_t live)
{
	if (live_now == live)
		return;
	fresh();
	walks_of = NULL;
	live_now = live;
	live_next = 0;
	for (uint64_t i = 0; i < live; i++)
		map(IOVA + i * FRAME_BYTES, FRAME_BYTES, i * 7 % MANY * FRAME_BYTES);
}

static double live_round(void *self, unsigned column)
{
	const struct live_case *c = self;
	uint64_t live = column == FLOOR ? c->floor_live : c->live;
	double start;

	if (live == 0)
		return __builtin_nan("");
	live_make(live);
	start = bench_ns();
	for (unsigned i = 0; i < PAIRS; i++) {
		uint64_t iova = IOVA + live_next * FRAME_BYTES;

		unmap(iova);
		map(iova, FRAME_BYTES, live_next * 5 % MANY * FRAME_BYTES);
		live_next = live_next + 1 < live ? live_next + 1 : 0;
	}
	return (bench_ns() - start) / PAIRS;
}

/* ---- the same at random: 1,000,000 of 64 GiB ---- */

static uint64_t *live, *idle; /* iovas, in no order */
static uint64_t random_next;

static void random_make(void)
{
	const uint64_t pages = RANDOM_BYTES / FRAME_BYTES, odd = 0x9e3779b1; /* a permutation of 2^24 pages */

	if (live_now == UINT64_MAX)
		return;
	fresh();
	walks_of = NULL;
	live_now = UINT64_MAX;
	for (uint64_t i = 0; i < MANY; i++) {
		live[i] = IOVA + i * odd % pages * FRAME_BYTES;
		idle[i] = IOVA + (i + MANY) * odd % pages * FRAME_BYTES;
	}
	rng_state = 11;
	for (uint64_t i = MANY - 1; i > 0; i--) {
		uint64_t k = below(i + 1), was = live[i];

		live[i] = live[k];
		live[k] = was;
	}
	for (uint64_t i = 0; i < MANY; i++)
		map(live[i], FRAME_BYTES, i * FRAME_BYTES);
}

static double random_round(void *self, unsigned column)
{
	volatile uint64_t hidden = 0;
	double start;

	(void)self;
	random_make();
	if (random_next + PAIRS > MANY)
		random_next = 0;
	for (uint64_t i = 0; i < PAIRS; i++) { /* each page has its table: some page of it is mapped */
		walk_entries(&iommu.domain[0].table, live[random_next + i], walks.entry[i]);
		walk_entries(&iommu.domain[0].table, idle[random_next + i], walks.entry[i] + 4);
	}
	memset(arena + 36000 * FRAME_BYTES, 1, 4000 * FRAME_BYTES); /* what was just looked at is cold again */
	start = bench_ns();
	if (column == FLOOR)
		load_chains(PAIRS, hidden);
	for (uint64_t i = random_next; column == SLAT && i < random_next + PAIRS; i++) {
		uint64_t was = live[i];

		unmap(was);
		map(idle[i], FRAME_BYTES, i * FRAME_BYTES);
		live[i] = idle[i];
		idle[i] = was;
	}
	start = (bench_ns() - start) / PAIRS;
	random_next += PAIRS;
	return start;
}

int main(int argc, char **argv)
{
	struct bench_item rows[WALK_CASES + LIVE_CASES + 1];
	struct bench b;

	if (argc != 2)
		bench_refuse("iommu OUT.json", NULL);
	bench_pin(0);
	/* frame numbers begin at 0, so that an entry's address is its offset in the arena */
	arena = bench_memory(ARENA_FRAMES * FRAME_BYTES);
	stack.page = bench_memory(ARENA_FRAMES * sizeof(*stack.page));
	ram = bench_memory(16 * FRAME_BYTES);
	live = bench_memory(MANY * sizeof(*live));
	idle = bench_memory(MANY * sizeof(*idle));
	page_stack_fill(&stack, ARENA_FRAMES);
	make_guest();
	make_iommu();
	bench_open(&b, peers);
	for (unsigned i = 0; i < WALK_CASES; i++)
		rows[i] = (struct bench_item){walk_cases[i].name, "ns", walk_round, (void *)(uintptr_t)&walk_cases[i]};
	for (unsigned i = 0; i < LIVE_CASES; i++)
		rows[WALK_CASES + i] =
			(struct bench_item){live_cases[i].name, "ns", live_round, (void *)(uintptr_t)&live_cases[i]};
	rows[WALK_CASES + LIVE_CASES] =
		(struct bench_item){"unmap and map, at random in 64 GiB, 1,000,000 live", "ns", random_round, NULL};
	bench_cases(&b, rows, WALK_CASES + LIVE_CASES + 1);
	return bench_close(&b, argv[1]);
}
