/* vmm/latency.c
 *
 * A pointer chase: each load's address is what the load before it brought, so that
 * a step takes as long as memory does. The mean over many steps is the latency, of a machine as busy as it is.
 *
 * What makes it true.
 * L1. The buffer is 16 times the largest cache of the CPU (256 MiB to 2 GiB): a step is found in it once in 16.
 * L2. The order is a permutation of all lines with one cycle, without a stride: no prefetcher knows what comes next.
 * L3. Pages are huge where the host gives them: the few hundred entries that they need are in the TLB.
 * L4. The memory is bound to its node before it is touched, and the thread to CPUs of the other.
 * L5. Time is the thread's own, without what others had of its CPU meanwhile; and the least of some 80 rounds
 *     counts: what else runs on the machine only adds.
 *
 * The order is not shuffled but computed: place n of the walk is line mix(n), mix
 * a bijection of the numbers below the number of lines. So the chain is written by stores
 * that do not wait for each other, 10 times faster than a shuffle.
 *
 * Not measured: a cache that others' CPUs share with it, bandwidth, latency under load.
 *
 * Rejected: one node's memory for each pair anew (written once, walked from all nodes); lines of 128 bytes (two
 * neighbours are fetched together, and used by two steps that are far apart, but by then neither is in a cache: L1). */
#include "vmm/latency.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "vmm/backing.h"
#include "vmm/hostfs.h"
#include "vmm/resident.h"

#define LINE_BYTES  64u
#define BYTES_MIN   (UINT64_C(256) << 20)
#define BYTES_MAX   (UINT64_C(2) << 30)
#define ROUND_STEPS 32768u /* 3 ms at 100 ns: 0.4 % are what a round differs by, by chance */
#define ROUNDS_NS   UINT64_C(250000000)
#define ROUNDS_MIN  8u

/* Odd products and right shifts, below 2^bits: each can be undone, so no number comes twice. */
static uint64_t mix(uint64_t n, unsigned bits)
{
	const uint64_t mask = (UINT64_C(1) << bits) - 1;

	for (unsigned i = 0; i < 3; i++) {
		n = (n * UINT64_C(0x9e3779b97f4a7c15) + i) & mask;
		n ^= n >> (bits / 2);
	}
	return n;
}

void latency_chain(uint8_t *host, uint64_t bytes)
{
	const unsigned bits = (unsigned)__builtin_ctzll(bytes / LINE_BYTES);
	const uint64_t lines = UINT64_C(1) << bits;
	uint64_t line = mix(0, bits);

	for (uint64_t n = 1; n <= lines; n++) {
		const uint64_t next = mix(n & (lines - 1), bits);
		uint8_t *const to = host + next * LINE_BYTES;

		memcpy(host + line * LINE_BYTES, &to, sizeof(to));
		line = next;
	}
}

static uint8_t *walk(uint8_t *at, unsigned steps)
{
	while (steps--)
		at = *(uint8_t **)(void *)at;
	return at;
}

static uint64_t own_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint32_t time_walk(uint8_t *host)
{
	uint8_t *volatile at = walk(host, ROUND_STEPS); /* warms what is not the memory */
	const uint64_t start = own_ns();
	uint64_t best = UINT64_MAX, now = start;

	for (unsigned rounds = 0; rounds < ROUNDS_MIN || now - start < ROUNDS_NS; rounds++) {
		const uint64_t before = own_ns();

		at = walk(at, ROUND_STEPS);
		now = own_ns();
		if (now - before < best)
			best = now - before;
	}
	return (uint32_t)(best * 1000 / ROUND_STEPS);
}

static uint64_t cache_bytes(void)
{
	uint64_t most = 0, kib;
	char text[32];

	for (unsigned i = 0; i < 8; i++)
		if (hostfs_text("", text, sizeof(text), "/sys/devices/system/cpu/cpu0/cache/index%u/size", i) &&
		    hostfs_decimal(text, &kib, NULL) && kib << 10 > most)
			most = kib << 10;
	return most;
}

/* A power of two, so that mix() fits. 0: the node has not so much to spare. */
static uint64_t bytes_for(const struct numa_map_node *n, const struct limits *l)
{
	const uint64_t cache = cache_bytes(), least = cache ? 4 * cache : BYTES_MIN / 4;
	const uint64_t room = n->free_bytes < l->group_room_bytes ? n->free_bytes : l->group_room_bytes;
	uint64_t bytes = BYTES_MIN;

	while (bytes < 16 * cache && bytes < BYTES_MAX)
		bytes *= 2;
	while (bytes > room / 4)
		bytes /= 2;
	return bytes < least ? 0 : bytes;
}

/* From the CPUs of every node to memory that is there and has its chain. */
static void walk_from_all(const struct numa_map *map, const struct limits *l, unsigned memory, uint8_t *host,
			  struct latency *out)
{
	for (unsigned from = 0; from < map->nodes; from++) {
		const struct ids cpus = numa_map_cpus(map, from);
		struct failure ignored = {0}; /* not allowed there: not measured */

		if (map->node[from].cpus && numa_keep_thread(&cpus, l, &ignored) == 0)
			out->ps[from][memory] = time_walk(host);
	}
}

static bool all_huge(const struct backing *b)
{
	struct resident_use use;

	resident_read_once(b, &use);
	return use.huge == b->bytes;
}

static int bind_to(const struct numa *numa, const struct backing *b, unsigned id, struct failure *f)
{
	struct numa_rule rule = {.policy = NUMA_BIND};
	const char *note;

	if (!numa->library)
		return 0;
	ids_add(&rule.nodes, id);
	return numa_rule_set(numa, &rule, b->host, b->bytes, false, &note, f);
}

static int measure_node(const struct numa *numa, const struct numa_map *map, const struct limits *l, unsigned memory,
			struct latency *out, struct failure *f)
{
	const struct numa_map_node *n = &map->node[memory];
	const struct backing_config config = {.bytes = bytes_for(n, l), .thp = true, .zone = "--latency"};
	struct backing b;

	if (!n->has_memory || config.bytes == 0 || !ids_has(&l->nodes, n->id))
		return 0;
	if (backing_open(&b, &config, f))
		return f->code;
	if (bind_to(numa, &b, n->id, f) == 0 && backing_prefault(&b, 0, b.bytes, f) == 0) {
		latency_chain(b.host, b.bytes);
		out->bytes = b.bytes;
		out->huge = all_huge(&b);
		walk_from_all(map, l, memory, b.host, out);
	}
	backing_close(&b);
	return f->code;
}

int latency_measure(const struct numa *numa, const struct numa_map *map, const struct limits *limits,
		    struct latency *out, struct failure *f)
{
	struct ids before = {0};
	const bool known = sched_getaffinity(0, sizeof(before), (cpu_set_t *)&before) == 0;

	*out = (struct latency){0};
	for (unsigned i = 0; i < map->nodes && !f->code; i++)
		(void)measure_node(numa, map, limits, i, out, f);
	if (known)
		(void)sched_setaffinity(0, sizeof(before), (const cpu_set_t *)&before);
	return f->code;
}
