/* tests/fuzz/fuzz_extent.c: a stream of operations on a small extent space,
 * against an owner for every unit. Which hole a policy picks is the unit test's
 * concern; here: nothing is given twice, and nothing is refused without reason.
 *
 * Input: 3 bytes choose base, units and segments_max; then 4 bytes an operation:
 * verb and policy, first, units, log2 of the alignment. */
#include <stdlib.h>
#include <string.h>

#include "mm/extent_impl.h"
#include "mm/port.h"

#define UNITS_MAX    256u
#define SEGMENTS_MAX 64u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static _Alignas(64) unsigned char meta[sizeof(struct extent_space) + SEGMENTS_MAX * sizeof(struct extent_node)];
static unsigned owner[UNITS_MAX], owners;
static uint64_t base, units;

/* The length of the run of units with the owner of this one. */
static uint64_t same_from(uint64_t at)
{
	uint64_t n = 0;

	while (at + n < units && owner[at + n] == owner[at])
		n++;
	return n;
}

static bool any_place(const struct extent_request *ask)
{
	for (uint64_t at = 0; at < units; at++)
		if (owner[at] == 0 && same_from(at) >= ask->units && (ask->align == 0 || (base + at) % ask->align == 0))
			return true;
	return false;
}

static void paint(struct extent run, unsigned by)
{
	for (uint64_t i = 0; i < run.units; i++) {
		MM_ASSERT(run.first - base + i < units && (owner[run.first - base + i] != 0) == (by == 0), run.first,
			  i);
		owner[run.first - base + i] = by;
	}
}

static void do_alloc(struct extent_space *e, const uint8_t *op, uint64_t nodes_left)
{
	struct extent_request ask = {
		.units = op[2], .align = UINT64_C(1) << (op[3] % 64), .policy = (enum extent_policy)(op[0] >> 2 & 3)};
	struct extent out;
	enum mm_err err = extent_alloc(e, &ask, &out);

	if (err == MM_OK) {
		MM_ASSERT(out.units == ask.units && out.first % ask.align == 0, out.first, out.units);
		paint(out, ++owners);
	} else {
		MM_ASSERT(err == (ask.units == 0 ? MM_EINVAL : MM_ENOMEM), err, ask.units);
		MM_ASSERT(ask.units == 0 || nodes_left < 2 || !any_place(&ask), ask.units, ask.align);
	}
}

static void do_free(struct extent_space *e, struct extent run, uint64_t nodes_left)
{
	uint64_t at = run.first - base;
	bool inside = run.units > 0 && at < units && run.units <= units - at;
	bool live = inside && owner[at] != 0 && run.units <= same_from(at);
	enum mm_err err = extent_free(e, run);

	if (err == MM_OK) {
		unsigned was = owner[at];

		MM_ASSERT(live, run.first, run.units);
		paint(run, 0);
		owners++;
		for (uint64_t i = at + run.units; i < units && owner[i] == was; i++)
			owner[i] = owners; /* what is left above is an extent of its own */
	} else {
		MM_ASSERT(err == (!inside ? MM_EINVAL : !live ? MM_ESTATE : MM_ENOMEM), err, run.first);
		MM_ASSERT(err != MM_ENOMEM || nodes_left < 2, err, nodes_left);
	}
}

static void do_alloc_at(struct extent_space *e, struct extent run, uint64_t nodes_left)
{
	uint64_t at = run.first - base;
	bool inside = run.units > 0 && at < units && run.units <= units - at;
	bool hole = inside && owner[at] == 0 && run.units <= same_from(at);
	enum mm_err err = extent_alloc_at(e, run);

	if (err == MM_OK) {
		MM_ASSERT(hole, run.first, run.units);
		paint(run, ++owners);
	} else {
		MM_ASSERT(err == (!inside ? MM_EINVAL : !hole ? MM_EEXIST : MM_ENOMEM), err, run.first);
		MM_ASSERT(err != MM_ENOMEM || nodes_left < 2, err, nodes_left);
	}
}

static void compare(const struct extent_space *e)
{
	struct extent_segment s;

	MM_ASSERT(extent_check(e), units, base);
	for (uint64_t at = 0; at < units; at += s.run.units)
		MM_ASSERT(extent_segment_at(e, base + at, &s) && s.run.first == base + at &&
				  s.run.units == same_from(at) && s.taken == (owner[at] != 0),
			  at, owner[at]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct extent_space *e;
	uint32_t segments_max;

	if (size < 3)
		return 0;
	units = 1u + data[1];
	base = data[0] < 128 ? data[0] : -units - (data[0] - 128u); /* up to the last unit of all */
	segments_max = 1u + data[2] % SEGMENTS_MAX;
	memset(owner, 0, sizeof(owner));
	owners = 0;
	if (extent_init(meta, sizeof(meta), segments_max, base, units, &e) != MM_OK)
		abort();
	for (const uint8_t *op = data + 3; op + 4 <= data + size; op += 4) {
		struct extent run = {base + op[1] - 1, op[2]};
		struct extent_stats stats = extent_stats_read(e);
		uint64_t nodes_left = segments_max - stats.holes - stats.extents;

		if (op[0] & 1)
			do_alloc(e, op, nodes_left);
		else if (op[0] & 2)
			do_free(e, run, nodes_left);
		else
			do_alloc_at(e, run, nodes_left);
		compare(e);
	}
	return 0;
}
