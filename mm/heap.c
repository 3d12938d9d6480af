/* mm/heap.c: what every heap does alike. */
#include "mm/heap.h"

void *heap_alloc_zeroed(const struct heap *h, unsigned cpu, size_t n, size_t bytes)
{
	size_t all;
	void *memory;

	if (__builtin_mul_overflow(n, bytes, &all))
		return NULL;
	memory = heap_alloc(h, cpu, all);
	if (memory)
		__builtin_memset(memory, 0, all);
	return memory;
}
