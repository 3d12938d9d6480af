/* mm/pagetable.c: one engine for every page table that an x86-64 walker reads.
 *
 * What it is. A radix tree of 4 levels whose nodes are the hardware's own
 * pages of 512 entries; the table is the only record, nothing shadows it. It
 * does not flush a TLB, does not allocate, and never reads a frame it maps.
 *
 * Words. Level 0 entries map 4K, level 1 2M, level 2 1G; level 3 is the root.
 * An entry is absent (0), a leaf, or a link to the table below. A linear
 * address is the input address cut to 48 bits: the two canonical halves of
 * stage 1 become [0, 2^47) and [2^47, 2^48). A retired page is unlinked but may
 * still be held by a walker; a spare page was got but is not yet linked.
 *
 * Invariants, all of them verified by pagetable_check():
 *   I1  an entry is 0, or a leaf exactly as encode() writes it (A and D aside),
 *       or a link with exactly the link bits (A aside) to a page of the arena;
 *   I2  no leaf is larger than leaf_max, each is aligned to its size on both
 *       sides and lies inside the output width;
 *   I3  no table but the root is empty;
 *   I4  no table is collapsible: 512 leaves that continue one another with the
 *       same bits are one leaf, if leaf_max allows it;
 *   I5  leaves[] and tables count what is linked, and each table is linked once
 *       (tables_sum is the sum of a hash of the linked pages' numbers, which a
 *       page linked twice or lost puts wrong);
 *   I6  the retired list has `retired` pages, all of them of the arena.
 *
 * The formats differ by a codec only: which bits say present, large, accessed,
 * dirty, and how rights and memory type are said. In all of them bits 12 to 51
 * are the address, bit 7 says large, and a link that restrains nothing is 7
 * (R W X in EPT; present, write, user elsewhere).
 *
 * Two passes. Every change first counts the pages it needs and refuses what it
 * must refuse, then gets the pages, then writes what cannot fail. Map has to
 * read its whole range for that, since a mapped page in it is an error. Unmap
 * and protect need not: only a leaf that holds one of the range's two ends can
 * need a split.
 *
 * Walkers. Hardware (and, through pagetable_walk(), software) may walk while a
 * change is made. So an entry is loaded and stored whole, with acquire and
 * release; a table is filled before it is linked; an entry that a walker may
 * mark accessed or dirty is replaced by compare-and-exchange, so that no mark
 * is lost; and a retired table keeps its entries: the list of retired pages is
 * threaded through bits 52 to 56 of its first 8 entries, which every format
 * ignores, present or not. One thing is not covered: a mark that hardware
 * leaves in a collapsed table between the collapse and the flush.
 *
 * Cost. Walk: 4 loads. Map: the entries written, and twice the links above
 * them. Unmap, protect: the entries present in the range and O(levels) tables
 * at its two ends; an absent entry of any level is skipped as one. Whether a
 * table became empty or collapsible is asked of its first and last entry before
 * all 512 are read, so a sweep over single pages stays linear. Recursion is as
 * deep as the tree: 4.
 *
 * Failure. MM_EINVAL and MM_EEXIST are found by reading; MM_ENOMEM when get()
 * refuses, and then the pages got so far go back. No entry was written by then.
 *
 * Rejected. A count of present entries per table would need memory beside the
 * page (2 bytes a table) or ignored bits; the first-and-last test makes the
 * scans rare enough. Splitting lazily in the write pass could fail half way. */
#include "mm/pagetable.h"
#include "mm/port.h"

#define ENTRIES	   512u
#define LINEAR_END (UINT64_C(1) << PAGETABLE_INPUT_BITS)
#define HALF	   (LINEAR_END / 2) /* where stage 1's high half begins, linear */

#define LINK_BITS  (UINT64_C(7))
#define LARGE	   (UINT64_C(1) << 7)

/* EPT: SDM vol. 3C, 29.3.2. */
#define EPT_READ	 (UINT64_C(1) << 0)
#define EPT_WRITE	 (UINT64_C(1) << 1)
#define EPT_EXEC	 (UINT64_C(1) << 2)
#define EPT_MEMORY_SHIFT 3u
#define EPT_MEMORY_MASK	 (UINT64_C(7) << EPT_MEMORY_SHIFT)
#define EPT_MEMORY_UC	 UINT64_C(0)
#define EPT_MEMORY_WB	 UINT64_C(6)
#define EPT_IGNORE_PAT	 (UINT64_C(1) << 6)
#define EPT_ACCESSED	 (UINT64_C(1) << 8)
#define EPT_DIRTY	 (UINT64_C(1) << 9)

/* Stage 1: SDM vol. 3A, 4.5; NPT is the same: APM vol. 2, 15.25 and 5.4. */
#define X86_PRESENT    (UINT64_C(1) << 0)
#define X86_WRITE      (UINT64_C(1) << 1)
#define X86_USER       (UINT64_C(1) << 2)
#define X86_PWT	       (UINT64_C(1) << 3)
#define X86_PCD	       (UINT64_C(1) << 4) /* with PWT: PAT entry 3, UC from reset on */
#define X86_ACCESSED   (UINT64_C(1) << 5)
#define X86_DIRTY      (UINT64_C(1) << 6)
#define X86_NO_EXECUTE (UINT64_C(1) << 63)

/* The list of retired pages: 8 entries hold 5 bits each of the next page. */
#define CHAIN_SHIFT   52u
#define CHAIN_BITS    5u
#define CHAIN_ENTRIES 8u
_Static_assert(CHAIN_BITS *CHAIN_ENTRIES >= 52u - FRAME_SHIFT, "a frame number fits the chain");
_Static_assert(CHAIN_SHIFT >= 52u && CHAIN_SHIFT + CHAIN_BITS <= 57u, "EPT, NPT and stage 1 all ignore bits 52 to 56");
_Static_assert(FRAME_BYTES == ENTRIES * sizeof(uint64_t), "a table is a page");

/* ---- the codec: all that tells the formats apart ---- */

static uint64_t present_mask(const struct pagetable *pt)
{
	return pt->config.format == PAGETABLE_EPT ? EPT_READ | EPT_WRITE | EPT_EXEC : X86_PRESENT;
}

static uint64_t accessed_bit(const struct pagetable *pt)
{
	return pt->config.format == PAGETABLE_EPT ? EPT_ACCESSED : X86_ACCESSED;
}

static uint64_t dirty_bit(const struct pagetable *pt)
{
	return pt->config.format == PAGETABLE_EPT ? EPT_DIRTY : X86_DIRTY;
}

static uint64_t marks(const struct pagetable *pt)
{
	return accessed_bit(pt) | dirty_bit(pt);
}

static bool attr_ok(const struct pagetable *pt, struct pagetable_attr attr)
{
	unsigned known = PAGETABLE_READ | PAGETABLE_WRITE | PAGETABLE_EXEC;

	if (attr.memory != PAGETABLE_WRITE_BACK && attr.memory != PAGETABLE_UNCACHED)
		return false;
	if (pt->config.format != PAGETABLE_EPT)
		return (attr.rights & ~(known | PAGETABLE_USER)) == 0 && (attr.rights & PAGETABLE_READ);
	if (attr.rights & ~known)
		return false;
	return (attr.rights & PAGETABLE_READ) || (pt->config.execute_only && attr.rights == PAGETABLE_EXEC);
}

/* What a leaf says besides its address, its size, A and D. */
static uint64_t encode(const struct pagetable *pt, struct pagetable_attr attr)
{
	bool cached = attr.memory == PAGETABLE_WRITE_BACK;
	uint64_t bits = 0;

	if (pt->config.format == PAGETABLE_EPT) {
		bits |= attr.rights & PAGETABLE_READ ? EPT_READ : 0;
		bits |= attr.rights & PAGETABLE_WRITE ? EPT_WRITE : 0;
		bits |= attr.rights & PAGETABLE_EXEC ? EPT_EXEC : 0;
		bits |= (cached ? EPT_MEMORY_WB : EPT_MEMORY_UC) << EPT_MEMORY_SHIFT;
		bits |= pt->config.ignore_pat ? EPT_IGNORE_PAT : 0;
		return bits;
	}
	bits |= X86_PRESENT;
	bits |= attr.rights & PAGETABLE_WRITE ? X86_WRITE : 0;
	bits |= attr.rights & PAGETABLE_USER ? X86_USER : 0;
	bits |= attr.rights & PAGETABLE_EXEC ? 0 : X86_NO_EXECUTE;
	bits |= cached ? 0 : X86_PWT | X86_PCD;
	return bits;
}

static struct pagetable_attr decode(const struct pagetable *pt, uint64_t entry)
{
	struct pagetable_attr attr = {.rights = 0, .memory = PAGETABLE_WRITE_BACK};

	if (pt->config.format == PAGETABLE_EPT) {
		attr.rights |= entry & EPT_READ ? PAGETABLE_READ : 0;
		attr.rights |= entry & EPT_WRITE ? PAGETABLE_WRITE : 0;
		attr.rights |= entry & EPT_EXEC ? PAGETABLE_EXEC : 0;
		if ((entry & EPT_MEMORY_MASK) != EPT_MEMORY_WB << EPT_MEMORY_SHIFT)
			attr.memory = PAGETABLE_UNCACHED;
		return attr;
	}
	attr.rights |= PAGETABLE_READ;
	attr.rights |= entry & X86_WRITE ? PAGETABLE_WRITE : 0;
	attr.rights |= entry & X86_USER ? PAGETABLE_USER : 0;
	attr.rights |= entry & X86_NO_EXECUTE ? 0 : PAGETABLE_EXEC;
	if (entry & (X86_PWT | X86_PCD))
		attr.memory = PAGETABLE_UNCACHED;
	return attr;
}

/* ---- entries, addresses, pages ---- */

static uint64_t load(const uint64_t *entry)
{
	return __atomic_load_n(entry, __ATOMIC_ACQUIRE);
}

static void store(uint64_t *entry, uint64_t value)
{
	__atomic_store_n(entry, value, __ATOMIC_RELEASE);
}

/* False iff a walker marked the entry since *was was read; *was is then anew. */
static bool swap(uint64_t *entry, uint64_t *was, uint64_t value)
{
	return __atomic_compare_exchange_n(entry, was, value, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

static unsigned level_shift(unsigned level)
{
	return FRAME_SHIFT + 9u * level;
}

static uint64_t level_bytes(unsigned level)
{
	return UINT64_C(1) << level_shift(level);
}

static unsigned index_of(uint64_t linear, unsigned level)
{
	return (unsigned)(linear >> level_shift(level)) % ENTRIES;
}

/* Where the part of [at, end) that one entry of this level translates ends. */
static uint64_t entry_end(uint64_t at, uint64_t end, unsigned level)
{
	uint64_t next = (at & ~(level_bytes(level) - 1)) + level_bytes(level);

	return next < end ? next : end;
}

static bool is_present(const struct pagetable *pt, uint64_t entry)
{
	return (entry & present_mask(pt)) != 0;
}

static bool is_leaf(const struct pagetable *pt, uint64_t entry, unsigned level)
{
	return is_present(pt, entry) && (level == 0 || (entry & LARGE));
}

static uint64_t address_mask(const struct pagetable *pt)
{
	return ((UINT64_C(1) << pt->config.phys_bits) - 1) & ~(FRAME_BYTES - 1);
}

static uint64_t address_of(const struct pagetable *pt, uint64_t entry)
{
	return entry & address_mask(pt);
}

static uint64_t leaf_entry(uint64_t out, uint64_t bits, unsigned level)
{
	return out | bits | (level > 0 ? LARGE : 0);
}

static bool page_inside(const struct pagetable *pt, struct pfn page)
{
	return page.n >= pt->config.arena_first.n && page.n - pt->config.arena_first.n < pt->config.arena_frames;
}

static uint64_t *table_at(const struct pagetable *pt, struct pfn page)
{
	return (uint64_t *)pt->config.arena + (page.n - pt->config.arena_first.n) * ENTRIES;
}

static struct pfn page_of(const struct pagetable *pt, uint64_t link)
{
	return (struct pfn){address_of(pt, link) >> FRAME_SHIFT};
}

static uint64_t *table_of(const struct pagetable *pt, uint64_t link)
{
	return table_at(pt, page_of(pt, link));
}

/* The finalizer of splitmix64: a sum of these stays right by chance only once in 2^64. */
static uint64_t page_hash(struct pfn page)
{
	uint64_t x = page.n + UINT64_C(0x9e3779b97f4a7c15);

	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

static bool linear_of(const struct pagetable *pt, uint64_t in, uint64_t *linear)
{
	if (pt->config.format == PAGETABLE_STAGE1 && in >= -HALF)
		in -= -LINEAR_END;
	else if (pt->config.format == PAGETABLE_STAGE1 && in >= HALF)
		return false;
	*linear = in;
	return in < LINEAR_END;
}

static uint64_t input_of(const struct pagetable *pt, uint64_t linear)
{
	return pt->config.format == PAGETABLE_STAGE1 && linear >= HALF ? linear + -LINEAR_END : linear;
}

/* Where the half (or the whole) that holds a linear address ends. */
static uint64_t linear_limit(const struct pagetable *pt, uint64_t linear)
{
	return pt->config.format == PAGETABLE_STAGE1 && linear < HALF ? HALF : LINEAR_END;
}

static bool range_of(const struct pagetable *pt, uint64_t in, uint64_t bytes, uint64_t *first, uint64_t *end)
{
	if (bytes == 0 || ((in | bytes) & (FRAME_BYTES - 1)))
		return false;
	if (!linear_of(pt, in, first) || bytes > linear_limit(pt, *first) - *first)
		return false;
	*end = *first + bytes;
	return true;
}

/* ---- spare pages: got before the first entry is written ---- */

struct spares { /* linked by their first word, which no walker sees */
	struct pfn head;
	uint64_t count;
};

static struct pfn spare_take(struct pagetable *pt, struct spares *spares)
{
	struct pfn page = spares->head;

	MM_ASSERT(spares->count > 0, pt->tables, pt->retired);
	spares->head.n = *table_at(pt, page);
	spares->count--;
	return page;
}

static enum mm_err spares_get(struct pagetable *pt, uint64_t count, struct spares *spares)
{
	struct pagetable_pages *pages = &pt->config.pages;
	struct pfn page;

	*spares = (struct spares){.count = 0};
	if (count > pt->config.arena_frames)
		return MM_ENOMEM;
	while (spares->count < count && pages->get(pages->self, &page) == MM_OK) {
		MM_ASSERT(page_inside(pt, page), page.n, pt->config.arena_first.n);
		*table_at(pt, page) = spares->head.n;
		spares->head = page;
		spares->count++;
	}
	if (spares->count == count)
		return MM_OK;
	while (spares->count > 0)
		pages->put(pages->self, spare_take(pt, spares));
	return MM_ENOMEM;
}

static void table_clear(uint64_t *table)
{
	for (unsigned i = 0; i < ENTRIES; i++)
		table[i] = 0;
}

/* ---- linking and retiring tables ---- */

static void table_counted(struct pagetable *pt, struct pfn page)
{
	pt->tables++;
	pt->tables_sum += page_hash(page);
	if (pt->tables > pt->tables_max)
		pt->tables_max = pt->tables;
}

static uint64_t link_to(struct pfn page)
{
	return page.n << FRAME_SHIFT | LINK_BITS;
}

static void retire(struct pagetable *pt, struct pfn page)
{
	uint64_t *table = table_at(pt, page);

	for (unsigned i = 0; i < CHAIN_ENTRIES; i++) {
		uint64_t piece = pt->retired_head >> (CHAIN_BITS * i) & ((1u << CHAIN_BITS) - 1);

		__atomic_fetch_or(&table[i], piece << CHAIN_SHIFT, __ATOMIC_RELEASE);
	}
	pt->retired_head = page.n;
	pt->retired++;
	pt->tables--;
	pt->tables_sum -= page_hash(page);
}

/* The page retired before this one; meaningless for the first. */
static uint64_t retired_before(const struct pagetable *pt, struct pfn page)
{
	const uint64_t *table = table_at(pt, page);
	uint64_t before = 0;

	for (unsigned i = 0; i < CHAIN_ENTRIES; i++)
		before |= (load(&table[i]) >> CHAIN_SHIFT & ((1u << CHAIN_BITS) - 1)) << (CHAIN_BITS * i);
	return before;
}

static bool table_is_empty(const struct pagetable *pt, const uint64_t *table)
{
	if (is_present(pt, load(&table[ENTRIES - 1])))
		return false;
	for (unsigned i = 0; i < ENTRIES - 1; i++)
		if (is_present(pt, load(&table[i])))
			return false;
	return true;
}

/* Whether the 512 entries of a table of this level amount to one leaf a level up: *leaf. */
static bool table_is_one_leaf(const struct pagetable *pt, const uint64_t *table, unsigned level, uint64_t *leaf)
{
	uint64_t seen = 0, step = level_bytes(level), first = load(&table[0]) & ~marks(pt);

	if (level + 1 > (unsigned)pt->config.leaf_max || !is_leaf(pt, first, level))
		return false;
	if (address_of(pt, first) & (level_bytes(level + 1) - 1))
		return false;
	if ((load(&table[ENTRIES - 1]) & ~marks(pt)) != first + (ENTRIES - 1) * step)
		return false;
	for (unsigned i = 0; i < ENTRIES; i++) {
		uint64_t entry = load(&table[i]);

		if ((entry & ~marks(pt)) != first + i * step)
			return false;
		seen |= entry & marks(pt);
	}
	*leaf = first | LARGE | seen;
	return true;
}

/* Replaces the table below an entry of this level by a leaf, if it amounts to one. */
static bool collapse(struct pagetable *pt, uint64_t *entry, unsigned level)
{
	uint64_t link = load(entry), leaf;

	if (!table_is_one_leaf(pt, table_of(pt, link), level - 1, &leaf))
		return false;
	store(entry, leaf);
	pt->leaves[level - 1] -= ENTRIES;
	pt->leaves[level]++;
	retire(pt, page_of(pt, link));
	return true;
}

/* Replaces a leaf of this level by a table of 512 that say the same. */
static void split(struct pagetable *pt, struct spares *spares, uint64_t *entry, unsigned level)
{
	struct pfn page = spare_take(pt, spares);
	uint64_t *table = table_at(pt, page);
	uint64_t was = load(entry), step = level_bytes(level - 1);

	do {
		uint64_t first = level == 1 ? was & ~LARGE : was;

		for (unsigned i = 0; i < ENTRIES; i++)
			table[i] = first + i * step;
	} while (!swap(entry, &was, link_to(page)));
	pt->leaves[level]--;
	pt->leaves[level - 1] += ENTRIES;
	table_counted(pt, page);
}

/* ---- map ---- */

struct mapping {
	uint64_t shift; /* output address minus linear address, modulo 2^64 */
	uint64_t bits;
};

static bool leaf_fits(const struct pagetable *pt, const struct mapping *m, unsigned level, uint64_t bytes)
{
	return level <= (unsigned)pt->config.leaf_max && bytes == level_bytes(level) && (m->shift & (bytes - 1)) == 0;
}

/* Adds the tables that mapping [first, end) needs below this one (NULL: absent). */
static enum mm_err map_plan(const struct pagetable *pt, const uint64_t *table, unsigned level, uint64_t first,
			    uint64_t end, const struct mapping *m, uint64_t *pages)
{
	for (uint64_t at = first, stop; at < end; at = stop) {
		uint64_t entry = table ? load(&table[index_of(at, level)]) : 0;
		enum mm_err err = MM_OK;

		stop = entry_end(at, end, level);
		if (is_leaf(pt, entry, level))
			return MM_EEXIST;
		if (is_present(pt, entry)) {
			err = map_plan(pt, table_of(pt, entry), level - 1, at, stop, m, pages);
		} else if (!leaf_fits(pt, m, level, stop - at)) {
			if (++*pages > pt->config.arena_frames)
				return MM_ENOMEM; /* before a vast range costs time as well */
			if (level > 1)
				err = map_plan(pt, NULL, level - 1, at, stop, m, pages);
		}
		if (err != MM_OK)
			return err;
	}
	return MM_OK;
}

/* At level 0 the plan has seen that every entry of the range is absent. */
static void map_fill(struct pagetable *pt, uint64_t *table, uint64_t first, uint64_t end, const struct mapping *m)
{
	uint64_t *entry = &table[index_of(first, 0)], value = leaf_entry(first + m->shift, m->bits, 0);
	uint64_t count = (end - first) >> FRAME_SHIFT;

	for (uint64_t i = 0; i < count; i++)
		store(&entry[i], value + i * FRAME_BYTES);
	pt->leaves[0] += count;
}

static void map_write(struct pagetable *pt, struct spares *spares, uint64_t *table, unsigned level, uint64_t first,
		      uint64_t end, const struct mapping *m)
{
	if (level == 0) {
		map_fill(pt, table, first, end, m);
		return;
	}
	for (uint64_t at = first, stop; at < end; at = stop) {
		uint64_t *entry = &table[index_of(at, level)];
		uint64_t was = load(entry);

		stop = entry_end(at, end, level);
		if (is_present(pt, was)) {
			map_write(pt, spares, table_of(pt, was), level - 1, at, stop, m);
			(void)collapse(pt, entry, level);
		} else if (leaf_fits(pt, m, level, stop - at)) {
			store(entry, leaf_entry(at + m->shift, m->bits, level));
			pt->leaves[level]++;
		} else {
			struct pfn page = spare_take(pt, spares);

			table_clear(table_at(pt, page));
			map_write(pt, spares, table_at(pt, page), level - 1, at, stop, m);
			store(entry, link_to(page));
			table_counted(pt, page);
		}
	}
}

enum mm_err pagetable_map(struct pagetable *pt, uint64_t in, uint64_t out, uint64_t bytes, struct pagetable_attr attr)
{
	uint64_t first, end, pages = 0, out_end = UINT64_C(1) << pt->config.phys_bits;
	uint64_t *root = table_at(pt, pt->root);
	struct spares spares;
	struct mapping m;
	enum mm_err err;

	if (!range_of(pt, in, bytes, &first, &end) || !attr_ok(pt, attr))
		return MM_EINVAL;
	if ((out & (FRAME_BYTES - 1)) || out >= out_end || bytes > out_end - out)
		return MM_EINVAL;
	m = (struct mapping){.shift = out - first, .bits = encode(pt, attr)};
	err = map_plan(pt, root, PAGETABLE_LEVELS - 1, first, end, &m, &pages);
	if (err == MM_OK)
		err = spares_get(pt, pages, &spares);
	if (err != MM_OK)
		return err;
	map_write(pt, &spares, root, PAGETABLE_LEVELS - 1, first, end, &m);
	MM_ASSERT(spares.count == 0, spares.count, pages);
	return MM_OK;
}

/* ---- unmap and protect: one change, two ways ---- */

struct change {
	struct pagetable *pt;
	struct spares spares;
	bool unmap;
	uint64_t bits;	     /* protect: what the leaves shall say */
	uint64_t first, end; /* linear: bounds of what was changed; first > end: nothing */
	bool narrowed;
};

static void changed(struct change *c, uint64_t first, uint64_t end)
{
	if (first < c->first)
		c->first = first;
	if (end > c->end)
		c->end = end;
}

static bool leaf_stays(const struct change *c, uint64_t entry)
{
	uint64_t bits = entry & ~(address_mask(c->pt) | marks(c->pt) | LARGE);

	return !c->unmap && bits == c->bits;
}

/* Whether the new bits let a walker do less than this leaf did, or otherwise. */
static bool leaf_narrows(const struct change *c, uint64_t entry)
{
	struct pagetable_attr was = decode(c->pt, entry), is = decode(c->pt, c->bits);

	return (was.rights & ~is.rights) || was.memory != is.memory;
}

/* Retires a table that is already unlinked, with all below it. */
static void drop_table(struct change *c, struct pfn page, unsigned level, uint64_t base)
{
	const uint64_t *table = table_at(c->pt, page);

	for (unsigned i = 0; i < ENTRIES; i++) {
		uint64_t entry = load(&table[i]), at = base + i * level_bytes(level);

		if (is_leaf(c->pt, entry, level)) {
			c->pt->leaves[level]--;
			changed(c, at, at + level_bytes(level));
		} else if (is_present(c->pt, entry)) {
			drop_table(c, page_of(c->pt, entry), level - 1, at);
		}
	}
	retire(c->pt, page);
}

static void change_leaf(struct change *c, uint64_t *entry, unsigned level, uint64_t at)
{
	uint64_t was = load(entry), keep = address_mask(c->pt) | marks(c->pt) | (level > 0 ? LARGE : 0);

	if (c->unmap)
		c->pt->leaves[level]--;
	c->narrowed |= c->unmap || leaf_narrows(c, was);
	while (!swap(entry, &was, c->unmap ? 0 : (was & keep) | c->bits))
		;
	changed(c, at, at + level_bytes(level));
}

static void change_table(struct change *c, uint64_t *table, unsigned level, uint64_t first, uint64_t end);

/* What lies below one entry: [at, stop) is the part of it that changes. */
static void change_below(struct change *c, uint64_t *entry, unsigned level, uint64_t at, uint64_t stop)
{
	uint64_t link = load(entry), base = at & ~(level_bytes(level) - 1);

	if (c->unmap && stop - at == level_bytes(level)) {
		store(entry, 0);
		c->narrowed = true;
		drop_table(c, page_of(c->pt, link), level - 1, base);
		return;
	}
	change_table(c, table_of(c->pt, link), level - 1, at, stop);
	if (c->unmap && table_is_empty(c->pt, table_of(c->pt, link))) {
		store(entry, 0);
		retire(c->pt, page_of(c->pt, link));
	} else if (!c->unmap && collapse(c->pt, entry, level)) {
		changed(c, base, base + level_bytes(level));
	}
}

static void change_table(struct change *c, uint64_t *table, unsigned level, uint64_t first, uint64_t end)
{
	for (uint64_t at = first, stop; at < end; at = stop) {
		uint64_t *entry = &table[index_of(at, level)];
		uint64_t was = load(entry);
		bool leaf = is_leaf(c->pt, was, level);

		stop = entry_end(at, end, level);
		if (!is_present(c->pt, was) || (leaf && leaf_stays(c, was)))
			continue;
		if (leaf && stop - at == level_bytes(level)) {
			change_leaf(c, entry, level, at);
			continue;
		}
		if (leaf)
			split(c->pt, &c->spares, entry, level);
		change_below(c, entry, level, at, stop);
	}
}

/* An entry that the descent ended at: a leaf, or an absent entry of any level. */
struct spot {
	uint64_t entry, base;
	unsigned level;
};

static struct spot descend(const struct pagetable *pt, uint64_t linear)
{
	const uint64_t *table = table_at(pt, pt->root);
	struct spot spot = {.level = PAGETABLE_LEVELS - 1};

	for (;; spot.level--) {
		spot.entry = load(&table[index_of(linear, spot.level)]);
		if (!is_present(pt, spot.entry) || is_leaf(pt, spot.entry, spot.level))
			break;
		table = table_of(pt, spot.entry);
	}
	spot.base = linear & ~(level_bytes(spot.level) - 1);
	return spot;
}

/* Tables needed to split a leaf of this level so that [first, end), a part of it, stands alone. */
static uint64_t split_pages(unsigned level, uint64_t first, uint64_t end)
{
	uint64_t part = level_bytes(1) - 1, pages = 1;

	if (level < 2)
		return pages;
	if (first & part)
		pages++;
	if ((end & part) && (!(first & part) || (first & ~part) != (end & ~part)))
		pages++;
	return pages;
}

static uint64_t change_plan(const struct change *c, uint64_t first, uint64_t end)
{
	struct spot left = descend(c->pt, first), right = descend(c->pt, end - 1);
	uint64_t left_end = left.base + level_bytes(left.level), right_end = right.base + level_bytes(right.level);
	uint64_t pages = 0;
	bool split_left = is_present(c->pt, left.entry) && !leaf_stays(c, left.entry) && left.base < first;
	bool split_right = is_present(c->pt, right.entry) && !leaf_stays(c, right.entry) && right_end > end;

	if (left.base == right.base)
		return split_left || split_right ? split_pages(left.level, first, end) : 0;
	if (split_left)
		pages += split_pages(left.level, first, left_end);
	if (split_right)
		pages += split_pages(right.level, right.base, end);
	return pages;
}

static enum mm_err change_run(struct change *c, uint64_t in, uint64_t bytes, struct pagetable_flush *flush)
{
	uint64_t first, end;
	enum mm_err err;

	if (!range_of(c->pt, in, bytes, &first, &end))
		return MM_EINVAL;
	err = spares_get(c->pt, change_plan(c, first, end), &c->spares);
	if (err != MM_OK)
		return err;
	change_table(c, table_at(c->pt, c->pt->root), PAGETABLE_LEVELS - 1, first, end);
	MM_ASSERT(c->spares.count == 0, c->spares.count, in);
	if (!flush)
		return MM_OK;
	*flush = (struct pagetable_flush){.narrowed = c->narrowed};
	if (c->first < c->end) {
		flush->first = input_of(c->pt, c->first);
		flush->end = flush->first + (c->end - c->first);
	}
	return MM_OK;
}

enum mm_err pagetable_unmap(struct pagetable *pt, uint64_t in, uint64_t bytes, struct pagetable_flush *flush)
{
	struct change c = {.pt = pt, .unmap = true, .first = UINT64_MAX};

	return change_run(&c, in, bytes, flush);
}

enum mm_err pagetable_protect(struct pagetable *pt, uint64_t in, uint64_t bytes, struct pagetable_attr attr,
			      struct pagetable_flush *flush)
{
	struct change c = {.pt = pt, .bits = encode(pt, attr), .first = UINT64_MAX};

	if (!attr_ok(pt, attr))
		return MM_EINVAL;
	return change_run(&c, in, bytes, flush);
}

/* ---- reading ---- */

bool pagetable_walk(const struct pagetable *pt, uint64_t in, struct pagetable_leaf *out)
{
	struct spot spot;
	uint64_t linear;

	if (!linear_of(pt, in, &linear))
		return false;
	spot = descend(pt, linear);
	if (!is_present(pt, spot.entry))
		return false;
	*out = (struct pagetable_leaf){
		.in = input_of(pt, spot.base),
		.out = address_of(pt, spot.entry),
		.size = (enum pagetable_size)spot.level,
		.attr = decode(pt, spot.entry),
		.accessed = (spot.entry & accessed_bit(pt)) != 0,
		.dirty = (spot.entry & dirty_bit(pt)) != 0,
	};
	return true;
}

struct scan {
	const struct pagetable *pt;
	uint64_t from;
	struct pagetable_run run; /* .in is linear; .bytes 0: none yet */
	uint64_t bits;
};

/* Adds a leaf to the run; false iff the run has ended before it. */
static bool scan_leaf(struct scan *s, uint64_t entry, unsigned level, uint64_t at)
{
	uint64_t bits = entry & ~(address_mask(s->pt) | marks(s->pt) | LARGE);
	uint64_t out = address_of(s->pt, entry);

	if (s->run.bytes == 0) {
		s->run = (struct pagetable_run){.in = at, .out = out, .attr = decode(s->pt, entry)};
		s->bits = bits;
	} else if (bits != s->bits || at != s->run.in + s->run.bytes || out != s->run.out + s->run.bytes ||
		   at == linear_limit(s->pt, s->run.in)) {
		return false;
	}
	s->run.bytes += level_bytes(level);
	s->run.leaves[level]++;
	return true;
}

static bool scan_table(struct scan *s, const uint64_t *table, unsigned level, uint64_t base)
{
	for (unsigned i = s->from > base ? index_of(s->from, level) : 0; i < ENTRIES; i++) {
		uint64_t entry = load(&table[i]), at = base + i * level_bytes(level);
		bool on = true;

		if (is_leaf(s->pt, entry, level))
			on = scan_leaf(s, entry, level, at);
		else if (is_present(s->pt, entry))
			on = scan_table(s, table_of(s->pt, entry), level - 1, at);
		else
			on = s->run.bytes == 0;
		if (!on)
			return false;
	}
	return true;
}

bool pagetable_next_run(const struct pagetable *pt, uint64_t in, struct pagetable_run *out)
{
	struct scan s = {.pt = pt};

	if (!linear_of(pt, in, &s.from)) {
		if (pt->config.format != PAGETABLE_STAGE1)
			return false;
		s.from = HALF; /* between the halves: the high one is next */
	}
	(void)scan_table(&s, table_at(pt, pt->root), PAGETABLE_LEVELS - 1, 0);
	if (s.run.bytes == 0)
		return false;
	*out = s.run;
	out->in = input_of(pt, s.run.in);
	return true;
}

uint64_t pagetable_root_address(const struct pagetable *pt)
{
	return pt->root.n << FRAME_SHIFT;
}

struct pagetable_stats pagetable_stats_read(const struct pagetable *pt)
{
	struct pagetable_stats stats = {.tables = pt->tables, .tables_max = pt->tables_max, .retired = pt->retired};

	for (unsigned i = 0; i < PAGETABLE_SIZES; i++)
		stats.leaves[i] = pt->leaves[i];
	return stats;
}

/* ---- life ---- */

static bool config_ok(const struct pagetable_config *c)
{
	uint64_t frames_end;

	if (c->format != PAGETABLE_EPT && c->format != PAGETABLE_NPT && c->format != PAGETABLE_STAGE1)
		return false;
	if (c->phys_bits < 32 || c->phys_bits > 52 || (unsigned)c->leaf_max >= PAGETABLE_SIZES)
		return false;
	if (!c->arena || (uintptr_t)c->arena % FRAME_BYTES || !c->pages.get || !c->pages.put)
		return false;
	frames_end = UINT64_C(1) << (c->phys_bits - FRAME_SHIFT);
	return c->arena_frames > 0 && c->arena_frames <= frames_end && c->arena_first.n <= frames_end - c->arena_frames;
}

enum mm_err pagetable_init(struct pagetable *pt, const struct pagetable_config *config)
{
	struct pfn root;

	if (!config_ok(config))
		return MM_EINVAL;
	if (config->pages.get(config->pages.self, &root) != MM_OK)
		return MM_ENOMEM;
	*pt = (struct pagetable){.config = *config, .root = root, .retired_head = UINT64_MAX};
	MM_ASSERT(page_inside(pt, root), root.n, config->arena_first.n);
	table_clear(table_at(pt, root));
	table_counted(pt, root);
	return MM_OK;
}

void pagetable_flushed(struct pagetable *pt)
{
	while (pt->retired > 0) {
		struct pfn page = {pt->retired_head};

		pt->retired--;
		pt->retired_head = pt->retired > 0 ? retired_before(pt, page) : UINT64_MAX;
		pt->config.pages.put(pt->config.pages.self, page);
	}
}

void pagetable_fini(struct pagetable *pt)
{
	struct change c = {.pt = pt, .unmap = true, .first = UINT64_MAX};

	drop_table(&c, pt->root, PAGETABLE_LEVELS - 1, 0);
	pagetable_flushed(pt);
}

/* ---- the check ---- */

struct tally {
	uint64_t leaves[PAGETABLE_SIZES];
	uint64_t tables, tables_sum;
};

static bool check_leaf(const struct pagetable *pt, uint64_t entry, unsigned level) /* I1, I2 */
{
	uint64_t out = address_of(pt, entry);
	struct pagetable_attr attr = decode(pt, entry);

	if (level > (unsigned)pt->config.leaf_max || (out & (level_bytes(level) - 1)) || !attr_ok(pt, attr))
		return false;
	return (entry & ~marks(pt)) == leaf_entry(out, encode(pt, attr), level);
}

static bool check_table(const struct pagetable *pt, struct pfn page, unsigned level, struct tally *tally)
{
	const uint64_t *table = table_at(pt, page);
	bool is_root = level == PAGETABLE_LEVELS - 1;
	uint64_t leaf;

	tally->tables_sum += page_hash(page);
	if (++tally->tables > pt->tables) /* also what ends a walk of tables tied in a knot */
		return false;
	for (unsigned i = 0; i < ENTRIES; i++) {
		uint64_t entry = load(&table[i]);

		if (is_leaf(pt, entry, level)) {
			if (!check_leaf(pt, entry, level))
				return false;
			tally->leaves[level]++;
		} else if (is_present(pt, entry)) {
			if ((entry & ~accessed_bit(pt)) != link_to(page_of(pt, entry)) ||
			    !page_inside(pt, page_of(pt, entry)))
				return false; /* I1 */
			if (!check_table(pt, page_of(pt, entry), level - 1, tally))
				return false;
		} else if (entry != 0) {
			return false; /* I1 */
		}
	}
	if (is_root)
		return true;
	return !table_is_empty(pt, table) && !table_is_one_leaf(pt, table, level, &leaf); /* I3, I4 */
}

static bool check_retired(const struct pagetable *pt) /* I6 */
{
	struct pfn page = {pt->retired_head};

	if (pt->retired > pt->config.arena_frames)
		return false;
	for (uint64_t i = 0; i < pt->retired; i++) {
		if (!page_inside(pt, page))
			return false;
		page.n = retired_before(pt, page);
	}
	return pt->retired > 0 || pt->retired_head == UINT64_MAX;
}

bool pagetable_check(const struct pagetable *pt)
{
	struct tally tally = {.tables = 0};

	if (!config_ok(&pt->config) || !page_inside(pt, pt->root))
		return false;
	if (!check_table(pt, pt->root, PAGETABLE_LEVELS - 1, &tally) || !check_retired(pt))
		return false;
	for (unsigned i = 0; i < PAGETABLE_SIZES; i++)
		if (tally.leaves[i] != pt->leaves[i])
			return false;
	return tally.tables == pt->tables && tally.tables_sum == pt->tables_sum; /* I5 */
}
