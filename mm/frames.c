/* mm/frames.c: page frames for many CPUs: stacks in front, one atomic word a change behind.
 *
 * What it is. A record of which frames of [0, frame_count) are free, that hands
 * out runs of 2^order. It is not a map of what memory there is (an absent frame
 * looks taken) and it keeps no owner: of a run it knows only that it is not free.
 *
 * Words. A chunk is 64 frames, an area 8 chunks (512 frames, 2 MiB), a region 64
 * areas. The core is all of that; a stack belongs to one CPU and one order. A
 * frame in a stack is taken for the core. A token is the right to claim a frame.
 *
 * Truth, each change of it one atomic operation on one 64-bit word:
 *   chunk word   bit = 1: the frame is free;
 *   area word    OPEN and eight counts: the tokens of each chunk. Or 0, ABSENT: no
 *                frame was ever given. Or CLOSED, that is wholly free, or
 *                taken as (part of) a run of order 9 and up;
 *   whole word   one a region, bit = 1: that area is wholly free and closed.
 * Orders 0 to 5 take tokens from the area word, then bits from the chunk word.
 * Orders 6 to 8 take counts of 64 to 0 and leave the bits: so a later free of a
 * single frame inside is seen to be wrong. Orders 9 to 15 are a run of bits in a
 * whole word, with area and chunk words left as they are; 16 to 18 are 2, 4 or 8
 * whole words in ascending order, put back if one is refused. A free goes the
 * same way backwards: bits, then tokens; who makes the eighth count 64 closes the
 * area (FULL to CLOSED) and sets its bit. To open one is to take it as order 9, clear
 * the bits that are wanted while nobody sees it, and publish the counts.
 *
 * Hints say where to look. by_class[c] of a region: its areas that are open and
 * whose largest aligned free run is of order c (0 to 8). The class maps, a bit a
 * region: for c below 9, by_class[c] is not 0; for 9 to 15, its whole word has a
 * maximal aligned run of order c. A search takes the lowest class that serves: of
 * areas so the most broken first, which is what lets others become whole again;
 * of whole areas the smallest group of all regions. Among areas of one class, one
 * whose neighbour is whole comes last: it may yet become half of an order 10.
 *
 * Invariants, all verified by frames_check(), when no call is under way:
 *   I1  an area word is ABSENT, CLOSED, or OPEN with a count below 64;
 *   I2  in an open area a chunk's count is the number of its bits, or 0 with all
 *       bits set (taken whole); of an absent area no bit is set, of a closed all;
 *   I3  a bit in a whole word is an area that exists and is closed;
 *   I4  the hints are exact;
 *   I5  core_free is the number of free frames in the core, core_free_min and
 *       total bound it, and no frame at or above frame_count is free;
 *   I6  a stack holds at most its limit, of runs that are inside, aligned, taken
 *       in the core, and of which no two overlap; a run that stays only while it is
 *       next is there, and of an order of which such may stay; nobody is inside;
 *   I7  the layout is the one that follows from frame_count and cpus.
 * While calls are under way: bits of a chunk = its tokens + tokens taken whose
 * bits are not yet claimed + bits freed whose tokens are not yet given. Hence 64
 * tokens mean 64 bits and nobody else at work in that chunk, and a token always
 * finds a bit; 2^k tokens may not find an aligned run, then they go back.
 *
 * Why the hints end exact. All words of the core are accessed sequentially
 * consistent. hint_area() repeats { class from the truth; make the 9 words agree }
 * until it had nothing to write. Every change of truth is followed by it, but for
 * one: a free that finds its area listed in a class not below the largest run of
 * the chunk that it made, and that brought the count neither from 0 nor to 64.
 * Take the hint_area() round U that started last of all. Every write to the hints
 * came before U (its writer would have gone round again), and so did every
 * change but such frees; so U saw final counts, as to 0 or 64 or between, and
 * each later free compared itself with the final listing and was not above it.
 * Its chunk's run is then not above it either, and nothing was taken since: the
 * listing is true. The class maps follow by_class in the same manner, with no exception.
 *
 * Stacks. What a stack hands out again is not placed by the core, so stacks that
 * kept every free would wear the large runs down (measured: at 30 % occupancy 23 %
 * of order 10 refused, a plain buddy 5 %). They keep what the core would place
 * there, too. Of orders 0 to 5 a run in whose chunk no more is free than the last
 * refill left there: that is so of what was just taken, and of a frame in a full
 * chunk. A refill takes all that it can use of one chunk and breaks no second one,
 * or orders that few ask for would lie about in many (measured: at 90 % occupancy,
 * orders 0 to 10 equally often, a point more of order 9 refused). Other single
 * frames collect in the stack of returns and go to the core together. Of orders 6
 * to 10 the run that was the last to leave. Of 6 to 9 also one that is next: that
 * the core would hand out for this order, as it is single and, below 9, nothing
 * larger is free in its area. When it is asked for it must be next still, or its
 * other half came back meanwhile: then both go to the core. It is kept only where
 * it is a small part of a CPU's share of the frames: while it lies in a stack
 * its other half cannot merge (measured: 8 CPUs that keep an area each of 1 GiB
 * cost 4 points of order 10).
 *
 * The owner of a CPU's stacks marks itself `inside` by a plain store and looks at
 * `drain`, works, and stores 0. Who finds no run in the core takes every other
 * CPU's `drain` by CAS, calls barrier() and waits until `inside` is 0: with the
 * barrier passed, an owner either is seen inside or sees `drain` and steps back to
 * the core. Nobody waits while inside, and who holds a `drain` waits only for its
 * owner to leave: there is no circle. Without barrier() the owner is asked.
 *
 * Threads. Any number, one a CPU number. No locks. Two waits: of a drainer for an
 * owner who is inside (some instructions, a refill at most), and for another
 * drainer. Both are of allocations that would fail, and of frames_drain().
 *
 * Cost. A pair through a stack: no atomic read-modify-write, no fence. From the
 * core: the class maps are scanned, 8 GiB a word, at most 16 of them (64 GiB: 128
 * words, 16 TiB: 32768), then three words and what hint_area() reads, 3 lines. A
 * listed area that lost its run to another CPU costs one look. A failing
 * allocation also empties the stacks of all CPUs that hold something.
 * Memory: a bit a frame in chunk words, 1/8 in area words, 1/32 for a region;
 * stacks at most 1.5 KiB a CPU, and no more than layout_stacks() gives: of most
 * orders 1/512 of a CPU's share of the frames or less, so that 16 CPUs on 1 GiB
 * refuse no more large runs than 2 do.
 *
 * core_free counts what is free in the core, stacks not, and core_free_min is its
 * least since the last donation; both lead by what calls under way just moved.
 *
 * Failure. Arguments are checked before anything is touched. A refused run of
 * order 16 and up puts back what it took. A wrong free is refused before its first
 * write. Of two frees of one run at the same time one is refused, or ends in a
 * panic where the run is of order 16 and up.
 *
 * Rejected. A count of free frames per region for statistics: one contended line
 * more on each change, while reading the words takes microseconds a GiB. Counts
 * in the chunk words' line: the area word could not then take a run of chunks in
 * one operation. A CPU's own reserved area, as LLFree has: it spares contention,
 * but mixes all CPUs' small runs over many areas, and with stacks in front the
 * core is not where CPUs meet. Bits cleared by orders 6 and up: up to 2^12 writes
 * for 1 GiB, and no answer to a wrong free. Regions listed by their largest run
 * alone, as areas are: pairs of areas are cut while another region has a single. */
#include "mm/fail_nth.h"
#include "mm/frames_impl.h"
#include "mm/port.h"

#define NONE UINT32_MAX

static uint64_t look(const uint64_t *word)
{
	return __atomic_load_n(word, __ATOMIC_SEQ_CST);
}

static bool swap(uint64_t *word, uint64_t *was, uint64_t now)
{
	return __atomic_compare_exchange_n(word, was, now, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

/* For statistics, and for counts of which one thread at a time is the writer. */
static uint64_t glance(const uint64_t *word)
{
	return __atomic_load_n(word, __ATOMIC_RELAXED);
}

static void *at(struct frames_shared *s, uint64_t offset)
{
	return (unsigned char *)s + offset;
}

static uint64_t *chunk_word(struct frames_shared *s, uint64_t chunk)
{
	return (uint64_t *)at(s, s->layout.chunks_at) + chunk;
}

static uint64_t *area_word(struct frames_shared *s, uint64_t area)
{
	return (uint64_t *)at(s, s->layout.areas_at) + area;
}

static struct frames_region *region_of(struct frames_shared *s, uint64_t region)
{
	return (struct frames_region *)at(s, s->layout.regions_at) + region;
}

static uint64_t *map_of(struct frames_shared *s, unsigned class)
{
	return (uint64_t *)at(s, s->layout.maps_at) + (uint64_t) class * s->layout.map_words;
}

static struct frames_cpu *cpu_of(struct frames_shared *s, unsigned cpu)
{
	return at(s, sizeof(*s) + (uint64_t)cpu * s->layout.cpu_bytes);
}

/* ---- aligned runs in one word ---- */

static unsigned ones(uint64_t w)
{
	w -= w >> 1 & UINT64_C(0x5555555555555555);
	w = (w & UINT64_C(0x3333333333333333)) + (w >> 2 & UINT64_C(0x3333333333333333));
	w = (w + (w >> 4)) & UINT64_C(0x0f0f0f0f0f0f0f0f);
	return (unsigned)(w * UINT64_C(0x0101010101010101) >> 56);
}

static unsigned lowest(uint64_t w)
{
	return (unsigned)__builtin_ctzll(w);
}

/* From the starts of aligned runs of `order` (below 6) to those of the next. */
static uint64_t fold(uint64_t starts, unsigned order)
{
	static const uint64_t aligned[] = {UINT64_C(0x5555555555555555), UINT64_C(0x1111111111111111),
					   UINT64_C(0x0101010101010101), UINT64_C(0x0001000100010001),
					   UINT64_C(0x0000000100000001), UINT64_C(0x0000000000000001)};

	return starts & starts >> (1u << order) & aligned[order];
}

static uint64_t run_starts(uint64_t w, unsigned order)
{
	for (unsigned k = 0; k < order; k++)
		w = fold(w, k);
	return w;
}

/* Of these starts of order k those whose other half is not free; *up: the starts of the next order. */
static uint64_t single_starts(uint64_t starts, unsigned k, unsigned top, uint64_t *up)
{
	*up = k < top ? fold(starts, k) : 0;
	return *up ? starts & ~(*up | *up << (1u << k)) : starts;
}

/* The order of the largest aligned run; w is not 0. */
static unsigned largest_run(uint64_t w)
{
	unsigned k = 0;

	while (k < 6 && (w = fold(w, k)))
		k++;
	return k;
}

static uint64_t run_bits(unsigned order)
{
	return order >= 6 ? ~UINT64_C(0) : (UINT64_C(1) << (1u << order)) - 1;
}

/* The bits in its chunk of a run of order 0 to 5. */
static uint64_t bits_at(uint64_t first, unsigned order)
{
	return run_bits(order) << first % FRAMES_CHUNK;
}

/* All the bits of the runs that start there. */
static uint64_t spread(uint64_t starts, unsigned order)
{
	for (unsigned k = 0; k < order; k++)
		starts |= starts << (1u << k);
	return starts;
}

/* The start of a run, lowest within the smallest that serves, as a bit; 0: none. */
static uint64_t run_pick(uint64_t w, unsigned order)
{
	uint64_t starts = run_starts(w, order), up;

	for (unsigned k = order; starts; k++, starts = up) {
		uint64_t single = single_starts(starts, k, 6, &up);

		if (single)
			return single & -single;
	}
	return 0;
}

/* The starts of up to n runs, from the smallest groups that serve. */
static uint64_t runs_pick(uint64_t w, unsigned order, unsigned n)
{
	uint64_t all = run_starts(w, order), picked = 0;

	if (ones(all) <= n)
		return all;
	for (; n > 0; n--) {
		uint64_t start = run_pick(w, order);

		picked |= start;
		w &= ~spread(start, order);
	}
	return picked;
}

/* ---- hints ---- */

/* Returns whether it had to write. */
static bool bit_make(uint64_t *word, uint64_t bit, bool set)
{
	if (((look(word) & bit) != 0) == set)
		return false;
	if (set)
		__atomic_fetch_or(word, bit, __ATOMIC_SEQ_CST);
	else
		__atomic_fetch_and(word, ~bit, __ATOMIC_SEQ_CST);
	return true;
}

static bool map_make(struct frames_shared *s, uint64_t region, unsigned class, bool set)
{
	return bit_make(map_of(s, class) + region / 64, UINT64_C(1) << region % 64, set);
}

/* Bit c: in this whole word there is a maximal run of order c. */
static unsigned region_classes(uint64_t whole)
{
	unsigned classes = 0;
	uint64_t up;

	for (unsigned k = 0; whole; k++, whole = up)
		if (single_starts(whole, k, 6, &up))
			classes |= 1u << (9 + k);
	return classes;
}

static void hint_region(struct frames_shared *s, uint64_t region)
{
	const uint64_t *whole = &region_of(s, region)->whole;
	uint64_t *map = map_of(s, 0) + region / 64, words = s->layout.map_words;
	unsigned differ;

	do {
		unsigned classes = region_classes(look(whole)), listed = 0;

		for (unsigned c = FRAMES_AREA_CLASSES; c < FRAMES_CLASSES; c++)
			listed |= (unsigned)(look(map + c * words) >> region % 64 & 1) << c;
		differ = classes ^ listed;
		for (unsigned bits = differ; bits; bits &= bits - 1) {
			unsigned c = lowest(bits);

			bit_make(map + c * words, UINT64_C(1) << region % 64, classes >> c & 1);
		}
	} while (differ);
}

/* The chunks of a word with all tokens, a bit a chunk. */
static uint64_t whole_chunks(uint64_t word)
{
	return (word >> 6 & UINT64_C(0x0101010101010101)) * UINT64_C(0x0102040810204080) >> 56;
}

static unsigned count_of(uint64_t word, unsigned chunk)
{
	return word >> 8 * chunk & 0x7f;
}

/* The largest run below 64 in chunks that have tokens; NONE: there is no token. */
static unsigned class_of_chunks(struct frames_shared *s, uint64_t area, uint64_t word)
{
	uint64_t starts[FRAMES_AREA_CHUNKS], any = 0;
	unsigned class = NONE;

	for (unsigned j = 0; j < FRAMES_AREA_CHUNKS; j++) {
		starts[j] = count_of(word, j) ? look(chunk_word(s, area * FRAMES_AREA_CHUNKS + j)) : 0;
		any |= starts[j];
	}
	for (unsigned k = 0; any; k++) {
		class = k;
		any = 0;
		for (unsigned j = 0; j < FRAMES_AREA_CHUNKS && k < 5; j++)
			any |= starts[j] = fold(starts[j], k);
	}
	return class;
}

static unsigned area_class(struct frames_shared *s, uint64_t area)
{
	uint64_t word = look(area_word(s, area)), whole;

	if (!(word & FRAMES_OPEN) || word == FRAMES_FULL) /* full: about to be closed */
		return NONE;
	whole = whole_chunks(word);
	return whole ? 6 + largest_run(whole) : class_of_chunks(s, area, word);
}

static void hint_by_class(struct frames_shared *s, uint64_t region, unsigned class)
{
	while (map_make(s, region, class, look(&region_of(s, region)->by_class[class]) != 0))
		;
}

static void hint_area(struct frames_shared *s, uint64_t area)
{
	uint64_t region = area / FRAMES_REGION_AREAS, *by_class = region_of(s, region)->by_class;
	unsigned shift = area % FRAMES_REGION_AREAS, differ;

	do {
		unsigned class = area_class(s, area), classes = class == NONE ? 0 : 1u << class, listed = 0;

		for (unsigned c = 0; c < FRAMES_AREA_CLASSES; c++)
			listed |= (unsigned)(look(&by_class[c]) >> shift & 1) << c;
		differ = classes ^ listed;
		for (unsigned bits = differ; bits; bits &= bits - 1) {
			unsigned c = lowest(bits);

			bit_make(&by_class[c], UINT64_C(1) << shift, classes >> c & 1);
			hint_by_class(s, region, c);
		}
	} while (differ);
}

/* Is the area listed in this class or a higher one? */
static bool listed_from(struct frames_shared *s, uint64_t area, unsigned class)
{
	uint64_t *by_class = region_of(s, area / FRAMES_REGION_AREAS)->by_class;

	for (; class < FRAMES_AREA_CLASSES; class ++)
		if (look(&by_class[class]) >> area % FRAMES_REGION_AREAS & 1)
			return true;
	return false;
}

/* ---- taking from the core ---- */

struct take {		 /* what was taken: runs of one order */
	uint64_t first;	 /* frame */
	uint64_t starts; /* bit i: a run at first + i */
	unsigned left;	 /* of orders 0 to 5: tokens that the chunk still has */
};

/* A run of whole areas, 2^(order - 9) of them, out of this region. */
static bool region_take(struct frames_shared *s, uint64_t region, unsigned order, struct take *out)
{
	uint64_t *whole = &region_of(s, region)->whole, word = look(whole), start;

	do {
		start = run_pick(word, order - 9);
		if (!start)
			return false;
	} while (!swap(whole, &word, word & ~spread(start, order - 9)));
	hint_region(s, region);
	*out = (struct take){region * FRAMES_REGION + lowest(start) * FRAMES_AREA, 1, 0};
	return true;
}

static bool take_areas(struct frames_shared *s, unsigned order, struct take *out)
{
	for (unsigned c = order; c < FRAMES_CLASSES; c++)
		for (uint64_t w = 0; w < s->layout.map_words; w++)
			for (uint64_t bits = look(map_of(s, c) + w); bits; bits &= bits - 1)
				if (region_take(s, w * 64 + lowest(bits), order, out))
					return true;
	return false;
}

static void regions_put_back(struct frames_shared *s, uint64_t first, uint64_t end)
{
	for (uint64_t r = first; r < end; r++) {
		__atomic_store_n(&region_of(s, r)->whole, ~UINT64_C(0), __ATOMIC_SEQ_CST);
		hint_region(s, r);
	}
}

/* All of the regions [first, first + n), or none. */
static bool regions_take(struct frames_shared *s, uint64_t first, uint64_t n)
{
	for (uint64_t r = first; r < first + n; r++) {
		uint64_t all = ~UINT64_C(0);

		if (!swap(&region_of(s, r)->whole, &all, 0)) {
			regions_put_back(s, first, r);
			return false;
		}
		hint_region(s, r);
	}
	return true;
}

static bool take_regions(struct frames_shared *s, unsigned order, struct take *out)
{
	for (uint64_t w = 0; w < s->layout.map_words; w++) {
		uint64_t word = look(map_of(s, FRAMES_CLASSES - 1) + w), start;

		for (; (start = run_pick(word, order - 15)); word &= ~spread(start, order - 15)) {
			uint64_t region = w * 64 + lowest(start);

			if (regions_take(s, region, UINT64_C(1) << (order - 15))) {
				*out = (struct take){region * FRAMES_REGION, 1, 0};
				return true;
			}
		}
	}
	return false;
}

/* Closes an area that was seen full, if it is still. */
static void area_close(struct frames_shared *s, uint64_t area)
{
	uint64_t region = area / FRAMES_REGION_AREAS, full = FRAMES_FULL;

	if (swap(area_word(s, area), &full, FRAMES_CLOSED)) {
		__atomic_fetch_or(&region_of(s, region)->whole, UINT64_C(1) << area % FRAMES_REGION_AREAS,
				  __ATOMIC_SEQ_CST);
		hint_region(s, region);
	}
}

/* Gives tokens of an open area in which the caller holds as many. Returns the word as it was. */
static uint64_t tokens_give(struct frames_shared *s, uint64_t area, uint64_t tokens)
{
	uint64_t was = __atomic_fetch_add(area_word(s, area), tokens, __ATOMIC_SEQ_CST);

	if (was + tokens == FRAMES_FULL)
		area_close(s, area);
	return was;
}

/* Of the chunks with a run the one with the fewest tokens; NONE: there is none. */
static unsigned chunk_pick(struct frames_shared *s, uint64_t area, uint64_t word, unsigned order)
{
	unsigned best = NONE, fewest = FRAMES_CHUNK + 1;

	for (unsigned j = 0; j < FRAMES_AREA_CHUNKS; j++) {
		unsigned n = count_of(word, j);

		if (n >> order == 0 || n >= fewest)
			continue;
		if (order > 0 && !run_starts(look(chunk_word(s, area * FRAMES_AREA_CHUNKS + j)), order))
			continue;
		best = j;
		fewest = n;
	}
	return best;
}

/* Turns tokens for n runs into runs: their starts. Fewer only if the bits have no more. */
static uint64_t chunk_claim(uint64_t *word, unsigned order, unsigned n)
{
	uint64_t was = look(word), starts;

	do {
		starts = runs_pick(was, order, n);
	} while (starts && !swap(word, &was, was & ~spread(starts, order)));
	return starts;
}

/* For how many runs to take tokens. */
static unsigned runs_worth(uint64_t bits, unsigned order, unsigned tokens, unsigned want)
{
	unsigned n = order ? ones(run_starts(bits, order)) : tokens;

	if (n > tokens >> order)
		n = tokens >> order;
	return n < want ? n : want;
}

/* Up to `want` runs of order 0 to 5 from one chunk of an open area. */
static bool area_take_frames(struct frames_shared *s, uint64_t area, unsigned order, unsigned want, struct take *out)
{
	for (;;) {
		uint64_t word = look(area_word(s, area)), chunk, starts;
		unsigned j, n, got;

		j = word & FRAMES_OPEN ? chunk_pick(s, area, word, order) : NONE;
		if (j == NONE)
			return false;
		chunk = area * FRAMES_AREA_CHUNKS + j;
		n = runs_worth(look(chunk_word(s, chunk)), order, count_of(word, j), want);
		if (!swap(area_word(s, area), &word, word - ((uint64_t)n << order << 8 * j)))
			continue;
		starts = chunk_claim(chunk_word(s, chunk), order, n);
		got = ones(starts);
		if (got < n)
			tokens_give(s, area, (uint64_t)(n - got) << order << 8 * j);
		hint_area(s, area);
		*out = (struct take){chunk * FRAMES_CHUNK, starts, count_of(word, j) - (n << order)};
		if (got > 0)
			return true;
	}
}

/* The tokens of 2^(order - 6) whole chunks, the first of them the one of bit `start`. */
static uint64_t chunk_tokens(unsigned order, uint64_t start)
{
	return (FRAMES_WHOLE & run_bits(order - 3)) << 8 * lowest(start);
}

/* A run of order 6 to 8. */
static bool area_take_chunks(struct frames_shared *s, uint64_t area, unsigned order, struct take *out)
{
	uint64_t word = look(area_word(s, area)), start;

	do {
		start = word & FRAMES_OPEN ? run_pick(whole_chunks(word), order - 6) : 0;
		if (!start)
			return false;
	} while (!swap(area_word(s, area), &word, word - chunk_tokens(order, start)));
	hint_area(s, area);
	*out = (struct take){area * FRAMES_AREA + lowest(start) * FRAMES_CHUNK, 1, 0};
	return true;
}

static bool area_take(struct frames_shared *s, uint64_t area, unsigned order, unsigned want, struct take *out)
{
	return order < 6 ? area_take_frames(s, area, order, want, out) : area_take_chunks(s, area, order, out);
}

/* The lowest of these areas, but one whose neighbour is whole and waits for it only if there is no other. */
static uint64_t area_pick(uint64_t areas, uint64_t whole)
{
	uint64_t even = UINT64_C(0x5555555555555555), beside = (whole & even) << 1 | (whole >> 1 & even);
	uint64_t rather = areas & ~beside;

	if (rather)
		areas = rather;
	return areas & -areas;
}

static bool take_listed(struct frames_shared *s, uint64_t region, unsigned class, unsigned order, unsigned want,
			struct take *out)
{
	struct frames_region *r = region_of(s, region);

	for (uint64_t areas = look(&r->by_class[class]), area; areas; areas &= ~area) {
		area = area_pick(areas, look(&r->whole));
		if (area_take(s, region * FRAMES_REGION_AREAS + lowest(area), order, want, out))
			return true;
	}
	return false;
}

static bool take_open(struct frames_shared *s, unsigned order, unsigned want, struct take *out)
{
	for (unsigned c = order; c < FRAMES_AREA_CLASSES; c++)
		for (uint64_t w = 0; w < s->layout.map_words; w++)
			for (uint64_t bits = look(map_of(s, c) + w); bits; bits &= bits - 1)
				if (take_listed(s, w * 64 + lowest(bits), c, order, want, out))
					return true;
	return false;
}

/* Up to `want` runs of order 0 to 8 from the start of an area that was closed. */
static bool take_fresh(struct frames_shared *s, unsigned order, unsigned want, struct take *out)
{
	uint64_t tokens, area;

	if (!take_areas(s, FRAMES_ORDER_2M, out))
		return false;
	area = out->first / FRAMES_AREA;
	if (order < 6) {
		uint64_t *word = chunk_word(s, area * FRAMES_AREA_CHUNKS);

		out->starts = runs_pick(~UINT64_C(0), order, want);
		tokens = (uint64_t)ones(out->starts) << order;
		out->left = FRAMES_CHUNK - (unsigned)tokens;
		__atomic_store_n(word, ~spread(out->starts, order), __ATOMIC_SEQ_CST);
	} else {
		tokens = chunk_tokens(order, 1);
	}
	__atomic_store_n(area_word(s, area), FRAMES_FULL - tokens, __ATOMIC_SEQ_CST);
	hint_area(s, area);
	return true;
}

/* One run, or of order 0 to 5 up to `want`. */
static bool core_take(struct frames_shared *s, unsigned order, unsigned want, struct take *out)
{
	if (order < FRAMES_AREA_CLASSES)
		return take_open(s, order, want, out) || take_fresh(s, order, want, out);
	return order < FRAMES_CLASSES ? take_areas(s, order, out) : take_regions(s, order, out);
}

/* ---- giving to the core ---- */

/* Bits of one chunk. False, and nothing is done: the core sees that not all of them are taken. */
static bool chunk_give(struct frames_shared *s, uint64_t chunk, uint64_t bits)
{
	uint64_t area = chunk / FRAMES_AREA_CHUNKS, *word = chunk_word(s, chunk), was = look(word);
	unsigned j = chunk % FRAMES_AREA_CHUNKS, n = ones(bits), before, run;

	if (!(look(area_word(s, area)) & FRAMES_OPEN))
		return false;
	do {
		if (was & bits)
			return false;
	} while (!swap(word, &was, was | bits));
	before = count_of(tokens_give(s, area, (uint64_t)n << 8 * j), j);
	run = largest_run(was | bits);
	if (before == 0 || before + n == FRAMES_CHUNK || !listed_from(s, area, run))
		hint_area(s, area);
	return true;
}

/* Is this run of chunks, all in one area, taken as a whole? */
static bool chunks_taken(struct frames_shared *s, uint64_t chunk, unsigned order, uint64_t word)
{
	if (!(word & FRAMES_OPEN))
		return false;
	for (uint64_t c = chunk; c < chunk + (UINT64_C(1) << (order - 6)); c++)
		if (count_of(word, c % FRAMES_AREA_CHUNKS) || ~look(chunk_word(s, c)))
			return false;
	return true;
}

/* A run of order 6 to 8. */
static bool chunks_give(struct frames_shared *s, uint64_t chunk, unsigned order)
{
	uint64_t area = chunk / FRAMES_AREA_CHUNKS, word = look(area_word(s, area));
	uint64_t tokens = chunk_tokens(order, UINT64_C(1) << chunk % FRAMES_AREA_CHUNKS);

	do {
		if (!chunks_taken(s, chunk, order, word))
			return false;
	} while (!swap(area_word(s, area), &word, word + tokens));
	if (word + tokens == FRAMES_FULL)
		area_close(s, area);
	hint_area(s, area);
	return true;
}

/* Are these areas taken, as a run of order 9 or up or in several? */
static bool areas_taken(struct frames_shared *s, uint64_t area, uint64_t n)
{
	for (uint64_t a = area; a < area + n; a++) {
		uint64_t whole = look(&region_of(s, a / FRAMES_REGION_AREAS)->whole);

		if (look(area_word(s, a)) != FRAMES_CLOSED || whole >> a % FRAMES_REGION_AREAS & 1)
			return false;
	}
	return true;
}

/* A run of order 9 and up, region by region; a run of order 16 and up is whole regions. */
static bool areas_give(struct frames_shared *s, uint64_t area, unsigned order)
{
	uint64_t region = area / FRAMES_REGION_AREAS, n = UINT64_C(1) << (order - 9);
	uint64_t bits = order < FRAMES_CLASSES ? run_bits(order - 9) << area % FRAMES_REGION_AREAS : ~UINT64_C(0);

	if (!areas_taken(s, area, n))
		return false;
	for (uint64_t r = region; r * FRAMES_REGION_AREAS < area + n; r++) {
		uint64_t *whole = &region_of(s, r)->whole, was = look(whole);

		do {
			MM_ASSERT(!(was & bits), r, was); /* else freed twice, at the same time */
		} while (!swap(whole, &was, was | bits));
		hint_region(s, r);
	}
	return true;
}

static bool core_give(struct frames_shared *s, uint64_t first, unsigned order)
{
	uint64_t chunk = first / FRAMES_CHUNK;

	if (order < 6)
		return chunk_give(s, chunk, bits_at(first, order));
	return order < 9 ? chunks_give(s, chunk, order) : areas_give(s, first / FRAMES_AREA, order);
}

/* ---- the count of free frames ---- */

/* Added before they can be taken and subtracted after they are: it is never below the truth. */
static void count_given(struct frames_shared *s, uint64_t frames)
{
	__atomic_fetch_add(&s->core_free, frames, __ATOMIC_RELAXED);
}

static void count_taken(struct frames_shared *s, uint64_t frames)
{
	uint64_t now = __atomic_sub_fetch(&s->core_free, frames, __ATOMIC_RELAXED), min = glance(&s->core_free_min);

	while (now < min &&
	       !__atomic_compare_exchange_n(&s->core_free_min, &min, now, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		;
}

static bool core_alloc(struct frames_shared *s, unsigned order, struct pfn *out)
{
	struct take take;

	if (!core_take(s, order, 1, &take))
		return false;
	count_taken(s, UINT64_C(1) << order);
	out->n = take.first + lowest(take.starts);
	return true;
}

static enum mm_err core_free(struct frames_shared *s, uint64_t first, unsigned order)
{
	count_given(s, UINT64_C(1) << order);
	if (core_give(s, first, order))
		return MM_OK;
	__atomic_fetch_sub(&s->core_free, UINT64_C(1) << order, __ATOMIC_RELAXED);
	return MM_ESTATE;
}

/* ---- stacks: these functions are for who has them to itself ---- */

static unsigned stack_count(const struct frames_cpu *c, unsigned order)
{
	return __atomic_load_n(&c->count[order], __ATOMIC_RELAXED);
}

static void stack_set(struct frames_cpu *c, unsigned order, unsigned count)
{
	__atomic_store_n(&c->count[order], count, __ATOMIC_RELAXED);
}

static uint32_t *stack_of(struct frames_shared *s, struct frames_cpu *c, unsigned order)
{
	return c->slot + s->layout.slot_at[order];
}

/* The bits of the runs, up to n, that lie in the first one's chunk; *runs: how many. One that is
 * there twice ends it: the core will see that. */
static uint64_t neighbours(const uint32_t *run, unsigned n, unsigned order, unsigned *runs)
{
	uint64_t bits = 0;
	unsigned i = 0;

	while (i < n && run[i] / FRAMES_CHUNK == run[0] / FRAMES_CHUNK && !(bits & bits_at(run[i], order)))
		bits |= bits_at(run[i++], order);
	*runs = i;
	return bits;
}

/* Gives these runs to the core; neighbours in one step. */
static void runs_give(struct frames_shared *s, const uint32_t *run, unsigned n, unsigned order)
{
	count_given(s, (uint64_t)n << order);
	for (unsigned i = 0, runs = 1; i < n; i += runs) {
		bool given = order < 6 ? chunk_give(s, run[i] / FRAMES_CHUNK, neighbours(run + i, n - i, order, &runs))
				       : core_give(s, run[i], order);

		MM_ASSERT(given, run[i], order); /* else freed twice, or as what it was not */
	}
}

static unsigned order_of(unsigned stack)
{
	return stack == FRAMES_RETURNS ? 0 : stack;
}

/* Gives the lower n runs, which lay there longest, to the core. */
static void stack_spill(struct frames_shared *s, struct frames_cpu *c, unsigned stack, unsigned n)
{
	uint32_t *run = stack_of(s, c, stack);
	unsigned left = stack_count(c, stack) - n;

	runs_give(s, run, n, order_of(stack));
	__builtin_memmove(run, run + n, left * sizeof(*run));
	stack_set(c, stack, left);
	c->next &= (uint16_t) ~(1u << stack);
}

static bool stacks_hold(const struct frames_cpu *c)
{
	for (unsigned stack = 0; stack < FRAMES_STACKS; stack++)
		if (stack_count(c, stack))
			return true;
	return false;
}

static void stacks_empty(struct frames_shared *s, struct frames_cpu *c)
{
	if (!stacks_hold(c))
		return;
	for (unsigned stack = 0; stack < FRAMES_STACKS; stack++)
		stack_spill(s, c, stack, stack_count(c, stack));
	__atomic_fetch_add(&s->drains, 1, __ATOMIC_RELAXED);
}

/* Fills an empty stack from one chunk; false: the core has none. */
static bool stack_refill(struct frames_shared *s, struct frames_cpu *c, unsigned order)
{
	unsigned have = 0;
	uint32_t *run = stack_of(s, c, order);
	struct take take;

	if (!core_take(s, order, order < 6 ? s->layout.limit[order] : 1, &take))
		return false;
	while (take.starts) { /* from above, so that they come out in ascending order */
		unsigned top = 63 - (unsigned)__builtin_clzll(take.starts);

		take.starts ^= UINT64_C(1) << top;
		run[have++] = (uint32_t)(take.first + top);
	}
	count_taken(s, (uint64_t)have << order);
	if (order < 6)
		c->accept[order] = (uint8_t)take.left;
	stack_set(c, order, have);
	return true;
}

/* Tokens of the chunk in which this run lies; 0 if it is a whole chunk or more. */
static inline unsigned tokens_beside(struct frames_shared *s, uint64_t first)
{
	const uint8_t *counts = at(s, s->layout.areas_at);

	return __atomic_load_n(&counts[first / FRAMES_CHUNK], __ATOMIC_RELAXED) & 0x7f;
}

/* Would the core place the next run of this order here? One of 6 to 8 where it would be the largest of
 * what is free in its area, and single; one of 9 where it would be single. */
static bool run_is_next(struct frames_shared *s, uint64_t first, unsigned order)
{
	uint64_t area = first / FRAMES_AREA, free;

	if (order == FRAMES_ORDER_2M) {
		free = look(&region_of(s, area / FRAMES_REGION_AREAS)->whole);
		return !(free >> (area % FRAMES_REGION_AREAS ^ 1) & 1);
	}
	free = whole_chunks(look(area_word(s, area)));
	free |= run_bits(order - 6) << first / FRAMES_CHUNK % FRAMES_AREA_CHUNKS;
	return largest_run(free) == order - 6;
}

/* Orders 0 to 5: is no more of the chunk free than a refill left there? From 6 up: was it the last to leave? */
static inline bool stack_takes(struct frames_shared *s, struct frames_cpu *c, unsigned order, struct pfn first)
{
	return order < 6 ? tokens_beside(s, first.n) <= c->accept[order] : *stack_of(s, c, order) == first.n;
}

static void stack_push(struct frames_shared *s, struct frames_cpu *c, unsigned order, struct pfn first)
{
	unsigned n = stack_count(c, order);

	stack_of(s, c, order)[n] = (uint32_t)first.n;
	stack_set(c, order, n + 1);
}

static struct pfn stack_pop(struct frames_shared *s, struct frames_cpu *c, unsigned order)
{
	unsigned n = stack_count(c, order) - 1;

	stack_set(c, order, n);
	c->next &= (uint16_t) ~(1u << order);
	return (struct pfn){stack_of(s, c, order)[n]};
}

/* Has this stack a run to hand out? Not one that stays only while it is next, and no longer is. */
static bool stack_serves(struct frames_shared *s, struct frames_cpu *c, unsigned order)
{
	if (!stack_count(c, order))
		return false;
	if (!(c->next >> order & 1) || run_is_next(s, *stack_of(s, c, order), order))
		return true;
	stack_spill(s, c, order, 1);
	return false;
}

/* ---- who has them to himself ---- */

/* The owner's first step. Inside, the stacks are the owner's iff the answer is FRAMES_DRAIN_NONE.
 * The processor may run the load before the store: against that the drainer has its barrier(). */
static inline uint32_t enter(struct frames_cpu *c)
{
	__atomic_store_n(&c->inside, 1, __ATOMIC_RELAXED);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	return __atomic_load_n(&c->drain, __ATOMIC_ACQUIRE);
}

static inline void leave(struct frames_cpu *c)
{
	__atomic_store_n(&c->inside, 0, __ATOMIC_RELEASE);
}

/* As enter(), and does what was asked. False: outside again, another is at the stacks. */
static bool own_enter(struct frames_shared *s, struct frames_cpu *c)
{
	uint32_t drain = enter(c);

	if (drain == FRAMES_DRAIN_NONE)
		return true;
	if (drain == FRAMES_DRAIN_ASKED) {
		stacks_empty(s, c);
		if (__atomic_compare_exchange_n(&c->drain, &drain, FRAMES_DRAIN_NONE, false, __ATOMIC_ACQ_REL,
						__ATOMIC_ACQUIRE))
			return true;
	}
	leave(c);
	return false;
}

/* Where another has to run for us to go on, spinning only burns its time slice. */
static void wait_a_bit(unsigned *spins)
{
	if (++*spins % 256)
		__builtin_ia32_pause();
	else
		mm_yield();
}

/* False: somebody has it, or it was asked before. */
static bool drain_claim(struct frames_cpu *c, uint32_t drain)
{
	uint32_t was = __atomic_load_n(&c->drain, __ATOMIC_RELAXED);

	do {
		if (was >= FRAMES_DRAIN_BY || was == drain)
			return false;
	} while (!__atomic_compare_exchange_n(&c->drain, &was, drain, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED));
	return true;
}

/* The stacks are the caller's from when the owner is out: with the barrier passed, it stays out. */
static void drain_claimed(struct frames_shared *s, struct frames_cpu *c)
{
	unsigned spins = 0;

	while (__atomic_load_n(&c->inside, __ATOMIC_ACQUIRE))
		wait_a_bit(&spins);
	stacks_empty(s, c);
	__atomic_store_n(&c->drain, FRAMES_DRAIN_NONE, __ATOMIC_RELEASE);
}

/* Empties the stacks of all CPUs but this one, or asks their owners to. Called outside. */
static void others_drain(struct frames *f, unsigned cpu)
{
	struct frames_shared *s = f->shared;
	uint32_t mine = FRAMES_DRAIN_BY + cpu, drain = f->barrier ? mine : FRAMES_DRAIN_ASKED;
	unsigned cpus = s->layout.cpus, spins = 0;
	bool claimed = false;

	for (unsigned n = 0; n < cpus; n++)
		if (n != cpu && stacks_hold(cpu_of(s, n)))
			claimed |= drain_claim(cpu_of(s, n), drain);
	if (claimed && f->barrier)
		f->barrier(f->barrier_self);
	for (unsigned n = 0; n < cpus && claimed; n++)
		if (__atomic_load_n(&cpu_of(s, n)->drain, __ATOMIC_RELAXED) == mine)
			drain_claimed(s, cpu_of(s, n));
	for (unsigned n = 0; n < cpus; n++) /* what others were draining at the time */
		while (__atomic_load_n(&cpu_of(s, n)->drain, __ATOMIC_ACQUIRE) >= FRAMES_DRAIN_BY)
			wait_a_bit(&spins);
}

/* ---- the way past the stacks ---- */

static enum mm_err alloc_drained(struct frames *f, unsigned cpu, unsigned order, struct pfn *out)
{
	struct frames_shared *s = f->shared;
	struct frames_cpu *c = cpu_of(s, cpu);

	if (own_enter(s, c)) {
		stacks_empty(s, c);
		leave(c);
		if (core_alloc(s, order, out))
			return MM_OK;
	}
	others_drain(f, cpu);
	return core_alloc(s, order, out) ? MM_OK : MM_ENOMEM;
}

__attribute__((noinline)) static enum mm_err alloc_slow(struct frames *f, unsigned cpu, unsigned order, struct pfn *out)
{
	struct frames_shared *s = f->shared;
	struct frames_cpu *c = cpu_of(s, cpu);

	if (fail_nth_now(&s->fail_after))
		return MM_ENOMEM;
	if (order < FRAMES_STACK_ORDERS && s->layout.limit[order] && own_enter(s, c)) {
		bool found = stack_serves(s, c, order) || stack_refill(s, c, order);

		if (found)
			*out = stack_pop(s, c, order);
		leave(c);
		if (found)
			return MM_OK;
	} else if (core_alloc(s, order, out)) {
		return MM_OK;
	}
	return alloc_drained(f, cpu, order, out);
}

/* Keeps a run that comes back; false: it is for the core. */
static bool stack_keep(struct frames_shared *s, struct frames_cpu *c, unsigned order, struct pfn first)
{
	bool last = stack_takes(s, c, order, first), next = false;
	unsigned stack = last || order ? order : FRAMES_RETURNS, limit = s->layout.limit[stack];

	if (!last && order) {
		next = s->layout.may_stay >> order & 1 && !stack_count(c, order) && run_is_next(s, first.n, order);
		if (!next)
			return false;
	}
	if (stack_count(c, stack) == limit)
		stack_spill(s, c, stack, stack == FRAMES_RETURNS ? limit : (limit + 1) / 2);
	stack_push(s, c, stack, first);
	c->next |= (uint16_t)(next << order);
	return true;
}

__attribute__((noinline)) static enum mm_err free_slow(struct frames *f, unsigned cpu, struct pfn first, unsigned order)
{
	struct frames_shared *s = f->shared;
	struct frames_cpu *c = cpu_of(s, cpu);
	bool kept;

	if (order >= FRAMES_STACK_ORDERS || s->layout.limit[order] == 0 || !own_enter(s, c))
		return core_free(s, first.n, order);
	kept = stack_keep(s, c, order, first);
	leave(c);
	return kept ? MM_OK : core_free(s, first.n, order);
}

/* ---- set-up ---- */

static uint64_t round_up(uint64_t n, uint64_t to)
{
	return (n + to - 1) / to * to;
}

/* Of each order what one chunk holds, or more where that is little; at most a small part of a CPU's share. */
static void layout_stacks(struct frames_layout *l)
{
	static const uint16_t most[FRAMES_STACKS] = {256, 32, 16, 8, 4, 2, 1, 1, 1, 1, 1, 32};
	static const uint8_t part[FRAMES_STACKS] = {9, 11, 11, 11, 11, 11, 9, 9, 9, 5, 7, 9};
	static const uint8_t next_part[] = {10, 10, 10, 8}; /* of orders 6 to 9 */
	uint64_t share = l->frame_count / l->cpus, slots = 0;

	for (unsigned stack = 0; stack < FRAMES_STACKS; stack++) {
		uint64_t limit = share >> (order_of(stack) + part[stack]);

		l->limit[stack] = (uint16_t)(limit < most[stack] ? limit : most[stack]);
		l->slot_at[stack] = (uint16_t)slots;
		slots += l->limit[stack];
	}
	for (unsigned order = 6; order <= FRAMES_ORDER_2M; order++)
		if (share >> (order + next_part[order - 6]))
			l->may_stay |= 1u << order;
	l->cpu_bytes = (uint32_t)(sizeof(struct frames_cpu) + round_up(slots * sizeof(uint32_t), 64));
}

/* False: a number is outside its range. */
static bool layout_make(struct frames_layout *l, uint64_t frame_count, unsigned cpus)
{
	__builtin_memset(l, 0, sizeof(*l)); /* layouts are compared as bytes */
	if (frame_count == 0 || frame_count > UINT32_MAX || cpus == 0 || cpus > FRAMES_CPUS_MAX)
		return false;
	l->frame_count = frame_count;
	l->cpus = cpus;
	l->areas = (uint32_t)(round_up(frame_count, FRAMES_AREA) / FRAMES_AREA);
	l->regions = (uint32_t)(round_up(frame_count, FRAMES_REGION) / FRAMES_REGION);
	l->map_words = (l->regions + 63) / 64;
	layout_stacks(l);
	l->regions_at = sizeof(struct frames_shared) + (uint64_t)cpus * l->cpu_bytes;
	l->maps_at = l->regions_at + (uint64_t)l->regions * sizeof(struct frames_region);
	l->areas_at = l->maps_at + round_up((uint64_t)l->map_words * FRAMES_CLASSES * 8, 64);
	l->chunks_at = l->areas_at + round_up((uint64_t)l->areas * 8, 64);
	l->meta_bytes = l->chunks_at + (uint64_t)l->areas * FRAMES_AREA_CHUNKS * 8;
	return true;
}

size_t frames_meta_bytes(uint64_t frame_count, unsigned cpus)
{
	struct frames_layout l;

	return layout_make(&l, frame_count, cpus) ? l.meta_bytes : 0;
}

static bool meta_usable(const void *meta, size_t meta_bytes)
{
	return meta && (uintptr_t)meta % 64 == 0 && meta_bytes >= sizeof(struct frames_shared);
}

enum mm_err frames_init(struct frames *f, void *meta, size_t meta_bytes, const struct frames_config *config)
{
	struct frames_shared *s = meta;
	struct frames_layout l;

	if (!layout_make(&l, config->frame_count, config->cpus) || !meta_usable(meta, meta_bytes) ||
	    meta_bytes < l.meta_bytes)
		return MM_EINVAL;
	if (!config->meta_zeroed)
		__builtin_memset(meta, 0, l.meta_bytes);
	s->layout = l;
	s->magic = FRAMES_MAGIC;
	*f = (struct frames){s, config->barrier, config->barrier_self};
	return MM_OK;
}

static bool layout_true(const struct frames_shared *s)
{
	struct frames_layout l;

	return s->magic == FRAMES_MAGIC && layout_make(&l, s->layout.frame_count, s->layout.cpus) &&
	       __builtin_memcmp(&l, &s->layout, sizeof(l)) == 0;
}

enum mm_err frames_attach(struct frames *f, void *meta, size_t meta_bytes, void (*barrier)(void *self),
			  void *barrier_self)
{
	struct frames_shared *s = meta;

	if (!meta_usable(meta, meta_bytes) || !layout_true(s) || meta_bytes < s->layout.meta_bytes)
		return MM_EINVAL;
	*f = (struct frames){s, barrier, barrier_self};
	return MM_OK;
}

/* The bits of [first, end) in this chunk. */
static uint64_t chunk_part(uint64_t chunk, uint64_t first, uint64_t end)
{
	uint64_t from = chunk * FRAMES_CHUNK, bits = ~UINT64_C(0);

	if (first > from)
		bits &= ~UINT64_C(0) << (first - from);
	if (end - from < FRAMES_CHUNK)
		bits &= (UINT64_C(1) << (end - from)) - 1;
	return bits;
}

enum mm_err frames_donate(struct frames *f, struct pfn first, uint64_t frames)
{
	struct frames_shared *s = f->shared;
	uint64_t end = first.n + frames, chunk = first.n / FRAMES_CHUNK, past = (end + FRAMES_CHUNK - 1) / FRAMES_CHUNK;

	if (frames == 0 || first.n >= s->layout.frame_count || frames > s->layout.frame_count - first.n)
		return MM_EINVAL;
	for (uint64_t c = chunk; c < past; c++)
		if (look(chunk_word(s, c)) & chunk_part(c, first.n, end))
			return MM_EEXIST;
	__atomic_fetch_add(&s->total, frames, __ATOMIC_RELAXED);
	count_given(s, frames);
	for (uint64_t c = chunk; c < past; c++) {
		uint64_t absent = FRAMES_ABSENT;
		bool given;

		swap(area_word(s, c / FRAMES_AREA_CHUNKS), &absent, FRAMES_OPEN);
		given = chunk_give(s, c, chunk_part(c, first.n, end));
		MM_ASSERT(given, first.n, frames); /* else freed at the same time, by who never had it */
	}
	__atomic_store_n(&s->core_free_min, glance(&s->core_free), __ATOMIC_RELAXED);
	return MM_OK;
}

/* ---- operations ---- */

/* The fast paths. Inlined, so that what is known of order 0 is known to the compiler. */
static inline bool pop_inside(struct frames_shared *s, struct frames_cpu *c, unsigned order, struct pfn *out)
{
	uint32_t drain = enter(c);
	unsigned n = stack_count(c, order);
	bool ours = __builtin_expect(drain == FRAMES_DRAIN_NONE && n > 0 && !(order && c->next >> order & 1), 1);

	if (ours) {
		stack_set(c, order, n - 1);
		out->n = stack_of(s, c, order)[n - 1];
	}
	leave(c);
	return ours;
}

static inline bool push_inside(struct frames_shared *s, struct frames_cpu *c, unsigned order, struct pfn first)
{
	uint32_t drain = enter(c);
	unsigned n = stack_count(c, order);
	bool ours = drain == FRAMES_DRAIN_NONE && n < s->layout.limit[order] && stack_takes(s, c, order, first);

	if (__builtin_expect(ours, 1)) {
		stack_of(s, c, order)[n] = (uint32_t)first.n;
		stack_set(c, order, n + 1);
	}
	leave(c);
	return ours;
}

enum mm_err frames_alloc(struct frames *f, unsigned cpu, unsigned order, struct pfn *out)
{
	struct frames_shared *s = f->shared;

	if (cpu >= s->layout.cpus || order > FRAMES_ORDER_MAX)
		return MM_EINVAL;
	if (order == 0 ? pop_inside(s, cpu_of(s, cpu), 0, out)
		       : order < FRAMES_STACK_ORDERS && pop_inside(s, cpu_of(s, cpu), order, out))
		return MM_OK;
	return alloc_slow(f, cpu, order, out);
}

static inline bool run_fits(const struct frames_shared *s, struct pfn first, unsigned order)
{
	uint64_t rest = (UINT64_C(1) << order) - 1;

	return !(first.n & rest) && (first.n | rest) < s->layout.frame_count;
}

enum mm_err frames_free(struct frames *f, unsigned cpu, struct pfn first, unsigned order)
{
	struct frames_shared *s = f->shared;

	if (cpu >= s->layout.cpus || order > FRAMES_ORDER_MAX)
		return MM_EINVAL;
	if (order == 0) {
		if (!run_fits(s, first, 0))
			return MM_EINVAL;
		if (push_inside(s, cpu_of(s, cpu), 0, first))
			return MM_OK;
	} else {
		if (!run_fits(s, first, order))
			return MM_EINVAL;
		if (order < FRAMES_STACK_ORDERS && push_inside(s, cpu_of(s, cpu), order, first))
			return MM_OK;
	}
	return free_slow(f, cpu, first, order);
}

/* How many of n single frames came from the stack. */
static uint32_t pop_some(struct frames_shared *s, struct frames_cpu *c, struct pfn *out, uint32_t n)
{
	uint32_t got = 0;

	if (enter(c) == FRAMES_DRAIN_NONE) {
		uint32_t have = stack_count(c, 0), *run = stack_of(s, c, 0);

		for (; got < n && got < have; got++)
			out[got].n = run[have - 1 - got];
		stack_set(c, 0, have - got);
	}
	leave(c);
	return got;
}

uint32_t frames_alloc_bulk(struct frames *f, unsigned cpu, struct pfn *out, uint32_t n)
{
	struct frames_shared *s = f->shared;
	uint32_t got = 0;

	MM_ASSERT(cpu < s->layout.cpus, cpu, n);
	while (got < n) {
		uint32_t more = pop_some(s, cpu_of(s, cpu), out + got, n - got);

		if (more == 0) {
			if (alloc_slow(f, cpu, 0, &out[got]) != MM_OK)
				break;
			more = 1;
		}
		got += more;
	}
	return got;
}

/* How many of n single frames went to the stack. */
static uint32_t push_some(struct frames_shared *s, struct frames_cpu *c, const struct pfn *first, uint32_t n)
{
	uint32_t done = 0;

	if (enter(c) == FRAMES_DRAIN_NONE) {
		uint32_t have = stack_count(c, 0), limit = s->layout.limit[0], *run = stack_of(s, c, 0);

		for (; done < n && have + done < limit; done++) {
			MM_ASSERT(first[done].n < s->layout.frame_count, first[done].n, done);
			run[have + done] = (uint32_t)first[done].n;
		}
		stack_set(c, 0, have + done);
	}
	leave(c);
	return done;
}

void frames_free_bulk(struct frames *f, unsigned cpu, const struct pfn *first, uint32_t n)
{
	struct frames_shared *s = f->shared;
	uint32_t done = 0;

	MM_ASSERT(cpu < s->layout.cpus, cpu, n);
	while (done < n) {
		uint32_t more = push_some(s, cpu_of(s, cpu), first + done, n - done);

		if (more == 0) {
			enum mm_err err = frames_free(f, cpu, first[done], 0);

			MM_ASSERT(err == MM_OK, first[done].n, err);
			more = 1;
		}
		done += more;
	}
}

void frames_drain(struct frames *f, unsigned cpu)
{
	struct frames_shared *s = f->shared;
	unsigned spins = 0;

	MM_ASSERT(cpu < s->layout.cpus, cpu, s->layout.cpus);
	while (!own_enter(s, cpu_of(s, cpu)))
		wait_a_bit(&spins);
	stacks_empty(s, cpu_of(s, cpu));
	leave(cpu_of(s, cpu));
}

void frames_fail_after(struct frames *f, uint64_t n)
{
	__atomic_store_n(&f->shared->fail_after, n, __ATOMIC_RELAXED);
}

/* ---- figures ---- */

/* Adds the maximal aligned runs in a word to those of order `base` and up; `top` is the highest. */
static void count_runs(uint64_t *runs, uint64_t w, unsigned base, unsigned top)
{
	uint64_t up;

	for (unsigned k = 0; w; k++, w = up)
		runs[base + k] += ones(single_starts(w, k, top - base, &up));
}

static void count_area(struct frames_shared *s, uint64_t area, uint64_t *runs)
{
	uint64_t word = look(area_word(s, area));

	if (!(word & FRAMES_OPEN))
		return;
	count_runs(runs, whole_chunks(word), 6, 9);
	for (unsigned j = 0; j < FRAMES_AREA_CHUNKS; j++)
		if (count_of(word, j) % FRAMES_CHUNK)
			count_runs(runs, look(chunk_word(s, area * FRAMES_AREA_CHUNKS + j)), 0, 5);
}

static void count_regions(struct frames_shared *s, uint64_t *runs)
{
	uint64_t full = 0;

	for (uint64_t r = 0; r < s->layout.regions; r++) {
		uint64_t whole = look(&region_of(s, r)->whole);

		if (~whole)
			count_runs(runs, whole, 9, 14);
		else
			full |= UINT64_C(1) << r % 64;
		if (r % 64 == 63 || r + 1 == s->layout.regions) {
			count_runs(runs, full, 15, FRAMES_ORDER_MAX);
			full = 0;
		}
	}
}

static uint64_t cached(struct frames_shared *s)
{
	uint64_t frames = 0;

	for (unsigned n = 0; n < s->layout.cpus; n++)
		for (unsigned stack = 0; stack < FRAMES_STACKS; stack++)
			frames += (uint64_t)stack_count(cpu_of(s, n), stack) << order_of(stack);
	return frames;
}

struct frames_stats frames_stats_read(const struct frames *f)
{
	struct frames_shared *s = f->shared;
	struct frames_stats stats = {
		.frames_total = glance(&s->total),
		.frames_free = glance(&s->core_free),
		.frames_free_min = glance(&s->core_free_min),
		.frames_cached = cached(s),
		.drains = glance(&s->drains),
		.meta_bytes = s->layout.meta_bytes,
	};

	stats.frames_free += stats.frames_cached;
	for (uint64_t area = 0; area < s->layout.areas; area++)
		count_area(s, area, stats.runs_free);
	count_regions(s, stats.runs_free);
	return stats;
}

/* ---- the check ---- */

static bool check_chunks(struct frames_shared *s, uint64_t area) /* I1, I2 */
{
	uint64_t word = look(area_word(s, area)), counts = word & ~FRAMES_OPEN;
	bool open = word & FRAMES_OPEN;

	if (word == FRAMES_FULL || (!open && word != FRAMES_CLOSED && word != FRAMES_ABSENT))
		return false;
	for (unsigned j = 0; j < FRAMES_AREA_CHUNKS; j++) {
		uint64_t bits = look(chunk_word(s, area * FRAMES_AREA_CHUNKS + j));
		uint64_t count = open ? counts >> 8 * j & 0xff : 0;
		bool taken_whole = word != FRAMES_ABSENT && count == 0 && bits == ~UINT64_C(0);

		if (!taken_whole && (word == FRAMES_CLOSED || count != ones(bits)))
			return false;
	}
	return true;
}

/* I1 to I4 of one area; a bit of a region beyond the last area must be nowhere. */
static bool check_area(struct frames_shared *s, uint64_t area)
{
	struct frames_region *r = region_of(s, area / FRAMES_REGION_AREAS);
	uint64_t bit = UINT64_C(1) << area % FRAMES_REGION_AREAS;
	bool exists = area < s->layout.areas;
	unsigned class = exists ? area_class(s, area) : NONE;

	if (exists && !check_chunks(s, area))
		return false;
	if (r->whole & bit && (!exists || *area_word(s, area) != FRAMES_CLOSED))
		return false;
	for (unsigned c = 0; c < FRAMES_AREA_CLASSES; c++)
		if (((r->by_class[c] & bit) != 0) != (c == class))
			return false;
	return true;
}

static bool check_maps(struct frames_shared *s, uint64_t region) /* I4 */
{
	bool exists = region < s->layout.regions;
	unsigned classes = exists ? region_classes(region_of(s, region)->whole) : 0;

	for (unsigned c = 0; c < FRAMES_CLASSES; c++) {
		bool listed = map_of(s, c)[region / 64] >> region % 64 & 1;
		bool there = c < FRAMES_AREA_CLASSES ? exists && region_of(s, region)->by_class[c] : classes >> c & 1;

		if (listed != there)
			return false;
	}
	return true;
}

static bool check_core(struct frames_shared *s)
{
	for (uint64_t area = 0; area < (uint64_t)s->layout.regions * FRAMES_REGION_AREAS; area++)
		if (!check_area(s, area))
			return false;
	for (uint64_t region = 0; region < (uint64_t)s->layout.map_words * 64; region++)
		if (!check_maps(s, region))
			return false;
	return true;
}

static bool check_counts(struct frames_shared *s) /* I5 */
{
	uint64_t in_core = 0, last = s->layout.areas - 1, end = s->layout.frame_count;

	for (uint64_t area = 0; area <= last; area++) {
		uint64_t word = *area_word(s, area);

		if (region_of(s, area / FRAMES_REGION_AREAS)->whole >> area % FRAMES_REGION_AREAS & 1)
			in_core += FRAMES_AREA;
		for (unsigned j = 0; j < FRAMES_AREA_CHUNKS && word & FRAMES_OPEN; j++)
			in_core += count_of(word, j);
	}
	for (uint64_t frame = end; frame < (last + 1) * FRAMES_AREA; frame++)
		if (*chunk_word(s, frame / FRAMES_CHUNK) >> frame % FRAMES_CHUNK & 1)
			return false;
	return in_core == s->core_free && s->core_free_min <= in_core && in_core + cached(s) <= s->total &&
	       s->total <= end;
}

/* Is a run that lies in a stack taken, for the core and for check_stacks()? If so, turns its bits over. */
static bool run_mark(struct frames_shared *s, uint64_t first, unsigned order)
{
	uint64_t chunk = first / FRAMES_CHUNK, area = first / FRAMES_AREA, n = UINT64_C(1) << order;
	uint64_t bits = order < 6 ? bits_at(first, order) : 0;

	if (first % n || first + n > s->layout.frame_count)
		return false;
	if (order < 6) {
		if (!(*area_word(s, area) & FRAMES_OPEN) || *chunk_word(s, chunk) & bits)
			return false;
		*chunk_word(s, chunk) |= bits;
		return true;
	}
	if (order < 9 ? !chunks_taken(s, chunk, order, *area_word(s, area))
		      : !areas_taken(s, area, n / FRAMES_AREA) || *chunk_word(s, chunk) == 0)
		return false;
	__builtin_memset(chunk_word(s, chunk), 0, n / 8);
	return true;
}

static void run_unmark(struct frames_shared *s, uint64_t first, unsigned order)
{
	uint64_t *word = chunk_word(s, first / FRAMES_CHUNK);

	if (order < 6)
		*word &= ~bits_at(first, order);
	else
		__builtin_memset(word, 0xff, (UINT64_C(1) << order) / 8);
}

/* Marks up to n runs of the stacks, or with `back` unmarks them, in one order of all. How many it could. */
static uint64_t stacks_mark(struct frames_shared *s, uint64_t n, bool back)
{
	uint64_t done = 0;

	for (unsigned cpu = 0; cpu < s->layout.cpus; cpu++) {
		struct frames_cpu *c = cpu_of(s, cpu);

		for (unsigned stack = 0; stack < FRAMES_STACKS; stack++) {
			for (unsigned i = 0; i < c->count[stack]; i++, done++) {
				uint32_t run = stack_of(s, c, stack)[i], order = order_of(stack);

				if (done == n || (!back && !run_mark(s, run, order)))
					return done;
				if (back)
					run_unmark(s, run, order);
			}
		}
	}
	return done;
}

static bool check_stacks(struct frames_shared *s) /* I6 */
{
	uint64_t runs = 0, marked;

	for (unsigned cpu = 0; cpu < s->layout.cpus; cpu++) {
		struct frames_cpu *c = cpu_of(s, cpu);

		if (c->inside || c->drain >= FRAMES_DRAIN_BY || c->next & ~s->layout.may_stay)
			return false;
		for (unsigned stack = 0; stack < FRAMES_STACKS; stack++) {
			if (c->count[stack] > s->layout.limit[stack] || c->count[stack] < (c->next >> stack & 1))
				return false;
			runs += c->count[stack];
		}
	}
	marked = stacks_mark(s, runs, false);
	stacks_mark(s, marked, true);
	return marked == runs;
}

bool frames_check(const struct frames *f)
{
	struct frames_shared *s = f->shared;

	return layout_true(s) && check_core(s) && check_stacks(s) && check_counts(s);
}
