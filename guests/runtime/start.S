/* From the boot loader's 32-bit protected mode to runtime_start() in 64-bit mode.
 *
 * Multiboot and PVH enter alike: flat segments, no paging, EBX points at the
 * boot information; EAX tells which. The boot tables are written by the
 * assembler, not by code: where ring 0 is interpreted, a loop of 512 entries
 * would cost more than all the rest of the start. They map the first GiB, for
 * ring 3 too, since the runtime builds its own tables there. */
#define PRESENT	 0x1
#define WRITE	 0x2
#define USER	 0x4
#define LARGE	 0x80

#define CR0_VALUE 0x80010033 /* PG WP NE ET MP PE; EM and TS clear: ring 3 may use SSE */
#define CR4_VALUE 0x620	     /* OSXMMEXCPT OSFXSR PAE */
#define MSR_EFER  0xc0000080
#define EFER_VALUE 0x901     /* NXE LME SCE */

	.section .text.start, "ax"
	.globl start, enter_long_mode
	.code32
start:
	cli
	cld
	mov $ring0_stack_end, %esp
	mov %eax, %edi
	mov %ebx, %esi
	mov $boot_pml4, %ebp
	mov $boot_cpu_64, %ebx
/* In: EBP, the tables; EBX, where to go on; ESP, the stack. Keeps EDI, ESI. */
enter_long_mode:
	lgdt boot_gdt_pointer
	mov $CR4_VALUE, %eax
	mov %eax, %cr4
	mov %ebp, %cr3
	mov $MSR_EFER, %ecx
	mov $EFER_VALUE, %eax
	xor %edx, %edx
	wrmsr
	mov $CR0_VALUE, %eax
	mov %eax, %cr0
	ljmp $0x08, $1f
	.code64
1:
	mov $0x10, %eax
	mov %eax, %ds
	mov %eax, %es
	mov %eax, %ss
	xor %eax, %eax
	mov %eax, %fs
	mov %eax, %gs
	mov %ebx, %ebx /* the upper half is undefined after the switch */
	mov %edi, %edi
	mov %esi, %esi
	mov %esp, %esp
	xor %ebp, %ebp
	jmp *%rbx

boot_cpu_64:
	call runtime_start
	ud2

	.section .rodata
	.balign 8
boot_gdt:
	.quad 0, 0x00af9b000000ffff, 0x00cf93000000ffff
boot_gdt_pointer:
	.word . - boot_gdt - 1
	.long boot_gdt

	.data
	.balign 4096
boot_pml4:
	.quad boot_pdpt + PRESENT + WRITE + USER
	.fill 511, 8, 0
boot_pdpt:
	.quad boot_pd + PRESENT + WRITE + USER
	.fill 511, 8, 0
boot_pd:
	.set address, 0
	.rept 512
	.quad address + PRESENT + WRITE + USER + LARGE
	.set address, address + 0x200000
	.endr

	.section .bss.private, "aw", @nobits
	.balign 4096
	.globl ring0_stack_guard
ring0_stack_guard: /* paging.c maps nothing here */
	.skip 4096
	.skip 16384
	.globl ring0_stack_end
ring0_stack_end:

	.section .note.GNU-stack, "", @progbits
