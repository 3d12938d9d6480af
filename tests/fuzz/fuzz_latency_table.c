/* Any bytes as a table of latencies, and one that is taken filled up for a host.
 * Input: two bytes that say how many nodes the host has beside the table's (0 to 7) and how
 * far these are, then the file.
 *
 * What is checked: a table that is taken is what latency_table.c says of the file (F1 to
 * F5) and of what it fills (S1, S2), and pairs by distance alone are as far apart as that. */
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/must.h"
#include "vmm/latency_table.h"

#define PS_MIN 1000u
#define PS_MAX 1000000000u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct latency_table table;
static struct numa_map map;
static uint32_t ps[NUMA_NODES_MAX][NUMA_NODES_MAX];

static void check_file(const struct latency_table *t)
{
	bool any = false;

	MUST(t->nodes >= 1 && t->nodes <= NUMA_NODES_MAX);
	for (unsigned i = 0; i < t->nodes; i++) {
		MUST(t->id[i] <= 1023 && (i == 0 || t->id[i] > t->id[i - 1]) && t->distance[i][i] == 10);
		for (unsigned k = 0; k < t->nodes; k++) {
			MUST(t->distance[i][k] >= 10);
			MUST(!t->ps[i][k] || (t->ps[i][k] >= PS_MIN && t->ps[i][k] <= PS_MAX));
			any |= t->ps[i][k] > 0;
		}
	}
	MUST(any);
}

/* The nodes of the table and the lowest `more` that it has not. */
static void make_host(const struct latency_table *t, unsigned more, uint8_t far)
{
	memset(&map, 0, sizeof(map));
	for (unsigned id = 0, i = 0; i < t->nodes; id++) {
		const bool known = t->id[i] == id;

		if (!known && (!more || map.nodes + t->nodes - i == NUMA_NODES_MAX))
			continue;
		map.node[map.nodes++] = (struct numa_map_node){.id = id, .cpus = id % 3, .has_memory = id % 5 != 4};
		i += known;
		more -= !known;
	}
	for (unsigned a = 0; a < map.nodes; a++)
		for (unsigned b = 0; b < map.nodes; b++)
			map.distance[a][b] = a == b ? 10 : (uint8_t)(10 + (far + a) % 246);
	for (unsigned i = 0; i < t->nodes; i++)
		for (unsigned k = 0; k < t->nodes; k++)
			map.distance[numa_map_place(&map, t->id[i])][numa_map_place(&map, t->id[k])] =
				t->distance[i][k];
}

static uint32_t measured(const struct latency_table *t, unsigned from, unsigned to)
{
	for (unsigned i = 0; i < t->nodes; i++)
		for (unsigned k = 0; k < t->nodes; k++)
			if (t->id[i] == map.node[from].id && t->id[k] == map.node[to].id)
				return t->ps[i][k];
	return 0;
}

static void check_filled(const struct latency_table *t, enum latency_source source)
{
	bool scaled = false;

	for (unsigned to = 0; to < map.nodes; to++) {
		unsigned other = map.nodes;

		for (unsigned from = 0; from < map.nodes; from++) {
			const uint32_t known = measured(t, from, to);

			MUST(ps[from][to] && (!known || known == ps[from][to]));
			if (known)
				continue;
			scaled |= map.node[from].cpus && map.node[to].has_memory;
			if (other < map.nodes) {
				MUST(map.distance[from][to] != map.distance[other][to] ||
				     ps[from][to] == ps[other][to]);
				MUST(map.distance[from][to] < map.distance[other][to] || ps[from][to] >= ps[other][to]);
			}
			other = from;
		}
	}
	MUST(source == (scaled ? LATENCY_SCALED : LATENCY_MEASURED));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct failure f = {0};

	if (size < 2)
		return 0;
	if (latency_table_parse(&table, (const char *)data + 2, size - 2, &f)) {
		MUST(f.code == EXIT_IMAGE && f.text[0]);
		return 0;
	}
	check_file(&table);
	make_host(&table, data[0] % 8, data[1]);
	MUST(latency_table_check(&table, &map, &f) == 0);
	check_filled(&table, latency_table_fill(&table, &map, ps));
	return 0;
}
