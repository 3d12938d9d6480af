/* tests/unit/test_pagetable.c: mm/pagetable against a model that remembers every
 * 4K page of a few windows. Since no table is collapsible and none is empty, the
 * model knows the exact shape of the table, not only what it translates to.
 * What it does not see: a real hardware walker (that is the oracles' work). */
#include <check.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "mm/pagetable.h"
#include "tests/unit/random.h"

/* ck_assert() writes to a file each time: too slow for a million deeds. */
#define MUST(x)                                                                                                        \
	do {                                                                                                           \
		if (!(x))                                                                                              \
			ck_abort_msg("%s", #x);                                                                        \
	} while (0)

#define KIB UINT64_C(1024)
#define MIB (KIB * KIB)
#define GIB (KIB * MIB)
#define RWX (PAGETABLE_READ | PAGETABLE_WRITE | PAGETABLE_EXEC)

/* ---- an arena whose pages come in no order, dirty, and may run out ---- */

#define ARENA_FIRST 0x300u
#define ARENA_MAX   2048u

struct arena {
	unsigned char *memory, *before;
	bool taken[ARENA_MAX], taken_before[ARENA_MAX];
	uint64_t frames, used, gets;
	uint64_t fail_after; /* the n-th get from now is refused; 0: none */
	bool fired;
};

static enum mm_err arena_get(void *self, struct pfn *out)
{
	struct arena *a = self;
	uint64_t n;

	a->gets++;
	if (a->fail_after > 0 && --a->fail_after == 0) {
		a->fired = true;
		return MM_ENOMEM;
	}
	if (a->used == a->frames)
		return MM_ENOMEM;
	for (n = a->gets * 7 % a->frames; a->taken[n]; n = (n + 1) % a->frames)
		;
	a->taken[n] = true;
	a->used++;
	memset(a->memory + n * FRAME_BYTES, 0xcc, FRAME_BYTES);
	out->n = ARENA_FIRST + n;
	return MM_OK;
}

static void arena_put(void *self, struct pfn page)
{
	struct arena *a = self;
	uint64_t n = page.n - ARENA_FIRST;

	if (n >= a->frames || !a->taken[n])
		ck_abort_msg("a page put back that was not got");
	a->taken[n] = false;
	a->used--;
	memset(a->memory + n * FRAME_BYTES, 0xdd, FRAME_BYTES);
}

static void arena_make(struct arena *a, uint64_t frames)
{
	*a = (struct arena){.frames = frames};
	a->memory = aligned_alloc(FRAME_BYTES, frames * FRAME_BYTES);
	a->before = malloc(frames * FRAME_BYTES);
}

static void arena_free(struct arena *a)
{
	free(a->memory);
	free(a->before);
}

static void arena_save(struct arena *a)
{
	memcpy(a->taken_before, a->taken, sizeof(a->taken));
	for (uint64_t n = 0; n < a->frames; n++)
		if (a->taken[n])
			memcpy(a->before + n * FRAME_BYTES, a->memory + n * FRAME_BYTES, FRAME_BYTES);
}

/* The same pages are in use, and not a byte of them differs. */
static bool arena_same(const struct arena *a)
{
	if (memcmp(a->taken, a->taken_before, sizeof(a->taken)) != 0)
		return false;
	for (uint64_t n = 0; n < a->frames; n++)
		if (a->taken[n] && memcmp(a->before + n * FRAME_BYTES, a->memory + n * FRAME_BYTES, FRAME_BYTES) != 0)
			return false;
	return true;
}

static struct pagetable_config config_for(struct arena *a, enum pagetable_format format)
{
	return (struct pagetable_config){
		.format = format,
		.phys_bits = 40,
		.leaf_max = PAGETABLE_1G,
		.execute_only = true,
		.arena = a->memory,
		.arena_first = {ARENA_FIRST},
		.arena_frames = a->frames,
		.pages = {a, arena_get, arena_put},
	};
}

/* The accessed bit of an entry; the dirty one is the next. */
static uint64_t accessed_of(enum pagetable_format format)
{
	return format == PAGETABLE_EPT || format == PAGETABLE_DOMAIN ? 0x100 : 0x20;
}

static uint64_t *page_at(const struct arena *a, uint64_t entry)
{
	uint64_t frame = (entry & UINT64_C(0xffffffffff000)) >> 12;

	return (uint64_t *)(void *)(a->memory + (frame - ARENA_FIRST) * FRAME_BYTES);
}

/* The entry of this level (3 is the root) for an address, found by hand. */
static uint64_t *entry_at(const struct arena *a, const struct pagetable *pt, uint64_t in, unsigned level)
{
	uint64_t *table = page_at(a, pagetable_root_address(pt));

	for (unsigned l = 3; l > level; l--)
		table = page_at(a, table[in >> (12 + 9 * l) & 511]);
	return &table[in >> (12 + 9 * level) & 511];
}

/* ---- the model ---- */

/* What the model knows one by one: 4K pages, or 2M units where leaves of 1G are to come and go quickly. */
static struct {
	enum pagetable_size size;
	uint64_t bytes;
} unit = {PAGETABLE_4K, FRAME_BYTES};

struct page {
	uint64_t out;
	struct pagetable_attr attr;
	bool mapped, accessed, dirty;
	enum pagetable_size size; /* of the leaf that holds it, since the model was settled */
};

#define WINDOWS_MAX 6u

struct window {
	uint64_t in;  /* a multiple of leaf_max's size, so that no leaf reaches out of it */
	uint64_t out; /* where its first page goes, mostly */
	uint64_t pages;
	struct page *page, *before;
};

struct world {
	struct arena arena;
	struct pagetable pt;
	enum pagetable_format format;
	enum pagetable_size leaf_max;
	unsigned phys_bits;
	struct window window[WINDOWS_MAX]; /* in address order */
	unsigned windows;
	struct pagetable_attr attrs[3];
};

static bool attr_same(struct pagetable_attr a, struct pagetable_attr b)
{
	return a.rights == b.rights && a.memory == b.memory;
}

static uint64_t units_of(enum pagetable_size size)
{
	return pagetable_size_bytes(size) / unit.bytes;
}

/* Whether the pages [p, p + n) are one leaf's worth. */
static bool one_leaf(const struct page *page, uint64_t pages, uint64_t p, uint64_t n)
{
	const struct page *first = &page[p];

	if (p % n != 0 || p + n > pages || !first->mapped || first->out % (n * unit.bytes) != 0)
		return false;
	for (uint64_t i = n - 1; i > 0; i--) /* from the far end: it differs soonest */
		if (!first[i].mapped || first[i].out != first->out + i * unit.bytes ||
		    !attr_same(first[i].attr, first->attr))
			return false;
	return true;
}

static enum pagetable_size size_at(const struct world *w, const struct window *win, uint64_t p)
{
	for (enum pagetable_size s = w->leaf_max; s > unit.size && win->page[p].mapped; s--)
		if (one_leaf(win->page, win->pages, p, units_of(s)))
			return s;
	return unit.size;
}

struct span { /* pages [first, end) */
	uint64_t first, end;
};

/* The leaf that holds the page. */
static struct span leaf_around(const struct page *page, uint64_t p)
{
	uint64_t n = units_of(page[p].size), first = p & ~(n - 1);

	return (struct span){first, first + n};
}

/* Finds the leaves anew; the pages of one leaf share A and D. */
static void model_settle(struct world *w, struct window *win)
{
	for (uint64_t p = 0, n; p < win->pages; p += n) {
		enum pagetable_size size = size_at(w, win, p);
		bool accessed = false, dirty = false;

		n = units_of(size);
		for (uint64_t k = p; k < p + n; k++) {
			accessed |= win->page[k].accessed;
			dirty |= win->page[k].dirty;
		}
		for (uint64_t k = p; k < p + n; k++) {
			win->page[k].accessed = accessed;
			win->page[k].dirty = dirty;
			win->page[k].size = size;
		}
	}
}

static bool same_leaf(const struct world *w, const struct window *win, uint64_t p, enum pagetable_size size)
{
	uint64_t bytes = pagetable_size_bytes(size), in = win->in + p * unit.bytes;
	const struct page *page = &win->page[p];
	struct pagetable_leaf leaf;

	if (!pagetable_walk(&w->pt, in + below(bytes), &leaf))
		return false;
	return leaf.in == in && leaf.out == page->out && leaf.size == size && attr_same(leaf.attr, page->attr) &&
	       leaf.accessed == page->accessed && leaf.dirty == page->dirty;
}

/* Every leaf, and the counts of leaves and tables that follow from them. */
static bool same_table(const struct world *w)
{
	struct pagetable_stats want = {.tables = 1}, got = pagetable_stats_read(&w->pt);
	uint64_t last[3] = {UINT64_MAX, UINT64_MAX, UINT64_MAX};
	struct pagetable_leaf leaf;

	for (unsigned i = 0; i < w->windows; i++) {
		const struct window *win = &w->window[i];

		for (uint64_t p = 0; p < win->pages;) {
			uint64_t in = win->in + p * unit.bytes;
			enum pagetable_size size;

			if (!win->page[p].mapped) {
				if (pagetable_walk(&w->pt, in + below(unit.bytes), &leaf))
					return false;
				p++;
				continue;
			}
			size = win->page[p].size;
			if (!same_leaf(w, win, p, size))
				return false;
			want.leaves[size]++;
			for (unsigned level = size; level < 3; level++)
				if (in >> (21 + 9 * level) != last[level]) {
					last[level] = in >> (21 + 9 * level);
					want.tables++;
				}
			p += units_of(size);
		}
	}
	return memcmp(want.leaves, got.leaves, sizeof(want.leaves)) == 0 && want.tables == got.tables &&
	       got.tables + got.retired == w->arena.used && got.tables_max >= got.tables;
}

/* The run that starts at page p of a window; it may go on in a window that adjoins. */
static struct pagetable_run model_run(const struct world *w, unsigned i, uint64_t p)
{
	const struct window *win = &w->window[i];
	struct pagetable_run run = {.in = win->in + p * unit.bytes, .out = win->page[p].out, .attr = win->page[p].attr};

	while (p < win->pages) {
		const struct page *page = &win->page[p];
		enum pagetable_size size;

		if (!page->mapped || page->out != run.out + run.bytes || !attr_same(page->attr, run.attr))
			break;
		size = win->page[p].size;
		run.bytes += pagetable_size_bytes(size);
		run.leaves[size]++;
		p += units_of(size);
	}
	return run;
}

static bool same_run(const struct pagetable_run *a, const struct pagetable_run *b)
{
	return a->in == b->in && a->out == b->out && a->bytes == b->bytes && attr_same(a->attr, b->attr) &&
	       memcmp(a->leaves, b->leaves, sizeof(a->leaves)) == 0;
}

/* All runs in order, then none. */
static bool same_runs(const struct world *w)
{
	struct pagetable_run got, want;
	uint64_t in = 0;
	bool end = false;

	for (unsigned i = 0; i < w->windows; i++)
		for (uint64_t p = 0; p < w->window[i].pages;) {
			if (!w->window[i].page[p].mapped) {
				p++;
				continue;
			}
			want = model_run(w, i, p);
			if (end || !pagetable_next_run(&w->pt, in, &got) || !same_run(&got, &want))
				return false;
			p += want.bytes / unit.bytes;
			in = want.in + want.bytes;
			end = in == 0;
		}
	return end || !pagetable_next_run(&w->pt, in, &got);
}

/* From inside a mapped page: the run starts at that page's leaf. */
static bool same_run_inside(const struct world *w)
{
	unsigned i = (unsigned)below(w->windows);
	const struct window *win = &w->window[i];
	uint64_t p = below(win->pages);
	struct pagetable_run got, want;

	if (!win->page[p].mapped)
		return true;
	want = model_run(w, i, leaf_around(win->page, p).first);
	return pagetable_next_run(&w->pt, win->in + p * unit.bytes + below(unit.bytes), &got) && same_run(&got, &want);
}

/* Some page, whatever it is. */
static bool same_somewhere(const struct world *w)
{
	const struct window *win = &w->window[below(w->windows)];
	uint64_t p = below(win->pages);
	struct pagetable_leaf leaf;
	struct span s;

	if (!win->page[p].mapped)
		return !pagetable_walk(&w->pt, win->in + p * unit.bytes, &leaf);
	s = leaf_around(win->page, p);
	return same_leaf(w, win, s.first, win->page[s.first].size);
}

static void world_compare(const struct world *w)
{
	MUST(pagetable_check(&w->pt));
	MUST(same_table(w));
	MUST(same_runs(w));
	MUST(same_run_inside(w));
}

/* ---- deeds ---- */

enum verb { MAP, UNMAP, PROTECT, HARVEST, VERBS };
struct deed {
	enum verb verb;
	struct window *window;
	uint64_t p, n, out; /* pages [p, p + n) */
	struct pagetable_attr attr;
	unsigned clear;
};

/* What harvest tells, against the model: each leaf with a mark, in order, as it was. */
struct told {
	const struct deed *deed;
	uint64_t p; /* where the next leaf starts at the earliest */
	bool wrong;
};

static uint64_t next_marked(const struct told *t)
{
	const struct window *win = t->deed->window;
	uint64_t p = t->p;

	while (p < t->deed->p + t->deed->n && !(win->page[p].mapped && (win->page[p].accessed || win->page[p].dirty)))
		p++;
	return p;
}

static void told_leaf(void *self, const struct pagetable_leaf *leaf)
{
	struct told *t = self;
	const struct window *win = t->deed->window;
	uint64_t p = next_marked(t);
	struct span s;

	if (p >= t->deed->p + t->deed->n) {
		t->wrong = true;
		return;
	}
	s = leaf_around(win->page, p);
	t->wrong |= leaf->in != win->in + s.first * unit.bytes || leaf->out != win->page[s.first].out ||
		    pagetable_size_bytes(leaf->size) != (s.end - s.first) * unit.bytes ||
		    !attr_same(leaf->attr, win->page[p].attr) || leaf->accessed != win->page[p].accessed ||
		    leaf->dirty != win->page[p].dirty;
	t->p = s.end;
}

static enum mm_err deed_do(struct world *w, const struct deed *d, struct pagetable_flush *flush)
{
	uint64_t in = d->window->in + d->p * unit.bytes, bytes = d->n * unit.bytes;
	struct told told = {d, d->p, false};
	const struct pagetable_marked tell = {&told, told_leaf};
	enum mm_err err;

	if (d->verb == MAP)
		return pagetable_map(&w->pt, in, d->out, bytes, d->attr);
	if (d->verb == UNMAP)
		return pagetable_unmap(&w->pt, in, bytes, flush);
	if (d->verb == PROTECT)
		return pagetable_protect(&w->pt, in, bytes, d->attr, flush);
	err = pagetable_harvest(&w->pt, in, bytes, d->clear, below(8) ? &tell : NULL, flush);
	MUST(!told.wrong);
	MUST(told.p == d->p || next_marked(&told) >= d->p + d->n);
	return err;
}

static void model_harvest(const struct deed *d)
{
	struct page *page = d->window->page;

	for (uint64_t k = leaf_around(page, d->p).first; k < leaf_around(page, d->p + d->n - 1).end; k++) {
		page[k].accessed &= !(d->clear & PAGETABLE_ACCESSED);
		page[k].dirty &= !(d->clear & PAGETABLE_DIRTY);
	}
}

static enum mm_err deed_model(struct world *w, const struct deed *d)
{
	struct window *win = d->window;

	if (d->verb == MAP)
		for (uint64_t k = d->p; k < d->p + d->n; k++)
			if (win->page[k].mapped)
				return MM_EEXIST;
	if (d->verb == HARVEST) {
		model_harvest(d);
		return MM_OK;
	}
	for (uint64_t k = d->p; k < d->p + d->n; k++) {
		struct page *page = &win->page[k];

		if (d->verb == MAP)
			*page = (struct page){.out = d->out + (k - d->p) * unit.bytes, .attr = d->attr, .mapped = true};
		else if (d->verb == UNMAP)
			*page = (struct page){.mapped = false};
		else if (page->mapped)
			page->attr = d->attr;
	}
	model_settle(w, win);
	return MM_OK;
}

/* Whether walkers must forget the page, and whether it allows less than before. */
static bool page_changed(const struct page *was, const struct page *is, bool *narrowed)
{
	if (!was->mapped)
		return false;
	if (is->mapped && attr_same(was->attr, is->attr))
		return (was->accessed && !is->accessed) || (was->dirty && !is->dirty);
	*narrowed |= !is->mapped || (was->attr.rights & ~is->attr.rights) || was->attr.memory != is->attr.memory;
	return true;
}

/* The flush covers each page that translates otherwise now or lost a mark, says whether something was taken
 * away, and reaches no further than the leaves, old and new, that hold the first and the last of these. */
static bool flush_right(const struct deed *d, const struct pagetable_flush *flush)
{
	const struct window *win = d->window;
	struct span changed = {UINT64_MAX, 0}, outer, now;
	uint64_t first, end; /* of the flush, in pages of the window; the end may be 2^64, so by its last byte */
	bool narrowed = false;

	for (uint64_t k = 0; k < win->pages; k++)
		if (page_changed(&win->before[k], &win->page[k], &narrowed)) {
			changed.first = changed.first < k ? changed.first : k;
			changed.end = k + 1;
		}
	if (changed.end == 0)
		return flush->first == flush->end && !flush->narrowed;
	if (flush->narrowed != narrowed || flush->first < win->in)
		return false;
	first = (flush->first - win->in) / unit.bytes;
	end = (flush->end - 1 - win->in) / unit.bytes + 1;
	outer.first = leaf_around(win->before, changed.first).first;
	outer.end = leaf_around(win->before, changed.end - 1).end;
	now = (struct span){leaf_around(win->page, changed.first).first, leaf_around(win->page, changed.end - 1).end};
	if (d->verb == UNMAP) /* exact: a leaf that was split lost only its part */
		outer = changed;
	outer.first = outer.first < now.first ? outer.first : now.first;
	outer.end = outer.end > now.end ? outer.end : now.end;
	return first <= changed.first && end >= changed.end && first >= outer.first && end <= outer.end;
}

/* One deed in 16 is first tried with each of its pages refused in turn; a refusal leaves every byte as it was. */
static enum mm_err world_do(struct world *w, const struct deed *d)
{
	const struct pagetable_flush untouched = {.first = 1, .end = 2, .narrowed = true};
	struct pagetable before = w->pt;
	struct pagetable_flush flush = untouched;
	bool refused = below(16) == 0;
	enum mm_err err;

	memcpy(d->window->before, d->window->page, d->window->pages * sizeof(struct page));
	if (refused)
		arena_save(&w->arena);
	for (uint64_t n = refused ? 1 : 0;; n++) {
		w->arena.fired = false;
		w->arena.fail_after = n;
		err = deed_do(w, d, &flush);
		if (!w->arena.fired)
			break;
		MUST(err == MM_ENOMEM && arena_same(&w->arena) && memcmp(&before, &w->pt, sizeof(before)) == 0 &&
		     memcmp(&flush, &untouched, sizeof(flush)) == 0);
	}
	w->arena.fail_after = 0;
	MUST(err == deed_model(w, d));
	if (err != MM_OK)
		MUST(memcmp(&before, &w->pt, sizeof(before)) == 0);
	else if (d->verb != MAP)
		MUST(flush_right(d, &flush));
	return err;
}

/* What a walker does: marks leaves here and there. */
static void world_mark(struct world *w)
{
	uint64_t accessed = accessed_of(w->format), dirty = accessed << 1;
	struct window *win = &w->window[below(w->windows)];
	struct pagetable_leaf leaf;

	for (unsigned i = 0; i < 4; i++) {
		uint64_t p = below(win->pages), in = win->in + p * unit.bytes;
		bool write = below(2);
		struct span s;

		if (!pagetable_walk(&w->pt, in, &leaf))
			continue;
		*entry_at(&w->arena, &w->pt, in, leaf.size) |= accessed | (write ? dirty : 0);
		for (unsigned level = leaf.size + 1u; level < 4; level++)
			*entry_at(&w->arena, &w->pt, in, level) |= accessed;
		s = leaf_around(win->page, p);
		for (uint64_t k = s.first; k < s.end; k++) {
			win->page[k].accessed = true;
			win->page[k].dirty |= write;
		}
	}
}

struct kind {
	enum pagetable_format format;
	enum pagetable_size leaf_max, unit;
	unsigned phys_bits;
};

static void world_make(struct world *w, struct kind kind, uint64_t frames)
{
	struct pagetable_config config;

	*w = (struct world){.format = kind.format, .leaf_max = kind.leaf_max, .phys_bits = kind.phys_bits};
	unit.size = kind.unit;
	unit.bytes = pagetable_size_bytes(kind.unit);
	arena_make(&w->arena, frames);
	config = config_for(&w->arena, kind.format);
	config.leaf_max = kind.leaf_max;
	config.phys_bits = kind.phys_bits;
	ck_assert_int_eq(pagetable_init(&w->pt, &config), MM_OK);
	w->attrs[0] = (struct pagetable_attr){.rights = RWX};
	w->attrs[1] = (struct pagetable_attr){.rights = PAGETABLE_READ};
	w->attrs[2] = (struct pagetable_attr){.rights = PAGETABLE_READ | PAGETABLE_WRITE, .memory = PAGETABLE_UNCACHED};
	if (kind.format == PAGETABLE_NPT || kind.format == PAGETABLE_STAGE1)
		w->attrs[0].rights |= PAGETABLE_USER;
	if (kind.format == PAGETABLE_EPT)
		w->attrs[2].memory = PAGETABLE_WRITE_PROTECTED;
	if (kind.format == PAGETABLE_DOMAIN) {
		w->attrs[0].rights = PAGETABLE_READ | PAGETABLE_WRITE;
		w->attrs[2] = (struct pagetable_attr){.rights = PAGETABLE_WRITE};
	}
}

static void world_window(struct world *w, uint64_t in, uint64_t out, uint64_t bytes)
{
	struct window *win = &w->window[w->windows++];

	*win = (struct window){.in = in, .out = out, .pages = bytes / unit.bytes};
	win->page = calloc(win->pages, sizeof(struct page));
	win->before = calloc(win->pages, sizeof(struct page));
	model_settle(w, win);
}

/* Unmaps all; every page must come back. */
static void world_free(struct world *w)
{
	for (unsigned i = 0; i < w->windows; i++) {
		struct window *win = &w->window[i];

		ck_assert_int_eq(pagetable_unmap(&w->pt, win->in, win->pages * unit.bytes, NULL), MM_OK);
		free(win->page);
		free(win->before);
	}
	ck_assert(pagetable_check(&w->pt));
	ck_assert_uint_eq(pagetable_stats_read(&w->pt).tables, 1);
	pagetable_flushed(&w->pt);
	ck_assert_uint_eq(w->arena.used, 1);
	pagetable_fini(&w->pt);
	ck_assert_uint_eq(w->arena.used, 0);
	arena_free(&w->arena);
}

/* A page number, often the edge of a large leaf. */
static uint64_t any_edge(const struct world *w, const struct window *win)
{
	uint64_t p = below(win->pages + 1), grain = below(5);

	if (grain < 2)
		p &= ~UINT64_C(511);
	else if (grain == 2)
		p &= ~(units_of(w->leaf_max) - 1);
	return p;
}

static struct deed any_deed(struct world *w)
{
	struct deed d = {.verb = (enum verb)below(VERBS), .window = &w->window[below(w->windows)]};
	uint64_t a = any_edge(w, d.window), b = any_edge(w, d.window), limit = UINT64_C(1) << w->phys_bits;

	if (a == b)
		a = b > 0 ? b - 1 : b++;
	d.p = a < b ? a : b;
	d.n = (a < b ? b : a) - d.p;
	if (d.verb == MAP) { /* shrink to what is free from p on, so that most maps are taken */
		uint64_t n = 0;

		while (n < d.n && !d.window->page[d.p + n].mapped)
			n++;
		if (n > 0 && below(8))
			d.n = n;
	}
	d.attr = w->attrs[below(6) < 4 ? 0 : below(3)];
	d.out = d.window->out + d.p * unit.bytes;
	d.clear = (unsigned)below(4);
	if (below(5) == 0)
		d.out = below((limit - d.n * unit.bytes) / unit.bytes + 1) * unit.bytes;
	return d;
}

/* All that there is is compared after each `pace` deeds. */
static void random_deeds(struct world *w, unsigned deeds, unsigned pace)
{
	for (unsigned i = 1; i <= deeds; i++) {
		struct deed d = any_deed(w);

		(void)world_do(w, &d);
		if (below(3) == 0)
			world_mark(w);
		if (i % pace == 0)
			world_compare(w);
		else if (i % 4 == 0)
			MUST(pagetable_check(&w->pt));
		MUST(same_somewhere(w));
		if (below(6) == 0)
			pagetable_flushed(&w->pt);
	}
}

#define FORMATS 4

START_TEST(random_small_windows)
{
	struct world w;
	enum pagetable_format format = (enum pagetable_format)(_i / 2);
	uint64_t top = UINT64_C(1) << 40;

	seed(100 + (uint64_t)_i);
	world_make(&w, (struct kind){format, _i % 2 ? PAGETABLE_4K : PAGETABLE_1G, PAGETABLE_4K, 40}, 256);
	if (_i % 2 == 0)
		w.leaf_max = PAGETABLE_2M; /* all that fits in such windows */
	world_window(&w, 0, 0, 4 * MIB);
	world_window(&w, GIB - 4 * MIB, 5 * GIB - 4 * MIB, 8 * MIB);
	world_window(&w, 4 * GIB - 4 * MIB, top - 8 * MIB, 8 * MIB);
	if (format == PAGETABLE_STAGE1) {
		world_window(&w, (UINT64_C(1) << 47) - 4 * MIB, 7 * GIB - 4 * MIB, 4 * MIB);
		world_window(&w, -(UINT64_C(1) << 47), 7 * GIB, 4 * MIB); /* goes on where the low half ends */
		world_window(&w, -4 * MIB, 9 * GIB, 4 * MIB);
	} else {
		world_window(&w, (UINT64_C(1) << 48) - 4 * MIB, 9 * GIB, 4 * MIB);
	}
	random_deeds(&w, 1000, 4);
	world_free(&w);
}
END_TEST

/* All three sizes at once. */
START_TEST(random_large_window)
{
	struct world w;

	seed(200 + (uint64_t)_i);
	world_make(&w, (struct kind){(enum pagetable_format)_i, PAGETABLE_1G, PAGETABLE_4K, 46}, ARENA_MAX);
	world_window(&w, 511 * GIB, 3 * GIB, 2 * GIB); /* across two entries of the root */
	random_deeds(&w, 60, 2);
	world_free(&w);
}
END_TEST

/* A million deeds in all: each format, each leaf_max, three widths. */
#define MANY_KINDS 3
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define MANY_DEEDS 8400u
#else
#define MANY_DEEDS 84000u
#endif
START_TEST(random_many)
{
	static const struct kind kinds[MANY_KINDS] = {
		{0, PAGETABLE_4K, PAGETABLE_4K, 40},
		{0, PAGETABLE_2M, PAGETABLE_4K, 46},
		{0, PAGETABLE_1G, PAGETABLE_2M, 52},
	};
	struct kind kind = kinds[_i % MANY_KINDS];
	struct world w;
	uint64_t bytes, top;

	kind.format = (enum pagetable_format)(_i / MANY_KINDS);
	seed(300 + (uint64_t)_i);
	world_make(&w, kind, 64);
	bytes = 512 * unit.bytes;
	top = UINT64_C(1) << kind.phys_bits;
	world_window(&w, 0, bytes, bytes);
	world_window(&w, 511 * bytes, top - 2 * bytes, 2 * bytes); /* across two entries of a higher table */
	random_deeds(&w, MANY_DEEDS, 64);
	world_free(&w);
}
END_TEST

/* ---- a small table ---- */

#define READERS 3u

struct fixture {
	struct arena a;
	struct pagetable pt;
	struct pagetable_reader readers[READERS];
};

static struct fixture f;
static const struct pagetable_attr rwx = {.rights = RWX}, readable = {.rights = PAGETABLE_READ};

static void fixture_make_as(enum pagetable_format format, uint64_t frames, unsigned phys_bits)
{
	struct pagetable_config config;

	arena_make(&f.a, frames);
	memset(f.readers, 0, sizeof(f.readers));
	config = config_for(&f.a, format);
	config.readers = f.readers;
	config.readers_count = READERS;
	config.phys_bits = phys_bits;
	ck_assert_int_eq(pagetable_init(&f.pt, &config), MM_OK);
}

static void fixture_make(enum pagetable_format format, uint64_t frames)
{
	fixture_make_as(format, frames, 40);
}

static void fixture_free(void)
{
	ck_assert(pagetable_check(&f.pt));
	pagetable_fini(&f.pt);
	ck_assert_uint_eq(f.a.used, 0);
	arena_free(&f.a);
}

/* ---- exact bits ---- */

struct golden {
	enum pagetable_format format;
	bool ignore_pat;
	unsigned rights;
	enum pagetable_memory memory;
	uint64_t small, large, link; /* entries for a 4K leaf at 0x12345000, a 2M and a 1G leaf at 0x40000000 */
};

static const struct golden goldens[] = {
	{PAGETABLE_EPT, false, RWX, PAGETABLE_WRITE_BACK, 0x12345037, 0x400000b7, 7},
	{PAGETABLE_EPT, true, RWX, PAGETABLE_WRITE_BACK, 0x12345077, 0x400000f7, 7},
	{PAGETABLE_EPT, false, PAGETABLE_READ, PAGETABLE_WRITE_BACK, 0x12345031, 0x400000b1, 7},
	{PAGETABLE_EPT, false, PAGETABLE_READ | PAGETABLE_WRITE, PAGETABLE_UNCACHED, 0x12345003, 0x40000083, 7},
	{PAGETABLE_EPT, true, PAGETABLE_READ | PAGETABLE_EXEC, PAGETABLE_UNCACHED, 0x12345045, 0x400000c5, 7},
	{PAGETABLE_EPT, false, PAGETABLE_EXEC, PAGETABLE_WRITE_BACK, 0x12345034, 0x400000b4, 7},
	{PAGETABLE_EPT, false, RWX, PAGETABLE_WRITE_THROUGH, 0x12345027, 0x400000a7, 7},
	{PAGETABLE_EPT, false, RWX, PAGETABLE_WRITE_COMBINING, 0x1234500f, 0x4000008f, 7},
	{PAGETABLE_EPT, false, RWX, PAGETABLE_WRITE_PROTECTED, 0x1234502f, 0x400000af, 7},
	{PAGETABLE_NPT, false, RWX | PAGETABLE_USER, PAGETABLE_WRITE_BACK, 0x12345007, 0x40000087, 7},
	{PAGETABLE_NPT, false, RWX | PAGETABLE_USER, PAGETABLE_WRITE_THROUGH, 0x1234500f, 0x4000008f, 7},
	{PAGETABLE_NPT, false, RWX | PAGETABLE_USER, PAGETABLE_UNCACHED_MINUS, 0x12345017, 0x40000097, 7},
	{PAGETABLE_NPT, true, RWX, PAGETABLE_WRITE_BACK, 0x12345003, 0x40000083, 7},
	{PAGETABLE_NPT, false, PAGETABLE_READ | PAGETABLE_USER, PAGETABLE_WRITE_BACK, 0x8000000012345005,
	 0x8000000040000085, 7},
	{PAGETABLE_NPT, false, RWX | PAGETABLE_USER, PAGETABLE_UNCACHED, 0x1234501f, 0x4000009f, 7},
	{PAGETABLE_STAGE1, false, RWX, PAGETABLE_WRITE_BACK, 0x12345003, 0x40000083, 7},
	{PAGETABLE_STAGE1, false, PAGETABLE_READ, PAGETABLE_UNCACHED, 0x8000000012345019, 0x8000000040000099, 7},
	{PAGETABLE_STAGE1, false, RWX | PAGETABLE_USER, PAGETABLE_WRITE_BACK, 0x12345007, 0x40000087, 7},
	{PAGETABLE_DOMAIN, false, PAGETABLE_READ, PAGETABLE_WRITE_BACK, 0x12345001, 0x40000081, 3},
	{PAGETABLE_DOMAIN, true, PAGETABLE_WRITE, PAGETABLE_WRITE_BACK, 0x12345002, 0x40000082, 3},
	{PAGETABLE_DOMAIN, false, PAGETABLE_READ | PAGETABLE_WRITE, PAGETABLE_WRITE_BACK, 0x12345003, 0x40000083, 3},
};

START_TEST(exact_bits)
{
	const struct golden *g = &goldens[_i];
	struct pagetable_attr attr = {g->rights, g->memory};
	struct pagetable_config config;
	struct pagetable_leaf leaf;
	struct pagetable pt;
	struct arena a;

	arena_make(&a, 16);
	config = config_for(&a, g->format);
	config.ignore_pat = g->ignore_pat;
	ck_assert_int_eq(pagetable_init(&pt, &config), MM_OK);
	ck_assert_int_eq(pagetable_map(&pt, 0x1000, 0x12345000, 0x1000, attr), MM_OK);
	ck_assert_int_eq(pagetable_map(&pt, 2 * MIB, 0x40000000, 2 * MIB, attr), MM_OK);
	ck_assert_int_eq(pagetable_map(&pt, GIB, 0x40000000, GIB, attr), MM_OK);
	ck_assert_uint_eq(*entry_at(&a, &pt, 0x1000, 0), g->small);
	ck_assert_uint_eq(*entry_at(&a, &pt, 2 * MIB, 1), g->large);
	ck_assert_uint_eq(*entry_at(&a, &pt, GIB, 2), g->large);
	for (unsigned level = 1; level < 4; level++)
		ck_assert_uint_eq(*entry_at(&a, &pt, 0x1000, level) & UINT64_C(0xfff0000000000fff), g->link);
	ck_assert_uint_eq(pagetable_root_address(&pt), pt.root.n * 4096);

	ck_assert(pagetable_walk(&pt, 0x1fff, &leaf) && attr_same(leaf.attr, attr));
	ck_assert(!leaf.accessed && !leaf.dirty);
	*entry_at(&a, &pt, 0x1000, 0) |= accessed_of(g->format);
	ck_assert(pagetable_walk(&pt, 0x1000, &leaf) && leaf.accessed && !leaf.dirty);
	*entry_at(&a, &pt, 0x1000, 0) |= accessed_of(g->format) << 1;
	ck_assert(pagetable_walk(&pt, 0x1000, &leaf) && leaf.accessed && leaf.dirty);
	ck_assert(pagetable_check(&pt));
	pagetable_fini(&pt);
	ck_assert_uint_eq(a.used, 0);
	arena_free(&a);
}
END_TEST

/* What each format can say, from the manuals and not from the codec. */
static bool sayable(enum pagetable_format format, bool execute_only, unsigned rights, unsigned memory)
{
	bool read = rights & PAGETABLE_READ, write = rights & PAGETABLE_WRITE, exec = rights & PAGETABLE_EXEC;

	if (rights >= 16 || memory > 5)
		return false;
	switch (format) {
	case PAGETABLE_EPT: /* 29.3.3.1: W without R, X alone where it cannot be, memory types 2, 3, 7 */
		if ((rights & PAGETABLE_USER) || memory == PAGETABLE_UNCACHED_MINUS)
			return false;
		return read || (exec && !write && execute_only);
	case PAGETABLE_DOMAIN:
		return (read || write) && !exec && !(rights & PAGETABLE_USER) && memory == PAGETABLE_WRITE_BACK;
	default:
		return read && memory <= PAGETABLE_UNCACHED;
	}
}

/* _i: a format, and whether execute-only is allowed. Refused before a page is got; what is taken is told again. */
START_TEST(every_right_and_type)
{
	enum pagetable_format format = (enum pagetable_format)(_i / 2);
	struct pagetable_config config;
	struct pagetable_leaf leaf;
	struct pagetable_flush flush;
	struct pagetable pt;
	struct arena a;
	unsigned said = 0;

	arena_make(&a, 16);
	config = config_for(&a, format);
	config.execute_only = _i % 2;
	ck_assert_int_eq(pagetable_init(&pt, &config), MM_OK);
	for (unsigned i = 0; i < 32 * 10; i++) {
		struct pagetable_attr attr = {i % 32, (enum pagetable_memory)(i / 32)};
		enum mm_err want = sayable(format, config.execute_only, i % 32, i / 32) ? MM_OK : MM_EINVAL;

		ck_assert_int_eq(pagetable_map(&pt, GIB, GIB, FRAME_BYTES, attr), want);
		ck_assert_uint_eq(a.used, want == MM_OK ? 4 : 1);
		ck_assert_int_eq(pagetable_protect(&pt, 0, 2 * GIB, attr, &flush), want);
		ck_assert(pagetable_check(&pt));
		if (want != MM_OK)
			continue;
		said++;
		ck_assert(pagetable_walk(&pt, GIB, &leaf) && attr_same(leaf.attr, attr));
		ck_assert_int_eq(pagetable_unmap(&pt, GIB, FRAME_BYTES, NULL), MM_OK);
		pagetable_flushed(&pt);
	}
	ck_assert_uint_eq(said, format == PAGETABLE_EPT	     ? (config.execute_only ? 25 : 20)
				: format == PAGETABLE_DOMAIN ? 3
							     : 32);
	pagetable_fini(&pt);
	arena_free(&a);
}
END_TEST

#define CAP_ALL (UINT64_C(1) | 1 << 6 | 1 << 8 | 1 << 14 | 1 << 16 | 1 << 17 | 1 << 21)

START_TEST(eptp)
{
	const struct {
		uint64_t capability;
		enum pagetable_size leaf_max;
		bool execute_only, marks;
		enum mm_err err;
		uint64_t low; /* of the EPTP */
	} cases[] = {
		{CAP_ALL, PAGETABLE_1G, true, true, MM_OK, 0x5e},
		{CAP_ALL, PAGETABLE_1G, true, false, MM_OK, 0x1e},
		{CAP_ALL & ~(1 << 21), PAGETABLE_1G, true, true, MM_OK, 0x1e},
		{CAP_ALL & ~(1 << 14), PAGETABLE_1G, true, true, MM_OK, 0x58},
		{CAP_ALL & ~(1 << 8), PAGETABLE_1G, true, true, MM_OK, 0x5e},
		{CAP_ALL & ~(1 << 8 | 1 << 14), PAGETABLE_1G, true, true, MM_EINVAL, 0},
		{CAP_ALL & ~(1 << 6), PAGETABLE_1G, true, true, MM_EINVAL, 0},
		{CAP_ALL & ~(1 << 17), PAGETABLE_1G, true, true, MM_EINVAL, 0},
		{CAP_ALL & ~(1 << 17), PAGETABLE_2M, true, true, MM_OK, 0x5e},
		{CAP_ALL & ~(1 << 16), PAGETABLE_2M, true, true, MM_EINVAL, 0},
		{CAP_ALL & ~(1 << 16), PAGETABLE_4K, true, true, MM_OK, 0x5e},
		{CAP_ALL - 1, PAGETABLE_1G, true, true, MM_EINVAL, 0},
		{CAP_ALL - 1, PAGETABLE_1G, false, true, MM_OK, 0x5e},
	};
	struct pagetable_config config;
	uint64_t out;

	for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		fixture_make(PAGETABLE_EPT, 16);
		f.pt.config.leaf_max = cases[i].leaf_max;
		f.pt.config.execute_only = cases[i].execute_only;
		out = 1;
		ck_assert_int_eq(pagetable_eptp(&f.pt, cases[i].capability, cases[i].marks, &out), cases[i].err);
		ck_assert_uint_eq(out, cases[i].err ? 1 : pagetable_root_address(&f.pt) | cases[i].low);
		fixture_free();
	}
	fixture_make(PAGETABLE_NPT, 16);
	ck_assert_int_eq(pagetable_eptp(&f.pt, CAP_ALL, true, &out), MM_EINVAL);
	fixture_free();
	pagetable_ept_limits(CAP_ALL, &config);
	ck_assert(config.leaf_max == PAGETABLE_1G && config.execute_only);
	pagetable_ept_limits(CAP_ALL & ~(1 | 1 << 17), &config);
	ck_assert(config.leaf_max == PAGETABLE_2M && !config.execute_only);
	pagetable_ept_limits(CAP_ALL & ~(1 << 16), &config);
	ck_assert(config.leaf_max == PAGETABLE_4K);
}
END_TEST

/* ---- split, collapse, retire ---- */

START_TEST(split_and_collapse_carry_marks)
{
	struct pagetable_leaf leaf;
	struct pagetable_flush flush;

	fixture_make(PAGETABLE_EPT, 16);
	ck_assert_int_eq(pagetable_map(&f.pt, 0, GIB, GIB, rwx), MM_OK);
	*entry_at(&f.a, &f.pt, 0, 2) |= 0x300;
	ck_assert_int_eq(pagetable_protect(&f.pt, 0x5000, 0x1000, readable, &flush), MM_OK);
	ck_assert(flush.first == 0x5000 && flush.end == 0x6000 && flush.narrowed);
	ck_assert_uint_eq(pagetable_stats_read(&f.pt).leaves[PAGETABLE_4K], 512);
	ck_assert_uint_eq(pagetable_stats_read(&f.pt).leaves[PAGETABLE_2M], 511);
	ck_assert_uint_eq(pagetable_stats_read(&f.pt).leaves[PAGETABLE_1G], 0);
	ck_assert_uint_eq(*entry_at(&f.a, &f.pt, 0x5000, 0), GIB + 0x5331);
	ck_assert_uint_eq(*entry_at(&f.a, &f.pt, 0x6000, 0), GIB + 0x6337);
	ck_assert_uint_eq(*entry_at(&f.a, &f.pt, 2 * MIB, 1), GIB + 2 * MIB + 0x3b7);

	/* one mark is left: the collapse must find it */
	for (uint64_t in = 0; in < 2 * MIB; in += 0x1000)
		*entry_at(&f.a, &f.pt, in, 0) &= ~UINT64_C(0x300);
	for (uint64_t in = 2 * MIB; in < GIB; in += 2 * MIB)
		*entry_at(&f.a, &f.pt, in, 1) &= ~UINT64_C(0x300);
	*entry_at(&f.a, &f.pt, 0x77000, 0) |= 0x200;
	*entry_at(&f.a, &f.pt, 0x78000, 0) |= 0x100;
	ck_assert_int_eq(pagetable_protect(&f.pt, 0x5000, 0x1000, rwx, &flush), MM_OK);
	ck_assert(flush.first == 0 && flush.end == GIB && !flush.narrowed);
	ck_assert_uint_eq(*entry_at(&f.a, &f.pt, 0, 2), GIB + 0x3b7);
	ck_assert(pagetable_walk(&f.pt, 0, &leaf) && leaf.accessed && leaf.dirty && leaf.size == PAGETABLE_1G);
	ck_assert_uint_eq(pagetable_stats_read(&f.pt).retired, 2);
	ck_assert_uint_eq(f.a.used, 4);
	pagetable_flushed(&f.pt);
	ck_assert_uint_eq(f.a.used, 2);
	fixture_free();
}
END_TEST

/* A change inside a 1G leaf takes exactly the tables that its two ends need. */
START_TEST(splits_of_a_gigabyte)
{
	const struct {
		uint64_t first, end;
		uint64_t tables; /* more than the 2 there were */
	} cases[] = {
		{0, GIB, 0},
		{0, 2 * MIB, 1},
		{GIB - 2 * MIB, GIB, 1},
		{0, 0x1000, 2},
		{GIB - 0x1000, GIB, 2},
		{0x1000, 0x2000, 2},
		{0x1000, 2 * MIB, 2},
		{2 * MIB, 4 * MIB + 0x1000, 2},
		{0x1000, 4 * MIB, 2},
		{0x1000, 2 * MIB + 0x1000, 3},
		{2 * MIB - 0x1000, GIB - 0x1000, 3},
	};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		for (unsigned verb = 0; verb < 2; verb++) {
			uint64_t in = GIB + cases[i].first, bytes = cases[i].end - cases[i].first;
			struct pagetable_flush flush;

			fixture_make(PAGETABLE_NPT, 16);
			ck_assert_int_eq(pagetable_map(&f.pt, GIB, GIB, GIB, rwx), MM_OK);
			if (verb == 0)
				ck_assert_int_eq(pagetable_unmap(&f.pt, in, bytes, &flush), MM_OK);
			else
				ck_assert_int_eq(pagetable_protect(&f.pt, in, bytes, readable, &flush), MM_OK);
			ck_assert(flush.first == in && flush.end == in + bytes && flush.narrowed);
			ck_assert_uint_eq(f.a.gets, 2 + cases[i].tables);
			ck_assert(pagetable_check(&f.pt));
			fixture_free();
		}
}
END_TEST

START_TEST(map_completes_a_larger_leaf)
{
	struct pagetable_run run;

	fixture_make(PAGETABLE_NPT, 16);
	ck_assert_int_eq(pagetable_map(&f.pt, 0, 0, 0x1ff000, rwx), MM_OK);
	ck_assert_int_eq(pagetable_map(&f.pt, 2 * MIB, 2 * MIB, GIB - 2 * MIB, rwx), MM_OK);
	ck_assert(pagetable_next_run(&f.pt, 0, &run) && run.bytes == 0x1ff000 && run.leaves[PAGETABLE_4K] == 511);
	ck_assert_int_eq(pagetable_map(&f.pt, 0x1ff000, 0x1ff000, 0x1000, rwx), MM_OK);
	ck_assert_uint_eq(pagetable_stats_read(&f.pt).leaves[PAGETABLE_1G], 1);
	ck_assert_uint_eq(pagetable_stats_read(&f.pt).tables, 2);
	ck_assert_uint_eq(pagetable_stats_read(&f.pt).retired, 2);
	fixture_free();
}
END_TEST

/* A walker that still holds a retired table finds there what it would have found before. */
START_TEST(retired_tables_keep_their_entries)
{
	uint64_t was[512], *table;

	fixture_make(PAGETABLE_STAGE1, 64);
	for (unsigned i = 0; i < 20; i++) /* so that the chain has links to hold */
		ck_assert_int_eq(pagetable_map(&f.pt, i * 2 * MIB + 0x3000, 0x7000, 0x1000, rwx), MM_OK);
	ck_assert_int_eq(pagetable_map(&f.pt, GIB, 0x1000, 2 * MIB, rwx), MM_OK);
	ck_assert_int_eq(pagetable_unmap(&f.pt, 0, GIB, NULL), MM_OK);
	ck_assert_uint_eq(pagetable_stats_read(&f.pt).retired, 21);
	table = page_at(&f.a, *entry_at(&f.a, &f.pt, GIB, 1));
	memcpy(was, table, sizeof(was));
	ck_assert_int_eq(pagetable_unmap(&f.pt, GIB, 2 * MIB, NULL), MM_OK);
	for (unsigned i = 0; i < 512; i++)
		ck_assert_uint_eq(table[i] & ~(UINT64_C(31) << 52), was[i]);
	ck_assert_uint_eq(f.a.used, 1 + 21 + 3);
	ck_assert(pagetable_check(&f.pt));
	pagetable_flushed(&f.pt);
	ck_assert_uint_eq(f.a.used, 1);
	ck_assert_uint_eq(pagetable_stats_read(&f.pt).tables_max, 1 + 1 + 2 + 21);
	fixture_free();
}
END_TEST

/* Were the cost one step a page, each of these would take hours. */
START_TEST(empty_space_costs_nothing)
{
	const uint64_t half = UINT64_C(1) << 47;
	struct pagetable_flush flush;
	struct pagetable_run run;
	unsigned bad = 0;

	fixture_make(PAGETABLE_EPT, 16);
	for (unsigned i = 0; i < 20000; i++) {
		bad += pagetable_unmap(&f.pt, 0, half, &flush) != MM_OK || flush.first != flush.end;
		bad += pagetable_protect(&f.pt, 0, half, rwx, &flush) != MM_OK || flush.first != flush.end;
		bad += pagetable_next_run(&f.pt, 0, &run);
	}
	ck_assert_uint_eq(f.a.gets, 1);
	ck_assert_int_eq(pagetable_map(&f.pt, 0x1000, 0, 0x1000, rwx), MM_OK);
	ck_assert_int_eq(pagetable_map(&f.pt, 2 * half - 0x1000, 0, 0x1000, rwx), MM_OK);
	for (unsigned i = 0; i < 20000; i++)
		bad += !pagetable_next_run(&f.pt, 0x2000, &run) || run.in != 2 * half - 0x1000;
	ck_assert_uint_eq(f.a.gets, 7);
	ck_assert_int_eq(pagetable_unmap(&f.pt, 0, 2 * half, &flush), MM_OK);
	ck_assert(flush.first == 0x1000 && flush.end == 2 * half);
	ck_assert_uint_eq(f.a.gets, 7);
	ck_assert_uint_eq(bad, 0);
	fixture_free();
}
END_TEST

/* A full table of 4K leaves over far too much: refused, not half done. */
START_TEST(more_than_the_arena)
{
	fixture_make(PAGETABLE_NPT, 16);
	ck_assert_int_eq(pagetable_map(&f.pt, 0x1000, 0, UINT64_C(1) << 39, rwx), MM_ENOMEM);
	ck_assert_int_eq(pagetable_map(&f.pt, 0x1000, 0, 40 * MIB, rwx), MM_ENOMEM);
	ck_assert_uint_eq(f.a.used, 1);
	ck_assert_int_eq(pagetable_map(&f.pt, 0x1000, 0, 24 * MIB, rwx), MM_OK); /* 2 + 13 tables: all there are */
	ck_assert_uint_eq(f.a.used, 16);
	fixture_free();
}
END_TEST

/* ---- out of memory ---- */

/* Each of these asks for several pages; each of them is refused in turn, and not a byte may differ. */
START_TEST(refused_pages_change_nothing)
{
	const struct pagetable_flush none = {.first = 1, .end = 2, .narrowed = true};

	for (unsigned verb = MAP; verb <= PROTECT; verb++) {
		struct pagetable_flush flush = none;
		enum mm_err err = MM_ENOMEM;
		unsigned refused = 0;

		fixture_make(PAGETABLE_EPT, 64);
		ck_assert_int_eq(pagetable_map(&f.pt, GIB, GIB, GIB, rwx), MM_OK);
		ck_assert_int_eq(pagetable_map(&f.pt, 2 * GIB + 0x5000, 0x5000, 0x1000, rwx), MM_OK);
		ck_assert_int_eq(pagetable_map(&f.pt, 512 * GIB, 0, GIB, rwx), MM_OK);
		ck_assert_int_eq(pagetable_map(&f.pt, 514 * GIB, 0, 0x1000, rwx), MM_OK);
		ck_assert_int_eq(pagetable_unmap(&f.pt, 514 * GIB, 0x1000, NULL), MM_OK); /* some are retired */
		arena_save(&f.a);
		for (unsigned n = 1; err != MM_OK; n++) {
			struct pagetable before = f.pt;

			f.a.fired = false;
			f.a.fail_after = n;
			if (verb == MAP)
				err = pagetable_map(&f.pt, 2 * GIB + 0x7000, 0x1000, 9 * MIB, rwx);
			else if (verb == UNMAP)
				err = pagetable_unmap(&f.pt, 2 * GIB - 0x3000, 510 * GIB + 0x7000, &flush);
			else
				err = pagetable_protect(&f.pt, 2 * GIB - 0x3000, 510 * GIB + 0x7000, readable, &flush);
			ck_assert_int_eq(err, f.a.fired ? MM_ENOMEM : MM_OK);
			if (err == MM_OK)
				break;
			refused++;
			ck_assert(arena_same(&f.a) && memcmp(&before, &f.pt, sizeof(before)) == 0);
			ck_assert(memcmp(&flush, &none, sizeof(flush)) == 0);
		}
		ck_assert_uint_eq(refused, 4); /* 4K tables of 9 MiB that start inside one; both ends of 2 splits */
		fixture_free();
	}
}
END_TEST

/* ---- marks ---- */

struct tale {
	struct pagetable_leaf leaf[8];
	unsigned leaves;
};

static void tale_add(void *self, const struct pagetable_leaf *leaf)
{
	struct tale *t = self;

	ck_assert_uint_lt(t->leaves, 8);
	t->leaf[t->leaves++] = *leaf;
}

START_TEST(harvest_tells_and_clears)
{
	struct tale t = {.leaves = 0};
	const struct pagetable_marked tell = {&t, tale_add};
	struct pagetable_flush flush;

	fixture_make(PAGETABLE_NPT, 16);
	ck_assert_int_eq(pagetable_map(&f.pt, 2 * MIB, 2 * MIB, 4 * MIB, rwx), MM_OK);
	ck_assert_int_eq(pagetable_map(&f.pt, GIB, 0x1000, 0x3000, rwx), MM_OK);
	*entry_at(&f.a, &f.pt, 4 * MIB, 1) |= 0x60;
	*entry_at(&f.a, &f.pt, GIB, 0) |= 0x20;
	*entry_at(&f.a, &f.pt, GIB + 0x2000, 0) |= 0x60;

	/* nothing to clear: told only */
	ck_assert_int_eq(pagetable_harvest(&f.pt, 0, 4 * GIB, 0, &tell, &flush), MM_OK);
	ck_assert(t.leaves == 3 && flush.first == flush.end && !flush.narrowed);
	/* a range that begins inside the 2M leaf and ends before the last page */
	t.leaves = 0;
	ck_assert_int_eq(pagetable_harvest(&f.pt, 5 * MIB, GIB + 0x2000 - 5 * MIB, PAGETABLE_DIRTY, &tell, &flush),
			 MM_OK);
	ck_assert_uint_eq(t.leaves, 2);
	ck_assert(t.leaf[0].in == 4 * MIB && t.leaf[0].size == PAGETABLE_2M && t.leaf[0].dirty && t.leaf[0].accessed);
	ck_assert(t.leaf[1].in == GIB && t.leaf[1].out == 0x1000 && !t.leaf[1].dirty && t.leaf[1].accessed);
	ck_assert(flush.first == 4 * MIB && flush.end == 6 * MIB && !flush.narrowed);
	ck_assert_uint_eq(*entry_at(&f.a, &f.pt, 4 * MIB, 1) & 0x60, 0x20);
	ck_assert_int_eq(pagetable_harvest(&f.pt, 0, 4 * GIB, 3, NULL, NULL), MM_OK);
	t.leaves = 0;
	ck_assert_int_eq(pagetable_harvest(&f.pt, 0, 4 * GIB, 3, &tell, &flush), MM_OK);
	ck_assert(t.leaves == 0 && flush.first == flush.end);

	ck_assert_int_eq(pagetable_harvest(&f.pt, 0, 4 * GIB, 4, &tell, &flush), MM_EINVAL);
	ck_assert_int_eq(pagetable_harvest(&f.pt, 1, 4 * GIB, 1, &tell, &flush), MM_EINVAL);
	ck_assert_int_eq(pagetable_harvest(&f.pt, 0, 0, 1, &tell, &flush), MM_EINVAL);
	fixture_free();
}
END_TEST

/* A walker that still holds a collapsed table marks there; the flush ends that, and nothing is lost.
 * _i: 4K leaves into one of 2M, or 2M leaves into one of 1G. */
START_TEST(late_marks_reach_the_leaf)
{
	enum pagetable_size small = (enum pagetable_size)_i, large = (enum pagetable_size)(_i + 1);
	uint64_t step = pagetable_size_bytes(small), bytes = pagetable_size_bytes(large), at = 5 * bytes;
	struct pagetable_leaf leaf;
	uint64_t *old;

	fixture_make(PAGETABLE_EPT, 32);
	for (unsigned again = 0; again < 4; again++) {
		ck_assert_int_eq(pagetable_map(&f.pt, at, at, bytes - step, rwx), MM_OK);
		old = page_at(&f.a, *entry_at(&f.a, &f.pt, at, large));
		old[7] |= 0x100; /* A is seen by the collapse: a later one says nothing new */
		ck_assert_int_eq(pagetable_map(&f.pt, at + bytes - step, at + bytes - step, step, rwx), MM_OK);
		ck_assert(pagetable_walk(&f.pt, at, &leaf) && leaf.size == large && leaf.accessed && !leaf.dirty);
		if (again == 1) /* it is cleared; what the old table still says must not bring it back */
			ck_assert_int_eq(pagetable_harvest(&f.pt, at, bytes, PAGETABLE_ACCESSED, NULL, NULL), MM_OK);
		if (again == 2) /* it is split again: the mark is one small leaf's */
			ck_assert_int_eq(pagetable_protect(&f.pt, at, step, readable, NULL), MM_OK);
		if (again == 3) /* it translates otherwise: the mark is nobody's */
			ck_assert(pagetable_unmap(&f.pt, at, bytes, NULL) == MM_OK &&
				  pagetable_map(&f.pt, at, 0, bytes, rwx) == MM_OK);
		old[3] |= 0x300;
		pagetable_flushed(&f.pt);
		ck_assert(pagetable_walk(&f.pt, at + 3 * step, &leaf));
		ck_assert_uint_eq(leaf.accessed, again == 0 || again == 2);
		ck_assert_uint_eq(leaf.dirty, again != 3);
		ck_assert(pagetable_walk(&f.pt, at + 4 * step, &leaf));
		ck_assert_uint_eq(leaf.dirty, again < 2);
		ck_assert(pagetable_check(&f.pt));
		ck_assert_int_eq(pagetable_unmap(&f.pt, at, bytes, NULL), MM_OK);
		pagetable_flushed(&f.pt);
	}
	/* unmapped before the flush: the mark goes with the leaf */
	ck_assert_int_eq(pagetable_map(&f.pt, at, at, bytes - step, rwx), MM_OK);
	old = page_at(&f.a, *entry_at(&f.a, &f.pt, at, large));
	ck_assert_int_eq(pagetable_map(&f.pt, at + bytes - step, at + bytes - step, step, rwx), MM_OK);
	old[3] |= 0x300;
	ck_assert_int_eq(pagetable_unmap(&f.pt, at, bytes, NULL), MM_OK);
	pagetable_flushed(&f.pt);
	ck_assert_uint_eq(f.a.used, 1);
	fixture_free();
}
END_TEST

/* ---- readers ---- */

static void map_and_unmap(uint64_t in) /* retires 3 tables */
{
	ck_assert_int_eq(pagetable_map(&f.pt, in, 0x1000, 0x1000, rwx), MM_OK);
	ck_assert_int_eq(pagetable_unmap(&f.pt, in, 0x1000, NULL), MM_OK);
}

START_TEST(readers_hold_what_they_may_see)
{
	fixture_make(PAGETABLE_EPT, 64);
	map_and_unmap(GIB);
	pagetable_enter(&f.pt, &f.readers[0]); /* after the unlinking, before the flush: cannot tell, so it waits */
	ck_assert_uint_eq(f.a.used, 4);
	pagetable_flushed(&f.pt);
	ck_assert_uint_eq(f.a.used, 4);
	ck_assert_uint_eq(pagetable_stats_read(&f.pt).retired, 3);
	pagetable_enter(&f.pt, &f.readers[1]); /* holds nothing of before */
	map_and_unmap(2 * GIB);
	pagetable_enter(&f.pt, &f.readers[2]);
	ck_assert(pagetable_check(&f.pt));
	pagetable_leave(&f.readers[0]);
	ck_assert_uint_eq(f.a.used, 7); /* never before a call */
	pagetable_flushed(&f.pt);	/* the first three, though two readers are inside */
	ck_assert_uint_eq(f.a.used, 4);
	ck_assert(pagetable_check(&f.pt));
	pagetable_leave(&f.readers[1]);
	pagetable_flushed(&f.pt);
	ck_assert_uint_eq(f.a.used, 4);
	pagetable_leave(&f.readers[2]);
	pagetable_enter(&f.pt, &f.readers[2]); /* anew: what was retired is out of its reach */
	pagetable_flushed(&f.pt);
	ck_assert_uint_eq(f.a.used, 1);
	ck_assert_uint_eq(pagetable_stats_read(&f.pt).retired, 0);
	pagetable_leave(&f.readers[2]);
	fixture_free();
}
END_TEST

/* A reader that is inside all the time, and others that come and go: only the first one's pages wait. */
START_TEST(readers_come_and_go)
{
	fixture_make(PAGETABLE_EPT, 64);
	pagetable_enter(&f.pt, &f.readers[0]);
	for (unsigned i = 0; i < 40; i++) { /* at each flush one of the two is inside, and entered after the last */
		pagetable_enter(&f.pt, &f.readers[1 + i % 2]);
		if (i == 10)
			pagetable_leave(&f.readers[0]);
		pagetable_leave(&f.readers[1 + (i + 1) % 2]);
		map_and_unmap(GIB * i);
		pagetable_flushed(&f.pt);
		ck_assert_uint_eq(f.a.used, i < 10 ? 4 + 3 * i : 4);
		ck_assert(pagetable_check(&f.pt));
	}
	pagetable_leave(&f.readers[1]);
	pagetable_leave(&f.readers[2]);
	fixture_free();
}
END_TEST

/* One writer and three readers. Each mapping's output address tells which deed made it, so that a reader can judge
 * what it is told: of a page it knows which deeds may have been the last when it looked. Table pages are poisoned
 * when they go back. */
#define STRESS_PAGES 2048u /* 8 MiB, from 1G - 4M on: two entries of each level above 2M */
#define STRESS_IN    (GIB - 4 * MIB)
#define STRESS_SPAN  (16 * MIB) /* a deed's outputs lie in one, at the page's own offset */
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define STRESS_DEEDS 6000u
#else
#define STRESS_DEEDS 60000u
#endif

static struct {
	/* Of each page: the last deed that mapped or unmapped it, twice, | mapped; and how often it was unmapped.
	 * Announced before, done after the table is changed. */
	uint64_t announced[STRESS_PAGES], done[STRESS_PAGES];
	uint64_t gone_announced[STRESS_PAGES], gone_done[STRESS_PAGES];
	uint64_t seen[READERS], runs[READERS];
	uint32_t over, lies;
} stress;

static uint64_t look(const uint64_t *word)
{
	return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

static bool stress_rights_ok(struct pagetable_attr attr)
{
	return attr.memory == PAGETABLE_WRITE_BACK && (attr.rights == RWX || attr.rights == PAGETABLE_READ);
}

/* Whether this output may be told of page p, if these were the states before and after. */
static bool stress_out_ok(uint64_t p, uint64_t out, uint64_t before, uint64_t after)
{
	uint64_t deed = out / STRESS_SPAN;

	return out % STRESS_SPAN == p * FRAME_BYTES && deed >= before / 2 && deed <= after / 2;
}

static bool stress_walk(uint64_t p)
{
	uint64_t in = STRESS_IN + p * FRAME_BYTES, gone = look(&stress.gone_done[p]), before = look(&stress.done[p]),
		 after;
	struct pagetable_leaf leaf;
	bool found = pagetable_walk(&f.pt, in, &leaf);

	after = look(&stress.announced[p]);
	if (!found)
		return !(before & 1) || look(&stress.gone_announced[p]) != gone;
	return stress_rights_ok(leaf.attr) && stress_out_ok(p, leaf.out + (in - leaf.in), before, after);
}

static bool stress_run(uint64_t p)
{
	uint64_t before[8], first;
	struct pagetable_run run;

	for (unsigned i = 0; i < 8; i++)
		before[i] = look(&stress.done[(p + i) % STRESS_PAGES]);
	if (!pagetable_next_run(&f.pt, STRESS_IN + p * FRAME_BYTES, &run))
		return true;
	if (!stress_rights_ok(run.attr) || run.in < STRESS_IN || run.bytes == 0 ||
	    run.in + run.bytes > STRESS_IN + STRESS_PAGES * FRAME_BYTES)
		return false;
	first = (run.in - STRESS_IN) / FRAME_BYTES;
	for (unsigned i = 0; i < 8 && p + i < STRESS_PAGES; i++) {
		uint64_t offset = (p + i - first) * FRAME_BYTES;

		if (p + i >= first && offset < run.bytes &&
		    !stress_out_ok(p + i, run.out + offset, before[i], look(&stress.announced[p + i])))
			return false;
	}
	return true;
}

static void *stress_reader(void *self)
{
	uint64_t me = (uint64_t)(uintptr_t)self, state = me + 1, lies = 0;

	while (!__atomic_load_n(&stress.over, __ATOMIC_ACQUIRE)) {
		pagetable_enter(&f.pt, &f.readers[me]);
		for (unsigned i = 0; i < 1 + state % 16; i++) {
			state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
			if (state >> 60) {
				lies += !stress_walk((state >> 33) % STRESS_PAGES);
				stress.seen[me]++;
			} else {
				lies += !stress_run((state >> 33) % STRESS_PAGES);
				stress.runs[me]++;
			}
		}
		pagetable_leave(&f.readers[me]);
	}
	__atomic_fetch_add(&stress.lies, (uint32_t)lies, __ATOMIC_ACQ_REL);
	return NULL;
}

static void stress_state(uint64_t *states, uint64_t first, uint64_t n, uint64_t state)
{
	for (uint64_t p = first; p < first + n; p++)
		__atomic_store_n(&states[p], state, __ATOMIC_RELEASE);
}

/* Unmaps, or maps what it finds unmapped there first. */
static void stress_change(uint64_t deed, uint64_t first, uint64_t n, bool map)
{
	uint64_t in = STRESS_IN + first * FRAME_BYTES;

	if (!map || stress.done[first] & 1) {
		for (uint64_t p = first; p < first + n; p++)
			__atomic_fetch_add(&stress.gone_announced[p], 1, __ATOMIC_ACQ_REL);
		stress_state(stress.announced, first, n, 2 * deed);
		MUST(pagetable_unmap(&f.pt, in, n * FRAME_BYTES, NULL) == MM_OK);
		stress_state(stress.done, first, n, 2 * deed);
		for (uint64_t p = first; p < first + n; p++)
			__atomic_fetch_add(&stress.gone_done[p], 1, __ATOMIC_ACQ_REL);
		return;
	}
	for (uint64_t p = first; p < first + n; p++)
		if (stress.done[p] & 1)
			n = p - first;
	stress_state(stress.announced, first, n, 2 * deed + 1);
	MUST(pagetable_map(&f.pt, in, deed * STRESS_SPAN + first * FRAME_BYTES, n * FRAME_BYTES, rwx) == MM_OK);
	stress_state(stress.done, first, n, 2 * deed + 1);
}

static void stress_write(uint64_t deeds)
{
	for (uint64_t deed = 1; deed <= deeds; deed++) {
		uint64_t first = below(STRESS_PAGES), n = below(STRESS_PAGES - first) + 1, verb = below(8);

		if (below(3) == 0) { /* whole leaves of 2M */
			first &= ~UINT64_C(511);
			n = 512 * (1 + n / 512);
		} else if (below(2)) {
			n = 1 + n % 8;
		}
		n = n > STRESS_PAGES - first ? STRESS_PAGES - first : n;
		if (verb < 5)
			stress_change(deed, first, n, verb < 3);
		else if (verb < 7)
			MUST(pagetable_protect(&f.pt, STRESS_IN + first * FRAME_BYTES, n * FRAME_BYTES,
					       verb == 5 ? rwx : readable, NULL) == MM_OK);
		else
			MUST(pagetable_harvest(&f.pt, STRESS_IN, STRESS_PAGES * FRAME_BYTES, 3, NULL, NULL) == MM_OK);
		if (below(4) == 0 || f.a.used > f.a.frames - 16)
			pagetable_flushed(&f.pt);
		while (f.a.used > f.a.frames - 16) { /* a reader lost its CPU inside */
			sched_yield();
			pagetable_flushed(&f.pt);
		}
		if (deed % 512 == 0)
			MUST(pagetable_check(&f.pt));
	}
}

START_TEST(one_writer_three_readers)
{
	pthread_t thread[READERS];

	seed(400);
	fixture_make_as(PAGETABLE_EPT, 256, 52);
	for (uint64_t i = 0; i < READERS; i++)
		ck_assert_int_eq(pthread_create(&thread[i], NULL, stress_reader, (void *)(uintptr_t)i), 0);
	stress_write(STRESS_DEEDS);
	__atomic_store_n(&stress.over, 1, __ATOMIC_RELEASE);
	for (unsigned i = 0; i < READERS; i++) {
		ck_assert_int_eq(pthread_join(thread[i], NULL), 0);
		ck_assert(stress.seen[i] > 100 && stress.runs[i] > 5);
	}
	ck_assert_uint_eq(stress.lies, 0);
	pagetable_flushed(&f.pt);
	ck_assert_uint_eq(pagetable_stats_read(&f.pt).retired, 0);
	fixture_free();
}
END_TEST

/* A thread plays the hardware: it walks the pages from the root, keeps the tables of 4K leaves that it found (as a
 * walker caches links) until it is asked to drop them, and marks leaves, while the writer splits, collapses and
 * harvests. In rounds, each of them judged while the hardware stands still: what it marked was told, of every page.
 * It marks no page twice with one kind in a round, so that no later mark makes good for a lost one. */
#define HW_IN	  (GIB - 2 * MIB)
#define HW_BLOCKS 2u
#define HW_PAGES  (512u * HW_BLOCKS)
#define HW_BYTES  (HW_PAGES * FRAME_BYTES)
#define HW_BOTH	  (PAGETABLE_ACCESSED | PAGETABLE_DIRTY)
#define HW_MS	  800

static struct {
	/* Of the thread, and of the writer while it stands still. */
	unsigned char set[HW_PAGES]; /* in this round */
	uint64_t *held[HW_BLOCKS];
	uint64_t random, small, large, lies;
	unsigned char told[HW_PAGES]; /* of the writer */
	uint64_t first, span;	      /* which pages are marked and changed in this round */
	unsigned shift;
	/* Shared. */
	uint64_t asked, answered;
	uint32_t halt, over;
} hw;

static uint64_t hw_below(uint64_t n)
{
	hw.random = hw.random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (hw.random >> 33) % n;
}

/* False iff the entry is another by now. */
static bool hw_or(uint64_t *slot, uint64_t entry, unsigned kinds)
{
	return __atomic_compare_exchange_n(slot, &entry, entry | (uint64_t)kinds << hw.shift, false, __ATOMIC_ACQ_REL,
					   __ATOMIC_ACQUIRE);
}

static void hw_mark(uint64_t *slot, uint64_t entry, uint64_t p, uint64_t pages, unsigned kinds)
{
	unsigned fresh = kinds & (entry & 2 ? HW_BOTH : PAGETABLE_ACCESSED) & ~(unsigned)(entry >> hw.shift);

	if (fresh == 0 || !hw_or(slot, entry, fresh))
		return;
	for (uint64_t i = p & ~(pages - 1), end = i + pages; i < end; i++)
		hw.set[i] |= (unsigned char)fresh;
	*(pages == 1 ? &hw.small : &hw.large) += 1;
}

/* Where the walk for a page ends: from the root on, or in the table that is held. */
static uint64_t *hw_walk(uint64_t p, unsigned *level)
{
	uint64_t in = HW_IN + p * FRAME_BYTES, *held = hw.held[p / 512];
	uint64_t *table = held ? held : page_at(&f.a, pagetable_root_address(&f.pt));

	for (*level = held ? 0 : 3; *level > 0;) {
		uint64_t *slot = &table[in >> (12 + 9 * *level) & 511], entry = look(slot);

		if (!(entry & 7) || (entry & 0x80))
			return slot;
		if (!(entry >> hw.shift & 1) && !hw_or(slot, entry, PAGETABLE_ACCESSED))
			continue;
		table = page_at(&f.a, entry);
		--*level;
	}
	hw.held[p / 512] = table;
	return &table[in >> 12 & 511];
}

static void hw_touch(uint64_t p, unsigned kinds)
{
	unsigned level;
	uint64_t *slot = hw_walk(p, &level), entry = look(slot);

	if (level > 0 && (!(entry & 0x80) || hw_below(16) > 0))
		return; /* split meanwhile; and a large leaf's mark hides those of its pages in this round */
	if (level > 1 || !(entry & 7))
		hw.lies++; /* nothing is ever unmapped */
	else
		hw_mark(slot, entry, p, level ? 512 : 1, kinds & ~(unsigned)hw.set[p]);
}

static void *hw_run(void *self)
{
	uint64_t p = hw.first;

	while (!__atomic_load_n(&hw.over, __ATOMIC_ACQUIRE)) {
		uint64_t asked = look(&hw.asked);

		if (asked != hw.answered) {
			memset(hw.held, 0, sizeof(hw.held));
			__atomic_store_n(&hw.answered, asked, __ATOMIC_RELEASE);
			while (look(&hw.asked) == asked && __atomic_load_n(&hw.halt, __ATOMIC_ACQUIRE))
				sched_yield();
			p = hw.first;
			continue;
		}
		if (hw_below(2)) /* otherwise the page before is written: D comes upon A */
			hw_touch(p = hw.first + hw_below(hw.span), PAGETABLE_ACCESSED);
		else
			hw_touch(p, HW_BOTH);
		if (hw_below(512) == 0)
			sched_yield();
		if (hw_below(64) == 0)
			hw.held[hw_below(HW_BLOCKS)] = NULL;
	}
	return self;
}

/* What a flush is to the hardware: it holds nothing of before. */
static void hw_flush(bool halt)
{
	uint64_t asked = hw.asked + 1;

	__atomic_store_n(&hw.halt, halt ? 1 : 0, __ATOMIC_RELEASE);
	__atomic_store_n(&hw.asked, asked, __ATOMIC_RELEASE);
	while (look(&hw.answered) != asked)
		sched_yield();
	pagetable_flushed(&f.pt);
}

static void hw_told(void *self, const struct pagetable_leaf *leaf)
{
	unsigned kinds = (leaf->accessed ? PAGETABLE_ACCESSED : 0u) | (leaf->dirty ? PAGETABLE_DIRTY : 0u);
	uint64_t first = (leaf->in - HW_IN) / FRAME_BYTES, end = first + pagetable_size_bytes(leaf->size) / FRAME_BYTES;
	unsigned char *told = self;

	for (; first < end; first++)
		told[first] |= (unsigned char)kinds;
}

static void hw_harvest(uint64_t first, uint64_t pages, unsigned clear)
{
	const struct pagetable_marked tell = {hw.told, hw_told};

	MUST(pagetable_harvest(&f.pt, HW_IN + first * FRAME_BYTES, pages * FRAME_BYTES, clear, &tell, NULL) == MM_OK);
}

static void hw_deed(void)
{
	const struct pagetable_attr attrs[] = {rwx, readable, {.rights = PAGETABLE_READ | PAGETABLE_WRITE}};
	uint64_t verb = below(8), pages = verb < 3 ? 256 : verb < 5 ? 512 : 1, first;

	if (verb >= 6)
		pages = 512;
	if (hw.span < pages)
		pages = hw.span;
	ck_assert_uint_gt(hw.span, 0);
	first = (hw.first + below(hw.span)) & ~(pages - 1);
	if (verb >= 6)
		hw_harvest(first, pages, 1 + (unsigned)below(3));
	else
		MUST(pagetable_protect(&f.pt, HW_IN + first * FRAME_BYTES, pages * FRAME_BYTES, attrs[below(3)],
				       NULL) == MM_OK);
}

/* Every page, for splits and collapses; or two lines of a table, where both threads meet at each step. */
static void hw_aim(void)
{
	hw.span = below(4) ? 16 : HW_PAGES;
	hw.first = below(HW_PAGES) & ~(hw.span - 1);
}

/* The hardware stands still, until this is done. Every mark was told, or is still there; and none came from nowhere: a
 * split and a collapse share it out in 2M at the most. */
static void hw_judge(void)
{
	hw_harvest(0, HW_PAGES, HW_BOTH);
	for (uint64_t block = 0; block < HW_PAGES; block += 512) {
		unsigned set = 0, told = 0;

		for (uint64_t p = block; p < block + 512; p++) {
			MUST((hw.set[p] & ~hw.told[p]) == 0);
			set |= hw.set[p];
			told |= hw.told[p];
		}
		MUST((told & ~set) == 0);
	}
	MUST(pagetable_stats_read(&f.pt).retired == 0 && pagetable_check(&f.pt));
	memset(hw.set, 0, sizeof(hw.set));
	memset(hw.told, 0, sizeof(hw.told));
	hw_aim();
	__atomic_store_n(&hw.halt, 0, __ATOMIC_RELEASE);
}

/* Not rounds but time is what a busy machine must not stretch: there a flush may take a time slice. */
static int64_t hw_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* _i: EPT, NPT. */
START_TEST(no_mark_is_lost)
{
	enum pagetable_format format = _i ? PAGETABLE_NPT : PAGETABLE_EPT;
	int64_t end = hw_now_ms() + HW_MS;
	pthread_t thread;

	seed(410 + (uint64_t)_i);
	fixture_make(format, 64);
	hw.shift = (unsigned)__builtin_ctzll(accessed_of(format));
	MUST(pagetable_map(&f.pt, HW_IN, HW_IN, HW_BYTES, rwx) == MM_OK);
	hw_aim();
	ck_assert_int_eq(pthread_create(&thread, NULL, hw_run, NULL), 0);
	while (hw_now_ms() < end) {
		for (uint64_t deeds = 2 + below(hw.span == HW_PAGES ? 12 : 40); deeds > 0; deeds--) {
			hw_deed();
			if (below(16) == 0)
				hw_flush(false);
			else if (below(16) == 0)
				sched_yield(); /* where both share a CPU: something is marked meanwhile */
		}
		hw_flush(true);
		hw_judge();
	}
	__atomic_store_n(&hw.over, 1, __ATOMIC_RELEASE);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	ck_assert(hw.lies == 0 && hw.small > 100 && hw.large > 10);
	fixture_free();
}
END_TEST

/* ---- arguments ---- */

START_TEST(arguments_refused)
{
	const uint64_t end = UINT64_C(1) << 48, out_end = UINT64_C(1) << 40;
	const struct pagetable_attr bad[] = {
		{.rights = 0},
		{.rights = PAGETABLE_WRITE},
		{.rights = PAGETABLE_WRITE | PAGETABLE_EXEC},
		{.rights = RWX | PAGETABLE_USER},
		{.rights = RWX | 0x10},
		{.rights = RWX, .memory = (enum pagetable_memory)2},
	};
	struct pagetable_flush flush = {1, 2, true};
	struct pagetable_leaf leaf;
	struct pagetable_run run;

	fixture_make(PAGETABLE_EPT, 16);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		ck_assert_int_eq(pagetable_map(&f.pt, 0, 0, 0x1000, bad[i]), MM_EINVAL);
		ck_assert_int_eq(pagetable_protect(&f.pt, 0, 0x1000, bad[i], &flush), MM_EINVAL);
	}
	ck_assert_int_eq(pagetable_map(&f.pt, 0, 0, 0, rwx), MM_EINVAL);
	ck_assert_int_eq(pagetable_map(&f.pt, 1, 0, 0x1000, rwx), MM_EINVAL);
	ck_assert_int_eq(pagetable_map(&f.pt, 0, 0x10, 0x1000, rwx), MM_EINVAL);
	ck_assert_int_eq(pagetable_map(&f.pt, 0, 0, 0x1001, rwx), MM_EINVAL);
	ck_assert_int_eq(pagetable_map(&f.pt, end, 0, 0x1000, rwx), MM_EINVAL);
	ck_assert_int_eq(pagetable_map(&f.pt, end - 0x1000, 0, 0x2000, rwx), MM_EINVAL);
	ck_assert_int_eq(pagetable_map(&f.pt, 0, out_end, 0x1000, rwx), MM_EINVAL);
	ck_assert_int_eq(pagetable_map(&f.pt, 0, out_end - 0x1000, 0x2000, rwx), MM_EINVAL);
	ck_assert_int_eq(pagetable_map(&f.pt, 0x1000, -UINT64_C(0x1000), 0x2000, rwx), MM_EINVAL);
	ck_assert_int_eq(pagetable_unmap(&f.pt, 0x1000, -UINT64_C(0x1000), &flush), MM_EINVAL);
	ck_assert_int_eq(pagetable_unmap(&f.pt, end - 0x1000, 0x2000, &flush), MM_EINVAL);
	ck_assert(flush.first == 1 && flush.end == 2);
	ck_assert(!pagetable_walk(&f.pt, end, &leaf));
	ck_assert(!pagetable_next_run(&f.pt, end, &run));
	ck_assert_int_eq(pagetable_map(&f.pt, end - 0x1000, out_end - 0x1000, 0x1000, rwx), MM_OK);
	ck_assert_int_eq(pagetable_map(&f.pt, end - 0x2000, 0, 0x2000, rwx), MM_EEXIST);
	fixture_free();

	fixture_make(PAGETABLE_NPT, 16);
	ck_assert_int_eq(pagetable_map(&f.pt, 0, 0, 0x1000, (struct pagetable_attr){.rights = PAGETABLE_EXEC}),
			 MM_EINVAL);
	fixture_free();
}
END_TEST

START_TEST(canonical_halves)
{
	const uint64_t low_end = UINT64_C(1) << 47, high = -low_end;
	struct pagetable_flush flush;
	struct pagetable_leaf leaf;
	struct pagetable_run run;

	fixture_make(PAGETABLE_STAGE1, 32);
	ck_assert_int_eq(pagetable_map(&f.pt, low_end, 0, 0x1000, rwx), MM_EINVAL);
	ck_assert_int_eq(pagetable_map(&f.pt, low_end - 0x1000, 0, 0x2000, rwx), MM_EINVAL);
	ck_assert_int_eq(pagetable_map(&f.pt, high - 0x1000, 0, 0x1000, rwx), MM_EINVAL);
	ck_assert_int_eq(pagetable_map(&f.pt, -UINT64_C(0x1000), 0, 0x2000, rwx), MM_EINVAL);
	ck_assert_int_eq(pagetable_map(&f.pt, low_end - 0x1000, 0x4000, 0x1000, rwx), MM_OK);
	ck_assert_int_eq(pagetable_map(&f.pt, high, 0x5000, 0x1000, rwx), MM_OK);
	ck_assert_int_eq(pagetable_map(&f.pt, -UINT64_C(0x1000), 0x6000, 0x1000, rwx), MM_OK);
	ck_assert(pagetable_walk(&f.pt, high + 0xfff, &leaf) && leaf.in == high && leaf.out == 0x5000);
	ck_assert(!pagetable_walk(&f.pt, low_end, &leaf));
	ck_assert(pagetable_next_run(&f.pt, 0, &run) && run.in == low_end - 0x1000 && run.bytes == 0x1000);
	ck_assert(pagetable_next_run(&f.pt, low_end, &run) && run.in == high && run.bytes == 0x1000);
	ck_assert(pagetable_next_run(&f.pt, high + 0x1000, &run) && run.in + run.bytes == 0);
	ck_assert_int_eq(pagetable_unmap(&f.pt, high, low_end, &flush), MM_OK);
	ck_assert(flush.first == high && flush.end == 0 && flush.narrowed);
	fixture_free();
}
END_TEST

START_TEST(config_refused)
{
	struct pagetable_config good, c;
	struct pagetable pt;
	struct arena a;

	arena_make(&a, 16);
	c = good = config_for(&a, PAGETABLE_EPT);
#define REFUSED(change)                                                                                                \
	do {                                                                                                           \
		c = good;                                                                                              \
		change;                                                                                                \
		ck_assert_int_eq(pagetable_init(&pt, &c), MM_EINVAL);                                                  \
	} while (0)
	REFUSED(c.format = (enum pagetable_format)4);
	REFUSED(c.phys_bits = 31);
	REFUSED(c.phys_bits = 53);
	REFUSED(c.leaf_max = (enum pagetable_size)3);
	REFUSED(c.arena = NULL);
	REFUSED(c.arena = a.memory + 8);
	REFUSED(c.arena_frames = 0);
	REFUSED(c.arena_frames = UINT64_MAX);
	REFUSED(c.arena_first.n = (UINT64_C(1) << 28) - 15);
	REFUSED(c.arena_first.n = UINT64_MAX - 3);
	REFUSED(c.pages.get = NULL);
	REFUSED(c.pages.put = NULL);
	REFUSED(c.readers_count = 1);
	REFUSED(c.seams = true);
#undef REFUSED
	a.fail_after = 1;
	ck_assert_int_eq(pagetable_init(&pt, &good), MM_ENOMEM);
	good.execute_only = false;
	ck_assert_int_eq(pagetable_init(&pt, &good), MM_OK);
	ck_assert_int_eq(pagetable_map(&pt, 0, 0, 4096, (struct pagetable_attr){.rights = PAGETABLE_EXEC}), MM_EINVAL);
	pagetable_fini(&pt);
	arena_free(&a);
}
END_TEST

/* ---- the check objects ---- */

/* Flips each bit that the mask has; the check must object to each. */
static void must_matter(uint64_t *word, uint64_t mask, const char *name)
{
	for (unsigned bit = 0; bit < 64; bit++) {
		if (!(mask >> bit & 1))
			continue;
		*word ^= UINT64_C(1) << bit;
		if (pagetable_check(&f.pt))
			ck_abort_msg("bit %u of %s does not matter", bit, name);
		*word ^= UINT64_C(1) << bit;
	}
	ck_assert(pagetable_check(&f.pt));
}

/* ---- seams ---- */

#define SEAM_PAGES 2048u
#define SEAM_IN	   (GIB - 4 * MIB)

static struct {
	uint64_t out;
	unsigned rights; /* 0: not mapped */
	bool start;	 /* of a map */
} seamed[SEAM_PAGES + 1];

static void seams_make(uint64_t frames)
{
	struct pagetable_config config;

	arena_make(&f.a, frames);
	config = config_for(&f.a, PAGETABLE_DOMAIN);
	config.seams = true;
	ck_assert_int_eq(pagetable_init(&f.pt, &config), MM_OK);
	memset(seamed, 0, sizeof(seamed));
}

static void seams_free(void)
{
	pagetable_fini(&f.pt);
	ck_assert_uint_eq(f.a.used, 0);
	arena_free(&f.a);
}

static void seams_compare(void)
{
	struct pagetable_leaf leaf;
	uint64_t seams = 0;

	MUST(pagetable_check(&f.pt));
	for (uint64_t p = 0; p <= SEAM_PAGES; p++) {
		uint64_t in = SEAM_IN + p * FRAME_BYTES;
		bool found = pagetable_walk(&f.pt, in, &leaf);

		MUST(found == (seamed[p].rights != 0));
		MUST(!found || (leaf.out + (in - leaf.in) == seamed[p].out && leaf.attr.rights == seamed[p].rights));
		MUST(pagetable_cuts(&f.pt, in) == (found && !seamed[p].start));
		MUST(pagetable_cuts(&f.pt, in + 8) == found);
		seams += seamed[p].start;
	}
	MUST(pagetable_stats_read(&f.pt).seams == seams);
}

static void seams_deed(void)
{
	uint64_t p = below(SEAM_PAGES), n = below(3) ? 1 + below(8) : 1 + below(SEAM_PAGES - p), verb = below(4);
	struct pagetable_attr attr = {1 + (unsigned)below(3), PAGETABLE_WRITE_BACK};
	uint64_t in = SEAM_IN + p * FRAME_BYTES, out = GIB + (below(2) ? p : below(1000)) * FRAME_BYTES;
	bool free = true;

	n = n < SEAM_PAGES - p ? n : SEAM_PAGES - p;
	for (uint64_t i = p; i < p + n; i++)
		free &= seamed[i].rights == 0;
	if (verb < 2)
		MUST(pagetable_map(&f.pt, in, out, n * FRAME_BYTES, attr) == (free ? MM_OK : MM_EEXIST));
	else if (verb == 2)
		MUST(pagetable_unmap(&f.pt, in, n * FRAME_BYTES, NULL) == MM_OK);
	else
		MUST(pagetable_protect(&f.pt, in, n * FRAME_BYTES, attr, NULL) == MM_OK);
	for (uint64_t i = p; i < p + n; i++) {
		if (verb < 2 && free) {
			seamed[i].out = out + (i - p) * FRAME_BYTES;
			seamed[i].rights = attr.rights;
			seamed[i].start = i == p;
		} else if (verb == 2) {
			seamed[i].rights = 0;
			seamed[i].start = false;
		} else if (verb == 3 && seamed[i].rights) {
			seamed[i].rights = attr.rights;
		}
	}
	pagetable_flushed(&f.pt);
}

START_TEST(seams_at_random)
{
	seed(400 + (uint64_t)_i);
	seams_make(64);
	for (unsigned i = 0; i < 20000; i++) {
		seams_deed();
		if (i % 16 == 0)
			seams_compare();
	}
	seams_free();
}
END_TEST

/* The bit is one that VT-d ignores; where all 512 of a table are mapped page by page, none of them is lost. */
START_TEST(seams_are_kept)
{
	const uint64_t seam = UINT64_C(1) << 57;
	struct pagetable_attr read = {PAGETABLE_READ, PAGETABLE_WRITE_BACK};
	struct pagetable_run run;

	seams_make(64);
	for (uint64_t i = 0; i < 512; i++)
		ck_assert_int_eq(pagetable_map(&f.pt, GIB + i * 4096, i * 4096, 4096, read), MM_OK);
	ck_assert_uint_eq(pagetable_stats_read(&f.pt).leaves[PAGETABLE_4K], 512);
	ck_assert_uint_eq(pagetable_stats_read(&f.pt).seams, 512);
	ck_assert_uint_eq(*entry_at(&f.a, &f.pt, GIB + 4096, 0), 0x1001 | seam);
	ck_assert(pagetable_next_run(&f.pt, 0, &run) && run.in == GIB && run.bytes == 2 * MIB); /* no end of a run */
	ck_assert_int_eq(pagetable_map(&f.pt, 2 * GIB, 2 * GIB, GIB + 8192, read), MM_OK);
	ck_assert_uint_eq(*entry_at(&f.a, &f.pt, 2 * GIB, 2), (2 * GIB + 0x81) | seam);
	ck_assert_uint_eq(*entry_at(&f.a, &f.pt, 3 * GIB, 0), 3 * GIB + 1);
	ck_assert(!pagetable_cuts(&f.pt, 2 * GIB) && pagetable_cuts(&f.pt, 3 * GIB));
	ck_assert(!pagetable_cuts(&f.pt, 3 * GIB + 8192) && !pagetable_cuts(&f.pt, UINT64_C(1) << 48));
	ck_assert(pagetable_check(&f.pt));
	ck_assert_int_eq(pagetable_unmap(&f.pt, 2 * GIB + MIB, 4096, NULL), MM_OK); /* splits twice: the seam stays */
	ck_assert_uint_eq(pagetable_stats_read(&f.pt).seams, 513);
	ck_assert(!pagetable_cuts(&f.pt, 2 * GIB) && pagetable_cuts(&f.pt, 2 * GIB + 4096));
	must_matter(entry_at(&f.a, &f.pt, 2 * GIB, 0), seam, "a seam");
	must_matter(entry_at(&f.a, &f.pt, 3 * GIB, 0), seam, "no seam");
	must_matter(entry_at(&f.a, &f.pt, 2 * GIB, 1), seam, "a link");
	must_matter(&f.pt.seam, ~UINT64_C(0), "seam");
	must_matter(&f.pt.seams, ~UINT64_C(0), "seams");
	seams_free();
}
END_TEST

/* _i is a format. */
START_TEST(check_objects)
{
	const uint64_t address = ((UINT64_C(1) << 40) - 1) & ~UINT64_C(0xfff), all = ~UINT64_C(0);
	/* rights, A, D and the memory type: where another value is as legal */
	const uint64_t legal[FORMATS] = {0x316, 0x800000000000007e, 0x800000000000007e, 0x303};
	uint64_t accessed = accessed_of((enum pagetable_format)_i), *late;
	struct pagetable_attr attr = {_i == PAGETABLE_DOMAIN ? RWX & ~PAGETABLE_EXEC : RWX, PAGETABLE_WRITE_BACK};

	fixture_make((enum pagetable_format)_i, 32);
	ck_assert_int_eq(pagetable_map(&f.pt, 0x3000, 0x9000, 0x2000, attr), MM_OK);
	ck_assert_int_eq(pagetable_map(&f.pt, 2 * MIB, 4 * MIB, 2 * MIB, attr), MM_OK);
	ck_assert_int_eq(pagetable_map(&f.pt, GIB, 3 * GIB, GIB, attr), MM_OK);
	ck_assert_int_eq(pagetable_map(&f.pt, 600 * GIB, 0x1000, 0x1000, attr), MM_OK);
	ck_assert_int_eq(pagetable_map(&f.pt, 700 * GIB, 0x1000, 0x1000, attr), MM_OK);
	ck_assert_int_eq(pagetable_map(&f.pt, 4 * MIB, 0x1000, 0x1000, attr), MM_OK);
	pagetable_enter(&f.pt, &f.readers[1]);
	ck_assert_int_eq(pagetable_unmap(&f.pt, 700 * GIB, 0x1000, NULL), MM_OK);
	pagetable_flushed(&f.pt);
	late = page_at(&f.a, *entry_at(&f.a, &f.pt, 4 * MIB, 1));
	ck_assert_int_eq(pagetable_unmap(&f.pt, 4 * MIB, 0x1000, NULL), MM_OK);
	ck_assert_uint_eq(f.pt.retired, 3);

	must_matter(entry_at(&f.a, &f.pt, 0x3000, 0), ~(legal[_i] | address), "a 4K leaf");
	must_matter(entry_at(&f.a, &f.pt, 2 * MIB, 1), ~(legal[_i] | (address & ~(2 * MIB - 1))), "a 2M leaf");
	must_matter(entry_at(&f.a, &f.pt, GIB, 2), ~(legal[_i] | (address & ~(GIB - 1))), "a 1G leaf");
	for (unsigned level = 0; level < 4; level++) {
		if (level > 0)
			must_matter(entry_at(&f.a, &f.pt, 0x3000, level), ~accessed, "a link");
		must_matter(entry_at(&f.a, &f.pt, 0x3000, level) + 100, all, "an absent entry");
	}
	must_matter(&f.pt.root.n, all, "root");
	must_matter(&f.pt.tables, all, "tables");
	must_matter(&f.pt.tables_sum, all, "tables_sum");
	must_matter(&f.pt.retired, all, "retired");
	must_matter(&f.pt.retired_first.n, all, "retired_first");
	must_matter(&f.pt.retired_last.n, all, "retired_last");
	must_matter(&f.pt.unflushed, all, "unflushed");
	must_matter(&f.pt.unflushed_first.n, all, "unflushed_first");
	must_matter(&f.pt.collapsed, all, "collapsed");
	must_matter(&f.pt.epoch, all, "epoch");
	must_matter(&f.readers[1].epoch, all - 1, "a reader's epoch");
	must_matter(&f.pt.address, all, "address");
	must_matter(&f.pt.meaning, all, "meaning");
	must_matter(&f.pt.base, all, "base");
	must_matter(&f.pt.seam, all, "seam");
	must_matter(&f.pt.seams, all, "seams");
	for (unsigned i = 8; i < 20; i++)
		must_matter(&late[i], UINT64_C(31) << 52, "the epoch of a retired page");
	for (unsigned i = 0; i < PAGETABLE_SIZES; i++)
		must_matter(&f.pt.leaves[i], all, "leaves");
	f.pt.marks_shift ^= 1;
	ck_assert(!pagetable_check(&f.pt));
	f.pt.marks_shift ^= 1;
	f.pt.config.readers = NULL;
	ck_assert(!pagetable_check(&f.pt));
	f.pt.config.readers = f.readers;
	pagetable_leave(&f.readers[1]);
	fixture_free();
}
END_TEST

START_TEST(check_objects_to_shape)
{
	uint64_t *one, *other, was;

	fixture_make(PAGETABLE_EPT, 32);
	/* a table linked twice, another lost, and every count right */
	ck_assert_int_eq(pagetable_map(&f.pt, 0, 0x1000, 0x1000, rwx), MM_OK);
	ck_assert_int_eq(pagetable_map(&f.pt, 2 * MIB, 0x1000, 0x1000, rwx), MM_OK);
	one = entry_at(&f.a, &f.pt, 0, 1);
	other = entry_at(&f.a, &f.pt, 2 * MIB, 1);
	was = *other;
	*other = *one;
	ck_assert(!pagetable_check(&f.pt));
	*other = was;
	ck_assert(pagetable_check(&f.pt));

	/* an empty table */
	one = entry_at(&f.a, &f.pt, 0, 0);
	was = *one;
	*one = 0;
	f.pt.leaves[PAGETABLE_4K]--;
	ck_assert(!pagetable_check(&f.pt));
	*one = was;
	f.pt.leaves[PAGETABLE_4K]++;
	ck_assert(pagetable_check(&f.pt));

	/* 512 leaves that are one */
	ck_assert_int_eq(pagetable_map(&f.pt, 4 * MIB, 8 * MIB, 511 * 0x1000, rwx), MM_OK);
	one = entry_at(&f.a, &f.pt, 4 * MIB + 511 * 0x1000, 0);
	*one = one[-1] + 0x1000;
	f.pt.leaves[PAGETABLE_4K]++;
	ck_assert(!pagetable_check(&f.pt));
	*one ^= 2;
	ck_assert(pagetable_check(&f.pt));
	fixture_free();
}
END_TEST

Suite *pagetable_suite(void);

Suite *pagetable_suite(void)
{
	Suite *suite = suite_create("pagetable");
	TCase *plain = tcase_create("plain"), *random = tcase_create("random");

	tcase_add_loop_test(plain, exact_bits, 0, (int)(sizeof(goldens) / sizeof(*goldens)));
	tcase_add_loop_test(plain, every_right_and_type, 0, 2 * FORMATS);
	tcase_add_test(plain, eptp);
	tcase_add_test(plain, split_and_collapse_carry_marks);
	tcase_add_test(plain, splits_of_a_gigabyte);
	tcase_add_test(plain, map_completes_a_larger_leaf);
	tcase_add_test(plain, retired_tables_keep_their_entries);
	tcase_add_test(plain, empty_space_costs_nothing);
	tcase_add_test(plain, more_than_the_arena);
	tcase_add_test(plain, refused_pages_change_nothing);
	tcase_add_test(plain, harvest_tells_and_clears);
	tcase_add_loop_test(plain, late_marks_reach_the_leaf, 0, 2);
	tcase_add_test(plain, readers_hold_what_they_may_see);
	tcase_add_test(plain, readers_come_and_go);
	tcase_add_test(random, one_writer_three_readers);
	tcase_add_loop_test(random, no_mark_is_lost, 0, 2);
	tcase_add_test(plain, arguments_refused);
	tcase_add_test(plain, canonical_halves);
	tcase_add_test(plain, config_refused);
	tcase_add_test(plain, seams_are_kept);
	tcase_add_loop_test(random, seams_at_random, 0, 2);
	tcase_add_loop_test(plain, check_objects, 0, FORMATS);
	tcase_add_test(plain, check_objects_to_shape);
	suite_add_tcase(suite, plain);
	tcase_set_timeout(plain, 30);
	tcase_set_timeout(random, 60);
	tcase_add_loop_test(random, random_small_windows, 0, 2 * FORMATS);
	tcase_add_loop_test(random, random_large_window, 0, FORMATS);
	tcase_add_loop_test(random, random_many, 0, MANY_KINDS * FORMATS);
	suite_add_tcase(suite, random);
	return suite;
}
