/* vmm/table_file.h: a second-level table in a file, as --dump-table writes it and
 * `slat table` reads it. Theory: top of table_file.c.
 *
 * All numbers are little-endian; the file is a multiple of 8 bytes.
 *
 *   offset  bytes  field
 *        0      8  magic         "slattab\n"
 *        8      4  version       1
 *       12      4  byte order    0x01020304
 *       16      4  format        0: EPT, 1: NPT
 *       20      4  phys_bits     width of a host address: 32 to 52
 *       24      4  leaf_max      the largest leaf: 0: 4K, 1: 2M, 2: 1G
 *       28      4  flags         TABLE_FILE_...; a bit unknown: another version
 *       32      8  root          frame number of the root's page
 *       40      8  arena_first   frame number of the first page that a table may lie on,
 *       48      8  arena_frames  and how many there are: up to 2^22
 *       56      8  pages         how many table pages follow
 *       64     64  name          the guest's: letters, digits, - _ . and zeros behind
 *      128  4104n  the pages     each its frame number (8 bytes), then its 512 entries
 *  128+4104n    8  sum           s = 0; for each 8 bytes w before: s = (s ^ w) * 0x100000001b3
 *
 * The pages are those that the root leads to, each once; slat writes a table behind
 * those below it, in the order of guest addresses, and takes them in any order.
 *
 * Threads: one. Errors: one sentence. Cost: O(table), in time and memory. */
#ifndef SLAT_VMM_TABLE_FILE_H
#define SLAT_VMM_TABLE_FILE_H

#include <stddef.h>
#include <stdio.h>

#include "mm/pagetable.h"
#include "vmm/failure.h"

#define TABLE_FILE_MAGIC      UINT64_C(0x0a62617474616c73)
#define TABLE_FILE_VERSION    1u
#define TABLE_FILE_ORDER      0x01020304u
#define TABLE_FILE_NAME_BYTES 64u
#define TABLE_FILE_HEAD_BYTES 128u
#define TABLE_FILE_PAGE_BYTES (8u + FRAME_BYTES)
#define TABLE_FILE_SUM_BYTES  8u
#define TABLE_FILE_FRAMES_MAX (UINT64_C(1) << 22)
#define TABLE_FILE_BYTES_MAX                                                                                           \
	(TABLE_FILE_HEAD_BYTES + TABLE_FILE_FRAMES_MAX * TABLE_FILE_PAGE_BYTES + TABLE_FILE_SUM_BYTES)
#define TABLE_FILE_ENTRIES 512u
#define TABLE_FILE_ODD_MAX 16u

enum {
	TABLE_FILE_ACCESSED = 1u << 0,	   /* the A bits are true; else nobody knows */
	TABLE_FILE_DIRTY = 1u << 1,	   /* no D bit is missing; slat's are KVM's log (vmm/dirty_log.h) */
	TABLE_FILE_EXECUTE_ONLY = 1u << 2, /* EPT: the CPU takes X without R */
	TABLE_FILE_PHYSICAL_1G = 1u << 3,  /* leaves on hugetlb pages of 1 GiB have their physical addresses; */
	TABLE_FILE_NUMBERED_1G =
		1u << 4, /* or they have slat's numbers, as other memory has; neither: there are none */
	TABLE_FILE_FLAGS = (1u << 5) - 1,
};

/* What tells D: may the guest have written to any of these bytes? Asked in the order of gpa. */
struct table_written {
	void *self;
	bool (*any)(void *self, uint64_t gpa, uint64_t bytes);
};

/* Where leaves are: the address that is written instead of the table's. */
struct table_place {
	unsigned flag; /* of leaves on pages of 1 GiB: TABLE_FILE_PHYSICAL_1G, TABLE_FILE_NUMBERED_1G or 0 */
	void *self;
	uint64_t (*of)(void *self, uint64_t hpa); /* as aligned to the leaf as it was; NULL: the same */
};

/* Writes the table as it is; no other thread changes it. name may be NULL; so may
 * written: D is then not known; and place. A never is known. EXIT_HOST iff it cannot be written whole. */
int table_file_write(const struct pagetable *table, const char *name, const struct table_written *written,
		     const struct table_place *place, FILE *to, struct failure *f);

/* What a CPU makes of an entry. */
enum table_kind { TABLE_ABSENT, TABLE_LINK, TABLE_LEAF, TABLE_ODD };

struct table_odd { /* an entry that no CPU takes, or that slat's kind of table does not have */
	uint64_t gpa, entry;
	unsigned level;
	const char *why;
};

struct table_file {
	enum pagetable_format format;
	unsigned phys_bits, flags;
	enum pagetable_size leaf_max;
	struct pfn root, arena_first;
	uint64_t arena_frames, pages;
	char name[TABLE_FILE_NAME_BYTES + 1];
	uint64_t reached; /* pages that the root leads to */
	uint64_t leaves[PAGETABLE_SIZES], bytes;
	uint64_t odd; /* so many entries; the first of them: */
	struct table_odd first_odd[TABLE_FILE_ODD_MAX];
	/* All but what is odd, or ignored by CPUs: to walk, to harvest without clearing; not to change or end. */
	struct pagetable table;
	const uint8_t *file; /* private from here on */
	uint8_t *memory;
	size_t memory_bytes;
	uint32_t *record; /* by frame of the arena: which of the file's pages, from 1 on; then whether it is linked */
};

/* Any bytes; they are borrowed until table_file_close(), and nobody changes them
 * until then. EXIT_IMAGE: they are no such file, or its links are no tree.
 * EXIT_HOST: no memory. Entries that are odd are counted, not refused. */
int table_file_open(struct table_file *t, const void *bytes, size_t size, struct failure *f);
void table_file_close(struct table_file *t); /* fine on a zeroed one, and on one that was refused */

/* The i-th entry of a page that the root leads to, as the file has it. */
uint64_t table_file_entry(const struct table_file *t, struct pfn page, unsigned i);

/* level: 0 (4K) to 3 (the root). *why: what is odd. */
enum table_kind table_file_judge(const struct table_file *t, uint64_t entry, unsigned level, const char **why);
struct pfn table_file_target(const struct table_file *t, uint64_t link);

struct table_step {
	unsigned level, index;
	struct pfn page;
	uint64_t entry;
	enum table_kind kind;
	const char *why;
};

/* The way of a gpa below 2^48, from the root on; returns how many steps it has. The last is no link. */
unsigned table_file_steps(const struct table_file *t, uint64_t gpa, struct table_step *steps);

/* The sum of a file's bytes but its last 8. */
uint64_t table_file_sum(const void *bytes, size_t size);

#endif
