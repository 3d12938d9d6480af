/* tests/oracle/plan.h: random tables, changes and probes for one run of hv.
 * Theory: top of plan.c. Threads: one. */
#ifndef SLAT_TESTS_ORACLE_PLAN_H
#define SLAT_TESTS_ORACLE_PLAN_H

#include <stdint.h>

#include "guests/hv/script.h"
#include "tests/oracle/model.h"

/* One wrong bit behind the library's back, which the CPU must not read as the model does. */
enum plan_spoil {
	SPOIL_NONE,
	SPOIL_LIBRARY, /* none, but the library may be a wrong one */
	SPOIL_WRITE,
	SPOIL_EXEC,
	SPOIL_PRESENT,
	SPOIL_LARGE,
	SPOIL_ADDRESS,
	SPOIL_RESERVED,
	SPOIL_MARK,
	SPOIL_LINK, /* the right to write, in the link above */
};

/* How often each kind of answer is asked for. */
struct plan_tally {
	uint64_t leaf[PAGETABLE_SIZES][3][3]; /* by size; read, write, fetch; enum hv_outcome */
	uint64_t absent[PAGETABLE_LEVELS];    /* by the level at which nothing is */
	uint64_t walk[PAGETABLE_LEVELS][2]; /* faults of the inner walk, by its level; absent, or a right is missing */
	uint64_t changes[4];		    /* map, unmap, protect, harvest */
};

struct plan {
	struct hv_header header;
	struct hv_step *step;
	uint8_t *page;
	uint64_t pages, probes, leaves; /* leaves of all tables that were probed, after each change anew */
	struct model *model;		/* its CPU's fields are set; the rest is the plan's */
	enum plan_spoil spoil;
	struct plan_tally tally;
};

/* At least so many probes. Fills header, step and page; exits with a sentence if the library does not what it should.
 */
void plan_make(struct plan *plan, uint64_t first_seed, uint64_t probes);
void plan_free(struct plan *plan); /* what plan_make() filled */

#endif
