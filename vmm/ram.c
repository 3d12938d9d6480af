#include "vmm/ram.h"

#include <assert.h>
#include <string.h>

/* A cache of translations covers as many leaves as it has entries: 512 of 2M are a gigabyte that hits, 16 of 4K are no
 * more than twice what the walk of one costs. */
#define EFFORT_REACH 512u
#define EFFORT_SMALL 32u

/* Leaf by leaf, not run by run: a short access to a large run of 4K leaves
 * would otherwise pay for the whole run. Two leaves are one span iff their
 * frames are neighbours in the pool, for the pool is one mapping. */

/* Host bytes of gpa and how many follow in its leaf; NULL iff absent, without `rights`, or not in this pool. */
static uint8_t *leaf_bytes(const struct ram *r, uint64_t gpa, unsigned rights, uint64_t *left)
{
	struct pagetable_leaf leaf;
	uint64_t offset, out;

	if (gpa >> PAGETABLE_INPUT_BITS || !pagetable_walk(r->table, gpa, &leaf))
		return NULL;
	if ((leaf.attr.rights & rights) != rights)
		return NULL;
	offset = gpa - leaf.in;
	out = leaf.out + offset;
	if (out < r->host_base || out - r->host_base >= r->host_bytes)
		return NULL;
	*left = pagetable_size_bytes(leaf.size) - offset;
	if (*left > r->host_bytes - (out - r->host_base))
		*left = r->host_bytes - (out - r->host_base);
	return r->host + (out - r->host_base);
}

/* effort: a leaf of 4K costs EFFORT_SMALL of it, a larger one 1; what is left is looked at no more. */
static void *span(const struct ram *r, uint64_t gpa, uint64_t *bytes, unsigned rights, uint64_t effort)
{
	uint64_t done = 0, left = 0;
	uint8_t *first = NULL;

	while (done < *bytes && effort) {
		/* cannot wrap: gpa + done is where a leaf below 2^48 ends */
		uint8_t *here = leaf_bytes(r, gpa + done, rights, &left);
		uint64_t cost = left > FRAME_BYTES ? 1 : EFFORT_SMALL;

		if (!here || (first && here != first + done))
			break;
		if (!first)
			first = here;
		done += left;
		effort -= cost < effort ? cost : effort;
	}
	if (first && done < *bytes)
		*bytes = done;
	return first;
}

void *ram_span(const struct ram *r, uint64_t gpa, uint64_t *bytes, unsigned rights)
{
	return span(r, gpa, bytes, rights, UINT64_MAX);
}

void *ram_reach(const struct ram *r, uint64_t gpa, uint64_t *bytes, unsigned rights)
{
	return span(r, gpa, bytes, rights, EFFORT_REACH);
}

bool ram_covers(const struct ram *r, uint64_t gpa, uint64_t bytes, unsigned rights)
{
	uint64_t left = 0;

	for (;;) {
		if (bytes == 0)
			return true;
		if (!leaf_bytes(r, gpa, rights, &left))
			return false;
		if (left >= bytes)
			return true;
		gpa += left;
		bytes -= left;
	}
}

bool ram_read(const struct ram *r, uint64_t gpa, void *to, uint64_t bytes)
{
	if (!ram_covers(r, gpa, bytes, PAGETABLE_READ))
		return false;
	for (uint64_t done = 0, some; done < bytes; done += some) {
		const void *from;

		some = bytes - done;
		from = ram_span(r, gpa + done, &some, PAGETABLE_READ);
		assert(from);
		memcpy((uint8_t *)to + done, from, some);
	}
	return true;
}

static bool copy_in(const struct ram *r, uint64_t gpa, const void *from, uint64_t bytes, unsigned rights)
{
	if (!ram_covers(r, gpa, bytes, rights))
		return false;
	for (uint64_t done = 0, some; done < bytes; done += some) {
		void *to;

		some = bytes - done;
		to = ram_span(r, gpa + done, &some, rights);
		assert(to);
		memcpy(to, (const uint8_t *)from + done, some);
	}
	return true;
}

bool ram_write(const struct ram *r, uint64_t gpa, const void *from, uint64_t bytes)
{
	return copy_in(r, gpa, from, bytes, PAGETABLE_WRITE);
}

bool ram_burn(const struct ram *r, uint64_t gpa, const void *from, uint64_t bytes)
{
	return copy_in(r, gpa, from, bytes, PAGETABLE_READ);
}
