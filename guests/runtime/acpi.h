/* guests/runtime/acpi.h: the ACPI tables, and the CPUs as they list them (ACPI 6.4, 5.2). */
#ifndef SLAT_GUESTS_RUNTIME_ACPI_H
#define SLAT_GUESTS_RUNTIME_ACPI_H

#include <stdint.h>

#define ACPI_CPUS_MAX 256u

struct acpi_cpus {
	unsigned count;	   /* enabled ones; 0: no MADT */
	unsigned unlisted; /* more than fit here */
	uint32_t apic[ACPI_CPUS_MAX];
};

/* Reads RSDP, XSDT (or RSDT) and MADT; rsdp_at 0: searches the BIOS area. Tables
 * must be mapped; one with a wrong checksum is not believed. Ring 3 will do. */
void acpi_read(uint64_t rsdp_at);

const struct acpi_cpus *acpi_cpus(void);

enum acpi_found {
	ACPI_ABSENT,
	ACPI_BROKEN, /* it, or what leads to it: not to be read, or its checksum is wrong */
	ACPI_GOOD,
};

struct acpi_table {
	const uint8_t *at; /* its header of ACPI_HEADER_BYTES */
	uint32_t bytes;
};

#define ACPI_HEADER_BYTES 36u

/* The first table of that signature, after acpi_read(). Any ring. */
enum acpi_found acpi_find(const char *signature, struct acpi_table *out);

#endif
