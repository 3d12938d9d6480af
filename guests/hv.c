/* hv: what mm/pagetable builds, the second-level walker of this CPU reads as the library means it.
 *
 * A small hypervisor: it runs an inner guest on second-level tables, by VMX with
 * EPT or by SVM with NPT, whichever the CPU has. What to build, to change and to
 * probe, and what must come of each probe, is in a script that the boot loader
 * put into memory (guests/hv/script.h); tests/oracle/ writes it and holds the
 * theory. On a CPU that has neither, hv says so and fails.
 *
 * All of it is ring 0: it runs where a CPU is emulated whole. */
#include "guests/hv/arena.h"
#include "guests/hv/inner.h"
#include "guests/hv/probe.h"
#include "guests/hv/script.h"
#include "guests/runtime/boot_info.h"
#include "guests/runtime/console.h"
#include "guests/runtime/cpu.h"
#include "guests/runtime/guest.h"
#include "guests/runtime/memory.h"
#include "guests/runtime/string.h"

#define LEAF_FEATURES	1u
#define FEATURE_VMX	(1u << 5) /* ECX */
#define LEAF_AMD	0x80000001u
#define FEATURE_SVM	(1u << 2) /* ECX */

#define ENOUGH		4u /* differences, where one is all that is wanted */

#define EPTP_WRITE_BACK UINT64_C(6)
#define EPTP_LEVELS	(UINT64_C(3) << 3) /* one less than 4 */
#define EPTP_MARKS	(UINT64_C(1) << 6)

static const struct inner_cpu *cpu;
static const struct hv_header *const header = (const struct hv_header *)HV_SCRIPT;
static struct pagetable table;
static struct arena arena;
static uint64_t probes, differences;

/* By CPUID: NULL iff neither is there. */
static const struct inner_cpu *cpu_here(void)
{
	if (cpu_id(LEAF_FEATURES).ecx & FEATURE_VMX)
		return &vmx_cpu;
	return cpu_id(LEAF_AMD).ecx & FEATURE_SVM ? &svm_cpu : NULL;
}

static const uint8_t *page(uint64_t n)
{
	return (const uint8_t *)header + header->pages_at + n * FRAME_BYTES;
}

static bool says(const struct hv_step *step, const char *what, uint64_t is, uint64_t must)
{
	if (is == must)
		return true;
	console_print("hv: step %u, kind %u: %s is 0x%lx and must be 0x%lx\n", step->number, step->kind, what, is,
		      must);
	return false;
}

/* SDM 25.6.11; nCR3 is the root alone. */
static uint64_t pointer_to(uint64_t root, bool marks)
{
	if (header->format != PAGETABLE_EPT)
		return root;
	return root | EPTP_LEVELS | EPTP_WRITE_BACK | (marks ? EPTP_MARKS : 0);
}

/* What the library makes of the capability word of this CPU. */
static bool pointer_same(const struct hv_step *step, uint64_t must)
{
	struct pagetable_config limits = {.format = PAGETABLE_EPT};
	uint64_t is = 0;

	if (header->format != PAGETABLE_EPT)
		return true;
	pagetable_ept_limits(cpu->capability(), &limits);
	return says(step, "pagetable_eptp()", pagetable_eptp(&table, cpu->capability(), step->table.marks, &is),
		    MM_OK) &&
	       says(step, "the EPTP", is, must) && says(step, "the largest leaf", limits.leaf_max, PAGETABLE_1G) &&
	       says(step, "execute-only", limits.execute_only, true);
}

static bool table_new(const struct hv_step *step)
{
	struct pagetable_config config = arena_config(header, &step->table, (void *)(uintptr_t)HV_ARENA, &arena);

	uint64_t pointer;

	memset((void *)(uintptr_t)HV_ARENA, 0, HV_ARENA_FRAMES * FRAME_BYTES);
	memset(&arena, 0, sizeof(arena));
	if (!says(step, "pagetable_init()", pagetable_init(&table, &config), MM_OK))
		return false;
	pointer = pointer_to(pagetable_root_address(&table), step->table.marks);
	probe_table(&step->table, pointer);
	return pointer_same(step, pointer);
}

static bool pages_same(const struct hv_step *step)
{
	const uint64_t *is = (const uint64_t *)HV_ARENA;
	const uint64_t *must = (const uint64_t *)(const void *)page(step->table.page);

	for (uint64_t i = 0; i < step->table.pages * FRAME_BYTES / sizeof(*is); i++)
		if (is[i] != must[i]) {
			console_print("hv: step %u: the table differs from the host's at 0x%lx: 0x%lx, not 0x%lx\n",
				      step->number, HV_ARENA + i * sizeof(*is), is[i], must[i]);
			return false;
		}
	return says(step, "pagetable_check()", pagetable_check(&table), true);
}

static bool pages_load(const struct hv_step *step)
{
	memset((void *)(uintptr_t)HV_ARENA, 0, HV_ARENA_FRAMES * FRAME_BYTES);
	memcpy((void *)(uintptr_t)HV_ARENA, page(step->table.page), step->table.pages * FRAME_BYTES);
	probe_table(&step->table, pointer_to(step->table.root, step->table.marks));
	return true;
}

static enum mm_err change(const struct hv_step *step, struct pagetable_flush *flush)
{
	const struct hv_change *c = &step->change;
	struct pagetable_attr attr = {c->rights, (enum pagetable_memory)c->memory};

	switch (step->kind) {
	case HV_UNMAP:
		return pagetable_unmap(&table, c->in, c->bytes, flush);
	case HV_PROTECT:
		return pagetable_protect(&table, c->in, c->bytes, attr, flush);
	default:
		return pagetable_map(&table, c->in, c->out, c->bytes, attr);
	}
}

struct heard { /* what a harvest tells */
	uint64_t leaves, sum;
};

static void hear(void *self, const struct pagetable_leaf *leaf)
{
	unsigned marks = (leaf->accessed ? PAGETABLE_ACCESSED : 0u) | (leaf->dirty ? PAGETABLE_DIRTY : 0u);
	struct heard *heard = self;

	heard->leaves++;
	heard->sum = hv_leaf_sum(heard->sum, leaf->in, leaf->size, marks);
}

static bool harvest_same(const struct hv_step *step)
{
	const struct hv_change *c = &step->change;
	struct pagetable_flush flush = {0};
	struct heard heard = {0};
	struct pagetable_marked tell = {&heard, hear};
	enum mm_err e = pagetable_harvest(&table, c->in, c->bytes, c->clear, &tell, &flush);

	if (flush.first != flush.end)
		probe_flush();
	pagetable_flushed(&table);
	return says(step, "pagetable_harvest()", e, MM_OK) &&
	       says(step, "the number of marked leaves", heard.leaves, c->told) &&
	       says(step, "the sum of marked leaves", heard.sum, c->checked);
}

static bool change_same(const struct hv_step *step)
{
	struct pagetable_flush flush = {0};
	bool good =
		says(step, "the library's answer", change(step, &flush), step->kind == HV_REFUSED ? MM_EINVAL : MM_OK);

	if (flush.first != flush.end || pagetable_stats_read(&table).retired > 0)
		probe_flush();
	pagetable_flushed(&table);
	return good;
}

static bool step_run(const struct hv_step *step)
{
	switch (step->kind) {
	case HV_TABLE:
		return table_new(step);
	case HV_LOAD:
		return pages_load(step);
	case HV_SAME:
		return pages_same(step);
	case HV_MARK:
	case HV_POKE:
		return probe_write(step);
	case HV_PEEK:
		return probe_peek(step);
	case HV_PROBE:
		probes++;
		return probe_run(step);
	case HV_HARVEST:
		return harvest_same(step);
	default:
		return change_same(step);
	}
}

/* A table with a mistake in it may lead anywhere: a script that is only to find it ends once it is found. */
static void script_run(void)
{
	const struct hv_step *step = (const struct hv_step *)(header + 1);

	for (uint32_t i = 0; i < header->steps && !(header->blind && differences >= ENOUGH); i++)
		if (!step_run(&step[i]) && (!header->blind || step[i].kind == HV_PROBE))
			differences++;
}

int guest_main(const struct boot_info *boot)
{
	(void)boot;
	cpu = cpu_here();
	if (!cpu) {
		console_print("hv: this CPU has neither VMX nor SVM\n");
		return GUEST_FAILED;
	}
	if (memory_end() < HV_DATA_END || header->magic != HV_MAGIC) {
		console_print("hv: there is no script in memory, or less than 256 MiB\n");
		return GUEST_FAILED;
	}
	memory_take(HV_ARENA >> FRAME_SHIFT, HV_DATA_END >> FRAME_SHIFT);
	if (!cpu->start())
		return GUEST_FAILED;
	probe_init(cpu, header);
	script_run();
	console_print("hv: %s: %lu probes, %lu differences\n", cpu->name, probes, differences);
	return differences == 0 ? GUEST_OK : GUEST_FAILED;
}
