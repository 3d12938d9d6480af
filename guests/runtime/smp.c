/* smp.c: INIT, SIPI, SIPI (Intel SDM vol. 3A, 11.4.4), one CPU at a time.
 *
 * One at a time, so that what a CPU needs at its start (tables, stack) can lie
 * at fixed addresses, which real mode can name. The times that the manual asks
 * between the messages are for real chips; here the boot CPU waits for the
 * answer instead, and repeats the SIPI if none comes. All waiting is done in
 * ring 3 (see ring3.h) and bounded by the cycle counter. */
#include "guests/runtime/smp.h"

#include "guests/runtime/acpi.h"
#include "guests/runtime/cpu.h"
#include "guests/runtime/guest.h"
#include "guests/runtime/memory.h"
#include "guests/runtime/paging.h"
#include "guests/runtime/ring3.h"
#include "guests/runtime/string.h"

#define MSR_APIC_BASE  0x1bu
#define MSR_X2APIC_ID  0x802u
#define MSR_X2APIC_ICR 0x830u
#define APIC_BASE_X2   (1u << 10)
#define APIC_ID	       UINT64_C(0xfee00020)
#define APIC_ICR_LOW   UINT64_C(0xfee00300)
#define APIC_ICR_HIGH  UINT64_C(0xfee00310)
#define ICR_PENDING    (1u << 12)
#define ICR_INIT       0x4500u
#define ICR_SIPI       0x4600u

#define STACK_FRAMES   4u
/* struct cpu; then a guard and the ring-0 stack; a guard and the ring-3 stack; the stack for double faults. */
#define RING0_GUARD    1u
#define RING0_END      (RING0_GUARD + 1u + STACK_FRAMES)
#define RING3_GUARD    RING0_END
#define RING3_END      (RING3_GUARD + 1u + STACK_FRAMES)
#define CPU_FRAMES     (RING3_END + 1u)
#define SIPI_CYCLES    (UINT64_C(1) << 28) /* a tenth of a second or so, then once more */
#define GIVE_UP_CYCLES (UINT64_C(1) << 34) /* some seconds: emulated CPUs are slow */

/* For the CPU that starts now; trampoline.S reads the first two. */
uint32_t smp_next_tables, smp_next_stack;
_Noreturn void smp_ap_start(void);
extern const uint8_t trampoline_start[], trampoline_end[];

static struct cpu *next_cpu;
static uint64_t (*work)(void *);
static void *work_arg;
static unsigned up, done, expected; /* the first two: atomics */

struct wait {
	const unsigned *counter;
	unsigned value;
	uint64_t cycles;
};

_Static_assert(sizeof(struct cpu) <= FRAME_BYTES, "");
_Static_assert(2 * SMP_FRAMES_A_GUARD == CPU_FRAMES, "paging.c sets aside tables for that");

static uint8_t *end_of(struct cpu *c, unsigned frames)
{
	return (uint8_t *)c + FRAME_BYTES * frames;
}

_Noreturn void smp_ap_start(void)
{
	struct cpu *self = next_cpu;

	cpu_init(self, end_of(self, RING3_END), end_of(self, CPU_FRAMES));
	__atomic_add_fetch(&up, 1, __ATOMIC_SEQ_CST);
	ring3_call(work, work_arg);
	__atomic_add_fetch(&done, 1, __ATOMIC_SEQ_CST);
	cpu_stop();
}

/* Ring 3. 1 iff the counter reached the value in time. */
static uint64_t wait_here(void *arg)
{
	const struct wait *w = arg;
	uint64_t start = cpu_cycles();

	while (__atomic_load_n(w->counter, __ATOMIC_SEQ_CST) < w->value) {
		if (cpu_cycles() - start > w->cycles)
			return 0;
		cpu_relax();
	}
	return 1;
}

static bool wait_for(const unsigned *counter, unsigned value, uint64_t cycles)
{
	static struct wait w; /* where ring 3 can read it: the stack here is private */

	w = (struct wait){counter, value, cycles};
	return ring3_call(wait_here, &w) == 1;
}

static volatile uint32_t *apic(uint64_t reg)
{
	return (volatile uint32_t *)(uintptr_t)reg;
}

static void apic_init(void)
{
	if (cpu_features()->x2apic)
		msr_write(MSR_APIC_BASE, msr_read(MSR_APIC_BASE) | APIC_BASE_X2);
}

static uint32_t apic_self(void)
{
	return cpu_features()->x2apic ? (uint32_t)msr_read(MSR_X2APIC_ID) : *apic(APIC_ID) >> 24;
}

static void apic_send(uint32_t target, uint32_t command)
{
	if (cpu_features()->x2apic) {
		msr_write(MSR_X2APIC_ICR, (uint64_t)target << 32 | command);
		return;
	}
	*apic(APIC_ICR_HIGH) = target << 24;
	*apic(APIC_ICR_LOW) = command;
	while (*apic(APIC_ICR_LOW) & ICR_PENDING)
		cpu_relax();
}

static bool start_one(uint32_t target, uint32_t vector)
{
	unsigned before = __atomic_load_n(&up, __ATOMIC_SEQ_CST);

	next_cpu = (struct cpu *)(uintptr_t)(memory_carve_high(CPU_FRAMES).n << FRAME_SHIFT);
	memset(next_cpu, 0, sizeof(*next_cpu));
	smp_next_stack = (uint32_t)(uintptr_t)end_of(next_cpu, RING0_END);
	paging_guard((uintptr_t)end_of(next_cpu, RING0_GUARD), "another CPU's ring-0 stack");
	paging_guard((uintptr_t)end_of(next_cpu, RING3_GUARD), "another CPU's ring-3 stack");
	paging_load();
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	apic_send(target, ICR_INIT);
	apic_send(target, ICR_SIPI | vector);
	if (wait_for(&up, before + 1, SIPI_CYCLES))
		return true;
	apic_send(target, ICR_SIPI | vector);
	return wait_for(&up, before + 1, GIVE_UP_CYCLES);
}

static uint32_t trampoline_place(void)
{
	struct pfn frame = memory_carve(1);

	if (frame.n > 0xff)
		guest_panic("no frame is left below 1 MiB to start other CPUs", frame.n, 0);
	memcpy((void *)(uintptr_t)(frame.n << FRAME_SHIFT), trampoline_start,
	       (size_t)(trampoline_end - trampoline_start));
	return (uint32_t)frame.n;
}

unsigned smp_start(uint64_t (*fn)(void *), void *arg)
{
	const struct acpi_cpus *cpus = acpi_cpus();
	uint32_t vector, self;

	if (cpus->count < 2)
		return 0;
	work = fn;
	work_arg = arg;
	smp_next_tables = (uint32_t)pagetable_root_address(paging_table());
	apic_init();
	self = apic_self();
	vector = trampoline_place();
	for (unsigned i = 0; i < cpus->count; i++)
		if (cpus->apic[i] != self && start_one(cpus->apic[i], vector))
			expected++;
	return expected;
}

bool smp_join(void)
{
	return wait_for(&done, expected, GIVE_UP_CYCLES);
}
