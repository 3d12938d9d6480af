/* vmm/pack/csv.h: one line of comma-separated values. Pure; any thread. */
#ifndef SLAT_VMM_PACK_CSV_H
#define SLAT_VMM_PACK_CSV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CSV_FIELDS_MAX 64u

struct csv_field {
	const char *at; /* no 0 at its end */
	size_t length;
};

/* Splits at commas; a field in quotes may have some, and "" for a quote, but no end of line.
 * Fields lie in the line itself, or, unquoted, in scratch, which is as long. Returns
 * how many there are, 1 to CSV_FIELDS_MAX, or 0 and *why, which goes on "the line ...". */
unsigned csv_split(const char *line, size_t length, char *scratch, struct csv_field *fields, const char **why);

bool csv_is(struct csv_field field, const char *word);

struct csv_excerpt {
	char text[96];
};

/* For people: what is no printable ASCII as \xNN, a quote as \", and cut where it is long. */
struct csv_excerpt csv_excerpt(const char *bytes, size_t length);

#endif
