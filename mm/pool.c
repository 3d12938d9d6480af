/* mm/pool.c: a pool of objects of one size.
 *
 * What it is. Chunks of memory cut into objects, of which there are never more than
 * a number said once; a stack that knows which are free; in front of it, for each
 * CPU, a few that it keeps for itself. It differs from a slab cache in what it
 * promises: a bound on memory, a bound on every call, many objects in one call; and
 * in what it does not: memory goes back to the source only as a whole, at the end.
 *
 * Words. Objects are numbered through all chunks: an index. An object is fresh until
 * it is handed out for the first time (or primed); priming while pool_prime() gives
 * it its pattern; free in the stack; else claimed: cached in a CPU's rounds, or live.
 * What the fallback gave is claimed, too, but has no index.
 *
 * Nothing is linked. A chunk that comes is not touched: its fresh objects are those
 * behind a mark, and get their pattern when they are first taken, or from
 * pool_prime(), at most POOL_BATCH at a time. So a pool of a million is made in the time
 * that its metadata takes, and no call ever pays for all of them.
 *
 * Invariants, all of them verified by pool_check():
 *   I1  chunks lie apart, aligned, numbered without gaps; at most `most` objects;
 *   I2  fresh objects are the last of their chunk, and of no chunk before fresh_chunk;
 *   I3  the map has the bits of the objects in the stack, each of which is there
 *       once and is not fresh, and no others;
 *   I4  claimed is what is neither fresh, nor in the stack, nor priming;
 *   I5  a CPU's top and limit lie in its rounds;
 *   I6  each round is a claimed object, or the fallback's, and nowhere else a round;
 *   I7  no more rounds lie outside the chunks than the fallback gave.
 *
 * Threads. A CPU's rounds are its owner's alone. What everybody shares has one lock,
 * held while at most POOL_BATCH indices move, never while the source, the fallback or
 * `fill` runs. Two CPUs may find the stack empty at once: who asks the source first
 * reserves what is left to make, the other waits for the outcome. Nor is anybody
 * refused, or the source asked, for what is only priming: it is waited for, which is
 * short, since a pool_prime() has no more than POOL_BATCH under way and waits for
 * nobody meanwhile.
 *
 * Cost. A call served by the CPU's rounds: about ten instructions and two lines, none
 * of the object. Others: one lock, at most POOL_BATCH indices and bits, as many
 * patterns if objects are fresh: O(1) whatever the pool's size and history, apart
 * from the source's, the fallback's and a lock's wait. The chunk of an index is found
 * among at most POOL_CHUNKS, the newest and longest first. pool_alloc_many(),
 * pool_free_many() and pool_prime(): that for each POOL_BATCH objects. POOL_WORK bounds what moves and what is looked
 * at, and the most that a call ever did is counted, not only argued.
 *
 * Memory. 4 bytes and a bit an object of the bound, 2 KiB, and 1 KiB a CPU; in the
 * chunks nothing but objects. Up to `rounds` free objects a CPU are out of others'
 * reach: whoever wants the last object of a pool lets CPUs keep none, or drains.
 *
 * Failure. NULL iff the stack is empty, none is fresh or priming, bound or source allow no
 * further chunk and the fallback has none. A wrong free is seen when it leaves the
 * CPU's rounds: no object's address (then it is the fallback's to judge, if there is
 * one), fresh, or free already. Until then it is a round like others.
 *
 * Rejected. Links inside free objects: each call would touch the object, a batch
 * would be a walk from miss to miss under the lock, and a write after free a wild
 * pointer. A ring, as mempools have: without locks, but it hands out what was freed
 * longest ago, whose lines are cold, and knows no second free. Addresses in the
 * stack: one step less, but twice the memory, and the free bit needs the index anyway.
 * Chunks that go back when they are free: who frees would have to know how much of a
 * chunk is free, and a stack has objects of all chunks. A header before each object:
 * 16 bytes for what the map says in one bit. */
#include "mm/fail_nth.h"
#include "mm/pool_impl.h"

static uint64_t figure(const uint64_t *at)
{
	return __atomic_load_n(at, __ATOMIC_RELAXED);
}

static void figure_add(uint64_t *at, uint64_t by)
{
	__atomic_fetch_add(at, by, __ATOMIC_RELAXED);
}

static uint32_t lesser(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

static struct pool_cpu *cpu_of(const struct pool *p, unsigned cpu)
{
	return (struct pool_cpu *)(void *)pool_hot_of(p, cpu);
}

/* ---- index and address ---- */

/* The newest chunk has the most objects, so it is looked at first; *work counts the looks. */
static uintptr_t address_of(const struct pool *p, uint32_t index, uint32_t *work)
{
	uint32_t i = __atomic_load_n(&p->chunks, __ATOMIC_ACQUIRE) - 1;

	for (++*work; index < p->chunk[i].first; ++*work)
		i--;
	return p->chunk[i].base + (uint64_t)(index - p->chunk[i].first) * p->stride;
}

/* False iff it is no chunk's. An address inside one that is no object's has an index beyond all. */
static bool index_of(const struct pool *p, const void *object, uint32_t *index, uint32_t *work)
{
	for (uint32_t i = __atomic_load_n(&p->chunks, __ATOMIC_ACQUIRE); i-- > 0;) {
		const struct pool_chunk *c = &p->chunk[i];
		uint64_t offset = (uintptr_t)object - c->base, n;

		++*work;
		if (offset >= (uint64_t)c->count * p->stride)
			continue;
		n = (uint64_t)(((unsigned __int128)offset * p->reciprocal) >> 64);
		*index = n * p->stride == offset && n < __atomic_load_n(&c->fresh, __ATOMIC_RELAXED)
				 ? c->first + (uint32_t)n
				 : UINT32_MAX;
		return true;
	}
	return false;
}

static uint64_t *word_of(const struct pool *p, uint32_t index)
{
	return &p->map[index / 64];
}

static uint64_t bit_of(uint32_t index)
{
	return UINT64_C(1) << index % 64;
}

/* ---- patterns ---- */

static void fill_plain(void *at, const void *pattern, size_t bytes, size_t stride, size_t n)
{
	unsigned char *to = at;

	for (; n > 0; n--, to += stride)
		__builtin_memcpy(to, pattern, bytes);
}

static void make(const struct pool *p, uintptr_t first, size_t n)
{
	if (p->pattern && n > 0)
		p->fill((void *)first, p->pattern, p->bytes, p->stride, n);
}

static void work_note(uint32_t *most, uint32_t work)
{
	uint32_t was = __atomic_load_n(most, __ATOMIC_RELAXED);

	while (work > was && !__atomic_compare_exchange_n(most, &was, work, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		;
}

/* ---- the stack ---- */

/* p->lock is held. */
static void claim(struct pool *p, uint32_t n)
{
	uint64_t now = p->claimed + n, all = now + figure(&p->from_fallback);

	__atomic_store_n(&p->claimed, now, __ATOMIC_RELAXED);
	if (all > p->claimed_max)
		__atomic_store_n(&p->claimed_max, all, __ATOMIC_RELAXED);
}

static uint32_t stack_pop(struct pool *p, uint32_t *index, uint32_t n)
{
	n = lesser(n, p->depth);
	p->depth -= n;
	for (uint32_t i = 0; i < n; i++) {
		index[i] = p->stack[p->depth + i];
		*word_of(p, index[i]) &= ~bit_of(index[i]);
	}
	return n;
}

static void stack_push(struct pool *p, uint32_t index, const void *object)
{
	MM_ASSERT(!(*word_of(p, index) & bit_of(index)), object, index); /* free already */
	*word_of(p, index) |= bit_of(index);
	p->stack[p->depth++] = index;
}

/* Whether fresh_chunk, which moves on to it, has any fresh. p->lock is held. */
static bool fresh_there(struct pool *p)
{
	while (p->fresh_chunk < p->chunks && p->chunk[p->fresh_chunk].fresh == p->chunk[p->fresh_chunk].count)
		p->fresh_chunk++;
	return p->fresh_chunk < p->chunks;
}

/* Up to n fresh objects in a row; 0: no chunk has any. p->lock is held. */
static uint32_t fresh_take(struct pool *p, uint32_t n, uintptr_t *first, uint32_t *index)
{
	struct pool_chunk *c;

	if (!fresh_there(p))
		return 0;
	c = &p->chunk[p->fresh_chunk];
	n = lesser(n, c->count - c->fresh);
	*first = c->base + (uint64_t)c->fresh * p->stride;
	*index = c->first + c->fresh;
	__atomic_store_n(&c->fresh, c->fresh + n, __ATOMIC_RELAXED);
	return n;
}

/* Up to n (POOL_BATCH at most) objects; 0: none is free, none fresh. */
static uint32_t shared_take(struct pool *p, void **out, uint32_t n)
{
	uint32_t index[POOL_BATCH], free, unused, work;
	uintptr_t first = 0;

	lock_take(&p->lock);
	work = p->fresh_chunk;
	free = stack_pop(p, index, n);
	n = free > 0 ? free : fresh_take(p, n, &first, &unused);
	work = n + p->fresh_chunk - work;
	claim(p, n);
	lock_drop(&p->lock);
	for (uint32_t i = 0; i < free; i++) {
		out[i] = (void *)address_of(p, index[i], &work);
		__builtin_prefetch(out[i], 1);
	}
	work_note(&p->alloc_work_max, work);
	if (free > 0)
		return free;
	make(p, first, n);
	for (uint32_t i = 0; i < n; i++)
		out[i] = (void *)(first + (uint64_t)(n - 1 - i) * p->stride); /* the lowest is taken first */
	return n;
}

/* Takes back up to POOL_BATCH objects. */
static void shared_give_some(struct pool *p, unsigned cpu, void *const *objects, uint32_t n)
{
	uint32_t index[POOL_BATCH], own = 0, work = n;
	void *object[POOL_BATCH];

	for (uint32_t i = 0; i < n; i++) {
		if (index_of(p, objects[i], &index[own], &work)) {
			MM_ASSERT(index[own] < p->most, objects[i], p);
			object[own++] = objects[i];
			continue;
		}
		MM_ASSERT(p->fallback && figure(&p->from_fallback) > 0, objects[i], p);
		figure_add(&p->from_fallback, (uint64_t)-1);
		heap_free(p->fallback, cpu, objects[i], p->bytes);
	}
	lock_take(&p->lock);
	for (uint32_t i = 0; i < own; i++)
		stack_push(p, index[i], object[i]);
	__atomic_store_n(&p->claimed, p->claimed - own, __ATOMIC_RELAXED);
	lock_drop(&p->lock);
	work_note(&p->free_work_max, work);
}

static void shared_give(struct pool *p, unsigned cpu, void *const *objects, size_t n)
{
	for (size_t some; n > 0; n -= some, objects += some) {
		some = n < POOL_BATCH ? n : POOL_BATCH;
		shared_give_some(p, cpu, objects, (uint32_t)some);
	}
}

/* ---- chunks ---- */

enum want { WANT_ANY, WANT_FRESH }; /* pool_prime() has no use for what is free */

/* Whether there is, or will soon be without the source, what is wanted. The caller
 * found nothing, but that was before it took the lock. p->lock is held. */
static bool wanted_there(struct pool *p, enum want want)
{
	return fresh_there(p) || (want == WANT_ANY && (p->depth > 0 || p->priming > 0));
}

/* How many objects the next chunk has, which is reserved; 0: the bound is reached.
 * False: none is needed, or the bound is reached, but by what somebody else is asking for now. */
static bool chunk_reserve(struct pool *p, enum want want, uint32_t *count)
{
	uint32_t there;
	bool known = false;

	*count = 0;
	lock_take(&p->lock);
	if (!wanted_there(p, want)) {
		there = p->made + p->coming;
		*count = lesser(there > 0 ? there : p->first_count, p->most - there);
		known = *count > 0 || p->coming == 0;
		p->coming += *count;
	}
	lock_drop(&p->lock);
	return known;
}

/* What was reserved has come to `base`; 0: it has not. Whether there is now what is
 * wanted. What others ask for does not count: two that are refused would ask forever. */
static bool chunk_publish(struct pool *p, enum want want, uintptr_t base, uint32_t count)
{
	bool there;

	lock_take(&p->lock);
	p->coming -= count;
	if (base) {
		MM_ASSERT(p->chunks < POOL_CHUNKS, p->chunks, count);
		p->chunk[p->chunks] = (struct pool_chunk){.base = base, .first = p->made, .count = count};
		p->made += count;
		__atomic_store_n(&p->chunks, p->chunks + 1, __ATOMIC_RELEASE);
	}
	there = base || wanted_there(p, want);
	lock_drop(&p->lock);
	return there;
}

/* False: there will be no more of what is wanted. True: it is worth to look again. */
static bool grow(struct pool *p, unsigned cpu, enum want want)
{
	uint32_t count;
	void *memory;
	enum mm_err err;

	if (!chunk_reserve(p, want, &count)) {
		mm_yield();
		return true;
	}
	if (count == 0)
		return false;
	err = p->source.take(p->source.self, cpu, (size_t)count * p->stride, p->align, &memory);
	MM_ASSERT(err != MM_OK || (memory && (uintptr_t)memory % p->align == 0), memory, p->align);
	return chunk_publish(p, want, err == MM_OK ? (uintptr_t)memory : 0, count);
}

/* ---- calls ---- */

static uint32_t fallback_take(struct pool *p, unsigned cpu, void **out)
{
	void *object = p->fallback ? heap_alloc_aligned(p->fallback, cpu, p->bytes, p->align) : NULL;

	if (!object) {
		figure_add(&p->refused, 1);
		return 0;
	}
	make(p, (uintptr_t)object, 1);
	*out = object;
	figure_add(&p->from_fallback, 1);
	lock_take(&p->lock);
	claim(p, 0);
	lock_drop(&p->lock);
	return 1;
}

/* From 1 to n (POOL_BATCH at most) objects, from wherever there are; 0: refused. */
static uint32_t obtain(struct pool *p, unsigned cpu, void **out, uint32_t n)
{
	uint32_t got;

	if (fail_nth_now(&p->fail_after)) {
		figure_add(&p->refused, 1);
		return 0;
	}
	do {
		got = shared_take(p, out, n);
		if (got > 0)
			return got;
	} while (grow(p, cpu, WANT_ANY));
	return fallback_take(p, cpu, out);
}

static void top_set(struct pool_cpu *own, void **top)
{
	__atomic_store_n(&own->top, top, __ATOMIC_RELAXED);
}

void *pool_alloc_slow(struct pool *p, unsigned cpu)
{
	struct pool_cpu *own = cpu_of(p, cpu);
	void *object;
	uint32_t n;

	if (p->rounds == 0)
		return obtain(p, cpu, &object, 1) ? object : NULL;
	n = obtain(p, cpu, own->round, (p->rounds + 1) / 2);
	if (n == 0)
		return NULL;
	top_set(own, own->round + n - 1);
	return own->round[n - 1];
}

/* Half of the rounds go, those that came first: the others are warmer. */
void pool_free_slow(struct pool *p, unsigned cpu, void *object)
{
	struct pool_cpu *own = cpu_of(p, cpu);
	uint32_t gone = (p->rounds + 1) / 2, left = p->rounds - gone;

	if (p->rounds == 0) {
		shared_give(p, cpu, &object, 1);
		return;
	}
	shared_give(p, cpu, own->round, gone);
	__builtin_memmove(own->round, own->round + gone, left * sizeof(own->round[0]));
	own->round[left] = object;
	top_set(own, own->round + left + 1);
}

bool pool_alloc_many(struct pool *p, unsigned cpu, void **out, size_t n)
{
	struct pool_cpu *own = cpu_of(p, cpu);
	size_t there = (size_t)(own->top - own->round), got = n < there ? n : there;
	void **from = own->top - got;

	__builtin_memcpy(out, from, got * sizeof(*out));
	for (uint32_t more; got < n; got += more) {
		more = obtain(p, cpu, out + got, n - got < POOL_BATCH ? (uint32_t)(n - got) : POOL_BATCH);
		if (more == 0) {
			there = n < there ? n : there;
			shared_give(p, cpu, out + there, got - there);
			return false;
		}
	}
	top_set(own, from);
	return true;
}

void pool_free_many(struct pool *p, unsigned cpu, void *const *objects, size_t n)
{
	struct pool_cpu *own = cpu_of(p, cpu);
	size_t room = (size_t)(own->limit - own->top), kept = n < room ? n : room;

	__builtin_memcpy(own->top, objects, kept * sizeof(*objects));
	top_set(own, own->top + kept);
	shared_give(p, cpu, objects + kept, n - kept);
}

void pool_drain(struct pool *p, unsigned cpu)
{
	struct pool_cpu *own = cpu_of(p, cpu);

	shared_give(p, cpu, own->round, (size_t)(own->top - own->round));
	top_set(own, own->round);
}

/* Up to n objects that were fresh are priming; 0: none is fresh. */
static uint32_t prime_take(struct pool *p, size_t n, uintptr_t *first, uint32_t *index)
{
	uint32_t some;

	lock_take(&p->lock);
	some = fresh_take(p, n < POOL_BATCH ? (uint32_t)n : POOL_BATCH, first, index);
	p->priming += some;
	lock_drop(&p->lock);
	return some;
}

/* They are made and become free, the first of them to be taken first. */
static void prime_give(struct pool *p, uint32_t index, uint32_t n)
{
	lock_take(&p->lock);
	for (uint32_t i = 1; i <= n; i++)
		stack_push(p, index + n - i, p);
	p->priming -= n;
	lock_drop(&p->lock);
}

size_t pool_prime(struct pool *p, unsigned cpu, size_t n)
{
	uint32_t some, index;
	uintptr_t first;
	size_t primed = 0;

	while (primed < n) {
		some = prime_take(p, n - primed, &first, &index);
		if (some == 0 && !grow(p, cpu, WANT_FRESH))
			break;
		if (some == 0)
			continue;
		make(p, first, some);
		prime_give(p, index, some);
		primed += some;
	}
	return primed;
}

/* ---- figures, checks ---- */

static uint64_t cached(const struct pool *p)
{
	uint64_t n = 0;

	for (unsigned cpu = 0; cpu < p->front.cpus; cpu++) {
		const struct pool_cpu *c = cpu_of(p, cpu);

		n += (uint64_t)(__atomic_load_n(&c->top, __ATOMIC_RELAXED) - c->round);
	}
	return n;
}

struct pool_stats pool_stats_read(const struct pool *p)
{
	struct pool_stats s = {.objects_cached = cached(p),
			       .objects_fallback = figure(&p->from_fallback),
			       .objects_live_max = figure(&p->claimed_max),
			       .refused = figure(&p->refused),
			       .alloc_work_max = __atomic_load_n(&p->alloc_work_max, __ATOMIC_RELAXED),
			       .free_work_max = __atomic_load_n(&p->free_work_max, __ATOMIC_RELAXED)};
	uint64_t claimed = figure(&p->claimed), all = claimed + s.objects_fallback, fresh, made = 0;

	s.chunks = __atomic_load_n(&p->chunks, __ATOMIC_ACQUIRE);
	for (uint32_t i = 0; i < s.chunks; i++) {
		fresh = p->chunk[i].count - __atomic_load_n(&p->chunk[i].fresh, __ATOMIC_RELAXED);
		s.objects_fresh += fresh;
		made += p->chunk[i].count;
	}
	s.objects_live = all > s.objects_cached ? all - s.objects_cached : 0;
	s.objects_free = made > claimed + s.objects_fresh ? made - claimed - s.objects_fresh : 0;
	s.bytes_asked = s.objects_live * p->bytes;
	s.bytes_given = s.objects_live * p->stride;
	s.bytes_held = made * p->stride;
	return s;
}

/* I1, I2; and nothing is under way. */
static bool chunks_hold(const struct pool *p, uint64_t *fresh)
{
	uint64_t made = 0;

	*fresh = 0;
	for (uint32_t i = 0; i < p->chunks; i++) {
		const struct pool_chunk *c = &p->chunk[i];

		if (c->first != made || c->count == 0 || c->fresh > c->count || c->base % p->align != 0)
			return false;
		if (i < p->fresh_chunk && c->fresh != c->count)
			return false;
		for (uint32_t j = 0; j < i; j++)
			if (c->base < p->chunk[j].base + (uint64_t)p->chunk[j].count * p->stride &&
			    p->chunk[j].base < c->base + (uint64_t)c->count * p->stride)
				return false;
		made += c->count;
		*fresh += c->count - c->fresh;
	}
	return made == p->made && made <= p->most && p->coming == 0 && p->priming == 0 && p->fresh_chunk <= p->chunks;
}

/* I3: each entry's bit is turned off, so that a second one finds it so; then all are as they were. */
static bool stack_holds(const struct pool *p)
{
	uint32_t i, index, work = 0;
	bool ok;

	for (i = 0; i < p->depth; i++) {
		if (p->stack[i] >= p->made || !index_of(p, (void *)address_of(p, p->stack[i], &work), &index, &work) ||
		    index != p->stack[i] || !(*word_of(p, index) & bit_of(index)))
			break;
		*word_of(p, index) ^= bit_of(index);
	}
	ok = i == p->depth;
	for (uint32_t word = 0; ok && word < (p->most + 63) / 64; word++)
		ok = p->map[word] == 0;
	while (i-- > 0)
		*word_of(p, p->stack[i]) |= bit_of(p->stack[i]);
	return ok;
}

/* Whether the bit is as it should be; turns it over. */
static bool turn(const struct pool *p, uint32_t index, bool was)
{
	bool is = (*word_of(p, index) & bit_of(index)) != 0;

	*word_of(p, index) ^= bit_of(index);
	return is == was;
}

/* I5, I6: likewise, bits that are off are turned on. */
static bool rounds_hold(const struct pool *p)
{
	uint64_t outside = 0;
	uint32_t index, work = 0;
	bool ok = true;

	for (unsigned cpu = 0; cpu < p->front.cpus; cpu++) {
		const struct pool_cpu *c = cpu_of(p, cpu);

		if (c->limit != c->round + p->rounds || c->top < c->round || c->top > c->limit)
			return false;
	}
	for (int turned = 0; turned < 2; turned++) {
		for (unsigned cpu = 0; cpu < p->front.cpus; cpu++) {
			const struct pool_cpu *c = cpu_of(p, cpu);

			for (void *const *round = c->round; round < c->top; round++) {
				if (!index_of(p, *round, &index, &work))
					outside++;
				else if (index >= p->made || !turn(p, index, turned))
					ok = false;
			}
		}
	}
	return ok && outside / 2 <= p->from_fallback;
}

bool pool_check(const struct pool *p)
{
	uint64_t fresh;

	if (!chunks_hold(p, &fresh) || p->depth > p->made || p->claimed + p->depth + fresh != p->made ||
	    p->claimed_max < p->claimed)
		return false;
	return stack_holds(p) && rounds_hold(p) && cached(p) <= p->claimed + p->from_fallback;
}

void pool_fail_after(struct pool *p, uint64_t n)
{
	__atomic_store_n(&p->fail_after, n, __ATOMIC_RELAXED);
}

/* ---- set up ---- */

static size_t round_up(size_t n, size_t align)
{
	return (n + align - 1) & ~(align - 1);
}

static uint32_t align_of(const struct pool_config *config)
{
	if (config->align == 0)
		return HEAP_ALIGN;
	return config->align < sizeof(void *) ? (uint32_t)sizeof(void *) : config->align;
}

static bool in_range(uint32_t n, uint32_t least, uint32_t most)
{
	return n >= least && n <= most;
}

static bool config_holds(const struct pool_config *c)
{
	return in_range(c->bytes, 1, POOL_OBJECT_BYTES_MAX) && c->align <= FRAME_BYTES &&
	       (c->align & (c->align - 1)) == 0 && in_range(c->most, 1, POOL_OBJECTS_MAX) && c->first <= c->most &&
	       in_range(c->cpus, 1, POOL_CPUS_MAX) && c->rounds <= POOL_ROUNDS_MAX &&
	       round_up(c->bytes, align_of(c)) * c->most <= POOL_BYTES_MAX;
}

struct parts { /* of meta; offsets from the pool, which begins at a multiple of 128 */
	size_t map, stack, end;
};

static struct parts parts_of(const struct pool_config *c)
{
	struct parts p;

	p.map = POOL_CPU_AT + (size_t)c->cpus * POOL_APART;
	p.stack = p.map + ((size_t)c->most + 63) / 64 * sizeof(uint64_t);
	p.end = p.stack + (size_t)c->most * sizeof(uint32_t);
	return p;
}

size_t pool_meta_bytes(const struct pool_config *config)
{
	return config_holds(config) ? parts_of(config).end + 64 : 0;
}

enum mm_err pool_init(void *meta, size_t meta_bytes, const struct pool_config *config, struct pool **out)
{
	struct parts parts;
	struct pool *p;

	if (!config_holds(config) || !config->source.take || !config->source.give)
		return MM_EINVAL;
	parts = parts_of(config);
	if (!meta || (uintptr_t)meta % 64 != 0 || meta_bytes < parts.end + 64)
		return MM_EINVAL;
	p = (struct pool *)(void *)((unsigned char *)meta + (uintptr_t)meta % 128);
	__builtin_memset(p, 0, parts.stack);
	p->front.cpus = config->cpus;
	p->bytes = config->bytes;
	p->align = align_of(config);
	p->stride = (uint32_t)round_up(config->bytes, p->align);
	p->reciprocal = UINT64_MAX / p->stride + 1;
	p->rounds = config->rounds;
	p->most = config->most;
	p->first_count = config->first > 0 ? config->first : config->most;
	p->pattern = config->pattern;
	p->fill = config->fill ? config->fill : fill_plain;
	p->source = config->source;
	p->fallback = config->fallback;
	p->map = (uint64_t *)(void *)((unsigned char *)p + parts.map);
	p->stack = (uint32_t *)(void *)((unsigned char *)p + parts.stack);
	for (unsigned cpu = 0; cpu < config->cpus; cpu++) {
		struct pool_cpu *c = cpu_of(p, cpu);

		c->top = c->round;
		c->limit = c->round + p->rounds;
	}
	*out = p;
	return MM_OK;
}

enum mm_err pool_destroy(struct pool *p, unsigned cpu)
{
	if (p->claimed + p->from_fallback != cached(p))
		return MM_EBUSY;
	for (unsigned c = 0; c < p->front.cpus; c++) {
		struct pool_cpu *own = cpu_of(p, c);

		shared_give(p, cpu, own->round, (size_t)(own->top - own->round));
		own->top = own->round;
	}
	for (uint32_t i = 0; i < p->chunks; i++)
		p->source.give(p->source.self, cpu, (void *)p->chunk[i].base, (size_t)p->chunk[i].count * p->stride);
	p->chunks = 0;
	return MM_OK;
}
