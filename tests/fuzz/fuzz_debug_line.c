/* tests/fuzz/fuzz_debug_line.c: line tables out of anything: nothing is read outside
 * them, it ends, and what is found is a string of theirs.
 *
 * Input: 2 bytes say how long the strings are; then these, then the tables. */
#include <stdlib.h>
#include <string.h>

#include "mm/port.h"
#include "vmm/debug_line.h"

#define QUERIES 64u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t *copy_of(const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size ? size : 1);

	if (!copy)
		abort();
	memcpy(copy, data, size);
	return copy;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct debug_line_query queries[QUERIES];
	struct debug_line_sections s = {0};
	uint8_t *strings, *tables;
	size_t strings_bytes;

	if (size < 2)
		return 0;
	strings_bytes = ((size_t)data[0] | (size_t)data[1] << 8) % (size - 1);
	strings = copy_of(data + 2, strings_bytes);
	tables = copy_of(data + 2 + strings_bytes, size - 2 - strings_bytes);
	s = (struct debug_line_sections){.line = tables,
					 .line_bytes = size - 2 - strings_bytes,
					 .line_str = strings,
					 .line_str_bytes = strings_bytes,
					 .str = strings,
					 .str_bytes = strings_bytes};
	for (uint64_t i = 0; i < QUERIES; i++)
		queries[i] = (struct debug_line_query){.address = i < QUERIES / 2 ? i * 16
										  : UINT64_MAX - (QUERIES - i) * 4096};
	debug_line_find(&s, queries, QUERIES);
	for (unsigned i = 0; i < QUERIES; i++)
		MM_ASSERT(!queries[i].file || strlen(queries[i].file) < size, queries[i].address, size);
	free(strings);
	free(tables);
	return 0;
}
