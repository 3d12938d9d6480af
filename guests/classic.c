/* classic: the allocators of the textbooks at the same work, their flaws as figures:
 * bump, linked list without and with merging, buddies, blocks of fixed sizes over a list and over buddies, an arena
 * for what does not stay, pools (one of a single size, too), and slat's own heap beside them.
 *
 * The work: 4,096 objects of 16 B to 2 KiB are there. Then rounds: each takes 64,
 * stamps them, frees 63 in another order, and the one that stays replaces one of the
 * 4,096, anywhere. Between the two halves of the rounds a flood takes all that is left, 100 B
 * at a time, and frees it. Each has the same 4 MiB, made anew, and the same random numbers;
 * who finds no room keeps what there was. Sizes are 16 B and up to 2^k times 15 B
 * more, k from 0 to 7. Before, each passes the suite of all heaps.
 *
 * Columns: nanoseconds an allocation with its free; how many were refused; reuse: how
 * often each byte of the 4 MiB was handed out; held: bytes held for each byte that was
 * asked for, at the end of the rounds; the largest allocation then, and when all is free
 * again.
 *
 * Words of the command line: "rounds=N"; "tries=N" of each figure, of which the least
 * counts; "operations=N" of the suite's random part (0: no suite).
 */
#include "guests/runtime/boot_info.h"
#include "guests/runtime/clock.h"
#include "guests/runtime/console.h"
#include "guests/runtime/cpu.h"
#include "guests/runtime/guest.h"
#include "guests/runtime/memory.h"
#include "guests/runtime/ring3.h"
#include "guests/runtime/string.h"
#include "mm/buddy_heap.h"
#include "mm/freelist.h"
#include "mm/general_heap.h"
#include "mm/heap_conformance.h"
#include "mm/pool_heap.h"
#include "mm/pool_segregated.h"
#include "mm/pool_variable.h"
#include "mm/scoped.h"
#include "mm/sizeclass.h"

#define REGION	     (UINT64_C(4) << 20)
#define ARENA	     (UINT64_C(256) << 10) /* of the region, where a round has one */
#define STAY	     4096u
#define ROUND	     64u
#define ROUNDS	     300u
#define FLOOD	     100u  /* bytes */
#define LARGEST	     1936u /* of the work's sizes, as an object of a pool */
#define TRIES	     3u
#define OPERATIONS   5000u
#define PARTS	     64u /* of the region, in which the largest allocation is told */
#define FRAME_COUNT  (REGION >> FRAME_SHIFT)
#define ALIGN_FRAMES (GENERAL_HEAP_ARENA_ALIGN >> FRAME_SHIFT)

struct object { /* the start of each */
	uint64_t stamp;
	uint32_t bytes;
};

struct figures {
	uint64_t cycles, pairs, refused;
	uint64_t served, asked; /* bytes: ever, and now */
	uint64_t asked_end, held_end, largest_end, largest_empty;
};

static struct world {
	unsigned char *region, *meta;
	size_t meta_bytes;
	struct frames frames;
	struct heap heap, below;
	struct arena arena;
	bool has_arena; /* what does not stay is taken from it, and is gone with the round */
	bool (*open)(void);
	uint64_t random, rounds, operations;
	struct object *stays[STAY];
	struct figures f;
	const char *wrong;
	uint64_t a, b;
	struct heap_conformance suite;
} world;

/* ---- the contestants ---- */

static void *meta_at(size_t at, size_t bytes)
{
	return at + bytes <= world.meta_bytes ? world.meta + at : NULL;
}

static bool open_bump(void)
{
	return arena_heap_init(world.region, REGION, &world.heap) == MM_OK;
}

static bool open_apart(void)
{
	return freelist_init(world.region, REGION, false, &world.heap) == MM_OK;
}

static bool open_list(void)
{
	return freelist_init(world.region, REGION, true, &world.heap) == MM_OK;
}

/* Over world.below, with state from `at` on. */
static bool open_blocks(size_t at, bool gives_back)
{
	const struct sizeclass_config config = {.below = &world.below, .gives_back = gives_back};

	return sizeclass_init(meta_at(at, sizeclass_meta_bytes()), sizeclass_meta_bytes(), &config, &world.heap) ==
	       MM_OK;
}

static bool open_classic_blocks(void)
{
	return freelist_init(world.region, REGION, true, &world.below) == MM_OK && open_blocks(0, false);
}

static bool open_returning_blocks(void)
{
	return freelist_init(world.region, REGION, true, &world.below) == MM_OK && open_blocks(0, true);
}

static bool make_buddy(struct heap *out)
{
	size_t bytes = buddy_heap_meta_bytes(REGION);

	return buddy_heap_init(meta_at(0, bytes), bytes, world.region, REGION, out) == MM_OK;
}

static bool open_buddy(void)
{
	return make_buddy(&world.heap);
}

static bool open_blocks_over_buddy(void)
{
	return make_buddy(&world.below) && open_blocks((buddy_heap_meta_bytes(REGION) + 63) & ~(size_t)63, true);
}

static bool open_arena(void)
{
	world.has_arena = true;
	arena_init(&world.arena, world.region, ARENA);
	return freelist_init(world.region + ARENA, REGION - ARENA, true, &world.heap) == MM_OK;
}

/* All of the region at once. */
static enum mm_err region_take(void *self, unsigned cpu, size_t bytes, size_t align, void **out)
{
	(void)self;
	(void)cpu;
	*out = world.region;
	return bytes <= REGION && (uintptr_t)world.region % align == 0 ? MM_OK : MM_ENOMEM;
}

static void region_give(void *self, unsigned cpu, void *memory, size_t bytes)
{
	(void)self;
	(void)cpu;
	(void)memory;
	(void)bytes;
}

static bool open_fixed(void)
{
	const struct pool_config config = {
		.bytes = LARGEST, .most = REGION / LARGEST, .cpus = 1, .source = {NULL, region_take, region_give}};
	size_t pool_bytes = (pool_meta_bytes(&config) + 63) & ~(size_t)63;
	struct pool *pool;

	return pool_init(meta_at(0, pool_bytes), pool_bytes, &config, &pool) == MM_OK &&
	       pool_heap_init(meta_at(pool_bytes, pool_heap_meta_bytes()), pool_heap_meta_bytes(), pool, &config,
			      &world.heap) == MM_OK;
}

static bool open_segregated(void)
{
	static const uint32_t sizes[] = {16, 32, 64, 128, 256, 512, 1024, 2048};
	const struct pool_segregated_config config = {.cpus = 1,
						      .arena = world.region,
						      .arena_bytes = REGION,
						      .sizes = sizes,
						      .classes = sizeof(sizes) / sizeof(*sizes)};

	return pool_segregated_init(world.meta, world.meta_bytes, &config, &world.heap) == MM_OK;
}

static bool open_variable(void)
{
	const struct pool_variable_config config = {.cpus = 1, .region = world.region, .region_bytes = REGION};

	return pool_variable_init(world.meta, world.meta_bytes, &config, &world.heap) == MM_OK;
}

static bool open_slab(void)
{
	const struct frames_config of_frames = {.frame_count = FRAME_COUNT, .cpus = 1};
	const struct general_heap_config of_heap = {
		.frames = &world.frames, .frame_count = FRAME_COUNT, .cpus = 1, .arena = world.region};
	size_t frames_bytes = frames_meta_bytes(FRAME_COUNT, 1), heap_bytes = general_heap_meta_bytes(FRAME_COUNT, 1);
	size_t at = (frames_bytes + 63) & ~(size_t)63;

	return frames_init(&world.frames, meta_at(0, frames_bytes), frames_bytes, &of_frames) == MM_OK &&
	       frames_donate(&world.frames, (struct pfn){0}, FRAME_COUNT) == MM_OK &&
	       general_heap_init(meta_at(at, heap_bytes), heap_bytes, &of_heap, &world.heap) == MM_OK;
}

static const struct contestant {
	const char *name;
	bool (*open)(void);
	enum heap_reuse reuse;
	size_t largest, align_largest; /* as the suite wants to know it */
} contestants[] = {
	{"bump", open_bump, HEAP_REUSES_WHEN_EMPTY, 0, 0},
	{"linked list, no merging", open_apart, HEAP_REUSES_SOME, 0, 0},
	{"linked list", open_list, HEAP_REUSES_AT_ONCE, 0, 0},
	{"buddy", open_buddy, HEAP_REUSES_AT_ONCE, 0, 0},
	{"fixed-size blocks", open_classic_blocks, HEAP_REUSES_SOME, 0, 0},
	{"the same, giving back", open_returning_blocks, HEAP_REUSES_SOME, 0, 0},
	{"the same, over buddy", open_blocks_over_buddy, HEAP_REUSES_AT_ONCE, 0, 0},
	{"arena a round, and list", open_arena, HEAP_REUSES_AT_ONCE, 0, 0},
	{"pool, one size", open_fixed, HEAP_REUSES_AT_ONCE, LARGEST, HEAP_ALIGN},
	{"pool, segregated", open_segregated, HEAP_REUSES_SOME, 2048, 0},
	{"pool, variable", open_variable, HEAP_REUSES_AT_ONCE, REGION / 4, 0},
	{"slab and frames", open_slab, HEAP_REUSES_AT_ONCE, 0, 0},
};

/* ---- the work, in ring 3 ---- */

static uint64_t next_random(void)
{
	world.random ^= world.random << 13;
	world.random ^= world.random >> 7;
	world.random ^= world.random << 17;
	return world.random;
}

static struct object *take(bool stays)
{
	uint64_t random = next_random();
	uint32_t bytes = 16 + (uint32_t)((random >> 8) % (UINT64_C(15) << random % 8));
	struct object *o;

	if (world.has_arena && !stays)
		o = arena_alloc(&world.arena, bytes, HEAP_ALIGN);
	else
		o = heap_alloc(&world.heap, 0, bytes);
	if (!o) {
		world.f.refused++;
		return NULL;
	}
	*o = (struct object){(uintptr_t)o ^ bytes, bytes};
	world.f.served += bytes;
	world.f.asked += bytes;
	return o;
}

/* NULL is none. What the arena gave goes with the arena. */
static void give(struct object *o, bool stays)
{
	if (!o)
		return;
	if (o->stamp != ((uintptr_t)o ^ o->bytes))
		world.wrong = "an object lost its stamp";
	o->stamp = 0;
	world.f.asked -= o->bytes;
	if (!world.has_arena || stays)
		heap_free(&world.heap, 0, o, o->bytes);
}

static void round_run(void)
{
	struct object *round[ROUND], **replaced = &world.stays[next_random() % STAY];
	SCOPED_ARENA(scratch) = scoped_arena_open(&world.arena);

	for (unsigned i = 0; i < ROUND; i++)
		round[i] = take(i == 0);
	for (unsigned i = 1; i < ROUND; i++)
		give(round[i * 37 % ROUND], false);
	if (!round[0])
		return;
	give(*replaced, true);
	*replaced = round[0];
}

static void flood(void)
{
	struct object *all = NULL, *o;

	while ((o = heap_alloc(&world.heap, 0, FLOOD))) {
		o->stamp = (uintptr_t)all;
		all = o;
	}
	while ((o = all)) {
		all = (struct object *)(uintptr_t)o->stamp;
		heap_free(&world.heap, 0, o, FLOOD);
	}
}

static void rounds_run(uint64_t n)
{
	uint64_t start = cpu_cycles();

	for (uint64_t i = 0; i < n; i++)
		round_run();
	world.f.cycles += cpu_cycles() - start;
	world.f.pairs += n * ROUND;
}

/* In PARTS of the region, then halves: each try that succeeds is taken back. */
static uint64_t largest(void)
{
	uint64_t bytes = REGION;
	void *memory = NULL;

	while (bytes >= HEAP_ALIGN && !(memory = heap_alloc(&world.heap, 0, bytes)))
		bytes = bytes > REGION / PARTS ? bytes - REGION / PARTS : bytes / 2;
	heap_free(&world.heap, 0, memory, bytes);
	return memory ? bytes : 0;
}

static void figures_read(void)
{
	struct heap_stats s = heap_stats_read(&world.heap);

	world.f.asked_end = world.f.asked;
	world.f.held_end = s.bytes_held + (world.has_arena ? ARENA : 0);
	world.f.largest_end = largest();
}

static uint64_t work(void *unused)
{
	struct figures *f = &world.f;

	(void)unused;
	memset(f, 0, sizeof(*f));
	world.arena = (struct arena){.bytes = 0};
	world.has_arena = false;
	world.random = 88172645463325252u;
	if (!world.open()) {
		world.wrong = "it could not be started";
		return 0;
	}
	for (unsigned i = 0; i < STAY; i++)
		world.stays[i] = take(true);
	rounds_run(world.rounds / 2);
	flood();
	rounds_run(world.rounds - world.rounds / 2);
	figures_read();
	for (unsigned i = 0; i < STAY; i++)
		give(world.stays[i], true);
	f->largest_empty = largest();
	if (!heap_check(&world.heap) || heap_stats_read(&world.heap).allocations != 0 || f->asked != 0)
		world.wrong = "after all was freed, something is live or an invariant is broken";
	return 0;
}

static uint64_t conform(void *unused)
{
	(void)unused;
	if (!world.open())
		world.wrong = "it could not be started";
	else
		world.wrong = heap_conformance_run(&world.suite, &world.a, &world.b);
	return 0;
}

static uint64_t lend_all(void *unused)
{
	const size_t frames_bytes = frames_meta_bytes(FRAME_COUNT, 1);
	const size_t heap_bytes = general_heap_meta_bytes(FRAME_COUNT, 1);
	uint64_t first = memory_carve_high((REGION >> FRAME_SHIFT) + ALIGN_FRAMES).n;

	(void)unused;
	first = (first + ALIGN_FRAMES - 1) & ~(ALIGN_FRAMES - 1);
	world.region = (unsigned char *)(uintptr_t)(first << FRAME_SHIFT);
	world.meta_bytes = frames_bytes + 64 + heap_bytes + pool_segregated_meta_bytes(REGION) +
			   buddy_heap_meta_bytes(REGION) + sizeclass_meta_bytes();
	world.meta =
		(unsigned char *)(uintptr_t)(memory_carve_high((world.meta_bytes >> FRAME_SHIFT) + 1).n << FRAME_SHIFT);
	world.suite = (struct heap_conformance){.heap = &world.heap, .seed = 1, .operations = world.operations};
	world.suite.scratch_bytes = heap_conformance_scratch_bytes();
	world.suite.scratch =
		(void *)(uintptr_t)(memory_carve_high((world.suite.scratch_bytes >> FRAME_SHIFT) + 1).n << FRAME_SHIFT);
	return 0;
}

/* ---- the table ---- */

/* `of` / `by` with one digit behind the point. */
static void print_tenths(uint64_t of, uint64_t by, unsigned width)
{
	uint64_t tenths = by ? of * 10 / by : 0;

	for (uint64_t n = 10; n <= tenths / 10; n *= 10)
		width--;
	while (width-- > 3)
		console_print(" ");
	console_print("%lu.%lu", tenths / 10, tenths % 10);
}

static void print_row(const char *name, const struct figures *f, uint64_t hz)
{
	unsigned used = 0;

	console_print("classic: %s", name);
	while (name[used])
		used++;
	for (; used < 26; used++)
		console_print(" ");
	print_tenths(hz >= 1000000 ? f->cycles * 1000 / (hz / 1000000) : 0, f->pairs, 10);
	console_print(" %8lu", f->refused);
	print_tenths(f->served, REGION, 8);
	print_tenths(f->held_end, f->asked_end, 8);
	console_print(" %8lu %8lu\n", f->largest_end >> 10, f->largest_empty >> 10);
}

static bool try_one(const struct contestant *c, uint64_t tries, uint64_t hz)
{
	struct figures best = {.cycles = UINT64_MAX};

	world.open = c->open;
	world.suite.reuse = c->reuse;
	world.suite.largest = c->largest;
	world.suite.align_largest = c->align_largest;
	world.a = world.b = 0;
	if (world.operations > 0)
		ring3_call(conform, NULL);
	for (uint64_t i = 0; i < tries && !world.wrong; i++) {
		ring3_call(work, NULL);
		if (world.f.cycles < best.cycles)
			best = world.f;
	}
	if (world.wrong)
		console_print("classic: %s: %s (0x%lx, 0x%lx)\n", c->name, world.wrong, world.a, world.b);
	else
		print_row(c->name, &best, hz);
	return !world.wrong;
}

int guest_main(const struct boot_info *boot)
{
	uint64_t hz = clock_cycles_hz(), tries = text_option(boot->cmdline, "tries", TRIES);

	world.rounds = text_option(boot->cmdline, "rounds", ROUNDS);
	world.operations = text_option(boot->cmdline, "operations", OPERATIONS);
	ring3_call(lend_all, NULL);
	console_print("classic: %lu rounds of %u; KiB: the largest allocation at the end, and of all when free again\n",
		      world.rounds, ROUND);
	console_print("classic: allocator                   ns/pair  refused   reuse    held  KiB end  KiB all\n");
	for (unsigned i = 0; i < sizeof(contestants) / sizeof(*contestants); i++)
		if (!try_one(&contestants[i], tries ? tries : 1, hz))
			return GUEST_FAILED;
	console_print("classic: ok %u allocators, %lu operations of the suite each\n",
		      (unsigned)(sizeof(contestants) / sizeof(*contestants)), world.operations);
	return GUEST_OK;
}
