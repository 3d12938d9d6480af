/* tests/fuzz/fuzz_extent.c: a stream of operations on a small extent space,
 * against an owner and a zone for every unit. Which hole a policy picks is the
 * unit test's concern; here: nothing is given twice, nothing changes but what
 * was asked, and nothing is refused without reason.
 *
 * Input: 4 bytes choose base, units, segments_max, policy; then 4 bytes an
 * operation: verb, first, units, log2 of the alignment or a flag. */
#include <stdlib.h>
#include <string.h>

#include "mm/extent_impl.h"
#include "mm/port.h"

#define UNITS_MAX 256u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct unit {
	unsigned owner, zone; /* 0: free; in none */
	bool lend, movable;
};

static _Alignas(64) unsigned char meta[1 << 16];
static struct unit unit[UNITS_MAX];
static unsigned owners, zones;
static struct extent_config config;

static bool inside(struct extent run)
{
	uint64_t at = run.first - config.base;

	return run.units > 0 && at < config.units && run.units <= config.units - at;
}

static struct unit *at_run(struct extent run)
{
	return &unit[run.first - config.base];
}

/* Whether each unit of it is in the zone of the first, and has its owner, if that is to be. */
static bool one(struct extent run, bool owner)
{
	const struct unit *u = at_run(run);

	for (uint64_t i = 1; i < run.units; i++)
		if (u[i].zone != u->zone || (owner && u[i].owner != u->owner))
			return false;
	return true;
}

static bool regular(struct extent run)
{
	return config.policy != EXTENT_BUDDY || ((run.units & (run.units - 1)) == 0 && run.first % run.units == 0);
}

static void paint(struct extent run, unsigned by, bool movable)
{
	MM_ASSERT(inside(run), run.first, run.units);
	for (uint64_t i = 0; i < run.units; i++) {
		struct unit *u = &at_run(run)[i];

		MM_ASSERT((u->owner != 0) == (by == 0), run.first, i);
		u->owner = by;
		u->movable = movable;
	}
}

static bool may_lie(struct extent run, bool movable)
{
	return one(run, true) && at_run(run)->owner == 0 && (at_run(run)->zone == 0 || (at_run(run)->lend && movable));
}

static enum mm_err do_alloc(struct extent_space *e, const uint8_t *op)
{
	struct extent_request ask = {.units = op[2], .align = UINT64_C(1) << (op[3] % 64), .movable = op[0] >= 128};
	struct extent out;
	enum mm_err err = extent_alloc(e, &ask, &out);

	MM_ASSERT((err == MM_EINVAL) == (ask.units == 0), err, ask.units);
	if (err != MM_OK) {
		if (config.policy == EXTENT_BUDDY || config.policy == EXTENT_SEGREGATED || ask.units == 0)
			return err;
		for (uint64_t i = 0; i < config.units; i++) {
			struct extent run = {config.base + i, ask.units};

			if (inside(run) && run.first % ask.align == 0)
				MM_ASSERT(!may_lie(run, ask.movable) || e->holes + e->extents + 2 > e->segments_max, i,
					  ask.units);
		}
		return err;
	}
	MM_ASSERT(out.units >= ask.units && out.first % ask.align == 0, out.first, out.units);
	MM_ASSERT(may_lie(out, ask.movable), out.first, out.units);
	paint(out, ++owners, ask.movable);
	return MM_OK;
}

static enum mm_err do_alloc_at(struct extent_space *e, struct extent run, bool movable)
{
	enum mm_err err = extent_alloc_at(e, run, movable);

	MM_ASSERT((err == MM_EINVAL) == (!inside(run) || !regular(run)), err, run.first);
	if (err == MM_OK || err == MM_EEXIST)
		MM_ASSERT(may_lie(run, movable) == (err == MM_OK), run.first, run.units);
	if (err == MM_OK)
		paint(run, ++owners, movable);
	return err;
}

static enum mm_err do_free(struct extent_space *e, struct extent run)
{
	enum mm_err err = extent_free(e, run);
	unsigned was;

	MM_ASSERT((err == MM_EINVAL) == !inside(run), err, run.first);
	if (err != MM_OK)
		return err;
	was = at_run(run)->owner;
	MM_ASSERT(was != 0 && one(run, true), run.first, run.units);
	paint(run, 0, false);
	owners++;
	for (uint64_t i = run.first - config.base + run.units; i < config.units && unit[i].owner == was; i++)
		unit[i].owner = owners; /* what is left above is an extent of its own */
	return MM_OK;
}

/* Of the live extent there, if there is one. */
static enum mm_err do_resize(struct extent_space *e, uint64_t at, uint64_t units)
{
	struct extent_segment s;
	struct unit was;
	uint64_t given;
	enum mm_err err;

	if (!extent_segment_at(e, at, &s))
		return MM_ENOENT;
	err = extent_resize(e, s.run, units, &given);
	MM_ASSERT((err == MM_ESTATE) == (!s.taken && units > 0), err, at);
	if (err != MM_OK)
		return err;
	was = *at_run(s.run);
	MM_ASSERT(given >= units && (given >= s.run.units || s.pins == 0), given, units);
	paint(s.run, 0, false);
	s.run.units = given;
	paint(s.run, was.owner, was.movable);
	MM_ASSERT(one(s.run, true), at, given);
	return MM_OK;
}

static enum mm_err do_pin(struct extent_space *e, uint64_t at, bool pin)
{
	struct extent_segment was, is;
	enum mm_err err = MM_ENOENT;

	if (extent_segment_at(e, at, &was)) {
		err = pin ? extent_pin(e, at) : extent_unpin(e, at);
		MM_ASSERT(extent_segment_at(e, at, &is), at, pin);
		MM_ASSERT(is.pins == was.pins + (err != MM_OK ? 0 : pin ? 1u : -1u), is.pins, was.pins);
	}
	return err;
}

static enum mm_err do_reserve(struct extent_space *e, struct extent run, bool lend)
{
	enum mm_err err = extent_reserve(e, run, lend);

	if (err != MM_OK)
		return err;
	MM_ASSERT(inside(run) && may_lie(run, false), run.first, run.units);
	zones++;
	for (uint64_t i = 0; i < run.units; i++)
		at_run(run)[i] = (struct unit){.zone = zones, .lend = lend};
	return err;
}

static enum mm_err do_unreserve(struct extent_space *e, struct extent run)
{
	enum mm_err err = extent_unreserve(e, run);

	if (err != MM_OK)
		return err;
	MM_ASSERT(inside(run) && at_run(run)->zone != 0 && at_run(run)->owner == 0 && one(run, true), run.first, 0);
	memset(at_run(run), 0, run.units * sizeof(struct unit));
	return err;
}

static enum mm_err do_claim(struct extent_space *e, struct extent run)
{
	struct extent in_way[4];
	uint32_t n = 0;
	enum mm_err err = extent_claim(e, run, in_way, 4, &n);

	if (err == MM_OK || err == MM_EBUSY || err == MM_EEXIST)
		MM_ASSERT(inside(run) && at_run(run)->zone != 0, run.first, err);
	if (err == MM_OK) {
		MM_ASSERT(n == 0 && one(run, true), run.first, run.units);
		paint(run, ++owners, false);
	}
	MM_ASSERT(err != MM_EBUSY || n > 0, n, 0);
	for (uint32_t i = 0; i < n && i < 4; i++)
		MM_ASSERT(at_run(in_way[i])->movable && one(in_way[i], true), i, in_way[i].first);
	return err;
}

static enum mm_err do_one(struct extent_space *e, const uint8_t *op)
{
	struct extent run = {config.base + op[1] - 1, op[2]};
	bool flag = op[3] & 1;

	switch (op[0] % 9) {
	case 0:
		return do_alloc(e, op);
	case 1:
		return do_alloc_at(e, run, flag);
	case 2:
		return do_free(e, run);
	case 3:
		return do_resize(e, run.first, run.units);
	case 4:
	case 5:
		return do_pin(e, run.first, op[0] % 9 == 4);
	case 6:
		return do_reserve(e, run, flag);
	case 7:
		return do_unreserve(e, run);
	default:
		return do_claim(e, run);
	}
}

static void compare(const struct extent_space *e)
{
	struct extent_segment s;

	MM_ASSERT(extent_check(e), config.units, config.base);
	for (uint64_t at = 0; at < config.units; at += s.run.units) {
		const struct unit *u = &unit[at];

		MM_ASSERT(extent_segment_at(e, config.base + at, &s) && s.run.first == config.base + at, at, u->owner);
		MM_ASSERT(inside(s.run) && one(s.run, true), at, s.run.units);
		MM_ASSERT(s.taken == (u->owner != 0) && s.zone == (u->zone != 0) && s.movable == u->movable, at,
			  u->owner);
		MM_ASSERT(!s.taken || at + s.run.units == config.units || u[s.run.units].owner != u->owner, at,
			  s.run.units);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static unsigned char before[sizeof(meta)];
	struct extent_space *e;

	if (size < 4)
		return 0;
	config.units = 1u + data[1];
	config.base = data[0] < 128 ? data[0] : -config.units - (data[0] - 128u); /* up to the last unit of all */
	config.segments_max = 1u + data[2] % 64 * (data[2] < 128 ? 1 : 6);
	config.policy = (enum extent_policy)(data[3] % EXTENT_POLICIES);
	memset(unit, 0, sizeof(unit));
	owners = zones = 0;
	memset(meta, 0xff, sizeof(meta));
	if (extent_init(meta, sizeof(meta), &config, &e) != MM_OK) {
		MM_ASSERT(config.policy == EXTENT_BUDDY, config.segments_max, config.policy);
		return 0;
	}
	for (const uint8_t *op = data + 4; op + 4 <= data + size; op += 4) {
		memcpy(before, meta, sizeof(meta));
		if (do_one(e, op) != MM_OK)
			MM_ASSERT(memcmp(before, meta, sizeof(meta)) == 0, op[0] % 9, op[1]);
		compare(e);
	}
	return 0;
}
