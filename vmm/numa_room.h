/* vmm/numa_room.h: how much a node gives to one who asks for its memory now, before the
 * kernel turns to another node. Theory: top of numa_room.c. Threads: one. Cost: one file, of some lines for each zone
 * and CPU. */
#ifndef SLAT_VMM_NUMA_ROOM_H
#define SLAT_VMM_NUMA_ROOM_H

#include "vmm/numa_map.h"

/* Sets room_bytes of each node of m that has memory, as it is now below root, "" for this host. Where that is not told:
 * free_bytes. */
void numa_room_read(const char *root, struct numa_map *m);

#endif
