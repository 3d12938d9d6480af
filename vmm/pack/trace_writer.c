/* vmm/pack/trace_writer.c
 *
 * What it is. The inverse of trace_events.c: what was written reads as the same events, field for field. The reader,
 * seeing the same arrivals and departures, gives out the same numbers, if they were given out as live_table.h says.
 *
 * The text of an event depends on nothing but the event and the guest's name. */
#include "vmm/pack/trace_writer.h"

#include <string.h>

#include "vmm/pack/text_file.h"

#define EVENT_BYTES 256u /* of a line without its name: eight numbers of up to 20 digits, and the words */
#define SECOND	    UINT64_C(1000000)

_Static_assert(EVENT_BYTES + 2 * TEXT_FILE_NAME + 2 <= TEXT_FILE_LINE, "an event has room");

static void put_arrival(struct text_file *t, const struct event *e)
{
	text_file_put_number(t, e->cpu_millis, EVENT_CPU_ONE);
	text_file_put(t, ",");
	text_file_put_number(t, e->size, 1);
	text_file_put(t, ",");
	if (e->node != EVENT_NODE_ANY)
		text_file_put_number(t, e->node, 1);
	text_file_put(t, e->pinned ? ",1," : ",0,");
	text_file_put(t, e->movable ? "1," : "0,");
	if (e->life_us != EVENT_LIFE_UNKNOWN)
		text_file_put_number(t, e->life_us, SECOND);
}

int trace_writer_add(struct text_file *t, const struct event *e, struct csv_field name, struct failure *f)
{
	if (f->code || text_file_judge_name(t, name, f) || text_file_room(t, EVENT_BYTES + 2 * name.length + 2, f))
		return f->code;
	text_file_put_number(t, e->time_us, SECOND);
	text_file_put(t, e->kind == EVENT_ARRIVE ? ",arrive," : ",depart,");
	text_file_put_name(t, name);
	text_file_put(t, ",");
	if (e->kind == EVENT_ARRIVE)
		put_arrival(t, e);
	else
		text_file_put(t, ",,,,,");
	text_file_put(t, "\n");
	return 0;
}

/* The column of sizes, as trace_unit() finds it again. */
static const char *size_column(const char *unit)
{
	static const char *const columns[][2] = {{"byte", "size_bytes"}, {"MHz", "size_mhz"}, {"metre", "size_metre"}};

	for (size_t i = 0; i < sizeof(columns) / sizeof(columns[0]); i++)
		if (strcmp(unit, columns[i][0]) == 0)
			return columns[i][1];
	return "size";
}

struct text_file *trace_writer_open(const char *path, const struct trace_writer_options *options, struct failure *f)
{
	struct text_file *t = text_file_open(path, options->fail_after, f);

	if (!t)
		return NULL;
	text_file_put(t, "time_s,event,vm_id,cpu,");
	text_file_put(t, size_column(options->unit));
	text_file_put(t, ",node,pinned,movable,life_s\n");
	return t;
}
