#include "vmm/size.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool size_parse(const char *text, uint64_t *out)
{
	static const char suffixes[] = "KMGT";
	unsigned long long value;
	unsigned shift = 0;
	char *end;

	if (!isdigit((unsigned char)text[0]))
		return false;
	errno = 0;
	value = strtoull(text, &end, text[0] == '0' && (text[1] == 'x' || text[1] == 'X') ? 16 : 10);
	if (errno || end == text)
		return false;
	if (*end) {
		const char *suffix = strchr(suffixes, toupper((unsigned char)*end));

		if (!suffix || end[1])
			return false;
		shift = 10 * (unsigned)(suffix - suffixes + 1);
	}
	if (value > UINT64_MAX >> shift)
		return false;
	*out = (uint64_t)value << shift;
	return true;
}

struct size_text size_format(uint64_t bytes)
{
	static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
	struct size_text text;
	unsigned unit = 0;

	while (bytes && unit + 1 < sizeof(units) / sizeof(units[0]) && bytes % 1024 == 0) {
		bytes /= 1024;
		unit++;
	}
	snprintf(text.s, sizeof(text.s), "%" PRIu64 " %s", bytes, units[unit]);
	return text;
}
