/* tests/unit/fit_model.h: every fit on an array of units that know their owner, done the plain way. */
#ifndef SLAT_TESTS_UNIT_FIT_MODEL_H
#define SLAT_TESTS_UNIT_FIT_MODEL_H

#include <stdlib.h>
#include <string.h>

#include "vmm/pack/fleet.h"

#define FIT_NOWHERE UINT64_MAX

struct fit_model {
	enum fleet_fit fit;
	uint32_t *owner; /* 0: free */
	uint64_t units, free;
	uint64_t after; /* of next fit: where the last one ended */
};

/* What is given for so many. */
static inline uint64_t fit_rounded(const struct fit_model *m, uint64_t units)
{
	uint64_t size = 1;

	if (m->fit == FLEET_FIT_BUDDY)
		while (size < units)
			size *= 2;
	else if (m->fit == FLEET_FIT_SEGREGATED) /* 1 to 16, then eight a doubling */
		for (uint64_t step = 1; size < units; size += step)
			step = size >= 16 && (size & (size - 1)) == 0 ? size / 8 : step;
	else
		size = units;
	return size;
}

/* The end of the hole at `at`, which is free; under buddy, of its run. */
static inline uint64_t fit_hole_end(const struct fit_model *m, uint64_t at)
{
	uint64_t end = at, size = 1;

	while (end < m->units && m->owner[end] == 0)
		end++;
	if (m->fit != FLEET_FIT_BUDDY)
		return end;
	while ((at & size) == 0 && at + 2 * size <= end)
		size *= 2;
	return at + size;
}

/* Where the fit puts it, or FIT_NOWHERE; *hole: how long the hole is. */
static inline uint64_t fit_place(const struct fit_model *m, uint64_t units, uint64_t *hole)
{
	uint64_t given = fit_rounded(m, units), found = FIT_NOWHERE;

	for (uint64_t at = 0, end, size; at < m->units; at = end) {
		end = at + 1;
		if (m->owner[at] != 0)
			continue;
		end = fit_hole_end(m, at);
		size = end - at;
		if (size < given)
			continue;
		if (found != FIT_NOWHERE && (m->fit == FLEET_FIT_FIRST || m->fit == FLEET_FIT_NEXT ||
					     (m->fit == FLEET_FIT_WORST ? size <= *hole : size >= *hole)))
			continue;
		found = at;
		*hole = size;
	}
	if (m->fit != FLEET_FIT_NEXT)
		return found;
	for (uint64_t at = m->after; at < m->units; at++)
		if (m->owner[at] == 0 && fit_hole_end(m, at) - at >= given)
			return at;
	return found;
}

static inline void fit_take(struct fit_model *m, uint64_t at, uint64_t units, uint32_t owner)
{
	uint64_t given = fit_rounded(m, units);

	for (uint64_t i = 0; m->fit != FLEET_FIT_SCATTER && i < given; i++)
		m->owner[at + i] = owner;
	m->free -= given;
	m->after = at + given;
}

static inline void fit_give(struct fit_model *m, uint32_t owner, uint64_t given)
{
	for (uint64_t i = 0; i < m->units; i++)
		if (m->owner[i] == owner)
			m->owner[i] = 0;
	m->free += given;
}

/* The longest hole, and how many there are. */
static inline uint64_t fit_largest(const struct fit_model *m, uint64_t *holes)
{
	uint64_t largest = 0;

	*holes = 0;
	if (m->fit == FLEET_FIT_SCATTER) {
		*holes = m->free > 0;
		return m->free;
	}
	for (uint64_t at = 0, end; at < m->units; at = end) {
		end = at + 1;
		if (m->owner[at] != 0)
			continue;
		end = fit_hole_end(m, at);
		++*holes;
		largest = end - at > largest ? end - at : largest;
	}
	return largest;
}

#endif
