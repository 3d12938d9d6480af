/* chase: what a load costs that waits for the one before it, wherever in RAM that
 * leads, and what RAM costs read in a row.
 *
 * Every element of a set of memory names the next one, all of them in one random
 * cycle (Sattolo's shuffle, in place). Sets are the first 1 MiB, 64 MiB, 512 MiB of
 * free RAM, as far as there is more of it, and then all of it. Elements are a cache
 * line each (`stride 64`: the caches, then memory, and the TLB count), or one line
 * of each 4K page (`stride 4096`, a random line of it: 64 times less data, as many
 * pages: the TLB and the walk of the tables count). The guest's own leaves are of
 * 2M where that is possible; below them, the second-level table may be cut finer,
 * and a TLB holds the smaller of both.
 *
 * The property: a first walk, that counts, meets every element once and is back at
 * the start then. Memory in which two addresses are one, or one page lies where
 * another should, breaks it. "bytes=N" of the command line ends the sets there,
 * "loads=N" is how many loads are timed, in each of "rounds=N" rounds of which the
 * least counts; 0 rounds: no figures. Short rounds, since whoever shares the CPU takes
 * it away for milliseconds.
 *
 * What it cannot see: who else used the CPU or its caches meanwhile. */
#include "guests/runtime/boot_info.h"
#include "guests/runtime/clock.h"
#include "guests/runtime/console.h"
#include "guests/runtime/cpu.h"
#include "guests/runtime/guest.h"
#include "guests/runtime/memory.h"
#include "guests/runtime/ring3.h"
#include "guests/runtime/string.h"

#define MIB	   UINT64_C(0x100000)
#define LINE	   64u
#define PARTS	   64u /* free ranges; of what has more, the rest is not looked at */
#define LOADS	   (MIB / 32)
#define ROUNDS	   32u
#define GOLDEN	   UINT64_C(0x9e3779b97f4a7c15)
#define LINE_SHIFT 58u /* a random number's upper bits choose one of the 64 lines of a page */

static const uint64_t sets[] = {1, 64, 512}; /* MiB */
static const uint64_t strides[] = {LINE, FRAME_BYTES};

struct element {
	struct element *next;
	uint64_t met; /* how often, by the walk that counts */
};

struct part { /* of RAM */
	uint64_t start, bytes;
};

static struct chase {
	struct part part[PARTS];
	unsigned parts;
	uint64_t bytes, stride; /* of the set */
	uint64_t count;		/* of its elements */
	uint64_t loads, random;
	struct element *at; /* where the last walk ended */
	uint64_t sum;	    /* of what was read */
	uint64_t cycles;
} chase;

/* The parts end where the set does: whole frames, so that each holds whole elements. */
static uint64_t part_bytes(const struct chase *c, unsigned i, uint64_t before)
{
	return c->part[i].bytes < c->bytes - before ? c->part[i].bytes : c->bytes - before;
}

/* A line of its own in each element's room: neighbours would share few sets of a cache. */
static struct element *element_in(const struct chase *c, uint64_t room)
{
	uint64_t line = c->stride == LINE ? 0 : room / c->stride * GOLDEN >> LINE_SHIFT;

	return (struct element *)(uintptr_t)(room + line * LINE);
}

static struct element *element(const struct chase *c, uint64_t n)
{
	uint64_t at = n * c->stride;
	unsigned i = 0;

	for (; at >= c->part[i].bytes; i++)
		at -= c->part[i].bytes;
	return element_in(c, c->part[i].start + at);
}

static bool is_element(const struct chase *c, const struct element *e)
{
	uint64_t at = (uint64_t)(uintptr_t)e, before = 0;

	for (unsigned i = 0; i < c->parts && before < c->bytes; before += c->part[i++].bytes) {
		if (at >= c->part[i].start && at - c->part[i].start < part_bytes(c, i, before))
			return e == element_in(c, at & ~(c->stride - 1));
	}
	return false;
}

static uint64_t random_below(struct chase *c, uint64_t n)
{
	c->random ^= c->random << 13;
	c->random ^= c->random >> 7;
	c->random ^= c->random << 17;
	return (uint64_t)((unsigned __int128)c->random * n >> 64);
}

/* Ring 3, as all that follow. */
static uint64_t build(void *arg)
{
	struct chase *c = arg;

	for (uint64_t i = 0; i < c->count; i++)
		*element(c, i) = (struct element){element(c, i), 0};
	for (uint64_t i = c->count - 1; i > 0; i--) {
		struct element *a = element(c, i), *b = element(c, random_below(c, i));
		struct element *next = a->next;

		a->next = b->next;
		b->next = next;
	}
	c->at = element(c, 0);
	return 0;
}

/* 1 iff `count` steps meet that many elements, each once. */
static uint64_t count_all(void *arg)
{
	struct chase *c = arg;
	struct element *e = c->at;

	for (uint64_t i = 0; i < c->count; i++) {
		e = e->next;
		if (!is_element(c, e) || e->met++)
			return 0;
	}
	return e == c->at;
}

/* What was loaded is needed here, and nothing is moved over the clock. */
static inline uint64_t stamp(uint64_t needed)
{
	__asm__ volatile("lfence" : "+r"(needed) : : "memory");
	return cpu_cycles();
}

static uint64_t walk(void *arg)
{
	struct chase *c = arg;
	const struct element *e = c->at;
	uint64_t start = stamp((uintptr_t)e);

	for (uint64_t i = c->loads; i > 0; i--)
		e = e->next;
	c->cycles = stamp((uintptr_t)e) - start;
	c->at = (struct element *)(uintptr_t)e;
	return 0;
}

static uint64_t read_range(const struct part *p, uint64_t bytes)
{
	const uint64_t *word = (const uint64_t *)(uintptr_t)p->start;
	uint64_t sum = 0;

	for (uint64_t i = 0; i < bytes / sizeof(*word); i += 8)
		sum += (word[i] ^ word[i + 1]) + (word[i + 2] ^ word[i + 3]) + (word[i + 4] ^ word[i + 5]) +
		       (word[i + 6] ^ word[i + 7]);
	return sum;
}

/* All of the set, as often as there are loads for it; the count is in at least one. */
static uint64_t read_in_a_row(void *arg)
{
	struct chase *c = arg;
	uint64_t times = c->loads * LINE / c->bytes, start = stamp(0);

	times += times == 0;
	for (uint64_t n = 0; n < times; n++) {
		uint64_t before = 0;

		for (unsigned i = 0; before < c->bytes; before += c->part[i++].bytes)
			c->sum += read_range(&c->part[i], part_bytes(c, i, before));
		stamp(c->sum);
	}
	c->cycles = (stamp(c->sum) - start) / times;
	return 0;
}

/* ---- ring 0 ---- */

static uint64_t least_cycles(uint64_t (*work)(void *), uint64_t rounds)
{
	uint64_t least = UINT64_MAX;

	for (uint64_t i = 0; i < rounds; i++) {
		ring3_call(work, &chase);
		least = chase.cycles < least ? chase.cycles : least;
	}
	return least;
}

/* Tenths of a nanosecond; without 128-bit division, and in range up to days. */
static uint64_t tenths(uint64_t cycles, uint64_t hz)
{
	return cycles * 10000 / (hz / 1000000);
}

static void show_tenths(uint64_t value, const char *unit)
{
	console_print("chase: %lu.%lu %s (over %lu bytes", value / 10, value % 10, unit, chase.bytes);
}

/* One cycle through the set. How many elements it has; 0: it is broken. */
static uint64_t try_cycle(uint64_t stride, uint64_t rounds, uint64_t hz)
{
	chase.stride = stride;
	chase.count = chase.bytes / stride;
	ring3_call(build, &chase);
	if (!ring3_call(count_all, &chase)) {
		console_print("chase: the cycle over %lu bytes, stride %lu, is broken\n", chase.bytes, stride);
		return 0;
	}
	if (rounds) {
		show_tenths(tenths(least_cycles(walk, rounds), hz) / chase.loads, "ns a load");
		console_print(", stride %lu)\n", stride);
	}
	return chase.count;
}

/* All that is done with the first `bytes` of RAM. How many elements were met; 0: a cycle is broken. */
static uint64_t try_set(uint64_t bytes, uint64_t rounds, uint64_t hz)
{
	uint64_t elements = 0;

	chase.bytes = bytes;
	for (unsigned i = 0; i < sizeof(strides) / sizeof(strides[0]); i++) {
		uint64_t count = try_cycle(strides[i], rounds, hz);

		if (count == 0)
			return 0;
		elements += count;
	}
	if (rounds) {
		show_tenths(tenths(least_cycles(read_in_a_row, rounds), hz) * (1024 * MIB / FRAME_BYTES) /
				    (bytes / FRAME_BYTES) / 1000000,
			    "ms a GiB in a row");
		console_print(")\n");
	}
	return elements;
}

static bool try_all(uint64_t most, uint64_t rounds, uint64_t hz)
{
	uint64_t elements = 0, count;
	unsigned n = 0;

	for (uint64_t bytes = 0; bytes < most; n++) {
		bytes = n < sizeof(sets) / sizeof(sets[0]) && sets[n] * MIB < most ? sets[n] * MIB : most;
		count = try_set(bytes, rounds, hz);
		if (count == 0)
			return false;
		elements += count;
	}
	console_print("chase: ok %lu elements of %u sets, each met once\n", elements, n);
	return true;
}

/* The free ranges above the first MiB; how many bytes they are. */
static uint64_t find_parts(void)
{
	struct extent free;
	uint64_t bytes = 0;

	for (uint64_t from = MIB >> FRAME_SHIFT; chase.parts < PARTS && memory_next_free(from, &free);
	     from = free.first + free.units) {
		struct part p = {free.first << FRAME_SHIFT, free.units << FRAME_SHIFT};

		chase.part[chase.parts++] = p;
		bytes += p.bytes;
	}
	return bytes;
}

int guest_main(const struct boot_info *boot)
{
	uint64_t rounds = text_option(boot->cmdline, "rounds", ROUNDS), hz = rounds ? clock_cycles_hz() : 0;
	uint64_t all = find_parts(), most = text_option(boot->cmdline, "bytes", all) & ~(FRAME_BYTES - 1);

	most = most < all ? most : all;
	chase.random = GOLDEN;
	chase.loads = text_option(boot->cmdline, "loads", LOADS);
	if (most < 2 * FRAME_BYTES || chase.loads == 0) {
		console_print("chase: bytes are at least 8K, and loads one\n");
		return GUEST_FAILED;
	}
	if (rounds && hz < 1000000) {
		console_print("chase: there is no interval timer here, so no figures\n");
		rounds = 0;
	}
	return try_all(most, rounds, hz) ? GUEST_OK : GUEST_FAILED;
}
