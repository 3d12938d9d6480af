/* vmm/pagemap.h: what the kernel's pagemap of a process has, as its
 * Documentation/admin-guide/mm/pagemap.rst says; headers before Linux 6.7 lack the half of it. */
#ifndef SLAT_VMM_PAGEMAP_H
#define SLAT_VMM_PAGEMAP_H

#include <stdint.h>
#include <sys/ioctl.h>

/* An entry: one page. */
#define PAGEMAP_PRESENT (UINT64_C(1) << 63)
#define PAGEMAP_FILE	(UINT64_C(1) << 61) /* or shared memory */
#define PAGEMAP_ALONE	(UINT64_C(1) << 56) /* nobody else maps it */
#define PAGEMAP_FRAME	((UINT64_C(1) << 55) - 1)

/* Asks of which kind the pages of a range are (Linux 6.7). */
#define PAGEMAP_SCAN_REQUEST _IOWR('f', 16, struct pagemap_scan)

enum pagemap_kind {
	PAGEMAP_IS_PRESENT = 1 << 3,
	PAGEMAP_IS_ZERO = 1 << 5, /* the page of zeros that all share */
	PAGEMAP_IS_HUGE = 1 << 6, /* mapped by a leaf of 2M or 1G */
};

struct pagemap_run { /* pages in a row of the kinds that were asked for */
	uint64_t first, end, kinds;
};

struct pagemap_scan {
	uint64_t size; /* of this */
	uint64_t flags;
	uint64_t from, to, reached; /* reached: the next is to begin there */
	uint64_t runs, runs_max;    /* the address of an array of struct pagemap_run, and its length */
	uint64_t pages_max;
	uint64_t inverted, all, any; /* which pages: that have these kinds, inverted ones turned round */
	uint64_t told;		     /* which kinds are told of them */
};

#endif
