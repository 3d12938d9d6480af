/* vmm/where_impl.h: how the text of numa_maps is read; for where.c and its own tests. */
#ifndef SLAT_VMM_WHERE_IMPL_H
#define SLAT_VMM_WHERE_IMPL_H

#include "vmm/where.h"

#define WHERE_WORD_BYTES 48u /* what counts is shorter: "N1023=1099511627776", "kernelpagesize_kB=1048576" */

struct where_scan {
	struct where_range *range; /* that lines are for now; those after it are to come */
	unsigned ranges;
	uint64_t pages[WHERE_IDS_MAX]; /* of the line so far, not of 4K: their size comes last */
	uint64_t page_bytes, maps_max;
	bool first_word, counts, over; /* of the line; counts: its mapping is ours */
	unsigned length;	       /* of the word so far, at most WHERE_WORD_BYTES: too long to matter */
	char word[WHERE_WORD_BYTES + 1];
};

void where_scan_begin(struct where_scan *s, struct where_range *range, unsigned ranges);

/* The next piece of the file, cut anywhere. False: no more is needed. */
bool where_scan_feed(struct where_scan *s, const char *text, size_t length);

#endif
