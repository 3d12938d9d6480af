/* vmm/acpi.h: the ACPI tables of a guest, built in a buffer that is then written to LAYOUT_ACPI.
 * ACPI 6.4: RSDP, XSDT, FACS, DSDT (S5, COM1, RTC, i8042, pvpanic), FADT (the power
 * button is fixed hardware), MADT. Theory: top of acpi.c.
 * Threads: one. */
#ifndef SLAT_VMM_ACPI_H
#define SLAT_VMM_ACPI_H

#include <stddef.h>
#include <stdint.h>

struct acpi_config {
	uint64_t gpa;  /* where the buffer will lie: the RSDP is its first byte */
	unsigned cpus; /* APIC ids 0 .. cpus - 1 */
};

/* Builds into buffer; returns the bytes used, or 0 iff they do not fit into
 * `size` (a page is enough for 300 CPUs). gpa: a multiple of 64, below 4 GiB. */
size_t acpi_build(const struct acpi_config *config, uint8_t *buffer, size_t size);

#endif
