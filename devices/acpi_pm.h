/* devices/acpi_pm.h: ACPI fixed hardware: PM1 event and control blocks, PM timer, power button.
 * Not modelled: the timer's carry event, GPEs, an SMI command port (ACPI mode is
 * always on: SCI_EN reads 1), sleep states other than S5 (asking for them does nothing).
 * Registers take any width; the lanes that a wider access covers are served one by one. */
#ifndef SLAT_DEVICES_ACPI_PM_H
#define SLAT_DEVICES_ACPI_PM_H

#include "devices/acpi_pm_regs.h"
#include "devices/device.h"
#include "devices/ending.h"
#include "devices/irq.h"
#include "devices/timer.h"

struct acpi_pm {
	struct clock clock;
	struct irq sci; /* level-triggered */
	struct ending ending;
	uint16_t status, enable;
	uint16_t control; /* without SLP_EN, which reads 0, and SCI_EN, which reads 1 */
};

/* Fills *device, a window of ACPI_PM_WINDOW bytes. */
void acpi_pm_init(struct acpi_pm *pm, struct clock clock, struct irq sci, struct ending ending, struct device *device);

/* Presses the power button. Returns false iff the guest has not enabled it: nobody will answer. */
bool acpi_pm_power_button(struct acpi_pm *pm);

#endif
