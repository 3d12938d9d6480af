/* Traces whose rows are lives, and Huawei's: what the published schemas hold, bad rows,
 * ties; random rows beside a sort of all events; SQLite files that are others, cut or
 * none; shares of a machine, exactly. */
#include "tests/unit/trace_rig.h"

#include <signal.h>
#include <sys/resource.h>

#include "tests/unit/expect.h"
#include "tests/unit/random.h"
#include "vmm/pack/lifetimes.h"

Suite *trace_lives_suite(void);

#define GIB UINT64_C(1073741824)

static const struct trace_options strict = {.machine = TRACE_MACHINE_ANY}, lenient = {.skip_bad = true};

static struct trace_options machine(uint64_t bytes, uint32_t cpus)
{
	return (struct trace_options){.machine_bytes = bytes, .machine_cpus = cpus, .machine = TRACE_MACHINE_ANY};
}

static void file_reads_as(const char *path, enum trace_format format, const struct trace_options *options,
			  const char *events)
{
	struct rig_told told = rig_play(path, format, options);

	ck_assert_msg(told.f.code == 0, "%s", told.f.text);
	ck_assert_str_eq(told.text, events);
	free(told.text);
}

static struct rig_told play(const char *text, enum trace_format format, const struct trace_options *options)
{
	return rig_play(rig_write(0, text, strlen(text)), format, options);
}

/* ---- the formats ---- */

START_TEST(azure_v1)
{
	file_reads_as("tests/packing/azure_v1_vmtable.csv", TRACE_AZURE_V1, &strict,
		      "0+0:34359738368:4000~2591700000000 0+1:805306368:1000~300000000 300000000-1 "
		      "300000000+1:1879048192:1000~558000000000 300000000+2:3758096384:2000~0 "
		      "300000000+3:120259084288:16000~600000000 300000000-2 900000000-3 558300000000-1 "
		      "558300000000+1:34359738368:4000~1115400000000 1673700000000-1 2591700000000-0 ");
}
END_TEST

START_TEST(huawei)
{
	file_reads_as("tests/packing/huawei_east_1.csv", TRACE_HUAWEI_EAST_1, &strict,
		      "0+0:17179869184:4000 2000000+1:17179869184:8000 2000000+2:34359738368:16000 55000000-0 "
		      "55000000+0:1073741824:1000 83500000-1 ");
}
END_TEST

START_TEST(minimalloc)
{
	file_reads_as("tests/packing/minimalloc.csv", TRACE_MINIMALLOC, &strict,
		      "0+0:4:0~3000000 0+1:4:0~21000000 0+2:6:0~9000000 3000000-0 3000000+0:5:0~6000000 9000000-2 "
		      "9000000-0 9000000+0:7:0~12000000 9000000+2:8:0~0 9000000-2 21000000-1 21000000-0 ");
}
END_TEST

/* vmtable.csv has no header; a copy that was given one is read as well. */
START_TEST(azure_v1_with_a_header)
{
	static const char rows[] = "a,s,d,5,7,1,1,1,x,2,1.75\n";
	static const char head[] = "vmid,subscriptionid,deploymentid,vmcreated,vmdeleted,maxcpu,avgcpu,p95maxcpu,"
				   "vmcategory,vmcorecount,vmmemory\n";
	char text[sizeof(rows) + sizeof(head)];

	snprintf(text, sizeof(text), "%s%s", head, rows);
	for (int i = 0; i < 2; i++) {
		struct rig_told told = play(i ? text : rows, TRACE_AZURE_V1, &strict);

		ck_assert_str_eq(told.text, "5000000+0:1879048192:2000~2000000 7000000-0 ");
		free(told.text);
	}
}
END_TEST

/* ---- bad rows ---- */

static const struct {
	const char *row; /* behind a header, and "a,1,5,7" */
	enum trace_bad kind;
	const char *why;
} bads[] = {
	{"b,2,3", TRACE_BAD_LINE, "has 3 fields instead of 4"},
	{"b,x,3,7", TRACE_BAD_VALUE, "the start is no decimal number"},
	{"b,-2,3,7", TRACE_BAD_VALUE, "the start is negative"},
	{"b,2,,7", TRACE_BAD_VALUE, "the end is no decimal number"},
	{"b,2,99999999999999,7", TRACE_BAD_VALUE, "the end is too large"},
	{",2,3,7", TRACE_BAD_VALUE, "the guest has no name"},
	{"b,3,2,7", TRACE_BAD_TIME, "ends before it starts"},
	{"b,2,3,0", TRACE_BAD_SIZE, "the size is 0"},
	{"b,2,3,-7", TRACE_BAD_SIZE, "the size is negative"},
};

START_TEST(bad_rows)
{
	for (size_t i = 0; i < sizeof(bads) / sizeof(bads[0]); i++) {
		char text[256], sentence[256];
		struct rig_told told;

		snprintf(text, sizeof(text), "id,lower,upper,size\na,1,5,7\n%s\nc,2,9,8\n", bads[i].row);
		told = play(text, TRACE_MINIMALLOC, &strict);
		snprintf(sentence, sizeof(sentence), "%s, line 3: %s: \"%s\"", rig_file(0), bads[i].why, bads[i].row);
		ck_assert_int_eq(told.f.code, EXIT_IMAGE);
		ck_assert_str_eq(told.f.text, sentence);
		free(told.text);
		told = play(text, TRACE_MINIMALLOC, &lenient);
		ck_assert_str_eq(told.text, "1000000+0:7:0~4000000 2000000+1:8:0~7000000 5000000-0 9000000-1 ");
		ck_assert_uint_eq(told.stats.bad[bads[i].kind], 1);
		free(told.text);
	}
}
END_TEST

/* Lives of one name must not meet; a life that ends where the next begins has ended. */
START_TEST(twice)
{
	static const char text[] = "id,lower,upper,size\nb,7,9,1\na,0,5,7\na,5,9,8\na,6,7,9\n";
	struct rig_told told = play(text, TRACE_MINIMALLOC, &strict);

	ck_assert_str_eq(told.text, "0+0:7:0~5000000 5000000-0 5000000+0:8:0~4000000 ");
	ck_assert_msg(strstr(told.f.text, ", line 5: a guest of that name is there: \"a\""), "%s", told.f.text);
	free(told.text);
	told = play(text, TRACE_MINIMALLOC, &lenient);
	ck_assert_str_eq(told.text, "0+0:7:0~5000000 5000000-0 5000000+0:8:0~4000000 7000000+1:1:0~2000000 9000000-0 "
				    "9000000-1 ");
	ck_assert_uint_eq(told.stats.bad[TRACE_BAD_TWICE], 1);
	free(told.text);
}
END_TEST

START_TEST(nothing_there)
{
	struct rig_told told = play("", TRACE_AZURE_V1, &strict);

	ck_assert(told.f.code == EXIT_IMAGE && strstr(told.f.text, " has no event"));
	free(told.text);
	told = play("id,lower,upper,size\n", TRACE_MINIMALLOC, &strict);
	ck_assert(told.f.code == EXIT_IMAGE && strstr(told.f.text, " has no event"));
	free(told.text);
	told = play("buffer,start,end,size\n0,0,1,1\n", TRACE_MINIMALLOC, &strict);
	ck_assert_msg(strstr(told.f.text, "no column for the guest's name; a header is such as id,lower,upper,size"),
		      "%s", told.f.text);
	free(told.text);
	told = play("vmid,cpu,memory,time\n", TRACE_HUAWEI_EAST_1, &strict);
	ck_assert_msg(strstr(told.f.text, "no column for the event; a header is such as vmid,cpu,memory,time,type"),
		      "%s", told.f.text);
	free(told.text);
	told = play("vmid,cpu,memory,time,type\n1,1,1,0,2\n", TRACE_HUAWEI_EAST_1, &strict);
	ck_assert_msg(strstr(told.f.text, "neither arrives nor departs: \"1,1,1,0,2\""), "%s", told.f.text);
	free(told.text);
}
END_TEST

/* ---- random rows beside a sort of all events ---- */

#define ROWS 200

struct naive {
	uint64_t time;
	unsigned class; /* 0: departs, who lived; 1: arrives; 2: departs, who did not */
	unsigned number, row;
};

static int by_start(const void *a, const void *b)
{
	const struct naive *x = a, *y = b;

	return x->time != y->time ? (x->time < y->time ? -1 : 1) : (int)x->row - (int)y->row;
}

static int by_order(const void *a, const void *b)
{
	const struct naive *x = a, *y = b;

	if (x->time != y->time)
		return x->time < y->time ? -1 : 1;
	return x->class != y->class ? (int)x->class - (int)y->class : (int)x->number - (int)y->number;
}

/* What the rows are as events, numbers given out as live_table.h says. */
static char *naive_events(const uint64_t start[ROWS], const uint64_t end[ROWS], unsigned rows)
{
	struct naive arrival[ROWS], all[2 * ROWS];
	uint32_t guest[ROWS], given_up[ROWS], unused = 0, next = 0;
	char *text;
	size_t size;
	FILE *to = open_memstream(&text, &size);

	for (unsigned i = 0; i < rows; i++)
		arrival[i] = (struct naive){start[i], 1, 0, i};
	qsort(arrival, rows, sizeof(*arrival), by_start);
	for (unsigned i = 0; i < rows; i++) {
		const unsigned row = arrival[i].row;

		all[2 * i] = (struct naive){start[row], 1, i, row};
		all[2 * i + 1] = (struct naive){end[row], start[row] == end[row] ? 2 : 0, i, row};
	}
	qsort(all, 2 * (size_t)rows, sizeof(*all), by_order);
	for (unsigned i = 0; i < 2 * rows; i++) {
		struct event e = {.time_us = all[i].time * 1000000,
				  .size = all[i].row + 1,
				  .node = EVENT_NODE_ANY,
				  .movable = true};
		const unsigned row = all[i].row;

		if (all[i].class == 1) {
			guest[row] = unused ? given_up[--unused] : next++;
			e.life_us = (end[row] - start[row]) * 1000000;
		} else {
			e.kind = EVENT_DEPART;
			given_up[unused++] = guest[row];
		}
		e.guest = guest[row];
		rig_tell(to, &e);
	}
	fclose(to);
	return text;
}

START_TEST(random_rows)
{
	seed(1);
	for (int i = 0; i < 60; i++) {
		const unsigned rows = 1 + (unsigned)below(ROWS), range = 1 + (unsigned)below(60);
		uint64_t start[ROWS], end[ROWS];
		char *text, *expected;
		struct rig_told told;
		size_t size;
		FILE *to = open_memstream(&text, &size);

		fprintf(to, "size,upper,id,lower\n");
		for (unsigned k = 0; k < rows; k++) {
			start[k] = below(range);
			end[k] = start[k] + below(4) * below(10);
			fprintf(to, "%u,%" PRIu64 ",b%u,%" PRIu64 "\n", k + 1, end[k], k, start[k]);
		}
		fclose(to);
		told = play(text, TRACE_MINIMALLOC, &strict);
		expected = naive_events(start, end, rows);
		ck_assert_str_eq(told.text, expected);
		free(told.text);
		free(text);
		free(expected);
	}
}
END_TEST

START_TEST(heap_is_checked)
{
	struct lifetimes_departure heap[] = {{5, 0, 0}, {7, 1, 1}, {7, 2, 2}};
	struct lifetimes l = {.heap = heap, .count = 3, .room = 3, .arrivals = 3, .now_us = 5};

	ck_assert(lifetimes_check(&l));
	heap[1].end_us = 4;
	ck_assert(!lifetimes_check(&l));
	heap[1].end_us = 7;
	heap[2] = (struct lifetimes_departure){5, 0, 0};
	heap[0].number = 1;
	ck_assert(!lifetimes_check(&l));
	heap[0].number = 0;
	heap[2].number = 3;
	ck_assert(!lifetimes_check(&l));
	heap[2].number = 2;
	ck_assert(lifetimes_check(&l));
	l.now_us = 6;
	ck_assert(!lifetimes_check(&l));
	l.now_us = 5;
	l.room = 2;
	ck_assert(!lifetimes_check(&l));
	l.room = 3;
	l.arrivals_before_now = 4;
	ck_assert(!lifetimes_check(&l));
}
END_TEST

/* ---- SQLite ---- */

/* Makes the database of these statements. */
static const char *make_db(const char *sql)
{
	struct failure f = {0};
	struct libsqlite s;
	sqlite3 *db;

	ck_assert_int_eq(libsqlite_open(&s, LIBSQLITE_SONAME, &f), 0);
	unlink(rig_file(1));
	ck_assert_int_eq(s.open_v2(rig_file(1), &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL), SQLITE_OK);
	s.exec(db, "PRAGMA synchronous = OFF", NULL, NULL, NULL);
	ck_assert_msg(s.exec(db, sql, NULL, NULL, NULL) == SQLITE_OK, "%s", s.errmsg(db));
	s.close_v2(db);
	libsqlite_close(&s);
	return rig_file(1);
}

static const char *make_sample(void)
{
	size_t size;
	char *sql = rig_read("tests/packing/azure_packing_2020.sql", &size);

	ck_assert_ptr_nonnull(sql);
	make_db(sql);
	free(sql);
	return rig_file(1);
}

START_TEST(packing_2020)
{
	const struct trace_options any = machine(1000, 10);

	file_reads_as(make_sample(), TRACE_AZURE_PACKING_2020, &any,
		      "0+0:667:3334 0+1:100:1000~43200000000 0+2:100:1000~7776000000000 "
		      "21600000000+3:100:1000~194400000001 43200000000-1 43200000000+1:1000:10000~21600000000 "
		      "43200000000+4:100:1000~0 43200000000-4 64800000000-1 216000000001-3 7776000000000-2 ");
}
END_TEST

START_TEST(packing_2020_on_one_machine)
{
	struct trace_options options = machine(1000, 0);
	struct rig_told told;

	make_sample();
	options.machine = _i ? 3 : TRACE_MACHINE_COMMON; /* 3 has the types of five, 1 of four, 2 of one */
	told = rig_play(rig_file(1), TRACE_AZURE_PACKING_2020, &options);
	ck_assert_str_eq(told.text,
			 "0+0:667:0 0+1:500:0~43200000000 0+2:500:0~7776000000000 "
			 "21600000000+3:500:0~194400000001 43200000000-1 43200000000+1:500:0~0 43200000000-1 "
			 "216000000001-3 7776000000000-2 ");
	ck_assert(told.stats.left_out == 1 && told.stats.lines == 6 && told.stats.machine == 3);
	free(told.text);
}
END_TEST

/* The lowest of equals; what is no id is none; where there is none, types have no row. */
START_TEST(packing_2020_common)
{
	struct trace_options options = machine(1000, 0);
	struct rig_told told;

	options.machine = TRACE_MACHINE_COMMON;
	make_db("CREATE TABLE vm (vmId, vmTypeId, starttime, endtime); CREATE TABLE vmType (vmTypeId, machineId, core, "
		"memory);"
		"INSERT INTO vm VALUES (1, 1, 0, 1), (2, 2, 0, 1);"
		"INSERT INTO vmType VALUES (1, 9, 1, 0.9), (2, 7, 1, 0.7), (1, 'x', 1, 0.1), (2, 'x', 1, 0.1), (1, "
		"NULL, 1, 0.1),"
		"(2, NULL, 1, 0.1), (1, -5, 1, 0.1), (2, -5, 1, 0.1), (1, 9, 1, 0.9)");
	told = rig_play(rig_file(1), TRACE_AZURE_PACKING_2020, &options);
	ck_assert_str_eq(told.text, "0+0:700:0~86400000000 86400000000-0 ");
	ck_assert(told.stats.left_out == 1 && told.stats.machine == 7);
	free(told.text);
	unlink(rig_file(1));
	make_db("CREATE TABLE vm (vmId, vmTypeId, starttime, endtime); CREATE TABLE vmType (vmTypeId, machineId, core, "
		"memory);"
		"INSERT INTO vm VALUES (1, 1, 0, 1)");
	told = rig_play(rig_file(1), TRACE_AZURE_PACKING_2020, &options);
	ck_assert(told.f.code == EXIT_IMAGE && strstr(told.f.text, "its vmTypeId is not in vmType"));
	free(told.text);
}
END_TEST

/* A share of a machine; a row's value is what SQLite takes for one. */
static const struct {
	const char *core, *memory;
	uint64_t bytes; /* of a machine of 384 GiB and 64 CPUs */
	uint32_t cpu;
} shares[] = {
	{"0.1", "0.1", UINT64_C(41231686042), 6400},
	{"0.2", "0.2", UINT64_C(82463372084), 12800},
	{"0.3", "0.3", UINT64_C(123695058125), 19200},
	{"0.7", "0.7", UINT64_C(288621802292), 44800},
	{"1.0/3", "1.0/3", 128 * GIB, 21334},
	{"2.0/3", "2.0/3", 256 * GIB, 42667},
	{"1", "1", 384 * GIB, 64000},
	{"1.5", "1.5", 576 * GIB, 96000},
	{"0", "0.5", 192 * GIB, 0},
	{"0.0", "1e-11", 5, 0},
	{"1e-300", "1e300", 0, 0},
	{"1e-300", "1e-300", 0, 0},
	{"5e-324", "0.5", 192 * GIB, 0},
	{"0", "1125899906842624.0", 0, 0},
	{"0", "11184810.0", UINT64_C(11184810) * 384 * GIB, 0},
};

START_TEST(shares_are_exact)
{
	const struct trace_options options = machine(384 * GIB, 64);

	for (size_t i = 0; i < sizeof(shares) / sizeof(shares[0]); i++) {
		struct rig_told told;
		char sql[512], expected[64];

		snprintf(sql, sizeof(sql),
			 "CREATE TABLE vm (vmId, vmTypeId, starttime, endtime);"
			 "CREATE TABLE vmType (vmTypeId, machineId, core, memory);"
			 "INSERT INTO vm VALUES (1, 2, 0, NULL); INSERT INTO vmType VALUES (2, 0, %s, %s)",
			 shares[i].core, shares[i].memory);
		told = rig_play(make_db(sql), TRACE_AZURE_PACKING_2020, &options);
		snprintf(expected, sizeof(expected), "0+0:%" PRIu64 ":%u ", shares[i].bytes, shares[i].cpu);
		if (shares[i].bytes)
			ck_assert_str_eq(told.text, expected);
		else
			ck_assert_msg(strstr(told.f.text, "row 1: the size is "), "%s", told.f.text);
		free(told.text);
	}
}
END_TEST

static const struct {
	const char *vm, *type; /* one row each */
	enum trace_bad kind;
	const char *why;
} bad_rows_of_db[] = {
	{"NULL, 2, 0, 1", "2, 0, 0.5, 0.5", TRACE_BAD_VALUE, "it has no vmId: \"\""},
	{"'', 2, 0, 1", "2, 0, 0.5, 0.5", TRACE_BAD_VALUE, "it has no vmId: \"\""},
	{"1, 3, 0, 1", "2, 0, 0.5, 0.5", TRACE_BAD_VALUE, "its vmTypeId is not in vmType: \"1\""},
	{"1, NULL, 0, 1", "2, 0, 0.5, 0.5", TRACE_BAD_VALUE, "its vmTypeId is not in vmType: \"1\""},
	{"1, 2, NULL, 1", "2, 0, 0.5, 0.5", TRACE_BAD_VALUE, "its starttime is no number of days: \"1\""},
	{"1, 2, 'noon', 1", "2, 0, 0.5, 0.5", TRACE_BAD_VALUE, "its starttime is no number of days: \"1\""},
	{"1, 2, 9e999, 1", "2, 0, 0.5, 0.5", TRACE_BAD_VALUE, "its starttime is no number of days: \"1\""},
	{"1, 2, 0, 1e9", "2, 0, 0.5, 0.5", TRACE_BAD_VALUE, "its endtime is no number of days: \"1\""},
	{"1, 2, 0, 'x'", "2, 0, 0.5, 0.5", TRACE_BAD_VALUE, "its endtime is no number of days: \"1\""},
	{"'a\"', 2, 2, 1", "2, 0, 0.5, 0.5", TRACE_BAD_TIME, "ends before it starts: \"a\\\"\""},
	{"1, 2, -1, -1.5", "2, 0, 0.5, 0.5", TRACE_BAD_TIME, "ends before it starts: \"1\""},
	{"1, 2, 0, 1", "2, 0, NULL, 0.5", TRACE_BAD_VALUE, "its type's core or memory is no number: \"1\""},
	{"1, 2, 0, 1", "2, 0, 0.5, x'00'", TRACE_BAD_VALUE, "its type's core or memory is no number: \"1\""},
	{"1, 2, 0, 1", "2, 0, -0.5, 0.5", TRACE_BAD_VALUE, "the CPU count is negative: \"1\""},
	{"1, 2, 0, 1", "2, 0, 1e9, 0.5", TRACE_BAD_VALUE, "the CPU count is too large: \"1\""},
	{"1, 2, 0, 1", "2, 0, 0.5, -0.5", TRACE_BAD_SIZE, "the size is negative: \"1\""},
	{"1, 2, 0, 1", "2, 0, 0.5, 9e999", TRACE_BAD_SIZE, "the size is too large: \"1\""},
	{"1, 2, 0, 1", "2, 0, 0.5, 0", TRACE_BAD_SIZE, "the size is 0: \"1\""},
};

START_TEST(bad_rows_in_a_database)
{
	for (size_t i = 0; i < sizeof(bad_rows_of_db) / sizeof(bad_rows_of_db[0]); i++)
		for (int skip = 0; skip < 2; skip++) {
			struct trace_options options = machine(384 * GIB, 64);
			struct rig_told told;
			char sql[512], sentence[256];

			options.skip_bad = skip;
			snprintf(sql, sizeof(sql),
				 "CREATE TABLE vm (vmId, vmTypeId, starttime, endtime);"
				 "CREATE TABLE vmType (vmTypeId, machineId, core, memory);"
				 "INSERT INTO vm VALUES (%s), (9, 9, 5, NULL); INSERT INTO vmType VALUES (%s), (9, 0, "
				 "1, 1)",
				 bad_rows_of_db[i].vm, bad_rows_of_db[i].type);
			told = rig_play(make_db(sql), TRACE_AZURE_PACKING_2020, &options);
			if (skip) {
				ck_assert_msg(told.f.code == 0, "%s", told.f.text);
				ck_assert_str_eq(told.text, "432000000000+0:412316860416:64000 ");
				ck_assert_uint_eq(told.stats.bad[bad_rows_of_db[i].kind], 1);
			} else {
				snprintf(sentence, sizeof(sentence), "%s, row 1: %s", rig_file(1),
					 bad_rows_of_db[i].why);
				ck_assert_int_eq(told.f.code, EXIT_IMAGE);
				ck_assert_str_eq(told.f.text, sentence);
			}
			free(told.text);
		}
}
END_TEST

static const char *const others[] = {
	"CREATE TABLE other (x)",
	"CREATE TABLE vm (vmId, vmTypeId, starttime, endtime)",
	"CREATE TABLE vm (vmId, vmTypeId, starttime); CREATE TABLE vmType (vmTypeId, machineId, core, memory)",
	"CREATE TABLE vm (vmId, vmTypeId, starttime, endtime); CREATE TABLE vmType (vmTypeId, machineId, core)",
	"CREATE TABLE vmType (vmTypeId, machineId, core, memory); CREATE VIEW vm AS SELECT 1 AS vmId",
};

START_TEST(other_schemas)
{
	const struct trace_options options = machine(GIB, 1);

	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		struct rig_told told = rig_play(make_db(others[i]), TRACE_AZURE_PACKING_2020, &options);

		ck_assert_int_eq(told.f.code, EXIT_IMAGE);
		ck_assert_msg(strstr(told.f.text,
				     " is not the SQLite file of AzureTracesForPacking2020, or is damaged: no such "),
			      "%s", told.f.text);
		free(told.text);
	}
}
END_TEST

START_TEST(no_rows)
{
	const struct trace_options options = machine(GIB, 1);
	struct rig_told told = rig_play(make_db("CREATE TABLE vm (vmId, vmTypeId, starttime, endtime);"
						"CREATE TABLE vmType (vmTypeId, machineId, core, memory)"),
					TRACE_AZURE_PACKING_2020, &options);

	ck_assert(told.f.code == EXIT_IMAGE && strstr(told.f.text, " has no event"));
	free(told.text);
}
END_TEST

/* Cut at every page and within; a byte changed anywhere: one sentence, or all the same. */
START_TEST(damaged_database)
{
	const struct trace_options options = machine(1000, 10);
	size_t size = 0;
	char *bytes, *whole;
	struct rig_told told;

	make_sample();
	whole = rig_play(rig_file(1), TRACE_AZURE_PACKING_2020, &options).text;
	bytes = rig_read(rig_file(1), &size);
	if (!bytes || size < 512)
		ck_abort_msg("no sample");
	for (size_t cut = 0; cut < size; cut += 512) {
		told = rig_play(rig_write(0, bytes, cut), TRACE_AZURE_PACKING_2020, &options);
		ck_assert_int_eq(told.f.code, EXIT_IMAGE);
		ck_assert_ptr_nonnull(strstr(told.f.text, rig_file(0)));
		free(told.text);
	}
	seed(2);
	for (int i = 0; i < 400; i++) {
		const size_t at = (size_t)below(below(2) ? 200 : size);
		const unsigned with = 1 + (unsigned)below(255);

		bytes[at] ^= (char)with;
		told = rig_play(rig_write(0, bytes, size), TRACE_AZURE_PACKING_2020, &options);
		ck_assert(told.f.code == 0 || told.f.text[0]);
		free(told.text);
		bytes[at] ^= (char)with;
	}
	free(bytes);
	free(whole);
}
END_TEST

/* A page in the middle is noise: the rows cannot be sorted. */
START_TEST(damaged_within)
{
	static const char sql[] = "CREATE TABLE vm (vmId, vmTypeId, starttime, endtime); CREATE TABLE vmType "
				  "(vmTypeId, machineId, core, memory);"
				  "INSERT INTO vmType VALUES (1, 0, 1, 1);"
				  "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)"
				  "INSERT INTO vm SELECT i, 1, i, i + 1 FROM n";
	const struct trace_options options = machine(1000, 10);
	struct rig_told told;
	size_t size = 0;
	char *bytes = rig_read(make_db(sql), &size);

	told = rig_play(rig_file(1), TRACE_AZURE_PACKING_2020, &options);
	ck_assert(told.f.code == 0 && told.stats.events == 10000);
	free(told.text);
	memset(bytes + size / 2, 0x5a, 4096);
	told = rig_play(rig_write(0, bytes, size), TRACE_AZURE_PACKING_2020, &options);
	ck_assert_int_eq(told.f.code, EXIT_IMAGE);
	ck_assert_msg(strstr(told.f.text, "or is damaged: database disk image is malformed"), "%s", told.f.text);
	free(told.text);
	free(bytes);
}
END_TEST

/* No room for the temporary file, sooner and later. */
START_TEST(no_room_to_sort)
{
	const struct rlimit none = {0, 0}, some = {1u << 20, 1u << 20};
	const unsigned rows = 250000;
	struct rig_told told;
	char *text;
	size_t size;
	FILE *to = open_memstream(&text, &size);

	fprintf(to, "id,lower,upper,size\n");
	for (unsigned i = 0; i < rows; i++)
		fprintf(to, "a-long-name-of-a-guest-that-fills-pages-%u,%u,%u,1\n", i, rows - i, rows - i + 1);
	fclose(to);
	rig_write(0, text, size);
	free(text);
	signal(SIGXFSZ, SIG_IGN);
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, i ? &none : &some), 0);
		told = rig_play(rig_file(0), TRACE_MINIMALLOC, &strict);
		ck_assert_int_eq(told.f.code, EXIT_HOST);
		ck_assert_msg(strncmp(told.f.text, "cannot sort ", 12) == 0, "%s", told.f.text);
		free(told.text);
	}
}
END_TEST

START_TEST(not_a_database)
{
	const struct trace_options options = machine(GIB, 1), none = strict;
	struct trace_options much = machine(TRACE_MACHINE_BYTES_MAX + 1, 1),
			     many = machine(GIB, TRACE_MACHINE_CPUS_MAX + 1);
	struct rig_told told = play("time_s,event,vm_id,mem_mib\n0,arrive,1,1\n", TRACE_AZURE_PACKING_2020, &options);

	ck_assert(told.f.code == EXIT_IMAGE && strstr(told.f.text, "or is damaged: file is not a database"));
	free(told.text);
	told = rig_play("/nonexistent/db", TRACE_AZURE_PACKING_2020, &options);
	ck_assert_int_eq(told.f.code, EXIT_HOST);
	ck_assert_str_eq(told.f.text, "cannot open the trace /nonexistent/db: unable to open database file");
	free(told.text);
	told = rig_play("-", TRACE_AZURE_PACKING_2020, &options);
	ck_assert_int_eq(told.f.code, EXIT_USAGE);
	free(told.text);
	for (int i = 0; i < 3; i++) {
		told = rig_play("x", TRACE_AZURE_PACKING_2020, i == 0 ? &none : i == 1 ? &much : &many);
		ck_assert(told.f.code == EXIT_USAGE && strstr(told.f.text, "tells shares of a machine"));
		free(told.text);
	}
}
END_TEST

static unsigned refusals(const char *path, enum trace_format format)
{
	unsigned refused = 0;

	for (uint64_t n = 1;; n++) {
		struct trace_options options = machine(GIB, 1);
		struct rig_told told;
		int code;

		options.fail_after = n;
		told = rig_play(path, format, &options);
		code = told.f.code;
		ck_assert(code == 0 || (code == EXIT_HOST && strncmp(told.f.text, "no memory", 9) == 0));
		free(told.text);
		if (!code)
			return refused;
		refused++;
	}
}

START_TEST(no_memory)
{
	char text[8192];
	size_t at = (size_t)snprintf(text, sizeof(text), "id,lower,upper,size\n");

	for (int i = 0; i < 200; i++)
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%d,%d,1000,1\n", i, i);
	ck_assert_uint_ge(refusals(rig_write(0, text, at), TRACE_MINIMALLOC), 10);
	ck_assert_uint_ge(refusals(make_sample(), TRACE_AZURE_PACKING_2020), 4);
}
END_TEST

Suite *trace_lives_suite(void)
{
	Suite *suite = suite_create("trace_lives");
	TCase *all = tcase_create("all");

	tcase_set_timeout(all, 60);
	tcase_add_checked_fixture(all, rig_setup, rig_teardown);
	tcase_add_test(all, azure_v1);
	tcase_add_test(all, azure_v1_with_a_header);
	tcase_add_test(all, huawei);
	tcase_add_test(all, minimalloc);
	tcase_add_test(all, bad_rows);
	tcase_add_test(all, twice);
	tcase_add_test(all, nothing_there);
	tcase_add_test(all, random_rows);
	tcase_add_test(all, heap_is_checked);
	tcase_add_test(all, packing_2020);
	tcase_add_loop_test(all, packing_2020_on_one_machine, 0, 2);
	tcase_add_test(all, packing_2020_common);
	tcase_add_test(all, shares_are_exact);
	tcase_add_test(all, bad_rows_in_a_database);
	tcase_add_test(all, other_schemas);
	tcase_add_test(all, no_rows);
	tcase_add_test(all, damaged_database);
	tcase_add_test(all, damaged_within);
	tcase_add_test(all, no_room_to_sort);
	tcase_add_test(all, not_a_database);
	tcase_add_test(all, no_memory);
	suite_add_tcase(suite, all);
	return suite;
}
