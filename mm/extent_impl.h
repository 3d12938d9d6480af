/* mm/extent_impl.h: the fields of struct extent_space and its trees, for
 * extent.c, extent_tree.c and their tests alone. Theory: extent.c for segments,
 * extent_tree.c for nodes. Everything is an index or an offset, so the metadata
 * may lie at another address in another process. */
#ifndef SLAT_MM_EXTENT_IMPL_H
#define SLAT_MM_EXTENT_IMPL_H

#include "mm/extent.h"

#define EXTENT_NONE UINT32_MAX /* no node */

/* Slots of a node are groups * width - 1: a search compares with the last slot of all groups but one, then with all
 * but the last of one group. */
#define EXTENT_LEAF_SLOTS  (4u * 7u - 1u)
#define EXTENT_INNER_SLOTS (9u * 9u - 1u)
#define EXTENT_SIZE_SLOTS  30u /* in no order: searched as a whole */
#define EXTENT_ROUTE_SLOTS (7u * 7u - 1u)

/* Of a node that has siblings, so many slots at least are taken: extent_tree.c T3. Narrow leaves by size change most
 * and cost least: they may be emptier. */
#define EXTENT_FEW(slots) ((slots) / 2u)
#define EXTENT_NARROW_FEW (EXTENT_SIZE_SLOTS / 3u)

/* What a segment is. On a hole: only the zone's three. */
enum extent_mark {
	EXTENT_TAKEN = 1,
	EXTENT_MOVABLE = 2,
	EXTENT_ZONE = 4,
	EXTENT_LENT = 8,    /* its zone takes movable extents in */
	EXTENT_BORDER = 16, /* its zone starts with it */
	EXTENT_PINNED = 32, /* its slot in the region of pins counts */
	EXTENT_SLACK = 64,  /* its slot in the region of slack counts */
};

/* The ordinary holes, and those of lent zones: each has a tree by size of its own, or a column of largest holes. */
enum extent_kind { EXTENT_PLAIN, EXTENT_LENDING };
#define EXTENT_KINDS 2u

struct extent_head {
	uint32_t count; /* slots in use; 0 in a spare node */
	uint32_t prev;	/* leaves: the neighbours in order */
	uint32_t next;	/* a spare node: the next spare one */
};

struct extent_leaf { /* of the tree by address */
	struct extent_head head;
	uint8_t mark[EXTENT_LEAF_SLOTS + 1]; /* beyond count 0 */
	uint64_t first[EXTENT_LEAF_SLOTS];   /* offset from base; beyond count UINT64_MAX */
};
_Static_assert(sizeof(struct extent_leaf) == 256, "a leaf is four cache lines");

struct extent_inner { /* of the tree by address */
	struct extent_head head;
	uint32_t child[EXTENT_INNER_SLOTS];
	uint32_t unused[12];
	uint64_t least[EXTENT_INNER_SLOTS]; /* no `first` below child i is less, or below child i - 1 as much */
};

/* A hole by length, then by place: units above first. In a space of less than 2^29 units both fit one word, above 5
 * bits that are 0, and the trees by size are narrow; else they are wide. In the tree by address: an offset. */
typedef unsigned __int128 extent_key;

struct extent_sizes { /* a leaf of a tree by size */
	struct extent_head head;
	uint32_t unused;
	union {
		uint64_t narrow[EXTENT_SIZE_SLOTS]; /* in any order; beyond count 0 */
		extent_key wide[EXTENT_SIZE_SLOTS];
	};
};
_Static_assert(offsetof(struct extent_sizes, narrow) + 8 * EXTENT_SIZE_SLOTS == 256, "narrow: four cache lines");
#define EXTENT_NARROW_BITS 29u
#define EXTENT_NARROW_STEP 32u
_Static_assert(EXTENT_SIZE_SLOTS <= EXTENT_NARROW_STEP, "a slot fits the low bits");
#define EXTENT_NARROW_BYTES 256u
#define EXTENT_WIDE_BYTES   512u

struct extent_route { /* an inner node of a wide tree; those of narrow ones are as in the tree by address */
	struct extent_head head;
	uint32_t child[EXTENT_ROUTE_SLOTS];
	uint32_t unused[12];
	extent_key least[EXTENT_ROUTE_SLOTS];
};
_Static_assert(sizeof(struct extent_inner) == 1024 && sizeof(struct extent_route) == 1024, "they share a pool");

/* The metadata behind struct extent_space, as far as the policy wants them. */
enum extent_region {
	EXTENT_LEAVES,	/* struct extent_leaf */
	EXTENT_INNERS,	/* struct extent_inner, struct extent_route */
	EXTENT_SIZES,	/* struct extent_sizes; but for first and next fit */
	EXTENT_PINS,	/* uint32_t a slot of a leaf */
	EXTENT_SLACKS,	/* uint64_t a slot of a leaf; policies that round up */
	EXTENT_LARGEST, /* uint64_t a kind and slot of an inner node; first and next fit */
};
#define EXTENT_REGIONS 6u
#define EXTENT_POOLS   3u /* the first three regions hold nodes that come and go */

enum extent_tree { EXTENT_BY_ADDRESS, EXTENT_BY_SIZE, EXTENT_BY_SIZE_LENT };
#define EXTENT_TREES 3u

/* Wide: 2^32 holes are at most 2^29 leaves, and inner nodes have 24 children or more. */
#define EXTENT_HEIGHT_MAX 8u

struct extent_pool {
	uint32_t limit;
	uint32_t fresh; /* nodes [fresh, limit) were never used */
	uint32_t spare; /* nodes used once and given back */
	uint32_t spares;
};

struct extent_root {
	uint32_t node;
	uint32_t height; /* 0: the node is a leaf */
	uint32_t last;	 /* leaf */
};

struct extent_space {
	uint64_t base, units;
	uint64_t region[EXTENT_REGIONS]; /* bytes from here; 0: not there */
	struct extent_root root[EXTENT_TREES];
	enum extent_policy policy;
	uint32_t segments_max;
	uint32_t wide; /* 1: the trees by size are */
	/* Of the holes in each tree by size the longest one's units; 0: there is none. It is asked for before every
	 * placing, and seldom changes. */
	uint64_t longest[EXTENT_KINDS];
	uint64_t cursor;     /* next fit: offset where the last extent_alloc() ended */
	uint64_t fail_after; /* 0: no fault to inject */
	uint64_t units_free, units_free_min, units_asked, units_asked_max;
	uint64_t units_zone, units_zone_free, units_pinned;
	uint64_t holes, extents, extents_max;
	struct extent_pool pool[EXTENT_POOLS];
};

/* ---- extent_tree.c ---- */

uint64_t extent_layout(struct extent_space *e);
void extent_trees_init(struct extent_space *e);

/* Room for `slots` more in the leaf of that key. */
void extent_make_room(struct extent_space *e, enum extent_tree t, extent_key key, uint32_t slots);

/* Makes the leaf of that key, and the nodes above it, full enough again. */
void extent_make_dense(struct extent_space *e, enum extent_tree t, extent_key key);

/* Tells the nodes above the leaf of that offset how large its holes are. */
void extent_largest_renew(struct extent_space *e, uint64_t offset);

/* As extent_inner_slot(), extent_up_narrow() and extent_down_narrow(), for wide trees. */
uint32_t extent_route_slot(const struct extent_route *n, extent_key x);
uint32_t extent_up_wide(const extent_key *k, extent_key x);
extent_key extent_down_wide(const extent_key *k, uint32_t count, extent_key x);

uint64_t extent_largest_hole(const struct extent_space *e);
bool extent_trees_check(const struct extent_space *e);

static inline void *extent_at(const struct extent_space *e, enum extent_region r, uint32_t node, size_t stride)
{
	return (void *)((uintptr_t)e + e->region[r] + node * stride);
}

static inline struct extent_leaf *extent_leaf(const struct extent_space *e, uint32_t n)
{
	return extent_at(e, EXTENT_LEAVES, n, sizeof(struct extent_leaf));
}

static inline struct extent_inner *extent_inner(const struct extent_space *e, uint32_t n)
{
	return extent_at(e, EXTENT_INNERS, n, sizeof(struct extent_inner));
}

static inline struct extent_sizes *extent_sizes(const struct extent_space *e, uint32_t n)
{
	return (void *)((uintptr_t)e + e->region[EXTENT_SIZES] + ((uintptr_t)n << (8 + e->wide)));
}

static inline struct extent_route *extent_route(const struct extent_space *e, uint32_t n)
{
	return extent_at(e, EXTENT_INNERS, n, sizeof(struct extent_route));
}

static inline uint32_t *extent_pins(const struct extent_space *e, uint32_t leaf)
{
	return extent_at(e, EXTENT_PINS, leaf, EXTENT_LEAF_SLOTS * sizeof(uint32_t));
}

static inline uint64_t *extent_slacks(const struct extent_space *e, uint32_t leaf)
{
	return extent_at(e, EXTENT_SLACKS, leaf, EXTENT_LEAF_SLOTS * sizeof(uint64_t));
}

static inline uint64_t *extent_largest(const struct extent_space *e, uint32_t inner, enum extent_kind kind)
{
	return (uint64_t *)extent_at(e, EXTENT_LARGEST, inner, EXTENT_KINDS * EXTENT_INNER_SLOTS * sizeof(uint64_t)) +
	       kind * EXTENT_INNER_SLOTS;
}

/* Whether these marks are those of a hole of that kind. */
static inline bool extent_is_hole(uint8_t mark, enum extent_kind kind)
{
	return kind == EXTENT_PLAIN ? (mark & (EXTENT_TAKEN | EXTENT_ZONE)) == 0
				    : (mark & (EXTENT_TAKEN | EXTENT_LENT)) == EXTENT_LENT;
}

/* Where the segment of a slot ends. */
static inline uint64_t extent_slot_end(const struct extent_space *e, const struct extent_leaf *l, uint32_t slot)
{
	if (slot + 1 < l->head.count)
		return l->first[slot + 1];
	return l->head.next == EXTENT_NONE ? e->units : extent_leaf(e, l->head.next)->first[0];
}

/* What runs all the time is one piece of code, and what rarely runs is not in its way. */
#define EXTENT_INLINE	 static inline __attribute__((always_inline))
#define EXTENT_COLD	 __attribute__((noinline, cold))
#define EXTENT_WHOLE	 __attribute__((flatten))
#define EXTENT_RARELY(x) __builtin_expect((x), 0)

/* Before a loop of a constant number of rounds, all of which are to be code of their own: as a loop it would keep its
 * sums in memory. Each compiler has its own word for that, and clang takes no notice of gcc's. */
#ifdef __clang__
#define EXTENT_UNROLL _Pragma("clang loop unroll(full)")
#else
#define EXTENT_UNROLL _Pragma("GCC unroll 32")
#endif

/* Keeps this number one of its own: compilers like to make one long chain of sums, or minima, of several short ones
 * that the processor works on at once. */
#define EXTENT_APART(n) __asm__("" : "+r"(n))
#define EXTENT_CHAINS	4u

/* How many of a sorted array of groups * width - 1 numbers are at most x. No branch depends on them, and the
 * comparisons are counted in two halves, which do not wait for each other. */
EXTENT_INLINE uint32_t extent_rank64(const uint64_t *k, uint32_t groups, uint32_t width, uint64_t x)
{
	uint32_t group[2] = {0, 0}, in[2] = {0, 0};

	EXTENT_UNROLL
	for (uint32_t i = 1; i < groups; i++)
		group[i % 2] += k[i * width - 1] <= x;
	EXTENT_APART(group[1]);
	group[0] = (group[0] + group[1]) * width;
	k += group[0];
	EXTENT_UNROLL
	for (uint32_t i = 0; i < width - 1; i++)
		in[i % 2] += k[i] <= x;
	EXTENT_APART(in[1]);
	return group[0] + in[0] + in[1];
}

static inline uint32_t extent_leaf_rank(const struct extent_leaf *l, uint64_t x)
{
	return extent_rank64(l->first, 4, 7, x);
}

static inline uint32_t extent_inner_slot(const struct extent_inner *n, uint64_t x)
{
	if (n->head.count < 8) /* the root of some thousand segments */
		return extent_rank64(n->least, 1, 8, x) - 1;
	if (n->head.count < 4 * 7) /* most often the root */
		return extent_rank64(n->least, 4, 7, x) - 1;
	return extent_rank64(n->least, 9, 9, x) - 1;
}

EXTENT_INLINE void extent_prefetch(const void *node, size_t bytes)
{
	EXTENT_UNROLL
	for (size_t i = 0; i < bytes; i += 64)
		__builtin_prefetch((const char *)node + i);
}

/* The leaf of the tree by address whose range holds this offset. */
EXTENT_INLINE uint32_t extent_leaf_of(const struct extent_space *e, uint64_t offset)
{
	uint32_t n = e->root[EXTENT_BY_ADDRESS].node;

	for (uint32_t level = e->root[EXTENT_BY_ADDRESS].height; level > 0; level--) {
		const struct extent_inner *at = extent_inner(e, n);

		n = at->child[extent_inner_slot(at, offset)];
	}
	extent_prefetch(extent_leaf(e, n), sizeof(struct extent_leaf));
	return n;
}

/* The leaf of a tree by size whose range holds this key. */
EXTENT_INLINE uint32_t extent_sizes_of(const struct extent_space *e, enum extent_tree t, extent_key key)
{
	uint32_t n = e->root[t].node;

	for (uint32_t level = e->root[t].height; level > 0; level--) {
		if (EXTENT_RARELY(e->wide))
			n = extent_route(e, n)->child[extent_route_slot(extent_route(e, n), key)];
		else
			n = extent_inner(e, n)->child[extent_inner_slot(extent_inner(e, n), (uint64_t)key)];
	}
	extent_prefetch(extent_sizes(e, n), EXTENT_NARROW_BYTES);
	return n;
}

/* Where in a leaf by size the least key is that is not less than x, if there is one; no branch depends on the keys:
 * of key - x, lesser keys wrap to more than any other, and so do the unused ones, which are 0. A narrow key leaves
 * room for its slot in that difference. */
EXTENT_INLINE uint32_t extent_up_narrow(const uint64_t *k, uint64_t x)
{
	uint64_t minus = -x, best[EXTENT_CHAINS];

	EXTENT_APART(minus);
	EXTENT_UNROLL
	for (uint32_t i = 0; i < EXTENT_SIZE_SLOTS; i++) {
		uint64_t past = k[i] + minus + i, *least = &best[i % EXTENT_CHAINS];

		*least = i < EXTENT_CHAINS || past < *least ? past : *least;
		EXTENT_APART(*least);
	}
	EXTENT_UNROLL
	for (uint32_t i = 1; i < EXTENT_CHAINS; i++)
		best[0] = best[i] < best[0] ? best[i] : best[0];
	return best[0] % EXTENT_NARROW_STEP;
}

/* Where in a leaf by size this key is, which is there: half of the work of extent_up_narrow(). */
EXTENT_INLINE uint32_t extent_same_narrow(const uint64_t *k, uint64_t x)
{
	uint32_t found[EXTENT_CHAINS] = {0};

	EXTENT_UNROLL
	for (uint32_t i = 1; i < EXTENT_SIZE_SLOTS; i++) {
		uint32_t *slot = &found[i % EXTENT_CHAINS];

		*slot = k[i] == x ? i : *slot;
		EXTENT_APART(*slot);
	}
	return found[0] | found[1] | found[2] | found[3];
}

EXTENT_INLINE uint32_t extent_sizes_up(const struct extent_space *e, const struct extent_sizes *l, extent_key x)
{
	if (EXTENT_RARELY(e->wide))
		return extent_up_wide(l->wide, x);
	return extent_up_narrow(l->narrow, (uint64_t)x);
}

static inline void extent_sizes_set(const struct extent_space *e, struct extent_sizes *l, uint32_t slot, extent_key key)
{
	if (EXTENT_RARELY(e->wide))
		l->wide[slot] = key;
	else
		l->narrow[slot] = (uint64_t)key;
}

static inline extent_key extent_sizes_key(const struct extent_space *e, const struct extent_sizes *l, uint32_t slot)
{
	return EXTENT_RARELY(e->wide) ? l->wide[slot] : l->narrow[slot];
}

static inline extent_key extent_key_of(const struct extent_space *e, uint64_t first, uint64_t units)
{
	return EXTENT_RARELY(e->wide) ? (extent_key)units << 64 | first
				      : (units << EXTENT_NARROW_BITS | first) * EXTENT_NARROW_STEP;
}

static inline uint64_t extent_key_units(const struct extent_space *e, extent_key key)
{
	return EXTENT_RARELY(e->wide) ? (uint64_t)(key >> 64)
				      : (uint64_t)key / EXTENT_NARROW_STEP >> EXTENT_NARROW_BITS;
}

static inline uint64_t extent_key_first(const struct extent_space *e, extent_key key)
{
	return EXTENT_RARELY(e->wide) ? (uint64_t)key
				      : (uint64_t)key / EXTENT_NARROW_STEP & ((UINT64_C(1) << EXTENT_NARROW_BITS) - 1);
}

/* As extent_up_narrow(), downwards: of x - 1 - key, keys that are not less than x wrap. 0: none is less; what is unused
 * is 0, too. */
EXTENT_INLINE uint64_t extent_down_narrow(const uint64_t *k, uint64_t x)
{
	uint64_t best[EXTENT_CHAINS];

	EXTENT_UNROLL
	for (uint32_t i = 0; i < EXTENT_SIZE_SLOTS; i++) {
		uint64_t short_of = x - 1 - k[i], *least = &best[i % EXTENT_CHAINS];

		*least = i < EXTENT_CHAINS || short_of < *least ? short_of : *least;
		EXTENT_APART(*least);
	}
	EXTENT_UNROLL
	for (uint32_t i = 1; i < EXTENT_CHAINS; i++)
		best[0] = best[i] < best[0] ? best[i] : best[0];
	return best[0] < x ? x - 1 - best[0] : 0;
}

/* The greatest key of a leaf by size that is less than x; 0: none is. */
static inline extent_key extent_sizes_down(const struct extent_space *e, const struct extent_sizes *l, extent_key x)
{
	if (EXTENT_RARELY(e->wide))
		return extent_down_wide(l->wide, l->head.count, x);
	return extent_down_narrow(l->narrow, (uint64_t)x);
}

/* What e->longest is to be. */
static inline uint64_t extent_longest_of(const struct extent_space *e, enum extent_tree t)
{
	return extent_key_units(e, extent_sizes_down(e, extent_sizes(e, e->root[t].last), ~(extent_key)0));
}

#endif
