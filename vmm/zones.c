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
#include <stdio.h>
#include <string.h>

#include "mm/placement.h"
#include "mm/port.h"
#include "vmm/layout.h"
#include "vmm/size.h"
#include "vmm/stitch.h"

#define NAME_MAX_BYTES 64u

struct plan {				 /* of one zone */
	const struct options_zone *from; /* NULL: --memory describes it */
	uint64_t bytes;
	struct ids nodes; /* none: any */
};

struct make {
	struct zones *z;
	const struct run_options *o;
	struct plan plan[ZONES_MAX];
	char name[ZONES_MAX][NAME_MAX_BYTES]; /* for sentences */
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

/* ---- by zones that were named ---- */

static void plan_zones(struct make *m)
{
	const struct options_numa *n = &m->o->numa;

	for (unsigned i = 0; i < n->zones; i++) {
		const struct options_numbers *host = options_any_number(&n->zone[i].host) ? &n->zone[i].host : &n->host;

		m->plan[i] = (struct plan){&n->zone[i], n->zone[i].bytes, ids_of(host)};
		snprintf(m->name[i], sizeof(m->name[i]), "--memory-zone id=%s", n->zone[i].id);
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
		struct ids cpus = numa_map_cpus(map, i);

		ids_keep(&cpus, &m->z->limits.cpus);
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

static int refuse_placement(const struct make *m, enum placement_result why, const struct placement *best,
			    struct failure *f)
{
	const struct size_text bytes = size_format(m->o->memory.bytes);
	const char *more = m->o->memory.hugepages
				   ? ", in huge pages; get more as root (sysctl vm.nr_hugepages=), or use hugepages=off"
				   : "";
	uint64_t there = 0;

	for (unsigned i = 0; i < m->z->map.nodes; i++)
		there += best->share[i].bytes;
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

static int plan_shares(struct make *m, const struct placement *p, struct failure *f)
{
	struct zones *z = m->z;

	for (unsigned i = 0; i < z->map.nodes; i++) {
		if (!p->share[i].bytes)
			continue;
		if (m->o->numa.policy != PLACEMENT_INTERLEAVE || !z->count) {
			if (z->count == ZONES_MAX)
				return fail(f, EXIT_HOST, "--placement: more than %u nodes", ZONES_MAX);
			m->plan[z->count] = (struct plan){.bytes = p->share[i].bytes};
			snprintf(m->name[z->count], sizeof(m->name[0]), "--memory, on node %u,", z->map.node[i].id);
			z->count++;
		} else {
			m->plan[0].bytes += p->share[i].bytes;
		}
		ids_add(&m->plan[z->count - 1].nodes, z->map.node[i].id);
	}
	return 0;
}

static int plan_placement(struct make *m, struct failure *f)
{
	const struct run_options *o = m->o;
	const struct ids nodes = ids_of(&o->numa.host);
	const struct placement_guest guest = {
		.bytes = o->memory.bytes,
		.granule = o->memory.hugepages					  ? pagetable_size_bytes(o->memory.huge)
			   : o->memory.bytes % pagetable_size_bytes(PAGETABLE_2M) ? FRAME_BYTES
										  : pagetable_size_bytes(PAGETABLE_2M),
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
	return plan_shares(m, &p, f);
}

static void plan_whole(struct make *m)
{
	m->plan[0] = (struct plan){.bytes = m->o->memory.bytes};
	snprintf(m->name[0], sizeof(m->name[0]), "--memory");
	m->z->count = 1;
}

static int check_nodes(const struct make *m, const char *what, const struct ids *nodes, struct failure *f)
{
	return numa_map_check_nodes(&m->z->map, what, nodes, f) || limits_check_nodes(&m->z->limits, what, nodes, f)
		       ? f->code
		       : 0;
}

static int make_plan(struct make *m, struct failure *f)
{
	const struct options_numa *n = &m->o->numa;
	const struct ids host = ids_of(&n->host);

	if (n->zones)
		plan_zones(m);
	else if (n->policy_given || n->latency_ps || n->strict || options_any_number(&n->host))
		return check_nodes(m, "--placement", &host, f) || plan_placement(m, f) ? f->code : 0;
	else
		plan_whole(m);
	return 0;
}

/* ---- what the host says to it ---- */

/* Does it take its bytes from the control group's memory before the guest starts? */
static bool is_charged(const struct make *m, const struct plan *p)
{
	if (p->from)
		return p->from->prefault && p->from->backing != OPTIONS_HUGETLB && p->from->backing != OPTIONS_DEVDAX;
	return m->o->memory.prefault && !m->o->memory.hugepages;
}

static int check_plan(const struct make *m, struct failure *f)
{
	const char *what = "";
	uint64_t charged = 0;
	unsigned zones = 0;

	for (unsigned i = 0; i < m->z->count; i++) {
		const struct plan *p = &m->plan[i];

		if (check_nodes(m, m->name[i], &p->nodes, f))
			return f->code;
		if (!is_charged(m, p))
			continue;
		charged += p->bytes;
		what = zones++ ? "what prefault=on touches, all zones together" : m->name[i];
	}
	return limits_check_memory(&m->z->limits, what, charged, f);
}

/* ---- pools ---- */

/* What one zone has is not free for the next: the kernel would tell of it at the first touch only. */
static void count_huge(struct zones *z, const struct pool *pool)
{
	const struct backing *b = &pool->backing;
	struct numa_map_node *node = &z->map.node[numa_map_place(&z->map, b->node)];

	node->huge[b->leaf == PAGETABLE_1G ? NUMA_HUGE_1G : NUMA_HUGE_2M].free -=
		b->bytes / pagetable_size_bytes(b->leaf);
}

static int pool_of(struct make *m, unsigned i, struct pool_config *config, struct failure *f)
{
	struct zones *z = m->z;
	struct zone *zone = &z->zone[i];
	const struct plan *p = &m->plan[i];
	const unsigned nodes = ids_count(&p->nodes);
	const unsigned node = nodes ? ids_next(&p->nodes, 0) : numa_roomiest(&z->host->numa);
	const char *note = NULL;

	config->backing.on_node = nodes == 1;
	config->backing.node = node;
	config->backing.map = &z->map;
	if (host_add_pool(z->host, node, config, &zone->pool, f))
		return f->code;
	if (nodes == 1 && zone->pool->backing.kind == BACKING_HUGETLB)
		count_huge(z, zone->pool);
	if (!nodes || zone->pool->backing.kind == BACKING_DEVDAX)
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
		fprintf(stderr, "slat: %s: %s\n", m->name[i], note);
	return 0;
}

static struct pool_config config_of(const struct make *m, unsigned i, char *file, size_t room)
{
	const struct run_options *o = m->o;
	const struct options_zone *from = m->plan[i].from;
	struct pool_config c = {
		.prefault = from ? from->prefault : o->memory.prefault,
		.backing =
			{
				.bytes = m->plan[i].bytes,
				.hugepages = from ? from->backing == OPTIONS_HUGETLB : o->memory.hugepages,
				.huge = from ? from->huge : o->memory.huge,
				.thp = o->memory.thp,
				.shared = from ? from->backing == OPTIONS_MEMFD || from->shared : o->memory.shared,
				.reserve = from && from->reserve,
				.lock = o->memory.mlock,
				.no_dump = o->memory.dontdump,
				.zone = m->name[i],
			},
	};

	if (from && from->backing == OPTIONS_DEVDAX) {
		snprintf(file, room, "%.*s", (int)from->file.bytes, from->file.start);
		c.backing.devdax = file;
	}
	return c;
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

static int open_pools(struct make *m, uint32_t blocks_max, struct block_list *out, struct failure *f)
{
	struct zones *z = m->z;

	if (z->count > 1 && host_mirror(z->host, f))
		return f->code;
	for (unsigned i = 0; i < z->count; i++) {
		struct gather_request ask = {m->o->memory.contiguous, m->plan[i].bytes, m->o->memory.extent_bytes,
					     blocks_max - out->count};
		struct block_list more = {0};
		char file[256];
		struct pool_config c = config_of(m, i, file, sizeof(file));

		c.segments = 2 * gather_blocks_most(&ask, 0) + 2;
		z->zone[i] = (struct zone){.id = m->plan[i].from ? m->plan[i].from->id : "mem0", .bytes = ask.bytes};
		if (pool_of(m, i, &c, f) || gather(z->zone[i].pool, z->memory, &ask, &more, f) ||
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

static bool has_cpu(const struct zones *z, unsigned place)
{
	for (unsigned cpu = 0; cpu < z->options->cpus; cpu++)
		if (z->cpu_place[cpu] == place)
			return true;
	return false;
}

/* The places that the zones lie on, those with vCPUs first: Linux numbers nodes by its CPUs, and then by their memory.
 */
static unsigned used_places(const struct zones *z, uint8_t *place)
{
	unsigned n = 0;

	for (unsigned pass = 0; pass < 2; pass++)
		for (unsigned i = 0; i < z->count; i++) {
			const unsigned at = numa_map_place(&z->map, z->zone[i].pool->node);

			if (at != NUMA_MAP_NONE && has_cpu(z, at) == (pass == 0) && !memchr(place, (int)at, n))
				place[n++] = (uint8_t)at;
		}
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
	uint8_t place[ZONES_MAX];
	const unsigned nodes = used_places(z, place);
	struct topology *t = &z->topology;

	if (nodes < 2)
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
			const bool one = z->zone[i].ruled && ids_count(&z->zone[i].rule.nodes) == 1;
			const unsigned at = one ? numa_map_place(&z->map, z->zone[i].pool->node) : ZONES_ANY;

			if (pass == 0)
				place[node] = (uint8_t)at;
			else if (place[node] != at)
				place[node] = ZONES_ANY;
		}
	for (unsigned cpu = 0; cpu < z->options->cpus; cpu++) {
		const uint8_t at = place[n->cpu_node[cpu]];

		if (z->cpu_place[cpu] == ZONES_ANY && at != ZONES_ANY && z->map.node[at].cpus)
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

static int verify(struct zones *z, struct zone *one, struct failure *f)
{
	const struct backing *b = &one->pool->backing;
	const uint64_t page = b->kind == BACKING_HUGETLB ? pagetable_size_bytes(b->leaf) : FRAME_BYTES;

	if (where_pages(b->host, b->bytes, page, &one->where, f))
		return f->code;
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
		z->zone[i].verified = z->zone[i].ruled && z->zone[i].pool->prefault;
		if (z->zone[i].verified && verify(z, &z->zone[i], f))
			return f->code;
	}
	return 0;
}
