/* tests/unit/test_slab.c: mm/slab against a model that knows who has which bytes.
 * What it does not see: speed (the bench's), and that a CPU's fast path writes no
 * line of another's (only the layout is asserted). */
#include <check.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "mm/slab_impl.h"
#include "tests/unit/random.h"

#undef fail

#define SUPPLY_FRAMES 8192u /* 32 MiB of addresses */
#define SUPPLY_BYTES  (SUPPLY_FRAMES * FRAME_BYTES)
#define NOTHING	      0xffu

/* ck_assert() for what is asked a million times: it writes to a file each time. */
#define HOLDS(expression)                                                                                              \
	do {                                                                                                           \
		if (!(expression))                                                                                     \
			ck_abort_msg("%s", #expression);                                                               \
	} while (0)

/* ---- a source that counts ---- */

struct supply {
	pthread_mutex_t lock;
	char *base;
	uint8_t order[SUPPLY_FRAMES]; /* of the run that starts here; NOTHING: none does */
	bool taken[SUPPLY_FRAMES];
	uint64_t frames_out, frames_max; /* now; at most */
	uint64_t asked, given;		 /* calls */
	bool misaligned;
	struct slab_cache *reaper; /* once, in the midst of a call that asks for memory, CPU 1 reaps it */
};

static void supply_open(struct supply *s)
{
	size_t align = FRAME_BYTES << SLAB_ORDER_MAX;
	char *all = mmap(NULL, SUPPLY_BYTES + align, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	ck_assert_ptr_ne(all, MAP_FAILED);
	memset(s, 0, sizeof(*s));
	memset(s->order, NOTHING, sizeof(s->order));
	pthread_mutex_init(&s->lock, NULL);
	s->base = (char *)(((uintptr_t)all + align - 1) & ~(align - 1));
	s->frames_max = SUPPLY_FRAMES;
}

static bool run_is_free(const struct supply *s, uint32_t first, uint32_t frames)
{
	for (uint32_t i = 0; i < frames; i++)
		if (s->taken[first + i])
			return false;
	return true;
}

static enum mm_err supply_take(void *self, unsigned cpu, unsigned order, void **out)
{
	struct supply *s = self;
	uint32_t frames = UINT32_C(1) << order, first = 0;
	enum mm_err err = MM_ENOMEM;

	(void)cpu;
	if (s->reaper) {
		struct slab_cache *c = s->reaper;

		s->reaper = NULL;
		slab_reap(c, 1, true);
	}
	pthread_mutex_lock(&s->lock);
	s->asked++;
	while (first < SUPPLY_FRAMES && !run_is_free(s, first, frames))
		first += frames;
	if (first < SUPPLY_FRAMES && s->frames_out + frames <= s->frames_max) {
		memset(&s->taken[first], true, frames);
		s->order[first] = (uint8_t)order;
		s->frames_out += frames;
		*out = s->base + first * FRAME_BYTES + (s->misaligned ? SLAB_LINE : 0);
		err = MM_OK;
	}
	pthread_mutex_unlock(&s->lock);
	return err;
}

static void supply_give(void *self, unsigned cpu, unsigned order, void *slab)
{
	struct supply *s = self;
	uint64_t first = (uint64_t)((char *)slab - s->base) / FRAME_BYTES;

	(void)cpu;
	pthread_mutex_lock(&s->lock);
	s->given++;
	if (first >= SUPPLY_FRAMES || s->order[first] != order || ((struct slab *)slab)->seal != 0)
		abort();
	s->order[first] = NOTHING;
	memset(&s->taken[first], false, (size_t)1 << order);
	s->frames_out -= UINT64_C(1) << order;
	memset(slab, 0xdd, FRAME_BYTES); /* whoever still looks at its header is found out */
	pthread_mutex_unlock(&s->lock);
}

/* ---- a cache over it ---- */

struct world {
	struct supply supply;
	struct slab_config config;
	struct slab_cache *c;
	void *meta;
};

static struct slab_cache *cache_open(struct world *w)
{
	size_t bytes = slab_meta_bytes(w->config.cpus);

	w->config.source = (struct slab_source){&w->supply, supply_take, supply_give};
	w->meta = aligned_alloc(SLAB_LINE, (bytes + SLAB_LINE - 1) / SLAB_LINE * SLAB_LINE);
	ck_assert_int_eq(slab_init(w->meta, bytes, &w->config, &w->c), MM_OK);
	return w->c;
}

static struct slab_cache *world_open(struct world *w, uint32_t bytes, uint32_t align, unsigned cpus)
{
	memset(w, 0, sizeof(*w));
	supply_open(&w->supply);
	w->config = (struct slab_config){.bytes = bytes, .align = align, .cpus = cpus};
	return cache_open(w);
}

static void cache_close(struct world *w)
{
	ck_assert(slab_check(w->c));
	ck_assert_int_eq(slab_destroy(w->c), MM_OK);
	ck_assert_uint_eq(w->supply.frames_out, 0);
	free(w->meta);
}

static void *get(struct slab_cache *c, unsigned cpu)
{
	void *object = slab_alloc(c, cpu);

	HOLDS(object);
	return object;
}

static void get_many(struct slab_cache *c, unsigned cpu, void **objects, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		objects[i] = get(c, cpu);
}

static void free_many(struct slab_cache *c, unsigned cpu, void **objects, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		slab_free(c, cpu, objects[i]);
}

/* ---- owners that vanish ---- */

/* CPU 1 with two magazines, or one, or none: what lies in them is lost, and nothing else. */
START_TEST(abandoned)
{
	struct world w;
	struct slab_cache *c = world_open(&w, 64, 0, 2);
	void *objects[200], *own = get(c, 0);
	uint64_t lost = 0;

	ck_assert_uint_eq(slab_order(c), c->objects.geometry.order);
	for (unsigned n = 0; n < 200; n += 33) {
		uint64_t live = slab_stats_read(c).objects_live, cached;

		get_many(c, 1, objects, n);
		free_many(c, 1, objects, n);
		cached = (uint64_t)(c->cpu[1].hot.top - c->cpu[1].base) + c->cpu[1].previous_rounds;
		slab_abandon(c, 1);
		ck_assert(slab_check(c));
		ck_assert_ptr_null(c->cpu[1].loaded);
		ck_assert_ptr_null(c->cpu[1].previous);
		ck_assert_uint_eq(slab_stats_read(c).objects_live, live + cached);
		lost += cached;
	}
	ck_assert_uint_gt(lost, 100);
	slab_free(c, 0, own);
	slab_reap(c, 0, true);
	ck_assert_uint_eq(slab_stats_read(c).objects_live, lost);
	ck_assert_int_eq(slab_destroy(c), MM_EBUSY);
	free(w.meta);
}
END_TEST

/* CPU 1 with two magazines, or one, or none: all that lies in them is in slabs again, and CPU 0 can give those back. */
START_TEST(flushed)
{
	struct world w;
	struct slab_cache *c = world_open(&w, 64, 0, 2);
	void *objects[200], *own = get(c, 0);

	for (unsigned n = 0; n < 200; n += 33) {
		get_many(c, 1, objects, n);
		free_many(c, 1, objects, n);
		slab_flush(c, 1);
		ck_assert(slab_check(c));
		ck_assert_ptr_null(c->cpu[1].loaded);
		ck_assert_ptr_null(c->cpu[1].previous);
		ck_assert_uint_eq(slab_stats_read(c).objects_live, 1);
	}
	slab_free(c, 0, own);
	slab_reap(c, 0, true);
	ck_assert_uint_eq(slab_stats_read(c).slabs, 0);
	slab_flush(c, 0); /* who has nothing */
	ck_assert_int_eq(slab_destroy(c), MM_OK);
	free(w.meta);
}
END_TEST

/* Parts of CPUs that never called are not even looked at. */
START_TEST(zeroed_metadata)
{
	struct world w = {.config = {.bytes = 64, .cpus = 64, .meta_zeroed = true}};
	size_t bytes = slab_meta_bytes(64);
	char *meta = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	unsigned char there[4] = {0};
	void *objects[300];

	supply_open(&w.supply);
	w.config.source = (struct slab_source){&w.supply, supply_take, supply_give};
	ck_assert_int_eq(slab_init(meta, bytes, &w.config, &w.c), MM_OK);
	get_many(w.c, 0, objects, 300);
	free_many(w.c, 0, objects, 300);
	slab_reap(w.c, 0, true);
	slab_stats_read(w.c);
	ck_assert_int_eq(mincore(meta, bytes, there), 0);
	ck_assert(there[0] & 1);
	ck_assert(!(there[1] & 1) && !(there[2] & 1));
	ck_assert(slab_check(w.c));
	ck_assert_int_eq(slab_destroy(w.c), MM_OK);
	munmap(meta, bytes);
}
END_TEST

/* ---- arguments and layout ---- */

START_TEST(arguments)
{
	struct supply supply = {0};
	struct slab_source source = {&supply, supply_take, supply_give};
	struct slab_config good = {.bytes = 64, .cpus = 2, .source = source}, bad;
	size_t bytes = slab_meta_bytes(2);
	_Alignas(SLAB_LINE) static char meta[4096];
	struct slab_cache *c = NULL;

	ck_assert_uint_eq(slab_meta_bytes(0), 0);
	ck_assert_uint_eq(slab_meta_bytes(SLAB_CPUS_MAX + 1), 0);
	ck_assert_uint_gt(slab_meta_bytes(SLAB_CPUS_MAX), 0);
	ck_assert_uint_le(bytes, sizeof(meta));
#define REFUSED(...) ck_assert_int_eq(slab_init(__VA_ARGS__, &c), MM_EINVAL)
	REFUSED(NULL, bytes, &good);
	REFUSED(meta + 1, bytes, &good);
	REFUSED(meta + 32, bytes, &good);
	REFUSED(meta, bytes - 1, &good);
#define BAD(field, value)                                                                                              \
	do {                                                                                                           \
		bad = good;                                                                                            \
		bad.field = (value);                                                                                   \
		REFUSED(meta, sizeof(meta), &bad);                                                                     \
	} while (0)
	BAD(cpus, 0);
	BAD(cpus, SLAB_CPUS_MAX + 1);
	BAD(bytes, 0);
	BAD(bytes, SLAB_OBJECT_BYTES_MAX + 1);
	BAD(align, 3);
	BAD(align, 2 * FRAME_BYTES);
	BAD(source.take, NULL);
	BAD(source.give, NULL);
	ck_assert_ptr_null(c);
	ck_assert_int_eq(slab_init(meta, bytes, &good, &c), MM_OK);
	ck_assert(slab_check(c));
	ck_assert_int_eq(slab_destroy(c), MM_OK);
	ck_assert_uint_eq(supply.asked, 0);
}
END_TEST

/* Metadata that starts at any line: what two CPUs write is two lines apart all the same. */
START_TEST(cpus_are_apart)
{
	_Alignas(SLAB_APART) static char meta[4096];
	struct slab_config config = {.bytes = 64, .cpus = 3, .source = {NULL, supply_take, supply_give}};
	struct slab_cache *c;

	for (unsigned line = 0; line < 2; line++) {
		size_t bytes = slab_meta_bytes(config.cpus);

		memset(meta, 0xa5, sizeof(meta));
		ck_assert_int_eq(slab_init(meta + (size_t)line * SLAB_LINE, bytes, &config, &c), MM_OK);
		ck_assert_uint_eq((uintptr_t)&c->cpu[1] % SLAB_APART, 0);
		ck_assert_uint_eq((uintptr_t)&c->cpu[1] - (uintptr_t)&c->cpu[0], SLAB_APART);
		ck_assert_uint_eq((uintptr_t)&c->depot % SLAB_APART, 0);
		for (unsigned cpu = 0; cpu < config.cpus; cpu++)
			ck_assert_ptr_eq(slab_hot_of(c, cpu), &c->cpu[cpu].hot);
		ck_assert((char *)&c->cpu[config.cpus] <= meta + (size_t)line * SLAB_LINE + bytes);
		ck_assert_int_eq(meta[line * SLAB_LINE + bytes], (char)0xa5);
	}
}
END_TEST

static bool geometry_holds(const struct slab_geometry *g, uint32_t bytes, uint32_t align)
{
	uint64_t slab = FRAME_BYTES << g->order, last = g->head + (uint64_t)(g->colours - 1) * g->step;
	uint32_t natural = (bytes + align - 1) & ~(align - 1);

	for (uint32_t i = 0; i < g->objects; i++) {
		uint64_t offset = (uint64_t)i * g->stride;

		if (offset * g->reciprocal >> 40 != i || (offset + g->stride - 1) * g->reciprocal >> 40 != i)
			return false;
	}
	return g->order <= SLAB_ORDER_MAX && g->head % align == 0 && g->step % align == 0 && g->stride % align == 0 &&
	       g->stride >= bytes && g->head >= sizeof(struct slab) + (g->objects + 63) / 64 * 8 &&
	       last + (uint64_t)g->objects * g->stride <= slab &&
	       (slab - (uint64_t)g->objects * natural) * SLAB_WASTE_SHARE <= slab;
}

START_TEST(every_size_has_a_geometry)
{
	_Alignas(SLAB_LINE) static char meta[4096];
	struct slab_config config = {.cpus = 1, .source = {NULL, supply_take, supply_give}};
	struct slab_cache *c;

	for (config.bytes = 1; config.bytes <= SLAB_OBJECT_BYTES_MAX; config.bytes += 1 + config.bytes / 100) {
		for (config.align = 0; config.align <= FRAME_BYTES; config.align += config.align ? config.align : 1) {
			uint32_t align = config.align ? config.align : config.bytes < SLAB_LINE ? 16 : SLAB_LINE;

			if (slab_init(meta, sizeof(meta), &config, &c) != MM_OK ||
			    !geometry_holds(&c->objects.geometry, config.bytes, align))
				ck_abort_msg("%u bytes, aligned to %u", config.bytes, align);
		}
	}
	for (uint32_t i = 0; i < SLAB_SIZES; i++)
		ck_assert_uint_ge(c->magazines[i].geometry.stride, SLAB_MAGAZINE_WORDS_MIN * 8 << i);
}
END_TEST

/* Of any slab of an uncoloured cache, by each address in it. */
START_TEST(addresses_tell_objects)
{
	for (uint32_t bytes = 16; bytes <= 16384; bytes += 16 * (1 + bytes / 256)) {
		struct world w = {.config = {.bytes = bytes, .align = bytes & -bytes, .cpus = 1, .uncoloured = true}};
		struct slab_cache *c;
		struct slab_layout layout;
		const struct slab *slab;

		w.config.align = w.config.align < FRAME_BYTES ? w.config.align : (uint32_t)FRAME_BYTES;
		supply_open(&w.supply);
		c = cache_open(&w);
		layout = slab_layout_of(c);
		slab_free(c, 0, get(c, 0));
		slab = c->objects.list[SLAB_FULL] ? c->objects.list[SLAB_FULL] : c->objects.list[SLAB_PARTIAL];
		for (uint32_t at = slab->first; at < slab->first + c->objects.geometry.objects * bytes; at++)
			if (slab_layout_starts(&layout, (uintptr_t)slab + at) != ((at - slab->first) % bytes == 0))
				ck_abort_msg("%u of %u", at, bytes);
		cache_close(&w);
	}
}
END_TEST

/* Large objects of one slab and of two begin in different sets of a cache. */
START_TEST(colours)
{
	struct world w;
	struct slab_cache *c = world_open(&w, 4096, 0, 1);
	const struct slab_geometry *g = &c->objects.geometry;
	uint32_t first[2];
	void *objects[2][64];

	ck_assert_uint_eq(g->stride / SLAB_LINE % 2, 1);
	ck_assert_uint_gt(g->colours, 8);
	for (unsigned i = 0; i < 2; i++) {
		get_many(c, 0, objects[i], g->objects);
		first[i] = c->objects.list[SLAB_FULL]->first;
	}
	ck_assert_uint_eq(first[1], first[0] + g->step);
	for (unsigned i = 0; i < 2; i++)
		free_many(c, 0, objects[i], g->objects);
	cache_close(&w);
}
END_TEST

/* ---- one CPU ---- */

START_TEST(last_freed_comes_first)
{
	struct world w;
	struct slab_cache *c = world_open(&w, 100, 0, 1);
	void *a = get(c, 0), *b = get(c, 0);

	ck_assert_ptr_ne(a, b);
	ck_assert_uint_eq((uintptr_t)a % SLAB_LINE, 0);
	slab_free(c, 0, a);
	ck_assert_ptr_eq(get(c, 0), a);
	slab_free(c, 0, b);
	slab_free(c, 0, a);
	ck_assert_ptr_eq(get(c, 0), a);
	ck_assert_ptr_eq(get(c, 0), b);
	ck_assert_int_eq(slab_destroy(c), MM_EBUSY);
	ck_assert_uint_gt(w.supply.frames_out, 0);
	ck_assert(slab_check(c));
	slab_free(c, 0, a);
	slab_free(c, 0, b);
	cache_close(&w);
}
END_TEST

/* Where all that a usual call may touch is copied to. */
struct picture {
	char meta[4096], magazine[4096], object[4096];
};

static void picture_take(struct picture *p, const struct world *w, const void *object)
{
	const struct slab_magazine *m = w->c->cpu[0].loaded;

	memset(p, 0, sizeof(*p));
	memcpy(p->meta, w->meta, slab_meta_bytes(w->config.cpus));
	memcpy(p->magazine, m, sizeof(*m) + m->capacity * sizeof(void *));
	memcpy(p->object, object, w->config.bytes);
}

/* A call that the loaded magazine serves moves top, and a free writes its round: no
 * other byte changes. It does not even look at drain, as what is out of line does. */
START_TEST(the_usual_call_writes_two_words)
{
	static struct picture before, after;
	struct world w;
	struct slab_cache *c = world_open(&w, 96, 0, 2);
	struct slab_cpu *p = &c->cpu[0];
	void *first = get(c, 0), *last = get(c, 0), **top = p->hot.top;

	memset(last, 0x5a, 96);
	p->drain = 1;
	picture_take(&before, &w, last);
	slab_free(c, 0, first);
	ck_assert_ptr_eq(p->hot.top, top + 1);
	ck_assert_ptr_eq(*top, first);
	picture_take(&after, &w, last);
	memcpy(after.meta + ((char *)&p->hot.top - (char *)w.meta), &top, sizeof(top));
	ck_assert_mem_eq(after.meta, before.meta, sizeof(after.meta));
	memcpy(before.magazine + ((char *)top - (char *)p->loaded), top, sizeof(*top));
	ck_assert_mem_eq(after.magazine, before.magazine, sizeof(after.magazine));
	picture_take(&before, &w, first);
	ck_assert_ptr_eq(get(c, 0), first);
	ck_assert_ptr_eq(p->hot.top, top);
	picture_take(&after, &w, first);
	top++;
	memcpy(after.meta + ((char *)&p->hot.top - (char *)w.meta), &top, sizeof(top));
	ck_assert_mem_eq(&after, &before, sizeof(after));
	ck_assert_uint_eq(p->drain, 1);
	p->drain = 0;
	free_many(c, 0, (void *[]){first, last}, 2);
	cache_close(&w);
}
END_TEST

/* What is out of line is the whole call, also where the inlined part would have sufficed. */
START_TEST(the_slow_calls_are_whole)
{
	struct world w;
	struct slab_cache *c = world_open(&w, 64, 0, 1);
	void *a = slab_alloc_slow(c, 0), *b = slab_alloc_slow(c, 0);
	void **top = c->cpu[0].hot.top;

	ck_assert_ptr_ne(a, b);
	slab_free_slow(c, 0, a);
	ck_assert_ptr_eq(c->cpu[0].hot.top, top + 1);
	ck_assert_ptr_eq(get(c, 0), a);
	slab_free(c, 0, b);
	ck_assert_ptr_eq(slab_alloc_slow(c, 0), b);
	ck_assert(slab_check(c));
	slab_free_slow(c, 0, a);
	slab_free_slow(c, 0, b);
	cache_close(&w);
}
END_TEST

/* A magazine is used to its last round and its last place before anything else is. */
START_TEST(the_bounds_are_exact)
{
	struct world w;
	struct slab_cache *c = world_open(&w, 64, 0, 1);
	struct slab_cpu *p = &c->cpu[0];
	static void *objects[200];
	struct slab_magazine *loaded;
	unsigned n = 1;

	objects[0] = get(c, 0);
	loaded = p->loaded;
	while (p->hot.top > p->base)
		objects[n++] = get(c, 0);
	ck_assert_uint_eq(c->objects.claimed, n);
	ck_assert_ptr_eq(p->loaded, loaded);
	objects[n++] = get(c, 0);
	ck_assert_uint_gt(c->objects.claimed, n);
	while (p->hot.top < p->base + loaded->capacity)
		slab_free(c, 0, objects[--n]);
	ck_assert_ptr_eq(p->loaded, loaded);
	ck_assert_ptr_eq(loaded->round[loaded->capacity - 1], objects[n]);
	slab_free(c, 0, objects[--n]);
	ck_assert_ptr_ne(p->loaded, loaded);
	ck_assert_ptr_eq(p->base[0], objects[n]);
	free_many(c, 0, objects, n);
	cache_close(&w);
}
END_TEST

START_TEST(figures)
{
	struct world w;
	struct slab_cache *c = world_open(&w, 60, 0, 2);
	static void *objects[1000];
	struct slab_stats s = slab_stats_read(c);
	uint32_t each = c->objects.geometry.objects;

	ck_assert_uint_eq(s.slabs + s.slabs_empty + s.objects_live + s.objects_live_max + s.bytes_held, 0);
	ck_assert_uint_ge(s.magazine_rounds, SLAB_MAGAZINE_WORDS_MAX - 2);
	get_many(c, 0, objects, 1000);
	s = slab_stats_read(c);
	ck_assert_uint_eq(s.objects_live, 1000);
	ck_assert_uint_eq(s.objects_live_max, 1000);
	ck_assert_uint_eq(s.bytes_asked, 60000);
	ck_assert_uint_eq(s.bytes_given, 64000);
	ck_assert_uint_eq(s.bytes_held, w.supply.frames_out * FRAME_BYTES);
	ck_assert_uint_eq(s.objects_live + s.objects_cached + s.objects_free, s.slabs * each);
	free_many(c, 1, objects, 1000);
	s = slab_stats_read(c);
	ck_assert_uint_eq(s.objects_live, 0);
	ck_assert_uint_ge(s.objects_live_max, 1000 - 2 * s.magazine_rounds);
	ck_assert_uint_le(s.objects_live_max, 1000 + 2 * s.magazine_rounds);
	ck_assert_uint_eq(s.depot_contended, 0);
	slab_reap(c, 0, true);
	slab_reap(c, 1, true);
	s = slab_stats_read(c);
	ck_assert_uint_eq(s.slabs + s.objects_cached + s.bytes_held, 0);
	cache_close(&w);
}
END_TEST

/* With one CPU even the greatest number is exact, if it is one at which a magazine ran out. */
START_TEST(live_max_of_one_cpu)
{
	struct world w;
	struct slab_cache *c = world_open(&w, 60, 0, 1);
	static void *objects[1000];

	for (unsigned i = 0; i < 2; i++) {
		get_many(c, 0, objects, 1000);
		ck_assert_uint_eq(slab_stats_read(c).objects_live_max, 1000);
		free_many(c, 0, objects, 1000);
	}
	cache_close(&w);
}
END_TEST

/* However its magazines stand, a CPU that swings about one number of live objects stays away from the depot. */
START_TEST(a_swing_at_the_edge_stays_with_the_cpu)
{
	struct world w;
	struct slab_cache *c = world_open(&w, 64, 0, 1);
	static void *objects[4000];
	unsigned m;

	get_many(c, 0, objects, 4000);
	free_many(c, 0, objects, 2000);
	m = slab_stats_read(c).magazine_rounds;
	for (unsigned offset = 0; offset < 2 * m; offset++) {
		unsigned visits = 0;

		slab_free(c, 0, objects[2000 + offset]);
		for (unsigned i = 0; i < 100; i++) {
			uint64_t rounds = c->depot.rounds;
			void *pair[2];

			get_many(c, 0, pair, 2);
			visits += c->depot.rounds != rounds;
			rounds = c->depot.rounds;
			free_many(c, 0, pair, 2);
			visits += c->depot.rounds != rounds;
		}
		ck_assert_uint_le(visits, 3);
	}
	free_many(c, 0, objects + 2000 + (size_t)2 * m, 2000 - 2 * m);
	cache_close(&w);
}
END_TEST

/* ---- the model ---- */

#define LIVE_MAX 400u

struct live {
	unsigned char *object;
	uint64_t mark;
};

struct model {
	struct live live[LIVE_MAX];
	unsigned n, room;
	uint64_t marks;
};

static const unsigned char made = 0x5a;

/* Ends of an object: where a neighbour would write. All bytes of a mark are the same, since they may overlap. */
static void ends(const struct world *w, unsigned char *object, uint64_t mark, bool check)
{
	uint32_t bytes = w->config.bytes, n = bytes >= 16 ? 8 : (bytes + 1) / 2;
	unsigned char *end[2] = {object, object + bytes - n};

	for (unsigned i = 0; i < 2; i++) {
		if (check)
			HOLDS(memcmp(end[i], &mark, n) == 0);
		else
			memcpy(end[i], &mark, n);
	}
}

static void make(void *self, void *object)
{
	uint64_t constructed;

	memset(&constructed, made, sizeof(constructed));
	ends(self, object, constructed, false);
}

static void model_alloc(struct world *w, struct model *m)
{
	struct live *l = &m->live[m->n];
	uint64_t constructed;
	uint32_t align = w->config.align ? w->config.align : w->config.bytes < SLAB_LINE ? 16 : SLAB_LINE;

	l->object = slab_alloc(w->c, (unsigned)below(w->config.cpus));
	if (!l->object) {
		HOLDS(w->supply.frames_max < SUPPLY_FRAMES);
		return;
	}
	HOLDS((uintptr_t)l->object % align == 0);
	HOLDS(l->object >= (unsigned char *)w->supply.base &&
	      l->object + w->config.bytes <= (unsigned char *)w->supply.base + SUPPLY_BYTES);
	memset(&constructed, made, sizeof(constructed));
	if (w->config.construct)
		ends(w, l->object, constructed, true);
	memset(&l->mark, (int)++m->marks, sizeof(l->mark));
	ends(w, l->object, l->mark, false);
	m->n++;
}

static void model_free(struct world *w, struct model *m)
{
	struct live *l = &m->live[below(m->n)];
	uint64_t constructed;

	ends(w, l->object, l->mark, true);
	memset(&constructed, made, sizeof(constructed));
	ends(w, l->object, constructed, false);
	slab_free(w->c, (unsigned)below(w->config.cpus), l->object);
	*l = m->live[--m->n];
}

/* Swings between full and empty, so that magazines come and go. */
static void model_run(struct world *w, struct model *m, unsigned steps)
{
	unsigned target = m->room;

	for (unsigned i = 0; i < steps; i++) {
		if (i % 512 == 0)
			target = (unsigned)below(m->room + 1);
		if (m->n < m->room && (m->n == 0 || below(8) < (m->n < target ? 7 : 1)))
			model_alloc(w, m);
		else
			model_free(w, m);
		if (below(400) == 0)
			slab_reap(w->c, (unsigned)below(w->config.cpus), below(4) == 0);
		if (below(250) == 0) {
			HOLDS(slab_check(w->c));
			HOLDS(slab_stats_read(w->c).objects_live == m->n);
		}
	}
}

static uint32_t random_bytes(void)
{
	return 1 + (uint32_t)below(UINT64_C(1) << below(17)) % SLAB_OBJECT_BYTES_MAX;
}

START_TEST(a_million_random_operations)
{
	static struct world w;
	static struct model m;

	seed(4);
	supply_open(&w.supply);
	for (unsigned round = 0; round < 250; round++) {
		w.config = (struct slab_config){.bytes = random_bytes(),
						.align = below(2) ? 0 : UINT32_C(1) << below(13),
						.cpus = 1 + (unsigned)below(4),
						.construct = below(2) ? make : NULL,
						.construct_self = &w};
		w.supply.frames_max = below(3) ? SUPPLY_FRAMES : below(600);
		cache_open(&w);
		m.room = w.config.bytes > 8192 ? LIVE_MAX / 4 : LIVE_MAX;
		model_run(&w, &m, 4000);
		while (m.n > 0)
			model_free(&w, &m);
		cache_close(&w);
	}
}
END_TEST

/* Many more objects than magazines hold. */
START_TEST(a_hundred_thousand_live)
{
	static struct world w;
	static void *objects[100000];
	struct slab_cache *c = world_open(&w, 64, 0, 2);

	seed(5);
	for (unsigned round = 0; round < 2; round++) {
		get_many(c, round, objects, 100000);
		for (unsigned i = 0; i < 100000; i++)
			*(uint64_t *)objects[i] = i;
		for (unsigned i = 99999; i > 0; i--) {
			unsigned j = (unsigned)below(i + 1);
			void *swap = objects[i];

			objects[i] = objects[j];
			objects[j] = swap;
		}
		free_many(c, 0, objects, 100000);
		ck_assert_uint_eq(slab_stats_read(c).objects_live, 0);
		ck_assert(slab_check(c));
	}
	cache_close(&w);
}
END_TEST

/* ---- giving back ---- */

START_TEST(an_interval_returns_what_nobody_needed)
{
	struct world w;
	struct slab_cache *c = world_open(&w, 64, 0, 1);
	static void *objects[5000];
	struct slab_stats s;
	uint64_t held;

	get_many(c, 0, objects, 5000);
	free_many(c, 0, objects, 5000);
	held = w.supply.frames_out;
	slab_reap(c, 0, false); /* all of it was needed in this interval */
	ck_assert_uint_eq(w.supply.frames_out, held);
	get_many(c, 0, objects, 2000);
	free_many(c, 0, objects, 2000);
	slab_reap(c, 0, false); /* 3000 were not: their magazines go to slabs, which are empty from now on */
	s = slab_stats_read(c);
	ck_assert_uint_le(s.objects_cached, 2000 + 3 * s.magazine_rounds);
	ck_assert_uint_ge(s.objects_cached, 2000);
	ck_assert_uint_eq(w.supply.frames_out, held);
	ck_assert(slab_check(c));
	slab_reap(c, 0, false);
	slab_reap(c, 0, false);
	slab_reap(c, 0, false);
	s = slab_stats_read(c);
	ck_assert_uint_le(s.objects_cached, 2 * s.magazine_rounds);
	ck_assert_uint_eq(c->depot.full.length + c->depot.empty.length, 0);
	ck_assert_uint_lt(w.supply.frames_out, held / 3);
	ck_assert(slab_check(c));
	cache_close(&w);
}
END_TEST

START_TEST(empty_magazines_and_slabs_wait_an_interval)
{
	struct world w;
	struct slab_cache *c = world_open(&w, 64, 0, 1);
	static void *objects[3000];

	get_many(c, 0, objects, 3000);
	free_many(c, 0, objects, 3000);
	get_many(c, 0, objects, 3000); /* the depot has empty magazines now */
	ck_assert_uint_gt(c->depot.empty.length, 5);
	slab_reap(c, 0, false);
	ck_assert_uint_gt(c->depot.empty.length, 5);
	slab_reap(c, 0, false);
	ck_assert_uint_eq(c->depot.empty.length, 0);
	free_many(c, 0, objects, 3000);
	for (unsigned i = 0; i < 4; i++)
		slab_reap(c, 0, false);
	ck_assert_uint_le(slab_stats_read(c).slabs_empty, 1);
	cache_close(&w);
}
END_TEST

/* What other CPUs hold comes back at their next call, be it alloc or free, and not before. */
START_TEST(other_cpus_are_asked)
{
	struct world w;
	struct slab_cache *c = world_open(&w, 256, 0, 4);
	void *object[4];

	for (unsigned cpu = 0; cpu < 4; cpu++)
		object[cpu] = get(c, cpu);
	slab_free(c, 0, object[0]);
	slab_reap(c, 0, true);
	ck_assert(slab_check(c));
	ck_assert_ptr_null(c->cpu[0].loaded);
	for (unsigned cpu = 1; cpu < 4; cpu++) {
		ck_assert_ptr_nonnull(c->cpu[cpu].loaded);
		ck_assert_uint_eq(c->cpu[cpu].drain, 1);
	}
	slab_free(c, 1, object[1]);
	ck_assert_uint_eq(slab_stats_read(c).objects_live, 2);
	ck_assert_uint_eq(c->cpu[1].drain, 0);
	ck_assert_uint_eq((uint64_t)(c->cpu[1].hot.top - c->cpu[1].base), 1); /* the rest went, then this one came */
	object[1] = get(c, 2);
	ck_assert_uint_eq(c->cpu[2].drain, 0);
	slab_reap(c, 3, false); /* is a call, too */
	ck_assert_uint_eq(c->cpu[3].drain, 0);
	ck_assert_ptr_null(c->cpu[3].loaded);
	free_many(c, 2, &object[1], 3);
	ck_assert(slab_check(c));
	cache_close(&w);
}
END_TEST

/* What an answer leaves empty goes back with it. */
START_TEST(an_answer_reaches_the_source)
{
	struct world w;
	struct slab_cache *c = world_open(&w, 256, 0, 2);

	slab_free(c, 1, get(c, 1));
	slab_reap(c, 0, true);
	ck_assert_uint_gt(w.supply.frames_out, 0);
	slab_reap(c, 1, false);
	ck_assert_uint_eq(w.supply.frames_out, 0);
	cache_close(&w);
}
END_TEST

/* A request that comes while its CPU is in the midst of a slow call is not lost. */
START_TEST(asked_in_the_middle)
{
	struct world w;
	struct slab_cache *c = world_open(&w, 256, 0, 2);
	void *a, *b;

	w.supply.reaper = c;
	a = get(c, 0);
	ck_assert_ptr_null(w.supply.reaper);
	ck_assert_uint_eq(c->cpu[0].drain, 1);
	ck_assert_ptr_null(c->cpu[0].hot.limit);
	ck_assert(slab_check(c));
	b = get(c, 0);
	ck_assert_uint_eq(c->cpu[0].drain, 0);
	ck_assert_ptr_nonnull(c->cpu[0].hot.limit);
	free_many(c, 0, (void *[]){a, b}, 2);
	cache_close(&w);
}
END_TEST

/* Bounds that an asker stops after the owner has already answered only cost a look. */
START_TEST(stopped_in_vain)
{
	struct world w;
	struct slab_cache *c = world_open(&w, 256, 0, 1);
	void *a = get(c, 0), *b = get(c, 0);
	struct slab_cpu *p = &c->cpu[0];

	for (unsigned i = 0; i < 2; i++) {
		p->hot.bottom = (void **)UINTPTR_MAX;
		p->hot.limit = NULL;
		ck_assert(slab_check(c));
		if (i == 0)
			slab_free(c, 0, a);
		else
			ck_assert_ptr_eq(get(c, 0), a);
		ck_assert_ptr_eq(p->hot.bottom, p->base);
		ck_assert_ptr_eq(p->hot.limit, p->base + p->loaded->capacity);
	}
	free_many(c, 0, (void *[]){a, b}, 2);
	cache_close(&w);
}
END_TEST

/* ---- refusals ---- */

/* The first allocation asks for a magazine and for objects. */
START_TEST(the_refusal_is_the_nth)
{
	for (uint64_t n = 0; n <= 3; n++) {
		struct world w;
		struct slab_cache *c = world_open(&w, 200, 0, 1);

		void *object;

		slab_fail_after(c, n);
		object = get(c, 0);
		ck_assert_int_eq(!c->cpu[0].loaded, n == 1);
		ck_assert_int_eq(c->cpu[0].hot.top == c->cpu[0].base, n == 1 || n == 2);
		ck_assert_uint_eq(c->fail_after, n == 3 ? 1 : 0);
		slab_free(c, 0, object);
		cache_close(&w);
	}
}
END_TEST

/* A walk through every place where the source is asked. How many allocations were refused. */
static unsigned scripted_walk(struct slab_cache *c, void **objects, unsigned n, uint64_t *live)
{
	unsigned refused = 0, got = 0;

	for (unsigned i = 0; i < n; i++) {
		void *object = slab_alloc(c, i % 2);

		if (object)
			objects[got++] = object;
		refused += !object;
	}
	*live = slab_stats_read(c).objects_live;
	ck_assert_uint_eq(*live, got);
	for (unsigned i = 0; i < got; i++) {
		memset(objects[i], 0x11, 8);
		slab_free(c, 1, objects[i]);
	}
	return refused;
}

START_TEST(one_refusal_at_every_point)
{
	static void *objects[1500];
	uint64_t live, n = 0;
	bool refused = true;

	while (refused) {
		struct world w;
		struct slab_cache *c = world_open(&w, 200, 0, 2);

		slab_fail_after(c, ++n);
		ck_assert_uint_eq(scripted_walk(c, objects, 1500, &live), 0); /* asked again, it had more */
		ck_assert_uint_eq(live, 1500);
		refused = c->fail_after == 0;
		ck_assert(slab_check(c));
		cache_close(&w);
		munmap(w.supply.base, SUPPLY_BYTES);
	}
	ck_assert_uint_gt(n, 20);
}
END_TEST

/* The source ends after any number of frames: live objects keep their content, and frames suffice to use them all. */
START_TEST(the_end_at_every_point)
{
	static void *objects[600];

	for (unsigned frames = 0; frames < 40; frames++) {
		struct world w;
		struct slab_cache *c = world_open(&w, 500, 0, 2);
		uint64_t live, again;
		struct slab_stats before, after;

		w.supply.frames_max = frames;
		ck_assert_uint_gt(scripted_walk(c, objects, 600, &live), 0);
		ck_assert(slab_check(c));
		scripted_walk(c, objects, 600, &again);
		ck_assert_uint_eq(again, live);
		/* Every slab that fits was made: magazines went back to make room for the last. */
		ck_assert_uint_eq(live, (frames >> c->objects.geometry.order) * c->objects.geometry.objects);
		for (live = 0; (objects[live] = slab_alloc(c, 0)); live++)
			memset(objects[live], (int)live, 500);
		before = slab_stats_read(c);
		ck_assert_ptr_null(slab_alloc(c, 0));
		after = slab_stats_read(c);
		ck_assert_uint_eq(after.objects_live, before.objects_live);
		ck_assert_uint_le(after.bytes_held, before.bytes_held);
		for (uint64_t i = 0; i < live; i++)
			for (unsigned b = 0; b < 500; b++)
				HOLDS(((unsigned char *)objects[i])[b] == (i & 0xff));
		ck_assert(slab_check(c));
		free_many(c, 1, objects, (unsigned)live);
		ck_assert(slab_check(c));
		cache_close(&w);
		munmap(w.supply.base, SUPPLY_BYTES);
	}
}
END_TEST

/* With slabs but no magazine to be had, objects pass one by one. */
START_TEST(no_magazine)
{
	struct world w;
	struct slab_cache *c = world_open(&w, 64, 0, 2);
	static void *objects[2000];
	uint64_t frames;

	get_many(c, 0, objects, 300);
	frames = w.supply.frames_out;
	slab_reap(c, 0, true);
	ck_assert_ptr_null(c->cpu[0].loaded);
	w.supply.frames_max = 0;
	slab_free(c, 0, objects[0]);
	ck_assert_ptr_null(c->cpu[0].loaded);
	ck_assert_ptr_eq(get(c, 0), objects[0]);
	ck_assert_ptr_null(c->cpu[0].loaded);
	ck_assert_uint_le(w.supply.frames_out, frames);
	free_many(c, 0, objects, 300);
	ck_assert_uint_eq(slab_stats_read(c).objects_live, 0);
	cache_close(&w);
}
END_TEST

/* Two magazines and no third: the previous one is emptied into its slabs. */
START_TEST(no_third_magazine)
{
	struct world w;
	struct slab_cache *c = world_open(&w, 64, 0, 1);
	static void *objects[3000];
	uint64_t left;

	get_many(c, 0, objects, 3000);
	left = c->magazines[0].geometry.objects;
	w.supply.frames_max = 0;
	free_many(c, 0, objects, 3000);
	ck_assert_uint_eq(slab_stats_read(c).objects_live, 0);
	ck_assert_uint_le(c->depot.full.length, left);
	ck_assert_uint_gt(slab_stats_read(c).objects_free, 1000);
	ck_assert(slab_check(c));
	cache_close(&w);
}
END_TEST

/* ---- wrong frees: each ends the program ---- */

static struct slab_cache *one_cache(void)
{
	static struct world w;

	return world_open(&w, 64, 0, 2);
}

START_TEST(freed_twice)
{
	struct slab_cache *c = one_cache();
	void *object = get(c, 0);

	slab_free(c, 0, object);
	slab_free(c, 0, object);
	slab_reap(c, 0, true);
}
END_TEST

START_TEST(freed_inside)
{
	struct slab_cache *c = one_cache();

	slab_free(c, 0, (char *)get(c, 0) + 16);
	slab_reap(c, 0, true);
}
END_TEST

START_TEST(freed_header)
{
	struct slab_cache *c = one_cache();

	slab_free(c, 0, (void *)((uintptr_t)get(c, 0) & ~(uintptr_t)0xfff));
	slab_reap(c, 0, true);
}
END_TEST

START_TEST(freed_past_the_last)
{
	static struct world w;
	struct slab_cache *c = world_open(&w, 64, 64, 2);
	char *object = get(c, 0);
	struct slab *slab = (struct slab *)((uintptr_t)object & ~((FRAME_BYTES << c->objects.geometry.order) - 1));

	c->objects.geometry.objects--;
	slab_free(c, 0, (char *)slab + slab->first + (size_t)c->objects.geometry.objects * 64);
	slab_reap(c, 0, true);
}
END_TEST

START_TEST(freed_to_another_cache)
{
	static struct world w;
	struct slab_cache *c = one_cache(), *other = world_open(&w, 64, 0, 1);

	slab_free(c, 0, get(other, 0));
	slab_reap(c, 0, true);
}
END_TEST

START_TEST(freed_null)
{
	struct slab_cache *c = one_cache();

	slab_free(c, 0, NULL);
	slab_reap(c, 0, true);
}
END_TEST

/* What follows the last CPU's part looks like one that could serve. */
static struct slab_cache *one_cpu_too_many(void)
{
	struct slab_cache *c = one_cache();

	ck_assert_ptr_nonnull(get(c, 1));
	c->front.cpus = 1;
	ck_assert_ptr_ne(c->cpu[1].hot.top, c->cpu[1].hot.limit);
	ck_assert_ptr_ne(c->cpu[1].hot.top, c->cpu[1].hot.bottom);
	return c;
}

START_TEST(wrong_cpu_alloc)
{
	ck_assert_ptr_null(slab_alloc(one_cpu_too_many(), 1));
}
END_TEST

START_TEST(wrong_cpu_free)
{
	struct slab_cache *c = one_cpu_too_many();

	slab_free(c, 1, get(c, 0));
}
END_TEST

START_TEST(wrong_cpu_slow)
{
	slab_free_slow(one_cpu_too_many(), 1, NULL);
}
END_TEST

START_TEST(wrong_cpu_reap)
{
	slab_reap(one_cache(), 2, false);
}
END_TEST

START_TEST(source_misaligns)
{
	static struct world w;
	struct slab_cache *c = world_open(&w, 64, 0, 1);

	w.supply.misaligned = true;
	ck_assert_ptr_nonnull(slab_alloc(c, 0));
}
END_TEST

/* ---- slab_check() objects ---- */

static struct slab_cache *spoilt;

/* A cache with slabs in each ring and magazines in each place. */
static struct slab_cache *rich_cache(void)
{
	static struct world w;
	static void *objects[6000], *more[400];
	struct slab_cache *c = world_open(&w, 64, 0, 2);

	get_many(c, 0, objects, 6000);
	free_many(c, 1, objects, 3000);
	for (unsigned i = 3000; i < 4000; i += 2)
		slab_free(c, 1, objects[i]);
	slab_reap(c, 1, false);
	slab_reap(c, 1, false); /* what is in the depot goes to slabs; these stay for one interval */
	free_many(c, 0, objects + 4000, 1000);
	get_many(c, 0, more, 400);
	for (unsigned list = 0; list < SLAB_LISTS; list++)
		ck_assert_uint_gt(c->objects.length[list], 1);
	ck_assert_uint_gt(c->depot.full.length, 1);
	ck_assert_uint_gt(c->depot.empty.length, 1);
	ck_assert_uint_gt(c->cpu[0].previous_rounds, 1);
	ck_assert_uint_gt((uint64_t)(c->cpu[0].hot.top - c->cpu[0].base), 1);
	ck_assert(slab_check(c));
	return spoilt = c;
}

#define SPOIL(place, value)                                                                                            \
	do {                                                                                                           \
		__typeof__(place) was = (place);                                                                       \
                                                                                                                       \
		(place) = (value);                                                                                     \
		ck_assert_msg(!slab_check(spoilt), "%s = %s", #place, #value);                                         \
		(place) = was;                                                                                         \
		ck_assert_msg(slab_check(spoilt), "after %s = %s", #place, #value);                                    \
	} while (0)

START_TEST(check_slabs)
{
	struct slab_cache *c = rich_cache();
	struct slab_store *s = &c->objects;
	struct slab *partial = s->list[SLAB_PARTIAL], *full = s->list[SLAB_FULL], *empty = s->list[SLAB_EMPTY];

	SPOIL(partial->seal, 0);
	SPOIL(partial->next->prev, partial->next);
	SPOIL(partial->first, partial->first + 1);
	SPOIL(partial->first, partial->first + s->geometry.colours * s->geometry.step);
	SPOIL(partial->first, partial->first - s->geometry.step);
	SPOIL(partial->free, partial->free + 1);
	SPOIL(full->map[0], 1);
	SPOIL(empty->map[0], empty->map[0] - 1);
	SPOIL(empty->map[0], UINT64_MAX); /* there are 63 objects */
	SPOIL(s->list[SLAB_PARTIAL], full);
	SPOIL(s->list[SLAB_PARTIAL], NULL);
	SPOIL(s->length[SLAB_PARTIAL], s->length[SLAB_PARTIAL] + 1);
	SPOIL(s->length[SLAB_FULL], s->length[SLAB_FULL] - 1);
	SPOIL(s->claimed, s->claimed + 1);
	SPOIL(s->empty_min, s->length[SLAB_EMPTY] + 1);
	SPOIL(c->magazines[0].claimed, 0);
	SPOIL(c->magazines[0].list[SLAB_FULL]->seal, 0);
}
END_TEST

START_TEST(check_magazines)
{
	struct slab_cache *c = rich_cache();
	struct slab_depot *d = &c->depot;
	struct slab_magazine *full = d->full.top, *empty = d->empty.top;

	SPOIL(d->size, SLAB_SIZES);
	SPOIL(full->size, 1);
	SPOIL(full->capacity, full->capacity - 1);
	SPOIL(empty->capacity, empty->capacity - 1);
	SPOIL(full->next, full->next->next);
	SPOIL(full->next, NULL);
	SPOIL(empty->next, empty->next->next);
	SPOIL(d->full.top, NULL);
	SPOIL(d->full.length, d->full.length - 1);
	SPOIL(d->full.length, d->full.length + 1);
	SPOIL(d->empty.length, d->empty.length + 1);
	SPOIL(d->full.length_min, d->full.length + 1);
	SPOIL(d->empty.length_min, d->empty.length + 1);
	SPOIL(d->rounds, d->rounds + 1);
	/* A magazine that nobody has. */
	d->empty.top = empty->next;
	d->empty.length--;
	ck_assert(!slab_check(c));
	d->empty.top = empty;
	d->empty.length++;
	ck_assert(slab_check(c));
	/* One that two have; the shelves themselves are in order. */
	c->cpu[0].loaded->next = empty->next->next;
	SPOIL(empty->next, c->cpu[0].loaded);
	c->cpu[0].previous->next = full->next->next;
	SPOIL(full->next, c->cpu[0].previous);
	SPOIL(c->cpu[0].previous, c->cpu[0].loaded);
}
END_TEST

START_TEST(check_rounds)
{
	struct slab_cache *c = rich_cache();
	struct slab_magazine *full = c->depot.full.top;
	struct slab *empty = c->objects.list[SLAB_EMPTY];
	void **round = full->round;

	SPOIL(round[3], round[4]);		       /* twice in one */
	SPOIL(round[3], full->next->round[3]);	       /* in two of the depot */
	SPOIL(round[3], c->cpu[0].previous->round[0]); /* with a CPU, too */
	SPOIL(round[3], c->cpu[0].base[0]);
	SPOIL(round[3], (char *)round[3] + 8);
	SPOIL(round[3], (char *)empty + empty->first); /* free in its slab */
	SPOIL(round[3], (void *)empty);
	SPOIL(round[3], NULL);
	SPOIL(c->cpu[0].base[0], c->cpu[0].base[1]);
	SPOIL(c->cpu[0].previous->round[0], c->cpu[0].base[1]);
}
END_TEST

START_TEST(check_cpus)
{
	struct slab_cache *c = rich_cache();
	struct slab_cpu *p = &c->cpu[0], *none = &c->cpu[1];

	slab_reap(c, 1, true);
	ck_assert_ptr_null(none->loaded);
	slab_free(c, 0, get(c, 0));
	slab_reap(c, 1, false);
	SPOIL(p->hot.top, p->base - 1);
	SPOIL(p->hot.top, p->base + p->loaded->capacity + 1);
	SPOIL(p->base, p->base + 1);
	SPOIL(p->hot.bottom, p->base + 1);
	SPOIL(p->hot.limit, p->hot.limit + 1);
	SPOIL(p->loaded, NULL);
	SPOIL(p->loaded->capacity, p->loaded->capacity + 1);
	SPOIL(p->drain, 1);
	SPOIL(p->previous_rounds, 1);
	SPOIL(none->previous_rounds, 1);
	SPOIL(none->base, p->base);
	SPOIL(none->hot.top, p->base);
	SPOIL(none->previous, p->loaded);
	p->hot.limit = NULL;
	SPOIL(p->drain, 1);
}
END_TEST

START_TEST(check_previous)
{
	struct slab_cache *c = rich_cache();

	SPOIL(c->cpu[0].previous_rounds, 1);
	SPOIL(c->cpu[0].previous->capacity, c->cpu[0].previous->capacity + 1);
}
END_TEST

/* ---- many threads ---- */

#define THREADS_MAX 8u
#define SLOTS	    1024u
#define GRAIN	    16u /* no object is smaller: an owner for each */

struct crowd {
	struct world w;
	unsigned threads, steps;
	void *slot[SLOTS];
	uint32_t *owner; /* one for each GRAIN of the supply */
	pthread_barrier_t start;
};

struct member {
	struct crowd *crowd;
	unsigned cpu;
	uint64_t random;
	pthread_t thread;
};

static uint64_t draw(struct member *m, uint64_t n)
{
	m->random = m->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (m->random >> 33) % n;
}

static uint32_t *owner_of(struct crowd *crowd, void *object)
{
	return &crowd->owner[(uint64_t)((char *)object - crowd->w.supply.base) / GRAIN];
}

static void *own(struct member *m)
{
	void *object = slab_alloc(m->crowd->w.c, m->cpu);

	if (object) {
		if (__atomic_exchange_n(owner_of(m->crowd, object), 1 + m->cpu, __ATOMIC_RELAXED) != 0)
			abort(); /* given twice */
		*(uint64_t *)object = (uintptr_t)object;
	}
	return object;
}

static void disown(struct member *m, void *object)
{
	if (*(uint64_t *)object != (uintptr_t)object)
		abort();
	if (__atomic_exchange_n(owner_of(m->crowd, object), 0, __ATOMIC_RELAXED) == 0)
		abort();
	slab_free(m->crowd->w.c, m->cpu, object);
}

/* Objects change hands over shared slots: who takes one out frees it. */
static void *mingle(void *self)
{
	struct member *m = self;
	struct crowd *crowd = m->crowd;

	pthread_barrier_wait(&crowd->start);
	for (unsigned i = 0; i < crowd->steps; i++) {
		void *mine = draw(m, 3) ? own(m) : NULL;
		void *other = __atomic_exchange_n(&crowd->slot[draw(m, SLOTS)], mine, __ATOMIC_ACQ_REL);

		if (other)
			disown(m, other);
		if (draw(m, 2000) == 0)
			slab_reap(crowd->w.c, m->cpu, draw(m, 4) == 0);
		if (draw(m, 1000) == 0 && slab_stats_read(crowd->w.c).objects_live > SUPPLY_BYTES / GRAIN)
			abort();
	}
	return NULL;
}

/* Even ones only allocate, odd ones only free. */
static void *pass_on(void *self)
{
	struct member *m = self;
	struct crowd *crowd = m->crowd;

	pthread_barrier_wait(&crowd->start);
	for (unsigned i = 0; i < crowd->steps;) {
		void **slot = &crowd->slot[(m->cpu / 2) * (SLOTS / THREADS_MAX) + draw(m, SLOTS / THREADS_MAX)];
		void *object = NULL;

		if (m->cpu % 2 == 0 && !__atomic_load_n(slot, __ATOMIC_RELAXED)) {
			object = own(m);
			__atomic_store_n(slot, object, __ATOMIC_RELEASE);
		} else if (m->cpu % 2 == 1 && (object = __atomic_exchange_n(slot, NULL, __ATOMIC_ACQ_REL))) {
			disown(m, object);
		} else {
			sched_yield();
		}
		i += object != NULL;
	}
	return NULL;
}

static void crowd_run(struct crowd *crowd, void *(*work)(void *), unsigned threads, unsigned steps)
{
	struct member members[THREADS_MAX];
	struct slab_cache *c = crowd->w.c;

	crowd->threads = threads;
	crowd->steps = steps;
	pthread_barrier_init(&crowd->start, NULL, threads);
	for (unsigned i = 0; i < threads; i++) {
		members[i] = (struct member){.crowd = crowd, .cpu = i, .random = i + 1};
		ck_assert_int_eq(pthread_create(&members[i].thread, NULL, work, &members[i]), 0);
	}
	for (unsigned i = 0; i < threads; i++)
		pthread_join(members[i].thread, NULL);
	pthread_barrier_destroy(&crowd->start);
	ck_assert(slab_check(c));
	for (unsigned i = 0; i < SLOTS; i++) {
		if (crowd->slot[i])
			disown(&members[0], crowd->slot[i]);
		crowd->slot[i] = NULL;
	}
	ck_assert_uint_eq(slab_stats_read(c).objects_live, 0);
}

static void crowd_open(struct crowd *crowd, uint32_t bytes, uint64_t frames)
{
	world_open(&crowd->w, bytes, 0, THREADS_MAX);
	crowd->w.supply.frames_max = frames;
	crowd->owner = mmap(NULL, SUPPLY_BYTES / GRAIN * sizeof(uint32_t), PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	ck_assert_ptr_ne(crowd->owner, MAP_FAILED);
}

START_TEST(threads_mingle)
{
	static const uint32_t bytes[] = {8, 64, 1000, 5000, 40000};
	static struct crowd crowd;

	for (unsigned threads = 2; threads <= THREADS_MAX; threads *= 2) {
		crowd_open(&crowd, bytes[_i], SUPPLY_FRAMES);
		crowd_run(&crowd, mingle, threads, 40000);
		cache_close(&crowd.w);
	}
}
END_TEST

/* The source is too small for all: refusals, requests to drain, and others' answers cross. */
START_TEST(threads_starve)
{
	static struct crowd crowd;

	crowd_open(&crowd, 300, 24);
	crowd_run(&crowd, mingle, 4, 30000);
	cache_close(&crowd.w);
}
END_TEST

START_TEST(threads_pass_on)
{
	static struct crowd crowd;

	for (unsigned threads = 2; threads <= THREADS_MAX; threads *= 2) {
		crowd_open(&crowd, 64, SUPPLY_FRAMES);
		crowd_run(&crowd, pass_on, threads, 100000);
		/* What circulates, not what passed. */
		ck_assert_uint_le(slab_stats_read(crowd.w.c).slabs, 40 * threads);
		cache_close(&crowd.w);
	}
}
END_TEST

struct hog { /* holds the depot's lock for a while, again and again */
	struct slab_depot *d;
	bool done;
};

static void *hog_work(void *self)
{
	struct hog *h = self;

	while (!__atomic_load_n(&h->done, __ATOMIC_ACQUIRE)) {
		lock_take(&h->d->lock);
		usleep(500);
		lock_drop(&h->d->lock);
		usleep(10);
	}
	return NULL;
}

/* Waits for the depot double the magazines, twice; smaller ones retire when they come back empty. */
START_TEST(magazines_grow)
{
	struct world w;
	struct slab_cache *c = world_open(&w, 64, 0, 1);
	static void *objects[3000];
	struct hog hog = {.d = &c->depot};
	uint32_t small = slab_stats_read(c).magazine_rounds;
	pthread_t thread;

	get_many(c, 0, objects, 3000);
	free_many(c, 0, objects, 3000);
	ck_assert_int_eq(pthread_create(&thread, NULL, hog_work, &hog), 0);
	while (c->depot.size + 1 < SLAB_SIZES) { /* or the test's time is over: on a busy machine the hog comes late */
		get_many(c, 0, objects, 3000);
		free_many(c, 0, objects, 3000);
	}
	__atomic_store_n(&hog.done, true, __ATOMIC_RELEASE);
	pthread_join(thread, NULL);
	ck_assert_uint_ge(slab_stats_read(c).depot_contended, 2 * SLAB_GROW_AFTER);
	ck_assert_uint_ge(slab_stats_read(c).magazine_rounds, 3 * small);
	ck_assert(slab_check(c));
	for (unsigned i = 0; i < 3; i++) {
		get_many(c, 0, objects, 3000);
		free_many(c, 0, objects, 3000);
	}
	ck_assert_uint_le(c->magazines[0].claimed, 2);
	ck_assert(slab_check(c));
	slab_reap(c, 0, true);
	cache_close(&w);
}
END_TEST

Suite *slab_suite(void);
Suite *slab_suite(void)
{
	Suite *suite = suite_create("slab");
	TCase *cache = tcase_create("cache"), *model = tcase_create("model"), *back = tcase_create("back");
	TCase *refusal = tcase_create("refusal"), *wrong = tcase_create("wrong"), *check = tcase_create("check");
	TCase *threads = tcase_create("threads");

	tcase_add_test(cache, arguments);
	tcase_add_test(cache, cpus_are_apart);
	tcase_add_test(cache, every_size_has_a_geometry);
	tcase_add_test(cache, colours);
	tcase_add_test(cache, addresses_tell_objects);
	tcase_add_test(cache, last_freed_comes_first);
	tcase_add_test(cache, the_usual_call_writes_two_words);
	tcase_add_test(cache, the_slow_calls_are_whole);
	tcase_add_test(cache, the_bounds_are_exact);
	tcase_add_test(cache, figures);
	tcase_add_test(cache, live_max_of_one_cpu);
	tcase_add_test(cache, a_swing_at_the_edge_stays_with_the_cpu);
	tcase_add_test(model, a_million_random_operations);
	tcase_add_test(model, a_hundred_thousand_live);
	tcase_add_test(back, an_interval_returns_what_nobody_needed);
	tcase_add_test(back, empty_magazines_and_slabs_wait_an_interval);
	tcase_add_test(back, other_cpus_are_asked);
	tcase_add_test(back, an_answer_reaches_the_source);
	tcase_add_test(back, asked_in_the_middle);
	tcase_add_test(back, stopped_in_vain);
	tcase_add_test(refusal, the_refusal_is_the_nth);
	tcase_add_test(refusal, one_refusal_at_every_point);
	tcase_add_test(refusal, the_end_at_every_point);
	tcase_add_test(refusal, no_magazine);
	tcase_add_test(refusal, no_third_magazine);
	tcase_add_test_raise_signal(wrong, freed_twice, SIGABRT);
	tcase_add_test_raise_signal(wrong, freed_inside, SIGABRT);
	tcase_add_test_raise_signal(wrong, freed_header, SIGABRT);
	tcase_add_test_raise_signal(wrong, freed_past_the_last, SIGABRT);
	tcase_add_test_raise_signal(wrong, freed_to_another_cache, SIGABRT);
	tcase_add_test_raise_signal(wrong, freed_null, SIGABRT);
	tcase_add_test_raise_signal(wrong, wrong_cpu_alloc, SIGABRT);
	tcase_add_test_raise_signal(wrong, wrong_cpu_free, SIGABRT);
	tcase_add_test_raise_signal(wrong, wrong_cpu_slow, SIGABRT);
	tcase_add_test_raise_signal(wrong, wrong_cpu_reap, SIGABRT);
	tcase_add_test_raise_signal(wrong, source_misaligns, SIGABRT);
	tcase_add_test(check, check_slabs);
	tcase_add_test(check, check_magazines);
	tcase_add_test(check, check_rounds);
	tcase_add_test(check, abandoned);
	tcase_add_test(check, flushed);
	tcase_add_test(check, zeroed_metadata);
	tcase_add_test(check, check_cpus);
	tcase_add_test(check, check_previous);
	tcase_add_loop_test(threads, threads_mingle, 0, 5);
	tcase_add_test(threads, threads_starve);
	tcase_add_test(threads, threads_pass_on);
	tcase_add_test(threads, magazines_grow);
	tcase_set_timeout(model, 300);
	tcase_set_timeout(refusal, 300);
	tcase_set_timeout(threads, 300);
	suite_add_tcase(suite, cache);
	suite_add_tcase(suite, model);
	suite_add_tcase(suite, back);
	suite_add_tcase(suite, refusal);
	suite_add_tcase(suite, wrong);
	suite_add_tcase(suite, check);
	suite_add_tcase(suite, threads);
	return suite;
}
