/* vmm/prefault.h: memory touched, or wiped, by several threads at once.
 * Threads: the caller is one of the workers, and waits for the others. */
#ifndef SLAT_VMM_PREFAULT_H
#define SLAT_VMM_PREFAULT_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/ids.h"

#define PREFAULT_WORKERS_MAX 64u
#define PREFAULT_ENDED	     (-1)

struct prefault {
	uint8_t *host;
	uint64_t bytes;
	uint64_t piece_bytes;	/* a power of two; pieces begin at multiples of it. 0: 16 MiB */
	unsigned workers;	/* at most; 0: one for each CPU that this thread may run on */
	const struct ids *cpus; /* where they run; NULL: where this thread may */
	bool show;		/* how far it is, on standard error, where that is a terminal and there is much of it */
};

/* So that every page is there and is the process's own; what it holds stays. 0, or the errno of the host's refusal, or
 * PREFAULT_ENDED: a signal that ends the run came meanwhile and is held back. */
int prefault_touch(const struct prefault *p);

/* The same by this thread alone, which asks the kernel and looks at no signal: one call of madvise. EINVAL: a kernel
 * before 5.14 does not know it. */
int prefault_ask(uint8_t *host, uint64_t bytes);

/* As prefault_touch(), and every byte becomes 0. */
int prefault_wipe(const struct prefault *p);

#endif
