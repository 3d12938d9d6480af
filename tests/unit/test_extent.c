/* tests/unit/test_extent.c: mm/extent against a model that remembers for every
 * unit whose it is, by all policies; and trees of 10^5 extents against an array.
 * What it does not see: time (that is the bench's). */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mm/extent_impl.h"
#include "tests/unit/random.h"

#define UNITS_MAX 4096u
#define LIST_MAX  4u

/* ---- the model ---- */

struct unit {
	uint32_t owner, zone; /* 0: free; in no zone */
	uint32_t pins;
	bool lend, movable, slack;
};

struct model {
	struct extent_config c;
	uint64_t cursor;
	uint32_t owners, zones;	   /* given so far */
	struct extent_stats stats; /* after the last deed; of which the water marks last */
	struct unit at[UNITS_MAX];
};

static bool same(const struct unit *a, const struct unit *b)
{
	return a->owner == b->owner && a->zone == b->zone;
}

/* How many units from `at` on, at most n, are like it. */
static uint64_t alike(const struct model *m, uint64_t at, uint64_t n)
{
	uint64_t i = 0;

	while (i < n && at + i < m->c.units && same(&m->at[at], &m->at[at + i]))
		i++;
	return i;
}

/* The end of the segment that starts at `at`. */
static uint64_t segment_end(const struct model *m, uint64_t at)
{
	uint64_t size = 1;

	if (m->c.policy != EXTENT_BUDDY || m->at[at].owner != 0)
		return at + alike(m, at, UINT64_MAX);
	while (((m->c.base + at) & size) == 0 && alike(m, at, 2 * size) == 2 * size)
		size *= 2;
	return at + size;
}

static uint64_t segment_start(const struct model *m, uint64_t at)
{
	uint64_t start = at;

	if (m->at[at].owner != 0) {
		while (start > 0 && m->at[start - 1].owner == m->at[at].owner)
			start--;
		return start;
	}
	for (uint64_t end = start = 0; end <= at; end = segment_end(m, end))
		start = end;
	return start;
}

static void model_count(struct model *m)
{
	struct extent_stats s = {.units_total = m->c.units, .segments_max = m->c.segments_max};

	for (uint64_t at = 0, end; at < m->c.units; at = end) {
		const struct unit *u = &m->at[at];
		uint64_t n = (end = segment_end(m, at)) - at;

		s.units_zone += u->zone ? n : 0;
		s.units_pinned += u->pins ? n : 0;
		for (uint64_t i = at; u->owner && i < end; i++)
			s.units_asked += !m->at[i].slack;
		s.extents += u->owner != 0;
		s.holes += u->owner == 0;
		if (u->owner)
			continue;
		s.units_free += n;
		s.units_zone_free += u->zone ? n : 0;
		if (u->zone == 0 && n > s.largest_hole)
			s.largest_hole = n;
	}
	s.units_free_min = s.units_free < m->stats.units_free_min ? s.units_free : m->stats.units_free_min;
	s.units_asked_max = s.units_asked > m->stats.units_asked_max ? s.units_asked : m->stats.units_asked_max;
	s.extents_max = s.extents > m->stats.extents_max ? s.extents : m->stats.extents_max;
	m->stats = s;
}

static void model_init(struct model *m, const struct extent_config *c)
{
	memset(m, 0, sizeof(*m));
	m->c = *c;
	m->stats.units_free_min = c->units;
	model_count(m);
}

/* Counts what has changed, or takes it back if that makes too many segments. */
static enum mm_err model_commit(struct model *m, const struct unit *before)
{
	struct extent_stats stats = m->stats;

	model_count(m);
	if (m->stats.holes + m->stats.extents <= m->c.segments_max)
		return MM_OK;
	m->stats = stats;
	memcpy(m->at, before, m->c.units * sizeof(*before));
	return MM_ENOMEM;
}

static struct unit *model_save(const struct model *m)
{
	static struct unit saved[UNITS_MAX];

	memcpy(saved, m->at, m->c.units * sizeof(*saved));
	return saved;
}

/* The policies' roundings, one step at a time. */
static uint64_t model_given(const struct model *m, uint64_t units)
{
	uint64_t class = 1, step = 1;

	if (m->c.policy == EXTENT_BUDDY)
		while (class < units)
			class *= 2;
	else if (m->c.policy == EXTENT_SEGREGATED)
		for (unsigned i = 1; class < units; i++, class += step)
			step *= i > 8 && i % 8 == 0 ? 2 : 1;
	else
		return units;
	return class;
}

/* The lowest place in [from, end), aligned; false iff there is none. */
static bool model_fits(const struct model *m, uint64_t from, uint64_t end, uint64_t units, uint64_t align, uint64_t *at)
{
	for (*at = from; *at + units <= end; ++*at)
		if (align == 0 || (m->c.base + *at) % align == 0)
			return true;
	return false;
}

static bool model_hole(const struct model *m, uint64_t at, bool lent)
{
	const struct unit *u = &m->at[at];

	return u->owner == 0 && (lent ? u->zone != 0 && u->lend : u->zone == 0);
}

static bool model_place(const struct model *m, uint64_t units, uint64_t align, bool lent, uint64_t *place)
{
	bool best = m->c.policy == EXTENT_BEST_FIT || m->c.policy == EXTENT_SEGREGATED || m->c.policy == EXTENT_BUDDY;
	uint64_t length = 0;
	bool found = false;

	for (uint64_t at = m->cursor; m->c.policy == EXTENT_NEXT_FIT && at < m->c.units; at = segment_end(m, at))
		if (model_hole(m, at, lent) && model_fits(m, at, segment_end(m, at), units, align, place))
			return true;
	for (uint64_t at = 0, end, candidate; at < m->c.units; at = end) {
		end = segment_end(m, at);
		if (!model_hole(m, at, lent) || !model_fits(m, at, end, units, align, &candidate))
			continue;
		if (found && !(best && end - at < length) && !(m->c.policy == EXTENT_WORST_FIT && end - at > length))
			continue;
		found = true;
		length = end - at;
		*place = candidate;
	}
	return found;
}

static bool model_inside(const struct model *m, struct extent *run)
{
	run->first -= m->c.base;
	return run->units > 0 && run->first < m->c.units && run->units <= m->c.units - run->first;
}

static bool model_regular(const struct model *m, struct extent run)
{
	return m->c.policy != EXTENT_BUDDY ||
	       ((run.units & (run.units - 1)) == 0 && (m->c.base + run.first) % run.units == 0);
}

/* Gives the free units of the run a new owner. */
static void model_take(struct model *m, struct extent run, uint64_t asked, bool movable)
{
	m->owners++;
	for (uint64_t i = 0; i < run.units; i++) {
		struct unit *u = &m->at[run.first + i];

		*u = (struct unit){m->owners, u->zone, 0, u->lend, movable, i >= asked};
	}
}

static void model_give(struct model *m, struct extent run)
{
	for (uint64_t i = 0; i < run.units; i++) {
		struct unit *u = &m->at[run.first + i];

		*u = (struct unit){.zone = u->zone, .lend = u->lend};
	}
}

/* ---- what is done: to the space, to the model; what they answer ---- */

enum verb { ALLOC, ALLOC_AT, FREE, RESIZE, PIN, UNPIN, RESERVE, UNRESERVE, CLAIM, VERBS };

struct deed {
	enum verb verb;
	struct extent_request ask;
	struct extent run;
	uint64_t units;
	bool flag; /* movable, lend; a resize that asks what is given */
	uint32_t max;
};

struct answer {
	enum mm_err err;
	uint32_t in_way;
	uint64_t given;
	struct extent got, list[LIST_MAX];
};

#define UNTOUCHED                                                                                                      \
	((struct answer){.in_way = 77, .given = 77, .got = {77, 77}, .list = {{7, 7}, {7, 7}, {7, 7}, {7, 7}}})

static enum mm_err model_alloc(struct model *m, const struct extent_request *ask, struct extent *out)
{
	struct unit *before;
	struct extent run;
	enum mm_err err;

	if (ask->units == 0 || (ask->align & (ask->align - 1)))
		return MM_EINVAL;
	run.units = model_given(m, ask->units);
	if (!model_place(m, run.units, ask->align, false, &run.first) &&
	    (!ask->movable || !model_place(m, run.units, ask->align, true, &run.first)))
		return MM_ENOMEM;
	before = model_save(m);
	model_take(m, run, ask->units, ask->movable);
	err = model_commit(m, before);
	if (err != MM_OK)
		return err;
	m->cursor = run.first + run.units;
	*out = (struct extent){m->c.base + run.first, run.units};
	return MM_OK;
}

static enum mm_err model_alloc_at(struct model *m, struct extent run, bool movable)
{
	struct unit *before = model_save(m);

	if (!model_inside(m, &run) || !model_regular(m, run))
		return MM_EINVAL;
	if (!model_hole(m, run.first, false) && !(movable && model_hole(m, run.first, true)))
		return MM_EEXIST;
	if (alike(m, run.first, run.units) < run.units)
		return MM_EEXIST;
	model_take(m, run, run.units, movable);
	return model_commit(m, before);
}

/* What is left above the run is an extent of its own. */
static void model_cut(struct model *m, struct extent run)
{
	uint32_t was = m->at[run.first].owner;

	m->owners++;
	model_give(m, run);
	for (uint64_t i = run.first + run.units; i < m->c.units && m->at[i].owner == was; i++)
		m->at[i].owner = m->owners;
}

static enum mm_err model_free(struct model *m, struct extent run)
{
	struct unit *before = model_save(m);

	if (!model_inside(m, &run))
		return MM_EINVAL;
	if (m->at[run.first].owner == 0 || alike(m, run.first, run.units) < run.units)
		return MM_ESTATE;
	if (m->c.policy == EXTENT_BUDDY &&
	    (segment_start(m, run.first) != run.first || segment_end(m, run.first) != run.first + run.units))
		return MM_ESTATE;
	if (m->at[run.first].pins)
		return MM_EBUSY;
	model_cut(m, run);
	return model_commit(m, before);
}

/* The free units, as the extent is, that follow it. */
static bool model_grow(struct model *m, struct extent run, uint64_t now)
{
	struct unit was = m->at[run.first];

	if (now > m->c.units - run.first || (m->c.policy == EXTENT_BUDDY && (m->c.base + run.first) % now))
		return false;
	for (uint64_t i = run.units; i < now; i++)
		if (m->at[run.first + i].owner || m->at[run.first + i].zone != was.zone)
			return false;
	for (uint64_t i = run.units; i < now; i++)
		m->at[run.first + i] = was;
	return true;
}

static enum mm_err model_resize(struct model *m, struct extent run, uint64_t units, uint64_t *given)
{
	struct unit *before = model_save(m);
	enum mm_err err;
	uint64_t now;

	if (!model_inside(m, &run) || units == 0)
		return MM_EINVAL;
	if (m->at[run.first].owner == 0 || segment_start(m, run.first) != run.first ||
	    segment_end(m, run.first) != run.first + run.units)
		return MM_ESTATE;
	now = model_given(m, units);
	if (now < run.units && m->at[run.first].pins)
		return MM_EBUSY;
	if (now < run.units)
		model_give(m, (struct extent){run.first + now, run.units - now});
	else if (!model_grow(m, run, now))
		return MM_ENOMEM;
	for (uint64_t i = 0; i < now; i++)
		m->at[run.first + i].slack = i >= units;
	err = model_commit(m, before);
	if (err == MM_OK && given)
		*given = now;
	return err;
}

static enum mm_err model_pin(struct model *m, uint64_t at, bool pin)
{
	const struct unit *u;

	at -= m->c.base;
	if (at >= m->c.units || m->at[at].owner == 0)
		return MM_ENOENT;
	u = &m->at[at];
	if (pin ? u->zone && u->movable : u->pins == 0)
		return MM_ESTATE;
	for (uint64_t i = segment_start(m, at), end = segment_end(m, i); i < end; i++)
		m->at[i].pins += pin ? 1u : -1u;
	model_count(m);
	return MM_OK;
}

static enum mm_err model_reserve(struct model *m, struct extent run, bool lend)
{
	struct unit *before = model_save(m);

	if (!model_inside(m, &run) || !model_regular(m, run))
		return MM_EINVAL;
	if (!model_hole(m, run.first, false) || alike(m, run.first, run.units) < run.units)
		return MM_EEXIST;
	m->zones++;
	for (uint64_t i = 0; i < run.units; i++)
		m->at[run.first + i] = (struct unit){.zone = m->zones, .lend = lend};
	return model_commit(m, before);
}

static enum mm_err model_unreserve(struct model *m, struct extent run)
{
	uint64_t end;
	uint32_t zone;
	bool busy = false;

	if (!model_inside(m, &run))
		return MM_ENOENT;
	zone = m->at[run.first].zone;
	end = run.first + run.units;
	if (zone == 0 || (run.first > 0 && m->at[run.first - 1].zone == zone) ||
	    (end < m->c.units && m->at[end].zone == zone))
		return MM_ENOENT;
	for (uint64_t i = run.first; i < end; i++) {
		if (m->at[i].zone != zone)
			return MM_ENOENT;
		busy |= m->at[i].owner != 0;
	}
	if (busy)
		return MM_EBUSY;
	memset(&m->at[run.first], 0, run.units * sizeof(m->at[0]));
	model_count(m);
	return MM_OK;
}

static enum mm_err model_claim(struct model *m, struct extent run, struct answer *a, uint32_t max)
{
	struct unit *before = model_save(m);
	uint32_t in_way = 0, zone;
	enum mm_err err;

	if (run.units == 0)
		return MM_EINVAL;
	if (!model_inside(m, &run))
		return MM_ENOENT;
	if (!model_regular(m, run))
		return MM_EINVAL;
	zone = m->at[run.first].zone;
	for (uint64_t i = run.first; i < run.first + run.units; i++) {
		if (zone == 0 || m->at[i].zone != zone)
			return MM_ENOENT;
		if (m->at[i].owner && !m->at[i].movable)
			return MM_EEXIST;
	}
	for (uint64_t i = run.first, end; i < run.first + run.units; i = end) {
		uint64_t start = segment_start(m, i);

		end = segment_end(m, start);
		if (m->at[i].owner && in_way++ < max)
			a->list[in_way - 1] = (struct extent){m->c.base + start, end - start};
	}
	err = MM_EBUSY;
	if (in_way == 0) {
		model_take(m, run, run.units, false);
		err = model_commit(m, before);
	}
	if (err != MM_ENOMEM)
		a->in_way = in_way;
	return err;
}

static struct answer deed_model(struct model *m, const struct deed *d)
{
	struct answer a = UNTOUCHED;

	switch (d->verb) {
	case ALLOC:
		a.err = model_alloc(m, &d->ask, &a.got);
		break;
	case ALLOC_AT:
		a.err = model_alloc_at(m, d->run, d->flag);
		break;
	case FREE:
		a.err = model_free(m, d->run);
		break;
	case RESIZE:
		a.err = model_resize(m, d->run, d->units, d->flag ? &a.given : NULL);
		break;
	case PIN:
	case UNPIN:
		a.err = model_pin(m, d->run.first, d->verb == PIN);
		break;
	case RESERVE:
		a.err = model_reserve(m, d->run, d->flag);
		break;
	case UNRESERVE:
		a.err = model_unreserve(m, d->run);
		break;
	default:
		a.err = model_claim(m, d->run, &a, d->max);
	}
	return a;
}

/* ---- both side by side ---- */

/* The space is the model, each unit of it 2^shift units: so spaces become large whose keys are of two words, and the
 * rules of every policy hold as before. */
struct world {
	struct model m;
	unsigned shift;
	struct extent_space *e;
	void *meta, *before;
	size_t bytes;
};

static struct extent scaled(struct extent run, unsigned shift)
{
	return (struct extent){run.first << shift, run.units << shift};
}

static struct answer deed_do(struct world *w, const struct deed *model)
{
	struct deed d = *model;
	struct answer a = UNTOUCHED;

	d.run = scaled(d.run, w->shift);
	d.units <<= w->shift;
	d.ask.units <<= w->shift;
	if (w->shift > 0)
		d.ask.align <<= w->shift;
	switch (d.verb) {
	case ALLOC:
		a.err = extent_alloc(w->e, &d.ask, &a.got);
		break;
	case ALLOC_AT:
		a.err = extent_alloc_at(w->e, d.run, d.flag);
		break;
	case FREE:
		a.err = extent_free(w->e, d.run);
		break;
	case RESIZE:
		a.err = extent_resize(w->e, d.run, d.units, d.flag ? &a.given : NULL);
		break;
	case PIN:
		a.err = extent_pin(w->e, d.run.first + below(UINT64_C(1) << w->shift));
		break;
	case UNPIN:
		a.err = extent_unpin(w->e, d.run.first + below(UINT64_C(1) << w->shift));
		break;
	case RESERVE:
		a.err = extent_reserve(w->e, d.run, d.flag);
		break;
	case UNRESERVE:
		a.err = extent_unreserve(w->e, d.run);
		break;
	default:
		a.err = extent_claim(w->e, d.run, a.list, d.max, &a.in_way);
	}
	return a;
}

/* What the model answers, in the space's units. */
static struct answer answer_scaled(const struct world *w, const struct deed *d, struct answer a)
{
	if (d->verb == ALLOC && a.err == MM_OK)
		a.got = scaled(a.got, w->shift);
	if (d->verb == RESIZE && a.err == MM_OK && d->flag)
		a.given <<= w->shift;
	if (d->verb == CLAIM && a.err == MM_EBUSY)
		for (unsigned i = 0; i < a.in_way && i < d->max; i++)
			a.list[i] = scaled(a.list[i], w->shift);
	return a;
}

static void world_make(struct world *w, const struct extent_config *c, unsigned shift)
{
	struct extent_config large = *c;

	model_init(&w->m, c);
	if (w->m.stats.holes > c->segments_max)
		w->m.c.segments_max = w->m.stats.segments_max = large.segments_max = (uint32_t)w->m.stats.holes;
	large.base <<= shift;
	large.units <<= shift;
	w->shift = shift;
	w->bytes = extent_meta_bytes(large.segments_max);
	w->meta = aligned_alloc(64, w->bytes + -w->bytes % 64);
	w->before = aligned_alloc(64, w->bytes + -w->bytes % 64);
	memset(w->meta, 0xff, w->bytes);
	ck_assert_int_eq(extent_init(w->meta, w->bytes, &large, &w->e), MM_OK);
	w->bytes = extent_layout(w->e);
}

static void world_free(struct world *w)
{
	free(w->meta);
	free(w->before);
}

static bool same_stats(const struct world *w)
{
	struct extent_stats got = extent_stats_read(w->e), want = w->m.stats;
	uint64_t rest = want.units_free - want.units_zone_free;
	uint64_t ppm = rest ? (rest - want.largest_hole) * 1000000 / rest : 0;
	uint64_t longest, holes = extent_holes(w->e, &longest);
	uint64_t *units[] = {&want.units_total,	    &want.units_free,	   &want.units_free_min,
			     &want.units_asked,	    &want.units_asked_max, &want.units_zone,
			     &want.units_zone_free, &want.units_pinned,	   &want.largest_hole};

	if (holes != got.holes || longest != got.largest_hole ||
	    extent_segments_left(w->e) != got.segments_max - got.holes - got.extents)
		return false;
	for (unsigned i = 0; i < sizeof(units) / sizeof(*units); i++)
		*units[i] <<= w->shift;
	return memcmp(&got, &want, sizeof(got)) == 0 && extent_fragmentation_ppm(&got) == ppm &&
	       extent_units_free(w->e) == got.units_free;
}

/* Of the segment [at, end). */
static bool same_segment(const struct world *w, uint64_t at, uint64_t end)
{
	const struct unit *u = &w->m.at[at];
	struct extent run = scaled((struct extent){w->m.c.base + at, end - at}, w->shift);
	struct extent_segment s;
	uint64_t asked = 0;

	for (uint64_t i = at; u->owner && i < end; i++)
		asked += !w->m.at[i].slack;
	for (uint64_t probe = run.first; probe - run.first < run.units; probe += UINT64_C(1) << w->shift) {
		memset(&s, 0xa5, sizeof(s));
		if (!extent_segment_at(w->e, probe + below(UINT64_C(1) << w->shift), &s) ||
		    memcmp(&s.run, &run, sizeof(run)) != 0 || s.asked != asked << w->shift || s.pins != u->pins ||
		    s.taken != (u->owner != 0) || s.movable != u->movable || s.zone != (u->zone != 0))
			return false;
	}
	return true;
}

/* One ck_assert a call: each writes to a pipe, and there are millions of probes. */
static bool same_segments(const struct world *w)
{
	struct extent all = scaled((struct extent){w->m.c.base, w->m.c.units}, w->shift);
	struct extent_segment s;

	for (uint64_t at = 0, end; at < w->m.c.units; at = end)
		if (!same_segment(w, at, end = segment_end(&w->m, at)))
			return false;
	return !extent_segment_at(w->e, all.first - 1, &s) && !extent_segment_at(w->e, all.first + all.units, &s);
}

static void deed_abort(const struct world *w, const struct deed *d, const char *what, struct answer got,
		       struct answer want)
{
	ck_abort_msg("%s: policy %u base %llu units %llu shift %u max %u: verb %u run %llu+%llu units %llu flag %d "
		     "ask %llu/%llu/%d: got %d %llu+%llu, want %d %llu+%llu",
		     what, w->m.c.policy, (unsigned long long)w->m.c.base, (unsigned long long)w->m.c.units, w->shift,
		     w->m.c.segments_max, d->verb, (unsigned long long)d->run.first, (unsigned long long)d->run.units,
		     (unsigned long long)d->units, d->flag, (unsigned long long)d->ask.units,
		     (unsigned long long)d->ask.align, d->ask.movable, got.err, (unsigned long long)got.got.first,
		     (unsigned long long)got.got.units, want.err, (unsigned long long)want.got.first,
		     (unsigned long long)want.got.units);
}

/* Does it on both sides; with `refuse`, first with room refused. */
static void world_do(struct world *w, const struct deed *d, bool refuse)
{
	struct answer want = answer_scaled(w, d, deed_model(&w->m, d)), got, enomem = UNTOUCHED;

	enomem.err = MM_ENOMEM;
	if (refuse || want.err != MM_OK)
		memcpy(w->before, w->meta, w->bytes);
	if (refuse) {
		extent_fail_after(w->e, 1);
		got = deed_do(w, d);
		if (w->e->fail_after != 0) { /* it did not ask */
			extent_fail_after(w->e, 0);
		} else {
			if (memcmp(&got, &enomem, sizeof(got)) != 0 || memcmp(w->meta, w->before, w->bytes) != 0)
				deed_abort(w, d, "refused", got, enomem);
			got = deed_do(w, d);
		}
	} else {
		got = deed_do(w, d);
	}
	if (memcmp(&got, &want, sizeof(got)) != 0)
		deed_abort(w, d, "answer", got, want);
	if (want.err != MM_OK && memcmp(w->meta, w->before, w->bytes) != 0)
		deed_abort(w, d, "an error changed something", got, want);
	if (!same_stats(w))
		deed_abort(w, d, "stats", got, want);
}

/* ---- random worlds ---- */

struct mood {		  /* how a random world is treated */
	unsigned fill;	  /* of 100 deeds so many allocate */
	uint64_t longest; /* request */
	unsigned check;	  /* extent_check() after so many deeds; segments are compared after eight times as many */
	bool plain;	  /* no zones, pins or resizes */
};

/* Inside the space mostly; sometimes over its edge. */
static struct extent any_run(const struct model *m, uint64_t longest)
{
	struct extent run = {m->c.base + below(m->c.units + 2) - 1, below(longest + 2)};

	if (m->c.policy == EXTENT_BUDDY && below(8)) {
		run.units = UINT64_C(1) << below(6);
		run.first &= -run.units;
	}
	return run;
}

/* The next segment that is live (or else is in a zone), if there is one; of each eight, one is cut. */
static struct extent some_run(const struct model *m, bool live)
{
	uint64_t at = below(m->c.units), end;

	for (uint64_t i = 0; i < m->c.units && (live ? m->at[at].owner == 0 : m->at[at].zone == 0); i++)
		at = (at + 1) % m->c.units;
	at = segment_start(m, at);
	end = segment_end(m, at);
	if (below(m->c.policy == EXTENT_BUDDY ? 16 : 5) == 0) {
		at += below(end - at);
		end -= below(end - at);
	}
	return (struct extent){m->c.base + at, end - at};
}

static struct extent some_zone(const struct model *m)
{
	struct extent run = some_run(m, false);
	uint64_t at = run.first - m->c.base, end;
	uint32_t zone = m->at[at].zone;

	for (end = at; end < m->c.units && m->at[end].zone == zone; end++)
		;
	while (at > 0 && m->at[at - 1].zone == zone)
		at--;
	return (struct extent){m->c.base + at, end - at};
}

static void any_ask(struct deed *d, const struct mood *mood)
{
	d->verb = ALLOC;
	d->ask.units = 1 + below(below(4) ? (mood->longest + 3) / 4 : mood->longest);
	d->ask.align = below(3) ? below(2) : UINT64_C(1) << below(6);
	d->ask.movable = !mood->plain && below(2);
	if (below(200) == 0)
		d->ask = (struct extent_request){.units = below(3), .align = below(8)};
}

static struct deed any_deed(const struct model *m, const struct mood *mood)
{
	static const unsigned char often[VERBS] = {
		[ALLOC_AT] = 8, [FREE] = 45,   [RESIZE] = 14,	[PIN] = 6,
		[UNPIN] = 11,	[RESERVE] = 5, [UNRESERVE] = 4, [CLAIM] = 7,
	};
	struct deed d = {.flag = below(2), .max = (uint32_t)below(LIST_MAX + 1)};
	unsigned dice = (unsigned)below(100);

	if (below(100) < mood->fill) {
		any_ask(&d, mood);
		return d;
	}
	for (d.verb = ALLOC_AT; dice >= often[d.verb]; d.verb++)
		dice -= often[d.verb];
	if (mood->plain && d.verb > FREE)
		d.verb = FREE;
	if (d.verb == ALLOC_AT || d.verb == RESERVE || below(16) == 0)
		d.run = any_run(m, mood->longest);
	else if (d.verb == UNRESERVE)
		d.run = some_zone(m);
	else
		d.run = some_run(m, d.verb != CLAIM || below(8) == 0);
	if (d.verb == FREE || d.verb == UNPIN)
		for (unsigned i = 0; i < 3 && !m->at[(d.run.first - m->c.base) % m->c.units].pins == (d.verb == UNPIN);
		     i++)
			d.run = some_run(m, true);
	d.units = below(4) ? d.run.units + below(9) - 4 * (d.run.units > 4) : below(mood->longest);
	return d;
}

/* What there is room for is given, and one unit more is not; e is spoilt then. */
static bool room_is_right(struct extent_space *e)
{
	enum extent_policy policy = extent_config_read(e).policy;
	struct extent_request ask = {.units = extent_room(e) + 1};
	struct extent got;

	if (extent_alloc(e, &ask, &got) == MM_OK)
		return false;
	return --ask.units == 0 ||
	       (extent_alloc(e, &ask, &got) == MM_OK && got.units == extent_given(policy, ask.units));
}

/* Into other memory, from where it must go on as if nothing had been. */
static void world_regrow(struct world *w)
{
	uint32_t segments_max = w->m.c.segments_max;
	struct extent_stats s = w->m.stats;
	void *old = w->meta;
	struct extent_space *e;
	enum mm_err err = extent_regrow(w->e, w->before, w->bytes, segments_max, &e);

	ck_assert_int_eq(err == MM_ESTATE, s.units_zone > 0);
	if (w->m.c.policy != EXTENT_BUDDY || s.holes + s.extents + 64 <= segments_max)
		ck_assert(err == MM_OK || err == MM_ESTATE);
	if (err != MM_OK)
		return;
	w->e = e;
	w->meta = w->before;
	w->before = old;
	ck_assert(extent_check(e));
	err = extent_regrow(e, old, w->bytes, (uint32_t)(s.holes + s.extents - 1), &e);
	ck_assert(err == MM_ENOMEM || err == MM_EINVAL);
	if (s.holes + s.extents + 64 <= segments_max)
		ck_assert(extent_regrow(w->e, old, w->bytes, segments_max, &e) == MM_OK && room_is_right(e));
}

/* A hint looks where any number leads, however wrong, and leaves each byte as it is: that it looks nowhere else, the
 * sanitizer sees. */
static bool hints_change_nothing(struct world *w)
{
	memcpy(w->before, w->e, w->bytes);
	for (unsigned step = 0; step < EXTENT_HINTS; step++) {
		extent_hint(w->e, (w->m.c.base << w->shift) + below(w->m.c.units) * (UINT64_C(1) << w->shift), step);
		extent_hint(w->e, below(UINT64_MAX), step);
	}
	return memcmp(w->before, w->e, w->bytes) == 0;
}

static void random_world(const struct extent_config *c, unsigned shift, struct mood mood, unsigned deeds)
{
	static struct world w;

	world_make(&w, c, shift);
	for (unsigned i = 0; i < deeds; i++) {
		struct deed d;

		/* The tide goes out now and then, so that large holes come back. */
		mood.fill = i / (2 * (unsigned)c->units + 100) % 3 == 2 ? 15 : 50;
		d = any_deed(&w.m, &mood);
		world_do(&w, &d, below(4) == 0);
		if (i % mood.check == 0 && !extent_check(w.e))
			deed_abort(&w, &d, "check", UNTOUCHED, UNTOUCHED);
		if (i % (8 * mood.check) == 0 && !same_segments(&w))
			deed_abort(&w, &d, "segments", UNTOUCHED, UNTOUCHED);
		if (i % (8 * mood.check) == 0 && !hints_change_nothing(&w))
			deed_abort(&w, &d, "hints", UNTOUCHED, UNTOUCHED);
		if (i % (32 * mood.check) == 0)
			world_regrow(&w);
	}
	ck_assert(same_segments(&w) && extent_check(w.e));
	world_free(&w);
}

/* _i is a policy, in all of these. */
START_TEST(random_deeds)
{
	const uint64_t bases[] = {0, 1, 1000003, UINT64_C(1) << 32, -(uint64_t)200};

	seed(3 + (uint64_t)_i);
	for (unsigned i = 0; i < sizeof(bases) / sizeof(*bases); i++) {
		struct extent_config c = {.base = bases[i], .policy = (enum extent_policy)_i};

		c.units = 200;
		c.segments_max = 401;
		random_world(&c, 0, (struct mood){.longest = 30, .check = 2}, 3500);
		random_world(&c, 0, (struct mood){.longest = 30, .check = 1, .plain = true}, 3500);
		c.units = 60;
		c.segments_max = 121;
		random_world(&c, 0, (struct mood){.longest = 9, .check = 1}, 5000);
		c.units = 1;
		random_world(&c, 0, (struct mood){.longest = 1, .check = 1}, 200);
		for (unsigned j = 0; j < 10; j++) {
			c.units = 1 + below(100);
			c.segments_max = 1 + (uint32_t)below(20);
			random_world(&c, 0, (struct mood){.longest = 9, .check = 1}, 500);
		}
	}
}
END_TEST

/* Units too many for keys of one word, and the last units of all. */
START_TEST(random_deeds_wide)
{
	const unsigned shifts[] = {26, 33, 56};

	seed(30 + (uint64_t)_i);
	for (unsigned i = 0; i < sizeof(shifts) / sizeof(*shifts); i++)
		for (unsigned top = 0; top < 2; top++) {
			struct extent_config c = {.units = 200, .segments_max = 401, .policy = (enum extent_policy)_i};

			c.base = top ? (UINT64_C(1) << (64 - shifts[i])) - c.units : i;
			random_world(&c, shifts[i], (struct mood){.longest = 30, .check = 2}, 3500);
			c.segments_max = 40;
			random_world(&c, shifts[i], (struct mood){.longest = 9, .check = 1}, 1000);
		}
}
END_TEST

/* Enough segments for inner nodes above inner nodes. */
START_TEST(random_deeds_deep)
{
	struct extent_config c = {
		.base = 77, .units = UNITS_MAX, .segments_max = 2 * UNITS_MAX, .policy = (enum extent_policy)_i};

	seed(60 + (uint64_t)_i);
	random_world(&c, 0, (struct mood){.longest = 3, .check = 100}, 20000);
	random_world(&c, 40, (struct mood){.longest = 3, .check = 100}, 10000);
}
END_TEST

/* ---- each policy's promise, spelled out once ---- */

static _Alignas(64) unsigned char memory[1 << 16];

static struct extent_space *space_in(void *meta, size_t bytes, struct extent_config c)
{
	struct extent_space *e;

	memset(meta, 0xff, extent_meta_bytes(c.segments_max));
	ck_assert_int_eq(extent_init(meta, bytes, &c, &e), MM_OK);
	return e;
}

static struct extent_space *space(enum extent_policy policy, uint64_t base, uint64_t units)
{
	return space_in(memory, sizeof(memory), (struct extent_config){base, units, 200, policy});
}

/* Holes at 10 (5 long), 20 (3), 30 (9), 45 (3), 60 (9): the rest taken. */
static struct extent_space *comb(enum extent_policy policy)
{
	const struct extent taken[] = {{0, 10}, {15, 5}, {23, 7}, {39, 6}, {48, 12}, {69, 31}};
	struct extent_space *e = space(policy, 0, 100);

	for (unsigned i = 0; i < sizeof(taken) / sizeof(*taken); i++)
		ck_assert_int_eq(extent_alloc_at(e, taken[i], false), MM_OK);
	return e;
}

static uint64_t put(struct extent_space *e, uint64_t units, uint64_t align)
{
	struct extent_request ask = {.units = units, .align = align};
	struct extent out = {.first = UINT64_MAX};

	if (extent_alloc(e, &ask, &out) == MM_OK)
		ck_assert_uint_ge(out.units, units);
	ck_assert(extent_check(e));
	return out.first;
}

START_TEST(promises)
{
	ck_assert_uint_eq(put(comb(EXTENT_FIRST_FIT), 3, 0), 10);
	ck_assert_uint_eq(put(comb(EXTENT_FIRST_FIT), 6, 0), 30);
	ck_assert_uint_eq(put(comb(EXTENT_FIRST_FIT), 4, 4), 32);
	ck_assert_uint_eq(put(comb(EXTENT_FIRST_FIT), 10, 0), UINT64_MAX);
	ck_assert_uint_eq(put(comb(EXTENT_BEST_FIT), 3, 0), 20);
	ck_assert_uint_eq(put(comb(EXTENT_BEST_FIT), 1, 16), 32);
	ck_assert_uint_eq(put(comb(EXTENT_BEST_FIT), 4, 0), 10);
	ck_assert_uint_eq(put(comb(EXTENT_WORST_FIT), 1, 0), 30);
	ck_assert_uint_eq(put(comb(EXTENT_WORST_FIT), 1, 64), 64);
	ck_assert_uint_eq(put(comb(EXTENT_WORST_FIT), 2, 4), 32);
	ck_assert_uint_eq(put(comb(EXTENT_WORST_FIT), 1, 128), UINT64_MAX);
	ck_assert_uint_eq(put(comb(EXTENT_SEGREGATED), 3, 0), 20);
	ck_assert_uint_eq(put(comb(EXTENT_SEGREGATED), 7, 0), 30);
}
END_TEST

/* Two holes of a length next to each other, the lower one out of step: of narrow keys and of wide ones (_i). */
START_TEST(equals_that_do_not_fit_are_passed)
{
	struct extent_space *e = space(EXTENT_BEST_FIT, 0, _i ? UINT64_C(1) << 40 : 1000);

	ck_assert_int_eq(extent_alloc_at(e, (struct extent){0, 30}, false), MM_OK);
	ck_assert_int_eq(extent_free(e, (struct extent){9, 3}), MM_OK);
	ck_assert_int_eq(extent_free(e, (struct extent){20, 3}), MM_OK);
	ck_assert_uint_eq(put(e, 2, 4), 20);
	ck_assert_uint_eq(put(e, 2, 0), 9);
	ck_assert_uint_eq(put(e, 2, 4), 32);
}
END_TEST

/* The part of an extent that joins the hole at its side needs no segment; not for a moment, either. */
START_TEST(a_full_leaf_gives_way)
{
	const struct extent_config c = {0, 1000, EXTENT_LEAF_SLOTS, (enum extent_policy)_i};
	struct extent_space *e = space_in(memory, extent_config_bytes(&c), c);
	uint64_t at = 10;

	for (; extent_stats_read(e).holes + extent_stats_read(e).extents < EXTENT_LEAF_SLOTS; at += 10)
		ck_assert_int_eq(extent_alloc_at(e, (struct extent){at, 10}, false), MM_OK);
	ck_assert_int_eq(extent_free(e, (struct extent){10, 4}), MM_OK);
	ck_assert_int_eq(extent_free(e, (struct extent){at - 5, 5}), MM_OK);
	ck_assert_int_eq(extent_resize(e, (struct extent){at - 10, 5}, 8, NULL), MM_OK);
	ck_assert_int_eq(extent_free(e, (struct extent){30, 4}), MM_ENOMEM);
	ck_assert(extent_check(e));
}
END_TEST

START_TEST(next_fit_goes_round)
{
	struct extent_space *e = comb(EXTENT_NEXT_FIT);

	ck_assert_uint_eq(put(e, 3, 0), 10);
	ck_assert_uint_eq(put(e, 3, 0), 20);
	ck_assert_uint_eq(put(e, 2, 0), 30);
	ck_assert_uint_eq(put(e, 2, 0), 32);
	/* the hole around the cursor, at 34, counts from the cursor on */
	ck_assert_int_eq(extent_free(e, (struct extent){30, 2}), MM_OK);
	ck_assert_int_eq(extent_free(e, (struct extent){32, 2}), MM_OK);
	ck_assert_uint_eq(put(e, 6, 0), 60);
	ck_assert_uint_eq(put(e, 7, 0), 30);
	/* what was put at a place moves no cursor */
	ck_assert_int_eq(extent_alloc_at(e, (struct extent){45, 3}, false), MM_OK);
	ck_assert_uint_eq(put(e, 2, 0), 37);
	ck_assert_uint_eq(put(e, 2, 0), 66);
	ck_assert_uint_eq(put(e, 2, 0), 13);
}
END_TEST

START_TEST(roundings)
{
	const uint64_t asked[] = {1, 8, 15, 16, 17, 19, 31, 33, 36, 37, 257, 288, 289};
	const uint64_t class[] = {1, 8, 15, 16, 18, 20, 32, 36, 36, 40, 288, 288, 320};
	struct extent_request ask = {0};
	struct extent out;

	for (unsigned i = 0; i < sizeof(asked) / sizeof(*asked); i++) {
		ask.units = asked[i];
		ck_assert_int_eq(extent_alloc(space(EXTENT_SEGREGATED, 0, 1000), &ask, &out), MM_OK);
		ck_assert_uint_eq(out.units, class[i]);
	}
	ask.units = 33;
	ck_assert_int_eq(extent_alloc(space(EXTENT_BUDDY, 0, 1000), &ask, &out), MM_OK);
	ck_assert_uint_eq(out.units, 64);
	ck_assert_uint_eq(out.first, 512 + 256 + 128); /* the 64 that 1000 = 512 + 256 + 128 + 64 + 32 + 8 has */
	ask.units = (UINT64_C(1) << 63) + 1;
	ck_assert_int_eq(extent_alloc(space(EXTENT_BUDDY, 0, 1000), &ask, &out), MM_EINVAL);
	ask.units = UINT64_MAX;
	ck_assert_int_eq(extent_alloc(space(EXTENT_SEGREGATED, 0, 1000), &ask, &out), MM_EINVAL);
	ck_assert_int_eq(extent_alloc(space(EXTENT_BEST_FIT, 0, 1000), &ask, &out), MM_ENOMEM);
}
END_TEST

START_TEST(pins_have_a_limit)
{
	struct extent_space *e = space(EXTENT_BEST_FIT, 5, 10);
	const unsigned most = (1u << 24) - 1;
	struct extent_segment s;
	unsigned bad = 0;

	ck_assert_int_eq(extent_alloc_at(e, (struct extent){6, 3}, true), MM_OK);
	ck_assert_int_eq(extent_pin(e, 7), MM_OK);
	extent_pins(e, 0)[1] = most - 5;
	for (unsigned i = 0; i < 5; i++)
		bad += extent_pin(e, 6 + i % 3) != MM_OK;
	ck_assert_uint_eq(bad, 0);
	ck_assert_int_eq(extent_pin(e, 6), MM_ENOMEM);
	ck_assert(extent_segment_at(e, 8, &s) && s.pins == most && extent_check(e));
	ck_assert_int_eq(extent_free(e, (struct extent){6, 1}), MM_EBUSY);
	ck_assert_int_eq(extent_resize(e, (struct extent){6, 3}, 2, NULL), MM_EBUSY);
	ck_assert_int_eq(extent_resize(e, (struct extent){6, 3}, 5, NULL), MM_OK);
	ck_assert_uint_eq(extent_stats_read(e).units_pinned, 5);
	extent_pins(e, 0)[1] = 5;
	for (unsigned i = 0; i < 5; i++)
		bad += extent_unpin(e, 10) != MM_OK;
	ck_assert_uint_eq(bad, 0);
	ck_assert_int_eq(extent_unpin(e, 6), MM_ESTATE);
	ck_assert_int_eq(extent_free(e, (struct extent){6, 5}), MM_OK);
	ck_assert_uint_eq(extent_stats_read(e).holes, 1);
}
END_TEST

START_TEST(zones_one_by_one)
{
	struct extent_space *e = space(EXTENT_FIRST_FIT, 0, 100);
	const struct extent_request fixed = {.units = 90}, moves = {.units = 10, .movable = true};
	struct extent out = {7, 7}, in_way[2] = {{7, 7}, {7, 7}};
	uint32_t n = 77;

	ck_assert_int_eq(extent_reserve(e, (struct extent){20, 30}, true), MM_OK);
	ck_assert_int_eq(extent_reserve(e, (struct extent){50, 10}, false), MM_OK);
	ck_assert_int_eq(extent_reserve(e, (struct extent){59, 2}, false), MM_EEXIST);
	ck_assert_int_eq(extent_alloc(e, &fixed, &out), MM_ENOMEM);
	ck_assert_int_eq(extent_alloc_at(e, (struct extent){0, 20}, false), MM_OK);
	ck_assert_int_eq(extent_alloc_at(e, (struct extent){60, 40}, false), MM_OK);
	ck_assert_int_eq(extent_alloc_at(e, (struct extent){45, 5}, false), MM_EEXIST);
	ck_assert_int_eq(extent_alloc_at(e, (struct extent){45, 6}, true), MM_EEXIST);
	ck_assert_int_eq(extent_alloc_at(e, (struct extent){50, 1}, true), MM_EEXIST);
	for (unsigned i = 0; i < 3; i++)
		ck_assert_int_eq(extent_alloc(e, &moves, &out), MM_OK);
	ck_assert_uint_eq(out.first, 40);
	ck_assert_int_eq(extent_alloc(e, &moves, &out), MM_ENOMEM);
	ck_assert_int_eq(extent_pin(e, 40), MM_ESTATE);
	ck_assert_int_eq(extent_claim(e, (struct extent){25, 20}, in_way, 1, &n), MM_EBUSY);
	ck_assert_uint_eq(n, 3);
	ck_assert(in_way[0].first == 20 && in_way[0].units == 10 && in_way[1].first == 7);
	ck_assert_int_eq(extent_claim(e, (struct extent){25, 20}, NULL, 0, &n), MM_EBUSY);
	ck_assert_int_eq(extent_unreserve(e, (struct extent){20, 30}), MM_EBUSY);
	ck_assert_int_eq(extent_unreserve(e, (struct extent){20, 40}), MM_ENOENT);
	ck_assert_int_eq(extent_unreserve(e, (struct extent){20, 20}), MM_ENOENT);
	ck_assert_int_eq(extent_unreserve(e, (struct extent){21, 29}), MM_ENOENT);
	ck_assert_int_eq(extent_unreserve(e, (struct extent){0, 20}), MM_ENOENT);
	ck_assert_int_eq(extent_unreserve(e, (struct extent){0, 0}), MM_ENOENT);
	ck_assert_int_eq(extent_claim(e, (struct extent){45, 10}, NULL, 0, &n), MM_ENOENT);
	ck_assert_int_eq(extent_claim(e, (struct extent){55, 10}, NULL, 0, &n), MM_ENOENT);
	ck_assert_int_eq(extent_claim(e, (struct extent){99, 2}, NULL, 0, &n), MM_ENOENT);
	ck_assert_int_eq(extent_claim(e, (struct extent){50, 0}, NULL, 0, &n), MM_EINVAL);
	for (unsigned i = 0; i < 3; i++)
		ck_assert_int_eq(extent_free(e, (struct extent){20 + 10 * i, 10}), MM_OK);
	ck_assert_int_eq(extent_claim(e, (struct extent){25, 20}, NULL, 0, &n), MM_OK);
	ck_assert_uint_eq(n, 0);
	ck_assert_int_eq(extent_claim(e, (struct extent){25, 1}, NULL, 0, &n), MM_EEXIST);
	ck_assert_int_eq(extent_pin(e, 40), MM_OK);
	ck_assert_int_eq(extent_unpin(e, 40), MM_OK);
	ck_assert_int_eq(extent_free(e, (struct extent){25, 20}), MM_OK);
	ck_assert_int_eq(extent_unreserve(e, (struct extent){20, 30}), MM_OK);
	ck_assert_int_eq(extent_unreserve(e, (struct extent){50, 10}), MM_OK);
	ck_assert_uint_eq(extent_stats_read(e).largest_hole, 40);
	ck_assert(extent_check(e));
}
END_TEST

/* ---- arguments ---- */

START_TEST(init_refuses)
{
	const struct extent_config good = {0, 1, 64, EXTENT_BEST_FIT};
	const struct extent_config bad[] = {
		{0, 1, 0, EXTENT_BEST_FIT},
		{0, 0, 64, EXTENT_BEST_FIT},
		{2, UINT64_MAX, 64, EXTENT_BUDDY},
		{UINT64_MAX, 2, 64, EXTENT_FIRST_FIT},
		{0, 7, 2, EXTENT_BUDDY},
		{0, 1, 64, (enum extent_policy)EXTENT_POLICIES},
		{0, 1, 64, (enum extent_policy) - 1},
	};
	size_t bytes = extent_meta_bytes(64);
	struct extent_space *e = NULL;

	ck_assert_uint_eq(extent_meta_bytes(0), 0);
	ck_assert_uint_gt(extent_meta_bytes(UINT32_MAX), UINT64_C(20) * UINT32_MAX);
	ck_assert_uint_le(bytes, sizeof(memory));
	for (uint32_t n = 1; n < 3000; n++)
		if (extent_meta_bytes(n) > extent_meta_bytes(n + 1))
			ck_abort_msg("%u segments need more than %u", n, n + 1);
	ck_assert_int_eq(extent_init(NULL, bytes, &good, &e), MM_EINVAL);
	ck_assert_int_eq(extent_init(memory + 32, bytes, &good, &e), MM_EINVAL);
	ck_assert_int_eq(extent_init(memory, extent_config_bytes(&good) - 1, &good, &e), MM_EINVAL);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		ck_assert_int_eq(extent_init(memory, sizeof(memory), &bad[i], &e), MM_EINVAL);
	ck_assert_ptr_null(e);
	ck_assert_int_eq(extent_init(memory, extent_config_bytes(&good), &good, &e), MM_OK);
	for (unsigned policy = 0; policy < EXTENT_POLICIES; policy++) {
		struct extent_config any = {0, UINT64_MAX, 64, (enum extent_policy)policy};

		ck_assert_uint_le(extent_config_bytes(&any), bytes);
		any.units = 1;
		ck_assert_uint_le(extent_config_bytes(&any), bytes);
	}
	ck_assert_uint_eq(extent_config_bytes(&bad[0]), 0);
	ck_assert_uint_eq(extent_config_bytes(&bad[5]), 0);
	e = space_in(memory, sizeof(memory), (struct extent_config){0, 7, 3, EXTENT_BUDDY});
	ck_assert(extent_check(e) && extent_stats_read(e).holes == 3);
}
END_TEST

/* _i is a policy. */
START_TEST(arguments_refused)
{
	const struct extent outside[] = {{4, 2}, {14, 2}, {15, 1}, {6, UINT64_MAX}, {6, 0}, {UINT64_MAX, 8}};
	bool rounds = _i == EXTENT_BUDDY || _i == EXTENT_SEGREGATED;
	struct extent_space *e = space((enum extent_policy)_i, 5, 10);
	struct extent_request ask = {.units = 0};
	struct extent_config config;
	struct extent out = {7, 7};
	uint64_t given = 77;
	uint32_t n = 77;

	ck_assert_int_eq(extent_alloc(e, &ask, &out), MM_EINVAL);
	ask = (struct extent_request){.units = 1, .align = 3};
	ck_assert_int_eq(extent_alloc(e, &ask, &out), MM_EINVAL);
	ask = (struct extent_request){.units = 11};
	ck_assert_int_eq(extent_alloc(e, &ask, &out), MM_ENOMEM);
	ask.movable = true;
	ck_assert_int_eq(extent_alloc(e, &ask, &out), MM_ENOMEM);
	for (unsigned i = 0; i < sizeof(outside) / sizeof(*outside); i++) {
		ck_assert_int_eq(extent_alloc_at(e, outside[i], true), MM_EINVAL);
		ck_assert_int_eq(extent_free(e, outside[i]), MM_EINVAL);
		ck_assert_int_eq(extent_resize(e, outside[i], 1, &given), MM_EINVAL);
		ck_assert_int_eq(extent_reserve(e, outside[i], true), MM_EINVAL);
		ck_assert_int_eq(extent_unreserve(e, outside[i]), MM_ENOENT);
		ck_assert_int_eq(extent_claim(e, outside[i], &out, 1, &n), outside[i].units ? MM_ENOENT : MM_EINVAL);
	}
	ck_assert_int_eq(extent_free(e, (struct extent){6, 1}), MM_ESTATE);
	ck_assert_int_eq(extent_resize(e, (struct extent){6, 1}, 1, &given), MM_ESTATE);
	ck_assert_int_eq(extent_pin(e, 4), MM_ENOENT);
	ck_assert_int_eq(extent_pin(e, 6), MM_ENOENT);
	ck_assert_int_eq(extent_unpin(e, 15), MM_ENOENT);
	ck_assert_int_eq(extent_unpin(e, 6), MM_ENOENT);
	ck_assert_int_eq(extent_alloc_at(e, (struct extent){8, 2}, false), MM_OK);
	ck_assert_int_eq(extent_resize(e, (struct extent){8, 2}, 0, &given), MM_EINVAL);
	ck_assert_int_eq(extent_resize(e, (struct extent){8, 2}, 9, &given), MM_ENOMEM);
	ck_assert_int_eq(extent_resize(e, (struct extent){8, 2}, UINT64_MAX, &given), rounds ? MM_EINVAL : MM_ENOMEM);
	ck_assert_int_eq(extent_resize(e, (struct extent){8, 2}, UINT64_C(1) << 63, &given), MM_ENOMEM);
	ck_assert_int_eq(extent_resize(e, (struct extent){6, 1}, UINT64_MAX, &given), rounds ? MM_EINVAL : MM_ESTATE);
	ck_assert_int_eq(extent_resize(e, (struct extent){8, 1}, 2, &given), MM_ESTATE);
	ck_assert_int_eq(extent_unpin(e, 9), MM_ESTATE);
	ck_assert_int_eq(extent_reserve(e, (struct extent){8, 1}, true), MM_EEXIST);
	ck_assert(out.first == 7 && given == 77 && n == 77 && extent_check(e));
	ck_assert_int_eq(extent_resize(e, (struct extent){8, 2}, 2, &given), MM_OK);
	ck_assert_uint_eq(given, 2);
	config = extent_config_read(e);
	ck_assert(config.base == 5 && config.units == 10 && config.segments_max == 200 &&
		  config.policy == (enum extent_policy)_i);
}
END_TEST

/* _i is a policy: 17 units are 32 under EXTENT_BUDDY, 19 are 20 under EXTENT_SEGREGATED. What is pinned may become
 * less, as long as it is given no less. */
START_TEST(pinned_by_what_is_given)
{
	struct extent_space *e = space((enum extent_policy)_i, 0, 64);
	uint64_t less = _i == EXTENT_BUDDY ? 16 : _i == EXTENT_SEGREGATED ? 18 : 19, given = 77;
	struct extent_request ask = {.units = less + 1};
	struct extent_segment s;
	struct extent run;

	ck_assert_int_eq(extent_alloc(e, &ask, &run), MM_OK);
	ck_assert_int_eq(extent_resize(e, run, run.units, &given), MM_OK);
	ck_assert_int_eq(extent_pin(e, run.first), MM_OK);
	ck_assert_int_eq(extent_resize(e, run, less + 1, &given), MM_OK);
	ck_assert_uint_eq(given, run.units);
	ck_assert(extent_segment_at(e, run.first, &s) && s.asked == less + 1 && s.pins == 1);
	given = 77;
	ck_assert_int_eq(extent_resize(e, run, less, &given), MM_EBUSY);
	ck_assert(given == 77 && extent_segment_at(e, run.first, &s) && s.asked == less + 1 && extent_check(e));
}
END_TEST

START_TEST(buddy_refuses_what_it_never_gives)
{
	struct extent_space *e = space(EXTENT_BUDDY, 0, 64);
	uint32_t n;

	ck_assert_int_eq(extent_alloc_at(e, (struct extent){2, 4}, false), MM_EINVAL);
	ck_assert_int_eq(extent_alloc_at(e, (struct extent){0, 3}, false), MM_EINVAL);
	ck_assert_int_eq(extent_reserve(e, (struct extent){0, 3}, false), MM_EINVAL);
	ck_assert_int_eq(extent_reserve(e, (struct extent){32, 32}, false), MM_OK);
	ck_assert_int_eq(extent_claim(e, (struct extent){33, 2}, NULL, 0, &n), MM_EINVAL);
	ck_assert_int_eq(extent_alloc_at(e, (struct extent){0, 8}, false), MM_OK);
	ck_assert_int_eq(extent_free(e, (struct extent){0, 4}), MM_ESTATE);
	ck_assert_int_eq(extent_resize(e, (struct extent){0, 8}, 33, NULL), MM_ENOMEM);
	ck_assert_int_eq(extent_resize(e, (struct extent){0, 8}, 32, NULL), MM_OK);
	ck_assert_int_eq(extent_resize(e, (struct extent){0, 32}, 3, NULL), MM_OK);
	ck_assert_int_eq(extent_free(e, (struct extent){0, 4}), MM_OK);
	ck_assert(extent_check(e) && extent_stats_read(e).holes == 2);
}
END_TEST

/* ---- the ends of 64 bits ---- */

START_TEST(edges_of_64_bits)
{
	struct extent_space *e = space(EXTENT_FIRST_FIT, 1, UINT64_MAX); /* ends at 2^64 */
	struct extent_segment s;

	ck_assert_uint_eq(put(e, 1, UINT64_C(1) << 63), UINT64_C(1) << 63);
	ck_assert_uint_eq(put(e, 1, UINT64_C(1) << 63), UINT64_MAX); /* no other multiple */
	ck_assert_int_eq(extent_alloc_at(e, (struct extent){UINT64_MAX, 1}, false), MM_OK);
	ck_assert_uint_eq(put(e, (UINT64_C(1) << 62) - 1, UINT64_C(1) << 62), UINT64_C(1) << 62);
	ck_assert(extent_segment_at(e, UINT64_MAX, &s));
	ck_assert(s.taken && s.run.first == UINT64_MAX && s.run.first + s.run.units == 0);
	ck_assert(!extent_segment_at(e, 0, &s));
	ck_assert_int_eq(extent_free(e, (struct extent){UINT64_MAX, 1}), MM_OK);
	ck_assert(extent_check(e));

	e = space(EXTENT_BEST_FIT, 0, UINT64_MAX);
	ck_assert_uint_eq(put(e, UINT64_MAX, 0), 0);
	ck_assert(!extent_segment_at(e, UINT64_MAX, &s));
	ck_assert_uint_eq(extent_stats_read(e).largest_hole, 0);
	ck_assert_int_eq(extent_free(e, (struct extent){1, UINT64_MAX - 2}), MM_OK);
	ck_assert_uint_eq(extent_stats_read(e).extents, 2);
	ck_assert(extent_check(e));

	e = space(EXTENT_NEXT_FIT, UINT64_MAX, 1);
	ck_assert_uint_eq(put(e, 1, 2), UINT64_MAX);
	ck_assert_uint_eq(extent_stats_read(e).extents, 0); /* that was a refusal: 2^64 - 1 is odd */
	ck_assert_uint_eq(put(e, 1, 1), UINT64_MAX);
	ck_assert_uint_eq(extent_stats_read(e).extents, 1);

	e = space(EXTENT_BUDDY, 0, UINT64_MAX);
	ck_assert_uint_eq(extent_stats_read(e).holes, 64);
	ck_assert_uint_eq(put(e, (UINT64_C(1) << 62) + 1, 0), 0);
	e = space(EXTENT_BUDDY, UINT64_C(1) << 63, UINT64_C(1) << 63);
	ck_assert_uint_eq(put(e, 1, 0), UINT64_C(1) << 63);
	ck_assert_uint_eq(extent_stats_read(e).holes, 63);
	ck_assert_int_eq(extent_resize(e, (struct extent){UINT64_C(1) << 63, 1}, UINT64_C(1) << 63, NULL), MM_OK);
	ck_assert_uint_eq(extent_stats_read(e).holes, 0);
}
END_TEST

/* Every number but one, and keys of one word at their longest; more segments than one leaf has. */
START_TEST(all_numbers)
{
	const uint64_t spaces[] = {UINT64_MAX, UINT32_MAX, UINT64_C(1) << 32};

	for (unsigned i = 0; i < sizeof(spaces) / sizeof(*spaces); i++) {
		uint64_t n = spaces[i];
		struct extent_config c = {0, n, 400, (enum extent_policy)_i};
		struct extent_space *e = space_in(memory, sizeof(memory), c);

		for (uint64_t at = 0; at < 60; at++)
			ck_assert_int_eq(extent_alloc_at(e, (struct extent){2 * at, 1}, false), MM_OK);
		for (uint64_t at = 1; at < 8; at++)
			ck_assert_int_eq(extent_alloc_at(e, (struct extent){n - 1 - 2 * at, 1}, false), MM_OK);
		ck_assert(extent_check(e));
		put(e, n - 200 - n % 2, 0);
		ck_assert_uint_eq(put(e, n, 0), UINT64_MAX); /* of no policy, from no place */
		put(e, n / 2, 2);
		put(e, 60, 0);
		put(e, 1, 0);
		put(e, 1, UINT64_C(1) << 63);
	}
}
END_TEST

/* ---- trees of 10^5 extents, against an array by unit ---- */

#define DEEP_EXTENTS 100000u

struct forest {
	struct extent_space *e;
	enum extent_policy policy;
	unsigned shift;
	uint64_t units, cursor;
	uint32_t *length; /* of the extent that starts at this unit; 0: none does */
	uint32_t *live;	  /* where the extents start, in no order */
	uint32_t n;
	unsigned bad;
};

/* What the policy must pick, by the array. */
static uint64_t forest_place(const struct forest *f, uint64_t units)
{
	uint64_t best = UINT64_MAX, place = UINT64_MAX;

	for (uint64_t at = 0, end; at < f->units; at = end) {
		uint64_t length, from = at;

		end = at + f->length[at];
		if (f->length[at])
			continue;
		while (end < f->units && f->length[end] == 0)
			end++;
		length = end - at;
		if (f->policy == EXTENT_NEXT_FIT && from < f->cursor)
			from = f->cursor;
		if (length < units)
			continue;
		if (f->policy == EXTENT_FIRST_FIT)
			return at;
		if (f->policy == EXTENT_NEXT_FIT) {
			if (from <= end && end - from >= units)
				return from;
			place = place < at ? place : at;
			continue;
		}
		if (f->policy == EXTENT_WORST_FIT)
			length = -length;
		if (length < best) {
			best = length;
			place = at;
		}
	}
	return place;
}

static void forest_note(struct forest *f, uint64_t first, uint64_t units)
{
	f->length[first] = (uint32_t)units;
	f->live[f->n++] = (uint32_t)first;
}

static void forest_alloc(struct forest *f, bool predict)
{
	struct extent_request ask = {.units = (1 + below(7)) << f->shift};
	uint64_t want = predict && f->policy != EXTENT_BUDDY ? forest_place(f, ask.units >> f->shift) : UINT64_MAX;
	struct extent out;

	if (extent_alloc(f->e, &ask, &out) != MM_OK) {
		f->bad += want != UINT64_MAX;
		return;
	}
	out = (struct extent){out.first >> f->shift, out.units >> f->shift};
	f->bad += want != UINT64_MAX && out.first != want;
	for (uint64_t i = 0; i < out.units; i++)
		f->bad += f->length[out.first + i] != 0;
	forest_note(f, out.first, out.units);
	f->cursor = out.first + out.units;
}

static void forest_free(struct forest *f, uint32_t i)
{
	struct extent run = {f->live[i], f->length[f->live[i]]};
	uint64_t keep = f->policy != EXTENT_BUDDY && run.units > 2 && below(16) == 0;

	f->live[i] = f->live[--f->n];
	f->length[run.first] = 0;
	if (keep) { /* one unit at each end */
		forest_note(f, run.first, 1);
		forest_note(f, run.first + run.units - 1, 1);
		run.first++;
		run.units -= 2;
	}
	f->bad += extent_free(f->e, scaled(run, f->shift)) != MM_OK;
}

static void forest_compare(struct forest *f)
{
	struct extent_stats s = extent_stats_read(f->e);
	struct extent_segment seg = {.run = {0, 0}};
	uint64_t extents = 0, asked = 0;

	ck_assert(extent_check(f->e));
	for (uint64_t at = 0; at < f->units; at += seg.run.units >> f->shift) {
		f->bad += !extent_segment_at(f->e, at << f->shift, &seg) || seg.run.first != at << f->shift;
		f->bad += seg.run.units >> f->shift != f->length[at] && seg.taken;
		f->bad += seg.taken != (f->length[at] != 0);
		extents += seg.taken;
		asked += seg.asked;
	}
	ck_assert_uint_eq(f->bad, 0);
	ck_assert(s.extents == f->n && extents == f->n && s.units_asked == asked);
}

/* Grows to 10^5 extents, lives there, and shrinks to the last segment, in random order or from either end. */
static void forest_round(struct forest *f, unsigned order)
{
	for (uint32_t i = 0; f->n < DEEP_EXTENTS && i < 4 * DEEP_EXTENTS; i++) {
		forest_alloc(f, i % 20000 == 1);
		if (f->n > 0 && below(4) == 0)
			forest_free(f, (uint32_t)below(f->n));
	}
	forest_compare(f);
	for (uint32_t i = 0; i < DEEP_EXTENTS / 2; i++) {
		forest_free(f, (uint32_t)below(f->n));
		forest_alloc(f, i % 5000 == 1);
	}
	forest_compare(f);
	if (order == 0)
		while (f->n > 0) {
			forest_free(f, (uint32_t)below(f->n));
			if (f->n == 30000 || f->n == 2000 || f->n == 50)
				forest_compare(f);
		}
	for (uint64_t i = 0; i < f->units; i++) {
		uint64_t at = order == 1 ? i : f->units - 1 - i;

		if (f->length[at] == 0)
			continue;
		f->bad += extent_free(f->e, scaled((struct extent){at, f->length[at]}, f->shift)) != MM_OK;
		f->length[at] = 0;
		f->n--;
		if (f->n % 40000 == 20000)
			forest_compare(f);
	}
	f->n = 0;
	forest_compare(f);
	ck_assert_uint_eq(extent_stats_read(f->e).holes, 1);
}

START_TEST(deep_trees)
{
	struct forest f = {.policy = (enum extent_policy)_i, .units = 1u << 19};
	struct extent_config c = {.segments_max = 2 * DEEP_EXTENTS + 20000, .policy = f.policy};
	size_t bytes = extent_meta_bytes(c.segments_max);
	void *meta = aligned_alloc(64, bytes);

	seed(90 + (uint64_t)_i);
	f.length = calloc(f.units, sizeof(*f.length));
	f.live = calloc(f.units, sizeof(*f.live));
	for (unsigned wide = 0; wide < 2; wide++) {
		f.shift = wide * 40;
		f.cursor = 0;
		c.units = f.units << f.shift;
		f.e = space_in(meta, bytes, c);
		forest_round(&f, 0);
		forest_round(&f, 1 + wide);
	}
	free(meta);
	free(f.length);
	free(f.live);
}
END_TEST

/* ---- every segment that was promised ---- */

/* The leaves, in order, lose extents until each has as few segments as it may. */
static void thin_out(struct extent_space *e)
{
	uint32_t n = e->root[EXTENT_BY_ADDRESS].node;

	for (uint32_t level = e->root[EXTENT_BY_ADDRESS].height; level > 0; level--)
		n = extent_inner(e, n)->child[0];
	for (; n != EXTENT_NONE; n = extent_leaf(e, n)->head.next) {
		const struct extent_leaf *l = extent_leaf(e, n);

		for (uint32_t i = 1;
		     i + 1 < l->head.count && l->head.count > (uint32_t)EXTENT_FEW(EXTENT_LEAF_SLOTS) + 1;) {
			struct extent run = {e->base + l->first[i], l->first[i + 1] - l->first[i]};

			if (!(l->mark[i] & EXTENT_TAKEN) || extent_free(e, run) != MM_OK)
				i++;
		}
	}
}

/* Extents of one unit, at random, until no room is left for one more hole: what needs none may still be done. */
static void fill_up(struct extent_space *e, uint32_t most)
{
	struct extent_stats s = extent_stats_read(e);
	unsigned bad = 0;

	for (uint64_t i = 0; s.holes + s.extents + 2 <= most && i < 40 * (uint64_t)most; i++) {
		enum mm_err err = extent_alloc_at(e, (struct extent){e->base + below(e->units), 1}, false);

		bad += err != MM_OK && err != MM_EEXIST && !(err == MM_ENOMEM && e->policy == EXTENT_BUDDY);
		s = extent_stats_read(e);
	}
	ck_assert_uint_eq(bad, 0);
	ck_assert(s.holes + s.extents + 2 >= most || e->policy == EXTENT_BUDDY);
	ck_assert(extent_check(e));
}

/* At the brim: the last ones, and then what is refused changes nothing. */
static void refuse_more(struct extent_space *e, uint32_t most, void *before, size_t bytes)
{
	struct extent_segment s;
	unsigned refused = 0;

	for (uint64_t at = 0; at < e->units && refused < 50; at += s.run.units) {
		struct extent middle;
		enum mm_err err;

		ck_assert(extent_segment_at(e, e->base + at, &s));
		middle = (struct extent){s.run.first + s.run.units / 2, 1};
		if (s.run.units < 3)
			continue;
		memcpy(before, e, bytes);
		err = s.taken ? extent_free(e, middle) : extent_alloc_at(e, middle, true);
		if (err == MM_OK)
			continue;
		refused++;
		ck_assert_int_eq(err, e->policy == EXTENT_BUDDY && s.taken ? MM_ESTATE : MM_ENOMEM);
		ck_assert(memcmp(before, e, bytes) == 0);
		if (s.taken)
			continue;
		ck_assert_int_eq(extent_reserve(e, middle, true), MM_ENOMEM);
		ck_assert(memcmp(before, e, bytes) == 0);
		if (e->policy == EXTENT_BUDDY || e->holes + e->extents == most)
			continue;
		middle.first = s.run.first; /* one more: that is the last */
		ck_assert_int_eq(extent_alloc_at(e, middle, false), MM_OK);
		ck_assert_uint_eq(e->holes + e->extents, most);
	}
	ck_assert(extent_check(e));
}

static void all_promised(enum extent_policy policy, uint32_t most, uint64_t units)
{
	size_t bytes = extent_meta_bytes(most);
	void *meta = aligned_alloc(64, bytes + -bytes % 64), *before = malloc(bytes);
	struct extent_space *e;

	memset(meta, 0xff, bytes);
	e = space_in(meta, bytes, (struct extent_config){0, units, most, policy});
	for (unsigned round = 0; round < 4; round++) {
		fill_up(e, most);
		refuse_more(e, most, before, extent_layout(e));
		thin_out(e);
		ck_assert(extent_check(e));
	}
	fill_up(e, most);
	ck_assert(extent_check(e));
	free(meta);
	free(before);
}

START_TEST(segments_max_is_reached)
{
	const uint32_t most[] = {1, 2, 3, 4, 26, 27, 28, 29, 54, 55, 80, 200, 1000, 2161, 6000};

	seed(120 + (uint64_t)_i);
	for (unsigned i = 0; i < sizeof(most) / sizeof(*most); i++) {
		all_promised((enum extent_policy)_i, most[i], 4 * most[i] > 1000 ? UINT64_C(1) << 15 : 1024);
		all_promised((enum extent_policy)_i, most[i], UINT64_C(1) << 34);
	}
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
			ck_abort_msg("policy %u: bit %zu of %s does not matter", e->policy, bit, name);
		byte[bit / 8] ^= (unsigned char)(1u << bit % 8);
	}
	if (!extent_check(e))
		ck_abort_msg("%s is not as it was", name);
}
#define MATTERS(e, field) must_matter(e, &(field), sizeof(field), #field)

#define OBJECTS(e, change, undo)                                                                                       \
	do {                                                                                                           \
		change;                                                                                                \
		if (extent_check(e))                                                                                   \
			ck_abort_msg("policy %u: no objection to " #change, (e)->policy);                              \
		undo;                                                                                                  \
		ck_assert(extent_check(e));                                                                            \
	} while (0)

/* A value that a field has for a while. */
#define OBJECTS_TO(e, field, value)                                                                                    \
	do {                                                                                                           \
		__typeof__(field) before = (field);                                                                    \
		OBJECTS(e, (field) = (value), (field) = before);                                                       \
	} while (0)

/* Some of everything, in a few leaves of each tree: units 0 to 400 without zones; [512, 528) lends and has one movable
 * extent, [528, 544) does not lend. */
static struct extent_space *zoo(enum extent_policy policy, unsigned shift)
{
	const struct extent_config c = {0, UINT64_C(1024) << shift, 600, policy};
	struct extent_space *e = space_in(memory, sizeof(memory), c);
	struct extent_request three = {.units = UINT64_C(3) << shift};
	struct extent out[100];

	for (unsigned i = 0; i < 100; i++)
		ck_assert_int_eq(extent_alloc(e, &three, &out[i]), MM_OK);
	for (unsigned i = 0; i < 100; i += 2)
		ck_assert_int_eq(extent_free(e, out[i]), MM_OK);
	ck_assert_int_eq(extent_reserve(e, scaled((struct extent){512, 16}, shift), true), MM_OK);
	ck_assert_int_eq(extent_reserve(e, scaled((struct extent){528, 16}, shift), false), MM_OK);
	ck_assert_int_eq(extent_alloc_at(e, scaled((struct extent){516, 2}, shift), true), MM_OK);
	ck_assert_int_eq(extent_pin(e, out[51].first), MM_OK);
	ck_assert(extent_check(e));
	return e;
}

static struct extent_leaf *leaf_with(struct extent_space *e, uint64_t offset, uint32_t *leaf, uint32_t *slot)
{
	struct extent_leaf *l;

	*leaf = extent_leaf_of(e, offset);
	l = extent_leaf(e, *leaf);
	*slot = extent_leaf_rank(l, offset) - 1;
	ck_assert_uint_lt(*slot, l->head.count);
	return l;
}

static void check_space_objects(struct extent_space *e)
{
	MATTERS(e, e->units);
	MATTERS(e, e->region);
	MATTERS(e, e->root[EXTENT_BY_ADDRESS]);
	MATTERS(e, e->wide);
	MATTERS(e, e->units_free);
	MATTERS(e, e->units_asked);
	MATTERS(e, e->units_zone);
	MATTERS(e, e->units_zone_free);
	MATTERS(e, e->units_pinned);
	MATTERS(e, e->holes);
	MATTERS(e, e->extents);
	MATTERS(e, e->pool[EXTENT_LEAVES]);
	MATTERS(e, e->pool[EXTENT_INNERS]);
	OBJECTS_TO(e, e->policy, (enum extent_policy)EXTENT_POLICIES);
	OBJECTS_TO(e, e->segments_max, e->segments_max * 2);
	OBJECTS_TO(e, e->segments_max, 1);
	OBJECTS_TO(e, e->units_free_min, e->units_free + 1);
	OBJECTS_TO(e, e->units_asked_max, e->units_asked - 1);
	OBJECTS_TO(e, e->extents_max, e->extents - 1);
	OBJECTS_TO(e, e->cursor, e->units + 1);
	if (e->region[EXTENT_SIZES] == 0)
		return;
	MATTERS(e, e->root[EXTENT_BY_SIZE]);
	MATTERS(e, e->root[EXTENT_BY_SIZE_LENT]);
	MATTERS(e, e->pool[EXTENT_SIZES]);
	MATTERS(e, e->longest);
}

static void check_leaf_objects(struct extent_space *e, struct extent_leaf *l)
{
	MATTERS(e, l->head);
	for (uint32_t i = 0; i <= EXTENT_LEAF_SLOTS; i++) {
		if (i >= l->head.count)
			MATTERS(e, l->mark[i]);
		else
			for (unsigned bit = EXTENT_TAKEN; bit <= 128; bit *= 2)
				if (bit & (EXTENT_TAKEN | EXTENT_ZONE | EXTENT_PINNED | EXTENT_SLACK | 128))
					OBJECTS_TO(e, l->mark[i], l->mark[i] ^ (uint8_t)bit);
	}
	for (uint32_t i = 0; i < EXTENT_LEAF_SLOTS; i += i + 3 < l->head.count ? 3 : 1)
		MATTERS(e, l->first[i]);
}

/* T1 and T4 of the root by address. */
static void check_inner_objects(struct extent_space *e)
{
	struct extent_inner *n = extent_inner(e, e->root[EXTENT_BY_ADDRESS].node);
	uint32_t count = n->head.count;
	const struct extent_leaf *low = extent_leaf(e, n->child[1]);

	MATTERS(e, n->head.count);
	must_matter(e, n->child, count * sizeof(*n->child), "child");
	MATTERS(e, n->least[0]);
	must_matter(e, &n->least[count], (EXTENT_INNER_SLOTS - count) * sizeof(*n->least), "unused least");
	OBJECTS_TO(e, n->least[1], low->first[0] + 1);
	OBJECTS_TO(e, n->least[2], low->first[low->head.count - 1]);
	OBJECTS_TO(e, n->least[2], n->least[1]);
	for (unsigned kind = 0; e->region[EXTENT_LARGEST] && kind < EXTENT_KINDS; kind++)
		must_matter(e, extent_largest(e, e->root[EXTENT_BY_ADDRESS].node, kind), count * sizeof(uint64_t),
			    "largest");
}

static void check_sizes_objects(struct extent_space *e, enum extent_tree t)
{
	struct extent_sizes *l = extent_sizes(e, e->root[t].last);

	if (e->region[EXTENT_SIZES] == 0)
		return;
	MATTERS(e, l->head);
	if (e->wide)
		MATTERS(e, l->wide);
	else
		MATTERS(e, l->narrow);
}

/* _i is a policy. */
START_TEST(check_objects)
{
	for (unsigned shift = 0; shift < 40; shift += 39) {
		struct extent_space *e = zoo((enum extent_policy)_i, shift);

		ck_assert_uint_ge(extent_inner(e, e->root[EXTENT_BY_ADDRESS].node)->head.count, 3);
		check_space_objects(e);
		check_inner_objects(e);
		check_leaf_objects(e, extent_leaf(e, e->root[EXTENT_BY_ADDRESS].last));
		check_leaf_objects(e, extent_leaf(e, extent_leaf_of(e, 0)));
		check_sizes_objects(e, EXTENT_BY_SIZE);
		check_sizes_objects(e, EXTENT_BY_SIZE_LENT);
	}
}
END_TEST

/* I3: what a mark says that no counter would tell. */
START_TEST(check_objects_to_marks)
{
	struct extent_space *e = zoo((enum extent_policy)_i, 0);
	uint32_t leaf, slot;
	struct extent_leaf *l = leaf_with(e, 516, &leaf, &slot);
	uint64_t was;

	ck_assert(l->mark[slot] == (EXTENT_TAKEN | EXTENT_MOVABLE | EXTENT_ZONE | EXTENT_LENT));
	OBJECTS_TO(e, l->mark[slot], l->mark[slot] & (uint8_t)~EXTENT_LENT);
	extent_pins(e, leaf)[slot] = 1;
	e->units_pinned += 2;
	l->mark[slot] |= EXTENT_PINNED;
	ck_assert(!extent_check(e));
	l->mark[slot] ^= EXTENT_MOVABLE; /* claimed, it may be pinned */
	ck_assert(extent_check(e));
	OBJECTS_TO(e, extent_pins(e, leaf)[slot], 0);
	OBJECTS_TO(e, extent_pins(e, leaf)[slot], 1u << 24);
	e->units_pinned -= 2;
	l->mark[slot] ^= EXTENT_MOVABLE | EXTENT_PINNED;

	for (unsigned mark = EXTENT_LENT; mark <= EXTENT_BORDER; mark *= 2) {
		l = leaf_with(e, 600, &leaf, &slot); /* a plain hole */
		OBJECTS_TO(e, l->mark[slot], l->mark[slot] | (uint8_t)mark);
	}
	OBJECTS_TO(e, l->mark[slot], l->mark[slot] | EXTENT_MOVABLE);
	was = e->units_pinned;
	e->units_pinned += extent_slot_end(e, l, slot) - l->first[slot];
	l->mark[slot] |= EXTENT_PINNED;
	extent_pins(e, leaf)[slot] = 1;
	ck_assert(!extent_check(e));
	l->mark[slot] ^= EXTENT_PINNED;
	e->units_pinned = was;
	l = leaf_with(e, 528, &leaf, &slot); /* the zone that does not lend */
	OBJECTS_TO(e, l->mark[slot], l->mark[slot] & (uint8_t)~EXTENT_BORDER);
}
END_TEST

START_TEST(check_objects_to_slack)
{
	struct extent_space *e = space(EXTENT_SEGREGATED, 0, 100);
	struct extent_request ask = {.units = 17};
	struct extent out;

	ck_assert_int_eq(extent_alloc(e, &ask, &out), MM_OK);
	ck_assert_uint_eq(extent_slacks(e, 0)[0], 1);
	MATTERS(e, extent_slacks(e, 0)[0]);
	extent_slacks(e, 0)[0] = 0;
	e->units_asked = e->units_asked_max = 18; /* that says the same, but then there is no slack to mark */
	ck_assert(!extent_check(e));
	extent_leaf(e, 0)->mark[0] ^= EXTENT_SLACK;
	ck_assert(extent_check(e));
}
END_TEST

/* I2: two holes side by side; everything else about them is right. */
START_TEST(check_objects_to_neighbours)
{
	struct extent_space *e = space(EXTENT_FIRST_FIT, 0, 8);
	struct extent_leaf *l = extent_leaf(e, 0);

	ck_assert_int_eq(extent_alloc_at(e, (struct extent){0, 4}, false), MM_OK);
	e->units_free = 8;
	e->units_asked = 0;
	e->holes = 2;
	e->extents = 0;
	l->mark[0] = 0;
	ck_assert(!extent_check(e));
	l->mark[1] = EXTENT_ZONE | EXTENT_BORDER; /* of two zones they may be */
	e->units_zone = e->units_zone_free = 4;
	ck_assert(extent_check(e));
	e = space(EXTENT_BUDDY, 0, 8);
	ck_assert_int_eq(extent_alloc_at(e, (struct extent){0, 4}, false), MM_OK);
	extent_leaf(e, 0)->first[1] = 3; /* no power of two */
	ck_assert(!extent_check(e));
}
END_TEST

/* T3: a leaf's slots move to the one before it, which has room; everything else stays true. */
START_TEST(check_objects_to_few)
{
	struct extent_space *e = zoo(EXTENT_FIRST_FIT, 0);
	struct extent_inner *root = extent_inner(e, e->root[EXTENT_BY_ADDRESS].node);
	struct extent_leaf *low, *l;
	uint32_t i = 1;

	while (extent_leaf(e, root->child[i - 1])->head.count > 20 || extent_leaf(e, root->child[i])->head.count > 19)
		ck_assert_uint_lt(++i, root->head.count);
	low = extent_leaf(e, root->child[i - 1]);
	l = extent_leaf(e, root->child[i]);
	while (l->head.count >= (uint32_t)EXTENT_FEW(EXTENT_LEAF_SLOTS)) {
		uint32_t to = low->head.count++, last = --l->head.count;

		ck_assert_uint_lt(to, EXTENT_LEAF_SLOTS);
		low->first[to] = l->first[0];
		low->mark[to] = l->mark[0];
		memmove(l->first, l->first + 1, last * sizeof(*l->first));
		memmove(l->mark, l->mark + 1, last);
		memmove(extent_pins(e, root->child[i]), extent_pins(e, root->child[i]) + 1, last * sizeof(uint32_t));
		l->first[last] = UINT64_MAX;
		l->mark[last] = 0;
		root->least[i] = l->first[0];
		extent_largest_renew(e, low->first[0]);
		extent_largest_renew(e, l->first[0]);
		ck_assert(extent_check(e) == (last >= (uint32_t)EXTENT_FEW(EXTENT_LEAF_SLOTS)));
	}
}
END_TEST

/* T5: nodes that were given back. */
START_TEST(check_objects_to_spares)
{
	struct extent_space *e = zoo((enum extent_policy)_i, 0);
	struct extent_segment s;
	unsigned pools = 0;

	for (uint64_t at = 0; at < 420; at = s.run.first + s.run.units) {
		ck_assert(extent_segment_at(e, at, &s));
		while (s.pins-- > 0)
			ck_assert_int_eq(extent_unpin(e, at), MM_OK);
		if (s.taken)
			ck_assert_int_eq(extent_free(e, s.run), MM_OK);
	}
	for (unsigned p = 0; p < EXTENT_POOLS; p++) {
		uint32_t n = e->pool[p].spare;
		struct extent_head *head = p == EXTENT_LEAVES	? &extent_leaf(e, n)->head
					   : p == EXTENT_INNERS ? &extent_inner(e, n)->head
								: &extent_sizes(e, n)->head;

		if (n == EXTENT_NONE)
			continue;
		pools++;
		MATTERS(e, e->pool[p]);
		MATTERS(e, head->count);
		MATTERS(e, head->next);
	}
	ck_assert_uint_ge(pools, 2);
}
END_TEST

/* Indices only: a copy elsewhere is as good. */
START_TEST(position_independent)
{
	static _Alignas(64) unsigned char elsewhere[sizeof(memory)];
	struct extent_space *e = comb((enum extent_policy)EXTENT_BEST_FIT);

	memcpy(elsewhere, e, sizeof(elsewhere));
	memset(memory, 0xee, sizeof(memory));
	e = (struct extent_space *)(void *)elsewhere;
	ck_assert(extent_check(e));
	ck_assert_uint_eq(put(e, 3, 0), 20);
}
END_TEST

Suite *extent_suite(void);

Suite *extent_suite(void)
{
	Suite *suite = suite_create("extent");
	TCase *plain = tcase_create("plain"), *random = tcase_create("random");

	tcase_add_test(plain, promises);
	tcase_add_loop_test(plain, equals_that_do_not_fit_are_passed, 0, 2);
	tcase_add_loop_test(plain, a_full_leaf_gives_way, 0, EXTENT_BUDDY);
	tcase_add_test(plain, next_fit_goes_round);
	tcase_add_test(plain, roundings);
	tcase_add_test(plain, pins_have_a_limit);
	tcase_add_test(plain, zones_one_by_one);
	tcase_add_test(plain, init_refuses);
	tcase_add_loop_test(plain, arguments_refused, 0, EXTENT_POLICIES);
	tcase_add_loop_test(plain, pinned_by_what_is_given, 0, EXTENT_POLICIES);
	tcase_add_test(plain, buddy_refuses_what_it_never_gives);
	tcase_add_test(plain, edges_of_64_bits);
	tcase_add_loop_test(plain, all_numbers, 0, EXTENT_POLICIES);
	tcase_add_loop_test(plain, deep_trees, 0, EXTENT_POLICIES);
	tcase_add_loop_test(plain, segments_max_is_reached, 0, EXTENT_POLICIES);
	tcase_add_loop_test(plain, check_objects, 0, EXTENT_POLICIES);
	tcase_add_loop_test(plain, check_objects_to_marks, 0, EXTENT_POLICIES);
	tcase_add_test(plain, check_objects_to_slack);
	tcase_add_test(plain, check_objects_to_neighbours);
	tcase_add_test(plain, check_objects_to_few);
	tcase_add_loop_test(plain, check_objects_to_spares, 0, EXTENT_POLICIES);
	tcase_add_test(plain, position_independent);
	suite_add_tcase(suite, plain);
	tcase_set_timeout(plain, 30);
	tcase_set_timeout(random, 60);
	tcase_add_loop_test(random, random_deeds, 0, EXTENT_POLICIES);
	tcase_add_loop_test(random, random_deeds_wide, 0, EXTENT_POLICIES);
	tcase_add_loop_test(random, random_deeds_deep, 0, EXTENT_POLICIES);
	suite_add_tcase(suite, random);
	return suite;
}
