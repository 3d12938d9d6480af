/* vmm/report.h: what a run did, as JSON. The man page documents every key.
 * Threads: the main one, after vm_wait(), or while the guest runs (vm.h, look). */
#ifndef SLAT_VMM_REPORT_H
#define SLAT_VMM_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/options.h"
#include "vmm/resident.h"
#include "vmm/vm.h"

struct report_facts {
	const struct vm *vm;
	const struct run_options *options;
	enum boot_format format;
	uint64_t start_ns;	   /* of loop_now(), when slat started */
	bool running;		   /* it has not ended: */
	int code;		   /* that slat will exit with */
	struct resident *resident; /* resident_open() */
};

/* Its text, *bytes long and with room for `room` in all: the caller's, from the VM's memory. NULL and EXIT_HOST iff
 * there is none left. While the guest runs each figure is of its own moment, a device's are of one; those of a device
 * that was at work for longer than 10 ms are null. */
char *report_text(const struct report_facts *facts, size_t room, size_t *bytes, struct failure *f);

#endif
