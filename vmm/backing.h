/* vmm/backing.h: host memory for a pool, of the kind that was asked for.
 * Threads: one per struct backing. */
#ifndef SLAT_VMM_BACKING_H
#define SLAT_VMM_BACKING_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "mm/pagetable.h"
#include "vmm/failure.h"

enum backing_kind {
	BACKING_ANONYMOUS, /* private, 4K or transparent huge pages */
	BACKING_MEMFD,	   /* shared=on: another process may map it */
	BACKING_HUGETLB,   /* hugepages=on: 2M or 1G pages counted out before the guest starts; shared or not */
};

struct backing_config {
	uint64_t bytes; /* a multiple of 4K; of the huge page's size with hugepages */
	bool hugepages, thp, shared;
	enum pagetable_size huge; /* with hugepages: PAGETABLE_2M or PAGETABLE_1G */
	const char *option;	  /* that asked for it, for sentences; NULL: --memory */
};

struct backing {
	enum backing_kind kind;
	uint8_t *host; /* [host, host + bytes), aligned to the largest page, 2M at least */
	uint64_t bytes;
	int fd;			  /* memfd, or -1 */
	enum pagetable_size leaf; /* the largest page that the host can give here */
};

const char *backing_kind_name(enum backing_kind k);

/* Maps the memory; nothing of it is touched.
 * EXIT_HOST with one sentence, nothing left behind, iff the host has not got
 * so much, or not so many huge pages free. */
int backing_open(struct backing *b, const struct backing_config *config, struct failure *f);
void backing_close(struct backing *b);

/* Touches every page of [from, from + bytes) now, so that none can be missing later. EXIT_HOST iff memory ran out;
 * EXIT_SIGNAL iff a signal that ends the run came meanwhile and is held back. */
int backing_prefault(const struct backing *b, uint64_t from, uint64_t bytes, struct failure *f);

/* [from, from + bytes) will not be touched, and no huge page that reaches into it is to bring it in. */
void backing_spare(const struct backing *b, uint64_t from, uint64_t bytes);

/* Where it counts, to be opened while slat may open files; NULL where there is no /proc. */
FILE *backing_smaps_open(void);

struct backing_use { /* of the mapping, as the kernel counts it */
	uint64_t resident, huge;
};
struct backing_use backing_use_read(const struct backing *b, FILE *smaps); /* NULL: not known, 0 */

#endif
