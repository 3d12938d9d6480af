/* vmm/preload_text.h: sentences for stderr, made without a heap. Threads: one a text. */
#ifndef SLAT_VMM_PRELOAD_TEXT_H
#define SLAT_VMM_PRELOAD_TEXT_H

#include <stddef.h>
#include <stdint.h>

struct preload_text { /* starts as zeroes; what does not fit is cut off */
	size_t length;
	char bytes[512];
};

void preload_text_add(struct preload_text *text, const char *words);
void preload_text_number(struct preload_text *text, uint64_t n);
void preload_text_hex(struct preload_text *text, uint64_t n);

/* Keeps errno; what the other end does not take is lost. */
void preload_text_write(const struct preload_text *text, int fd);

#endif
