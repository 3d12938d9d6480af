/* vmm/pack/trace_events.c: traces whose rows are events: slat's own, and Huawei-East-1. */
#include <string.h>

#include "vmm/pack/trace_impl.h"

#define SECOND	   UINT64_C(1000000) /* in microseconds */
#define NEEDED	   (1u << TRACE_TIME | 1u << TRACE_EVENT | 1u << TRACE_ID | 1u << TRACE_SIZE)
#define LEAVES_OFF UINT64_MAX /* nobody told when */

static const struct trace_column_name slat_names[] = {
	{"time_s", TRACE_TIME, SECOND, NULL},
	{"event", TRACE_EVENT, 1, NULL},
	{"vm_id", TRACE_ID, 1, NULL},
	{"cpu", TRACE_CPU, EVENT_CPU_ONE, NULL},
	{"mem_mib", TRACE_SIZE, 1u << 20, NULL},
	{"mem_gib", TRACE_SIZE, 1u << 30, NULL},
	{"size_bytes", TRACE_SIZE, 1, NULL},
	{"size_mhz", TRACE_SIZE, 1, "MHz"},
	{"size_metre", TRACE_SIZE, 1, "metre"},
	{"size", TRACE_SIZE, 1, "unit"},
	{"node", TRACE_NODE, 1, NULL},
	{"pinned", TRACE_PINNED, 1, NULL},
	{"movable", TRACE_MOVABLE, 1, NULL},
	{"life_s", TRACE_LIFE, SECOND, NULL},
};

static const struct trace_column_name huawei_names[] = {
	{"vmid", TRACE_ID, 1, NULL},
	{"cpu", TRACE_CPU, EVENT_CPU_ONE, NULL},
	{"memory", TRACE_SIZE, 1u << 30, NULL},
	{"time", TRACE_TIME, SECOND, NULL},
	{"type", TRACE_EVENT, 1, NULL},
};

static const struct trace_layout slat = {
	.name = slat_names,
	.names = sizeof(slat_names) / sizeof(slat_names[0]),
	.needed = NEEDED,
	.example = "time_s,event,vm_id,cpu,mem_mib",
	.arrive = "arrive",
	.depart = "depart",
};

static const struct trace_layout huawei = {
	.name = huawei_names,
	.names = sizeof(huawei_names) / sizeof(huawei_names[0]),
	.needed = NEEDED,
	.example = "vmid,cpu,memory,time,type",
	.arrive = "0",
	.depart = "1",
};

/* ---- an arrival ---- */

static bool is_told(const struct trace *t, enum trace_column column)
{
	return trace_has(t, column) && trace_field(t, column).length;
}

static enum event_next read_flag(struct trace *t, enum trace_column column, bool *flag, struct failure *f)
{
	if (!is_told(t, column))
		return EVENT_ONE;
	*flag = csv_is(trace_field(t, column), "1");
	if (*flag || csv_is(trace_field(t, column), "0"))
		return EVENT_ONE;
	return trace_bad(t, TRACE_BAD_VALUE, column == TRACE_PINNED ? "pinned is 0 or 1" : "movable is 0 or 1", f);
}

static enum event_next read_node(struct trace *t, struct event *e, struct failure *f)
{
	enum decimal_result result;
	uint64_t node;

	if (!is_told(t, TRACE_NODE))
		return EVENT_ONE;
	result = trace_number(t, TRACE_NODE, EVENT_NODE_ANY - 1, &node);
	if (result != DECIMAL_OK)
		return trace_bad_number(t, TRACE_NODE, result, f);
	e->node = (uint32_t)node;
	return EVENT_ONE;
}

static enum event_next read_life(struct trace *t, struct event *e, uint64_t *leaves, struct failure *f)
{
	enum decimal_result result;

	if (!is_told(t, TRACE_LIFE))
		return EVENT_ONE;
	result = trace_number(t, TRACE_LIFE, EVENT_TIME_MAX, &e->life_us);
	if (result != DECIMAL_OK)
		return trace_bad_number(t, TRACE_LIFE, result, f);
	*leaves = e->time_us + e->life_us;
	return EVENT_ONE;
}

static enum event_next arrive(struct trace *t, struct event *e, struct failure *f)
{
	const struct csv_field id = trace_field(t, TRACE_ID);
	uint64_t leaves = LEAVES_OFF;
	enum event_next got;

	e->number = t->stats.arrivals;
	e->life_us = EVENT_LIFE_UNKNOWN;
	e->node = EVENT_NODE_ANY;
	e->movable = true;
	if ((got = trace_request(t, &e->size, &e->cpu_millis, f)) != EVENT_ONE ||
	    (got = read_node(t, e, f)) != EVENT_ONE || (got = read_flag(t, TRACE_PINNED, &e->pinned, f)) != EVENT_ONE ||
	    (got = read_flag(t, TRACE_MOVABLE, &e->movable, f)) != EVENT_ONE ||
	    (got = read_life(t, e, &leaves, f)) != EVENT_ONE)
		return got;
	switch (live_table_add(t->live, id.at, id.length, leaves, &e->guest)) {
	case LIVE_OK:
		return EVENT_ONE;
	case LIVE_TWICE:
		return trace_bad(t, TRACE_BAD_TWICE, "a guest of that name is there", f);
	default:
		trace_no_memory(t, f);
		return EVENT_FAILED;
	}
}

/* ---- a departure ---- */

static enum event_next depart(struct trace *t, struct event *e, struct failure *f)
{
	const struct csv_field id = trace_field(t, TRACE_ID);
	uint64_t leaves;

	if (trace_has(t, TRACE_LIFE) && live_table_find(t->live, id.at, id.length, &e->guest, &leaves) == LIVE_OK &&
	    leaves != LEAVES_OFF && leaves != e->time_us)
		return trace_bad(t, TRACE_BAD_TIME, "departs at another time than life_s said", f);
	if (live_table_remove(t->live, id.at, id.length, &e->guest) != LIVE_OK)
		return trace_bad(t, TRACE_BAD_UNKNOWN, "no guest of that name is there", f);
	return EVENT_ONE;
}

static enum event_next read_event(struct trace *t, struct event *e, struct failure *f)
{
	const struct csv_field event = trace_field(t, TRACE_EVENT);
	enum decimal_result result;
	enum event_next got;

	*e = (struct event){0};
	result = trace_number(t, TRACE_TIME, EVENT_TIME_MAX, &e->time_us);
	if (result != DECIMAL_OK)
		return trace_bad_number(t, TRACE_TIME, result, f);
	if (trace_field(t, TRACE_ID).length == 0)
		return trace_bad(t, TRACE_BAD_VALUE, "the guest has no name", f);
	e->kind = csv_is(event, t->layout->depart) ? EVENT_DEPART : EVENT_ARRIVE;
	if (e->kind == EVENT_ARRIVE && !csv_is(event, t->layout->arrive))
		return trace_bad(t, TRACE_BAD_VALUE, "neither arrives nor departs", f);
	if (e->time_us < t->now_us)
		return trace_bad(t, TRACE_BAD_TIME, "time goes back", f);
	got = e->kind == EVENT_ARRIVE ? arrive(t, e, f) : depart(t, e, f);
	if (got == EVENT_ONE)
		t->now_us = e->time_us;
	return got;
}

static enum event_next next(struct trace *t, struct event *out, struct failure *f)
{
	enum event_next got;

	do {
		got = trace_line(t, f);
		if (got != EVENT_ONE)
			return got;
		got = read_event(t, out, f);
	} while (got == EVENT_END);
	return got;
}

int trace_open_events(struct trace *t, struct failure *f)
{
	t->next = next;
	return trace_open_csv(t, t->format == TRACE_SLAT ? &slat : &huawei, f);
}
