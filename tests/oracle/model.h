/* tests/oracle/model.h: what a second-level table means, by the manuals, without a tree.
 * Theory: top of model.c. Threads: one per struct model. */
#ifndef SLAT_TESTS_ORACLE_MODEL_H
#define SLAT_TESTS_ORACLE_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "guests/hv/script.h"
#include "mm/pagetable.h"

#define MODEL_PIECES 1024u
#define MODEL_SPANS  16384u
#define MODEL_LINKS  4096u

struct model_piece { /* mapped alike and in one go on both sides */
	uint64_t in, out, bytes;
	struct pagetable_attr attr;
};

struct model_spans { /* disjoint ranges of gpa */
	unsigned count;
	struct {
		uint64_t first, end;
	} span[MODEL_SPANS];
};

struct model_leaf { /* or the absent entry that ends the walk */
	bool present;
	unsigned level;
	uint64_t base, out;
	struct pagetable_attr attr;
};

struct model {
	enum pagetable_format format;
	unsigned phys_bits, leaf_max;
	bool execute_only, ignore_pat;
	bool marks;	    /* the CPU marks A and D */
	bool ignores_12;    /* the CPU does not see that bit 12 of a large leaf is reserved */
	bool hides_read;    /* a write by a guest page walk does not tell that it reads, too */
	bool hides_present; /* a reserved bit is told without the bit "present" */
	uint64_t home;	    /* where the inner guest sees HV_HOME */

	unsigned pieces;
	struct model_piece piece[MODEL_PIECES]; /* in order, no two of them could be one */
	struct model_spans accessed, dirty;	/* by whole leaves */
	unsigned links;
	struct {
		uint64_t base;
		unsigned level;
	} link[MODEL_LINKS]; /* those marked accessed */

	bool poked; /* one entry is not as the library wrote it: */
	uint64_t poked_at, poked_entry;
};

/* An empty table. The CPU's fields are set by then. */
void model_clear(struct model *m);

/* May the library write such a leaf? */
bool model_takes(const struct model *m, struct pagetable_attr attr);

void model_map(struct model *m, struct model_piece piece);
void model_unmap(struct model *m, uint64_t in, uint64_t bytes);
void model_protect(struct model *m, uint64_t in, uint64_t bytes, struct pagetable_attr attr);
bool model_is_free(const struct model *m, uint64_t in, uint64_t bytes);

struct model_leaf model_leaf(const struct model *m, uint64_t gpa);
uint64_t model_entry(const struct model *m, const struct model_leaf *leaf); /* with its marks */
void model_mark(struct model *m, const struct model_leaf *leaf, bool accessed, bool dirty);
void model_unmark(struct model *m, const struct model_leaf *leaf, bool accessed, bool dirty);
bool model_marked(const struct model *m, const struct model_leaf *leaf, bool dirty);

/* In: gva, gpa, access, table. Out: all other fields; the model is then as the CPU leaves it. */
void model_probe(struct model *m, struct hv_probe *p);

/* Out: entry, level and links of the way to p->gpa. */
void model_peek(const struct model *m, struct hv_probe *p);

#endif
