/* vmm/dirty_log.h: which pages of its RAM a guest may have written to, by KVM's log
 * of writes of the slots that have one. Theory: top of dirty_log.c.
 * Threads: the main one, while no vCPU runs. */
#ifndef SLAT_VMM_DIRTY_LOG_H
#define SLAT_VMM_DIRTY_LOG_H

#include "vmm/slots.h"

struct dirty_log {
	const struct slots *slots;
	uint64_t *bits; /* slot after slot, each from a word of its own */
	size_t bytes;
	uint32_t at;	/* the slot that was asked last, */
	size_t at_word; /* and where its bits begin */
};

/* Fetches all, of slots that log; they are borrowed. EXIT_HOST or EXIT_KVM iff it cannot be had. */
int dirty_log_read(struct dirty_log *d, int vm, const struct slots *slots, struct failure *f);
void dirty_log_free(struct dirty_log *d);

/* May any of these bytes have been written to? They lie in one slot, or in none; asked in ascending order. */
bool dirty_log_any(struct dirty_log *d, uint64_t gpa, uint64_t bytes);

#endif
