/* vmm/guest_ranges.h: the parts of a guest's RAM that are not plain: guards, where
 * nothing is mapped, and read-only ranges. Pure.
 * Threads: one. */
#ifndef SLAT_VMM_GUEST_RANGES_H
#define SLAT_VMM_GUEST_RANGES_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/failure.h"

#define GUEST_RANGES_EACH 16u /* guards, and read-only ranges */
#define GUEST_RANGES_MAX  (2 * GUEST_RANGES_EACH)

enum guest_range_kind { GUEST_GUARD, GUEST_READONLY };

struct guest_range {
	uint64_t gpa, bytes; /* multiples of 4K, never empty */
	enum guest_range_kind kind;
};

struct guest_ranges { /* in address order, disjoint; two may touch */
	unsigned count;
	struct guest_range range[GUEST_RANGES_MAX];
};

/* "START+SIZE", each as size_parse() takes it. */
bool guest_range_parse(const char *value, uint64_t *start, uint64_t *bytes);

/* Adds "GPA+SIZE". EXIT_USAGE with one sentence iff it is malformed, empty, no
 * multiple of 4K, meets another one, or is one too many. */
int guest_ranges_add(struct guest_ranges *r, enum guest_range_kind kind, const char *value, struct failure *f);

/* EXIT_USAGE iff one of them is not inside the RAM of a guest that has so much; the sentence says where that is. */
int guest_ranges_check(const struct guest_ranges *r, uint64_t ram_bytes, struct failure *f);

/* The first one that ends above `gpa`, or NULL. */
const struct guest_range *guest_ranges_from(const struct guest_ranges *r, uint64_t gpa);

const char *guest_range_option(enum guest_range_kind kind); /* "--guard", "--ro" */

#endif
