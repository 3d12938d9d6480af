/* The ACPI tables, written front to back into one buffer:
 *
 *   RSDP | XSDT | FACS | DSDT | FADT | MADT | VIOT, with an IOMMU
 *        | SRAT | SLIT | HMAT, with memory nodes: acpi_numa.c
 *
 * Vocabulary. A *table* starts with a header of 36 bytes that holds its length
 * and a checksum by which its bytes add up to 0 (FACS and RSDP are older and
 * have their own heads). *AML* is the byte code in the DSDT; a *package
 * length* there counts itself and what follows, to the end of the object.
 *
 * Invariants, checked by the unit test on every size of machine:
 *  I1 every table's bytes add up to 0, and so do the RSDP's first 20 and its 36;
 *  I2 every pointer is the gpa of a table with the signature expected there,
 *     inside the buffer; the FACS is 64-byte aligned;
 *  I3 AML package lengths nest and end with the table.
 *
 * The builder appends and never looks at the room left: what does not fit is
 * counted and dropped, and acpi_build() looks once, at the end. A package
 * length always takes the two-byte form (up to 4095 bytes): then an object
 * can be closed by filling in two bytes, and nothing has to move. The longest is
 * \_SB: 300 bytes, and 96 for each of up to 14 virtio devices.
 *
 * Virtio devices are LNRO0005, the id by which Linux's virtio-mmio driver knows
 * them; memory first, then the interrupt, an edge. VIOT (ACPI 6.4, as
 * ACPICA and Linux's drivers/acpi/viot.c read it) names the IOMMU by its window
 * (node 4) and each endpoint by its own (node 2), with the offset of the IOMMU's
 * node; windows are found again as the resources of the DSDT's devices, so they
 * must say the same address.
 *
 * Hardware described: no 8259, no 8254 timer without the I/O APIC, no SMI.
 * ACPI mode is always on, so SMI_CMD is 0 and SCI_EN is always set. There is a
 * power button (fixed hardware: how slat asks a guest to power off), no sleep
 * button.
 *
 * Rejected: a binary made by iasl at build time (a dependency, and the CPUs
 * are known only at run time); ACPI's reduced-hardware profile (needs GED and
 * GPIO devices where the fixed registers are three ports). */
#include "vmm/acpi.h"

#include <assert.h>
#include <string.h>

#include "devices/acpi_pm_regs.h"
#include "devices/cmos_regs.h"
#include "devices/reset_port_regs.h"
#include "devices/virtio_regs.h"
#include "vmm/abi.h"
#include "vmm/acpi_impl.h"
#include "vmm/layout.h"

static void align(struct acpi_builder *b, size_t to)
{
	while ((b->gpa + b->used) % to)
		put_number(b, 0, 1);
}

/* Fills in bytes that were put before. */
static void patch(struct acpi_builder *b, size_t at, uint64_t value, size_t bytes)
{
	if (at + bytes <= b->size)
		memcpy(b->buffer + at, &value, bytes);
}

/* The byte at `at` becomes what makes [start, end) add up to 0. */
static void patch_checksum(struct acpi_builder *b, size_t start, size_t end, size_t at)
{
	uint8_t sum = 0;

	if (end > b->size)
		return;
	b->buffer[at] = 0;
	for (size_t i = start; i < end; i++)
		sum = (uint8_t)(sum + b->buffer[i]);
	b->buffer[at] = (uint8_t)-sum;
}

#define HEADER_LENGTH_AT   4u
#define HEADER_CHECKSUM_AT 9u

size_t acpi_table_open(struct acpi_builder *b, const char *signature, unsigned revision)
{
	size_t start;

	align(b, 16);
	start = b->used;
	put(b, signature, 4);
	put_number(b, 0, 4); /* length */
	put_number(b, revision, 1);
	put_number(b, 0, 1); /* checksum */
	put(b, "SLAT  ", 6);
	put(b, "SLAT    ", 8);
	put_number(b, 1, 4);
	put(b, "SLAT", 4);
	put_number(b, 1, 4);
	return start;
}

uint64_t acpi_table_close(struct acpi_builder *b, size_t start)
{
	patch(b, start + HEADER_LENGTH_AT, b->used - start, 4);
	patch_checksum(b, start, b->used, start + HEADER_CHECKSUM_AT);
	return b->gpa + start;
}

/* AML: ACPI 6.4, chapter 20. */

#define AML_NAME    0x08
#define AML_BYTE    0x0a
#define AML_DWORD   0x0c
#define AML_STRING  0x0d
#define AML_SCOPE   0x10
#define AML_BUFFER  0x11
#define AML_PACKAGE 0x12
#define AML_DEVICE  0x825b /* 0x5b, then 0x82 */

static size_t aml_open(struct acpi_builder *b, unsigned opcode)
{
	put_number(b, opcode, opcode > 0xff ? 2 : 1);
	put_number(b, 0, 2);
	return b->used - 2;
}

/* Two-byte package length: one byte follows (1 in the top two bits), its low four bits come first. */
static void aml_close(struct acpi_builder *b, size_t at)
{
	size_t length = b->used - at;

	assert(length < 1u << 12);
	patch(b, at, 1u << 6 | (length & 0xf) | (length >> 4) << 8, 2);
}

static void aml_name(struct acpi_builder *b, const char *name)
{
	put_number(b, AML_NAME, 1);
	put(b, name, 4);
}

static void aml_byte(struct acpi_builder *b, unsigned value)
{
	put_number(b, AML_BYTE, 1);
	put_number(b, value, 1);
}

static unsigned hex_digit(char c)
{
	return (unsigned)(c <= '9' ? c - '0' : c - 'A' + 10);
}

/* "PNP0501": three letters of five bits, then four hex digits, most significant byte first. */
static void aml_pnp_id(struct acpi_builder *b, const char *id)
{
	unsigned letters = (unsigned)(id[0] - '@') << 10 | (unsigned)(id[1] - '@') << 5 | (unsigned)(id[2] - '@');

	put_number(b, AML_DWORD, 1);
	put_number(b, letters >> 8, 1);
	put_number(b, letters, 1);
	put_number(b, hex_digit(id[3]) << 4 | hex_digit(id[4]), 1);
	put_number(b, hex_digit(id[5]) << 4 | hex_digit(id[6]), 1);
}

static void aml_hardware_id(struct acpi_builder *b, const char *id)
{
	aml_name(b, "_HID");
	if (strlen(id) == 7) {
		aml_pnp_id(b, id);
		return;
	}
	put_number(b, AML_STRING, 1);
	put(b, id, strlen(id) + 1);
}

/* Resource descriptors: ACPI 6.4, chapter 6.4. */

static void resource_ports(struct acpi_builder *b, unsigned first, unsigned count)
{
	put_number(b, 0x47, 1); /* I/O ports, 7 bytes */
	put_number(b, 1, 1);	/* decodes 16 bits */
	put_number(b, first, 2);
	put_number(b, first, 2);
	put_number(b, 1, 1); /* alignment */
	put_number(b, count, 1);
}

static void resource_irq(struct acpi_builder *b, unsigned irq)
{
	put_number(b, 0x22, 1); /* IRQ, 2 bytes: edge, active high, not shared */
	put_number(b, 1u << irq, 2);
}

static void resource_memory(struct acpi_builder *b, uint32_t first, uint32_t bytes)
{
	put(b, "\x86\x09\x00\x01", 4); /* fixed, 32 bits, 9 bytes: writable */
	put_number(b, first, 4);
	put_number(b, bytes, 4);
}

static void resource_pin(struct acpi_builder *b, unsigned pin)
{
	put(b, "\x89\x06\x00\x03\x01", 5); /* interrupts, 6 bytes: a consumer's edge, active high, exclusive; one */
	put_number(b, pin, 4);
}

struct port_device {
	const char *name, *id;
	unsigned unit; /* _UID */
	struct {
		unsigned first, count;
	} ports[2];
	int irq; /* -1: none */
};

static const struct port_device DEVICES[] = {
	{"COM1", "PNP0501", 1, {{PORT_SERIAL, 8}}, IRQ_SERIAL},
	{"RTC_", "PNP0B00", 0, {{PORT_CMOS, 2}}, -1}, /* the clock model raises no interrupt: a guest polls it */
	{"PS2K", "PNP0303", 0, {{PORT_I8042_DATA, 1}, {PORT_I8042_COMMAND, 1}}, -1},
	{"PEVT", "QEMU0001", 0, {{PORT_PVPANIC, 1}}, -1}, /* Linux's pvpanic driver knows it by this id */
};

struct resources { /* of one _CRS, while it is written */
	size_t outer, at;
};

static struct resources open_resources(struct acpi_builder *b)
{
	struct resources r;

	aml_name(b, "_CRS");
	r.outer = aml_open(b, AML_BUFFER);
	aml_byte(b, 0); /* the buffer's size */
	r.at = b->used;
	return r;
}

static void close_resources(struct acpi_builder *b, const struct resources *r)
{
	put_number(b, 0x0079, 2); /* end; checksum 0: not used */
	patch(b, r->at - 1, b->used - r->at, 1);
	aml_close(b, r->outer);
}

static size_t open_device(struct acpi_builder *b, const char *name, const char *id, unsigned unit)
{
	size_t at = aml_open(b, AML_DEVICE);

	put(b, name, 4);
	aml_hardware_id(b, id);
	aml_name(b, "_UID");
	aml_byte(b, unit);
	aml_name(b, "_STA");
	aml_byte(b, 0x0f); /* present, enabled, shown, working */
	return at;
}

static void put_device(struct acpi_builder *b, const struct port_device *d)
{
	size_t at = open_device(b, d->name, d->id, d->unit);
	struct resources r = open_resources(b);

	for (size_t i = 0; i < 2 && d->ports[i].count; i++)
		resource_ports(b, d->ports[i].first, d->ports[i].count);
	if (d->irq >= 0)
		resource_irq(b, (unsigned)d->irq);
	close_resources(b, &r);
	aml_close(b, at);
}

static uint32_t virtio_window(unsigned slot)
{
	return ABI_VIRTIO_FIRST + slot * ABI_VIRTIO_STRIDE;
}

static void put_virtio(struct acpi_builder *b, unsigned slot)
{
	const char name[] = {'V', 'R', (char)('0' + slot / 10), (char)('0' + slot % 10)};
	size_t at = open_device(b, name, "LNRO0005", slot);
	struct resources r;

	aml_name(b, "_CCA"); /* DMA is coherent */
	aml_byte(b, 1);
	r = open_resources(b);
	resource_memory(b, virtio_window(slot), VIRTIO_MMIO_WINDOW);
	resource_pin(b, ABI_VIRTIO_PIN + slot);
	close_resources(b, &r);
	aml_close(b, at);
}

static uint64_t put_dsdt(struct acpi_builder *b, unsigned virtio)
{
	size_t table = acpi_table_open(b, "DSDT", 2), at;

	aml_name(b, "_S5_"); /* what to write to SLP_TYP of PM1a and PM1b to power off */
	at = aml_open(b, AML_PACKAGE);
	put_number(b, 4, 1);
	for (unsigned i = 0; i < 4; i++)
		aml_byte(b, i < 2 ? ACPI_PM_SLP_TYP_OFF : 0);
	aml_close(b, at);

	at = aml_open(b, AML_SCOPE);
	put(b, "\\_SB_", 5);
	for (size_t i = 0; i < sizeof(DEVICES) / sizeof(DEVICES[0]); i++)
		put_device(b, &DEVICES[i]);
	for (unsigned slot = 0; slot < virtio; slot++)
		put_virtio(b, slot);
	aml_close(b, at);
	return acpi_table_close(b, table);
}

/* FACS: holds the global lock and the wake vector; nobody here takes or wakes. */
static uint64_t put_facs(struct acpi_builder *b)
{
	size_t start;

	align(b, 64);
	start = b->used;
	put(b, "FACS", 4);
	put_number(b, 64, 4);
	put_zeros(b, 24);
	put_number(b, 2, 1); /* version */
	put_zeros(b, 31);
	return b->gpa + start;
}

/* Generic address of I/O ports: width of an access is 2^(access - 1) bytes. */
static void put_ports(struct acpi_builder *b, unsigned port, unsigned bits, unsigned access)
{
	put_number(b, bits ? 1 : 0, 1);
	put_number(b, bits, 1);
	put_number(b, 0, 1);
	put_number(b, access, 1);
	put_number(b, port, 8);
}

#define PM_EVENT	     (PORT_ACPI_PM + ACPI_PM_STATUS)
#define PM_CONTROL	     (PORT_ACPI_PM + ACPI_PM_CONTROL)
#define PM_TIMER	     (PORT_ACPI_PM + ACPI_PM_TIMER)
#define RESET_CODE	     6u

#define BOOT_LEGACY_DEVICES  (1u << 0)
#define BOOT_8042	     (1u << 1)
#define BOOT_NO_VGA	     (1u << 2)

#define FLAG_WBINVD	     (1u << 0)
#define FLAG_C1		     (1u << 2)
#define FLAG_NO_SLEEP_BUTTON (1u << 5)
#define FLAG_NO_RTC_WAKE     (1u << 6)
#define FLAG_TIMER_32	     (1u << 8)
#define FLAG_RESET	     (1u << 10)

static void put_fadt_extended(struct acpi_builder *b, uint64_t dsdt)
{
	put_number(b, 0, 8); /* FACS: given in 32 bits */
	put_number(b, dsdt, 8);
	put_ports(b, PM_EVENT, 32, 2);
	put_ports(b, 0, 0, 0); /* PM1b event */
	put_ports(b, PM_CONTROL, 16, 2);
	put_ports(b, 0, 0, 0); /* PM1b control */
	put_ports(b, 0, 0, 0); /* PM2 control */
	put_ports(b, PM_TIMER, 32, 3);
	for (unsigned i = 0; i < 4; i++)
		put_ports(b, 0, 0, 0); /* GPE 0 and 1, sleep control and status */
	put_zeros(b, 8);	       /* hypervisor vendor */
}

static uint64_t put_fadt(struct acpi_builder *b, uint64_t facs, uint64_t dsdt)
{
	size_t table = acpi_table_open(b, "FACP", 6);

	put_number(b, facs, 4);
	put_number(b, dsdt, 4);
	put_zeros(b, 2); /* reserved; power profile: unspecified */
	put_number(b, IRQ_ACPI, 2);
	put_number(b, 0, 4); /* SMI_CMD: ACPI mode is always on */
	put_zeros(b, 4);
	put_number(b, PM_EVENT, 4);
	put_number(b, 0, 4);
	put_number(b, PM_CONTROL, 4);
	put_zeros(b, 8);
	put_number(b, PM_TIMER, 4);
	put_zeros(b, 8);	 /* GPE 0 and 1 */
	put_number(b, 4, 1);	 /* bytes of PM1 events, */
	put_number(b, 2, 1);	 /* of PM1 control, */
	put_number(b, 0, 1);	 /* of PM2 control, */
	put_number(b, 4, 1);	 /* of the timer */
	put_zeros(b, 4);	 /* GPE, _CST */
	put_number(b, 0xfff, 2); /* C2 and C3 take too long: there are none */
	put_number(b, 0xfff, 2);
	put_zeros(b, 8); /* cache flush sizes, duty, CMOS alarms */
	put_number(b, CMOS_CENTURY, 1);
	put_number(b, BOOT_LEGACY_DEVICES | BOOT_8042 | BOOT_NO_VGA, 2);
	put_zeros(b, 1);
	put_number(b, FLAG_WBINVD | FLAG_C1 | FLAG_NO_SLEEP_BUTTON | FLAG_NO_RTC_WAKE | FLAG_TIMER_32 | FLAG_RESET, 4);
	put_ports(b, PORT_RESET, 8, 1);
	put_number(b, RESET_CODE, 1);
	put_zeros(b, 3); /* Arm; minor version */
	put_fadt_extended(b, dsdt);
	return acpi_table_close(b, table);
}

#define XAPIC_IDS   255u /* id 255 is the broadcast; from there on ids need the x2APIC */
#define EDGE_HIGH   0x5u
#define LEVEL_HIGH  0xdu
#define ALL_CPUS    UINT32_MAX
#define NMI_PIN	    1u
#define CPU_ENABLED 1u

static void put_cpu(struct acpi_builder *b, unsigned id)
{
	if (id < XAPIC_IDS) {
		put(b, "\x00\x08", 2);
		put_number(b, id, 1); /* unit */
		put_number(b, id, 1);
		put_number(b, CPU_ENABLED, 4);
		return;
	}
	put(b, "\x09\x10\x00\x00", 4);
	put_number(b, id, 4);
	put_number(b, CPU_ENABLED, 4);
	put_number(b, id, 4); /* unit */
}

static void put_override(struct acpi_builder *b, unsigned isa, unsigned pin, unsigned flags)
{
	put(b, "\x02\x0a\x00", 3); /* bus 0: ISA */
	put_number(b, isa, 1);
	put_number(b, pin, 4);
	put_number(b, flags, 2);
}

static uint64_t put_madt(struct acpi_builder *b, unsigned cpus)
{
	size_t table = acpi_table_open(b, "APIC", 5);

	put_number(b, LAYOUT_LAPIC, 4);
	put_number(b, 0, 4); /* no 8259 */
	for (unsigned id = 0; id < cpus; id++)
		put_cpu(b, id);
	put(b, "\x01\x0c\x00\x00", 4); /* I/O APIC, id 0, from pin 0 on */
	put_number(b, LAYOUT_IOAPIC, 4);
	put_number(b, 0, 4);
	put_override(b, 0, IRQ_PIT, EDGE_HIGH);
	put_override(b, IRQ_ACPI, IRQ_ACPI, LEVEL_HIGH);
	put(b, "\x04\x06\xff\x00\x00", 5); /* NMI of all CPUs */
	put_number(b, NMI_PIN, 1);
	if (cpus > XAPIC_IDS) {
		put(b, "\x0a\x0c\x00\x00", 4); /* the same for x2APIC ids */
		put_number(b, ALL_CPUS, 4);
		put_number(b, NMI_PIN, 1);
		put_zeros(b, 3);
	}
	return acpi_table_close(b, table);
}

#define VIOT_FIRST_NODE 48u
#define VIOT_MMIO	2u
#define VIOT_IOMMU_MMIO 4u

static void put_node(struct acpi_builder *b, unsigned type, unsigned bytes)
{
	put_number(b, type, 2); /* 8 bits of it are reserved */
	put_number(b, bytes, 2);
}

static void put_endpoint(struct acpi_builder *b, unsigned slot)
{
	put_node(b, VIOT_MMIO, 24);
	put_number(b, slot, 4); /* the endpoint's id */
	put_number(b, virtio_window(slot), 8);
	put_number(b, VIOT_FIRST_NODE, 2);
	put_zeros(b, 6);
}

static uint64_t put_viot(struct acpi_builder *b, const struct acpi_config *config)
{
	size_t table = acpi_table_open(b, "VIOT", 0);

	put_number(b, 1 + (unsigned)__builtin_popcount(config->behind), 2);
	put_number(b, VIOT_FIRST_NODE, 2);
	put_zeros(b, 8);
	put_node(b, VIOT_IOMMU_MMIO, 16);
	put_zeros(b, 4);
	put_number(b, virtio_window(0), 8);
	for (unsigned slot = 0; slot < config->virtio; slot++)
		if (config->behind >> slot & 1)
			put_endpoint(b, slot);
	return acpi_table_close(b, table);
}

#define RSDP_BYTES	36u
#define RSDP_OLD_BYTES	20u
#define RSDP_XSDT_AT	24u
#define XSDT_FIRST_AT	36u
#define RSDP_CHECKSUM	8u
#define RSDP_CHECKSUM_2 32u

static void put_rsdp(struct acpi_builder *b)
{
	put(b, "RSD PTR ", 8);
	put_number(b, 0, 1); /* checksum */
	put(b, "SLAT  ", 6);
	put_number(b, 2, 1); /* revision */
	put_number(b, 0, 4); /* no RSDT */
	put_number(b, RSDP_BYTES, 4);
	put_zeros(b, 12); /* XSDT, second checksum */
}

#define TABLES_MAX 6u

/* Those that the XSDT lists; returns how many. FACS and DSDT are named by the FADT. */
static size_t put_tables(struct acpi_builder *b, const struct acpi_config *config, uint64_t table[TABLES_MAX])
{
	const struct topology *t = config->topology;
	uint64_t facs = put_facs(b), dsdt = put_dsdt(b, config->virtio);
	size_t count = 0;

	table[count++] = put_fadt(b, facs, dsdt);
	table[count++] = put_madt(b, config->cpus);
	if (config->iommu)
		table[count++] = put_viot(b, config);
	if (!t || !t->nodes)
		return count;
	table[count++] = acpi_numa_srat(b, t);
	table[count++] = acpi_numa_slit(b, t);
	if (t->has_hmat)
		table[count++] = acpi_numa_hmat(b, t);
	return count;
}

/* As many as put_tables() will put: the XSDT comes before them. */
static size_t tables_count(const struct acpi_config *config)
{
	const struct topology *t = config->topology;

	return 2u + config->iommu + (t && t->nodes ? 2u + t->has_hmat : 0);
}

size_t acpi_build(const struct acpi_config *config, uint8_t *buffer, size_t size)
{
	struct acpi_builder b = {buffer, size, 0, config->gpa};
	const size_t tables = tables_count(config);
	uint64_t table[TABLES_MAX] = {0};
	size_t xsdt, count;

	assert(!config->topology || !config->topology->nodes || config->topology->cpus == config->cpus);
	put_rsdp(&b);
	xsdt = acpi_table_open(&b, "XSDT", 1);
	put_zeros(&b, tables * 8);
	acpi_table_close(&b, xsdt);
	count = put_tables(&b, config, table);
	assert(count == tables);
	if (b.used > size)
		return 0;
	for (size_t i = 0; i < tables; i++)
		patch(&b, xsdt + XSDT_FIRST_AT + i * 8, table[i], 8);
	patch_checksum(&b, xsdt, xsdt + XSDT_FIRST_AT + tables * 8, xsdt + HEADER_CHECKSUM_AT);
	patch(&b, RSDP_XSDT_AT, config->gpa + xsdt, 8);
	patch_checksum(&b, 0, RSDP_OLD_BYTES, RSDP_CHECKSUM);
	patch_checksum(&b, 0, RSDP_BYTES, RSDP_CHECKSUM_2);
	return b.used;
}
