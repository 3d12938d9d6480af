/* tests/unit/test_checked.c: mm/checked over the general heap: the conformance suite, a
 * catalogue of planted bugs with the sites that must be named, random bugs against a
 * record of them, refusals, the checker on states broken on purpose, threads. What it
 * does not see: bugs that leave no byte behind. */
#include <check.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "mm/checked_impl.h"
#include "tests/unit/heap_bed.h"
#include "tests/unit/heap_trial.h"

#define CPUS	   8u
#define ARENA	   (64 * TRIAL_MIB)
#define QUARANTINE TRIAL_MIB
#define SITES	   4096u

struct world {
	struct bed bed;
	struct heap heap;
	struct checked *c;
	struct checked_config config;
	struct checked_report last; /* and how many there were */
	unsigned reports;
};

static void note(void *self, const struct checked_report *r)
{
	struct world *w = self;

	w->last = *r;
	w->reports++;
}

static void world_wrap(struct world *w)
{
	size_t bytes = checked_meta_bytes(w->config.blocks_max);

	ck_assert_int_eq(checked_init(bed_lines(bytes), bytes, &w->config, &w->heap), MM_OK);
	w->c = w->heap.self;
}

static void world_open(struct world *w)
{
	memset(w, 0, sizeof(*w));
	bed_open(&w->bed, ARENA, CPUS);
	w->config = (struct checked_config){
		.below = w->bed.heap,
		.low = (uintptr_t)w->bed.arena,
		.high = (uintptr_t)w->bed.arena + ARENA,
		.blocks_max = 1u << 20,
		.quarantine_bytes = QUARANTINE,
		.stacks = bed_stacks(SITES),
		.source = {w, bed_take},
		.report = note,
		.report_self = w,
	};
	world_wrap(w);
	bed_at(0x1, 0x2);
}

/* Whatever was told of is told of; nothing else is wrong, and nothing is lost. */
static void world_close(struct world *w)
{
	checked_drain(&w->heap, 0);
	ck_assert(heap_check(&w->heap));
	ck_assert_uint_eq(checked_stats_read(&w->heap).quarantine_bytes, 0);
	free(w->config.stacks);
	free(w->c);
	bed_close(&w->bed);
}

static unsigned char *take(struct world *w, size_t bytes)
{
	unsigned char *memory = heap_alloc(&w->heap, 0, bytes);

	ck_assert_ptr_nonnull(memory);
	memset(memory, 0x11, bytes);
	return memory;
}

static bool called_from(const struct call_stack *s, uint64_t inner)
{
	return s->count == 3 && s->pc[0] == inner && s->pc[2] == 0x1000;
}

#define NOWHERE 0u

/* That just one thing was told, and what. */
static void told(struct world *w, enum checked_kind kind, int64_t offset, size_t length)
{
	ck_assert_uint_eq(w->reports, 1);
	ck_assert_msg(w->last.kind == kind, "%s, not %s", checked_kind_name(w->last.kind), checked_kind_name(kind));
	ck_assert_int_eq(w->last.offset, offset);
	ck_assert_uint_eq(w->last.length, length);
	ck_assert_uint_eq(checked_stats_read(&w->heap).reports[kind], 1);
}

static void told_sites(const struct world *w, uint64_t allocated, uint64_t freed, uint64_t now)
{
	ck_assert(allocated == NOWHERE ? w->last.allocated.count == 0 : called_from(&w->last.allocated, allocated));
	ck_assert(freed == NOWHERE ? w->last.freed.count == 0 : called_from(&w->last.freed, freed));
	ck_assert(called_from(&w->last.now, now));
}

/* ---- the catalogue ---- */

START_TEST(overrun_by_1)
{
	static const size_t sizes[] = {1, 15, 16, 17, 24, 100, 4097, 16384, 20000, 70000, 300000};
	struct world w;
	size_t bytes = sizes[_i];
	unsigned char *p;

	world_open(&w);
	bed_at(0xa, 0xa0);
	p = take(&w, bytes);
	ck_assert_uint_eq(heap_usable(&w.heap, p), bytes);
	p[bytes] = 0x11;
	bed_at(0xb, 0xb0);
	heap_free(&w.heap, 0, p, bytes);
	told(&w, CHECKED_OVERRUN, (int64_t)bytes, 1);
	told_sites(&w, 0xa, NOWHERE, 0xb);
	ck_assert(w.last.at == p + bytes && w.last.block == p && w.last.bytes == bytes);
	world_close(&w);
}
END_TEST

START_TEST(overrun_of_0_bytes)
{
	struct world w;
	unsigned char *p;

	world_open(&w);
	p = heap_alloc(&w.heap, 0, 0);
	p[0] = 1; /* 0 is served as 1 */
	p[16] = 1;
	heap_free(&w.heap, 0, p, 0);
	told(&w, CHECKED_OVERRUN, 16, 1);
	world_close(&w);
}
END_TEST

START_TEST(underrun)
{
	static const int from[] = {1, 4, 16, 17, 24, 32};
	struct world w;
	unsigned char *p;
	int n = from[_i];

	world_open(&w);
	bed_at(0xa, 0xa0);
	p = take(&w, 40);
	take(&w, 40);
	for (int i = 1; i <= n; i++) /* the header is there, and could hold any byte */
		p[-i] ^= 0x22;
	bed_at(0xb, 0xb0);
	heap_free(&w.heap, 0, p, 40);
	/* Beyond the redzone lies the header: then all of both counts. */
	told(&w, CHECKED_UNDERRUN, n <= 16 ? -n : -32, n <= 16 ? (size_t)n : 32);
	told_sites(&w, 0xa, NOWHERE, 0xb);
	ck_assert_uint_eq(heap_stats_read(&w.heap).allocations, 1);
	world_close(&w);
}
END_TEST

START_TEST(wide_redzones)
{
	struct world w;
	unsigned char *p;

	world_open(&w);
	w.config.redzone_bytes = 256;
	free(w.c);
	world_wrap(&w);
	p = take(&w, 100);
	p[100 + 255] = 1;
	p[-256] = 1;
	ck_assert(_i ? !heap_check(&w.heap) : !checked_look(&w.heap));
	ck_assert_uint_eq(w.reports, 2);
	ck_assert(w.last.kind == CHECKED_OVERRUN && w.last.offset == 355);
	ck_assert(heap_check(&w.heap)); /* told once, and mended */
	heap_free(&w.heap, 0, p, 100);
	ck_assert_uint_eq(w.reports, 2);
	world_close(&w);
}
END_TEST

START_TEST(use_after_free_at_the_next_touch)
{
	struct world w;
	unsigned char *p, *q;

	world_open(&w);
	w.config.scan_bytes = SIZE_MAX;
	free(w.c);
	world_wrap(&w);
	for (unsigned i = 0; i < 50; i++)
		heap_free(&w.heap, 0, take(&w, 100), 100);
	bed_at(0xa, 0xa0);
	p = take(&w, 100);
	q = take(&w, 100);
	bed_at(0xb, 0xb0);
	heap_free(&w.heap, 0, p, 100);
	for (unsigned i = 0; i < 50; i++)
		heap_free(&w.heap, 0, take(&w, 100), 100);
	ck_assert_uint_eq(w.reports, 0);
	p[97] = 1;
	p[99] = 1;
	bed_at(0xc, 0xc0);
	if (_i)
		heap_free(&w.heap, 0, q, 100);
	else
		take(&w, 1);
	told(&w, CHECKED_USE_AFTER_FREE, 97, 3);
	told_sites(&w, 0xa, 0xb, 0xc);
	take(&w, 1);
	told(&w, CHECKED_USE_AFTER_FREE, 97, 3);
	world_close(&w);
}
END_TEST

/* By portions; by heap_check(); when it leaves. */
START_TEST(use_after_free_by_and_by)
{
	struct world w;
	unsigned char *p;
	unsigned calls = 0;

	world_open(&w);
	bed_at(0xa, 0xa0);
	p = take(&w, 1000);
	bed_at(0xb, 0xb0);
	heap_free(&w.heap, 0, p, 1000);
	for (unsigned i = 0; i < 20; i++)
		heap_free(&w.heap, 0, take(&w, 100), 100);
	p[999] = 1;
	bed_at(0xc, 0xc0);
	if (_i == 0)
		for (; w.reports == 0 && calls < 200; calls++)
			take(&w, 16);
	else if (_i == 1)
		ck_assert(!heap_check(&w.heap));
	else if (_i == 2)
		checked_drain(&w.heap, 0);
	else
		heap_free(&w.heap, 0, take(&w, QUARANTINE - 200), 0);
	told(&w, CHECKED_USE_AFTER_FREE, 999, 1);
	told_sites(&w, 0xa, 0xb, 0xc);
	ck_assert_uint_le(calls, (1000 + 20 * 100 + 21 * 64) / 32 + 1); /* all of it once, 32 a call */
	world_close(&w);
}
END_TEST

/* While each free lets out what it lets in, that is what is read; afterwards the portions go on. */
START_TEST(use_after_free_after_a_full_quarantine)
{
	struct world w;
	unsigned char *p = NULL;
	uint64_t kept;
	unsigned calls = 0;

	world_open(&w);
	for (unsigned i = 0; i < 3 * QUARANTINE / 1000; i++) {
		unsigned char *q = take(&w, 1000);

		p = i == 5 * QUARANTINE / 2000 ? q : p;
		heap_free(&w.heap, 0, q, 1000);
	}
	kept = checked_stats_read(&w.heap).quarantine_blocks;
	ck_assert_ptr_nonnull(p);
	p[500] ^= 1;
	for (; w.reports == 0 && calls < 100000; calls++)
		take(&w, 16);
	told(&w, CHECKED_USE_AFTER_FREE, 500, 1);
	ck_assert_uint_le(calls, kept * (1000 + 64) / 32 + CHECKED_AHEAD_MAX / 32 + 1);
	world_close(&w);
}
END_TEST

/* What frees read of what leaves counts: the cursor stands until calls have made up for it. */
START_TEST(reads_no_more_than_is_asked)
{
	struct world w;
	uint32_t cursor;
	uint64_t offset;

	world_open(&w);
	for (unsigned i = 0; i < 3 * QUARANTINE / 1000; i++)
		heap_free(&w.heap, 0, take(&w, 1000), 1000);
	cursor = w.c->cursor;
	offset = w.c->cursor_offset;
	for (unsigned i = 0; i < CHECKED_AHEAD_MAX / 32; i++)
		take(&w, 16);
	ck_assert(w.c->cursor == cursor && w.c->cursor_offset == offset);
	for (unsigned i = 0; i < 4; i++) /* a block counts for 64 by itself */
		take(&w, 16);
	ck_assert(w.c->cursor != cursor || w.c->cursor_offset != offset);
	world_close(&w);
}
END_TEST

/* Of the header alone: what it does not say, the records still do. */
START_TEST(known_without_a_lock)
{
	struct world w;
	unsigned char *p;

	world_open(&w);
	p = take(&w, 100);
	ck_assert_uint_eq(checked_known(&w.heap, p), 100);
	ck_assert_uint_eq(checked_known(&w.heap, p + 16), 0);
	ck_assert_uint_eq(checked_known(&w.heap, p + 1), 0);
	ck_assert_uint_eq(checked_known(&w.heap, (void *)(uintptr_t)8), 0);
	p[-32] ^= 1;
	ck_assert_uint_eq(checked_known(&w.heap, p), 0);
	ck_assert_uint_eq(heap_usable(&w.heap, p), 100);
	p[-32] ^= 1;
	p = heap_realloc(&w.heap, 0, p, 100, 90);
	ck_assert_uint_eq(checked_known(&w.heap, p), 90);
	heap_free(&w.heap, 0, p, 90);
	ck_assert_uint_eq(checked_known(&w.heap, p), 0);
	ck_assert_uint_eq(w.reports, 0);
	world_close(&w);
}
END_TEST

START_TEST(double_free)
{
	struct world w;
	unsigned char *p;

	world_open(&w);
	bed_at(0xa, 0xa0);
	p = take(&w, 24);
	bed_at(0xb, 0xb0);
	heap_free(&w.heap, 0, p, 24);
	if (_i == 1) /* when it has left, and its record is still there */
		checked_drain(&w.heap, 0);
	bed_at(0xc, 0xc0);
	if (_i == 2)
		ck_assert_ptr_null(heap_realloc(&w.heap, 0, p, 24, 48));
	else if (_i == 3)
		ck_assert_uint_eq(heap_usable(&w.heap, p), 0);
	else
		heap_free(&w.heap, 0, p, 24);
	told(&w, CHECKED_DOUBLE_FREE, 0, 1);
	told_sites(&w, 0xa, 0xb, 0xc);
	ck_assert_uint_eq(heap_stats_read(&w.heap).allocations, 0);
	world_close(&w);
}
END_TEST

START_TEST(free_of_a_middle)
{
	static const int at[] = {1, 8, 16, 48, 99, 100, -16};
	struct world w;
	unsigned char *p;

	world_open(&w);
	bed_at(0xa, 0xa0);
	p = take(&w, 100);
	bed_at(0xc, 0xc0);
	heap_free(&w.heap, 0, p + at[_i], 0);
	told(&w, CHECKED_MIDDLE, at[_i], 1);
	told_sites(&w, 0xa, NOWHERE, 0xc);
	ck_assert(w.last.block == p);
	ck_assert_uint_eq(heap_usable(&w.heap, p), 100);
	heap_free(&w.heap, 0, p, 100);
	ck_assert_uint_eq(w.reports, 1);
	world_close(&w);
}
END_TEST

START_TEST(free_of_foreign_memory)
{
	static _Alignas(16) unsigned char far[256];
	struct world w;
	void *foreign[] = {far + 128, (void *)16, (void *)(uintptr_t)-16, NULL, NULL};

	world_open(&w);
	foreign[3] = w.bed.arena;
	foreign[4] = w.bed.arena + ARENA - 64;
	bed_at(0xc, 0xc0);
	heap_free(&w.heap, 0, foreign[_i], 0);
	told(&w, CHECKED_FOREIGN, 0, 1);
	told_sites(&w, NOWHERE, NOWHERE, 0xc);
	ck_assert(w.last.at == foreign[_i] && !w.last.block);
	world_close(&w);
}
END_TEST

/* Two checked heaps over one. */
START_TEST(free_on_the_wrong_heap)
{
	struct world w;
	struct checked_config config;
	size_t bytes;
	struct heap other;
	unsigned char *p;

	world_open(&w);
	config = w.config;
	bytes = checked_meta_bytes(config.blocks_max);
	ck_assert_int_eq(checked_init(bed_lines(bytes), bytes, &config, &other), MM_OK);
	if (_i == 1) { /* the address was this heap's own once */
		p = take(&w, 64);
		heap_free(&w.heap, 0, p, 64);
		checked_drain(&w.heap, 0);
	}
	bed_at(0xa, 0xa0);
	p = heap_alloc(&other, 0, 64);
	ck_assert_ptr_nonnull(p);
	bed_at(0xc, 0xc0);
	heap_free(&w.heap, 0, p, 64);
	told(&w, CHECKED_WRONG_HEAP, 0, 1);
	told_sites(&w, 0xa, NOWHERE, 0xc);
	ck_assert(w.last.block == p);
	heap_free(&other, 0, p, 64);
	ck_assert_uint_eq(w.reports, 1);
	checked_drain(&other, 0);
	ck_assert(heap_check(&other));
	heap_free(&w.heap, 0, p, 64); /* no header of it is left */
	ck_assert_uint_eq(w.reports, 2);
	ck_assert_int_ne(w.last.kind, CHECKED_WRONG_HEAP);
	free(other.self);
	world_close(&w);
}
END_TEST

/* A heap that lives on blocks of this one: its blocks are its own. */
START_TEST(nested_wrong_heap)
{
	struct world w;
	struct checked_config config;
	struct heap inner;
	unsigned char *p;

	world_open(&w);
	config = w.config;
	config.below = w.heap;
	config.blocks_max = 10;
	ck_assert_int_eq(checked_init(bed_lines(checked_meta_bytes(10)), checked_meta_bytes(10), &config, &inner),
			 MM_OK);
	bed_at(0xa, 0xa0);
	p = heap_alloc(&inner, 0, 64);
	bed_at(0xc, 0xc0);
	heap_free(&w.heap, 0, p, 64);
	told(&w, CHECKED_WRONG_HEAP, 0, 1);
	told_sites(&w, 0xa, NOWHERE, 0xc);
	heap_free(&w.heap, 0, p + 16, 64);
	ck_assert_uint_eq(w.reports, 2);
	ck_assert_int_eq(w.last.kind, CHECKED_MIDDLE);
	free(inner.self);
	world_close(&w);
}
END_TEST

START_TEST(wrong_size)
{
	struct world w;
	unsigned char *p;

	world_open(&w);
	bed_at(0xa, 0xa0);
	p = take(&w, 40);
	bed_at(0xc, 0xc0);
	if (_i == 0)
		heap_free(&w.heap, 0, p, 41);
	else
		ck_assert_ptr_nonnull(heap_realloc(&w.heap, 0, p, 41, _i == 1 ? 40 : 400));
	told(&w, CHECKED_WRONG_SIZE, 0, 41);
	told_sites(&w, 0xa, NOWHERE, 0xc);
	ck_assert_uint_eq(w.last.bytes, 40);
	world_close(&w);
}
END_TEST

START_TEST(poisoned)
{
	struct world w;
	unsigned char *p;

	world_open(&w);
	p = take(&w, 4000);
	heap_free(&w.heap, 0, p, 4000);
	for (unsigned i = 1; i < 4000; i++)
		ck_assert(p[i] == p[0] && p[i] != 0x11);
	p = take(&w, 2 * CHECKED_POISON_MAX);
	heap_free(&w.heap, 0, p, 0);
	ck_assert(p[CHECKED_POISON_MAX - 1] != 0x11 && p[CHECKED_POISON_MAX] == 0x11);
	p[CHECKED_POISON_MAX]++; /* not watched */
	world_close(&w);
	ck_assert_uint_eq(w.reports, 0);
}
END_TEST

START_TEST(names)
{
	static const char *const name[] = {"overrun",
					   "underrun",
					   "use after free",
					   "double free",
					   "free of a middle",
					   "free of foreign memory",
					   "free on the wrong heap",
					   "free of a wrong size"};

	ck_assert_uint_eq(sizeof(name) / sizeof(*name), CHECKED_KINDS);
	for (unsigned kind = 0; kind < CHECKED_KINDS; kind++)
		ck_assert_str_eq(checked_kind_name(kind), name[kind]);
}
END_TEST

/* With nobody to tell, and with no sites. */
START_TEST(panics)
{
	struct world w;
	unsigned char *p;

	world_open(&w);
	w.config.report = NULL;
	free(w.c);
	world_wrap(&w);
	p = take(&w, 40);
	heap_free(&w.heap, 0, p, 40);
	heap_free(&w.heap, 0, p, 40);
}
END_TEST

START_TEST(without_sites)
{
	struct world w;
	struct call_stacks *stacks;
	unsigned char *p;

	world_open(&w);
	stacks = w.config.stacks;
	w.config.stacks = NULL;
	w.config.source.take = NULL;
	free(w.c);
	world_wrap(&w);
	p = take(&w, 40);
	heap_free(&w.heap, 0, p, 40);
	heap_free(&w.heap, 0, p, 40);
	told(&w, CHECKED_DOUBLE_FREE, 0, 1);
	ck_assert(w.last.allocated.count == 0 && w.last.freed.count == 0 && w.last.now.count == 0);
	w.config.stacks = stacks;
	world_close(&w);
}
END_TEST

/* ---- what may be read ---- */

struct asked {
	struct world *w;
	unsigned times;
};

static bool in_arena(void *self, uintptr_t at, uintptr_t end)
{
	struct asked *a = self;

	a->times++;
	ck_assert_uint_eq(end - at, a->w->c->front);
	return at >= (uintptr_t)a->w->bed.arena && end <= (uintptr_t)a->w->bed.arena + ARENA;
}

START_TEST(reads_what_it_may)
{
	struct world w;
	struct asked asked = {.w = &w};
	unsigned char *p;

	world_open(&w);
	w.config.low = _i == 0 ? 0 : (uintptr_t)w.bed.arena + ARENA / 2;
	w.config.high = _i == 0 ? 0 : (uintptr_t)w.bed.arena + ARENA;
	if (_i != 2) {
		w.config.readable = in_arena;
		w.config.readable_self = &asked;
	} else {
		w.config.low = w.config.high = 0;
	}
	free(w.c);
	world_wrap(&w);
	p = take(&w, 40);
	heap_free(&w.heap, 0, p, 40);
	ck_assert_uint_eq(w.reports, 0);
	ck_assert(_i == 2 ? asked.times == 0 : asked.times <= 1);
	if (_i != 2)
		heap_free(&w.heap, 0, (void *)0x10000, 0);
	ck_assert_uint_eq(w.reports, _i != 2);
	world_close(&w);
}
END_TEST

/* ---- a heap like others ---- */

START_TEST(conforms)
{
	struct world w;

	world_open(&w);
	if (_i == 1)
		w.config.quarantine_bytes = 0;
	if (_i == 2)
		w.config.redzone_bytes = 128;
	free(w.c);
	world_wrap(&w);
	trial_conforms(&w.heap, HEAP_REUSES_AT_ONCE, 100000);
	ck_assert_uint_eq(w.reports, 0);
	world_close(&w);
}
END_TEST

START_TEST(random_operations)
{
	struct world w;

	world_open(&w);
	seed(11);
	trial_random(&w.heap, 600000, 3000);
	trial_random(&w.heap, 20000, 200000);
	ck_assert_uint_eq(w.reports, 0);
	world_close(&w);
}
END_TEST

START_TEST(refused_by_a_fault)
{
	struct world w;
	unsigned char *p;

	world_open(&w);
	p = take(&w, 100);
	trial_refusals(&w.heap, &w.heap, p, 100, w.c, checked_meta_bytes(w.config.blocks_max));
	ck_assert_ptr_null(heap_alloc(&w.heap, 0, SIZE_MAX));
	ck_assert_ptr_null(heap_alloc_aligned(&w.heap, 0, 8, 24));
	ck_assert_ptr_null(heap_alloc_aligned(&w.heap, 0, 8, 0));
	ck_assert_ptr_null(heap_alloc_aligned(&w.heap, 0, 8, SIZE_MAX / 2 + 1));
	ck_assert_ptr_null(heap_realloc(&w.heap, 0, p, 100, SIZE_MAX));
	heap_free(&w.heap, 0, p, 100);
	world_close(&w);
}
END_TEST

/* A heap below that refuses from the n-th on, until it is told otherwise. */
struct scarce {
	struct heap below;
	uint64_t left;
};

static void *scarce_alloc(void *self, unsigned cpu, size_t bytes, size_t align)
{
	struct scarce *s = self;

	if (s->left == 0)
		return NULL;
	s->left--;
	return heap_alloc_aligned(&s->below, cpu, bytes, align);
}

static void scarce_free(void *self, unsigned cpu, void *memory, size_t bytes)
{
	struct scarce *s = self;

	heap_free(&s->below, cpu, memory, bytes);
}

static size_t scarce_usable(void *self, const void *memory)
{
	struct scarce *s = self;

	return heap_usable(&s->below, memory);
}

static struct heap_stats scarce_stats(void *self)
{
	struct scarce *s = self;

	return heap_stats_read(&s->below);
}

static bool scarce_check(void *self)
{
	struct scarce *s = self;

	return heap_check(&s->below);
}

static const struct heap_ops scarce_ops = {.alloc = scarce_alloc,
					   .free = scarce_free,
					   .usable = scarce_usable,
					   .stats = scarce_stats,
					   .check = scarce_check};

/* No room below, at each point in turn: first records, then blocks. */
START_TEST(refused_from_below)
{
	struct world w;
	struct scarce scarce;
	unsigned char *p;

	world_open(&w);
	scarce = (struct scarce){.below = w.bed.heap, .left = 0};
	w.config.below = (struct heap){&scarce, &scarce_ops};
	free(w.c);
	world_wrap(&w);
	ck_assert_ptr_null(heap_alloc(&w.heap, 0, 10)); /* no block */
	scarce.left = 1;
	ck_assert_ptr_null(heap_alloc(&w.heap, 0, 10)); /* no records: the block goes back */
	ck_assert(heap_check(&w.heap));
	ck_assert_uint_eq(heap_stats_read(&w.bed.heap).allocations, 0);
	scarce.left = 2;
	p = take(&w, 3000);
	ck_assert_ptr_null(heap_realloc(&w.heap, 0, p, 3000, 6000));
	ck_assert_uint_eq(heap_usable(&w.heap, p), 3000);
	ck_assert_ptr_eq(heap_realloc(&w.heap, 0, p, 3000, 20), p); /* a shrink never fails */
	ck_assert_uint_eq(heap_usable(&w.heap, p), 20);
	heap_free(&w.heap, 0, p, 20);
	ck_assert_uint_eq(heap_stats_read(&w.heap).allocations, 0);
	ck_assert_ptr_null(heap_alloc(&w.heap, 0, 10)); /* the quarantine went back for it */
	ck_assert_uint_eq(checked_stats_read(&w.heap).quarantine_blocks, 0);
	ck_assert_uint_eq(w.reports, 0);
	world_close(&w);
}
END_TEST

START_TEST(blocks_max)
{
	struct world w;
	unsigned char *p[CHECKED_CHUNK + 10];
	uint32_t most = _i ? CHECKED_CHUNK + 5 : 3;

	world_open(&w);
	w.config.blocks_max = most;
	free(w.c);
	world_wrap(&w);
	for (uint32_t i = 0; i < most; i++)
		p[i] = take(&w, 10 + i);
	ck_assert_ptr_null(heap_alloc(&w.heap, 0, 10));
	heap_free(&w.heap, 0, p[0], 10);
	p[0] = take(&w, 20); /* what is quarantined makes room */
	ck_assert_ptr_null(heap_alloc(&w.heap, 0, 10));
	for (uint32_t i = 0; i < most; i++)
		heap_free(&w.heap, 0, p[i], 0);
	ck_assert_uint_eq(w.reports, 0);
	world_close(&w);
}
END_TEST

START_TEST(set_up_wrong)
{
	struct world w;
	struct checked_config config;
	struct heap heap;
	size_t bytes = checked_meta_bytes(8);
	unsigned char *meta = bed_lines(bytes + 64);

	world_open(&w);
	config = w.config;
	config.blocks_max = 8;
	ck_assert_uint_eq(checked_meta_bytes(0), 0);
	ck_assert_uint_eq(checked_meta_bytes(CHECKED_BLOCKS_MAX + 1), 0);
	ck_assert_uint_gt(checked_meta_bytes(CHECKED_BLOCKS_MAX), 0);
	ck_assert_int_eq(checked_init(NULL, bytes, &config, &heap), MM_EINVAL);
	ck_assert_int_eq(checked_init(meta + 8, bytes, &config, &heap), MM_EINVAL);
	ck_assert_int_eq(checked_init(meta, bytes - 1, &config, &heap), MM_EINVAL);
	config.redzone_bytes = 24;
	ck_assert_int_eq(checked_init(meta, bytes, &config, &heap), MM_EINVAL);
	config.redzone_bytes = CHECKED_REDZONE_MAX + 16;
	ck_assert_int_eq(checked_init(meta, bytes, &config, &heap), MM_EINVAL);
	config.redzone_bytes = CHECKED_REDZONE_MAX;
	config.blocks_max = 0;
	ck_assert_int_eq(checked_init(meta, bytes, &config, &heap), MM_EINVAL);
	config.blocks_max = 8;
	ck_assert_int_eq(checked_init(meta, bytes, &config, &heap), MM_OK);
	free(meta);
	world_close(&w);
}
END_TEST

/* ---- moving and staying ---- */

START_TEST(growth_moves_while_small)
{
	struct world w;
	unsigned char *p, *q;

	world_open(&w);
	p = take(&w, 40);
	q = heap_realloc(&w.heap, 0, p, 40, 41);
	ck_assert(q && q != p);
	p[0]++;
	ck_assert(!heap_check(&w.heap));
	ck_assert_int_eq(w.last.kind, CHECKED_USE_AFTER_FREE);
	p = heap_realloc(&w.heap, 0, q, 0, 40); /* a shrink by little stays */
	ck_assert_ptr_eq(p, q);
	q[40]++;
	ck_assert(!heap_check(&w.heap));
	ck_assert_int_eq(w.last.kind, CHECKED_OVERRUN);
	q = heap_realloc(&w.heap, 0, NULL, 0, 20000);
	memset(q, 0x44, 20000);
	p = heap_realloc(&w.heap, 0, q, 20000, 30000);
	ck_assert_ptr_eq(p, q); /* there was room: frames come in powers of two */
	p[29999] = 1;
	p = heap_realloc(&w.heap, 0, q, 30000, 100);
	ck_assert(p && p != q && p[99] == 0x44);
	ck_assert_uint_eq(heap_usable(&w.heap, p), 100);
	ck_assert_uint_eq(w.reports, 2);
	world_close(&w);
}
END_TEST

START_TEST(quarantine_is_bounded)
{
	struct world w;
	struct checked_stats s;

	world_open(&w);
	for (unsigned i = 0; i < 5000; i++) {
		heap_free(&w.heap, 0, take(&w, 16 + i % 5000), 0);
		s = checked_stats_read(&w.heap);
		ck_assert_uint_le(s.quarantine_bytes, QUARANTINE);
	}
	ck_assert_uint_gt(s.quarantine_bytes, QUARANTINE - 8192);
	ck_assert_uint_gt(s.quarantine_blocks, 100);
	heap_free(&w.heap, 0, take(&w, QUARANTINE), 0); /* too large: it goes at once, alone */
	ck_assert_uint_eq(checked_stats_read(&w.heap).quarantine_blocks, s.quarantine_blocks);
	take(&w, 17);
	s = checked_stats_read(&w.heap);
	ck_assert(s.blocks == 1 && s.bytes_beside == 32 + 31);
	ck_assert_uint_eq(s.bytes_records % (CHECKED_CHUNK * CHECKED_RECORD_BYTES), 0);
	world_close(&w);
}
END_TEST

/* ---- random bugs against a record of them ---- */

#define BLOCKS 300u

struct plant {
	unsigned char *at;
	size_t bytes;
	bool freed;
};

/* One bug at a time, at a random place, in a heap that is in use: it is told, and only it. */
START_TEST(random_bugs)
{
	static struct plant plants[BLOCKS];
	struct world w;
	struct plant *p;

	world_open(&w);
	w.config.quarantine_bytes = 16 * TRIAL_MIB;
	free(w.c);
	world_wrap(&w);
	seed(23);
	memset(plants, 0, sizeof(plants));
	for (unsigned i = 0; i < 8000; i++) {
		size_t bytes = 1 + below(1 + below(3000));
		enum checked_kind want = CHECKED_KINDS;

		p = &plants[below(BLOCKS)];
		w.reports = 0;
		bed_at(1 + i % 1000, 5);
		if (!p->at || p->freed) {
			*p = (struct plant){take(&w, bytes), bytes, false};
			continue;
		}
		switch (below(8)) {
		case 0:
			p->at[p->bytes + below(16)] ^= 1 + (unsigned char)below(255);
			want = CHECKED_OVERRUN;
			break;
		case 1:
			p->at[-1 - (int)below(32)] ^= 1 + (unsigned char)below(255);
			want = CHECKED_UNDERRUN;
			break;
		case 2:
			heap_free(&w.heap, 0, p->at, p->bytes);
			p->at[below(p->bytes)] ^= 1 + (unsigned char)below(255);
			want = CHECKED_USE_AFTER_FREE;
			p->freed = true;
			break;
		case 3:
			heap_free(&w.heap, 0, p->at + 1 + below(p->bytes), 0);
			want = CHECKED_MIDDLE;
			break;
		case 4:
			heap_free(&w.heap, 0, p->at, 0);
			heap_free(&w.heap, 0, p->at, 0);
			want = CHECKED_DOUBLE_FREE;
			p->freed = true;
			break;
		default:
			heap_free(&w.heap, 0, p->at, p->bytes);
			p->freed = true;
		}
		if (!p->freed && want <= CHECKED_UNDERRUN) {
			heap_free(&w.heap, 0, p->at, p->bytes);
			p->freed = true;
		} else if (want == CHECKED_USE_AFTER_FREE) {
			ck_assert(!heap_check(&w.heap));
		}
		ck_assert_uint_eq(w.reports, want != CHECKED_KINDS);
		ck_assert(want == CHECKED_KINDS ||
			  (w.last.kind == want && w.last.block == p->at && (w.last.bytes == p->bytes)));
		if (i % 512 == 0)
			ck_assert(heap_check(&w.heap));
	}
	world_close(&w);
}
END_TEST

/* ---- broken on purpose ---- */

START_TEST(checker_objects)
{
	struct world w;
	struct checked_record *live, *freed, *gone;
	struct checked *c;
	uint32_t was;

	world_open(&w);
	c = w.c;
	for (unsigned i = 0; i < 4; i++)
		take(&w, 100);
	for (unsigned i = 0; i < 3; i++)
		heap_free(&w.heap, 0, take(&w, 200), 200);
	heap_free(&w.heap, 0, take(&w, QUARANTINE), 0);
	heap_free(&w.heap, 0, take(&w, 3), 0); /* its record was the one that was gone */
	heap_free(&w.heap, 0, take(&w, QUARANTINE), 0);
	live = &c->chunk[0][1];
	freed = &c->chunk[0][c->oldest];
	gone = &c->chunk[0][c->gone];
	ck_assert(heap_check(&w.heap));
	ck_assert(live->state == CHECKED_LIVE && freed->state == CHECKED_FREED && gone->state == CHECKED_GONE);
#define BROKEN(change, undo)                                                                                           \
	do {                                                                                                           \
		change;                                                                                                \
		ck_assert_msg(!heap_check(&w.heap), "%s", #change);                                                    \
		undo;                                                                                                  \
		ck_assert(heap_check(&w.heap));                                                                        \
	} while (0)
	BROKEN(c->live++, c->live--);
	BROKEN(c->asked++, c->asked--);
	BROKEN(c->beside++, c->beside--);
	BROKEN(was = (uint32_t)c->asked_max; c->asked_max = 1, c->asked_max = was);
	BROKEN(c->kept++, c->kept--);
	BROKEN(c->kept_bytes++, c->kept_bytes--);
	BROKEN(c->kept_watched++, c->kept_watched--);
	BROKEN(c->config.quarantine_bytes = 10, c->config.quarantine_bytes = QUARANTINE);
	BROKEN(was = c->gone; c->gone = 0, c->gone = was);
	BROKEN(was = gone->next; gone->next = c->gone, gone->next = was);
	BROKEN(was = gone->next; gone->next = c->made + 1, gone->next = was);
	BROKEN(was = gone->next; gone->next = 1, gone->next = was);
	BROKEN(was = c->newest; c->newest = c->oldest, c->newest = was);
	BROKEN(was = c->oldest; c->oldest = freed->next, c->oldest = was);
	BROKEN(was = c->cursor; c->cursor = 1, c->cursor = was);
	BROKEN(was = c->cursor; c->cursor = 0; c->cursor_offset++, c->cursor = was; c->cursor_offset--);
	BROKEN(live->state = CHECKED_LEAVING, live->state = CHECKED_LIVE);
	BROKEN(live->state = CHECKED_GONE, live->state = CHECKED_LIVE);
	BROKEN(freed->state = CHECKED_GONE, freed->state = CHECKED_FREED);
	BROKEN(gone->state = 9, gone->state = CHECKED_GONE);
#undef BROKEN
	ck_assert_uint_eq(w.reports, 0);
	world_close(&w);
}
END_TEST

/* ---- threads ---- */

#define PLACES	   64u
#define OPERATIONS 30000u

struct crowd {
	struct world *w;
	unsigned cpu;
	unsigned char **places; /* atomics; the first 8 bytes say how long it is */
};

static void *crowd_run(void *arg)
{
	struct crowd *me = arg;
	uint64_t random = 88172645463325252u + me->cpu;

	bed_at(0x10 + me->cpu, 0x20);
	for (unsigned i = 0; i < OPERATIONS; i++) {
		size_t bytes;
		unsigned char *mine, *other;

		random ^= random << 13;
		random ^= random >> 7;
		random ^= random << 17;
		bytes = 8 + random % 500;
		mine = heap_alloc(&me->w->heap, me->cpu, bytes);
		if (!mine)
			return me;
		memset(mine, (int)bytes & 0xff, bytes);
		memcpy(mine, &bytes, sizeof(bytes));
		other = __atomic_exchange_n(&me->places[random >> 32 & (PLACES - 1)], mine, __ATOMIC_ACQ_REL);
		if (!other)
			continue;
		memcpy(&bytes, other, sizeof(bytes));
		if (bytes > 8 && other[bytes - 1] != (bytes & 0xff))
			return me;
		if (i % 8 == 0) {
			other = heap_realloc(&me->w->heap, me->cpu, other, bytes, bytes + 40);
			bytes += 40;
		}
		if (!other)
			return me;
		heap_free(&me->w->heap, me->cpu, other, bytes);
	}
	return NULL;
}

START_TEST(threads)
{
	static unsigned char *places[PLACES];
	struct world w;
	struct crowd crowd[4];
	pthread_t thread[4];

	world_open(&w);
	memset(places, 0, sizeof(places));
	for (unsigned i = 0; i < 4; i++) {
		crowd[i] = (struct crowd){&w, i, places};
		ck_assert_int_eq(pthread_create(&thread[i], NULL, crowd_run, &crowd[i]), 0);
	}
	for (unsigned i = 0; i < 4; i++) {
		void *wrong;

		pthread_join(thread[i], &wrong);
		ck_assert_ptr_null(wrong);
	}
	for (unsigned i = 0; i < PLACES; i++)
		heap_free(&w.heap, 0, places[i], 0);
	ck_assert(heap_check(&w.heap));
	ck_assert_uint_eq(heap_stats_read(&w.heap).allocations, 0);
	ck_assert_uint_eq(w.reports, 0);
	world_close(&w);
}
END_TEST

Suite *checked_suite(void);
Suite *checked_suite(void)
{
	Suite *s = suite_create("checked");
	TCase *bugs = tcase_create("bugs"), *heap = tcase_create("heap");

	tcase_set_timeout(heap, 60);
	tcase_add_loop_test(bugs, overrun_by_1, 0, 11);
	tcase_add_test(bugs, overrun_of_0_bytes);
	tcase_add_loop_test(bugs, underrun, 0, 6);
	tcase_add_loop_test(bugs, wide_redzones, 0, 2);
	tcase_add_test(bugs, names);
	tcase_add_loop_test(bugs, use_after_free_at_the_next_touch, 0, 2);
	tcase_add_loop_test(bugs, use_after_free_by_and_by, 0, 4);
	tcase_add_test(bugs, use_after_free_after_a_full_quarantine);
	tcase_add_test(bugs, reads_no_more_than_is_asked);
	tcase_add_test(bugs, known_without_a_lock);
	tcase_add_loop_test(bugs, double_free, 0, 4);
	tcase_add_loop_test(bugs, free_of_a_middle, 0, 7);
	tcase_add_loop_test(bugs, free_of_foreign_memory, 0, 5);
	tcase_add_loop_test(bugs, free_on_the_wrong_heap, 0, 2);
	tcase_add_test(bugs, nested_wrong_heap);
	tcase_add_loop_test(bugs, wrong_size, 0, 3);
	tcase_add_test(bugs, poisoned);
	tcase_add_test_raise_signal(bugs, panics, SIGABRT);
	tcase_add_test(bugs, without_sites);
	tcase_add_loop_test(bugs, reads_what_it_may, 0, 3);
	tcase_add_test(heap, random_bugs);
	tcase_add_loop_test(heap, conforms, 0, 3);
	tcase_add_test(heap, random_operations);
	tcase_add_test(heap, refused_by_a_fault);
	tcase_add_test(heap, refused_from_below);
	tcase_add_loop_test(heap, blocks_max, 0, 2);
	tcase_add_test(heap, set_up_wrong);
	tcase_add_test(heap, growth_moves_while_small);
	tcase_add_test(heap, quarantine_is_bounded);
	tcase_add_test(heap, checker_objects);
	tcase_add_test(heap, threads);
	suite_add_tcase(s, bugs);
	suite_add_tcase(s, heap);
	return s;
}
