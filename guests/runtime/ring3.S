/* To ring 3 and back. Theory: ring3.h. The TSS keeps the ring-0 stack meanwhile:
 * an exception in ring 3 arrives right below what is saved here. */
#include "guests/runtime/selectors.h"

	.text
	.globl ring3_call, ring3_invalid
ring3_call: /* RDI the function, RSI its argument */
	push %rbx
	push %rbp
	push %r12
	push %r13
	push %r14
	push %r15
	mov %rsp, %gs:CPU_RING0_STACK
	mov %gs:CPU_RING3_STACK, %rsp
	mov %rdi, %rax
	mov %rsi, %rdi
	lea ring3_begin(%rip), %rcx
	mov $2, %r11d /* RFLAGS: interrupts off */
	sysretq

ring3_begin:
	xor %ebp, %ebp
	call *%rax
	mov %rax, %rdi
ring3_end:
	ud2

ring3_invalid: /* the gate of vector 6 */
	cmpq $ring3_end, (%rsp)
	jne trap_invalid
	mov %gs:CPU_RING0_STACK, %rsp
	pop %r15
	pop %r14
	pop %r13
	pop %r12
	pop %rbp
	pop %rbx
	mov %rdi, %rax
	ret

	.section .note.GNU-stack, "", @progbits
