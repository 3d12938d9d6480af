/* guests/runtime/step.h: a guest's work in steps, each run in ring 3, where there
 * is no console, and judged in ring 0. */
#ifndef SLAT_GUESTS_RUNTIME_STEP_H
#define SLAT_GUESTS_RUNTIME_STEP_H

#include <stdbool.h>
#include <stdint.h>

struct step {
	const char *name;
	bool (*run)(void); /* false: step_wrong() was told why */
};

/* The first thing that is wrong, and the two numbers that tell most. Returns
 * false, so that a step can end with it. Any ring, one CPU. */
bool step_wrong(const char *what, uint64_t a, uint64_t b);

/* Runs one; prints "GUEST: NAME: WHAT (0xA, 0xB)" iff it fails. Ring 0. */
bool step_run(const char *guest, const struct step *step);

/* The same, of them all up to the first that fails. */
bool steps_run(const char *guest, const struct step *steps, unsigned count);

/* Forgets what was wrong: for who expected it. */
void step_forgive(void);

#endif
