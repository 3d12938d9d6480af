#include "vmm/pack/amount.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "vmm/size.h"

bool amount_of_bytes(const char *unit)
{
	return strcmp(unit, "byte") == 0;
}

struct amount_text amount_format(const char *unit, uint64_t amount)
{
	const bool many = amount != 1 && strcmp(unit, "MHz") != 0;
	struct amount_text t;

	if (amount_of_bytes(unit))
		snprintf(t.s, sizeof(t.s), "%s", size_format(amount).s);
	else
		snprintf(t.s, sizeof(t.s), "%" PRIu64 " %s%s", amount, unit, many ? "s" : "");
	return t;
}
