/* vmm/fault.h: what a guest did that its second-level table forbids, and how often.
 * Threads: a struct fault is its thread's own; a struct fault_log is everybody's. */
#ifndef SLAT_VMM_FAULT_H
#define SLAT_VMM_FAULT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "mm/pagetable.h"

enum fault_access { FAULT_READ, FAULT_WRITE, FAULT_FETCH };
#define FAULT_ACCESSES 3u

struct fault {
	enum fault_access access;
	bool walk; /* by the CPU, of the guest's own page tables: gpa is an entry's */
	uint64_t gpa;
	unsigned bytes; /* 0: not known */
	bool has_linear;
	uint64_t linear; /* what the guest calls it; of a walk, what was to be translated */
	unsigned cpu, ring;
	uint64_t rip;
	bool rip_past; /* rip is already the next instruction's */
	/* What the table says there. */
	enum pagetable_format format;
	bool mapped;
	unsigned rights; /* iff mapped */
};

#define FAULT_TEXT 400u

/* One sentence, in the words of an EPT violation. text: FAULT_TEXT bytes. */
void fault_describe(const struct fault *f, char *text);

/* Fills in what the table says at f->gpa. */
void fault_ask_table(struct fault *f, const struct pagetable *table);

/* All accesses, and which of them get a line: some a second. Zeroed to begin. */
struct fault_log {
	_Atomic uint64_t count[FAULT_ACCESSES];
	_Atomic uint64_t second; /* of the lines counted in `lines` */
	_Atomic unsigned lines;
};
#define FAULT_LINES_A_SECOND 8u

/* Counts one; true iff it is to be told. now_ns: of a clock that does not go back. */
bool fault_log_add(struct fault_log *log, enum fault_access access, uint64_t now_ns);

#endif
