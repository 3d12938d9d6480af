/* vmm/pack/text_file.h: lines into a file that is there whole or not at all (draft.h), by gzip iff its name ends in
 * ".gz"; "-": standard output. Theory: top of text_file.c. Threads: one. */
#ifndef SLAT_VMM_PACK_TEXT_FILE_H
#define SLAT_VMM_PACK_TEXT_FILE_H

#include "vmm/failure.h"
#include "vmm/pack/alloc.h"
#include "vmm/pack/csv.h"

#define TEXT_FILE_LINE 65536u /* bytes that text_file_room() makes room for, at most */
/* A name that is put: longer, it might come to more than a line that is read may have. */
#define TEXT_FILE_NAME 16384u

struct text_file; /* opaque */

/* What was at path stays there until text_file_close(). fail_after: fault injection, as of alloc.h. NULL and *f,
 * EXIT_HOST: it cannot be written, no memory, no zlib. */
struct text_file *text_file_open(const char *path, uint64_t fail_after, struct failure *f);

/* So many bytes can be put. EXIT_HOST, and also if *f has failed: it cannot be written; there is no more to do than to
 * abandon it. */
int text_file_room(struct text_file *t, size_t bytes, struct failure *f);
void text_file_put(struct text_file *t, const char *text);
/* value / scale, at most 20 digits and a point; scale: a power of ten. */
void text_file_put_number(struct text_file *t, uint64_t value, uint64_t scale);
/* As a field of CSV: at most twice its bytes, and 2. */
void text_file_put_name(struct text_file *t, struct csv_field name);
/* It can be put, and read again as what it is. EXIT_IMAGE: it is longer than TEXT_FILE_NAME, or has an end of line. */
int text_file_judge_name(const struct text_file *t, struct csv_field name, struct failure *f);

/* Either ends it. Close: all is in the file, and the file is at path; EXIT_HOST: it is not, and what was at path still
 * is. Abandon: the same, of one's own will. */
int text_file_close(struct text_file *t, struct failure *f);
void text_file_abandon(struct text_file *t); /* NULL is fine */

#endif
