/* vmm/pack/label.c: how much room a text takes in a chart. Who writes a page has no letters to measure, so four widths
 * are all there are, each at least what DejaVu Sans takes for 11 pixels, which is as wide as usual letters get. */
#include <string.h>

#include "vmm/pack/label.h"

#define TENTHS 10u

/* Tenths of a pixel; the bytes of a letter after its first have none. */
static unsigned width_of(char c)
{
	unsigned char byte = (unsigned char)c;

	if ((byte & 0xc0) == 0x80)
		return 0;
	if (byte >= 0x80 || strchr("mwMW%@=+<>~#&", c))
		return 110;
	if (strchr("iljI.,:;'|! ", c))
		return 40;
	return c >= 'A' && c <= 'Z' ? 85 : 71;
}

unsigned label_width(const char *text)
{
	unsigned width = 0;

	for (; *text; text++)
		width += width_of(*text);
	return (width + TENTHS - 1) / TENTHS;
}

size_t label_line(const char *text, unsigned width)
{
	unsigned used = 0;
	size_t space = 0, i = 0;

	for (; text[i]; i++) {
		used += width_of(text[i]);
		if (text[i] == ' ')
			space = i;
		else if (used > width * TENTHS && i > 0 && width_of(text[i]) > 0)
			break;
	}
	return text[i] && space > 0 ? space : i;
}

const char *label_rest(const char *text, size_t line)
{
	return text + line + strspn(text + line, " ");
}
