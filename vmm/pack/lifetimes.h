/* vmm/pack/lifetimes.h: events out of whole lives that come sorted by their start.
 * Theory: top of lifetimes.c. Threads: one. */
#ifndef SLAT_VMM_PACK_LIFETIMES_H
#define SLAT_VMM_PACK_LIFETIMES_H

#include "vmm/pack/alloc.h"
#include "vmm/pack/event.h"

#define LIFETIME_NEVER UINT64_MAX /* as an end */

struct lifetime {
	uint64_t start_us, end_us; /* end_us >= start_us */
	uint64_t size;
	uint32_t cpu_millis;
};

struct lifetimes_source {
	void *self;
	/* The next row; its start is not before that of the one before. */
	enum event_next (*row)(void *self, struct lifetime *out, struct failure *f);
	/* Who arrives by the row last given: his number. EVENT_END: the row is passed over. */
	enum event_next (*enter)(void *self, uint32_t *guest, struct failure *f);
	void (*leave)(void *self, uint32_t guest);
};

struct lifetimes_departure {
	uint64_t end_us, number;
	uint32_t guest;
};

struct lifetimes { /* private */
	struct lifetimes_source source;
	struct alloc *alloc;
	struct lifetimes_departure *heap; /* the next to depart is heap[0] */
	size_t count, room;
	struct lifetime ahead;
	bool has_ahead, done;
	uint64_t arrivals, now_us, arrivals_before_now;
};

void lifetimes_open(struct lifetimes *l, const struct lifetimes_source *source, struct alloc *alloc);
void lifetimes_close(struct lifetimes *l); /* fine on a zeroed one */
enum event_next lifetimes_next(struct lifetimes *l, struct event *out, struct failure *f);
bool lifetimes_check(const struct lifetimes *l);

#endif
