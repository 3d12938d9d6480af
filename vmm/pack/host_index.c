/* vmm/pack/host_index.c: which of many hosts may have what a guest needs.
 *
 * Two forms, of which a fleet keeps the one that its choice of hosts wants. By number: a
 * complete binary tree over the hosts, whose inner nodes have the most of each number below
 * them; the search goes down only where each of them is enough. By free memory: a search
 * tree ordered by (free, number) with the same, kept even by chance: a treap (Aragon,
 * Seidel: Randomized search trees, 1989) whose chance is a hash of the host's number, so
 * that it has one shape for one state.
 *
 * Invariants; host_index_check():
 *   X1  `most` of a node is the most of each number below it;
 *   X2  by free memory: in order, each host once, and none above one of higher rank.
 *
 * Cost. A change: one path, O(log hosts). A search: a path down to each host that has all
 * numbers but cannot, or to each place where one host has this and its neighbour that:
 * O(log hosts) where a few hosts differ in what they lack; all hosts at worst, such as one
 * half of them, every other one, full of memory and the other half out of CPUs.
 * Memory: 96 bytes a host; 104 by free memory.
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
	return (struct host_numbers){most(a->free, b->free),
				     most(a->room, b->room),
				     most(a->cpu, b->cpu),
				     most(a->cpu_one, b->cpu_one),
				     {most(a->merit[0], b->merit[0]), most(a->merit[1], b->merit[1])}};
}

static bool has(const struct host_numbers *n, const struct host_numbers *need)
{
	return n->free >= need->free && n->room >= need->room && n->cpu >= need->cpu && n->cpu_one >= need->cpu_one;
}

static bool equal(const struct host_numbers *a, const struct host_numbers *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

/* ---- by free memory ---- */

/* splitmix64's mixing: no two hosts have the same. */
static uint64_t rank(uint32_t host)
{
	uint64_t x = (host + UINT64_C(1)) * UINT64_C(0x9e3779b97f4a7c15);

	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

static bool before(const struct host_index *x, uint32_t a, uint32_t b)
{
	return x->own[a].free != x->own[b].free ? x->own[a].free < x->own[b].free : a < b;
}

static void renew(struct host_index *x, uint32_t at)
{
	struct host_rung *r = &x->rung[at];

	r->most = x->own[at];
	if (r->less != HOST_NONE)
		r->most = most_of(&r->most, &x->rung[r->less].most);
	if (r->more != HOST_NONE)
		r->most = most_of(&r->most, &x->rung[r->more].most);
}

/* Of the tree at `at`: what comes before the host, and what behind it. */
static void split(struct host_index *x, uint32_t at, uint32_t host, uint32_t *less, uint32_t *more)
{
	if (at == HOST_NONE) {
		*less = *more = HOST_NONE;
		return;
	}
	if (before(x, at, host)) {
		split(x, x->rung[at].more, host, &x->rung[at].more, more);
		*less = at;
	} else {
		split(x, x->rung[at].less, host, less, &x->rung[at].less);
		*more = at;
	}
	renew(x, at);
}

static uint32_t join(struct host_index *x, uint32_t less, uint32_t more)
{
	if (less == HOST_NONE || more == HOST_NONE)
		return less == HOST_NONE ? more : less;
	if (rank(less) > rank(more)) {
		x->rung[less].more = join(x, x->rung[less].more, more);
		renew(x, less);
		return less;
	}
	x->rung[more].less = join(x, less, x->rung[more].less);
	renew(x, more);
	return more;
}

static uint32_t insert(struct host_index *x, uint32_t at, uint32_t host)
{
	struct host_rung *r = &x->rung[host];

	if (at == HOST_NONE || rank(host) > rank(at)) {
		split(x, at, host, &r->less, &r->more);
		at = host;
	} else if (before(x, host, at)) {
		x->rung[at].less = insert(x, x->rung[at].less, host);
	} else {
		x->rung[at].more = insert(x, x->rung[at].more, host);
	}
	renew(x, at);
	return at;
}

static uint32_t take_out(struct host_index *x, uint32_t at, uint32_t host)
{
	struct host_rung *r = &x->rung[at];

	if (at == host)
		return join(x, r->less, r->more);
	if (before(x, host, at))
		r->less = take_out(x, r->less, host);
	else
		r->more = take_out(x, r->more, host);
	renew(x, at);
	return at;
}

static void renew_path(struct host_index *x, uint32_t at, uint32_t host)
{
	if (at != host)
		renew_path(x, before(x, host, at) ? x->rung[at].less : x->rung[at].more, host);
	renew(x, at);
}

static uint32_t least(const struct host_index *x, uint32_t at, const struct host_numbers *need,
		      const struct host_judge *judge)
{
	uint32_t found = HOST_NONE;

	if (at == HOST_NONE || !has(&x->rung[at].most, need))
		return HOST_NONE;
	if (x->own[at].free >= need->free)
		found = least(x, x->rung[at].less, need, judge);
	if (found == HOST_NONE && has(&x->own[at], need) && judge->can(judge->self, at))
		found = at;
	return found != HOST_NONE ? found : least(x, x->rung[at].more, need, judge);
}

/* ---- by number ---- */

static uint32_t first(const struct host_index *x, uint32_t node, const struct host_numbers *need,
		      const struct host_judge *judge)
{
	uint32_t found;

	if (!has(&x->most[node], need))
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

	if (!has(&x->most[node], need))
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

bool host_index_open(struct host_index *x, uint32_t hosts, bool by_free)
{
	*x = (struct host_index){.hosts = hosts, .leaves = 1, .root = HOST_NONE};
	while (!by_free && x->leaves < hosts)
		x->leaves *= 2;
	if (by_free) {
		x->own = calloc(hosts, sizeof(*x->own));
		x->rung = calloc(hosts, sizeof(*x->rung));
	} else {
		x->most = calloc(2 * (size_t)x->leaves, sizeof(*x->most));
	}
	if (by_free ? !x->own || !x->rung : !x->most) {
		host_index_close(x);
		return false;
	}
	for (uint32_t i = 0; by_free && i < hosts; i++)
		x->root = insert(x, x->root, i);
	return true;
}

void host_index_close(struct host_index *x)
{
	free(x->most);
	free(x->own);
	free(x->rung);
	*x = (struct host_index){0};
}

void host_index_set(struct host_index *x, uint32_t host, const struct host_numbers *now)
{
	if (x->rung) {
		if (now->free == x->own[host].free) {
			x->own[host] = *now;
			renew_path(x, x->root, host);
			return;
		}
		x->root = take_out(x, x->root, host);
		x->own[host] = *now;
		x->root = insert(x, x->root, host);
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

/* Hosts at and below it; 0 too where something is wrong. */
static uint32_t check_rung(const struct host_index *x, uint32_t at, uint32_t *last, bool *right)
{
	struct host_numbers m = x->own[at];
	const uint32_t child[2] = {x->rung[at].less, x->rung[at].more};
	uint32_t count = 1;

	for (unsigned i = 0; i < 2; i++) {
		if (i == 1) {
			*right &= *last == HOST_NONE || before(x, *last, at);
			*last = at;
		}
		if (child[i] == HOST_NONE)
			continue;
		if (child[i] >= x->hosts || rank(child[i]) >= rank(at)) {
			*right = false;
			continue;
		}
		m = most_of(&m, &x->rung[child[i]].most);
		count += check_rung(x, child[i], last, right);
	}
	*right &= equal(&m, &x->rung[at].most);
	return count;
}

bool host_index_check(const struct host_index *x)
{
	uint32_t last = HOST_NONE;
	bool right = true;

	if (x->rung)
		return x->root < x->hosts && check_rung(x, x->root, &last, &right) == x->hosts && right;
	for (uint32_t n = 1; n < x->leaves; n++) {
		struct host_numbers m = most_of(&x->most[2 * n], &x->most[2 * n + 1]);

		if (!equal(&m, &x->most[n]))
			return false;
	}
	return true;
}
