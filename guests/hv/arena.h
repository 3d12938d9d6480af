/* guests/hv/arena.h: table pages, handed out in order, then the last one that came
 * back: host and hv give a table the same pages for the same changes. */
#ifndef SLAT_GUESTS_HV_ARENA_H
#define SLAT_GUESTS_HV_ARENA_H

#include "guests/hv/script.h"
#include "mm/pagetable.h"

struct arena {
	uint64_t next, returned;
	uint32_t back[HV_ARENA_FRAMES];
};

static inline enum mm_err arena_get(void *self, struct pfn *out)
{
	struct arena *a = self;

	if (a->returned == 0 && a->next == HV_ARENA_FRAMES)
		return MM_ENOMEM;
	out->n = (HV_ARENA >> FRAME_SHIFT) + (a->returned > 0 ? a->back[--a->returned] : a->next++);
	return MM_OK;
}

static inline void arena_put(void *self, struct pfn page)
{
	struct arena *a = self;

	a->back[a->returned++] = (uint32_t)(page.n - (HV_ARENA >> FRAME_SHIFT));
}

/* What both sides build with; `memory` is where they see HV_ARENA. */
static inline struct pagetable_config arena_config(const struct hv_header *h, const struct hv_table *t, void *memory,
						   struct arena *arena)
{
	return (struct pagetable_config){
		.format = (enum pagetable_format)h->format,
		.phys_bits = h->phys_bits,
		.leaf_max = (enum pagetable_size)t->leaf_max,
		.execute_only = t->execute_only,
		.ignore_pat = t->ignore_pat,
		.arena = memory,
		.arena_first = {HV_ARENA >> FRAME_SHIFT},
		.arena_frames = HV_ARENA_FRAMES,
		.pages = {.self = arena, .get = arena_get, .put = arena_put},
	};
}

#endif
