/* tests/unit/test_pool_tree.c: mm/pool_tree over mm/pool_variable: the conformance
 * suite, the order in which things end against a model of it, a million random
 * operations on a tree of nodes, refusals at each point, wrong frees, the checker.
 * What it does not see: threads, of which there is one. */
#include <signal.h>
#include <stdio.h>

#include "mm/pool_tree_impl.h"
#include "mm/pool_variable.h"
#include "tests/unit/expect.h"
#include "tests/unit/heap_trial.h"
#include "tests/unit/pool_supply.h"
#include "tests/unit/random.h"

#undef fail

#define MIB (UINT64_C(1) << 20)

struct world {
	struct pool_variable_config config;
	void *meta;
	struct heap below;
	struct pool_tree *root;
	struct heap heap;
};

static void world_open(struct world *w, size_t bytes)
{
	*w = (struct world){.config = {.cpus = 1, .region = lines_take(bytes), .region_bytes = bytes},
			    .meta = lines_take(pool_variable_meta_bytes())};
	ck_assert_int_eq(pool_variable_init(w->meta, pool_variable_meta_bytes(), &w->config, &w->below), MM_OK);
	w->root = pool_tree_root(&w->below, 0);
	ck_assert_ptr_nonnull(w->root);
	w->heap = pool_tree_heap(w->root);
}

static void world_close(struct world *w)
{
	ck_assert(pool_tree_check(w->root));
	pool_tree_destroy(w->root, 0);
	ck_assert_uint_eq(heap_stats_read(&w->below).allocations, 0);
	ck_assert(heap_check(&w->below));
	free(w->config.region);
	free(w->meta);
}

START_TEST(conforms_to_heap)
{
	struct world w;

	world_open(&w, 32 * MIB);
	trial_suite((struct heap_conformance){.heap = &w.heap, .seed = 5, .operations = 60000});
	world_close(&w);
}
END_TEST

/* A child's pieces are its own. */
START_TEST(conforms_as_child)
{
	struct world w;
	struct heap child;
	void *a;

	world_open(&w, 8 * MIB);
	a = heap_alloc(&w.heap, 0, 100);
	child = pool_tree_heap(pool_tree_child(w.root, 0));
	trial_suite((struct heap_conformance){.heap = &child, .seed = 5, .operations = 5000});
	ck_assert_uint_eq(heap_stats_read(&w.heap).allocations, 1);
	ck_assert_uint_eq(heap_stats_read(&w.heap).bytes_asked, 100);
	ck_assert_ptr_nonnull(a);
	world_close(&w);
}
END_TEST

/* ---- the order of ends ---- */

static unsigned ended[64], ends;

struct note {
	unsigned number;
	const unsigned char *content; /* NULL: none; else it must be there still */
};

static void note_end(void *self)
{
	const struct note *n = self;

	EXPECT(!n->content || n->content[0] == 0x77);
	ended[ends++] = n->number;
}

START_TEST(youngest_first)
{
	struct world w;
	struct note note[8];
	struct pool_tree *child, *grandchild;
	static const unsigned order[] = {5, 4, 3, 2, 1, 0};
	struct heap heap;

	ends = 0;
	world_open(&w, MIB);
	for (unsigned i = 0; i < 8; i++)
		note[i] = (struct note){i, NULL};
	ck_assert_int_eq(pool_tree_at_end(w.root, 0, note_end, &note[0]), MM_OK);
	child = pool_tree_child(w.root, 0);
	ck_assert_int_eq(pool_tree_at_end(w.root, 0, note_end, &note[5]), MM_OK);
	ck_assert_int_eq(pool_tree_at_end(child, 0, note_end, &note[1]), MM_OK);
	grandchild = pool_tree_child(child, 0);
	ck_assert_int_eq(pool_tree_at_end(child, 0, note_end, &note[4]), MM_OK);
	ck_assert_int_eq(pool_tree_at_end(grandchild, 0, note_end, &note[2]), MM_OK);
	ck_assert_int_eq(pool_tree_at_end(grandchild, 0, note_end, &note[3]), MM_OK);
	heap = pool_tree_heap(grandchild);
	note[2].content = heap_alloc(&heap, 0, 10);
	memset((void *)(uintptr_t)note[2].content, 0x77, 10);
	ck_assert_int_eq(pool_tree_at_end(w.root, 0, note_end, &note[6]), MM_OK);
	ck_assert_int_eq(pool_tree_cancel(w.root, 0, note_end, &note[6]), MM_OK);
	ck_assert_int_eq(pool_tree_cancel(w.root, 0, note_end, &note[6]), MM_ENOENT);
	ck_assert_int_eq(pool_tree_cancel(w.root, 0, note_end, &note[1]), MM_ENOENT);
	ck_assert(pool_tree_check(w.root));
	pool_tree_clear(w.root, 0);
	ck_assert_uint_eq(ends, 6);
	ck_assert_mem_eq(ended, order, sizeof(order));
	ck_assert_uint_eq(heap_stats_read(&w.below).allocations, 1); /* the node stays */
	ck_assert_ptr_nonnull(heap_alloc(&w.heap, 0, 5));
	world_close(&w);
	ck_assert_uint_eq(ends, 6);
}
END_TEST

START_TEST(ends_in_the_middle)
{
	struct world w;
	struct note note[3] = {{0, NULL}, {1, NULL}, {2, NULL}};
	struct pool_tree *child[3];

	ends = 0;
	world_open(&w, MIB);
	for (unsigned i = 0; i < 3; i++) {
		child[i] = pool_tree_child(w.root, 0);
		ck_assert_int_eq(pool_tree_at_end(child[i], 0, note_end, &note[i]), MM_OK);
	}
	pool_tree_destroy(child[1], 0);
	ck_assert_uint_eq(ends, 1);
	ck_assert(pool_tree_check(w.root));
	world_close(&w);
	ck_assert_uint_eq(ended[1], 2);
	ck_assert_uint_eq(ended[2], 0);
}
END_TEST

struct maker {
	struct pool_tree *in;
	struct note *note;
	void *piece;
};

/* What runs at the end allocates, frees, and wants something else to run. */
static void make_more(void *self)
{
	struct maker *m = self;
	struct heap heap = pool_tree_heap(m->in);

	heap_free(&heap, 0, m->piece, 0);
	EXPECT(heap_alloc(&heap, 0, 100));
	EXPECT(pool_tree_at_end(m->in, 0, note_end, m->note) == MM_OK);
}

START_TEST(ends_make_ends)
{
	struct world w;
	struct note note = {9, NULL};
	struct pool_tree *child;
	struct maker own, parents;

	ends = 0;
	world_open(&w, MIB);
	child = pool_tree_child(w.root, 0);
	own = (struct maker){child, &note, NULL};
	parents = (struct maker){w.root, &note, heap_alloc(&w.heap, 0, 10)};
	ck_assert_int_eq(pool_tree_at_end(child, 0, make_more, &own), MM_OK);
	ck_assert_int_eq(pool_tree_at_end(child, 0, make_more, &parents), MM_OK);
	world_close(&w);
	ck_assert_uint_eq(ends, 2);
}
END_TEST

/* Deeper than any stack. */
START_TEST(deep)
{
	struct world w;
	struct pool_tree *t;

	world_open(&w, 64 * MIB);
	t = w.root;
	for (unsigned i = 0; i < 100000; i++)
		t = pool_tree_child(t, 0);
	world_close(&w);
}
END_TEST

/* ---- the model ---- */

#define NODES 16u
#define SLOTS 32u

struct node {
	struct pool_tree *t; /* NULL: none */
	unsigned parent;
	unsigned char *at[SLOTS];
	size_t bytes[SLOTS];
	uint64_t asked, count;
};

static bool is_under(const struct node *nodes, unsigned n, unsigned top)
{
	while (n != top && n != 0)
		n = nodes[n].parent;
	return n == top;
}

static void nodes_end(struct node *nodes, unsigned top)
{
	bool whole = top != 0 && below(2);

	if (whole)
		pool_tree_destroy(nodes[top].t, 0);
	else
		pool_tree_clear(nodes[top].t, 0);
	for (unsigned n = 1; n < NODES; n++)
		if (nodes[n].t && is_under(nodes, n, top) && (whole || n != top))
			nodes[n].t = NULL;
	for (unsigned n = 1; n < NODES; n++)
		if (!nodes[n].t)
			memset(&nodes[n], 0, sizeof(nodes[n]));
	memset(nodes[top].at, 0, sizeof(nodes[top].at));
	nodes[top].asked = nodes[top].count = 0;
}

static void node_step(struct node *n)
{
	struct heap heap = pool_tree_heap(n->t);
	unsigned i = (unsigned)below(SLOTS);
	size_t bytes = 1 + below(2000);
	void *at;

	if (n->at[i])
		EXPECT(n->at[i][0] == (unsigned char)n->bytes[i] &&
		       n->at[i][n->bytes[i] - 1] == (unsigned char)n->bytes[i]);
	if (n->at[i] && below(2)) {
		heap_free(&heap, 0, n->at[i], below(2) ? n->bytes[i] : 0);
		n->at[i] = NULL;
		n->asked -= n->bytes[i];
		n->count--;
		return;
	}
	at = n->at[i] ? heap_realloc(&heap, 0, n->at[i], n->bytes[i], bytes)
		      : heap_alloc_aligned(&heap, 0, bytes, (size_t)1 << below(10));
	if (!at)
		return;
	n->asked += bytes - (n->at[i] ? n->bytes[i] : 0);
	n->count += n->at[i] == NULL;
	n->at[i] = at;
	n->bytes[i] = bytes;
	n->at[i][0] = n->at[i][bytes - 1] = (unsigned char)bytes;
}

START_TEST(random_operations)
{
	struct node *nodes = calloc(NODES, sizeof(*nodes));
	struct world w;

	seed(4);
	world_open(&w, MIB / 4);
	nodes[0].t = w.root;
	for (unsigned i = 1; i <= 1000000; i++) {
		unsigned n = (unsigned)below(NODES), up = (unsigned)below(NODES);

		if (nodes[n].t && below(1000) == 0)
			nodes_end(nodes, n);
		else if (nodes[n].t)
			node_step(&nodes[n]);
		else if (nodes[up].t && (nodes[n].t = pool_tree_child(nodes[up].t, 0)))
			nodes[n].parent = up;
		if (i % 4096 == 0) {
			EXPECT(pool_tree_check(w.root));
			for (n = 0; n < NODES; n++)
				EXPECT(!nodes[n].t ||
				       (nodes[n].t->asked == nodes[n].asked && nodes[n].t->count == nodes[n].count));
		}
	}
	free(nodes);
	world_close(&w);
}
END_TEST

/* ---- refusals ---- */

START_TEST(refusals_change_nothing)
{
	struct world w;
	struct pool_tree before;
	void *a;

	world_open(&w, 65536);
	a = heap_alloc(&w.heap, 0, 100);
	before = *w.root;
	for (unsigned i = 0; i < 6; i++) {
		heap_fail_after(i < 4 ? &w.below : &w.heap, 1);
		if (i == 0)
			ck_assert_ptr_null(heap_alloc(&w.heap, 0, 10));
		else if (i == 1)
			ck_assert_ptr_null(heap_realloc(&w.heap, 0, a, 100, 1000));
		else if (i == 2)
			ck_assert_ptr_null(pool_tree_child(w.root, 0));
		else if (i == 3)
			ck_assert_int_eq(pool_tree_at_end(w.root, 0, note_end, NULL), MM_ENOMEM);
		else if (i == 4)
			ck_assert_ptr_null(heap_alloc(&w.heap, 0, 10));
		else
			ck_assert_ptr_null(heap_realloc(&w.heap, 0, a, 100, 1000));
		ck_assert_mem_eq(&before, w.root, sizeof(before));
		ck_assert(pool_tree_check(w.root));
	}
	heap_fail_after(&w.below, 1);
	ck_assert_ptr_null(pool_tree_root(&w.below, 0));
	ck_assert_ptr_null(heap_alloc_aligned(&w.heap, 0, 1, 0));
	ck_assert_ptr_null(heap_alloc_aligned(&w.heap, 0, 1, 48));
	ck_assert_ptr_null(heap_alloc_aligned(&w.heap, 0, 1, (size_t)1 << 63));
	ck_assert_ptr_null(heap_alloc(&w.heap, 0, (size_t)1 << 59));
	ck_assert_ptr_null(heap_realloc(&w.heap, 0, a, 100, (size_t)1 << 59));
	ck_assert_mem_eq(&before, w.root, sizeof(before));
	world_close(&w);
}
END_TEST

START_TEST(wrong_calls)
{
	struct world w;
	struct pool_tree *child;
	struct heap other;
	char *a;

	freopen("/dev/null", "w", stderr);
	world_open(&w, MIB);
	child = pool_tree_child(w.root, 0);
	other = pool_tree_heap(child);
	a = heap_alloc(&w.heap, 0, 100);
	ck_assert_ptr_nonnull(heap_alloc(&w.heap, 0, 100));
	switch (_i) {
	case 0:
		heap_free(&w.heap, 0, a, 0);
		heap_free(&w.heap, 0, a, 0);
		break;
	case 1:
		heap_free(&other, 0, a, 0);
		break;
	case 2:
		heap_free(&w.heap, 0, a + 16, 0);
		break;
	case 3:
		heap_free(&w.heap, 0, a + 8, 0);
		break;
	case 4:
		heap_free(&w.heap, 0, a, 113);
		break;
	case 5:
		heap_realloc(&w.heap, 0, a, 113, 1);
		break;
	case 6: /* a copy of a header */
		memcpy(a, a - 32, 32);
		heap_free(&w.heap, 0, a + 32, 0);
		break;
	default:
		heap_usable(&other, a);
	}
}
END_TEST

START_TEST(checker_objects)
{
	struct world w;
	struct pool_tree *t, *child, *twin;
	struct tree_piece *piece, *older;
	struct note note = {0, NULL};

	world_open(&w, MIB);
	t = w.root;
	older = (struct tree_piece *)heap_alloc(&w.heap, 0, 100) - 1;
	piece = (struct tree_piece *)heap_alloc(&w.heap, 0, 100) - 1;
	child = pool_tree_child(t, 0);
	twin = pool_tree_child(t, 0);
	ck_assert_int_eq(pool_tree_at_end(t, 0, note_end, &note), MM_OK);
	ck_assert(heap_check(&w.heap));
#define BREAK(lvalue, value)                                                                                           \
	do {                                                                                                           \
		__typeof__(lvalue) was = (lvalue);                                                                     \
		(lvalue) = (value);                                                                                    \
		if (pool_tree_check(t))                                                                                \
			ck_abort_msg("the checker misses: " #lvalue " = " #value);                                     \
		(lvalue) = was;                                                                                        \
		ck_assert(pool_tree_check(t));                                                                         \
	} while (0)
	BREAK(piece->owner, child);
	BREAK(piece->prev, older);
	BREAK(older->prev, NULL);
	BREAK(older->next, piece);
	BREAK(piece->next, NULL);
	BREAK(t->asked, 0);
	BREAK(t->asked_max, 0);
	BREAK(t->given, 0);
	BREAK(t->count, 1);
	BREAK(t->count, 3);
	BREAK(child->parent, twin);
	BREAK(child->below.self, NULL);
	BREAK(child->count, 1);
	BREAK(twin->as_child.self, child);
	piece->asked = 0;
	ck_assert(!pool_tree_check(t));
	piece->asked = 113;
	ck_assert(!pool_tree_check(t));
	piece->asked = 100;
	world_close(&w);
}
END_TEST

Suite *pool_tree_suite(void);

Suite *pool_tree_suite(void)
{
	Suite *suite = suite_create("pool_tree");
	TCase *tcase = tcase_create("all"), *panics = tcase_create("panics");

	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, conforms_to_heap);
	tcase_add_test(tcase, conforms_as_child);
	tcase_add_test(tcase, youngest_first);
	tcase_add_test(tcase, ends_in_the_middle);
	tcase_add_test(tcase, ends_make_ends);
	tcase_add_test(tcase, deep);
	tcase_add_test(tcase, random_operations);
	tcase_add_test(tcase, refusals_change_nothing);
	tcase_add_test(tcase, checker_objects);
	tcase_add_loop_test_raise_signal(panics, wrong_calls, SIGABRT, 0, 8);
	suite_add_tcase(suite, tcase);
	suite_add_tcase(suite, panics);
	return suite;
}
