/* vmm/pack/trace_csv.c: the header and the numbers of a CSV trace. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "vmm/pack/trace_impl.h"

static const char *const words[TRACE_COLUMNS] = {
	[TRACE_TIME] = "time", [TRACE_EVENT] = "event", [TRACE_ID] = "guest's name", [TRACE_CPU] = "CPU count",
	[TRACE_SIZE] = "size", [TRACE_NODE] = "node",	[TRACE_PINNED] = "pinned",   [TRACE_MOVABLE] = "movable",
	[TRACE_LIFE] = "life", [TRACE_START] = "start", [TRACE_END] = "end",
};

enum event_next trace_bad_number(struct trace *t, enum trace_column column, enum decimal_result result,
				 struct failure *f)
{
	static const char *const why[] = {
		[DECIMAL_OK] = "is 0",
		[DECIMAL_NO_NUMBER] = "is no decimal number",
		[DECIMAL_NEGATIVE] = "is negative",
		[DECIMAL_LARGE] = "is too large",
	};
	char what[64];

	snprintf(what, sizeof(what), "the %s %s", words[column], why[result]);
	return trace_bad(t, column == TRACE_SIZE && result != DECIMAL_NO_NUMBER ? TRACE_BAD_SIZE : TRACE_BAD_VALUE,
			 what, f);
}

enum decimal_result trace_number(const struct trace *t, enum trace_column column, uint64_t max, uint64_t *out)
{
	const struct csv_field field = trace_field(t, column);
	const bool up = column == TRACE_SIZE || column == TRACE_CPU;
	uint64_t value;
	const enum decimal_result result =
		decimal_parse(field.at, field.length, (struct decimal_unit){t->scale[column], up}, &value);

	if (result != DECIMAL_OK)
		return result;
	if (value > max)
		return DECIMAL_LARGE;
	*out = value;
	return DECIMAL_OK;
}

enum event_next trace_request(struct trace *t, uint64_t *size, uint32_t *cpu_millis, struct failure *f)
{
	enum decimal_result result;
	uint64_t cpu = 0;

	if (trace_has(t, TRACE_CPU) && trace_field(t, TRACE_CPU).length) {
		result = trace_number(t, TRACE_CPU, UINT32_MAX, &cpu);
		if (result != DECIMAL_OK)
			return trace_bad_number(t, TRACE_CPU, result, f);
	}
	result = trace_number(t, TRACE_SIZE, EVENT_SIZE_MAX, size);
	if (result != DECIMAL_OK || *size == 0)
		return trace_bad_number(t, TRACE_SIZE, result, f);
	*cpu_millis = (uint32_t)cpu;
	return EVENT_ONE;
}

/* ---- lines ---- */

static void look_at(struct trace *t, const char *line, size_t length)
{
	t->where = (struct trace_where){"line", t->lines.number, line, length};
	t->stats.lines = t->lines.number;
}

/* A line that is not empty, split. EVENT_END: there is none. */
static enum event_next split_line(struct trace *t, unsigned *fields, struct failure *f)
{
	enum event_next bad;
	const char *line, *why;
	size_t length;

	for (;;) {
		const enum lines_next got = lines_next(&t->lines, &line, &length, f);

		if (got == LINES_FAILED)
			return EVENT_FAILED;
		if (got == LINES_END)
			return EVENT_END;
		look_at(t, line, length);
		if (length == 0)
			continue;
		why = "is longer than 65536 bytes";
		*fields = got == LINES_ONE ? csv_split(line, length, t->scratch, t->field, &why) : 0;
		if (*fields)
			return EVENT_ONE;
		bad = trace_bad(t, TRACE_BAD_LINE, why, f);
		if (bad != EVENT_END)
			return bad;
	}
}

static bool is_header(const struct trace *t)
{
	return t->layout->headless && t->where.number == 1 && csv_is(t->field[0], t->layout->name[0].name);
}

enum event_next trace_line(struct trace *t, struct failure *f)
{
	enum event_next got;
	char what[64];
	unsigned fields;

	for (;;) {
		got = split_line(t, &fields, f);
		if (got == EVENT_END && t->lines.trailing && !t->stats.bad[TRACE_BAD_TRAILING])
			t->stats.bad[TRACE_BAD_TRAILING]++;
		if (got != EVENT_ONE || (fields == t->fields && !is_header(t)))
			return got;
		if (fields == t->fields)
			continue;
		snprintf(what, sizeof(what), "has %u fields instead of %u", fields, t->fields);
		got = trace_bad(t, TRACE_BAD_LINE, what, f);
		if (got != EVENT_END)
			return got;
	}
}

/* ---- the header ---- */

static int no_header(struct trace *t, const char *what, const char *name, struct failure *f)
{
	return fail(f, EXIT_IMAGE, "%s: the header %s %s; a header is such as %s", t->name, what, name,
		    t->layout->example);
}

static void ignore(struct trace *t, struct csv_field field)
{
	if (t->stats.columns_ignored++ == 0)
		t->stats.first_ignored = csv_excerpt(field.at, field.length);
}

static int place_column(struct trace *t, unsigned field, struct failure *f)
{
	const struct trace_layout *l = t->layout;

	for (unsigned i = 0; i < l->names; i++) {
		const struct trace_column_name *n = &l->name[i];

		if (!csv_is(t->field[field], n->name))
			continue;
		if (trace_has(t, n->column))
			return no_header(t, "has, once more, a column for the", words[n->column], f);
		t->at[n->column] = field;
		t->scale[n->column] = n->scale;
		if (n->column == TRACE_SIZE)
			t->unit = n->unit;
		return 0;
	}
	ignore(t, t->field[field]);
	return 0;
}

static int read_header(struct trace *t, struct failure *f)
{
	const bool skip = t->options.skip_bad;
	enum event_next got;

	t->options.skip_bad = false; /* without a header nothing is understood */
	got = split_line(t, &t->fields, f);
	t->options.skip_bad = skip;
	if (got == EVENT_FAILED)
		return f->code;
	if (got == EVENT_END)
		return fail(f, EXIT_IMAGE, "%s is empty: a trace begins with a header, such as %s", t->name,
			    t->layout->example);
	for (unsigned i = 0; i < t->fields; i++)
		if (place_column(t, i, f))
			return f->code;
	for (unsigned i = 0; i < TRACE_COLUMNS; i++)
		if ((t->layout->needed & 1u << i) && !trace_has(t, (enum trace_column)i))
			return no_header(t, "has no column for the", words[i], f);
	return 0;
}

static void place_all(struct trace *t)
{
	const struct trace_layout *l = t->layout;

	t->fields = l->names;
	for (unsigned i = 0; i < l->names; i++)
		if (l->name[i].column < TRACE_COLUMNS) {
			t->at[l->name[i].column] = i;
			t->scale[l->name[i].column] = l->name[i].scale;
		}
}

int trace_open_csv(struct trace *t, const struct trace_layout *layout, struct failure *f)
{
	t->layout = layout;
	for (unsigned i = 0; i < TRACE_COLUMNS; i++)
		t->at[i] = CSV_FIELDS_MAX;
	t->scratch = alloc_resize(&t->alloc, NULL, LINES_MAX, 1);
	if (!t->scratch)
		return trace_no_memory(t, f);
	if (lines_open(&t->lines, t->path, &t->alloc, f))
		return f->code;
	t->lines.skip_trailing = t->options.skip_bad;
	if (!layout->headless)
		return read_header(t, f);
	place_all(t);
	return 0;
}
