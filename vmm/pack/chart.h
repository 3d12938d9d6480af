/* vmm/pack/chart.h: figures drawn as SVG, in the page itself. Coordinates are whole tenths of a pixel, so that the same
 * figures make the same bytes on every machine. Threads: one for each page. */
#ifndef SLAT_VMM_PACK_CHART_H
#define SLAT_VMM_PACK_CHART_H

#include <stdbool.h>
#include <stdio.h>

#include "vmm/pack/axis.h"

#define CHART_LINES_MAX 4u

struct chart {
	const char *id;	   /* of the page's own; letters */
	const char *title; /* these two as HTML: escaped by the caller, if they need it */
	const char *note;  /* what the reader should know; or "" */
	enum quantity x, y;
	const char *x_name; /* what x is, "time" */
};

struct chart_line { /* through count points of x; what it was holds until the next */
	const char *name;
	const uint64_t *value;
};

/* count: 1 or more; x rises. */
void chart_steps(FILE *out, const struct chart *c, const struct chart_line *line, unsigned lines, const uint64_t *x,
		 uint32_t count);

/* name[i] beneath every bar. */
void chart_bars(FILE *out, const struct chart *c, const struct axis_text *name, const uint64_t *value, uint32_t count);

struct chart_dot {
	const char *name;	  /* as long as it may be: it is broken into lines; and ... */
	const char *said;	  /* ... what its figure is read as */
	uint64_t mean, low, high; /* a line from low to high, unless they are the same */
	bool open;		  /* not to be told from the best */
};
void chart_dots(FILE *out, const struct chart *c, const struct chart_dot *dot, uint32_t count);

#endif
