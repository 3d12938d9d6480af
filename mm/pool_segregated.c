/* mm/pool_segregated.c: fixed-size pools, one a class of sizes, over one budget.
 *
 * What it is. An arena in pages of 64 KiB. A class takes a page when it has no free
 * object, cuts it into objects of its size, and gives it back when none of them is
 * live: so a budget is shared by classes, but not by objects, and one live object
 * keeps a page. It is for who knows his sizes, and wants a bound for all of them
 * together. Who does not know them takes general_heap.h.
 *
 * Words. The budget: pages that no class has: fresh ones behind a mark, and a list.
 * A class's pages are full, partial, or spare: without a live object, at most one.
 *
 * Invariants, verified by the check:
 *   I1  each page of a class has as many bits set as it says are free, none beyond its
 *       objects, and the summary's bits are those of words that are not 0;
 *   I2  a class's list has its partial pages, once each, linked both ways; its spare
 *       has no live object, and no other page of it is without;
 *   I3  the budget's list has the pages that were taken once and are no class's;
 *   I4  pages and live objects of each class are what the pages say, and sum up to
 *       pages_taken, given and count; asked is their sum, each between 1 and its size
 *       a live object;
 *   I5  the lookup names the least class of so many bytes.
 *
 * Cost. Alloc: the class by a table, the object by counting zeros twice. Free: the
 * page by a shift, the object by a multiplication. Both O(1), no loop; a page that is
 * taken sets 64 words; a budget that is empty asks each of at most 64 classes for its
 * spare; an alignment above 16 asks them for one that has it. The most work that calls ever
 * did is counted, not only argued; a call that changes no list counts nothing.
 *
 * Memory. 544 bytes a page, 0.8 %; of a page what is behind its last object; of an
 * object what its class is larger; of a class what is free in its pages: that is
 * what segregation costs. Free objects are not written.
 *
 * What is counted. Bytes asked exactly while frees name them; a free that does not
 * takes the mean of its class, and no sum leaves what is possible.
 *
 * Threads. One lock, never held while the fallback runs; with one CPU none.
 *
 * Failure. NULL iff the class has no object, the budget no page, no class a spare, and
 * the fallback no room. A wrong free is seen at once: no class's page, no object's
 * address, or free already; what is outside the arena is the fallback's to judge.
 *
 * Rejected. mm/pool.h for each class: its chunks double and stay, so a budget could
 * not move. The map at the start of the page: the largest classes would lose an
 * object a page, and a free a cold line of its own. Serving from a larger class when
 * one is at its end: it would take what the larger one was promised. */
#include "mm/fail_nth.h"
#include "mm/pool_segregated_impl.h"
#include "mm/port.h"

static size_t at_least_1(size_t bytes)
{
	return bytes + (bytes == 0);
}

static void enter(struct pool_segregated *p)
{
	if (p->cpus > 1)
		lock_take(&p->lock);
}

static void leave(struct pool_segregated *p)
{
	if (p->cpus > 1)
		lock_drop(&p->lock);
}

/* ---- figures ---- */

/* A class's sum of what was asked moves, within what is possible. */
static void asked_set(struct pool_segregated *p, struct segregated_class *c, uint64_t asked)
{
	if ((int64_t)asked < (int64_t)c->live)
		asked = c->live;
	if (asked > c->live * c->bytes)
		asked = c->live * c->bytes;
	p->asked += asked - c->asked;
	c->asked = asked;
	if (p->asked > p->asked_max)
		p->asked_max = p->asked;
}

static void count_take(struct pool_segregated *p, struct segregated_class *c, size_t asked)
{
	c->live++;
	c->live_max = c->live > c->live_max ? c->live : c->live_max;
	p->given += c->bytes;
	p->count++;
	asked_set(p, c, c->asked + asked);
}

/* asked 0: not known. */
static void count_give(struct pool_segregated *p, struct segregated_class *c, size_t asked)
{
	uint64_t mean = c->asked / c->live;

	c->live--;
	p->given -= c->bytes;
	p->count--;
	asked_set(p, c, c->asked - (asked > 0 ? asked : mean));
}

/* ---- pages ---- */

static uint32_t index_of(const struct pool_segregated *p, const struct segregated_page *page)
{
	return (uint32_t)(page - p->page);
}

static void list_add(struct pool_segregated *p, struct segregated_class *c, struct segregated_page *page)
{
	p->work++;
	page->prev = SEGREGATED_NONE;
	page->next = c->partial;
	if (page->next != SEGREGATED_NONE)
		p->page[page->next].prev = index_of(p, page);
	c->partial = index_of(p, page);
}

static void list_remove(struct pool_segregated *p, struct segregated_class *c, struct segregated_page *page)
{
	p->work++;
	if (page->next != SEGREGATED_NONE)
		p->page[page->next].prev = page->prev;
	if (page->prev != SEGREGATED_NONE)
		p->page[page->prev].next = page->next;
	else
		c->partial = page->next;
}

/* A page without live objects leaves its class. */
static void page_leave(struct pool_segregated *p, struct segregated_class *c, struct segregated_page *page)
{
	page->class = SEGREGATED_NONE;
	c->pages--;
	p->pages_taken--;
}

/* Another class's spare page; NULL: none has one. */
static struct segregated_page *spare_take(struct pool_segregated *p)
{
	for (unsigned i = 0; i < p->classes; i++) {
		struct segregated_class *c = &p->class[i];
		struct segregated_page *page;

		p->work++;
		if (c->spare == SEGREGATED_NONE)
			continue;
		page = &p->page[c->spare];
		c->spare = SEGREGATED_NONE;
		page_leave(p, c, page);
		return page;
	}
	return NULL;
}

static struct segregated_page *budget_take(struct pool_segregated *p)
{
	struct segregated_page *page;

	if (p->budget != SEGREGATED_NONE) {
		p->work++;
		page = &p->page[p->budget];
		p->budget = page->next;
		return page;
	}
	return p->fresh < p->page_count ? &p->page[p->fresh++] : spare_take(p);
}

/* One more page for a class, all free and in no list; NULL: the budget has none. */
static struct segregated_page *page_take(struct pool_segregated *p, struct segregated_class *c)
{
	struct segregated_page *page = budget_take(p);

	if (!page)
		return NULL;
	p->work += SEGREGATED_WORDS;
	page->summary = 0;
	for (uint32_t w = 0, first = 0; w < SEGREGATED_WORDS; w++, first += 64) {
		uint32_t n = first < c->objects ? c->objects - first : 0;

		page->map[w] = n >= 64 ? UINT64_MAX : (UINT64_C(1) << n) - 1;
		page->summary |= (uint64_t)(n > 0) << w;
	}
	page->free = c->objects;
	page->class = (uint32_t)(c - p->class);
	c->pages++;
	c->pages_max = c->pages > c->pages_max ? c->pages : c->pages_max;
	p->pages_taken++;
	return page;
}

/* A page of the class that has a free object, in its list; NULL: there will be none. */
static struct segregated_page *page_with_room(struct pool_segregated *p, struct segregated_class *c)
{
	struct segregated_page *page;

	if (c->partial != SEGREGATED_NONE)
		return &p->page[c->partial];
	page = c->spare != SEGREGATED_NONE ? &p->page[c->spare] : page_take(p, c);
	c->spare = SEGREGATED_NONE;
	if (page)
		list_add(p, c, page);
	return page;
}

/* ---- objects ---- */

static void *object_take(struct pool_segregated *p, struct segregated_class *c)
{
	struct segregated_page *page = page_with_room(p, c);
	uint32_t w, object;

	if (!page)
		return NULL;
	w = (uint32_t)__builtin_ctzll(page->summary);
	object = w * 64 + (uint32_t)__builtin_ctzll(page->map[w]);
	page->map[w] &= page->map[w] - 1;
	if (page->map[w] == 0)
		page->summary &= page->summary - 1;
	if (--page->free == 0)
		list_remove(p, c, page);
	return (void *)(p->arena + ((uintptr_t)index_of(p, page) << SEGREGATED_PAGE_SHIFT) +
			(uintptr_t)object * c->bytes);
}

static bool is_own(const struct pool_segregated *p, const void *memory)
{
	return ((uintptr_t)memory - p->arena) >> SEGREGATED_PAGE_SHIFT < p->page_count;
}

/* The page of a live object, and which it is. */
static struct segregated_page *page_of(struct pool_segregated *p, const void *memory, uint32_t *object)
{
	uint32_t number = (uint32_t)(((uintptr_t)memory - p->arena) >> SEGREGATED_PAGE_SHIFT);
	uint32_t offset = (uint32_t)((uintptr_t)memory - p->arena) % POOL_SEGREGATED_PAGE;
	struct segregated_page *page = &p->page[number];
	const struct segregated_class *c;

	MM_ASSERT(number < p->fresh && page->class != SEGREGATED_NONE, memory, p); /* no class's */
	c = &p->class[page->class];
	*object = (uint32_t)((uint64_t)offset * c->reciprocal >> 32);
	MM_ASSERT(*object * c->bytes == offset && *object < c->objects, memory, c->bytes); /* the middle of one */
	MM_ASSERT(!(page->map[*object / 64] >> *object % 64 & 1), memory, c->bytes);	   /* free already */
	return page;
}

static void object_give(struct pool_segregated *p, struct segregated_page *page, uint32_t object)
{
	struct segregated_class *c = &p->class[page->class];

	page->map[object / 64] |= UINT64_C(1) << object % 64;
	page->summary |= UINT64_C(1) << object / 64;
	if (page->free++ == 0)
		list_add(p, c, page);
	if (page->free < c->objects)
		return;
	list_remove(p, c, page);
	if (c->spare == SEGREGATED_NONE) {
		c->spare = index_of(p, page);
		return;
	}
	p->work++;
	page_leave(p, c, page);
	page->next = p->budget;
	p->budget = index_of(p, page);
}

/* Most calls do none: no list changes. */
static void work_done(struct pool_segregated *p, uint32_t *most)
{
	if (__builtin_expect(p->work == 0, 1))
		return;
	*most = p->work > *most ? p->work : *most;
	p->work = 0;
}

/* ---- alloc, free ---- */

/* The least class that has the length and the alignment; NULL: none has. An alignment asks each class at most. */
static struct segregated_class *class_for(struct pool_segregated *p, size_t asked, size_t align)
{
	unsigned i;

	if (asked > p->class[p->classes - 1].bytes)
		return NULL;
	i = p->lookup[(asked + HEAP_ALIGN - 1) / HEAP_ALIGN];
	if (align > HEAP_ALIGN)
		while (i < p->classes && p->class[i].bytes % align != 0)
			i++;
	return i < p->classes ? &p->class[i] : NULL;
}

/* No fault is due. */
static void *any_alloc(struct pool_segregated *p, unsigned cpu, size_t asked, size_t align)
{
	struct segregated_class *c = class_for(p, asked, align);
	void *memory = NULL;

	if (c) {
		enter(p);
		memory = object_take(p, c);
		if (memory)
			count_take(p, c, asked);
		p->work += align > HEAP_ALIGN ? (uint32_t)(c - p->class) + 1 : 0; /* as class_for() asked, at most */
		work_done(p, &p->alloc_work_max);
		leave(p);
	}
	if (!memory && p->fallback)
		memory = heap_alloc_aligned(p->fallback, cpu, asked, align);
	return memory;
}

static void *segregated_alloc(void *self, unsigned cpu, size_t bytes, size_t align)
{
	struct pool_segregated *p = self;

	MM_ASSERT(cpu < p->cpus, cpu, p->cpus);
	if (align == 0 || (align & (align - 1)) != 0 || bytes > PTRDIFF_MAX || fail_nth_now(&p->fail_after))
		return NULL;
	return any_alloc(p, cpu, at_least_1(bytes), align);
}

static void segregated_free(void *self, unsigned cpu, void *memory, size_t bytes)
{
	struct pool_segregated *p = self;
	struct segregated_page *page;
	uint32_t object;

	MM_ASSERT(cpu < p->cpus, cpu, p->cpus);
	if (!memory)
		return;
	if (!is_own(p, memory)) {
		MM_ASSERT(p->fallback, memory, p);
		heap_free(p->fallback, cpu, memory, bytes);
		return;
	}
	enter(p);
	page = page_of(p, memory, &object);
	MM_ASSERT(bytes <= p->class[page->class].bytes, bytes, memory);
	count_give(p, &p->class[page->class], bytes);
	object_give(p, page, object);
	work_done(p, &p->free_work_max);
	leave(p);
}

/* ---- realloc ---- */

static size_t segregated_usable(void *self, const void *memory)
{
	struct pool_segregated *p = self;
	uint32_t object;
	size_t usable;

	MM_ASSERT(is_own(p, memory) || p->fallback, memory, p);
	if (!is_own(p, memory))
		return heap_usable(p->fallback, memory);
	enter(p);
	usable = p->class[page_of(p, memory, &object)->class].bytes;
	leave(p);
	return usable;
}

/* The same object, another length: only the figures change. */
static void recount(struct pool_segregated *p, const void *memory, size_t old_bytes, size_t asked)
{
	struct segregated_class *c;
	uint32_t object;

	enter(p);
	c = &p->class[page_of(p, memory, &object)->class];
	asked_set(p, c, c->asked - (old_bytes > 0 ? old_bytes : c->asked / c->live) + asked);
	leave(p);
}

/* Whether so many bytes are better where they are: they fit, and no class of half the size would do. */
static bool stays(struct pool_segregated *p, size_t usable, size_t asked)
{
	const struct segregated_class *c = class_for(p, asked, HEAP_ALIGN);

	return asked <= usable && (!c || c->bytes > usable / 2);
}

static void *segregated_realloc(void *self, unsigned cpu, void *memory, size_t old_bytes, size_t bytes)
{
	struct pool_segregated *p = self;
	size_t asked = at_least_1(bytes), usable, kept;
	void *moved;

	if (!memory)
		return segregated_alloc(self, cpu, bytes, HEAP_ALIGN);
	MM_ASSERT(cpu < p->cpus, cpu, p->cpus);
	usable = segregated_usable(self, memory);
	MM_ASSERT(old_bytes <= usable, old_bytes, usable);
	if (asked > usable && (asked > PTRDIFF_MAX || fail_nth_now(&p->fail_after)))
		return NULL;
	if (!is_own(p, memory) && (asked > p->class[p->classes - 1].bytes || stays(p, usable, asked)))
		return heap_realloc(p->fallback, cpu, memory, old_bytes, bytes);
	moved = stays(p, usable, asked) ? NULL : any_alloc(p, cpu, asked, HEAP_ALIGN);
	if (!moved && asked > usable)
		return NULL;
	if (!moved && !is_own(p, memory))
		return heap_realloc(p->fallback, cpu, memory, old_bytes, bytes);
	if (!moved) {
		recount(p, memory, old_bytes, asked);
		return memory;
	}
	kept = old_bytes ? old_bytes : usable;
	__builtin_memcpy(moved, memory, kept < asked ? kept : asked);
	segregated_free(self, cpu, memory, old_bytes);
	return moved;
}

/* ---- figures, checks ---- */

static struct heap_stats segregated_stats(void *self)
{
	struct pool_segregated *p = self;
	struct heap_stats s;

	enter(p);
	s = (struct heap_stats){.bytes_asked = p->asked,
				.bytes_asked_max = p->asked_max,
				.bytes_given = p->given,
				.bytes_held = (uint64_t)p->pages_taken << SEGREGATED_PAGE_SHIFT,
				.bytes_total = (uint64_t)p->page_count << SEGREGATED_PAGE_SHIFT,
				.allocations = p->count};
	leave(p);
	return p->fallback ? heap_stats_add(s, heap_stats_read(p->fallback)) : s;
}

struct pool_segregated_class pool_segregated_class_read(const struct heap *h, unsigned class)
{
	struct pool_segregated *p = h->self;
	struct pool_segregated_class out;
	const struct segregated_class *c = &p->class[class];

	MM_ASSERT(class < p->classes, class, p->classes);
	enter(p);
	out = (struct pool_segregated_class){c->bytes, c->live, c->live_max, c->pages, c->pages_max};
	leave(p);
	return out;
}

struct pool_segregated_work pool_segregated_work_read(const struct heap *h)
{
	struct pool_segregated *p = h->self;
	struct pool_segregated_work out;

	enter(p);
	out = (struct pool_segregated_work){p->alloc_work_max, p->free_work_max};
	leave(p);
	return out;
}

struct sums { /* of a class's pages */
	uint64_t pages, live, partial, empty;
};

static uint32_t ones(uint64_t word)
{
	uint32_t n = 0;

	for (; word; word &= word - 1)
		n++;
	return n;
}

/* I1. */
static bool page_holds(const struct segregated_class *c, const struct segregated_page *page, struct sums *s)
{
	uint32_t free = 0;

	for (uint32_t w = 0; w < SEGREGATED_WORDS; w++) {
		free += ones(page->map[w]);
		if ((page->summary >> w & 1) != (page->map[w] != 0))
			return false;
		if (w * 64 + 64 > c->objects && page->map[w] >> (w * 64 < c->objects ? c->objects % 64 : 0) != 0)
			return false;
	}
	s->pages++;
	s->live += c->objects - free;
	s->partial += free > 0 && free < c->objects;
	s->empty += free == c->objects;
	return free == page->free;
}

/* I2, I4 for one class. */
static bool class_holds(const struct pool_segregated *p, unsigned i, const struct sums *s)
{
	const struct segregated_class *c = &p->class[i];
	uint64_t listed = 0;
	uint32_t last = SEGREGATED_NONE;

	for (uint32_t at = c->partial; at != SEGREGATED_NONE; last = at, at = p->page[at].next) {
		if (at >= p->fresh || p->page[at].class != i || p->page[at].prev != last || listed++ == s->partial)
			return false;
		if (p->page[at].free == 0 || p->page[at].free == c->objects)
			return false;
	}
	if (c->spare != SEGREGATED_NONE &&
	    (c->spare >= p->fresh || p->page[c->spare].class != i || p->page[c->spare].free != c->objects))
		return false;
	return listed == s->partial && s->empty == (c->spare != SEGREGATED_NONE) && c->pages == s->pages &&
	       c->live == s->live && c->asked >= c->live && c->asked <= c->live * c->bytes && c->live <= c->live_max &&
	       c->pages <= c->pages_max;
}

/* I3. */
static bool budget_holds(const struct pool_segregated *p)
{
	uint32_t n = 0;

	for (uint32_t at = p->budget; at != SEGREGATED_NONE; at = p->page[at].next)
		if (at >= p->fresh || p->page[at].class != SEGREGATED_NONE || n++ == p->fresh)
			return false;
	return p->fresh <= p->page_count && n + p->pages_taken == p->fresh;
}

/* I5. */
static bool lookup_holds(const struct pool_segregated *p)
{
	for (uint32_t n = 1; n * HEAP_ALIGN <= p->class[p->classes - 1].bytes; n++) {
		unsigned c = p->lookup[n];

		if (c >= p->classes || p->class[c].bytes < n * HEAP_ALIGN ||
		    (c > 0 && p->class[c - 1].bytes >= n * HEAP_ALIGN))
			return false;
	}
	return true;
}

static bool segregated_check(void *self)
{
	const struct pool_segregated *p = self;
	struct sums sums[POOL_SEGREGATED_CLASSES] = {{0}}, all = {0};
	uint64_t asked = 0, given = 0;

	if (!budget_holds(p) || !lookup_holds(p))
		return false;
	for (uint32_t i = 0; i < p->fresh; i++) {
		uint32_t c = p->page[i].class;

		if (c == SEGREGATED_NONE)
			continue;
		if (c >= p->classes || !page_holds(&p->class[c], &p -> page[i], &sums[c]))
			return false;
	}
	for (unsigned i = 0; i < p->classes; i++) {
		if (!class_holds(p, i, &sums[i]))
			return false;
		all.pages += sums[i].pages;
		all.live += sums[i].live;
		asked += p->class[i].asked;
		given += p->class[i].live * p->class[i].bytes;
	}
	return all.pages == p->pages_taken && all.live == p->count && asked == p->asked && given == p->given &&
	       p->asked <= p->asked_max && (!p->fallback || heap_check(p->fallback));
}

static void segregated_fail_after(void *self, uint64_t n)
{
	struct pool_segregated *p = self;

	__atomic_store_n(&p->fail_after, n, __ATOMIC_RELAXED);
}

/* ---- set up ---- */

size_t pool_segregated_meta_bytes(size_t arena_bytes)
{
	uint64_t pages = arena_bytes >> SEGREGATED_PAGE_SHIFT;

	if (pages == 0 || pages > SEGREGATED_PAGES_MAX)
		return 0;
	return sizeof(struct pool_segregated) + pages * sizeof(struct segregated_page);
}

static bool config_holds(const struct pool_segregated_config *c)
{
	uint32_t last = 0;

	if (c->cpus == 0 || c->classes == 0 || c->classes > POOL_SEGREGATED_CLASSES || !c->sizes || !c->arena ||
	    (uintptr_t)c->arena % POOL_SEGREGATED_PAGE != 0)
		return false;
	for (unsigned i = 0; i < c->classes; last = c->sizes[i++])
		if (c->sizes[i] % HEAP_ALIGN != 0 || c->sizes[i] <= last || c->sizes[i] > POOL_SEGREGATED_BYTES_MAX)
			return false;
	return true;
}

enum mm_err pool_segregated_init(void *meta, size_t meta_bytes, const struct pool_segregated_config *config,
				 struct heap *out)
{
	struct pool_segregated *p = meta;
	size_t need = pool_segregated_meta_bytes(config->arena_bytes);
	uint32_t bytes = 0;

	if (!config_holds(config) || need == 0 || !meta || (uintptr_t)meta % 64 != 0 || meta_bytes < need)
		return MM_EINVAL;
	__builtin_memset(p, 0, sizeof(*p));
	p->ops = (struct heap_ops){segregated_alloc, segregated_free,  segregated_realloc,   segregated_usable,
				   segregated_stats, segregated_check, segregated_fail_after};
	p->cpus = config->cpus;
	p->classes = config->classes;
	p->arena = (uintptr_t)config->arena;
	p->page_count = (uint32_t)(config->arena_bytes >> SEGREGATED_PAGE_SHIFT);
	p->budget = SEGREGATED_NONE;
	p->fallback = config->fallback;
	for (unsigned i = 0; i < p->classes; i++) {
		uint32_t size = config->sizes[i];

		p->class[i] = (struct segregated_class){.bytes = size,
							.objects = POOL_SEGREGATED_PAGE / size,
							.reciprocal = (uint32_t)((UINT64_C(1) << 32) / size) + 1,
							.partial = SEGREGATED_NONE,
							.spare = SEGREGATED_NONE};
		for (; bytes <= size; bytes += HEAP_ALIGN)
			p->lookup[bytes / HEAP_ALIGN] = (uint8_t)i;
	}
	*out = (struct heap){.self = p, .ops = &p->ops};
	return MM_OK;
}
