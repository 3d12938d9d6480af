/* The chain that a latency is measured on, and that a measurement is one.
 * Not seen: whether the figure is true; more than one node (the rig). */
#include <check.h>
#undef fail
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/latency.h"

Suite *latency_suite(void);

#define LINE 64u

/* One cycle through every line, back at the start after as many steps and not before. */
START_TEST(chain_is_one_cycle)
{
	const uint64_t bytes = UINT64_C(4096) << _i, lines = bytes / LINE;
	uint8_t *host = aligned_alloc(4096, bytes), *seen = calloc(lines, 1), *at = host;

	latency_chain(host, bytes);
	for (uint64_t step = 0; step < lines; step++) {
		const uint64_t offset = (uint64_t)(at - host);

		ck_assert_uint_lt(offset, bytes);
		ck_assert_uint_eq(offset % LINE, 0);
		ck_assert_uint_eq(seen[offset / LINE], 0);
		seen[offset / LINE] = 1;
		at = *(uint8_t **)(void *)at;
	}
	ck_assert_ptr_eq(at, host);
	free(seen);
	free(host);
}
END_TEST

/* No stride, near or far, is common: a prefetcher would need one. */
START_TEST(chain_has_no_stride)
{
	const uint64_t bytes = UINT64_C(16) << 20, lines = bytes / LINE;
	uint32_t *strides = calloc(2 * lines, sizeof(*strides)), most = 0;
	uint8_t *host = aligned_alloc(4096, bytes), *at = host;
	uint64_t near = 0;

	latency_chain(host, bytes);
	for (uint64_t step = 0; step < lines; step++) {
		uint8_t *next;
		uint32_t *stride;

		next = *(uint8_t **)(void *)at;
		near += labs((long)(next - at)) < 4096;
		stride = &strides[(uint64_t)((next - at) / (long)LINE + (long)lines)];
		if (++*stride > most)
			most = *stride;
		at = next;
	}
	ck_assert_uint_lt(most, 64);
	ck_assert_uint_lt(near, lines / 500); /* 1 in 2000 by chance */
	free(strides);
	free(host);
}
END_TEST

START_TEST(this_host_has_a_latency)
{
	static struct numa_map map;
	static struct latency measured;
	struct limits limits;
	struct failure f = {0};
	cpu_set_t before, after;
	struct numa numa;

	ck_assert_int_eq(numa_map_read("", &map, &f), 0);
	ck_assert_int_eq(limits_read("", &limits, &f), 0);
	ck_assert_int_eq(numa_open(&numa, &f), 0);
	ck_assert_int_eq(sched_getaffinity(0, sizeof(before), &before), 0);
	ck_assert_int_eq(latency_measure(&numa, &map, &limits, &measured, &f), 0);
	ck_assert_int_eq(sched_getaffinity(0, sizeof(after), &after), 0);
	ck_assert(CPU_EQUAL(&before, &after));
	for (unsigned i = 0; i < map.nodes; i++)
		for (unsigned k = 0; k < map.nodes; k++)
			if (measured.ps[i][k]) {
				ck_assert_uint_gt(measured.ps[i][k], 5000);
				ck_assert(map.node[i].cpus && map.node[k].has_memory);
			}
	numa_close_library(&numa);
}
END_TEST

/* Nodes that have no room, no CPUs that slat may use, or that are not allowed are left out, and nothing is refused. */
START_TEST(what_cannot_be_measured_is_not)
{
	static struct numa_map map;
	static struct latency measured;
	struct limits limits;
	struct failure f = {0};
	struct numa numa;

	ck_assert_int_eq(numa_map_read("", &map, &f), 0);
	ck_assert_int_eq(limits_read("", &limits, &f), 0);
	ck_assert_int_eq(numa_open(&numa, &f), 0);
	if (_i == 0)
		for (unsigned i = 0; i < map.nodes; i++)
			map.node[i].free_bytes = 1 << 20;
	else if (_i == 1)
		limits.group_room_bytes = 1 << 20;
	else if (_i == 2)
		limits.nodes = (struct ids){0};
	else
		for (unsigned i = 0; i < map.nodes; i++)
			map.node[i].has_memory = false;
	ck_assert_int_eq(latency_measure(&numa, &map, &limits, &measured, &f), 0);
	ck_assert_uint_eq(measured.ps[0][0], 0);
	ck_assert_uint_eq(measured.bytes, 0);
	numa_close_library(&numa);
}
END_TEST

Suite *latency_suite(void)
{
	Suite *s = suite_create("latency");
	TCase *t = tcase_create("latency");

	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, chain_is_one_cycle, 0, 12);
	tcase_add_test(t, chain_has_no_stride);
	tcase_add_test(t, this_host_has_a_latency);
	tcase_add_loop_test(t, what_cannot_be_measured_is_not, 0, 4);
	suite_add_tcase(s, t);
	return s;
}
