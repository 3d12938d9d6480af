/* vmm/pack/report_sweep.h: what policies came to over seeds, as a page: `slat sweep --merge --report`.
 * Threads: one. */
#ifndef SLAT_VMM_PACK_REPORT_SWEEP_H
#define SLAT_VMM_PACK_REPORT_SWEEP_H

#include "vmm/pack/sweep.h"

/* Of all points, which are finished, with their results in order; words: of the command, after `slat sweep`. EXIT_HOST,
 * EXIT_USAGE: the page cannot be written; no file is left. */
int report_sweep(const struct sweep *s, const json_t *results, const char *path, char *const *word, int words,
		 struct failure *f);

#endif
