#include "vmm/explain.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "vmm/ram.h"
#include "vmm/vm.h"
#include "vmm/x86.h"

#define CODE_BYTES 16u

struct text {
	char *at;
	size_t left;
};

static void add(struct text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void add(struct text *t, const char *format, ...)
{
	va_list arguments;
	int length;

	va_start(arguments, format);
	length = vsnprintf(t->at, t->left, format, arguments);
	va_end(arguments);
	if (length < 0)
		return;
	if ((size_t)length >= t->left)
		length = (int)t->left - 1;
	t->at += length;
	t->left -= (size_t)length;
}

static bool is_legacy_prefix(uint8_t byte)
{
	switch (byte) {
	case 0x26:
	case 0x2e:
	case 0x36:
	case 0x3e:
	case 0x64:
	case 0x65:
	case 0x66:
	case 0x67:
	case 0xf0:
	case 0xf2:
	case 0xf3:
		return true;
	default:
		return false;
	}
}

/* Intel SDM vol. 2: opcode maps, appendix A. */
const char *explain_instruction(const uint8_t *code, size_t bytes, int long_mode)
{
	size_t i = 0;
	uint8_t rex = 0, field;

	while (i < bytes && is_legacy_prefix(code[i]))
		i++;
	if (long_mode && i < bytes && (code[i] & 0xf0) == 0x40)
		rex = code[i++];
	if (i >= bytes)
		return NULL;
	if (code[i] == 0xcc)
		return "int3";
	if (code[i] == 0xcd)
		return "a software interrupt";
	if (code[i] == 0xc4 || code[i] == 0xc5 || code[i] == 0x62)
		return long_mode ? "an AVX instruction" : NULL;
	if (code[i] != 0x0f || i + 2 >= bytes)
		return NULL;
	field = code[i + 2] >> 3 & 7;
	if (code[i + 1] == 0xc7 && field == 1 && code[i + 2] < 0xc0)
		return rex & 8 ? "cmpxchg16b" : NULL;
	if (code[i + 1] == 0xc7 && code[i + 2] < 0xc0 && field >= 3 && field <= 5)
		return field == 3 ? "xrstors" : field == 4 ? "xsavec" : "xsaves";
	if (code[i + 1] == 0xae && code[i + 2] < 0xc0 && (field == 4 || field == 5))
		return field == 4 ? "xsave" : "xrstor";
	if (code[i + 1] == 0xae && code[i + 2] < 0xc0 && field == 6)
		return "xsaveopt";
	return NULL;
}

/* The bytes at rip, through the guest's own translation and then ours. */
static size_t read_code(const struct vcpu *c, uint64_t linear, uint8_t *code)
{
	size_t got = 0;

	while (got < CODE_BYTES) {
		struct kvm_translation t = {.linear_address = linear + got};

		if (kvm_vcpu_translate(c->fd, &t) || !t.valid ||
		    !ram_read(&c->vm->ram, t.physical_address, code + got, 1))
			break;
		got++;
	}
	return got;
}

static const char *mode_name(const struct kvm_sregs *s, const struct kvm_regs *r)
{
	if (!(s->cr0 & CR0_PE))
		return "real mode";
	if (r->rflags & (1u << 17))
		return "virtual-8086 mode";
	if (!(s->efer & EFER_LMA))
		return s->cs.db ? "32-bit protected mode" : "16-bit protected mode";
	return s->cs.l ? "64-bit mode" : "compatibility mode";
}

static void dump_state(struct text *t, const struct kvm_regs *r, const struct kvm_sregs *s, const uint8_t *code,
		       size_t bytes)
{
	add(t, "  rip %016llx  rflags %08llx  %s, ring %u\n", r->rip, r->rflags, mode_name(s, r), s->cs.dpl);
	add(t, "  rax %016llx  rbx %016llx  rcx %016llx  rdx %016llx\n", r->rax, r->rbx, r->rcx, r->rdx);
	add(t, "  rsi %016llx  rdi %016llx  rbp %016llx  rsp %016llx\n", r->rsi, r->rdi, r->rbp, r->rsp);
	add(t, "  r8  %016llx  r9  %016llx  r10 %016llx  r11 %016llx\n", r->r8, r->r9, r->r10, r->r11);
	add(t, "  r12 %016llx  r13 %016llx  r14 %016llx  r15 %016llx\n", r->r12, r->r13, r->r14, r->r15);
	add(t, "  cr0 %016llx  cr2 %016llx  cr3 %016llx  cr4 %016llx\n", s->cr0, s->cr2, s->cr3, s->cr4);
	add(t, "  efer %08llx  cs %04x base %llx  ss %04x  gdt %llx+%x  idt %llx+%x  tr %04x\n", s->efer,
	    s->cs.selector, s->cs.base, s->ss.selector, s->gdt.base, s->gdt.limit, s->idt.base, s->idt.limit,
	    s->tr.selector);
	add(t, "  code at rip:");
	for (size_t i = 0; i < bytes; i++)
		add(t, " %02x", code[i]);
	add(t, bytes ? "\n" : " not readable\n");
}

static const char *suberror_name(uint32_t suberror)
{
	switch (suberror) {
	case KVM_INTERNAL_ERROR_EMULATION:
		return "could not emulate an instruction";
	case KVM_INTERNAL_ERROR_SIMUL_EX:
		return "met an exception while it delivered another";
	case KVM_INTERNAL_ERROR_DELIVERY_EV:
		return "met an exit while it delivered an event (a fault's handler or stack is not in RAM?)";
	case KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON:
		return "met an exit of the CPU that it does not know";
	default:
		return "reports an internal error";
	}
}

static void say(const struct vcpu *c, int error, const char *instruction, const char *mode, uint64_t rip,
		struct failure *why)
{
	const struct kvm_run *run = c->run;
	bool interpreted = c->vm->kvm.module == KVM_MODULE_PVM;

	if (error)
		fail(why, EXIT_INTERNAL, "KVM_RUN failed on cpu %u at rip 0x%" PRIx64 " (%s): %s", c->id, rip, mode,
		     strerror(-error));
	else if (run->exit_reason == KVM_EXIT_INTERNAL_ERROR && instruction && interpreted)
		fail(why, EXIT_INTERNAL,
		     "KVM %s on cpu %u at rip 0x%" PRIx64 " (%s): %s; this host's KVM (%s) interprets ring 0 and "
		     "lacks it: run the guest on a KVM with hardware help",
		     suberror_name(run->internal.suberror), c->id, rip, mode, instruction,
		     kvm_module_name(c->vm->kvm.module));
	else if (run->exit_reason == KVM_EXIT_INTERNAL_ERROR)
		fail(why, EXIT_INTERNAL, "KVM %s on cpu %u at rip 0x%" PRIx64 " (%s)%s%s%s",
		     suberror_name(run->internal.suberror), c->id, rip, mode, instruction ? ": " : "",
		     instruction ? instruction : "",
		     interpreted ? "; this host's KVM (kvm_pvm) interprets ring 0, not every instruction is known to it"
				 : "");
	else if (run->exit_reason == KVM_EXIT_FAIL_ENTRY)
		fail(why, EXIT_INTERNAL,
		     "the CPU refused to enter the guest on cpu %u at rip 0x%" PRIx64 " (%s): reason 0x%llx", c->id,
		     rip, mode, run->fail_entry.hardware_entry_failure_reason);
	else
		fail(why, EXIT_INTERNAL,
		     "KVM came out of the guest on cpu %u at rip 0x%" PRIx64
		     " (%s) for a reason that slat does not serve: %u (%s)",
		     c->id, rip, mode, run->exit_reason, vcpu_exit_name(run->exit_reason));
}

void explain(const struct vcpu *c, int error, struct failure *why, char *dump, size_t size)
{
	struct text t = {dump, size};
	struct kvm_regs regs = {0};
	struct kvm_sregs sregs = {0};
	uint8_t code[CODE_BYTES];
	size_t bytes;
	bool long_mode;

	dump[0] = '\0';
	if (kvm_vcpu_get_regs(c->fd, &regs) || kvm_vcpu_get_sregs(c->fd, &sregs)) {
		fail(why, EXIT_INTERNAL, "KVM gave up on cpu %u and does not even tell its registers", c->id);
		return;
	}
	bytes = read_code(c, sregs.cs.base + regs.rip, code);
	long_mode = (sregs.efer & EFER_LMA) && sregs.cs.l;
	say(c, error, explain_instruction(code, bytes, long_mode), mode_name(&sregs, &regs), regs.rip, why);
	dump_state(&t, &regs, &sregs, code, bytes);
}

void explain_registers(const struct vcpu *c, char *dump, size_t size)
{
	struct text t = {dump, size};
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	uint8_t code[CODE_BYTES];

	dump[0] = '\0';
	if (kvm_vcpu_get_regs(c->fd, &regs) == 0 && kvm_vcpu_get_sregs(c->fd, &sregs) == 0)
		dump_state(&t, &regs, &sregs, code, read_code(c, sregs.cs.base + regs.rip, code));
}
