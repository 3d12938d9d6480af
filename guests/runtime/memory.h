/* guests/runtime/memory.h: the guest's own RAM as one space of frames
 * (mm/extent): what is not RAM and what the guest occupies is taken, the holes
 * are free. Frames here are gfns: the guest's physical memory is its pool.
 * Threads: one. Ring 0 and ring 3. */
#ifndef SLAT_GUESTS_RUNTIME_MEMORY_H
#define SLAT_GUESTS_RUNTIME_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

#include "mm/extent.h"

struct boot_info;

void memory_init(const struct boot_info *boot);

/* `frames` frames for ever, lowest first. Panics iff there is no such run. */
struct pfn memory_carve(uint64_t frames);

/* The same, but above the first MiB, whose few frames only some uses can do with. */
struct pfn memory_carve_high(uint64_t frames);

/* Takes the frames [first, end), all of them free. Panics iff one is not. */
void memory_take(uint64_t first, uint64_t end);

/* The first free run that ends above `from`; false iff none. Iterate with first + units. */
bool memory_next_free(uint64_t from, struct extent *out);

uint64_t memory_ram_bytes(void); /* as the memory map says, whole frames or not */
uint64_t memory_end(void);	 /* the first address above all RAM */

/* Bounds of the image (guest.ld). */
extern uint8_t image_start[], image_rodata[], image_data[], image_private[], image_end[];

#endif
