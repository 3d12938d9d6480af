/* vmm/pack/sweep.h: many experiments, which a file crosses out of options of slat pack; dealt out among ranks, each of
 * which keeps what is finished in a file of its own. Theory: top of sweep.c. Threads: one. */
#ifndef SLAT_VMM_PACK_SWEEP_H
#define SLAT_VMM_PACK_SWEEP_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmm/failure.h"

#define SWEEP_POINTS_MAX 1000000u
#define SWEEP_WORDS_MAX	 128u

struct sweep_point {
	char *name;		    /* its options, one space between: what it is known by, and ... */
	unsigned __int128 contents; /* ... what the files hold that it reads; 0: it reads none */
	bool done, stale;	    /* stale: something is there, of other contents */
};

struct sweep {
	uint32_t points;
	struct sweep_point *point; /* in the order of the file: its first key changes last */
	const char *file;	   /* borrowed */
	char *path;		   /* of the folder */
	void *seen;		   /* private: the files that were read, by path */
};

struct sweep_rank {
	uint32_t rank, ranks; /* rank below ranks */
};

/* Reads the file, crosses its points, and judges the options of each. folder NULL: beside the file, by its name.
 * EXIT_USAGE with one sentence: it is no such file, or a point has options that slat pack refuses; EXIT_HOST: it cannot
 * be read. */
int sweep_open(struct sweep *s, const char *file, const char *folder, struct failure *f);
void sweep_close(struct sweep *s); /* fine on a zeroed one */

/* Looks at all files that points read, each once. Before those below. EXIT_HOST: one cannot be read. */
int sweep_look(struct sweep *s, struct failure *f);

/* EXIT_USAGE iff what an option writes to path would be written over the sweep's file, what its points read, or what is
 * finished. After sweep_look(). */
int sweep_spares(const struct sweep *s, const char *option, const char *path, struct failure *f);

/* Which points are finished, by the files in the folder; a last line that was cut is no line. EXIT_HOST: they cannot be
 * read. With `results`, of every point what it came to, or null. */
int sweep_read_done(struct sweep *s, json_t **results, struct failure *f);

/* The same points for the same rank, whatever else is done. */
bool sweep_is_mine(const struct sweep *s, uint32_t point, struct sweep_rank r);

/* A descriptor that appends to this rank's file; what a crash has cut off is taken away first. -1: EXIT_HOST; or
 * EXIT_USAGE, it is a file that is read, as of sweep_spares().
 * Locked, as long as it is open: EXIT_HOST, too, if somebody else has it. */
int sweep_append_to(const struct sweep *s, struct sweep_rank r, struct failure *f);

/* Plays one point, and appends it: one line by one write. As experiment_run(), EXIT_HOST: it cannot be written, or a
 * file that it reads has been written to since sweep_look(). */
int sweep_play(struct sweep *s, uint32_t point, int file, struct failure *f);

#endif
