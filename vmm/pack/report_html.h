/* vmm/pack/report_html.h: an experiment as a page with charts: `slat pack --report`. Threads: one for each.
 * Memory: bounded, whatever the length of the run: see moments.h and pool_picture.h. */
#ifndef SLAT_VMM_PACK_REPORT_HTML_H
#define SLAT_VMM_PACK_REPORT_HTML_H

#include "vmm/pack/pack_options.h"

struct report; /* opaque */

/* Both borrowed until the end; the page is o->report, which is made at once, so that nobody waits for what cannot be
 * written. NULL: as draft_open(), or EXIT_HOST: no memory. */
struct report *report_open(const struct pack_options *o, const struct pack *p, struct failure *f);

/* After each event. */
int report_note(struct report *r, uint64_t time_us, struct failure *f);

/* Writes the page and puts it in its place; unless `keep`, removes what there is. EXIT_HOST: it cannot be written;
 * nothing is left. Fine on NULL. */
int report_close(struct report *r, bool keep, const struct trace_stats *read, struct failure *f);

#endif
