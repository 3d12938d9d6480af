/* vmm/pack/trace_impl.h: what a trace is made of; for trace*.c and their own tests. */
#ifndef SLAT_VMM_PACK_TRACE_IMPL_H
#define SLAT_VMM_PACK_TRACE_IMPL_H

#include "vmm/pack/csv.h"
#include "vmm/pack/decimal.h"
#include "vmm/pack/libsqlite.h"
#include "vmm/pack/lifetimes.h"
#include "vmm/pack/lines.h"
#include "vmm/pack/live_table.h"
#include "vmm/pack/trace.h"

enum trace_column {
	TRACE_TIME,
	TRACE_EVENT,
	TRACE_ID,
	TRACE_CPU,
	TRACE_SIZE,
	TRACE_NODE,
	TRACE_PINNED,
	TRACE_MOVABLE,
	TRACE_LIFE,
	TRACE_START,
	TRACE_END,
	TRACE_COLUMNS,
};

struct trace_column_name {
	const char *name;
	enum trace_column column;
	uint64_t scale;	  /* of numbers: how many of an event's units one is */
	const char *unit; /* of sizes; NULL: byte */
};

struct trace_layout {
	const struct trace_column_name *name;
	unsigned names;
	bool headless;		     /* columns are those of `name`, in that order; TRACE_COLUMNS: of no interest */
	unsigned needed;	     /* bits by enum trace_column */
	const char *example;	     /* of a header */
	const char *arrive, *depart; /* as the event's column says it */
};

struct trace_where { /* what is looked at, for people */
	const char *unit;
	uint64_t number;
	const char *text; /* NULL: nothing to show */
	size_t length;
};

struct trace {
	struct trace_options options;
	struct alloc alloc;
	struct trace_stats stats;
	enum trace_format format;
	const char *name;
	enum event_next (*next)(struct trace *t, struct event *out, struct failure *f);
	struct trace_where where;
	uint64_t now_us;
	enum event_kind kind; /* of the event last given */
	struct live_table *live;

	/* CSV */
	struct lines lines;
	const struct trace_layout *layout;
	unsigned fields;	    /* of each line */
	unsigned at[TRACE_COLUMNS]; /* which field, or CSV_FIELDS_MAX: there is none */
	uint64_t scale[TRACE_COLUMNS];
	const char *unit; /* of TRACE_SIZE */
	struct csv_field field[CSV_FIELDS_MAX];
	char *scratch;

	/* Lives */
	struct lifetimes lifetimes;
	struct libsqlite sqlite;
	sqlite3 *db;
	sqlite3_stmt *rows;
	char path[]; /* a copy */
};

/* What is at t->where is bad: `what` goes into a sentence. EVENT_END: it has been
 * counted and is to be passed over; else EVENT_FAILED and *f. */
enum event_next trace_bad(struct trace *t, enum trace_bad kind, const char *what, struct failure *f);
/* The same of a column's number. */
enum event_next trace_bad_number(struct trace *t, enum trace_column column, enum decimal_result result,
				 struct failure *f);
int trace_no_memory(struct trace *t, struct failure *f);

static inline bool trace_has(const struct trace *t, enum trace_column column)
{
	return t->at[column] < CSV_FIELDS_MAX;
}

static inline struct csv_field trace_field(const struct trace *t, enum trace_column column)
{
	return t->field[t->at[column]];
}

/* The next line with as many fields as it should have, in t->field; EVENT_END: there is none. */
enum event_next trace_line(struct trace *t, struct failure *f);
/* A number of this column; above `max` it is DECIMAL_LARGE. */
enum decimal_result trace_number(const struct trace *t, enum trace_column column, uint64_t max, uint64_t *out);
/* What an arrival asks for, by TRACE_ID, TRACE_CPU and TRACE_SIZE. EVENT_END: passed over. */
enum event_next trace_request(struct trace *t, uint64_t *size, uint32_t *cpu_millis, struct failure *f);

/* Each opens, sets t->next, and leaves to trace_close() what it opened. */
int trace_open_csv(struct trace *t, const struct trace_layout *layout, struct failure *f);
int trace_open_events(struct trace *t, struct failure *f);
int trace_open_rows(struct trace *t, struct failure *f);
int trace_open_packing(struct trace *t, struct failure *f);

/* Events come from the lives that `row` tells: it leaves the guest's name at t->where. */
int trace_open_lives(struct trace *t, enum event_next (*row)(void *self, struct lifetime *out, struct failure *f),
		     struct failure *f);
/* As SQLite says it of t->db; `doing` is as in "cannot sort". */
int trace_sqlite_failed(struct trace *t, const char *doing, struct failure *f);

#endif
