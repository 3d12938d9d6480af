/* vmm/report.h: what a run did, as JSON. The man page documents every key.
 * Threads: one, after vm_wait(). */
#ifndef SLAT_VMM_REPORT_H
#define SLAT_VMM_REPORT_H

#include <stdio.h>

#include "vmm/options.h"
#include "vmm/resident.h"
#include "vmm/vm.h"

struct report_facts {
	const struct vm *vm;
	const struct run_options *options;
	enum boot_format format;
	uint64_t start_ns;	   /* of loop_now(), when slat started */
	int code;		   /* that slat will exit with */
	struct resident *resident; /* resident_open() */
};

/* EXIT_HOST iff it cannot be written whole. */
int report_write(const struct report_facts *facts, FILE *to, struct failure *f);

#endif
