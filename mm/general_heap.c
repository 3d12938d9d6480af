/* mm/general_heap.c: a heap for any size over one arena.
 *
 * What it is. Small sizes (up to GENERAL_HEAP_SMALL_MAX) come from slab caches,
 * one a size class; larger ones, and alignments above a frame, are runs of
 * 2^order frames of their own. It writes nothing into what it hands out, and
 * keeps nothing beside it. It is not a policy: whoever wants memory back from
 * its caches calls general_heap_reap(), though a request that finds no room does
 * so first.
 *
 * Words. Class: one of 64 sizes, each with its slab cache; 16 bytes apart up to
 * 256, then 8 to a doubling. Kind: the byte that the heap keeps for each frame of
 * the arena. Head: the first frame of a large run. Digit: the kind of one of the
 * frames behind a head; together they say what was asked. Sized: a free that
 * names what was asked.
 *
 * Pointer to kind. (memory - arena) / FRAME_BYTES indexes the kinds: the class
 * where a slab lies, set when a cache takes it and cleared when it gives it back;
 * the order at a head; digits behind it; 0 elsewhere. So free and usable need no
 * header, and an address that this heap never gave, or gives no more, is seen:
 * all wrong frees of runs at once, those of small objects when they reach a slab.
 *
 * Alignment. The size of a class is a multiple of its distance to the next lower
 * one. A request is rounded up to a multiple of its alignment; either that is
 * above the distance, then the sum is itself a class; or it is not, then it
 * divides every size around. So the class is always a multiple of the alignment,
 * and a cache aligns its objects to the largest power of two in their size, up to
 * a frame. Runs are aligned to their length within the arena. A size is an odd multiple
 * of that power, so the objects of a slab begin at all places of a page that there are,
 * and colours would add none: without them an address alone tells whether a small object
 * begins there.
 *
 * Realloc. Stays where it is while the length fits and the class or order that
 * would be chosen now is more than half as large; else it moves. A shrink that
 * finds no room stays, too: it never fails.
 *
 * What is counted. Allocations, bytes given and held: exact when all is quiet,
 * since the caches know how many objects are live. Bytes asked: of a run exactly,
 * by its digits (of a run of two frames, which only alignment makes, in 64s). Of
 * small ones each CPU sums by class what was asked and what frees named; frees
 * without size are only counted, and take back the mean of their class. Exact
 * thus while frees are sized; and never further off than between 1 and the class
 * size for each live object, whatever was named, since the count of the live is
 * not a sum of guesses. The maximum is what readers saw, and what is seen each
 * time that the heap holds 1/64 more than ever before.
 *
 * Invariants, verified by general_heap_check():
 *   I1  slab_check() of every cache; what it holds is its class's frames;
 *   I2  a head lies at a multiple of its run's length, the run inside the arena,
 *       with digits behind it that say 1 to its length, and 0 behind those;
 *   I3  no digits elsewhere, and no kind that means nothing;
 *   I4  heads, their lengths and what was asked of them sum up to the counters;
 *   I5  held is the bytes of all frames above; the allocator below has given out
 *       at least as many;
 *   I6  cpus_ready is cpus, or 0 while a fault is set, so that one comparison
 *       tells both a wrong CPU and a fault from what is usual.
 *
 * Threads. Any number, one CPU each; a fault is set while nobody else calls. On the
 * way of a small object nothing is written but the CPU's own counters (relaxed
 * stores by their only writer) and what the slab writes. Kinds are written by who
 * owns the run; a free claims its head by an exchange, so of two wrong ones only
 * one goes on. Shared words (held) change only when memory is taken from below or
 * given back.
 *
 * Cost. Small: class by count of leading zeros, one load for the cache, slab_alloc;
 * free: one load for the kind, slab_free; where the size is named the class comes
 * from it and the kind is only compared, so that nothing waits for it. A hot pair
 * takes some 4 ns more than the slab's own 1. Large: frames_alloc, at most 6 bytes
 * of kinds, two shared adds a pair. Worst: a slab of 2^k frames sets 2^k kinds; a
 * request that finds no room reaps all caches and asks again, so a refusal costs
 * microseconds and more. Statistics are O(classes * cpus).
 *
 * Memory. One byte a frame; 1,600 a CPU; 64 caches (slab_meta_bytes()), each
 * written when the first of its size is asked for, so that a heap of few sizes
 * touches little. Inside an object at most 1/8 is lost from 128 B on (15 bytes
 * below); in a large run up to half, since frames come in powers of two: what is
 * asked is kept to tell.
 *
 * Growth. Whoever owns the arena may donate its frames as they are needed: asked
 * when there is no run, before the caches are reaped and, if it would rather have
 * that first, after. It is told of each run that leaves the allocator below or
 * goes back, so that it can give memory to a host, and know what is still clean.
 *
 * Failure. NULL iff it does not fit below after all caches were reaped as far as
 * this CPU reaches, and nobody donates more; runs above 1 GiB never do. Nothing visible has changed then.
 *
 * Rejected. Headers before the objects: a cold line a free, and no 16 B class. A
 * table from size to class: a line more in the cache, or relocations. Runs of any
 * number of frames: frames_free() takes runs as they were given, so the tail could
 * not be returned. What was asked, kept for each object: the only exact count when
 * frees name nothing, at the price of a cold line an operation. */
#include "mm/fail_nth.h"
#include "mm/general_heap_impl.h"
#include "mm/port.h"

#define LARGE_MAX  (FRAME_BYTES << FRAMES_ORDER_MAX)
#define DIGIT_BITS 7u
#define DIGITS_MAX 5u

_Static_assert(DIGITS_MAX *DIGIT_BITS >= FRAME_SHIFT + FRAMES_ORDER_MAX, "digits hold any length of a run");

/* ---- classes ---- */

_Static_assert(GENERAL_HEAP_SMALL_MAX == 64u << GENERAL_HEAP_CLASSES / 8, "the last class is the largest small size");

static size_t at_least_1(size_t bytes)
{
	return bytes + (bytes == 0);
}

static size_t round_up(size_t bytes, size_t align)
{
	return (bytes + align - 1) & ~(align - 1);
}

/* The smallest order whose run is that long; of more than a frame. */
static unsigned order_of(size_t bytes)
{
	return 64u - FRAME_SHIFT - (unsigned)__builtin_clzll(bytes - 1);
}

static size_t order_bytes(unsigned order)
{
	return FRAME_BYTES << order;
}

/* ---- kinds ---- */

static unsigned kind_read(const struct general_heap *h, uint64_t frame)
{
	return __atomic_load_n(&h->kinds[frame], __ATOMIC_RELAXED);
}

static void kind_write(struct general_heap *h, uint64_t frame, unsigned kind)
{
	__atomic_store_n(&h->kinds[frame], (uint8_t)kind, __ATOMIC_RELAXED);
}

static void kinds_fill(struct general_heap *h, uint64_t first, unsigned order, unsigned kind)
{
	for (uint64_t i = 0; i < UINT64_C(1) << order; i++)
		kind_write(h, first + i, kind);
}

static bool is_class(unsigned kind)
{
	return kind - GENERAL_HEAP_CLASS < GENERAL_HEAP_CLASSES;
}

static bool is_head(unsigned kind)
{
	return kind - GENERAL_HEAP_HEAD <= FRAMES_ORDER_MAX;
}

static uint64_t frame_of(const struct general_heap *h, const void *memory)
{
	uint64_t frame = ((uintptr_t)memory - h->arena) >> FRAME_SHIFT;

	MM_ASSERT(frame < h->frame_count, memory, frame);
	return frame;
}

static void *frame_at(const struct general_heap *h, uint64_t frame)
{
	return (void *)(h->arena + (frame << FRAME_SHIFT));
}

/* How many frames behind a head say what was asked. */
static unsigned digits(unsigned order)
{
	return order < 3 ? (1u << order) - 1 : DIGITS_MAX;
}

/* A run of two frames has one digit only. */
static unsigned digit_unit_shift(unsigned order)
{
	return order == 1 ? FRAME_SHIFT + 1 - DIGIT_BITS : 0;
}

static void asked_write(struct general_heap *h, uint64_t head, unsigned order, size_t asked)
{
	size_t rest = (asked - 1) >> digit_unit_shift(order);

	for (unsigned i = 1; i <= digits(order); i++, rest >>= DIGIT_BITS)
		kind_write(h, head + i, GENERAL_HEAP_DIGIT | (rest & (GENERAL_HEAP_DIGIT - 1)));
}

static size_t asked_read(const struct general_heap *h, uint64_t head, unsigned order)
{
	size_t asked = 0;

	for (unsigned i = digits(order); i >= 1; i--)
		asked = asked << DIGIT_BITS | (kind_read(h, head + i) & (GENERAL_HEAP_DIGIT - 1));
	return (asked + 1) << digit_unit_shift(order);
}

/* ---- what is counted ---- */

/* By the only thread that writes it. */
static void own_add(uint64_t *own, uint64_t by)
{
	__atomic_store_n(own, __atomic_load_n(own, __ATOMIC_RELAXED) + by, __ATOMIC_RELAXED);
}

static uint64_t read_now(const uint64_t *word)
{
	return __atomic_load_n(word, __ATOMIC_RELAXED);
}

/* NULL: nobody has asked for that size yet. */
static struct slab_cache *cache_of(const struct general_heap *h, unsigned c)
{
	return __atomic_load_n(&h->classes[c].cache, __ATOMIC_ACQUIRE);
}

struct totals {
	uint64_t asked, given, count;
};

/* What `live` objects of `bytes` each were asked for, as well as it is known. */
static uint64_t asked_live(uint64_t sum, uint64_t live, uint64_t unsized, size_t bytes)
{
	uint64_t asked = unsized == 0 || live == 0 ? sum : sum / (live + unsized) * live;

	if ((int64_t)asked < (int64_t)live)
		return live;
	return asked < live * bytes ? asked : live * bytes;
}

static void totals_add_class(const struct general_heap *h, unsigned c, struct totals *t)
{
	const struct slab_cache *cache = cache_of(h, c);
	uint64_t live, sum = 0, unsized = 0;

	if (!cache)
		return;
	live = slab_stats_read(cache).objects_live;
	for (unsigned cpu = 0; cpu < h->cpus; cpu++) {
		sum += read_now(&h->small[cpu].class[c].asked) - read_now(&h->small[cpu].class[c].named);
		unsized += read_now(&h->small[cpu].class[c].unsized);
	}
	t->asked += asked_live(sum, live, unsized, general_heap_class_bytes(c));
	t->given += live * general_heap_class_bytes(c);
	t->count += live;
}

static struct totals totals_large(const struct general_heap *h)
{
	struct totals t = {0, 0, 0};

	for (unsigned cpu = 0; cpu < h->cpus; cpu++) {
		t.asked += read_now(&h->large[cpu].asked);
		t.given += read_now(&h->large[cpu].given);
		t.count += read_now(&h->large[cpu].count);
	}
	return t;
}

static struct totals totals_read(const struct general_heap *h)
{
	struct totals t = totals_large(h);

	for (unsigned c = 0; c < GENERAL_HEAP_CLASSES; c++)
		totals_add_class(h, c, &t);
	return t;
}

static void mark_asked(struct general_heap *h, uint64_t asked)
{
	uint64_t max = read_now(&h->asked_max);

	while (asked > max &&
	       !__atomic_compare_exchange_n(&h->asked_max, &max, asked, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		;
}

static void held_add(struct general_heap *h, uint64_t bytes)
{
	uint64_t held = __atomic_add_fetch(&h->held, bytes, __ATOMIC_RELAXED), marked = read_now(&h->held_marked);

	if (held <= marked + marked / 64)
		return;
	__atomic_store_n(&h->held_marked, held, __ATOMIC_RELAXED);
	mark_asked(h, totals_read(h).asked);
}

static void held_sub(struct general_heap *h, uint64_t bytes)
{
	__atomic_sub_fetch(&h->held, bytes, __ATOMIC_RELAXED);
}

static void count_large(struct general_heap *h, unsigned cpu, unsigned order, size_t asked, uint64_t sign)
{
	struct general_large *own = &h->large[cpu];

	own_add(&own->asked, asked * sign);
	own_add(&own->given, order_bytes(order) * sign);
	own_add(&own->count, sign);
}

/* ---- memory from below ---- */

static bool grow(struct general_heap *h, unsigned order, bool reaped)
{
	return h->host.grow && h->host.grow(h->host.self, order, reaped);
}

static enum mm_err run_take(struct general_heap *h, unsigned cpu, unsigned order, bool reaped, struct pfn *first)
{
	enum mm_err err;

	do
		err = frames_alloc(h->frames, cpu, order, first);
	while (err == MM_ENOMEM && grow(h, order, reaped));
	if (err == MM_OK && h->host.taken)
		h->host.taken(h->host.self, *first, order);
	return err;
}

static void run_give(struct general_heap *h, unsigned cpu, unsigned order, struct pfn first)
{
	enum mm_err err;

	if (h->host.given)
		h->host.given(h->host.self, first, order);
	err = frames_free(h->frames, cpu, first, order);
	MM_ASSERT(err == MM_OK, first.n, order);
}

static enum mm_err slab_take(void *self, unsigned cpu, unsigned order, void **out)
{
	struct general_class *from = self;
	struct general_heap *h = from->heap;
	struct pfn first;
	enum mm_err err = run_take(h, cpu, order, false, &first);

	if (err != MM_OK)
		return err;
	kinds_fill(h, first.n, order, GENERAL_HEAP_CLASS + (unsigned)(from - h->classes));
	held_add(h, order_bytes(order));
	*out = frame_at(h, first.n);
	MM_UNPOISON(*out, order_bytes(order));
	return MM_OK;
}

static void slab_give(void *self, unsigned cpu, unsigned order, void *slab)
{
	struct general_class *from = self;
	struct general_heap *h = from->heap;
	struct pfn first = {frame_of(h, slab)};

	kinds_fill(h, first.n, order, GENERAL_HEAP_NONE);
	held_sub(h, order_bytes(order));
	run_give(h, cpu, order, first);
}

/* Two may come for the same size at once. */
static __attribute__((noinline)) struct slab_cache *class_make(struct general_heap *h, unsigned c)
{
	uint32_t bytes = (uint32_t)general_heap_class_bytes(c), align = bytes & -bytes;
	struct slab_config config = {
		.bytes = bytes,
		.align = align < FRAME_BYTES ? align : (uint32_t)FRAME_BYTES,
		.cpus = h->cpus,
		.source = {.self = &h->classes[c], .take = slab_take, .give = slab_give},
		.meta_zeroed = h->meta_zeroed,
		.uncoloured = true,
	};
	struct slab_cache *cache;
	enum mm_err err = MM_OK;

	lock_take(&h->making);
	cache = cache_of(h, c);
	if (!cache)
		err = slab_init(h->caches + c * h->cache_bytes, h->cache_bytes, &config, &cache);
	MM_ASSERT(err == MM_OK, err, c);
	__atomic_store_n(&h->classes[c].cache, cache, __ATOMIC_RELEASE);
	lock_drop(&h->making);
	return cache;
}

static void reap(struct general_heap *h, unsigned cpu, bool all)
{
	for (unsigned c = 0; c < GENERAL_HEAP_CLASSES; c++)
		if (cache_of(h, c))
			slab_reap(cache_of(h, c), cpu, all);
}

/* ---- alloc ---- */

/* Whether this allocation or growth is the one to be refused. */
static bool fails_now(struct general_heap *h)
{
	bool now = fail_nth_now(&h->fail_after);

	if (now)
		__atomic_store_n(&h->cpus_ready, h->cpus, __ATOMIC_RELAXED);
	return now;
}

static __attribute__((noinline)) void *object_after_reap(struct general_heap *h, unsigned cpu, unsigned c)
{
	struct slab_cache *cache = cache_of(h, c);
	void *object;

	reap(h, cpu, true);
	do
		object = slab_alloc(cache, cpu);
	while (!object && grow(h, slab_order(cache), true));
	return object;
}

static void *small_alloc(struct general_heap *h, unsigned cpu, unsigned c, size_t asked)
{
	struct slab_cache *cache = cache_of(h, c);
	void *object = slab_alloc(__builtin_expect(cache != NULL, 1) ? cache : class_make(h, c), cpu);

	if (__builtin_expect(!object, 0) && !(object = object_after_reap(h, cpu, c)))
		return NULL;
	own_add(&h->small[cpu].class[c].asked, asked);
	return object;
}

static void *large_alloc(struct general_heap *h, unsigned cpu, unsigned order, size_t asked)
{
	struct pfn first;

	if (run_take(h, cpu, order, false, &first) != MM_OK) {
		reap(h, cpu, true);
		if (run_take(h, cpu, order, true, &first) != MM_OK)
			return NULL;
	}
	kind_write(h, first.n, GENERAL_HEAP_HEAD + order);
	asked_write(h, first.n, order, asked);
	count_large(h, cpu, order, asked_read(h, first.n, order), 1);
	held_add(h, order_bytes(order));
	return frame_at(h, first.n);
}

/* Any size and alignment that a run can have. */
static void *place(struct general_heap *h, unsigned cpu, size_t asked, size_t align)
{
	if (align <= FRAME_BYTES && round_up(asked, align) <= GENERAL_HEAP_SMALL_MAX)
		return small_alloc(h, cpu, general_heap_class(round_up(asked, align)), asked);
	return large_alloc(h, cpu, order_of(asked > align ? asked : align), asked);
}

/* What is no small object of plain alignment, or may be refused on purpose. */
static __attribute__((noinline)) void *alloc_rest(struct general_heap *h, unsigned cpu, size_t bytes, size_t align)
{
	size_t asked = at_least_1(bytes);

	MM_ASSERT(cpu < h->cpus, cpu, h->cpus);
	if (align == 0 || (align & (align - 1)) != 0 || asked > LARGE_MAX || align > LARGE_MAX)
		return NULL;
	if (align > FRAME_BYTES && (h->arena & (align - 1)) != 0)
		return NULL; /* runs are aligned within the arena only */
	if (fails_now(h))
		return NULL;
	return place(h, cpu, asked, align);
}

static void *general_alloc(void *self, unsigned cpu, size_t bytes, size_t align)
{
	struct general_heap *h = self;
	unsigned cpus = __atomic_load_n(&h->cpus_ready, __ATOMIC_RELAXED);

	if (__builtin_expect(bytes - 1 >= GENERAL_HEAP_SMALL_MAX || align != HEAP_ALIGN || cpu >= cpus, 0))
		return alloc_rest(h, cpu, bytes, align);
	return small_alloc(h, cpu, general_heap_class(bytes), bytes);
}

/* ---- free ---- */

static __attribute__((noinline)) void large_free(struct general_heap *h, unsigned cpu, void *memory, size_t bytes)
{
	struct pfn first = {frame_of(h, memory)};
	unsigned kind = __atomic_exchange_n(&h->kinds[first.n], GENERAL_HEAP_NONE, __ATOMIC_RELAXED);
	unsigned order = kind - GENERAL_HEAP_HEAD;

	MM_ASSERT(is_head(kind) && (uintptr_t)memory % FRAME_BYTES == 0, memory, kind);
	MM_ASSERT(bytes <= order_bytes(order), bytes, order);
	count_large(h, cpu, order, asked_read(h, first.n, order), (uint64_t)-1);
	for (unsigned i = 1; i <= digits(order); i++)
		kind_write(h, first.n + i, GENERAL_HEAP_NONE);
	held_sub(h, order_bytes(order));
	run_give(h, cpu, order, first);
}

/* A small object whose free does not name the size of its class. */
static void small_free(struct general_heap *h, unsigned cpu, unsigned c, void *memory, size_t bytes)
{
	MM_ASSERT(bytes <= general_heap_class_bytes(c), bytes, c);
	if (bytes)
		own_add(&h->small[cpu].class[c].named, bytes);
	else
		own_add(&h->small[cpu].class[c].unsized, 1);
	slab_free(cache_of(h, c), cpu, memory);
}

/* Which class it is follows from what is named, so that nothing waits for the
 * kind, which may be far away: it is only compared. */
static void general_free(void *self, unsigned cpu, void *memory, size_t bytes)
{
	struct general_heap *h = self;
	unsigned kind, c;

	if (!memory)
		return;
	MM_ASSERT(cpu < h->cpus, cpu, h->cpus);
	kind = kind_read(h, frame_of(h, memory));
	if (bytes - 1 < GENERAL_HEAP_SMALL_MAX) {
		c = general_heap_class(bytes);
		if (__builtin_expect(kind == GENERAL_HEAP_CLASS + c, 1)) {
			own_add(&h->small[cpu].class[c].named, bytes);
			slab_free(cache_of(h, c), cpu, memory);
			return;
		}
	}
	if (is_class(kind))
		small_free(h, cpu, kind - GENERAL_HEAP_CLASS, memory, bytes);
	else
		large_free(h, cpu, memory, bytes);
}

/* ---- realloc ---- */

static size_t general_usable(void *self, const void *memory)
{
	const struct general_heap *h = self;
	unsigned kind = kind_read(h, frame_of(h, memory));

	if (is_class(kind))
		return general_heap_class_bytes(kind - GENERAL_HEAP_CLASS);
	MM_ASSERT(is_head(kind) && (uintptr_t)memory % FRAME_BYTES == 0, memory, kind);
	return order_bytes(kind - GENERAL_HEAP_HEAD);
}

/* What an allocation of that size would be given. */
static size_t given_for(size_t asked)
{
	return asked <= GENERAL_HEAP_SMALL_MAX ? general_heap_class_bytes(general_heap_class(asked))
					       : order_bytes(order_of(asked));
}

/* The same memory, another length: only the figures change. */
static void recount(struct general_heap *h, unsigned cpu, void *memory, size_t old_bytes, size_t asked)
{
	uint64_t frame = frame_of(h, memory);
	unsigned kind = kind_read(h, frame), order = kind - GENERAL_HEAP_HEAD;

	if (is_class(kind)) {
		own_add(&h->small[cpu].class[kind - GENERAL_HEAP_CLASS].asked, asked - old_bytes);
		own_add(&h->small[cpu].class[kind - GENERAL_HEAP_CLASS].unsized, old_bytes == 0);
		return;
	}
	own_add(&h->large[cpu].asked, -asked_read(h, frame, order));
	asked_write(h, frame, order, asked);
	own_add(&h->large[cpu].asked, asked_read(h, frame, order));
}

static void *general_realloc(void *self, unsigned cpu, void *memory, size_t old_bytes, size_t bytes)
{
	struct general_heap *h = self;
	size_t asked = at_least_1(bytes), usable, kept;
	void *moved = NULL;

	if (!memory)
		return general_alloc(self, cpu, bytes, HEAP_ALIGN);
	MM_ASSERT(cpu < h->cpus, cpu, h->cpus);
	usable = general_usable(self, memory);
	MM_ASSERT(old_bytes <= usable, old_bytes, usable);
	if (asked > usable) {
		moved = alloc_rest(h, cpu, asked, HEAP_ALIGN);
		if (!moved)
			return NULL;
	} else if (given_for(asked) <= usable / 2) {
		moved = place(h, cpu, asked, HEAP_ALIGN);
	}
	if (!moved) {
		recount(h, cpu, memory, old_bytes, asked);
		return memory;
	}
	kept = old_bytes ? old_bytes : usable;
	__builtin_memcpy(moved, memory, kept < asked ? kept : asked);
	general_free(self, cpu, memory, old_bytes);
	return moved;
}

/* ---- figures, checks ---- */

static struct heap_stats general_stats(void *self)
{
	struct general_heap *h = self;
	struct totals t = totals_read(h);

	mark_asked(h, t.asked);
	return (struct heap_stats){
		.bytes_asked = t.asked,
		.bytes_asked_max = read_now(&h->asked_max),
		.bytes_given = t.given,
		.bytes_held = read_now(&h->held),
		.bytes_total = frames_stats_read(h->frames).frames_total << FRAME_SHIFT,
		.allocations = t.count,
	};
}

/* I2 at one head; adds it up. */
static bool run_holds(const struct general_heap *h, uint64_t head, unsigned order, struct totals *t)
{
	uint64_t frames = UINT64_C(1) << order;

	if (head % frames != 0 || frames > h->frame_count - head)
		return false;
	for (uint64_t i = 1; i < frames; i++)
		if (i <= digits(order) ? kind_read(h, head + i) < GENERAL_HEAP_DIGIT : kind_read(h, head + i) != 0)
			return false;
	t->asked += asked_read(h, head, order);
	t->given += order_bytes(order);
	t->count++;
	return asked_read(h, head, order) <= order_bytes(order);
}

/* I2, I3; sums up runs, and frames by class. */
static bool kinds_hold(const struct general_heap *h, uint64_t frames[GENERAL_HEAP_CLASSES], struct totals *runs)
{
	for (uint64_t n = 0; n < h->frame_count; n++) {
		unsigned kind = kind_read(h, n);

		if (is_class(kind)) {
			frames[kind - GENERAL_HEAP_CLASS]++;
		} else if (is_head(kind)) {
			if (!run_holds(h, n, kind - GENERAL_HEAP_HEAD, runs))
				return false;
			n += (UINT64_C(1) << (kind - GENERAL_HEAP_HEAD)) - 1;
		} else if (kind != GENERAL_HEAP_NONE) {
			return false;
		}
	}
	return true;
}

static bool general_check(void *self)
{
	const struct general_heap *h = self;
	uint64_t frames[GENERAL_HEAP_CLASSES] = {0}, held;
	struct totals runs = {0, 0, 0}, counted = totals_large(h);
	struct frames_stats below = frames_stats_read(h->frames);

	if (!kinds_hold(h, frames, &runs))
		return false;
	if (runs.asked != counted.asked || runs.given != counted.given || runs.count != counted.count)
		return false;
	held = runs.given;
	for (unsigned c = 0; c < GENERAL_HEAP_CLASSES; c++) {
		const struct slab_cache *cache = cache_of(h, c);
		uint64_t cache_held = cache ? slab_stats_read(cache).bytes_held : 0;

		if ((cache && !slab_check(cache)) || cache_held != frames[c] << FRAME_SHIFT)
			return false;
		held += frames[c] << FRAME_SHIFT;
	}
	return h->cpus_ready == (h->fail_after == 0 ? h->cpus : 0) && held == read_now(&h->held) &&
	       held >> FRAME_SHIFT <= below.frames_total - below.frames_free;
}

static void general_fail_after(void *self, uint64_t n)
{
	struct general_heap *h = self;

	__atomic_store_n(&h->fail_after, n, __ATOMIC_RELAXED);
	__atomic_store_n(&h->cpus_ready, n == 0 ? h->cpus : 0, __ATOMIC_RELAXED);
}

void general_heap_reap(const struct heap *h, unsigned cpu, bool all)
{
	reap(h->self, cpu, all);
}

void general_heap_flush(const struct heap *h, unsigned cpu)
{
	struct general_heap *heap = h->self;

	for (unsigned c = 0; c < GENERAL_HEAP_CLASSES; c++)
		if (cache_of(heap, c))
			slab_flush(cache_of(heap, c), cpu);
	frames_drain(heap->frames, cpu);
}

void general_heap_abandon(const struct heap *h, unsigned cpu)
{
	const struct general_heap *heap = h->self;

	for (unsigned c = 0; c < GENERAL_HEAP_CLASSES; c++)
		if (cache_of(heap, c))
			slab_abandon(cache_of(heap, c), cpu);
}

struct slab_cache *general_heap_cache(const struct heap *h, unsigned class)
{
	return cache_of(h->self, class);
}

const uint8_t *general_heap_kinds(const struct heap *h)
{
	const struct general_heap *heap = h->self;

	return heap->kinds;
}

/* ---- set up ---- */

struct parts { /* of meta, in order; offsets from its start */
	size_t small, large, caches, cache_bytes, kinds, end;
};

static bool parts_of(uint64_t frame_count, unsigned cpus, struct parts *p)
{
	size_t cache_bytes = slab_meta_bytes(cpus);

	if (cache_bytes == 0 || frame_count == 0 || frame_count > UINT32_MAX)
		return false;
	p->cache_bytes = round_up(cache_bytes, 64);
	p->small = round_up(sizeof(struct general_heap), 64);
	p->large = p->small + cpus * sizeof(struct general_small);
	p->caches = p->large + cpus * sizeof(struct general_large);
	p->kinds = p->caches + GENERAL_HEAP_CLASSES * p->cache_bytes;
	p->end = p->kinds + frame_count;
	return true;
}

size_t general_heap_meta_bytes(uint64_t frame_count, unsigned cpus)
{
	struct parts p;

	return parts_of(frame_count, cpus, &p) ? p.end : 0;
}

enum mm_err general_heap_init(void *meta, size_t meta_bytes, const struct general_heap_config *config, struct heap *out)
{
	unsigned char *bytes = meta;
	struct general_heap *h = meta;
	struct parts p;

	if (!parts_of(config->frame_count, config->cpus, &p) || !config->frames)
		return MM_EINVAL;
	if (!meta || (uintptr_t)meta % 64 != 0 || meta_bytes < p.end)
		return MM_EINVAL;
	if ((uintptr_t)config->arena % GENERAL_HEAP_ARENA_ALIGN != 0)
		return MM_EINVAL;
	if (!config->meta_zeroed) {
		__builtin_memset(meta, 0, p.caches);
		__builtin_memset(bytes + p.kinds, 0, p.end - p.kinds);
	}
	h->ops = (struct heap_ops){general_alloc, general_free,	 general_realloc,   general_usable,
				   general_stats, general_check, general_fail_after};
	h->frames = config->frames;
	h->host = config->host;
	h->meta_zeroed = config->meta_zeroed;
	h->arena = (uintptr_t)config->arena;
	h->frame_count = config->frame_count;
	h->cpus = h->cpus_ready = config->cpus;
	h->small = (struct general_small *)(void *)(bytes + p.small);
	h->large = (struct general_large *)(void *)(bytes + p.large);
	h->kinds = bytes + p.kinds;
	h->caches = bytes + p.caches;
	h->cache_bytes = p.cache_bytes;
	for (unsigned c = 0; c < GENERAL_HEAP_CLASSES; c++)
		h->classes[c].heap = h;
	*out = (struct heap){.self = h, .ops = &h->ops};
	return MM_OK;
}
