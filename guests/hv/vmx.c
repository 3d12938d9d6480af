/* vmx.c: an inner guest by VMX with EPT (Intel SDM vol. 3C, ch. 24 to 31).
 *
 * One VMCS. The inner guest runs in 64-bit mode without VPID, so that each
 * entry forgets what the CPU remembered of linear addresses (SDM 29.4.3.1): the
 * inner tables may change between entries. What it remembers of guest-physical
 * addresses goes only by INVEPT. HLT, every exception and a triple fault exit. */
#include "guests/hv/inner.h"
#include "guests/hv/script.h"
#include "guests/runtime/console.h"
#include "guests/runtime/cpu.h"
#include "guests/runtime/guest.h"
#include "guests/runtime/selectors.h"
#include "mm/types.h"

#define MSR_FEATURE_CONTROL 0x3au
#define FEATURE_LOCKED	    1u
#define FEATURE_VMX	    4u
#define MSR_VMX_BASIC	    0x480u
#define MSR_VMX_PIN	    0x481u /* then processor, exit and entry; their true forms are at 0x48d */
#define MSR_VMX_TRUE_PIN    0x48du
#define MSR_VMX_SECONDARY   0x48bu
#define MSR_VMX_EPT	    0x48cu
#define BASIC_TRUE	    (UINT64_C(1) << 55)
#define CR4_VMXE	    (UINT64_C(1) << 13)

#define PROCESSOR_HLT	    (1u << 7)
#define PROCESSOR_SECONDARY (1u << 31)
#define SECONDARY_EPT	    (1u << 1)
#define EXIT_HOST_64	    (1u << 9)
#define ENTRY_GUEST_64	    (1u << 9)

#define INVEPT_ONE	    1ul
#define REASON_EXCEPTION    0u
#define REASON_HLT	    12u
#define REASON_VIOLATION    48u
#define REASON_MISCONFIG    49u
#define QUALIFIER_LINEAR    (UINT64_C(1) << 7)

/* IA32_VMX_EPT_VPID_CAP (SDM A.10): execute-only, 4 levels, write-back, 2M, 1G, INVEPT, A and D, of one context. */
#define EPT_WANTED	 (1u << 0 | 1u << 6 | 1u << 14 | 1u << 16 | 1u << 17 | 1u << 20 | 1u << 21 | 1u << 25)

#define SEGMENT_CODE	 0xa09bu
#define SEGMENT_DATA	 0xc093u
#define SEGMENT_TASK	 0x8bu
#define SEGMENT_UNUSABLE 0x10000u
#define RFLAGS_NONE	 2u
#define MSR_FS_BASE	 0xc0000100u
#define MSR_GS_BASE	 0xc0000101u

enum field { /* SDM vol. 3D, appendix B */
	     GUEST_ES = 0x800,
	     GUEST_CS = 0x802,
	     GUEST_LDTR = 0x80c,
	     HOST_ES = 0xc00,
	     HOST_TR = 0xc0c,
	     EPT_POINTER = 0x201a,
	     GUEST_PHYSICAL = 0x2400,
	     LINK = 0x2800,
	     PIN = 0x4000,
	     PROCESSOR = 0x4002,
	     EXCEPTIONS = 0x4004,
	     EXIT = 0x400c,
	     ENTRY = 0x4012,
	     SECONDARY = 0x401e,
	     ERROR = 0x4400,
	     REASON = 0x4402,
	     EXCEPTION_INFO = 0x4404,
	     GUEST_ES_LIMIT = 0x4800,
	     GUEST_ES_RIGHTS = 0x4814,
	     GUEST_CS_RIGHTS = 0x4816,
	     GUEST_LDTR_RIGHTS = 0x4820,
	     GUEST_TR_RIGHTS = 0x4822,
	     GUEST_TR_LIMIT = 0x480e,
	     QUALIFICATION = 0x6400,
	     GUEST_LINEAR = 0x640a,
	     GUEST_CR0 = 0x6800,
	     GUEST_CR3 = 0x6802,
	     GUEST_CR4 = 0x6804,
	     GUEST_DR7 = 0x681a,
	     GUEST_RIP = 0x681e,
	     GUEST_RFLAGS = 0x6820,
	     HOST_CR0 = 0x6c00,
	     HOST_CR3 = 0x6c02,
	     HOST_CR4 = 0x6c04,
	     HOST_FS_BASE = 0x6c06,
	     HOST_GS_BASE = 0x6c08,
	     HOST_TR_BASE = 0x6c0a,
	     HOST_GDTR_BASE = 0x6c0c,
	     HOST_IDTR_BASE = 0x6c0e,
	     HOST_RIP = 0x6c16
};

/* world.S */
bool vmx_enter(struct inner_regs *regs, bool launched);
extern const uint8_t vmx_exit[];

struct descriptor {
	uint16_t limit;
	uint64_t base;
} __attribute__((packed));

static uint8_t region[FRAME_BYTES] __attribute__((aligned(4096))); /* VMXON's */
static uint8_t vmcs[FRAME_BYTES] __attribute__((aligned(4096)));
static uint64_t eptp;
static bool launched;

static void field_write(uint64_t field, uint64_t value)
{
	__asm__ volatile("vmwrite %1, %0" ::"r"(field), "r"(value) : "cc");
}

static uint64_t field_read(uint64_t field)
{
	uint64_t value;

	__asm__ volatile("vmread %1, %0" : "=r"(value) : "r"(field) : "cc");
	return value;
}

static bool succeeded(uint8_t carry_or_zero)
{
	return carry_or_zero == 0;
}

static bool vmx_on(void)
{
	uint32_t revision = (uint32_t)msr_read(MSR_VMX_BASIC) & 0x7fffffff;
	uint64_t on = (uintptr_t)region, current = (uintptr_t)vmcs, cr4, feature = msr_read(MSR_FEATURE_CONTROL);
	uint8_t bad[3];

	if (!(feature & FEATURE_LOCKED))
		msr_write(MSR_FEATURE_CONTROL, feature | FEATURE_LOCKED | FEATURE_VMX);
	else if (!(feature & FEATURE_VMX))
		return false;
	__asm__ volatile("mov %%cr4, %0" : "=r"(cr4));
	__asm__ volatile("mov %0, %%cr4" ::"r"(cr4 | CR4_VMXE));
	*(uint32_t *)(void *)region = revision;
	*(uint32_t *)(void *)vmcs = revision;
	__asm__ volatile("vmxon %1; setbe %0" : "=r"(bad[0]) : "m"(on) : "cc", "memory");
	__asm__ volatile("vmclear %1; setbe %0" : "=r"(bad[1]) : "m"(current) : "cc", "memory");
	__asm__ volatile("vmptrld %1; setbe %0" : "=r"(bad[2]) : "m"(current) : "cc", "memory");
	return succeeded(bad[0] | bad[1] | bad[2]);
}

/* A control's bits that must be 1, with those wanted; false iff one of these must be 0. */
static bool control_write(uint64_t field, uint32_t msr, uint32_t want)
{
	uint64_t allowed = msr_read(msr);
	uint32_t value = (want | (uint32_t)allowed) & (uint32_t)(allowed >> 32);

	field_write(field, value);
	return (value & want) == want;
}

static bool controls_write(void)
{
	uint32_t pin = msr_read(MSR_VMX_BASIC) & BASIC_TRUE ? MSR_VMX_TRUE_PIN : MSR_VMX_PIN;
	bool good = control_write(PIN, pin, 0);

	good &= control_write(PROCESSOR, pin + 1, PROCESSOR_HLT | PROCESSOR_SECONDARY);
	good &= control_write(SECONDARY, MSR_VMX_SECONDARY, SECONDARY_EPT);
	good &= control_write(EXIT, pin + 2, EXIT_HOST_64);
	good &= control_write(ENTRY, pin + 3, ENTRY_GUEST_64);
	field_write(EXCEPTIONS, UINT32_MAX);
	field_write(LINK, UINT64_MAX);
	return good;
}

static uint64_t tss_base(uint64_t gdt, uint16_t selector)
{
	const uint64_t *low = (const uint64_t *)(uintptr_t)(gdt + selector);

	return (low[0] >> 16 & 0xffffff) | (low[0] >> 56) << 24 | low[1] << 32;
}

static void host_write(void)
{
	struct descriptor gdt, idt;
	uint64_t cr0, cr3, cr4;
	uint16_t tr, segment[6];

	__asm__ volatile("sgdt %0; sidt %1; str %2" : "=m"(gdt), "=m"(idt), "=r"(tr));
	__asm__ volatile("mov %%cr0, %0; mov %%cr3, %1; mov %%cr4, %2" : "=r"(cr0), "=r"(cr3), "=r"(cr4));
	__asm__ volatile("mov %%es, %0; mov %%cs, %1; mov %%ss, %2"
			 : "=r"(segment[0]), "=r"(segment[1]), "=r"(segment[2]));
	__asm__ volatile("mov %%ds, %0; mov %%fs, %1; mov %%gs, %2"
			 : "=r"(segment[3]), "=r"(segment[4]), "=r"(segment[5]));
	for (unsigned i = 0; i < 6; i++)
		field_write(HOST_ES + 2 * i, segment[i]);
	field_write(HOST_TR, tr);
	field_write(HOST_TR_BASE, tss_base(gdt.base, tr));
	field_write(HOST_GDTR_BASE, gdt.base);
	field_write(HOST_IDTR_BASE, idt.base);
	field_write(HOST_FS_BASE, msr_read(MSR_FS_BASE));
	field_write(HOST_GS_BASE, msr_read(MSR_GS_BASE));
	field_write(HOST_CR0, cr0);
	field_write(HOST_CR3, cr3);
	field_write(HOST_CR4, cr4);
	field_write(HOST_RIP, (uintptr_t)vmx_exit);
	field_write(GUEST_CR0, cr0);
	field_write(GUEST_CR4, cr4);
}

static void guest_write(void)
{
	for (unsigned i = 0; i < 8; i++) { /* ES CS SS DS FS GS LDTR TR */
		field_write(GUEST_ES_LIMIT + 2 * i, UINT32_MAX);
		field_write(GUEST_ES_RIGHTS + 2 * i, SEGMENT_DATA);
		field_write(GUEST_ES + 2 * i, SELECTOR_DATA);
	}
	field_write(GUEST_CS, SELECTOR_CODE);
	field_write(GUEST_CS_RIGHTS, SEGMENT_CODE);
	field_write(GUEST_LDTR, 0);
	field_write(GUEST_LDTR_RIGHTS, SEGMENT_UNUSABLE);
	field_write(GUEST_TR_RIGHTS, SEGMENT_TASK);
	field_write(GUEST_TR_LIMIT, 0x67);
	field_write(GUEST_DR7, 0x400);
	field_write(GUEST_RFLAGS, RFLAGS_NONE);
}

static uint64_t vmx_capability(void)
{
	return msr_read(MSR_VMX_EPT);
}

static bool vmx_start(void)
{
	if (!vmx_on() || !controls_write()) {
		console_print("hv: VMX is locked, or lacks a control\n");
		return false;
	}
	if ((vmx_capability() & EPT_WANTED) != EPT_WANTED) {
		console_print("hv: EPT lacks something: its capabilities are 0x%lx\n", vmx_capability());
		return false;
	}
	host_write();
	guest_write();
	return true;
}

static void vmx_flush(void)
{
	struct {
		uint64_t eptp, zero;
	} what = {eptp, 0};
	uint8_t bad;

	__asm__ volatile("invept %1, %2; setbe %0" : "=r"(bad) : "m"(what), "r"(INVEPT_ONE) : "cc", "memory");
	if (!succeeded(bad))
		guest_panic("INVEPT failed", eptp, field_read(ERROR));
}

static void vmx_load(uint64_t pointer)
{
	eptp = pointer;
	field_write(EPT_POINTER, eptp);
	vmx_flush();
}

static void exit_read(struct inner_exit *out)
{
	out->reason = field_read(REASON);
	out->end = out->reason == REASON_HLT	     ? INNER_HALTED
		   : out->reason == REASON_VIOLATION ? INNER_VIOLATION
		   : out->reason == REASON_MISCONFIG ? INNER_MISCONFIGURED
						     : INNER_OTHER;
	out->info = out->reason == REASON_EXCEPTION ? field_read(EXCEPTION_INFO) : field_read(QUALIFICATION);
	out->gpa = field_read(GUEST_PHYSICAL);
	out->gva = field_read(GUEST_LINEAR);
	out->gva_known = out->reason == REASON_VIOLATION && (out->info & QUALIFIER_LINEAR);
	out->rip = field_read(GUEST_RIP);
}

static void vmx_run(const struct inner_entry *in, struct inner_exit *out)
{
	struct inner_regs regs = {.rax = in->rax, .rdi = in->rdi};

	field_write(GUEST_RIP, in->rip);
	field_write(GUEST_CR3, in->cr3);
	if (!vmx_enter(&regs, launched))
		guest_panic("the CPU refuses to enter the inner guest", field_read(ERROR), in->cr3);
	launched = true;
	exit_read(out);
	out->rax = regs.rax;
}

const struct inner_cpu vmx_cpu = {"VMX with EPT", vmx_start, vmx_capability, vmx_load, vmx_flush, vmx_run};
