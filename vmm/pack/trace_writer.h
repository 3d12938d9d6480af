/* vmm/pack/trace_writer.h: events into a file of slat's own format, as --save-trace does.
 * Theory: top of trace_writer.c. Threads: one. */
#ifndef SLAT_VMM_PACK_TRACE_WRITER_H
#define SLAT_VMM_PACK_TRACE_WRITER_H

#include "vmm/pack/alloc.h"
#include "vmm/pack/event.h"

struct trace_writer; /* opaque */

struct trace_writer_options {
	bool bytes;	     /* sizes are bytes (column size_bytes); else units (size) */
	uint64_t fail_after; /* fault injection: the n-th allocation is refused; 0: none is */
};

/* Gzip iff path ends in ".gz"; "-": standard output. What was at path stays there until
 * trace_writer_close(). NULL and *f, EXIT_HOST: it cannot be written, no memory, no zlib. */
struct trace_writer *trace_writer_open(const char *path, const struct trace_writer_options *options, struct failure *f);

/* The next event, as trace_next() or a generator gives them: a guest that departs is
 * there. EXIT_HOST: it cannot be written; there is no more to do than to abandon it. */
int trace_writer_add(struct trace_writer *w, const struct event *e, struct failure *f);

/* Either ends it. Close: all is in the file, and the file is at path; EXIT_HOST: it is
 * not, and what was at path still is. Abandon: the same, of one's own will. */
int trace_writer_close(struct trace_writer *w, struct failure *f);
void trace_writer_abandon(struct trace_writer *w); /* NULL is fine */

#endif
