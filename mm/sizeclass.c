/* mm/sizeclass.c: fixed-size blocks, with a heap below.
 *
 * What it is. Free blocks of the powers of two from 16 to 2048, each class a list
 * whose first block is taken and put back: as fast as a heap can be, and exact in its
 * worst case, once the blocks are there. What is larger, or more aligned than a block
 * is, passes through. The classic keeps a block in its class for ever; this one can do
 * that, or give all free blocks back when the heap below has no room.
 *
 * Words. Class of a request: the smallest power of two that holds it. Class of a block:
 * the largest that its usable bytes hold, so that what the heap below gave beyond what
 * was asked serves as well. Mark: what the second word of a free block is, by its address.
 *
 * Invariants, verified by its check:
 *   I1  each block in a list is of its class and has its mark; the lists are as long as
 *       counted, and their usable bytes sum up to what is free;
 *   I2  what is held is given or free;
 *   I3  the heap below is sound, and has as many live allocations as are live or free
 *       here, at least;
 *   I4  asked is from 1 a live allocation to what is given.
 *
 * Threads. One at a time.
 *
 * Cost. A block from its list: a load of its first word, which is cold when it was
 * long free, and two counters; and what the heap below takes to say how long the block is
 * (freelist and general_heap: one load; buddy_heap: one a level). Else one allocation of that heap. With
 * gives_back the call that finds no room there frees every free block first.
 *
 * Memory. Beside what the heap below adds: up to half of a block (129 B in 256 B), and
 * free blocks, as many as were ever live at once in their class.
 *
 * Failure. NULL iff the heap below has no room (with gives_back: nor has it any then).
 * A wrong free is seen where the heap below sees it, by asking for its length; a second
 * one by the mark, after a look whether it is really in the list.
 *
 * What is counted. Asked: exactly, while frees name it; one that names nothing takes back
 * the mean of the live ones.
 *
 * Rejected. Headers with the class: 16 bytes a block of 16. The class from what the free
 * names: it may name nothing. Cutting frames into blocks: that is what slab.c does, and
 * it can give them back. */
#include "mm/port.h"
#include "mm/sizeclass_impl.h"

/* ---- classes ---- */

/* The smallest that holds so much, from 1 to SIZECLASS_LARGEST. */
static unsigned class_of_request(size_t asked)
{
	return asked <= SIZECLASS_SMALLEST ? 0 : 60u - (unsigned)__builtin_clzll(asked - 1);
}

/* The largest that it holds; SIZECLASS_COUNT: none. */
static unsigned class_of_block(size_t usable)
{
	if (usable < SIZECLASS_SMALLEST || usable >= 2 * (size_t)SIZECLASS_LARGEST)
		return SIZECLASS_COUNT;
	return 59u - (unsigned)__builtin_clzll(usable);
}

static size_t class_bytes(unsigned c)
{
	return (size_t)SIZECLASS_SMALLEST << c;
}

static uint64_t mark_of(const void *block)
{
	return (uintptr_t)block * UINT64_C(0x9e3779b97f4a7c15) ^ UINT64_C(0x5a5a5a5a5a5a5a5a);
}

/* ---- lists ---- */

static bool is_listed(const struct sizeclass *s, unsigned c, const void *block)
{
	const struct sizeclass_block *b = s->first[c];

	while (b && b != block)
		b = b->next;
	return b;
}

static void list_put(struct sizeclass *s, unsigned c, void *block, size_t usable)
{
	struct sizeclass_block *b = block;

	MM_ASSERT(b->mark != mark_of(b) || !is_listed(s, c, b), b, c);
	*b = (struct sizeclass_block){s->first[c], mark_of(b)};
	s->first[c] = b;
	s->free[c]++;
	s->free_bytes += usable;
}

static void *list_take(struct sizeclass *s, unsigned c, size_t *usable)
{
	struct sizeclass_block *b = s->first[c];

	if (!b)
		return NULL;
	*usable = heap_usable(&s->below, b);
	s->first[c] = b->next;
	s->free[c]--;
	s->free_bytes -= *usable;
	b->mark = 0;
	return b;
}

/* ---- the heap below ---- */

static void give_back(struct sizeclass *s, unsigned cpu)
{
	size_t usable;
	void *block;

	for (unsigned c = 0; c < SIZECLASS_COUNT; c++)
		while ((block = list_take(s, c, &usable))) {
			s->held -= usable;
			s->given_back++;
			heap_free(&s->below, cpu, block, 0);
		}
}

static void *from_below(struct sizeclass *s, unsigned cpu, size_t bytes, size_t align, size_t *usable)
{
	void *memory = heap_alloc_aligned(&s->below, cpu, bytes, align);

	if (!memory && s->gives_back && s->free_bytes > 0) {
		give_back(s, cpu);
		memory = heap_alloc_aligned(&s->below, cpu, bytes, align);
	}
	if (!memory)
		return NULL;
	*usable = heap_usable(&s->below, memory);
	s->from_below += class_of_block(*usable) < SIZECLASS_COUNT;
	s->held += *usable;
	heap_count_held(&s->count, s->held);
	return memory;
}

/* ---- the heap ---- */

static void *sizeclass_alloc(void *self, unsigned cpu, size_t bytes, size_t align)
{
	struct sizeclass *s = self;
	size_t asked = heap_at_least_1(bytes), usable = 0;
	void *memory = NULL;

	if (!heap_may_ask(bytes, align) || heap_fails_now(&s->count))
		return NULL;
	if (asked <= SIZECLASS_LARGEST && align <= HEAP_ALIGN) {
		unsigned c = class_of_request(asked);

		memory = list_take(s, c, &usable);
		if (!memory)
			memory = from_below(s, cpu, class_bytes(c), HEAP_ALIGN, &usable);
	} else {
		memory = from_below(s, cpu, asked, align, &usable);
	}
	if (memory)
		heap_count_alloc(&s->count, asked, usable);
	return memory;
}

static void sizeclass_free(void *self, unsigned cpu, void *memory, size_t bytes)
{
	struct sizeclass *s = self;
	size_t usable;
	unsigned c;

	if (!memory)
		return;
	usable = heap_usable(&s->below, memory);
	c = class_of_block(usable);
	MM_ASSERT(bytes <= usable && s->count.live > 0, bytes, usable);
	if (c < SIZECLASS_COUNT) {
		list_put(s, c, memory, usable);
	} else {
		s->held -= usable;
		heap_free(&s->below, cpu, memory, bytes);
	}
	heap_count_free(&s->count, heap_count_asked_of(&s->count, bytes), usable);
	heap_count_settle(&s->count);
}

static size_t sizeclass_usable(void *self, const void *memory)
{
	const struct sizeclass *s = self;

	return heap_usable(&s->below, memory);
}

/* To a shorter block: neither an allocation nor a growth, so that no fault hits it. NULL: it stays. */
static void *shrink(struct sizeclass *s, unsigned cpu, void *memory, size_t old_bytes, size_t usable, size_t asked)
{
	const struct heap heap = {s, &s->ops};
	uint64_t fault = s->count.fail_after;
	void *moved;

	s->count.fail_after = 0;
	moved = heap_move(&heap, cpu, memory, old_bytes, usable, asked);
	s->count.fail_after = fault;
	return moved;
}

/* Whether a block so long is not far longer than what a request for so much would be given. */
static bool is_fit(size_t usable, size_t asked)
{
	size_t given = asked > SIZECLASS_LARGEST ? asked : class_bytes(class_of_request(asked));

	return given > usable / 4;
}

static void *sizeclass_realloc(void *self, unsigned cpu, void *memory, size_t old_bytes, size_t bytes)
{
	struct sizeclass *s = self;
	const struct heap heap = {s, &s->ops};
	size_t asked = heap_at_least_1(bytes), usable;
	void *moved;

	if (!memory)
		return heap_alloc(&heap, cpu, bytes);
	usable = heap_usable(&s->below, memory);
	MM_ASSERT(old_bytes <= usable, old_bytes, usable);
	if (asked > usable)
		return heap_move(&heap, cpu, memory, old_bytes, usable, asked);
	if (!is_fit(usable, asked) && (moved = shrink(s, cpu, memory, old_bytes, usable, asked)))
		return moved;
	s->count.asked += asked - heap_count_asked_of(&s->count, old_bytes);
	heap_count_settle(&s->count);
	return memory;
}

/* ---- figures, checks ---- */

static struct heap_stats sizeclass_heap_stats(void *self)
{
	const struct sizeclass *s = self;

	return heap_count_stats(&s->count, s->held, heap_stats_read(&s->below).bytes_total);
}

struct sizeclass_stats sizeclass_stats_read(const struct heap *h)
{
	const struct sizeclass *s = h->self;
	struct sizeclass_stats stats = {
		.bytes_free = s->free_bytes,
		.bytes_held_max = s->count.held_max,
		.from_below = s->from_below,
		.given_back = s->given_back,
	};

	for (unsigned c = 0; c < SIZECLASS_COUNT; c++)
		stats.free[c] = s->free[c];
	return stats;
}

/* I1 of one list; adds up. */
static bool list_holds(const struct sizeclass *s, unsigned c, uint64_t *blocks, uint64_t *bytes)
{
	uint64_t found = 0;

	for (const struct sizeclass_block *b = s->first[c]; b; b = b->next, found++) {
		if (found == s->free[c] || b->mark != mark_of(b) || class_of_block(heap_usable(&s->below, b)) != c)
			return false;
		*bytes += heap_usable(&s->below, b);
	}
	*blocks += found;
	return found == s->free[c];
}

static bool sizeclass_check(void *self)
{
	const struct sizeclass *s = self;
	uint64_t blocks = 0, bytes = 0;

	if (!heap_check(&s->below))
		return false;
	for (unsigned c = 0; c < SIZECLASS_COUNT; c++)
		if (!list_holds(s, c, &blocks, &bytes))
			return false;
	if (s->count.live > s->count.asked || s->count.asked > s->count.given || s->count.asked > s->count.asked_max)
		return false;
	return bytes == s->free_bytes && s->held == bytes + s->count.given && s->held <= s->count.held_max &&
	       blocks <= s->from_below - s->given_back &&
	       heap_stats_read(&s->below).allocations >= blocks + s->count.live;
}

static void sizeclass_fail_after(void *self, uint64_t n)
{
	((struct sizeclass *)self)->count.fail_after = n;
}

void sizeclass_reap(const struct heap *h, unsigned cpu)
{
	give_back(h->self, cpu);
}

size_t sizeclass_meta_bytes(void)
{
	return sizeof(struct sizeclass);
}

enum mm_err sizeclass_init(void *meta, size_t meta_bytes, const struct sizeclass_config *config, struct heap *out)
{
	struct sizeclass *s = meta;

	if (!meta || (uintptr_t)meta % 16 != 0 || meta_bytes < sizeof(*s) || !config->below)
		return MM_EINVAL;
	*s = (struct sizeclass){
		.ops = {sizeclass_alloc, sizeclass_free, sizeclass_realloc, sizeclass_usable, sizeclass_heap_stats,
			sizeclass_check, sizeclass_fail_after},
		.below = *config->below,
		.gives_back = config->gives_back,
	};
	*out = (struct heap){.self = s, .ops = &s->ops};
	return MM_OK;
}
