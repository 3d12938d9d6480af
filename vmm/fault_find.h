/* vmm/fault_find.h: which access it was that KVM could not go on with, when it does
 * not say. Theory: top of fault_find.c. Pure: registers and memory are given.
 * Threads: as vmm/ram.h's. */
#ifndef SLAT_VMM_FAULT_FIND_H
#define SLAT_VMM_FAULT_FIND_H

#include <linux/kvm.h>

#include "vmm/fault.h"
#include "vmm/ram.h"

struct fault_scene {
	const struct ram *ram;
	const struct kvm_regs *regs;
	const struct kvm_sregs *sregs;
	const void *self;
	bool (*is_ram)(const void *self, uint64_t gpa); /* inside the guest's RAM, guards included */
};

/* True iff an access was found that the second-level table forbids within the
 * guest's RAM: access, walk, gpa, linear, rip, ring of *out are set. */
bool fault_find(const struct fault_scene *s, struct fault *out);

#endif
