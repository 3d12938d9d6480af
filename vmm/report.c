#include "vmm/report.h"

#include <jansson.h>
#include <limits.h>
#include <string.h>

#include "vmm/report_devices.h"
#include "vmm/report_memory.h"
#include "vmm/zones.h"

static json_int_t number(uint64_t n)
{
	return (json_int_t)n;
}

/* Paths are bytes and JSON is UTF-8: what is none is shown with a question mark for each foreign byte. */
static json_t *text(const char *s)
{
	json_t *as_it_is = json_string(s);
	char plain[PATH_MAX];
	size_t i = 0;

	if (as_it_is)
		return as_it_is;
	for (; s[i] && i + 1 < sizeof(plain); i++)
		plain[i] = (unsigned char)s[i] < 0x80 ? s[i] : '?';
	plain[i] = '\0';
	return json_string(plain);
}

static json_t *report_blocks(const struct vm *vm)
{
	const struct dma_ram *pins = vm->dma_ram;
	json_t *list = json_array();

	for (uint32_t i = 0; i < vm->guest.blocks; i++) {
		const struct block *b = &vm->guest.block[i];

		json_array_append_new(list, json_pack("{s:i, s:I, s:I}", "node", (int)b->pool->node, "first_frame",
						      number(b->first.n), "bytes", number(b->bytes)));
	}
	for (uint32_t i = 0; pins && i < pins->blocks; i++) {
		uint64_t most = __atomic_load_n(&pins->block[i].most, __ATOMIC_RELAXED);

		if (most) /* most blocks of a guest in pieces never see a device */
			json_object_set_new(json_array_get(list, pins->block[i].number), "pinned_bytes_max",
					    json_integer(number(most)));
	}
	return list;
}

static json_t *report_ranges(const struct vm *vm)
{
	json_t *list = json_array();
	struct pagetable_run run;

	for (uint64_t at = 0; pagetable_next_run(&vm->table, at, &run); at = run.in + run.bytes)
		json_array_append_new(list, json_pack("{s:I, s:I, s:I, s:b}", "gpa", number(run.in), "bytes",
						      number(run.bytes), "first_frame", number(run.out / FRAME_BYTES),
						      "readonly", !(run.attr.rights & PAGETABLE_WRITE)));
	return list;
}

static json_t *report_faults(const struct vm *vm)
{
	return json_pack("{s:I, s:I, s:I}", "reads", number(atomic_load(&vm->faults.count[FAULT_READ])), "writes",
			 number(atomic_load(&vm->faults.count[FAULT_WRITE])), "fetches",
			 number(atomic_load(&vm->faults.count[FAULT_FETCH])));
}

static json_t *report_table(const struct vm *vm)
{
	struct pagetable_stats s = pagetable_stats_read(&vm->table);

	return json_pack("{s:s, s:o, s:I, s:I}", "format", vm->table.config.format == PAGETABLE_EPT ? "ept" : "npt",
			 "leaves", report_leaves(s.leaves), "bytes", number(s.tables * FRAME_BYTES), "tlb_reach_bytes",
			 number(vm_tlb_reach(vm)));
}

static json_t *report_slots(const struct vm *vm)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < vm->slots.count; i++) {
		const struct slot *s = &vm->slots.slot[i];

		json_array_append_new(list,
				      json_pack("{s:I, s:I, s:I, s:b}", "id", number(s->id), "gpa", number(s->gpa),
						"bytes", number(s->bytes), "readonly", s->readonly));
	}
	return list;
}

static json_t *report_exits(const struct vm *vm)
{
	json_t *exits = json_object();

	for (unsigned reason = 0; reason < VCPU_EXITS; reason++) {
		const char *name = vcpu_exit_name(reason);
		uint64_t count = 0;

		for (unsigned i = 0; i < vm->cpus; i++)
			count += __atomic_load_n(&vm->cpu[i]->exits[reason], __ATOMIC_RELAXED);
		if (count) /* several reasons may share the name "other" */
			json_object_set_new(
				exits, name,
				json_integer(json_integer_value(json_object_get(exits, name)) + number(count)));
	}
	return exits;
}

/* null: not yet. */
static json_t *milliseconds(bool known, uint64_t from, uint64_t to)
{
	return known ? json_real((double)(to - from) / 1e6) : json_null();
}

static json_t *report_times(const struct report_facts *facts, uint64_t now)
{
	const uint64_t start = facts->start_ns, first = atomic_load(&facts->vm->first_instruction_ns);

	return json_pack("{s:o, s:o, s:o}", "to_first_instruction", milliseconds(first, start, first), "to_report",
			 milliseconds(true, start, now), "to_end",
			 milliseconds(!facts->running, start, facts->running ? 0 : facts->vm->end_ns));
}

static json_t *report_end(const struct report_facts *facts)
{
	const struct vm *vm = facts->vm;
	enum vm_how how = facts->running ? VM_RUNNING : (enum vm_how)atomic_load(&vm->how);
	json_t *end = json_pack("{s:s, s:o}", "how", vm_how_name(how), "code",
				facts->running ? json_null() : json_integer(facts->code));

	if (how == VM_DEBUG_EXIT || how == VM_SIGNAL || how == VM_PANIC)
		json_object_set_new(end, "value", json_integer(number(vm->end_value)));
	if (how == VM_INTERNAL || how == VM_FAULT || how == VM_REFUSED)
		json_object_set_new(end, "why", text(vm->end_failure.text));
	return end;
}

static json_t *report_of(const struct report_facts *facts)
{
	const struct vm *vm = facts->vm;
	const uint64_t now = loop_now();
	struct report_truth *truth = report_truth_read(vm, facts->resident);
	json_t *image =
		json_pack("{s:o, s:s}", "path", text(facts->options->image), "format", boot_format_name(facts->format));
	json_t *report =
		json_pack("{s:s*, s:o, s:s, s:i, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:I, s:o, s:o, s:o}",
			  "name", facts->options->name, "image", image, "kvm", kvm_module_name(vm->kvm.module), "cpus",
			  (int)vm->cpus, "memory", report_memory(vm, truth), "zones", report_zones(vm, truth),
			  "latency", report_latency(vm, truth), "blocks", report_blocks(vm), "ranges",
			  report_ranges(vm), "table", report_table(vm), "memslots", report_slots(vm), "devices",
			  report_devices(vm), "exits", report_exits(vm), "strays", number(atomic_load(&vm->strays)),
			  "faults", report_faults(vm), "times_ms", report_times(facts, now), "end", report_end(facts));

	report_truth_free(vm, truth);
	return report;
}

char *report_text(const struct report_facts *facts, size_t room, size_t *bytes, struct failure *f)
{
	const size_t how = JSON_INDENT(2) | JSON_REAL_PRECISION(6);
	json_t *report = report_of(facts);
	const size_t length = report ? json_dumpb(report, NULL, 0, how) : 0;
	char *all = length ? memory_alloc(facts->vm->memory, length + 1 > room ? length + 1 : room) : NULL;

	if (all) {
		(void)json_dumpb(report, all, length, how);
		all[length] = '\n';
		*bytes = length + 1;
	} else {
		fail(f, EXIT_HOST, "the report cannot be written: no memory");
	}
	json_decref(report);
	return all;
}
