/* mm/compact.c: the plan of a compaction: few units moved, and proof of how few it could be.
 *
 * What it is. A search over an extent space as extent_segment_at() shows it. It
 * moves nothing, and knows nothing of what the extents stand for. It prefers
 * neither few moves nor short ways: only units count.
 *
 * Words. A part is a live extent, or a wall: pinned extents and zones, joined
 * where they touch. A gap is what is free between two parts. Holes are not told
 * apart: a place that is aligned, as EXTENT_BUDDY needs it, is inside a gap iff
 * it is inside one of its buddies. A window is a place for the wanted hole
 * without a wall; its cost is the units of all extents that reach into it. The
 * grid of an extent are the places that it may have: `step` apart, under
 * EXTENT_BUDDY at least its own length. A placement says where each extent is.
 * Inside this file places are offsets from the base of the space.
 *
 * The bound. Whatever reaches into the place where the hole will be must move at
 * least once: no plan is below the least cost of a window. Windows that need
 * looking at are those that begin at the end of a part (at the base; or at the
 * next place on the grid): lower any other to the nearest such, and it reaches
 * no extent that it did not reach before.
 *
 * Three searches, each entered only while best and bound differ:
 *   1 Windows, in order of cost. The extents inside move, the longest first, each
 *     to the shortest gap outside that serves. One that fits nowhere gets a room:
 *     the place outside where the least must go for it, all of it shorter than
 *     the extent itself, and that goes first, in the same way. So nothing moves
 *     twice, and lengths fall from room to room, which ends. If the first window
 *     is emptied without a room, its cost is the bound, and the plan exact.
 *   2 Slides: a gap travels up or down, by taking the next extent in at its far
 *     end, or sending it to another gap, and grows by what lay beyond. It needs
 *     one gap as long as the extents it meets, where 1 needs many.
 *   3 A*, over placements; what is left to move is at least the least cost of a
 *     window as they lie then, which no move lowers by more than it moves. So the
 *     first placement with a hole that is taken from the queue is the optimum,
 *     the least of the queue is a bound when work ends, and an empty queue proves
 *     that there is no plan. Equal lengths on equal grids may change places, so
 *     a placement is compared by what lies where, not by which extent it is.
 *
 * Where extents go in 3: only to places of rest. Take any plan, and draw each
 * stay of an extent as a rectangle, place by time, the hole as one more at the
 * end. Rectangles that touch in time are apart in place, and that is all a plan
 * needs. Push down, along its grid, any rectangle of a stay that a move began, or
 * the hole, until nothing can go: the plan is as good, and each lies at the first
 * place of its grid above the base, the end of a wall, of an extent where it was
 * at first, or of a rectangle pushed down. Those ends are finitely many: the
 * places. What rests on the hole is easily forgotten: it may have to leave for
 * what lies below to come past.
 *
 * Invariants. Of an attempt (1, 2), for the plan to be sound:
 *   I1  a bin holds only what is free of its gap, and neither in the window nor
 *       in a room, when the next move is written;
 *   I2  each part is to be moved at most once: what was once in the way is
 *       stamped, and closed to later rooms;
 *   I3  a move into a room is written after all moves out of it.
 * Of the search (3):
 *   I4  the place below each gap of any placement is one of the places;
 *   I5  a node that was expanded is never reached by less (asserted).
 * Nothing here outlives the call, so there is no check to call; the tests carry
 * every plan out.
 *
 * Cost. O(n log n) to load, to sort the windows and gaps, and to try the first
 * window. Then `work` bounds it: a step is O(log n) in 1 and 2, where a window's
 * extents count one each and a look for a room n; a window that is tried ends what
 * it began, n steps at most. In 3 a placement that is tried counts n, and so does
 * each place to rest at; it costs O(n) for each move that led there, with n at most
 * 256. Where it pays: spaces with some gaps as long as the extents, which is what
 * allocations and frees leave, are exact after the first few windows, at some
 * 200 ns a segment. Where no gap is as long as most extents, plans of 1.2 to 4
 * times the bound; the bound is then the weaker of the two.
 * Memory: scratch only, see compact_scratch_bytes(); 48 bytes a placement, which
 * is kept as what it differs in from another. No recursion.
 *
 * Failure. MM_EINVAL before anything is written. MM_ENOMEM tells "proven" from
 * "not found" by the bound.
 *
 * Rejected. Exact packing of one window's extents into the gaps: it is exact for
 * plans that move each once, and says nothing of the others, which 3 must look at
 * anyway. Iterative deepening: no memory for placements, but lengths differ in
 * all their bits, so nearly each step would be a depth of its own. Placements
 * flush with their neighbours only: fewer, but not enough, since a stay may rest
 * on one that comes later. Remembering placements by a hash alone: shorter, and
 * exact but for luck. */
#include "mm/compact.h"
#include "mm/port.h"

#define NONE	      UINT32_MAX /* no part, bin or node; a stamp that is never given */
#define NOWHERE	      UINT64_MAX /* above every place: a space has at most 2^64 - 1 units */

#define SEARCH_PARTS  256u  /* more than that are not searched: a step would be too dear */
#define SEARCH_PLACES 1024u /* to rest at, walls and extents included */
_Static_assert(SEARCH_PARTS < SEARCH_PLACES, "what there is at first has room");
#define SEARCH_NODES 4096u /* placements, in the least scratch */
#define FIT_TRIES    8u	   /* bins long enough but, cut to the step, too short, before only safe ones are asked for */

struct part {
	uint64_t first, units;
	uint32_t id;	/* its number in the space as it is */
	uint32_t bin;	/* of the gap before it; NONE: that is empty */
	uint32_t stamp; /* of the attempt that moves it */
	bool wall;
};

struct bin {
	uint64_t lo, hi; /* what is left of its gap, half open */
	uint32_t gap;	 /* before the part of this number */
	uint32_t stamp;	 /* of the attempt that changed it */
};

struct ranked {
	uint64_t key;
	uint32_t what;
};

struct hop { /* a move to be */
	uint64_t to;
	uint32_t id;
};

struct node {		       /* one placement, as what it differs in from another */
	uint64_t moved, least; /* units moved up to here; at least, up to the hole */
	uint64_t key;
	uint64_t to; /* the move that it differs in */
	uint32_t id;
	uint32_t parent;
	uint32_t chain; /* next in its bucket */
	uint32_t slot;	/* in the heap; NONE: expanded */
};

struct grid { /* the places phase + k * step */
	uint64_t step, phase;
};

struct lent {
	unsigned char *at;
	size_t left;
};

struct planner {
	uint64_t base, total, units, step, work;
	struct grid grid; /* of the hole */
	bool buddy;
	struct part *parts; /* n, and a wall of no units at the end of the space */
	uint32_t n, bins_n, windows_n, attempts;
	struct ranked *windows, *ranks;
	struct bin *bins;
	uint64_t *tree; /* the longest bin below each node; leaves from tree_size on, in the order of bins */
	uint32_t tree_size;
	uint32_t *changed, changed_n; /* bins that the attempt changed */
	struct hop *trial, *best;     /* moves from the front; of trial, what is still to do from the back */
	uint32_t trial_n, todo_n, best_n;
	uint64_t best_hole, best_cost, bound;
};

static uint64_t max(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static uint64_t min(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t end_of(const struct part *p)
{
	return p->first + p->units;
}

/* Where the gap before part j starts. */
static uint64_t gap_first(const struct part *parts, uint32_t j)
{
	return j == 0 ? 0 : end_of(&parts[j - 1]);
}

static uint64_t grid_up(struct grid g, uint64_t at)
{
	uint64_t up = at + ((g.phase - at) & (g.step - 1));

	return up < at ? NOWHERE : up;
}

static bool fits(uint64_t at, uint64_t units, uint64_t end)
{
	return at <= end && units <= end - at;
}

static struct grid part_grid(const struct planner *c, const struct part *p)
{
	uint64_t step = c->buddy ? max(p->units, c->step) : c->step;

	return (struct grid){.step = step, .phase = p->first & (step - 1)};
}

static bool spend(struct planner *c, uint64_t steps)
{
	if (c->work < steps) {
		c->work = 0;
		return false;
	}
	c->work -= steps;
	return true;
}

/* ---- scratch ---- */

static size_t room_for(size_t count, size_t bytes)
{
	return (count * bytes + 7) & ~(size_t)7;
}

static void *take(struct lent *l, size_t count, size_t bytes)
{
	unsigned char *at = l->at;
	size_t room = room_for(count, bytes);

	MM_ASSERT(room <= l->left, room, l->left);
	l->at += room;
	l->left -= room;
	return at;
}

static uint32_t pow2_up(uint32_t n)
{
	return n <= 1 ? 1 : UINT32_C(1) << (32 - __builtin_clz(n - 1));
}

#define NODES_SPARE 16u /* to round up the buckets */

static size_t node_bytes(void)
{
	return sizeof(struct node) + 2 * sizeof(uint32_t);
}

static size_t kept_bytes(size_t parts)
{
	return room_for(parts + 1, sizeof(struct part)) + 2 * room_for(parts, sizeof(struct hop));
}

static size_t attempts_bytes(size_t parts, uint32_t bins)
{
	return 2 * room_for(parts + 1, sizeof(struct ranked)) + room_for(bins, sizeof(struct bin)) +
	       room_for(2 * (size_t)pow2_up(bins), sizeof(uint64_t)) + room_for(bins, sizeof(uint32_t));
}

static size_t search_bytes(size_t parts)
{
	return 3 * room_for(parts + 1, sizeof(struct part)) + room_for(SEARCH_PLACES, sizeof(uint64_t)) +
	       SEARCH_NODES * node_bytes() + NODES_SPARE;
}

size_t compact_scratch_bytes(uint32_t segments)
{
	/* Parts and gaps are at most the segments, and no two gaps are neighbours. */
	size_t attempts = attempts_bytes(segments, segments / 2 + 1),
	       search = search_bytes(min(segments, SEARCH_PARTS));

	return kept_bytes(segments) + max(attempts, search);
}

/* ---- sorting: a heap, for it needs no memory and no luck ---- */

static bool rank_below(const struct ranked *a, const struct ranked *b)
{
	return a->key != b->key ? a->key < b->key : a->what < b->what;
}

static void sift(struct ranked *at, uint32_t i, uint32_t n)
{
	struct ranked down = at[i];

	for (uint32_t child; (child = 2 * i + 1) < n; i = child) {
		if (child + 1 < n && rank_below(&at[child], &at[child + 1]))
			child++;
		if (!rank_below(&down, &at[child]))
			break;
		at[i] = at[child];
	}
	at[i] = down;
}

static void sort(struct ranked *at, uint32_t n)
{
	for (uint32_t i = n / 2; i-- > 0;)
		sift(at, i, n);
	for (uint32_t end = n; end-- > 1;) {
		struct ranked top = at[0];

		at[0] = at[end];
		at[end] = top;
		sift(at, 0, end);
	}
}

/* ---- windows: all that matter of a row of parts, from below ---- */

struct sweep {
	const struct part *parts;
	uint32_t n, next; /* the next window lies at or right above the end of part next - 1 */
	uint64_t total, units, limit;
	struct grid grid;
	uint32_t stamp;
	uint32_t wall; /* one above the last closed part seen */
	/* The window found: parts [lo, hi) have units in it, `cost` in all. */
	uint32_t lo, hi;
	uint64_t first, cost;
};

static bool closed(const struct sweep *s, const struct part *p)
{
	return p->wall || p->stamp == s->stamp || p->units >= s->limit;
}

static bool sweep_next(struct sweep *s)
{
	while (s->next <= s->n) {
		s->first = grid_up(s->grid, gap_first(s->parts, s->next));
		if (!fits(s->first, s->units, s->total))
			return false;
		s->next++;
		for (; s->hi < s->n && s->parts[s->hi].first < s->first + s->units; s->hi++) {
			if (closed(s, &s->parts[s->hi]))
				s->wall = s->hi + 1;
			else
				s->cost += s->parts[s->hi].units;
		}
		for (; s->lo < s->hi && end_of(&s->parts[s->lo]) <= s->first; s->lo++)
			if (!closed(s, &s->parts[s->lo]))
				s->cost -= s->parts[s->lo].units;
		if (s->wall <= s->lo)
			return true;
	}
	return false;
}

/* All windows for the hole among these parts. */
static struct sweep sweep_hole(const struct planner *c, const struct part *parts)
{
	return (struct sweep){.parts = parts,
			      .n = c->n,
			      .total = c->total,
			      .units = c->units,
			      .grid = c->grid,
			      .stamp = NONE,
			      .limit = NOWHERE};
}

/* ---- loading ---- */

static void part_add(struct planner *c, uint64_t first, uint64_t units, bool wall)
{
	struct part *last = c->n == 0 ? NULL : &c->parts[c->n - 1];

	if (last != NULL && wall && last->wall && end_of(last) == first) {
		last->units += units;
		return;
	}
	c->parts[c->n] = (struct part){.first = first, .units = units, .wall = wall, .id = c->n, .bin = NONE};
	c->n++;
}

static void load(struct planner *c, const struct extent_space *e)
{
	struct extent_segment s;

	for (uint64_t at = 0; at < c->total; at += s.run.units) {
		bool found = extent_segment_at(e, c->base + at, &s);

		MM_ASSERT(found && s.run.first == c->base + at && s.run.units > 0, at, s.run.units);
		if (s.taken || s.zone)
			part_add(c, at, s.run.units, s.zone || s.pins > 0);
	}
	c->parts[c->n] = (struct part){.first = c->total, .wall = true, .id = c->n, .bin = NONE};
}

static uint64_t units_free(const struct planner *c)
{
	uint64_t sum = c->total;

	for (uint32_t i = 0; i < c->n; i++)
		sum -= c->parts[i].units;
	return sum;
}

static void windows_fill(struct planner *c)
{
	struct sweep s = sweep_hole(c, c->parts);

	while (sweep_next(&s))
		c->windows[c->windows_n++] = (struct ranked){.key = s.cost, .what = s.next - 1};
	sort(c->windows, c->windows_n);
}

/* ---- bins: the gaps, shortest first ---- */

static void bin_write(struct planner *c, uint32_t b, uint64_t lo, uint64_t hi)
{
	c->bins[b].lo = lo;
	c->bins[b].hi = hi;
	c->tree[c->tree_size + b] = hi - lo;
	for (uint32_t i = (c->tree_size + b) / 2; i > 0; i /= 2)
		c->tree[i] = max(c->tree[2 * (size_t)i], c->tree[2 * (size_t)i + 1]);
}

static void bins_fill(struct planner *c)
{
	uint32_t n = 0;

	for (uint32_t j = 0; j <= c->n; j++)
		if (gap_first(c->parts, j) < c->parts[j].first)
			c->ranks[n++] = (struct ranked){.key = c->parts[j].first - gap_first(c->parts, j), .what = j};
	sort(c->ranks, n);
	__builtin_memset(c->tree, 0, 2 * (size_t)c->tree_size * sizeof(*c->tree));
	for (uint32_t b = 0; b < n; b++) {
		uint32_t gap = c->ranks[b].what;

		c->parts[gap].bin = b;
		c->bins[b] = (struct bin){.lo = gap_first(c->parts, gap), .hi = c->parts[gap].first, .gap = gap};
		c->tree[c->tree_size + b] = c->ranks[b].key;
	}
	for (size_t i = c->tree_size - 1; i > 0; i--)
		c->tree[i] = max(c->tree[2 * i], c->tree[2 * i + 1]);
}

static void bin_set(struct planner *c, uint32_t b, uint64_t lo, uint64_t hi)
{
	if (c->bins[b].stamp != c->attempts)
		c->changed[c->changed_n++] = b;
	c->bins[b].stamp = c->attempts;
	bin_write(c, b, lo, hi);
}

static void bins_restore(struct planner *c)
{
	for (; c->changed_n > 0; c->changed_n--) {
		uint32_t b = c->changed[c->changed_n - 1], gap = c->bins[b].gap;

		bin_write(c, b, gap_first(c->parts, gap), c->parts[gap].first);
	}
}

/* Takes [from, to) out of bin b, which holds it; the longer side is what is left. */
static void bin_carve(struct planner *c, uint32_t b, uint64_t from, uint64_t to)
{
	uint64_t lo = c->bins[b].lo, hi = c->bins[b].hi;

	if (hi - to >= from - lo)
		bin_set(c, b, to, hi);
	else
		bin_set(c, b, lo, from);
}

/* The first bin from b on with so many units; NONE: there is none. */
static uint32_t bin_find(const struct planner *c, uint32_t b, uint64_t units)
{
	size_t i = (size_t)c->tree_size + b;

	if (b >= c->tree_size)
		return NONE;
	while (c->tree[i] < units) {
		while (i & 1)
			i /= 2;
		if (i == 0)
			return NONE;
		i++;
	}
	while (i < c->tree_size)
		i = 2 * i + (c->tree[2 * i] < units);
	return (uint32_t)(i - c->tree_size);
}

/* Takes room for part p out of a bin: the shortest that serves, by its length at the start. */
static bool bin_take(struct planner *c, const struct part *p, uint64_t *to)
{
	struct grid grid = part_grid(c, p);
	uint64_t need = p->units;

	for (uint32_t b = 0, tries = 0; (b = bin_find(c, b, need)) != NONE; b++) {
		*to = grid_up(grid, c->bins[b].lo);
		if (fits(*to, p->units, c->bins[b].hi)) {
			bin_carve(c, b, *to, *to + p->units);
			return true;
		}
		if (++tries == FIT_TRIES)
			need += grid.step - 1; /* cannot wrap: so many bins hold p->units each */
	}
	return false;
}

/* ---- an attempt: empty one window, each extent moving once ---- */

/* Whether what [first, end) takes of the gap before part j is still in its bin. */
static bool gap_left(const struct planner *c, uint32_t j, uint64_t first, uint64_t end)
{
	uint64_t from = max(first, gap_first(c->parts, j)), to = min(end, c->parts[j].first);
	uint32_t b = c->parts[j].bin;

	return from >= to || (c->bins[b].lo <= from && to <= c->bins[b].hi);
}

struct bitten {
	uint32_t next; /* gaps below were looked at */
	uint32_t last; /* of them the last that is not whole any more; 0: none, or the first of all */
};

/* Whether all that is free of the sweep's window is still in bins. Gaps between
 * its parts lie in it whole, so of those the last bitten one tells; windows rise,
 * so it is looked for once in a sweep. */
static bool gaps_left(const struct planner *c, const struct sweep *s, struct bitten *b)
{
	uint64_t end = s->first + s->units;

	for (; b->next < s->hi; b->next++)
		if (!gap_left(c, b->next, 0, c->total))
			b->last = b->next;
	return b->last <= s->lo && gap_left(c, s->lo, s->first, end) && gap_left(c, s->hi, s->first, end);
}

/* Nothing may be put into this window any more, and its extents must move: the longest first. */
static void window_close(struct planner *c, uint64_t first, uint64_t units, uint32_t lo)
{
	uint32_t ranks_n = 0;

	for (uint32_t j = lo; gap_first(c->parts, j) < first + units; j++) {
		uint64_t from = max(first, gap_first(c->parts, j)), to = min(first + units, c->parts[j].first);

		if (from < to)
			bin_carve(c, c->parts[j].bin, from, to);
		if (c->parts[j].first >= first + units)
			break;
		c->parts[j].stamp = c->attempts;
		c->ranks[ranks_n++] = (struct ranked){.key = c->parts[j].units, .what = j};
	}
	sort(c->ranks, ranks_n);
	for (uint32_t i = 0; i < ranks_n; i++)
		c->trial[c->n - ++c->todo_n] = (struct hop){.id = c->ranks[i].what, .to = NOWHERE};
}

/* The window with the least to move, all shorter than p, that part p could go to when it is empty. */
static bool room_find(struct planner *c, const struct part *p, struct sweep *room)
{
	struct sweep s = sweep_hole(c, c->parts);
	struct bitten bitten = {0, 0};
	bool found = false;

	s.units = s.limit = p->units;
	s.grid = part_grid(c, p);
	s.stamp = c->attempts;
	if (!spend(c, c->n))
		return false;
	while (sweep_next(&s)) {
		if ((found && s.cost >= room->cost) || !gaps_left(c, &s, &bitten))
			continue;
		*room = s;
		found = true;
	}
	return found;
}

/* What part p leaves outside the window from [first, end) on joins a gap that still ends there. */
static void part_leave(struct planner *c, const struct part *p, uint64_t first, uint64_t end)
{
	uint32_t below = p->bin, above = p[1].bin;

	if (p->first >= end || end_of(p) <= first)
		return;
	if (p->first < first && below != NONE && c->bins[below].hi == p->first)
		bin_set(c, below, c->bins[below].lo, first);
	if (end_of(p) > end && above != NONE && c->bins[above].lo == end_of(p))
		bin_set(c, above, end, c->bins[above].hi);
}

/* Moves away what is in the way, and what is in the way of that. False: it does not fit, or is no better. */
static bool window_clear(struct planner *c, uint64_t first, uint64_t *cost)
{
	while (c->todo_n > 0) {
		struct hop *hop = &c->trial[c->n - c->todo_n];
		const struct part *p = &c->parts[hop->id];
		struct sweep room;

		if (c->work > 0)
			c->work--;
		if (hop->to == NOWHERE && !bin_take(c, p, &hop->to)) {
			hop->to = NOWHERE;
			if (!room_find(c, p, &room) || (*cost += room.cost) >= c->best_cost)
				return false;
			hop->to = room.first;
			window_close(c, room.first, p->units, room.lo);
			continue;
		}
		c->todo_n--;
		c->trial[c->trial_n++] = *hop;
		part_leave(c, p, first, first + c->units);
	}
	return true;
}

/* The first part that ends above `at`. */
static uint32_t part_above(const struct planner *c, uint64_t at)
{
	uint32_t lo = 0, hi = c->n;

	while (lo < hi) {
		uint32_t middle = lo + (hi - lo) / 2;

		if (end_of(&c->parts[middle]) <= at)
			lo = middle + 1;
		else
			hi = middle;
	}
	return lo;
}

static void attempt_start(struct planner *c)
{
	c->attempts++;
	c->trial_n = c->todo_n = 0;
}

/* The trial is the best plan now. */
static void attempt_keep(struct planner *c, uint64_t hole, uint64_t cost)
{
	struct hop *was = c->best;

	c->best = c->trial;
	c->trial = was;
	c->best_n = c->trial_n;
	c->best_hole = hole;
	c->best_cost = cost;
}

static void window_try(struct planner *c, const struct ranked *window)
{
	uint64_t first = grid_up(c->grid, gap_first(c->parts, window->what)), cost = window->key;

	attempt_start(c);
	window_close(c, first, c->units, part_above(c, first));
	if (window_clear(c, first, &cost))
		attempt_keep(c, first, cost);
	bins_restore(c);
}

/* The first is tried whatever `work` is; they leave half of it for what follows. */
static void windows_try(struct planner *c)
{
	uint64_t kept = c->work / 2;

	c->work -= kept;
	for (uint32_t i = 0; i < c->windows_n && c->windows[i].key < c->best_cost && (i == 0 || c->work > 0); i++)
		window_try(c, &c->windows[i]);
	c->work += kept;
}

/* ---- slides: a gap grows by what it takes in as it travels ---- */

struct slide {
	uint64_t lo, hi;  /* the gap, as it is now */
	uint32_t next;	  /* the part above it; going down, one above the part below it */
	bool down, alone; /* alone: nothing is moved to other gaps */
};

/* Moves the next part p away, or else to the far end of the gap. */
static bool slide_part(struct planner *c, struct slide *s, const struct part *p)
{
	struct grid grid = part_grid(c, p);
	uint64_t to;

	if (!s->alone && bin_take(c, p, &to)) {
		c->trial[c->trial_n++] = (struct hop){.id = p->id, .to = to};
		return true;
	}
	if (p->units > s->hi - s->lo)
		return false;
	to = s->down ? s->hi - p->units - ((s->hi - p->units - grid.phase) & (grid.step - 1)) : grid_up(grid, s->lo);
	if (s->down ? to < s->lo || to >= s->hi : !fits(to, p->units, s->hi))
		return false;
	c->trial[c->trial_n++] = (struct hop){.id = p->id, .to = to};
	if (s->down)
		s->hi = to;
	else
		s->lo = to + p->units;
	return true;
}

/* The gap beyond part p, which has gone, joins; false iff something was put there. */
static bool slide_join(struct planner *c, struct slide *s, const struct part *p)
{
	uint32_t j = s->down ? p->id : p->id + 1, b = c->parts[j].bin;

	if (b != NONE && c->bins[b].stamp == c->attempts)
		return false;
	if (b != NONE)
		bin_set(c, b, c->bins[b].lo, c->bins[b].lo);
	if (s->down)
		s->lo = gap_first(c->parts, j);
	else
		s->hi = c->parts[j].first;
	s->next = j;
	return true;
}

static void slide_try(struct planner *c, uint32_t gap, bool down, bool alone)
{
	struct slide s = {.lo = gap_first(c->parts, gap), .hi = c->parts[gap].first, .next = gap};
	uint64_t cost = 0, hole;

	s.down = down;
	s.alone = alone;
	attempt_start(c);
	bin_set(c, c->parts[gap].bin, s.lo, s.lo);
	while (!fits(hole = grid_up(c->grid, s.lo), c->units, s.hi)) {
		const struct part *p = &c->parts[down ? s.next - 1 : s.next];

		if ((down && s.next == 0) || p->wall || (cost += p->units) >= c->best_cost || !spend(c, 1) ||
		    !slide_part(c, &s, p) || !slide_join(c, &s, p)) {
			bins_restore(c);
			return;
		}
	}
	attempt_keep(c, hole, cost);
	bins_restore(c);
}

static void slides_try(struct planner *c)
{
	for (uint32_t b = c->bins_n; b-- > 0 && c->work > 0 && c->best_cost > c->bound;)
		for (unsigned way = 0; way < 4; way++)
			slide_try(c, c->bins[b].gap, way & 1, way & 2);
}

/* ---- the exact search ---- */

struct search {
	struct planner *c;
	uint64_t *places;
	uint32_t places_n;
	struct part *now, *then, *other; /* placements, in address order */
	struct node *nodes;
	uint32_t *heap, *buckets;
	uint32_t nodes_n, nodes_max, heap_n, buckets_n;
	uint32_t best; /* node whose placement has the hole */
};

/* Whether an extent may ever lie there, walls alone in its way. */
static bool wall_free(const struct planner *c, uint64_t first, uint64_t units)
{
	for (uint32_t j = part_above(c, first); c->parts[j].first < first + units; j++)
		if (c->parts[j].wall)
			return false;
	return true;
}

static uint32_t place_above(const struct search *s, uint64_t at)
{
	uint32_t lo = 0, hi = s->places_n;

	while (lo < hi) {
		uint32_t middle = lo + (hi - lo) / 2;

		if (s->places[middle] < at)
			lo = middle + 1;
		else
			hi = middle;
	}
	return lo;
}

static bool place_add(struct search *s, uint64_t at)
{
	uint32_t i = place_above(s, at);

	if (i < s->places_n && s->places[i] == at)
		return true;
	if (s->places_n == SEARCH_PLACES)
		return false;
	__builtin_memmove(&s->places[i + 1], &s->places[i], (s->places_n - i) * sizeof(s->places[0]));
	s->places[i] = at;
	s->places_n++;
	return true;
}

/* What comes to rest on this place, units long, is itself a place to rest on. */
static bool place_stack(struct search *s, uint64_t on, struct grid grid, uint64_t units)
{
	uint64_t at = grid_up(grid, on);

	if (!fits(at, units, s->c->total) || !wall_free(s->c, at, units))
		return true;
	return place_add(s, at + units);
}

/* All places to rest on; false: they are too many, or work has run out. */
static bool places_fill(struct search *s)
{
	struct planner *c = s->c;

	for (uint32_t j = 0; j <= c->n; j++)
		s->places[s->places_n++] = gap_first(c->parts, j);
	for (uint32_t k = 0; k < s->places_n; k++) {
		bool room = spend(c, c->n) && place_stack(s, s->places[k], c->grid, c->units);

		for (uint32_t i = 0; room && i < c->n; i++)
			if (!c->parts[i].wall)
				room = place_stack(s, s->places[k], part_grid(c, &c->parts[i]), c->parts[i].units);
		if (!room)
			return false;
	}
	return true;
}

static uint64_t mix(uint64_t first, uint64_t units)
{
	uint64_t x = first * UINT64_C(0x9e3779b97f4a7c15) + units;

	x = (x ^ (x >> 32)) * UINT64_C(0xd6e8feb86659fd93);
	x = (x ^ (x >> 32)) * UINT64_C(0xd6e8feb86659fd93);
	return x ^ (x >> 32);
}

static void part_move(struct part *parts, uint32_t from, uint64_t to)
{
	struct part p = parts[from];

	p.first = to;
	for (; from > 0 && parts[from - 1].first > to; from--)
		parts[from] = parts[from - 1];
	for (; parts[from + 1].first < to; from++)
		parts[from] = parts[from + 1];
	parts[from] = p;
}

/* The placement that node k stands for. */
static void placement(const struct search *s, uint32_t k, struct part *out)
{
	const struct planner *c = s->c;

	__builtin_memcpy(out, c->parts, (c->n + 1) * sizeof(*out));
	for (uint32_t i = 0; i < c->n; i++)
		out[i].stamp = 0;
	for (; k != 0; k = s->nodes[k].parent) {
		struct part *p = &out[s->nodes[k].id];

		if (p->stamp == 0)
			p->first = s->nodes[k].to;
		p->stamp = 1;
	}
	for (uint32_t i = 1; i < c->n; i++) {
		struct part p = out[i];
		uint32_t j = i;

		for (; j > 0 && out[j - 1].first > p.first; j--)
			out[j] = out[j - 1];
		out[j] = p;
	}
}

static bool same(const struct search *s, const struct part *a, const struct part *b)
{
	uint32_t i = 0;

	while (i < s->c->n && a[i].first == b[i].first && a[i].units == b[i].units)
		i++;
	return i == s->c->n;
}

/* ---- its heap: the least first; of equals the furthest, then the oldest ---- */

static bool node_before(const struct search *s, uint32_t a, uint32_t b)
{
	const struct node *x = &s->nodes[a], *y = &s->nodes[b];

	if (x->least != y->least)
		return x->least < y->least;
	return x->moved != y->moved ? x->moved > y->moved : a < b;
}

static void heap_put(struct search *s, uint32_t i, uint32_t k)
{
	s->heap[i] = k;
	s->nodes[k].slot = i;
}

static void heap_up(struct search *s, uint32_t k)
{
	uint32_t i = s->nodes[k].slot;

	for (; i > 0 && node_before(s, k, s->heap[(i - 1) / 2]); i = (i - 1) / 2)
		heap_put(s, i, s->heap[(i - 1) / 2]);
	heap_put(s, i, k);
}

static uint32_t heap_pop(struct search *s)
{
	uint32_t top = s->heap[0], last = s->heap[--s->heap_n], i = 0;

	for (uint32_t child; (child = 2 * i + 1) < s->heap_n; i = child) {
		if (child + 1 < s->heap_n && node_before(s, s->heap[child + 1], s->heap[child]))
			child++;
		if (!node_before(s, s->heap[child], last))
			break;
		heap_put(s, i, s->heap[child]);
	}
	heap_put(s, i, last);
	s->nodes[top].slot = NONE;
	return top;
}

/* ---- its steps ---- */

/* The node of the placement s->then, or a new one; NONE: no room is left. */
static uint32_t node_of(struct search *s, uint64_t key)
{
	uint32_t *bucket = &s->buckets[key & (s->buckets_n - 1)];

	for (uint32_t k = *bucket; k != NONE; k = s->nodes[k].chain) {
		if (s->nodes[k].key != key)
			continue;
		placement(s, k, s->other);
		if (same(s, s->then, s->other))
			return k;
	}
	if (s->nodes_n == s->nodes_max)
		return NONE;
	s->nodes[s->nodes_n] = (struct node){.moved = NOWHERE, .key = key, .chain = *bucket, .slot = s->heap_n};
	*bucket = s->nodes_n;
	heap_put(s, s->heap_n++, s->nodes_n);
	return s->nodes_n++;
}

/* The least that must still move; *first is where the hole is if that is nothing. */
static uint64_t still(const struct search *s, const struct part *parts, uint64_t *first)
{
	struct sweep w = sweep_hole(s->c, parts);
	uint64_t least = NOWHERE;

	while (least > 0 && sweep_next(&w)) {
		if (w.cost >= least)
			continue;
		least = w.cost;
		*first = w.first;
	}
	return least;
}

/* Part i of s->now, the placement of node k, moves. False: work or room has run out. */
static bool try_move(struct search *s, uint32_t k, uint32_t i, uint64_t to)
{
	struct planner *c = s->c;
	const struct part *p = &s->now[i];
	uint64_t key = s->nodes[k].key - mix(p->first, p->units) + mix(to, p->units);
	uint64_t moved = s->nodes[k].moved + p->units, hole = 0, left;
	uint32_t child;

	if (!spend(c, c->n))
		return false;
	__builtin_memcpy(s->then, s->now, (c->n + 1) * sizeof(*s->then));
	part_move(s->then, i, to);
	left = still(s, s->then, &hole);
	if (moved + left >= c->best_cost)
		return true;
	child = node_of(s, key);
	if (child == NONE)
		return false;
	if (moved >= s->nodes[child].moved)
		return true;
	MM_ASSERT(s->nodes[child].slot != NONE, child, moved);
	s->nodes[child].moved = moved;
	s->nodes[child].least = moved + left;
	s->nodes[child].parent = k;
	s->nodes[child].id = p->id;
	s->nodes[child].to = to;
	heap_up(s, child);
	if (left == 0) {
		s->best = child;
		c->best_cost = moved;
		c->best_hole = hole;
	}
	return true;
}

/* All moves of part i of s->now, the placement of node k. */
static bool try_part(struct search *s, uint32_t k, uint32_t i)
{
	const struct part *p = &s->now[i];
	struct grid grid = part_grid(s->c, p);

	for (uint32_t j = 0; j <= s->c->n; j++) {
		uint64_t last = NOWHERE, end = s->now[j].first;

		for (uint32_t a = place_above(s, gap_first(s->now, j)); a < s->places_n; a++) {
			uint64_t to = grid_up(grid, s->places[a]);

			if (!fits(to, p->units, end))
				break;
			if (to != last && !try_move(s, k, i, to))
				return false;
			last = to;
		}
	}
	return true;
}

static bool expand(struct search *s, uint32_t k)
{
	placement(s, k, s->now);
	for (uint32_t i = 0; i < s->c->n; i++)
		if (!s->now[i].wall && !try_part(s, k, i))
			return false;
	return true;
}

/* A* over placements: makes best and bound better, until they meet or work runs out. */
static void search(struct search *s)
{
	struct planner *c = s->c;
	uint64_t key = 0;
	uint32_t root;

	if (!places_fill(s))
		return;
	for (uint32_t i = 0; i < c->n; i++)
		key += mix(c->parts[i].first, c->parts[i].units);
	placement(s, 0, s->then);
	root = node_of(s, key);
	s->nodes[root].moved = 0;
	s->nodes[root].least = c->bound;
	while (s->heap_n > 0 && s->nodes[s->heap[0]].least < c->best_cost) {
		c->bound = s->nodes[s->heap[0]].least;
		if (!expand(s, heap_pop(s)))
			return;
	}
	c->bound = c->best_cost;
}

/* ---- the plan ---- */

static uint32_t moves_count(const struct planner *c, const struct search *s)
{
	uint32_t n = 0;

	if (s->best == NONE)
		return c->best_n;
	for (uint32_t k = s->best; k != 0; k = s->nodes[k].parent)
		n++;
	return n;
}

/* The parts end up where the moves put them. */
static void moves_write(struct planner *c, const struct search *s, struct compact_move *moves, uint32_t n)
{
	uint32_t i = n;

	if (s->best == NONE)
		while (i-- > 0)
			moves[i] = (struct compact_move){.from.first = c->best[i].id, .to = c->best[i].to};
	else
		for (uint32_t k = s->best; k != 0; k = s->nodes[k].parent)
			moves[--i] = (struct compact_move){.from.first = s->nodes[k].id, .to = s->nodes[k].to};
	for (i = 0; i < n; i++) {
		struct part *p = &c->parts[moves[i].from.first];

		moves[i].from = (struct extent){.first = c->base + p->first, .units = p->units};
		p->first = moves[i].to;
		moves[i].to += c->base;
	}
}

static void planner_init(struct planner *c, const struct extent_space *e, const struct compact_request *ask)
{
	struct extent_config config = extent_config_read(e);
	uint64_t align = ask->align == 0 ? 1 : ask->align;

	*c = (struct planner){
		.base = config.base,
		.total = config.units,
		.units = ask->units,
		.step = ask->step == 0 ? 1 : ask->step,
		.work = ask->work,
		.grid = {.step = align, .phase = -config.base & (align - 1)},
		.buddy = config.policy == EXTENT_BUDDY,
		.best_cost = NOWHERE,
		.bound = NOWHERE,
	};
}

static void search_init(struct search *s, struct planner *c, struct lent l)
{
	s->c = c;
	s->now = take(&l, c->n + 1, sizeof(struct part));
	s->then = take(&l, c->n + 1, sizeof(struct part));
	s->other = take(&l, c->n + 1, sizeof(struct part));
	s->places = take(&l, SEARCH_PLACES, sizeof(uint64_t));
	s->nodes_max = (uint32_t)min((l.left - NODES_SPARE) / node_bytes(), UINT32_C(1) << 30);
	s->buckets_n = pow2_up(s->nodes_max / 2 + 1);
	s->nodes = take(&l, s->nodes_max, sizeof(struct node));
	s->heap = take(&l, s->nodes_max, sizeof(uint32_t));
	s->buckets = take(&l, s->buckets_n, sizeof(uint32_t));
	for (uint32_t i = 0; i < s->buckets_n; i++)
		s->buckets[i] = NONE;
}

static void attempts_init(struct planner *c, struct lent l)
{
	for (uint32_t j = 0; j <= c->n; j++)
		c->bins_n += gap_first(c->parts, j) < c->parts[j].first;
	c->tree_size = pow2_up(c->bins_n);
	c->windows = take(&l, c->n + 1, sizeof(struct ranked));
	c->ranks = take(&l, c->n + 1, sizeof(struct ranked));
	c->bins = take(&l, c->bins_n, sizeof(struct bin));
	c->tree = take(&l, 2 * (size_t)c->tree_size, sizeof(uint64_t));
	c->changed = take(&l, c->bins_n, sizeof(uint32_t));
}

/* Leaves the best plan in c and s, and the bound. */
static void plan(struct planner *c, struct search *s, const struct extent_space *e, uint32_t segments, struct lent l)
{
	c->parts = take(&l, segments + (size_t)1, sizeof(struct part));
	c->best = take(&l, segments, sizeof(struct hop));
	c->trial = take(&l, segments, sizeof(struct hop));
	load(c, e);
	if (units_free(c) < c->units)
		return;
	attempts_init(c, l);
	windows_fill(c);
	if (c->windows_n == 0)
		return;
	c->bound = c->windows[0].key;
	bins_fill(c);
	windows_try(c);
	slides_try(c);
	if (c->best_cost == c->bound || c->n > SEARCH_PARTS)
		return;
	search_init(s, c, l);
	search(s);
}

static bool pow2(uint64_t n)
{
	return (n & (n - 1)) == 0;
}

enum mm_err compact_plan(const struct extent_space *e, const struct compact_request *ask, void *scratch,
			 size_t scratch_bytes, struct compact_move *moves, uint32_t moves_max, struct compact_plan *out)
{
	struct extent_stats stats = extent_stats_read(e);
	uint32_t segments = (uint32_t)(stats.holes + stats.extents);
	struct search s = {.best = NONE};
	struct planner c;

	if (ask->units == 0 || !pow2(ask->align) || !pow2(ask->step) || scratch == NULL ||
	    (uintptr_t)scratch % 64 != 0 || scratch_bytes < compact_scratch_bytes(segments))
		return MM_EINVAL;
	planner_init(&c, e, ask);
	plan(&c, &s, e, segments, (struct lent){.at = scratch, .left = scratch_bytes});
	*out = (struct compact_plan){.units_moved_min = c.bound};
	if (c.best_cost == NOWHERE)
		return MM_ENOMEM;
	out->moves = moves_count(&c, &s);
	out->units_moved = c.best_cost;
	if (out->moves > moves_max)
		return MM_ENOMEM;
	out->hole = (struct extent){.first = c.base + c.best_hole, .units = c.units};
	moves_write(&c, &s, moves, out->moves);
	return MM_OK;
}
