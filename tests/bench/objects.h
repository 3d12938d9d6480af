/* tests/bench/objects.h: the objects' cases of guests/bench/cases.h, numbered over
 * all sizes, and the end of a process that runs one allocator through them. Each
 * allocator has a process of its own (objects.c starts them and has the theory).
 *
 * Threads: the main thread and the one of bench_pair(). */
#ifndef SLAT_TESTS_BENCH_OBJECTS_H
#define SLAT_TESTS_BENCH_OBJECTS_H

#include <stdbool.h>
#include <stdint.h>

#include "guests/bench/cases.h"
#include "guests/bench/loops.h"

#define OBJECTS_FD	 3 /* a child's end of the socket to objects.c */
#define OBJECTS_NAME_MAX 40
#define OBJECTS_CASES	 (CASES_SIZES * CASES_OBJECTS)

struct objects_contender {
	const struct loops *loops;
	/* For take and give, by one thread, of objects_sizes[size]; lives on. */
	void *(*caller)(unsigned size, unsigned thread);
	void (*enter)(void); /* once in each thread before anything else; NULL: nothing to do */
	bool apart;	     /* what one thread took, the other cannot free */
};

/* Name and unit of a case, [0, OBJECTS_CASES). */
void objects_name(unsigned number, char name[OBJECTS_NAME_MAX], const char **unit);

/* Starts a program that serves one of them, and answers its end of the socket. preload NULL: nothing. */
int objects_start(const char *program, const char *name, const char *preload);

/* One round of a case: ns, or NAN. */
double objects_ask(int socket, uint32_t number, const char *whom);

/* Answers each uint32_t case number from OBJECTS_FD with a double: ns, or NAN.
 * Returns main()'s value when the other end closes. */
int objects_serve(const struct objects_contender *c);

#endif
