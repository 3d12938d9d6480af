/* vmm/redzone.h: a heap in front of another, so that the address sanitizer sees
 * into it: a byte beyond an allocation, and all of it once it is freed, is
 * forbidden. In builds without that sanitizer it is nothing. Theory: top of
 * redzone.c.
 *
 * Threads: one. */
#ifndef SLAT_VMM_REDZONE_H
#define SLAT_VMM_REDZONE_H

#include "mm/heap.h"

struct redzone {
	struct heap below;
	uint8_t *arena;
	size_t bytes;
	uint64_t asked, asked_max, allocations; /* of live ones */
};

/* *heap, which has handed out nothing yet, becomes the one in front; all that it
 * will hand out lies in [arena, arena + bytes). Borrows all three until the close. */
void redzone_open(struct redzone *r, uint8_t *arena, size_t bytes, struct heap *heap);

/* The arena may be used for anything again. */
void redzone_close(struct redzone *r);

#endif
