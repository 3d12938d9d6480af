/* vmm/size.h: sizes and numbers as people write them. Pure; any thread. */
#ifndef SLAT_VMM_SIZE_H
#define SLAT_VMM_SIZE_H

#include <stdbool.h>
#include <stdint.h>

/* "4096", "0x1000", "64K", "512M", "5G", "1T" (binary): true and *out, or false
 * iff it is not one such number or exceeds 64 bits. */
bool size_parse(const char *text, uint64_t *out);

struct size_text {
	char s[32];
};

/* The shortest exact form: "5 GiB", "33 MiB", "33564 KiB", "17 bytes". */
struct size_text size_format(uint64_t bytes);

#endif
