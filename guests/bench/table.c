/* table.c: the cases of the host's `make bench-mm` by the same names (cases.h), run
 * inside the guest by the same loops: slat's column and the floor's.
 *
 * All work is done in ring 3 by the crew. A row is a description; one round of it
 * is prepared, timed and cleaned up by the CPUs that take part, each for itself.
 * What is live is cut to what this guest's RAM can hold, and the row says how
 * much that was. Figures are cycles by the interval timer's measure; there is no
 * floating point here, so tenths of a nanosecond are integers. */
#include "guests/bench/table.h"

#include "guests/bench/cases.h"
#include "guests/bench/extents.h"
#include "guests/bench/floors.h"
#include "guests/bench/loops.h"
#include "guests/runtime/console.h"
#include "guests/runtime/crew.h"
#include "guests/runtime/guest_heap.h"
#include "guests/runtime/ring3.h"
#include "guests/runtime/string.h"

#define BULK	 256u /* frames a call, as on the host */
#define NAME_MAX 34u  /* what is before the figures of a row */

/* A case of frames or objects, as this guest runs it. */
struct row {
	const char *name;
	enum case_kind kind;
	uint32_t bytes; /* of an object; 0: frames */
	unsigned order; /* of frames */
	uint32_t live;	/* items of a CPU, if RAM holds them */
	uint64_t pairs;
};

struct caller { /* take's and give's self */
	unsigned cpu;
	struct slab_cache *cache;
	struct floor_stack stack;
	struct floor_list list;
} __attribute__((aligned(LOOP_LINE)));

static struct table {
	struct row row; /* here, where ring 3 can read it */
	bool floor, failed;
	uint32_t live;
	uint64_t pairs;
	struct loop_ring *ring;
	void *meta; /* of the slab cache */
	const struct loops *loops;
	struct loop loop[CASE_CPUS];
	struct caller caller[CASE_CPUS];
	struct extents extents;
	uint32_t refused;
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

static bool has_floor(enum case_kind kind)
{
	return kind != CASE_MIXED && kind != CASE_PAIR_OTHER;
}

static unsigned cpus_of(const struct row *row)
{
	return case_is_pair(row->kind) ? CASE_CPUS : 1;
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
	size_t bytes = slab_meta_bytes(CASE_CPUS);
	struct slab_config config = {.bytes = row->bytes, .cpus = CASE_CPUS, .source = guest_slab_source()};

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
	const struct row *row = &table.row;

	(void)unused;
	memset(table.caller, 0, sizeof(table.caller));
	table.loops = loops_of(row);
	table.ring = lend(sizeof(*table.ring), LOOP_LINE);
	if (!table.floor && row->bytes)
		make_cache(row);
	for (unsigned i = 0; i < CASE_CPUS && !table.failed; i++) {
		table.caller[i].cpu = i;
		table.loop[i] = (struct loop){.self = &table.caller[i],
					      .order = row->order,
					      .item = lend(table.live * sizeof(uintptr_t), LOOP_LINE),
					      .orders = lend(table.live, LOOP_LINE),
					      .count = table.live,
					      .pairs = table.pairs,
					      .seed = CASE_SEED + i,
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
	const struct row *row = &table.row;

	(void)unused;
	for (unsigned i = 0; i < CASE_CPUS; i++) {
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
	switch (table.row.kind) {
	case CASE_MIXED:
		for (uint32_t i = 0; i < l->count; i++)
			l->item[i] = LOOP_NONE;
		table.loops->mixed(l); /* until it is as full as it stays */
		break;
	case CASE_RANDOM:
	case CASE_PAIR_RANDOM:
	case CASE_FREE:
	case CASE_REFILL:
		table.loops->fill(l);
		if (table.row.kind == CASE_RANDOM || table.row.kind == CASE_PAIR_RANDOM)
			break;
		loop_shuffle(l);
		if (table.row.kind == CASE_REFILL)
			table.loops->drain(l);
		break;
	default:
		break;
	}
}

static void fill_in_bulk(const struct loop *l)
{
	const struct caller *c = l->self;

	for (uint32_t i = 0, n; i < l->count; i += n) {
		n = l->count - i < BULK ? l->count - i : BULK;
		if (frames_alloc_bulk(guest_frames(), c->cpu, (struct pfn *)(l->item + i), n) != n)
			table.failed = true;
	}
}

static void work(void *unused, unsigned cpu)
{
	const struct loop *l = &table.loop[cpu];

	(void)unused;
	switch (table.row.kind) {
	case CASE_HOT:
	case CASE_PAIR_HOT:
		table.loops->hot(l);
		break;
	case CASE_LIFO:
		table.loops->lifo(l);
		break;
	case CASE_RANDOM:
	case CASE_PAIR_RANDOM:
		table.loops->random(l);
		break;
	case CASE_BULK:
		if (!table.floor) {
			fill_in_bulk(l);
			break;
		}
		/* fall through */
	case CASE_FILL:
	case CASE_REFILL:
		table.loops->fill(l);
		break;
	case CASE_FREE:
		table.loops->drain(l);
		break;
	case CASE_MIXED:
		table.loops->mixed(l);
		break;
	case CASE_PAIR_OTHER:
		(cpu == 0 ? table.loops->produce : table.loops->consume)(l);
		break;
	}
}

static void clean_up(void *unused, unsigned cpu)
{
	const struct loop *l = &table.loop[cpu];
	enum case_kind kind = table.row.kind;

	(void)unused;
	if (kind == CASE_MIXED)
		table.loops->empty(l);
	else if (kind == CASE_RANDOM || kind == CASE_PAIR_RANDOM || (case_counts_live(kind) && kind != CASE_FREE))
		table.loops->drain(l);
	frames_drain(guest_frames(), cpu);
}

/* How often the row's unit is in one round of one CPU. */
static uint64_t units(const struct row *row)
{
	return case_counts_live(row->kind) ? table.live : table.pairs;
}

static uint64_t round_cycles(const struct row *row, bool floor)
{
	uint64_t cycles = 0;

	table.row = *row;
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
	uint64_t most = room / (bytes * (row->kind == CASE_MIXED ? CASE_MIXED_MEAN : 1));
	uint64_t live = row->live / scale > 16 ? row->live / scale : row->live < 16 ? row->live : 16;

	return (uint32_t)(live < most ? live : most);
}

static uint64_t pairs_of(const struct row *row, uint64_t scale)
{
	uint64_t step = row->kind == CASE_PAIR_OTHER	       ? LOOP_BATCH
			: row->kind == CASE_LIFO && table.live ? table.live
							       : 1;
	uint64_t pairs = row->pairs / scale / step * step;

	return pairs ? pairs : step;
}

static void print_tenths(uint64_t tenths)
{
	console_print(" %6lu.%u", tenths / 10, (unsigned)(tenths % 10));
}

/* Left-aligned in its column: the console knows no such width. */
static void print_padding(unsigned used)
{
	for (; used < NAME_MAX; used++)
		console_print(" ");
}

static unsigned length_of(const char *text)
{
	unsigned length = 0;

	while (text[length])
		length++;
	return length;
}

static void print_name(const struct row *row)
{
	if (row->bytes)
		console_print("alloc: %4u B  %s", row->bytes, row->name);
	else
		console_print("alloc: frames  %s", row->name);
	print_padding(length_of(row->name));
}

/* Of slat and, if there is one, of the floor; in two steps, so that no product leaves 64 bits. */
static void print_figures(const uint64_t least[2], bool floor, uint64_t units, uint64_t hz)
{
	for (unsigned i = 0; i < (floor ? 2u : 1u); i++)
		print_tenths(least[i] * 1000 / units * 10000000 / hz);
	if (floor)
		print_tenths(least[0] * 10 / (least[1] ? least[1] : 1));
	console_print("  %u live\n", table.live);
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
	print_figures(least, has_floor(row->kind), units(row), hz);
	return true;
}

/* The host's cases of so many frames as no small guest has are left out. */
static bool print_frames(const struct table_config *config, uint64_t hz)
{
	uint64_t total = frames_stats_read(guest_frames()).frames_total;

	for (unsigned i = 0; i < CASES_FRAMES; i++) {
		const struct frames_case *c = &frames_cases[i];
		struct row row = {c->name, c->kind, 0, c->order, c->live, c->pairs};

		if (c->frames > CASE_GIB_FRAMES && c->frames > total)
			continue;
		if (cpus_of(&row) <= config->cpus && !print_row(&row, config, hz))
			return false;
	}
	return true;
}

static bool print_objects(uint32_t bytes, const struct table_config *config, uint64_t hz)
{
	for (unsigned i = 0; i < CASES_OBJECTS; i++) {
		const struct objects_case *c = &objects_cases[i];
		struct row row = {c->name, c->kind, bytes, 0, c->live, c->pairs};

		if (cpus_of(&row) <= config->cpus && !print_row(&row, config, hz))
			return false;
	}
	return true;
}

/* ---- extents: one CPU, no floor: the host's is a tree that is not here ---- */

static const uint32_t extents_live[] = {1000, 10000, 100000};

/* Ring 3. */
static uint64_t make_extents(void *unused)
{
	struct extents *x = &table.extents;
	struct extent_config config = extents_config(x);
	size_t bytes = extent_config_bytes(&config);

	(void)unused;
	table.meta = lend(bytes, LOOP_LINE);
	x->extent = lend(x->live * sizeof(*x->extent), LOOP_LINE);
	if (!table.failed && (extent_init(table.meta, bytes, &config, &x->space) != MM_OK || !extents_settle(x) ||
			      !extent_check(x->space)))
		table.failed = true;
	return 0;
}

/* Ring 3. */
static uint64_t unmake_extents(void *unused)
{
	(void)unused;
	take_back(table.extents.extent);
	take_back(table.meta);
	return 0;
}

static void replace_extents(void *unused, unsigned cpu)
{
	(void)unused;
	(void)cpu;
	for (uint64_t i = 0; i < table.pairs; i++)
		if (!extents_replace(&table.extents, &table.refused))
			table.failed = true;
}

static bool extents_fit(void)
{
	struct extent_config config = extents_config(&table.extents);
	uint64_t bytes = extent_config_bytes(&config) + table.extents.live * sizeof(struct extent);

	return bytes < frames_stats_read(guest_frames()).frames_free * FRAME_BYTES / 4; /* runs are rounded up */
}

static void print_extents_name(uint32_t live)
{
	const char *policy = extents_policy_name(table.extents.policy);
	const char *lengths = extents_lengths_name(table.extents.tail);
	unsigned length = length_of(policy) + length_of(lengths) + length_of(", , 0 live");

	for (uint32_t rest = live; rest >= 10; rest /= 10)
		length++;
	console_print("alloc: extents %s, %s, %u live", policy, lengths, live);
	print_padding(length);
}

static bool print_extents(uint32_t live, bool tail, const struct table_config *config, uint64_t hz)
{
	uint64_t scale = config->scale ? config->scale : 1, least[2] = {UINT64_MAX, 0};

	/* Of a few, too many requests would find no hole. */
	table.live = live / scale > extents_live[0] ? (uint32_t)(live / scale) : extents_live[0];
	table.pairs = extents_pairs(live) / scale ? extents_pairs(live) / scale : 1;
	table.extents = (struct extents){.policy = EXTENT_BEST_FIT, .tail = tail, .live = table.live};
	print_extents_name(live);
	if (!extents_fit()) {
		console_print(" no room here\n");
		return true;
	}
	ring3_call(make_extents, NULL);
	for (uint64_t i = 0; i < config->rounds && !table.failed; i++) {
		uint64_t cycles;

		table.refused = 0;
		cycles = crew_run(1, replace_extents, NULL);
		least[0] = cycles < least[0] ? cycles : least[0];
		table.failed |= table.refused > table.pairs / EXTENTS_REFUSED + 1;
	}
	ring3_call(unmake_extents, NULL);
	if (table.failed) {
		console_print(" no memory, or an extent came back wrong\n");
		return false;
	}
	print_figures(least, false, table.pairs, hz);
	return true;
}

static bool print_all_extents(const struct table_config *config, uint64_t hz)
{
	for (unsigned tail = 0; tail < 2; tail++)
		for (unsigned i = 0; i < sizeof(extents_live) / sizeof(extents_live[0]); i++)
			if (!print_extents(extents_live[i], tail, config, hz))
				return false;
	return true;
}

bool table_print(const struct table_config *config)
{
	uint64_t hz = config->hz;
	bool ok;

	if (hz == 0) {
		console_print("alloc: no interval timer runs here: no figures\n");
		return true;
	}
	console_print("alloc: %lu MHz; ns a pair (fill, refill: an allocation; shuffled free: a free), least of %lu\n",
		      hz / 1000000, config->rounds);
	if (config->cpus > 1)
		console_print(
			"alloc: CPUs without work spin: on a host with fewer CPUs, figures count its scheduler\n");
	console_print("alloc:         ");
	print_padding(0);
	console_print("     slat    floor    ratio\n");
	ok = print_all_extents(config, hz) && print_frames(config, hz);
	for (unsigned i = 0; ok && i < CASES_SIZES; i++)
		ok = print_objects(objects_sizes[i], config, hz);
	return ok;
}
