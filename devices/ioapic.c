/* devices/ioapic.c: 82093AA I/O APIC that speaks in MSIs.
 *
 * What it is. 24 pins, each with a redirection entry that says which message an
 * interrupt on it becomes. There is no bus to local APICs here: a message goes
 * to the sink as an MSI and is delivered when send() returns.
 *
 * Vocabulary. Asserted: the wire says "interrupt", whatever polarity the entry
 * names (the wiring and the guest agree by ACPI; polarity is stored and not
 * looked at, as in KVM and QEMU). Level pin: the entry has the level bit and a
 * delivery mode that a CPU ends (fixed or lowest priority). An SMI, NMI, INIT or
 * ExtINT is never ended, so such an entry is served as an edge whatever its trigger bit.
 *
 * Invariants
 *   I1 Remote IRR is set only in level entries: from the message on until the CPU's EOI.
 *   I2 A level pin that is asserted and unmasked has remote IRR set.
 *   I3 Delivery status reads 0: nothing is ever waiting to be sent.
 *   I4 The sink has been told of each change in what an unmasked pin would send.
 *
 * Choices, all those of KVM's in-kernel model, so that a guest sees the same in
 * both interrupt-controller modes:
 *   - an edge on a masked pin is lost; a level on one is sent when it is unmasked;
 *   - making an entry edge-triggered clears its remote IRR: this is how Linux ends
 *     an interrupt on a version 0x11 chip, which has no EOI register;
 *   - destinations are the 8 bits of the high half. */
#include <string.h>

#include "devices/ioapic.h"

#define MSI_ADDRESS	  UINT64_C(0xfee00000)
#define MSI_DEST_SHIFT	  12
#define MSI_LOGICAL	  UINT64_C(0x4)
#define MSI_ASSERT	  UINT32_C(0x4000)
#define MSI_LEVEL	  UINT32_C(0x8000)
#define ENTRY_DEST_SHIFT  56
#define ENTRY_READ_ONLY	  ((uint64_t)(IOAPIC_REMOTE_IRR | IOAPIC_PENDING))
#define ENTRY_WRITABLE_LO UINT64_C(0x1afff)
#define ENTRY_WRITABLE	  (UINT64_C(0xff) << ENTRY_DEST_SHIFT | ENTRY_WRITABLE_LO)

_Static_assert(ENTRY_WRITABLE_LO == (IOAPIC_VECTOR | IOAPIC_DELIVERY | IOAPIC_LOGICAL | IOAPIC_ACTIVE_LOW |
				     IOAPIC_LEVEL | IOAPIC_MASKED),
	       "the low half's bits are these and the two read-only ones");

static bool is_level(uint64_t entry)
{
	uint64_t delivery = (entry & IOAPIC_DELIVERY) >> IOAPIC_DELIVERY_SHIFT;

	return entry & IOAPIC_LEVEL && (delivery == IOAPIC_DELIVERY_FIXED || delivery == IOAPIC_DELIVERY_LOWEST);
}

static struct msi compose(uint64_t entry)
{
	struct msi message = {
		.address = MSI_ADDRESS | entry >> ENTRY_DEST_SHIFT << MSI_DEST_SHIFT,
		.data = (uint32_t)(entry & (IOAPIC_VECTOR | IOAPIC_DELIVERY)) | MSI_ASSERT,
	};

	if (entry & IOAPIC_LOGICAL)
		message.address |= MSI_LOGICAL;
	if (entry & IOAPIC_LEVEL)
		message.data |= MSI_LEVEL;
	return message;
}

static void send(struct ioapic *a, unsigned pin)
{
	uint64_t *entry = &a->entry[pin];

	if (is_level(*entry))
		*entry |= IOAPIC_REMOTE_IRR;
	if (a->out.send)
		a->out.send(a->out.self, compose(*entry));
}

/* Restores I2. */
static void serve_level(struct ioapic *a, unsigned pin)
{
	uint64_t entry = a->entry[pin];

	if (is_level(entry) && !(entry & (IOAPIC_MASKED | IOAPIC_REMOTE_IRR)) && a->levels >> pin & 1)
		send(a, pin);
}

/* Restores I4. */
static void announce(struct ioapic *a, unsigned pin, uint64_t before)
{
	uint64_t after = a->entry[pin];
	bool valid = !(after & IOAPIC_MASKED);

	if (valid ? ((before ^ after) & ENTRY_WRITABLE) == 0 : (before & IOAPIC_MASKED) != 0)
		return;
	if (a->out.route)
		a->out.route(a->out.self, pin, valid, is_level(after), compose(after));
}

static void write_entry(struct ioapic *a, unsigned pin, bool high, uint32_t value)
{
	uint64_t before = a->entry[pin];
	uint64_t written = high ? (uint64_t)value << 32 | (uint32_t)before : (before >> 32 << 32) | value;
	uint64_t after = (written & ENTRY_WRITABLE) | (before & ENTRY_READ_ONLY);

	if (!is_level(after))
		after &= ~(uint64_t)IOAPIC_REMOTE_IRR;
	a->entry[pin] = after;
	announce(a, pin, before);
	serve_level(a, pin);
}

static uint32_t read_register(const struct ioapic *a)
{
	unsigned pin = (a->select - IOAPIC_ENTRY) / 2u;

	switch (a->select) {
	case IOAPIC_ID:
	case IOAPIC_ARBITRATION:
		return (uint32_t)a->id << 24;
	case IOAPIC_VERSION:
		return IOAPIC_VERSION_ID | (IOAPIC_PINS - 1) << 16;
	default:
		if (a->select < IOAPIC_ENTRY || pin >= IOAPIC_PINS)
			return UINT32_MAX;
		return (uint32_t)(a->entry[pin] >> (a->select & 1 ? 32 : 0));
	}
}

static void write_register(struct ioapic *a, uint32_t value)
{
	unsigned pin = (a->select - IOAPIC_ENTRY) / 2u;

	if (a->select == IOAPIC_ID)
		a->id = value >> 24 & 0xf;
	else if (a->select >= IOAPIC_ENTRY && pin < IOAPIC_PINS)
		write_entry(a, pin, a->select & 1, value);
}

static uint64_t ioapic_read(void *self, uint64_t offset, unsigned width)
{
	const struct ioapic *a = self;

	if (offset == IOAPIC_SELECT && width <= 4)
		return a->select;
	if (offset == IOAPIC_DATA && width == 4)
		return read_register(a);
	return UINT64_MAX;
}

static void ioapic_write(void *self, uint64_t offset, unsigned width, uint64_t value)
{
	struct ioapic *a = self;

	if (offset == IOAPIC_SELECT && width <= 4)
		a->select = (uint8_t)value;
	else if (offset == IOAPIC_DATA && width == 4)
		write_register(a, (uint32_t)value);
}

void ioapic_init(struct ioapic *ioapic, struct msi_sink out, struct device *device)
{
	memset(ioapic, 0, sizeof(*ioapic));
	ioapic->out = out;
	for (unsigned pin = 0; pin < IOAPIC_PINS; pin++)
		ioapic->entry[pin] = IOAPIC_MASKED;
	*device = (struct device){.name = "I/O APIC", .self = ioapic, .read = ioapic_read, .write = ioapic_write};
}

void ioapic_set(void *ioapic, unsigned line, bool level)
{
	struct ioapic *a = ioapic;
	uint32_t bit;
	bool rose;

	if (line >= IOAPIC_PINS)
		return;
	bit = UINT32_C(1) << line;
	rose = level && !(a->levels & bit);
	a->levels = level ? a->levels | bit : a->levels & ~bit;
	if (is_level(a->entry[line]))
		serve_level(a, line);
	else if (rose && !(a->entry[line] & IOAPIC_MASKED))
		send(a, line);
}

void ioapic_eoi(struct ioapic *ioapic, uint8_t vector)
{
	for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
		uint64_t *entry = &ioapic->entry[pin];

		if (!(*entry & IOAPIC_REMOTE_IRR) || (*entry & IOAPIC_VECTOR) != vector)
			continue;
		*entry &= ~(uint64_t)IOAPIC_REMOTE_IRR;
		serve_level(ioapic, pin);
	}
}
