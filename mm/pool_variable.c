/* mm/pool_variable.c: a pool of any sizes, each call in a bounded number of steps.
 *
 * What it is. Two-level segregated fit, after Masmano, Ripoll, Crespo and Real,
 * "TLSF: a new dynamic memory allocator for real-time systems" (2004): free blocks
 * in lists by length, a bit for each list that is not empty, so that the list to
 * take from is found by counting zeros, not by walking. It is for who must know how
 * long the longest call takes. Who wants the shortest usual one takes general_heap.h.
 *
 * Words. A unit is 16 bytes. A region is memory that was lent or came from the
 * source: blocks in a row, and a header that ends it. A block is a header of one unit
 * and its units. Work: how often a block enters or leaves a list.
 *
 * Lists. Lengths below 32 units have a list each; from there on 32 lists divide each
 * doubling, so a list's shortest and longest differ by less than 1/32. A request
 * takes the first block of the first list all of whose blocks are long enough; its
 * rest, if that is a block, goes back. Where all such are empty, up to LOOK blocks of
 * the one list that may have a block just long enough are looked at: what was freed
 * last is there at once.
 *
 * Invariants, verified by the check:
 *   I1  regions lie apart; blocks fill each, every header sealed as live, free or
 *       end, and `before` is the length of the one before;
 *   I2  no two free blocks are neighbours;
 *   I3  a free block is in the list of its length, once; its neighbours there know
 *       it; a map's bit is set iff its list, or level, is not empty;
 *   I4  of a live block less than it has, and less than two units, were not asked for;
 *   I5  live blocks sum up to asked, given and count; free ones to blocks_free and
 *       units_free; regions to held, which is at most bytes_most.
 *
 * Bound. The list: two words of bits. Alloc: the block leaves, its rest enters: 2. With
 * an alignment above 16: also what is cut off before it: 3. Free: two neighbours
 * leave, the merged block enters: 3. Realloc in place: the neighbour leaves, the rest
 * enters; elsewhere alloc and free: 5 at most, and the copy. Beside these: at most LOOK headers
 * looked at, POOL_VARIABLE_REGIONS compared to find whose an address is, two headers
 * written a list operation. No loop depends on how many blocks there are, on their
 * lengths or history. The most work that calls ever did is counted, not only argued.
 * Outside the bound: the source, the fallback, the wait for the lock (one other call a
 * CPU, each as short), and what a cache and its machine do.
 *
 * What that costs. A request for n bytes may be refused though a block of its list
 * is long enough, if that is not among the LOOK first: such blocks are less than 1/32
 * longer than what was asked. 16 bytes a block, rounding up to 16, and fragmentation,
 * for which nobody has a good bound: M bytes live of sizes up to n need up to about
 * M * (1 + log2(n) / 2) (Robson, 1974), when the worst is done to them.
 *
 * What is counted. Bytes asked, given and held exactly, whatever frees name: what was
 * not asked for is in the header. What the source gave is held, all of it; what was
 * lent is held where it is not free.
 *
 * Threads. One lock for everything, held for a bound's length, never while source or
 * fallback run; with one CPU none.
 *
 * Failure. NULL iff lists, bound or source, and fallback have nothing. Nothing has
 * changed then, but for a region that came. A wrong free is seen at once, in every
 * build: not in a region, not a header's address, or no live seal (a freed or merged
 * block's, or anything else, which has 1 chance in 2^32 to look like one).
 *
 * Rejected. Headers of 8 bytes (the length of the block before kept in its own tail
 * while it is free): half the overhead, but no seal. Requests rounded up to their list's shortest
 * length: then what was freed fits again without a look, but each block loses up to
 * 1/32. Best fit within a list: unbounded. A tree by length: O(log n), and three
 * cold lines where this has one. Regions that are given back in free(): a source in
 * each call's worst case; so pool_variable_trim() does. */
#include "mm/fail_nth.h"
#include "mm/pool_variable_impl.h"

#define SEAL_LIVE 0x51a7b10cu
#define SEAL_FREE 0xae584ef3u

static size_t at_least_1(size_t bytes)
{
	return bytes + (bytes == 0);
}

static uint64_t greater(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static void enter(struct pool_variable *p)
{
	if (p->cpus > 1)
		lock_take(&p->lock);
}

static void leave(struct pool_variable *p)
{
	if (p->cpus > 1)
		lock_drop(&p->lock);
}

/* What the call has done so far. */
static uint32_t work_done(struct pool_variable *p)
{
	uint32_t work = p->work;

	p->work = 0;
	return work;
}

static void work_note(uint32_t *most, uint32_t work)
{
	if (work > *most)
		*most = work;
}

/* ---- blocks ---- */

static uint32_t seal_of(const struct pool_block *b, uint32_t state)
{
	return ((uint32_t)((uintptr_t)b >> UNIT_SHIFT) * 0x9e3779b1u) ^ state;
}

static void seal(struct pool_block *b, uint32_t state)
{
	b->seal = seal_of(b, state);
}

static bool is(const struct pool_block *b, uint32_t state)
{
	return b->seal == seal_of(b, state);
}

static struct pool_block *block_at(uintptr_t address)
{
	return (struct pool_block *)address;
}

static struct pool_block *block_of(const void *memory)
{
	return block_at((uintptr_t)memory - UNIT);
}

static void *memory_of(struct pool_block *b)
{
	return (char *)b + UNIT;
}

static struct pool_block *after(const struct pool_block *b)
{
	return block_at((uintptr_t)b + ((uintptr_t)b->units + 1) * UNIT);
}

static struct pool_block *before(const struct pool_block *b)
{
	return block_at((uintptr_t)b - ((uintptr_t)b->before + 1) * UNIT);
}

static size_t bytes_of(const struct pool_block *b)
{
	return (size_t)b->units << UNIT_SHIFT;
}

static size_t asked_of(const struct pool_block *b)
{
	return bytes_of(b) - b->slack;
}

/* ---- lists ---- */

struct place { /* of a list */
	uint32_t first, second;
};

static struct place place_of(uint32_t units)
{
	uint32_t log;

	if (units < SECOND)
		return (struct place){0, units};
	log = 31u - (uint32_t)__builtin_clz(units);
	return (struct place){log - SECOND_SHIFT + 1, units >> (log - SECOND_SHIFT) & (SECOND - 1)};
}

static void list_add(struct pool_variable *p, struct pool_block *b)
{
	struct place at = place_of(b->units);
	struct pool_block **head = &p->list[at.first][at.second];

	seal(b, SEAL_FREE);
	b->next = *head;
	b->prev = NULL;
	if (b->next)
		b->next->prev = b;
	*head = b;
	p->first_map |= 1u << at.first;
	p->second_map[at.first] |= 1u << at.second;
	p->blocks_free++;
	p->units_free += b->units;
	p->work++;
}

static void list_remove(struct pool_variable *p, struct pool_block *b)
{
	struct place at = place_of(b->units);

	if (b->next)
		b->next->prev = b->prev;
	if (b->prev)
		b->prev->next = b->next;
	else
		p->list[at.first][at.second] = b->next;
	if (!p->list[at.first][at.second]) {
		p->second_map[at.first] &= ~(1u << at.second);
		if (!p->second_map[at.first])
			p->first_map &= ~(1u << at.first);
	}
	b->seal = 0;
	p->blocks_free--;
	p->units_free -= b->units;
	p->work++;
}

/* Some blocks of the one list that may have a long enough one, and may not. */
static struct pool_block *look(const struct pool_variable *p, uint32_t units)
{
	struct place at = place_of(units);
	struct pool_block *b = p->list[at.first][at.second];

	for (uint32_t i = 0; b && b->units < units; b = b->next)
		if (++i == LOOK)
			return NULL;
	return b;
}

/* A free block of at least so many units; NULL: none is found. */
static struct pool_block *find(const struct pool_variable *p, uint32_t units)
{
	struct place at;
	uint32_t up = units, bits;

	if (units >= SECOND)
		up += (1u << (31u - (uint32_t)__builtin_clz(units) - SECOND_SHIFT)) - 1;
	at = place_of(up);
	bits = p->second_map[at.first] & UINT32_MAX << at.second;
	if (!bits) {
		bits = p->first_map & (UINT32_MAX - 1) << at.first;
		if (!bits)
			return look(p, units);
		at.first = (uint32_t)__builtin_ctz(bits);
		bits = p->second_map[at.first];
	}
	return p->list[at.first][(uint32_t)__builtin_ctz(bits)];
}

/* A block that is in no list keeps `units`; what is left behind becomes free, if it is a block. */
static void cut(struct pool_variable *p, struct pool_block *b, uint32_t units)
{
	uint32_t left = b->units - units;
	struct pool_block *rest;

	if (left < 2)
		return;
	b->units = units;
	rest = after(b);
	rest->units = left - 1;
	rest->before = units;
	after(rest)->before = rest->units;
	list_add(p, rest);
}

/* The block begins at a multiple of `align`; what is cut off before it becomes free.
 * There is room for that. */
static struct pool_block *cut_front(struct pool_variable *p, struct pool_block *b, size_t align)
{
	uintptr_t memory = (uintptr_t)memory_of(b), gap = -memory & (align - 1);
	struct pool_block *front = b;

	if (gap == UNIT)
		gap += align; /* not enough for a block */
	if (gap == 0)
		return b;
	b = block_at((uintptr_t)b + gap);
	b->units = front->units - (uint32_t)(gap >> UNIT_SHIFT);
	front->units = (uint32_t)(gap >> UNIT_SHIFT) - 1;
	b->before = front->units;
	after(b)->before = b->units;
	list_add(p, front);
	return b;
}

/* The neighbour behind becomes part of it. */
static void swallow(struct pool_variable *p, struct pool_block *b)
{
	struct pool_block *next = after(b);

	list_remove(p, next);
	b->units += next->units + 1;
	after(b)->before = b->units;
}

/* ---- regions ---- */

static void region_add(struct pool_variable *p, uintptr_t base, size_t bytes, size_t taken)
{
	struct pool_block *b = block_at(base), *end;
	uint32_t work = p->work;

	p->region[p->regions++] = (struct pool_region){base, bytes, taken};
	b->units = (uint32_t)(bytes >> UNIT_SHIFT) - 2;
	b->before = 0;
	end = after(b);
	end->units = 0;
	end->before = b->units;
	end->slack = 0;
	seal(end, SEAL_LIVE);
	list_add(p, b);
	p->work = work; /* the source's call, not this one's */
}

/* Which region it may be memory of; NULL: of none. */
static struct pool_region *region_of(struct pool_variable *p, const void *memory)
{
	for (unsigned i = 0; i < p->regions; i++)
		if ((uintptr_t)memory - p->region[i].base - UNIT < p->region[i].bytes - UNIT)
			return &p->region[i];
	return NULL;
}

/* A live block of this pool; NULL: the fallback's, if anyone's. */
static struct pool_block *block_find(struct pool_variable *p, const void *memory)
{
	struct pool_block *b = block_of(memory);

	if (!region_of(p, memory))
		return NULL;
	MM_ASSERT((uintptr_t)memory % UNIT == 0 && is(b, SEAL_LIVE) && b->units > 0, memory, p);
	return b;
}

/* What is asked of the source for so many bytes; 0: the bound forbids it. */
static size_t region_bytes(const struct pool_variable *p, size_t need)
{
	uint64_t room = p->bytes_most - p->held, want = greater(greater(p->chunk_bytes, p->held / 4), need);

	if (!p->source.take || p->regions + p->coming == POOL_VARIABLE_REGIONS || room < need)
		return 0;
	want = want < room ? want : room;
	want = want < POOL_VARIABLE_REGION_MAX ? want : POOL_VARIABLE_REGION_MAX;
	return want & ~(size_t)(UNIT - 1);
}

/* Asks the source for a region. The lock is held, but not meanwhile. */
static bool region_take(struct pool_variable *p, unsigned cpu, size_t bytes)
{
	enum mm_err err;
	void *memory;

	p->held += bytes;
	p->coming++;
	leave(p);
	err = p->source.take(p->source.self, cpu, bytes, UNIT, &memory);
	MM_ASSERT(err != MM_OK || (memory && (uintptr_t)memory % UNIT == 0), memory, bytes);
	enter(p);
	p->coming--;
	if (err == MM_OK)
		region_add(p, (uintptr_t)memory, bytes, bytes);
	else
		p->held -= bytes;
	return err == MM_OK;
}

/* False: there will be no block of so many units. True: it is worth to look again. */
static bool grow(struct pool_variable *p, unsigned cpu, uint64_t units)
{
	size_t need = (units + 2) << UNIT_SHIFT, want = region_bytes(p, need);

	if (want == 0 && p->coming > 0) {
		leave(p);
		mm_yield();
		enter(p);
		return true;
	}
	if (want == 0)
		return false;
	return region_take(p, cpu, want) || (want > need && region_bytes(p, need) > 0 && region_take(p, cpu, need));
}

/* ---- alloc ---- */

static uint32_t units_of(size_t asked)
{
	return (uint32_t)((asked + UNIT - 1) >> UNIT_SHIFT);
}

/* A block in no list becomes live, as long as asked for. */
static void *settle(struct pool_variable *p, struct pool_block *b, size_t asked)
{
	cut(p, b, units_of(asked));
	b->slack = (uint32_t)(bytes_of(b) - asked);
	seal(b, SEAL_LIVE);
	p->asked += asked;
	p->asked_max = greater(p->asked_max, p->asked);
	p->given += bytes_of(b);
	p->count++;
	return memory_of(b);
}

static void unsettle(struct pool_variable *p, const struct pool_block *b)
{
	p->asked -= asked_of(b);
	p->given -= bytes_of(b);
	p->count--;
}

/* The lock is held. */
static void *own_alloc(struct pool_variable *p, unsigned cpu, size_t asked, size_t align)
{
	uint64_t units = ((uint64_t)asked + UNIT - 1) >> UNIT_SHIFT;
	struct pool_block *b;

	if (asked > POOL_VARIABLE_REGION_MAX / 4 || align > POOL_VARIABLE_REGION_MAX / 4)
		return NULL;
	if (align > UNIT)
		units += (align >> UNIT_SHIFT) + 1;
	while (!(b = find(p, (uint32_t)units)))
		if (!grow(p, cpu, units))
			return NULL;
	list_remove(p, b);
	if (align > UNIT)
		b = cut_front(p, b, align);
	return settle(p, b, asked);
}

/* No fault is due. */
static void *any_alloc(struct pool_variable *p, unsigned cpu, size_t asked, size_t align, uint32_t *work)
{
	void *memory;

	enter(p);
	memory = own_alloc(p, cpu, asked, align);
	*work = work_done(p);
	work_note(&p->alloc_work_max, *work);
	leave(p);
	if (!memory && p->fallback)
		memory = heap_alloc_aligned(p->fallback, cpu, asked, align);
	if (!memory)
		__atomic_fetch_add(&p->refused, 1, __ATOMIC_RELAXED);
	return memory;
}

static void *variable_alloc(void *self, unsigned cpu, size_t bytes, size_t align)
{
	struct pool_variable *p = self;
	uint32_t work;

	MM_ASSERT(cpu < p->cpus, cpu, p->cpus);
	if (align == 0 || (align & (align - 1)) != 0 || bytes > PTRDIFF_MAX || fail_nth_now(&p->fail_after))
		return NULL;
	return any_alloc(p, cpu, at_least_1(bytes), align, &work);
}

/* ---- free ---- */

/* The lock is held. */
static void own_free(struct pool_variable *p, struct pool_block *b)
{
	unsettle(p, b);
	b->seal = 0;
	if (is(after(b), SEAL_FREE))
		swallow(p, b);
	if (b->before > 0 && is(before(b), SEAL_FREE)) {
		struct pool_block *front = before(b);

		list_remove(p, front);
		front->units += b->units + 1;
		after(front)->before = front->units;
		b = front;
	}
	list_add(p, b);
}

static uint32_t any_free(struct pool_variable *p, unsigned cpu, void *memory, size_t bytes)
{
	struct pool_block *b;
	uint32_t work = 0;

	enter(p);
	b = block_find(p, memory);
	if (b) {
		MM_ASSERT(bytes <= bytes_of(b), bytes, memory);
		own_free(p, b);
		work = work_done(p);
		work_note(&p->free_work_max, work);
	}
	leave(p);
	if (!b) {
		MM_ASSERT(p->fallback, memory, p);
		heap_free(p->fallback, cpu, memory, bytes);
	}
	return work;
}

static void variable_free(void *self, unsigned cpu, void *memory, size_t bytes)
{
	struct pool_variable *p = self;

	MM_ASSERT(cpu < p->cpus, cpu, p->cpus);
	if (memory)
		any_free(p, cpu, memory, bytes);
}

/* ---- realloc ---- */

static size_t variable_usable(void *self, const void *memory)
{
	struct pool_variable *p = self;
	struct pool_block *b;
	size_t usable = 0;

	enter(p);
	b = block_find(p, memory);
	if (b)
		usable = bytes_of(b);
	leave(p);
	MM_ASSERT(b || p->fallback, memory, p);
	return b ? usable : heap_usable(p->fallback, memory);
}

/* Whether it has the new length where it is. What it does not need becomes free. */
static bool resize_here(struct pool_variable *p, void *memory, size_t asked)
{
	struct pool_block *b;
	uint64_t room;
	bool fits, next_free;

	enter(p);
	b = block_find(p, memory);
	if (!b) {
		leave(p);
		return false;
	}
	next_free = is(after(b), SEAL_FREE);
	room = bytes_of(b) + (next_free ? bytes_of(after(b)) + UNIT : 0);
	fits = asked <= room;
	if (fits) {
		unsettle(p, b);
		if (next_free)
			swallow(p, b);
		settle(p, b, asked);
		work_note(&p->realloc_work_max, work_done(p));
	}
	leave(p);
	return fits;
}

static void *move(struct pool_variable *p, unsigned cpu, void *memory, size_t kept, size_t asked)
{
	uint32_t work;
	void *moved = any_alloc(p, cpu, asked, HEAP_ALIGN, &work);

	if (!moved)
		return NULL;
	__builtin_memcpy(moved, memory, kept < asked ? kept : asked);
	work += any_free(p, cpu, memory, 0);
	enter(p);
	work_note(&p->realloc_work_max, work);
	leave(p);
	return moved;
}

static void *variable_realloc(void *self, unsigned cpu, void *memory, size_t old_bytes, size_t bytes)
{
	struct pool_variable *p = self;
	size_t asked = at_least_1(bytes), usable;

	if (!memory)
		return variable_alloc(self, cpu, bytes, HEAP_ALIGN);
	MM_ASSERT(cpu < p->cpus, cpu, p->cpus);
	usable = variable_usable(self, memory);
	MM_ASSERT(old_bytes <= usable, old_bytes, usable);
	if (asked > usable && (asked > PTRDIFF_MAX || fail_nth_now(&p->fail_after)))
		return NULL;
	if (resize_here(p, memory, asked))
		return memory;
	if (asked <= usable) /* the fallback's */
		return heap_realloc(p->fallback, cpu, memory, old_bytes, bytes);
	return move(p, cpu, memory, old_bytes ? old_bytes : usable, asked);
}

/* ---- figures, checks ---- */

static struct heap_stats variable_stats(void *self)
{
	struct pool_variable *p = self;
	struct heap_stats s;

	enter(p);
	s = (struct heap_stats){.bytes_asked = p->asked,
				.bytes_asked_max = p->asked_max,
				.bytes_given = p->given,
				.bytes_held = p->held - (p->source.take ? 0 : p->units_free << UNIT_SHIFT),
				.bytes_total = p->bytes_most,
				.allocations = p->count};
	leave(p);
	return p->fallback ? heap_stats_add(s, heap_stats_read(p->fallback)) : s;
}

struct pool_variable_stats pool_variable_stats_read(const struct heap *h)
{
	struct pool_variable *p = h->self;
	struct pool_variable_stats s;
	uint32_t first;

	enter(p);
	s = (struct pool_variable_stats){.blocks_free = p->blocks_free,
					 .free_bytes = p->units_free << UNIT_SHIFT,
					 .regions = p->regions,
					 .refused = __atomic_load_n(&p->refused, __ATOMIC_RELAXED),
					 .alloc_work_max = p->alloc_work_max,
					 .free_work_max = p->free_work_max,
					 .realloc_work_max = p->realloc_work_max};
	if (p->first_map) {
		first = 31u - (uint32_t)__builtin_clz(p->first_map);
		for (const struct pool_block *b = p->list[first][31u - (uint32_t)__builtin_clz(p->second_map[first])];
		     b; b = b->next)
			s.largest_free = greater(s.largest_free, bytes_of(b));
	}
	leave(p);
	return s;
}

struct sums {
	uint64_t asked, given, count, blocks_free, units_free, held;
};

static void sums_add(struct sums *s, const struct pool_block *b)
{
	if (is(b, SEAL_FREE)) {
		s->blocks_free++;
		s->units_free += b->units;
	} else {
		s->asked += asked_of(b);
		s->given += bytes_of(b);
		s->count++;
	}
}

/* I1, I2, I4 in one region. */
static bool region_holds(const struct pool_region *r, struct sums *s)
{
	uintptr_t end = r->base + r->bytes - UNIT;
	const struct pool_block *b = block_at(r->base);
	uint32_t units_before = 0;
	bool free_before = false;

	for (; (uintptr_t)b < end; b = after(b)) {
		bool free = is(b, SEAL_FREE);

		if ((!free && !is(b, SEAL_LIVE)) || b->units == 0 || b->before != units_before || (free && free_before))
			return false;
		if (!free && (b->slack >= bytes_of(b) || b->slack >= 2 * UNIT))
			return false;
		sums_add(s, b);
		units_before = b->units;
		free_before = free;
	}
	s->held += r->bytes;
	return (uintptr_t)b == end && is(b, SEAL_LIVE) && b->units == 0 && b->before == units_before;
}

static bool regions_hold(struct pool_variable *p, struct sums *s)
{
	for (unsigned i = 0; i < p->regions; i++) {
		for (unsigned j = 0; j < i; j++)
			if (p->region[i].base - p->region[j].base < p->region[j].bytes ||
			    p->region[j].base - p->region[i].base < p->region[i].bytes)
				return false;
		if (!region_holds(&p->region[i], s))
			return false;
	}
	return true;
}

/* I3 for one list; counts its blocks down from what there may be. */
static bool list_holds(struct pool_variable *p, struct place at, uint64_t *left)
{
	const struct pool_block *before_it = NULL;

	for (struct pool_block *b = p->list[at.first][at.second]; b; b = b->next) {
		struct place own;

		if (*left == 0 || !region_of(p, memory_of(b)) || !is(b, SEAL_FREE) || b->prev != before_it)
			return false;
		own = place_of(b->units);
		if (own.first != at.first || own.second != at.second)
			return false;
		before_it = b;
		--*left;
	}
	return ((p->second_map[at.first] >> at.second & 1) != 0) == (before_it != NULL);
}

static bool lists_hold(struct pool_variable *p)
{
	uint64_t left = p->blocks_free;

	for (uint32_t first = 0; first < FIRST; first++) {
		for (uint32_t second = 0; second < SECOND; second++)
			if (!list_holds(p, (struct place){first, second}, &left))
				return false;
		if (((p->first_map >> first & 1) != 0) != (p->second_map[first] != 0))
			return false;
	}
	return left == 0;
}

static bool variable_check(void *self)
{
	struct pool_variable *p = self;
	struct sums s = {0};

	if (!regions_hold(p, &s) || !lists_hold(p))
		return false;
	return s.asked == p->asked && s.given == p->given && s.count == p->count && s.blocks_free == p->blocks_free &&
	       s.units_free == p->units_free && s.held == p->held && p->held <= p->bytes_most && p->coming == 0 &&
	       p->asked <= p->asked_max && (!p->fallback || heap_check(p->fallback));
}

static void variable_fail_after(void *self, uint64_t n)
{
	struct pool_variable *p = self;

	__atomic_store_n(&p->fail_after, n, __ATOMIC_RELAXED);
}

/* ---- regions go ---- */

/* Cuts out one region of the source that is free as a whole; taken is 0 iff none is. */
static struct pool_region region_cut(struct pool_variable *p)
{
	for (unsigned i = 0; i < p->regions; i++) {
		struct pool_region r = p->region[i];
		struct pool_block *b = block_at(r.base);

		if (r.taken == 0 || !is(b, SEAL_FREE) || after(b)->units != 0)
			continue;
		list_remove(p, b);
		work_done(p);
		p->region[i] = p->region[--p->regions];
		p->held -= r.bytes;
		return r;
	}
	return (struct pool_region){0, 0, 0};
}

size_t pool_variable_trim(const struct heap *h, unsigned cpu)
{
	struct pool_variable *p = h->self;
	struct pool_region r;
	size_t gone = 0;

	MM_ASSERT(cpu < p->cpus, cpu, p->cpus);
	for (;;) {
		enter(p);
		r = region_cut(p);
		leave(p);
		if (r.taken == 0)
			return gone;
		p->source.give(p->source.self, cpu, (void *)r.base, r.taken);
		gone += r.taken;
	}
}

/* ---- set up ---- */

size_t pool_variable_meta_bytes(void)
{
	return sizeof(struct pool_variable);
}

static bool config_holds(const struct pool_variable_config *c)
{
	if (c->cpus == 0 || (!c->region && !c->source.take) || !c->source.take != !c->source.give)
		return false;
	if (c->region && ((uintptr_t)c->region % UNIT != 0 || c->region_bytes < POOL_VARIABLE_REGION_MIN ||
			  c->region_bytes > POOL_VARIABLE_REGION_MAX))
		return false;
	return (c->region || c->region_bytes == 0) && (c->bytes_most == 0 || c->bytes_most >= c->region_bytes) &&
	       c->bytes_most + c->region_bytes > 0;
}

enum mm_err pool_variable_init(void *meta, size_t meta_bytes, const struct pool_variable_config *config,
			       struct heap *out)
{
	struct pool_variable *p = meta;
	size_t lent;

	if (!config_holds(config) || !meta || (uintptr_t)meta % 64 != 0 || meta_bytes < sizeof(*p))
		return MM_EINVAL;
	__builtin_memset(p, 0, sizeof(*p));
	p->ops = (struct heap_ops){variable_alloc, variable_free,  variable_realloc,   variable_usable,
				   variable_stats, variable_check, variable_fail_after};
	lent = config->region_bytes & ~(size_t)(UNIT - 1);
	p->cpus = config->cpus;
	p->bytes_most = config->bytes_most > 0 ? config->bytes_most : lent;
	p->chunk_bytes = greater(greater(config->chunk_bytes, p->bytes_most / 512), POOL_VARIABLE_REGION_MIN);
	p->source = config->source;
	p->fallback = config->fallback;
	p->held = lent;
	if (config->region)
		region_add(p, (uintptr_t)config->region, lent, 0);
	*out = (struct heap){.self = p, .ops = &p->ops};
	return MM_OK;
}
