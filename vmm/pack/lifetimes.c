/* vmm/pack/lifetimes.c
 *
 * What it is. A merge: rows in the order of their starts, and the departures of those
 * that are there, in a heap.
 *
 * Order, by time; at the same time first those depart who arrived before it, in the
 * order of their arrivals; then those arrive whose rows start then, in the order of
 * rows; then those of them depart who stay for no time. A life of no time so lies on
 * top of all that arrives with it: a simulator sees the most that is ever asked for.
 *
 * Invariants, verified by lifetimes_check():
 *   F1  heap[i] is not before heap[(i - 1) / 2] by (end, number of its arrival);
 *   F2  nothing in the heap ends before now, and no number is above what arrived.
 * Because a row is looked at before the departures of its start are given, those are
 * told from lives of no time by number: arrivals_before_now.
 *
 * Cost. O(log of those there) an event. Memory: 24 bytes for each that is there. */
#include "vmm/pack/lifetimes.h"

#define HEAP_FIRST 64u

static bool before(const struct lifetimes_departure *a, const struct lifetimes_departure *b)
{
	return a->end_us != b->end_us ? a->end_us < b->end_us : a->number < b->number;
}

static void rise(struct lifetimes *l, struct lifetimes_departure d)
{
	size_t i = l->count++;

	while (i && before(&d, &l->heap[(i - 1) / 2])) {
		l->heap[i] = l->heap[(i - 1) / 2];
		i = (i - 1) / 2;
	}
	l->heap[i] = d;
}

static struct lifetimes_departure take_first(struct lifetimes *l)
{
	const struct lifetimes_departure first = l->heap[0], last = l->heap[--l->count];
	size_t i = 0, child;

	while ((child = 2 * i + 1) < l->count) {
		if (child + 1 < l->count && before(&l->heap[child + 1], &l->heap[child]))
			child++;
		if (!before(&l->heap[child], &last))
			break;
		l->heap[i] = l->heap[child];
		i = child;
	}
	l->heap[i] = last;
	return first;
}

static bool make_room(struct lifetimes *l)
{
	const size_t room = l->room ? l->room * 2 : HEAP_FIRST;
	struct lifetimes_departure *heap;

	if (l->count < l->room)
		return true;
	heap = alloc_resize(l->alloc, l->heap, room, sizeof(*heap));
	if (!heap)
		return false;
	l->heap = heap;
	l->room = room;
	return true;
}

void lifetimes_open(struct lifetimes *l, const struct lifetimes_source *source, struct alloc *alloc)
{
	*l = (struct lifetimes){.source = *source, .alloc = alloc};
}

void lifetimes_close(struct lifetimes *l)
{
	free(l->heap);
	*l = (struct lifetimes){0};
}

static bool departs_next(const struct lifetimes *l)
{
	const struct lifetimes_departure *d = l->heap;
	uint64_t number;

	if (l->count == 0)
		return false;
	if (!l->has_ahead)
		return true;
	number = l->ahead.start_us > l->now_us ? l->arrivals : l->arrivals_before_now;
	return d->end_us < l->ahead.start_us || (d->end_us == l->ahead.start_us && d->number < number);
}

static void depart(struct lifetimes *l, struct event *out)
{
	const struct lifetimes_departure d = take_first(l);

	*out = (struct event){.time_us = d.end_us, .kind = EVENT_DEPART, .guest = d.guest};
	l->source.leave(l->source.self, d.guest);
}

/* EVENT_END: it does not arrive. */
static enum event_next arrive(struct lifetimes *l, struct event *out, struct failure *f)
{
	const struct lifetime *a = &l->ahead;
	enum event_next entered;
	uint32_t guest;

	if (!make_room(l)) {
		fail(f, EXIT_HOST, "no memory for the departures of %zu guests", l->count + 1);
		return EVENT_FAILED;
	}
	entered = l->source.enter(l->source.self, &guest, f);
	if (entered != EVENT_ONE)
		return entered;
	if (a->start_us > l->now_us) {
		l->now_us = a->start_us;
		l->arrivals_before_now = l->arrivals;
	}
	*out = (struct event){
		.time_us = a->start_us,
		.kind = EVENT_ARRIVE,
		.guest = guest,
		.number = l->arrivals++,
		.size = a->size,
		.life_us = EVENT_LIFE_UNKNOWN,
		.cpu_millis = a->cpu_millis,
		.node = EVENT_NODE_ANY,
		.movable = true,
	};
	if (a->end_us != LIFETIME_NEVER) {
		out->life_us = a->end_us - a->start_us;
		rise(l, (struct lifetimes_departure){a->end_us, out->number, guest});
	}
	return EVENT_ONE;
}

enum event_next lifetimes_next(struct lifetimes *l, struct event *out, struct failure *f)
{
	enum event_next got;

	for (;;) {
		if (!l->has_ahead && !l->done) {
			got = l->source.row(l->source.self, &l->ahead, f);
			if (got == EVENT_FAILED)
				return got;
			l->has_ahead = got == EVENT_ONE;
			l->done = got == EVENT_END;
		}
		if (departs_next(l)) {
			depart(l, out);
			return EVENT_ONE;
		}
		if (!l->has_ahead)
			return EVENT_END;
		got = arrive(l, out, f);
		l->has_ahead = false;
		if (got != EVENT_END)
			return got;
	}
}

bool lifetimes_check(const struct lifetimes *l)
{
	for (size_t i = 0; i < l->count; i++)
		if ((i && before(&l->heap[i], &l->heap[(i - 1) / 2])) || l->heap[i].end_us < l->now_us ||
		    l->heap[i].number >= l->arrivals)
			return false;
	return l->count <= l->room && l->arrivals_before_now <= l->arrivals;
}
