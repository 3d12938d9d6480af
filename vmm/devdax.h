/* vmm/devdax.h: the host's device-dax, memory that was set aside at boot (or is of
 * another kind than RAM) and that a process maps as it is: contiguous, and at a
 * known physical address.
 * Any thread. */
#ifndef SLAT_VMM_DEVDAX_H
#define SLAT_VMM_DEVDAX_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/failure.h"

struct devdax {
	char name[32]; /* "dax0.0" */
	uint64_t bytes;
	uint64_t align;	   /* mappings begin and end at multiples of it; a power of two */
	uint64_t resource; /* the physical address of its first byte, a multiple of align; 0: not for this user to know
			    */
	int node;	   /* that its memory belongs to; -1: none */
	uint64_t number;   /* of its special file, as stat() has it (st_rdev); 0: not told */
	bool usable;	   /* false: another driver has it, as kmem, which makes RAM of it */
	bool scattered;	   /* it is several physical ranges, of which `resource` is the first */
};

/* root: a directory that has a sys/ of its own, for tests; "" is the host. option: whose file= it is, for the sentence.
 * EXIT_HOST with one sentence iff path is no device-dax, or not one that can be mapped as one range. */
int devdax_read(struct devdax *d, const char *root, const char *option, const char *path, struct failure *f);

/* Each in the order of sysfs; how many. */
unsigned devdax_list(const char *root, void (*each)(void *self, const struct devdax *d), void *self);

#endif
