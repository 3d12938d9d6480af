/* vmm/pack/decision_log.h: each decision of an experiment as a line of CSV: `slat pack --log`. Theory: top of
 * decision_log.c. Threads: one for each. */
#ifndef SLAT_VMM_PACK_DECISION_LOG_H
#define SLAT_VMM_PACK_DECISION_LOG_H

#include "vmm/pack/csv.h"
#include "vmm/pack/pack.h"

struct decision_log; /* opaque */

/* What the guest is called whose event was last asked for: valid until the next is. */
struct decision_names {
	void *self;
	struct csv_field (*last)(void *self);
};

/* Sees all of p, from now on, whose source has to be prompt. All are borrowed until the end. NULL: as
 * text_file_open(). */
struct decision_log *decision_log_open(const char *path, struct pack *p, const struct decision_names *names,
				       struct failure *f);

/* After each event: what failed while it was written; then there is no more to do than to close it. */
int decision_log_judge(const struct decision_log *l, struct failure *f);

/* As text_file_close(), or, unless `keep`, text_file_abandon(). NULL is fine. Before pack_close(). */
int decision_log_close(struct decision_log *l, bool keep, struct failure *f);

#endif
