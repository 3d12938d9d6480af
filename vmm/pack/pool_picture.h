/* vmm/pack/pool_picture.h: what lies where on some hosts, at moments over a whole run, drawn as strips with a slider.
 * Memory: bounded, whatever the run is. Theory: top of pool_picture.c. Threads: one for each. */
#ifndef SLAT_VMM_PACK_POOL_PICTURE_H
#define SLAT_VMM_PACK_POOL_PICTURE_H

#include <stdio.h>

#include "vmm/pack/chart.h"
#include "vmm/pack/fleet.h"

struct pool_picture; /* opaque */

/* Of this fleet, borrowed. NULL: EXIT_HOST, no memory. */
struct pool_picture *pool_picture_open(const struct fleet *f, struct failure *failure);
void pool_picture_close(struct pool_picture *p); /* fine on NULL */

/* Called whenever something happened, if it is not too soon for another; after the last event, `anyway`. */
int pool_picture_note(struct pool_picture *p, uint64_t time_us, bool anyway, struct failure *failure);

struct pool_words { /* how sizes are read: a unit of the fleet is so many of these */
	enum quantity size;
	const char *name; /* of a count: "MHz"; or "" */
	uint64_t granule;
};

/* Once a moment was noted. The strips, their slider and its script; then where free memory lay at the fullest of these
 * moments, by the size of its hole, as `chart` has it. */
void pool_picture_write(const struct pool_picture *p, FILE *out, const struct pool_words *words);
void pool_picture_write_holes(const struct pool_picture *p, FILE *out, const struct chart *chart,
			      const struct pool_words *words);

#endif
