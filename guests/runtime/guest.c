#include "guests/runtime/guest.h"

#include "guests/runtime/acpi.h"
#include "guests/runtime/boot_info.h"
#include "guests/runtime/console.h"
#include "guests/runtime/cpu.h"
#include "guests/runtime/memory.h"
#include "guests/runtime/paging.h"
#include "guests/runtime/panic.h"
#include "guests/runtime/ring3.h"
#include "mm/port.h"

#define DEBUG_EXIT_PORT	 0xf4
#define BOCHS_POWER_PORT 0x8900 /* ends Bochs, once the word was written */

_Noreturn void runtime_start(uint32_t magic, uint32_t info);

static struct boot_source {
	uint32_t magic, info;
} boot_source;
static struct boot_info boot_info;
struct panic panic_last;

_Noreturn void guest_exit(uint32_t code)
{
	port_write32(DEBUG_EXIT_PORT, code);
	console_drain();
	for (const char *word = "Shutdown"; *word != '\0'; word++)
		port_write8(BOCHS_POWER_PORT, (uint8_t)*word);
	console_print("This machine has no debug-exit port; the guest stops here with code %u.\n", code);
	cpu_stop();
}

/* Only ring 0 can print: an invalid instruction takes the reason there, and
 * trap_report() prints it with the registers. */
_Noreturn void guest_panic(const char *what, uint64_t a, uint64_t b)
{
	panic_last = (struct panic){.what = what, .a = a, .b = b};
	__builtin_trap();
}

_Noreturn void mm_panic(const char *file, int line, const char *what, uint64_t a, uint64_t b)
{
	panic_last = (struct panic){.file = file, .line = (unsigned)line, .what = what, .a = a, .b = b};
	__builtin_trap();
}

void mm_yield(void)
{
	__builtin_ia32_pause();
}

/* Ring 3, still on the boot tables. */
static uint64_t prepare(void *source)
{
	const struct boot_source *from = source;

	boot_info_read(from->magic, from->info, &boot_info);
	memory_init(&boot_info);
	paging_build(&boot_info);
	return 0;
}

/* Ring 3, once the memory map's own tables are mapped. */
static uint64_t look_around(void *unused)
{
	(void)unused;
	acpi_read(boot_info.rsdp);
	return 0;
}

_Noreturn void runtime_start(uint32_t magic, uint32_t info)
{
	boot_source = (struct boot_source){magic, info};
	console_init();
	cpu_init_first();
	ring3_call(prepare, &boot_source);
	paging_load();
	ring3_call(look_around, NULL);
	guest_exit((uint32_t)guest_main(&boot_info));
}
