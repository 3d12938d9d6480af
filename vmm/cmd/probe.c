/* vmm/cmd/probe.c: `slat probe`: what this host can do and what slat would use. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysinfo.h>

#include "vmm/cmd/cmd.h"
#include "vmm/cpuid.h"
#include "vmm/host.h"
#include "vmm/kvm.h"
#include "vmm/memory.h"
#include "vmm/options.h"
#include "vmm/size.h"
#include "vmm/sys.h"

static const char help[] =
	"slat probe [--json]          what this host can do and what slat would use\n"
	"\n"
	"Exit code: 0 if slat run can work here, 8 if KVM cannot be used (the reason is on stderr).\n"
	"\n"
	"Example:  slat probe --json | jq .kvm\n";

struct probe {
	struct failure kvm_failure; /* code 0: KVM works */
	enum kvm_module module;
	int cpus_max, slots_max;
	bool readonly, deadline, intel;
	unsigned nodes;
	unsigned node[NUMA_NODES_MAX];
	uint64_t ram, huge_total, huge_free;
	char thp[32], shmem_thp[32];
};

static void probe_kvm(struct probe *p)
{
	struct kvm kvm;

	p->module = kvm_module_loaded();
	if (kvm_open(&kvm, kvm_path(), &p->kvm_failure))
		return;
	p->cpus_max = kvm_check(&kvm, KVM_CAP_MAX_VCPUS);
	p->slots_max = kvm_check(&kvm, KVM_CAP_NR_MEMSLOTS);
	p->readonly = kvm_check(&kvm, KVM_CAP_READONLY_MEM) > 0;
	p->deadline = kvm_check(&kvm, KVM_CAP_TSC_DEADLINE_TIMER) > 0;
	(void)kvm_require(&kvm, &p->kvm_failure);
	kvm_close(&kvm);
}

static void probe_memory(struct probe *p)
{
	struct failure ignored = {0};
	struct sysinfo info;
	struct numa numa;

	if (sysinfo(&info) == 0)
		p->ram = (uint64_t)info.totalram * info.mem_unit;
	if (!sys_choice(SYS_THP "enabled", p->thp, sizeof(p->thp)))
		strcpy(p->thp, "absent");
	if (!sys_choice(SYS_THP "shmem_enabled", p->shmem_thp, sizeof(p->shmem_thp)))
		strcpy(p->shmem_thp, "absent");
	sys_number(SYS_HUGETLB_2M "nr_hugepages", &p->huge_total);
	sys_number(SYS_HUGETLB_2M "free_hugepages", &p->huge_free);
	(void)numa_open(&numa, &ignored); /* without libnuma the nodes are still known */
	p->nodes = numa.nodes;
	memcpy(p->node, numa.node, sizeof(p->node));
	numa_close_library(&numa);
}

static const char *table_format(const struct probe *p)
{
	return p->intel ? "ept" : "npt";
}

static void print_text(const struct probe *p)
{
	bool interpreted = p->module == KVM_MODULE_PVM;

	printf("KVM            %s, module %s%s\n", p->kvm_failure.code ? "cannot be used" : kvm_path(),
	       kvm_module_name(p->module), interpreted ? " (no hardware help: ring 0 of a guest is interpreted)" : "");
	if (!p->kvm_failure.code)
		printf("  takes        %d vCPUs, %d memslots, read-only memory %s, TSC deadline timer %s\n",
		       p->cpus_max, p->slots_max, p->readonly ? "yes" : "no", p->deadline ? "yes" : "no");
	printf("memory         %" PRIu64 " MiB on %u node%s:", p->ram >> 20, p->nodes, p->nodes == 1 ? "" : "s");
	for (unsigned i = 0; i < p->nodes; i++)
		printf(" %u", p->node[i]);
	printf("\nhuge pages     transparent: %s (shared: %s); 2 MiB reserved: %" PRIu64 " free of %" PRIu64 "\n",
	       p->thp, p->shmem_thp, p->huge_free, p->huge_total);
	if (p->kvm_failure.code)
		return;
	printf("slat would use %s tables, leaves of %s by default, up to %d CPUs%s\n", p->intel ? "EPT" : "NPT",
	       strcmp(p->thp, "never") != 0 && strcmp(p->thp, "absent") != 0 ? "2M" : "4K",
	       p->cpus_max < OPTIONS_CPUS_MAX ? p->cpus_max : OPTIONS_CPUS_MAX,
	       interpreted ? "; without XSAVE, AVX and CMPXCHG16B" : "");
}

static int print_json(const struct probe *p, struct failure *f)
{
	json_t *nodes = json_array(), *all;
	int bad;

	for (unsigned i = 0; i < p->nodes; i++)
		json_array_append_new(nodes, json_integer(p->node[i]));
	all = json_pack("{s:{s:b, s:s, s:s*, s:b, s:i, s:i, s:b, s:b}, s:{s:I, s:o, s:s, s:s, s:I, s:I}, s:{s:s}}",
			"kvm", "usable", !p->kvm_failure.code, "module", kvm_module_name(p->module), "why",
			p->kvm_failure.code ? p->kvm_failure.text : NULL, "interpreted", p->module == KVM_MODULE_PVM,
			"cpus_max", p->cpus_max, "slots_max", p->slots_max, "readonly_memory", p->readonly,
			"tsc_deadline", p->deadline, "memory", "bytes", (json_int_t)p->ram, "nodes", nodes, "thp",
			p->thp, "shmem_thp", p->shmem_thp, "huge_2m_total", (json_int_t)p->huge_total, "huge_2m_free",
			(json_int_t)p->huge_free, "table", "format", table_format(p));
	bad = !all || json_dumpf(all, stdout, JSON_INDENT(2)) != 0 || putchar('\n') == EOF || fflush(stdout) != 0;
	json_decref(all);
	return bad ? fail(f, EXIT_HOST, "cannot write the report") : 0;
}

static int print_json_in_own(const struct probe *p, struct failure *f)
{
	struct memory memory;

	if (memory_open(&memory, f))
		return f->code;
	memory_lend_json(&memory);
	print_json(p, f);
	memory_close(&memory);
	return f->code;
}

int cmd_probe(int argc, char **argv)
{
	struct failure f = {0};
	struct probe p = {0};
	bool json = false;

	for (int i = 0; i < argc; i++) {
		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
			fputs(help, stdout);
			return EXIT_OK;
		}
		if (strcmp(argv[i], "--json") != 0) {
			fail(&f, EXIT_USAGE, "unknown option %.64s; slat probe --help lists them", argv[i]);
			return cmd_refuse(&f);
		}
		json = true;
	}
	p.intel = cpuid_host_is_intel();
	probe_kvm(&p);
	probe_memory(&p);
	if (json && print_json_in_own(&p, &f))
		return cmd_refuse(&f);
	if (!json)
		print_text(&p);
	return p.kvm_failure.code ? cmd_refuse(&p.kvm_failure) : EXIT_OK;
}
