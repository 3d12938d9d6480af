/* vmm/pack/html.h: a page that stands alone: one file, no request to anywhere.
 * Threads: one for each page. */
#ifndef SLAT_VMM_PACK_HTML_H
#define SLAT_VMM_PACK_HTML_H

#include <stddef.h>
#include <stdio.h>

void html_begin(FILE *out, const char *title); /* head and style; main is open */
void html_end(FILE *out);

void html_text(FILE *out, const char *text); /* &, <, >, " as entities; other control characters as spaces */
void html_text_part(FILE *out, const char *text, size_t bytes); /* the first ones */

/* So that a shell reads each word as it was; into the page. */
void html_command(FILE *out, const char *command, char *const *word, int words);

#endif
