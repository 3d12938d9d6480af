/* Traces whose rows are events: every way to write one reads as the same events; every
 * kind of bad line is named, or counted; gzip whole, in pieces, cut and damaged; a
 * random trace in random dress beside what it was made of; the whole of Azure's, where
 * it is, beside a reader of a dozen lines. */
#include "tests/unit/trace_rig.h"

#include <fcntl.h>
#include <sys/resource.h>

#include "tests/unit/expect.h"
#include "tests/unit/random.h"
#include "vmm/pack/lines.h"

Suite *trace_suite(void);

static const struct trace_options strict = {0}, lenient = {.skip_bad = true};

static struct rig_told play(const char *text, size_t size, const struct trace_options *options)
{
	return rig_play(rig_write(0, text, size), TRACE_SLAT, options);
}

static void reads_as(const char *text, size_t size, const char *events)
{
	struct rig_told told = play(text, size, &strict);

	ck_assert_msg(told.f.code == 0, "%s", told.f.text);
	ck_assert_str_eq(told.text, events);
	free(told.text);
}

#define SAME "0+0:1048576:1000 5000000+1:2097152:2000 7000000-0 7000000-1 "

static const char *const ways[] = {
	"time_s,event,vm_id,cpu,mem_mib\n0,arrive,a,1,1\n5,arrive,b,2,2\n7,depart,a,1,1\n7,depart,b,2,2\n",
	"time_s,event,vm_id,cpu,mem_mib\n0,arrive,a,1,1\n5,arrive,b,2,2\n7,depart,a,1,1\n7,depart,b,2,2",
	"\xef\xbb\xbftime_s,event,vm_id,cpu,mem_mib\r\n0,arrive,a,1,1\r\n5,arrive,b,2,2\r\n7,depart,a,1,1\r\n7,depart,"
	"b,,\r\n",
	"mem_mib,cpu,vm_id,event,time_s\n1,1,a,arrive,0\n2,2,b,arrive,5\n1,1,a,depart,7\n2,2,b,depart,7\n",
	"\n\n\"time_s\",\"event\",vm_id,\"cpu\",mem_mib\n0,\"arrive\",a,1,1\n\r\n\n5,arrive,\"b\",2,2\n7,depart,\"a\",,"
	"\n7,depart,b,x,-\n",
	"time_s,event,vm_id,cpu,size_bytes\n0,arrive,1,1,1048576\n5,arrive,0,2,2097152\n7,depart,1,,\n7,depart,0,,\n",
	"time_s,event,vm_id,cpu,mem_gib\n0,arrive,a,1.000,0.0009765625\n5.0,arrive,b,2,0.001953125\n7.000,depart,a,1,"
	"1\n7,depart,b,2,2\n",
	"time_s,event,vm_id,cpu,mem_mib,note,other\n0,arrive,a,1,1,\"x, "
	"\"\"y\"\"\",\n5,arrive,b,2,2,,\n7,depart,a,1,1,,\n7,depart,b,2,2,,\n",
	"time_s,event,vm_id,cpu,mem_mib,node,pinned,movable,life_s\n0,arrive,a,1,1,,,,\n5,arrive,b,2,2,,0,1,\n7,depart,"
	"a,,,,,,\n7,depart,b,,,,,,\n",
};

START_TEST(ways_to_say_the_same)
{
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++)
		reads_as(ways[i], strlen(ways[i]), SAME);
}
END_TEST

#define HEAD "time_s,event,vm_id,cpu,mem_mib\n"
#define FULL "time_s,event,vm_id,cpu,size,node,pinned,movable,life_s\n"

static const struct {
	const char *text, *events;
} columns[] = {
	{FULL "1.5,arrive,a,0.0001,7,3,1,0,2.25\n3.75,depart,a,,,,,,\n", "1500000+0:7:1@3pf~2250000 3750000-0 "},
	{FULL "0,arrive,a,,4611686018427387904,0,0,0,0\n0,depart,a,,,,,,\n", "0+0:4611686018427387904:0@0f~0 0-0 "},
	{FULL "0,arrive,a,4294967.295,1,4294967294,0,1,\n9,depart,a,,,,,,\n", "0+0:1:4294967295@4294967294 9000000-0 "},
	{"time_s,event,vm_id,mem_gib\n0,arrive,a,1.75\n", "0+0:1879048192:0 "},
	{"time_s,event,vm_id,mem_gib\n0.0000019,arrive,a,0.1\n", "1+0:107374183:0 "},
	/* a number is used again by who comes next, a name by anybody */
	{HEAD
	 "0,arrive,a,1,1\n0,arrive,b,1,1\n1,depart,a,1,1\n1,arrive,c,1,1\n1,arrive,a,1,1\n2,depart,c,,\n2,depart,a,,\n"
	 "2,depart,b,,\n2,arrive,d,1,1\n",
	 "0+0:1048576:1000 0+1:1048576:1000 1000000-0 1000000+0:1048576:1000 1000000+2:1048576:1000 2000000-0 "
	 "2000000-2 "
	 "2000000-1 2000000+1:1048576:1000 "},
	{HEAD "4611686018427.387904,arrive,a,1,1\n", "4611686018427387904+0:1048576:1000 "},
};

START_TEST(columns_are_read)
{
	for (size_t i = 0; i < sizeof(columns) / sizeof(columns[0]); i++)
		reads_as(columns[i].text, strlen(columns[i].text), columns[i].events);
}
END_TEST

START_TEST(others_are_passed_over)
{
	struct rig_told told = play(ways[7], strlen(ways[7]), &strict);

	ck_assert_uint_eq(told.stats.columns_ignored, 2);
	ck_assert_str_eq(told.stats.first_ignored.text, "note");
	ck_assert(told.stats.lines == 5 && told.stats.events == 4 && told.stats.arrivals == 2);
	ck_assert(told.stats.live == 0 && told.stats.live_max == 2);
	free(told.text);
}
END_TEST

/* ---- what is bad ---- */

static const struct {
	const char *line; /* behind HEAD, "0,arrive,a,1,1\n" and "5,arrive,b,1,1\n" */
	enum trace_bad kind;
	const char *why;
} bads[] = {
	{"6,arrive,c,1", TRACE_BAD_LINE, "has 4 fields instead of 5"},
	{"6,arrive,c,1,1,1", TRACE_BAD_LINE, "has 6 fields instead of 5"},
	{"6", TRACE_BAD_LINE, "has 1 fields instead of 5"},
	{"6,arrive,\"c,1,1", TRACE_BAD_LINE, "has a quote that does not enclose a field"},
	{"6,arrive,\"c\"d,1,1", TRACE_BAD_LINE, "has a quote that does not enclose a field"},
	{",,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,", TRACE_BAD_LINE, "has more than 64 fields"},
	{"x,arrive,c,1,1", TRACE_BAD_VALUE, "the time is no decimal number"},
	{",arrive,c,1,1", TRACE_BAD_VALUE, "the time is no decimal number"},
	{"-1,arrive,c,1,1", TRACE_BAD_VALUE, "the time is negative"},
	{"4611686018427.387905,arrive,c,1,1", TRACE_BAD_VALUE, "the time is too large"},
	{"99999999999999999999,arrive,c,1,1", TRACE_BAD_VALUE, "the time is too large"},
	{"6,arive,c,1,1", TRACE_BAD_VALUE, "neither arrives nor departs"},
	{"6,,c,1,1", TRACE_BAD_VALUE, "neither arrives nor departs"},
	{"6,arrive,,1,1", TRACE_BAD_VALUE, "the guest has no name"},
	{"6,depart,,1,1", TRACE_BAD_VALUE, "the guest has no name"},
	{"6,arrive,c,one,1", TRACE_BAD_VALUE, "the CPU count is no decimal number"},
	{"6,arrive,c,-1,1", TRACE_BAD_VALUE, "the CPU count is negative"},
	{"6,arrive,c,4294967.2951,1", TRACE_BAD_VALUE, "the CPU count is too large"},
	{"6,arrive,c,1,", TRACE_BAD_VALUE, "the size is no decimal number"},
	{"6,arrive,c,1,1G", TRACE_BAD_VALUE, "the size is no decimal number"},
	{"6,arrive,c,1,0", TRACE_BAD_SIZE, "the size is 0"},
	{"6,arrive,c,1,0.0", TRACE_BAD_SIZE, "the size is 0"},
	{"6,arrive,c,1,-1", TRACE_BAD_SIZE, "the size is negative"},
	{"6,arrive,c,1,4398046511104.1", TRACE_BAD_SIZE, "the size is too large"},
	{"6,arrive,c,1,99999999999999999999", TRACE_BAD_SIZE, "the size is too large"},
	{"4,arrive,c,1,1", TRACE_BAD_TIME, "time goes back"},
	{"4.999999,depart,b,1,1", TRACE_BAD_TIME, "time goes back"},
	{"6,arrive,a,1,1", TRACE_BAD_TWICE, "a guest of that name is there"},
	{"6,depart,c,1,1", TRACE_BAD_UNKNOWN, "no guest of that name is there"},
	{"6,depart,aa,1,1", TRACE_BAD_UNKNOWN, "no guest of that name is there"},
};

/* A good line behind it; strict: the first to be refused; lenient: as if it were not there. */
START_TEST(bad_lines)
{
	static const char before[] = HEAD "0,arrive,a,1,1\n5,arrive,b,1,1\n", after[] = "\n6,depart,a,1,1\n";
	static const char events[] = "0+0:1048576:1000 5000000+1:1048576:1000 6000000-0 ";

	for (size_t i = 0; i < sizeof(bads) / sizeof(bads[0]); i++) {
		struct rig_told told;
		char text[512], sentence[512];
		int n = snprintf(text, sizeof(text), "%s%s%s", before, bads[i].line, after);

		told = play(text, (size_t)n, &strict);
		snprintf(sentence, sizeof(sentence), "%s, line 4: %s: \"%s\"", rig_file(0), bads[i].why,
			 csv_excerpt(bads[i].line, strlen(bads[i].line)).text);
		ck_assert_int_eq(told.f.code, EXIT_IMAGE);
		ck_assert_str_eq(told.f.text, sentence);
		free(told.text);
		told = play(text, (size_t)n, &lenient);
		ck_assert_msg(told.f.code == 0, "%s", told.f.text);
		ck_assert_str_eq(told.text, events);
		for (unsigned kind = 0; kind < TRACE_BADS; kind++)
			ck_assert_msg(told.stats.bad[kind] == (kind == (unsigned)bads[i].kind), "%s: %u", bads[i].line,
				      kind);
		free(told.text);
	}
}
END_TEST

static const struct {
	const char *line, *why;
} odd_columns[] = {
	{"6,arrive,c,1,1,-1,,,", "the node is negative"},
	{"6,arrive,c,1,1,4294967295,,,", "the node is too large"},
	{"6,arrive,c,1,1,,2,,", "pinned is 0 or 1"},
	{"6,arrive,c,1,1,,,yes,", "movable is 0 or 1"},
	{"6,arrive,c,1,1,,,,-2", "the life is negative"},
	{"6,arrive,c,1,1,,,,soon", "the life is no decimal number"},
	{"6,depart,a,1,1,,,,", "departs at another time than life_s said"},
};

START_TEST(bad_columns)
{
	for (size_t i = 0; i < sizeof(odd_columns) / sizeof(odd_columns[0]); i++) {
		struct rig_told told;
		char text[512], sentence[512];
		int n = snprintf(text, sizeof(text), "%s0,arrive,a,,1,,,,7\n%s\n7,depart,a,,,,,,\n", FULL,
				 odd_columns[i].line);

		told = play(text, (size_t)n, &strict);
		snprintf(sentence, sizeof(sentence), "%s, line 3: %s: \"%s\"", rig_file(0), odd_columns[i].why,
			 odd_columns[i].line);
		ck_assert_str_eq(told.f.text, sentence);
		free(told.text);
		told = play(text, (size_t)n, &lenient);
		ck_assert_str_eq(told.text, "0+0:1:0~7000000 7000000-0 ");
		free(told.text);
	}
}
END_TEST

/* Who was skipped departs unknown. */
START_TEST(skipped_departs_unknown)
{
	static const char text[] = HEAD "0,arrive,a,1,0\n1,arrive,b,1,1\n2,depart,a,1,0\n3,depart,b,1,1\n";
	struct rig_told told = play(text, sizeof(text) - 1, &lenient);

	ck_assert_str_eq(told.text, "1000000+0:1048576:1000 3000000-0 ");
	ck_assert(told.stats.bad[TRACE_BAD_SIZE] == 1 && told.stats.bad[TRACE_BAD_UNKNOWN] == 1);
	free(told.text);
}
END_TEST

static const struct {
	const char *text, *sentence; /* behind the path */
} heads[] = {
	{"", " is empty: a trace begins with a header, such as time_s,event,vm_id,cpu,mem_mib"},
	{"\n\r\n", " is empty: a trace begins with a header, such as time_s,event,vm_id,cpu,mem_mib"},
	{"\xef\xbb\xbf", " is empty: a trace begins with a header, such as time_s,event,vm_id,cpu,mem_mib"},
	{"time_s,event,vm_id,cpu\n", ": the header has no column for the size; a header is such as "},
	{"0,arrive,a,1,1\n", ": the header has no column for the time; a header is such as "},
	{"time_s,vm_id,mem_mib\n", ": the header has no column for the event; "},
	{"time_s,event,mem_mib\n", ": the header has no column for the guest's name; "},
	{"time_s,event,vm_id,mem_mib,mem_gib\n", ": the header has, once more, a column for the size; "},
	{"time_s,event,vm_id,mem_mib,vm_id\n", ": the header has, once more, a column for the guest's name; "},
	{"Time_s,event,vm_id,mem_mib\n", ": the header has no column for the time; "},
	{"\"time_s,event\n", ", line 1: has a quote that does not enclose a field: \"\\\"time_s,event\""},
	{HEAD, " has no event"},
	{HEAD "\n\n\n", " has no event"},
};

/* A bad header is no line to skip. */
START_TEST(bad_headers)
{
	for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++)
		for (int skip = 0; skip < 2; skip++) {
			struct rig_told told = play(heads[i].text, strlen(heads[i].text), skip ? &lenient : &strict);
			const size_t path = strlen(rig_file(0));

			ck_assert_int_eq(told.f.code, EXIT_IMAGE);
			ck_assert_msg(strncmp(told.f.text + path, heads[i].sentence, strlen(heads[i].sentence)) == 0,
				      "%s", told.f.text);
			ck_assert_str_eq(told.text, "");
			free(told.text);
		}
}
END_TEST

START_TEST(all_is_skipped)
{
	static const char text[] = HEAD "x\ny\n";
	struct rig_told told = play(text, sizeof(text) - 1, &lenient);

	ck_assert_msg(strstr(told.f.text, " has no event") && told.stats.bad[TRACE_BAD_LINE] == 2, "%s", told.f.text);
	free(told.text);
}
END_TEST

START_TEST(content_is_escaped_and_cut)
{
	static const char text[] = HEAD "1,\x1b[2J\0\xff\\\"\t,a";
	struct rig_told told = play(text, sizeof(text) - 1, &strict);
	char *wide = malloc(40000);

	ck_assert_msg(strstr(told.f.text, ": \"1,\\x1b[2J\\x00\\xff\\\\\\\"\\x09,a\""), "%s", told.f.text);
	free(told.text);
	memcpy(wide, HEAD, sizeof(HEAD));
	memset(wide + sizeof(HEAD) - 1, 1, 30000);
	told = play(wide, sizeof(HEAD) - 1 + 30000, &strict);
	ck_assert_uint_lt(strlen(told.f.text), 250);
	ck_assert_msg(strstr(told.f.text, "\\x01...\""), "%s", told.f.text);
	free(told.text);
	free(wide);
}
END_TEST

/* A name as long as a line may be, and a byte more; the next line is read in any case. */
START_TEST(long_lines)
{
	static const char end[] = ",1,1\n1,arrive,b,1,1\n";
	const size_t room = 8u << 20;
	char *text = malloc(room);

	for (size_t length = LINES_MAX - 2; length < 6u << 20;
	     length = length < LINES_MAX + 8 ? length + 1 : length * 3) {
		const size_t name = length - strlen("0,arrive,") - strlen(",1,1");
		struct rig_told told;
		size_t at = (size_t)snprintf(text, room, HEAD "0,arrive,");

		memset(text + at, 'n', name);
		memcpy(text + at + name, end, sizeof(end));
		told = play(text, at + name + sizeof(end) - 1, &lenient);
		ck_assert_int_eq(told.f.code, 0);
		ck_assert_uint_eq(told.stats.bad[TRACE_BAD_LINE], length > LINES_MAX);
		ck_assert_uint_eq(told.stats.lines, 3);
		ck_assert_str_eq(told.text, length > LINES_MAX ? "1000000+0:1048576:1000 "
							       : "0+0:1048576:1000 1000000+1:1048576:1000 ");
		free(told.text);
		told = play(text, at + name, &strict); /* the file ends in it */
		ck_assert_int_eq(told.f.code, EXIT_IMAGE);
		ck_assert(length < LINES_MAX + 20 ||
			  strstr(told.f.text, "line 2: is longer than 65536 bytes: \"0,arrive,nnn"));
		free(told.text);
	}
	free(text);
}
END_TEST

/* ---- gzip ---- */

static const char sample[] = HEAD "0,arrive,a,1,1\n5,arrive,b,2,2\n7,depart,a,1,1\n7,depart,b,2,2\n";

START_TEST(gzip_in_members)
{
	char packed[2 * sizeof(sample) + 4096];

	for (size_t cut = 0; cut <= sizeof(sample) - 1; cut++) {
		size_t size = rig_gzip(sample, cut, packed);

		size += rig_gzip(sample + cut, sizeof(sample) - 1 - cut, packed + size);
		reads_as(packed, size, SAME);
	}
}
END_TEST

START_TEST(gzip_cut_short)
{
	char packed[sizeof(sample) + 1024];
	const size_t size = rig_gzip(sample, sizeof(sample) - 1, packed);

	for (size_t cut = 2; cut < size; cut++)
		for (int skip = 0; skip < 2; skip++) {
			struct rig_told told = play(packed, cut, skip ? &lenient : &strict);

			ck_assert_int_eq(told.f.code, EXIT_IMAGE);
			ck_assert_msg(
				strstr(told.f.text, "the gzip stream is cut short: the rest of the trace is missing"),
				"%s", told.f.text);
			free(told.text);
		}
}
END_TEST

/* A byte changed: refused, or one that says nothing (the header's time, or system). */
START_TEST(gzip_damaged)
{
	char packed[sizeof(sample) + 1024];
	const size_t size = rig_gzip(sample, sizeof(sample) - 1, packed);
	unsigned same = 0;

	for (size_t i = 2; i < size; i++) {
		struct rig_told told;

		packed[i] ^= 0x55;
		told = play(packed, size, &strict);
		ck_assert(told.f.code == EXIT_IMAGE || (told.f.code == 0 && strcmp(told.text, SAME) == 0));
		same += told.f.code == 0;
		free(told.text);
		packed[i] ^= 0x55;
	}
	ck_assert_uint_le(same, 6);
}
END_TEST

START_TEST(gzip_and_what_is_behind)
{
	char packed[sizeof(sample) + 2048];
	const size_t size = rig_gzip(sample, sizeof(sample) - 1, packed);

	for (size_t more = 1; more < 1000; more = more * 2 + 1) {
		struct rig_told told;

		memset(packed + size, more == 3 ? 0x1f : 0, more);
		told = play(packed, size + more, &strict);
		ck_assert_str_eq(told.text, SAME);
		ck_assert_msg(strstr(told.f.text, "behind the gzip stream lie bytes that are none"), "%s", told.f.text);
		free(told.text);
		told = play(packed, size + more, &lenient);
		ck_assert_str_eq(told.text, SAME);
		ck_assert(told.f.code == 0 && told.stats.bad[TRACE_BAD_TRAILING] == 1);
		free(told.text);
	}
}
END_TEST

/* ---- where it comes from ---- */

START_TEST(standard_input)
{
	int ends[2];
	struct rig_told told;

	ck_assert_int_eq(pipe(ends), 0);
	ck_assert_int_eq(write(ends[1], sample, sizeof(sample) - 1), (ssize_t)sizeof(sample) - 1);
	close(ends[1]);
	ck_assert_int_eq(dup2(ends[0], STDIN_FILENO), STDIN_FILENO);
	told = rig_play("-", TRACE_SLAT, &strict);
	ck_assert_str_eq(told.text, SAME);
	free(told.text);
	told = rig_play("-", TRACE_SLAT, &strict);
	ck_assert_msg(strstr(told.f.text, "standard input is empty"), "%s", told.f.text);
	free(told.text);
}
END_TEST

START_TEST(no_file)
{
	struct rig_told told = rig_play("/nonexistent/trace", TRACE_SLAT, &strict);

	ck_assert(told.f.code == EXIT_HOST);
	ck_assert_str_eq(told.f.text, "cannot open the trace /nonexistent/trace: No such file or directory");
	free(told.text);
	told = rig_play(rig_dir, TRACE_SLAT, &strict);
	ck_assert(told.f.code == EXIT_HOST && strstr(told.f.text, ": Is a directory"));
	free(told.text);
	trace_close(NULL);
}
END_TEST

START_TEST(no_library)
{
	struct failure f = {0}, g = {0};
	struct libsqlite s;
	struct libz z;

	ck_assert_int_eq(libz_open(&z, "libnone.so.9", &f), EXIT_HOST);
	ck_assert_str_eq(f.text, "gzip needs libnone.so.9, which cannot be used: install zlib1g");
	ck_assert_int_eq(libsqlite_open(&s, LIBZ_SONAME, &g), EXIT_HOST); /* a library, another one */
	ck_assert(z.library == NULL && s.library == NULL);
}
END_TEST

/* Each allocation refused in turn: a sentence, and nothing leaks (ASan). */
START_TEST(no_memory)
{
	char text[8192], packed[16384];
	size_t at = (size_t)snprintf(text, sizeof(text), HEAD), size;
	unsigned refused = 0;

	for (int i = 0; i < 200; i++)
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%d,arrive,a-name-as-long-%d,1,1\n", i, i);
	size = rig_gzip(text, at, packed);
	rig_write(0, packed, size);
	for (uint64_t n = 1;; n++) {
		struct trace_options options = {.fail_after = n};
		struct rig_told told = rig_play(rig_file(0), TRACE_SLAT, &options);
		const int code = told.f.code;

		ck_assert(code == 0 || (code == EXIT_HOST && strncmp(told.f.text, "no memory to ", 13) == 0));
		free(told.text);
		if (!code)
			break;
		refused++;
	}
	ck_assert_uint_gt(refused, 200);
}
END_TEST

/* ---- random ones ---- */

#define COUNT 2000

struct dress { /* how a trace is written down */
	unsigned order[9], columns, quotes, crlf, unit;
};

static const char *const size_names[] = {"mem_mib", "mem_gib", "size_bytes", "size"};

static void put_field(FILE *to, const struct dress *d, bool last, const char *text)
{
	const bool quote = strpbrk(text, ",\"") || below(100) < d->quotes;

	if (quote)
		fputc('"', to);
	for (; *text; text++)
		fprintf(to, *text == '"' ? "\"\"" : "%c", *text);
	if (quote)
		fputc('"', to);
	fputs(!last ? "," : d->crlf ? "\r\n" : "\n", to);
}

static void put_line(FILE *to, const struct dress *d, char fields[9][96])
{
	for (unsigned i = 0; i < d->columns; i++)
		put_field(to, d, i + 1 == d->columns, fields[d->order[i]]);
}

static struct dress random_dress(void)
{
	struct dress d = {.columns = 9,
			  .quotes = (unsigned)below(3) * 30,
			  .crlf = (unsigned)below(2),
			  .unit = (unsigned)below(4)};

	for (unsigned i = 0; i < 9; i++)
		d.order[i] = i;
	for (unsigned i = 8; i > 0; i--) {
		const unsigned j = (unsigned)below(i + 1), other = d.order[i];

		d.order[i] = d.order[j];
		d.order[j] = other;
	}
	return d;
}

static void name_guest(unsigned i, char *to)
{
	static const char *const forms[] = {"%u", "vm-%u", "a \"quoted\", %u", "a-very-long-name-of-a-guest-%u",
					    "\t%u "};

	snprintf(to, 96, forms[i % 5], i);
}

static void fill_arrival(const struct dress *d, struct event *e, char fields[9][96])
{
	static const uint64_t scales[] = {1u << 20, 1u << 30, 1, 1};
	const uint64_t quarters = 1 + below(1000);

	e->size = d->unit < 2 ? quarters * scales[d->unit] / 4 : quarters;
	e->cpu_millis = (uint32_t)below(5) * 250;
	e->node = below(2) ? EVENT_NODE_ANY : (uint32_t)below(4);
	e->pinned = below(2);
	e->movable = below(2);
	snprintf(fields[3], 96, "%u.%03u", e->cpu_millis / 1000, e->cpu_millis % 1000);
	if (d->unit < 2)
		snprintf(fields[4], 96, "%" PRIu64 ".%02u", quarters / 4, (unsigned)(quarters % 4) * 25);
	else
		snprintf(fields[4], 96, "%" PRIu64, quarters);
	if (e->node != EVENT_NODE_ANY)
		snprintf(fields[5], 96, "%u", e->node);
	snprintf(fields[6], 96, "%s", e->pinned ? "1" : below(2) ? "0" : "");
	snprintf(fields[7], 96, "%s", !e->movable ? "0" : below(2) ? "1" : "");
}

/* Writes a trace, and tells what it is. */
static char *random_trace(FILE *to)
{
	static const char *const names[] = {"time_s", "event",	"vm_id",   "cpu", NULL,
					    "node",   "pinned", "movable", "note"};
	const struct dress d = random_dress();
	struct event live[64];
	uint32_t given_up[64], unused = 0, count = 0, next = 0;
	char fields[9][96], *told;
	unsigned name[64], names_used = 0;
	uint64_t now = 0;
	size_t size;
	FILE *tell = open_memstream(&told, &size);

	for (unsigned i = 0; i < 9; i++)
		snprintf(fields[i], 96, "%s", names[i] ? names[i] : size_names[d.unit]);
	put_line(to, &d, fields);
	for (int i = 0; i < COUNT; i++) {
		struct event e = {.life_us = EVENT_LIFE_UNKNOWN, .node = EVENT_NODE_ANY};
		const unsigned who = count ? (unsigned)below(count) : 0;

		memset(fields, 0, sizeof(fields));
		now += below(3) * below(3000000);
		e.time_us = now;
		snprintf(fields[0], 96, below(2) ? "%" PRIu64 ".%06" PRIu64 : "%" PRIu64 ".%06" PRIu64 "9",
			 now / 1000000, now % 1000000);
		snprintf(fields[8], 96, "%s", below(3) ? "" : "a, \"note\"");
		if (count < 64 && (count == 0 || below(2))) {
			e.guest = unused ? given_up[--unused] : next++;
			name[count] = names_used++;
			name_guest(name[count], fields[2]);
			fill_arrival(&d, &e, fields);
			live[count++] = e;
		} else {
			e.kind = EVENT_DEPART;
			e.guest = given_up[unused++] = live[who].guest;
			name_guest(name[who], fields[2]);
			live[who] = live[--count];
			name[who] = name[count];
		}
		snprintf(fields[1], 96, "%s", e.kind == EVENT_ARRIVE ? "arrive" : "depart");
		put_line(to, &d, fields);
		rig_tell(tell, &e);
	}
	fclose(tell);
	return told;
}

START_TEST(random_traces)
{
	seed(3);
	for (int i = 0; i < 60; i++) {
		char *text, *expected, *packed;
		size_t size;
		FILE *to = open_memstream(&text, &size);

		expected = random_trace(to);
		fclose(to);
		packed = malloc(size + 1024);
		reads_as(text, size, expected);
		reads_as(packed, rig_gzip(text, size, packed), expected);
		free(packed);
		free(text);
		free(expected);
	}
}
END_TEST

/* Any bytes in it: no crash, and lenient ends well, unless nothing is left. */
START_TEST(random_damage)
{
	seed(4);
	for (int i = 0; i < 300; i++) {
		char *text, *expected;
		size_t size;
		FILE *to = open_memstream(&text, &size);
		struct rig_told told;

		expected = random_trace(to);
		fclose(to);
		ck_assert_uint_gt(size, 3000);
		size = 3000;
		for (int k = 0; k < 30; k++)
			text[100 + below(2900)] = below(2) ? (char)below(256) : ",\"\n\r-.0"[below(7)];
		told = play(text, size, &lenient);
		ck_assert_msg(told.f.code == 0 || told.stats.events == 0, "%s", told.f.text);
		free(told.text);
		free(text);
		free(expected);
	}
}
END_TEST

/* ---- Azure's ---- */

/* "time,kind,id,cpu,mib": what it says, without a line of ours. Who has which number is
 * found by walking through all. */
static uint64_t naive_sum(const char *text, uint64_t *events)
{
	uint64_t sum = 0, time, id, cpu, mib;
	char kind[8], line[128];

	text = strchr(text, '\n') + 1;
	for (*events = 0; *text; ++*events) {
		const size_t length = strcspn(text, "\n");

		EXPECT(length < sizeof(line));
		memcpy(line, text, length);
		line[length] = '\0';
		EXPECT(sscanf(line, "%" SCNu64 ",%6[a-z],%" SCNu64 ",%" SCNu64 ",%" SCNu64, &time, kind, &id, &cpu,
			      &mib) == 5);
		sum = sum * 31 + time * 1000000;
		sum = sum * 31 + (strcmp(kind, "arrive") == 0 ? (mib << 20) * 7 + cpu * 1000 : 1);
		text += length + (text[length] == '\n');
	}
	return sum;
}

static uint64_t our_sum(const char *path, struct trace_stats *stats, uint64_t *doubles)
{
	struct failure f = {0};
	struct trace *t = trace_open(path, TRACE_SLAT, &strict, &f);
	static bool there[1 << 20];
	struct event e;
	uint64_t sum = 0;

	ck_assert_msg(t != NULL, "%s", f.text);
	memset(there, 0, sizeof(there));
	while (trace_next(t, &e, &f) == EVENT_ONE) {
		*doubles += e.guest >= 1 << 20 || there[e.guest] != (e.kind == EVENT_DEPART);
		there[e.guest] = e.kind == EVENT_ARRIVE;
		sum = sum * 31 + e.time_us;
		sum = sum * 31 + (e.kind == EVENT_ARRIVE ? e.size * 7 + e.cpu_millis : 1);
	}
	ck_assert_msg(f.code == 0, "%s", f.text);
	*stats = trace_stats_read(t);
	trace_close(t);
	return sum;
}

START_TEST(azure_shortened)
{
	uint64_t events, doubles = 0;
	struct trace_stats stats;
	size_t size;
	char *text = rig_read("tests/packing/azure_v1_dev.csv", &size);

	ck_assert_msg(text != NULL, "run it from the top of the tree");
	ck_assert(our_sum("tests/packing/azure_v1_dev.csv", &stats, &doubles) == naive_sum(text, &events));
	ck_assert(stats.events == events && doubles == 0 && events > 500);
	free(text);
}
END_TEST

static const char *whole(void)
{
	static char path[512];
	const char *folder = getenv("SLAT_DATA");

	snprintf(path, sizeof(path), "%s/azure_v1_dev.csv.gz", folder ? folder : "../shared/data");
	return access(path, R_OK) == 0 ? path : NULL;
}

START_TEST(azure_whole)
{
	const char *path = whole();
	struct rusage before, after;
	struct trace_stats stats;
	uint64_t events, doubles = 0, sum;
	char command[800], *text;
	size_t size;

	if (!path) {
		puts("SKIP all/azure_whole: azure_v1_dev.csv.gz is not there (SLAT_DATA names its folder)");
		return;
	}
	getrusage(RUSAGE_SELF, &before);
	sum = our_sum(path, &stats, &doubles);
	getrusage(RUSAGE_SELF, &after);
	ck_assert(stats.events == 504001 && stats.arrivals == 259159 && doubles == 0);
#ifndef __SANITIZE_THREAD__					    /* has four bytes of its own for each of ours */
	ck_assert_int_lt(after.ru_maxrss - before.ru_maxrss, 8192); /* KiB: by its 20,154 live guests */
#endif
	snprintf(command, sizeof(command), "gzip -dc '%s' > '%s'", path, rig_file(1));
	ck_assert_int_eq(system(command), 0); /* NOLINT(*-command-processor) */
	text = rig_read(rig_file(1), &size);
	ck_assert_uint_eq(sum, naive_sum(text, &events));
	ck_assert_uint_eq(events, stats.events);
	doubles = 0;
	ck_assert(our_sum(rig_file(1), &stats, &doubles) == sum && doubles == 0);
	free(text);
}
END_TEST

START_TEST(names)
{
	enum trace_format format;

	for (unsigned i = 0; i < TRACE_FORMATS; i++) {
		ck_assert(trace_format_parse(trace_format_name((enum trace_format)i), &format));
		ck_assert_uint_eq(format, i);
	}
	ck_assert(!trace_format_parse("csv", &format));
	for (unsigned i = 0; i < TRACE_BADS; i++)
		ck_assert(trace_bad_name((enum trace_bad)i)[0]);
}
END_TEST

Suite *trace_suite(void)
{
	Suite *suite = suite_create("trace");
	TCase *all = tcase_create("all");

	tcase_set_timeout(all, 60);
	tcase_add_checked_fixture(all, rig_setup, rig_teardown);
	tcase_add_test(all, ways_to_say_the_same);
	tcase_add_test(all, columns_are_read);
	tcase_add_test(all, others_are_passed_over);
	tcase_add_test(all, bad_lines);
	tcase_add_test(all, bad_columns);
	tcase_add_test(all, skipped_departs_unknown);
	tcase_add_test(all, bad_headers);
	tcase_add_test(all, all_is_skipped);
	tcase_add_test(all, content_is_escaped_and_cut);
	tcase_add_test(all, long_lines);
	tcase_add_test(all, gzip_in_members);
	tcase_add_test(all, gzip_cut_short);
	tcase_add_test(all, gzip_damaged);
	tcase_add_test(all, gzip_and_what_is_behind);
	tcase_add_test(all, standard_input);
	tcase_add_test(all, no_file);
	tcase_add_test(all, no_library);
	tcase_add_test(all, no_memory);
	tcase_add_test(all, random_traces);
	tcase_add_test(all, random_damage);
	tcase_add_test(all, azure_shortened);
	tcase_add_test(all, azure_whole);
	tcase_add_test(all, names);
	suite_add_tcase(suite, all);
	return suite;
}
