/* vmm/preload_direct.h: the largest blocks of libslatmalloc.so, each a mapping of its own.
 * Threads: any number. Errors: NULL, and nothing has changed. */
#ifndef SLAT_VMM_PRELOAD_DIRECT_H
#define SLAT_VMM_PRELOAD_DIRECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* All zeroes; at a multiple of `align`, a power of two. */
void *preload_direct_alloc(size_t bytes, size_t align);

/* How many bytes it has; 0: it is none. */
size_t preload_direct_bytes(const void *memory);

/* How many bytes it had; 0: it is none, and nothing was done. */
size_t preload_direct_free(void *memory);

/* Another length of the same block, perhaps elsewhere; what is new is zeroes. */
void *preload_direct_resize(void *memory, size_t bytes);

struct preload_direct_stats {
	uint64_t blocks, bytes;
};
struct preload_direct_stats preload_direct_stats_read(void);

#endif
