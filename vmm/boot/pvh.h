/* vmm/boot/pvh.h: ELF images with Xen's PVH entry note; a Linux vmlinux is one.
 *
 * The guest gets a version 1 start info: memory map, RSDP, command line, and
 * its modules (the first one is Linux's initramfs), page-aligned and as high
 * below the 32-bit hole as they fit.
 * Source: Xen, docs/misc/pvh.pandoc and public/arch-x86/hvm/start_info.h. Threads: one. */
#ifndef SLAT_VMM_BOOT_PVH_H
#define SLAT_VMM_BOOT_PVH_H

#include "vmm/boot/load.h"

/* After elf_present(). Both as boot_parse() and boot_load(). An ELF without the note is refused here. */
int pvh_parse(struct bytes image, const char *name, struct boot_image *out, struct failure *f);
int pvh_load(const struct load *l, struct boot_entry *out);

#endif
