/* vmm/failure.h: how the host's refusal travels up to main.
 * A function that can be refused takes a struct failure and returns 0 or the
 * exit code that it stored; the sentence names what was asked, what there was
 * and what to do about it. Only the command prints it (cmd_refuse()), only main exits.
 * Threads: one caller at a time per struct failure. */
#ifndef SLAT_VMM_FAILURE_H
#define SLAT_VMM_FAILURE_H

/* slat's own exit codes: even, so that they never meet a guest's (v << 1) | 1.
 * The table of README and man page is checked against this list. */
enum exit_code {
	EXIT_OK = 0,	    /* the guest powered off, or left with the value of --exit-zero */
	EXIT_USAGE = 2,	    /* an option or its value */
	EXIT_IMAGE = 4,	    /* the kernel, its initramfs or modules */
	EXIT_HOST = 6,	    /* the host refuses: memory, huge pages, files */
	EXIT_KVM = 8,	    /* /dev/kvm: absent, no permission, a capability is missing */
	EXIT_INTERNAL = 10, /* KVM could not go on with the guest */
	EXIT_RESET = 12,    /* the guest rebooted or triple-faulted */
	EXIT_PANIC = 14,    /* the guest's kernel panicked */
	EXIT_TIMEOUT = 16,  /* --timeout is over */
	EXIT_SIGNAL = 18,   /* ended from outside */
	EXIT_FAULT = 20,    /* the guest touched a guard or wrote to read-only memory */
};

struct failure {
	int code; /* 0: none */
	char text[1024];
};

/* Stores the first failure only; returns code. text: a sentence without full stop or newline at its end. */
int fail(struct failure *f, enum exit_code code, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
