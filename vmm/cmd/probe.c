/* vmm/cmd/probe.c: `slat probe`: what this host can do and what slat would use.
 * Facts are gathered first; then one line for each topic says what slat makes of them; then all is printed, for
 * people or as JSON, from the same struct. */
#include <inttypes.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysinfo.h>

#include "vmm/cmd/cmd.h"
#include "vmm/cpuid.h"
#include "vmm/devdax.h"
#include "vmm/host.h"
#include "vmm/kvm.h"
#include "vmm/latency.h"
#include "vmm/latency_table.h"
#include "vmm/limits.h"
#include "vmm/memory.h"
#include "vmm/numa_map.h"
#include "vmm/options.h"
#include "vmm/size.h"
#include "vmm/sys.h"

static const char help[] =
	"slat probe [options]         what this host can do and what slat would use\n"
	"\n"
	"KVM, CPUs, memory nodes, their distances and latencies, huge pages, device-dax,\n"
	"limits; below each, one line of what slat would do.\n"
	"\n"
	"  --json                     for programs\n"
	"  --latency                  measure from each node's CPUs to each node's memory: half a second\n"
	"                             a pair, up to 2 GiB at a time; else what firmware tells (HMAT)\n"
	"\n"
	"Exit code: 0 if slat run can work here, 2 usage, 6 the host refuses (what is to be read, measured or\n"
	"written cannot be), 8 if KVM cannot be used; the reason is on stderr.\n"
	"\n"
	"Example:  slat probe --json | jq .kvm\n";

#define DAX_MAX 32u

enum topic { KVM, CPUS, NODES, LATENCIES, HUGE, DAX, LIMITS, TOPICS };
static const char *const topic_names[TOPICS] = {"kvm",	      "cpus",	    "nodes", "latencies",
						"huge_pages", "device_dax", "limits"};

struct probe {
	struct failure kvm_failure; /* code 0: KVM works */
	enum kvm_module module;
	int cpus_max, slots_max;
	bool readonly, deadline, intel;
	uint64_t ram;
	char thp[32], shmem_thp[32];
	struct ids cpus; /* online, on any node, and allowed */
	struct numa numa;
	struct numa_map map;
	struct limits limits;
	struct latency measured;
	bool has_measured;
	unsigned daxes;
	struct devdax dax[DAX_MAX];
	char would[TOPICS][384]; /* what slat would do */
};

/* ---- facts ---- */

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

static void add_dax(void *self, const struct devdax *d)
{
	struct probe *p = self;

	if (p->daxes < DAX_MAX)
		p->dax[p->daxes++] = *d;
}

static int probe_memory(struct probe *p, bool measure, struct failure *f)
{
	struct failure ignored = {0};
	struct sysinfo info;

	if (sysinfo(&info) == 0)
		p->ram = (uint64_t)info.totalram * info.mem_unit;
	if (!sys_choice(SYS_THP "enabled", p->thp, sizeof(p->thp)))
		strcpy(p->thp, "absent");
	if (!sys_choice(SYS_THP "shmem_enabled", p->shmem_thp, sizeof(p->shmem_thp)))
		strcpy(p->shmem_thp, "absent");
	devdax_list("", add_dax, p);
	if (numa_map_read("", &p->map, f) || limits_read("", &p->limits, f))
		return f->code;
	for (unsigned i = 0; i < p->map.nodes; i++) {
		const struct ids cpus = numa_map_cpus(&p->map, i);

		for (unsigned cpu = ids_next(&cpus, 0); cpu != IDS_MAX; cpu = ids_next(&cpus, cpu + 1))
			ids_add(&p->cpus, cpu);
	}
	ids_keep(&p->cpus, &p->limits.cpus);
	if (numa_open(&p->numa, measure ? f : &ignored)) /* without libnuma the nodes are still known */
		return f->code;
	p->has_measured = measure && latency_measure(&p->numa, &p->map, &p->limits, &p->measured, f) == 0;
	numa_close_library(&p->numa);
	return f->code;
}

/* Measured, or else as firmware tells it; in ps, 0: not known. */
static uint32_t latency_of(const struct probe *p, unsigned from, unsigned to)
{
	if (p->has_measured)
		return p->measured.ps[from][to];
	return p->map.node[from].cpus ? p->map.latency_ps[from][to] : 0; /* nobody waits there */
}

static const char *latency_source(const struct probe *p)
{
	return latency_source_name(p->has_measured   ? LATENCY_MEASURED
				   : p->map.has_hmat ? LATENCY_HMAT
						     : LATENCY_UNKNOWN);
}

static struct numa_huge huge_of(const struct probe *p, enum numa_huge_size size)
{
	struct numa_huge all = {0};

	for (unsigned i = 0; i < p->map.nodes; i++) {
		all.total += p->map.node[i].huge[size].total;
		all.free += p->map.node[i].huge[size].free;
	}
	return all;
}

/* ---- what slat would do ---- */

static __attribute__((format(printf, 3, 4))) void would(struct probe *p, enum topic topic, const char *format, ...)
{
	const size_t had = strlen(p->would[topic]);
	va_list rest;

	va_start(rest, format);
	vsnprintf(p->would[topic] + had, sizeof(p->would[topic]) - had, format, rest);
	va_end(rest);
}

static const char *table_format(const struct probe *p)
{
	return p->intel ? "ept" : "npt";
}

static bool thp_given(const char *mode)
{
	return strcmp(mode, "never") != 0 && strcmp(mode, "deny") != 0 && strcmp(mode, "absent") != 0;
}

static void judge_kvm(struct probe *p)
{
	const int cpus = p->cpus_max < OPTIONS_CPUS_MAX ? p->cpus_max : OPTIONS_CPUS_MAX;
	const unsigned own = ids_count(&p->cpus);

	if (p->kvm_failure.code)
		would(p, KVM, "run no guest");
	else
		would(p, KVM, "build %s tables with leaves of %s by default, up to %d CPUs%s", p->intel ? "EPT" : "NPT",
		      thp_given(p->thp) ? "2M" : "4K", cpus,
		      p->module == KVM_MODULE_PVM ? "; without XSAVE, AVX and CMPXCHG16B" : "");
	would(p, CPUS, "run all threads on CPU%s %s; vCPUs beyond %u share them", own == 1 ? "" : "s",
	      ids_format(&p->cpus).s, own);
}

static void judge_nodes(struct probe *p)
{
	const unsigned node = numa_map_roomiest(&p->map, &p->limits.nodes);

	if (p->numa.nodes > 1)
		would(p, NODES, "put a guest on node %u, unless told otherwise: most is free there at this moment%s",
		      node, p->map.node[numa_map_place(&p->map, node)].cpus ? ", of nodes with CPUs" : "");
	else
		would(p, NODES, "have nothing to place: all memory is one node");
	if (p->has_measured)
		would(p, LATENCIES,
		      "hold a latency contract against these figures, kept by --json >FILE, with "
		      "slat run --latencies FILE");
	else if (p->map.has_hmat)
		would(p, LATENCIES, "hold a latency contract against these figures");
	else
		would(p, LATENCIES, "know no latency, as firmware tells none: slat probe --latency measures");
}

/* Where the kernel may make more than it keeps, nobody knows how many it will find memory for. */
static bool makes_more(const char *allowed, const char *made)
{
	uint64_t most = 0, there = 0;

	return sys_number(allowed, &most) && sys_number(made, &there) && there < most;
}

static void judge_reserve(struct probe *p)
{
	const uint64_t small = limits_huge_pages(&p->limits, &p->map, NUMA_HUGE_2M);
	const uint64_t giant = limits_huge_pages(&p->limits, &p->map, NUMA_HUGE_1G);

	if (small || giant)
		would(p, HUGE, "; take hugepages=on up to %" PRIu64 " of 2M, %" PRIu64 " of 1G", small, giant);
	else if (huge_of(p, NUMA_HUGE_2M).free || huge_of(p, NUMA_HUGE_1G).free)
		would(p, HUGE,
		      "; refuse hugepages=on, as those that are free are promised to others, or outside the cpuset, or "
		      "the control group has no room for them");
	else
		would(p, HUGE, "; refuse hugepages=on, as none are free");
	if (makes_more(SYS_HUGETLB_2M "nr_overcommit_hugepages", SYS_HUGETLB_2M "surplus_hugepages") ||
	    makes_more(SYS_HUGETLB_1G "nr_overcommit_hugepages", SYS_HUGETLB_1G "surplus_hugepages"))
		would(p, HUGE, ", unless the kernel makes more (nr_overcommit_hugepages)");
}

static void judge_huge(struct probe *p)
{

	would(p, HUGE, "back guests by %s%s",
	      thp_given(p->thp) ? "transparent huge pages" : "pages of 4K, as transparent huge pages are off",
	      thp_given(p->thp) == thp_given(p->shmem_thp) ? ""
	      : thp_given(p->shmem_thp)			   ? ", but with shared=on by huge ones"
							   : ", but with shared=on by pages of 4K");
	judge_reserve(p);
}

static void judge_rest(struct probe *p)
{
	unsigned usable = 0;

	for (unsigned i = 0; i < p->daxes; i++)
		usable += p->dax[i].usable && !p->dax[i].scattered;
	if (usable)
		would(p, DAX, "map %u of %u with backing=devdax: one physical run, wiped first", usable, p->daxes);
	else
		would(p, DAX, "refuse backing=devdax, as there is none that it may map");
	if (p->limits.group_room_bytes == LIMITS_NONE)
		would(p, LIMITS, "take what memory the host has");
	else
		would(p, LIMITS, "refuse what touches more than the %s that the control group has room for",
		      size_format(p->limits.group_room_bytes & ~(FRAME_BYTES - 1)).s);
	if (p->limits.lock_max_bytes == LIMITS_NONE)
		would(p, LIMITS, "; lock any guest");
	else
		would(p, LIMITS, "; lock guests of up to %s", size_format(p->limits.lock_max_bytes).s);
}

static void judge(struct probe *p)
{
	judge_kvm(p);
	judge_nodes(p);
	judge_huge(p);
	judge_rest(p);
}

/* ---- for people ---- */

static void print_would(const struct probe *p, enum topic topic)
{
	printf("  slat would   %s\n", p->would[topic]);
}

static void print_kvm(const struct probe *p)
{
	printf("KVM            %s, module %s%s\n", p->kvm_failure.code ? "cannot be used" : kvm_path(),
	       kvm_module_name(p->module),
	       p->module == KVM_MODULE_PVM ? " (no hardware help: ring 0 of a guest is interpreted)" : "");
	if (!p->kvm_failure.code)
		printf("  takes        %d vCPUs, %d memslots, read-only memory %s, TSC deadline timer %s\n",
		       p->cpus_max, p->slots_max, p->readonly ? "yes" : "no", p->deadline ? "yes" : "no");
	print_would(p, KVM);
	printf("CPUs           %s may be used\n", ids_format(&p->cpus).s);
	print_would(p, CPUS);
}

static void print_node(const struct probe *p, unsigned place)
{
	const struct numa_map_node *n = &p->map.node[place];
	const struct ids cpus = numa_map_cpus(&p->map, place);
	const struct numa_huge *small = &n->huge[NUMA_HUGE_2M], *giant = &n->huge[NUMA_HUGE_1G];

	printf("  node %-7u %" PRIu64 " MiB, %" PRIu64 " free; CPUs %s; huge pages free: %" PRIu64 " of %" PRIu64
	       " of 2M, %" PRIu64 " of %" PRIu64 " of 1G%s\n",
	       n->id, n->total_bytes >> 20, n->free_bytes >> 20, ids_format(&cpus).s, small->free, small->total,
	       giant->free, giant->total, ids_has(&p->limits.nodes, n->id) ? "" : "; outside the cpuset");
}

/* The second line has the memory's nodes, each that follows the CPUs' node first. what: of[from][to]. */
static void print_matrix(const struct probe *p, const char *title,
			 uint32_t (*what)(const struct probe *p, unsigned from, unsigned to))
{
	printf("%-14s", title);
	for (unsigned to = 0; to < p->map.nodes; to++)
		printf(" %6u", p->map.node[to].id);
	putchar('\n');
	for (unsigned from = 0; from < p->map.nodes; from++) {
		printf("  from %-7u", p->map.node[from].id);
		for (unsigned to = 0; to < p->map.nodes; to++) {
			const uint32_t value = what(p, from, to);

			if (value)
				printf(" %6u", value);
			else
				printf("      -");
		}
		putchar('\n');
	}
}

static uint32_t distance_of(const struct probe *p, unsigned from, unsigned to)
{
	return p->map.distance[from][to];
}

static uint32_t latency_ns_of(const struct probe *p, unsigned from, unsigned to)
{
	return (latency_of(p, from, to) + 500) / 1000;
}

static void print_nodes(const struct probe *p)
{
	printf("memory         %" PRIu64 " MiB on %u node%s\n", p->ram >> 20, p->map.nodes,
	       p->map.nodes == 1 ? "" : "s");
	for (unsigned i = 0; i < p->map.nodes; i++)
		print_node(p, i);
	print_would(p, NODES);
	print_matrix(p, "distances to", distance_of);
	if (p->has_measured || p->map.has_hmat)
		print_matrix(p, p->has_measured ? "measured, ns" : "HMAT, ns", latency_ns_of);
	else
		printf("latencies      not known\n");
	if (p->has_measured && !p->measured.huge)
		printf("  note         the memory measured was not all in huge pages: walks of page tables are in "
		       "it\n");
	print_would(p, LATENCIES);
}

static void print_dax(const struct devdax *d)
{
	printf("  %-12s %s, pages of %s, node %d%s%s", d->name, size_format(d->bytes).s, size_format(d->align).s,
	       d->node, d->usable ? "" : ", in another driver's hands", d->scattered ? ", several ranges" : "");
	if (d->resource)
		printf(", physical 0x%" PRIx64, d->resource);
	putchar('\n');
}

static struct size_text limit_format(uint64_t bytes)
{
	return bytes == LIMITS_NONE ? (struct size_text){"no limit"} : size_format(bytes);
}

static void print_text(const struct probe *p)
{
	print_kvm(p);
	print_nodes(p);
	printf("huge pages     transparent: %s (shared: %s)\n", p->thp, p->shmem_thp);
	print_would(p, HUGE);
	printf(p->daxes ? "device-dax     %u\n" : "device-dax     none\n", p->daxes);
	for (unsigned i = 0; i < p->daxes; i++)
		print_dax(&p->dax[i]);
	print_would(p, DAX);
	printf("limits         locked memory: %s; control group: %s%s%s\n", limit_format(p->limits.lock_max_bytes).s,
	       limit_format(p->limits.group_max_bytes).s, p->limits.group[0] ? ", of " : "", p->limits.group);
	print_would(p, LIMITS);
}

/* ---- for programs ---- */

static json_t *bytes_or_null(uint64_t bytes)
{
	return bytes == LIMITS_NONE ? json_null() : json_integer((json_int_t)bytes);
}

static json_t *json_of_huge(const struct numa_huge *h)
{
	return json_pack("{s:I, s:I}", "total", (json_int_t)h->total, "free", (json_int_t)h->free);
}

static json_t *json_of_nodes(const struct probe *p)
{
	json_t *nodes = json_array();

	for (unsigned i = 0; i < p->map.nodes; i++) {
		const struct numa_map_node *n = &p->map.node[i];
		const struct ids cpus = numa_map_cpus(&p->map, i);
		json_t *list = json_array();

		for (unsigned cpu = ids_next(&cpus, 0); cpu != IDS_MAX; cpu = ids_next(&cpus, cpu + 1))
			json_array_append_new(list, json_integer(cpu));
		json_array_append_new(nodes,
				      json_pack("{s:i, s:b, s:o, s:I, s:I, s:o, s:o}", "id", (int)n->id, "allowed",
						ids_has(&p->limits.nodes, n->id), "cpus", list, "bytes",
						(json_int_t)n->total_bytes, "free_bytes", (json_int_t)n->free_bytes,
						"huge_2m", json_of_huge(&n->huge[NUMA_HUGE_2M]), "huge_1g",
						json_of_huge(&n->huge[NUMA_HUGE_1G])));
	}
	return nodes;
}

static json_t *json_of_matrix(const struct probe *p, uint32_t (*what)(const struct probe *p, unsigned, unsigned))
{
	json_t *rows = json_array();

	for (unsigned from = 0; from < p->map.nodes; from++) {
		json_t *row = json_array();

		for (unsigned to = 0; to < p->map.nodes; to++)
			json_array_append_new(row, what(p, from, to) ? json_integer(what(p, from, to)) : json_null());
		json_array_append_new(rows, row);
	}
	return rows;
}

static json_t *json_of_daxes(const struct probe *p)
{
	json_t *daxes = json_array();

	for (unsigned i = 0; i < p->daxes; i++) {
		const struct devdax *d = &p->dax[i];

		json_array_append_new(daxes,
				      json_pack("{s:s, s:I, s:I, s:o, s:i, s:b}", "name", d->name, "bytes",
						(json_int_t)d->bytes, "align", (json_int_t)d->align, "resource",
						d->resource ? json_integer((json_int_t)d->resource) : json_null(),
						"node", d->node, "usable", d->usable && !d->scattered));
	}
	return daxes;
}

static json_t *json_of_kvm(const struct probe *p)
{
	return json_pack("{s:b, s:s, s:s*, s:b, s:i, s:i, s:b, s:b}", "usable", !p->kvm_failure.code, "module",
			 kvm_module_name(p->module), "why", p->kvm_failure.code ? p->kvm_failure.text : NULL,
			 "interpreted", p->module == KVM_MODULE_PVM, "cpus_max", p->cpus_max, "slots_max", p->slots_max,
			 "readonly_memory", p->readonly, "tsc_deadline", p->deadline);
}

static json_t *json_of_memory(const struct probe *p)
{
	const struct numa_huge small = huge_of(p, NUMA_HUGE_2M), giant = huge_of(p, NUMA_HUGE_1G);
	json_t *nodes = json_array();

	for (unsigned i = 0; i < p->numa.nodes; i++)
		json_array_append_new(nodes, json_integer(p->numa.node[i]));
	return json_pack("{s:I, s:o, s:s, s:s, s:I, s:I, s:I, s:I}", "bytes", (json_int_t)p->ram, "nodes", nodes, "thp",
			 p->thp, "shmem_thp", p->shmem_thp, "huge_2m_total", (json_int_t)small.total, "huge_2m_free",
			 (json_int_t)small.free, "huge_1g_total", (json_int_t)giant.total, "huge_1g_free",
			 (json_int_t)giant.free);
}

static int print_json(const struct probe *p, struct failure *f)
{
	const struct limits *l = &p->limits;
	json_t *lines = json_object(), *all;

	for (unsigned i = 0; i < TOPICS; i++)
		json_object_set_new(lines, topic_names[i], json_string(p->would[i]));
	all = json_pack("{s:o, s:o, s:{s:s}, s:o, s:o, s:{s:s, s:o}, s:o, s:{s:o, s:o, s:o}, s:o}", "kvm",
			json_of_kvm(p), "memory", json_of_memory(p), "table", "format", table_format(p), "nodes",
			json_of_nodes(p), "distances", json_of_matrix(p, distance_of), "latencies", "source",
			latency_source(p), "ps", json_of_matrix(p, latency_of), "device_dax", json_of_daxes(p),
			"limits", "lock_bytes", bytes_or_null(l->lock_max_bytes), "group_bytes",
			bytes_or_null(l->group_max_bytes), "group_room_bytes", bytes_or_null(l->group_room_bytes),
			"slat_would", lines);
	if (!all)
		return fail(f, EXIT_HOST, "no memory for what slat probe --json tells");
	(void)json_dumpf(all, stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(all);
	return cmd_written(f);
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
	static struct probe p; /* some 70 KiB */
	struct failure f = {0};
	bool json = false, measure = false;

	for (int i = 0; i < argc; i++) {
		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
			return cmd_say(help);
		if (strcmp(argv[i], "--json") == 0)
			json = true;
		else if (strcmp(argv[i], "--latency") == 0)
			measure = true;
		else {
			fail(&f, EXIT_USAGE, "unknown option %.64s; slat probe --help lists them", argv[i]);
			return cmd_refuse(&f);
		}
	}
	p.intel = cpuid_host_is_intel();
	probe_kvm(&p);
	if (probe_memory(&p, measure, &f))
		return cmd_refuse(&f);
	judge(&p);
	if (json && print_json_in_own(&p, &f))
		return cmd_refuse(&f);
	if (!json)
		print_text(&p);
	if (cmd_written(&f))
		return cmd_refuse(&f);
	return p.kvm_failure.code ? cmd_refuse(&p.kvm_failure) : EXIT_OK;
}
