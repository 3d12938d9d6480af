/* The PVH note (Xen's XEN_ELFNOTE_PHYS32_ENTRY): where to enter in 32-bit
 * protected mode. */
	.section .note.Xen, "a", @note
	.balign 4
	.long 4, 4, 18 /* bytes of the name, bytes of the value, type */
	.asciz "Xen"
	.long start

	.section .note.GNU-stack, "", @progbits
