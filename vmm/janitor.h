/* vmm/janitor.h: removes the files that are to go when slat ends, since slat itself
 * no longer may (sandbox.h): a small process of its own, forked before the guest's
 * memory is there. It also does so when slat is killed.
 * Threads: one. */
#ifndef SLAT_VMM_JANITOR_H
#define SLAT_VMM_JANITOR_H

#include <stdint.h>
#include <sys/types.h>

#include "vmm/failure.h"

#define JANITOR_FILES_MAX 8u

struct janitor { /* zeroed: nothing to do */
	unsigned files;
	const char *file[JANITOR_FILES_MAX]; /* borrowed until it has started */
	pid_t process;
	int to; /* its pipe: one byte, a file's number, keeps that file */
};

/* One more to remove; its number. Before janitor_start(). */
unsigned janitor_add(struct janitor *j, const char *path);

/* While there is one thread. No process where there is no file. EXIT_HOST iff the host has no process or pipe left. */
int janitor_start(struct janitor *j, struct failure *f);

/* That file stays. */
void janitor_keep(struct janitor *j, unsigned file);

/* Comes back when the files are gone, also without janitor_start(). */
void janitor_end(struct janitor *j);

#endif
