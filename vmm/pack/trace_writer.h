/* vmm/pack/trace_writer.h: events into a file of slat's own format, as --save-trace does: text_file.h's, which is
 * closed and abandoned as such. Theory: top of trace_writer.c. Threads: one. */
#ifndef SLAT_VMM_PACK_TRACE_WRITER_H
#define SLAT_VMM_PACK_TRACE_WRITER_H

#include "vmm/pack/event.h"
#include "vmm/pack/text_file.h"

struct trace_writer_options {
	const char *unit;    /* of sizes: "byte", "MHz", "metre", "unit"; the header says it */
	uint64_t fail_after; /* fault injection: the n-th allocation is refused; 0: none is */
};

/* As text_file_open(). */
struct text_file *trace_writer_open(const char *path, const struct trace_writer_options *options, struct failure *f);

/* The next event, as trace_next() or a generator gives them: a guest that departs is there. name: of the guest, the
 * same in both of his events. As text_file_room(), text_file_judge_name(). */
int trace_writer_add(struct text_file *t, const struct event *e, struct csv_field name, struct failure *f);

#endif
