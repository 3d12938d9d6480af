/* vmm/pack/host_index.c: which of many hosts may have what a guest needs.
 *
 * Two forms, of which a fleet keeps the one that its choice of hosts wants. By number: a
 * complete binary tree over the hosts, whose inner nodes have the most of each number below
 * them; the search goes down only where each of them is enough. By free memory: a search
 * tree ordered by (free, number) with the same, but for what is free, kept even by chance: a
 * treap (Aragon, Seidel: Randomized search trees, 1989) whose chance is a hash of the host's
 * number, so that it has one shape for one state. A host that changes is taken out where it is
 * and comes in anew from the root; each costs two turns in the mean, and what is above learns of
 * it only as far up as it makes a difference.
 *
 * Invariants; host_index_check():
 *   X1  `most` of a node is the most of each number below it;
 *   X2  by free memory: in order, each host once, none above one of higher rank, and each
 *       knows what it is below of.
 *
 * Cost. A change: one path, O(log hosts). A search: a path down to each host that has all
 * numbers but cannot, or to each place where one host has this and its neighbour that:
 * O(log hosts) where a few hosts differ in what they lack; all hosts at worst, such as one
 * half of them, every other one, full of memory and the other half out of CPUs; or, whatever the
 * form, if each has its memory on one node and its CPUs on the other: then all are asked, and can
 * not. tests/bench/pack.c shows both.
 * Memory: 112 to 224 bytes a host, 112 of a power of two; 64 by free memory, one cache line: what is
 * waited for is memory, once there are many hosts. 16 more, elsewhere, for when guests leave.
 *
 * Rejected. A tree for each number of free CPUs: as many searches as a host has CPUs, for
 * every guest; it would bound the worst case, and costs most on all others. */
#include <stdlib.h>
#include <string.h>

#include "vmm/pack/host_index.h"

static uint64_t most(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static struct host_numbers most_of(const struct host_numbers *a, const struct host_numbers *b)
{
	return (struct host_numbers){
		most(a->free, b->free),	  most(a->room, b->room),
		most(a->cpu, b->cpu),	  most(a->cpu_one, b->cpu_one),
		most(a->until, b->until), {most(a->merit[0], b->merit[0]), most(a->merit[1], b->merit[1])}};
}

static bool equal(const struct host_numbers *a, const struct host_numbers *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

/* ---- by free memory ---- */

/* murmur3's mixing (Appleby, 2011): no two hosts have the same. */
static uint32_t rank_of(uint32_t host)
{
	uint32_t x = host + 1;

	x = (x ^ (x >> 16)) * UINT32_C(0x85ebca6b);
	x = (x ^ (x >> 13)) * UINT32_C(0xc2b2ae35);
	return x ^ (x >> 16);
}

static bool before(const struct host_index *x, uint32_t a, uint32_t b)
{
	return x->rung[a].free != x->rung[b].free ? x->rung[a].free < x->rung[b].free : a < b;
}

static void most_add(struct host_rung *r, const struct host_rung *below)
{
	r->most_room = most(r->most_room, below->most_room);
	r->most_cpu = most(r->most_cpu, below->most_cpu);
	r->most_cpu_one = below->most_cpu_one > r->most_cpu_one ? below->most_cpu_one : r->most_cpu_one;
}

static uint64_t stay_most(const struct host_index *x, uint32_t at)
{
	const struct host_rung *r = &x->rung[at];
	uint64_t least = r->less != HOST_NONE ? x->stay[r->less].most : 0;
	uint64_t more = r->more != HOST_NONE ? x->stay[r->more].most : 0;

	return most(x->stay[at].until, most(least, more));
}

static bool stay_renew(struct host_index *x, uint32_t at)
{
	uint64_t was = x->stay[at].most;

	x->stay[at].most = stay_most(x, at);
	return x->stay[at].most != was;
}

/* Of a rung whose children are right; false iff nothing has changed. */
static bool renew(struct host_index *x, uint32_t at)
{
	struct host_rung *r = &x->rung[at], was = *r;
	bool stays = x->stay && stay_renew(x, at);

	r->most_room = r->room;
	r->most_cpu = r->cpu;
	r->most_cpu_one = r->cpu_one;
	if (r->less != HOST_NONE)
		most_add(r, &x->rung[r->less]);
	if (r->more != HOST_NONE)
		most_add(r, &x->rung[r->more]);
	return r->most_room != was.most_room || r->most_cpu != was.most_cpu || r->most_cpu_one != was.most_cpu_one ||
	       stays;
}

static void renew_up(struct host_index *x, uint32_t at)
{
	while (at != HOST_NONE && renew(x, at))
		at = x->rung[at].above;
}

/* Where it is said what is below `above` in place of `old`. */
static uint32_t *link_to(struct host_index *x, uint32_t above, uint32_t old)
{
	if (above == HOST_NONE)
		return &x->root;
	return x->rung[above].less == old ? &x->rung[above].less : &x->rung[above].more;
}

static void hang(struct host_index *x, uint32_t *link, uint32_t above, uint32_t at)
{
	*link = at;
	if (at != HOST_NONE)
		x->rung[at].above = above;
}

/* It changes places with the one above it; all that was right stays right, but ranks. */
static void raise(struct host_index *x, uint32_t at)
{
	struct host_rung *r = &x->rung[at], *p = &x->rung[r->above];
	uint32_t down = r->above;

	r->most_room = p->most_room;
	r->most_cpu = p->most_cpu;
	r->most_cpu_one = p->most_cpu_one;
	if (x->stay)
		x->stay[at].most = x->stay[down].most;
	hang(x, link_to(x, p->above, down), p->above, at);
	if (p->less == at) {
		hang(x, &p->less, down, r->more);
		hang(x, &r->more, at, down);
	} else {
		hang(x, &p->more, down, r->less);
		hang(x, &r->less, at, down);
	}
	(void)renew(x, down);
}

static void insert(struct host_index *x, uint32_t host)
{
	struct host_rung *r = &x->rung[host];
	uint32_t above = HOST_NONE, *link = &x->root;

	while (*link != HOST_NONE) {
		above = *link;
		link = before(x, host, above) ? &x->rung[above].less : &x->rung[above].more;
	}
	*link = host;
	r->above = above;
	r->less = r->more = HOST_NONE;
	(void)renew(x, host);
	renew_up(x, above);
	while (r->above != HOST_NONE && x->rung[r->above].rank < r->rank)
		raise(x, host);
}

/* Sinks till there is nothing on one side. */
static void take_out(struct host_index *x, uint32_t host)
{
	struct host_rung *r = &x->rung[host];

	while (r->less != HOST_NONE && r->more != HOST_NONE)
		raise(x, x->rung[r->less].rank > x->rung[r->more].rank ? r->less : r->more);
	hang(x, link_to(x, r->above, host), r->above, r->less != HOST_NONE ? r->less : r->more);
	renew_up(x, r->above);
}

static void rung_set(struct host_index *x, uint32_t host, const struct host_numbers *now)
{
	struct host_rung *r = &x->rung[host];
	bool moves = now->free != r->free;

	if (moves)
		take_out(x, host);
	r->free = now->free;
	r->room = now->room;
	r->cpu = now->cpu;
	r->cpu_one = (uint32_t)now->cpu_one;
	if (x->stay)
		x->stay[host].until = now->until;
	if (moves)
		insert(x, host);
	else
		renew_up(x, host);
}

static bool rung_has(const struct host_index *x, uint32_t at, const struct host_numbers *need)
{
	const struct host_rung *r = &x->rung[at];

	return r->free >= need->free && r->room >= need->room && r->cpu >= need->cpu && r->cpu_one >= need->cpu_one &&
	       (!x->stay || x->stay[at].until >= need->until);
}

static uint32_t least(const struct host_index *x, uint32_t at, const struct host_numbers *need,
		      const struct host_judge *judge)
{
	const struct host_rung *r;
	uint32_t found = HOST_NONE;

	for (; at != HOST_NONE; at = r->more) {
		r = &x->rung[at];
		if (r->most_room < need->room || r->most_cpu < need->cpu || r->most_cpu_one < need->cpu_one ||
		    (x->stay && x->stay[at].most < need->until))
			return HOST_NONE;
		if (r->free >= need->free)
			found = least(x, r->less, need, judge);
		if (found == HOST_NONE && rung_has(x, at, need) && judge->can(judge->self, at))
			found = at;
		if (found != HOST_NONE)
			return found;
	}
	return HOST_NONE;
}

/* ---- by number ---- */

static uint32_t first(const struct host_index *x, uint32_t node, const struct host_numbers *need,
		      const struct host_judge *judge)
{
	uint32_t found;

	if (!host_numbers_have(&x->most[node], need))
		return HOST_NONE;
	if (node >= x->leaves)
		return judge->can(judge->self, node - x->leaves) ? node - x->leaves : HOST_NONE;
	found = first(x, 2 * node, need, judge);
	return found != HOST_NONE ? found : first(x, 2 * node + 1, need, judge);
}

struct found {
	uint64_t score;
	uint32_t host;
};

/* Better: a higher score, or as high and a host in front. */
static void best(const struct host_index *x, uint32_t node, const struct host_numbers *need,
		 const struct host_judge *judge, struct found *found)
{
	uint64_t score, left, right;
	uint32_t low = node;

	if (!host_numbers_have(&x->most[node], need))
		return;
	while (low < x->leaves)
		low *= 2;
	low -= x->leaves;
	score = judge->score(judge->self, &x->most[node]);
	if (found->host != HOST_NONE && (score < found->score || (score == found->score && low > found->host)))
		return;
	if (node >= x->leaves) {
		if (judge->can(judge->self, low))
			*found = (struct found){score, low};
		return;
	}
	left = judge->score(judge->self, &x->most[2 * node]);
	right = judge->score(judge->self, &x->most[2 * node + 1]);
	best(x, 2 * node + (left < right), need, judge, found);
	best(x, 2 * node + (left >= right), need, judge, found);
}

/* ---- the interface ---- */

bool host_index_open(struct host_index *x, uint32_t hosts, bool by_free, bool stays)
{
	*x = (struct host_index){.hosts = hosts, .leaves = 1, .root = HOST_NONE};
	while (!by_free && x->leaves < hosts)
		x->leaves *= 2;
	if (by_free)
		x->rung = aligned_alloc(sizeof(*x->rung), hosts * sizeof(*x->rung));
	else
		x->most = calloc(2 * (size_t)x->leaves, sizeof(*x->most));
	if (x->rung && stays && !(x->stay = calloc(hosts, sizeof(*x->stay)))) {
		host_index_close(x);
		return false;
	}
	for (uint32_t i = 0; x->rung && i < hosts; i++) {
		x->rung[i] = (struct host_rung){.rank = rank_of(i)};
		insert(x, i);
	}
	return x->rung || x->most;
}

void host_index_close(struct host_index *x)
{
	free(x->most);
	free(x->rung);
	free(x->stay);
	*x = (struct host_index){0};
}

void host_index_set(struct host_index *x, uint32_t host, const struct host_numbers *now)
{
	if (x->rung) {
		rung_set(x, host, now);
		return;
	}
	x->most[x->leaves + host] = *now;
	for (uint32_t n = (x->leaves + host) / 2; n > 0; n /= 2) {
		struct host_numbers m = most_of(&x->most[2 * n], &x->most[2 * n + 1]);

		if (equal(&m, &x->most[n]))
			break;
		x->most[n] = m;
	}
}

struct host_numbers host_index_numbers(const struct host_index *x, uint32_t host)
{
	const struct host_rung *r = &x->rung[host];

	if (!x->rung)
		return x->most[x->leaves + host];
	return (struct host_numbers){.free = r->free,
				     .room = r->room,
				     .cpu = r->cpu,
				     .cpu_one = r->cpu_one,
				     .until = x->stay ? x->stay[host].until : 0};
}

uint32_t host_index_first(const struct host_index *x, const struct host_numbers *need, const struct host_judge *judge)
{
	return first(x, 1, need, judge);
}

uint32_t host_index_least(const struct host_index *x, const struct host_numbers *need, const struct host_judge *judge)
{
	return least(x, x->root, need, judge);
}

uint32_t host_index_best(const struct host_index *x, const struct host_numbers *need, const struct host_judge *judge)
{
	struct found found = {0, HOST_NONE};

	best(x, 1, need, judge, &found);
	return found.host;
}

static bool any_can(void *self, uint32_t host)
{
	(void)self;
	(void)host;
	return true;
}

bool host_index_any(const struct host_index *x, const struct host_numbers *need)
{
	const struct host_judge judge = {.can = any_can};

	return (x->rung ? least(x, x->root, need, &judge) : first(x, 1, need, &judge)) != HOST_NONE;
}

/* ---- the check ---- */

/* Hosts at and below it. */
static uint32_t check_rung(const struct host_index *x, uint32_t at, uint32_t *last, bool *right)
{
	const uint32_t child[2] = {x->rung[at].less, x->rung[at].more};
	struct host_rung r = x->rung[at];
	uint32_t count = 1;

	r.most_room = r.room;
	r.most_cpu = r.cpu;
	r.most_cpu_one = r.cpu_one;
	for (unsigned i = 0; i < 2; i++) {
		if (i == 1) {
			*right &= *last == HOST_NONE || before(x, *last, at);
			*last = at;
		}
		if (child[i] == HOST_NONE)
			continue;
		if (child[i] >= x->hosts || x->rung[child[i]].rank >= r.rank || x->rung[child[i]].above != at) {
			*right = false;
			continue;
		}
		most_add(&r, &x->rung[child[i]]);
		count += check_rung(x, child[i], last, right);
	}
	*right &= !x->stay || x->stay[at].most == stay_most(x, at);
	*right &= r.rank == rank_of(at) && memcmp(&r, &x->rung[at], sizeof(r)) == 0;
	return count;
}

bool host_index_check(const struct host_index *x)
{
	uint32_t last = HOST_NONE;
	bool right = true;

	if (x->rung)
		return x->root < x->hosts && x->rung[x->root].above == HOST_NONE &&
		       check_rung(x, x->root, &last, &right) == x->hosts && right;
	for (uint32_t n = 1; n < x->leaves; n++) {
		struct host_numbers m = most_of(&x->most[2 * n], &x->most[2 * n + 1]);

		if (!equal(&m, &x->most[n]))
			return false;
	}
	return true;
}
