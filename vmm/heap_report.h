/* vmm/heap_report.h: what mm/checked.h and mm/leak.h found and mm/inject.h refused, in words, with source
 * lines (source_line.h). Written in pieces straight to a file descriptor; nothing is
 * allocated but pages for text and names, which go back at once, so that a small stack
 * is enough. Threads: any. */
#ifndef SLAT_VMM_HEAP_REPORT_H
#define SLAT_VMM_HEAP_REPORT_H

#include "mm/checked.h"
#include "mm/inject.h"
#include "mm/leak.h"

/* "slat: heap: overrun: 1 byte at offset 24 of a block of 24 bytes at 0x...", then the
 * calls that led there (where none is known: `no_call`, unless it is NULL), to its
 * allocation, and to its free, one a line. One write(2). Where
 * there is no memory for two at once, that is said of the second instead. */
void heap_report_write(int fd, const struct checked_report *r, const char *no_call);

/* "slat: heap: refused, as it was told to: allocation 17, of 4096 bytes", then the calls that asked, as above. */
void heap_report_refusal(int fd, const struct inject_refusal *r, const struct call_stack *asked);

enum heap_report_form {
	HEAP_REPORT_TREE,   /* by leak_print_tree(), without branches below `least` bytes */
	HEAP_REPORT_FOLDED, /* by leak_print_folded(), for flame graphs */
};

/* What is live, by call stack. `stacks` as l's. 0, or an errno: ENOMEM: no memory for it;
 * EAGAIN: others made stacks faster than room was made for them, and nothing was written;
 * else why fd does not take it. A stack that came meanwhile may have numbers for names. */
int heap_report_leaks(int fd, const struct leak *l, const struct call_stacks *stacks, enum heap_report_form form,
		      uint64_t least);

#endif
