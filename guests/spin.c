/* spin: never ends by itself. */
#include "guests/runtime/console.h"
#include "guests/runtime/cpu.h"
#include "guests/runtime/guest.h"
#include "guests/runtime/ring3.h"

static _Noreturn uint64_t spin(void *unused)
{
	(void)unused;
	for (;;)
		cpu_relax();
}

int guest_main(const struct boot_info *boot)
{
	(void)boot;
	console_print("spin: for ever\n");
	ring3_call(spin, NULL);
	return GUEST_FAILED;
}
