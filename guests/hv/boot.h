/* guests/hv/boot.h: where boot.S looks up what to load, for it and for whoever
 * writes the disk image. All of it is in the boot sector. */
#ifndef SLAT_GUESTS_HV_BOOT_H
#define SLAT_GUESTS_HV_BOOT_H

#define BOOT_SECTOR_BYTES 512
#define BOOT_PARTS	  2
#define BOOT_PARTS_AT	  0x1e0 /* of the sector: BOOT_PARTS of struct boot_part, then the entry's address */
#define BOOT_ENTRY_AT	  (BOOT_PARTS_AT + BOOT_PARTS * 12)

/* A command of ATA reads that many sectors at most: a count of 0 says 256. */
#define BOOT_BATCH_SECTORS 256

#ifndef __ASSEMBLER__
#include <stdint.h>

struct boot_part {
	uint32_t sector;  /* the first one on the disk */
	uint32_t address; /* where it goes */
	uint32_t batches; /* of BOOT_BATCH_SECTORS; the image is padded to that */
};

_Static_assert(sizeof(struct boot_part) == 12, "boot.S adds 12");
#endif

#endif
