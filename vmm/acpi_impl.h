/* vmm/acpi_impl.h: the builder that acpi.c and acpi_numa.c append by; theory at the top of acpi.c. */
#ifndef SLAT_VMM_ACPI_IMPL_H
#define SLAT_VMM_ACPI_IMPL_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "vmm/topology.h"

struct acpi_builder {
	uint8_t *buffer;
	size_t size, used; /* used above size: it did not fit */
	uint64_t gpa;
};

static inline void put(struct acpi_builder *b, const void *from, size_t bytes)
{
	if (bytes <= b->size && b->used <= b->size - bytes)
		memcpy(b->buffer + b->used, from, bytes);
	b->used += bytes;
}

static inline void put_number(struct acpi_builder *b, uint64_t value, size_t bytes)
{
	put(b, &value, bytes); /* little-endian, as the host */
}

static inline void put_zeros(struct acpi_builder *b, size_t bytes)
{
	while (bytes--)
		put_number(b, 0, 1);
}

/* Begins a table with its header; returns what acpi_table_close() wants. */
size_t acpi_table_open(struct acpi_builder *b, const char *signature, unsigned revision);

/* Fills in length and checksum; returns the table's gpa. */
uint64_t acpi_table_close(struct acpi_builder *b, size_t start);

/* Each appends one table of a topology that topology_check() finds good and that
 * has nodes; HMAT: one that has_hmat. Returns its gpa. */
uint64_t acpi_numa_srat(struct acpi_builder *b, const struct topology *t);
uint64_t acpi_numa_slit(struct acpi_builder *b, const struct topology *t);
uint64_t acpi_numa_hmat(struct acpi_builder *b, const struct topology *t);

#endif
