/* guests/runtime/guest.h: what every guest has: one entry, one way out.
 * A guest proves one property. It ends with one line "NAME: ok ..." and
 * GUEST_OK, or with a line that says what was wrong and another code. slat and
 * QEMU end with (code << 1) | 1. */
#ifndef SLAT_GUESTS_RUNTIME_GUEST_H
#define SLAT_GUESTS_RUNTIME_GUEST_H

#include <stdint.h>

struct boot_info;

enum guest_code {
	GUEST_OK = 0,
	GUEST_FAILED = 1,  /* the property does not hold */
	GUEST_TRAPPED = 2, /* an exception that nobody expected; it is on the console */
	GUEST_PANIC = 3,   /* the runtime, or mm/, cannot go on; the reason is on the console */
};

/* The guest itself, in ring 0 on its own page tables; the runtime leaves with
 * what it returns. */
int guest_main(const struct boot_info *boot);

/* Ends the guest through the debug-exit port; where there is none, stops the CPU. Ring 0. */
_Noreturn void guest_exit(uint32_t code);

/* Ends the guest with GUEST_PANIC. A plain sentence without its full stop, and
 * the two numbers that tell most. Works in ring 3 too. */
_Noreturn void guest_panic(const char *what, uint64_t a, uint64_t b);

#endif
