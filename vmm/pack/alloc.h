/* vmm/pack/alloc.h: libc's heap, with a fault injected on demand. Threads: one. */
#ifndef SLAT_VMM_PACK_ALLOC_H
#define SLAT_VMM_PACK_ALLOC_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

struct alloc {
	uint64_t fail_after; /* the n-th from now on (1 is the next) is refused, once; 0: none is. For tests. */
};

static inline bool alloc_refuses(struct alloc *a)
{
	return a->fail_after && --a->fail_after == 0;
}

/* As realloc(): NULL, and `memory` is as it was, iff there is no room. */
static inline void *alloc_resize(struct alloc *a, void *memory, size_t count, size_t bytes)
{
	return alloc_refuses(a) ? NULL : reallocarray(memory, count, bytes);
}

static inline void *alloc_zeroed(struct alloc *a, size_t count, size_t bytes)
{
	return alloc_refuses(a) ? NULL : calloc(count, bytes);
}

/* Fresh memory of an array that is looked into all over: of huge pages, as far as it has whole ones and the host gives
 * them, since else each look is a miss of the TLB, too. Returns it. */
static inline void *alloc_by_huge_pages(void *memory, size_t bytes)
{
	const uintptr_t huge = UINT64_C(2) << 20, start = ((uintptr_t)memory + huge - 1) & -huge,
			end = ((uintptr_t)memory + bytes) & -huge;

	if (memory && start < end)
		(void)madvise((void *)start, end - start, MADV_HUGEPAGE);
	return memory;
}

/* As realloc(), of such an array. */
static inline void *alloc_resize_by_huge_pages(void *memory, size_t count, size_t bytes)
{
	return alloc_by_huge_pages(reallocarray(memory, count, bytes), count * bytes);
}

#endif
