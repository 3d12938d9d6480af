/* vmm/kvm.h: every ioctl of KVM that slat uses, named once.
 * (Linux, Documentation/virt/kvm/api.rst.) Functions return a file descriptor
 * or 0, or -errno; none prints, none exits.
 * Threads: any; those on a vCPU from its own thread, but kvm_vcpu_kick's effect. */
#ifndef SLAT_VMM_KVM_H
#define SLAT_VMM_KVM_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/failure.h"

/* Room for what KVM reports; a kernel that knows more leaves answers E2BIG. */
#define KVM_CPUID_MAX 256u

/* What of KVM serves this host: the module that is loaded says it, without a VM to try. */
enum kvm_module { KVM_MODULE_UNKNOWN, KVM_MODULE_INTEL, KVM_MODULE_AMD, KVM_MODULE_PVM };

struct kvm {
	int fd;
	enum kvm_module module;
	size_t run_bytes; /* of a vCPU's shared page */
};

struct kvm_cpuid_table { /* kvm_cpuid2 with its entries in place */
	struct kvm_cpuid2 head;
	struct kvm_cpuid_entry2 entries[KVM_CPUID_MAX];
};

const char *kvm_module_name(enum kvm_module m);
enum kvm_module kvm_module_loaded(void);

/* The path of KVM's device node: /dev/kvm, or what the variable SLAT_KVM names. */
const char *kvm_path(void);

/* EXIT_KVM with one sentence iff the node cannot be opened, is not KVM, or speaks another version. */
int kvm_open(struct kvm *k, const char *path, struct failure *f);
void kvm_close(struct kvm *k);

int kvm_check(const struct kvm *k, unsigned capability); /* its value; 0: absent */
/* EXIT_KVM iff a capability is missing that slat cannot do without. */
int kvm_require(const struct kvm *k, struct failure *f);
int kvm_supported_cpuid(const struct kvm *k, struct kvm_cpuid_table *out);

int kvm_vm_create(const struct kvm *k);
int kvm_vm_set_tss(int vm, uint64_t gpa);
int kvm_vm_set_identity_map(int vm, uint64_t gpa);
int kvm_vm_split_irqchip(int vm, unsigned lines);
int kvm_vm_exit_on_emulation_failure(int vm); /* also where the guest's own ring 3 would get an exception */
int kvm_vm_set_slot(int vm, const struct kvm_userspace_memory_region *slot);
int kvm_vm_dirty_log(int vm, const struct kvm_dirty_log *log); /* and begins a new one */
int kvm_vm_signal_msi(int vm, uint64_t address, uint32_t data);
int kvm_vm_set_routing(int vm, const struct kvm_irq_routing *table);
/* From here on a write of `value`, `width` bytes wide, to gpa adds 1 to the eventfd and is no exit. */
int kvm_vm_ioeventfd(int vm, uint64_t gpa, unsigned width, uint64_t value, int eventfd);
/* From here on what is written to the eventfd sends the message that the routing table has for `line`, if any. */
int kvm_vm_irqfd(int vm, unsigned line, int eventfd);
int kvm_vm_create_vcpu(int vm, unsigned id);

int kvm_vcpu_run(int vcpu);
int kvm_vcpu_set_cpuid(int vcpu, const struct kvm_cpuid_table *t);
int kvm_vcpu_get_regs(int vcpu, struct kvm_regs *r);
int kvm_vcpu_set_regs(int vcpu, const struct kvm_regs *r);
int kvm_vcpu_get_sregs(int vcpu, struct kvm_sregs *s);
int kvm_vcpu_set_sregs(int vcpu, const struct kvm_sregs *s);
int kvm_vcpu_set_msrs(int vcpu, const struct kvm_msrs *m); /* how many were set */
int kvm_vcpu_translate(int vcpu, struct kvm_translation *t);
int kvm_vcpu_get_xsave(int vcpu, struct kvm_xsave *x); /* KVM_GET_FPU leaves MXCSR out */
int kvm_vcpu_set_xsave(int vcpu, const struct kvm_xsave *x);
int kvm_vcpu_get_mp_state(int vcpu, struct kvm_mp_state *s);
int kvm_vcpu_set_debug(int vcpu, const struct kvm_guest_debug *d);
int kvm_vcpu_get_debugregs(int vcpu, struct kvm_debugregs *d); /* the guest's own */
int kvm_vcpu_set_debugregs(int vcpu, const struct kvm_debugregs *d);

#endif
