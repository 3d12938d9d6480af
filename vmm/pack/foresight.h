/* vmm/pack/foresight.h: how long each guest of a trace stays, though only its departure tells: the
 * trace is read once before it is played. Theory: top of foresight.c. Threads: one. */
#ifndef SLAT_VMM_PACK_FORESIGHT_H
#define SLAT_VMM_PACK_FORESIGHT_H

#include "vmm/pack/trace.h"

struct foresight; /* opaque */

/* Reads all of it. NULL and *f: as trace_open() and trace_next(); EXIT_USAGE: it is no regular file, which could be
 * read twice; EXIT_HOST: no memory. */
struct foresight *foresight_open(const char *path, enum trace_format format, const struct trace_options *options,
				 struct failure *f);
void foresight_close(struct foresight *s); /* NULL is fine */

/* Of that arrival (struct event, number), or EVENT_LIFE_UNKNOWN: it never departs, or there is no such arrival. */
uint64_t foresight_life(const struct foresight *s, uint64_t number);

#endif
