/* tests/unit/acpi_image.h: finds its way through the tables that acpi_build() made, by the
 * specification and not by its code; the invariants I1 and I2 of acpi.c on the way. */
#ifndef SLAT_TESTS_UNIT_ACPI_IMAGE_H
#define SLAT_TESTS_UNIT_ACPI_IMAGE_H

#include <check.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct acpi_image {
	const uint8_t *bytes;
	size_t used;
	uint64_t gpa;
};

static inline uint64_t acpi_number(const uint8_t *at, size_t bytes)
{
	uint64_t value = 0;

	memcpy(&value, at, bytes);
	return value;
}

static inline uint8_t acpi_sum(const uint8_t *at, size_t bytes)
{
	uint8_t total = 0;

	while (bytes--)
		total = (uint8_t)(total + *at++);
	return total;
}

/* The FACS alone has no checksum. */
static inline const uint8_t *acpi_image_table(const struct acpi_image *image, uint64_t gpa, const char *signature,
					      size_t *length)
{
	const uint8_t *t = image->bytes + (gpa - image->gpa);

	ck_assert(gpa >= image->gpa && gpa - image->gpa + 36 <= image->used);
	ck_assert_mem_eq(t, signature, 4);
	*length = acpi_number(t + 4, 4);
	ck_assert(*length >= 36 && *length <= image->used - (gpa - image->gpa));
	if (memcmp(signature, "FACS", 4) != 0)
		ck_assert_uint_eq(acpi_sum(t, *length), 0);
	return t;
}

/* How many tables the XSDT lists. */
static inline size_t acpi_image_entries(const struct acpi_image *image)
{
	size_t length;

	acpi_image_table(image, acpi_number(image->bytes + 24, 8), "XSDT", &length);
	ck_assert_uint_eq((length - 36) % 8, 0);
	return (length - 36) / 8;
}

/* The table of the XSDT's entry i. */
static inline const uint8_t *acpi_image_entry(const struct acpi_image *image, unsigned i, const char *signature,
					      size_t *length)
{
	const uint8_t *xsdt = acpi_image_table(image, acpi_number(image->bytes + 24, 8), "XSDT", length);

	ck_assert_uint_lt(i, acpi_image_entries(image));
	return acpi_image_table(image, acpi_number(xsdt + 36 + i * 8, 8), signature, length);
}

#endif
