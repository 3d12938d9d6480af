/* vmm/pack/draft.h: a file that is there whole, or not at all: what is written is a new file
 * beside it, FILE.XXXXXX, which takes its name once it is on the disk. Where the file is
 * no regular one (a pipe, /dev/stdout) there is nothing to keep, and the draft is it.
 * Threads: one. */
#ifndef SLAT_VMM_PACK_DRAFT_H
#define SLAT_VMM_PACK_DRAFT_H

#include <stdio.h>

#include "vmm/failure.h"
#include "vmm/pack/alloc.h"

struct draft_temp {		 /* private */
	struct draft_temp *next; /* of all that there are */
	char path[];
};

struct draft {
	int fd;	   /* the owner's to write to, not to close */
	FILE *out; /* the same as a stream, if it was asked for; NULL: it was not, or the draft has ended */
	const char *path;
	struct draft_temp *temp; /* private: NULL: the file itself */
	int error;		 /* private: errno of the first thing that the stream could not write */
};

/* From now on a signal that ends the process from outside (HUP, INT, QUIT, PIPE, TERM, XCPU, XFSZ; not one that was
 * ignored) removes the drafts that there are, and then ends it as it would have. KILL leaves them. */
void draft_end_by_signal(void);

/* path "-": standard output. Borrows path. EXIT_HOST: it cannot be written, or no memory; there is nothing to end. */
int draft_open(struct draft *d, const char *path, struct alloc *alloc, struct failure *f);

/* As draft_open(), with a stream, whose errors draft_keep() finds. The draft stays where it is until it has ended. */
int draft_open_stream(struct draft *d, const char *path, struct alloc *alloc, struct failure *f);

/* Either ends it. Keep: the file is at path; EXIT_HOST: it is not, and what was there still is. */
int draft_keep(struct draft *d, struct failure *f);
void draft_drop(struct draft *d);

#endif
