/* The switch of worlds, and what the inner guest runs.
 *
 * The inner guest shares RAX and RDI with us by struct inner_regs; every other
 * register that C expects to survive a call is saved, for an inner guest that a
 * wrong table leads astray runs whatever it finds. */
#define REGS_RAX 0
#define REGS_RDI 8
#define HOST_RSP 0x6c14 /* a field of the VMCS */

.macro save
	push %rbx
	push %rbp
	push %r12
	push %r13
	push %r14
	push %r15
	push %rdi
.endm

.macro restore
	pop %r15
	pop %r14
	pop %r13
	pop %r12
	pop %rbp
	pop %rbx
.endm

	.text
	.globl vmx_enter, vmx_exit, svm_enter

/* bool vmx_enter(struct inner_regs *regs, bool launched): false iff the CPU refused. */
vmx_enter:
	save
	mov $HOST_RSP, %edx
	vmwrite %rsp, %rdx
	mov REGS_RAX(%rdi), %rax
	test %esi, %esi
	mov REGS_RDI(%rdi), %rdi
	jnz 1f
	vmlaunch
	jmp 2f
1:
	vmresume
2:
	pop %rdi
	restore
	xor %eax, %eax
	ret

vmx_exit:
	pop %rdi
	mov %rax, REGS_RAX(%rdi)
	restore
	cld
	mov $1, %eax
	ret

/* void svm_enter(struct inner_regs *regs, uint64_t vmcb): RAX is in the VMCB. */
svm_enter:
	save
	mov %rsi, %rax
	mov REGS_RDI(%rdi), %rdi
	clgi
	vmrun %rax
	stgi
	pop %rdi
	restore
	cld
	ret

	.section .rodata
	.globl inner_code, inner_code_end
	.globl inner_read1, inner_read8, inner_write1, inner_write8, inner_fetch
inner_code:
inner_read1:
	movzbl (%rdi), %eax
	hlt
inner_read8:
	mov (%rdi), %rax
	hlt
inner_write1:
	mov %al, (%rdi)
	hlt
inner_write8:
	mov %rax, (%rdi)
	hlt
inner_fetch:
	jmp *%rdi
inner_code_end:

	.section .note.GNU-stack, "", @progbits
