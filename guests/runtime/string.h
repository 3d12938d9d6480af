/* guests/runtime/string.h: the four functions that compilers call by themselves,
 * as the C standard has them, and the few words of text a guest needs. */
#ifndef SLAT_GUESTS_RUNTIME_STRING_H
#define SLAT_GUESTS_RUNTIME_STRING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void *memcpy(void *restrict to, const void *restrict from, size_t n);
void *memmove(void *to, const void *from, size_t n);
void *memset(void *to, int byte, size_t n);
int memcmp(const void *a, const void *b, size_t n);

/* At most size - 1 characters, always terminated; false iff it was cut. size > 0. */
bool text_copy(char *to, size_t size, const char *from);

/* The value of the word KEY=NUMBER in text, the number decimal with an optional
 * K, M or G; fallback iff there is no such word or its number is none. */
uint64_t text_option(const char *text, const char *key, uint64_t fallback);

/* What follows KEY= in the first word of that kind in text (a word's end is a space or the text's), or NULL. For the
 * next one, ask from there. */
const char *text_value(const char *text, const char *key);

/* True iff `word` is one of text's words, whole. */
bool text_has(const char *text, const char *word);

/* True iff text begins with `word`, whole. */
bool text_starts(const char *text, const char *word);

/* The number that text begins with: decimal, or hexadecimal after 0x. *end: behind it. */
uint64_t text_number(const char *text, const char **end);

#endif
