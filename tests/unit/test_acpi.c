/* vmm/acpi.c by a reader of its own: the invariants I1 to I3 of acpi.c, and what each table says. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/acpi_image.h"
#include "vmm/abi.h"
#include "vmm/acpi.h"
#include "vmm/layout.h"

#define GPA  LAYOUT_ACPI
#define ROOM (LAYOUT_HIGH_START - LAYOUT_ACPI)

static uint8_t buffer[ROOM];
static struct acpi_image image = {buffer, 0, GPA};

static const uint8_t *table_at(uint64_t gpa, const char *signature, size_t *length)
{
	return acpi_image_table(&image, gpa, signature, length);
}

static const uint8_t *xsdt_entry(unsigned i, const char *signature, size_t *length)
{
	return acpi_image_entry(&image, i, signature, length);
}

static void build_config(const struct acpi_config *config)
{
	memset(buffer, 0xcc, sizeof(buffer));
	image.used = acpi_build(config, buffer, sizeof(buffer));
	ck_assert_uint_gt(image.used, 36);
	ck_assert_uint_eq(buffer[image.used], 0xcc);
	ck_assert_uint_eq(acpi_image_entries(&image), config->iommu ? 3 : 2);
}

static void build(unsigned cpus)
{
	build_config(&(struct acpi_config){.gpa = GPA, .cpus = cpus});
}

START_TEST(pointers_and_checksums)
{
	static const unsigned cpus[] = {1, 2, 8, 254, 255, 256, 257, 1024, 4096};
	size_t length;

	for (size_t i = 0; i < sizeof(cpus) / sizeof(cpus[0]); i++) {
		const uint8_t *fadt;

		build(cpus[i]);
		ck_assert_mem_eq(buffer, "RSD PTR ", 8);
		ck_assert_uint_eq(acpi_sum(buffer, 20), 0);
		ck_assert_uint_eq(acpi_sum(buffer, 36), 0);
		ck_assert_uint_eq(buffer[15], 2);
		ck_assert_uint_eq(acpi_number(buffer + 20, 4), 36);
		fadt = xsdt_entry(0, "FACP", &length);
		ck_assert_uint_eq(length, 276);
		xsdt_entry(1, "APIC", &length);
		table_at(acpi_number(fadt + 40, 4), "DSDT", &length);
		ck_assert_uint_eq(acpi_number(fadt + 140, 8), acpi_number(fadt + 40, 4));
		ck_assert_uint_eq(acpi_number(fadt + 36, 4) % 64, 0);
		table_at(acpi_number(fadt + 36, 4), "FACS", &length);
		ck_assert_uint_eq(length, 64);
	}
}
END_TEST

START_TEST(fixed_hardware)
{
	size_t length;
	const uint8_t *f;

	build(2);
	f = xsdt_entry(0, "FACP", &length);
	ck_assert_uint_eq(acpi_number(f + 46, 2), IRQ_ACPI);
	ck_assert_uint_eq(acpi_number(f + 48, 4), 0); /* no SMI: always in ACPI mode */
	ck_assert_uint_eq(acpi_number(f + 56, 4), PORT_ACPI_PM);
	ck_assert_uint_eq(acpi_number(f + 64, 4), PORT_ACPI_PM + 4);
	ck_assert_uint_eq(acpi_number(f + 76, 4), PORT_ACPI_PM + 8);
	ck_assert_uint_eq(f[88], 4);
	ck_assert_uint_eq(f[89], 2);
	ck_assert_uint_eq(f[91], 4);
	ck_assert_uint_eq(acpi_number(f + 109, 2) & 0xe, 2 | 4); /* 8042, no VGA, MSI allowed */
	/* WBINVD; a fixed power button; no sleep button; 32-bit timer; a reset register; hardware not reduced */
	ck_assert_uint_eq(acpi_number(f + 112, 4) & (1 | 1 << 4 | 1 << 5 | 1 << 8 | 1 << 10 | 1 << 20),
			  1 | 1 << 5 | 1 << 8 | 1 << 10);
	ck_assert_uint_eq(acpi_number(f + 116, 4), 0x01000801); /* one byte of I/O space */
	ck_assert_uint_eq(acpi_number(f + 120, 8), PORT_RESET);
	ck_assert_uint_eq(f[128], 6);
	ck_assert_uint_eq(acpi_number(f + 152, 8), PORT_ACPI_PM);
	ck_assert_uint_eq(acpi_number(f + 176, 8), PORT_ACPI_PM + 4);
	ck_assert_uint_eq(acpi_number(f + 212, 8), PORT_ACPI_PM + 8);
}
END_TEST

/* Entries by type; each must have the length that the type has. */
static void check_madt(unsigned cpus)
{
	static const uint8_t lengths[] = {[0] = 8, [1] = 12, [2] = 10, [4] = 6, [9] = 16, [10] = 12};
	unsigned seen[11] = {0};
	size_t length;
	const uint8_t *m = xsdt_entry(1, "APIC", &length), *end = m + length;

	ck_assert_uint_eq(acpi_number(m + 36, 4), LAYOUT_LAPIC);
	ck_assert_uint_eq(acpi_number(m + 40, 4), 0);
	for (m += 44; m < end; m += m[1]) {
		ck_assert(m[0] < sizeof(lengths) && lengths[m[0]] && m[1] == lengths[m[0]]);
		if (m[0] == 0) {
			ck_assert_uint_eq(m[3], seen[0]);
			ck_assert_uint_eq(acpi_number(m + 4, 4), 1);
		} else if (m[0] == 9) {
			ck_assert_uint_eq(acpi_number(m + 4, 4), 255 + seen[9]);
			ck_assert_uint_eq(acpi_number(m + 12, 4), 255 + seen[9]);
		} else if (m[0] == 1) {
			ck_assert_uint_eq(acpi_number(m + 4, 4), LAYOUT_IOAPIC);
		} else if (m[0] == 2) {
			ck_assert_uint_eq(m[3], seen[2] ? 9 : 0);
			ck_assert_uint_eq(acpi_number(m + 4, 4), seen[2] ? 9 : 2);
			ck_assert_uint_eq(acpi_number(m + 8, 2), seen[2] ? 0xd : 0x5);
		}
		seen[m[0]]++;
	}
	ck_assert_ptr_eq(m, end);
	ck_assert_uint_eq(seen[0], cpus < 255 ? cpus : 255);
	ck_assert_uint_eq(seen[9], cpus < 255 ? 0 : cpus - 255);
	ck_assert(seen[1] == 1 && seen[2] == 2 && seen[4] == 1 && seen[10] == (cpus > 255));
}

START_TEST(processors)
{
	static const unsigned cpus[] = {1, 2, 254, 255, 256, 300, 4096};

	for (size_t i = 0; i < sizeof(cpus) / sizeof(cpus[0]); i++) {
		build(cpus[i]);
		check_madt(cpus[i]);
	}
}
END_TEST

/* I3: reads the few AML objects that the builder writes, each of which must end where its holder allows. */

static unsigned devices;
static struct { /* each device's first window of memory and its interrupt */
	uint64_t window, bytes;
	unsigned pin;
} resource[32];
static const uint8_t *aml_list(const uint8_t *at, const uint8_t *end);

static const uint8_t *aml_package(const uint8_t *at, const uint8_t *end, const uint8_t **inner_end)
{
	size_t more = at[0] >> 6, length = more ? at[0] & 0xf : at[0] & 0x3f;

	for (size_t i = 0; i < more; i++)
		length |= (size_t)at[1 + i] << (4 + 8 * i);
	ck_assert(length > more && length <= (size_t)(end - at));
	*inner_end = at + length;
	return at + 1 + more;
}

static const uint8_t *aml_resources(const uint8_t *at, const uint8_t *end)
{
	while (at < end && *at != 0x79) {
		switch (*at) {
		case 0x47: /* ports */
			ck_assert_uint_eq(acpi_number(at + 2, 2), acpi_number(at + 4, 2));
			break;
		case 0x86: /* memory, fixed and writable */
			ck_assert_uint_eq(at[3], 1);
			resource[devices].window = acpi_number(at + 4, 4);
			resource[devices].bytes = acpi_number(at + 8, 4);
			break;
		case 0x89: /* one interrupt: consumer, edge, active high, exclusive */
			ck_assert_uint_eq(at[3], 3);
			ck_assert_uint_eq(at[4], 1);
			resource[devices].pin = (unsigned)acpi_number(at + 5, 4);
			break;
		default:
			ck_assert_uint_eq(*at, 0x22);
		}
		at += *at & 0x80 ? 3 + acpi_number(at + 1, 2) : 1u + (*at & 7);
	}
	ck_assert_ptr_eq(at + 2, end);
	return end;
}

static const uint8_t *aml_value(const uint8_t *at, const uint8_t *end)
{
	const uint8_t *inner, *inner_end;

	switch (*at++) {
	case 0x0a:
		return at + 1;
	case 0x0c:
		return at + 4;
	case 0x0d:
		return at + strlen((const char *)at) + 1;
	case 0x11: /* a buffer: its size must be what the object holds */
		inner = aml_package(at, end, &inner_end);
		ck_assert_uint_eq(inner[0], 0x0a);
		ck_assert_ptr_eq(inner + 2 + inner[1], inner_end);
		return aml_resources(inner + 2, inner_end);
	case 0x12: {
		unsigned count;

		inner = aml_package(at, end, &inner_end);
		for (count = *inner++; count; count--)
			inner = aml_value(inner, inner_end);
		ck_assert_ptr_eq(inner, inner_end);
		return inner_end;
	}
	default:
		ck_abort_msg("unexpected AML value");
	}
}

static const uint8_t *aml_object(const uint8_t *at, const uint8_t *end)
{
	const uint8_t *inner, *inner_end;

	if (*at == 0x08)
		return aml_value(at + 5, end);
	if (*at == 0x10) {
		inner = aml_package(at + 1, end, &inner_end);
		ck_assert_mem_eq(inner, "\\_SB_", 5);
		return aml_list(inner + 5, inner_end);
	}
	ck_assert(at[0] == 0x5b && at[1] == 0x82);
	devices++;
	inner = aml_package(at + 2, end, &inner_end);
	return aml_list(inner + 4, inner_end);
}

static const uint8_t *aml_list(const uint8_t *at, const uint8_t *end)
{
	while (at < end)
		at = aml_object(at, end);
	ck_assert_ptr_eq(at, end);
	return end;
}

START_TEST(byte_code)
{
	static const uint8_t off[] = "\x08_S5_\x12\x4b\x00\x04\x0a\x05\x0a\x05\x0a\x00\x0a\x00"; /* {5, 5, 0, 0} */
	static const uint8_t com1[] = "\x0c\x41\xd0\x05\x01"; /* PNP0501, as every table has it */
	size_t length;
	const uint8_t *f, *dsdt;

	build(1);
	f = xsdt_entry(0, "FACP", &length);
	dsdt = table_at(acpi_number(f + 40, 4), "DSDT", &length);
	devices = 0;
	aml_list(dsdt + 36, dsdt + length);
	ck_assert_uint_eq(devices, 4);
	ck_assert_mem_eq(dsdt + 36, off, sizeof(off) - 1);
	ck_assert_ptr_nonnull(memmem(dsdt, length, com1, sizeof(com1) - 1));
	ck_assert_ptr_nonnull(memmem(dsdt, length, "\rQEMU0001", 10));
}
END_TEST

/* Each slot's window and pin, once, by the id that Linux's virtio-mmio driver looks for. */
START_TEST(virtio_devices)
{
	static const uint8_t id[] = "\x08_HID\x0dLNRO0005", coherent[] = "\x08_CCA\x0a\x01";

	for (unsigned slots = 0; slots <= ABI_VIRTIO_MAX; slots++) {
		const uint8_t *fadt, *dsdt, *at;
		size_t length;

		build_config(&(struct acpi_config){.gpa = GPA, .cpus = 1, .virtio = slots});
		fadt = xsdt_entry(0, "FACP", &length);
		dsdt = table_at(acpi_number(fadt + 40, 4), "DSDT", &length);
		devices = 0;
		aml_list(dsdt + 36, dsdt + length);
		ck_assert_uint_eq(devices, 4 + slots);
		at = dsdt;
		for (unsigned i = 0; i < slots; i++) {
			ck_assert_uint_eq(resource[5 + i].window, ABI_VIRTIO_FIRST + i * ABI_VIRTIO_STRIDE);
			ck_assert_uint_eq(resource[5 + i].bytes, 0x200);
			ck_assert_uint_eq(resource[5 + i].pin, ABI_VIRTIO_PIN + i);
			at = memmem(at, length - (size_t)(at - dsdt), id, sizeof(id));
			ck_assert_ptr_nonnull(at);
			ck_assert_uint_eq(at[-2], '0' + i / 10);
			ck_assert_uint_eq(at[-1], '0' + i % 10);
			ck_assert_mem_eq(at + sizeof(id), "\x08_UID\x0a", 6);
			ck_assert_uint_eq(at[sizeof(id) + 6], i);
			ck_assert_ptr_nonnull(memmem(at, 60, coherent, sizeof(coherent) - 1));
			at += sizeof(id);
		}
		ck_assert_ptr_null(memmem(at, length - (size_t)(at - dsdt), id, sizeof(id)));
	}
}
END_TEST

/* As drivers/acpi/viot.c reads it: node by node, each endpoint's IOMMU by the offset that it names. */
START_TEST(io_topology)
{
	const uint32_t behind = 1u << 13 | 1u << 5 | 1u << 1;
	const uint8_t *viot, *node, *iommu;
	uint32_t seen = 0;
	size_t length;

	build_config(&(struct acpi_config){
		.gpa = GPA, .cpus = 1, .virtio = ABI_VIRTIO_MAX, .iommu = true, .behind = behind});
	viot = xsdt_entry(2, "VIOT", &length);
	ck_assert_uint_eq(acpi_number(viot + 36, 2), 4);
	ck_assert_uint_eq(acpi_number(viot + 38, 2), 48);
	iommu = node = viot + acpi_number(viot + 38, 2);
	ck_assert_uint_eq(node[0], 4);
	ck_assert_uint_eq(acpi_number(node + 2, 2), 16);
	ck_assert_uint_eq(acpi_number(node + 8, 8), ABI_VIRTIO_FIRST);
	for (node += acpi_number(node + 2, 2); node < viot + length; node += acpi_number(node + 2, 2)) {
		uint32_t endpoint = (uint32_t)acpi_number(node + 4, 4);

		ck_assert_uint_eq(node[0], 2);
		ck_assert_uint_eq(acpi_number(node + 2, 2), 24);
		ck_assert_uint_eq(acpi_number(node + 8, 8), ABI_VIRTIO_FIRST + endpoint * ABI_VIRTIO_STRIDE);
		ck_assert_ptr_eq(viot + acpi_number(node + 16, 2), iommu);
		ck_assert_uint_eq(seen >> endpoint & 1, 0);
		seen |= 1u << endpoint;
	}
	ck_assert_ptr_eq(node, viot + length);
	ck_assert_uint_eq(seen, behind);
}
END_TEST

/* Too small a buffer is refused, and never written past; exact is enough. */
START_TEST(room)
{
	struct acpi_config config = {.gpa = GPA, .cpus = 3, .virtio = 2, .iommu = true, .behind = 2};
	size_t full;

	build_config(&config);
	full = image.used;
	for (size_t size = 0; size <= full; size++) {
		uint8_t *small = malloc(size + 1);

		small[size] = 0x77;
		ck_assert_uint_eq(acpi_build(&config, small, size), size == full ? full : 0);
		ck_assert_uint_eq(small[size], 0x77);
		free(small);
	}
	config.cpus = 100000;
	ck_assert_uint_eq(acpi_build(&config, buffer, sizeof(buffer)), 0);
}
END_TEST

Suite *acpi_suite(void);
Suite *acpi_suite(void)
{
	Suite *suite = suite_create("acpi");
	TCase *tcase = tcase_create("tables");

	tcase_add_test(tcase, pointers_and_checksums);
	tcase_add_test(tcase, fixed_hardware);
	tcase_add_test(tcase, processors);
	tcase_add_test(tcase, byte_code);
	tcase_add_test(tcase, virtio_devices);
	tcase_add_test(tcase, io_topology);
	tcase_add_test(tcase, room);
	suite_add_tcase(suite, tcase);
	return suite;
}
