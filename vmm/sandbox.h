/* vmm/sandbox.h: the step down of `slat run`, after its last open and before the
 * guest's first instruction: what slat does not need any more, a guest that takes
 * it over has not got either. Theory: top of sandbox.c; the list of system calls
 * and how to regenerate it: sandbox_list.c.
 *
 * For whoever writes a device: open, connect, map as code and make rings before
 * it; read, write, wait and start threads after it. A ring of io_uring carries out
 * opens and sockets by itself, where no filter sees them: restrict it
 * (IORING_REGISTER_RESTRICTIONS) to what the device does, before it is enabled.
 *
 * Threads: the main thread, while there is no other: capabilities are a thread's
 *          own, and only those that are made later inherit that there are none. */
#ifndef SLAT_VMM_SANDBOX_H
#define SLAT_VMM_SANDBOX_H

#include <stdbool.h>

#include "vmm/failure.h"

/* A sanitizer reads files, makes processes and traces them to tell what it found: its builds run without the filter
 * (and with all the rest). */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANDBOX_SANITIZED true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANDBOX_SANITIZED true
#endif
#endif
#ifndef SANDBOX_SANITIZED
#define SANDBOX_SANITIZED false
#endif

struct sandbox_config {
	bool filter; /* of system calls; without it, capabilities and new privileges go all the same */
};

/* EXIT_HOST iff the kernel refuses a part of it; what was dropped before that stays dropped. */
int sandbox_enter(const struct sandbox_config *config, struct failure *f);

#endif
