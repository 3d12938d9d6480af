/* mm/buddy_heap.h: a heap of power-of-two blocks over mm/buddy: each merges with its
 * buddy as soon as both are free. Theory: top of buddy_heap.c.
 *
 * Memory:  its state: 2.2 bits for each 16 bytes of a region from 4 MiB on, 1.8 KB for one of 4 KiB. Nothing is
 *          kept in the blocks, of which less than half is not asked for, where 16 bytes and no alignment were.
 * Threads: one at a time, whatever CPU it names.
 * Cost:    O(BUDDY_ORDER_MAX); nothing is searched. What moves is copied, too. The check and
 *          buddy_heap_init(): O(region_bytes). */
#ifndef SLAT_MM_BUDDY_HEAP_H
#define SLAT_MM_BUDDY_HEAP_H

#include "mm/buddy.h"
#include "mm/heap.h"

#define BUDDY_HEAP_LARGEST    ((size_t)HEAP_ALIGN << BUDDY_ORDER_MAX) /* bytes of one allocation: 256 MiB */
#define BUDDY_HEAP_REGION_MAX (UINT64_C(1) << 40)		      /* bytes */

struct buddy_heap; /* opaque; fields in buddy_heap_impl.h */

/* For a region so long; 0 iff it is shorter than HEAP_ALIGN or longer than BUDDY_HEAP_REGION_MAX. */
size_t buddy_heap_meta_bytes(uint64_t region_bytes);

/* Borrows meta (64-byte aligned) and the region while *out is in use; of the region what lies behind the last multiple
 * of HEAP_ALIGN is left alone. A block is aligned to its length, or as the region is if that is less: what is
 * asked to be aligned to more is refused. MM_EINVAL: meta or region NULL or misaligned (the region to HEAP_ALIGN); meta
 * too small; region_bytes as above. A free of what is not the start of a live block, or of more than it has, is seen,
 * always; a second one of what was given again since is not. */
MM_MUST_CHECK enum mm_err buddy_heap_init(void *meta, size_t meta_bytes, void *region, uint64_t region_bytes,
					  struct heap *out);

#endif
