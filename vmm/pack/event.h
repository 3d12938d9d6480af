/* vmm/pack/event.h: what happens to a fleet: guests arrive and depart, one event after the
 * other, from a trace (trace.h) or a generator (workload.h).
 * Sizes are in units of whatever is packed: bytes of memory, MHz of spectrum, metres of hold. */
#ifndef SLAT_VMM_PACK_EVENT_H
#define SLAT_VMM_PACK_EVENT_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/failure.h"

#define EVENT_LIFE_UNKNOWN UINT64_MAX
#define EVENT_NODE_ANY	   UINT32_MAX
/* us: no event is later, and a guest that waited leaves before. */
#define EVENT_TIME_MAX (UINT64_C(1) << 62)
#define EVENT_SIZE_MAX (UINT64_C(1) << 62)
#define EVENT_CPU_ONE  1000u /* CPUs are counted in thousandths */

enum event_kind { EVENT_ARRIVE, EVENT_DEPART };

struct event {
	uint64_t time_us; /* since the start of the trace; no event lies before the one that came before it */
	enum event_kind kind;
	/* The same in both events of a guest, and nobody else's between them: small numbers, used again. */
	uint32_t guest;
	/* Of an arrival: */
	uint64_t number;      /* of arrivals that came before it */
	uint64_t size;	      /* 1 to EVENT_SIZE_MAX */
	uint64_t life_us;     /* till it departs, where the source knows */
	uint32_t cpu_millis;  /* 0: none asked */
	uint32_t node;	      /* where it has to lie, or EVENT_NODE_ANY */
	bool pinned, movable; /* pinned: its owner never lets it be moved; else compaction may, if movable */
};

/* A source of events. Threads: one. */
enum event_next {
	EVENT_ONE,    /* *out is the next */
	EVENT_END,    /* there are no more */
	EVENT_FAILED, /* *f says why */
};

#endif
