/* trap: what the guest's own page table forbids is an exception, and it is
 * reported. "case=N" of the command line chooses: 0 writes to text, 1 reads
 * private data in ring 3, 2 runs data, 3 divides by zero, 4 panics, 5 and 6 let
 * the stack of ring 3 and of ring 0 run into the guard below it, 7 another CPU's. */
#include "guests/runtime/boot_info.h"
#include "guests/runtime/console.h"
#include "guests/runtime/guest.h"
#include "guests/runtime/memory.h"
#include "guests/runtime/ring3.h"
#include "guests/runtime/smp.h"
#include "guests/runtime/string.h"

static uint64_t write_text(void *unused)
{
	(void)unused;
	*(volatile uint8_t *)image_start = 0;
	return 0;
}

static uint64_t read_private(void *unused)
{
	(void)unused;
	return *(volatile uint8_t *)image_private;
}

static uint64_t run_data(void *unused)
{
	static uint8_t code[] = {0xc3}; /* ret */

	(void)unused;
	((void (*)(void))(uintptr_t)code)();
	return 0;
}

static uint64_t divide(void *unused)
{
	uint32_t quotient = 1, rest = 0;

	(void)unused;
	__asm__ volatile("div %2" : "+a"(quotient), "+d"(rest) : "r"(0));
	return quotient;
}

static uint64_t panic(void *unused)
{
	(void)unused;
	guest_panic("this is what a panic looks like", 1, 2);
}

static volatile uint64_t depth;

/* Not a tail call: what comes back is changed. */
static __attribute__((noinline)) uint64_t dig(uint64_t n)
{
	volatile uint64_t here[16];

	here[n % 16] = n;
	depth = n;
	return n + 1 == 0 ? 0 : dig(n + 1) + here[n % 16];
}

static uint64_t overflow(void *unused)
{
	(void)unused;
	return dig(0);
}

int guest_main(const struct boot_info *boot)
{
	static uint64_t (*const fault[])(void *) = {write_text, read_private, run_data, divide, panic, overflow};
	uint64_t which = text_option(boot->cmdline, "case", 0);

	if (which == 6)
		overflow(NULL);
	if (which == 7 && smp_start(overflow, NULL))
		smp_join();
	if (which < sizeof(fault) / sizeof(fault[0]))
		ring3_call(fault[which], NULL);
	console_print("trap: nothing happened\n");
	return GUEST_FAILED;
}
