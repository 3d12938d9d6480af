/* mm/arena_impl.h: the fields behind arena.h's heap, for arena.c and its own tests. */
#ifndef SLAT_MM_ARENA_IMPL_H
#define SLAT_MM_ARENA_IMPL_H

#include "mm/arena.h"
#include "mm/heap_count.h"

struct arena_block {	/* before each allocation */
	uint64_t asked; /* 0: freed */
	uint32_t back;	/* to the header before, in HEAP_ALIGN; 0: this is the first */
	uint32_t tag;
};

_Static_assert(sizeof(struct arena_block) == ARENA_HEAP_OVERHEAD, "what follows a header is aligned");
_Static_assert(ARENA_HEAP_BYTES_MAX / HEAP_ALIGN <= UINT64_C(1) << 32, "back reaches every header");

struct arena_heap {
	struct heap_ops ops; /* here, since a table of its own would need relocations */
	struct arena arena;  /* of what follows */
	struct arena_block *newest;
	struct heap_count count;
};

#endif
