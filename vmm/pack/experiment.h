/* vmm/pack/experiment.h: one experiment, as the command line asks for it. Threads: one for each. */
#ifndef SLAT_VMM_PACK_EXPERIMENT_H
#define SLAT_VMM_PACK_EXPERIMENT_H

#include "vmm/pack/pack_options.h"

struct experiment {
	struct pack_figures figures;
	struct trace_stats read;
};

/* Settles the options, if they are not yet (pack_options_settle()). Plays the whole trace; writes the time series and
 * the page, if they are asked for; shows on standard error how far it is, if it should and that is a terminal. As
 * trace_open(), pack_open(), or EXIT_HOST: one of them cannot be written.
 */
int experiment_run(struct pack_options *o, bool show, struct experiment *out, struct failure *f);

#endif
