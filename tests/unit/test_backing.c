/* Backings beyond the plain ones: device-dax (a fake sysfs, a plain file as the device), huge pages by node, locked
 * memory, many workers, and how contiguous it all is.
 * Not seen: a device-dax that is one (the rig), huge pages that run out while they are touched. */
#include <check.h>
#undef fail
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include "tests/unit/fake_sys.h"
#include "vmm/backing.h"
#include "vmm/contiguity.h"
#include "vmm/devdax.h"
#include "vmm/numa_map.h"
#include "vmm/prefault.h"
#include "vmm/resident.h"

Suite *backing_suite(void);

#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

static struct fake_sys sys;
static char dax_path[PATH_MAX];

static void setup(void)
{
	fake_sys_open(&sys);
	fake_sys_path(&sys, dax_path, "/dev/dax0.0");
}

static void teardown(void)
{
	fake_sys_close(&sys);
}

static const struct fake_dax plain = {
	.name = "dax0.0", .bytes = 16 * MIB, .align = 2 * MIB, .resource = UINT64_C(5) << 30, .node = 1};

static struct backing_config dax_config(uint64_t bytes)
{
	return (struct backing_config){
		.bytes = bytes, .devdax = dax_path, .root = sys.root, .zone = "--memory-zone id=z"};
}

static void refused(const struct backing_config *config, const char *sentence)
{
	struct failure f = {0};
	struct backing b;

	ck_assert_int_eq(backing_open(&b, config, &f), EXIT_HOST);
	if (!strstr(f.text, sentence))
		ck_abort_msg("not '%s' but '%s'", sentence, f.text);
	ck_assert_ptr_null(b.host);
	ck_assert_int_eq(b.fd, -1);
}

static const struct resident_use *use_of(const struct backing *b)
{
	static struct resident_use use;

	resident_read_once(b, &use);
	return &use;
}

/* ---- device-dax ---- */

START_TEST(dax_is_mapped_as_it_lies)
{
	const struct backing_config config = dax_config(8 * MIB);
	struct failure f = {0};
	struct contiguity c;
	struct backing b;

	fake_dax_add(&sys, &plain);
	ck_assert_int_eq(backing_open(&b, &config, &f), 0);
	ck_assert_int_eq(b.kind, BACKING_DEVDAX);
	ck_assert_str_eq(backing_kind_name(b.kind), "devdax");
	ck_assert(b.physical);
	ck_assert_uint_eq(b.first.n, (UINT64_C(5) << 30) / FRAME_BYTES);
	ck_assert_int_eq(b.leaf, PAGETABLE_2M);
	ck_assert_uint_eq(b.node, 1);
	ck_assert_uint_eq((uintptr_t)b.host % (2 * MIB), 0);
	ck_assert_str_eq(b.note, "");
	memset(b.host, 0x5a, b.bytes); /* all of it is there */
	ck_assert_int_eq(backing_prefault(&b, 0, b.bytes, &f), 0);
	ck_assert_uint_eq(b.host[8 * MIB - 1], 0x5a); /* prefault leaves it alone */
	backing_spare(&b, FRAME_BYTES, FRAME_BYTES);
	ck_assert_uint_eq(use_of(&b)->resident, 8 * MIB);
	ck_assert_uint_eq(use_of(&b)->huge, 8 * MIB);
	c = contiguity_read(&b, 0, b.bytes, -1);
	ck_assert(c.known && c.runs == 1 && c.bytes == 8 * MIB && c.largest_bytes == 8 * MIB);
	ck_assert_uint_eq(contiguity_read(&b, 0, 0, -1).runs, 0);
	backing_close(&b);
}
END_TEST

START_TEST(dax_of_another_user_is_wiped)
{
	struct backing_config config = dax_config(8 * MIB);
	struct failure f = {0};
	struct backing b;
	uint8_t was;
	int fd;

	fake_dax_add(&sys, &plain);
	fd = open(dax_path, O_RDWR | O_CLOEXEC);
	for (uint64_t at = 0; at < 16 * MIB; at += FRAME_BYTES / 2)
		ck_assert_int_eq(pwrite(fd, "secret", 6, (off_t)at), 6);
	config.workers = 2;
	ck_assert_int_eq(backing_open(&b, &config, &f), 0);
	ck_assert_uint_eq(b.host[0], 's'); /* who is refused after this has destroyed nothing */
	ck_assert_int_eq(backing_clear(&b, &f), 0);
	for (uint64_t at = 0; at < b.bytes; at++)
		if (b.host[at]) /* each ck_assert costs a write: not 8 million of them */
			ck_abort_msg("byte %" PRIu64 " is 0x%x", at, b.host[at]);
	backing_close(&b);
	ck_assert_int_eq(pread(fd, &was, 1, 8 * MIB), 1);
	ck_assert_uint_eq(was, 's'); /* what was not asked for is not ours */
	close(fd);
}
END_TEST

START_TEST(dax_pages_are_its_alignment)
{
	static const enum pagetable_size leaf[] = {PAGETABLE_4K, PAGETABLE_2M, PAGETABLE_1G};
	struct fake_dax d = plain;
	struct backing_config config = dax_config(GIB);
	struct failure f = {0};
	struct backing b;

	d.bytes = GIB;
	d.align = pagetable_size_bytes(leaf[_i]);
	fake_dax_add(&sys, &d);
	ck_assert_int_eq(backing_open(&b, &config, &f), 0);
	ck_assert_int_eq(b.leaf, leaf[_i]);
	ck_assert_uint_eq((uintptr_t)b.host % d.align, 0);
	ck_assert_uint_eq(use_of(&b)->huge, _i ? GIB : 0);
	backing_close(&b);
}
END_TEST

START_TEST(dax_is_refused_with_a_sentence)
{
	struct backing_config config = dax_config(16 * MIB);
	struct fake_dax d = plain;

	fake_dax_add(&sys, &d);
	config.bytes = 18 * MIB;
	refused(&config, "--memory-zone id=z size=18 MiB is more than ");
	config.bytes = 3 * MIB;
	refused(&config, "is mapped in pages of 2 MiB, so ask for a multiple of that");
	config.bytes = 0;
	refused(&config, "is mapped in pages of 2 MiB");
	config.bytes = 16 * MIB;
	config.on_node = true;
	refused(&config, "dax0.0 is memory of node 1, not of node 0");
	config.on_node = false;
	config.devdax = "/dev/dax7.7";
	refused(&config, "--memory-zone id=z: file=/dev/dax7.7 is not a device-dax that this host has "
			 "(/sys/bus/dax/devices/dax7.7)");
	config.devdax = "/dev/";
	refused(&config, "--memory-zone id=z: file=/dev/ is not a device-dax");
	config.devdax = "/nowhere/dax0.0";
	refused(&config, "--memory-zone id=z: cannot open /nowhere/dax0.0: No such file or directory");
	d.name = "dax1.0";
	d.driver = "../../drivers/kmem";
	fake_dax_add(&sys, &d);
	config.devdax = "/dev/dax1.0";
	refused(&config, "--memory-zone id=z: file=/dev/dax1.0 is not a device-dax at present: another driver has its "
			 "memory, or none; as root: daxctl reconfigure-device --mode=devdax dax1.0");
	d = plain;
	d.name = "dax2.0";
	d.scattered = true;
	fake_dax_add(&sys, &d);
	config.devdax = "/dev/dax2.0";
	refused(&config, "--memory-zone id=z: file=/dev/dax2.0 lies in several physical ranges");
	d = plain;
	d.name = "dax3.0";
	d.resource += FRAME_BYTES;
	fake_dax_add(&sys, &d);
	config.devdax = "/dev/dax3.0";
	refused(&config, "--memory-zone id=z: file=/dev/dax3.0 has 16 MiB at physical 0x140001000, which does not "
			 "agree with its alignment of 2 MiB");
}
END_TEST

/* A file of that name, and another device: neither is touched, let alone wiped. */
START_TEST(what_has_only_a_dax_s_name_is_refused)
{
	struct backing_config config = dax_config(16 * MIB);
	struct stat null;

	fake_dax_add(&sys, &plain);
	ck_assert_int_eq(stat("/dev/null", &null), 0);
	fake_sys_write(&sys, "/sys/bus/dax/devices/dax0.0/dev", "%u:%u\n", major(null.st_rdev), minor(null.st_rdev));
	refused(&config, "dax0.0 is not the device dax0.0 but something of its name");
	ck_assert_int_eq(unlink(dax_path), 0);
	ck_assert_int_eq(symlink("/dev/zero", dax_path), 0);
	refused(&config, "dax0.0 is not the device dax0.0 but something of its name");
	ck_assert_int_eq(unlink(dax_path), 0);
	ck_assert_int_eq(symlink("/dev/null", dax_path), 0);
	refused(&config, ": cannot map ");
}
END_TEST

START_TEST(dax_is_one_user_s)
{
	const struct backing_config config = dax_config(8 * MIB);
	struct failure f = {0};
	struct backing b;

	fake_dax_add(&sys, &plain);
	ck_assert_int_eq(backing_open(&b, &config, &f), 0);
	refused(&config, "dax0.0 is in use by another slat");
	backing_close(&b);
	ck_assert_int_eq(backing_open(&b, &config, &f), 0);
	backing_close(&b);
}
END_TEST

START_TEST(dax_of_unknown_address_is_not_physical)
{
	struct fake_dax d = plain;
	const struct backing_config config = dax_config(8 * MIB);
	struct failure f = {0};
	struct backing b;

	d.resource = 0;
	d.node = -1;
	fake_dax_add(&sys, &d);
	ck_assert_int_eq(backing_open(&b, &config, &f), 0);
	ck_assert(!b.physical);
	ck_assert_uint_eq(b.node, BACKING_NODE_ANY);
	ck_assert_uint_eq(contiguity_read(&b, 0, b.bytes, -1).runs, 1); /* it is one range, wherever that is */
	ck_assert_ptr_nonnull(strstr(b.note, "only root may read the physical address of "));
	backing_close(&b);
}
END_TEST

struct seen {
	unsigned count;
	struct devdax device[4];
};

static void see(void *self, const struct devdax *d)
{
	struct seen *s = self;

	s->device[s->count++] = *d;
}

START_TEST(all_dax_are_listed)
{
	struct fake_dax d = plain;
	struct seen s = {0};

	ck_assert_uint_eq(devdax_list(sys.root, see, &s), 0);
	d.name = "dax10.0";
	d.driver = "../kmem";
	fake_dax_add(&sys, &d);
	fake_dax_add(&sys, &plain);
	fake_sys_write(&sys, "/sys/bus/dax/devices/dax3.0/size", "none\n"); /* half of one */
	ck_assert_uint_eq(devdax_list(sys.root, see, &s), 2);
	ck_assert_uint_eq(s.count, 2);
	ck_assert_str_eq(s.device[0].name, "dax0.0");
	ck_assert(s.device[0].usable && s.device[0].node == 1 && s.device[0].bytes == 16 * MIB);
	ck_assert_str_eq(s.device[1].name, "dax10.0");
	ck_assert(!s.device[1].usable);
}
END_TEST

/* ---- huge pages by node ---- */

static void fake_huge(const char *directory, unsigned total, unsigned unused, unsigned promised)
{
	char file[PATH_MAX];

	snprintf(file, sizeof(file), "%s/hugepages-2048kB/nr_hugepages", directory);
	fake_sys_write(&sys, file, "%u\n", total);
	snprintf(file, sizeof(file), "%s/hugepages-2048kB/free_hugepages", directory);
	fake_sys_write(&sys, file, "%u\n", unused);
	snprintf(file, sizeof(file), "%s/hugepages-2048kB/resv_hugepages", directory);
	fake_sys_write(&sys, file, "%u\n", promised);
}

START_TEST(huge_pages_are_counted_by_node)
{
	static struct numa_map map;
	struct backing_config config = {
		.bytes = 1024 * 2 * MIB, .hugepages = true, .huge = PAGETABLE_2M, .on_node = true, .map = &map};
	struct failure f = {0};

	fake_sys_write(&sys, "/sys/devices/system/node/online", "0,2\n");
	fake_sys_write(&sys, "/sys/devices/system/node/has_memory", "0,2\n");
	fake_huge("/sys/kernel/mm/hugepages", 700, 600, 0);
	fake_huge("/sys/devices/system/node/node0/hugepages", 400, 350, 0);
	fake_huge("/sys/devices/system/node/node2/hugepages", 300, 250, 0);
	ck_assert_int_eq(numa_map_read(sys.root, &map, &f), 0);
	config.node = 2;
	refused(&config, "--memory hugepages=on: 1024 huge pages of 2 MiB asked of node 2, which has 250 free of 300; "
			 "350 are free elsewhere: write 1074 to /sys/devices/system/node/node2/hugepages/");
	config.zone = "--memory-zone id=z";
	refused(&config, "--memory-zone id=z: 1024 huge pages");
	config.node = 1;
	refused(&config, "--memory-zone id=z: this host has no node 1");
	config.node = 2;
	config.huge = PAGETABLE_1G;
	refused(&config, "--memory-zone id=z: 2 huge pages of 1 GiB asked of node 2, which has 0 free");
}
END_TEST

/* ---- options of mappings ---- */

/* Of the mapping that the backing is, the line of smaps that begins so. */
static bool smaps_line(const struct backing *b, const char *key, char *line, int size)
{
	FILE *smaps = fopen("/proc/self/smaps", "re");
	bool inside = false, found = false;
	uint64_t first, end;

	while (!found && fgets(line, size, smaps)) {
		if (sscanf(line, "%" SCNx64 "-%" SCNx64 " ", &first, &end) == 2)
			inside = first <= (uintptr_t)b->host && end > (uintptr_t)b->host;
		found = inside && strncmp(line, key, strlen(key)) == 0;
	}
	fclose(smaps);
	return found;
}

static bool flagged(const struct backing *b, const char *flag)
{
	char line[512];

	ck_assert(smaps_line(b, "VmFlags:", line, sizeof(line)));
	return strstr(line, flag) != NULL;
}

START_TEST(core_files_and_reservations)
{
	struct backing_config config = {.bytes = 8 * MIB, .shared = _i & 1, .no_dump = _i & 2, .reserve = _i & 4};
	struct failure f = {0};
	struct backing b;

	if (config.shared && config.reserve) { /* nobody could have it */
		refused(&config, "--memory: reserve=on: the kernel counts a memfd as it is touched");
		return;
	}
	ck_assert_int_eq(backing_open(&b, &config, &f), 0);
	ck_assert_int_eq(flagged(&b, " dd"), config.no_dump);
	ck_assert_int_eq(flagged(&b, " nr"), !config.reserve);
	ck_assert(!b.locked);
	backing_close(&b);
}
END_TEST

/* So that numa_maps has it first. The sanitizers have those addresses for themselves. */
START_TEST(it_lies_below_the_program)
{
	const struct backing_config config = {.bytes = 4 * MIB, .shared = _i};
	struct backing b[2];
	struct failure f = {0};

	for (unsigned i = 0; i < 2; i++) {
		ck_assert_int_eq(backing_open(&b[i], &config, &f), 0);
		ck_assert_uint_eq((uintptr_t)b[i].host % (2 * MIB), 0);
#if !defined(__SANITIZE_THREAD__) && !defined(__SANITIZE_ADDRESS__)
		ck_assert_uint_lt((uintptr_t)b[i].host, (uintptr_t)&backing_suite);
#endif
	}
	ck_assert_ptr_ne(b[0].host, b[1].host);
	backing_close(&b[0]);
	backing_close(&b[1]);
}
END_TEST

START_TEST(locked_memory_is_what_was_touched)
{
	const struct backing_config config = {.bytes = 4 * MIB, .shared = _i, .lock = true};
	const struct rlimit most = {4 * MIB, 4 * MIB};
	struct failure f = {0};
	struct backing b;
	char line[256];

	ck_assert_int_eq(setrlimit(RLIMIT_MEMLOCK, &most), 0);
	ck_assert_int_eq(backing_open(&b, &config, &f), 0);
	ck_assert(b.locked);
	ck_assert(flagged(&b, " lo"));
	ck_assert(smaps_line(&b, "Rss:", line, sizeof(line)));
	ck_assert_ptr_nonnull(strstr(line, " 0 kB"));
	backing_close(&b);
}
END_TEST

/* Root may lock all it wants: as somebody else. */
START_TEST(more_than_may_be_locked_is_refused)
{
	const struct rlimit most = {_i ? MIB : 0, _i ? MIB : 0};
	struct backing_config config = {.bytes = 4 * MIB, .lock = true};

	ck_assert_int_eq(setrlimit(RLIMIT_MEMLOCK, &most), 0);
	if (geteuid() == 0)
		ck_assert_int_eq(syscall(SYS_setresuid, 65534, 65534, 65534), 0);
	refused(&config, _i ? "--memory mlock=on: this process may lock 1 MiB (RLIMIT_MEMLOCK), not 4 MiB; raise it"
			    : "may lock 0 bytes (RLIMIT_MEMLOCK)");
	config.zone = "--memory-zone id=z";
	refused(&config, "--memory-zone id=z: this process may lock ");
}
END_TEST

START_TEST(shared_memory_without_huge_pages_is_said)
{
	const struct backing_config config = {.bytes = 8 * MIB, .thp = _i & 1, .shared = _i & 2};
	struct failure f = {0};
	struct backing b;

	ck_assert_int_eq(backing_open(&b, &config, &f), 0);
	ck_assert_int_eq(b.note[0] != '\0', _i == 3 && b.leaf == PAGETABLE_4K);
	if (b.note[0])
		ck_assert_ptr_nonnull(strstr(b.note, "shared memory gets no transparent huge pages on this host "
						     "(shmem_enabled is "));
	backing_close(&b);
}
END_TEST

/* ---- workers ---- */

static void refuse_call(unsigned number, unsigned third, unsigned error)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, third, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog program = {sizeof(code) / sizeof(*code), code};

	ck_assert_int_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	ck_assert_int_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

static uint64_t resident_of(const struct backing *b)
{
	return use_of(b)->resident;
}

/* By any number of workers, from anywhere on: all of it and nothing else, and what was there stays. */
START_TEST(every_page_is_touched_once)
{
	static const unsigned workers[] = {0, 1, 2, 7, 200};
	const struct backing_config config = {
		.bytes = 128 * MIB, .shared = _i & 1, .workers = workers[(unsigned)_i / 4]};
	const uint64_t from = 5 * FRAME_BYTES, bytes = 100 * MIB + FRAME_BYTES;
	struct failure f = {0};
	struct backing b;

	if (_i & 2)
		refuse_call(__NR_madvise, 23, EINVAL); /* as a kernel before 5.14 */
	ck_assert_int_eq(backing_open(&b, &config, &f), 0);
	b.host[from + 50 * MIB] = 0x77;
	ck_assert_int_eq(backing_prefault(&b, from, bytes, &f), 0);
	ck_assert_uint_eq(b.host[from + 50 * MIB], 0x77);
	ck_assert_uint_eq(resident_of(&b), bytes);
	ck_assert_int_eq(backing_prefault(&b, 0, 0, &f), 0);
	ck_assert_uint_eq(resident_of(&b), bytes);
	backing_close(&b);
}
END_TEST

START_TEST(workers_keep_to_their_cpus)
{
	struct backing_config config = {.bytes = 64 * MIB, .workers = 3};
	struct failure f = {0};
	cpu_set_t before, after;
	struct ids cpus = {0};
	struct backing b;
	int cpu = 0;

	ck_assert_int_eq(sched_getaffinity(0, sizeof(before), &before), 0);
	while (!CPU_ISSET(cpu, &before))
		cpu++;
	ids_add(&cpus, _i ? IDS_MAX - 1 : (unsigned)cpu); /* the last one is not there: it goes on where it is */
	config.cpus = &cpus;
	config.workers = _i ? 0 : 3;
	ck_assert_int_eq(backing_open(&b, &config, &f), 0);
	ck_assert_int_eq(backing_prefault(&b, 0, b.bytes, &f), 0);
	ck_assert_uint_eq(resident_of(&b), b.bytes);
	ck_assert_int_eq(sched_getaffinity(0, sizeof(after), &after), 0);
	ck_assert(CPU_EQUAL(&before, &after));
	backing_close(&b);
}
END_TEST

#define TOUCHES 4u

static cpu_set_t touched_on[TOUCHES]; /* where whoever touched a page may run */
static unsigned touches;

/* A page that may not be touched was: it may be from now on. */
static void note_touch(int number, siginfo_t *info, void *context)
{
	void *page = (void *)((uintptr_t)info->si_addr & ~(uintptr_t)(FRAME_BYTES - 1));
	const unsigned n = __atomic_fetch_add(&touches, 1, __ATOMIC_RELAXED);

	(void)number, (void)context;
	if (n >= TOUCHES || sched_getaffinity(0, sizeof(touched_on[n]), &touched_on[n]) ||
	    mprotect(page, FRAME_BYTES, PROT_READ | PROT_WRITE))
		_exit(1);
}

/* Not just the caller: each worker that touches a page. */
START_TEST(pages_are_touched_from_their_cpus)
{
	const struct sigaction catch = {.sa_sigaction = note_touch, .sa_flags = SA_SIGINFO | SA_NODEFER};
	struct backing_config config = {.bytes = 64 * MIB, .workers = 3};
	struct failure f = {0};
	struct ids cpus = {0};
	cpu_set_t before;
	struct backing b;
	unsigned last = 0;

	ck_assert_int_eq(sched_getaffinity(0, sizeof(before), &before), 0);
	for (unsigned cpu = 0; cpu < CPU_SETSIZE; cpu++)
		last = CPU_ISSET(cpu, &before) ? cpu : last;
	ids_add(&cpus, last);
	config.cpus = &cpus;
	refuse_call(__NR_madvise, 23, EINVAL); /* as a kernel before 5.14 */
	ck_assert_int_eq(backing_open(&b, &config, &f), 0);
	ck_assert_int_eq(sigaction(SIGSEGV, &catch, NULL), 0);
	for (uint64_t at = 0; at < b.bytes; at += 16 * MIB) /* a page of each piece */
		ck_assert_int_eq(mprotect(b.host + at, FRAME_BYTES, PROT_NONE), 0);
	ck_assert_int_eq(backing_prefault(&b, 0, b.bytes, &f), 0);
	ck_assert_uint_eq(touches, TOUCHES);
	for (unsigned n = 0; n < TOUCHES; n++)
		ck_assert(CPU_COUNT(&touched_on[n]) == 1 && CPU_ISSET(last, &touched_on[n]));
	backing_close(&b);
}
END_TEST

START_TEST(refusal_of_the_host_ends_it)
{
	static const struct {
		int error;
		const char *sentence;
	} hosts[] = {{ENOMEM, "--memory-zone id=z: the host could not provide all of 64 MiB: Cannot allocate memory"},
		     {EFAULT, "--memory-zone id=z: the host could not provide all of 64 MiB: Bad address"}};
	const struct backing_config config = {.bytes = 64 * MIB, .workers = 2, .zone = "--memory-zone id=z"};
	struct failure f = {0}, huge = {0};
	struct backing b;

	ck_assert_int_eq(backing_open(&b, &config, &f), 0);
	refuse_call(__NR_madvise, 23, (unsigned)hosts[_i].error);
	ck_assert_int_eq(backing_prefault(&b, 0, b.bytes, &f), EXIT_HOST);
	ck_assert_str_eq(f.text, hosts[_i].sentence);
	b.kind = BACKING_HUGETLB;
	ck_assert_int_eq(backing_prefault(&b, 0, b.bytes, &huge), EXIT_HOST);
	ck_assert_int_eq(strstr(huge.text, "ran out of huge pages before the guest had its 64 MiB") != NULL, _i == 1);
	backing_close(&b);
}
END_TEST

START_TEST(a_signal_ends_it_early)
{
	static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
	const struct backing_config config = {.bytes = 512 * MIB, .workers = 2};
	struct failure f = {0};
	struct backing b;
	sigset_t held;

	sigemptyset(&held);
	sigaddset(&held, signals[_i]);
	ck_assert_int_eq(sigprocmask(SIG_BLOCK, &held, NULL), 0);
	ck_assert_int_eq(backing_open(&b, &config, &f), 0);
	ck_assert_int_eq(kill(getpid(), signals[_i]), 0);
	ck_assert_int_eq(backing_prefault(&b, 0, b.bytes, &f), EXIT_SIGNAL);
	ck_assert_str_eq(f.text, "ended by a signal before the guest had its 512 MiB");
	ck_assert_uint_lt(resident_of(&b), 512 * MIB);
	backing_close(&b);
}
END_TEST

/* Threads cannot be had: the caller alone does it. */
START_TEST(without_threads_it_is_done_by_one)
{
	const struct backing_config config = {.bytes = 64 * MIB, .workers = 8};
	struct rlimit were, none;
	struct failure f = {0};
	struct backing b;

	ck_assert_int_eq(getrlimit(RLIMIT_NPROC, &were), 0);
	none = (struct rlimit){1, were.rlim_max};
	ck_assert_int_eq(setrlimit(RLIMIT_NPROC, &none), 0);
	if (geteuid() == 0)
		ck_assert_int_eq(syscall(SYS_setresuid, 65534, 65534, 65534), 0);
	prctl(PR_SET_DUMPABLE, 1); /* its own /proc/self again */
	ck_assert_int_eq(backing_open(&b, &config, &f), 0);
	ck_assert_int_eq(backing_prefault(&b, 0, b.bytes, &f), 0);
	ck_assert_uint_eq(resident_of(&b), b.bytes);
	backing_close(&b);
	ck_assert_int_eq(setrlimit(RLIMIT_NPROC, &were), 0); /* a sanitizer looks for leaks from a thread */
}
END_TEST

/* ---- contiguity ---- */

#define HERE   UINT64_C(0x7f0000000000)

#define SHARED (UINT64_C(1) << 62) /* here: somebody else's, too */

/* frames: what pagemap is to say; 0: not there. */
static struct contiguity judge(const uint64_t *frames, unsigned pages, unsigned told, int memfd)
{
	const struct backing b = {.host = (uint8_t *)HERE, .fd = memfd};
	struct contiguity c;
	char path[PATH_MAX];
	int fd;

	fake_sys_path(&sys, path, "/pagemap");
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	for (unsigned i = 0; i < told; i++) {
		const uint64_t alone = frames[i] & SHARED ? 0 : UINT64_C(1) << 56;
		const uint64_t entry = frames[i] ? (frames[i] & ~SHARED) | UINT64_C(1) << 63 | alone : 0;

		ck_assert_int_eq(pwrite(fd, &entry, 8, (off_t)((HERE / FRAME_BYTES + 1 + i) * 8)), 8);
	}
	c = contiguity_read(&b, FRAME_BYTES, pages * FRAME_BYTES, fd);
	close(fd);
	return c;
}

START_TEST(runs_are_maximal)
{
	static const uint64_t frames[] = {7, 8, 9, 20, 0, 21, 22, 0, 0, 5, 4, 3, 100, 101, 102, 103};
	uint64_t many[3000];
	struct contiguity c = judge(frames, 16, 16, -1);

	ck_assert(c.known);
	ck_assert_uint_eq(c.runs, 7); /* 7-9, 20, 21-22, 5, 4, 3, 100-103 */
	ck_assert_uint_eq(c.bytes, 13 * FRAME_BYTES);
	ck_assert_uint_eq(c.largest_bytes, 4 * FRAME_BYTES);
	ck_assert(judge(frames, 0, 0, -1).known);
	for (unsigned i = 0; i < 3000; i++) /* through several reads */
		many[i] = 1000 + i + (i >= 2500 ? 1 : 0);
	c = judge(many, 3000, 3000, 5);
	ck_assert(c.known);
	ck_assert_uint_eq(c.runs, 2);
	ck_assert_uint_eq(c.largest_bytes, 2500 * FRAME_BYTES);
}
END_TEST

/* In private memory it is the page of zeros; a memfd's is memory nevertheless. */
START_TEST(what_others_map_too)
{
	static const uint64_t frames[] = {7, 8, 9 | SHARED, 10, 11 | SHARED, 11 | SHARED};
	struct contiguity c = judge(frames, 6, 6, -1);

	ck_assert(c.known);
	ck_assert_uint_eq(c.runs, 2); /* 7-8, 10 */
	ck_assert_uint_eq(c.bytes, 3 * FRAME_BYTES);
	c = judge(frames, 6, 6, 5);
	ck_assert_uint_eq(c.runs, 2); /* 7-11, 11 */
	ck_assert_uint_eq(c.bytes, 6 * FRAME_BYTES);
	ck_assert_uint_eq(c.largest_bytes, 5 * FRAME_BYTES);
}
END_TEST

START_TEST(frames_that_are_not_told_are_not_known)
{
	static const uint64_t frames[] = {7, 8, UINT64_C(1) << 57 /* there, and frame 0 */, 9};

	ck_assert(!judge(frames, 4, 4, -1).known);
	ck_assert_uint_eq(judge(frames, 4, 4, -1).runs, 0);
	ck_assert(!judge(frames, 4, 2, -1).known); /* the file ends */
	ck_assert(!contiguity_read(&(struct backing){.host = (uint8_t *)HERE, .fd = -1}, 0, FRAME_BYTES, -1).known);
}
END_TEST

/* One entry after the other, in one read. */
static struct contiguity plainly(const struct backing *b, int pagemap)
{
	const size_t pages = b->bytes / FRAME_BYTES;
	uint64_t *entry = calloc(pages, 8), last = 0, run = 0;
	struct contiguity c = {.known = true};

	ck_assert_int_eq(pread(pagemap, entry, pages * 8, (off_t)((uintptr_t)b->host / FRAME_BYTES * 8)), pages * 8);
	for (size_t i = 0; i < pages; i++) {
		const bool alone = entry[i] >> 56 & 1, file = entry[i] >> 61 & 1, there = entry[i] >> 63;
		const uint64_t frame = there && (alone || (file && b->fd >= 0)) ? entry[i] << 9 >> 9 : 0;

		run = frame && frame == last + 1 ? run + FRAME_BYTES : frame ? FRAME_BYTES : 0;
		c.runs += run == FRAME_BYTES;
		c.bytes += frame ? FRAME_BYTES : 0;
		c.largest_bytes = run > c.largest_bytes ? run : c.largest_bytes;
		last = frame;
	}
	free(entry);
	return c;
}

START_TEST(real_pages_are_counted)
{
	const struct backing_config config = {.bytes = 16 * MIB, .thp = _i & 1, .shared = _i & 2};
	struct contiguity c, right;
	struct failure f = {0};
	struct backing b;
	int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);

	ck_assert_int_ge(pagemap, 0);
	ck_assert_int_eq(backing_open(&b, &config, &f), 0);
	c = contiguity_read(&b, 0, b.bytes, pagemap);
	ck_assert(c.known && c.runs == 0 && c.bytes == 0);
	ck_assert_int_eq(backing_prefault(&b, 4 * MIB, 8 * MIB, &f), 0);
	(void)*(volatile uint8_t *)(b.host +
				    MIB); /* brings no memory into a private mapping, and a page into a memfd */
	(void)*(volatile uint8_t *)(b.host + MIB + FRAME_BYTES);
	c = contiguity_read(&b, 0, b.bytes, pagemap);
	if (c.known) { /* as root */
		right = plainly(&b, pagemap);
		ck_assert_uint_eq(c.bytes, right.bytes);
		ck_assert_uint_eq(c.runs, right.runs);
		ck_assert_uint_eq(c.largest_bytes, right.largest_bytes);
		ck_assert_uint_eq(c.bytes, resident_of(&b));
	}
	close(pagemap);
	backing_close(&b);
}
END_TEST

Suite *backing_suite(void)
{
	Suite *s = suite_create("backing");
	TCase *t = tcase_create("backing");

	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, dax_is_mapped_as_it_lies);
	tcase_add_test(t, dax_of_another_user_is_wiped);
	tcase_add_loop_test(t, dax_pages_are_its_alignment, 0, 3);
	tcase_add_test(t, dax_is_refused_with_a_sentence);
	tcase_add_test(t, what_has_only_a_dax_s_name_is_refused);
	tcase_add_test(t, dax_is_one_user_s);
	tcase_add_test(t, dax_of_unknown_address_is_not_physical);
	tcase_add_test(t, all_dax_are_listed);
	tcase_add_test(t, huge_pages_are_counted_by_node);
	tcase_add_test(t, runs_are_maximal);
	tcase_add_test(t, what_others_map_too);
	tcase_add_test(t, frames_that_are_not_told_are_not_known);
	suite_add_tcase(s, t);
	t = tcase_create("mapping"); /* without files: some are nobody's any more at their end */
	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, core_files_and_reservations, 0, 8);
	tcase_add_loop_test(t, it_lies_below_the_program, 0, 2);
	tcase_add_loop_test(t, locked_memory_is_what_was_touched, 0, 2);
	tcase_add_loop_test(t, more_than_may_be_locked_is_refused, 0, 2);
	tcase_add_loop_test(t, shared_memory_without_huge_pages_is_said, 0, 4);
	tcase_add_loop_test(t, every_page_is_touched_once, 0, 20);
	tcase_add_loop_test(t, workers_keep_to_their_cpus, 0, 2);
	tcase_add_loop_test(t, refusal_of_the_host_ends_it, 0, 2);
	tcase_add_loop_test(t, a_signal_ends_it_early, 0, 3);
	tcase_add_test(t, pages_are_touched_from_their_cpus);
	tcase_add_test(t, without_threads_it_is_done_by_one);
	tcase_add_loop_test(t, real_pages_are_counted, 0, 4);
	suite_add_tcase(s, t);
	return s;
}
