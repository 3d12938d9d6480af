/* mm/extent_tree.c: the B+ trees under mm/extent.c: their nodes and shape.
 *
 * What it is. Three trees, of two forms. By address: every segment, by its first
 * offset. By size, for policies that choose by length: the ordinary holes, and
 * in a tree of its own the holes of lent zones, by (units, first). What the
 * segments mean is the business of extent.c, which also finds, adds and removes
 * slots in leaves that have room; this file makes that room, and keeps the nodes
 * dense. extent_impl.h has the nodes and the searches.
 *
 * Words. A slot is one entry of a node. The range of a node is the keys that a
 * search leads to it: from its `least` in its parent up to the next one's. A
 * node is full when all its slots are taken, and thin when less than `few` are.
 * Trees by size are narrow in a space of less than 2^29 units, where a key is
 * one word, and wide in others, where it is two.
 *
 * Invariants, all of them verified by extent_trees_check():
 *   T1  the keys of a node differ and lie in its range, and but for leaves by
 *       size rise; the leftmost range starts at 0, and a node's first `least` is
 *       where its range starts; unused keys are the largest number (in leaves by
 *       size 0), unused marks 0;
 *   T2  all leaves are at the same depth and linked in order, up to `last`;
 *   T3  no node is thin; but the root has 1 slot taken (by size, while a leaf:
 *       0), and the children of a root that has only two may have two thirds of
 *       `few`;
 *   T4  where there is a region of largest holes, each inner node has the true
 *       length of the largest hole below each child, by kind;
 *   T5  a node of a pool below `fresh` is in one tree, or with count 0 spare;
 *   T6  regions, pools and width are what units, policy and segments_max say.
 *
 * The searches. In an ordered node the last slot of each group of slots is
 * compared, then the others of the group where the key belongs: about a quarter
 * of the slots, all in sums that no branch depends on, for a processor loses
 * more by one wrong guess than by ten comparisons. A leaf by size is in no order:
 * its search is the minimum of (key - x) as numbers without sign, over all slots,
 * and in exchange a key is added or removed by one store or two. First and next
 * fit look at a leaf's holes in the same way.
 *
 * Room and density. A search keeps no path. When a leaf is full, or turns thin,
 * a second descent finds the parent. Two neighbours share what they have, or
 * become three, or three become two: by shared_most() whichever leaves each as
 * far from full as from thin, about a fifth of its slots either way, so that the
 * next time is far: one change in about a hundred comes here. By size, the keys
 * that change leaves are found by their ranks.
 *
 * Cost. O(log n) worst case, one node a level to search, up to three a level to
 * make room or density; inner nodes have 80 children (wide: 48).
 *
 * Memory. T3 bounds the number of nodes for n slots, so what extent_layout() asks
 * for is enough for any segments_max slots in any order, and nothing need be
 * reserved before a change: running out is a bug, and asserted. A segment costs,
 * with leaves at their thinnest: 256/13 bytes of leaf and 4 * 27/13 of pins; by
 * size 256/10 (wide 512/15); 8 * 27/13 of slack for policies that round up; and 2
 * to 5 of inner nodes. In all 58 bytes for best and worst fit (wide 67), 33 for
 * first and next fit, 75 for the others (wide 84). What is touched is less: pins
 * when there are any, and leaves are three quarters full on the average.
 *
 * Rejected. Balanced binary trees: at a million a descent is 20 cold lines and
 * 20 guesses of the processor, half of them wrong; here it is 4 nodes and none.
 * Nodes two thirds full, which B* trees keep: a quarter less memory, but then
 * full and thin are so near to each other that one change in fifteen came here.
 * Order in the leaves by size: what it saves a search is less than what it costs
 * to move slots. Paths kept up in every search: work for the one that needs it. */
#include "mm/extent_impl.h"
#include "mm/port.h"

/* ---- what a node is made of ---- */

struct column { /* one array of a node: an element a slot */
	uint8_t region, bytes;
	uint16_t at, stride; /* from the node to the array; from one node to the next */
};

struct shape {
	uint8_t region, columns, key_bytes;
	uint16_t stride;
	uint32_t slots, few;
	struct column column[4]; /* the first is the key */
};

enum { SHAPE_LEAF, SHAPE_INNER, SHAPE_NARROW, SHAPE_WIDE, SHAPE_ROUTE };

/* clang-format off */
static const struct shape shapes[] = {
	[SHAPE_LEAF] = {EXTENT_LEAVES, 4, 8, 256, EXTENT_LEAF_SLOTS, EXTENT_FEW(EXTENT_LEAF_SLOTS), {
		{EXTENT_LEAVES, 8, offsetof(struct extent_leaf, first), 256},
		{EXTENT_LEAVES, 1, offsetof(struct extent_leaf, mark), 256},
		{EXTENT_PINS, 4, 0, 4 * EXTENT_LEAF_SLOTS},
		{EXTENT_SLACKS, 8, 0, 8 * EXTENT_LEAF_SLOTS}}},
	[SHAPE_INNER] = {EXTENT_INNERS, 4, 8, 1024, EXTENT_INNER_SLOTS, EXTENT_FEW(EXTENT_INNER_SLOTS), {
		{EXTENT_INNERS, 8, offsetof(struct extent_inner, least), 1024},
		{EXTENT_INNERS, 4, offsetof(struct extent_inner, child), 1024},
		{EXTENT_LARGEST, 8, 0, 16 * EXTENT_INNER_SLOTS},
		{EXTENT_LARGEST, 8, 8 * EXTENT_INNER_SLOTS, 16 * EXTENT_INNER_SLOTS}}},
	[SHAPE_NARROW] = {EXTENT_SIZES, 1, 8, EXTENT_NARROW_BYTES, EXTENT_SIZE_SLOTS, EXTENT_NARROW_FEW, {
		{EXTENT_SIZES, 8, offsetof(struct extent_sizes, narrow), EXTENT_NARROW_BYTES}}},
	[SHAPE_WIDE] = {EXTENT_SIZES, 1, 16, EXTENT_WIDE_BYTES, EXTENT_SIZE_SLOTS, EXTENT_FEW(EXTENT_SIZE_SLOTS), {
		{EXTENT_SIZES, 16, offsetof(struct extent_sizes, wide), EXTENT_WIDE_BYTES}}},
	[SHAPE_ROUTE] = {EXTENT_INNERS, 2, 16, 1024, EXTENT_ROUTE_SLOTS, EXTENT_FEW(EXTENT_ROUTE_SLOTS), {
		{EXTENT_INNERS, 16, offsetof(struct extent_route, least), 1024},
		{EXTENT_INNERS, 4, offsetof(struct extent_route, child), 1024}}},
};
/* clang-format on */
_Static_assert(offsetof(struct extent_inner, child) == offsetof(struct extent_route, child), "children() serves both");

static const struct shape *shape_of(const struct extent_space *e, enum extent_tree t, uint32_t level)
{
	if (t == EXTENT_BY_ADDRESS)
		return &shapes[level > 0 ? SHAPE_INNER : SHAPE_LEAF];
	if (level > 0)
		return &shapes[e->wide ? SHAPE_ROUTE : SHAPE_INNER];
	return &shapes[e->wide ? SHAPE_WIDE : SHAPE_NARROW];
}

static struct extent_head *head(const struct extent_space *e, const struct shape *s, uint32_t n)
{
	return extent_at(e, s->region, n, s->stride);
}

static uint32_t count_of(const struct extent_space *e, const struct shape *s, uint32_t n)
{
	return head(e, s, n)->count;
}

static uint32_t *children(const struct extent_space *e, uint32_t n)
{
	return extent_inner(e, n)->child;
}

static void *cell(const struct extent_space *e, const struct column *c, uint32_t n, uint32_t slot)
{
	return (char *)extent_at(e, c->region, n, c->stride) + c->at + slot * c->bytes;
}

static extent_key key_of(const struct extent_space *e, const struct shape *s, uint32_t n, uint32_t slot)
{
	extent_key key = 0;

	__builtin_memcpy(&key, cell(e, &s->column[0], n, slot), s->key_bytes);
	return key;
}

/* The least key of a node that is not empty. */
static extent_key least_of(const struct extent_space *e, const struct shape *s, uint32_t n)
{
	if (s->region != EXTENT_SIZES)
		return key_of(e, s, n, 0);
	return extent_sizes_key(e, extent_sizes(e, n), extent_sizes_up(e, extent_sizes(e, n), extent_key_of(e, 0, 1)));
}

uint32_t extent_route_slot(const struct extent_route *n, extent_key x)
{
	uint32_t group = 0, in = 0;

	for (uint32_t i = 6; i < EXTENT_ROUTE_SLOTS; i += 7)
		group += n->least[i] <= x;
	group *= 7;
	for (uint32_t i = 0; i < 6; i++)
		in += n->least[group + i] <= x;
	return group + in - 1;
}

uint32_t extent_up_wide(const extent_key *k, extent_key x)
{
	extent_key best = k[0] - x;
	uint32_t at = 0;

	for (uint32_t i = 1; i < EXTENT_SIZE_SLOTS; i++) {
		bool less = k[i] - x < best;

		at = less ? i : at;
		best = less ? k[i] - x : best;
	}
	return at;
}

extent_key extent_down_wide(const extent_key *k, uint32_t count, extent_key x)
{
	extent_key best = 0;

	for (uint32_t i = 0; i < count; i++)
		best = k[i] < x && k[i] > best ? k[i] : best;
	return best;
}

static uint32_t slot_of(const struct extent_space *e, enum extent_tree t, uint32_t n, extent_key key)
{
	if (t != EXTENT_BY_ADDRESS && e->wide)
		return extent_route_slot(extent_route(e, n), key);
	return extent_inner_slot(extent_inner(e, n), (uint64_t)key);
}

/* ---- the pools ---- */

static uint32_t max(uint32_t a, uint32_t b)
{
	return a > b ? a : b;
}

/* T3: nodes of one level, at most, for that many slots in one tree, or in two trees together. */
static uint32_t nodes_for(const struct shape *s, uint32_t slots, uint32_t trees)
{
	uint32_t full = slots / s->few, small = slots > s->slots ? 2 : 1;

	return trees == 1 ? max(full, small) : full + 2 * small;
}

static uint32_t inners_for(const struct shape *s, uint32_t leaves, uint32_t trees)
{
	uint32_t all = 0;

	for (uint32_t n = leaves; n > trees;) {
		n = nodes_for(s, n, trees);
		all += n;
	}
	return all;
}

/* Where what lies, and how many nodes there are, for this policy, segments_max and width; returns the bytes of it
 * all. One segment more than there may be: a change may split before it joins. */
uint64_t extent_layout(struct extent_space *e)
{
	bool by_size = e->policy != EXTENT_FIRST_FIT && e->policy != EXTENT_NEXT_FIT;
	bool slack = e->policy == EXTENT_BUDDY || e->policy == EXTENT_SEGREGATED;
	uint32_t segments = e->segments_max < UINT32_MAX ? e->segments_max + 1 : UINT32_MAX;
	const struct shape *inner = &shapes[SHAPE_INNER], *route = shape_of(e, EXTENT_BY_SIZE, 1);
	uint32_t leaves = nodes_for(&shapes[SHAPE_LEAF], segments, 1);
	uint32_t sizes = by_size ? nodes_for(shape_of(e, EXTENT_BY_SIZE, 0), segments, 2) : 0;
	uint32_t inners = inners_for(inner, leaves, 1) + inners_for(route, sizes, 2);
	uint64_t bytes[EXTENT_REGIONS] = {
		[EXTENT_LEAVES] = (uint64_t)leaves * sizeof(struct extent_leaf),
		[EXTENT_INNERS] = (uint64_t)inners * sizeof(struct extent_inner),
		[EXTENT_SIZES] = (uint64_t)sizes * (EXTENT_NARROW_BYTES << e->wide),
		[EXTENT_PINS] = (uint64_t)leaves * EXTENT_LEAF_SLOTS * sizeof(uint32_t),
		[EXTENT_SLACKS] = slack ? (uint64_t)leaves * EXTENT_LEAF_SLOTS * sizeof(uint64_t) : 0,
		[EXTENT_LARGEST] = by_size ? 0 : (uint64_t)inners * EXTENT_KINDS * EXTENT_INNER_SLOTS * 8,
	};
	uint64_t at = (sizeof(struct extent_space) + 63) & ~UINT64_C(63);

	for (unsigned r = 0; r < EXTENT_REGIONS; r++) {
		e->region[r] = bytes[r] > 0 ? at : 0;
		at += (bytes[r] + 63) & ~UINT64_C(63);
	}
	e->pool[EXTENT_LEAVES].limit = leaves;
	e->pool[EXTENT_INNERS].limit = inners;
	e->pool[EXTENT_SIZES].limit = sizes;
	return at;
}

static void node_clear(struct extent_space *e, const struct shape *s, uint32_t n, uint32_t from)
{
	__builtin_memset(cell(e, &s->column[0], n, from), s->region == EXTENT_SIZES ? 0 : 0xff,
			 (size_t)(s->slots - from) * s->key_bytes);
	if (s->region == EXTENT_LEAVES)
		__builtin_memset(&extent_leaf(e, n)->mark[from], 0, EXTENT_LEAF_SLOTS + 1 - from);
}

static uint32_t node_take(struct extent_space *e, const struct shape *s)
{
	struct extent_pool *pool = &e->pool[s->region];
	uint32_t n = pool->spare;

	if (n == EXTENT_NONE) {
		MM_ASSERT(pool->fresh < pool->limit, pool->fresh, s->region);
		n = pool->fresh++;
	} else {
		pool->spare = head(e, s, n)->next;
		pool->spares--;
	}
	*head(e, s, n) = (struct extent_head){.prev = EXTENT_NONE, .next = EXTENT_NONE};
	node_clear(e, s, n, 0);
	return n;
}

static void node_give(struct extent_space *e, const struct shape *s, uint32_t n)
{
	struct extent_pool *pool = &e->pool[s->region];

	*head(e, s, n) = (struct extent_head){.prev = EXTENT_NONE, .next = pool->spare};
	pool->spare = n;
	pool->spares++;
}

void extent_trees_init(struct extent_space *e)
{
	struct extent_leaf *first;

	for (unsigned p = 0; p < EXTENT_POOLS; p++)
		e->pool[p].spare = EXTENT_NONE;
	for (unsigned t = 0; t < EXTENT_TREES; t++) {
		const struct shape *s = shape_of(e, t, 0);

		if (e->region[s->region] == 0)
			continue;
		e->root[t].node = e->root[t].last = node_take(e, s);
	}
	first = extent_leaf(e, e->root[EXTENT_BY_ADDRESS].node); /* the whole space is one segment */
	first->head.count = 1;
	first->first[0] = 0;
}

/* ---- slots that change nodes ---- */

static void slots_move(struct extent_space *e, const struct shape *s, uint32_t to, uint32_t ti, uint32_t from,
		       uint32_t fi, uint32_t n)
{
	for (unsigned i = 0; i < s->columns; i++) {
		const struct column *c = &s->column[i];

		if (e->region[c->region] != 0)
			__builtin_memmove(cell(e, c, to, ti), cell(e, c, from, fi), (size_t)n * c->bytes);
	}
}

/* How many keys of a leaf are less than this one. */
static uint32_t narrow_rank(const uint64_t *k, uint64_t key)
{
	uint32_t rank[2] = {0, 0};

	EXTENT_UNROLL
	for (uint32_t i = 0; i < EXTENT_SIZE_SLOTS; i++)
		rank[i % 2] += k[i] < key;
	EXTENT_APART(rank[1]);
	return rank[0] + rank[1];
}

static uint32_t wide_rank(const extent_key *k, extent_key key)
{
	uint32_t rank = 0;

	for (uint32_t i = 0; i < EXTENT_SIZE_SLOTS; i++)
		rank += k[i] < key;
	return rank;
}

/* Moves those keys of leaf `from`, by size, to the end of leaf `to` whose rank is in [low, high). */
static void ranks_move(struct extent_space *e, const struct shape *s, uint32_t to, uint32_t from, uint32_t low,
		       uint32_t high)
{
	struct extent_sizes *giver = extent_sizes(e, from), *taker = extent_sizes(e, to);
	uint32_t count = giver->head.count, spare = EXTENT_SIZE_SLOTS - count, kept = 0, taken = taker->head.count;
	uint32_t rank[EXTENT_SIZE_SLOTS];

	for (uint32_t i = 0; i < count; i++) /* the spare ones, 0, are less */
		rank[i] = (e->wide ? wide_rank(giver->wide, giver->wide[i])
				   : narrow_rank(giver->narrow, giver->narrow[i])) -
			  spare;
	for (uint32_t i = 0; i < count; i++) {
		extent_key key = extent_sizes_key(e, giver, i);

		uint32_t goes = rank[i] - low < high - low;

		extent_sizes_set(e, taker, taken, key & -(extent_key)goes);
		extent_sizes_set(e, giver, kept, key);
		taken += goes;
		kept += 1 - goes;
	}
	taker->head.count = taken;
	giver->head.count = kept;
	node_clear(e, s, from, kept);
}

/* Neighbours a, b: moves slots between them, so that a has `target` then. */
static void slots_share(struct extent_space *e, const struct shape *s, uint32_t a, uint32_t b, uint32_t target)
{
	struct extent_head *left = head(e, s, a), *right = head(e, s, b);
	bool ordered = s->region != EXTENT_SIZES;
	uint32_t n;

	if (left->count > target) {
		n = left->count - target;
		if (!ordered) {
			ranks_move(e, s, b, a, target, left->count);
			return;
		}
		slots_move(e, s, b, n, b, 0, right->count);
		slots_move(e, s, b, 0, a, target, n);
		left->count -= n;
		right->count += n;
		node_clear(e, s, a, left->count);
	} else {
		n = target - left->count;
		if (!ordered) {
			ranks_move(e, s, a, b, 0, n);
			return;
		}
		slots_move(e, s, a, left->count, b, 0, n);
		slots_move(e, s, b, 0, b, n, right->count - n);
		left->count += n;
		right->count -= n;
		node_clear(e, s, b, right->count);
	}
}

/* ---- the largest holes ---- */

/* Guessing which of the segments are holes would cost more than to look at all of them alike. */
static uint64_t leaf_largest(const struct extent_space *e, const struct extent_leaf *l, enum extent_kind kind)
{
	uint32_t last = l->head.count - 1;
	uint64_t largest = extent_is_hole(l->mark[last], kind) ? extent_slot_end(e, l, last) - l->first[last] : 0;

	for (uint32_t i = 0; i < last; i++) {
		uint64_t units = l->first[i + 1] - l->first[i];

		units &= -(uint64_t)extent_is_hole(l->mark[i], kind);
		largest = units > largest ? units : largest;
	}
	return largest;
}

static uint64_t node_largest(const struct extent_space *e, uint32_t level, uint32_t n, enum extent_kind kind)
{
	const uint64_t *below;
	uint64_t largest = 0;

	if (level == 0)
		return leaf_largest(e, extent_leaf(e, n), kind);
	below = extent_largest(e, n, kind);
	for (uint32_t i = 0; i < extent_inner(e, n)->head.count; i++)
		largest = below[i] > largest ? below[i] : largest;
	return largest;
}

/* Renews what `parent`, at `level`, has of its child i. */
static void largest_renew(struct extent_space *e, uint32_t level, uint32_t parent, uint32_t i)
{
	for (unsigned kind = 0; kind < EXTENT_KINDS; kind++)
		extent_largest(e, parent, kind)[i] = node_largest(e, level - 1, children(e, parent)[i], kind);
}

uint64_t extent_largest_hole(const struct extent_space *e)
{
	const struct extent_root *root = &e->root[EXTENT_BY_ADDRESS];

	if (e->region[EXTENT_SIZES] == 0)
		return node_largest(e, root->height, root->node, EXTENT_PLAIN);
	return e->longest[EXTENT_PLAIN];
}

/* ---- room and density ---- */

struct path { /* by level: the node on the way, and which of its children is */
	uint32_t node[EXTENT_HEIGHT_MAX + 1], slot[EXTENT_HEIGHT_MAX + 1];
};

static void path_to(const struct extent_space *e, enum extent_tree t, extent_key key, struct path *p)
{
	uint32_t n = e->root[t].node;

	for (uint32_t level = e->root[t].height; level > 0; level--) {
		p->node[level] = n;
		p->slot[level] = slot_of(e, t, n, key);
		n = children(e, n)[p->slot[level]];
	}
	p->node[0] = n;
}

/* Levels above one where nothing changes are right already, unless `all` is to be made so. */
static void path_renew(struct extent_space *e, const struct path *p, enum extent_kind kind, bool all)
{
	uint64_t now = leaf_largest(e, extent_leaf(e, p->node[0]), kind), was = 0, largest;

	for (uint32_t level = 1; level <= e->root[EXTENT_BY_ADDRESS].height; level++) {
		uint64_t *above = &extent_largest(e, p->node[level], kind)[p->slot[level]];

		/* `was` and `now` are what one child of the node below had and has; *above what all had. */
		if (level == 1)
			largest = now;
		else if (all || (was == *above && now < was))
			largest = node_largest(e, level - 1, p->node[level - 1], kind);
		else
			largest = now > *above ? now : *above;
		if (largest == *above && !all)
			return;
		was = *above;
		*above = now = largest;
	}
}

static void largest_renew_at(struct extent_space *e, uint64_t offset, bool all)
{
	struct path p;

	path_to(e, EXTENT_BY_ADDRESS, offset, &p);
	path_renew(e, &p, EXTENT_PLAIN, all);
	if (e->units_zone > 0) /* else there is no hole of the other kind, and was none */
		path_renew(e, &p, EXTENT_LENDING, all);
}

void extent_largest_renew(struct extent_space *e, uint64_t offset)
{
	largest_renew_at(e, offset, false);
}

struct family { /* children of one node, and what they are */
	enum extent_tree tree;
	uint32_t level, parent; /* of the parent */
	const struct shape *of_parent, *of_child;
};

static struct family family(const struct extent_space *e, enum extent_tree t, uint32_t level, uint32_t parent)
{
	return (struct family){t, level, parent, shape_of(e, t, level), shape_of(e, t, level - 1)};
}

static uint32_t child_count(const struct extent_space *e, const struct family *f, uint32_t i)
{
	return count_of(e, f->of_child, children(e, f->parent)[i]);
}

/* Child i says anew where its range starts (unless the child before it does not end there) and what is in it. */
static void child_renew(struct extent_space *e, const struct family *f, uint32_t i, bool least)
{
	const struct shape *s = f->of_child;

	if (least) {
		extent_key key = least_of(e, s, children(e, f->parent)[i]);

		__builtin_memcpy(cell(e, &f->of_parent->column[0], f->parent, i), &key, s->key_bytes);
	}
	if (f->tree == EXTENT_BY_ADDRESS && e->region[EXTENT_LARGEST] != 0)
		largest_renew(e, f->level, f->parent, i);
}

/* Children i and i + 1 share what they have, so that child i has `target`. */
static void children_share(struct extent_space *e, const struct family *f, uint32_t i, uint32_t target)
{
	const uint32_t *child = &children(e, f->parent)[i];

	if (count_of(e, f->of_child, child[0]) == target)
		return;
	slots_share(e, f->of_child, child[0], child[1], target);
	if (count_of(e, f->of_child, child[0]) > 0)
		child_renew(e, f, i, false);
	if (count_of(e, f->of_child, child[1]) > 0)
		child_renew(e, f, i + 1, true);
}

static void leaf_link(struct extent_space *e, const struct family *f, uint32_t n, uint32_t prev)
{
	struct extent_head *at = head(e, f->of_child, n), *before = head(e, f->of_child, prev);

	at->prev = prev;
	at->next = before->next;
	if (at->next != EXTENT_NONE)
		head(e, f->of_child, at->next)->prev = n;
	else
		e->root[f->tree].last = n;
	before->next = n;
}

static void leaf_unlink(struct extent_space *e, const struct family *f, uint32_t n)
{
	const struct extent_head *at = head(e, f->of_child, n);

	/* No leaf that is first leaves: of several children the left ones stay. */
	head(e, f->of_child, at->prev)->next = at->next;
	if (at->next != EXTENT_NONE)
		head(e, f->of_child, at->next)->prev = at->prev;
	else
		e->root[f->tree].last = at->prev;
}

/* A new child after child i, still empty: who fills it renews it. */
static void child_add(struct extent_space *e, const struct family *f, uint32_t i)
{
	struct extent_head *parent = head(e, f->of_parent, f->parent);
	uint32_t n = node_take(e, f->of_child);

	if (f->level == 1)
		leaf_link(e, f, n, children(e, f->parent)[i]);
	slots_move(e, f->of_parent, f->parent, i + 2, f->parent, i + 1, parent->count - i - 1);
	parent->count++;
	children(e, f->parent)[i + 1] = n;
}

/* Child i is empty, and not the first: it goes. */
static void child_drop(struct extent_space *e, const struct family *f, uint32_t i)
{
	struct extent_head *parent = head(e, f->of_parent, f->parent);
	uint32_t n = children(e, f->parent)[i];

	if (f->level == 1)
		leaf_unlink(e, f, n);
	node_give(e, f->of_child, n);
	slots_move(e, f->of_parent, f->parent, i, f->parent, i + 1, parent->count - i - 1);
	parent->count--;
	node_clear(e, f->of_parent, f->parent, parent->count);
}

/* Two neighbours have so many slots at most, with more they become three: either way each is as far from full as
 * from few. slots - most / 2 = most / 3 - few. */
static uint32_t shared_most(const struct shape *s)
{
	return 6 * (s->slots + s->few) / 5;
}

/* Child i is full, its parent is not: a neighbour takes some, or two full ones become three. */
static void child_relieve(struct extent_space *e, const struct family *f, uint32_t i)
{
	uint32_t count = count_of(e, f->of_parent, f->parent), all;

	if (count == 1) {
		child_add(e, f, 0);
		children_share(e, f, 0, child_count(e, f, 0) / 2);
		return;
	}
	if (i + 1 == count || (i > 0 && child_count(e, f, i - 1) < child_count(e, f, i + 1)))
		i--;
	all = child_count(e, f, i) + child_count(e, f, i + 1);
	if (all > shared_most(f->of_child)) {
		child_add(e, f, i + 1);
		children_share(e, f, i + 1, child_count(e, f, i + 1) - all / 3);
		all -= all / 3;
	}
	children_share(e, f, i, all / 2);
}

/* The root gets a parent. */
static void root_raise(struct extent_space *e, enum extent_tree t)
{
	struct extent_root *root = &e->root[t];
	const struct shape *s = shape_of(e, t, 1);
	struct family f;
	uint32_t n = node_take(e, s);

	MM_ASSERT(root->height < EXTENT_HEIGHT_MAX, root->height, t);
	head(e, s, n)->count = 1;
	children(e, n)[0] = root->node;
	__builtin_memset(cell(e, &s->column[0], n, 0), 0, s->key_bytes);
	root->node = n;
	root->height++;
	f = family(e, t, root->height, n);
	child_renew(e, &f, 0, false);
}

static bool lacks_room(const struct extent_space *e, enum extent_tree t, uint32_t level, uint32_t n, uint32_t slots)
{
	const struct shape *s = shape_of(e, t, level);

	return count_of(e, s, n) + (level == 0 ? slots : 1) > s->slots;
}

/* Relieves the highest node on the way that lacks room; false iff none does. */
static bool room_made(struct extent_space *e, enum extent_tree t, extent_key key, uint32_t slots)
{
	uint32_t n = e->root[t].node;

	if (lacks_room(e, t, e->root[t].height, n, slots)) {
		root_raise(e, t);
		return true;
	}
	for (uint32_t level = e->root[t].height; level > 0; level--) {
		uint32_t slot = slot_of(e, t, n, key), child = children(e, n)[slot];

		if (lacks_room(e, t, level - 1, child, slots)) {
			struct family f = family(e, t, level, n);

			child_relieve(e, &f, slot);
			return true;
		}
		n = child;
	}
	return false;
}

void extent_make_room(struct extent_space *e, enum extent_tree t, extent_key key, uint32_t slots)
{
	bool made = false;

	while (room_made(e, t, key, slots))
		made = true;
	/* Leaves may have changed since they were last told of above, and their own level has been told now. */
	if (made && t == EXTENT_BY_ADDRESS && e->region[EXTENT_LARGEST] != 0)
		largest_renew_at(e, (uint64_t)key, true);
}

/* Of three children, with child i the one that has few: they share, or become two. */
static void children_balance(struct extent_space *e, const struct family *f, uint32_t i)
{
	uint32_t last = count_of(e, f->of_parent, f->parent) - 1;
	uint32_t a = i == 0 ? 0 : i == last ? i - 2 : i - 1;
	uint32_t left = child_count(e, f, a), middle = child_count(e, f, a + 1), right = child_count(e, f, a + 2);
	uint32_t all = left + middle + right;

	if (all <= shared_most(f->of_child)) {
		children_share(e, f, a, left + middle < all / 2 ? left + middle : all / 2);
		children_share(e, f, a + 1, 0);
		child_drop(e, f, a + 1);
		children_share(e, f, a, all / 2);
	} else if (i == a + 2) {
		children_share(e, f, a + 1, middle + right - all / 3);
		children_share(e, f, a, all / 3);
	} else {
		children_share(e, f, a, all / 3);
		children_share(e, f, a + 1, all / 3);
	}
}

/* The root has but two children. */
static void pair_balance(struct extent_space *e, const struct family *f)
{
	uint32_t all = child_count(e, f, 0) + child_count(e, f, 1);

	if (all > f->of_child->slots * 3 / 4) {
		children_share(e, f, 0, all / 2);
		return;
	}
	children_share(e, f, 0, all);
	child_drop(e, f, 1);
}

static uint32_t few_of(const struct shape *s, uint32_t siblings)
{
	return siblings == 2 ? s->few * 2 / 3 : s->few;
}

void extent_make_dense(struct extent_space *e, enum extent_tree t, extent_key key)
{
	struct extent_root *root = &e->root[t];
	struct path p;

	path_to(e, t, key, &p);
	for (uint32_t level = 1; level <= root->height; level++) {
		struct family f = family(e, t, level, p.node[level]);
		uint32_t siblings = count_of(e, f.of_parent, f.parent);

		if (child_count(e, &f, p.slot[level]) >= few_of(f.of_child, siblings))
			return;
		if (siblings == 2)
			pair_balance(e, &f);
		else
			children_balance(e, &f, p.slot[level]);
	}
	if (root->height > 0 && count_of(e, shape_of(e, t, root->height), root->node) == 1) {
		uint32_t n = root->node;

		root->node = children(e, n)[0];
		root->height--;
		node_give(e, shape_of(e, t, 1), n);
	}
}

/* ---- the check ---- */

struct tour { /* of one tree, in order */
	const struct extent_space *e;
	enum extent_tree tree;
	uint32_t last;		      /* the leaf before; EXTENT_NONE: none */
	uint64_t nodes[EXTENT_POOLS]; /* met so far, in all trees */
};

static bool check_keys(const struct extent_space *e, const struct shape *s, uint32_t n, extent_key least,
		       extent_key end) /* T1 */
{
	uint32_t count = count_of(e, s, n);
	const unsigned char *unused = cell(e, &s->column[0], n, count);
	bool ordered = s->region != EXTENT_SIZES;

	for (uint32_t i = 0; i < count; i++) {
		extent_key key = key_of(e, s, n, i);

		if (key < least || key >= end)
			return false;
		for (uint32_t j = ordered && i > 0 ? i - 1 : 0; j < i; j++)
			if (ordered ? key_of(e, s, n, j) >= key : key_of(e, s, n, j) == key)
				return false;
	}
	for (uint32_t i = 0; i < (s->slots - count) * s->key_bytes; i++)
		if (unused[i] != (ordered ? 0xff : 0))
			return false;
	for (uint32_t i = count; s->region == EXTENT_LEAVES && i <= EXTENT_LEAF_SLOTS; i++)
		if (extent_leaf(e, n)->mark[i] != 0)
			return false;
	return true;
}

static bool check_leaf(struct tour *tour, const struct shape *s, uint32_t n) /* T2 */
{
	if (head(tour->e, s, n)->prev != tour->last)
		return false;
	if (tour->last != EXTENT_NONE && head(tour->e, s, tour->last)->next != n)
		return false;
	tour->last = n;
	return true;
}

static bool check_largest(const struct extent_space *e, uint32_t level, uint32_t n, uint32_t slot) /* T4 */
{
	for (unsigned kind = 0; kind < EXTENT_KINDS; kind++)
		if (extent_largest(e, n, kind)[slot] != node_largest(e, level - 1, children(e, n)[slot], kind))
			return false;
	return true;
}

/* Node n, at `level`, has at least `few` slots taken, and all below it is right. */
static bool check_node(struct tour *tour, uint32_t level, uint32_t n, uint32_t few, extent_key least, extent_key end)
{
	const struct extent_space *e = tour->e;
	const struct shape *s = shape_of(e, tour->tree, level), *below = shape_of(e, tour->tree, level > 1);
	uint32_t count;

	if (n >= e->pool[s->region].fresh || ++tour->nodes[s->region] > e->pool[s->region].fresh)
		return false;
	count = count_of(e, s, n);
	if (count > s->slots || count < few || !check_keys(e, s, n, least, end)) /* T3 */
		return false;
	if (level == 0)
		return check_leaf(tour, s, n);
	for (uint32_t i = 0; i < count; i++) {
		extent_key next = i + 1 < count ? key_of(e, s, n, i + 1) : end;

		if (!check_node(tour, level - 1, children(e, n)[i],
				level == e->root[tour->tree].height ? few_of(below, count) : below->few,
				key_of(e, s, n, i), next))
			return false;
	}
	return key_of(e, s, n, 0) == least;
}

static bool check_all_largest(const struct extent_space *e, uint32_t level, uint32_t n)
{
	for (uint32_t i = 0; level > 0 && i < extent_inner(e, n)->head.count; i++)
		if (!check_largest(e, level, n, i) || !check_all_largest(e, level - 1, children(e, n)[i]))
			return false;
	return true;
}

static bool check_tree(struct tour *tour, enum extent_tree t)
{
	const struct extent_root *root = &tour->e->root[t];
	uint32_t few = root->height > 0 ? 2 : t == EXTENT_BY_ADDRESS ? 1 : 0;

	tour->tree = t;
	tour->last = EXTENT_NONE;
	return root->height <= EXTENT_HEIGHT_MAX &&
	       check_node(tour, root->height, root->node, few, 0, ~(extent_key)0) && tour->last == root->last &&
	       head(tour->e, shape_of(tour->e, t, 0), tour->last)->next == EXTENT_NONE;
}

static bool check_pool(const struct extent_space *e, unsigned p, uint64_t in_use) /* T5 */
{
	const struct extent_pool *pool = &e->pool[p];
	const struct shape *s = p == EXTENT_SIZES ? shape_of(e, EXTENT_BY_SIZE, 0)
						  : &shapes[p == EXTENT_LEAVES ? SHAPE_LEAF : SHAPE_INNER];
	uint32_t left = pool->spares;

	if (in_use + pool->spares != pool->fresh)
		return false;
	for (uint32_t n = pool->spare; n != EXTENT_NONE; n = head(e, s, n)->next)
		if (left-- == 0 || n >= pool->fresh || head(e, s, n)->count != 0)
			return false;
	return left == 0;
}

static bool check_layout(const struct extent_space *e)
{
	struct extent_space want = {.policy = e->policy, .segments_max = e->segments_max, .wide = e->wide};

	if ((unsigned)e->policy >= EXTENT_POLICIES || e->wide != (e->units >> EXTENT_NARROW_BITS != 0))
		return false;
	extent_layout(&want);
	for (unsigned p = 0; p < EXTENT_POOLS; p++)
		if (want.pool[p].limit != e->pool[p].limit || e->pool[p].fresh > e->pool[p].limit)
			return false;
	return __builtin_memcmp(want.region, e->region, sizeof(want.region)) == 0;
}

bool extent_trees_check(const struct extent_space *e)
{
	struct tour tour = {.e = e};
	bool by_size;

	if (!check_layout(e))
		return false;
	by_size = e->region[EXTENT_SIZES] != 0;
	if (!check_tree(&tour, EXTENT_BY_ADDRESS))
		return false;
	if (by_size && (!check_tree(&tour, EXTENT_BY_SIZE) || !check_tree(&tour, EXTENT_BY_SIZE_LENT)))
		return false;
	for (unsigned p = 0; p < EXTENT_POOLS; p++)
		if (!check_pool(e, p, tour.nodes[p]))
			return false;
	return by_size || check_all_largest(e, e->root[EXTENT_BY_ADDRESS].height, e->root[EXTENT_BY_ADDRESS].node);
}
