/* vmm/pack/pack_options.h: the command line of `slat pack`, as checked values. It looks at nothing
 * but its arguments, the file of --fleet, the header of the trace, and
 * which file is which. Strings are borrowed from argv. Threads: one.
 *
 * Sizes are of a unit, which the workload has, or the trace's header. What is not given follows from it: the granule is
 * 2 MiB, or 1 of what is not bytes; the fit is best, or worst of metres: whoever loads a hold leaves long holes. */
#ifndef SLAT_VMM_PACK_PACK_OPTIONS_H
#define SLAT_VMM_PACK_PACK_OPTIONS_H

#include "vmm/pack/pack.h"
#include "vmm/pack/trace.h"
#include "vmm/pack/workload.h"

#define PACK_SHAPES_MAX	    16u
#define PACK_DISTANCE_SELF  10u /* of nodes, where nothing else is said: as SLIT has it */
#define PACK_DISTANCE_OTHER 20u

struct pack_host { /* a kind of hosts, as it was asked for */
	uint64_t nodes;
	uint64_t cpus, bytes, reserve, huge; /* of all nodes; bytes 0: unbounded */
	uint32_t local_ps, remote_ps;	     /* 0: not given */
	bool cpus_given, unbounded;
};

struct pack_options {
	const char *trace; /* "-": standard input; NULL: a workload instead */
	bool generated;
	enum workload_kind workload;
	struct workload_options work;
	const char *unit; /* of sizes, as trace_unit() has it; NULL: nobody knows before the trace is open */
	const char *save; /* NULL: the events are not kept */
	enum trace_format format;
	struct trace_options reading;
	struct pack_config pack; /* its shapes are these: */
	struct fleet_shape *shape;
	struct pack_host host[PACK_SHAPES_MAX]; /* with shape[].node as they follow from it */
	const char *file[PACK_SHAPES_MAX];	/* that --fleet has read */
	uint32_t files;
	const char *csv;    /* NULL: no time series */
	const char *log;    /* NULL: decisions are not kept */
	const char *report; /* NULL: no page */
	char *const *word;  /* all of this, as it was said */
	int words;
	uint64_t csv_step_us;
	uint64_t compact_bytes; /* a second; 0: not given */
	bool granule_given, choose_given, machine_given, fit_given, json, help;
};

/* EXIT_USAGE with one sentence iff an option, a value or what they ask for together is none; EXIT_HOST: no memory. *o
 * is then only good for pack_options_free(). */
int pack_options_parse(int argc, char **argv, struct pack_options *o, struct failure *f);
void pack_options_free(struct pack_options *o);

/* What follows from the unit, if that was not known: once, before the fleet is opened. EXIT_USAGE, as above. */
int pack_options_settle(struct pack_options *o, const char *unit, struct failure *f);

/* As they are written on the command line. */
const char *pack_choose_name(enum fleet_choose c);
const char *pack_nodes_name(enum fleet_nodes n);
const char *pack_fit_name(enum fleet_fit fit);
const char *pack_contiguous_name(enum fleet_contiguous c);
const char *pack_compact_name(enum pack_compact c);
const char *pack_lifetimes_name(bool known);

#endif
