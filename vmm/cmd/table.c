/* vmm/cmd/table.c: `slat table`: a table that a run wrote, in words. */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mm/port.h"
#include "vmm/cmd/cmd.h"
#include "vmm/size.h"
#include "vmm/table_file.h"

#define RIGHTS_BYTES 5u
#define MARK_BYTES   32u
#define SAID_BYTES   128u

static const char help[] =
	"slat table [options] FILE    what is in a table that slat run --dump-table FILE wrote\n"
	"\n"
	"One line a run: guest addresses, the host address they lead to, rights, leaves by size, and how many\n"
	"of the leaves are accessed (A) and dirty (D): ? is what KVM does not tell.\n"
	"\n"
	"  --gpa G                    walks one guest address, step by step; K, M, G, T, or hexadecimal\n"
	"  --tables                   the tree of table pages, each with the runs in it\n"
	"  --json                     the same as without it for programs; not with --tables\n"
	"  --help                     this text\n"
	"\n"
	"Exit code: 0, 2 usage, 4 the file is no such table, 6 it cannot be read, or what is in it not be written.\n"
	"\n"
	"Example:  slat run --dump-table t build/guests/hello.elf; slat table --gpa 0x100000 t\n";

struct asked {
	const char *path;
	uint64_t gpa;
	bool walk, tables, json, help;
};

static const char *const size_names[PAGETABLE_SIZES] = {"4K", "2M", "1G"};
static const char *const size_keys[PAGETABLE_SIZES] = {"4k", "2m", "1g"};

static const char *format_name(const struct table_file *t)
{
	return t->format == PAGETABLE_EPT ? "EPT" : "NPT";
}

static const char *memory_name(enum pagetable_memory memory)
{
	static const char *const names[] = {"write-back", "write-through",   "uncached-minus",
					    "uncached",	  "write-combining", "write-protected"};

	return names[memory];
}

static void rights_text(const struct table_file *t, unsigned rights, char *text)
{
	text[0] = rights & PAGETABLE_READ ? 'r' : '-';
	text[1] = rights & PAGETABLE_WRITE ? 'w' : '-';
	text[2] = rights & PAGETABLE_EXEC ? 'x' : '-';
	text[3] = t->format == PAGETABLE_EPT ? '\0' : rights & PAGETABLE_USER ? 'u' : '-';
	text[4] = '\0';
}

/* ---- runs ---- */

struct marks {
	uint64_t accessed, dirty;
};

static void count_marks(void *self, const struct pagetable_leaf *leaf)
{
	struct marks *m = self;

	m->accessed += leaf->accessed;
	m->dirty += leaf->dirty;
}

static struct marks marks_of(struct table_file *t, const struct pagetable_run *run)
{
	struct marks m = {0};
	const struct pagetable_marked tell = {&m, count_marks};
	struct pagetable_flush flush;
	enum mm_err error = pagetable_harvest(&t->table, run->in, run->bytes, 0, &tell, &flush);

	MM_ASSERT(error == MM_OK, error, run->in);
	return m;
}

static const char *mark_text(const struct table_file *t, unsigned flag, uint64_t count, char *text)
{
	snprintf(text, MARK_BYTES, "%" PRIu64, count);
	return t->flags & flag ? text : "?";
}

static void print_run(const struct table_file *t, const struct pagetable_run *run, struct marks m, unsigned indent)
{
	char rights[RIGHTS_BYTES], accessed[MARK_BYTES], dirty[MARK_BYTES];
	const char *between = "";

	rights_text(t, run->attr.rights, rights);
	printf("%*s[0x%" PRIx64 ", 0x%" PRIx64 ") -> hpa 0x%" PRIx64 "  %s  %s  ", (int)indent, "", run->in,
	       run->in + run->bytes, run->out, rights, memory_name(run->attr.memory));
	for (unsigned size = PAGETABLE_SIZES; size-- > 0;) {
		if (!run->leaves[size])
			continue;
		printf("%s%" PRIu64 " of %s", between, run->leaves[size], size_names[size]);
		between = " + ";
	}
	printf("  A %s  D %s\n", mark_text(t, TABLE_FILE_ACCESSED, m.accessed, accessed),
	       mark_text(t, TABLE_FILE_DIRTY, m.dirty, dirty));
}

static const char *mark_json(const struct table_file *t, unsigned flag, uint64_t count, char *text)
{
	return t->flags & flag ? mark_text(t, flag, count, text) : "null";
}

static void print_leaves_json(const uint64_t *leaves)
{
	printf("{");
	for (unsigned size = 0; size < PAGETABLE_SIZES; size++)
		printf("%s\"%s\": %" PRIu64, size ? ", " : "", size_keys[size], leaves[size]);
	printf("}");
}

static void print_run_json(const struct table_file *t, const struct pagetable_run *run, struct marks m)
{
	char rights[RIGHTS_BYTES], accessed[MARK_BYTES], dirty[MARK_BYTES];

	rights_text(t, run->attr.rights, rights);
	printf("{\"gpa\": %" PRIu64 ", \"bytes\": %" PRIu64 ", \"hpa\": %" PRIu64
	       ", \"rights\": \"%s\", \"memory\": \"%s\", \"leaves\": ",
	       run->in, run->bytes, run->out, rights, memory_name(run->attr.memory));
	print_leaves_json(run->leaves);
	printf(", \"accessed\": %s, \"dirty\": %s}", mark_json(t, TABLE_FILE_ACCESSED, m.accessed, accessed),
	       mark_json(t, TABLE_FILE_DIRTY, m.dirty, dirty));
}

/* A reader that has gone ends it early. */
static void print_runs(struct table_file *t, bool json)
{
	struct pagetable_run run;
	const char *between = "\n    ";

	for (uint64_t at = 0; !ferror(stdout) && pagetable_next_run(&t->table, at, &run); at = run.in + run.bytes) {
		if (!json) {
			print_run(t, &run, marks_of(t, &run), 0);
			continue;
		}
		fputs(between, stdout);
		print_run_json(t, &run, marks_of(t, &run));
		between = ",\n    ";
	}
}

/* ---- the tree of tables ---- */

/* The leaf of an entry as a run of one. */
static struct pagetable_run leaf_run(const struct table_file *t, uint64_t gpa, struct marks *m)
{
	struct pagetable_leaf leaf;
	struct pagetable_run run;
	bool there = pagetable_walk(&t->table, gpa, &leaf);

	MM_ASSERT(there, gpa, t->pages);
	run = (struct pagetable_run){.in = leaf.in, .out = leaf.out, .bytes = pagetable_size_bytes(leaf.size)};
	run.attr = leaf.attr;
	run.leaves[leaf.size] = 1;
	*m = (struct marks){leaf.accessed, leaf.dirty};
	return run;
}

static bool goes_on(const struct pagetable_run *run, const struct marks *m, const struct pagetable_run *one,
		    const struct marks *its)
{
	return run->bytes && one->in == run->in + run->bytes && one->out == run->out + run->bytes &&
	       one->attr.rights == run->attr.rights && one->attr.memory == run->attr.memory &&
	       !m->accessed == !its->accessed && !m->dirty == !its->dirty;
}

struct tree_run { /* of leaves of one page; bytes 0: none */
	struct pagetable_run run;
	struct marks marks;
};

static void end_run(const struct table_file *t, struct tree_run *r, unsigned indent)
{
	if (r->run.bytes)
		print_run(t, &r->run, r->marks, indent);
	r->run.bytes = 0;
}

static void add_leaf(const struct table_file *t, struct tree_run *r, uint64_t gpa, unsigned indent)
{
	struct tree_run one;

	one.run = leaf_run(t, gpa, &one.marks);
	if (!goes_on(&r->run, &r->marks, &one.run, &one.marks)) {
		end_run(t, r, indent);
		*r = one;
		return;
	}
	r->run.bytes += one.run.bytes;
	for (unsigned size = 0; size < PAGETABLE_SIZES; size++)
		r->run.leaves[size] += one.run.leaves[size];
	r->marks.accessed += one.marks.accessed;
	r->marks.dirty += one.marks.dirty;
}

static void print_table(const struct table_file *t, struct pfn page, unsigned level, uint64_t base)
{
	const uint64_t step = FRAME_BYTES << (9u * level);
	const unsigned indent = 2 * (PAGETABLE_LEVELS - 1 - level);
	struct tree_run run = {0};

	printf("%*slevel %u table at hpa 0x%" PRIx64 " for [0x%" PRIx64 ", 0x%" PRIx64 ")\n", (int)indent, "",
	       level + 1, page.n * FRAME_BYTES, base, base + step * TABLE_FILE_ENTRIES);
	for (unsigned i = 0; i < TABLE_FILE_ENTRIES && !ferror(stdout); i++) {
		const uint64_t entry = table_file_entry(t, page, i);
		const char *why;
		enum table_kind kind = table_file_judge(t, entry, level, &why);

		if (kind == TABLE_LEAF) {
			add_leaf(t, &run, base + i * step, indent + 2);
			continue;
		}
		end_run(t, &run, indent + 2);
		if (kind == TABLE_LINK)
			print_table(t, table_file_target(t, entry), level - 1, base + i * step);
		else if (kind == TABLE_ODD)
			printf("%*s0x%" PRIx64 ": entry 0x%016" PRIx64 ": %s\n", (int)indent + 2, "", base + i * step,
			       entry, why);
	}
	end_run(t, &run, indent + 2);
}

/* ---- the whole ---- */

static void print_head(const struct table_file *t)
{
	printf("%s%s%s, %u address bits, root at hpa 0x%" PRIx64 ", %" PRIu64 " table page%s: %" PRIu64
	       " leaves of 1G, %" PRIu64 " of 2M, %" PRIu64 " of 4K map %s\n",
	       t->name, *t->name ? ": " : "", format_name(t), t->phys_bits, t->root.n * FRAME_BYTES, t->reached,
	       t->reached == 1 ? "" : "s", t->leaves[PAGETABLE_1G], t->leaves[PAGETABLE_2M], t->leaves[PAGETABLE_4K],
	       size_format(t->bytes).s);
	printf("A: %s; D: %s\n",
	       t->flags & TABLE_FILE_ACCESSED ? "as the table has it" : "not known, KVM walks tables of its own",
	       t->flags & TABLE_FILE_DIRTY ? "KVM's log of writes, where a page may be that was only read"
					   : "not known, there was no log");
	if (t->flags & TABLE_FILE_PHYSICAL_1G)
		printf("huge pages of 1 GiB: hpa is their physical address\n");
	else if (t->flags & TABLE_FILE_NUMBERED_1G)
		printf("huge pages of 1 GiB: hpa is a number of slat's, the host did not tell their addresses\n");
}

static void print_odd(const struct table_file *t)
{
	const uint64_t shown = t->odd < TABLE_FILE_ODD_MAX ? t->odd : TABLE_FILE_ODD_MAX;

	if (t->reached < t->pages)
		printf("%" PRIu64 " pages of the file are linked nowhere\n", t->pages - t->reached);
	if (t->odd)
		printf("%" PRIu64 " entries that are not as slat writes them, of which the lines above know nothing:\n",
		       t->odd);
	for (uint64_t i = 0; i < shown; i++)
		printf("  level %u, gpa 0x%" PRIx64 ": entry 0x%016" PRIx64 ": %s\n", t->first_odd[i].level + 1,
		       t->first_odd[i].gpa, t->first_odd[i].entry, t->first_odd[i].why);
	if (shown < t->odd)
		printf("  and %" PRIu64 " more\n", t->odd - shown);
}

/* Piece by piece: a table may have more runs than there is memory to hold as objects. */
static void print_json(struct table_file *t)
{
	const uint64_t shown = t->odd < TABLE_FILE_ODD_MAX ? t->odd : TABLE_FILE_ODD_MAX;

	printf("{\n  \"format\": \"%s\", \"name\": \"%s\", \"phys_bits\": %u, \"root\": %" PRIu64
	       ", \"tables\": %" PRIu64 ", \"unlinked\": %" PRIu64 ",\n  \"leaves\": ",
	       t->format == PAGETABLE_EPT ? "ept" : "npt", t->name, t->phys_bits, t->root.n * FRAME_BYTES, t->reached,
	       t->pages - t->reached);
	print_leaves_json(t->leaves);
	printf(", \"bytes\": %" PRIu64 ", \"huge_1g\": %s,\n  \"runs\": [", t->bytes,
	       t->flags & TABLE_FILE_PHYSICAL_1G   ? "\"physical\""
	       : t->flags & TABLE_FILE_NUMBERED_1G ? "\"numbered\""
						   : "null");
	print_runs(t, true);
	printf("\n  ],\n  \"odd\": %" PRIu64 ", \"first_odd\": [", t->odd);
	for (uint64_t i = 0; i < shown; i++)
		printf("%s\n    {\"level\": %u, \"gpa\": %" PRIu64 ", \"entry\": \"0x%016" PRIx64
		       "\", \"why\": \"%s\"}",
		       i ? "," : "", t->first_odd[i].level + 1, t->first_odd[i].gpa, t->first_odd[i].entry,
		       t->first_odd[i].why);
	printf("\n  ]\n}\n");
}

/* ---- one address ---- */

static void add_mark(const struct table_file *t, const char *name, unsigned flag, bool set, char *text, size_t size)
{
	size_t used = strlen(text);

	snprintf(text + used, size - used, "  %s %s", name, !(t->flags & flag) ? "?" : set ? "1" : "0");
}

/* The bits of an entry that is present, by the manual's names. */
static void say_bits(const struct table_file *t, const struct table_step *s, char *text, size_t size)
{
	const uint64_t e = s->entry;

	if (t->format == PAGETABLE_EPT) {
		snprintf(text, size, "%s%s%s%s", e & 1 ? " R" : "", e & 2 ? " W" : "", e & 4 ? " X" : "",
			 s->kind == TABLE_LEAF && (e & 1u << 6) ? " ignore-PAT" : "");
	} else {
		snprintf(text, size, "%s%s%s%s%s%s", e & 1 ? " P" : "", e & 2 ? " W" : "", e & 4 ? " U" : "",
			 e & 8 ? " PWT" : "", e & 16 ? " PCD" : "", e >> 63 ? " NX" : "");
	}
	add_mark(t, "A", TABLE_FILE_ACCESSED, e >> t->table.marks_shift & PAGETABLE_ACCESSED, text, size);
	if (s->kind == TABLE_LEAF)
		add_mark(t, "D", TABLE_FILE_DIRTY, e >> t->table.marks_shift & PAGETABLE_DIRTY, text, size);
}

static const char *kind_name(enum table_kind kind)
{
	static const char *const names[] = {"absent", "link", "leaf", "odd"};

	return names[kind];
}

static void print_step(const struct table_file *t, const struct table_step *s)
{
	char bits[SAID_BYTES] = "";

	printf("  level %u: table at hpa 0x%" PRIx64 ", entry %u: 0x%016" PRIx64 ": ", s->level + 1,
	       s->page.n * FRAME_BYTES, s->index, s->entry);
	if (s->kind == TABLE_ABSENT) {
		printf("absent\n");
		return;
	}
	say_bits(t, s, bits, sizeof(bits));
	if (s->kind == TABLE_LEAF)
		printf("leaf of %s:%s\n", size_names[s->level], bits);
	else
		printf("%s:%s\n", s->kind == TABLE_ODD ? s->why : "link", bits);
}

static void print_walk(const struct table_file *t, uint64_t gpa)
{
	struct table_step step[PAGETABLE_LEVELS];
	const unsigned steps = table_file_steps(t, gpa, step);
	char rights[RIGHTS_BYTES];
	struct pagetable_leaf leaf;

	printf("gpa 0x%" PRIx64 ", %s, root at hpa 0x%" PRIx64 ":\n", gpa, format_name(t), t->root.n * FRAME_BYTES);
	for (unsigned i = 0; i < steps; i++)
		print_step(t, &step[i]);
	if (!pagetable_walk(&t->table, gpa, &leaf)) {
		printf("gpa 0x%" PRIx64 " is not mapped: %s at level %u\n", gpa, kind_name(step[steps - 1].kind),
		       step[steps - 1].level + 1);
		return;
	}
	rights_text(t, leaf.attr.rights, rights);
	printf("gpa 0x%" PRIx64 " -> hpa 0x%" PRIx64 "  %s  %s\n", gpa, leaf.out + (gpa - leaf.in), rights,
	       memory_name(leaf.attr.memory));
}

static void print_walk_json(const struct table_file *t, uint64_t gpa)
{
	struct table_step step[PAGETABLE_LEVELS];
	const unsigned steps = table_file_steps(t, gpa, step);
	struct pagetable_leaf leaf;

	printf("{\"gpa\": %" PRIu64 ", \"steps\": [", gpa);
	for (unsigned i = 0; i < steps; i++)
		printf("%s{\"level\": %u, \"table\": %" PRIu64 ", \"index\": %u, \"entry\": \"0x%016" PRIx64
		       "\", \"kind\": \"%s\"}",
		       i ? ", " : "", step[i].level + 1, step[i].page.n * FRAME_BYTES, step[i].index, step[i].entry,
		       kind_name(step[i].kind));
	if (pagetable_walk(&t->table, gpa, &leaf))
		printf("], \"hpa\": %" PRIu64 "}\n", leaf.out + (gpa - leaf.in));
	else
		printf("], \"hpa\": null}\n");
}

/* ---- the command ---- */

static void print(struct table_file *t, const struct asked *a)
{
	if (a->walk) {
		(a->json ? print_walk_json : print_walk)(t, a->gpa);
	} else if (a->json) {
		print_json(t);
	} else {
		print_head(t);
		if (a->tables)
			print_table(t, t->root, PAGETABLE_LEVELS - 1, 0);
		else
			print_runs(t, false);
		print_odd(t);
	}
}

/* A reader that has gone has what it wanted. */
static int finish(struct failure *f)
{
	if ((fflush(stdout) != 0 || ferror(stdout)) && errno == EPIPE)
		return 0;
	return cmd_written(f);
}

static int show(const void *bytes, size_t size, const struct asked *a, struct failure *f)
{
	struct failure why = {0};
	struct table_file t;

	if (table_file_open(&t, bytes, size, &why)) {
		fail(f, (enum exit_code)why.code, "%s: %s", a->path, why.text);
	} else {
		print(&t, a);
		finish(f);
	}
	table_file_close(&t);
	return f->code;
}

/* All of it and no more: what is another size by now is another file. */
static int read_whole(int fd, uint8_t *to, size_t size, const char *path, struct failure *f)
{
	uint8_t more;
	ssize_t got;

	for (size_t at = 0; at < size; at += (size_t)got) {
		got = read(fd, to + at, size - at);
		if (got < 0)
			return fail(f, EXIT_HOST, "cannot read the table %s: %s", path, strerror(errno));
		if (got == 0)
			return fail(f, EXIT_HOST, "the table %s was cut short while it was read", path);
	}
	if (read(fd, &more, 1) != 0)
		return fail(f, EXIT_HOST, "the table %s grew while it was read", path);
	return 0;
}

/* A copy: entries are looked at long after they were checked, and whose the file is may write to it. */
static int show_copy(int fd, size_t size, const struct asked *a, struct failure *f)
{
	void *bytes = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (bytes == MAP_FAILED)
		return fail(f, EXIT_HOST, "no memory for the table %s, %zu bytes: %s", a->path, size, strerror(errno));
	if (!read_whole(fd, bytes, size, a->path, f))
		show(bytes, size, a, f);
	munmap(bytes, size);
	return f->code;
}

static int show_open(int fd, const struct asked *a, struct failure *f)
{
	uint64_t magic = 0;
	struct stat stat;
	ssize_t got;

	if (fstat(fd, &stat) != 0 || !S_ISREG(stat.st_mode) || stat.st_size == 0)
		return fail(f, EXIT_IMAGE, "the table %s is not a regular file with something in it", a->path);
	got = pread(fd, &magic, sizeof(magic), 0);
	if (got < 0)
		return fail(f, EXIT_HOST, "cannot read the table %s: %s", a->path, strerror(errno));
	if (le64toh(magic) != TABLE_FILE_MAGIC) /* not read to its end to be refused */
		return show(&magic, (size_t)got, a, f);
	if ((uint64_t)stat.st_size > TABLE_FILE_BYTES_MAX)
		return fail(f, EXIT_IMAGE, "the table %s has %jd bytes; the largest has %" PRIu64, a->path,
			    (intmax_t)stat.st_size, TABLE_FILE_BYTES_MAX);
	return show_copy(fd, (size_t)stat.st_size, a, f);
}

static int show_file(const struct asked *a, struct failure *f)
{
	int fd = open(a->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe is refused, not waited for */

	if (fd < 0)
		return fail(f, EXIT_IMAGE, "cannot open the table %s: %s", a->path, strerror(errno));
	show_open(fd, a, f);
	close(fd);
	return f->code;
}

static int take_gpa(struct asked *a, const char *value, struct failure *f)
{
	if (!value)
		return fail(f, EXIT_USAGE, "--gpa needs a value");
	if (!size_parse(value, &a->gpa))
		return fail(f, EXIT_USAGE, "--gpa %.64s: not an address; write a number, such as 0x100000 or 3G",
			    value);
	if (a->gpa >> PAGETABLE_INPUT_BITS)
		return fail(f, EXIT_USAGE, "--gpa %.64s: a table of 4 levels has 48 bits, up to 0x%" PRIx64, value,
			    (UINT64_C(1) << PAGETABLE_INPUT_BITS) - 1);
	a->walk = true;
	return 0;
}

static int take_word(int argc, char **argv, int *i, struct asked *a, struct failure *f)
{
	const char *word = argv[*i];

	if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)
		a->help = true;
	else if (strcmp(word, "--json") == 0)
		a->json = true;
	else if (strcmp(word, "--tables") == 0)
		a->tables = true;
	else if (strcmp(word, "--gpa") == 0)
		take_gpa(a, *i + 1 < argc ? argv[++*i] : NULL, f);
	else if (strncmp(word, "--gpa=", 6) == 0)
		take_gpa(a, word + 6, f);
	else if (word[0] == '-')
		fail(f, EXIT_USAGE, "unknown option %.64s; slat table --help lists them", word);
	else if (a->path)
		fail(f, EXIT_USAGE, "two tables: %s and %s; one is shown", a->path, word);
	else
		a->path = word;
	return f->code;
}

static bool judge(const struct asked *a, struct failure *f)
{
	if (!a->path) {
		fail(f, EXIT_USAGE, "no table to show: slat table [options] FILE");
		return false;
	}
	if (a->tables && (a->json || a->walk))
		fail(f, EXIT_USAGE, "--tables: not with --json or --gpa");
	return !f->code;
}

int cmd_table(int argc, char **argv)
{
	struct failure f = {0};
	struct asked a = {0};

	for (int i = 0; !a.help && !f.code && i < argc; i++)
		take_word(argc, argv, &i, &a, &f);
	if (a.help && !f.code)
		return cmd_say(help);
	signal(SIGPIPE, SIG_IGN);
	if (f.code || !judge(&a, &f) || show_file(&a, &f))
		return cmd_refuse(&f);
	return EXIT_OK;
}
