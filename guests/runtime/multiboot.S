/* The Multiboot 1 header (specification 0.6.96, 3.1.1). guest.ld puts it first,
 * so that it lies within the first 8 KiB of the file. An object of its own:
 * a guest linked without it is a PVH guest. */
#define MAGIC 0x1badb002
#define FLAGS 0x3 /* modules page-aligned; memory map wanted */

	.section .multiboot, "a"
	.balign 4
	.long MAGIC, FLAGS, -(MAGIC + FLAGS)

	.section .note.GNU-stack, "", @progbits
