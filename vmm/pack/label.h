/* vmm/pack/label.h: how much room a text takes in a chart, and where it is broken. Letters differ from machine to
 * machine: this is what the wide ones take. Pure; any thread. */
#ifndef SLAT_VMM_PACK_LABEL_H
#define SLAT_VMM_PACK_LABEL_H

#include <stddef.h>

/* Pixels, or less, of UTF-8 in the letters of charts. */
unsigned label_width(const char *text);

/* Bytes of the first line, if lines are so many pixels wide: to a space, else to the last letter that fits; 1 letter or
 * more, and all of a short text. What follows begins after spaces: label_rest(). */
size_t label_line(const char *text, unsigned width);
const char *label_rest(const char *text, size_t line);

#endif
