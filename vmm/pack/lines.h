/* vmm/pack/lines.h: the lines of a file or of standard input, plain or gzip, in
 * constant memory. What it is shows its first two bytes, not its name. Threads: one. */
#ifndef SLAT_VMM_PACK_LINES_H
#define SLAT_VMM_PACK_LINES_H

#include "vmm/pack/alloc.h"
#include "vmm/pack/libz.h"

#define LINES_MAX 65536u /* bytes of a line, without what ends it */

enum lines_next {
	LINES_ONE,
	LINES_LONG, /* longer than LINES_MAX: its first bytes; it is passed over */
	LINES_END,
	LINES_FAILED,
};

struct lines {
	uint64_t number;     /* of the line last given, from 1 */
	bool skip_trailing;  /* set by the owner: what follows a gzip stream is ... */
	bool trailing;	     /* ... not a failure, but marked here */
	struct alloc *alloc; /* private from here on */
	const char *name;
	int fd;
	bool end, gzip, in_stream;
	char *buffer; /* what is read and not given: [at, filled) */
	size_t at, filled;
	unsigned char *input; /* what is read and not unpacked */
	size_t input_at, input_filled;
	struct libz z;
	z_stream stream;
};

/* path "-": standard input. alloc is borrowed, and so is path. EXIT_HOST: it cannot
 * be read, no memory, no zlib. After a failure there is nothing to close. */
int lines_open(struct lines *l, const char *path, struct alloc *alloc, struct failure *f);
void lines_close(struct lines *l); /* fine on a zeroed one */

/* The next, without what ends it (\n or \r\n; nothing, in the last) and without the
 * byte order mark of the first; valid until the next call. O(its length).
 * LINES_FAILED: EXIT_HOST, it cannot be read; EXIT_IMAGE, the gzip stream is damaged or cut short. */
enum lines_next lines_next(struct lines *l, const char **line, size_t *length, struct failure *f);

#endif
