/* guests/hv/script.h: what hv is told to do, and what must come of it; written
 * by tests/oracle/ for one format and one seed. hv knows no expectation of its own.
 *
 * A script is a header, steps, and pages (tables that the host built), all of it
 * at HV_SCRIPT in memory when hv starts. Steps that change a table go to the
 * library inside hv; the table that the CPU walks is what the last HV_LOAD, or
 * these steps, left in the arena. */
#ifndef SLAT_GUESTS_HV_SCRIPT_H
#define SLAT_GUESTS_HV_SCRIPT_H

#include <stdint.h>

/* The 256 MiB of hv's machine. Below the arena lies hv itself. */
#define HV_ARENA	UINT64_C(0x01000000) /* second-level table pages */
#define HV_ARENA_FRAMES UINT64_C(0xe00)
#define HV_HOME		UINT64_C(0x01f00000) /* what the inner guest itself needs */
#define HV_SCRIPT	UINT64_C(0x02000000)
#define HV_SCRIPT_BYTES UINT64_C(0x02000000)
#define HV_DATA		UINT64_C(0x04000000) /* frames that carry their own number */
#define HV_DATA_END	UINT64_C(0x0f000000)
#define HV_NOWHERE	UINT64_MAX

/* Home, in frames from HV_HOME on. The inner guest's own tables map its code in
 * the last slot of the PML4, and the address of a probe in any other one. */
enum { HV_HOME_CODE, HV_HOME_TABLE, HV_HOME_CODE_TABLE = HV_HOME_TABLE + 4, HV_HOME_FRAMES = HV_HOME_CODE_TABLE + 3 };
#define HV_CODE_SLOT 511u
#define HV_CODE_GVA  UINT64_C(0xffffff8000000000)

/* Each frame of HV_DATA has, where a probe may look, `mov $number, %eax; hlt`:
 * from its first byte on, from its middle on, and up to its last byte. */
#define HV_STAMP_BYTES	6u
#define HV_STAMP_MIDDLE 0x800u
#define HV_STAMP_LAST	(4096u - HV_STAMP_BYTES)

#define HV_MAGIC	UINT64_C(0x7974697265766f73)

struct hv_header {
	uint64_t magic;
	uint32_t format; /* enum pagetable_format */
	uint32_t phys_bits;
	uint32_t blind; /* only what the CPU does counts: neither what an entry reads nor what the library answers */
	uint32_t steps;
	uint64_t pages_at; /* bytes from the header on */
};

enum hv_kind {
	HV_TABLE, /* a new, empty table of the library; config and root */
	HV_LOAD,  /* the pages of the host become the arena's, whose root is `root` */
	HV_SAME,  /* the arena must hold these pages, byte by byte */
	HV_MAP,	  /* change: the library must answer MM_OK */
	HV_UNMAP,
	HV_PROTECT,
	HV_HARVEST,
	HV_REFUSED, /* a map that the library must refuse with MM_EINVAL */
	HV_MARK,    /* probe.entry is or-ed into the last entry on the way to probe.gpa */
	HV_POKE,    /* probe.entry replaces it */
	HV_PEEK,    /* compare the entries on the way to probe.gpa */
	HV_PROBE,
};

enum hv_access { HV_READ1, HV_READ8, HV_WRITE1, HV_WRITE8, HV_FETCH, HV_ACCESSES };
enum hv_outcome { HV_DONE, HV_VIOLATION, HV_MISCONFIGURED };

struct hv_table {
	uint32_t marks, leaf_max, execute_only, ignore_pat;
	uint64_t home;		    /* where the inner guest sees HV_HOME */
	uint64_t root, page, pages; /* HV_LOAD, HV_SAME: `pages` pages from the page'th on */
};

struct hv_change {
	uint64_t in, out, bytes;
	uint32_t rights, memory;
	uint32_t clear;	  /* HV_HARVEST: which marks */
	uint32_t told;	  /* so many leaves had one */
	uint64_t checked; /* and the sum of hv_leaf_sum() over them was this */
};

struct hv_probe {
	uint64_t gva, gpa;
	uint64_t table[4];	  /* the inner guest's page tables, by level; gpa */
	uint64_t table_out[4];	  /* where each truly lies; HV_NOWHERE: no entry can be written */
	uint64_t out;		  /* where gpa truly lies; HV_NOWHERE: there is nothing to compare */
	uint64_t info, info_mask; /* qualification or EXITINFO1 */
	uint64_t fault_gpa, fault_gva;
	uint64_t entry; /* afterwards: the last entry on the way to gpa, or to fault_gpa */
	uint8_t level;	/* of that entry */
	uint8_t links;	/* bit n: the link at level n is marked accessed */
	uint8_t access, outcome;
};

struct hv_step {
	uint32_t kind, number;
	union {
		struct hv_table table;
		struct hv_change change;
		struct hv_probe probe;
	};
};

/* So that leaves of a harvest that change places, or have another mark, show. */
static inline uint64_t hv_leaf_sum(uint64_t sum, uint64_t in, unsigned size, unsigned marks)
{
	return (sum ^ in ^ size << 4 ^ marks) * UINT64_C(0x9e3779b97f4a7c15);
}

#endif
