/* vmm/stitch.h: which guest address lies on which host frame: the blocks of a
 * guest, laid one after the other into its RAM, around the 32-bit hole and
 * without its guards. Theory: top of stitch.c. Pure.
 * Threads: one. */
#ifndef SLAT_VMM_STITCH_H
#define SLAT_VMM_STITCH_H

#include "mm/pagetable.h"
#include "vmm/guest_ranges.h"
#include "vmm/host.h"

struct stitch { /* what is asked for; borrowed */
	const struct block *block;
	uint32_t blocks; /* in the order of the guest's addresses */
	const struct guest_ranges *ranges;
};

enum piece_kind { PIECE_PLAIN, PIECE_READONLY, PIECE_GUARD };

struct piece { /* [gpa, gpa + bytes) on [hpa, hpa + bytes), whole frames; of a guard, the frames that nobody gets */
	uint64_t gpa, hpa, bytes;
	enum piece_kind kind;
};

struct stitch_cursor { /* zeroed to begin */
	uint32_t block;
	uint64_t in_block; /* bytes of it that are behind */
	uint64_t gpa;
};

/* The next piece, in the order of gpa: as long as it is contiguous on both sides and of one kind within one block. */
bool stitch_next(const struct stitch *s, struct stitch_cursor *at, struct piece *out);

/* The gpa where a byte of RAM lies, counted from its first. */
uint64_t stitch_gpa(uint64_t offset);

/* As many table pages as a table needs that maps the pieces in their order by leaves of up to `leaf`. Exact. */
uint64_t stitch_table_pages(const struct stitch *s, enum pagetable_size leaf);

/* Maps all pieces but guards; `attr`, without WRITE where a piece is read-only. As pagetable_map(). */
MM_MUST_CHECK enum mm_err stitch_map(const struct stitch *s, struct pagetable *table, struct pagetable_attr attr);

#endif
