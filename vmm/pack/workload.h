/* vmm/pack/workload.h: guests without a trace: the same seed makes the same events on
 * every machine. Theory: top of workload.c. Threads: one.
 *
 *   name         unit   sizes                                      lives
 *   vm           byte   flavours with CPUs, as of the Azure V1     short, medium and long ones
 *   tasks        byte   min to max, each doubling as likely, in    exponential
 *                       whole MiB, with CPUs
 *   spectrum     MHz    channels of 5 to 100                       exponential
 *   cargo        metre  min to max, each as likely                 0 to twice the mean, each as likely
 *   uniform      unit   min to max, each as likely                 exponential
 *   exponential  unit   1 and more, exponential with a mean        exponential
 *
 * Arrivals are Poisson's: times between them are exponential. */
#ifndef SLAT_VMM_PACK_WORKLOAD_H
#define SLAT_VMM_PACK_WORKLOAD_H

#include "vmm/pack/event.h"

#define WORKLOAD_ARRIVALS_MAX (UINT64_C(1) << 40)
/* us: half of it for the mean life, half for all means between arrivals */
#define WORKLOAD_TIME_MAX (UINT64_C(1) << 53)
#define WORKLOAD_SIZE_MAX (UINT64_C(1) << 55)

enum workload_kind {
	WORKLOAD_VM,
	WORKLOAD_TASKS,
	WORKLOAD_SPECTRUM,
	WORKLOAD_CARGO,
	WORKLOAD_UNIFORM,
	WORKLOAD_EXPONENTIAL,
	WORKLOADS,
};

struct workload_options {	     /* 0: the workload's own */
	uint64_t seed;		     /* 0 is a seed */
	uint64_t arrivals;	     /* how many; then those that are there depart */
	uint64_t interval_us;	     /* mean between arrivals */
	uint64_t life_us;	     /* mean */
	uint64_t size_min, size_max; /* of tasks (bytes), cargo, uniform */
	uint64_t size_mean;	     /* of exponential */
	uint64_t fail_after;	     /* fault injection: the n-th allocation is refused; 0: none is */
};

struct workload; /* opaque */

bool workload_kind_parse(const char *name, enum workload_kind *out); /* false iff it is none */
const char *workload_kind_name(enum workload_kind kind);
const char *workload_unit(enum workload_kind kind); /* "byte", "MHz", "metre", "unit" */

/* What is not given is the workload's own; what it has not, is 0. */
struct workload_options workload_settle(enum workload_kind kind, const struct workload_options *asked);

/* NULL and *f: EXIT_USAGE, an option is out of range, or one that this workload has not; EXIT_HOST, no memory. */
struct workload *workload_open(enum workload_kind kind, const struct workload_options *options, struct failure *f);
void workload_close(struct workload *w); /* NULL is fine */

/* As trace_next(). Each arrival's life is known. EVENT_FAILED: EXIT_HOST, no memory. O(log of those there). */
enum event_next workload_next(struct workload *w, struct event *out, struct failure *f);

/* Of whoever departed by the event last given, the number of his arrival. */
uint64_t workload_departed(const struct workload *w);

#endif
