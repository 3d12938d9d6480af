/* mm/placement.c: on which memory nodes a guest's RAM and CPUs go.
 *
 * What it is. A choice among numbers: nothing is taken here, nothing kept. It does
 * not know which holes a node has, only how much lies in them and how long the
 * largest is: the caller takes, and where he fails, or was too late, asks again.
 *
 * Words. Sizes are counted in the guest's granules. A node's room is what it can
 * give this guest: its free memory, or its largest hole if each node is to give one
 * extent; none if it is not allowed. A seat is an allowed node with CPUs, the home
 * the seat that a choice begins at. Near is a low latency, or where one that matters
 * is not known, a low distance by SLIT. Remote memory is that of nodes where the
 * guest has no CPU. Ties go to the lower place, everywhere.
 *
 * Policies. A home with as many free CPUs as the guest has comes before all others,
 * as do guests that need not share CPUs at all before those that do.
 *   local       the seat with room for all; the one with most free memory.
 *   pack        the same, with least. If none has: as few nodes as the rooms allow;
 *               of those ways the one that gives the home most, then the nearest to
 *               it, and so on; of all homes the one with the nearest memory. CPUs that
 *               the home has not got free come from the nearest seats that have.
 *   spread      as many nodes as can give equal shares, which differ by one granule
 *               at most, the lower places having it; CPUs alike on those of them that
 *               are seats (on all seats, if none is).
 *   interleave  memory as spread; all CPUs on one of those nodes, chosen as local.
 *   contract    CPUs on a home, or as in pack; memory: below.
 *
 * The contract. With the CPUs placed, a granule on a node costs the sum of the
 * latencies from each CPU, its weight, and the mean is kept iff the granules' weights
 * sum to at most latency * CPUs * granules. For x granules local, the cheapest way is
 * local and remote memory each filled from the nearest on; call its cost f(x). Each
 * of the two parts is convex, so f is. We begin with the least x that the remote rooms
 * leave and move the dearest remote granule to the nearest local room, many at once
 * where nodes stay the same: while f falls, the first x within the bound is the least;
 * once it does not fall, it never will again. Of all homes: least local memory, then
 * the lowest mean.
 *   With the memory placed, the mean is linear in the CPUs' shares, so no splitting of
 * CPUs beats the best of its homes with all of them: neither in the mean, nor in how
 * little is local. So it is enough to try each home alone to know that the contract
 * cannot be kept and what is the fastest. CPUs are split only to have them unshared.
 *
 * Invariants, of every placement that is chosen; placement_check():
 *   P1  bytes and CPUs sum to the guest's;
 *   P2  a share is of whole granules, and no more than the node's room; there is none
 *       where the node is not allowed; CPUs only on seats;
 *   P3  nodes, local_bytes and latency_ps are what the shares say, latency rounded up;
 *   P4  the policy's form: one node; the fewest; equal shares; the mean kept.
 * Which of those that have the form is best, the tests know (against all there are).
 *
 * Cost. local: one pass. Equal shares: O(nodes^2). pack over several nodes and the
 * contract look at each home, and sort the nodes for it by insertion: O(nodes^3) at
 * worst, but nodes are few: sorting 4 is a dozen comparisons, and nothing that sorts
 * 64 faster is as fast there. Sums of granules times latencies are of 128 bits; their
 * division is a loop, for there is no library, unless they fit in 64, as they mostly do.
 *
 * Memory. 7 KiB of stack.
 *
 * Rejected. Linear programming for CPUs and memory at once: the products make it
 * bilinear, and splitting never helps the mean (above). For pack the nearest of all
 * sets of the fewest nodes: a knapsack; what is taken here is its greedy answer. Filling
 * up small nodes under spread: shares would not be equal, and bandwidth goes by shares. */
#include "mm/placement.h"
#include "mm/port.h"

typedef unsigned __int128 wide;

enum seating { TOGETHER, APART, SHARED }; /* the better, the lower */

struct choice {
	const struct placement_host *host;
	const struct placement_guest *guest;
	uint32_t nodes, shift;	       /* a granule is 1 << shift bytes */
	uint64_t want, free, room_all; /* granules */
	uint64_t seats;		       /* a bit a node */
	uint64_t cpus_free;	       /* on all seats */
	uint64_t room[PLACEMENT_NODES_MAX];
};

struct offer { /* arrays: only as far as the host has nodes */
	enum seating seating;
	uint64_t seated; /* nodes with CPUs of the guest, a bit each */
	uint64_t local;	 /* granules on those */
	wide cost;	 /* sum of share * weight */
	uint64_t weight[PLACEMENT_NODES_MAX];
	uint64_t share[PLACEMENT_NODES_MAX]; /* granules */
	uint32_t cpus[PLACEMENT_NODES_MAX];
	uint8_t order[PLACEMENT_NODES_MAX]; /* of nodes, by weight */
};

static uint64_t min(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t bit(uint32_t node)
{
	return UINT64_C(1) << node;
}

/* d at most n, or below 2^64; the quotient below 2^63. */
static uint64_t divide_up(wide n, wide d)
{
	uint64_t q = 0;

	if (n >> 64 == 0)
		return (uint64_t)n / (uint64_t)d + ((uint64_t)n % (uint64_t)d > 0);
	for (uint32_t i = 63; i-- > 0;) {
		if (n >> i >= d) {
			n -= d << i;
			q |= UINT64_C(1) << i;
		}
	}
	return q + (n > 0);
}

/* ---- what there is ---- */

static bool is_guest(const struct placement_guest *g)
{
	return g->bytes > 0 && g->cpus > 0 && g->granule > 0 && (g->granule & (g->granule - 1)) == 0 &&
	       (g->bytes & (g->granule - 1)) == 0 && g->policy <= PLACEMENT_CONTRACT;
}

/* All from seats to room. */
static bool latencies_known(const struct choice *c)
{
	for (uint64_t seats = c->seats; seats; seats &= seats - 1) {
		const uint32_t *latency = c->host->latency_ps[__builtin_ctzll(seats)];

		for (uint32_t i = 0; i < c->nodes; i++) {
			if (c->room[i] && !latency[i])
				return false;
		}
	}
	return true;
}

static void look(struct choice *c, const struct placement_host *host, const struct placement_guest *guest)
{
	MM_ASSERT(host->nodes >= 1 && host->nodes <= PLACEMENT_NODES_MAX, host->nodes, 0);
	MM_ASSERT(is_guest(guest), guest->bytes, guest->policy);
	c->host = host;
	c->guest = guest;
	c->nodes = host->nodes;
	c->shift = (uint32_t)__builtin_ctzll(guest->granule);
	c->want = guest->bytes >> c->shift;
	c->free = c->room_all = c->seats = c->cpus_free = 0;
	for (uint32_t i = 0; i < c->nodes; i++) {
		const struct placement_node *node = &host->node[i];

		MM_ASSERT(node->cpus_free <= node->cpus_all, node->cpus_free, node->cpus_all);
		MM_ASSERT(node->largest_hole < guest->granule || node->largest_hole <= node->free_bytes,
			  node->largest_hole, node->free_bytes);
		c->room[i] = 0;
		if (!node->allowed)
			continue;
		c->room[i] = (guest->contiguous ? node->largest_hole : node->free_bytes) >> c->shift;
		c->room_all += c->room[i];
		c->free += node->free_bytes >> c->shift;
		MM_ASSERT(c->free >= node->free_bytes >> c->shift, c->free, i);
		c->seats |= node->cpus_all ? bit(i) : 0;
		c->cpus_free += node->cpus_all ? node->cpus_free : 0;
	}
}

/* ---- what comes of shares ---- */

uint32_t placement_latency(const struct placement_host *host, const struct placement *p)
{
	uint64_t all = 0, cpus = 0;
	uint32_t shift;
	wide sum = 0;

	for (uint32_t i = 0; i < host->nodes; i++)
		all |= p->share[i].bytes;
	shift = all ? (uint32_t)__builtin_ctzll(all) : 0; /* smaller numbers are divided faster */
	for (uint32_t from = 0; from < host->nodes; from++) {
		if (!p->share[from].cpus)
			continue;
		cpus += p->share[from].cpus;
		for (uint32_t to = 0; to < host->nodes; to++) {
			uint64_t weight = (uint64_t)p->share[from].cpus * host->latency_ps[from][to];

			if (p->share[to].bytes && !weight)
				return 0;
			sum += (wide)(p->share[to].bytes >> shift) * weight;
		}
	}
	all = 0;
	for (uint32_t i = 0; i < host->nodes; i++)
		all += p->share[i].bytes >> shift;
	return all && cpus ? (uint32_t)divide_up(sum, (wide)all * cpus) : 0;
}

static void count(const struct placement_host *host, struct placement *p)
{
	p->nodes = 0;
	p->local_bytes = 0;
	for (uint32_t i = 0; i < host->nodes; i++) {
		p->nodes += p->share[i].bytes > 0;
		p->local_bytes += p->share[i].cpus ? p->share[i].bytes : 0;
	}
	p->latency_ps = placement_latency(host, p);
}

static void give(const struct choice *c, const uint64_t *granules, struct placement *out)
{
	for (uint32_t i = 0; i < c->nodes; i++)
		out->share[i].bytes = granules[i] << c->shift;
	count(c->host, out);
}

static void give_offer(const struct choice *c, const struct offer *o, struct placement *out)
{
	for (uint32_t i = 0; i < c->nodes; i++)
		out->share[i].cpus = o->cpus[i];
	give(c, o->share, out);
}

static enum placement_result give_free(const struct choice *c, struct placement *out)
{
	for (uint32_t i = 0; i < c->nodes; i++) {
		const struct placement_node *node = &c->host->node[i];

		out->share[i].bytes = node->allowed ? node->free_bytes >> c->shift << c->shift : 0;
	}
	count(c->host, out);
	return PLACEMENT_NO_MEMORY;
}

static enum placement_result give_room(const struct choice *c, struct placement *out)
{
	give(c, c->room, out);
	return PLACEMENT_NO_HOLE;
}

/* ---- one node ---- */

static bool has_cpus(const struct choice *c, uint32_t node)
{
	return c->host->node[node].cpus_free >= c->guest->cpus;
}

static bool is_better_home(const struct choice *c, uint32_t a, uint32_t b, bool fullest)
{
	uint64_t free_a = c->host->node[a].free_bytes, free_b = c->host->node[b].free_bytes;

	if (has_cpus(c, a) != has_cpus(c, b))
		return has_cpus(c, a);
	return fullest ? free_a < free_b : free_a > free_b;
}

/* `among` is not empty. */
static uint32_t best_home(const struct choice *c, uint64_t among, bool fullest)
{
	uint32_t best = (uint32_t)__builtin_ctzll(among);

	while (among &= among - 1) {
		uint32_t i = (uint32_t)__builtin_ctzll(among);

		if (is_better_home(c, i, best, fullest))
			best = i;
	}
	return best;
}

static bool choose_one(const struct choice *c, bool fullest, struct placement *out)
{
	uint64_t holders = 0;
	uint32_t home;

	for (uint64_t seats = c->seats; seats; seats &= seats - 1) {
		uint32_t i = (uint32_t)__builtin_ctzll(seats);

		holders |= c->room[i] >= c->want ? bit(i) : 0;
	}
	if (!holders)
		return false;
	home = best_home(c, holders, fullest);
	out->share[home] = (struct placement_share){c->guest->bytes, c->guest->cpus};
	count(c->host, out);
	return true;
}

static enum placement_result give_largest(const struct choice *c, struct placement *out)
{
	uint32_t largest = (uint32_t)__builtin_ctzll(c->seats);

	for (uint64_t seats = c->seats; seats; seats &= seats - 1) {
		uint32_t i = (uint32_t)__builtin_ctzll(seats);

		largest = c->room[i] > c->room[largest] ? i : largest;
	}
	out->share[largest].bytes = c->room[largest] << c->shift;
	count(c->host, out);
	return PLACEMENT_NO_HOLE;
}

/* ---- equal shares ---- */

/* n among k of these, n / k or one more each: false iff they have not got that. What each has becomes what it gives. */
static bool divide_among(uint64_t n, uint32_t k, uint32_t nodes, uint64_t *share)
{
	uint64_t each = n / k, more = n % k, able = 0, abler = 0;

	for (uint32_t i = 0; i < nodes; i++) {
		able += share[i] >= each;
		abler += share[i] > each;
	}
	if (able < k || abler < more)
		return false;
	/* There are more than k that are able only if each has 1, of n: else k + 1 of them had served. */
	for (uint32_t i = 0; i < nodes; i++) {
		bool extra = more > 0 && share[i] > each, gives = k > 0 && share[i] >= each;

		share[i] = gives ? each + extra : 0;
		more -= gives && extra;
		k -= gives;
	}
	return true;
}

static bool divide(uint64_t n, uint32_t nodes, uint64_t *share)
{
	for (uint32_t k = (uint32_t)min(n, nodes); k > 0; k--) {
		if (divide_among(n, k, nodes, share))
			return true;
	}
	return false;
}

/* The most that can be divided: with shares of what node i has, or one more, for each i. */
static uint64_t most_divisible(const struct choice *c)
{
	uint64_t most = 0;

	for (uint32_t i = 0; i < c->nodes; i++) {
		uint64_t n = 0;

		for (uint32_t j = 0; j < c->nodes; j++)
			n += c->room[j] >= c->room[i] ? c->room[i] + (c->room[j] > c->room[i]) : 0;
		most = n > most ? n : most;
	}
	return most;
}

static void spread_cpus(const struct choice *c, uint64_t among, struct placement *out)
{
	uint64_t share[PLACEMENT_NODES_MAX];

	for (uint32_t i = 0; i < c->nodes; i++)
		share[i] = among & bit(i) ? c->host->node[i].cpus_free : 0;
	if (!divide(c->guest->cpus, c->nodes, share)) {
		for (uint32_t i = 0; i < c->nodes; i++)
			share[i] = among & bit(i) ? c->guest->cpus : 0;
		MM_ASSERT(divide(c->guest->cpus, c->nodes, share), among, c->guest->cpus);
	}
	for (uint32_t i = 0; i < c->nodes; i++)
		out->share[i].cpus = (uint32_t)share[i];
}

static enum placement_result choose_equal(const struct choice *c, struct placement *out)
{
	uint64_t share[PLACEMENT_NODES_MAX], given = 0, among;

	for (uint32_t i = 0; i < c->nodes; i++)
		share[i] = c->room[i];
	if (!divide(c->want, c->nodes, share)) {
		uint64_t most = most_divisible(c);

		if (most) {
			MM_ASSERT(divide(most, c->nodes, share), most, c->want);
			give(c, share, out);
		}
		return PLACEMENT_NO_HOLE;
	}
	for (uint32_t i = 0; i < c->nodes; i++)
		given |= share[i] ? bit(i) : 0;
	among = c->seats & given ? c->seats & given : c->seats;
	if (c->guest->policy == PLACEMENT_SPREAD)
		spread_cpus(c, among, out);
	else
		out->share[best_home(c, among, false)].cpus = c->guest->cpus;
	give(c, share, out);
	return PLACEMENT_OK;
}

/* ---- several nodes, by nearness ---- */

static void sort(const struct choice *c, struct offer *o)
{
	for (uint32_t i = 0; i < c->nodes; i++) {
		uint32_t at = i;

		for (; at > 0 && o->weight[o->order[at - 1]] > o->weight[i]; at--)
			o->order[at] = o->order[at - 1];
		o->order[at] = (uint8_t)i;
	}
}

static uint32_t seat(const struct choice *c, struct offer *o, uint32_t node, uint64_t cpus)
{
	o->cpus[node] = (uint32_t)min(cpus, o->seating == APART ? c->host->node[node].cpus_free : cpus);
	o->seated |= o->cpus[node] ? bit(node) : 0;
	return o->cpus[node];
}

/* TOGETHER and SHARED: all on the home. APART: its free CPUs first, then those of the nearest; there are enough. */
static void take_seats(const struct choice *c, uint32_t home, enum seating seating, struct offer *o)
{
	uint64_t left = c->guest->cpus;

	o->seating = seating;
	o->seated = 0;
	for (uint32_t i = 0; i < c->nodes; i++)
		o->cpus[i] = 0;
	left -= seat(c, o, home, left);
	if (!left)
		return;
	for (uint32_t i = 0; i < c->nodes; i++)
		o->weight[i] = c->host->distance[home][i];
	sort(c, o);
	for (uint32_t k = 0; k < c->nodes && left; k++) {
		uint32_t i = o->order[k];

		if (i != home && c->seats & bit(i))
			left -= seat(c, o, i, left);
	}
}

static enum seating best_seating(const struct choice *c, uint32_t home)
{
	if (has_cpus(c, home))
		return TOGETHER;
	return c->cpus_free >= c->guest->cpus ? APART : SHARED;
}

/* Up to n granules into these nodes, which are empty, the nearest first; answers how many found no room. */
static uint64_t fill(const struct choice *c, struct offer *o, uint64_t among, uint64_t n)
{
	for (uint32_t k = 0; k < c->nodes && n; k++) {
		uint32_t i = o->order[k];
		uint64_t some = min(n, c->room[i]);

		if (!(among & bit(i)))
			continue;
		o->share[i] = some;
		n -= some;
	}
	return n;
}

static void empty(const struct choice *c, struct offer *o)
{
	for (uint32_t i = 0; i < c->nodes; i++)
		o->share[i] = 0;
}

static void price(const struct choice *c, struct offer *o)
{
	o->cost = 0;
	o->local = 0;
	for (uint32_t i = 0; i < c->nodes; i++) {
		o->cost += (wide)o->share[i] * o->weight[i];
		o->local += o->seated & bit(i) ? o->share[i] : 0;
	}
}

/* ---- pack ---- */

static void sort_by_room(const struct choice *c, uint8_t *by_room)
{
	struct offer o;

	for (uint32_t i = 0; i < c->nodes; i++)
		o.weight[i] = ~c->room[i];
	sort(c, &o);
	for (uint32_t i = 0; i < c->nodes; i++)
		by_room[i] = o.order[i];
}

/* The rooms must hold it. */
static uint32_t fewest_nodes(const struct choice *c, const uint8_t *by_room)
{
	uint64_t sum = 0;
	uint32_t n = 0;

	while (sum < c->want)
		sum += c->room[by_room[n++]];
	return n;
}

/* Granules in the n largest rooms of these. */
static uint64_t largest_rooms(const struct choice *c, const uint8_t *by_room, uint64_t among, uint32_t n)
{
	uint64_t sum = 0;

	for (uint32_t k = 0; k < c->nodes && n; k++) {
		uint32_t i = by_room[k];

		if (among & bit(i)) {
			sum += c->room[i];
			n--;
		}
	}
	return sum;
}

/* The first n nodes of the order that hold it together: one is passed by only if with it the others could not. */
static uint64_t nearest_nodes(const struct choice *c, const struct offer *o, const uint8_t *by_room, uint32_t n)
{
	uint64_t rest = ~UINT64_C(0), taken = 0, need = c->want;

	for (uint32_t k = 0; k < c->nodes && n; k++) {
		uint32_t i = o->order[k];

		rest &= ~bit(i);
		if (c->room[i] + largest_rooms(c, by_room, rest, n - 1) < need)
			continue;
		taken |= bit(i);
		need -= min(need, c->room[i]);
		n--;
	}
	return taken;
}

static void offer_pack(const struct choice *c, uint32_t home, const uint8_t *by_room, bool known, struct offer *o)
{
	take_seats(c, home, best_seating(c, home), o);
	for (uint32_t i = 0; i < c->nodes; i++)
		o->weight[i] = known ? c->host->latency_ps[home][i] : c->host->distance[home][i];
	sort(c, o);
	empty(c, o);
	(void)fill(c, o, nearest_nodes(c, o, by_room, fewest_nodes(c, by_room)), c->want);
	price(c, o);
}

static enum placement_result choose_pack(const struct choice *c, struct placement *out)
{
	struct offer offers[2], *best = NULL, *next = &offers[0];
	uint8_t by_room[PLACEMENT_NODES_MAX] = {0};
	bool known;

	if (choose_one(c, true, out))
		return PLACEMENT_OK;
	if (c->room_all < c->want)
		return give_room(c, out);
	sort_by_room(c, by_room);
	known = latencies_known(c);
	for (uint64_t seats = c->seats; seats; seats &= seats - 1) {
		offer_pack(c, (uint32_t)__builtin_ctzll(seats), by_room, known, next);
		if (best &&
		    (next->seating > best->seating || (next->seating == best->seating && next->cost >= best->cost)))
			continue;
		best = next;
		next = &offers[best == &offers[0]];
	}
	MM_ASSERT(best, c->seats, 0);
	give_offer(c, best, out);
	return PLACEMENT_OK;
}

/* ---- contract ---- */

static void weigh(const struct choice *c, struct offer *o)
{
	for (uint32_t i = 0; i < c->nodes; i++)
		o->weight[i] = 0;
	for (uint64_t seated = o->seated; seated; seated &= seated - 1) {
		uint32_t from = (uint32_t)__builtin_ctzll(seated);

		for (uint32_t i = 0; i < c->nodes; i++)
			o->weight[i] += (uint64_t)o->cpus[from] * c->host->latency_ps[from][i];
	}
	sort(c, o);
}

/* As many granules as bring the cost to the limit, or as there are and have room. */
static void move_nearer(const struct choice *c, struct offer *o, uint32_t from, uint32_t to, wide limit)
{
	uint64_t saved = o->weight[from] - o->weight[to];
	uint64_t n = min(o->share[from], c->room[to] - o->share[to]);

	if ((wide)n * saved > o->cost - limit)
		n = divide_up(o->cost - limit, saved);
	o->share[from] -= n;
	o->share[to] += n;
	o->local += n;
	o->cost -= (wide)n * saved;
}

/* From the least local memory on; false: no more of it keeps the limit either. */
static bool keep(const struct choice *c, struct offer *o, wide limit)
{
	uint32_t far = c->nodes, near = 0;

	while (o->cost > limit) {
		uint32_t from, to;

		if (far == 0 || near == c->nodes)
			return false;
		from = o->order[far - 1];
		to = o->order[near];
		if (o->seated & bit(from) || !o->share[from])
			far--;
		else if (!(o->seated & bit(to)) || o->share[to] == c->room[to])
			near++;
		else if (o->weight[from] <= o->weight[to])
			return false;
		else
			move_nearer(c, o, from, to, limit);
	}
	return true;
}

static bool offer_contract(const struct choice *c, uint32_t home, enum seating seating, struct offer *o)
{
	take_seats(c, home, seating, o);
	weigh(c, o);
	empty(c, o);
	(void)fill(c, o, o->seated, fill(c, o, ~o->seated, c->want));
	price(c, o);
	return keep(c, o, (wide)c->guest->latency_ps * c->guest->cpus * c->want);
}

static bool is_less_local(const struct offer *a, const struct offer *b)
{
	if (a->seating != b->seating)
		return a->seating < b->seating;
	return a->local != b->local ? a->local < b->local : a->cost < b->cost;
}

static enum placement_result give_fastest(const struct choice *c, struct placement *out)
{
	struct offer offers[2], *best = NULL, *next = &offers[0];

	for (uint64_t seats = c->seats; seats; seats &= seats - 1) {
		take_seats(c, (uint32_t)__builtin_ctzll(seats), TOGETHER, next);
		weigh(c, next);
		empty(c, next);
		(void)fill(c, next, ~UINT64_C(0), c->want);
		price(c, next);
		if (best && next->cost >= best->cost)
			continue;
		best = next;
		next = &offers[best == &offers[0]];
	}
	MM_ASSERT(best, c->seats, 0);
	give_offer(c, best, out);
	return PLACEMENT_TOO_SLOW;
}

static enum placement_result choose_contract(const struct choice *c, struct placement *out)
{
	struct offer offers[2], *best = NULL, *next = &offers[0];

	if (c->room_all < c->want)
		return give_room(c, out);
	if (!latencies_known(c))
		return PLACEMENT_UNKNOWN;
	for (uint64_t seats = c->seats; seats; seats &= seats - 1) {
		uint32_t home = (uint32_t)__builtin_ctzll(seats);
		enum seating first = best_seating(c, home);

		/* CPUs apart may be too far from any memory where shared ones are not. */
		for (enum seating s = first; s <= (first == TOGETHER ? TOGETHER : SHARED); s++) {
			if (!offer_contract(c, home, s, next) || (best && !is_less_local(next, best)))
				continue;
			best = next;
			next = &offers[best == &offers[0]];
			break;
		}
	}
	if (!best)
		return give_fastest(c, out);
	give_offer(c, best, out);
	return PLACEMENT_OK;
}

/* ---- the whole ---- */

/* Of 64 shares mostly some few are anybody's: all of them would be an eighth of what a choice costs. */
static void clear(const struct choice *c, struct placement *out)
{
	for (uint32_t i = 0; i < c->nodes; i++)
		out->share[i] = (struct placement_share){0, 0};
	out->nodes = out->latency_ps = 0;
	out->local_bytes = 0;
}

enum placement_result placement_choose(const struct placement_host *host, const struct placement_guest *guest,
				       struct placement *out)
{
	struct choice c;

	look(&c, host, guest);
	clear(&c, out);
	if (c.free < c.want)
		return give_free(&c, out);
	if (!c.seats)
		return PLACEMENT_NO_CPUS;
	switch (guest->policy) {
	case PLACEMENT_LOCAL:
		return choose_one(&c, false, out) ? PLACEMENT_OK : give_largest(&c, out);
	case PLACEMENT_PACK:
		return choose_pack(&c, out);
	case PLACEMENT_SPREAD:
	case PLACEMENT_INTERLEAVE:
		return choose_equal(&c, out);
	case PLACEMENT_CONTRACT:
		break;
	}
	return choose_contract(&c, out);
}

/* P1 and P2. */
static bool shares_fit(const struct choice *c, const struct placement *p)
{
	uint64_t granules = 0, cpus = 0;

	for (uint32_t i = 0; i < c->nodes; i++) {
		const struct placement_share *s = &p->share[i];

		if (s->bytes & (c->guest->granule - 1) || s->bytes >> c->shift > c->room[i])
			return false;
		if (s->cpus && !(c->seats & bit(i)))
			return false;
		granules += s->bytes >> c->shift;
		cpus += s->cpus;
	}
	return granules == c->want && cpus == c->guest->cpus;
}

static bool shares_equal(const struct choice *c, const struct placement *p)
{
	uint64_t least = UINT64_MAX, most = 0;

	for (uint32_t i = 0; i < c->nodes; i++) {
		uint64_t bytes = p->share[i].bytes;

		most = bytes > most ? bytes : most;
		least = bytes ? min(bytes, least) : least;
	}
	return most - least <= c->guest->granule;
}

/* P4, of one that keeps the others. */
static bool has_form(const struct choice *c, const struct placement *p)
{
	uint8_t by_room[PLACEMENT_NODES_MAX] = {0};
	uint32_t seated = 0;

	for (uint32_t i = 0; i < c->nodes; i++)
		seated += p->share[i].cpus > 0;
	switch (c->guest->policy) {
	case PLACEMENT_LOCAL:
		return seated == 1 && p->local_bytes == c->guest->bytes;
	case PLACEMENT_PACK:
		sort_by_room(c, by_room);
		return p->nodes == fewest_nodes(c, by_room);
	case PLACEMENT_SPREAD:
		return shares_equal(c, p);
	case PLACEMENT_INTERLEAVE:
		return shares_equal(c, p) && seated == 1;
	case PLACEMENT_CONTRACT:
		break;
	}
	return p->latency_ps > 0 && p->latency_ps <= c->guest->latency_ps;
}

bool placement_check(const struct placement_host *host, const struct placement_guest *guest, const struct placement *p)
{
	struct placement counted = *p;
	struct choice c;

	look(&c, host, guest);
	if (!shares_fit(&c, p))
		return false;
	count(host, &counted);
	return p->nodes == counted.nodes && p->local_bytes == counted.local_bytes &&
	       p->latency_ps == counted.latency_ps && has_form(&c, p);
}
