/* crew.c: a job is published by raising its number; the crew spins on that.
 *
 * Whoever takes part says so and waits for all who do, so that the cycles that
 * are counted are those of the work, with everybody at it. */
#include "guests/runtime/crew.h"

#include <stddef.h>

#include "guests/runtime/acpi.h"
#include "guests/runtime/cpu.h"
#include "guests/runtime/ring3.h"
#include "guests/runtime/smp.h"

static struct crew {
	unsigned size;
	unsigned number, next_cpu, ready, through; /* atomics; number: of the job */
	unsigned cpus;				   /* that take part */
	crew_task *task;			   /* NULL: go */
	void *arg;
	uint64_t cycles[ACPI_CPUS_MAX];
} crew;

static void take_part(unsigned cpu)
{
	uint64_t start;

	__atomic_add_fetch(&crew.ready, 1, __ATOMIC_ACQ_REL);
	while (__atomic_load_n(&crew.ready, __ATOMIC_ACQUIRE) < crew.cpus)
		cpu_relax();
	start = cpu_cycles();
	crew.task(crew.arg, cpu);
	crew.cycles[cpu] = cpu_cycles() - start;
}

/* Ring 3, every CPU but the first. Who takes no part says that it is through all
 * the same: the next job is written only when nobody reads this one. */
static uint64_t follow(void *unused)
{
	unsigned cpu = __atomic_add_fetch(&crew.next_cpu, 1, __ATOMIC_ACQ_REL), seen = 0, number;

	(void)unused;
	for (;; seen = number) {
		while ((number = __atomic_load_n(&crew.number, __ATOMIC_ACQUIRE)) == seen)
			cpu_relax();
		if (!crew.task)
			return 0;
		if (cpu < crew.cpus)
			take_part(cpu);
		__atomic_add_fetch(&crew.through, 1, __ATOMIC_ACQ_REL);
	}
}

/* Ring 3, the first CPU. */
static uint64_t lead(void *unused)
{
	(void)unused;
	__atomic_store_n(&crew.ready, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&crew.through, 0, __ATOMIC_RELAXED);
	__atomic_add_fetch(&crew.number, 1, __ATOMIC_RELEASE);
	if (!crew.task)
		return 0;
	take_part(0);
	while (__atomic_load_n(&crew.through, __ATOMIC_ACQUIRE) < crew.size - 1)
		cpu_relax();
	return 0;
}

unsigned crew_start(void)
{
	crew.size = 1 + smp_start(follow, NULL);
	return crew.size;
}

uint64_t crew_run(unsigned cpus, crew_task *task, void *arg)
{
	uint64_t most = 0;

	crew.cpus = cpus;
	crew.task = task;
	crew.arg = arg;
	ring3_call(lead, NULL);
	for (unsigned i = 0; i < cpus; i++)
		if (crew.cycles[i] > most)
			most = crew.cycles[i];
	return most;
}

bool crew_end(void)
{
	crew.task = NULL;
	ring3_call(lead, NULL);
	return smp_join();
}
