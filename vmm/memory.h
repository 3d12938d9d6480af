/* vmm/memory.h: the VMM's own memory: one arena, page frames over it, and a heap
 * over those whose objects of up to GENERAL_HEAP_SMALL_MAX bytes come from slab
 * caches: the board with its devices, the vCPUs, the books of pools, tables and
 * slots. Theory: top of memory.c. (A guest's RAM is not of it: vmm/host.h.)
 *
 * Threads: every call below is the main thread's, and it is checked: that thread
 *          is the allocators' one CPU, number 0. A vCPU's thread takes and gives
 *          nothing back (vcpu.c V3). The first one that must is CPU id + 1.
 * Errors:  NULL: the arena is full; nothing has changed. */
#ifndef SLAT_VMM_MEMORY_H
#define SLAT_VMM_MEMORY_H

#include <pthread.h>

#include "mm/frames.h"
#include "mm/heap.h"
#include "vmm/failure.h"
#include "vmm/redzone.h"

/* The CPUs of every allocator of mm/ that the VMM uses, and the main thread's number. */
#define MEMORY_CPUS	1u
#define MEMORY_MAIN_CPU 0u

struct memory { /* it must not move while it is open */
	uint8_t *arena;
	struct frames frames;
	struct heap heap;
	struct redzone redzone;
	pthread_t owner;
};

/* EXIT_HOST iff the host has no room for the arena. */
int memory_open(struct memory *m, struct failure *f);

/* Fine on a zeroed one. All that was taken has come back by then: else it is slat's own bug, and ends the program. */
void memory_close(struct memory *m);

/* What the calls below take from: for mm/'s structures that take a heap, and MEMORY_MAIN_CPU. */
const struct heap *memory_heap(const struct memory *m);

/* As heap_alloc() and its like say. */
void *memory_alloc(struct memory *m, size_t bytes) __attribute__((warn_unused_result));
void *memory_alloc_zeroed(struct memory *m, size_t n, size_t bytes) __attribute__((warn_unused_result));
void *memory_alloc_aligned(struct memory *m, size_t bytes, size_t align) __attribute__((warn_unused_result));
void *memory_realloc(struct memory *m, void *old, size_t bytes) __attribute__((warn_unused_result));
void memory_free(struct memory *m, void *old); /* NULL is nothing to free; then m may be NULL, too */

/* From here until memory_close() jansson takes what it needs from `m`: one such a process. */
void memory_lend_json(struct memory *m);

#endif
