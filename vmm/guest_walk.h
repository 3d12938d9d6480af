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

/* At most five reads. *gpa stays as it is on GUEST_WALK_ABSENT. Permissions and
 * reserved bits are not judged. Sources: Intel SDM vol. 3A, 4.3 to 4.5. */
enum guest_walk_end guest_walk(const struct ram *ram, const struct guest_paging *p, uint64_t linear, uint64_t *gpa);

#endif
