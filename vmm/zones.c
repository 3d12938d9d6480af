/* vmm/zones.c
 *
 * What it is. From what was asked for (--memory-zone, --numa, --placement, --latency)
 * and what the host has (numa_map, limits) to pools: a plan first, judged whole, then the
 * pools in its order. Whoever asks for none of these gets one zone by the kernel's
 * choice, and the host's nodes are not even read.
 *
 * Words. A zone is a part of the RAM with a backing and a rule of its own. A share is
 * what a placement puts on one node: a zone that nobody named. A place is a node's
 * index in the map.
 *
 * Z1  zones cover the RAM in the order of the guest's addresses, without a gap.
 * Z2  a zone with several nodes is interleaved over them, by weights if it says so; with
 *     one it is bound to it with --strict, else it prefers it: bound, a zone larger than its
 *     node is killed beside free memory of the next.
 * Z3  the guest sees the nodes of --numa; without that, those of the host that its RAM
 *     lies on, if they are several.
 * Z4  a vCPU is kept to a node's CPUs iff a placement chose it, or --numa gives it memory
 *     of one node alone, or, without --numa, zones lie on several nodes: then vCPUs are in
 *     equal shares on those of them that have CPUs, else a guest that is told of nodes
 *     would be told that it runs on one where it does not.
 * Z5  HMAT is the host's, of the nodes where the guest's are: with --numa, only if each has
 *     its memory and its vCPUs on one.
 * Z6  no leaf of a zone is larger than a page of its backing, whatever others have: its
 *     numbers see to that (host_mirror()), and the table takes leaves of the largest of all.
 * Z7  a pool is as large as its zone, but with --pool, when there is one zone alone.
 *
 * The latencies that a placement is chosen by are those of --latencies, else the firmware's.
 * What the guest is told of them (HMAT) is the firmware's always: a table has no bandwidths.
 *
 * Cost. Some hundred small files of sysfs, once, and only if asked for.
 *
 * Rejected. One mapping for all, with rules by range: backings differ, and frames of
 * one node would not be one pool's. */
#include "vmm/zones.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "mm/placement.h"
#include "mm/port.h"
#include "vmm/layout.h"
#include "vmm/size.h"
#include "vmm/stitch.h"
#include "vmm/zones_impl.h"

bool zones_asked(const struct run_options *o)
{
	return o->numa.zones || o->numa.nodes || o->numa.policy_given || o->numa.latency_ps || o->numa.strict ||
	       options_any_number(&o->numa.host);
}

static struct ids ids_of(const struct options_numbers *set)
{
	struct ids s = {0};

	memcpy(s.word, set->bits, sizeof(set->bits));
	return s;
}

/* The CPUs of a place that this process may use. */
static struct ids cpus_of(const struct zones *z, unsigned place)
{
	struct ids cpus = numa_map_cpus(&z->map, place);

	ids_keep(&cpus, &z->limits.cpus);
	return cpus;
}

/* ---- by zones that were named ---- */

static void plan_zones(struct make *m)
{
	const struct options_numa *n = &m->o->numa;

	for (unsigned i = 0; i < n->zones; i++) {
		const struct options_numbers *host = options_any_number(&n->zone[i].host) ? &n->zone[i].host : &n->host;

		m->plan[i] = (struct plan){&n->zone[i], n->zone[i].bytes, n->zone[i].bytes, ids_of(host)};
		m->z->zone[i].id = n->zone[i].id;
		snprintf(m->z->zone[i].name, sizeof(m->z->zone[i].name), "--memory-zone id=%s", n->zone[i].id);
	}
	m->z->count = n->zones;
}

/* ---- by placement ---- */

static enum numa_huge_size huge_size_of(enum pagetable_size page)
{
	return page == PAGETABLE_1G ? NUMA_HUGE_1G : NUMA_HUGE_2M;
}

static uint64_t room_of(const struct make *m, const struct numa_map_node *node)
{
	const struct numa_huge *huge = &node->huge[huge_size_of(m->o->memory.huge)];

	if (!node->has_memory)
		return 0;
	return m->o->memory.hugepages ? huge->free * pagetable_size_bytes(m->o->memory.huge) : node->free_bytes;
}

static int describe_host(const struct make *m, const struct ids *nodes, struct placement_host *h, struct failure *f)
{
	const struct numa_map *map = &m->z->map;

	h->nodes = map->nodes;
	for (unsigned i = 0; i < map->nodes; i++) {
		const struct numa_map_node *node = &map->node[i];
		const struct ids cpus = cpus_of(m->z, i);

		h->node[i] = (struct placement_node){
			.free_bytes = room_of(m, node),
			.largest_hole = room_of(m, node),
			.cpus_free = ids_count(&cpus),
			.cpus_all = ids_count(&cpus),
			.allowed = ids_has(&m->z->limits.nodes, node->id) &&
				   (!ids_count(nodes) || ids_has(nodes, node->id)),
		};
		memcpy(h->latency_ps[i], map->latency_ps[i], sizeof(h->latency_ps[i]));
		memcpy(h->distance[i], map->distance[i], sizeof(h->distance[i]));
	}
	m->z->latency_source = map->has_hmat ? LATENCY_HMAT : LATENCY_UNKNOWN;
	if (!m->o->numa.latencies)
		return 0;
	return latency_table_use(m->z->memory, m->o->numa.latencies, map, h->latency_ps, &m->z->latency_source, f);
}

/* Those with memory. */
static struct ids may_use(const struct make *m)
{
	const struct ids asked = ids_of(&m->o->numa.host);
	struct ids nodes = numa_map_memory(&m->z->map);

	ids_keep(&nodes, &m->z->limits.nodes);
	if (ids_count(&asked))
		ids_keep(&nodes, &asked);
	return nodes;
}

struct advice_text {
	char s[160];
};

/* The kernel fills what nobody uses with files, and takes a page of the next node before it drops one. */
static struct advice_text advice(const struct make *m)
{
	const struct ids nodes = may_use(m);
	struct advice_text text = {""};
	uint64_t cached = 0;

	for (unsigned i = 0; i < m->z->map.nodes; i++)
		cached += ids_has(&nodes, m->z->map.node[i].id) ? m->z->map.node[i].cached_bytes : 0;
	if (m->o->memory.hugepages)
		snprintf(text.s, sizeof(text.s),
			 ", in huge pages; get more as root (sysctl vm.nr_hugepages=), or use hugepages=off");
	else if (cached)
		snprintf(text.s, sizeof(text.s),
			 "; %s more hold cached files, freed as root by sysctl vm.drop_caches=1",
			 size_format(cached).s);
	return text;
}

static int refuse_placement(const struct make *m, enum placement_result why, const struct placement *best,
			    struct failure *f)
{
	const struct size_text bytes = size_format(m->o->pool.bytes);
	const struct ids nodes = may_use(m);
	uint64_t there = 0;

	for (unsigned i = 0; i < m->z->map.nodes; i++)
		there += best->share[i].bytes;
	/* The one node that may be used: what others have is told, too. */
	if (m->o->memory.hugepages && ids_count(&nodes) == 1 &&
	    numa_map_check_huge(&m->z->map, "--memory hugepages=on", numa_map_place(&m->z->map, ids_next(&nodes, 0)),
				huge_size_of(m->o->memory.huge),
				m->o->memory.bytes / pagetable_size_bytes(m->o->memory.huge), f))
		return f->code;
	switch (why) {
	case PLACEMENT_UNKNOWN:
		return fail(f, EXIT_HOST,
			    "--latency: this host tells no latencies of its nodes (HMAT); have them measured (slat "
			    "probe --latency --json >FILE) and give --latencies FILE");
	case PLACEMENT_TOO_SLOW:
		return fail(f, EXIT_HOST,
			    "--latency %" PRIu32 ".%03" PRIu32
			    "ns cannot be kept: the best that %s can have now is %" PRIu32 ".%03" PRIu32
			    "ns (latencies: %s)",
			    m->o->numa.latency_ps / 1000, m->o->numa.latency_ps % 1000, bytes.s,
			    best->latency_ps / 1000, best->latency_ps % 1000,
			    latency_source_name(m->z->latency_source));
	case PLACEMENT_NO_CPUS:
		return fail(f, EXIT_HOST,
			    "--placement: none of the nodes that may be used (%s) has CPUs that slat may use; "
			    "--memory-zone takes the memory of such nodes (host_numa_node=)",
			    ids_format(&nodes).s);
	case PLACEMENT_NO_HOLE:
		return fail(f, EXIT_HOST, "--placement policy=%s: no node has %s free; the largest has %s%s",
			    options_policy_name(m->o->numa.policy), bytes.s, size_format(there).s, advice(m).s);
	default:
		return fail(f, EXIT_HOST, "--placement: the nodes that may be used have %s free together, not %s%s",
			    size_format(there).s, bytes.s, advice(m).s);
	}
}

static void keep_cpus(struct zones *z, const struct placement *p)
{
	unsigned cpu = 0;

	for (unsigned i = 0; i < z->map.nodes; i++)
		for (uint32_t n = 0; n < p->share[i].cpus && cpu < z->options->cpus; n++)
			z->cpu_place[cpu++] = (uint8_t)i;
}

/* One that is not just the guest's RAM. */
static bool has_pool(const struct run_options *o)
{
	return o->pool.taken || o->pool.bytes > o->memory.bytes;
}

/* The place whose memory the guest's CPUs wait for longest; of equals the last. */
static unsigned slowest_of(const struct placement_host *host, const struct placement *p)
{
	unsigned slowest = 0;
	uint64_t most = 0;

	for (unsigned to = 0; to < host->nodes; to++) {
		uint64_t wait = 0;

		for (unsigned from = 0; from < host->nodes; from++)
			wait += (uint64_t)p->share[from].cpus * host->latency_ps[from][to];
		if (p->share[to].bytes && wait >= most) {
			most = wait;
			slowest = to;
		}
	}
	return slowest;
}

static int plan_share(struct make *m, unsigned place, uint64_t bytes, struct failure *f)
{
	struct zones *z = m->z;

	if (z->count && m->o->numa.policy == PLACEMENT_INTERLEAVE) {
		m->plan[0].bytes += bytes;
		snprintf(z->zone[0].name, sizeof(z->zone[0].name), "--memory");
	} else if (z->count == ZONES_MAX) {
		return fail(f, EXIT_HOST, "--placement: more than %u nodes; name fewer by host_numa_node=", ZONES_MAX);
	} else {
		m->plan[z->count] = (struct plan){.bytes = bytes};
		z->zone[z->count].id = "mem0";
		snprintf(z->zone[z->count].name, sizeof(z->zone[0].name), "--memory on node %u", z->map.node[place].id);
		z->count++;
	}
	ids_add(&m->plan[z->count - 1].nodes, z->map.node[place].id);
	return 0;
}

/* What the guest does not have of its last granule it does not have of the slowest memory: so no mean becomes longer
 * than the one that was promised. That share is the last, for what follows it would have no large page. */
static int plan_shares(struct make *m, const struct placement_host *host, const struct placement *p, struct failure *f)
{
	const unsigned last = slowest_of(host, p);
	struct zones *z = m->z;
	uint64_t before = 0;

	for (unsigned i = 0; i < host->nodes; i++) {
		if (i == last || !p->share[i].bytes)
			continue;
		if (plan_share(m, i, p->share[i].bytes, f))
			return f->code;
		before += p->share[i].bytes;
	}
	if (plan_share(m, last, m->o->pool.bytes - before, f))
		return f->code;
	if (has_pool(m->o) && z->count > 1)
		return fail(f, EXIT_USAGE,
			    "--pool is one pool, and --placement policy=%s makes %u of the RAM: take policy=local or "
			    "interleave, or name one node by host_numa_node=",
			    options_policy_name(m->o->numa.policy), z->count);
	for (unsigned i = 0; i < z->count; i++)
		m->plan[i].pool_bytes = m->plan[i].bytes;
	if (has_pool(m->o))
		m->plan[0].bytes = m->o->memory.bytes;
	return 0;
}

static int plan_placement(struct make *m, struct failure *f)
{
	const struct run_options *o = m->o;
	const struct ids nodes = ids_of(&o->numa.host);
	/* A share that is no multiple of 2M would leave no place for a large leaf in all that follow. */
	const uint64_t granule = pagetable_size_bytes(o->memory.hugepages ? o->memory.huge : PAGETABLE_2M);
	const struct placement_guest guest = {
		.bytes = (o->pool.bytes + granule - 1) / granule * granule,
		.granule = granule,
		.cpus = o->cpus,
		.policy = o->numa.latency_ps ? PLACEMENT_CONTRACT : o->numa.policy,
		.latency_ps = o->numa.latency_ps,
	};
	struct placement_host *host = memory_alloc_zeroed(m->z->memory, 1, sizeof(*host));
	enum placement_result result;
	struct placement p;

	if (!host)
		return fail(f, EXIT_HOST, "no memory for --placement");
	if (describe_host(m, &nodes, host, f)) {
		memory_free(m->z->memory, host);
		return f->code;
	}
	result = placement_choose(host, &guest, &p);
	if (result == PLACEMENT_OK) {
		m->z->latency_ps = p.latency_ps;
		keep_cpus(m->z, &p);
		(void)plan_shares(m, host, &p, f);
	} else {
		refuse_placement(m, result, &p, f);
	}
	memory_free(m->z->memory, host);
	return f->code;
}

static void plan_whole(struct make *m)
{
	m->plan[0] = (struct plan){.bytes = m->o->memory.bytes, .pool_bytes = m->o->pool.bytes};
	m->z->zone[0].id = "mem0";
	snprintf(m->z->zone[0].name, sizeof(m->z->zone[0].name), "--memory");
	m->z->count = 1;
}

/* What would be left out of account without a word. */
static int check_options(const struct run_options *o, struct failure *f)
{
	const struct options_numa *n = &o->numa;
	bool named = !n->zones || options_any_number(&n->host);

	for (unsigned i = 0; i < n->zones; i++)
		named = named || options_any_number(&n->zone[i].host);
	if (n->strict && !named)
		return fail(f, EXIT_USAGE, "--strict: none of the zones was asked from a node; give host_numa_node=");
	return 0;
}

int zones_plan(struct make *m, struct failure *f)
{
	const struct options_numa *n = &m->o->numa;
	const struct ids host = ids_of(&n->host);

	if (check_options(m->o, f) || numa_map_check_nodes(&m->z->map, "--placement", &host, f) ||
	    limits_check_nodes(&m->z->limits, "--placement", &host, f))
		return f->code;
	if (n->zones)
		plan_zones(m);
	else if (n->policy_given || n->latency_ps || n->strict || options_any_number(&n->host))
		return plan_placement(m, f);
	else
		plan_whole(m);
	return 0;
}

/* ---- what the host says to it ---- */

static enum options_backing backing_of(const struct make *m, unsigned i)
{
	const struct options_zone *from = m->plan[i].from;

	if (from)
		return from->backing;
	return m->o->memory.hugepages ? OPTIONS_HUGETLB : m->o->memory.shared ? OPTIONS_MEMFD : OPTIONS_ANON;
}

static bool is_prefaulted(const struct make *m, unsigned i)
{
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
		return numa_map_check_huge_nodes(&m->z->map, m->z->zone[i].name, &p->nodes, huge_size_of(size),
						 p->pool_bytes / pagetable_size_bytes(size), f);
	for (unsigned k = 0; k <= i; k++)
		if (backing_of(m, k) == OPTIONS_HUGETLB && huge_of(m, k) == size && ids_has(&m->plan[k].nodes, node) &&
		    ids_count(&m->plan[k].nodes) == 1)
			bytes += m->plan[k].pool_bytes;
	if (bytes == p->pool_bytes) /* the backing counts its own */
		return 0;
	return numa_map_check_huge(&m->z->map, name_of(m, i, bytes).s, numa_map_place(&m->z->map, node),
				   huge_size_of(size), bytes / pagetable_size_bytes(size), f);
}

/* Control groups count them for all nodes together. */
static int check_huge_limit(const struct make *m, unsigned i, struct failure *f)
{
	const enum pagetable_size size = huge_of(m, i);
	uint64_t bytes = 0;

	for (unsigned k = 0; k <= i; k++)
		if (backing_of(m, k) == OPTIONS_HUGETLB && huge_of(m, k) == size)
			bytes += m->plan[k].bytes; /* what a pool has more is promised, and not used */
	return limits_check_huge(&m->z->limits, name_of(m, i, bytes).s, huge_size_of(size), bytes, f);
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

/* Bound memory that the node has not got ends the process at some touch, without a sentence. Of what it has, some may
 * be in use, and come back: that is not judged here. */
static int check_bound(const struct make *m, unsigned i, struct failure *f)
{
	const unsigned node = ids_next(&m->plan[i].nodes, 0), place = numa_map_place(&m->z->map, node);
	uint64_t bytes = 0;

	if (!m->o->numa.strict || ids_count(&m->plan[i].nodes) != 1 || !m->z->map.node[place].total_bytes)
		return 0;
	for (unsigned k = 0; k <= i; k++)
		if (backing_of(m, k) != OPTIONS_DEVDAX && ids_count(&m->plan[k].nodes) == 1 &&
		    ids_has(&m->plan[k].nodes, node))
			bytes += m->plan[k].bytes;
	if (bytes <= m->z->map.node[place].total_bytes)
		return 0;
	return fail(f, EXIT_HOST, "%s: --strict binds %s to node %u, which has %s: ask for less, or leave --strict out",
		    name_of(m, i, bytes).s, size_format(bytes).s, node,
		    size_format(m->z->map.node[place].total_bytes).s);
}

static int check_plan(const struct make *m, struct failure *f)
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
		    check_bound(m, i, f) || check_strict(m, i, f))
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

	zone->cpus = place == NUMA_MAP_NONE ? (struct ids){0} : cpus_of(z, place);
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
	zone->rule = (struct numa_rule){nodes > 1 ? p->from && p->from->weighted ? NUMA_WEIGHTED : NUMA_INTERLEAVE
					: z->options->numa.strict ? NUMA_BIND
								  : NUMA_PREFERRED,
					p->nodes};
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

/* ---- what the guest sees ---- */

/* At most two for each: the hole may lie in one. */
static unsigned ranges_of(const struct zones *z, struct options_zone_range *range)
{
	uint64_t offset = 0;
	unsigned n = 0;

	for (unsigned i = 0; i < z->count; i++) {
		for (uint64_t left = z->zone[i].bytes; left;) {
			const uint64_t gpa = stitch_gpa(offset);
			const uint64_t low = gpa < LAYOUT_HOLE_START ? LAYOUT_HOLE_START - gpa : left;
			const uint64_t some = left < low ? left : low;

			range[n++] = (struct options_zone_range){gpa, some, i};
			offset += some;
			left -= some;
		}
	}
	return n;
}

static void add_place(uint8_t *place, unsigned *n, unsigned at)
{
	if (at != NUMA_MAP_NONE && *n < TOPOLOGY_NODES_MAX && !memchr(place, (int)at, *n))
		place[(*n)++] = (uint8_t)at;
}

static bool has_cpus(const struct zones *z, unsigned place)
{
	const struct ids cpus = place == NUMA_MAP_NONE ? (struct ids){0} : cpus_of(z, place);

	return ids_count(&cpus) > 0;
}

/* NUMA_MAP_NONE: slat may use no CPUs of any node, by what the map says of them. */
static unsigned nearest_with_cpus(const struct zones *z, unsigned memory)
{
	unsigned best = NUMA_MAP_NONE;

	for (unsigned at = 0; at < z->map.nodes; at++)
		if (has_cpus(z, at) &&
		    (best == NUMA_MAP_NONE || z->map.distance[at][memory] < z->map.distance[best][memory]))
			best = at;
	return best;
}

/* Z4: of vCPUs that no placement chose a node for. */
static void keep_zone_cpus(struct zones *z, const uint8_t *place, unsigned places)
{
	uint8_t seat[TOPOLOGY_NODES_MAX];
	unsigned seats = 0;

	for (unsigned i = 0; i < places; i++)
		if (has_cpus(z, place[i]))
			add_place(seat, &seats, place[i]);
	if (!seats)
		add_place(seat, &seats, nearest_with_cpus(z, place[0]));
	for (unsigned cpu = 0; seats && cpu < z->options->cpus; cpu++)
		if (z->cpu_place[cpu] == ZONES_ANY)
			z->cpu_place[cpu] = seat[cpu * seats / z->options->cpus];
}

static void add_zone_places(const struct zones *z, uint8_t *place, unsigned *n)
{
	for (unsigned i = 0; i < z->count; i++)
		add_place(place, n, numa_map_place(&z->map, z->zone[i].pool->node));
}

/* The places that vCPUs are kept to, ascending, then the others that zones lie on: Linux numbers nodes by its CPUs, and
 * then by their memory. 0 iff all zones lie on one. */
static unsigned used_places(struct zones *z, uint8_t *place)
{
	unsigned n = 0;

	add_zone_places(z, place, &n);
	if (n < 2)
		return 0;
	keep_zone_cpus(z, place, n);
	n = 0;
	for (unsigned at = 0; at < z->map.nodes; at++)
		if (memchr(z->cpu_place, (int)at, z->options->cpus))
			add_place(place, &n, at);
	add_zone_places(z, place, &n);
	return n;
}

/* By guest node, where its CPUs are and where its memory: ZONES_ANY: not on one node. */
static void show_latencies(struct zones *z, const uint8_t *cpus, const uint8_t *memory)
{
	struct topology *t = &z->topology;

	t->has_hmat = z->map.has_hmat;
	for (unsigned from = 0; from < t->nodes; from++)
		for (unsigned to = 0; to < t->nodes; to++) {
			if (cpus[from] == ZONES_ANY || memory[to] == ZONES_ANY)
				continue; /* where such are needed, topology_fit() leaves HMAT out */
			t->latency_ns[from][to] = (z->map.latency_ps[cpus[from]][memory[to]] + 500) / 1000;
			t->bandwidth_mib[from][to] = z->map.bandwidth_mib[cpus[from]][memory[to]];
		}
	topology_fit(t);
}

static void show_costs(struct zones *z, const uint8_t *place)
{
	for (unsigned a = 0; a < z->topology.nodes; a++)
		for (unsigned b = 0; b < z->topology.nodes; b++)
			z->topology.distance[a][b] = z->map.distance[place[a]][place[b]];
	show_latencies(z, place, place);
}

/* Nothing, where all is on one. */
static void show_places(struct zones *z, const struct options_zone_range *range, unsigned ranges)
{
	uint8_t place[TOPOLOGY_NODES_MAX];
	const unsigned nodes = used_places(z, place);
	struct topology *t = &z->topology;

	if (!nodes)
		return;
	t->nodes = nodes;
	t->cpus = z->options->cpus;
	for (unsigned n = 0; n < nodes; n++) {
		for (unsigned cpu = 0; cpu < t->cpus; cpu++)
			if (z->cpu_place[cpu] == place[n])
				t->cpu_node[cpu] = (uint8_t)n;
	}
	for (unsigned i = 0; i < ranges; i++) {
		const unsigned at = numa_map_place(&z->map, z->zone[range[i].zone].pool->node);
		const uint8_t *found = memchr(place, (int)at, nodes);

		t->range[t->ranges++] =
			(struct topology_range){range[i].gpa, range[i].bytes, found ? (uint8_t)(found - place) : 0};
	}
	show_costs(z, place);
}

/* Of each node of --numa, where its memory is, if it is all of one place. */
static void memory_places(const struct zones *z, uint8_t *place)
{
	const struct options_numa *n = &z->options->numa;

	memset(place, ZONES_ANY, TOPOLOGY_NODES_MAX);
	for (unsigned pass = 0; pass < 2; pass++)
		for (unsigned i = 0; i < z->count; i++) {
			const unsigned node = n->zone_node[n->zones ? i : 0];
			const struct backing *b = &z->zone[i].pool->backing;
			const bool one = b->kind == BACKING_DEVDAX
						 ? b->node != BACKING_NODE_ANY
						 : z->zone[i].ruled && ids_count(&z->zone[i].rule.nodes) == 1;
			const unsigned at = one ? numa_map_place(&z->map, z->zone[i].pool->node) : ZONES_ANY;

			if (pass == 0)
				place[node] = (uint8_t)at;
			else if (place[node] != at)
				place[node] = ZONES_ANY;
		}
}

/* Z4, Z5: of the nodes of --numa. */
static void keep_numa_cpus(struct zones *z)
{
	const uint8_t *node = z->options->numa.cpu_node;
	uint8_t memory[TOPOLOGY_NODES_MAX], cpus[TOPOLOGY_NODES_MAX];

	memory_places(z, memory);
	memset(cpus, ZONES_ANY, sizeof(cpus));
	for (unsigned cpu = 0; cpu < z->options->cpus; cpu++) {
		if (z->cpu_place[cpu] == ZONES_ANY && has_cpus(z, memory[node[cpu]]))
			z->cpu_place[cpu] = memory[node[cpu]];
		cpus[node[cpu]] = z->cpu_place[cpu];
	}
	for (unsigned cpu = 0; cpu < z->options->cpus; cpu++)
		if (cpus[node[cpu]] != z->cpu_place[cpu])
			cpus[node[cpu]] = ZONES_ANY;
	show_latencies(z, cpus, memory);
}

int zones_show(struct zones *z, struct failure *f)
{
	struct options_zone_range range[2 * ZONES_MAX];
	const unsigned ranges = ranges_of(z, range);

	if (z->options->numa.nodes && z->options->numa.zones == 0)
		for (unsigned i = 0; i < ranges; i++)
			range[i].zone = 0; /* shares of mem0 */
	if (z->options->numa.nodes) {
		options_topology(z->options, range, ranges, &z->topology);
		keep_numa_cpus(z);
	} else {
		show_places(z, range, ranges);
	}
	return z->topology.nodes ? topology_check(&z->topology, f) : 0;
}

/* ---- all ---- */

static int open_all(struct zones *z, uint32_t blocks_max, struct block_list *out, struct failure *f)
{
	struct make *m = memory_alloc_zeroed(z->memory, 1, sizeof(*m));

	if (!m)
		return fail(f, EXIT_HOST, "no memory for the plan of zones");
	*m = (struct make){.z = z, .o = z->options};
	if (numa_map_read("", &z->map, f) == 0 && limits_read("", &z->limits, f) == 0 && zones_plan(m, f) == 0 &&
	    check_plan(m, f) == 0 && zones_open_pools(m, blocks_max, out, f) == 0)
		(void)zones_show(z, f);
	memory_free(z->memory, m);
	return f->code;
}

struct zones *zones_open(struct memory *memory, const struct run_options *o, struct host *host, uint32_t blocks_max,
			 struct block_list *out, struct failure *f)
{
	struct zones *z = memory_alloc_zeroed(memory, 1, sizeof(*z));

	if (!z) {
		fail(f, EXIT_HOST, "no memory for the zones");
		return NULL;
	}
	z->memory = memory;
	z->options = o;
	z->host = host;
	out->memory = memory;
	memset(z->cpu_place, ZONES_ANY, sizeof(z->cpu_place));
	if (open_all(z, blocks_max, out, f) == 0)
		return z;
	zones_close(z);
	return NULL;
}

void zones_close(struct zones *z)
{
	if (z)
		memory_free(z->memory, z);
}

int zones_keep_cpu(const struct zones *z, unsigned cpu, struct failure *f)
{
	struct ids cpus;

	if (z->cpu_place[cpu] == ZONES_ANY)
		return 0;
	cpus = numa_map_cpus(&z->map, z->cpu_place[cpu]);
	return numa_keep_thread(&cpus, &z->limits, f);
}

int zones_keep_others(const struct zones *z, struct failure *f)
{
	struct ids all = {0};

	if (memchr(z->cpu_place, ZONES_ANY, z->options->cpus))
		return 0;
	for (unsigned at = 0; at < z->map.nodes; at++) {
		const struct ids cpus = numa_map_cpus(&z->map, at);

		if (memchr(z->cpu_place, (int)at, z->options->cpus))
			for (unsigned cpu = ids_next(&cpus, 0); cpu < IDS_MAX; cpu = ids_next(&cpus, cpu + 1))
				ids_add(&all, cpu);
	}
	return numa_keep_thread(&all, &z->limits, f);
}

static int verify(struct zones *z, struct zone *one, struct failure *f)
{
	const struct backing *b = &one->pool->backing;
	const uint64_t page = b->kind == BACKING_HUGETLB ? pagetable_size_bytes(b->leaf) : FRAME_BYTES;

	if (where_pages(b->host, b->bytes, page, &one->where, f))
		return f->code;
	one->verified = true;
	if (!where_elsewhere(&one->where, &one->rule.nodes))
		return 0;
	if (where_repair(&z->host->numa, &one->rule, b->host, b->bytes, page, &one->where, f))
		return f->code;
	if (!where_elsewhere(&one->where, &one->rule.nodes) || !z->options->numa.strict)
		return 0;
	return fail(f, EXIT_HOST, "--strict: %s of zone %s are not on node %s, and cannot be moved there",
		    size_format(where_elsewhere(&one->where, &one->rule.nodes)).s, one->id,
		    ids_format(&one->rule.nodes).s);
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
	return 0;
}
