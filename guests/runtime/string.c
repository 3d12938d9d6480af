#include "guests/runtime/string.h"

void *memcpy(void *restrict to, const void *restrict from, size_t n)
{
	void *d = to;
	size_t words = n / 8;

	__asm__ volatile("rep movsq" : "+D"(d), "+S"(from), "+c"(words)::"memory");
	words = n % 8;
	__asm__ volatile("rep movsb" : "+D"(d), "+S"(from), "+c"(words)::"memory");
	return to;
}

void *memmove(void *to, const void *from, size_t n)
{
	uint8_t *d = to;
	const uint8_t *s = from;

	if ((uintptr_t)to - (uintptr_t)from >= n)
		return memcpy(to, from, n);
	while (n-- > 0) {
		d[n] = s[n];
		__asm__ volatile("" ::: "memory"); /* else the compiler makes this loop a call of memmove */
	}
	return to;
}

void *memset(void *to, int byte, size_t n)
{
	void *d = to;
	size_t count = n / 8;
	uint64_t word = (uint8_t)byte * UINT64_C(0x0101010101010101);

	__asm__ volatile("rep stosq" : "+D"(d), "+c"(count) : "a"(word) : "memory");
	count = n % 8;
	__asm__ volatile("rep stosb" : "+D"(d), "+c"(count) : "a"(byte) : "memory");
	return to;
}

int memcmp(const void *a, const void *b, size_t n)
{
	const uint8_t *p = a, *q = b;

	for (size_t i = 0; i < n; i++)
		if (p[i] != q[i])
			return p[i] < q[i] ? -1 : 1;
	return 0;
}

bool text_copy(char *to, size_t size, const char *from)
{
	size_t i = 0;

	for (; from[i] != '\0' && i + 1 < size; i++)
		to[i] = from[i];
	to[i] = '\0';
	return from[i] == '\0';
}

/* What follows KEY= where a word starts with it, or NULL. */
static const char *option_value(const char *word, const char *key)
{
	while (*key != '\0')
		if (*word++ != *key++)
			return NULL;
	return *word == '=' ? word + 1 : NULL;
}

static uint64_t number(const char *s, uint64_t fallback)
{
	uint64_t value = 0;
	const char *p = s;

	for (; *p >= '0' && *p <= '9'; p++)
		value = value * 10 + (uint64_t)(*p - '0');
	if (p == s)
		return fallback;
	switch (*p) {
	case 'K':
		return value << 10;
	case 'M':
		return value << 20;
	case 'G':
		return value << 30;
	default:
		return value;
	}
}

const char *text_value(const char *text, const char *key)
{
	for (const char *p = text; *p != '\0'; p++) {
		const char *value = p == text || p[-1] == ' ' ? option_value(p, key) : NULL;

		if (value)
			return value;
	}
	return NULL;
}

uint64_t text_option(const char *text, const char *key, uint64_t fallback)
{
	const char *value = text_value(text, key);

	return value ? number(value, fallback) : fallback;
}

bool text_starts(const char *text, const char *word)
{
	while (*word != '\0')
		if (*text++ != *word++)
			return false;
	return *text == ' ' || *text == '\0';
}

bool text_has(const char *text, const char *word)
{
	for (const char *p = text; *p != '\0'; p++)
		if ((p == text || p[-1] == ' ') && text_starts(p, word))
			return true;
	return false;
}

static unsigned digit_of(char c)
{
	if (c >= '0' && c <= '9')
		return (unsigned)(c - '0');
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10 : 16;
}

uint64_t text_number(const char *text, const char **end)
{
	unsigned base = text[0] == '0' && (text[1] | 0x20) == 'x' ? 16 : 10;
	uint64_t value = 0;

	for (text += base == 16 ? 2 : 0; digit_of(*text) < base; text++)
		value = value * base + digit_of(*text);
	*end = text;
	return value;
}
