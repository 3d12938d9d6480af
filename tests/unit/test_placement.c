/* tests/unit/test_placement.c: mm/placement against an oracle that looks at all
 * divisions of a small guest's granules and CPUs over a small host's nodes, and says
 * by each policy's own words which is best; and, for 64 nodes, against a contract
 * that is kept by one granule more at a time.
 * What it does not see: whether a host's figures are true, and time (the bench's). */
#include <check.h>
#include <signal.h>
#include <string.h>

#include "mm/placement.h"
#include "tests/unit/expect.h"
#include "tests/unit/random.h"

#define NODES	      4u
#define DIVISIONS_MAX 512u
#define GRANULE	      (UINT64_C(2) << 20)
#define POLICIES      (PLACEMENT_CONTRACT + 1)
#define NS	      1000u

/* ---- the oracle ---- */

struct division {
	uint32_t part[NODES];
};

struct oracle {
	const struct placement_host *host;
	const struct placement_guest *guest;
	uint32_t nodes, want, free, room_all;
	uint32_t room[NODES];
	bool seat[NODES];
	bool known;
	uint32_t cpus_free;
	struct division bytes[DIVISIONS_MAX], cpus[DIVISIONS_MAX];
	uint32_t bytes_count, cpus_count;
};

/* All ways to divide n over the nodes from `node` on, none more than its limit. */
static uint32_t divisions(const uint32_t *limit, uint32_t nodes, uint32_t n, struct division *all)
{
	struct division now = {{0}};
	uint32_t count = 0, sum = 0, i;

	for (;;) {
		if (sum == n) {
			EXPECT(count < DIVISIONS_MAX);
			all[count++] = now;
		}
		for (i = 0; i < nodes && (now.part[i] == limit[i] || sum >= n); i++) {
			sum -= now.part[i];
			now.part[i] = 0;
		}
		if (i == nodes)
			return count;
		now.part[i]++;
		sum++;
	}
}

static void oracle_look(struct oracle *o, const struct placement_host *host, const struct placement_guest *guest)
{
	uint32_t cpus[NODES];

	*o = (struct oracle){.host = host, .guest = guest, .nodes = host->nodes, .known = true};
	o->want = (uint32_t)(guest->bytes / guest->granule);
	for (uint32_t i = 0; i < o->nodes; i++) {
		const struct placement_node *n = &host->node[i];

		o->seat[i] = n->allowed && n->cpus_all;
		o->free += n->allowed ? (uint32_t)(n->free_bytes / guest->granule) : 0;
		if (n->allowed)
			o->room[i] = (uint32_t)((guest->contiguous ? n->largest_hole : n->free_bytes) / guest->granule);
		o->room_all += o->room[i];
		o->cpus_free += o->seat[i] ? n->cpus_free : 0;
		cpus[i] = o->seat[i] ? guest->cpus : 0;
	}
	for (uint32_t i = 0; i < o->nodes; i++) {
		for (uint32_t j = 0; j < o->nodes; j++)
			o->known &= !o->seat[i] || !o->room[j] || host->latency_ps[i][j];
	}
	o->bytes_count = divisions(o->room, o->nodes, o->want, o->bytes);
	o->cpus_count = divisions(cpus, o->nodes, guest->cpus, o->cpus);
}

static uint32_t parts(const struct oracle *o, const struct division *d)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < o->nodes; i++)
		n += d->part[i] > 0;
	return n;
}

static bool is_equal_shares(const struct oracle *o, const struct division *d)
{
	for (uint32_t i = 0; i < o->nodes; i++) {
		for (uint32_t j = 0; j < o->nodes; j++) {
			if (d->part[i] && d->part[i] > d->part[j] + 1 && d->part[j])
				return false;
		}
	}
	return true;
}

/* Whether a has more at the first place in which they differ, in this order of places (NULL: by number). */
static bool is_earlier(const struct oracle *o, const struct division *a, const struct division *b,
		       const uint32_t *order)
{
	for (uint32_t k = 0; k < o->nodes; k++) {
		uint32_t i = order ? order[k] : k;

		if (a->part[i] != b->part[i])
			return a->part[i] > b->part[i];
	}
	return false;
}

static bool is_overcommitted(const struct oracle *o, const struct division *cpus)
{
	for (uint32_t i = 0; i < o->nodes; i++) {
		if (cpus->part[i] > o->host->node[i].cpus_free)
			return true;
	}
	return false;
}

/* Of picoseconds, over each CPU and each granule. */
static uint64_t cost(const struct oracle *o, const struct division *bytes, const struct division *cpus)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < o->nodes; i++) {
		for (uint32_t j = 0; j < o->nodes && cpus->part[i]; j++)
			sum += (uint64_t)cpus->part[i] * bytes->part[j] * o->host->latency_ps[i][j];
	}
	return sum;
}

static uint32_t local(const struct oracle *o, const struct division *bytes, const struct division *cpus)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < o->nodes; i++)
		n += cpus->part[i] ? bytes->part[i] : 0;
	return n;
}

static struct division of_result(const struct oracle *o, const struct placement *p, bool cpus)
{
	struct division d = {{0}};

	for (uint32_t i = 0; i < o->nodes; i++)
		d.part[i] = cpus ? p->share[i].cpus : (uint32_t)(p->share[i].bytes / o->guest->granule);
	return d;
}

static bool same(const struct division *a, const struct division *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

/* ---- what each policy's answer must be ---- */

/* The one of those nodes that local, or pack, takes; NODES if there is none. */
static uint32_t best_home(const struct oracle *o, const bool *may, bool fullest)
{
	uint32_t best = NODES;

	for (uint32_t i = 0; i < o->nodes; i++) {
		const struct placement_node *a = &o->host->node[i], *b = &o->host->node[best % NODES];
		bool a_has = a->cpus_free >= o->guest->cpus, b_has = b->cpus_free >= o->guest->cpus;

		if (!may[i])
			continue;
		if (best == NODES || (a_has && !b_has) ||
		    (a_has == b_has && (fullest ? a->free_bytes < b->free_bytes : a->free_bytes > b->free_bytes)))
			best = i;
	}
	return best;
}

static uint32_t best_holder(const struct oracle *o, bool fullest)
{
	bool may[NODES];

	for (uint32_t i = 0; i < o->nodes; i++)
		may[i] = o->seat[i] && o->room[i] >= o->want;
	return best_home(o, may, fullest);
}

static void expect_all_on(const struct oracle *o, uint32_t home, const struct placement *p)
{
	struct division bytes = {{0}}, cpus = {{0}}, got_bytes = of_result(o, p, false),
			got_cpus = of_result(o, p, true);

	bytes.part[home] = o->want;
	cpus.part[home] = o->guest->cpus;
	EXPECT(same(&bytes, &got_bytes) && same(&cpus, &got_cpus));
}

static void expect_local(const struct oracle *o, enum placement_result r, const struct placement *p)
{
	uint32_t home = best_holder(o, false), most = 0;

	EXPECT(r == (home == NODES ? PLACEMENT_NO_HOLE : PLACEMENT_OK));
	if (r == PLACEMENT_OK) {
		expect_all_on(o, home, p);
		return;
	}
	for (uint32_t i = 0; i < o->nodes; i++)
		most = o->seat[i] && o->room[i] > most ? o->room[i] : most;
	EXPECT(p->nodes == (most > 0) && p->local_bytes == 0);
	for (uint32_t i = 0, sum = 0; i < o->nodes; i++) {
		sum += (uint32_t)(p->share[i].bytes / o->guest->granule);
		EXPECT(p->share[i].bytes == 0 || o->seat[i]);
		EXPECT(i + 1 < o->nodes || sum == most);
	}
}

static const struct division *best_equal(const struct oracle *o, const struct division *all, uint32_t count)
{
	const struct division *best = NULL;

	for (const struct division *d = all; d < all + count; d++) {
		if (!is_equal_shares(o, d))
			continue;
		if (!best || parts(o, d) > parts(o, best) ||
		    (parts(o, d) == parts(o, best) && is_earlier(o, d, best, NULL)))
			best = d;
	}
	return best;
}

static void expect_most_equal(struct oracle *o, const struct placement *p)
{
	struct division got = of_result(o, p, false), all[DIVISIONS_MAX];
	uint32_t most = o->want;
	const struct division *best = NULL;

	while (!best && --most > 0)
		best = best_equal(o, all, divisions(o->room, o->nodes, most, all));
	EXPECT(best ? same(best, &got) : p->nodes == 0);
}

static void expect_equal(struct oracle *o, enum placement_result r, const struct placement *p)
{
	const struct division *bytes = best_equal(o, o->bytes, o->bytes_count), *cpus;
	struct division got_bytes = of_result(o, p, false), got_cpus = of_result(o, p, true), may[DIVISIONS_MAX];
	bool among[NODES], any = false;
	uint32_t limit[NODES], n;

	EXPECT(r == (bytes ? PLACEMENT_OK : PLACEMENT_NO_HOLE));
	if (r != PLACEMENT_OK) {
		expect_most_equal(o, p);
		return;
	}
	EXPECT(same(bytes, &got_bytes));
	for (uint32_t i = 0; i < o->nodes; i++)
		any |= among[i] = o->seat[i] && bytes->part[i];
	for (uint32_t i = 0; i < o->nodes; i++)
		among[i] |= !any && o->seat[i];
	if (o->guest->policy == PLACEMENT_INTERLEAVE) {
		EXPECT(p->share[best_home(o, among, false)].cpus == o->guest->cpus);
		return;
	}
	for (uint32_t i = 0; i < o->nodes; i++)
		limit[i] = among[i] ? o->host->node[i].cpus_free : 0;
	n = divisions(limit, o->nodes, o->guest->cpus, may);
	cpus = best_equal(o, may, n);
	for (uint32_t i = 0; i < o->nodes && !cpus; i++)
		limit[i] = among[i] ? o->guest->cpus : 0;
	if (!cpus)
		cpus = best_equal(o, may, divisions(limit, o->nodes, o->guest->cpus, may));
	EXPECT(cpus && same(cpus, &got_cpus));
}

static uint32_t near(const struct oracle *o, uint32_t home, uint32_t i)
{
	return o->known ? o->host->latency_ps[home][i] : o->host->distance[home][i];
}

static void order_by(const struct oracle *o, const uint32_t *key, uint32_t *order)
{
	bool taken[NODES] = {false};

	for (uint32_t k = 0; k < o->nodes; k++) {
		uint32_t least = NODES;

		for (uint32_t i = 0; i < o->nodes; i++) {
			if (!taken[i] && (least == NODES || key[i] < key[least]))
				least = i;
		}
		taken[least] = true;
		order[k] = least;
	}
}

/* 0: the home has them free; 1: the host has; 2: they are shared, on the home. */
static uint32_t best_seating(const struct oracle *o, uint32_t home)
{
	if (o->host->node[home].cpus_free >= o->guest->cpus)
		return 0;
	return o->cpus_free >= o->guest->cpus ? 1 : 2;
}

static const struct division *seats_of(const struct oracle *o, uint32_t home, uint32_t seating)
{
	const struct division *best = NULL;
	uint32_t key[NODES], order[NODES];

	for (uint32_t i = 0; i < o->nodes; i++)
		key[i] = i == home ? 0 : 1 + o->host->distance[home][i];
	order_by(o, key, order);
	for (uint32_t i = 0; i < o->cpus_count; i++) {
		const struct division *d = &o->cpus[i];

		if (seating == 1 ? is_overcommitted(o, d) : d->part[home] != o->guest->cpus)
			continue;
		if (!best || is_earlier(o, d, best, order))
			best = d;
	}
	EXPECT(best);
	return best;
}

static const struct division *packed(const struct oracle *o, uint32_t home)
{
	const struct division *best = NULL;
	uint32_t key[NODES], order[NODES];

	for (uint32_t i = 0; i < o->nodes; i++)
		key[i] = near(o, home, i);
	order_by(o, key, order);
	for (uint32_t i = 0; i < o->bytes_count; i++) {
		const struct division *d = &o->bytes[i];

		if (!best || parts(o, d) < parts(o, best) ||
		    (parts(o, d) == parts(o, best) && is_earlier(o, d, best, order)))
			best = d;
	}
	return best;
}

static void expect_room(const struct oracle *o, enum placement_result r, const struct placement *p)
{
	EXPECT(r == PLACEMENT_NO_HOLE);
	for (uint32_t i = 0; i < o->nodes; i++)
		EXPECT(p->share[i].bytes == o->room[i] * o->guest->granule && p->share[i].cpus == 0);
}

static void expect_pack(const struct oracle *o, enum placement_result r, const struct placement *p)
{
	uint32_t holder = best_holder(o, true), best = NODES;
	struct division got_bytes = of_result(o, p, false), got_cpus = of_result(o, p, true);
	uint64_t least = 0;

	if (holder == NODES && o->room_all < o->want) {
		expect_room(o, r, p);
		return;
	}
	EXPECT(r == PLACEMENT_OK);
	if (holder != NODES) {
		expect_all_on(o, holder, p);
		return;
	}
	for (uint32_t home = 0; home < o->nodes; home++) {
		uint64_t sum = (uint64_t)best_seating(o, home) << 48;

		for (uint32_t i = 0; i < o->nodes && o->seat[home]; i++)
			sum += (uint64_t)packed(o, home)->part[i] * near(o, home, i);
		if (o->seat[home] && (best == NODES || sum < least)) {
			best = home;
			least = sum;
		}
	}
	EXPECT(same(packed(o, best), &got_bytes));
	EXPECT(same(seats_of(o, best, best_seating(o, best)), &got_cpus));
}

struct best_contract {
	uint64_t least_cost;			 /* of all divisions */
	uint32_t least_local, least_local_whole; /* of all that keep it; of those with all CPUs on one node */
	bool kept;
};

static void look_at_all(const struct oracle *o, uint64_t limit, struct best_contract *best)
{
	*best = (struct best_contract){UINT64_MAX, UINT32_MAX, UINT32_MAX, false};
	for (uint32_t w = 0; w < o->cpus_count; w++) {
		const struct division *cpus = &o->cpus[w];

		for (uint32_t b = 0; b < o->bytes_count; b++) {
			uint64_t sum = cost(o, &o->bytes[b], cpus);
			uint32_t n = local(o, &o->bytes[b], cpus);

			best->least_cost = sum < best->least_cost ? sum : best->least_cost;
			if (sum > limit)
				continue;
			best->kept = true;
			best->least_local = n < best->least_local ? n : best->least_local;
			if (parts(o, cpus) == 1 && n < best->least_local_whole)
				best->least_local_whole = n;
		}
	}
}

/* The least of (seating, local, cost) of a home's ways, as one number; UINT64_MAX: it cannot keep it. */
static uint64_t least_of(const struct oracle *o, uint32_t home, uint32_t seating, uint64_t limit)
{
	const struct division *cpus = seats_of(o, home, seating);
	uint64_t least = UINT64_MAX;

	for (uint32_t b = 0; b < o->bytes_count; b++) {
		uint64_t sum = cost(o, &o->bytes[b], cpus), key;

		key = (uint64_t)seating << 60 | (uint64_t)local(o, &o->bytes[b], cpus) << 40 | sum;
		EXPECT(sum < UINT64_C(1) << 40);
		if (sum <= limit && key < least)
			least = key;
	}
	return least;
}

static void expect_least_local(const struct oracle *o, uint64_t limit, const struct placement *p)
{
	struct division got_bytes = of_result(o, p, false), got_cpus = of_result(o, p, true);
	uint64_t least = UINT64_MAX, key;
	const struct division *cpus = NULL;

	for (uint32_t home = 0; home < o->nodes; home++) {
		if (!o->seat[home])
			continue;
		for (uint32_t seating = best_seating(o, home); seating <= 2; seating += 1 + !seating) {
			key = least_of(o, home, seating, limit);
			if (key < least) {
				least = key;
				cpus = seats_of(o, home, seating);
			}
		}
	}
	EXPECT(cpus && same(cpus, &got_cpus));
	EXPECT(local(o, &got_bytes, &got_cpus) == (least >> 40 & 0xfffff));
	EXPECT(cost(o, &got_bytes, &got_cpus) == (least & ((UINT64_C(1) << 40) - 1)));
}

static void expect_contract(const struct oracle *o, enum placement_result r, const struct placement *p)
{
	uint64_t weight = (uint64_t)o->guest->cpus * o->want, limit = weight * o->guest->latency_ps;
	struct best_contract best;

	if (o->room_all < o->want) {
		expect_room(o, r, p);
		return;
	}
	EXPECT((r == PLACEMENT_UNKNOWN) == !o->known);
	if (r == PLACEMENT_UNKNOWN) {
		EXPECT(p->nodes == 0);
		return;
	}
	look_at_all(o, limit, &best);
	EXPECT(r == (best.kept ? PLACEMENT_OK : PLACEMENT_TOO_SLOW));
	EXPECT(best.kept == (best.least_cost <= limit));
	EXPECT(best.least_local == best.least_local_whole); /* splitting CPUs never helps */
	if (r == PLACEMENT_OK)
		expect_least_local(o, limit, p);
	else
		EXPECT(p->latency_ps == (best.least_cost + weight - 1) / weight);
}

static void expect_free(const struct oracle *o, const struct placement *p)
{
	for (uint32_t i = 0; i < o->nodes; i++) {
		const struct placement_node *n = &o->host->node[i];

		EXPECT(p->share[i].cpus == 0);
		EXPECT(p->share[i].bytes == (n->allowed ? n->free_bytes / o->guest->granule * o->guest->granule : 0));
	}
}

static bool has_seat(const struct oracle *o)
{
	for (uint32_t i = 0; i < o->nodes; i++) {
		if (o->seat[i])
			return true;
	}
	return false;
}

static void expect_best(struct oracle *o, enum placement_result r, const struct placement *p)
{
	if (r == PLACEMENT_OK)
		EXPECT(placement_check(o->host, o->guest, p));
	EXPECT((r == PLACEMENT_NO_MEMORY) == (o->free < o->want));
	if (r == PLACEMENT_NO_MEMORY) {
		expect_free(o, p);
		return;
	}
	EXPECT((r == PLACEMENT_NO_CPUS) == !has_seat(o));
	if (r == PLACEMENT_NO_CPUS)
		EXPECT(p->nodes == 0);
	else if (o->guest->policy == PLACEMENT_LOCAL)
		expect_local(o, r, p);
	else if (o->guest->policy == PLACEMENT_PACK)
		expect_pack(o, r, p);
	else if (o->guest->policy == PLACEMENT_CONTRACT)
		expect_contract(o, r, p);
	else
		expect_equal(o, r, p);
}

/* ---- random hosts ---- */

static void random_figures(struct placement_host *h)
{
	static const uint32_t latency[] = {80 * NS, 100 * NS, 130 * NS, 160 * NS, 320 * NS};
	static const uint8_t distance[] = {10, 12, 20, 21, 31};
	bool plain = below(2), unknown = below(8) == 0, holes = below(8) == 0;

	for (uint32_t i = 0; i < h->nodes; i++) {
		for (uint32_t j = 0; j < h->nodes; j++) {
			h->latency_ps[i][j] = plain ? (i == j ? 80 * NS : 160 * NS) : latency[below(5)];
			if (unknown || (holes && below(8) == 0))
				h->latency_ps[i][j] = 0;
			h->distance[i][j] = i == j ? 10 : distance[plain ? 2 : below(5)];
		}
	}
}

static uint64_t random_node(struct placement_node *n, uint64_t granule)
{
	n->free_bytes = below(5) ? granule * below(6) + (below(2) ? below(granule) : 0) : 0;
	n->largest_hole = below(2) ? n->free_bytes : below(n->free_bytes + 1);
	n->cpus_all = below(4) ? 1 + (uint32_t)below(6) : 0;
	n->cpus_free = (uint32_t)below(n->cpus_all + 1);
	n->allowed = below(8) > 0;
	return n->allowed ? n->free_bytes / granule : 0;
}

static void random_case(struct placement_host *h, struct placement_guest *g)
{
	uint64_t granules = 0;

	memset(h, 0, sizeof(*h)); /* padding too: it is compared */
	h->nodes = below(3) ? 2 + (uint32_t)below(NODES - 1) : 1;
	*g = (struct placement_guest){.granule = UINT64_C(4096) << below(10), .cpus = 1 + (uint32_t)below(4)};
	for (uint32_t i = 0; i < h->nodes; i++)
		granules += random_node(&h->node[i], g->granule);
	g->bytes = g->granule * (1 + below(granules < 8 ? granules + (granules == 0 || below(4) == 0) : 8));
	g->contiguous = below(3) == 0;
	g->policy = (enum placement_policy)below(POLICIES);
	g->latency_ps = (uint32_t)(below(8) ? 70 + 5 * below(20) : 60 + below(300)) * NS;
	random_figures(h);
}

START_TEST(all_divisions)
{
	static struct placement_host host, before;
	static struct oracle o;
	uint32_t seen[POLICIES][PLACEMENT_UNKNOWN + 1] = {{0}};
	struct placement_guest guest;
	struct placement p, again;
	enum placement_result r;

	seed(7 + (uint64_t)_i);
	for (uint32_t n = 0; n < 200000; n++) {
		random_case(&host, &guest);
		before = host;
		memset(&p, 0xaa, sizeof(p));
		memset(&again, 0xaa, sizeof(again));
		r = placement_choose(&host, &guest, &p);
		oracle_look(&o, &host, &guest);
		expect_best(&o, r, &p);
		EXPECT(p.latency_ps == placement_latency(&host, &p));
		EXPECT(r == placement_choose(&host, &guest, &again));
		EXPECT(memcmp(p.share, again.share, sizeof(p.share)) == 0);
		EXPECT(host.nodes == PLACEMENT_NODES_MAX || p.share[host.nodes].bytes == UINT64_C(0xaaaaaaaaaaaaaaaa));
		EXPECT(memcmp(&host, &before, sizeof(host)) == 0);
		seen[guest.policy][r]++;
	}
	for (uint32_t policy = 0; policy < POLICIES; policy++) {
		EXPECT(seen[policy][PLACEMENT_OK] > 1000 && seen[policy][PLACEMENT_NO_MEMORY] > 1000);
		EXPECT(seen[policy][PLACEMENT_NO_HOLE] > 100 && seen[policy][PLACEMENT_NO_CPUS] > 10);
	}
	EXPECT(seen[PLACEMENT_CONTRACT][PLACEMENT_TOO_SLOW] > 1000);
	EXPECT(seen[PLACEMENT_CONTRACT][PLACEMENT_UNKNOWN] > 100);
}
END_TEST

/* ---- the contract's own figures ---- */

/* Of nodes alike: 100 granules free, 8 CPUs; 80 ns to themselves, 160 ns to others. */
static void even_host(struct placement_host *h, uint32_t nodes)
{
	memset(h, 0, sizeof(*h));
	h->nodes = nodes;
	for (uint32_t i = 0; i < nodes; i++) {
		h->node[i] = (struct placement_node){
			.free_bytes = 100 * GRANULE, .largest_hole = 100 * GRANULE, .cpus_free = 8, .cpus_all = 8};
		h->node[i].allowed = true;
		for (uint32_t j = 0; j < nodes; j++) {
			h->latency_ps[i][j] = i == j ? 80 * NS : 160 * NS;
			h->distance[i][j] = i == j ? 10 : 20;
		}
	}
}

static struct placement_guest guest_of(enum placement_policy policy, uint32_t granules)
{
	return (struct placement_guest){.bytes = granules * GRANULE, .granule = GRANULE, .cpus = 4, .policy = policy};
}

START_TEST(eighty_and_hundred_sixty)
{
	static const struct {
		uint32_t granules, ask_ns, local, latency_ps;
	} cases[] = {
		{100, 100, 75, 100 * NS}, {100, 140, 25, 140 * NS}, {100, 80, 100, 80 * NS},  {100, 160, 0, 160 * NS},
		{100, 81, 99, 80800},	  {100, 159, 2, 158400},    {100, 1000, 0, 160 * NS}, {3, 100, 3, 80 * NS},
		{3, 107, 2, 106667},	  {1, 159, 1, 80 * NS},	    {4, 100, 3, 100 * NS},    {150, 120, 75, 120 * NS},
	};
	struct placement_guest g;
	struct placement_host h;
	struct placement p;

	even_host(&h, 2);
	for (uint32_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		g = guest_of(PLACEMENT_CONTRACT, cases[i].granules);
		g.latency_ps = cases[i].ask_ns * NS;
		ck_assert_int_eq(placement_choose(&h, &g, &p), PLACEMENT_OK);
		ck_assert_uint_eq(p.local_bytes, cases[i].local * GRANULE);
		ck_assert_uint_eq(p.latency_ps, cases[i].latency_ps);
		ck_assert(p.share[0].cpus == 4 && p.share[0].bytes == p.local_bytes);
		ck_assert(placement_check(&h, &g, &p));
	}
	g.latency_ps = 79 * NS;
	g.bytes = 100 * GRANULE;
	ck_assert_int_eq(placement_choose(&h, &g, &p), PLACEMENT_TOO_SLOW);
	ck_assert(p.latency_ps == 80 * NS && p.local_bytes == g.bytes && p.nodes == 1 && p.share[0].cpus == 4);
	g.bytes = 150 * GRANULE; /* 100 of it local at most */
	g.latency_ps = 106 * NS;
	ck_assert_int_eq(placement_choose(&h, &g, &p), PLACEMENT_TOO_SLOW);
	ck_assert_uint_eq(p.latency_ps, 106667);
	p.share[0] = (struct placement_share){25 * GRANULE, 4};
	p.share[1] = (struct placement_share){75 * GRANULE, 0};
	ck_assert_uint_eq(placement_latency(&h, &p), 140 * NS);
	p.share[1].cpus = 4;
	ck_assert_uint_eq(placement_latency(&h, &p), 120 * NS);
}
END_TEST

START_TEST(remote_memory_is_the_nearest)
{
	struct placement_guest g = guest_of(PLACEMENT_CONTRACT, 100);
	struct placement_host h;
	struct placement p;

	even_host(&h, 4);
	h.latency_ps[0][1] = 300 * NS;
	h.latency_ps[0][2] = 200 * NS;
	h.latency_ps[0][3] = 100 * NS;
	h.node[1].cpus_all = h.node[2].cpus_all = h.node[3].cpus_all = 0;
	h.node[1].cpus_free = h.node[2].cpus_free = h.node[3].cpus_free = 0;
	h.node[3].free_bytes = h.node[3].largest_hole = 50 * GRANULE;
	g.latency_ps = 120 * NS;
	ck_assert_int_eq(placement_choose(&h, &g, &p), PLACEMENT_OK);
	/* 50 at 100 ns, and of the other 50 so many at 200 ns as 80 ns for the rest allow: 25. */
	ck_assert(p.share[0].bytes == 25 * GRANULE && p.share[3].bytes == 50 * GRANULE);
	ck_assert(p.share[2].bytes == 25 * GRANULE && p.share[1].bytes == 0);
	ck_assert(p.latency_ps == 120 * NS && placement_check(&h, &g, &p));
}
END_TEST

/* 12 CPUs, 8 free a node: apart while the contract allows, else shared. */
START_TEST(cpus_apart)
{
	struct placement_guest g = guest_of(PLACEMENT_CONTRACT, 90);
	struct placement_host h;
	struct placement p;

	even_host(&h, 2);
	g.cpus = 12;
	g.latency_ps = 110 * NS; /* all on node 0: (8 * 80 + 4 * 160) / 12 = 106.7 */
	ck_assert_int_eq(placement_choose(&h, &g, &p), PLACEMENT_OK);
	ck_assert(p.share[0].cpus == 8 && p.share[1].cpus == 4 && p.local_bytes == g.bytes);
	ck_assert(p.latency_ps <= g.latency_ps && placement_check(&h, &g, &p));
	g.latency_ps = 100 * NS;
	ck_assert_int_eq(placement_choose(&h, &g, &p), PLACEMENT_OK);
	ck_assert(p.share[0].cpus == 12 && p.share[1].cpus == 0 && p.local_bytes == 68 * GRANULE);
	g.policy = PLACEMENT_PACK;
	g.bytes = 150 * GRANULE;
	ck_assert_int_eq(placement_choose(&h, &g, &p), PLACEMENT_OK);
	ck_assert(p.share[0].cpus == 8 && p.share[1].cpus == 4 && p.share[0].bytes == 100 * GRANULE);
}
END_TEST

/* Numbers whose products need all of 128 bits, and a division of them. */
START_TEST(large_numbers)
{
	const uint32_t fast = UINT32_C(0x80000001), slow = UINT32_MAX;
	struct placement_guest g = {.granule = 1, .cpus = UINT32_MAX, .policy = PLACEMENT_CONTRACT};
	unsigned __int128 bytes, over, sum;
	struct placement_host h;
	struct placement p;

	seed(11);
	even_host(&h, 2);
	h.latency_ps[0][0] = h.latency_ps[1][1] = fast;
	h.latency_ps[0][1] = h.latency_ps[1][0] = slow;
	h.node[0].free_bytes = h.node[1].free_bytes = INT64_MAX;
	for (uint32_t i = 0; i < 1000; i++) {
		g.bytes = INT64_MAX - below(1000000);
		g.latency_ps = fast + (uint32_t)below(slow - fast + 1);
		bytes = g.bytes;
		over = bytes * (slow - g.latency_ps);
		ck_assert_int_eq(placement_choose(&h, &g, &p), PLACEMENT_OK);
		EXPECT(p.local_bytes == (uint64_t)((over + (slow - fast) - 1) / (slow - fast)));
		sum = (unsigned __int128)p.local_bytes * fast + (bytes - p.local_bytes) * slow;
		EXPECT(p.latency_ps == (uint32_t)((sum + bytes - 1) / bytes) && placement_check(&h, &g, &p));
	}
}
END_TEST

/* ---- 64 nodes ---- */

static void wide_host(struct placement_host *h)
{
	memset(h, 0, sizeof(*h));
	h->nodes = PLACEMENT_NODES_MAX;
	for (uint32_t i = 0; i < h->nodes; i++) {
		struct placement_node *n = &h->node[i];

		n->free_bytes = below(20) * GRANULE;
		n->largest_hole = n->free_bytes / 2;
		n->cpus_all = below(4) ? 8 : 0;
		n->cpus_free = n->cpus_all;
		n->allowed = below(8) > 0;
		for (uint32_t j = 0; j < h->nodes; j++) {
			h->latency_ps[i][j] = (i == j ? 80 : 100 + (uint32_t)below(300)) * NS;
			h->distance[i][j] = (uint8_t)(h->latency_ps[i][j] / (8 * NS));
		}
	}
}

/* The dearest (or cheapest) node but home with more (or less) in it than nothing (or its room). */
static uint32_t extreme(const struct placement_host *h, uint32_t home, const uint64_t *share, bool dearest)
{
	uint32_t best = home;

	for (uint32_t i = 0; i < h->nodes; i++) {
		uint64_t room = h->node[i].allowed ? h->node[i].free_bytes / GRANULE : 0;
		uint32_t a = h->latency_ps[home][i], b = h->latency_ps[home][best];

		if (i != home && (dearest ? share[i] > 0 : share[i] < room) &&
		    (best == home || (dearest ? a > b : a < b)))
			best = i;
	}
	return best;
}

/* The least granules on the home that keep the contract, found one by one; UINT64_MAX: none do. */
static uint64_t least_local(const struct placement_host *h, const struct placement_guest *g, uint32_t home)
{
	uint64_t share[PLACEMENT_NODES_MAX] = {0}, want = g->bytes / GRANULE, sum = 0, at;
	uint32_t i;

	for (uint64_t n = 0; n < want; n++) {
		i = extreme(h, home, share, false);
		share[i]++;
		sum += h->latency_ps[home][i];
	}
	if (share[home] * GRANULE > h->node[home].free_bytes)
		return UINT64_MAX;
	for (at = share[home]; sum > g->latency_ps * want; at++) {
		i = extreme(h, home, share, true);
		if (i == home || at * GRANULE == h->node[home].free_bytes)
			return UINT64_MAX;
		share[i]--;
		sum -= h->latency_ps[home][i] - h->latency_ps[home][home];
	}
	return at;
}

START_TEST(sixty_four_nodes)
{
	static struct placement_host h;
	struct placement_guest g;
	uint32_t seen[POLICIES][2] = {{0}};
	struct placement p;
	uint64_t least, n;
	bool ok;

	seed(64);
	for (uint32_t i = 0; i < 1000; i++) {
		wide_host(&h);
		g = guest_of((enum placement_policy)(i % POLICIES), 1 + (uint32_t)below(i % 3 ? 100 : 12));
		g.contiguous = i % 7 == 0 && g.policy != PLACEMENT_CONTRACT;
		g.latency_ps = (80 + (uint32_t)below(100)) * NS;
		ok = placement_choose(&h, &g, &p) == PLACEMENT_OK;
		EXPECT(!ok || placement_check(&h, &g, &p));
		seen[g.policy][ok]++;
		if (g.policy != PLACEMENT_CONTRACT)
			continue;
		least = UINT64_MAX;
		for (uint32_t home = 0; home < h.nodes; home++) {
			n = h.node[home].allowed && h.node[home].cpus_all ? least_local(&h, &g, home) : least;
			least = n < least ? n : least;
		}
		EXPECT(ok == (least != UINT64_MAX));
		EXPECT(!ok || p.local_bytes == least * GRANULE);
	}
	for (uint32_t policy = 0; policy < POLICIES; policy++)
		EXPECT(seen[policy][true] > 20);
	EXPECT(seen[PLACEMENT_LOCAL][false] > 20 && seen[PLACEMENT_CONTRACT][false] > 10);
}
END_TEST

/* Shares of all 64, the last one too. */
START_TEST(all_of_sixty_four)
{
	struct placement_guest g = guest_of(PLACEMENT_SPREAD, 6400);
	struct placement_host h;
	struct placement p;

	even_host(&h, PLACEMENT_NODES_MAX);
	g.cpus = 512;
	for (uint32_t policy = PLACEMENT_PACK; policy < PLACEMENT_CONTRACT; policy++) {
		g.policy = (enum placement_policy)policy;
		ck_assert_int_eq(placement_choose(&h, &g, &p), PLACEMENT_OK);
		ck_assert(p.nodes == 64 && p.share[63].bytes == 100 * GRANULE && placement_check(&h, &g, &p));
		ck_assert(p.share[63].cpus == (policy == PLACEMENT_INTERLEAVE ? 0 : 8));
	}
}
END_TEST

/* ---- placement_check() ---- */

static void recount(const struct placement_host *h, struct placement *p)
{
	p->nodes = 0;
	p->local_bytes = 0;
	for (uint32_t i = 0; i < h->nodes; i++) {
		p->nodes += p->share[i].bytes > 0;
		p->local_bytes += p->share[i].cpus ? p->share[i].bytes : 0;
	}
	p->latency_ps = placement_latency(h, p);
}

struct checked {
	struct placement_host h;
	struct placement_guest g;
	struct placement p;
};

/* Nodes 0 to 3 of 100 granules, 3 of memory alone, and 4, which is not allowed. */
static void good(struct checked *c, enum placement_policy policy, uint32_t granules)
{
	even_host(&c->h, 5);
	c->h.node[3].cpus_all = c->h.node[3].cpus_free = 0;
	c->h.node[4].allowed = false;
	c->g = guest_of(policy, granules);
	c->g.latency_ps = 100 * NS;
	ck_assert_int_eq(placement_choose(&c->h, &c->g, &c->p), PLACEMENT_OK);
	ck_assert(placement_check(&c->h, &c->g, &c->p));
}

/* How each of P1 to P3 is broken, the rest left in order; false: there is no such. */
static bool spoil(struct checked *c, uint32_t how)
{
	struct placement_share *s = c->p.share;

	switch (how) {
	case 0: /* P1 */
		s[0].bytes -= GRANULE;
		break;
	case 1:
		s[1].bytes += GRANULE;
		break;
	case 2:
		s[0].cpus--;
		break;
	case 3:
		s[1].cpus++;
		break;
	case 4: /* P2 */
		s[0].bytes++;
		break;
	case 5:
		c->h.node[0].free_bytes = c->h.node[0].largest_hole = s[0].bytes - 1;
		break;
	case 6:
		c->g.contiguous = true;
		c->h.node[1].largest_hole = s[1].bytes - 1;
		break;
	case 7:
		s[4].bytes = s[0].bytes;
		s[0].bytes = 0;
		break;
	case 8:
		s[5].bytes = s[0].bytes;
		s[0].bytes = 0;
		break;
	case 9:
		s[63].cpus = s[0].cpus;
		s[0].cpus = 0;
		break;
	case 10:
		s[4].cpus = s[0].cpus;
		s[0].cpus = 0;
		break;
	case 11:
		s[3].cpus = s[0].cpus;
		s[0].cpus = 0;
		break;
	default:
		return false;
	}
	recount(&c->h, &c->p);
	return true;
}

START_TEST(check_objects)
{
	struct checked c, kept;

	for (uint32_t how = 0; good(&c, PLACEMENT_SPREAD, 60), spoil(&c, how); how++)
		ck_assert_msg(!placement_check(&c.h, &c.g, &c.p), "to %u", how);
	kept = c; /* P3 */
	c.p.nodes++;
	ck_assert(!placement_check(&c.h, &c.g, &c.p));
	c = kept;
	c.p.local_bytes -= GRANULE;
	ck_assert(!placement_check(&c.h, &c.g, &c.p));
	c = kept;
	c.p.latency_ps--;
	ck_assert(!placement_check(&c.h, &c.g, &c.p));
	c = kept;
	ck_assert(placement_check(&c.h, &c.g, &c.p));
}
END_TEST

/* Granules and CPUs instead of those on nodes 0 to 2, all but the form in order. */
static bool form_holds(struct checked *c, const uint32_t *granules, const uint32_t *cpus)
{
	for (uint32_t i = 0; i < 4; i++)
		c->p.share[i] = (struct placement_share){granules[i] * GRANULE, cpus[i]};
	recount(&c->h, &c->p);
	return placement_check(&c->h, &c->g, &c->p);
}

START_TEST(check_objects_to_form)
{
	static const struct {
		enum placement_policy policy;
		uint32_t granules[4], cpus[4];
		bool holds;
	} cases[] = {
		{PLACEMENT_LOCAL, {0, 60}, {0, 4}, true},
		{PLACEMENT_LOCAL, {30, 30}, {4}, false},
		{PLACEMENT_LOCAL, {30, 30}, {2, 2}, false},
		{PLACEMENT_LOCAL, {60}, {0, 4}, false},
		{PLACEMENT_LOCAL, {60}, {2, 2}, false},
		{PLACEMENT_PACK, {0, 60}, {0, 4}, true},
		{PLACEMENT_PACK, {59, 1}, {4}, false},
		{PLACEMENT_SPREAD, {15, 15, 15, 15}, {1, 1, 2}, true},
		{PLACEMENT_SPREAD, {30, 30}, {2, 2}, true}, /* not the best, but of the form */
		{PLACEMENT_SPREAD, {16, 15, 15, 14}, {1, 1, 2}, false},
		{PLACEMENT_INTERLEAVE, {15, 15, 15, 15}, {0, 4}, true},
		{PLACEMENT_INTERLEAVE, {15, 15, 15, 15}, {2, 2}, false},
		{PLACEMENT_INTERLEAVE, {20, 20, 18, 2}, {4}, false},
		{PLACEMENT_CONTRACT, {45, 15}, {4}, true},
		{PLACEMENT_CONTRACT, {44, 16}, {4}, false},
	};
	struct checked c;

	for (uint32_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		good(&c, cases[i].policy, 60);
		ck_assert_msg(form_holds(&c, cases[i].granules, cases[i].cpus) == cases[i].holds, "form %u", i);
	}
	c.h.latency_ps[0][0] = 0; /* the last one's */
	ck_assert(!form_holds(&c, cases[13].granules, cases[13].cpus));
	c.p = (struct placement){.nodes = 0};
	ck_assert_uint_eq(placement_latency(&c.h, &c.p), 0);
}
END_TEST

/* ---- what is our own bug ---- */

START_TEST(not_a_question)
{
	struct placement_guest g = guest_of(PLACEMENT_LOCAL, 4);
	struct placement_host h;
	struct placement p;

	even_host(&h, 2);
	switch (_i) {
	case 0:
		h.nodes = 0;
		break;
	case 1:
		h.nodes = PLACEMENT_NODES_MAX + 1;
		break;
	case 2:
		g.bytes = 0;
		break;
	case 3:
		g.cpus = 0;
		break;
	case 4:
		g.granule = 0;
		break;
	case 5:
		g.granule = 3 * 4096;
		break;
	case 6:
		g.bytes += 4096;
		break;
	case 7:
		g.policy = (enum placement_policy)POLICIES;
		break;
	case 8:
		h.node[1].cpus_free++;
		break;
	case 9:
		h.node[1].largest_hole++;
		break;
	default:
		h.node[0].free_bytes = h.node[1].free_bytes = UINT64_MAX;
		g.granule = 1;
		break;
	}
	(void)placement_choose(&h, &g, &p);
}
END_TEST

Suite *placement_suite(void);

Suite *placement_suite(void)
{
	Suite *suite = suite_create("placement");
	TCase *plain = tcase_create("plain"), *all = tcase_create("all divisions");

	tcase_add_test(plain, eighty_and_hundred_sixty);
	tcase_add_test(plain, remote_memory_is_the_nearest);
	tcase_add_test(plain, cpus_apart);
	tcase_add_test(plain, large_numbers);
	tcase_add_test(plain, sixty_four_nodes);
	tcase_add_test(plain, all_of_sixty_four);
	tcase_add_test(plain, check_objects);
	tcase_add_test(plain, check_objects_to_form);
	tcase_add_loop_test_raise_signal(plain, not_a_question, SIGABRT, 0, 11);
	tcase_set_timeout(plain, 60);
	suite_add_tcase(suite, plain);
	tcase_add_loop_test(all, all_divisions, 0, 4);
	tcase_set_timeout(all, 60);
	suite_add_tcase(suite, all);
	return suite;
}
