/* The command line: any words, at most 31. A refusal has a sentence; what is taken is in range. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "mm/pagetable.h"
#include "vmm/options.h"

#define WORDS_MAX 31

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* In order, disjoint, whole frames. */
static bool sound(const struct guest_ranges *r)
{
	uint64_t end = 0;

	for (unsigned i = 0; i < r->count; i++) {
		if (r->range[i].gpa < end || r->range[i].bytes == 0 || (r->range[i].gpa | r->range[i].bytes) % 4096)
			return false;
		end = r->range[i].gpa + r->range[i].bytes;
	}
	return r->count <= GUEST_RANGES_MAX;
}

/* Each with an id of its own, a size and what its backing needs; together they are the guest's RAM. */
static bool sound_zones(const struct run_options *o)
{
	uint64_t bytes = 0;

	if (o->numa.zones > OPTIONS_ZONES_MAX)
		return false;
	for (unsigned i = 0; i < o->numa.zones; i++) {
		const struct options_zone *z = &o->numa.zone[i];

		for (unsigned k = 0; k < i; k++)
			if (strcmp(o->numa.zone[k].id, z->id) == 0)
				return false;
		if (!z->id[0] || !z->bytes || z->bytes % 4096 || (z->backing == OPTIONS_DEVDAX) != (z->file.bytes > 0))
			return false;
		if (z->backing == OPTIONS_HUGETLB && z->bytes % pagetable_size_bytes(z->huge))
			return false;
		bytes += z->bytes;
	}
	return !o->numa.zones || bytes == o->memory.bytes;
}

static bool sound_nodes(const struct run_options *o)
{
	const struct options_numa *n = &o->numa;
	const unsigned nodes = n->nodes ? n->nodes : 1;

	if (n->nodes > TOPOLOGY_NODES_MAX || (n->policy == PLACEMENT_CONTRACT) != (n->latency_ps > 0))
		return false;
	if (n->latencies && (n->zones || !(n->latency_ps || n->policy_given || options_any_number(&n->host))))
		return false;
	for (unsigned i = 0; i < OPTIONS_CPUS_MAX; i++)
		if (n->cpu_node[i] >= nodes || (i >= o->cpus && n->cpu_node[i]))
			return false;
	for (unsigned i = 0; i < OPTIONS_ZONES_MAX; i++)
		if (n->zone_node[i] >= nodes)
			return false;
	for (unsigned i = 0; i < n->nodes; i++)
		for (unsigned k = 0; k < n->nodes; k++)
			if (i == k ? n->distance[i][k] != 10 : n->distance[i][k] < 11)
				return false;
	return true;
}

/* The zones one after another from 0: the topology has as much of them, in order. */
static bool sound_topology(const struct run_options *o)
{
	struct options_zone_range range[OPTIONS_ZONES_MAX] = {{0, o->memory.bytes, 0}};
	uint64_t at = 0, bytes = 0;
	struct topology t;

	for (unsigned i = 0; i < o->numa.zones; i++) {
		range[i] = (struct options_zone_range){at, o->numa.zone[i].bytes, i};
		at += range[i].bytes;
	}
	options_topology(o, range, o->numa.zones ? o->numa.zones : 1, &t);
	for (uint32_t i = 0; i < t.ranges; i++) {
		if (t.range[i].gpa != bytes || t.range[i].node >= t.nodes)
			return false;
		bytes += t.range[i].bytes;
	}
	return t.nodes == o->numa.nodes && bytes == (t.nodes ? o->memory.bytes : 0);
}

static bool sound_all(const struct run_options *o)
{
	return o->image && o->cpus && o->memory.bytes >= OPTIONS_MEMORY_MIN && o->memory.bytes % 4096 == 0 &&
	       o->pool.bytes >= o->memory.bytes && sound(&o->ranges) && sound_zones(o) && sound_nodes(o) &&
	       sound_topology(o);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *copy = malloc(size + 1), *argv[WORDS_MAX];
	struct run_options o = {0};
	struct failure f = {0};
	int argc = 0;

	memcpy(copy, data, size);
	copy[size] = '\0';
	for (size_t at = 0; at < size && argc < WORDS_MAX; at += strlen(copy + at) + 1) {
		copy[at + strcspn(copy + at, "\n")] = '\0';
		argv[argc++] = copy + at;
	}
	if (options_parse(argc, argv, &o, &f)) {
		if (!f.text[0] || f.code != EXIT_USAGE)
			abort();
	} else if (!o.help && !sound_all(&o)) {
		abort();
	}
	free(copy);
	return 0;
}
