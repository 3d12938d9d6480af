/* vmm/guest_walk.h: the guest's own page tables, walked as its CPU would, through
 * the second-level table. Pure: what the guest wrote there is read, never trusted.
 * Threads: as vmm/ram.h's. */
#ifndef SLAT_VMM_GUEST_WALK_H
#define SLAT_VMM_GUEST_WALK_H

#include "vmm/ram.h"

struct guest_paging {
	uint64_t cr0, cr3, cr4, efer;
};

enum guest_walk_end {
	GUEST_WALK_DONE,   /* gpa is the byte's */
	GUEST_WALK_ABSENT, /* an entry says that nothing is there: a fault of the guest's own */
	GUEST_WALK_LOST,   /* gpa is that of an entry, and cannot be read */
};

#define GUEST_WALK_STEPS 5u

/* The entries that a walk met, from the root down; of GUEST_WALK_LOST the last one could not be read. */
struct guest_walk_path {
	unsigned steps; /* 0: paging is off */
	unsigned entry_bytes;
	struct guest_walk_step {
		const char *name; /* the manual's, of the entry */
		uint64_t gpa, entry;
	} step[GUEST_WALK_STEPS];
};

/* At most GUEST_WALK_STEPS reads. *gpa stays as it is on GUEST_WALK_ABSENT; path may be NULL. Permissions and
 * reserved bits are not judged. Sources: Intel SDM vol. 3A, 4.3 to 4.5. */
enum guest_walk_end guest_walk(const struct ram *ram, const struct guest_paging *p, uint64_t linear, uint64_t *gpa,
			       struct guest_walk_path *path);

#endif
