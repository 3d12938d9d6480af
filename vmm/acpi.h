/* vmm/acpi.h: the ACPI tables of a guest, built in a buffer that is then written to LAYOUT_ACPI.
 * ACPI 6.4: RSDP, XSDT, FACS, DSDT (S5, COM1, RTC, i8042, pvpanic, virtio devices),
 * FADT (the power button is fixed hardware), MADT, VIOT where there is an IOMMU,
 * SRAT, SLIT and HMAT where there are memory nodes.
 * Theory: top of acpi.c; of the nodes' tables: acpi_numa.c.
 * Threads: one. */
#ifndef SLAT_VMM_ACPI_H
#define SLAT_VMM_ACPI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/topology.h"

struct acpi_config {
	uint64_t gpa;	 /* where the buffer will lie: the RSDP is its first byte */
	unsigned cpus;	 /* APIC ids 0 .. cpus - 1 */
	unsigned virtio; /* devices, in the slots from 0 on (vmm/abi.h); ABI_VIRTIO_MAX at most */
	bool iommu;	 /* the one in slot 0 is a virtio-iommu, */
	uint32_t behind; /* and bit n: the one in slot n is behind it, as endpoint n */
	/* Of these CPUs, one that topology_check() finds good. NULL, or no nodes: the guest is told nothing of nodes.
	 */
	const struct topology *topology;
};

/* Builds into buffer; returns the bytes used, or 0 iff they do not fit into
 * `size` (a page is enough for 300 CPUs). gpa: a multiple of 64, below 4 GiB. */
size_t acpi_build(const struct acpi_config *config, uint8_t *buffer, size_t size);

#endif
