/* tests/unit/test_buddy.c: mm/buddy against a model that remembers an owner for
 * every unit. A unit is 2^shift frames, so that all 25 orders get their turn with
 * few units. What it does not see: time (the bench's). */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mm/buddy_impl.h"
#include "tests/unit/random.h"

/* ---- the model: who has each unit ---- */

#define ABSENT 0u
#define FREE   1u /* and every live run has a number of its own */

struct model {
	unsigned shift;
	uint64_t units;
	uint32_t *owner;
	uint8_t *order; /* at the first unit of a live run: its order, in units */
	uint32_t last_owner;
	uint64_t total, free, free_min;
};

struct world {
	struct model m;
	struct buddy *b;
	void *meta, *before;
	size_t bytes;
};

static bool all_are(const struct model *m, uint64_t at, uint64_t units, uint32_t owner)
{
	for (uint64_t i = at; i < at + units; i++)
		if (i >= m->units || m->owner[i] != owner)
			return false;
	return true;
}

/* The largest free run that starts here, in units; -1: none. */
static int free_order(const struct model *m, uint64_t at)
{
	unsigned order = 0;

	if (!all_are(m, at, 1, FREE))
		return -1;
	while (order < BUDDY_ORDER_MAX - m->shift && at % (UINT64_C(2) << order) == 0 &&
	       all_are(m, at + (UINT64_C(1) << order), UINT64_C(1) << order, FREE))
		order++;
	return (int)order;
}

static struct buddy_stats model_stats(const struct model *m)
{
	struct buddy_stats s = {
		.frames_total = m->total << m->shift,
		.frames_free = m->free << m->shift,
		.frames_free_min = m->free_min << m->shift,
	};

	for (uint64_t at = 0; at < m->units;) {
		int order = free_order(m, at);

		if (order >= 0)
			s.runs_free[(unsigned)order + m->shift]++;
		at += order < 0 ? 1 : UINT64_C(1) << order;
	}
	return s;
}

static void model_take(struct model *m, uint64_t at, unsigned order)
{
	m->last_owner++;
	m->order[at] = (uint8_t)order;
	for (uint64_t i = 0; i < UINT64_C(1) << order; i++)
		m->owner[at + i] = m->last_owner;
	m->free -= UINT64_C(1) << order;
	if (m->free < m->free_min)
		m->free_min = m->free;
}

static enum mm_err model_alloc(struct model *m, unsigned order, uint64_t *out)
{
	int best = -1;
	uint64_t place = 0;

	for (uint64_t at = 0; at < m->units;) {
		int here = free_order(m, at);

		if (here >= (int)order && (best < 0 || here < best)) {
			best = here;
			place = at;
		}
		at += here < 0 ? 1 : UINT64_C(1) << here;
	}
	if (best < 0)
		return MM_ENOMEM;
	model_take(m, place, order);
	*out = place << m->shift;
	return MM_OK;
}

/* ---- both side by side ---- */

#define COMPARED_BYTES 65536u /* metadata up to this size is compared after each refusal */

static void world_make(struct world *w, unsigned shift, uint64_t units, uint64_t frames_more)
{
	uint64_t frames = (units << shift) + frames_more;

	w->m = (struct model){.shift = shift, .units = units, .last_owner = FREE};
	w->m.owner = calloc(units, sizeof(*w->m.owner));
	w->m.order = calloc(units, sizeof(*w->m.order));
	w->bytes = buddy_meta_bytes(frames);
	ck_assert_uint_ne(w->bytes, 0);
	w->meta = aligned_alloc(64, w->bytes);
	w->before = malloc(w->bytes);
	memset(w->meta, 0xa5, w->bytes);
	ck_assert_int_eq(buddy_init(w->meta, w->bytes, frames, &w->b), MM_OK);
}

static void world_free(struct world *w)
{
	free(w->m.owner);
	free(w->m.order);
	free(w->meta);
	free(w->before);
}

static void world_compare(const struct world *w)
{
	struct buddy_stats got = buddy_stats_read(w->b), want = model_stats(&w->m);

	ck_assert(buddy_check(w->b) && memcmp(&got, &want, sizeof(got)) == 0);
}

static void remember(struct world *w)
{
	if (w->bytes <= COMPARED_BYTES)
		memcpy(w->before, w->meta, w->bytes);
}

static bool unchanged(const struct world *w)
{
	return w->bytes > COMPARED_BYTES || memcmp(w->before, w->meta, w->bytes) == 0;
}

/* One ck_assert a deed: each writes to a pipe. */
static void donate(struct world *w, uint64_t at, uint64_t units)
{
	struct model *m = &w->m;
	enum mm_err err, want = MM_OK;

	remember(w);
	err = buddy_donate(w->b, (struct pfn){at << m->shift}, units << m->shift);
	if (units == 0 || at >= m->units || units > m->units - at)
		want = MM_EINVAL;
	else if (!all_are(m, at, units, ABSENT))
		want = MM_EEXIST;
	ck_assert(err == want && (err == MM_OK || unchanged(w)));
	if (err != MM_OK)
		return;
	for (uint64_t i = at; i < at + units; i++)
		m->owner[i] = FREE;
	m->total += units;
	m->free += units;
	m->free_min += units;
}

static void alloc(struct world *w, unsigned order)
{
	struct pfn got = {77};
	uint64_t want = 77;
	enum mm_err err;

	remember(w);
	buddy_fail_after(w->b, 1);
	err = buddy_alloc(w->b, order + w->m.shift, &got);
	ck_assert(err == MM_ENOMEM && got.n == 77 && unchanged(w));
	err = buddy_alloc(w->b, order + w->m.shift, &got);
	ck_assert(err == model_alloc(&w->m, order, &want) && got.n == want && (err == MM_OK || unchanged(w)));
}

static bool in_place(const struct model *m, uint64_t at, unsigned order)
{
	uint64_t units = UINT64_C(1) << order;

	return order <= BUDDY_ORDER_MAX - m->shift && at % units == 0 && at < m->units && units <= m->units - at;
}

static void alloc_at(struct world *w, uint64_t at, unsigned order)
{
	struct pfn first = {at << w->m.shift};
	bool valid = in_place(&w->m, at, order);
	enum mm_err err, want = !valid ? MM_EINVAL : all_are(&w->m, at, UINT64_C(1) << order, FREE) ? MM_OK : MM_EEXIST;

	remember(w);
	if (valid) {
		buddy_fail_after(w->b, 1);
		err = buddy_alloc_at(w->b, first, order + w->m.shift);
		ck_assert(err == MM_ENOMEM && unchanged(w));
	}
	err = buddy_alloc_at(w->b, first, order + w->m.shift);
	ck_assert(err == want && (err == MM_OK || unchanged(w)));
	if (err == MM_OK)
		model_take(&w->m, at, order);
}

static bool is_first(const struct model *m, uint64_t at)
{
	return m->owner[at] > FREE && (at == 0 || m->owner[at - 1] != m->owner[at]);
}

/* Of every unit, the live run that starts there, and what is said of its other frames. */
static bool orders_agree(const struct world *w)
{
	const struct model *m = &w->m;

	for (uint64_t at = 0; at < m->units; at++) {
		bool starts = is_first(m, at);
		unsigned order = 99;

		if (buddy_order(w->b, (struct pfn){at << m->shift}, &order) != (starts ? MM_OK : MM_ENOENT) ||
		    order != (starts ? m->order[at] + m->shift : 99))
			return false;
		if (m->shift > 0 && buddy_order(w->b, (struct pfn){(at << m->shift) + 1}, &order) != MM_ENOENT)
			return false;
	}
	return true;
}

static void give_back(struct world *w, uint64_t at, unsigned order)
{
	struct model *m = &w->m;
	enum mm_err err, want = MM_OK;

	if (!in_place(m, at, order))
		want = MM_EINVAL;
	else if (!is_first(m, at) || m->order[at] != order)
		want = MM_ESTATE;
	remember(w);
	err = buddy_free(w->b, (struct pfn){at << m->shift}, order + m->shift);
	ck_assert(err == want && (err == MM_OK || unchanged(w)));
	if (err != MM_OK)
		return;
	for (uint64_t i = 0; i < UINT64_C(1) << order; i++)
		m->owner[at + i] = FREE;
	m->free += UINT64_C(1) << order;
}

/* The first unit of a live run, if there is one. */
static uint64_t any_live(const struct model *m)
{
	uint64_t at = below(m->units);

	for (uint64_t i = 0; i < m->units && m->owner[at] <= FREE; i++)
		at = (at + 1) % m->units;
	while (at > 0 && !is_first(m, at) && m->owner[at] > FREE)
		at--;
	return at;
}

/* Small ones mostly; sometimes one that is too large for the space, or for any. */
static unsigned any_order(const struct model *m)
{
	unsigned order = (unsigned)below(1 + below(10));

	return below(50) ? order : (unsigned)below(BUDDY_ORDER_MAX + 3 - m->shift);
}

static void any_deed(struct world *w, unsigned fill)
{
	struct model *m = &w->m;
	uint64_t at = any_live(m);

	if (below(100) < fill) {
		unsigned order = any_order(m);

		if (order + m->shift <= BUDDY_ORDER_MAX)
			alloc(w, order);
	} else if (below(6)) {
		give_back(w, at, below(8) ? m->order[at] : any_order(m));
	} else if (below(3)) {
		uint64_t place = below(m->units + 3);
		unsigned order = any_order(m);

		alloc_at(w, below(4) ? place >> order << order : place, order);
	} else if (below(2)) {
		give_back(w, below(m->units + 3), any_order(m));
	} else if (below(20) == 0) {
		donate(w, below(m->units + 1), below(m->units));
	} else {
		donate(w, below(m->units + 1), below(3));
	}
}

static void random_world(unsigned shift, uint64_t units, unsigned deeds, unsigned pace)
{
	struct world w;

	world_make(&w, shift, units, below(UINT64_C(1) << shift));
	world_compare(&w);
	for (uint64_t at = 0, length; at < units; at += length + below(4)) { /* a map with holes */
		length = 1 + below(1 + units / 4);
		donate(&w, at, length);
	}
	world_compare(&w);
	for (unsigned i = 0; i < deeds; i++) {
		/* The tide goes out now and then, so that large runs come back. */
		any_deed(&w, i / 400 % 3 == 2 ? 20 : 60);
		if (i % 64 == 0)
			ck_assert(orders_agree(&w));
		if (i % pace == 0)
			world_compare(&w);
	}
	world_compare(&w);
	world_free(&w);
}

/* _i is the shift. Large shifts have large metadata, so fewer whole checks. */
START_TEST(random_deeds)
{
	unsigned shift = (unsigned)_i, pace = shift < 4 ? 4 : shift < 10 ? 50 : shift < 16 ? 1000 : 20000;
	uint64_t most = shift < 16 ? 260 : 140;

	seed(40 + (uint64_t)_i);
	random_world(shift, 1, 300, pace);
	random_world(shift, 64, 14000, pace);
	for (unsigned i = 0; i < 3; i++)
		random_world(shift, 1 + below(most), 7000, pace);
	random_world(shift, most, 14000, pace);
}
END_TEST

/* Orders of three levels side by side. */
START_TEST(random_deeds_over_levels)
{
	seed(77);
	random_world(0, 5000, 40000, 200);
	random_world(0, 40000, 4000, 200);
	random_world(5, 5000, 10000, 200);
}
END_TEST

/* ---- a large instance, with an owner for every frame ---- */

#define LARGE_FRAMES (UINT64_C(1) << 26)
#define LIVE_MAX     3000u

struct large {
	struct buddy *b;
	uint8_t *taken; /* a frame's state: 0 free, 1 taken, 2 absent */
	struct live {
		uint64_t first;
		unsigned order;
	} live[LIVE_MAX];
	unsigned count;
};

static bool taken_all(const struct large *l, uint64_t first, uint64_t frames, uint8_t state)
{
	return l->taken[first] == state && memcmp(l->taken + first, l->taken + first + 1, frames - 1) == 0;
}

static bool large_alloc(struct large *l, unsigned order)
{
	struct buddy_stats s = buddy_stats_read(l->b);
	struct pfn got;
	bool any = false;

	for (unsigned o = order; o <= BUDDY_ORDER_MAX; o++)
		any = any || s.runs_free[o] != 0;
	if (l->count == LIVE_MAX || buddy_alloc(l->b, order, &got) != MM_OK)
		return l->count == LIVE_MAX || !any;
	if (!any || got.n % (UINT64_C(1) << order) != 0 || !taken_all(l, got.n, UINT64_C(1) << order, 0))
		return false;
	memset(l->taken + got.n, 1, UINT64_C(1) << order);
	l->live[l->count++] = (struct live){got.n, order};
	return true;
}

static bool large_free(struct large *l, unsigned i)
{
	struct live gone = l->live[i];
	unsigned other = (gone.order + 1 + (unsigned)below(BUDDY_ORDER_MAX)) % (BUDDY_ORDER_MAX + 1);

	if (buddy_free(l->b, (struct pfn){gone.first}, other) == MM_OK ||
	    buddy_free(l->b, (struct pfn){gone.first}, gone.order) != MM_OK ||
	    buddy_free(l->b, (struct pfn){gone.first}, gone.order) != MM_ESTATE)
		return false;
	memset(l->taken + gone.first, 0, UINT64_C(1) << gone.order);
	l->live[i] = l->live[--l->count];
	return true;
}

START_TEST(large_instance)
{
	const struct {
		uint64_t first, frames;
	} hole[] = {{0xa0, 0x60}, {0xc0000, 0x40000}, {LARGE_FRAMES - 3, 3}};
	struct large *l = calloc(1, sizeof(*l));
	size_t bytes = buddy_meta_bytes(LARGE_FRAMES);
	void *meta = aligned_alloc(64, bytes);
	struct buddy_stats start, end;
	uint64_t at = 0;
	bool good = true;

	ck_assert_uint_lt(bytes * 8 * 100 / LARGE_FRAMES, 214);
	seed(7);
	l->taken = calloc(LARGE_FRAMES, 1);
	ck_assert_int_eq(buddy_init(meta, bytes, LARGE_FRAMES, &l->b), MM_OK);
	for (unsigned i = 0; i < sizeof(hole) / sizeof(*hole); at = hole[i].first + hole[i].frames, i++) {
		ck_assert_int_eq(buddy_donate(l->b, (struct pfn){at}, hole[i].first - at), MM_OK);
		memset(l->taken + hole[i].first, 2, hole[i].frames);
	}
	start = buddy_stats_read(l->b);
	ck_assert_uint_eq(start.frames_free, LARGE_FRAMES - 0x60 - 0x40000 - 3);
	ck_assert_uint_eq(start.runs_free[24], 2);
	ck_assert(buddy_check(l->b));
	for (unsigned i = 0; i < 60000 && good; i++) {
		uint64_t most = 1 + below(BUDDY_ORDER_MAX + 1), order = below(1 + below(most));

		good = l->count > 0 && below(100) < (i / 3000 % 2 ? 60u : 40u)
			       ? large_free(l, (unsigned)below(l->count))
			       : large_alloc(l, (unsigned)order);
		if (i % 10000 == 0)
			good = good && buddy_check(l->b);
	}
	ck_assert(good && l->count > 0 && buddy_check(l->b));
	while (l->count > 0 && good)
		good = large_free(l, l->count - 1);
	end = buddy_stats_read(l->b);
	ck_assert(good && buddy_check(l->b) && memcmp(end.runs_free, start.runs_free, sizeof(end.runs_free)) == 0);
	free(l->taken);
	free(l);
	free(meta);
}
END_TEST

/* Above 2^30 frames the largest runs need an index, too; and 64 of them do not merge. */
START_TEST(beyond_4_tebibytes)
{
	const uint64_t run = UINT64_C(1) << 24, frames = 67 * run;
	size_t bytes = buddy_meta_bytes(frames);
	void *meta = aligned_alloc(64, bytes);
	struct buddy *b;
	struct pfn got;
	bool good = true;

	ck_assert_int_eq(buddy_init(meta, bytes, frames, &b), MM_OK);
	ck_assert_int_eq(buddy_donate(b, (struct pfn){0}, 64 * run), MM_OK);
	ck_assert_int_eq(buddy_donate(b, (struct pfn){65 * run - 1}, 2 * run + 1), MM_OK);
	ck_assert_uint_eq(buddy_stats_read(b).runs_free[24], 66);
	ck_assert_int_eq(buddy_alloc_at(b, (struct pfn){5 * run}, 24), MM_OK);
	ck_assert_int_eq(buddy_free(b, (struct pfn){5 * run}, 24), MM_OK);
	ck_assert_int_eq(buddy_alloc(b, 0, &got), MM_OK);
	ck_assert_uint_eq(got.n, 65 * run - 1);
	for (uint64_t i = 0; i < 64; i++)
		good = good && buddy_alloc(b, 24, &got) == MM_OK && got.n == i * run;
	ck_assert_int_eq(buddy_alloc(b, 17, &got), MM_OK);
	ck_assert_uint_eq(got.n, 65 * run);
	ck_assert_int_eq(buddy_alloc_at(b, (struct pfn){66 * run}, 24), MM_OK);
	ck_assert_int_eq(buddy_alloc(b, 24, &got), MM_ENOMEM);
	ck_assert(good && buddy_check(b));
	ck_assert_int_eq(buddy_free(b, (struct pfn){65 * run}, 17), MM_OK);
	for (uint64_t i = 0; i < 64; i++)
		good = good && buddy_free(b, (struct pfn){(63 - i) * run}, 24) == MM_OK;
	ck_assert_uint_eq(buddy_stats_read(b).runs_free[24], 65);
	ck_assert_int_eq(buddy_alloc_at(b, (struct pfn){7 * run + 4}, 2), MM_OK);
	ck_assert(good && buddy_check(b));
	free(meta);
}
END_TEST

/* ---- promises, spelled out once ---- */

#define FRAMES UINT64_C(10000)
static _Alignas(64) unsigned char memory[1 << 16], other_memory[1 << 16];

static struct buddy *fresh(uint64_t frames)
{
	struct buddy *b;

	ck_assert_int_eq(buddy_init(memory, sizeof(memory), frames, &b), MM_OK);
	return b;
}

static struct buddy *full(uint64_t frames)
{
	struct buddy *b = fresh(frames);

	ck_assert_int_eq(buddy_donate(b, (struct pfn){0}, frames), MM_OK);
	ck_assert(buddy_check(b));
	return b;
}

static uint64_t put(struct buddy *b, unsigned order)
{
	struct pfn got = {UINT64_MAX};
	enum mm_err err = buddy_alloc(b, order, &got);

	ck_assert(err == MM_OK || (err == MM_ENOMEM && got.n == UINT64_MAX));
	ck_assert(buddy_check(b));
	return got.n;
}

START_TEST(lowest_of_the_smallest)
{
	struct buddy *b = full(FRAMES); /* 8192 + 1024 + 512 + 256 + 16 */

	ck_assert_uint_eq(put(b, 0), 9984);
	ck_assert_uint_eq(put(b, 0), 9985);
	ck_assert_uint_eq(put(b, 1), 9986);
	ck_assert_uint_eq(put(b, 9), 9216);
	ck_assert_uint_eq(put(b, 9), 8192);
	ck_assert_uint_eq(put(b, 12), 0);
	ck_assert_uint_eq(put(b, 5), 9728);
	ck_assert_uint_eq(put(b, 13), UINT64_MAX);
	ck_assert_int_eq(buddy_free(b, (struct pfn){0}, 12), MM_OK);
	ck_assert_uint_eq(put(b, 13), 0);
	ck_assert_uint_eq(buddy_stats_read(b).frames_free_min, FRAMES - 1 - 1 - 2 - 512 - 512 - 32 - 8192);
}
END_TEST

START_TEST(wrong_frees_are_seen)
{
	for (unsigned order = 0; order <= 13; order++) {
		struct buddy *b = full(FRAMES);

		ck_assert_int_eq(buddy_alloc_at(b, (struct pfn){0}, order), MM_OK);
		for (unsigned o = 0; o <= 13; o++) {
			for (unsigned bit = 0; bit < 13; bit++) {
				enum mm_err err = buddy_free(b, (struct pfn){UINT64_C(1) << bit}, o);

				ck_assert_int_eq(err, bit < o || (UINT64_C(1) << bit) + (UINT64_C(1) << o) > FRAMES
							      ? MM_EINVAL
							      : MM_ESTATE);
			}
			if (o != order)
				ck_assert_int_eq(buddy_free(b, (struct pfn){0}, o), MM_ESTATE);
		}
		ck_assert_int_eq(buddy_free(b, (struct pfn){0}, order), MM_OK);
		ck_assert_int_eq(buddy_free(b, (struct pfn){0}, order), MM_ESTATE);
		ck_assert_uint_eq(buddy_stats_read(b).runs_free[13], 1);
	}
}
END_TEST

START_TEST(arguments_refused)
{
	struct buddy *b = NULL;
	struct pfn out = {7};
	unsigned order;

	ck_assert_uint_eq(buddy_meta_bytes(0), 0);
	ck_assert_uint_eq(buddy_meta_bytes((UINT64_C(1) << 40) + 1), 0);
	ck_assert_uint_gt(buddy_meta_bytes(UINT64_C(1) << 40), UINT64_C(1) << 38);
	for (uint64_t frames = 1; frames < FRAMES; frames += 37)
		ck_assert_uint_le(buddy_meta_bytes(frames), buddy_meta_bytes(frames + 37));
	ck_assert_int_eq(buddy_init(NULL, sizeof(memory), 5, &b), MM_EINVAL);
	ck_assert_int_eq(buddy_init(memory + 32, sizeof(memory) - 32, 5, &b), MM_EINVAL);
	ck_assert_int_eq(buddy_init(memory, buddy_meta_bytes(FRAMES) - 1, FRAMES, &b), MM_EINVAL);
	ck_assert_int_eq(buddy_init(memory, sizeof(memory), 0, &b), MM_EINVAL);
	ck_assert_ptr_null(b);
	ck_assert_int_eq(buddy_init(memory, buddy_meta_bytes(FRAMES), FRAMES, &b), MM_OK);

	ck_assert_int_eq(buddy_donate(b, (struct pfn){5}, 0), MM_EINVAL);
	ck_assert_int_eq(buddy_donate(b, (struct pfn){FRAMES}, 1), MM_EINVAL);
	ck_assert_int_eq(buddy_donate(b, (struct pfn){1}, FRAMES), MM_EINVAL);
	ck_assert_int_eq(buddy_donate(b, (struct pfn){1}, UINT64_MAX), MM_EINVAL);
	ck_assert_int_eq(buddy_alloc(b, 0, &out), MM_ENOMEM);
	ck_assert_int_eq(buddy_free(b, (struct pfn){5}, 0), MM_ESTATE);
	ck_assert_int_eq(buddy_order(b, (struct pfn){5}, &order), MM_ENOENT);
	ck_assert_int_eq(buddy_order(b, (struct pfn){FRAMES}, &order), MM_EINVAL);
	ck_assert_int_eq(buddy_order(b, (struct pfn){UINT64_MAX}, &order), MM_EINVAL);
	ck_assert_int_eq(buddy_alloc_at(b, (struct pfn){5}, 0), MM_EEXIST);
	ck_assert_int_eq(buddy_donate(b, (struct pfn){0}, FRAMES), MM_OK);
	ck_assert_int_eq(buddy_alloc(b, BUDDY_ORDER_MAX + 1, &out), MM_EINVAL);
	ck_assert_int_eq(buddy_alloc(b, UINT32_MAX, &out), MM_EINVAL);
	ck_assert_int_eq(buddy_alloc(b, 14, &out), MM_ENOMEM);
	ck_assert_uint_eq(out.n, 7);
	ck_assert_int_eq(buddy_alloc_at(b, (struct pfn){0}, 64), MM_EINVAL);
	ck_assert_int_eq(buddy_alloc_at(b, (struct pfn){1}, 1), MM_EINVAL);
	ck_assert_int_eq(buddy_alloc_at(b, (struct pfn){FRAMES}, 0), MM_EINVAL);
	ck_assert_int_eq(buddy_alloc_at(b, (struct pfn){0}, 14), MM_EINVAL);
	ck_assert_int_eq(buddy_free(b, (struct pfn){0}, BUDDY_ORDER_MAX + 1), MM_EINVAL);
	ck_assert_int_eq(buddy_free(b, (struct pfn){-UINT64_C(16)}, 4), MM_EINVAL);
	ck_assert(buddy_check(b));
}
END_TEST

START_TEST(faults_count_down)
{
	struct buddy *b = full(FRAMES);
	struct pfn out;

	buddy_fail_after(b, 3);
	ck_assert_int_eq(buddy_alloc(b, 0, &out), MM_OK);
	ck_assert_int_eq(buddy_alloc_at(b, (struct pfn){64}, 3), MM_OK);
	ck_assert_int_eq(buddy_alloc(b, 0, &out), MM_ENOMEM);
	ck_assert_int_eq(buddy_alloc(b, 0, &out), MM_OK);
	buddy_fail_after(b, 1);
	buddy_fail_after(b, 0);
	ck_assert_int_eq(buddy_alloc(b, 0, &out), MM_OK);
}
END_TEST

/* Only indices: the same metadata serves at another address. */
START_TEST(metadata_moves)
{
	struct buddy *b = full(FRAMES), *moved = (struct buddy *)other_memory;
	uint64_t first = put(b, 3);

	memcpy(other_memory, memory, sizeof(memory));
	memset(memory, 0xee, sizeof(memory));
	ck_assert(buddy_check(moved));
	ck_assert_int_eq(buddy_free(moved, (struct pfn){first}, 3), MM_OK);
	ck_assert_uint_eq(put(moved, 3), first);
}
END_TEST

/* A space of one node has no index but `orders`. */
START_TEST(one_node)
{
	struct buddy *b = fresh(64);

	ck_assert_int_eq(buddy_donate(b, (struct pfn){63}, 1), MM_OK);
	ck_assert_uint_eq(put(b, 0), 63);
	ck_assert_uint_eq(put(b, 0), UINT64_MAX);
	ck_assert_int_eq(buddy_donate(b, (struct pfn){0}, 63), MM_OK);
	ck_assert_int_eq(buddy_free(b, (struct pfn){63}, 0), MM_OK);
	ck_assert_uint_eq(buddy_stats_read(b).runs_free[6], 1);
	ck_assert_uint_eq(put(b, 6), 0);
	ck_assert_int_eq(buddy_free(b, (struct pfn){0}, 6), MM_OK);
	ck_assert_uint_eq(put(b, 0), 0);
	ck_assert_uint_eq(put(b, 1), 2);
	ck_assert_int_eq(buddy_free(b, (struct pfn){2}, 1), MM_OK);
	ck_assert_int_eq(buddy_free(b, (struct pfn){0}, 0), MM_OK);
	ck_assert_uint_eq(buddy_stats_read(b).runs_free[6], 1);
	ck_assert(buddy_check(b));
}
END_TEST

/* ---- the check objects ---- */

/* Flips each bit of a field, or one in `step`; buddy_check() must object to each. */
static void must_matter(struct buddy *b, void *field, size_t bytes, unsigned step, const char *name)
{
	unsigned char *byte = field;

	for (size_t bit = below(step); bit < 8 * bytes; bit += 1 + below(2 * step - 1)) {
		byte[bit / 8] ^= (unsigned char)(1u << bit % 8);
		if (buddy_check(b))
			ck_abort_msg("bit %zu of %s does not matter", bit, name);
		byte[bit / 8] ^= (unsigned char)(1u << bit % 8);
	}
	ck_assert(buddy_check(b));
}
#define MATTERS(b, field) must_matter(b, &(field), sizeof(field), 1, #field)

static void words_matter(struct buddy *b, unsigned level, unsigned step)
{
	size_t used = BUDDY_HOLDS + (level <= BUDDY_LEVEL_MAX ? level * BUDDY_RADIX : BUDDY_ORDER_MAX + 1);
	size_t stride = (size_t)1 << b->shift[level];
	uint64_t nodes = ((b->frame_count - 1) >> (level + 1) * BUDDY_RADIX) + 1;
	char name[32];

	snprintf(name, sizeof(name), "a node of level %u", level);
	for (uint64_t n = 0; n < nodes; n++)
		must_matter(b, b->words + b->start[level] + n * stride, used * 8, step, name);
}

START_TEST(check_objects)
{
	struct buddy *b = fresh(FRAMES);

	seed(11);
	ck_assert_int_eq(buddy_donate(b, (struct pfn){100}, FRAMES - 200), MM_OK);
	for (uint64_t at = 200; at < 5000; at += 2 + 2 * below(20))
		ck_assert_int_eq(buddy_alloc_at(b, (struct pfn){at}, (unsigned)below(2)), MM_OK);
	for (unsigned order = 0; order < 10; order++) {
		put(b, order);
		put(b, order);
	}
	MATTERS(b, b->frames_total);
	MATTERS(b, b->frames_free);
	MATTERS(b, b->runs_live);
	MATTERS(b, b->orders);
	MATTERS(b, b->top);
	MATTERS(b, b->start);
	must_matter(b, b->shift, BUDDY_LEVELS, 1, "shift");
	MATTERS(b, b->runs_step);
	for (unsigned level = 0; level < BUDDY_LEVELS; level++)
		words_matter(b, level, level == 0 ? 3 : 1);
	b->frames_free_min = b->frames_free + 1;
	ck_assert(!buddy_check(b));
	b->frames_free_min = b->frames_free;
	ck_assert(buddy_check(b));
	b->frame_count = 0;
	ck_assert(!buddy_check(b));
	b->frame_count = BUDDY_FRAMES_MAX + 1;
	ck_assert(!buddy_check(b));
	b->frame_count = FRAMES + 64;
	ck_assert(!buddy_check(b));
}
END_TEST

/* Sets the state (open, head) of one unit. */
static void set_unit(struct buddy *b, unsigned level, uint64_t unit, unsigned open, unsigned head)
{
	uint64_t *at = b->words + b->start[level] + (unit / 64 << b->shift[level]), bit = UINT64_C(1) << unit % 64;

	at[BUDDY_OPEN] = open ? at[BUDDY_OPEN] | bit : at[BUDDY_OPEN] & ~bit;
	at[BUDDY_HEAD] = head ? at[BUDDY_HEAD] | bit : at[BUDDY_HEAD] & ~bit;
}

/* Wrong states in which all sums are right: only one rule each speaks against them. */
START_TEST(check_objects_though_sums_are_right)
{
	struct buddy *b = full(FRAMES);

	/* I2: three units are no run, nor are two from an odd one, nor a node, nor any without a head */
	ck_assert_int_eq(buddy_alloc_at(b, (struct pfn){12}, 2), MM_OK);
	set_unit(b, 0, 15, 0, 1);
	b->runs_live++;
	ck_assert(!buddy_check(b));
	set_unit(b, 0, 13, 0, 1);
	b->runs_live++;
	ck_assert(!buddy_check(b));
	set_unit(b, 0, 14, 0, 1);
	b->runs_live++;
	ck_assert(buddy_check(b));
	set_unit(b, 0, 14, 1, 1);
	set_unit(b, 0, 15, 0, 0);
	b->runs_live -= 2;
	b->frames_total--;
	ck_assert(!buddy_check(b));
	set_unit(b, 0, 15, 0, 1);
	b->runs_live++;
	ck_assert(buddy_check(b));
	ck_assert_int_eq(buddy_alloc_at(b, (struct pfn){128}, 5), MM_OK);
	ck_assert_int_eq(buddy_alloc_at(b, (struct pfn){160}, 5), MM_OK);
	set_unit(b, 0, 160, 0, 0);
	b->runs_live--;
	ck_assert(!buddy_check(b));
	set_unit(b, 0, 160, 0, 1);
	b->runs_live++;
	ck_assert(buddy_check(b));

	/* I3: not mixed above a node that is all free; I4: nor is what lies outside anything else */
	ck_assert_int_eq(buddy_alloc_at(b, (struct pfn){256}, 6), MM_OK);
	set_unit(b, 1, 4, 1, 1);
	b->runs_live--;
	ck_assert(!buddy_check(b));
	set_unit(b, 1, 4, 0, 1);
	b->runs_live++;
	ck_assert(buddy_check(b));
	set_unit(b, 0, FRAMES, 0, 1);
	b->runs_live++;
	b->frames_total++;
	ck_assert(!buddy_check(b));
	set_unit(b, 0, FRAMES, 1, 1);
	set_unit(b, 4, 1, 0, 1);
	b->frames_total--;
	ck_assert(!buddy_check(b));
	set_unit(b, 4, 1, 1, 1);
	b->runs_live--;
	ck_assert(buddy_check(b));
}
END_TEST

Suite *buddy_suite(void);

Suite *buddy_suite(void)
{
	Suite *suite = suite_create("buddy");
	TCase *random = tcase_create("random"), *each = tcase_create("each");

	tcase_set_timeout(random, 120);
	tcase_add_loop_test(random, random_deeds, 0, 22);
	tcase_add_test(random, random_deeds_over_levels);
	tcase_add_test(random, large_instance);
	tcase_add_test(random, beyond_4_tebibytes);
	tcase_set_timeout(each, 60);
	tcase_add_test(each, lowest_of_the_smallest);
	tcase_add_test(each, wrong_frees_are_seen);
	tcase_add_test(each, arguments_refused);
	tcase_add_test(each, faults_count_down);
	tcase_add_test(each, metadata_moves);
	tcase_add_test(each, one_node);
	tcase_add_test(each, check_objects);
	tcase_add_test(each, check_objects_though_sums_are_right);
	suite_add_tcase(suite, random);
	suite_add_tcase(suite, each);
	return suite;
}
