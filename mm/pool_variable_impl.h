/* mm/pool_variable_impl.h: the fields behind pool_variable.h, for pool_variable.c and its own tests. */
#ifndef SLAT_MM_POOL_VARIABLE_IMPL_H
#define SLAT_MM_POOL_VARIABLE_IMPL_H

#include "mm/lock.h"
#include "mm/pool_variable.h"

#define UNIT_SHIFT 4u
#define UNIT	   (1u << UNIT_SHIFT)

/* Lists: below SECOND units one a length; above SECOND to a doubling. A block has less than 2^31 units. */
#define SECOND_SHIFT 5u
#define SECOND	     (1u << SECOND_SHIFT)
#define FIRST	     28u
#define LOOK	     4u /* blocks of a list that are looked at where any might do, and might not */

struct pool_block {			/* a header, before each block */
	uint32_t units;			/* behind it; 0: the end of a region */
	uint32_t before;		/* units of the block before; 0: this is a region's first */
	uint32_t slack;			/* of a live one: bytes that were not asked for */
	uint32_t seal;			/* says which it is: live or free, and here */
	struct pool_block *next, *prev; /* of a free one */
};
_Static_assert(offsetof(struct pool_block, next) == UNIT && sizeof(struct pool_block) == 2 * UNIT,
	       "a header is a unit, and one more has room for the links");
_Static_assert(POOL_VARIABLE_REGION_MAX >> UNIT_SHIFT <= UINT64_C(1) << (FIRST + SECOND_SHIFT - 2),
	       "every length has a list");

struct pool_region {
	uintptr_t base;
	size_t bytes; /* all of it; multiple of UNIT */
	size_t taken; /* as the source gave it; 0: lent */
};

struct pool_variable {
	struct heap_ops ops; /* here, since a table of its own would need relocations */
	struct lock lock;    /* for all below but fail_after, if there are CPUs to share with */
	unsigned cpus;
	uint32_t first_map, second_map[FIRST];
	struct pool_block *list[FIRST][SECOND];
	struct pool_region region[POOL_VARIABLE_REGIONS];
	unsigned regions, coming;  /* there; being asked for */
	uint64_t bytes_most, held; /* what is asked for included */
	size_t chunk_bytes;
	struct pool_source source;
	const struct heap *fallback;
	uint64_t asked, asked_max, given, count;
	uint64_t blocks_free, units_free;
	uint64_t refused, fail_after;
	uint32_t work; /* list operations of the call under way */
	uint32_t alloc_work_max, free_work_max, realloc_work_max;
};

#endif
