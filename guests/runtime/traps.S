/* One stub per exception: the same stack layout for all (struct trap_frame). */
#include "guests/runtime/selectors.h"

	.text
	.globl trap_stubs, trap_invalid
	.balign 16
trap_stubs: /* 16 bytes each */
	.set vector, 0
	.rept TRAP_VECTORS
	.balign 16
	/* 8, 10 to 14, 17, 21, 29 and 30 push an error code themselves */
	.if !((0x60227d00 >> vector) & 1)
	pushq $0
	.endif
	pushq $vector
	jmp trap_common
	.set vector, vector + 1
	.endr

	.set trap_invalid, trap_stubs + 16 * 6

	.balign 16
trap_common:
	push %r15
	push %r14
	push %r13
	push %r12
	push %r11
	push %r10
	push %r9
	push %r8
	push %rbp
	push %rdi
	push %rsi
	push %rdx
	push %rcx
	push %rbx
	push %rax
	cld
	mov %rsp, %rdi
	and $-16, %rsp
	call trap_report
	ud2

	.section .note.GNU-stack, "", @progbits
