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

#define LEAF_FEATURES 1u
#define FEATURE_VMX   (1u << 5) /* ECX */
#define LEAF_AMD      0x80000001u
#define FEATURE_SVM   (1u << 2) /* ECX */

static const struct hv_header *const header = (const struct hv_header *)HV_SCRIPT;
static struct pagetable table;
static struct arena arena;
static uint64_t probes, differences;

const struct inner_cpu *inner_cpu_here(void)
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

static bool table_new(const struct hv_step *step)
{
	struct pagetable_config config = arena_config(header, &step->table, (void *)(uintptr_t)HV_ARENA, &arena);

	memset((void *)(uintptr_t)HV_ARENA, 0, HV_ARENA_FRAMES * FRAME_BYTES);
	memset(&arena, 0, sizeof(arena));
	if (!says(step, "pagetable_init()", pagetable_init(&table, &config), MM_OK))
		return false;
	probe_table(&step->table, pagetable_root_address(&table));
	return true;
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
	return true;
}

static bool pages_load(const struct hv_step *step)
{
	memset((void *)(uintptr_t)HV_ARENA, 0, HV_ARENA_FRAMES * FRAME_BYTES);
	memcpy((void *)(uintptr_t)HV_ARENA, page(step->table.page), step->table.pages * FRAME_BYTES);
	probe_table(&step->table, step->table.root);
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

static bool change_same(const struct hv_step *step)
{
	struct pagetable_flush flush = {0};
	bool good =
		says(step, "the library's answer", change(step, &flush), step->kind == HV_REFUSED ? MM_EINVAL : MM_OK);

	if (flush.first != flush.end || pagetable_stats_read(&table).retired > 0)
		probe_flush();
	pagetable_flushed(&table);
	return says(step, "pagetable_check()", pagetable_check(&table), true) && good;
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
	default:
		return change_same(step);
	}
}

int guest_main(const struct boot_info *boot)
{
	const struct inner_cpu *cpu = inner_cpu_here();
	const struct hv_step *step = (const struct hv_step *)(header + 1);

	(void)boot;
	if (!cpu) {
		console_print("hv: this CPU has neither VMX nor SVM\n");
		return GUEST_FAILED;
	}
	memory_take(HV_ARENA >> FRAME_SHIFT, HV_DATA_END >> FRAME_SHIFT);
	if (header->magic != HV_MAGIC || !cpu->start()) {
		console_print("hv: there is no script, or %s cannot start\n", cpu->name);
		return GUEST_FAILED;
	}
	probe_init(cpu, header);
	for (uint32_t i = 0; i < header->steps; i++)
		differences += !step_run(&step[i]);
	console_print("hv: %s: %lu probes, %lu differences\n", cpu->name, probes, differences);
	return differences == 0 ? GUEST_OK : GUEST_FAILED;
}
