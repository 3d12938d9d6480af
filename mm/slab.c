/* mm/slab.c: caches of objects of one size, for many CPUs.
 *
 * What it is. Slabs cut into objects; in front of them, for each CPU, an array of
 * pointers to free objects, so that the usual call moves one pointer and touches
 * nothing shared. It is not a heap: one size a cache, and whoever frees must know
 * the cache.
 *
 * Words. A slab is a run of frames from the source, aligned to its length: a
 * header, a map of what is free, objects. A claimed object is one that is not
 * free in its slab. A magazine is an array of rounds; a round is a pointer to a
 * claimed object that nobody has: it is cached. A claimed object that is not
 * cached is live. Each CPU has a loaded magazine, from which it serves, and a
 * previous one; the depot has shelves of full and of empty ones. A store is all
 * slabs of one geometry: the objects', and one for each size of magazine, since
 * magazines are objects too.
 *
 * An object's way: source, slab, round of a magazine, caller; and back by as many
 * of these steps as there is need for. Magazines travel whole between CPUs and
 * depot: who frees what another CPU allocates pays one exchange for a magazine's
 * length of objects. A slab's objects are claimed up to 64 at a time, a word of
 * its map, in address order, so that two CPUs seldom share a line of small ones.
 *
 * Looking ahead. A CPU whose magazines run out of objects twice in a row is
 * allocating more than it frees: it takes its next full magazine from the depot
 * while it still has the loaded one, and prefetches all objects in it. What was
 * freed in any order comes back at the speed of what lies in a row. A CPU whose
 * magazines run out of objects and of room in turn does not, or it would carry
 * magazines to and from the depot.
 *
 * Invariants, all of them verified by slab_check():
 *   I1  a slab is in one ring of its store, the one that its count of free
 *       objects names; it is sealed; its first object is at a colour's place;
 *   I2  that count is the number of bits set in its map, none beyond the objects;
 *   I3  a store's rings are as long as it says, its `claimed` is what their maps
 *       say, and empty_min is at most the empty slabs;
 *   I4  a magazine has the capacity of its size, and no size is above the depot's;
 *   I5  a CPU's top lies in its loaded magazine; its previous one is full or empty,
 *       and none without a loaded one; each bound is the loaded magazine's or
 *       stopped, and both are stopped if drain is set;
 *   I6  the shelves are as long as they say, with as many rounds; minima likewise;
 *   I7  every claimed magazine is with a CPU or in the depot, once;
 *   I8  every round is a claimed object of this cache, and no two are the same.
 *
 * Threads. A CPU's part is its owner's alone, except that others may ask it to
 * drain: they set `drain`, then stop the two bounds, so that the owner's next call
 * fails its one check and looks. The owner, after each change of the bounds, reads
 * `drain` by an atomic read-modify-write, as the asker sets it: whichever comes
 * second in that word's order knows what the other did, so a request is never
 * lost; at worst bounds stay stopped for one call in vain. Depot and stores have a
 * lock each, for list surgery alone; no two are ever held together, and none while
 * the source or a constructor runs. Figures are atomic words that anyone may read.
 *
 * Inlined. A call that the loaded magazine serves is inlined from slab.h: out of
 * line a hot pair took 1.6 times as long, more than a peer that inlines. What callers
 * compile in is SLAB_CPU_AT, SLAB_APART, the number of CPUs and three words of a
 * CPU's part, each checked against the structs in slab_impl.h. What is out of line is
 * the whole call, whatever it takes.
 *
 * Cost. A call served by the loaded magazine: about a dozen instructions, three
 * lines (the cache's first, the CPU's, one of the magazine; none of the object). One
 * in a magazine's length goes to the depot: a lock, two pointers, the prefetches.
 * Filling from slabs is O(1) an object, returning to them too. Worst: a call that
 * finds the source empty, which does all that slab_reap(all) does: O(cpus + what is
 * free). A call waits for the source, and for locks, each held while a word of a map
 * is claimed or SLAB_BATCH objects are returned, at most. Waits for the depot are
 * counted; SLAB_GROW_AFTER of them in an interval double the magazines made from
 * then on, and smaller ones retire as they come back empty.
 *
 * Memory. Of each slab at most 1/8 is not objects, but header, map, colours and
 * rest (alignment counts as the object's). Slabs are of the smallest order for which
 * that holds and that has 32 objects, or 64 KiB. There always is one: at
 * SLAB_ORDER_MAX the rest is below one object and a header, less than 1/8 of 2 MiB.
 * A magazine is 6 to 262 rounds of 8 bytes. A CPU has at most two, the depot whatever
 * was freed and not taken again since the last slab_reap(): 8 bytes and a little for
 * each of its objects.
 * Metadata: 1280 bytes, and 128 for each CPU, which no other CPU's share.
 *
 * Colours. Where a slab's rest has room, objects are an odd number of lines apart,
 * and slabs begin theirs at different lines: or the first lines of large objects
 * would all compete for the same few sets of a cache. Who would rather know from an
 * address alone whether an object begins there (slab_layout_starts()) does without.
 *
 * Failure. If the source refuses a slab, everything within reach goes back to it
 * and it is asked again; then the answer is NULL and nothing that was live, or its
 * content, has changed. Free objects in other CPUs' magazines are not within reach,
 * but are asked for. If it refuses a magazine, objects pass to and from slabs one
 * by one: freeing cannot fail. A wrong free is seen at the slab: no sealed header
 * of this store, no object's address, or free already. A pointer from nowhere is
 * looked at where its slab's header would be, and may fault there instead.
 *
 * Rejected. Links inside free objects: they would undo what constructors made, cost
 * a miss each, and turn a write after free into a wild pointer. Magazines that hold
 * what was freed on another CPU apart (as lists of remote frees do): whole magazines
 * already carry them at the price of one exchange. Sorting rounds by slab when they
 * come to the depot: the next owner would find them in address order, but each free
 * would pay for it, and the prefetch buys as much. Prefetching each object as it is
 * freed: good for whoever takes it again at once, but freeing many then reads them
 * all (256 B, shuffled: 2.2 ns instead of 1.5). The CPUs' parts found by a pointer in
 * the cache: one more load that all else waits for, for a constant that never
 * changes. A count of live objects on the fast path: exact high-water marks are not
 * worth its store. Taking the rounds of a CPU that does not run: nobody but its owner
 * can touch them without an atomic operation in each call. */
#include "mm/fail_nth.h"
#include "mm/port.h"
#include "mm/slab_impl.h"

#define RECIPROCAL_SHIFT 40u
#define SEAL		 UINT64_C(0x51ab51ab0ddba115)

/* Figures that anyone may read at any time; who writes them holds the lock. */
static uint64_t figure(const uint64_t *at)
{
	return __atomic_load_n(at, __ATOMIC_RELAXED);
}

static void figure_set(uint64_t *at, uint64_t value)
{
	__atomic_store_n(at, value, __ATOMIC_RELAXED);
}

/* ---- geometry ---- */

static uint32_t round_up(uint32_t n, uint32_t align)
{
	return (n + align - 1) & ~(align - 1);
}

static uint32_t words_of(uint32_t objects)
{
	return (objects + 63) / 64;
}

static uint32_t head_bytes(uint32_t objects, uint32_t align)
{
	return round_up((uint32_t)sizeof(struct slab) + words_of(objects) * 8, align);
}

/* How many objects fit in this many bytes beside their header; at least 0. */
static uint32_t objects_in(uint32_t bytes, uint32_t stride, uint32_t align)
{
	uint64_t bits = (uint64_t)(bytes - sizeof(struct slab)) * 8;
	uint32_t n = (uint32_t)(bits / (stride * UINT64_C(8) + 1));

	while (n > 0 && head_bytes(n, align) + n * stride > bytes)
		n--;
	return n;
}

/* The smallest order that wastes little and holds some; see the theory for why one always does. */
static struct slab_geometry geometry_of(uint32_t bytes, uint32_t align, uint32_t wanted)
{
	struct slab_geometry g = {.stride = round_up(bytes, align)};
	uint32_t slab, slack;

	for (;; g.order++) {
		slab = (uint32_t)FRAME_BYTES << g.order;
		g.objects = objects_in(slab, g.stride, align);
		if ((slab - g.objects * g.stride) <= slab / SLAB_WASTE_SHARE &&
		    (g.objects >= wanted || g.order >= SLAB_ORDER_WANTED))
			break;
	}
	g.head = head_bytes(g.objects, align);
	slack = slab - g.head - g.objects * g.stride;
	if (align <= SLAB_LINE && g.stride % (2 * SLAB_LINE) == 0 && slack >= g.objects * SLAB_LINE) {
		g.stride += SLAB_LINE;
		slack -= g.objects * SLAB_LINE;
	}
	g.step = align > SLAB_LINE ? align : SLAB_LINE;
	g.colours = slack / g.step + 1;
	g.reciprocal = ((UINT64_C(1) << RECIPROCAL_SHIFT) + g.stride - 1) / g.stride;
	return g;
}

static uint64_t slab_bytes(const struct slab_geometry *g)
{
	return FRAME_BYTES << g->order;
}

/* ---- slabs: rings by how many of their objects are free ---- */

static uintptr_t seal_of(const struct slab_store *s, const struct slab *slab)
{
	return (uintptr_t)slab ^ (uintptr_t)s ^ SEAL;
}

static enum slab_list list_of(const struct slab_store *s, uint32_t free)
{
	if (free == 0)
		return SLAB_FULL;
	return free == s->geometry.objects ? SLAB_EMPTY : SLAB_PARTIAL;
}

static void list_add(struct slab_store *s, enum slab_list list, struct slab *slab)
{
	struct slab **head = &s->list[list];

	slab->next = *head ? *head : slab;
	slab->prev = *head ? (*head)->prev : slab;
	slab->next->prev = slab;
	slab->prev->next = slab;
	*head = slab;
	figure_set(&s->length[list], s->length[list] + 1);
}

static void list_remove(struct slab_store *s, enum slab_list list, struct slab *slab)
{
	struct slab **head = &s->list[list];

	slab->next->prev = slab->prev;
	slab->prev->next = slab->next;
	if (*head == slab)
		*head = slab->next == slab ? NULL : slab->next;
	figure_set(&s->length[list], s->length[list] - 1);
	if (list == SLAB_EMPTY && s->length[list] < s->empty_min)
		s->empty_min = s->length[list];
}

/* A slab's free count becomes `free`; the store's lock is held. */
static void slab_recount(struct slab_store *s, struct slab *slab, uint32_t free)
{
	enum slab_list from = list_of(s, slab->free), to = list_of(s, free);

	figure_set(&s->claimed, s->claimed + slab->free - free);
	slab->free = free;
	if (from != to) {
		list_remove(s, from, slab);
		list_add(s, to, slab);
	}
}

static void *object_at(const struct slab_store *s, struct slab *slab, uint32_t index)
{
	return (char *)slab + slab->first + (size_t)index * s->geometry.stride;
}

/* Which object of which slab this is; false iff it is none of this store's. What
 * lies before the first one has an offset near 2^64, which no index makes. */
static bool object_find(const struct slab_store *s, void *object, struct slab **slab, uint32_t *index)
{
	const struct slab_geometry *g = &s->geometry;
	uintptr_t at = (uintptr_t)object & (slab_bytes(g) - 1);
	uint64_t offset;

	*slab = (struct slab *)((uintptr_t)object - at);
	if (!*slab || (*slab)->seal != seal_of(s, *slab))
		return false;
	offset = at - (*slab)->first;
	*index = (uint32_t)(offset * g->reciprocal >> RECIPROCAL_SHIFT);
	return *index < g->objects && offset == (uint64_t)*index * g->stride;
}

/* Up to `want` free objects of one slab, in address order; 0 iff no slab has any. */
static uint32_t store_claim(struct slab_store *s, void **out, uint32_t want)
{
	struct slab *slab;
	uint64_t left, taken;
	uint32_t word = 0, n = 0;

	lock_take(&s->lock);
	slab = s->list[SLAB_PARTIAL] ? s->list[SLAB_PARTIAL] : s->list[SLAB_EMPTY];
	if (!slab) {
		lock_drop(&s->lock);
		return 0;
	}
	while (!slab->map[word])
		word++;
	for (left = slab->map[word]; left && n < want; n++)
		left &= left - 1;
	taken = slab->map[word] ^ left;
	slab->map[word] = left;
	slab_recount(s, slab, slab->free - n);
	lock_drop(&s->lock);
	for (; taken; taken &= taken - 1)
		*out++ = object_at(s, slab, word * 64 + (uint32_t)__builtin_ctzll(taken));
	return n;
}

/* Takes back n objects that nobody else has. */
static void store_return(struct slab_store *s, void *const *objects, uint32_t n)
{
	struct slab *slab[SLAB_BATCH];
	uint32_t index[SLAB_BATCH];

	for (uint32_t batch; n > 0; n -= batch, objects += batch) {
		batch = n < SLAB_BATCH ? n : SLAB_BATCH;
		for (uint32_t i = 0; i < batch; i++)
			MM_ASSERT(object_find(s, objects[i], &slab[i], &index[i]), objects[i], s);
		lock_take(&s->lock);
		for (uint32_t i = 0; i < batch; i++) {
			uint64_t *word = &slab[i]->map[index[i] / 64], bit = UINT64_C(1) << index[i] % 64;

			MM_ASSERT(!(*word & bit), objects[i], s); /* free already */
			*word |= bit;
			slab_recount(s, slab[i], slab[i]->free + 1);
		}
		lock_drop(&s->lock);
	}
}

/* ---- slabs come and go ---- */

/* What the source gave becomes a slab that is all free. */
static struct slab *slab_make(struct slab_cache *c, struct slab_store *s, void *memory)
{
	const struct slab_geometry *g = &s->geometry;
	uint32_t colour = __atomic_fetch_add(&s->colour_next, 1, __ATOMIC_RELAXED) % g->colours;
	struct slab *slab = memory;

	slab->seal = seal_of(s, slab);
	slab->first = g->head + colour * g->step;
	slab->free = g->objects;
	for (uint32_t i = 0; i < g->objects; i += 64)
		slab->map[i / 64] = g->objects - i >= 64 ? UINT64_MAX : (UINT64_C(1) << (g->objects - i)) - 1;
	if (c->construct && s == &c->objects)
		for (uint32_t i = 0; i < g->objects; i++)
			c->construct(c->construct_self, object_at(s, slab, i));
	return slab;
}

/* One more slab, empty. False iff the source refuses. */
static bool store_grow(struct slab_cache *c, unsigned cpu, struct slab_store *s)
{
	const struct slab_geometry *g = &s->geometry;
	struct slab *slab;
	void *memory;

	if (fail_nth_now(&c->fail_after) || c->source.take(c->source.self, cpu, g->order, &memory) != MM_OK)
		return false;
	MM_ASSERT(((uintptr_t)memory & (slab_bytes(g) - 1)) == 0, memory, g->order);
	slab = slab_make(c, s, memory);
	lock_take(&s->lock);
	list_add(s, SLAB_EMPTY, slab);
	lock_drop(&s->lock);
	return true;
}

/* The slab that is empty for longest, in no ring any more; NULL: none is. */
static struct slab *store_cut(struct slab_store *s)
{
	struct slab *slab;

	lock_take(&s->lock);
	slab = s->list[SLAB_EMPTY] ? s->list[SLAB_EMPTY]->prev : NULL;
	if (slab)
		list_remove(s, SLAB_EMPTY, slab);
	lock_drop(&s->lock);
	return slab;
}

/* Gives up to n of the slabs that are empty now to the source. */
static void store_release(struct slab_cache *c, unsigned cpu, struct slab_store *s, uint64_t n)
{
	uint64_t there = figure(&s->length[SLAB_EMPTY]);
	struct slab *slab;

	for (n = n < there ? n : there; n > 0 && (slab = store_cut(s)); n--) {
		slab->seal = 0;
		c->source.give(c->source.self, cpu, s->geometry.order, slab);
	}
}

static void release_empty(struct slab_cache *c, unsigned cpu)
{
	store_release(c, cpu, &c->objects, UINT64_MAX);
	for (uint32_t i = 0; i < SLAB_SIZES; i++)
		store_release(c, cpu, &c->magazines[i], UINT64_MAX);
}

/* Up to `want` objects, of slabs that are there; of a new one iff those have none. */
static uint32_t store_take(struct slab_cache *c, unsigned cpu, struct slab_store *s, void **out, uint32_t want)
{
	uint32_t n = 0, got;

	do {
		got = store_claim(s, out + n, want - n);
		n += got;
	} while (n < want && (got > 0 || (n == 0 && store_grow(c, cpu, s))));
	return n;
}

/* ---- magazines and their depot ---- */

static void shelf_put(struct slab_shelf *shelf, struct slab_magazine *m)
{
	m->next = shelf->top;
	__atomic_store_n(&shelf->top, m, __ATOMIC_RELAXED);
	figure_set(&shelf->length, shelf->length + 1);
}

static struct slab_magazine *shelf_get(struct slab_shelf *shelf)
{
	struct slab_magazine *m = shelf->top;

	if (!m)
		return NULL;
	__atomic_store_n(&shelf->top, m->next, __ATOMIC_RELAXED);
	figure_set(&shelf->length, shelf->length - 1);
	if (shelf->length < shelf->length_min)
		shelf->length_min = shelf->length;
	return m;
}

static struct slab_depot *depot_enter(struct slab_cache *c)
{
	struct slab_depot *d = &c->depot;

	if (lock_take(&d->lock)) {
		figure_set(&d->contended, d->contended + 1);
		if (++d->recent == SLAB_GROW_AFTER && d->size + 1 < SLAB_SIZES) {
			__atomic_store_n(&d->size, d->size + 1, __ATOMIC_RELAXED);
			d->recent = 0;
		}
	}
	return d;
}

static uint32_t depot_size(const struct slab_cache *c)
{
	return __atomic_load_n(&c->depot.size, __ATOMIC_RELAXED);
}

static struct slab_magazine *magazine_take(struct slab_cache *c, unsigned cpu)
{
	uint32_t size = depot_size(c);
	struct slab_store *s = &c->magazines[size];
	struct slab_magazine *m;
	void *memory;

	if (!store_take(c, cpu, s, &memory, 1))
		return NULL;
	m = memory;
	m->size = size;
	m->capacity = s->geometry.stride / 8 - 2;
	return m;
}

static void magazine_give(struct slab_cache *c, struct slab_magazine *m)
{
	void *memory = m;

	store_return(&c->magazines[m->size], &memory, 1);
}

/* Off the shelf of full ones. The depot's lock is held. */
static struct slab_magazine *depot_cut_full(struct slab_depot *d)
{
	struct slab_magazine *m = shelf_get(&d->full);

	if (m)
		figure_set(&d->rounds, d->rounds - m->capacity);
	return m;
}

/* A full magazine for `empty`, which may be NULL; NULL iff there is none, and `empty` stays the caller's. */
static struct slab_magazine *depot_get_full(struct slab_cache *c, struct slab_magazine *empty)
{
	struct slab_depot *d = &c->depot;
	struct slab_magazine *m;
	bool outdated;

	if (!__atomic_load_n(&d->full.top, __ATOMIC_RELAXED))
		return NULL;
	depot_enter(c);
	m = depot_cut_full(d);
	outdated = empty && empty->size < d->size;
	if (m && empty && !outdated)
		shelf_put(&d->empty, empty);
	lock_drop(&d->lock);
	if (m && outdated)
		magazine_give(c, empty);
	return m;
}

static void depot_put_full(struct slab_depot *d, struct slab_magazine *full)
{
	shelf_put(&d->full, full);
	figure_set(&d->rounds, d->rounds + full->capacity);
}

/* An empty magazine for `full`, which may be NULL; NULL iff there is none to be had, and `full` stays the caller's. */
static struct slab_magazine *depot_get_empty(struct slab_cache *c, unsigned cpu, struct slab_magazine *full)
{
	struct slab_depot *d = depot_enter(c);
	struct slab_magazine *m = shelf_get(&d->empty);

	if (m && full)
		depot_put_full(d, full);
	lock_drop(&d->lock);
	if (m)
		return m;
	m = magazine_take(c, cpu);
	if (m && full) {
		depot_enter(c);
		depot_put_full(d, full);
		lock_drop(&d->lock);
	}
	return m;
}

static struct slab_magazine *depot_cut(struct slab_cache *c, bool full)
{
	struct slab_depot *d = depot_enter(c);
	struct slab_magazine *m = full ? depot_cut_full(d) : shelf_get(&d->empty);

	lock_drop(&d->lock);
	return m;
}

/* Up to n of the magazines that are on a shelf now go back to their slabs, and what is in them. */
static void depot_release(struct slab_cache *c, bool full, uint64_t n)
{
	uint64_t there = figure(full ? &c->depot.full.length : &c->depot.empty.length);
	struct slab_magazine *m;

	for (n = n < there ? n : there; n > 0 && (m = depot_cut(c, full)); n--) {
		if (full)
			store_return(&c->objects, m->round, m->capacity);
		magazine_give(c, m);
	}
}

/* ---- a CPU's own part ---- */

static uint32_t cpu_rounds(const struct slab_cpu *p)
{
	return (uint32_t)(p->hot.top - p->base);
}

static uint32_t capacity_of(const struct slab_magazine *m)
{
	return m ? m->capacity : 0;
}

static void cpu_load(struct slab_cpu *p, struct slab_magazine *m, uint32_t rounds)
{
	p->loaded = m;
	__atomic_store_n(&p->base, m ? m->round : NULL, __ATOMIC_RELAXED);
	__atomic_store_n(&p->hot.top, m ? m->round + rounds : NULL, __ATOMIC_RELAXED);
}

static void previous_set(struct slab_cpu *p, struct slab_magazine *m, uint32_t rounds)
{
	p->previous = m;
	__atomic_store_n(&p->previous_rounds, rounds, __ATOMIC_RELAXED);
}

static void cpu_swap(struct slab_cpu *p)
{
	struct slab_magazine *loaded = p->loaded;
	uint32_t rounds = cpu_rounds(p);

	cpu_load(p, p->previous, p->previous_rounds);
	previous_set(p, loaded, rounds);
}

/* Makes both bounds fail, so that the next call comes to settle(). */
static void cpu_stop(struct slab_cpu *p)
{
	__atomic_store_n(&p->hot.bottom, (void **)UINTPTR_MAX, __ATOMIC_RELAXED);
	__atomic_store_n(&p->hot.limit, NULL, __ATOMIC_RELAXED);
}

/* Another CPU's. See "Threads" for why settle() cannot miss it. */
static void cpu_ask(struct slab_cpu *p)
{
	__atomic_exchange_n(&p->drain, 1, __ATOMIC_ACQ_REL);
	cpu_stop(p);
}

/* Ends every slow call: the bounds are those of the loaded magazine again, unless someone asks. */
static void settle(struct slab_cpu *p)
{
	__atomic_store_n(&p->hot.bottom, p->base, __ATOMIC_RELAXED);
	__atomic_store_n(&p->hot.limit, p->base ? p->base + p->loaded->capacity : NULL, __ATOMIC_RELAXED);
	if (__atomic_fetch_or(&p->drain, 0, __ATOMIC_ACQ_REL))
		cpu_stop(p);
}

static uint32_t cpus_seen(const struct slab_cache *c)
{
	return __atomic_load_n(&c->cpus_seen, __ATOMIC_RELAXED);
}

/* All that this CPU holds goes back to the slabs. */
static void cpu_flush(struct slab_cache *c, struct slab_cpu *p)
{
	struct slab_magazine *loaded = p->loaded, *previous = p->previous;

	if (loaded)
		store_return(&c->objects, p->base, cpu_rounds(p));
	if (previous)
		store_return(&c->objects, previous->round, p->previous_rounds);
	cpu_load(p, NULL, 0);
	previous_set(p, NULL, 0);
	if (loaded)
		magazine_give(c, loaded);
	if (previous)
		magazine_give(c, previous);
}

/* Everything free within reach of this CPU goes to the source; the others are asked for theirs. */
static void reclaim(struct slab_cache *c, unsigned cpu)
{
	for (unsigned i = 0; i < cpus_seen(c); i++)
		if (i != cpu)
			cpu_ask(&c->cpu[i]);
	cpu_flush(c, &c->cpu[cpu]);
	depot_release(c, true, UINT64_MAX);
	depot_release(c, false, UINT64_MAX);
	release_empty(c, cpu);
}

/* Begins every call that is not served inline: does what another CPU asked for. */
static struct slab_cpu *enter(struct slab_cache *c, unsigned cpu)
{
	struct slab_cpu *p = &c->cpu[cpu];
	uint32_t seen = cpus_seen(c);

	MM_ASSERT(cpu < c->front.cpus, cpu, c->front.cpus);
	while (__builtin_expect(cpu >= seen, 0) &&
	       !__atomic_compare_exchange_n(&c->cpus_seen, &seen, cpu + 1, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		;
	if (__atomic_load_n(&p->drain, __ATOMIC_RELAXED)) {
		__atomic_exchange_n(&p->drain, 0, __ATOMIC_ACQ_REL);
		cpu_flush(c, p);
		release_empty(c, cpu);
	}
	return p;
}

/* ---- objects ---- */

static uint64_t cached(const struct slab_cache *c)
{
	uint64_t n = figure(&c->depot.rounds);

	for (unsigned i = 0; i < cpus_seen(c); i++) {
		const struct slab_cpu *p = &c->cpu[i];
		uint64_t in = (uint64_t)(__atomic_load_n(&p->hot.top, __ATOMIC_RELAXED) -
					 __atomic_load_n(&p->base, __ATOMIC_RELAXED));

		/* Read while its owner swaps, the two need not belong together. */
		n += in <= c->magazines[SLAB_SIZES - 1].geometry.stride / sizeof(void *) ? in : 0;
		n += __atomic_load_n(&p->previous_rounds, __ATOMIC_RELAXED);
	}
	return n;
}

static void live_note(struct slab_cache *c, uint64_t own)
{
	uint64_t *max = &c->depot.live_max, was = figure(max);
	uint64_t live = figure(&c->objects.claimed) - figure(&c->depot.rounds) - own;

	while ((int64_t)(live - was) > 0 &&
	       !__atomic_compare_exchange_n(max, &was, live, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		;
}

/* Before m's objects are given out: whatever they miss, cache or TLB, is on its
 * way by then; and so is the magazine that was under m, whoever has it by now. */
static void warm(const struct slab_magazine *m)
{
	const char *next = (const char *)m->next;

	for (uint32_t i = m->capacity; i > 0; i--)
		__builtin_prefetch(m->round[i - 1], 1);
	for (uint32_t at = 0; next && at < m->capacity * sizeof(void *); at += SLAB_LINE)
		__builtin_prefetch(next + at);
}

/* A full magazine takes the place of `previous`, which is empty or none. */
static void cpu_look_ahead(struct slab_cache *c, struct slab_cpu *p)
{
	struct slab_magazine *m = depot_get_full(c, p->previous);

	if (m) {
		previous_set(p, m, m->capacity);
		warm(m);
	}
}

/* Makes the loaded magazine, which is empty or none, a full one that was freed. False iff there is none. */
static bool cpu_reload(struct slab_cache *c, struct slab_cpu *p)
{
	bool was_hungry = p->hungry;

	p->hungry = true;
	if (!p->previous_rounds)
		cpu_look_ahead(c, p);
	if (!p->previous_rounds)
		return false;
	cpu_swap(p);
	if (was_hungry)
		cpu_look_ahead(c, p);
	return true;
}

/* So that what is new leaves the magazine by rising addresses, as it will mostly be read. */
static void turn_over(void **rounds, uint32_t n)
{
	for (uint32_t i = 0; i < n / 2; i++) {
		void *first = rounds[i];

		rounds[i] = rounds[n - 1 - i];
		rounds[n - 1 - i] = first;
	}
}

/* Puts rounds into the loaded magazine, which is empty or none. False iff it stays so. */
static bool cpu_refill(struct slab_cache *c, unsigned cpu, struct slab_cpu *p)
{
	uint32_t rounds;

	if (cpu_reload(c, p)) {
		live_note(c, cpu_rounds(p) + p->previous_rounds);
		return true;
	}
	if (!p->loaded)
		cpu_load(p, depot_get_empty(c, cpu, NULL), 0);
	if (!p->loaded)
		return false;
	rounds = store_take(c, cpu, &c->objects, p->base, p->loaded->capacity);
	turn_over(p->base, rounds);
	cpu_load(p, p->loaded, rounds);
	live_note(c, rounds);
	return rounds > 0;
}

void *slab_alloc_slow(struct slab_cache *c, unsigned cpu)
{
	struct slab_cpu *p = enter(c, cpu);
	void *object = NULL;

	if (cpu_rounds(p) > 0 || cpu_refill(c, cpu, p)) {
		object = p->hot.top[-1];
		__atomic_store_n(&p->hot.top, p->hot.top - 1, __ATOMIC_RELAXED);
	} else if (!store_take(c, cpu, &c->objects, &object, 1)) {
		reclaim(c, cpu);
		store_take(c, cpu, &c->objects, &object, 1);
	}
	settle(p);
	return object;
}

/* Makes room in the loaded magazine, which is full or none. False iff it stays so. */
static bool cpu_make_room(struct slab_cache *c, unsigned cpu, struct slab_cpu *p)
{
	struct slab_magazine *m;

	p->hungry = false;
	if (!p->previous || p->previous_rounds) {
		m = depot_get_empty(c, cpu, p->previous);
		if (m) {
			previous_set(p, p->loaded, capacity_of(p->loaded));
			cpu_load(p, m, 0);
			return true;
		}
		if (!p->previous)
			return false;
		store_return(&c->objects, p->previous->round, p->previous_rounds);
		previous_set(p, p->previous, 0);
	}
	cpu_swap(p);
	return true;
}

void slab_free_slow(struct slab_cache *c, unsigned cpu, void *object)
{
	struct slab_cpu *p = enter(c, cpu);

	if (cpu_rounds(p) < capacity_of(p->loaded) || cpu_make_room(c, cpu, p)) {
		*p->hot.top = object;
		__atomic_store_n(&p->hot.top, p->hot.top + 1, __ATOMIC_RELAXED);
	} else {
		store_return(&c->objects, &object, 1);
	}
	settle(p);
}

/* ---- the cache ---- */

static void store_interval(struct slab_cache *c, unsigned cpu, struct slab_store *s)
{
	uint64_t surplus;

	lock_take(&s->lock);
	surplus = s->empty_min;
	lock_drop(&s->lock);
	store_release(c, cpu, s, surplus);
	lock_take(&s->lock);
	s->empty_min = s->length[SLAB_EMPTY];
	lock_drop(&s->lock);
}

static void depot_interval(struct slab_cache *c)
{
	struct slab_depot *d = depot_enter(c);
	uint64_t full = d->full.length_min, empty = d->empty.length_min;

	lock_drop(&d->lock);
	depot_release(c, true, full);
	depot_release(c, false, empty);
	depot_enter(c);
	d->full.length_min = d->full.length;
	d->empty.length_min = d->empty.length;
	d->recent = 0;
	lock_drop(&d->lock);
}

void slab_reap(struct slab_cache *c, unsigned cpu, bool all)
{
	struct slab_cpu *p = enter(c, cpu);

	if (all)
		reclaim(c, cpu);
	depot_interval(c);
	store_interval(c, cpu, &c->objects);
	for (uint32_t i = 0; i < SLAB_SIZES; i++)
		store_interval(c, cpu, &c->magazines[i]);
	settle(p);
}

void slab_flush(struct slab_cache *c, unsigned cpu)
{
	struct slab_cpu *p = enter(c, cpu);

	cpu_flush(c, p);
	settle(p);
}

void slab_abandon(struct slab_cache *c, unsigned cpu)
{
	struct slab_cpu *p = &c->cpu[cpu];
	struct slab_magazine *loaded = p->loaded, *previous = p->previous;

	cpu_load(p, NULL, 0);
	previous_set(p, NULL, 0);
	if (loaded)
		magazine_give(c, loaded);
	if (previous)
		magazine_give(c, previous);
	settle(p);
}

struct slab_layout slab_layout_of(const struct slab_cache *c)
{
	const struct slab_geometry *g = &c->objects.geometry;

	MM_ASSERT(g->colours == 1, c, g->colours);
	return (struct slab_layout){
		.inverse = UINT64_MAX / g->stride + 1, .mask = (uint32_t)slab_bytes(g) - 1, .head = g->head};
}

unsigned slab_order(const struct slab_cache *c)
{
	return c->objects.geometry.order;
}

static uint64_t store_slabs(const struct slab_store *s)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < SLAB_LISTS; i++)
		n += figure(&s->length[i]);
	return n;
}

struct slab_stats slab_stats_read(const struct slab_cache *c)
{
	uint64_t claimed = figure(&c->objects.claimed), max = figure(&c->depot.live_max);
	uint64_t slabs = store_slabs(&c->objects), objects = slabs * c->objects.geometry.objects;
	struct slab_stats s = {.objects_cached = cached(c), .slabs = slabs};

	s.objects_live = claimed > s.objects_cached ? claimed - s.objects_cached : 0;
	s.objects_live_max = s.objects_live > max ? s.objects_live : max;
	s.objects_free = objects > claimed ? objects - claimed : 0;
	s.slabs_empty = figure(&c->objects.length[SLAB_EMPTY]);
	s.bytes_asked = s.objects_live * c->bytes;
	s.bytes_given = s.objects_live * c->objects.geometry.stride;
	s.bytes_held = slabs * slab_bytes(&c->objects.geometry);
	for (uint32_t i = 0; i < SLAB_SIZES; i++)
		s.bytes_held += store_slabs(&c->magazines[i]) * slab_bytes(&c->magazines[i].geometry);
	s.magazine_rounds = c->magazines[depot_size(c)].geometry.stride / 8 - 2;
	s.depot_contended = figure(&c->depot.contended);
	return s;
}

size_t slab_meta_bytes(unsigned cpus)
{
	if (cpus == 0 || cpus > SLAB_CPUS_MAX)
		return 0;
	/* meta is aligned to a line, the cache to two. */
	return SLAB_APART - SLAB_LINE + sizeof(struct slab_cache) + cpus * sizeof(struct slab_cpu);
}

static uint32_t magazine_words(uint32_t bytes)
{
	uint32_t words = SLAB_MAGAZINE_WORDS_MIN;

	while (words < SLAB_MAGAZINE_WORDS_MAX && 2 * words <= SLAB_MAGAZINE_BYTES / bytes)
		words *= 2;
	return words;
}

enum mm_err slab_init(void *meta, size_t meta_bytes, const struct slab_config *config, struct slab_cache **out)
{
	size_t need = slab_meta_bytes(config->cpus);
	uint32_t align = config->align ? config->align : config->bytes < SLAB_LINE ? 16 : SLAB_LINE;
	uint32_t words;
	struct slab_cache *c;

	if (!meta || (uintptr_t)meta % SLAB_LINE || !need || meta_bytes < need)
		return MM_EINVAL;
	if (config->bytes == 0 || config->bytes > SLAB_OBJECT_BYTES_MAX)
		return MM_EINVAL;
	if ((align & (align - 1)) || align > FRAME_BYTES || !config->source.take || !config->source.give)
		return MM_EINVAL;
	c = (struct slab_cache *)((char *)meta + (-(uintptr_t)meta & (SLAB_APART - 1)));
	if (config->meta_zeroed)
		__builtin_memset(c, 0, sizeof(*c));
	else
		__builtin_memset(c, 0, sizeof(*c) + config->cpus * sizeof(struct slab_cpu));
	c->source = config->source;
	c->construct = config->construct;
	c->construct_self = config->construct_self;
	c->bytes = config->bytes;
	c->front.cpus = config->cpus;
	c->objects.geometry = geometry_of(config->bytes, align, SLAB_OBJECTS_WANTED);
	if (config->uncoloured)
		c->objects.geometry.colours = 1;
	words = magazine_words(c->objects.geometry.stride);
	for (uint32_t i = 0; i < SLAB_SIZES; i++)
		c->magazines[i].geometry = geometry_of(words << i << 3, SLAB_LINE, 1);
	*out = c;
	return MM_OK;
}

enum mm_err slab_destroy(struct slab_cache *c)
{
	if (figure(&c->objects.claimed) != cached(c))
		return MM_EBUSY;
	for (unsigned i = 0; i < cpus_seen(c); i++)
		cpu_flush(c, &c->cpu[i]);
	depot_release(c, true, UINT64_MAX);
	depot_release(c, false, UINT64_MAX);
	release_empty(c, 0);
	MM_ASSERT(store_slabs(&c->objects) == 0, c, store_slabs(&c->objects));
	return MM_OK;
}

void slab_fail_after(struct slab_cache *c, uint64_t n)
{
	figure_set(&c->fail_after, n);
}

/* ---- the invariants ---- */

static uint32_t ones(uint64_t word)
{
	uint32_t n = 0;

	for (; word; word &= word - 1)
		n++;
	return n;
}

/* I1 to I3 for one slab that is in this list. */
static bool slab_holds(const struct slab_store *s, const struct slab *slab, enum slab_list list)
{
	const struct slab_geometry *g = &s->geometry;
	uint32_t colour, free = 0;

	if (slab->seal != seal_of(s, slab) || slab->next->prev != slab || slab->first < g->head)
		return false;
	colour = slab->first - g->head;
	for (uint32_t i = 0; i < words_of(g->objects); i++)
		free += ones(slab->map[i]);
	if (g->objects % 64 && slab->map[g->objects / 64] >> g->objects % 64)
		return false;
	return colour % g->step == 0 && colour / g->step < g->colours && free == slab->free && list_of(s, free) == list;
}

static bool store_holds(const struct slab_store *s)
{
	uint64_t claimed = 0;

	for (unsigned list = 0; list < SLAB_LISTS; list++) {
		const struct slab *slab = s->list[list];

		for (uint64_t n = 0; n < s->length[list]; n++, slab = slab->next) {
			if (!slab || (n > 0 && slab == s->list[list]) || !slab_holds(s, slab, (enum slab_list)list))
				return false;
			claimed += s->geometry.objects - slab->free;
		}
		if (slab != s->list[list])
			return false;
	}
	return claimed == s->claimed && s->empty_min <= s->length[SLAB_EMPTY];
}

static bool magazine_holds(const struct slab_cache *c, const struct slab_magazine *m)
{
	return m->size <= c->depot.size && m->capacity == c->magazines[m->size].geometry.stride / 8 - 2;
}

/* I5. */
static bool cpu_holds(const struct slab_cache *c, const struct slab_cpu *p)
{
	const struct slab_magazine *m = p->loaded, *previous = p->previous;
	bool low_stopped = p->hot.bottom == (void **)UINTPTR_MAX, high_stopped = !p->hot.limit;

	if (m ? p->base != m->round || !magazine_holds(c, m) || p->hot.top < p->base || cpu_rounds(p) > m->capacity
	      : p->base || p->hot.top || previous)
		return false;
	if (previous ? !magazine_holds(c, previous) || (p->previous_rounds && p->previous_rounds != previous->capacity)
		     : p->previous_rounds)
		return false;
	if (p->drain && (!low_stopped || !high_stopped))
		return false;
	return (low_stopped || p->hot.bottom == p->base) && (high_stopped || p->hot.limit == p->base + capacity_of(m));
}

/* I6. */
static bool shelf_holds(const struct slab_cache *c, const struct slab_shelf *shelf, uint64_t *rounds)
{
	const struct slab_magazine *m = shelf->top;

	*rounds = 0;
	for (uint64_t n = 0; n < shelf->length; n++, m = m->next) {
		if (!m || !magazine_holds(c, m))
			return false;
		*rounds += m->capacity;
	}
	return !m && shelf->length_min <= shelf->length;
}

/* I7, I8: every magazine, and every round in one, is marked free for the length
 * of the walk, which finds whatever is there twice; then all is unmarked. */
struct walk {
	const struct slab_cache *c;
	bool mark;
	uint64_t left;			/* stop after so many */
	uint64_t magazines[SLAB_SIZES]; /* marked */
};

static bool walk_one(struct walk *w, const struct slab_store *s, void *object)
{
	struct slab *slab;
	uint32_t index;
	uint64_t bit;

	if (w->left == 0 || !object_find(s, object, &slab, &index))
		return false;
	bit = UINT64_C(1) << index % 64;
	if (!(slab->map[index / 64] & bit) != w->mark)
		return false;
	slab->map[index / 64] ^= bit;
	w->left--;
	return true;
}

static bool walk_magazine(struct walk *w, struct slab_magazine *m, uint32_t rounds)
{
	if (!m)
		return true;
	if (!walk_one(w, &w->c->magazines[m->size], m))
		return false;
	w->magazines[m->size]++;
	for (uint32_t i = 0; i < rounds; i++)
		if (!walk_one(w, &w->c->objects, m->round[i]))
			return false;
	return true;
}

static bool walk_all(struct walk *w)
{
	const struct slab_cache *c = w->c;

	for (unsigned i = 0; i < c->front.cpus; i++)
		if (!walk_magazine(w, c->cpu[i].loaded, cpu_rounds(&c->cpu[i])) ||
		    !walk_magazine(w, c->cpu[i].previous, c->cpu[i].previous_rounds))
			return false;
	for (struct slab_magazine *m = c->depot.full.top; m; m = m->next)
		if (!walk_magazine(w, m, m->capacity))
			return false;
	for (struct slab_magazine *m = c->depot.empty.top; m; m = m->next)
		if (!walk_magazine(w, m, 0))
			return false;
	return true;
}

static bool magazines_hold(const struct slab_cache *c)
{
	struct walk mark = {.c = c, .mark = true, .left = UINT64_MAX}, unmark = {.c = c};
	bool holds = walk_all(&mark);

	unmark.left = UINT64_MAX - mark.left;
	walk_all(&unmark);
	for (uint32_t i = 0; i < SLAB_SIZES; i++)
		holds = holds && mark.magazines[i] == c->magazines[i].claimed;
	return holds;
}

bool slab_check(const struct slab_cache *c)
{
	uint64_t full_rounds, empty_rounds;

	if (!store_holds(&c->objects) || c->depot.size >= SLAB_SIZES)
		return false;
	for (uint32_t i = 0; i < SLAB_SIZES; i++)
		if (!store_holds(&c->magazines[i]))
			return false;
	for (unsigned i = 0; i < c->front.cpus; i++)
		if (!cpu_holds(c, &c->cpu[i]))
			return false;
	return shelf_holds(c, &c->depot.full, &full_rounds) && shelf_holds(c, &c->depot.empty, &empty_rounds) &&
	       full_rounds == c->depot.rounds && magazines_hold(c) && cached(c) <= c->objects.claimed;
}
