/* vmm/pack/live_table.h: the guests that are there, by name: a trace calls them by
 * any text, events by small numbers. Theory: top of live_table.c. Threads: one.
 * Cost: expected O(length of the name). Memory: by the most guests that were there
 * at once, never by the length of the trace. */
#ifndef SLAT_VMM_PACK_LIVE_TABLE_H
#define SLAT_VMM_PACK_LIVE_TABLE_H

#include "vmm/pack/alloc.h"

struct live_table; /* opaque; fields in live_table_impl.h */

enum live_result {
	LIVE_OK,
	LIVE_TWICE,   /* add: a guest of that name is there */
	LIVE_UNKNOWN, /* remove: there is none */
	LIVE_NO_ROOM, /* add: no memory, or 2^31 guests are there */
};

/* NULL iff there is no memory. alloc is borrowed. */
struct live_table *live_table_open(struct alloc *alloc);
void live_table_close(struct live_table *t); /* NULL is fine */

/* On LIVE_OK *guest is its number: the one that was given up last, or, if none is,
 * the lowest that was never given: the same events have the same numbers, everywhere.
 * leaves: kept for whoever removes it. Else nothing has changed. */
enum live_result live_table_add(struct live_table *t, const char *name, size_t length, uint64_t leaves,
				uint32_t *guest);
enum live_result live_table_remove(struct live_table *t, const char *name, size_t length, uint32_t *guest);
void live_table_remove_guest(struct live_table *t, uint32_t guest); /* one that is there */

/* The name of whoever was removed last, until another is. */
const char *live_table_gone(const struct live_table *t, size_t *length);

/* What live_table_remove() would find, and what was kept of it. */
enum live_result live_table_find(const struct live_table *t, const char *name, size_t length, uint32_t *guest,
				 uint64_t *leaves);

uint32_t live_table_count(const struct live_table *t);
uint32_t live_table_count_max(const struct live_table *t);
bool live_table_check(const struct live_table *t); /* all invariants; O(guests + buckets) */

#endif
