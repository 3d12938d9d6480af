/* Pools and blocks: one contiguous block, its place, its return; backings that can be had anywhere. */
#include <check.h>
#undef fail
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/unit/fake_host.h"
#include "tests/unit/fake_sys.h"
#include "vmm/host.h"
#include "vmm/resident.h"

Suite *host_suite(void);

#define MIB (UINT64_C(1) << 20)

static struct memory memory;

static void open_pool(struct host *h, uint64_t bytes, bool shared, struct pool **pool)
{
	const struct pool_config config = {.backing = {.bytes = bytes, .thp = true, .shared = shared}};
	struct failure f = {0};

	ck_assert_int_eq(memory_open(&memory, &f), 0);
	ck_assert_int_eq(host_open(h, &memory, &f), 0);
	ck_assert_int_eq(host_add_pool(h, h->numa.node[0], &config, pool, &f), 0);
}

START_TEST(block_is_contiguous_and_aligned)
{
	struct host h;
	struct pool *pool;
	struct block a, b;
	struct failure f = {0};

	open_pool(&h, 64 * MIB, _i, &pool);
	ck_assert_int_eq(pool_alloc(pool, 16 * MIB, &a, &f), 0);
	ck_assert_int_eq(pool_alloc(pool, 33 * MIB, &b, &f), 0);
	ck_assert_uint_ge(a.first.n, pool->base.n);
	ck_assert_uint_eq((uintptr_t)a.host % (2 * MIB), 0);
	ck_assert_ptr_eq(b.host, pool->backing.host + (b.first.n - pool->base.n) * FRAME_BYTES);
	memset(b.host, 0x5a, b.bytes); /* all of it is there */
	pool_free(&a);
	pool_free(&b);
	ck_assert(extent_check(pool->space));
	ck_assert_uint_eq(extent_stats_read(pool->space).largest_hole, 64 * MIB / FRAME_BYTES);
	host_close(&h);
	memory_close(&memory);
}
END_TEST

START_TEST(refusal_names_the_largest_hole)
{
	struct host h;
	struct pool *pool;
	struct block a, b, c;
	struct failure f = {0};

	open_pool(&h, 64 * MIB, false, &pool);
	ck_assert_int_eq(pool_alloc(pool, 16 * MIB, &a, &f), 0);
	ck_assert_int_eq(pool_alloc(pool, 16 * MIB, &b, &f), 0);
	pool_free(&a);
	ck_assert_int_eq(pool_alloc(pool, 40 * MIB, &c, &f), EXIT_HOST);
	ck_assert_pstr_eq(
		strstr(f.text, "no contiguous"),
		"no contiguous block of 40 MiB in the pool of node 0: its largest hole is 32 MiB of 48 MiB free "
		"in 2 holes");
	host_close(&h);
	memory_close(&memory);
}
END_TEST

START_TEST(refusal_names_what_a_hole_must_begin_at)
{
	struct host h;
	struct pool *pool;
	struct block b;
	struct failure f = {0};

	open_pool(&h, 65 * MIB, false, &pool);
	ck_assert_int_eq(pool_take(pool, 0, MIB, &f), 0);
	ck_assert_int_eq(pool_alloc(pool, 64 * MIB, &b, &f), EXIT_HOST);
	ck_assert_ptr_nonnull(strstr(f.text, " holes, but none holds it from a multiple of this on: 2 MiB"));
	host_close(&h);
	memory_close(&memory);
}
END_TEST

START_TEST(no_memory_for_the_books_is_refused)
{
	const struct pool_config config = {.backing.bytes = 4 * MIB};
	struct failure f = {0};
	struct pool *pool;
	struct host h;

	ck_assert_int_eq(memory_open(&memory, &f), 0);
	ck_assert_int_eq(host_open(&h, &memory, &f), 0);
	heap_fail_after(&memory.heap, 1);
	ck_assert_int_eq(host_add_pool(&h, HOST_TABLES, &config, &pool, &f), EXIT_HOST);
	ck_assert_ptr_nonnull(strstr(f.text, "no memory for the pool's book-keeping ("));
	ck_assert_uint_eq(h.pools, 0);
	host_close(&h);
	memory_close(&memory);
}
END_TEST

START_TEST(more_than_the_host_has_is_refused)
{
	const struct backing_config config = {.bytes = UINT64_C(1) << 40};
	struct backing b;
	struct failure f = {0};

	ck_assert_int_eq(backing_open(&b, &config, &f), EXIT_HOST);
	ck_assert_ptr_nonnull(strstr(f.text, "--memory size=1 TiB is more than the host has"));
}
END_TEST

START_TEST(huge_pages_that_are_not_there_are_counted)
{
	const struct backing_config config = {.bytes = UINT64_C(8) << 30,
					      .hugepages = true,
					      .huge = _i & 2 ? PAGETABLE_1G : PAGETABLE_2M,
					      .shared = _i & 1};
	struct backing b;
	struct failure f = {0};

	if (backing_open(&b, &config, &f) == 0) { /* a host that has 4096 free */
		backing_close(&b);
		return;
	}
	ck_assert_ptr_nonnull(strstr(f.text, "hugepages=on"));
	ck_assert_int_eq(f.code, EXIT_HOST);
}
END_TEST

static uint64_t resident(const struct backing *b)
{
	struct resident_use use;

	resident_read_once(b, &use);
	ck_assert(use.known);
	return use.resident;
}

START_TEST(prefault_touches_everything)
{
	const struct backing_config config = {.bytes = 8 * MIB, .thp = _i & 1, .shared = _i & 2};
	struct backing b;
	struct failure f = {0};

	ck_assert_int_eq(backing_open(&b, &config, &f), 0);
	ck_assert_uint_eq(resident(&b), 0);
	ck_assert_int_eq(backing_prefault(&b, 0, 8 * MIB, &f), 0);
	ck_assert_uint_eq(resident(&b), 8 * MIB);
	backing_close(&b);
}
END_TEST

/* What is spared costs nothing, though huge pages would reach into it. */
START_TEST(what_is_spared_is_not_touched)
{
	const struct backing_config config = {.bytes = 8 * MIB, .thp = _i & 1, .shared = _i & 2};
	const uint64_t hole = 3 * MIB + FRAME_BYTES;
	struct backing b;
	struct failure f = {0};

	ck_assert_int_eq(backing_open(&b, &config, &f), 0);
	backing_spare(&b, hole, FRAME_BYTES);
	ck_assert_int_eq(backing_prefault(&b, 0, hole, &f), 0);
	ck_assert_int_eq(backing_prefault(&b, hole + FRAME_BYTES, 8 * MIB - hole - FRAME_BYTES, &f), 0);
	ck_assert_uint_eq(resident(&b), 8 * MIB - FRAME_BYTES);
	backing_close(&b);
}
END_TEST

START_TEST(a_history_is_taken_once)
{
	struct failure f = {0}, again = {0}, beyond = {0};
	struct pool *pool;
	struct block b;
	struct host h;

	open_pool(&h, 16 * MIB, false, &pool);
	ck_assert_int_eq(pool_take(pool, 4 * MIB, FRAME_BYTES, &f), 0);
	ck_assert_int_eq(pool_take(pool, 4 * MIB, FRAME_BYTES, &again), EXIT_USAGE);
	ck_assert_str_eq(again.text, "--pool taken=0x400000+0x1000: not free in a pool of 16 MiB");
	ck_assert_int_eq(pool_take(pool, 16 * MIB, FRAME_BYTES, &beyond), EXIT_USAGE);
	ck_assert_int_eq(pool_alloc(pool, 12 * MIB, &b, &f), EXIT_HOST); /* aligned, 10 MiB are left behind it */
	host_close(&h);
	memory_close(&memory);
}
END_TEST

START_TEST(two_pools_never_share_a_frame_number)
{
	const struct pool_config config = {.backing.bytes = 4 * MIB};
	struct host h;
	struct pool *node, *tables;
	struct failure f = {0};

	open_pool(&h, 4 * MIB, false, &node);
	ck_assert_int_eq(host_add_pool(&h, HOST_TABLES, &config, &tables, &f), 0);
	ck_assert_uint_ge(node->base.n, (tables->base.n * FRAME_BYTES + HOST_POOL_BYTES_MAX) / FRAME_BYTES);
	host_close(&h);
	memory_close(&memory);
}
END_TEST

/* Ids are sparse, up to 1023, and frame numbers have 46 bits less a page's. */
START_TEST(nodes_beyond_begin_anew)
{
	const struct pool_config config = {.backing.bytes = 4 * MIB};
	struct host h;
	struct pool *last, *first, *pool;
	struct failure f = {0};

	ck_assert_int_eq(memory_open(&memory, &f), 0);
	ck_assert_int_eq(host_open(&h, &memory, &f), 0);
	ck_assert_int_eq(host_add_pool(&h, HOST_NODES_MAX - 1, &config, &last, &f), 0);
	ck_assert_uint_le((last->base.n << FRAME_SHIFT) + HOST_POOL_BYTES_MAX, UINT64_C(1) << HOST_PHYS_BITS);
	ck_assert_int_eq(host_add_pool(&h, 0, &config, &first, &f), 0);
	ck_assert_int_eq(host_add_pool(&h, HOST_NODES_MAX, &config, &pool, &f), 0);
	ck_assert_uint_eq(pool->base.n, first->base.n + (UINT64_C(1) << 30) / FRAME_BYTES);
	ck_assert_uint_eq(pool->node, HOST_NODES_MAX);
	host_close(&h);
	memory_close(&memory);
}
END_TEST

/* ---- more than one pool on a node, and device-dax among them ---- */

static struct host many;
static struct fake_sys sys;

static void open_host(void)
{
	struct failure f = {0};

	fake_sys_open(&sys);
	ck_assert_int_eq(memory_open(&memory, &f), 0);
	ck_assert_int_eq(host_open(&many, &memory, &f), 0);
}

static void close_host(void)
{
	host_close(&many);
	memory_close(&memory);
	fake_sys_close(&sys);
}

static int add_dax(const char *name, uint64_t resource, uint64_t bytes, struct pool **pool, struct failure *f)
{
	const struct fake_dax dax = {.name = name, .bytes = bytes, .align = 2 * MIB, .resource = resource, .node = 70};
	struct pool_config config = {.backing = {.bytes = bytes, .root = sys.root}};
	char file[64], path[PATH_MAX];

	fake_dax_add(&sys, &dax);
	snprintf(file, sizeof(file), "/dev/%s", name);
	fake_sys_path(&sys, path, file);
	config.backing.devdax = path;
	return host_add_pool(&many, many.numa.node[0], &config, pool, f);
}

static void no_number_is_shared(void)
{
	for (unsigned i = 0; i < many.pools; i++)
		for (unsigned k = 0; k < i; k++) {
			const struct pool *a = &many.pool[i], *b = &many.pool[k];

			ck_assert(a->base.n + a->backing.bytes / FRAME_BYTES <= b->base.n ||
				  b->base.n + b->backing.bytes / FRAME_BYTES <= a->base.n);
		}
}

START_TEST(frames_of_a_dax_are_the_host_s)
{
	const uint64_t resource = UINT64_C(5) << 30;
	struct failure f = {0};
	struct pool *pool;
	struct block a, b;

	ck_assert_int_eq(add_dax("dax0.0", resource, 16 * MIB, &pool, &f), 0);
	ck_assert_uint_eq(pool->base.n, resource / FRAME_BYTES);
	ck_assert_uint_eq(pool->node, 70); /* where it is, whatever was said; frame numbers do not come from it */
	ck_assert_int_eq(pool_alloc(pool, 4 * MIB, &a, &f), 0);
	ck_assert_int_eq(pool_alloc(pool, 6 * MIB, &b, &f), 0);
	ck_assert_uint_eq(a.first.n, resource / FRAME_BYTES);
	ck_assert_uint_eq(b.first.n, (resource + 4 * MIB) / FRAME_BYTES);
	ck_assert_ptr_eq(b.host, pool->backing.host + 4 * MIB);
	pool_free(&a);
	pool_free(&b);
	ck_assert(extent_check(pool->space));
}
END_TEST

START_TEST(a_dax_is_wiped_when_nothing_is_refused_any_more)
{
	struct failure f = {0};
	struct pool *pool;
	char path[PATH_MAX];
	int fd;

	ck_assert_int_eq(add_dax("dax0.0", 5 << 20, 4 * MIB, &pool, &f), EXIT_HOST); /* 5 MiB is no multiple of 2 */
	f = (struct failure){0};
	fake_sys_write(&sys, "/sys/bus/dax/devices/dax0.0/resource", "0x40000000\n");
	fake_sys_path(&sys, path, "/dev/dax0.0");
	fd = open(path, O_RDWR | O_CLOEXEC);
	ck_assert_int_eq(pwrite(fd, "old", 3, MIB), 3);
	close(fd);
	ck_assert_int_eq(
		host_add_pool(&many, 0,
			      &(struct pool_config){.backing = {.bytes = 4 * MIB, .devdax = path, .root = sys.root}},
			      &pool, &f),
		0);
	ck_assert_uint_eq(pool->backing.host[MIB], 'o');
	ck_assert_int_eq(add_dax("dax1.0", 0x40000000, 4 * MIB, &pool, &f), EXIT_HOST); /* where the first is */
	f = (struct failure){0};
	ck_assert_uint_eq(many.pool[0].backing.host[MIB], 'o');
	ck_assert_int_eq(host_clear(&many, &f), 0);
	ck_assert_uint_eq(many.pool[0].backing.host[MIB], 0);
}
END_TEST

START_TEST(a_dax_where_others_are_is_refused)
{
	const uint64_t end = UINT64_C(1) << HOST_PHYS_BITS;
	struct failure f = {0}, beyond = {0}, edge = {0}, at_edge = {0}, over = {0};
	struct pool *pool;
	char room[96];

	ck_assert_int_eq(add_dax("dax0.0", UINT64_C(8) << 30, 8 * MIB, &pool, &f), 0);
	ck_assert_int_eq(add_dax("dax1.0", (UINT64_C(8) << 30) + 6 * MIB, 8 * MIB, &pool, &f), EXIT_HOST);
	ck_assert_ptr_nonnull(strstr(f.text, "dax1.0 is at physical 0x200600000, and another pool has those frame "
					     "numbers already: 0x200000000 on for 8 MiB"));
	ck_assert_int_eq(add_dax("dax2.0", (UINT64_C(8) << 30) + 8 * MIB, 8 * MIB, &pool, &edge), 0);
	ck_assert_int_eq(add_dax("dax3.0", end, 8 * MIB, &pool, &beyond), EXIT_HOST);
	snprintf(room, sizeof(room),
		 "dax3.0 is at physical 0x%" PRIx64 ", and frame numbers have room for what is below", end);
	ck_assert_ptr_nonnull(strstr(beyond.text, room));
	ck_assert_int_eq(add_dax("dax4.0", end - 6 * MIB, 8 * MIB, &pool, &over), EXIT_HOST);
	ck_assert_int_eq(add_dax("dax5.0", end - 8 * MIB, 8 * MIB, &pool, &at_edge), 0);
	ck_assert_uint_eq(many.pools, 3);
	no_number_is_shared();
}
END_TEST

START_TEST(numbers_go_around_what_is_taken)
{
	const struct pool_config config = {.backing.bytes = 4 * MIB};
	const unsigned node = HOST_NODES_MAX - 1;
	const uint64_t last = (uint64_t)HOST_NODES_MAX << (HOST_POOL_SHIFT - FRAME_SHIFT);
	const uint64_t giant = (UINT64_C(1) << 30) / FRAME_BYTES;
	struct failure f = {0};
	struct pool *pool;

	ck_assert_int_eq(add_dax("dax0.0", (last << FRAME_SHIFT) + 2 * MIB, 8 * MIB, &pool, &f), 0);
	ck_assert_int_eq(host_add_pool(&many, node, &config, &pool, &f), 0);
	ck_assert_uint_eq(pool->base.n, last + giant); /* as a 1G page wants it */
	ck_assert_int_eq(host_add_pool(&many, node, &config, &pool, &f), 0);
	ck_assert_uint_eq(pool->base.n, last + 2 * giant);
	ck_assert_int_eq(host_add_pool(&many, 0, &config, &pool, &f), 0);
	ck_assert_uint_eq(pool->base.n, UINT64_C(1) << (HOST_POOL_SHIFT - FRAME_SHIFT));
	ck_assert_int_eq(host_add_pool(&many, HOST_TABLES, &config, &pool, &f), 0);
	ck_assert_uint_eq(pool->base.n, 0);
	ck_assert_int_eq(host_add_pool(&many, HOST_TABLES, &config, &pool, &f), 0);
	ck_assert_uint_eq(pool->base.n, giant);
	no_number_is_shared();
}
END_TEST

/* The last TiB is full: from the first node's on. */
START_TEST(numbers_begin_anew_at_the_end)
{
	const struct pool_config config = {.backing = {.bytes = 4 * MIB}};
	const uint64_t end = UINT64_C(1) << (HOST_PHYS_BITS - FRAME_SHIFT), bytes = UINT64_C(1) << HOST_POOL_SHIFT;
	struct failure f = {0}, none = {0};
	struct pool *pool;

	for (unsigned node = HOST_NODES_MAX; node-- > 0;) { /* as if they were so large */
		ck_assert_int_eq(host_add_pool(&many, node, &config, &pool, &f), 0);
		if (node)
			pool->backing.bytes = bytes;
	}
	ck_assert_int_eq(host_add_pool(&many, HOST_NODES_MAX - 1, &config, &pool, &f), 0);
	ck_assert_uint_eq(pool->base.n, (bytes + (UINT64_C(1) << 30)) / FRAME_BYTES); /* behind node 0's 4 MiB */
	no_number_is_shared();
	pool->backing.bytes = bytes - (UINT64_C(1) << 30);
	ck_assert_int_eq(host_add_pool(&many, 5, &config, &pool, &none), EXIT_HOST);
	ck_assert_str_eq(none.text, "no frame numbers are left for a pool of 4 MiB");
	for (unsigned i = 0; i < many.pools; i++) {
		ck_assert_uint_le(many.pool[i].base.n, end);
		many.pool[i].backing.bytes = 4 * MIB;
	}
}
END_TEST

START_TEST(pools_are_counted)
{
	struct pool_config config = {.backing = {.bytes = 2 * MIB, .zone = "--memory-zone id=z"}};
	struct failure f = {0};
	struct pool *pool;

	for (unsigned i = 0; i < HOST_POOLS_MAX; i++)
		ck_assert_int_eq(host_add_pool(&many, 0, &config, &pool, &f), 0);
	no_number_is_shared();
	ck_assert_int_eq(host_add_pool(&many, 0, &config, &pool, &f), EXIT_HOST);
	ck_assert_str_eq(f.text, "--memory-zone id=z: there are 65 pools already, which is all that can be");
}
END_TEST

START_TEST(a_pool_that_is_too_large_is_refused)
{
	const struct pool_config config = {
		.backing = {.bytes = HOST_POOL_BYTES_MAX + 4096, .zone = "--memory-zone id=z"}};
	struct failure f = {0};
	struct pool *pool;

	ck_assert_int_eq(host_add_pool(&many, 0, &config, &pool, &f), EXIT_HOST);
	ck_assert_ptr_nonnull(strstr(f.text, ": a pool holds "));
	ck_assert_uint_eq(many.pools, 0);
}
END_TEST

/* ---- the mirror ---- */

static struct pool *add_pool(const struct pool_config *config)
{
	struct failure f = {0};
	struct pool *pool;

	ck_assert_msg(host_add_pool(&many, many.numa.node[0], config, &pool, &f) == 0, "%s", f.text);
	return pool;
}

static bool is_mapped(const uint8_t *at)
{
	unsigned char in_core;

	return mincore((void *)(uintptr_t)at, FRAME_BYTES, &in_core) == 0;
}

START_TEST(pools_lie_where_their_numbers_say)
{
	const bool shared = _i & 1, lock = _i & 2, no_dump = _i & 4;
	const struct pool_config config = {
		.backing = {.bytes = 4 * MIB, .shared = shared, .lock = lock, .no_dump = no_dump, .thp = true}};
	struct failure f = {0};
	struct pool *pool[3];
	struct block b;

	ck_assert_int_eq(host_mirror(&many, &f), 0);
	ck_assert_uint_eq((uintptr_t)many.mirror % (UINT64_C(1) << 30), 0);
	for (unsigned i = 0; i < 2; i++)
		pool[i] = add_pool(&config);
	ck_assert_int_eq(add_dax("dax0.0", UINT64_C(5) << 30, 4 * MIB, &pool[2], &f), 0);
	for (unsigned i = 0; i < 3; i++) {
		ck_assert_ptr_eq(pool[i]->backing.host, many.mirror + pool[i]->base.n * FRAME_BYTES);
		ck_assert_int_eq(pool_alloc(pool[i], 2 * MIB, &b, &f), 0);
		ck_assert_ptr_eq(b.host, many.mirror + b.first.n * FRAME_BYTES);
		ck_assert_int_eq(backing_prefault(&pool[i]->backing, 0, 4 * MIB, &f), 0);
		memset(pool[i]->backing.host, (int)i + 1, 4 * MIB);
		ck_assert_ptr_eq(host_pool_of(&many, b.first), pool[i]);
		ck_assert_ptr_eq(host_pool_of(&many, (struct pfn){pool[i]->base.n + 4 * MIB / FRAME_BYTES - 1}),
				 pool[i]);
		ck_assert_ptr_null(host_pool_of(&many, (struct pfn){pool[i]->base.n + 4 * MIB / FRAME_BYTES}));
		ck_assert_ptr_null(host_pool_of(&many, (struct pfn){pool[i]->base.n - 1}));
		pool_free(&b);
	}
	for (unsigned i = 0; i < 3; i++)
		ck_assert_uint_eq(pool[i]->backing.host[4 * MIB - 1], i + 1);
	ck_assert_uint_eq(resident(&pool[0]->backing), 4 * MIB);
	ck_assert_uint_eq(resident(&pool[1]->backing), 4 * MIB);
}
END_TEST

/* A kernel before 5.16 does not move huge pages. */
START_TEST(nothing_is_moved_into_the_mirror)
{
	const struct pool_config config = {.backing = {.bytes = 4 * MIB, .shared = _i}};
	struct failure f = {0};

	fake_host_refuse_if(SYS_mremap, 3, MREMAP_MAYMOVE | MREMAP_FIXED, EINVAL);
	ck_assert_int_eq(host_mirror(&many, &f), 0);
	ck_assert_ptr_eq(add_pool(&config)->backing.host, many.mirror + many.pool[0].base.n * FRAME_BYTES);
}
END_TEST

/* Locked, it is more than the process may: mapped, and refused then. */
START_TEST(a_refused_backing_leaves_the_mirror_whole)
{
	const struct pool_config config = {.backing = {.bytes = 4 * MIB, .lock = true}};
	const struct rlimit most = {MIB, MIB};
	struct failure f = {0};
	struct pool *pool;

	ck_assert_int_eq(host_mirror(&many, &f), 0);
	ck_assert_int_eq(setrlimit(RLIMIT_MEMLOCK, &most), 0);
	fake_host_refuse_if(SYS_mlock2, 2, MLOCK_ONFAULT, EPERM);
	ck_assert_int_eq(host_add_pool(&many, many.numa.node[0], &config, &pool, &f), EXIT_HOST);
	/* A page behind: out of step with the guest's addresses. */
	ck_assert(is_mapped(many.mirror + (many.numa.node[0] + 1) * HOST_POOL_BYTES_MAX + FRAME_BYTES));
	ck_assert_uint_eq(many.pools, 0);
}
END_TEST

START_TEST(what_a_short_mirror_does_not_reach_is_refused)
{
	const struct pool_config config = {.backing = {.bytes = 4 * MIB}};
	struct failure f = {0};
	struct pool *pool;
	uint64_t all;

	ck_assert_int_eq(host_mirror(&many, &f), 0);
	all = many.mirror_bytes;
	many.mirror_bytes = (many.numa.node[0] + 1) * HOST_POOL_BYTES_MAX + 2 * MIB;
	ck_assert_int_eq(host_add_pool(&many, many.numa.node[0], &config, &pool, &f), EXIT_HOST);
	ck_assert_ptr_nonnull(strstr(f.text, "this process may not have the addresses for a pool whose frames begin"));
	many.mirror_bytes = all;
	ck_assert_uint_eq(many.pools, 0);
}
END_TEST

/* The kernel makes one mapping of two of one kind that touch, and shows one sum. */
START_TEST(whole_gigabytes_do_not_touch)
{
	const struct pool_config config = {.backing = {.bytes = 1024 * MIB}};
	struct failure f = {0};
	struct pool *a, *b;

	ck_assert_int_eq(host_mirror(&many, &f), 0);
	a = add_pool(&config);
	b = add_pool(&config);
	ck_assert_int_eq(backing_prefault(&a->backing, 1020 * MIB, 4 * MIB, &f), 0);
	ck_assert_int_eq(backing_prefault(&b->backing, 0, 2 * MIB, &f), 0);
	ck_assert_uint_eq(resident(&a->backing), 4 * MIB);
	ck_assert_uint_eq(resident(&b->backing), 2 * MIB);
}
END_TEST

/* So that no leaf is larger than a page of the pool's, wherever the guest has it. */
START_TEST(numbers_are_out_of_step_with_guest_addresses)
{
	static const uint64_t gpas[] = {0, FRAME_BYTES, 2 * MIB, 3 * MIB, 1022 * MIB, 1023 * MIB, 4096 * MIB};
	struct failure f = {0};

	ck_assert_int_eq(host_mirror(&many, &f), 0);
	for (unsigned i = 0; i < 2 * sizeof(gpas) / sizeof(gpas[0]); i++) {
		const uint64_t gpa = gpas[i / 2];
		const struct pool_config config = {.backing = {.bytes = 4 * MIB, .thp = i % 2}, .gpa = gpa};
		const struct pool *pool = add_pool(&config);
		const uint64_t page = pagetable_size_bytes(pool->backing.leaf), first = pool->base.n * FRAME_BYTES;

		ck_assert_uint_eq(first % page, 0);
		ck_assert_uint_ne((first - gpa) % (512 * page), 0);
		ck_assert(gpa % page || (first - gpa) % page == 0);
		ck_assert_ptr_eq(pool->backing.host, many.mirror + first);
	}
}
END_TEST

START_TEST(the_table_s_pool_stays_out_of_the_mirror)
{
	const struct pool_config config = {.backing = {.bytes = 2 * MIB}};
	struct failure f = {0};
	struct pool *tables;

	ck_assert_int_eq(host_mirror(&many, &f), 0);
	ck_assert_int_eq(host_add_pool(&many, HOST_TABLES, &config, &tables, &f), 0);
	ck_assert(tables->backing.host < many.mirror || tables->backing.host >= many.mirror + many.mirror_bytes);
	ck_assert_ptr_null(host_pool_of(&many, tables->base));
}
END_TEST

/* A pool that is refused after it came there leaves the place empty and ours. */
START_TEST(a_refused_pool_leaves_the_mirror_whole)
{
	const struct pool_config config = {.backing = {.bytes = 4 * MIB}};
	struct failure f = {0}, none = {0};
	const uint8_t *at, *mirror;
	struct pool *pool;

	ck_assert_int_eq(host_mirror(&many, &f), 0);
	mirror = many.mirror;
	at = mirror + HOST_POOL_BYTES_MAX + FRAME_BYTES; /* out of step by a page */
	heap_fail_after(&memory.heap, 1);
	ck_assert_int_eq(host_add_pool(&many, 0, &config, &pool, &f), EXIT_HOST);
	ck_assert_ptr_nonnull(strstr(f.text, "no memory for the pool's book-keeping ("));
	ck_assert(is_mapped(at));
	ck_assert_int_eq(host_add_pool(&many, 0, &config, &pool, &none), 0);
	ck_assert_ptr_eq(pool->backing.host, at);
	host_close(&many);
	ck_assert(!is_mapped(at) && !is_mapped(mirror));
	ck_assert_int_eq(host_open(&many, &memory, &none), 0); /* for the fixture */
}
END_TEST

Suite *host_suite(void)
{
	Suite *s = suite_create("host");
	TCase *t = tcase_create("host");

	tcase_set_timeout(t, 30);
	tcase_add_loop_test(t, block_is_contiguous_and_aligned, 0, 2);
	tcase_add_test(t, no_memory_for_the_books_is_refused);
	tcase_add_test(t, refusal_names_the_largest_hole);
	tcase_add_test(t, refusal_names_what_a_hole_must_begin_at);
	tcase_add_test(t, more_than_the_host_has_is_refused);
	tcase_add_loop_test(t, huge_pages_that_are_not_there_are_counted, 0, 4);
	tcase_add_loop_test(t, prefault_touches_everything, 0, 4);
	tcase_add_loop_test(t, what_is_spared_is_not_touched, 0, 4);
	tcase_add_test(t, a_history_is_taken_once);
	tcase_add_test(t, two_pools_never_share_a_frame_number);
	tcase_add_test(t, nodes_beyond_begin_anew);
	suite_add_tcase(s, t);
	t = tcase_create("numbers");
	tcase_set_timeout(t, 30);
	tcase_add_checked_fixture(t, open_host, close_host);
	tcase_add_test(t, frames_of_a_dax_are_the_host_s);
	tcase_add_test(t, a_dax_is_wiped_when_nothing_is_refused_any_more);
	tcase_add_test(t, a_dax_where_others_are_is_refused);
	tcase_add_test(t, numbers_go_around_what_is_taken);
	tcase_add_test(t, numbers_begin_anew_at_the_end);
	tcase_add_test(t, pools_are_counted);
	tcase_add_test(t, a_pool_that_is_too_large_is_refused);
	suite_add_tcase(s, t);
	t = tcase_create("mirror");
	tcase_set_timeout(t, 30);
	tcase_add_checked_fixture(t, open_host, close_host);
	tcase_add_loop_test(t, pools_lie_where_their_numbers_say, 0, 8);
	tcase_add_loop_test(t, nothing_is_moved_into_the_mirror, 0, 2);
	tcase_add_test(t, a_refused_backing_leaves_the_mirror_whole);
	tcase_add_test(t, what_a_short_mirror_does_not_reach_is_refused);
	tcase_add_test(t, whole_gigabytes_do_not_touch);
	tcase_add_test(t, numbers_are_out_of_step_with_guest_addresses);
	tcase_add_test(t, the_table_s_pool_stays_out_of_the_mirror);
	tcase_add_test(t, a_refused_pool_leaves_the_mirror_whole);
	suite_add_tcase(s, t);
	return s;
}
