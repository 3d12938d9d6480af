/* vmm/ids.h: sets of the host's CPU or node numbers, as the kernel's lists "0-3,8" name them.
 * Pure; a set belongs to its caller, any thread. */
#ifndef SLAT_VMM_IDS_H
#define SLAT_VMM_IDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define IDS_MAX                                                                                                        \
	8192u /* numbers are below: the most CPUs that Linux on x86-64 can be built for; nodes are 1024 at most */

struct ids {
	uint64_t word[IDS_MAX / 64]; /* number n: bit n % 64 of word n / 64 */
};

void ids_add(struct ids *s, unsigned id); /* id < IDS_MAX */
bool ids_has(const struct ids *s, unsigned id);
unsigned ids_count(const struct ids *s);

/* The lowest number from `from` on; IDS_MAX: there is none. */
unsigned ids_next(const struct ids *s, unsigned from);

/* Every number of a is in b. */
bool ids_within(const struct ids *a, const struct ids *b);

/* Keeps those that are in b, too. */
void ids_keep(struct ids *a, const struct ids *b);

/* False, and *s unchanged, iff the list is malformed or has a number of IDS_MAX or more. "" is the empty set. */
bool ids_parse(struct ids *s, const char *list);

struct ids_text {
	char s[128];
};

/* "0-3,8", "none"; one that is too long for a sentence ends in "...". */
struct ids_text ids_format(const struct ids *s);

#endif
