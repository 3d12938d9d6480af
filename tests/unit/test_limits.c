/* What the process may use, by fake /proc and groups of both versions, nested, in containers, and with contents that no
 * kernel writes; and this process's own.
 * Not seen: that the kernel ends who exceeds a limit. */
#include "vmm/limits.h"

#include <check.h>
#undef fail
#include <sys/resource.h>

#include "tests/unit/fake_host.h"
#include "tests/unit/random.h"

Suite *limits_suite(void);

#define MIB  (UINT64_C(1) << 20)
#define NONE "9223372036854771712\n" /* of v1 */
#define V2   "31 23 0:28 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
#define V1   "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:3 - cgroup cgroup rw,memory\n"

static struct fake_host fake;
static struct limits l;

static void setup(void)
{
	fake_host_open(&fake);
}

static void teardown(void)
{
	fake_host_close(&fake);
}

static void read_limits(void)
{
	struct failure f = {0};

	ck_assert_msg(limits_read(fake.root, &l, &f) == 0, "%s", f.text);
	ck_assert_int_eq(l.group_max_bytes == LIMITS_NONE, l.group_room_bytes == LIMITS_NONE);
	ck_assert_uint_le(l.group_room_bytes, l.group_max_bytes);
}

static void put_bytes(uint64_t bytes, const char *group, const char *file)
{
	char text[32];

	snprintf(text, sizeof(text), "%lu\n", (unsigned long)bytes);
	fake_host_put(&fake, text, "%s/%s", group, file);
}

static void put_proc(const char *membership, const char *mounts)
{
	fake_host_put(&fake, membership, "/proc/self/cgroup");
	fake_host_put(&fake, mounts, "/proc/self/mountinfo");
}

static void put_v2(const char *group, uint64_t max_mib, uint64_t now_mib, uint64_t cache_mib)
{
	char text[128];

	put_bytes(max_mib * MIB, group, "memory.max");
	put_bytes(now_mib * MIB, group, "memory.current");
	snprintf(text, sizeof(text), "anon 5\nfile 9\ninactive_file %lu\nactive_file %lu\nworkingset_x 1\n",
		 (unsigned long)(cache_mib * MIB / 2), (unsigned long)(cache_mib * MIB / 2));
	fake_host_put(&fake, text, "%s/memory.stat", group);
}

START_TEST(nothing_to_read_limits_nothing)
{
	struct failure f = {0};
	struct ids far = {0};

	read_limits();
	ids_add(&far, 8191);
	ck_assert_int_eq(limits_check_nodes(&l, "x", &far, &f), 0);
	ck_assert_int_eq(limits_check_memory(&l, "x", UINT64_MAX, &f), 0);
	ck_assert_uint_eq(l.group_max_bytes, LIMITS_NONE);
	ck_assert_str_eq(l.group, "");
}
END_TEST

START_TEST(lists_of_the_cpuset)
{
	struct failure f = {0};
	struct ids asked = {0};

	fake_host_put(&fake,
		      "Name:\tslat\nVmLck:\t     128 kB\nCapEff:\t000001ffffffbfff\nCpus_allowed:\tff\n"
		      "Cpus_allowed_list:\t0-3,8\nMems_allowed:\t1\nMems_allowed_list:\t0,63",
		      "/proc/self/status");
	read_limits();
	ck_assert_str_eq(ids_format(&l.cpus).s, "0-3,8");
	ck_assert_str_eq(ids_format(&l.nodes).s, "0,63");
	ck_assert_uint_eq(l.locked_bytes, 128 << 10);
	ids_add(&asked, 63);
	ck_assert_int_eq(limits_check_nodes(&l, "--zone", &asked, &f), 0);
	ids_add(&asked, 1);
	ids_add(&asked, 0);
	ck_assert_int_eq(limits_check_nodes(&l, "--zone", &asked, &f), EXIT_HOST);
	ck_assert_str_eq(f.text,
			 "--zone: memory node 1 is outside the cpuset that slat was started in, which allows 0,63");
}
END_TEST

START_TEST(lists_that_are_none)
{
	static const char *const bad[] = {"Cpus_allowed_list:\tall\n", "Mems_allowed_list:\t0-99999\n",
					  "Mems_allowed_list:\t1-0\n"};

	for (unsigned i = 0; i < 3; i++) {
		struct failure f = {0};

		fake_host_put(&fake, bad[i], "/proc/self/status");
		ck_assert_int_eq(limits_read(fake.root, &l, &f), EXIT_HOST);
		ck_assert_ptr_nonnull(strstr(f.text, "no lists of allowed CPUs and nodes"));
	}
}
END_TEST

/* The tightest is not the own one: room is 100 - (70 - 20), against 400 - 60 below and no limit above. */
START_TEST(v2_up_the_tree)
{
	struct failure f = {0};

	put_proc("0::/a.slice/b/c\n", V2);
	put_v2("/sys/fs/cgroup/a.slice/b/c", 400, 60, 0);
	put_v2("/sys/fs/cgroup/a.slice/b", 100, 70, 20);
	fake_host_put(&fake, "max\n", "/sys/fs/cgroup/a.slice/memory.max");
	read_limits();
	ck_assert_uint_eq(l.group_max_bytes, 100 * MIB);
	ck_assert_uint_eq(l.group_room_bytes, 50 * MIB);
	ck_assert_str_eq(l.group, "/sys/fs/cgroup/a.slice/b");
	ck_assert_int_eq(limits_check_memory(&l, "--memory", 50 * MIB, &f), 0);
	ck_assert_int_eq(limits_check_memory(&l, "--memory", 51 * MIB, &f), EXIT_HOST);
	ck_assert_str_eq(f.text, "--memory: 51 MiB asked, and the control group /sys/fs/cgroup/a.slice/b has room for "
				 "50 MiB of its limit of 100 MiB: raise that, or ask for less");
	put_v2("/sys/fs/cgroup/a.slice/b/c", 40, 60, 0); /* over its limit: no room at all */
	read_limits();
	ck_assert_uint_eq(l.group_room_bytes, 0);
	put_v2("/sys/fs/cgroup/a.slice/b/c", 40, 6, 8); /* cache that grew between two reads */
	read_limits();
	ck_assert_uint_eq(l.group_room_bytes, 40 * MIB);
	put_v2("/sys/fs/cgroup", 8, 1, 0); /* a container's own, at the mount */
	read_limits();
	ck_assert_uint_eq(l.group_room_bytes, 7 * MIB);
}
END_TEST

START_TEST(v1_beside_v2)
{
	put_proc("9:name=systemd:/x\n3:memoryx,xmemory:/no\n5:cpu,memory,x:/y/z\n0::/x\n", V2 V1);
	fake_host_put(&fake, NONE, "/sys/fs/cgroup/memory/y/z/memory.limit_in_bytes");
	read_limits();
	ck_assert_uint_eq(l.group_room_bytes, LIMITS_NONE);
	put_bytes(64 * MIB, "/sys/fs/cgroup/memory/y", "memory.limit_in_bytes");
	put_bytes(32 * MIB, "/sys/fs/cgroup/memory/y", "memory.usage_in_bytes");
	fake_host_put(&fake, "active_file 1\ntotal_active_file 4194304\ntotal_inactive_file 4194304\n",
		      "/sys/fs/cgroup/memory/y/memory.stat");
	fake_host_put(&fake, NONE, "/sys/fs/cgroup/memory/memory.limit_in_bytes");
	read_limits();
	ck_assert_uint_eq(l.group_max_bytes, 64 * MIB);
	ck_assert_uint_eq(l.group_room_bytes, 40 * MIB);
	ck_assert_str_eq(l.group, "/sys/fs/cgroup/memory/y");
	put_v2("/sys/fs/cgroup/x", 30, 0, 0); /* the tighter of both */
	read_limits();
	ck_assert_uint_eq(l.group_room_bytes, 30 * MIB);
}
END_TEST

/* Each size by itself; promises count as those in use do, and an own group is none for another controller. */
START_TEST(huge_pages_of_both_versions)
{
	struct failure f = {0};

	put_proc("5:hugetlb:/h\n4:memory:/m\n0::/a/b\n",
		 V2 V1 "36 31 0:33 / /sys/fs/cgroup/hugetlb rw shared:3 - cgroup cgroup rw,hugetlb\n");
	put_bytes(MIB, "/sys/fs/cgroup/memory/h", "memory.limit_in_bytes");
	put_bytes(MIB, "/sys/fs/cgroup/hugetlb/m", "hugetlb.2MB.limit_in_bytes");
	fake_host_put(&fake, NONE, "/sys/fs/cgroup/hugetlb/h/hugetlb.2MB.limit_in_bytes");
	fake_host_put(&fake, "max\n", "/sys/fs/cgroup/a/b/hugetlb.1GB.max");
	read_limits();
	ck_assert_uint_eq(l.group_room_bytes, LIMITS_NONE);
	for (unsigned size = 0; size < NUMA_HUGE_SIZES; size++)
		ck_assert_int_eq(limits_check_huge(&l, "x", (enum numa_huge_size)size, UINT64_MAX, &f), 0);
	put_bytes(64 * MIB, "/sys/fs/cgroup/a", "hugetlb.2MB.max");
	put_bytes(24 * MIB, "/sys/fs/cgroup/a", "hugetlb.2MB.current");
	read_limits();
	ck_assert_int_eq(limits_check_huge(&l, "--memory", NUMA_HUGE_1G, UINT64_MAX, &f), 0);
	ck_assert_int_eq(limits_check_huge(&l, "--memory", NUMA_HUGE_2M, 40 * MIB, &f), 0);
	ck_assert_int_eq(limits_check_huge(&l, "--memory", NUMA_HUGE_2M, 42 * MIB, &f), EXIT_HOST);
	ck_assert_str_eq(f.text,
			 "--memory: 42 MiB of huge pages of 2 MiB asked, and the control group /sys/fs/cgroup/a has "
			 "room for 40 MiB of its limit of 64 MiB: raise that, or ask for less");
	put_bytes(32 * MIB, "/sys/fs/cgroup/a/b", "hugetlb.2MB.rsvd.max");
	put_bytes(1024 * MIB, "/sys/fs/cgroup/hugetlb", "hugetlb.1GB.rsvd.limit_in_bytes");
	put_bytes(1024 * MIB, "/sys/fs/cgroup/hugetlb", "hugetlb.1GB.rsvd.usage_in_bytes");
	read_limits();
	ck_assert_uint_eq(l.huge[NUMA_HUGE_2M].room_bytes, 32 * MIB);
	ck_assert_str_eq(l.huge[NUMA_HUGE_2M].group, "/sys/fs/cgroup/a/b");
	f = (struct failure){0};
	ck_assert_int_eq(limits_check_huge(&l, "--memory", NUMA_HUGE_1G, 1024 * MIB, &f), EXIT_HOST);
	ck_assert_ptr_nonnull(strstr(f.text,
				     "1 GiB of huge pages of 1 GiB asked, and the control group /sys/fs/cgroup/hugetlb "
				     "has room for 0 bytes of its limit of 1 GiB"));
	put_bytes(MIB, "/sys/fs/cgroup/hugetlb/h", "hugetlb.2MB.limit_in_bytes");
	put_bytes(2 * MIB, "/sys/fs/cgroup/hugetlb/h", "hugetlb.2MB.usage_in_bytes");
	read_limits();
	ck_assert_uint_eq(l.huge[NUMA_HUGE_2M].room_bytes, 0);
	ck_assert_uint_eq(l.group_room_bytes, LIMITS_NONE);
}
END_TEST

static void put_huge_node(unsigned id, unsigned small, unsigned giant)
{
	char text[16];

	fake_host_put(&fake, "9\n", "/sys/devices/system/node/node%u/cpulist", id);
	for (unsigned i = 0; i < 2; i++) {
		const char *size = i ? "1048576" : "2048";

		snprintf(text, sizeof(text), "%u\n", i ? giant : small);
		fake_host_put(&fake, text, "/sys/devices/system/node/node%u/hugepages/hugepages-%skB/nr_hugepages", id,
			      size);
		fake_host_put(&fake, text, "/sys/devices/system/node/node%u/hugepages/hugepages-%skB/free_hugepages",
			      id, size);
	}
}

/* As the kernel's hugetlb_acct_memory() does: those promised count for the host, those free for the cpuset. */
START_TEST(huge_pages_that_can_be_had)
{
	static struct numa_map map;
	struct failure f = {0};

	put_proc("0::/a\n", V2);
	fake_host_put(&fake, "0-1\n", "/sys/devices/system/node/online");
	fake_host_put(&fake, "0-1\n", "/sys/devices/system/node/has_memory");
	put_huge_node(0, 4, 1);
	put_huge_node(1, 6, 0);
	fake_host_put(&fake, "3\n", "/sys/kernel/mm/hugepages/hugepages-2048kB/resv_hugepages");
	ck_assert_int_eq(numa_map_read(fake.root, &map, &f), 0);
	read_limits();
	ck_assert_uint_eq(limits_huge_pages(&l, &map, NUMA_HUGE_2M), 4 + 6 - 3);
	ck_assert_uint_eq(limits_huge_pages(&l, &map, NUMA_HUGE_1G), 1);
	ck_assert_int_eq(limits_check_huge_nodes(&l, &map, "x", NUMA_HUGE_2M, 7, &f), 0);
	fake_host_put(&fake, "Cpus_allowed_list:\t0\nMems_allowed_list:\t0\n", "/proc/self/status");
	read_limits();
	ck_assert_uint_eq(limits_huge_pages(&l, &map, NUMA_HUGE_2M), 4);
	ck_assert_int_eq(limits_check_huge_nodes(&l, &map, "x", NUMA_HUGE_2M, 4, &f), 0);
	ck_assert_int_eq(limits_check_huge_nodes(&l, &map, "x", NUMA_HUGE_2M, 8, &f), 0); /* nobody has them */
	ck_assert_int_eq(limits_check_huge_nodes(&l, &map, "x", NUMA_HUGE_2M, 5, &f), EXIT_HOST);
	ck_assert_str_eq(f.text,
			 "x: 5 huge pages of 2 MiB asked, and nodes 0, which are the cpuset that slat was started "
			 "in, have 4 free; this host has 7: start slat in a larger cpuset, or ask for less");
	put_bytes(6 * MIB, "/sys/fs/cgroup/a", "hugetlb.2MB.max");
	put_bytes(3 * MIB, "/sys/fs/cgroup/a", "hugetlb.1GB.max");
	read_limits();
	ck_assert_uint_eq(limits_huge_pages(&l, &map, NUMA_HUGE_2M), 3);
	ck_assert_uint_eq(limits_huge_pages(&l, &map, NUMA_HUGE_1G), 0);
	map.huge_promised[NUMA_HUGE_2M] = 10;
	ck_assert_uint_eq(limits_huge_pages(&l, &map, NUMA_HUGE_2M), 0);
	map.huge_promised[NUMA_HUGE_2M] = 11; /* between two reads */
	ck_assert_uint_eq(limits_huge_pages(&l, &map, NUMA_HUGE_2M), 0);
}
END_TEST

struct container {
	const char *membership, *mounts, *group; /* group: where the limit stands that counts */
};

static const struct container containers[] = {
	/* the container's group is what is mounted, alone or with some below it */
	{"0::/docker/x\n", "1 1 0:1 /docker/x /sys/fs/cgroup ro - cgroup2 c rw\n", "/sys/fs/cgroup"},
	{"0::/docker/x/y\n", "1 1 0:1 /docker/x /sys/fs/cgroup ro - cgroup2 c rw\n", "/sys/fs/cgroup/y"},
	/* a namespace of groups, seen from its root and from outside */
	{"0::/\n", "1 1 0:1 / /sys/fs/cgroup ro - cgroup2 c rw\n", "/sys/fs/cgroup"},
	{"0::/../z\n", "1 1 0:1 / /sys/fs/cgroup ro - cgroup2 c rw\n", "/sys/fs/cgroup"},
	/* not below what is mounted: names that only begin alike */
	{"0::/docker/xyz\n", "1 1 0:1 /docker/x /sys/fs/cgroup ro - cgroup2 c rw\n", "/sys/fs/cgroup"},
	/* blanks and backslashes; other mounts before it, cut ones too */
	{"0::/a b\n",
	 "junk\n1 1 0:1 /\n1 1 - x\n1 1 0:1 / /x rw - tmpfs t rw\n1 1 0:1 / /m\\040\\134n rw - cgroup2 c rw\n",
	 "/m \\n/a b"},
	{"4:memory:/g\n", "1 1 0:1 / /m rw - cgroup c rw,cpu\n1 1 0:1 / /n rw - cgroup c rw,memory\n", "/n/g"},
};

START_TEST(containers_show_a_part)
{
	const struct container *c = &containers[_i];

	put_proc(c->membership, c->mounts);
	put_bytes(1 * MIB, "/sys/fs", "memory.max"); /* outside of what is mounted */
	put_bytes(7 * MIB, c->group, c->membership[0] == '0' ? "memory.max" : "memory.limit_in_bytes");
	read_limits();
	ck_assert_uint_eq(l.group_max_bytes, 7 * MIB);
	ck_assert_uint_eq(l.group_room_bytes, 7 * MIB);
	ck_assert_str_eq(l.group, c->group);
}
END_TEST

/* The walk ends at the mount: a limit that lies beside is nobody's. */
START_TEST(no_group_no_limit)
{
	static const char *const memberships[] = {"", "0::\n", "0:\n", "junk\n", "0:x:/a\n", "0::a\n"};

	for (unsigned i = 0; i < 6; i++) {
		put_proc(memberships[i], V2);
		put_bytes(MIB, "/sys/fs/cgroup/a", "memory.max");
		put_bytes(MIB, "/sys/fs", "memory.max");
		put_bytes(MIB, "", "memory.max");
		read_limits();
		ck_assert_uint_eq(l.group_room_bytes, LIMITS_NONE);
	}
	put_proc("0::/b\n", V2);
	read_limits();
	ck_assert_uint_eq(l.group_room_bytes, LIMITS_NONE);
}
END_TEST

/* Names of any length: sentences have their end; beyond PATH_MAX there is no such file. */
START_TEST(long_names)
{
	static char name[9000], line[9100];
	char deep[512] = "";

	for (unsigned i = 0; i < 10; i++)
		strcat(deep, "/abcdefghijklmnopqrstuvwxyz");
	snprintf(line, sizeof(line), "0::%s\n", deep);
	put_proc(line, V2);
	snprintf(line, sizeof(line), "/sys/fs/cgroup%s", deep);
	put_bytes(MIB, line, "memory.max");
	read_limits();
	ck_assert_uint_eq(l.group_room_bytes, MIB);
	ck_assert_uint_eq(strlen(l.group), sizeof(l.group) - 1);
	ck_assert_str_eq(l.group + strlen(l.group) - 10, "qrstuvwxyz");
	memset(name, 'x', sizeof(name) - 1);
	for (unsigned i = 0; i < 3; i++) {
		static const unsigned lengths[] = {4095, 4094, 8999};

		name[0] = '/';
		name[lengths[i]] = '\0';
		snprintf(line, sizeof(line), "0::%s\n", name);
		put_proc(line, V2);
		read_limits();
		snprintf(line, sizeof(line), "1 1 0:1 / %s rw - cgroup2 c rw\n", name);
		put_proc("0::/a\n", line);
		read_limits();
		ck_assert_uint_eq(l.group_room_bytes, LIMITS_NONE);
		name[lengths[i]] = 'x';
	}
}
END_TEST

START_TEST(any_bytes)
{
	static const char *const files[] = {"/proc/self/cgroup", "/proc/self/mountinfo", "/sys/fs/cgroup/a/memory.max",
					    "/sys/fs/cgroup/a/memory.stat", "/proc/self/status"};
	static const char *const words[] = {"0",
					    "::",
					    "/a",
					    "\n",
					    " - ",
					    "cgroup2",
					    "memory",
					    ",",
					    "\\",
					    "1",
					    "active_file ",
					    "8",
					    "/../",
					    " ",
					    "CapEff:\t",
					    ":",
					    "\t",
					    "-",
					    "VmLck:\t",
					    "9",
					    "max",
					    "/",
					    "Mems_allowed_list:",
					    "04"};

	seed(3);
	put_proc("0::/a\n", V2);
	put_v2("/sys/fs/cgroup/a", 9, 5, 1);
	for (unsigned round = 0; round < 600; round++) {
		struct failure f = {0};
		char text[512] = "";

		for (unsigned i = (unsigned)below(20); i > 0; i--)
			strcat(text, words[below(24)]);
		fake_host_put(&fake, text, "%s", files[below(5)]);
		if (limits_read(fake.root, &l, &f) == 0 && l.group_room_bytes > l.group_max_bytes)
			ck_abort_msg("%s: more room than its limit", text);
		if (round % 20 == 0)
			put_proc("0::/a\n", V2);
	}
}
END_TEST

START_TEST(addresses)
{
	struct rlimit before, lower;
	struct failure f = {0};

	ck_assert_int_eq(getrlimit(RLIMIT_AS, &before), 0);
	lower = before;
	lower.rlim_cur = UINT64_C(1) << 50; /* above what a sanitizer takes */
	ck_assert_int_eq(setrlimit(RLIMIT_AS, &lower), 0);
	ck_assert_int_eq(limits_check_addresses("--memory", 8 * MIB, MIB, &f), 0);
	ck_assert_int_eq(limits_check_addresses("--memory", UINT64_C(1) << 50, UINT64_MAX / 2, &f), EXIT_HOST);
	ck_assert_ptr_nonnull(
		strstr(f.text, "--memory: 1024 TiB cannot be mapped, for the limit of this process is 1024 TiB of "
			       "addresses (RLIMIT_AS), of which "));
	ck_assert_ptr_nonnull(strstr(f.text, " are taken: raise it (ulimit -v, LimitAS=)"));
	f = (struct failure){0};
	ck_assert_int_eq(limits_check_addresses("x", UINT64_C(1) << 50, 0, &f),
			 EXIT_HOST); /* these, and those it has */
	ck_assert_int_eq(setrlimit(RLIMIT_AS, &before), 0);
}
END_TEST

START_TEST(locking)
{
	struct rlimit before, lower;
	struct failure f = {0};

	ck_assert_int_eq(getrlimit(RLIMIT_MEMLOCK, &before), 0);
	lower = before;
	lower.rlim_cur = MIB;
	ck_assert_int_eq(setrlimit(RLIMIT_MEMLOCK, &lower), 0);
	fake_host_put(&fake, "VmLck:\t256 kB\nCapEff:\t0000000000000000\n", "/proc/self/status");
	read_limits();
	ck_assert_uint_eq(l.lock_max_bytes, MIB);
	ck_assert_int_eq(limits_check_lock(&l, "--memory", MIB - (256 << 10), &f), 0);
	ck_assert_int_eq(limits_check_lock(&l, "--memory", MIB, &f), EXIT_HOST);
	ck_assert_str_eq(f.text, "--memory: 1 MiB cannot be locked (mlock=on), for the limit of this process is 1 MiB "
				 "(RLIMIT_MEMLOCK), of "
				 "which 256 KiB are locked: raise it (ulimit -l, LimitMEMLOCK=), or give slat "
				 "CAP_IPC_LOCK");
	f = (struct failure){0};
	l.locked_bytes = 2 * MIB;
	ck_assert_int_eq(limits_check_lock(&l, "x", 0, &f), EXIT_HOST);
	f = (struct failure){0};
	fake_host_put(&fake, "CapEff:\t0000000000004000\n", "/proc/self/status");
	read_limits();
	ck_assert_uint_eq(l.lock_max_bytes, LIMITS_NONE);
	ck_assert_int_eq(limits_check_lock(&l, "x", UINT64_MAX, &f), 0);
	ck_assert_int_eq(setrlimit(RLIMIT_MEMLOCK, &before), 0);
}
END_TEST

START_TEST(own_limits)
{
	struct failure f = {0};

	ck_assert_int_eq(limits_read("", &l, &f), 0);
	ck_assert_uint_gt(ids_count(&l.cpus), 0);
	ck_assert_uint_lt(ids_count(&l.cpus), IDS_MAX);
	ck_assert_uint_gt(ids_count(&l.nodes), 0);
}
END_TEST

Suite *limits_suite(void)
{
	Suite *s = suite_create("limits");
	TCase *t = tcase_create("limits");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, nothing_to_read_limits_nothing);
	tcase_add_test(t, lists_of_the_cpuset);
	tcase_add_test(t, lists_that_are_none);
	tcase_add_test(t, v2_up_the_tree);
	tcase_add_test(t, v1_beside_v2);
	tcase_add_test(t, huge_pages_of_both_versions);
	tcase_add_test(t, huge_pages_that_can_be_had);
	tcase_add_loop_test(t, containers_show_a_part, 0, sizeof(containers) / sizeof(containers[0]));
	tcase_add_test(t, no_group_no_limit);
	tcase_add_test(t, long_names);
	tcase_add_test(t, any_bytes);
	tcase_add_test(t, addresses);
	tcase_add_test(t, locking);
	tcase_add_test(t, own_limits);
	suite_add_tcase(s, t);
	return s;
}
