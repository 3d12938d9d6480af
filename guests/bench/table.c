/* table.c: the rows of the host's `make bench-mm`, run inside the guest by the
 * same loops: slat's column and the floor's.
 *
 * All work is done in ring 3 by the crew. A row is a description; one round of it
 * is prepared, timed and cleaned up by the CPUs that take part, each for itself.
 * What is live is cut to what this guest's RAM can hold, and the row says how
 * much that was. Figures are cycles by the interval timer's measure; there is no
 * floating point here, so tenths of a nanosecond are integers. */
#include "guests/bench/table.h"

#include "guests/bench/floors.h"
#include "guests/bench/loops.h"
#include "guests/runtime/clock.h"
#include "guests/runtime/console.h"
#include "guests/runtime/crew.h"
#include "guests/runtime/guest_heap.h"
#include "guests/runtime/ring3.h"
#include "guests/runtime/string.h"

#define CPUS_MAX   2u /* that take part in a row */
#define STREAM	   UINT64_C(0x5eed)
#define PAIRS	   UINT64_C(400000)
#define LIVE	   100000u
#define FRAMES	   262144u
#define MIXED_MEAN 186u /* of 2^0 to 2^10 */

enum kind { HOT, LIFO, RANDOM, FILL, FREE, REFILL, MIXED, PAIR_HOT, PAIR_RANDOM, PAIR_OTHER };

struct row {
	const char *name;
	enum kind kind;
	uint32_t bytes; /* of an object; 0: frames */
	unsigned order; /* of frames */
	uint32_t live;	/* items of a CPU, if RAM holds them */
};

#define OBJECT_ROWS(bytes)                                                                                             \
	{"hot", HOT, bytes, 0, 0}, {"LIFO of 1,000", LIFO, bytes, 0, 1000}, {"random", RANDOM, bytes, 0, LIVE},        \
		{"shuffled free", FREE, bytes, 0, LIVE}, {"refill after it", REFILL, bytes, 0, LIVE},                  \
		{"2 CPUs, hot", PAIR_HOT, bytes, 0, 0}, {"2 CPUs, random", PAIR_RANDOM, bytes, 0, LIVE / 2},           \
	{                                                                                                              \
		"freed by the other", PAIR_OTHER, bytes, 0, 0                                                          \
	}

static const struct row rows[] = {
	{"order 0 hot", HOT, 0, 0, 0},
	{"order 0 random", RANDOM, 0, 0, FRAMES / 2},
	{"order 0 fill", FILL, 0, 0, FRAMES},
	{"order 0 shuffled free", FREE, 0, 0, FRAMES},
	{"order 0 refill after it", REFILL, 0, 0, FRAMES},
	{"order 9 hot", HOT, 0, 9, 0},
	{"order 9 random", RANDOM, 0, 9, FRAMES / 512 / 2},
	{"orders 0 to 10 mixed", MIXED, 0, 0, FRAMES / 2 / MIXED_MEAN},
	{"2 CPUs, order 0 hot", PAIR_HOT, 0, 0, 0},
	{"2 CPUs, order 0 random", PAIR_RANDOM, 0, 0, FRAMES / 4},
	{"2 CPUs, freed by the other", PAIR_OTHER, 0, 0, 0},
	OBJECT_ROWS(64),
	OBJECT_ROWS(256),
	OBJECT_ROWS(4096),
};

struct caller { /* take's and give's self */
	unsigned cpu;
	struct slab_cache *cache;
	struct floor_stack stack;
	struct floor_list list;
} __attribute__((aligned(LOOP_LINE)));

static struct table {
	const struct row *row;
	bool floor, failed;
	uint32_t live;
	uint64_t pairs;
	struct loop_ring *ring;
	void *meta; /* of the slab cache */
	const struct loops *loops;
	struct loop loop[CPUS_MAX];
	struct caller caller[CPUS_MAX];
} table;

/* ---- slat and the floors, as the loops call them ---- */

static uintptr_t frame_take(void *self, unsigned order)
{
	const struct caller *c = self;
	struct pfn first;

	return frames_alloc(guest_frames(), c->cpu, order, &first) == MM_OK ? first.n : LOOP_NONE;
}

static void frame_give(void *self, uintptr_t item, unsigned order)
{
	const struct caller *c = self;

	if (frames_free(guest_frames(), c->cpu, (struct pfn){item}, order) != MM_OK)
		table.failed = true;
}

static uintptr_t object_take(void *self, unsigned order)
{
	const struct caller *c = self;

	(void)order;
	return (uintptr_t)slab_alloc(c->cache, c->cpu);
}

static void object_give(void *self, uintptr_t item, unsigned order)
{
	const struct caller *c = self;

	(void)order;
	slab_free(c->cache, c->cpu, (void *)item);
}

static uintptr_t stack_take(void *self, unsigned order)
{
	return floor_stack_take(&((struct caller *)self)->stack, order);
}

static void stack_give(void *self, uintptr_t item, unsigned order)
{
	floor_stack_give(&((struct caller *)self)->stack, item, order);
}

static uintptr_t list_take(void *self, unsigned order)
{
	return floor_list_take(&((struct caller *)self)->list, order);
}

static void list_give(void *self, uintptr_t item, unsigned order)
{
	floor_list_give(&((struct caller *)self)->list, item, order);
}

LOOPS(frame_loops, frame_take, frame_give, loop_leave);
LOOPS(object_loops, object_take, object_give, loop_write);
LOOPS(stack_loops, stack_take, stack_give, loop_leave);
LOOPS(list_loops, list_take, list_give, loop_write);

/* ---- one round ---- */

static bool is_pair(enum kind kind)
{
	return kind == PAIR_HOT || kind == PAIR_RANDOM || kind == PAIR_OTHER;
}

static bool has_floor(enum kind kind)
{
	return kind != MIXED && kind != PAIR_OTHER;
}

static unsigned cpus_of(const struct row *row)
{
	return is_pair(row->kind) ? CPUS_MAX : 1;
}

static void *lend(size_t bytes, size_t align)
{
	void *memory = heap_alloc_aligned(guest_heap(), 0, bytes, align);

	table.failed |= !memory;
	return memory;
}

static void take_back(void *memory)
{
	heap_free(guest_heap(), 0, memory, 0);
}

static void make_floor(struct caller *c, const struct row *row)
{
	uint32_t items = table.live ? table.live : 1;

	if (row->bytes) {
		c->list =
			(struct floor_list){.fresh = lend((size_t)items * row->bytes, LOOP_LINE), .bytes = row->bytes};
		c->list.end = c->list.fresh + (size_t)items * row->bytes;
	} else {
		floor_stack_init(&c->stack, lend(items * sizeof(uint32_t), LOOP_LINE), items, 1U << row->order);
	}
}

static void make_cache(const struct row *row)
{
	size_t bytes = slab_meta_bytes(CPUS_MAX);
	struct slab_config config = {.bytes = row->bytes, .cpus = CPUS_MAX, .source = guest_slab_source()};

	table.meta = lend(bytes, LOOP_LINE);
	if (!table.failed && slab_init(table.meta, bytes, &config, &table.caller[0].cache) != MM_OK)
		table.failed = true;
	table.caller[1].cache = table.caller[0].cache;
}

static const struct loops *loops_of(const struct row *row)
{
	if (table.floor)
		return row->bytes ? &list_loops : &stack_loops;
	return row->bytes ? &object_loops : &frame_loops;
}

/* Ring 3, CPU 0: all that a round works on, or table.failed. */
static uint64_t make(void *unused)
{
	const struct row *row = table.row;

	(void)unused;
	memset(table.caller, 0, sizeof(table.caller));
	table.loops = loops_of(row);
	table.ring = lend(sizeof(*table.ring), LOOP_LINE);
	if (!table.floor && row->bytes)
		make_cache(row);
	for (unsigned i = 0; i < CPUS_MAX && !table.failed; i++) {
		table.caller[i].cpu = i;
		table.loop[i] = (struct loop){.self = &table.caller[i],
					      .order = row->order,
					      .item = lend(table.live * sizeof(uintptr_t), LOOP_LINE),
					      .orders = lend(table.live, LOOP_LINE),
					      .count = table.live,
					      .pairs = table.pairs,
					      .seed = STREAM + i,
					      .ring = table.ring};
		if (table.floor && i < cpus_of(row))
			make_floor(&table.caller[i], row);
	}
	if (!table.failed)
		memset(table.ring, 0, sizeof(*table.ring));
	return 0;
}

/* Ring 3, CPU 0. */
static uint64_t unmake(void *unused)
{
	const struct row *row = table.row;

	(void)unused;
	for (unsigned i = 0; i < CPUS_MAX; i++) {
		struct caller *c = &table.caller[i];

		if (table.floor && i < cpus_of(row))
			take_back(row->bytes
					  ? (void *)(c->list.end - (size_t)(table.live ? table.live : 1) * row->bytes)
					  : (void *)c->stack.number);
		take_back(table.loop[i].orders);
		take_back(table.loop[i].item);
	}
	if (!table.floor && row->bytes && slab_destroy(table.caller[0].cache) != MM_OK)
		table.failed = true;
	if (!table.floor && row->bytes)
		take_back(table.meta);
	take_back(table.ring);
	return 0;
}

static void prepare(void *unused, unsigned cpu)
{
	const struct loop *l = &table.loop[cpu];

	(void)unused;
	switch (table.row->kind) {
	case MIXED:
		for (uint32_t i = 0; i < l->count; i++)
			l->item[i] = LOOP_NONE;
		table.loops->mixed(l); /* until it is as full as it stays */
		break;
	case RANDOM:
	case PAIR_RANDOM:
	case FREE:
	case REFILL:
		table.loops->fill(l);
		if (table.row->kind == RANDOM || table.row->kind == PAIR_RANDOM)
			break;
		loop_shuffle(l);
		if (table.row->kind == REFILL)
			table.loops->drain(l);
		break;
	default:
		break;
	}
}

static void work(void *unused, unsigned cpu)
{
	const struct loop *l = &table.loop[cpu];

	(void)unused;
	switch (table.row->kind) {
	case HOT:
	case PAIR_HOT:
		table.loops->hot(l);
		break;
	case LIFO:
		table.loops->lifo(l);
		break;
	case RANDOM:
	case PAIR_RANDOM:
		table.loops->random(l);
		break;
	case FILL:
	case REFILL:
		table.loops->fill(l);
		break;
	case FREE:
		table.loops->drain(l);
		break;
	case MIXED:
		table.loops->mixed(l);
		break;
	case PAIR_OTHER:
		(cpu == 0 ? table.loops->produce : table.loops->consume)(l);
		break;
	}
}

static void clean_up(void *unused, unsigned cpu)
{
	const struct loop *l = &table.loop[cpu];
	enum kind kind = table.row->kind;

	(void)unused;
	if (kind == MIXED)
		table.loops->empty(l);
	else if (kind == RANDOM || kind == PAIR_RANDOM || kind == FILL || kind == REFILL)
		table.loops->drain(l);
	frames_drain(guest_frames(), cpu);
}

/* How often the row's unit is in one round of one CPU. */
static uint64_t units(const struct row *row)
{
	return row->kind == FILL || row->kind == FREE || row->kind == REFILL ? table.live : table.pairs;
}

static uint64_t round_cycles(const struct row *row, bool floor)
{
	uint64_t cycles = 0;

	table.row = row;
	table.floor = floor;
	ring3_call(make, NULL);
	if (table.failed)
		return 0;
	crew_run(cpus_of(row), prepare, NULL);
	cycles = crew_run(cpus_of(row), work, NULL);
	crew_run(cpus_of(row), clean_up, NULL);
	ring3_call(unmake, NULL);
	return cycles;
}

/* ---- the table ---- */

/* Items of one CPU: as many as wanted, in a quarter of what is free now at most: the floor's list of them is one run,
 * rounded up to a power of two, and in less than half of RAM such a run is always to be had. */
static uint32_t live_of(const struct row *row, uint64_t scale)
{
	uint64_t bytes = row->bytes ? row->bytes : FRAME_BYTES << row->order;
	uint64_t room = frames_stats_read(guest_frames()).frames_free * FRAME_BYTES / 4 / cpus_of(row);
	uint64_t most = room / (bytes * (row->kind == MIXED ? MIXED_MEAN : 1));
	uint64_t live = row->live / scale > 16 ? row->live / scale : row->live < 16 ? row->live : 16;

	return (uint32_t)(live < most ? live : most);
}

static uint64_t pairs_of(const struct row *row, uint64_t scale)
{
	uint64_t step = row->kind == PAIR_OTHER ? LOOP_BATCH : row->kind == LIFO && table.live ? table.live : 1;
	uint64_t pairs = PAIRS / scale / step * step;

	return pairs ? pairs : step;
}

static void print_tenths(uint64_t tenths)
{
	console_print(" %6lu.%u", tenths / 10, (unsigned)(tenths % 10));
}

/* Left-aligned in its column: the console knows no such width. */
static void print_name(const struct row *row)
{
	unsigned length = 0;

	if (row->bytes)
		console_print("alloc: %4u B  ", row->bytes);
	else
		console_print("alloc: frames  ");
	while (row->name[length])
		length++;
	console_print("%s", row->name);
	for (; length < 28; length++)
		console_print(" ");
}

static bool print_row(const struct row *row, const struct table_config *config, uint64_t hz)
{
	uint64_t scale = config->scale ? config->scale : 1, least[2] = {UINT64_MAX, UINT64_MAX};

	table.live = live_of(row, scale);
	table.pairs = pairs_of(row, scale);
	for (uint64_t i = 0; i < config->rounds; i++) {
		for (unsigned floor = 0; floor < (has_floor(row->kind) ? 2u : 1u); floor++) {
			uint64_t cycles = round_cycles(row, floor);

			least[floor] = cycles < least[floor] ? cycles : least[floor];
		}
		if (table.failed) {
			console_print("alloc: no memory for the row, or an item came back wrong: %s\n", row->name);
			return false;
		}
	}
	print_name(row);
	for (unsigned i = 0; i < (has_floor(row->kind) ? 2u : 1u); i++) /* in two steps: no product leaves 64 bits */
		print_tenths(least[i] * 1000 / units(row) * 10000000 / hz);
	if (has_floor(row->kind))
		print_tenths(least[0] * 10 / (least[1] ? least[1] : 1));
	console_print("  %u live\n", table.live);
	return true;
}

bool table_print(const struct table_config *config)
{
	uint64_t hz = clock_cycles_hz();

	if (hz == 0) {
		console_print("alloc: no interval timer runs here: no figures\n");
		return true;
	}
	console_print("alloc: %lu MHz; ns a pair (fill, refill: an allocation; shuffled free: a free), least of %lu\n",
		      hz / 1000000, config->rounds);
	if (config->cpus > 1)
		console_print(
			"alloc: CPUs without work spin: on a host with fewer CPUs, figures count its scheduler\n");
	console_print("alloc:                                           slat    floor    ratio\n");
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (cpus_of(&rows[i]) <= config->cpus && !print_row(&rows[i], config, hz))
			return false;
	return true;
}
