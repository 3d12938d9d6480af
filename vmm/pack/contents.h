/* vmm/pack/contents.h: what a file holds, as a name of 128 bits: to see that it is another one than it was, not to
 * keep anybody from making two of one name. Threads: any, each with its own. */
#ifndef SLAT_VMM_PACK_CONTENTS_H
#define SLAT_VMM_PACK_CONTENTS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "vmm/failure.h"

struct contents {
	unsigned __int128 hash; /* FNV-1a (Fowler, Noll, Vo) of all bytes */
	struct stat stat;	/* when it was read */
};

#define CONTENTS_TEXT 33u

/* EXIT_HOST: it cannot be read, or is no regular file, so that a second look might see something else. O(bytes), in
 * constant memory. */
int contents_read(struct contents *c, const char *path, struct failure *f);
bool contents_still(const struct contents *c, const char *path); /* nobody has written to it since; O(1) */
void contents_text(unsigned __int128 hash, char text[CONTENTS_TEXT]);

/* The name of several, one after the other: the one so far (0: none), and the next. */
unsigned __int128 contents_join(unsigned __int128 all, unsigned __int128 next);

#endif
