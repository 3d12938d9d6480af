/* vmm/zones_pools.c: a pool for each zone that was planned: what the host says to them all, then
 * the pools, and their blocks in the order of the guest's addresses. Theory: top of zones.c. */
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "vmm/size.h"
#include "vmm/stitch.h"
#include "vmm/zones_impl.h"

/* ---- what the host says to it ---- */

static enum options_backing backing_of(const struct make *m, unsigned i)
{
	const struct options_zone *from = m->plan[i].from;

	if (from)
		return from->backing;
	return m->o->memory.hugepages ? OPTIONS_HUGETLB : m->o->memory.shared ? OPTIONS_MEMFD : OPTIONS_ANON;
}

/* The kernel sets huge pages aside for the host and not by node: those of a node are sure once they are there. */
static bool is_prefaulted(const struct make *m, unsigned i)
{
	if (backing_of(m, i) == OPTIONS_HUGETLB && ids_count(&m->plan[i].nodes))
		return true;
	return m->plan[i].from ? m->plan[i].from->prefault : m->o->memory.prefault;
}

static enum pagetable_size huge_of(const struct make *m, unsigned i)
{
	return m->plan[i].from ? m->plan[i].from->huge : m->o->memory.huge;
}

struct sum_text {
	char s[sizeof(((struct zone *)0)->name) + sizeof(" and those before it")];
};

/* What is said of a sum over a zone and some before it. */
static struct sum_text name_of(const struct make *m, unsigned i, uint64_t bytes)
{
	struct sum_text text;

	snprintf(text.s, sizeof(text.s), "%s%s", m->z->zone[i].name,
		 i && bytes > m->plan[i].bytes ? " and those before it" : "");
	return text;
}

/* With those before it that are bound to the same node: the kernel counts them for the host, and not by node. */
static int check_huge(const struct make *m, unsigned i, struct failure *f)
{
	const struct plan *p = &m->plan[i];
	const enum pagetable_size size = huge_of(m, i);
	const unsigned node = ids_next(&p->nodes, 0);
	uint64_t bytes = 0;

	if (backing_of(m, i) != OPTIONS_HUGETLB || node == IDS_MAX)
		return 0;
	if (ids_count(&p->nodes) > 1)
		return numa_map_check_huge_nodes(&m->z->map, m->z->zone[i].name, &p->nodes, numa_huge_of(size),
						 p->pool_bytes / pagetable_size_bytes(size), f);
	for (unsigned k = 0; k <= i; k++)
		if (backing_of(m, k) == OPTIONS_HUGETLB && huge_of(m, k) == size && ids_has(&m->plan[k].nodes, node) &&
		    ids_count(&m->plan[k].nodes) == 1)
			bytes += m->plan[k].pool_bytes;
	if (bytes == p->pool_bytes) /* the backing counts its own */
		return 0;
	return numa_map_check_huge(&m->z->map, name_of(m, i, bytes).s, numa_map_place(&m->z->map, node),
				   numa_huge_of(size), bytes / pagetable_size_bytes(size), f);
}

/* Control groups count them for all nodes together. */
static int check_huge_limit(const struct make *m, unsigned i, struct failure *f)
{
	const enum pagetable_size size = huge_of(m, i);
	uint64_t bytes = 0;

	for (unsigned k = 0; k <= i; k++)
		if (backing_of(m, k) == OPTIONS_HUGETLB && huge_of(m, k) == size)
			bytes += m->plan[k].bytes; /* what a pool has more is promised, and not used */
	return limits_check_huge(&m->z->limits, name_of(m, i, bytes).s, numa_huge_of(size), bytes, f);
}

static struct numa_rule rule_of(const struct make *m, unsigned i)
{
	const struct plan *p = &m->plan[i];
	const bool weighted = p->from && p->from->weighted;

	return (struct numa_rule){ids_count(&p->nodes) > 1 ? weighted ? NUMA_WEIGHTED : NUMA_INTERLEAVE
				  : m->o->numa.strict	   ? NUMA_BIND
							   : NUMA_PREFERRED,
				  p->nodes};
}

/* Interleaved pages go elsewhere where a node has no more: only a look at those that are there can tell. */
static int check_strict(const struct make *m, unsigned i, struct failure *f)
{
	if (!m->o->numa.strict || ids_count(&m->plan[i].nodes) < 2 || is_prefaulted(m, i) ||
	    backing_of(m, i) == OPTIONS_DEVDAX)
		return 0;
	return fail(f, EXIT_USAGE,
		    "%s: --strict can tell for memory of several nodes only once it is touched: prefault=on",
		    m->z->zone[i].name);
}

/* What is asked from the node of the plan's, with those before it that are asked so, too: `touched`: by prefault. */
static uint64_t asked_of(const struct make *m, unsigned i, unsigned node, bool touched)
{
	uint64_t bytes = 0;

	for (unsigned k = 0; k <= i; k++) {
		const struct plan *p = &m->plan[k];
		const struct numa_rule rule = rule_of(m, k);
		const enum options_backing backing = backing_of(m, k);

		if (backing != OPTIONS_DEVDAX && backing != OPTIONS_HUGETLB && ids_has(&p->nodes, node) &&
		    (is_prefaulted(m, k) || !touched))
			bytes += zones_share(&m->z->map, &rule, p->bytes, node);
	}
	return bytes;
}

/* Bound memory that the node has not got ends the process at some touch, without a sentence; interleaved, it comes from
 * another. The kernel drops files' pages for who is bound to a node, and for nobody else. What is not touched at once
 * may find what is in use now come back: of that, all that the node has is judged. */
static int check_node(const struct make *m, unsigned i, unsigned node, struct failure *f)
{
	const struct numa_map_node *n = &m->z->map.node[numa_map_place(&m->z->map, node)];
	const bool bound = ids_count(&m->plan[i].nodes) == 1;
	const uint64_t room = n->room_bytes + (bound ? n->cached_bytes / 2 : 0);
	const uint64_t bytes = asked_of(m, i, node, false), touched = asked_of(m, i, node, true);

	if (n->total_bytes && bytes > n->total_bytes)
		return fail(f, EXIT_HOST,
			    "%s: --strict binds %s to node %u, which has %s: ask for less, or leave --strict out",
			    name_of(m, i, bytes).s, size_format(bytes).s, node, size_format(n->total_bytes).s);
	if (!n->total_bytes || !is_prefaulted(m, i) || touched <= room)
		return 0;
	return fail(f, EXIT_HOST,
		    "%s: --strict binds %s to node %u, which can give %s now (%s are free, and the kernel keeps some "
		    "back): ask for less, or leave --strict out",
		    name_of(m, i, touched).s, size_format(touched).s, node, size_format(room).s,
		    size_format(n->free_bytes).s);
}

static int check_bound(const struct make *m, unsigned i, struct failure *f)
{
	const struct ids *nodes = &m->plan[i].nodes;

	if (!m->o->numa.strict || backing_of(m, i) == OPTIONS_HUGETLB) /* huge pages are counted on their own */
		return 0;
	for (unsigned id = ids_next(nodes, 0); id < IDS_MAX; id = ids_next(nodes, id + 1))
		if (check_node(m, i, id, f))
			return f->code;
	return 0;
}

int zones_check_plan(const struct make *m, struct failure *f)
{
	uint64_t all = 0, touched = 0, locked = 0; /* by all zones so far */

	for (unsigned i = 0; i < m->z->count; i++) {
		const enum options_backing backing = backing_of(m, i);
		const char *name = m->z->zone[i].name;
		const struct plan *p = &m->plan[i];

		if (backing == OPTIONS_DEVDAX) /* its node has no memory of the kernel's, as a rule */
			continue;
		if (numa_map_check_nodes(&m->z->map, name, &p->nodes, f) ||
		    limits_check_nodes(&m->z->limits, name, &p->nodes, f) || check_huge(m, i, f) ||
		    check_strict(m, i, f) || check_bound(m, i, f))
			return f->code;
		all += p->pool_bytes;
		if (i && backing_check_host(name_of(m, i, all).s, all, f)) /* the backing judges its own */
			return f->code;
		if (backing == OPTIONS_HUGETLB && check_huge_limit(m, i, f))
			return f->code;
		if (backing == OPTIONS_HUGETLB) /* never swapped out; of no other limits */
			continue;
		touched += is_prefaulted(m, i) ? p->bytes : 0;
		locked += m->o->memory.mlock ? p->pool_bytes : 0;
		if ((touched && limits_check_memory(&m->z->limits, name_of(m, i, touched).s, touched, f)) ||
		    (locked && limits_check_lock(&m->z->limits, name_of(m, i, locked).s, locked, f)))
			return f->code;
	}
	return 0;
}

/* ---- pools ---- */

/* The CPUs that are to touch it: a page is wiped by one of them. */
static const struct ids *cpus_beside(const struct zones *z, struct zone *zone, unsigned node)
{
	const unsigned place = numa_map_place(&z->map, node);

	zone->cpus = place == NUMA_MAP_NONE ? (struct ids){0} : zones_cpus_of(z, place);
	return ids_count(&zone->cpus) ? &zone->cpus : NULL;
}

static int check_device(const struct zone *zone, const struct ids *nodes, struct failure *f)
{
	const uint32_t node = zone->pool->backing.node;

	if (!ids_count(nodes) || node == BACKING_NODE_ANY || ids_has(nodes, node))
		return 0;
	return fail(f, EXIT_HOST, "%s: its device is memory of node %" PRIu32 ", not of node %s", zone->name, node,
		    ids_format(nodes).s);
}

static int pool_of(struct make *m, unsigned i, struct pool_config *config, struct failure *f)
{
	struct zones *z = m->z;
	struct zone *zone = &z->zone[i];
	const struct plan *p = &m->plan[i];
	const unsigned nodes = ids_count(&p->nodes);
	const unsigned node = nodes ? ids_next(&p->nodes, 0) : numa_map_roomiest(&z->map, &z->limits.nodes);
	const char *note = NULL;

	config->backing.on_node = nodes == 1;
	config->backing.node = node;
	config->backing.map = &z->map;
	config->backing.cpus = nodes == 1 ? cpus_beside(z, zone, node) : NULL;
	if (host_add_pool(z->host, node, config, &zone->pool, f))
		return f->code;
	if (zone->pool->backing.note[0])
		fprintf(stderr, "slat: %s\n", zone->pool->backing.note);
	if (zone->pool->backing.kind == BACKING_DEVDAX)
		return check_device(zone, &p->nodes, f);
	if (!nodes)
		return 0;
	zone->ruled = true;
	zone->rule = rule_of(m, i);
	if (numa_rule_set(&z->host->numa, &zone->rule, zone->pool->backing.host, zone->pool->backing.bytes, false,
			  &note, f))
		return f->code;
	if (note)
		fprintf(stderr, "slat: %s: %s\n", zone->name, note);
	return 0;
}

static struct pool_config config_of(const struct make *m, unsigned i)
{
	const struct run_options *o = m->o;
	const struct options_zone *from = m->plan[i].from;

	return (struct pool_config){
		.prefault = is_prefaulted(m, i),
		.backing =
			{
				.bytes = m->plan[i].pool_bytes,
				.hugepages = backing_of(m, i) == OPTIONS_HUGETLB,
				.huge = huge_of(m, i),
				.thp = o->memory.thp,
				.shared = backing_of(m, i) == OPTIONS_MEMFD || (from ? from->shared : o->memory.shared),
				.reserve = from && from->reserve,
				.lock = o->memory.mlock,
				.no_dump = o->memory.dontdump,
				.zone = m->z->zone[i].name,
				.root = m->root,
			},
	};
}

/* The text of an option has no end of its own. */
static int name_device(const struct make *m, unsigned i, struct pool_config *c, char *path, size_t room,
		       struct failure *f)
{
	const struct options_zone *from = m->plan[i].from;

	if (backing_of(m, i) != OPTIONS_DEVDAX)
		return 0;
	if (from->file.bytes >= room)
		return fail(f, EXIT_USAGE, "%s: file= is longer than a path can be", m->z->zone[i].name);
	memcpy(path, from->file.start, from->file.bytes);
	path[from->file.bytes] = '\0';
	c->backing.devdax = path;
	return 0;
}

static int join(struct memory *memory, struct block_list *all, struct block_list *more, struct failure *f)
{
	struct block *grown = memory_realloc(memory, all->block, (all->count + more->count) * sizeof(*grown));

	if (!grown) {
		block_list_free(more);
		return fail(f, EXIT_HOST, "no memory for the list of blocks");
	}
	memcpy(grown + all->count, more->block, more->count * sizeof(*grown));
	*all = (struct block_list){memory, grown, all->count + more->count};
	memory_free(memory, more->block);
	return 0;
}

/* A leaf is as large on both sides, so where a zone begins in the guest counts, too. A gap before it would give it its
 * pages, and put every address behind it (--guard, --ro, what the guest was told of) elsewhere than sizes say. */
static void note_start(const struct zone *zone, uint64_t offset)
{
	const uint64_t page = pagetable_size_bytes(zone->pool->backing.leaf);
	const enum pagetable_size left = offset % pagetable_size_bytes(PAGETABLE_2M) ? PAGETABLE_4K : PAGETABLE_2M;

	if (offset % page && zone->bytes >= page)
		fprintf(stderr,
			"slat: %s: it begins behind %s of others, so the guest has its pages of %s by leaves of %s; "
			"zones before it whose sizes are multiples of %s, or that come behind it, avoid that\n",
			zone->name, size_format(offset).s, size_format(page).s,
			size_format(pagetable_size_bytes(left)).s, size_format(page).s);
}

/* Of the one pool that there is with --pool. */
static int take_history(const struct make *m, struct pool *pool, struct failure *f)
{
	for (unsigned i = 0; i < m->o->pool.taken; i++)
		if (pool_take(pool, m->o->pool.take[i].start, m->o->pool.take[i].bytes, f))
			return f->code;
	return 0;
}

static struct gather_request request_of(const struct make *m, unsigned i, uint32_t blocks_max)
{
	return (struct gather_request){m->o->memory.contiguous, m->plan[i].bytes, m->o->memory.extent_bytes,
				       blocks_max};
}

/* offset: how much RAM comes before it. */
static int open_pool(struct make *m, unsigned i, uint64_t offset, uint32_t blocks_max, struct failure *f)
{
	const struct gather_request ask = request_of(m, i, blocks_max);
	struct pool_config c = config_of(m, i);
	char path[PATH_MAX];

	c.segments = 2 * (gather_blocks_most(&ask, m->o->pool.taken) + m->o->pool.taken) + 2;
	c.gpa = stitch_gpa(offset);
	m->z->zone[i].bytes = m->plan[i].bytes;
	if (name_device(m, i, &c, path, sizeof(path), f) || pool_of(m, i, &c, f))
		return f->code;
	note_start(&m->z->zone[i], offset);
	return 0;
}

/* Those of devices first: their numbers are their addresses, and others' go around them. */
static int open_in_order(struct make *m, uint32_t blocks_max, struct failure *f)
{
	for (unsigned pass = 0; pass < 2; pass++) {
		uint64_t offset = 0;

		for (unsigned i = 0; i < m->z->count; i++) {
			const bool device = backing_of(m, i) == OPTIONS_DEVDAX;

			if (device == (pass == 0) && open_pool(m, i, offset, blocks_max, f))
				return f->code;
			offset += m->plan[i].bytes;
		}
	}
	return 0;
}

int zones_open_pools(struct make *m, uint32_t blocks_max, struct block_list *out, struct failure *f)
{
	struct zones *z = m->z;

	if ((z->count > 1 && host_mirror(z->host, f)) || open_in_order(m, blocks_max, f))
		return f->code;
	for (unsigned i = 0; i < z->count; i++) {
		const struct gather_request ask = request_of(m, i, blocks_max - out->count);
		struct block_list more = {0};

		if (take_history(m, z->zone[i].pool, f) || gather(z->zone[i].pool, z->memory, &ask, &more, f) ||
		    join(z->memory, out, &more, f))
			return f->code;
	}
	return 0;
}
