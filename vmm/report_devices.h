/* vmm/report_devices.h: the part of the report that is about virtio devices. Threads: one, when no device runs. */
#ifndef SLAT_VMM_REPORT_DEVICES_H
#define SLAT_VMM_REPORT_DEVICES_H

#include <jansson.h>

#include "vmm/vm.h"

/* A list, by slot; empty where there is none. NULL iff there is no memory. */
json_t *report_devices(const struct vm *vm);

#endif
