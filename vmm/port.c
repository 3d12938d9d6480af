/* vmm/port.c: mm/'s hooks on the host: a bug ends the program, loudly; who waits lets others run. */
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#include "mm/port.h"

void mm_panic(const char *file, int line, const char *what, uint64_t a, uint64_t b)
{
	fprintf(stderr, "slat: bug at %s:%d: %s (0x%" PRIx64 ", 0x%" PRIx64 ")\n", file, line, what, a, b);
	abort();
}

void mm_yield(void)
{
	sched_yield();
}
