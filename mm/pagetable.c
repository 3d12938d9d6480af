/* mm/pagetable.c: one engine for every page table that an x86-64 walker reads.
 *
 * What it is. A radix tree of 4 levels whose nodes are the hardware's own
 * pages of 512 entries; the table is the only record, nothing shadows it. It
 * does not flush a TLB, does not allocate, and never reads a frame it maps.
 *
 * Words. Level 0 entries map 4K, level 1 2M, level 2 1G; level 3 is the root.
 * An entry is absent (0), a leaf, or a link to the table below. Marks are the
 * accessed and the dirty bit, A and D. A linear address is the input address cut
 * to 48 bits: the two canonical halves of stage 1 become [0, 2^47) and
 * [2^47, 2^48). A retired page is unlinked but may still be held by a walker:
 * by hardware until the flush, by a reader until it leaves. A spare page was got
 * but is not yet linked. An epoch is the time between two flushes.
 *
 * Invariants, all of them verified by pagetable_check():
 *   I1  an entry is 0, or a leaf exactly as encode() writes it (marks aside),
 *       or a link with exactly the link bits (A aside) to a page of the arena;
 *   I2  no leaf is larger than leaf_max, each is aligned to its size on both
 *       sides and lies inside the output width;
 *   I3  no table but the root is empty;
 *   I4  no table is collapsible: 512 leaves that continue one another with the
 *       same bits are one leaf, if leaf_max allows it and there are no seams;
 *   I5  leaves[] and tables count what is linked, and each table is linked once
 *       (tables_sum is the sum of a hash of the linked pages' numbers, which a
 *       page linked twice or lost puts wrong), and seams those that say so;
 *   I6  the retired list has `retired` pages, all of them of the arena, in the
 *       order of their epochs; the last `unflushed` of them, and no others, are
 *       of this epoch, `collapsed` of them by a collapse; no reader is ahead of it;
 *   I7  what is worked out once from the config is what the config says.
 *
 * The formats differ by a codec only: which bits say present, large, accessed,
 * dirty, and how rights and memory type are said. In all of them bits 12 to 51
 * are the address and bit 7 says large, D follows A, some of bits 0 to 2 is set
 * in each entry that is present, and none in one that is absent, so a walk need
 * not know the format. A link that restrains nothing is 7 (R W X in EPT;
 * present, write, user in NPT and stage 1) or, in a domain, 3 (R W: bit 2 is not
 * ours to set). A domain's leaf sets nothing but R, W, size and address: no
 * snooping is forced, and memory types are the device's and the CPU's matter.
 *
 * Seams. Whoever must take back as a whole what was mapped as one asks for them:
 * the first leaf of each map then has a bit that VT-d ignores. What was
 * mapped as one ends at the next seam or hole, so no other record of it is needed.
 * A split leaves the seam to the first of the 512; unmapping that one takes it along. Such
 * tables never collapse, since a million maps of a page each would lose theirs.
 *
 * Two passes. Every change first counts the pages it needs and refuses what it
 * must refuse, then gets the pages, then writes what cannot fail. Map has to
 * read its whole range for that, since a mapped page in it is an error; but what
 * an absent entry will need below it is arithmetic. Unmap and protect need not:
 * only a leaf that holds one of the range's two ends can need a split.
 *
 * Walkers. Hardware and readers may walk while a change is made. So an entry is
 * loaded and stored whole, with acquire and release; a table is filled before it
 * is linked; an entry that a walker may mark is replaced by compare-and-exchange
 * and cleared of marks by an atomic AND, so that no mark is lost; and a retired
 * table keeps its entries: what its list needs is written into bits 52 to 56 of
 * its first 26 entries, which every format ignores, present or not, and every
 * reader masks. Hardware may also mark a table after the collapse that read its
 * marks and before the flush: pagetable_flushed() reads the marks once more, and
 * hands what the collapse had not seen to the leaf that translates there now, if
 * it is still the same translation. A kind that the collapse had seen is not
 * handed on: the leaf has had it since, or a harvest cleared it, whose flush will
 * end the old table's use. Marks of a leaf that is unmapped are lost: who wants
 * them harvests first. A in links is never cleared and nothing is concluded from
 * it: a walker with a link in its cache marks a leaf and not the link.
 *
 * Readers. A retired page of epoch e goes back to put() once the epoch is e + 1
 * or later and no reader is inside that entered with epoch e or before. To enter
 * is to load the writer's epoch and to put it into the reader's own line by an
 * exchange; the writer reads each reader's line by adding 0. Both are
 * read-modify-writes of one word, so one comes before the other:
 *   - the writer's first: the exchange (or the first of that reader since) reads
 *     what the writer's wrote, acquires what the writer did before, and that is
 *     the unlinking: the reader cannot find the page;
 *   - the reader's first, and it is still inside with epoch e' <= e: the page
 *     waits. With e' > e: it had loaded an epoch that was stored, by release,
 *     after the page was unlinked: it cannot find the page either;
 *   - the reader has left (or left and entered again): the writer reads what it
 *     stored (exchanged) by release after its last load: that load came before
 *     put().
 * That a reader enters with an old epoch, since it was interrupted between load
 * and exchange, only makes pages wait. Each page has its own epoch, so readers
 * that come and go and overlap forever hold nothing that none of them can hold.
 * The writer never waits; a reader that never leaves holds pages, no CPU.
 *
 * Cost. Walk: 4 loads. Map: the entries written, the links above them, and the
 * level 0 entries once more to see that they are absent. Unmap, protect,
 * harvest: the entries present in the range and O(levels) tables at its two
 * ends, each read whole; an absent entry of any level is skipped as one. Before
 * all 512 are read, whether a table became collapsible is asked of its first and
 * last entry, and whether it became empty of the neighbours of what went and of
 * the last, so a sweep over single pages stays linear. To retire a page costs
 * some 10 atomic ORs; to flush one atomic add a reader, and 512 loads a collapsed
 * table. Recursion is as deep as the tree: 4.
 *
 * Memory. Table pages, and one cache line a reader.
 *
 * Failure. MM_EINVAL and MM_EEXIST are found by reading; MM_ENOMEM when get()
 * refuses, and then the pages got so far go back. No entry was written by then.
 *
 * Rejected. A count of present entries per table would need memory beside the
 * page (2 bytes a table) or ignored bits; the first-and-last test makes the
 * scans rare enough. Splitting lazily in the write pass could fail half way. One
 * epoch for all that waits, raised at each flush, would let busy readers hold
 * pages forever; three generations, as is common, would take two more flushes to
 * give a page back. A fence between a plain store and a load in
 * pagetable_enter() costs the same as the exchange, and ThreadSanitizer cannot
 * see it. */
#include "mm/pagetable.h"
#include "mm/port.h"

#define ENTRIES	     512u
#define LINE_ENTRIES 8u /* of a cache line */
#define LINEAR_END   (UINT64_C(1) << PAGETABLE_INPUT_BITS)
#define HALF	     (LINEAR_END / 2) /* where stage 1's high half begins, linear */

#define PRESENT	     UINT64_C(7) /* any of these; all of them in a link, but in a domain's */
#define LARGE	     (UINT64_C(1) << 7)

/* EPT: SDM vol. 3C, 29.3.2. The rights are ours, bit for bit. */
#define EPT_RIGHTS	 UINT64_C(7)
#define EPT_MEMORY_SHIFT 3u
#define EPT_MEMORY_MASK	 UINT64_C(7)
#define EPT_IGNORE_PAT	 (UINT64_C(1) << 6)
#define EPT_MARKS_SHIFT	 8u

/* Four bits a type, the first lowest; 7 is no type that a table may hold, and UC- is none that EPT knows. */
#define EPT_TYPE_OF   UINT64_C(0x510746)   /* by enum pagetable_memory */
#define EPT_MEMORY_OF UINT64_C(0x20512243) /* by the entry's type */

/* A domain: VT-d specification, 9.8. A and D are where EPT has them; no other bit is used. */
#define DOMAIN_RIGHTS UINT64_C(3)
#define DOMAIN_SEAM   (UINT64_C(1) << 57) /* 52 to 61 are ignored, and the chain ends at 56 */

/* Stage 1: SDM vol. 3A, 4.5; NPT is the same: APM vol. 2, 15.25 and 5.4. */
#define X86_PRESENT	 (UINT64_C(1) << 0)
#define X86_WRITE	 (UINT64_C(1) << 1)
#define X86_USER	 (UINT64_C(1) << 2)
#define X86_MEMORY_SHIFT 3u /* PWT, PCD: enum pagetable_memory is their PAT entries from reset on */
#define X86_MEMORY_MASK	 UINT64_C(3)
#define X86_MARKS_SHIFT	 5u
#define X86_NO_EXECUTE	 (UINT64_C(1) << 63)

/* What threads the retired pages: 5 bits an entry, from the entry named on. */
#define CHAIN_SHIFT   52u
#define CHAIN_BITS    5u
#define CHAIN_MASK    ((UINT64_C(1) << CHAIN_BITS) - 1)
#define CHAIN_NEXT    0u /* the page retired next */
#define CHAIN_EPOCH   8u
#define CHAIN_TAG     20u /* of a collapsed table: where it was, which marks it had, 1 */
#define CHAIN_END     26u
#define TAG_COLLAPSED UINT64_C(1)
#define TAG_MARKS     1u /* shifts */
#define TAG_LINEAR    3u
_Static_assert((CHAIN_EPOCH - CHAIN_NEXT) * CHAIN_BITS >= 52u - FRAME_SHIFT, "a frame number fits");
_Static_assert((CHAIN_TAG - CHAIN_EPOCH) * CHAIN_BITS >= 60u, "an epoch fits: 2^60 flushes");
_Static_assert((CHAIN_END - CHAIN_TAG) * CHAIN_BITS >= PAGETABLE_INPUT_BITS - 21u + TAG_LINEAR, "a tag fits");
_Static_assert(CHAIN_SHIFT >= 52u && CHAIN_SHIFT + CHAIN_BITS <= 57u, "every format ignores bits 52 to 56");
_Static_assert(FRAME_BYTES == ENTRIES * sizeof(uint64_t), "a table is a page");
_Static_assert(PAGETABLE_DIRTY == PAGETABLE_ACCESSED << 1, "as in an entry");

/* What a walk is made of: beside its loads a call is dear. */
#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* ---- the codec: all that tells the formats apart ---- */

static bool is_x86(const struct pagetable *pt)
{
	return pt->config.format == PAGETABLE_NPT || pt->config.format == PAGETABLE_STAGE1;
}

static uint64_t mark_bits(const struct pagetable *pt)
{
	return UINT64_C(3) << pt->marks_shift;
}

static bool rights_ok(const struct pagetable_config *c, unsigned rights)
{
	const unsigned read_write = PAGETABLE_READ | PAGETABLE_WRITE, known = read_write | PAGETABLE_EXEC;

	if (c->format == PAGETABLE_DOMAIN)
		return rights != 0 && !(rights & ~read_write);
	if (c->format == PAGETABLE_EPT && rights == PAGETABLE_EXEC)
		return c->execute_only;
	if (c->format == PAGETABLE_EPT)
		return (rights & PAGETABLE_READ) && !(rights & ~known);
	return (rights & PAGETABLE_READ) && !(rights & ~(known | PAGETABLE_USER));
}

static bool memory_ok(const struct pagetable_config *c, enum pagetable_memory memory)
{
	if (c->format == PAGETABLE_DOMAIN)
		return memory == PAGETABLE_WRITE_BACK;
	if (c->format == PAGETABLE_EPT)
		return (unsigned)memory <= PAGETABLE_WRITE_PROTECTED && memory != PAGETABLE_UNCACHED_MINUS;
	return (unsigned)memory <= PAGETABLE_UNCACHED;
}

static bool attr_ok(const struct pagetable *pt, struct pagetable_attr attr)
{
	return rights_ok(&pt->config, attr.rights) && memory_ok(&pt->config, attr.memory);
}

/* What a leaf says besides its address, its size, A and D. */
static uint64_t encode(const struct pagetable *pt, struct pagetable_attr attr)
{
	uint64_t bits = attr.rights & (PAGETABLE_READ | PAGETABLE_WRITE | PAGETABLE_EXEC);

	if (pt->config.format == PAGETABLE_DOMAIN)
		return bits;
	if (pt->config.format == PAGETABLE_EPT) {
		bits |= (EPT_TYPE_OF >> (4u * attr.memory) & EPT_MEMORY_MASK) << EPT_MEMORY_SHIFT;
		return bits | (pt->config.ignore_pat ? EPT_IGNORE_PAT : 0);
	}
	bits = X86_PRESENT | (uint64_t)attr.memory << X86_MEMORY_SHIFT;
	bits |= attr.rights & PAGETABLE_WRITE ? X86_WRITE : 0;
	bits |= attr.rights & PAGETABLE_USER ? X86_USER : 0;
	return bits | (attr.rights & PAGETABLE_EXEC ? 0 : X86_NO_EXECUTE);
}

ALWAYS_INLINE struct pagetable_attr decode(const struct pagetable *pt, uint64_t entry)
{
	unsigned type = entry >> EPT_MEMORY_SHIFT & EPT_MEMORY_MASK;
	struct pagetable_attr attr = {(unsigned)(entry & EPT_RIGHTS), PAGETABLE_WRITE_BACK};

	if (pt->config.format == PAGETABLE_EPT) {
		attr.memory = (enum pagetable_memory)(EPT_MEMORY_OF >> (4u * type) & EPT_MEMORY_MASK);
	} else if (pt->config.format == PAGETABLE_DOMAIN) {
		attr.rights = (unsigned)(entry & DOMAIN_RIGHTS);
	} else {
		attr.memory = (enum pagetable_memory)(entry >> X86_MEMORY_SHIFT & X86_MEMORY_MASK);
		attr.rights = PAGETABLE_READ | (entry & X86_WRITE ? PAGETABLE_WRITE : 0);
		attr.rights |= entry & X86_USER ? PAGETABLE_USER : 0;
		attr.rights |= entry & X86_NO_EXECUTE ? 0 : PAGETABLE_EXEC;
	}
	return attr;
}

static uint64_t link_bits(const struct pagetable *pt)
{
	return pt->config.format == PAGETABLE_DOMAIN ? DOMAIN_RIGHTS : PRESENT;
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

static bool is_present(uint64_t entry)
{
	return (entry & PRESENT) != 0;
}

static bool is_leaf(uint64_t entry, unsigned level)
{
	return is_present(entry) && (level == 0 || (entry & LARGE));
}

/* Of an entry above level 0. */
static bool is_link(uint64_t entry)
{
	return (entry & (PRESENT | LARGE)) - 1 < PRESENT; /* not 0, and not large */
}

static uint64_t address_of(const struct pagetable *pt, uint64_t entry)
{
	return entry & pt->address;
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
	return (uint64_t *)(pt->base + (page.n << FRAME_SHIFT));
}

static struct pfn page_of(const struct pagetable *pt, uint64_t link)
{
	return (struct pfn){address_of(pt, link) >> FRAME_SHIFT};
}

static uint64_t *table_of(const struct pagetable *pt, uint64_t link)
{
	return (uint64_t *)(pt->base + address_of(pt, link));
}

/* The table below the i-th entry is next: its first lines, and above all its translation. */
static void table_prefetch(const struct pagetable *pt, const uint64_t *table, unsigned i)
{
	uint64_t entry = i < ENTRIES ? load(&table[i]) : 0;

	if (is_link(entry)) {
		__builtin_prefetch(table_of(pt, entry));
		__builtin_prefetch(table_of(pt, entry) + LINE_ENTRIES);
	}
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

static uint64_t line_bits(const uint64_t *e)
{
	return load(e) | load(e + 1) | load(e + 2) | load(e + 3) | load(e + 4) | load(e + 5) | load(e + 6) |
	       load(e + 7);
}

/* The first entry from the i-th on, before the end-th, that has one of these bits; or end. By cache lines: what is
 * empty is cheap. */
static unsigned skip_without(uint64_t bits, const uint64_t *table, unsigned i, unsigned end)
{
	while (i < end && !(load(&table[i]) & bits)) {
		i++;
		while (i % LINE_ENTRIES == 0 && i + LINE_ENTRIES <= end && !(line_bits(&table[i]) & bits))
			i += LINE_ENTRIES;
	}
	return i;
}

static unsigned skip_absent(const uint64_t *table, unsigned i, unsigned end)
{
	return skip_without(PRESENT, table, i, end);
}

/* ---- spare pages: got before the first entry is written ---- */

/* They list one another, 511 to a page, so that only one in 512 is touched before it is filled; and they are taken
 * in the order in which they came, since memory is faster in the order of its addresses. */
struct spares {
	struct pfn first, last; /* lists, linked by their word 0; where there is one only, it is both */
	uint64_t taken, listed; /* of the first, and of the last, in words from the second on */
	uint64_t count;		/* all that are left, the lists themselves included */
};

static void spare_add(const struct pagetable *pt, struct spares *s, struct pfn page)
{
	if (s->count++ > 0 && s->listed < ENTRIES - 1) {
		table_at(pt, s->last)[1 + s->listed++] = page.n;
		return;
	}
	if (s->count > 1)
		*table_at(pt, s->last) = page.n;
	else
		s->first = page;
	s->last = page;
	s->listed = 0;
}

static struct pfn spare_take(const struct pagetable *pt, struct spares *s)
{
	const uint64_t *list = table_at(pt, s->first);
	uint64_t listed = s->first.n == s->last.n ? s->listed : ENTRIES - 1;
	struct pfn page = s->first;

	MM_ASSERT(s->count > 0, pt->tables, pt->retired);
	s->count--;
	if (s->taken < listed) {
		page.n = list[1 + s->taken++];
	} else if (s->count > 0) { /* a list goes last of its own */
		s->first.n = *list;
		s->taken = 0;
	}
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
		spare_add(pt, spares, page);
	}
	if (spares->count == count)
		return MM_OK;
	while (spares->count > 0)
		pages->put(pages->self, spare_take(pt, spares));
	return MM_ENOMEM;
}

/* Stores leaves one after the other; by cache lines, since this is what mapping costs. */
static void fill(uint64_t *entry, uint64_t count, uint64_t value, uint64_t step)
{
	for (; count >= LINE_ENTRIES; count -= LINE_ENTRIES, entry += LINE_ENTRIES, value += LINE_ENTRIES * step) {
		store(entry, value);
		store(entry + 1, value + step);
		store(entry + 2, value + 2 * step);
		store(entry + 3, value + 3 * step);
		store(entry + 4, value + 4 * step);
		store(entry + 5, value + 5 * step);
		store(entry + 6, value + 6 * step);
		store(entry + 7, value + 7 * step);
	}
	for (; count > 0; count--, entry++, value += step)
		store(entry, value);
}

static void table_clear(uint64_t *table, unsigned first, unsigned end)
{
	for (unsigned i = first; i < end; i++)
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

static uint64_t link_to(const struct pagetable *pt, struct pfn page)
{
	return page.n << FRAME_SHIFT | link_bits(pt);
}

/* Writes into a retired table, where each of these was 0. */
static void chain_put(uint64_t *table, unsigned first, uint64_t value)
{
	for (uint64_t *entry = table + first; value > 0; entry++, value >>= CHAIN_BITS)
		__atomic_fetch_or(entry, (value & CHAIN_MASK) << CHAIN_SHIFT, __ATOMIC_RELEASE);
}

static uint64_t chain_get(const uint64_t *table, unsigned first, unsigned end)
{
	uint64_t value = 0;

	for (unsigned i = end; i-- > first;)
		value = value << CHAIN_BITS | (load(&table[i]) >> CHAIN_SHIFT & CHAIN_MASK);
	return value;
}

static struct pfn retired_next(const struct pagetable *pt, struct pfn page)
{
	return (struct pfn){chain_get(table_at(pt, page), CHAIN_NEXT, CHAIN_EPOCH)};
}

static uint64_t retired_epoch(const struct pagetable *pt, struct pfn page)
{
	return chain_get(table_at(pt, page), CHAIN_EPOCH, CHAIN_TAG);
}

static uint64_t retired_tag(const struct pagetable *pt, struct pfn page)
{
	return chain_get(table_at(pt, page), CHAIN_TAG, CHAIN_END);
}

static void retire(struct pagetable *pt, struct pfn page)
{
	chain_put(table_at(pt, page), CHAIN_EPOCH, pt->epoch);
	if (pt->retired++ > 0)
		chain_put(table_at(pt, pt->retired_last), CHAIN_NEXT, page.n);
	else
		pt->retired_first = page;
	pt->retired_last = page;
	if (pt->unflushed++ == 0)
		pt->unflushed_first = page;
	pt->tables--;
	pt->tables_sum -= page_hash(page);
}

/* near: the entry that went last. Most tables that are not empty show it beside that, where the cache is warm. */
static bool table_is_empty(const uint64_t *table, unsigned near)
{
	unsigned line = near & ~(LINE_ENTRIES - 1), first = line > 0 ? line - LINE_ENTRIES : 0,
		 end = line + 2 * LINE_ENTRIES < ENTRIES ? line + 2 * LINE_ENTRIES : ENTRIES;

	if (skip_absent(table, first, end) < end)
		return false;
	return !is_present(load(&table[ENTRIES - 1])) && skip_absent(table, 0, ENTRIES) == ENTRIES;
}

/* Whether the 512 entries of a table of this level amount to one leaf a level up: *leaf. */
static bool table_is_one_leaf(const struct pagetable *pt, const uint64_t *table, unsigned level, uint64_t *leaf)
{
	uint64_t seen = 0, step = level_bytes(level), first = load(&table[0]) & ~mark_bits(pt), next = first;

	if (level + 1 > (unsigned)pt->config.leaf_max || !is_leaf(first, level))
		return false;
	if (address_of(pt, first) & (level_bytes(level + 1) - 1))
		return false;
	if ((load(&table[ENTRIES - 1]) & ~mark_bits(pt)) != first + (ENTRIES - 1) * step)
		return false;
	for (unsigned i = 0; i < ENTRIES; i++, next += step) {
		uint64_t entry = load(&table[i]);

		if ((entry & ~mark_bits(pt)) != next)
			return false;
		seen |= entry;
	}
	*leaf = first | LARGE | (seen & mark_bits(pt));
	return true;
}

/* Replaces the table below an entry of this level by a leaf, if it amounts to one. */
static bool collapse(struct pagetable *pt, uint64_t *entry, unsigned level, uint64_t base)
{
	struct pfn page = page_of(pt, load(entry));
	uint64_t leaf, tag;

	if (pt->seam || !table_is_one_leaf(pt, table_at(pt, page), level - 1, &leaf))
		return false;
	store(entry, leaf);
	pt->leaves[level - 1] -= ENTRIES;
	pt->leaves[level]++;
	tag = base >> level_shift(1) << TAG_LINEAR | (leaf & mark_bits(pt)) >> pt->marks_shift << TAG_MARKS;
	chain_put(table_at(pt, page), CHAIN_TAG, tag | TAG_COLLAPSED);
	retire(pt, page);
	pt->collapsed++;
	return true;
}

/* Replaces a leaf of this level by a table of 512 that say the same. */
static void split(struct pagetable *pt, struct spares *spares, uint64_t *entry, unsigned level)
{
	struct pfn page = spare_take(pt, spares);
	uint64_t *table = table_at(pt, page);
	uint64_t was = load(entry), step = level_bytes(level - 1);

	do {
		fill(table, ENTRIES, (level == 1 ? was & ~LARGE : was) & ~pt->seam, step);
		table[0] |= was & pt->seam;
	} while (!swap(entry, &was, link_to(pt, page)));
	pt->leaves[level]--;
	pt->leaves[level - 1] += ENTRIES;
	table_counted(pt, page);
}

/* ---- map ---- */

struct mapping {
	struct pagetable *pt;
	uint64_t shift; /* output address minus linear address, modulo 2^64 */
	uint64_t bits;
	uint64_t seam_at;  /* linear; of no leaf if there are none */
	unsigned leaf_max; /* the largest leaf that leaf_max and shift allow */
	struct spares spares;
};

/* Tables that [first, end), all of it absent from this level down, will need below it. */
static uint64_t tables_for(const struct mapping *m, unsigned level, uint64_t first, uint64_t end)
{
	uint64_t pages = 0;

	for (unsigned l = 1; l <= level; l++) {
		uint64_t part = level_bytes(l) - 1,
			 touched = ((end + part) >> level_shift(l)) - (first >> level_shift(l));
		uint64_t whole_first = (first + part) >> level_shift(l), whole_end = end >> level_shift(l);

		pages += touched;
		if (l <= m->leaf_max && whole_first < whole_end)
			pages -= whole_end - whole_first;
	}
	return pages;
}

/* Adds the tables that mapping [first, end) needs below this one. */
static enum mm_err map_plan(const struct mapping *m, const uint64_t *table, unsigned level, uint64_t first,
			    uint64_t end, uint64_t *pages)
{
	if (level == 0) {
		unsigned i = index_of(first, 0), n = (unsigned)((end - first) >> FRAME_SHIFT);

		return skip_absent(table, i, i + n) == i + n ? MM_OK : MM_EEXIST;
	}
	for (uint64_t at = first, stop; at < end; at = stop) {
		uint64_t entry = load(&table[index_of(at, level)]);
		enum mm_err err = MM_OK;

		stop = entry_end(at, end, level);
		if (is_leaf(entry, level))
			return MM_EEXIST;
		if (is_link(entry)) {
			err = map_plan(m, table_of(m->pt, entry), level - 1, at, stop, pages);
		} else {
			while (stop < end && !is_present(load(&table[index_of(stop, level)])))
				stop = entry_end(stop, end, level);
			*pages += tables_for(m, level, at, stop);
		}
		if (err != MM_OK)
			return err;
	}
	return MM_OK;
}

/* A table that is not linked yet is fresh: what it held before means nothing, and
 * each of its entries is written once. */
struct place {
	uint64_t *table;
	unsigned level;
	bool fresh;
};

/* Stores leaves from `at` on while whole, absent entries come; the bytes that they map. */
static uint64_t map_leaves(const struct mapping *m, struct place p, uint64_t at, uint64_t end)
{
	uint64_t *entry = &p.table[index_of(at, p.level)], count = (end - at) >> level_shift(p.level), n = 0;
	uint64_t value = leaf_entry(at + m->shift, m->bits, p.level), step = level_bytes(p.level);

	if (p.level > m->leaf_max || (at & (step - 1)))
		return 0;
	if (!p.fresh && p.level > 0) { /* level 0 the plan has seen */
		while (n < count && !is_present(load(&entry[n])))
			n++;
		count = n;
	}
	fill(entry, count, value, step);
	if (at == m->seam_at && count > 0)
		store(entry, value | m->pt->seam);
	m->pt->leaves[p.level] += count;
	return count << level_shift(p.level);
}

static void map_write(struct mapping *m, struct place p, uint64_t first, uint64_t end);

/* Makes and fills the table that an absent entry of this level needs for [at, stop), then links it. */
static void map_table(struct mapping *m, uint64_t *entry, unsigned level, uint64_t at, uint64_t stop)
{
	struct pfn page = spare_take(m->pt, &m->spares);
	struct place below = {table_at(m->pt, page), level - 1, true};

	table_clear(below.table, 0, index_of(at, level - 1));
	map_write(m, below, at, stop);
	table_clear(below.table, index_of(stop - 1, level - 1) + 1, ENTRIES);
	store(entry, link_to(m->pt, page));
	table_counted(m->pt, page);
}

static void map_write(struct mapping *m, struct place p, uint64_t first, uint64_t end)
{
	for (uint64_t at = first, stop; at < end; at = stop) {
		uint64_t *entry = &p.table[index_of(at, p.level)];

		stop = at + map_leaves(m, p, at, end);
		if (stop > at)
			continue;
		stop = entry_end(at, end, p.level);
		if (p.fresh || !is_present(load(entry))) {
			map_table(m, entry, p.level, at, stop);
		} else {
			struct place below = {table_of(m->pt, load(entry)), p.level - 1, false};

			map_write(m, below, at, stop);
			(void)collapse(m->pt, entry, p.level, at & ~(level_bytes(p.level) - 1));
		}
	}
}

enum mm_err pagetable_map(struct pagetable *pt, uint64_t in, uint64_t out, uint64_t bytes, struct pagetable_attr attr)
{
	struct place root = {table_at(pt, pt->root), PAGETABLE_LEVELS - 1, false};
	uint64_t first, end, pages = 0, out_end = UINT64_C(1) << pt->config.phys_bits;
	struct mapping m = {.pt = pt, .leaf_max = (unsigned)pt->config.leaf_max};
	enum mm_err err;

	if (!range_of(pt, in, bytes, &first, &end) || !attr_ok(pt, attr))
		return MM_EINVAL;
	if ((out & (FRAME_BYTES - 1)) || out >= out_end || bytes > out_end - out)
		return MM_EINVAL;
	m.shift = out - first;
	m.bits = encode(pt, attr);
	m.seam_at = pt->seam ? first : UINT64_MAX;
	while (m.shift & (level_bytes(m.leaf_max) - 1))
		m.leaf_max--;
	err = map_plan(&m, root.table, root.level, first, end, &pages);
	if (err == MM_OK)
		err = spares_get(pt, pages, &m.spares);
	if (err != MM_OK)
		return err;
	map_write(&m, root, first, end);
	pt->seams += pt->seam != 0;
	MM_ASSERT(m.spares.count == 0, m.spares.count, pages);
	return MM_OK;
}

/* ---- unmap and protect: one change, two ways ---- */

struct touched { /* linear: bounds of what walkers must forget; first > end: nothing */
	uint64_t first, end;
	bool narrowed;
};

static const struct touched untouched = {.first = UINT64_MAX};

static void touch(struct touched *t, uint64_t first, uint64_t end)
{
	if (first < t->first)
		t->first = first;
	if (end > t->end)
		t->end = end;
}

static void touched_tell(const struct pagetable *pt, const struct touched *t, struct pagetable_flush *flush)
{
	if (!flush)
		return;
	*flush = (struct pagetable_flush){.narrowed = t->narrowed};
	if (t->first < t->end) {
		flush->first = input_of(pt, t->first);
		flush->end = flush->first + (t->end - t->first);
	}
}

struct change {
	struct pagetable *pt;
	struct spares spares;
	struct touched touched;
	bool unmap;
	uint64_t bits; /* protect: what the leaves shall say */
};

static bool leaf_stays(const struct change *c, uint64_t entry)
{
	uint64_t bits = entry & ~(c->pt->address | mark_bits(c->pt) | LARGE | c->pt->seam);

	return !c->unmap && bits == c->bits;
}

/* Whether the new bits let a walker do less than this leaf did, or otherwise. */
static bool leaf_narrows(const struct change *c, uint64_t entry)
{
	struct pagetable_attr was = decode(c->pt, entry), is = decode(c->pt, c->bits);

	return (was.rights & ~is.rights) || was.memory != is.memory;
}

static uint64_t seams_of(const struct pagetable *pt, const uint64_t *table)
{
	uint64_t seams = 0;

	for (unsigned i = 0; i < ENTRIES; i++)
		seams += (load(&table[i]) & pt->seam) != 0;
	return seams;
}

/* The leaves of a table that goes. */
static void drop_leaves(struct change *c, const uint64_t *table, unsigned level, uint64_t base)
{
	uint64_t leaf = level > 0 ? LARGE : PRESENT, leaves = 0;
	unsigned first = skip_without(leaf, table, 0, ENTRIES), end = ENTRIES;

	if (first == ENTRIES)
		return;
	for (unsigned i = first; i < ENTRIES; i++)
		leaves += (load(&table[i]) & leaf) != 0;
	while (!(load(&table[end - 1]) & leaf))
		end--;
	touch(&c->touched, base + first * level_bytes(level), base + end * level_bytes(level));
	c->pt->leaves[level] -= leaves;
	if (c->pt->seam)
		c->pt->seams -= seams_of(c->pt, table);
}

/* Retires a table that is already unlinked, with all below it. */
static void drop_table(struct change *c, struct pfn page, unsigned level, uint64_t base)
{
	const uint64_t *table = table_at(c->pt, page);

	for (unsigned i = 0; level > 0 && i < ENTRIES; i++) {
		uint64_t entry = load(&table[i]);

		if (!is_link(entry))
			continue;
		table_prefetch(c->pt, table, i + 1);
		drop_table(c, page_of(c->pt, entry), level - 1, base + i * level_bytes(level));
	}
	drop_leaves(c, table, level, base);
	retire(c->pt, page);
}

static void change_leaf(struct change *c, uint64_t *entry, unsigned level, uint64_t at)
{
	uint64_t was = load(entry), keep = c->pt->address | mark_bits(c->pt) | (level > 0 ? LARGE : 0) | c->pt->seam;

	if (c->unmap) {
		c->pt->leaves[level]--;
		c->pt->seams -= (was & c->pt->seam) != 0;
	}
	c->touched.narrowed |= c->unmap || leaf_narrows(c, was);
	while (!swap(entry, &was, c->unmap ? 0 : (was & keep) | c->bits))
		;
	touch(&c->touched, at, at + level_bytes(level));
}

static void change_table(struct change *c, uint64_t *table, unsigned level, uint64_t first, uint64_t end);

/* What lies below one entry: [at, stop) is the part of it that changes. */
static void change_below(struct change *c, uint64_t *entry, unsigned level, uint64_t at, uint64_t stop)
{
	uint64_t link = load(entry), base = at & ~(level_bytes(level) - 1);

	if (c->unmap && stop - at == level_bytes(level)) {
		store(entry, 0);
		c->touched.narrowed = true;
		drop_table(c, page_of(c->pt, link), level - 1, base);
		return;
	}
	change_table(c, table_of(c->pt, link), level - 1, at, stop);
	if (c->unmap && table_is_empty(table_of(c->pt, link), index_of(stop - 1, level - 1))) {
		store(entry, 0);
		retire(c->pt, page_of(c->pt, link));
	} else if (!c->unmap && collapse(c->pt, entry, level, base)) {
		touch(&c->touched, base, base + level_bytes(level));
	}
}

static void change_table(struct change *c, uint64_t *table, unsigned level, uint64_t first, uint64_t end)
{
	uint64_t base = first & ~(level_bytes(level + 1) - 1);
	unsigned i = index_of(first, level), i_end = index_of(end - 1, level) + 1;

	for (i = skip_absent(table, i, i_end); i < i_end; i = skip_absent(table, i + 1, i_end)) {
		uint64_t *entry = &table[i], was = load(entry), at = base + i * level_bytes(level), stop;
		bool leaf = is_leaf(was, level);

		at = at < first ? first : at;
		stop = entry_end(at, end, level);
		if (leaf && leaf_stays(c, was))
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

/* An entry that a descent ended at: a leaf, or an absent entry of any level. */
struct spot {
	uint64_t *slot;
	uint64_t entry, base;
	unsigned level;
};

/* The index first, so that only an AND and an ADD stand between two loads of a walk. */
static uint64_t *slot_below(const struct pagetable *pt, uint64_t link, uint64_t linear, unsigned level)
{
	uintptr_t offset = pt->base + index_of(linear, level) * sizeof(uint64_t);

	return (uint64_t *)(offset + address_of(pt, link));
}

static struct spot spot_at(uint64_t *slot, uint64_t entry, uint64_t linear, unsigned level)
{
	return (struct spot){slot, entry, linear & ~(level_bytes(level) - 1), level};
}

/* Written out: with the level a constant, what is left of one is a shift, a mask and a load. */
ALWAYS_INLINE struct spot descend(const struct pagetable *pt, uint64_t linear)
{
	uint64_t *slot = slot_below(pt, pt->root.n << FRAME_SHIFT, linear, 3);
	uint64_t entry = load(slot);

	if (!is_link(entry))
		return spot_at(slot, entry, linear, 3);
	slot = slot_below(pt, entry, linear, 2);
	entry = load(slot);
	if (!is_link(entry))
		return spot_at(slot, entry, linear, 2);
	slot = slot_below(pt, entry, linear, 1);
	entry = load(slot);
	if (!is_link(entry))
		return spot_at(slot, entry, linear, 1);
	slot = slot_below(pt, entry, linear, 0);
	return spot_at(slot, load(slot), linear, 0);
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
	bool split_left = is_present(left.entry) && !leaf_stays(c, left.entry) && left.base < first;
	bool split_right = is_present(right.entry) && !leaf_stays(c, right.entry) && right_end > end;

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
	touched_tell(c->pt, &c->touched, flush);
	return MM_OK;
}

enum mm_err pagetable_unmap(struct pagetable *pt, uint64_t in, uint64_t bytes, struct pagetable_flush *flush)
{
	struct change c = {.pt = pt, .unmap = true, .touched = untouched};

	return change_run(&c, in, bytes, flush);
}

enum mm_err pagetable_protect(struct pagetable *pt, uint64_t in, uint64_t bytes, struct pagetable_attr attr,
			      struct pagetable_flush *flush)
{
	struct change c = {.pt = pt, .touched = untouched};

	if (!attr_ok(pt, attr))
		return MM_EINVAL;
	c.bits = encode(pt, attr);
	return change_run(&c, in, bytes, flush);
}

/* ---- reading ---- */

ALWAYS_INLINE struct pagetable_leaf leaf_of(const struct pagetable *pt, uint64_t entry, uint64_t base, unsigned level)
{
	unsigned seen = (unsigned)(entry >> pt->marks_shift);

	return (struct pagetable_leaf){
		.in = input_of(pt, base),
		.out = address_of(pt, entry),
		.size = (enum pagetable_size)level,
		.attr = decode(pt, entry),
		.accessed = (seen & PAGETABLE_ACCESSED) != 0,
		.dirty = (seen & PAGETABLE_DIRTY) != 0,
	};
}

/* Aligned: where its code begins in the middle of a cache line, a walk takes a fifth longer. */
__attribute__((aligned(64))) bool pagetable_walk(const struct pagetable *pt, uint64_t in, struct pagetable_leaf *out)
{
	struct spot spot;
	uint64_t linear;

	if (!linear_of(pt, in, &linear))
		return false;
	spot = descend(pt, linear);
	if (!is_present(spot.entry))
		return false;
	*out = leaf_of(pt, spot.entry, spot.base, spot.level);
	return true;
}

bool pagetable_cuts(const struct pagetable *pt, uint64_t in)
{
	struct spot spot;
	uint64_t linear;

	if (!linear_of(pt, in, &linear))
		return false;
	spot = descend(pt, linear);
	return is_present(spot.entry) && (spot.base != linear || !(spot.entry & pt->seam));
}

struct scan {
	const struct pagetable *pt;
	uint64_t from;
	struct pagetable_run run; /* .in is linear; .bytes 0: none yet */
	uint64_t next;		  /* what a leaf means that goes on with the run, LARGE aside */
};

/* False iff the run has ended before this entry, which is no link. */
static bool scan_entry(struct scan *s, uint64_t entry, unsigned level, uint64_t at)
{
	uint64_t means = entry & s->pt->meaning & ~LARGE, step = level_bytes(level);

	if (!is_present(entry))
		return false;
	if (s->run.bytes == 0) {
		s->run =
			(struct pagetable_run){.in = at, .out = address_of(s->pt, entry), .attr = decode(s->pt, entry)};
		s->next = means;
	} else if (means != s->next || at == linear_limit(s->pt, s->run.in)) {
		return false;
	}
	s->next += step;
	s->run.bytes += step;
	s->run.leaves[level]++;
	return true;
}

/* Adds the leaves that go on with the run from the i-th entry on; the first that does not. No limit is inside a table.
 */
static unsigned scan_leaves(struct scan *s, const uint64_t *table, unsigned level, unsigned i)
{
	uint64_t meaning = s->pt->meaning, step = level_bytes(level), next = s->next | (level > 0 ? LARGE : 0);
	unsigned first = i;

	for (; i < ENTRIES && (load(&table[i]) & meaning) == next; i++)
		next += step;
	s->next = next & ~LARGE;
	s->run.bytes += (i - first) * step;
	s->run.leaves[level] += i - first;
	return i;
}

static bool scan_table(struct scan *s, const uint64_t *table, unsigned level, uint64_t base)
{
	for (unsigned i = s->from > base ? index_of(s->from, level) : 0; i < ENTRIES; i++) {
		uint64_t entry = load(&table[i]), at = base + i * level_bytes(level);
		bool on;

		if (!is_present(entry) && s->run.bytes == 0) {
			i = skip_absent(table, i + 1, ENTRIES) - 1;
			continue;
		}
		if (level > 0 && is_link(entry)) {
			table_prefetch(s->pt, table, i + 1);
			on = scan_table(s, table_of(s->pt, entry), level - 1, at);
		} else {
			on = scan_entry(s, entry, level, at);
		}
		if (!on)
			return false;
		if (is_leaf(entry, level))
			i = scan_leaves(s, table, level, i + 1) - 1;
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
	struct pagetable_stats stats = {
		.tables = pt->tables,
		.tables_max = pt->tables_max,
		.retired = pt->retired,
		.seams = pt->seams,
	};

	for (unsigned i = 0; i < PAGETABLE_SIZES; i++)
		stats.leaves[i] = pt->leaves[i];
	return stats;
}

/* ---- marks ---- */

struct harvest {
	const struct pagetable *pt;
	const struct pagetable_marked *tell;
	uint64_t clear; /* bits of an entry */
	struct touched touched;
};

static void harvest_leaf(struct harvest *h, uint64_t *entry, unsigned level, uint64_t base)
{
	uint64_t was = load(entry);
	struct pagetable_leaf leaf;

	if (was & h->clear) {
		was = __atomic_fetch_and(entry, ~h->clear, __ATOMIC_ACQ_REL);
		touch(&h->touched, base, base + level_bytes(level));
	}
	if (!h->tell)
		return;
	leaf = leaf_of(h->pt, was, base, level);
	h->tell->leaf(h->tell->self, &leaf);
}

static void harvest_table(struct harvest *h, uint64_t *table, unsigned level, uint64_t first, uint64_t end)
{
	uint64_t base = first & ~(level_bytes(level + 1) - 1), marked = mark_bits(h->pt);
	uint64_t bits = level > 0 ? PRESENT : marked;
	unsigned i = index_of(first, level), i_end = index_of(end - 1, level) + 1;

	for (i = skip_without(bits, table, i, i_end); i < i_end; i = skip_without(bits, table, i + 1, i_end)) {
		uint64_t entry = load(&table[i]), at = base + i * level_bytes(level), stop = at + level_bytes(level);

		if (level > 0 && is_link(entry)) {
			table_prefetch(h->pt, table, i + 1);
			harvest_table(h, table_of(h->pt, entry), level - 1, at < first ? first : at,
				      stop < end ? stop : end);
		} else if (entry & marked) {
			harvest_leaf(h, &table[i], level, at);
		}
	}
}

enum mm_err pagetable_harvest(struct pagetable *pt, uint64_t in, uint64_t bytes, unsigned clear,
			      const struct pagetable_marked *tell, struct pagetable_flush *flush)
{
	struct harvest h = {.pt = pt, .tell = tell, .clear = (uint64_t)clear << pt->marks_shift, .touched = untouched};
	uint64_t first, end;

	if (!range_of(pt, in, bytes, &first, &end) || (clear & ~(PAGETABLE_ACCESSED | PAGETABLE_DIRTY)))
		return MM_EINVAL;
	harvest_table(&h, table_at(pt, pt->root), PAGETABLE_LEVELS - 1, first, end);
	touched_tell(pt, &h.touched, flush);
	return MM_OK;
}

/* Marks the leaf that translates `linear` to `out`, if one still does. */
static void mark_late(const struct pagetable *pt, uint64_t linear, uint64_t out, uint64_t late)
{
	struct spot spot = descend(pt, linear);

	if (is_present(spot.entry) && address_of(pt, spot.entry) + (linear - spot.base) == out)
		__atomic_fetch_or(spot.slot, late, __ATOMIC_ACQ_REL);
}

/* Hands on what hardware marked in a collapsed table after the collapse had read it; 1 iff it is one, or 0. */
static uint64_t marks_recover(const struct pagetable *pt, struct pfn page)
{
	const uint64_t *table = table_at(pt, page);
	uint64_t tag = retired_tag(pt, page);
	uint64_t linear = tag >> TAG_LINEAR << level_shift(1),
		 unseen = mark_bits(pt) & ~(tag >> TAG_MARKS << pt->marks_shift);
	unsigned level = load(table) & LARGE ? 1 : 0;

	if (!(tag & TAG_COLLAPSED))
		return 0;
	for (unsigned i = skip_without(unseen, table, 0, ENTRIES); i < ENTRIES;
	     i = skip_without(unseen, table, i + 1, ENTRIES)) {
		uint64_t entry = load(&table[i]);

		mark_late(pt, linear + i * level_bytes(level), address_of(pt, entry), entry & unseen);
	}
	return 1;
}

/* ---- readers ---- */

void pagetable_enter(const struct pagetable *pt, struct pagetable_reader *r)
{
	uint64_t epoch = __atomic_load_n(&pt->epoch, __ATOMIC_ACQUIRE);

	(void)__atomic_exchange_n(&r->epoch, epoch, __ATOMIC_ACQ_REL);
}

void pagetable_leave(struct pagetable_reader *r)
{
	__atomic_store_n(&r->epoch, 0, __ATOMIC_RELEASE);
}

/* Pages retired before this epoch can be in nobody's hands. */
static uint64_t readers_oldest(const struct pagetable *pt)
{
	uint64_t oldest = UINT64_MAX;

	for (unsigned i = 0; i < pt->config.readers_count; i++) {
		uint64_t epoch = __atomic_fetch_add(&pt->config.readers[i].epoch, 0, __ATOMIC_ACQ_REL);

		if (epoch != 0 && epoch < oldest)
			oldest = epoch;
	}
	return oldest;
}

void pagetable_flushed(struct pagetable *pt)
{
	struct pfn page = pt->unflushed_first;
	uint64_t oldest;

	if (pt->retired == 0)
		return;
	for (; pt->collapsed > 0; page = retired_next(pt, page))
		pt->collapsed -= marks_recover(pt, page);
	pt->unflushed = 0;
	__atomic_store_n(&pt->epoch, pt->epoch + 1, __ATOMIC_RELEASE);
	oldest = readers_oldest(pt);
	while (pt->retired > 0 && (oldest == UINT64_MAX || retired_epoch(pt, pt->retired_first) < oldest)) {
		page = pt->retired_first;
		pt->retired_first = retired_next(pt, page);
		pt->retired--;
		pt->config.pages.put(pt->config.pages.self, page);
	}
}

/* ---- life ---- */

static bool config_ok(const struct pagetable_config *c)
{
	uint64_t frames_end;

	if ((unsigned)c->format > PAGETABLE_DOMAIN || c->phys_bits < 32 || c->phys_bits > 52)
		return false;
	if ((unsigned)c->leaf_max >= PAGETABLE_SIZES || (c->readers_count > 0 && !c->readers))
		return false;
	if (c->seams && c->format != PAGETABLE_DOMAIN)
		return false;
	if (!c->arena || (uintptr_t)c->arena % FRAME_BYTES || !c->pages.get || !c->pages.put)
		return false;
	frames_end = UINT64_C(1) << (c->phys_bits - FRAME_SHIFT);
	return c->arena_frames > 0 && c->arena_frames <= frames_end && c->arena_first.n <= frames_end - c->arena_frames;
}

/* An empty table, its root aside. */
static struct pagetable table_for(const struct pagetable_config *config)
{
	struct pagetable pt = {.config = *config, .epoch = 1};

	pt.address = ((UINT64_C(1) << config->phys_bits) - 1) & ~(FRAME_BYTES - 1);
	pt.base = (uintptr_t)config->arena - (config->arena_first.n << FRAME_SHIFT);
	pt.marks_shift = is_x86(&pt) ? X86_MARKS_SHIFT : EPT_MARKS_SHIFT;
	pt.seam = config->seams ? DOMAIN_SEAM : 0;
	pt.meaning = ~(mark_bits(&pt) | pt.seam | CHAIN_MASK << CHAIN_SHIFT);
	return pt;
}

enum mm_err pagetable_init(struct pagetable *pt, const struct pagetable_config *config)
{
	struct pfn root;

	if (!config_ok(config))
		return MM_EINVAL;
	if (config->pages.get(config->pages.self, &root) != MM_OK)
		return MM_ENOMEM;
	*pt = table_for(config);
	pt->root = root;
	MM_ASSERT(page_inside(pt, root), root.n, config->arena_first.n);
	table_clear(table_at(pt, root), 0, ENTRIES);
	table_counted(pt, root);
	return MM_OK;
}

void pagetable_fini(struct pagetable *pt)
{
	struct change c = {.pt = pt, .unmap = true, .touched = untouched};

	drop_table(&c, pt->root, PAGETABLE_LEVELS - 1, 0);
	pagetable_flushed(pt);
	MM_ASSERT(pt->retired == 0, pt->retired, pt->epoch); /* a reader is inside */
}

/* ---- EPTP: SDM vol. 3C, 25.6.11 and A.10 ---- */

#define EPT_CAP_EXECUTE_ONLY (UINT64_C(1) << 0)
#define EPT_CAP_4_LEVELS     (UINT64_C(1) << 6)
#define EPT_CAP_UNCACHED     (UINT64_C(1) << 8)
#define EPT_CAP_WRITE_BACK   (UINT64_C(1) << 14)
#define EPT_CAP_2M	     (UINT64_C(1) << 16)
#define EPT_CAP_1G	     (UINT64_C(1) << 17)
#define EPT_CAP_MARKS	     (UINT64_C(1) << 21)

#define EPTP_WRITE_BACK	     UINT64_C(6)
#define EPTP_WALK_SHIFT	     3u /* levels less one */
#define EPTP_MARKS	     (UINT64_C(1) << 6)

enum mm_err pagetable_eptp(const struct pagetable *pt, uint64_t capability, bool marks, uint64_t *out)
{
	struct pagetable_config can = pt->config;

	pagetable_ept_limits(capability, &can);
	if (pt->config.format != PAGETABLE_EPT || !(capability & EPT_CAP_4_LEVELS))
		return MM_EINVAL;
	if (pt->config.leaf_max > can.leaf_max || (pt->config.execute_only && !can.execute_only))
		return MM_EINVAL;
	if (!(capability & (EPT_CAP_WRITE_BACK | EPT_CAP_UNCACHED)))
		return MM_EINVAL;
	*out = pagetable_root_address(pt) | (PAGETABLE_LEVELS - 1) << EPTP_WALK_SHIFT;
	*out |= capability & EPT_CAP_WRITE_BACK ? EPTP_WRITE_BACK : 0;
	*out |= marks && (capability & EPT_CAP_MARKS) ? EPTP_MARKS : 0;
	return MM_OK;
}

void pagetable_ept_limits(uint64_t capability, struct pagetable_config *config)
{
	config->leaf_max = PAGETABLE_4K;
	if (capability & EPT_CAP_2M)
		config->leaf_max = capability & EPT_CAP_1G ? PAGETABLE_1G : PAGETABLE_2M;
	config->execute_only = (capability & EPT_CAP_EXECUTE_ONLY) != 0;
}

/* ---- the check ---- */

struct tally {
	uint64_t leaves[PAGETABLE_SIZES];
	uint64_t tables, tables_sum, seams;
};

static bool check_leaf(const struct pagetable *pt, uint64_t entry, unsigned level) /* I1, I2 */
{
	uint64_t out = address_of(pt, entry);
	struct pagetable_attr attr = decode(pt, entry);

	if (level > (unsigned)pt->config.leaf_max || (out & (level_bytes(level) - 1)) || !attr_ok(pt, attr))
		return false;
	return (entry & ~(mark_bits(pt) | pt->seam)) == leaf_entry(out, encode(pt, attr), level);
}

static bool check_table(const struct pagetable *pt, struct pfn page, unsigned level, struct tally *tally);

static bool check_entry(const struct pagetable *pt, uint64_t entry, unsigned level, struct tally *tally)
{
	uint64_t accessed = UINT64_C(1) << pt->marks_shift;

	if (is_leaf(entry, level)) {
		if (!check_leaf(pt, entry, level))
			return false;
		tally->leaves[level]++;
		tally->seams += (entry & pt->seam) != 0;
		return true;
	}
	if (!is_present(entry))
		return entry == 0; /* I1 */
	if ((entry & ~accessed) != link_to(pt, page_of(pt, entry)) || !page_inside(pt, page_of(pt, entry)))
		return false; /* I1 */
	return check_table(pt, page_of(pt, entry), level - 1, tally);
}

static bool check_table(const struct pagetable *pt, struct pfn page, unsigned level, struct tally *tally)
{
	const uint64_t *table = table_at(pt, page);
	uint64_t leaf;

	tally->tables_sum += page_hash(page);
	if (++tally->tables > pt->tables) /* also what ends a walk of tables tied in a knot */
		return false;
	for (unsigned i = 0; i < ENTRIES; i++)
		if (!check_entry(pt, load(&table[i]), level, tally))
			return false;
	if (level == PAGETABLE_LEVELS - 1)
		return true;
	return !table_is_empty(table, 0) && (pt->seam || !table_is_one_leaf(pt, table, level, &leaf)); /* I3, I4 */
}

static bool check_retired(const struct pagetable *pt) /* I6 */
{
	struct pfn page = pt->retired_first;
	uint64_t epoch = 0, flushed = pt->retired - pt->unflushed, collapsed = 0;

	if (pt->retired > pt->config.arena_frames || pt->unflushed > pt->retired)
		return false;
	for (uint64_t i = 0; i < pt->retired; i++, page = retired_next(pt, page)) {
		if (!page_inside(pt, page) || retired_epoch(pt, page) < epoch)
			return false;
		epoch = retired_epoch(pt, page);
		if ((i < flushed) != (epoch < pt->epoch) || epoch > pt->epoch)
			return false;
		if ((i == flushed && page.n != pt->unflushed_first.n) ||
		    (i == pt->retired - 1 && page.n != pt->retired_last.n))
			return false;
		collapsed += i >= flushed ? retired_tag(pt, page) & TAG_COLLAPSED : 0;
	}
	return collapsed == pt->collapsed;
}

static bool check_readers(const struct pagetable *pt) /* I6 */
{
	for (unsigned i = 0; i < pt->config.readers_count; i++)
		if (__atomic_load_n(&pt->config.readers[i].epoch, __ATOMIC_ACQUIRE) > pt->epoch)
			return false;
	return true;
}

static bool check_derived(const struct pagetable *pt) /* I7 */
{
	struct pagetable want = table_for(&pt->config);

	return pt->address == want.address && pt->meaning == want.meaning && pt->base == want.base &&
	       pt->marks_shift == want.marks_shift && pt->seam == want.seam;
}

bool pagetable_check(const struct pagetable *pt)
{
	struct tally tally = {.tables = 0};

	if (!config_ok(&pt->config) || !check_derived(pt) || !page_inside(pt, pt->root))
		return false;
	if (!check_table(pt, pt->root, PAGETABLE_LEVELS - 1, &tally) || !check_retired(pt) || !check_readers(pt))
		return false;
	for (unsigned i = 0; i < PAGETABLE_SIZES; i++)
		if (tally.leaves[i] != pt->leaves[i])
			return false;
	return tally.tables == pt->tables && tally.tables_sum == pt->tables_sum && tally.seams == pt->seams; /* I5 */
}
