/* vmm/cpuid.h: what a guest's CPUs say of themselves.
 * Starts from what KVM supports on this host; adds the topology (one package,
 * one thread a core); takes away only what the host's KVM cannot do. Pure.
 * Sources: Intel SDM vol. 2A CPUID; AMD APM vol. 3 appendix E; Linux,
 * Documentation/virt/kvm/x86/cpuid.rst. */
#ifndef SLAT_VMM_CPUID_H
#define SLAT_VMM_CPUID_H

#include "vmm/kvm.h"

struct cpuid_config {
	unsigned cpus;	   /* 1 or more */
	bool tsc_deadline; /* KVM_CAP_TSC_DEADLINE_TIMER: the supported table does not show it */
	bool interpreted;  /* kvm_pvm: ring 0 runs in an emulator without XSAVE and CMPXCHG16B */
};

/* Shapes the supported table into the one that all vCPUs share. */
void cpuid_shape(struct kvm_cpuid_table *t, const struct cpuid_config *config);

/* Puts one vCPU's APIC id into a shaped table. */
void cpuid_set_id(struct kvm_cpuid_table *t, uint32_t apic_id);

/* The entry of a leaf, or NULL. */
struct kvm_cpuid_entry2 *cpuid_find(struct kvm_cpuid_table *t, uint32_t function, uint32_t index);

/* Is the host's CPU Intel's (its second-level tables are EPT) or AMD's (NPT)? Executes CPUID. */
bool cpuid_host_is_intel(void);

#endif
