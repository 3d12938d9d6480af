/* vmm/preload_port.c: mm/'s hooks inside a program that is not ours: nothing here may allocate. */
#include <sched.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "mm/port.h"
#include "vmm/preload_text.h"

#define YIELDS 8u /* until the one who holds the lock may be of a lower priority, and never run beside us */

void mm_panic(const char *file, int line, const char *what, uint64_t a, uint64_t b)
{
	struct preload_text text = {0};

	preload_text_add(&text, "libslatmalloc: wrong or second free of ");
	preload_text_hex(&text, a);
	preload_text_add(&text, ", or a broken heap (");
	preload_text_add(&text, file);
	preload_text_add(&text, ":");
	preload_text_number(&text, (uint64_t)line);
	preload_text_add(&text, ": ");
	preload_text_add(&text, what);
	preload_text_add(&text, ", ");
	preload_text_hex(&text, b);
	preload_text_add(&text, ")\n");
	preload_text_write(&text, STDERR_FILENO);
	abort();
}

void mm_yield(void)
{
	static __thread unsigned yields __attribute__((tls_model("initial-exec")));

	if (++yields % YIELDS != 0)
		sched_yield();
	else
		/* libc's would be a place where a thread may be cancelled, inside the heap. */
		syscall(SYS_nanosleep, &(struct timespec){.tv_nsec = 20000}, NULL);
}
