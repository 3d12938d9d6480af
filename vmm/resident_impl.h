/* vmm/resident_impl.h: how files of lines are read; for resident.c and its own tests. */
#ifndef SLAT_VMM_RESIDENT_IMPL_H
#define SLAT_VMM_RESIDENT_IMPL_H

#include "vmm/resident.h"

#define RESIDENT_LINE 127u /* characters of a line; what is beyond is left out */

/* From the file's start, until each() says no or it ends. */
void resident_lines(int file, bool (*each)(void *self, const char *line), void *self);

/* False iff it is no line of this key with a number of kB. */
bool resident_value(const char *line, const char *key, uint64_t *bytes);

#endif
