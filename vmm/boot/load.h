/* vmm/boot/load.h: what the boot protocols share when they load an image.
 *
 * Free RAM here means: RAM in the request's memory map, present and writable
 * in the second-level table, and not [LAYOUT_BOOT_DATA, LAYOUT_LOW_END).
 * Threads: one. */
#ifndef SLAT_VMM_BOOT_LOAD_H
#define SLAT_VMM_BOOT_LOAD_H

#include "vmm/boot/boot.h"

struct load {
	const struct boot_image *image;
	const struct boot_request *request;
	const struct ram *ram;
	struct failure *f;
};

/* EXIT_IMAGE with a sentence about `what` (and its number, unless UINT32_MAX) iff
 * [gpa, gpa + bytes) is not free RAM; here memory that is read-only for the guest will do. */
int load_check_room(const struct load *l, const char *what, unsigned number, uint64_t gpa, uint64_t bytes);
bool load_has_room(const struct load *l, uint64_t gpa, uint64_t bytes);

/* EXIT_IMAGE with a sentence iff a guard lies in [gpa, gpa + bytes): a part of the guest's RAM that nothing is mapped
 * to.
 */
int load_check_guards(const struct load *l, const char *what, uint64_t gpa, uint64_t bytes);

int load_check_segments(const struct load *l);				/* each by load_check_room() */
void load_write_segments(const struct load *l);				/* after load_check_segments() */
void load_write(const struct load *l, uint64_t gpa, struct bytes data); /* after load_check_room() */

uint64_t load_image_start(const struct load *l); /* of the lowest segment */
uint64_t load_image_end(const struct load *l);	 /* of the highest */

/* A place in free RAM, inside [floor, ceiling): the lowest multiple of align
 * (a power of two), or the highest multiple of 4096. false iff there is none. */
bool load_find_lowest(const struct load *l, uint64_t floor, uint64_t ceiling, uint64_t bytes, uint64_t align,
		      uint64_t *out);
bool load_find_highest(const struct load *l, uint64_t floor, uint64_t ceiling, uint64_t bytes, uint64_t *out);

/* Bytes to set aside for a module: whole pages, so that none shares one with
 * another, and one for an empty module. */
uint64_t load_module_room(const struct boot_module *m);

/* EXIT_IMAGE: there is no place for this module (below `ceiling`). */
int load_no_place(const struct load *l, const struct boot_module *m, uint64_t ceiling);

#endif
