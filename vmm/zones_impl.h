/* vmm/zones_impl.h: for zones.c and its tests alone. */
#ifndef SLAT_VMM_ZONES_IMPL_H
#define SLAT_VMM_ZONES_IMPL_H

#include "vmm/zones.h"

/* Of zones that have their pools: fills in topology and, where no placement did, cpu_place. EXIT_USAGE as
 * topology_check(). */
int zones_show(struct zones *z, struct failure *f);

#endif
