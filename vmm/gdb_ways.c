/* vmm/gdb_ways.c
 *
 * There are hosts that take KVM_SET_GUEST_DEBUG and then do part of it. Seen:
 * kvm_pvm (Linux 6.18), which interprets ring 0, stops at instructions by debug
 * register and steps, but does not see accesses, nor anything at all in ring 3;
 * kvm_amd in QEMU's TCG (7.2), which steps, but loads no debug register and takes
 * int3 for a software interrupt. So the trial: three programs of a few bytes in
 * flat 32-bit protected mode, each of which ends in KVM_EXIT_DEBUG iff the host
 * does it, and in something else (HLT, a triple fault, an internal error) iff not.
 *
 * Not seen by it: what works in ring 0 and fails in ring 3 (kvm_pvm). */
#include "vmm/gdb_ways.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/x86.h"

#define BYTES	 4096u
#define PROGRAM	 0x100u
#define NOTED	 0x800u
#define VCPU_ID	 1u /* any: without an interrupt controller in the kernel it runs at once */
#define DR7_USED 0x400u

struct trial {
	int vm, vcpu;
	uint8_t *ram;
	struct kvm_run *run;
	size_t run_bytes;
};

static bool trial_open(struct trial *t, const struct kvm *k)
{
	struct kvm_userspace_memory_region slot = {.memory_size = BYTES};

	*t = (struct trial){.vm = kvm_vm_create(k), .vcpu = -1, .ram = MAP_FAILED, .run = MAP_FAILED};
	t->run_bytes = k->run_bytes;
	if (t->vm < 0)
		return false;
	t->ram = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (t->ram == MAP_FAILED)
		return false;
	slot.userspace_addr = (uintptr_t)t->ram;
	if (kvm_vm_set_slot(t->vm, &slot))
		return false;
	t->vcpu = kvm_vm_create_vcpu(t->vm, VCPU_ID);
	if (t->vcpu < 0)
		return false;
	t->run = mmap(NULL, t->run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, t->vcpu, 0);
	return t->run != MAP_FAILED;
}

static void trial_close(struct trial *t)
{
	if (t->run != MAP_FAILED)
		munmap(t->run, t->run_bytes);
	if (t->vcpu >= 0)
		close(t->vcpu);
	if (t->ram != MAP_FAILED)
		munmap(t->ram, BYTES);
	if (t->vm >= 0)
		close(t->vm);
}

static bool trial_enter(const struct trial *t)
{
	struct kvm_segment code = {
		.limit = UINT32_MAX, .selector = 8, .type = 11, .present = 1, .db = 1, .s = 1, .g = 1};
	struct kvm_segment data = code;
	struct kvm_regs regs = {.rip = PROGRAM, .rsp = BYTES, .rflags = 2};
	struct kvm_sregs sregs;

	if (kvm_vcpu_get_sregs(t->vcpu, &sregs))
		return false;
	data.selector = 16;
	data.type = 3;
	sregs.cs = code;
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = data;
	sregs.cr0 |= CR0_PE;
	sregs.idt.limit = 0;
	return !kvm_vcpu_set_sregs(t->vcpu, &sregs) && !kvm_vcpu_set_regs(t->vcpu, &regs);
}

static bool trial_stops(const struct trial *t, const uint8_t *program, size_t bytes,
			const struct kvm_guest_debug *debug)
{
	int error;

	memcpy(t->ram + PROGRAM, program, bytes);
	if (!trial_enter(t) || kvm_vcpu_set_debug(t->vcpu, debug))
		return false;
	do
		error = kvm_vcpu_run(t->vcpu);
	while (error == -EINTR || error == -EAGAIN);
	return !error && t->run->exit_reason == KVM_EXIT_DEBUG;
}

struct gdb_ways gdb_ways_try(const struct kvm *k)
{
	static const uint8_t nops[] = {0x90, 0x90, 0xf4};
	static const uint8_t store[] = {0xa2, NOTED & 0xff, NOTED >> 8, 0,
					0,    0x90,	    0xf4}; /* mov %al, NOTED; nop; hlt */
	static const uint8_t trap[] = {0xcc, 0xf4};
	const struct kvm_guest_debug exec = {
		.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP,
		.arch.debugreg = {[0] = PROGRAM + 1, [7] = DR7_USED | 1},
	};
	const struct kvm_guest_debug watch = {
		.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP,
		.arch.debugreg = {[0] = NOTED, [7] = DR7_USED | 1 | 1 << 16},
	};
	const struct kvm_guest_debug soft = {.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_SW_BP};
	struct gdb_ways ways = {0};
	struct trial t;

	if (trial_open(&t, k)) {
		ways.exec = trial_stops(&t, nops, sizeof(nops), &exec);
		ways.watch = trial_stops(&t, store, sizeof(store), &watch);
		ways.trap = trial_stops(&t, trap, sizeof(trap), &soft); /* last: where it fails, the vCPU is done for */
	}
	trial_close(&t);
	ways.block_irq = kvm_check(k, KVM_CAP_SET_GUEST_DEBUG2) & KVM_GUESTDBG_BLOCKIRQ;
	return ways;
}
