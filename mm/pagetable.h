/* mm/pagetable.h: page tables in a hardware's own format. Theory: top of pagetable.c.
 *
 * One engine for EPT (Intel SDM vol. 3C, ch. 29), NPT (AMD APM vol. 2, 15.25),
 * x86-64 stage 1 (SDM vol. 3A, 4.5) and an IOMMU's domain (second-stage entries
 * of VT-d, specification 3.7 and 9.8): 4 levels, leaves of 4K, 2M and 1G. It maps
 * input addresses (gpa; gva in stage 1; iova in a domain) to output addresses
 * (hpa; gpa in stage 1 and in a domain). Every range is half open and in bytes,
 * all of it multiples of FRAME_BYTES.
 *
 * Memory:  table pages lie in one arena that the caller lends; which page is
 *          next comes from the caller's get(); a page goes back by put(), only
 *          after the caller said by pagetable_flushed() that no hardware walker
 *          can still hold it, and every reader of that time has left.
 * Threads: one writer at a time per struct pagetable. pagetable_walk() and
 *          pagetable_next_run() may run beside it, without a lock, in any thread
 *          between pagetable_enter() and pagetable_leave() of a reader of its own;
 *          they see each leaf as it was or as it is, never torn, never freed. What
 *          they answer about two leaves need not be of one moment.
 * Errors:  MM_OK or the codes listed; on error the table is as it was: the
 *          pages that a change needs are got before its first entry is written.
 * Cost:    proportional to the entries touched, not to the bytes spanned. */
#ifndef SLAT_MM_PAGETABLE_H
#define SLAT_MM_PAGETABLE_H

#include "mm/types.h"

#define PAGETABLE_LEVELS     4u
#define PAGETABLE_INPUT_BITS 48u

enum pagetable_format {
	PAGETABLE_EPT,
	PAGETABLE_NPT,
	PAGETABLE_STAGE1, /* input addresses are the low or the high canonical half */
	PAGETABLE_DOMAIN,
};

/* Leaf sizes by level: 0 is 4K, 1 is 2M, 2 is 1G. */
enum pagetable_size { PAGETABLE_4K, PAGETABLE_2M, PAGETABLE_1G };
#define PAGETABLE_SIZES 3u
static inline uint64_t pagetable_size_bytes(enum pagetable_size s)
{
	return FRAME_BYTES << (9u * (unsigned)s);
}

/* Access rights. READ is implied by being mapped, but in EPT, where a leaf may
 * be execute-only, and in a domain, where it may be write-only. USER: NPT and
 * stage 1 (NPT wants it for every guest access). A domain knows no EXEC. */
enum {
	PAGETABLE_READ = 1u << 0,
	PAGETABLE_WRITE = 1u << 1,
	PAGETABLE_EXEC = 1u << 2,
	PAGETABLE_USER = 1u << 3,
};

/* EPT says all but UNCACHED_MINUS; NPT and stage 1, by PWT and PCD with the PAT
 * as it is from reset on, the first four; a domain the first alone. */
enum pagetable_memory {
	PAGETABLE_WRITE_BACK,
	PAGETABLE_WRITE_THROUGH,
	PAGETABLE_UNCACHED_MINUS,
	PAGETABLE_UNCACHED,
	PAGETABLE_WRITE_COMBINING,
	PAGETABLE_WRITE_PROTECTED,
};

struct pagetable_attr {
	unsigned rights; /* PAGETABLE_READ | ... */
	enum pagetable_memory memory;
};

struct pagetable_pages {
	void *self;
	enum mm_err (*get)(void *self, struct pfn *out); /* one page of the arena; need not be zero */
	void (*put)(void *self, struct pfn page);
};

/* One reader's presence, in a cache line of its own; zeroed before pagetable_init(). */
struct pagetable_reader {
	_Alignas(64) uint64_t epoch; /* 0: outside */
};

struct pagetable_config {
	enum pagetable_format format;
	unsigned phys_bits;	      /* width of an output address: 32 to 52 */
	enum pagetable_size leaf_max; /* the largest leaf that the walker takes */
	bool execute_only;	      /* EPT: the capability word allows X without R; elsewhere ignored */
	bool ignore_pat;	      /* EPT: every leaf overrides the guest's PAT; elsewhere ignored */
	bool seams;		      /* DOMAIN: keep where each pagetable_map() began; elsewhere MM_EINVAL */
	void *arena;		      /* page p lies at arena + (p.n - arena_first.n) * 4096 */
	struct pfn arena_first;
	uint64_t arena_frames;
	struct pagetable_pages pages;
	struct pagetable_reader *readers; /* lent: every one that may ever enter; NULL with 0 */
	unsigned readers_count;
};

struct pagetable { /* private; lent by the caller */
	struct pagetable_config config;
	struct pfn root;
	/* What every walk needs of the config, worked out once (pagetable.c I7). */
	uint64_t address;      /* the bits of an entry that are an output address */
	uint64_t meaning;      /* all bits but A, D and those that thread retired pages */
	uintptr_t base;	       /* where the page of address 0 would lie */
	unsigned marks_shift;  /* where the accessed bit is; the dirty bit is the next */
	uint64_t epoch;	       /* how many flushes have ended, and 1 */
	unsigned char gap[64]; /* so that what only the writer touches is in no line of its readers */
	uint64_t leaves[PAGETABLE_SIZES];
	uint64_t tables; /* live table pages, the root included */
	uint64_t tables_max;
	uint64_t tables_sum; /* pagetable.c I5 */
	uint64_t retired;    /* pages unlinked and not put back, in this order: */
	struct pfn retired_first, retired_last;
	uint64_t unflushed; /* the last so many of them are of this epoch, */
	struct pfn unflushed_first;
	uint64_t collapsed; /* so many of these by a collapse */
	uint64_t seam;	    /* the bit that says so in a leaf, or 0 */
	uint64_t seams;	    /* leaves that have it */
};

struct pagetable_leaf {
	uint64_t in, out; /* where the leaf starts, both sides */
	enum pagetable_size size;
	struct pagetable_attr attr;
	bool accessed, dirty;
};

struct pagetable_run { /* leaves that continue one another on both sides with equal attributes */
	uint64_t in, out, bytes;
	struct pagetable_attr attr;
	uint64_t leaves[PAGETABLE_SIZES];
};

/* What a hardware walker may still remember after a change: flush [first, end)
 * before the frames are used otherwise; whatever a walker remembers that
 * overlaps it must go, whole. Empty (first == end) iff nothing present was
 * changed. A collapse narrows nothing, but retires a table: flush before
 * pagetable_flushed() all the same. Pointers to it may be NULL. At the top of stage 1's high half end is 0,
 * meaning 2^64. */
struct pagetable_flush {
	uint64_t first, end;
	bool narrowed; /* a translation or a right was taken away, or a memory type replaced */
};

struct pagetable_stats {
	uint64_t leaves[PAGETABLE_SIZES];
	uint64_t tables;     /* live table pages, the root included */
	uint64_t tables_max; /* high-water mark since init */
	uint64_t retired;    /* pages unlinked and not yet put back: for want of a flush, or for a reader */
	uint64_t seams;	     /* leaves at which a pagetable_map() began; 0 if config.seams is not set */
};

/* MM_EINVAL: a field of config outside its range. MM_ENOMEM: no page for the root. */
MM_MUST_CHECK enum mm_err pagetable_init(struct pagetable *pt, const struct pagetable_config *config);

/* Puts every page back, the root too; the caller has made sure that nobody walks it:
 * no hardware, and no reader is inside. */
void pagetable_fini(struct pagetable *pt);

/* Maps [in, in + bytes) to [out, out + bytes) by the largest leaves that both
 * addresses, the length and leaf_max allow. MM_EEXIST: part of it is mapped.
 * MM_EINVAL: empty, misaligned, outside either width, rights the format cannot
 * say (or would call misconfigured: EPT write without read). MM_ENOMEM: a page.
 * Nothing that was mapped translates otherwise than before; but where the new
 * leaves complete a larger one they become it, and the table that held them is
 * retired: stats.retired tells, the flush is then of the range widened to 1G. */
MM_MUST_CHECK enum mm_err pagetable_map(struct pagetable *pt, uint64_t in, uint64_t out, uint64_t bytes,
					struct pagetable_attr attr);

/* config.seams: whether a pagetable_map() mapped `in` that began below it: a change that begins or ends here would cut
 * in two what was mapped as one. Leaves do not collapse where there are seams. O(levels). */
bool pagetable_cuts(const struct pagetable *pt, uint64_t in);

/* Unmaps what is mapped in [in, in + bytes), splitting leaves that reach out of
 * it; holes in it are fine. Tables left empty are retired. flush may be NULL;
 * it is written iff the answer is MM_OK.
 * MM_EINVAL as above. MM_ENOMEM: a split needs a page. */
MM_MUST_CHECK enum mm_err pagetable_unmap(struct pagetable *pt, uint64_t in, uint64_t bytes,
					  struct pagetable_flush *flush);

/* Gives what is mapped in the range these attributes; splits where needed, and
 * collapses 512 leaves that agree again into one. A split hands A and D to all
 * 512, a collapse or-s them. Errors as pagetable_unmap(), and MM_EINVAL for
 * rights as in pagetable_map(). */
MM_MUST_CHECK enum mm_err pagetable_protect(struct pagetable *pt, uint64_t in, uint64_t bytes,
					    struct pagetable_attr attr, struct pagetable_flush *flush);

/* Reads and, of the marks in `clear` (PAGETABLE_ACCESSED | ..., 0: none), takes
 * back what walkers marked in the range: each leaf that has a mark is told, once,
 * as it was, in order of its address; a leaf that reaches out of the range is told
 * and cleared whole. A mark that a walker sets meanwhile is told now or the next
 * time, never lost. The flush (not narrowed) is what must be forgotten before a
 * walker sets the marks anew; MM_EINVAL as pagetable_unmap(), and a mark unknown.
 * tell may be NULL; what it calls must not change the table. */
enum { PAGETABLE_ACCESSED = 1u << 0, PAGETABLE_DIRTY = 1u << 1 };
struct pagetable_marked {
	void *self;
	void (*leaf)(void *self, const struct pagetable_leaf *leaf);
};
MM_MUST_CHECK enum mm_err pagetable_harvest(struct pagetable *pt, uint64_t in, uint64_t bytes, unsigned clear,
					    const struct pagetable_marked *tell, struct pagetable_flush *flush);

/* All flushes that changes so far asked for are done: retired pages go back to
 * put() as soon as the readers of this moment have left; at the latest this call
 * or a later one after that gives them. Marks that hardware left in a collapsed
 * table before the flush are handed on to the leaf. Never waits; O(readers), and
 * the pages given. */
void pagetable_flushed(struct pagetable *pt);

/* A reader, one of config.readers, is used by one thread at a time. Between the two
 * it may walk as often as it likes; pages retired meanwhile wait for it. O(1); one
 * atomic exchange and one store. */
void pagetable_enter(const struct pagetable *pt, struct pagetable_reader *r);
void pagetable_leave(struct pagetable_reader *r);

/* The leaf that translates `in`, or false iff there is none. O(levels). */
bool pagetable_walk(const struct pagetable *pt, uint64_t in, struct pagetable_leaf *out);

/* The first run that ends above `in`, whole on its right side but never
 * starting below `in` rounded down to its leaf; false iff none. Iterate with
 * run.in + run.bytes (and stop where that wraps to 0, at the top of stage 1's
 * high half). A run does not cross from one canonical half into the other. */
bool pagetable_next_run(const struct pagetable *pt, uint64_t in, struct pagetable_run *out);

/* The root's address: nCR3 or CR3, and part of EPTP. */
uint64_t pagetable_root_address(const struct pagetable *pt);

/* The EPTP for a CPU whose IA32_VMX_EPT_VPID_CAP reads `capability` (SDM A.10):
 * write-back if it can, 4 levels, A/D if it can and `marks`. MM_EINVAL: not an EPT
 * table, or it cannot walk this one (4 levels, leaf_max, execute-only leaves). */
MM_MUST_CHECK enum mm_err pagetable_eptp(const struct pagetable *pt, uint64_t capability, bool marks, uint64_t *out);

/* What such a CPU can walk: sets leaf_max and execute_only. */
void pagetable_ept_limits(uint64_t capability, struct pagetable_config *config);

struct pagetable_stats pagetable_stats_read(const struct pagetable *pt); /* O(1) */

/* All invariants of pagetable.c: counts, no empty table, no reserved bit, no
 * collapsible table, every page inside the arena and linked once. O(table). */
bool pagetable_check(const struct pagetable *pt);

#endif
