/* devices/acpi_pm_regs.h: ACPI fixed hardware, as offsets into the PM window (ACPI 6.4, 4.8.3). */
#ifndef SLAT_DEVICES_ACPI_PM_REGS_H
#define SLAT_DEVICES_ACPI_PM_REGS_H

#define ACPI_PM_WINDOW	      12
#define ACPI_PM_STATUS	      0 /* 16 bits; writing 1 clears */
#define ACPI_PM_ENABLE	      2 /* 16 bits */
#define ACPI_PM_CONTROL	      4 /* 16 bits */
#define ACPI_PM_TIMER	      8 /* 32 bits, read only */

#define ACPI_PM_TIMER_HZ      3579545

#define ACPI_PM_EVENTS	      0x0521 /* what can be enabled: timer carry, global lock, button, clock alarm */
#define ACPI_PM_BUTTON	      0x0100 /* in status and enable */

#define ACPI_PM_SCI_EN	      0x0001
#define ACPI_PM_SLP_TYP_SHIFT 10
#define ACPI_PM_SLP_TYP	      0x1c00
#define ACPI_PM_SLP_EN	      0x2000
#define ACPI_PM_SLP_TYP_OFF   5 /* the DSDT's \_S5 names it */

#endif
