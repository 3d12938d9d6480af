/* triple_fault: an exception without an IDT. The CPU shuts down, and the machine resets. */
#include "guests/runtime/console.h"
#include "guests/runtime/guest.h"

int guest_main(const struct boot_info *boot)
{
	struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) none = {0, 0};

	(void)boot;
	console_print("triple_fault: now\n");
	__asm__ volatile("lidt %0; ud2" ::"m"(none));
	console_print("triple_fault: the guest is still here\n");
	return GUEST_FAILED;
}
