/* tests/fuzz/must.h: what a fuzz target demands: abort() with the place and the words iff it does not hold. */
#ifndef SLAT_TESTS_FUZZ_MUST_H
#define SLAT_TESTS_FUZZ_MUST_H

#include <stdio.h>
#include <stdlib.h>

#define MUST(x)                                                                                                        \
	do {                                                                                                           \
		if (!(x)) {                                                                                            \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x);                                        \
			abort();                                                                                       \
		}                                                                                                      \
	} while (0)

#endif
