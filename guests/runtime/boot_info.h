/* guests/runtime/boot_info.h: what the boot loader said, in our own words and
 * our own memory: the loader's may be reused once it is read. */
#ifndef SLAT_GUESTS_RUNTIME_BOOT_INFO_H
#define SLAT_GUESTS_RUNTIME_BOOT_INFO_H

#include <stdbool.h>
#include <stdint.h>

#define BOOT_RANGES_MAX	   64u
#define BOOT_CMDLINE_BYTES 2048u

enum boot_protocol { BOOT_PROTOCOL_MULTIBOOT, BOOT_PROTOCOL_PVH };

struct boot_range {
	uint64_t start, bytes;
	uint32_t type; /* E820_* of vmm/abi.h */
};

struct boot_info {
	enum boot_protocol protocol;
	unsigned ranges;
	struct boot_range range[BOOT_RANGES_MAX]; /* in address order, disjoint, none empty */
	uint64_t rsdp;				  /* 0: the loader does not say */
	uint32_t modules;
	bool cmdline_cut; /* it was longer than fits here */
	char cmdline[BOOT_CMDLINE_BYTES];
};

/* Panics iff neither protocol's magic is there, or the memory map is empty, too
 * long or overlaps itself. All of the loader's data must lie in the first GiB. */
void boot_info_read(uint32_t magic, uint32_t info, struct boot_info *out);

#endif
