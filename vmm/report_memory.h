/* vmm/report_memory.h: the part of the report that is about the RAM: what of it is there,
 * and where, as the kernel has it now, beside what was asked. Threads: the main one; the guest may run. */
#ifndef SLAT_VMM_REPORT_MEMORY_H
#define SLAT_VMM_REPORT_MEMORY_H

#include <jansson.h>
#include <stdio.h>

#include "vmm/resident.h"
#include "vmm/vm.h"

struct report_truth; /* of all pools, at one moment */

/* By resident_open()'s descriptors. Costs what resident_read() says, and, where slat may know frames, some 10 ms for a
 * GiB that is there in pages of 4K, 2 ms in huge ones. NULL: no memory; fine for those below, which then say null. */
struct report_truth *report_truth_read(const struct vm *vm, struct resident *r);
void report_truth_free(const struct vm *vm, struct report_truth *t);

/* Each NULL iff there is no memory. */
json_t *report_leaves(const uint64_t leaves[PAGETABLE_SIZES]);
json_t *report_memory(const struct vm *vm, const struct report_truth *t);
json_t *report_zones(const struct vm *vm, const struct report_truth *t);
json_t *report_latency(const struct vm *vm, const struct report_truth *t);

/* The truth in one line for people: resident, huge, shared, by node, at most. */
void report_show(const struct vm *vm, struct resident *r, FILE *to);

#endif
