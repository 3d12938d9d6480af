/* tests/unit/test_extent.c: mm/extent against a model that remembers an owner
 * for every unit. What it does not see: time (a million extents is the bench's). */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mm/extent_impl.h"
#include "tests/unit/random.h"

#define UNITS_MAX 192u

/* ---- the model: one owner a unit, 0 is free ---- */

struct model {
	uint64_t base, units, cursor;
	uint32_t segments_max;
	unsigned owner[UNITS_MAX], last_owner;
	uint64_t free_min, extents_max;
};

struct world {
	struct model m;
	struct extent_space *e;
	void *meta, *before;
	size_t bytes;
};

static uint64_t segment_end(const struct model *m, uint64_t at)
{
	uint64_t end = at + 1;

	while (end < m->units && m->owner[end] == m->owner[at])
		end++;
	return end;
}

static struct extent_stats model_stats(const struct model *m)
{
	struct extent_stats s = {.units_total = m->units, .units_free_min = m->free_min, .extents_max = m->extents_max};

	for (uint64_t at = 0, end; at < m->units; at = end) {
		end = segment_end(m, at);
		s.extents += m->owner[at] != 0;
		s.holes += m->owner[at] == 0;
		if (m->owner[at] != 0)
			continue;
		s.units_free += end - at;
		if (end - at > s.largest_hole)
			s.largest_hole = end - at;
	}
	return s;
}

/* The lowest place in [from, end), aligned; false iff there is none. */
static bool model_fits(const struct model *m, uint64_t from, uint64_t end, const struct extent_request *ask,
		       uint64_t *at)
{
	for (*at = from; *at + ask->units <= end; ++*at)
		if (ask->align == 0 || (m->base + *at) % ask->align == 0)
			return true;
	return false;
}

static bool model_place(const struct model *m, const struct extent_request *ask, uint64_t *place)
{
	uint64_t best = 0;
	bool found = false;

	if (ask->policy == EXTENT_NEXT_FIT) {
		for (uint64_t at = m->cursor; at < m->units; at++)
			if (m->owner[at] == 0 && model_fits(m, at, segment_end(m, at), ask, place))
				return true;
	}
	for (uint64_t at = 0, end, candidate; at < m->units; at = end) {
		uint64_t length = (end = segment_end(m, at)) - at;

		if (m->owner[at] != 0 || !model_fits(m, at, end, ask, &candidate))
			continue;
		if (found && ask->policy != EXTENT_BEST_FIT && ask->policy != EXTENT_WORST_FIT)
			continue;
		if (found && (ask->policy == EXTENT_BEST_FIT ? length >= best : length <= best))
			continue;
		found = true;
		best = length;
		*place = candidate;
	}
	return found;
}

/* Gives [first, first + units) this owner, unless that makes too many segments. */
static enum mm_err model_paint(struct model *m, uint64_t first, uint64_t units, unsigned owner)
{
	struct model trial = *m;
	struct extent_stats s;

	/* What is left of a cut extent above the run is an extent of its own. */
	if (owner == 0) {
		unsigned was = trial.owner[first];

		trial.last_owner++;
		for (uint64_t i = first + units; i < trial.units && trial.owner[i] == was; i++)
			trial.owner[i] = trial.last_owner;
	}
	for (uint64_t i = first; i < first + units; i++)
		trial.owner[i] = owner;
	s = model_stats(&trial);
	if (s.holes + s.extents > m->segments_max)
		return MM_ENOMEM;
	if (s.units_free < trial.free_min)
		trial.free_min = s.units_free;
	if (s.extents > trial.extents_max)
		trial.extents_max = s.extents;
	*m = trial;
	return MM_OK;
}

static enum mm_err model_alloc(struct model *m, const struct extent_request *ask, struct extent *out)
{
	uint64_t at;
	enum mm_err err;

	if (!model_place(m, ask, &at))
		return MM_ENOMEM;
	err = model_paint(m, at, ask->units, ++m->last_owner);
	if (err != MM_OK)
		return err;
	m->cursor = at + ask->units;
	*out = (struct extent){m->base + at, ask->units};
	return MM_OK;
}

static bool model_inside(const struct model *m, struct extent run)
{
	for (uint64_t i = 0; i < m->units; i++)
		if (m->base + i == run.first)
			return run.units > 0 && run.units <= m->units - i;
	return false;
}

static enum mm_err model_alloc_at(struct model *m, struct extent run)
{
	if (!model_inside(m, run))
		return MM_EINVAL;
	for (uint64_t i = 0; i < run.units; i++)
		if (m->owner[run.first - m->base + i] != 0)
			return MM_EEXIST;
	return model_paint(m, run.first - m->base, run.units, ++m->last_owner);
}

static enum mm_err model_free(struct model *m, struct extent run)
{
	uint64_t first = run.first - m->base;

	if (!model_inside(m, run))
		return MM_EINVAL;
	for (uint64_t i = 0; i < run.units; i++)
		if (m->owner[first + i] == 0 || m->owner[first + i] != m->owner[first])
			return MM_ESTATE;
	return model_paint(m, first, run.units, 0);
}

/* ---- both side by side ---- */

static void world_make(struct world *w, uint64_t base, uint64_t units, uint32_t segments_max)
{
	w->m = (struct model){.base = base, .units = units, .segments_max = segments_max, .free_min = units};
	w->bytes = extent_meta_bytes(segments_max);
	w->meta = aligned_alloc(64, w->bytes);
	w->before = malloc(w->bytes);
	memset(w->meta, 0xa5, w->bytes);
	ck_assert_int_eq(extent_init(w->meta, w->bytes, segments_max, base, units, &w->e), MM_OK);
}

static void world_free(struct world *w)
{
	free(w->meta);
	free(w->before);
}

/* One ck_assert a call: each writes to a pipe, and there are millions of probes. */
static bool same_segments(const struct world *w)
{
	struct extent_segment s;

	for (uint64_t at = 0, end; at < w->m.units; at = end) {
		end = segment_end(&w->m, at);
		for (uint64_t probe = at; probe < end; probe++)
			if (!extent_segment_at(w->e, w->m.base + probe, &s) || s.run.first != w->m.base + at ||
			    s.run.units != end - at || s.taken != (w->m.owner[at] != 0))
				return false;
	}
	return !extent_segment_at(w->e, w->m.base - 1, &s) && !extent_segment_at(w->e, w->m.base + w->m.units, &s);
}

static void world_compare(const struct world *w)
{
	struct extent_stats got = extent_stats_read(w->e), want = model_stats(&w->m);

	ck_assert(extent_check(w->e));
	ck_assert_mem_eq(&got, &want, sizeof(got));
	ck_assert(same_segments(w));
}

enum verb { ALLOC, ALLOC_AT, FREE };
struct deed {
	enum verb verb;
	struct extent_request ask;
	struct extent run;
};

static enum mm_err deed_do(struct extent_space *e, const struct deed *d, struct extent *out)
{
	if (d->verb == ALLOC)
		return extent_alloc(e, &d->ask, out);
	return d->verb == ALLOC_AT ? extent_alloc_at(e, d->run) : extent_free(e, d->run);
}

static enum mm_err deed_model(struct model *m, const struct deed *d, struct extent *out)
{
	if (d->verb == ALLOC)
		return model_alloc(m, &d->ask, out);
	return d->verb == ALLOC_AT ? model_alloc_at(m, d->run) : model_free(m, d->run);
}

/* Does it with each node refused in turn, then for good; on error nothing may have changed. */
static void world_do(struct world *w, const struct deed *d)
{
	const struct extent untouched = {~UINT64_C(0), 77};
	struct extent got, want;
	enum mm_err err;

	memcpy(w->before, w->meta, w->bytes);
	for (uint64_t n = 1;; n++) {
		got = want = untouched;
		extent_fail_after(w->e, n);
		err = deed_do(w->e, d, &got);
		if (w->e->fail_after != 0)
			break;
		ck_assert(err == MM_ENOMEM && memcmp(w->meta, w->before, w->bytes) == 0 &&
			  memcmp(&got, &untouched, sizeof(got)) == 0);
	}
	extent_fail_after(w->e, 0);
	ck_assert_int_eq(err, deed_model(&w->m, d, &want));
	ck_assert_mem_eq(&got, &want, sizeof(got));
	if (err != MM_OK)
		ck_assert_mem_eq(w->meta, w->before, w->bytes);
}

/* Inside the space mostly; sometimes over its edge. */
static struct extent any_run(const struct model *m)
{
	return (struct extent){m->base + below(m->units + 2) - 1, below(12)};
}

/* A live extent, or a part of one when there is any. */
static struct extent live_run(const struct model *m)
{
	uint64_t at = below(m->units), end;

	for (uint64_t i = 0; i < m->units && m->owner[at] == 0; i++)
		at = (at + 1) % m->units;
	end = segment_end(m, at);
	while (at > 0 && m->owner[at - 1] == m->owner[at])
		at--;
	if (below(3) == 0) {
		at += below(end - at);
		end -= below(end - at);
	}
	return (struct extent){m->base + at, end - at};
}

static struct deed any_deed(const struct model *m, unsigned policies, unsigned fill)
{
	struct deed d = {.verb = ALLOC};

	if (below(100) < fill) {
		d.ask.policy = policies < EXTENT_POLICIES ? policies : (enum extent_policy)below(EXTENT_POLICIES);
		d.ask.units = 1 + below(below(4) ? 8 : 40);
		d.ask.align = below(3) ? below(2) : UINT64_C(1) << below(6);
		return d;
	}
	d.verb = below(5) ? FREE : ALLOC_AT;
	d.run = d.verb == FREE && below(8) ? live_run(m) : any_run(m);
	return d;
}

static void random_world(uint64_t base, uint64_t units, uint32_t segments_max, unsigned policies, unsigned deeds)
{
	struct world w;

	world_make(&w, base, units, segments_max);
	for (unsigned i = 0; i < deeds; i++) {
		/* The tide goes out now and then, so that large holes come back. */
		struct deed d = any_deed(&w.m, policies, i / 400 % 3 == 2 ? 25 : 60);

		world_do(&w, &d);
		if (i % 4 == 0)
			world_compare(&w);
	}
	world_compare(&w);
	world_free(&w);
}

/* _i is a policy; EXTENT_POLICIES: all of them mixed. */
START_TEST(random_deeds)
{
	const uint64_t bases[] = {0, 1, 1000003, UINT64_C(1) << 32, -(uint64_t)UNITS_MAX - 5, -(uint64_t)UNITS_MAX};

	seed(3 + (uint64_t)_i);
	for (unsigned i = 0; i < sizeof(bases) / sizeof(*bases); i++) {
		random_world(bases[i], UNITS_MAX, 2 * UNITS_MAX, (unsigned)_i, 6000);
		random_world(bases[i], 50, 100, (unsigned)_i, 3000);
		random_world(bases[i], 1, 3, (unsigned)_i, 50);
		random_world(bases[i], UNITS_MAX, 1 + (uint32_t)below(20), (unsigned)_i, 3000);
	}
}
END_TEST

/* ---- each policy's promise, spelled out once ---- */

static struct extent_space *space(void *meta, size_t bytes, uint64_t base, uint64_t units)
{
	struct extent_space *e;

	ck_assert_int_eq(extent_init(meta, bytes, 64, base, units, &e), MM_OK);
	return e;
}

#define SPACE_BYTES (sizeof(struct extent_space) + 64 * sizeof(struct extent_node))
static _Alignas(64) unsigned char memory[SPACE_BYTES];

/* Holes at 10 (5 long), 20 (3), 30 (9), 45 (3), 60 (9): the rest taken. */
static struct extent_space *comb(void)
{
	const struct extent taken[] = {{0, 10}, {15, 5}, {23, 7}, {39, 6}, {48, 12}, {69, 31}};
	struct extent_space *e = space(memory, sizeof(memory), 0, 100);

	for (unsigned i = 0; i < sizeof(taken) / sizeof(*taken); i++)
		ck_assert_int_eq(extent_alloc_at(e, taken[i]), MM_OK);
	return e;
}

static uint64_t put(struct extent_space *e, enum extent_policy policy, uint64_t units, uint64_t align)
{
	struct extent_request ask = {.units = units, .align = align, .policy = policy};
	struct extent out = {.first = UINT64_MAX};

	if (extent_alloc(e, &ask, &out) == MM_OK)
		ck_assert_uint_eq(out.units, units);
	ck_assert(extent_check(e));
	return out.first;
}

START_TEST(promises)
{
	ck_assert_uint_eq(put(comb(), EXTENT_FIRST_FIT, 3, 0), 10);
	ck_assert_uint_eq(put(comb(), EXTENT_FIRST_FIT, 6, 0), 30);
	ck_assert_uint_eq(put(comb(), EXTENT_FIRST_FIT, 4, 4), 32);
	ck_assert_uint_eq(put(comb(), EXTENT_FIRST_FIT, 10, 0), UINT64_MAX);
	ck_assert_uint_eq(put(comb(), EXTENT_BEST_FIT, 3, 0), 20);
	ck_assert_uint_eq(put(comb(), EXTENT_BEST_FIT, 1, 16), 32);
	ck_assert_uint_eq(put(comb(), EXTENT_BEST_FIT, 4, 0), 10);
	ck_assert_uint_eq(put(comb(), EXTENT_WORST_FIT, 1, 0), 30);
	ck_assert_uint_eq(put(comb(), EXTENT_WORST_FIT, 1, 64), 64);
	ck_assert_uint_eq(put(comb(), EXTENT_WORST_FIT, 2, 4), 32);
	ck_assert_uint_eq(put(comb(), EXTENT_WORST_FIT, 1, 128), UINT64_MAX);
}
END_TEST

START_TEST(next_fit_goes_round)
{
	struct extent_space *e = comb();

	ck_assert_uint_eq(put(e, EXTENT_NEXT_FIT, 3, 0), 10);
	ck_assert_uint_eq(put(e, EXTENT_NEXT_FIT, 3, 0), 20);
	ck_assert_uint_eq(put(e, EXTENT_NEXT_FIT, 2, 0), 30);
	ck_assert_uint_eq(put(e, EXTENT_NEXT_FIT, 2, 0), 32);
	/* the hole around the cursor, at 34, counts from the cursor on */
	ck_assert_int_eq(extent_free(e, (struct extent){30, 2}), MM_OK);
	ck_assert_int_eq(extent_free(e, (struct extent){32, 2}), MM_OK);
	ck_assert_uint_eq(put(e, EXTENT_NEXT_FIT, 6, 0), 60);
	ck_assert_uint_eq(put(e, EXTENT_NEXT_FIT, 7, 0), 30);
	/* other policies move the cursor too */
	ck_assert_uint_eq(put(e, EXTENT_BEST_FIT, 3, 0), 45);
	ck_assert_uint_eq(put(e, EXTENT_NEXT_FIT, 2, 0), 66);
	ck_assert_uint_eq(put(e, EXTENT_NEXT_FIT, 2, 0), 13);
}
END_TEST

START_TEST(live_extents_keep_their_identity)
{
	struct extent_space *e = space(memory, sizeof(memory), 0, 100);
	struct extent_segment s;

	ck_assert_int_eq(extent_alloc_at(e, (struct extent){10, 10}), MM_OK);
	ck_assert_int_eq(extent_alloc_at(e, (struct extent){20, 10}), MM_OK);
	ck_assert_uint_eq(extent_stats_read(e).extents, 2);
	ck_assert_int_eq(extent_free(e, (struct extent){15, 10}), MM_ESTATE);
	ck_assert_int_eq(extent_free(e, (struct extent){10, 20}), MM_ESTATE);
	ck_assert_int_eq(extent_free(e, (struct extent){5, 10}), MM_ESTATE);
	ck_assert_int_eq(extent_free(e, (struct extent){12, 2}), MM_OK);
	ck_assert_uint_eq(extent_stats_read(e).extents, 3);
	ck_assert(extent_segment_at(e, 14, &s));
	ck_assert(s.taken && s.run.first == 14 && s.run.units == 6);
	ck_assert_int_eq(extent_free(e, (struct extent){12, 2}), MM_ESTATE);
	ck_assert(extent_check(e));
}
END_TEST

/* ---- arguments ---- */

START_TEST(arguments_refused)
{
	struct extent_request ask = {.units = 1};
	struct extent_space *e = NULL;
	struct extent out = {7, 7};

	ck_assert_uint_eq(extent_meta_bytes(0), 0);
	ck_assert_uint_eq(extent_meta_bytes(64), SPACE_BYTES);
	ck_assert_uint_gt(extent_meta_bytes(UINT32_MAX), UINT64_C(64) * UINT32_MAX);
	ck_assert_int_eq(extent_init(NULL, SPACE_BYTES, 64, 0, 1, &e), MM_EINVAL);
	ck_assert_int_eq(extent_init(memory + 32, SPACE_BYTES, 8, 0, 1, &e), MM_EINVAL);
	ck_assert_int_eq(extent_init(memory, SPACE_BYTES - 1, 64, 0, 1, &e), MM_EINVAL);
	ck_assert_int_eq(extent_init(memory, SPACE_BYTES, 0, 0, 1, &e), MM_EINVAL);
	ck_assert_int_eq(extent_init(memory, SPACE_BYTES, 64, 0, 0, &e), MM_EINVAL);
	ck_assert_int_eq(extent_init(memory, SPACE_BYTES, 64, 2, UINT64_MAX, &e), MM_EINVAL);
	ck_assert_int_eq(extent_init(memory, SPACE_BYTES, 64, UINT64_MAX, 2, &e), MM_EINVAL);
	ck_assert_ptr_null(e);

	e = space(memory, sizeof(memory), 5, 10);
	ask.units = 0;
	ck_assert_int_eq(extent_alloc(e, &ask, &out), MM_EINVAL);
	ask = (struct extent_request){.units = 1, .align = 3};
	ck_assert_int_eq(extent_alloc(e, &ask, &out), MM_EINVAL);
	ask = (struct extent_request){.units = 1, .policy = (enum extent_policy)EXTENT_POLICIES};
	ck_assert_int_eq(extent_alloc(e, &ask, &out), MM_EINVAL);
	ask = (struct extent_request){.units = 11};
	ck_assert_int_eq(extent_alloc(e, &ask, &out), MM_ENOMEM);
	ck_assert_uint_eq(out.first, 7);
	ck_assert_int_eq(extent_alloc_at(e, (struct extent){4, 2}), MM_EINVAL);
	ck_assert_int_eq(extent_alloc_at(e, (struct extent){14, 2}), MM_EINVAL);
	ck_assert_int_eq(extent_alloc_at(e, (struct extent){6, UINT64_MAX}), MM_EINVAL);
	ck_assert_int_eq(extent_free(e, (struct extent){6, 0}), MM_EINVAL);
	ck_assert_int_eq(extent_free(e, (struct extent){UINT64_MAX, 8}), MM_EINVAL);
	ck_assert_int_eq(extent_free(e, (struct extent){6, 1}), MM_ESTATE);
}
END_TEST

START_TEST(edges_of_64_bits)
{
	struct extent_space *e = space(memory, sizeof(memory), 1, UINT64_MAX); /* ends at 2^64 */
	struct extent_segment s;

	ck_assert_uint_eq(put(e, EXTENT_FIRST_FIT, 1, UINT64_C(1) << 63), UINT64_C(1) << 63);
	ck_assert_uint_eq(put(e, EXTENT_FIRST_FIT, 1, UINT64_C(1) << 63), UINT64_MAX); /* no other multiple */
	ck_assert_int_eq(extent_alloc_at(e, (struct extent){UINT64_MAX, 1}), MM_OK);
	ck_assert_uint_eq(put(e, EXTENT_WORST_FIT, UINT64_C(1) << 62, 0), 1);
	ck_assert_uint_eq(put(e, EXTENT_WORST_FIT, (UINT64_C(1) << 62) - 1, UINT64_C(1) << 62), UINT64_C(3) << 62);
	ck_assert(extent_segment_at(e, UINT64_MAX, &s));
	ck_assert(s.taken && s.run.first == UINT64_MAX && s.run.first + s.run.units == 0);
	ck_assert(!extent_segment_at(e, 0, &s));
	ck_assert_int_eq(extent_free(e, (struct extent){UINT64_MAX, 1}), MM_OK);
	ck_assert(extent_check(e));

	e = space(memory, sizeof(memory), 0, UINT64_MAX);
	ck_assert_uint_eq(put(e, EXTENT_BEST_FIT, UINT64_MAX, 0), 0);
	ck_assert(!extent_segment_at(e, UINT64_MAX, &s));
	ck_assert_uint_eq(extent_stats_read(e).largest_hole, 0);
	ck_assert_int_eq(extent_free(e, (struct extent){1, UINT64_MAX - 2}), MM_OK);
	ck_assert_uint_eq(extent_stats_read(e).extents, 2);
	ck_assert(extent_check(e));

	e = space(memory, sizeof(memory), UINT64_MAX, 1);
	ck_assert_uint_eq(put(e, EXTENT_NEXT_FIT, 1, 2), UINT64_MAX);
	ck_assert_uint_eq(extent_stats_read(e).extents, 0); /* that was a refusal: 2^64 - 1 is odd */
	ck_assert_uint_eq(put(e, EXTENT_NEXT_FIT, 1, 1), UINT64_MAX);
	ck_assert_uint_eq(extent_stats_read(e).extents, 1);
}
END_TEST

/* Trees of many nodes, in the orders that unbalance a tree most. */
START_TEST(deep_trees)
{
	const uint32_t n = 20000;
	size_t bytes = extent_meta_bytes(2 * n + 1);
	void *meta = aligned_alloc(64, bytes);
	struct extent_space *e;
	unsigned bad = 0;

	for (unsigned order = 0; order < 3; order++) {
		ck_assert_int_eq(extent_init(meta, bytes, 2 * n + 1, 0, 4 * n, &e), MM_OK);
		for (uint64_t i = 0; i < n; i++) {
			uint64_t at = order == 0 ? i : order == 1 ? n - 1 - i : i * 7919 % n;

			bad += extent_alloc_at(e, (struct extent){4 * at + 1, 1 + at % 3}) != MM_OK;
		}
		ck_assert(extent_check(e));
		ck_assert_uint_eq(extent_stats_read(e).extents, n);
		for (uint64_t at = 0; at < n; at += 2)
			bad += extent_free(e, (struct extent){4 * at + 1, 1 + at % 3}) != MM_OK;
		ck_assert(extent_check(e));
		for (uint64_t at = 1; at < n; at += 2)
			bad += extent_free(e, (struct extent){4 * at + 1, 1 + at % 3}) != MM_OK;
		ck_assert(extent_check(e));
		ck_assert_uint_eq(extent_stats_read(e).holes, 1);
		ck_assert_uint_eq(extent_stats_read(e).largest_hole, 4 * n);
	}
	ck_assert_uint_eq(bad, 0);
	free(meta);
}
END_TEST

/* ---- the check objects ---- */

/* Flips each bit of a field; extent_check() must object to each. */
static void must_matter(struct extent_space *e, void *field, size_t bytes, const char *name)
{
	unsigned char *byte = field;

	for (size_t bit = 0; bit < 8 * bytes; bit++) {
		byte[bit / 8] ^= (unsigned char)(1u << bit % 8);
		if (extent_check(e))
			ck_abort_msg("bit %zu of %s does not matter", bit, name);
		byte[bit / 8] ^= (unsigned char)(1u << bit % 8);
	}
	ck_assert(extent_check(e));
}
#define MATTERS(e, field) must_matter(e, &(field), sizeof(field), #field)

START_TEST(check_objects)
{
	struct extent_space *e = comb();
	unsigned spares = 0;

	ck_assert_int_eq(extent_free(e, (struct extent){15, 5}), MM_OK);
	ck_assert_int_eq(extent_free(e, (struct extent){39, 6}), MM_OK);
	ck_assert(extent_check(e));
	MATTERS(e, e->units);
	MATTERS(e, e->units_free);
	MATTERS(e, e->holes);
	MATTERS(e, e->extents);
	MATTERS(e, e->root);
	MATTERS(e, e->fresh);
	MATTERS(e, e->spare_head);
	MATTERS(e, e->spares);
	for (uint32_t n = 0; n < e->fresh; n++) {
		struct extent_node *at = &e->nodes[n];

		MATTERS(e, at->units);
		MATTERS(e, at->next);
		if (at->units == 0) {
			spares++;
			continue;
		}
		MATTERS(e, at->first);
		MATTERS(e, at->prev);
		MATTERS(e, at->hole_max);
		MATTERS(e, at->child[EXTENT_BY_ADDRESS]);
		MATTERS(e, at->height[EXTENT_BY_ADDRESS]);
		at->taken = !at->taken;
		ck_assert(!extent_check(e));
		at->taken = !at->taken;
		if (at->taken)
			continue;
		MATTERS(e, at->child[EXTENT_BY_SIZE]);
		MATTERS(e, at->height[EXTENT_BY_SIZE]);
	}
	ck_assert_uint_ge(spares, 2);
	e->cursor = e->units + 1;
	ck_assert(!extent_check(e));
	e->cursor = 0;
	e->units_free_min = e->units_free + 1;
	ck_assert(!extent_check(e));
	e->units_free_min = 0;
	e->extents_max = e->extents - 1;
	ck_assert(!extent_check(e));
}
END_TEST

/* Two holes side by side: everything else about them is right. */
START_TEST(check_objects_to_neighbours)
{
	struct extent_space *e = space(memory, sizeof(memory), 0, 8);
	struct extent_node *left = &e->nodes[0], *right = &e->nodes[1];

	ck_assert_int_eq(extent_alloc_at(e, (struct extent){0, 4}), MM_OK);
	ck_assert(left->taken && !right->taken);
	left->taken = false;
	left->hole_max = 4;
	e->units_free = 8;
	e->holes = 2;
	e->extents = 0;
	left->child[EXTENT_BY_SIZE][0] = EXTENT_NONE;
	left->child[EXTENT_BY_SIZE][1] = 1;
	left->height[EXTENT_BY_SIZE] = 2;
	e->root[EXTENT_BY_SIZE] = 0;
	ck_assert(!extent_check(e));
	left->taken = true; /* the same with a live extent there, put right, is fine */
	e->units_free = 4;
	e->holes = e->extents = 1;
	e->root[EXTENT_BY_SIZE] = 1;
	ck_assert(extent_check(e));
}
END_TEST

/* Indices only: a copy elsewhere is as good. */
START_TEST(position_independent)
{
	static _Alignas(64) unsigned char elsewhere[SPACE_BYTES];
	struct extent_space *e = comb();

	memcpy(elsewhere, e, sizeof(elsewhere));
	memset(memory, 0xee, sizeof(memory));
	e = (struct extent_space *)(void *)elsewhere;
	ck_assert(extent_check(e));
	ck_assert_uint_eq(put(e, EXTENT_BEST_FIT, 3, 0), 20);
}
END_TEST

Suite *extent_suite(void);

Suite *extent_suite(void)
{
	Suite *suite = suite_create("extent");
	TCase *plain = tcase_create("plain"), *random = tcase_create("random");

	tcase_add_test(plain, promises);
	tcase_add_test(plain, next_fit_goes_round);
	tcase_add_test(plain, live_extents_keep_their_identity);
	tcase_add_test(plain, arguments_refused);
	tcase_add_test(plain, edges_of_64_bits);
	tcase_add_test(plain, deep_trees);
	tcase_add_test(plain, check_objects);
	tcase_add_test(plain, check_objects_to_neighbours);
	tcase_add_test(plain, position_independent);
	suite_add_tcase(suite, plain);
	tcase_set_timeout(plain, 30);
	tcase_set_timeout(random, 60);
	tcase_add_loop_test(random, random_deeds, 0, EXTENT_POLICIES + 1);
	suite_add_tcase(suite, random);
	return suite;
}
