/* Where another CPU wakes up: real mode, CS:IP = vector << 8 : 0. Copied to a
 * frame below 1 MiB, so it finds itself by CS; all the rest is absolute. */
	.section .rodata
	.globl trampoline_start, trampoline_end
	.code16
trampoline_start:
	cli
	mov %cs, %ax
	mov %ax, %ds
	lgdtl trampoline_gdt_pointer - trampoline_start
	mov $1, %eax
	mov %eax, %cr0
	ljmpl $0x08, $ap_start
	.balign 8
trampoline_gdt_pointer:
	.word 23
	.long ap_gdt
trampoline_end:

	.balign 8
ap_gdt: /* flat 32-bit code and data */
	.quad 0, 0x00cf9b000000ffff, 0x00cf93000000ffff

	.section .text.start, "ax"
	.code32
ap_start:
	mov $0x10, %eax
	mov %eax, %ds
	mov %eax, %es
	mov %eax, %ss
	mov smp_next_tables, %ebp
	mov smp_next_stack, %esp
	mov $ap_64, %ebx
	jmp enter_long_mode
	.code64
ap_64:
	call smp_ap_start
	ud2

	.section .note.GNU-stack, "", @progbits
