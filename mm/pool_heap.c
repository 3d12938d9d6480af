/* mm/pool_heap.c: heap.h over a pool of one size.
 *
 * What it is. Each allocation is one object, whatever was asked: the internal
 * fragmentation of a pool, as a figure (asked against given). It keeps no list and no
 * header; what it adds to the pool is what heap.h wants to know, and the fault that it
 * wants to set. Who can name the pool calls it itself, and pays for none of this.
 *
 * Invariants, verified by its check:
 *   I1  the pool is sound, and has as many live objects as are live here, at least;
 *   I2  asked is no more than its maximum.
 *
 * What is counted. Asked: exactly, while frees name it; one that names nothing takes back
 * the mean of the live ones, and no sum leaves what is possible: from 1 a live object to its length.
 *
 * Threads. As the pool; the figures are words that all write by relaxed atomics.
 *
 * Cost. As the pool, and two atomic operations on one line.
 *
 * Failure. NULL iff it is longer or more aligned than an object, or the pool has none. A wrong
 * free is seen where the pool sees it.
 *
 * Rejected. Counters of each CPU's own: no line that all write, but then the maximum of
 * what is asked would be what readers saw, and who wants speed does not come through here. */
#include "mm/fail_nth.h"
#include "mm/heap_count.h"
#include "mm/pool_heap_impl.h"

static uint64_t figure(const uint64_t *at)
{
	return __atomic_load_n(at, __ATOMIC_RELAXED);
}

/* What `live` ones may have asked for, next to `asked`. */
static uint64_t possible(const struct pool_heap *h, uint64_t asked, uint64_t live)
{
	if ((int64_t)asked < (int64_t)live)
		return live;
	return asked < live * h->bytes ? asked : live * h->bytes;
}

static void asked_move(struct pool_heap *h, uint64_t by, uint64_t live)
{
	uint64_t was = figure(&h->asked), max = figure(&h->asked_max), now;

	do
		now = possible(h, was + by, live);
	while (!__atomic_compare_exchange_n(&h->asked, &was, now, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
	while (now > max &&
	       !__atomic_compare_exchange_n(&h->asked_max, &max, now, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		;
}

/* What was asked of a live one, as well as it is known. */
static uint64_t asked_of(const struct pool_heap *h, size_t named)
{
	uint64_t live = figure(&h->live);

	if (named)
		return named;
	return live > 0 ? figure(&h->asked) / live : 1;
}

static void *alloc(void *self, unsigned cpu, size_t bytes, size_t align)
{
	struct pool_heap *h = self;
	void *object;

	if (!heap_may_ask(bytes, align) || fail_nth_now(&h->fail_after) || bytes > h->bytes || align > h->align)
		return NULL;
	object = pool_alloc(h->pool, cpu);
	if (!object)
		return NULL;
	asked_move(h, heap_at_least_1(bytes), __atomic_add_fetch(&h->live, 1, __ATOMIC_RELAXED));
	return object;
}

static void give(void *self, unsigned cpu, void *memory, size_t bytes)
{
	struct pool_heap *h = self;
	uint64_t asked;

	if (!memory)
		return;
	MM_ASSERT(bytes <= h->bytes && figure(&h->live) > 0, memory, bytes);
	asked = asked_of(h, bytes);
	asked_move(h, -asked, __atomic_sub_fetch(&h->live, 1, __ATOMIC_RELAXED));
	pool_free(h->pool, cpu, memory);
}

static void *resize(void *self, unsigned cpu, void *memory, size_t old_bytes, size_t bytes)
{
	struct pool_heap *h = self;

	if (!memory)
		return alloc(self, cpu, bytes, HEAP_ALIGN);
	MM_ASSERT(old_bytes <= h->bytes, memory, old_bytes);
	if (bytes > h->bytes) {
		fail_nth_now(&h->fail_after); /* a growth, refused either way */
		return NULL;
	}
	asked_move(h, heap_at_least_1(bytes) - asked_of(h, old_bytes), figure(&h->live));
	return memory;
}

static size_t usable(void *self, const void *memory)
{
	(void)memory;
	return ((struct pool_heap *)self)->bytes;
}

static struct heap_stats stats(void *self)
{
	const struct pool_heap *h = self;
	uint64_t live = figure(&h->live), asked = possible(h, figure(&h->asked), live), max = figure(&h->asked_max);

	return (struct heap_stats){.bytes_asked = asked,
				   .bytes_asked_max = max > asked ? max : asked,
				   .bytes_given = live * h->bytes,
				   .bytes_held = pool_stats_read(h->pool).bytes_held,
				   .bytes_total = h->total,
				   .allocations = live};
}

static bool check(void *self)
{
	const struct pool_heap *h = self;

	return pool_check(h->pool) && pool_stats_read(h->pool).objects_live >= h->live && h->asked <= h->asked_max;
}

static void fail_after(void *self, uint64_t n)
{
	__atomic_store_n(&((struct pool_heap *)self)->fail_after, n, __ATOMIC_RELAXED);
}

size_t pool_heap_meta_bytes(void)
{
	return sizeof(struct pool_heap);
}

enum mm_err pool_heap_init(void *meta, size_t meta_bytes, struct pool *pool, const struct pool_config *config,
			   struct heap *out)
{
	struct pool_heap *h = meta;
	size_t align = config->align ? config->align : HEAP_ALIGN;

	if (!meta || (uintptr_t)meta % 64 != 0 || meta_bytes < sizeof(*h) || align < HEAP_ALIGN ||
	    config->bytes % HEAP_ALIGN != 0)
		return MM_EINVAL;
	*h = (struct pool_heap){.ops = {alloc, give, resize, usable, stats, check, fail_after},
				.pool = pool,
				.bytes = config->bytes,
				.align = align,
				.total = (uint64_t)config->most * heap_round_up(config->bytes, align)};
	*out = (struct heap){.self = h, .ops = &h->ops};
	return MM_OK;
}
