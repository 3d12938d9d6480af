/* vmm/pack/trace_packing.c: AzureTracesForPacking2020, a SQLite file.
 *
 * After the schema that Azure publishes with it (AzureTracesForPacking2020.md). A row of `vm` is a life: vmId,
 * vmTypeId, starttime and endtime in days. Who was there when the collection began has a negative start: he arrives at
 * 0, in the order of those. An end of NULL is none. `vmType` has a row for each type and machine, a generation of
 * hardware, that it runs on: core and memory are shares of that machine, and those of one type differ from machine to
 * machine. So one machine is chosen for all guests, and who cannot run on it is left out: shares of different ones on
 * hosts of one kind would mean nothing.
 *
 * Numbers. What the file holds are binary fractions, m * 2^e. Times are rounded to the
 * nearest microsecond, which is finer than a day's fraction is exact. Shares of a machine
 * of n bytes are m * n * 2^e, rounded up, unless what is above a whole byte is at most
 * a 64th of one: a decimal such as 0.1 is a little more or less in binary, and 100.0000000001
 * bytes were meant to be 100. A machine of TRACE_MACHINE_BYTES_MAX has no more of that
 * error: 2^46 bytes * 2^-53 is 2^-7. All of it in integers of 128 bits.
 *
 * The file is anybody's: it is opened to be read, its schema is not trusted to run
 * functions, and a NULL, a text or an infinity where a number has to be is a bad value. */
#include "vmm/pack/trace_impl.h"

#include <string.h>

#define DAY_US	  UINT64_C(86400000000)
#define EXPONENT  1075 /* m * 2^(biased - EXPONENT) of a normal double */
#define MANTISSA  ((UINT64_C(1) << 52) - 1)
#define INFINITE  0x7ff /* the biased exponent of what is no number */
#define SLACK_LOG 6u	/* what is at most 2^-6 of a unit is nothing */

_Static_assert((TRACE_MACHINE_BYTES_MAX >> 53) == 0 && TRACE_MACHINE_BYTES_MAX <= UINT64_C(1) << (53 - SLACK_LOG - 1),
	       "the error of a share is within the slack");
_Static_assert(TRACE_MACHINE_CPUS_MAX *UINT64_C(1000) <= TRACE_MACHINE_BYTES_MAX, "and of CPUs");

enum { ROW_NUMBER, ROW_ID, ROW_TYPE, ROW_START, ROW_END, ROW_CORE, ROW_MEMORY, ROW_FOUND };

static const char query[] = "SELECT vm.rowid, vm.vmId, vm.vmTypeId, vm.starttime, vm.endtime, t.core, t.memory, t.found"
			    " FROM vm LEFT JOIN (SELECT vmTypeId, core, memory, 1 AS found, min(machineId) FROM vmType"
			    " WHERE ?1 < 0 OR machineId = ?1 GROUP BY vmTypeId) AS t ON t.vmTypeId = vm.vmTypeId"
			    " ORDER BY vm.starttime, vm.rowid";

/* Types have as many rows as machines: guests are counted by type first. */
static const char common[] =
	"SELECT t.machineId FROM (SELECT vmTypeId, count(*) AS guests FROM vm GROUP BY vmTypeId) AS v"
	" JOIN (SELECT DISTINCT vmTypeId, machineId FROM vmType WHERE typeof(machineId) = 'integer' AND machineId >= 0)"
	" AS t ON t.vmTypeId = v.vmTypeId GROUP BY t.machineId ORDER BY sum(v.guests) DESC, t.machineId LIMIT 1";

/* ---- doubles, by integers ---- */

struct binary { /* (negative ? -1 : 1) * m / 2^shift; shift may be negative */
	uint64_t m;
	int shift;
	bool negative;
};

static bool take_apart(double value, struct binary *out)
{
	uint64_t bits;
	int biased;

	memcpy(&bits, &value, sizeof(bits));
	biased = (int)(bits >> 52 & INFINITE);
	out->negative = bits >> 63;
	out->m = (bits & MANTISSA) | (biased ? MANTISSA + 1 : 0);
	out->shift = EXPONENT - (biased ? biased : 1);
	return biased != INFINITE;
}

/* m * scale / 2^shift rounded down, and the rest in 2^-64; false iff it is above 64 bits. scale < 2^47. */
static bool scaled(const struct binary *b, uint64_t scale, uint64_t *whole, uint64_t *rest)
{
	const unsigned __int128 product = (unsigned __int128)b->m * scale;
	const unsigned shift = b->shift < 0 ? 0 : (unsigned)b->shift;

	*whole = *rest = 0;
	if (product == 0)
		return true;
	if (b->shift < 0 || shift >= 128)
		return shift >= 128;
	if (product >> shift > UINT64_MAX)
		return false;
	*whole = (uint64_t)(product >> shift);
	*rest = shift > 64 ? (uint64_t)(product >> (shift - 64)) : shift ? (uint64_t)(product << (64 - shift)) : 0;
	return true;
}

static enum decimal_result share_of(double value, uint64_t machine, uint64_t *out)
{
	struct binary b;
	uint64_t rest;

	if (!take_apart(value, &b))
		return DECIMAL_LARGE;
	if (b.negative && b.m)
		return DECIMAL_NEGATIVE;
	if (!scaled(&b, machine, out, &rest) || *out > EVENT_SIZE_MAX)
		return DECIMAL_LARGE;
	*out += rest > UINT64_C(1) << (64 - SLACK_LOG);
	return DECIMAL_OK;
}

static bool time_of(double days, int64_t *out)
{
	uint64_t whole, rest;
	struct binary b;

	if (!take_apart(days, &b) || !scaled(&b, DAY_US, &whole, &rest) || whole >= EVENT_TIME_MAX)
		return false;
	*out = (int64_t)(whole + (rest >> 63));
	*out = b.negative ? -*out : *out;
	return true;
}

/* ---- rows ---- */

static bool is_number(const struct trace *t, int column)
{
	const int type = t->sqlite.column_type(t->rows, column);

	return type == SQLITE_INTEGER || type == SQLITE_FLOAT;
}

static uint64_t not_before_0(int64_t time)
{
	return time < 0 ? 0 : (uint64_t)time;
}

static enum event_next read_times(struct trace *t, struct lifetime *l, struct failure *f)
{
	const struct libsqlite *s = &t->sqlite;
	int64_t start, end;

	if (!is_number(t, ROW_START) || !time_of(s->column_double(t->rows, ROW_START), &start))
		return trace_bad(t, TRACE_BAD_VALUE, "its starttime is no number of days", f);
	l->start_us = not_before_0(start);
	l->end_us = LIFETIME_NEVER;
	if (s->column_type(t->rows, ROW_END) == SQLITE_NULL)
		return EVENT_ONE;
	if (!is_number(t, ROW_END) || !time_of(s->column_double(t->rows, ROW_END), &end))
		return trace_bad(t, TRACE_BAD_VALUE, "its endtime is no number of days", f);
	if (end < start)
		return trace_bad(t, TRACE_BAD_TIME, "ends before it starts", f);
	l->end_us = not_before_0(end);
	return EVENT_ONE;
}

static enum event_next read_shares(struct trace *t, struct lifetime *l, struct failure *f)
{
	const struct libsqlite *s = &t->sqlite;
	enum decimal_result result;
	uint64_t cpu = 0;

	if (!is_number(t, ROW_MEMORY) || !is_number(t, ROW_CORE))
		return trace_bad(t, TRACE_BAD_VALUE, "its type's core or memory is no number", f);
	result = share_of(s->column_double(t->rows, ROW_CORE), UINT64_C(1000) * t->options.machine_cpus, &cpu);
	if (result == DECIMAL_OK && cpu > UINT32_MAX)
		result = DECIMAL_LARGE;
	if (result != DECIMAL_OK)
		return trace_bad_number(t, TRACE_CPU, result, f);
	result = share_of(s->column_double(t->rows, ROW_MEMORY), t->options.machine_bytes, &l->size);
	if (result != DECIMAL_OK || l->size == 0)
		return trace_bad_number(t, TRACE_SIZE, result, f);
	l->cpu_millis = (uint32_t)cpu;
	return EVENT_ONE;
}

/* EVENT_END: passed over. */
static enum event_next read_row(struct trace *t, struct lifetime *l, struct failure *f)
{
	const struct libsqlite *s = &t->sqlite;
	enum event_next got;

	t->stats.lines++;
	t->where = (struct trace_where){
		.unit = "row",
		.number = (uint64_t)s->column_int64(t->rows, ROW_NUMBER),
		.text = (const char *)s->column_text(t->rows, ROW_ID),
		.length = (size_t)s->column_bytes(t->rows, ROW_ID),
	};
	if (!t->where.text || t->where.length == 0)
		return trace_bad(t, TRACE_BAD_VALUE, "it has no vmId", f);
	if (s->column_type(t->rows, ROW_FOUND) == SQLITE_NULL && t->options.machine >= 0) {
		t->stats.left_out++;
		return EVENT_END;
	}
	if (s->column_type(t->rows, ROW_FOUND) == SQLITE_NULL)
		return trace_bad(t, TRACE_BAD_VALUE, "its vmTypeId is not in vmType", f);
	got = read_times(t, l, f);
	return got == EVENT_ONE ? read_shares(t, l, f) : got;
}

static int no_such_file(struct trace *t, int code, struct failure *f)
{
	if ((code & 0xff) != SQLITE_CORRUPT && (code & 0xff) != SQLITE_NOTADB && (code & 0xff) != SQLITE_ERROR)
		return trace_sqlite_failed(t, "read", f);
	return fail(f, EXIT_IMAGE, "%s is not the SQLite file of AzureTracesForPacking2020, or is damaged: %s", t->name,
		    t->sqlite.errmsg(t->db));
}

static enum event_next next_row(void *self, struct lifetime *out, struct failure *f)
{
	struct trace *t = self;
	enum event_next got;

	do {
		const int code = t->sqlite.step(t->rows);

		if (code == SQLITE_DONE)
			return EVENT_END;
		if (code != SQLITE_ROW) {
			no_such_file(t, code, f);
			return EVENT_FAILED;
		}
		got = read_row(t, out, f);
	} while (got == EVENT_END);
	return got;
}

/* Without any row it is no matter which. */
static int choose_machine(struct trace *t, struct failure *f)
{
	struct libsqlite *s = &t->sqlite;
	int code = SQLITE_OK;

	if (t->options.machine == TRACE_MACHINE_COMMON) {
		t->options.machine = TRACE_MACHINE_ANY;
		code = s->prepare_v2(t->db, common, -1, &t->rows, NULL);
		if (code == SQLITE_OK)
			code = s->step(t->rows);
		if (code == SQLITE_ROW)
			t->options.machine = s->column_int64(t->rows, 0);
		s->finalize(t->rows);
		t->rows = NULL;
	}
	t->stats.machine = t->options.machine;
	return code == SQLITE_OK || code == SQLITE_ROW || code == SQLITE_DONE ? 0 : no_such_file(t, code, f);
}

int trace_open_packing(struct trace *t, struct failure *f)
{
	struct libsqlite *s = &t->sqlite;
	int code;

	if (strcmp(t->path, "-") == 0)
		return fail(f, EXIT_USAGE, "a SQLite file cannot be read from standard input: name it");
	if (libsqlite_open(s, LIBSQLITE_SONAME, f))
		return f->code;
	code = s->open_v2(t->path, &t->db, SQLITE_OPEN_READONLY, NULL);
	if (code != SQLITE_OK)
		return trace_sqlite_failed(t, "open the trace", f);
	s->db_config(t->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	s->db_config(t->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
	s->exec(t->db, "PRAGMA temp_store = FILE; PRAGMA cache_size = -4096", NULL, NULL, NULL);
	if (choose_machine(t, f))
		return f->code;
	code = s->prepare_v2(t->db, query, -1, &t->rows, NULL);
	if (code != SQLITE_OK)
		return no_such_file(t, code, f);
	s->bind_int64(t->rows, 1, t->options.machine);
	return trace_open_lives(t, next_row, f);
}
