/* mm/pool_tree.c: pools with parents.
 *
 * What it is. A node counts whatever was allocated by it, in a list, and what is to
 * happen at its end, in another: children end, functions run. Ending a node is
 * undoing its life: the youngest first. It has no memory of its own, but asks the
 * heap below for each piece, so that a piece can also be freed alone and found wrong
 * alone. It is for what lives as long as a request, a guest or a parse does, and is
 * made in many places. Who never frees one by one, and wants speed, takes an arena.
 *
 * Words. Piece: one allocation, with a header of 32 bytes before it. End: an entry of
 * a node's list of what happens when it ends.
 *
 * Invariants, verified by pool_tree_check():
 *   I1  pieces are linked both ways, name their node, and are as large below as they
 *       say or larger;
 *   I2  asked, given and count are their sums;
 *   I3  a child's parent is whose list it is in, and has the same heap below.
 *
 * Cost. What the heap below costs, and a header that is written; with other pieces
 * around, one line of a neighbour's. Ending: that of each piece. No recursion, so no
 * depth is too deep: the walk goes to the youngest child of the youngest child, and
 * back by the parent.
 *
 * Threads. One at a time for the whole tree.
 *
 * Failure. NULL, or MM_ENOMEM, iff the heap below has no room; nothing has changed. A
 * wrong free is seen if its header names no node, or another one, or its neighbours
 * do not know it; then it is the heap's below to judge.
 *
 * Rejected. Chunks of its own, cut by a moving mark: faster, but nothing can be freed
 * or grown in place, a check sees nothing, and mm/arena.h does it. Children in a list
 * apart from what runs at the end: one of the two would go first, and what was built
 * on something older must end before it, of whichever kind it is. */
#include "mm/pool_tree_impl.h"
#include "mm/port.h"

static size_t at_least_1(size_t bytes)
{
	return bytes + (bytes == 0);
}

/* ---- pieces ---- */

static void *memory_of(struct tree_piece *piece)
{
	return piece + 1;
}

static void *base_of(const struct tree_piece *piece)
{
	return (void *)((uintptr_t)(piece + 1) - ((uintptr_t)1 << piece->offset_shift));
}

static size_t usable_of(const struct pool_tree *t, const struct tree_piece *piece)
{
	return heap_usable(&t->below, base_of(piece)) - ((size_t)1 << piece->offset_shift);
}

/* A live piece of this node. */
static struct tree_piece *piece_of(const struct pool_tree *t, const void *memory)
{
	struct tree_piece *piece = (struct tree_piece *)((uintptr_t)memory - sizeof(struct tree_piece));

	MM_ASSERT((uintptr_t)memory % HEAP_ALIGN == 0 && piece->owner == t, memory, t);
	MM_ASSERT(piece->prev ? piece->prev->next == piece : t->pieces == piece, memory, t);
	return piece;
}

static void piece_link(struct pool_tree *t, struct tree_piece *piece)
{
	piece->next = t->pieces;
	piece->prev = NULL;
	piece->owner = t;
	if (piece->next)
		piece->next->prev = piece;
	t->pieces = piece;
}

static void piece_unlink(struct pool_tree *t, struct tree_piece *piece)
{
	if (piece->next)
		piece->next->prev = piece->prev;
	if (piece->prev)
		piece->prev->next = piece->next;
	else
		t->pieces = piece->next;
	piece->owner = NULL;
}

static void count(struct pool_tree *t, const struct tree_piece *piece)
{
	t->asked += piece->asked;
	t->asked_max = t->asked > t->asked_max ? t->asked : t->asked_max;
	t->given += usable_of(t, piece);
	t->count++;
}

static void uncount(struct pool_tree *t, const struct tree_piece *piece)
{
	t->asked -= piece->asked;
	t->given -= usable_of(t, piece);
	t->count--;
}

/* ---- alloc, free, realloc ---- */

static bool fails_now(struct pool_tree *t)
{
	return t->fail_after > 0 && --t->fail_after == 0;
}

static void *tree_alloc(void *self, unsigned cpu, size_t bytes, size_t align)
{
	struct pool_tree *t = self;
	size_t asked = at_least_1(bytes),
	       offset = align > sizeof(struct tree_piece) ? align : sizeof(struct tree_piece);
	struct tree_piece *piece;
	char *base;

	if (align == 0 || (align & (align - 1)) != 0 || asked > PTRDIFF_MAX || offset > PTRDIFF_MAX - asked ||
	    asked >> TREE_ASKED_BITS || fails_now(t))
		return NULL;
	base = heap_alloc_aligned(&t->below, cpu, offset + asked, align > HEAP_ALIGN ? align : HEAP_ALIGN);
	if (!base)
		return NULL;
	piece = (struct tree_piece *)(void *)(base + offset) - 1;
	piece->asked = asked;
	piece->offset_shift = (unsigned)__builtin_ctzll(offset);
	piece_link(t, piece);
	count(t, piece);
	return memory_of(piece);
}

static void tree_free(void *self, unsigned cpu, void *memory, size_t bytes)
{
	struct pool_tree *t = self;
	struct tree_piece *piece;

	if (!memory)
		return;
	piece = piece_of(t, memory);
	MM_ASSERT(bytes <= usable_of(t, piece), bytes, memory);
	uncount(t, piece);
	piece_unlink(t, piece);
	heap_free(&t->below, cpu, base_of(piece), piece->asked + ((size_t)1 << piece->offset_shift));
}

static size_t tree_usable(void *self, const void *memory)
{
	return usable_of(self, piece_of(self, memory));
}

/* Below it may move: what pointed to it is told, or told again if it did not. */
static void *tree_realloc(void *self, unsigned cpu, void *memory, size_t old_bytes, size_t bytes)
{
	struct pool_tree *t = self;
	size_t asked = at_least_1(bytes), offset, usable;
	struct tree_piece *piece;
	char *base;

	if (!memory)
		return tree_alloc(self, cpu, bytes, HEAP_ALIGN);
	piece = piece_of(t, memory);
	usable = usable_of(t, piece);
	offset = (size_t)1 << piece->offset_shift;
	MM_ASSERT(old_bytes <= usable, old_bytes, usable);
	if (asked > PTRDIFF_MAX - offset || asked >> TREE_ASKED_BITS || (asked > usable && fails_now(t)))
		return NULL;
	uncount(t, piece);
	base = heap_realloc(&t->below, cpu, base_of(piece),
			    offset + (old_bytes > piece->asked ? old_bytes : piece->asked), offset + asked);
	if (!base) {
		count(t, piece);
		return NULL;
	}
	piece = (struct tree_piece *)(void *)(base + offset) - 1;
	piece->asked = asked;
	if (piece->next)
		piece->next->prev = piece;
	*(piece->prev ? &piece->prev->next : &t->pieces) = piece;
	count(t, piece);
	return memory_of(piece);
}

/* ---- figures, checks ---- */

static struct heap_stats tree_stats(void *self)
{
	const struct pool_tree *t = self;
	struct heap_stats s = heap_stats_read(&t->below);

	s.bytes_asked = t->asked;
	s.bytes_asked_max = t->asked_max;
	s.bytes_given = t->given;
	s.allocations = t->count;
	return s;
}

/* I1, I2. */
static bool pieces_hold(const struct pool_tree *t)
{
	uint64_t asked = 0, given = 0, n = 0;
	const struct tree_piece *last = NULL;

	for (const struct tree_piece *piece = t->pieces; piece; last = piece, piece = piece->next) {
		if (piece->prev != last || piece->owner != t || n++ == t->count)
			return false;
		if (piece->asked == 0 || piece->asked > usable_of(t, piece))
			return false;
		asked += piece->asked;
		given += usable_of(t, piece);
	}
	return n == t->count && asked == t->asked && given == t->given && asked <= t->asked_max;
}

/* The first entry from `e` on that is a child; NULL: there is none. */
static const struct tree_end *child_from(const struct tree_end *e)
{
	while (e && e->run)
		e = e->older;
	return e;
}

/* The next node of a walk through the subtree of t, in *at; false: I3 is broken. NULL: there is no next. */
static bool walk(const struct pool_tree *t, const struct pool_tree **at)
{
	const struct pool_tree *parent = *at, *child;
	const struct tree_end *e = child_from(parent->ends);

	for (; !e && parent != t; parent = parent->parent)
		e = child_from(parent->as_child.older);
	*at = child = e ? e->self : NULL;
	return !child || (&child->as_child == e && child->parent == parent && child->below.self == t->below.self);
}

bool pool_tree_check(const struct pool_tree *t)
{
	const struct pool_tree *at = t;

	do
		if (!pieces_hold(at) || !walk(t, &at))
			return false;
	while (at);
	return heap_check(&t->below);
}

static bool tree_check(void *self)
{
	return pool_tree_check(self);
}

static void tree_fail_after(void *self, uint64_t n)
{
	struct pool_tree *t = self;

	t->fail_after = n;
}

/* ---- nodes ---- */

static struct pool_tree *node_make(const struct heap *below, unsigned cpu, struct pool_tree *parent)
{
	struct pool_tree *t = heap_alloc_zeroed(below, cpu, 1, sizeof(*t));

	if (!t)
		return NULL;
	t->ops = (struct heap_ops){tree_alloc, tree_free,  tree_realloc,   tree_usable,
				   tree_stats, tree_check, tree_fail_after};
	t->below = *below;
	t->parent = parent;
	t->as_child.self = t;
	return t;
}

struct pool_tree *pool_tree_root(const struct heap *below, unsigned cpu)
{
	return node_make(below, cpu, NULL);
}

struct pool_tree *pool_tree_child(struct pool_tree *parent, unsigned cpu)
{
	struct pool_tree *t = node_make(&parent->below, cpu, parent);

	if (!t)
		return NULL;
	t->as_child.older = parent->ends;
	parent->ends = &t->as_child;
	return t;
}

struct heap pool_tree_heap(struct pool_tree *t)
{
	return (struct heap){.self = t, .ops = &t->ops};
}

enum mm_err pool_tree_at_end(struct pool_tree *t, unsigned cpu, void (*run)(void *self), void *self)
{
	struct tree_end *e = heap_alloc(&t->below, cpu, sizeof(*e));

	if (!e)
		return MM_ENOMEM;
	*e = (struct tree_end){.older = t->ends, .run = run, .self = self};
	t->ends = e;
	return MM_OK;
}

enum mm_err pool_tree_cancel(struct pool_tree *t, unsigned cpu, void (*run)(void *self), void *self)
{
	struct tree_end **at = &t->ends, *e;

	while (*at && ((*at)->run != run || (*at)->self != self))
		at = &(*at)->older;
	if (!*at)
		return MM_ENOENT;
	e = *at;
	*at = e->older;
	heap_free(&t->below, cpu, e, sizeof(*e));
	return MM_OK;
}

/* Runs a node's ends up to the first that is a child; that child, or NULL. */
static struct pool_tree *ends_run(struct pool_tree *t, unsigned cpu)
{
	while (t->ends && t->ends->run) {
		struct tree_end e = *t->ends;

		heap_free(&t->below, cpu, t->ends, sizeof(e));
		t->ends = e.older;
		e.run(e.self);
	}
	return t->ends ? t->ends->self : NULL;
}

static void pieces_free(struct pool_tree *t, unsigned cpu)
{
	while (t->pieces)
		tree_free(t, cpu, memory_of(t->pieces), 0);
}

/* What ran meanwhile may have made younger entries. */
static void parent_forget(struct pool_tree *t)
{
	struct tree_end **at = &t->parent->ends;

	while (*at != &t->as_child)
		at = &(*at)->older;
	*at = t->as_child.older;
}

void pool_tree_clear(struct pool_tree *t, unsigned cpu)
{
	struct pool_tree *at = t, *next;

	for (;;) {
		while ((next = ends_run(at, cpu)))
			at = next;
		pieces_free(at, cpu);
		if (at == t)
			return;
		next = at->parent;
		parent_forget(at);
		heap_free(&next->below, cpu, at, sizeof(*at));
		at = next;
	}
}

void pool_tree_destroy(struct pool_tree *t, unsigned cpu)
{
	struct heap below = t->below;

	pool_tree_clear(t, cpu);
	if (t->parent)
		parent_forget(t);
	heap_free(&below, cpu, t, sizeof(*t));
}
