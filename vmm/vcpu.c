/* vmm/vcpu.c
 *
 * A vCPU thread enters the guest, answers the exit, and enters again, until
 * the VM has ended. Nothing here waits: a device that has to, waits elsewhere.
 *
 * V1  `immediate_exit` is set before the kick: a vCPU that was on its way in
 *     comes straight back, one inside is brought out by the signal.
 * V2  what the guest wrote into the shared page is copied before it is judged:
 *     width, count and offset are KVM's, the data are the guest's.
 * V3  no exit takes memory: what its handler forms (a sentence, registers) comes
 *     from this vCPU's own arena, which is as it was when the exit is over. How much
 *     the largest needs is VCPU_SCRATCH; a handler that needs more is a bug, seen. */
#include "vmm/vcpu.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "mm/scoped.h"
#include "vmm/cpuid.h"
#include "vmm/explain.h"
#include "vmm/fault_find.h"
#include "vmm/gdb_server.h"
#include "vmm/vm.h"
#include "vmm/x86.h"
#include "vmm/zones.h"

#define KICK			SIGUSR2 /* SIGUSR1 is the user's: vm.c */
#define STRAY_LINES		1u	/* said once; the report has the count */

#define CR0_ET			(UINT64_C(1) << 4)
#define EFER_LME		(UINT64_C(1) << 8)
#define RFLAGS_FIXED		2

#define MSR_IA32_MISC_ENABLE	0x1a0
#define MISC_ENABLE_FAST_STRING 1
#define MSR_MTRR_DEF_TYPE	0x2ff
#define MTRR_ENABLED_WRITE_BACK (UINT64_C(1) << 11 | 6)

const char *vcpu_exit_name(unsigned reason)
{
	static const char *const names[VCPU_EXITS] = {
		[KVM_EXIT_UNKNOWN] = "unknown",
		[KVM_EXIT_EXCEPTION] = "exception",
		[KVM_EXIT_IO] = "io",
		[KVM_EXIT_HYPERCALL] = "hypercall",
		[KVM_EXIT_DEBUG] = "debug",
		[KVM_EXIT_HLT] = "hlt",
		[KVM_EXIT_MMIO] = "mmio",
		[KVM_EXIT_IRQ_WINDOW_OPEN] = "irq_window_open",
		[KVM_EXIT_SHUTDOWN] = "shutdown",
		[KVM_EXIT_FAIL_ENTRY] = "fail_entry",
		[KVM_EXIT_INTR] = "interrupted",
		[KVM_EXIT_SET_TPR] = "set_tpr",
		[KVM_EXIT_TPR_ACCESS] = "tpr_access",
		[KVM_EXIT_NMI] = "nmi",
		[KVM_EXIT_INTERNAL_ERROR] = "internal_error",
		[KVM_EXIT_SYSTEM_EVENT] = "system_event",
		[KVM_EXIT_IOAPIC_EOI] = "ioapic_eoi",
	};
	const char *name = reason < VCPU_EXITS ? names[reason] : NULL;

	return name ? name : "other";
}

/* As firmware leaves them: memory is cached, string instructions are fast.
 * A CPU without one of these MSRs takes the ones before it; that is fine. */
static void set_msrs(const struct vcpu *c)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entries[2];
	} msrs = {
		.head.nmsrs = 2,
		.entries =
			{
				{.index = MSR_MTRR_DEF_TYPE, .data = MTRR_ENABLED_WRITE_BACK},
				{.index = MSR_IA32_MISC_ENABLE, .data = MISC_ENABLE_FAST_STRING},
			},
	};

	(void)kvm_vcpu_set_msrs(c->fd, &msrs.head);
}

int vcpu_open(struct vcpu *c, struct vm *vm, unsigned id, struct kvm_cpuid_table *cpuid, struct failure *f)
{
	int error;

	*c = (struct vcpu){.vm = vm, .id = id};
	arena_init(&c->scratch, c + 1, VCPU_SCRATCH);
	c->fd = kvm_vm_create_vcpu(vm->fd, id);
	if (c->fd < 0)
		return fail(f, EXIT_KVM, "KVM cannot create vCPU %u: %s", id, strerror(-c->fd));
	c->run = mmap(NULL, vm->kvm.run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, c->fd, 0);
	if (c->run == MAP_FAILED) {
		c->run = NULL;
		return fail(f, EXIT_KVM, "cannot map the state of vCPU %u: %s", id, strerror(errno));
	}
	cpuid_set_id(cpuid, id);
	error = kvm_vcpu_set_cpuid(c->fd, cpuid);
	if (error)
		return fail(f, EXIT_KVM, "KVM refused the CPUID of vCPU %u: %s", id, strerror(-error));
	set_msrs(c);
	return 0;
}

static struct kvm_segment flat(uint8_t type, uint16_t selector, bool code64)
{
	return (struct kvm_segment){
		.limit = 0xffffffff,
		.selector = selector,
		.type = type,
		.present = 1,
		.db = !code64,
		.s = 1,
		.l = code64,
		.g = 1,
	};
}

static void set_mode(struct kvm_sregs *s, const struct boot_entry *entry)
{
	s->cs = flat(0xb, 0x10, entry->long_mode);
	s->ds = s->es = s->fs = s->gs = s->ss = flat(0x3, 0x18, false);
	s->tr = (struct kvm_segment){.limit = 0xffff, .type = 0xb, .present = 1};
	s->gdt.base = entry->gdt;
	s->gdt.limit = entry->gdt_bytes ? (uint16_t)(entry->gdt_bytes - 1) : 0;
	s->idt.limit = 0;
	s->cr0 = CR0_PE | CR0_ET;
	s->cr3 = 0;
	s->cr4 = 0;
	s->efer = 0;
	if (entry->long_mode) {
		s->cr0 |= CR0_PG;
		s->cr3 = entry->cr3;
		s->cr4 = CR4_PAE;
		s->efer = EFER_LME | EFER_LMA;
	}
}

int vcpu_boot(struct vcpu *c, const struct boot_entry *entry, struct failure *f)
{
	struct kvm_regs regs = {
		.rip = entry->rip,
		.rax = entry->rax,
		.rbx = entry->rbx,
		.rsi = entry->rsi,
		.rsp = entry->rsp,
		.rflags = RFLAGS_FIXED,
	};
	struct kvm_sregs sregs;
	int error = kvm_vcpu_get_sregs(c->fd, &sregs);

	if (!error) {
		set_mode(&sregs, entry);
		error = kvm_vcpu_set_sregs(c->fd, &sregs);
	}
	if (!error)
		error = kvm_vcpu_set_regs(c->fd, &regs);
	if (error)
		return fail(f, EXIT_KVM, "KVM refused the boot CPU's registers: %s", strerror(-error));
	return 0;
}

static void trace(const struct vcpu *c, const char *what, uint64_t address, unsigned width, bool write, uint64_t value)
{
	fprintf(stderr, "slat: cpu %u: %s %s 0x%" PRIx64 ", %u bytes: 0x%" PRIx64 "\n", c->id, what,
		write ? "write" : "read", address, width, value);
}

/* Text until the exit is over (V3). */
static char *scratch(struct vcpu *c, size_t bytes)
{
	char *text = arena_alloc(&c->scratch, bytes, 1);

	MM_ASSERT(text, bytes, c->scratch.used);
	return text;
}

/* String instructions come as one exit: `count` items for one port, packed. */
static void on_io(struct vcpu *c)
{
	struct vm *vm = c->vm;
	const unsigned width = c->run->io.size, port = c->run->io.port;
	const bool write = c->run->io.direction == KVM_EXIT_IO_OUT;
	uint8_t *data = (uint8_t *)c->run + c->run->io.data_offset;
	const uint32_t count = c->run->io.count;

	for (uint32_t i = 0; i < count && !atomic_load(&vm->ended); i++, data += width) {
		uint64_t value = 0;

		if (write) {
			memcpy(&value, data, width);
			bus_write(&vm->board->io, port, width, value);
		} else {
			bus_read(&vm->board->io, port, width, &value);
			memcpy(data, &value, width);
		}
		if (vm->trace_exits)
			trace(c, "port", port, width, write, value);
	}
}

static void on_stray(struct vcpu *c, uint64_t gpa, unsigned width, bool write)
{
	if (atomic_fetch_add(&c->vm->strays, 1) < STRAY_LINES)
		fprintf(stderr,
			"slat: cpu %u %s %u bytes at guest address 0x%" PRIx64
			", where there is neither RAM nor a device; reads give ones, writes are dropped\n",
			c->id, write ? "writes" : "reads", width, gpa);
}

/* For an access that KVM told with its address. */
static void complete_fault(const struct vcpu *c, struct fault *fault)
{
	struct kvm_sregs sregs;
	struct kvm_regs regs;

	fault->cpu = c->id;
	fault_ask_table(fault, &c->vm->table);
	if (kvm_vcpu_get_regs(c->fd, &regs) == 0)
		fault->rip = regs.rip;
	if (kvm_vcpu_get_sregs(c->fd, &sregs) == 0)
		fault->ring = sregs.ss.dpl;
}

static bool is_ram(const void *vm, uint64_t gpa)
{
	return vm_is_ram(vm, gpa);
}

/* For one that it did not: true iff there is one. */
static bool find_fault(const struct vcpu *c, struct fault *fault)
{
	struct kvm_sregs sregs;
	struct kvm_regs regs;
	const struct fault_scene scene = {&c->vm->ram, &regs, &sregs, c->vm, is_ram};

	if (kvm_vcpu_get_regs(c->fd, &regs) || kvm_vcpu_get_sregs(c->fd, &sregs) || !fault_find(&scene, fault))
		return false;
	fault->cpu = c->id;
	fault_ask_table(fault, &c->vm->table);
	return true;
}

/* Whoever debugs may look at it first. */
static void before_crash(struct vcpu *c)
{
	if (c->vm->gdb)
		gdb_vm_crash(&c->vm->gdb->target, c);
}

static void end_by_fault(struct vcpu *c, const struct fault *fault, const char *more)
{
	struct failure why = {0};
	const size_t room = sizeof(c->vm->end_dump);
	char *text = scratch(c, FAULT_TEXT), *dump = scratch(c, room);

	before_crash(c);
	fault_describe(fault, text);
	explain_registers(c, dump, room);
	fail(&why, EXIT_FAULT, "%s%s", text, more);
	vm_end(c->vm, VM_FAULT, 0, &why, dump);
}

/* A guard, or a write to read-only memory. KVM goes past a write before it tells, and stays at a read until it is
 * answered. */
static void on_fault(struct vcpu *c, uint64_t gpa, unsigned width, bool write)
{
	struct fault fault = {
		.access = write ? FAULT_WRITE : FAULT_READ, .gpa = gpa, .bytes = width, .rip_past = write};
	const bool tell = fault_log_add(&c->vm->faults, fault.access, loop_now());
	char *text;

	memset(c->run->mmio.data, 0xff, sizeof(c->run->mmio.data));
	if (c->vm->fault_report && !tell)
		return;
	complete_fault(c, &fault);
	if (!c->vm->fault_report) {
		end_by_fault(c, &fault, "");
		return;
	}
	text = scratch(c, FAULT_TEXT);
	fault_describe(&fault, text);
	fprintf(stderr, "slat: %s; %s\n", text, write ? "dropped" : "answered with ones");
}

/* The table may allow by now what it did not when KVM looked. */
static bool serve_from_ram(const struct vcpu *c, uint64_t gpa, unsigned width, bool write)
{
	const struct ram *ram = &c->vm->ram;
	uint8_t *data = c->run->mmio.data;

	return write ? ram_write(ram, gpa, data, width) : ram_read(ram, gpa, data, width);
}

static void on_mmio(struct vcpu *c)
{
	struct vm *vm = c->vm;
	const uint64_t gpa = c->run->mmio.phys_addr;
	const unsigned width = c->run->mmio.len;
	const bool write = c->run->mmio.is_write;
	uint64_t value = 0;
	bool answered;

	if (vm_is_ram(vm, gpa)) {
		if (!serve_from_ram(c, gpa, width, write))
			on_fault(c, gpa, width, write);
		return;
	}
	if (write) {
		memcpy(&value, c->run->mmio.data, width);
		answered = bus_write(&vm->board->mmio, gpa, width, value);
	} else {
		answered = bus_read(&vm->board->mmio, gpa, width, &value);
		memcpy(c->run->mmio.data, &value, width);
	}
	if (vm->trace_exits)
		trace(c, "memory", gpa, width, write, value);
	if (!answered)
		on_stray(c, gpa, width, write);
}

static void on_system_event(struct vcpu *c)
{
	switch (c->run->system_event.type) {
	case KVM_SYSTEM_EVENT_SHUTDOWN:
		vm_end(c->vm, VM_POWER_OFF, 0, NULL, NULL);
		break;
	case KVM_SYSTEM_EVENT_CRASH:
		vm_end(c->vm, VM_PANIC, 0, NULL, NULL);
		break;
	default:
		vm_end(c->vm, VM_RESET, 0, NULL, NULL);
	}
}

static void give_up(struct vcpu *c, int error)
{
	struct failure why = {0};
	const size_t room = sizeof(c->vm->end_dump);
	char *dump = scratch(c, room);

	before_crash(c);
	if (error == -EFAULT && vm_lacks_pages(c->vm, &why)) {
		vm_end(c->vm, VM_REFUSED, 0, &why, NULL);
		return;
	}
	explain(c, error, &why, dump, room);
	vm_end(c->vm, VM_INTERNAL, 0, &why, dump);
}

/* Nothing is left to answer: a fault ends the run here, whatever --on-fault says. */
static void on_internal_error(struct vcpu *c)
{
	struct fault fault = {0};

	if (!find_fault(c, &fault)) {
		give_up(c, 0);
		return;
	}
	(void)fault_log_add(&c->vm->faults, fault.access, loop_now());
	end_by_fault(c, &fault, "; KVM cannot go on with it: its emulator lacks the instruction, or has none to fetch");
}

/* A report may read it meanwhile; nobody else writes it. */
static void count_exit(struct vcpu *c, unsigned reason)
{
	__atomic_store_n(&c->exits[reason], c->exits[reason] + 1, __ATOMIC_RELAXED);
}

static void on_exit_reason(struct vcpu *c)
{
	const unsigned reason = c->run->exit_reason;

	count_exit(c, reason < VCPU_EXITS ? reason : VCPU_EXITS - 1);
	if (c->vm->trace_exits && reason != KVM_EXIT_IO && reason != KVM_EXIT_MMIO)
		fprintf(stderr, "slat: cpu %u: %s\n", c->id, vcpu_exit_name(reason));
	switch (reason) {
	case KVM_EXIT_IO:
		on_io(c);
		break;
	case KVM_EXIT_MMIO:
		on_mmio(c);
		break;
	case KVM_EXIT_IOAPIC_EOI:
		board_eoi(c->vm->board, c->run->eoi.vector);
		break;
	case KVM_EXIT_DEBUG:
		if (c->vm->gdb)
			gdb_vm_trap(&c->vm->gdb->target, c);
		else
			give_up(c, 0);
		break;
	case KVM_EXIT_SHUTDOWN:
		before_crash(c);
		vm_end(c->vm, VM_TRIPLE_FAULT, 0, NULL, NULL);
		break;
	case KVM_EXIT_SYSTEM_EVENT:
		on_system_event(c);
		break;
	case KVM_EXIT_INTERNAL_ERROR:
		on_internal_error(c);
		break;
	default:
		give_up(c, 0);
	}
}

/* What KVM_RUN came back with. */
static void answer(struct vcpu *c, int error)
{
	SCOPED_ARENA(exit) = scoped_arena_open(&c->scratch);

	if (error == 0)
		on_exit_reason(c);
	else if (error == -EINTR || error == -EAGAIN)
		count_exit(c, KVM_EXIT_INTR);
	else
		give_up(c, error);
}

static void *vcpu_thread(void *self)
{
	struct vcpu *c = self;
	struct vm *vm = c->vm;
	struct failure f = {0};
	char name[16];

	atomic_store(&c->self, pthread_self());
	if (vm->guest.zones && zones_keep_cpu(vm->guest.zones, c->id, &f))
		vm_end(vm, VM_REFUSED, 0, &f, NULL);
	if (vm->gdb)
		gdb_vm_park(&vm->gdb->target, c);
	if (c->id == 0) /* the others' first instruction comes after it: it wakes them */
		atomic_store(&vm->first_instruction_ns, loop_now());
	snprintf(name, sizeof(name), "cpu %u", c->id);
	pthread_setname_np(pthread_self(), name);
	while (!atomic_load(&vm->ended)) {
		int error = kvm_vcpu_run(c->fd);

		answer(c, error);
		if (error && vm->gdb)
			gdb_vm_park(&vm->gdb->target, c);
	}
	if (atomic_fetch_sub(&vm->running, 1) == 1)
		loop_wake(&vm->loop);
	return NULL;
}

static void on_kick(int number)
{
	(void)number;
}

void vcpu_install_kick(void)
{
	struct sigaction action = {.sa_handler = on_kick}; /* without SA_RESTART: KVM_RUN comes back */

	sigaction(KICK, &action, NULL);
}

int vcpu_start(struct vcpu *c, struct failure *f)
{
	int error;

	atomic_fetch_add(&c->vm->running, 1);
	error = pthread_create(&c->thread, NULL, vcpu_thread, c);
	if (error)
		atomic_fetch_sub(&c->vm->running, 1);
	if (error)
		return fail(f, EXIT_HOST, "cannot start the thread of vCPU %u: %s", c->id, strerror(error));
	c->started = true;
	return 0;
}

void vcpu_kick(struct vcpu *c)
{
	if (!c->started)
		return;
	__atomic_store_n(&c->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
	pthread_kill(c->thread, KICK);
}

void vcpu_join(struct vcpu *c)
{
	if (c->started)
		pthread_join(c->thread, NULL);
	c->started = false;
}

void vcpu_close(struct vcpu *c)
{
	MM_ASSERT(c->scratch.used == 0, c->scratch.used, c->id); /* V3 */
	if (c->run)
		munmap(c->run, c->vm->kvm.run_bytes);
	if (c->fd >= 0)
		close(c->fd);
	c->run = NULL;
	c->fd = -1;
}
