/* hello: what this guest was given. */
#include "guests/runtime/acpi.h"
#include "guests/runtime/boot_info.h"
#include "guests/runtime/console.h"
#include "guests/runtime/cpu.h"
#include "guests/runtime/guest.h"
#include "guests/runtime/memory.h"
#include "guests/runtime/paging.h"
#include "guests/runtime/ring3.h"
#include "guests/runtime/string.h"
#include "vmm/abi.h"

static const char *type_name(uint32_t type)
{
	switch (type) {
	case E820_RAM:
		return "RAM";
	case E820_RESERVED:
		return "reserved";
	case E820_ACPI:
		return "ACPI";
	default:
		return "other";
	}
}

static void show_boot(const struct boot_info *b)
{
	console_print("hello: booted by %s\n", b->protocol == BOOT_PROTOCOL_PVH ? "PVH" : "Multiboot");
	console_print("hello: command line \"%s\"%s\n", b->cmdline, b->cmdline_cut ? " (cut)" : "");
	console_print("hello: %u modules\n", b->modules);
}

static void show_memory(const struct boot_info *b)
{
	for (unsigned i = 0; i < b->ranges; i++)
		console_print("hello: memory 0x%010lx .. 0x%010lx  %s\n", b->range[i].start,
			      b->range[i].start + b->range[i].bytes, type_name(b->range[i].type));
	console_print("hello: RAM %lu bytes\n", memory_ram_bytes());
}

static void show_cpus(void)
{
	struct cpuid id = cpu_id(0);
	char vendor[13] = {0};

	memcpy(vendor, &id.ebx, 4);
	memcpy(vendor + 4, &id.edx, 4);
	memcpy(vendor + 8, &id.ecx, 4);
	if (acpi_cpus()->count == 0)
		console_print("hello: no MADT\n");
	console_print("hello: CPUs %u, %s, %u address bits\n", acpi_cpus()->count ? acpi_cpus()->count : 1, vendor,
		      cpu_features()->phys_bits);
}

/* Ring 3: a walk over all entries. */
static uint64_t table_is_sound(void *unused)
{
	(void)unused;
	return pagetable_check(paging_table());
}

static void show_table(void)
{
	struct pagetable_stats s = pagetable_stats_read(paging_table());

	console_print("hello: own page table: %lu leaves of 4K, %lu of 2M, %lu of 1G, in %lu tables\n",
		      s.leaves[PAGETABLE_4K], s.leaves[PAGETABLE_2M], s.leaves[PAGETABLE_1G], s.tables);
}

int guest_main(const struct boot_info *boot)
{
	show_boot(boot);
	show_memory(boot);
	show_cpus();
	show_table();
	if (!ring3_call(table_is_sound, NULL)) {
		console_print("hello: the page table breaks its own rules\n");
		return GUEST_FAILED;
	}
	console_print("hello: ok\n");
	return GUEST_OK;
}
