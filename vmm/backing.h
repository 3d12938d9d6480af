/* vmm/backing.h: host memory for a pool, of the kind that was asked for.
 * Threads: one per struct backing. */
#ifndef SLAT_VMM_BACKING_H
#define SLAT_VMM_BACKING_H

#include <stdbool.h>
#include <stdint.h>

#include "mm/pagetable.h"
#include "vmm/failure.h"
#include "vmm/ids.h"

struct numa_map;

enum backing_kind {
	BACKING_ANONYMOUS, /* private, 4K or transparent huge pages */
	BACKING_MEMFD,	   /* shared=on: another process may map it */
	BACKING_HUGETLB,   /* hugepages=on: 2M or 1G pages counted out before the guest starts; shared or not */
	BACKING_DEVDAX,	   /* a device-dax: set aside for us, one physical range, shared */
};

#define BACKING_NODE_ANY UINT32_MAX

struct backing_config {
	uint64_t bytes; /* a multiple of 4K; of the huge page's size with hugepages */
	bool hugepages, thp, shared;
	bool reserve;		    /* private pages: counted against what the host promises (overcommit_memory) */
	bool lock;		    /* never swapped out: what is touched stays (mlock) */
	bool no_dump;		    /* not in a core file of slat's */
	bool on_node;		    /* all of it is to be on `node`: refused before it is mapped if that cannot be */
	uint32_t node;		    /* with on_node */
	const struct numa_map *map; /* the host's, to count huge pages on the node; NULL: they are not counted */
	enum pagetable_size huge;   /* with hugepages: PAGETABLE_2M or PAGETABLE_1G */
	const char *devdax;	/* the device's path; NULL: another kind. hugepages, thp and shared do not count then */
	const char *option;	/* that asked for it, for sentences; NULL: --memory */
	const char *zone;	/* "--memory-zone id=x": in all sentences instead of options of --memory; NULL: none */
	const char *root;	/* has a sys/, for tests; NULL: the host's */
	unsigned workers;	/* that touch it at once; 0: one for each CPU */
	const struct ids *cpus; /* where they run, as long as the backing is open; NULL: where the caller does */
};

struct backing {
	enum backing_kind kind;
	uint8_t *host; /* [host, host + bytes), aligned to the largest page, 2M at least */
	uint64_t bytes;
	int fd;			  /* memfd or device-dax, or -1 */
	enum pagetable_size leaf; /* the largest page that the host can give here */
	bool locked;
	bool physical;	  /* [first, first + bytes / 4K) are the host's own frames; only of device-dax, as root */
	struct pfn first; /* with physical */
	uint32_t node;	  /* of a device-dax, or that was asked for; BACKING_NODE_ANY */
	const char *zone; /* of the config */
	unsigned workers; /* likewise */
	const struct ids *cpus;
	char note[256]; /* one sentence about what was asked for and is not so; "": none */
};

const char *backing_kind_name(enum backing_kind k);

/* EXIT_HOST with one sentence iff so many bytes are more than the host's RAM and swap. option: that asked for them. */
int backing_check_host(const char *option, uint64_t bytes, struct failure *f);

/* Maps the memory; nothing of it is touched.
 * EXIT_HOST with one sentence, nothing left behind, iff the host has not got so much, or not so many huge pages free,
 * or none that is as was asked. */
int backing_open(struct backing *b, const struct backing_config *config, struct failure *f);

/* The same in two steps, for who has a place of his own for it. First all is known but host, which is NULL. Then it is
 * mapped at `at`, a multiple of its largest page, over what is there; NULL: anywhere. Refused, it is closed, and at
 * `at` there may be nothing any more. */
int backing_prepare(struct backing *b, const struct backing_config *config, struct failure *f);
int backing_map(struct backing *b, const struct backing_config *config, uint8_t *at, struct failure *f);
void backing_close(struct backing *b);

/* A device-dax has what its last user left there: every byte becomes 0. Nothing is to be done for the other kinds.
 * Fails as backing_prefault(). */
int backing_clear(const struct backing *b, struct failure *f);

/* Touches every page of [from, from + bytes) now, by several threads, so that none can be missing later; what it holds
 * stays. EXIT_HOST iff memory ran out; EXIT_SIGNAL iff a signal that ends the run came meanwhile and is held back. */
int backing_prefault(const struct backing *b, uint64_t from, uint64_t bytes, struct failure *f);

/* [from, from + bytes) will not be touched, and no huge page that reaches into it is to bring it in. */
void backing_spare(const struct backing *b, uint64_t from, uint64_t bytes);

#endif
