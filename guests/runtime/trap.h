/* guests/runtime/trap.h: exceptions. None is expected: each is reported with
 * all registers, and ends the guest with GUEST_TRAPPED (or GUEST_PANIC). */
#ifndef SLAT_GUESTS_RUNTIME_TRAP_H
#define SLAT_GUESTS_RUNTIME_TRAP_H

#include <stdint.h>

struct trap_frame { /* as traps.S and the CPU push it */
	uint64_t rax, rbx, rcx, rdx, rsi, rdi, rbp;
	uint64_t r8, r9, r10, r11, r12, r13, r14, r15;
	uint64_t vector, error;
	uint64_t rip, cs, rflags, rsp, ss;
};

#define TRAP_FAULT_STACK 1 /* the entry of the TSS's interrupt stacks that a double fault takes */

void trap_init(void); /* fills the IDT, once */
void trap_load(void); /* on each CPU */
_Noreturn void trap_report(const struct trap_frame *f);

#endif
