/* vmm/pack/amount.h: so much of whatever is packed, as people write it. Pure; any thread. */
#ifndef SLAT_VMM_PACK_AMOUNT_H
#define SLAT_VMM_PACK_AMOUNT_H

#include <stdbool.h>
#include <stdint.h>

struct amount_text {
	char s[48];
};

bool amount_of_bytes(const char *unit); /* unit: as of trace_unit() */

/* "2 MiB", "20 MHz", "1 metre", "5 metres" */
struct amount_text amount_format(const char *unit, uint64_t amount);

#endif
