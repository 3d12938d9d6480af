#include "vmm/fault.h"

#include <inttypes.h>
#include <stdio.h>

#define NS_A_SECOND UINT64_C(1000000000)

void fault_ask_table(struct fault *f, const struct pagetable *table)
{
	struct pagetable_leaf leaf;

	f->format = table->config.format;
	f->mapped = pagetable_walk(table, f->gpa, &leaf);
	f->rights = f->mapped ? leaf.attr.rights : 0;
}

static const char *rights_text(const struct fault *f)
{
	static const char *const texts[] = {
		"is not readable, writable or executable",  "is readable, not writable or executable",
		"is writable, not readable or executable",  "is readable and writable, not executable",
		"is executable, not readable or writable",  "is readable and executable, not writable",
		"is writable and executable, not readable", "is readable, writable and executable",
	};

	return f->mapped ? texts[f->rights & (PAGETABLE_READ | PAGETABLE_WRITE | PAGETABLE_EXEC)]
			 : "is not mapped: a guard";
}

void fault_describe(const struct fault *f, char *text)
{
	static const char *const accesses[] = {"data read", "data write", "instruction fetch"};
	char bytes[32] = "", linear[64] = "";

	if (f->bytes)
		snprintf(bytes, sizeof(bytes), " of %u bytes", f->bytes);
	if (f->has_linear)
		snprintf(linear, sizeof(linear),
			 f->walk ? " for linear address 0x%" PRIx64 : ", linear address 0x%" PRIx64, f->linear);
	snprintf(text, FAULT_TEXT,
		 "%s on cpu %u: %s%s at guest address 0x%" PRIx64 "%s%s, which %s; rip 0x%" PRIx64 ", ring %u%s",
		 f->format == PAGETABLE_EPT ? "EPT violation" : "nested page fault", f->cpu, accesses[f->access], bytes,
		 f->gpa, f->walk ? " in a walk of the guest's page tables" : "", linear, rights_text(f), f->rip,
		 f->ring, f->rip_past ? " (or the instruction before: KVM tells a write when it is done)" : "");
}

bool fault_log_add(struct fault_log *log, enum fault_access access, uint64_t now_ns)
{
	uint64_t second = now_ns / NS_A_SECOND, was = atomic_load(&log->second);

	atomic_fetch_add(&log->count[access], 1);
	if (was != second && atomic_compare_exchange_strong(&log->second, &was, second))
		atomic_store(&log->lines, 0);
	return atomic_fetch_add(&log->lines, 1) < FAULT_LINES_A_SECOND;
}
