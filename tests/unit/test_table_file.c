/* A table in a file: what is written is read again, run for run, step for step and
 * mark for mark; a byte changed, a file cut short, a header that lies, links that
 * are no tree are refused; what no CPU takes is told, and reached by no walk. */
#include <check.h>
#undef fail
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mm/port.h"
#include "tests/unit/random.h"
#include "vmm/dirty_log.h"
#include "vmm/table_file.h"

Suite *table_file_suite(void);

#define PAGES	    512u
#define FIRST	    UINT64_C(0x12345)
#define ROUNDS	    400
#define GIB	    (UINT64_C(1) << 30)
#define HEAD	    TABLE_FILE_HEAD_BYTES
#define RECORD	    TABLE_FILE_PAGE_BYTES
#define EPT_RW	    (PAGETABLE_READ | PAGETABLE_WRITE)
#define NPT_RWXU    (EPT_RW | PAGETABLE_EXEC | PAGETABLE_USER)
#define L1	    1u /* as many as the level: a table comes behind those below it */
#define ROOT	    3u
#define ENTRY(n, i) (HEAD + (n)*RECORD + 8 + (i)*8u)

struct machine {
	struct pagetable table;
	uint8_t *arena;
	uint64_t taken;
};

static enum mm_err get(void *self, struct pfn *out)
{
	struct machine *m = self;

	if (m->taken == PAGES)
		return MM_ENOMEM;
	out->n = FIRST + m->taken++;
	return MM_OK;
}

static void put(void *self, struct pfn page)
{
	(void)self;
	(void)page;
}

static void machine_open(struct machine *m, enum pagetable_format format, enum pagetable_size leaf)
{
	struct pagetable_config config = {
		.format = format,
		.phys_bits = 46,
		.leaf_max = leaf,
		.execute_only = true,
		.arena_first = {FIRST},
		.arena_frames = PAGES,
		.pages = {m, get, put},
	};

	m->taken = 0;
	m->arena = aligned_alloc(FRAME_BYTES, PAGES * FRAME_BYTES);
	config.arena = m->arena;
	ck_assert_int_eq(pagetable_init(&m->table, &config), MM_OK);
}

static void machine_close(struct machine *m)
{
	pagetable_fini(&m->table);
	free(m->arena);
}

struct file {
	char *bytes;
	size_t size;
};

static struct table_place place;

static struct file write_file(const struct pagetable *table, const char *name, const struct table_written *written)
{
	struct failure f = {0};
	struct file file;
	FILE *to = open_memstream(&file.bytes, &file.size);

	ck_assert_int_eq(table_file_write(table, name, written, &place, to, &f), 0);
	fclose(to);
	return file;
}

static uint64_t get64(const struct file *file, size_t at)
{
	uint64_t value;

	memcpy(&value, file->bytes + at, sizeof(value));
	return value;
}

static void put_bytes(struct file *file, size_t at, uint64_t value, size_t bytes)
{
	memcpy(file->bytes + at, &value, bytes);
}

static void mend(struct file *file)
{
	put_bytes(file, file->size - 8, table_file_sum(file->bytes, file->size), 8);
}

/* Some leaf is written to, by no order of its address. */
static bool hashed(uint64_t gpa)
{
	return (gpa >> 12) * UINT64_C(0x9e3779b97f4a7c15) >> 63;
}

struct asked {
	uint64_t last, count;
	bool wrong; /* out of order, or not of a leaf's size */
};

static bool some(void *self, uint64_t gpa, uint64_t bytes)
{
	struct asked *a = self;

	a->wrong |= a->count && gpa <= a->last;
	a->wrong |= bytes != FRAME_BYTES && bytes != FRAME_BYTES << 9 && bytes != FRAME_BYTES << 18;
	a->last = gpa;
	a->count++;
	return hashed(gpa);
}

static struct pagetable_attr random_attr(enum pagetable_format format)
{
	static const unsigned ept[] = {1, 3, 4, 5, 7};
	static const enum pagetable_memory types[] = {PAGETABLE_WRITE_BACK, PAGETABLE_WRITE_THROUGH, PAGETABLE_UNCACHED,
						      PAGETABLE_WRITE_COMBINING, PAGETABLE_WRITE_PROTECTED};

	if (format == PAGETABLE_EPT)
		return (struct pagetable_attr){ept[below(5)], types[below(5)]};
	return (struct pagetable_attr){PAGETABLE_READ | (unsigned)below(16),
				       below(2) ? PAGETABLE_WRITE_BACK : PAGETABLE_UNCACHED};
}

static void random_table(struct machine *m, enum pagetable_format format)
{
	for (int i = 0; i < 40; i++) {
		unsigned shift = 12 + 9 * (unsigned)below(3);
		uint64_t in = (below(4) * (UINT64_C(1) << 45) + (below(1024) << shift)) & ((UINT64_C(1) << 48) - 1);
		uint64_t bytes = (1 + below(600)) << shift, out = (below(1 << 12) << shift) % (UINT64_C(1) << 43);

		if (below(4))
			(void)!pagetable_map(&m->table, in, out, bytes, random_attr(format));
		else
			(void)!pagetable_unmap(&m->table, in, bytes, NULL);
	}
}

/* An assertion of Check's costs a system call: one a table, not one a leaf. */
static bool same_runs(const struct pagetable *a, const struct pagetable *b)
{
	struct pagetable_run x, y;

	for (uint64_t at = 0;; at = x.in + x.bytes) {
		bool more = pagetable_next_run(a, at, &x);

		if (pagetable_next_run(b, at, &y) != more)
			return false;
		if (!more)
			return true;
		if (x.in != y.in || x.out != y.out || x.bytes != y.bytes || x.attr.rights != y.attr.rights ||
		    x.attr.memory != y.attr.memory || memcmp(x.leaves, y.leaves, sizeof(x.leaves)) != 0)
			return false;
	}
}

static bool same_steps(const struct table_file *t, const struct table_step *step, unsigned steps)
{
	for (unsigned i = 0; i + 1 < steps; i++)
		if (step[i].kind != TABLE_LINK || table_file_target(t, step[i].entry).n != step[i + 1].page.n)
			return false;
	return steps <= PAGETABLE_LEVELS && step[0].page.n == t->root.n;
}

static bool same_walk(const struct table_file *t, const struct pagetable *table, uint64_t gpa, bool dirty_known)
{
	struct table_step step[PAGETABLE_LEVELS];
	unsigned steps = table_file_steps(t, gpa, step);
	struct pagetable_leaf x, y;
	bool there = pagetable_walk(table, gpa, &x);

	if (!same_steps(t, step, steps) || pagetable_walk(&t->table, gpa, &y) != there)
		return false;
	if (!there)
		return step[steps - 1].kind == TABLE_ABSENT;
	return step[steps - 1].kind == TABLE_LEAF && step[steps - 1].level == (unsigned)x.size && x.in == y.in &&
	       x.out == y.out && x.size == y.size && x.attr.rights == y.attr.rights && x.attr.memory == y.attr.memory &&
	       y.dirty == (dirty_known && hashed(x.in)) && !y.accessed;
}

static bool same_walks(const struct table_file *t, const struct pagetable *table, bool dirty_known)
{
	for (int i = 0; i < 2000; i++) {
		uint64_t gpa = below(4) * (UINT64_C(1) << 45) + (below(1024) << (12 + 9 * below(3)));

		if (!same_walk(t, table, gpa, dirty_known))
			return false;
	}
	return true;
}

static void round_trip(enum pagetable_format format, enum pagetable_size leaf, bool dirty_known)
{
	struct asked asked = {0};
	const struct table_written written = {&asked, some};
	struct pagetable_stats stats;
	struct failure f = {0};
	struct table_file t;
	struct machine m;
	struct file file;

	machine_open(&m, format, leaf);
	random_table(&m, format);
	stats = pagetable_stats_read(&m.table);
	file = write_file(&m.table, "guest-1", dirty_known ? &written : NULL);
	ck_assert_uint_eq(file.size, HEAD + stats.tables * RECORD + 8);
	ck_assert_msg(!table_file_open(&t, file.bytes, file.size, &f), "%s", f.text);
	ck_assert(t.format == format && t.leaf_max == leaf && t.phys_bits == 46 && t.odd == 0);
	ck_assert_uint_eq(t.flags, TABLE_FILE_EXECUTE_ONLY | (dirty_known ? (unsigned)TABLE_FILE_DIRTY : 0u));
	ck_assert_str_eq(t.name, "guest-1");
	ck_assert(t.pages == stats.tables && t.reached == stats.tables);
	ck_assert_int_eq(memcmp(t.leaves, stats.leaves, sizeof(t.leaves)), 0);
	ck_assert_uint_eq(t.bytes, stats.leaves[0] * FRAME_BYTES + (stats.leaves[1] * FRAME_BYTES << 9) +
					   (stats.leaves[2] * FRAME_BYTES << 18));
	ck_assert_uint_eq(asked.count, dirty_known ? stats.leaves[0] + stats.leaves[1] + stats.leaves[2] : 0);
	ck_assert(!asked.wrong);
	ck_assert(t.root.n == m.table.root.n && same_runs(&m.table, &t.table));
	ck_assert(same_walks(&t, &m.table, dirty_known));
	table_file_close(&t);
	free(file.bytes);
	machine_close(&m);
}

START_TEST(written_is_read)
{
	seed(1);
	for (int i = 0; i < ROUNDS; i++)
		round_trip(i % 2 ? PAGETABLE_EPT : PAGETABLE_NPT, (enum pagetable_size)(i % 3), i % 4 < 2);
}
END_TEST

#define MOVED (UINT64_C(5) << 40 | 4 * GIB) /* bits that are set, and one that is cleared */

static uint64_t moved(void *self, uint64_t hpa)
{
	ck_assert_ptr_eq(self, &place);
	return hpa ^ MOVED;
}

/* Leaves alone, of each size, and nothing of them but their address: as far as a walk, a run or a mark can tell. */
static void placed(enum pagetable_format format, unsigned flag, bool moves)
{
	const struct pagetable_attr attr = {format == PAGETABLE_EPT ? EPT_RW : NPT_RWXU, PAGETABLE_WRITE_BACK};
	struct asked asked = {0};
	const struct table_written written = {&asked, some};
	struct failure f = {0};
	struct table_file t;
	struct machine m;
	struct file file;

	machine_open(&m, format, PAGETABLE_1G);
	ck_assert_int_eq(pagetable_map(&m.table, 0, 4 * GIB, 2 * GIB + (4 << 20) + (3 << FRAME_SHIFT), attr), MM_OK);
	place = (struct table_place){flag, &place, moves ? moved : NULL};
	file = write_file(&m.table, NULL, &written);
	place = (struct table_place){0};
	ck_assert_msg(!table_file_open(&t, file.bytes, file.size, &f), "%s", f.text);
	ck_assert_uint_eq(t.flags, TABLE_FILE_EXECUTE_ONLY | (unsigned)TABLE_FILE_DIRTY | flag);
	ck_assert(t.odd == 0 && t.leaves[0] == 3 && t.leaves[1] == 2 && t.leaves[2] == 2);
	for (uint64_t gpa = 0; gpa < 2 * GIB + (4 << 20) + (4 << FRAME_SHIFT);) {
		struct pagetable_leaf was, is;
		const bool there = pagetable_walk(&m.table, gpa, &was);

		ck_assert(pagetable_walk(&t.table, gpa, &is) == there);
		if (!there)
			break;
		ck_assert(is.out == (moves ? was.out ^ MOVED : was.out) && is.size == was.size && is.in == was.in);
		ck_assert(is.attr.rights == was.attr.rights && is.attr.memory == was.attr.memory);
		ck_assert(is.dirty == hashed(gpa));
		gpa += pagetable_size_bytes(is.size);
	}
	table_file_close(&t);
	free(file.bytes);
	machine_close(&m);
}

START_TEST(leaves_are_where_they_were_put)
{
	const enum pagetable_format format = _i ? PAGETABLE_EPT : PAGETABLE_NPT;

	placed(format, TABLE_FILE_PHYSICAL_1G, true);
	placed(format, TABLE_FILE_NUMBERED_1G, false);
	placed(format, 0, true);
}
END_TEST

/* 1 GiB by 2M leaves and one page of 4K: root, a page a level below it. */
static struct file small_file(enum pagetable_format format)
{
	const struct pagetable_attr attr = {format == PAGETABLE_EPT ? 7 : NPT_RWXU, PAGETABLE_WRITE_BACK};
	struct machine m;
	struct file file;

	machine_open(&m, format, PAGETABLE_2M);
	ck_assert_int_eq(pagetable_map(&m.table, 0, GIB, 4 << 20, attr), MM_OK);
	ck_assert_int_eq(pagetable_map(&m.table, 8 << 20, GIB + (8 << 20), FRAME_BYTES, attr), MM_OK);
	file = write_file(&m.table, NULL, NULL);
	ck_assert_uint_eq(file.size, HEAD + 4 * RECORD + 8);
	machine_close(&m);
	return file;
}

static void refused(const struct file *file, const char *sentence)
{
	char *copy = malloc(file->size ? file->size : 1); /* so that a sanitizer sees its end */
	struct failure f = {0};
	struct table_file t;

	memcpy(copy, file->bytes, file->size);
	ck_assert_int_eq(table_file_open(&t, copy, file->size, &f), EXIT_IMAGE);
	ck_assert_msg(strstr(f.text, sentence) != NULL, "'%s' is not in '%s'", sentence, f.text);
	table_file_close(&t);
	free(copy);
}

START_TEST(damage_is_seen)
{
	struct file file = small_file(PAGETABLE_NPT);
	const size_t size = file.size;

	for (size_t at = 0; at < size; at += at < 2 * HEAD ? 1 : 13) {
		file.bytes[at] ^= (char)(1 << at % 8);
		refused(&file, "");
		file.bytes[at] ^= (char)(1 << at % 8);
	}
	for (unsigned i = 0; i < 8; i++) { /* two entries have changed places */
		char was = file.bytes[ENTRY(L1, 0) + i];

		file.bytes[ENTRY(L1, 0) + i] = file.bytes[ENTRY(L1, 1) + i];
		file.bytes[ENTRY(L1, 1) + i] = was;
	}
	refused(&file, "the table is damaged: its sum is another");
	for (file.size = 0; file.size < size; file.size += file.size < 300 ? 1 : 97)
		refused(&file, "");
	free(file.bytes);
}
END_TEST

/* Sums mended, so that each is refused for what it is. */
static const struct {
	size_t at, bytes;
	uint64_t value;
	const char *sentence;
} lies[] = {
	{0, 1, 'S', "does not begin as one"},
	{8, 4, 2, "another version"},
	{12, 4, 0x04030201, "another byte order"},
	{16, 4, 2, "its format is neither EPT (0) nor NPT (1)"},
	{16, 4, UINT32_MAX, "its format is neither"},
	{20, 4, 31, "its address width, largest leaf or flags"},
	{20, 4, 53, "its address width, largest leaf or flags"},
	{24, 4, 3, "its address width, largest leaf or flags"},
	{28, 4, 32, "its address width, largest leaf or flags"},
	{28, 4, TABLE_FILE_PHYSICAL_1G | TABLE_FILE_NUMBERED_1G, "its address width, largest leaf or flags"},
	{32, 8, FIRST - 1, "the root is not in its arena"},
	{32, 8, FIRST + 100, "the root's page is missing"},
	{32, 8, UINT64_MAX, "the root is not in its arena"},
	{40, 8, FIRST + 1, "the root is not in its arena"},
	{40, 8, UINT64_C(1) << 34, "its arena of pages is out of range"},
	{40, 8, UINT64_MAX, "its arena of pages is out of range"},
	{48, 8, 0, "its arena of pages is out of range"},
	{48, 8, 3, "its arena of pages is out of range"},
	{48, 8, TABLE_FILE_FRAMES_MAX + 1, "its arena of pages is out of range"},
	{48, 8, UINT64_MAX, "its arena of pages is out of range"},
	{56, 8, 3, "cut short, or not the table that it says"},
	{56, 8, 5, "cut short, or not the table that it says"},
	{56, 8, UINT64_MAX, "cut short, or not the table that it says"},
	{64, 1, '"', "its name has other characters"},
	{65, 1, 'x', "its name has other characters"},
	{HEAD, 8, FIRST, "is there twice"},
	{HEAD, 8, FIRST + PAGES, "is not of its arena"},
	{HEAD + RECORD, 8, UINT64_MAX, "is not of its arena"},
	/* Links: to a frame without a page, outside, to the root, to another's table. */
	{ENTRY(ROOT, 0), 8, (FIRST + 9) << 12 | 7, "which is no page of it"},
	{ENTRY(ROOT, 0), 8, 7, "which is no page of it"},
	{ENTRY(ROOT, 0), 8, 0x3ffffffff007, "which is no page of it"},
	{ENTRY(ROOT, 0), 8, FIRST << 12 | 7, "two links of the table lead to"},
	{ENTRY(L1, 511), 8, FIRST << 12 | 7, "two links of the table lead to"},
	{ENTRY(ROOT, 511), 8, (FIRST + 2) << 12 | 7, "two links of the table lead to"},
};

START_TEST(lies_are_refused)
{
	struct file file = small_file(PAGETABLE_NPT);

	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		char was[8];

		memcpy(was, file.bytes + lies[i].at, sizeof(was));
		put_bytes(&file, lies[i].at, lies[i].value, lies[i].bytes);
		mend(&file);
		refused(&file, lies[i].sentence);
		memcpy(file.bytes + lies[i].at, was, sizeof(was));
	}
	free(file.bytes);
}
END_TEST

/* In the page of level 1 (2M) unless said; index 3 is absent there. */
static const struct {
	enum pagetable_format format;
	unsigned level;
	uint64_t entry;
	const char *why;
} odds[] = {
	{PAGETABLE_EPT, 3, 0x87, "bit 7 is reserved in the root"},
	{PAGETABLE_NPT, 3, 0x87, "bit 7 is reserved in the root"},
	{PAGETABLE_EPT, 2, 0xb7, "a leaf larger than the CPU takes"},
	{PAGETABLE_NPT, 2, 0x87, "a leaf larger than the CPU takes"},
	{PAGETABLE_EPT, 1, FIRST << 12 | 0x0f, "reserved bits of a link, 3 to 6, are set"},
	{PAGETABLE_EPT, 1, FIRST << 12 | 0x05, "a link that takes rights away"},
	{PAGETABLE_NPT, 1, FIRST << 12 | 0x05, "a link that takes rights away"},
	{PAGETABLE_NPT, 1, UINT64_C(1) << 63 | FIRST << 12 | 0x07, "a link that takes rights away"},
	{PAGETABLE_EPT, 1, 0x1000b7, "an address that is not aligned to its leaf"},
	{PAGETABLE_NPT, 1, 0x001087, "an address that is not aligned to its leaf, or the PAT bit"},
	{PAGETABLE_NPT, 0, 0x200087, "the PAT bit"},
	{PAGETABLE_EPT, 1, 0x200097, "a memory type that there is not"},
	{PAGETABLE_EPT, 0, 0x20009f, "a memory type that there is not"},
	{PAGETABLE_EPT, 1, 0x2000bf, "a memory type that there is not"},
	{PAGETABLE_EPT, 1, 0x2000b2, "misconfigured: W without R"},
	{PAGETABLE_EPT, 0, 0x200036, "misconfigured: W without R"},
	{PAGETABLE_EPT, 1, 0x2000b7 | UINT64_C(1) << 46, "address bits that the CPU does not have are set"},
	{PAGETABLE_NPT, 1, 0x200087 | UINT64_C(1) << 51, "address bits that the CPU does not have are set"},
	{PAGETABLE_NPT, 2, FIRST << 12 | 7 | UINT64_C(1) << 46, "address bits that the CPU does not have are set"},
};

START_TEST(odd_is_told)
{
	for (size_t i = 0; i < sizeof(odds) / sizeof(odds[0]); i++) {
		struct file file = small_file(odds[i].format);
		const uint64_t gpa = 3 * (FRAME_BYTES << (9 * odds[i].level)) + (odds[i].level ? 0 : 8 << 20);
		struct table_step step[PAGETABLE_LEVELS];
		struct pagetable_leaf leaf;
		struct failure f = {0};
		struct table_file t;
		unsigned steps;

		put_bytes(&file, ENTRY(odds[i].level, 3), odds[i].entry, 8);
		mend(&file);
		ck_assert_msg(!table_file_open(&t, file.bytes, file.size, &f), "%s", f.text);
		ck_assert_uint_eq(t.odd, 1);
		ck_assert(t.first_odd[0].gpa == gpa && t.first_odd[0].level == odds[i].level);
		ck_assert_uint_eq(t.first_odd[0].entry, odds[i].entry);
		ck_assert_ptr_eq(strstr(t.first_odd[0].why, odds[i].why), t.first_odd[0].why);
		ck_assert(t.leaves[0] == 1 && t.leaves[1] == 2 && t.leaves[2] == 0);
		ck_assert(!pagetable_walk(&t.table, gpa, &leaf));
		steps = table_file_steps(&t, gpa, step);
		ck_assert_uint_eq(steps, 4 - odds[i].level);
		ck_assert(step[steps - 1].kind == TABLE_ODD && step[steps - 1].index == 3);
		table_file_close(&t);
		free(file.bytes);
	}
}
END_TEST

/* What a CPU ignores, in a leaf of 2M, of 4K, and the links above: the file's entry
 * has it, the engine's has not. Bit 6 of EPT's leaves is known, but no such config is. */
static const struct {
	enum pagetable_format format;
	unsigned level, index;
	uint64_t bits;
} ignored[] = {
	{PAGETABLE_EPT, 3, 0, UINT64_C(0xfff0000000000e00)}, {PAGETABLE_EPT, 2, 0, UINT64_C(0xfff0000000000e00)},
	{PAGETABLE_EPT, 1, 4, UINT64_C(0xfff0000000000e00)}, {PAGETABLE_EPT, 1, 0, UINT64_C(0xfff0000000000c40)},
	{PAGETABLE_EPT, 0, 0, UINT64_C(0xfff0000000000cc0)}, {PAGETABLE_NPT, 3, 0, UINT64_C(0x7ff0000000000e58)},
	{PAGETABLE_NPT, 2, 0, UINT64_C(0x7ff0000000000f58)}, {PAGETABLE_NPT, 1, 4, UINT64_C(0x7ff0000000000f58)},
	{PAGETABLE_NPT, 1, 0, UINT64_C(0x7ff0000000000f00)}, {PAGETABLE_NPT, 0, 0, UINT64_C(0x7ff0000000000f00)},
};

START_TEST(ignored_bits)
{
	for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++) {
		const size_t at = ENTRY(ignored[i].level, ignored[i].index);
		struct file file = small_file(ignored[i].format), other = small_file(ignored[i].format);
		struct table_file t, plain;
		struct failure f = {0};
		struct pfn page;

		put_bytes(&other, at, get64(&file, at) | ignored[i].bits, 8);
		mend(&other);
		ck_assert(get64(&file, at) != 0 && !(get64(&file, at) & ignored[i].bits));
		ck_assert_msg(!table_file_open(&plain, file.bytes, file.size, &f), "%s", f.text);
		ck_assert_msg(!table_file_open(&t, other.bytes, other.size, &f), "%s", f.text);
		page.n = get64(&file, HEAD + ignored[i].level * RECORD);
		ck_assert_uint_eq(table_file_entry(&t, page, ignored[i].index), get64(&other, at));
		ck_assert(t.odd == 0 && t.reached == plain.reached && t.bytes == plain.bytes);
		ck_assert_int_eq(memcmp(t.memory, plain.memory, PAGES * FRAME_BYTES), 0);
		table_file_close(&t);
		table_file_close(&plain);
		free(other.bytes);
		free(file.bytes);
	}
}
END_TEST

/* A and D are the engine's to tell. */
START_TEST(marks_are_kept)
{
	for (unsigned format = 0; format < 2; format++) {
		const uint64_t marks = format == PAGETABLE_EPT ? 0x300 : 0x60;
		struct file file = small_file((enum pagetable_format)format);
		struct pagetable_leaf leaf;
		struct failure f = {0};
		struct table_file t;

		put_bytes(&file, ENTRY(L1, 1), get64(&file, ENTRY(L1, 1)) | marks, 8);
		mend(&file);
		ck_assert_int_eq(table_file_open(&t, file.bytes, file.size, &f), 0);
		ck_assert(pagetable_walk(&t.table, 2 << 20, &leaf) && leaf.accessed && leaf.dirty);
		ck_assert(pagetable_walk(&t.table, 0, &leaf) && !leaf.accessed && !leaf.dirty);
		table_file_close(&t);
		free(file.bytes);
	}
}
END_TEST

START_TEST(many_odd_and_unlinked)
{
	struct file file = small_file(PAGETABLE_EPT);
	struct pagetable_run run;
	struct failure f = {0};
	struct table_file t;

	for (unsigned i = 100; i < 200; i++)
		put_bytes(&file, ENTRY(L1, i), 2, 8);
	put_bytes(&file, ENTRY(L1, 4), 0, 8);				 /* what led to the page of 4K */
	put_bytes(&file, ENTRY(L1, 5), UINT64_C(0xabc) << 52 | 0x70, 8); /* absent all the same */
	mend(&file);
	ck_assert_int_eq(table_file_open(&t, file.bytes, file.size, &f), 0);
	ck_assert(t.odd == 100 && t.pages == 4 && t.reached == 3 && t.leaves[0] == 0);
	for (unsigned i = 0; i < TABLE_FILE_ODD_MAX; i++)
		ck_assert_uint_eq(t.first_odd[i].gpa, (100 + i) * UINT64_C(0x200000));
	ck_assert(pagetable_next_run(&t.table, 0, &run) && run.bytes == 4 << 20);
	ck_assert(!pagetable_next_run(&t.table, run.bytes, &run));
	table_file_close(&t);
	free(file.bytes);
}
END_TEST

/* X without R: the header says whether the CPU takes it. */
START_TEST(execute_only)
{
	struct file file = small_file(PAGETABLE_EPT);
	struct failure f = {0};
	struct table_file t;

	put_bytes(&file, ENTRY(L1, 3), 0x2000b4, 8);
	for (unsigned flag = 0; flag < 2; flag++) {
		put_bytes(&file, 28, flag ? TABLE_FILE_EXECUTE_ONLY : 0, 4);
		mend(&file);
		ck_assert_int_eq(table_file_open(&t, file.bytes, file.size, &f), 0);
		ck_assert(t.odd == !flag && t.leaves[1] == 2 + flag);
		table_file_close(&t);
	}
	free(file.bytes);
}
END_TEST

START_TEST(no_room_to_write)
{
	struct failure f = {0};
	FILE *full = fopen("/dev/full", "w");
	struct machine m;

	machine_open(&m, PAGETABLE_NPT, PAGETABLE_2M);
	ck_assert_int_eq(table_file_write(&m.table, NULL, NULL, NULL, full, &f), EXIT_HOST);
	ck_assert_str_eq(f.text, "the table cannot be written: No space left on device");
	fclose(full);
	machine_close(&m);
}
END_TEST

/* The layout of the header is what table_file.h says. */
START_TEST(header)
{
	struct file file = small_file(PAGETABLE_NPT);

	ck_assert_int_eq(memcmp(file.bytes, "slattab\n\1\0\0\0\4\3\2\1\1\0\0\0\56\0\0\0\1\0\0\0\4\0\0\0", 32), 0);
	ck_assert_uint_eq(get64(&file, 32), FIRST);
	ck_assert_uint_eq(get64(&file, 40), FIRST);
	ck_assert_uint_eq(get64(&file, 48), PAGES);
	ck_assert_uint_eq(get64(&file, 56), 4);
	ck_assert_uint_eq(get64(&file, HEAD + ROOT * RECORD), FIRST);
	ck_assert_uint_eq(get64(&file, ENTRY(ROOT, 0)), get64(&file, HEAD + 2 * RECORD) << 12 | 7);
	ck_assert_uint_eq(get64(&file, ENTRY(L1, 1)), (GIB + (2 << 20)) | 0x87);
	free(file.bytes);
}
END_TEST

/* Bits of three slots, the second without a log, lengths that fill no word. */
START_TEST(dirty_bits)
{
	struct slot slot[] = {
		{.gpa = 0, .bytes = 70 * FRAME_BYTES},
		{.gpa = 100 * FRAME_BYTES, .bytes = FRAME_BYTES, .readonly = true},
		{.gpa = 512 * FRAME_BYTES, .bytes = 1024 * FRAME_BYTES},
	};
	const struct slots slots = {.slot = slot, .count = 3};
	uint64_t bits[2 + 1 + 16] = {[1] = 1u << 5, [3 + 8] = 1u << 5};
	struct dirty_log d = {.slots = &slots, .bits = bits};

	for (uint64_t page = 0; page < 70; page++)
		ck_assert_int_eq(dirty_log_any(&d, page * FRAME_BYTES, FRAME_BYTES), page == 69);
	ck_assert(!dirty_log_any(&d, 80 * FRAME_BYTES, FRAME_BYTES));
	ck_assert(!dirty_log_any(&d, 100 * FRAME_BYTES, FRAME_BYTES));
	ck_assert(!dirty_log_any(&d, 512 * FRAME_BYTES, 512 * FRAME_BYTES));
	ck_assert(dirty_log_any(&d, 1024 * FRAME_BYTES, 512 * FRAME_BYTES));
	ck_assert(!dirty_log_any(&d, 1536 * FRAME_BYTES, FRAME_BYTES));
}
END_TEST

/* A host whose KVM refuses. */
START_TEST(no_dirty_log)
{
	struct slot slot = {.bytes = 1 << 20};
	const struct slots slots = {.slot = &slot, .count = 1};
	struct failure f = {0};
	struct dirty_log d;

	ck_assert_int_eq(dirty_log_read(&d, -1, &slots, &f), EXIT_KVM);
	ck_assert_str_eq(f.text, "KVM does not tell what the guest wrote to: Bad file descriptor");
	dirty_log_free(&d);
	slot.bytes = UINT64_C(1) << 62;
	f = (struct failure){0};
	ck_assert_int_eq(dirty_log_read(&d, -1, &slots, &f), EXIT_HOST);
	dirty_log_free(&d);
}
END_TEST

Suite *table_file_suite(void)
{
	Suite *suite = suite_create("table_file");
	TCase *all = tcase_create("all");

	tcase_set_timeout(all, 120);
	tcase_add_test(all, written_is_read);
	tcase_add_loop_test(all, leaves_are_where_they_were_put, 0, 2);
	tcase_add_test(all, header);
	tcase_add_test(all, damage_is_seen);
	tcase_add_test(all, lies_are_refused);
	tcase_add_test(all, odd_is_told);
	tcase_add_test(all, ignored_bits);
	tcase_add_test(all, marks_are_kept);
	tcase_add_test(all, many_odd_and_unlinked);
	tcase_add_test(all, execute_only);
	tcase_add_test(all, no_room_to_write);
	tcase_add_test(all, dirty_bits);
	tcase_add_test(all, no_dirty_log);
	suite_add_tcase(suite, all);
	return suite;
}
