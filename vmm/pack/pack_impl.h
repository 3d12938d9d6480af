/* vmm/pack/pack_impl.h: the fields of an experiment, for pack.c and its own tests. */
#ifndef SLAT_VMM_PACK_PACK_IMPL_H
#define SLAT_VMM_PACK_PACK_IMPL_H

#include "vmm/pack/pack.h"

/* Departures that hints are under way for, and events that are read before they are played: as a rule half of them
 * depart. */
#define PACK_COMING 8u
#define PACK_AHEAD  (2u * PACK_COMING)
_Static_assert(PACK_COMING >= FLEET_HINTS + 1, "each has its turn of all hints");

#define PACK_BUCKETS (32u * 60u)

#define PACK_FINE    (UINT64_C(1000000) << 20) /* what ratios are summed in; millionths are exact */

typedef unsigned __int128 wide;

struct pack_guest {
	uint64_t size, units, number;	/* size, number: the source's */
	uint64_t arrived_us, waited_us; /* in the source */
	uint64_t leaves_us;	   /* in the source, as its life says, or FLEET_NEVER; once that was read, exactly */
	uint32_t cpu_millis, node; /* asked for */
	uint32_t next;		   /* of the unused */
	bool movable, huge;
	bool waits, leaves; /* its departure was read */
};

struct pack_late { /* a departure of one that waited */
	uint64_t time_us, order;
	uint32_t guest;
};

struct pack_sums { /* over time: times us */
	wide given, asked, local, units, cpu, cpu_all, guests, holes, empty, wait;
	wide sizes, sizes_high;		 /* asked for, in the source's unit; high: times 2^64 */
	wide accepted;			 /* size, of all; not over time */
	wide external, over, over_whole; /* in units of PACK_FINE; over: what is behind the point */
	uint64_t span, external_span, over_span;
	uint64_t used_peak, guests_peak, given_peak, top_at_peak, top_peak;
	uint64_t wait_bucket[PACK_BUCKETS];
};

struct pack {
	struct fleet *fleet;
	uint64_t granule, from, count, huge_above;
	uint64_t largest[2]; /* host: units; of huge pages */
	uint64_t cpus_most;  /* of any host, in thousandths; UINT64_MAX: no limit */
	enum pack_compact compact;
	uint64_t compact_budget;
	wide compact_saved; /* units times us */
	const char *unit;
	bool wait, begun;
	pack_see *see; /* or NULL */
	void *see_self;
	struct event event[PACK_AHEAD]; /* a ring: read, and not played yet */
	uint32_t event_at, events;
	uint32_t coming[PACK_COMING], comings; /* a ring: the last one's slot in the source, the others' numbers */
	enum event_next next;		       /* what the source said last */
	struct failure failure;		       /* that of its failure */
	uint64_t now_us, late_order;
	wide sizes;	       /* of those that live, as they asked for them */
	enum fleet_answer why; /* of the first in the queue */
	struct pack_guest *guest;
	uint32_t *slot;	 /* by the source's number: guest + 1, or 0 */
	uint32_t *queue; /* a ring */
	struct pack_late *late;
	uint32_t guests, guests_max, guest_free, slots_max;
	uint32_t queue_at, queued, queue_max;
	uint64_t queued_units;
	uint32_t lates, lates_max;
	struct pack_sums sums;
	struct pack_figures figures;
};

#endif
