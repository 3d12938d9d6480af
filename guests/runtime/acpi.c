#include "guests/runtime/acpi.h"

#include <stdbool.h>
#include <stddef.h>

#include "guests/runtime/paging.h"
#include "guests/runtime/string.h"

#define BIOS_START     0xe0000u
#define BIOS_END       0x100000u

#define RSDP_OLD_BYTES 20u /* what its first checksum covers */

struct rsdp {
	char signature[8];
	uint8_t checksum;
	char oem[6];
	uint8_t revision;
	uint32_t rsdt, bytes;
	uint64_t xsdt;
	uint8_t checksum_all, reserved[3];
} __attribute__((packed));

struct table {
	char signature[4];
	uint32_t bytes;
	uint8_t revision, checksum;
	char oem[6], oem_table[8];
	uint32_t oem_revision, creator, creator_revision;
} __attribute__((packed));

struct madt_entry {
	uint8_t type, bytes;
	union {
		struct {
			uint8_t processor, apic;
			uint32_t flags;
		} __attribute__((packed)) lapic; /* type 0 */
		struct {
			uint16_t reserved;
			uint32_t apic, flags, processor;
		} __attribute__((packed)) x2apic; /* type 9 */
	};
} __attribute__((packed));

#define MADT_LAPIC   0u
#define MADT_X2APIC  9u
#define MADT_ENABLED 1u
#define MADT_FIRST   (sizeof(struct table) + 8u)

static const struct rsdp *rsdp; /* NULL: none was found */
static struct acpi_cpus cpus;

_Static_assert(sizeof(struct table) == ACPI_HEADER_BYTES, "");

static bool mapped(uint64_t gpa)
{
	struct pagetable_leaf leaf;

	return pagetable_walk(paging_table(), gpa, &leaf);
}

static bool sums_to_zero(const void *data, uint32_t bytes)
{
	const uint8_t *p = data;
	uint8_t sum = 0;

	for (uint32_t i = 0; i < bytes; i++)
		sum = (uint8_t)(sum + p[i]);
	return sum == 0;
}

static const struct rsdp *rsdp_find(void)
{
	for (uintptr_t at = BIOS_START; at < BIOS_END; at += 16) {
		const struct rsdp *r = (const struct rsdp *)at;

		if (memcmp(r->signature, "RSD PTR ", 8) == 0 && sums_to_zero(r, RSDP_OLD_BYTES))
			return r;
	}
	return NULL;
}

/* The table at gpa, or NULL iff it cannot be read; its checksum is not looked at. */
static const struct table *table_at(uint64_t gpa)
{
	const struct table *t = (const struct table *)(uintptr_t)gpa;

	if (gpa == 0 || !mapped(gpa) || !mapped(gpa + sizeof(*t) - 1))
		return NULL;
	return t->bytes >= sizeof(*t) && mapped(gpa + t->bytes - 1) ? t : NULL;
}

static bool rsdp_good(void)
{
	return sums_to_zero(rsdp, RSDP_OLD_BYTES) && (rsdp->revision < 2 || sums_to_zero(rsdp, sizeof(*rsdp)));
}

enum acpi_found acpi_find(const char *signature, struct acpi_table *out)
{
	bool wide = rsdp && rsdp->revision >= 2 && rsdp->xsdt != 0, broken = false;
	uint32_t step = wide ? 8 : 4;
	const struct table *root;

	if (!rsdp)
		return ACPI_ABSENT;
	root = rsdp_good() ? table_at(wide ? rsdp->xsdt : rsdp->rsdt) : NULL;
	if (!root || !sums_to_zero(root, root->bytes))
		return ACPI_BROKEN;
	for (uint32_t i = sizeof(*root); i + step <= root->bytes; i += step) {
		uint64_t gpa = 0;
		const struct table *t;

		memcpy(&gpa, (const uint8_t *)root + i, step);
		t = table_at(gpa);
		if (t && memcmp(t->signature, signature, 4) != 0)
			continue;
		if (t && sums_to_zero(t, t->bytes)) {
			*out = (struct acpi_table){(const uint8_t *)t, t->bytes};
			return ACPI_GOOD;
		}
		broken = true;
	}
	return broken ? ACPI_BROKEN : ACPI_ABSENT;
}

static void cpu_add(uint32_t apic, uint32_t flags)
{
	if (!(flags & MADT_ENABLED))
		return;
	if (cpus.count < ACPI_CPUS_MAX)
		cpus.apic[cpus.count++] = apic;
	else
		cpus.unlisted++;
}

void acpi_read(uint64_t rsdp_at)
{
	struct acpi_table madt;

	rsdp = rsdp_at != 0 && mapped(rsdp_at) ? (const struct rsdp *)(uintptr_t)rsdp_at : rsdp_find();
	if (acpi_find("APIC", &madt) != ACPI_GOOD)
		return;
	for (uint32_t i = MADT_FIRST; i + 2 <= madt.bytes;) {
		const struct madt_entry *e = (const struct madt_entry *)(madt.at + i);

		if (e->bytes < 2 || e->bytes > madt.bytes - i)
			break;
		if (e->type == MADT_LAPIC)
			cpu_add(e->lapic.apic, e->lapic.flags);
		else if (e->type == MADT_X2APIC)
			cpu_add(e->x2apic.apic, e->x2apic.flags);
		i += e->bytes;
	}
}

const struct acpi_cpus *acpi_cpus(void)
{
	return &cpus;
}
