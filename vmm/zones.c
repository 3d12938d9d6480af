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
 * Z2  a zone with several nodes is interleaved over them; with one it is bound to it with
 *     --strict, else it prefers it: bound, a zone larger than its node is killed beside
 *     free memory of the next.
 * Z3  the guest sees the nodes of --numa; without that, those of the host that its RAM
 *     lies on, if they are several.
 * Z4  a vCPU is kept to a node's CPUs iff a placement chose it, or --numa gives it memory
 *     of one node alone.
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

struct plan {				 /* of one zone */
	const struct options_zone *from; /* NULL: --memory describes it */
	uint64_t bytes;
	struct ids nodes; /* none: any */
};

struct make {
	struct zones *z;
	const struct run_options *o;
	struct plan plan[ZONES_MAX];
};

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

		m->plan[i] = (struct plan){&n->zone[i], n->zone[i].bytes, ids_of(host)};
		m->z->zone[i].id = n->zone[i].id;
		snprintf(m->z->zone[i].name, sizeof(m->z->zone[i].name), "--memory-zone id=%s", n->zone[i].id);
	}
	m->z->count = n->zones;
}

/* ---- by placement ---- */

static uint64_t room_of(const struct make *m, const struct numa_map_node *node)
{
	const struct numa_huge *huge = &node->huge[m->o->memory.huge == PAGETABLE_1G ? NUMA_HUGE_1G : NUMA_HUGE_2M];

	if (!node->has_memory)
		return 0;
	return m->o->memory.hugepages ? huge->free * pagetable_size_bytes(m->o->memory.huge) : node->free_bytes;
}

static void describe_host(const struct make *m, const struct ids *nodes, struct placement_host *h)
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
}

static int check_huge_pages(const struct make *m, const char *what, unsigned node, uint64_t bytes,
			    enum pagetable_size size, struct failure *f)
{
	return numa_map_check_huge(&m->z->map, what, numa_map_place(&m->z->map, node),
				   size == PAGETABLE_1G ? NUMA_HUGE_1G : NUMA_HUGE_2M,
				   bytes / pagetable_size_bytes(size), f);
}

static int refuse_placement(const struct make *m, enum placement_result why, const struct placement *best,
			    struct failure *f)
{
	const struct size_text bytes = size_format(m->o->memory.bytes);
	const char *more = m->o->memory.hugepages
				   ? ", in huge pages; get more as root (sysctl vm.nr_hugepages=), or use hugepages=off"
				   : "";
	const struct ids nodes = ids_of(&m->o->numa.host);
	uint64_t there = 0;

	for (unsigned i = 0; i < m->z->map.nodes; i++)
		there += best->share[i].bytes;
	/* The one node that may be used: what others have is told, too. */
	if (m->o->memory.hugepages && ids_count(&nodes) == 1 &&
	    check_huge_pages(m, "--memory hugepages=on", ids_next(&nodes, 0), m->o->memory.bytes, m->o->memory.huge, f))
		return f->code;
	switch (why) {
	case PLACEMENT_UNKNOWN:
		return fail(f, EXIT_HOST,
			    "--latency: this host tells no latencies of its nodes (HMAT); measure them by slat probe "
			    "--latency");
	case PLACEMENT_TOO_SLOW:
		return fail(f, EXIT_HOST,
			    "--latency %" PRIu32 ".%03" PRIu32
			    "ns cannot be kept: the best that %s can have now is %" PRIu32 ".%03" PRIu32 "ns",
			    m->o->numa.latency_ps / 1000, m->o->numa.latency_ps % 1000, bytes.s,
			    best->latency_ps / 1000, best->latency_ps % 1000);
	case PLACEMENT_NO_CPUS:
		return fail(f, EXIT_HOST, "--placement: none of the nodes that may be used has CPUs");
	case PLACEMENT_NO_HOLE:
		return fail(f, EXIT_HOST, "--placement policy=%s: no node has %s free; the largest has %s%s",
			    options_policy_name(m->o->numa.policy), bytes.s, size_format(there).s, more);
	default:
		return fail(f, EXIT_HOST, "--placement: the nodes that may be used have %s free together, not %s%s",
			    size_format(there).s, bytes.s, more);
	}
}

static void keep_cpus(struct zones *z, const struct placement *p)
{
	unsigned cpu = 0;

	for (unsigned i = 0; i < z->map.nodes; i++)
		for (uint32_t n = 0; n < p->share[i].cpus && cpu < z->options->cpus; n++)
			z->cpu_place[cpu++] = (uint8_t)i;
}

/* `over`: what the shares are too much together, less than a granule. */
static int plan_shares(struct make *m, const struct placement *p, uint64_t over, struct failure *f)
{
	struct zones *z = m->z;

	for (unsigned i = 0; i < z->map.nodes; i++) {
		if (!p->share[i].bytes)
			continue;
		if (m->o->numa.policy != PLACEMENT_INTERLEAVE || !z->count) {
			if (z->count == ZONES_MAX)
				return fail(
					f, EXIT_HOST,
					"--placement: more than %u nodes; name fewer by host_numa_node=", ZONES_MAX);
			m->plan[z->count] = (struct plan){.bytes = p->share[i].bytes};
			z->zone[z->count].id = "mem0";
			snprintf(z->zone[z->count].name, sizeof(z->zone[0].name), "--memory, on node %u,",
				 z->map.node[i].id);
			z->count++;
		} else {
			m->plan[0].bytes += p->share[i].bytes;
			snprintf(z->zone[0].name, sizeof(z->zone[0].name), "--memory");
		}
		ids_add(&m->plan[z->count - 1].nodes, z->map.node[i].id);
	}
	m->plan[z->count - 1].bytes -= over;
	return 0;
}

static int plan_placement(struct make *m, struct failure *f)
{
	const struct run_options *o = m->o;
	const struct ids nodes = ids_of(&o->numa.host);
	/* A share that is no multiple of 2M would leave no place for a large leaf in all that follow. */
	const uint64_t granule = pagetable_size_bytes(o->memory.hugepages ? o->memory.huge : PAGETABLE_2M);
	const struct placement_guest guest = {
		.bytes = (o->memory.bytes + granule - 1) / granule * granule,
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
	describe_host(m, &nodes, host);
	result = placement_choose(host, &guest, &p);
	memory_free(m->z->memory, host);
	if (result != PLACEMENT_OK)
		return refuse_placement(m, result, &p, f);
	m->z->latency_ps = p.latency_ps;
	keep_cpus(m->z, &p);
	return plan_shares(m, &p, guest.bytes - o->memory.bytes, f);
}

static void plan_whole(struct make *m)
{
	m->plan[0] = (struct plan){.bytes = m->o->memory.bytes};
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
	if (o->pool.taken || o->pool.bytes != o->memory.bytes)
		return fail(f, EXIT_USAGE,
			    "--pool is for RAM of one pool that lies anywhere: not with --numa, --placement, --latency "
			    "or --strict");
	if (n->strict && !named)
		return fail(f, EXIT_USAGE, "--strict: none of the zones was asked from a node; give host_numa_node=");
	return 0;
}

static int make_plan(struct make *m, struct failure *f)
{
	const struct options_numa *n = &m->o->numa;
	const struct ids host = ids_of(&n->host);

	if (check_options(m->o, f))
		return f->code;
	if (n->zones)
		plan_zones(m);
	else if (n->policy_given || n->latency_ps || n->strict || options_any_number(&n->host))
		return numa_map_check_nodes(&m->z->map, "--placement", &host, f) ||
				       limits_check_nodes(&m->z->limits, "--placement", &host, f) ||
				       plan_placement(m, f)
			       ? f->code
			       : 0;
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

/* With those before it that are bound to the same node: the kernel counts them for the host, and not by node. */
static int check_huge(const struct make *m, unsigned i, struct failure *f)
{
	const struct plan *p = &m->plan[i];
	const enum pagetable_size size = huge_of(m, i);
	const unsigned node = ids_next(&p->nodes, 0);
	uint64_t bytes = 0;

	if (backing_of(m, i) != OPTIONS_HUGETLB || ids_count(&p->nodes) != 1)
		return 0;
	for (unsigned k = 0; k <= i; k++)
		if (backing_of(m, k) == OPTIONS_HUGETLB && huge_of(m, k) == size && ids_has(&m->plan[k].nodes, node) &&
		    ids_count(&m->plan[k].nodes) == 1)
			bytes += m->plan[k].bytes;
	if (bytes == p->bytes) /* the backing counts its own */
		return 0;
	return check_huge_pages(m, m->z->zone[i].name, node, bytes, size, f);
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
		    m->z->zone[i].name, size_format(bytes).s, node, size_format(m->z->map.node[place].total_bytes).s);
}

static int check_plan(const struct make *m, struct failure *f)
{
	uint64_t touched = 0, locked = 0; /* by all zones so far */

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
		if (backing == OPTIONS_HUGETLB) /* never swapped out; of no such limits */
			continue;
		touched += is_prefaulted(m, i) ? p->bytes : 0;
		locked += m->o->memory.mlock ? p->bytes : 0;
		if ((touched && limits_check_memory(&m->z->limits, name, touched, f)) ||
		    (locked && limits_check_lock(&m->z->limits, name, locked, f)))
			return f->code;
	}
	return 0;
}

/* ---- pools ---- */

/* The node that is allowed and has the most free. */
static unsigned roomiest(const struct zones *z)
{
	unsigned best = numa_roomiest(&z->host->numa);
	uint64_t most = 0;

	for (unsigned i = 0; i < z->map.nodes; i++) {
		const struct numa_map_node *node = &z->map.node[i];

		if (node->has_memory && ids_has(&z->limits.nodes, node->id) && node->free_bytes > most) {
			best = node->id;
			most = node->free_bytes;
		}
	}
	return best;
}

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
	const unsigned node = nodes ? ids_next(&p->nodes, 0) : roomiest(z);
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
	zone->rule = (struct numa_rule){nodes > 1		  ? NUMA_INTERLEAVE
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
				.bytes = m->plan[i].bytes,
				.hugepages = backing_of(m, i) == OPTIONS_HUGETLB,
				.huge = huge_of(m, i),
				.thp = o->memory.thp,
				.shared = backing_of(m, i) == OPTIONS_MEMFD || (from ? from->shared : o->memory.shared),
				.reserve = from && from->reserve,
				.lock = o->memory.mlock,
				.no_dump = o->memory.dontdump,
				.zone = m->z->zone[i].name,
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

/* A leaf is as large on both sides, so where a zone begins in the guest counts, too. */
static void note_start(const struct zone *zone, uint64_t offset)
{
	const uint64_t page = pagetable_size_bytes(zone->pool->backing.leaf);

	if (offset % page && zone->bytes >= page)
		fprintf(stderr,
			"slat: %s: it begins behind %s of others, so none of its pages of %s is one for the guest; "
			"sizes that "
			"are multiples of that avoid it\n",
			zone->name, size_format(offset).s, size_format(page).s);
}

static int open_pools(struct make *m, uint32_t blocks_max, struct block_list *out, struct failure *f)
{
	struct zones *z = m->z;
	uint64_t offset = 0;

	if (z->count > 1 && host_mirror(z->host, f))
		return f->code;
	for (unsigned i = 0; i < z->count; i++) {
		struct gather_request ask = {m->o->memory.contiguous, m->plan[i].bytes, m->o->memory.extent_bytes,
					     blocks_max - out->count};
		struct block_list more = {0};
		char path[PATH_MAX];
		struct pool_config c = config_of(m, i);

		c.segments = 2 * gather_blocks_most(&ask, 0) + 2;
		z->zone[i].bytes = ask.bytes;
		if (name_device(m, i, &c, path, sizeof(path), f) || pool_of(m, i, &c, f) ||
		    gather(z->zone[i].pool, z->memory, &ask, &more, f) || join(z->memory, out, &more, f))
			return f->code;
		note_start(&z->zone[i], offset);
		offset += ask.bytes;
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

/* The places that vCPUs are kept to, ascending, then the others that zones lie on: Linux numbers nodes by its CPUs, and
 * then by their memory. 0 iff all zones lie on one. */
static unsigned used_places(const struct zones *z, uint8_t *place)
{
	unsigned n = 0;

	for (unsigned i = 0; i < z->count; i++)
		add_place(place, &n, numa_map_place(&z->map, z->zone[i].pool->node));
	if (n < 2)
		return 0;
	n = 0;
	for (unsigned at = 0; at < z->map.nodes; at++)
		if (memchr(z->cpu_place, (int)at, z->options->cpus))
			add_place(place, &n, at);
	for (unsigned i = 0; i < z->count; i++)
		add_place(place, &n, numa_map_place(&z->map, z->zone[i].pool->node));
	return n;
}

static void show_costs(struct zones *z, const uint8_t *place)
{
	struct topology *t = &z->topology;

	t->has_hmat = z->map.has_hmat;
	for (unsigned a = 0; a < t->nodes; a++)
		for (unsigned b = 0; b < t->nodes; b++) {
			t->distance[a][b] = z->map.distance[place[a]][place[b]];
			t->latency_ns[a][b] = (z->map.latency_ps[place[a]][place[b]] + 500) / 1000;
			t->bandwidth_mib[a][b] = z->map.bandwidth_mib[place[a]][place[b]];
		}
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

/* Z4: of a node of --numa whose memory is all of one place. */
static void keep_numa_cpus(struct zones *z)
{
	const struct options_numa *n = &z->options->numa;
	uint8_t place[TOPOLOGY_NODES_MAX];

	memset(place, ZONES_ANY, sizeof(place));
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
	for (unsigned cpu = 0; cpu < z->options->cpus; cpu++) {
		const uint8_t at = place[n->cpu_node[cpu]];
		const struct ids cpus = at == ZONES_ANY ? (struct ids){0} : cpus_of(z, at);

		if (z->cpu_place[cpu] == ZONES_ANY && ids_count(&cpus))
			z->cpu_place[cpu] = at;
	}
}

static int show(struct zones *z, struct failure *f)
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
	if (numa_map_read("", &z->map, f) == 0 && limits_read("", &z->limits, f) == 0 && make_plan(m, f) == 0 &&
	    check_plan(m, f) == 0 && open_pools(m, blocks_max, out, f) == 0)
		(void)show(z, f);
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
