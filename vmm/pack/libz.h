/* vmm/pack/libz.h: zlib, loaded by who needs it: `slat run` does not, and every
 * library that is linked costs start-up time. Threads: one. */
#ifndef SLAT_VMM_PACK_LIBZ_H
#define SLAT_VMM_PACK_LIBZ_H

#include <zlib.h>

#include "vmm/failure.h"

#define LIBZ_SONAME  "libz.so.1"
#define LIBZ_GZIP    (15 + 16) /* windowBits of a gzip stream */
#define LIBZ_MAGIC_0 0x1fu     /* of a gzip stream's first two bytes */
#define LIBZ_MAGIC_1 0x8bu

struct libz {
	void *library; /* NULL: not loaded */
	typeof(inflateInit2_) *inflate_init;
	typeof(inflate) *inflate;
	typeof(inflateReset) *inflate_reset;
	typeof(inflateEnd) *inflate_end;
	typeof(deflateInit2_) *deflate_init;
	typeof(deflate) *deflate;
	typeof(deflateEnd) *deflate_end;
};

/* EXIT_HOST iff there is no such library, or it lacks a function; it is then closed. */
int libz_open(struct libz *z, const char *soname, struct failure *f);
void libz_close(struct libz *z); /* fine if it is not loaded */

#endif
