/* vmm/pack/trace_rows.c: CSV traces whose rows are lives, sorted outside of memory:
 * Azure's V1 and minimalloc's problems. */
#include "vmm/pack/trace_impl.h"

#include <string.h>

#define SECOND UINT64_C(1000000) /* in microseconds */
#define NONE   TRACE_COLUMNS	 /* of no interest */

static const struct trace_column_name azure_names[] = {
	{"vmid", TRACE_ID, 1, NULL},
	{"subscriptionid", NONE, 1, NULL},
	{"deploymentid", NONE, 1, NULL},
	{"vmcreated", TRACE_START, SECOND, NULL},
	{"vmdeleted", TRACE_END, SECOND, NULL},
	{"maxcpu", NONE, 1, NULL},
	{"avgcpu", NONE, 1, NULL},
	{"p95maxcpu", NONE, 1, NULL},
	{"vmcategory", NONE, 1, NULL},
	{"vmcorecount", TRACE_CPU, EVENT_CPU_ONE, NULL},
	{"vmmemory", TRACE_SIZE, 1u << 30, NULL},
};

static const struct trace_column_name minimalloc_names[] = {
	{"id", TRACE_ID, 1, NULL},
	{"lower", TRACE_START, SECOND, NULL},
	{"upper", TRACE_END, SECOND, NULL},
	{"size", TRACE_SIZE, 1, NULL},
};

static const struct trace_layout azure = {
	.name = azure_names,
	.names = sizeof(azure_names) / sizeof(azure_names[0]),
	.headless = true,
};

static const struct trace_layout minimalloc = {
	.name = minimalloc_names,
	.names = sizeof(minimalloc_names) / sizeof(minimalloc_names[0]),
	.needed = 1u << TRACE_ID | 1u << TRACE_START | 1u << TRACE_END | 1u << TRACE_SIZE,
	.example = "id,lower,upper,size",
};

static const char make_table[] = "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA temp_store = FILE;"
				 "PRAGMA cache_size = -4096;"
				 "CREATE TABLE life (line INTEGER PRIMARY KEY, start INTEGER, stop INTEGER,"
				 " size INTEGER, cpu INTEGER, id TEXT);"
				 "BEGIN";
static const char insert[] = "INSERT INTO life VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
static const char sorted[] = "SELECT line, start, stop, size, cpu, id FROM life ORDER BY start, line";

static enum event_next read_row(struct trace *t, struct lifetime *l, struct failure *f)
{
	enum decimal_result result = trace_number(t, TRACE_START, EVENT_TIME_MAX, &l->start_us);

	if (result != DECIMAL_OK)
		return trace_bad_number(t, TRACE_START, result, f);
	result = trace_number(t, TRACE_END, EVENT_TIME_MAX, &l->end_us);
	if (result != DECIMAL_OK)
		return trace_bad_number(t, TRACE_END, result, f);
	if (trace_field(t, TRACE_ID).length == 0)
		return trace_bad(t, TRACE_BAD_VALUE, "the guest has no name", f);
	if (l->end_us < l->start_us)
		return trace_bad(t, TRACE_BAD_TIME, "ends before it starts", f);
	return trace_request(t, &l->size, &l->cpu_millis, f);
}

static int put_row(struct trace *t, const struct lifetime *l, struct failure *f)
{
	const struct csv_field id = trace_field(t, TRACE_ID);
	const struct libsqlite *s = &t->sqlite;

	if (s->bind_int64(t->rows, 1, (int64_t)t->where.number) || s->bind_int64(t->rows, 2, (int64_t)l->start_us) ||
	    s->bind_int64(t->rows, 3, (int64_t)l->end_us) || s->bind_int64(t->rows, 4, (int64_t)l->size) ||
	    s->bind_int64(t->rows, 5, l->cpu_millis) ||
	    s->bind_text(t->rows, 6, id.at, (int)id.length, SQLITE_STATIC) || s->step(t->rows) != SQLITE_DONE ||
	    s->reset(t->rows))
		return trace_sqlite_failed(t, "sort", f);
	return 0;
}

static int put_all(struct trace *t, struct failure *f)
{
	for (;;) {
		enum event_next got = trace_line(t, f);
		struct lifetime life;

		if (got != EVENT_ONE)
			return f->code;
		got = read_row(t, &life, f);
		if (got == EVENT_FAILED || (got == EVENT_ONE && put_row(t, &life, f)))
			return f->code;
	}
}

static int prepare(struct trace *t, const char *sql, struct failure *f)
{
	t->sqlite.finalize(t->rows);
	t->rows = NULL;
	if (t->sqlite.prepare_v2(t->db, sql, -1, &t->rows, NULL) != SQLITE_OK)
		return trace_sqlite_failed(t, "sort", f);
	return 0;
}

static int sort(struct trace *t, struct failure *f)
{
	const struct libsqlite *s = &t->sqlite;

	if (s->open_v2("", &t->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL) != SQLITE_OK ||
	    s->exec(t->db, make_table, NULL, NULL, NULL) != SQLITE_OK)
		return trace_sqlite_failed(t, "sort", f);
	if (prepare(t, insert, f) || put_all(t, f))
		return f->code;
	if (s->exec(t->db, "COMMIT", NULL, NULL, NULL) != SQLITE_OK)
		return trace_sqlite_failed(t, "sort", f);
	return prepare(t, sorted, f);
}

static enum event_next next_row(void *self, struct lifetime *out, struct failure *f)
{
	struct trace *t = self;
	const struct libsqlite *s = &t->sqlite;
	const int code = s->step(t->rows);

	if (code == SQLITE_DONE)
		return EVENT_END;
	if (code != SQLITE_ROW) {
		trace_sqlite_failed(t, "sort", f);
		return EVENT_FAILED;
	}
	t->where.number = (uint64_t)s->column_int64(t->rows, 0);
	*out = (struct lifetime){
		.start_us = (uint64_t)s->column_int64(t->rows, 1),
		.end_us = (uint64_t)s->column_int64(t->rows, 2),
		.size = (uint64_t)s->column_int64(t->rows, 3),
		.cpu_millis = (uint32_t)s->column_int64(t->rows, 4),
	};
	t->where.text = (const char *)s->column_text(t->rows, 5);
	t->where.length = (size_t)s->column_bytes(t->rows, 5);
	if (t->where.text)
		return EVENT_ONE;
	trace_no_memory(t, f);
	return EVENT_FAILED;
}

int trace_open_rows(struct trace *t, struct failure *f)
{
	if (trace_open_csv(t, t->format == TRACE_AZURE_V1 ? &azure : &minimalloc, f) ||
	    libsqlite_open(&t->sqlite, LIBSQLITE_SONAME, f) || sort(t, f))
		return f->code;
	lines_close(&t->lines);
	return trace_open_lives(t, next_row, f);
}
