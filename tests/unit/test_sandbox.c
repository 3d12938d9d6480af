/* tests/unit/test_sandbox.c: from inside. Each try is a process that steps down and
 * then makes one system call; what became of it is what its parent sees. The filter
 * is tried in sanitizers' builds, too: a try is one call and no more.
 * Not seen: a kernel without seccomp; a host that lets nobody drop capabilities. */
#include "vmm/sandbox.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/kvm.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "vmm/pagemap.h"

Suite *sandbox_suite(void);

#define DONE   0 /* the call was made, whatever its answer */
#define DENIED 1 /* EPERM or ENOSYS: it was not */
#define NOT_IN 2 /* there was no stepping down */

struct trial {
	const char *name;
	long number;
	unsigned long arguments[6];
};

#define PAGE	   4096
#define THREAD	   (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD)
#define NONE	   0xffffffffu /* no descriptor: the call fails, if it is made */
#define TEXT(text) ((unsigned long)(uintptr_t)(text))

static int step_down(void)
{
	const struct sandbox_config config = {.filter = true};
	struct failure f = {0};

	return sandbox_enter(&config, &f);
}

static long call(const struct trial *t)
{
	const unsigned long *a = t->arguments;

	return syscall(t->number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

/* The child's standard error becomes `said`. Returns its wait status. */
static int try_it(const struct trial *t, char *said, size_t size)
{
	int ends[2], status;
	ssize_t got;
	pid_t child;

	ck_assert_int_eq(pipe(ends), 0);
	child = fork();
	if (child == 0) {
		dup2(ends[1], STDERR_FILENO);
		signal(SIGABRT, SIG_DFL);
		if (step_down())
			_exit(NOT_IN);
		_exit(call(t) < 0 && (errno == EPERM || errno == ENOSYS) ? DENIED : DONE);
	}
	close(ends[1]);
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	got = read(ends[0], said, size - 1);
	said[got > 0 ? got : 0] = '\0';
	close(ends[0]);
	return status;
}

static const struct trial denied[] = {
	{"open", SYS_open, {TEXT("/dev/null"), O_RDONLY}},
	{"open to write", SYS_open, {TEXT("/dev/null"), O_WRONLY}},
	{"openat", SYS_openat, {(unsigned)AT_FDCWD, TEXT("/dev/null"), O_RDONLY}},
	{"creat", SYS_creat, {TEXT("/dev/null"), 0600}},
	{"access", SYS_access, {TEXT("/dev/null"), R_OK}},
	{"stat", SYS_stat, {TEXT("/dev/null"), 0}},
	{"stat by name", SYS_newfstatat, {(unsigned)AT_FDCWD, TEXT("/dev/null"), 0, 0}},
	{"readlink", SYS_readlink, {TEXT("/proc/self/exe"), 0, 0}},
	{"clone3", SYS_clone3, {0, 0}},
};

static const struct trial killed[] = {
	{"execve", SYS_execve, {TEXT("/bin/true"), 0, 0}},
	{"execveat", SYS_execveat, {(unsigned)AT_FDCWD, TEXT("/bin/true"), 0, 0, 0}},
	{"fork", SYS_fork, {0}},
	{"vfork", SYS_vfork, {0}},
	{"socket", SYS_socket, {AF_INET, SOCK_STREAM, 0}},
	{"socket of a file", SYS_socket, {AF_UNIX, SOCK_STREAM, 0}},
	{"connect", SYS_connect, {NONE, 0, 0}},
	{"ptrace", SYS_ptrace, {0, 0, 0, 0}},
	{"process_vm_readv", SYS_process_vm_readv, {1, 0, 0, 0, 0, 0}},
	{"kill", SYS_kill, {1, 0}},
	{"io_uring_setup", SYS_io_uring_setup, {1, 0}},
	{"memfd_create", SYS_memfd_create, {TEXT("x"), 0}},
	{"bpf", SYS_bpf, {0, 0, 0}},
	{"mount", SYS_mount, {0, 0, 0, 0, 0}},
	{"setns", SYS_setns, {NONE, 0}},
	{"unshare", SYS_unshare, {CLONE_THREAD}},
	{"seccomp", SYS_seccomp, {0, 0, 0}},
};

static const struct trial named[] = {
	{"clone", SYS_clone, {SIGCHLD, 0, 0, 0, 0}},
	{"clone", SYS_clone, {THREAD | CLONE_NEWNET, 0, 0, 0, 0}},
	{"clone", SYS_clone, {CLONE_VM | CLONE_VFORK | SIGCHLD, 0, 0, 0, 0}},
	{"mmap", SYS_mmap, {0, PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, NONE, 0}},
	{"mprotect", SYS_mprotect, {0, PAGE, PROT_READ | PROT_EXEC}},
	{"pkey_mprotect", SYS_pkey_mprotect, {0, PAGE, PROT_EXEC, 0}},
	{"ioctl", SYS_ioctl, {NONE, KVM_CREATE_VM, 0}},
	{"ioctl", SYS_ioctl, {NONE, KVM_CREATE_VCPU, 0}},
	{"ioctl", SYS_ioctl, {NONE, KVM_CREATE_DEVICE, 0}},
	{"ioctl", SYS_ioctl, {0, TIOCSTI, TEXT("x")}},
	{"ioctl", SYS_ioctl, {0, TIOCLINUX, 0}},
	{"ioctl", SYS_ioctl, {NONE, BLKRRPART, 0}},
	{"ioctl", SYS_ioctl, {NONE, UINT64_C(1) << 32 | KVM_CREATE_VM, 0}},
	{"tgkill", SYS_tgkill, {1, 1, 0}},
	{"prctl", SYS_prctl, {PR_SET_DUMPABLE, 1}},
	{"sendto", SYS_sendto, {NONE, TEXT("x"), 1, 0, TEXT("x"), 1}},
	{"setsockopt", SYS_setsockopt, {NONE, SOL_SOCKET, SO_REUSEADDR, 0, 0}},
	{"fcntl", SYS_fcntl, {NONE, F_SETOWN, 1}},
	{"unlink", SYS_unlink, {TEXT("/nonexistent")}},
	{"rename", SYS_rename, {TEXT("/nonexistent"), TEXT("/nonexistent")}},
	{"chmod", SYS_chmod, {TEXT("/nonexistent"), 0}},
	{"dup2", SYS_dup2, {0, 1}},
	{"prlimit64", SYS_prlimit64, {0, 0, 0, 0}},
	{"sched_setaffinity", SYS_sched_setaffinity, {1, 8, TEXT(&(uint64_t){1})}},
	{"sched_setaffinity", SYS_sched_setaffinity, {NONE, 8, TEXT(&(uint64_t){1})}},
	{"sched_setscheduler", SYS_sched_setscheduler, {0, 0, TEXT(&(int){0})}},
};

/* They fail, for want of a descriptor, after they were let through. */
static const struct trial allowed[] = {
	{"read", SYS_read, {NONE, 0, 0}},
	{"write", SYS_write, {NONE, 0, 0}},
	{"readv", SYS_readv, {NONE, 0, 0}},
	{"writev", SYS_writev, {NONE, 0, 0}},
	{"preadv", SYS_preadv, {NONE, 0, 0, 0, 0}},
	{"pwritev", SYS_pwritev, {NONE, 0, 0, 0, 0}},
	{"pread64", SYS_pread64, {NONE, 0, 0, 0}},
	{"pwrite64", SYS_pwrite64, {NONE, 0, 0, 0}},
	{"fdatasync", SYS_fdatasync, {NONE}},
	{"fsync", SYS_fsync, {NONE}},
	{"fallocate", SYS_fallocate, {NONE, 0, 0, 1}},
	{"ftruncate", SYS_ftruncate, {NONE, 0}},
	{"fstat", SYS_fstat, {NONE, 0}},
	{"newfstatat", SYS_newfstatat, {NONE, TEXT(""), 0, AT_EMPTY_PATH}},
	{"close", SYS_close, {NONE}},
	{"io_uring_enter", SYS_io_uring_enter, {NONE, 0, 0, 0, 0, 0}},
	{"accept4", SYS_accept4, {NONE, 0, 0, 0}},
	{"recvfrom", SYS_recvfrom, {NONE, 0, 0, 0, 0, 0}},
	{"sendto", SYS_sendto, {NONE, 0, 0, 0, 0, 0}},
	{"recvmsg", SYS_recvmsg, {NONE, 0, 0}},
	{"sendmsg", SYS_sendmsg, {NONE, 0, 0}},
	{"poll", SYS_poll, {0, 0, 0}},
	{"ppoll", SYS_ppoll, {0, 0, TEXT(&(struct timespec){0}), 0, 0}},
	{"epoll_wait", SYS_epoll_wait, {NONE, 0, 0, 0}},
	{"epoll_ctl", SYS_epoll_ctl, {NONE, 0, 0, 0}},
	{"timerfd_settime", SYS_timerfd_settime, {NONE, 0, 0, 0}},
	{"clock_nanosleep", SYS_clock_nanosleep, {CLOCK_MONOTONIC, 0, TEXT(&(struct timespec){0}), 0}},
	{"getrandom", SYS_getrandom, {0, 0, 0}},
	{"futex", SYS_futex, {0, 1, 0, 0, 0, 0}},
	{"madvise", SYS_madvise, {0, 0, MADV_DONTNEED}},
	{"mmap", SYS_mmap, {0, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, NONE, 0}},
	{"mprotect", SYS_mprotect, {0, 0, PROT_READ | PROT_WRITE}},
	{"KVM_RUN", SYS_ioctl, {NONE, KVM_RUN, 0}},
	{"KVM_SIGNAL_MSI", SYS_ioctl, {NONE, KVM_SIGNAL_MSI, 0}},
	{"KVM_SET_GSI_ROUTING", SYS_ioctl, {NONE, KVM_SET_GSI_ROUTING, 0}},
	{"KVM_SET_USER_MEMORY_REGION", SYS_ioctl, {NONE, KVM_SET_USER_MEMORY_REGION, 0}},
	{"KVM_GET_DIRTY_LOG", SYS_ioctl, {NONE, KVM_GET_DIRTY_LOG, 0}},
	{"KVM_IRQFD", SYS_ioctl, {NONE, KVM_IRQFD, 0}},
	{"KVM_IOEVENTFD", SYS_ioctl, {NONE, KVM_IOEVENTFD, 0}},
	{"TCSETS", SYS_ioctl, {NONE, TCSETS, 0}},
	{"TIOCGWINSZ", SYS_ioctl, {NONE, TIOCGWINSZ, 0}},
	{"BLKDISCARD", SYS_ioctl, {NONE, BLKDISCARD, 0}},
	{"wait4", SYS_wait4, {NONE, 0, 0, 0}},
	{"prctl", SYS_prctl, {PR_SET_NAME, TEXT("name")}},
	{"sched_setaffinity of oneself", SYS_sched_setaffinity, {0, 8, TEXT(&(uint64_t){~UINT64_C(0)})}},
	{"PAGEMAP_SCAN", SYS_ioctl, {NONE, PAGEMAP_SCAN_REQUEST, 0}},
	{"lseek", SYS_lseek, {NONE, 0, SEEK_SET}},
};

#define COUNT(a) ((int)(sizeof(a) / sizeof((a)[0])))

START_TEST(a_path_is_refused)
{
	char said[512];
	int status = try_it(&denied[_i], said, sizeof(said));

	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == DENIED, "%s: status 0x%x", denied[_i].name, status);
	ck_assert_str_eq(said, "");
}
END_TEST

START_TEST(an_intruder_dies)
{
	char said[512];
	int status = try_it(&killed[_i], said, sizeof(said));

	ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS, "%s: status 0x%x", killed[_i].name, status);
	ck_assert_str_eq(said, "");
}
END_TEST

START_TEST(what_is_not_listed_is_named)
{
	const struct trial *t = &named[_i];
	char said[512], want[128];
	int status = try_it(t, said, sizeof(said));

	ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, "%s: status 0x%x", t->name, status);
	snprintf(want, sizeof(want), "slat: the sandbox refused the system call %s %ld (0x%lx, 0x%lx, 0x%lx) at 0x",
		 t->name, t->number, t->arguments[0], t->arguments[1], t->arguments[2]);
	ck_assert_msg(strncmp(said, want, strlen(want)) == 0, "%s, not %s", said, want);
	ck_assert_ptr_nonnull(strstr(said, "--sandbox off"));
}
END_TEST

START_TEST(what_is_listed_is_made)
{
	char said[512];
	int status = try_it(&allowed[_i], said, sizeof(said));

	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == DONE, "%s: status 0x%x %s", allowed[_i].name, status,
		      said);
}
END_TEST

/* A line of a thread's status as the kernel tells it: "Seccomp:\t2". */
static void assert_status(pid_t process, pid_t thread, const char *key, const char *value)
{
	char path[64], line[256], want[64];
	bool seen = false;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/status", process, thread);
	snprintf(want, sizeof(want), "%s:\t%s\n", key, value);
	file = fopen(path, "re");
	ck_assert_ptr_nonnull(file);
	while (fgets(line, sizeof(line), file))
		if (strncmp(line, key, strlen(key)) == 0 && line[strlen(key)] == ':') {
			ck_assert_str_eq(line, want);
			seen = true;
		}
	fclose(file);
	ck_assert_msg(seen, "no %s in %s", key, path);
}

static void assert_is_down(pid_t process, pid_t thread, bool filter)
{
	static const char nothing[] = "0000000000000000";

	assert_status(process, thread, "NoNewPrivs", "1");
	assert_status(process, thread, "Seccomp", filter ? "2" : "0");
	assert_status(process, thread, "CapEff", nothing);
	assert_status(process, thread, "CapPrm", nothing);
	assert_status(process, thread, "CapInh", nothing);
	assert_status(process, thread, "CapAmb", nothing);
	if (geteuid() == 0)
		assert_status(process, thread, "CapBnd", nothing);
}

static int tell_to;

static void *tell_thread(void *self)
{
	const pid_t thread = (pid_t)syscall(SYS_gettid);

	(void)!write(tell_to, &thread, sizeof(thread));
	for (;;)
		poll(NULL, 0, -1);
	return self;
}

/* Steps down before or after it makes a thread, and waits to be ended. */
static void be_two(int to, bool filter, bool thread_first)
{
	const struct sandbox_config config = {.filter = filter};
	struct failure f = {0};
	pthread_t thread;

	tell_to = to;
	if (thread_first && pthread_create(&thread, NULL, tell_thread, NULL))
		_exit(NOT_IN);
	if (sandbox_enter(&config, &f))
		_exit(NOT_IN);
	if (!thread_first && pthread_create(&thread, NULL, tell_thread, NULL))
		_exit(NOT_IN);
	tell_thread(NULL);
}

/* The two threads' numbers; the main thread's comes last if the other was there first. */
static pid_t start_two(bool filter, bool thread_first, pid_t thread[2])
{
	int ends[2];
	pid_t child;

	ck_assert_int_eq(pipe(ends), 0);
	child = fork();
	if (child == 0)
		be_two(ends[1], filter, thread_first);
	close(ends[1]);
	for (unsigned i = 0; i < 2; i++)
		ck_assert_int_eq(read(ends[0], &thread[i], sizeof(thread[i])), sizeof(thread[i]));
	ck_assert(thread[0] != thread[1]);
	close(ends[0]);
	return child;
}

static void end_two(pid_t child)
{
	int status;

	kill(child, SIGKILL);
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert(WTERMSIG(status) == SIGKILL);
}

START_TEST(threads_are_down_too)
{
	const bool filter = _i;
	pid_t child, thread[2];

	if (filter && SANDBOX_SANITIZED) {
		puts("SKIP threads_are_down_too: a sanitizer's thread does more than one call");
		return;
	}
	child = start_two(filter, false, thread);
	assert_is_down(child, thread[0], filter);
	assert_is_down(child, thread[1], filter);
	end_two(child);
}
END_TEST

/* Its capabilities are beyond reach, and it may be the kernel's own; the filter is not. */
START_TEST(an_earlier_thread_is_filtered)
{
	pid_t child, thread[2];

	if (SANDBOX_SANITIZED) {
		puts("SKIP an_earlier_thread_is_filtered: a sanitizer's thread does more than one call");
		return;
	}
	child = start_two(true, true, thread);
	for (unsigned i = 0; i < 2; i++) {
		assert_status(child, thread[i], "NoNewPrivs", "1");
		assert_status(child, thread[i], "Seccomp", "2");
	}
	end_two(child);
}
END_TEST

Suite *sandbox_suite(void)
{
	Suite *suite = suite_create("sandbox");
	TCase *tests = tcase_create("inside");

	tcase_add_loop_test(tests, a_path_is_refused, 0, COUNT(denied));
	tcase_add_loop_test(tests, an_intruder_dies, 0, COUNT(killed));
	tcase_add_loop_test(tests, what_is_not_listed_is_named, 0, COUNT(named));
	tcase_add_loop_test(tests, what_is_listed_is_made, 0, COUNT(allowed));
	tcase_add_loop_test(tests, threads_are_down_too, 0, 2);
	tcase_add_test(tests, an_earlier_thread_is_filtered);
	suite_add_tcase(suite, tests);
	return suite;
}
