/* vmm/boot/bootdata.h: the boot structures of a guest, gathered before they are written.
 *
 * An append-only image of [LAYOUT_BOOT_DATA, LAYOUT_LOW_END). What does not
 * fit is counted and dropped, so that callers add everything and ask once.
 * Threads: one. */
#ifndef SLAT_VMM_BOOT_BOOTDATA_H
#define SLAT_VMM_BOOT_BOOTDATA_H

#include "vmm/boot/load.h"
#include "vmm/layout.h"

#define BOOTDATA_BYTES (LAYOUT_LOW_END - LAYOUT_BOOT_DATA)

struct bootdata {
	_Alignas(4096) uint8_t room[BOOTDATA_BYTES];
	uint64_t used; /* above BOOTDATA_BYTES: it did not fit, and needs as many */
};

void bootdata_init(struct bootdata *b);

/* Appends; returns the gpa, below 1 MiB and never 0. from NULL: zeros. align: a power of two up to 4096. */
uint32_t bootdata_add(struct bootdata *b, const void *from, uint64_t bytes, uint64_t align);
uint32_t bootdata_string(struct bootdata *b, const char *s); /* NULL: the empty one */

/* What was added at gpa, to fill it in; NULL iff [gpa, gpa + bytes) did not fit. */
void *bootdata_at(struct bootdata *b, uint32_t gpa, uint64_t bytes);

/* EXIT_IMAGE iff something did not fit or the guest has no RAM there, or a guard. */
int bootdata_check(const struct bootdata *b, const struct load *l);
void bootdata_write(const struct bootdata *b, const struct ram *ram); /* after bootdata_check() */

#endif
