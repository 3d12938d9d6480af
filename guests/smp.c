/* smp: all CPUs of the MADT come up, and share one memory: a counter that all
 * of them raise at once by atomic additions ends at exactly their sum. */
#include "guests/runtime/smp.h"
#include "guests/runtime/acpi.h"
#include "guests/runtime/console.h"
#include "guests/runtime/guest.h"
#include "guests/runtime/ring3.h"

#define ADDITIONS 100000u

static struct shared {
	unsigned go; /* atomic, as is the counter */
	uint64_t counter;
} shared;

/* Ring 3, on every CPU. The others wait for the boot CPU, so that all add at once. */
static uint64_t add(void *arg)
{
	struct shared *s = arg;

	while (!__atomic_load_n(&s->go, __ATOMIC_SEQ_CST))
		__builtin_ia32_pause();
	for (unsigned i = 0; i < ADDITIONS; i++)
		__atomic_add_fetch(&s->counter, 1, __ATOMIC_SEQ_CST);
	return 0;
}

int guest_main(const struct boot_info *boot)
{
	unsigned listed = acpi_cpus()->count, cpus;

	(void)boot;
	cpus = 1 + smp_start(add, &shared);
	__atomic_store_n(&shared.go, 1, __ATOMIC_SEQ_CST);
	ring3_call(add, &shared);
	if (!smp_join()) {
		console_print("smp: a CPU came up and did not finish\n");
		return GUEST_FAILED;
	}
	if (listed > 0 && cpus != listed) {
		console_print("smp: the MADT lists %u CPUs, and %u came up\n", listed, cpus);
		return GUEST_FAILED;
	}
	if (shared.counter != (uint64_t)cpus * ADDITIONS) {
		console_print("smp: the counter is %lu after %u CPUs added %u each\n", shared.counter, cpus, ADDITIONS);
		return GUEST_FAILED;
	}
	console_print("smp: ok %u CPUs, counter %lu\n", cpus, shared.counter);
	return GUEST_OK;
}
