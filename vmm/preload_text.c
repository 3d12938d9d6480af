/* vmm/preload_text.c: sentences without a heap. */
#include <errno.h>
#include <unistd.h>

#include "vmm/preload_text.h"

void preload_text_add(struct preload_text *text, const char *words)
{
	while (*words && text->length < sizeof(text->bytes))
		text->bytes[text->length++] = *words++;
}

static void add_digits(struct preload_text *text, uint64_t n, unsigned base)
{
	char digits[24];
	size_t at = sizeof(digits);

	digits[--at] = '\0';
	do
		digits[--at] = "0123456789abcdef"[n % base];
	while ((n /= base) > 0);
	preload_text_add(text, &digits[at]);
}

void preload_text_number(struct preload_text *text, uint64_t n)
{
	add_digits(text, n, 10);
}

void preload_text_hex(struct preload_text *text, uint64_t n)
{
	preload_text_add(text, "0x");
	add_digits(text, n, 16);
}

void preload_text_write(const struct preload_text *text, int fd)
{
	int was = errno;

	if (write(fd, text->bytes, text->length) < 0)
		errno = was;
	errno = was;
}
