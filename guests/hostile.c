/* hostile: all devices are used as no driver would: any port of theirs, any
 * width, any value, single and in strings, and the I/O APIC by accesses that
 * straddle its registers and its edge. The same sequence each time. Left out is
 * what may end the run or this CPU (power off, reset, NMI, INIT, SMI). Then they
 * must still answer as before. */
#include "devices/acpi_pm_regs.h"
#include "devices/cmos_regs.h"
#include "devices/debugcon_regs.h"
#include "devices/fw_cfg_regs.h"
#include "devices/ioapic_regs.h"
#include "devices/pit_regs.h"
#include "devices/reset_port_regs.h"
#include "devices/serial_regs.h"
#include "guests/runtime/console.h"
#include "guests/runtime/cpu.h"
#include "guests/runtime/guest.h"
#include "guests/runtime/string.h"

#define IOAPIC	     UINT64_C(0xfec00000)
#define ACCESSES     2500u
#define STRING_BYTES 5000u /* more than a page: the host sees it in pieces */

enum ports {
	PIT = 0x40,
	I8042_DATA = 0x60,
	I8042 = 0x64,
	CMOS = 0x70,
	DEBUGCON = 0xe9,
	SERIAL = 0x3f8,
	FW_CFG = 0x510,
	PM = 0x600,
	RESET = 0xcf9,
	NOBODY = 0xff0,
};

static const struct window {
	uint16_t first, bytes;
} windows[] = {
	{PIT, PIT_WINDOW},
	{I8042_DATA, 2}, /* port B beside it */
	{I8042, 1},
	{CMOS, CMOS_WINDOW},
	{DEBUGCON, DEBUGCON_WINDOW},
	{SERIAL, SERIAL_WINDOW},
	{FW_CFG, FW_CFG_WINDOW},
	{PM, ACPI_PM_WINDOW},
	{RESET, RESET_PORT_WINDOW},
	{NOBODY, 8},
};

static uint8_t buffer[STRING_BYTES + 8];
static uint64_t seed = 0x5eed;

static uint32_t random_below(uint32_t limit)
{
	seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)((seed >> 32) * limit >> 32);
}

/* What may be written to this port instead of `value`. */
static uint32_t tamed(uint16_t port, unsigned width, uint32_t value)
{
	if (port == I8042) /* no pulse on the reset line, no write to the port that has it */
		return (value & 0xf0) == 0xf0 || (value & 0xff) == 0xd1 ? 0xaa : value;
	if (port == RESET)
		return value & ~(uint32_t)RESET_PORT_CPU;
	if (port == SERIAL || port == DEBUGCON)
		return '.';
	if (port >= PM && port < PM + ACPI_PM_WINDOW) /* never a byte with SLP_EN, whichever it lands on */
		return value & ~UINT32_C(0x20202020);
	return width == 1 ? value & 0xff : value;
}

static void single(uint16_t port, unsigned width)
{
	uint32_t value = tamed(port, width, random_below(UINT32_MAX));

	switch (width * 2 + random_below(2)) {
	case 2:
		__asm__ volatile("outb %b0, %w1" ::"a"(value), "d"(port));
		break;
	case 3:
		__asm__ volatile("inb %w1, %b0" : "=a"(value) : "d"(port));
		break;
	case 4:
		__asm__ volatile("outw %w0, %w1" ::"a"(value), "d"(port));
		break;
	case 5:
		__asm__ volatile("inw %w1, %w0" : "=a"(value) : "d"(port));
		break;
	case 8:
		__asm__ volatile("outl %0, %w1" ::"a"(value), "d"(port));
		break;
	default:
		__asm__ volatile("inl %w1, %0" : "=a"(value) : "d"(port));
	}
}

static void string(uint16_t port, unsigned width)
{
	uint64_t count = 1 + random_below(STRING_BYTES / width);
	void *at = buffer;

	if (random_below(2)) {
		if (width == 1)
			__asm__ volatile("rep insb" : "+D"(at), "+c"(count) : "d"(port) : "memory");
		else if (width == 2)
			__asm__ volatile("rep insw" : "+D"(at), "+c"(count) : "d"(port) : "memory");
		else
			__asm__ volatile("rep insl" : "+D"(at), "+c"(count) : "d"(port) : "memory");
		return;
	}
	for (uint32_t i = 0, value; i < count; i++) {
		value = tamed(port, width, random_below(UINT32_MAX));
		memcpy(buffer + i * width, &value, width);
	}
	if (width == 1)
		__asm__ volatile("rep outsb" : "+S"(at), "+c"(count) : "d"(port) : "memory");
	else if (width == 2)
		__asm__ volatile("rep outsw" : "+S"(at), "+c"(count) : "d"(port) : "memory");
	else
		__asm__ volatile("rep outsl" : "+S"(at), "+c"(count) : "d"(port) : "memory");
}

static void ioapic_write(uint8_t index, uint32_t value)
{
	*(volatile uint32_t *)(uintptr_t)(IOAPIC + IOAPIC_SELECT) = index;
	*(volatile uint32_t *)(uintptr_t)(IOAPIC + IOAPIC_DATA) = value;
}

static uint32_t ioapic_read(uint8_t index)
{
	*(volatile uint32_t *)(uintptr_t)(IOAPIC + IOAPIC_SELECT) = index;
	return *(volatile uint32_t *)(uintptr_t)(IOAPIC + IOAPIC_DATA);
}

/* Accesses that no alignment makes whole. */
typedef uint16_t loose16 __attribute__((aligned(1)));
typedef uint32_t loose32 __attribute__((aligned(1)));
typedef uint64_t loose64 __attribute__((aligned(1)));

/* Around the window's start and its registers; 8 bytes at most, so that DATA itself is met by reads and odd writes
 * only. */
static void straddle(void)
{
	volatile uint8_t *at = (volatile uint8_t *)(uintptr_t)(IOAPIC + random_below(48) - 8);

	switch (random_below(6)) {
	case 0:
		(void)*at;
		break;
	case 1:
		(void)*(volatile loose32 *)at;
		break;
	case 2:
		(void)*(volatile loose64 *)at;
		break;
	case 3:
		*at = (uint8_t)random_below(256);
		break;
	case 4:
		*(volatile loose16 *)at = (uint16_t)random_below(65536);
		break;
	default:
		*(volatile loose64 *)at = seed;
	}
}

static void one(void)
{
	const struct window *w = &windows[random_below(sizeof(windows) / sizeof(windows[0]))];
	uint16_t port = (uint16_t)(w->first + random_below(w->bytes));
	unsigned width = 1u << random_below(3);

	switch (random_below(64)) {
	case 0:
		string(port, width);
		break;
	case 1 ... 8:
		straddle();
		break;
	case 9 ... 16: /* fixed or lowest priority only */
		ioapic_write((uint8_t)random_below(256), random_below(UINT32_MAX) & ~UINT32_C(0x600));
		break;
	default:
		single(port, width);
	}
}

int guest_main(const struct boot_info *boot)
{
	(void)boot;
	for (unsigned i = 0; i < ACCESSES; i++)
		one();
	port_write8(SERIAL + SERIAL_MCR, SERIAL_MCR_OUT2); /* not looped back */
	console_init();
	port_write8(CMOS, CMOS_D);
	if (ioapic_read(IOAPIC_VERSION) != (IOAPIC_VERSION_ID | (IOAPIC_PINS - 1) << 16) ||
	    port_read8(CMOS + CMOS_DATA) != CMOS_D_VALID || port_read8(DEBUGCON) != DEBUGCON_PRESENCE) {
		console_print("\nhostile: a device does not answer as before\n");
		return GUEST_FAILED;
	}
	console_print("\nhostile: ok %u accesses\n", ACCESSES);
	return GUEST_OK;
}
