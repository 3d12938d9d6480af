/* The boot sector of the oracles' disk: a Multiboot loader of 480 bytes.
 *
 * It takes the memory map from the BIOS, goes to protected mode, reads the parts
 * that boot.h describes from the first ATA disk by programmed I/O (no BIOS call
 * reaches above the first MiB), and enters the guest as Multiboot does. An error
 * of the disk ends in a loop: whoever started the machine has a timeout. */
#include "guests/hv/boot.h"

#define INFO	      0x5000 /* struct multiboot_info of vmm/abi.h */
#define MAP	      0x6000
#define MAP_ENTRY     24     /* 4 bytes of size, then the BIOS's 20 */
#define LOADED	      0x2badb002
#define INFO_FLAGS    0x40   /* there is a memory map */
#define INFO_MAP_SIZE 44
#define INFO_MAP_AT   48
#define INFO_BYTES    88

#define ATA	    0x1f0
#define ATA_COUNT   0x1f2
#define ATA_LBA	    0x1f3
#define ATA_DRIVE   0x1f6
#define ATA_COMMAND 0x1f7
#define ATA_BUSY    0x80
#define ATA_DATA    0x08
#define ATA_READ    0x20
#define ATA_MASTER  0xe0 /* addressed by LBA */

	.text
	.globl boot
	.code16
boot:
	cli
	cld
	xor %ax, %ax
	mov %ax, %ds
	mov %ax, %es
	mov %ax, %ss
	mov $0x7c00, %sp
	in $0x92, %al /* A20 */
	or $2, %al
	out %al, $0x92

	mov $MAP, %di
	xor %ebx, %ebx
1:
	movl $MAP_ENTRY - 4, (%di)
	add $4, %di
	mov $0xe820, %eax
	mov $MAP_ENTRY - 4, %ecx
	mov $0x534d4150, %edx
	int $0x15
	jc 2f
	add $MAP_ENTRY - 4, %di
	test %ebx, %ebx
	jnz 1b
	add $4, %di
2:
	sub $MAP + 4, %di
	movzwl %di, %ebp
	lgdt gdt_pointer
	mov %cr0, %eax
	or $1, %al
	mov %eax, %cr0
	ljmpl $0x08, $protected

	.code32
protected:
	mov $0x10, %eax
	mov %eax, %ds
	mov %eax, %es
	mov %eax, %ss
	mov %eax, %fs
	mov %eax, %gs
	mov $boot, %esp
	mov $INFO, %edi
	mov $INFO_BYTES / 4, %ecx
	xor %eax, %eax
	rep stosl
	movl $INFO_FLAGS, INFO
	mov %ebp, INFO + INFO_MAP_SIZE
	movl $MAP, INFO + INFO_MAP_AT

	mov $boot + BOOT_PARTS_AT, %esi
	mov $BOOT_PARTS, %ebp
3:
	push %ebp
	lodsl
	mov %eax, %ebx /* the sector */
	lodsl
	mov %eax, %edi
	lodsl
	mov %eax, %ebp
	test %ebp, %ebp
	jz 5f
4:
	call read_batch
	dec %ebp
	jnz 4b
5:
	pop %ebp
	dec %ebp
	jnz 3b

	mov $LOADED, %eax
	mov $INFO, %ebx
	jmp *boot + BOOT_ENTRY_AT

/* EBX the sector, EDI where to: both go on. */
read_batch:
	mov $ATA_DRIVE, %edx
	mov $ATA_MASTER, %al
	out %al, %dx
	mov $ATA_COUNT, %edx
	xor %al, %al
	out %al, %dx
	mov $ATA_LBA, %edx
	mov %ebx, %eax
	out %al, %dx
	inc %edx
	shr $8, %eax
	out %al, %dx
	inc %edx
	shr $8, %eax
	out %al, %dx
	mov $ATA_COMMAND, %edx
	mov $ATA_READ, %al
	out %al, %dx
	add $BOOT_BATCH_SECTORS, %ebx
	push $BOOT_BATCH_SECTORS
6:
	mov $ATA_COMMAND, %edx
7:
	in %dx, %al
	and $ATA_BUSY | ATA_DATA, %al
	cmp $ATA_DATA, %al
	jne 7b
	mov $ATA, %edx
	mov $BOOT_SECTOR_BYTES / 2, %ecx
	rep insw
	decl (%esp)
	jnz 6b
	pop %eax
	ret

	.balign 8
gdt:
	.quad 0, 0x00cf9b000000ffff, 0x00cf93000000ffff
gdt_pointer:
	.word . - gdt - 1
	.long gdt

	.org BOOT_PARTS_AT
	.skip BOOT_PARTS * 12 + 4
	.org BOOT_SECTOR_BYTES - 2
	.word 0xaa55

	.section .note.GNU-stack, "", @progbits
