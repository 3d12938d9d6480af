/* vmm/debug_line.h: which source line an instruction came from: the line tables that
 * compilers write (DWARF 2 to 5, section 6.2), of little-endian files. Pure: reads the
 * bytes that it is given, allocates nothing, believes nothing. */
#ifndef SLAT_VMM_DEBUG_LINE_H
#define SLAT_VMM_DEBUG_LINE_H

#include <stddef.h>
#include <stdint.h>

struct debug_line_sections {
	const uint8_t *line, *line_str, *str; /* .debug_line, .debug_line_str, .debug_str; NULL: absent */
	size_t line_bytes, line_str_bytes, str_bytes;
};

struct debug_line_query {
	uint64_t address;
	const char *file; /* out, in the sections: as the compiler was told, without its directory; NULL: not found */
	uint32_t line;
};

/* Answers all of them, sorted by address, in one pass over the tables: O(rows * log n).
 * Where several rows claim an address, the first does. A table that makes no sense
 * is skipped, or ends the pass if its length is what makes none. */
void debug_line_find(const struct debug_line_sections *s, struct debug_line_query *queries, size_t n);

#endif
