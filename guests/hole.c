/* hole: an address with nothing behind it reads as all ones, writes to it are
 * dropped, and the guest goes on: once in the 32-bit hole, once above all RAM. */
#include "guests/runtime/console.h"
#include "guests/runtime/guest.h"
#include "guests/runtime/memory.h"
#include "guests/runtime/paging.h"

#define IN_HOLE UINT64_C(0xd0000000)
#define TWO_MIB UINT64_C(0x200000)

static uint64_t read_at(uint64_t address, unsigned bytes)
{
	volatile void *p = (volatile void *)(uintptr_t)address;

	switch (bytes) {
	case 1:
		return *(volatile uint8_t *)p;
	case 2:
		return *(volatile uint16_t *)p;
	case 4:
		return *(volatile uint32_t *)p;
	default:
		return *(volatile uint64_t *)p;
	}
}

static bool all_ones(uint64_t address)
{
	for (unsigned bytes = 1; bytes <= 8; bytes *= 2) {
		uint64_t want = UINT64_MAX >> (64 - 8 * bytes), was = read_at(address, bytes);

		if (was != want) {
			console_print("hole: a read of %u bytes at 0x%lx gives 0x%lx\n", bytes, address, was);
			return false;
		}
	}
	return true;
}

static bool is_hole(uint64_t address)
{
	if (!all_ones(address))
		return false;
	*(volatile uint32_t *)(uintptr_t)address = 0x12345678;
	*(volatile uint8_t *)(uintptr_t)(address + 4095) = 0;
	if (!all_ones(address) || !all_ones(address + 4088))
		return false;
	console_print("hole: nothing at 0x%lx\n", address);
	return true;
}

/* The first 2 MiB boundary at or above the end of RAM, mapped. */
static uint64_t above_ram(void)
{
	uint64_t address = (memory_end() + TWO_MIB - 1) & ~(TWO_MIB - 1);
	struct pagetable_leaf leaf;

	if (!pagetable_walk(paging_table(), address, &leaf))
		paging_map_device(address, TWO_MIB);
	return address;
}

int guest_main(const struct boot_info *boot)
{
	(void)boot;
	if (!is_hole(IN_HOLE) || !is_hole(above_ram()))
		return GUEST_FAILED;
	console_print("hole: ok\n");
	return GUEST_OK;
}
