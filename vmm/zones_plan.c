/* vmm/zones_plan.c: zones as they are asked for, or as a placement makes them: what each is to
 * have, of which nodes, judged whole before any pool is opened. Theory: top of zones.c. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "mm/placement.h"
#include "vmm/size.h"
#include "vmm/zones_impl.h"

#define MIB (UINT64_C(1) << 20)

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

		m->plan[i] = (struct plan){&n->zone[i], n->zone[i].bytes, n->zone[i].bytes, ids_of(host)};
		m->z->zone[i].id = n->zone[i].id;
		snprintf(m->z->zone[i].name, sizeof(m->z->zone[i].name), "--memory-zone id=%s", n->zone[i].id);
	}
	m->z->count = n->zones;
}

/* ---- by placement ---- */

static uint64_t room_of(const struct make *m, const struct numa_map_node *node)
{
	const enum numa_huge_size huge = numa_huge_of(m->o->memory.huge);
	const unsigned place = (unsigned)(node - m->z->map.node);

	if (!node->has_memory)
		return 0;
	if (m->o->memory.hugepages)
		return numa_map_huge_usable(&m->z->map, place, huge) * pagetable_size_bytes(m->o->memory.huge);
	return node->room_bytes;
}

/* What is promised is reckoned with them, now and once pages are there. */
static int read_latencies(const struct make *m, struct failure *f)
{
	struct zones *z = m->z;

	memcpy(z->wait_ps, z->map.latency_ps, sizeof(z->wait_ps));
	z->latency_source = z->map.has_hmat ? LATENCY_HMAT : LATENCY_UNKNOWN;
	if (!m->o->numa.latencies)
		return 0;
	return latency_table_use(z->memory, m->o->numa.latencies, &z->map, z->wait_ps, &z->latency_source, f);
}

static int describe_host(const struct make *m, const struct ids *nodes, struct placement_host *h, struct failure *f)
{
	const struct numa_map *map = &m->z->map;

	h->nodes = map->nodes;
	for (unsigned i = 0; i < map->nodes; i++) {
		const struct numa_map_node *node = &map->node[i];
		const struct ids cpus = zones_cpus_of(m->z, i);

		h->node[i] = (struct placement_node){
			.free_bytes = room_of(m, node),
			.largest_hole = room_of(m, node),
			.cpus_free = ids_count(&cpus),
			.cpus_all = ids_count(&cpus),
			.allowed = ids_has(&m->z->limits.nodes, node->id) &&
				   (!ids_count(nodes) || ids_has(nodes, node->id)),
		};
		memcpy(h->distance[i], map->distance[i], sizeof(h->distance[i]));
	}
	if (read_latencies(m, f))
		return f->code;
	memcpy(h->latency_ps, m->z->wait_ps, sizeof(h->latency_ps));
	return 0;
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
	char s[200];
};

/* The kernel fills what nobody uses with files, and takes a page of the next node before it drops one, or takes the
 * last that are free. */
static struct advice_text advice(const struct make *m)
{
	const struct ids nodes = may_use(m);
	struct advice_text text = {""};
	uint64_t cached = 0, kept = 0;

	for (unsigned i = 0; i < m->z->map.nodes; i++) {
		const struct numa_map_node *n = &m->z->map.node[i];

		cached += ids_has(&nodes, n->id) ? n->cached_bytes : 0;
		kept += ids_has(&nodes, n->id) && n->free_bytes > n->room_bytes ? n->free_bytes - n->room_bytes : 0;
	}
	if (m->o->memory.hugepages)
		snprintf(text.s, sizeof(text.s),
			 ", in huge pages; get more as root (sysctl vm.nr_hugepages=), or use hugepages=off");
	else if (cached || kept)
		snprintf(text.s, sizeof(text.s),
			 "; %s more are kept back for the kernel, and %s hold cached files, freed as root by sysctl "
			 "vm.drop_caches=1",
			 size_format(kept / MIB * MIB).s, size_format(cached / MIB * MIB).s);
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
				numa_huge_of(m->o->memory.huge),
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

/* Every policy comes to the same there, and whoever asked for one of these wants it otherwise. */
static void note_one_node(const struct make *m)
{
	const enum placement_policy policy = m->o->numa.policy;
	const struct ids nodes = may_use(m);

	if (ids_count(&nodes) == 1 &&
	    (policy == PLACEMENT_SPREAD || policy == PLACEMENT_INTERLEAVE || policy == PLACEMENT_PACK))
		fprintf(stderr,
			"slat: --placement policy=%s: there is nothing to choose or to share out, for node %u is the "
			"only one that may be used\n",
			options_policy_name(policy), ids_next(&nodes, 0));
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
	SCOPED_BLOCK(block) = memory_scoped_zeroed(m->z->memory, 1, sizeof(struct placement_host));
	struct placement_host *host = block.at;
	enum placement_result result;
	struct placement p;

	if (!host)
		return fail(f, EXIT_HOST, "no memory for --placement");
	if (describe_host(m, &nodes, host, f))
		return f->code;
	result = placement_choose(host, &guest, &p);
	if (result == PLACEMENT_OK) {
		m->z->latency_ps = p.latency_ps;
		keep_cpus(m->z, &p);
		note_one_node(m);
		(void)plan_shares(m, host, &p, f);
	} else {
		refuse_placement(m, result, &p, f);
	}
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
