/* guests/runtime/cpu.h: one CPU's own tables, and the instructions C has no word for.
 * Threads: a struct cpu is the business of the CPU that it describes. */
#ifndef SLAT_GUESTS_RUNTIME_CPU_H
#define SLAT_GUESTS_RUNTIME_CPU_H

#include <stdbool.h>
#include <stdint.h>

#include "guests/runtime/selectors.h"

struct tss { /* AMD APM vol. 2, 12.2.5 */
	uint32_t reserved0;
	uint64_t rsp[3], reserved1, ist[7], reserved2;
	uint16_t reserved3, io_map;
} __attribute__((packed));

struct cpu {
	void *ring3_stack; /* its upper end; at CPU_RING3_STACK */
	uint64_t gdt[GDT_ENTRIES] __attribute__((aligned(16)));
	struct tss tss __attribute__((aligned(16)));
};

_Static_assert(__builtin_offsetof(struct cpu, ring3_stack) == CPU_RING3_STACK, "ring3.S reads it through GS");
_Static_assert(__builtin_offsetof(struct cpu, tss.rsp[0]) == CPU_RING0_STACK, "and this");
_Static_assert(sizeof(struct tss) == 104, "");

/* The tables of the boot CPU, and the IDT that all share. */
void cpu_init_first(void);

/* The same for another CPU, on that CPU. The stacks by their upper ends; fault_stack: for a double fault, which is what
 * a ring-0 stack that has run out makes of its page fault. */
void cpu_init(struct cpu *self, void *ring3_stack, void *fault_stack);

/* Puts guards below the first CPU's stacks; within paging_build(). */
void cpu_guard_first(void);

_Noreturn void cpu_stop(void);

struct cpuid {
	uint32_t eax, ebx, ecx, edx;
};

/* All zeros iff the CPU does not know the leaf. Ring 0: where the host's KVM has
 * no hardware help, CPUID in ring 3 tells of the host's CPU, not of this one. */
struct cpuid cpu_id(uint32_t leaf);

struct cpu_features {	    /* as the boot CPU says */
	unsigned phys_bits; /* of an output address: 32 to 52 */
	bool leaves_1g;
	bool x2apic;
};

/* Read by cpu_init_first(); any ring. */
const struct cpu_features *cpu_features(void);

static inline void cpu_relax(void)
{
	__asm__ volatile("pause");
}

static inline uint64_t cpu_cycles(void)
{
	uint32_t low, high;

	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
	return (uint64_t)high << 32 | low;
}

static inline void port_write8(uint16_t port, uint8_t value)
{
	__asm__ volatile("outb %0, %1" ::"a"(value), "Nd"(port));
}

static inline void port_write32(uint16_t port, uint32_t value)
{
	__asm__ volatile("outl %0, %1" ::"a"(value), "Nd"(port));
}

static inline uint32_t port_read32(uint16_t port)
{
	uint32_t value;

	__asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static inline uint8_t port_read8(uint16_t port)
{
	uint8_t value;

	__asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static inline void msr_write(uint32_t msr, uint64_t value)
{
	__asm__ volatile("wrmsr" ::"c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32)) : "memory");
}

static inline uint64_t msr_read(uint32_t msr)
{
	uint32_t low, high;

	__asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr));
	return (uint64_t)high << 32 | low;
}

#endif
