/* vmm/pack/trace.h: what happened to a fleet, as a file tells it: one event after the
 * other, in constant memory but for the guests that are there. Theory: top of trace.c.
 *
 * slat's own format is CSV, plain or gzip. The header names the columns, in any order:
 *   time_s      seconds since the start; decimals down to 1 us, finer ones are cut off, of life_s, too
 *   event       arrive or depart
 *   vm_id       any text
 *   mem_mib, mem_gib, size_bytes, size_mhz, size_metre or size: one of them; decimals, rounded up to whole
 *               bytes, MHz, metres; size is units of whatever is packed
 *   cpu         optional; decimals, rounded up to 1/1000
 *   node        optional, of an arrival: where it has to lie; empty: anywhere
 *   pinned      optional, of an arrival: 0 (so if empty) or 1
 *   movable     optional, of an arrival: 0 or 1 (so if empty)
 *   life_s      optional, of an arrival: how long it stays; empty: not known
 * Other columns are passed over, and counted; so is, in a departure, all but the first
 * three. An empty line is nothing. The order of rows is the order of events.
 *
 * The others:
 *   azure-v1    vmtable.csv of the Azure Public Dataset V1: 11 columns without a header
 *   huawei-east-1  vmid,cpu,memory,time,type; memory in GiB, type 0 creates, 1 deletes
 *   minimalloc  id,lower,upper,size: there in [lower, upper), a unit of which is a second
 *   azure-packing-2020  the SQLite file: tables vm and vmType, shares of a machine
 * Rows of those but Huawei's are whole lives: they come sorted by their start, equal ones
 * in the order of rows; who lived departs before who arrives in the same microsecond, in the
 * order of their arrivals, and who stays for no time departs behind those.
 *
 * Threads: one. */
#ifndef SLAT_VMM_PACK_TRACE_H
#define SLAT_VMM_PACK_TRACE_H

#include "vmm/pack/csv.h"
#include "vmm/pack/event.h"

#define TRACE_MACHINE_ANY	(-1)
#define TRACE_MACHINE_COMMON	(-2)
#define TRACE_MACHINE_BYTES_MAX (UINT64_C(1) << 46)
#define TRACE_MACHINE_CPUS_MAX	4096u

enum trace_format {
	TRACE_SLAT,
	TRACE_AZURE_V1,
	TRACE_AZURE_PACKING_2020,
	TRACE_HUAWEI_EAST_1,
	TRACE_MINIMALLOC,
	TRACE_FORMATS,
};

/* What a line, or a row, can be refused for; one of these, whatever else is wrong with it. */
enum trace_bad {
	TRACE_BAD_LINE,	    /* not as many fields as the header, too long, a stray quote */
	TRACE_BAD_VALUE,    /* a field that is not what its column holds */
	TRACE_BAD_SIZE,	    /* a size that is 0, negative or above EVENT_SIZE_MAX */
	TRACE_BAD_TIME,	    /* time goes back; or an end that is not where it was told */
	TRACE_BAD_TWICE,    /* who arrives is there */
	TRACE_BAD_UNKNOWN,  /* who departs is not there: his arrival may have been skipped */
	TRACE_BAD_LARGE,    /* who arrives asks for more than any host has: trace_refuse() */
	TRACE_BAD_TRAILING, /* bytes behind a gzip stream: once a file */
	TRACE_BADS,
};

struct trace_options {
	bool skip_bad; /* what is bad is counted and passed over; else it ends the trace */
	/* azure-packing-2020: what a whole machine is; its shares are rounded up, to bytes and 1/1000 CPU. */
	uint64_t machine_bytes; /* 1 to TRACE_MACHINE_BYTES_MAX */
	uint32_t machine_cpus;	/* to TRACE_MACHINE_CPUS_MAX; 0: CPUs are not asked for */
	/* Whose shares are asked for, by machineId (a generation of hardware): guests whose type does not run on it are
	 * left out. TRACE_MACHINE_COMMON: the one that most guests can run on, the lowest of equals.
	 * TRACE_MACHINE_ANY: each type's machine of the lowest id, so that shares are of different ones. 0 is an id. */
	int64_t machine;
	uint64_t fail_after; /* fault injection: the n-th allocation is refused; 0: none is */
};

struct trace_stats {
	uint64_t lines; /* read so far, with the header; or rows */
	uint64_t events, arrivals;
	uint64_t bad[TRACE_BADS];
	uint64_t left_out; /* rows of types that do not run on the machine */
	int64_t machine;   /* of azure-packing-2020: its id, or TRACE_MACHINE_ANY */
	uint32_t live, live_max;
	uint32_t columns_ignored;
	struct csv_excerpt first_ignored; /* its name */
};

struct trace; /* opaque; fields in trace_impl.h */

/* "slat", "azure-v1", ...: false iff it is none. */
bool trace_format_parse(const char *name, enum trace_format *out);
const char *trace_format_name(enum trace_format format);
const char *trace_bad_name(enum trace_bad kind); /* a few words, such as "time goes back" */

/* path "-": standard input (not for SQLite). Reads the header; of lives in CSV, all of it,
 * to sort it in a temporary file. NULL and *f: EXIT_USAGE, an option; EXIT_HOST, a
 * file, no memory, no library; EXIT_IMAGE, it is no such trace, or, with skip_bad off,
 * a line is bad: the sentence has its number and what it says. */
struct trace *trace_open(const char *path, enum trace_format format, const struct trace_options *options,
			 struct failure *f);
void trace_close(struct trace *t); /* NULL is fine */

/* EVENT_FAILED: *f as of trace_open(); EXIT_IMAGE, too, if there is no event at all.
 * After anything but EVENT_ONE it is not called again. O(line) expected; of lives, and
 * O(log of those there). */
enum event_next trace_next(struct trace *t, struct event *out, struct failure *f);

/* What the trace calls the guest of the event that was last given; until the next is. */
struct csv_field trace_guest_name(const struct trace *t);

/* What sizes are of: "byte", or of slat's own "MHz", "metre", "unit", as its header has size_mhz, size_metre, size. */
const char *trace_unit(const struct trace *t);

/* The same of a file in slat's format, by its header; "byte" if that cannot be read. NULL: what is no regular file
 * tells it but once, to whoever plays it. */
const char *trace_unit_of(const char *path);

/* The arrival that trace_next() has just told is bad; why goes on "the guest ...". EVENT_FAILED, and *f has the line
 * and the guest's name; or EVENT_END: it is counted, and to be passed over. (Its departure is told all the same.) */
enum event_next trace_refuse(struct trace *t, const char *why, struct failure *f);

/* Arrivals say how long they stay: of whole lives, or by a column of their own. Else only departures tell. */
bool trace_tells_lives(const struct trace *t);

struct trace_stats trace_stats_read(const struct trace *t);

#endif
