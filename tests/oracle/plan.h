/* tests/oracle/plan.h: random tables, changes and probes for one run of hv.
 * Theory: top of plan.c. Threads: one. */
#ifndef SLAT_TESTS_ORACLE_PLAN_H
#define SLAT_TESTS_ORACLE_PLAN_H

#include <stdint.h>

#include "guests/hv/script.h"
#include "tests/oracle/model.h"

/* One wrong bit behind the library's back, which the CPU must not read as the model does. */
enum plan_spoil { SPOIL_NONE, SPOIL_WRITE, SPOIL_ADDRESS, SPOIL_RESERVED, SPOIL_MARK, SPOIL_PRESENT, SPOIL_EXEC };

struct plan {
	struct hv_header header;
	struct hv_step *step;
	uint8_t *page;
	uint64_t pages, probes;
	struct model *model; /* its CPU's fields are set; the rest is the plan's */
	enum plan_spoil spoil;
};

/* At least so many probes. Fills header, step and page; exits with a sentence if the library does not what it should.
 */
void plan_make(struct plan *plan, uint64_t first_seed, uint64_t probes);

#endif
