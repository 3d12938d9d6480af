/* vmm/numa_room.c: what a node would really give.
 *
 * What it is. MemFree is not what can be had: the kernel goes to the next node long before
 * the last free page, and who is bound to a node is killed soon after. What it keeps
 * back is told zone by zone of the node's memory (/proc/zoneinfo; DMA32, Normal, Movable...):
 *
 *     room(zone) = free - low - protection - one block of the largest page
 *
 * low: the mark below which an allocation that may go elsewhere does. `min` is lower, and
 * who is bound gets down to it, but only by reclaiming page by page; `high` is where reclaim
 * in the background ends, and nothing is refused there. protection: what a zone
 * keeps from those who could have had a higher one; a guest's pages could have had the highest, so
 * the largest of its figures is theirs. One block: a transparent huge page is given only where so much is left
 * beside it; else the next node's is taken, though there are small pages here.
 * The node's room is the sum, less what comes from it beside the guest's pages
 * (RESERVE_BYTES; an eight-byte entry for each 4K in the table of slat's own and in
 * KVM's make the 256th).
 *
 * What is not in it. The cache of files: a page of the next node is taken before one of them is dropped (but
 * with vm.zone_reclaim_mode). Only who is bound has the kernel drop them, so only there it is
 * counted, and but half of it (zones_pools.c): some of it is in use by programs, or has to be written
 * first. Pages that CPUs hold in lists of their own are free and not counted; 1% that
 * may be set aside for the kernel's urgent use is counted and not free.
 *
 * It is a figure of one moment, and no promise: others take memory, too. So what is chosen by it is verified
 * once it is touched (where.h).
 *
 * Failure. A host that does not tell (no zoneinfo, or none of a node) has the room that it
 * has free: a wrong refusal is worse than a page elsewhere, which the verification tells. */
#include "vmm/numa_room.h"

#include <string.h>

#include "mm/types.h"
#include "vmm/hostfs.h"

#define BLOCK_PAGES   512u
#define BLOCK_BYTES   (BLOCK_PAGES * FRAME_BYTES)
#define TABLES_PART   256u
#define RESERVE_BYTES (UINT64_C(8) << 20)
#define PAGES_MAX     (UINT64_C(1) << 40) /* a number beyond is none */

struct rooms {
	struct numa_map *map;
	struct numa_map_node *node; /* of the zone that lines are of; NULL: of none of the map's */
	bool told[NUMA_NODES_MAX];
	uint64_t unused, low; /* of the zone so far, in pages */
};

static bool number_after(const char *line, const char *name, uint64_t *out)
{
	const size_t length = strlen(name);

	line += strspn(line, " ");
	return strncmp(line, name, length) == 0 && line[length] == ' ' && hostfs_decimal(line + length, out, NULL);
}

/* "Node 1, zone   Normal" */
static bool zone_begins(struct rooms *r, const char *line)
{
	uint64_t id;
	unsigned place;

	if (!number_after(line, "Node", &id) || !strstr(line, ", zone "))
		return false;
	place = id < IDS_MAX ? numa_map_place(r->map, (unsigned)id) : NUMA_MAP_NONE;
	r->node = place == NUMA_MAP_NONE ? NULL : &r->map->node[place];
	r->unused = r->low = 0;
	if (r->node && !r->told[place]) {
		r->told[place] = true;
		r->node->room_bytes = 0;
	}
	return true;
}

/* "        protection: (0, 2947, 23988)" */
static uint64_t largest_of(const char *line)
{
	uint64_t largest = 0, one;

	while ((line = strpbrk(line, "(,")) && hostfs_decimal(line + 1, &one, &line))
		largest = one > largest ? one : largest;
	return largest;
}

/* The protection comes when free and low are known. */
static bool line_of(void *self, char *line)
{
	struct rooms *r = self;
	uint64_t kept;

	if (zone_begins(r, line) || !r->node || number_after(line, "pages free", &r->unused) ||
	    number_after(line, "low", &r->low) || strncmp(line + strspn(line, " "), "protection:", 11) != 0)
		return true;
	kept = largest_of(line);
	if (r->unused < PAGES_MAX && r->low < PAGES_MAX && kept < PAGES_MAX && r->unused > r->low + kept + BLOCK_PAGES)
		r->node->room_bytes += (r->unused - r->low - kept - BLOCK_PAGES) * FRAME_BYTES;
	r->unused = 0;
	return true;
}

static void set_aside(struct numa_map_node *n)
{
	const uint64_t aside = n->room_bytes / TABLES_PART + RESERVE_BYTES;

	n->room_bytes = n->room_bytes > aside ? (n->room_bytes - aside) / BLOCK_BYTES * BLOCK_BYTES : 0;
	if (n->room_bytes > n->total_bytes)
		n->room_bytes = n->total_bytes;
}

void numa_room_read(const char *root, struct numa_map *m)
{
	struct rooms r = {.map = m};

	for (unsigned i = 0; i < m->nodes; i++)
		m->node[i].room_bytes = m->node[i].free_bytes;
	hostfs_lines(root, "/proc/zoneinfo", line_of, &r);
	for (unsigned i = 0; i < m->nodes; i++)
		if (r.told[i])
			set_aside(&m->node[i]);
}
