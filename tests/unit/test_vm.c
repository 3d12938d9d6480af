/* A virtual machine that is refused half way: each allocation in turn, then each
 * descriptor, from vm_open() to where the guest would start. Every refusal is one
 * sentence, and leaves nothing: no byte in the heap, no open descriptor. No guest
 * runs here. What it does not see: what KVM refuses of itself. */
#include <check.h>
#undef fail
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "vmm/vm.h"

Suite *vm_suite(void);

#define MIB		(UINT64_C(1) << 20)
#define GUEST_BYTES	(4 * MIB)
#define TABLE_PAGES	6u /* the root, a table a level, and one more of the lowest where leaves are of 4K */
#define CPUS		2u
#define ALLOCATIONS_MAX 100u
#define DESCRIPTORS_MAX 50u

/* What a command owns of one run. */
struct owner {
	struct memory memory;
	struct host host;
	struct block block, tables;
	struct vm vm;
};

static struct owner owner;

static unsigned descriptors(void)
{
	DIR *all = opendir("/proc/self/fd");
	unsigned n = 0;

	ck_assert_ptr_nonnull(all);
	while (readdir(all))
		n++;
	closedir(all);
	return n;
}

static void open_owner(struct owner *o)
{
	struct failure f = {0};

	memset(o, 0, sizeof(*o));
	ck_assert_int_eq(memory_open(&o->memory, &f), 0);
	ck_assert_int_eq(host_open(&o->host, &o->memory, &f), 0);
}

static int give_memory(struct owner *o, uint64_t table_pages, struct failure *f)
{
	static const struct guest_ranges none;
	const struct pool_config guest = {.backing.bytes = GUEST_BYTES, .segments = 4};
	const struct pool_config tables = {.backing.bytes = table_pages * FRAME_BYTES};
	struct vm_memory memory = {
		.host = &o->host, .block = &o->block, .blocks = 1, .tables = &o->tables, .ranges = &none};
	struct pool *pool, *table_pool;

	if (host_add_pool(&o->host, o->host.numa.node[0], &guest, &pool, f) ||
	    host_add_pool(&o->host, HOST_TABLES, &tables, &table_pool, f) ||
	    pool_alloc(pool, GUEST_BYTES, &o->block, f) || pool_alloc(table_pool, tables.backing.bytes, &o->tables, f))
		return f->code;
	memory.leaf = pool->backing.leaf;
	return vm_add_memory(&o->vm, &memory, f);
}

/* All that comes before the guest is loaded. */
static int build(struct owner *o, struct failure *f)
{
	const struct board_config board = {.cmdline = ""};

	if (vm_open(&o->vm, &o->memory, f) || give_memory(o, TABLE_PAGES, f))
		return f->code;
	return vm_add_cpus(&o->vm, CPUS, &board, f);
}

static void close_owner(struct owner *o)
{
	heap_fail_after(&o->memory.heap, 0);
	vm_close(&o->vm);
	pool_free(&o->tables);
	pool_free(&o->block);
	host_close(&o->host);
	ck_assert_uint_eq(heap_stats_read(&o->memory.heap).allocations, 0);
	ck_assert_uint_eq(heap_stats_read(&o->memory.heap).bytes_given, 0);
	ck_assert(heap_check(&o->memory.heap));
	memory_close(&o->memory);
}

static void check_sentence(const struct failure *f)
{
	size_t length = strlen(f->text);

	ck_assert_uint_gt(length, 10);
	ck_assert_ptr_null(strchr(f->text, '\n'));
	ck_assert_int_ne(f->text[length - 1], '.');
}

/* ---- memory ---- */

static const char *const no_memory[] = {
	"no memory for the pool's book-keeping (",
	"no memory for the books of the second-level table's pages (",
	"no memory for the list of memslots",
	"no memory for the CPUID of 2 vCPUs",
	"no memory for vCPU 0",
	"no memory for vCPU 1",
	"no memory for the devices",
};
#define SENTENCES (sizeof(no_memory) / sizeof(no_memory[0]))

static void note_sentence(bool seen[SENTENCES], const struct failure *f)
{
	unsigned i = 0;

	check_sentence(f);
	ck_assert_int_eq(f->code, EXIT_HOST);
	while (i < SENTENCES && strncmp(f->text, no_memory[i], strlen(no_memory[i])) != 0)
		i++;
	ck_assert_msg(i < SENTENCES, "another sentence: %s", f->text);
	seen[i] = true;
}

START_TEST(each_allocation_refused)
{
	bool seen[SENTENCES] = {false}, built = false;
	unsigned before = descriptors(), n = 0;

	while (!built && n < ALLOCATIONS_MAX) {
		struct failure f = {0};

		open_owner(&owner);
		heap_fail_after(&owner.memory.heap, ++n);
		built = build(&owner, &f) == 0;
		if (!built)
			note_sentence(seen, &f);
		close_owner(&owner);
		ck_assert_uint_eq(descriptors(), before);
	}
	ck_assert(built);
	for (unsigned i = 0; i < SENTENCES; i++)
		ck_assert_msg(seen[i], "never said: %s", no_memory[i]);
}
END_TEST

START_TEST(too_few_table_pages)
{
	struct failure f = {0};

	open_owner(&owner);
	ck_assert_int_eq(vm_open(&owner.vm, &owner.memory, &f), 0);
	ck_assert_int_eq(give_memory(&owner, 2, &f), EXIT_HOST);
	ck_assert_str_eq(f.text, "the second-level table needs more than 2 pages");
	close_owner(&owner);
}
END_TEST

/* ---- descriptors ---- */

/* From now on this process may open so many more, in a row. */
static void leave_descriptors(unsigned n)
{
	int next = dup(STDERR_FILENO);
	struct rlimit limit;

	ck_assert_int_ge(next, 0);
	close(next);
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	limit.rlim_cur = (rlim_t)next + n;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

static void give_descriptors(void)
{
	struct rlimit limit;

	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	limit.rlim_cur = limit.rlim_max;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

START_TEST(each_descriptor_refused)
{
	static const char *const wanted[] = {
		"cannot open ",
		"cannot create an event descriptor: ",
		"KVM cannot create a virtual machine: ",
		"KVM cannot create vCPU 0: ",
		"KVM cannot create vCPU 1: ",
	};
	unsigned before = descriptors(), n = 0, said = 0;
	bool built = false;

	for (; !built && n < DESCRIPTORS_MAX; n++) {
		struct failure f = {0};

		open_owner(&owner);
		leave_descriptors(n);
		built = build(&owner, &f) == 0;
		give_descriptors();
		if (!built) {
			check_sentence(&f);
			if (said + 1 < sizeof(wanted) / sizeof(wanted[0]) &&
			    strncmp(f.text, wanted[said], strlen(wanted[said])) != 0)
				said++;
			ck_assert_msg(strncmp(f.text, wanted[said], strlen(wanted[said])) == 0, "%s", f.text);
			ck_assert_ptr_nonnull(strstr(f.text, ": Too many open files"));
		}
		close_owner(&owner);
		ck_assert_uint_eq(descriptors(), before);
	}
	ck_assert(built);
	ck_assert_uint_eq(said + 1, sizeof(wanted) / sizeof(wanted[0]));
}
END_TEST

START_TEST(no_descriptor_for_signals)
{
	const struct boot_entry entry = {0};
	unsigned before = descriptors();
	struct failure f = {0};

	open_owner(&owner);
	vm_hold_signals();
	ck_assert_int_eq(build(&owner, &f), 0);
	leave_descriptors(0);
	ck_assert_int_eq(vm_start(&owner.vm, &entry, 0, &f), EXIT_HOST);
	give_descriptors();
	ck_assert_str_eq(f.text, "cannot watch signals: Too many open files");
	close_owner(&owner);
	ck_assert_uint_eq(descriptors(), before);
}
END_TEST

/* ---- where there is no KVM ---- */

START_TEST(no_kvm)
{
	unsigned before = descriptors();
	struct failure f = {0};

	setenv("SLAT_KVM", "/dev/null", 1);
	open_owner(&owner);
	ck_assert_int_eq(vm_open(&owner.vm, &owner.memory, &f), EXIT_KVM);
	ck_assert_str_eq(f.text, "/dev/null is not KVM: it does not answer KVM_GET_API_VERSION");
	close_owner(&owner);
	ck_assert_uint_eq(descriptors(), before);
}
END_TEST

Suite *vm_suite(void)
{
	const char *node = getenv("KVM"); /* as for all parts of make check */
	Suite *s = suite_create("vm");
	TCase *t = tcase_create("vm");

	if (node)
		setenv("SLAT_KVM", node, 1);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, no_kvm);
	if (access(kvm_path(), R_OK | W_OK) == 0) {
		tcase_add_test(t, each_allocation_refused);
		tcase_add_test(t, too_few_table_pages);
		tcase_add_test(t, each_descriptor_refused);
		tcase_add_test(t, no_descriptor_for_signals);
	} else {
		fprintf(stderr, "SKIP refusals: no usable %s\n", kvm_path());
	}
	suite_add_tcase(s, t);
	return s;
}
