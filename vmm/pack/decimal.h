/* vmm/pack/decimal.h: decimal numbers of traces, exactly, by integers alone. Pure; any thread. */
#ifndef SLAT_VMM_PACK_DECIMAL_H
#define SLAT_VMM_PACK_DECIMAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DECIMAL_SCALE_MAX (UINT64_C(1) << 40)
#define DECIMAL_TEXT_MAX  32u

enum decimal_result {
	DECIMAL_OK,
	DECIMAL_NO_NUMBER, /* anything but [+-]digits[.digits], with a digit; or a digit other than 0 after 18 decimals
			    */
	DECIMAL_NEGATIVE,  /* and not 0 */
	DECIMAL_LARGE,	   /* beyond 64 bits */
};

struct decimal_unit {
	uint64_t scale; /* how many of our units one of the text's is: 1 to DECIMAL_SCALE_MAX */
	bool up;	/* what is finer than our unit is rounded up, else down */
};

/* *out is set iff DECIMAL_OK. */
enum decimal_result decimal_parse(const char *text, size_t length, struct decimal_unit unit, uint64_t *out);

/* The shortest exact text of value / scale, scale a power of ten up to 10^6, without
 * a terminating 0; returns its length, below DECIMAL_TEXT_MAX. */
size_t decimal_format(uint64_t value, uint64_t scale, char *text);

#endif
