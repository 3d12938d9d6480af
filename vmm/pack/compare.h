/* vmm/pack/compare.h: what the points of a sweep came to, by policy, and what may be said of it.
 * Theory: top of compare.c. Threads: one for each; figures and spans are pure. */
#ifndef SLAT_VMM_PACK_COMPARE_H
#define SLAT_VMM_PACK_COMPARE_H

#include <stdio.h>

#include "vmm/pack/axis.h"
#include "vmm/pack/interval.h"
#include "vmm/pack/sweep.h"

struct compare_policy {
	char *name;	 /* its words that differ from others' of its group, but the seed */
	uint32_t runs;	 /* that tell of chance: 1, if a seed changes nothing */
	uint32_t played; /* one a seed */
	json_t **result; /* borrowed, by seed */
	bool waits;	 /* who is refused waits */
};

struct compare_group { /* who met the same guests on the same hosts */
	char *name;    /* its words that differ from other groups'; "": there is one */
	struct compare_policy **policy;
	uint32_t policies, runs; /* runs: of the policy that has most */
	bool generated;		 /* the guests are by seed; else of a trace */
	bool pool;		 /* one that grows */
	bool mixed;		 /* some policies wait, some do not */
	const char *unit;	 /* "byte", "MHz" */
	uint32_t nodes;		 /* of the host that has most */
	int64_t *scratch;	 /* private, as is ... */
	void *known;
};

struct compare {
	struct compare_group **group;
	uint32_t groups, policies; /* policies: of all groups */
	void *known;		   /* private */
};

/* Borrows both; results: of every point, in order. EXIT_HOST: no memory. compare_close() in any case. */
int compare_open(struct compare *c, const struct sweep *s, const json_t *results, struct failure *f);
void compare_close(struct compare *c);

enum compare_better {
	COMPARE_NEITHER,
	COMPARE_LESS,
	COMPARE_MORE,
};

struct compare_figure {
	const char *id, *title, *note;
	const char *key;  /* of a result, or of what is in it, after a dot */
	const char *less; /* the figure is that ratio, less this part of it; NULL */
	enum quantity quantity;
	enum compare_better better;
	bool share;	  /* of a whole: 1 at most */
	bool amount;	  /* in granules */
	bool holes;	  /* hosts of several nodes have several */
	bool traded;	  /* a policy that waits has none, or all of it */
	bool pool, hosts; /* of one that grows; of others */
};

extern const struct compare_figure compare_figures[];
extern const uint32_t compare_figures_count;

/* Counts are in thousandths, so that means are exact enough; amounts in the group's unit. */
enum quantity compare_quantity(const struct compare_group *g, const struct compare_figure *f);
enum compare_better compare_better(const struct compare_group *g, const struct compare_figure *f);
bool compare_has(const struct compare_group *g, const struct compare_figure *f);
int64_t compare_value(const struct compare_policy *p, const struct compare_figure *f, uint32_t run);
bool compare_differs(const struct compare_group *g, const struct compare_figure *f); /* between any two points */

struct compare_span {
	uint64_t mean, low, high, half; /* low, high: mean +- half, as far as the figure goes */
	uint32_t runs;
	bool known; /* the interval is; else there is one run, or ... */
	bool same;  /* ... all are the same */
};

struct compare_span compare_span(const struct compare_group *g, const struct compare_policy *p,
				 const struct compare_figure *f);

struct compare_difference {
	int64_t mean;
	uint64_t half;
	uint32_t runs;
	bool same;   /* in all runs */
	bool beyond; /* chance, of which one run says nothing */
};

/* Of p less b, run by run. */
struct compare_difference compare_difference(const struct compare_group *g, const struct compare_policy *p,
					     const struct compare_policy *b, const struct compare_figure *f);

/* All figures of all policies, one a line, as CSV with a header: what differs between groups and between policies,
 * figure, its unit, runs, mean, half of the 95 % interval (nothing, where one run is all there is), its ends. */
void compare_write(const struct compare *c, FILE *out);

#endif
