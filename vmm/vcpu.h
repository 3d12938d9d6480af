/* vmm/vcpu.h: one virtual CPU and its thread.
 * Threads: vcpu_open/boot/start/stop/close from the main thread; the rest on the vCPU's own. */
#ifndef SLAT_VMM_VCPU_H
#define SLAT_VMM_VCPU_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "mm/arena.h"
#include "vmm/boot/boot.h"
#include "vmm/kvm.h"

#define VCPU_EXITS 64u /* KVM's exit reasons; a larger one counts in the last */

struct vm;

struct vcpu {
	struct vm *vm;
	unsigned id;
	int fd;
	struct kvm_run *run;
	pthread_t thread;
	bool started;
	struct arena scratch;	    /* of one exit; own thread */
	uint64_t exits[VCPU_EXITS]; /* own thread until it has been joined */
};

/* What an exit's handler may take: the sentence and the registers of a crash are the most. */
#define VCPU_SCRATCH 4096u
#define VCPU_BYTES   (sizeof(struct vcpu) + VCPU_SCRATCH)

/* c: VCPU_BYTES. cpuid: shaped; this vCPU's id is put in. */
int vcpu_open(struct vcpu *c, struct vm *vm, unsigned id, struct kvm_cpuid_table *cpuid, struct failure *f);

/* Where the boot CPU starts; the others wait for INIT and SIPI. */
int vcpu_boot(struct vcpu *c, const struct boot_entry *entry, struct failure *f);

/* The handler that lets a signal bring a vCPU out of the guest; once a process. */
void vcpu_install_kick(void);

int vcpu_start(struct vcpu *c, struct failure *f);
void vcpu_kick(struct vcpu *c); /* out of the guest, soon */
void vcpu_join(struct vcpu *c);
void vcpu_close(struct vcpu *c);

const char *vcpu_exit_name(unsigned reason);

#endif
