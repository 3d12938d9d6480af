/* tests/heap_count.c: preloaded into slat, counts the calls of libc's heap from
 * the first guest instruction to the last, and leaves three numbers in the file
 * that HEAP_COUNT names: those calls, all calls before them, and how often
 * KVM_RUN came back.
 *
 * The window opens where the boot CPU first enters KVM_RUN (the others stand
 * still until it wakes them) and closes where the first vCPU's thread is joined:
 * by then all are out of the guest, and have answered their last exit.
 * HEAP_COUNT_SPOIL=1 makes each return allocate: a counter that stays at 0 then is blind.
 *
 * Not seen: free(NULL), which touches no heap and which libc itself calls when a
 * thread ends; what libc gets by mmap and not from its heap. */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <malloc.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* glibc's own, under the names that it keeps for those who replace the public ones. */
void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t n, size_t bytes);
void *__libc_realloc(void *memory, size_t bytes);
void *__libc_memalign(size_t align, size_t bytes);
void __libc_free(void *memory);

static _Atomic uint64_t before, inside, returns;
static _Atomic int boot_cpu = -1; /* its descriptor */
static _Atomic bool open_now, closed;

static void count(void)
{
	if (atomic_load(&open_now))
		atomic_fetch_add(&inside, 1);
	else if (!atomic_load(&closed))
		atomic_fetch_add(&before, 1);
}

/* Parameters by the names that libc's headers have. */
void *malloc(size_t size)
{
	count();
	return __libc_malloc(size);
}

void *calloc(size_t nmemb, size_t size)
{
	count();
	return __libc_calloc(nmemb, size);
}

void *realloc(void *ptr, size_t size)
{
	count();
	return __libc_realloc(ptr, size);
}

void *reallocarray(void *ptr, size_t nmemb, size_t size)
{
	size_t all;

	count();
	if (__builtin_mul_overflow(nmemb, size, &all)) {
		errno = ENOMEM;
		return NULL;
	}
	return __libc_realloc(ptr, all);
}

void *memalign(size_t alignment, size_t size)
{
	count();
	return __libc_memalign(alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
	count();
	return __libc_memalign(alignment, size);
}

int posix_memalign(void **memptr, size_t alignment, size_t size)
{
	void *memory;

	count();
	memory = __libc_memalign(alignment, size);
	if (!memory)
		return ENOMEM;
	*memptr = memory;
	return 0;
}

void *valloc(size_t size)
{
	count();
	return __libc_memalign((size_t)sysconf(_SC_PAGESIZE), size);
}

void free(void *ptr)
{
	if (ptr)
		count();
	__libc_free(ptr);
}

static void spoil(void)
{
	void *volatile memory = malloc(1);

	free(memory);
}

/* The other name joins in the same way: without a time it waits for ever. */
int pthread_join(pthread_t th, void **thread_return)
{
	if (atomic_exchange(&open_now, false))
		atomic_store(&closed, true);
	return pthread_clockjoin_np(th, thread_return, CLOCK_MONOTONIC, NULL);
}

int ioctl(int fd, unsigned long request, ...)
{
	unsigned long argument;
	va_list rest;
	long got;

	va_start(rest, request);
	argument = va_arg(rest, unsigned long);
	va_end(rest);
	if (request == KVM_RUN && fd == atomic_load(&boot_cpu) && !atomic_load(&closed))
		atomic_store(&open_now, true);
	got = syscall(SYS_ioctl, fd, request, argument);
	if (request == KVM_CREATE_VCPU && argument == 0 && got >= 0)
		atomic_store(&boot_cpu, (int)got);
	if (request == KVM_RUN) {
		atomic_fetch_add(&returns, 1);
		if (getenv("HEAP_COUNT_SPOIL"))
			spoil();
	}
	return (int)got;
}

static int numbers = -1; /* opened first: at the end slat may open nothing */

__attribute__((constructor)) static void open_numbers(void)
{
	const char *path = getenv("HEAP_COUNT");

	if (path)
		numbers = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
}

__attribute__((destructor)) static void leave_numbers(void)
{
	if (numbers < 0 || !atomic_load(&closed))
		return;
	dprintf(numbers, "%lu %lu %lu\n", (unsigned long)inside, (unsigned long)before, (unsigned long)returns);
	close(numbers);
}
