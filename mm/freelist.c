/* mm/freelist.c: the linked-list heap.
 *
 * What it is. The heap of the textbooks: blocks side by side in one run of memory,
 * each with its length before it; the free ones in a list, in order of address, the
 * first that is long enough is cut. Its flaws are part of it: a search that grows with the holes, headers
 * among the data, and, without merging, memory that is free and serves nobody.
 *
 * Words. Block: header and what follows, up to the next header. Hole: a free block.
 * Length: of a block, a multiple of 16. Mark: a bit in the header's length. Slack: what
 * a taken block has beyond header and what was asked. Tag: a hash of a taken header's
 * address and content. Looked: the holes that one call has passed.
 *
 * Invariants, verified by its check:
 *   I1  the blocks' lengths, 32 or more, sum up to all the memory, which ends with a
 *       taken header of length 0;
 *   I2  a block is marked iff the one below it is a hole; a hole's last word is its length;
 *   I3  with merging no two holes touch;
 *   I4  the list has each hole once, upwards, and each knows what points to it;
 *   I5  a taken block has its tag, and no slack that could have been a hole;
 *   I6  asked, given, live, free bytes and holes are the sums over the blocks.
 *
 * Threads. One at a time.
 *
 * Cost. An allocation: the holes before the first that fits, all of them at worst, of
 * which there are at most half as many as blocks of 32 bytes fit; each is a cold line.
 * A free: O(1) beside a hole, which marks and last words lead to, and whose place in the
 * list is its own; else the holes below it. realloc: where it shrinks, or grows into a hole
 * behind it, as a free; else an allocation, a copy, a free.
 *
 * Memory. 16 bytes a block and up to 31 more: 15 to the multiple, 16 that are no block.
 *
 * Failure. NULL iff no hole is long enough with its alignment. A second free finds a
 * header without its mark; a wrong one a tag that does not fit, but in one of 2^32
 * cases: both as long as the header was not written over.
 *
 * Rejected. The last hole first, so that no free searches: small requests then cut the
 * large holes that were just freed, and with a quarter of 8 MiB live, in 4,096 blocks, 64
 * KiB found no room. Best fit: each allocation would look at all holes. A rover (next fit): it spreads
 * small holes over the whole memory. */
#include "mm/freelist_impl.h"
#include "mm/port.h"

/* ---- blocks ---- */

static size_t length_of(const struct freelist_block *b)
{
	return b->length & ~(uint64_t)FREELIST_MARKS;
}

static bool is_taken(const struct freelist_block *b)
{
	return b->length & FREELIST_TAKEN;
}

static struct freelist_block *block_at(const void *at)
{
	return (struct freelist_block *)(uintptr_t)at;
}

static struct freelist_block *block_after(struct freelist_block *b)
{
	return block_at((unsigned char *)b + length_of(b));
}

static struct freelist_hole *hole_of(struct freelist_block *b)
{
	return (struct freelist_hole *)(void *)b;
}

static size_t length_below(const struct freelist_block *b)
{
	return ((const uint64_t *)(const void *)b)[-1];
}

/* What a block for so much takes. */
static size_t length_for(size_t asked)
{
	size_t length = sizeof(struct freelist_block) + heap_round_up(asked, HEAP_ALIGN);

	return length < FREELIST_BLOCK_MIN ? FREELIST_BLOCK_MIN : length;
}

static size_t given_of(const struct freelist_block *b)
{
	return length_of(b) - sizeof(*b);
}

static size_t asked_of(const struct freelist_block *b)
{
	return given_of(b) - b->slack;
}

static uint32_t tag_of(const struct freelist_block *b)
{
	return heap_tag(b, length_of(b) ^ (uint64_t)b->slack << 48);
}

/* The block that `memory` is of, if it is live. */
static struct freelist_block *block_of(const struct freelist *f, const void *memory)
{
	size_t at = (uintptr_t)memory - (uintptr_t)f->start;
	struct freelist_block *b = block_at(memory) - 1;

	MM_ASSERT(at >= sizeof(*b) && at < f->bytes && at % HEAP_ALIGN == 0, memory, f->bytes);
	MM_ASSERT(is_taken(b), memory, b->length);
	MM_ASSERT(b->tag == tag_of(b), memory, b->tag);
	return b;
}

/* ---- holes ---- */

static void hole_link(struct freelist *f, struct freelist_block *b, size_t length, struct freelist_hole **from)
{
	struct freelist_hole *hole = hole_of(b);

	*hole = (struct freelist_hole){(b->length & FREELIST_BELOW_FREE) | length, *from, from};
	*from = hole;
	if (hole->next)
		hole->next->from = &hole->next;
	b = block_after(b);
	((uint64_t *)(void *)b)[-1] = length;
	b->length |= FREELIST_BELOW_FREE;
	f->bytes_free += length;
	if (++f->holes > f->holes_max)
		f->holes_max = f->holes;
}

/* What pointed to it points to the next. */
static struct freelist_hole **hole_unlink(struct freelist *f, struct freelist_block *b)
{
	struct freelist_hole *hole = hole_of(b);

	*hole->from = hole->next;
	if (hole->next)
		hole->next->from = hole->from;
	block_after(b)->length &= ~(uint64_t)FREELIST_BELOW_FREE;
	f->bytes_free -= length_of(b);
	f->holes--;
	return hole->from;
}

static void count_looked(struct freelist *f, uint64_t looked)
{
	if (looked > f->looked_max)
		f->looked_max = looked;
}

/* What points to the first hole above b. */
static struct freelist_hole **place_of(struct freelist *f, const struct freelist_block *b)
{
	struct freelist_hole **from = &f->first;
	uint64_t looked = 0;

	for (; *from && (uintptr_t)*from < (uintptr_t)b; from = &(*from)->next)
		looked++;
	count_looked(f, looked);
	return from;
}

/* A block that is neither taken nor listed becomes a hole, with those beside it if they merge. */
static void release(struct freelist *f, struct freelist_block *b, size_t length)
{
	struct freelist_block *after = block_at((unsigned char *)b + length), *below = NULL;
	struct freelist_hole **from;

	if (b->length & FREELIST_BELOW_FREE)
		below = block_at((unsigned char *)b - length_below(b));
	b->length &= ~(uint64_t)FREELIST_TAKEN; /* what is seen if it is freed again */
	if (below)
		from = &hole_of(below)->next;
	else
		from = is_taken(after) ? place_of(f, b) : hole_of(after)->from;
	if (f->merging && !is_taken(after)) {
		hole_unlink(f, after);
		length += length_of(after);
	}
	if (f->merging && below) {
		from = hole_unlink(f, below);
		length += length_of(below);
		b = below;
	}
	hole_link(f, b, length, from);
}

/* ---- the heap ---- */

static uint64_t held(const struct freelist *f)
{
	return sizeof(*f) + f->bytes + sizeof(struct freelist_block) - f->bytes_free;
}

/* Of `room` bytes at b, which are in no list, makes a taken block, and a hole of what is left, if that is one. */
static void settle(struct freelist *f, struct freelist_block *b, size_t room, size_t asked, struct freelist_hole **from)
{
	size_t length = length_for(asked);

	if (room - length < FREELIST_BLOCK_MIN)
		length = room;
	b->length = (b->length & FREELIST_BELOW_FREE) | length | FREELIST_TAKEN;
	b->slack = (uint32_t)(given_of(b) - asked);
	b->tag = tag_of(b);
	if (length == room)
		return;
	block_after(b)->length = 0;
	if (from)
		hole_link(f, block_after(b), room - length, from);
	else
		release(f, block_after(b), room - length);
}

/* How far into a hole the header must lie, so that what follows is aligned and what is before can be a hole. */
static size_t gap_of(const struct freelist_hole *hole, size_t align)
{
	size_t gap = -((uintptr_t)hole + sizeof(struct freelist_block)) & (align - 1);

	return gap > 0 && gap < FREELIST_BLOCK_MIN ? gap + align : gap;
}

/* The first that is long enough; *gap as its alignment needs it. */
static struct freelist_block *search(struct freelist *f, size_t length, size_t align, size_t *gap)
{
	struct freelist_hole *hole = f->first;
	uint64_t looked = 0;

	for (; hole; hole = hole->next) {
		size_t room = hole->length & ~(uint64_t)FREELIST_MARKS;

		looked++;
		*gap = gap_of(hole, align);
		if (*gap <= room && length <= room - *gap)
			break;
	}
	count_looked(f, looked);
	return block_at(hole);
}

static void *freelist_alloc(void *self, unsigned cpu, size_t bytes, size_t align)
{
	struct freelist *f = self;
	size_t asked = heap_at_least_1(bytes), gap, room;
	struct freelist_block *b;
	struct freelist_hole **from;

	(void)cpu;
	if (!heap_may_ask(bytes, align) || heap_fails_now(&f->count) || align > f->bytes)
		return NULL;
	b = search(f, length_for(asked), align < HEAP_ALIGN ? HEAP_ALIGN : align, &gap);
	if (!b)
		return NULL;
	room = length_of(b);
	from = hole_unlink(f, b);
	if (gap > 0) {
		hole_link(f, b, gap, from);
		from = &hole_of(b)->next;
		b = block_after(b);
		b->length = FREELIST_BELOW_FREE;
	}
	settle(f, b, room - gap, asked, from);
	heap_count_alloc(&f->count, asked, given_of(b));
	heap_count_held(&f->count, held(f));
	return b + 1;
}

static void freelist_free(void *self, unsigned cpu, void *memory, size_t bytes)
{
	struct freelist *f = self;
	struct freelist_block *b;

	(void)cpu;
	if (!memory)
		return;
	b = block_of(f, memory);
	MM_ASSERT(bytes <= given_of(b), bytes, given_of(b));
	heap_count_free(&f->count, asked_of(b), given_of(b));
	release(f, b, length_of(b));
}

static size_t freelist_usable(void *self, const void *memory)
{
	return given_of(block_of(self, memory));
}

/* How long the block can be where it is. */
static size_t reach(const struct freelist *f, struct freelist_block *b)
{
	struct freelist_block *after = block_after(b);

	return length_of(b) + (f->merging && !is_taken(after) ? length_of(after) : 0);
}

static void resize(struct freelist *f, struct freelist_block *b, size_t asked)
{
	size_t room = length_of(b), was = asked_of(b), given = given_of(b);

	if (length_for(asked) > room) {
		room = reach(f, b);
		hole_unlink(f, block_after(b));
	}
	settle(f, b, room, asked, NULL);
	f->count.given += given_of(b) - given;
	heap_count_asked(&f->count, asked - was);
	heap_count_held(&f->count, held(f));
}

static void *freelist_realloc(void *self, unsigned cpu, void *memory, size_t old_bytes, size_t bytes)
{
	struct freelist *f = self;
	const struct heap heap = {f, &f->ops};
	size_t asked = heap_at_least_1(bytes);
	struct freelist_block *b;

	if (!memory)
		return heap_alloc(&heap, cpu, bytes);
	b = block_of(f, memory);
	MM_ASSERT(old_bytes <= given_of(b), old_bytes, given_of(b));
	if (asked > given_of(b)) {
		if (bytes > PTRDIFF_MAX || length_for(asked) > reach(f, b))
			return heap_move(&heap, cpu, memory, old_bytes, given_of(b), asked);
		if (heap_fails_now(&f->count))
			return NULL;
	}
	resize(f, b, asked);
	return memory;
}

/* ---- figures, checks ---- */

static struct heap_stats freelist_heap_stats(void *self)
{
	const struct freelist *f = self;

	return heap_count_stats(&f->count, held(f), sizeof(*f) + f->bytes + sizeof(struct freelist_block));
}

struct freelist_stats freelist_stats_read(const struct heap *h)
{
	const struct freelist *f = h->self;
	uint64_t largest = 0;

	for (struct freelist_hole *hole = f->first; hole; hole = hole->next)
		if (given_of(block_at(hole)) > largest)
			largest = given_of(block_at(hole));
	return (struct freelist_stats){
		.holes = f->holes,
		.holes_max = f->holes_max,
		.largest_hole = largest,
		.bytes_free = f->bytes_free,
		.bytes_held_max = f->count.held_max,
		.looked_max = f->looked_max,
	};
}

static bool is_inside(const struct freelist *f, const void *at)
{
	return (uintptr_t)at - (uintptr_t)f->start < f->bytes && (uintptr_t)at % sizeof(void *) == 0;
}

/* What points to a hole: the list's start, or another hole. */
static bool points_to(const struct freelist *f, const struct freelist_hole *hole)
{
	if (hole->from != &f->first && !is_inside(f, hole->from))
		return false;
	return *hole->from == hole;
}

/* One block, of which `below_free` says what lies below; adds it up. */
static bool block_holds(const struct freelist *f, struct freelist_block *b, bool below_free, struct freelist *sum)
{
	size_t length = length_of(b), room = f->bytes - (size_t)((unsigned char *)b - f->start);

	if (length < FREELIST_BLOCK_MIN || length > room || !(b->length & FREELIST_BELOW_FREE) == below_free)
		return false; /* I1, I2 */
	if (!is_taken(b)) {
		sum->holes++;
		sum->bytes_free += length;
		return length_below(block_after(b)) == length && !(f->merging && below_free) &&
		       points_to(f, hole_of(b)); /* I2, I3, I4 */
	}
	if (b->tag != tag_of(b) || b->slack >= FREELIST_BLOCK_MIN)
		return false; /* I5 */
	heap_count_alloc(&sum->count, asked_of(b), given_of(b));
	return true;
}

static bool list_holds(const struct freelist *f) /* I4 */
{
	const struct freelist_hole *hole = f->first;
	uint64_t found = 0;

	for (; hole && found < f->holes; hole = hole->next, found++)
		if (!is_inside(f, hole) || (hole->length & FREELIST_TAKEN) || (hole->next && hole->next <= hole))
			return false;
	return !hole && found == f->holes;
}

static bool freelist_check(void *self)
{
	const struct freelist *f = self;
	const struct heap_count *c = &f->count;
	struct freelist_block *b = block_at(f->start);
	struct freelist sum = {.holes = 0};
	bool below_free = false;

	while ((unsigned char *)b != f->start + f->bytes) {
		if (!block_holds(f, b, below_free, &sum))
			return false;
		below_free = !is_taken(b);
		b = block_after(b);
	}
	return b->length == (FREELIST_TAKEN | (below_free ? FREELIST_BELOW_FREE : 0)) && list_holds(f) &&
	       f->holes == sum.holes && f->holes <= f->holes_max && f->bytes_free == sum.bytes_free &&
	       c->asked == sum.count.asked && c->given == sum.count.given && c->live == sum.count.live &&
	       c->asked <= c->asked_max && held(f) <= c->held_max;
}

static void freelist_fail_after(void *self, uint64_t n)
{
	((struct freelist *)self)->count.fail_after = n;
}

enum mm_err freelist_init(void *memory, size_t bytes, bool merging, struct heap *out)
{
	struct freelist *f = memory;
	struct freelist_block *all, *end;

	if (!memory || (uintptr_t)memory % 64 != 0 || bytes < FRAME_BYTES || bytes > FREELIST_BYTES_MAX)
		return MM_EINVAL;
	*f = (struct freelist){
		.ops = {freelist_alloc, freelist_free, freelist_realloc, freelist_usable, freelist_heap_stats,
			freelist_check, freelist_fail_after},
		.merging = merging,
	};
	f->start = (unsigned char *)memory + heap_round_up(sizeof(*f), HEAP_ALIGN);
	f->bytes = ((bytes - heap_round_up(sizeof(*f), HEAP_ALIGN)) & ~(size_t)FREELIST_MARKS) - sizeof(*end);
	all = block_at(f->start);
	end = block_at(f->start + f->bytes);
	all->length = 0;
	*end = (struct freelist_block){.length = FREELIST_TAKEN};
	hole_link(f, all, f->bytes, &f->first);
	f->count.held_max = held(f);
	*out = (struct heap){.self = f, .ops = &f->ops};
	return MM_OK;
}
