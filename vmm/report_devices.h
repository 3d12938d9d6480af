/* vmm/report_devices.h: the part of the report that is about virtio devices. Threads: the main one.
 * Devices may run: each is looked at with its lock held. */
#ifndef SLAT_VMM_REPORT_DEVICES_H
#define SLAT_VMM_REPORT_DEVICES_H

#include <jansson.h>

#include "vmm/vm.h"

/* A list, by slot; empty where there is none. NULL iff there is no memory. A device that is at work for longer than
 * REPORT_PATIENCE_NS (its thread may wait for the console's reader) has null for what it would be asked. */
#define REPORT_PATIENCE_NS 10000000L
json_t *report_devices(const struct vm *vm);

#endif
