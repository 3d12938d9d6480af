/* numa: the memory nodes that the ACPI tables tell of (SRAT, SLIT, HMAT), each in
 * one way only, so that who started the guest can compare it with what was asked.
 *
 *   numa: node N cpus A,B memory [START,END) [START,END)   of each node, "none" where it has none
 *   numa: distance from N: 10 20                           to each node
 *   numa: latency from N: 80 160 ns                        from the CPUs of a node to the memory of
 *   numa: bandwidth from N: 20000 10000 MiB/s              each: "-" not told, "x" not reachable
 *
 * Nodes, CPUs (by APIC id) and memory ascend, and ranges that touch are one. It
 * says "numa: no SRAT" (SLIT, HMAT) where there is no such table.
 *
 * What it proves besides: checksums and lengths; no CPU and no byte is on two
 * nodes; the CPUs are those of the MADT; all RAM of the memory map is on a node;
 * SLIT and HMAT speak of nodes that SRAT has. Read latencies and accesses' are one
 * thing to it, and bandwidths; caches and writes are passed over.
 *
 * Tables are read in ring 3: see ring3.h. */
#include "guests/runtime/acpi.h"
#include "guests/runtime/boot_info.h"
#include "guests/runtime/console.h"
#include "guests/runtime/guest.h"
#include "guests/runtime/step.h"
#include "guests/runtime/string.h"
#include "vmm/abi.h"

#define NODES_MAX  16u
#define CPUS_MAX   ACPI_CPUS_MAX
#define RANGES_MAX 64u

struct cpu_place {
	uint32_t apic, node;
};

struct memory_place {
	uint64_t start, end;
	uint32_t node;
};

enum figure { LATENCY, BANDWIDTH, FIGURES };

#define UNREACHABLE UINT64_MAX

static const struct boot_info *loader;
static bool has_srat, has_slit, has_hmat;
static bool node_there[NODES_MAX], node_has_cpus[NODES_MAX], node_has_memory[NODES_MAX];
static unsigned nodes, cpus, ranges;
static struct cpu_place cpu[CPUS_MAX];
static struct memory_place range[RANGES_MAX];
static uint8_t distance[NODES_MAX][NODES_MAX];
static uint64_t figure[FIGURES][NODES_MAX][NODES_MAX]; /* ns, MiB/s; 0: not told */

static uint64_t number(const uint8_t *at, unsigned bytes)
{
	uint64_t value = 0;

	while (bytes--)
		value = value << 8 | at[bytes];
	return value;
}

/* False iff the table is broken, or shorter than that; *there: whether it is there. */
static bool find(const char *signature, uint32_t least, struct acpi_table *t, bool *there)
{
	enum acpi_found found = acpi_find(signature, t);

	*there = found == ACPI_GOOD;
	if (found == ACPI_BROKEN)
		return step_wrong("the table, or what leads to it, is broken", 0, 0);
	return !*there || t->bytes >= least || step_wrong("the table is too short", t->bytes, least);
}

/* ---- SRAT: ACPI 6.4, 5.2.16 ---- */

#define SRAT_FIRST	  48u
#define SRAT_CPU	  0u
#define SRAT_MEMORY	  1u
#define SRAT_X2APIC	  2u
#define SRAT_ENABLED	  1u
#define SRAT_CPU_BYTES	  16u
#define SRAT_MEMORY_BYTES 40u
#define SRAT_X2APIC_BYTES 24u

static bool add_node(uint64_t node)
{
	if (node >= NODES_MAX)
		return step_wrong("a node has a higher number than this guest knows", node, NODES_MAX);
	nodes += !node_there[node];
	node_there[node] = true;
	return true;
}

/* Insertion keeps the order. */
static bool add_cpu(uint32_t apic, uint64_t node)
{
	unsigned i = cpus;

	if (!add_node(node))
		return false;
	if (cpus == CPUS_MAX)
		return step_wrong("there are more CPUs than this guest knows", cpus, apic);
	for (; i > 0 && cpu[i - 1].apic >= apic; i--)
		if (cpu[i - 1].apic == apic)
			return step_wrong("a CPU is on two nodes", apic, node);
		else
			cpu[i] = cpu[i - 1];
	cpu[i] = (struct cpu_place){apic, (uint32_t)node};
	cpus++;
	node_has_cpus[node] = true;
	return true;
}

static bool add_memory(uint64_t start, uint64_t bytes, uint64_t node)
{
	unsigned i = ranges;

	if (!add_node(node))
		return false;
	if (ranges == RANGES_MAX)
		return step_wrong("there are more ranges than this guest knows", ranges, start);
	if (bytes == 0 || bytes > UINT64_MAX - start)
		return step_wrong("a range is empty, or wraps around", start, bytes);
	for (; i > 0 && range[i - 1].start > start; i--)
		range[i] = range[i - 1];
	range[i] = (struct memory_place){start, start + bytes, (uint32_t)node};
	ranges++;
	node_has_memory[node] = true;
	return true;
}

static bool add_entry(const uint8_t *e)
{
	static const uint8_t lengths[] = {SRAT_CPU_BYTES, SRAT_MEMORY_BYTES, SRAT_X2APIC_BYTES};
	uint8_t type = e[0];

	if (type >= sizeof(lengths))
		return true;
	if (e[1] != lengths[type])
		return step_wrong("an entry of this type has another length", type, e[1]);
	if (type == SRAT_CPU && e[4] & SRAT_ENABLED)
		return add_cpu(e[3], e[2] | number(e + 9, 3) << 8);
	if (type == SRAT_MEMORY && e[28] & SRAT_ENABLED)
		return add_memory(number(e + 8, 8), number(e + 16, 8), number(e + 2, 4));
	if (type == SRAT_X2APIC && e[12] & SRAT_ENABLED)
		return add_cpu((uint32_t)number(e + 8, 4), number(e + 4, 4));
	return true;
}

static bool read_srat(void)
{
	struct acpi_table t;

	if (!find("SRAT", SRAT_FIRST, &t, &has_srat))
		return false;
	for (uint32_t i = SRAT_FIRST; has_srat && i < t.bytes; i += t.at[i + 1]) {
		if (t.bytes - i < 2 || t.at[i + 1] < 2 || t.at[i + 1] > t.bytes - i)
			return step_wrong("an entry does not end within the table", i, t.bytes);
		if (!add_entry(t.at + i))
			return false;
	}
	return true;
}

static bool check_memory(void)
{
	for (unsigned i = 1; i < ranges; i++)
		if (range[i].start < range[i - 1].end)
			return step_wrong("a range begins before the end of that below", range[i].start,
					  range[i - 1].end);
	for (unsigned i = 0; i < loader->ranges; i++) {
		uint64_t at = loader->range[i].start, end = at + loader->range[i].bytes;

		for (unsigned j = 0; j < ranges; j++)
			if (range[j].start <= at && at < range[j].end)
				at = range[j].end;
		if (loader->range[i].type == E820_RAM && at < end)
			return step_wrong("RAM is on no node", at, end);
	}
	return true;
}

static bool check_cpus(void)
{
	const struct acpi_cpus *listed = acpi_cpus();
	unsigned j;

	for (unsigned i = 0; i < listed->count; i++) {
		for (j = 0; j < cpus && cpu[j].apic != listed->apic[i]; j++)
			;
		if (j == cpus)
			return step_wrong("a CPU of the MADT is on no node", listed->apic[i], cpus);
	}
	return cpus == listed->count || step_wrong("there are not as many CPUs as in the MADT", cpus, listed->count);
}

static bool check_srat(void)
{
	return !has_srat || (check_memory() && check_cpus());
}

/* ---- SLIT: 5.2.17 ---- */

#define SLIT_FIRST 44u
#define SLIT_LOCAL 10u

static bool read_slit(void)
{
	struct acpi_table t;
	uint64_t count;

	if (!find("SLIT", SLIT_FIRST, &t, &has_slit))
		return false;
	if (!has_slit)
		return true;
	count = number(t.at + ACPI_HEADER_BYTES, 8);
	if (count > NODES_MAX || t.bytes != SLIT_FIRST + count * count)
		return step_wrong("the length is not that of so many nodes", t.bytes, count);
	for (unsigned i = 0; i < NODES_MAX; i++)
		if (node_there[i] != (i < count))
			return step_wrong("a node is not in both SRAT and SLIT", i, count);
	for (unsigned i = 0; i < count; i++)
		for (unsigned j = 0; j < count; j++) {
			distance[i][j] = t.at[SLIT_FIRST + i * count + j];
			if (i == j ? distance[i][j] != SLIT_LOCAL : distance[i][j] <= SLIT_LOCAL)
				return step_wrong("a distance is not one", i << 8 | j, distance[i][j]);
		}
	return true;
}

/* ---- HMAT: 5.2.27 ---- */

#define HMAT_FIRST	    40u
#define HMAT_STRUCTURE	    8u
#define HMAT_DOMAIN	    0u
#define HMAT_DOMAIN_BYTES   40u
#define HMAT_ATTACHED	    1u
#define HMAT_LOCALITY	    1u
#define HMAT_LOCALITY_BYTES 32u
#define HMAT_HIERARCHY	    0xfu /* 0: memory */
#define HMAT_LATENCY	    0u
#define HMAT_READ_LATENCY   1u
#define HMAT_BANDWIDTH	    3u
#define HMAT_READ_BANDWIDTH 4u
#define HMAT_UNREACHABLE    0xffffu
#define PICOSECONDS	    1000u

static bool check_domain(const uint8_t *s, uint64_t bytes)
{
	uint64_t attached, memory;

	if (bytes != HMAT_DOMAIN_BYTES)
		return step_wrong("a domain's structure has another length", bytes, HMAT_DOMAIN_BYTES);
	attached = number(s + 12, 4);
	memory = number(s + 16, 4);
	if (memory >= NODES_MAX || !node_has_memory[memory])
		return step_wrong("a domain has no memory", memory, 0);
	if (s[8] & HMAT_ATTACHED && (attached >= NODES_MAX || !node_has_cpus[attached]))
		return step_wrong("memory is attached to a node without CPUs", memory, attached);
	return true;
}

static uint64_t scaled(uint64_t entry, uint64_t base, enum figure which)
{
	if (entry == HMAT_UNREACHABLE)
		return UNREACHABLE;
	return which == LATENCY ? (entry * base + PICOSECONDS - 1) / PICOSECONDS : entry * base;
}

/* Lists and entries follow one another; they fit. */
static bool take_entries(const uint8_t *s, uint64_t from, uint64_t to, enum figure which)
{
	const uint8_t *initiator = s + HMAT_LOCALITY_BYTES, *target = initiator + from * 4, *entry = target + to * 4;
	uint64_t base = number(s + 24, 8);

	for (unsigned i = 0; i < from; i++)
		for (unsigned j = 0; j < to; j++, entry += 2) {
			uint64_t a = number(initiator + i * 4, 4), b = number(target + j * 4, 4);

			if (a >= NODES_MAX || b >= NODES_MAX || !node_there[a] || !node_there[b])
				return step_wrong("SRAT knows no such node", a, b);
			figure[which][a][b] = scaled(number(entry, 2), base, which);
		}
	return true;
}

static bool read_locality(const uint8_t *s, uint64_t bytes)
{
	uint64_t from, to;
	uint8_t type;

	if (bytes < HMAT_LOCALITY_BYTES)
		return step_wrong("a locality's structure is too short", bytes, HMAT_LOCALITY_BYTES);
	type = s[9];
	from = number(s + 12, 4);
	to = number(s + 16, 4);
	if (from > NODES_MAX || to > NODES_MAX || bytes < HMAT_LOCALITY_BYTES + (from + to) * 4 + from * to * 2)
		return step_wrong("a locality's structure has not the length of its lists", from << 32 | to, bytes);
	if (s[8] & HMAT_HIERARCHY)
		return true;
	if (type == HMAT_LATENCY || type == HMAT_READ_LATENCY)
		return take_entries(s, from, to, LATENCY);
	if (type == HMAT_BANDWIDTH || type == HMAT_READ_BANDWIDTH)
		return take_entries(s, from, to, BANDWIDTH);
	return true;
}

static bool read_hmat(void)
{
	struct acpi_table t;
	uint64_t bytes;

	if (!find("HMAT", HMAT_FIRST, &t, &has_hmat))
		return false;
	for (uint32_t i = HMAT_FIRST; has_hmat && i < t.bytes; i += (uint32_t)bytes) {
		const uint8_t *s = t.at + i;

		bytes = t.bytes - i < HMAT_STRUCTURE ? 0 : number(s + 4, 4);
		if (bytes < HMAT_STRUCTURE || bytes > t.bytes - i)
			return step_wrong("a structure does not end within the table", i, t.bytes);
		if (number(s, 2) == HMAT_DOMAIN && !check_domain(s, bytes))
			return false;
		if (number(s, 2) == HMAT_LOCALITY && !read_locality(s, bytes))
			return false;
	}
	return true;
}

/* ---- what it says ---- */

static void show_node(unsigned node)
{
	char before = ' ';

	console_print("numa: node %u cpus%s", node, node_has_cpus[node] ? "" : " none");
	for (unsigned i = 0; i < cpus; i++)
		if (cpu[i].node == node) {
			console_print("%c%u", before, cpu[i].apic);
			before = ',';
		}
	console_print(" memory%s", node_has_memory[node] ? "" : " none");
	for (unsigned i = 0; i < ranges; i++) {
		uint64_t start = range[i].start;

		if (range[i].node != node)
			continue;
		while (i + 1 < ranges && range[i + 1].node == node && range[i + 1].start == range[i].end)
			i++;
		console_print(" [0x%010lx,0x%010lx)", start, range[i].end);
	}
	console_print("\n");
}

static void show_distances(void)
{
	for (unsigned i = 0; i < nodes; i++) {
		console_print("numa: distance from %u:", i);
		for (unsigned j = 0; j < nodes; j++)
			console_print(" %u", distance[i][j]);
		console_print("\n");
	}
}

static void show_figures(enum figure which, const char *name, const char *unit)
{
	for (unsigned i = 0; i < NODES_MAX; i++) {
		if (!node_has_cpus[i])
			continue;
		console_print("numa: %s from %u:", name, i);
		for (unsigned j = 0; j < NODES_MAX; j++)
			if (!node_there[j])
				continue;
			else if (figure[which][i][j] == 0 || figure[which][i][j] == UNREACHABLE)
				console_print(" %c", figure[which][i][j] ? 'x' : '-');
			else
				console_print(" %lu", figure[which][i][j]);
		console_print(" %s\n", unit);
	}
}

static void show(void)
{
	if (!has_srat)
		console_print("numa: no SRAT\n");
	for (unsigned i = 0; i < NODES_MAX; i++)
		if (node_there[i])
			show_node(i);
	if (!has_slit)
		console_print("numa: no SLIT\n");
	else
		show_distances();
	if (!has_hmat) {
		console_print("numa: no HMAT\n");
		return;
	}
	show_figures(LATENCY, "latency", "ns");
	show_figures(BANDWIDTH, "bandwidth", "MiB/s");
}

int guest_main(const struct boot_info *boot)
{
	static const struct step steps[] = {
		{"SRAT", read_srat},
		{"SRAT", check_srat},
		{"SLIT", read_slit},
		{"HMAT", read_hmat},
	};

	loader = boot;
	if (!steps_run("numa", steps, sizeof(steps) / sizeof(steps[0])))
		return GUEST_FAILED;
	show();
	console_print("numa: ok %u nodes\n", nodes);
	return GUEST_OK;
}
