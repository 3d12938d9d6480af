/* vmm/where.h: on which nodes memory really is, by the kernel's own figures, against
 * what was asked. Theory: top of where.c.
 * Threads: one for each struct, and for each descriptor of where_maps_open(). */
#ifndef SLAT_VMM_WHERE_H
#define SLAT_VMM_WHERE_H

#include "vmm/failure.h"
#include "vmm/ids.h"
#include "vmm/numa.h"

#define WHERE_IDS_MAX 1024u /* ids of nodes are below: the most that Linux can be built for */

struct where {
	uint64_t bytes[WHERE_IDS_MAX]; /* by node id */
	uint64_t absent_bytes;	       /* no page, or the page of zeros that all share; or a device's memory */
	uint64_t unknown_bytes;	       /* the kernel says neither a node nor that there is none */
};

/* Asks about every page of [host, host + bytes), once each page_bytes: 4096, or the size of the huge pages that the
 * mapping is made of. Some 0.2 us each in huge pages, 0.7 in others. bytes is a multiple of it. EXIT_HOST with one
 * sentence iff the kernel does not answer; *out is then not to be used. Needs move_pages. */
int where_pages(void *host, uint64_t bytes, uint64_t page_bytes, struct where *out, struct failure *f);

uint64_t where_elsewhere(const struct where *w, const struct ids *nodes); /* bytes on nodes that are not in the set */

/* Migrates what breaks the rule, at most `most` bytes of it (UINT64_MAX: all), sets the rule, and looks again. What
 * then is elsewhere could not be moved: it is pinned, or shared, or the nodes are full. EXIT_HOST iff numa_rule_set()
 * or where_pages() is refused. Needs mbind, too. */
int where_repair(const struct numa *n, const struct numa_rule *rule, void *host, uint64_t bytes, uint64_t page_bytes,
		 uint64_t most, struct where *out, struct failure *f);

/* What where_resident() reads, of the process that opens it, to be opened while slat may open files; -1: the kernel has
 * none (no NUMA). */
int where_maps_open(void);

struct where_range {
	const void *host;
	uint64_t bytes;
	struct where *out;
	uint64_t maps_max; /* told: how often that page of it is mapped that is so most often; of huge pages, their
			      first 4K */
	bool joined;	   /* told: what lies right before it is counted with it, as one mapping */
};

/* What of each range, all of it mapped, is resident on which node, as numa_maps has it. They ascend, and a page that is
 * not mapped, or not alike, lies between two; another neighbour that the kernel holds as one mapping with a range is
 * counted, too. Costs about one read of smaps_rollup for all of them, no memory, and lseek and read alone. False iff
 * maps is -1 or cannot be read; each *out is then all 0. */
bool where_resident(int maps, struct where_range *range, unsigned ranges);

#endif
