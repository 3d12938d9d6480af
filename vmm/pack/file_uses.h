/* vmm/pack/file_uses.h: what a command reads and writes, so that it writes over nothing of that. Threads: any. */
#ifndef SLAT_VMM_PACK_FILE_USES_H
#define SLAT_VMM_PACK_FILE_USES_H

#include <stdbool.h>
#include <stddef.h>

#include "vmm/failure.h"

struct file_use {
	const char *option; /* as a sentence names it: "--csv", "TRACE" */
	const char *path;   /* "-": standard input, or output; NULL: it is not used */
	bool output;
};

/* EXIT_USAGE iff an output is an input, or another output: of one name; the same regular file by device and inode,
 * whatever leads to it; or, of files that are not there yet, the same name in the same folder. O(uses * outputs). */
int file_uses_judge(const struct file_use *use, size_t uses, struct failure *f);

#endif
