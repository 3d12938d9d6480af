/* mm/buddy.c: power-of-two runs of frames.
 *
 * What it is. A record of which frames of [0, frame_count) are absent, free, or
 * taken, and by live runs of which length; it picks where the next run goes. It
 * never touches what the numbers stand for.
 *
 * Words. A run is 2^order frames, aligned to its length; its buddy is the other
 * half of the run of the next order. A unit of level l is 64^l frames, aligned;
 * a run of order o is one to 32 adjacent units of its level, o / 6. A node of
 * level l is 64 such units, so it is about one unit of level l + 1: the node
 * below that unit. A unit is free, live (of a live run, whose first unit is its
 * head), or, at level 0, absent; above, mixed: look at the node below it.
 *
 * Shape. Buddies are merged at once, always. So the set of free frames alone says
 * which free runs there are: a run is one iff it is all free and the run around
 * it is not. No run is written down; the free units of a node are one word, and
 * runs are found, cut and merged in it by shifts. A level knows its own six
 * orders; a node that is all free is one free unit of the level above, and only
 * this is ever carried between levels. What remains is to find a run: each node
 * has, for each order of the levels below it, a word of which of its units hold a
 * free run of that order, and `orders` says so of the whole.
 *
 * Invariants, all of them verified by buddy_check():
 *   I1  frame_count fixes top, start[] and shift[];
 *   I2  in each node live units are whole runs: a head at a multiple of the
 *       length, a power of two, that is no longer than half the node;
 *   I3  a unit above level 0 is mixed iff the node below it is not all free: what
 *       lies below a free or a live unit reads all free;
 *   I4  frames and units outside [0, frame_count) are absent and mixed;
 *   I5  a bit of BUDDY_HOLDS is set iff there is such a run below, and a bit of
 *       `orders` iff there is one at all;
 *   I6  frames_total, frames_free, runs_live and runs_step are what the nodes say;
 *       and frames_free_min <= frames_free <= frames_total.
 *
 * Cost. An operation touches one node a level: five at most for the states, six
 * for the index, and in each at most one word an order; so O(BUDDY_ORDER_MAX)
 * words at worst, and no search besides. A split or merge of k orders is one store
 * a level in the states, and one a level and order in the index. Donating writes a
 * word for each 64 frames, then frees O(BUDDY_ORDER_MAX) runs; or, beyond 2^24
 * frames, one for each 2^24.
 * Memory: 2 bits of state a frame, and the node of 4096 frames is 64 bytes: 2.13
 * bits a frame in all, the exact lengths of live runs included.
 *
 * Failure. Each operation first looks whether it can be done, and then cannot fail.
 *
 * frames_free_min. A donated frame counts as if it had been free from the start:
 * the mark is the smallest distance from having none left.
 *
 * Rejected. Linked lists of free runs: 64 or more bits a frame, a cold line a
 * neighbour, and the lowest run is not on top. A bitmap an order (free) and
 * another (live): 4 bits a frame, and a split or merge through k orders is k
 * words at k places, with k more for each level of summary. A byte a frame for
 * the live order: 8 bits, for what two bits say already. Merging later: faster
 * when single frames come and go, but then which run is the lowest depends on
 * what was asked before. */
#include "mm/buddy_impl.h"
#include "mm/port.h"

#define ALL_FREE UINT64_MAX

/* Calls would be a quarter of an operation's instructions. */
#define HOT static inline __attribute__((always_inline))

/* ---- runs within one word of free units ---- */

/* The multiples of 2^order. */
static const uint64_t aligned[BUDDY_RADIX + 1] = {
	UINT64_MAX,
	UINT64_C(0x5555555555555555),
	UINT64_C(0x1111111111111111),
	UINT64_C(0x0101010101010101),
	UINT64_C(0x0001000100010001),
	UINT64_C(0x0000000100000001),
	1,
};

/* The lowest 2^order. */
static const uint32_t units_of[BUDDY_RADIX] = {0x1, 0x3, 0xf, 0xff, 0xffff, 0xffffffff};

/* Where the runs of this order start that are not part of a larger one; none where all is free. */
HOT uint64_t runs_of(uint64_t free, unsigned order)
{
	uint64_t runs = free, larger;

	for (unsigned o = 0; o < order; o++)
		runs &= runs >> (1u << o);
	larger = runs & runs >> (1u << order) & aligned[order + 1];
	return runs & aligned[order] & ~(larger | larger << (1u << order));
}

/* The orders, a bit each, of all such runs. */
static uint32_t orders_of(uint64_t free)
{
	uint64_t runs = free, larger;
	uint32_t orders = 0;

	for (unsigned o = 0; o < BUDDY_RADIX; o++, runs = larger) {
		larger = runs & runs >> (1u << o) & aligned[o + 1];
		orders |= (uint32_t)((runs & ~(larger | larger << (1u << o))) != 0) << o;
	}
	return orders;
}

/* The order of the free run around the run of this order at p. Not all is free. */
static unsigned merged(uint64_t free, unsigned p, unsigned order)
{
	while (order + 1 < BUDDY_RADIX) {
		uint64_t around = (uint64_t)units_of[order + 1] << (p >> (order + 1) << (order + 1));

		if ((free & around) != around)
			break;
		order++;
	}
	return order;
}

/* ---- nodes ---- */

static uint64_t *node(struct buddy *b, unsigned level, uint64_t n)
{
	return b->words + b->start[level] + (n << b->shift[level]);
}

static const uint64_t *peek(const struct buddy *b, unsigned level, uint64_t n)
{
	return b->words + b->start[level] + (n << b->shift[level]);
}

static uint64_t free_units(const uint64_t *at)
{
	return at[BUDDY_OPEN] & ~at[BUDDY_HEAD];
}

/* The orders [from, to) as bits, all of them of one level. */
static uint32_t orders_between(unsigned from, unsigned to)
{
	return (1u << to) - (1u << from);
}

/* ---- the index ---- */

/* The words of `holds` for the orders in [from, to): bit set, or clear. Three orders a step: most ranges are six. */
HOT void index_set(uint64_t *holds, unsigned from, unsigned to, uint64_t bit)
{
	for (holds += from; from + 3 <= to; from += 3, holds += 3) {
		holds[0] |= bit;
		holds[1] |= bit;
		holds[2] |= bit;
	}
	for (; from < to; from++)
		*holds++ |= bit;
}

static void index_clear(uint64_t *holds, unsigned from, unsigned to, uint64_t bit)
{
	for (holds += from; from + 3 <= to; from += 3, holds += 3) {
		holds[0] &= ~bit;
		holds[1] &= ~bit;
		holds[2] &= ~bit;
	}
	for (; from < to; from++)
		*holds++ &= ~bit;
}

/* I5 above the node of this level around `unit` of it, which has a free run of this order now. */
HOT void index_gain(struct buddy *b, unsigned level, uint64_t unit, unsigned order)
{
	while (level < b->top) {
		uint64_t *holds, had;

		unit /= 64;
		holds = node(b, ++level, unit / 64) + BUDDY_HOLDS + order;
		had = *holds;
		*holds = had | UINT64_C(1) << unit % 64;
		if (had != 0)
			return;
	}
	b->orders |= 1u << order;
}

/* ... which has none of this order any more. */
HOT void index_lose(struct buddy *b, unsigned level, uint64_t unit, unsigned order)
{
	while (level < b->top) {
		uint64_t *holds;

		unit /= 64;
		holds = node(b, ++level, unit / 64) + BUDDY_HOLDS + order;
		if ((*holds &= ~(UINT64_C(1) << unit % 64)) != 0)
			return;
	}
	b->orders &= ~(1u << order);
}

/* ---- a free run is cut, and comes back ---- */

struct run { /* of free units, in one node, none larger around it */
	unsigned order, level;
	uint64_t unit; /* its first */
	bool only;     /* the node has no other of its order */
};

static struct run run_in(uint64_t free, unsigned order, unsigned level, uint64_t unit)
{
	unsigned low = order - level * BUDDY_RADIX;
	uint64_t runs = level == BUDDY_LEVEL_MAX ? free : runs_of(free, low);

	return (struct run){order, level, unit, (runs & ~(UINT64_C(1) << unit % 64)) == 0};
}

/* The lowest of this order; there is one. */
HOT struct run run_lowest(const struct buddy *b, unsigned order)
{
	unsigned level = order / BUDDY_RADIX;
	uint64_t n = 0, runs;

	for (unsigned l = b->top; l > level; l--) {
		runs = peek(b, l, n)[BUDDY_HOLDS + order];
		MM_ASSERT(runs != 0, order, n);
		n = n * 64 + (unsigned)__builtin_ctzll(runs);
	}
	runs = free_units(peek(b, level, n));
	if (level < BUDDY_LEVEL_MAX)
		runs = runs_of(runs, order - level * BUDDY_RADIX);
	MM_ASSERT(runs != 0, order, n);
	return (struct run){order, level, n * 64 + (unsigned)__builtin_ctzll(runs), (runs & (runs - 1)) == 0};
}

/* The one around these frames; false iff one of them is not free. */
static bool run_around(const struct buddy *b, uint64_t first, unsigned order, struct run *out)
{
	unsigned level = order / BUDDY_RADIX, low = order % BUDDY_RADIX;
	uint64_t unit = first >> level * BUDDY_RADIX, free;

	for (;; level++, unit /= 64, low = 0) {
		uint64_t bits = (uint64_t)units_of[low] << unit % 64;

		free = free_units(peek(b, level, unit / 64));
		if ((free & bits) != bits)
			return false;
		if (free != ALL_FREE || level == BUDDY_LEVEL_MAX)
			break;
	}
	if (level < BUDDY_LEVEL_MAX)
		low = merged(free, unit % 64, low);
	*out = run_in(free, level * BUDDY_RADIX + low, level, unit >> low << low);
	return true;
}

/* I5 above this node for the orders in [from, to), of which it has the only free runs. */
HOT void index_rest(struct buddy *b, unsigned level, uint64_t unit, unsigned from, unsigned to)
{
	if (from == to)
		return;
	while (level < b->top) {
		unit /= 64;
		level++;
		index_set(node(b, level, unit / 64) + BUDDY_HOLDS, from, to, UINT64_C(1) << unit % 64);
	}
	b->orders |= orders_between(from, to);
}

/* The frames [first, first + 2^order) of this free run go live, the rest stays free. `lowest`: it is what
 * run_lowest() gave for the smallest order that serves, so all orders between were empty. */
HOT void run_cut(struct buddy *b, const struct run *run, uint64_t first, unsigned order, bool lowest)
{
	unsigned level = order / BUDDY_RADIX;
	uint64_t unit = first >> level * BUDDY_RADIX, *at = node(b, level, unit / 64);

	at[BUDDY_OPEN] &= ~((uint64_t)units_of[order - level * BUDDY_RADIX] << unit % 64);
	at[BUDDY_HEAD] |= UINT64_C(1) << unit % 64;
	while (level < run->level) {
		unit /= 64;
		at = node(b, ++level, unit / 64);
		at[BUDDY_HEAD] |= UINT64_C(1) << unit % 64;
		if (lowest && level <= b->top)
			index_set(at + BUDDY_HOLDS, order, level * BUDDY_RADIX, UINT64_C(1) << unit % 64);
	}
	if (run->only)
		index_lose(b, level, unit, run->order);
	if (lowest)
		index_rest(b, level, unit, order, run->order);
	else
		for (unsigned o = order; o < run->order; o++)
			index_gain(b, o / BUDDY_RADIX, first >> o / BUDDY_RADIX * BUDDY_RADIX, o);

	b->runs_step[order]++;
	b->runs_step[run->order] -= 2;
	b->runs_step[run->order + 1]++;
	b->runs_live++;
	b->frames_free -= UINT64_C(1) << order;
	if (b->frames_free < b->frames_free_min)
		b->frames_free_min = b->frames_free;
}

/* I5 once the run of `order` in `unit` has grown to `high`, within this node and those below: the orders between have
 * lost a run each. */
static void index_merge(struct buddy *b, unsigned level, uint64_t unit, unsigned order, unsigned high)
{
	unsigned own = level * BUDDY_RADIX;
	const uint64_t *at = peek(b, level, unit / 64);
	uint32_t gone = 0;

	if (own < high)
		gone = orders_between(own < order ? order : own, high) & ~(orders_of(free_units(at)) << own);
	if (level > b->top)
		gone |= orders_between(order, own < order ? order : own);
	else
		for (unsigned o = order; o < own; o++)
			gone |= (uint32_t)(at[BUDDY_HOLDS + o] == 0) << o;
	if (level >= b->top) {
		b->orders &= ~gone;
		return;
	}
	for (; gone != 0; gone &= gone - 1)
		index_lose(b, level, unit, (unsigned)__builtin_ctz(gone));
}

/* The frames [first, first + 2^order), live or new, go free. */
HOT void run_return(struct buddy *b, uint64_t first, unsigned order)
{
	unsigned level = order / BUDDY_RADIX, low = order - level * BUDDY_RADIX, high;
	uint64_t unit = first >> level * BUDDY_RADIX, *at = node(b, level, unit / 64), free;
	uint64_t bits = (uint64_t)units_of[low] << unit % 64;

	at[BUDDY_OPEN] |= bits;
	at[BUDDY_HEAD] &= ~bits;
	while ((free = free_units(at)) == ALL_FREE && level < BUDDY_LEVEL_MAX) {
		unit /= 64;
		at = node(b, ++level, unit / 64);
		low = 0;
		at[BUDDY_HEAD] &= ~(UINT64_C(1) << unit % 64);
		if (level <= b->top)
			index_clear(at + BUDDY_HOLDS, order, level * BUDDY_RADIX, UINT64_C(1) << unit % 64);
	}
	high = level * BUDDY_RADIX;
	if (level < BUDDY_LEVEL_MAX)
		high += merged(free, unit % 64, low);
	if (high > order)
		index_merge(b, level, unit, order, high);
	index_gain(b, level, unit, high);

	b->runs_step[order]--;
	b->runs_step[high] += 2;
	b->runs_step[high + 1]--;
	b->frames_free += UINT64_C(1) << order;
}

/* ---- the interface ---- */

static uint64_t nodes_of(uint64_t frame_count, unsigned level)
{
	return ((frame_count - 1) >> (level + 1) * BUDDY_RADIX) + 1;
}

/* Fills in all that frame_count alone decides; the words that follow. */
static size_t layout(uint64_t frame_count, struct buddy *b)
{
	size_t words = 0;

	b->frame_count = frame_count;
	b->top = 0;
	for (unsigned level = 0; level < BUDDY_LEVELS; level++) {
		uint64_t nodes = nodes_of(frame_count, level);

		b->start[level] = words;
		b->shift[level] = BUDDY_NODE_SHIFTS >> 4 * level & 15;
		words += nodes << b->shift[level];
		words = (words + 7) / 8 * 8;
		if (nodes > 1)
			b->top = level + 1;
	}
	return words;
}

size_t buddy_meta_bytes(uint64_t frame_count)
{
	struct buddy b;

	if (frame_count == 0 || frame_count > BUDDY_FRAMES_MAX)
		return 0;
	return sizeof(b) + layout(frame_count, &b) * sizeof(b.words[0]);
}

enum mm_err buddy_init(void *meta, size_t meta_bytes, uint64_t frame_count, struct buddy **out)
{
	struct buddy *b = meta;
	size_t need = buddy_meta_bytes(frame_count);

	if (need == 0 || meta_bytes < need || !meta || (uintptr_t)meta % 64 != 0)
		return MM_EINVAL;
	for (uint64_t *word = meta; word < (uint64_t *)meta + need / sizeof(*word); word++)
		*word = 0;
	layout(frame_count, b);
	for (unsigned level = 0; level < BUDDY_LEVELS; level++)
		for (uint64_t n = 0; n < nodes_of(frame_count, level); n++)
			node(b, level, n)[BUDDY_OPEN] = node(b, level, n)[BUDDY_HEAD] = UINT64_MAX;
	*out = b;
	return MM_OK;
}

/* The bits of this word of 64 frames that lie in [first, end). */
static uint64_t bits_between(uint64_t word, uint64_t first, uint64_t end)
{
	uint64_t from = word * 64 < first ? UINT64_MAX << first % 64 : UINT64_MAX;

	return end / 64 == word ? from & ~(UINT64_MAX << end % 64) : from;
}

static bool absent(const struct buddy *b, uint64_t first, uint64_t end)
{
	for (uint64_t n = first / 64; n <= (end - 1) / 64; n++)
		if (bits_between(n, first, end) & ~(peek(b, 0, n)[BUDDY_OPEN] & peek(b, 0, n)[BUDDY_HEAD]))
			return false;
	return true;
}

/* The largest run that starts at `first` and ends by `end`. */
static unsigned order_between(uint64_t first, uint64_t end)
{
	unsigned order = 63 - (unsigned)__builtin_clzll(end - first);

	if (first != 0 && (unsigned)__builtin_ctzll(first) < order)
		order = (unsigned)__builtin_ctzll(first);
	return order < BUDDY_ORDER_MAX ? order : BUDDY_ORDER_MAX;
}

/* I3 below a run that is about to be free for the first time. */
static void open_below(struct buddy *b, uint64_t first, unsigned order)
{
	for (unsigned level = 0; level < order / BUDDY_RADIX; level++) {
		unsigned shift = (level + 1) * BUDDY_RADIX;

		for (uint64_t n = first >> shift; n < (first + (UINT64_C(1) << order)) >> shift; n++)
			node(b, level, n)[BUDDY_HEAD] = 0;
	}
}

enum mm_err buddy_donate(struct buddy *b, struct pfn first, uint64_t frames)
{
	uint64_t end = first.n + frames;

	if (frames == 0 || first.n >= b->frame_count || frames > b->frame_count - first.n)
		return MM_EINVAL;
	if (!absent(b, first.n, end))
		return MM_EEXIST;
	b->frames_total += frames;
	b->frames_free_min += frames;
	for (uint64_t at = first.n, order; at < end; at += UINT64_C(1) << order) {
		order = order_between(at, end);
		open_below(b, at, (unsigned)order);
		run_return(b, at, (unsigned)order);
	}
	return MM_OK;
}

/* True iff this allocation is the one that is to fail. */
static bool fault(struct buddy *b)
{
	return b->fail_after != 0 && --b->fail_after == 0;
}

static bool inside(const struct buddy *b, uint64_t first, unsigned order)
{
	uint64_t frames;

	if (order > BUDDY_ORDER_MAX)
		return false;
	frames = UINT64_C(1) << order;
	return first % frames == 0 && first < b->frame_count && frames <= b->frame_count - first;
}

enum mm_err buddy_alloc(struct buddy *b, unsigned order, struct pfn *out)
{
	uint32_t serve;
	struct run run;

	if (order > BUDDY_ORDER_MAX)
		return MM_EINVAL;
	serve = b->orders >> order;
	if (fault(b) || serve == 0)
		return MM_ENOMEM;
	run = run_lowest(b, order + (unsigned)__builtin_ctz(serve));
	out->n = run.unit << run.level * BUDDY_RADIX;
	run_cut(b, &run, out->n, order, true);
	return MM_OK;
}

enum mm_err buddy_alloc_at(struct buddy *b, struct pfn first, unsigned order)
{
	struct run run;

	if (!inside(b, first.n, order))
		return MM_EINVAL;
	if (fault(b))
		return MM_ENOMEM;
	if (!run_around(b, first.n, order, &run))
		return MM_EEXIST;
	run_cut(b, &run, first.n, order, false);
	return MM_OK;
}

/* By I2 a live run ends before the next unit that is not a further one, at the latest with its node. */
static bool live(const struct buddy *b, uint64_t first, unsigned order)
{
	unsigned level = order / BUDDY_RADIX;
	uint64_t unit = first >> level * BUDDY_RADIX, bits = units_of[order - level * BUDDY_RADIX];
	const uint64_t *at = peek(b, level, unit / 64);
	uint64_t further = ~(at[BUDDY_OPEN] | at[BUDDY_HEAD]) >> unit % 64;

	return (further & (2 * bits + 1)) == bits - 1 && (at[BUDDY_OPEN] >> unit % 64 & 1) == 0;
}

enum mm_err buddy_free(struct buddy *b, struct pfn first, unsigned order)
{
	if (!inside(b, first.n, order))
		return MM_EINVAL;
	if (!live(b, first.n, order))
		return MM_ESTATE;
	run_return(b, first.n, order);
	b->runs_live--;
	return MM_OK;
}

/* From the largest units down, since what lies below one that is not mixed says nothing (I3). */
enum mm_err buddy_order(const struct buddy *b, struct pfn first, unsigned *out)
{
	unsigned level = BUDDY_LEVEL_MAX, p;
	uint64_t open, head, unit;
	const uint64_t *at;

	if (first.n >= b->frame_count)
		return MM_EINVAL;
	for (;; level--) {
		unit = first.n >> level * BUDDY_RADIX;
		p = unit % 64;
		at = peek(b, level, unit / 64);
		open = at[BUDDY_OPEN] >> p;
		head = at[BUDDY_HEAD] >> p;
		if (!(open & head & 1) || level == 0)
			break;
	}
	if (open & 1 || !(head & 1) || unit << level * BUDDY_RADIX != first.n)
		return MM_ENOENT;
	/* Its further units end before the next that is none, or with the node. */
	p = (unsigned)__builtin_ctzll((open | head) >> 1 | UINT64_C(1) << (63 - p));
	*out = level * BUDDY_RADIX + (unsigned)__builtin_ctz(p + 1);
	return MM_OK;
}

static void runs_free(const struct buddy *b, uint64_t *runs)
{
	runs[0] = b->runs_step[0];
	for (unsigned o = 1; o <= BUDDY_ORDER_MAX; o++)
		runs[o] = runs[o - 1] + b->runs_step[o];
}

struct buddy_stats buddy_stats_read(const struct buddy *b)
{
	struct buddy_stats s = {
		.frames_total = b->frames_total,
		.frames_free = b->frames_free,
		.frames_free_min = b->frames_free_min,
	};

	runs_free(b, s.runs_free);
	return s;
}

void buddy_fail_after(struct buddy *b, uint64_t n)
{
	b->fail_after = n;
}

/* ---- the check ---- */

static unsigned ones(uint64_t bits)
{
	unsigned n = 0;

	for (; bits != 0; bits &= bits - 1)
		n++;
	return n;
}

/* I2 in one node. */
static bool live_whole(const uint64_t *at, unsigned level)
{
	uint64_t heads = at[BUDDY_HEAD] & ~at[BUDDY_OPEN], further = ~(at[BUDDY_HEAD] | at[BUDDY_OPEN]);
	uint64_t longest = level == BUDDY_LEVEL_MAX ? 1 : 32;

	for (; heads != 0; heads &= heads - 1) {
		unsigned p = (unsigned)__builtin_ctzll(heads);
		unsigned units = 1 + (unsigned)__builtin_ctzll(~(further >> p >> 1));

		if (units > longest || (units & (units - 1)) != 0 || p % units != 0)
			return false;
		further &= ~((UINT64_MAX >> (64 - units)) << p);
	}
	return further == 0;
}

/* The units of this node that must be absent or mixed (`must`) and those that may be, by I3 and I4. */
static void mixed_units(const struct buddy *b, unsigned level, uint64_t n, uint64_t *must, uint64_t *may)
{
	uint64_t units = level == 0 ? b->frame_count : nodes_of(b->frame_count, level - 1);

	*must = ~bits_between(n, 0, units);
	*may = level == 0 ? UINT64_MAX : *must;
	for (uint64_t c = 0; level > 0 && c < 64 && n * 64 + c < units; c++)
		if (level > BUDDY_LEVEL_MAX || free_units(peek(b, level - 1, n * 64 + c)) != ALL_FREE)
			*must |= UINT64_C(1) << c;
	*may |= *must;
}

static unsigned orders_below(unsigned level)
{
	return level > BUDDY_LEVEL_MAX ? BUDDY_ORDER_MAX + 1 : level * BUDDY_RADIX;
}

/* The orders of the free runs in this node and, by its own index, below it. */
static uint32_t orders_in(const struct buddy *b, unsigned level, uint64_t n)
{
	const uint64_t *at = peek(b, level, n);
	uint32_t orders = 0;

	if (level < BUDDY_LEVEL_MAX)
		orders = orders_of(free_units(at)) << level * BUDDY_RADIX;
	else if (level == BUDDY_LEVEL_MAX)
		orders = (uint32_t)(free_units(at) != 0) << BUDDY_ORDER_MAX;
	for (unsigned o = 0; o < orders_below(level); o++)
		orders |= (uint32_t)(at[BUDDY_HOLDS + o] != 0) << o;
	return orders;
}

/* I5 in one node. */
static bool index_true(const struct buddy *b, unsigned level, uint64_t n)
{
	uint64_t holds[BUDDY_ORDER_MAX + 1] = {0}, nodes = level == 0 ? 0 : nodes_of(b->frame_count, level - 1);

	for (uint64_t c = 0; level <= b->top && c < 64 && n * 64 + c < nodes; c++) {
		uint32_t orders = orders_in(b, level - 1, n * 64 + c);

		for (; orders != 0; orders &= orders - 1)
			holds[__builtin_ctz(orders)] |= UINT64_C(1) << c;
	}
	for (unsigned o = 0; o < orders_below(level); o++)
		if (peek(b, level, n)[BUDDY_HOLDS + o] != holds[o])
			return false;
	return true;
}

static bool node_true(const struct buddy *b, unsigned level, uint64_t n)
{
	const uint64_t *at = peek(b, level, n);
	uint64_t mixed = at[BUDDY_OPEN] & at[BUDDY_HEAD], must, may;

	mixed_units(b, level, n, &must, &may);
	return (mixed & must) == must && (mixed & ~may) == 0 && live_whole(at, level) && index_true(b, level, n);
}

/* I6: counts what node n says into *s and *live. */
static void node_count(const struct buddy *b, unsigned level, uint64_t n, struct buddy_stats *s, uint64_t *live_runs)
{
	const uint64_t *at = peek(b, level, n);
	uint64_t free = free_units(at);

	*live_runs += ones(at[BUDDY_HEAD] & ~at[BUDDY_OPEN]);
	if (level == 0)
		s->frames_total -= ones(at[BUDDY_OPEN] & at[BUDDY_HEAD]);
	if (level == BUDDY_LEVEL_MAX)
		s->runs_free[BUDDY_ORDER_MAX] += ones(free);
	for (unsigned o = 0; o < BUDDY_RADIX && level < BUDDY_LEVEL_MAX; o++)
		s->runs_free[level * BUDDY_RADIX + o] += ones(runs_of(free, o));
}

static bool sums_true(const struct buddy *b, const struct buddy_stats *want)
{
	struct buddy_stats got = buddy_stats_read(b);
	uint64_t free = 0;

	for (unsigned o = 0; o <= BUDDY_ORDER_MAX; o++) {
		if (got.runs_free[o] != want->runs_free[o])
			return false;
		free += want->runs_free[o] << o;
	}
	return got.runs_free[BUDDY_ORDER_MAX] + b->runs_step[BUDDY_ORDER_MAX + 1] == 0 && got.frames_free == free &&
	       got.frames_total == want->frames_total && got.frames_free_min <= got.frames_free;
}

/* I1 */
static bool layout_true(const struct buddy *b)
{
	struct buddy want;

	if (b->frame_count == 0 || b->frame_count > BUDDY_FRAMES_MAX)
		return false;
	layout(b->frame_count, &want);
	for (unsigned level = 0; level < BUDDY_LEVELS; level++)
		if (b->start[level] != want.start[level] || b->shift[level] != want.shift[level])
			return false;
	return b->top == want.top;
}

bool buddy_check(const struct buddy *b)
{
	struct buddy_stats sums = {0};
	uint64_t live_runs = 0;
	uint32_t orders = 0;

	if (!layout_true(b))
		return false;
	sums.frames_total = nodes_of(b->frame_count, 0) * 64;
	for (unsigned level = 0; level < BUDDY_LEVELS; level++)
		for (uint64_t n = 0; n < nodes_of(b->frame_count, level); n++) {
			if (!node_true(b, level, n))
				return false;
			node_count(b, level, n, &sums, &live_runs);
		}
	for (unsigned level = b->top; level < BUDDY_LEVELS; level++)
		orders |= orders_in(b, level, 0);
	return b->orders == orders && b->runs_live == live_runs && sums_true(b, &sums);
}
