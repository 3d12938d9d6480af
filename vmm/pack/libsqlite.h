/* vmm/pack/libsqlite.h: SQLite, loaded by who needs it, as vmm/pack/libz.h. Threads: one. */
#ifndef SLAT_VMM_PACK_LIBSQLITE_H
#define SLAT_VMM_PACK_LIBSQLITE_H

#include <sqlite3.h>

#include "vmm/failure.h"

#define LIBSQLITE_SONAME "libsqlite3.so.0"

/* Those that are used, named once: of X(f) the function is sqlite3_f. */
#define LIBSQLITE_FUNCTIONS(X)                                                                                         \
	X(open_v2)                                                                                                     \
	X(close_v2)                                                                                                    \
	X(errmsg)                                                                                                      \
	X(exec)                                                                                                        \
	X(db_config)                                                                                                   \
	X(prepare_v2)                                                                                                  \
	X(step)                                                                                                        \
	X(reset)                                                                                                       \
	X(finalize)                                                                                                    \
	X(bind_int64)                                                                                                  \
	X(bind_text)                                                                                                   \
	X(column_type)                                                                                                 \
	X(column_int64)                                                                                                \
	X(column_double)                                                                                               \
	X(column_text)                                                                                                 \
	X(column_bytes)

struct libsqlite {
	void *library; /* NULL: not loaded */
#define X(f) typeof(sqlite3_##f) *(f);
	LIBSQLITE_FUNCTIONS(X)
#undef X
};

/* EXIT_HOST iff there is no such library, or it lacks a function; it is then closed. */
int libsqlite_open(struct libsqlite *s, const char *soname, struct failure *f);
void libsqlite_close(struct libsqlite *s); /* fine if it is not loaded */

#endif
