/* tests/unit/test_source_line.c: vmm/source_line and vmm/debug_line: this file's own
 * lines, those of the whole test program beside another decoder, tables made by hand and cut
 * anywhere; vmm/heap_report: its words. What it does not see: compressed tables, which
 * are left out. */
#include <check.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/heap_bed.h"
#include "vmm/debug_line.h"
#include "vmm/heap_report.h"
#include "vmm/source_line.h"

extern char __executable_start[], _init[], etext[]; /* the linker's: the file's start, that of its code, and its end */

static __attribute__((noinline)) uint64_t return_address(void)
{
	return (uintptr_t)__builtin_return_address(0);
}

/* ---- real files ---- */

START_TEST(own_line)
{
	char text[SOURCE_LINE_TEXT], want[64];
	uint64_t pc = return_address();
	int line = __LINE__ - 1;
	struct source_line l = {.pc = pc};

	source_lines_find(&l, 1);
	ck_assert_uint_eq(l.line, (uint32_t)line);
	ck_assert_str_eq(l.file, "test_source_line.c");
	ck_assert_str_eq(l.function, "own_line_fn");
	snprintf(want, sizeof(want), "own_line_fn (test_source_line.c:%d)", line);
	ck_assert_uint_eq(source_line_text(&l, text, sizeof(text)), strlen(want));
	ck_assert_str_eq(text, want);
	ck_assert_uint_eq(source_line_text(&l, text, 5), 4);
	ck_assert_str_eq(text, "own_");
}
END_TEST

START_TEST(others)
{
	struct source_line l[] = {{.pc = (uintptr_t)&puts + 5}, {.pc = 12},
				  {.pc = UINT64_MAX},		{.pc = 0},
				  {.pc = return_address()},	{.pc = return_address()}};
	char text[SOURCE_LINE_TEXT];
	unsigned here = 0;

	source_lines_find(l, 6);
	for (unsigned i = 0; i < 6; i++) {
		ck_assert(i == 0 || l[i - 1].pc <= l[i].pc);
		source_line_text(&l[i], text, sizeof(text));
		here += strstr(text, "others_fn (test_source_line.c:") == text;
		if (l[i].pc == (uintptr_t)&puts + 5 && l[i].module[0])
			ck_assert(strstr(text, "puts") || strstr(text, l[i].module) == text);
		if (l[i].pc == 12)
			ck_assert_str_eq(text, "0xc");
	}
	ck_assert_uint_eq(here, 2);
	source_lines_find(NULL, 0);
	l[0] = (struct source_line){.module = "m", .offset = 0x12};
	source_line_text(&l[0], text, sizeof(text));
	ck_assert_str_eq(text, "m+0x12");
	l[0] = (struct source_line){.module = "m", .function = "f", .offset = 0x12};
	source_line_text(&l[0], text, sizeof(text));
	ck_assert_str_eq(text, "f+0x12 (m)");
	l[0] = (struct source_line){.module = "m", .file = "x.c", .line = 3};
	source_line_text(&l[0], text, sizeof(text));
	ck_assert_str_eq(text, "x.c:3");
}
END_TEST

#define ASKED 1500u
/* A sanitizer's own functions have lines, but are in no unit's ranges, where a symbolizer begins. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define WITHOUT_RANGES 1
#else
#define WITHOUT_RANGES 0
#endif

/* Some addresses of this program: what a decoder says that is not ours. (Not addr2line: that of binutils 2.40
 * takes the file's number for another.) */
START_TEST(as_a_symbolizer)
{
	static struct source_line l[ASKED];
	uint64_t step = (uint64_t)(etext - _init) / (ASKED + 1);
	bool pie = *(const uint16_t *)(const void *)(__executable_start + 16) == 3;
	char command[160], said[512], want[256];
	unsigned known = 0;
	FILE *pipe_to, *from;

	if (system("command -v llvm-symbolizer >/dev/null") != 0)
		return;
	for (unsigned i = 0; i < ASKED; i++)
		l[i].pc = (uintptr_t)_init + (i + 1) * step + 1;
	source_lines_find(l, ASKED);
	snprintf(command, sizeof(command),
		 "llvm-symbolizer --obj=/proc/%d/exe --no-inlines --basenames --output-style=GNU -f=none >lines.said",
		 (int)getpid());
	pipe_to = popen(command, "w");
	for (unsigned i = 0; i < ASKED; i++)
		fprintf(pipe_to, "0x%" PRIx64 "\n", l[i].pc - 1 - (pie ? (uintptr_t)__executable_start : 0));
	pclose(pipe_to);
	from = fopen("lines.said", "r");
	for (unsigned i = 0; i < ASKED; i++) {
		ck_assert_ptr_nonnull(fgets(said, sizeof(said), from));
		said[strcspn(said, " \n")] = 0;
		snprintf(want, sizeof(want), "%s:%u", l[i].line ? l[i].file : "??", l[i].line);
		ck_assert_msg(strcmp(want, said) == 0 || (!l[i].line && strstr(said, ":0")) ||
				      (WITHOUT_RANGES && strcmp(said, "??:0") == 0),
			      "0x%" PRIx64 ": %s, not %s", l[i].pc, want, said);
		known += l[i].line > 0;
	}
	fclose(from);
	unlink("lines.said");
	ck_assert_uint_gt(known, ASKED / 2);
}
END_TEST

/* ---- tables made by hand ---- */

struct table {
	uint8_t at[512];
	size_t bytes;
};

static void byte(struct table *t, unsigned n)
{
	t->at[t->bytes++] = (uint8_t)n;
}

static void bytes(struct table *t, const char *text, size_t n)
{
	memcpy(t->at + t->bytes, text, n);
	t->bytes += n;
}

static void word(struct table *t, uint64_t n, unsigned width)
{
	for (unsigned i = 0; i < width; i++)
		byte(t, (unsigned)(n >> 8 * i) & 0xff);
}

struct unit {
	size_t length_at, header_at;
	unsigned width; /* of offsets */
};

static void patch(struct table *t, size_t at, uint64_t n)
{
	for (unsigned i = 0; i < 4; i++)
		t->at[at + i] = (uint8_t)(n >> 8 * i);
}

/* Up to the tables of directories and files. */
static struct unit unit_begin(struct table *t, unsigned version, bool wide)
{
	struct unit u = {.width = wide ? 8 : 4};

	if (wide)
		word(t, UINT32_MAX, 4);
	u.length_at = t->bytes;
	word(t, 0, u.width);
	word(t, version, 2);
	if (version >= 5)
		word(t, 8, 2);
	u.header_at = t->bytes;
	word(t, 0, u.width);
	byte(t, 1);
	if (version >= 4)
		byte(t, 1);
	byte(t, 1);
	byte(t, (unsigned)-3 & 0xff);
	byte(t, 12);
	byte(t, 13);
	bytes(t, "\0\1\1\1\1\0\0\0\1\0\0\1", 12);
	return u;
}

/* Each kind of opcode once: rows at 0x1000, line 7, and 0x1010, line 17; the end is 0x1024. */
static void unit_program(struct table *t, const struct unit *u)
{
	patch(t, u->header_at, t->bytes - u->header_at - u->width);
	bytes(t, "\x04\x02", 2);   /* file 2 */
	bytes(t, "\0\x09\x02", 3); /* address */
	word(t, 0x1000, 8);
	bytes(t, "\x03\x06\x01", 3);		 /* 6 lines on; a row */
	bytes(t, "\x02\x04\x05\x02\x06\x07", 6); /* 4 on; column, statement, block: nothing here */
	bytes(t, "\x09\x08\x00", 3);		 /* 8 on, by a number of 2 bytes */
	bytes(t, "\x03\x74\x03\x0f", 4);	 /* 12 lines back, 15 on */
	byte(t, 13 + 4 * 12 + 7 + 3);		 /* 4 on, 7 lines on, a row */
	byte(t, 8);				 /* 20 on, as opcode 255 would */
	bytes(t, "\0\x02\x09\x09", 4);		 /* one that nobody knows */
	bytes(t, "\0\x00", 2);			 /* one of no length */
	bytes(t, "\0\x01\x01", 3);		 /* the end of the sequence */
	patch(t, u->length_at, t->bytes - u->length_at - u->width);
}

static void unit_old(struct table *t, unsigned version, bool wide)
{
	struct unit u = unit_begin(t, version, wide);

	bytes(t, "dir\0\0", 5);
	bytes(t, "a.c\0\1\2\3l.c\0\1\2\3\0", 15);
	unit_program(t, &u);
}

/* Files by each form that there is: the path first, last, between. */
static void unit_new(struct table *t, bool wide, unsigned form)
{
	struct unit u = unit_begin(t, 5, wide);

	bytes(t, "\x01\x01\x08\x01/dir", 9); /* directories: one, with a path that is a string */
	byte(t, 8);			     /* files: 7 forms of what is nobody's business, and the path */
	bytes(t, "\x03\x0b\x03\x05\x03\x06\x01", 7);
	byte(t, form);
	bytes(t, "\x03\x07\x05\x1e\x03\x0f\x03\x09", 8);
	byte(t, 3);
	for (unsigned file = 0; file < 3; file++) {
		bytes(t, "\1\2\2\4\4\4\4", 7);
		if (form == 0x08)
			bytes(t, file == 2 ? "l.c" : "n.c", 4);
		else
			word(t, form == 0x1f && file == 2 ? 2 : 0, u.width);
		bytes(t, "88888888sixteen bytes...\x81\x01\x02zz", 29);
	}
	unit_program(t, &u);
}

static void find_rows(const struct table *t, struct debug_line_query q[7])
{
	static const uint64_t at[] = {0xfff, 0x1000, 0x100f, 0x1010, 0x1023, 0x1024, UINT64_MAX};
	struct debug_line_sections s = {.line = t->at,
					.line_bytes = t->bytes,
					.line_str = (const uint8_t *)"x\0l.c",
					.line_str_bytes = 6,
					.str = (const uint8_t *)"l.c",
					.str_bytes = 4};

	for (unsigned i = 0; i < 7; i++)
		q[i] = (struct debug_line_query){.address = at[i]};
	debug_line_find(&s, q, 7);
}

static void rows_hold(const struct table *t)
{
	struct debug_line_query q[7];

	find_rows(t, q);
	ck_assert(!q[0].file && !q[5].file && !q[6].file);
	for (unsigned i = 1; i < 5; i++) {
		ck_assert_ptr_nonnull(q[i].file);
		ck_assert_str_eq(q[i].file, "l.c");
		ck_assert_uint_eq(q[i].line, i < 3 ? 7 : 17);
	}
}

static void table_make(struct table *t, int kind)
{
	t->bytes = 0;
	if (kind < 6)
		unit_old(t, 2 + (unsigned)kind / 2, kind % 2);
	else
		unit_new(t, kind % 2, kind < 8 ? 0x08 : kind < 10 ? 0x1f : 0x0e);
}

#define KINDS 12

START_TEST(tables_of_each_version)
{
	struct table t = {.bytes = 0};

	table_make(&t, _i);
	rows_hold(&t);
}
END_TEST

/* What comes before and behind does not matter; the first that claims an address has it. */
START_TEST(several_units)
{
	struct table t = {.bytes = 0};

	word(&t, 6, 4); /* a version that nobody knows */
	word(&t, 99, 2);
	word(&t, 0, 4);
	unit_old(&t, 3, false);
	unit_new(&t, true, 0x0e);
	rows_hold(&t);
	debug_line_find(&(struct debug_line_sections){0}, NULL, 0);
}
END_TEST

/* Cut anywhere, and with any byte changed: nothing is read outside (which the address
 * sanitizer sees), and it ends. */
START_TEST(tables_spoiled)
{
	struct table t = {.bytes = 0};
	struct debug_line_query q[7];

	table_make(&t, _i);
	for (size_t most = t.bytes; most-- > 0;) {
		struct table *cut = malloc(sizeof(*cut));

		*cut = t;
		cut->bytes = most;
		find_rows(cut, q);
		ck_assert(!q[0].file);
		*cut = t;
		for (unsigned bit = 0; bit < 8; bit++) {
			cut->at[most] = (uint8_t)(t.at[most] ^ 1u << bit);
			find_rows(cut, q);
		}
		free(cut);
	}
}
END_TEST

/* ---- reports in words ---- */

static size_t read_all(FILE *f, char *out, size_t room)
{
	size_t n;

	rewind(f);
	n = fread(out, 1, room - 1, f);
	out[n] = 0;
	return n;
}

static const char *no_call; /* what is said of one that is not known */

static FILE *paper(void)
{
	FILE *f = tmpfile();

	ck_assert_ptr_nonnull(f);
	return f;
}

/* What stands on it, which is thrown away. */
static const char *read_off(FILE *f)
{
	static char text[8192];

	read_all(f, text, sizeof(text));
	fclose(f);
	return text;
}

static const char *words(const struct checked_report *r)
{
	FILE *f = paper();

	heap_report_write(fileno(f), r, no_call);
	return read_off(f);
}

static const char *refusal_words(const struct inject_refusal *r, const struct call_stack *asked)
{
	FILE *f = paper();

	heap_report_refusal(fileno(f), r, asked);
	return read_off(f);
}

START_TEST(refusal_in_words)
{
	struct call_stack asked = {2, {12, 13}}, unknown = {0};

	ck_assert_str_eq(refusal_words(&(struct inject_refusal){17, 4096, HEAP_ALIGN}, &asked),
			 "slat: heap: refused, as it was told to: allocation 17, of 4096 bytes\n"
			 "  asked in      0xc\n"
			 "                0xd\n");
	ck_assert_str_eq(refusal_words(&(struct inject_refusal){1, 1, 64}, &unknown),
			 "slat: heap: refused, as it was told to: allocation 1, of 1 byte aligned to 64\n");
	ck_assert_str_eq(
		refusal_words(&(struct inject_refusal){UINT64_MAX, 0, 0}, &unknown),
		"slat: heap: refused, as it was told to: allocation 18446744073709551615, a growth to 0 bytes\n");
}
END_TEST

START_TEST(report_in_words)
{
	uint64_t pc = return_address();
	int line = __LINE__ - 1;
	char want[256];
	struct checked_report r = {.kind = CHECKED_OVERRUN,
				   .at = (void *)0x1018,
				   .block = (void *)0x1000,
				   .bytes = 24,
				   .offset = 24,
				   .length = 1,
				   .allocated = {1, {pc}},
				   .now = {3, {12, pc, 12}}};

	snprintf(want, sizeof(want),
		 "slat: heap: overrun: 1 byte at offset 24 of a block of 24 bytes at 0x1000\n"
		 "  seen in       0xc\n"
		 "                report_in_words_fn (test_source_line.c:%d)\n"
		 "                0xc\n"
		 "  allocated in  report_in_words_fn (test_source_line.c:%d)\n",
		 line, line);
	ck_assert_str_eq(words(&r), want);
	r = (struct checked_report){.kind = CHECKED_FOREIGN, .at = (void *)0x1018, .length = 1};
	ck_assert_str_eq(words(&r), "slat: heap: free of foreign memory: 0x1018\n");
	r = (struct checked_report){.kind = CHECKED_WRONG_HEAP, .at = (void *)0x1018, .block = (void *)0x1018};
	ck_assert_str_eq(words(&r), "slat: heap: free on the wrong heap: the block at 0x1018\n");
	r = (struct checked_report){.kind = CHECKED_WRONG_SIZE, .block = (void *)0x10, .bytes = 5, .length = 6};
	ck_assert_str_eq(words(&r), "slat: heap: free of a wrong size: 6 bytes of a block of 5 bytes at 0x10\n");
	r = (struct checked_report){
		.kind = CHECKED_DOUBLE_FREE, .block = (void *)0x10, .bytes = 5, .length = 1, .freed = {1, {12}}};
	ck_assert_str_eq(words(&r),
			 "slat: heap: double free: all of a block of 5 bytes at 0x10\n  freed in      0xc\n");
	r = (struct checked_report){
		.kind = CHECKED_UNDERRUN, .block = (void *)0x10, .bytes = 5, .length = 2, .offset = -2};
	ck_assert_str_eq(words(&r), "slat: heap: underrun: 2 bytes at offset -2 of a block of 5 bytes at 0x10\n");
	no_call = "seen at the end";
	ck_assert_str_eq(words(&r), "slat: heap: underrun: 2 bytes at offset -2 of a block of 5 bytes at 0x10\n"
				    "  seen at the end\n");
	r = (struct checked_report){.kind = CHECKED_FOREIGN, .at = (void *)0x1018, .length = 1, .now = {40, {0}}};
	for (unsigned i = 0; i < 39; i++) /* more than are looked up at once, and some of them twice */
		r.now.pc[i] = 16 + i % 20;
	r.now.pc[39] = CALL_STACK_CUT;
	snprintf(want, sizeof(want), "%s", "                0x1f\n                0x20\n                0x21\n");
	ck_assert_ptr_nonnull(strstr(words(&r), want));
	snprintf(want, sizeof(want), "%s", "                0x22\n                (deeper calls not recorded)\n");
	ck_assert_ptr_nonnull(strstr(words(&r), want));
	no_call = NULL;
}
END_TEST

START_TEST(leaks_in_words)
{
	static char text[1 << 20];
	struct call_stacks *stacks = bed_stacks(2000);
	struct leak_config config = {.cpus = 1, .blocks_max = 2000, .stacks = stacks, .source = {NULL, bed_take}};
	size_t bytes_of_meta = leak_meta_bytes(&config);
	struct leak *l;
	uint64_t pc = return_address();
	char want[256];
	FILE *f = paper();

	snprintf(want, sizeof(want), "(test_source_line.c:%d)", __LINE__ - 4);
	ck_assert_int_eq(leak_init(bed_lines(bytes_of_meta), bytes_of_meta, &config, &l), MM_OK);
	for (uint64_t i = 0; i < 1000; i++) {
		bed_now = (struct call_stack){.count = 2, .pc = {12 + i, pc}};
		leak_alloc(l, 0, (void *)(uintptr_t)(16 + 16 * i), 10);
	}
	leak_free(l, 0, (void *)16);
	ck_assert_int_eq(heap_report_leaks(fileno(f), l, stacks, _i ? HEAP_REPORT_FOLDED : HEAP_REPORT_TREE, 0), 0);
	read_all(f, text, sizeof(text));
	ck_assert_ptr_nonnull(strstr(text, want));
	ck_assert_ptr_nonnull(strstr(text, _i ? ");0x70 10\n" : "live: 9990 bytes in 999 allocations at 999 sites\n"));
	ck_assert_ptr_nonnull(strstr(text, _i ? ");0xd 10\n" : "           10            1    0x3f3\n"));
	fclose(f);
	ck_assert_int_eq(heap_report_leaks(-1, l, stacks, HEAP_REPORT_TREE, 0), EBADF);
	free(l);
	free(stacks);
}
END_TEST

Suite *source_line_suite(void);
Suite *source_line_suite(void)
{
	Suite *s = suite_create("source_line");
	TCase *c = tcase_create("source_line");

	tcase_set_timeout(c, 60);
	tcase_add_test(c, own_line);
	tcase_add_test(c, others);
	tcase_add_test(c, as_a_symbolizer);
	tcase_add_loop_test(c, tables_of_each_version, 0, KINDS);
	tcase_add_test(c, several_units);
	tcase_add_loop_test(c, tables_spoiled, 0, KINDS);
	tcase_add_test(c, report_in_words);
	tcase_add_test(c, refusal_in_words);
	tcase_add_loop_test(c, leaks_in_words, 0, 2);
	suite_add_tcase(s, c);
	return s;
}
