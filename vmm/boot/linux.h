/* vmm/boot/linux.h: Linux bzImage by the 64-bit boot protocol.
 *
 * Protocol 2.12 or later with a 64-bit entry. The kernel goes to the address
 * it prefers, or, if it is relocatable, to the next higher one that its
 * alignment allows. The initramfs lies as high as the kernel allows.
 * Source: Linux, Documentation/arch/x86/boot.rst; zero-page.rst. Threads: one. */
#ifndef SLAT_VMM_BOOT_LINUX_H
#define SLAT_VMM_BOOT_LINUX_H

#include "vmm/boot/load.h"

bool linux_present(struct bytes image); /* has "HdrS" where a setup header has it */

/* After linux_present(). Both as boot_parse() and boot_load(). */
int linux_parse(struct bytes image, const char *name, struct boot_image *out, struct failure *f);
int linux_load(const struct load *l, struct boot_entry *out);

#endif
