/* tests/fuzz/fuzz_compact.c: a plan for any small space. It is carried out on an
 * owner for every unit; more work never makes it dearer than the search proves;
 * and the bound is no lower than the least that lies in any place for the hole.
 *
 * Input: 8 bytes choose base, units, policy, step, the hole's units and align,
 * work, moves_max; then 2 bytes an extent: where it starts after the one before,
 * and pinned; its length. */
#include <stdlib.h>
#include <string.h>

#include "mm/compact.h"
#include "mm/port.h"

#define UNITS_MAX 128u
#define SEGMENTS  256u
#define MOVES_MAX 512u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FREE = 0, PINNED = 1, LIVE = 2 /* and above */ };

struct input {
	uint64_t base, units;
	enum extent_policy policy;
	struct compact_request ask;
	uint32_t moves_max;
	unsigned owner[UNITS_MAX];
};

static struct compact_move moves[MOVES_MAX];

static void load(struct input *in, const uint8_t *data, size_t size)
{
	unsigned next = LIVE;
	uint64_t at = 0;

	in->units = 1 + data[1] % UNITS_MAX;
	in->base = data[0] < 128 ? data[0] : -in->units - (data[0] - 128u); /* up to the last unit of all */
	in->policy = data[2] & 1 ? EXTENT_BUDDY : EXTENT_FIRST_FIT;
	in->ask = (struct compact_request){.units = data[4],
					   .align = UINT64_C(1) << data[5] % 64,
					   .step = UINT64_C(1) << data[3] % 64,
					   .work = (uint64_t)data[6] * data[6] * 8};
	in->moves_max = data[7];
	for (const uint8_t *op = data + 8; op + 2 <= data + size; op += 2) {
		uint64_t units = 1 + op[1] % 32u;

		at += op[0] & 15;
		if (in->policy == EXTENT_BUDDY) {
			while (units & (units - 1))
				units &= units - 1;
			at += -(in->base + at) & (units - 1);
		}
		if (at >= in->units || units > in->units - at)
			break;
		for (uint64_t i = 0; i < units; i++)
			in->owner[at + i] = op[0] >= 0xe0 ? PINNED : next;
		next++;
		at += units;
	}
}

static uint64_t run_units(const struct input *in, uint64_t at)
{
	uint64_t n = 1;

	while (at + n < in->units && in->owner[at + n] == in->owner[at] && in->owner[at] != PINNED)
		n++;
	return n;
}

static void *build(const struct input *in, struct extent_space **e)
{
	struct extent_config config = {
		.base = in->base, .units = in->units, .segments_max = SEGMENTS, .policy = in->policy};
	size_t bytes = extent_meta_bytes(SEGMENTS);
	void *meta = aligned_alloc(64, (bytes + 63) / 64 * 64);

	if (meta == NULL || extent_init(meta, bytes, &config, e) != MM_OK)
		abort();
	for (uint64_t at = 0, n; at < in->units; at += n) {
		struct extent run = {in->base + at, n = run_units(in, at)};

		if (in->owner[at] == FREE)
			continue;
		if (extent_alloc_at(*e, run, false) != MM_OK)
			abort();
		if (in->owner[at] == PINNED && extent_pin(*e, run.first) != MM_OK)
			abort();
	}
	return meta;
}

/* The least units that any place for the hole has in its way; UINT64_MAX: there is no place. */
static uint64_t least(const struct input *in)
{
	uint64_t best = UINT64_MAX;

	for (uint64_t first = 0; first < in->units && in->ask.units <= in->units - first; first++) {
		uint64_t cost = 0;
		bool wall = ((in->base + first) & (in->ask.align - 1)) != 0;

		for (uint64_t at = 0; at < in->units; at += run_units(in, at)) {
			if (at >= first + in->ask.units || at + run_units(in, at) <= first)
				continue;
			wall |= in->owner[at] == PINNED;
			cost += in->owner[at] == FREE ? 0 : run_units(in, at);
		}
		if (!wall && cost < best)
			best = cost;
	}
	return best;
}

static void carry_out(struct input *in, const struct compact_plan *plan)
{
	uint64_t moved = 0;

	for (uint32_t i = 0; i < plan->moves; i++) {
		uint64_t from = moves[i].from.first - in->base, to = moves[i].to - in->base, n = moves[i].from.units;
		unsigned who = in->owner[from];

		MM_ASSERT(from < in->units && who >= LIVE && run_units(in, from) == n, from, n);
		MM_ASSERT(from == 0 || in->owner[from - 1] != who, from, n);
		MM_ASSERT(to < in->units && n <= in->units - to, to, n);
		MM_ASSERT(((to - from) & (in->ask.step - 1)) == 0, to, from);
		MM_ASSERT(in->policy != EXTENT_BUDDY || moves[i].to % n == 0, to, n);
		for (uint64_t k = 0; k < n; k++) {
			MM_ASSERT(in->owner[to + k] == FREE, to, k);
			in->owner[to + k] = who;
		}
		for (uint64_t k = 0; k < n; k++)
			in->owner[from + k] = FREE;
		moved += n;
	}
	MM_ASSERT(moved == plan->units_moved && plan->units_moved_min <= moved, moved, plan->units_moved_min);
	MM_ASSERT(plan->hole.units == in->ask.units && (plan->hole.first & (in->ask.align - 1)) == 0, plan->hole.first,
		  plan->hole.units);
	for (uint64_t k = 0; k < plan->hole.units; k++)
		MM_ASSERT(in->owner[plan->hole.first - in->base + k] == FREE, plan->hole.first, k);
}

/* A plan with little work, and one with more, of which only the figures are asked. */
static void try_both(struct input *in, const struct extent_space *e, void *scratch, size_t bytes)
{
	struct compact_plan plan = {0}, more = {0};
	struct compact_request ask = in->ask;
	enum mm_err err = compact_plan(e, &ask, scratch, bytes, moves, in->moves_max, &plan);

	if (ask.units == 0) {
		MM_ASSERT(err == MM_EINVAL, err, 0);
		return;
	}
	MM_ASSERT(err == MM_OK || err == MM_ENOMEM, err, 0);
	MM_ASSERT(plan.units_moved_min >= least(in), plan.units_moved_min, least(in));
	ask.work += 20000;
	if (compact_plan(e, &ask, scratch, bytes, NULL, 0, &more) == MM_OK || more.moves > 0)
		MM_ASSERT(plan.units_moved_min <= more.units_moved, plan.units_moved_min, more.units_moved);
	if (err == MM_OK || plan.moves > in->moves_max)
		MM_ASSERT(more.units_moved_min <= plan.units_moved, more.units_moved_min, plan.units_moved);
	if (err == MM_OK)
		carry_out(in, &plan);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {0};
	struct extent_space *e;
	struct extent_stats s;
	void *meta, *scratch;
	size_t bytes;

	if (size < 8)
		return 0;
	load(&in, data, size);
	meta = build(&in, &e);
	s = extent_stats_read(e);
	bytes = compact_scratch_bytes((uint32_t)(s.holes + s.extents));
	scratch = aligned_alloc(64, (bytes + 63) / 64 * 64);
	if (scratch == NULL)
		abort();
	try_both(&in, e, scratch, bytes);
	free(scratch);
	free(meta);
	return 0;
}
