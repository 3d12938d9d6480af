/* mm/extent.c: contiguous extents of any length within one space of numbers.
 *
 * What it is. A record of which units of [base, base + units) are taken, and by
 * extents of which bounds; it picks where the next extent goes. It is not a
 * heap: it never touches what the numbers stand for.
 *
 * Words. A segment is a run of free units (a hole) or one live extent. A hole is
 * plain, or it is a zone's; of the latter, those of zones that lend may take
 * movable extents in. Two neighbours are joinable if they are holes of the same
 * zone, or plain, and under EXTENT_BUDDY also the two halves of an aligned power
 * of two. What is given of an extent beyond what was asked is its slack: its
 * last units. Inside this file addresses are offsets from base: an offset is at
 * most `units`, so no sum here wraps, wherever in the 64 bits the space lies.
 *
 * Shape. One slot a segment in a tree by address: where it starts, and marks;
 * it ends where the next one starts. Pins and slack are beside it, in memory
 * that is not touched before there are any. First and next fit find their hole
 * by the largest one below each inner node of that tree; for the other policies
 * the holes are in a tree by (units, first), the lent ones in another.
 * extent_tree.c has the trees, their invariants and what they cost in memory.
 *
 * Invariants, all of them verified by extent_check():
 *   I1  the segments cover [0, units) in order; each starts where the one
 *       before ends;
 *   I2  no two neighbours are joinable; under EXTENT_BUDDY each segment is a
 *       power of two long, and starts at a multiple of that by number;
 *   I3  marks make sense: only live extents are movable, pinned or have slack,
 *       only zones lend and have borders; a zone starts at a border, and lends
 *       as a whole; in it a movable extent lies only if it lends, unpinned;
 *   I4  the trees by size hold exactly the holes of their kind, the longest of which is known;
 *   I5  holes, extents and all units_ counters are what the segments say; marks
 *       of high and low water bound them; holes and extents are at most
 *       segments_max.
 *
 * Cost. Every operation is a few searches in the trees, O(log n) nodes: under best
 * fit one by size and one by address to allocate, one by address and one to
 * three by size to free. Alignment may make extent_alloc() O((k + 1) log n), where
 * k is the number of holes long enough but, cut to the alignment, too short:
 * those are tried one by one in the policy's order. k is 0 for align 1, and no
 * hole of units + align - 1 or more is ever counted in it. EXTENT_BUDDY: an
 * operation splits or joins at most 63 runs, each O(log n). extent_unreserve() of
 * what is not free reads the zone. tests/bench/extent.c times it beside a balanced
 * tree that finds, erases and inserts, for extent_free() is told an address and has
 * to find it; a tree whose caller kept the node, and finds nothing, is shown too.
 * While all is in the caches it is the number of instructions that costs: an exact
 * fit without a branch was slower than the branch, and slots that move by selects
 * of a whole leaf no faster than memmove(), for they take more of them.
 *
 * Memory. At most 58 bytes a segment under best fit, so 116 a live extent, since
 * half of the segments may be holes; extent_tree.c has the sum, and the others.
 *
 * Failure. Each operation first finds what it will change and how many segments
 * that adds, then asks for those, and only then changes anything. Nodes need no
 * asking: there are enough for any segments_max segments, and for one more, since
 * a change may split before it joins.
 *
 * Rejected. Boundary tags in the free units: this manages numbers, there is
 * nothing to write tags in. Bins by size with a bitmap, as in TLSF: O(1), yet it
 * cannot keep the promise of the smallest hole and the lowest of equals. The
 * length of each segment in its slot: half as many segments a cache line, to
 * spare a look at a slot that is in the same line or the next. */
#include "mm/extent_impl.h"
#include "mm/port.h"

#define ZONE_MARKS (EXTENT_ZONE | EXTENT_LENT | EXTENT_BORDER)
#define PINS_MAX   ((UINT32_C(1) << 24) - 1)

static uint64_t max(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static uint64_t min(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* ---- segments ---- */

struct spot { /* where a segment is; true until a leaf changes */
	struct extent_leaf *l;
	uint32_t leaf, slot;
};

static struct spot spot_in(const struct extent_space *e, uint32_t leaf, uint32_t slot)
{
	return (struct spot){extent_leaf(e, leaf), leaf, slot};
}

static struct spot spot_last(const struct extent_space *e, uint32_t leaf)
{
	return spot_in(e, leaf, extent_leaf(e, leaf)->head.count - 1);
}

/* The segment that holds this offset; there is one iff it is below e->units. */
static struct spot spot_at(const struct extent_space *e, uint64_t offset)
{
	uint32_t leaf = extent_leaf_of(e, offset);
	struct extent_leaf *l = extent_leaf(e, leaf);
	uint32_t rank = extent_leaf_rank(l, offset);

	if (rank == 0) /* it starts before this leaf's range */
		return spot_last(e, l->head.prev);
	return (struct spot){l, leaf, rank - 1};
}

static uint64_t first_of(struct spot s)
{
	return s.l->first[s.slot];
}

static uint64_t end_of(const struct extent_space *e, struct spot s)
{
	return extent_slot_end(e, s.l, s.slot);
}

static uint64_t units_of(const struct extent_space *e, struct spot s)
{
	return end_of(e, s) - first_of(s);
}

static uint8_t *mark_of(struct spot s)
{
	return &s.l->mark[s.slot];
}

static bool has(struct spot s, uint8_t marks)
{
	return (*mark_of(s) & marks) != 0;
}

/* False iff there is none. */
static bool spot_before(const struct extent_space *e, struct spot s, struct spot *out)
{
	if (s.slot > 0)
		*out = (struct spot){s.l, s.leaf, s.slot - 1};
	else if (s.l->head.prev != EXTENT_NONE)
		*out = spot_last(e, s.l->head.prev);
	else
		return false;
	return true;
}

static bool spot_after(const struct extent_space *e, struct spot s, struct spot *out)
{
	if (s.slot + 1 < s.l->head.count)
		*out = (struct spot){s.l, s.leaf, s.slot + 1};
	else if (s.l->head.next != EXTENT_NONE)
		*out = spot_in(e, s.l->head.next, 0);
	else
		return false;
	return true;
}

static uint64_t slack_of(const struct extent_space *e, struct spot s)
{
	return has(s, EXTENT_SLACK) ? extent_slacks(e, s.leaf)[s.slot] : 0;
}

static void slack_set(struct extent_space *e, struct spot s, uint64_t slack)
{
	if (e->region[EXTENT_SLACKS] == 0)
		return;
	*mark_of(s) &= (uint8_t)~EXTENT_SLACK;
	if (slack == 0)
		return;
	*mark_of(s) |= EXTENT_SLACK;
	extent_slacks(e, s.leaf)[s.slot] = slack;
}

/* What a leaf has beside its slots, if any of it is in use, moves as the slots do. */
static void beside_move(const struct extent_space *e, uint32_t leaf, uint32_t to, uint32_t from, uint32_t n)
{
	if (EXTENT_RARELY(e->units_pinned > 0))
		__builtin_memmove(extent_pins(e, leaf) + to, extent_pins(e, leaf) + from, n * sizeof(uint32_t));
	if (EXTENT_RARELY(e->region[EXTENT_SLACKS] != 0))
		__builtin_memmove(extent_slacks(e, leaf) + to, extent_slacks(e, leaf) + from, n * sizeof(uint64_t));
}

/* A new slot where the spot is; the leaf has room. */
static struct spot slot_insert(struct extent_space *e, struct spot s, uint64_t first, uint8_t mark)
{
	uint32_t last = s.l->head.count++;

	beside_move(e, s.leaf, s.slot + 1, s.slot, last - s.slot);
	__builtin_memmove(&s.l->first[s.slot + 1], &s.l->first[s.slot], (last - s.slot) * sizeof(s.l->first[0]));
	__builtin_memmove(&s.l->mark[s.slot + 1], &s.l->mark[s.slot], last - s.slot);
	s.l->first[s.slot] = first;
	s.l->mark[s.slot] = mark;
	return s;
}

/* Cuts segment *low in two, and gives the upper part. That has the marks which all parts of a zone or of an extent
 * have: no border, no pins, no slack. */
static struct spot segment_split(struct extent_space *e, struct spot *low, uint64_t at)
{
	uint8_t mark = *mark_of(*low) & (EXTENT_TAKEN | EXTENT_MOVABLE | EXTENT_ZONE | EXTENT_LENT);
	struct spot high = {low->l, low->leaf, low->slot + 1};

	if (high.slot == low->l->head.count) { /* it may end in the range of the next leaf */
		high.leaf = extent_leaf_of(e, at);
		high.l = extent_leaf(e, high.leaf);
		high.slot = extent_leaf_rank(high.l, at);
	}
	if (EXTENT_RARELY(high.l->head.count == EXTENT_LEAF_SLOTS)) {
		uint64_t first = first_of(*low);

		extent_make_room(e, EXTENT_BY_ADDRESS, at, 1);
		*low = spot_at(e, first);
		high.leaf = extent_leaf_of(e, at);
		high.l = extent_leaf(e, high.leaf);
		high.slot = extent_leaf_rank(high.l, at);
	}
	return slot_insert(e, high, at, mark);
}

/* The segment before takes this one in. The leaf may have too few slots then: see segments_settle(). */
static void segment_drop(struct extent_space *e, struct spot s)
{
	uint32_t last = --s.l->head.count;

	beside_move(e, s.leaf, s.slot, s.slot + 1, last - s.slot);
	__builtin_memmove(&s.l->first[s.slot], &s.l->first[s.slot + 1], (last - s.slot) * sizeof(s.l->first[0]));
	__builtin_memmove(&s.l->mark[s.slot], &s.l->mark[s.slot + 1], last - s.slot);
	s.l->first[last] = UINT64_MAX;
	s.l->mark[last] = 0;
}

static bool too_few(const struct extent_space *e, struct spot s)
{
	return s.l->head.count < EXTENT_FEW(EXTENT_LEAF_SLOTS) && e->root[EXTENT_BY_ADDRESS].height > 0;
}

static void dense(struct extent_space *e, struct spot s)
{
	if (too_few(e, s))
		extent_make_dense(e, EXTENT_BY_ADDRESS, first_of(s));
}

/* After a change: leaves and the nodes above them are as they should be where this segment and its neighbours are. */
EXTENT_COLD static void segments_settle(struct extent_space *e, uint64_t at)
{
	struct spot s = spot_at(e, at), near[2];
	bool any[2] = {spot_before(e, s, &near[0]), spot_after(e, s, &near[1])};

	bool thin = too_few(e, s);

	if (e->region[EXTENT_LARGEST] != 0)
		extent_largest_renew(e, first_of(s));
	for (unsigned i = 0; i < 2; i++) {
		if (!any[i] || near[i].leaf == s.leaf)
			continue;
		thin |= too_few(e, near[i]);
		if (e->region[EXTENT_LARGEST] != 0)
			extent_largest_renew(e, first_of(near[i]));
	}
	if (!thin)
		return;
	for (unsigned i = 0; i < 2; i++) {
		/* Density below may have moved the other one: look again. */
		s = spot_at(e, at);
		if ((i == 0 ? spot_before : spot_after)(e, s, &near[i]) && near[i].leaf != s.leaf)
			dense(e, near[i]);
	}
	dense(e, spot_at(e, at));
}

/* ---- holes by size ---- */

/* Whether holes with these marks are in a tree by size, and in which. */
static bool tree_of(const struct extent_space *e, uint8_t mark, enum extent_tree *t)
{
	*t = mark & EXTENT_ZONE ? EXTENT_BY_SIZE_LENT : EXTENT_BY_SIZE;
	return e->region[EXTENT_SIZES] != 0 && (mark & (EXTENT_ZONE | EXTENT_LENT)) != EXTENT_ZONE;
}

static enum extent_tree sizes_of(enum extent_kind kind)
{
	return kind == EXTENT_PLAIN ? EXTENT_BY_SIZE : EXTENT_BY_SIZE_LENT;
}

static enum extent_kind kind_of(enum extent_tree t)
{
	return t == EXTENT_BY_SIZE ? EXTENT_PLAIN : EXTENT_LENDING;
}

struct seat { /* a slot of a leaf by size */
	uint32_t leaf, slot;
};

EXTENT_COLD static void longest_renew(struct extent_space *e, enum extent_tree t)
{
	e->longest[kind_of(t)] = extent_longest_of(e, t);
}

static void size_add(struct extent_space *e, enum extent_tree t, extent_key key)
{
	struct extent_sizes *l = extent_sizes(e, extent_sizes_of(e, t, key));

	if (EXTENT_RARELY(l->head.count == EXTENT_SIZE_SLOTS)) {
		extent_make_room(e, t, key, 1);
		l = extent_sizes(e, extent_sizes_of(e, t, key));
	}
	extent_sizes_set(e, l, l->head.count++, key);
	if (EXTENT_RARELY(extent_key_units(e, key) > e->longest[kind_of(t)]))
		e->longest[kind_of(t)] = extent_key_units(e, key);
}

static void size_cut_at(struct extent_space *e, enum extent_tree t, struct seat at, extent_key key)
{
	struct extent_sizes *l = extent_sizes(e, at.leaf);
	uint32_t last = --l->head.count;

	extent_sizes_set(e, l, at.slot, extent_sizes_key(e, l, last));
	extent_sizes_set(e, l, last, 0);
	if (last < (e->wide ? EXTENT_FEW(EXTENT_SIZE_SLOTS) : EXTENT_NARROW_FEW) && e->root[t].height > 0)
		extent_make_dense(e, t, key);
	if (EXTENT_RARELY(extent_key_units(e, key) == e->longest[kind_of(t)]))
		longest_renew(e, t);
}

static struct seat size_find(const struct extent_space *e, enum extent_tree t, extent_key key)
{
	const uint32_t leaf = extent_sizes_of(e, t, key);
	const struct extent_sizes *l = extent_sizes(e, leaf);
	const struct seat at = {leaf, EXTENT_RARELY(e->wide) ? extent_up_wide(l->wide, key)
							     : extent_same_narrow(l->narrow, (uint64_t)key)};

	MM_ASSERT(extent_sizes_key(e, extent_sizes(e, at.leaf), at.slot) == key, key, key >> 64);
	return at;
}

static void size_cut(struct extent_space *e, enum extent_tree t, extent_key key)
{
	size_cut_at(e, t, size_find(e, t, key), key);
}

/* A hole with these marks comes, or goes. */
static void hole_add(struct extent_space *e, uint8_t mark, uint64_t first, uint64_t end)
{
	enum extent_tree t;

	e->holes++;
	if (tree_of(e, mark, &t))
		size_add(e, t, extent_key_of(e, first, end - first));
}

static void hole_cut(struct extent_space *e, uint8_t mark, uint64_t first, uint64_t end)
{
	enum extent_tree t;

	e->holes--;
	if (tree_of(e, mark, &t))
		size_cut(e, t, extent_key_of(e, first, end - first));
}

/* ---- what is counted ---- */

/* Whether there may be n more segments; what follows cannot fail. Counts for fault injection. */
static bool room_for(struct extent_space *e, uint64_t n)
{
	if (n == 0)
		return true;
	if (e->fail_after > 0 && --e->fail_after == 0)
		return false;
	return n <= e->segments_max - (e->holes + e->extents);
}

static void count_asked(struct extent_space *e, uint64_t more, uint64_t less)
{
	e->units_asked += more - less;
	e->units_asked_max = max(e->units_asked_max, e->units_asked);
}

static void count_taken(struct extent_space *e, uint8_t mark, uint64_t units)
{
	e->units_free -= units;
	e->units_free_min = min(e->units_free_min, e->units_free);
	if (mark & EXTENT_ZONE)
		e->units_zone_free -= units;
}

static void count_freed(struct extent_space *e, uint8_t mark, uint64_t units)
{
	e->units_free += units;
	if (mark & EXTENT_ZONE)
		e->units_zone_free += units;
}

static void count_extents(struct extent_space *e, uint64_t more)
{
	e->extents += more;
	e->extents_max = max(e->extents_max, e->extents);
}

/* ---- holes that are cut and that grow together ---- */

/* Whether two neighbours with these marks, the upper one a hole, are in the same zone, or in none. */
static bool same_zone(uint8_t low, uint8_t high)
{
	return (high & (EXTENT_TAKEN | ZONE_MARKS)) == (low & (EXTENT_ZONE | EXTENT_LENT));
}

static bool joinable(const struct extent_space *e, struct spot low, struct spot high)
{
	uint64_t units;

	if (has(low, EXTENT_TAKEN) || !same_zone(*mark_of(low), *mark_of(high)))
		return false;
	if (e->policy != EXTENT_BUDDY)
		return true;
	units = units_of(e, low);
	return units == units_of(e, high) && ((e->base + first_of(low)) & units) == 0;
}

/* How many more segments there are when `run` is cut out of a hole. */
static uint64_t carve_cost(const struct extent_space *e, struct extent hole, struct extent run)
{
	if (EXTENT_RARELY(e->policy == EXTENT_BUDDY))
		return (uint64_t)(__builtin_ctzll(hole.units) - __builtin_ctzll(run.units));
	return (uint64_t)(run.first > hole.first) + (run.first + run.units < hole.first + hole.units);
}

/* Cuts `run` out of hole s by halves; what is left are holes. */
EXTENT_COLD static struct spot carve_halves(struct extent_space *e, struct spot s, struct extent run)
{
	uint64_t first = first_of(s), half = units_of(e, s);
	uint8_t mark = *mark_of(s);

	hole_cut(e, mark, first, first + half);
	while (half > run.units) {
		struct spot high;

		half /= 2;
		high = segment_split(e, &s, first + half);
		if (run.first < first + half) {
			hole_add(e, mark, first + half, first + 2 * half);
			continue;
		}
		hole_add(e, mark, first, first + half);
		first += half;
		s = high;
	}
	return s;
}

struct place { /* of an extent to be, and of the hole that it is cut out of */
	struct extent run, hole;
	struct seat seat; /* of the hole by size */
	bool seated;
};

static struct place place_at(const struct extent_space *e, struct spot s, struct extent run)
{
	return (struct place){.run = run, .hole = {first_of(s), units_of(e, s)}};
}

/* The holes that are left. */
static void carve_sizes(struct extent_space *e, uint8_t mark, const struct place *p)
{
	uint64_t end = p->run.first + p->run.units, hole_end = p->hole.first + p->hole.units;
	bool left = p->run.first > p->hole.first, right = end < hole_end;
	extent_key key = extent_key_of(e, p->hole.first, p->hole.units);
	enum extent_tree t;

	e->holes += (uint64_t)left + right - 1;
	if (!tree_of(e, mark, &t))
		return;
	size_cut_at(e, t, p->seated ? p->seat : size_find(e, t, key), key);
	if (left)
		size_add(e, t, extent_key_of(e, p->hole.first, p->run.first - p->hole.first));
	if (right)
		size_add(e, t, extent_key_of(e, end, hole_end - end));
}

/* Makes p->run, inside hole s, a segment of its own that is no hole any more; gives where it is. How long the hole is
 * is not asked of the segments: the processor would learn only from them which way to go. */
static struct spot hole_carve(struct extent_space *e, struct spot s, const struct place *p)
{
	uint64_t end = p->run.first + p->run.units;

	if (EXTENT_RARELY(e->policy == EXTENT_BUDDY))
		return carve_halves(e, s, p->run);
	carve_sizes(e, *mark_of(s), p);
	if (p->run.first > p->hole.first)
		s = segment_split(e, &s, p->run.first);
	if (end < p->hole.first + p->hole.units)
		segment_split(e, &s, end);
	return s;
}

/* Segment s, no longer taken, becomes a hole, with the buddies that are free. */
EXTENT_COLD static void join_buddies(struct extent_space *e, struct spot s)
{
	uint64_t first = first_of(s);
	struct spot near;

	for (;;) {
		if (spot_after(e, s, &near) && joinable(e, s, near)) {
			hole_cut(e, *mark_of(near), first_of(near), end_of(e, near));
			segment_drop(e, near);
		} else if (spot_before(e, s, &near) && joinable(e, near, s)) {
			first = first_of(near);
			hole_cut(e, *mark_of(near), first, first_of(s));
			segment_drop(e, s);
		} else {
			break;
		}
		segments_settle(e, first);
		s = spot_at(e, first);
	}
	hole_add(e, *mark_of(s), first, end_of(e, s));
}

/* Segment s, no longer taken, becomes a hole, one with the holes at its sides. */
static void join_holes(struct extent_space *e, struct spot s)
{
	struct spot low = s, high = s;
	bool joins_low = spot_before(e, s, &low) && joinable(e, low, s);
	bool joins_high = spot_after(e, s, &high) && joinable(e, s, high);
	uint64_t first = joins_low ? first_of(low) : first_of(s), end = end_of(e, joins_high ? high : s);
	uint8_t mark = *mark_of(s);

	if (joins_high)
		hole_cut(e, mark, first_of(high), end);
	if (joins_low)
		hole_cut(e, mark, first, first_of(s));
	hole_add(e, mark, first, end);
	if (joins_high)
		segment_drop(e, high);
	if (joins_low)
		segment_drop(e, s);
	if (e->region[EXTENT_LARGEST] != 0 || (joins_high && too_few(e, high)) || (joins_low && too_few(e, s)))
		segments_settle(e, first);
}

static void hole_join(struct extent_space *e, struct spot s)
{
	if (EXTENT_RARELY(e->policy == EXTENT_BUDDY))
		join_buddies(e, s);
	else
		join_holes(e, s);
}

/* p->run, inside hole s, becomes a live extent. MM_ENOMEM: no room for more segments. */
static enum mm_err take(struct extent_space *e, struct spot s, const struct place *p, uint64_t asked, uint8_t marks)
{
	if (!room_for(e, carve_cost(e, p->hole, p->run)))
		return MM_ENOMEM;
	s = hole_carve(e, s, p);
	*mark_of(s) |= marks | EXTENT_TAKEN;
	slack_set(e, s, p->run.units - asked);
	count_taken(e, *mark_of(s), p->run.units);
	count_asked(e, asked, 0);
	count_extents(e, 1);
	if (e->region[EXTENT_LARGEST] != 0)
		segments_settle(e, p->run.first);
	return MM_OK;
}

/* ---- where to put an extent ---- */

struct wish {
	uint64_t units, align; /* align 0: any */
	enum extent_kind kind;
};

/* Whether it fits the hole at `from` or above: p is then the lowest place. */
static bool fits(const struct extent_space *e, const struct wish *w, struct extent hole, uint64_t from, struct place *p)
{
	uint64_t start = max(hole.first, from), room = hole.first + hole.units - start;
	uint64_t pad = w->align > 1 ? -(e->base + start) & (w->align - 1) : 0;

	if (pad > room || w->units > room - pad)
		return false;
	p->run = (struct extent){start + pad, w->units};
	p->hole = hole;
	return true;
}

/* The first hole, of a key of `least` or more, that it fits; no longer than `most`. */
static bool place_seated(const struct extent_space *e, const struct wish *w, extent_key least, uint64_t most,
			 struct place *p)
{
	uint32_t leaf = extent_sizes_of(e, sizes_of(w->kind), least);

	while (leaf != EXTENT_NONE) {
		const struct extent_sizes *l = extent_sizes(e, leaf);
		uint32_t slot = extent_sizes_up(e, l, least);
		extent_key key = extent_sizes_key(e, l, slot);
		struct extent hole = {extent_key_first(e, key), extent_key_units(e, key)};

		if (key < least) { /* there is none in this leaf */
			leaf = l->head.next;
			continue;
		}
		if (hole.units > most)
			return false;
		if (fits(e, w, hole, 0, p)) {
			p->seat = (struct seat){leaf, slot};
			p->seated = true;
			return true;
		}
		least = key + (e->wide ? 1 : EXTENT_NARROW_STEP);
	}
	return false;
}

static bool place_best(const struct extent_space *e, const struct wish *w, struct place *p)
{
	if (w->units > e->units)
		return false;
	return place_seated(e, w, extent_key_of(e, 0, w->units), UINT64_MAX, p);
}

/* The length of the longest hole that is shorter; 0: none. */
static uint64_t shorter_size(const struct extent_space *e, enum extent_tree t, uint64_t units)
{
	extent_key key = extent_key_of(e, 0, units);
	const struct extent_sizes *l = extent_sizes(e, extent_sizes_of(e, t, key));
	extent_key found = extent_sizes_down(e, l, key);

	if (found == 0 && l->head.prev != EXTENT_NONE)
		found = extent_sizes_down(e, extent_sizes(e, l->head.prev), key);
	return extent_key_units(e, found);
}

EXTENT_COLD static bool place_worst(const struct extent_space *e, const struct wish *w, struct place *p)
{
	enum extent_tree t = sizes_of(w->kind);
	uint64_t units = e->longest[w->kind];

	for (; units >= w->units; units = shorter_size(e, t, units))
		if (place_seated(e, w, extent_key_of(e, 0, units), units, p))
			return true;
	return false;
}

/* The first slot of a leaf, from this one on, with a hole of `units` or more; its count if there is none. All slots are
 * looked at alike, as in leaf_largest(). */
static uint32_t long_slot(const struct extent_space *e, const struct extent_leaf *l, uint32_t slot,
			  enum extent_kind kind, uint64_t units)
{
	uint32_t last = l->head.count - 1, fit = 0;

	for (uint32_t i = 0; i < last; i++)
		fit |= (uint32_t)(extent_is_hole(l->mark[i], kind) & (l->first[i + 1] - l->first[i] >= units)) << i;
	if (extent_is_hole(l->mark[last], kind) && extent_slot_end(e, l, last) - l->first[last] >= units)
		fit |= 1u << last;
	fit &= -(1u << slot);
	return fit ? (uint32_t)__builtin_ctz(fit) : l->head.count;
}

/* The first child of an inner node, from this one on, with such a hole below it. */
static uint32_t long_child(const struct extent_space *e, uint32_t n, uint32_t i, enum extent_kind kind, uint64_t units)
{
	const uint64_t *largest = extent_largest(e, n, kind);

	while (i < extent_inner(e, n)->head.count && largest[i] < units)
		i++;
	return i;
}

struct walk { /* a search in the tree by address: by level, the node and which of its children is next */
	uint32_t node[EXTENT_HEIGHT_MAX + 1], next[EXTENT_HEIGHT_MAX + 1];
	uint32_t level; /* this one and those above are filled in */
};

/* Starts before all leaves. */
static void walk_start(const struct extent_space *e, struct walk *k)
{
	k->level = e->root[EXTENT_BY_ADDRESS].height;
	k->node[k->level] = e->root[EXTENT_BY_ADDRESS].node;
	k->next[k->level] = 0;
}

/* Starts where `from` is. Gives the leaf. */
static uint32_t walk_to(const struct extent_space *e, uint64_t from, struct walk *k)
{
	uint32_t n = e->root[EXTENT_BY_ADDRESS].node;

	k->level = e->root[EXTENT_BY_ADDRESS].height + 1;
	while (k->level > 1) {
		uint32_t i = extent_inner_slot(extent_inner(e, n), from);

		k->level--;
		k->node[k->level] = n;
		k->next[k->level] = i + 1;
		n = extent_inner(e, n)->child[i];
	}
	return n;
}

/* The next leaf that has such a hole; EXTENT_NONE if none has. */
static uint32_t walk_on(const struct extent_space *e, const struct wish *w, struct walk *k)
{
	uint32_t height = e->root[EXTENT_BY_ADDRESS].height, n;

	for (;; k->level++) {
		if (k->level > height)
			return EXTENT_NONE;
		n = k->node[k->level];
		k->next[k->level] = long_child(e, n, k->next[k->level], w->kind, w->units);
		if (k->next[k->level] < extent_inner(e, n)->head.count)
			break;
	}
	for (;;) {
		n = extent_inner(e, n)->child[k->next[k->level]++];
		if (k->level == 1)
			return n;
		k->level--;
		k->node[k->level] = n;
		k->next[k->level] = long_child(e, n, 0, w->kind, w->units);
	}
}

/* The lowest such hole that starts at `from` or above. */
static bool hole_from(const struct extent_space *e, uint64_t from, const struct wish *w, struct spot *out)
{
	struct walk k;
	uint32_t n, slot = 0;

	if (from == e->units) /* no offset: it may equal the unused keys */
		return false;
	if (from == 0 && e->root[EXTENT_BY_ADDRESS].height > 0) {
		walk_start(e, &k);
		n = walk_on(e, w, &k);
	} else {
		n = walk_to(e, from, &k);
		slot = from > 0 ? extent_leaf_rank(extent_leaf(e, n), from - 1) : 0;
	}
	for (; n != EXTENT_NONE; n = walk_on(e, w, &k), slot = 0) {
		*out = spot_in(e, n, long_slot(e, extent_leaf(e, n), slot, w->kind, w->units));
		if (out->slot < out->l->head.count)
			return true;
	}
	return false;
}

/* Whether a hole starts below `from` and ends above. */
static bool hole_around(const struct extent_space *e, uint64_t from, enum extent_kind kind, struct spot *out)
{
	if (from == e->units)
		return false;
	*out = spot_at(e, from);
	return first_of(*out) < from && extent_is_hole(*mark_of(*out), kind);
}

/* The lowest place at `from` or above. */
EXTENT_COLD static bool place_from(const struct extent_space *e, uint64_t from, const struct wish *w, struct place *p)
{
	struct spot s;
	bool any = from > 0 && hole_around(e, from, w->kind, &s);

	for (any = any || hole_from(e, from, w, &s); any; any = hole_from(e, end_of(e, s), w, &s)) {
		struct extent hole = {first_of(s), units_of(e, s)};

		if (fits(e, w, hole, from, p)) {
			p->seated = false;
			return true;
		}
	}
	return false;
}

static bool place_in(const struct extent_space *e, const struct wish *w, struct place *p)
{
	switch (e->policy) {
	case EXTENT_FIRST_FIT:
		return place_from(e, 0, w, p);
	case EXTENT_NEXT_FIT:
		return place_from(e, e->cursor, w, p) || place_from(e, 0, w, p);
	case EXTENT_WORST_FIT:
		return place_worst(e, w, p);
	default:
		return place_best(e, w, p);
	}
}

uint64_t extent_given(enum extent_policy policy, uint64_t units)
{
	unsigned bits = 63 - (unsigned)__builtin_clzll(units), slack_bits;

	switch (policy) {
	case EXTENT_BUDDY:
		slack_bits = bits + ((units & (units - 1)) != 0);
		if (slack_bits == 64)
			return 0;
		return UINT64_C(1) << slack_bits;
	case EXTENT_SEGREGATED:
		slack_bits = bits < 3 ? 0 : bits - 3;
		return (units + ((UINT64_C(1) << slack_bits) - 1)) & -(UINT64_C(1) << slack_bits);
	default:
		return units;
	}
}

/* ---- the interface ---- */

size_t extent_config_bytes(const struct extent_config *config)
{
	struct extent_space trial = {.policy = config->policy,
				     .segments_max = config->segments_max,
				     .wide = config->units >> EXTENT_NARROW_BITS != 0};

	if (config->segments_max == 0 || (unsigned)config->policy >= EXTENT_POLICIES)
		return 0;
	return extent_layout(&trial);
}

size_t extent_meta_bytes(uint32_t segments_max)
{
	struct extent_config config = {.segments_max = segments_max};
	uint64_t most = 0;

	for (unsigned i = 0; i < 2 * EXTENT_POLICIES; i++) {
		config.policy = (enum extent_policy)(i / 2);
		config.units = i % 2 ? UINT64_MAX : 1;
		most = max(most, extent_config_bytes(&config));
	}
	return most;
}

/* The longest aligned power of two that starts a hole. */
static uint64_t first_run(const struct extent_space *e, struct extent hole)
{
	uint64_t number = e->base + hole.first, aligned = number & -number;
	uint64_t fits = UINT64_C(1) << (63 - __builtin_clzll(hole.units));

	return aligned == 0 || fits < aligned ? fits : aligned;
}

/* The runs that the space starts with, made if it has room; how many they are. */
static uint32_t start_runs(struct extent_space *e, bool make)
{
	struct extent rest = {0, e->units};
	uint32_t runs = 0;

	for (; rest.units > 0; runs++) {
		uint64_t units = e->policy == EXTENT_BUDDY ? first_run(e, rest) : rest.units;
		struct spot s;

		if (make && rest.first > 0) {
			s = spot_at(e, rest.first);
			segment_split(e, &s, rest.first);
		}
		if (make)
			hole_add(e, 0, rest.first, rest.first + units);
		rest.first += units;
		rest.units -= units;
	}
	return runs;
}

enum mm_err extent_init(void *meta, size_t meta_bytes, const struct extent_config *config, struct extent_space **out)
{
	struct extent_space *e = meta, trial;

	size_t need = extent_config_bytes(config);

	if (!meta || (uintptr_t)meta % 64 || need == 0 || meta_bytes < need || config->units == 0 ||
	    config->units - 1 > UINT64_MAX - config->base)
		return MM_EINVAL;
	trial = (struct extent_space){
		.base = config->base,
		.units = config->units,
		.policy = config->policy,
		.segments_max = config->segments_max,
		.wide = config->units >> EXTENT_NARROW_BITS != 0,
		.units_free = config->units,
		.units_free_min = config->units,
	};
	if (start_runs(&trial, false) > config->segments_max)
		return MM_EINVAL;
	extent_layout(&trial);
	*e = trial;
	extent_trees_init(e);
	start_runs(e, true);
	segments_settle(e, 0);
	*out = e;
	return MM_OK;
}

EXTENT_WHOLE enum mm_err extent_alloc(struct extent_space *e, const struct extent_request *ask, struct extent *out)
{
	struct wish w = {.align = ask->align, .kind = EXTENT_PLAIN};
	struct place p;
	enum mm_err err;

	if (ask->units == 0 || (ask->align & (ask->align - 1)) || (w.units = extent_given(e->policy, ask->units)) == 0)
		return MM_EINVAL;
	if (!place_in(e, &w, &p)) {
		w.kind = EXTENT_LENDING;
		if (!ask->movable || e->units_zone_free == 0 || !place_in(e, &w, &p))
			return MM_ENOMEM;
	}
	err = take(e, spot_at(e, p.hole.first), &p, ask->units, ask->movable ? EXTENT_MOVABLE : 0);
	if (err != MM_OK)
		return err;
	e->cursor = p.run.first + p.run.units;
	*out = (struct extent){e->base + p.run.first, p.run.units};
	return MM_OK;
}

enum mm_err extent_regrow(const struct extent_space *from, void *meta, size_t meta_bytes, uint32_t segments_max,
			  struct extent_space **out)
{
	struct extent_config config = extent_config_read(from);
	struct extent_segment s;
	struct extent_space *e;
	enum mm_err err;

	config.segments_max = segments_max;
	if (from->units_zone > 0)
		return MM_ESTATE;
	err = extent_init(meta, meta_bytes, &config, &e);
	for (uint64_t at = 0; err == MM_OK && at < from->units; at += s.run.units) {
		struct place p;
		struct spot spot;

		(void)extent_segment_at(from, from->base + at, &s);
		if (!s.taken)
			continue;
		spot = spot_at(e, at);
		p = place_at(e, spot, (struct extent){at, s.run.units});
		err = take(e, spot, &p, s.asked, s.movable ? EXTENT_MOVABLE : 0);
		if (err != MM_OK || s.pins == 0)
			continue;
		spot = spot_at(e, at);
		*mark_of(spot) |= EXTENT_PINNED;
		extent_pins(e, spot.leaf)[spot.slot] = s.pins;
		e->units_pinned += s.run.units;
	}
	if (err != MM_OK)
		return err;
	e->cursor = from->cursor;
	e->units_free_min = from->units_free_min;
	e->units_asked_max = from->units_asked_max;
	e->extents_max = from->extents_max;
	*out = e;
	return MM_OK;
}

/* Makes offsets of addresses. False iff the run is empty or not inside the space. */
static bool run_inside(const struct extent_space *e, struct extent *run)
{
	run->first -= e->base; /* below base it wraps, to above any offset */
	return run->units > 0 && run->first < e->units && run->units <= e->units - run->first;
}

/* Whether the space ever gives a run like this one. */
static bool run_regular(const struct extent_space *e, struct extent run)
{
	return e->policy != EXTENT_BUDDY ||
	       ((run.units & (run.units - 1)) == 0 && ((e->base + run.first) & (run.units - 1)) == 0);
}

static bool run_within(const struct extent_space *e, struct extent run, struct spot s)
{
	return run.units <= end_of(e, s) - run.first;
}

enum mm_err extent_alloc_at(struct extent_space *e, struct extent run, bool movable)
{
	struct place p;
	struct spot s;

	if (!run_inside(e, &run) || !run_regular(e, run))
		return MM_EINVAL;
	s = spot_at(e, run.first);
	if (!extent_is_hole(*mark_of(s), EXTENT_PLAIN) && !(movable && extent_is_hole(*mark_of(s), EXTENT_LENDING)))
		return MM_EEXIST;
	if (!run_within(e, run, s))
		return MM_EEXIST;
	p = place_at(e, s, run);
	return take(e, s, &p, run.units, movable ? EXTENT_MOVABLE : 0);
}

/* How many more segments there are when `run`, in live extent s, is free. It may be less than 0: 0 then. */
static uint64_t free_cost(const struct extent_space *e, struct spot s, struct extent run)
{
	bool front = run.first == first_of(s), back = run.first + run.units == end_of(e, s);
	struct spot near;

	if (front == back)
		return front ? 0 : 2;
	if (front)
		return spot_before(e, s, &near) && !has(near, EXTENT_TAKEN) &&
				       same_zone(*mark_of(near), *mark_of(s) & ZONE_MARKS)
			       ? 0
			       : 1;
	return spot_after(e, s, &near) && same_zone(*mark_of(s), *mark_of(near)) ? 0 : 1;
}

/* Of live extent s only what is outside `run` stays; there is room for that. */
static void release(struct extent_space *e, struct spot s, struct extent run)
{
	uint64_t first = first_of(s), end = end_of(e, s), run_end = run.first + run.units;
	uint64_t asked_end = end - slack_of(e, s), kept = 0;

	e->extents--;
	if (run_end < end) { /* the part above, with what was asked of it */
		uint64_t asked = asked_end > run_end ? asked_end - run_end : 0;

		slack_set(e, segment_split(e, &s, run_end), end - run_end - asked);
		count_extents(e, 1);
		kept += asked;
	}
	slack_set(e, s, 0);
	if (first < run.first) { /* the part below */
		uint64_t asked = min(asked_end, run.first) - first;
		struct spot above = segment_split(e, &s, run.first);

		slack_set(e, s, run.first - first - asked);
		count_extents(e, 1);
		kept += asked;
		s = above;
	}
	*mark_of(s) &= ZONE_MARKS;
	count_freed(e, *mark_of(s), run.units);
	count_asked(e, kept, asked_end - first);
	hole_join(e, s);
}

EXTENT_WHOLE enum mm_err extent_free(struct extent_space *e, struct extent run)
{
	struct spot s;

	if (!run_inside(e, &run))
		return MM_EINVAL;
	s = spot_at(e, run.first);
	if (!has(s, EXTENT_TAKEN) || !run_within(e, run, s) ||
	    (e->policy == EXTENT_BUDDY && run.units != units_of(e, s)))
		return MM_ESTATE;
	if (has(s, EXTENT_PINNED))
		return MM_EBUSY;
	if (!room_for(e, free_cost(e, s, run)))
		return MM_ENOMEM;
	release(e, s, run);
	return MM_OK;
}

/* ---- resize ---- */

/* Live extent s keeps its low units alone, by halves. */
static void shrink_halves(struct extent_space *e, struct spot s, uint64_t units)
{
	uint64_t first = first_of(s), half = units_of(e, s), asked = half - slack_of(e, s);

	count_asked(e, min(asked, units), asked);
	slack_set(e, s, 0);
	while (half > units) {
		half /= 2;
		*mark_of(segment_split(e, &s, first + half)) &= ZONE_MARKS;
		hole_add(e, *mark_of(s) & ZONE_MARKS, first + half, first + 2 * half);
		count_freed(e, *mark_of(s), half);
	}
}

static enum mm_err shrink(struct extent_space *e, struct spot s, uint64_t units)
{
	struct extent was = {first_of(s), units_of(e, s)}, tail = {was.first + units, was.units - units};

	if (has(s, EXTENT_PINNED))
		return MM_EBUSY;
	if (EXTENT_RARELY(e->policy == EXTENT_BUDDY)) {
		if (!room_for(e, carve_cost(e, was, (struct extent){was.first, units})))
			return MM_ENOMEM;
		shrink_halves(e, s, units);
		return MM_OK;
	}
	if (!room_for(e, free_cost(e, s, tail)))
		return MM_ENOMEM;
	release(e, s, tail);
	return MM_OK;
}

/* Whether what follows live extent s is free up to `units` from its start, in whole buddies. */
static bool buddies_free(const struct extent_space *e, struct spot s, uint64_t units)
{
	uint64_t number = e->base + first_of(s);
	struct spot low = s, high;

	if (number & (units - 1))
		return false;
	for (uint64_t size = units_of(e, s); size < units; size *= 2) {
		if (!spot_after(e, low, &high) || !same_zone(*mark_of(s), *mark_of(high)) || units_of(e, high) != size)
			return false;
		low = high;
	}
	return true;
}

/* The hole after live extent s gives it so many units. */
static void grow_into(struct extent_space *e, struct spot s, struct spot hole, uint64_t units)
{
	struct extent was = {first_of(hole), units_of(e, hole)};
	uint64_t end = was.first + was.units;
	uint8_t mark = *mark_of(hole);

	hole_cut(e, mark, was.first, end);
	if (units < was.units) {
		hole_add(e, mark, was.first + units, end);
		if (hole.slot + 1 < hole.l->head.count) {
			hole.l->first[hole.slot] += units;
		} else { /* it may now start in the range of the next leaf */
			segment_drop(e, hole);
			*mark_of(segment_split(e, &s, was.first + units)) = mark;
		}
	} else {
		segment_drop(e, hole);
	}
	count_taken(e, *mark_of(s), units);
	if (has(s, EXTENT_PINNED))
		e->units_pinned += units;
}

static enum mm_err grow(struct extent_space *e, struct spot s, uint64_t units)
{
	uint64_t first = first_of(s), more = units - units_of(e, s), step;
	struct spot hole;

	if (EXTENT_RARELY(e->policy == EXTENT_BUDDY)) {
		if (!buddies_free(e, s, units))
			return MM_ENOMEM;
	} else if (!spot_after(e, s, &hole) || !same_zone(*mark_of(s), *mark_of(hole)) || units_of(e, hole) < more) {
		return MM_ENOMEM;
	}
	slack_set(e, s, 0); /* it is not at the end any more */
	for (; more > 0; more -= step) {
		s = spot_at(e, first);
		spot_after(e, s, &hole);
		step = min(units_of(e, hole), more);
		grow_into(e, s, hole, step);
		segments_settle(e, first);
	}
	return MM_OK;
}

enum mm_err extent_resize(struct extent_space *e, struct extent run, uint64_t units, uint64_t *given)
{
	enum mm_err err = MM_OK;
	uint64_t now, asked;
	struct spot s;

	if (units == 0 || (now = extent_given(e->policy, units)) == 0 || !run_inside(e, &run))
		return MM_EINVAL;
	s = spot_at(e, run.first);
	if (!has(s, EXTENT_TAKEN) || first_of(s) != run.first || units_of(e, s) != run.units)
		return MM_ESTATE;
	asked = min(run.units - slack_of(e, s), now); /* shrinking leaves it so */
	if (now < run.units)
		err = shrink(e, s, now);
	else if (now > run.units)
		err = grow(e, s, now);
	if (err != MM_OK)
		return err;
	count_asked(e, units, asked);
	slack_set(e, spot_at(e, run.first), now - units);
	if (given)
		*given = now;
	return MM_OK;
}

/* ---- pins ---- */

enum mm_err extent_pin(struct extent_space *e, uint64_t at)
{
	struct spot s;
	uint32_t *pins;

	at -= e->base;
	if (at >= e->units || !has(s = spot_at(e, at), EXTENT_TAKEN))
		return MM_ENOENT;
	if (has(s, EXTENT_ZONE) && has(s, EXTENT_MOVABLE))
		return MM_ESTATE;
	pins = &extent_pins(e, s.leaf)[s.slot];
	if (!has(s, EXTENT_PINNED)) {
		*mark_of(s) |= EXTENT_PINNED;
		*pins = 0;
		e->units_pinned += units_of(e, s);
	} else if (*pins == PINS_MAX) {
		return MM_ENOMEM;
	}
	++*pins;
	return MM_OK;
}

enum mm_err extent_unpin(struct extent_space *e, uint64_t at)
{
	struct spot s;

	at -= e->base;
	if (at >= e->units || !has(s = spot_at(e, at), EXTENT_TAKEN))
		return MM_ENOENT;
	if (!has(s, EXTENT_PINNED))
		return MM_ESTATE;
	if (--extent_pins(e, s.leaf)[s.slot] == 0) {
		*mark_of(s) &= (uint8_t)~EXTENT_PINNED;
		e->units_pinned -= units_of(e, s);
	}
	return MM_OK;
}

/* ---- zones ---- */

enum mm_err extent_reserve(struct extent_space *e, struct extent run, bool lend)
{
	struct place p;
	struct spot s;

	if (!run_inside(e, &run) || !run_regular(e, run))
		return MM_EINVAL;
	s = spot_at(e, run.first);
	if (!extent_is_hole(*mark_of(s), EXTENT_PLAIN) || !run_within(e, run, s))
		return MM_EEXIST;
	p = place_at(e, s, run);
	if (!room_for(e, carve_cost(e, p.hole, run)))
		return MM_ENOMEM;
	s = hole_carve(e, s, &p);
	*mark_of(s) = EXTENT_ZONE | EXTENT_BORDER | (lend ? EXTENT_LENT : 0);
	hole_add(e, *mark_of(s), run.first, run.first + run.units);
	e->units_zone += run.units;
	e->units_zone_free += run.units;
	segments_settle(e, run.first);
	return MM_OK;
}

/* Whether the zone that starts with segment s ends there. */
static bool zone_ends(const struct extent_space *e, struct spot s, uint64_t end)
{
	while (end_of(e, s) < end)
		if (!spot_after(e, s, &s) || has(s, EXTENT_BORDER) || !has(s, EXTENT_ZONE))
			return false;
	return end_of(e, s) == end && (!spot_after(e, s, &s) || has(s, EXTENT_BORDER) || !has(s, EXTENT_ZONE));
}

enum mm_err extent_unreserve(struct extent_space *e, struct extent zone)
{
	struct spot s;

	if (!run_inside(e, &zone))
		return MM_ENOENT;
	s = spot_at(e, zone.first);
	if (first_of(s) != zone.first || !has(s, EXTENT_BORDER) || !zone_ends(e, s, zone.first + zone.units))
		return MM_ENOENT;
	if (has(s, EXTENT_TAKEN) || units_of(e, s) != zone.units)
		return MM_EBUSY;
	hole_cut(e, *mark_of(s), zone.first, zone.first + zone.units);
	*mark_of(s) = 0;
	hole_join(e, s);
	e->units_zone -= zone.units;
	e->units_zone_free -= zone.units;
	return MM_OK;
}

/* Whether `run` is within one zone and nothing in it claimed; *in_way extents of others are in it. */
static enum mm_err claim_look(const struct extent_space *e, struct extent run, uint32_t *in_way)
{
	struct spot s = spot_at(e, run.first);

	for (*in_way = 0;;) {
		if (!has(s, EXTENT_ZONE))
			return MM_ENOENT;
		if (has(s, EXTENT_TAKEN) && !has(s, EXTENT_MOVABLE))
			return MM_EEXIST;
		*in_way += has(s, EXTENT_TAKEN);
		if (run_within(e, run, s))
			return *in_way > 0 ? MM_EBUSY : MM_OK;
		/* There is a next one: the run ends within the space. */
		if (spot_after(e, s, &s) && has(s, EXTENT_BORDER))
			return MM_ENOENT;
	}
}

static void claim_list(const struct extent_space *e, struct extent run, struct extent *out, uint32_t n)
{
	struct spot s = spot_at(e, run.first);

	for (uint32_t i = 0; i < n; spot_after(e, s, &s))
		if (has(s, EXTENT_TAKEN))
			out[i++] = (struct extent){e->base + first_of(s), units_of(e, s)};
}

enum mm_err extent_claim(struct extent_space *e, struct extent run, struct extent *out, uint32_t max_out,
			 uint32_t *in_way)
{
	enum mm_err err;
	uint32_t n;

	if (run.units == 0)
		return MM_EINVAL;
	if (!run_inside(e, &run))
		return MM_ENOENT;
	if (!run_regular(e, run))
		return MM_EINVAL;
	err = claim_look(e, run, &n);
	if (err == MM_OK) {
		struct spot s = spot_at(e, run.first);
		const struct place p = place_at(e, s, run);

		err = take(e, s, &p, run.units, 0);
	}
	if (err == MM_OK || err == MM_EBUSY)
		*in_way = n;
	if (err == MM_EBUSY)
		claim_list(e, run, out, n < max_out ? n : max_out);
	return err;
}

/* ---- what there is ---- */

bool extent_segment_at(const struct extent_space *e, uint64_t at, struct extent_segment *out)
{
	struct spot s;
	bool taken;

	at -= e->base;
	if (at >= e->units)
		return false;
	s = spot_at(e, at);
	taken = has(s, EXTENT_TAKEN);
	*out = (struct extent_segment){
		.run = {e->base + first_of(s), units_of(e, s)},
		.asked = taken ? units_of(e, s) - slack_of(e, s) : 0,
		.pins = has(s, EXTENT_PINNED) ? extent_pins(e, s.leaf)[s.slot] : 0,
		.taken = taken,
		.movable = has(s, EXTENT_MOVABLE),
		.zone = has(s, EXTENT_ZONE),
	};
	return true;
}

void extent_hint(const struct extent_space *e, uint64_t at, unsigned step)
{
	const struct extent_root *address = &e->root[EXTENT_BY_ADDRESS], *size = &e->root[EXTENT_BY_SIZE];

	if (step == 0) {
		extent_prefetch(e, sizeof(*e));
	} else if (step > 1) {
		(void)extent_leaf_of(e, at - e->base);
	} else {
		/* Of a large root more is looked at, but then it is of few spaces, and hot. */
		if (address->height > 0) {
			extent_prefetch(extent_inner(e, address->node), 128);
			extent_prefetch(extent_inner(e, address->node)->least, 256);
		}
		if (e->region[EXTENT_SIZES] && size->height == 0)
			extent_prefetch(extent_sizes(e, size->node), EXTENT_NARROW_BYTES);
	}
}

uint64_t extent_room(const struct extent_space *e)
{
	uint64_t hole = extent_largest_hole(e);
	unsigned bits = hole ? 63 - (unsigned)__builtin_clzll(hole) : 0;

	/* The largest class that is not longer: the sizes that round up to it are those up to it. */
	if (e->policy == EXTENT_SEGREGATED && bits > 3)
		hole &= -(UINT64_C(1) << (bits - 3));
	return hole;
}

uint64_t extent_units_free(const struct extent_space *e)
{
	return e->units_free;
}

uint64_t extent_holes(const struct extent_space *e, uint64_t *largest)
{
	*largest = extent_largest_hole(e);
	return e->holes;
}

uint64_t extent_segments_left(const struct extent_space *e)
{
	return e->segments_max - e->holes - e->extents;
}

struct extent_config extent_config_read(const struct extent_space *e)
{
	return (struct extent_config){
		.base = e->base, .units = e->units, .segments_max = e->segments_max, .policy = e->policy};
}

struct extent_stats extent_stats_read(const struct extent_space *e)
{
	return (struct extent_stats){
		.units_total = e->units,
		.units_free = e->units_free,
		.units_free_min = e->units_free_min,
		.units_asked = e->units_asked,
		.units_asked_max = e->units_asked_max,
		.units_zone = e->units_zone,
		.units_zone_free = e->units_zone_free,
		.units_pinned = e->units_pinned,
		.largest_hole = extent_largest_hole(e),
		.holes = e->holes,
		.extents = e->extents,
		.extents_max = e->extents_max,
		.segments_max = e->segments_max,
	};
}

uint32_t extent_fragmentation_ppm(const struct extent_stats *s)
{
	const uint64_t whole = 1000000;
	uint64_t free_units = s->units_free - s->units_zone_free, rest = free_units - s->largest_hole;

	if (free_units == 0)
		return 0;
	for (; free_units > UINT64_MAX / whole; free_units >>= 1) /* one part in 2^44 is not missed */
		rest >>= 1;
	return (uint32_t)(rest * whole / free_units);
}

void extent_fail_after(struct extent_space *e, uint64_t n)
{
	e->fail_after = n;
}

/* ---- the check ---- */

/* I3, for one segment; `low` is the one before, if there is one. */
static bool check_marks(const struct extent_space *e, struct spot s, struct spot low, bool any_low)
{
	const uint8_t live = EXTENT_MOVABLE | EXTENT_PINNED | EXTENT_SLACK;
	uint8_t mark = *mark_of(s);

	if ((!(mark & EXTENT_TAKEN) && (mark & live)) || mark > 2 * EXTENT_SLACK - 1)
		return false;
	if (!(mark & EXTENT_ZONE) && (mark & (EXTENT_LENT | EXTENT_BORDER)))
		return false;
	if ((mark & EXTENT_ZONE) && !(mark & EXTENT_BORDER) &&
	    (!any_low || !same_zone(*mark_of(low), mark & ZONE_MARKS)))
		return false;
	if ((mark & EXTENT_ZONE) && (mark & EXTENT_MOVABLE) && (!(mark & EXTENT_LENT) || (mark & EXTENT_PINNED)))
		return false;
	if (mark & EXTENT_PINNED) {
		uint32_t pins = extent_pins(e, s.leaf)[s.slot];

		if (pins == 0 || pins > PINS_MAX)
			return false;
	}
	if (!(mark & EXTENT_SLACK))
		return true;
	return e->region[EXTENT_SLACKS] != 0 && slack_of(e, s) > 0 && slack_of(e, s) <= units_of(e, s);
}

static bool check_segment(const struct extent_space *e, struct spot s) /* I1, I2, I3 */
{
	uint64_t first = first_of(s), end = end_of(e, s);
	struct spot low;
	bool any_low = spot_before(e, s, &low);

	if (end <= first || (!any_low && first != 0))
		return false;
	if (!run_regular(e, (struct extent){first, end - first}) || (any_low && joinable(e, low, s)))
		return false;
	return check_marks(e, s, low, any_low);
}

/* Adds one segment to what the counters should be; indexed: holes by kind. */
static void tally(const struct extent_space *e, struct spot s, struct extent_space *sum, uint64_t indexed[EXTENT_KINDS])
{
	uint64_t units = units_of(e, s), zone = has(s, EXTENT_ZONE) ? units : 0;

	sum->units_zone += zone;
	if (has(s, EXTENT_PINNED))
		sum->units_pinned += units;
	if (has(s, EXTENT_TAKEN)) {
		sum->extents++;
		sum->units_asked += units - slack_of(e, s);
		return;
	}
	sum->holes++;
	sum->units_free += units;
	sum->units_zone_free += zone;
	for (unsigned kind = 0; kind < EXTENT_KINDS; kind++)
		indexed[kind] += extent_is_hole(*mark_of(s), (enum extent_kind)kind);
}

static bool check_counters(const struct extent_space *e, const struct extent_space *sum) /* I5 */
{
	return e->units_zone == sum->units_zone && e->units_pinned == sum->units_pinned && e->extents == sum->extents &&
	       e->units_asked == sum->units_asked && e->holes == sum->holes && e->units_free == sum->units_free &&
	       e->units_zone_free == sum->units_zone_free && e->units_free_min <= e->units_free &&
	       e->units_asked_max >= e->units_asked && e->extents_max >= e->extents && e->cursor <= e->units &&
	       e->holes + e->extents <= e->segments_max;
}

static bool check_sizes(const struct extent_space *e, enum extent_kind kind, uint64_t holes) /* I4 */
{
	struct seat at = {e->root[sizes_of(kind)].last, 0};
	uint64_t found = 0;

	for (; at.leaf != EXTENT_NONE; at.leaf = extent_sizes(e, at.leaf)->head.prev)
		for (at.slot = 0; at.slot < extent_sizes(e, at.leaf)->head.count; at.slot++, found++) {
			extent_key key = extent_sizes_key(e, extent_sizes(e, at.leaf), at.slot);
			uint64_t first = extent_key_first(e, key);
			struct spot s;

			if (first >= e->units)
				return false;
			s = spot_at(e, first);
			if (key != extent_key_of(e, first, units_of(e, s)) || first_of(s) != first ||
			    !extent_is_hole(*mark_of(s), kind))
				return false;
		}
	return found == holes && e->longest[kind] == extent_longest_of(e, sizes_of(kind));
}

bool extent_check(const struct extent_space *e)
{
	struct extent_space sum = {0};
	uint64_t indexed[EXTENT_KINDS] = {0};
	struct spot s;

	if (!extent_trees_check(e))
		return false;
	s = spot_last(e, e->root[EXTENT_BY_ADDRESS].last);
	do {
		if (!check_segment(e, s))
			return false;
		tally(e, s, &sum, indexed);
	} while (spot_before(e, s, &s));
	if (!check_counters(e, &sum))
		return false;
	return e->region[EXTENT_SIZES] == 0 || (check_sizes(e, EXTENT_PLAIN, indexed[EXTENT_PLAIN]) &&
						check_sizes(e, EXTENT_LENDING, indexed[EXTENT_LENDING]));
}
