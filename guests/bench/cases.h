/* guests/bench/cases.h: which cases have figures: the same names, sizes and numbers
 * of operations on the host and inside a guest, so that two tables can be laid
 * side by side.
 *
 * A case says what is done; how, loops.h and extents.h do. A machine that is too
 * small or too slow for a case does less of it, and says so.
 * Memory: constants. */
#ifndef SLAT_GUESTS_BENCH_CASES_H
#define SLAT_GUESTS_BENCH_CASES_H

#include <stdbool.h>
#include <stdint.h>

#include "guests/bench/loops.h"

#define CASE_CPUS	2u /* that work at once in the cases of two threads */
#define CASE_SEED	UINT64_C(0x5eed)
#define CASE_GIB_FRAMES UINT32_C(262144)
#define CASE_MIXED_MEAN 186u	/* of 2^0 to 2^LOOP_ORDER_MAX */
#define CASE_LIVE	100000u /* objects of one size, at most */

_Static_assert(((2u << LOOP_ORDER_MAX) - 1) / (LOOP_ORDER_MAX + 1) == CASE_MIXED_MEAN, "the mean of all orders");

enum case_kind {
	CASE_HOT,
	CASE_LIFO,
	CASE_RANDOM,
	CASE_FILL,
	CASE_BULK, /* the same by a call that takes many */
	CASE_FREE,
	CASE_REFILL,
	CASE_MIXED,
	CASE_PAIR_HOT,
	CASE_PAIR_RANDOM,
	CASE_PAIR_OTHER,
};

static inline bool case_is_pair(enum case_kind kind)
{
	return kind == CASE_PAIR_HOT || kind == CASE_PAIR_RANDOM || kind == CASE_PAIR_OTHER;
}

/* What the unit counts: allocations or frees of what is live, or pairs. */
static inline bool case_counts_live(enum case_kind kind)
{
	return kind == CASE_FILL || kind == CASE_BULK || kind == CASE_FREE || kind == CASE_REFILL;
}

struct frames_case {
	const char *name, *unit;
	enum case_kind kind;
	uint32_t frames; /* all that there are */
	unsigned order;
	uint32_t live; /* items of a CPU */
	uint64_t pairs;
};

#define CASE_PAIRS		UINT64_C(400000)
#define CASE_MIXED_LIVE(frames) ((frames) / 2 / CASE_MIXED_MEAN) /* about half is taken */
#define CASE_64_GIB		(64 * CASE_GIB_FRAMES)

static const struct frames_case frames_cases[] __attribute__((unused)) = {
	{"order 0 hot", "ns/pair", CASE_HOT, CASE_GIB_FRAMES, 0, 0, CASE_PAIRS},
	{"order 0 random", "ns/pair", CASE_RANDOM, CASE_GIB_FRAMES, 0, CASE_GIB_FRAMES / 2, CASE_PAIRS},
	{"order 0 fill", "ns/alloc", CASE_FILL, CASE_GIB_FRAMES, 0, CASE_GIB_FRAMES, 0},
	{"order 0 fill by the bulk call", "ns/alloc", CASE_BULK, CASE_GIB_FRAMES, 0, CASE_GIB_FRAMES, 0},
	{"order 0 shuffled free", "ns/free", CASE_FREE, CASE_GIB_FRAMES, 0, CASE_GIB_FRAMES, 0},
	{"order 0 refill after it", "ns/alloc", CASE_REFILL, CASE_GIB_FRAMES, 0, CASE_GIB_FRAMES, 0},
	{"order 9 hot", "ns/pair", CASE_HOT, CASE_GIB_FRAMES, 9, 0, CASE_PAIRS},
	{"order 9 random", "ns/pair", CASE_RANDOM, CASE_GIB_FRAMES, 9, CASE_GIB_FRAMES / 512 / 2, CASE_PAIRS},
	{"orders 0 to 10 mixed", "ns/pair", CASE_MIXED, CASE_GIB_FRAMES, 0, CASE_MIXED_LIVE(CASE_GIB_FRAMES),
	 CASE_PAIRS},
	{"2 threads, order 0 hot", "ns/pair", CASE_PAIR_HOT, CASE_GIB_FRAMES, 0, 0, CASE_PAIRS},
	{"2 threads, order 0 random", "ns/pair", CASE_PAIR_RANDOM, CASE_GIB_FRAMES, 0, CASE_GIB_FRAMES / 2 / CASE_CPUS,
	 CASE_PAIRS},
	{"2 threads, freed by the other", "ns/pair", CASE_PAIR_OTHER, CASE_GIB_FRAMES, 0, 0, CASE_PAIRS / 2},
	{"64 GiB, order 0 hot", "ns/pair", CASE_HOT, CASE_64_GIB, 0, 0, CASE_PAIRS},
	{"64 GiB, order 0 random", "ns/pair", CASE_RANDOM, CASE_64_GIB, 0, CASE_64_GIB / 2, CASE_PAIRS},
	{"64 GiB, order 0 fill", "ns/alloc", CASE_FILL, CASE_64_GIB, 0, CASE_64_GIB, 0},
	{"64 GiB, orders 0 to 10 mixed", "ns/pair", CASE_MIXED, CASE_64_GIB, 0, CASE_MIXED_LIVE(CASE_64_GIB),
	 CASE_PAIRS},
};

#define CASES_FRAMES (sizeof(frames_cases) / sizeof(frames_cases[0]))

/* Each for every size; "SIZE B NAME" is the whole name. */
struct objects_case {
	const char *name, *unit;
	enum case_kind kind;
	uint32_t live; /* of a CPU */
	uint64_t pairs;
};

static const uint32_t objects_sizes[] __attribute__((unused)) = {64, 256, 4096};

static const struct objects_case objects_cases[] __attribute__((unused)) = {
	{"hot", "ns/pair", CASE_HOT, 0, 400000},
	{"1,000 and back", "ns/pair", CASE_LIFO, 1000, 200000},
	{"random of 100,000", "ns/pair", CASE_RANDOM, CASE_LIVE, 200000},
	{"shuffled free", "ns/free", CASE_FREE, CASE_LIVE, 0},
	{"refill after it", "ns/alloc", CASE_REFILL, CASE_LIVE, 0},
	{"2 threads, hot", "ns/pair", CASE_PAIR_HOT, 0, 400000},
	{"2 threads, random", "ns/pair", CASE_PAIR_RANDOM, CASE_LIVE / CASE_CPUS, 100000},
	{"freed by the other", "ns/pair", CASE_PAIR_OTHER, 0, 6250 * LOOP_BATCH},
};

#define CASES_SIZES   (sizeof(objects_sizes) / sizeof(objects_sizes[0]))
#define CASES_OBJECTS (sizeof(objects_cases) / sizeof(objects_cases[0]))

#endif
