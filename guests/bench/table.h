/* guests/bench/table.h: what mm/ costs inside a guest, as a table on the console. */
#ifndef SLAT_GUESTS_BENCH_TABLE_H
#define SLAT_GUESTS_BENCH_TABLE_H

#include <stdbool.h>
#include <stdint.h>

struct table_config {
	unsigned cpus;	 /* of the crew; with two or more, two work at once in some rows */
	uint64_t hz;	 /* of cpu_cycles(), by clock_cycles_hz(); 0: not known, no figures */
	uint64_t rounds; /* 1 or more */
	uint64_t scale;	 /* divides the work of a row; 0 counts as 1 */
};

/* After guest_heap_open() and crew_start(), with nothing allocated; leaves it so.
 * False iff memory ran out or an allocator misbehaved (said on the console). Ring 0. */
bool table_print(const struct table_config *config);

#endif
