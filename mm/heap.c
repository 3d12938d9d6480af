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

struct heap_stats heap_stats_add(struct heap_stats a, struct heap_stats b)
{
	return (struct heap_stats){.bytes_asked = a.bytes_asked + b.bytes_asked,
				   .bytes_asked_max = a.bytes_asked_max + b.bytes_asked_max,
				   .bytes_given = a.bytes_given + b.bytes_given,
				   .bytes_held = a.bytes_held + b.bytes_held,
				   .bytes_total = a.bytes_total + b.bytes_total,
				   .allocations = a.allocations + b.allocations};
}
