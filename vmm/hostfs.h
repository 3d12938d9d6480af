/* vmm/hostfs.h: what the kernel tells about the host in small files of /sys and /proc,
 * below a root: "" is this host, a directory is another one's copy, as tests have them.
 * Paths are formats. Any thread. */
#ifndef SLAT_VMM_HOSTFS_H
#define SLAT_VMM_HOSTFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/ids.h"

/* The whole file, ended by '\0'. False iff it cannot be read, or has size bytes or more. */
bool hostfs_text(const char *root, char *text, size_t size, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

/* False, and *out unchanged, iff it cannot be read or does not begin with a decimal number of 64 bits. */
bool hostfs_number(const char *root, uint64_t *out, const char *format, ...) __attribute__((format(printf, 3, 4)));

enum hostfs_list {
	HOSTFS_LIST,
	HOSTFS_ABSENT,	  /* the file cannot be read */
	HOSTFS_MALFORMED, /* what it has is no list of numbers below IDS_MAX */
};

/* *out is unchanged unless it is a list. */
enum hostfs_list hostfs_ids(const char *root, struct ids *out, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* each() with every line, whole whatever its length and without its end, until it answers false. path: no format. False
 * iff the file cannot be read. */
bool hostfs_lines(const char *root, const char *path, bool (*each)(void *self, char *line), void *self);

bool hostfs_exists(const char *root, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The number after its sign-less decimal digits at text, blanks before them skipped; false iff there is none, or it
 * exceeds 64 bits. *end (may be NULL): behind it. */
bool hostfs_decimal(const char *text, uint64_t *out, const char **end);

#endif
