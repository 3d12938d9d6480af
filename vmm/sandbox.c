/* vmm/sandbox.c
 *
 * What it is. Privilege is dropped in two steps (opening and making, then running),
 * and this is the line between them: no exec gains anything any more, no capability
 * is left, and the kernel refuses what is not on the list (sandbox_list.c). It is
 * for the guest that found a hole in a device and now runs code as slat: it has the
 * descriptors that slat has, memory, and nothing else: no file, no socket, no
 * process, no code but slat's own. It is not for keeping other programs out of slat.
 *
 *   B1  the filter holds for every thread: for those that are made later because
 *       they inherit it, for any there are because of TSYNC.
 *   B2  what the filter lets through opens nothing by name, makes no process and no
 *       memory that can be executed, and signals nobody but slat.
 *   B3  files that are to go when slat ends are removed by somebody else (janitor.c).
 *   B4  a ring of io_uring was restricted before this (sandbox.h).
 *
 * Three answers. Paths: EPERM, since libc looks for files of its own accord and goes
 * on without. What only an intruder would ask for (exec, socket, ptrace): the process
 * dies by SIGSYS at once. All else: SIGSYS to a handler that names the call and
 * aborts, as any bug of slat does: most likely a libc that is newer than the list has
 * found another call for the same thing, and whoever sees that must know what to
 * write down, and how to run meanwhile (--sandbox off). An intruder may take that
 * handler away; he then has a call that was not made, as by EPERM.
 *
 * A host that has no such filter is refused with a sentence, not passed over: who
 * relies on it must not lose it unknowingly.
 *
 * Threads. Filters and capabilities are a thread's. TSYNC spreads the first; nothing
 * spreads the second, so slat makes its threads after this. That is not asserted:
 * there may be one of the kernel's among them that nobody made (KVM's worker for huge
 * pages is such a thread from Linux 6.13 on). tests/cli.sh looks at every thread.
 *
 * Cost. The filter is made by libseccomp when slat is built; one word of it, the
 * process's number, is put in here. Measured on a start of 2.4 ms, in all 0.12 to
 * 0.18 ms: 0.06 ms for the filter, all of it the kernel's, which tries every call on it
 * (0.13 ms before the list was searched by halves), and 0.05 ms for the bounding set,
 * of root alone. With libseccomp linked in, the filter alone was 0.28 ms, with its
 * shared library 0.34 ms, for half of the list. Later: the kernel keeps a table of the calls that need no look at their
 * arguments, and those cost nothing; the others, KVM_RUN among them, 50 ns, whether
 * the filter compares one word or sixty.
 * SPEC_ALLOW: kernels before 5.16 would turn off speculative stores for threads with
 * a filter, at a price for the guest; that is for code that strangers wrote in.
 *
 * Not done. PR_SET_DUMPABLE 0 keeps ptrace and /proc/PID/mem of the same user away,
 * not the guest, and costs its owner core dumps, gdb and perf; a slat that was taken
 * over can trace no other, by this filter. Another user or root directory: needs root,
 * and no path can be opened anyway. Landlock: the same. */
#include "vmm/sandbox.h"

#include <errno.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "vmm/sandbox_filter.h"
#include "vmm/sandbox_mark.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define LINE	 320u

struct line { /* put together in a signal handler, without libc's help */
	char text[LINE];
	size_t used;
};

static void line_add(struct line *l, const char *text)
{
	while (*text && l->used < LINE)
		l->text[l->used++] = *text++;
}

static void line_add_number(struct line *l, uint64_t n, unsigned base)
{
	char digits[24] = {0};
	size_t at = sizeof(digits) - 1;

	do
		digits[--at] = "0123456789abcdef"[n % base];
	while (n /= base);
	line_add(l, digits + at);
}

static void line_add_hex(struct line *l, const char *before, uint64_t n)
{
	line_add(l, before);
	line_add(l, "0x");
	line_add_number(l, n, 16);
}

static void on_refused(int number, siginfo_t *info, void *context)
{
	const greg_t *registers = ((const ucontext_t *)context)->uc_mcontext.gregs;
	const unsigned call = (unsigned)info->si_syscall;
	struct line l = {.used = 0};

	(void)number;
	line_add(&l, "slat: the sandbox refused the system call ");
	line_add(&l, call < COUNT(sandbox_names) && *sandbox_names[call] ? sandbox_names[call] : "of number");
	line_add(&l, " ");
	line_add_number(&l, call, 10);
	line_add_hex(&l, " (", (uint64_t)registers[REG_RDI]);
	line_add_hex(&l, ", ", (uint64_t)registers[REG_RSI]);
	line_add_hex(&l, ", ", (uint64_t)registers[REG_RDX]);
	line_add_hex(&l, ") at ", (uint64_t)(uintptr_t)info->si_call_addr);
	line_add(&l, ": a bug of slat, or the guest has taken it over; --sandbox off runs without\n");
	(void)!write(STDERR_FILENO, l.text, l.used);
	abort();
}

/* Without CAP_SETPCAP the bounding set stays; it bounds what an exec would gain, and there is none. */
static int drop_capabilities(struct failure *f)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	const struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {0};

	for (unsigned long c = 0; prctl(PR_CAPBSET_DROP, c, 0UL, 0UL, 0UL) == 0; c++)
		continue;
	if (syscall(SYS_capset, &head, none) != 0) /* and the ambient set with them */
		return fail(f, EXIT_HOST, "cannot drop capabilities: %s", strerror(errno));
	return 0;
}

static int install_filter(struct failure *f)
{
	const struct sigaction action = {.sa_sigaction = on_refused, .sa_flags = SA_SIGINFO};
	struct sock_filter code[COUNT(sandbox_filter)];
	const struct sock_fprog program = {COUNT(code), code};

	memcpy(code, sandbox_filter, sizeof(code));
	for (size_t i = 0; i < COUNT(code); i++)
		if (code[i].k == SANDBOX_MARK)
			code[i].k = (uint32_t)getpid();
	sigaction(SIGSYS, &action, NULL);
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_SPEC_ALLOW,
		    &program) != 0)
		return fail(f, EXIT_HOST,
			    "this host's kernel takes no filter of system calls (seccomp): %s; --sandbox off runs "
			    "the guest without",
			    strerror(errno));
	return 0;
}

int sandbox_enter(const struct sandbox_config *config, struct failure *f)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1UL, 0UL, 0UL, 0UL) != 0)
		return fail(f, EXIT_HOST, "cannot give up new privileges: %s", strerror(errno));
	if (drop_capabilities(f))
		return f->code;
	return config->filter ? install_filter(f) : 0;
}
