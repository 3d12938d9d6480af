/* mm/buddy_heap.c: power-of-two blocks behind heap.h.
 *
 * What it is. mm/buddy with a region to its numbers: a frame of buddy's is 16 bytes
 * here. What is asked is rounded up to a power of two, and so is its alignment; which
 * length a block has, buddy knows. The classic between the linked list, which searches, and
 * size classes, which do not merge: it does neither, and pays by lengths.
 *
 * Invariants, verified by its check:
 *   I1  buddy is sound, and has every frame of the region and no other;
 *   I2  what is not free in buddy is given;
 *   I3  asked is from 1 a live allocation to what is given, and never above its mark.
 *
 * Threads. One at a time.
 *
 * Growth and shrinking happen in place where the buddies above are free: the block goes
 * back, and is taken again at the same place with its new order, or with its old one if
 * that has no room. Nobody else asks between the two, and buddy writes to no block.
 *
 * Failure. NULL iff no block of that order is free, or none is so long or so aligned.
 *
 * What is counted. Asked: exactly, while frees name it; one that names nothing takes back
 * the mean of the live ones.
 *
 * Rejected. A header for the exact length: 16 bytes push each power of two that is asked
 * for, the best case of this heap, into a block of twice its length. */
#include "mm/buddy_heap_impl.h"
#include "mm/port.h"

#define STATE_BYTES ((sizeof(struct buddy_heap) + 63) / 64 * 64) /* buddy's follows */

static size_t order_bytes(unsigned order)
{
	return (size_t)HEAP_ALIGN << order;
}

/* The least that holds so much, from 1 to BUDDY_HEAP_LARGEST. */
static unsigned order_for(size_t bytes)
{
	return bytes <= HEAP_ALIGN ? 0 : 60u - (unsigned)__builtin_clzll(bytes - 1);
}

/* Of what is live; else it panics. */
static struct pfn first_of(const struct buddy_heap *h, const void *memory, unsigned *order)
{
	uintptr_t at = (uintptr_t)memory - (uintptr_t)h->region;
	struct pfn first = {at / HEAP_ALIGN};
	enum mm_err err = buddy_order(h->buddy, first, order);

	MM_ASSERT(at % HEAP_ALIGN == 0 && err == MM_OK, memory, h->region);
	return first;
}

static void must(enum mm_err err, uint64_t first, unsigned order)
{
	MM_ASSERT(err == MM_OK, first, order);
}

/* NULL: there is none. */
static void *take(struct buddy_heap *h, size_t asked, size_t align)
{
	size_t least = asked < align ? align : asked;
	struct pfn first;
	unsigned order;

	if (least > BUDDY_HEAP_LARGEST || (uintptr_t)h->region % align != 0)
		return NULL;
	order = order_for(least);
	if (buddy_alloc(h->buddy, order, &first) != MM_OK)
		return NULL;
	heap_count_alloc(&h->count, asked, order_bytes(order));
	return h->region + first.n * HEAP_ALIGN;
}

static void *buddy_heap_alloc(void *self, unsigned cpu, size_t bytes, size_t align)
{
	struct buddy_heap *h = self;

	(void)cpu;
	if (!heap_may_ask(bytes, align) || heap_fails_now(&h->count))
		return NULL;
	return take(h, heap_at_least_1(bytes), align);
}

static void buddy_heap_free(void *self, unsigned cpu, void *memory, size_t bytes)
{
	struct buddy_heap *h = self;
	struct pfn first;
	unsigned order;

	(void)cpu;
	if (!memory)
		return;
	first = first_of(h, memory, &order);
	MM_ASSERT(bytes <= order_bytes(order), bytes, order);
	must(buddy_free(h->buddy, first, order), first.n, order);
	heap_count_free(&h->count, heap_count_asked_of(&h->count, bytes), order_bytes(order));
	heap_count_settle(&h->count);
}

static size_t buddy_heap_usable(void *self, const void *memory)
{
	unsigned order;

	first_of(self, memory, &order);
	return order_bytes(order);
}

/* False: it has its old order still. */
static bool take_again(struct buddy_heap *h, struct pfn first, unsigned old, unsigned order)
{
	if (order == old)
		return true;
	must(buddy_free(h->buddy, first, old), first.n, old);
	if (buddy_alloc_at(h->buddy, first, order) == MM_OK)
		return true;
	must(buddy_alloc_at(h->buddy, first, old), first.n, old);
	return false;
}

static void *move(struct buddy_heap *h, unsigned cpu, void *memory, size_t old_bytes, size_t kept, size_t asked)
{
	void *moved = take(h, asked, HEAP_ALIGN);

	if (!moved)
		return NULL;
	__builtin_memcpy(moved, memory, kept);
	buddy_heap_free(h, cpu, memory, old_bytes);
	return moved;
}

static void *buddy_heap_realloc(void *self, unsigned cpu, void *memory, size_t old_bytes, size_t bytes)
{
	struct buddy_heap *h = self;
	size_t asked = heap_at_least_1(bytes), usable;
	struct pfn first;
	unsigned old, order;

	if (!memory)
		return buddy_heap_alloc(self, cpu, bytes, HEAP_ALIGN);
	first = first_of(h, memory, &old);
	usable = order_bytes(old);
	MM_ASSERT(old_bytes <= usable, old_bytes, usable);
	if (asked > usable && (heap_fails_now(&h->count) || asked > BUDDY_HEAP_LARGEST))
		return NULL;
	order = order_for(asked);
	if (!take_again(h, first, old, order))
		return move(h, cpu, memory, old_bytes, old_bytes ? old_bytes : usable, asked);
	h->count.given += order_bytes(order) - usable;
	h->count.asked += asked - heap_count_asked_of(&h->count, old_bytes);
	heap_count_settle(&h->count);
	return memory;
}

static struct heap_stats buddy_heap_stats(void *self)
{
	const struct buddy_heap *h = self;

	return heap_count_stats(&h->count, h->count.given, h->frames * HEAP_ALIGN);
}

static bool buddy_heap_check(void *self)
{
	const struct buddy_heap *h = self;
	const struct heap_count *c = &h->count;
	struct buddy_stats s = buddy_stats_read(h->buddy);

	return buddy_check(h->buddy) && s.frames_total == h->frames &&
	       (s.frames_total - s.frames_free) * HEAP_ALIGN == c->given && c->live <= c->asked &&
	       c->asked <= c->given && c->asked <= c->asked_max;
}

static void buddy_heap_fail_after(void *self, uint64_t n)
{
	((struct buddy_heap *)self)->count.fail_after = n;
}

size_t buddy_heap_meta_bytes(uint64_t region_bytes)
{
	if (region_bytes < HEAP_ALIGN || region_bytes > BUDDY_HEAP_REGION_MAX)
		return 0;
	return STATE_BYTES + buddy_meta_bytes(region_bytes / HEAP_ALIGN);
}

enum mm_err buddy_heap_init(void *meta, size_t meta_bytes, void *region, uint64_t region_bytes, struct heap *out)
{
	size_t need = buddy_heap_meta_bytes(region_bytes);
	struct buddy_heap *h = meta;
	struct buddy *buddy;

	if (!meta || (uintptr_t)meta % 64 != 0 || need == 0 || meta_bytes < need || !region ||
	    (uintptr_t)region % HEAP_ALIGN != 0)
		return MM_EINVAL;
	must(buddy_init((unsigned char *)meta + STATE_BYTES, need - STATE_BYTES, region_bytes / HEAP_ALIGN, &buddy),
	     need, 0);
	must(buddy_donate(buddy, (struct pfn){0}, region_bytes / HEAP_ALIGN), region_bytes, 0);
	*h = (struct buddy_heap){
		.ops = {buddy_heap_alloc, buddy_heap_free, buddy_heap_realloc, buddy_heap_usable, buddy_heap_stats,
			buddy_heap_check, buddy_heap_fail_after},
		.buddy = buddy,
		.region = region,
		.frames = region_bytes / HEAP_ALIGN,
	};
	*out = (struct heap){.self = h, .ops = &h->ops};
	return MM_OK;
}
