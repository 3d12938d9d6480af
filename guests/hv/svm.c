/* svm.c: an inner guest by SVM with NPT (AMD APM vol. 2, ch. 15).
 *
 * One VMCB, one ASID. The inner guest runs in 64-bit mode; since its own tables
 * change between entries behind its back, each VMRUN flushes its ASID, and with
 * it all that the CPU remembers of the second-level table (APM 15.16.1). HLT,
 * shutdown and every exception exit. */
#include "guests/hv/inner.h"
#include "guests/runtime/console.h"
#include "guests/runtime/cpu.h"
#include "guests/runtime/selectors.h"
#include "mm/types.h"

#define LEAF_SVM	0x8000000au
#define SVM_NPT		1u	  /* EDX */
#define SVM_FLUSH_ASID	(1u << 6) /* EDX */
#define MSR_EFER	0xc0000080u
#define EFER_SVME	(UINT64_C(1) << 12)
#define MSR_VM_CR	0xc0010114u
#define VM_CR_SVMDIS	(UINT64_C(1) << 4)
#define MSR_VM_HSAVE_PA 0xc0010117u
#define MSR_PAT		0x277u
#define INTERCEPT_HLT	(1u << 24)
#define INTERCEPT_DOWN	(1u << 31)
#define INTERCEPT_VMRUN 1u
#define FLUSH_ALL	1u
#define FLUSH_ASID	3u
#define EXIT_HLT	0x78u
#define EXIT_NPF	0x400u
#define INFO_RESERVED	(UINT64_C(1) << 3)
#define RFLAGS_NONE	2u
#define ATTRIBUTES_CODE 0x29bu
#define ATTRIBUTES_DATA 0xc93u
#define ATTRIBUTES_TASK 0x08bu

struct segment {
	uint16_t selector, attributes;
	uint32_t limit;
	uint64_t base;
};

struct vmcb { /* APM vol. 2, appendix B; what hv leaves zero is not named */
	uint32_t intercept_cr, intercept_dr, intercept_exceptions, intercept_3, intercept_4;
	uint8_t reserved0[0x58 - 0x14];
	uint32_t asid;
	uint8_t flush, reserved1[3];
	uint64_t interrupt, shadow, exit_code, info1, info2, exit_interrupt, nested, reserved2[2];
	uint64_t event, nested_cr3;
	uint8_t reserved3[0x400 - 0xb8];
	struct segment es, cs, ss, ds, fs, gs, gdtr, ldtr, idtr, tr;
	uint8_t reserved4[0x4d0 - 0x4a0];
	uint64_t efer;
	uint8_t reserved5[0x548 - 0x4d8];
	uint64_t cr4, cr3, cr0, dr7, dr6, rflags, rip;
	uint8_t reserved6[0x5d8 - 0x580];
	uint64_t rsp, shadow_stack[3], rax;
	uint8_t reserved7[0x668 - 0x600];
	uint64_t pat;
	uint8_t reserved8[0x1000 - 0x670];
};

_Static_assert(__builtin_offsetof(struct vmcb, exit_code) == 0x70, "");
_Static_assert(__builtin_offsetof(struct vmcb, nested) == 0x90, "");
_Static_assert(__builtin_offsetof(struct vmcb, nested_cr3) == 0xb0, "");
_Static_assert(__builtin_offsetof(struct vmcb, rip) == 0x578, "");
_Static_assert(__builtin_offsetof(struct vmcb, rax) == 0x5f8, "");
_Static_assert(__builtin_offsetof(struct vmcb, pat) == 0x668, "");
_Static_assert(sizeof(struct vmcb) == FRAME_BYTES, "");

void svm_enter(struct inner_regs *regs, uint64_t vmcb); /* world.S */

static struct vmcb vmcb __attribute__((aligned(4096)));
static uint8_t host_save[FRAME_BYTES] __attribute__((aligned(4096)));

static void guest_write(void)
{
	const struct segment data = {SELECTOR_DATA, ATTRIBUTES_DATA, UINT32_MAX, 0};

	vmcb.es = vmcb.ss = vmcb.ds = vmcb.fs = vmcb.gs = data;
	vmcb.cs = (struct segment){SELECTOR_CODE, ATTRIBUTES_CODE, UINT32_MAX, 0};
	vmcb.tr = (struct segment){SELECTOR_DATA, ATTRIBUTES_TASK, 0x67, 0};
	__asm__ volatile("mov %%cr0, %0; mov %%cr4, %1" : "=r"(vmcb.cr0), "=r"(vmcb.cr4));
	vmcb.efer = msr_read(MSR_EFER);
	vmcb.pat = msr_read(MSR_PAT);
	vmcb.dr6 = 0xffff0ff0;
	vmcb.dr7 = 0x400;
	vmcb.rflags = RFLAGS_NONE;
}

static bool svm_start(void)
{
	struct cpuid leaf = cpu_id(LEAF_SVM);

	if (!(leaf.edx & SVM_NPT) || (msr_read(MSR_VM_CR) & VM_CR_SVMDIS)) {
		console_print("hv: SVM has no nested paging, or is disabled\n");
		return false;
	}
	msr_write(MSR_EFER, msr_read(MSR_EFER) | EFER_SVME);
	msr_write(MSR_VM_HSAVE_PA, (uintptr_t)host_save);
	guest_write();
	vmcb.intercept_exceptions = UINT32_MAX;
	vmcb.intercept_3 = INTERCEPT_HLT | INTERCEPT_DOWN;
	vmcb.intercept_4 = INTERCEPT_VMRUN;
	vmcb.asid = 1;
	vmcb.nested = 1;
	vmcb.flush = leaf.edx & SVM_FLUSH_ASID ? FLUSH_ASID : FLUSH_ALL;
	return true;
}

static uint64_t svm_capability(void)
{
	return 0;
}

static void svm_load(uint64_t pointer)
{
	vmcb.nested_cr3 = pointer;
}

/* The next VMRUN flushes, as each does. */
static void svm_flush(void) {}

static void svm_run(const struct inner_entry *in, struct inner_exit *out)
{
	struct inner_regs regs = {.rdi = in->rdi};

	vmcb.rip = in->rip;
	vmcb.cr3 = in->cr3;
	vmcb.rax = in->rax;
	svm_enter(&regs, (uintptr_t)&vmcb);
	*out = (struct inner_exit){
		.end = INNER_OTHER,
		.reason = vmcb.exit_code,
		.info = vmcb.info1,
		.gpa = vmcb.info2,
		.rip = vmcb.rip,
		.rax = vmcb.rax,
	};
	if (vmcb.exit_code == EXIT_HLT)
		out->end = INNER_HALTED;
	else if (vmcb.exit_code == EXIT_NPF)
		out->end = vmcb.info1 & INFO_RESERVED ? INNER_MISCONFIGURED : INNER_VIOLATION;
}

const struct inner_cpu svm_cpu = {"SVM with NPT", svm_start, svm_capability, svm_load, svm_flush, svm_run};
