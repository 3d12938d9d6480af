/* mm/extent.c: contiguous extents of any length within one space of numbers.
 *
 * What it is. A record of which units of [base, base + units) are taken, and by
 * extents of which bounds; it picks where the next extent goes. It is not a
 * heap: it never touches what the numbers stand for.
 *
 * Words. A segment is a maximal run of free units (a hole) or one live extent.
 * Two adjacent live extents stay two; two adjacent holes never are. Inside this
 * file addresses are offsets from base: an offset is at most `units`, so no sum
 * here wraps, wherever in the 64 bits the space lies, its last unit included.
 *
 * Shape. A segment is one node of 64 bytes, found by 32-bit index. All segments
 * are in an AVL tree by address, each node with the largest hole below it, and
 * in a list in address order; holes are also in an AVL tree by (units, first).
 *
 * Invariants, all of them verified by extent_check():
 *   I1  in list order the segments are not empty, start where the one before
 *       ends, and cover [0, units) exactly;
 *   I2  no two holes are neighbours;
 *   I3  the tree by address, read in order, is the list;
 *   I4  the tree by size holds exactly the holes, in order;
 *   I5  in both trees a node's two subtrees differ in height by at most 1, and
 *       heights and hole_max are true;
 *   I6  holes, extents, units_free are what the segments say; marks bound them;
 *   I7  every node below `fresh` is a segment or, with units 0, on the spare list.
 *
 * Cost. Nodes touched are O(log n) for alloc at, free, segment at; so for alloc
 * when any hole that is long enough fits. Alignment may make it O((k + 1) log n)
 * where k is the number of holes long enough but, cut to the alignment, too
 * short: those are tried one by one in the policy's order. k is 0 for align 1,
 * and no hole of units + align - 1 or more is ever counted in it. Figures: O(1).
 *
 * Failure. Each operation first finds what it will change and how many nodes
 * that takes, then asks for the nodes, and only then changes anything.
 *
 * Rejected. Boundary tags in the free units: this manages numbers, there is
 * nothing to write tags in. A treap: shorter code, but its depth is a matter of
 * luck, and check could not verify it. Bins by size with a bitmap, as in TLSF:
 * O(1), yet it cannot keep the promise of the smallest hole and the lowest of
 * equals. Parent links: they would spare the second descent of a change, and
 * cost 8 bytes and three more stores a rotation. */
#include "mm/extent_impl.h"
#include "mm/port.h"

static struct extent_node *node(struct extent_space *e, uint32_t n)
{
	return &e->nodes[n];
}

static const struct extent_node *peek(const struct extent_space *e, uint32_t n)
{
	return &e->nodes[n];
}

static uint64_t node_end(const struct extent_space *e, uint32_t n)
{
	return peek(e, n)->first + peek(e, n)->units;
}

static bool is_hole(const struct extent_space *e, uint32_t n)
{
	return n != EXTENT_NONE && !peek(e, n)->taken;
}

/* ---- the two trees ---- */

static unsigned height_of(const struct extent_space *e, enum extent_tree t, uint32_t n)
{
	return n == EXTENT_NONE ? 0 : peek(e, n)->height[t];
}

static uint64_t hole_max_of(const struct extent_space *e, uint32_t n)
{
	return n == EXTENT_NONE ? 0 : peek(e, n)->hole_max;
}

static uint64_t max(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static uint64_t hole_max_now(const struct extent_space *e, uint32_t n)
{
	const struct extent_node *at = peek(e, n);
	const uint32_t *child = at->child[EXTENT_BY_ADDRESS];

	return max(at->taken ? 0 : at->units, max(hole_max_of(e, child[0]), hole_max_of(e, child[1])));
}

static unsigned height_now(const struct extent_space *e, enum extent_tree t, uint32_t n)
{
	const uint32_t *child = peek(e, n)->child[t];

	return 1 + (unsigned)max(height_of(e, t, child[0]), height_of(e, t, child[1]));
}

static void renew(struct extent_space *e, enum extent_tree t, uint32_t n)
{
	node(e, n)->height[t] = (uint8_t)height_now(e, t, n);
	if (t == EXTENT_BY_ADDRESS)
		node(e, n)->hole_max = hole_max_now(e, n);
}

/* Moves the node at *link down to `side`; its child on the other side takes its place. */
static void rotate(struct extent_space *e, enum extent_tree t, uint32_t *link, unsigned side)
{
	uint32_t down = *link, up = node(e, down)->child[t][!side];

	node(e, down)->child[t][!side] = node(e, up)->child[t][side];
	node(e, up)->child[t][side] = down;
	*link = up;
	renew(e, t, down);
	renew(e, t, up);
}

/* Makes I5 true at *link, given that it is below. False iff the tree above sees no difference. */
static bool rebalance(struct extent_space *e, enum extent_tree t, uint32_t *link)
{
	struct extent_node *at = node(e, *link);
	uint64_t hole_max = at->hole_max;
	unsigned height = at->height[t];
	unsigned left = height_of(e, t, at->child[t][0]), right = height_of(e, t, at->child[t][1]);

	if (left > right + 1 || right > left + 1) {
		unsigned tall = right > left;
		uint32_t *below = &at->child[t][tall];
		const uint32_t *child = node(e, *below)->child[t];

		if (height_of(e, t, child[!tall]) > height_of(e, t, child[tall]))
			rotate(e, t, below, tall);
		rotate(e, t, link, !tall);
	} else {
		renew(e, t, *link);
	}
	at = node(e, *link);
	return at->height[t] != height || (t == EXTENT_BY_ADDRESS && at->hole_max != hole_max);
}

static bool before(const struct extent_space *e, enum extent_tree t, uint32_t a, uint32_t b)
{
	if (t == EXTENT_BY_SIZE && peek(e, a)->units != peek(e, b)->units)
		return peek(e, a)->units < peek(e, b)->units;
	return peek(e, a)->first < peek(e, b)->first;
}

struct path { /* links from the root down */
	uint32_t *link[EXTENT_DEPTH_MAX];
	unsigned depth;
};

/* The links down to node n, or to the empty place where it belongs. */
static void path_to(struct extent_space *e, enum extent_tree t, uint32_t n, struct path *p)
{
	uint32_t *link = &e->root[t];

	for (p->depth = 0;; link = &node(e, *link)->child[t][before(e, t, *link, n)]) {
		MM_ASSERT(p->depth < EXTENT_DEPTH_MAX, p->depth, n);
		p->link[p->depth++] = link;
		if (*link == n || *link == EXTENT_NONE)
			return;
	}
}

/* Rebalances upwards. From the link at `changed` on it may stop where nothing differs. */
static void settle(struct extent_space *e, enum extent_tree t, struct path *p, unsigned changed)
{
	for (unsigned i = p->depth; i-- > 0;)
		if (!rebalance(e, t, p->link[i]) && i <= changed)
			return;
}

static void tree_insert(struct extent_space *e, enum extent_tree t, uint32_t n)
{
	struct path p;

	path_to(e, t, n, &p);
	node(e, n)->child[t][0] = node(e, n)->child[t][1] = EXTENT_NONE;
	node(e, n)->height[t] = 0;
	*p.link[p.depth - 1] = n;
	settle(e, t, &p, p.depth - 1);
}

static void tree_remove(struct extent_space *e, enum extent_tree t, uint32_t n)
{
	struct extent_node *at = node(e, n), *heir;
	struct path p;
	unsigned place;
	uint32_t *link;

	path_to(e, t, n, &p);
	place = p.depth - 1;
	MM_ASSERT(*p.link[place] == n, n, at->first);
	if (at->child[t][0] == EXTENT_NONE || at->child[t][1] == EXTENT_NONE) {
		*p.link[place] = at->child[t][at->child[t][0] == EXTENT_NONE];
		p.depth = place; /* what moved up is right as it is */
		settle(e, t, &p, place);
		return;
	}
	for (link = &at->child[t][1]; *link != EXTENT_NONE; link = &node(e, *link)->child[t][0])
		p.link[p.depth++] = link;
	p.depth--;
	link = p.link[p.depth];
	heir = node(e, *link); /* the next in order takes n's place */
	*p.link[place] = *link;
	*link = heir->child[t][1];
	heir->child[t][0] = at->child[t][0];
	heir->child[t][1] = at->child[t][1];
	heir->height[t] = at->height[t];
	if (t == EXTENT_BY_ADDRESS)
		heir->hole_max = at->hole_max;
	if (p.depth > place + 1)
		p.link[place + 1] = &heir->child[t][1];
	settle(e, t, &p, place);
}

/* Node n stays where it is by address, but is another hole or another length now. */
static void tree_refresh(struct extent_space *e, uint32_t n)
{
	struct path p;

	path_to(e, EXTENT_BY_ADDRESS, n, &p);
	settle(e, EXTENT_BY_ADDRESS, &p, p.depth - 1);
}

/* ---- nodes ---- */

/* Whether n nodes may be had; what follows cannot fail. Counts for fault injection. */
static bool nodes_left(struct extent_space *e, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		if (e->fail_after > 0 && --e->fail_after == 0)
			return false;
	return n <= e->segments_max - e->fresh + e->spares;
}

static uint32_t node_take(struct extent_space *e)
{
	uint32_t n = e->spare_head;

	if (n == EXTENT_NONE) {
		MM_ASSERT(e->fresh < e->segments_max, e->fresh, e->segments_max);
		return e->fresh++;
	}
	e->spare_head = node(e, n)->next;
	e->spares--;
	return n;
}

static void node_give(struct extent_space *e, uint32_t n)
{
	node(e, n)->units = 0;
	node(e, n)->next = e->spare_head;
	e->spare_head = n;
	e->spares++;
}

/* ---- segments ---- */

static void hole_listed(struct extent_space *e, uint32_t n)
{
	tree_insert(e, EXTENT_BY_SIZE, n);
	e->holes++;
}

static void hole_unlisted(struct extent_space *e, uint32_t n)
{
	tree_remove(e, EXTENT_BY_SIZE, n);
	e->holes--;
}

/* The segment that holds this offset; there is one iff it is below e->units. */
static uint32_t segment_find(const struct extent_space *e, uint64_t offset)
{
	uint32_t n = e->root[EXTENT_BY_ADDRESS], found = EXTENT_NONE;

	while (n != EXTENT_NONE) {
		bool right = peek(e, n)->first <= offset;

		if (right)
			found = n;
		n = peek(e, n)->child[EXTENT_BY_ADDRESS][right];
	}
	return found;
}

/* A new segment right after segment `prev` (EXTENT_NONE: before all others). */
static void segment_add(struct extent_space *e, uint32_t prev, struct extent run, bool taken)
{
	uint32_t n = node_take(e);
	uint32_t next = prev == EXTENT_NONE ? segment_find(e, run.first + run.units) : node(e, prev)->next;

	*node(e, n) = (struct extent_node){
		.first = run.first, .units = run.units, .taken = taken, .prev = prev, .next = next};
	if (prev != EXTENT_NONE)
		node(e, prev)->next = n;
	if (next != EXTENT_NONE)
		node(e, next)->prev = n;
	tree_insert(e, EXTENT_BY_ADDRESS, n);
	if (!taken)
		hole_listed(e, n);
}

static void segment_drop(struct extent_space *e, uint32_t n)
{
	struct extent_node *at = node(e, n);

	tree_remove(e, EXTENT_BY_ADDRESS, n);
	if (at->prev != EXTENT_NONE)
		node(e, at->prev)->next = at->next;
	if (at->next != EXTENT_NONE)
		node(e, at->next)->prev = at->prev;
	node_give(e, n);
}

/* Gives hole n another place and length, between the same neighbours. */
static void hole_resize(struct extent_space *e, uint32_t n, struct extent run)
{
	hole_unlisted(e, n);
	node(e, n)->first = run.first;
	node(e, n)->units = run.units;
	tree_refresh(e, n);
	hole_listed(e, n);
}

/* ---- where to put an extent ---- */

/* Whether the ask fits hole n at `from` or above: *at is then the lowest place. */
static bool fits(const struct extent_space *e, uint32_t n, uint64_t from, const struct extent_request *ask,
		 uint64_t *at)
{
	uint64_t start = max(peek(e, n)->first, from), room = node_end(e, n) - start;
	uint64_t pad = ask->align > 1 ? -(e->base + start) & (ask->align - 1) : 0;

	if (pad > room || ask->units > room - pad)
		return false;
	*at = start + pad;
	return true;
}

static bool long_enough(const struct extent_space *e, uint32_t n, uint64_t units)
{
	return !peek(e, n)->taken && peek(e, n)->units >= units;
}

/* The lowest hole of `units` or more that starts at `from` or above. */
static uint32_t hole_from(const struct extent_space *e, uint64_t from, uint64_t units)
{
	uint32_t n = e->root[EXTENT_BY_ADDRESS], found = EXTENT_NONE;

	while (n != EXTENT_NONE) {
		const uint32_t *child = peek(e, n)->child[EXTENT_BY_ADDRESS];

		if (peek(e, n)->first < from) {
			n = child[1];
			continue;
		}
		if (long_enough(e, n, units) || hole_max_of(e, child[1]) >= units)
			found = n;
		n = child[0];
	}
	if (found == EXTENT_NONE || long_enough(e, found, units))
		return found;
	/* It is the lowest in the right subtree of `found`, all of which starts above `from`. */
	n = peek(e, found)->child[EXTENT_BY_ADDRESS][1];
	for (;;) {
		const uint32_t *child = peek(e, n)->child[EXTENT_BY_ADDRESS];

		if (hole_max_of(e, child[0]) >= units)
			n = child[0];
		else if (long_enough(e, n, units))
			return n;
		else
			n = child[1];
	}
}

/* The lowest place at `from` or above. */
static uint32_t place_from(const struct extent_space *e, uint64_t from, const struct extent_request *ask, uint64_t *at)
{
	uint32_t n = from < e->units ? segment_find(e, from) : EXTENT_NONE;

	if (n == EXTENT_NONE || (is_hole(e, n) && fits(e, n, from, ask, at)))
		return n;
	do
		n = hole_from(e, node_end(e, n), ask->units);
	while (n != EXTENT_NONE && !fits(e, n, 0, ask, at));
	return n;
}

/* The first hole, by size, at (units, first) or after it. */
static uint32_t hole_of_size(const struct extent_space *e, uint64_t units, uint64_t first)
{
	uint32_t n = e->root[EXTENT_BY_SIZE], found = EXTENT_NONE;

	while (n != EXTENT_NONE) {
		const struct extent_node *at = peek(e, n);
		bool right = at->units < units || (at->units == units && at->first < first);

		if (!right)
			found = n;
		n = at->child[EXTENT_BY_SIZE][right];
	}
	return found;
}

static uint32_t hole_after(const struct extent_space *e, uint32_t n)
{
	return hole_of_size(e, peek(e, n)->units, peek(e, n)->first + 1);
}

/* The length of the longest hole shorter than `units`; 0: none. */
static uint64_t shorter_size(const struct extent_space *e, uint64_t units)
{
	uint32_t n = e->root[EXTENT_BY_SIZE];
	uint64_t found = 0;

	while (n != EXTENT_NONE) {
		bool right = peek(e, n)->units < units;

		if (right)
			found = peek(e, n)->units;
		n = peek(e, n)->child[EXTENT_BY_SIZE][right];
	}
	return found;
}

static uint32_t place_best(const struct extent_space *e, const struct extent_request *ask, uint64_t *at)
{
	uint32_t n = hole_of_size(e, ask->units, 0);

	while (n != EXTENT_NONE && !fits(e, n, 0, ask, at))
		n = hole_after(e, n);
	return n;
}

static uint32_t place_worst(const struct extent_space *e, const struct extent_request *ask, uint64_t *at)
{
	uint64_t units = hole_max_of(e, e->root[EXTENT_BY_ADDRESS]);

	for (; units >= ask->units; units = shorter_size(e, units)) {
		uint32_t n = hole_of_size(e, units, 0);

		for (; n != EXTENT_NONE && peek(e, n)->units == units; n = hole_after(e, n))
			if (fits(e, n, 0, ask, at))
				return n;
	}
	return EXTENT_NONE;
}

static uint32_t place(const struct extent_space *e, const struct extent_request *ask, uint64_t *at)
{
	uint32_t n;

	switch (ask->policy) {
	case EXTENT_BEST_FIT:
		return place_best(e, ask, at);
	case EXTENT_WORST_FIT:
		return place_worst(e, ask, at);
	case EXTENT_NEXT_FIT:
		n = place_from(e, e->cursor, ask, at);
		if (n != EXTENT_NONE)
			return n;
		break;
	case EXTENT_FIRST_FIT:
		break;
	}
	return place_from(e, 0, ask, at);
}

/* ---- taking and freeing ---- */

/* Makes `run`, inside hole n, a live extent. MM_ENOMEM: no node. */
static enum mm_err take(struct extent_space *e, uint32_t n, struct extent run)
{
	uint64_t end = run.first + run.units, hole_end = node_end(e, n);
	bool left = peek(e, n)->first < run.first, right = end < hole_end;
	uint32_t live = n;

	if (!nodes_left(e, (uint32_t)left + right))
		return MM_ENOMEM;
	if (left) {
		hole_resize(e, n, (struct extent){peek(e, n)->first, run.first - peek(e, n)->first});
		segment_add(e, n, run, true);
		live = peek(e, n)->next;
	} else {
		hole_unlisted(e, n);
		node(e, n)->units = run.units;
		node(e, n)->taken = true;
		tree_refresh(e, n);
	}
	if (right)
		segment_add(e, live, (struct extent){end, hole_end - end}, false);
	e->extents++;
	e->extents_max = max(e->extents_max, e->extents);
	e->units_free -= run.units;
	if (e->units_free < e->units_free_min)
		e->units_free_min = e->units_free;
	return MM_OK;
}

/* The whole of live extent n becomes a hole, one with the holes at its sides. */
static void free_whole(struct extent_space *e, uint32_t n)
{
	uint32_t prev = peek(e, n)->prev, next = peek(e, n)->next;
	uint64_t first = peek(e, n)->first, end = node_end(e, n);

	if (is_hole(e, next)) {
		end = node_end(e, next);
		hole_unlisted(e, next);
		segment_drop(e, next);
	}
	if (is_hole(e, prev)) {
		first = peek(e, prev)->first;
		segment_drop(e, n);
		hole_resize(e, prev, (struct extent){first, end - first});
	} else {
		node(e, n)->taken = false;
		node(e, n)->units = end - first;
		tree_refresh(e, n);
		hole_listed(e, n);
	}
	e->extents--;
}

/* The front of live extent n, up to `end`, becomes a hole. */
static void free_front(struct extent_space *e, uint32_t n, uint64_t end)
{
	uint32_t prev = peek(e, n)->prev;
	uint64_t first = peek(e, n)->first;

	node(e, n)->units -= end - first;
	node(e, n)->first = end;
	if (is_hole(e, prev)) {
		first = peek(e, prev)->first;
		hole_resize(e, prev, (struct extent){first, end - first});
	} else {
		segment_add(e, prev, (struct extent){first, end - first}, false);
	}
}

/* The back of live extent n, from `first` on, becomes a hole. */
static void free_back(struct extent_space *e, uint32_t n, uint64_t first)
{
	uint32_t next = peek(e, n)->next;
	uint64_t end = node_end(e, n);

	node(e, n)->units = first - peek(e, n)->first;
	if (is_hole(e, next))
		hole_resize(e, next, (struct extent){first, node_end(e, next) - first});
	else
		segment_add(e, n, (struct extent){first, end - first}, false);
}

/* The middle of live extent n becomes a hole; what is above it an extent of its own. */
static void free_middle(struct extent_space *e, uint32_t n, struct extent run)
{
	uint64_t above = run.first + run.units, end = node_end(e, n);

	node(e, n)->units = run.first - peek(e, n)->first;
	segment_add(e, n, run, false);
	segment_add(e, peek(e, n)->next, (struct extent){above, end - above}, true);
	e->extents++;
	e->extents_max = max(e->extents_max, e->extents);
}

/* ---- the interface ---- */

_Static_assert(SIZE_MAX / sizeof(struct extent_node) > (size_t)UINT32_MAX + 2, "any segments_max is usable");

size_t extent_meta_bytes(uint32_t segments_max)
{
	if (segments_max == 0)
		return 0;
	return sizeof(struct extent_space) + (size_t)segments_max * sizeof(struct extent_node);
}

enum mm_err extent_init(void *meta, size_t meta_bytes, uint32_t segments_max, uint64_t base, uint64_t units,
			struct extent_space **out)
{
	struct extent_space *e = meta;

	if (!meta || (uintptr_t)meta % 64 || segments_max == 0)
		return MM_EINVAL;
	if (meta_bytes < extent_meta_bytes(segments_max) || units == 0 || units - 1 > UINT64_MAX - base)
		return MM_EINVAL;
	*e = (struct extent_space){
		.base = base,
		.units = units,
		.units_free = units,
		.units_free_min = units,
		.root = {EXTENT_NONE, EXTENT_NONE},
		.segments_max = segments_max,
		.spare_head = EXTENT_NONE,
	};
	segment_add(e, EXTENT_NONE, (struct extent){0, units}, false);
	*out = e;
	return MM_OK;
}

enum mm_err extent_alloc(struct extent_space *e, const struct extent_request *ask, struct extent *out)
{
	struct extent run = {.units = ask->units};
	enum mm_err err;
	uint32_t n;

	if (ask->units == 0 || (ask->align & (ask->align - 1)) || (unsigned)ask->policy >= EXTENT_POLICIES)
		return MM_EINVAL;
	n = place(e, ask, &run.first);
	if (n == EXTENT_NONE)
		return MM_ENOMEM;
	err = take(e, n, run);
	if (err != MM_OK)
		return err;
	e->cursor = run.first + run.units;
	*out = (struct extent){e->base + run.first, run.units};
	return MM_OK;
}

/* Makes offsets of addresses. False iff the run is empty or not inside the space. */
static bool run_inside(const struct extent_space *e, struct extent *run)
{
	run->first -= e->base; /* below base it wraps, to above any offset */
	return run->units > 0 && run->first < e->units && run->units <= e->units - run->first;
}

enum mm_err extent_alloc_at(struct extent_space *e, struct extent run)
{
	uint32_t n;

	if (!run_inside(e, &run))
		return MM_EINVAL;
	n = segment_find(e, run.first);
	if (!is_hole(e, n) || run.units > node_end(e, n) - run.first)
		return MM_EEXIST;
	return take(e, n, run);
}

/* Nodes that freeing a part of live extent n takes; front, back: the part reaches that end. */
static uint32_t free_nodes(const struct extent_space *e, uint32_t n, bool front, bool back)
{
	if (front == back)
		return front ? 0 : 2;
	return is_hole(e, front ? peek(e, n)->prev : peek(e, n)->next) ? 0 : 1;
}

enum mm_err extent_free(struct extent_space *e, struct extent run)
{
	uint64_t end;
	bool front, back;
	uint32_t n;

	if (!run_inside(e, &run))
		return MM_EINVAL;
	n = segment_find(e, run.first);
	if (is_hole(e, n) || run.units > node_end(e, n) - run.first)
		return MM_ESTATE;
	end = run.first + run.units;
	front = run.first == peek(e, n)->first;
	back = end == node_end(e, n);
	if (!nodes_left(e, free_nodes(e, n, front, back)))
		return MM_ENOMEM;
	if (front && back)
		free_whole(e, n);
	else if (front)
		free_front(e, n, end);
	else if (back)
		free_back(e, n, run.first);
	else
		free_middle(e, n, run);
	e->units_free += run.units;
	return MM_OK;
}

bool extent_segment_at(const struct extent_space *e, uint64_t at, struct extent_segment *out)
{
	const struct extent_node *found;

	at -= e->base;
	if (at >= e->units)
		return false;
	found = peek(e, segment_find(e, at));
	*out = (struct extent_segment){{e->base + found->first, found->units}, found->taken};
	return true;
}

struct extent_stats extent_stats_read(const struct extent_space *e)
{
	return (struct extent_stats){
		.units_total = e->units,
		.units_free = e->units_free,
		.units_free_min = e->units_free_min,
		.largest_hole = hole_max_of(e, e->root[EXTENT_BY_ADDRESS]),
		.holes = e->holes,
		.extents = e->extents,
		.extents_max = e->extents_max,
	};
}

void extent_fail_after(struct extent_space *e, uint64_t n)
{
	e->fail_after = n;
}

/* ---- the check ---- */

static bool check_balance(const struct extent_space *e, enum extent_tree t, uint32_t n) /* I5 */
{
	const struct extent_node *at = peek(e, n);
	unsigned left = height_of(e, t, at->child[t][0]), right = height_of(e, t, at->child[t][1]);

	if (at->height[t] != height_now(e, t, n) || left > right + 1 || right > left + 1)
		return false;
	return t == EXTENT_BY_SIZE || at->hole_max == hole_max_now(e, n);
}

struct tour { /* a tree read in order */
	const struct extent_space *e;
	enum extent_tree tree;
	uint32_t last;	 /* the node read before; EXTENT_NONE: none */
	uint64_t visits; /* left before the tour must end */
};

static bool check_order(const struct tour *tour, uint32_t n)
{
	const struct extent_space *e = tour->e;

	if (tour->tree == EXTENT_BY_ADDRESS) /* I3 */
		return peek(e, n)->prev == tour->last && (tour->last == EXTENT_NONE || peek(e, tour->last)->next == n);
	return !peek(e, n)->taken && (tour->last == EXTENT_NONE || before(e, EXTENT_BY_SIZE, tour->last, n));
}

static bool check_tree(struct tour *tour, uint32_t n, unsigned depth)
{
	const uint32_t *child;

	if (n == EXTENT_NONE)
		return true;
	if (n >= tour->e->fresh || depth == EXTENT_DEPTH_MAX || tour->visits == 0)
		return false;
	tour->visits--;
	child = peek(tour->e, n)->child[tour->tree];
	for (unsigned side = 0; side < 2; side++)
		if (child[side] != EXTENT_NONE && child[side] >= tour->e->fresh)
			return false;
	if (!check_balance(tour->e, tour->tree, n) || !check_tree(tour, child[0], depth + 1))
		return false;
	if (!check_order(tour, n))
		return false;
	tour->last = n;
	return check_tree(tour, child[1], depth + 1);
}

/* The tree has exactly `count` nodes, in order and in balance. */
static bool check_whole(const struct extent_space *e, enum extent_tree t, uint64_t count, uint32_t *last)
{
	struct tour tour = {.e = e, .tree = t, .last = EXTENT_NONE, .visits = count};
	bool ok = check_tree(&tour, e->root[t], 0) && tour.visits == 0;

	*last = tour.last;
	return ok;
}

/* I1, I2, I6, read backwards from the last segment. */
static bool check_list(const struct extent_space *e, uint32_t last)
{
	uint64_t end = e->units, free_units = 0, holes = 0, extents = 0;

	for (uint32_t n = last; n != EXTENT_NONE; n = peek(e, n)->prev) {
		const struct extent_node *at = peek(e, n);

		if (at->units == 0 || at->first > end || at->units != end - at->first)
			return false;
		if (!at->taken && is_hole(e, at->prev))
			return false;
		end = at->first;
		free_units += at->taken ? 0 : at->units;
		holes += !at->taken;
		extents += at->taken;
	}
	return end == 0 && free_units == e->units_free && holes == e->holes && extents == e->extents;
}

static bool check_spares(const struct extent_space *e) /* I7: the trees account for the rest, none of it empty */
{
	uint32_t n = e->spare_head, left = e->spares;

	for (; n != EXTENT_NONE && left > 0; n = peek(e, n)->next, left--)
		if (n >= e->fresh || peek(e, n)->units != 0)
			return false;
	return n == EXTENT_NONE && left == 0 && e->holes + e->extents + e->spares == e->fresh;
}

bool extent_check(const struct extent_space *e)
{
	uint32_t last, last_by_size;

	if (e->fresh > e->segments_max || e->cursor > e->units)
		return false;
	if (e->units_free_min > e->units_free || e->extents_max < e->extents)
		return false;
	if (!check_spares(e) || !check_whole(e, EXTENT_BY_ADDRESS, e->holes + e->extents, &last))
		return false;
	if (last == EXTENT_NONE || peek(e, last)->next != EXTENT_NONE)
		return false;
	return check_list(e, last) && check_whole(e, EXTENT_BY_SIZE, e->holes, &last_by_size);
}
