#include "guests/runtime/cpu.h"

#include "guests/runtime/paging.h"
#include "guests/runtime/private.h"
#include "guests/runtime/trap.h"

#define MSR_STAR	  0xc0000081
#define MSR_GS_BASE	  0xc0000101
#define RING3_STACK_BYTES 16384
#define PAGE		  4096

struct table_pointer {
	uint16_t limit;
	uint64_t base;
} __attribute__((packed));

/* A CPU's own struct is written by ring 0 alone; ring 3 finds its stack in RSP. */
RUNTIME_PRIVATE static struct cpu first;
static struct cpu_features features;
static uint8_t first_ring3_stack[PAGE + RING3_STACK_BYTES] __attribute__((aligned(PAGE))); /* a guard first */
RUNTIME_PRIVATE static uint8_t first_fault_stack[PAGE] __attribute__((aligned(16)));
extern uint8_t ring0_stack_guard[];

static void gdt_fill(struct cpu *self)
{
	uint64_t base = (uint64_t)(uintptr_t)&self->tss;

	self->gdt[SELECTOR_CODE / 8] = 0x00af9b000000ffff;
	self->gdt[SELECTOR_DATA / 8] = 0x00cf93000000ffff;
	self->gdt[SELECTOR_USER_DATA / 8] = 0x00cff3000000ffff;
	self->gdt[SELECTOR_USER_CODE / 8] = 0x00affb000000ffff;
	self->gdt[SELECTOR_TSS / 8] =
		(sizeof(struct tss) - 1) | (base & 0xffffff) << 16 | 0x89ull << 40 | (base >> 24 & 0xff) << 56;
	self->gdt[SELECTOR_TSS / 8 + 1] = base >> 32;
}

/* The boot tables' selectors are ours already: no segment is loaded anew. */
static void tables_load(const struct cpu *self)
{
	struct table_pointer gdt = {sizeof(self->gdt) - 1, (uint64_t)(uintptr_t)self->gdt};

	__asm__ volatile("lgdt %0" ::"m"(gdt));
	__asm__ volatile("ltr %w0" ::"r"(SELECTOR_TSS));
	trap_load();
}

void cpu_init(struct cpu *self, void *ring3_stack, void *fault_stack)
{
	self->ring3_stack = ring3_stack;
	self->tss.ist[TRAP_FAULT_STACK - 1] = (uint64_t)(uintptr_t)fault_stack;
	self->tss.io_map = sizeof(self->tss);
	gdt_fill(self);
	tables_load(self);
	msr_write(MSR_GS_BASE, (uint64_t)(uintptr_t)self);
	msr_write(MSR_STAR, (uint64_t)SELECTOR_SYSRET << 48);
}

_Noreturn void cpu_stop(void)
{
	for (;;)
		__asm__ volatile("cli; hlt");
}

static struct cpuid cpuid_raw(uint32_t leaf)
{
	struct cpuid r;

	__asm__ volatile("cpuid" : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx) : "a"(leaf), "c"(0));
	return r;
}

struct cpuid cpu_id(uint32_t leaf)
{
	if (leaf > cpuid_raw(leaf & 0x80000000u).eax)
		return (struct cpuid){0};
	return cpuid_raw(leaf);
}

static void features_read(struct cpu_features *f)
{
	unsigned bits = cpu_id(0x80000008u).eax & 0xff;

	f->phys_bits = bits < 32 ? 36 : bits > 52 ? 52 : bits;
	f->leaves_1g = cpu_id(0x80000001u).edx & 1u << 26;
	f->x2apic = cpu_id(1).ecx & 1u << 21;
}

const struct cpu_features *cpu_features(void)
{
	return &features;
}

void cpu_init_first(void)
{
	trap_init();
	cpu_init(&first, first_ring3_stack + sizeof(first_ring3_stack), first_fault_stack + sizeof(first_fault_stack));
	features_read(&features);
}

void cpu_guard_first(void)
{
	paging_guard((uintptr_t)ring0_stack_guard, "the ring-0 stack of the first CPU");
	paging_guard((uintptr_t)first_ring3_stack, "the ring-3 stack of the first CPU");
}
