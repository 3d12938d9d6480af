/* vmm/pack/pack.c: an experiment: events played into a fleet.
 *
 * Words. The source numbers guests by slots that it uses again; here a guest has a number of
 * its own, since one that waited outlives its departure in the source: it leaves as much
 * later as it had to wait. Late departures are a heap by time, then by the order in
 * which they were known; of one time they come before the source's own event.
 *
 * Invariants; pack_check():
 *   K1  a slot of the source's has one guest that lives or waits, or none;
 *   K2  the queue holds those that wait, in the order of their arrival, and nobody behind its
 *       first one is placed before it; while anybody waits, somebody lives;
 *   K3  arrivals = accepted + refused + waiting; live = accepted - departed;
 *   K4  fleet_check(); free + asked + internal = all, in the source's unit, where asked is what guests asked for and
 *       internal what they were given beyond, guest by guest.
 *
 * Time. Whatever holds between two events is added to the sums, times the length, when the
 * second one comes. A fleet has less than 2^62 units, and time ends at 2^62 us: sums are of 128 bits.
 * Ratios are summed in units of a millionth's 2^20th part, of 2^40 at most; each is too low by less than
 * one, and so is their mean: one is added before it is rounded down to millionths, so that what is
 * whole millionths stays it.
 *
 * Internal fragmentation is of sizes as they were asked for, not of granules. Of those that live they come to less
 * than 2^124, a granule having 2^62 of the source's unit at most; over time to more than 128 bits: what is above 2^64
 * has a sum of its own, which mostly is none.
 *
 * Reading ahead. Of a fleet of thousands of hosts next to nothing is in the caches, and a departure goes from the
 * guest to its piece, its pool, its hole: each place says where the next one is, and each was waited for. So some
 * events are read before they are played, and each step of each one's way is asked for while another event is
 * played: at 10,000 hosts that takes a third off an event, and costs a small fleet 30 ns.
 *
 * Waiting. Who cannot be placed while nobody lives never will be: the fleet stays as it is until somebody is placed.
 * So he is refused, and the queue goes on; it would wait behind him for ever.
 *
 * Waiting times are counted in buckets of a 32nd of their size, so that a trace of any length
 * needs the same memory: a quantile is known to lie in one of them, and not beyond the longest. To have it exactly
 * all waits would have to be kept.
 *
 * Cost. That of the fleet, and O(log late) for a guest that waited. With `wait` each
 * departure tries the first of the queue, until one does not fit. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mm/port.h"
#include "vmm/pack/alloc.h"
#include "vmm/pack/amount.h"
#include "vmm/pack/decimal.h"
#include "vmm/pack/host_index.h"
#include "vmm/pack/pack_impl.h"

#define PPM	 UINT64_C(1000000)
#define NO_GUEST UINT32_MAX
#define SECOND	 UINT64_C(1000000)
#define HOUR	 (3600 * SECOND)

/* Steps of search a plan: most plans are exact with far fewer, and none takes longer than some 100 us. */
#define COMPACT_WORK 1000u

/* ---- arrays that grow ---- */

/* False iff there is no memory; *max is how many there is room for. */
static bool grow(void *array, uint32_t *max, uint64_t need, size_t bytes)
{
	void *old, *now;
	uint64_t most = need + need / 2 + 64;

	if (need <= *max)
		return true;
	memcpy(&old, array, sizeof(old));
	if (most >= UINT32_MAX || !(now = alloc_resize_by_huge_pages(old, most, bytes)))
		return false;
	memset((char *)now + *max * bytes, 0, (most - *max) * bytes);
	memcpy(array, &now, sizeof(now));
	*max = (uint32_t)most;
	return true;
}

/* ---- late departures ---- */

static bool sooner(const struct pack_late *a, const struct pack_late *b)
{
	return a->time_us != b->time_us ? a->time_us < b->time_us : a->order < b->order;
}

static void late_push(struct pack *p, struct pack_late late)
{
	uint32_t at = p->lates++;

	for (; at > 0 && sooner(&late, &p->late[(at - 1) / 2]); at = (at - 1) / 2)
		p->late[at] = p->late[(at - 1) / 2];
	p->late[at] = late;
}

static struct pack_late late_pop(struct pack *p)
{
	struct pack_late top = p->late[0], last = p->late[--p->lates];
	uint32_t at = 0, child;

	while ((child = 2 * at + 1) < p->lates) {
		child += child + 1 < p->lates && sooner(&p->late[child + 1], &p->late[child]);
		if (!sooner(&p->late[child], &last))
			break;
		p->late[at] = p->late[child];
		at = child;
	}
	p->late[at] = last;
	return top;
}

/* ---- the sums ---- */

/* part / all, at most 1. */
static uint64_t fine(uint64_t part, uint64_t all)
{
	return (uint64_t)((wide)part * PACK_FINE / all);
}

static void sums_add(struct pack *p, uint64_t time_us)
{
	struct fleet_totals t = fleet_totals_read(p->fleet);
	uint64_t span = time_us - p->now_us, unused = t.units - t.units_given;
	struct pack_sums *s = &p->sums;

	p->now_us = time_us;
	p->compact_saved += (wide)p->compact_budget * span;
	if (p->compact_saved > (wide)p->compact_budget * HOUR)
		p->compact_saved = (wide)p->compact_budget * HOUR;
	s->span += span;
	s->given += (wide)t.units_given * span;
	s->asked += (wide)t.units_asked * span;
	s->sizes += (wide)(uint64_t)p->sizes * span;
	if (p->sizes >> 64)
		s->sizes_high += (p->sizes >> 64) * span;
	s->local += (wide)t.units_local * span;
	s->units += (wide)t.units * span;
	s->cpu += (wide)t.cpu_millis_given * span;
	s->cpu_all += (wide)t.cpu_millis * span;
	s->guests += (wide)t.guests * span;
	s->holes += (wide)t.holes * span;
	s->empty += (wide)t.hosts_empty * span;
	if (unused > 0 && unused >= t.units / 100 + (t.units % 100 != 0)) {
		s->external += (wide)fine(unused - t.largest_holes, unused) * span;
		s->external_span += span;
	}
	if (t.units_given > 0) {
		uint64_t whole = unused < t.units_given ? 0 : unused / t.units_given; /* mostly no division */

		s->over_whole += (wide)whole * span;
		s->over += (wide)fine(unused - whole * t.units_given, t.units_given) * span;
		s->over_span += span;
	}
}

static void peaks_note(struct pack *p)
{
	struct fleet_totals t = fleet_totals_read(p->fleet);
	struct pack_sums *s = &p->sums;
	uint64_t used;

	s->guests_peak = t.guests > s->guests_peak ? t.guests : s->guests_peak;
	s->top_peak = t.units > s->top_peak ? t.units : s->top_peak;
	if (t.units_given > s->given_peak) {
		s->given_peak = t.units_given;
		s->top_at_peak = t.units;
		used = (uint64_t)((wide)t.units_given * PPM / t.units); /* only now can it rise: units never shrink */
		s->used_peak = used > s->used_peak ? used : s->used_peak;
	}
}

static unsigned bucket_of(uint64_t us)
{
	unsigned bits = us < 64 ? 0 : 63 - (unsigned)__builtin_clzll(us) - 5;

	return us < 64 ? (unsigned)us : 32 * (bits + 1) + (unsigned)(us >> bits) - 32;
}

static uint64_t bucket_start(unsigned bucket)
{
	return bucket < 64 ? bucket : (uint64_t)(bucket % 32 + 32) << (bucket / 32 - 1);
}

/* The most that is in it. */
static uint64_t bucket_end(unsigned bucket)
{
	unsigned bits = bucket < 64 ? 0 : bucket / 32 - 1;

	return bucket < 64 ? bucket : ((uint64_t)(bucket % 32 + 32 + 1) << bits) - 1;
}

static void wait_count(struct pack *p, uint64_t us)
{
	p->figures.waited += us > 0;
	p->figures.wait_longest_us = us > p->figures.wait_longest_us ? us : p->figures.wait_longest_us;
	p->sums.wait += us;
	p->sums.wait_bucket[bucket_of(us)]++;
}

/* ---- guests ---- */

static struct pack_guest *guest_of(struct pack *p, uint32_t number)
{
	return &p->guest[number];
}

static uint32_t guest_new(struct pack *p)
{
	uint32_t number = p->guest_free;

	if (number != NO_GUEST) {
		p->guest_free = guest_of(p, number)->next;
		return number;
	}
	if (!grow(&p->guest, &p->guests_max, (uint64_t)p->guests + 1, sizeof(*p->guest)))
		return NO_GUEST;
	return p->guests++;
}

static void guest_drop(struct pack *p, uint32_t number)
{
	*guest_of(p, number) = (struct pack_guest){.next = p->guest_free};
	p->guest_free = number;
}

static void tell(struct pack *p, struct pack_decision d)
{
	if (!p->see)
		return;
	d.time_us = p->now_us;
	if (d.what != PACK_MOVE)
		d.units = guest_of(p, d.guest)->units;
	p->see(p->see_self, &d);
}

static void tell_moved(void *self, uint32_t guest, uint32_t host, const struct fleet_part *part, uint64_t from)
{
	tell(self, (struct pack_decision){PACK_MOVE, .guest = guest, .host = host, .part = *part, .from = from});
}

static void moves_count(struct pack *p, struct fleet_moved moved)
{
	p->figures.moves += moved.guests;
	p->figures.units_moved += moved.units;
}

static int compact_host(struct pack *p, uint32_t host, struct failure *f)
{
	wide saved = p->compact_saved / SECOND;
	uint64_t budget = saved < UINT64_MAX ? (uint64_t)saved : UINT64_MAX;
	struct fleet_moved moved;

	if (budget > 0 && fleet_compact_host(p->fleet, host, budget, COMPACT_WORK, &moved, f)) {
		p->compact_saved -= (wide)moved.units * SECOND;
		moves_count(p, moved);
	}
	return f->code;
}

/* Leaves the fleet, if it is there. */
static int leave(struct pack *p, uint32_t number, struct failure *f)
{
	uint32_t host = HOST_NONE;

	if (fleet_lives(p->fleet, number)) {
		tell(p, (struct pack_decision){PACK_LEAVE, .guest = number});
		(void)fleet_where(p->fleet, number, &host, NULL, 0);
		(void)fleet_depart(p->fleet, number);
		p->sizes -= guest_of(p, number)->size;
		p->figures.departures++;
	}
	guest_drop(p, number);
	return p->compact == PACK_COMPACT_CONTINUOUS && host != HOST_NONE ? compact_host(p, host, f) : 0;
}

/* What it asks for now; its life begins only when it is placed. */
static struct fleet_ask ask_of(struct pack *p, uint32_t number)
{
	const struct pack_guest *g = guest_of(p, number);

	return (struct fleet_ask){
		.units = g->units,
		.cpu_millis = g->cpu_millis,
		.node = g->node,
		.movable = g->movable,
		.huge = g->huge,
		.now_us = p->now_us,
		.leaves_us = g->leaves_us == FLEET_NEVER ? FLEET_NEVER : g->leaves_us + (p->now_us - g->arrived_us),
	};
}

/* Where a hole is all that it lacks, one is opened, if it may be. */
static int arrive_somehow(struct pack *p, uint32_t number, enum fleet_answer *answer, struct failure *f)
{
	const struct fleet_ask ask = ask_of(p, number);
	struct fleet_moved moved;

	if (fleet_arrive(p->fleet, number, &ask, answer, f) || *answer != FLEET_NO_HOLE ||
	    p->compact != PACK_COMPACT_REFUSED ||
	    !fleet_compact_for(p->fleet, &ask, UINT64_MAX, COMPACT_WORK, &moved, f))
		return f->code;
	moves_count(p, moved);
	return fleet_arrive(p->fleet, number, &ask, answer, f);
}

static int place(struct pack *p, uint32_t number, enum fleet_answer *answer, struct failure *f)
{
	struct pack_guest *g = guest_of(p, number);

	if (arrive_somehow(p, number, answer, f))
		return f->code;
	if (*answer != FLEET_PLACED)
		return 0;
	tell(p, (struct pack_decision){PACK_PLACE, .guest = number});
	p->figures.accepted++;
	p->figures.units_accepted += g->units;
	p->sizes += g->size;
	p->sums.accepted += g->size;
	g->waited_us = p->now_us - g->arrived_us;
	if (p->wait)
		wait_count(p, g->waited_us);
	peaks_note(p);
	return 0;
}

/* ---- the queue ---- */

static uint32_t queue_first(const struct pack *p)
{
	return p->queued ? p->queue[p->queue_at] : NO_GUEST;
}

static bool queue_push(struct pack *p, uint32_t number)
{
	uint32_t old = p->queue_max;

	if (p->queued == old) {
		if (!grow(&p->queue, &p->queue_max, (uint64_t)old + 1, sizeof(*p->queue)))
			return false;
		/* What went round the end of the old one goes to its end. */
		memmove(p->queue + p->queue_max - (old - p->queue_at), p->queue + p->queue_at,
			(old - p->queue_at) * sizeof(*p->queue));
		p->queue_at = old ? p->queue_max - (old - p->queue_at) : 0;
	}
	p->queue[(p->queue_at + (uint64_t)p->queued++) % p->queue_max] = number;
	p->queued_units += guest_of(p, number)->units;
	guest_of(p, number)->waits = true;
	return true;
}

static void queue_pop(struct pack *p)
{
	guest_of(p, queue_first(p))->waits = false;
	p->queued_units -= guest_of(p, queue_first(p))->units;
	p->queue_at = (p->queue_at + 1) % p->queue_max;
	p->queued--;
}

/* What its departure, already known, becomes now that it lives. */
static int life_resume(struct pack *p, uint32_t number, struct failure *f)
{
	const struct pack_guest *g = guest_of(p, number);

	if (!g->leaves)
		return 0;
	if (g->leaves_us + g->waited_us >= EVENT_TIME_MAX)
		return fail(f, EXIT_USAGE, "guest %" PRIu64 " waits so long that it would leave 2^62 us or later",
			    g->number);
	if (!grow(&p->late, &p->lates_max, (uint64_t)p->lates + 1, sizeof(*p->late)))
		return fail(f, EXIT_HOST, "no memory for %" PRIu32 " late departures", p->lates);
	late_push(p, (struct pack_late){g->leaves_us + g->waited_us, p->late_order++, number});
	return 0;
}

static void refuse(struct pack *p, uint32_t number, enum fleet_answer why)
{
	tell(p, (struct pack_decision){PACK_REFUSE, .guest = number, .why = why});
	p->figures.refused[why]++;
	p->figures.units_refused += guest_of(p, number)->units;
	p->figures.units_refused_why[why] += guest_of(p, number)->units;
}

/* There is nothing that who waits could wait for. */
static bool nobody_lives(const struct pack *p)
{
	return fleet_totals_read(p->fleet).guests == 0;
}

static int queue_serve(struct pack *p, struct failure *f)
{
	for (uint32_t number; (number = queue_first(p)) != NO_GUEST;) {
		enum fleet_answer answer;

		if (place(p, number, &answer, f))
			return f->code;
		p->why = answer;
		if (answer != FLEET_PLACED && !nobody_lives(p))
			return 0;
		queue_pop(p);
		if (answer != FLEET_PLACED) {
			refuse(p, number, answer);
			if (guest_of(p, number)->leaves) /* else when it departs */
				guest_drop(p, number);
		} else if (life_resume(p, number, f))
			return f->code;
	}
	return 0;
}

/* ---- events ---- */

static bool wants_huge(const struct pack *p, const struct event *e)
{
	return p->huge_above && e->size > p->huge_above;
}

static bool played(const struct pack *p, const struct event *e)
{
	return e->number >= p->from && (p->count == 0 || e->number - p->from < p->count);
}

static const char *cpus_format(uint64_t millis, char *text)
{
	text[decimal_format(millis, EVENT_CPU_ONE, text)] = '\0';
	return text;
}

/* units > the most units, without a division. */
static bool too_large(const struct pack *p, const struct event *e)
{
	return e->size > (wide)p->largest[wants_huge(p, e)] * p->granule || e->cpu_millis > p->cpus_most;
}

bool pack_could_place(const struct pack *p, const struct event *e, char *why)
{
	char asked[DECIMAL_TEXT_MAX], most[DECIMAL_TEXT_MAX];
	wide bytes;
	bool huge;

	if (e->kind == EVENT_DEPART || !played(p, e) || !too_large(p, e))
		return true;
	huge = wants_huge(p, e);
	bytes = (wide)p->largest[huge] * p->granule;
	if (e->size > bytes)
		snprintf(why, PACK_WHY_MAX, "asks for %s%s; the largest host has %s", amount_format(p->unit, e->size).s,
			 huge ? " of huge pages" : "",
			 amount_format(p->unit, bytes < UINT64_MAX ? (uint64_t)bytes : UINT64_MAX).s);
	else
		snprintf(why, PACK_WHY_MAX, "asks for %s CPUs; the largest host has %s",
			 cpus_format(e->cpu_millis, asked), cpus_format(p->cpus_most, most));
	return false;
}

static int refuse_large(const struct pack *p, const struct event *e, struct failure *f)
{
	char why[PACK_WHY_MAX] = "";

	(void)pack_could_place(p, e, why);
	return fail(f, EXIT_IMAGE, "guest %" PRIu64 " (from 0) %s", e->number, why);
}

static int arrive_new(struct pack *p, uint32_t number, const struct event *e, struct failure *f)
{
	struct pack_guest *g = guest_of(p, number);
	enum fleet_answer answer = p->why;

	*g = (struct pack_guest){
		.size = e->size,
		.units = e->size / p->granule + (e->size % p->granule != 0),
		.number = e->number,
		.arrived_us = e->time_us,
		.leaves_us = e->life_us == EVENT_LIFE_UNKNOWN ? FLEET_NEVER : e->time_us + e->life_us,
		.cpu_millis = e->cpu_millis,
		.node = e->node == EVENT_NODE_ANY ? FLEET_NODE_ANY : e->node,
		.movable = e->movable && !e->pinned,
		.huge = wants_huge(p, e),
	};
	if (too_large(p, e))
		return refuse_large(p, e, f);
	tell(p, (struct pack_decision){PACK_ARRIVE, .guest = number});
	p->figures.arrivals++;
	p->figures.arriving_us = p->sums.span;
	if (queue_first(p) == NO_GUEST && place(p, number, &answer, f))
		return f->code;
	if (answer == FLEET_PLACED && fleet_lives(p->fleet, number))
		return 0;
	if (!p->wait || nobody_lives(p)) {
		refuse(p, number, answer);
		return 0;
	}
	tell(p, (struct pack_decision){PACK_WAIT, .guest = number,
				       .why = queue_first(p) == NO_GUEST ? answer : FLEET_PLACED});
	p->why = answer;
	return queue_push(p, number) ? 0 : fail(f, EXIT_HOST, "no memory for %" PRIu32 " waiting guests", p->queued);
}

static int arrive(struct pack *p, const struct event *e, struct failure *f)
{
	uint32_t number;

	if (!grow(&p->slot, &p->slots_max, (uint64_t)e->guest + 1, sizeof(*p->slot)) ||
	    (number = guest_new(p)) == NO_GUEST)
		return fail(f, EXIT_HOST, "no memory for the books of %" PRIu32 " guests", p->guests);
	p->slot[e->guest] = number + 1;
	return arrive_new(p, number, e, f);
}

static int depart(struct pack *p, const struct event *e, struct failure *f)
{
	uint32_t number = e->guest < p->slots_max ? p->slot[e->guest] : 0;
	struct pack_guest *g;

	if (number-- == 0)
		return 0; /* it is not of those that are played */
	p->slot[e->guest] = 0;
	g = guest_of(p, number);
	g->leaves = true;
	g->leaves_us = e->time_us;
	if (g->waits)
		return 0;
	if (g->waited_us > 0)
		return life_resume(p, number, f);
	return leave(p, number, f) ? f->code : queue_serve(p, f);
}

static int event_play(struct pack *p, const struct event *e, struct failure *f)
{
	if (e->kind == EVENT_ARRIVE && !played(p, e))
		return 0;
	if (e->kind == EVENT_DEPART && (e->guest >= p->slots_max || p->slot[e->guest] == 0))
		return 0;
	if (!p->begun)
		p->now_us = e->time_us;
	p->begun = true;
	sums_add(p, e->time_us);
	return e->kind == EVENT_ARRIVE ? arrive(p, e, f) : depart(p, e, f);
}

static int late_play(struct pack *p, struct failure *f)
{
	struct pack_late late = late_pop(p);

	sums_add(p, late.time_us);
	return leave(p, late.guest, f) ? f->code : queue_serve(p, f);
}

/* ---- the interface ---- */

static uint64_t most_cpus(const struct fleet_config *c)
{
	uint64_t most = 0;

	for (uint32_t i = 0; i < c->shapes; i++) {
		uint64_t millis = 0;

		for (uint32_t n = 0; n < c->shape[i].nodes; n++) {
			if (c->shape[i].hosts > 0 && c->shape[i].node[n].cpu_millis == FLEET_CPU_UNLIMITED)
				return UINT64_MAX;
			millis += c->shape[i].node[n].cpu_millis;
		}
		most = millis > most && c->shape[i].hosts > 0 ? millis : most;
	}
	return most;
}

static uint64_t largest_host(const struct fleet_config *c, bool huge)
{
	uint64_t most = 0;

	for (uint32_t i = 0; i < c->shapes; i++) {
		uint64_t units = 0;

		for (uint32_t n = 0; n < c->shape[i].nodes; n++) {
			const struct fleet_node *node = &c->shape[i].node[n];

			if (node->units == FLEET_UNBOUNDED)
				return huge ? 0 : UINT64_MAX;
			units += huge ? node->huge
				      : (uint64_t)((wide)(node->units - node->reserve - node->huge) * PPM /
						   (PPM - c->overcommit_ppm));
		}
		most = units > most && c->shape[i].hosts > 0 ? units : most;
	}
	return most;
}

struct pack *pack_open(const struct pack_config *config, struct failure *f)
{
	struct fleet *fleet = fleet_open(&config->fleet, f);
	struct pack *p = fleet ? calloc(1, sizeof(*p)) : NULL;

	MM_ASSERT(config->granule > 0, config->granule, 0);
	if (!p) {
		if (fleet)
			(void)fail(f, EXIT_HOST, "no memory for an experiment");
		fleet_close(fleet);
		return NULL;
	}
	p->fleet = fleet;
	p->granule = config->granule;
	p->unit = config->unit ? config->unit : "byte";
	for (unsigned huge = 0; huge < 2; huge++)
		p->largest[huge] = largest_host(&config->fleet, huge);
	p->cpus_most = most_cpus(&config->fleet);
	p->huge_above = config->huge_above;
	p->wait = config->wait;
	p->compact = config->compact;
	p->compact_budget = config->compact_budget;
	p->from = config->from;
	p->count = config->count;
	p->guest_free = NO_GUEST;
	return p;
}

void pack_close(struct pack *p)
{
	if (!p)
		return;
	fleet_close(p->fleet);
	free(p->guest);
	free(p->slot);
	free(p->queue);
	free(p->late);
	free(p);
}

/* ---- reading ahead ---- */

static const struct event *ahead(const struct pack *p, uint32_t i)
{
	return &p->event[(p->event_at + i) % PACK_AHEAD];
}

/* Of a departure that was read, and of those read before it: what they will look at is asked for a step at a time,
 * since each says where the next is. Whatever happens until they are played, a hint is only that. Not a step an event:
 * which of those are departures no processor can guess, and a wrong guess costs more than the rest of this. */
static void hint(struct pack *p, const struct event *e)
{
	uint32_t at, *now;

	if (e->kind == EVENT_ARRIVE || e->guest >= p->slots_max)
		return;
	__builtin_prefetch(&p->slot[e->guest], 1);
	at = p->comings++;
	now = &p->coming[(at - 1) % PACK_COMING];
	*now = *now < p->slots_max ? p->slot[*now] - 1 : NO_GUEST;
	if (*now != NO_GUEST) {
		const char *guest = (const char *)&p->guest[*now];

		__builtin_prefetch(guest, 1);
		__builtin_prefetch(guest + sizeof(p->guest[0]) - 1, 1);
	}
	p->coming[at % PACK_COMING] = e->guest;
	for (unsigned step = 0; step < FLEET_HINTS; step++)
		fleet_hint(p->fleet, p->coming[(at - 1 - step) % PACK_COMING], step);
}

/* As many events as there is room for. */
static void look_ahead(struct pack *p, const struct pack_source *source)
{
	const uint32_t most = source->prompt ? 1 : PACK_AHEAD;

	while (p->events < most && p->next == EVENT_ONE) {
		struct event *e = &p->event[(p->event_at + p->events) % PACK_AHEAD];

		p->next = source->next(source->self, e, &p->failure);
		if (p->next != EVENT_ONE)
			break;
		p->events++;
		hint(p, e);
	}
}

enum event_next pack_step(struct pack *p, const struct pack_source *source, uint64_t *time_us, struct failure *f)
{
	int code;

	look_ahead(p, source);
	if (p->events == 0 && p->next == EVENT_FAILED) {
		*f = p->failure;
		return EVENT_FAILED;
	}
	if (p->lates > 0 && (p->events == 0 || p->late[0].time_us <= ahead(p, 0)->time_us)) {
		*time_us = p->late[0].time_us;
		code = late_play(p, f);
	} else if (p->events > 0) {
		const struct event *e = ahead(p, 0);

		*time_us = e->time_us;
		p->event_at = (p->event_at + 1) % PACK_AHEAD;
		p->events--;
		code = event_play(p, e, f);
	} else {
		return EVENT_END;
	}
	return code ? EVENT_FAILED : EVENT_ONE;
}

/* sum * scale / all, digit by digit: the product could have more than 128 bits, ten times the rest cannot.
 * scale: a power of ten. */
static uint64_t mean(wide sum, wide all, uint64_t scale)
{
	uint64_t quotient;

	if (all == 0)
		return 0;
	quotient = (uint64_t)(sum / all);
	for (; scale > 1; scale /= 10) {
		sum = sum % all * 10;
		quotient = 10 * quotient + (uint64_t)(sum / all);
	}
	return quotient;
}

/* 1 - what was asked for / what was given, in millionths. Asked is whole granules and a part of one; the part is
 * told digit by digit, so that what is rounded down is the ratio alone. */
static uint64_t internal_ppm(const struct pack *p)
{
	const struct pack_sums *s = &p->sums;
	wide high = s->sizes_high % p->granule, low = (high << 64) + s->sizes;
	wide granules = ((s->sizes_high / p->granule) << 64) + low / p->granule, part = low % p->granule;
	wide unused = s->given - granules;
	uint64_t quotient = 0;

	if (s->given == 0)
		return 0;
	if (part > 0) {
		unused--;
		part = p->granule - part;
	}
	for (uint64_t scale = PPM; scale > 1; scale /= 10) {
		part *= 10;
		unused = unused * 10 + part / p->granule;
		part %= p->granule;
		quotient = 10 * quotient + (uint64_t)(unused / s->given);
		unused %= s->given;
	}
	return quotient;
}

/* In millionths. */
static uint64_t mean_of_ratios(wide whole, wide parts, uint64_t span)
{
	wide rest;

	if (span == 0)
		return 0;
	rest = (whole % span * PACK_FINE + parts) / span + 1;
	return (uint64_t)(whole / span) * PPM + (uint64_t)(rest / (PACK_FINE / PPM));
}

struct pack_wait pack_wait_quantile(const struct pack *p, unsigned percent)
{
	uint64_t guests = p->figures.accepted, seen = 0, longest = p->figures.wait_longest_us;
	uint64_t want = guests - (uint64_t)((wide)guests * (100 - percent) / 100);

	for (unsigned i = 0; want < guests && i < PACK_BUCKETS; i++) {
		seen += p->sums.wait_bucket[i];
		if (seen >= want)
			return (struct pack_wait){bucket_start(i), bucket_end(i) < longest ? bucket_end(i) : longest};
	}
	return (struct pack_wait){longest, longest};
}

void pack_watch(struct pack *p, pack_see *see, void *self)
{
	p->see = see;
	p->see_self = self;
	fleet_watch(p->fleet, see ? tell_moved : NULL, p);
}

struct pack_figures pack_figures_read(const struct pack *p)
{
	struct pack_figures out = p->figures;
	const struct pack_sums *s = &p->sums;

	out.span_us = s->span;
	out.guests_peak = s->guests_peak;
	out.utilisation_ppm = mean(s->given, s->units, PPM);
	out.utilisation_peak_ppm = s->used_peak;
	out.external_ppm = mean_of_ratios(0, s->external, s->external_span);
	out.internal_ppm = internal_ppm(p);
	out.local_ppm = mean(s->local, s->asked, PPM);
	out.cpus_limited = fleet_totals_read(p->fleet).cpu_millis > 0;
	out.cpu_ppm = mean(s->cpu, s->cpu_all, PPM);
	out.guests_milli = mean(s->guests, s->span, 1000);
	out.holes_milli = mean(s->holes, s->span, 1000);
	out.hosts_empty_milli = mean(s->empty, s->span, 1000);
	out.over_ppm = mean_of_ratios(s->over_whole, s->over, s->over_span);
	out.over_at_peak_ppm = s->given_peak ? mean(s->top_at_peak - s->given_peak, s->given_peak, PPM) : 0;
	out.over_most_ppm = s->given_peak ? mean(s->top_peak - s->given_peak, s->given_peak, PPM) : 0;
	out.wait_us = s->wait < INT64_MAX ? (uint64_t)s->wait : INT64_MAX; /* JSON has no more */
	if (p->wait && out.accepted > 0) {
		out.wait_mean_us = mean(s->wait, out.accepted, 1);
		out.wait_p99 = pack_wait_quantile(p, 99);
	}
	if (p->queued > 0)
		out.refused[p->why] += p->queued;
	out.waiting = p->queued;
	out.units_refused += p->queued_units;
	out.units_refused_why[p->why] += p->queued_units;
	out.size_accepted = s->accepted < INT64_MAX ? (uint64_t)s->accepted : INT64_MAX;
	return out;
}

uint64_t pack_refused(const struct pack_figures *n)
{
	return n->refused[FLEET_NO_MEMORY] + n->refused[FLEET_NO_CPU] + n->refused[FLEET_NO_HOLE] +
	       n->refused[FLEET_NO_CONTRACT];
}

const struct fleet *pack_fleet(const struct pack *p)
{
	return p->fleet;
}

uint64_t pack_size_asked(const struct pack *p)
{
	return p->sizes < INT64_MAX ? (uint64_t)p->sizes : INT64_MAX;
}

uint64_t pack_waiting_units(const struct pack *p)
{
	return p->queued_units;
}

const struct pack_figures *pack_counts(const struct pack *p)
{
	return &p->figures;
}

uint64_t pack_waiting(const struct pack *p)
{
	return p->queued;
}

/* ---- the check ---- */

static bool check_slots(const struct pack *p)
{
	for (uint32_t i = 0; i < p->slots_max; i++)
		if (p->slot[i] > p->guests)
			return false;
	return true;
}

static bool check_queue(const struct pack *p)
{
	uint64_t last = 0, units = 0;

	for (uint32_t i = 0; i < p->queued; i++) {
		uint32_t number = p->queue[((uint64_t)p->queue_at + i) % p->queue_max];

		if (number >= p->guests || !p->guest[number].waits || fleet_lives(p->fleet, number) ||
		    p->guest[number].arrived_us < last)
			return false;
		last = p->guest[number].arrived_us;
		units += p->guest[number].units;
	}
	return units == p->queued_units && (p->queued == 0 || !nobody_lives(p)); /* K2 */
}

/* K4, from the guests and the pools, not from sums that were kept. */
static bool check_sizes(const struct pack *p)
{
	const struct fleet *f = p->fleet;
	wide all = 0, unused = 0, asked = 0, internal = 0;

	for (uint32_t i = 0; i < p->guests; i++) {
		const uint64_t size = p->guest[i].size;
		wide given;

		if (!fleet_lives(f, i))
			continue;
		given = (wide)fleet_given_to(f, i) * p->granule;
		if (size == 0 || size > given || p->guest[i].units != (size - 1) / p->granule + 1)
			return false;
		asked += size;
		internal += given - size;
	}
	for (uint32_t host = 0; host < fleet_hosts(f); host++)
		for (uint32_t pool = 0; pool < fleet_pools_of(f, host); pool++) {
			uint64_t units_here, unused_here;

			fleet_room_of(f, host, pool, &units_here, &unused_here);
			all += (wide)units_here * p->granule;
			unused += (wide)unused_here * p->granule;
		}
	return asked == p->sizes && unused + asked + internal == all;
}

bool pack_check(const struct pack *p)
{
	struct fleet_totals t = fleet_totals_read(p->fleet);
	const struct pack_figures *f = &p->figures;
	uint64_t refused = 0;

	for (unsigned i = 0; i < FLEET_ANSWERS; i++)
		refused += f->refused[i];
	for (uint32_t i = 1; i < p->lates; i++)
		if (sooner(&p->late[i], &p->late[(i - 1) / 2]))
			return false;
	return check_slots(p) && check_queue(p) && f->arrivals == f->accepted + refused + p->queued &&
	       t.guests == f->accepted - f->departures && t.units_asked <= t.units_given && fleet_check(p->fleet) &&
	       check_sizes(p);
}
