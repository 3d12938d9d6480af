/* vmm/pack/html.h: a page that stands alone: one file, no request to anywhere, whole or not there at all.
 * Threads: one for each page. */
#ifndef SLAT_VMM_PACK_HTML_H
#define SLAT_VMM_PACK_HTML_H

#include <stdbool.h>
#include <stdio.h>

#include "vmm/pack/draft.h"

struct html {
	FILE *out; /* NULL: not open */
	struct draft draft;
};

/* path: borrowed until the end. EXIT_HOST: it cannot be written. */
int html_open(struct html *h, const char *path, struct failure *f);
/* Puts it in its place, or, unless `keep`, removes what there is. EXIT_HOST: it cannot be written; nothing is left. */
int html_close(struct html *h, bool keep, struct failure *f); /* fine if it is not open */

void html_begin(struct html *h, const char *title); /* head and style; main is open */
void html_end(struct html *h);

void html_text(FILE *out, const char *text); /* &, <, >, " as entities; other control characters as spaces */

/* So that a shell reads each word as it was; into the page. */
void html_command(FILE *out, const char *command, char *const *word, int words);

#endif
