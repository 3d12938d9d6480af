/* vmm/source_line.h: what an address of this process is called: function, file and
 * line, by the symbols and line tables of the files that it was loaded from.
 *
 * Made for reports about a heap that is broken: nothing is allocated from it, no file
 * stays open, no other process is started. Files are mapped while they are read.
 * What a file does not have (stripped, compressed, not to be opened) is left out.
 * Threads: any; no lock is taken, so also in a child of fork(), whoever held one. */
#ifndef SLAT_VMM_SOURCE_LINE_H
#define SLAT_VMM_SOURCE_LINE_H

#include <stddef.h>
#include <stdint.h>

#define SOURCE_LINE_TEXT 288u

struct source_line {
	uint64_t pc;	   /* in: a return address; the call before it is what is looked for */
	uint32_t line;	   /* 0: not known, and file is empty */
	uint64_t offset;   /* of pc from the function's start, or the module's where that is not known */
	char function[96]; /* empty: not known */
	char file[96];	   /* as the compiler was told, without its directory */
	char module[64];   /* the file that it was loaded from, without its directory; empty: none */
};

/* Sorts them by pc, and fills in all that can be known. Each file is read once. */
void source_lines_find(struct source_line *lines, size_t n);

/* "main (leaky.c:12)", or "main+0x1b (leaky)", or "libz.so.1+0x2345", or "0x7f00...".
 * At most `room` bytes with the 0 at the end; says how many there are before that. */
size_t source_line_text(const struct source_line *l, char *out, size_t room);

#endif
