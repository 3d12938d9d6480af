/* vmm/pack/interval.h: a mean over seeds and how sure it is, in integers alone: the same on every machine.
 * Pure; any thread. */
#ifndef SLAT_VMM_PACK_INTERVAL_H
#define SLAT_VMM_PACK_INTERVAL_H

#include <stdbool.h>
#include <stdint.h>

/* Of values within 2^56 that are independent and about normal: with 95 % confidence their mean is within `half` of this
 * one (Student's t, n - 1 degrees of freedom; of degrees that the table lacks, those of the next below). */
struct interval {
	int64_t mean;
	uint64_t half; /* rounded up */
	bool known;    /* half is: of one value nothing is known */
};

#define INTERVAL_VALUES_MAX 65536u

/* n: 1 to that many */
struct interval interval_of(const int64_t *value, uint32_t n);

uint32_t interval_t_milli(uint32_t degrees); /* 1 or more; thousandths */

#endif
