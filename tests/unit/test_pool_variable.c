/* tests/unit/test_pool_variable.c: mm/pool_variable: the conformance suite on a lent
 * region, on regions of a source and over a fallback; a million random operations
 * against a model of who has which bytes, with the stated bound beside each; wrong
 * frees; the checker on states broken on purpose; refusals at each point; threads.
 * What it does not see: time. */
#include <signal.h>
#include <stdio.h>

#include "mm/pool_variable_impl.h"
#include "tests/unit/expect.h"
#include "tests/unit/heap_trial.h"
#include "tests/unit/pool_supply.h"
#include "tests/unit/random.h"

#undef fail

#define MIB (UINT64_C(1) << 20)

struct world {
	struct supply supply;
	struct pool_variable_config config;
	struct heap heap;
	struct pool_variable *p;
	void *meta;
};

static void world_init(struct world *w)
{
	size_t bytes = pool_variable_meta_bytes();

	w->meta = lines_take(bytes);
	ck_assert_int_eq(pool_variable_init(w->meta, bytes, &w->config, &w->heap), MM_OK);
	w->p = w->heap.self;
	ck_assert(heap_check(&w->heap));
}

static void world_lent(struct world *w, size_t bytes, unsigned cpus)
{
	memset(w, 0, sizeof(*w));
	supply_open(&w->supply);
	w->config = (struct pool_variable_config){.cpus = cpus, .region = lines_take(bytes), .region_bytes = bytes};
	world_init(w);
}

static void world_grown(struct world *w, uint64_t most, size_t chunk, unsigned cpus)
{
	memset(w, 0, sizeof(*w));
	supply_open(&w->supply);
	w->config = (struct pool_variable_config){
		.cpus = cpus, .bytes_most = most, .chunk_bytes = chunk, .source = supply_source(&w->supply)};
	world_init(w);
}

static void world_close(struct world *w)
{
	ck_assert(heap_check(&w->heap));
	ck_assert_uint_eq(heap_stats_read(&w->heap).allocations, 0);
	if (w->config.source.take)
		pool_variable_trim(&w->heap, 0);
	ck_assert_uint_eq(w->supply.out, 0);
	ck_assert(heap_check(&w->heap));
	free(w->config.region);
	free(w->meta);
}

static struct pool_variable_stats own_stats(const struct world *w)
{
	return pool_variable_stats_read(&w->heap);
}

static void in_bounds(const struct world *w)
{
	struct pool_variable_stats s = own_stats(w);

	ck_assert_uint_le(s.alloc_work_max, POOL_VARIABLE_ALIGNED_WORK);
	ck_assert_uint_le(s.free_work_max, POOL_VARIABLE_FREE_WORK);
	ck_assert_uint_le(s.realloc_work_max, POOL_VARIABLE_REALLOC_WORK);
}

START_TEST(init_refuses)
{
	static _Alignas(64) char region[8192];
	struct supply supply;
	struct pool_variable_config good = {.cpus = 2, .region = region, .region_bytes = sizeof(region)}, bad;
	size_t bytes = pool_variable_meta_bytes();
	char *meta = lines_take(bytes + 64);
	struct heap out;

	supply_open(&supply);
#define REFUSED(meta, bytes, config) ck_assert_int_eq(pool_variable_init(meta, bytes, config, &out), MM_EINVAL)
#define BAD(field, value)                                                                                              \
	do {                                                                                                           \
		bad = good;                                                                                            \
		bad.field = (value);                                                                                   \
		REFUSED(meta, bytes, &bad);                                                                            \
	} while (0)
	REFUSED(NULL, bytes, &good);
	REFUSED(meta + 16, bytes, &good);
	REFUSED(meta, bytes - 1, &good);
	BAD(cpus, 0);
	BAD(region, NULL);
	BAD(region, region + 8);
	BAD(region_bytes, POOL_VARIABLE_REGION_MIN - 1);
	BAD(region_bytes, POOL_VARIABLE_REGION_MAX + 1);
	BAD(bytes_most, sizeof(region) - 1);
	BAD(source.take, supply_take);
	BAD(source.give, supply_give);
	bad = (struct pool_variable_config){.cpus = 1, .source = supply_source(&supply)};
	REFUSED(meta, bytes, &bad); /* a source without a bound */
	bad.region_bytes = 4096;
	REFUSED(meta, bytes, &bad);
	ck_assert_int_eq(pool_variable_init(meta, bytes, &good, &out), MM_OK);
	ck_assert(heap_check(&out));
	ck_assert_uint_eq(heap_stats_read(&out).bytes_total, sizeof(region));
	free(meta);
}
END_TEST

START_TEST(conforms_lent)
{
	struct world w;

	world_lent(&w, 32 * MIB, 1);
	trial_suite((struct heap_conformance){.heap = &w.heap, .seed = 5, .operations = 60000});
	in_bounds(&w);
	ck_assert_uint_eq(own_stats(&w).blocks_free, 1);
	ck_assert_uint_eq(own_stats(&w).largest_free, 32 * MIB - 2 * UNIT);
	world_close(&w);
}
END_TEST

START_TEST(conforms_grown)
{
	struct world w;

	world_grown(&w, 64 * MIB, 64 << 10, 2);
	trial_suite((struct heap_conformance){.heap = &w.heap, .seed = 5, .operations = 60000});
	in_bounds(&w);
	world_close(&w);
}
END_TEST

START_TEST(conforms_over_a_fallback)
{
	struct world w, below;

	world_lent(&below, 24 * MIB, 1);
	memset(&w, 0, sizeof(w));
	supply_open(&w.supply);
	w.config = (struct pool_variable_config){
		.cpus = 1, .region = lines_take(MIB), .region_bytes = MIB, .fallback = &below.heap};
	world_init(&w);
	trial_suite((struct heap_conformance){.heap = &w.heap, .seed = 5, .operations = 60000});
	ck_assert_uint_gt(below.p->asked_max, 0);
	world_close(&w);
	world_close(&below);
}
END_TEST

/* ---- the model: who has which bytes ---- */

#define SLOTS 512u

struct slot {
	unsigned char *at;
	size_t bytes, align;
	unsigned char key;
};

struct model {
	struct world *w;
	struct slot slot[SLOTS];
	uint64_t asked, live;
};

static void slot_fill(struct slot *s)
{
	memset(s->at, s->key, s->bytes < 64 ? s->bytes : 64);
	memset(s->at + s->bytes - 1, s->key, 1);
}

static void slot_compare(const struct slot *s, size_t bytes)
{
	for (size_t i = 0; i < bytes && i < 64; i++)
		EXPECT(s->at[i] == s->key);
	EXPECT(bytes < s->bytes || s->at[s->bytes - 1] == s->key);
}

/* No two live ones overlap: against all others. */
static void slot_apart(const struct model *m, const struct slot *s)
{
	for (const struct slot *o = m->slot; o < m->slot + SLOTS; o++)
		EXPECT(o == s || !o->at || o->at + o->bytes <= s->at || s->at + s->bytes <= o->at);
}

static size_t random_bytes(void)
{
	return 1 + below(UINT64_C(1) << (1 + below(15)));
}

static void model_take(struct model *m, struct slot *s)
{
	s->bytes = random_bytes();
	s->align = below(4) ? HEAP_ALIGN : (size_t)1 << below(13);
	s->at = heap_alloc_aligned(&m->w->heap, 0, s->bytes, s->align);
	if (!s->at)
		return;
	EXPECT((uintptr_t)s->at % s->align == 0);
	m->asked += s->bytes;
	m->live++;
	s->key = (unsigned char)below(256);
	slot_fill(s);
}

static void model_step(struct model *m)
{
	struct slot *s = &m->slot[below(SLOTS)];
	size_t bytes;
	void *moved;

	if (!s->at) {
		model_take(m, s);
		return;
	}
	slot_compare(s, s->bytes);
	if (below(3) > 0) {
		heap_free(&m->w->heap, 0, s->at, below(2) ? s->bytes : 0);
		m->asked -= s->bytes;
		m->live--;
		s->at = NULL;
		return;
	}
	bytes = random_bytes();
	moved = heap_realloc(&m->w->heap, 0, s->at, below(2) ? s->bytes : 0, bytes);
	if (!moved)
		return;
	m->asked += bytes - s->bytes;
	s->at = moved;
	if (bytes < s->bytes)
		s->bytes = bytes;
	slot_compare(s, bytes < s->bytes ? bytes : s->bytes - 1);
	s->bytes = bytes;
	slot_fill(s);
}

static void model_books(const struct model *m)
{
	struct heap_stats s = heap_stats_read(&m->w->heap);

	EXPECT(s.bytes_asked == m->asked && s.allocations == m->live);
	EXPECT(heap_check(&m->w->heap));
}

static void model_run(struct world *w, uint64_t operations)
{
	struct model *m = calloc(1, sizeof(*m));
	struct slot *s;

	m->w = w;
	for (uint64_t i = 1; i <= operations; i++) {
		model_step(m);
		s = &m->slot[below(SLOTS)];
		if (i % 64 == 0 && s->at)
			slot_apart(m, s);
		if (i % 1024 == 0)
			model_books(m);
	}
	for (s = m->slot; s < m->slot + SLOTS; s++)
		if (s->at)
			heap_free(&w->heap, 0, s->at, s->bytes);
	free(m);
}

START_TEST(random_lent)
{
	struct world w;

	seed(1);
	world_lent(&w, 400 << 10, 1); /* now and then too little */
	model_run(&w, 700000);
	in_bounds(&w);
	ck_assert_uint_eq(own_stats(&w).free_work_max, POOL_VARIABLE_FREE_WORK);
	ck_assert_uint_eq(own_stats(&w).alloc_work_max, POOL_VARIABLE_ALIGNED_WORK);
	ck_assert_uint_gt(own_stats(&w).refused, 0);
	ck_assert_uint_eq(own_stats(&w).blocks_free, 1);
	world_close(&w);
}
END_TEST

START_TEST(random_grown)
{
	struct world w;

	seed(2);
	world_grown(&w, 3 * MIB, 8192, 2);
	w.supply.out_max = 2 * MIB;
	model_run(&w, 300000);
	in_bounds(&w);
	ck_assert_uint_gt(own_stats(&w).regions, 4);
	ck_assert_uint_eq(own_stats(&w).blocks_free, own_stats(&w).regions);
	world_close(&w);
}
END_TEST

/* ---- cases ---- */

/* One by one, as the lists are said to work. */
START_TEST(lists)
{
	struct world w;
	void *a[40], *b;

	world_lent(&w, MIB, 1);
	for (unsigned i = 0; i < 40; i++)
		a[i] = heap_alloc(&w.heap, 0, 1000 + i);
	for (unsigned i = 0; i < 40; i += 2)
		heap_free(&w.heap, 0, a[i], 0);
	ck_assert_uint_eq(own_stats(&w).blocks_free, 21);
	b = heap_alloc(&w.heap, 0, 1000);
	ck_assert_uint_eq(own_stats(&w).blocks_free, 20); /* one of them */
	heap_free(&w.heap, 0, b, 1000);
	for (unsigned i = 1; i < 40; i += 2)
		heap_free(&w.heap, 0, a[i], 0);
	ck_assert_uint_eq(own_stats(&w).blocks_free, 1);
	ck_assert_uint_eq(own_stats(&w).alloc_work_max, 2);
	ck_assert_uint_eq(own_stats(&w).free_work_max, 3);
	world_close(&w);
}
END_TEST

/* A request finds a block just long enough only among the first LOOK of its list. */
START_TEST(looks_at_some)
{
	struct world w;
	void *long_one, *short_one[LOOK], *guard[LOOK + 1], *rest[4096], *again;
	unsigned n = 0;

	world_lent(&w, MIB, 1);
	long_one = heap_alloc(&w.heap, 0, 643 * UNIT);
	guard[LOOK] = heap_alloc(&w.heap, 0, 1);
	for (unsigned i = 0; i < LOOK; i++) {
		short_one[i] = heap_alloc(&w.heap, 0, 640 * UNIT);
		guard[i] = heap_alloc(&w.heap, 0, 1);
	}
	for (size_t bytes = MIB / 2; bytes >= UNIT; bytes /= 2)
		while ((rest[n] = heap_alloc(&w.heap, 0, bytes)))
			n++;
	ck_assert_uint_eq(own_stats(&w).blocks_free, 0);
	ck_assert_uint_eq(own_stats(&w).largest_free, 0);
	heap_free(&w.heap, 0, long_one, 0);
	for (unsigned i = 0; i < LOOK - 1; i++)
		heap_free(&w.heap, 0, short_one[i], 0);
	again = heap_alloc(&w.heap, 0, 642 * UNIT); /* the fourth */
	ck_assert_ptr_eq(again, long_one);
	heap_free(&w.heap, 0, again, 0);
	again = heap_alloc(&w.heap, 0, 642 * UNIT); /* the first */
	ck_assert_ptr_eq(again, long_one);
	for (unsigned i = 0; i < LOOK - 1; i++)
		short_one[i] = heap_alloc(&w.heap, 0, 640 * UNIT);
	heap_free(&w.heap, 0, again, 0);
	for (unsigned i = 0; i < LOOK; i++)
		heap_free(&w.heap, 0, short_one[i], 0);
	again = heap_alloc(&w.heap, 0, 642 * UNIT); /* not found behind four */
	ck_assert_ptr_null(again);
	ck_assert_uint_eq(own_stats(&w).largest_free, 643 * UNIT);
	for (unsigned i = 0; i <= LOOK; i++)
		heap_free(&w.heap, 0, guard[i], 1);
	while (n > 0)
		heap_free(&w.heap, 0, rest[--n], 0);
	world_close(&w);
}
END_TEST

START_TEST(resizes_in_place)
{
	struct world w;
	void *a, *b;

	world_lent(&w, MIB, 1);
	a = heap_alloc(&w.heap, 0, 1000);
	ck_assert_ptr_eq(heap_realloc(&w.heap, 0, a, 1000, 50000), a);
	ck_assert_ptr_eq(heap_realloc(&w.heap, 0, a, 50000, 10), a);
	ck_assert_uint_eq(heap_usable(&w.heap, a), 16);
	b = heap_alloc(&w.heap, 0, 10);
	ck_assert_ptr_eq(b, (char *)a + 32);
	ck_assert_ptr_ne(heap_realloc(&w.heap, 0, a, 10, 17), a); /* freed, moved */
	ck_assert_ptr_eq(heap_alloc(&w.heap, 0, 1), a);
	ck_assert_uint_eq(own_stats(&w).realloc_work_max, 3); /* 2 to take, and 1 to leave: b and nothing around */
	heap_free(&w.heap, 0, a, 1);
	heap_free(&w.heap, 0, b, 10);
	heap_free(&w.heap, 0, (char *)a + 64, 17);
	world_close(&w);
}
END_TEST

START_TEST(source_refuses)
{
	struct world w;
	void *a, *b;

	world_grown(&w, 4 * MIB, MIB, 2);
	w.supply.refuse_at = 1; /* then no more than is needed */
	a = heap_alloc(&w.heap, 0, 20000);
	ck_assert_ptr_nonnull(a);
	ck_assert_uint_lt(w.supply.out, 30000);
	w.supply.out_max = w.supply.out;
	ck_assert_ptr_null(heap_alloc(&w.heap, 0, 20000));
	ck_assert_uint_eq(heap_stats_read(&w.heap).bytes_held, w.supply.out);
	ck_assert(heap_check(&w.heap));
	w.supply.out_max = UINT64_MAX;
	ck_assert_ptr_null(heap_alloc(&w.heap, 0, 5 * MIB)); /* the bound */
	ck_assert_ptr_null(heap_alloc(&w.heap, 0, POOL_VARIABLE_REGION_MAX));
	ck_assert_ptr_null(heap_alloc_aligned(&w.heap, 0, 1, POOL_VARIABLE_REGION_MAX));
	b = heap_alloc(&w.heap, 0, 2 * MIB);
	ck_assert_ptr_nonnull(b);
	ck_assert_uint_eq(pool_variable_trim(&w.heap, 0), 0);
	heap_free(&w.heap, 0, b, 0);
	ck_assert_uint_gt(pool_variable_trim(&w.heap, 0), 2 * MIB);
	ck_assert_uint_eq(own_stats(&w).regions, 1);
	heap_free(&w.heap, 0, a, 0);
	world_close(&w);
}
END_TEST

/* No more regions than there is room to write them down. */
START_TEST(regions_end)
{
	struct world w;
	void *a[64];
	unsigned n = 0;

	world_grown(&w, 4 * MIB, 4096, 1);
	w.p->chunk_bytes = 0; /* so that the bound is not what ends it */
	w.p->bytes_most = UINT64_MAX;
	for (w.supply.out_max = 0; n < 64; n++) {
		w.supply.out_max += 4096;
		a[n] = heap_alloc(&w.heap, 0, 4096 - 2 * UNIT);
		if (!a[n])
			break;
	}
	ck_assert_uint_eq(n, POOL_VARIABLE_REGIONS);
	ck_assert(heap_check(&w.heap));
	while (n > 0)
		heap_free(&w.heap, 0, a[--n], 0);
	world_close(&w);
}
END_TEST

/* A fault, or a source that refuses, at each call in turn: all bytes of the state are as they were. */
START_TEST(refusals_change_nothing)
{
	struct world w;
	static struct pool_variable before;
	void *a;

	world_grown(&w, MIB, 4096, 1);
	a = heap_alloc(&w.heap, 0, 100);
	for (unsigned i = 0; i < 3; i++) {
		heap_fail_after(&w.heap, 1);
		w.p->fail_after = 0; /* as after the refusal */
		before = *w.p;
		w.p->fail_after = 1;
		if (i == 0)
			ck_assert_ptr_null(heap_alloc(&w.heap, 0, 10));
		else if (i == 1)
			ck_assert_ptr_null(heap_realloc(&w.heap, 0, a, 100, 1000));
		else
			ck_assert_ptr_null(heap_alloc_zeroed(&w.heap, 0, 10, 10));
		ck_assert_mem_eq(&before, w.p, sizeof(before));
	}
	w.supply.out_max = w.supply.out;
	before = *w.p;
	before.refused += 2;
	ck_assert_ptr_null(heap_alloc(&w.heap, 0, 100000));
	ck_assert_ptr_null(heap_realloc(&w.heap, 0, a, 100, 100000));
	ck_assert_mem_eq(&before, w.p, sizeof(before));
	heap_free(&w.heap, 0, a, 100);
	world_close(&w);
}
END_TEST

/* ---- a fallback ---- */

START_TEST(fallback)
{
	struct world w, under;
	void *a, *b, *c, *d;

	world_lent(&under, MIB, 1);
	memset(&w, 0, sizeof(w));
	supply_open(&w.supply);
	w.config = (struct pool_variable_config){
		.cpus = 1, .region = lines_take(4096), .region_bytes = 4096, .fallback = &under.heap};
	world_init(&w);
	a = heap_alloc(&w.heap, 0, 3000);
	b = heap_alloc(&w.heap, 0, 3000);
	ck_assert_uint_eq(heap_stats_read(&under.heap).allocations, 1);
	ck_assert_uint_eq(heap_stats_read(&w.heap).allocations, 2);
	ck_assert_uint_ge(heap_usable(&w.heap, b), 3000);
	b = heap_realloc(&w.heap, 0, b, 3000, 2000); /* there */
	ck_assert_uint_eq(heap_stats_read(&under.heap).allocations, 1);
	c = heap_alloc(&w.heap, 0, 1);
	d = heap_realloc(&w.heap, 0, c, 1, 2000); /* from here to there */
	ck_assert_uint_eq(heap_stats_read(&under.heap).allocations, 2);
	heap_free(&w.heap, 0, a, 3000);
	memset(b, 7, 2000);
	b = heap_realloc(&w.heap, 0, b, 2000, 3500); /* and back */
	ck_assert_int_eq(((char *)b)[1999], 7);
	ck_assert_uint_eq(heap_stats_read(&under.heap).allocations, 1);
	ck_assert_ptr_null(heap_alloc(&w.heap, 0, 2 * MIB));
	heap_free(&w.heap, 0, b, 3500);
	heap_free(&w.heap, 0, d, 2000);
	under.p->asked++;
	ck_assert(!heap_check(&w.heap));
	under.p->asked--;
	world_close(&w);
	world_close(&under);
}
END_TEST

/* ---- wrong frees ---- */

START_TEST(wrong_calls)
{
	static char elsewhere[256];
	struct world w;
	unsigned char *a, *b;

	freopen("/dev/null", "w", stderr);
	world_lent(&w, 4096, 1);
	a = trial_take(&w.heap, 100);
	b = trial_take(&w.heap, 100);
	trial_take(&w.heap, 100); /* what is freed does not merge with the rest */
	switch (_i) {
	case TRIAL_WRONGS:
		heap_free(&w.heap, 0, elsewhere + 16, 0);
		break;
	case TRIAL_WRONGS + 1:
		heap_free(&w.heap, 1, a, 100);
		break;
	case TRIAL_WRONGS + 2:
		heap_usable(&w.heap, elsewhere + 16);
		break;
	case TRIAL_WRONGS + 3: /* the end of the region */
		heap_free(&w.heap, 0, (char *)w.config.region + 4096, 0);
		break;
	case TRIAL_WRONGS + 4:
		heap_alloc(&w.heap, 1, 1);
		break;
	case TRIAL_WRONGS + 5:
		heap_realloc(&w.heap, 1, a, 100, 10);
		break;
	case TRIAL_WRONGS + 6:
		pool_variable_trim(&w.heap, 1);
		break;
	default:
		trial_wrong(&w.heap, _i, a, b, 100);
	}
}
END_TEST

/* ---- the checker ---- */

struct broken {
	struct world w;
	void *a, *b, *c, *d;
};

static void broken_open(struct broken *x)
{
	world_lent(&x->w, 65536, 1);
	x->a = heap_alloc(&x->w.heap, 0, 1000);
	x->b = heap_alloc(&x->w.heap, 0, 1000);
	x->c = heap_alloc(&x->w.heap, 0, 1000);
	x->d = heap_alloc(&x->w.heap, 0, 100);
	heap_free(&x->w.heap, 0, x->b, 0);
	ck_assert(heap_check(&x->w.heap));
}

static void objects_to(struct broken *x, const char *what)
{
	if (heap_check(&x->w.heap))
		ck_abort_msg("the checker misses: %s", what);
}

START_TEST(checker_objects)
{
	struct broken x;
	struct pool_block *a, *b, *c;
	struct pool_variable *p;

	broken_open(&x);
	p = x.w.p;
	a = (struct pool_block *)((char *)x.a - UNIT);
	b = (struct pool_block *)((char *)x.b - UNIT);
	c = (struct pool_block *)((char *)x.c - UNIT);
#define BREAK(lvalue, value)                                                                                           \
	do {                                                                                                           \
		__typeof__(lvalue) was = (lvalue);                                                                     \
		(lvalue) = (value);                                                                                    \
		objects_to(&x, #lvalue " = " #value);                                                                  \
		(lvalue) = was;                                                                                        \
		ck_assert(heap_check(&x.w.heap));                                                                      \
	} while (0)
	BREAK(a->seal, 0);
	BREAK(b->seal, 0);
	BREAK(b->seal, a->seal);
	BREAK(c->before, 1);
	BREAK(c->before, 0);
	BREAK(a->before, 1);
	BREAK(a->units, 0);
	BREAK(a->units, 3);
	BREAK(a->units, UINT32_MAX);
	BREAK(a->slack, 32);
	BREAK(a->slack, a->slack + 1);
	BREAK(a->slack, UINT32_MAX);
	BREAK(b->prev, c);
	BREAK(b->next, b);
	BREAK(b->next, a);
	BREAK(b->next, (struct pool_block *)(void *)&x);
	BREAK(p->first_map, 0);
	BREAK(p->first_map, p->first_map | 1u << 27);
	BREAK(p->second_map[1], p->second_map[1] | 1);
	BREAK(p->second_map[0], 1);
	BREAK(p->second_map[1], 0);
	BREAK(p->list[3][3], b);
	BREAK(p->list[2][0], b);
	BREAK(p->asked, p->asked + 1);
	BREAK(p->asked_max, 0);
	BREAK(p->given, 0);
	BREAK(p->count, 2);
	BREAK(p->blocks_free, p->blocks_free + 1);
	BREAK(p->blocks_free, p->blocks_free - 1);
	BREAK(p->units_free, 0);
	BREAK(p->held, p->held + UNIT);
	BREAK(p->bytes_most, p->held - 1);
	BREAK(p->coming, 1);
	BREAK(p->region[0].bytes, p->region[0].bytes - UNIT);
	p->region[1] = p->region[0];
	BREAK(p->regions, 2);
	p->region[1].base += UNIT;
	BREAK(p->regions, 2);
	p->region[1].base -= 2 * UNIT;
	BREAK(p->regions, 2);
	/* Two free neighbours, and all sums right. */
	p->asked -= 1000;
	p->given -= (size_t)c->units * UNIT;
	p->count--;
	p->blocks_free++;
	p->units_free += c->units;
	c->seal = ((uint32_t)((uintptr_t)c >> 4) * 0x9e3779b1u) ^ 0xae584ef3u;
	c->next = b;
	c->prev = NULL;
	b->prev = c;
	p->list[1][31] = c;
	objects_to(&x, "two free neighbours");
	free(x.w.config.region);
	free(x.w.meta);
}
END_TEST

/* ---- threads ---- */

START_TEST(threads)
{
	struct world w;

	world_grown(&w, 256 << 10, 8192, 2);
	trial_threads(&w.heap, pool_variable_trim);
	in_bounds(&w);
	world_close(&w);
}
END_TEST

static void *take_small(void *self)
{
	void *memory = heap_alloc(self, 0, 100);

	return memory;
}

/* While one CPU waits for its region, the bound is reached for the other, which waits, too. */
START_TEST(waits_for_what_comes)
{
	static struct slow_supply slow;
	struct pool_variable_config config = {
		.cpus = 2, .bytes_most = 8192, .chunk_bytes = 8192, .source = {&slow, slow_supply_take, supply_give}};
	size_t bytes = pool_variable_meta_bytes();
	void *meta = lines_take(bytes), *a, *b;
	pthread_t thread;
	struct heap heap;

	supply_open(&slow.supply);
	ck_assert_int_eq(pool_variable_init(meta, bytes, &config, &heap), MM_OK);
	pthread_create(&thread, NULL, take_small, &heap);
	slow_supply_meet(&slow);
	b = heap_alloc(&heap, 1, 100);
	pthread_join(thread, &a);
	ck_assert_ptr_nonnull(a);
	ck_assert_ptr_nonnull(b);
	ck_assert_uint_eq(slow.supply.asked, 1);
	heap_free(&heap, 0, a, 0);
	heap_free(&heap, 0, b, 0);
	ck_assert_uint_eq(pool_variable_trim(&heap, 0), 8192);
	free(meta);
}
END_TEST

Suite *pool_variable_suite(void);

Suite *pool_variable_suite(void)
{
	Suite *suite = suite_create("pool_variable");
	TCase *tcase = tcase_create("all"), *panics = tcase_create("panics");

	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, init_refuses);
	tcase_add_test(tcase, conforms_lent);
	tcase_add_test(tcase, conforms_grown);
	tcase_add_test(tcase, conforms_over_a_fallback);
	tcase_add_test(tcase, random_lent);
	tcase_add_test(tcase, random_grown);
	tcase_add_test(tcase, lists);
	tcase_add_test(tcase, looks_at_some);
	tcase_add_test(tcase, resizes_in_place);
	tcase_add_test(tcase, source_refuses);
	tcase_add_test(tcase, regions_end);
	tcase_add_test(tcase, refusals_change_nothing);
	tcase_add_test(tcase, fallback);
	tcase_add_test(tcase, checker_objects);
	tcase_add_test(tcase, threads);
	tcase_add_test(tcase, waits_for_what_comes);
	tcase_add_loop_test_raise_signal(panics, wrong_calls, SIGABRT, 0, TRIAL_WRONGS + 7);
	suite_add_tcase(suite, tcase);
	suite_add_tcase(suite, panics);
	return suite;
}
