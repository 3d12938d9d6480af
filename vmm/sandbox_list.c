/* vmm/sandbox_list.c: the list of what slat may ask of the kernel while a guest
 * runs, and the program, of the build alone, that makes the filter of it: it
 * prints vmm/sandbox_filter.h. What the filter is for: top of sandbox.c.
 *
 * To regenerate the list, run what slat can do under strace, without the filter,
 * and look at what comes after its step down:
 *
 *   strace -f -o log build/slat run --sandbox off --report r --dump-table t build/guests/hello.elf
 *   sed -n '/PR_SET_NO_NEW_PRIVS/,$s/^[0-9]* *\([a-z0-9_]*(\).*$/\1/p' log | sort | uniq -c | sort -rn
 *   sed -n '/PR_SET_NO_NEW_PRIVS/,$s/.* ioctl([^,]*, \([^, )]*\).*$/\1/p' log | sort | uniq -c
 *
 * with every option in turn, on a terminal (script -c), with a debugger, to the
 * end by a signal, a timeout and a closed pipe: what tests/cli.sh does. (The first of
 * capset, prctl and seccomp are the step itself, and unlink is the janitor's.) One that
 * was forgotten ends slat with a sentence that names it. Before a line is added:
 * what could a guest that has taken slat over do with it? And can the call be made
 * before the guest starts instead, as every open is?
 *
 * Arguments are compared where the call would otherwise be too much; what a pointer
 * leads to cannot be. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/filter.h>
#include <linux/fs.h>
#include <linux/if_tun.h>
#include <linux/io_uring.h>
#include <linux/kvm.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/pagemap.h"
#include "vmm/sandbox_mark.h"

#define COUNT(a)   (sizeof(a) / sizeof((a)[0]))
#define NUMBERS	   512 /* of system calls */
#define NAME_BYTES 28
#define FILTER_MAX 4096u
#define NO_CALL	   (-1) /* what a tracer makes of a call that it answers itself, as strace does to inject errors */
#define BY_TREE	   2	/* calls are searched for by halves: the kernel tries all of them when it takes the filter */

/* Descriptors that are open. io_uring_enter: of a ring that was restricted (sandbox.c, B4). */
static const int descriptors[] = {
	SCMP_SYS(read),	     SCMP_SYS(write),	 SCMP_SYS(readv),	   SCMP_SYS(writev),	SCMP_SYS(pread64),
	SCMP_SYS(pwrite64),  SCMP_SYS(preadv),	 SCMP_SYS(pwritev),	   SCMP_SYS(preadv2),	SCMP_SYS(pwritev2),
	SCMP_SYS(lseek),     SCMP_SYS(fstat),	 SCMP_SYS(fsync),	   SCMP_SYS(fdatasync), SCMP_SYS(ftruncate),
	SCMP_SYS(fallocate), SCMP_SYS(close),	 SCMP_SYS(recvfrom),	   SCMP_SYS(recvmsg),	SCMP_SYS(sendmsg),
	SCMP_SYS(accept4),   SCMP_SYS(shutdown), SCMP_SYS(io_uring_enter),
};

/* Waiting and time, which is the kernel's to tell where the host's clock cannot be read without it. */
static const int waiting[] = {
	SCMP_SYS(poll),
	SCMP_SYS(ppoll),
	SCMP_SYS(epoll_wait),
	SCMP_SYS(epoll_pwait),
	SCMP_SYS(epoll_ctl),
	SCMP_SYS(futex),
	SCMP_SYS(sched_yield),
	SCMP_SYS(nanosleep),
	SCMP_SYS(time),
	SCMP_SYS(clock_nanosleep),
	SCMP_SYS(clock_gettime),
	SCMP_SYS(gettimeofday),
	SCMP_SYS(timerfd_settime),
	SCMP_SYS(restart_syscall),
};

/* Memory (mapping it: below), threads and signals of slat's own; whose the terminal is (getpgrp), and the end of the
 * janitor (wait4). */
static const int own[] = {
	SCMP_SYS(munmap),	SCMP_SYS(mremap),	  SCMP_SYS(madvise),	     SCMP_SYS(brk),
	SCMP_SYS(exit),		SCMP_SYS(exit_group),	  SCMP_SYS(set_robust_list), SCMP_SYS(rseq),
	SCMP_SYS(getpid),	SCMP_SYS(gettid),	  SCMP_SYS(getpgrp),	     SCMP_SYS(wait4),
	SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigreturn),    SCMP_SYS(sigaltstack),
	SCMP_SYS(signalfd4),	SCMP_SYS(getrandom),
};

/* Of KVM: what runs a vCPU, reads and sets it, and what changes while it runs; nothing that makes a VM, a vCPU or a
 * device. Of a terminal: modes, size and owner; not TIOCSTI and TIOCLINUX, which type into it. */
static const unsigned long requests[] = {
	KVM_RUN,
	KVM_SIGNAL_MSI,
	KVM_SET_GSI_ROUTING,
	KVM_IRQFD,
	KVM_IOEVENTFD,
	KVM_SET_USER_MEMORY_REGION,
	KVM_GET_DIRTY_LOG,
	KVM_GET_REGS,
	KVM_SET_REGS,
	KVM_GET_SREGS,
	KVM_SET_SREGS,
	KVM_GET_XSAVE,
	KVM_SET_XSAVE,
	KVM_GET_MP_STATE,
	KVM_GET_DEBUGREGS,
	KVM_SET_DEBUGREGS,
	KVM_SET_GUEST_DEBUG,
	KVM_TRANSLATE,
	TCGETS,
	TCSETS,
	TCSETSW,
	TCSETSF,
	TIOCGPGRP,
	TIOCGWINSZ,
	TUNSETOFFLOAD, /* when a driver has chosen its features */
	TUNSETQUEUE,
	BLKDISCARD,	      /* of a disk that is open to be written, where fallocate() does not know it */
	PAGEMAP_SCAN_REQUEST, /* of slat's own memory, for the report */
};

/* By a path: libc looks for files at times that nobody chooses (a heap that shrinks, a message to translate) and goes
 * on where there are none. */
static const int absent[] = {
	SCMP_SYS(open),	  SCMP_SYS(openat),    SCMP_SYS(openat2),    SCMP_SYS(creat),
	SCMP_SYS(access), SCMP_SYS(faccessat), SCMP_SYS(faccessat2), SCMP_SYS(stat),
	SCMP_SYS(lstat),  SCMP_SYS(statx),     SCMP_SYS(readlink),   SCMP_SYS(readlinkat),
};

/* Neither slat nor libc has any use for these: who asks has taken slat over, and gets no second try. */
static const int hostile[] = {
	SCMP_SYS(execve),
	SCMP_SYS(execveat),
	SCMP_SYS(fork),
	SCMP_SYS(vfork),
	SCMP_SYS(ptrace),
	SCMP_SYS(process_vm_readv),
	SCMP_SYS(process_vm_writev),
	SCMP_SYS(pidfd_open),
	SCMP_SYS(pidfd_getfd),
	SCMP_SYS(socket),
	SCMP_SYS(socketpair),
	SCMP_SYS(connect),
	SCMP_SYS(bind),
	SCMP_SYS(kill),
	SCMP_SYS(tkill),
	SCMP_SYS(io_uring_setup),
	SCMP_SYS(memfd_create),
	SCMP_SYS(userfaultfd),
	SCMP_SYS(bpf),
	SCMP_SYS(perf_event_open),
	SCMP_SYS(open_by_handle_at),
	SCMP_SYS(mount),
	SCMP_SYS(umount2),
	SCMP_SYS(chroot),
	SCMP_SYS(pivot_root),
	SCMP_SYS(unshare),
	SCMP_SYS(setns),
	SCMP_SYS(setuid),
	SCMP_SYS(setgid),
	SCMP_SYS(capset),
	SCMP_SYS(init_module),
	SCMP_SYS(finit_module),
	SCMP_SYS(kexec_load),
	SCMP_SYS(kexec_file_load),
	SCMP_SYS(reboot),
	SCMP_SYS(add_key),
	SCMP_SYS(request_key),
	SCMP_SYS(keyctl),
	SCMP_SYS(seccomp),
};

static void must(int error, const char *what)
{
	if (!error)
		return;
	fprintf(stderr, "sandbox_list: libseccomp refused %s: %d\n", what, error);
	exit(EXIT_FAILURE);
}

static void add(scmp_filter_ctx filter, uint32_t action, const int *calls, size_t count)
{
	for (size_t i = 0; i < count; i++)
		must(seccomp_rule_add(filter, action, calls[i], 0), "a rule");
}

static void add_if(scmp_filter_ctx filter, int call, unsigned count, const struct scmp_arg_cmp *compare)
{
	must(seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, call, count, compare), "a rule with arguments");
}

/* The kernel looks at 32 bits of these. */
static struct scmp_arg_cmp is(unsigned argument, uint32_t value)
{
	return (struct scmp_arg_cmp){argument, SCMP_CMP_MASKED_EQ, UINT32_MAX, value};
}

static struct scmp_arg_cmp bits(unsigned argument, uint64_t mask, uint64_t value)
{
	return (struct scmp_arg_cmp){argument, SCMP_CMP_MASKED_EQ, mask, value};
}

static void add_requests(scmp_filter_ctx filter)
{
	for (size_t i = 0; i < COUNT(requests); i++)
		add_if(filter, SCMP_SYS(ioctl), 1, (struct scmp_arg_cmp[]){is(1, (uint32_t)requests[i])});
}

/* A thread shares all with its maker; and no new space of names. clone3 keeps its flags where a filter cannot look:
 * libc takes ENOSYS for an old kernel, and clone. */
static void add_threads(scmp_filter_ctx filter)
{
	const uint64_t spaces = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER |
				CLONE_NEWPID | CLONE_NEWNET;
	const uint64_t shared = CLONE_THREAD | CLONE_SIGHAND | CLONE_VM | CLONE_FS | CLONE_FILES;

	add_if(filter, SCMP_SYS(clone), 1,
	       (struct scmp_arg_cmp[]){bits(0, spaces | shared | CLONE_VFORK | CLONE_PTRACE, shared)});
	must(seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0), "clone3");
	add_if(filter, SCMP_SYS(tgkill), 1, (struct scmp_arg_cmp[]){is(0, SANDBOX_MARK)});
	add_if(filter, SCMP_SYS(prctl), 1, (struct scmp_arg_cmp[]){is(0, PR_SET_NAME)});
	/* vCPUs are kept to the nodes of their memory, each by itself: 0 is the caller. */
	add_if(filter, SCMP_SYS(sched_setaffinity), 1, (struct scmp_arg_cmp[]){is(0, 0)});
}

/* Nothing becomes code. */
static void add_memory(scmp_filter_ctx filter)
{
	add_if(filter, SCMP_SYS(mmap), 1, (struct scmp_arg_cmp[]){bits(2, PROT_EXEC, 0)});
	add_if(filter, SCMP_SYS(mprotect), 1, (struct scmp_arg_cmp[]){bits(2, PROT_EXEC, 0)});
}

static void add_files(scmp_filter_ctx filter)
{
	const struct scmp_arg_cmp other = {3, SCMP_CMP_NE, AT_EMPTY_PATH, 0};
	const struct scmp_arg_cmp registers = {1, SCMP_CMP_NE, IORING_UNREGISTER_FILES, 0};

	add_if(filter, SCMP_SYS(newfstatat), 1, &(struct scmp_arg_cmp){3, SCMP_CMP_EQ, AT_EMPTY_PATH, 0});
	must(seccomp_rule_add_array(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(newfstatat), 1, &other), "newfstatat");
	/* A disk that is closed lets go of its file, so that its lock ends with it and not with the ring. */
	add_if(filter, SCMP_SYS(io_uring_register), 1, (struct scmp_arg_cmp[]){is(1, IORING_UNREGISTER_FILES)});
	must(seccomp_rule_add_array(filter, SCMP_ACT_KILL_PROCESS, SCMP_SYS(io_uring_register), 1, &registers),
	     "io_uring_register");
	add_if(filter, SCMP_SYS(fcntl), 1, (struct scmp_arg_cmp[]){is(1, F_GETFL)});
	/* Without an address: what is connected. */
	add_if(filter, SCMP_SYS(sendto), 1, &(struct scmp_arg_cmp){4, SCMP_CMP_EQ, 0, 0});
	add_if(filter, SCMP_SYS(setsockopt), 2, (struct scmp_arg_cmp[]){is(1, IPPROTO_TCP), is(2, TCP_NODELAY)});
}

static scmp_filter_ctx build(void)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_TRAP);

	must(!filter, "to begin");
	must(seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS), "the answer to 32-bit calls");
	must(seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, BY_TREE), "to search by halves");
	must(seccomp_attr_set(filter, SCMP_FLTATR_API_TSKIP, 1), "the call that is none");
	must(seccomp_rule_add(filter, SCMP_ACT_ALLOW, NO_CALL, 0), "the call that is none");
	add(filter, SCMP_ACT_ALLOW, descriptors, COUNT(descriptors));
	add(filter, SCMP_ACT_ALLOW, waiting, COUNT(waiting));
	add(filter, SCMP_ACT_ALLOW, own, COUNT(own));
	add(filter, SCMP_ACT_ERRNO(EPERM), absent, COUNT(absent));
	add(filter, SCMP_ACT_KILL_PROCESS, hostile, COUNT(hostile));
	add_requests(filter);
	add_threads(filter);
	add_memory(filter);
	add_files(filter);
	return filter;
}

static void print_program(const struct sock_filter *program, size_t count)
{
	unsigned marks = 0;

	puts("static const struct sock_filter sandbox_filter[] = {");
	for (size_t i = 0; i < count; i++) {
		printf("\t{0x%02x, %u, %u, 0x%08" PRIx32 "},\n", program[i].code, program[i].jt, program[i].jf,
		       program[i].k);
		marks += program[i].k == SANDBOX_MARK;
	}
	puts("};");
	must(marks != 1, "one place for the process's number");
}

/* Fixed rows: pointers would have to be relocated at every start. */
static void print_names(void)
{
	printf("static const char sandbox_names[][%d] = {\n", NAME_BYTES);
	for (int n = 0; n < NUMBERS; n++) {
		char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_X86_64, n);

		if (name)
			printf("\t[%d] = \"%.*s\",\n", n, NAME_BYTES - 1, name);
		free(name);
	}
	puts("};");
}

int main(void)
{
	static struct sock_filter program[FILTER_MAX];
	scmp_filter_ctx filter = build();
	FILE *file = tmpfile();
	size_t count;

	must(!file, "a file");
	must(seccomp_export_bpf(filter, fileno(file)), "to write the filter");
	rewind(file);
	count = fread(program, sizeof(program[0]), FILTER_MAX, file);
	fclose(file);
	seccomp_release(filter);
	puts("/* Made by vmm/sandbox_list.c. */");
	print_program(program, count);
	print_names();
	return EXIT_SUCCESS;
}
