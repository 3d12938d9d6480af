#include "guests/runtime/console.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

#include "devices/serial_regs.h"
#include "guests/runtime/cpu.h"

#define SERIAL	     0x3f8u
#define FIFO_BYTES   16u
#define STATUS_TRIES 100000u /* then the port is stuck: text is lost, not the guest */

static unsigned fifo_used;

void console_init(void)
{
	port_write8(SERIAL + SERIAL_LCR, SERIAL_LCR_8N1);
	port_write8(SERIAL + SERIAL_FCR, SERIAL_FCR_ENABLE);
}

/* A port read is an exit from the guest: ask once a FIFO, not once a byte. */
static void put_byte(char c)
{
	if (fifo_used == 0)
		for (unsigned i = 0; i < STATUS_TRIES && !(port_read8(SERIAL + SERIAL_LSR) & SERIAL_LSR_THRE); i++)
			cpu_relax();
	port_write8(SERIAL, (uint8_t)c);
	fifo_used = (fifo_used + 1) % FIFO_BYTES;
}

void console_drain(void)
{
	for (unsigned i = 0; i < STATUS_TRIES && !(port_read8(SERIAL + SERIAL_LSR) & SERIAL_LSR_TEMT); i++)
		cpu_relax();
}

static void put_text(const char *s)
{
	while (*s != '\0')
		put_byte(*s++);
}

static void put_number(uint64_t value, unsigned base, unsigned width, char pad)
{
	char digits[20];
	unsigned n = 0;

	do {
		digits[n++] = "0123456789abcdef"[value % base];
		value /= base;
	} while (value != 0);
	for (; width > n; width--)
		put_byte(pad);
	while (n > 0)
		put_byte(digits[--n]);
}

void console_print(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	for (const char *p = format; *p != '\0'; p++) {
		unsigned width = 0;
		bool wide = false;
		char pad = ' ';

		if (*p != '%') {
			put_byte(*p);
			continue;
		}
		if (*++p == '0')
			pad = '0';
		for (; *p >= '0' && *p <= '9'; p++)
			width = width * 10 + (unsigned)(*p - '0');
		for (; *p == 'l'; p++)
			wide = true;
		switch (*p) {
		case 's':
			put_text(va_arg(args, const char *));
			break;
		case 'c':
			put_byte((char)va_arg(args, int));
			break;
		case 'u':
		case 'x':
			put_number(wide ? va_arg(args, uint64_t) : va_arg(args, uint32_t), *p == 'u' ? 10 : 16, width,
				   pad);
			break;
		default:
			put_byte(*p);
			break;
		}
	}
	va_end(args);
}
