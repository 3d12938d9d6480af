/* vmm/zones_verify.c: what was asked of each node against what is there, page by page, and what of the
 * promises (--latency, --strict) that keeps. Theory: top of zones.c. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "mm/placement.h"
#include "vmm/numa_room.h"
#include "vmm/size.h"
#include "vmm/zones_impl.h"

#define SHARE_PART 64u /* of a share this part may be elsewhere */

/* ---- what was asked ---- */

static unsigned weight_of(const struct numa_map *map, const struct numa_rule *rule, unsigned node)
{
	const unsigned place = rule->policy == NUMA_WEIGHTED ? numa_map_place(map, node) : NUMA_MAP_NONE;

	return place == NUMA_MAP_NONE ? 1 : map->node[place].weight;
}

/* Whole rounds, and of the last the nodes that come first. */
uint64_t zones_share(const struct numa_map *map, const struct numa_rule *rule, uint64_t bytes, unsigned node)
{
	uint64_t pages = bytes / FRAME_BYTES, all = 0, left;
	unsigned id = ids_next(&rule->nodes, 0);

	for (; id < IDS_MAX; id = ids_next(&rule->nodes, id + 1))
		all += weight_of(map, rule, id);
	if (!all)
		return 0;
	left = pages % all;
	for (id = ids_next(&rule->nodes, 0); id < node; id = ids_next(&rule->nodes, id + 1))
		left -= left < weight_of(map, rule, id) ? left : weight_of(map, rule, id);
	left = left < weight_of(map, rule, node) ? left : weight_of(map, rule, node);
	return (pages / all * weight_of(map, rule, node) + left) * FRAME_BYTES;
}

void zones_shares(const struct zones *z, const struct zone *one, uint64_t bytes, struct where *out)
{
	const struct ids *nodes = &one->rule.nodes;

	memset(out, 0, sizeof(*out));
	for (unsigned id = ids_next(nodes, 0); id < WHERE_IDS_MAX; id = ids_next(nodes, id + 1))
		out->bytes[id] = zones_share(&z->map, &one->rule, bytes, id);
}

/* ---- what is there ---- */

/* What is not there counts as if it were where it is missing. */
uint64_t zones_misplaced(const struct zones *z, const struct zone *one, const struct where *is)
{
	const struct backing *b = &one->pool->backing;
	const uint64_t absent = is->absent_bytes + is->unknown_bytes;
	uint64_t over = 0, under = 0;

	for (unsigned id = ids_next(&one->rule.nodes, 0); id < WHERE_IDS_MAX; id = ids_next(&one->rule.nodes, id + 1)) {
		const uint64_t asked = zones_share(&z->map, &one->rule, b->bytes, id), here = is->bytes[id];
		const uint64_t round = weight_of(&z->map, &one->rule, id) * pagetable_size_bytes(b->leaf);
		const uint64_t most = round + asked / SHARE_PART;

		over += here > asked + most ? here - asked : 0;
		under += here + absent + most < asked ? asked - here - absent : 0;
	}
	over += where_elsewhere(is, &one->rule.nodes);
	return over > under ? over : under;
}

static void add_bytes(const struct zones *z, const struct where *w, struct placement *p)
{
	for (unsigned i = 0; i < z->map.nodes; i++)
		p->share[i].bytes += w->bytes[z->map.node[i].id];
}

uint32_t zones_latency(const struct zones *z, const struct where *const is[ZONES_MAX])
{
	SCOPED_BLOCK(block) = memory_scoped_zeroed(z->memory, 1, sizeof(struct placement_host));
	struct placement_host *host = block.at;
	struct placement p = {0};
	struct where asked;

	if (!host || !z->latency_ps)
		return z->latency_ps;
	host->nodes = z->map.nodes;
	memcpy(host->latency_ps, z->wait_ps, sizeof(host->latency_ps));
	for (unsigned cpu = 0; cpu < z->options->cpus; cpu++)
		if (z->cpu_place[cpu] != ZONES_ANY)
			p.share[z->cpu_place[cpu]].cpus++;
	for (unsigned i = 0; i < z->count; i++) {
		const uint64_t there = is[i] ? where_elsewhere(is[i], &(struct ids){0}) : 0;

		if (is[i])
			add_bytes(z, is[i], &p);
		zones_shares(z, &z->zone[i], z->zone[i].bytes > there ? z->zone[i].bytes - there : 0, &asked);
		add_bytes(z, &asked, &p);
	}
	return placement_latency(host, &p);
}

/* ---- put right, and judged ---- */

/* Only what the kernel gives without taking it from somebody, but for who asked to be bound. */
static uint64_t may_move(struct zones *z, const struct zone *one)
{
	uint64_t room = 0;

	if (z->options->numa.strict || one->pool->backing.kind == BACKING_HUGETLB)
		return UINT64_MAX;
	numa_room_read("", &z->map);
	for (unsigned i = 0; i < z->map.nodes; i++)
		room += ids_has(&one->rule.nodes, z->map.node[i].id) ? z->map.node[i].room_bytes : 0;
	return room;
}

static int refuse_strict(const struct zones *z, const struct zone *one, struct failure *f)
{
	const uint64_t elsewhere = where_elsewhere(&one->where, &one->rule.nodes);
	const struct ids *nodes = &one->rule.nodes;
	const uint64_t misplaced = zones_misplaced(z, one, &one->where);

	if (elsewhere)
		return fail(f, EXIT_HOST, "--strict: %s of zone %s are not on node %s, and cannot be moved there",
			    size_format(elsewhere).s, one->id, ids_format(nodes).s);
	return fail(f, EXIT_HOST,
		    "--strict: of zone %s, asked from nodes %s %s, %s are on another of them than they were asked from",
		    one->id, ids_format(nodes).s,
		    one->rule.policy == NUMA_WEIGHTED ? "by their weights" : "in equal shares",
		    size_format(misplaced).s);
}

/* Whatever of it comes again (a balloon's pages, swapped ones) comes from the same nodes, if not in turn. */
static int bind(const struct zones *z, const struct zone *one, struct failure *f)
{
	const struct numa_rule rule = {NUMA_BIND, one->rule.nodes};
	const struct backing *b = &one->pool->backing;
	const char *note;

	if (!z->options->numa.strict || one->rule.policy == NUMA_BIND)
		return 0;
	return numa_rule_set(&z->host->numa, &rule, b->host, b->bytes, false, &note, f);
}

static int verify(struct zones *z, struct zone *one, struct failure *f)
{
	const struct backing *b = &one->pool->backing;
	const uint64_t page = b->kind == BACKING_HUGETLB ? pagetable_size_bytes(b->leaf) : FRAME_BYTES;

	if (where_pages(b->host, b->bytes, page, &one->where, f))
		return f->code;
	one->verified = true;
	if (where_elsewhere(&one->where, &one->rule.nodes) &&
	    where_repair(&z->host->numa, &one->rule, b->host, b->bytes, page, may_move(z, one), &one->where, f))
		return f->code;
	if (z->options->numa.strict && zones_misplaced(z, one, &one->where))
		return refuse_strict(z, one, f);
	return bind(z, one, f);
}

static int judge_latency(struct zones *z, struct failure *f)
{
	const uint32_t most = z->options->numa.latency_ps;
	const struct where *is[ZONES_MAX] = {0};

	for (unsigned i = 0; i < z->count; i++)
		is[i] = z->zone[i].verified ? &z->zone[i].where : NULL;
	z->latency_ps = zones_latency(z, is);
	if (!most || z->latency_ps <= most)
		return 0;
	return fail(f, EXIT_HOST,
		    "--latency %" PRIu32 ".%03" PRIu32
		    "ns is not kept: not all memory came from where it was asked, and as it lies the mean is %" PRIu32
		    ".%03" PRIu32 "ns (latencies: %s)",
		    most / 1000, most % 1000, z->latency_ps / 1000, z->latency_ps % 1000,
		    latency_source_name(z->latency_source));
}

int zones_verify(struct zones *z, struct failure *f)
{
	for (unsigned i = 0; i < z->count; i++) {
		struct zone *one = &z->zone[i];
		struct failure why = {0};

		if (!one->ruled || !one->pool->prefault || !verify(z, one, &why))
			continue;
		if (z->options->numa.strict)
			return fail(f, (enum exit_code)why.code, "%s", why.text);
		fprintf(stderr, "slat: %s: where its pages are could not be verified, or not put right: %s\n",
			one->name, why.text);
	}
	return judge_latency(z, f);
}
