/* guests/runtime/paging.h: the guest's own page tables, built by mm/pagetable.
 * An identity map: all RAM (ring 3 may write it, nobody executes it), the parts
 * of the image with the rights they need, what the memory map reserves below
 * 4 GiB (read only), and the hole from 3 to 4 GiB (uncached, ring 0).
 * Threads: one. */
#ifndef SLAT_GUESTS_RUNTIME_PAGING_H
#define SLAT_GUESTS_RUNTIME_PAGING_H

#include "mm/pagetable.h"

struct boot_info;

/* After memory_init(); needs the first GiB writable. Ring 3 will do. */
void paging_build(const struct boot_info *boot);

/* Switches this CPU to the tables. Ring 0. */
void paging_load(void);

/* Maps a device range where nothing is mapped yet, uncached, for ring 0;
 * panics iff that cannot be. Whole frames. */
void paging_map_device(uint64_t start, uint64_t bytes);

/* Lets ring 3 read and write a device range, mapped or not, below 4 GiB or above; uncached. Whole frames. Flushes this
 * CPU's TLB. Ring 0. */
void paging_share_device(uint64_t start, uint64_t bytes);

/* Maps a range to itself with every right for ring 3, whole frames; for guests that
 * want to meet what lies below their own table. Flushes this CPU's TLB. Ring 0. */
void paging_open(uint64_t start, uint64_t bytes);

/* Unmaps the frame at `at`, so that the stack above it cannot grow over what lies
 * below; `below` says whose. A CPU that may have touched it loads its tables anew. */
void paging_guard(uint64_t at, const char *below);

/* What paging_guard() was told of the frame that holds `at`, or NULL. */
const char *paging_guard_at(uint64_t at);

const struct pagetable *paging_table(void);

#endif
