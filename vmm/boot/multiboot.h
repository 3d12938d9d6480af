/* vmm/boot/multiboot.h: Multiboot 1 images, as an ELF or with the a.out kludge.
 *
 * The guest gets what QEMU's -kernel gives it: lower and upper memory, boot
 * device, "IMAGE CMDLINE", modules, memory map, loader name. slat also takes an
 * ELF64. The load addresses of the header, if it has them, win over the ELF's.
 * A video request is not answered.
 * Source: Multiboot Specification 0.6.96. Threads: one. */
#ifndef SLAT_VMM_BOOT_MULTIBOOT_H
#define SLAT_VMM_BOOT_MULTIBOOT_H

#include "vmm/boot/load.h"

bool multiboot_present(struct bytes image); /* has a header with a right checksum in its first 8 KiB */

/* After multiboot_present(). Both as boot_parse() and boot_load(). */
int multiboot_parse(struct bytes image, const char *name, struct boot_image *out, struct failure *f);
int multiboot_load(const struct load *l, struct boot_entry *out);

#endif
