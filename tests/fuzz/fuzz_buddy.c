/* tests/fuzz/fuzz_buddy.c: a stream of operations on a small buddy, against an
 * owner for every frame, which run is given included.
 *
 * Input: 2 bytes choose frame_count; then 4 bytes an operation: verb and order,
 * first frame (2 bytes), frames to donate (in eighths of a node). */
#include <stdlib.h>
#include <string.h>

#include "mm/buddy_impl.h"
#include "mm/port.h"

#define FRAMES_MAX 8200u /* two nodes of level 1, and a bit */
#define META_MAX   8192u
#define ABSENT	   0u
#define FREE	   1u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static _Alignas(64) unsigned char meta[META_MAX], before[META_MAX];
static unsigned owner[FRAMES_MAX], owners;
static uint8_t order_at[FRAMES_MAX]; /* of the live run that starts here */
static uint64_t frame_count, donated;

static bool all_are(uint64_t at, uint64_t frames, unsigned who)
{
	for (uint64_t i = at; i < at + frames; i++)
		if (i >= frame_count || owner[i] != who)
			return false;
	return true;
}

/* The largest free run that starts here; -1: none. */
static int free_order(uint64_t at)
{
	unsigned order = 0;

	if (!all_are(at, 1, FREE))
		return -1;
	while (at % (UINT64_C(2) << order) == 0 && all_are(at + (UINT64_C(1) << order), UINT64_C(1) << order, FREE))
		order++;
	return (int)order;
}

static void paint(uint64_t at, uint64_t frames, unsigned who)
{
	for (uint64_t i = at; i < at + frames; i++)
		owner[i] = who;
}

static void take(uint64_t at, unsigned order)
{
	paint(at, UINT64_C(1) << order, ++owners);
	order_at[at] = (uint8_t)order;
}

static void do_alloc(struct buddy *b, unsigned order)
{
	struct pfn out;
	enum mm_err err = buddy_alloc(b, order, &out);
	int best = -1;
	uint64_t place = 0;

	for (uint64_t at = 0; at < frame_count;) {
		int here = free_order(at);

		if (here >= (int)order && (best < 0 || here < best)) {
			best = here;
			place = at;
		}
		at += here < 0 ? 1 : UINT64_C(1) << here;
	}
	MM_ASSERT(err == (order > BUDDY_ORDER_MAX ? MM_EINVAL : best < 0 ? MM_ENOMEM : MM_OK), err, order);
	if (err != MM_OK)
		return;
	MM_ASSERT(out.n == place, out.n, place);
	take(place, order);
}

static bool in_place(uint64_t at, unsigned order)
{
	return order <= BUDDY_ORDER_MAX && at % (UINT64_C(1) << order) == 0 && at < frame_count &&
	       UINT64_C(1) << order <= frame_count - at;
}

static void do_alloc_at(struct buddy *b, uint64_t at, unsigned order)
{
	enum mm_err err = buddy_alloc_at(b, (struct pfn){at}, order), want = MM_EINVAL;

	if (in_place(at, order))
		want = all_are(at, UINT64_C(1) << order, FREE) ? MM_OK : MM_EEXIST;
	MM_ASSERT(err == want, err, at);
	if (err == MM_OK)
		take(at, order);
}

static void do_free(struct buddy *b, uint64_t at, unsigned order)
{
	enum mm_err err = buddy_free(b, (struct pfn){at}, order), want = MM_EINVAL;

	if (in_place(at, order))
		want = owner[at] > FREE && (at == 0 || owner[at - 1] != owner[at]) && order_at[at] == order ? MM_OK
													    : MM_ESTATE;
	MM_ASSERT(err == want, err, at);
	if (err == MM_OK)
		paint(at, UINT64_C(1) << order, FREE);
}

static void do_donate(struct buddy *b, uint64_t at, uint64_t frames)
{
	enum mm_err err = buddy_donate(b, (struct pfn){at}, frames), want = MM_EINVAL;

	if (frames > 0 && at < frame_count && frames <= frame_count - at)
		want = all_are(at, frames, ABSENT) ? MM_OK : MM_EEXIST;
	MM_ASSERT(err == want, err, at);
	if (err != MM_OK)
		return;
	paint(at, frames, FREE);
	donated += frames;
}

static void compare(const struct buddy *b)
{
	struct buddy_stats s = buddy_stats_read(b);

	MM_ASSERT(buddy_check(b) && s.frames_total == donated, s.frames_total, donated);
	for (uint64_t at = 0; at < frame_count;) {
		int order = free_order(at);

		if (order >= 0)
			MM_ASSERT(s.runs_free[order]-- > 0, at, order);
		at += order < 0 ? 1 : UINT64_C(1) << order;
	}
	for (unsigned o = 0; o <= BUDDY_ORDER_MAX; o++)
		MM_ASSERT(s.runs_free[o] == 0, o, s.runs_free[o]);
}

static void one(struct buddy *b, const uint8_t *op)
{
	unsigned order = op[0] >> 2 & 31, verb = op[0] & 3;
	uint64_t at = (op[1] | (uint64_t)op[2] << 8) % (FRAMES_MAX + 8);
	struct buddy_stats was = buddy_stats_read(b), is;

	memcpy(before, meta, META_MAX);
	if (verb == 0)
		do_alloc(b, order);
	else if (verb == 1)
		do_free(b, at, order);
	else if (verb == 2)
		do_alloc_at(b, at >> order << order, order);
	else
		do_donate(b, at, (uint64_t)op[3] * 8 + order);
	is = buddy_stats_read(b);
	MM_ASSERT(is.frames_free != was.frames_free || memcmp(before, meta, META_MAX) == 0, verb, at);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buddy *b;

	if (size < 2)
		return 0;
	frame_count = 1 + (data[0] | (uint64_t)data[1] << 8) % FRAMES_MAX;
	donated = 0;
	owners = FREE;
	memset(owner, 0, sizeof(owner));
	if (buddy_init(meta, sizeof(meta), frame_count, &b) != MM_OK)
		abort();
	for (const uint8_t *op = data + 2; op + 4 <= data + size; op += 4) {
		one(b, op);
		compare(b);
	}
	return 0;
}
