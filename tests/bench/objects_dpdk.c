/* tests/bench/objects_dpdk.c: DPDK's mempool among the objects' figures; objects
 * starts it. Theory: top of objects.c.
 *
 * As its users have it: the default ring of many producers and consumers, a cache
 * a thread of the largest size, get and put inlined. Threads that DPDK does not
 * know would bypass the cache: the second one registers. Compiled as all others
 * are, for the oldest CPU that DPDK's headers allow: with the flags that it
 * proposes (-march=corei7) gcc 12 makes vectors of the cache's length, and a hot
 * pair takes three times as long. */
#include <rte_eal.h>
#include <rte_lcore.h>
#include <rte_mempool.h>
#include <stdio.h>

#include "tests/bench/bench.h"
#include "tests/bench/objects.h"

#define POOL_OBJECTS 131071u /* a power of two less one wastes least; 100,000 live, a ring, and caches */

LOOP_INLINE uintptr_t pool_take(void *self, unsigned order)
{
	void *object;

	(void)order;
	return rte_mempool_get(self, &object) == 0 ? (uintptr_t)object : LOOP_NONE;
}

LOOP_INLINE void pool_give(void *self, uintptr_t item, unsigned order)
{
	(void)order;
	rte_mempool_put(self, (void *)item);
}

LOOPS(pool_loops, pool_take, pool_give, loop_write);

static void *pool_of(unsigned size, unsigned thread)
{
	static struct rte_mempool *pools[CASES_SIZES];
	char name[32];

	(void)thread;
	if (!pools[size]) {
		snprintf(name, sizeof(name), "objects%u", objects_sizes[size]);
		pools[size] = rte_mempool_create(name, POOL_OBJECTS, objects_sizes[size], RTE_MEMPOOL_CACHE_MAX_SIZE, 0,
						 NULL, NULL, NULL, NULL, SOCKET_ID_ANY, 0);
		if (!pools[size])
			bench_refuse("DPDK has no memory for a mempool", name);
	}
	return pools[size];
}

static void enter(void)
{
	if (rte_lcore_id() == LCORE_ID_ANY && rte_thread_register())
		bench_refuse("DPDK does not register a thread", NULL);
}

int main(void)
{
	static const char *const words[] = {"objects_dpdk", "--no-huge", "--no-shconf",	   "--no-pci",
					    "-m",	    "1024",	 "--no-telemetry", "--log-level=error"};
	const struct objects_contender mempool = {&pool_loops, pool_of, enter, false};
	char *argv[sizeof(words) / sizeof(words[0]) + 1] = {NULL};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		argv[i] = (char *)(uintptr_t)words[i];
	bench_pin(0); /* before DPDK looks which CPUs there are, and takes the first for this thread */
	if (rte_eal_init(sizeof(words) / sizeof(words[0]), argv) < 0)
		bench_refuse("DPDK does not start", NULL);
	return objects_serve(&mempool);
}
