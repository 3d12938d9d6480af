/* vmm/resident.h: the resident truth: of the memory that pools lie on, how much is there,
 * in huge pages, shared, and on which nodes, and the most that there ever was: by the
 * kernel's figures alone, at the moment of the call. Theory: top of resident.c.
 * Threads: one per struct resident. */
#ifndef SLAT_VMM_RESIDENT_H
#define SLAT_VMM_RESIDENT_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/backing.h"
#include "vmm/where.h"

#define RESIDENT_MAX 80u /* backings at a time */

struct resident {
	int pagemap, smaps, maps, status, nodes; /* what is read; -1: the host has none */
	bool tried;				 /* the next two are known */
	bool scans;				 /* pagemap can be asked for kinds of pages, */
	bool zeros;				 /* and knows the huge page of zeros */
	bool merges;				 /* the kernel may make one page of equal ones of ours (KSM) */
	uint64_t most_beside; /* that any call saw of what the kernel keeps no high-water mark of: hugetlb, devices */
};

struct resident_use {
	bool known;	     /* else the next three are 0 */
	uint64_t configured; /* how large it is */
	uint64_t resident;
	uint64_t huge;	 /* of that, mapped by leaves of 2M or 1G */
	uint64_t shared; /* of that, what somebody else maps, too */
	bool where_known;
	struct where where; /* resident, by node */
};

struct resident_sum {
	struct resident_use all; /* known, where_known: of each of them */
	bool high_known;
	uint64_t high; /* the most that the process had at a time, other memory of its own included */
};

/* Of the process that opens it; to be opened while slat may open files. What is not there is not known later. */
void resident_open(struct resident *r);
void resident_close(struct resident *r);

/* use[i] is of backing[i], of up to RESIDENT_MAX that are all open, sum of all together. No memory, and no call but
 * read, pread, lseek and one ioctl; the first time also mmap, madvise and munmap. Of private memory on a host of one
 * node it costs a fraction of a read of smaps_rollup, of a memfd about one. On several nodes: about one, of huge pages
 * one and a half (why: resident.c), of what another process maps, too, two. */
void resident_read(struct resident *r, const struct backing *const *backing, unsigned count, struct resident_use *use,
		   struct resident_sum *sum);

/* Opens, reads one, and closes: not for each second. */
void resident_read_once(const struct backing *backing, struct resident_use *use);

#endif
