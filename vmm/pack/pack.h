/* vmm/pack/pack.h: an experiment: events played into a fleet, and what is to be said of it.
 * Theory: top of pack.c. Threads: one for each.
 *
 * All figures are of integers: the same on every machine, and exact, but for quantiles of waits, of which it is known
 * between what they lie. Ratios and means are rounded down, to a millionth or
 * a thousandth. Of means of ratios (external_ppm, over_ppm) each ratio is rounded to 2^-20 of that, so that
 * they are a millionth too high if they lie so close below it. Means are over simulated time, from the first event that
 * is played to the last. */
#ifndef SLAT_VMM_PACK_PACK_H
#define SLAT_VMM_PACK_PACK_H

#include "vmm/pack/event.h"
#include "vmm/pack/fleet.h"

/* Mostly it is asked for some events before they are played, and whatever it says comes in its turn, a failure, too. */
struct pack_source {
	void *self;
	enum event_next (*next)(void *self, struct event *out, struct failure *f);
	bool prompt; /* never asked before all that it said is played: it looks at what became of that */
};

enum pack_compact {
	PACK_COMPACT_NEVER,
	PACK_COMPACT_REFUSED,	 /* when a guest is refused a hole that could be opened */
	PACK_COMPACT_CONTINUOUS, /* a host that a guest has left, as far as the budget goes */
};

struct pack_config {
	struct fleet_config fleet;
	enum pack_compact compact;
	uint64_t compact_budget; /* continuous: units that may be moved a second; what is not used is kept, for an hour
				  */
	const char *unit;	 /* of sizes, for people, as of trace_unit(); NULL: byte. Static */
	uint64_t granule;	 /* sizes of events in a unit of the fleet; a guest takes as many as it begins */
	/* Who is refused waits, first come first served, and lives as long from then on, unless nobody lives whose
	 * departure he could wait for; else it is gone. */
	bool wait;
	uint64_t from, count; /* arrivals that are played; count 0: all that come */
	uint64_t huge_above;  /* who asks for more of an event's size asks for huge pages; 0: nobody does */
};

struct pack_wait { /* us: not less, and not more; a 32nd of it apart at most, or nothing */
	uint64_t least, most;
};

struct pack_figures {
	uint64_t arrivals, accepted;
	uint64_t refused[FLEET_ANSWERS]; /* by why; with `wait`, those that could not even be placed while nobody lived,
					    and those still waiting at the end, by why the first of them does: */
	uint64_t waiting;
	uint64_t units_accepted, units_refused;
	uint64_t units_refused_why[FLEET_ANSWERS]; /* the same, by why */
	uint64_t size_accepted;			   /* as they asked for it, in the source's unit; INT64_MAX: or more */
	uint64_t departures;			   /* of accepted ones */
	uint64_t span_us, arriving_us;		   /* from the first event to the last, and to the last arrival */
	uint64_t guests_peak;

	uint64_t utilisation_ppm, utilisation_peak_ppm; /* given / all units */
	/* 1 - sum of each host's largest hole, huge pages' or not, / sum of free units, of the time when a hundredth is
	 * free or more. */
	uint64_t external_ppm;
	uint64_t internal_ppm; /* 1 - sizes as they were asked for / given, granules, and what the fit rounds up to */
	uint64_t local_ppm;    /* of units asked, those on nodes where the guest has CPUs */
	uint64_t cpu_ppm;      /* given / all, of nodes that have a limit; */
	bool cpus_limited;     /* false: none has, and there is no such figure */
	uint64_t guests_milli, holes_milli, hosts_empty_milli;

	/* Of an unbounded pool: its top over what lives, less 1. */
	uint64_t over_ppm, over_at_peak_ppm,
		over_most_ppm; /* mean; when most lived; highest top over most that lived */

	uint64_t moves, units_moved; /* by compaction */

	uint64_t waited;				 /* guests that had to */
	uint64_t wait_us, wait_mean_us, wait_longest_us; /* in all; of the accepted */
	struct pack_wait wait_p99;
};

/* What is decided of a guest, who has a number while he lives, waits, or is refused and has not departed. */
struct pack_decision {
	enum {
		PACK_ARRIVE, /* nothing yet: his number, which is a new one; as the source's last event, if that is
				prompt */
		PACK_PLACE,  /* where, fleet_where() says */
		PACK_REFUSE,
		PACK_WAIT,
		PACK_MOVE,
		PACK_LEAVE, /* whoever lives; still where he was */
	} what;
	uint64_t time_us;
	uint32_t guest;	       /* pack_fleet()'s, too */
	uint64_t units;	       /* asked for; not of a move */
	enum fleet_answer why; /* of REFUSE and WAIT; FLEET_PLACED: because others wait */
	/* Of a move: */
	uint32_t host;
	struct fleet_part part; /* where it is now */
	uint64_t from;		/* its first unit before */
};
typedef void pack_see(void *self, const struct pack_decision *d);

struct pack; /* opaque */

/* As fleet_open(); granule is 1 or more. Borrows nothing. Lifetimes are known (fleet.h) as events tell them: a life
 * that is not told has no end. */
struct pack *pack_open(const struct pack_config *config, struct failure *f);
void pack_close(struct pack *p); /* fine on NULL */

/* False iff this is an arrival that is to be played, and asks for more memory, or more CPUs, than any host has: all of
 * its nodes, without what it keeps back. why is then what goes on "the guest ...". */
#define PACK_WHY_MAX 160u
bool pack_could_place(const struct pack *p, const struct event *e, char *why);

/* The next event, or departure of one that waited: EVENT_ONE, and *time_us is when; EVENT_END; or EVENT_FAILED, as the
 * source's, EXIT_IMAGE: a guest that pack_could_place() not, or EXIT_HOST: there is no memory. */
enum event_next pack_step(struct pack *p, const struct pack_source *source, uint64_t *time_us, struct failure *f);

/* Who is told of each decision when it is made; NULL: nobody is. */
void pack_watch(struct pack *p, pack_see *see, void *self);

struct pack_figures pack_figures_read(const struct pack *p); /* so far */
uint64_t pack_refused(const struct pack_figures *n);	     /* for whatever reason */
const struct fleet *pack_fleet(const struct pack *p);
uint64_t pack_waiting(const struct pack *p); /* guests, now */
uint64_t pack_waiting_units(const struct pack *p);
/* The same figures as far as they are counts (to departures, and moves), of which nobody who waits is refused; in O(1).
 */
const struct pack_figures *pack_counts(const struct pack *p);
/* What those that live asked for, in the source's unit; INT64_MAX: or more. */
uint64_t pack_size_asked(const struct pack *p);
/* As long as so many percent of the accepted waited, or less: it lies there, and is exact if that is the longest. */
struct pack_wait pack_wait_quantile(const struct pack *p, unsigned percent);

/* free + asked + internal = all, in the source's unit, guests as counted, the queue in order: fleet_check(), too. */
bool pack_check(const struct pack *p);

#endif
