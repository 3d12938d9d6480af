/* mm/arena.c: a pointer that is moved forward, and the heap that such a pointer makes.
 *
 * What it is. arena.h has the pointer itself, inlined: its caller knows when all
 * that was taken is done with, so nothing is kept of what was. The heap is for a
 * caller who does not know: it counts, and starts anew when nothing is live. It is
 * not for what comes and goes while something stays: one live allocation keeps all
 * that was ever freed.
 *
 * Words. Newest: the block that ends where the free memory begins. Header: 16 bytes
 * before each allocation, with what was asked, how far back the header before lies,
 * and a tag over both and the address.
 *
 * Invariants. Of an arena, verified by arena_check():
 *   I1  used is no more than bytes;
 * of the heap, by its check:
 *   I2  from the newest header back, each lies before the one after it, has its
 *       tag, and its allocation ends before that one begins; the newest one's ends
 *       where the arena is used to;
 *   I3  what is live among them sums up to the counters, and is no more than what was at most;
 *   I4  nothing is used iff nothing is live.
 *
 * Threads. One at a time: two would take the same bytes.
 *
 * Cost. Five instructions a plain allocation; a header's write more in the heap. A
 * reset is one store, whatever it frees. No call depends on what was taken before;
 * realloc copies, unless it is the newest one's, which stays where it is.
 *
 * Memory. An arena: nothing but what alignment skips. The heap: 16 bytes an allocation
 * and up to 15 to the next multiple of 16; and all that was freed since nothing was live.
 *
 * Failure. NULL iff what is left is too short. A second free finds a header that says
 * freed; a wrong one finds a tag that does not fit, but in one of 2^32 cases. Both are
 * seen while something else is live: after that the memory is handed out anew.
 *
 * Rejected. Taking the newest block back when it is freed: it helps those who free in
 * reverse, who have marks. No header, the length told by free: heap.h lets a free
 * tell nothing, and a wrong free would never be seen. */
#include "mm/arena_impl.h"

bool arena_check(const struct arena *a) /* I1 */
{
	return a->used <= a->bytes;
}

/* ---- headers ---- */

static uint32_t tag_of(const struct arena_block *b)
{
	return heap_tag(b, b->asked ^ (uint64_t)b->back << 32);
}

static void *memory_of(struct arena_block *b)
{
	return b + 1;
}

static size_t given_of(const struct arena_block *b)
{
	return heap_round_up(b->asked, HEAP_ALIGN);
}

static size_t end_of(const struct arena_heap *h, const struct arena_block *b)
{
	return (size_t)((const unsigned char *)(b + 1) - h->arena.start) + given_of(b);
}

/* The header of what is live. */
static struct arena_block *block_of(const struct arena_heap *h, const void *memory)
{
	size_t at = (uintptr_t)memory - (uintptr_t)h->arena.start;
	struct arena_block *b = (struct arena_block *)(uintptr_t)memory - 1;

	MM_ASSERT(at >= sizeof(*b) && at < h->arena.used && at % HEAP_ALIGN == 0, memory, h->arena.used);
	MM_ASSERT(b->tag == tag_of(b) && b->asked != 0, memory, b->asked);
	return b;
}

static void block_write(struct arena_block *b, size_t asked, uint32_t back)
{
	*b = (struct arena_block){.asked = asked, .back = back};
	b->tag = tag_of(b);
}

/* ---- the heap ---- */

static size_t held(const struct arena_heap *h)
{
	return sizeof(*h) + h->arena.used;
}

static struct arena_block *take(struct arena_heap *h, size_t asked, size_t align)
{
	struct arena *a = &h->arena;
	uintptr_t first = (uintptr_t)a->start + a->used + sizeof(struct arena_block);
	size_t gap = -first & (align - 1);
	struct arena_block *b;
	unsigned char *at;

	if (asked > a->bytes || gap > a->bytes)
		return NULL;
	at = arena_alloc(a, gap + sizeof(*b) + heap_round_up(asked, HEAP_ALIGN), HEAP_ALIGN);
	if (!at)
		return NULL;
	b = (struct arena_block *)(void *)(at + gap);
	block_write(b, asked, h->newest ? (uint32_t)(((uintptr_t)b - (uintptr_t)h->newest) / HEAP_ALIGN) : 0);
	h->newest = b;
	return b;
}

static void *arena_heap_alloc(void *self, unsigned cpu, size_t bytes, size_t align)
{
	struct arena_heap *h = self;
	struct arena_block *b;

	(void)cpu;
	if (!heap_may_ask(bytes, align) || heap_fails_now(&h->count))
		return NULL;
	b = take(h, heap_at_least_1(bytes), align < HEAP_ALIGN ? HEAP_ALIGN : align);
	if (!b)
		return NULL;
	heap_count_alloc(&h->count, b->asked, given_of(b));
	heap_count_held(&h->count, held(h));
	return memory_of(b);
}

static void arena_heap_free(void *self, unsigned cpu, void *memory, size_t bytes)
{
	struct arena_heap *h = self;
	struct arena_block *b;

	(void)cpu;
	if (!memory)
		return;
	b = block_of(h, memory);
	MM_ASSERT(bytes <= given_of(b), bytes, b->asked);
	heap_count_free(&h->count, b->asked, given_of(b));
	block_write(b, 0, b->back);
	if (h->count.live > 0)
		return;
	arena_reset(&h->arena, (struct arena_mark){0});
	h->newest = NULL;
}

static size_t arena_heap_usable(void *self, const void *memory)
{
	return given_of(block_of(self, memory));
}

/* The newest one, where it is. */
static bool stretch(struct arena_heap *h, struct arena_block *b, size_t asked)
{
	struct arena *a = &h->arena;

	return asked <= a->bytes && arena_alloc(a, heap_round_up(asked, HEAP_ALIGN) - given_of(b), HEAP_ALIGN);
}

static void resize(struct arena_heap *h, struct arena_block *b, size_t asked)
{
	h->count.given += heap_round_up(asked, HEAP_ALIGN) - given_of(b);
	heap_count_asked(&h->count, asked - b->asked);
	block_write(b, asked, b->back);
	if (b == h->newest)
		arena_reset(&h->arena, (struct arena_mark){end_of(h, b)});
}

static void *arena_heap_realloc(void *self, unsigned cpu, void *memory, size_t old_bytes, size_t bytes)
{
	struct arena_heap *h = self;
	const struct heap heap = {h, &h->ops};
	size_t asked = heap_at_least_1(bytes);
	struct arena_block *b;

	if (!memory)
		return heap_alloc(&heap, cpu, bytes);
	b = block_of(h, memory);
	MM_ASSERT(old_bytes <= given_of(b), old_bytes, b->asked);
	if (asked > given_of(b)) {
		if (b != h->newest || bytes > PTRDIFF_MAX)
			return heap_move(&heap, cpu, memory, old_bytes, given_of(b), asked);
		if (heap_fails_now(&h->count) || !stretch(h, b, asked))
			return NULL;
	}
	resize(h, b, asked);
	heap_count_held(&h->count, held(h));
	return memory;
}

/* ---- figures, checks ---- */

static struct heap_stats arena_heap_stats(void *self)
{
	const struct arena_heap *h = self;

	return heap_count_stats(&h->count, held(h), sizeof(*h) + h->arena.bytes);
}

/* Whether the header at b may be one: below `end`, as I2 says. */
static bool block_holds(const struct arena_heap *h, const struct arena_block *b, size_t end)
{
	size_t at = (uintptr_t)b - (uintptr_t)h->arena.start;

	return at < end && at % HEAP_ALIGN == 0 && b->tag == tag_of(b) && given_of(b) <= end && end_of(h, b) <= end;
}

static bool arena_heap_check(void *self)
{
	const struct arena_heap *h = self;
	const struct arena_block *b = h->newest;
	struct heap_count sum = {0};
	size_t end = h->arena.used;

	if (!arena_check(&h->arena) || (end == 0) != (h->count.live == 0) || (end == 0) != !b)
		return false; /* I1, I4 */
	while (b) {
		if (!block_holds(h, b, end) || (b == h->newest && b->asked && end_of(h, b) != end))
			return false; /* I2 */
		if (b->asked)
			heap_count_alloc(&sum, b->asked, given_of(b));
		end = (size_t)((const unsigned char *)b - h->arena.start);
		b = b->back ? b - b->back : NULL;
	}
	return sum.asked == h->count.asked && sum.given == h->count.given && sum.live == h->count.live &&
	       h->count.asked <= h->count.asked_max && held(h) <= h->count.held_max;
}

static void arena_heap_fail_after(void *self, uint64_t n)
{
	((struct arena_heap *)self)->count.fail_after = n;
}

size_t arena_heap_held_max(const struct heap *heap)
{
	return ((const struct arena_heap *)heap->self)->count.held_max;
}

enum mm_err arena_heap_init(void *memory, size_t bytes, struct heap *out)
{
	struct arena_heap *h = memory;

	if (!memory || (uintptr_t)memory % 64 != 0 || bytes < FRAME_BYTES || bytes > ARENA_HEAP_BYTES_MAX)
		return MM_EINVAL;
	*h = (struct arena_heap){
		.ops = {arena_heap_alloc, arena_heap_free, arena_heap_realloc, arena_heap_usable, arena_heap_stats,
			arena_heap_check, arena_heap_fail_after},
		.count.held_max = sizeof(*h),
	};
	arena_init(&h->arena, h + 1, (bytes - sizeof(*h)) & ~(size_t)(HEAP_ALIGN - 1));
	*out = (struct heap){.self = h, .ops = &h->ops};
	return MM_OK;
}
