/* vmm/options_numa.c: the options that say where memory lies, and what the guest is
 * shown of it.
 *
 * What it is. --memory-zone, --numa, --placement, --latency, --latencies and --strict,
 * taken word by word and then, once all is known, judged against one another: a --numa may name
 * a zone, a CPU or a node that comes later on the command line. It is pure. What only
 * the host can tell (does that node exist, has it so many huge pages, how is that
 * device aligned) is judged by those who look at it.
 *
 * Words. Those of cloud-hypervisor where it has any, with its meaning:
 *   - a list is [0-3,8]; the brackets may be left out, since the next part that has
 *     an equals sign begins another key (options_take_list()), and no item has one;
 *   - RAM that no zone describes is a zone called mem0;
 *   - hugepages=on and shared=on of a zone are backing=hugetlb and backing=memfd;
 *   - a distance that is given one way holds both ways, two that are given differ;
 *   - one --memory-zone or --numa may be followed by several values.
 *
 * Choices, and why.
 *   - guest_numa_id has no gap: SLIT and HMAT are matrices over all proximity domains
 *     up to the highest, and a guest shows a domain that has nothing to nobody.
 *     For the same reason a node without CPUs and memory is refused.
 *   - CPUs and zones that no --numa names are node 0's: a guest whose SRAT leaves out
 *     some of its RAM throws away all of it (Linux: numa_meminfo_cover_memory()).
 *   - 10 to another node is refused, and anything else to itself: Linux takes no SLIT
 *     that has one (slit_valid()).
 *   - --latency alone is enough: only the policy `contract` can keep it. --latencies alone
 *     is refused: it says by what to choose, and not that there is a choice.
 *
 * Cost: everything is bounded by 16 zones, 16 nodes and 1024 numbers. */
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mm/pagetable.h"
#include "mm/port.h"
#include "vmm/options_impl.h"
#include "vmm/size.h"

#define CLIP_MAX	 64u
#define CLIP(text)	 (int)((text).bytes < CLIP_MAX ? (text).bytes : CLIP_MAX), (text).start
#define LATENCY_MAX_NS	 1000000u
#define PS_A_NS		 1000u
#define DISTANCE_LOCAL	 10u
#define DISTANCE_DEFAULT 20u
#define DISTANCE_MAX	 255u /* unreachable */
#define ZONE_OF_MEMORY	 "mem0"

_Static_assert(OPTIONS_CPUS_MAX == TOPOLOGY_CPUS_MAX, "each CPU has a node");
_Static_assert(OPTIONS_CPUS_MAX <= OPTIONS_HOST_NODES_MAX, "one kind of set holds both");
_Static_assert(UINT64_C(1) * LATENCY_MAX_NS * PS_A_NS <= UINT32_MAX, "a latency that is taken can be kept");

/* ---- sets and lists ---- */

static const char *const backings[] = {"anon", "memfd", "hugetlb", "devdax"};
static const char *const policies[] = {"local", "pack", "spread", "interleave", "contract"};

const char *options_backing_name(enum options_backing backing)
{
	return backings[backing];
}

const char *options_policy_name(enum placement_policy policy)
{
	return policies[policy];
}

bool options_has_number(const struct options_numbers *set, unsigned number)
{
	return number < OPTIONS_HOST_NODES_MAX && set->bits[number / 64] >> number % 64 & 1;
}

bool options_any_number(const struct options_numbers *set)
{
	uint64_t any = 0;

	for (size_t i = 0; i < COUNT(set->bits); i++)
		any |= set->bits[i];
	return any != 0;
}

/* Takes the brackets off. */
static int open_list(const char *where, struct options_text value, struct options_text *out, struct failure *f)
{
	*out = value;
	if (value.start[0] != '[')
		return 0;
	if (value.bytes < 2 || value.start[value.bytes - 1] != ']')
		return fail(f, EXIT_USAGE, "%s=%.*s: a list that begins with [ ends with ]", where, CLIP(value));
	*out = (struct options_text){value.start + 1, value.bytes - 2};
	return 0;
}

/* The next part of a list, which may be empty; false iff there is none. */
static bool next_part(struct options_text *rest, struct options_text *part)
{
	const char *comma;

	if (!rest->start)
		return false;
	comma = memchr(rest->start, ',', rest->bytes);
	*part = (struct options_text){rest->start, comma ? (size_t)(comma - rest->start) : rest->bytes};
	*rest = comma ? (struct options_text){comma + 1, rest->bytes - part->bytes - 1} : (struct options_text){0};
	return true;
}

static bool take_number(struct options_text text, uint64_t most, unsigned *out)
{
	char copy[16];
	uint64_t number;

	if (text.bytes >= sizeof(copy))
		return false;
	memcpy(copy, text.start, text.bytes);
	copy[text.bytes] = '\0';
	if (!options_whole_number(copy, most, &number))
		return false;
	*out = (unsigned)number;
	return true;
}

/* "A", or "A" and "B" with `between` in the middle, such as 0-3 or 1@20. */
static bool take_two(struct options_text text, char between, uint64_t most, unsigned *a, unsigned *b)
{
	const char *middle = memchr(text.start, between, text.bytes);
	const size_t bytes = middle ? (size_t)(middle - text.start) : text.bytes;

	if (!take_number((struct options_text){text.start, bytes}, most, a))
		return false;
	*b = *a;
	return !middle || take_number((struct options_text){middle + 1, text.bytes - bytes - 1}, most, b);
}

/* "0-3,8": numbers up to `most`, of what, each at most once. They take the place of those that *set had. */
static int take_numbers(const char *where, struct options_text value, unsigned most, const char *what,
			struct options_numbers *set, struct failure *f)
{
	struct options_numbers taken = {0};
	struct options_text rest, part;
	unsigned first, last;

	if (open_list(where, value, &rest, f))
		return f->code;
	while (next_part(&rest, &part)) {
		if (!take_two(part, '-', most, &first, &last) || last < first)
			return fail(f, EXIT_USAGE, "%s=%.*s: not numbers of %s from 0 to %u, such as 0-3,8", where,
				    CLIP(value), what, most);
		for (unsigned n = first; n <= last; n++) {
			if (options_has_number(&taken, n))
				return fail(f, EXIT_USAGE, "%s=%.*s: it has %u twice", where, CLIP(value), n);
			taken.bits[n / 64] |= UINT64_C(1) << n % 64;
		}
	}
	*set = taken;
	return 0;
}

static int take_host(const char *where, struct options_text value, struct options_numbers *set, struct failure *f)
{
	return take_numbers(where, value, OPTIONS_HOST_NODES_MAX - 1, "nodes of the host", set, f);
}

/* ---- zones ---- */

static struct options_zone *zone(struct run_options *o)
{
	return &o->numa.zone[o->numa.zones - 1];
}

static int zone_id(struct run_options *o, const char *where, const char *value, struct failure *f)
{
	for (const char *c = value; *c; c++)
		if (!isalnum((unsigned char)*c) && !strchr("-_.", *c))
			return fail(f, EXIT_USAGE, "%s=%s: an id has letters, digits, and - _ . only", where, value);
	if (strlen(value) > OPTIONS_ZONE_ID_MAX)
		return fail(f, EXIT_USAGE, "%s=%s: an id has %u characters at most", where, value, OPTIONS_ZONE_ID_MAX);
	for (unsigned i = 0; i + 1 < o->numa.zones; i++)
		if (strcmp(o->numa.zone[i].id, value) == 0)
			return fail(f, EXIT_USAGE, "%s=%s: another zone has it already", where, value);
	strcpy(zone(o)->id, value);
	return 0;
}

static int zone_size(struct run_options *o, const char *where, const char *value, struct failure *f)
{
	uint64_t bytes;

	if (!size_parse(value, &bytes) || bytes == 0 || bytes % FRAME_BYTES)
		return fail(f, EXIT_USAGE, "%s=%s: not a size that is a multiple of 4K, at most %s, such as 1G", where,
			    value, size_format(OPTIONS_ZONES_BYTES).s);
	if (bytes > OPTIONS_ZONES_BYTES)
		return fail(f, EXIT_USAGE, "%s=%s: a guest addresses %s at most", where, value,
			    size_format(OPTIONS_ZONES_BYTES).s);
	zone(o)->bytes = bytes;
	return 0;
}

static int zone_backing(struct run_options *o, const char *where, const char *value, struct failure *f)
{
	for (size_t i = 0; i < COUNT(backings); i++) {
		if (strcmp(value, backings[i]) == 0) {
			zone(o)->backing = (enum options_backing)i;
			zone(o)->backing_given = true;
			return 0;
		}
	}
	return fail(f, EXIT_USAGE, "%s=%s: the value is anon, memfd, hugetlb or devdax", where, value);
}

static int zone_hugepages(struct run_options *o, const char *where, const char *value, struct failure *f)
{
	return options_take_switch(where, value, &zone(o)->hugepages, f);
}

static int zone_hugepage_size(struct run_options *o, const char *where, const char *value, struct failure *f)
{
	zone(o)->huge_given = true;
	return options_take_huge(where, value, &zone(o)->huge, f);
}

static int zone_shared(struct run_options *o, const char *where, const char *value, struct failure *f)
{
	return options_take_switch(where, value, &zone(o)->shared, f);
}

static int zone_file(struct run_options *o, const char *where, struct options_text value, struct failure *f)
{
	(void)where;
	(void)f;
	zone(o)->file = value;
	return 0;
}

static int zone_host(struct run_options *o, const char *where, struct options_text value, struct failure *f)
{
	return take_host(where, value, &zone(o)->host, f);
}

static int zone_prefault(struct run_options *o, const char *where, const char *value, struct failure *f)
{
	return options_take_switch(where, value, &zone(o)->prefault, f);
}

static int zone_reserve(struct run_options *o, const char *where, const char *value, struct failure *f)
{
	return options_take_switch(where, value, &zone(o)->reserve, f);
}

static int zone_weighted(struct run_options *o, const char *where, const char *value, struct failure *f)
{
	return options_take_switch(where, value, &zone(o)->weighted, f);
}

static const struct key zone_keys[] = {
	{.name = "id", .take = zone_id},
	{.name = "size", .take = zone_size},
	{.name = "backing", .take = zone_backing},
	{.name = "hugepages", .take = zone_hugepages},
	{.name = "hugepage_size", .take = zone_hugepage_size},
	{.name = "shared", .take = zone_shared},
	{.name = "file", .text = zone_file},
	{.name = "host_numa_node", .text = zone_host, .list = true},
	{.name = "prefault", .take = zone_prefault},
	{.name = "reserve", .take = zone_reserve},
	{.name = "weighted", .take = zone_weighted},
};

bool options_is_zone_value(const char *word)
{
	return options_has_key(zone_keys, COUNT(zone_keys), word);
}

/* What its two ways to name a backing come to. Huge pages are shared always, so that shared=on says nothing of them. */
static int settle_backing(struct options_zone *z, struct failure *f)
{
	if (z->hugepages && z->backing_given && z->backing != OPTIONS_HUGETLB)
		return fail(f, EXIT_USAGE, "--memory-zone id=%s: hugepages=on is backing=hugetlb, not backing=%s",
			    z->id, options_backing_name(z->backing));
	if (z->shared && z->backing_given && z->backing == OPTIONS_ANON)
		return fail(f, EXIT_USAGE, "--memory-zone id=%s: shared=on is backing=memfd, not backing=anon", z->id);
	if (z->hugepages)
		z->backing = OPTIONS_HUGETLB;
	else if (z->shared && !z->backing_given)
		z->backing = OPTIONS_MEMFD;
	return 0;
}

/* Each would wipe what the other has. */
static int judge_file(const struct run_options *o, const struct options_zone *z, struct failure *f)
{
	for (const struct options_zone *other = o->numa.zone; other < z; other++)
		if (z->file.bytes && other->file.bytes == z->file.bytes &&
		    memcmp(other->file.start, z->file.start, z->file.bytes) == 0)
			return fail(f, EXIT_USAGE, "--memory-zone id=%s: file=%.*s is zone %s's already", z->id,
				    CLIP(z->file), other->id);
	return 0;
}

static bool has_few(const struct options_numbers *set)
{
	unsigned count = 0;

	for (unsigned i = 0; i < OPTIONS_HOST_NODES_MAX && count < 2; i++)
		count += options_has_number(set, i);
	return count < 2;
}

static int judge_zone(struct options_zone *z, const char *value, struct failure *f)
{
	const bool huge = z->backing == OPTIONS_HUGETLB;

	if (!z->id[0])
		return fail(f, EXIT_USAGE, "--memory-zone %.64s: an id is missing, as in id=mem0,size=1G", value);
	if (!z->bytes)
		return fail(f, EXIT_USAGE, "--memory-zone id=%s: a size is missing, as in id=mem0,size=1G", z->id);
	if (huge && z->bytes % pagetable_size_bytes(z->huge))
		return fail(f, EXIT_USAGE, "--memory-zone id=%s,size=%s: with huge pages, a multiple of %s", z->id,
			    size_format(z->bytes).s, z->huge == PAGETABLE_1G ? "1G" : "2M");
	if (!huge && z->huge_given)
		return fail(f, EXIT_USAGE, "--memory-zone id=%s: hugepage_size= is for backing=hugetlb, not %s", z->id,
			    options_backing_name(z->backing));
	if (z->backing == OPTIONS_DEVDAX && !z->file.bytes)
		return fail(f, EXIT_USAGE, "--memory-zone id=%s: backing=devdax needs a file, as in file=/dev/dax0.0",
			    z->id);
	if (z->backing != OPTIONS_DEVDAX && z->file.bytes)
		return fail(f, EXIT_USAGE, "--memory-zone id=%s: file=%.*s is for backing=devdax, not %s", z->id,
			    CLIP(z->file), options_backing_name(z->backing));
	if (z->weighted && has_few(&z->host))
		return fail(f, EXIT_USAGE,
			    "--memory-zone id=%s: weighted=on is for several nodes, as in host_numa_node=0-1", z->id);
	return 0;
}

int options_set_zone(struct run_options *o, const char *value, struct failure *f)
{
	if (o->numa.zones == OPTIONS_ZONES_MAX)
		return fail(f, EXIT_USAGE, "--memory-zone %.64s: more than %u of them", value, OPTIONS_ZONES_MAX);
	o->numa.zones++;
	*zone(o) = (struct options_zone){.huge = PAGETABLE_2M};
	if (options_take_list(o, "--memory-zone", zone_keys, COUNT(zone_keys), value, f) || settle_backing(zone(o), f))
		return f->code;
	return judge_zone(zone(o), value, f) || judge_file(o, zone(o), f) ? f->code : 0;
}

/* ---- the guest's nodes ---- */

static struct options_node *node(struct run_options *o)
{
	return &o->numa.node[o->numa.nodes - 1];
}

static int node_id(struct run_options *o, const char *where, const char *value, struct failure *f)
{
	uint64_t id;

	if (!options_whole_number(value, TOPOLOGY_NODES_MAX - 1, &id))
		return fail(f, EXIT_USAGE, "%s=%s: not a number from 0 to %u", where, value, TOPOLOGY_NODES_MAX - 1);
	for (unsigned i = 0; i + 1 < o->numa.nodes; i++)
		if (o->numa.node[i].id == id)
			return fail(f, EXIT_USAGE, "%s=%s: another --numa has it already", where, value);
	node(o)->has_id = true;
	node(o)->id = (unsigned)id;
	return 0;
}

static int node_cpus(struct run_options *o, const char *where, struct options_text value, struct failure *f)
{
	if (take_numbers(where, value, OPTIONS_CPUS_MAX - 1, "CPUs", &node(o)->cpus, f))
		return f->code;
	for (unsigned i = 0; i + 1 < o->numa.nodes; i++)
		for (unsigned cpu = 0; cpu < OPTIONS_CPUS_MAX; cpu++)
			if (options_has_number(&node(o)->cpus, cpu) && options_has_number(&o->numa.node[i].cpus, cpu))
				return fail(f, EXIT_USAGE, "%s=%.*s: CPU %u is node %u's already", where, CLIP(value),
					    cpu, o->numa.node[i].id);
	return 0;
}

static int node_zones(struct run_options *o, const char *where, struct options_text value, struct failure *f)
{
	struct options_text rest, part;

	if (open_list(where, value, &rest, f))
		return f->code;
	node(o)->zones = 0;
	while (next_part(&rest, &part)) {
		if (!part.bytes)
			return fail(f, EXIT_USAGE, "%s=%.*s: a zone's id is missing", where, CLIP(value));
		if (node(o)->zones == OPTIONS_ZONES_MAX)
			return fail(f, EXIT_USAGE, "%s=%.*s: more than %u of them", where, CLIP(value),
				    OPTIONS_ZONES_MAX);
		node(o)->zone[node(o)->zones++] = part;
	}
	return 0;
}

static int node_distances(struct run_options *o, const char *where, struct options_text value, struct failure *f)
{
	struct options_text rest, part;
	unsigned to, distance;

	if (open_list(where, value, &rest, f))
		return f->code;
	memset(node(o)->distance, 0, sizeof(node(o)->distance));
	while (next_part(&rest, &part)) {
		if (!memchr(part.start, '@', part.bytes) || !take_two(part, '@', DISTANCE_MAX, &to, &distance) ||
		    to >= TOPOLOGY_NODES_MAX || distance < DISTANCE_LOCAL)
			return fail(f, EXIT_USAGE,
				    "%s=%.*s: write NODE@DISTANCE, nodes 0 to %u, distances %u to %u, such as 1@20",
				    where, CLIP(value), TOPOLOGY_NODES_MAX - 1, DISTANCE_LOCAL, DISTANCE_MAX);
		if (node(o)->distance[to])
			return fail(f, EXIT_USAGE, "%s=%.*s: it has node %u twice", where, CLIP(value), to);
		node(o)->distance[to] = (uint8_t)distance;
	}
	return 0;
}

static const struct key numa_keys[] = {
	{.name = "guest_numa_id", .take = node_id},
	{.name = "cpus", .text = node_cpus, .list = true},
	{.name = "memory_zones", .text = node_zones, .list = true},
	{.name = "distances", .text = node_distances, .list = true},
};

bool options_is_numa_value(const char *word)
{
	return options_has_key(numa_keys, COUNT(numa_keys), word);
}

int options_set_numa(struct run_options *o, const char *value, struct failure *f)
{
	if (o->numa.nodes == TOPOLOGY_NODES_MAX)
		return fail(f, EXIT_USAGE, "--numa %.64s: more than %u of them", value, TOPOLOGY_NODES_MAX);
	o->numa.nodes++;
	*node(o) = (struct options_node){0};
	if (options_take_list(o, "--numa", numa_keys, COUNT(numa_keys), value, f))
		return f->code;
	if (!node(o)->has_id)
		return fail(f, EXIT_USAGE, "--numa %.64s: an id is missing, as in guest_numa_id=0,cpus=0-3", value);
	return 0;
}

/* ---- placement ---- */

static int placement_policy(struct run_options *o, const char *where, const char *value, struct failure *f)
{
	for (size_t i = 0; i < COUNT(policies); i++) {
		if (strcmp(value, policies[i]) == 0) {
			o->numa.policy = (enum placement_policy)i;
			o->numa.policy_given = true;
			return 0;
		}
	}
	return fail(f, EXIT_USAGE, "%s=%s: the value is local, pack, spread, interleave or contract", where, value);
}

static int placement_host(struct run_options *o, const char *where, struct options_text value, struct failure *f)
{
	return take_host(where, value, &o->numa.host, f);
}

static const struct key placement_keys[] = {
	{.name = "policy", .take = placement_policy},
	{.name = "host_numa_node", .text = placement_host, .list = true},
};

int options_set_placement(struct run_options *o, const char *value, struct failure *f)
{
	return options_take_list(o, "--placement", placement_keys, COUNT(placement_keys), value, f);
}

int options_set_latency(struct run_options *o, const char *value, struct failure *f)
{
	char *end;
	const double ns = strtod(value, &end);

	if (!isdigit((unsigned char)value[0]) || strcmp(end, "ns") != 0 || !isfinite(ns) || ns < 1 ||
	    ns > LATENCY_MAX_NS)
		return fail(f, EXIT_USAGE, "--latency %.64s: not nanoseconds from 1ns to %uns, such as 100ns", value,
			    LATENCY_MAX_NS);
	o->numa.latency_ps = (uint32_t)(ns * PS_A_NS + 0.5);
	return 0;
}

int options_set_latencies(struct run_options *o, const char *value, struct failure *f)
{
	(void)f;
	o->numa.latencies = value;
	return 0;
}

int options_set_strict(struct run_options *o, const char *value, struct failure *f)
{
	(void)value;
	(void)f;
	o->numa.strict = true;
	return 0;
}

/* ---- all of them ---- */

/* Keys of --memory that a zone has of its own. */
static int judge_memory_of_zones(const struct run_options *o, struct failure *f)
{
	const char *key = o->memory.hugepages  ? "hugepages"
			  : o->memory.shared   ? "shared"
			  : o->memory.prefault ? "prefault"
					       : NULL;

	if (o->memory.sized && o->memory.bytes)
		return fail(f, EXIT_USAGE, "--memory size=%s: with --memory-zone, which have the sizes, size=0 or none",
			    size_format(o->memory.bytes).s);
	if (key)
		return fail(f, EXIT_USAGE, "--memory %s=on: with --memory-zone, a key of each zone", key);
	if (o->pool.bytes || o->pool.taken)
		return fail(f, EXIT_USAGE, "--pool: not with --memory-zone, each of which has a pool of its own");
	return 0;
}

int options_judge_zones(struct run_options *o, struct failure *f)
{
	uint64_t bytes = 0;

	if (!o->numa.zones && !o->memory.bytes)
		return fail(f, EXIT_USAGE, "--memory size=0: a guest needs %s at least, or --memory-zone",
			    size_format(OPTIONS_MEMORY_MIN).s);
	if (o->memory.bytes > OPTIONS_ZONES_BYTES)
		return fail(f, EXIT_USAGE, "--memory size=%s: a guest addresses %s at most",
			    size_format(o->memory.bytes).s, size_format(OPTIONS_ZONES_BYTES).s);
	if (!o->numa.zones || judge_memory_of_zones(o, f))
		return f->code;
	for (unsigned i = 0; i < o->numa.zones; i++)
		bytes += o->numa.zone[i].bytes; /* 16 times 2^52 at most */
	if (bytes < OPTIONS_MEMORY_MIN)
		return fail(f, EXIT_USAGE, "--memory-zone: all of them have %s; a guest needs %s at least",
			    size_format(bytes).s, size_format(OPTIONS_MEMORY_MIN).s);
	if (bytes > OPTIONS_ZONES_BYTES)
		return fail(f, EXIT_USAGE, "--memory-zone: all of them have %s; a guest addresses %s at most",
			    size_format(bytes).s, size_format(OPTIONS_ZONES_BYTES).s);
	o->memory.bytes = bytes;
	return 0;
}

/* In the order of their ids, without a gap; from here on a node's place is its id. */
static int order_nodes(struct options_numa *n, struct failure *f)
{
	for (unsigned id = 0; id < n->nodes; id++) {
		unsigned at = id;
		struct options_node swapped;

		while (at < n->nodes && n->node[at].id != id)
			at++;
		if (at == n->nodes)
			return fail(f, EXIT_USAGE,
				    "--numa: no guest_numa_id=%u; %u nodes have the numbers 0 to %u, without a gap", id,
				    n->nodes, n->nodes - 1);
		swapped = n->node[id];
		n->node[id] = n->node[at];
		n->node[at] = swapped;
	}
	return 0;
}

static int judge_cpus(struct run_options *o, unsigned id, struct failure *f)
{
	for (unsigned cpu = 0; cpu < OPTIONS_CPUS_MAX; cpu++) {
		if (!options_has_number(&o->numa.node[id].cpus, cpu))
			continue;
		if (cpu >= o->cpus)
			return fail(f, EXIT_USAGE,
				    "--numa guest_numa_id=%u: there is no CPU %u; --cpus boot=%u has 0 to %u", id, cpu,
				    o->cpus, o->cpus - 1);
		o->numa.cpu_node[cpu] = (uint8_t)id;
	}
	return 0;
}

/* How many zones --numa can name: one, if none is described. */
static unsigned zones(const struct options_numa *n)
{
	return n->zones ? n->zones : 1;
}

static const char *zone_name(const struct options_numa *n, unsigned i)
{
	return n->zones ? n->zone[i].id : ZONE_OF_MEMORY;
}

static int judge_zone_names(struct options_numa *n, unsigned id, bool *named, struct failure *f)
{
	for (unsigned i = 0; i < n->node[id].zones; i++) {
		const struct options_text name = n->node[id].zone[i];
		unsigned z = 0;

		while (z < zones(n) &&
		       (strlen(zone_name(n, z)) != name.bytes || memcmp(zone_name(n, z), name.start, name.bytes) != 0))
			z++;
		if (z == zones(n))
			return fail(f, EXIT_USAGE, "--numa guest_numa_id=%u: there is no --memory-zone id=%.*s%s", id,
				    CLIP(name), n->zones ? "" : ", only mem0, which is all RAM");
		if (named[z])
			return fail(f, EXIT_USAGE, "--numa guest_numa_id=%u: memory zone %.*s is node %u's already", id,
				    CLIP(name), n->zone_node[z]);
		named[z] = true;
		n->zone_node[z] = (uint8_t)id;
	}
	return 0;
}

static int judge_distances(struct options_numa *n, unsigned id, struct failure *f)
{
	const uint8_t *to = n->node[id].distance;

	for (unsigned other = n->nodes; other < TOPOLOGY_NODES_MAX; other++)
		if (to[other])
			return fail(f, EXIT_USAGE, "--numa guest_numa_id=%u,distances=%u@%u: there is no node %u", id,
				    other, to[other], other);
	if (to[id] && to[id] != DISTANCE_LOCAL)
		return fail(f, EXIT_USAGE, "--numa guest_numa_id=%u,distances=%u@%u: a node has %u to itself", id, id,
			    to[id], DISTANCE_LOCAL);
	for (unsigned other = 0; other < n->nodes; other++) {
		const uint8_t back = n->node[other].distance[id];

		if (other != id && to[other] == DISTANCE_LOCAL)
			return fail(f, EXIT_USAGE,
				    "--numa guest_numa_id=%u,distances=%u@%u: to another node it is %u to %u", id,
				    other, to[other], DISTANCE_LOCAL + 1, DISTANCE_MAX);
		n->distance[id][other] = other == id ? DISTANCE_LOCAL
					 : to[other] ? to[other]
					 : back	     ? back
						     : DISTANCE_DEFAULT;
	}
	return 0;
}

static int judge_not_empty(const struct run_options *o, unsigned id, struct failure *f)
{
	const struct options_numa *n = &o->numa;

	for (unsigned cpu = 0; cpu < o->cpus; cpu++)
		if (n->cpu_node[cpu] == id)
			return 0;
	for (unsigned z = 0; z < zones(n); z++)
		if (n->zone_node[z] == id)
			return 0;
	return fail(f, EXIT_USAGE,
		    "--numa guest_numa_id=%u: a node has CPUs or memory; give cpus= or memory_zones=", id);
}

static int judge_nodes(struct run_options *o, struct failure *f)
{
	bool named[OPTIONS_ZONES_MAX] = {0};

	if (order_nodes(&o->numa, f))
		return f->code;
	for (unsigned id = 0; id < o->numa.nodes; id++)
		if (judge_cpus(o, id, f) || judge_zone_names(&o->numa, id, named, f) ||
		    judge_distances(&o->numa, id, f))
			return f->code;
	for (unsigned id = 0; !f->code && id < o->numa.nodes; id++)
		judge_not_empty(o, id, f);
	return f->code;
}

int options_judge_numa(struct run_options *o, struct failure *f)
{
	struct options_numa *n = &o->numa;

	if (n->latency_ps && n->policy_given && n->policy != PLACEMENT_CONTRACT)
		return fail(f, EXIT_USAGE,
			    "--latency %.9gns: --placement policy=%s does not keep it, policy=contract does",
			    n->latency_ps / (double)PS_A_NS, options_policy_name(n->policy));
	if (n->zones && (n->policy_given || n->latency_ps || n->latencies))
		return fail(
			f, EXIT_USAGE,
			"%s: not with --memory-zone, which have nodes of their own (host_numa_node=): nothing is left "
			"to choose",
			n->latency_ps  ? "--latency"
			: n->latencies ? "--latencies"
				       : "--placement policy");
	if (n->latencies && !n->latency_ps && !n->policy_given && !options_any_number(&n->host))
		return fail(f, EXIT_USAGE,
			    "--latencies %.64s: nothing is placed by them without --latency or --placement",
			    n->latencies);
	if (n->policy == PLACEMENT_CONTRACT && !n->latency_ps)
		return fail(f, EXIT_USAGE, "--placement policy=contract: a latency is missing, as in --latency 100ns");
	if (n->latency_ps)
		n->policy = PLACEMENT_CONTRACT;
	return judge_nodes(o, f);
}

void options_topology(const struct run_options *o, const struct options_zone_range *range, uint32_t ranges,
		      struct topology *out)
{
	const struct options_numa *n = &o->numa;

	memset(out, 0, sizeof(*out));
	MM_ASSERT(ranges <= TOPOLOGY_RANGES_MAX, ranges, TOPOLOGY_RANGES_MAX);
	if (!n->nodes)
		return;
	out->nodes = n->nodes;
	out->cpus = o->cpus;
	memcpy(out->cpu_node, n->cpu_node, o->cpus);
	memcpy(out->distance, n->distance, sizeof(out->distance));
	for (uint32_t i = 0; i < ranges; i++) {
		struct topology_range *last = &out->range[out->ranges - (out->ranges > 0)];
		const uint64_t end = last->gpa + last->bytes;

		MM_ASSERT(range[i].zone < zones(n) && range[i].bytes && range[i].gpa >= end, i, range[i].gpa);
		if (out->ranges && end == range[i].gpa && last->node == n->zone_node[range[i].zone])
			last->bytes += range[i].bytes;
		else
			out->range[out->ranges++] =
				(struct topology_range){range[i].gpa, range[i].bytes, n->zone_node[range[i].zone]};
	}
}
