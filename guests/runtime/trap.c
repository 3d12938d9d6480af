#include "guests/runtime/trap.h"

#include "guests/runtime/console.h"
#include "guests/runtime/guest.h"
#include "guests/runtime/paging.h"
#include "guests/runtime/panic.h"
#include "guests/runtime/private.h"
#include "guests/runtime/ring3.h"
#include "guests/runtime/selectors.h"

#define STUB_BYTES     16u
#define VECTOR_INVALID 6u
#define VECTOR_DOUBLE  8u
#define VECTOR_PAGE    14u
#define INTERRUPT_GATE 0x8e00ull

struct gate {
	uint64_t low, high;
};

RUNTIME_PRIVATE static struct gate idt[TRAP_VECTORS] __attribute__((aligned(16)));
extern uint8_t trap_stubs[];

static const char *const name[TRAP_VECTORS] = {
	[0] = "divide error",	     [1] = "debug",	      [2] = "NMI",
	[3] = "breakpoint",	     [4] = "overflow",	      [5] = "bound range",
	[6] = "invalid instruction", [7] = "no device",	      [8] = "double fault",
	[10] = "invalid TSS",	     [11] = "segment absent", [12] = "stack fault",
	[13] = "general protection", [14] = "page fault",     [16] = "x87 error",
	[17] = "alignment check",    [18] = "machine check",  [19] = "SIMD error",
	[21] = "control protection",
};

static struct gate gate_to(const void *entry)
{
	uint64_t at = (uint64_t)(uintptr_t)entry;

	return (struct gate){(at & 0xffff) | SELECTOR_CODE << 16 | INTERRUPT_GATE << 32 | (at >> 16) << 48, 0};
}

void trap_init(void)
{
	for (unsigned i = 0; i < TRAP_VECTORS; i++)
		idt[i] = gate_to(trap_stubs + STUB_BYTES * i);
	idt[VECTOR_INVALID] = gate_to((const void *)(uintptr_t)ring3_invalid);
	idt[VECTOR_DOUBLE].low |= (uint64_t)TRAP_FAULT_STACK << 32;
}

void trap_load(void)
{
	struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) pointer = {sizeof(idt) - 1, (uint64_t)(uintptr_t)idt};

	__asm__ volatile("lidt %0" ::"m"(pointer));
}

static void panic_report(const struct panic *p)
{
	if (p->file)
		console_print("panic: %s:%u: %s (0x%lx, 0x%lx)\n", p->file, p->line, p->what, p->a, p->b);
	else
		console_print("panic: %s (0x%lx, 0x%lx)\n", p->what, p->a, p->b);
}

_Noreturn void trap_report(const struct trap_frame *f)
{
	const char *what = f->vector < TRAP_VECTORS && name[f->vector] ? name[f->vector] : "unknown";
	const char *guard = NULL;
	uint64_t cr2;

	__asm__ volatile("mov %%cr2, %0" : "=r"(cr2));
	if (f->vector == VECTOR_PAGE || f->vector == VECTOR_DOUBLE)
		guard = paging_guard_at(cr2);
	if (guard)
		panic_last = (struct panic){.what = "a stack has run into the guard below it", .a = cr2, .b = f->rip};
	if (panic_last.what)
		panic_report(&panic_last);
	if (guard)
		console_print("panic: guard 0x%lx .. 0x%lx below %s\n", cr2 & -FRAME_BYTES,
			      (cr2 | (FRAME_BYTES - 1)) + 1, guard);
	console_print("trap: vector %lu (%s), error code 0x%lx, in ring %lu\n", f->vector, what, f->error, f->cs & 3);
	console_print("  rip %016lx  rsp %016lx  cr2 %016lx  flags %016lx\n", f->rip, f->rsp, cr2, f->rflags);
	console_print("  rax %016lx  rbx %016lx  rcx %016lx  rdx   %016lx\n", f->rax, f->rbx, f->rcx, f->rdx);
	console_print("  rsi %016lx  rdi %016lx  rbp %016lx  r8    %016lx\n", f->rsi, f->rdi, f->rbp, f->r8);
	console_print("  r9  %016lx  r10 %016lx  r11 %016lx  r12   %016lx\n", f->r9, f->r10, f->r11, f->r12);
	console_print("  r13 %016lx  r14 %016lx  r15 %016lx\n", f->r13, f->r14, f->r15);
	guest_exit(panic_last.what ? GUEST_PANIC : GUEST_TRAPPED);
}
