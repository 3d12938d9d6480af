/* tests/unit/test_fleet.c: a fleet against arrays in which each unit has its owner: every choice of a
 * host with every fit, and the three choices of one node, with lifetimes known or not, huge pages or none, extents in
 * one or in pieces; and by its own check, those of several nodes, and mixed hosts. Then what a fleet refuses, and what
 * its check objects to. */
#include <check.h>
#undef fail
#include "tests/unit/fit_model.h"
#include "tests/unit/random.h"
#include "vmm/pack/fleet_impl.h"

#define HOSTS  5u
#define NODES  2u
#define UNITS  48u
#define GUESTS 120u

/* ---- the model ---- */

static struct mnode {
	struct fit_model memory[2]; /* the rest, and huge pages */
	uint32_t owner[2][UNITS];   /* guest + 1 */
	uint32_t cpu, cpu_free;
} mnode[HOSTS][NODES];
static struct mguest {
	bool lives, huge;
	uint32_t host, node, cpu;
	uint64_t first, given, asked, leaves;
} mguest[GUESTS];
static struct fleet_config config;
static uint32_t last_host;
static bool huge_pages; /* hosts of the first shape have some */
static uint64_t now_us;

static bool fits_in(const struct fit_model *m, uint64_t units, bool whole, uint64_t *hole)
{
	*hole = m->free;
	return config.fit == FLEET_FIT_SCATTER || !whole ? *hole >= units : fit_place(m, units, hole) != FIT_NOWHERE;
}

static uint64_t left_of(const struct mnode *n, bool huge)
{
	uint64_t memory = n->memory[huge].free * 1000000 / n->memory[huge].units,
		 cpus = n->cpu ? n->cpu_free * UINT64_C(1000000) / n->cpu : 1000000;

	return memory < cpus ? memory : cpus;
}

/* The node of the host, or NODES. */
static uint32_t node_for(uint32_t host, const struct fleet_ask *ask, bool whole, uint64_t *hole)
{
	uint32_t found = NODES;

	for (uint32_t i = 0; i < NODES; i++) {
		const struct mnode *n = &mnode[host][i];
		uint64_t size;

		if ((ask->node != FLEET_NODE_ANY && ask->node != i) || n->cpu_free < ask->cpu_millis ||
		    !fits_in(&n->memory[ask->huge], ask->units, whole, &size))
			continue;
		if (found != NODES && (config.nodes == FLEET_NODES_FIRST ||
				       (config.nodes == FLEET_NODES_LOCAL
						? n->memory[ask->huge].free <= mnode[host][found].memory[ask->huge].free
						: left_of(n, ask->huge) <= left_of(&mnode[host][found], ask->huge))))
			continue;
		found = i;
		*hole = size;
	}
	return found;
}

static uint64_t host_free(uint32_t host, bool huge)
{
	return mnode[host][0].memory[huge].free + mnode[host][1].memory[huge].free;
}

static uint64_t host_until(uint32_t host)
{
	uint64_t until = 0;

	for (uint32_t g = 0; g < GUESTS; g++)
		if (mguest[g].lives && mguest[g].host == host && mguest[g].leaves > until)
			until = mguest[g].leaves;
	return until;
}

/* By what the guest puts off when the host is empty, as a share of its life. */
static unsigned class_of(uint32_t host, const struct fleet_ask *ask)
{
	uint64_t until = host_until(host), life = ask->leaves_us - ask->now_us, put_off;

	if (!config.lifetimes || until >= ask->leaves_us)
		return 0;
	if (ask->leaves_us == FLEET_NEVER)
		return 4;
	put_off = ask->leaves_us - (until > ask->now_us ? until : ask->now_us);
	return put_off * 8 <= life ? 1 : put_off * 4 <= life ? 2 : put_off * 2 <= life ? 3 : 4;
}

static double host_dot(uint32_t host, const struct fleet_ask *ask)
{
	double units = (double)(mnode[host][0].memory[ask->huge].units + mnode[host][1].memory[ask->huge].units);
	double cpus = mnode[host][0].cpu + mnode[host][1].cpu;

	return (double)ask->units / units * (double)host_free(host, ask->huge) / units +
	       ask->cpu_millis / cpus * (mnode[host][0].cpu_free + mnode[host][1].cpu_free) / cpus;
}

static uint64_t skew(uint32_t host, bool huge)
{
	uint64_t a = left_of(&mnode[host][0], huge), b = left_of(&mnode[host][1], huge);

	return a > b ? a - b : b - a;
}

/* Is host a, with that hole, to be taken before b? a is above b. */
static bool better(uint32_t a, uint64_t hole_a, uint32_t b, uint64_t hole_b, const struct fleet_ask *ask, bool whole)
{
	if (config.nodes == FLEET_NODES_BALANCE)
		return skew(a, ask->huge) > skew(b, ask->huge);
	switch (config.choose) {
	case FLEET_BEST:
		return host_free(a, ask->huge) < host_free(b, ask->huge);
	case FLEET_WORST:
		return host_free(a, ask->huge) > host_free(b, ask->huge);
	case FLEET_DOT:
		return host_dot(a, ask) > host_dot(b, ask) + 1e-9;
	case FLEET_GLOBAL:
		if (!whole)
			return false;
		if (config.fit == FLEET_FIT_WORST)
			return hole_a > hole_b;
		if (config.fit == FLEET_FIT_NEXT) /* from the last one on, and round */
			return a >= last_host && b < last_host;
		return config.fit != FLEET_FIT_FIRST && config.fit != FLEET_FIT_SCATTER && hole_a < hole_b;
	default:
		return false;
	}
}

static uint32_t host_of_class(const struct fleet_ask *ask, unsigned class, bool whole, uint32_t *node)
{
	uint32_t found = HOSTS;
	uint64_t found_hole = 0;

	for (uint32_t i = 0; i < HOSTS; i++) {
		uint64_t hole;
		uint32_t n = class_of(i, ask) == class ? node_for(i, ask, whole, &hole) : NODES;

		if (n == NODES || (found != HOSTS && !better(i, hole, found, found_hole, ask, whole)))
			continue;
		found = i;
		found_hole = hole;
		*node = n;
	}
	return found;
}

static bool global_of_pieces(void)
{
	return config.choose == FLEET_GLOBAL && config.contiguous == FLEET_PREFER &&
	       config.nodes != FLEET_NODES_BALANCE && config.fit != FLEET_FIT_SCATTER;
}

/* *whole: the node was chosen so that it has one hole. */
static uint32_t host_for(const struct fleet_ask *ask, uint32_t *node, bool *whole)
{
	uint32_t found = HOSTS;

	*whole = config.contiguous == FLEET_REQUIRE;
	for (unsigned class = 0; class <= 4 && found == HOSTS; class ++) {
		*whole |= global_of_pieces();
		/* A class has a hole if it, or one below it, which has none, has. */
		found = host_of_class(ask, class, *whole, node);
		if (found == HOSTS && global_of_pieces()) {
			*whole = false;
			found = host_of_class(ask, class, false, node);
		}
	}
	return found;
}

static enum fleet_answer model_refusal(const struct fleet_ask *ask)
{
	enum fleet_answer answer = FLEET_NO_MEMORY;

	for (uint32_t i = 0; i < HOSTS; i++) {
		if (host_free(i, ask->huge) < ask->units)
			continue;
		if (mnode[i][0].cpu_free + mnode[i][1].cpu_free >= ask->cpu_millis)
			return FLEET_NO_HOLE;
		answer = FLEET_NO_CPU;
	}
	return answer;
}

/* On that host and node, wherever they are from: in one, or as much as can be, again and again. */
static void model_take(uint32_t guest, uint32_t host, uint32_t node, const struct fleet_ask *ask)
{
	struct fit_model *m = &mnode[host][node].memory[ask->huge];
	bool scatter = config.fit == FLEET_FIT_SCATTER;
	struct mguest *g = &mguest[guest];
	uint64_t hole;

	*g = (struct mguest){.lives = true,
			     .huge = ask->huge,
			     .host = host,
			     .node = node,
			     .cpu = ask->cpu_millis,
			     .asked = ask->units,
			     .leaves = ask->leaves_us};
	for (uint64_t left = ask->units, now, at; left > 0; left -= now) {
		for (now = left; !scatter && fit_place(m, now, &hole) == FIT_NOWHERE; now--)
			;
		at = scatter ? 0 : fit_place(m, now, &hole);
		g->first = left == ask->units ? at : g->first;
		g->given += fit_rounded(m, now);
		fit_take(m, at, now, guest + 1);
	}
	mnode[host][node].cpu_free -= ask->cpu_millis;
	last_host = host;
}

static void model_give(uint32_t guest)
{
	struct mguest *g = &mguest[guest];
	struct mnode *n = &mnode[g->host][g->node];

	fit_give(&n->memory[g->huge], guest + 1, g->given);
	n->cpu_free += g->cpu;
	g->lives = false;
}

/* ---- both ---- */

static struct fleet_shape shape[2];
static struct fleet *fleet;
static struct failure failure;

static void make(void)
{
	config.shape = shape;
	config.shapes = 2;
	memset(shape, 0, sizeof(shape));
	for (uint32_t s = 0; s < 2; s++) {
		shape[s].hosts = s ? HOSTS - 3 : 3;
		shape[s].nodes = NODES;
		for (uint32_t n = 0; n < NODES; n++) {
			shape[s].node[n] = (struct fleet_node){s ? 33 + n * 7 : UNITS, 0, s ? 6000 : 9000,
							       huge_pages && !s ? 17 + n * 5 : 0};
			for (uint32_t to = 0; to < NODES; to++) {
				shape[s].distance[n][to] = n == to ? 10 : 20;
				shape[s].latency_ps[n][to] = n == to ? 80000 : 160000;
			}
		}
	}
	fleet = fleet_open(&config, &failure);
	ck_assert_msg(fleet != NULL, "%s", failure.text);
	memset(mnode, 0, sizeof(mnode));
	memset(mguest, 0, sizeof(mguest));
	last_host = 0;
	now_us = 0;
	for (uint32_t i = 0; i < HOSTS; i++)
		for (uint32_t n = 0; n < NODES; n++) {
			const struct fleet_node *from = &shape[i >= 3].node[n];

			for (unsigned huge = 0; huge < 2; huge++) {
				uint64_t units = huge ? from->huge : from->units - from->huge;

				mnode[i][n].memory[huge] =
					(struct fit_model){config.fit, mnode[i][n].owner[huge], units, units, 0};
			}
			mnode[i][n].cpu = mnode[i][n].cpu_free = from->cpu_millis;
		}
}

static struct fleet_ask any_ask(void)
{
	now_us += below(3);
	return (struct fleet_ask){
		.units = 1 + below(below(4) ? 9 : 30),
		.cpu_millis = (uint32_t)(below(5) ? 250 * below(9) : 0),
		.node = below(8) ? FLEET_NODE_ANY : (uint32_t)below(3),
		.huge = huge_pages && below(3) == 0,
		.now_us = now_us,
		.leaves_us = below(20) ? now_us + below(below(2) ? 40 : 400) : FLEET_NEVER,
	};
}

/* Its parts are where the model has put it. */
static void parts_compare(uint32_t guest, const struct fleet_part *part, uint32_t parts)
{
	const struct mguest *g = &mguest[guest];
	uint64_t units = 0;

	for (uint32_t p = 0; p < parts; p++) {
		units += part[p].run.units;
		for (uint64_t u = 0; config.fit != FLEET_FIT_SCATTER && u < part[p].run.units; u++)
			ck_assert_uint_eq(mnode[g->host][g->node].owner[g->huge][part[p].run.first + u], guest + 1);
		ck_assert_uint_eq(part[p].node, g->node);
	}
	ck_assert_uint_eq(units, g->given);
}

static void arrive(uint32_t guest, bool by_chance)
{
	struct fleet_ask ask = any_ask();
	struct fleet_part part[UNITS];
	enum fleet_answer got;
	bool whole;
	uint32_t node = 0, host = host_for(&ask, &node, &whole), where = HOSTS, parts;

	ck_assert_int_eq(fleet_arrive(fleet, guest, &ask, &got, &failure), 0);
	ck_assert_int_eq(got, host == HOSTS ? model_refusal(&ask) : FLEET_PLACED);
	ck_assert(fleet_lives(fleet, guest) == (got == FLEET_PLACED));
	if (host == HOSTS)
		return;
	parts = fleet_where(fleet, guest, &where, part, UNITS);
	ck_assert(parts == 1 || (parts <= UNITS && config.contiguous == FLEET_PREFER));
	if (config.choose == FLEET_DOT &&
	    config.nodes != FLEET_NODES_BALANCE) { /* equal ones may differ in the last bit */
		ck_assert(host_dot(where, &ask) > host_dot(host, &ask) - 1e-9);
		by_chance = true;
	}
	if (by_chance) { /* any host that can, of the class; the node and the hole are the model's */
		uint64_t hole;

		ck_assert_uint_eq(class_of(where, &ask), class_of(host, &ask));
		host = where;
		ck_assert_uint_ne(node = node_for(host, &ask, whole, &hole), NODES);
	}
	ck_assert_uint_eq(where, host);
	model_take(guest, host, node, &ask);
	parts_compare(guest, part, parts);
	ck_assert_uint_eq(part[parts - 1].cpu_millis, ask.cpu_millis);
	if (config.fit != FLEET_FIT_SCATTER && parts == 1)
		ck_assert_uint_eq(part[0].run.first, mguest[guest].first);
}

static void totals_compare(void)
{
	struct fleet_totals want = {0}, got = fleet_totals_read(fleet);

	for (uint32_t i = 0; i < HOSTS; i++) {
		uint64_t largest = 0;
		bool empty = true;

		for (uint32_t n = 0; n < NODES; n++) {
			const struct mnode *m = &mnode[i][n];

			want.cpu_millis += m->cpu;
			want.cpu_millis_given += m->cpu - m->cpu_free;
			for (unsigned huge = 0; huge < 2; huge++) {
				uint64_t holes, most = fit_largest(&m->memory[huge], &holes);

				want.units += m->memory[huge].units;
				want.holes += holes;
				largest = most > largest ? most : largest;
			}
		}
		want.largest_holes += largest;
		for (uint32_t g = 0; g < GUESTS; g++)
			empty &= !mguest[g].lives || mguest[g].host != i;
		want.hosts_empty += empty;
	}
	for (uint32_t g = 0; g < GUESTS; g++)
		if (mguest[g].lives) {
			want.guests++;
			want.units_given += mguest[g].given;
			want.units_asked += mguest[g].asked;
			want.units_local += mguest[g].asked;
		}
	ck_assert(memcmp(&got, &want, sizeof(got)) == 0);
}

static void play(unsigned events)
{
	bool by_chance = config.choose == FLEET_RANDOM || config.choose == FLEET_TWO;

	make();
	for (unsigned i = 0; i < events; i++) {
		uint32_t guest = (uint32_t)below(GUESTS);

		if (!fleet_lives(fleet, guest)) {
			if (below(100) < (i / 200 % 3 == 2 ? 20u : 90u))
				arrive(guest, by_chance && config.nodes != FLEET_NODES_BALANCE);
		} else {
			ck_assert(fleet_depart(fleet, guest));
			ck_assert(!fleet_depart(fleet, guest));
			model_give(guest);
		}
		if (i % 8 == 0) {
			ck_assert(fleet_check(fleet));
			totals_compare();
		}
	}
	fleet_close(fleet);
}

/* _i: the fit. With and without each of lifetimes, huge pages, pieces. */
START_TEST(one_node)
{
	const enum fleet_nodes nodes[] = {FLEET_NODES_LOCAL, FLEET_NODES_FIRST, FLEET_NODES_BALANCE};

	seed(5 + (uint64_t)_i);
	for (unsigned with = 0; with < 8; with++)
		for (unsigned n = 0; n < 3; n++)
			for (unsigned c = FLEET_FIRST; c <= FLEET_TWO; c++) {
				config = (struct fleet_config){
					.choose = (enum fleet_choose)c, .nodes = nodes[n], .seed = 7};
				config.fit = (enum fleet_fit)_i;
				config.lifetimes = with & 1;
				config.contiguous = with & 4 ? FLEET_PREFER : FLEET_REQUIRE;
				huge_pages = with & 2;
				play(with ? 300 : 1200);
			}
	huge_pages = false;
}
END_TEST

/* ---- of several nodes ---- */

static void several(void)
{
	struct fleet_part part[64];
	enum fleet_answer got;

	make();
	for (unsigned i = 0; i < 1500; i++) {
		uint32_t guest = (uint32_t)below(GUESTS), host;
		struct fleet_ask ask = any_ask();
		uint64_t units = 0;
		uint32_t cpus = 0, n;

		ask.cpu_millis -= ask.cpu_millis % 1000;
		if (fleet_depart(fleet, guest))
			continue;
		ck_assert_int_eq(fleet_arrive(fleet, guest, &ask, &got, &failure), 0);
		ck_assert(fleet_check(fleet));
		if (got != FLEET_PLACED)
			continue;
		n = fleet_where(fleet, guest, &host, part, 64);
		for (uint32_t p = 0; p < n; p++) {
			units += part[p].run.units;
			cpus += part[p].cpu_millis;
		}
		ck_assert(cpus == ask.cpu_millis && units >= ask.units);
		if (config.fit == FLEET_FIT_FIRST)
			ck_assert_uint_eq(units, ask.units);
	}
	for (uint32_t guest = 0; guest < GUESTS; guest++)
		(void)fleet_depart(fleet, guest);
	ck_assert(fleet_check(fleet) && fleet_totals_read(fleet).hosts_empty == HOSTS);
	fleet_close(fleet);
}

/* _i: the policy of nodes. */
START_TEST(several_nodes)
{
	seed(90 + (uint64_t)_i);
	for (unsigned contiguous = FLEET_REQUIRE; contiguous <= FLEET_SCATTER; contiguous++)
		for (unsigned fit = FLEET_FIT_FIRST; fit <= FLEET_FIT_SCATTER; fit++) {
			config = (struct fleet_config){.nodes = (enum fleet_nodes)_i, .fit = (enum fleet_fit)fit};
			config.contiguous = (enum fleet_contiguous)contiguous;
			config.choose = (enum fleet_choose)below(FLEET_TWO + 1);
			config.latency_ps = 120000;
			config.split_above = below(2) ? 12 : 0;
			config.lifetimes = below(2);
			huge_pages = below(2);
			several();
		}
	huge_pages = false;
}
END_TEST

static enum fleet_answer put(uint32_t guest, uint64_t units, uint32_t cpu_millis)
{
	struct fleet_ask ask = {.units = units, .cpu_millis = cpu_millis, .node = FLEET_NODE_ANY};
	enum fleet_answer answer;

	ck_assert_int_eq(fleet_arrive(fleet, guest, &ask, &answer, &failure), 0);
	ck_assert(fleet_check(fleet));
	return answer;
}

START_TEST(policies)
{
	struct fleet_part part[4];
	uint32_t host;

	config = (struct fleet_config){.nodes = FLEET_NODES_LOCAL, .split_above = 20};
	make();
	ck_assert_int_eq(put(0, 21, 2000), FLEET_PLACED); /* over all nodes, evenly */
	ck_assert_uint_eq(fleet_where(fleet, 0, &host, part, 4), 2);
	ck_assert(part[0].run.units + part[1].run.units == 21 && part[0].cpu_millis == 1000 &&
		  part[1].cpu_millis == 1000);
	ck_assert(part[0].run.units == 10 || part[0].run.units == 11);
	ck_assert_int_eq(put(1, 97, 0), FLEET_NO_MEMORY);
	ck_assert_int_eq(put(1, 20, 18001), FLEET_NO_CPU);
	ck_assert_int_eq(put(1, 20, 10000), FLEET_NO_HOLE); /* no node has so many */
	fleet_close(fleet);
	config = (struct fleet_config){.nodes = FLEET_NODES_CONTRACT, .latency_ps = 100000};
	make();
	ck_assert_int_eq(put(0, 64, 1000), FLEET_PLACED);
	ck_assert_uint_eq(fleet_where(fleet, 0, &host, part, 4), 2);
	ck_assert_uint_eq(part[0].run.units > part[1].run.units ? part[0].run.units : part[1].run.units, 48);
	ck_assert_uint_eq(fleet_totals_read(fleet).units_local, 48); /* three quarters keep 100 ns of 80 and 160 */
	config.latency_ps = 79000;
	fleet_close(fleet);
	make();
	ck_assert_int_eq(put(0, 4, 1000), FLEET_NO_CONTRACT);
	fleet_close(fleet);
	config = (struct fleet_config){.nodes = FLEET_NODES_FIRST, .overcommit_ppm = 500000};
	make();
	ck_assert_int_eq(put(0, 96, 0), FLEET_PLACED); /* half of it comes back */
	ck_assert_int_eq(put(1, 97, 0), FLEET_NO_HOLE);
	fleet_close(fleet);
}
END_TEST

/* The host that such a guest goes to. */
static uint32_t goes_to(uint32_t guest, uint64_t units, uint64_t now, uint64_t leaves)
{
	struct fleet_ask ask = {.units = units, .node = FLEET_NODE_ANY, .now_us = now, .leaves_us = leaves};
	enum fleet_answer answer;
	uint32_t host;

	ck_assert_int_eq(fleet_arrive(fleet, guest, &ask, &answer, &failure), 0);
	ck_assert(answer == FLEET_PLACED && fleet_check(fleet));
	(void)fleet_where(fleet, guest, &host, NULL, 0);
	return host;
}

/* Who goes where by when he leaves, class by class; within one it is the first that can. */
START_TEST(lifetimes)
{
	config = (struct fleet_config){.nodes = FLEET_NODES_FIRST, .choose = FLEET_FIRST, .lifetimes = true};
	make();
	for (uint32_t i = 0; i < 6; i++) /* hosts 0, 1 and 2, nearly full, until 1000, 1800 and 2600 */
		ck_assert_uint_eq(goes_to(i, 40, 0, 1000 + i / 2 * 800), i / 2);
	ck_assert_uint_eq(goes_to(10, 1, 0, 1000), 0); /* as long as somebody there, or less long */
	ck_assert_uint_eq(goes_to(11, 1, 0, 1001), 1);
	ck_assert_uint_eq(goes_to(12, 1, 0, 1801), 2);
	ck_assert_uint_eq(goes_to(13, 1, 1600, 2000), 2);
	ck_assert(fleet_depart(fleet, 13));
	ck_assert_uint_eq(goes_to(13, 1, 0, 2000), 2);
	ck_assert_uint_eq(goes_to(14, 1, 0, 2601), 2);	  /* 1 of 2601 longer */
	ck_assert_uint_eq(goes_to(15, 1, 2500, 2701), 2); /* 100 of 201 longer than till 2601: a half */
	ck_assert_uint_eq(goes_to(16, 1, 2600, 2803), 0); /* 102 of 203: no more than a new host would be */
	ck_assert_uint_eq(goes_to(17, 1, 2600, FLEET_NEVER), 0);
	ck_assert_uint_eq(goes_to(18, 1, 2600, FLEET_NEVER), 0);
	ck_assert_uint_eq(goes_to(19, 1, 2600, UINT64_C(1) << 62), 0);
	ck_assert(fleet_depart(fleet, 17) && fleet->until[0] == FLEET_NEVER);
	ck_assert(fleet_depart(fleet, 18) && fleet->until[0] == UINT64_C(1) << 62);
	ck_assert(fleet_depart(fleet, 19) && fleet->until[0] == 2803);
	ck_assert_uint_eq(goes_to(20, 9, 2701, 2702), 3); /* who stays as long has not so much on one node */
	ck_assert_uint_eq(goes_to(21, 9, 2701, FLEET_NEVER - 1), 3);
	ck_assert_uint_eq(goes_to(22, 1, 2701, FLEET_NEVER), 0); /* there is no nearly for ever */
	ck_assert(fleet_check(fleet));
	fleet_close(fleet);
}
END_TEST

/* Nobody gets of the part that is not his, and each is refused for his own. */
START_TEST(huge)
{
	struct fleet_shape one = {.hosts = 1, .nodes = 2, .node = {{20, 2, 4000, 8}, {20, 2, 4000, 8}}};
	struct fleet_ask ask = {.units = 9, .node = FLEET_NODE_ANY, .huge = true};
	enum fleet_answer answer;
	uint64_t units, unused;

	config =
		(struct fleet_config){.shape = &one, .shapes = 1, .nodes = FLEET_NODES_FIRST, .overcommit_ppm = 500000};
	fleet = fleet_open(&config, &failure);
	ck_assert(fleet != NULL && fleet_totals_read(fleet).units == 2 * (8 + 20)); /* only the rest comes back */
	ck_assert(fleet_pools_of(fleet, 0) == 4 && fleet_nodes_of(fleet, 0) == 2);
	ck_assert_int_eq(fleet_arrive(fleet, 0, &ask, &answer, &failure), 0);
	ck_assert_int_eq(answer, FLEET_NO_HOLE); /* 16, of which 9 on none */
	ask.units = 17;
	ck_assert_int_eq(fleet_arrive(fleet, 0, &ask, &answer, &failure), 0);
	ck_assert_int_eq(answer, FLEET_NO_MEMORY);
	ask.units = 8;
	ask.cpu_millis = 3000;
	ck_assert_int_eq(fleet_arrive(fleet, 0, &ask, &answer, &failure), 0);
	ck_assert_int_eq(answer, FLEET_PLACED);
	fleet_room_of(fleet, 0, 2, &units, &unused);
	ck_assert(units == 8 && unused == 0 && fleet_space(fleet, 0, 2) != NULL);
	fleet_room_of(fleet, 0, 0, &units, &unused);
	ck_assert(units == 20 && unused == 20);
	ck_assert_int_eq(put(1, 20, 2000), FLEET_PLACED); /* CPUs are shared: node 1 */
	ck_assert_int_eq(put(2, 20, 2000), FLEET_NO_HOLE);
	ck_assert_int_eq(put(2, 21, 0), FLEET_NO_MEMORY);
	ck_assert_int_eq(put(2, 20, 1000), FLEET_PLACED);
	ask.units = 1;
	ck_assert_int_eq(fleet_arrive(fleet, 3, &ask, &answer, &failure), 0);
	ck_assert_int_eq(answer, FLEET_NO_CPU);
	ck_assert(fleet_depart(fleet, 0) && fleet_check(fleet));
	fleet_close(fleet);
}
END_TEST

/* What is no limit: as many CPUs as anybody can ask for, by every policy of nodes. */
START_TEST(cpus_unlimited)
{
	struct fleet_shape one = {.hosts = 1, .nodes = 2, .distance = {{10, 20}, {20, 10}}};

	for (unsigned n = 0; n < 2; n++) {
		one.node[n] = (struct fleet_node){100, 0, FLEET_CPU_UNLIMITED, 0};
		one.latency_ps[n][n] = 80000;
		one.latency_ps[n][1 - n] = 160000;
	}
	for (unsigned n = FLEET_NODES_LOCAL; n <= FLEET_NODES_BALANCE; n++) {
		config = (struct fleet_config){.shape = &one, .shapes = 1, .nodes = (enum fleet_nodes)n};
		config.latency_ps = 150000;
		fleet = fleet_open(&config, &failure);
		ck_assert_int_eq(put(0, 10, 4294967000), FLEET_PLACED);
		ck_assert_int_eq(put(1, 10, UINT32_MAX), FLEET_PLACED); /* not whole CPUs */
		fleet_close(fleet);
	}
}
END_TEST

/* The dot product beside hosts that are a millionth as large, for which a large guest's is beyond 64 bits. */
START_TEST(dot_of_mixed)
{
	static struct fleet_shape mixed[4];
	uint32_t host;

	for (unsigned i = 0; i < 4; i++)
		mixed[i] = (struct fleet_shape){
			.hosts = 1, .nodes = 1, .node = {{UINT64_C(1) << (i % 2 ? 10 : 30), 0, 4000, 0}}};
	config = (struct fleet_config){.shape = mixed, .shapes = 4, .choose = FLEET_DOT, .nodes = FLEET_NODES_FIRST};
	fleet = fleet_open(&config, &failure);
	ck_assert_int_eq(put(0, UINT64_C(1) << 28, 1000), FLEET_PLACED);
	ck_assert(fleet_where(fleet, 0, &host, NULL, 0) == 1 && host == 0);
	ck_assert_int_eq(put(1, UINT64_C(1) << 28, 1000), FLEET_PLACED);
	ck_assert(fleet_where(fleet, 1, &host, NULL, 0) == 1 && host == 2); /* the emptier of the two large ones */
	fleet_close(fleet);
}
END_TEST

/* Capacity in all is what figures are of: 62 bits of it. */
START_TEST(too_large)
{
	static struct fleet_shape large = {.hosts = FLEET_HOSTS_MAX, .nodes = 64};

	for (unsigned i = 0; i < 64; i++)
		large.node[i] = (struct fleet_node){UINT64_C(1) << 37, 0, FLEET_CPU_UNLIMITED, 0};
	config = (struct fleet_config){.shape = &large, .shapes = 1, .fit = FLEET_FIT_SCATTER};
	ck_assert(fleet_open(&config, &failure) == NULL && failure.code == EXIT_USAGE);
	ck_assert_str_eq(failure.text, "the fleet has 2^62 units or more of memory: a larger granule makes them fewer");
}
END_TEST

/* The top rises by what is missing, a hole below it counted in; _i: the fit. */
START_TEST(unbounded)
{
	bool buddy = _i == FLEET_FIT_BUDDY, scatter = _i == FLEET_FIT_SCATTER, classes = _i == FLEET_FIT_SEGREGATED;
	struct fleet_shape one = {.hosts = 1, .nodes = 1, .node = {{FLEET_UNBOUNDED, 0, FLEET_CPU_UNLIMITED, 0}}};

	config = (struct fleet_config){
		.shape = &one, .shapes = 1, .fit = (enum fleet_fit)_i, .nodes = FLEET_NODES_FIRST};
	fleet = fleet_open(&config, &failure);
	ck_assert(fleet && fleet_totals_read(fleet).units == 0);
	for (uint32_t i = 0; i < 5; i++)
		ck_assert_int_eq(put(i, 10, 0), FLEET_PLACED); /* [0, 50); buddy: [0, 80) */
	ck_assert_uint_eq(fleet_totals_read(fleet).units, buddy ? 80 : 50);
	ck_assert(fleet_depart(fleet, 1) && fleet_depart(fleet, 4));
	ck_assert_uint_eq(fleet_totals_read(fleet).units, buddy ? 80 : 50);
	ck_assert_int_eq(put(6, 14, 0), FLEET_PLACED); /* four more are missing at the top */
	ck_assert_uint_eq(fleet_totals_read(fleet).units, buddy ? 80 : scatter ? 50 : 54);
	ck_assert_int_eq(put(7, 3, 0), FLEET_PLACED); /* below */
	ck_assert_uint_eq(fleet_totals_read(fleet).units, buddy ? 80 : scatter ? 50 : _i == FLEET_FIT_NEXT ? 54 : 54);
	ck_assert_int_eq(put(8, 100, 0), FLEET_PLACED);
	ck_assert_uint_eq(fleet_totals_read(fleet).units, buddy ? 256 : scatter ? 147 : classes ? 54 + 104 : 154);
	fleet_close(fleet);
}
END_TEST

/* ---- compaction ---- */

static struct fleet_part had[GUESTS];

static void remember(void)
{
	uint32_t host;

	for (uint32_t g = 0; g < GUESTS; g++)
		if (fleet_lives(fleet, g))
			(void)fleet_where(fleet, g, &host, &had[g], 1);
}

/* Nobody has less than it had, or is elsewhere, but within its node; who is pinned is where it was. */
static uint64_t moved_units(const bool *pinned)
{
	uint64_t units = 0;
	uint32_t host;

	for (uint32_t g = 0; g < GUESTS; g++) {
		struct fleet_part now;

		if (!fleet_lives(fleet, g))
			continue;
		ck_assert_uint_eq(fleet_where(fleet, g, &host, &now, 1), 1);
		ck_assert(now.node == had[g].node && now.run.units == had[g].run.units);
		units += now.run.first != had[g].run.first ? now.run.units : 0;
		ck_assert(!pinned[g] || now.run.first == had[g].run.first);
	}
	return units;
}

/* Who was refused a hole gets it, if there is a plan, and only he who had to has moved. _i: the fit. */
START_TEST(compaction)
{
	bool pinned[GUESTS] = {0};
	unsigned opened = 0;

	seed(41 + (uint64_t)_i);
	config = (struct fleet_config){.fit = (enum fleet_fit)_i, .nodes = FLEET_NODES_FIRST};
	config.choose = _i % 2 ? FLEET_BEST : FLEET_FIRST;
	huge_pages = true;
	make();
	huge_pages = false;
	for (unsigned i = 0; i < 4000; i++) {
		uint32_t guest = (uint32_t)below(GUESTS), host;
		struct fleet_ask ask = {.units = 1 + below(20),
					.node = FLEET_NODE_ANY,
					.movable = i > 2000 ? below(8) : true,
					.huge = below(3) == 0};
		struct fleet_moved moved;
		enum fleet_answer answer;
		struct fleet_part part;
		bool yes;

		if (fleet_depart(fleet, guest))
			continue;
		ck_assert_int_eq(fleet_arrive(fleet, guest, &ask, &answer, &failure), 0);
		pinned[guest] = !ask.movable;
		if (answer != FLEET_NO_HOLE)
			continue;
		remember();
		ck_assert(!fleet_compact_for(fleet, &ask, 0, 1000, &moved, &failure) && moved_units(pinned) == 0);
		yes = fleet_compact_for(fleet, &ask, UINT64_MAX, 10000, &moved, &failure);
		ck_assert(failure.code == 0 && fleet_check(fleet));
		opened += yes;
		ck_assert(yes ? moved_units(pinned) <= moved.units && moved.guests > 0 : moved_units(pinned) == 0);
		ck_assert_int_eq(fleet_arrive(fleet, guest, &ask, &answer, &failure), 0);
		ck_assert_int_eq(answer, yes ? FLEET_PLACED : FLEET_NO_HOLE);
		if (!yes)
			continue;
		(void)fleet_where(fleet, guest, &host, &part, 1);
		remember();
		if (below(4) == 0 && fleet_compact_host(fleet, host, UINT64_MAX, 10000, &moved, &failure)) {
			ck_assert(fleet_check(fleet) && moved_units(pinned) <= moved.units);
			ck_assert(!fleet_compact_host(fleet, host, 0, 10000, &moved, &failure));
		}
	}
	ck_assert(opened > 20);
	fleet_close(fleet);
}
END_TEST

/* ---- many ---- */

/* So many guests that the books of pools, guests and pieces grow; then all go. */
START_TEST(books_grow)
{
	struct fleet_shape one = {.hosts = 2, .nodes = 1, .node = {{40000, 0, FLEET_CPU_UNLIMITED, 0}}};
	uint32_t guests = 0;

	config = (struct fleet_config){.shape = &one, .shapes = 1, .nodes = FLEET_NODES_FIRST, .choose = FLEET_BEST};
	config.fit = (enum fleet_fit)_i;
	fleet = fleet_open(&config, &failure);
	ck_assert(fleet != NULL);
	for (enum fleet_answer answer = FLEET_PLACED; answer == FLEET_PLACED; guests++) {
		struct fleet_ask ask = {.units = 1 + guests % 7, .node = FLEET_NODE_ANY};

		ck_assert_int_eq(fleet_arrive(fleet, guests, &ask, &answer, &failure), 0);
		if (guests % 3 == 2)
			ck_assert(fleet_depart(fleet, guests - 2));
	}
	ck_assert(guests > 20000 && fleet_check(fleet));
	for (uint32_t i = 0; i < guests; i++)
		(void)fleet_depart(fleet, i);
	ck_assert(fleet_check(fleet) &&
		  fleet_totals_read(fleet).largest_holes == (_i == FLEET_FIT_BUDDY ? 65536 : 80000));
	fleet_close(fleet);
}
END_TEST

START_TEST(refused)
{
	struct fleet_shape s = {.hosts = 1, .nodes = 1, .node = {{10, 10, 0, 0}}};
	const struct {
		struct fleet_shape s;
		uint32_t overcommit;
		const char *says;
	} bad[] = {
		{{.hosts = 0, .nodes = 1, .node = {{1, 0, 0, 0}}}, 0, "1 to 1048576 hosts, not 0"},
		{{.hosts = FLEET_HOSTS_MAX + 1, .nodes = 1, .node = {{1, 0, 0, 0}}}, 0, "not 1048577"},
		{{.hosts = 1, .nodes = 0}, 0, "1 to 64 nodes, not 0"},
		{{.hosts = 1, .nodes = 65}, 0, "not 65"},
		{{.hosts = 1, .nodes = 1, .node = {{10, 10, 0, 0}}}, 0, "reserves 10 of its 10"},
		{{.hosts = 2, .nodes = 1, .node = {{0, 0, 0, 0}}}, 0, "unbounded"},
		{{.hosts = 1, .nodes = 2, .node = {{0, 0, 0, 0}, {4, 0, 0, 0}}}, 0, "unbounded"},
		{{.hosts = 1, .nodes = 1, .node = {{UINT64_C(1) << 39, 0, 0, 0}}}, 0, "2^39 are the most"},
		{{.hosts = 1, .nodes = 1, .node = {{UINT64_C(1) << 38, 0, 0, 0}}}, 500000, "2^39 are the most"},
		{{.hosts = 1, .nodes = 1, .node = {{4, 0, 0, 0}}}, 1000000, "give back all"},
		{{.hosts = 1, .nodes = 1, .node = {{10, 4, 0, 6}}},
		 0,
		 "keeps 6 of its 10 units for huge pages and 4 for"},
		{{.hosts = 1, .nodes = 1, .node = {{0, 0, 0, 6}}}, 0, "has no bound: no part of it"},
	};

	(void)s;
	for (unsigned i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct failure f = {0};

		config = (struct fleet_config){.shape = &bad[i].s, .shapes = 1, .overcommit_ppm = bad[i].overcommit};
		ck_assert_msg(fleet_open(&config, &f) == NULL && f.code == EXIT_USAGE && strstr(f.text, bad[i].says),
			      "%u: %s", i, f.text);
	}
	fleet_close(NULL);
}
END_TEST

START_TEST(check_objects)
{
	config = (struct fleet_config){.choose = FLEET_BEST, .nodes = FLEET_NODES_LOCAL, .lifetimes = true};
	config.choose = _i ? FLEET_BEST : FLEET_FIRST;
	huge_pages = true;
	make();
	huge_pages = false;
	for (uint32_t i = 0; i < 20; i++)
		ck_assert_int_eq(put(i, 7, 500), FLEET_PLACED);
#define BREAK(field)                                                                                                   \
	do {                                                                                                           \
		__typeof__(field) was = (field);                                                                       \
		(field)++;                                                                                             \
		ck_assert_msg(!fleet_check(fleet), "%s", #field);                                                      \
		(field) = was;                                                                                         \
		ck_assert(fleet_check(fleet));                                                                         \
	} while (0)
	BREAK(fleet->pool[1].pool.free);
	BREAK(fleet->pool[1].pool.room);
	BREAK(fleet->pool[1].pool.largest);
	BREAK(fleet->pool[1].pool.holes);
	BREAK(fleet->pool[1].cpu_free);
	BREAK(fleet->totals.units_given);
	BREAK(fleet->totals.largest_holes);
	BREAK(fleet->totals.hosts_empty);
	BREAK(fleet->host[0].holes);
	BREAK(fleet->host[0].guests);
	BREAK(fleet->guest[3].asked);
	BREAK(fleet->guest[3].local);
	BREAK(fleet->piece[fleet->guest[3].part].part.run.first);
	BREAK(fleet->piece[fleet->guest[3].part].part.run.units);
	BREAK(fleet->piece[fleet->guest[3].part].part.cpu_millis);
	BREAK(fleet->pieces_free);
	BREAK(fleet->until[0]);
	BREAK(fleet->leaves[3]);
	BREAK(fleet->pool[3].pool.free); /* of huge pages */
	fleet->guest[3].huge = true;
	ck_assert(!fleet_check(fleet));
	fleet->guest[3].huge = false;
	if (_i) {
		BREAK(fleet->index[0].rung[2].free);
		BREAK(fleet->index[0].rung[2].above);
		BREAK(fleet->index[0].rung[2].rank);
		BREAK(fleet->index[0].rung[2].most_cpu_one);
		BREAK(fleet->index[1].rung[2].room);
		BREAK(fleet->index[0].stay[2].until);
		BREAK(fleet->index[0].stay[2].most);
		BREAK(fleet->index[0].stay[fleet->index[0].root].most);
		BREAK(fleet->index[0].rung[fleet->index[0].root].most_room);
	} else {
		BREAK(fleet->index[0].most[1].cpu);
		BREAK(fleet->index[0].most[1].until);
		BREAK(fleet->index[1].most[1].free);
		BREAK(fleet->index[0].most[fleet->index[0].leaves + 1].room);
	}
	fleet_close(fleet);
}
END_TEST

Suite *fleet_suite(void);

Suite *fleet_suite(void)
{
	Suite *suite = suite_create("fleet");
	TCase *plain = tcase_create("plain"), *random = tcase_create("random");

	tcase_add_test(plain, policies);
	tcase_add_test(plain, lifetimes);
	tcase_add_test(plain, huge);
	tcase_add_test(plain, cpus_unlimited);
	tcase_add_test(plain, dot_of_mixed);
	tcase_add_test(plain, too_large);
	tcase_add_loop_test(plain, unbounded, 0, FLEET_FIT_SCATTER + 1);
	tcase_add_loop_test(plain, books_grow, 0, FLEET_FIT_SCATTER);
	tcase_add_test(plain, refused);
	tcase_add_loop_test(plain, check_objects, 0, 2);
	suite_add_tcase(suite, plain);
	tcase_add_loop_test(random, one_node, 0, FLEET_FIT_SCATTER + 1);
	tcase_add_loop_test(random, compaction, 0, FLEET_FIT_SCATTER);
	tcase_add_loop_test(random, several_nodes, 0, FLEET_NODES_BALANCE + 1);
	tcase_set_timeout(random, 60);
	suite_add_tcase(suite, random);
	return suite;
}
