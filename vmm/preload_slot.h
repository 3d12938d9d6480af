/* vmm/preload_slot.h: which CPU number of the heap a thread works under, and that no
 * thread but the forking one is inside the heap while a process forks. Theory: top of
 * preload_slot.c.
 * Threads: any number. */
#ifndef SLAT_VMM_PRELOAD_SLOT_H
#define SLAT_VMM_PRELOAD_SLOT_H

#include "mm/general_heap.h"

#define PRELOAD_SLOTS_OWN    56u
#define PRELOAD_SLOTS_SHARED 8u
#define PRELOAD_SLOTS	     (PRELOAD_SLOTS_OWN + PRELOAD_SLOTS_SHARED) /* the heap's CPUs */

#define PRELOAD_TABLE_BYTES  1024u /* up to here a table says where the magazine is */

struct preload_slot;

struct preload_small { /* objects of one class */
	struct slab_hot *hot;
	struct slab_layout layout; /* of their slabs, where hot is not NULL */
};

/* What a thread itself has: where the magazines of its slot are, as far as it has used
 * them. All NULL: every call goes the long way. */
struct preload_front {
	struct slab_hot *by_size[PRELOAD_TABLE_BYTES / 16 + 1]; /* bytes rounded up, in 16s */
	struct preload_small by_kind[1 + GENERAL_HEAP_CLASSES]; /* as general_heap_kinds() says; [0] stays NULL */
	struct preload_slot *slot;				/* its own, or NULL */
	bool leaving;						/* it has given its slot back for good */
	uint8_t farewells;
	unsigned cpu;						/* of its slot */
	struct preload_small sampled[1 + GENERAL_HEAP_CLASSES]; /* in place of the tables above, which stay empty */
};
extern __thread struct preload_front preload_front __attribute__((tls_model("initial-exec")));

struct preload_visit { /* of the heap, by one call */
	unsigned cpu;
	struct preload_slot *slot;
};

/* Enters the heap; waits while the process forks. Ends by preload_leave(). Not nested. */
struct preload_visit preload_enter(void);
void preload_leave(struct preload_visit visit);

/* The thread's front knows this class from now on, if the thread has a slot of its own: its tables if the heap is
 * plain, else what may be used while allocations are sampled. */
void preload_front_learn(struct preload_visit visit, unsigned class);

/* Each 256th visit of a slot: is it time to look after what is kept? */
bool preload_is_due(struct preload_visit visit);

/* Runs `visitor` as CPU of each slot that threads used since the last such look, and that none has now. */
void preload_each_left(void (*visitor)(unsigned cpu));

/* Once, while the heap is made; and once, as a constructor. */
void preload_slots_make(void);
void preload_slots_watch_forks(void);

#endif
