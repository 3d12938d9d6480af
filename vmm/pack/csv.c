#include "vmm/pack/csv.h"

#include <stdio.h>
#include <string.h>

/* at: behind the opening quote. Returns where the field ends, or NULL. */
static const char *unquote(const char *at, const char *end, char **scratch, struct csv_field *field)
{
	char *to = *scratch;

	for (field->at = to; at < end; at++) {
		if (*at == '"' && (++at == end || *at != '"')) {
			field->length = (size_t)(to - field->at);
			*scratch = to;
			return at == end || *at == ',' ? at : NULL;
		}
		*to++ = *at;
	}
	return NULL;
}

unsigned csv_split(const char *line, size_t length, char *scratch, struct csv_field *fields, const char **why)
{
	const char *at = line, *end = line + length;
	unsigned n = 0;

	for (;; at++) {
		struct csv_field *field = &fields[n];

		if (n++ == CSV_FIELDS_MAX) {
			*why = "has more than 64 fields";
			return 0;
		}
		if (at < end && *at == '"') {
			at = unquote(at + 1, end, &scratch, field);
			if (!at) {
				*why = "has a quote that does not enclose a field";
				return 0;
			}
		} else {
			field->at = at;
			while (at < end && *at != ',')
				at++;
			field->length = (size_t)(at - field->at);
		}
		if (at == end)
			return n;
	}
}

bool csv_is(struct csv_field field, const char *word)
{
	return field.length == strlen(word) && memcmp(field.at, word, field.length) == 0;
}

struct csv_excerpt csv_excerpt(const char *bytes, size_t length)
{
	static const char cut[] = "...";
	struct csv_excerpt out;
	size_t used = 0;

	for (size_t i = 0; i < length; i++) {
		const unsigned char c = (unsigned char)bytes[i];
		char piece[8];
		int n = c == '"' || c == '\\'  ? snprintf(piece, sizeof(piece), "\\%c", c)
			: c >= ' ' && c < 0x7f ? snprintf(piece, sizeof(piece), "%c", c)
					       : snprintf(piece, sizeof(piece), "\\x%02x", c);

		if (used + (size_t)n + sizeof(cut) > sizeof(out.text)) {
			memcpy(out.text + used, cut, sizeof(cut));
			return out;
		}
		memcpy(out.text + used, piece, (size_t)n);
		used += (size_t)n;
	}
	out.text[used] = '\0';
	return out;
}
