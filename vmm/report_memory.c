#include "vmm/report_memory.h"

#include <stdio.h>

#include "mm/port.h"
#include "vmm/contiguity.h"
#include "vmm/size.h"
#include "vmm/zones.h"

_Static_assert(HOST_POOLS_MAX <= RESIDENT_MAX, "one read for all");

struct report_truth {
	unsigned pools;
	const struct pool *pool[HOST_POOLS_MAX];
	struct contiguity physical[HOST_POOLS_MAX], all;
	struct resident_use use[HOST_POOLS_MAX];
	struct resident_sum sum;
};

static json_int_t number(uint64_t n)
{
	return (json_int_t)n;
}

static json_t *number_if(bool known, uint64_t n)
{
	return known ? json_integer(number(n)) : json_null();
}

/* ---- what is so ---- */

static void add_physical(struct contiguity *all, const struct contiguity *one)
{
	all->known = all->known && one->known;
	all->bytes += one->bytes;
	all->runs += one->runs;
	if (one->largest_bytes > all->largest_bytes)
		all->largest_bytes = one->largest_bytes;
}

static void add_pool(struct report_truth *t, const struct pool *p, const struct resident *r)
{
	t->pool[t->pools] = p;
	t->physical[t->pools] = contiguity_read(&p->backing, 0, p->backing.bytes, r->pagemap);
	add_physical(&t->all, &t->physical[t->pools++]);
}

/* Of the guest's pools. */
static unsigned backings_of(const struct vm *vm, const struct backing **backing)
{
	const struct host *host = vm->guest.host;
	unsigned n = 0;

	for (unsigned i = 0; i < host->pools; i++)
		if (host->pool[i].node != HOST_TABLES)
			backing[n++] = &host->pool[i].backing;
	return n;
}

struct report_truth *report_truth_read(const struct vm *vm, struct resident *r)
{
	struct report_truth *t = memory_alloc(vm->memory, sizeof(*t));
	const struct backing *backing[HOST_POOLS_MAX];
	const unsigned backings = backings_of(vm, backing);

	if (!t)
		return NULL;
	t->pools = 0;
	t->all = (struct contiguity){.known = true};
	for (unsigned i = 0; i < vm->guest.host->pools; i++)
		if (vm->guest.host->pool[i].node != HOST_TABLES)
			add_pool(t, &vm->guest.host->pool[i], r);
	resident_read(r, backing, backings, t->use, &t->sum);
	return t;
}

void report_truth_free(const struct vm *vm, struct report_truth *t)
{
	memory_free(vm->memory, t);
}

/* ---- as JSON ---- */

static json_t *by_node(bool known, const struct where *w)
{
	json_t *nodes = known ? json_object() : json_null();
	char id[12];

	for (unsigned i = 0; known && i < WHERE_IDS_MAX; i++) {
		if (!w->bytes[i])
			continue;
		snprintf(id, sizeof(id), "%u", i);
		json_object_set_new(nodes, id, json_integer(number(w->bytes[i])));
	}
	return nodes;
}

static void add_use(json_t *to, const struct resident_use *use)
{
	json_object_set_new(to, "resident_bytes", number_if(use && use->known, use ? use->resident : 0));
	json_object_set_new(to, "huge_bytes", number_if(use && use->known, use ? use->huge : 0));
	json_object_set_new(to, "shared_bytes", number_if(use && use->known, use ? use->shared : 0));
	json_object_set_new(to, "bytes_by_node", by_node(use && use->where_known, use ? &use->where : NULL));
}

static void add_runs(json_t *to, const struct contiguity *c)
{
	json_object_set_new(to, "physical",
			    c && c->known ? json_pack("{s:I, s:I}", "runs", number(c->runs), "largest_run_bytes",
						      number(c->largest_bytes))
					  : json_null());
}

json_t *report_memory(const struct vm *vm, const struct report_truth *t)
{
	json_t *memory =
		json_pack("{s:I, s:I, s:s, s:I}", "bytes", number(vm->ram_bytes), "extents", number(vm->guest.blocks),
			  "backing", backing_kind_name(vm->guest.block->pool->backing.kind), "page_bytes",
			  number(pagetable_size_bytes(vm->guest.leaf)));

	add_use(memory, t ? &t->sum.all : NULL);
	json_object_set_new(memory, "resident_bytes_max", number_if(t && t->sum.high_known, t ? t->sum.high : 0));
	add_runs(memory, t ? &t->all : NULL);
	return memory;
}

json_t *report_leaves(const uint64_t leaves[PAGETABLE_SIZES])
{
	return json_pack("{s:I, s:I, s:I}", "4k", number(leaves[PAGETABLE_4K]), "2m", number(leaves[PAGETABLE_2M]),
			 "1g", number(leaves[PAGETABLE_1G]));
}

/* Its place in the truth. */
static unsigned place_of(const struct report_truth *t, const struct zone *z)
{
	unsigned i = 0;

	for (; t->pool[i] != z->pool; i++)
		MM_ASSERT(i + 1 < t->pools, i, z->bytes);
	return i;
}

static json_t *asked_by_node(const struct zones *zones, const struct zone *z)
{
	struct where asked;

	zones_shares(zones, z, z->bytes, &asked);
	return by_node(z->ruled, &asked);
}

static json_t *report_zone(const struct vm *vm, const struct zone *z, const struct report_truth *t)
{
	json_t *zone = json_pack("{s:s, s:I, s:s, s:I}", "id", z->id, "bytes", number(z->bytes), "backing",
				 backing_kind_name(z->pool->backing.kind), "page_bytes",
				 number(pagetable_size_bytes(z->pool->backing.leaf)));
	const unsigned i = t ? place_of(t, z) : 0;
	uint64_t leaves[PAGETABLE_SIZES];

	vm_leaves_of(vm, z->pool, leaves);
	json_object_set_new(zone, "leaves", report_leaves(leaves));
	json_object_set_new(zone, "policy", z->ruled ? json_string(numa_policy_name(z->rule.policy)) : json_null());
	json_object_set_new(zone, "nodes", z->ruled ? json_string(ids_format(&z->rule.nodes).s) : json_null());
	json_object_set_new(zone, "asked_by_node", asked_by_node(vm->guest.zones, z));
	add_use(zone, t ? &t->use[i] : NULL);
	json_object_set_new(zone, "elsewhere_bytes",
			    number_if(t && z->ruled && t->use[i].where_known,
				      t ? where_elsewhere(&t->use[i].where, &z->rule.nodes) : 0));
	json_object_set_new(zone, "verified_by_node", by_node(z->verified, &z->where));
	add_runs(zone, t ? &t->physical[i] : NULL);
	return zone;
}

json_t *report_zones(const struct vm *vm, const struct report_truth *t)
{
	const struct zones *z = vm->guest.zones;
	json_t *list = z ? json_array() : json_null();

	for (unsigned i = 0; z && i < z->count; i++)
		json_array_append_new(list, report_zone(vm, &z->zone[i], t));
	return list;
}

/* Of where it is now, not of where it was before the start. null: no placement chose it, or by no latencies. */
json_t *report_latency(const struct vm *vm, const struct report_truth *t)
{
	const struct zones *z = vm->guest.zones;
	const uint32_t most = z ? z->options->numa.latency_ps : 0;
	const struct where *is[ZONES_MAX] = {0};
	uint32_t mean;

	if (!z || !z->latency_ps)
		return json_null();
	for (unsigned i = 0; t && i < z->count; i++) {
		const struct resident_use *use = &t->use[place_of(t, &z->zone[i])];

		is[i] = use->where_known ? &use->where : NULL;
	}
	mean = zones_latency(z, is);
	return json_pack("{s:o, s:I, s:o, s:s}", "asked_ps", number_if(most, most), "mean_ps", number(mean), "kept",
			 most ? json_boolean(mean <= most) : json_null(), "source",
			 latency_source_name(z->latency_source));
}

/* ---- as a line ---- */

static void show_nodes(const struct where *w, FILE *to)
{
	const char *between = "; node ";

	for (unsigned id = 0; id < WHERE_IDS_MAX; id++)
		if (w->bytes[id]) {
			fprintf(to, "%s%u: %s", between, id, size_format(w->bytes[id]).s);
			between = ", ";
		}
}

void report_show(const struct vm *vm, struct resident *r, FILE *to)
{
	struct resident_use *use = memory_alloc(vm->memory, HOST_POOLS_MAX * sizeof(*use));
	const struct backing *backing[HOST_POOLS_MAX];
	struct resident_sum sum = {0};

	if (use)
		resident_read(r, backing, backings_of(vm, backing), use, &sum);
	memory_free(vm->memory, use);
	if (sum.all.known)
		fprintf(to, "slat: of %s %s are resident, %s huge, %s shared", size_format(vm->ram_bytes).s,
			size_format(sum.all.resident).s, size_format(sum.all.huge).s, size_format(sum.all.shared).s);
	else
		fprintf(to, "slat: how much of %s is resident cannot be told", size_format(vm->ram_bytes).s);
	if (sum.all.where_known)
		show_nodes(&sum.all.where, to);
	if (sum.high_known)
		fprintf(to, "; at most %s, slat's own included", size_format(sum.high).s);
	fputc('\n', to);
}
