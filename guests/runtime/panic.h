/* guests/runtime/panic.h: the last words, from guest_panic() to trap_report(). */
#ifndef SLAT_GUESTS_RUNTIME_PANIC_H
#define SLAT_GUESTS_RUNTIME_PANIC_H

#include <stdint.h>

struct panic {
	const char *what; /* NULL: none */
	const char *file; /* NULL: not from mm/ */
	unsigned line;
	uint64_t a, b;
};

extern struct panic panic_last;

#endif
