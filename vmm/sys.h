/* vmm/sys.h: small text files of /sys and /proc, and a descriptor for events. Any thread. */
#ifndef SLAT_VMM_SYS_H
#define SLAT_VMM_SYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/failure.h"

#define SYS_THP	       "/sys/kernel/mm/transparent_hugepage/"
#define SYS_HUGETLB_2M "/sys/kernel/mm/hugepages/hugepages-2048kB/"
#define SYS_HUGETLB_1G "/sys/kernel/mm/hugepages/hugepages-1048576kB/"

/* Reads the file's first line, without its newline; false iff it cannot be read. */
bool sys_line(const char *path, char *line, size_t size);
bool sys_number(const char *path, uint64_t *out);

/* The word in brackets of a choice such as "always [madvise] never". False iff unreadable or there is none. */
bool sys_choice(const char *path, char *word, size_t size);

/* A list such as "0-1,4": calls each() with every number. False iff it is malformed. */
bool sys_list(const char *list, void (*each)(void *self, unsigned number), void *self);

/* Never waits. Whose it is, is for the sentence. -1: the host has none. */
int sys_eventfd(const char *whose, struct failure *f);

#endif
