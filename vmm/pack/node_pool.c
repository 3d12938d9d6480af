/* vmm/pack/node_pool.c: the memory of one node of a simulated host.
 *
 * What it is. A mm/extent that makes itself more room for its books when they are
 * full, so that a fleet of a hundred thousand small ones is as cheap as what lives
 * in them; and, for a node without bound, a space of 2^40 units of which all from the
 * top on is taken by nobody: the top rises by just what is missing, a hole below it
 * counted in, and never sinks.
 *   Under buddy, what is above the top is taken as aligned powers of two, as they come:
 * else the buddies of what is below would lie in it and could be given.
 *
 * Invariants; node_pool_check():
 *   N1  free units of the space are `free`; scatter has no space;
 *   N2  [units, end) is taken, and nothing of a guest's lies there;
 *   N3  extent_check();
 *   N4  room, largest and holes are what the space says.
 *
 * Cost. That of mm/extent; more room for the books doubles them: O(log n) a take over all
 * takes. Memory: some 40 bytes a segment, 4 KiB at least; 40 without a space.
 *
 * Rejected. Books for the most that could ever live in it, in memory that is only
 * reserved: the parts of a space's books lie apart by what they could be, so that each of
 * twenty thousand nodes would touch eight pages for a dozen guests. */
#include <stdlib.h>
#include <string.h>

#include "mm/port.h"
#include "vmm/pack/alloc.h"
#include "vmm/pack/node_pool.h"

#define SEGMENTS_FIRST 64u
#define SPLITS	       64u /* runs that one take, or one rise of the top, can add */

static bool scatter(const struct node_pool *p)
{
	return p->space == NULL;
}

static bool rises(const struct node_pool *p)
{
	return p->end == NODE_POOL_TOP_MAX;
}

static void must(enum mm_err err)
{
	MM_ASSERT(err == MM_OK, err, 0);
}

static void *books(const struct extent_config *config, size_t *bytes)
{
	*bytes = (extent_config_bytes(config) + 63) & ~(size_t)63;
	return alloc_by_huge_pages(aligned_alloc(64, *bytes), *bytes);
}

void node_pool_learn(struct node_pool *p)
{
	if (scatter(p)) {
		p->room = p->largest = p->free;
		p->holes = p->free > 0;
		return;
	}
	p->room = extent_room(p->space);
	p->holes = extent_holes(p->space, &p->largest);
}

/* ---- the top ---- */

static uint64_t rest_at(uint64_t at, uint64_t end, bool buddy)
{
	uint64_t units = end - at;

	return buddy && at != 0 ? at & -at : units;
}

/* [from, end) is taken, by nobody. */
static void close_from(struct node_pool *p, uint64_t from, bool buddy)
{
	for (uint64_t at = from, units; at < p->end; at += units) {
		units = rest_at(at, p->end, buddy);
		must(extent_alloc_at(p->space, (struct extent){at, units}, false));
	}
}

static void open_to(struct node_pool *p, uint64_t top, bool buddy)
{
	struct extent_segment s;

	if (!buddy) {
		must(extent_free(p->space, (struct extent){p->units, top - p->units}));
	} else {
		for (uint64_t at = p->units; at < p->end; at = s.run.first + s.run.units) {
			(void)extent_segment_at(p->space, at, &s);
			must(extent_free(p->space, s.run));
		}
		close_from(p, top, true);
	}
	p->free += top - p->units;
	p->units = top;
}

/* Where the holes that end at the top begin. */
static uint64_t free_below_top(const struct node_pool *p)
{
	uint64_t at = p->units;
	struct extent_segment s;

	while (at > 0 && extent_segment_at(p->space, at - 1, &s) && !s.taken)
		at = s.run.first;
	return at;
}

/* So that a request of so many units fits, which does not now. */
static void rise(struct node_pool *p, uint64_t units)
{
	bool buddy = extent_config_read(p->space).policy == EXTENT_BUDDY;
	uint64_t given = extent_given(extent_config_read(p->space).policy, units), at = free_below_top(p);

	if (buddy)
		at = (at + (given - 1)) & -given;
	open_to(p, at + given, buddy);
}

/* ---- the pool ---- */

bool node_pool_open(struct node_pool *p, enum extent_policy policy, uint64_t units)
{
	bool unbounded = units == NODE_POOL_UNBOUNDED;
	struct extent_config config = {
		.units = unbounded ? NODE_POOL_TOP_MAX : units,
		.segments_max = SEGMENTS_FIRST + SPLITS,
		.policy = policy,
	};
	size_t bytes;
	void *meta;

	*p = (struct node_pool){.end = config.units};
	if (!unbounded)
		p->units = p->free = units;
	if (policy == NODE_POOL_SCATTER) {
		node_pool_learn(p);
		return true;
	}
	meta = books(&config, &bytes);
	if (!meta)
		return false;
	must(extent_init(meta, bytes, &config, &p->space));
	if (unbounded)
		must(extent_alloc_at(p->space, (struct extent){0, p->end}, false));
	node_pool_learn(p);
	return true;
}

void node_pool_close(struct node_pool *p)
{
	free(p->space);
	p->space = NULL;
}

bool node_pool_prepare(struct node_pool *p, uint32_t takes)
{
	struct extent_config config;
	struct extent_space *space;
	uint64_t need;
	size_t bytes;
	void *meta;

	if (scatter(p))
		return true;
	need = (uint64_t)SPLITS * (1 + rises(p)) + 2 * (uint64_t)takes;
	if (need <= extent_segments_left(p->space))
		return true;
	config = extent_config_read(p->space);
	need += config.segments_max - extent_segments_left(p->space);
	if (need > UINT32_MAX / 2)
		return false;
	config.segments_max = 2 * (uint32_t)need;
	meta = books(&config, &bytes);
	if (!meta)
		return false;
	must(extent_regrow(p->space, meta, bytes, config.segments_max, &space));
	free(p->space);
	p->space = space;
	return true;
}

struct extent node_pool_take(struct node_pool *p, uint64_t units, bool movable)
{
	struct extent_request ask = {.units = units, .movable = movable};
	struct extent run = {.units = units};

	if (scatter(p) && rises(p) && p->free < units) {
		p->units += units - p->free;
		p->free = units;
	}
	if (!scatter(p)) {
		if (rises(p) && extent_room(p->space) < units)
			rise(p, units);
		must(extent_alloc(p->space, &ask, &run));
	}
	MM_ASSERT(run.units <= p->free, run.units, p->free);
	p->free -= run.units;
	node_pool_learn(p);
	return run;
}

void node_pool_pin(struct node_pool *p, struct extent run, bool pinned)
{
	if (pinned && !scatter(p))
		must(extent_pin(p->space, run.first));
}

void node_pool_unpin(struct node_pool *p, struct extent run, bool pinned)
{
	if (pinned && !scatter(p))
		must(extent_unpin(p->space, run.first));
}

void node_pool_give(struct node_pool *p, struct extent run)
{
	if (!scatter(p))
		must(extent_free(p->space, run));
	p->free += run.units;
	node_pool_learn(p);
}

/* The run that was cut for it: what is behind, and under buddy its halves one by one. */
uint64_t node_pool_peek(struct node_pool *p, uint64_t units)
{
	bool buddy = !scatter(p) && extent_config_read(p->space).policy == EXTENT_BUDDY;
	struct extent_segment s;
	struct extent run;
	uint64_t hole;

	if (scatter(p))
		return p->free;
	run = node_pool_take(p, units, false);
	hole = run.units;
	while (run.first + hole < p->units && extent_segment_at(p->space, run.first + hole, &s) && !s.taken &&
	       (!buddy || (s.run.units == hole && (run.first & (2 * hole - 1)) == 0))) {
		hole += s.run.units;
		if (!buddy)
			break;
	}
	node_pool_give(p, run);
	return hole;
}

bool node_pool_check(const struct node_pool *p)
{
	struct node_pool now = *p;
	struct extent_segment s;
	uint64_t free_units = 0;

	node_pool_learn(&now);
	if (memcmp(&now, p, sizeof(now)) != 0)
		return false; /* N4 */
	if (scatter(p))
		return p->free <= p->units;
	for (uint64_t at = 0; at < p->end; at = s.run.first + s.run.units) {
		if (!extent_segment_at(p->space, at, &s))
			return false;
		if (!s.taken)
			free_units += s.run.units;
		if (at < p->units ? s.run.first + s.run.units > p->units : !s.taken)
			return false; /* N2 */
	}
	return free_units == p->free && p->units <= p->end && extent_check(p->space); /* N1, N3 */
}
