/* tests/bench/pack.c: what an event costs in a fleet: vmm/pack beside a red-black tree
 * (Niels Provos's, <bsd/sys/tree.h>) of as many nodes as guests live, in the same run.
 *
 *   pack OUT.json
 *
 * The workload is `vm` (vmm/pack/workload.h); a host has 2 nodes, 64 CPUs and 384 GiB in
 * granules of 2 MiB; best fit everywhere: the host with the least free memory, one node, the
 * smallest hole. It comes 100 guests a host, as fast as makes the last of them find the CPUs
 * given out: some are refused. One pool: a node of memory alone, when 100,000 live.
 *   slat              pack_step(): the choice, the books, all figures. Events are arrivals,
 *                     refused ones too, and departures of those that were accepted; they are
 *                     made beforehand.
 *   "red-black tree"  a guest that was accepted is inserted when it arrives, and when it departs
 *                     found by its key and erased: as slat finds it by its number and its place.
 *                     The tree so has as many nodes as guests live, at each moment. An event of
 *                     a fleet may cost 4 times its operation; of one pool 1.5 times.
 *   "floor"           the node is kept: erased without being found.
 *
 * Worst cases, single arrivals that no host can take, though none of its numbers says so:
 *   by number   every other host is full of memory, and the others out of CPUs;
 *   by memory   each host has memory on one node, and CPUs on the other.
 *
 * Memory: resident at most, of a process that plays a generated trace; a thousand hosts, so that
 * a million guests are some thirty mean lives, and as many live as ever will. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/bench/bench.h"
#include "tests/bench/key_tree.h"
#include "vmm/pack/pack.h"
#include "vmm/pack/workload.h"

#define GRANULE	       (UINT64_C(2) << 20)
#define NODE_UNITS     (192u * 512u)
#define NODE_CPUS      32000u
#define LIFE_US	       UINT64_C(10440000000)
#define GUESTS_A_HOST  100u
#define OFFERED_A_HOST 80u
#define POOL_LIVE      100000u
#define POOL_UNITS     (POOL_LIVE * UINT64_C(2051)) /* a guest's mean */
#define ROUNDS_LARGE   3u

enum column { SLAT = BENCH_SLAT, FLOOR = BENCH_FLOOR, TREE = BENCH_PEER, COLUMNS };
static const char *const peers[] = {"red-black tree", NULL};

struct happening { /* an event, small: there are twenty millions */
	uint32_t guest;
	uint32_t mib; /* 0: it departs */
	uint16_t cpus;
	bool refused;
};

struct trial {
	struct pack_config config;
	struct fleet_shape shape;
	struct workload_options work;
	uint64_t skip;		  /* so many events go before those that are timed */
	uint64_t events, counted; /* of the array; of those that are timed, those that count */
	uint64_t at;		  /* that is read next */
	uint32_t guests;	  /* numbers below it */
	struct happening *happening;
	struct key *keys; /* by guest */
	struct tree tree;
	uint64_t refused;
	double least; /* of slat's rounds */
};

static void refuse(const struct failure *f)
{
	bench_refuse("a fleet fails", f->text);
}

/* ---- the trials ---- */

static struct fleet_shape shape_of(uint32_t hosts, uint32_t nodes, uint64_t units, uint32_t cpu_millis)
{
	struct fleet_shape s = {.hosts = hosts, .nodes = nodes};

	for (uint32_t i = 0; i < nodes; i++) {
		s.node[i] = (struct fleet_node){.units = units, .cpu_millis = cpu_millis};
		for (uint32_t j = 0; j < nodes; j++) {
			s.distance[i][j] = i == j ? 10 : 20;
			s.latency_ps[i][j] = i == j ? 80000 : 160000;
		}
	}
	return s;
}

static void trial_shape(struct trial *t, struct fleet_shape shape)
{
	t->shape = shape;
	t->config = (struct pack_config){
		.fleet = {.shapes = 1, .choose = FLEET_BEST, .nodes = FLEET_NODES_LOCAL, .fit = FLEET_FIT_BEST},
		.granule = GRANULE,
	};
	t->config.fleet.shape = &t->shape;
	t->least = INFINITY;
}

static void trial_fleet(struct trial *t, uint32_t hosts, uint64_t arrivals, uint32_t offered)
{
	trial_shape(t, shape_of(hosts, 2, NODE_UNITS, NODE_CPUS));
	t->work = (struct workload_options){
		.seed = 1, .arrivals = arrivals, .life_us = LIFE_US, .interval_us = LIFE_US / offered / hosts};
}

static void trial_pool(struct trial *t)
{
	trial_shape(t, shape_of(1, 1, POOL_UNITS, FLEET_CPU_UNLIMITED));
	t->work = (struct workload_options){
		.seed = 1, .arrivals = 12 * POOL_LIVE, .life_us = LIFE_US, .interval_us = LIFE_US / POOL_LIVE * 9 / 10};
	t->skip = 19 * POOL_LIVE;
}

/* ---- events ---- */

static struct event event_of(const struct happening *h)
{
	return (struct event){
		.kind = h->mib ? EVENT_ARRIVE : EVENT_DEPART,
		.guest = h->guest,
		.size = (uint64_t)h->mib << 20,
		.cpu_millis = h->cpus * EVENT_CPU_ONE,
		.node = EVENT_NODE_ANY,
		.life_us = EVENT_LIFE_UNKNOWN,
		.movable = true,
	};
}

static enum event_next next_known(void *self, struct event *out, struct failure *f)
{
	struct trial *t = self;

	(void)f;
	if (t->at == t->events)
		return EVENT_END;
	*out = event_of(&t->happening[t->at]);
	out->time_us = out->number = t->at++;
	return EVENT_ONE;
}

static enum event_next next_made(void *self, struct event *out, struct failure *f)
{
	return workload_next(self, out, f);
}

static void step(struct pack *p, const struct pack_source *source)
{
	struct failure f = {0};
	uint64_t time_us;

	if (pack_step(p, source, &time_us, &f) != EVENT_ONE)
		refuse(&f);
}

static struct pack *open_fleet(const struct trial *t)
{
	struct failure f = {0};
	struct pack *p = pack_open(&t->config, &f);

	if (!p)
		refuse(&f);
	return p;
}

static void make_events(struct trial *t)
{
	struct failure f = {0};
	struct workload *w = workload_open(WORKLOAD_VM, &t->work, &f);
	struct event e;

	t->happening = w ? calloc(2 * t->work.arrivals, sizeof(*t->happening)) : NULL;
	if (!t->happening)
		refuse(&f);
	for (t->events = 0; workload_next(w, &e, &f) == EVENT_ONE; t->events++) {
		struct happening *h = &t->happening[t->events];

		h->guest = e.guest;
		t->guests = e.guest >= t->guests ? e.guest + 1 : t->guests;
		if (e.kind == EVENT_ARRIVE) {
			h->mib = (uint32_t)(e.size >> 20);
			h->cpus = (uint16_t)(e.cpu_millis / EVENT_CPU_ONE);
		}
	}
	if (t->skip) /* nor the end, when those depart that live then */
		t->events -= POOL_LIVE * 6 / 5;
	workload_close(w);
}

/* Who is refused, and how many events count. */
static void judge_events(struct trial *t)
{
	const struct pack_source source = {.self = t, .next = next_known};
	struct pack *p = open_fleet(t);
	bool *out = calloc(t->guests, sizeof(*out));

	t->keys = calloc(t->guests, sizeof(*t->keys));
	if (!out || !t->keys)
		bench_refuse("the host has no memory for this", NULL);
	t->at = 0;
	for (uint64_t i = 0; i < t->events; i++) {
		struct happening *h = &t->happening[i];
		uint64_t live = fleet_totals_read(pack_fleet(p)).guests;

		step(p, &source);
		if (h->mib) {
			out[h->guest] = fleet_totals_read(pack_fleet(p)).guests == live;
			t->refused += out[h->guest] && i >= t->skip;
		}
		h->refused = out[h->guest];
		t->counted += i >= t->skip && (h->mib > 0 || !h->refused);
	}
	if (!pack_check(p))
		bench_refuse("an invariant of the fleet is broken", NULL);
	pack_close(p);
	free(out);
}

/* ---- rounds ---- */

static double play_fleet(struct trial *t)
{
	const struct pack_source source = {.self = t, .next = next_known};
	struct pack *p = open_fleet(t);
	double start, ns;

	t->at = 0;
	for (uint64_t i = 0; i < t->skip; i++)
		step(p, &source);
	start = bench_ns();
	for (uint64_t i = t->skip; i < t->events; i++)
		step(p, &source);
	ns = (bench_ns() - start) / (double)t->counted;
	pack_close(p);
	t->least = fmin(t->least, ns);
	return ns;
}

/* splitmix64's mixing: no two guests have the same. */
static uint64_t key_of(uint32_t guest)
{
	uint64_t x = (guest + UINT64_C(1)) * UINT64_C(0x9e3779b97f4a7c15);

	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

static void play_in_tree(struct trial *t, const struct happening *h, bool find)
{
	struct key *k = &t->keys[h->guest], sought = {.key = key_of(h->guest)};

	if (h->refused)
		return;
	if (h->mib) {
		k->key = sought.key;
		RB_INSERT(tree, &t->tree, k);
		return;
	}
	if (find)
		k = RB_FIND(tree, &t->tree, &sought);
	RB_REMOVE(tree, &t->tree, k);
}

static double play_tree(struct trial *t, bool find)
{
	double start;

	RB_INIT(&t->tree);
	for (t->at = 0; t->at < t->skip; t->at++)
		play_in_tree(t, &t->happening[t->at], find);
	start = bench_ns();
	for (; t->at < t->events; t->at++)
		play_in_tree(t, &t->happening[t->at], find);
	return (bench_ns() - start) / (double)(t->counted - t->refused);
}

static double round_of_events(void *self, unsigned column)
{
	struct trial *t = self;

	if (!t->happening) {
		make_events(t);
		judge_events(t);
	}
	return column == SLAT ? play_fleet(t) : play_tree(t, column == TREE);
}

static void time_events(struct bench *b, struct trial *t, const char *name)
{
	double values[COLUMNS] = {NAN, NAN, NAN};
	char line[64];

	bench_case(b, name, "ns/event", round_of_events, t);
	snprintf(line, sizeof(line), "%s: refused, of 1000 events", name);
	values[SLAT] = rint(1000.0 * (double)t->refused / (double)t->counted);
	bench_fact(b, line, "events", values);
	free(t->happening);
	free(t->keys);
}

/* ---- memory, and the whole ---- */

/* As `slat pack` does it: with the generator. */
static double play_made(const struct trial *t)
{
	struct failure f = {0};
	struct workload *w = workload_open(WORKLOAD_VM, &t->work, &f);
	const struct pack_source source = {.self = w, .next = next_made};
	struct pack *p = open_fleet(t);
	uint64_t time_us, events = 0;
	double start = bench_ns();

	if (!w)
		refuse(&f);
	while (pack_step(p, &source, &time_us, &f) == EVENT_ONE)
		events++;
	pack_close(p);
	workload_close(w);
	return (bench_ns() - start) / (double)events;
}

/* MiB */
static double resident_most(uint64_t arrivals)
{
	struct trial t = {0};
	struct rusage used;
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		trial_fleet(&t, 1000, arrivals, 31);
		(void)play_made(&t);
		_exit(0);
	}
	if (pid < 0 || wait4(pid, &status, 0, &used) != pid || status != 0)
		bench_refuse("a process of its own fails", NULL);
	return (double)used.ru_maxrss / 1024;
}

static void weigh(struct bench *b)
{
	double small[COLUMNS] = {resident_most(1000000), NAN, NAN},
	       large[COLUMNS] = {resident_most(10000000), NAN, NAN};
	double ratio[COLUMNS] = {large[SLAT] / small[SLAT], NAN, NAN};

	bench_fact(b, "1000 hosts, 1000000 guests: resident", "MiB", small);
	bench_fact(b, "1000 hosts, 10000000 guests: resident", "MiB", large);
	bench_fact(b, "ten times as long: resident", "ratio", ratio);
}

static double round_of_all(void *self, unsigned column)
{
	return column == SLAT ? play_made(self) : NAN;
}

static void time_all(struct bench *b)
{
	struct trial t = {0};

	trial_fleet(&t, 10000, 10000 * GUESTS_A_HOST, OFFERED_A_HOST);
	bench_case(b, "10000 hosts, with the generator", "ns/event", round_of_all, &t);
}

/* ---- worst cases ---- */

#define UNPLACEABLE 100u

struct worst {
	struct fleet *fleet;
	struct fleet_ask ask;
};

static void place(struct fleet *fleet, uint32_t guest, struct fleet_ask ask)
{
	struct failure f = {0};
	enum fleet_answer answer;

	if (fleet_arrive(fleet, guest, &ask, &answer, &f) || answer != FLEET_PLACED)
		bench_refuse("a worst case is none", f.text);
}

static void make_worst(struct worst *w, uint32_t hosts, bool by_memory)
{
	const struct fleet_shape shape = shape_of(hosts, 2, NODE_UNITS, NODE_CPUS);
	const struct fleet_config config = {.shape = &shape,
					    .shapes = 1,
					    .choose = by_memory ? FLEET_BEST : FLEET_FIRST,
					    .nodes = FLEET_NODES_LOCAL,
					    .fit = FLEET_FIT_BEST};
	struct failure f = {0};

	w->fleet = fleet_open(&config, &f);
	if (!w->fleet)
		refuse(&f);
	for (uint32_t i = 0; i < hosts; i++) {
		bool memory = by_memory || i % 2 == 0, cpus = by_memory || i % 2 == 1;

		/* By number both nodes are made as the host is; by memory one each. */
		for (uint32_t node = 0; node < 2; node++) {
			if (memory && (!by_memory || node == 0))
				place(w->fleet, 2 * i + node,
				      (struct fleet_ask){NODE_UNITS, 1000, node, true, false, 0, 0});
			else if (cpus)
				place(w->fleet, 2 * i + node,
				      (struct fleet_ask){1, NODE_CPUS, node, true, false, 0, 0});
		}
	}
	w->ask = (struct fleet_ask){1000, 2000, FLEET_NODE_ANY, true, false, 0, 0};
}

static double round_of_worst(void *self, unsigned column)
{
	struct worst *w = self;
	struct failure f = {0};
	enum fleet_answer answer;
	double start = bench_ns();

	if (column != SLAT)
		return NAN;
	for (unsigned i = 0; i < UNPLACEABLE; i++)
		if (fleet_arrive(w->fleet, UINT32_MAX / 4, &w->ask, &answer, &f) || answer == FLEET_PLACED)
			bench_refuse("a worst case is none", f.text);
	return (bench_ns() - start) / UNPLACEABLE;
}

static void time_worst(struct bench *b, uint32_t hosts, bool by_memory)
{
	struct worst w;
	char name[64];

	make_worst(&w, hosts, by_memory);
	snprintf(name, sizeof(name), "worst, %u hosts, by %s", hosts, by_memory ? "memory" : "number");
	bench_case(b, name, "ns/event", round_of_worst, &w);
	fleet_close(w.fleet);
}

int main(int argc, char **argv)
{
	double growth[COLUMNS] = {NAN, NAN, NAN};
	double first = 0;
	unsigned rounds;
	struct bench b;

	if (argc != 2)
		bench_refuse("pack OUT.json", NULL);
	bench_pin(0);
	bench_open(&b, peers);
	rounds = b.rounds;
	weigh(&b);
	for (uint32_t hosts = 100; hosts <= 100000; hosts *= 10) {
		struct trial t = {0};
		char name[64];

		b.rounds = hosts < 100000 || rounds < ROUNDS_LARGE ? rounds : ROUNDS_LARGE;
		trial_fleet(&t, hosts, (uint64_t)hosts * GUESTS_A_HOST, OFFERED_A_HOST);
		snprintf(name, sizeof(name), "%u hosts, %u guests", hosts, hosts * GUESTS_A_HOST);
		time_events(&b, &t, name);
		first = hosts == 100 ? t.least : first;
		growth[SLAT] = t.least / first;
	}
	b.rounds = rounds;
	bench_fact(&b, "from 100 to 100000 hosts", "ratio", growth);
	time_all(&b);
	{
		struct trial t = {0};

		trial_pool(&t);
		time_events(&b, &t, "one pool, 100000 guests live");
	}
	for (uint32_t hosts = 1000; hosts <= 10000; hosts *= 10) {
		time_worst(&b, hosts, false);
		time_worst(&b, hosts, true);
	}
	return bench_close(&b, argv[1]);
}
