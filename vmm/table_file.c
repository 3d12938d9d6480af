/* vmm/table_file.c
 *
 * What it is. The pages of a table and where its root is, nothing derived: the
 * runs, the counts, the ranges of the guest are what the pages say. A is not in
 * it, since KVM walks tables of its own and tells nobody which of their entries it
 * marked; D is put into the copies of the leaves that are written, from KVM's log
 * of writes, where there is one: no less than the truth, and where KVM counts a
 * page that it only maps writable, more. And leaves on huge pages of 1 GiB have
 * their physical addresses there, where they are known (rebase.h).
 *
 * Reading. The bytes are anybody's. Twice they are read: as they are, to say what
 * each entry says; and through the engine, which trusts its table. So the pages
 * are copied to where their numbers say, into an arena of our own, without what is
 * odd and without the bits that CPUs ignore, and then:
 *   T1  the arena has no entry but links to tables one level lower, each of the
 *       file and linked once, and leaves, all of them with no bit but those that
 *       the engine writes. A walk ends, inside the arena.
 *   T2  a page of the file lies inside the arena, and none is there twice; the
 *       root is one of them.
 *   T3  what is not a page of the file is zero in the arena, and not touched.
 * Odd is what the manuals call reserved or misconfigured, and what they allow but
 * no table of slat's has and its engine does not read (a link that takes a right
 * away; the PAT bit): a right is then told nowhere but in its leaf.
 *
 * Cost. The sum, the copy and the check are a pass each. Memory: the table once
 * more, and 4 bytes a frame of the arena, of which only what is touched is taken.
 * Recursion is as deep as the table: 4.
 *
 * Rejected. Pages without their numbers, links rewritten: a smaller file, and no
 * arena to make room for; but then an entry is not what the hardware would read.
 * The dirty log as bits beside the pages: finer than D is, and no longer what a
 * CPU's table would be. */
#include "vmm/table_file.h"

#include <ctype.h>
#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>

#include "mm/port.h"

#define SUM_PRIME    UINT64_C(0x100000001b3)
#define LINKED	     (UINT32_C(1) << 31) /* of a record */
#define LARGE	     (UINT64_C(1) << 7)
#define ADDRESS_END  52u /* of an entry's address, whatever the CPU has of it */
#define ROOT_LEVEL   (PAGETABLE_LEVELS - 1)
#define NAME_AT	     64u

#define EPT_READ     UINT64_C(1)
#define EPT_WRITE    UINT64_C(2)
#define EPT_RIGHTS   UINT64_C(7)
#define EPT_RESERVED UINT64_C(0x78) /* of a link */
#define EPT_MEMORY   UINT64_C(0x38) /* of a leaf */
#define EPT_ACCESSED (UINT64_C(1) << 8)
#define EPT_DIRTY    (UINT64_C(1) << 9)
#define EPT_TYPES    0x73u /* by number: uncached, write-combining, -through, -protected, -back */
#define NPT_RIGHTS   UINT64_C(7)
#define NPT_PRESENT  UINT64_C(1)
#define NPT_MEMORY   UINT64_C(0x18) /* of a leaf */
#define NPT_ACCESSED (UINT64_C(1) << 5)
#define NPT_DIRTY    (UINT64_C(1) << 6)
#define NPT_NX	     (UINT64_C(1) << 63)

_Static_assert(TABLE_FILE_ENTRIES * sizeof(uint64_t) == FRAME_BYTES, "a table is a page");
_Static_assert(TABLE_FILE_FRAMES_MAX < LINKED, "a record's number leaves room");

static uint64_t level_bytes(unsigned level)
{
	return FRAME_BYTES << (9u * level);
}

static uint64_t get64(const uint8_t *at)
{
	uint64_t value;

	memcpy(&value, at, sizeof(value));
	return le64toh(value);
}

static void put64(uint8_t *at, uint64_t value)
{
	value = htole64(value);
	memcpy(at, &value, sizeof(value));
}

static uint32_t get32(const uint8_t *at)
{
	uint32_t value;

	memcpy(&value, at, sizeof(value));
	return le32toh(value);
}

static void put32(uint8_t *at, uint32_t value)
{
	value = htole32(value);
	memcpy(at, &value, sizeof(value));
}

static uint64_t sum_on(uint64_t sum, const uint8_t *bytes, size_t size)
{
	for (size_t i = 0; i < size; i += sizeof(uint64_t))
		sum = (sum ^ get64(bytes + i)) * SUM_PRIME;
	return sum;
}

uint64_t table_file_sum(const void *bytes, size_t size)
{
	return sum_on(0, bytes, size - TABLE_FILE_SUM_BYTES);
}

/* ---- writing ---- */

struct writer {
	const struct pagetable *table;
	const struct table_written *written;
	const struct table_place *place;
	FILE *to;
	uint64_t sum;
};

static bool emit(struct writer *w, const uint8_t *bytes, size_t size)
{
	w->sum = sum_on(w->sum, bytes, size);
	return fwrite(bytes, 1, size, w->to) == size;
}

static bool write_head(struct writer *w, const char *name)
{
	const struct pagetable_config *c = &w->table->config;
	uint8_t head[TABLE_FILE_HEAD_BYTES] = {0};

	put64(head, TABLE_FILE_MAGIC);
	put32(head + 8, TABLE_FILE_VERSION);
	put32(head + 12, TABLE_FILE_ORDER);
	put32(head + 16, c->format);
	put32(head + 20, c->phys_bits);
	put32(head + 24, c->leaf_max);
	put32(head + 28, (w->written ? TABLE_FILE_DIRTY : 0u) |
				 (c->execute_only ? (unsigned)TABLE_FILE_EXECUTE_ONLY : 0u) |
				 (w->place ? w->place->flag : 0u));
	put64(head + 32, w->table->root.n);
	put64(head + 40, c->arena_first.n);
	put64(head + 48, c->arena_frames);
	put64(head + 56, pagetable_stats_read(w->table).tables);
	if (name)
		snprintf((char *)head + NAME_AT, TABLE_FILE_NAME_BYTES, "%s", name);
	return emit(w, head, sizeof(head));
}

/* Of a leaf. Its address is aligned to it: what is below is no address. */
static uint64_t placed(const struct writer *w, uint64_t entry, unsigned level)
{
	const uint64_t bits = w->table->address & ~(level_bytes(level) - 1);

	if (!w->place || !w->place->of)
		return entry;
	return (entry & ~bits) | (w->place->of(w->place->self, entry & bits) & bits);
}

static uint64_t with_marks(const struct writer *w, uint64_t entry, unsigned level, uint64_t gpa)
{
	const uint64_t dirty = w->table->config.format == PAGETABLE_EPT ? EPT_DIRTY : NPT_DIRTY;

	return w->written && w->written->any(w->written->self, gpa, level_bytes(level)) ? entry | dirty : entry;
}

static bool is_link(uint64_t entry, unsigned level)
{
	return entry && level > 0 && !(entry & LARGE);
}

/* The engine's own table: an entry is 0, a link or a leaf. Those below come first, so that D is asked for in order. */
static bool write_page(struct writer *w, struct pfn page, unsigned level, uint64_t base)
{
	const struct pagetable_config *c = &w->table->config;
	const uint64_t *table = (const uint64_t *)((uintptr_t)c->arena + (page.n - c->arena_first.n) * FRAME_BYTES);
	uint8_t record[TABLE_FILE_PAGE_BYTES];

	put64(record, page.n);
	for (unsigned i = 0; i < TABLE_FILE_ENTRIES; i++) {
		const uint64_t at = base + i * level_bytes(level);
		uint64_t entry = table[i];

		if (!is_link(entry, level))
			entry = entry ? with_marks(w, placed(w, entry, level), level, at) : 0;
		else if (!write_page(w, (struct pfn){(entry & w->table->address) >> FRAME_SHIFT}, level - 1, at))
			return false;
		put64(record + 8 + (size_t)i * 8, entry);
	}
	return emit(w, record, sizeof(record));
}

int table_file_write(const struct pagetable *table, const char *name, const struct table_written *written,
		     const struct table_place *place, FILE *to, struct failure *f)
{
	struct writer w = {.table = table, .written = written, .place = place, .to = to};
	uint8_t sum[TABLE_FILE_SUM_BYTES];

	if (write_head(&w, name) && write_page(&w, table->root, ROOT_LEVEL, 0)) {
		put64(sum, w.sum);
		if (fwrite(sum, 1, sizeof(sum), to) == sizeof(sum) && fflush(to) == 0)
			return 0;
	}
	return fail(f, EXIT_HOST, "the table cannot be written: %s", strerror(errno));
}

/* ---- what an entry says ---- */

static uint64_t address_bits(const struct table_file *t)
{
	return ((UINT64_C(1) << t->phys_bits) - 1) & ~(FRAME_BYTES - 1);
}

struct pfn table_file_target(const struct table_file *t, uint64_t link)
{
	return (struct pfn){(link & address_bits(t)) >> FRAME_SHIFT};
}

static const char *odd_link(const struct table_file *t, uint64_t entry, unsigned level)
{
	const uint64_t rights = t->format == PAGETABLE_EPT ? EPT_RIGHTS : NPT_RIGHTS;

	if (level == ROOT_LEVEL && (entry & LARGE))
		return "bit 7 is reserved in the root";
	if (t->format == PAGETABLE_EPT && (entry & EPT_RESERVED))
		return "reserved bits of a link, 3 to 6, are set";
	if ((entry & rights) != rights || (t->format == PAGETABLE_NPT && (entry & NPT_NX)))
		return "a link that takes rights away, which slat's tables do not have";
	return NULL;
}

static const char *odd_leaf(const struct table_file *t, uint64_t entry, unsigned level)
{
	if (level > (unsigned)t->leaf_max)
		return "a leaf larger than the CPU takes";
	if (entry & address_bits(t) & (level_bytes(level) - 1))
		return "an address that is not aligned to its leaf, or the PAT bit, which slat's tables do not have";
	if (t->format == PAGETABLE_EPT && !(EPT_TYPES >> (entry >> 3 & 7) & 1))
		return "a memory type that there is not";
	if (t->format == PAGETABLE_NPT && level == 0 && (entry & LARGE))
		return "the PAT bit, which slat's tables do not have";
	return NULL;
}

static const char *odd_rights(const struct table_file *t, uint64_t entry)
{
	if (t->format != PAGETABLE_EPT || (entry & EPT_READ))
		return NULL;
	if (entry & EPT_WRITE)
		return "misconfigured: W without R";
	return t->flags & TABLE_FILE_EXECUTE_ONLY ? NULL : "misconfigured: X without R, and the CPU does not take it";
}

enum table_kind table_file_judge(const struct table_file *t, uint64_t entry, unsigned level, const char **why)
{
	const uint64_t present = t->format == PAGETABLE_EPT ? EPT_RIGHTS : NPT_PRESENT;
	const uint64_t above = ((UINT64_C(1) << ADDRESS_END) - 1) & ~((UINT64_C(1) << t->phys_bits) - 1);
	const bool leaf = level == 0 || (level < ROOT_LEVEL && (entry & LARGE));

	*why = NULL;
	if (!(entry & present))
		return TABLE_ABSENT;
	if (entry & above)
		*why = "address bits that the CPU does not have are set";
	if (!*why)
		*why = odd_rights(t, entry);
	if (!*why)
		*why = leaf ? odd_leaf(t, entry, level) : odd_link(t, entry, level);
	return *why ? TABLE_ODD : leaf ? TABLE_LEAF : TABLE_LINK;
}

/* ---- reading ---- */

static int no_table(struct failure *f, const char *what)
{
	return fail(f, EXIT_IMAGE, "not a table that slat run --dump-table wrote: %s", what);
}

static bool inside(const struct table_file *t, struct pfn page)
{
	return page.n >= t->arena_first.n && page.n - t->arena_first.n < t->arena_frames;
}

static int read_name(struct table_file *t, struct failure *f)
{
	size_t length = strnlen((const char *)t->file + NAME_AT, TABLE_FILE_NAME_BYTES);

	memcpy(t->name, t->file + NAME_AT, TABLE_FILE_NAME_BYTES);
	for (size_t i = 0; i < TABLE_FILE_NAME_BYTES; i++)
		if (i < length ? !isalnum((unsigned char)t->name[i]) && !strchr("-_.", t->name[i]) : t->name[i] != 0)
			return no_table(f, "its name has other characters than letters, digits, - _ .");
	return 0;
}

static int read_head(struct table_file *t, size_t size, struct failure *f)
{
	const uint64_t room = size - TABLE_FILE_HEAD_BYTES - TABLE_FILE_SUM_BYTES;
	const uint32_t format = get32(t->file + 16), leaf_max = get32(t->file + 24);
	uint64_t frames_end;

	t->format = (enum pagetable_format)format;
	t->phys_bits = get32(t->file + 20);
	t->leaf_max = (enum pagetable_size)leaf_max;
	t->flags = get32(t->file + 28);
	t->root.n = get64(t->file + 32);
	t->arena_first.n = get64(t->file + 40);
	t->arena_frames = get64(t->file + 48);
	t->pages = get64(t->file + 56);
	if (format > PAGETABLE_NPT)
		return no_table(f, "its format is neither EPT (0) nor NPT (1)");
	if (t->phys_bits < 32 || t->phys_bits > ADDRESS_END || leaf_max >= PAGETABLE_SIZES ||
	    (t->flags & ~(unsigned)TABLE_FILE_FLAGS) ||
	    ((t->flags & TABLE_FILE_PHYSICAL_1G) && (t->flags & TABLE_FILE_NUMBERED_1G)))
		return no_table(f, "its address width, largest leaf or flags are out of range");
	if (room % TABLE_FILE_PAGE_BYTES || room / TABLE_FILE_PAGE_BYTES != t->pages)
		return fail(f, EXIT_IMAGE,
			    "cut short, or not the table that it says: %" PRIu64 " pages would be %" PRIu64
			    " bytes and more, and there are %zu",
			    t->pages, t->pages < UINT32_MAX ? t->pages * TABLE_FILE_PAGE_BYTES : UINT64_MAX, size);
	frames_end = UINT64_C(1) << (t->phys_bits - FRAME_SHIFT);
	if (!t->arena_frames || t->arena_frames > TABLE_FILE_FRAMES_MAX || t->arena_first.n >= frames_end ||
	    t->arena_frames > frames_end - t->arena_first.n || t->pages > t->arena_frames)
		return no_table(f, "its arena of pages is out of range");
	if (!inside(t, t->root))
		return no_table(f, "the root is not in its arena");
	return read_name(t, f);
}

static uint32_t *record_of(const struct table_file *t, struct pfn page)
{
	return &t->record[page.n - t->arena_first.n];
}

static uint8_t *arena_page(const struct table_file *t, struct pfn page)
{
	return t->memory + (page.n - t->arena_first.n) * FRAME_BYTES;
}

uint64_t table_file_entry(const struct table_file *t, struct pfn page, unsigned i)
{
	const uint64_t record = (*record_of(t, page) & ~LINKED) - 1;

	return get64(t->file + TABLE_FILE_HEAD_BYTES + record * TABLE_FILE_PAGE_BYTES + 8 + (size_t)i * 8);
}

static int index_pages(struct table_file *t, struct failure *f) /* T2 */
{
	for (uint64_t i = 0; i < t->pages; i++) {
		struct pfn page = {get64(t->file + TABLE_FILE_HEAD_BYTES + i * TABLE_FILE_PAGE_BYTES)};

		if (!inside(t, page))
			return fail(f, EXIT_IMAGE,
				    "page %" PRIu64 " of the table, frame 0x%" PRIx64 ", is not of its arena", i,
				    page.n);
		if (*record_of(t, page))
			return fail(f, EXIT_IMAGE, "frame 0x%" PRIx64 " of the table is there twice", page.n);
		*record_of(t, page) = (uint32_t)i + 1;
	}
	if (!*record_of(t, t->root))
		return no_table(f, "the root's page is missing");
	return 0;
}

static enum mm_err give_root(void *self, struct pfn *out)
{
	*out = ((const struct table_file *)self)->root;
	return MM_OK;
}

static void take_none(void *self, struct pfn page)
{
	MM_ASSERT(false, self, page.n); /* the table is not changed */
}

static int make_arena(struct table_file *t, struct failure *f)
{
	const size_t arena = t->arena_frames * FRAME_BYTES;
	const struct pagetable_config config = {
		.format = t->format,
		.phys_bits = t->phys_bits,
		.leaf_max = t->leaf_max,
		.execute_only = t->flags & TABLE_FILE_EXECUTE_ONLY,
		.arena_first = t->arena_first,
		.arena_frames = t->arena_frames,
		.pages = {t, give_root, take_none},
	};
	struct pagetable_config full = config;
	void *memory;
	enum mm_err error;

	t->memory_bytes = arena + t->arena_frames * sizeof(*t->record);
	memory =
		mmap(NULL, t->memory_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (memory == MAP_FAILED)
		return fail(f, EXIT_HOST, "no memory for a table of %" PRIu64 " frames: %s", t->arena_frames,
			    strerror(errno));
	t->memory = memory;
	t->record = (uint32_t *)(void *)(t->memory + arena);
	full.arena = memory;
	error = pagetable_init(&t->table, &full);
	MM_ASSERT(error == MM_OK, error, t->arena_frames);
	return 0;
}

static void note_odd(struct table_file *t, const struct table_odd *odd)
{
	if (t->odd < TABLE_FILE_ODD_MAX)
		t->first_odd[t->odd] = *odd;
	t->odd++;
}

/* Of a link or leaf, what the engine would have written: I1 of its check. */
static uint64_t known_bits(const struct table_file *t, enum table_kind kind, unsigned level)
{
	const bool ept = t->format == PAGETABLE_EPT;
	uint64_t bits = address_bits(t) | (ept ? EPT_RIGHTS | EPT_ACCESSED : NPT_RIGHTS | NPT_ACCESSED);

	if (kind == TABLE_LINK)
		return bits;
	bits |= ept ? EPT_MEMORY | EPT_DIRTY : NPT_MEMORY | NPT_DIRTY | NPT_NX;
	return level > 0 ? bits | LARGE : bits;
}

static int read_page(struct table_file *t, struct pfn page, unsigned level, uint64_t base, struct failure *f);

static int read_link(struct table_file *t, uint64_t entry, unsigned level, uint64_t gpa, struct failure *f)
{
	struct pfn to = table_file_target(t, entry);

	if (!inside(t, to) || !*record_of(t, to))
		return fail(f, EXIT_IMAGE,
			    "the table's link at 0x%" PRIx64 " leads to frame 0x%" PRIx64 ", which is no page of it",
			    gpa, to.n);
	if (*record_of(t, to) & LINKED)
		return fail(f, EXIT_IMAGE, "two links of the table lead to frame 0x%" PRIx64, to.n);
	return read_page(t, to, level - 1, gpa, f);
}

static int read_page(struct table_file *t, struct pfn page, unsigned level, uint64_t base, struct failure *f) /* T1 */
{
	uint64_t *clean = (uint64_t *)(void *)arena_page(t, page);

	*record_of(t, page) |= LINKED;
	t->reached++;
	for (unsigned i = 0; !f->code && i < TABLE_FILE_ENTRIES; i++) {
		const uint64_t entry = table_file_entry(t, page, i), gpa = base + i * level_bytes(level);
		const char *why;
		const enum table_kind kind = table_file_judge(t, entry, level, &why);

		switch (kind) {
		case TABLE_ABSENT:
			continue;
		case TABLE_ODD:
			note_odd(t, &(struct table_odd){gpa, entry, level, why});
			continue;
		case TABLE_LEAF:
			t->leaves[level]++;
			t->bytes += level_bytes(level);
			break;
		case TABLE_LINK:
			read_link(t, entry, level, gpa, f);
		}
		clean[i] = entry & known_bits(t, kind, level);
	}
	return f->code;
}

int table_file_open(struct table_file *t, const void *bytes, size_t size, struct failure *f)
{
	*t = (struct table_file){.file = bytes};
	if (size < 8 || get64(bytes) != TABLE_FILE_MAGIC)
		return no_table(f, "it does not begin as one");
	if (size < TABLE_FILE_HEAD_BYTES + TABLE_FILE_SUM_BYTES)
		return no_table(f, "it is shorter than a header");
	if (get32(t->file + 8) != TABLE_FILE_VERSION || get32(t->file + 12) != TABLE_FILE_ORDER)
		return no_table(f, "another version, or another byte order");
	if (read_head(t, size, f))
		return f->code;
	if (table_file_sum(bytes, size) != get64(t->file + size - TABLE_FILE_SUM_BYTES))
		return fail(f, EXIT_IMAGE, "the table is damaged: its sum is another");
	if (make_arena(t, f) || index_pages(t, f))
		return f->code;
	return read_page(t, t->root, ROOT_LEVEL, 0, f);
}

void table_file_close(struct table_file *t)
{
	if (t->memory)
		munmap(t->memory, t->memory_bytes);
	t->memory = NULL;
}

unsigned table_file_steps(const struct table_file *t, uint64_t gpa, struct table_step *steps)
{
	struct pfn page = t->root;

	for (unsigned n = 0;; n++) {
		const unsigned level = ROOT_LEVEL - n;
		struct table_step *s = &steps[n];

		*s = (struct table_step){.level = level, .page = page};
		s->index = (unsigned)(gpa / level_bytes(level) % TABLE_FILE_ENTRIES);
		s->entry = table_file_entry(t, page, s->index);
		s->kind = table_file_judge(t, s->entry, level, &s->why);
		if (s->kind != TABLE_LINK)
			return n + 1;
		page = table_file_target(t, s->entry);
	}
}
