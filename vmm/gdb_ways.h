/* vmm/gdb_ways.h: what of the debugging that KVM offers works on this host. KVM
 * takes every request and tells nothing, so it is tried: on a VM of one page, in a
 * few milliseconds. Theory: top of gdb_ways.c.
 * Threads: any. */
#ifndef SLAT_VMM_GDB_WAYS_H
#define SLAT_VMM_GDB_WAYS_H

#include <stdbool.h>

#include "vmm/kvm.h"

struct gdb_ways {
	bool trap;	/* int3 in the guest's memory leads to slat, not to the guest */
	bool exec;	/* a debug register stops at an instruction */
	bool watch;	/* a debug register stops after an access */
	bool block_irq; /* a step can keep interrupts away */
};

/* All false where the trial cannot even be made: stepping is left. */
struct gdb_ways gdb_ways_try(const struct kvm *k);

#endif
