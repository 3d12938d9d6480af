/* smp: all CPUs of the MADT come up, and share one memory: a counter that all
 * of them raise at once by atomic additions ends at exactly their sum. */
#include "guests/runtime/smp.h"
#include "guests/runtime/acpi.h"
#include "guests/runtime/console.h"
#include "guests/runtime/guest.h"
#include "guests/runtime/ring3.h"

/* In rounds, all waiting for all before each: a host may keep two CPUs on one
 * core for its first milliseconds, and then nothing would be at once. */
#define ROUNDS	  20u
#define ADDITIONS 5000u /* of each CPU in each round */

static struct shared { /* atomics all */
	unsigned cpus; /* that came up; 0: not known yet */
	unsigned ready;
	uint64_t counter;
} shared;

static void meet(struct shared *s, unsigned round)
{
	unsigned cpus;

	__atomic_add_fetch(&s->ready, 1, __ATOMIC_SEQ_CST);
	do {
		__builtin_ia32_pause();
		cpus = __atomic_load_n(&s->cpus, __ATOMIC_SEQ_CST);
	} while (cpus == 0 || __atomic_load_n(&s->ready, __ATOMIC_SEQ_CST) < cpus * (round + 1));
}

/* Ring 3, on every CPU. */
static uint64_t add(void *arg)
{
	struct shared *s = arg;

	for (unsigned round = 0; round < ROUNDS; round++) {
		meet(s, round);
		for (unsigned i = 0; i < ADDITIONS; i++)
			__atomic_add_fetch(&s->counter, 1, __ATOMIC_SEQ_CST);
	}
	return 0;
}

int guest_main(const struct boot_info *boot)
{
	unsigned listed = acpi_cpus()->count, cpus;

	(void)boot;
	cpus = 1 + smp_start(add, &shared);
	__atomic_store_n(&shared.cpus, cpus, __ATOMIC_SEQ_CST);
	ring3_call(add, &shared);
	if (!smp_join()) {
		console_print("smp: a CPU came up and did not finish\n");
		return GUEST_FAILED;
	}
	if (listed > 0 && cpus != listed) {
		console_print("smp: the MADT lists %u CPUs, and %u came up\n", listed, cpus);
		return GUEST_FAILED;
	}
	if (shared.counter != (uint64_t)cpus * ROUNDS * ADDITIONS) {
		console_print("smp: the counter is %lu after %u CPUs added %u each\n", shared.counter, cpus,
			      ROUNDS * ADDITIONS);
		return GUEST_FAILED;
	}
	console_print("smp: ok %u CPUs, counter %lu\n", cpus, shared.counter);
	return GUEST_OK;
}
