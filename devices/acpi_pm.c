/* devices/acpi_pm.c: ACPI fixed hardware.
 *
 * What it is. Three 16-bit registers and a 32-bit counter in one window. The
 * counter is the clock seen in ticks of 3.579545 MHz, modulo 2^32; nothing runs.
 *
 * Invariants
 *   I1 The SCI is high iff status & enable is not 0.
 *   I2 control never has SLP_EN or SCI_EN: the first is a command, the second a constant.
 *
 * Access. ACPI interpreters differ in the widths they use (a FADT may name 8, 16
 * or 32), so the window is served byte by byte: a read gathers the bytes of one
 * snapshot, a write gives each byte to the register that it belongs to. A
 * sleep is asked for by one byte, the high byte of control, so bytes suffice. */
#include <string.h>

#include "devices/acpi_pm.h"

static void settle(struct acpi_pm *pm)
{
	irq_set(&pm->sci, (pm->status & pm->enable) != 0);
}

static void put(uint8_t *image, unsigned offset, uint32_t value, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		image[offset + i] = (uint8_t)(value >> 8 * i);
}

static uint32_t timer(const struct acpi_pm *pm)
{
	return (uint32_t)timer_ticks(pm->clock.now_ns(pm->clock.self), ACPI_PM_TIMER_HZ);
}

static uint64_t acpi_pm_read(void *self, uint64_t offset, unsigned width)
{
	const struct acpi_pm *pm = self;
	uint8_t image[ACPI_PM_WINDOW] = {0};
	uint64_t value = 0;

	put(image, ACPI_PM_STATUS, pm->status, 2);
	put(image, ACPI_PM_ENABLE, pm->enable, 2);
	put(image, ACPI_PM_CONTROL, pm->control | ACPI_PM_SCI_EN, 2);
	put(image, ACPI_PM_TIMER, timer(pm), 4);
	for (unsigned i = 0; i < width; i++)
		value |= (uint64_t)image[offset + i] << 8 * i;
	return value;
}

static uint16_t with_byte(uint16_t reg, unsigned high, uint8_t byte)
{
	return high ? (uint16_t)((reg & 0x00ff) | byte << 8) : (uint16_t)((reg & 0xff00) | byte);
}

static void write_control(struct acpi_pm *pm, unsigned high, uint8_t byte)
{
	uint16_t control = with_byte(pm->control, high, byte);

	pm->control = control & ~(ACPI_PM_SLP_EN | ACPI_PM_SCI_EN);
	if (control & ACPI_PM_SLP_EN && (control & ACPI_PM_SLP_TYP) >> ACPI_PM_SLP_TYP_SHIFT == ACPI_PM_SLP_TYP_OFF &&
	    pm->ending.end)
		pm->ending.end(pm->ending.self, ENDING_POWER_OFF, 0);
}

static void write_byte(struct acpi_pm *pm, uint64_t offset, uint8_t byte)
{
	unsigned high = offset & 1;

	switch (offset & ~UINT64_C(1)) {
	case ACPI_PM_STATUS:
		pm->status &= ~with_byte(0, high, byte);
		break;
	case ACPI_PM_ENABLE:
		pm->enable = with_byte(pm->enable, high, byte) & ACPI_PM_EVENTS;
		break;
	case ACPI_PM_CONTROL:
		write_control(pm, high, byte);
		break;
	default: /* the timer is read only */
		break;
	}
}

static void acpi_pm_write(void *self, uint64_t offset, unsigned width, uint64_t value)
{
	struct acpi_pm *pm = self;

	for (unsigned i = 0; i < width; i++)
		write_byte(pm, offset + i, (uint8_t)(value >> 8 * i));
	settle(pm);
}

void acpi_pm_init(struct acpi_pm *pm, struct clock clock, struct irq sci, struct ending ending, struct device *device)
{
	memset(pm, 0, sizeof(*pm));
	pm->clock = clock;
	pm->sci = sci;
	pm->ending = ending;
	*device = (struct device){.name = "ACPI PM", .self = pm, .read = acpi_pm_read, .write = acpi_pm_write};
}

bool acpi_pm_power_button(struct acpi_pm *pm)
{
	pm->status |= ACPI_PM_BUTTON;
	settle(pm);
	return pm->enable & ACPI_PM_BUTTON;
}
